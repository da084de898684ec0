//! Several servers on one database: what is done by one counts on all of them within a second, and nothing is missed.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use auth_provider::leases::Job;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::time::sleep;

use crate::{
    administrator::Administrator,
    process,
    store_contract::fresh_postgres_url,
    support::{self, Server, config, folder},
};

/// What was promised.
const WITHIN: Duration = Duration::from_secs(1);

/// Time for an answer to arrive on a machine with other things to do.
const LEEWAY: Duration = Duration::from_secs(2);

async fn replicas(count: usize) -> Option<(String, Vec<Server>)> {
    let url = fresh_postgres_url().await?;
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(Server::start_replica(&url, "").await);
    }
    Some((url, servers))
}

/// Waits until it holds, and says how long that took.
async fn soon(what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < WITHIN + LEEWAY, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

async fn gets(server: &Server, client: &str, secret: &str, resource: &str) -> StatusCode {
    let form = [("grant_type", "client_credentials"), ("resource", resource)];
    let request = server.post("/oauth/token").basic_auth(client, Some(secret));
    request.form(&form).send().await.unwrap().status()
}

#[actix_web::test]
async fn servers_that_start_at_once_on_an_empty_database_all_come_up() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let start = || Server::start_replica(&url, "");
    let (a, b, c, d, e) = tokio::join!(start(), start(), start(), start(), start());
    let first = a.auth.keys.ring().records().to_vec();
    for server in [a, b, c, d, e] {
        assert_eq!(server.auth.keys.ring().records(), first);
        let secret = server.secret("bot");
        assert_eq!(gets(&server, "bot", &secret, "notes").await, 200);
        assert_eq!(server.get("/ready").send().await.unwrap().status(), 200);
    }
}

#[actix_web::test]
async fn a_change_on_one_server_counts_on_the_others() {
    let Some((_, servers)) = replicas(3).await else {
        return;
    };
    let admin = Administrator::of(&servers[0]).await;
    let secret = servers[0].secret("bot");
    for server in &servers {
        assert_eq!(gets(server, "bot", &secret, "notes").await, 200);
    }
    admin.call(Method::DELETE, "/grants/bot/notes", None).await;
    for server in &servers[1..] {
        let refused = async || gets(server, "bot", &secret, "notes").await == 400;
        soon("the grant is gone", refused).await;
        assert_eq!(gets(server, "bot", &secret, "calendar").await, 200);
    }
    let off = json!({"status": "inactive"});
    admin.call(Method::PATCH, "/clients/bot", Some(&off)).await;
    for server in &servers[1..] {
        let refused = async || gets(server, "bot", &secret, "calendar").await == 401;
        soon("the client is off", refused).await;
    }
    // What is new needs no waiting: who is not known is looked for.
    let made = admin.post("/clients", &json!({"client_id": "late"})).await;
    let grant = json!({"client_id": "late", "resource": "notes", "scopes": ["note.read"]});
    admin.post("/grants", &grant).await;
    let secret = made["client_secret"].as_str().unwrap();
    for server in &servers[1..] {
        assert_eq!(gets(server, "late", secret, "notes").await, 200);
    }
    // A change of the resource shows in the records of its clients.
    let opaque = json!({"token_lifetime": 77});
    let path = "/resources/notes";
    admin.call(Method::PATCH, path, Some(&opaque)).await;
    for server in &servers[1..] {
        let lifetime = async || {
            let form = [("grant_type", "client_credentials")];
            let request = server.post("/oauth/token").basic_auth("late", Some(secret));
            let answer = request.form(&form).send().await.unwrap();
            support::json(answer).await["expires_in"] == 77
        };
        soon("the tokens are shorter", lifetime).await;
    }
}

