//! Bootstrap tokens: bearers that are good for one purpose, and end.

use std::time::Duration;

use auth_provider::{
    address::CallerAddress,
    client::{CredentialKind, SecretHash},
    clients::{Authenticated, authenticate_bearer},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, works},
    support::{NOW, Server},
};

const LIST: &str = "/clients/bot/credentials";
const DAY: u64 = 24 * 3600;

/// The client that this opens as, with the credential.
async fn opens(server: &Server, text: &str, kind: CredentialKind) -> Option<(String, String)> {
    let here = CallerAddress::parse("192.0.2.1").unwrap();
    let found = authenticate_bearer(&server.auth, here, text, kind).await;
    let named = |found: Authenticated| {
        let credential = found.credential.as_str().to_owned();
        (found.client.id.as_str().to_owned(), credential)
    };
    match found {
        Ok(found) => Some(named(found)),
        Err(error) => {
            assert!(error.is_failed_authentication(), "{error}");
            assert!(error.to_string().contains("opens nothing here"), "{error}");
            None
        }
    }
}

fn hash(text: &str) -> String {
    let bytes = SecretHash::of(text);
    let hex = bytes.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

fn path(made: &Value) -> String {
    format!("{LIST}/{}", made["credential_id"].as_str().unwrap())
}

#[actix_web::test]
async fn a_bootstrap_token_opens_for_its_purpose_only() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let wish = json!({"kind": "bootstrap", "label": "rack 7"});
    let made = admin.post(LIST, wish).await.is(201);
    let token = made["bootstrap_token"].as_str().unwrap();
    assert!(token.starts_with("m2mb_") && token.len() == 54, "{token}");
    assert_eq!(made.get("client_secret"), None);
    assert_eq!(
        (&made["kind"], &made["last_four"], &made["expires_at"]),
        (
            &json!("bootstrap"),
            &json!(token[50..]),
            &json!(NOW + 30 * DAY)
        )
    );
    let shown = admin.get(&path(&made)).await.is(200);
    assert_eq!(
        (&shown["kind"], &shown["label"]),
        (&json!("bootstrap"), &json!("rack 7"))
    );
    assert_eq!(shown.get("bootstrap_token"), None);

    let id = made["credential_id"].as_str().unwrap().to_owned();
    let opened = opens(&server, token, CredentialKind::Bootstrap).await;
    assert_eq!(opened, Some(("bot".to_owned(), id)));
    assert!(!works(&server, "bot", token).await, "it is no secret");
    assert_eq!(opens(&server, token, CredentialKind::Secret).await, None);
    let answer = server.get("/admin/v1/clients").bearer_auth(token);
    assert_eq!(answer.send().await.unwrap().status(), 401);

    // A client secret by itself is an API key, and no bootstrap token.
    let secret = server.secret("bot");
    assert_eq!(
        opens(&server, &secret, CredentialKind::Bootstrap).await,
        None
    );
    let (client, _) = opens(&server, &secret, CredentialKind::Secret)
        .await
        .unwrap();
    assert_eq!(client, "bot");
    for wrong in ["", "bot", "m2mb_", &token[1..], &"x".repeat(100_000)] {
        assert_eq!(opens(&server, wrong, CredentialKind::Bootstrap).await, None);
    }
}

#[actix_web::test]
async fn it_ends_with_its_time_its_removal_and_its_client() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let make = async |end: u64| {
        let wish = json!({"kind": "bootstrap", "expires_at": end});
        let made = admin.post(LIST, wish).await.is(201);
        let token = made["bootstrap_token"].as_str().unwrap().to_owned();
        (path(&made), token)
    };
    let is_good = async |token: &str| {
        opens(&server, token, CredentialKind::Bootstrap)
            .await
            .is_some()
    };

    let (_, token) = make(NOW + 100).await;
    server.clock.advance(Duration::from_secs(99));
    assert!(is_good(&token).await);
    server.clock.advance(Duration::from_secs(1));
    assert!(!is_good(&token).await);

    for end in ["", "/compromised"] {
        let (path, token) = make(NOW + 1000).await;
        assert!(is_good(&token).await);
        match end {
            "" => admin.delete(&path).await.is(204),
            _ => admin.post(&format!("{path}{end}"), json!({})).await.is(204),
        };
        assert!(!is_good(&token).await);
    }

    let (_, token) = make(NOW + 1000).await;
    assert!(is_good(&token).await);
    for (status, good) in [("inactive", false), ("active", true)] {
        let change = json!({"status": status});
        admin.patch("/clients/bot", change).await.is(200);
        assert_eq!(is_good(&token).await, good, "{status}");
    }
}

