//! Clients made, shown, changed and removed.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CLIENTS, refused, server, text};
use crate::{administrator::Administrator, support::json};

#[actix_web::test]
async fn a_client_is_made_with_a_secret_that_is_shown_once() {
    let server = server().await;
    let made = server
        .made(json!({
            "scopes": ["read:users", "write:users"],
            "client_name": "Sync",
            "client_description": "Copies users",
            "trusted_metadata": {"tier": "gold", "limits": {"rps": 5}, "nothing": null},
        }))
        .await;
    let (id, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
    let mut expected = json!({
        "client_id": id,
        "client_name": "Sync",
        "client_description": "Copies users",
        "status": "active",
        "scopes": ["read:users", "write:users"],
        "client_secret_last_four": secret[secret.len() - 4..],
        "trusted_metadata": {"tier": "gold", "limits": {"rps": 5}},
        "next_client_secret_last_four": null,
    });
    assert_eq!(server.shown(id).await, expected);
    expected["client_secret"] = Value::from(secret);
    assert_eq!(made, expected);
    assert!(server.opens(id, secret).await);
}

#[actix_web::test]
async fn every_member_of_a_new_client_can_be_left_out() {
    let server = server().await;
    for body in [
        json!({}),
        json!({"scopes": []}),
        json!({"scopes": null, "client_id": null, "client_secret": null, "client_name": null,
               "client_description": null, "trusted_metadata": null}),
        json!({"client_name": "", "client_description": ""}),
    ] {
        let made = server.made(body).await;
        assert_eq!(made["client_name"], made["client_id"]);
        assert_eq!(made["client_description"], "");
        assert_eq!(made["scopes"], json!([]));
        assert_eq!(made["trusted_metadata"], json!({}));
        assert!(
            server
                .opens(text(&made, "client_id"), text(&made, "client_secret"))
                .await
        );
    }
    let slash = server
        .send(Method::POST, "/v1/m2m/clients/", &json!({}))
        .await;
    assert_eq!(slash.status(), 200);
}

#[actix_web::test]
async fn a_client_can_come_from_elsewhere_with_its_id_and_secret() {
    let server = server().await;
    let secret = "NHQhc7ZqsXJVtgmN2MXr1etqsQrGAwJ-iBWNLKY7DzJj";
    let body = json!({"client_id": "m2m-client-1", "client_secret": secret, "scopes": []});
    let made = server.made(body.clone()).await;
    assert_eq!(
        (text(&made, "client_id"), text(&made, "client_secret")),
        ("m2m-client-1", secret)
    );
    assert_eq!(made["client_secret_last_four"], "DzJj");
    assert!(server.opens("m2m-client-1", secret).await);

    let again = server.send(Method::POST, CLIENTS, &body).await;
    refused(again, 400, "duplicate_m2m_client_id").await;
    // Nor may another client of the server have this id, whoever has it.
    let taken = server
        .send(Method::POST, CLIENTS, &json!({"client_id": "bot"}))
        .await;
    refused(taken, 400, "duplicate_m2m_client_id").await;
    let other = json!({"client_id": "m2m-client-2", "client_secret": secret});
    let answer = server.send(Method::POST, CLIENTS, &other).await;
    let answer = refused(answer, 400, "bad_request").await;
    assert!(!text(&answer, "error_message").contains(secret));
}

#[actix_web::test]
async fn a_change_leaves_what_it_does_not_name() {
    let server = server().await;
    let made = server
        .made(json!({"client_name": "a", "scopes": ["x"], "trusted_metadata": {"keep": 1, "drop": 2, "nested": {"a": 1}}}))
        .await;
    let id = text(&made, "client_id");
    let path = format!("{CLIENTS}/{id}");

    let changed = server
        .change(id, json!({"client_id": id, "client_description": "new", "trusted_metadata": {"drop": null, "nested": {"b": 2}, "more": "m"}}))
        .await;
    assert_eq!(changed["client_name"], "a");
    assert_eq!(changed["client_description"], "new");
    assert_eq!(changed["scopes"], json!(["x"]));
    assert_eq!(
        changed["trusted_metadata"],
        json!({"keep": 1, "nested": {"b": 2}, "more": "m"})
    );
    assert!(changed.get("client_secret").is_none());
    assert_eq!(server.shown(id).await, changed);

    let nulls = json!({"client_id": id, "client_name": null, "client_description": null, "status": null, "scopes": null, "trusted_metadata": null});
    assert_eq!(server.change(id, nulls).await, changed);
    let other = server
        .send(Method::PUT, &path, &json!({"client_id": "another"}))
        .await;
    refused(other, 400, "bad_request").await;
}

#[actix_web::test]
async fn an_inactive_client_gets_no_token_and_loses_those_it_has() {
    let server = server().await;
    let made = server.made(json!({"scopes": ["x"]})).await;
    let (id, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
    let body =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let token = json(server.ask_project("project-demo", &body).await).await;
    let token = text(&token, "access_token");
    assert_eq!(
        server.introspect("project-demo", token).await["active"],
        true
    );

    let off = server.change(id, json!({"status": "inactive"})).await;
    assert_eq!(off["status"], "inactive");
    assert!(!server.opens(id, secret).await);
    assert_eq!(
        server.introspect("project-demo", token).await["active"],
        false
    );
    server.change(id, json!({"status": "active"})).await;
    assert!(server.opens(id, secret).await);
}

#[actix_web::test]
async fn scopes_are_free_and_fewer_of_them_take_the_tokens_back() {
    let server = server().await;
    let made = server.made(json!({"scopes": ["read:users"]})).await;
    let (id, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
    let changed = server
        .change(id, json!({"scopes": ["invented:here", "read:users"]}))
        .await;
    assert_eq!(changed["scopes"], json!(["invented:here", "read:users"]));
    let body =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let token = json(server.ask_project("project-demo", &body).await).await;
    assert_eq!(token["scope"], "invented:here read:users");

    server.change(id, json!({"scopes": []})).await;
    let token = text(&token, "access_token");
    assert_eq!(
        server.introspect("project-demo", token).await["active"],
        false
    );
    let many: Vec<String> = (0..101).map(|n| format!("s{n}")).collect();
    let answer = server
        .send(
            Method::PUT,
            &format!("{CLIENTS}/{id}"),
            &json!({"scopes": many}),
        )
        .await;
    refused(answer, 400, "bad_request").await;
    let more: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    let answer = server
        .send(
            Method::PUT,
            &format!("{CLIENTS}/{id}"),
            &json!({"scopes": more}),
        )
        .await;
    refused(answer, 400, "bad_request").await; // with those that the project has it is more than a hundred
}

#[actix_web::test]
async fn a_removed_client_is_gone() {
    let server = server().await;
    let made = server.made(json!({})).await;
    let (id, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
    let path = format!("{CLIENTS}/{id}");
    let removed = server
        .did(Method::DELETE, &path, json!({"client_id": id}))
        .await;
    assert_eq!(removed["client_id"], id);
    assert!(!server.opens(id, secret).await);
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::PUT, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/secrets/rotate/start")),
        (Method::POST, format!("{path}/secrets/rotate")),
        (Method::POST, format!("{path}/secrets/rotate/cancel")),
    ] {
        let answer = server.send(method, &path, &json!({})).await;
        refused(answer, 404, "m2m_client_not_found").await;
    }
}

#[actix_web::test]
async fn what_a_projects_administrator_does_stands_in_the_audit_log() {
    let server = server().await;
    let answer = server
        .did(Method::POST, CLIENTS, json!({"scopes": ["read:users"]}))
        .await;
    let admin = Administrator::of(&server).await;
    let query = format!("request_id={}", text(&answer, "request_id"));
    let mut events = admin.events(&query).await;
    events.retain(|event| event["action"] != "credential.used"); // the owner's own
    let mut actions: Vec<&str> = events.iter().map(|event| text(event, "action")).collect();
    actions.sort_unstable();
    assert_eq!(
        actions,
        ["client.created", "credential.created", "grant.created"]
    );
    for event in &events {
        assert_eq!(event["actor"], "project-demo");
        assert_eq!(event["client_id"], answer["m2m_client"]["client_id"]);
    }
}
