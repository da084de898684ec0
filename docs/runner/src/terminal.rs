//! A shell that somebody types into, and what appears on its screen.

use std::{
    fs,
    io::{self, Read, Write, pipe},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// What no program prints; it stands around the status of a command on the screen.
const MARK: char = '\u{1e}';

/// A bash in a folder. What it started in the foreground ends with it.
#[derive(Debug)]
pub struct Terminal {
    shell: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    /// What appeared and was not looked at.
    unread: Vec<u8>,
    /// Where the next command is written for the shell to read.
    command: PathBuf,
}

/// What came of a command.
#[derive(Debug)]
pub struct Outcome {
    /// Everything it printed, on both streams, in the order of printing.
    pub output: String,
    /// Its exit status.
    pub status: i32,
}

impl Terminal {
    /// Opens a terminal. `scratch` is a folder for what it keeps itself, `name` its own part there.
    ///
    /// # Errors
    /// When there is no bash.
    pub fn open(folder: &Path, scratch: &Path, name: &str) -> anyhow::Result<Self> {
        let (mut output, both) = pipe()?;
        let mut shell = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(both.try_clone()?)
            .stderr(both)
            .process_group(0)
            .spawn()
            .context("cannot start bash")?;
        let keyboard = shell.stdin.take().expect("it was asked for");
        let (lines, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if lines.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let command = scratch.join(name);
        let mut terminal = Self {
            shell,
            keyboard,
            screen,
            unread: Vec::new(),
            command,
        };
        // As in a shell with a person before it.
        writeln!(terminal.keyboard, "shopt -s expand_aliases")?;
        Ok(terminal)
    }

    /// Types a command and waits for its end.
    ///
    /// # Errors
    /// When it has not ended in time, or the shell is gone: with what was printed so far.
    pub fn run(&mut self, text: &str, patience: Duration) -> anyhow::Result<Outcome> {
        self.begin(text)?;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(outcome) = self.ended() {
                return Ok(outcome);
            }
            if !self.look(deadline)? {
                bail!(
                    "it has not ended after {} s, and printed:\n{}",
                    patience.as_secs(),
                    self.so_far()
                );
            }
        }
    }

    /// Types a command that goes on.
    ///
    /// # Errors
    /// When the shell is gone.
    pub fn begin(&mut self, text: &str) -> io::Result<()> {
        fs::write(&self.command, text)?;
        let file = self.command.display();
        // Read from a file, a command can neither eat the next one nor end the shell with half a quote. Its status
        // is then that of the line, for who asks with `$?`.
        writeln!(
            self.keyboard,
            "source '{file}' </dev/null; status=$?; printf '\\036%s\\036' $status; (exit $status)"
        )
    }

    /// Waits for something to appear; false when nothing has until the deadline.
    ///
    /// # Errors
    /// When the shell is gone.
    pub fn look(&mut self, deadline: Instant) -> anyhow::Result<bool> {
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.screen.recv_timeout(patience) {
            Ok(bytes) => {
                self.unread.extend(bytes);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the shell has ended; it printed:\n{}", self.so_far())
            }
        }
    }

    /// What has appeared since the last command ended.
    pub fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// What came of the command, if it has ended.
    pub fn ended(&mut self) -> Option<Outcome> {
        let text = self.so_far();
        let (output, rest) = text.split_once(MARK)?;
        let (status, rest) = rest.split_once(MARK)?;
        let outcome = Outcome {
            output: output.to_owned(),
            status: status.parse().unwrap_or(-1),
        };
        self.unread = rest.into();
        Some(outcome)
    }
}

impl Drop for Terminal {
    /// As when its window is closed: what runs in it is told to end, and waited for.
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        let told = Command::new("kill").args(["-TERM", "--", &group]).status();
        if told.is_ok() {
            // The pipe closes when the last program has ended that could print.
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.look(deadline).unwrap_or(false) {}
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
