//! A database that an earlier version made goes on, with all that is in it.

use std::collections::BTreeSet;

use auth_provider::{
    client::{ClientId, ClientStatus, CredentialKind, SecretHash},
    registry::{ClientFilter, GrantFilter},
    resource::{ResourceId, TokenFormat, TokenProfile},
    revocation::Revoked,
    storage::{self, DatabaseUrl, Store},
};
use m2m::verify::Algorithm;
use serde_json::json;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use crate::{store_contract::fresh_postgres_url, support::NOW};

/// As the version before administration left it. `BYTES` and `OTHER` stand for 32 bytes each in the database's own way.
const ROWS: &str = "
    INSERT INTO client (id, name, description, status, created_at)
    VALUES ('bot', 'The bot', 'asks', 'active', 1700000000), ('Off', 'Off', '', 'inactive', 1700000001);
    INSERT INTO credential (id, client_id, label, secret_hash, created_at, expires_at)
    VALUES ('c100000000000000000000', 'bot', 'clients.json', BYTES, 1700000000, NULL),
           ('c200000000000000000000', 'bot', 'other', OTHER, 1700000002, 1900000000);
    INSERT INTO resource (id, name, token_lifetime, signing_alg, owner, token_format)
    VALUES ('notes', 'Notes', 60, 'RS256', 'bot', 'opaque');
    INSERT INTO resource_scope (resource_id, name, description) VALUES ('notes', 'read', 'Read');
    INSERT INTO client_grant (client_id, resource_id, scopes, token_lifetime, expires_at, reason)
    VALUES ('bot', 'notes', 'read', 30, NULL, 'asked');
    INSERT INTO revocation (kind, client_id, revoked_at, expires_at)
    VALUES ('client', 'bot', 1700000003, 1900000000);
    INSERT INTO opaque_token (hash, client_id, resource_id, scopes, jti, issued_at, expires_at)
    VALUES (BYTES, 'bot', 'notes', 'read', 'c100000000000000000000.1', 1700000004, 1900000000)";

fn with_bytes(rows: &str, written: impl Fn(&str) -> String) -> String {
    let bytes = written(&"07".repeat(32));
    rows.replace("BYTES", &bytes)
        .replace("OTHER", &written(&"08".repeat(32)))
}

/// As the version before the dialects of other systems left it.
const ROWS_OF_FIVE: &str = r#"
    INSERT INTO client (id, name, description, status, metadata, created_at, updated_at, version)
    VALUES ('bot', 'The bot', 'asks', 'active', '{"team":"a \"b\" é"}', 1700000000, 1700000005, 'v1');
    INSERT INTO credential (id, client_id, label, secret_hash, last_four, created_at, expires_at, replaces)
    VALUES ('c100000000000000000000', 'bot', 'old', BYTES, 'abcd', 1700000000, NULL, NULL),
           ('c200000000000000000000', 'bot', 'new', OTHER, 'wxyz', 1700000002, 1900000000,
            'c100000000000000000000');
    INSERT INTO resource (id, name, token_lifetime, signing_alg, owner, token_format, version)
    VALUES ('notes', 'Notes', 60, 'RS256', 'bot', 'jwt', 'v2');
    INSERT INTO client_grant (client_id, resource_id, scopes, reason, version)
    VALUES ('bot', 'notes', '', 'asked', 'v3')"#;

