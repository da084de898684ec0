//! Carries out what was typed: each command is a few lines over [`Api`].

use std::{env, ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};
use jiff::{Zoned, tz::TimeZone};
use m2m::{Clock, Export};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    api::{Api, Servers, Service},
    cli::{
        AddEvent, CalendarCommand, Cli, Command, Connection, EventChange, LabArgs, NoteChange,
        NoteCommand, TokenArgs, UpdateEvent,
    },
    credentials::{self, Places},
    failure::{Failure, Kind},
    lab::{self, Setting, Stop, Workbench},
    output::{self, Answer, TokenAnswer},
    records::{EventFields, NoteFields},
    token_view::TokenView,
    ui,
    when::{self, WhenError},
};

/// The program: what was typed, the program's name first, is carried out or explained.
pub async fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => run(cli).await,
        Err(e) => explain(&e),
    }
}

/// Runs one command, prints what it has to say, and answers with its exit code.
pub async fn run(cli: Cli) -> ExitCode {
    let (clock, json) = (Clock::System, cli.json);
    let work = Box::pin(execute(cli, &clock)); // it is large
    let done = exporting(work).await.and_then(|answer| {
        let now = when::now(&clock, TimeZone::system());
        answer
            .print(json, &now)
            .map_err(|e| Failure::new(Kind::Failed, format!("cannot write the output: {e}")))?;
        answer.surprise().map_or(Ok(()), Err)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_failure(&failure, json);
            failure.kind.exit_code().into()
        }
    }
}

/// Does the work, and tells a collector of it if one is configured.
async fn exporting(work: impl Future<Output = Result<Answer, Failure>>) -> Result<Answer, Failure> {
    let export =
        Export::start("assistant").map_err(|e| Failure::new(Kind::Usage, e.to_string()))?;
    let done = work.await;
    export.end().await;
    done
}

/// Prints what is wrong with the command line, or the help that was asked for.
pub fn explain(e: &clap::Error) -> ExitCode {
    let json = env::args_os().any(|argument| argument == "--json");
    if json && e.use_stderr() {
        let text = e.to_string();
        let paragraph = text.lines().take_while(|line| !line.is_empty());
        let message: Vec<&str> = paragraph.map(str::trim).collect();
        let message = message.join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let failure = Failure::new(Kind::Usage, message).hint("see `assistant --help`");
        output::print_failure(&failure, json);
    } else {
        // Where the output is closed there is nobody left to tell.
        let _ = e.print();
    }
    u8::try_from(e.exit_code()).unwrap_or(1).into()
}

async fn execute(cli: Cli, clock: &Clock) -> Result<Answer, Failure> {
    let now = when::now(clock, TimeZone::system());
    match cli.command {
        Command::Calendar(command) => calendar(command, &now, &cli.connection).await,
        Command::Note(command) => note(command, &cli.connection).await,
        Command::Token(wish) => token(wish, cli.json, clock, &cli.connection).await,
        Command::Lab(wish) => lab(wish, clock, &cli.connection).await,
        Command::Start => {
            ui::check_terminal()?;
            let api = connect(&cli.connection)?;
            let setting = setting(clock, &cli.connection)?;
            ui::run(api, setting, TimeZone::system()).await?;
            Ok(Answer::Nothing)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "assistant", &mut script);
            Ok(Answer::Raw(String::from_utf8_lossy(&script).into_owned()))
        }
    }
}

async fn calendar(
    command: CalendarCommand,
    now: &Zoned,
    connection: &Connection,
) -> Result<Answer, Failure> {
    match command {
        CalendarCommand::Add(event) => {
            let event = new_event(event, now)?;
            let event = connect(connection)?.add_event(&event).await?;
            Ok(Answer::Event("Added", event))
        }
        CalendarCommand::List => {
            let mut events = connect(connection)?.events().await?;
            events.sort_by_key(|event| (event.start, event.id));
            Ok(Answer::Events(events))
        }
        CalendarCommand::Update(UpdateEvent { id, change }) => {
            let change = event_change(change, now)?;
            let event = connect(connection)?.update_event(id, &change).await?;
            Ok(Answer::Event("Updated", event))
        }
        CalendarCommand::Delete { id } => {
            connect(connection)?.delete(Service::Calendar, id).await?;
            Ok(Answer::Deleted(Service::Calendar, id))
        }
    }
}

async fn note(command: NoteCommand, connection: &Connection) -> Result<Answer, Failure> {
    match command {
        NoteCommand::Add { description, title } => {
            let note = NoteFields {
                title: Some(title),
                description: Some(description.join(" ")),
            };
            let note = connect(connection)?.add_note(&note).await?;
            Ok(Answer::Note("Added", note))
        }
        NoteCommand::List => Ok(Answer::Notes(connect(connection)?.notes().await?)),
        NoteCommand::Update { id, change } => {
            let NoteChange { description, title } = change;
            let description = joined(&description);
            let change = NoteFields { title, description };
            let note = connect(connection)?.update_note(id, &change).await?;
            Ok(Answer::Note("Updated", note))
        }
        NoteCommand::Delete { id } => {
            connect(connection)?.delete(Service::Note, id).await?;
            Ok(Answer::Deleted(Service::Note, id))
        }
    }
}

