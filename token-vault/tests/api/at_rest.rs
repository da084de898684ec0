//! What is on disk and in the log: no token, no way to swap rows, no start with the wrong key.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use m2m::Clock;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use token_vault::provider::Dialect;

use crate::{
    emulator::Fault,
    program::Program,
    support::fresh_postgres,
    world::{World, access, json, private_file},
};

/// Whether a needle is in any file below a folder. PostgreSQL's own files are looked at by a dump.
pub(crate) fn found(folder: &Path, needle: &str) -> Option<String> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path)
                && bytes
                    .windows(needle.len())
                    .any(|window| window == needle.as_bytes())
            {
                return Some(path.display().to_string());
            }
        }
    }
    None
}

/// Lives through all that can happen to a token whose text has this canary in it.
pub(crate) async fn live(world: &World) {
    for name in ["canary1", "canary2", "canary3"] {
        world.stored(name, 1).await;
    }
    world.provider.fault([
        Fault::None,
        Fault::Answer(400, r#"{"error":"at.canary9"}"#),
        Fault::DropAfter,
    ]);
    for name in ["canary1", "canary2", "canary3"] {
        // The token is at its end: it is refreshed with more or less success.
        while !["refresh.done", "refresh.failed"]
            .contains(&last_refresh(world, name).await.as_str())
        {
            world.fetched(name).await;
        }
    }
    while world.fetched("canary3").await.status() != 409 {}
    world
        .delete("bot", "/hub?user=canary2&connection=acme")
        .await;
    let bad = json!({"user": "canary4", "access_token": "at.canary with space", "rt.canary": 1});
    world.post("bot", "/hub", &bad).await;
    world.get("bot", "/hub?at.canary5=1").await;
    world.get("bot", "/hub/status").await;
}

async fn last_refresh(world: &World, user: &str) -> String {
    let events = json(world.get("bot", &format!("/audit?user={user}")).await).await;
    let actions = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap());
    actions
        .filter(|action| action.starts_with("refresh"))
        .map(str::to_owned)
        .next()
        .unwrap_or_default()
}

#[actix_web::test]
async fn no_token_is_on_disk_or_in_the_log() {
    let mut world = World::without_vault(Dialect::Generic, None, Clock::System).await;
    let program = Program::start(&mut world, &[], "trace");
    live(&world).await;
    let log = program.terminate();
    for needle in ["at.canary", "rt.canary", "s3cret-of-the-vault"] {
        // The provider's secret stands in its own file, where the test put it.
        let place = found(world.folder.path(), needle).filter(|place| !place.ends_with("/secret"));
        assert_eq!(place, None, "{needle}");
        assert_eq!(
            log.lines().find(|line| line.contains(needle)),
            None,
            "{needle}"
        );
    }
    assert!(
        log.contains("gave no new token") && log.contains("TRACE"),
        "the log was listened to"
    );
    let database = found(world.folder.path(), "canary1").unwrap_or_default();
    assert!(
        database.contains("vault.db"),
        "the names of users are there, so the right file was looked at"
    );
}

#[actix_web::test]
async fn no_token_is_in_a_dump_of_postgresql() {
    let Some(database) = fresh_postgres().await else {
        return;
    };
    let mut world =
        World::without_vault(Dialect::Slack, Some(database.clone()), Clock::System).await;
    let program = Program::start(&mut world, &[], "info");
    live(&world).await;
    program.terminate();
    let dump = Command::new("pg_dump")
        .args(["--inserts", "--dbname", &database])
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let dump = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.contains("canary1"));
    for needle in ["at.canary", "rt.canary", "s3cret"] {
        assert!(!dump.contains(needle), "{needle}");
        // Binary columns are dumped in hexadecimal.
        let mut hex = String::new();
        for byte in needle.bytes() {
            write!(hex, "{byte:02x}").unwrap();
        }
        assert!(!dump.contains(&hex), "{needle}");
    }
}

