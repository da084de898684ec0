//! `POST /query`: every answer that it has, and who may ask.

use m2m::testing::refusals;
use reqwest::Response;
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use super::{NOBODY, Service, header, refused, start, text};

/// A target that is not one of ours.
async fn strange_target(answer: ResponseTemplate) -> MockServer {
    let target = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/hello"))
        .respond_with(answer)
        .mount(&target)
        .await;
    target
}

#[tokio::test]
async fn the_greeting_of_another_service_is_relayed() {
    let service = Service::start().await;
    let m2 = start(
        "m2",
        service.issuer.url(),
        &service.clock,
        &[("m1", NOBODY)],
        |_| {},
    );
    let m1 = start(
        "m1",
        service.issuer.url(),
        &service.clock,
        &[("m2", &m2)],
        |_| {},
    );
    let query = service.http.post(format!("{m1}/query"));
    let query = query.json(&json!({"target": "m2"}));
    assert_eq!(text(query).await, "Hello to m1 from m2!");
}

#[tokio::test]
async fn the_trace_of_the_caller_goes_on_to_the_target() {
    let service = Service::start().await;
    let target = strange_target(ResponseTemplate::new(200).set_body_string("hello")).await;
    let uri = target.uri();
    let m1 = start(
        "m1",
        service.issuer.url(),
        &service.clock,
        &[("m2", &uri)],
        |_| {},
    );
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let query = service.http.post(format!("{m1}/query"));
    let query = query.json(&json!({"target": "m2"}));
    assert_eq!(text(query.header("traceparent", trace)).await, "hello");
    let received = target.received_requests().await.unwrap();
    assert_eq!(received[0].headers["traceparent"], trace);
}

