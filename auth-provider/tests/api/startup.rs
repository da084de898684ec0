//! What the first start makes, what the second finds, and what each refuses.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use auth_provider::startup::Running;
use m2m::{Clock, ManualClock};
use serde_json::{Value, json};

use crate::support::{self, NOW, POLICY, config, folder, secret_in, stored};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn clock() -> Clock {
    ManualClock::at(NOW).clock()
}

/// Starts a server in `folder` and stops it again.
async fn run_once(folder: &Path) -> anyhow::Result<()> {
    stop(support::start(folder, clock()).await?).await;
    Ok(())
}

/// The server has to be polled to hear that it shall stop.
async fn stop(running: Running) {
    let handle = running.handle();
    let (ended, ()) = tokio::join!(running.run(), handle.stop());
    ended.unwrap();
}

async fn failure(folder: &Path, more: &str) -> String {
    let error = auth_provider::startup::start(&config(folder, more), clock())
        .await
        .err();
    let error = format!("{:#}", error.expect("it must not start"));
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[actix_web::test]
async fn the_first_start_makes_all_and_the_second_changes_nothing() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    run_once(folder.path()).await.unwrap();
    assert_eq!(mode(&path("data")), 0o700);
    assert_eq!(mode(&path("data/master.key")), 0o600);
    assert_eq!(mode(&path("clients.json")), 0o600);

    let kept = |name| fs::read(path(name)).unwrap();
    let before = (kept("data/master.key"), kept("clients.json"));
    let written = fs::metadata(path("clients.json"))
        .unwrap()
        .modified()
        .unwrap();
    run_once(folder.path()).await.unwrap();
    assert_eq!(before, (kept("data/master.key"), kept("clients.json")));
    assert_eq!(
        written,
        fs::metadata(path("clients.json"))
            .unwrap()
            .modified()
            .unwrap()
    );
}

#[actix_web::test]
async fn no_secret_and_no_private_key_is_stored_in_the_clear() {
    let folder = folder();
    run_once(folder.path()).await.unwrap();
    let secret = secret_in(&folder.path().join("clients.json"), "bot");
    for (path, bytes) in stored(folder.path()) {
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        assert!(!holds(secret.as_bytes()), "{}", path.display());
        // The start of every PKCS#8 document for a P-256 key: version 0, id-ecPublicKey, prime256v1.
        assert!(!holds(
            b"\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
        ));
    }
}

#[actix_web::test]
async fn a_clients_file_that_does_not_fit_is_mended() {
    let folder = folder();
    let path = folder.path().join("clients.json");
    run_once(folder.path()).await.unwrap();
    let entry = |secret: &str| json!({"clientId": "bot", "clientSecret": secret});

    let first = secret_in(&path, "bot");
    fs::remove_file(&path).unwrap();
    run_once(folder.path()).await.unwrap();
    let second = secret_in(&path, "bot");
    assert_ne!(
        first, second,
        "the store has no secret to write down again, so a new one is made"
    );

    for (spoiled, why) in [
        (entry(&first), "an old secret"),
        (entry(""), "an empty secret"),
        (
            json!({"clientId": "cat", "clientSecret": second}),
            "another id",
        ),
        (json!({"clientId": "bot"}), "no secret"),
        (json!(7), "no entry at all"),
    ] {
        let own = json!({"clientId": "mine", "clientSecret": "mine"});
        fs::write(&path, json!({"bot": spoiled, "mine": own}).to_string()).unwrap();
        run_once(folder.path()).await.unwrap();
        assert!(secret_in(&path, "bot").starts_with("m2m_"), "{why}");
        let entries: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(entries["mine"], own, "an entry of others stays");
    }
}

/// Each replica has a file of its own; one that mends its file must not take the others' secrets away.
#[actix_web::test]
async fn replicas_with_files_of_their_own_do_not_disturb_each_other() {
    let folder = folder();
    let clients = |name: &str| format!("clients_file = '{}'", folder.path().join(name).display());
    let start = async |name: &str| {
        let config = config(folder.path(), &clients(name));
        stop(
            auth_provider::startup::start(&config, clock())
                .await
                .unwrap(),
        )
        .await;
        fs::read(folder.path().join(name)).unwrap()
    };
    let (a, b) = (start("a.json").await, start("b.json").await);
    assert_ne!(a, b);
    assert_eq!(
        (start("a.json").await, start("b.json").await),
        (a, b),
        "both still fit"
    );
}

