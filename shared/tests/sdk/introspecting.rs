//! Asking a server of which only the introspection URL is known: any of RFC 7662.

use std::time::Duration;

use m2m::{
    Clock, ConfigError, ManualClock, Revocation, Verifier,
    verify::{Feed, VerifierBuilder},
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, body_string_contains},
};

use crate::{NOW, is_refused};

const OPAQUE: &str = "0123456789abcdef";

fn asking(url: &str) -> VerifierBuilder {
    Verifier::introspecting(url)
        .audience("notes")
        .client("notes", "secret")
}

async fn answering(answer: &Value) -> (MockServer, Verifier, ManualClock) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(answer);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let hand = ManualClock::at(NOW);
    let verifier = asking(&server.uri()).clock(hand.clock()).build().unwrap();
    (server, verifier, hand)
}

#[tokio::test]
async fn nothing_but_active_is_needed() {
    for nothing in [
        json!({"active": true}),
        json!({"active": true, "iss": null, "sub": null, "client_id": null, "aud": null,
            "scope": null, "exp": null, "nbf": null, "cnf": null, "token_type": null}),
        json!({"active": true, "iss": "", "sub": "", "client_id": "", "aud": [], "scope": ""}),
    ] {
        let (server, verifier, hand) = answering(&nothing).await;
        let token = verifier.verify(OPAQUE).await.unwrap();
        assert_eq!((token.subject(), token.client_id()), ("", None));
        assert_eq!(token.issuer(), format!("{}/", server.uri()));
        assert!(token.scopes().is_empty());
        assert_eq!(token.expires_at(), NOW + 10, "when it is asked again");

        hand.advance(Duration::from_secs(10));
        assert!(verifier.verify(OPAQUE).await.is_ok());
        assert_eq!(server.received_requests().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn whatever_else_is_said_is_taken_over() {
    for aud in [json!("notes"), json!(["calendar", "notes"]), Value::Null] {
        let (_server, verifier, _) = answering(&json!({
            "active": true, "iss": "https://auth.example", "sub": "somebody", "client_id": "job",
            "aud": aud, "scope": "a b", "exp": NOW + 60, "iat": NOW, "token_type": "Bearer",
        }))
        .await;
        let token = verifier.verify(OPAQUE).await.unwrap();
        assert_eq!(token.issuer(), "https://auth.example");
        assert_eq!(
            (token.subject(), token.client_id()),
            ("somebody", Some("job"))
        );
        assert_eq!(token.scopes(), &"a b".parse().unwrap());
        assert_eq!(
            (token.expires_at(), token.issued_at()),
            (NOW + 60, Some(NOW))
        );
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn whatever_else_is_said_must_fit() {
    let audience = "the token is for another audience";
    let date = "a date of the token is not a number of seconds";
    let text = "a claim of the token that must be a text is not";
    let bound = "the token is bound to a key, so it cannot be sent as a bearer token";
    for (more, why) in [
        (json!({"active": false}), "the token is not active"),
        (json!({"aud": "calendar"}), audience),
        (json!({"aud": ["calendar"]}), audience),
        (json!({"aud": {}}), audience),
        (json!({"aud": 7}), audience),
        (json!({"aud": ["notes", null]}), audience),
        (json!({"exp": NOW - 10}), "the token has expired"),
        (json!({"exp": "4102444800"}), date),
        (json!({"nbf": NOW + 11}), "the token is not valid yet"),
        (json!({"iat": NOW + 11}), "the token was issued in the future"),
        (json!({"iss": 7}), text),
        (json!({"sub": 7}), text),
        (json!({"client_id": {}}), text),
        (json!({"scope": 7}), "the scope of the token cannot be read"),
        (json!({"cnf": {"jkt": "x"}}), bound),
        (json!({"token_type": "DPoP"}), bound),
        (json!({"token_use": "refresh_token"}), "the token is a refresh token"),
    ] {
        let mut answer = json!({"active": true, "scope": "read"});
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (_server, verifier, _) = answering(&answer).await;
        let refused = verifier.verify(OPAQUE).await.unwrap_err();
        assert!(is_refused(refused, why), "{more}: {refused}");
    }
}

#[tokio::test]
async fn it_is_ready_when_a_question_was_answered() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(401))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let inactive = ResponseTemplate::new(200).set_body_json(json!({"active": false}));
    Mock::given(body_string_contains("token=readiness-probe&"))
        .respond_with(inactive)
        .expect(1)
        .mount(&server)
        .await;
    let verifier = asking(&server.uri()).build().unwrap();
    let health = verifier.health().await.unwrap_err();
    assert!(health.contains(&server.uri()), "{health}");
    verifier.ready().await;
    assert_eq!(verifier.health().await, Ok(()));
    verifier.ready().await; // asks nobody
}

#[test]
fn a_verifier_that_has_no_keys_and_may_not_ask_is_not_built() {
    let url = "http://localhost:3001/introspect";
    for revocation in [Revocation::None, Revocation::Feed(Feed::default())] {
        let refused = asking(url).revocation(revocation).build().unwrap_err();
        assert_eq!(refused, ConfigError::NoIssuer);
    }
    let nobody = Verifier::introspecting(url).audience("notes").build();
    assert_eq!(nobody.unwrap_err(), ConfigError::NoClient("introspection"));
    let for_nobody = Verifier::introspecting(url).client("notes", "s").build();
    assert_eq!(for_nobody.unwrap_err(), ConfigError::Audience);
    for (url, says) in [
        ("http://auth.example/introspect", "https"),
        ("https://u:hunter2@auth.example/", "password"),
        ("auth.example", "absolute"),
    ] {
        let refused = asking(url).clock(Clock::System).build().unwrap_err();
        let says_it = refused.to_string().contains(says);
        assert!(
            says_it && !refused.to_string().contains("hunter2"),
            "{refused}"
        );
    }
}
