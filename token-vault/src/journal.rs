//! Releases are written to the audit log in batches, away from the requests that cause them.
//!
//! They wait in a bounded queue. A crash loses those of the last moment, less than 100 ms; with [`Durability::Strict`]
//! a request waits until its event is on disk. When the database does not keep up, requests wait for a while and are then
//! refused: no release without its event. What changes a connection is not written here but with the change itself.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::error;

use crate::{
    audit::{Action, Event},
    connection::ConnectionKey,
    storage::VaultStore,
};

/// How long events are gathered before they are written together. Each write has readers of SQLite forget what they know of
/// the file: few of them cost less than many.
const GATHERING: Duration = Duration::from_millis(75);

/// How many events may wait.
const QUEUE: usize = 16_384;

/// How many events are written in one step.
const BATCH: usize = 8192;

/// How many last uses are. They lie far apart, and the step holds up who wants to store something.
const USES: usize = 2048;

/// How long last uses are gathered. It is longer than for events: with very many connections each use lies on another page of
/// the database, and only of many at once several lie on one. A crash loses no more than what the events tell as well.
const USES_KEPT: Duration = Duration::from_secs(10);

/// How many last uses wait until they are written in any case. One takes some hundred bytes.
const MOST_USES: usize = 500_000;

/// How many of them are written in one step while others ask for tokens: a use costs as much as a token.
const USES_BETWEEN: usize = 64;

/// How long a request waits until its event is taken, and, where it must be, written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the writer waits before it tries again what the database did not take.
const PAUSE: Duration = Duration::from_millis(200);

/// When a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// As soon as its event is in the queue.
    #[default]
    Batched,
    /// When its event is on disk.
    Strict,
}

/// The audit log cannot take an event just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log takes no events just now")]
pub struct Behind;

enum Entry {
    /// `is_use`: the connection's last use is noted as well.
    Event {
        event: Event,
        is_use: bool,
        written: Option<oneshot::Sender<()>>,
    },
    /// To be answered when all that came before is written.
    Settle(oneshot::Sender<()>),
}

/// The way in.
#[derive(Clone)]
pub struct Journal {
    queue: mpsc::Sender<Entry>,
    durability: Durability,
}

impl Journal {
    /// Starts the writer. It ends when the last [`Journal`] is gone and everything is written.
    pub fn open(store: Arc<dyn VaultStore>, durability: Durability) -> Self {
        let (queue, entries) = mpsc::channel(QUEUE);
        tokio::spawn(write(store, entries, durability));
        Self { queue, durability }
    }

    /// Hands over an event, and with `is_use`, when its connection was last used.
    ///
    /// # Errors
    /// When the writer is held up for longer than a caller should wait.
    pub async fn note(&self, event: Event, is_use: bool) -> Result<(), Behind> {
        if self.durability == Durability::Batched {
            let entry = Entry::Event {
                event,
                is_use,
                written: None,
            };
            return match self.queue.try_send(entry) {
                Ok(()) => Ok(()),
                Err(mpsc::error::TrySendError::Full(entry)) => self.send(entry).await,
                Err(mpsc::error::TrySendError::Closed(_)) => Err(Behind),
            };
        }
        let (done, written) = oneshot::channel();
        let entry = Entry::Event {
            event,
            is_use,
            written: Some(done),
        };
        let wait = async {
            self.queue.send(entry).await.map_err(|_| Behind)?;
            written.await.map_err(|_| Behind)
        };
        timeout(PATIENCE, wait).await.unwrap_or(Err(Behind))
    }

    async fn send(&self, entry: Entry) -> Result<(), Behind> {
        let sent = timeout(PATIENCE, self.queue.send(entry)).await;
        sent.map_err(|_| Behind)?.map_err(|_| Behind)
    }

    /// Waits until all that was handed over is written.
    ///
    /// # Errors
    /// When that takes longer than two seconds.
    pub async fn settle(&self) -> Result<(), Behind> {
        let (done, settled) = oneshot::channel();
        self.send(Entry::Settle(done)).await?;
        timeout(PATIENCE, settled)
            .await
            .map_err(|_| Behind)?
            .map_err(|_| Behind)
    }
}

