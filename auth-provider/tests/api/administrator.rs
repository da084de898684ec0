//! What an administrator does by hand, for tests that need it done.

use auth_provider::built_in::{ADMIN, AUDIENCE};
use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::{Server, json};

/// Calls `/admin/v1` with a token that may do everything.
pub(crate) struct Administrator<'a> {
    pub(crate) server: &'a Server,
    pub(crate) token: String,
}

impl<'a> Administrator<'a> {
    pub(crate) async fn of(server: &'a Server) -> Self {
        let token = server.token(ADMIN, AUDIENCE).await;
        Self { server, token }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let url = format!("{}/admin/v1{path}", self.server.url);
        let request = self.server.http.request(method, url);
        let request = request.bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// The answer to a request that has to succeed; null where there is none.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let row = format!("{method} {path}");
        let answer = self.send(method, path, body).await;
        let status = answer.status();
        if status == 204 {
            return Value::Null;
        }
        let answer = json(answer).await;
        assert!(status.is_success(), "{row}: {status} {answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.call(Method::POST, path, Some(body)).await
    }

    /// The events that fit the query, newest first.
    pub(crate) async fn events(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/audit?limit=1000&{query}")).await;
        assert_eq!(page["next_cursor"], Value::Null, "{query}");
        page["events"].as_array().unwrap().clone()
    }
}
