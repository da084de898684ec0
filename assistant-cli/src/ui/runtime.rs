//! Where the terminal program touches the world: keys in, pictures out, calls on their own tasks.

use std::{
    env,
    io::{self, IsTerminal, stdout},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::tz::TimeZone;
use m2m::{client::AccessToken, watch::watched};
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{
            self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste,
            EnableMouseCapture, Event, MouseButton, MouseEvent, MouseEventKind,
        },
        execute,
        style::Print,
    },
    style::Color,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Call, Deed, Effect, Model, Msg, Targets, TokenInUse, TokenWish, update, view};
use crate::{
    api::{Access, Api, Need, Service},
    failure::{Failure, Kind},
    lab::{self, Setting, Stop, Workbench},
    token_view::TokenView,
    when,
};

/// The countdown in the status line moves once a second.
const TICK: Duration = Duration::from_secs(1);

/// How long the program's end waits for an experiment that is told to stop: as long as its longest
/// exchange, and some to remove what it made.
const PATIENCE: Duration = Duration::from_secs(15);

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

/// Runs until the user quits. The terminal is given back as it was, also after a panic; then what an
/// experiment has made at the provider is removed, if one is under way.
pub async fn run(api: Api, setting: Setting, zone: TimeZone) -> Result<(), Failure> {
    let mut screen = Screen::open().map_err(|e| broken(&e))?;
    let mut world = World::new(api, setting);
    let ended = screen_loop(&mut screen, &mut world, zone).await;
    drop(screen);
    world.experiment.end().await;
    ended.map_err(|e| broken(&e))
}

fn broken(e: &io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("the terminal does not work: {e}"))
}

/// What is outside of the model.
struct World {
    api: Api,
    setting: Setting,
    answer: UnboundedSender<Msg>,
    answers: UnboundedReceiver<Msg>,
    calls: JoinSet<()>,
    experiment: UnderWay,
}

/// The experiment that goes on, if one does.
#[derive(Default)]
struct UnderWay {
    stop: Stop,
    task: Option<JoinHandle<()>>,
}

impl UnderWay {
    /// Waits until it has cleaned up, but not for ever.
    async fn end(&mut self) {
        self.stop.now();
        if let Some(task) = self.task.take() {
            let _ = timeout(PATIENCE, task).await;
        }
    }
}

impl World {
    fn new(api: Api, setting: Setting) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        Self {
            api,
            setting,
            answer,
            answers,
            calls: JoinSet::new(),
            experiment: UnderWay::default(),
        }
    }

    /// Carries out a wish; false when the wish is to end.
    fn do_it(&mut self, effect: Effect, screen: &mut Screen) -> io::Result<bool> {
        let (api, answer) = (self.api.clone(), self.answer.clone());
        match effect {
            Effect::Call(call) => {
                let call = carry_out(call, api, answer);
                self.calls.spawn(watched(self.tell(), call));
            }
            Effect::Token(wish) if wish.deed == Deed::Copy => {
                let copied = match self.api.held(&wish.scopes, &wish.resource) {
                    Some(token) => screen.copy(token.expose()).map(Ok)?,
                    None => Err(Failure::new(Kind::Failed, "this token is no longer held")),
                };
                let _ = answer.send(Msg::TokenDone(wish, copied));
            }
            Effect::Token(wish) => {
                let deed = do_with_token(wish, api, answer);
                self.calls.spawn(watched(self.tell(), deed));
            }
            Effect::Begin(name) => self.begin(name),
            Effect::Stop => self.experiment.stop.now(),
            Effect::Quit => return Ok(false),
        }
        Ok(true)
    }

    /// What the library does for a call is shown as it happens.
    fn tell(&self) -> impl Fn(m2m::watch::Exchange) + Send + Sync + 'static {
        let (answer, api) = (self.answer.clone(), self.api.clone());
        move |seen| {
            let exchange = api.names().seen("assistant", &seen);
            let _ = answer.send(Msg::Seen(Box::new(exchange)));
        }
    }

    fn begin(&mut self, name: &'static str) {
        let Some(experiment) = lab::find(name) else {
            return;
        };
        let stop = Stop::default();
        let (tell, mut told) = mpsc::unbounded_channel();
        let bench = Workbench::new(self.setting.clone(), stop.clone(), Some(tell));
        let answer = self.answer.clone();
        let task = async move {
            let running = async {
                let outcome = lab::run(experiment, bench).await;
                Msg::TrialEnded(Box::new(outcome))
            };
            tokio::pin!(running);
            loop {
                tokio::select! {
                    biased;
                    Some(note) = told.recv() => {
                        let _ = answer.send(Msg::Trial(note));
                    }
                    ended = &mut running => {
                        while let Ok(note) = told.try_recv() {
                            let _ = answer.send(Msg::Trial(note));
                        }
                        let _ = answer.send(ended);
                        return;
                    }
                }
            }
        };
        self.experiment = UnderWay {
            stop,
            task: Some(tokio::spawn(task)),
        };
    }
}

