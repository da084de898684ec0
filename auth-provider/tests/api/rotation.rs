//! Keys that change while everybody goes on: nobody may notice.

use std::{collections::BTreeSet, time::Duration};

use auth_provider::own_token;
use futures_util::future::join_all;
use m2m::{Verifier, verify::Algorithm};
use reqwest::StatusCode;

use crate::support::{NOW, Server, config, folder, json};

/// Every algorithm has a resource; tokens live for half a minute.
const POLICY: &str = "
    [resources.es]
    token_lifetime = '30s'
    [resources.rs]
    token_lifetime = '30s'
    signing_alg = 'RS256'
    [resources.ps]
    token_lifetime = '30s'
    signing_alg = 'PS256'
    [resources.ed]
    token_lifetime = '30s'
    signing_alg = 'EdDSA'
    [clients.bot]
    [[grants]]
    client = 'bot'
    resource = 'es'
    [[grants]]
    client = 'bot'
    resource = 'rs'
    [[grants]]
    client = 'bot'
    resource = 'ps'
    [[grants]]
    client = 'bot'
    resource = 'ed'
    ";

/// A key signs for 20 s, and is announced longer than a verifier keeps a key set: several keys wait in line.
const FAST: &str = "
    fast_key_rotation = true
    key_rotation_interval = '20s'
    key_announce_time = '2m 30s'
    key_retire_time = '40s'
    ";

fn verifier(server: &Server, audience: &str) -> Verifier {
    Verifier::builder(&server.issuer)
        .audience(audience)
        .leeway(Duration::ZERO)
        .clock(server.clock.clock())
        .build()
        .unwrap()
}

fn kid_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn key_set(server: &Server) -> (String, String, Vec<String>) {
    let answer = server.get("/jwt/jwks.json").send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let (etag, cache) = (header("etag"), header("cache-control"));
    let set = json(answer).await;
    let keys = set["keys"].as_array().unwrap().iter();
    let kids = keys
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect();
    (etag, cache, kids)
}

#[actix_web::test]
async fn every_resource_gets_tokens_of_its_algorithm_that_verify() {
    let server = Server::start_with(POLICY, "").await;
    for (resource, algorithm) in [
        ("es", Algorithm::ES256),
        ("rs", Algorithm::RS256),
        ("ps", Algorithm::PS256),
        ("ed", Algorithm::EdDSA),
    ] {
        let token = server.token("bot", resource).await;
        let only = Verifier::builder(&server.issuer)
            .audience(resource)
            .algorithms(&[algorithm])
            .clock(server.clock.clock());
        let verified = only.build().unwrap().verify(&token).await.unwrap();
        assert_eq!(verified.audience(), resource);
        let own = own_token::read(&server.auth, &token)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (own.aud.as_str(), own.client_id.as_str()),
            (resource, "bot")
        );
        server.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(key_set(&server).await.2.len(), 4);
}

/// Tokens are fetched and verified at each step of a clock that passes many rotations. Every token is verified
/// again until it ends, by verifiers that were there from the start and by one that came later.
#[actix_web::test]
async fn nobody_notices_a_rotation() {
    let server = Server::start_with(POLICY, FAST).await;
    let resources = ["es", "rs", "ed"];
    let early: Vec<_> = resources.map(|resource| verifier(&server, resource)).into();
    let mut late: Vec<Verifier> = vec![];
    let mut alive: Vec<(usize, String, u64)> = vec![];
    let mut seen = BTreeSet::new();
    for step in 0..150 {
        if step == 75 {
            late = resources.map(|resource| verifier(&server, resource)).into();
        }
        for (index, resource) in resources.iter().enumerate() {
            let token = server.token("bot", resource).await;
            seen.insert(kid_of(&token));
            alive.push((index, token, server.clock.clock().now() + 30));
        }
        let now = server.clock.clock().now();
        alive.retain(|(.., end)| now < *end);
        let all = alive.iter().flat_map(|(index, token, _)| {
            let verifiers = early.get(*index).into_iter().chain(late.get(*index));
            verifiers.map(move |verifier| verifier.verify(token))
        });
        for verified in join_all(all).await {
            verified
                .unwrap_or_else(|error| panic!("step {step}: a good token was refused: {error}"));
        }
        server.advance(Duration::from_secs(3)).await;
    }
    assert!(seen.len() > 3 * 15, "{} keys signed", seen.len());
    assert!(key_set(&server).await.2.len() < 4 * 15, "old keys are gone");
}

