//! Mistakes with the token vault.

use std::fs;

use e2e::mistakes::Place;
use serde_json::{Value, json};

use super::{compare, world::World};
use crate::support::until_ready;

/// An application that keeps its users' tokens in the vault.
const APPLICATION: &str = r#"
    [clients.application]
    [[grants]]
    client = "application"
    resource = "token-vault"
    scopes = ["tokens.read", "tokens.write"]
"#;

#[tokio::test]
async fn the_vault_says_what_the_table_has() {
    let mut world = World::new();
    let policy = world.path().join("policy.toml");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text + APPLICATION).unwrap();
    world.start_provider().await;
    let (_vault, port) = world
        .start_service("token-vault", 3013, &["--data-dir", "vault"])
        .await;
    let vault = format!("http://localhost:{port}");
    until_ready(&world.http, &vault).await;
    let token = world
        .token("application", "token-vault", "tokens.read tokens.write")
        .await;
    compare(Place::Vault, async |id| {
        made(&world, &vault, &token, id).await
    })
    .await;
}

async fn made(world: &World, vault: &str, token: &str, id: &str) -> String {
    let get = |path: &str| world.http.get(format!("{vault}/{path}")).bearer_auth(token);
    let post = |path: &str| {
        world
            .http
            .post(format!("{vault}/{path}"))
            .bearer_auth(token)
    };
    let store = async |more: Value| {
        let mut tokens = json!({"access_token": "gho_x", "expires_at": 1});
        tokens
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = post("github").json(&tokens).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    let request = match id {
        "vault-without-this-provider" => get("gitlab?user=alice"),
        "vault-without-this-connection" => get("github?user=nobody"),
        "vault-without-credentials" => {
            store(json!({"user": "alice", "refresh_token": "ghr_x"})).await;
            get("github?user=alice")
        }
        "vault-without-refresh-token" => {
            store(json!({"user": "bob"})).await;
            get("github?user=bob")
        }
        "vault-with-a-form" => post("github").form(&[("user", "alice"), ("access_token", "gho_x")]),
        "vault-key-lost" => {
            let mut other = World::new();
            let vault = other
                .start_service("token-vault", 3013, &["--data-dir", "data"])
                .await;
            drop(vault);
            fs::remove_file(other.path().join("data/token-vault.key")).unwrap();
            return other
                .fails("token-vault", &["--listen", "localhost:0"])
                .await;
        }
        "vault-provider-half-configured" => {
            let providers = "[providers.github]\nkind = 'github'\nclient_id = 'Iv1.x'";
            fs::write(world.path().join("providers.toml"), providers).unwrap();
            let arguments = [
                "--listen",
                "localhost:0",
                "--data-dir",
                "other",
                "--providers",
                "providers.toml",
            ];
            return world.fails("token-vault", &arguments).await;
        }
        _ => panic!("nobody makes the mistake {id}"),
    };
    world.answered(request).await
}