#[actix_web::test]
async fn a_revocation_is_honoured_everywhere_and_told_to_who_follows_another_server() {
    let Some((_, servers)) = replicas(3).await else {
        return;
    };
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let token = servers[0].token("bot", "notes").await;
        for server in &servers {
            assert_eq!(
                server.introspect("notes-server", &token).await["active"],
                true
            );
        }
        servers[0].revoke("bot", &token).await;
        for server in &servers[1..] {
            let refused =
                async || server.introspect("notes-server", &token).await["active"] == false;
            slowest = slowest.max(soon("the token is dead", refused).await);
        }
    }
    eprintln!("the slowest of 40 took {slowest:?}");
    let list = servers[2].get("/oauth/revocations");
    let list = list.basic_auth("notes-server", Some(servers[2].secret("notes-server")));
    let list = support::json(list.send().await.unwrap()).await;
    assert_eq!(list["revocations"].as_array().unwrap().len(), 20);
}

/// Both write it down; who follows hears it twice, and what comes later as well.
#[actix_web::test]
async fn two_servers_take_back_one_token_at_the_same_moment() {
    let Some((_, servers)) = replicas(2).await else {
        return;
    };
    let [a, b] = &servers[..] else { unreachable!() };
    for _ in 0..5 {
        let token = a.token("bot", "notes").await;
        tokio::join!(a.revoke("bot", &token), b.revoke("bot", &token));
        for server in &servers {
            let active = server.introspect("notes-server", &token).await["active"].take();
            assert_eq!(active, false);
            server.revoke("bot", &token).await;
        }
    }
    let last = a.token("bot", "notes").await;
    b.revoke("bot", &last).await;
    let dead = async || a.introspect("notes-server", &last).await["active"] == false;
    soon("the token is dead", dead).await;
    let list = a.get("/oauth/revocations");
    let list = list.basic_auth("notes-server", Some(a.secret("notes-server")));
    let list = support::json(list.send().await.unwrap()).await;
    let list = list["revocations"].as_array().unwrap();
    assert!((6..=11).contains(&list.len()), "{list:?}");
    let tokens: HashSet<_> = list.iter().map(|entry| entry["jti"].as_str()).collect();
    assert_eq!(tokens.len(), 6);
}

#[actix_web::test]
async fn a_new_key_is_published_and_a_compromised_one_withdrawn_everywhere() {
    let Some((_, servers)) = replicas(2).await else {
        return;
    };
    let [a, b] = &servers[..] else { unreachable!() };
    let admin = Administrator::of(a).await;
    admin.post("/keys/rotate", &json!({})).await;
    let known = || b.auth.keys.ring().records().to_vec();
    let same = async || known() == a.auth.keys.ring().records();
    soon("the new key is known", same).await;
    assert_eq!(known().len(), 2);
    let kid = known()[0].kid.clone();
    let path = format!("/keys/{kid}/compromised");
    admin.send(Method::POST, &path, None).await;
    soon("the key is withdrawn", async || {
        b.auth.keys.ring().find(&kid).is_none()
    })
    .await;
}

/// Whatever becomes of the connection that listens, a change in the meantime is noticed.
#[actix_web::test]
async fn a_connection_that_breaks_off_misses_nothing() {
    let Some((url, servers)) = replicas(2).await else {
        return;
    };
    let mut database = PgConnection::connect(&url).await.unwrap();
    let admin = Administrator::of(&servers[0]).await;
    let secret = servers[0].secret("bot");
    for round in 0..5 {
        assert_eq!(gets(&servers[1], "bot", &secret, "notes").await, 200);
        let token = servers[1].token("bot", "calendar").await;
        let listeners = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()
                           AND (query LIKE '%registry_change%' OR query LIKE 'LISTEN%')";
        let ended = database.execute(listeners).await.unwrap().rows_affected();
        assert!(ended >= 1, "round {round}: nobody listens");
        admin.call(Method::DELETE, "/grants/bot/notes", None).await;
        servers[0].revoke("bot", &token).await;
        let refused = async || gets(&servers[1], "bot", &secret, "notes").await == 400;
        soon("the grant is gone", refused).await;
        let dead =
            async || servers[1].introspect("calendar-server", &token).await["active"] == false;
        soon("the token is dead", dead).await;
        let grant = json!({"client_id": "bot", "resource": "notes", "scopes": ["note.read"]});
        admin.post("/grants", &grant).await;
        let again = async || gets(&servers[1], "bot", &secret, "notes").await == 200;
        soon("the grant is back", again).await;
    }
}

