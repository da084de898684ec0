//! Callers: who is let in, and what the others are told.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{NOW, Service, TOKEN, active, header, refused, says};

const UNAVAILABLE: (u16, &str) = (503, "temporarily_unavailable");

#[tokio::test]
async fn the_open_paths_need_no_token_and_no_provider() {
    let service = Service::start().await;
    for path in ["/health", "/public", "/metrics"] {
        let response = service.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "cache-control"), "no-store", "{path}");
    }
    let ready = service.get("/ready").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let ready: Value = ready.json().await.unwrap();
    let why = ready["checks"]["introspection"].as_str().unwrap();
    assert!(why.contains("/introspect has not answered yet"), "{why}");
}

#[tokio::test]
async fn a_caller_with_the_scope_is_told_how_it_is_seen() {
    let service = Service::told(says(&active(&json!({
        "scope": "write read", "sub": "somebody", "department": "secret",
    }))))
    .await;
    let response = service.protected().send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "cache-control"), "no-store");
    let seen: Value = response.json().await.unwrap();
    let expected = json!({"client": "job", "scopes": ["read", "write"], "expires_at": NOW + 60});
    assert_eq!(seen, expected);
    let head = service.http.head(format!("{}/protected", service.url));
    let head = head.bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(service.asked(TOKEN).await, 1, "the answer is remembered");
}

#[tokio::test]
async fn a_caller_without_a_token_is_told_so_and_nobody_is_asked() {
    let service = Service::told(says(&active(&json!({})))).await;
    for authorization in [None, Some(""), Some("Basic YTpi"), Some(TOKEN)] {
        let mut request = service.get("/protected?access_token=2YotnFZFEjr1zCsicMWpAA");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let (status, error, challenge) = refused(request).await;
        assert_eq!((status, &*error), (401, "missing_token"));
        // RFC 6750 section 3.1: no code for who showed no token.
        assert_eq!(challenge, "Bearer realm=\"resource-server\"");
    }
    assert_eq!(service.asked(TOKEN).await, 0);
}

