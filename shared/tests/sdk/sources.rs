//! Tokens as a client gets them: how often the issuer is asked, and what for.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{FutureExt, future::join_all};
use m2m::{AccessToken, FetchError, ManualClock, TokenSource, testing::TestIssuer};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{basic_auth, body_string, header, method, path},
};

use crate::{NOW, eventually};

async fn issuer_and_tokens() -> (TestIssuer, TokenSource, ManualClock) {
    let hand = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(hand.clock()).await;
    let tokens = TokenSource::builder(issuer.url(), "assistant", "secret")
        .clock(hand.clock())
        .build()
        .unwrap();
    (issuer, tokens, hand)
}

async fn note_token(tokens: &TokenSource) -> Result<Arc<AccessToken>, FetchError> {
    tokens.token(&["note.read"], "notes").await
}

fn fetches(issuer: &TestIssuer) -> usize {
    issuer.requests(TestIssuer::TOKEN)
}

/// Lets what was begun behind the callers reach the issuer, by asking it for something else
/// meanwhile. That costs one request, whatever its outcome.
async fn let_pass(tokens: &TokenSource) {
    if let Ok(token) = tokens.token(&[], "elsewhere").await {
        tokens.forget(&token);
    }
}

#[tokio::test]
async fn a_token_tells_what_it_is_for_and_hides_itself() {
    let (issuer, tokens, hand) = issuer_and_tokens().await;
    assert!(tokens.peek(&["note.read"], "notes").is_none());
    let token = note_token(&tokens).await.unwrap();
    assert_eq!(token.resource(), "notes");
    assert_eq!(token.scopes(), &"note.read".parse().unwrap());
    assert_eq!((token.fetched_at(), token.expires_at()), (NOW, NOW + 3600));
    hand.advance(Duration::from_mins(10));
    assert_eq!(token.time_left(&hand.clock()), Duration::from_mins(50));
    assert!(tokens.peek(&["note.read"], "notes").is_some());
    let shown = format!("{token:?} {tokens:?}");
    assert!(
        !shown.contains(token.expose()) && !shown.contains("secret"),
        "{shown}"
    );
    assert_eq!(fetches(&issuer), 1);
}

