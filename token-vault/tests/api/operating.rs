//! What an operator relies on: whether it is ready, keys that change by themselves, answers that stay bounded, limits.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use token_vault::provider::Dialect;
use url::Url;

use crate::{
    support::fresh_postgres,
    world::{World, access, json},
};

#[actix_web::test]
async fn it_is_ready_while_its_database_is() {
    let world = World::start().await;
    let answer = world.http.get(world.url("/ready")).send().await.unwrap();
    assert_eq!(json(answer).await["checks"]["database"], "ok");
    let Some(database) = fresh_postgres().await else {
        return;
    };
    let world = World::start_as(Dialect::Generic, Some(database.clone()), 1).await;
    let ready = || async { world.http.get(world.url("/ready")).send().await.unwrap() };
    assert_eq!(json(ready().await).await["checks"]["database"], "ok");

    let name = Url::parse(&database).unwrap().path()[1..].to_owned();
    let server = std::env::var("TEST_POSTGRES_URL").unwrap();
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    connection.execute(drop).await.unwrap();
    let answer = ready().await;
    assert_eq!(answer.status(), 503);
    let answer = json(answer).await;
    assert_eq!(answer["status"], "not ready");
    assert_ne!(answer["checks"]["database"], "ok");
    assert!(!answer.to_string().contains(&name), "{answer}");
}

async fn key_ids(world: &World, replica: usize) -> Vec<String> {
    let url = format!("{}/.well-known/jwks.json", world.replicas[replica].url);
    let set = json(world.http.get(url).send().await.unwrap()).await;
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// The key that signed a JWT of this replica.
async fn signs(world: &World, replica: usize) -> String {
    let url = format!(
        "{}/hub?user=alice&connection=acme",
        world.replicas[replica].url
    );
    let request = world.http.get(url).header("accept", "application/jwt");
    let answer = request
        .bearer_auth(world.token("bot", "tokens.read"))
        .send()
        .await
        .unwrap();
    let jwt = answer.text().await.unwrap();
    let header = URL_SAFE_NO_PAD
        .decode(jwt.split('.').next().unwrap())
        .unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn the_vaults_own_key_changes_and_no_verifier_notices() {
    let Some(database) = fresh_postgres().await else {
        return;
    };
    let world = World::start_as(Dialect::Generic, Some(database), 2).await;
    let body = json!({"user": "alice", "connection": "acme", "access_token": "at.alice.0"});
    assert_eq!(world.post("bot", "/hub", &body).await.status(), 200);
    let keep = || async {
        for replica in &world.replicas {
            replica.own_keys.keep().await.unwrap();
        }
    };
    let [old] = &key_ids(&world, 0).await[..] else {
        panic!("there is one key");
    };
    assert_eq!(
        [signs(&world, 0).await, signs(&world, 1).await],
        [old.clone(), old.clone()]
    );

    // Nearly a month later the next one is announced, by whichever server is first, and signs nothing yet.
    world.hand.advance(Duration::from_hours(30 * 24 - 1));
    keep().await;
    let both = key_ids(&world, 0).await;
    assert_eq!((both.len(), &both), (2, &key_ids(&world, 1).await));
    assert_eq!(signs(&world, 1).await, *old);
    let new = both.iter().find(|kid| *kid != old).unwrap().clone();

    // Both change over at the same moment, without anybody waking up.
    world.hand.advance(Duration::from_hours(1));
    assert_eq!(
        [signs(&world, 0).await, signs(&world, 1).await],
        [new.clone(), new.clone()]
    );
    assert_eq!(key_ids(&world, 1).await, [new.clone(), old.clone()]);
    world.hand.advance(Duration::from_mins(15));
    assert_eq!(key_ids(&world, 1).await, [new]);
}

#[actix_web::test]
async fn a_user_with_very_many_connections_gets_them_page_by_page() {
    let world = World::start().await;
    for number in 0..103 {
        let body = json!({
            "user": "alice", "connection": format!("c{number:03}"), "access_token": format!("at-{number}"),
        });
        assert_eq!(world.post("bot", "/hub", &body).await.status(), 200);
    }
    let (mut found, mut after, mut sizes) = (Vec::new(), String::new(), Vec::new());
    loop {
        let page = json(
            world
                .get("bot", &format!("/hub/all?user=alice{after}"))
                .await,
        )
        .await;
        let connections = page["connections"].as_array().unwrap().clone();
        sizes.push(connections.len());
        found.extend(
            connections
                .iter()
                .map(|one| one["connection"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }
    assert_eq!(sizes, [100, 3]);
    assert!(found.is_sorted() && found.len() == 103);
    for query in ["limit=0", "limit=101", "after=x", "limit=1&limit=1"] {
        let answer = world
            .get("bot", &format!("/hub/all?user=alice&{query}"))
            .await;
        assert_eq!(answer.status(), 400, "{query}");
    }
}

#[actix_web::test]
async fn who_asks_too_much_is_told_when_to_come_back() {
    let mut world = World::start().await;
    let limited = world.stop_and_start(&["--rate-limit=3/min"]).await;
    world.add(limited);
    world.stored("alice", 3600).await;
    for _ in 0..2 {
        assert_eq!(access(world.fetched("alice").await).await, "at.alice.0");
    }
    for path in ["/hub?user=alice&connection=acme", "/audit", "/hub/status"] {
        let answer = world.get("bot", path).await;
        assert_eq!(answer.status(), 429, "{path}");
        let seconds: u64 = answer.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=20).contains(&seconds), "{seconds}");
    }
    assert_eq!(world.delete("bot", "/all?user=alice").await.status(), 429);
    let other = world.get("other", "/hub?user=alice&connection=acme").await;
    assert_eq!(
        other.status(),
        404,
        "another application has a limit of its own"
    );
}

/// They are looked at together, and nobody gets another's.
#[actix_web::test]
async fn of_many_who_ask_at_once_each_gets_its_own() {
    for database in [None, fresh_postgres().await] {
        let world = World::start_as(Dialect::Generic, database, 1).await;
        for number in (0..100).step_by(2) {
            let body = json!({
                "user": format!("user{number}"), "connection": "acme", "access_token": format!("at-{number}"),
            });
            assert_eq!(world.post("bot", "/hub", &body).await.status(), 200);
        }
        for _ in 0..3 {
            let asked = (0..300).map(|number| {
                let (world, number) = (&world, number % 100);
                async move {
                    let path = format!("/hub?user=user{number}&connection=acme");
                    (number, world.get("bot", &path).await)
                }
            });
            for (number, answer) in join_all(asked).await {
                if number % 2 == 0 {
                    assert_eq!(access(answer).await, format!("at-{number}"));
                } else {
                    assert_eq!(answer.status(), 404, "{number}");
                }
            }
        }
    }
}
