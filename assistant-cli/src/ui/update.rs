//! What happens next: a message comes in, the model changes, wishes go out.

use jiff::Zoned;
use ratatui::crossterm::event::{Event as TerminalEvent, KeyEvent, KeyEventKind};
use tui_input::{InputRequest, backend::crossterm::to_input_request};

use super::{
    form::{Form, Stage},
    held::{Deed, TokenWish},
    keys::{self, Action},
    model::{Card, Column, Doomed, Front, Model, News, Tab, TokenInUse},
};
use crate::{
    api::Service,
    exchange::Exchange,
    failure::{Failure, Kind},
    lab::{Note as LabNote, Report},
    records::{Event, EventFields, Note, NoteFields},
};

/// Something has happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key was pressed, held or released.
    Key(KeyEvent),
    /// Something on the screen was clicked, which does this.
    Click(Action),
    /// The wheel was turned by so many steps; towards the user is down.
    Wheel(isize),
    /// A text was pasted.
    Paste(String),
    /// Time has passed.
    Tick(Zoned),
    /// A call is using this token.
    Token(TokenInUse),
    /// What was wished for a token was done, or not.
    TokenDone(TokenWish, Result<(), Failure>),
    /// Something went over the wire.
    Seen(Box<Exchange>),
    /// An experiment tells how it goes on.
    Trial(LabNote),
    /// An experiment has ended.
    TrialEnded(Box<Result<Report, Failure>>),
    /// The answer to [`Call::LoadNotes`].
    Notes(Result<Vec<Note>, Failure>),
    /// The answer to [`Call::LoadEvents`].
    Events(Result<Vec<Event>, Failure>),
    /// The answer to [`Call::SaveNote`], with the number of its form.
    NoteSaved(u64, Result<Note, Failure>),
    /// The answer to [`Call::SaveEvent`], with the number of its form.
    EventSaved(u64, Result<Event, Failure>),
    /// The answer to [`Call::Delete`].
    Deleted(Doomed, Result<(), Failure>),
}

/// Something is to be done outside of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Talk to a service.
    Call(Call),
    /// Do something with a token.
    Token(TokenWish),
    /// Carry out the experiment with this name.
    Begin(&'static str),
    /// Break off the experiment that goes on.
    Stop,
    /// End the program.
    Quit,
}

/// A call to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Get all notes.
    LoadNotes,
    /// Get all events.
    LoadEvents,
    /// Add a note, or change the one with this id.
    SaveNote {
        /// The number of the form that waits for the answer.
        form: u64,
        /// `None` for a new one.
        id: Option<u64>,
        /// What to write.
        fields: NoteFields,
    },
    /// Add an event, or change the one with this id.
    SaveEvent {
        /// The number of the form that waits for the answer.
        form: u64,
        /// `None` for a new one.
        id: Option<u64>,
        /// What to write.
        fields: EventFields,
    },
    /// Delete a note or an event.
    Delete(Doomed),
}

/// Takes in what has happened. Pure: no clock, no terminal, no network.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        // Some terminals report the release of a key too; it is no second press.
        Msg::Key(key) if key.kind == KeyEventKind::Release => vec![],
        Msg::Key(key) => match keys::action(model, key) {
            Some(action) => act(model, action),
            None => write(model, to_input_request(&TerminalEvent::Key(key))),
        },
        Msg::Paste(text) => write(model, one_line(&text).map(InputRequest::InsertChar)),
        Msg::Tick(now) => {
            model.now = now;
            vec![]
        }
        Msg::Click(action) => act(model, action),
        Msg::Wheel(by) => wheel(model, by),
        Msg::Token(token) => {
            model.held.take_in(token.clone());
            model.token = Some(token);
            vec![]
        }
        Msg::TokenDone(wish, done) => {
            model.held.end(&wish, done.is_ok());
            model.news = Some(token_news(&wish, done));
            vec![]
        }
        Msg::Seen(exchange) => {
            model.seen.push(*exchange);
            vec![]
        }
        Msg::Trial(note) => {
            if let LabNote::Exchange(exchange) = &note {
                model.seen.push(Exchange::clone(exchange));
            }
            model.trials.told(note);
            vec![]
        }
        Msg::TrialEnded(outcome) => {
            model.trials.end(*outcome);
            vec![]
        }
        Msg::Notes(answer) => {
            model.notes.finish_loading(answer);
            vec![]
        }
        Msg::Events(answer) => {
            model.events.finish_loading(answer);
            vec![]
        }
        Msg::NoteSaved(form, answer) => match saved(model, form, "note", answer) {
            Some(note) => take_in(&mut model.notes, note, Call::LoadNotes),
            None => vec![],
        },
        Msg::EventSaved(form, answer) => match saved(model, form, "event", answer) {
            Some(event) => take_in(&mut model.events, event, Call::LoadEvents),
            None => vec![],
        },
        Msg::Deleted(row, answer) => deleted(model, &row, answer),
    }
}

fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Load => return load(model),
        Action::Tab(tab) => {
            (model.tab, model.front) = (tab, Front::Columns);
            if tab == Tab::Tokens {
                show_last_token(model);
            }
        }
        Action::Go(by) => go(model, by),
        Action::Side(side) => model.side = side,
        Action::Card(side, place) => {
            model.side = side;
            match side {
                Service::Note => model.notes.at = place.min(model.notes.cards().len()),
                Service::Calendar => model.events.at = place.min(model.events.cards().len()),
            }
        }
        Action::Row(place) => match model.tab {
            Tab::Board => {}
            Tab::Tokens => model.held.choose(place),
            Tab::Trace => model.seen.choose(place),
            Tab::Lab => model.trials.choose(place),
        },
        Action::Scroll(by) => scroll(model, by),
        Action::Open => model.front = Front::Form(open(model)),
        Action::AskDelete => {
            if let Some(row) = model.selected() {
                model.front = Front::Confirm(row);
            }
        }
        Action::Delete => return delete(model),
        Action::Field(by) => {
            if let Front::Form(form) = &mut model.front {
                let fields = form.fields.len();
                form.at = (form.at + fields).saturating_add_signed(by) % fields;
            }
        }
        Action::Save => return save(model),
        Action::Token(deed) => {
            model.news = None;
            return model
                .held
                .begin(deed)
                .map(Effect::Token)
                .into_iter()
                .collect();
        }
        Action::Expand => model.seen.is_open = !model.seen.is_open,
        Action::Predict(answer) => model.trials.predict(answer),
        Action::Run => {
            let begun = model.trials.begin();
            return begun.map(|e| Effect::Begin(e.name)).into_iter().collect();
        }
        Action::Stop => return vec![Effect::Stop],
        Action::Help => model.front = Front::Help,
        Action::Leave => model.front = Front::Columns,
        Action::Quit => return vec![Effect::Quit],
    }
    vec![]
}

fn go(model: &mut Model, by: isize) {
    match (model.tab, model.side) {
        (Tab::Board, Service::Note) => model.notes.go(by),
        (Tab::Board, Service::Calendar) => model.events.go(by),
        (Tab::Tokens, _) => model.held.go(by),
        (Tab::Trace, _) => model.seen.go(by),
        (Tab::Lab, _) => model.trials.go(by),
    }
}

/// Nothing that is explained has more lines than this.
const MOST_LINES: usize = 400;

fn scroll(model: &mut Model, by: isize) {
    let lines = match model.tab {
        Tab::Tokens => &mut model.held.scroll,
        Tab::Lab => &mut model.trials.scroll,
        Tab::Board | Tab::Trace => return,
    };
    *lines = lines.saturating_add_signed(by).min(MOST_LINES);
}

/// The wheel moves what is read where something is read, and else the cursor.
fn wheel(model: &mut Model, by: isize) -> Vec<Effect> {
    if matches!(model.front, Front::Columns) {
        match model.tab {
            Tab::Board | Tab::Trace => go(model, by),
            Tab::Tokens | Tab::Lab => scroll(model, by * 2),
        }
    }
    vec![]
}

/// The cursor goes to the token of the last call.
fn show_last_token(model: &mut Model) {
    let Some(last) = &model.token else { return };
    let is_it = |held: &super::HeldToken| held.token == *last;
    if let Some(place) = model.held.tokens.iter().position(is_it) {
        model.held.choose(place);
    }
}

fn token_news(wish: &TokenWish, done: Result<(), Failure>) -> News {
    let TokenWish {
        deed,
        resource,
        scopes,
    } = wish;
    match (deed, done) {
        (Deed::Refresh, Ok(())) => News::Good(format!("A new token for {resource}, {scopes}")),
        (Deed::Revoke, Ok(())) => {
            let what = "Revoked: the next call gets a 401, then a new token by itself";
            News::Good(what.to_owned())
        }
        (Deed::Copy, Ok(())) => News::Good(
            "The token, a secret, was handed to the terminal's clipboard (if it takes it)"
                .to_owned(),
        ),
        (_, Err(failure)) => News::Bad(failure.sentence()),
    }
}

/// Asks for both lists, but not for one that is on its way.
fn load(model: &mut Model) -> Vec<Effect> {
    let mut effects = Vec::new();
    if model.notes.start_loading() {
        effects.push(Effect::Call(Call::LoadNotes));
    }
    if model.events.start_loading() {
        effects.push(Effect::Call(Call::LoadEvents));
    }
    model.news = None;
    effects
}

