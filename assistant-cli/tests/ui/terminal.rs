//! The built program in a real pseudo-terminal, with real servers behind it.

use std::{
    io::{Read, Write},
    num::NonZeroU16,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use assistant_cli::ui::Screen;
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use serde_json::json;

use crate::servers::{ASSISTANT, Servers};

/// How long a picture may take to appear. Long, for a busy machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// `assistant start` in a terminal that can be looked at.
struct Terminal {
    picture: Arc<Picture>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
}

struct Picture {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
    /// Everything that was written, for what leaves no trace on the screen.
    written: Mutex<Vec<u8>>,
}

/// `assistant start`, with the servers in its environment.
fn assistant(servers: &Servers) -> CommandBuilder {
    let mut command = CommandBuilder::new(ASSISTANT);
    command.env_clear();
    for (name, value) in servers.environment() {
        command.env(name, value);
    }
    command.cwd(servers.folder.path());
    command.arg("start");
    command
}

impl Terminal {
    fn start(servers: &Servers) -> Self {
        Self::run(assistant(servers))
    }

    fn run(mut command: CommandBuilder) -> Self {
        command.env("TERM", "xterm-256color");
        let size = PtySize {
            rows: 24,
            cols: 80,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let [rows, cols] = [24, 80].map(|n| NonZeroU16::new(n).unwrap());
        let picture = Arc::new(Picture {
            parser: Mutex::new(vt100::Parser::new(rows, cols, 0)),
            changed: Condvar::new(),
            written: Mutex::default(),
        });
        let mut output = pair.master.try_clone_reader().unwrap();
        let drawn = Arc::clone(&picture);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Linux ends a pseudo-terminal with an error, others with nothing.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                drawn.written.lock().unwrap().extend(&bytes[..count]);
                drawn.parser.lock().unwrap().process(&bytes[..count]);
                drawn.changed.notify_all();
            }
        });
        Self {
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            picture,
            child,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as it should be.
    fn wait(&self, what: &str, mut is_so: impl FnMut(&vt100::Screen) -> bool) {
        let parser = self.picture.parser.lock().unwrap();
        let (parser, late) = self
            .picture
            .changed
            .wait_timeout_while(parser, PATIENCE, |parser| !is_so(parser.screen()))
            .unwrap();
        assert!(
            !late.timed_out(),
            "waited for {what}:\n{}",
            parser.screen().contents()
        );
    }

    fn wait_for(&self, text: &str) {
        self.wait(text, |screen| screen.contents().contains(text));
    }

    /// A click of the left button on this text.
    fn click(&mut self, text: &str) {
        self.wait_for(text);
        let contents = self.picture.parser.lock().unwrap().screen().contents();
        let mut lines = contents.lines().enumerate();
        let (x, y) = lines
            .find_map(|(y, line)| Some((line[..line.find(text)?].chars().count(), y)))
            .unwrap();
        self.press(&format!("\x1b[<0;{};{}M\x1b[<0;{0};{1}m", x + 1, y + 1));
    }

    fn wait_until_gone(&self, text: &str) {
        self.wait(text, |screen| !screen.contents().contains(text));
    }

    fn resize(&self, rows: u16, cols: u16) {
        let [height, width] = [rows, cols].map(|n| NonZeroU16::new(n).unwrap());
        let mut parser = self.picture.parser.lock().unwrap();
        parser.screen_mut().set_size(height, width);
        let size = PtySize {
            rows,
            cols,
            ..PtySize::default()
        };
        self.master.resize(size).unwrap();
    }

    /// Waits for the end, and for a terminal that is as it was.
    fn finish(mut self) -> ExitStatus {
        self.wait("the old screen", |screen| {
            !screen.alternate_screen()
                && !screen.bracketed_paste()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
        self.child.wait().unwrap()
    }
}

/// A failed test leaves no program behind.
impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_the_first_key_to_the_last() {
    let servers = Servers::start().await;
    let mut terminal = Terminal::start(&servers);
    terminal.wait_for("asks for a token");
    terminal.wait("a screen of its own", vt100::Screen::alternate_screen);

    terminal.press("r");
    terminal.wait_for("Notes (1)");
    terminal.wait_for("Events (1)");
    terminal.wait_for("Sat 21 Nov");
    terminal.wait_for("left");

    // Down to "Add note", and into the form.
    terminal.press("\x1b[B\r");
    terminal.wait_for("Add note ━");
    terminal.press("Shopping\t\x1b[200~milk\nand bread\x1b[201~\r");
    terminal.wait_for("Saved note 2");
    terminal.wait_for("audience note-service  scope note.write");
    let added = json!({"id": 2, "title": "Shopping", "description": "milk and bread"});
    assert_eq!(servers.note.rows()[1], added);

    // Right to the event, and its end an hour later.
    terminal.press("\x1b[C\r");
    terminal.wait_for("Edit event 1");
    terminal.press("\x1b[A\x15+2h");
    terminal.wait_for("= Sat 21 Nov 2026 11:00");
    terminal.press("\r");
    terminal.wait_for("Saved event 1");
    terminal.wait_for("scope calendar.write");
    assert_eq!(servers.calendar.rows()[0]["end"], 1_795_258_800_000_u64);

    // Left to the new note, and away with it.
    terminal.press("\x1b[D\x7f");
    terminal.wait_for("Delete “Shopping” for good?");
    terminal.press("y");
    terminal.wait_for("Deleted note 2");
    assert_eq!(servers.note.rows().len(), 1);

    terminal.resize(12, 40);
    terminal.wait_until_gone("Events");
    terminal.wait_for("Notes (1)");
    terminal.press("q");
    assert_eq!(terminal.finish().exit_code(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tabs_with_the_mouse() {
    let servers = Servers::start().await;
    let mut terminal = Terminal::start(&servers);
    terminal.click("r get tokens");
    terminal.wait_for("Notes (1)");
    terminal.wait_for("Events (1)");

    terminal.click("2 Tokens");
    terminal.wait_for("who issued it; a verifier fetches the keys from there");
    terminal.wait_for("████");
    terminal.click("[c copy]");
    terminal.wait_for("handed to the terminal's clipboard");
    let written = terminal.picture.written.lock().unwrap().clone();
    let clipboard = b"\x1b]52;c;";
    assert!(
        written
            .windows(clipboard.len())
            .any(|part| part == clipboard)
    );

    terminal.click("3 Trace");
    terminal.wait_for("POST /auth/oauth/token");
    terminal.wait_for("assistant → notes           GET /note");
    // Away from the newest, which may be this one: a click on what is chosen opens it.
    terminal.press("\x1b[5~");
    terminal.wait_for("▶  1 ");
    terminal.click("assistant → notes");
    terminal.press("\r");
    terminal.wait_for("authorization: Bearer …");

    // A calendar that takes the token of the notes.
    servers.calendar.answer(Some((200, json!([]))));
    terminal.click("4 Lab");
    terminal.click("401: the token is good");
    terminal.click("[Enter: see what happens]");
    terminal.wait_for("You said b; it was a.");
    terminal.wait_for("The attack succeeded");
    terminal.resize(12, 40);
    terminal.wait_for("1 of 11: wrong-audience");
    terminal.press("q");
    assert_eq!(terminal.finish().exit_code(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_is_shown_and_can_be_repeated() {
    let servers = Servers::start().await;
    servers.issuer.set_down(true);
    let mut terminal = Terminal::start(&servers);
    terminal.wait_for("asks for a token");
    terminal.press("r");
    terminal.wait("two failures", |screen| {
        screen.contents().matches("✗ failed").count() == 2
    });
    servers.issuer.set_down(false);
    servers
        .note
        .answer(Some((500, json!({"detail": "out of paper"}))));
    terminal.press("r");
    terminal.wait_for("Events (1)");
    terminal.wait_for("out of paper");
    servers.note.answer(None);
    terminal.press("r");
    terminal.wait_for("Notes (1)");
    terminal.wait_until_gone("failed");
    // Ctrl-C, as a key.
    terminal.press("\x03");
    assert_eq!(terminal.finish().exit_code(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_colours_the_cursor_still_stands_out() {
    let servers = Servers::start().await;
    let mut command = assistant(&servers);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::run(command);
    terminal.wait_for("asks for a token");
    terminal.press("r");
    terminal.wait_for("Events (1)");
    terminal.wait_for("┏▶ 1 ━");
    terminal.wait("bold without colours", |screen| {
        let cells = (0..24).flat_map(|row| (0..80).map(move |col| screen.cell(row, col).unwrap()));
        let plain = vt100::Color::Default;
        let mark = screen.cell(2, 1).unwrap();
        mark.contents() == "▶"
            && mark.bold()
            && cells
                .into_iter()
                .all(|cell| (cell.fgcolor(), cell.bgcolor()) == (plain, plain))
    });
    terminal.press("q");
    assert_eq!(terminal.finish().exit_code(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_told_to_stop_gives_the_terminal_back() {
    let servers = Servers::start().await;
    let terminal = Terminal::start(&servers);
    terminal.wait_for("asks for a token");
    let id = terminal.child.process_id().unwrap().to_string();
    let killed = std::process::Command::new("kill").arg(id).status().unwrap();
    assert!(killed.success());
    assert_eq!(terminal.finish().exit_code(), 0);
}

/// This test is its own child: the second time it opens the screen and panics.
#[test]
fn a_panic_gives_the_terminal_back_and_tells_its_reason() {
    const IN_CHILD: &str = "ASSISTANT_TEST_PANICS";
    if std::env::var_os(IN_CHILD).is_some() {
        let _screen = Screen::open().unwrap();
        std::io::stdin().read_exact(&mut [0]).unwrap();
        panic!("a bug, on purpose");
    }
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.env(IN_CHILD, "1");
    let name = "terminal::a_panic_gives_the_terminal_back_and_tells_its_reason";
    command.args(["--exact", name, "--nocapture"]);
    let mut terminal = Terminal::run(command);
    terminal.wait("a screen of its own", vt100::Screen::alternate_screen);
    terminal.press("x");
    terminal.wait("the reason on the old screen", |screen| {
        !screen.alternate_screen() && screen.contents().contains("a bug, on purpose")
    });
    assert_ne!(terminal.finish().exit_code(), 0);
}
