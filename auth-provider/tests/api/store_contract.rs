//! What every store must do, asked of SQLite always and of PostgreSQL where `TEST_POSTGRES_URL` names one.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use auth_provider::{
    client::{ClientId, ClientStatus, CredentialId, Secret, SecretHash},
    keys::SigningKey,
    master_key::MasterKey,
    own_token::OwnToken,
    policy_file::Policy,
    resource::ResourceId,
    revocation::Revoked,
    storage::{self, DatabaseUrl, NewCredential, Store},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use url::Url;

use crate::support::{NOW, POLICY};

/// A fresh store of each kind. The folder holds SQLite's file.
async fn stores() -> Vec<(Arc<dyn Store>, Option<tempfile::TempDir>)> {
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
    Some(url.as_str().parse().unwrap())
}

fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

fn credential<'a>(client: &'a ClientId, label: &'a str, secret: &Secret) -> NewCredential<'a> {
    let id = CredentialId::generate();
    NewCredential {
        id,
        client,
        label,
        secret: secret.hash(),
        created_at: NOW,
    }
}

#[actix_web::test]
async fn a_policy_is_applied_once() {
    let policy = Policy::parse(POLICY).unwrap();
    for (store, _folder) in stores().await {
        assert!(store.apply_policy(&policy, NOW).await.unwrap() > 0);
        assert_eq!(store.apply_policy(&policy, NOW + 1).await.unwrap(), 0);
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
async fn a_changed_policy_changes_what_it_names_and_nothing_else() {
    let before = Policy::parse(POLICY).unwrap();
    let after =
        "[resources.calendar]\ntoken_lifetime = '1m'\nscopes = { 'calendar.read' = 'Read' }";
    let after = Policy::parse(after).unwrap();
    for (store, _folder) in stores().await {
        store.apply_policy(&before, NOW).await.unwrap();
        let changed = store.apply_policy(&after, NOW).await.unwrap();
        assert_eq!(
            changed, 2,
            "the resource's lifetime and the scope's description"
        );
        let bot = store.client_record(&id("bot")).await.unwrap().unwrap();
        assert_eq!(bot.grants.len(), 2);
        assert_eq!(
            bot.grants[0].token_lifetime, 60,
            "a grant cannot outlast its resource's limit"
        );
    }
}

#[actix_web::test]
async fn a_credential_takes_the_place_of_the_one_with_its_label() {
    let policy = Policy::parse(POLICY).unwrap();
    for (store, _folder) in stores().await {
        store.apply_policy(&policy, NOW).await.unwrap();
        let (bot, first, second, other) = (
            id("bot"),
            Secret::generate(),
            Secret::generate(),
            Secret::generate(),
        );
        store
            .put_credential(&credential(&bot, "file", &first))
            .await
            .unwrap();
        store
            .put_credential(&credential(&bot, "other", &other))
            .await
            .unwrap();
        store
            .put_credential(&credential(&bot, "file", &second))
            .await
            .unwrap();
        let record = store.client_record(&bot).await.unwrap().unwrap();
        assert_eq!(record.credentials.len(), 2);
        assert!(record.accepts(&first.hash(), NOW).is_none());
        assert!(record.accepts(&second.hash(), NOW).is_some());
        assert!(record.accepts(&other.hash(), NOW).is_some());
        let stranger = id("unknown");
        assert!(
            store
                .put_credential(&credential(&stranger, "file", &first))
                .await
                .is_err()
        );
    }
}

#[actix_web::test]
async fn of_two_first_keys_one_is_kept() {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
    let master = MasterKey::from_config(&key.into()).unwrap();
    for (store, _folder) in stores().await {
        assert_eq!(store.active_key().await.unwrap(), None);
        let (_, one) = SigningKey::generate(&master, NOW);
        let (_, two) = SigningKey::generate(&master, NOW);
        let (a, b) = tokio::join!(store.add_first_key(&one), store.add_first_key(&two));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_ne!(a, b, "exactly one is kept");
        assert_eq!(
            store.active_key().await.unwrap(),
            Some(if a { one } else { two })
        );
    }
}

#[actix_web::test]
async fn writers_at_once_wait_for_each_other() {
    let policy = Policy::parse(POLICY).unwrap();
    for (store, _folder) in stores().await {
        let apply = || store.apply_policy(&policy, NOW);
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
    ];
    for (store, _folder) in stores().await {
        for (at, revoked) in (NOW..).zip(&all) {
            store.add_revocation(revoked, at, at + 100).await.unwrap();
        }
        store
            .add_revocation(&all[0], NOW + 50, NOW + 500)
            .await
            .unwrap();

        let kept = store.revocations_after(0).await.unwrap();
        let what: Vec<_> = kept.iter().map(|entry| entry.revoked.clone()).collect();
        assert_eq!(
            what, all,
            "a token that was revoked before is not added again"
        );
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
        store.add_revocation(&all[0], NOW, NOW + 1).await.unwrap();
        let number = store.revocations_after(0).await.unwrap()[0].number;
        assert!(number > kept[3].number, "a number is never used twice");
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
                    store
                        .add_revocation(&Revoked::Token { jti, resource }, NOW, NOW)
                        .await
                        .unwrap();
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
async fn opaque_tokens_are_kept_by_their_hash_and_forgotten_in_batches() {
    let credential = CredentialId::generate();
    let token = |n: u64| OwnToken {
        client_id: id("bot"),
        credential: credential.clone(),
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
