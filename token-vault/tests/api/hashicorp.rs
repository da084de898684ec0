//! What a Vault server as the store adds to the contract: events that a crash left behind, removals that are overtaken, names,
//! logins, engines that do not do, servers in trouble.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, web};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use token_vault::{
    audit::{Action, Event, Filter},
    connection::{Application, ConnectionKey},
    envelope::Envelope,
    hashicorp::{Server, Settings},
    kek::{KekId, TransitKey},
    storage::{Due, HashicorpStore, KvPlace, Listing, Times, VaultStore},
};

use crate::{
    openbao::{Openbao, fresh_openbao},
    support::{NOW_MS, key, random},
};

/// In milliseconds.
const DAY: u64 = 24 * 3600 * 1000;

async fn put(store: &HashicorpStore, key: &ConnectionKey, text: &str) -> u64 {
    let envelope = Envelope {
        kek: KekId::new("kek"),
        data_key: text.into(),
        sealed: text.into(),
    };
    let version = random();
    let event = Event::of("alice", Action::Stored, NOW_MS, key);
    store
        .put(key, &envelope, Times::default(), version, &event)
        .await
        .unwrap();
    version
}

async fn sealed(store: &HashicorpStore, key: &ConnectionKey) -> Option<Vec<u8>> {
    Some(store.connection(key).await.unwrap()?.envelope.sealed)
}

async fn actions(store: &HashicorpStore) -> Vec<Action> {
    let events = store
        .events(&Filter::default(), u64::MAX, 100)
        .await
        .unwrap();
    events
        .iter()
        .map(|recorded| recorded.event.action)
        .collect()
}

/// Has a new server look at everything, as at its start.
async fn walked(openbao: &Openbao) -> HashicorpStore {
    let store = openbao.store().await;
    let wish = Due {
        service: &key("a", "1").service,
        now: NOW_MS,
        refresh_from: NOW_MS,
        used_since: 0,
        limit: 1,
    };
    store.due(wish).await.unwrap();
    store
}

#[actix_web::test]
async fn an_event_that_a_crash_left_behind_is_told_once() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let store = openbao.store().await;
    let key = key("alice", "acme");
    put(&store, &key, "one").await;
    let path = &openbao.paths("connections/").await[0];
    assert_eq!(path, "connections/bot/alice/github/acme");
    let clean = openbao.document(path).await.unwrap();
    assert_eq!(clean["outbox"], Value::Null, "it is emptied");
    let logged = &openbao.paths("audit/").await[0];
    let batch = openbao.document(logged).await.unwrap();

    // The crash came after the copy: it is known again.
    let mut left = clean.clone();
    left["outbox"] = json!([batch]);
    openbao.overwrite(path, &left).await;
    assert_eq!(actions(&walked(&openbao).await).await, [Action::Stored]);
    assert_eq!(openbao.document(path).await.unwrap()["outbox"], Value::Null);

    // The crash came before the copy: whoever comes next makes it.
    let mut batch = batch;
    batch["number"] = json!(500);
    batch["id"] = json!("another");
    batch["events"][0]["action"] = json!("token.released");
    left["outbox"] = json!([batch]);
    for by_walk in [true, false] {
        batch["number"] = json!(if by_walk { 500 } else { 600 });
        left["outbox"] = json!([batch]);
        openbao.overwrite(path, &left).await;
        let expected = if by_walk {
            walked(&openbao).await;
            vec![Action::Released, Action::Stored]
        } else {
            put(&store, &key, "two").await;
            vec![
                Action::Released,
                Action::Released,
                Action::Stored,
                Action::Stored,
            ]
        };
        assert_eq!(actions(&store).await, expected);
        assert_eq!(openbao.document(path).await.unwrap()["outbox"], Value::Null);
    }

    // Somebody set the count back: no event takes another's place, and none is lost in silence.
    let count = format!("secret/metadata/{}/audit-numbers", openbao.name);
    openbao.ask(Method::DELETE, &count, &Value::Null).await;
    put(&store, &key, "three").await;
    assert_eq!(actions(&store).await.len(), 4);
    let left = openbao.document(path).await.unwrap();
    assert_eq!(left["outbox"][0]["events"][0]["action"], "token.stored");
}

