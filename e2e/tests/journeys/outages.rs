//! The provider is away: who waits, who goes on, and what is the same when it is back.

use std::fs;

use assistant_cli::failure::Kind;
use m2m::{Clock, FetchError};
use serde_json::Value;

use crate::support::{CALENDAR, Provider, calendar, header, notes, refusal, status, until_ready};

const READ: &[&str] = &["calendar.read"];

#[tokio::test]
async fn a_service_that_starts_first_waits_for_the_provider_and_then_works_by_itself() {
    let mut provider = Provider::start().await;
    let tokens = provider.tokens("assistant");
    let token = tokens.token(READ, CALENDAR).await.unwrap();
    provider.down().await;

    let calendar = calendar(&provider.issuer, &Clock::System);
    let http = provider.http.clone();
    let ready = || http.get(format!("{calendar}/ready"));
    let list = || {
        http.get(format!("{calendar}/event"))
            .bearer_auth(token.expose())
    };

    assert_eq!(status(http.get(format!("{calendar}/health"))).await, 200);
    let waiting = refusal(ready()).await;
    assert_eq!(waiting.status, 503);
    let reason = waiting.body["checks"]["issuer keys"].as_str().unwrap();
    assert!(reason.contains(&provider.issuer), "{reason}");
    let response = list().send().await.unwrap();
    assert_eq!(header(&response, "retry-after"), "5");
    assert_eq!(response.status(), 503);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["error"], "temporarily_unavailable");

    provider.up().await;
    until_ready(&http, &calendar).await;
    assert_eq!(status(list()).await, 200);
}

#[tokio::test]
async fn while_the_provider_is_away_tokens_in_hand_work_and_new_ones_name_who_is_missing() {
    let mut provider = Provider::start().await;
    let calendar = calendar(&provider.issuer, &Clock::System);
    let events = format!("{calendar}/event");
    let tokens = provider.tokens("assistant");
    let assistant = provider.assistant(&calendar, &notes(&provider.issuer));
    let http = provider.http.clone();
    until_ready(&http, &calendar).await;
    let in_hand = tokens.token(READ, CALENDAR).await.unwrap();

    provider.down().await;
    // The calendar never saw this token before.
    let list = http.get(&events).bearer_auth(in_hand.expose());
    assert_eq!(status(list).await, 200);
    let sent = tokens.send(http.get(&events), READ, CALENDAR).await;
    assert_eq!(sent.unwrap().status(), 200);
    assert_eq!(status(http.get(format!("{calendar}/ready"))).await, 200);

    let write = &["calendar.write"];
    match tokens.token(write, CALENDAR).await.unwrap_err() {
        FetchError::Unreachable { url, .. } => {
            assert!(url.starts_with(&provider.url("/")), "{url}");
        }
        other => panic!("{other:?}"),
    }
    let failure = assistant.events().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Unreachable);
    assert!(failure.message.contains("auth-provider"), "{failure}");
    assert!(failure.message.contains(&provider.url("")), "{failure}");

    provider.up().await;
    tokens.token(write, CALENDAR).await.unwrap();
    assistant.events().await.unwrap();
}

#[tokio::test]
async fn a_restart_on_the_same_data_changes_nothing_for_anybody() {
    let mut provider = Provider::start().await;
    let tokens = provider.tokens("assistant");
    let before = tokens.token(READ, CALENDAR).await.unwrap();
    let clients = fs::read(provider.clients_file()).unwrap();
    let http = provider.http.clone();
    let key_set = provider.url("/auth/jwt/jwks.json");
    let key_set = async |known: &str| {
        let request = http.get(&key_set);
        let response = request.header("if-none-match", known).send().await.unwrap();
        let etag = header(&response, "etag").to_owned();
        (
            response.status().as_u16(),
            etag,
            response.text().await.unwrap(),
        )
    };
    let keys = key_set("\"another\"").await;
    let (200, etag, _) = &keys else {
        panic!("{keys:?}");
    };

    provider.down().await;
    provider.up().await;
    assert_eq!(fs::read(provider.clients_file()).unwrap(), clients);
    assert_eq!(key_set("\"another\"").await, keys);
    assert_eq!(key_set(etag).await, (304, etag.clone(), String::new()));

    // This calendar never saw the provider of before.
    let calendar = calendar(&provider.issuer, &Clock::System);
    let list = || http.get(format!("{calendar}/event"));
    assert_eq!(status(list().bearer_auth(before.expose())).await, 200);
    tokens.forget(&before);
    let sent = tokens.send(list(), READ, CALENDAR).await.unwrap();
    assert_eq!(sent.status(), 200);
    assert_ne!(
        tokens.peek(READ, CALENDAR).unwrap().expose(),
        before.expose()
    );
}
