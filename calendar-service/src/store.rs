//! Where events are kept: in memory, until the service stops.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use m2m::service::{Listing, Page};

use crate::event::{Details, EndsBeforeStart, Event, EventPatch};

/// All events, by id. Each method is one atomic step, also when callers race.
#[derive(Debug, Default)]
pub struct EventStore {
    events: DashMap<u64, Details>,
    /// Ids given out so far; a deleted event's id does not come back.
    last_id: AtomicU64,
    /// Rows kept or about to be. The map's own count is no bound: two callers could both see room
    /// for one.
    taken: AtomicUsize,
}

/// The store has [`EventStore::CAPACITY`] events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no room for another event: delete one of the {} first",
    EventStore::CAPACITY
)]
pub struct Full;

impl EventStore {
    /// More events than this are refused, so that no caller can use up the machine's memory.
    pub const CAPACITY: usize = 10_000;

    /// A store with one event, for the hour that begins at `now_ms` (milliseconds since the epoch).
    pub fn with_sample(now_ms: u64) -> Self {
        let store = Self::default();
        store
            .add(Details::sample(now_ms))
            .expect("an empty store has room");
        store
    }

    /// One page of the events, in the order of their ids.
    pub fn list(&self, page: Page) -> Listing<Event> {
        page.cut(self.events.iter().map(|row| *row.key()), |id| {
            let details = self.events.get(&id)?.clone();
            Some(Event { id, details })
        })
    }

    /// Keeps an event under the next id.
    ///
    /// # Errors
    /// When the store is full.
    pub fn add(&self, details: Details) -> Result<Event, Full> {
        let room = |taken| (taken < Self::CAPACITY).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map_err(|_| Full)?;
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        self.events.insert(id, details.clone());
        Ok(Event { id, details })
    }

    /// Changes an event; `None` when it is not there. The row stays locked from the look at the
    /// other end of the event to the write.
    ///
    /// # Errors
    /// When the event would end before it starts: it stays as it was.
    pub fn change(&self, id: u64, patch: EventPatch) -> Result<Option<Event>, EndsBeforeStart> {
        let Some(mut row) = self.events.get_mut(&id) else {
            return Ok(None);
        };
        *row = row.changed(patch)?;
        let details = row.clone();
        Ok(Some(Event { id, details }))
    }

    /// Deletes an event; false when it is not there.
    pub fn delete(&self, id: u64) -> bool {
        let deleted = self.events.remove(&id).is_some();
        if deleted {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        deleted
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_full_store_takes_one_more_only_after_a_deletion() {
        let store = EventStore::default();
        for id in 1..=EventStore::CAPACITY as u64 {
            assert_eq!(store.add(Details::sample(0)).unwrap().id, id);
        }
        assert_eq!(store.add(Details::sample(0)).unwrap_err(), Full);
        assert!(store.delete(7));
        assert!(!store.delete(7));
        assert_eq!(store.add(Details::sample(0)).unwrap().id, 10_001);
        assert_eq!(store.add(Details::sample(0)).unwrap_err(), Full);
    }

    #[test]
    fn racing_changes_never_leave_an_event_that_ends_before_it_starts() {
        let patch = |json| serde_json::from_str::<EventPatch>(json).unwrap();
        for _ in 0..200 {
            let store = EventStore::with_sample(1_000);
            let start_together = Barrier::new(2);
            let refusals = thread::scope(|scope| {
                // Either change is fine alone; after one of them the other is not.
                [r#"{"start": 2000000}"#, r#"{"end": 1500000}"#]
                    .map(|json| {
                        scope.spawn(|| {
                            start_together.wait();
                            store.change(1, patch(json)).is_err()
                        })
                    })
                    .map(|racer| racer.join().unwrap())
            });
            assert!(refusals[0] != refusals[1], "{refusals:?}");
        }
    }
}
