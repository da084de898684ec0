//! An administrator takes back more than one token at a time.

use std::time::Duration;

use auth_provider::built_in::{ADMIN, AUDIENCE};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{NOW, POLICY, Server, json};

const PATH: &str = "/admin/v1/revocations";

async fn take_back(server: &Server, what: &Value) -> Response {
    let token = server.token(ADMIN, AUDIENCE).await;
    server
        .post(PATH)
        .bearer_auth(token)
        .json(what)
        .send()
        .await
        .unwrap()
}

async fn lives(server: &Server, token: &str) -> bool {
    server.introspect(ADMIN, token).await["active"] == true
}

/// The feed's entries, as the notes' resource server reads them.
async fn entries(server: &Server) -> Vec<Value> {
    let request = server.get("/oauth/revocations");
    let request = request.basic_auth("notes-server", Some(server.secret("notes-server")));
    json(request.send().await.unwrap()).await["revocations"]
        .as_array()
        .unwrap()
        .clone()
}

#[actix_web::test]
async fn what_is_named_dies_with_its_second_and_the_rest_lives() {
    let server = Server::start().await;
    for (what, dead, kind) in [
        (json!({"client_id": "bot"}), [true, true, false], "client"),
        (
            json!({"client_id": "bot", "resource": "notes"}),
            [true, false, false],
            "grant",
        ),
        (
            json!({"credential": "CREDENTIAL"}),
            [true, true, false],
            "credential",
        ),
    ] {
        let tokens = [
            server.token("bot", "notes").await,
            server.token("bot", "calendar").await,
            server.token("courier", "lab").await,
        ];
        let jti = server.introspect(ADMIN, &tokens[0]).await["jti"].take();
        let credential = jti.as_str().unwrap().split('.').next().unwrap();
        let what = what.to_string().replace("CREDENTIAL", credential);
        let what = serde_json::from_str(&what).unwrap();

        let done = take_back(&server, &what).await;
        assert_eq!(done.status(), StatusCode::NO_CONTENT);
        for (token, dead) in tokens.iter().zip(dead) {
            assert_eq!(lives(&server, token).await, !dead, "{what}");
        }
        let last = entries(&server).await.pop().unwrap();
        assert_eq!(last["kind"], kind);

        server.clock.advance(Duration::from_secs(1));
        for (client, resource) in [("bot", "notes"), ("bot", "calendar")] {
            assert!(
                lives(&server, &server.token(client, resource).await).await,
                "issued later"
            );
        }
        server.clock.advance(Duration::from_secs(1));
    }
}

/// Verifiers hold the key set for minutes: they hear at once that one of its keys is no good.
#[actix_web::test]
async fn a_compromised_key_is_told_to_those_who_follow() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let admin = server.token(ADMIN, AUDIENCE).await;
    let path = format!("/admin/v1/keys/{kid}/compromised");
    let answer = server.post(&path).bearer_auth(admin).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!lives(&server, &token).await);
    let mut entry = entries(&server).await.pop().unwrap();
    assert!(entry["number"].take().is_number());
    let expected = json!({
        "number": null, "kind": "key", "kid": kid,
        "revoked_at": NOW, "expires_at": NOW + 24 * 3600 + 60,
    });
    assert_eq!(entry, expected);
}

#[actix_web::test]
async fn what_is_unclear_or_not_allowed_is_refused_and_changes_nothing() {
    let policy = format!(
        "{POLICY}\n[[grants]]\nclient = 'bot'\nresource = 'auth-provider'\nscopes = ['keys:read']"
    );
    let server = Server::start_with(&policy, "").await;
    let token = server.token("bot", "notes").await;
    let long = "x".repeat(200);
    for (what, status, part) in [
        (json!({}), 400, "name a client_id"),
        (json!({"resource": "notes"}), 400, "name a client_id"),
        (
            json!({"client_id": "bot", "credential": "AAAAAAAAAAAAAAAAAAAAAA"}),
            400,
            "name a client_id",
        ),
        (json!({"credential": "short"}), 400, "name a client_id"),
        (
            json!({"credential": "AAAAAAAAAAAAAAAAAAAAA."}),
            400,
            "name a client_id",
        ),
        (
            json!({"client_id": "bot", "resource": "a b"}),
            400,
            "name a client_id",
        ),
        (
            json!({"client_id": "bot", "resource": "unknown"}),
            404,
            "no resource with this id",
        ),
        (
            json!({"client_id": "unknown"}),
            404,
            "no client with this id",
        ),
        (json!({"client_id": "BOT"}), 404, "no client with this id"),
        (json!({"client_id": ""}), 404, "no client with this id"),
        (json!({"client_id": long}), 404, "no client with this id"),
        (
            json!({"client_id": "bot\u{0}"}),
            404,
            "no client with this id",
        ),
        (json!({"client_id": 7}), 400, "client_id"),
        (json!({"client_id": ["bot"]}), 400, "client_id"),
        (json!({"client": "bot"}), 400, "unknown field"),
        (json!(["bot"]), 400, "object"),
        (json!(null), 400, "object"),
    ] {
        let answer = take_back(&server, &what).await;
        assert_eq!(answer.status().as_u16(), status, "{what}");
        let problem = json(answer).await;
        assert!(
            problem["detail"].as_str().unwrap().contains(part),
            "{what}: {problem}"
        );
    }
    let wish = json!({"client_id": "bot"});
    let (reader, foreign) = (server.token("bot", AUDIENCE).await, &token);
    let post = || server.post(PATH).json(&wish);
    for (request, status) in [
        (post(), 401),
        (post().bearer_auth(foreign), 401),
        (post().bearer_auth("x"), 401),
        (post().basic_auth(ADMIN, Some(server.secret(ADMIN))), 401),
        (post().bearer_auth(&reader), 403),
        (server.get(PATH).bearer_auth(&reader), 405),
        (
            server
                .post(PATH)
                .bearer_auth(server.token(ADMIN, AUDIENCE).await),
            415,
        ),
    ] {
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
    assert!(lives(&server, &token).await);
    assert_eq!(entries(&server).await, Vec::<Value>::new());
}
