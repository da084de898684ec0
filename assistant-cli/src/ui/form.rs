//! The form in which a note or an event is written.

use jiff::Zoned;
use tui_input::Input;

use crate::{
    api::Service,
    failure::Failure,
    records::{Event, EventFields, Note, NoteFields},
    when::{self, WhenError},
};

/// What is being written, and how far that has come.
#[derive(Clone, Debug)]
pub struct Form {
    /// Tells this form from those opened before.
    pub number: u64,
    /// Where it will be kept.
    pub service: Service,
    /// The row that is changed; `None` for a new one.
    pub id: Option<u64>,
    /// What can be written, from top to bottom.
    pub fields: Vec<Field>,
    /// The field that gets the keys.
    pub at: usize,
    /// What is going on.
    pub stage: Stage,
}

/// What is going on with a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is being written.
    Writing,
    /// It is on its way to the service.
    Saving,
    /// The service, or the way there, said no. It can be changed and sent again.
    Failed(Failure),
}

/// Which field it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// One line.
    Title,
    /// Free text.
    Description,
    /// A point in time.
    Start,
    /// A point in time.
    End,
}

impl Name {
    /// The name on the screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Title => "Title",
            Self::Description => "Description",
            Self::Start => "Start",
            Self::End => "End",
        }
    }

    /// The name in a request, by which a service says what is wrong.
    fn member(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Description => "description",
            Self::Start => "start",
            Self::End => "end",
        }
    }
}

/// One line to write in.
#[derive(Clone, Debug)]
pub struct Field {
    /// Which one it is.
    pub name: Name,
    /// The text and the cursor in it.
    pub input: Input,
    /// What is wrong with it, once somebody tried to save.
    pub error: Option<String>,
    /// The text as it was when the form opened.
    before: String,
}

impl Field {
    fn new(name: Name, text: impl Into<String>) -> Self {
        let before = text.into();
        Self {
            name,
            input: Input::new(before.clone()),
            error: None,
            before,
        }
    }

    /// The text, if it was changed.
    fn changed(&self) -> Option<&str> {
        (self.input.value() != self.before).then(|| self.input.value())
    }
}

impl Form {
    /// An empty form, or one with the note to change.
    pub fn note(number: u64, note: Option<&Note>) -> Self {
        let (title, description) = note.map_or(("", ""), |n| (&n.title, &n.description));
        let fields = vec![
            Field::new(Name::Title, title),
            Field::new(Name::Description, description),
        ];
        Self::new(number, Service::Note, note.map(|note| note.id), fields)
    }

    /// A form for the hour from now on, or with the event to change.
    pub fn event(number: u64, event: Option<&Event>, now: &Zoned) -> Self {
        let (title, description) = event.map_or(("", ""), |e| (&e.title, &e.description));
        let (start, end) = event.map_or_else(
            || {
                let start = now.timestamp().as_millisecond();
                (
                    start - start % 60_000,
                    start - start % 60_000 + when::DEFAULT_LENGTH_MS,
                )
            },
            |event| (event.start, event.end),
        );
        let zone = now.time_zone();
        let fields = vec![
            Field::new(Name::Title, title),
            Field::new(Name::Description, description),
            Field::new(Name::Start, when::show_editable(start, zone)),
            Field::new(Name::End, when::show_editable(end, zone)),
        ];
        Self::new(
            number,
            Service::Calendar,
            event.map(|event| event.id),
            fields,
        )
    }

    fn new(number: u64, service: Service, id: Option<u64>, fields: Vec<Field>) -> Self {
        Self {
            number,
            service,
            id,
            fields,
            at: 0,
            stage: Stage::Writing,
        }
    }

    /// The text of a field; empty where the form has no such field.
    fn text(&self, name: Name) -> &str {
        let field = self.fields.iter().find(|field| field.name == name);
        field.map_or("", |field| field.input.value())
    }

    /// What a note needs, or `None` with the errors at their fields. Of a note that is there only
    /// what was changed.
    pub fn note_fields(&mut self) -> Option<NoteFields> {
        self.check(|form| {
            Ok(NoteFields {
                title: form.title("Untitled Note")?,
                description: form.description(),
            })
        })
    }

    /// What an event needs, or `None` with the errors at their fields. Of an event that is there
    /// only what was changed: a start that nobody touched keeps its seconds.
    pub fn event_fields(&mut self, now: &Zoned) -> Option<EventFields> {
        self.check(|form| {
            let (start, end) = (form.start(now)?, form.end(now)?);
            Ok(EventFields {
                title: form.title("Untitled Event")?,
                description: form.description(),
                start: form.if_sent(Name::Start, start),
                end: form.if_sent(Name::End, end),
            })
        })
    }

    /// What a date field means as it stands, for the line below it.
    pub fn reading(&self, name: Name, now: &Zoned) -> Option<String> {
        let moment = match name {
            Name::Start => self.start(now),
            Name::End => self.end(now),
            Name::Title | Name::Description => return None,
        };
        Some(when::show(moment.ok()?, now.time_zone()))
    }

    /// Takes in that it could not be saved. The reason stands below the form; a field that the
    /// service named is marked, and gets the keys.
    pub fn fail(&mut self, failure: Failure) {
        let member = failure.field.as_deref();
        let named = |field: &Field| Some(field.name.member()) == member;
        if let Some(place) = self.fields.iter().position(named) {
            self.fields[place].error = Some("refused: see below".to_owned());
            self.at = place;
        }
        self.stage = Stage::Failed(failure);
    }

    /// The field that gets the keys.
    pub fn current(&mut self) -> &mut Field {
        &mut self.fields[self.at]
    }

    fn check<T>(&mut self, read: impl Fn(&Self) -> Result<T, (Name, String)>) -> Option<T> {
        for field in &mut self.fields {
            field.error = None;
        }
        match read(self) {
            Ok(fields) => Some(fields),
            Err((name, error)) => {
                let place = self.fields.iter().position(|field| field.name == name)?;
                self.fields[place].error = Some(error);
                self.at = place;
                None
            }
        }
    }

    /// A new row is sent whole.
    fn if_sent<T>(&self, name: Name, value: T) -> Option<T> {
        let changed = |field: &Field| field.name == name && field.changed().is_some();
        (self.id.is_none() || self.fields.iter().any(changed)).then_some(value)
    }

    fn title(&self, default: &str) -> Result<Option<String>, (Name, String)> {
        match (self.text(Name::Title).trim(), self.id) {
            ("", None) => Ok(Some(default.to_owned())),
            ("", Some(_)) => Err((Name::Title, "write at least one character".to_owned())),
            (title, _) => Ok(self.if_sent(Name::Title, title.to_owned())),
        }
    }

    fn description(&self) -> Option<String> {
        self.if_sent(Name::Description, self.text(Name::Description).to_owned())
    }

    fn start(&self, now: &Zoned) -> Result<i64, (Name, String)> {
        when::read(self.text(Name::Start), now).map_err(|e| (Name::Start, short(&e)))
    }

    fn end(&self, now: &Zoned) -> Result<i64, (Name, String)> {
        let start = self.start(now)?;
        when::read_end(self.text(Name::End), now, start).map_err(|e| (Name::End, short(&e)))
    }
}

/// Below a field there is one line, and what it is about stands above it.
fn short(e: &WhenError) -> String {
    match e {
        WhenError::Unreadable(_) => "no date; try \"tomorrow 15:00\" or \"in 2 hours\"".to_owned(),
        WhenError::EndBeforeStart { .. } => "the end lies before the start".to_owned(),
    }
}
