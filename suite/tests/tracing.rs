//! One trace through three programs, as a collector sees it, and as their logs tell it.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use serde_json::json;
use tempfile::TempDir;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A program that runs, with its log.
struct Program {
    child: Child,
    log: Receiver<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (line, log) = channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .all(|text| line.send(text).is_ok())
        });
        Self { child, log }
    }

    /// What stands in the log behind the first `mark`, up to the next quote or blank.
    fn says(&self, mark: &str) -> String {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(30)).unwrap();
            if let Some((_, rest)) = line.split_once(mark) {
                let end = rest.find(['"', ' ']).unwrap_or(rest.len());
                return rest[..end].to_owned();
            }
        }
    }

    /// Ends it as a service manager does, and answers what it has logged since.
    fn stop(mut self) -> Vec<serde_json::Value> {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.unwrap().success());
        assert!(self.child.wait().unwrap().success());
        let line = |line: String| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        self.log.iter().map(line).collect()
    }
}

/// What the programs run in: a folder, and a collector that takes everything.
struct World {
    folder: TempDir,
    collector: MockServer,
}

impl World {
    async fn new() -> Self {
        let collector = MockServer::start().await;
        Mock::given(path("/v1/traces"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&collector)
            .await;
        let folder = tempfile::tempdir().unwrap();
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/policy.toml");
        fs::copy(demo, folder.path().join("policy.toml")).unwrap();
        Self { folder, collector }
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_m2m-suite"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("LOG_FORMAT", "json")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.collector.uri())
            .env_remove("RUST_LOG");
        command
    }

    /// Everything that arrived: of which service, and its spans.
    async fn collected(&self) -> Vec<(String, Vec<Span>)> {
        let requests = self.collector.received_requests().await.unwrap();
        let mut found = Vec::new();
        for request in requests {
            assert_eq!(request.url.path(), "/v1/traces");
            let batch = ExportTraceServiceRequest::decode(&*request.body).unwrap();
            for of_resource in batch.resource_spans {
                let attributes = of_resource.resource.unwrap().attributes;
                let service = attribute(&attributes, "service.name").unwrap();
                let spans = of_resource.scope_spans.into_iter();
                found.push((service, spans.flat_map(|scope| scope.spans).collect()));
            }
        }
        found
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

/// The span of this name and trace.
fn span<'a>(
    collected: &'a [(String, Vec<Span>)],
    service: &str,
    name: &str,
    trace: Option<&[u8]>,
) -> &'a Span {
    let of_service = collected.iter().filter(|(of, _)| of == service);
    let mut spans = of_service.flat_map(|(_, spans)| spans);
    let fits = |span: &&Span| span.name == name && trace.is_none_or(|id| span.trace_id == id);
    let found = spans.find(fits);
    found.unwrap_or_else(|| panic!("{service} has told nothing of {name}: {collected:#?}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_through_client_provider_and_service() {
    let world = World::new().await;
    let arguments = [
        "auth-provider",
        "--listen=127.0.0.1:0",
        "--policy=policy.toml",
    ];
    let provider = Program::start(&mut world.program(&arguments));
    let issuer = provider.says("issuer ");
    let arguments = [
        "calendar-service",
        "--listen=127.0.0.1:0",
        "--issuer",
        &issuer,
    ];
    let calendar = Program::start(&mut world.program(&arguments));
    let events = calendar.says("listens on ");

    let arguments = ["assistant", "calendar", "list", "--issuer", &issuer];
    let mut assistant = world.program(&arguments);
    assistant.args(["--calendar-url", &events]);
    assert!(assistant.stdout(Stdio::null()).status().unwrap().success());

    // What only callers know must not arrive anywhere.
    let http = m2m::http_client(Duration::from_secs(10));
    let strange = http.get(format!("{events}/event?key=hunter2"));
    let strange = strange.bearer_auth("hunter3").header("traceparent", PARENT);
    assert_eq!(strange.send().await.unwrap().status(), 401);
    let lost = http.get(format!("{events}/hunter4"));
    assert_eq!(lost.send().await.unwrap().status(), 404);
    let refused = http
        .post(format!("{issuer}/oauth/token"))
        .header("traceparent", PARENT)
        .form(&[
            ("grant_type", "hunter5"),
            ("client_id", "hunter6"),
            ("client_secret", "hunter7"),
        ])
        .send();
    let refused: serde_json::Value = refused.await.unwrap().json().await.unwrap();

    calendar.stop();
    let log = provider.stop();
    let collected = world.collected().await;

    let call = span(&collected, "assistant", "list", None);
    let trace = call.trace_id.as_slice();
    for (service, name, route, status) in [
        (
            "auth-provider",
            "POST /auth/oauth/token",
            "/auth/oauth/token",
            "200",
        ),
        ("calendar-service", "GET /event", "/event", "200"),
    ] {
        let answer = span(&collected, service, name, Some(trace));
        assert_eq!(answer.parent_span_id, call.span_id, "{name}");
        assert_eq!(answer.kind(), SpanKind::Server);
        let said = |key| attribute(&answer.attributes, key).unwrap();
        assert_eq!(said("http.route"), route);
        assert_eq!(said("http.response.status_code"), status);
        assert_eq!(said("m2m.request_id").len(), 22);
    }
    let given = bytes(TRACE);
    let strange = span(&collected, "calendar-service", "GET /event", Some(&given));
    assert_eq!(strange.parent_span_id, bytes("00f067aa0ba902b7"));
    span(&collected, "calendar-service", "GET", None); // there was no route

    let line = log.iter().find(|line| line["trace_id"] == TRACE);
    let line = line.unwrap_or_else(|| panic!("{log:#?}"));
    assert_eq!(line["request_id"], refused["request_id"]);
    assert_eq!(line["level"], json!("INFO"));

    let clients = fs::read(world.folder.path().join("clients.json")).unwrap();
    let clients: serde_json::Value = serde_json::from_slice(&clients).unwrap();
    let secret = clients["assistant"]["clientSecret"].as_str().unwrap();
    for request in world.collector.received_requests().await.unwrap() {
        let body = String::from_utf8_lossy(&request.body);
        for word in ["hunter", secret, "Bearer", "eyJ"] {
            assert!(!body.contains(word), "{word}");
        }
        assert!(!request.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_in_the_log_and_holds_nothing_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let world = World::new().await;
    let mut service = world.program(&["note-service", "--listen=127.0.0.1:0"]);
    service
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", nobody.unwrap()),
        )
        .env("OTEL_BSP_SCHEDULE_DELAY", "20");
    let service = Program::start(&mut service);
    let health = format!("{}/health", service.says("listens on "));
    let http = m2m::http_client(Duration::from_secs(10));
    assert_eq!(http.get(&health).send().await.unwrap().status(), 200);
    assert_eq!(service.says("BatchSpanProcessor."), "ExportError");
    assert_eq!(http.get(&health).send().await.unwrap().status(), 200);
    service.stop();
    assert_eq!(world.collected().await, []);
}

#[test]
fn a_collector_that_spans_would_reach_in_the_clear_is_refused() {
    for (variable, value, says) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://otel.example.com:4318",
            "must be https://",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "https://a:hunter2@b.example",
            "must be https://",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "must be http/protobuf",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_m2m-suite"))
            .args(["note-service", "--listen=127.0.0.1:0"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
            .env(variable, value)
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(line.contains(says) && line.contains(variable), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}