/// Changes by hand that put one row's secret where another's was.
const SWAPS: [(&str, &str); 4] = [
    (
        "the whole secret of another user",
        "UPDATE connection SET kek = (SELECT kek FROM connection WHERE user_id = 'mallory'),
             data_key = (SELECT data_key FROM connection WHERE user_id = 'mallory'),
             sealed = (SELECT sealed FROM connection WHERE user_id = 'mallory')
         WHERE user_id = 'alice'",
    ),
    (
        "only what is sealed",
        "UPDATE connection SET sealed = (SELECT sealed FROM connection WHERE user_id = 'mallory')
         WHERE user_id = 'alice'",
    ),
    (
        "only the data key",
        "UPDATE connection SET data_key = (SELECT data_key FROM connection WHERE user_id = 'mallory')
         WHERE user_id = 'alice'",
    ),
    (
        "the row under another name",
        "DELETE FROM connection WHERE user_id = 'alice';
         UPDATE connection SET user_id = 'alice' WHERE user_id = 'mallory'",
    ),
];

/// Does it by hand, beside the vault.
pub(crate) async fn change(world: &World, database: Option<&str>, statement: &'static str) {
    if let Some(url) = database {
        let mut database = PgConnection::connect(url).await.unwrap();
        database.execute(AssertSqlSafe(statement)).await.unwrap();
    } else {
        let file = world.folder.path().join("vault.db").display().to_string();
        let mut database = SqliteConnection::connect(&format!("sqlite:{file}"))
            .await
            .unwrap();
        database.execute(AssertSqlSafe(statement)).await.unwrap();
    }
}

#[actix_web::test]
async fn rows_that_were_swapped_by_hand_are_found_out() {
    for (what, statement) in SWAPS {
        for database in [None, fresh_postgres().await] {
            let world = World::start_as(Dialect::Generic, database.clone(), 1).await;
            world.stored("alice", 1000).await;
            world.stored("mallory", 1000).await;
            change(&world, database.as_deref(), statement).await;
            let answer = world.fetched("alice").await;
            assert_eq!(answer.status(), 409, "{what}");
            assert_eq!(answer.headers()["vault-reason"], "damaged", "{what}");
            assert_eq!(
                world.events("connection.needs_reconnect").await[0]["reason"],
                "damaged",
                "{what}"
            );
            world.stored("alice", 1000).await;
            assert_eq!(
                access(world.fetched("alice").await).await,
                "at.alice.0",
                "{what}: a new consent mends it"
            );
        }
    }
}