fn steps(sql: &[&'static str]) -> Migrator {
    let names = [
        "registry",
        "key rotation",
        "revocation",
        "opaque token",
        "administration",
    ];
    let steps = (1..).zip(names).zip(sql).map(|((number, name), sql)| {
        let sql = sql.into_sql_str();
        Migration::new(number, name.into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(steps.collect())
}

macro_rules! old {
    ($database:literal) => {
        [
            include_str!(concat!(
                "../../migrations/",
                $database,
                "/0001_registry.sql"
            )),
            include_str!(concat!(
                "../../migrations/",
                $database,
                "/0002_key_rotation.sql"
            )),
            include_str!(concat!(
                "../../migrations/",
                $database,
                "/0003_revocation.sql"
            )),
            include_str!(concat!(
                "../../migrations/",
                $database,
                "/0004_opaque_token.sql"
            )),
            include_str!(concat!(
                "../../migrations/",
                $database,
                "/0005_administration.sql"
            )),
        ]
    };
}

/// Databases as a version of `steps` steps made them, with these rows. They are dropped with the folder.
async fn databases(steps_taken: usize, rows: &str) -> (TempDir, Vec<DatabaseUrl>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let mut sqlite = SqliteConnection::connect_with(&options).await.unwrap();
    let old = steps(&old!("sqlite")[..steps_taken]);
    old.run_direct(None, &mut sqlite, false).await.unwrap();
    let rows_of = AssertSqlSafe(with_bytes(rows, |bytes| format!("x'{bytes}'")));
    sqlite.execute(rows_of).await.unwrap();
    sqlite.close().await.unwrap();
    let mut databases = vec![DatabaseUrl::SqliteFile(file)];

    if let Some(url) = fresh_postgres_url().await {
        let mut postgres = PgConnection::connect(&url).await.unwrap();
        let old = steps(&old!("postgres")[..steps_taken]);
        old.run_direct(None, &mut postgres, false).await.unwrap();
        let rows_of = AssertSqlSafe(with_bytes(rows, |bytes| format!("'\\x{bytes}'")));
        postgres.execute(rows_of).await.unwrap();
        databases.push(url.parse().unwrap());
    }
    (folder, databases)
}

async fn assert_all_is_there(store: &dyn Store) {
    let bot = ClientId::parse("bot").unwrap();
    let clients = store
        .clients(&ClientFilter::default(), "", 10)
        .await
        .unwrap();
    let ids: Vec<_> = clients.iter().map(|client| client.id.as_str()).collect();
    assert_eq!(ids, ["Off", "bot"]);
    assert_eq!(clients[0].profile.status, ClientStatus::Inactive);
    let client = &clients[1];
    assert_eq!(
        (
            client.profile.name.as_str(),
            client.profile.description.as_str()
        ),
        ("The bot", "asks")
    );
    assert!(client.profile.metadata.is_empty());
    assert_eq!(
        (client.created_at, client.updated_at, client.last_used_at),
        (1_700_000_000, 1_700_000_000, None)
    );

    let credentials = store.credentials(&bot).await.unwrap();
    assert_eq!(credentials.longest_gap, 0);
    let [one, two] = &credentials.all[..] else {
        panic!("{credentials:?}")
    };
    assert_eq!(
        (one.id.as_str(), one.label.as_str(), one.last_four.as_str()),
        ("c100000000000000000000", "clients.json", "")
    );
    assert_eq!(
        (one.expires_at, &one.replaces, one.usage),
        (None, &None, None)
    );
    assert_eq!(
        (two.created_at, two.expires_at),
        (1_700_000_002, Some(1_900_000_000))
    );
    let secret = SecretHash::from_stored(&[7; 32]).unwrap();
    let record = store.client_record(&bot).await.unwrap().unwrap();
    assert!(record.accepts(&secret, NOW).is_some());

    let notes = ResourceId::parse("notes").unwrap();
    let resource = store.resource(&notes).await.unwrap().unwrap();
    let settings = resource.settings;
    assert_eq!(
        (settings.token_lifetime, settings.signing_alg),
        (60, Algorithm::RS256)
    );
    assert_eq!(
        (settings.owner, settings.token_format),
        (Some(bot.clone()), TokenFormat::Opaque)
    );
    assert_eq!(settings.scopes["read"], "Read");
    let grants = store
        .grants(&GrantFilter::default(), ("", ""), 10)
        .await
        .unwrap();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].terms.scopes.to_string(), "read");
    assert_eq!(
        (
            grants[0].terms.token_lifetime,
            grants[0].terms.reason.as_str()
        ),
        (Some(30), "asked")
    );
    let versions = [
        &clients[0].version,
        &clients[1].version,
        &resource.version,
        &grants[0].version,
    ];
    assert!(versions.iter().all(|version| version.as_str().len() == 32));
    let different: BTreeSet<&str> = versions.iter().map(|version| version.as_str()).collect();
    assert_eq!(different.len(), 4);

    let revoked = store.revocations_after(0).await.unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].revoked, Revoked::Client(bot));
    let token = store.opaque_token(&secret).await.unwrap().unwrap();
    assert_eq!(
        (token.jti.as_str(), token.exp),
        ("c100000000000000000000.1", 1_900_000_000)
    );
    assert_eq!(store.graph_version().await.unwrap(), 1);
}