#[actix_web::test]
async fn a_bearer_of_another_system_goes_on_until_its_end() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let foreign = "eyJhbGciOiJub25lIn0.e30.";
    let wish = json!({
        "kind": "bootstrap", "secret_sha256": hash(foreign).to_uppercase(), "expires_at": NOW + 365 * DAY,
    });
    let made = admin.post(LIST, wish.clone()).await.is(201);
    for shown in ["bootstrap_token", "client_secret"] {
        assert_eq!(made.get(shown), None);
    }
    assert_eq!(made["last_four"], "");
    assert!(
        opens(&server, foreign, CredentialKind::Bootstrap)
            .await
            .is_some()
    );
    for list in [LIST, "/clients/single/credentials"] {
        let twice = admin.post(list, wish.clone()).await;
        twice.refuses(409, Some("secret_sha256"), "already");
    }
    let secret = json!({
        "kind": "bootstrap", "secret_sha256": hash(&server.secret("single")), "expires_at": NOW + DAY,
    });
    let refused = admin.post(LIST, secret).await;
    refused.refuses(409, Some("secret_sha256"), "already");
    assert!(works(&server, "single", &server.secret("single")).await);
}

#[actix_web::test]
async fn what_would_be_insecure_is_refused() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let hash = hash("x");
    for (list, wish, status, field, part) in [
        (
            LIST,
            json!({"kind": "api_key"}),
            400,
            "kind",
            "unknown variant",
        ),
        (LIST, json!({"kind": null}), 400, "kind", ""),
        (
            LIST,
            json!({"secret_sha256": "x"}),
            400,
            "secret_sha256",
            "64 hexadecimal",
        ),
        (
            LIST,
            json!({"secret_sha256": hash}),
            409,
            "secret_sha256",
            "bootstrap",
        ),
        (
            LIST,
            json!({"kind": "bootstrap", "secret_sha256": hash}),
            409,
            "expires_at",
            "within a year",
        ),
        (
            LIST,
            json!({"kind": "bootstrap", "expires_at": NOW + 365 * DAY + 1}),
            409,
            "expires_at",
            "within a year",
        ),
        (
            "/clients/admin/credentials",
            json!({"kind": "bootstrap"}),
            409,
            "kind",
            "administrator",
        ),
    ] {
        let refused = admin.post(list, wish).await;
        refused.refuses(status, Some(field), part);
    }
    let made = admin.post(LIST, json!({"kind": "bootstrap"})).await.is(201);
    let path = path(&made);
    for end in [json!(null), json!(NOW + 366 * DAY)] {
        let endless = admin.patch(&path, json!({"expires_at": end})).await;
        endless.refuses(409, Some("expires_at"), "within a year");
    }
    let longer = json!({"expires_at": NOW + 365 * DAY, "label": "b"});
    admin.patch(&path, longer).await.is(200);
    for rotation in ["rotate", "rotation"] {
        let refused = admin.post(&format!("{path}/{rotation}"), json!({})).await;
        refused.refuses(409, None, "not rotated");
    }
    // Whoever may make credentials makes none for a client that may more.
    let weak =
        json!({"client_id": "weak", "resource": "auth-provider", "scopes": ["credentials:write"]});
    admin
        .post("/clients", json!({"client_id": "weak"}))
        .await
        .is(201);
    admin.post("/grants", weak).await.is(201);
    let secret = admin
        .post("/clients/weak/credentials", json!({}))
        .await
        .is(201);
    let form = [("grant_type", "client_credentials")];
    let secret = secret["client_secret"].as_str().unwrap();
    let request = server.post("/oauth/token").basic_auth("weak", Some(secret));
    let answer: Value = request
        .form(&form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let url = format!("{}/admin/v1/clients/root/credentials", server.url);
    let request = server.http.request(Method::POST, url).bearer_auth(token);
    let refused = request
        .json(&json!({"kind": "bootstrap"}))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 403);
}