async fn token(
    wish: TokenArgs,
    json: bool,
    clock: &Clock,
    connection: &Connection,
) -> Result<Answer, Failure> {
    // Both spellings are at home: the flag several times, and RFC 6749's list in one text.
    let scopes: Vec<&str> = wish
        .scope
        .iter()
        .flat_map(|s| s.split_whitespace())
        .collect();
    let token = connect(connection)?.token(&scopes, &wish.resource).await?;
    if wish.raw && !json {
        return Ok(Answer::Raw(format!("{}\n", token.expose())));
    }
    Ok(Answer::Token(Box::new(TokenAnswer {
        resource: token.resource().to_owned(),
        scopes: token.scopes().iter().map(str::to_owned).collect(),
        expires_at: token.expires_at(),
        expires_in: token.time_left(clock).as_secs(),
        view: TokenView::decode(token.expose()),
        raw: wish.raw.then(|| token.expose().to_owned()),
    })))
}

fn new_event(event: AddEvent, now: &Zoned) -> Result<EventFields, Failure> {
    let start = match &event.start {
        Some(text) => when::read(text, now).map_err(|e| unusable("--start", &e))?,
        None => now.timestamp().as_millisecond(),
    };
    let end = match &event.end {
        Some(text) => when::read_end(text, now, start).map_err(|e| unusable("--end", &e))?,
        None => start + when::DEFAULT_LENGTH_MS,
    };
    Ok(EventFields {
        title: Some(event.title),
        description: Some(event.description.join(" ")),
        start: Some(start),
        end: Some(end),
    })
}

/// An end without a start is checked by the service: only it knows the start.
fn event_change(change: EventChange, now: &Zoned) -> Result<EventFields, Failure> {
    let start = change.start.map(|text| when::read(&text, now)).transpose();
    let start = start.map_err(|e| unusable("--start", &e))?;
    let end = change.end.map(|text| match start {
        Some(start) => when::read_end(&text, now, start),
        None => when::read(&text, now),
    });
    let end = end.transpose().map_err(|e| unusable("--end", &e))?;
    Ok(EventFields {
        title: change.title,
        description: joined(&change.description),
        start,
        end,
    })
}

fn unusable(flag: &str, e: &WhenError) -> Failure {
    Failure::new(Kind::Usage, format!("{flag}: {e}"))
}

fn joined(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" "))
}

async fn lab(wish: LabArgs, clock: &Clock, connection: &Connection) -> Result<Answer, Failure> {
    let Some(experiment) = wish.name.as_deref().and_then(lab::find) else {
        return Ok(Answer::Experiments);
    };
    let letters = (0..experiment.answers.len()).map(lab::letter);
    let prediction = wish.predict.map(|predicted| {
        let place = letters.clone().position(|letter| letter == predicted);
        place.ok_or_else(|| {
            let letters = letters.clone().map(String::from).collect::<Vec<_>>();
            let message = format!("--predict takes one of {}", letters.join(", "));
            Failure::new(Kind::Usage, message)
        })
    });
    let prediction = prediction.transpose()?;
    let setting = setting(clock, connection)?;
    let stop = Stop::default();
    let listening = tokio::spawn(stop_on_signal(stop.clone()));
    let done = lab::run(experiment, Workbench::new(setting, stop, None)).await;
    listening.abort();
    let mut report = done?;
    report.prediction = prediction;
    Ok(Answer::Lab(Box::new(report)))
}

/// Ctrl-C does not end the program in the middle: what an experiment made is removed first.
async fn stop_on_signal(stop: Stop) {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = terminated.recv() => {}
        heard = tokio::signal::ctrl_c() => if heard.is_err() { return },
    }
    stop.now();
}

fn setting(clock: &Clock, connection: &Connection) -> Result<Setting, Failure> {
    Ok(Setting {
        servers: servers(connection),
        places: places(connection)?,
        clock: clock.clone(),
    })
}

fn connect(connection: &Connection) -> Result<Api, Failure> {
    Api::new(
        servers(connection),
        &credentials::find(&places(connection)?)?,
    )
}

fn servers(connection: &Connection) -> Servers {
    Servers {
        issuer: connection.issuer.clone(),
        calendar: connection.calendar_url.clone(),
        note: connection.note_url.clone(),
        files: connection.files_url.clone(),
    }
}

fn places(connection: &Connection) -> Result<Places, Failure> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let folder = env::current_dir().map_err(|e| {
        Failure::new(
            Kind::Failed,
            format!("cannot tell the folder we are in: {e}"),
        )
    })?;
    Ok(Places {
        client_id: variable("ASSISTANT_CLIENT_ID"),
        client_secret: variable("ASSISTANT_CLIENT_SECRET").map(Into::into),
        file: connection.clients_file.clone(),
        folder,
    })
}
