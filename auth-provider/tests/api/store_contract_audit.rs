//! What every store must do with the audit log, and with what follows from it about the uses of credentials.

use std::{collections::BTreeMap, slice::from_ref};

use auth_provider::{
    audit::{Action, Event, Filter, Origin, Outcome},
    client::{ClientId, ClientStatus, Secret},
    registry::{
        Profile, Usage, Version,
        change::{Change, Committed, NewCredential},
    },
    resource::ResourceId,
    storage::{self, DatabaseUrl, Store},
};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    store_contract::{fresh_postgres_url, stores},
    support::NOW,
};

pub(crate) fn client(id: &str) -> ClientId {
    ClientId::parse(id).unwrap()
}

/// A client with two credentials.
pub(crate) async fn make(store: &dyn Store, id: &str, at: u64) -> [NewCredential; 2] {
    let credential = || NewCredential::of(&client(id), "", &Secret::generate(), at);
    let both = [credential(), credential()];
    let profile = Profile {
        name: id.to_owned(),
        description: String::new(),
        status: ClientStatus::Active,
        metadata: BTreeMap::new(),
    };
    let version = Version::from_text("1");
    let mut changes = vec![Change::AddClient {
        id: client(id),
        profile,
        managed_by: None,
        version,
        at,
    }];
    changes.extend(both.iter().cloned().map(Change::AddCredential));
    assert_eq!(store.commit(&changes, &[]).await.unwrap(), Committed::Done);
    both
}

/// A token that was issued at the second `at` and lives for a minute.
pub(crate) fn used(credential: &NewCredential, at: u64) -> Event {
    let mut event = Event::done(Action::TokenIssued, at, &Origin::server())
        .client(&credential.client)
        .credential(&credential.id);
    event.ends_at = Some(at + 60);
    event
}

fn usage(count: u64, last_used_at: u64, alive_until: u64) -> Usage {
    Usage {
        last_used_at,
        count,
        alive_until,
    }
}

pub(crate) async fn sum_up(store: &dyn Store) {
    while store.sum_up_uses().await.unwrap() {}
}

/// The longest gap, and what is known of the uses of each credential in this order.
async fn known(store: &dyn Store, credentials: &[NewCredential]) -> (u64, Vec<Option<Usage>>) {
    let all = store.credentials(&credentials[0].client).await.unwrap();
    let of = |new: &NewCredential| all.all.iter().find(|one| one.id == new.id).unwrap().usage;
    (all.longest_gap, credentials.iter().map(of).collect())
}

#[actix_web::test]
async fn uses_are_summed_up_the_same_in_one_step_or_in_many() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let at_once = make(store, "at-once", NOW).await;
        let bit_by_bit = make(store, "bit-by-bit", NOW).await;
        let times = [
            (0, 10),
            (0, 30),
            (1, 31),
            (1, 131),
            (0, 132),
            (1, 132),
            (0, 100),
        ];
        let of = |both: &[NewCredential; 2]| {
            times
                .map(|(which, after)| used(&both[which], NOW + after))
                .to_vec()
        };
        let refused = Event::refused(Action::TokenRefused, NOW + 900, &Origin::server(), "x", "y");
        let refused = refused
            .client(&client("at-once"))
            .credential(&at_once[0].id);
        let mut events = of(&at_once);
        events.push(refused);
        store.add_events(&events).await.unwrap();
        sum_up(store).await;
        for event in of(&bit_by_bit) {
            store.add_events(&[event]).await.unwrap();
            sum_up(store).await;
            sum_up(store).await;
        }
        for both in [&at_once, &bit_by_bit] {
            let uses = vec![
                Some(usage(4, NOW + 132, NOW + 192)),
                Some(usage(3, NOW + 132, NOW + 192)),
            ];
            assert_eq!(known(store, both).await.1, uses);
            let client = store.client(&both[0].client).await.unwrap().unwrap();
            assert_eq!(client.last_used_at, Some(NOW + 132));
        }
        // In order of time, the late one shortens the first credential's gap; it is known only when it comes.
        assert_eq!(known(store, &at_once).await.0, 100);
        assert_eq!(known(store, &bit_by_bit).await.0, 102);
    }
}