/// The log's folders, which take a thousand batches each to fill: those that cannot hold an answer are passed over.
#[actix_web::test]
async fn a_long_log_is_read_where_the_answer_is() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let store = openbao.store().await;
    put(&store, &key("alice", "acme"), "one").await;
    let path = &openbao.paths("audit/").await[0];
    assert_eq!(path, "audit/00000/000/001");
    let mut batch = openbao.document(path).await.unwrap();
    for (path, number, day) in [
        ("audit/00000/000/999", 999_u64, 2),
        ("audit/00000/001/000", 1000, 10),
        ("audit/00001/000/000", 1_000_000, 20),
        ("audit/00001/000/001", 1_000_001, 21),
    ] {
        batch["number"] = json!(number);
        batch["id"] = json!(path);
        batch["events"][0]["at"] = json!(NOW_MS + day * DAY);
        openbao.overwrite(path, &batch).await;
    }
    let days = |from: Option<u64>, to: Option<u64>, before: u64| {
        let filter = Filter {
            from: from.map(|day| NOW_MS + day * DAY),
            to: to.map(|day| NOW_MS + day * DAY),
            ..Filter::default()
        };
        let store = &store;
        async move {
            let events = store.events(&filter, before, 10).await.unwrap();
            let day = |at: u64| (at - NOW_MS) / DAY;
            events
                .iter()
                .map(|recorded| day(recorded.event.at))
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(days(None, None, u64::MAX).await, [21, 20, 10, 2, 0]);
    assert_eq!(days(None, Some(2), u64::MAX).await, [2, 0]);
    assert_eq!(days(Some(2), Some(20), u64::MAX).await, [20, 10, 2]);
    assert_eq!(days(Some(20), None, u64::MAX).await, [21, 20]);
    assert_eq!(days(None, None, 1_000_001_000).await, [20, 10, 2, 0]);
    assert_eq!(days(None, None, 1_000_000).await, [2, 0]);
    store.forget(NOW_MS + 15 * DAY, 0).await.unwrap();
    assert_eq!(days(None, None, u64::MAX).await, [21, 20]);
    assert_eq!(
        openbao.paths("audit/").await,
        ["audit/00001/000/000", "audit/00001/000/001"]
    );
}

/// Old ids of signed requests, more than a server lists at once.
#[actix_web::test]
async fn what_nobody_needs_is_forgotten_however_much_it_is() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let store = openbao.store().await;
    let ids: Vec<_> = (0..1005_u32)
        .map(|number| format!("requests/000000000001/{number:04}"))
        .collect();
    for ids in ids.chunks(50) {
        let request = json!({"until": 3_600_001, "stamp": ""});
        join_all(ids.iter().map(|id| openbao.overwrite(id, &request))).await;
    }
    assert!(store.remember(b"id", 7_200_000, 7_300_000).await.unwrap());
    let now = 3 * 3_600_000 - 1;
    assert!(
        !store.forget(0, now).await.unwrap(),
        "they might come once more"
    );
    assert_eq!(openbao.paths("requests/").await.len(), 1006);
    let now = now + 1;
    for more in [true, true, false] {
        assert_eq!(store.forget(0, now).await.unwrap(), more);
    }
    assert_eq!(
        openbao.paths("requests/").await.len(),
        1,
        "one has just ended"
    );
}