#[actix_web::test]
async fn one_server_does_each_job_and_another_takes_over() {
    let Some((url, mut servers)) = replicas(2).await else {
        return;
    };
    let does = |server: &Server| Job::ALL.map(|job| server.auth.leases.holds(job));
    assert_eq!(does(&servers[0]), [true; 4]);
    assert_eq!(does(&servers[1]), [false; 4]);
    drop(servers.remove(0).stop().await);
    let left = &servers[0];
    left.auth
        .leases
        .keep(left.auth.store.as_ref())
        .await
        .unwrap();
    assert_eq!(does(left), [true; 4], "they were given back");

    // One that dies gives nothing back: its lease ends by itself.
    let mut database = PgConnection::connect(&url).await.unwrap();
    let late = Server::start_replica(&url, "").await;
    assert_eq!(does(&late), [false; 4]);
    let past = "UPDATE lease SET until = until - 60000 RETURNING fencing";
    database.execute(past).await.unwrap();
    late.auth
        .leases
        .keep(late.auth.store.as_ref())
        .await
        .unwrap();
    assert_eq!(does(&late), [true; 4]);
    left.auth
        .leases
        .keep(left.auth.store.as_ref())
        .await
        .unwrap();
    assert_eq!(does(left), [false; 4], "who comes back finds it taken");
}

/// What PostgreSQL undoes because transactions got in each other's way.
#[actix_web::test]
async fn a_change_that_the_database_undid_is_made_again() {
    let Some((url, servers)) = replicas(1).await else {
        return;
    };
    let mut database = PgConnection::connect(&url).await.unwrap();
    let undo = |code: &str, times: u32| {
        AssertSqlSafe(format!(
            "DROP SEQUENCE IF EXISTS tries CASCADE; CREATE SEQUENCE tries;
             CREATE OR REPLACE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF nextval('tries') <= {times} THEN
                     RAISE EXCEPTION 'undone' USING ERRCODE = '{code}';
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE OR REPLACE TRIGGER undo BEFORE INSERT ON client
             FOR EACH ROW EXECUTE FUNCTION undo()"
        ))
    };
    let admin = Administrator::of(&servers[0]).await;
    for (code, times, id, status) in [
        ("40001", 3, "one", 201),
        ("40P01", 3, "two", 201),
        ("40001", 1000, "three", 503),
        ("23514", 1, "four", 503),
    ] {
        database.execute(undo(code, times)).await.unwrap();
        let client = json!({"client_id": id});
        let answer = admin.send(Method::POST, "/clients", Some(&client)).await;
        assert_eq!(answer.status(), status, "{code} {times}");
    }
}

#[actix_web::test]
async fn who_holds_a_lock_for_long_does_not_hold_up_requests_for_ever() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let server = Server::start_replica(&url, "database_statement_timeout = '1s'").await;
    let admin = Administrator::of(&server).await;
    let mut database = PgConnection::connect(&url).await.unwrap();
    let mut held = database.begin().await.unwrap();
    held.execute("LOCK TABLE client IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let begun = Instant::now();
    let client = json!({"client_id": "late"});
    let answer = admin.send(Method::POST, "/clients", Some(&client)).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    held.rollback().await.unwrap();
    let answer = admin.send(Method::POST, "/clients", Some(&client)).await;
    assert_eq!(answer.status(), 201);
}

/// <https://www.postgresql.org/docs/current/libpq-ssl.html>: `require` and more do not go on without TLS.
#[actix_web::test]
async fn what_the_url_demands_of_tls_is_kept_to() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let folder = folder();
        let more = format!("database_url = '{url}&sslmode={mode}'");
        let config = config(folder.path(), &more);
        let clock = m2m::Clock::System;
        let refused = auth_provider::startup::start(&config, clock).await.err();
        let refused = format!("{:#}", refused.expect("there is no TLS"));
        assert!(
            refused.contains("switch TLS on at the database"),
            "{refused}"
        );
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
    let more = format!("{url}&sslmode=nonsense");
    let folder = folder();
    let mut command = process::in_folder(folder.path());
    let output = command.args(["--database-url", &more]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
