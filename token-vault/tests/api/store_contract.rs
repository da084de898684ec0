//! What every store must do, asked of memory and SQLite always, of PostgreSQL where `TEST_POSTGRES_URL` names one, and of a Vault
//! server where `TEST_OPENBAO_URL` does.

use std::sync::Arc;

use futures_util::future::join_all;
use tempfile::TempDir;
use token_vault::{
    audit::{Action, Event, Filter},
    connection::{Application, Broken, ConnectionKey, Doubt, Service, User},
    envelope::{self, Envelope},
    kek::KekId,
    storage::{
        self, Claim, DatabaseUrl, Due, Glance, Listing, Seen, Settlement, Stored, Times, VaultStore,
    },
};

use crate::{
    memory_store::MemoryStore,
    openbao::fresh_openbao,
    support::{NOW_MS, fresh_postgres, key, random, ring, tokens},
};

/// A fresh store of each kind. The folder holds SQLite's file.
async fn stores() -> Vec<(Arc<dyn VaultStore>, Option<TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let file = DatabaseUrl::SqliteFile(folder.path().join("contract.db"));
    let mut stores: Vec<(Arc<dyn VaultStore>, _)> = vec![
        (Arc::new(MemoryStore::default()), None),
        (storage::open(&file).await.unwrap(), Some(folder)),
        (
            storage::open(&DatabaseUrl::SqliteMemory).await.unwrap(),
            None,
        ),
    ];
    if let Some(url) = fresh_postgres().await {
        stores.push((storage::open(&url.parse().unwrap()).await.unwrap(), None));
    }
    if let Some(openbao) = fresh_openbao().await {
        stores.push((Arc::new(openbao.store().await), None));
    }
    stores
}

fn sealed(text: &str) -> Envelope {
    Envelope {
        kek: KekId::new("kek"),
        data_key: text.into(),
        sealed: text.into(),
    }
}

const TIMES: Times = Times {
    expires_at: Some(NOW_MS + 600),
    refresh_from: Some(NOW_MS + 300),
};

async fn put(store: &dyn VaultStore, key: &ConnectionKey, text: &str) -> u64 {
    let event = Event::of("alice", Action::Stored, NOW_MS, key);
    let version = random();
    store
        .put(key, &sealed(text), TIMES, version, &event)
        .await
        .unwrap();
    version
}

async fn row(store: &dyn VaultStore, key: &ConnectionKey) -> Stored {
    store.connection(key).await.unwrap().unwrap()
}

async fn claim(
    store: &dyn VaultStore,
    seen: &Stored,
    now: u64,
    doubt: Option<Doubt>,
) -> Option<u64> {
    let claim = Claim {
        key: &seen.key,
        version: seen.version,
        fence: seen.fence,
        now,
        until: now + 100,
        spending: "fingerprint",
        doubt,
    };
    let event = Event::own(Action::RetriedAfterCrash, now, &seen.key);
    store.claim(&claim, &[event]).await.unwrap()
}

async fn settle(
    store: &dyn VaultStore,
    key: &ConnectionKey,
    seen: Seen,
    with: &Settlement,
) -> bool {
    let event = Event::own(Action::Refreshed, NOW_MS + 50, key);
    store
        .settle(key, seen, with, seen.version + 1, &event)
        .await
        .unwrap()
}

async fn events(store: &dyn VaultStore, filter: &Filter) -> Vec<Event> {
    let recorded = store.events(filter, u64::MAX, 100).await.unwrap();
    recorded
        .into_iter()
        .map(|recorded| recorded.event)
        .collect()
}

#[actix_web::test]
async fn what_was_put_is_there_and_the_last_one_counts() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let weird = key("../%2f '; -- é🦀\u{202e}", "..");
        assert!(store.connection(&weird).await.unwrap().is_none());
        put(store, &weird, "one").await;
        let version = put(store, &weird, "two").await;
        let found = row(store, &weird).await;
        assert_eq!(
            (found.version, found.envelope, found.times),
            (version, sealed("two"), TIMES)
        );
        assert_eq!(
            (found.broken, found.last_used, found.stored_at),
            (None, None, NOW_MS)
        );
        assert_eq!(events(store, &Filter::default()).await.len(), 2);
        assert!(store.connection(&key("..", "..")).await.unwrap().is_none());
    }
}

