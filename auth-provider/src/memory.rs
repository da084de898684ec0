//! A memory of fixed size for what is asked for again and again.
//!
//! Its keys were made by chance or by a hash, so that a key says by itself where its value is kept: in one of many small sets,
//! each with a lock and an order of its own. A look and an entry cost the same however much is remembered, and nothing has to be tidied
//! up: in a full set, what was not asked for the longest gives way.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sets. It is a prime, so that keys in letters, whose bytes have bits in common, spread as others do.
const SETS: usize = 1021;

/// Values by keys of so many bytes.
pub struct Memory<const BYTES: usize, V> {
    sets: Box<[Mutex<Set<BYTES, V>>]>,
    /// How many values one set has at the most.
    places: usize,
}

/// What was asked for last stands last.
type Set<const BYTES: usize, V> = Vec<([u8; BYTES], V)>;

impl<const BYTES: usize, V: Clone> Memory<BYTES, V> {
    /// Room for about so many. Chance fills some sets before the others.
    pub fn for_about(values: usize) -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            places: values.div_ceil(SETS),
        }
    }

    pub fn get(&self, key: &[u8; BYTES]) -> Option<V> {
        let mut set = self.set(key);
        let place = set.iter().position(|(known, _)| known == key)?;
        set[place..].rotate_left(1);
        set.last().map(|(_, value)| value.clone())
    }

    pub fn insert(&self, key: [u8; BYTES], value: V) {
        let mut set = self.set(&key);
        let known = set.iter().position(|(known, _)| *known == key);
        let place = known.or((set.len() == self.places).then_some(0));
        let forgotten = place.map(|place| set.remove(place));
        set.push((key, value));
        drop(set);
        drop(forgotten); // it may be large, and nobody should wait for that
    }

    fn set(&self, key: &[u8; BYTES]) -> MutexGuard<'_, Set<BYTES, V>> {
        let [a, b, c, d] = *key.first_chunk().expect("a key has more than four bytes");
        let set = &self.sets[u32::from_le_bytes([a, b, c, d]) as usize % SETS];
        // A set is whole whatever its holder did.
        set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::CredentialId;

    /// All in one set.
    fn numbered(number: u8) -> [u8; 5] {
        [0, 0, 0, 0, number]
    }

    #[test]
    fn what_was_not_asked_for_the_longest_is_forgotten_first() {
        let memory = Memory::for_about(8 * SETS);
        for number in 0..8 {
            memory.insert(numbered(number), number);
        }
        assert_eq!(memory.get(&numbered(0)), Some(0));
        memory.insert(numbered(8), 8);
        let kept = (0..=8).filter(|number| memory.get(&numbered(*number)) == Some(*number));
        assert_eq!(kept.collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_new_value_takes_the_place_of_the_old_one() {
        let memory = Memory::for_about(8 * SETS);
        for number in 0..8 {
            memory.insert(numbered(number), 0);
        }
        memory.insert(numbered(3), 1);
        assert_eq!(memory.get(&numbered(3)), Some(1));
        assert_eq!(memory.get(&numbered(0)), Some(0), "nothing gave way");
    }

    #[test]
    fn most_of_as_many_as_there_is_room_for_are_known() {
        let memory = Memory::for_about(100_000);
        let names: Vec<_> = (0..100_000)
            .map(|_| CredentialId::generate().bytes())
            .collect();
        for name in &names {
            memory.insert(*name, ());
        }
        let known = names.iter().filter(|name| memory.get(name).is_some());
        assert!(known.count() > 90_000);
    }
}
