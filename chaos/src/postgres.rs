//! A PostgreSQL of our own that can be killed and started again on the same data.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bench::server::without_settings;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The server, with a folder that goes with it.
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    process: Option<Child>,
}

impl Postgres {
    /// Makes an empty database and starts a server for it. `programs` is the folder of `initdb` and `postgres`.
    ///
    /// # Errors
    /// When that does not succeed.
    pub async fn start(programs: PathBuf) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("chaos-postgres.")
            .tempdir()?;
        let mut server = Self {
            programs,
            folder,
            process: None,
        };
        if Self::is_root()? {
            let owned = Command::new("chown")
                .arg("postgres:")
                .arg(server.folder.path())
                .status()?;
            ensure!(owned.success(), "cannot hand over its folder");
        }
        let data = server.folder.path().join("data");
        let made = server
            .command("initdb")?
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .arg("--no-locale") // and on disk: what is not would be written by the first start after a kill
            .arg(format!("--pgdata={}", data.display()))
            .status()?;
        ensure!(made.success(), "initdb failed:\n{}", server.last_words());
        server.run().await?;
        Ok(server)
    }

    /// What the provider needs to know.
    pub fn url(&self) -> String {
        let folder = self.folder.path().display();
        format!("postgres://postgres@localhost/postgres?host={folder}&port=5432")
    }

    /// Kills the server with all its processes, as a crash of its machine would but for what the kernel already has to
    /// write.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it does not run")?;
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id()))?;
        process.kill()?;
        process.wait()?;
        // They would notice by themselves, and answer for a moment more.
        if !children.trim().is_empty() {
            Command::new("kill")
                .arg("-KILL")
                .args(children.split_whitespace())
                .stderr(Stdio::null()) // some have noticed already
                .status()?;
        }
        Ok(())
    }

    /// Starts the server on what it finds.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        let data = self.folder.path().join("data");
        while Instant::now() < deadline {
            let process = match &mut self.process {
                Some(process) => process,
                // What was acknowledged has to be with the kernel at least, and here it is on disk, as anybody would have it.
                None => self.process.insert(
                    self.command("postgres")?
                        .arg("-D")
                        .arg(&data)
                        .arg("-k")
                        .arg(self.folder.path())
                        .args(["-p", "5432", "-h", "", "-c", "max_connections=50"])
                        .spawn()?,
                ),
            };
            if process.try_wait()?.is_some() {
                self.process = None; // a process of the last life is not quite gone
            } else if self.answers()? {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("PostgreSQL did not start:\n{}", self.last_words())
    }

    fn answers(&self) -> anyhow::Result<bool> {
        let asked = Command::new(self.programs.join("pg_isready"))
            .arg("--quiet")
            .arg(format!("--host={}", self.folder.path().display()))
            .arg("--port=5432")
            .status()?;
        Ok(asked.success())
    }

    fn is_root() -> anyhow::Result<bool> {
        Ok(fs::metadata("/proc/self")?.uid() == 0)
    }

    /// A program of the server's own, which refuses to be root, and ends with this process.
    fn command(&self, program: &str) -> anyhow::Result<Command> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))?;
        let mut command = without_settings("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if Self::is_root()? {
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
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() {
            drop(self.kill());
        }
    }
}
