//! What tests of all kinds need.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use aws_lc_rs::rand;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use token_vault::{
    connection::{Account, Application, ConnectionKey, Service, User},
    kek::{KeyRing, LocalKey},
    secret::{Token, Tokens},
};
use url::Url;

/// When the tests take place: 2026-01-01T00:00:00Z, in seconds.
pub(crate) const NOW: u64 = 1_767_225_600;

/// The same in milliseconds.
pub(crate) const NOW_MS: u64 = NOW * 1000;

pub(crate) fn key(user: &str, account: &str) -> ConnectionKey {
    ConnectionKey {
        application: Application::parse("bot").unwrap(),
        user: User::parse(user).unwrap(),
        service: Service::parse("github").unwrap(),
        account: Account::parse(account).unwrap(),
    }
}

pub(crate) fn token(text: &str) -> Token {
    Token::parse(text.into()).unwrap()
}

/// A pair of tokens, of which the access token ends then.
pub(crate) fn tokens(access: &str, refresh: &str, expires_at: u64) -> Tokens {
    Tokens {
        access: token(access),
        refresh: Some(token(refresh)),
        expires_at: Some(expires_at),
        refresh_expires_at: None,
        scopes: Vec::new(),
        metadata: serde_json::Map::new(),
    }
}

/// A key ring with a key of its own.
pub(crate) fn ring() -> KeyRing {
    let folder = tempfile::tempdir().unwrap();
    let key = LocalKey::create(&folder.path().join("key")).unwrap();
    KeyRing::new(Arc::new(key), Vec::new())
}

pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) >> 1
}

/// A database of its own, where there is a PostgreSQL.
pub(crate) async fn fresh_postgres() -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
        eprintln!("skipped: PostgreSQL (scripts/test starts one and sets TEST_POSTGRES_URL)");
        return None;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("vault_{}_{number}", std::process::id());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let statement = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    connection.execute(statement).await.unwrap();
    let mut url = Url::parse(&server).unwrap();
    url.set_path(&name);
    Some(url.into())
}