#[actix_web::test]
async fn the_key_set_says_how_long_it_holds_and_changes_its_tag_with_the_keys() {
    let more = "key_rotation_interval = '2h'\nkey_announce_time = '10m'";
    let server = Server::start_with(POLICY, more).await;
    let (first, cache, kids) = key_set(&server).await;
    assert_eq!((cache.as_str(), kids.len()), ("public, max-age=300", 4));
    server.advance(Duration::from_secs(6599)).await;
    assert_eq!(key_set(&server).await.0, first);
    server.advance(Duration::from_secs(1)).await;
    let (second, _, kids) = key_set(&server).await;
    assert_ne!(second, first, "the next keys are announced");
    assert_eq!(kids.len(), 8);
    let before = kid_of(&server.token("bot", "es").await);
    server.advance(Duration::from_mins(10)).await;
    assert_ne!(kid_of(&server.token("bot", "es").await), before);
    assert_eq!(
        key_set(&server).await.0,
        second,
        "who signs does not show in the set"
    );

    let server = Server::start_with(POLICY, FAST).await;
    assert_eq!(
        key_set(&server).await.1,
        "public, max-age=75",
        "it follows the announce time"
    );
}

#[actix_web::test]
async fn a_token_that_could_outlive_its_key_stops_the_start() {
    const LONG: &str = "[resources.long]\ntoken_lifetime = '12h'";
    let folder = folder();
    let write = |policy: &str| std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let clock = m2m::ManualClock::at(NOW);
    let start = |more: &str| {
        let config = config(folder.path(), more);
        let clock = clock.clock();
        async move { auth_provider::startup::start(&config, clock).await }
    };
    write(LONG);
    let error = format!(
        "{:#}",
        start("key_retire_time = '12h'").await.err().unwrap()
    );
    assert!(
        error.starts_with("resource `long`: key_retire_time: a token can live for 12h"),
        "{error}"
    );
    assert!(
        !folder.path().join("data").exists(),
        "looking makes nothing"
    );
    drop(start("key_retire_time = '12h 10m'").await.unwrap());

    // The policy forgot the resource, the database did not.
    write("[resources.short]");
    let error = format!("{:#}", start("key_retire_time = '2h'").await.err().unwrap());
    assert!(
        error.contains("a token can live for 12h and would outlive its key"),
        "{error}"
    );
}

/// A key that was made under a short promise signs no token that needs a longer one.
#[actix_web::test]
async fn a_token_is_no_longer_than_its_key_allows() {
    let server = Server::start_with(
        "[resources.es]\n[clients.bot]\n[[grants]]\nclient='bot'\nresource='es'",
        "",
    )
    .await;
    let answer = json(server.ask("bot", &[("resource", "es")]).await).await;
    assert_eq!(answer["expires_in"], 3600);
    let admin = json(server.ask("admin", &[]).await).await;
    assert_eq!(admin["expires_in"], 300);

    let fast = Server::start_with(POLICY, FAST).await;
    let admin = json(fast.ask("admin", &[]).await).await;
    assert_eq!(
        admin["expires_in"], 39,
        "the built-in resource fits itself in"
    );
}

#[actix_web::test]
async fn two_servers_on_one_database_agree_on_one_line_of_keys() {
    let Some(url) = crate::store_contract::fresh_postgres_url().await else {
        return;
    };
    let database = format!(
        "{FAST}\ndatabase_url = '{url}'\nmaster_key = '{}='",
        "A".repeat(43)
    );
    let (one, two) = tokio::join!(
        Server::start_with(POLICY, &database),
        Server::start_with(POLICY, &database)
    );
    for _ in 0..30 {
        let moved = Duration::from_secs(7);
        tokio::join!(one.advance(moved), two.advance(moved));
        // Each hears of what the other did.
        one.auth.keys.tend().await.unwrap();
        two.auth.keys.tend().await.unwrap();
        assert_eq!(
            one.auth.keys.ring().records(),
            two.auth.keys.ring().records()
        );
        assert_eq!(key_set(&one).await.2, key_set(&two).await.2);
    }
    let answer = one.get("/ready").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}
