//! Grants through the admin API, and what becomes of the tokens that were obtained with them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, answer, ask_with, lives, token_with},
    support::{NOW, Server, json},
};

#[actix_web::test]
async fn a_grant_is_made_found_changed_and_removed() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let wish = json!({
        "client_id": "single", "resource": "notes", "scopes": ["note.write", "note.read"],
        "token_lifetime": 60, "expires_at": NOW + 600, "reason": "They asked",
    });
    let made = admin.post("/grants", wish.clone()).await;
    assert_eq!(made.headers["location"], "/admin/v1/grants/single/notes");
    let mut etag = made.etag();
    let mut expected = wish.clone();
    expected["scopes"] = json!(["note.read", "note.write"]);
    assert_eq!(made.is(201), expected);
    let read = admin.get("/grants/single/notes").await;
    assert_eq!(read.etag(), etag);
    assert_eq!(read.is(200), expected);
    admin
        .post("/grants", wish)
        .await
        .refuses(409, None, "already");
    let bare = json!({"client_id": "nobody", "resource": "notes"});
    let bare = admin.post("/grants", bare).await.is(201);
    let defaults = json!({
        "client_id": "nobody", "resource": "notes", "scopes": [], "token_lifetime": null,
        "expires_at": null, "reason": "",
    });
    assert_eq!(bare, defaults);

    let same = admin.patch("/grants/single/notes", json!({})).await;
    assert_eq!(same.etag(), etag);
    assert_eq!(same.is(200), expected);
    for (patch, member, value) in [
        (
            json!({"scopes": ["note.read"]}),
            "scopes",
            json!(["note.read"]),
        ),
        (json!({"scopes": []}), "scopes", json!([])),
        (
            json!({"token_lifetime": 3600}),
            "token_lifetime",
            json!(3600),
        ),
        (
            json!({"token_lifetime": null}),
            "token_lifetime",
            Value::Null,
        ),
        (json!({"expires_at": 0}), "expires_at", json!(0)),
        (json!({"expires_at": null}), "expires_at", Value::Null),
        (json!({"reason": ""}), "reason", json!("")),
    ] {
        expected[member] = value;
        let changed = admin.patch("/grants/single/notes", patch).await;
        assert_ne!(changed.etag(), etag);
        etag = changed.etag();
        assert_eq!(changed.is(200), expected);
        assert_eq!(admin.get("/grants/single/notes").await.is(200), expected);
    }
    admin.delete("/grants/single/notes").await.is(204);
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let request = admin.request(method, "/grants/single/notes").await;
        answer(request.json(&json!({})))
            .await
            .refuses(404, None, "no such grant");
    }
}

#[actix_web::test]
async fn grants_are_found_by_client_and_resource() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    for (query, expected) in [
        ("client_id=bot", &["bot calendar", "bot notes"][..]),
        ("resource=notes", &["bot notes", "ending notes"]),
        ("client_id=bot&resource=notes", &["bot notes"]),
        ("client_id=notes", &[]),
        (
            "limit=100",
            &[
                "admin auth-provider",
                "bot calendar",
                "bot notes",
                "courier lab",
                "ending notes",
                "root auth-provider",
                "single plain",
            ],
        ),
    ] {
        for limit in [1, 2, 3, 1000] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/grants?{query}&limit={limit}{cursor}");
                let path = path.replace("limit=100&", "");
                let page = admin.get(&path).await.is(200);
                for row in page["grants"].as_array().unwrap() {
                    let name = |member: &str| row[member].as_str().unwrap().to_owned();
                    found.push(format!("{} {}", name("client_id"), name("resource")));
                }
                let Some(next) = page["next_cursor"].as_str() else {
                    break;
                };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(found, expected, "{query} {limit}");
        }
    }
}

