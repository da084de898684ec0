//! `auth-provider migrate`: there and back again.

use std::{fs, process::Command};

use auth_provider::{
    audit::{Action, Event, Filter, Origin},
    storage::{self, DatabaseUrl},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::{LAST_EVENT, LAST_REVOCATION, Machine, Ran, execute, filled, run, sqlite, sums};
use crate::{
    process::{in_folder, started, terminate},
    store_contract::fresh_postgres_url,
    support::folder,
};

fn migrate(machine: &Machine, from: &str, to: &str) -> Ran {
    machine.run(&["migrate", "--from", from, "--to", to])
}

#[actix_web::test]
async fn everything_comes_through_both_databases_the_same() {
    let machine = Machine::empty();
    let first = filled(&machine.at("a.db")).await;
    let before = sums(&first).await;
    assert!(
        before.iter().all(|(_, sum, _)| sum.rows > 0),
        "each table has rows: {before:?}"
    );
    let mut places = vec!["sqlite:a.db".to_owned(), "sqlite:b.db".to_owned()];
    if let Some(url) = fresh_postgres_url().await {
        places.extend([url, "sqlite:c.db".to_owned()]);
    }
    for hop in places.windows(2) {
        let text = migrate(&machine, &hop[0], &hop[1]).done();
        assert!(text.starts_with("TABLE"), "{text}");
        let (_, events, _) = before.last().unwrap();
        assert!(text.contains(&events.sha256), "{text}");
        assert!(text.contains("master.key"), "{text}");
        let target = hop[1].replace(
            "sqlite:",
            &format!("sqlite:{}/", machine.folder.path().display()),
        );
        assert_eq!(sums(&target.parse().unwrap()).await, before);
        // The numbers go on, also after rows that are gone, and what was to be unique or to refer to something still is.
        let store = storage::open(&target.parse().unwrap()).await.unwrap();
        assert_eq!(store.revocations_after(0).await.unwrap().len(), 4);
        drop(store);
    }
    assert_eq!(sums(&first).await, before, "the source is as it was");
    assert!(machine.files("").iter().all(|name| !name.starts_with('.')));

    // Events go on with the next number, one by one and by the pack.
    for place in &places[1..] {
        let folder = format!("sqlite:{}/", machine.folder.path().display());
        let target = place.replace("sqlite:", &folder);
        let store = storage::open(&target.parse().unwrap()).await.unwrap();
        let event = Event::done(Action::TokenIssued, 1_700_000_000, &Origin::server());
        store.add_events(&vec![event.clone(); 20]).await.unwrap();
        store.add_events(&[event]).await.unwrap();
        let all = store.events(&Filter::default(), u64::MAX, 24).await;
        let numbers = all.unwrap().into_iter().map(|one| one.number);
        let last = LAST_EVENT.cast_unsigned() + 21;
        assert!(numbers.eq((last - 23..=last).rev()), "{place}");
    }

    let mut copy = sqlite(&machine.at("b.db")).await;
    let add = "INSERT INTO revocation (kind, revoked_at, expires_at) VALUES ('key', 1, 2) RETURNING number";
    let number: i64 = sqlx::query(add).fetch_one(&mut copy).await.unwrap().get(0);
    assert_eq!(number, LAST_REVOCATION + 1);
    let broken = "INSERT INTO credential_use (credential_id) VALUES ('c3')";
    copy.execute(broken).await.unwrap_err();
    let checks = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut copy);
    assert!(checks.await.unwrap().is_empty());
}

#[actix_web::test]
async fn postgresql_is_left_as_a_start_would_have_made_it() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let machine = Machine::empty();
    filled(&machine.at("a.db")).await;
    let json = machine.run(&["migrate", "--from", "sqlite:a.db", "--to", &url, "--json"]);
    let json = json.json();
    let events = json["tables"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&events["table"], &events["rows"]),
        (&"audit_event".into(), &2502.into())
    );

    let mut database = PgConnection::connect(&url).await.unwrap();
    let deferrable = "SELECT COUNT(*) FROM pg_constraint WHERE contype = 'f' AND condeferrable";
    let count: i64 = sqlx::query(deferrable)
        .fetch_one(&mut database)
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 0);
    let add =
        "INSERT INTO audit_event (at, action, outcome) VALUES (1, 'a', 'success') RETURNING number";
    let number: i64 = sqlx::query(add)
        .fetch_one(&mut database)
        .await
        .unwrap()
        .get(0);
    assert_eq!(number, LAST_EVENT + 1);
    let gone = "INSERT INTO client_grant VALUES ('nobody', 'lab', '', NULL, NULL, '', '')";
    database.execute(gone).await.unwrap_err();

    let again = migrate(&machine, "sqlite:a.db", &url);
    again.failed("is not empty");
    let one = "SELECT COUNT(*) FROM client";
    let count: i64 = sqlx::query(one)
        .fetch_one(&mut database)
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 2);
}

/// The row that a database refuses comes late: nothing that came before it stays.
#[actix_web::test]
async fn a_copy_that_fails_leaves_nothing() {
    let machine = Machine::empty();
    filled(&machine.at("a.db")).await;
    let no_such_owner =
        "PRAGMA foreign_keys = OFF; UPDATE resource SET owner = 'gone' WHERE id = 'lab'";
    execute(&machine.at("a.db"), no_such_owner).await;
    migrate(&machine, "sqlite:a.db", "sqlite:b.db").failed("cannot fill sqlite:b.db");
    let made = machine.files("");
    // SQLite's own files beside the source may still be there: its reader had no time to say goodbye.
    let made: Vec<_> = made
        .iter()
        .filter(|name| !name.starts_with("a.db"))
        .collect();
    assert_eq!(made, ["b.db.lock"]);

    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    migrate(&machine, "sqlite:a.db", &url).failed("cannot fill postgres");
    let mended = "UPDATE resource SET owner = NULL WHERE id = 'lab'";
    execute(&machine.at("a.db"), mended).await;
    migrate(&machine, "sqlite:a.db", &url).done();
}

