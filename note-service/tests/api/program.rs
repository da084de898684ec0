//! The program: its configuration, and why it does not start. The start itself is the same code in
//! all resource servers, and calendar-service tests it from the log to SIGTERM.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_note-service"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    for (arguments, says) in [
        (["--listen", "0.0.0.0:0"], "--behind-tls-proxy"),
        (["--issuer", "http://auth.example/auth"], "https"),
    ] {
        let output = run(&arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
        assert!(line.starts_with("note-service: "), "{line}");
        assert!(line.contains(says), "{arguments:?}: {line}");
    }
}

#[test]
fn help_is_the_reference_of_the_configuration() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for name in [
        "NOTE_SERVICE_LISTEN",
        "localhost:3012",
        "NOTE_SERVICE_ISSUER",
        "http://localhost:3001/auth",
        "NOTE_SERVICE_AUDIENCE",
        "NOTE_SERVICE_BEHIND_TLS_PROXY",
        "NOTE_SERVICE_REVOCATION",
        "NOTE_SERVICE_WHEN_FEED_IS_STALE",
        "NOTE_SERVICE_CLIENTS_FILE",
        "NOTE_SERVICE_CLIENT_ID",
        "NOTE_SERVICE_CLIENT_SECRET",
        "NOTE_SERVICE_WORKERS",
    ] {
        assert!(help.contains(name), "{name}: {help}");
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(
        version,
        concat!("note-service ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
