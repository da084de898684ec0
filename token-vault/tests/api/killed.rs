//! The program, killed at random points of storing and refreshing, dozens of times, with a provider that kills a family when
//! a refresh token comes twice.

use std::{collections::BTreeMap, future::pending, time::Duration};

use futures_util::future::join_all;
use m2m::Clock;
use serde_json::{Value, json};
use token_vault::provider::Dialect;

use crate::{
    emulator::Fault,
    openbao::fresh_openbao,
    program::Program,
    support::{fresh_postgres, random, token},
    world::{ALL, World},
};

/// How many users have tokens stored, and how many have theirs refreshed, in each round.
const USERS: usize = 6;

/// What the killer allows itself, in microseconds.
const LONGEST_LIFE: u64 = 60_000;

fn random_below(limit: u64) -> u64 {
    random() % limit
}

/// One store; whether it was acknowledged.
async fn store(world: &World, name: &str, bearer: &str) -> bool {
    let (access, refresh) = world.provider.consent(name);
    let body = json!({
        "user": name, "connection": "acme", "access_token": access, "refresh_token": refresh, "expires_in": 0,
    });
    let request = world
        .http
        .post(world.url("/hub"))
        .bearer_auth(bearer)
        .json(&body);
    matches!(request.send().await, Ok(answer) if answer.status() == 200)
}

async fn read(world: &World, name: &str, bearer: &str) -> Option<(u16, Value)> {
    let request = world
        .http
        .get(world.url(&format!("/hub?user={name}&connection=acme")))
        .bearer_auth(bearer);
    let answer = request.send().await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.ok()?))
}

/// Kills the program in so many rounds, and then looks what is left.
async fn kill_many_times(mut world: World, rounds: usize) {
    // So that a connection whose refresh was killed is free again after less than a second.
    world.provider_timeout = 250;
    let bearer = world.token("bot", ALL);
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..rounds {
        let mut program = Program::start(&mut world, &[], "info");
        let names = |kind: &str| -> Vec<String> {
            (0..USERS)
                .map(|user| format!("{kind}{round}-{user}"))
                .collect()
        };
        // These are at their end, so that the first read refreshes them.
        let (old, new) = (names("refreshed"), names("stored"));
        for name in &old {
            assert!(store(&world, name, &bearer).await, "nothing is killed yet");
        }
        acknowledged.extend(old.iter().cloned());
        let delays =
            (0..USERS).map(|_| Fault::Delay(Duration::from_micros(random_below(LONGEST_LIFE))));
        world.provider.fault(delays);
        let life = Duration::from_micros(random_below(LONGEST_LIFE));
        // Every other life begins when the first refresh has reached the provider, however slow the machine is.
        let asked = world.provider.requests() + 1;
        let work = async {
            let reads = join_all(old.iter().map(|name| read(&world, name, &bearer)));
            let stores = join_all(new.iter().map(|name| store(&world, name, &bearer)));
            futures_util::future::join(reads, stores).await.1
        };
        // Killed by another thread's hand, so that the requests go on until it happens.
        let killer = async {
            if round % 2 == 0 {
                world.provider.asked(asked).await;
            }
            drop(tokio::time::timeout(life, pending::<()>()).await);
            program.kill();
        };
        let (stored, ()) = futures_util::future::join(work, killer).await;
        acknowledged.extend(
            new.into_iter()
                .zip(stored)
                .filter_map(|(name, stored)| stored.then_some(name)),
        );
        world.provider.forget_faults();
    }

    let program = Program::start(&mut world, &[], "info");
    judge(&world, &acknowledged, &bearer, rounds).await;
    drop(program);
}

/// What must be true after all kills.
async fn judge(world: &World, acknowledged: &[String], bearer: &str, rounds: usize) {
    let mut found = BTreeMap::<String, usize>::new();
    for name in acknowledged {
        let (status, body) = loop {
            let (status, body) = read(world, name, bearer).await.unwrap();
            if status != 503 {
                break (status, body); // else a killed lease goes on for a moment
            }
        };
        let health = match status {
            200 => {
                let access = body["access_token"].as_str().unwrap();
                assert!(
                    world.provider.is_good(access),
                    "{name} is broken without a word"
                );
                "valid".to_owned()
            }
            409 => {
                assert!(
                    !world.provider.is_alive(name),
                    "{name} says that it is broken, and is not"
                );
                body["detail"].as_str().unwrap().to_owned()
            }
            _ => panic!("an acknowledged store is lost: {name}: {status} {body}"),
        };
        *found.entry(health).or_default() += 1;
    }
    // On a slow machine an answer can also come too late for a vault that was not killed.
    let mut retried = world.events("refresh.retried_after_crash").await;
    let after_crash = retried.len();
    retried.extend(world.events("refresh.retried_after_lost_answer").await);
    let told = |token: &str| {
        retried
            .iter()
            .filter(|event| event["reason"] == token)
            .count()
    };
    let twice = world.provider.spent_twice();
    for (refresh, times) in &twice {
        let told = told(&token(refresh).fingerprint());
        assert!(
            told + 1 >= *times,
            "{refresh} was spent {times} times, told of {told}"
        );
    }
    let broken = world.events("connection.needs_reconnect").await;
    let true_reasons = ["lost_in_crash", "lost_answer"].map(Value::from);
    assert!(
        broken
            .iter()
            .all(|event| true_reasons.contains(&event["reason"])),
        "{broken:?}"
    );
    eprintln!(
        "{rounds} kills, {} acknowledged stores: {found:?}; {} refreshes retried after a crash, {} tokens spent twice, all told",
        acknowledged.len(),
        after_crash,
        twice.len()
    );
    assert!(
        after_crash > 0,
        "none was killed in the middle of a refresh: the test tests nothing"
    );
}

#[actix_web::test]
async fn fifty_kills_lose_nothing_in_silence() {
    let world = World::without_vault(Dialect::Generic, None, Clock::System).await;
    kill_many_times(world, 50).await;
}

#[actix_web::test]
async fn nor_with_postgresql() {
    let Some(database) = fresh_postgres().await else {
        return;
    };
    let world = World::without_vault(Dialect::Generic, Some(database), Clock::System).await;
    kill_many_times(world, 15).await;
}

#[actix_web::test]
async fn nor_with_a_vault_server() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let world = World::without_vault_on(Dialect::Generic, openbao, Clock::System).await;
    kill_many_times(world, 15).await;
}
