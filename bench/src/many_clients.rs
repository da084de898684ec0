//! A database with a million clients, put there as fast as SQLite takes them: what a client is called, what its secret
//! is and what it may call follows from its number, so that the load can make it up as well.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sqlx::{
    AssertSqlSafe, Connection, Executor, QueryBuilder, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// Clients may call one or two of so many resources.
const RESOURCES: u32 = 10;

/// Clients in one statement: SQLite takes 32,766 parameters.
const BATCH: u32 = 2_000;

/// When everything was made: no matter.
const LONG_AGO: i64 = 1_700_000_000;

/// As the server makes them.
const VERSION: &str = "lower(hex(randomblob(16)))";

/// Of so many clients in a row, one was switched off. No token is asked for it.
const INACTIVE_EVERY: u32 = 1000;

const SCOPES: &str = "records.read records.write";

/// The Lua functions that make up a request for the client with a number, or for the one before it if that was switched
/// off. They and `name`, `secret`, `resource` and `INACTIVE_EVERY` have to agree.
pub const LUA: &str = r#"
function form(number)
  if number % 1000 == 0 then number = number - 1 end
  local name = string.format("client-%07d", number)
  return "grant_type=client_credentials&resource=resource-" .. number % 10
    .. "&client_id=" .. name .. "&client_secret=secret-of-" .. name
end
"#;

fn name(number: u32) -> String {
    format!("client-{number:07}")
}

fn secret(number: u32) -> String {
    format!("secret-of-{}", name(number))
}

fn resource(number: u32) -> String {
    format!("resource-{}", number % RESOURCES)
}

/// Adds the clients with the numbers 1 to `clients` to a database that has its tables and that nobody uses.
///
/// # Errors
/// When SQLite refuses.
pub async fn add(database: &Path, clients: u32) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Memory)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-500000");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    for number in 0..RESOURCES {
        sqlx::query(
            "INSERT INTO resource (id, name, token_lifetime, version) VALUES ($1, '', 3600, $1)",
        )
        .bind(resource(number))
        .execute(&mut connection)
        .await?;
    }
    let mut first = 1;
    while first <= clients {
        let last = clients.min(first + BATCH - 1);
        let mut transaction = connection.begin().await?;
        for mut insert in batch(first, last) {
            insert
                .build()
                .persistent(false)
                .execute(&mut *transaction)
                .await?;
        }
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

/// The statements that add some clients, each with one credential and one or two grants.
fn batch(first: u32, last: u32) -> [QueryBuilder<Sqlite>; 3] {
    let mut clients = QueryBuilder::new(
        "INSERT INTO client (id, name, description, status, metadata, created_at, updated_at, version) ",
    );
    clients.push_values(first..=last, |mut row, number| {
        let status = if number.is_multiple_of(INACTIVE_EVERY) {
            "inactive"
        } else {
            "active"
        };
        row.push_bind(name(number))
            .push_bind(format!("Client {number}"))
            .push("'one of very many'")
            .push_bind(status)
            .push(r#"'{"team":"measured"}'"#)
            .push_bind(LONG_AGO)
            .push_bind(LONG_AGO)
            .push(VERSION);
    });
    let mut credentials = QueryBuilder::new(
        "INSERT INTO credential (id, client_id, label, secret_hash, last_four, created_at) ",
    );
    credentials.push_values(first..=last, |mut row, number| {
        let secret = secret(number);
        let hash = digest(&SHA256, secret.as_bytes());
        let id = URL_SAFE_NO_PAD.encode(&digest(&SHA256, hash.as_ref()).as_ref()[..16]);
        row.push_bind(id)
            .push_bind(name(number))
            .push("'first'")
            .push_bind(hash.as_ref().to_vec())
            .push_bind(secret[secret.len() - 4..].to_owned())
            .push_bind(LONG_AGO);
    });
    let mut grants = QueryBuilder::new(
        "INSERT INTO client_grant (client_id, resource_id, scopes, reason, version) ",
    );
    let arrows = (first..=last).flat_map(|number| {
        let second = (number % 2 == 1).then_some((number, number + 1));
        std::iter::once((number, number)).chain(second)
    });
    grants.push_values(arrows, |mut row, (client, number)| {
        row.push_bind(name(client))
            .push_bind(resource(number))
            .push_bind(SCOPES)
            .push("'measured'")
            .push(VERSION);
    });
    [clients, credentials, grants]
}