#[actix_web::test]
async fn what_is_removed_has_no_uses_any_more() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let both = make(store, "a", NOW).await;
        let late = |at| [used(&both[0], at), used(&both[1], at)];
        store.add_events(&late(NOW + 1)).await.unwrap();
        sum_up(store).await;
        let remove = Change::RemoveCredential {
            client: client("a"),
            id: both[0].id,
        };
        store.commit(&[remove], &[]).await.unwrap();
        store.add_events(&late(NOW + 2)).await.unwrap();
        sum_up(store).await;
        assert_eq!(
            known(store, &both[1..]).await.1,
            [Some(usage(2, NOW + 2, NOW + 62))]
        );

        store.add_events(&late(NOW + 3)).await.unwrap();
        let (id, expected) = (client("a"), Version::from_text("1"));
        store
            .commit(&[Change::RemoveClient { id, expected }], &[])
            .await
            .unwrap();
        let again = make(store, "a", NOW + 4).await;
        sum_up(store).await;
        assert_eq!(known(store, &again).await, (0, vec![None, None]));
        let a = store.client(&client("a")).await.unwrap().unwrap();
        assert_eq!(a.last_used_at, None, "that was another one of this id");
    }
}

#[actix_web::test]
async fn many_events_are_summed_up_in_steps() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let both = make(store, "a", NOW).await;
        let events: Vec<_> = (0..5000).map(|n| used(&both[0], NOW + n / 1000)).collect();
        store.add_events(&events).await.unwrap();
        assert!(store.sum_up_uses().await.unwrap(), "there is more");
        assert!(!store.sum_up_uses().await.unwrap());
        let uses = known(store, &both).await;
        assert_eq!(uses, (1, vec![Some(usage(5000, NOW + 4, NOW + 64)), None]));
        // Who sums up at once counts nothing twice.
        store
            .add_events(&[used(&both[1], NOW + 300)])
            .await
            .unwrap();
        let (a, b, c) = tokio::join!(
            store.sum_up_uses(),
            store.sum_up_uses(),
            store.sum_up_uses()
        );
        for outcome in [a, b, c] {
            outcome.unwrap();
        }
        assert_eq!(
            known(store, &both).await.1[1],
            Some(usage(1, NOW + 300, NOW + 360))
        );
    }
}

#[actix_web::test]
async fn only_what_is_summed_up_is_forgotten() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let both = make(store, "a", NOW).await;
        let events: Vec<_> = (0..501).map(|n| used(&both[0], NOW + n)).collect();
        for few in events.chunks(15) {
            store.add_events(few).await.unwrap();
        }
        assert!(!store.forget_events(NOW + 10_000).await.unwrap());
        let numbers = async || {
            let all = store
                .events(&Filter::default(), u64::MAX, 1000)
                .await
                .unwrap();
            all.iter()
                .map(|recorded| recorded.number)
                .collect::<Vec<_>>()
        };
        let before = numbers().await;
        assert_eq!(before.len(), 501);
        sum_up(store).await;
        assert!(!store.forget_events(NOW).await.unwrap());
        assert!(!store.forget_events(NOW + 1).await.unwrap());
        assert_eq!(numbers().await, before[..500]);
        assert!(
            store.forget_events(NOW + 10_000).await.unwrap(),
            "there may be more"
        );
        assert!(!store.forget_events(NOW + 10_000).await.unwrap());
        assert!(numbers().await.is_empty());
        sum_up(store).await;

        store
            .add_events(&[used(&both[0], NOW + 501)])
            .await
            .unwrap();
        assert!(
            numbers().await[0] > before[0],
            "a number is never used twice"
        );
        sum_up(store).await;
        let uses = known(store, &both).await;
        assert_eq!(
            uses,
            (1, vec![Some(usage(502, NOW + 501, NOW + 561)), None])
        );
    }
}

