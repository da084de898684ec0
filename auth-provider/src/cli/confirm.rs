//! What cannot be undone is shown first, and done only after a yes.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::anyhow;

use super::failure::Failure;

/// The flag of each command that asks before it acts.
#[derive(Clone, Copy, clap::Args)]
pub struct Confirm {
    /// Do not ask before what cannot be undone
    #[arg(long)]
    yes: bool,
}

/// A person who can be asked.
pub(super) struct Person {
    keyboard: io::Stdin,
    screen: io::Stderr,
}

impl Confirm {
    /// Whom to ask, if anybody.
    ///
    /// # Errors
    /// When there is nobody and `--yes` does not stand in.
    pub(super) fn person(self) -> Result<Option<Person>, Failure> {
        if self.yes {
            return Ok(None);
        }
        let (keyboard, screen) = (io::stdin(), io::stderr());
        if !keyboard.is_terminal() || !screen.is_terminal() {
            return Err(Failure::Usage(
                "this cannot be undone, and there is no terminal to ask at: say --yes to do it"
                    .to_owned(),
            ));
        }
        Ok(Some(Person { keyboard, screen }))
    }
}

impl Person {
    /// Shows what would be done. Anything but yes ends the command.
    pub(super) fn ask(self, what: &str) -> Result<(), Failure> {
        let mut screen = anstream::AutoStream::auto(self.screen.lock());
        write!(screen, "{}\nGo on? Type yes: ", what.trim_end())?;
        screen.flush()?;
        let mut answer = String::new();
        self.keyboard.lock().read_line(&mut answer)?;
        if matches!(answer.trim(), "yes" | "y") {
            return Ok(());
        }
        Err(anyhow!("nothing was changed").into())
    }
}