#[tokio::test]
async fn a_target_that_policy_forbids_is_401_and_says_so() {
    let service = Service::start().await;
    for (error, says) in [
        ("invalid_target", "it may call \"m3\""),
        ("unauthorized_client", "it has no grants"),
        ("invalid_scope", "it allows \\nothing"),
        ("access_denied", "no"),
    ] {
        let body = json!({"error": error, "error_description": says});
        service.issuer.fail_token_requests(Some((400, body)));
        let answer = service.query("m2").send().await.unwrap();
        let challenge = header(&answer, "www-authenticate").to_owned();
        let quoted = says.replace(['"', '\\'], "'");
        let description = format!("m1 may not call m2: policy forbids it ({quoted})");
        assert_eq!(
            challenge,
            format!(
                "Bearer realm=\"m1\", error=\"access_denied\", error_description=\"{description}\""
            )
        );
        let (status, problem) = refused(service.query("m2")).await;
        assert_eq!(status, 401, "{problem}");
        assert_eq!(problem["error"], "access_denied");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("policy forbids it") && detail.contains(says),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn an_unknown_target_is_404_and_not_repeated() {
    let service = Service::start().await;
    let long = "m".repeat(60_000);
    for target in [
        "",
        "m3",
        "M2",
        "m2 ",
        "m2/../m2",
        "http://127.0.0.1:8002",
        "\0",
        "ü",
        &long,
    ] {
        let (status, problem) = refused(service.query(target)).await;
        assert_eq!(status, 404, "{target}");
        assert_eq!(problem["field"], "target");
        assert_eq!(
            problem["detail"],
            "there is no service of that name: name one of m2 as `target`"
        );
    }
    assert_eq!(service.issuer.requests(m2m::testing::TestIssuer::TOKEN), 0);
}

#[tokio::test]
async fn a_target_that_is_down_or_no_service_of_ours_is_502() {
    let service = Service::start().await;
    let (status, problem) = refused(service.query("m2")).await;
    assert_eq!(status, 502);
    assert_eq!(problem["detail"], "m2 does not answer: is it running?");

    for (answer, says) in [
        (ResponseTemplate::new(404), "status 404"),
        (ResponseTemplate::new(403), "status 403"),
        (
            ResponseTemplate::new(500).set_body_string("a secret"),
            "status 500",
        ),
        (
            ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/"),
            "status 302",
        ),
        (ResponseTemplate::new(204), "status 204"),
        (
            ResponseTemplate::new(200).set_body_bytes([0xff, 0xfe]),
            "no text",
        ),
        (
            ResponseTemplate::new(200).set_body_string("x".repeat(65_537)),
            "more than 65536 bytes",
        ),
    ] {
        let target = strange_target(answer).await;
        let service = Service::knowing(&[("m2", &target.uri())]).await;
        let (status, problem) = refused(service.query("m2")).await;
        assert_eq!(status, 502, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("m2 did not greet but answered "),
            "{detail}"
        );
        assert!(detail.ends_with(says), "{detail}");
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_503() {
    let is_503 = async |answer: Response| {
        assert_eq!(header(&answer, "retry-after"), "5");
        assert_eq!(answer.status(), 503);
    };
    let unreachable = Service::with(&[("m2", NOBODY)], |config| {
        config.issuer = format!("{NOBODY}/auth");
    });
    is_503(unreachable.await.query("m2").send().await.unwrap()).await;

    let no_credentials = Service::with(&[("m2", NOBODY)], |config| config.client = None);
    is_503(no_credentials.await.query("m2").send().await.unwrap()).await;

    let service = Service::start().await;
    for (status, error) in [
        (401, "invalid_client"),
        (400, "invalid_request"),
        (429, "temporarily_unavailable"),
        (500, "server_error"),
        (503, "temporarily_unavailable"),
    ] {
        let body = json!({"error": error, "error_description": "x"});
        service.issuer.fail_token_requests(Some((status, body)));
        is_503(service.query("m2").send().await.unwrap()).await;
    }
    let nonsense = json!({"access_token": 7});
    service.issuer.fail_token_requests(Some((200, nonsense)));
    is_503(service.query("m2").send().await.unwrap()).await;
    service.issuer.fail_token_requests(None);
    service.issuer.set_down(true);
    is_503(service.query("m2").send().await.unwrap()).await;
    service.issuer.set_down(false);
    assert_eq!(
        refused(service.query("m2")).await.0,
        502,
        "now it is m2 that is missing"
    );
}

#[tokio::test]
#[rustfmt::skip]
async fn a_body_that_is_missing_or_broken_is_400_and_the_service_goes_on() {
    let service = Service::start().await;
    let json = "application/json";
    let abyss = format!("{{\"target\": {}", "[".repeat(60_000));
    let large = format!("{{\"target\": \"{}\"}}", "x".repeat(65 * 1024));
    for (status, content_type, says, body) in [
        (400, json, "no body", &b""[..]),
        (400, "", "no body", b""),
        (400, "text/plain", "no body", b""),
        (400, json, "no JSON object", b"{"),
        (400, json, "no JSON object", b"null"),
        (400, json, "no JSON object", b"1"),
        (400, json, "no JSON object", b"\"m2\""),
        (400, json, "no JSON object", b"[\"m2\"]"),
        (400, json, "no JSON object", b"target=m2"),
        (400, json, "no JSON object", b"{\"target\": \"m2\"} x"),
        (400, json, "no JSON object", b"{\"target\": \"m2\",}"),
        (400, json, "no JSON object", b"{'target': 'm2'}"),
        (400, json, "no JSON object", b"{\"target\": \"\xff\"}"),
        (400, json, "no JSON object", b"\xef\xbb\xbf{\"target\": \"m2\"}"),
        (400, json, "no JSON object", b"\xff\xfe{\0}\0"),
        (400, json, "no JSON object", b"\0"),
        (400, json, "no JSON object", abyss.as_bytes()),
        (400, "application/x-www-form-urlencoded", "no JSON object", b"target=m2"),
        (400, json, "missing field `target`", b"{}"),
        (400, json, "unknown field `Target`", b"{\"Target\": \"m2\"}"),
        (400, json, "unknown field", b"{\"target\": \"m2\", \"__proto__\": {}}"),
        (400, json, "duplicate field", b"{\"target\": \"m2\", \"target\": \"m2\"}"),
        (400, json, "`target` does not fit", b"{\"target\": null}"),
        (400, json, "`target` does not fit", b"{\"target\": 2}"),
        (400, json, "`target` does not fit", b"{\"target\": [\"m2\"]}"),
        (400, json, "`target` does not fit", b"{\"target\": {\"m2\": 1}}"),
        (413, json, "larger", large.as_bytes()),
        (415, "text/plain", "Content-Type", b"{\"target\": \"m2\"}"),
        (415, "", "Content-Type", b"{\"target\": \"m2\"}"),
        (415, "application/json; charset=utf-16", "Content-Type", b"{\"target\": \"m2\"}"),
    ] {
        let request = service.anonymous("POST", "/query").body(body.to_vec());
        let request = if content_type.is_empty() { request } else { request.header("content-type", content_type) };
        let (got, problem) = refused(request).await;
        assert_eq!(got, status, "{says}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{says}: {problem}");
    }
    for encoding in ["gzip", "br", "x"] {
        let request = service.query("m2").header("content-encoding", encoding);
        assert_eq!(refused(request).await.0, 415);
    }
    assert_eq!(refused(service.query("m2")).await.0, 502, "it still does its work");
    assert_eq!(service.issuer.requests(m2m::testing::TestIssuer::TOKEN), 1);
}

#[tokio::test]
async fn who_asks_from_elsewhere_needs_a_token_for_this_service() {
    // Behind a proxy everybody is at the proxy's address.
    let service = Service::with(&[("m2", NOBODY)], |config| config.behind_tls_proxy = true).await;
    for refusal in refusals(&service.issuer, "m1", "hello") {
        // The body is broken, and still it is the token that is spoken of.
        let request = service.anonymous("POST", "/query").body("{");
        refusal.check("m1", request).await;
    }
    let admitted = service.query("m2").bearer_auth(service.token());
    assert_eq!(refused(admitted).await.0, 502);

    // A web page whose name was pointed at this machine asks under its own name.
    let service = Service::start().await;
    let rebound = || service.query("m2").header("host", "rebound.example.com");
    assert_eq!(refused(rebound()).await.0, 401);
    assert_eq!(refused(rebound().bearer_auth(service.token())).await.0, 502);
}
