//! `/recipe/oauth/token` and its neighbours, by which the libraries serve those who ask them.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Core, parts, server};
use crate::support::{Server, json};

/// What a library sends on for a client.
fn asked(server: &Server, client: &str, more: &Value) -> Value {
    let mut input = json!({
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": server.secret(client),
    });
    input
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({
        "iss": "http://localhost:3000/auth", "inputBody": input, "access_token": {}, "id_token": {},
    })
}

fn basic(client: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")))
}

#[actix_web::test]
async fn a_token_is_asked_for_by_way_of_a_library() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let body = asked(
        &server,
        "task",
        &json!({"scope": "event.view", "audience": "event"}),
    );
    let issued = core.post("/recipe/oauth/token", &body).await.ok();
    assert_eq!(
        (&issued["expires_in"], &issued["scope"]),
        (&json!(3600), &json!("event.view"))
    );
    let token = issued["access_token"].as_str().unwrap();
    let (_, claims) = parts(token);
    assert_eq!(
        (&claims["sub"], &claims["iss"]),
        (&json!("task"), &json!(server.issuer))
    );

    let body = json!({
        "inputBody": {"grant_type": "client_credentials", "audience": "event"},
        "authorizationHeader": basic("task", &server.secret("task")),
    });
    core.post("/recipe/oauth/token", &body).await.ok();

    let introspect = async |who: &str, scope: Value| {
        let body = json!({"token": token, "scope": scope});
        Core::of(&server, who)
            .post("/recipe/oauth/introspect", &body)
            .await
            .ok()
    };
    let known = introspect("core", Value::Null).await;
    assert_eq!(
        (&known["active"], &known["client_id"]),
        (&json!(true), &json!("task"))
    );
    assert_eq!(
        introspect("calendar", json!("event.view")).await["active"],
        true
    );
    let inactive = json!({"status": "OK", "active": false});
    assert_eq!(
        introspect("calendar", json!("event.create")).await,
        inactive
    );
    assert_eq!(introspect("solo", Value::Null).await, inactive);
}

#[actix_web::test]
async fn a_token_is_taken_back_by_way_of_a_library() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let active = async |token: &str| server.introspect("calendar", token).await["active"].clone();
    let revoke = "/recipe/oauth/token/revoke";
    let task = server.secret("task");
    for body in [
        json!({"client_id": "task", "client_secret": task}),
        json!({"authorizationHeader": basic("task", &task)}),
        json!({}), // as the client whose key it is, which may revoke any
    ] {
        let token = server.token("task", "event").await;
        let mut body = body;
        body["token"] = json!(token);
        assert_eq!(core.post(revoke, &body).await.ok(), json!({"status": "OK"}));
        assert_eq!(active(&token).await, false);
    }
    // Whose credentials they are counts, and not whose key it is.
    let token = server.token("task", "event").await;
    let solo = json!({"token": token, "client_id": "solo", "client_secret": server.secret("solo")});
    core.post(revoke, &solo).await.ok();
    assert_eq!(active(&token).await, true);
    let wrong = json!({"token": token, "client_id": "task", "client_secret": "wrong"});
    let error = core.post(revoke, &wrong).await.oauth_error();
    assert_eq!(
        (&error["error"], &error["statusCode"]),
        (&json!("invalid_client"), &json!(401))
    );

    let all = "/recipe/oauth/tokens/revoke";
    let body = json!({"client_id": "task"});
    Core::of(&server, "task")
        .post(all, &body)
        .await
        .refused(403, "tokens:revoke");
    assert_eq!(active(&token).await, true);
    core.post(all, &body).await.ok();
    assert_eq!(active(&token).await, false);
    let unknown = core
        .post(all, &json!({"client_id": "a\u{0}b"}))
        .await
        .json();
    assert_eq!(unknown["status"], "CLIENT_NOT_FOUND_ERROR");
}

#[actix_web::test]
async fn what_is_sent_on_and_cannot_be_is_refused() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let path = "/recipe/oauth/token";
    for (more, error, status) in [
        (json!({"client_secret": "wrong"}), "invalid_client", 401),
        (json!({"client_secret": null}), "invalid_client", 401),
        (
            json!({"grant_type": "password"}),
            "unsupported_grant_type",
            400,
        ),
        (json!({"grant_type": null}), "invalid_request", 400),
        (json!({"grant_type": 1}), "invalid_request", 400),
        (json!({"audience": "unknown"}), "invalid_target", 400),
        (
            json!({"audience": ["event", "file"]}),
            "invalid_target",
            400,
        ),
        (
            json!({"audience": "event", "scope": "x"}),
            "invalid_scope",
            400,
        ),
        (
            json!({"audience": "event", "scope": {}}),
            "invalid_request",
            400,
        ),
    ] {
        let answer = core.post(path, &asked(&server, "task", &more)).await;
        let answer = answer.oauth_error();
        assert_eq!(
            (&answer["error"], &answer["statusCode"]),
            (&json!(error), &json!(status)),
            "{more}"
        );
    }
    for header in ["Basic !!!not-base64!!!", "", "\u{0}", "Bearer x"] {
        let body = json!({"inputBody": {"grant_type": "client_credentials"}, "authorizationHeader": header});
        assert_eq!(
            core.post(path, &body).await.oauth_error()["error"],
            "invalid_client"
        );
    }
    let mut body = asked(&server, "task", &json!({"audience": "event"}));
    body["access_token"] = json!({"role": "admin"});
    core.post(path, &body)
        .await
        .refused(400, "POST /recipe/jwt");
    for (path, body) in [
        (path, json!({"inputBody": []})),
        (path, json!({"inputBody": {}, "authorizationHeader": 1})),
        ("/recipe/oauth/introspect", json!({})),
        ("/recipe/oauth/introspect", json!({"token": 1})),
        ("/recipe/oauth/token/revoke", json!({"token": ["a"]})),
        ("/recipe/oauth/tokens/revoke", json!({})),
    ] {
        assert_eq!(core.post(path, &body).await.status, 400, "{path} {body}");
    }
}

#[actix_web::test]
async fn who_revokes_in_json_reads_json() {
    let server = server().await;
    for path in ["/auth/oauth/revoke", "/oauth/revoke"] {
        let token = server.token("task", "event").await;
        let body = json!({
            "token": token, "client_id": "task", "client_secret": server.secret("task"),
        });
        let answer = server.post(path).json(&body).send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(json(answer).await, json!({"status": "OK"}));
        assert_eq!(server.introspect("calendar", &token).await["active"], false);
    }
    let body = json!({
        "token": "x", "clientId": "task", "client_id": "task", "client_secret": server.secret("task"),
    });
    let request = server
        .http
        .request(Method::POST, format!("{}/oauth/revoke", server.url));
    assert_eq!(request.json(&body).send().await.unwrap().status(), 400);
}