#[actix_web::test]
async fn a_link_stays_a_link() {
    let folder = folder();
    let (link, file) = (
        folder.path().join("clients.json"),
        folder.path().join("real.json"),
    );
    fs::write(&file, "{}").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    run_once(folder.path()).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(secret_in(&file, "bot").starts_with("m2m_"));
}

#[actix_web::test]
async fn the_database_is_private_whatever_folder_it_lies_in() {
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let running = support::start(folder.path(), clock()).await.unwrap();
    for name in [
        "auth-provider.db",
        "auth-provider.db-wal",
        "auth-provider.db-shm",
    ] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    stop(running).await;
}

#[actix_web::test]
async fn a_broken_clients_file_is_put_aside_and_an_open_one_closed() {
    let folder = folder();
    let path = folder.path().join("clients.json");
    for broken in ["", "{", "[]", "\u{0}"] {
        fs::write(&path, broken).unwrap();
        run_once(folder.path()).await.unwrap();
        assert!(secret_in(&path, "bot").starts_with("m2m_"));
        let aside = folder.path().join(format!("clients.broken-{NOW}.json"));
        assert_eq!(fs::read_to_string(aside).unwrap(), broken);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::read(&path).unwrap();
    run_once(folder.path()).await.unwrap();
    assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o600, before));
}

#[actix_web::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let folder = folder();
    let first = support::start(folder.path(), clock()).await.unwrap();
    let error = failure(folder.path(), "").await;
    assert!(error.contains("another auth-provider runs on"), "{error}");
    stop(first).await;
    run_once(folder.path()).await.unwrap();
}

#[actix_web::test]
async fn the_signing_key_opens_only_with_its_master_key() {
    let folder = folder();
    run_once(folder.path()).await.unwrap();
    let key = folder.path().join("data/master.key");
    let right = fs::read(&key).unwrap();

    fs::remove_file(&key).unwrap();
    let error = failure(folder.path(), "").await;
    assert!(error.contains("is gone: put it back"), "{error}");
    assert!(
        !key.exists(),
        "a new master key would hide that the old one is missing"
    );

    let other = "master_key = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='";
    let error = failure(folder.path(), other).await;
    assert!(error.contains("does not open the signing key"), "{error}");

    let given = format!("master_key = '{}'", str::from_utf8(&right).unwrap().trim());
    auth_provider::startup::start(&config(folder.path(), &given), clock())
        .await
        .unwrap();

    fs::write(&key, &right).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = failure(folder.path(), "").await;
    assert!(error.contains("chmod 600"), "{error}");
}

#[actix_web::test]
async fn what_stands_in_the_way_is_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (spoil, more, part) in [
        ("", format!("listen = '127.0.0.1:{port}'"), "is in use"),
        ("policy.toml: [clients", String::new(), "line 1"),
        (
            "policy.toml: [[grants]]\nclient = 'x'\nresource = 'y'",
            String::new(),
            "grant x -> y",
        ),
        ("policy.toml", String::new(), "cannot read the policy file"),
        ("data: a file", String::new(), "cannot make the data folder"),
        ("clients.json/", String::new(), "cannot read"),
        (
            "",
            "database_url = 'sqlite:/nowhere/at/all.db'".to_owned(),
            "cannot write /nowhere/at/all.db",
        ),
        (
            "",
            "database_url = 'postgres://127.0.0.1:1/x'".to_owned(),
            "cannot open the database",
        ),
    ] {
        let folder = folder();
        match spoil.split_once(": ") {
            Some((file, text)) => fs::write(folder.path().join(file), text).unwrap(),
            None if spoil.ends_with('/') => fs::create_dir(folder.path().join(spoil)).unwrap(),
            None if spoil.is_empty() => {}
            None => fs::remove_file(folder.path().join(spoil)).unwrap(),
        }
        let error = failure(folder.path(), &more).await;
        assert!(error.contains(part), "{spoil} {more}: {error}");
    }
}

#[actix_web::test]
async fn a_changed_policy_is_applied_and_keeps_secrets() {
    let folder = folder();
    run_once(folder.path()).await.unwrap();
    let clients = folder.path().join("clients.json");
    let before = secret_in(&clients, "bot");
    let more = "\n[clients.late]\n[[grants]]\nclient = 'late'\nresource = 'plain'";
    fs::write(folder.path().join("policy.toml"), format!("{POLICY}{more}")).unwrap();
    run_once(folder.path()).await.unwrap();
    assert_eq!(secret_in(&clients, "bot"), before);
    assert!(secret_in(&clients, "late").starts_with("m2m_"));
}
