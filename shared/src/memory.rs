//! A memory of fixed size for what is asked for again and again.
//!
//! Its keys were made by chance or by a hash, so that a key says by itself where its value is kept: in one of many small
//! sets, each with a lock and an order of its own. A look and an entry cost the same however much is remembered, and nothing
//! has to be tidied up: in a full set, what was not asked for the longest gives way.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by keys of so many bytes, at least four.
///
/// ```
/// use m2m::memory::Memory;
///
/// let memory = Memory::new(1021, 8);
/// memory.insert(*b"a hash, or as good as random", 7);
/// assert_eq!(memory.get(b"a hash, or as good as random"), Some(7));
/// ```
pub struct Memory<const BYTES: usize, V> {
    sets: Box<[Mutex<Set<BYTES, V>>]>,
    places: usize,
}

/// What was asked for last stands last.
type Set<const BYTES: usize, V> = Vec<([u8; BYTES], V)>;

impl<const BYTES: usize, V: Clone> Memory<BYTES, V> {
    /// So many sets with so many places each. Chance fills some sets before the others.
    ///
    /// Where keys are letters, whose bytes have bits in common, the number of sets should be a prime: then they spread as
    /// others do.
    ///
    /// # Panics
    /// When either is zero.
    pub fn new(sets: usize, places: usize) -> Self {
        assert!(sets > 0 && places > 0, "a memory has room");
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            places,
        }
    }

    /// What is remembered under a key.
    pub fn get(&self, key: &[u8; BYTES]) -> Option<V> {
        let mut set = self.set(key);
        let place = set.iter().position(|(known, _)| known == key)?;
        set[place..].rotate_left(1);
        set.last().map(|(_, value)| value.clone())
    }

    /// Remembers a value, instead of the one that was known under this key.
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
        const { assert!(BYTES >= 4, "a key is too short to say where it is") };
        let [a, b, c, d] = *key.first_chunk().expect("a key has four bytes");
        let set = u32::from_le_bytes([a, b, c, d]) as usize % self.sets.len();
        // A set is whole whatever its holder did.
        self.sets[set]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All in one set.
    fn numbered(number: u8) -> [u8; 5] {
        [0, 0, 0, 0, number]
    }

    #[test]
    fn what_was_not_asked_for_the_longest_is_forgotten_first() {
        let memory = Memory::new(16, 8);
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
        let memory = Memory::new(16, 8);
        for number in 0..8 {
            memory.insert(numbered(number), 0);
        }
        memory.insert(numbered(3), 1);
        assert_eq!(memory.get(&numbered(3)), Some(1));
        assert_eq!(memory.get(&numbered(0)), Some(0), "nothing gave way");
    }

    #[test]
    fn keys_in_letters_spread_over_a_prime_of_sets() {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let memory = Memory::new(1021, 10);
        let letter = |number: usize| LETTERS[number % LETTERS.len()];
        let keys: Vec<_> = (0..10_000_usize)
            .map(|number| number.wrapping_mul(0x9E37_79B9))
            .map(|one| [one, one >> 6, one >> 12, one >> 18, one >> 24].map(letter))
            .collect();
        for key in &keys {
            memory.insert(*key, ());
        }
        let known = keys.iter().filter(|key| memory.get(key).is_some());
        assert!(known.count() > 8_000);
    }
}
