//! Where the terminal program touches the world: keys in, pictures out, calls on their own tasks.

use std::{
    env,
    io::{self, IsTerminal, stdout},
    time::Duration,
};

use jiff::tz::TimeZone;
use m2m::{Clock, client::AccessToken};
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, DisableBracketedPaste, EnableBracketedPaste, Event},
        execute,
    },
    style::Color,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{Call, Effect, Model, Msg, TokenInUse, update, view};
use crate::{
    api::{Access, Api, Need, Service},
    failure::{Failure, Kind},
    token_view::TokenView,
    when,
};

/// The countdown in the status line moves once a second.
const TICK: Duration = Duration::from_secs(1);

/// Refuses to draw where nobody would see it.
pub fn check_terminal() -> Result<(), Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    Err(
        Failure::new(Kind::Failed, "`assistant start` needs a terminal")
            .hint("the other commands do the same without one, see `assistant --help`"),
    )
}

/// Runs until the user quits. The terminal is given back as it was, also after a panic.
pub async fn run(api: Api, clock: Clock, zone: TimeZone) -> Result<(), Failure> {
    let mut screen = Screen::open().map_err(|e| broken(&e))?;
    screen_loop(&mut screen, api, clock, zone)
        .await
        .map_err(|e| broken(&e))
}

fn broken(e: &io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("the terminal does not work: {e}"))
}

async fn screen_loop(
    screen: &mut Screen,
    api: Api,
    clock: Clock,
    zone: TimeZone,
) -> io::Result<()> {
    let now = || when::now(&clock, zone.clone());
    let mut model = Model::new(now());
    let mut keys = read_keys();
    let (answer, mut answers) = mpsc::unbounded_channel();
    let mut calls = JoinSet::new();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        screen.draw(&model)?;
        let msg = tokio::select! {
            Some(event) = keys.recv() => match event? {
                Event::Key(key) => Msg::Key(key),
                Event::Paste(text) => Msg::Paste(text),
                // A resize is drawn with the next turn, like everything.
                _ => continue,
            },
            Some(msg) = answers.recv() => msg,
            Some(done) = calls.join_next() => match done {
                Ok(()) => continue,
                // A call that panicked would leave its card loading for ever.
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            },
            _ = ticks.tick() => Msg::Tick(now()),
            _ = terminated.recv() => return Ok(()),
        };
        for effect in update(&mut model, msg) {
            match effect {
                Effect::Call(call) => calls.spawn(carry_out(call, api.clone(), answer.clone())),
                Effect::Quit => return Ok(()),
            };
        }
    }
}

/// Carries out one wish. The token comes first, so that the status line shows it while it is used.
async fn carry_out(call: Call, api: Api, answer: mpsc::UnboundedSender<Msg>) {
    let need = need(&call);
    let token = api.token(&[need.scope()], need.service.name()).await;
    if let Ok(token) = &token {
        // The receiver is gone when the program ends; then nobody waits for this.
        let _ = answer.send(Msg::Token(in_use(token)));
    }
    let refused = token.as_ref().err().cloned();
    let msg = match call {
        Call::LoadNotes => Msg::Notes(or(refused, api.notes()).await),
        Call::LoadEvents => Msg::Events(or(refused, api.events()).await),
        Call::SaveNote { form, id, fields } => Msg::NoteSaved(
            form,
            match id {
                Some(id) => or(refused, api.update_note(id, &fields)).await,
                None => or(refused, api.add_note(&fields)).await,
            },
        ),
        Call::SaveEvent { form, id, fields } => Msg::EventSaved(
            form,
            match id {
                Some(id) => or(refused, api.update_event(id, &fields)).await,
                None => or(refused, api.add_event(&fields)).await,
            },
        ),
        Call::Delete(row) => {
            let gone = or(refused, api.delete(row.service, row.id)).await;
            Msg::Deleted(row, gone)
        }
    };
    // A service that refused the token got a fresh one with the second try: show that.
    if let (Ok(token), Some(held)) = (token, api.token_held(need))
        && held.expose() != token.expose()
    {
        let _ = answer.send(Msg::Token(in_use(&held)));
    }
    let _ = answer.send(msg);
}

/// Without a token there is no call.
async fn or<T>(
    refused: Option<Failure>,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match refused {
        Some(failure) => Err(failure),
        None => call.await,
    }
}

fn need(call: &Call) -> Need {
    let (service, access) = match call {
        Call::LoadNotes => (Service::Note, Access::Read),
        Call::LoadEvents => (Service::Calendar, Access::Read),
        Call::SaveNote { .. } => (Service::Note, Access::Write),
        Call::SaveEvent { .. } => (Service::Calendar, Access::Write),
        Call::Delete(row) => (row.service, Access::Write),
    };
    Need { service, access }
}

fn in_use(token: &AccessToken) -> TokenInUse {
    TokenInUse {
        resource: token.resource().to_owned(),
        scopes: token.scopes().to_string(),
        expires_at: token.expires_at(),
        view: TokenView::decode(token.expose()),
    }
}

/// Reading keys blocks, so it has a thread of its own; it ends with the process.
fn read_keys() -> mpsc::UnboundedReceiver<io::Result<Event>> {
    let (send, keys) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if send.send(event).is_err() || failed {
                return;
            }
        }
    });
    keys
}

/// The terminal while it is ours. `ratatui::try_init` also hooks into panics, so that their message
/// is printed on a terminal that works again.
pub struct Screen {
    terminal: DefaultTerminal,
    colours: bool,
}

impl Screen {
    /// Takes the terminal; dropping the value gives it back.
    pub fn open() -> io::Result<Self> {
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let screen = Self {
            terminal: ratatui::try_init()?,
            colours: !no_color,
        };
        execute!(stdout(), EnableBracketedPaste)?;
        Ok(screen)
    }

    fn draw(&mut self, model: &Model) -> io::Result<()> {
        self.terminal.draw(|frame| {
            view(model, frame);
            if !self.colours {
                // crossterm's own way to leave out a colour also ends bold and underlined.
                for cell in &mut frame.buffer_mut().content {
                    (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
                }
            }
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing better can be done where this fails.
        let _ = execute!(stdout(), DisableBracketedPaste);
        ratatui::restore();
    }
}