#[actix_web::test]
async fn what_was_removed_is_gone_with_its_name_and_nothing_else_goes_with_it() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let store = openbao.store().await.mourning(Duration::ZERO);
    let (gone, again) = (key("gone", "acme"), key("again", "acme"));
    for key in [&gone, &again] {
        let version = put(&store, key, "secret").await;
        let event = Event::of("alice", Action::Forgotten, NOW_MS, key);
        assert!(store.remove(key, version, &event).await.unwrap());
        assert_eq!(sealed(&store, key).await, None);
    }
    for path in openbao.paths("connections/").await {
        let document = openbao.document(&path).await.unwrap();
        assert_eq!(document["state"], "removed");
        // No earlier version is left.
        let metadata = format!("secret/metadata/{}/{path}", openbao.name);
        let (_, answer) = openbao.ask(Method::GET, &metadata, &Value::Null).await;
        assert_eq!(
            answer["data"]["versions"].as_object().unwrap().len(),
            1,
            "{answer}"
        );
    }
    put(&store, &again, "new").await;
    store.forget(0, 0).await.unwrap();
    assert_eq!(
        openbao.paths("connections/").await,
        ["connections/bot/again/github/acme"]
    );
    assert_eq!(sealed(&store, &again).await, Some(b"new".to_vec()));
    put(&store, &gone, "new").await;
    store.forget(0, 0).await.unwrap();
    assert_eq!(sealed(&store, &gone).await, Some(b"new".to_vec()));

    // Another server finds what one that crashed removed, and waits with it.
    let version = store.connection(&gone).await.unwrap().unwrap().version;
    let event = Event::of("alice", Action::Forgotten, NOW_MS, &gone);
    openbao
        .store()
        .await
        .remove(&gone, version, &event)
        .await
        .unwrap();
    let other = walked(&openbao).await;
    other.forget(0, 0).await.unwrap();
    assert_eq!(
        openbao.paths("connections/").await.len(),
        2,
        "others may have read it"
    );
    other.mourning(Duration::ZERO).forget(0, 0).await.unwrap();
    assert_eq!(openbao.paths("connections/").await.len(), 1);
}

#[actix_web::test]
async fn who_stores_where_something_is_going_waits_until_it_is_gone() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let store = &openbao.store().await;
    let key = &key("alice", "acme");
    put(store, key, "old").await;
    let path = &openbao.paths("connections/").await[0];
    let mut going = openbao.document(path).await.unwrap();
    going["state"] = json!("going");
    openbao.overwrite(path, &going).await;
    assert_eq!(sealed(store, key).await, None);
    let goes = async {
        for _ in 0..50 {
            assert_eq!(openbao.document(path).await.unwrap()["state"], "going");
        }
        let metadata = format!("secret/metadata/{}/{path}", openbao.name);
        openbao.ask(Method::DELETE, &metadata, &Value::Null).await;
    };
    futures_util::future::join(put(store, key, "new"), goes).await;
    assert_eq!(sealed(store, key).await, Some(b"new".to_vec()));
}

/// Stores, removals and burials of the same connection, all at once: what was acknowledged last is there.
#[actix_web::test]
async fn a_removal_that_is_overtaken_destroys_nothing() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let store = &openbao.store().await.mourning(Duration::ZERO);
    let key = &key("alice", "acme");
    for round in 0..20_u32 {
        let version = put(store, key, "old").await;
        let event = &Event::of("alice", Action::Forgotten, NOW_MS, key);
        let remove = async {
            let removed = store.remove(key, version, event).await.unwrap();
            store.forget(0, 0).await.unwrap();
            removed
        };
        let new = format!("new{round}");
        let bury = async { store.forget(0, 0).await.unwrap() };
        let (removed, _, _) =
            futures_util::future::join3(remove, put(store, key, &new), bury).await;
        let there = sealed(store, key).await;
        assert_eq!(
            there,
            Some(new.into_bytes()),
            "round {round}, removed: {removed}"
        );
    }
}

#[actix_web::test]
async fn names_are_kept_apart_whatever_is_in_them() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let store = &openbao.store().await;
    let long = "🦀".repeat(256);
    let names = [
        ".",
        "..",
        "../x",
        "/",
        "%2f",
        "%2F",
        "-2f",
        "a",
        "A",
        "á",
        "a ",
        " a",
        "a-",
        "a.b",
        "*",
        "+",
        "a/",
        "\u{202e}",
        "connections",
        "=",
        "~",
        "_",
        long.as_str(),
        &long[4..],
        "\u{10ffff}",
    ];
    let keys: Vec<_> = names
        .iter()
        .flat_map(|name| [key(name, "x"), key("x", name)])
        .collect();
    join_all(keys.iter().map(|key| async move {
        let text = format!("{}|{}", key.user, key.account);
        put(store, key, &text).await;
    }))
    .await;
    for key in &keys {
        let text = format!("{}|{}", key.user, key.account);
        assert_eq!(sealed(store, key).await, Some(text.into_bytes()), "{key:?}");
    }
    let application = &keys[0].application;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let wish = Listing {
            application,
            service: None,
            user: None,
            after,
            limit: 7,
        };
        let page = store.connections(&wish).await.unwrap();
        let Some(last) = page.last() else { break };
        let last = &last.key;
        after = Some((
            last.user.clone(),
            last.service.clone(),
            last.account.clone(),
        ));
        all.extend(page.into_iter().map(|row| (row.key.user, row.key.account)));
    }
    let expected: BTreeSet<_> = keys
        .iter()
        .map(|key| (key.user.clone(), key.account.clone()))
        .collect();
    assert_eq!(all.len(), expected.len());
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), expected);
    for path in openbao.paths("connections/").await {
        assert!(
            path.len() < 400 && !path.contains("..") && path == path.to_lowercase(),
            "{path}"
        );
    }
    let other = Application::parse("other").unwrap();
    let wish = Listing {
        application: &other,
        service: None,
        user: None,
        after: None,
        limit: 7,
    };
    assert_eq!(store.connections(&wish).await.unwrap(), []);
}

