//! Tokens of a project, and the keys to verify them with.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{server, text};
use crate::support::{NOW, Server, json};

const TOKEN: &str = "/v1/public/project-demo/oauth2/token";

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn client(server: &Server, scopes: Value) -> (String, String) {
    let made = server
        .made(json!({"scopes": scopes, "trusted_metadata": {"tier": "gold", "private": 1}}))
        .await;
    (
        text(&made, "client_id").to_owned(),
        text(&made, "client_secret").to_owned(),
    )
}

#[actix_web::test]
async fn a_token_says_what_stytchs_say_and_nothing_else() {
    let server = server().await;
    let (id, secret) = client(&server, json!(["read:users", "write:users"])).await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", &secret),
    ];
    let answer = server.post(TOKEN).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let answer = json(answer).await;
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("bearer"), &json!(3600))
    );
    assert_eq!(answer["status_code"], 200);
    assert!(!text(&answer, "request_id").is_empty());
    let token = text(&answer, "access_token");
    let header = part(token, 0);
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("JWT"), &json!("RS256"))
    );
    assert_eq!(
        part(token, 1),
        json!({
            "iss": "stytch.com/project-demo",
            "sub": id,
            "aud": ["project-demo"],
            "scope": "read:users write:users",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 3600,
            "tier": "gold",
        })
    );
}

#[actix_web::test]
async fn scopes_can_be_asked_for_in_every_way_that_libraries_do() {
    let server = server().await;
    let (id, secret) = client(&server, json!(["a", "b"])).await;
    for (more, scope) in [
        (json!({"scope": "a"}), "a"),
        (json!({"scope": "b a"}), "a b"),
        (json!({"scope": ""}), "a b"),
        (json!({"scope": null}), "a b"),
        (json!({"scopes": ["b"]}), "b"),
        (json!({"scopes": null}), "a b"),
        (json!({"extra": {"x": 1}, "audience": "elsewhere"}), "a b"),
    ] {
        let mut body =
            json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = json(server.ask_project("project-demo", &body).await).await;
        assert_eq!(
            part(text(&answer, "access_token"), 1)["scope"],
            scope,
            "{more}"
        );
        assert_eq!(
            part(text(&answer, "access_token"), 1)["aud"],
            json!(["project-demo"])
        );
    }
    let (id, secret) = client(&server, json!([])).await;
    let body =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let answer = json(server.ask_project("project-demo", &body).await).await;
    assert_eq!(part(text(&answer, "access_token"), 1)["scope"], "");
}

#[actix_web::test]
async fn a_token_request_is_refused_in_oauths_words_with_the_two_members() {
    let server = server().await;
    let (id, secret) = client(&server, json!(["a"])).await;
    let good =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    for (change, error) in [
        (json!({"client_secret": "wrong"}), "invalid_client"),
        (json!({"client_secret": null}), "invalid_client"),
        (json!({"client_id": "unknown"}), "invalid_client"),
        (json!({"client_id": "a\u{0}b"}), "invalid_client"),
        (json!({"client_id": 1}), "invalid_request"),
        (json!({"grant_type": null}), "invalid_request"),
        (json!({"grant_type": "password"}), "unsupported_grant_type"),
        (json!({"scope": "a c"}), "invalid_scope"),
        (json!({"scope": "a  a"}), "invalid_scope"),
        (json!({"scope": 1}), "invalid_request"),
    ] {
        let mut body = good.clone();
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        is_refused(
            server.ask_project("project-demo", &body).await,
            error,
            &change,
        )
        .await;
    }
    // The client is another project's, or the resource is no project of its.
    for project in ["project-other", "notes", "nothing", "%00"] {
        is_refused(
            server.ask_project(project, &good).await,
            "invalid_target",
            &json!(project),
        )
        .await;
    }
    for (media_type, body) in [
        ("application/json", "{"),
        ("application/json", "[]"),
        ("application/json", ""),
        ("text/plain", "grant_type=client_credentials"),
        (
            "application/x-www-form-urlencoded",
            "client_id=a&client_id=b",
        ),
        ("application/x-www-form-urlencoded", "client_id=%ff"),
    ] {
        let answer = server
            .post(TOKEN)
            .header("Content-Type", media_type)
            .body(body)
            .send();
        is_refused(answer.await.unwrap(), "invalid_request", &json!(body)).await;
    }
    let large = server
        .post(TOKEN)
        .json(&json!({"client_id": "x".repeat(70_000)}))
        .send()
        .await
        .unwrap();
    assert_eq!(large.status(), 413);
    assert_eq!(json(large).await["status_code"], 413);
}

async fn is_refused(answer: reqwest::Response, error: &str, what: &Value) {
    assert_eq!(answer.status(), 400, "{what}");
    assert!(!answer.headers().contains_key("www-authenticate"));
    let answer = json(answer).await;
    assert_eq!(answer["error"], error, "{what}: {answer}");
    assert_eq!(answer["status_code"], 400);
    for member in ["request_id", "error_description", "error_uri"] {
        assert!(!text(&answer, member).is_empty(), "{what}");
    }
}

#[actix_web::test]
async fn a_header_with_the_projects_own_credentials_means_nothing() {
    let server = server().await;
    let (id, secret) = client(&server, json!([])).await;
    let good =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    for (password, body, status) in [
        (server.secret("project-demo"), good.clone(), 200),
        ("wrong".to_owned(), good, 200),
        (
            server.secret("project-demo"),
            json!({"grant_type": "client_credentials"}),
            400,
        ),
    ] {
        let request = server
            .post(TOKEN)
            .basic_auth("project-demo", Some(password));
        assert_eq!(request.json(&body).send().await.unwrap().status(), status);
    }
}

#[actix_web::test]
async fn the_key_set_has_the_projects_keys_with_every_member_that_libraries_want() {
    let server = server().await;
    let (id, secret) = client(&server, json!([])).await;
    let body =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let token = json(server.ask_project("project-demo", &body).await).await;
    let kid = part(text(&token, "access_token"), 0)["kid"].clone();
    for path in [
        "/v1/sessions/jwks/project-demo",
        "/v1/b2b/sessions/jwks/project%2Ddemo",
    ] {
        let answer = server
            .get(path)
            .query(&[("project_id", "project-demo")])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let cached = answer.headers()["cache-control"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(cached.starts_with("public, max-age="), "{cached}");
        let set = json(answer).await;
        assert_eq!(set["status_code"], 200);
        let keys = set["keys"].as_array().unwrap();
        assert!(keys.iter().any(|key| key["kid"] == kid), "{set}");
        for key in keys {
            assert_eq!(
                (&key["kty"], &key["alg"], &key["use"]),
                (&json!("RSA"), &json!("RS256"), &json!("sig"))
            );
            assert_eq!(key["key_ops"], json!(["verify"]));
            assert!(
                key["x5c"].is_array()
                    && key["x5tS256"].is_string()
                    && key["n"].is_string()
                    && key["e"].is_string()
            );
            assert!(key.get("d").is_none());
        }
    }
    for project in ["notes", "nothing", "%00"] {
        let answer = server
            .get(&format!("/v1/sessions/jwks/{project}"))
            .send()
            .await
            .unwrap();
        super::refused(answer, 404, "project_not_found").await;
    }
}
