//! What a Vault server as the store and as the keeper of the key adds to the contract: events that a crash left behind, removals
//! that are overtaken, names, logins, keys that are rotated, gone or others.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use m2m::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use token_vault::{
    audit::{Action, Event, Filter},
    connection::{Application, ConnectionKey},
    envelope::{self, Envelope, OpenError},
    hashicorp::{Server, Settings},
    kek::{KekError, KekId, KeyRing, TransitKey, TransitKeyError},
    provider::Dialect,
    storage::{Due, HashicorpStore, KvPlace, Listing, Times, VaultStore},
};

use crate::{
    at_rest::{found, live, start},
    openbao::{Openbao, fresh_openbao},
    program::Program,
    support::{NOW_MS, key, random},
    world::{World, access, private_file},
};

async fn put(store: &HashicorpStore, key: &ConnectionKey, text: &str) -> u64 {
    let envelope = Envelope {
        kek: KekId::new("kek"),
        data_key: text.into(),
        sealed: text.into(),
    };
    let version = random();
    let event = Event::of("alice", Action::Stored, NOW_MS, key);
    store.put(key, &envelope, Times::default(), version, &event).await.unwrap();
    version
}

async fn sealed(store: &HashicorpStore, key: &ConnectionKey) -> Option<Vec<u8>> {
    Some(store.connection(key).await.unwrap()?.envelope.sealed)
}

