//! Callers whose token is not good enough, or cannot be checked.

use std::time::Duration;

use m2m::{
    ManualClock,
    service::RevocationMode,
    testing::{TestIssuer, refusals},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Calendar, NOW, header, ok, refused};

/// Each operation, with a request that would be refused for itself as well: who has no token learns
/// nothing about that, not even whether an event exists.
const OPERATIONS: [(&str, &str, &str, &str); 4] = [
    ("GET", "/event?limit=0", "calendar.read", "calendar.write"),
    ("POST", "/event", "calendar.write", "calendar.read"),
    ("PUT", "/event/999", "calendar.write", "calendar.read"),
    ("DELETE", "/event/1", "calendar.write", "calendar.read"),
];

#[tokio::test]
async fn a_caller_without_a_good_token_is_turned_away_before_anything_is_read() {
    let calendar = Calendar::start().await;
    for (method, path, scope, _) in OPERATIONS {
        for refusal in refusals(&calendar.issuer, "calendar-service", scope) {
            let request = calendar.anonymous(method, path).body("{");
            refusal.check("calendar-service", request).await;
        }
    }
}

#[tokio::test]
async fn a_stranger_need_not_send_the_body_to_be_turned_away() {
    let calendar = Calendar::start().await;
    let address = calendar.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /event HTTP/1.1\r\nHost: calendar\r\nContent-Type: application/json\r\n\
                Content-Length: 60000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_token_without_the_scope_is_told_which_one_is_missing() {
    let calendar = Calendar::start().await;
    for (method, path, needed, other) in OPERATIONS {
        for scope in [
            other,
            "",
            "note.read note.write",
            "calendar",
            "calendar.*",
            &needed.to_uppercase(),
            &format!("{needed}.all"),
            &format!("x{needed}"),
        ] {
            let request = calendar.with_scope(scope, method, path).body("{");
            let response = request.try_clone().unwrap().send().await.unwrap();
            let challenge = format!(
                "Bearer realm=\"calendar-service\", error=\"insufficient_scope\", \
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
async fn a_token_is_good_to_the_end_of_its_leeway() {
    let calendar = Calendar::start().await;
    let token = calendar
        .issuer
        .token()
        .audience("calendar-service")
        .scope("calendar.read");
    let token = token.expires_in(60).mint();
    let get = || calendar.anonymous("GET", "/event").bearer_auth(&token);
    ok(get()).await;
    calendar.clock.advance(Duration::from_secs(69));
    ok(get()).await;
    calendar.clock.advance(Duration::from_secs(2));
    let (status, problem) = refused(get()).await;
    assert_eq!(
        (status, &problem["error"]),
        (401, &"invalid_token".into()),
        "{problem}"
    );
}

#[tokio::test]
async fn an_issuer_that_comes_later_is_waited_for() {
    let clock = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(clock.clock()).await;
    issuer.set_down(true);
    let calendar = Calendar::trusting(issuer, clock);

    let ready = calendar.anonymous("GET", "/ready").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let ready: Value = ready.json().await.unwrap();
    assert!(
        ready["checks"]["issuer keys"]
            .as_str()
            .is_some_and(|why| why != "ok"),
        "{ready}"
    );
    for (method, path, ..) in OPERATIONS {
        let request = calendar.request(method, path).body("{");
        let answer = request.try_clone().unwrap().send().await.unwrap();
        assert!(!header(&answer, "retry-after").is_empty());
        let (status, problem) = refused(request).await;
        assert_eq!(status, 503, "{method} {path}: {problem}");
    }
    let (status, _) = refused(calendar.anonymous("GET", "/event")).await;
    assert_eq!(status, 401, "who has no token need not wait to hear it");

    calendar.issuer.set_down(false);
    let mut status = 503;
    // More than one try, for a fetch that began in the outage may end after it.
    for _ in 0..10 {
        calendar.clock.advance(Duration::from_secs(2));
        status = calendar
            .request("GET", "/event")
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
        calendar
            .anonymous("GET", "/ready")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn keys_outlive_the_issuer() {
    let calendar = Calendar::start().await;
    ok(calendar.request("GET", "/event")).await;
    calendar.issuer.set_down(true);
    calendar.clock.advance(Duration::from_hours(1));
    ok(calendar.request("GET", "/event")).await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_in_either_way_of_noticing() {
    for mode in [RevocationMode::Feed, RevocationMode::Introspection] {
        let clock = ManualClock::at(NOW);
        let issuer = TestIssuer::start_at(clock.clock()).await;
        issuer.offer_feed();
        issuer.offer_introspection();
        let calendar = Calendar::noticing(mode, issuer, clock);
        let get = || calendar.request("GET", "/event");
        let (old, new) = (get(), get());
        ok(old.try_clone().unwrap()).await;
        ok(new.try_clone().unwrap()).await;
        // Whatever was obtained until now; what will be obtained later is good.
        calendar.issuer.revoke_client("test-client");
        calendar.clock.advance(Duration::from_secs(10));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while old.try_clone().unwrap().send().await.unwrap().status() == 200 {
            assert!(tokio::time::Instant::now() < deadline, "{mode:?}");
        }
        for request in [old, new] {
            let (status, problem) = refused(request).await;
            assert_eq!(status, 401, "{mode:?}");
            assert_eq!(problem["error"], "invalid_token", "{mode:?}");
        }
        ok(get()).await;
        let ready: Value = ok(calendar.anonymous("GET", "/ready")).await;
        let name = match mode {
            RevocationMode::Feed => "revocation feed",
            _ => "introspection",
        };
        assert_eq!(ready["checks"][name], "ok", "{ready}");
    }
}
