//! A vault's database with very many connections, put there as fast as SQLite takes them, but sealed as the vault itself
//! seals: what a connection is called follows from its number, so that the load can make it up as well.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use m2m::Clock;
use sqlx::{
    AssertSqlSafe, Connection, Executor, QueryBuilder, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use token_vault::{
    connection::{Account, Application, ConnectionKey, Service, User},
    envelope::{self, Envelope},
    kek::{KeyRing, LocalKey},
    secret::{Token, Tokens},
};

/// The service whose tokens they are.
pub const SERVICE: &str = "github";

/// Connections in one statement: SQLite takes 32,766 parameters.
const BATCH: u32 = 2_000;

/// How long an access token of a GitHub App lives, and how long before its end it is refreshed, in milliseconds.
const LIFETIME: u64 = 8 * 3_600_000;
const AHEAD: u64 = 300_000;

/// The Lua function that makes up the query for a connection. It and `key` have to agree.
pub const LUA: &str = r#"
function names(number)
  return string.format("?user=user-%07d&connection=acme", number)
end
"#;

fn key(application: &Application, number: u32) -> ConnectionKey {
    ConnectionKey {
        application: application.clone(),
        user: User::parse(&format!("user-{number:07}")).expect("this is a name"),
        service: Service::parse(SERVICE).expect("this is a service"),
        account: Account::parse("acme").expect("this is a name"),
    }
}

/// Tokens as long as GitHub's.
fn tokens(number: u32, expires_at: u64) -> anyhow::Result<Tokens> {
    Ok(Tokens {
        access: Token::parse(format!("ghu_{number:036}").into())?,
        refresh: Some(Token::parse(format!("ghr_{number:076}").into())?),
        expires_at: Some(expires_at),
        refresh_expires_at: None,
        scopes: Vec::new(),
        metadata: serde_json::Map::new(),
    })
}

/// Adds the connections with the numbers 1 to `connections` of this application to a database that has its tables and that
/// nobody uses, under the key in that file.
///
/// # Errors
/// When the key cannot be read, or SQLite refuses.
pub async fn add(
    database: &Path,
    key_file: &Path,
    application: &str,
    connections: u32,
) -> anyhow::Result<()> {
    let kek = LocalKey::read(key_file)?.context("the vault made no key")?;
    let ring = KeyRing::new(Arc::new(kek), Vec::new());
    let application = Application::parse(application)?;
    let options = SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Memory)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-500000");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let now = Clock::System.now_ms();
    let mut first = 1;
    while first <= connections {
        let last = connections.min(first + BATCH - 1);
        let mut rows = Vec::new();
        for number in first..=last {
            let (key, tokens) = (key(&application, number), tokens(number, now + LIFETIME)?);
            let sealed = envelope::seal(&ring, &tokens.to_bytes(), &key.identity()).await?;
            rows.push((number, key, sealed));
        }
        let mut transaction = connection.begin().await?;
        let mut insert = batch(rows, now);
        let query = insert.build().persistent(false);
        query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        first = last + 1;
    }
    // As the server has it. Its own start should not pay for the change.
    connection
        .execute(AssertSqlSafe("PRAGMA journal_mode = WAL"))
        .await?;
    connection.close().await?;
    Ok(())
}

fn batch(rows: Vec<(u32, ConnectionKey, Envelope)>, now: u64) -> QueryBuilder<Sqlite> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut insert = QueryBuilder::new(
        "INSERT INTO connection (application, user_id, service, account, version, kek, data_key, sealed,
                                 expires_at, refresh_from, fence, failures, contested, stored_at) ",
    );
    insert.push_values(rows, |mut row, (version, key, sealed)| {
        row.push_bind(key.application.to_string())
            .push_bind(key.user.to_string())
            .push_bind(key.service.to_string())
            .push_bind(key.account.to_string())
            .push_bind(i64::from(version))
            .push_bind(sealed.kek.as_str().to_owned())
            .push_bind(sealed.data_key)
            .push_bind(sealed.sealed)
            .push_bind(number(now + LIFETIME))
            .push_bind(number(now + LIFETIME - AHEAD))
            .push("0, 0, 0")
            .push_bind(number(now));
    });
    insert
}
