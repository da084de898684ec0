//! Where notes are kept: in memory, until the service stops.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use m2m::service::{Listing, Page};

use crate::note::{Content, Note, NotePatch};

/// All notes, by id. Each method is one atomic step, also when callers race.
#[derive(Debug, Default)]
pub struct NoteStore(RwLock<Rows>);

/// Locked for a look or a change, never across a wait.
#[derive(Debug, Default)]
struct Rows {
    notes: BTreeMap<u64, Note>,
    /// Ids given out so far; a deleted note's id does not come back.
    last_id: u64,
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
    pub fn list(&self, page: Page) -> Listing {
        page.cut(&self.rows().notes)
    }

    /// Keeps a note under the next id.
    ///
    /// # Errors
    /// When the store is full.
    pub fn add(&self, content: Content) -> Result<Note, Full> {
        let mut rows = self.rows_mut();
        if rows.notes.len() >= Self::CAPACITY {
            return Err(Full);
        }
        rows.last_id += 1;
        let id = rows.last_id;
        let note = Note { id, content };
        rows.notes.insert(id, note.clone());
        Ok(note)
    }

    /// Changes a note; `None` when it is not there.
    pub fn change(&self, id: u64, patch: NotePatch) -> Option<Note> {
        let mut rows = self.rows_mut();
        let note = rows.notes.get_mut(&id)?;
        note.content.change(patch);
        Some(note.clone())
    }

    /// Deletes a note; false when it is not there.
    pub fn delete(&self, id: u64) -> bool {
        self.rows_mut().notes.remove(&id).is_some()
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
