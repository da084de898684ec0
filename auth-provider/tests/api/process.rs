//! The program itself: its arguments, its exit codes, its end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::support::folder;

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-provider"));
    command.env("NO_COLOR", "1").env("RUST_LOG", "info");
    command
}

pub(crate) fn in_folder(folder: &std::path::Path) -> Command {
    let mut command = program();
    command
        .current_dir(folder)
        .args(["--listen", "127.0.0.1:0", "--policy", "policy.toml"]);
    command
}

fn output(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    (output, errors)
}

#[test]
fn help_is_the_reference_of_the_configuration() {
    let (output, _) = output(program().arg("--help"));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for name in [
        "LISTEN",
        "PUBLIC_URL",
        "DATABASE_URL",
        "DATABASE_MAX_CONNECTIONS",
        "DATABASE_STATEMENT_TIMEOUT",
        "DATABASE_GRACE",
        "DATA_DIR",
        "POLICY",
        "CLIENTS_FILE",
        "MASTER_KEY",
        "BEHIND_TLS_PROXY",
        "WORKERS",
        "KEY_ROTATION_INTERVAL",
        "KEY_ANNOUNCE_TIME",
        "KEY_RETIRE_TIME",
        "KEY_SET_MAX_AGE",
        "FAST_KEY_ROTATION",
        "AUDIT_RETENTION",
        "AUDIT_DURABILITY",
        "CREDENTIAL_WARNING",
        "RATE_LIMIT_CLIENT",
        "RATE_LIMIT_ADDRESS",
        "RATE_LIMIT_ADMIN",
        "RATE_LIMIT_FAILURES",
        "DYNAMIC_REGISTRATION",
        "MAX_JWT_VALIDITY",
        "CONFIG",
    ] {
        assert!(
            help.contains(&format!("AUTH_PROVIDER_{name}")),
            "{name} is missing:\n{help}"
        );
    }
}

