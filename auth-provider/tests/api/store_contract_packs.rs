//! What every store must do with events that are written together, of which it makes one row: nothing else than with any.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use auth_provider::{
    audit::{Action, Event, Filter, Origin, Outcome, Recorded},
    client::{ClientId, CredentialId},
    registry::{
        Usage, Version,
        change::{Change, NewCredential},
    },
    resource::ResourceId,
    storage::{self, DatabaseUrl, Store},
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use sqlx::{Connection, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    store_contract::{fresh_postgres_url, stores},
    store_contract_audit::{client, make, sum_up, used},
    support::NOW,
};

const ACTIONS: [Action; 4] = [
    Action::TokenIssued,
    Action::TokenRefused,
    Action::CredentialUsed,
    Action::KeyRotated,
];

fn resource(id: &str) -> ResourceId {
    ResourceId::parse(id).unwrap()
}

fn resources() -> impl Strategy<Value = ResourceId> {
    "[rs]".prop_map(|id| resource(&id))
}

fn clients() -> impl Strategy<Value = ClientId> {
    // One of them comes seldom. A resource has a client's name.
    "[a-d]|r|[e-f][a-z]".prop_map(|id| client(&id))
}

prop_compose! {
    fn events()(
        client in option::of(clients()),
        resource in option::of(resources()),
        action in select(&ACTIONS[..]),
        success: bool,
        request_id in option::of("q[0-9]"),
        after in 0..60_u64,
    ) -> Event {
        Event {
            client,
            resource,
            outcome: if success { Outcome::Success } else { Outcome::Refused },
            request_id,
            ..Event::without_request(action, NOW + after, &Origin::server())
        }
    }
}

/// What is written in one step: few events or many.
fn writes() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let write = prop_oneof![
        3 => vec(events(), 1..16),
        3 => vec(events(), 16..60),
        1 => vec(events(), 500..1100),
    ];
    vec(write, 1..12)
}

prop_compose! {
    fn filters()(
        client in option::weighted(0.4, clients()),
        resource in option::weighted(0.3, resources()),
        action in option::weighted(0.3, select(&ACTIONS[..])),
        outcome in option::weighted(0.2, select(&[Outcome::Success, Outcome::Refused][..])),
        request_id in option::weighted(0.2, "q[0-9x]"),
        since in option::weighted(0.2, NOW..NOW + 70),
        until in option::weighted(0.2, NOW..NOW + 70),
    ) -> Filter {
        Filter { client, resource, action, outcome, request_id, since, until }
    }
}

/// The list, as somebody would make it who has the whole log in memory.
fn listed(log: &[Event], filter: &Filter, before: u64, limit: usize) -> Vec<Recorded> {
    let last = log.len() as u64;
    let numbered = (1..=last).rev().zip(log.iter().rev());
    let fitting = numbered.filter(|(number, event)| *number < before && filter.takes(event));
    let recorded = |(number, event): (u64, &Event)| Recorded {
        number,
        event: event.clone(),
    };
    fitting.take(limit).map(recorded).collect()
}

#[actix_web::test]
async fn the_log_is_the_same_however_it_was_written() {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..6 {
        let mut any_of = || writes().new_tree(&mut runner).unwrap().current();
        let writes = any_of();
        let log = writes.concat();
        for (store, _folder) in stores().await {
            for write in &writes {
                store.add_events(write).await.unwrap();
            }
            for _ in 0..60 {
                let asked = (filters(), 0..1200_usize, 1..80_usize);
                let (filter, back, limit) = asked.new_tree(&mut runner).unwrap().current();
                let mut before = match log.len().checked_sub(back) {
                    Some(before) if back > 0 => before as u64,
                    _ => u64::MAX,
                };
                // Two pages, each going on where the one before it ended.
                for _ in 0..2 {
                    let found = store.events(&filter, before, limit).await.unwrap();
                    let expected = listed(&log, &filter, before, limit);
                    assert_eq!(
                        found, expected,
                        "{filter:?} before {before}, {limit} of them"
                    );
                    before = found.last().map_or(0, |last| last.number);
                }
            }
        }
    }
}

