//! Tokens that the issuer is asked about (RFC 7662): what is believed, what is remembered, and how
//! often it is asked.

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use m2m::{
    Clock, ManualClock, TokenError, Verifier,
    testing::TestIssuer,
    verify::{Introspection, Revocation},
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, basic_auth, body_string, header, method, path},
};

use crate::{NOW, is_refused};

const OPAQUE: &str = "m2m_at_0123456789abcdef";
const INACTIVE: TokenError = TokenError::Invalid("the token is not active");

fn asking(issuer: &str, clock: Clock) -> Verifier {
    let config = Introspection {
        timeout: Duration::from_secs(10),
        ..Introspection::default()
    };
    Verifier::builder(issuer)
        .audience("notes")
        .client("notes", "secret")
        .introspection_url(format!("{issuer}/introspect"))
        .revocation(Revocation::Introspection(config))
        .clock(clock)
        .build()
        .unwrap()
}

/// An issuer with an introspection endpoint, and a verifier that asks it about each token.
async fn issuer_and_verifier() -> (TestIssuer, Verifier, ManualClock) {
    let hand = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(hand.clock()).await;
    issuer.offer_introspection();
    let verifier = Verifier::builder(issuer.url())
        .audience("notes")
        .client("notes", "secret")
        .revocation(Revocation::Introspection(Introspection::default()))
        .clock(hand.clock())
        .build()
        .unwrap();
    (issuer, verifier, hand)
}

fn asked(issuer: &TestIssuer) -> usize {
    issuer.requests(TestIssuer::INTROSPECTION)
}

fn good(issuer: &TestIssuer) -> String {
    issuer.token().audience("notes").mint()
}

async fn answering(answer: ResponseTemplate) -> (MockServer, Verifier) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let verifier = asking(&server.uri(), ManualClock::at(NOW).clock());
    (server, verifier)
}

/// An answer that makes a token good, with these members added or replaced; `null` leaves one out.
fn active(more: &Value) -> Value {
    let mut answer = json!({
        "active": true, "aud": "notes", "client_id": "assistant", "exp": NOW + 60,
    });
    for (name, value) in more.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    answer
}

