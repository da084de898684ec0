//! A memory of fixed size for what was found out about tokens.
//!
//! A fingerprint is as good as random, so it says by itself where something is kept: in one of many small sets, each with a
//! lock and an order of its own. A look and an entry cost the same however much is remembered, and there is nothing to tidy
//! up: in a full set, what was not asked for the longest gives way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fingerprint::Fingerprint;

/// How much is remembered: so many sets of so many entries. Chance fills some sets before the others.
const SETS: usize = 2048;
const ENTRIES: usize = 8;

/// Values by the fingerprint of a token.
pub(super) struct Memory<V>(Box<[Mutex<Set<V>>]>);

/// What was asked for last stands last.
type Set<V> = Vec<(Fingerprint, V)>;

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self((0..SETS).map(|_| Mutex::default()).collect())
    }
}

impl<V: Clone> Memory<V> {
    pub(super) fn recall(&self, fingerprint: &Fingerprint) -> Option<V> {
        let mut set = self.set(fingerprint);
        let place = set.iter().position(|(known, _)| known == fingerprint)?;
        set[place..].rotate_left(1);
        set.last().map(|(_, value)| value.clone())
    }

    pub(super) fn remember(&self, fingerprint: Fingerprint, value: V) {
        let mut set = self.set(&fingerprint);
        let known = set.iter().position(|(known, _)| *known == fingerprint);
        let place = known.or((set.len() == ENTRIES).then_some(0));
        let forgotten = place.map(|place| set.remove(place));
        set.push((fingerprint, value));
        drop(set);
        drop(forgotten); // it may be large, and nobody should wait for that
    }

    fn set(&self, fingerprint: &Fingerprint) -> MutexGuard<'_, Set<V>> {
        let [a, b, ..] = *fingerprint;
        let set = usize::from(u16::from_le_bytes([a, b])) % SETS;
        self.0[set].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All in one set.
    fn numbered(number: u8) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint[31] = number;
        fingerprint
    }

    #[test]
    fn what_was_not_asked_for_the_longest_is_forgotten_first() {
        let memory = Memory::default();
        let full = u8::try_from(ENTRIES).unwrap();
        for number in 0..full {
            memory.remember(numbered(number), number);
        }
        assert_eq!(memory.recall(&numbered(0)), Some(0));
        memory.remember(numbered(full), full);
        let kept: Vec<_> = (0..=full)
            .filter(|number| memory.recall(&numbered(*number)) == Some(*number))
            .collect();
        let expected: Vec<_> = (0..=full).filter(|number| *number != 1).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_new_value_takes_the_place_of_the_old_one() {
        let memory = Memory::default();
        let full = u8::try_from(ENTRIES).unwrap();
        for number in 0..full {
            memory.remember(numbered(number), 0);
        }
        memory.remember(numbered(3), 1);
        assert_eq!(memory.recall(&numbered(3)), Some(1));
        assert_eq!(memory.recall(&numbered(0)), Some(0), "nothing gave way");
    }

    #[test]
    fn no_two_bytes_name_a_set_that_is_not_there() {
        let memory = Memory::default();
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let mut fingerprint = [0; 32];
                fingerprint[..2].copy_from_slice(&[first, second]);
                assert_eq!(memory.recall(&fingerprint), None::<()>);
            }
        }
    }
}
