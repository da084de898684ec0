//! An administrator who speaks to `/admin/v1`, and the clients that it makes.

use std::cell::RefCell;

use auth_provider::built_in::{ADMIN, AUDIENCE};
use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    store_contract::fresh_postgres_url,
    support::{POLICY, Server, json},
};

/// A token is used for so many seconds before the next one is fetched; it lives for 300.
const TOKEN_USED_FOR: u64 = 60;

/// A client that administers, with a token that is always alive.
pub(crate) struct Admin<'s> {
    server: &'s Server,
    client: &'s str,
    /// What the token is to allow; all that the client may, when it is empty.
    scopes: String,
    token: RefCell<Option<(u64, String)>>,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Null when there is none, a string when it is no JSON.
    pub(crate) body: Value,
}

impl<'s> Admin<'s> {
    pub(crate) fn of(server: &'s Server) -> Self {
        Self::named(server, ADMIN, "")
    }

    /// A client that administers with a token for some of its scopes, or for all.
    pub(crate) fn named(server: &'s Server, client: &'s str, scopes: &str) -> Self {
        Self {
            server,
            client,
            scopes: scopes.to_owned(),
            token: RefCell::default(),
        }
    }

    pub(crate) async fn token(&self) -> String {
        let now = self.server.clock.clock().now();
        if let Some((fetched_at, token)) = &*self.token.borrow()
            && now < fetched_at + TOKEN_USED_FOR
        {
            return token.clone();
        }
        let mut form = vec![("resource", AUDIENCE)];
        if !self.scopes.is_empty() {
            form.push(("scope", self.scopes.as_str()));
        }
        let answer = json(self.server.ask(self.client, &form).await).await;
        let token = answer["access_token"].as_str().unwrap_or_else(|| {
            panic!("{} gets no token: {answer}", self.client);
        });
        let fetched = Some((now, token.to_owned()));
        *self.token.borrow_mut() = fetched;
        token.to_owned()
    }

    /// A request with the token in it.
    pub(crate) async fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/admin/v1{path}", self.server.url);
        let request = self.server.http.request(method, url);
        request.bearer_auth(self.token().await)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::POST, path).await.json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::PATCH, path).await.json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        answer(self.request(Method::DELETE, path).await).await
    }

    /// Makes a client that may read notes, and hands over its first secret.
    pub(crate) async fn reader(&self, id: &str) -> String {
        let made = self.post("/clients", json!({"client_id": id})).await;
        let grant = json!({"client_id": id, "resource": "notes", "scopes": ["note.read"]});
        self.post("/grants", grant).await.is(201);
        secret(&made.is(201))
    }
}

impl Answer {
    /// The body, of an answer that has to have this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["cache-control"], "no-store");
        self.body
    }

    /// A refusal with this status that blames `field` and says `part`.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, field: Option<&str>, part: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["field"].as_str(), field, "{}", self.body);
        let detail = self.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{part}: {detail}");
        assert_eq!(self.body["status"], status);
        assert!(self.body["title"].is_string());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.headers["cache-control"], "no-store");
    }

    #[track_caller]
    pub(crate) fn etag(&self) -> String {
        self.headers["etag"].to_str().unwrap().to_owned()
    }
}

/// Sends a request and reads the answer.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Answer {
        status,
        headers,
        body,
    }
}

/// The secret in an answer, which is a secret.
#[track_caller]
pub(crate) fn secret(made: &Value) -> String {
    let secret = made["client_secret"].as_str().unwrap();
    assert!(secret.starts_with("m2m_") && secret.len() == 53, "{secret}");
    secret.to_owned()
}

/// Asks for a token for notes with a secret.
pub(crate) async fn ask_with(server: &Server, client: &str, secret: &str) -> Response {
    let form = [("grant_type", "client_credentials"), ("resource", "notes")];
    let request = server.post("/oauth/token").basic_auth(client, Some(secret));
    request.form(&form).send().await.unwrap()
}

/// A token for notes.
pub(crate) async fn token_with(server: &Server, client: &str, secret: &str) -> String {
    let answer = json(ask_with(server, client, secret).await).await;
    let token = answer["access_token"].as_str();
    token.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Whether the secret opens the door, whatever lies behind it.
pub(crate) async fn works(server: &Server, client: &str, secret: &str) -> bool {
    match ask_with(server, client, secret).await.status().as_u16() {
        401 => false,
        200 | 400 => true,
        other => panic!("{other}"),
    }
}

/// Whether a token is alive.
pub(crate) async fn lives(server: &Server, token: &str) -> bool {
    server.introspect(ADMIN, token).await["active"] == true
}

/// A path as nothing tidied it up, and the status that it gets.
pub(crate) async fn raw(server: &Server, method: &str, path: &str, token: &str) -> String {
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "{method} /admin/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    text
}

/// A server on each database that there is, with several threads that really race.
pub(crate) async fn racing_servers() -> Vec<Server> {
    let mut servers = vec![Server::start_with(POLICY, "workers = 3").await];
    if let Some(url) = fresh_postgres_url().await {
        let more = format!("workers = 3\ndatabase_url = '{url}'");
        servers.push(Server::start_with(POLICY, &more).await);
    }
    servers
}

/// A server with another policy beside [`POLICY`].
pub(crate) async fn server_with(more: &str) -> Server {
    Server::start_with(&format!("{POLICY}\n{more}"), "").await
}