#[test]
fn config_prints_what_is_in_force_with_secrets_masked() {
    let folder = folder();
    let url = "postgres://bob:hunter2@db/auth";
    let (output, _) = output(
        in_folder(folder.path())
            .args(["config", "--database-url", url])
            .env("AUTH_PROVIDER_MASTER_KEY", "hunter3")
            .env("AUTH_PROVIDER_DYNAMIC_REGISTRATION", "true"),
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let table: toml::Table = printed.parse().unwrap();
    assert_eq!(
        table["database_url"].as_str(),
        Some("postgres://bob:***@db/auth")
    );
    assert_eq!(table["database_max_connections"].as_integer(), Some(10));
    assert_eq!(table["database_statement_timeout"].as_str(), Some("5s"));
    assert_eq!(table["database_grace"].as_str(), Some("1m"));
    assert_eq!(table["listen"].as_str(), Some("127.0.0.1:0"));
    assert_eq!(table["dynamic_registration"].as_bool(), Some(true));
    assert!(!printed.contains("hunter"), "{printed}");
    assert!(
        !folder.path().join("data").exists(),
        "looking makes nothing"
    );
}

#[test]
fn what_cannot_start_ends_with_one_line_and_exit_code_1() {
    let folder = folder();
    for (arguments, part) in [
        (["--listen", "0.0.0.0:0"], "--behind-tls-proxy"),
        (
            ["--policy", "nowhere.toml"],
            "cannot read the policy file nowhere.toml",
        ),
        (["--config", "nowhere.toml"], "cannot read nowhere.toml"),
        (
            ["--data-dir", "policy.toml/data"],
            "cannot make the data folder",
        ),
    ] {
        let (output, errors) = output(program().current_dir(folder.path()).args(arguments));
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.starts_with("auth-provider: ") && errors.contains(part),
            "{errors}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let (output, _) = output(program().arg("--no-such-flag"));
    assert_eq!(output.status.code(), Some(2));
}

/// Starts the program and waits until it says where it listens.
pub(crate) fn started(command: &mut Command) -> (Child, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let line = lines
        .find(|line| line.as_ref().unwrap().contains("listening on"))
        .unwrap()
        .unwrap();
    let address = line
        .split("listening on ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    (child, address)
}

pub(crate) fn terminate(child: &Child) {
    let status = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// The head of the request is there when the signal comes, its body only afterwards.
#[test]
fn a_request_in_flight_is_answered_before_the_server_ends() {
    let folder = folder();
    let (mut child, address) = started(&mut in_folder(folder.path()));
    let body = "grant_type=client_credentials&client_id=bot&client_secret=wrong";
    let mut connection = TcpStream::connect(&address).unwrap();
    write!(
        connection,
        "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .unwrap();
    let mut expected = [0; 12];
    connection.read_exact(&mut expected).unwrap();
    assert_eq!(&expected, b"HTTP/1.1 100", "the server waits for the body");
    terminate(&child);
    // The listener is gone once the signal has arrived; the request goes on.
    while TcpStream::connect(&address).is_ok() {}
    connection.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 401"), "{answer}");
    assert!(child.wait().unwrap().success());
}

/// The program with keys that change each second, and a command that talks to it.
#[test]
fn keys_rotate_by_themselves_and_by_command() {
    let folder = folder();
    let policy = "[resources.a]\ntoken_lifetime = '5s'";
    std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let fast = [
        "--fast-key-rotation",
        "--key-rotation-interval=1s",
        "--key-announce-time=2s",
        "--key-retire-time=10s",
    ];
    let (mut child, address) = started(in_folder(folder.path()).args(fast));
    let url = format!("http://{address}");
    let key = |arguments: &[&str]| {
        let mut command = program();
        command
            .current_dir(folder.path())
            .arg("key")
            .args(arguments);
        output(command.args(["--url", &url]))
    };
    let list = || -> Vec<serde_json::Value> {
        let (output, errors) = key(&["list", "--json"]);
        assert!(output.status.success(), "{errors}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer.as_array().unwrap().clone()
    };
    let first = list()[0]["kid"].clone();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !list()
        .iter()
        .any(|key| key["kid"] == first && key["state"] == "retired")
    {
        assert!(Instant::now() < deadline, "the first key goes on signing");
    }

    let keys = list();
    let active = keys.iter().find(|key| key["state"] == "active").unwrap();
    let kid = active["kid"].as_str().unwrap();
    let (output, errors) = key(&["compromised", kid, "--yes"]);
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8(output.stdout).unwrap();
    let line = told.lines().find(|line| line.starts_with(kid)).unwrap();
    assert!(line.contains("ES256  compromised at 20"), "{told}");

    let (output, errors) = key(&["rotate", "--alg", "ES256"]);
    assert!(output.status.success(), "{errors}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("announced, signs from 20")
    );

    for (arguments, part) in [
        (
            ["rotate", "--alg=PS256"].as_slice(),
            "the provider refused: no resource uses PS256",
        ),
        (
            &["compromised", "-unknown", "--yes"],
            "there is no key with this kid",
        ),
        (
            &["list", "--clients-file=nowhere.json"],
            "cannot read nowhere.json",
        ),
    ] {
        let (output, errors) = key(arguments);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.starts_with("auth-provider: ") && errors.contains(part),
            "{errors}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    terminate(&child);
    assert!(child.wait().unwrap().success());
    let (output, errors) = key(&["list"]);
    assert_eq!(output.status.code(), Some(1), "nobody is there");
    assert!(errors.contains("is the issuer running there?"), "{errors}");
}

/// RFC 9112 section 9.6: who sends on a kept connection is told to turn elsewhere before it is closed.
#[test]
fn a_kept_connection_is_told_before_it_ends() {
    let folder = folder();
    let (mut child, address) = started(&mut in_folder(folder.path()));
    let mut connection = TcpStream::connect(&address).unwrap();
    let mut ask = || {
        write!(connection, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !answer.ends_with('}') {
            let mut bytes = [0; 1024];
            let read = connection.read(&mut bytes).unwrap();
            assert!(read > 0, "closed without a word");
            answer.push_str(str::from_utf8(&bytes[..read]).unwrap());
        }
        answer
    };
    assert!(!ask().contains("connection: close"));
    terminate(&child);
    while !ask().contains("connection: close") {}
    assert!(child.wait().unwrap().success());
}
