//! What a monitoring system sees, and what the log says of credentials that end.

use std::time::Duration;

use auth_provider::{
    client::{ClientId, Secret},
    expiry,
    registry::change::{Change, NewCredential},
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    administrator::Administrator,
    support::{NOW, POLICY, Server},
};

const DAY: u64 = 24 * 3600;

async fn metrics(server: &Server) -> String {
    let answer = server.get("/metrics").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// The value of a series; 0 when it is not there yet.
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

fn count(text: &str, action: &str, outcome: &str, reason: &str) -> f64 {
    let labels = format!("action=\"{action}\",outcome=\"{outcome}\",reason=\"{reason}\"");
    value(text, &format!("auth_provider_events_total{{{labels}}}"))
}

#[actix_web::test]
async fn metrics_are_open_metrics_for_get_and_head_only() {
    let server = Server::start().await;
    let answer = server.get("/metrics").send().await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for family in ["events", "audit_waiting_events", "revocations"] {
        let line = format!("# TYPE auth_provider_{family} ");
        assert_eq!(text.matches(&line).count(), 1, "{family}\n{text}");
    }

    let url = format!("{}/metrics", server.url);
    let head = server.http.head(&url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.text().await.unwrap(), "");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = server.http.request(method.clone(), &url).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()["allow"], "GET, HEAD", "{method}");
    }
}

#[actix_web::test]
async fn what_happens_is_counted_by_kind_and_reason() {
    let limits = "rate_limit_failures = '1/h'";
    let server = Server::start_with(POLICY, limits).await;
    let admin = Administrator::of(&server).await;
    let root = server.token("root", "auth-provider").await;
    let before = metrics(&server).await;
    for _ in 0..3 {
        server.token("bot", "notes").await;
    }
    server.ask("bot", &[("resource", "nowhere")]).await;
    server
        .ask("bot", &[("resource", "notes"), ("scope", "other")])
        .await;
    let wrong = || {
        let request = server
            .post("/oauth/token")
            .basic_auth("bot", Some("m2m_wrong"));
        request.form(&[("grant_type", "client_credentials")]).send()
    };
    assert_eq!(wrong().await.unwrap().status(), 401);
    assert_eq!(wrong().await.unwrap().status(), 429);
    let client = admin.post("/clients", &json!({"client_id": "new"})).await;
    let inactive = json!({"status": "inactive"});
    admin
        .call(Method::PATCH, "/clients/new", Some(&inactive))
        .await;
    let credential = client["credential_id"].as_str().unwrap();
    admin
        .post("/revocations", &json!({"credential": credential}))
        .await;
    let token = server.token("bot", "calendar").await;
    server.revoke("bot", &token).await;
    let keys = server.get("/admin/v1/keys").bearer_auth(&root);
    assert_eq!(keys.send().await.unwrap().status(), 403);
    let kid = admin.get("/keys").await["keys"][0]["kid"].take();
    let path = format!("/keys/{}/compromised", kid.as_str().unwrap());
    admin.call(Method::POST, &path, None).await;

    let after = metrics(&server).await;
    for (action, outcome, reason, more) in [
        ("token.issued", "success", "", 4.0),
        ("token.refused", "refused", "no_such_resource", 1.0),
        ("token.refused", "refused", "scope_not_defined", 1.0),
        ("authentication.failed", "refused", "wrong_secret", 1.0),
        ("client.created", "success", "", 1.0),
        ("credential.created", "success", "", 1.0),
        ("client.changed", "success", "", 1.0),
        ("tokens.revoked", "success", "", 2.0),
        ("token.revoked", "success", "", 1.0),
        ("admin.refused", "refused", "insufficient_scope", 1.0),
        ("key.compromised", "success", "", 1.0),
    ] {
        let found =
            count(&after, action, outcome, reason) - count(&before, action, outcome, reason);
        assert!(
            (found - more).abs() < 0.1,
            "{action} {reason}: {found}\n{after}"
        );
    }
    for (series, least) in [
        (
            "auth_provider_limited_requests_total{limit=\"failures\"}",
            1.0,
        ),
        (
            "auth_provider_limited_requests_total{limit=\"client\"}",
            0.0,
        ),
        ("auth_provider_revocations", 4.0),
        ("auth_provider_audit_waiting_events", 0.0),
    ] {
        assert!(value(&after, series) >= least, "{series}\n{after}");
        assert!(after.contains(series), "{series}\n{after}");
    }
    server.auth.journal.settle().await.unwrap();
    let settled = metrics(&server).await;
    assert!(value(&settled, "auth_provider_audit_written_events_total") >= 8.0);
    assert!(value(&settled, "auth_provider_audit_last_write_seconds") > 0.0);
    assert!(value(&settled, "auth_provider_audit_waiting_events").abs() < 0.1);
    for name in ["bot", "notes", "new", credential] {
        assert!(!settled.contains(name), "{name}\n{settled}");
    }
}