/// Many are looked at together, and each is what it would be alone, whatever number they are.
#[actix_web::test]
async fn a_look_at_many_finds_each() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let keys: Vec<_> = (0..150)
            .map(|n| key(&format!("user{n:03}"), "acme"))
            .collect();
        for key in keys.iter().step_by(3) {
            put(store, key, key.user.as_str()).await;
        }
        let seen = row(store, &keys[0]).await;
        claim(store, &seen, NOW_MS, None).await.unwrap();
        for many in [0, 1, 2, 3, 63, 64, 65, 150] {
            let found = store.glances(&keys[..many]).await.unwrap();
            assert_eq!(found.len(), many);
            for (place, (key, glance)) in keys.iter().zip(found).enumerate() {
                let alone = store.connection(key).await.unwrap().map(Glance::from);
                assert_eq!(
                    (glance.is_some(), &glance),
                    (place % 3 == 0, &alone),
                    "{place} of {many}"
                );
            }
        }
    }
}

/// The last use is noted once a minute, also for many at once, and not of who was forgotten.
#[actix_web::test]
async fn last_uses_are_noted_for_those_who_are_there() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let keys: Vec<_> = (0..70)
            .map(|n| key(&format!("user{n:02}"), "acme"))
            .collect();
        for key in &keys[1..] {
            put(store, key, "x").await;
        }
        let used = |at: u64, actor: &str| -> Vec<Event> {
            keys.iter()
                .map(|key| Event::of(actor, Action::Released, at, key))
                .collect()
        };
        for (at, actor) in [
            (NOW_MS, "one"),
            (NOW_MS + 59_999, "two"),
            (NOW_MS + 60_000, "three"),
        ] {
            let events = used(at, actor);
            store
                .add_events(&[], &events.iter().collect::<Vec<_>>())
                .await
                .unwrap();
            let expected = match actor {
                "three" => (NOW_MS + 60_000, "three".to_owned()),
                _ => (NOW_MS, "one".to_owned()),
            };
            for key in &keys[1..] {
                assert_eq!(
                    row(store, key).await.last_used,
                    Some(expected.clone()),
                    "{actor}"
                );
            }
        }
        // A use of the removed one that comes late brings nothing of it back, nor does a new connection inherit it.
        put(store, &keys[0], "x").await;
        assert_eq!(row(store, &keys[0]).await.last_used, None);
        let seen = row(store, &keys[1]).await;
        let event = Event::of("alice", Action::Forgotten, NOW_MS, &keys[1]);
        assert!(store.remove(&keys[1], seen.version, &event).await.unwrap());
        put(store, &keys[1], "y").await;
        assert_eq!(row(store, &keys[1]).await.last_used, None);
    }
}

#[actix_web::test]
async fn of_many_who_claim_at_once_one_gets_the_lease() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let key = key("alice", "acme");
        put(store, &key, "one").await;
        let seen = row(store, &key).await;
        let claims = join_all((0..20).map(|_| claim(store, &seen, NOW_MS, None))).await;
        assert_eq!(claims.iter().flatten().collect::<Vec<_>>(), [&1]);
        let now = row(store, &key).await;
        assert_eq!(
            (now.leased_until, now.spending.as_deref()),
            (Some(NOW_MS + 100), Some("fingerprint"))
        );
        assert_eq!(
            events(store, &Filter::default()).await.len(),
            2,
            "losers tell of nothing"
        );

        assert_eq!(
            claim(store, &now, NOW_MS + 99, None).await,
            None,
            "the lease goes on"
        );
        assert_eq!(
            claim(store, &seen, NOW_MS + 100, None).await,
            None,
            "the note was not seen"
        );
        let doubt = Some(Doubt::Crash);
        assert_eq!(claim(store, &now, NOW_MS + 100, doubt).await, Some(2));
        assert_eq!(row(store, &key).await.doubt, doubt);
    }
}

