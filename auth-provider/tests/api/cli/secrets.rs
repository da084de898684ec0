//! What is made, and how its secret is handed over.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
};

use serde_json::{Value, json};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{method, path},
};

use super::provider::{Provider, Ran, SECRET, body, client, credential, made, ran};

#[actix_web::test]
async fn a_secret_is_handed_over_once_and_only_where_it_was_to_go() {
    let provider = Provider::start().await;
    let answer = made(client("m3"));
    provider.on("POST", "/clients", 201, answer.clone()).await;
    let create = |more: &[&str]| {
        let arguments = [&["client", "create", "m3", "--metadata=team=money"], more].concat();
        provider.run(&arguments)
    };

    let printed = create(&["--print-secret"]).done();
    assert!(
        printed.contains(&format!("client_secret  {SECRET}\n")),
        "{printed}"
    );
    assert!(printed.contains("shown only now"), "{printed}");
    let json: Value = serde_json::from_str(&create(&["--print-secret", "--json"]).done()).unwrap();
    assert_eq!(json, answer);

    for (file, more) in [("a", &[][..]), ("b", &["--json"])] {
        let arguments = [&["--secret-file", file], more].concat();
        let Ran { code, out, err } = create(&arguments);
        assert_eq!(code, Some(0), "{err}");
        assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
        assert!(!out.contains("client_secret"), "{out}");
        let path = provider.at(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{SECRET}\n"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let changes = provider.changes().await;
    assert_eq!(
        body(&changes[0]),
        json!({"client_id": "m3", "metadata": {"team": "money"}})
    );

    let taken = Provider::start().await;
    let problem = json!({"detail": "this client_id is taken", "field": "client_id"});
    taken.on("POST", "/clients", 409, problem).await;
    let ran = taken.run(&["client", "create", "m3", "--secret-file=c"]);
    ran.failed(1, "is taken");
    assert!(!taken.at("c").exists(), "no secret, no file");
}

#[actix_web::test]
async fn a_bootstrap_token_is_handed_over_like_a_secret_and_ends() {
    let provider = Provider::start().await;
    let mut answer = credential(
        "new",
        &json!({"kind": "bootstrap", "expires_at": 1_900_000_000}),
    );
    answer["bootstrap_token"] = SECRET.into();
    let path = "/clients/m1/credentials";
    provider.on("POST", path, 201, answer).await;
    let bootstrap = |more: &[&str]| provider.run(&[&["client", "bootstrap", "m1"], more].concat());
    let seconds = || i64::try_from(m2m::Clock::System.now()).unwrap();

    let before = seconds();
    let Ran { code, out, err } = bootstrap(&["--secret-file", "m1.bootstrap"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
    assert!(out.contains("Created bootstrap token new\n"), "{out}");
    assert!(out.contains("bootstrap …abcd"), "{out}");
    let file = provider.at("m1.bootstrap");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{SECRET}\n"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let printed = bootstrap(&["--days=90", "--label=in Frankfurt", "--print-secret"]).done();
    let line = format!("bootstrap_token  {SECRET}\n");
    assert!(printed.contains(&line), "{printed}");
    let after = seconds();
    bootstrap(&["--until=2030-01-01", "--print-secret"]).done();

    let changes = provider.changes().await;
    let bodies: Vec<_> = changes.iter().map(body).collect();
    for (body, days) in bodies.iter().zip([30, 90]) {
        let end = body["expires_at"].as_i64().unwrap() - days * 86_400;
        assert!((before..=after).contains(&end), "{body}");
        assert_eq!(body["kind"], "bootstrap");
    }
    assert_eq!(bodies[1]["label"], "in Frankfurt");
    let until = json!({"kind": "bootstrap", "expires_at": 1_893_456_000});
    assert_eq!(bodies[2], until);
}

#[actix_web::test]
async fn an_imported_token_is_told_by_its_hash_alone() {
    let provider = Provider::start().await;
    let imported = credential("new", &json!({"kind": "bootstrap", "last_four": ""}));
    let path = "/clients/m1/credentials";
    provider.on("POST", path, 201, imported).await;
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let import = |more: &[&str]| {
        let arguments = ["client", "bootstrap", "m1", "--import-sha256", hash];
        provider.run(&[&arguments, more].concat())
    };
    import(&[]).failed(2, "--days or --until");
    for more in [
        &["--days=30", "--secret-file=x"],
        &["--days=30", "--until=2030-01-01"],
        &["--days=366"][..],
        &["--days=0"],
    ] {
        assert_eq!(import(more).code, Some(2), "{more:?}");
    }
    assert!(provider.changes().await.is_empty());
    let told = import(&["--until=2030-01-01"]).done();
    assert!(
        told.contains("Accepts from now on, as credential new\n"),
        "{told}"
    );
    let sent = body(&provider.changes().await[0]);
    let expected = json!({"kind": "bootstrap", "expires_at": 1_893_456_000, "secret_sha256": hash});
    assert_eq!(sent, expected);
}

#[actix_web::test]
async fn what_is_created_is_asked_for_again_with_the_same_key() {
    let provider = Provider::start().await;
    let busy = ResponseTemplate::new(503).insert_header("Retry-After", "0");
    let busy = busy.set_body_json(json!({"detail": "the database is away"}));
    Mock::given(method("POST"))
        .and(path("/admin/v1/clients"))
        .respond_with(busy)
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&provider.server)
        .await;
    provider
        .on("POST", "/clients", 201, made(client("m3")))
        .await;
    provider.run(&["client", "create", "--print-secret"]).done();
    let changes = provider.changes().await;
    let keys: Vec<_> = changes
        .iter()
        .map(|change| &change.headers["idempotency-key"])
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    provider.run(&["client", "create", "--print-secret"]).done();
    let another = provider.changes().await.pop().unwrap();
    assert_ne!(&another.headers["idempotency-key"], keys[0]);
}

/// A provider whose first answer to a creation gets lost on the way.
#[test]
fn a_lost_answer_loses_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let provider = thread::spawn(move || {
        let mut keys = Vec::new();
        let token = json!({"access_token": "t", "token_type": "Bearer", "expires_in": 300});
        while keys.len() < 2 {
            let (mut connection, _) = listener.accept().unwrap();
            let (mut key, mut length) = (None, 0);
            let mut reader = BufReader::new(&mut connection);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                match line.trim().split_once(": ") {
                    Some(("idempotency-key", value)) => key = Some(value.to_owned()),
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    None if line.trim().is_empty() => break,
                    _ => {}
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let answer = if let Some(key) = key {
                keys.push(key);
                made(client("m3"))
            } else {
                token.clone()
            };
            if keys.len() == 1 {
                continue; // the connection closes without an answer
            }
            let text = answer.to_string();
            write!(
                connection,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
            .unwrap();
        }
        keys
    });
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-provider"));
    command
        .current_dir(folder.path())
        .args(["client", "create", "--print-secret", "--url", &url])
        .env("AUTH_PROVIDER_CLIENT_ID", "robot")
        .env("AUTH_PROVIDER_CLIENT_SECRET", "s");
    assert!(ran(command).done().contains(SECRET));
    let keys = provider.join().unwrap();
    assert_eq!(keys[0], keys[1]);
}

#[actix_web::test]
async fn a_rotation_finds_the_credential_that_it_is_about() {
    let provider = Provider::start().await;
    let listed = |rows: Value| json!({"credentials": rows});
    let ended = credential("ended", &json!({"state": "expired", "expires_at": 5}));
    let one = listed(json!([credential("one", &json!({})), ended]));
    provider
        .on("GET", "/clients/m3/credentials", 200, one)
        .await;
    let new = made(credential("new", &json!({})));
    let rotate = "/clients/m3/credentials/one/rotate";
    provider.on("POST", rotate, 201, new).await;
    let told = provider
        .run(&["credential", "rotate", "m3", "--grace=7d", "--print-secret"])
        .done();
    assert!(
        told.contains("The old one, one, works for another 7d."),
        "{told}"
    );
    assert!(told.contains(SECRET), "{told}");
    let change = provider.changes().await.pop().unwrap();
    assert_eq!(body(&change), json!({"grace": 604_800}));

    let two = listed(json!([
        credential(
            "old",
            &json!({"safe_to_remove": true, "safe_to_remove_reason": "unused\u{7} for 3 h"})
        ),
        credential("new", &json!({"replaces": "old"})),
    ]));
    provider
        .on("GET", "/clients/m4/credentials", 200, two)
        .await;
    let finish = "/clients/m4/credentials/old/rotation/finish";
    let new = credential("new", &json!({}));
    provider.on("POST", finish, 200, new).await;
    let cancel = "/clients/m4/credentials/old/rotation";
    let gone = ResponseTemplate::new(204);
    provider.answer("DELETE", cancel, gone).await;
    let ran = provider.run(&["credential", "rotate", "m4", "--print-secret"]);
    ran.failed(
        2,
        "m4 has more than one living credential: name one, old or new",
    );
    for arguments in [&["m4"][..], &["m4", "old"], &["m4", "new"]] {
        let arguments = [&["credential", "finish", "--yes"], arguments].concat();
        let told = provider.run(&arguments).done();
        assert!(
            told.starts_with("Ended the rotation to credential new\n"),
            "{told}"
        );
    }
    let told = provider
        .run(&["credential", "cancel", "m4", "--yes"])
        .done();
    assert_eq!(told, "Took the rotation of old back.\n");
    let ran = provider.run(&["credential", "finish", "m3", "--yes"]);
    ran.failed(1, "m3 has no rotation under way");

    let list = provider.run(&["credential", "list", "m4"]).done();
    let old = list.lines().nth(1).unwrap();
    assert!(old.contains("yes: unused  for 3 h"), "{list}");
    assert!(
        list.contains("no: no other credential has been used"),
        "{list}"
    );
}
