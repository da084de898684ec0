//! The command line, as scripts and people see it.

use assistant_cli::token_view::TokenView;
use serde_json::{Value, json};

use crate::servers::{ASSISTANT, Servers};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

pub(crate) fn run(servers: &Servers, arguments: &[&str]) -> Ended {
    ended(&mut servers.assistant(arguments))
}

pub(crate) fn ended(command: &mut assert_cmd::Command) -> Ended {
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
    let film = |title, start, end| {
        json!({
            "id": 2, "title": title, "description": "A film", "start": start, "end": end
        })
    };
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
async fn a_list_is_read_to_its_last_page() {
    let servers = Servers::start().await;
    for _ in 0..4 {
        assert_eq!(run(&servers, &["note", "add", "more"]).code, 0);
    }
    let notes = run(&servers, &["note", "list", "--json"]).json();
    let ids: Vec<&Value> = notes
        .as_array()
        .unwrap()
        .iter()
        .map(|note| &note["id"])
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
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
