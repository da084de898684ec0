//! Where the buckets of one limit are kept: a table of bounded size, so that a million names cost the memory of some
//! thousands, and where a caller who is not in it costs no more than one who is.

use std::{
    array,
    hash::{BuildHasher, Hash, RandomState},
    marker::PhantomData,
    sync::{Mutex, OnceLock, PoisonError},
};

use governor::{nanos::Nanos, state::StateStore};

/// Each caller has its bucket in one of so many sets, by a keyed hash that no caller can aim at.
const SETS: usize = GROUPS * GROUPED;

/// Sets are made in so many groups.
const GROUPS: usize = 256;

/// Sets in one group.
const GROUPED: usize = 16;

/// Buckets in one set.
const PLACES: usize = 8;

/// How many callers have a bucket at the most.
#[cfg(test)]
pub(super) const CALLERS: usize = SETS * PLACES;

/// Who asked so often, or more often, is forgotten only after as many requests of others who have no bucket.
const OFTEN: u8 = 100;

pub(super) struct Table<K> {
    /// A group and a set are made when the first of their callers comes: most servers have few, and limits that never count
    /// anything.
    groups: Box<[OnceLock<Box<Group>>]>,
    hash: RandomState,
    keys: PhantomData<fn(&K)>,
}

type Group = [Mutex<Option<Box<Set>>>; GROUPED];

type Set = [Place; PLACES];

/// A bucket and whose it is.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The hash of the caller: of two with the same 64 bits the one would be limited with the other.
    caller: u64,
    /// Governor's figure: the second, in nanoseconds, at which the bucket is full again.
    level: u64,
    /// How often the caller asked, less what others took from it.
    asked: u8,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            groups: (0..GROUPS).map(|_| OnceLock::new()).collect(),
            hash: RandomState::new(),
            keys: PhantomData,
        }
    }
}

/// A full bucket is not kept: `None` is one. What is forgotten is therefore full again; it is that of a caller who asks
/// seldom, by the rule of Misra and Gries ("Finding repeated elements", 1982), whether its requests were refused or not.
impl<K: Hash> StateStore for Table<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let caller = self.hash.hash_one(key);
        let [low, high, ..] = caller.to_le_bytes();
        let number = usize::from(u16::from_le_bytes([low, high])) % SETS;
        let group = &self.groups[number / GROUPED];
        let group = group.get_or_init(|| Box::new(array::from_fn(|_| Mutex::default())));
        let mut set = group[number % GROUPED]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let set = set.get_or_insert_default();
        if let Some(place) = set.iter_mut().find(|place| place.caller == caller) {
            place.asked = place.asked.saturating_add(1).min(OFTEN);
            let (measured, level) = measure(Some(place.level.into()))?;
            place.level = level.into();
            return Ok(measured);
        }
        let (measured, level) = measure(None)?;
        let is_full = set.iter().all(|place| place.asked > 0);
        if is_full {
            set.iter_mut().for_each(|place| place.asked -= 1);
        }
        // Of those who are as good as forgotten, the one whose bucket is the fullest.
        let forgotten = set.iter_mut().filter(|place| place.asked == 0);
        if let Some(place) = forgotten.min_by_key(|place| place.level) {
            *place = Place {
                caller,
                level: level.into(),
                asked: 1,
            };
        }
        Ok(measured)
    }
}
