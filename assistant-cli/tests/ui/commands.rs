//! The command line, as scripts and people see it.

use assistant_cli::token_view::TokenView;
use m2m::testing::TestIssuer;
use serde_json::{Value, json};

use crate::servers::{ASSISTANT, Servers};

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

fn run(servers: &Servers, arguments: &[&str]) -> Ended {
    ended(&mut servers.assistant(arguments))
}

fn ended(command: &mut assert_cmd::Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_tables_without_colours_in_a_pipe() {
    let servers = Servers::start().await;
    for (arguments, says) in [
        (
            &["note", "list"][..],
            "ID  TITLE           DESCRIPTION\n 1  Meeting with A  Discuss the project\n",
        ),
        (
            &["note", "add", "Buy", "milk"],
            "✓ Added note 2\n  title        Untitled Note\n  description  Buy milk\n",
        ),
        (
            &["note", "update", "2", "-t", "Shopping"],
            "✓ Updated note 2\n  title        Shopping\n  description  Buy milk\n",
        ),
        (&["note", "delete", "2"], "✓ Deleted note 2\n"),
        (
            &[
                "calendar",
                "add",
                "A",
                "film",
                "-t",
                "Cinema",
                "-s",
                "2026-12-24 18:00",
                "-e",
                "+2h",
            ],
            "✓ Added event 2\n  title        Cinema\n",
        ),
        (
            &["calendar", "update", "2", "-e", "2026-12-24T21:00:00Z"],
            "✓ Updated event 2\n  title        Cinema\n",
        ),
        (&["calendar", "delete", "2"], "✓ Deleted event 2\n"),
        (&["calendar", "list"], "ID  WHEN"),
        (&["note", "delete", "1"], "✓ Deleted note 1\n"),
        (
            &["note", "list"],
            "No notes yet. Add one: assistant note add …\n",
        ),
    ] {
        let ended = run(&servers, arguments);
        assert!(ended.stdout.starts_with(says), "{arguments:?}: {ended:?}");
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (0, ""),
            "{arguments:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_read_json() {
    let servers = Servers::start().await;
    let meeting = json!({"id": 1, "title": "Meeting with A", "description": "Discuss the project"});
    let (six, eight, nine) = (
        1_798_135_200_000_u64,
        1_798_142_400_000_u64,
        1_798_146_000_000_u64,
    );
    let film = |title, start, end| json!({"id": 2, "title": title, "description": "A film", "start": start, "end": end});
    for (arguments, answer) in [
        (&["note", "list"][..], json!([meeting])),
        (
            &["note", "add", "Buy milk", "-t", "Shopping"],
            json!({"id": 2, "title": "Shopping", "description": "Buy milk"}),
        ),
        (
            &["note", "update", "2", "Buy", "bread"],
            json!({"id": 2, "title": "Shopping", "description": "Buy bread"}),
        ),
        (
            &["note", "delete", "2"],
            json!({"deleted": true, "note": 2}),
        ),
        (
            &[
                "calendar",
                "add",
                "A film",
                "-s",
                "2026-12-24 18:00",
                "-e",
                "20:00",
            ],
            film("Untitled Event", six, eight),
        ),
        (
            &[
                "calendar",
                "update",
                "2",
                "-t",
                "Cinema",
                "-e",
                "1798146000000",
            ],
            film("Cinema", six, nine),
        ),
        (
            &["calendar", "delete", "2"],
            json!({"deleted": true, "event": 2}),
        ),
    ] {
        let arguments = [arguments, &["--json"]].concat();
        assert_eq!(run(&servers, &arguments).json(), answer, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_begins_now_and_lasts_an_hour_unless_told_otherwise() {
    let servers = Servers::start().await;
    let before = m2m::Clock::System.now_ms();
    let event = run(&servers, &["calendar", "add", "Tea", "--json"]).json();
    let after = m2m::Clock::System.now_ms();
    let (start, end) = (
        event["start"].as_u64().unwrap(),
        event["end"].as_u64().unwrap(),
    );
    assert!(
        (before..=after).contains(&start),
        "{before} {start} {after}"
    );
    assert_eq!(end - start, 3_600_000);
    let event = run(
        &servers,
        &["calendar", "add", "Tea", "-s", "2026-12-24 18:00", "--json"],
    );
    assert_eq!(event.json()["end"], 1_798_138_800_000_u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_refused_before_anything_is_sent() {
    let servers = Servers::start().await;
    for (arguments, says) in [
        (&[][..], "Usage: assistant"),
        (&["calendar", "add"], "<DESCRIPTION>"),
        (&["note", "add"], "<DESCRIPTION>"),
        (
            &["note", "update", "1"],
            "required arguments were not provided",
        ),
        (
            &["calendar", "update", "1"],
            "required arguments were not provided",
        ),
        (&["note", "delete", "x"], "invalid value 'x'"),
        (&["note", "delete", "-1"], "unexpected argument"),
        (
            &["calendar", "add", "Tea", "-s", "soon"],
            "try \"tomorrow 15:00\"",
        ),
        (
            &["calendar", "add", "Tea", "-s", "15:00", "-e", "14:00"],
            "lies before the start",
        ),
        (
            &["calendar", "update", "1", "-s", "15:00", "-e", "14:00"],
            "lies before the start",
        ),
        (
            &["note", "list", "--note-url", "http://note.example"],
            "a token travels over https",
        ),
        (&["note", "list", "--issuer", "nonsense"], "error:"),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
    ] {
        let ended = run(&servers, arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {ended:?}"
        );
        assert!(
            ended.stderr.contains(says),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    assert_eq!(servers.issuer.requests(TestIssuer::TOKEN), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_so() {
    let servers = Servers::start().await;
    for (arguments, says) in [
        (&["note", "delete", "7"][..], "there is no note 7"),
        (&["calendar", "delete", "7"], "there is no event 7"),
        (&["note", "update", "7", "x"], "there is no note 7"),
        (
            &["calendar", "update", "7", "-t", "x"],
            "there is no event 7",
        ),
    ] {
        let ended = run(&servers, arguments);
        assert_eq!(ended.code, 5, "{ended:?}");
        assert!(
            ended
                .stderr
                .starts_with(&format!("error: {says}\n  → `assistant ")),
            "{ended:?}"
        );
    }
}

/// Runs `note list --json`, and answers with exit code, kind, message and hint of its failure.
fn failure(servers: &Servers) -> (i32, String, String, String) {
    let ended = run(servers, &["note", "list", "--json"]);
    assert_eq!(ended.stdout, "", "{ended:?}");
    let answer: Value = serde_json::from_str(&ended.stderr).unwrap();
    let text = |name| {
        answer["error"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (ended.code, text("kind"), text("message"), text("hint"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_issuer_says_what_to_do() {
    let servers = Servers::start().await;
    for (status, error, code, kind, hint) in [
        (
            401,
            "invalid_client",
            3,
            "refused",
            "clients.json is not what the provider holds",
        ),
        (
            400,
            "invalid_scope",
            3,
            "refused",
            "`assistant token note-service`",
        ),
        (400, "invalid_target", 3, "refused", "demo/policy.toml"),
        (400, "unauthorized_client", 3, "refused", "demo/policy.toml"),
        (
            503,
            "temporarily_unavailable",
            4,
            "unreachable",
            "try again",
        ),
    ] {
        let why = json!({"error": error, "error_description": "because", "request_id": "r-1"});
        servers.issuer.fail_token_requests(Some((status, why)));
        let (was_code, was_kind, was_message, was_hint) = failure(&servers);
        assert_eq!(
            (was_code, was_kind.as_str()),
            (code, kind),
            "{error}: {was_message}"
        );
        let message = format!("note-service with note.read: {error}, because (request r-1)");
        assert!(was_message.ends_with(&message), "{error}: {was_message}");
        assert!(was_hint.contains(hint), "{error}: {was_hint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_service_says_what_to_do() {
    let servers = Servers::start().await;
    let token = |error| json!({"error": error, "error_description": "because"});
    let detail = |detail| json!({"title": "Error", "detail": detail});
    for (status, body, code, kind, message, hint) in [
        (
            401,
            token("bad"),
            3,
            "refused",
            "refused the token: bad, because",
            "trust the issuer",
        ),
        (
            403,
            token("poor"),
            3,
            "refused",
            "refused the token: poor, because",
            "assistant token",
        ),
        (
            503,
            detail("no keys"),
            4,
            "unreachable",
            "cannot work now: no keys",
            "auth-provider",
        ),
        (
            400,
            detail("too long"),
            1,
            "failed",
            "refused the request: too long",
            "",
        ),
        (
            500,
            detail("oops"),
            1,
            "failed",
            "note-service failed: oops",
            "its log",
        ),
        (302, json!(null), 1, "failed", "302 Found", ""),
        (
            404,
            json!({}),
            1,
            "failed",
            "does not answer like note-service",
            "--note-url",
        ),
        (
            200,
            json!("pong"),
            1,
            "failed",
            "does not answer like note-service",
            "--note-url",
        ),
    ] {
        servers.note.answer(Some((status, body)));
        let (was_code, was_kind, was_message, was_hint) = failure(&servers);
        assert_eq!(
            (was_code, was_kind.as_str()),
            (code, kind),
            "{status}: {was_message}"
        );
        assert!(was_message.contains(message), "{status}: {was_message}");
        assert!(was_hint.contains(hint), "{status}: {was_hint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_running_is_named_with_the_command_that_starts_it() {
    let servers = Servers::start().await;
    // Nothing listens on a port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let issuer = format!("{nobody}/auth");
    for (arguments, name) in [
        (
            ["note", "list", "--issuer", issuer.as_str()],
            "auth-provider",
        ),
        (["note", "list", "--note-url", &nobody], "note-service"),
        (
            ["calendar", "list", "--calendar-url", &nobody],
            "calendar-service",
        ),
    ] {
        let ended = run(&servers, &arguments);
        assert_eq!(ended.code, 4, "{ended:?}");
        let says = format!(
            "error: cannot reach {name} at {nobody}\n  → is {name} running on {nobody}? \
             start it with `cargo run -p {name}`"
        );
        assert!(ended.stderr.starts_with(&says), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_it_says_where_they_come_from() {
    let servers = Servers::start().await;
    let empty = tempfile::tempdir().unwrap();
    let ended_there = ended(
        servers
            .assistant(&["note", "list"])
            .current_dir(empty.path()),
    );
    assert_eq!(ended_there.code, 1);
    assert!(
        ended_there.stderr.contains("there is no clients.json"),
        "{ended_there:?}"
    );
    assert!(
        ended_there.stderr.contains("cargo run -p auth-provider"),
        "{ended_there:?}"
    );

    std::fs::write(servers.folder.path().join("clients.json"), "{").unwrap();
    let broken = run(&servers, &["note", "list"]);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("is no JSON object"), "{broken:?}");

    let from_environment = ended(
        servers
            .assistant(&["note", "list"])
            .env("ASSISTANT_CLIENT_ID", "assistant")
            .env("ASSISTANT_CLIENT_SECRET", "m2m_right"),
    );
    assert_eq!(from_environment.code, 0, "{from_environment:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_explained_and_shown_only_when_asked_for() {
    let servers = Servers::start().await;
    let asked = ["token", "calendar-service", "--scope", "calendar.read"];
    let explained = run(&servers, &asked);
    for part in [
        "A token for calendar-service with calendar.read, ",
        "  aud        calendar-service\n             the one service that may accept it\n",
        "  typ  at+jwt\n",
    ] {
        assert!(
            explained.stdout.contains(part),
            "{part:?} in {}",
            explained.stdout
        );
    }
    assert!(
        !explained.stdout.contains("eyJ"),
        "the token itself is a secret"
    );

    let json = run(&servers, &[&asked[..], &["--json"]].concat()).json();
    assert_eq!(json["claims"]["aud"], "calendar-service");
    assert_eq!(json["scopes"], json!(["calendar.read"]));
    assert!(
        (3590..=3600).contains(&json["expires_in"].as_u64().unwrap()),
        "{json}"
    );
    assert_eq!(json.get("token"), None);

    let raw = run(&servers, &[&asked[..], &["--raw"]].concat());
    assert_eq!((raw.code, raw.stdout.lines().count()), (0, 1));
    let view = TokenView::decode(raw.stdout.trim_end()).unwrap();
    assert_eq!(view.claims["scope"], "calendar.read");
    let both = run(&servers, &[&asked[..], &["--raw", "--json"]].concat()).json();
    assert!(both["token"].as_str().unwrap().starts_with("eyJ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_scopes_may_be_asked_for_in_either_spelling() {
    let servers = Servers::start().await;
    for scopes in [
        &["--scope", "note.read", "--scope", "note.write"][..],
        &["--scope", "note.read note.write"],
    ] {
        let json = run(
            &servers,
            &[&["token", "note-service", "--json"], scopes].concat(),
        )
        .json();
        assert_eq!(json["claims"]["scope"], "note.read note.write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn start_needs_a_terminal() {
    let servers = Servers::start().await;
    let ended = run(&servers, &["start"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended
            .stderr
            .starts_with("error: `assistant start` needs a terminal"),
        "{ended:?}"
    );
}

#[test]
fn completions_and_help_need_no_server() {
    for (arguments, says) in [
        (&["completions", "bash"][..], "_assistant()"),
        (&["completions", "zsh"], "#compdef assistant"),
        (&["completions", "fish"], "complete -c assistant"),
        (&["--help"], "Exit codes:"),
        (&["--version"], "assistant 0.1.0"),
    ] {
        let mut command = assert_cmd::Command::new(ASSISTANT);
        command
            .env("ASSISTANT_CLIENT_SECRET", "m2m_hidden")
            .args(arguments);
        let ended = ended(&mut command);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains(says), "{ended:?}");
        assert!(!ended.stdout.contains("m2m_hidden"));
    }
}