#[tokio::test]
async fn credentials_of_a_file_are_read_when_needed_and_again_when_refused() {
    let issuer = TestIssuer::start().await;
    let file = std::env::temp_dir().join(format!("m2m-source-{}.json", std::process::id()));
    let tokens = TokenSource::from_file(issuer.url(), &file, "notes");
    let tokens = tokens.build().unwrap();
    let client = async |nth: usize| {
        let resource = format!("resource-{nth}");
        let token = tokens
            .token(&[], &resource)
            .await
            .map_err(|e| e.to_string())?;
        let claims = token.expose().split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        Ok::<_, String>(claims["client_id"].as_str().unwrap().to_owned())
    };
    let write = |client: &str| {
        let entry = json!({"notes": {"clientId": client, "clientSecret": "secret"}});
        std::fs::write(&file, entry.to_string()).unwrap();
    };
    let missing = client(0).await.unwrap_err();
    assert!(missing.contains("there is no file"), "{missing}");
    assert_eq!(fetches(&issuer), 0);

    write("old");
    assert_eq!(client(1).await, Ok("old".to_owned()));
    write("new");
    assert_eq!(client(2).await, Ok("old".to_owned()), "it was not refused");
    let refusal = json!({"error": "invalid_client"});
    issuer.fail_token_requests(Some((401, refusal)));
    client(3).await.unwrap_err();
    issuer.fail_token_requests(None);
    assert_eq!(client(3).await, Ok("new".to_owned()));
    assert!(!format!("{tokens:?}").contains("secret"));
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_hundred_callers_share_one_request() {
    let (issuer, tokens, _) = issuer_and_tokens().await;
    let results = join_all((0..100).map(|_| note_token(&tokens))).await;
    let first = results[0].as_ref().unwrap();
    assert!(
        results
            .iter()
            .all(|token| Arc::ptr_eq(token.as_ref().unwrap(), first))
    );
    assert_eq!(
        (issuer.requests(TestIssuer::METADATA), fetches(&issuer)),
        (1, 1)
    );
}

#[tokio::test]
async fn a_hundred_callers_share_one_failure() {
    let (issuer, tokens, _) = issuer_and_tokens().await;
    issuer.fail_token_requests(Some((
        401,
        json!({"error": "invalid_client", "request_id": "r7"}),
    )));
    for error in join_all((0..100).map(|_| note_token(&tokens))).await {
        let error = error.unwrap_err();
        let says = "the issuer gave no token: invalid_client (check the client id and its secret)";
        assert_eq!(error.to_string(), says);
    }
    assert_eq!(fetches(&issuer), 1);

    // A failure is not held: who comes later asks again.
    issuer.fail_token_requests(None);
    assert!(note_token(&tokens).await.is_ok());
}

#[tokio::test]
async fn every_resource_and_every_choice_of_scopes_has_its_own_token() {
    let (issuer, tokens, _) = issuer_and_tokens().await;
    let one = tokens.token(&["a", "b"], "notes").await.unwrap();
    let same = tokens.token(&["b", "a", "b"], "notes").await.unwrap();
    assert!(
        Arc::ptr_eq(&one, &same),
        "the order of scopes means nothing"
    );
    for (scopes, resource) in [
        (&["a"][..], "notes"),
        (&[], "notes"),
        (&["a", "b"], "calendar"),
    ] {
        let other = tokens.token(scopes, resource).await.unwrap();
        assert_ne!(other.expose(), one.expose(), "{scopes:?} {resource}");
    }
    assert_eq!(fetches(&issuer), 4);
}

#[tokio::test]
async fn a_token_is_renewed_behind_its_users_and_only_once() {
    let (issuer, tokens, hand) = issuer_and_tokens().await;
    let first = note_token(&tokens).await.unwrap();
    hand.advance(Duration::from_millis(2_879_999));
    note_token(&tokens).await.unwrap();
    let_pass(&tokens).await;
    assert_eq!(fetches(&issuer), 2, "under 80 % of its life it is fresh");

    hand.advance(Duration::from_millis(1));
    for _ in 0..100 {
        let token = note_token(&tokens)
            .now_or_never()
            .expect("nobody waits")
            .unwrap();
        assert!(Arc::ptr_eq(&token, &first));
    }
    let renewed = || {
        tokens
            .peek(&["note.read"], "notes")
            .is_some_and(|t| t.fetched_at() > NOW)
    };
    eventually(renewed).await;
    let second = note_token(&tokens).await.unwrap();
    assert_eq!(second.expires_at(), NOW + 2880 + 3600);
    assert_eq!(fetches(&issuer), 3);
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_after_a_pause() {
    let (issuer, tokens, hand) = issuer_and_tokens().await;
    note_token(&tokens).await.unwrap();
    issuer.set_down(true);
    hand.advance(Duration::from_mins(48));
    for (seconds, asked) in [(0, 3), (0, 4), (9, 5), (1, 7)] {
        hand.advance(Duration::from_secs(seconds));
        assert!(
            note_token(&tokens).await.is_ok(),
            "the old token is still good"
        );
        let_pass(&tokens).await;
        eventually(|| fetches(&issuer) >= asked).await;
        assert_eq!(
            fetches(&issuer),
            asked,
            "a renewal at first and after 10 s, and what passed"
        );
    }
}

#[tokio::test]
async fn a_spent_token_is_replaced_before_it_is_used() {
    let (issuer, tokens, hand) = issuer_and_tokens().await;
    let first = note_token(&tokens).await.unwrap();
    hand.advance(Duration::from_mins(54));
    let results = join_all((0..100).map(|_| note_token(&tokens))).await;
    assert!(
        results
            .iter()
            .all(|token| token.as_ref().unwrap().expose() != first.expose())
    );
    assert_eq!(fetches(&issuer), 2);
}

#[tokio::test]
async fn a_token_that_has_not_ended_bridges_an_outage_but_not_a_refusal() {
    let (issuer, tokens, hand) = issuer_and_tokens().await;
    let first = note_token(&tokens).await.unwrap();
    hand.advance(Duration::from_secs(3599));
    issuer.set_down(true);
    assert_eq!(note_token(&tokens).await.unwrap().expose(), first.expose());

    issuer.set_down(false);
    issuer.fail_token_requests(Some((400, json!({"error": "unauthorized_client"}))));
    let refused = note_token(&tokens).await.unwrap_err();
    assert!(
        matches!(refused, FetchError::Refused { status: 400, .. }),
        "{refused}"
    );

    issuer.set_down(true);
    hand.advance(Duration::from_secs(1));
    assert!(note_token(&tokens).await.is_err(), "now it has ended");
}

#[tokio::test]
async fn only_the_token_that_is_held_can_be_forgotten() {
    let (issuer, tokens, _) = issuer_and_tokens().await;
    let old = note_token(&tokens).await.unwrap();
    tokens.forget(&old);
    assert!(tokens.peek(&["note.read"], "notes").is_none());
    let new = note_token(&tokens).await.unwrap();
    tokens.forget(&old);
    let held = tokens.peek(&["note.read"], "notes").unwrap();
    assert!(Arc::ptr_eq(&held, &new));
    assert_eq!(fetches(&issuer), 2);
}

#[tokio::test]
async fn a_scope_that_cannot_be_one_is_refused_without_asking() {
    let (issuer, tokens, _) = issuer_and_tokens().await;
    for scopes in [&["a b"][..], &[""], &["a\"b"]] {
        let error = tokens.token(scopes, "notes").await.unwrap_err();
        assert!(matches!(error, FetchError::Refused { error, .. } if error == "invalid_scope"));
    }
    assert_eq!(fetches(&issuer), 0);
}

#[tokio::test]
async fn the_request_is_the_one_of_the_rfcs() {
    let server = MockServer::start().await;
    let answer = json!({"access_token": "t", "token_type": "bearer", "expires_in": 60});
    Mock::given(method("POST"))
        .and(path("/token"))
        .and(basic_auth("my%3Aid", "s%2Bcret"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string(
            "grant_type=client_credentials&resource=https%3A%2F%2Fnotes.example%2F&scope=a+b",
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .expect(1)
        .mount(&server)
        .await;
    let tokens = TokenSource::builder("https://auth.example.com", "my:id", "s+cret")
        .token_endpoint(format!("{}/token", server.uri()))
        .build()
        .unwrap();
    let token = tokens
        .token(&["b", "a"], "https://notes.example/")
        .await
        .unwrap();
    assert_eq!(token.expose(), "t");
}

/// A service that answers `status` and `challenge` to every token but `good`.
async fn service(good: Option<&str>, status: u16, challenge: &str) -> MockServer {
    let server = MockServer::start().await;
    if let Some(good) = good {
        Mock::given(header("authorization", format!("Bearer {good}")))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
    }
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(status).insert_header("WWW-Authenticate", challenge))
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn a_request_is_sent_again_with_a_fresh_token_when_the_old_one_is_called_invalid() {
    let (issuer, tokens, _) = issuer_and_tokens().await;
    let http = m2m::http_client(Duration::from_secs(5));
    for (status, challenge, sent) in [
        (
            401,
            r#"Bearer realm="notes", error="invalid_token", error_description="x""#,
            2,
        ),
        (401, r#"Bearer error="invalid_token""#, 2),
        (401, r#"Bearer realm="notes""#, 1),
        (401, r#"Bearer realm="error=invalid_token-not""#, 1),
        (
            403,
            r#"Bearer error="insufficient_scope", scope="note.write""#,
            1,
        ),
        (403, r#"Bearer error="invalid_token""#, 1),
    ] {
        let server = service(None, status, challenge).await;
        let before = (fetches(&issuer), note_token(&tokens).await.unwrap());
        let request = http.post(server.uri()).body("once");
        let response = tokens.send(request, &["note.read"], "notes").await.unwrap();
        assert_eq!(response.status(), status, "{challenge}");
        let received = server.received_requests().await.unwrap();
        assert_eq!(received.len(), sent, "{challenge}");
        assert!(received.iter().all(|request| request.body == b"once"));
        let kept = note_token(&tokens).await.unwrap().expose() == before.1.expose();
        assert_eq!(kept, sent == 1, "{challenge}");
    }
    assert_eq!(
        fetches(&issuer),
        3,
        "one at first, and one for each invalid token"
    );
}

#[tokio::test]
async fn a_second_try_that_works_is_all_that_the_caller_sees() {
    let server = MockServer::start().await;
    let answer = |token| {
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
        ResponseTemplate::new(200).set_body_json(body)
    };
    Mock::given(path("/token"))
        .respond_with(answer("old"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(path("/token"))
        .respond_with(answer("new"))
        .mount(&server)
        .await;
    let tokens = TokenSource::builder("https://auth.example.com", "assistant", "secret")
        .token_endpoint(format!("{}/token", server.uri()))
        .build()
        .unwrap();
    let service = service(Some("new"), 401, r#"Bearer error="invalid_token""#).await;
    let http = m2m::http_client(Duration::from_secs(5));
    let response = tokens
        .send(http.post(service.uri()), &[], "notes")
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(tokens.peek(&[], "notes").unwrap().expose(), "new");
}

#[test]
fn a_source_with_a_mistake_in_it_is_not_built() {
    for (issuer, id, secret, says) in [
        ("http://auth.example.com", "a", "s", "https"),
        ("https://auth.example.com?x", "a", "s", "query"),
        ("https://auth.example.com", "", "s", "client id"),
        ("https://auth.example.com", "a", "", "client secret"),
        (
            "https://auth.example.com",
            "a",
            "hunter2\n",
            "client secret",
        ),
    ] {
        let error = TokenSource::client_secret(issuer, id, secret)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(says) && !error.contains("hunter2"),
            "{error}"
        );
    }
}
