//! The lab on the command line: what it prints, and that it says so when an attack succeeds. What it
//! finds out about the real programs is in the journeys.

use assistant_cli::lab;
use serde_json::{Value, json};

use crate::{commands::run, servers::Servers};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_all_experiments_are_listed() {
    let servers = Servers::start().await;
    let list = run(&servers, &["lab"]);
    assert_eq!((list.code, list.stderr.as_str()), (0, ""));
    let json = run(&servers, &["lab", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    for (place, name) in lab::names().into_iter().enumerate() {
        assert!(
            list.stdout.contains(&format!("{name}  ")),
            "{}",
            list.stdout
        );
        assert_eq!(json[place]["name"], name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_accepts_everything_is_found_out() {
    let servers = Servers::start().await;
    servers.calendar.answer(Some((200, json!([]))));
    for name in [
        "wrong-audience",
        "missing-scope",
        "tampered-claim",
        "alg-none",
        "unknown-key",
    ] {
        let ended = run(&servers, &["lab", name]);
        assert_eq!(ended.code, 6, "{ended:?}");
        for says in [
            "✗ The calendar answered 200",
            "This is not what should have happened.",
            "That is answer a",
            "How it should be",
        ] {
            assert!(ended.stdout.contains(says), "{name}: {ended:?}");
        }
        assert!(
            ended.stdout.contains("attack succeeded"),
            "{name}: {ended:?}"
        );
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
        assert!(!ended.stdout.contains("eyJ0"), "a token is a secret");

        let ended = run(&servers, &["lab", name, "--json"]);
        assert_eq!(ended.code, 6);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(report["as_explained"], false, "{report}");
        let error: Value = serde_json::from_str(&ended.stderr).unwrap();
        assert_eq!(error["error"]["kind"], "surprise");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_compared_with_what_happened() {
    let servers = Servers::start().await;
    // The right answer of a service that checks the audience.
    let answer = json!({"error": "invalid_token", "detail": "the token is for another audience"});
    servers.calendar.answer(Some((401, answer)));
    for (letter, says) in [
        ("b", "You said b, and so it was."),
        ("c", "You said c; it was b."),
    ] {
        let ended = run(&servers, &["lab", "wrong-audience", "--predict", letter]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        assert!(ended.stdout.contains(says), "{ended:?}");
    }
    let ended = run(&servers, &["lab", "wrong-audience", "--predict", "x"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("one of a, b, c"), "{ended:?}");
    let ended = run(&servers, &["lab", "perpetuum-mobile"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("wrong-audience"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_that_cannot_be_made_says_what_is_missing() {
    let servers = Servers::start().await;
    // This clients.json knows the assistant alone.
    let ended = run(&servers, &["lab", "policy-change"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains("has no entry \"admin\""), "{ended:?}");

    servers.issuer.set_down(true);
    let ended = run(&servers, &["lab", "alg-none"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(
        ended.stderr.contains("does not answer as the issuer"),
        "{ended:?}"
    );

    let mut command =
        servers.assistant(&["lab", "alg-none", "--issuer", "http://127.0.0.1:1/auth"]);
    let ended = crate::commands::ended(&mut command);
    assert_eq!((ended.code, ended.stdout.as_str()), (4, ""), "{ended:?}");
    assert!(
        ended.stderr.contains("is auth-provider running?"),
        "{ended:?}"
    );
}
