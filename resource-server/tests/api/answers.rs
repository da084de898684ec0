//! Providers: what their answers come to, whatever they are.

use std::time::Duration;

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{NOW, Service, TOKEN, active, refused, says};

#[tokio::test]
#[rustfmt::skip]
async fn what_an_answer_comes_to() {
    for (what, answer, status) in [
        // What servers of RFC 7662 say about a good token.
        ("only what must be said", json!({"active": true, "scope": "read"}), 200),
        ("aud is a text", active(&json!({"aud": "resource-server"})), 200),
        ("aud is a list", active(&json!({"aud": ["x", "resource-server"]})), 200),
        ("no aud", active(&json!({"aud": null})), 200),
        ("aud is an empty list", active(&json!({"aud": []})), 200),
        ("no exp", active(&json!({"exp": null})), 200),
        ("exp has a fraction", active(&json!({"exp": 1_800_000_060.5})), 200),
        ("another issuer", active(&json!({"iss": "https://auth.example"})), 200),
        ("more than we know of", active(&json!({"ext": {"a": [1]}, "username": ""})), 200),
        ("members that are null", json!({"active": true, "scope": "read", "aud": null, "exp": null}), 200),
        // What is not good.
        ("inactive", json!({"active": false}), 401),
        ("expired", active(&json!({"exp": NOW - 11})), 401),
        ("expired long ago", active(&json!({"exp": 0})), 401),
        ("not yet valid", active(&json!({"nbf": NOW + 11})), 401),
        ("issued in the future", active(&json!({"iat": NOW + 11})), 401),
        ("exp is a text", active(&json!({"exp": "4102444800"})), 401),
        ("for somebody else", active(&json!({"aud": "another"})), 401),
        ("for several others", active(&json!({"aud": ["another", "resource-servers"]})), 401),
        ("bound to a key", active(&json!({"cnf": {"jkt": "x"}})), 401),
        ("a refresh token", active(&json!({"token_use": "refresh_token"})), 401),
        ("no scope", active(&json!({"scope": null})), 403),
        // What is no answer.
        ("active is a text", active(&json!({"active": "true"})), 503),
        ("active is a number", active(&json!({"active": 1})), 503),
        ("no active", active(&json!({"active": null})), 503),
        ("an error", json!({"error": "invalid_client"}), 503),
        ("a list", json!([active(&json!({}))]), 503),
        ("a truth", json!(true), 503),
    ] {
        let service = Service::told(says(&answer)).await;
        let response = service.protected().send().await.unwrap();
        assert_eq!(response.status(), status, "{what}");
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn who_does_not_answer_in_the_way_of_the_rfc_lets_nobody_in() {
    let good = || active(&json!({})).to_string();
    let text = |text: String| ResponseTemplate::new(200).set_body_string(text);
    let elsewhere = |status: u16| ResponseTemplate::new(status)
        .insert_header("location", "/elsewhere").set_body_string(good());
    for (what, answer) in [
        ("500", ResponseTemplate::new(500).set_body_string(good())),
        ("503", ResponseTemplate::new(503).set_body_string(good())),
        ("401", ResponseTemplate::new(401).set_body_string(good())),
        ("404", ResponseTemplate::new(404).set_body_string(good())),
        ("201", ResponseTemplate::new(201).set_body_string(good())),
        ("nothing", text(String::new())),
        ("garbage", text("<html>active: true</html>".to_owned())),
        ("half", text(good()[1..].to_owned())),
        ("active twice", text(good().replacen('{', "{\"active\":true,", 1))),
        ("huge", text(format!("{}{}", " ".repeat(300_000), good()))),
        ("deep", text("[".repeat(9_000))),
        ("no text", ResponseTemplate::new(200).set_body_bytes(vec![0xff])),
        ("a redirect", elsewhere(302)),
        ("a redirect that keeps the method", elsewhere(307)),
    ] {
        let service = Service::told(answer).await;
        let (status, error, _) = refused(service.protected()).await;
        assert_eq!((status, &*error), (503, "temporarily_unavailable"), "{what}");
        let requests = service.provider.received_requests().await.unwrap();
        assert!(requests.iter().all(|request| request.url.path() == "/introspect"), "{what}");
    }
}

#[tokio::test]
async fn who_answers_too_late_lets_nobody_in() {
    let service = Service::waiting(Duration::from_millis(20), &[]).await;
    let late = says(&active(&json!({}))).set_delay(Duration::from_hours(1));
    service.answer(late).await;
    let (status, error, _) = refused(service.protected()).await;
    assert_eq!((status, &*error), (503, "temporarily_unavailable"));
    assert_eq!(service.asked(TOKEN).await, 3);
}

#[tokio::test]
async fn an_end_that_the_provider_does_not_say_is_not_made_up() {
    let service = Service::told(says(&json!({"active": true, "scope": "read"}))).await;
    let response = service.protected().send().await.unwrap();
    let seen: Value = response.json().await.unwrap();
    let expected = json!({"client": null, "scopes": ["read"], "expires_at": null});
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_revoked_token_is_refused_when_the_answer_no_longer_counts() {
    for (arguments, seconds) in [(&[][..], 10), (&["--cache-seconds", "3"][..], 3)] {
        let service = Service::configured(arguments).await;
        service.answer(says(&active(&json!({})))).await;
        assert_eq!(service.protected().send().await.unwrap().status(), 200);
        service.answer(says(&json!({"active": false}))).await;
        service
            .clock
            .advance(Duration::from_millis(seconds * 1000 - 1));
        assert_eq!(service.protected().send().await.unwrap().status(), 200);
        service.clock.advance(Duration::from_millis(1));
        assert_eq!(service.protected().send().await.unwrap().status(), 401);
        assert_eq!(service.asked(TOKEN).await, 1);
    }
}

#[tokio::test]
async fn nothing_is_remembered_where_the_configuration_says_so() {
    let service = Service::configured(&["--cache-seconds", "0"]).await;
    service.answer(says(&active(&json!({})))).await;
    for _ in 0..3 {
        assert_eq!(service.protected().send().await.unwrap().status(), 200);
    }
    assert_eq!(service.asked(TOKEN).await, 3);
}

#[tokio::test]
async fn a_name_of_its_own_is_looked_for_in_aud() {
    let service = Service::configured(&["--audience", "files"]).await;
    for (aud, expected) in [("files", 200), ("resource-server", 401)] {
        service.answer(says(&active(&json!({"aud": aud})))).await;
        let request = service.get("/protected").bearer_auth(aud);
        assert_eq!(request.send().await.unwrap().status(), expected, "{aud}");
    }
}

#[tokio::test]
async fn it_is_ready_as_soon_as_the_provider_has_answered_a_question() {
    let service = Service::told(says(&json!({"active": false}))).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while service.get("/ready").send().await.unwrap().status() != 200 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}
