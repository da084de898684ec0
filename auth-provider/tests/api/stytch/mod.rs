//! The M2M API of Stytch, as its client libraries use it.

mod clients;
mod refusals;
mod rotation;
mod search;
mod token;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{Server, json};

/// Two projects, and a resource that is none, though somebody owns it.
const PROJECTS: &str = r#"
    [resources.project-demo]
    owner = "project-demo"
    token_profile = "stytch"
    signing_alg = "RS256"
    metadata_claims = ["tier"]
    scopes = { "read:users" = "Read users" }
    [resources.project-other]
    owner = "project-other"
    token_profile = "stytch"
    signing_alg = "RS256"
    [resources.notes]
    owner = "notes"
    scopes = { "note.read" = "Read notes" }

    [clients.project-demo]
    [clients.project-other]
    [clients.notes]
    [clients.bot]

    [[grants]]
    client = "bot"
    resource = "notes"
    scopes = ["note.read"]
    "#;

const CLIENTS: &str = "/v1/m2m/clients";

async fn server() -> Server {
    Server::start_with(PROJECTS, "").await
}

impl Server {
    /// A request with the credentials of `project`.
    fn manage(&self, project: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        request.basic_auth(project, Some(self.secret(project)))
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        let request = self.manage("project-demo", method, path).json(body);
        request.send().await.unwrap()
    }

    /// What `project-demo` is answered, which has to be 200.
    async fn did(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.send(method, path, &body).await;
        let status = answer.status();
        let answer = json(answer).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        assert_eq!(answer["status_code"], 200);
        assert!(
            answer["request_id"]
                .as_str()
                .is_some_and(|id| !id.is_empty())
        );
        answer
    }

    /// A client of `project-demo` as it is made.
    async fn made(&self, body: Value) -> Value {
        self.did(Method::POST, CLIENTS, body).await["m2m_client"].clone()
    }

    /// A client as it is now.
    async fn shown(&self, id: &str) -> Value {
        let answer = self
            .did(Method::GET, &format!("{CLIENTS}/{id}"), json!({}))
            .await;
        answer["m2m_client"].clone()
    }

    async fn change(&self, id: &str, body: Value) -> Value {
        let answer = self
            .did(Method::PUT, &format!("{CLIENTS}/{id}"), body)
            .await;
        answer["m2m_client"].clone()
    }

    /// Asks the token endpoint of a project with a JSON body.
    async fn ask_project(&self, project: &str, body: &Value) -> Response {
        let path = format!("/v1/public/{project}/oauth2/token");
        self.post(&path).json(body).send().await.unwrap()
    }

    /// The status of a token request with these credentials.
    async fn opens(&self, id: &str, secret: &str) -> bool {
        let body =
            json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
        let answer = self.ask_project("project-demo", &body).await;
        let status = answer.status();
        let answer = json(answer).await;
        assert_eq!(answer["status_code"], status.as_u16());
        assert_eq!(
            answer["error"] == "invalid_client",
            status == 400,
            "{answer}"
        );
        status == 200
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The refusals have every member that typed libraries want.
async fn refused(answer: Response, status: u16, error_type: &str) -> Value {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let answer = json(answer).await;
    assert_eq!(answer["status_code"], status, "{answer}");
    assert_eq!(answer["error_type"], error_type, "{answer}");
    for member in ["request_id", "error_message", "error_url"] {
        assert!(!text(&answer, member).is_empty());
    }
    answer
}
