//! A place to try a chapter in: a folder that looks like the project's, a network with nobody in it, and
//! nothing left of either afterwards.
//!
//! A chapter starts servers on the ports that the book names. Where the system lets it, each chapter has
//! network and processes of its own (Linux namespaces), so that these ports are free whatever else runs
//! on this machine, and no process outlives the chapter. Elsewhere it uses the machine's ports.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;
use tempfile::TempDir;

/// What the programs of a chapter see of this program's environment.
const PASSED_ON: [&str; 7] = [
    "HOME",
    "USER",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "LD_LIBRARY_PATH",
];

/// Brings up the loopback of a new network, and stays the parent of whoever lost theirs.
const INIT: &str = r#"ip link set lo up || exit 125; "$@"; exit $?"#;

/// How a chapter is kept apart from the rest of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// In namespaces that this user may make.
    AsWeAre,
    /// In namespaces within one in which this user is root.
    AsRootOfOurs,
    /// Not at all.
    No,
}

impl Apart {
    /// The best that this system allows.
    pub fn found() -> Self {
        let works = |apart: &Self| {
            let Some(mut trial) = apart.unshare() else {
                return true;
            };
            let trial = trial
                .arg("true")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            trial.status().is_ok_and(|status| status.success())
        };
        let all = [Self::AsWeAre, Self::AsRootOfOurs, Self::No];
        all.into_iter()
            .find(works)
            .expect("nothing is always possible")
    }

    /// The beginning of a command line, after which the program and its arguments follow.
    fn unshare(self) -> Option<Command> {
        let mut command = Command::new("unshare");
        match self {
            Self::No => return None,
            Self::AsWeAre => {}
            Self::AsRootOfOurs => drop(command.arg("--map-root-user")),
        }
        command.args([
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "-c",
            INIT,
            "chapter",
        ]);
        Some(command)
    }
}

/// The folder.
#[derive(Debug)]
pub struct Workshop {
    folder: TempDir,
    /// A folder with a `cargo` that knows where the project is.
    bin: TempDir,
}

impl Workshop {
    /// Lays out a folder for the project at `root`, with programs from `programs` (`…/debug`).
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(root: &Path, programs: &Path) -> anyhow::Result<Self> {
        let workshop = Self {
            folder: tempfile::tempdir()?,
            bin: tempfile::tempdir()?,
        };
        let folder = workshop.folder();
        for shared in ["docs", "scripts"] {
            symlink(root.join(shared), folder.join(shared))?;
        }
        // The reader may change these.
        fs::create_dir(folder.join("demo"))?;
        for file in fs::read_dir(root.join("demo"))? {
            let file = file?;
            fs::copy(file.path(), folder.join("demo").join(file.file_name()))?;
        }
        fs::create_dir(folder.join("target"))?;
        symlink(programs, folder.join("target/debug"))?;
        let target = programs
            .parent()
            .context("the programs are in a folder of target")?;
        let cargo = workshop.bin.path().join("cargo");
        let real = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let path = env::var("PATH").unwrap_or_default();
        // What `cargo run` starts works in the reader's folder, where `clients.json` is; the sources are elsewhere.
        let shim = format!(
            "#!/bin/sh\nPATH='{path}' CARGO_NET_OFFLINE=true CARGO_TARGET_DIR='{target}'\n\
             export PATH CARGO_NET_OFFLINE CARGO_TARGET_DIR\n\
             command=$1\nshift\nexec '{real}' \"$command\" --manifest-path '{manifest}' \"$@\"\n",
            target = target.display(),
            manifest = root.join("Cargo.toml").display(),
        );
        fs::write(&cargo, shim)?;
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755))?;
        Ok(workshop)
    }

    /// Where the reader sits.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that runs a program with these arguments in the folder, apart from everything.
    pub fn command(&self, apart: Apart, program: &Path, arguments: &[&str]) -> Command {
        let mut command = match apart.unshare() {
            Some(mut command) => {
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        let path = env::var("PATH").unwrap_or_default();
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", format!("{}:{path}", self.bin.path().display()))
            .envs([
                ("LANG", "C.UTF-8"),
                ("TZ", "UTC"),
                ("NO_COLOR", "1"),
                ("TERM", "dumb"),
                ("COLUMNS", "100"),
            ])
            .envs(
                PASSED_ON
                    .iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            );
        command
    }

    /// Stops what `scripts/demo --keep` may have left, for where processes are not kept apart.
    pub fn stop_demo(&self) {
        let _ = Command::new("scripts/demo")
            .arg("--stop")
            .current_dir(self.folder())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