#[actix_web::test]
async fn requests_are_counted_by_their_routes_template() {
    let server = Server::start().await;
    server.token("bot", "notes").await;
    server.ask("bot", &[("resource", "hunter2")]).await;
    for path in ["/hunter2", "/oauth/hunter2", "/admin/v1/clients/hunter2"] {
        let answer = server.get(path).query(&[("hunter2", "hunter2")]).send();
        assert!(answer.await.unwrap().status().is_client_error(), "{path}");
    }
    let text = metrics(&server).await;
    let requests = |method: &str, route: &str, status: u16| {
        let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
        let series = format!("http_server_request_duration_seconds_count{{{labels}}}");
        value(&text, &series)
    };
    for (method, route, status, expected) in [
        ("POST", "/oauth/token", 200, 1.0),
        ("POST", "/oauth/token", 400, 1.0),
        ("GET", "other", 404, 2.0),
        ("GET", "/admin/v1/clients/{client_id}", 401, 1.0),
    ] {
        let found = requests(method, route, status);
        assert!(
            (found - expected).abs() < 0.1,
            "{method} {route}: {found}\n{text}"
        );
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[actix_web::test]
async fn the_levels_of_keys_feed_memory_and_database_are_told() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    server.token("bot", "notes").await;
    for text in [token.as_str(), "no token"] {
        server.introspect("bot", text).await;
    }
    server.auth.journal.settle().await.unwrap();
    let text = metrics(&server).await;
    let interval = 90 * DAY;
    #[expect(clippy::cast_precision_loss, reason = "a time of this century")]
    let next = (NOW + interval) as f64;
    for (series, expected) in [
        ("introspections_total{outcome=\"active\"}", 1.0),
        ("introspections_total{outcome=\"inactive\"}", 1.0),
        ("client_lookups_total{from=\"memory\"}", 3.0),
        ("client_lookups_total{from=\"database\"}", 1.0),
        ("database_duration_seconds_count{operation=\"client\"}", 1.0),
        ("database_failures_total{operation=\"client\"}", 0.0),
        ("feed_followers", 0.0),
        ("signing_keys{alg=\"ES256\",state=\"active\"}", 1.0),
        ("signing_keys{alg=\"ES256\",state=\"announced\"}", 0.0),
        ("next_key_rotation_timestamp_seconds{alg=\"ES256\"}", next),
    ] {
        let series = format!("auth_provider_{series}");
        assert!(text.contains(&series), "{series}\n{text}");
        let found = value(&text, &series);
        assert!((found - expected).abs() < 0.1, "{series}: {found}\n{text}");
    }
    let audited = "auth_provider_database_duration_seconds_count{operation=\"audit\"}";
    assert!(value(&text, audited) >= 1.0, "{text}");
    // The only one may be busy just then.
    let connections = ["busy", "idle"]
        .map(|state| format!("auth_provider_database_connections{{state=\"{state}\"}}"))
        .map(|series| value(&text, &series));
    assert!(connections.iter().sum::<f64>() >= 1.0, "{text}");
    assert!(
        value(&text, "auth_provider_feed_lag_seconds") < 60.0,
        "{text}"
    );
}

#[actix_web::test]
async fn credentials_that_end_are_told_once_at_each_threshold() {
    let server = Server::start().await;
    let admin = Administrator::of(&server).await;
    let add = async |path: &str, end: u64| {
        let made = admin.post(path, &json!({"expires_at": end})).await;
        made["credential_id"].as_str().unwrap().to_owned()
    };
    let (bot, single) = ("/clients/bot/credentials", "/clients/single/credentials");
    let late = add(bot, NOW + 15 * DAY).await;
    let soon = add(bot, NOW + 5 * DAY).await;
    let ended = add(single, NOW - DAY + 1).await;
    add(single, NOW - DAY).await; // old news
    let look = async || -> Vec<(String, Option<u64>)> {
        let told = expiry::look(&server.auth).await.unwrap();
        assert_eq!(told.untold, 0);
        let warnings = told.warnings.into_iter();
        let pair = |w: expiry::Warning| (w.credential.as_str().to_owned(), w.days_left);
        warnings.map(pair).collect()
    };
    assert_eq!(look().await, [(soon.clone(), Some(5)), (ended, None)]);
    assert_eq!(look().await, []);
    let text = metrics(&server).await;
    for (series, expected) in [
        ("auth_provider_credentials{state=\"ending\"}", 1.0),
        ("auth_provider_credentials{state=\"ended\"}", 2.0),
        ("auth_provider_clients{status=\"active\"}", 10.0),
        ("auth_provider_clients{status=\"inactive\"}", 0.0),
    ] {
        assert!(
            (value(&text, series) - expected).abs() < 0.1,
            "{series}\n{text}"
        );
    }

    for (days, expected) in [
        (1, vec![(late.clone(), Some(14))]),
        (2, vec![]),
        (4, vec![(soon.clone(), Some(1))]),
        (5, vec![(soon.clone(), None)]),
        (6, vec![]),
        (8, vec![(late.clone(), Some(7))]),
        (15, vec![(late.clone(), None)]),
        (16, vec![]),
    ] {
        let passed = server.auth.clock.now() - NOW;
        server
            .clock
            .advance(Duration::from_secs(days * DAY - passed));
        assert_eq!(look().await, expected, "after {days} days");
    }
}

#[actix_web::test]
async fn a_new_end_is_told_anew_and_another_time_can_be_set() {
    let server = Server::start_with(POLICY, "credential_warning = '3d'").await;
    let admin = Administrator::of(&server).await;
    let path = "/clients/bot/credentials";
    let made = admin
        .post(path, &json!({"expires_at": NOW + 2 * DAY}))
        .await;
    let days = async || {
        let told = expiry::look(&server.auth).await.unwrap();
        let days = told.warnings.iter().map(|warning| warning.days_left);
        days.collect::<Vec<_>>()
    };
    assert_eq!(days().await, [Some(2)]);
    let path = format!("{path}/{}", made["credential_id"].as_str().unwrap());
    for (end, told) in [(NOW + 4 * DAY, vec![]), (NOW + 3 * DAY, vec![Some(3)])] {
        let change = json!({"expires_at": end});
        admin.call(Method::PATCH, &path, Some(&change)).await;
        assert_eq!(days().await, told);
    }
}

#[actix_web::test]
async fn a_thousand_are_told_at_once_and_the_next_ones_later() {
    let server = Server::start().await;
    let bot = ClientId::parse("bot").unwrap();
    let add = |number| {
        let mut credential = NewCredential::of(&bot, "", &Secret::generate(), NOW);
        credential.expires_at = Some(NOW + 100 + number);
        Change::AddCredential(credential)
    };
    let changes: Vec<Change> = (0..1003).map(add).collect();
    server.auth.store.commit(&changes, &[]).await.unwrap();
    for (told, untold) in [(1000, 3), (3, 0), (0, 0)] {
        let looked = expiry::look(&server.auth).await.unwrap();
        assert_eq!((looked.warnings.len(), looked.untold), (told, untold));
    }
}