/// When a connection was last used, and for whom.
struct Use {
    key: ConnectionKey,
    at: u64,
    actor: Option<Arc<str>>,
}

impl Use {
    fn of(event: &Event) -> Self {
        Self {
            key: event.key.clone(),
            at: event.at,
            actor: event.actor.clone(),
        }
    }

    fn into_event(self) -> Event {
        let Self { key, at, actor } = self;
        Event {
            at,
            action: Action::Released,
            key,
            actor,
            reason: None,
        }
    }
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    events: Vec<Event>,
    /// Who is told when all of the events are written.
    tell: Vec<oneshot::Sender<()>>,
    uses: Vec<Use>,
    /// When they are to be written.
    due: Option<Instant>,
    /// Uses that are being written, those of the last connection first: so those are written together that lie together.
    due_uses: Vec<Use>,
    /// Whether somebody waits for them.
    settles: bool,
}

impl Waiting {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Event {
                event,
                is_use,
                written,
            } => {
                if is_use {
                    self.due.get_or_insert_with(|| Instant::now() + USES_KEPT);
                    self.uses.push(Use::of(&event));
                }
                self.events.push(event);
                self.tell.extend(written);
            }
            Entry::Settle(done) => {
                self.settles = true;
                self.tell.push(done);
            }
        }
    }

    /// Some of the uses, if it is time for them.
    fn next_uses(&mut self, closed: bool) -> Vec<Event> {
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        let too_many = self.uses.len() >= MOST_USES;
        let is_time = is_due || closed || self.settles || too_many;
        if self.due_uses.is_empty() && is_time {
            self.due = None;
            self.due_uses = mem::take(&mut self.uses);
            // Of each connection the last use comes first, and is the one that stays.
            self.due_uses
                .sort_unstable_by(|a, b| b.key.cmp(&a.key).then(b.at.cmp(&a.at)));
            self.due_uses
                .dedup_by(|later, first| later.key == first.key);
        }
        let is_quiet = self.events.is_empty() || closed || self.settles;
        let some = if is_quiet || too_many {
            USES
        } else {
            USES_BETWEEN
        };
        let rest = self.due_uses.len().saturating_sub(some);
        self.due_uses.drain(rest..).map(Use::into_event).collect()
    }

    /// Whether some of the uses are not written.
    fn has_uses(&self) -> bool {
        !(self.uses.is_empty() && self.due_uses.is_empty())
    }
}

async fn write(
    store: Arc<dyn VaultStore>,
    mut entries: mpsc::Receiver<Entry>,
    durability: Durability,
) {
    let mut waiting = Waiting::default();
    let mut batch = Vec::new();
    let mut closed = false;
    while !closed || waiting.has_uses() {
        if !closed {
            let next = entries.recv_many(&mut batch, BATCH);
            let due = match waiting.due {
                _ if !waiting.due_uses.is_empty() => Some(Instant::now()), // goes on until all are written
                due => due,
            };
            match due {
                None => closed = next.await == 0,
                // Should it be over, there is nothing new, and the uses are written.
                Some(due) => closed = timeout_at(due, next).await == Ok(0),
            }
        }
        let waits = batch.iter().any(|entry| matches!(entry, Entry::Settle(_)));
        if durability == Durability::Batched && !batch.is_empty() && batch.len() < BATCH && !waits {
            sleep(GATHERING).await;
            if !entries.is_empty() {
                let rest = BATCH - batch.len();
                entries.recv_many(&mut batch, rest).await;
            }
        }
        batch.drain(..).for_each(|entry| waiting.take(entry));
        loop {
            let uses = waiting.next_uses(closed);
            let uses: Vec<&Event> = uses.iter().collect();
            let nothing = waiting.events.is_empty() && uses.is_empty();
            while !nothing && let Err(error) = store.add_events(&waiting.events, &uses).await {
                error!("cannot write to the audit log, trying again: {error}");
                sleep(PAUSE).await;
            }
            waiting.events.clear();
            if !waiting.settles || !waiting.has_uses() {
                break;
            }
        }
        waiting.settles = false;
        for done in waiting.tell.drain(..) {
            let _ = done.send(()); // who no longer waits need not be told
        }
    }
}
