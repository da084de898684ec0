//! At a terminal: questions, secrets, colors.

use std::io::{Read, Write};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::json;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{header, method, path},
};

use super::provider::{Provider, SECRET, client, credential, made};

/// Runs a command in a terminal and types an answer when it asks. What it showed, and its exit code.
fn at_a_terminal(provider: &Provider, arguments: &[&str], answer: &str) -> (String, u32) {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_auth-provider"));
    command.cwd(provider.folder.path());
    command.args(arguments);
    command.args(["--url", &provider.server.uri()]);
    command.env("TERM", "xterm-256color");
    let size = PtySize {
        rows: 50,
        cols: 200,
        ..PtySize::default()
    };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut output = pair.master.try_clone_reader().unwrap();
    let mut keyboard = pair.master.take_writer().unwrap();
    let (mut shown, mut bytes, mut asked) = (Vec::new(), [0; 4096], false);
    // Linux ends a pseudo-terminal with an error, others with nothing.
    while let Ok(count @ 1..) = output.read(&mut bytes) {
        shown.extend_from_slice(&bytes[..count]);
        if !asked && String::from_utf8_lossy(&shown).contains("Type yes: ") {
            asked = true;
            writeln!(keyboard, "{answer}").unwrap();
        }
    }
    let shown = String::from_utf8(shown).unwrap().replace('\r', "");
    (shown, child.wait().unwrap().exit_code())
}

#[actix_web::test]
async fn a_person_sees_what_would_go_before_it_goes() {
    let provider = Provider::start().await;
    let seen = ResponseTemplate::new(200).insert_header("ETag", "\"v1\"");
    let seen = seen.set_body_json(client("m3"));
    provider.answer("GET", "/clients/m3", seen).await;
    let used = credential("c", &json!({"last_used_at": 5}));
    let credentials = json!({"credentials": [used]});
    provider
        .on("GET", "/clients/m3/credentials", 200, credentials)
        .await;
    let no = json!({"detail": "this needs the scope grants:read"});
    provider.on("GET", "/grants", 403, no).await;

    let (shown, code) = at_a_terminal(&provider, &["client", "delete", "m3"], "no");
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("Deletes client m3 for good"), "{shown}");
    assert!(
        shown.contains("1 go with it; last used 1970-01-01T00:00:05Z"),
        "{shown}"
    );
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert!(provider.changes().await.is_empty());

    let changed = json!({"detail": "the ETag does not match"});
    Mock::given(method("DELETE"))
        .and(header("if-match", "\"v1\""))
        .respond_with(ResponseTemplate::new(412).set_body_json(changed))
        .mount(&provider.server)
        .await;
    let (shown, code) = at_a_terminal(&provider, &["client", "delete", "m3"], "yes");
    assert_eq!(code, 1, "{shown}");
    assert!(
        shown.contains("it was changed in the meantime: look again"),
        "{shown}"
    );

    let at = "/clients/m3/credentials/c";
    let safe = json!({"safe_to_remove": true, "safe_to_remove_reason": "unused for 3 h"});
    provider.on("GET", at, 200, credential("c", &safe)).await;
    let gone = ResponseTemplate::new(204);
    Mock::given(method("DELETE"))
        .and(path(format!("/admin/v1{at}")))
        .respond_with(gone)
        .with_priority(1)
        .mount(&provider.server)
        .await;
    let (shown, code) = at_a_terminal(&provider, &["credential", "delete", "m3", "c"], "yes");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("yes: unused for 3 h"), "{shown}");
    assert!(shown.contains("Deleted credential c."), "{shown}");
}

#[actix_web::test]
async fn a_terminal_is_shown_a_secret_once_and_colors_if_it_likes_them() {
    let provider = Provider::start().await;
    provider
        .on("POST", "/clients", 201, made(client("m3")))
        .await;
    let (shown, code) = at_a_terminal(&provider, &["client", "create", "m3"], "");
    assert_eq!(code, 0, "{shown}");
    assert!(
        shown.contains(SECRET) && shown.contains("shown only now"),
        "{shown}"
    );
    assert!(shown.contains("\u{1b}["), "styled: {shown}");
}