#[actix_web::test]
async fn what_is_not_there_cannot_be_granted() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let scope_129 = "x".repeat(129);
    let many: Vec<String> = (0..101).map(|n| format!("s{n}")).collect();
    let reason = "x".repeat(1001);
    for (part_of_wish, status, field, part) in [
        (
            json!({"client_id": "unknown"}),
            404,
            "client_id",
            "make the client first",
        ),
        (
            json!({"resource": "unknown"}),
            404,
            "resource",
            "make the resource first",
        ),
        (json!({"client_id": "a b"}), 400, "client_id", "client id"),
        (json!({"client_id": null}), 400, "client_id", "null"),
        (json!({"resource": ".."}), 400, "resource", "not by . or .."),
        (
            json!({"scopes": ["unknown"]}),
            409,
            "scopes",
            "note.read note.write",
        ),
        (
            json!({"scopes": ["note.read", "calendar.read"]}),
            409,
            "scopes",
            "note.read note.write",
        ),
        (
            json!({"scopes": ["note.read", "note.read"]}),
            400,
            "scopes",
            "twice",
        ),
        (
            json!({"scopes": ["note.read note.write"]}),
            400,
            "scopes",
            "",
        ),
        (json!({"scopes": [""]}), 400, "scopes", ""),
        (json!({"scopes": "note.read"}), 400, "scopes", ""),
        (json!({"scopes": null}), 400, "scopes", ""),
        (json!({"scopes": [scope_129]}), 400, "scopes", "128"),
        (json!({"scopes": many}), 400, "scopes", "at most 100"),
        (
            json!({"token_lifetime": 3601}),
            409,
            "token_lifetime",
            "3600 s",
        ),
        (
            json!({"token_lifetime": 0}),
            400,
            "token_lifetime",
            "1 to 86400",
        ),
        (
            json!({"token_lifetime": 86401}),
            400,
            "token_lifetime",
            "1 to 86400",
        ),
        (json!({"expires_at": "2026-01-01"}), 400, "expires_at", ""),
        (
            json!({"expires_at": 253_402_207_201_u64}),
            400,
            "expires_at",
            "at most",
        ),
        (json!({"reason": reason}), 400, "reason", "1000"),
        (json!({"reason": null}), 400, "reason", "null"),
        (json!({"scope": "note.read"}), 400, "scope", "unknown field"),
    ] {
        let mut wish = json!({"client_id": "single", "resource": "notes"});
        for (member, value) in part_of_wish.as_object().unwrap() {
            wish[member] = value.clone();
        }
        admin
            .post("/grants", wish)
            .await
            .refuses(status, Some(field), part);
        if !["client_id", "resource"].contains(&field) {
            let refused = admin.patch("/grants/bot/notes", part_of_wish).await;
            refused.refuses(status, Some(field), part);
        }
    }
    let moved = admin
        .patch("/grants/bot/notes", json!({"resource": "lab"}))
        .await;
    moved.refuses(400, Some("resource"), "unknown field");
    let refused = admin.post("/grants", json!({"client_id": "bot"})).await;
    refused.refuses(400, None, "missing field `resource`");
    for (method, path) in [
        (Method::PATCH, "admin/auth-provider"),
        (Method::DELETE, "admin/auth-provider"),
    ] {
        let request = admin.request(method, &format!("/grants/{path}")).await;
        answer(request.json(&json!({})))
            .await
            .refuses(409, None, "built in");
    }
    admin
        .get("/grants/single/notes")
        .await
        .refuses(404, None, "no such grant");
}

#[actix_web::test]
async fn a_grant_counts_at_once() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let refused = server.ask("nobody", &[("resource", "notes")]).await;
    assert_eq!(refused.status(), 400);
    let grant = json!({"client_id": "nobody", "resource": "notes", "scopes": ["note.read"]});
    admin.post("/grants", grant).await.is(201);
    let scoped = async |scope: &str| {
        let form = [("resource", "notes"), ("scope", scope)];
        let answer = server.ask("nobody", &form).await;
        (
            answer.status().as_u16(),
            json(answer).await["expires_in"].as_u64(),
        )
    };
    assert_eq!(scoped("note.read").await, (200, Some(3600)));
    assert_eq!(scoped("note.write").await.0, 400);
    let path = "/grants/nobody/notes";
    admin
        .patch(path, json!({"scopes": ["note.write"], "token_lifetime": 5}))
        .await
        .is(200);
    assert_eq!(scoped("note.write").await, (200, Some(5)));
    assert_eq!(scoped("note.read").await.0, 400);
    admin
        .patch(
            path,
            json!({"token_lifetime": null, "expires_at": NOW + 10}),
        )
        .await
        .is(200);
    assert_eq!(scoped("note.write").await, (200, Some(10)));
    admin.patch(path, json!({"expires_at": NOW})).await.is(200);
    assert_eq!(scoped("note.write").await.0, 400);
    admin.patch(path, json!({"expires_at": null})).await.is(200);
    assert_eq!(scoped("note.write").await.0, 200);
    admin.delete(path).await.is(204);
    assert_eq!(scoped("note.write").await.0, 400);
}

#[actix_web::test]
async fn who_is_allowed_less_loses_the_tokens_that_say_more() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let secret = admin.reader("worker").await;
    admin
        .post(
            "/grants",
            json!({"client_id": "worker", "resource": "plain"}),
        )
        .await
        .is(201);
    let both = ["note.read", "note.write"];
    for (patch, dead) in [
        (json!({"scopes": both}), false),
        (json!({"reason": "x"}), false),
        (json!({"token_lifetime": 60}), false),
        (json!({"token_lifetime": null}), false),
        (json!({"scopes": ["note.write"]}), true),
        (json!({"scopes": ["note.read"]}), true),
        (json!({"scopes": []}), true),
        (json!({"scopes": both}), false),
        (json!({"expires_at": NOW + 1_000_000}), true),
        (json!({"expires_at": NOW + 2_000_000}), false),
        (json!({"expires_at": NOW + 1_500_000}), true),
        (json!({"expires_at": null}), false),
        (json!(null), true),
    ] {
        server.clock.advance(Duration::from_secs(1));
        let token = token_with(&server, "worker", &secret).await;
        let bots = server.token("bot", "notes").await;
        let form = [("grant_type", "client_credentials"), ("resource", "plain")];
        let plain = server
            .post("/oauth/token")
            .basic_auth("worker", Some(&secret))
            .form(&form);
        let plain = json(plain.send().await.unwrap()).await;
        let plain = plain["access_token"].as_str().unwrap();
        if patch.is_null() {
            admin.delete("/grants/worker/notes").await.is(204);
        } else {
            admin
                .patch("/grants/worker/notes", patch.clone())
                .await
                .is(200);
        }
        assert_eq!(lives(&server, &token).await, !dead, "{patch}");
        assert!(lives(&server, &bots).await, "another client's");
        assert!(lives(&server, plain).await, "another resource's");
    }
    assert_eq!(ask_with(&server, "worker", &secret).await.status(), 400);
}