#[actix_web::test]
async fn who_lost_the_lease_or_the_row_writes_nothing() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let key = key("alice", "acme");
        let new = Settlement::Refreshed {
            envelope: sealed("new"),
            times: Times::default(),
        };
        let version = put(store, &key, "one").await;
        let first = row(store, &key).await;
        claim(store, &first, NOW_MS, None).await.unwrap();
        claim(store, &row(store, &key).await, NOW_MS + 100, None)
            .await
            .unwrap();
        assert!(
            !settle(store, &key, Seen { version, fence: 1 }, &new).await,
            "taken over"
        );
        assert_eq!(row(store, &key).await.envelope, sealed("one"));

        let later = put(store, &key, "two").await;
        let now = row(store, &key).await;
        assert_eq!((now.leased_until, now.spending, now.fence), (None, None, 2));
        assert!(
            !settle(store, &key, Seen { version, fence: 2 }, &new).await,
            "stored over"
        );
        assert_eq!(row(store, &key).await.envelope, sealed("two"));

        store
            .remove(&key, later, &Event::own(Action::Forgotten, 1, &key))
            .await
            .unwrap();
        assert!(
            !settle(
                store,
                &key,
                Seen {
                    version: later,
                    fence: 2
                },
                &new
            )
            .await,
            "removed"
        );
        assert!(store.connection(&key).await.unwrap().is_none());
    }
}

#[actix_web::test]
async fn an_attempt_ends_in_one_of_three_ways() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let key = key("alice", "acme");
        put(store, &key, "one").await;
        let seen = row(store, &key).await;
        claim(store, &seen, NOW_MS, None).await.unwrap();
        let failed = Settlement::Failed {
            doubt: Some(Doubt::LostAnswer),
            failures: 3,
            retry_from: NOW_MS + 7,
            kind: "timeout",
        };
        assert!(
            settle(
                store,
                &key,
                Seen {
                    version: seen.version,
                    fence: 1
                },
                &failed
            )
            .await
        );
        let now = row(store, &key).await;
        assert_eq!(
            (now.version, now.fence, &now.envelope),
            (seen.version, 1, &sealed("one"))
        );
        assert_eq!(
            (now.doubt, now.failures, now.retry_from),
            (Some(Doubt::LostAnswer), 3, Some(NOW_MS + 7))
        );
        assert_eq!(
            (
                now.leased_until,
                now.spending.clone(),
                now.last_failure.as_deref()
            ),
            (None, None, Some("timeout"))
        );

        claim(store, &now, NOW_MS, now.doubt).await.unwrap();
        let new = Settlement::Refreshed {
            envelope: sealed("new"),
            times: Times::default(),
        };
        let seen = Seen {
            version: now.version,
            fence: 2,
        };
        assert!(settle(store, &key, seen, &new).await);
        let now = row(store, &key).await;
        assert_eq!(
            (now.version, &now.envelope, now.times),
            (seen.version + 1, &sealed("new"), Times::default())
        );
        assert_eq!(
            (
                now.doubt,
                now.failures,
                now.retry_from,
                now.last_failure.as_deref()
            ),
            (None, 0, None, None)
        );
        assert_eq!(now.refreshed_at, Some(NOW_MS + 50));

        claim(store, &now, NOW_MS, None).await.unwrap();
        let seen = Seen {
            version: now.version,
            fence: 3,
        };
        assert!(settle(store, &key, seen, &Settlement::Broken(Broken::Refused)).await);
        let now = row(store, &key).await;
        assert_eq!(now.broken, Some((Broken::Refused, NOW_MS + 50)));
        assert_eq!(
            claim(store, &now, NOW_MS + 1000, None).await,
            None,
            "it is broken"
        );
        let attention = store.attention().await.unwrap();
        assert_eq!(
            (
                attention.len(),
                attention[0].connections,
                attention[0].since
            ),
            (1, 1, NOW_MS + 50)
        );
        put(store, &key, "again").await;
        assert_eq!(row(store, &key).await.broken, None);
        assert_eq!(store.attention().await.unwrap(), []);
    }
}