#[actix_web::test]
async fn numbers_follow_each_other_from_the_first_on_and_are_never_given_twice() {
    let events = |count: u64| {
        let event = |n| Event::done(Action::TokenIssued, NOW + n, &Origin::server());
        (0..count).map(event).collect::<Vec<_>>()
    };
    for (store, _folder) in stores().await {
        let last = async || {
            let found = store.events(&Filter::default(), u64::MAX, 1).await.unwrap();
            found.first().map(|recorded| recorded.number)
        };
        let mut expected = 0;
        for count in [16, 1, 1000, 15, 600, 2] {
            store.add_events(&events(count)).await.unwrap();
            expected += count;
            assert_eq!(last().await, Some(expected));
        }
        sum_up(store.as_ref()).await;
        while store.forget_events(NOW + 10_000).await.unwrap() {}
        assert_eq!(last().await, None);
        for count in [20, 1] {
            store.add_events(&events(count)).await.unwrap();
            expected += count;
            assert_eq!(last().await, Some(expected));
        }
        // A change that is not made leaves none of its events.
        let id = client("nobody");
        let expects = Version::from_text("1");
        let remove = Change::RemoveClient {
            id,
            expected: expects,
        };
        store.commit(&[remove], &events(20)).await.unwrap();
        assert_eq!(last().await, Some(expected));
        store.commit(&[], &events(20)).await.unwrap();
        assert!(last().await.unwrap() >= expected + 20);
    }
}

#[actix_web::test]
async fn a_pack_is_forgotten_when_all_of_it_is_old_and_summed_up() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let [one, _] = make(store, "a", NOW).await;
        let many = |first: u64| {
            let event = |n| used(&one, NOW + first + n);
            (0..100).map(event).collect::<Vec<_>>()
        };
        for first in [0, 50, 200] {
            store.add_events(&many(first)).await.unwrap();
        }
        let left = async |time: u64| {
            while store.forget_events(NOW + time).await.unwrap() {}
            let all = store.events(&Filter::default(), u64::MAX, 1000).await;
            let at = |recorded: &Recorded| recorded.event.at - NOW;
            let times: Vec<_> = all.unwrap().iter().rev().map(at).collect();
            (times.len(), times.first().copied())
        };
        assert_eq!(left(1000).await, (300, Some(0)), "it is not summed up");
        sum_up(store).await;
        assert_eq!(left(99).await, (300, Some(0)));
        assert_eq!(left(100).await, (200, Some(50)));
        assert_eq!(left(250).await, (100, Some(200)));
        assert_eq!(left(300).await, (0, None));
        // Steps are small.
        for _ in 0..9 {
            store.add_events(&many(300)).await.unwrap();
        }
        sum_up(store).await;
        let mut steps = 1;
        while store.forget_events(NOW + 1000).await.unwrap() {
            steps += 1;
        }
        assert_eq!((steps, left(1000).await), (3, (0, None)));
        // A clock that was wrong for a while does not keep what came after.
        for first in [1_000_000, 300, 400] {
            store.add_events(&many(first)).await.unwrap();
        }
        sum_up(store).await;
        assert_eq!(left(1000).await, (100, Some(1_000_000)));
        let known = store.credentials(&client("a")).await.unwrap();
        let usage = known.all.iter().find_map(|credential| credential.usage);
        assert_eq!(usage.unwrap().count, 1500);
    }
}