#[actix_web::test]
async fn a_login_is_renewed_and_one_that_was_revoked_is_replaced() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    openbao
        .ask(
            Method::POST,
            "sys/auth/approle",
            &json!({"type": "approle"}),
        )
        .await; // or it is there
    let role = format!("auth/approle/role/{}", openbao.name);
    let wish = json!({"token_policies": [openbao.name], "token_ttl": "2s", "token_max_ttl": "4s"});
    openbao.done(&role, &wish).await;
    let (_, answer) = openbao
        .ask(Method::GET, &format!("{role}/role-id"), &Value::Null)
        .await;
    let role_id = answer["data"]["role_id"].as_str().unwrap().to_owned();
    let answer = openbao.done(&format!("{role}/secret-id"), &json!({})).await;
    let secret_id = answer["data"]["secret_id"].as_str().unwrap().to_owned();
    let mut by_role = openbao.clone();
    by_role.variables.truncate(1);
    by_role.variables.extend([
        ("VAULT_ROLE_ID".to_owned(), role_id),
        ("VAULT_SECRET_ID".to_owned(), secret_id),
    ]);
    let store = by_role.store().await;
    // Longer than any token can live.
    let end = std::time::Instant::now() + Duration::from_secs(6);
    let mut reads = 0;
    while std::time::Instant::now() < end {
        store.own_key().await.unwrap();
        reads += 1;
    }
    assert!(reads > 0);
    let accessors = |answer: &Value| -> Vec<String> {
        let keys = answer["data"]["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key.as_str().unwrap().to_owned())
            .collect()
    };
    let (_, all) = openbao
        .ask(Method::GET, "auth/token/accessors?list=true", &Value::Null)
        .await;
    let mut revoked = 0;
    for accessor in accessors(&all) {
        let wish = json!({"accessor": accessor});
        let (_, found) = openbao
            .ask(Method::POST, "auth/token/lookup-accessor", &wish)
            .await;
        let policies = found["data"]["policies"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if policies.contains(&json!(openbao.name)) && found["data"]["path"] == "auth/approle/login"
        {
            openbao
                .ask(Method::POST, "auth/token/revoke-accessor", &wish)
                .await;
            revoked += 1;
        }
    }
    assert!(revoked > 0);
    put(&store, &key("alice", "acme"), "after").await;

    by_role.variables.pop();
    by_role
        .variables
        .push(("VAULT_SECRET_ID".to_owned(), "wrong".to_owned()));
    let error = Server::open(&by_role.settings()).await.err().unwrap();
    assert!(error.to_string().contains("403"), "{error}");
}

#[actix_web::test]
async fn an_engine_that_does_not_do_is_refused() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let mut root = openbao.clone();
    root.variables[1].1 = std::env::var("TEST_OPENBAO_TOKEN").unwrap();
    let open = |mount: &str| {
        let (place, root) = (mount.parse::<KvPlace>().unwrap(), root.clone());
        async move {
            HashicorpStore::open(root.server().await, &place)
                .await
                .err()
                .unwrap()
                .to_string()
        }
    };
    let (fleeting, old) = (format!("{}f", openbao.name), format!("{}o", openbao.name));
    let version = |version: u32| json!({"type": "kv", "options": {"version": version.to_string()}});
    openbao
        .done(&format!("sys/mounts/{fleeting}"), &version(2))
        .await;
    openbao
        .done(&format!("sys/mounts/{old}"), &version(1))
        .await;
    let wish = json!({"delete_version_after": "24h"});
    let config = format!("{fleeting}/config");
    // A new engine is made ready in the background.
    while !openbao
        .ask(Method::POST, &config, &wish)
        .await
        .0
        .is_success()
    {}
    assert!(open(&fleeting).await.contains("delete_version_after"));
    assert!(open(&old).await.contains("KV engine cannot be used"));
    assert!(open("nowhere").await.contains("KV engine cannot be used"));

    // An engine that is gone has not forgotten: it is an error.
    openbao
        .done(&config, &json!({"delete_version_after": "0s"}))
        .await;
    let place: KvPlace = fleeting.parse().unwrap();
    let store = HashicorpStore::open(root.server().await, &place)
        .await
        .unwrap();
    assert_eq!(store.own_key().await.unwrap(), None);
    openbao
        .ask(
            Method::DELETE,
            &format!("sys/mounts/{fleeting}"),
            &Value::Null,
        )
        .await;
    assert!(store.own_key().await.is_err() && store.connection(&key("a", "1")).await.is_err());
    assert!(store.events(&Filter::default(), u64::MAX, 1).await.is_err());
}

