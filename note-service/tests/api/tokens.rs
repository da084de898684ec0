//! Callers whose token is not good enough, or cannot be checked.

use std::time::Duration;

use m2m::{
    ManualClock,
    testing::{TestIssuer, refusals},
};
use serde_json::Value;

use super::{NOW, Notes, header, refused};

/// Each operation, with a request that would be refused for itself as well: who has no token learns
/// nothing about that, not even whether a note exists.
const OPERATIONS: [(&str, &str, &str, &str); 4] = [
    ("GET", "/note?limit=0", "note.read", "note.write"),
    ("POST", "/note", "note.write", "note.read"),
    ("PUT", "/note/999", "note.write", "note.read"),
    ("DELETE", "/note/1", "note.write", "note.read"),
];

#[tokio::test]
async fn a_caller_without_a_good_token_is_turned_away_before_anything_is_read() {
    let notes = Notes::start().await;
    for (method, path, scope, _) in OPERATIONS {
        for refusal in refusals(&notes.issuer, "note-service", scope) {
            let request = notes.anonymous(method, path).body("{");
            refusal.check("note-service", request).await;
        }
    }
}

#[tokio::test]
async fn a_token_without_the_scope_is_told_which_one_is_missing() {
    let notes = Notes::start().await;
    for (method, path, needed, other) in OPERATIONS {
        for scope in [
            other,
            "",
            "calendar.read calendar.write",
            "note",
            "note.*",
            &needed.to_uppercase(),
            &format!("{needed}.all"),
            &format!("x{needed}"),
        ] {
            let request = notes.with_scope(scope, method, path).body("{");
            let response = request.try_clone().unwrap().send().await.unwrap();
            let challenge = format!(
                "Bearer realm=\"note-service\", error=\"insufficient_scope\", \
                 error_description=\"the token does not have the scope {needed}: ask for one with \
                 scope={needed}, which the client's grant must allow\", \
                 scope=\"{needed}\""
            );
            assert_eq!(
                header(&response, "www-authenticate"),
                challenge,
                "{scope:?}"
            );
            let (status, problem) = refused(request).await;
            assert_eq!(status, 403, "{method} {path} with {scope:?}: {problem}");
            assert_eq!(problem["error"], "insufficient_scope", "{problem}");
        }
    }
}

#[tokio::test]
async fn an_issuer_that_comes_later_is_waited_for() {
    let clock = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(clock.clock()).await;
    issuer.set_down(true);
    let notes = Notes::trusting(issuer, clock);

    let ready = notes.anonymous("GET", "/ready").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let ready: Value = ready.json().await.unwrap();
    assert!(
        ready["checks"]["issuer keys"]
            .as_str()
            .is_some_and(|why| why != "ok"),
        "{ready}"
    );
    for (method, path, ..) in OPERATIONS {
        let request = notes.request(method, path).body("{");
        let answer = request.try_clone().unwrap().send().await.unwrap();
        assert!(!header(&answer, "retry-after").is_empty());
        let (status, problem) = refused(request).await;
        assert_eq!(status, 503, "{method} {path}: {problem}");
    }
    let (status, _) = refused(notes.anonymous("GET", "/note")).await;
    assert_eq!(status, 401, "who has no token need not wait to hear it");

    notes.issuer.set_down(false);
    let mut status = 503;
    // More than one try, for a fetch that began in the outage may end after it.
    for _ in 0..10 {
        notes.clock.advance(Duration::from_secs(2));
        status = notes
            .request("GET", "/note")
            .send()
            .await
            .unwrap()
            .status()
            .as_u16();
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200);
    assert_eq!(
        notes
            .anonymous("GET", "/ready")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}