#[actix_web::test]
async fn of_many_events_nobody_knows_whether_they_were_written_and_they_are_there_once() {
    let many = |name: &str, count: usize| {
        let event = |n| Event {
            jti: Some(format!("{name}{n}")),
            ..Event::without_request(Action::TokenIssued, NOW, &Origin::server())
        };
        (0..count).map(event).collect::<Vec<_>>()
    };
    for (store, _folder) in stores().await {
        let (mut all, mut written) = (0, vec![]);
        for (name, count) in [("a", 15), ("b", 16), ("c", 512), ("d", 1500)] {
            let (there, missing) = (many(name, count), many(&format!("x{name}"), count));
            store.add_events(&there).await.unwrap();
            for _ in 0..2 {
                store.add_missing_events(&there).await.unwrap();
                store.add_missing_events(&missing).await.unwrap();
            }
            written.extend([there, missing].concat());
            all += 2 * count;
        }
        let found = store.events(&Filter::default(), u64::MAX, all + 1).await;
        let found: Vec<_> = found.unwrap().into_iter().rev().collect();
        assert_eq!(found.len(), all);
        assert!(found.iter().map(|one| &one.event).eq(&written));
    }
}

/// What is known of the uses, as somebody would add it up who has the whole log in memory.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    longest_gap: u64,
    uses: BTreeMap<String, Usage>,
}

fn sums(log: &[Recorded], client: &ClientId) -> Sums {
    let mut sums = Sums::default();
    let (mut last_of, mut last) = (HashMap::<CredentialId, u64>::new(), None);
    for Recorded { event, .. } in log {
        let (Some(id), Some(ends_at)) = (event.credential, event.ends_at) else {
            continue;
        };
        if event.client.as_ref() != Some(client) {
            continue;
        }
        let before = last_of.insert(id, event.at).or(last).unwrap_or(event.at);
        sums.longest_gap = sums.longest_gap.max(event.at - before);
        last = Some(event.at);
        let usage = sums.uses.entry(id.as_str().to_owned()).or_insert(Usage {
            last_used_at: 0,
            count: 0,
            alive_until: 0,
        });
        usage.count += 1;
        usage.last_used_at = event.at;
        usage.alive_until = usage.alive_until.max(ends_at);
    }
    sums
}

async fn known(store: &dyn Store, client: &ClientId) -> Sums {
    let credentials = store.credentials(client).await.unwrap();
    let uses = credentials.all.into_iter();
    Sums {
        longest_gap: credentials.longest_gap,
        uses: uses
            .filter_map(|one| Some((one.id.as_str().to_owned(), one.usage?)))
            .collect(),
    }
}

/// Two stores on one database, and what belongs to it.
async fn pairs() -> Vec<([Arc<dyn Store>; 2], Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut urls = vec![(
        DatabaseUrl::SqliteFile(folder.path().join("two.db")),
        Some(folder),
    )];
    if let Some(url) = fresh_postgres_url().await {
        urls.push((url.parse().unwrap(), None));
    }
    let mut pairs = vec![];
    for (url, folder) in urls {
        let one = storage::open(&url).await.unwrap();
        let two = storage::open(&url).await.unwrap();
        pairs.push(([one, two], folder));
    }
    pairs
}

#[actix_web::test]
async fn servers_that_write_and_sum_up_at_once_know_what_the_log_says() {
    let mut runner = TestRunner::new(Config::default());
    for ([one, two], _folder) in pairs().await {
        let mut credentials: Vec<NewCredential> = vec![];
        let clients: Vec<ClientId> = (0..6).map(|n| client(&format!("c{n}"))).collect();
        for id in &clients {
            credentials.extend(make(one.as_ref(), id.as_str(), NOW).await);
        }
        let mut at = NOW;
        for _ in 0..12 {
            // Of events of one second any order is right.
            let write = || {
                let some = prop_oneof![vec(0..12_usize, 1..16), vec(0..12_usize, 16..300)];
                (some, 1..30_u64)
            };
            let (some, pause) = write().new_tree(&mut runner).unwrap().current();
            let (others, _) = write().new_tree(&mut runner).unwrap().current();
            at += pause;
            let events = |which: Vec<usize>| {
                let event = |n: usize| used(&credentials[n], at);
                which.into_iter().map(event).collect::<Vec<_>>()
            };
            let (some, others) = (events(some), events(others));
            let (a, b, c, d) = tokio::join!(
                one.add_events(&some),
                two.add_events(&others),
                one.sum_up_uses(),
                two.sum_up_uses(),
            );
            assert!(a.and(b).is_ok() && c.and(d).is_ok());
            let mut log = one.events(&Filter::default(), u64::MAX, 10_000).await;
            log.as_mut().unwrap().reverse();
            let log = log.unwrap();
            for id in &clients {
                assert_eq!(known(two.as_ref(), id).await, sums(&log, id), "{id:?}");
            }
        }
        let before = known(one.as_ref(), &clients[0]).await;
        sum_up(one.as_ref()).await;
        assert!(!two.sum_up_uses().await.unwrap(), "nothing is left");
        assert_eq!(known(two.as_ref(), &clients[0]).await, before);
    }
}

