//! Who asks again because the answer was lost gets the same answer, and nothing is made twice.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, Answer, answer, racing_servers, secret, server_with, works},
    support::{NOW, stored},
};

async fn post(admin: &Admin<'_>, path: &str, key: &str, body: &Value) -> Answer {
    let request = admin.request(Method::POST, path).await;
    answer(request.header("idempotency-key", key).json(body)).await
}

fn same(one: &Answer, two: &Answer) {
    assert_eq!((one.status, &one.body), (two.status, &two.body));
    for header in ["location", "etag", "content-type"] {
        assert_eq!(one.headers.get(header), two.headers.get(header));
    }
}

#[actix_web::test]
async fn every_creation_can_be_asked_for_again() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        let key = |n: usize| format!("{n}-~!{}", "k".repeat(200));
        let made = post(&admin, "/clients", &key(0), &json!({"client_id": "c"})).await;
        let first = made.body["credential_id"].as_str().unwrap().to_owned();
        let below = format!("/clients/c/credentials/{first}");
        for (n, path, body) in [
            (0, "/clients", json!({"client_id": "c"})),
            (1, "/clients", json!({})),
            (2, "/clients/c/credentials", json!({"label": "x"})),
            (3, &format!("{below}/rotate"), json!({"grace": 60})),
            (4, &format!("{below}/rotation"), json!({})),
            (
                5,
                "/resources",
                json!({"resource": "https://r.example/a?b"}),
            ),
            (6, "/grants", json!({"client_id": "c", "resource": "notes"})),
        ] {
            let one = post(&admin, path, &key(n), &body).await;
            assert_eq!(one.status, 201, "{path}: {}", one.body);
            same(&post(&admin, path, &key(n), &body).await, &one);
            same(&post(&admin, path, &key(n), &body).await, &one);
            let mut other = body.clone();
            other["label"] = json!("other");
            if path == "/clients" {
                other = json!({"name": "other"});
            }
            if n < 5 {
                let refused = post(&admin, path, &key(n), &other).await;
                refused.refuses(422, Some("Idempotency-Key"), "take a new one");
            }
        }
        let elsewhere = post(&admin, "/clients", &key(2), &json!({})).await;
        elsewhere.refuses(422, Some("Idempotency-Key"), "take a new one");
        let all = admin.get("/clients/c/credentials").await.is(200);
        assert_eq!(all["credentials"].as_array().unwrap().len(), 4);
    }
}

#[actix_web::test]
async fn a_key_is_its_owners_and_a_failure_is_not_remembered() {
    let server = server_with(
        "[clients.deputy]\n[[grants]]\nclient = 'deputy'\nresource = 'auth-provider'\n\
         scopes = ['clients:write']",
    )
    .await;
    let (admin, deputy) = (Admin::of(&server), Admin::named(&server, "deputy", ""));
    let body = json!({"name": "N"});
    let one = post(&admin, "/clients", "key", &body).await.is(201);
    let two = post(&deputy, "/clients", "key", &body).await.is(201);
    assert_ne!(one["client_id"], two["client_id"]);
    assert_ne!(one["client_secret"], two["client_secret"]);

    let grant = json!({"client_id": "late", "resource": "notes"});
    let refused = post(&admin, "/grants", "late", &grant).await;
    refused.refuses(404, Some("client_id"), "no client");
    admin
        .post("/clients", json!({"client_id": "late"}))
        .await
        .is(201);
    post(&admin, "/grants", "late", &grant).await.is(201);
}

#[actix_web::test]
async fn of_doubles_at_once_one_is_made() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        for round in 0..10 {
            let key = format!("round {round}").replace(' ', "-");
            let wish = json!({"name": key});
            let answers = join_all((0..6).map(|_| post(&admin, "/clients", &key, &wish))).await;
            for answer in &answers {
                assert_eq!(answer.status, 201, "{}", answer.body);
                same(answer, &answers[0]);
            }
            let found = admin.get(&format!("/clients?name={key}")).await.is(200);
            assert_eq!(found["clients"].as_array().unwrap().len(), 1);
            let client = answers[0].body["client_id"].as_str().unwrap();
            assert!(works(&server, client, &secret(&answers[0].body)).await);
        }
    }
}

#[actix_web::test]
async fn a_key_is_forgotten_after_a_day() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        let wish = json!({"name": "N"});
        let one = post(&admin, "/clients", "key", &wish).await.is(201);
        server
            .clock
            .advance(Duration::from_hours(24) - Duration::from_secs(1));
        let same = post(&admin, "/clients", "key", &wish).await.is(201);
        assert_eq!(same, one);
        server.clock.advance(Duration::from_secs(1));
        let two = post(&admin, "/clients", "key", &wish).await.is(201);
        assert_ne!(two["client_id"], one["client_id"]);
        assert_eq!(two["created_at"], NOW + 24 * 3600);
        let same = post(&admin, "/clients", "key", &wish).await.is(201);
        assert_eq!(same, two);
        let other = post(&admin, "/clients", "key", &json!({})).await;
        other.refuses(422, Some("Idempotency-Key"), "take a new one");
    }
}

#[actix_web::test]
async fn the_database_holds_no_usable_secret() {
    let server = server_with("").await;
    let admin = Admin::of(&server);
    let mut secrets = vec![server.secret("bot"), server.secret("admin")];
    let made = post(&admin, "/clients", "canary-key", &json!({"client_id": "c"})).await;
    let made = made.is(201);
    secrets.push(secret(&made));
    let below = format!(
        "/clients/c/credentials/{}",
        made["credential_id"].as_str().unwrap()
    );
    for (n, path) in [
        "/clients/c/credentials",
        &format!("{below}/rotation"),
        &format!("{below}/rotate"),
    ]
    .iter()
    .enumerate()
    {
        let with_key = post(&admin, path, &format!("canary-key-{n}"), &json!({})).await;
        secrets.push(secret(&with_key.is(201)));
        secrets.push(secret(&admin.post("/clients", json!({})).await.is(201)));
    }
    secrets.push("canary-key".to_owned());
    secrets.push(admin.token().await);
    admin.get("/audit").await.is(200); // the events are on disk
    let holds = |folder: &std::path::Path| {
        for (path, bytes) in stored(folder) {
            for secret in &secrets {
                let found = bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "{} has one", path.display());
            }
        }
    };
    holds(server.folder.path());
    let folder = server.stop().await;
    holds(folder.path());
}
