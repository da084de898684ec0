//! Where events are kept: in memory, until the service stops.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use m2m::service::{Listing, Page};

use crate::event::{Details, EndsBeforeStart, Event, EventPatch};

/// All events, by id. Each method is one atomic step, also when callers race.
#[derive(Debug, Default)]
pub struct EventStore(RwLock<Rows>);

/// Locked for a look or a change, never across a wait.
#[derive(Debug, Default)]
struct Rows {
    events: BTreeMap<u64, Event>,
    /// Ids given out so far; a deleted event's id does not come back.
    last_id: u64,
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
    pub fn list(&self, page: Page) -> Listing {
        page.cut(&self.rows().events)
    }

    /// Keeps an event under the next id.
    ///
    /// # Errors
    /// When the store is full.
    pub fn add(&self, details: Details) -> Result<Event, Full> {
        let mut rows = self.rows_mut();
        if rows.events.len() >= Self::CAPACITY {
            return Err(Full);
        }
        rows.last_id += 1;
        let id = rows.last_id;
        let event = Event { id, details };
        rows.events.insert(id, event.clone());
        Ok(event)
    }

    /// Changes an event; `None` when it is not there. All stays locked from the look at the other
    /// end of the event to the write.
    ///
    /// # Errors
    /// When the event would end before it starts: it stays as it was.
    pub fn change(&self, id: u64, patch: EventPatch) -> Result<Option<Event>, EndsBeforeStart> {
        let mut rows = self.rows_mut();
        let Some(event) = rows.events.get_mut(&id) else {
            return Ok(None);
        };
        event.details = event.details.changed(patch)?;
        Ok(Some(event.clone()))
    }

    /// Deletes an event; false when it is not there.
    pub fn delete(&self, id: u64) -> bool {
        self.rows_mut().events.remove(&id).is_some()
    }

    fn rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows_mut(&self) -> RwLockWriteGuard<'_, Rows> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
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