#[actix_web::test]
async fn all_that_was_there_before_administration_goes_on() {
    let (_folder, databases) = databases(4, ROWS).await;
    for database in &databases {
        for _ in 0..2 {
            let store = storage::open(database).await.unwrap();
            assert_all_is_there(store.as_ref()).await;
        }
    }
}

#[actix_web::test]
async fn all_that_was_there_before_the_dialects_goes_on() {
    let (bot, notes) = (
        ClientId::parse("bot").unwrap(),
        ResourceId::parse("notes").unwrap(),
    );
    let (_folder, databases) = databases(5, ROWS_OF_FIVE).await;
    for database in databases.iter().chain(&databases) {
        let store = storage::open(database).await.unwrap();
        let client = store.client(&bot).await.unwrap().unwrap();
        assert_eq!(json!(client.profile.metadata), json!({"team": "a \"b\" é"}));
        assert_eq!((client.managed_by, client.version.as_str()), (None, "v1"));
        let resource = store.resource(&notes).await.unwrap().unwrap();
        assert_eq!(resource.settings.token_profile, TokenProfile::Standard);
        assert!(resource.settings.metadata_claims.is_empty());
        assert_eq!(resource.version.as_str(), "v2");

        let all = store.credentials(&bot).await.unwrap().all;
        assert!(all.iter().all(|one| one.kind == CredentialKind::Secret));
        assert_eq!((all.len(), all[1].replaces), (2, Some(all[0].id)));
        for (byte, credential) in [(7, &all[0]), (8, &all[1])] {
            let secret = SecretHash::from_stored(&[byte; 32]).unwrap();
            let record = store.client_record(&bot).await.unwrap().unwrap();
            assert_eq!(record.accepts(&secret, NOW).unwrap().id, credential.id);
            let bearer = store.bearer(&secret).await.unwrap().unwrap();
            assert_eq!(
                (bearer.client, bearer.credential),
                (bot.clone(), credential.id)
            );
        }
        let record = store.client_record(&bot).await.unwrap().unwrap();
        assert_eq!(record.grants[0].token_profile, TokenProfile::Standard);
        assert!(!record.grants[0].has_metadata_claims);
    }
}

/// As the version before a token could be revoked twice left it. The last rows are forgotten already.
const REVOCATIONS: &str = "
    INSERT INTO revocation (kind, jti, resource_id, revoked_at, expires_at)
    VALUES ('token', 'a.1', 'notes', 1700000000, 1900000000), ('token', 'a.2', 'notes', 1700000001, 1800000000),
           ('token', 'a.3', 'notes', 1700000002, 1700000003), ('token', 'a.4', 'notes', 1700000002, 1700000003);
    DELETE FROM revocation WHERE expires_at = 1700000003";

/// A follower says up to which number it knows: it would miss what came under a number that it has seen.
#[actix_web::test]
async fn the_numbers_of_revocations_go_on() {
    let notes = ResourceId::parse("notes").unwrap();
    let token = |jti: &str| Revoked::Token {
        jti: jti.to_owned(),
        resource: notes.clone(),
    };
    for (rows, left) in [
        (REVOCATIONS.to_owned(), &["a.1", "a.2"][..]),
        (format!("{REVOCATIONS}; DELETE FROM revocation"), &[]),
    ] {
        let (_folder, databases) = databases(5, &rows).await;
        for database in &databases {
            let store = storage::open(database).await.unwrap();
            let revoke = token("a.1").at(NOW);
            store.commit(&[revoke], &[]).await.unwrap();
            let kept = store.revocations_after(0).await.unwrap();
            let expected = (1..).zip(left.iter().copied()).chain([(5, "a.1")]);
            let expected: Vec<_> = expected.map(|(number, jti)| (number, token(jti))).collect();
            let found: Vec<_> = kept
                .iter()
                .map(|one| (one.number, one.revoked.clone()))
                .collect();
            assert_eq!(found, expected, "{database}");
            if let [first, ..] = &kept[..kept.len() - 1] {
                assert_eq!(
                    (first.revoked_at, first.expires_at),
                    (1_700_000_000, 1_900_000_000)
                );
            }
        }
    }
}
