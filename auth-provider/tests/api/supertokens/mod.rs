//! The paths of SuperTokens' core, as its libraries and guides use them.

mod api_key;
mod clients;
mod jwt;
mod tokens;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::Server;

/// The services of SuperTokens' guide, and `core`, whose secret is the API key that its readers configure. `solo` may call
/// one resource only.
pub(crate) const POLICY: &str = r#"
    [resources.event]
    token_profile = "supertokens"
    signing_alg = "RS256"
    owner = "calendar"
    scopes = { "event.view" = "See events", "event.create" = "Make events" }
    [resources.file]
    token_profile = "supertokens"
    signing_alg = "RS256"
    token_lifetime = "10m"
    scopes = { "file.view" = "See files" }
    [resources.notes]
    scopes = { "note.read" = "Read notes" }
    [resources.lab]
    token_format = "opaque"

    [clients.calendar]
    [clients.task]
    [clients.solo]
    [clients.nobody]
    [clients.core]

    [[grants]]
    client = "core"
    resource = "auth-provider"
    scopes = ["clients:read", "clients:write", "grants:read", "grants:write", "tokens:mint",
              "tokens:introspect", "tokens:revoke"]
    [[grants]]
    client = "solo"
    resource = "event"
    scopes = ["event.view"]
    [[grants]]
    client = "task"
    resource = "event"
    scopes = ["event.view", "event.create"]
    [[grants]]
    client = "task"
    resource = "file"
    scopes = ["file.view"]
    [[grants]]
    client = "task"
    resource = "notes"
    scopes = ["note.read"]
    [[grants]]
    client = "task"
    resource = "lab"
    "#;

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) async fn to(request: RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        Self {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    /// A body that is JSON, with 200 as all of them.
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    /// The same, and it is a success.
    pub(super) fn ok(&self) -> Value {
        let body = self.json();
        assert_eq!(body["status"], "OK", "{body}");
        body
    }

    /// What a library hands to its caller as an error.
    pub(super) fn oauth_error(&self) -> Value {
        let body = self.json();
        assert_eq!(body["status"], "OAUTH_ERROR", "{body}");
        let members = body.as_object().unwrap().keys();
        let expected = ["error", "errorDescription", "status", "statusCode"];
        assert_eq!(members.collect::<Vec<_>>(), expected);
        body
    }

    /// What a library throws as an exception.
    pub(super) fn refused(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.text.contains(words), "{self:?} lacks {words}");
        assert_eq!(self.headers["content-type"], "text/plain; charset=utf-8");
    }

    /// The name under which the refusal stands in the audit log.
    pub(super) fn request_id(&self) -> &str {
        let (_, rest) = self.text.split_once("request_id: ").unwrap();
        rest.split_once(')').unwrap().0
    }
}

/// Who holds an API key.
pub(super) struct Core<'s> {
    pub(super) server: &'s Server,
    pub(super) key: String,
}

impl<'s> Core<'s> {
    pub(super) fn of(server: &'s Server, client: &str) -> Self {
        let key = server.secret(client);
        Self { server, key }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.server.url);
        let request = self.server.http.request(method, url);
        request
            .header("api-key", &self.key)
            .header("cdi-version", "5.4")
            .header("rid", "jwt")
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::PUT, path).json(body)).await
    }

    /// As the libraries ask for a token of their own.
    pub(super) async fn mint(&self, payload: &Value) -> Answer {
        self.post("/recipe/jwt", &wish(payload)).await
    }
}

pub(super) fn wish(payload: &Value) -> Value {
    json!({
        "payload": payload,
        "validity": 600,
        "useStaticSigningKey": true,
        "algorithm": "RS256",
        "jwksDomain": "http://localhost:8001",
    })
}

pub(super) async fn server() -> Server {
    Server::start_with(POLICY, "").await
}

/// Header and claims; the signature is the verifiers' affair.
pub(super) fn parts(jwt: &str) -> (Value, Value) {
    let mut parts = jwt.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}
