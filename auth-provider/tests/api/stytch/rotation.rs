//! The rotation of a secret.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CLIENTS, refused, server, text};
use crate::support::Server;

async fn rotate(server: &Server, id: &str, step: &str) -> Value {
    let path = format!("{CLIENTS}/{id}/secrets/rotate{step}");
    server
        .did(Method::POST, &path, json!({"client_id": id}))
        .await["m2m_client"]
        .clone()
}

async fn is_refused(server: &Server, id: &str, step: &str) {
    let path = format!("{CLIENTS}/{id}/secrets/rotate{step}");
    let answer = server.send(Method::POST, &path, &json!({})).await;
    refused(answer, 400, "m2m_secret_rotation").await;
}

#[actix_web::test]
async fn both_secrets_work_until_the_rotation_is_finished() {
    let server = server().await;
    let made = server.made(json!({"scopes": ["a"]})).await;
    let (id, old) = (text(&made, "client_id"), text(&made, "client_secret"));
    is_refused(&server, id, "").await;
    is_refused(&server, id, "/cancel").await;

    let started = rotate(&server, id, "/start").await;
    let new = text(&started, "next_client_secret");
    assert!(started.get("client_secret").is_none());
    assert_eq!(
        started["client_secret_last_four"],
        made["client_secret_last_four"]
    );
    assert_eq!(
        started["next_client_secret_last_four"],
        new[new.len() - 4..]
    );
    let mut shown = started.clone();
    shown.as_object_mut().unwrap().remove("next_client_secret");
    assert_eq!(server.shown(id).await, shown);
    assert!(server.opens(id, old).await);
    assert!(server.opens(id, new).await);
    is_refused(&server, id, "/start").await;

    let finished = rotate(&server, id, "").await;
    assert_eq!(finished["client_secret_last_four"], new[new.len() - 4..]);
    assert_eq!(finished["next_client_secret_last_four"], Value::Null);
    assert!(
        finished.get("client_secret").is_none() && finished.get("next_client_secret").is_none()
    );
    assert!(!server.opens(id, old).await);
    assert!(server.opens(id, new).await);
}

#[actix_web::test]
async fn a_cancelled_rotation_leaves_the_old_secret() {
    let server = server().await;
    let made = server.made(json!({})).await;
    let (id, old) = (text(&made, "client_id"), text(&made, "client_secret"));
    let started = rotate(&server, id, "/start").await;
    let cancelled = rotate(&server, id, "/cancel").await;
    assert_eq!(
        cancelled["client_secret_last_four"],
        made["client_secret_last_four"]
    );
    assert_eq!(cancelled["next_client_secret_last_four"], Value::Null);
    assert!(server.opens(id, old).await);
    assert!(!server.opens(id, text(&started, "next_client_secret")).await);
    rotate(&server, id, "/start").await; // and it can begin again
}
