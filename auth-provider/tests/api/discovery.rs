//! Metadata, key set and health: true to what is running, cheap to ask often.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Server, json};

const METADATA: [&str; 6] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/auth",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/auth",
    "/auth/.well-known/oauth-authorization-server",
    "/auth/.well-known/openid-configuration",
];

const KEY_SET: [&str; 4] = [
    "/jwt/jwks.json",
    "/.well-known/jwks.json",
    "/auth/jwt/jwks.json",
    "/auth/.well-known/jwks.json",
];

#[actix_web::test]
async fn metadata_is_the_same_at_every_spelling_and_follows_the_url() {
    let server = Server::start().await;
    let issuer = &server.issuer;
    for path in METADATA {
        let answer = server.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let expected = json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/oauth/token"),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "introspection_endpoint": format!("{issuer}/oauth/introspect"),
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "token_introspection_endpoint": format!("{issuer}/oauth/introspect"),
            "revocation_endpoint": format!("{issuer}/oauth/revoke"),
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "urn:m2m:oauth:revocations_endpoint": format!("{issuer}/oauth/revocations"),
            "grant_types_supported": ["client_credentials"],
            "jwks_uri": format!("{issuer}/jwt/jwks.json"),
            "authorization_endpoint": format!("{issuer}/oauth/authorize"),
            "response_types_supported": ["none"],
        });
        assert_eq!(json(answer).await, expected, "{path}");
    }
}

/// What the metadata names must answer, or a client is sent into the void.
#[actix_web::test]
async fn every_advertised_endpoint_answers() {
    let server = Server::start().await;
    let metadata = json(server.get(METADATA[0]).send().await.unwrap()).await;
    let at = |name: &str| metadata[name].as_str().unwrap().to_owned();

    let keys = server.http.get(at("jwks_uri")).send().await.unwrap();
    assert_eq!(keys.status(), StatusCode::OK);
    let login = server
        .http
        .get(at("authorization_endpoint"))
        .send()
        .await
        .unwrap();
    assert_eq!(login.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json(login).await["error"], "unsupported_response_type");
    let token = server
        .http
        .post(at("token_endpoint"))
        .basic_auth("single", Some(server.secret("single")));
    let token = token
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    assert_eq!(token.status(), StatusCode::OK);
}

#[actix_web::test]
async fn documents_are_cached_and_revalidated() {
    let server = Server::start().await;
    for path in METADATA.iter().chain(&KEY_SET) {
        let first = server.get(path).send().await.unwrap();
        assert_eq!(
            first.headers()["cache-control"],
            "public, max-age=300",
            "{path}"
        );
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        for (sent, status) in [
            (etag.clone(), StatusCode::NOT_MODIFIED),
            (format!("W/{etag}"), StatusCode::NOT_MODIFIED),
            (format!("\"other\", {etag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
            ("nonsense".to_owned(), StatusCode::OK),
        ] {
            let again = server
                .get(path)
                .header("if-none-match", &sent)
                .send()
                .await
                .unwrap();
            assert_eq!(again.status(), status, "{path} {sent}");
            assert_eq!(again.headers()["etag"], etag.as_str());
        }
        let head = server
            .http
            .head(format!("{}{path}", server.url))
            .send()
            .await
            .unwrap();
        assert_eq!(head.status(), StatusCode::OK);
        let post = server.post(path).send().await.unwrap();
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(post.headers()["allow"], "GET, HEAD");
    }
}

#[actix_web::test]
async fn the_key_set_shows_public_members_only() {
    let server = Server::start().await;
    for path in KEY_SET {
        let set = json(server.get(path).send().await.unwrap()).await;
        let key = set["keys"][0].as_object().unwrap();
        let members: Vec<&str> = key.keys().map(String::as_str).collect();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!((&key["alg"], &key["use"]), (&json!("ES256"), &json!("sig")));
    }
}

#[actix_web::test]
async fn health_and_readiness_are_told_apart() {
    let server = Server::start().await;
    let health = server.get("/health").send().await.unwrap();
    assert_eq!(json(health).await, json!({"status": "ok"}));
    let ready = server.get("/ready").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    assert_eq!(
        json(ready).await,
        json!({"status": "ready", "checks": {"database": "ok", "serving": "ok"}})
    );
}

#[actix_web::test]
async fn an_unknown_path_is_a_clean_404() {
    let server = Server::start().await;
    for path in [
        "/",
        "/auth",
        "/oauth/token/",
        "/auth/oauth",
        "/..%2f..%2fetc/passwd",
        "/%ff",
    ] {
        let answer = server.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

/// Whatever stands in front of it sends nobody here any more, while those who are here are still answered.
#[actix_web::test]
async fn who_stops_is_not_ready_and_still_answers() {
    let server = Server::start().await;
    server.auth.stopping.send_replace(true);
    let ready = server.get("/ready").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let checks = json(ready).await["checks"].clone();
    assert_eq!(
        checks,
        json!({"database": "ok", "serving": "the server is stopping"})
    );
    let token = server.token("bot", "notes").await;
    assert_eq!(
        server.introspect("notes-server", &token).await["active"],
        true
    );
}
