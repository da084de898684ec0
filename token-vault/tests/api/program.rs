//! The program itself, as a process that can be killed.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::world::World;

/// A vault in a process of its own. It is killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts the program in this world, waits until it listens, and makes it the one that the world talks to.
    pub(crate) fn start(world: &mut World, more: &[&str], level: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_token-vault"))
            .args(&world.arguments()[1..])
            .args(more)
            .envs(world.variables())
            .env("NO_COLOR", "1")
            .env("RUST_LOG", level)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut program = Self {
            child,
            log: Arc::default(),
            reader: None,
        };
        let (log, (told, address)) = (Arc::clone(&program.log), mpsc::channel());
        program.reader = Some(thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("token-vault listens on ") {
                    drop(told.send(url.to_owned()));
                }
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        }));
        let url = address.recv_timeout(Duration::from_secs(30));
        world.base = url.unwrap_or_else(|_| panic!("no start:\n{}", program.log.lock().unwrap()));
        program
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; what it logged.
    pub(crate) fn terminate(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.child.wait().unwrap().success());
        self.reader.take().unwrap().join().unwrap();
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