#[actix_web::test]
async fn events_are_kept_whole_and_found_by_each_of_their_marks() {
    let notes = ResourceId::parse("https://notes.example/?x").unwrap();
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let [one, _] = make(store, "a", NOW).await;
        let origin = Origin::of(Some(client("admin")), Some("2001:db8::1".parse().unwrap()));
        let mut full = used(&one, NOW + 5)
            .resource(&notes)
            .explained("é \"quoted\" ' ; --");
        full.actor.clone_from(&origin.actor);
        full.address = origin.address;
        full.jti = Some("j.1".to_owned());
        let request_id = full.request_id.clone().unwrap();
        let refused = Event::refused(Action::AdminRefused, NOW + 6, &origin, "no_token", "why");
        let bare = Event {
            actor: None,
            request_id: None,
            ..Event::done(Action::KeyRotated, NOW + 7, &Origin::server())
        };
        let all = [full, refused, bare];
        store.add_events(&all).await.unwrap();
        let find = async |filter: Filter| {
            let found = store.events(&filter, u64::MAX, 10).await.unwrap();
            let at = |event: &Event| {
                all.iter()
                    .position(|one| one == event)
                    .expect("it is whole")
            };
            found
                .iter()
                .map(|recorded| at(&recorded.event))
                .collect::<Vec<_>>()
        };
        let any = Filter::default;
        for (filter, expected) in [
            (any(), &[2, 1, 0][..]),
            (
                Filter {
                    client: Some(client("a")),
                    ..any()
                },
                &[0],
            ),
            (
                Filter {
                    client: Some(client("admin")),
                    ..any()
                },
                &[],
            ),
            (
                Filter {
                    resource: Some(notes.clone()),
                    ..any()
                },
                &[0],
            ),
            (
                Filter {
                    action: Some(Action::KeyRotated),
                    ..any()
                },
                &[2],
            ),
            (
                Filter {
                    outcome: Some(Outcome::Refused),
                    ..any()
                },
                &[1],
            ),
            (
                Filter {
                    request_id: Some(request_id),
                    ..any()
                },
                &[0],
            ),
            (
                Filter {
                    since: Some(NOW + 6),
                    ..any()
                },
                &[2, 1],
            ),
            (
                Filter {
                    until: Some(NOW + 6),
                    ..any()
                },
                &[1, 0],
            ),
            (
                Filter {
                    since: Some(NOW + 6),
                    until: Some(NOW + 6),
                    ..any()
                },
                &[1],
            ),
            (
                Filter {
                    client: Some(client("a")),
                    outcome: Some(Outcome::Refused),
                    ..any()
                },
                &[],
            ),
        ] {
            assert_eq!(find(filter.clone()).await, expected, "{filter:?}");
        }
        let newest = store.events(&any(), u64::MAX, 1).await.unwrap();
        let rest = store.events(&any(), newest[0].number, 10).await.unwrap();
        assert_eq!(rest.len(), 2);
        assert!(rest[0].number > rest[1].number);
        assert_eq!(store.events(&any(), rest[1].number, 10).await.unwrap(), []);
    }
}

#[actix_web::test]
async fn the_events_of_a_client_are_found_wherever_they_stand_in_a_long_log() {
    const LONG: u64 = 20_000;
    let event =
        |id: &str, at| Event::done(Action::TokenIssued, at, &Origin::server()).client(&client(id));
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let rare = |n: u64| [3, 4_095, 4_096, 4_097, 12_288, 19_999].contains(&n);
        let events = (0..LONG).map(|n| event(if rare(n) { "rare" } else { "busy" }, NOW + n));
        let events: Vec<_> = events.collect();
        for few in events.chunks(15) {
            store.add_events(few).await.unwrap();
        }
        let listed = async |id: &str, before, limit| {
            let filter = Filter {
                client: Some(client(id)),
                ..Filter::default()
            };
            let found = store.events(&filter, before, limit).await.unwrap();
            let times = found.iter().map(|recorded| recorded.event.at - NOW);
            let last = found.last().map(|recorded| recorded.number);
            (times.collect::<Vec<_>>(), last)
        };
        let (all, _) = listed("rare", u64::MAX, 100).await;
        assert_eq!(all, [19_999, 12_288, 4_097, 4_096, 4_095, 3]);
        let (mut paged, mut before) = (vec![], u64::MAX);
        while let (page, Some(last)) = listed("rare", before, 2).await {
            assert_eq!(page.len(), 2);
            paged.extend(page);
            before = last;
        }
        assert_eq!(paged, all);
        let (busy, _) = listed("busy", u64::MAX, 9_000).await;
        let expected = (0..LONG).rev().filter(|n| !rare(*n)).take(9_000);
        assert!(busy.into_iter().eq(expected));
        assert_eq!(listed("nobody", u64::MAX, 10).await, (vec![], None));
        assert_eq!(listed("rare", 0, 10).await, (vec![], None));
    }
}

/// Not even who reaches the database can change what was written without leaving the server's path.
#[actix_web::test]
async fn the_database_refuses_to_change_an_event() {
    const CHANGES: [&str; 2] = [
        "UPDATE audit_event SET outcome = 'success'",
        "UPDATE audit_pack SET events = '[]'",
    ];
    let event = Event::refused(Action::TokenRefused, NOW, &Origin::server(), "x", "y");
    let many = vec![event.clone(); 20];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.db");
    let store = storage::open(&DatabaseUrl::SqliteFile(file.clone()))
        .await
        .unwrap();
    store.add_events(from_ref(&event)).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&file);
    let mut sqlite = SqliteConnection::connect_with(&options).await.unwrap();
    store.add_events(&many).await.unwrap();
    for change in CHANGES {
        let refused = sqlite.execute(change).await.unwrap_err().to_string();
        assert!(refused.contains("never changed"), "{refused}");
    }

    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let store = storage::open(&url.parse().unwrap()).await.unwrap();
    store.add_events(&[event]).await.unwrap();
    store.add_events(&many).await.unwrap();
    let mut postgres = PgConnection::connect(&url).await.unwrap();
    for change in CHANGES {
        let refused = postgres.execute(change).await.unwrap_err().to_string();
        assert!(refused.contains("never changed"), "{refused}");
    }
}
