//! Tokens that are issued: the spellings of a request, and what stands in the token.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{NOW, Server, json};

/// Checks a token's signature against the published key set and returns header and claims.
pub(crate) async fn verified(server: &Server, token: &str) -> (Value, Value) {
    let set: JwkSet = server
        .get("/auth/jwt/jwks.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = DecodingKey::from_jwk(set.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.validate_exp = false; // the test's clock is not the machine's
    rules.validate_aud = false;
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules)
        .unwrap()
        .claims;
    (serde_json::to_value(header).unwrap(), claims)
}

#[actix_web::test]
async fn header_and_claims_are_those_of_the_access_token_profile() {
    let server = Server::start().await;
    let answer = server
        .ask(
            "bot",
            &[("resource", "notes"), ("scope", "note.write note.read")],
        )
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let answer = json(answer).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(answer["scope"], "note.read note.write");
    assert_eq!(
        answer.as_object().unwrap().len(),
        4,
        "no refresh token (RFC 6749 section 4.4.3)"
    );

    let (header, mut claims) = verified(&server, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(claims["jti"].take().as_str().unwrap().len(), 45);
    let expected = json!({
        "iss": server.issuer, "sub": "bot", "client_id": "bot", "aud": "notes",
        "scope": "note.read note.write", "scp": ["note.read", "note.write"],
        "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "jti": null,
    });
    assert_eq!(claims, expected);
}

#[actix_web::test]
async fn every_spelling_of_a_request_gets_the_same_token() {
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    let server = Server::start().await;
    let secret = server.secret("bot");
    let encoded_id = "%62ot"; // some clients encode more than they need to

    for (name, basic, media_type, body) in [
        (
            "form, Basic",
            Some("bot"),
            FORM,
            "grant_type=client_credentials&resource=notes&scope=note.read",
        ),
        (
            "form-encoded Basic",
            Some(encoded_id),
            FORM,
            "grant_type=client_credentials&resource=notes&scope=note.read",
        ),
        (
            "form, secret in the body",
            None,
            FORM,
            "grant_type=client_credentials&client_id=bot&client_secret=SECRET&resource=notes&scope=note.read",
        ),
        (
            "audience",
            Some("bot"),
            FORM,
            "grant_type=client_credentials&audience=notes&scope=note.read",
        ),
        (
            "both names agree",
            Some("bot"),
            FORM,
            "grant_type=client_credentials&audience=notes&resource=notes&scope=note.read",
        ),
        (
            "resource repeated",
            Some("bot"),
            FORM,
            "grant_type=client_credentials&resource=notes&resource=notes&scope=note.read",
        ),
        (
            "client id repeated",
            Some("bot"),
            FORM,
            "grant_type=client_credentials&client_id=bot&resource=notes&scope=note.read",
        ),
        (
            "empty secret in the body",
            Some("bot"),
            FORM,
            "grant_type=client_credentials&client_secret=&resource=notes&scope=note.read",
        ),
        (
            "unknown parameters",
            Some("bot"),
            FORM,
            "grant_type=client_credentials&resource=notes&scope=note.read&x=1&y",
        ),
        (
            "charset",
            Some("bot"),
            "application/x-www-form-urlencoded; charset=ISO-8859-1",
            "grant_type=client_credentials&resource=notes&scope=note.read",
        ),
        (
            "JSON, Basic",
            Some("bot"),
            JSON,
            r#"{"grant_type":"client_credentials","resource":"notes","scope":"note.read"}"#,
        ),
        (
            "JSON, secret in the body",
            None,
            JSON,
            r#"{"grant_type":"client_credentials","client_id":"bot","client_secret":"SECRET","audience":"notes","scope":"note.read"}"#,
        ),
        (
            "JSON, arrays",
            Some("bot"),
            JSON,
            r#"{"grant_type":"client_credentials","resource":["notes"],"scope":["note.read"]}"#,
        ),
        (
            "JSON, nulls and more",
            Some("bot"),
            "application/json; charset=utf-8",
            r#"{"grant_type":"client_credentials","resource":null,"audience":"notes","scope":["note.read"],"x":{"y":[1]}}"#,
        ),
    ] {
        for path in ["/auth/oauth/token", "/oauth/token"] {
            let mut request = server.post(path).header("content-type", media_type);
            if let Some(id) = basic {
                request = request.basic_auth(id, Some(&secret));
            }
            let answer = request
                .body(body.replace("SECRET", &secret))
                .send()
                .await
                .unwrap();
            assert_eq!(
                answer.status(),
                StatusCode::OK,
                "{name} at {path}: {:?}",
                answer.text().await
            );
            let answer = json(answer).await;
            let (_, claims) = verified(&server, answer["access_token"].as_str().unwrap()).await;
            assert_eq!(
                (&claims["aud"], &claims["scp"]),
                (&json!("notes"), &json!(["note.read"]))
            );
        }
    }
}

#[actix_web::test]
async fn what_is_not_asked_for_follows_from_the_grants() {
    let server = Server::start().await;
    let all = json(
        server
            .ask("bot", &[("resource", "notes"), ("scope", "")])
            .await,
    )
    .await;
    assert_eq!(
        all["scope"], "note.read note.write",
        "no scope is all scopes of the grant"
    );

    let only = json(server.ask("single", &[]).await).await;
    let (_, claims) = verified(&server, only["access_token"].as_str().unwrap()).await;
    assert_eq!(
        claims["aud"], "plain",
        "no resource is the one that is granted"
    );
    assert_eq!((&claims["scope"], &claims["scp"]), (&json!(""), &json!([])));
}

#[actix_web::test]
async fn a_token_lives_as_long_as_grant_and_resource_allow() {
    let server = Server::start().await;
    let life = async |client, resource| {
        json(server.ask(client, &[("resource", resource)]).await).await["expires_in"].take()
    };
    assert_eq!(life("bot", "notes").await, 3600, "the default");
    assert_eq!(life("bot", "calendar").await, 300, "a grant shortens it");
    assert_eq!(
        life("ending", "notes").await,
        600,
        "no longer than the grant itself"
    );
    server.clock.advance(Duration::from_mins(10));
    let ended = server.ask("ending", &[("resource", "notes")]).await;
    assert_eq!(json(ended).await["error"], "unauthorized_client");
}

#[actix_web::test]
async fn no_two_tokens_share_an_id() {
    let server = Server::start().await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let answer = json(server.ask("single", &[]).await).await;
        let (_, claims) = verified(&server, answer["access_token"].as_str().unwrap()).await;
        assert!(ids.insert(claims["jti"].as_str().unwrap().to_owned()));
    }
}
