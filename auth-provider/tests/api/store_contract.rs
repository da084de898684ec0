//! What every store must do, asked of SQLite always and of PostgreSQL where `TEST_POSTGRES_URL` names one.

use std::{
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use auth_provider::{
    audit::{Action, Event, Origin},
    client::{ClientId, ClientRecord, ClientStatus, CredentialId, Secret, SecretHash, random_id},
    keys::{KeyChange, KeyRecord, StoredKey},
    own_token::OwnToken,
    policy_file::Policy,
    registry::ClientFilter,
    registry::change::{Change, Committed, NewCredential},
    registry::policy::apply_at_start,
    resource::ResourceId,
    revocation::Revoked,
    storage::{self, DatabaseUrl, Store},
};
use m2m::verify::Algorithm;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};
use url::Url;

use crate::support::{NOW, POLICY};

/// A fresh store of each kind. The folder holds SQLite's file.
pub(crate) async fn stores() -> Vec<(Arc<dyn Store>, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let file = DatabaseUrl::SqliteFile(folder.path().join("contract.db"));
    let mut stores = vec![
        (storage::open(&file).await.unwrap(), Some(folder)),
        (
            storage::open(&DatabaseUrl::SqliteMemory).await.unwrap(),
            None,
        ),
    ];
    if let Some(url) = fresh_postgres().await {
        stores.push((storage::open(&url).await.unwrap(), None));
    }
    stores
}

async fn fresh_postgres() -> Option<DatabaseUrl> {
    Some(fresh_postgres_url().await?.parse().unwrap())
}

/// A database of its own, where there is a PostgreSQL.
pub(crate) async fn fresh_postgres_url() -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
        eprintln!("skipped: PostgreSQL (scripts/test starts one and sets TEST_POSTGRES_URL)");
        return None;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("contract_{}_{number}", std::process::id());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .unwrap();
    let mut url = Url::parse(&server).unwrap();
    url.set_path(&name);
    Some(url.into())
}

fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

#[actix_web::test]
async fn a_policy_is_applied_once() {
    let policy = Policy::parse(POLICY).unwrap();
    for (store, _folder) in stores().await {
        assert!(apply_at_start(store.as_ref(), &policy, NOW).await.unwrap() > 0);
        assert_eq!(
            apply_at_start(store.as_ref(), &policy, NOW + 1)
                .await
                .unwrap(),
            0
        );
        let bot = store.client_record(&id("bot")).await.unwrap().unwrap();
        assert_eq!(bot.status, ClientStatus::Active);
        let grants: Vec<_> = bot
            .grants
            .iter()
            .map(|g| {
                (
                    g.resource.as_str(),
                    g.scopes.to_string(),
                    g.token_lifetime,
                    g.expires_at,
                )
            })
            .collect();
        assert_eq!(
            grants,
            [
                ("calendar", "calendar.read".to_owned(), 300, None),
                ("notes", "note.read note.write".to_owned(), 3600, None)
            ]
        );
        let ending = store.client_record(&id("ending")).await.unwrap().unwrap();
        assert_eq!(ending.grants[0].expires_at, Some(NOW + 600));
        assert!(store.client_record(&id("unknown")).await.unwrap().is_none());
    }
}

#[actix_web::test]
async fn many_clients_are_read_in_one_step() {
    let client = |n| format!("[clients.c{n:03}]\n[[grants]]\nclient = 'c{n:03}'\nresource = 'b'\n");
    let mut policy = "[resources.a]\nowner = 'c000'\n[resources.b]\nowner = 'c000'\n".to_owned();
    policy.extend((0..150).map(client));
    policy += "[[grants]]\nclient = 'c007'\nresource = 'a'\n[clients.bare]\n";
    let policy = Policy::parse(&policy).unwrap();
    let clients: Vec<_> = (0..150).map(|n| id(&format!("c{n:03}"))).collect();
    let with_two = [Secret::generate(), Secret::generate()];
    for (store, _folder) in stores().await {
        assert_eq!(store.client_records(&[]).await.unwrap().len(), 0);
        apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
        for (label, secret) in ["one", "two"].into_iter().zip(&with_two) {
            let new = NewCredential::of(&clients[7], label, secret, NOW);
            let added = store
                .commit(&[Change::AddCredential(new)], &[])
                .await
                .unwrap();
            assert_eq!(added, Committed::Done);
        }
        for asked in [1, 2, 3, 63, 64, 65, 129, 150] {
            let mut found = store.client_records(&clients[..asked]).await.unwrap();
            found.sort_by(|a, b| a.id.cmp(&b.id));
            assert!(found.iter().map(|r| &r.id).eq(&clients[..asked]), "{asked}");
        }
        let [bare, unknown] = ["bare", "unknown"].map(id);
        let mixed = [&bare, &clients[0], &unknown, &clients[7]].map(ClientId::clone);
        let mut found = store.client_records(&mixed).await.unwrap();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let [bare, first, seventh] = &found[..] else {
            panic!("one is unknown: {found:?}");
        };
        let granted = |record: &ClientRecord| {
            let names = record.grants.iter().map(|g| g.resource.to_string());
            names.collect::<String>()
        };
        assert_eq!(bare.status, ClientStatus::Active);
        assert_eq!((bare.credentials.len(), bare.owns.len()), (0, 0));
        assert_eq!(
            (granted(bare), granted(first), granted(seventh)),
            (String::new(), "b".into(), "ab".into())
        );
        let owned: Vec<_> = first.owns.iter().map(ResourceId::as_str).collect();
        assert_eq!(owned, ["a", "b"]);
        assert_eq!(seventh.credentials.len(), 2);
        for secret in &with_two {
            assert!(seventh.accepts(&secret.hash(), NOW).is_some());
        }
    }
}

