//! The programs themselves, as processes.

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Those that journeys run as processes.
const NAMES: [&str; 7] = [
    "assistant-cli",
    "auth-provider",
    "calendar-service",
    "microservice",
    "note-service",
    "resource-server",
    "token-vault",
];

/// A program that runs until this is dropped.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it in `folder`, with its log there.
    pub(crate) fn start(name: &str, arguments: &[&str], folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log);
        let child = command(name, folder)
            .args(arguments)
            .stderr(log.unwrap())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A program in `folder`, which takes nothing from the environment of this test.
pub(crate) fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs().join(name));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command
}

/// The folder with the programs, which are built if they are not there or not new.
fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--quiet"])
            .args(NAMES.iter().flat_map(|name| ["-p", name]))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(build.unwrap().success());
        // This test is target/debug/deps/journeys-….
        let deps = env::current_exe().unwrap();
        deps.ancestors().nth(2).unwrap().to_owned()
    })
}
