//! A provider that plays the admin API, and the real program that talks to it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

pub(super) const SECRET: &str = "m2m_cs_the-secret-that-was-made";

/// 2100-01-01T00:00:00Z
pub(super) const LATER: i64 = 4_102_444_800;

/// A provider that answers what a test says, and hands out tokens to who asks for all that it has.
pub(super) struct Provider {
    pub(super) server: MockServer,
    pub(super) folder: TempDir,
}

pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let server = MockServer::start().await;
        let token = json!({"access_token": "t", "token_type": "Bearer", "expires_in": 300});
        Mock::given(method("POST"))
            .and(path("/auth/oauth/token"))
            .and(|request: &Request| {
                request.body == b"grant_type=client_credentials&resource=auth-provider"
            })
            .respond_with(ResponseTemplate::new(200).set_body_json(token))
            .mount(&server)
            .await;
        let folder = tempfile::tempdir().unwrap();
        let clients = json!({
            "admin": {"clientId": "admin", "clientSecret": "of-admin"},
            "other": {"clientId": "other", "clientSecret": "of-other"},
        });
        fs::write(folder.path().join("clients.json"), clients.to_string()).unwrap();
        Self { server, folder }
    }

    pub(super) async fn on(&self, verb: &str, at: &str, status: u16, body: Value) {
        self.answer(verb, at, ResponseTemplate::new(status).set_body_json(body))
            .await;
    }

    pub(super) async fn answer(&self, verb: &str, at: &str, answer: ResponseTemplate) {
        Mock::given(method(verb))
            .and(path(format!("/admin/v1{at}")))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    /// The requests to the admin API, but for those that only look.
    pub(super) async fn changes(&self) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter()
            .filter(|request| request.method.as_str() != "GET")
            .filter(|request| request.url.path().starts_with("/admin"))
            .collect()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auth-provider"));
        command
            .current_dir(self.folder.path())
            .args(arguments)
            .args(["--url", &self.server.uri()])
            .env_remove("AUTH_PROVIDER_CLIENT_ID")
            .env_remove("AUTH_PROVIDER_CLIENT_SECRET")
            .stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments))
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(super) fn ran(mut command: Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Ran {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

impl Ran {
    #[track_caller]
    pub(super) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// One line on stderr, which has `part` in it.
    #[track_caller]
    pub(super) fn failed(&self, code: i32, part: &str) {
        let Self { out, err, .. } = self;
        assert_eq!(self.code, Some(code), "{out}{err}");
        assert!(
            err.starts_with("auth-provider: ") && err.contains(part) && err.lines().count() == 1,
            "{err}"
        );
    }
}

pub(super) fn client(id: &str) -> Value {
    json!({
        "client_id": id, "name": format!("Name of {id}"), "description": "", "status": "active",
        "metadata": {"team": "money"}, "managed_by": null, "created_at": 1, "updated_at": 1, "last_used_at": null,
        "built_in": false,
    })
}

pub(super) fn credential(id: &str, more: &Value) -> Value {
    let mut credential = json!({
        "credential_id": id, "kind": "secret", "label": "", "last_four": "abcd", "created_at": 1, "expires_at": null,
        "last_used_at": null, "use_count": 0, "state": "active", "replaces": null,
        "safe_to_remove": false, "safe_to_remove_reason": "no other credential has been used",
    });
    let members = credential.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    credential
}

pub(super) fn made(mut with: Value) -> Value {
    with["client_secret"] = SECRET.into();
    with["credential_id"] = "new".into();
    with
}

pub(super) fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}