#[actix_web::test]
async fn a_changed_policy_changes_what_it_names_and_nothing_else() {
    let before = Policy::parse(POLICY).unwrap();
    let after =
        "[resources.calendar]\ntoken_lifetime = '1m'\nscopes = { 'calendar.read' = 'Read' }";
    let after = Policy::parse(after).unwrap();
    for (store, _folder) in stores().await {
        apply_at_start(store.as_ref(), &before, NOW).await.unwrap();
        let changed = apply_at_start(store.as_ref(), &after, NOW).await.unwrap();
        assert_eq!(
            changed, 1,
            "the resource, its lifetime and a scope's description"
        );
        let bot = store.client_record(&id("bot")).await.unwrap().unwrap();
        assert_eq!(bot.grants.len(), 2);
        assert_eq!(
            bot.grants[0].token_lifetime, 60,
            "a grant cannot outlast its resource's limit"
        );
    }
}

async fn revoke(store: &dyn Store, revoked: &Revoked, at: u64, until: u64) {
    let change = Change::Revoke {
        revoked: revoked.clone(),
        at,
        until,
    };
    assert_eq!(store.commit(&[change], &[]).await.unwrap(), Committed::Done);
}

fn key(algorithm: Algorithm, number: u64) -> StoredKey {
    StoredKey {
        record: KeyRecord {
            kid: format!("{}-{number}-{}", algorithm.name(), random_id()),
            algorithm,
            number,
            created_at: NOW,
            signs_from: NOW + 600,
            announce_time: 600,
            retire_time: 3600,
            compromised_at: None,
        },
        sealed_private: vec![0, 1, 255],
    }
}

