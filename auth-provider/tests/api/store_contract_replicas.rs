//! What stores do for servers that share them.

use std::time::Duration;

use auth_provider::{
    audit::{Action, Event, Filter, Origin},
    client::ClientId,
    policy_file::Policy,
    registry::policy::apply_at_start,
    resource::ResourceId,
    storage::{self, Changed},
};

use crate::{
    store_contract::{fresh_postgres_url, stores},
    support::{NOW, POLICY},
};

#[actix_web::test]
async fn events_of_which_nobody_knows_whether_they_were_written_are_there_once() {
    let origin = Origin::server();
    let event = |jti: &str| {
        let mut event = Event::done(Action::TokenIssued, NOW, &origin);
        event.jti = Some(jti.to_owned());
        event.request_id = None;
        event
    };
    for (store, _folder) in stores().await {
        let (one, two) = ([event("a"), event("b")], [event("c"), event("d")]);
        store.add_events(&one).await.unwrap();
        store.add_missing_events(&one).await.unwrap();
        store.add_missing_events(&two).await.unwrap();
        store.add_missing_events(&two).await.unwrap();
        store.add_missing_events(&[]).await.unwrap();
        let found = store
            .events(&Filter::default(), u64::MAX, 10)
            .await
            .unwrap();
        let names: Vec<_> = found
            .iter()
            .rev()
            .map(|one| one.event.jti.clone().unwrap())
            .collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }
}

#[actix_web::test]
async fn postgres_tells_whose_records_changed() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let store = storage::open(&url.parse().unwrap()).await.unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
    let (changed, last) = store.changes_after(0).await.unwrap();
    let bot = Changed::Client(ClientId::parse("bot").unwrap());
    let notes = Changed::Resource(ResourceId::parse("notes").unwrap());
    assert!(
        changed.contains(&bot) && changed.contains(&notes),
        "{changed:?}"
    );
    assert_eq!(store.changes_after(last).await.unwrap(), (vec![], last));

    let many =
        |n| format!("[clients.m{n:04}]\n[[grants]]\nclient = 'm{n:04}'\nresource = 'plain'\n");
    let many: String = (0..1001).map(many).collect();
    let policy = Policy::parse(&format!("[resources.plain]\n{many}")).unwrap();
    apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
    let (changed, last) = store.changes_after(last).await.unwrap();
    assert_eq!(changed, [Changed::Everything]);
    store.forget_changes().await.unwrap();
    assert_eq!(
        store.changes_after(last - 1).await.unwrap().1,
        last,
        "it is young"
    );
}

#[actix_web::test]
async fn a_lease_has_one_holder_at_a_time() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let store = storage::open(&url.parse().unwrap()).await.unwrap();
    let take = async |holder: &str, seconds: u64| {
        let length = Duration::from_secs(seconds);
        store.take_lease("job", holder, length).await.unwrap()
    };
    assert_eq!(take("a", 60).await, Some(1));
    assert_eq!(take("b", 60).await, None);
    assert_eq!(take("a", 60).await, Some(1), "it is kept");
    assert_eq!(
        store
            .take_lease("other", "b", Duration::ZERO)
            .await
            .unwrap(),
        Some(1)
    );
    store.give_leases_back("a").await.unwrap();
    assert_eq!(take("b", 0).await, Some(2), "it changed hands");
    assert_eq!(take("a", 60).await, Some(3), "it had ended");
    assert_eq!(take("b", 60).await, None);

    let at_once = (0..20).map(|n| {
        let store = &store;
        async move {
            let holder = n.to_string();
            store
                .take_lease("race", &holder, Duration::from_mins(1))
                .await
                .unwrap()
        }
    });
    let taken = futures_util::future::join_all(at_once).await;
    assert_eq!(taken.iter().flatten().count(), 1);
}