async fn actions(store: &HashicorpStore) -> Vec<Action> {
    let events = store.events(&Filter::default(), u64::MAX, 100).await.unwrap();
    events.iter().map(|recorded| recorded.event.action).collect()
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
            vec![Action::Released, Action::Released, Action::Stored, Action::Stored]
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
        assert_eq!(answer["data"]["versions"].as_object().unwrap().len(), 1, "{answer}");
    }
    put(&store, &again, "new").await;
    store.forget(0, 0).await.unwrap();
    assert_eq!(openbao.paths("connections/").await, ["connections/bot/again/github/acme"]);
    assert_eq!(sealed(&store, &again).await, Some(b"new".to_vec()));
    put(&store, &gone, "new").await;
    store.forget(0, 0).await.unwrap();
    assert_eq!(sealed(&store, &gone).await, Some(b"new".to_vec()));

    // Another server finds what one that crashed removed, and waits with it.
    let version = store.connection(&gone).await.unwrap().unwrap().version;
    let event = Event::of("alice", Action::Forgotten, NOW_MS, &gone);
    openbao.store().await.remove(&gone, version, &event).await.unwrap();
    let other = walked(&openbao).await;
    other.forget(0, 0).await.unwrap();
    assert_eq!(openbao.paths("connections/").await.len(), 2, "others may have read it");
    other.mourning(Duration::ZERO).forget(0, 0).await.unwrap();
    assert_eq!(openbao.paths("connections/").await.len(), 1);
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
        let (removed, _, _) = futures_util::future::join3(remove, put(store, key, &new), bury).await;
        let there = sealed(store, key).await;
        assert_eq!(there, Some(new.into_bytes()), "round {round}, removed: {removed}");
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
        ".", "..", "../x", "/", "%2f", "%2F", "-2f", "a", "A", "á", "a ", " a", "a-", "a.b", "*", "+", "a/", "\u{202e}",
        "connections", "=", "~", "_", long.as_str(), &long[4..], "\u{10ffff}",
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
        after = Some((last.user.clone(), last.service.clone(), last.account.clone()));
        all.extend(page.into_iter().map(|row| (row.key.user, row.key.account)));
    }
    let expected: BTreeSet<_> = keys.iter().map(|key| (key.user.clone(), key.account.clone())).collect();
    assert_eq!(all.len(), expected.len());
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), expected);
    for path in openbao.paths("connections/").await {
        assert!(path.len() < 400 && !path.contains("..") && path == path.to_lowercase(), "{path}");
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
    openbao.ask(Method::POST, "sys/auth/approle", &json!({"type": "approle"})).await; // or it is there
    let role = format!("auth/approle/role/{}", openbao.name);
    let wish = json!({"token_policies": [openbao.name], "token_ttl": "2s", "token_max_ttl": "4s"});
    openbao.done(&role, &wish).await;
    let (_, answer) = openbao.ask(Method::GET, &format!("{role}/role-id"), &Value::Null).await;
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
    assert!(reads > 100, "{reads}");
    let accessors = |answer: &Value| -> Vec<String> {
        let keys = answer["data"]["keys"].as_array().unwrap();
        keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    let (_, all) = openbao.ask(Method::GET, "auth/token/accessors?list=true", &Value::Null).await;
    let mut revoked = 0;
    for accessor in accessors(&all) {
        let wish = json!({"accessor": accessor});
        let (_, found) = openbao.ask(Method::POST, "auth/token/lookup-accessor", &wish).await;
        let policies = found["data"]["policies"].as_array().cloned().unwrap_or_default();
        if policies.contains(&json!(openbao.name)) && found["data"]["path"] == "auth/approle/login" {
            openbao.ask(Method::POST, "auth/token/revoke-accessor", &wish).await;
            revoked += 1;
        }
    }
    assert!(revoked > 0);
    put(&store, &key("alice", "acme"), "after").await;

    by_role.variables.pop();
    by_role.variables.push(("VAULT_SECRET_ID".to_owned(), "wrong".to_owned()));
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
        async move { HashicorpStore::open(root.server().await, &place).await.err().unwrap().to_string() }
    };
    let (fleeting, old) = (format!("{}f", openbao.name), format!("{}o", openbao.name));
    let version = |version: u32| json!({"type": "kv", "options": {"version": version.to_string()}});
    openbao.done(&format!("sys/mounts/{fleeting}"), &version(2)).await;
    openbao.done(&format!("sys/mounts/{old}"), &version(1)).await;
    let wish = json!({"delete_version_after": "24h"});
    let config = format!("{fleeting}/config");
    // A new engine is made ready in the background.
    while !openbao.ask(Method::POST, &config, &wish).await.0.is_success() {}
    assert!(open(&fleeting).await.contains("delete_version_after"));
    assert!(open(&old).await.contains("KV engine cannot be used"));
    assert!(open("nowhere").await.contains("KV engine cannot be used"));
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
        Server::open(&Settings::from_environment(variable).unwrap()).await.unwrap()
    };
    for (status, body) in [
        (200, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, r#"{"data":{"data":{"document":"no JSON"},"metadata":{"version":1}}}"#),
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

/// All documents of a test, as one text, with what is base64 in them decoded as well.
async fn dump(openbao: &Openbao) -> String {
    let mut dump = String::new();
    for path in openbao.paths("").await {
        dump += &path;
        if let Some(document) = openbao.document(&path).await {
            let text = document.to_string();
            for part in text.split('"') {
                let bytes = STANDARD.decode(part).unwrap_or_default();
                dump += &String::from_utf8_lossy(&bytes);
            }
            dump += &text;
        }
    }
    dump
}

#[actix_web::test]
async fn no_token_is_in_a_dump_of_the_server_or_in_the_log() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let mut world = World::without_vault_on(Dialect::Generic, openbao.clone(), Clock::System).await;
    let program = Program::start(&mut world, &[], "trace");
    live(&world).await;
    let (dump, log) = (dump(&openbao).await, program.terminate());
    assert!(dump.contains("canary1") && log.contains("TRACE"), "the right place was looked at");
    let token = &openbao.variables[1].1;
    for needle in ["at.canary", "rt.canary", "s3cret-of-the-vault", token] {
        assert!(!dump.contains(needle), "{needle}");
        assert_eq!(log.lines().find(|line| line.contains(needle)), None, "{needle}");
        let place = found(world.folder.path(), needle).filter(|place| !place.ends_with("/secret"));
        assert_eq!(place, None, "{needle}");
    }
}

#[actix_web::test]
async fn documents_that_were_swapped_by_hand_are_found_out() {
    let at = |user: &str| format!("connections/bot/{user}/hub/acme");
    for local_key in [false, true] {
        for part in ["document", "envelope", "sealed", "data_key"] {
            let Some(openbao) = fresh_openbao().await else {
                return;
            };
            let mut world = World::start_on(Dialect::Generic, openbao.clone(), 0).await;
            world.local_key = local_key;
            let replica = world.replica(&[]).await.unwrap();
            world.add(replica);
            for user in ["alice", "mallory"] {
                world.stored(user, 1000).await;
            }
            let mut alice = openbao.document(&at("alice")).await.unwrap();
            let mallory = openbao.document(&at("mallory")).await.unwrap();
            let (from, to) = (&mallory["state"]["kept"], &mut alice["state"]["kept"]);
            match part {
                "document" => alice.clone_from(&mallory),
                "envelope" => to["envelope"].clone_from(&from["envelope"]),
                part => to["envelope"][part].clone_from(&from["envelope"][part]),
            }
            openbao.overwrite(&at("alice"), &alice).await;
            let answer = world.fetched("alice").await;
            assert_eq!(answer.status(), 409, "{part}");
            assert_eq!(answer.headers()["vault-reason"], "damaged", "{part}");
            world.stored("alice", 1000).await;
            assert_eq!(access(world.fetched("alice").await).await, "at.alice.0", "{part}");
        }
    }
}

#[actix_web::test]
async fn a_transit_key_opens_only_what_it_wrapped_for_the_place() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let (server, name) = (openbao.server().await, openbao.transit_key());
    let open = || TransitKey::open(Arc::clone(&server), &name);
    let ring = |key: TransitKey| KeyRing::new(Arc::new(key), Vec::new());
    let first = ring(open().await.unwrap());
    let sealed = envelope::seal(&first, b"secret", b"row 1").await.unwrap();
    assert!(sealed.kek.as_str().starts_with(&format!("transit:{name}:v1:")));
    assert_eq!(envelope::open(&first, &sealed, b"row 1").await.unwrap().as_slice(), b"secret");
    let elsewhere = envelope::open(&first, &sealed, b"row 2").await;
    assert!(matches!(elsewhere, Err(OpenError::Mismatch)), "{elsewhere:?}");
    for torn in [&b""[..], b"vault:v1:", b"vault:v1:AAAA", b"vault:v2:AAAA", b"\xff", b"vault:v1:!"] {
        let torn = Envelope {
            data_key: torn.to_vec(),
            ..sealed.clone()
        };
        let opened = envelope::open(&first, &torn, b"row 1").await;
        assert!(opened.is_err(), "{torn:?}");
    }

    // Rotated: a server that started before opens what one that started later wraps.
    openbao.done(&format!("transit/keys/{}/rotate", openbao.name), &json!({})).await;
    let second = ring(open().await.unwrap());
    assert!(second.current() != first.current());
    let newer = envelope::seal(&second, b"newer", b"row 1").await.unwrap();
    assert_eq!(envelope::open(&first, &newer, b"row 1").await.unwrap().as_slice(), b"newer");
    assert_eq!(envelope::open(&second, &sealed, b"row 1").await.unwrap().as_slice(), b"secret");
    assert!(second.has(first.current()).await.unwrap());
    let still = envelope::seal(&first, b"x", b"row 1").await.unwrap();
    assert_eq!(&still.kek, first.current(), "its name says the version that wrapped it");

    // A version that was archived is the key's trouble, and no row is called damaged for it.
    let config = format!("transit/keys/{}/config", openbao.name);
    openbao.done(&config, &json!({"min_decryption_version": 2})).await;
    let archived = envelope::open(&first, &sealed, b"row 1").await;
    assert!(matches!(archived, Err(OpenError::Kek(KekError::Unavailable(_)))), "{archived:?}");

    // Deleted, and made anew under the same name.
    openbao.done(&config, &json!({"deletion_allowed": true})).await;
    let path = format!("transit/keys/{}", openbao.name);
    openbao.ask(Method::DELETE, &path, &Value::Null).await;
    let none = open().await;
    assert!(matches!(none, Err(TransitKeyError::Missing(_))), "{none:?}");
    openbao.done(&path, &json!({"type": "aes256-gcm96"})).await;
    let third = ring(open().await.unwrap());
    assert!(third.current() != first.current());
    assert!(!third.has(first.current()).await.unwrap());

    for (more, part) in [
        (json!({"type": "rsa-2048"}), "rsa-2048"),
        (json!({"type": "aes256-gcm96", "derived": true}), "derived"),
    ] {
        openbao.done(&config, &json!({"deletion_allowed": true})).await;
        openbao.ask(Method::DELETE, &path, &Value::Null).await;
        openbao.done(&path, &more).await;
        let error = open().await.err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[actix_web::test]
async fn a_wrong_or_missing_transit_key_stops_the_start_and_destroys_nothing() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let mut world = World::start_on(Dialect::Generic, openbao.clone(), 1).await;
    world.stored("alice", 1000).await;
    world.stop().await;
    let before = dump(&openbao).await;
    let refused = |more: &[&str], part: &str| {
        let output = start(&world, more);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let line = errors.lines().last().unwrap();
        assert!(line.starts_with("token-vault: ") && line.contains(part), "{errors}");
    };
    let key = format!("transit/keys/{}", openbao.name);
    refused(&["--previous-transit-key=transit/nowhere"], "transit/nowhere");
    openbao.done(&format!("{key}/config"), &json!({"deletion_allowed": true, "exportable": true, "allow_plaintext_backup": true})).await;
    let (_, kept) = openbao.ask(Method::GET, &format!("transit/backup/{}", openbao.name), &Value::Null).await;
    openbao.ask(Method::DELETE, &key, &Value::Null).await;
    refused(&[], "there is none");
    openbao.done(&key, &json!({"type": "aes256-gcm96"})).await;
    refused(&[], "start with that key");
    assert_eq!(before, dump(&openbao).await, "nothing was changed");

    openbao.done(&format!("{key}/config"), &json!({"deletion_allowed": true})).await;
    openbao.ask(Method::DELETE, &key, &Value::Null).await;
    let restored = json!({"backup": kept["data"]["backup"]});
    openbao.done(&format!("transit/restore/{}", openbao.name), &restored).await;
    let again = world.replica(&[]).await.unwrap();
    world.add(again);
    assert_eq!(access(world.fetched("alice").await).await, "at.alice.0");
}

/// From a file into the Transit engine, and on to a new version there, while the vault goes on.
#[actix_web::test]
async fn keys_move_into_the_transit_engine_and_are_rotated_there() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let mut world = World::start_on(Dialect::Generic, openbao.clone(), 0).await;
    world.local_key = true;
    let replica = world.replica(&[]).await.unwrap();
    world.add(replica);
    for name in ["alice", "bob", "carol"] {
        world.stored(name, 100_000).await;
    }
    world.stop().await;
    world.local_key = false;
    let file = world.folder.path().join("data/token-vault.key").display().to_string();
    let error = world.replica(&[]).await.err().unwrap();
    assert!(format!("{error:#}").contains("start with that key"), "{error:#}");
    for more in [vec![format!("--previous-key-file={file}")], Vec::new()] {
        if more.is_empty() {
            openbao.done(&format!("transit/keys/{}/rotate", openbao.name), &json!({})).await;
        }
        let more: Vec<_> = more.iter().map(String::as_str).collect();
        let replica = world.replica(&more).await.unwrap();
        world.add(replica);
        let desk = world.replicas[0].vault.desk.clone();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while desk.store.kek_ids().await.unwrap() != [desk.ring.current().clone()] {
            assert_eq!(access(world.fetched("carol").await).await, "at.carol.0");
            assert!(std::time::Instant::now() < deadline);
        }
        drop(desk);
        world.stop().await;
    }
    private_file(&world.folder.path().join("data/token-vault.key"), "gone");
    let alone = world.replica(&[]).await.unwrap();
    world.add(alone);
    for name in ["alice", "bob", "carol"] {
        assert_eq!(access(world.fetched(name).await).await, format!("at.{name}.0"));
    }
}
