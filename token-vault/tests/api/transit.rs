//! What is at rest on a Vault server, and the key-encryption key that it keeps: no token, no way to swap documents, no start with
//! the wrong key, keys that move and are rotated while the vault goes on.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use m2m::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use token_vault::{
    envelope::{self, Envelope, OpenError},
    kek::{KekError, KeyRing, TransitKey, TransitKeyError},
    provider::Dialect,
};

use crate::{
    at_rest::{found, live, start},
    openbao::{Openbao, fresh_openbao},
    program::Program,
    world::{World, access, private_file},
};

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
    assert!(
        dump.contains("canary1") && log.contains("TRACE"),
        "the right place was looked at"
    );
    let token = &openbao.variables[1].1;
    for needle in ["at.canary", "rt.canary", "s3cret-of-the-vault", token] {
        assert!(!dump.contains(needle), "{needle}");
        assert_eq!(
            log.lines().find(|line| line.contains(needle)),
            None,
            "{needle}"
        );
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
            assert_eq!(
                access(world.fetched("alice").await).await,
                "at.alice.0",
                "{part}"
            );
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
    assert!(
        sealed
            .kek
            .as_str()
            .starts_with(&format!("transit:{name}:v1:"))
    );
    assert_eq!(
        envelope::open(&first, &sealed, b"row 1")
            .await
            .unwrap()
            .as_slice(),
        b"secret"
    );
    let elsewhere = envelope::open(&first, &sealed, b"row 2").await;
    assert!(
        matches!(elsewhere, Err(OpenError::Mismatch)),
        "{elsewhere:?}"
    );
    for torn in [
        &b""[..],
        b"vault:v1:",
        b"vault:v1:AAAA",
        b"vault:v2:AAAA",
        b"\xff",
        b"vault:v1:!",
    ] {
        let torn = Envelope {
            data_key: torn.to_vec(),
            ..sealed.clone()
        };
        let opened = envelope::open(&first, &torn, b"row 1").await;
        assert!(opened.is_err(), "{torn:?}");
    }

    // A token that may not decrypt is found out at the start.
    let path = format!("sys/policies/acl/{}", openbao.name);
    let some = "path \"transit/*\" { capabilities = [\"read\", \"update\"] }";
    let none = format!(
        "path \"transit/decrypt/{}\" {{ capabilities = [\"deny\"] }}",
        openbao.name
    );
    openbao
        .done(&path, &json!({"policy": format!("{some}\n{none}")}))
        .await;
    let unusable = open().await;
    assert!(
        matches!(unusable, Err(TransitKeyError::Unusable(_))),
        "{unusable:?}"
    );
    openbao.done(&path, &json!({"policy": some})).await;

    // Rotated: a server that started before opens what one that started later wraps.
    openbao
        .done(&format!("transit/keys/{}/rotate", openbao.name), &json!({}))
        .await;
    let second = ring(open().await.unwrap());
    assert!(second.current() != first.current());
    let newer = envelope::seal(&second, b"newer", b"row 1").await.unwrap();
    assert_eq!(
        envelope::open(&first, &newer, b"row 1")
            .await
            .unwrap()
            .as_slice(),
        b"newer"
    );
    assert_eq!(
        envelope::open(&second, &sealed, b"row 1")
            .await
            .unwrap()
            .as_slice(),
        b"secret"
    );
    assert!(second.has(first.current()).await.unwrap());
    let still = envelope::seal(&first, b"x", b"row 1").await.unwrap();
    assert_eq!(
        &still.kek,
        first.current(),
        "its name says the version that wrapped it"
    );

    // A version that was archived is the key's trouble, and no row is called damaged for it.
    let config = format!("transit/keys/{}/config", openbao.name);
    openbao
        .done(&config, &json!({"min_decryption_version": 2}))
        .await;
    let archived = envelope::open(&first, &sealed, b"row 1").await;
    assert!(
        matches!(archived, Err(OpenError::Kek(KekError::Unavailable(_)))),
        "{archived:?}"
    );

    // Deleted, and made anew under the same name.
    openbao
        .done(&config, &json!({"deletion_allowed": true}))
        .await;
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
        openbao
            .done(&config, &json!({"deletion_allowed": true}))
            .await;
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
        assert!(
            line.starts_with("token-vault: ") && line.contains(part),
            "{errors}"
        );
    };
    let key = format!("transit/keys/{}", openbao.name);
    refused(
        &["--previous-transit-key=transit/nowhere"],
        "transit/nowhere",
    );
    openbao
        .done(
            &format!("{key}/config"),
            &json!({"deletion_allowed": true, "exportable": true, "allow_plaintext_backup": true}),
        )
        .await;
    let (_, kept) = openbao
        .ask(
            Method::GET,
            &format!("transit/backup/{}", openbao.name),
            &Value::Null,
        )
        .await;
    openbao.ask(Method::DELETE, &key, &Value::Null).await;
    refused(&[], "there is none");
    openbao.done(&key, &json!({"type": "aes256-gcm96"})).await;
    refused(&[], "start with that key");
    assert_eq!(before, dump(&openbao).await, "nothing was changed");

    openbao
        .done(&format!("{key}/config"), &json!({"deletion_allowed": true}))
        .await;
    openbao.ask(Method::DELETE, &key, &Value::Null).await;
    let restored = json!({"backup": kept["data"]["backup"]});
    openbao
        .done(&format!("transit/restore/{}", openbao.name), &restored)
        .await;
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
    let file = world
        .folder
        .path()
        .join("data/token-vault.key")
        .display()
        .to_string();
    let error = world.replica(&[]).await.err().unwrap();
    assert!(
        format!("{error:#}").contains("start with that key"),
        "{error:#}"
    );
    for more in [vec![format!("--previous-key-file={file}")], Vec::new()] {
        if more.is_empty() {
            openbao
                .done(&format!("transit/keys/{}/rotate", openbao.name), &json!({}))
                .await;
        }
        let more: Vec<_> = more.iter().map(String::as_str).collect();
        let replica = world.replica(&more).await.unwrap();
        world.add(replica);
        let desk = world.replicas[0].vault.desk.clone();
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
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
        assert_eq!(
            access(world.fetched(name).await).await,
            format!("at.{name}.0")
        );
    }
}
