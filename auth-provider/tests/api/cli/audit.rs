//! The audit log: filtered, followed, and read by somebody who goes away.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};
use wiremock::{Mock, Request, ResponseTemplate, matchers::path};

use super::provider::{LATER, Provider, client, made};

fn event(number: u64) -> Value {
    json!({
        "number": number, "at": LATER, "action": "token.refused", "outcome": "refused", "actor": "m3",
        "client_id": "m3", "resource": "m2", "credential_id": null, "jti": null,
        "reason": "invalid_target", "explanation": "m3 has no\ngrant for m2", "request_id": "r1",
        "address": null,
    })
}

#[actix_web::test]
async fn the_audit_log_is_filtered_by_the_provider_and_told_in_lines() {
    let provider = Provider::start().await;
    let page = json!({"events": [event(2), event(1)], "next_cursor": null});
    provider.on("GET", "/audit", 200, page).await;
    let told = provider
        .run(&[
            "audit",
            "--client=m3",
            "--action=token.refused",
            "--until=2100-01-01",
            "--limit=2",
        ])
        .done();
    let line = "2  2100-01-01T00:00:00Z  token.refused             refused  m3 -> m2  m3 has no grant for m2  \
                (request r1)";
    assert_eq!(told.lines().next(), Some(line));
    assert_eq!(told.lines().count(), 2);
    let requests = provider.server.received_requests().await.unwrap();
    let query = requests.last().unwrap().url.query().unwrap();
    assert_eq!(
        query,
        format!("client_id=m3&action=token.refused&until={LATER}&limit=2")
    );
}

/// A log that grows by an event at each look, newest first.
async fn growing(provider: &Provider) {
    let looks = AtomicU64::new(0);
    Mock::given(path("/admin/v1/audit"))
        .respond_with(move |_: &Request| {
            let newest = looks.fetch_add(1, Ordering::Relaxed) + 2;
            let events: Vec<_> = (1..=newest).rev().map(event).collect();
            ResponseTemplate::new(200).set_body_json(json!({"events": events, "next_cursor": null}))
        })
        .mount(&provider.server)
        .await;
}

#[actix_web::test]
async fn the_audit_log_is_followed_until_ctrl_c() {
    let provider = Provider::start().await;
    growing(&provider).await;
    let mut command = provider.command(&["audit", "--follow", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 1..=3 {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), event(number));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[actix_web::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let provider = Provider::start().await;
    growing(&provider).await;
    let list = json!({"clients": [client("a")], "next_cursor": null});
    provider.on("GET", "/clients", 200, list).await;
    for arguments in [
        &["audit", "--follow"][..],
        &["audit"],
        &["client", "list"],
        &["client", "list", "--json"],
        &["completions", "bash"],
        &["config"],
    ] {
        let mut command = provider.command(arguments);
        if matches!(arguments[0], "completions" | "config") {
            command = Command::new(env!("CARGO_BIN_EXE_auth-provider"));
            command.args(arguments);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = command.stdout(writer).stderr(Stdio::piped()).output();
        let ended = ended.unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(
            (ended.status.code(), errors.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    // But a secret that nobody read is worth a word.
    provider
        .on("POST", "/clients", 201, made(client("m3")))
        .await;
    let mut command = provider.command(&["client", "create", "--print-secret"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command.stdout(writer).stderr(Stdio::piped()).output();
    let ended = ended.unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        errors.contains("credential new was made, and its secret is lost"),
        "{errors}"
    );
}
