//! `auth-provider backup`, `restore` and `migrate`: the real program on real databases.

mod catalogue;
mod drill;
mod migrate;
mod refusals;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use auth_provider::storage::{
    self, DatabaseUrl,
    copy::{Snapshot, Source, Sum, tables},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::process::program;

/// How a command ended.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The program with these arguments, and nothing of the tests' environment.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("AUTH_PROVIDER_BACKUP_KEY")
        .env_remove("AUTH_PROVIDER_MASTER_KEY")
        .stdin(Stdio::null());
    command
}

fn ran(mut command: Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Ran {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Ran {
    ran(command(folder, arguments))
}

impl Ran {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// One line on stderr, which has `part` in it.
    #[track_caller]
    fn failed(self, part: &str) {
        let Self { code, out, err } = self;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(
            err.starts_with("auth-provider: ") && err.contains(part) && err.lines().count() == 1,
            "`{part}` is not in: {err}"
        );
    }
}

/// Rows in every table, and in every column somewhere a value and, where there may be none, somewhere none.
const ROWS: &str = r#"
    PRAGMA foreign_keys = OFF;
    INSERT INTO client (id, name, description, status, created_at, metadata, version, updated_at, managed_by) VALUES
        ('bot', 'The bot é', 'asks', 'active', 1700000000, '{"team":"a"}', 'v1', 1700000001, 'project'),
        ('Owner', '', '', 'inactive', 1700000002, '{}', 'v2', 1700000003, NULL);
    INSERT INTO credential (id, client_id, label, secret_hash, last_four, created_at, expires_at, replaces, kind) VALUES
        ('c100000000000000000000', 'bot', 'old', x'0707', 'abcd', 1700000000, NULL, NULL, 'secret'),
        ('c200000000000000000000', 'bot', 'new', x'08ff', 'wxyz', 1700000002, 1900000000, 'c100000000000000000000', 'bootstrap');
    INSERT INTO resource (id, name, token_lifetime, signing_alg, owner, token_format, version, token_profile, metadata_claims) VALUES
        ('project', 'A project', 60, 'RS256', 'Owner', 'jwt', 'v3', 'stytch', 'team'),
        ('lab', '', 3600, 'ES256', NULL, 'opaque', 'v4', 'standard', '');
    INSERT INTO resource_scope VALUES ('project', 'b', 'B'), ('project', 'a', 'A'), ('project', 'B', '');
    INSERT INTO client_grant (client_id, resource_id, scopes, token_lifetime, expires_at, reason, version) VALUES
        ('bot', 'project', 'a b', 30, 1900000000, 'asked', 'v5'), ('bot', 'lab', '', NULL, NULL, '', 'v6');
    INSERT INTO client_registration VALUES ('bot', x'00');
    INSERT INTO signing_key VALUES ('k1', 'ES256', 1, x'010203', 1, 2, 600, 87000, NULL),
        ('K2', 'ES256', 2, x'', 3, 4, 600, 87000, 5);
    INSERT INTO revocation VALUES (7, 'token', 'c100000000000000000000.1', NULL, NULL, 'lab', NULL, 1700000000, 1900000000),
        (9, 'client', NULL, 'bot', NULL, NULL, NULL, 1700000000, 1900000000),
        (10, 'credential', NULL, NULL, 'c100000000000000000000', NULL, NULL, 1700000000, 1900000000),
        (11, 'key', NULL, NULL, NULL, NULL, 'K2', 1700000000, 1900000000),
        (12, 'token', 'gone', NULL, NULL, 'lab', NULL, 1, 2);
    DELETE FROM revocation WHERE number = 12;
    INSERT INTO opaque_token VALUES (x'00ff', 'bot', 'lab', '', 'c100000000000000000000.2', 1700000000, 1900000000);
    INSERT INTO client_use VALUES ('bot', 1700000000, 5);
    INSERT INTO credential_use VALUES ('c100000000000000000000', 1700000000, 2, 1800000000);
    INSERT INTO unwritten_use VALUES ('a server that is gone', 1700000000, 1700000060);
    UPDATE registry_state SET graph_version = 12, used_up_to = 2;
    INSERT INTO remembered_answer VALUES (x'01', x'02', x'03', 1900000000);
    INSERT INTO audit_event VALUES
        (3, 1, 'token.issued', 'success', 'bot', 'bot', 'lab', 'c100000000000000000000', 'c100000000000000000000.3', 9, 'r', 'A reason', 'q', '127.0.0.1'),
        (4, 2, 'admin.refused', 'refused', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
    INSERT INTO audit_event (at, action, outcome, explanation)
    SELECT i, 'token.issued', 'success', 'The event ' || i || ' of many, so that a backup has several chunks' FROM n;
    INSERT INTO audit_pack VALUES (2506, 2505, 5, 6, 1, x'00010203', '[[0,"token.issued",1,"bot"],[1,"token.issued",1,"é"]]');"#;

/// The number of the last event that [`ROWS`] has: it is in a pack.
const LAST_EVENT: i64 = 2506;
/// The number of the last revocation that [`ROWS`] had: its row is gone.
const LAST_REVOCATION: i64 = 12;

/// A SQLite database with [`ROWS`] in it.
async fn filled(path: &Path) -> DatabaseUrl {
    let url = DatabaseUrl::SqliteFile(path.to_owned());
    drop(storage::open(&url).await.unwrap());
    let mut database = sqlite(path).await;
    database.execute(ROWS).await.unwrap();
    database.close().await.unwrap();
    url
}

async fn sqlite(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn execute(path: &Path, sql: &str) {
    let mut database = sqlite(path).await;
    let sql = AssertSqlSafe(sql.to_owned());
    database.execute(sql).await.unwrap();
    database.close().await.unwrap();
}

/// The sums and last numbers of all tables.
async fn sums(url: &DatabaseUrl) -> Vec<(String, Sum, Option<i64>)> {
    let mut snapshot = Snapshot::open(url, Source::AsItIs).await.unwrap();
    let mut sums = vec![];
    for table in tables() {
        let sum = snapshot.sum(&table).await.unwrap();
        let last = snapshot.last_number(&table).await.unwrap();
        sums.push((table.name, sum, last));
    }
    sums
}

/// A folder with a server's data in it, filled with [`ROWS`] but for keys that a master key has to open, and a key for
/// backups.
struct Machine {
    folder: TempDir,
}

impl Machine {
    async fn filled() -> Self {
        let machine = Self::empty();
        let data = machine.at("data");
        std::fs::create_dir(&data).unwrap();
        filled(&data.join("auth-provider.db")).await;
        let unsealed = "DELETE FROM signing_key WHERE kid = 'k1'";
        execute(&data.join("auth-provider.db"), unsealed).await;
        auth_provider::master_key::MasterKey::create(&data.join("master.key")).unwrap();
        std::fs::write(machine.at("clients.json"), "{\"bot\": {}}").unwrap();
        machine.run(&["backup", "new-key", "backup.key"]).done();
        machine
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(self.folder.path(), arguments)
    }

    /// With the key of `backup.key`.
    fn run_with_key(&self, arguments: &[&str]) -> Ran {
        self.run(&[arguments, &["--key-file", "backup.key"]].concat())
    }

    fn database(&self) -> DatabaseUrl {
        DatabaseUrl::SqliteFile(self.at("data/auth-provider.db"))
    }

    /// The names of what is there, in order.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}