#[actix_web::test]
async fn a_step_has_an_end_between_two_clients() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let busy = make(store, "busy", NOW).await;
        let of_another = |n| NewCredential {
            client: client(&format!("another{n}")),
            id: CredentialId::generate(),
            ..busy[0].clone()
        };
        // 200 credentials are one step.
        let mut events: Vec<Event> = (0..200).map(|n| used(&of_another(n), NOW)).collect();
        events.push(used(&busy[0], NOW + 1));
        events.push(used(&busy[1], NOW + 3));
        events.push(used(&busy[0], NOW + 9));
        store.add_events(&events).await.unwrap();
        let expected = |longest_gap, counts: [u64; 2]| {
            let usage = |count, last_used_at| Usage {
                count,
                last_used_at,
                alive_until: last_used_at + 60,
            };
            let uses = [usage(counts[0], NOW + 9), usage(counts[1], NOW + 3)];
            let uses = busy.iter().map(|one| one.id.as_str().to_owned()).zip(uses);
            Sums {
                longest_gap,
                uses: uses.collect(),
            }
        };
        let all = expected(8, [2, 1]);
        assert_eq!(known(store, &client("busy")).await, all);
        assert!(store.sum_up_uses().await.unwrap(), "there is more");
        assert_eq!(known(store, &client("busy")).await, all);
        assert!(!store.sum_up_uses().await.unwrap());
        assert_eq!(known(store, &client("busy")).await, all);
    }
}

#[actix_web::test]
async fn a_long_log_is_summed_up_client_by_client_by_whichever_server() {
    for (stores, _folder) in pairs().await {
        let store = stores[0].as_ref();
        let (first, last) = (make(store, "a", NOW).await, make(store, "z", NOW).await);
        let of_another = |n| NewCredential {
            client: client(&format!("gone{n}")),
            id: CredentialId::generate(),
            ..first[0].clone()
        };
        let others: Vec<_> = (0..1700).map(of_another).collect();
        let used_by_all = |at| {
            let all = first.iter().chain(&others).chain(&last);
            all.map(|one| used(one, at)).collect::<Vec<_>>()
        };
        for at in [NOW + 1, NOW + 1, NOW + 8] {
            store.add_events(&used_by_all(at)).await.unwrap();
        }
        let mut steps = 0;
        while stores[steps % 2].sum_up_uses().await.unwrap() {
            steps += 1;
            assert!(steps < 20, "it comes to no end");
            let log = store.events(&Filter::default(), u64::MAX, 10_000).await;
            let mut log = log.unwrap();
            log.reverse();
            for id in ["a", "z"].map(client) {
                assert_eq!(known(store, &id).await, sums(&log, &id), "{id:?}, {steps}");
            }
            if steps <= 2 {
                let at = NOW + 100 * steps as u64;
                let later = [used(&first[1], at), used(&last[0], at)];
                store.add_events(&later).await.unwrap();
            }
        }
        assert!(steps >= 4, "{steps}");
        assert!(!stores[0].sum_up_uses().await.unwrap());
        let all = known(store, &client("z")).await;
        assert_eq!(all.uses[last[0].id.as_str()].count, 5);
        assert_eq!(all.longest_gap, 100);
    }
}

