//! What a backup and a restoration refuse, and that nothing is left of what was refused.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use auth_provider::{
    backup::{
        key::BackupKey,
        records::{Head, Manifest, Writer},
        seal::{CHUNK, HEADER, TAG},
    },
    storage::{
        VERSION,
        copy::{Snapshot, Source, Summing, Value, tables, to_bytes},
    },
};

use super::{Machine, execute, ran, sums};
use crate::{
    process::{in_folder, started, terminate},
    store_contract::fresh_postgres_url,
    support::{NOW, folder},
};

const RESTORE: &[&str] = &[
    "restore",
    "b",
    "--data-dir",
    "new",
    "--clients-file",
    "new.json",
];

fn backed_up(machine: &Machine) {
    machine.run_with_key(&["backup", "b"]).done();
}

/// Nothing of a restoration is there.
#[track_caller]
fn assert_nothing_was_made(machine: &Machine) {
    assert!(!machine.at("new.json").exists());
    let made = machine.at("new");
    if made.exists() {
        let files = machine.files("new");
        assert!(
            files.iter().all(|name| name == "auth-provider.db.lock"),
            "{files:?}"
        );
        fs::remove_dir_all(made).unwrap();
    }
}

#[actix_web::test]
async fn a_backup_is_one_file_that_only_its_owner_and_its_key_open() {
    let machine = Machine::filled().await;
    let text = machine.run_with_key(&["backup", "b"]).done();
    assert!(
        text.starts_with("TABLE") && text.contains("b has "),
        "{text}"
    );
    let file = fs::read(machine.at("b")).unwrap();
    let mode = fs::metadata(machine.at("b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names = machine.files("");
    assert_eq!(names, ["b", "backup.key", "clients.json", "data"]);
    for plain in [
        "clientSecret",
        "The bot",
        "audit_event",
        "event 1 of many",
        "made_at",
    ] {
        assert!(
            !file
                .windows(plain.len())
                .any(|part| part == plain.as_bytes()),
            "{plain}"
        );
    }
    machine
        .run_with_key(&["backup", "b"])
        .failed("b is there already");
    assert_eq!(fs::read(machine.at("b")).unwrap(), file);
    let json = machine
        .run_with_key(&["backup", "b", "--force", "--json"])
        .json();
    assert_ne!(fs::read(machine.at("b")).unwrap(), file);
    let key = fs::read_to_string(machine.at("backup.key")).unwrap();
    let mut verify = super::command(machine.folder.path(), &["backup", "verify", "b", "--json"]);
    verify.env("AUTH_PROVIDER_BACKUP_KEY", &key);
    let found = ran(verify).json();
    assert_eq!(
        (&found["tables"], &found["key"]),
        (&json["tables"], &json["key"])
    );
    assert_eq!(found["clients_file"], true);
    assert!(!found.to_string().contains(key.trim()));
}

#[actix_web::test]
async fn everything_is_restored_or_nothing() {
    let machine = Machine::filled().await;
    backed_up(&machine);
    let before = sums(&machine.database()).await;
    let text = machine.run_with_key(RESTORE).done();
    assert!(
        text.contains("What was changed after that is lost"),
        "{text}"
    );
    assert!(text.contains("--revoke-tokens"), "{text}");
    assert_eq!(
        machine.files("new"),
        ["auth-provider.db", "auth-provider.db.lock", "master.key"]
    );
    for name in ["new/auth-provider.db", "new/master.key", "new.json"] {
        let mode = fs::metadata(machine.at(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for (old, new) in [
        ("data/master.key", "new/master.key"),
        ("clients.json", "new.json"),
    ] {
        assert_eq!(
            fs::read(machine.at(old)).unwrap(),
            fs::read(machine.at(new)).unwrap()
        );
    }
    let restored = format!("sqlite:{}", machine.at("new/auth-provider.db").display());
    let after = sums(&restored.parse().unwrap()).await;
    for (before, after) in before.iter().zip(&after) {
        match before.0.as_str() {
            "audit_event" => {
                assert_eq!(after.1.rows, before.1.rows + 1, "one event tells of it");
                assert_eq!(after.2, before.2.map(|last| last + 1));
            }
            "revocation" => {
                assert_eq!(after.1, before.1);
                assert_eq!(after.2, before.2.map(|last| last + 1_000_000));
            }
            _ => assert_eq!(after, before),
        }
    }
    machine.run_with_key(RESTORE).failed("is not empty");
    // What was there stays: only the database is missing.
    fs::remove_file(machine.at("new/auth-provider.db")).unwrap();
    fs::write(machine.at("new.json"), "{}").unwrap();
    let text = machine.run_with_key(RESTORE).done();
    assert!(
        text.contains("new.json was there and stays as it is"),
        "{text}"
    );
    assert_eq!(fs::read(machine.at("new.json")).unwrap(), b"{}");

    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let more = ["--database-url", &url];
    let into = |folder| {
        [
            "restore",
            "b",
            "--data-dir",
            folder,
            "--clients-file",
            "pg.json",
        ]
    };
    machine
        .run_with_key(&[&into("pg")[..], &more].concat())
        .done();
    assert_eq!(sums(&url.parse().unwrap()).await.len(), before.len());
    let again = machine.run_with_key(&[&into("pg2")[..], &more].concat());
    again.failed("is not empty");
    assert_eq!(
        machine.files("pg2"),
        [""; 0],
        "the master key went away again"
    );
}

#[actix_web::test]
async fn a_damaged_backup_is_refused_wherever_it_is_damaged() {
    let machine = Machine::filled().await;
    backed_up(&machine);
    let good = fs::read(machine.at("b")).unwrap();
    let chunks = (good.len() - HEADER).div_ceil(CHUNK + TAG);
    assert!(chunks >= 3, "{chunks}");
    let borders = (0..chunks).map(|n| HEADER + n * (CHUNK + TAG));
    let damage: Vec<(Vec<u8>, &str)> = borders
        .clone()
        .chain([HEADER - 1, 20, good.len() - 1])
        .map(|cut| (good[..cut].to_vec(), "damaged or cut short"))
        .chain([
            (vec![], "no backup of an auth-provider"),
            ([&good[..], b"\n"].concat(), "damaged or cut short"),
            (
                [&b"B"[..], &good[1..]].concat(),
                "no backup of an auth-provider",
            ),
        ])
        .chain(borders.chain([HEADER - 1, good.len() - 1]).map(|at| {
            let mut changed = good.clone();
            changed[at] ^= 0x80;
            (changed, "damaged or cut short")
        }))
        .collect();
    for (bytes, part) in damage {
        fs::write(machine.at("b"), bytes).unwrap();
        machine.run_with_key(RESTORE).failed(part);
        assert_nothing_was_made(&machine);
    }
    let mut newer = good.clone();
    newer[17] = 9;
    fs::write(machine.at("b"), newer).unwrap();
    machine
        .run_with_key(RESTORE)
        .failed("its format 9 is newer than this program");
    machine
        .run_with_key(&["backup", "verify", "b"])
        .failed("its format 9 is newer");
    assert_nothing_was_made(&machine);
}

#[actix_web::test]
async fn the_wrong_key_an_exposed_one_and_none_are_refused() {
    let machine = Machine::filled().await;
    backed_up(&machine);
    machine.run(&["backup", "new-key", "other.key"]).done();
    machine
        .run(&["backup", "new-key", "other.key"])
        .failed("other.key is there already");
    let key = fs::read_to_string(machine.at("backup.key")).unwrap();
    let open = |name: &str, text: &str, mode: u32| {
        fs::write(machine.at(name), text).unwrap();
        fs::set_permissions(machine.at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("open.key", &key, 0o604);
    open("odd.key", "hunter2", 0o600);
    open("cut.key", &key[..40], 0o600);
    for (file, part) in [
        ("other.key", "it was made with the key "),
        ("open.key", "open.key can be read by others: `chmod 600` it"),
        ("odd.key", "odd.key is no key for backups"),
        ("cut.key", "cut.key is no key for backups"),
        ("none.key", "cannot read the key file none.key"),
    ] {
        for command in [RESTORE, &["backup", "verify", "b"]] {
            let ran = machine.run(&[command, &["--key-file", file]].concat());
            assert!(!ran.err.contains("hunter2") && !ran.err.contains(key.trim()));
            ran.failed(part);
            assert_nothing_was_made(&machine);
        }
    }
    machine
        .run(RESTORE)
        .failed("a backup holds every key of the server and is encrypted");
    machine
        .run(&["backup", "c"])
        .failed("`auth-provider backup new-key FILE` makes one");
    let mut two = super::command(
        machine.folder.path(),
        &["backup", "c", "--key-file=backup.key"],
    );
    two.env("AUTH_PROVIDER_BACKUP_KEY", &key);
    ran(two).failed("there are two keys");
    assert!(!machine.at("c").exists());
}

#[actix_web::test]
async fn a_backup_that_could_not_be_restored_is_not_made() {
    let machine = Machine::filled().await;
    let backup = |more: &[&str]| machine.run_with_key(&[&["backup", "b"], more].concat());
    backup(&["--data-dir", "nowhere"]).failed("there is no master key nowhere/master.key");
    machine
        .run_with_key(&["backup", "nowhere/b"])
        .failed("cannot write nowhere/b");
    machine
        .run_with_key(&["backup", "data"])
        .failed("data is there already");
    let force = ["backup", "data", "--force"];
    machine.run_with_key(&force).failed("data is a folder");
    let none = ["--database-url", "sqlite:none.db"];
    backup(&none).failed("there is no database sqlite:none.db");
    backup(&["--database-url", "sqlite::memory:"]).failed("in memory");

    let key = "INSERT INTO signing_key VALUES ('k', 'ES256', 9, x'0102', 1, 2, 3, 4, NULL)";
    execute(&machine.at("data/auth-provider.db"), key).await;
    backup(&[]).failed("this is not the master key of this database");
    let newer = "DELETE FROM signing_key WHERE kid = 'k'; UPDATE _sqlx_migrations SET version = 99
         WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    execute(&machine.at("data/auth-provider.db"), newer).await;
    backup(&[]).failed("the database has version 99");
    assert_eq!(machine.files(""), ["backup.key", "clients.json", "data"]);
}

#[actix_web::test]
async fn a_place_that_is_taken_or_cannot_be_written_is_refused() {
    let machine = Machine::filled().await;
    backed_up(&machine);
    fs::create_dir(machine.at("other")).unwrap();
    auth_provider::master_key::MasterKey::create(&machine.at("other/master.key")).unwrap();
    let other = fs::read(machine.at("other/master.key")).unwrap();
    fs::write(machine.at("file"), "").unwrap();
    for (folder, part) in [
        ("data", "auth-provider.db is not empty"),
        ("other", "other/master.key is another master key"),
        ("file", "cannot make the data folder"),
        ("file/below", "cannot make the data folder"),
    ] {
        let restore = [
            "restore",
            "b",
            "--data-dir",
            folder,
            "--clients-file=new.json",
        ];
        machine.run_with_key(&restore).failed(part);
    }
    let nowhere = [
        "restore",
        "b",
        "--data-dir=new",
        "--clients-file=nowhere/c.json",
    ];
    machine
        .run_with_key(&nowhere)
        .failed("cannot write nowhere/c.json");
    assert_nothing_was_made(&machine);
    assert_eq!(fs::read(machine.at("other/master.key")).unwrap(), other);

    let server = folder();
    let (mut child, _) = started(&mut in_folder(server.path()));
    let folder = server.path().join("data");
    let running = ["restore", "b", "--data-dir", folder.to_str().unwrap()];
    machine
        .run_with_key(&running)
        .failed("another auth-provider runs on");
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

/// A backup that a program with tables of this version made, with a row in two of them.
fn of_version(machine: &Machine, schema: i64) {
    let key = BackupKey::find(Some(&machine.at("backup.key"))).unwrap();
    let mut writer = Writer::create(&machine.at("b"), true, &key).unwrap();
    let manifest = Manifest {
        made_at: NOW,
        program: "0.9.9".to_owned(),
        schema,
        database: "sqlite:a.db".to_owned(),
    };
    writer.manifest(&manifest).unwrap();
    writer.master_key(&format!("{}=", "A".repeat(43))).unwrap();
    for mut table in tables() {
        let row = match table.name.as_str() {
            "registry_state" => {
                table.columns.truncate(3); // a column that is younger
                [1, 7, 0].map(Value::Integer).to_vec()
            }
            "client_use" => vec![
                Value::Text("bot".to_owned()),
                Value::Integer(5),
                Value::Integer(6),
            ],
            _ => continue,
        };
        let mut summing = Summing::of(&table);
        let last_number = None;
        writer.head(&Head { table, last_number }).unwrap();
        let row = to_bytes(&row);
        writer.row(&row).unwrap();
        summing.add(&row);
        writer.sum(&summing.finish()).unwrap();
    }
    writer.finish().unwrap();
}

#[actix_web::test]
async fn an_old_backup_is_restored_and_brought_up_to_date_and_a_newer_one_refused() {
    let machine = Machine::empty();
    machine.run(&["backup", "new-key", "backup.key"]).done();
    of_version(&machine, VERSION + 1);
    machine
        .run_with_key(RESTORE)
        .failed("use auth-provider 0.9.9 or later");
    assert_nothing_was_made(&machine);

    of_version(&machine, 5);
    machine.run_with_key(RESTORE).done();
    let assert_is_there = async |url: &str| {
        let url = url.parse().unwrap();
        let mut database = Snapshot::open(&url, Source::AsItIs).await.unwrap();
        for table in tables() {
            let rows = database.sum(&table).await.unwrap().rows;
            let is_there = ["registry_state", "client_use"].contains(&table.name.as_str());
            assert_eq!(rows, u64::from(is_there), "{}", table.name);
        }
    };
    let file = machine.at("new/auth-provider.db");
    assert_is_there(&format!("sqlite:{}", file.display())).await;
    if let Some(url) = fresh_postgres_url().await {
        let more = [
            "--data-dir=pg",
            "--clients-file=pg.json",
            "--database-url",
            &url,
        ];
        machine
            .run_with_key(&[&["restore", "b"][..], &more].concat())
            .done();
        assert_is_there(&url).await;
    }
}

/// A file system of 128 KiB. It takes a root user who may mount.
#[actix_web::test]
async fn a_full_disk_leaves_what_was_there() {
    let machine = Machine::filled().await;
    let small = machine.at("small");
    fs::create_dir(&small).unwrap();
    let mount = |arguments: &[&str]| {
        let mut mount = Command::new(arguments[0]);
        let output = mount.args(&arguments[1..]).arg(&small).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=128k", "none"]) {
        eprintln!("skipped: a full disk (only root can mount a small one)");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        fs::write(small.join("b"), "what was there").unwrap();
        machine
            .run_with_key(&["backup", "small/b", "--force"])
            .failed("cannot write small/b");
        assert_eq!(fs::read(small.join("b")).unwrap(), b"what was there");
        backed_up(&machine);
        let restore = [
            "restore",
            "b",
            "--data-dir=small/data",
            "--clients-file=new.json",
        ];
        machine
            .run_with_key(&restore)
            .failed("cannot restore into sqlite:small/data");
        assert_eq!(machine.files("small/data"), ["auth-provider.db.lock"]);
    });
    assert!(mount(&["umount"]));
    outcome.unwrap();
}