#[actix_web::test]
async fn tokens_that_are_suspected_are_refreshed_at_once() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let key = key("alice", "acme");
        put(store, &key, "one").await;
        store.suspect(&key, NOW_MS - 1, NOW_MS).await.unwrap();
        assert_eq!(row(store, &key).await.times, TIMES, "of other tokens");
        store.suspect(&key, NOW_MS, NOW_MS + 5).await.unwrap();
        let now = row(store, &key).await;
        assert_eq!(
            (now.times.refresh_from, now.doubt),
            (Some(NOW_MS + 5), Some(Doubt::Crash))
        );

        claim(store, &now, NOW_MS, None).await.unwrap();
        store.suspect(&key, NOW_MS, NOW_MS + 6).await.unwrap();
        let new = Settlement::Refreshed {
            envelope: sealed("new"),
            times: TIMES,
        };
        assert!(
            settle(
                store,
                &key,
                Seen {
                    version: now.version,
                    fence: 1
                },
                &new
            )
            .await
        );
        let now = row(store, &key).await;
        assert_eq!(
            (now.times.refresh_from, now.doubt),
            (Some(NOW_MS + 50), Some(Doubt::Crash))
        );

        claim(store, &now, NOW_MS, None).await.unwrap();
        assert!(
            settle(
                store,
                &key,
                Seen {
                    version: now.version,
                    fence: 2
                },
                &new
            )
            .await
        );
        let now = row(store, &key).await;
        assert_eq!((now.times, now.doubt), (TIMES, None), "suspected once");
    }
}

#[actix_web::test]
async fn lists_go_by_application_service_and_user_in_pages() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let other_service = ConnectionKey {
            service: Service::parse("slack").unwrap(),
            ..key("a", "1")
        };
        let stranger = ConnectionKey {
            application: Application::parse("other").unwrap(),
            ..key("a", "1")
        };
        for key in [
            &key("b", "1"),
            &key("a", "2"),
            &key("B", "1"),
            &key("a", "1"),
            &other_service,
            &stranger,
        ] {
            put(store, key, "x").await;
        }
        let (application, service) = (key("a", "1").application, key("a", "1").service);
        let list = |service, user, after, limit| {
            let wish = Listing {
                application: &application,
                service,
                user,
                after,
                limit,
            };
            async move {
                store
                    .connections(&wish)
                    .await
                    .unwrap()
                    .into_iter()
                    .map(|row| row.key)
                    .collect::<Vec<_>>()
            }
        };
        let all = list(Some(&service), None, None, 10).await;
        assert_eq!(
            all,
            [key("B", "1"), key("a", "1"), key("a", "2"), key("b", "1")]
        );
        let last = &all[1];
        let after = Some((
            last.user.clone(),
            last.service.clone(),
            last.account.clone(),
        ));
        assert_eq!(list(Some(&service), None, after, 1).await, [key("a", "2")]);
        let user = User::parse("a").unwrap();
        assert_eq!(
            list(None, Some(&user), None, 10).await,
            [key("a", "1"), key("a", "2"), other_service]
        );
        assert_eq!(list(Some(&service), Some(&user), None, 10).await.len(), 2);
    }
}

#[actix_web::test]
async fn a_connection_is_removed_as_it_was_seen_or_not_at_all() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let key = key("alice", "acme");
        let seen = put(store, &key, "one").await;
        let now = put(store, &key, "two").await;
        let event = Event::of("alice", Action::Forgotten, NOW_MS, &key);
        assert!(!store.remove(&key, seen, &event).await.unwrap());
        assert!(store.remove(&key, now, &event).await.unwrap());
        assert!(!store.remove(&key, now, &event).await.unwrap());
        let forgotten = Filter {
            action: Some(Action::Forgotten),
            ..Filter::default()
        };
        assert_eq!(events(store, &forgotten).await, [event]);
    }
}