pub(crate) fn start(world: &World, more: &[&str]) -> Output {
    let mut arguments = world.arguments();
    arguments.remove(0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_token-vault"));
    command
        .args(arguments)
        .args(more)
        .envs(world.variables())
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// All that is sealed, as it stands in the database.
async fn rows(world: &World) -> Vec<String> {
    let file = world.folder.path().join("vault.db");
    let mut database = SqliteConnection::connect(&format!("sqlite:{}", file.display()))
        .await
        .unwrap();
    let rows = sqlx::query(
        "SELECT user_id || version || hex(data_key) || hex(sealed) FROM connection
         UNION ALL SELECT kek || hex(data_key) || hex(sealed) FROM own_key",
    );
    let rows = rows.fetch_all(&mut database).await.unwrap();
    rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}

#[actix_web::test]
async fn a_wrong_or_missing_key_stops_the_start_and_destroys_nothing() {
    let mut world = World::start().await;
    world.stored("alice", 1000).await;
    // The first server ends, as at a restart.
    world.stop().await;
    let key = world.folder.path().join("data/token-vault.key");
    let right = fs::read_to_string(&key).unwrap();
    let before = rows(&world).await;
    assert_eq!(before.len(), 2);
    let refused = |more: &[&str], part: &str| {
        let output = start(&world, more);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let line = errors.lines().last().unwrap();
        assert!(
            line.starts_with("token-vault: ") && line.contains(part),
            "{errors}"
        );
        assert!(!errors.contains(right.trim()), "{errors}");
    };
    private_file(&key, &STANDARD.encode([7; 32]));
    refused(&[], "start with that key");
    fs::remove_file(&key).unwrap();
    refused(&[], "is gone: put it back");
    private_file(&key, "no key");
    refused(&[], "32 random bytes");
    private_file(&key, &right);
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        refused(&[], "chmod 600");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(before, rows(&world).await, "nothing was changed");
    let again = world.replica(&[]).await.unwrap();
    world.add(again);
    assert_eq!(access(world.fetched("alice").await).await, "at.alice.0");
}

#[actix_web::test]
async fn what_is_insecure_or_unclear_does_not_start() {
    let world = World::without_vault(Dialect::Generic, None, Clock::System).await;
    let arguments = |change: &[&str]| {
        let named = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
        let changed: Vec<_> = change.iter().map(|argument| named(argument)).collect();
        let mut all = world.arguments();
        all.retain(|argument| !changed.contains(&named(argument)));
        all.extend(
            change
                .iter()
                .filter(|argument| !argument.ends_with('='))
                .map(|a| (*a).to_owned()),
        );
        all
    };
    for (change, part) in [
        (&["--listen=0.0.0.0:0"][..], "--behind-tls-proxy"),
        (&["--listen=0.0.0.0:0", "--public-url="], "say by which URL"),
        (
            &["--public-url=http://vault.example"],
            "must begin with https://",
        ),
        (
            &["--public-url=ftp://localhost"],
            "must begin with https://",
        ),
        (
            &["--providers=nowhere.toml"],
            "cannot read the providers file nowhere.toml",
        ),
        (&["--issuer=http://auth.example"], "https"),
        (
            &["--previous-key-file=nowhere.key"],
            "there is no key file nowhere.key",
        ),
    ] {
        let mut arguments = arguments(change);
        arguments.remove(0);
        let mut program = Command::new(env!("CARGO_BIN_EXE_token-vault"));
        let output = program
            .args(arguments)
            .env("RUST_LOG", "off")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{change:?}: {errors}");
        assert!(
            errors.starts_with("token-vault: ") && errors.contains(part),
            "{change:?}: {errors}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

/// A second key takes over while the vault goes on; a start in the middle finds both.
#[actix_web::test]
async fn a_new_key_takes_over_and_the_old_one_can_go() {
    let mut world = World::start().await;
    for name in ["alice", "bob", "carol"] {
        world.stored(name, 100_000).await;
    }
    world.stop().await;
    let (old, new) = (
        world.folder.path().join("data/token-vault.key"),
        world.folder.path().join("new.key"),
    );
    private_file(&new, &STANDARD.encode([9; 32]));
    let (old, new) = (old.display().to_string(), new.display().to_string());
    let both = world
        .replica(&[
            &format!("--key-file={new}"),
            &format!("--previous-key-file={old}"),
        ])
        .await;
    world.add(both.unwrap());
    let store = Arc::clone(&world.replicas[0].vault.desk.store);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while store.kek_ids().await.unwrap().len() > 1 {
        // Readers go on meanwhile.
        assert_eq!(access(world.fetched("carol").await).await, "at.carol.0");
        assert!(std::time::Instant::now() < deadline);
    }
    drop(store);
    world.stop().await;
    let alone = world
        .replica(&[&format!("--key-file={new}")])
        .await
        .unwrap();
    world.add(alone);
    for name in ["alice", "bob", "carol"] {
        assert_eq!(
            access(world.fetched(name).await).await,
            format!("at.{name}.0")
        );
    }
    world.stop().await;
    let error = world
        .replica(&[&format!("--key-file={old}")])
        .await
        .err()
        .unwrap();
    assert!(
        format!("{error:#}").contains("start with that key"),
        "{error:#}"
    );
}