async fn screen_loop(screen: &mut Screen, world: &mut World, zone: TimeZone) -> io::Result<()> {
    let clock = world.setting.clock.clone();
    let now = || when::now(&clock, zone.clone());
    let mut model = Model::new(now());
    let mut keys = read_keys();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let targets = screen.draw(&model)?;
        let msg = tokio::select! {
            Some(event) = keys.recv() => match event? {
                Event::Key(key) => Msg::Key(key),
                Event::Paste(text) => Msg::Paste(text),
                Event::Mouse(mouse) => match clicked(mouse, &targets) {
                    Some(msg) => msg,
                    None => continue,
                },
                // A resize is drawn with the next turn, like everything.
                _ => continue,
            },
            Some(msg) = world.answers.recv() => msg,
            Some(done) = world.calls.join_next() => match done {
                Ok(()) => continue,
                // A call that panicked would leave its card loading for ever.
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            },
            _ = ticks.tick() => Msg::Tick(now()),
            _ = terminated.recv() => return Ok(()),
        };
        for effect in update(&mut model, msg) {
            if !world.do_it(effect, screen)? {
                return Ok(());
            }
        }
    }
}

/// What a mouse does: the left button acts, the wheel moves; the rest is left to the terminal.
fn clicked(mouse: MouseEvent, targets: &Targets) -> Option<Msg> {
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            targets.at(mouse.column, mouse.row).map(Msg::Click)
        }
        MouseEventKind::ScrollDown => Some(Msg::Wheel(1)),
        MouseEventKind::ScrollUp => Some(Msg::Wheel(-1)),
        _ => None,
    }
}

/// Carries out one wish. The token comes first, so that the status line shows it while it is used.
async fn carry_out(call: Call, api: Api, answer: UnboundedSender<Msg>) {
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

/// Puts a fresh token in the place of one that is held, or has the issuer take it back.
async fn do_with_token(wish: TokenWish, api: Api, answer: UnboundedSender<Msg>) {
    let done = match wish.deed {
        Deed::Refresh => {
            let fresh = api.refresh(&wish.scopes, &wish.resource).await;
            fresh.map(|token| {
                let _ = answer.send(Msg::Token(in_use(&token)));
            })
        }
        Deed::Revoke => {
            let (exchanges, done) = api.revoke(&wish.scopes, &wish.resource).await;
            for exchange in exchanges {
                let _ = answer.send(Msg::Seen(Box::new(exchange)));
            }
            done
        }
        Deed::Copy => Ok(()),
    };
    let _ = answer.send(Msg::TokenDone(wish, done));
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
        fetched_at: token.fetched_at(),
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
        execute!(stdout(), EnableBracketedPaste, EnableMouseCapture)?;
        Ok(screen)
    }

    /// Says what a click would do where.
    fn draw(&mut self, model: &Model) -> io::Result<Targets> {
        let mut targets = Targets::default();
        self.terminal.draw(|frame| {
            targets = view(model, frame);
            if !self.colours {
                // crossterm's own way to leave out a colour also ends bold and underlined.
                for cell in &mut frame.buffer_mut().content {
                    (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
                }
            }
        })?;
        Ok(targets)
    }

    /// Hands a text to the terminal's clipboard (OSC 52 of xterm's control sequences). Whether the
    /// terminal takes it is not to be known.
    fn copy(&mut self, text: &str) -> io::Result<()> {
        let text = STANDARD.encode(text);
        execute!(
            self.terminal.backend_mut(),
            Print(format_args!("\x1b]52;c;{text}\x07"))
        )
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing better can be done where this fails.
        let _ = execute!(stdout(), DisableMouseCapture, DisableBracketedPaste);
        ratatui::restore();
    }
}