#[actix_web::test]
async fn what_is_due_is_what_is_used_and_left_alone() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let (used, unused, leased) = (key("used", "1"), key("unused", "1"), key("leased", "1"));
        for key in [&used, &unused, &leased] {
            put(store, key, "x").await;
        }
        let release = |key| Event::of("alice", Action::Released, NOW_MS, key);
        let told = [release(&used), release(&leased)];
        store
            .add_events(&told, &[&told[0], &told[1]])
            .await
            .unwrap();
        claim(store, &row(store, &leased).await, NOW_MS, None)
            .await
            .unwrap();
        let due = |now, refresh_from| {
            let wish = Due {
                service: &used.service,
                now,
                refresh_from,
                used_since: NOW_MS - 1,
                limit: 10,
            };
            async move { store.due(wish).await.unwrap() }
        };
        assert_eq!(due(NOW_MS, NOW_MS + 299).await, []);
        assert_eq!(due(NOW_MS, NOW_MS + 300).await, std::slice::from_ref(&used));
        assert_eq!(
            due(NOW_MS + 100, NOW_MS + 300).await.len(),
            2,
            "the lease has ended"
        );

        assert_eq!(
            row(store, &used).await.last_used,
            Some((NOW_MS, "alice".to_owned()))
        );
        let soon = Event {
            at: NOW_MS + 59_999,
            ..release(&used)
        };
        store.add_events(&[], &[&soon]).await.unwrap();
        assert_eq!(
            row(store, &used).await.last_used.unwrap().0,
            NOW_MS,
            "once a minute"
        );
        let later = Event {
            at: NOW_MS + 60_000,
            ..release(&used)
        };
        store.add_events(&[], &[&later]).await.unwrap();
        assert_eq!(
            row(store, &used).await.last_used.unwrap().0,
            NOW_MS + 60_000
        );
    }
}

#[actix_web::test]
async fn very_many_events_keep_their_order_and_what_each_has_of_its_own() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let keys: Vec<_> = (0..40)
            .map(|n| key(&format!("user{n:02}"), "acme"))
            .collect();
        for key in &keys {
            put(store, key, "x").await;
        }
        // Long runs that have much in common, and now and then one that has not.
        let event = |n: usize| {
            let actor = if n.is_multiple_of(700) {
                "somebody"
            } else {
                "bot"
            };
            let event = Event::of(actor, Action::Released, NOW_MS + n as u64, &keys[n % 40]);
            match n % 900 {
                13 => Event::own(Action::Refreshed, event.at, &event.key),
                14 => event.because("a reason"),
                _ => event,
            }
        };
        let told: Vec<_> = (0..1600).map(event).collect();
        let uses: Vec<_> = told[..1500].iter().collect();
        store.add_events(&told, &[]).await.unwrap();
        store
            .add_events(&[], &uses[uses.len() - 40..])
            .await
            .unwrap();
        let all = Filter {
            from: Some(NOW_MS),
            ..Filter::default()
        };
        let mut found = store.events(&all, u64::MAX, 1600).await.unwrap();
        found.reverse();
        let found: Vec<_> = found.into_iter().map(|recorded| recorded.event).collect();
        assert!(found == told, "they differ");
        assert!(row(store, &keys[7]).await.last_used.is_some());
    }
}

#[actix_web::test]
async fn keys_are_rewrapped_one_by_one_and_only_as_they_were_seen() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let (ring, key) = (ring(), key("alice", "acme"));
        let old = envelope::seal(&ring, &tokens("a", "r", 1).to_bytes(), &key.identity())
            .await
            .unwrap();
        let event = Event::own(Action::Stored, 1, &key);
        store.put(&key, &old, TIMES, 1, &event).await.unwrap();
        assert_eq!(store.kek_ids().await.unwrap(), [ring.current().clone()]);
        assert_eq!(
            store
                .wrapped_by(ring.current(), None, 5)
                .await
                .unwrap()
                .len(),
            1
        );

        let new = Envelope {
            kek: KekId::new("next"),
            data_key: b"next".to_vec(),
            ..old.clone()
        };
        let never = Envelope {
            data_key: b"other".to_vec(),
            ..old.clone()
        };
        assert!(!store.rewrap(&key, &never, &new).await.unwrap());
        assert!(store.rewrap(&key, &old, &new).await.unwrap());
        assert!(!store.rewrap(&key, &old, &new).await.unwrap());
        assert_eq!(
            (
                row(store, &key).await.envelope,
                row(store, &key).await.version
            ),
            (new, 1)
        );
        assert_eq!(store.wrapped_by(ring.current(), None, 5).await.unwrap(), []);

        assert_eq!(store.own_key().await.unwrap(), None);
        assert!(store.set_own_key(None, &old).await.unwrap());
        assert!(
            !store.set_own_key(None, &never).await.unwrap(),
            "another replica was faster"
        );
        assert!(!store.set_own_key(Some(&never), &never).await.unwrap());
        assert!(store.set_own_key(Some(&old), &never).await.unwrap());
        assert_eq!(store.own_key().await.unwrap(), Some(never));
        assert_eq!(store.kek_ids().await.unwrap().len(), 2);
    }
}