#[actix_web::test]
async fn of_two_keys_with_one_number_one_is_kept() {
    for (store, _folder) in stores().await {
        assert_eq!(store.signing_keys().await.unwrap(), []);
        let (one, two) = ([key(Algorithm::ES256, 1)], [key(Algorithm::ES256, 1)]);
        let (a, b) = tokio::join!(
            store.change_keys(&one, &[], &[]),
            store.change_keys(&two, &[], &[])
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_ne!(a, b, "exactly one is kept");
        let kept = if a { one } else { two };
        assert_eq!(store.signing_keys().await.unwrap(), kept);

        let [first] = kept;
        let other = key(Algorithm::RS256, 1);
        assert!(store.change_keys(from_ref(&other), &[], &[]).await.unwrap());
        assert_eq!(
            store.signing_keys().await.unwrap(),
            [first, other],
            "each algorithm has its own"
        );
    }
}

#[actix_web::test]
async fn a_change_of_keys_is_made_as_a_whole_or_not_at_all() {
    for (store, _folder) in stores().await {
        let keys = [1, 2, 3].map(|number| key(Algorithm::ES256, number));
        assert!(store.change_keys(&keys, &[], &[]).await.unwrap());
        let kid = |number: usize| keys[number - 1].record.kid.clone();
        let delete = KeyChange::Delete { kid: kid(1) };
        let late = [key(Algorithm::ES256, 4), key(Algorithm::ES256, 3)];
        assert!(
            !store
                .change_keys(&late, from_ref(&delete), &[])
                .await
                .unwrap()
        );
        assert_eq!(store.signing_keys().await.unwrap(), keys);

        let changes = [
            delete,
            KeyChange::Compromise {
                kid: kid(2),
                at: NOW + 5,
            },
            KeyChange::SignFrom {
                kid: kid(3),
                at: NOW + 7,
            },
            KeyChange::Promise {
                announce_time: 500,
                retire_time: 7200,
            },
        ];
        assert!(store.change_keys(&[], &changes, &[]).await.unwrap());
        let again = [
            KeyChange::Compromise {
                kid: kid(2),
                at: NOW + 50,
            },
            KeyChange::SignFrom {
                kid: kid(3),
                at: NOW + 70,
            },
            KeyChange::Promise {
                announce_time: 1,
                retire_time: 1,
            },
        ];
        assert!(store.change_keys(&[], &again, &[]).await.unwrap());
        let [_, mut second, mut third] = keys;
        second.record.compromised_at = Some(NOW + 5);
        second.sealed_private.clear();
        second.record.retire_time = 7200;
        third.record.signs_from = NOW + 7;
        third.record.retire_time = 7200;
        assert_eq!(store.signing_keys().await.unwrap(), [second, third]);
    }
}

/// The first version kept one key, `active` for ever.
#[actix_web::test]
async fn the_key_of_the_first_version_goes_on() {
    const KEY: &str = "INSERT INTO signing_key (kid, alg, state, sealed_private, created_at)
        VALUES ('old', 'ES256', 'active', '', 1700000000)";
    let first = |sql: &'static str| {
        let (name, sql) = ("registry".into(), sql.into_sql_str());
        let step = Migration::new(1, name, MigrationType::Simple, sql, false);
        Migrator::with_migrations(vec![step])
    };
    let expected = StoredKey {
        record: KeyRecord {
            kid: "old".to_owned(),
            announce_time: 600,
            retire_time: 87_000,
            ..KeyRecord::first("old", Algorithm::ES256, 1_700_000_000)
        },
        sealed_private: vec![],
    };

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let mut sqlite = SqliteConnection::connect_with(&options).await.unwrap();
    let registry = first(include_str!("../../migrations/sqlite/0001_registry.sql"));
    registry.run_direct(None, &mut sqlite, false).await.unwrap();
    let key = AssertSqlSafe(KEY.replace("''", "x''"));
    sqlite.execute(key).await.unwrap();
    sqlite.close().await.unwrap();
    let store = storage::open(&DatabaseUrl::SqliteFile(file)).await.unwrap();
    assert_eq!(store.signing_keys().await.unwrap(), from_ref(&expected));

    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let mut postgres = PgConnection::connect(&url).await.unwrap();
    let registry = first(include_str!("../../migrations/postgres/0001_registry.sql"));
    registry
        .run_direct(None, &mut postgres, false)
        .await
        .unwrap();
    postgres.execute(KEY).await.unwrap();
    let store = storage::open(&url.parse().unwrap()).await.unwrap();
    assert_eq!(store.signing_keys().await.unwrap(), [expected]);
}

#[actix_web::test]
async fn the_algorithms_in_use_are_those_of_the_resources() {
    let policy = "[resources.a]\ntoken_lifetime = '2h'\n[resources.b]\n\
                  [resources.c]\nsigning_alg = 'RS256'\ntoken_lifetime = '5m'\n\
                  [clients.bot]\n[[grants]]\nclient = 'bot'\nresource = 'c'";
    for (store, _folder) in stores().await {
        let needs = store.signing_needs().await.unwrap();
        assert_eq!(needs, []);
        apply_at_start(store.as_ref(), &Policy::parse(policy).unwrap(), NOW)
            .await
            .unwrap();
        let needs = store.signing_needs().await.unwrap();
        let needs: Vec<_> = needs
            .iter()
            .map(|n| (n.algorithm, n.longest_token))
            .collect();
        assert_eq!(needs, [(Algorithm::ES256, 7200), (Algorithm::RS256, 300)]);
        let bot = store.client_record(&id("bot")).await.unwrap().unwrap();
        assert_eq!(bot.grants[0].signing_alg, Algorithm::RS256);

        let changed = policy.replace("RS256", "EdDSA");
        let changed = Policy::parse(&changed).unwrap();
        assert_eq!(
            apply_at_start(store.as_ref(), &changed, NOW).await.unwrap(),
            1
        );
        let bot = store.client_record(&id("bot")).await.unwrap().unwrap();
        assert_eq!(bot.grants[0].signing_alg, Algorithm::EdDSA);
    }
}

