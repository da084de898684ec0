//! Issuers that misbehave: what they answer is not believed, and nobody hangs.

use std::time::Duration;

use m2m::{FetchError, TokenError, TokenSource, Verifier};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method, path},
};

const METADATA: &str = "/.well-known/oauth-authorization-server/t1";
const OPENID_METADATA: &str = "/t1/.well-known/openid-configuration";

async fn serve(server: &MockServer, at: &str, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(answer)
        .mount(server)
        .await;
}

fn issuer(server: &MockServer) -> String {
    format!("{}/t1", server.uri())
}

fn metadata(server: &MockServer) -> serde_json::Value {
    json!({
        "issuer": issuer(server),
        "jwks_uri": format!("{}/keys?v=1", server.uri()),
        "something_new": {"a": [1]},
    })
}

fn verifier(server: &MockServer) -> Verifier {
    Verifier::builder(issuer(server))
        .audience("notes")
        .build()
        .unwrap()
}

/// A token with a header that leads as far as the keys.
fn any_token() -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#);
    format!("{header}.e30.AAAA")
}

/// Why no keys could be loaded.
async fn failure(server: &MockServer) -> String {
    let verifier = verifier(server);
    let refused = verifier.verify(&any_token()).await.unwrap_err();
    assert_eq!(refused, TokenError::IssuerUnavailable);
    verifier.health().await.unwrap_err()
}

#[tokio::test]
async fn keys_are_found_through_either_kind_of_metadata() {
    for at in [METADATA, OPENID_METADATA] {
        let server = MockServer::start().await;
        serve(
            &server,
            at,
            ResponseTemplate::new(200).set_body_json(metadata(&server)),
        )
        .await;
        let keys = ResponseTemplate::new(200).set_body_json(json!({"keys": []}));
        serve(&server, "/keys", keys).await;
        let refused = verifier(&server).verify(&any_token()).await.unwrap_err();
        assert!(
            matches!(refused, TokenError::Invalid(_)),
            "{at}: there is a key set"
        );
    }
}

#[tokio::test]
async fn a_configured_key_set_needs_no_metadata() {
    let server = MockServer::start().await;
    serve(
        &server,
        "/keys",
        ResponseTemplate::new(200).set_body_json(json!({"keys": []})),
    )
    .await;
    let verifier = Verifier::builder(issuer(&server))
        .audience("notes")
        .key_set_url(format!("{}/keys", server.uri()))
        .build()
        .unwrap();
    verifier.ready().await;
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn metadata_that_cannot_be_right_is_refused_with_the_reason() {
    let server = MockServer::start().await;
    let with = |name: &str, value: serde_json::Value| {
        let mut document = metadata(&server);
        document[name] = value;
        ResponseTemplate::new(200).set_body_json(document)
    };
    let too_large = vec![b' '; 300_000];
    for (answer, reason) in [
        (with("issuer", json!(server.uri())), "is configured"),
        (
            with("issuer", json!(format!("{}/t1/", server.uri()))),
            "is configured",
        ),
        (with("issuer", json!(null)), "no metadata"),
        (with("jwks_uri", json!(null)), "jwks_uri"),
        (
            with("jwks_uri", json!("http://keys.example.com/")),
            "key set",
        ),
        (with("jwks_uri", json!("file:///etc/passwd")), "key set"),
        (
            ResponseTemplate::new(200).set_body_string("<html>"),
            "no metadata",
        ),
        (
            ResponseTemplate::new(200).set_body_bytes(too_large),
            "too large",
        ),
        (ResponseTemplate::new(404), "status 404"),
        (ResponseTemplate::new(500), "status 500"),
        (
            ResponseTemplate::new(302).insert_header("Location", OPENID_METADATA),
            "status 302",
        ),
    ] {
        server.reset().await;
        serve(&server, METADATA, answer).await;
        let failure = failure(&server).await;
        assert!(failure.contains(reason), "{reason}: {failure}");
    }
}

#[tokio::test]
async fn a_key_set_that_cannot_be_right_is_refused_with_the_reason() {
    let server = MockServer::start().await;
    let too_large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    for (answer, reason) in [
        (
            ResponseTemplate::new(200).set_body_string("[]"),
            "no key set",
        ),
        (
            ResponseTemplate::new(200).set_body_string("{}"),
            "no key set",
        ),
        (
            ResponseTemplate::new(200).set_body_string(too_large),
            "too large",
        ),
        (ResponseTemplate::new(204), "status 204"),
        (
            ResponseTemplate::new(301).insert_header("Location", "/elsewhere"),
            "status 301",
        ),
    ] {
        server.reset().await;
        let metadata = ResponseTemplate::new(200).set_body_json(metadata(&server));
        serve(&server, METADATA, metadata).await;
        serve(&server, "/keys", answer).await;
        let failure = failure(&server).await;
        assert!(failure.contains(reason), "{reason}: {failure}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_said_to_be_not_there() {
    let url = "http://127.0.0.1:1/auth"; // nobody has port 1
    let tokens = TokenSource::client_secret(url, "assistant", "secret").unwrap();
    let error = tokens.token(&[], "notes").await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }));
    assert!(
        error.to_string().contains("is the issuer running there?"),
        "{error}"
    );
}

#[tokio::test]
async fn an_issuer_that_never_answers_costs_the_timeout() {
    let server = MockServer::start().await;
    let never = ResponseTemplate::new(200).set_delay(Duration::from_hours(1));
    Mock::given(any()).respond_with(never).mount(&server).await;
    let tokens = TokenSource::builder(issuer(&server), "assistant", "secret")
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let error = tokens.token(&[], "notes").await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
}