#[actix_web::test]
async fn who_has_the_name_of_a_removed_client_has_none_of_its_uses() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let [old, _] = make(store, "a", NOW).await;
        let many: Vec<Event> = (0..40).map(|n| used(&old, NOW + n)).collect();
        store.add_events(&many).await.unwrap();
        let remove = Change::RemoveClient {
            id: client("a"),
            expected: Version::from_text("1"),
        };
        store.commit(&[remove], &[]).await.unwrap();
        let [new, _] = make(store, "a", NOW + 100).await;
        let many: Vec<Event> = (0..40).map(|n| used(&new, NOW + 100 + n / 20)).collect();
        store.add_events(&many).await.unwrap();
        for _ in 0..2 {
            let known = known(store, &client("a")).await;
            assert_eq!(known.longest_gap, 1);
            assert_eq!(known.uses[new.id.as_str()].count, 40);
            assert_eq!(known.uses.len(), 1);
            sum_up(store).await;
        }
        let a = store.client(&client("a")).await.unwrap().unwrap();
        assert_eq!(a.last_used_at, Some(NOW + 101));
    }
}

/// The queries of `docs/how-to/observability.md`.
#[actix_web::test]
async fn sql_reads_packs_as_the_documentation_says() {
    let documentation = include_str!("../../../docs/how-to/observability.md");
    let query = |database: &str| {
        let begin = documentation.find(&format!("-- {database}")).unwrap();
        let text = &documentation[begin..];
        let query = &text[..text.find("```").unwrap()];
        sqlx::AssertSqlSafe(query.to_owned())
    };
    let ids = [CredentialId::generate(), CredentialId::generate()];
    let events: Vec<Event> = (0..20)
        .map(|n: u8| {
            let (id, at) = (&ids[usize::from(n % 2)], NOW + u64::from(n / 8));
            let origin = Origin::of(Some(client("bot")), None);
            let event = Event::without_request(Action::TokenIssued, at, &origin);
            let event = event.client(&client("bot")).resource(&resource("notes"));
            Event {
                jti: (!n.is_multiple_of(5)).then(|| id.token_id()),
                ends_at: Some(at + 60),
                ..event.credential(id)
            }
        })
        .collect();
    macro_rules! assert_all {
        ($rows:expr) => {
            let rows = $rows;
            assert_eq!(rows.len(), 20);
            for ((row, event), number) in rows.iter().zip(&events).zip(1..) {
                assert_eq!(row.get::<i64, _>("number"), number);
                assert_eq!(row.get::<i64, _>("at"), event.at.cast_signed());
                let texts = ["action", "client_id", "resource_id", "jti", "actor"];
                let texts = texts.map(|name| row.get::<Option<String>, _>(name));
                let [action, client, resource, jti, actor] = texts.each_ref().map(Option::as_deref);
                assert_eq!((action, client), (Some("token.issued"), Some("bot")));
                assert_eq!((resource, actor), (Some("notes"), Some("bot")));
                assert_eq!(jti, event.jti.as_deref());
                let ends_at = event.ends_at.map(u64::cast_signed);
                assert_eq!(row.get::<Option<i64>, _>("ends_at"), ends_at);
            }
        };
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.db");
    let url = DatabaseUrl::SqliteFile(file.clone());
    let store = storage::open(&url).await.unwrap();
    store.add_events(&events).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&file);
    let mut sqlite = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query(query("SQLite")).fetch_all(&mut sqlite).await;
    assert_all!(rows.unwrap());

    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let store = storage::open(&url.parse().unwrap()).await.unwrap();
    store.add_events(&events).await.unwrap();
    let mut postgres = PgConnection::connect(&url).await.unwrap();
    let rows = sqlx::query(query("PostgreSQL"))
        .fetch_all(&mut postgres)
        .await;
    assert_all!(rows.unwrap());
}
