//! A PostgreSQL of a test's own, which it can take away and give back.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// A cluster in a temporary folder. It ends with the test.
pub(crate) struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    server: Option<Child>,
    paused: Vec<u32>,
}

impl Cluster {
    /// Starts one, where the tests run with a PostgreSQL at all.
    pub(crate) async fn start() -> Option<Self> {
        if std::env::var_os("TEST_POSTGRES_URL").is_none() {
            eprintln!("skipped: PostgreSQL (scripts/test starts one and sets TEST_POSTGRES_URL)");
            return None;
        }
        let programs = programs();
        let folder = tempfile::Builder::new()
            .prefix("pg")
            .tempdir_in("/tmp") // the name of a socket is short
            .unwrap();
        if is_root() {
            let owner = folder.path().display().to_string();
            assert!(run(Command::new("chown").args(["postgres:", &owner])));
        }
        let mut cluster = Self {
            programs,
            folder,
            server: None,
            paused: Vec::new(),
        };
        let data = cluster.path("data");
        assert!(run(cluster
            .as_owner("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync", "--pgdata", &data])));
        cluster.up().await;
        Some(cluster)
    }

    pub(crate) fn url(&self) -> String {
        let folder = self.folder.path().display();
        format!("postgres://postgres@localhost/postgres?host={folder}&port=5432")
    }

    /// Starts the server, which is the whole cluster.
    pub(crate) async fn up(&mut self) {
        let (data, folder) = (self.path("data"), self.path(""));
        let server = self
            .as_owner("postgres")
            .args(["-D", &data, "-k", &folder, "-p", "5432", "-h", ""])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.server = Some(server);
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let mut asking = self.as_owner("pg_isready");
            asking.args(["--host", &folder]);
            // Aside: the server under test goes on meanwhile.
            if spawn_blocking(move || run(&mut asking)).await.unwrap() {
                break;
            }
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
        }
    }

    /// Ends it as if its machine had failed: connections break off.
    pub(crate) async fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal("-QUIT", &[server.id()]);
            spawn_blocking(move || server.wait())
                .await
                .unwrap()
                .unwrap();
        }
    }

    /// Has all of its processes do nothing: connections go on, and nobody answers.
    pub(crate) fn pause(&mut self) {
        let server = self.server.as_ref().unwrap().id();
        // First the one that would start others.
        signal("-STOP", &[server]);
        self.paused = children(server);
        signal("-STOP", &self.paused);
        self.paused.push(server);
    }

    /// Has them go on.
    pub(crate) fn resume(&mut self) {
        signal("-CONT", &self.paused);
        self.paused.clear();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// It refuses to be root.
    fn as_owner(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if is_root() {
            command.args([
                "--reuid",
                "postgres",
                "--regid",
                "postgres",
                "--clear-groups",
            ]);
        }
        command
            .arg(self.programs.join(program))
            .current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.resume();
        if let Some(mut server) = self.server.take() {
            signal("-QUIT", &[server.id()]);
            server.wait().unwrap();
        }
    }
}

/// Debian keeps the server's programs off the PATH; the newest version is the last one.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| version(path));
    newest.unwrap().join("bin")
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let owner = status.lines().find(|line| line.starts_with("Uid:"));
    owner.unwrap().split_whitespace().nth(2) == Some("0")
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(tasks).unwrap();
    children
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

fn signal(name: &str, processes: &[u32]) {
    if !processes.is_empty() {
        let ids = processes.iter().map(u32::to_string);
        run(Command::new("kill").arg(name).args(ids)); // some may be gone
    }
}

fn run(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.unwrap().success()
}
