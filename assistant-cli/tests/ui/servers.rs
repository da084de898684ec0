//! An issuer and two small services, for the built program to talk to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use assert_cmd::Command;
use assistant_cli::token_view::TokenView;
use m2m::testing::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, http::Method, matchers::any};

/// The path of the program under test.
pub(crate) const ASSISTANT: &str = env!("CARGO_BIN_EXE_assistant");

/// The services answer with so many rows at once, and say where to get the next.
const PAGE: usize = 2;

/// All servers, and a folder with a `clients.json`.
pub(crate) struct Servers {
    pub(crate) issuer: TestIssuer,
    pub(crate) calendar: Fake,
    pub(crate) note: Fake,
    pub(crate) folder: TempDir,
}

impl Servers {
    /// Each service has one row.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clients = json!({"assistant": {"clientId": "assistant", "clientSecret": "m2m_right"}});
        std::fs::write(folder.path().join("clients.json"), clients.to_string()).unwrap();
        let about =
            json!({"id": 1, "title": "Meeting with A", "description": "Discuss the project"});
        let mut event = about.clone();
        event["start"] = json!(1_795_251_600_000_u64);
        event["end"] = json!(1_795_255_200_000_u64);
        Self {
            issuer: TestIssuer::start().await,
            calendar: Fake::start("calendar-service", "calendar", event).await,
            note: Fake::start("note-service", "note", about).await,
            folder,
        }
    }

    /// What the program reads from its environment.
    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("ASSISTANT_ISSUER", self.issuer.url().to_owned()),
            ("ASSISTANT_CALENDAR_URL", self.calendar.server.uri()),
            ("ASSISTANT_NOTE_URL", self.note.server.uri()),
            ("TZ", "UTC0".to_owned()),
        ]
    }

    /// `assistant` with these arguments, in the folder with the `clients.json`.
    pub(crate) fn assistant(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ASSISTANT);
        command
            .env_clear()
            .envs(self.environment())
            .current_dir(self.folder.path())
            .args(arguments);
        command
    }
}

/// A service that looks into its tokens, but not at their signatures.
pub(crate) struct Fake {
    server: MockServer,
    state: Arc<State>,
}

struct State {
    audience: &'static str,
    /// The part of the scopes before the dot.
    scopes: &'static str,
    rows: Mutex<BTreeMap<u64, Value>>,
    /// Instead of the right answer: a status and a body.
    answer: Mutex<Option<(u16, Value)>>,
}

impl Fake {
    async fn start(audience: &'static str, scopes: &'static str, row: Value) -> Self {
        let state = Arc::new(State {
            audience,
            scopes,
            rows: Mutex::new(BTreeMap::from([(1, row)])),
            answer: Mutex::new(None),
        });
        let server = MockServer::start().await;
        let responder = Responder(Arc::clone(&state));
        Mock::given(any())
            .respond_with(responder)
            .mount(&server)
            .await;
        Self { server, state }
    }

    /// The rows as they are now.
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.state.rows.lock().unwrap().values().cloned().collect()
    }

    /// Answers everything like this, until told `None`.
    pub(crate) fn answer(&self, answer: Option<(u16, Value)>) {
        *self.state.answer.lock().unwrap() = answer;
    }
}

struct Responder(Arc<State>);

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let (status, body) = self.0.respond(request);
        let template = ResponseTemplate::new(status).set_body_json(&body);
        match body.as_array().and_then(|rows| rows.get(PAGE - 1)) {
            Some(last) => {
                let next = format!(
                    "<{}?after={}>; rel=\"next\"",
                    request.url.path(),
                    last["id"]
                );
                template.insert_header("link", next)
            }
            None => template,
        }
    }
}

impl State {
    fn respond(&self, request: &Request) -> (u16, Value) {
        if let Some(answer) = self.answer.lock().unwrap().clone() {
            return answer;
        }
        let access = if request.method == Method::GET {
            "read"
        } else {
            "write"
        };
        let scope = format!("{}.{access}", self.scopes);
        let bearer = request
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap());
        let token = bearer.and_then(|value| TokenView::decode(value.strip_prefix("Bearer ")?));
        let claims = token.expect("every request brings a token").claims;
        assert_eq!(claims["aud"], self.audience);
        assert_eq!(
            claims["scope"],
            scope.as_str(),
            "one scope, and the right one"
        );

        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let id = request
            .url
            .path_segments()
            .unwrap()
            .nth(1)
            .map(|id| id.parse().unwrap());
        let mut rows = self.rows.lock().unwrap();
        let new_id = rows.keys().last().map_or(1, |last| last + 1);
        let row = match (request.method.as_str(), id) {
            ("GET", None) => {
                let after = request.url.query_pairs().find(|(name, _)| name == "after");
                let after = after.map_or(0, |(_, id)| id.parse().unwrap());
                return (
                    200,
                    rows.range(after + 1..)
                        .take(PAGE)
                        .map(|(_, row)| row.clone())
                        .collect(),
                );
            }
            ("DELETE", Some(id)) => return (200, json!({"deleted": rows.remove(&id).is_some()})),
            ("POST", None) => rows.entry(new_id).or_insert(json!({"id": new_id})),
            ("PUT", Some(id)) if rows.contains_key(&id) => rows.get_mut(&id).unwrap(),
            _ => return (404, json!({"status": 404, "title": "Not Found"})),
        };
        let fields = row.as_object_mut().unwrap();
        fields.extend(body.as_object().unwrap().clone());
        (200, row.clone())
    }
}