fn open(model: &mut Model) -> Form {
    model.forms_opened += 1;
    let number = model.forms_opened;
    match model.side {
        Service::Note => Form::note(number, model.notes.current()),
        Service::Calendar => Form::event(number, model.events.current(), &model.now),
    }
}

/// Writes into the field of the form, if there is one. A form on its way stays as it was sent.
fn write(model: &mut Model, keys: impl IntoIterator<Item = InputRequest>) -> Vec<Effect> {
    if let Front::Form(form) = &mut model.front
        && form.stage != Stage::Saving
    {
        let mut changed = false;
        for key in keys {
            let done = form.current().input.handle(key);
            changed |= done.is_some_and(|done| done.value);
        }
        if changed {
            form.current().error = None;
            form.stage = Stage::Writing;
        }
    }
    vec![]
}

/// A field is one line: what is pasted loses its line breaks.
fn one_line(text: &str) -> impl Iterator<Item = char> {
    text.trim_end_matches(['\r', '\n'])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
}

fn save(model: &mut Model) -> Vec<Effect> {
    let Front::Form(form) = &mut model.front else {
        return vec![];
    };
    let (number, id) = (form.number, form.id);
    let call = match form.service {
        Service::Note => form.note_fields().map(|fields| {
            let nothing = fields == NoteFields::default();
            (!nothing).then_some(Call::SaveNote {
                form: number,
                id,
                fields,
            })
        }),
        Service::Calendar => form.event_fields(&model.now).map(|fields| {
            let nothing = fields == EventFields::default();
            (!nothing).then_some(Call::SaveEvent {
                form: number,
                id,
                fields,
            })
        }),
    };
    match call {
        // Not valid: the form shows where.
        None => vec![],
        // Nothing was changed.
        Some(None) => {
            model.front = Front::Columns;
            vec![]
        }
        Some(Some(call)) => {
            form.stage = Stage::Saving;
            model.news = None;
            vec![Effect::Call(call)]
        }
    }
}

/// Closes the form that was saved, or shows in it why it was not. A form that was left in the
/// meantime has its say in the news.
fn saved<T: Card>(
    model: &mut Model,
    number: u64,
    thing: &str,
    answer: Result<T, Failure>,
) -> Option<T> {
    let form = match &mut model.front {
        Front::Form(form) if form.number == number => Some(form),
        _ => None,
    };
    match (answer, form) {
        (Ok(row), form) => {
            if form.is_some() {
                model.front = Front::Columns;
            }
            model.news = Some(News::Good(format!("Saved {thing} {}", row.id())));
            Some(row)
        }
        (Err(failure), Some(form)) => {
            form.fail(failure);
            None
        }
        (Err(failure), None) => {
            let news = format!("The {thing} was not saved: {failure}");
            model.news = Some(News::Bad(news));
            None
        }
    }
}

/// Puts a saved row into a list that is whole; any other list is asked for again, since the answer
/// on its way may be older than the row.
fn take_in<T: Card>(column: &mut Column<T>, row: T, reload: Call) -> Vec<Effect> {
    if column.is_whole() {
        column.upsert(row);
        vec![]
    } else {
        column.start_loading();
        vec![Effect::Call(reload)]
    }
}

fn delete(model: &mut Model) -> Vec<Effect> {
    let Front::Confirm(row) = std::mem::replace(&mut model.front, Front::Columns) else {
        return vec![];
    };
    model.news = None;
    model.deleting.push(row.clone());
    vec![Effect::Call(Call::Delete(row))]
}

fn deleted(model: &mut Model, row: &Doomed, answer: Result<(), Failure>) -> Vec<Effect> {
    model.deleting.retain(|other| other != row);
    let (thing, id) = (row.service.thing(), row.id);
    model.news = Some(match &answer {
        Ok(()) => News::Good(format!("Deleted {thing} {id}")),
        Err(e) if e.kind == Kind::NotFound => News::Good(format!("{thing} {id} was gone already")),
        Err(e) => News::Bad(format!("{thing} {id} is still there: {e}")),
    });
    if answer.is_err_and(|e| e.kind != Kind::NotFound) {
        return vec![];
    }
    match row.service {
        Service::Note => take_out(&mut model.notes, id, Call::LoadNotes),
        Service::Calendar => take_out(&mut model.events, id, Call::LoadEvents),
    }
}

fn take_out<T: Card>(column: &mut Column<T>, id: u64, reload: Call) -> Vec<Effect> {
    if column.is_whole() {
        column.remove(id);
        vec![]
    } else {
        column.start_loading();
        vec![Effect::Call(reload)]
    }
}