#[tokio::test]
async fn an_opaque_token_is_what_the_issuer_says_about_it() {
    let server = MockServer::start().await;
    let answer = active(&json!({
        "iss": server.uri(), "sub": "somebody", "scope": "note.read note.write",
        "aud": ["calendar", "notes"], "jti": "1", "iat": NOW, "nbf": NOW, "token_type": "bearer",
        "department": {"id": 7},
    }));
    Mock::given(method("POST"))
        .and(path("/introspect"))
        .and(basic_auth("notes", "secret"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(header("accept", "application/json"))
        .and(body_string(format!(
            "token={OPAQUE}&token_type_hint=access_token"
        )))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .expect(1)
        .mount(&server)
        .await;
    let verifier = asking(&server.uri(), ManualClock::at(NOW).clock());
    let token = verifier.verify(OPAQUE).await.unwrap();
    assert_eq!(
        (token.subject(), token.client_id()),
        ("somebody", Some("assistant"))
    );
    assert_eq!(
        (token.audience(), token.issuer()),
        ("notes", server.uri().as_str())
    );
    assert_eq!(token.scopes(), &"note.read note.write".parse().unwrap());
    assert_eq!(
        (token.expires_at(), token.issued_at()),
        (NOW + 60, Some(NOW))
    );
    assert_eq!(token.claim::<Value>("department"), Some(json!({"id": 7})));
    assert!(
        verifier.verify(OPAQUE).now_or_never().unwrap().is_ok(),
        "it is remembered"
    );
    assert_eq!(verifier.health().await, Ok(()));
}

#[tokio::test]
async fn little_is_needed_for_a_good_answer() {
    for (more, subject, scopes, expires_at) in [
        (json!({}), "assistant", "", NOW + 60),
        (json!({"exp": null}), "assistant", "", NOW + 10),
        (json!({"exp": NOW - 9}), "assistant", "", NOW - 9),
        (
            json!({"client_id": null, "sub": "bob"}),
            "bob",
            "",
            NOW + 60,
        ),
        (json!({"scope": ""}), "assistant", "", NOW + 60),
        (json!({"scp": ["a", "b"]}), "assistant", "a b", NOW + 60),
        (
            json!({"scp": ["b", "a"], "scope": "a b"}),
            "assistant",
            "a b",
            NOW + 60,
        ),
    ] {
        let answer = ResponseTemplate::new(200).set_body_json(active(&more));
        let (_server, verifier) = answering(answer).await;
        let token = verifier.verify(OPAQUE).await.unwrap();
        assert_eq!(token.subject(), subject, "{more}");
        assert_eq!(token.scopes(), &scopes.parse().unwrap(), "{more}");
        assert_eq!(token.expires_at(), expires_at, "{more}");
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn what_the_issuer_says_is_judged() {
    let issuer = "the token is from another issuer";
    let audience = "the token is for another audience";
    let expired = "the token has expired";
    let date = "a date of the token is not a number of seconds";
    let bound = "the token is bound to a key, so it cannot be sent as a bearer token";
    let nobody = "the token is nobody's: it has neither sub nor client_id";
    let text = "a claim of the token that must be a text is not";
    let scope = "the scope of the token cannot be read";
    let contradiction = "the token's scope and scp contradict each other";
    for (more, why) in [
        (json!({"active": false}), "the token is not active"),
        (json!({"iss": "https://elsewhere.example"}), issuer),
        (json!({"iss": ["x"]}), issuer),
        (json!({"aud": null}), audience),
        (json!({"aud": "calendar"}), audience),
        (json!({"aud": "NOTES"}), audience),
        (json!({"aud": "notes calendar"}), audience),
        (json!({"aud": ["notes", 7]}), audience),
        (json!({"aud": []}), audience),
        (json!({"aud": {"notes": true}}), audience),
        (json!({"exp": NOW - 10}), expired),
        (json!({"exp": 0}), expired),
        (json!({"exp": "4102444800"}), date),
        (json!({"exp": -1}), date),
        (json!({"exp": 1e300}), date),
        (json!({"nbf": NOW + 11}), "the token is not valid yet"),
        (json!({"iat": NOW + 11}), "the token was issued in the future"),
        (json!({"client_id": null}), nobody),
        (json!({"client_id": ""}), text),
        (json!({"sub": 7}), text),
        (json!({"scope": ["a"], "scp": "b"}), contradiction),
        (json!({"scope": "a  b"}), scope),
        (json!({"scp": [1]}), scope),
        (json!({"cnf": {"jkt": "x"}}), bound),
        (json!({"token_type": "DPoP"}), bound),
        (json!({"token_type": 1}), bound),
        (json!({"token_use": "refresh_token"}), "the token is a refresh token"),
    ] {
        let answer = ResponseTemplate::new(200).set_body_json(active(&more));
        let (server, verifier) = answering(answer).await;
        for _ in 0..2 {
            let refused = verifier.verify(OPAQUE).await.unwrap_err();
            assert!(is_refused(refused, why), "{more}: {refused}");
        }
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{more}");
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn what_is_no_answer_accepts_nothing_and_only_what_may_pass_is_tried_again() {
    let json = |body: &str| ResponseTemplate::new(200).set_body_string(body);
    let status = |status: u16| {
        ResponseTemplate::new(status).set_body_json(active(&json!({})))
    };
    let good = active(&json!({})).to_string();
    let (huge, deep) = (" ".repeat(300_000), "[".repeat(9_000));
    for (what, answer, attempts) in [
        ("nothing", json(""), 1),
        ("a web page", json("<html>active: true</html>"), 1),
        ("active as a text", json(&good.replace("true", "\"true\"")), 1),
        ("active as a number", json(&good.replace("true", "1")), 1),
        ("active is null", json(&good.replace("true", "null")), 1),
        ("no active", json(&good.replace("active", "aktiv")), 1),
        ("active twice", json(&good.replacen('{', "{\"active\":false,", 1)), 1),
        ("a list", json(&format!("[{good}]")), 1),
        ("a truth", json("true"), 1),
        ("two answers", json(&format!("{good}{good}")), 1),
        ("half an answer", json(&good[..good.len() - 1]), 1),
        ("300 KB", json(&format!("{huge}{good}")), 1),
        ("nested too deep", json(&deep), 1),
        ("no text", ResponseTemplate::new(200).set_body_bytes(vec![0xff, 0xfe]), 1),
        ("status 201", status(201), 1),
        ("status 204", ResponseTemplate::new(204), 1),
        ("a redirect", status(302).insert_header("Location", "/introspect"), 1),
        ("a lasting redirect", status(308).insert_header("Location", "/introspect"), 1),
        ("status 400", status(400), 1),
        ("status 401", status(401), 1),
        ("status 403", status(403), 1),
        ("status 404", status(404), 1),
        ("status 413", status(413), 1),
        ("status 429", status(429), 1),
        ("status 500", status(500), 1),
        ("status 502", status(502), 3),
        ("status 503", status(503), 3),
        ("status 504", status(504), 3),
    ] {
        let (server, verifier) = answering(answer).await;
        let refused = verifier.verify(OPAQUE).await.unwrap_err();
        assert_eq!(refused, TokenError::IssuerUnavailable, "{what}");
        assert_eq!(server.received_requests().await.unwrap().len(), attempts, "{what}");
    }
}

#[tokio::test]
async fn who_does_not_answer_is_tried_three_times() {
    let never = ResponseTemplate::new(200).set_delay(Duration::from_hours(1));
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(never).mount(&server).await;
    let verifier = Verifier::builder(server.uri())
        .audience("notes")
        .client("notes", "secret")
        .introspection_url(format!("{}/introspect", server.uri()))
        .revocation(Revocation::Introspection(Introspection {
            timeout: Duration::from_millis(20),
            ..Introspection::default()
        }))
        .build()
        .unwrap();
    let refused = verifier.verify(OPAQUE).await.unwrap_err();
    assert_eq!(refused, TokenError::IssuerUnavailable);
    assert_eq!(server.received_requests().await.unwrap().len(), 3);

    let verifier = asking("http://127.0.0.1:1/t1", Clock::System); // nobody has port 1
    let refused = verifier.verify(OPAQUE).await.unwrap_err();
    assert_eq!(refused, TokenError::IssuerUnavailable);
}

#[tokio::test]
async fn one_bad_moment_is_bridged() {
    let server = MockServer::start().await;
    let unavailable = ResponseTemplate::new(503);
    Mock::given(any())
        .respond_with(unavailable)
        .up_to_n_times(2)
        .mount(&server)
        .await;
    let answer = ResponseTemplate::new(200).set_body_json(active(&json!({})));
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let verifier = asking(&server.uri(), ManualClock::at(NOW).clock());
    assert!(verifier.verify(OPAQUE).await.is_ok());
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_asked_about() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    for token in [
        "",
        "a b",
        "a\nb",
        "\"a\"",
        "a,b",
        "é",
        "a\0",
        &"a".repeat(16 * 1024 + 1),
    ] {
        let refused = verifier.verify(token).await.unwrap_err();
        assert!(matches!(refused, TokenError::Invalid(_)), "{token:.20}");
    }
    assert_eq!(asked(&issuer), 0);
}

#[tokio::test]
async fn an_answer_counts_for_ten_seconds_and_a_refusal_for_one() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    let token = good(&issuer);
    assert!(verifier.verify(&token).await.is_ok());
    issuer.set_active(false);
    hand.advance(Duration::from_millis(9_999));
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(asked(&issuer), 1);
    hand.advance(Duration::from_millis(1));
    assert_eq!(verifier.verify(&token).await.unwrap_err(), INACTIVE);
    assert_eq!(asked(&issuer), 2);

    issuer.set_active(true);
    hand.advance(Duration::from_millis(999));
    assert_eq!(verifier.verify(&token).await.unwrap_err(), INACTIVE);
    assert_eq!(asked(&issuer), 2);
    hand.advance(Duration::from_millis(1));
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(asked(&issuer), 3);
}

#[tokio::test]
async fn an_answer_does_not_count_past_the_end_of_the_token() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    let token = issuer.token().audience("notes").expires_in(3).mint();
    assert!(verifier.verify(&token).await.is_ok());
    hand.advance(Duration::from_millis(2_999));
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(asked(&issuer), 1);
    hand.advance(Duration::from_millis(1));
    assert_eq!(verifier.verify(&token).await.unwrap_err(), INACTIVE);
    assert_eq!(asked(&issuer), 2);
}

#[tokio::test]
async fn the_outcome_of_a_failure_is_not_remembered() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    issuer.answer_introspection(Some((500, json!({}))));
    let token = good(&issuer);
    let refused = verifier.verify(&token).await.unwrap_err();
    assert_eq!(refused, TokenError::IssuerUnavailable);
    issuer.answer_introspection(None);
    assert!(verifier.verify(&token).await.is_ok());
}

#[tokio::test]
async fn those_who_bring_the_same_token_share_one_request() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let (one, other) = (good(&issuer), good(&issuer));
    let begun = verifier.verify(&one).now_or_never();
    assert!(begun.is_none(), "begun and dropped; the request goes on");
    let outcomes = (0..50).map(|n| verifier.verify(if n % 2 == 0 { &one } else { &other }));
    assert!(join_all(outcomes).await.iter().all(Result::is_ok));
    assert_eq!(asked(&issuer), 2);
}

#[tokio::test]
async fn an_issuer_that_fails_five_times_in_a_row_is_left_alone_and_then_probed() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    issuer.answer_introspection(Some((500, json!({}))));
    for _ in 0..9 {
        let refused = verifier.verify(&good(&issuer)).await.unwrap_err();
        assert_eq!(refused, TokenError::IssuerUnavailable);
    }
    assert_eq!(asked(&issuer), 5);
    let health = verifier.health().await.unwrap_err();
    assert!(health.contains(issuer.url()), "{health}");

    issuer.answer_introspection(Some((503, json!({}))));
    hand.advance(Duration::from_secs(5));
    for _ in 0..9 {
        assert!(verifier.verify(&good(&issuer)).await.is_err());
    }
    assert_eq!(asked(&issuer), 6, "one probe, and it is not tried again");

    issuer.answer_introspection(None);
    assert!(verifier.verify(&good(&issuer)).await.is_err(), "not yet");
    hand.advance(Duration::from_secs(5));
    assert_eq!(verifier.health().await, Ok(()), "it is time for a probe");
    for _ in 0..3 {
        assert!(verifier.verify(&good(&issuer)).await.is_ok());
    }
}

#[tokio::test]
async fn tokens_that_the_issuer_will_not_look_at_do_not_keep_the_others_out() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    issuer.answer_introspection(Some((413, json!({}))));
    for _ in 0..9 {
        assert!(verifier.verify(&good(&issuer)).await.is_err());
    }
    issuer.answer_introspection(None);
    assert!(verifier.verify(&good(&issuer)).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_offers_no_introspection_accepts_nothing() {
    let clock = ManualClock::at(NOW).clock();
    let issuer = TestIssuer::start_at(clock.clone()).await;
    let verifier = Verifier::builder(issuer.url())
        .audience("notes")
        .client("notes", "secret")
        .revocation(Revocation::Introspection(Introspection::default()))
        .clock(clock)
        .build()
        .unwrap();
    let refused = verifier.verify(&good(&issuer)).await.unwrap_err();
    assert_eq!(refused, TokenError::IssuerUnavailable);
    issuer.offer_introspection();
    assert!(verifier.verify(&good(&issuer)).await.is_ok());
}

#[test]
fn a_verifier_that_could_not_keep_its_word_is_not_built() {
    let seconds = Duration::from_secs;
    let feed = |freshness, wait_at_start| {
        Revocation::Feed(m2m::verify::Feed {
            freshness: seconds(freshness),
            wait_at_start: seconds(wait_at_start),
            ..Default::default()
        })
    };
    let asked = |cache_for, cache_refusals_for, timeout| {
        Revocation::Introspection(Introspection {
            cache_for: seconds(cache_for),
            cache_refusals_for: seconds(cache_refusals_for),
            timeout: seconds(timeout),
        })
    };
    for (revocation, client, secret, says) in [
        (feed(30, 2), None, "", "own credentials"),
        (asked(10, 1, 2), None, "", "own credentials"),
        (feed(9, 2), Some("notes"), "s", "below 10 s"),
        (feed(30, 31), Some("notes"), "s", "30 s"),
        (asked(31, 1, 2), Some("notes"), "s", "30 s at most"),
        (asked(1, 2, 2), Some("notes"), "s", "cache_refusals_for"),
        (asked(10, 1, 0), Some("notes"), "s", "timeout"),
        (feed(30, 2), Some("notes"), "hunter2\n", "client secret"),
        (feed(30, 2), Some(""), "hunter2", "client id"),
    ] {
        let builder = Verifier::builder("http://localhost:3001/auth")
            .audience("notes")
            .revocation(revocation);
        let builder = match client {
            Some(client) => builder.client(client, secret),
            None => builder,
        };
        assert!(!format!("{builder:?}").contains("hunter2"));
        let error = builder.build().unwrap_err().to_string();
        assert!(
            error.contains(says) && !error.contains("hunter2"),
            "{error}"
        );
    }
}
