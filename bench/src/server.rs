//! A server process under measurement: started on its own core, waited for, and stopped whatever
//! happens.

use std::{
    fmt,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::machine::{self, Memory};

/// How long a server may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a process runs: on which cores, and in which folder.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub cores: Cores,
    pub folder: &'a Path,
}

/// The cores that a process may use, by their numbers.
#[derive(Clone, Copy, Debug)]
pub enum Cores {
    One(u32),
    Two(u32, u32),
}

impl fmt::Display for Cores {
    /// As `taskset` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(core) => write!(f, "{core}"),
            Self::Two(one, other) => write!(f, "{one},{other}"),
        }
    }
}

/// A running server. Dropping it kills the process.
pub struct Server {
    name: &'static str,
    address: SocketAddr,
    process: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program` on an address that `configure` hands to it. Its log and everything else
    /// that it writes lie in the folder of `place`. It inherits no environment, so that nobody's
    /// settings change what is measured.
    pub fn start(
        name: &'static str,
        program: &Path,
        place: Place,
        configure: impl FnOnce(&mut Command, SocketAddr) -> &mut Command,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let log = place.folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", &place.cores.to_string()])
            .arg(program)
            .current_dir(place.folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let process = configure(&mut command, address)
            .spawn()
            .with_context(|| format!("cannot start {name} with taskset (Debian: util-linux)"))?;
        Ok(Self {
            name,
            address,
            process,
            log,
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the server says that it is ready.
    pub async fn ready(&mut self, http: &reqwest::Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.last_words());
            }
            let answer = http.get(self.url("/ready")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        let name = self.name;
        bail!("{name} was not ready in time:\n{}", self.last_words());
    }

    /// Asks the server to end, as whoever runs it would, and waits until it has.
    ///
    /// # Errors
    /// When it does not end well, or in time.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let process = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &process]).status()?;
        ensure!(told.success(), "cannot signal {}", self.name);
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                ensure!(
                    status.success(),
                    "{} ended with {status}:\n{}",
                    self.name,
                    self.last_words()
                );
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        bail!("{} did not end in time:\n{}", self.name, self.last_words());
    }

    /// The processor time that the server has used so far.
    pub fn processor_seconds(&self) -> anyhow::Result<f64> {
        machine::processor_seconds_of(self.process.id())
            .with_context(|| format!("{} is gone:\n{}", self.name, self.last_words()))
    }

    /// How much memory the server uses.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.process.id())
            .with_context(|| format!("{} is gone:\n{}", self.name, self.last_words()))
    }

    /// How many bytes the server has had written to disk so far.
    pub fn bytes_written(&self) -> anyhow::Result<f64> {
        machine::bytes_written_by(self.process.id())
            .with_context(|| format!("{} is gone:\n{}", self.name, self.last_words()))
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Waited for, so that the folder can be removed afterwards. Errors mean that it is gone
        // already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An address on this machine that nobody listens on at the moment.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(folder: &Path, script: &str) -> Server {
        let cores = Cores::One(machine::allowed_cores().unwrap()[0]);
        let place = Place { cores, folder };
        Server::start("tested", Path::new("/bin/sh"), place, |command, _| {
            command.args(["-c", script])
        })
        .unwrap()
    }

    #[actix_web::test]
    async fn a_server_that_ends_early_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = start(folder.path(), "echo the policy does not parse >&2; exit 3");
        let http = m2m::http_client(Duration::from_secs(1));
        let error = server.ready(&http).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("the policy does not parse"), "{error}");
    }

    #[test]
    fn a_dropped_server_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path(), "exec sleep 60");
        let process = PathBuf::from(format!("/proc/{}", server.process.id()));
        assert!(process.exists());
        drop(server);
        assert!(!process.exists());
    }
}
