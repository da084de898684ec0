//! The audit log: batches of events under numbers that count up, each written once and never changed.
//!
//! A batch gets its number first and is then created at the path that follows from it. Who does not know whether that
//! happened does it again: what is there already under the same id is the same batch. Events that were written together, such
//! as the releases of a moment, are one batch; the log is read backwards, batch by batch.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::digest;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    document::{Batch, Line},
    kv::Kv,
};
use crate::{
    audit::{Event, Filter, Recorded},
    random::random_id,
    storage::StoreError,
};

/// The document whose version is the number that was given last.
const NUMBERS: &str = "audit-numbers";

/// Events of one batch, at most: an event's number is its batch's times this, and its place.
const MOST: u64 = 1000;

/// The size of a batch, in bytes: servers take documents of up to about a megabyte.
const LARGEST: usize = 256 * 1024;

/// How many batches are read at once.
const AT_ONCE: usize = 16;

/// How many batches are read for one question.
const MOST_READ: usize = 20_000;

/// How many batches are removed in one step.
const MOST_FORGOTTEN: usize = 200;

/// How many failures are remembered.
const MOST_UNFINISHED: usize = 64;

/// How far apart the clocks of those who write may be, and how long an event may wait, at the very most.
const DAY: u64 = 24 * 3600 * 1000;

pub(super) struct Log {
    kv: Arc<Kv>,
    /// Events from before this moment are forgotten, although the batch may still hold others.
    forgotten: AtomicU64,
    /// The batches of events that could not be written, by the hash of those events: whoever tries again continues them.
    unfinished: std::sync::Mutex<HashMap<Vec<u8>, Vec<Batch>>>,
}

fn place(number: u64) -> String {
    let (top, middle, last) = (number / 1_000_000, number / 1000 % 1000, number % 1000);
    format!("audit/{top:05}/{middle:03}/{last:03}")
}

impl Log {
    pub(super) fn new(kv: Arc<Kv>) -> Self {
        Self {
            kv,
            forgotten: AtomicU64::new(0),
            unfinished: std::sync::Mutex::default(),
        }
    }

    /// Gives events a number. They are not written yet.
    pub(super) async fn numbered(&self, events: Vec<Line>) -> Result<Batch, StoreError> {
        Ok(Batch {
            number: self.kv.count(NUMBERS).await?,
            id: random_id(),
            events,
        })
    }

    /// Writes a batch, unless it is written already.
    pub(super) async fn add(&self, batch: &Batch) -> Result<(), StoreError> {
        let path = place(batch.number);
        if self.kv.write(&path, batch, 0).await?.is_some() {
            return Ok(());
        }
        match self.kv.read::<Batch>(&path).await?.document {
            Some(there) if there.id == batch.id => Ok(()),
            // Somebody set the numbers back.
            _ => Err(StoreError::Corrupt {
                what: "count of the audit log",
            }),
        }
    }