#[tokio::test]
async fn two_tokens_are_none() {
    let service = Service::told(says(&active(&json!({})))).await;
    for request in [
        service.protected().bearer_auth(TOKEN),
        service.get("/protected?access_token=x").bearer_auth(TOKEN),
    ] {
        let (status, error, challenge) = refused(request).await;
        assert_eq!((status, &*error), (400, "invalid_request"));
        assert!(
            challenge.contains("error=\"invalid_request\""),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_a_token_is_refused_without_asking() {
    let service = Service::told(says(&active(&json!({})))).await;
    let long = "a".repeat(16 * 1024 + 1);
    for token in ["", "a b", "\"a\"", "a,b", &long] {
        let (status, error, _) = refused(service.get("/protected").bearer_auth(token)).await;
        assert_eq!((status, &*error), (401, "invalid_token"), "{token:.20}");
    }
    assert_eq!(service.asked(TOKEN).await, 0);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_its_bearer_is_told_the_same() {
    let mut answers = Vec::new();
    for answer in [
        json!({"active": false}),
        json!({"active": false, "client_id": "canary", "scope": "read"}),
        active(&json!({"aud": "canary"})),
        active(&json!({"exp": NOW - 3600, "client_id": "canary"})),
        active(&json!({"nbf": NOW + 3600})),
        active(&json!({"cnf": {"jkt": "canary"}})),
        active(&json!({"scope": ["canary", 7]})),
    ] {
        let service = Service::told(says(&answer)).await;
        let response = service.protected().send().await.unwrap();
        assert_eq!(response.status(), 401, "{answer}");
        let challenge = header(&response, "www-authenticate").to_owned();
        answers.push((challenge, response.text().await.unwrap()));
    }
    answers.dedup();
    let [(challenge, body)] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert!(!format!("{challenge}{body}").contains("canary"));
    assert!(challenge.starts_with("Bearer realm=\"resource-server\", error=\"invalid_token\""));
    assert!(body.contains("\"error\":\"invalid_token\""), "{body}");
}

#[tokio::test]
async fn who_lacks_the_scope_is_told_which_one_and_not_which_ones_the_token_has() {
    for scope in [
        json!("write"),
        json!("READ"),
        json!("read.all"),
        json!("read:canary"),
        json!(["write"]),
        json!(""),
        json!(null),
    ] {
        let service = Service::told(says(&active(&json!({"scope": scope})))).await;
        let response = service.protected().send().await.unwrap();
        let challenge = header(&response, "www-authenticate").to_owned();
        assert_eq!(
            challenge,
            "Bearer realm=\"resource-server\", error=\"insufficient_scope\", error_description=\"the \
             token does not have the scope read: ask for one that does\", scope=\"read\"",
            "{scope}"
        );
        let (status, error, _) = refused(service.protected()).await;
        assert_eq!((status, &*error), (403, "insufficient_scope"), "{scope}");
    }
}

#[tokio::test]
async fn of_several_required_scopes_all_are_needed() {
    let service = Service::configured(&["--required-scope", "write read"]).await;
    for (scope, expected) in [("read", 403), ("write", 403), ("x read write", 200)] {
        service
            .answer(says(&active(&json!({"scope": scope}))))
            .await;
        let request = service
            .get("/protected")
            .bearer_auth(format!("{expected}{}", scope.len()));
        assert_eq!(request.send().await.unwrap().status(), expected, "{scope}");
    }
}

#[tokio::test]
async fn many_requests_with_one_token_ask_once() {
    let slowly = says(&active(&json!({}))).set_delay(std::time::Duration::from_millis(100));
    let service = Service::told(slowly).await;
    let answers = join_all((0..50).map(|_| service.protected().send())).await;
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.unwrap().status() == 200)
    );
    assert_eq!(service.asked(TOKEN).await, 1);
}

#[tokio::test]
async fn a_provider_that_fails_for_one_token_lets_nobody_in_and_then_recovers() {
    let service = Service::told(ResponseTemplate::new(500)).await;
    let (status, error, challenge) = refused(service.protected()).await;
    assert_eq!((status, &*error), UNAVAILABLE);
    assert_eq!(challenge, "", "another token would not help");
    let answer = service.protected().send().await.unwrap();
    assert_eq!(header(&answer, "retry-after"), "5");
    service.answer(says(&active(&json!({})))).await;
    assert_eq!(service.protected().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_there_is_not_is_said_in_the_same_form() {
    let service = Service::start().await;
    for path in [
        "/",
        "/protected/",
        "/Protected",
        "/public/x",
        "/protected%00",
    ] {
        let (status, error, _) = refused(service.get(path)).await;
        assert_eq!((status, &*error), (404, "not_found"), "{path}");
    }
    for path in ["/public", "/protected"] {
        let request = service
            .http
            .request(Method::POST, format!("{}{path}", service.url));
        let (status, error, _) = refused(request).await;
        assert_eq!((status, &*error), (405, "method_not_allowed"), "{path}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status_and_by_nothing_that_a_caller_sends() {
    let service = Service::told(says(&active(&json!({})))).await;
    for (path, bearer) in [
        ("/public", None),
        ("/protected", None),
        ("/protected?canary", Some(TOKEN)),
        ("/canary", None),
    ] {
        let mut request = service.get(path);
        if let Some(token) = bearer {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap();
    }
    let metrics = service.get("/metrics").send().await.unwrap();
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(header(&metrics, "content-type"), expected);
    let metrics = metrics.text().await.unwrap();
    for (route, status) in [
        ("/public", 200),
        ("/protected", 401),
        ("/protected", 200),
        ("other", 404),
    ] {
        let line = format!(
            "duration_seconds_count{{method=\"GET\",route=\"{route}\",status=\"{status}\"}} 1\n"
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(!metrics.contains("canary"), "{metrics}");
    let asked = "verifier_introspections_total{outcome=\"success\"} ";
    assert!(metrics.contains(asked), "{metrics}");
}
