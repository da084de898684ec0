//! The program: how it starts, why it does not, and how it stops.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Output, Stdio},
    time::Duration,
};

use m2m::http_client;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resource-server"));
    command.args(arguments).env("NO_COLOR", "1");
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (_, taken_port) = taken.rsplit_once(':').unwrap();
    for (arguments, says) in [
        (["--listen", &*taken], "is in use"),
        (["--listen", "0.0.0.0:0"], "--behind-tls-proxy"),
        (["--listen", "[::]:0"], "--behind-tls-proxy"),
        (["--listen", "203.0.113.1:0"], "--behind-tls-proxy"),
        (["--port", taken_port], "is in use"),
        (["--introspect-url", "not a url"], "not a url"),
        (
            ["--introspect-url", "http://auth.example/introspect"],
            "https",
        ),
        (["--audience", ""], "audience"),
    ] {
        let output = run(&arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
        assert!(line.starts_with("resource-server: "), "{line}");
        assert!(line.contains(says), "{arguments:?}: {line}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn half_a_credential_keeps_it_from_starting_and_is_not_shown() {
    let output = program(&["--listen", "127.0.0.1:0"])
        .env("OAUTH2_CLIENT_SECRET", "hunter2")
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("OAUTH2_CLIENT_ID"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for arguments in [
        ["--listen", "example.com:80"],
        ["--listen", "localhost"],
        ["--workers", "0"],
        ["--workers", "many"],
        ["--cache-seconds", "31"],
        ["--required-scope", ""],
        ["--required-scope", "read  write"],
        ["--port", "99999"],
        ["--issuer", "http://localhost:3001/auth"],
    ] {
        assert_eq!(run(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn help_is_the_reference_of_the_configuration() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for (flag, variable) in [
        ("--port", "PORT"),
        ("--listen", "RESOURCE_SERVER_LISTEN"),
        ("--introspect-url", "OAUTH2_INTROSPECT_URL"),
        ("--audience", "OAUTH2_AUDIENCE"),
        ("--required-scope", "REQUIRED_SCOPE"),
        ("--cache-seconds", "OAUTH2_CACHE_SECONDS"),
        ("--clients-file", "RESOURCE_SERVER_CLIENTS_FILE"),
        ("--behind-tls-proxy", "RESOURCE_SERVER_BEHIND_TLS_PROXY"),
        ("--workers", "RESOURCE_SERVER_WORKERS"),
    ] {
        assert!(
            help.contains(flag) && help.contains(variable),
            "{flag}: {help}"
        );
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(
        version,
        concat!("resource-server ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[tokio::test]
async fn it_runs_without_its_issuer_until_it_is_told_to_stop() {
    // Port 9 (discard) is where nobody listens.
    let mut service = program(&["--introspect-url", "http://127.0.0.1:9/introspect"])
        .env("PORT", "0")
        .env("OAUTH2_CLIENT_ID", "rs")
        .env("OAUTH2_CLIENT_SECRET", "hunter2")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(service.stderr.take().unwrap());
    let url = log
        .lines()
        .find_map(|line| Some(line.unwrap().split_once("listens on ")?.1.to_owned()))
        .unwrap();
    let get = async |path: &str| {
        let request = http_client(Duration::from_secs(10)).get(format!("{url}{path}"));
        let response = request.header("connection", "close").send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("/health").await.0, 200);
    let (status, checks) = get("/ready").await;
    assert_eq!(status, 503);
    assert!(checks.contains("has not answered yet"), "{checks}");

    let pid = service.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(service.wait().unwrap().code(), Some(0));
}