    /// Writes events. Who fails and tries again with the same ones writes none twice.
    pub(super) async fn add_all(&self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let lines: Vec<Line> = events.iter().map(Line::from).collect();
        let text = serde_json::to_vec(&lines).expect("events are texts and numbers");
        let hash = digest::digest(&digest::SHA256, &text).as_ref().to_vec();
        let unfinished = || {
            self.unfinished
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut batches = unfinished().remove(&hash).unwrap_or_default();
        let done = async {
            for (index, lines) in chunks(lines).into_iter().enumerate() {
                if batches.len() == index {
                    batches.push(self.numbered(lines).await?);
                }
                self.add(&batches[index]).await?;
            }
            Ok(())
        }
        .await;
        if done.is_err() {
            let mut unfinished = unfinished();
            if unfinished.len() >= MOST_UNFINISHED {
                unfinished.clear(); // of most nobody tries again
            }
            unfinished.insert(hash, batches);
        }
        done
    }

    /// At most `limit` events with numbers below `before`, the last one first.
    pub(super) async fn events(
        &self,
        filter: &Filter,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let (mut found, mut read) = (Vec::new(), 0);
        let last = before.saturating_sub(1) / MOST;
        for top in self.folders("audit", last / 1_000_000).await? {
            if self.is_after(&format!("audit/{top:05}"), filter.to).await? {
                continue;
            }
            let in_top = last.saturating_sub(top * 1_000_000) / 1000;
            for middle in self.folders(&format!("audit/{top:05}"), in_top).await? {
                let first = top * 1_000_000 + middle * 1000;
                let folder = format!("audit/{top:05}/{middle:03}");
                if self.is_after(&folder, filter.to).await? {
                    continue;
                }
                let names = self.folders(&folder, last.saturating_sub(first)).await?;
                let paths = names.into_iter().map(|name| format!("{folder}/{name:03}"));
                let mut batches = stream::iter(paths)
                    .map(|path| async move { self.kv.read::<Batch>(&path).await })
                    .buffered(AT_ONCE);
                while let Some(slot) = batches.try_next().await? {
                    let Some(batch) = slot.document else { continue };
                    self.pick(&batch, filter, before, &mut found)?;
                    read += 1;
                    let newest = batch.events.iter().map(|line| line.at).max();
                    let is_before =
                        |from: u64| newest.is_some_and(|at| at.saturating_add(DAY) < from);
                    if found.len() >= limit || filter.from.is_some_and(is_before) {
                        found.truncate(limit);
                        return Ok(found);
                    }
                    if read == MOST_READ {
                        return Err(StoreError::TooMuch);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The numbers in a folder, from the last one down, none above `most`.
    async fn folders(&self, path: &str, most: u64) -> Result<Vec<u64>, StoreError> {
        let names = self.kv.list(path).await?;
        let numbers = names
            .iter()
            .filter_map(|name| name.trim_end_matches('/').parse().ok());
        Ok(numbers.filter(|number| *number <= most).rev().collect())
    }

    /// Whether all of a folder is from after this moment, by a look at its first batch.
    async fn is_after(&self, folder: &str, to: Option<u64>) -> Result<bool, StoreError> {
        let Some(to) = to else { return Ok(false) };
        let mut path = folder.to_owned();
        loop {
            let names = self.kv.list(&path).await?;
            let Some(first) = names.first() else {
                return Ok(false);
            };
            path = format!("{path}/{}", first.trim_end_matches('/'));
            if !first.ends_with('/') {
                let batch = self.kv.read::<Batch>(&path).await?.document;
                let oldest = batch.and_then(|batch| batch.events.iter().map(|line| line.at).min());
                return Ok(oldest.is_some_and(|at| at > to.saturating_add(DAY)));
            }
        }
    }

    fn pick(
        &self,
        batch: &Batch,
        filter: &Filter,
        before: u64,
        found: &mut Vec<Recorded>,
    ) -> Result<(), StoreError> {
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        for (place, line) in batch.events.iter().enumerate().rev() {
            let number = batch.number * MOST + place as u64;
            if number < before && line.at >= forgotten {
                let event = Event::try_from(line)?;
                if fits(&event, filter) {
                    found.push(Recorded { number, event });
                }
            }
        }
        Ok(())
    }

    /// Removes batches of which all events are from before this moment, from the old end. True when there may be more.
    pub(super) async fn forget(&self, events_before: u64) -> Result<bool, StoreError> {
        self.forgotten.fetch_max(events_before, Ordering::Relaxed);
        let mut forgotten = 0;
        for top in self.kv.list("audit").await? {
            let top = format!("audit/{}", top.trim_end_matches('/'));
            for middle in self.kv.list(&top).await? {
                let middle = format!("{top}/{}", middle.trim_end_matches('/'));
                for last in self.kv.list(&middle).await? {
                    let path = format!("{middle}/{last}");
                    let batch = self.kv.read::<Batch>(&path).await?.document;
                    let is_young =
                        |batch: Batch| batch.events.iter().any(|line| line.at >= events_before);
                    if batch.is_some_and(is_young) {
                        return Ok(false);
                    }
                    self.kv.destroy(&path).await?;
                    forgotten += 1;
                    if forgotten == MOST_FORGOTTEN {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

fn fits(event: &Event, filter: &Filter) -> bool {
    let key = &event.key;
    let Filter {
        application,
        user,
        service,
        account,
        action,
        from,
        to,
    } = filter;
    application
        .as_ref()
        .is_none_or(|name| *name == key.application)
        && user.as_ref().is_none_or(|name| *name == key.user)
        && service.as_ref().is_none_or(|name| *name == key.service)
        && account.as_ref().is_none_or(|name| *name == key.account)
        && action.is_none_or(|action| action == event.action)
        && from.is_none_or(|from| from <= event.at)
        && to.is_none_or(|to| to >= event.at)
}

/// Events in as few batches as they fit into.
fn chunks(lines: Vec<Line>) -> Vec<Vec<Line>> {
    let (mut chunks, mut size) = (vec![Vec::new()], 0);
    for line in lines {
        let length = serde_json::to_string(&line).map_or(0, |text| text.len());
        let last = chunks.last().map_or(0, Vec::len);
        if last as u64 == MOST || last > 0 && size + length > LARGEST {
            chunks.push(Vec::new());
            size = 0;
        }
        size += length;
        chunks.last_mut().expect("there is one").push(line);
    }
    chunks
}
