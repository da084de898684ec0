//! All that the terminal program knows.

use jiff::Zoned;

use super::{form::Form, held::Held, seen::Seen, trials::Trials};
use crate::{
    api::Service,
    failure::Failure,
    records::{Event, Note},
    token_view::TokenView,
};

/// The whole state.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is on the screen.
    pub tab: Tab,
    /// The left column.
    pub notes: Column<Note>,
    /// The right column.
    pub events: Column<Event>,
    /// The column in which the arrows move.
    pub side: Service,
    /// What stands before the columns and gets the keys.
    pub front: Front,
    /// The token of the last call.
    pub token: Option<TokenInUse>,
    /// All tokens that were used.
    pub held: Held,
    /// What went over the wire.
    pub seen: Seen,
    /// The experiments.
    pub trials: Trials,
    /// How the last call that changed something ended.
    pub news: Option<News>,
    /// Deletions under way.
    pub deleting: Vec<Doomed>,
    /// The present moment, in the zone in which times are shown. Moved by [`super::Msg::Tick`].
    pub now: Zoned,
    /// Numbers the forms, so that an answer finds the form it belongs to.
    pub forms_opened: u64,
}

impl Model {
    /// Nothing is loaded before the user asks for it.
    pub fn new(now: Zoned) -> Self {
        Self {
            tab: Tab::Board,
            notes: Column::default(),
            events: Column::default(),
            side: Service::Note,
            front: Front::Columns,
            token: None,
            held: Held::default(),
            seen: Seen::default(),
            trials: Trials::default(),
            news: None,
            deleting: Vec::new(),
            now,
            forms_opened: 0,
        }
    }

    /// The row under the cursor, as something that can be deleted. `None` on the "Add" card.
    pub fn selected(&self) -> Option<Doomed> {
        let service = self.side;
        let (id, title) = match service {
            Service::Note => self
                .notes
                .current()
                .map(|note| (note.id, note.title.clone()))?,
            Service::Calendar => self.events.current().map(|ev| (ev.id, ev.title.clone()))?,
        };
        Some(Doomed { service, id, title })
    }
}

/// The four screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// Notes and events.
    Board,
    /// The tokens that are held.
    Tokens,
    /// What goes over the wire.
    Trace,
    /// Experiments.
    Lab,
}

impl Tab {
    /// From left to right.
    pub const ALL: [Self; 4] = [Self::Board, Self::Tokens, Self::Trace, Self::Lab];

    /// Its name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Board => "Board",
            Self::Tokens => "Tokens",
            Self::Trace => "Trace",
            Self::Lab => "Lab",
        }
    }

    /// The one so many places further, around the ends.
    #[must_use]
    pub fn next(self, by: isize) -> Self {
        let all = Self::ALL.len();
        let place = Self::ALL.iter().position(|tab| *tab == self);
        Self::ALL[(place.unwrap_or(0) + all).saturating_add_signed(by) % all]
    }
}

/// A list that comes from a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Remote<T> {
    /// Nobody has asked for it yet.
    #[default]
    NotAsked,
    /// On its way; what was there before is still shown.
    Loading(Option<T>),
    /// Here.
    Loaded(T),
    /// It did not come; what was there before is still shown.
    Failed(Failure, Option<T>),
}

impl<T> Remote<T> {
    /// The newest that is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Loaded(value) => Some(value),
            Self::Loading(before) | Self::Failed(_, before) => before.as_ref(),
            Self::NotAsked => None,
        }
    }

    /// The same, to keep or to change.
    pub fn take(&mut self) -> Option<T> {
        match std::mem::replace(self, Self::NotAsked) {
            Self::Loaded(value) => Some(value),
            Self::Loading(before) | Self::Failed(_, before) => before,
            Self::NotAsked => None,
        }
    }

    /// Whether it is on its way.
    pub fn is_loading(&self) -> bool {
        matches!(self, Self::Loading(_))
    }
}

/// A row that stands in a column as a card.
pub trait Card {
    /// The service's number for it.
    fn id(&self) -> u64;
    /// By this the cards stand in order.
    fn order(&self) -> (i64, u64);
}

impl Card for Note {
    fn id(&self) -> u64 {
        self.id
    }
    fn order(&self) -> (i64, u64) {
        (0, self.id)
    }
}

impl Card for Event {
    fn id(&self) -> u64 {
        self.id
    }
    fn order(&self) -> (i64, u64) {
        (self.start, self.id)
    }
}

