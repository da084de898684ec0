//! The program: how it starts, why it does not, and how it stops.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Output, Stdio},
    time::Duration,
};

use m2m::http_client;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microservice"));
    command.arg("m1").args(arguments).env("NO_COLOR", "1");
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, says) in [
        (["--listen", &taken], "is in use"),
        (["--listen", "0.0.0.0:0"], "--behind-tls-proxy"),
        (["--listen", "[::]:0"], "--behind-tls-proxy"),
        (["--listen", "203.0.113.1:0"], "--behind-tls-proxy"),
        (
            ["--services", "m2=http://localhost:8002"],
            "where is m1 to listen?",
        ),
        (
            ["--services", "m1=https://m1.example.com"],
            "where is m1 to listen?",
        ),
        (["--issuer", "not a url"], "not a url"),
        (["--issuer", "http://auth.example/auth"], "https"),
    ] {
        let output = run(&arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
        assert!(line.starts_with("microservice: "), "{line}");
        assert!(line.contains(says), "{arguments:?}: {line}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn half_a_credential_keeps_it_from_starting_and_is_not_shown() {
    let output = program(&["--listen", "127.0.0.1:0"])
        .env("MICROSERVICE_CLIENT_SECRET", "hunter2")
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("MICROSERVICE_CLIENT_ID"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for arguments in [
        ["--listen", "example.com:80"],
        ["--listen", "localhost"],
        ["--workers", "0"],
        ["--workers", "many"],
        ["--revocation", "always"],
        ["--when-feed-is-stale", "panic"],
        ["--port", "3011"],
        ["--services", "m2"],
        ["--services", "m2=http://m2.example.com"],
    ] {
        assert_eq!(run(&arguments).status.code(), Some(2), "{arguments:?}");
    }
    for name in [&[][..], &[""], &["m 1"], &["m1", "m2"], &["../m1"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microservice"));
        let output = command.args(name).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?}");
    }
}

#[test]
fn help_is_the_reference_of_the_configuration() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for (flag, variable) in [
        ("--listen", "MICROSERVICE_LISTEN"),
        ("--issuer", "MICROSERVICE_ISSUER"),
        ("<NAME>", "MICROSERVICE_NAME"),
        ("--services", "MICROSERVICE_SERVICES"),
        ("--revocation", "MICROSERVICE_REVOCATION"),
        ("--when-feed-is-stale", "MICROSERVICE_WHEN_FEED_IS_STALE"),
        ("--clients-file", "MICROSERVICE_CLIENTS_FILE"),
        ("--behind-tls-proxy", "MICROSERVICE_BEHIND_TLS_PROXY"),
        ("--workers", "MICROSERVICE_WORKERS"),
    ] {
        assert!(
            help.contains(flag) && help.contains(variable),
            "{flag}: {help}"
        );
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(
        version,
        concat!("microservice ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[tokio::test]
async fn it_runs_without_its_issuer_until_it_is_told_to_stop() {
    // Port 9 (discard) is where nobody listens.
    let mut service = program(&[
        "--listen",
        "127.0.0.1:0",
        "--issuer",
        "http://127.0.0.1:9/auth",
    ])
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
    assert!(checks.contains("issuer keys"), "{checks}");

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