#[actix_web::test]
async fn writers_at_once_wait_for_each_other() {
    let policy = Policy::parse(POLICY).unwrap();
    for (store, _folder) in stores().await {
        let apply = || apply_at_start(store.as_ref(), &policy, NOW);
        let done = tokio::join!(apply(), apply(), apply(), apply(), apply(), apply());
        let changed = [done.0, done.1, done.2, done.3, done.4, done.5].map(Result::unwrap);
        assert_eq!(
            changed.iter().filter(|changed| **changed > 0).count(),
            1,
            "{changed:?}"
        );
        store.ping().await.unwrap();
    }
}

#[actix_web::test]
async fn revocations_are_numbered_and_kept_until_they_are_forgotten() {
    let (bot, notes) = (id("bot"), ResourceId::parse("notes").unwrap());
    let all = [
        Revoked::Token {
            jti: "a.1".into(),
            resource: notes.clone(),
        },
        Revoked::Client(bot.clone()),
        Revoked::Credential(CredentialId::generate()),
        Revoked::Grant(bot, notes),
        Revoked::Key("kid".into()),
    ];
    for (store, _folder) in stores().await {
        for (at, revoked) in (NOW..).zip(&all) {
            revoke(store.as_ref(), revoked, at, at + 100).await;
        }
        revoke(store.as_ref(), &all[0], NOW + 50, NOW + 500).await;

        let kept = store.revocations_after(0).await.unwrap();
        let what: Vec<_> = kept.iter().map(|entry| entry.revoked.clone()).collect();
        assert_eq!(what[..5], all);
        assert_eq!(what[5], all[0], "what two servers write is there twice");
        assert!(kept.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(
            (kept[1].revoked_at, kept[1].expires_at),
            (NOW + 1, NOW + 101)
        );
        assert_eq!(
            store.revocations_after(kept[1].number).await.unwrap(),
            kept[2..]
        );

        store.forget_revocations(NOW + 101).await.unwrap();
        assert_eq!(store.revocations_after(0).await.unwrap(), kept[2..]);
        store.forget_revocations(NOW + 1000).await.unwrap();
        revoke(store.as_ref(), &all[0], NOW, NOW + 1).await;
        let number = store.revocations_after(0).await.unwrap()[0].number;
        assert!(number > kept[5].number, "a number is never used twice");
    }
}

#[actix_web::test]
async fn numbers_become_visible_in_their_order() {
    for (store, _folder) in stores().await {
        let writers = (0..8).map(|writer| {
            let store = Arc::clone(&store);
            actix_web::rt::spawn(async move {
                for n in 0..10 {
                    let jti = format!("{writer}.{n}");
                    let resource = ResourceId::parse("notes").unwrap();
                    revoke(store.as_ref(), &Revoked::Token { jti, resource }, NOW, NOW).await;
                }
            })
        });
        let mut writers: Vec<_> = writers.collect();
        let (mut last, mut seen) = (0, 0);
        while seen < 80 {
            for entry in store.revocations_after(last).await.unwrap() {
                (last, seen) = (entry.number, seen + 1);
            }
            actix_web::rt::task::yield_now().await;
        }
        for writer in writers.drain(..) {
            writer.await.unwrap();
        }
        assert_eq!(
            store.revocations_after(0).await.unwrap().len(),
            seen,
            "none came late"
        );
    }
}

#[actix_web::test]
async fn a_registration_goes_with_its_client() {
    let policy = Policy::parse(POLICY).unwrap();
    for (store, _folder) in stores().await {
        apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
        let bot = id("bot");
        assert!(store.registration(&bot).await.unwrap().is_none());
        for token in ["first", "second"] {
            let token = SecretHash::of(token);
            let client = bot.clone();
            let register = [Change::Register { client, token }];
            let done = store.commit(&register, &[]).await.unwrap();
            assert_eq!(done, Committed::Done);
            let kept = store.registration(&bot).await.unwrap().unwrap();
            assert!(kept.matches(&token));
        }
        let expected = store.client(&bot).await.unwrap().unwrap().version;
        let id = bot.clone();
        let remove = [Change::RemoveClient { id, expected }];
        store.commit(&remove, &[]).await.unwrap();
        assert!(store.registration(&bot).await.unwrap().is_none());
    }
}

#[actix_web::test]
async fn opaque_tokens_are_kept_by_their_hash_and_forgotten_in_batches() {
    let credential = CredentialId::generate();
    let token = |n: u64| OwnToken {
        client_id: id("bot"),
        credential: Some(credential),
        aud: ResourceId::parse("notes").unwrap(),
        scopes: "note.read note.write".parse().unwrap(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + n,
        jti: format!("{}.{n}", credential.as_str()),
    };
    let hash = |n: u64| SecretHash::of(&n.to_string());
    for (store, _folder) in stores().await {
        for n in 1..=501 {
            store.add_opaque_token(&hash(n), &token(n)).await.unwrap();
        }
        assert_eq!(store.opaque_token(&hash(7)).await.unwrap(), Some(token(7)));
        assert_eq!(store.opaque_token(&hash(0)).await.unwrap(), None);
        assert!(
            store.add_opaque_token(&hash(7), &token(8)).await.is_err(),
            "a hash is not reused"
        );

        assert!(!store.forget_opaque_tokens(NOW + 1).await.unwrap());
        assert_eq!(store.opaque_token(&hash(1)).await.unwrap(), None);
        assert!(
            store.forget_opaque_tokens(NOW + 501).await.unwrap(),
            "there may be more"
        );
        assert!(!store.forget_opaque_tokens(NOW + 501).await.unwrap());
        assert_eq!(store.opaque_token(&hash(501)).await.unwrap(), None);
    }
}

#[actix_web::test]
async fn uses_are_summed_up_in_any_number_of_steps() {
    let policy = Policy::parse("[clients.a]\n[clients.b]\n").unwrap();
    let [a, b, gone] = ["a", "b", "gone"].map(id);
    for (store, _folder) in stores().await {
        apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
        let mut of_a = Vec::new();
        for label in ["one", "two"] {
            let new = NewCredential::of(&a, label, &Secret::generate(), NOW);
            of_a.push(new.id);
            let added = store.commit(&[Change::AddCredential(new)], &[]).await;
            assert_eq!(added.unwrap(), Committed::Done);
        }
        let removed = CredentialId::generate();
        let used = |client, credential, after: u64| {
            let mut event = Event::done(Action::TokenIssued, NOW + after, &Origin::server())
                .client(client)
                .credential(credential);
            event.ends_at = Some(NOW + after + 60);
            event
        };
        let mut no_use = used(&a, &of_a[0], 500);
        no_use.ends_at = None;
        for (events, gap) in [
            (vec![used(&a, &of_a[0], 10), used(&a, &of_a[1], 25)], 15),
            (vec![used(&a, &of_a[0], 65)], 55),
            (vec![used(&a, &of_a[1], 75), used(&a, &of_a[0], 70)], 55),
            (vec![used(&gone, &removed, 80), used(&b, &removed, 90)], 55),
            (vec![no_use], 55),
        ] {
            store.add_events(&events).await.unwrap();
            for _ in 0..2 {
                assert!(!store.sum_up_uses().await.unwrap());
                assert_eq!(store.credentials(&a).await.unwrap().longest_gap, gap);
            }
        }
        for (credential, expected) in of_a.iter().zip([(70, 3), (75, 2)]) {
            let all = store.credentials(&a).await.unwrap().all;
            let found = all.iter().find(|found| found.id == *credential).unwrap();
            let usage = found.usage.as_ref().unwrap();
            assert_eq!((usage.last_used_at - NOW, usage.count), expected);
            assert_eq!(usage.alive_until, usage.last_used_at + 60);
        }
        let b = store.client(&b).await.unwrap().unwrap();
        assert_eq!(b.last_used_at, Some(NOW + 90));
    }
}

#[actix_web::test]
async fn a_list_of_clients_begins_at_its_prefix_or_behind_the_last_page() {
    let policy = "[clients.a]\n[clients.ab]\n[clients.ab1]\n[clients.ab2]\n[clients.b]\n";
    let policy = Policy::parse(policy).unwrap();
    for (store, _folder) in stores().await {
        apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
        for (prefix, after, expected) in [
            ("ab", "", "ab ab1 ab2"),
            ("ab", "a", "ab ab1 ab2"),
            ("ab", "ab", "ab1 ab2"),
            ("ab", "ab1", "ab2"),
            ("ab", "b", ""),
            ("a", "", "a ab ab1 ab2 admin"),
        ] {
            let filter = ClientFilter {
                prefix: Some(prefix.to_owned()),
                ..ClientFilter::default()
            };
            let found = store.clients(&filter, after, 10).await.unwrap();
            let found: Vec<_> = found.iter().map(|client| client.id.as_str()).collect();
            assert_eq!(found.join(" "), expected, "{prefix} after {after}");
        }
    }
}
