//! Events that come with each token are written in batches, away from the request that causes them.
//!
//! They wait in a bounded queue. A crash loses those of the last moment, at most [`GATHERING`] and one write; with
//! [`Durability::Strict`] a request waits until its event is on disk. When the queue is full, because the database does
//! not keep up or does not answer, requests wait for a while and are then refused: no token without its event.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tracing::{error, info, warn};

use crate::{audit::Event, storage::Store};

/// How long events are gathered before they are written together.
const GATHERING: Duration = Duration::from_millis(25);

/// How many events may wait.
const QUEUE: usize = 16_384;

/// How many events are written in one step.
const BATCH: usize = 2048;

/// How long a request waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the uses of credentials are summed up when they are few …
const SUM_UP: Duration = Duration::from_secs(2);
const FEW: usize = 5_000;

/// … and when they are many: the more are summed up together, the less each costs.
const SUM_UP_MANY: Duration = Duration::from_secs(10);

/// How long the writer waits before it tries again what the database did not take.
const PAUSE: Duration = Duration::from_millis(200);

/// When a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// As soon as its event is in the queue.
    #[default]
    Batched,
    /// When its event is on disk.
    Strict,
}

impl Durability {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Strict => "strict",
        }
    }
}

/// The audit log cannot take an event just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log takes no events just now")]
pub struct Behind;

enum Entry {
    Event(Box<Event>, Option<oneshot::Sender<()>>),
    /// To be answered when all that came before is written and summed up.
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
    pub fn open(store: Arc<dyn Store>, durability: Durability) -> Self {
        let (queue, entries) = mpsc::channel(QUEUE);
        let gathering = match durability {
            Durability::Batched => GATHERING,
            Durability::Strict => Duration::ZERO,
        };
        tokio::spawn(Writer::new(store, entries, gathering).run());
        Self { queue, durability }
    }

    /// Hands over an event.
    ///
    /// # Errors
    /// When it cannot be taken in time: what it tells of should not happen then.
    pub async fn note(&self, event: Event) -> Result<(), Behind> {
        match self.durability {
            Durability::Batched => self.put(Entry::Event(Box::new(event), None)).await,
            Durability::Strict => {
                let (written, wait) = oneshot::channel();
                self.put(Entry::Event(Box::new(event), Some(written)))
                    .await?;
                timeout(PATIENCE, wait)
                    .await
                    .map_err(|_| Behind)?
                    .map_err(|_| Behind)
            }
        }
    }

    /// Waits until what was handed over before is in the store, and summed up there.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn settle(&self) -> Result<(), Behind> {
        let (settled, wait) = oneshot::channel();
        self.put(Entry::Settle(settled)).await?;
        timeout(PATIENCE, wait)
            .await
            .map_err(|_| Behind)?
            .map_err(|_| Behind)
    }

    async fn put(&self, entry: Entry) -> Result<(), Behind> {
        self.queue
            .send_timeout(entry, PATIENCE)
            .await
            .map_err(|_| Behind)
    }
}

/// The one task that writes.
struct Writer {
    store: Arc<dyn Store>,
    entries: mpsc::Receiver<Entry>,
    gathering: Duration,
    /// When the uses were summed up for the last time, and how many events there are since.
    summed_up: Instant,
    unsummed: usize,
}

impl Writer {
    fn new(store: Arc<dyn Store>, entries: mpsc::Receiver<Entry>, gathering: Duration) -> Self {
        Self {
            store,
            entries,
            gathering,
            summed_up: Instant::now(),
            unsummed: 1, // what an earlier run left
        }
    }

    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let more = timeout(SUM_UP, self.entries.recv_many(&mut batch, BATCH)).await;
            match more {
                Ok(0) => break, // nobody is left who could hand over an event
                Ok(_) => self.gather(&mut batch).await,
                Err(_) => {} // nothing came for a while
            }
            self.write(&mut batch).await;
        }
    }

    /// Lets others join: one write to the disk then serves them all.
    async fn gather(&mut self, batch: &mut Vec<Entry>) {
        let settling = batch.iter().any(|entry| matches!(entry, Entry::Settle(_)));
        if batch.len() < BATCH && !settling && !self.gathering.is_zero() {
            sleep(self.gathering).await;
            while batch.len() < BATCH
                && let Ok(entry) = self.entries.try_recv()
            {
                batch.push(entry);
            }
        }
    }

    async fn write(&mut self, batch: &mut Vec<Entry>) {
        let (mut events, mut written, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event, waiter) => {
                    events.push(*event);
                    written.extend(waiter);
                }
                Entry::Settle(waiter) => settled.push(waiter),
            }
        }
        if !events.is_empty() {
            self.insist(&events).await;
            self.unsummed += events.len();
        }
        if !settled.is_empty() {
            while self.sum_up().await {}
        } else if self.is_to_sum_up() {
            self.sum_up().await; // one step: what has arrived meanwhile is to be written first
        }
        for waiter in written.into_iter().chain(settled) {
            let _ = waiter.send(()); // who asked may have given up
        }
    }

    /// Writes events, however long the database takes: they are the only trace of what has happened.
    async fn insist(&self, events: &[Event]) {
        let mut failures = 0_u32;
        while let Err(failure) = self.store.add_events(events).await {
            failures += 1;
            if failures == 1 {
                error!(
                    events = events.len(),
                    "cannot write the audit log and keeps trying: {failure}"
                );
            }
            sleep(PAUSE).await;
        }
        if failures > 0 {
            info!("the audit log is written again");
        }
    }

    fn is_to_sum_up(&self) -> bool {
        let wait = match self.unsummed {
            0 => return false,
            1..=FEW => SUM_UP,
            _ => SUM_UP_MANY,
        };
        self.summed_up.elapsed() >= wait
    }

    /// Does a step. True when there is more to do.
    async fn sum_up(&mut self) -> bool {
        match self.store.sum_up_uses().await {
            Ok(true) => true,
            Ok(false) => {
                self.unsummed = 0;
                self.summed_up = Instant::now();
                false
            }
            Err(failure) => {
                // The events stay where they are; the next time finds them.
                warn!("cannot sum up the uses of credentials: {failure}");
                self.summed_up = Instant::now();
                false
            }
        }
    }
}
