//! What goes wrong on the command line: the exit code, and the sentence that says what to do.

use m2m::testing::TestIssuer;
use serde_json::{Value, json};

use crate::{
    commands::{ended, run},
    servers::Servers,
};

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
        let ended = run(&servers, &[arguments, &["--json"]].concat());
        let error: Value = serde_json::from_str(&ended.stderr).unwrap();
        assert_eq!((ended.code, &error["error"]["kind"]), (2, &json!("usage")));
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
