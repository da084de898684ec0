//! A Vault server for tests: a real OpenBao, where `TEST_OPENBAO_URL` names one. Each test has a folder of its own there, a Transit
//! key of its own, and a token that is allowed what `policy.hcl` says and nothing more.

use std::{sync::Arc, time::Duration};

use m2m::http_client;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use token_vault::{
    hashicorp::{Server, Settings},
    kek::TransitName,
    storage::{HashicorpStore, KvPlace},
};

use crate::support::random;

const POLICY: &str = include_str!("../../policy.hcl");

/// A test's part of the server.
#[derive(Clone)]
pub(crate) struct Openbao {
    http: Client,
    url: String,
    root: String,
    /// The name of folder, key and policy.
    pub(crate) name: String,
    /// `VAULT_ADDR` and the rest, as the program reads them.
    pub(crate) variables: Vec<(String, String)>,
}

/// A part of the server of its own, where there is one.
pub(crate) async fn fresh_openbao() -> Option<Openbao> {
    let set = |name| std::env::var(name).ok();
    let (Some(url), Some(root)) = (set("TEST_OPENBAO_URL"), set("TEST_OPENBAO_TOKEN")) else {
        eprintln!("skipped: Vault server (scripts/test starts OpenBao and sets TEST_OPENBAO_URL)");
        return None;
    };
    let mut openbao = Openbao {
        http: http_client(Duration::from_secs(10)),
        url,
        root,
        name: format!("t{:016x}", random()),
        variables: Vec::new(),
    };
    // Somebody else's test may be faster.
    openbao
        .ask(
            Method::POST,
            "sys/mounts/transit",
            &json!({"type": "transit"}),
        )
        .await;
    let key = format!("transit/keys/{}", openbao.name);
    openbao.done(&key, &json!({"type": "aes256-gcm96"})).await;
    let policy = POLICY.replace("/token-vault", &format!("/{}", openbao.name));
    let path = format!("sys/policies/acl/{}", openbao.name);
    openbao.done(&path, &json!({"policy": policy})).await;
    let wish = json!({"policies": [openbao.name], "ttl": "1h"});
    let token = openbao.done("auth/token/create", &wish).await;
    let token = token["auth"]["client_token"].as_str().unwrap().to_owned();
    openbao.variables = vec![
        ("VAULT_ADDR".to_owned(), openbao.url.clone()),
        ("VAULT_TOKEN".to_owned(), token),
    ];
    Some(openbao)
}

impl Openbao {
    /// As root, around the vault.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let mut request = self
            .http
            .request(method.clone(), format!("{}/v1/{path}", self.url));
        if method == Method::POST {
            request = request.json(body);
        }
        let answer = request
            .header("X-Vault-Token", &self.root)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn done(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub(crate) fn database(&self) -> String {
        format!("vault:secret/{}", self.name)
    }

    pub(crate) fn transit_key(&self) -> TransitName {
        format!("transit/{}", self.name).parse().unwrap()
    }

    pub(crate) fn settings(&self) -> Settings {
        let value = |name: &str| {
            let found = self.variables.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        Settings::from_environment(value).unwrap()
    }

    pub(crate) async fn server(&self) -> Arc<Server> {
        Server::open(&self.settings()).await.unwrap()
    }

    pub(crate) async fn store(&self) -> HashicorpStore {
        let place: KvPlace = format!("secret/{}", self.name).parse().unwrap();
        HashicorpStore::open(self.server().await, &place)
            .await
            .unwrap()
    }

    /// The paths of all documents of this test below a folder, in their order.
    pub(crate) async fn paths(&self, folder: &str) -> Vec<String> {
        let (mut folders, mut paths) = (vec![folder.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            let path = format!("secret/metadata/{}/{folder}?list=true", self.name);
            let (_, answer) = self.ask(Method::GET, &path, &Value::Null).await;
            for name in answer["data"]["keys"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap();
                let path = format!("{folder}{name}");
                let kind = if name.ends_with('/') {
                    &mut folders
                } else {
                    &mut paths
                };
                kind.push(path);
            }
        }
        paths.sort();
        paths
    }

    /// A document as it stands there.
    pub(crate) async fn document(&self, path: &str) -> Option<Value> {
        let path = format!("secret/data/{}/{path}", self.name);
        let (_, answer) = self.ask(Method::GET, &path, &Value::Null).await;
        let text = answer["data"]["data"]["document"].as_str()?;
        Some(serde_json::from_str(text).unwrap())
    }

    /// Writes a document by hand.
    pub(crate) async fn overwrite(&self, path: &str, document: &Value) {
        let body = json!({"data": {"document": document.to_string()}});
        self.done(&format!("secret/data/{}/{path}", self.name), &body)
            .await;
    }
}