#[actix_web::test]
async fn a_signed_request_is_taken_once() {
    for (store, _folder) in stores().await {
        let first = join_all((0..10).map(|_| store.remember(b"id", 100, 200))).await;
        assert_eq!(
            first
                .into_iter()
                .filter(|new| *new.as_ref().unwrap())
                .count(),
            1
        );
        assert!(!store.remember(b"id", 199, 300).await.unwrap());
        assert!(
            store.remember(b"id", 200, 300).await.unwrap(),
            "what has ended is refused for that"
        );
    }
}

#[actix_web::test]
async fn the_audit_log_is_filtered_paged_and_forgotten_from_its_old_end() {
    for (store, _folder) in stores().await {
        let (a, b) = (key("a", "1"), key("b", "1"));
        let event =
            |at, action, key: &ConnectionKey| Event::of("svc", action, at, key).because("why");
        let told = [
            event(10, Action::Stored, &a),
            event(20, Action::Released, &a),
            event(30, Action::Released, &b),
        ];
        store.add_events(&told, &[]).await.unwrap();
        let all = store.events(&Filter::default(), u64::MAX, 2).await.unwrap();
        assert_eq!(
            all.iter().map(|r| &r.event).collect::<Vec<_>>(),
            [&told[2], &told[1]]
        );
        let rest = store
            .events(&Filter::default(), all[1].number, 2)
            .await
            .unwrap();
        assert_eq!(
            rest.iter().map(|r| &r.event).collect::<Vec<_>>(),
            [&told[0]]
        );
        for (filter, expected) in [
            (
                Filter {
                    user: Some(a.user.clone()),
                    ..Filter::default()
                },
                2,
            ),
            (
                Filter {
                    action: Some(Action::Released),
                    ..Filter::default()
                },
                2,
            ),
            (
                Filter {
                    application: Some(a.application.clone()),
                    ..Filter::default()
                },
                3,
            ),
            (
                Filter {
                    application: Some(Application::parse("other").unwrap()),
                    ..Filter::default()
                },
                0,
            ),
            (
                Filter {
                    service: Some(Service::parse("slack").unwrap()),
                    ..Filter::default()
                },
                0,
            ),
            (
                Filter {
                    account: Some(b.account.clone()),
                    ..Filter::default()
                },
                3,
            ),
            (
                Filter {
                    from: Some(20),
                    to: Some(20),
                    ..Filter::default()
                },
                1,
            ),
        ] {
            assert_eq!(
                events(store.as_ref(), &filter).await.len(),
                expected,
                "{filter:?}"
            );
        }
        assert!(!store.forget(20, 0).await.unwrap());
        assert_eq!(events(store.as_ref(), &Filter::default()).await.len(), 2);
    }
}

/// With a database at hand, somebody might want to mend what it says.
#[actix_web::test]
async fn the_database_itself_refuses_to_change_an_event() {
    use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
    let change = "UPDATE audit_event SET actor = 'nobody'";
    let event = Event::own(Action::Stored, 1, &key("a", "1"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.db");
    let store = storage::open(&DatabaseUrl::SqliteFile(path.clone()))
        .await
        .unwrap();
    store
        .add_events(std::slice::from_ref(&event), &[])
        .await
        .unwrap();
    let mut database = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    assert!(database.execute(change).await.is_err());
    if let Some(url) = fresh_postgres().await {
        let store = storage::open(&url.parse().unwrap()).await.unwrap();
        store.add_events(&[event], &[]).await.unwrap();
        assert!(
            PgConnection::connect(&url)
                .await
                .unwrap()
                .execute(change)
                .await
                .is_err()
        );
    }
}