#[actix_web::test]
async fn a_database_of_an_earlier_version_is_brought_up_to_date_first() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let machine = Machine::empty();
    filled(&machine.at("a.db")).await;
    // As version 6 left it: with other indices. Version 8 changes nothing here.
    assert_eq!(storage::VERSION, 13, "take the later versions back as well");
    let before = "DROP TABLE audit_pack; DROP TABLE unwritten_use; DROP INDEX audit_event_by_stretch; DELETE FROM _sqlx_migrations WHERE version >= 7;
         ALTER TABLE registry_state DROP COLUMN summing_up_to; ALTER TABLE registry_state DROP COLUMN summed_client;
         CREATE UNIQUE INDEX revocation_by_jti ON revocation (jti); CREATE INDEX revocation_by_end ON revocation (expires_at);
         CREATE INDEX audit_event_by_client ON audit_event (client_id, number) WHERE client_id IS NOT NULL";
    execute(&machine.at("a.db"), before).await;
    migrate(&machine, "sqlite:a.db", &url).done();
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999, 'later', true, x'00', 0)";
    execute(&machine.at("a.db"), newer).await;
    migrate(&machine, "sqlite:a.db", "sqlite:b.db").failed("the database has version 999");
}

#[actix_web::test]
async fn what_would_lose_or_mix_data_is_refused() {
    let machine = Machine::empty();
    filled(&machine.at("a.db")).await;
    filled(&machine.at("full.db")).await;
    fs::write(machine.at("odd.db-wal"), "left over").unwrap();
    fs::write(
        machine.at("text.db"),
        "this is no database, but a text that is long enough",
    )
    .unwrap();
    for (from, to, part) in [
        (
            "sqlite:none.db",
            "sqlite:b.db",
            "there is no database sqlite:none.db",
        ),
        ("sqlite:a.db", "sqlite:a.db", "are the same database"),
        ("sqlite:a.db", "sqlite:full.db", "full.db is not empty"),
        ("sqlite:a.db", "sqlite:odd.db", "odd.db-wal is not empty"),
        (
            "sqlite:a.db",
            "sqlite:nowhere/b.db",
            "cannot write nowhere/b.db.lock",
        ),
        ("sqlite::memory:", "sqlite:b.db", "in memory"),
        ("sqlite:a.db", "sqlite::memory:", "in memory"),
        (
            "sqlite:text.db",
            "sqlite:b.db",
            "cannot read sqlite:text.db",
        ),
        ("mysql://a", "sqlite:b.db", "--from: a database is"),
        ("sqlite:a.db", "hunter2", "--to: a database is"),
        (
            "sqlite:a.db",
            "postgres://u:hunter2@127.0.0.1:1/d",
            "cannot fill postgres://u:***@127.0.0.1:1/d",
        ),
    ] {
        let ran = migrate(&machine, from, to);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        ran.failed(part);
    }
    assert!(!machine.at("none.db").exists() && !machine.at("b.db").exists());
}

#[test]
fn a_database_that_a_server_runs_on_is_not_copied() {
    let folder = folder();
    let (mut child, _) = started(&mut in_folder(folder.path()));
    let database = "sqlite:data/auth-provider.db";
    let arguments = |from, to| ["migrate", "--from", from, "--to", to];
    let ran = run(folder.path(), &arguments(database, "sqlite:b.db"));
    ran.failed("another auth-provider runs on");
    let ran = run(folder.path(), &arguments("sqlite:b.db", database));
    ran.failed("there is no database");
    terminate(&child);
    assert!(child.wait().unwrap().success());
    let ran = run(folder.path(), &arguments(database, "sqlite:b.db"));
    ran.done();
}

/// `kill -9` in the middle: the target has nothing, and a second try succeeds.
#[actix_web::test]
async fn a_copy_that_is_killed_leaves_nothing_that_is_seen() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let machine = Machine::empty();
    filled(&machine.at("a.db")).await;
    // A writer that waits holds the copy up before its end.
    let empty: DatabaseUrl = url.parse().unwrap();
    drop(storage::open(&empty).await.unwrap());
    let mut holder = PgConnection::connect(&url).await.unwrap();
    holder
        .execute("BEGIN; LOCK TABLE audit_event IN SHARE MODE")
        .await
        .unwrap();
    let mut copy: Command = super::command(
        machine.folder.path(),
        &["migrate", "--from", "sqlite:a.db", "--to", &url],
    );
    let mut copy = copy.spawn().unwrap();
    let waits = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND database =
         (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    loop {
        let row = sqlx::query(AssertSqlSafe(waits))
            .fetch_one(&mut watcher)
            .await
            .unwrap();
        if row.get::<i64, _>(0) > 0 {
            break;
        }
        assert!(copy.try_wait().unwrap().is_none(), "it ended before");
    }
    copy.kill().unwrap();
    copy.wait().unwrap();
    holder.execute("ROLLBACK").await.unwrap();
    migrate(&machine, "sqlite:a.db", &url).done();
}