#[actix_web::test]
async fn a_namespace_is_a_server_of_its_own() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let namespace = &openbao.name;
    openbao
        .done(&format!("sys/namespaces/{namespace}"), &json!({}))
        .await;
    let engine = json!({"type": "kv", "options": {"version": "2"}});
    openbao
        .done(&format!("{namespace}/sys/mounts/secret"), &engine)
        .await;
    let ready = format!("{namespace}/secret/config");
    while !openbao
        .ask(Method::GET, &ready, &Value::Null)
        .await
        .0
        .is_success()
    {}
    let mut inside = openbao.clone();
    inside.variables[1].1 = std::env::var("TEST_OPENBAO_TOKEN").unwrap();
    inside
        .variables
        .push(("VAULT_NAMESPACE".to_owned(), namespace.clone()));
    let (inside, outside) = (inside.store().await, openbao.store().await);
    let key = key("alice", "acme");
    put(&inside, &key, "inside").await;
    assert_eq!(sealed(&outside, &key).await, None);
    assert_eq!(sealed(&inside, &key).await, Some(b"inside".to_vec()));
    assert!(inside.clock().await.unwrap().is_some());
}

/// A server that is not well, in all the ways that one can be: errors, never a panic, a hang or a wrong answer.
#[actix_web::test]
async fn a_server_in_trouble_is_an_error() {
    let sick = |status: u16, body: &'static str| async move {
        let answer = move || {
            let status = actix_web::http::StatusCode::from_u16(status).unwrap();
            let mut answer = HttpResponse::build(status);
            answer.insert_header(("Location", "http://127.0.0.1:1/"));
            async move { answer.body(body) }
        };
        let well = || async { HttpResponse::Ok().body(r#"{"data":{"ttl":0,"renewable":false}}"#) };
        let server = HttpServer::new(move || {
            App::new()
                .route("/v1/auth/token/lookup-self", web::get().to(well))
                .default_service(web::to(answer))
        });
        let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        actix_web::rt::spawn(server.run());
        let variable = |name: &str| match name {
            "VAULT_ADDR" => Some(url.clone()),
            "VAULT_TOKEN" => Some("token".to_owned()),
            _ => None,
        };
        Server::open(&Settings::from_environment(variable).unwrap())
            .await
            .unwrap()
    };
    for (status, body) in [
        (200, ""),
        (200, "<html>"),
        (200, "[]"),
        (
            200,
            r#"{"data":{"data":{"document":"no JSON"},"metadata":{"version":1}}}"#,
        ),
        (204, ""),
        (307, ""),
        (400, "{}"),
        (403, r#"{"errors":["permission denied"]}"#),
        (404, "<html>"),
        (429, ""),
        (500, "{}"),
        (503, r#"{"errors":["Vault is sealed"]}"#),
    ] {
        let server = sick(status, body).await;
        let place: KvPlace = "secret/x".parse().unwrap();
        let opened = HashicorpStore::open(Arc::clone(&server), &place).await;
        assert!(opened.is_err(), "{status} {body}");
        let key = TransitKey::open(server, &"transit/x".parse().unwrap()).await;
        assert!(key.is_err(), "{status} {body}");
    }
}
