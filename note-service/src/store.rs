//! Where notes are kept: in memory, until the service stops.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use m2m::service::{Listing, Page};

use crate::note::{Content, Note, NotePatch};

/// All notes, by id. Each method is one atomic step, also when callers race.
#[derive(Debug, Default)]
pub struct NoteStore {
    notes: DashMap<u64, Content>,
    /// Ids given out so far; a deleted note's id does not come back.
    last_id: AtomicU64,
    /// Rows kept or about to be. The map's own count is no bound: two callers could both see room
    /// for one.
    taken: AtomicUsize,
}

/// The store has [`NoteStore::CAPACITY`] notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no room for another note: delete one of the {} first",
    NoteStore::CAPACITY
)]
pub struct Full;

impl NoteStore {
    /// More notes than this are refused, so that no caller can use up the machine's memory.
    pub const CAPACITY: usize = 10_000;

    /// A store with one note.
    pub fn with_sample() -> Self {
        let store = Self::default();
        store
            .add(Content::sample())
            .expect("an empty store has room");
        store
    }

    /// One page of the notes, in the order of their ids.
    pub fn list(&self, page: Page) -> Listing<Note> {
        page.cut(self.notes.iter().map(|row| *row.key()), |id| {
            let content = self.notes.get(&id)?.clone();
            Some(Note { id, content })
        })
    }

    /// Keeps a note under the next id.
    ///
    /// # Errors
    /// When the store is full.
    pub fn add(&self, content: Content) -> Result<Note, Full> {
        let room = |taken| (taken < Self::CAPACITY).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map_err(|_| Full)?;
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        self.notes.insert(id, content.clone());
        Ok(Note { id, content })
    }

    /// Changes a note; `None` when it is not there.
    pub fn change(&self, id: u64, patch: NotePatch) -> Option<Note> {
        let mut row = self.notes.get_mut(&id)?;
        row.change(patch);
        let content = row.clone();
        Some(Note { id, content })
    }

    /// Deletes a note; false when it is not there.
    pub fn delete(&self, id: u64) -> bool {
        let deleted = self.notes.remove(&id).is_some();
        if deleted {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        deleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_takes_one_more_only_after_a_deletion() {
        let store = NoteStore::default();
        for id in 1..=NoteStore::CAPACITY as u64 {
            assert_eq!(store.add(Content::sample()).unwrap().id, id);
        }
        assert_eq!(store.add(Content::sample()).unwrap_err(), Full);
        assert!(store.delete(7));
        assert!(!store.delete(7));
        assert_eq!(store.add(Content::sample()).unwrap().id, 10_001);
        assert_eq!(store.add(Content::sample()).unwrap_err(), Full);
    }
}