/// A list of cards with a cursor. After the last card there is one more place: "Add".
#[derive(Clone, Debug, PartialEq)]
pub struct Column<T> {
    /// The cards.
    pub rows: Remote<Vec<T>>,
    /// The place of the cursor, from 0 to the number of cards.
    pub at: usize,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self {
            rows: Remote::NotAsked,
            at: 0,
        }
    }
}

impl<T: Card> Column<T> {
    /// The cards that are known.
    pub fn cards(&self) -> &[T] {
        self.rows.known().map_or(&[], Vec::as_slice)
    }

    /// The card under the cursor; `None` on "Add".
    pub fn current(&self) -> Option<&T> {
        self.cards().get(self.at)
    }

    /// Whether the list is here, with nothing on its way that could replace it.
    pub fn is_whole(&self) -> bool {
        matches!(self.rows, Remote::Loaded(_))
    }

    /// Moves the cursor as far as it goes.
    pub fn go(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(self.cards().len());
    }

    /// Marks the list as on its way. False if it already was.
    pub fn start_loading(&mut self) -> bool {
        if self.rows.is_loading() {
            return false;
        }
        self.rows = Remote::Loading(self.rows.take());
        true
    }

    /// Takes a new list; the cursor stays on its card, or where the card was.
    pub fn finish_loading(&mut self, answer: Result<Vec<T>, Failure>) {
        match answer {
            Ok(rows) => {
                let on = self.current().map(Card::id);
                self.put(rows, on);
            }
            Err(failure) => self.rows = Remote::Failed(failure, self.rows.take()),
        }
    }

    /// Puts a row that was added or changed into its place, under the cursor.
    pub fn upsert(&mut self, row: T) {
        let id = row.id();
        let mut rows = self.rows.take().unwrap_or_default();
        rows.retain(|other| other.id() != id);
        rows.push(row);
        self.put(rows, Some(id));
    }

    /// Takes a deleted row out.
    pub fn remove(&mut self, id: u64) {
        if let Some(place) = self.cards().iter().position(|row| row.id() == id) {
            let on = self.current().map(Card::id).filter(|on| *on != id);
            let mut rows = self.rows.take().unwrap_or_default();
            rows.remove(place);
            self.put(rows, on);
        }
    }

    fn put(&mut self, mut rows: Vec<T>, on: Option<u64>) {
        rows.sort_by_key(Card::order);
        let place = on.and_then(|id| rows.iter().position(|row| row.id() == id));
        self.at = place.unwrap_or(self.at).min(rows.len());
        self.rows = Remote::Loaded(rows);
    }
}

/// What stands before the tab.
#[derive(Clone, Debug)]
pub enum Front {
    /// Nothing: the keys are the tab's.
    Columns,
    /// A note or an event is being written.
    Form(Form),
    /// "Really delete it?"
    Confirm(Doomed),
    /// The list of keys.
    Help,
}

/// A row that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Where it is kept.
    pub service: Service,
    /// Its number there.
    pub id: u64,
    /// For the question.
    pub title: String,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// As it was meant to.
    Good(String),
    /// Not so.
    Bad(String),
}

/// The token that went along with the last call: everything but its text.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenInUse {
    /// Its audience.
    pub resource: String,
    /// What it allows, separated by spaces.
    pub scopes: String,
    /// Unix seconds.
    pub fetched_at: u64,
    /// Unix seconds.
    pub expires_at: u64,
    /// What is inside, if it can be read.
    pub view: Option<TokenView>,
}

impl TokenInUse {
    /// Seconds until it ends; 0 when it has. `now` may be a moment before the token was fetched.
    pub fn time_left(&self, now: &Zoned) -> u64 {
        let now = u64::try_from(now.timestamp().as_second()).unwrap_or(0);
        self.expires_at.saturating_sub(now.max(self.fetched_at))
    }

    /// What tells it from the others that are held: for whom and for what it is.
    pub fn name(&self) -> (&str, &str) {
        (&self.resource, &self.scopes)
    }

    /// How much of its life is left, from 0 to 1.
    pub fn share_left(&self, now: &Zoned) -> f64 {
        let life = self.expires_at.saturating_sub(self.fetched_at).max(1);
        #[expect(clippy::cast_precision_loss, reason = "a life is some seconds")]
        let share = self.time_left(now) as f64 / life as f64;
        share.min(1.0)
    }
}
