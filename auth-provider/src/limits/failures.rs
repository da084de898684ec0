//! Authentications that failed: how often, for which client, from where.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;

use super::{
    buckets::{Buckets, Exhausted},
    rate::RateLimit,
};
use crate::address::Network;

/// Failures are remembered in so many sets of so many pairs. In a full set, the pair that failed the least often is
/// forgotten first, so that a flood of new names does not wash out one who goes on.
const SETS: usize = 1024;
const PAIRS: usize = 10;

/// Who has been silent for so long is forgiven.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Counts failures for each pair of a client id and the network that they come from, so that nobody can make another
/// wait. An id counts whether there is such a client or not, and as it was presented.
pub struct Failures {
    sets: Box<[Mutex<Vec<Failed>>]>,
    hash: RandomState,
    networks: Buckets<Network>,
}

/// How often a pair failed.
struct Failed {
    /// A keyed hash: an id may be long, or a secret that was swapped with it.
    pair: u64,
    times: u32,
    last: Instant,
}

impl Failures {
    pub(super) fn new(limit: RateLimit, refusals: Counter) -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            hash: RandomState::new(),
            networks: Buckets::new("failures", limit, refusals),
        }
    }

    /// Counts one, and says how many there have been.
    ///
    /// # Errors
    /// When too many come from there, for whichever clients.
    pub fn count(&self, id: &str, network: Network) -> Result<u32, Exhausted> {
        let (pair, now) = (self.pair(id, network), Instant::now());
        let mut set = self.set(pair);
        set.retain(|failed| now.duration_since(failed.last) < REMEMBERED_FOR);
        let known = set.iter().position(|failed| failed.pair == pair);
        let before = known.map_or(0, |place| set.swap_remove(place).times);
        if set.len() == PAIRS {
            let seldom = (0..PAIRS).min_by_key(|place| (set[*place].times, set[*place].last));
            set.swap_remove(seldom.expect("the set is full"));
        }
        let times = before.saturating_add(1);
        set.push(Failed {
            pair,
            times,
            last: now,
        });
        drop(set);
        self.networks.take(&network)?;
        Ok(times)
    }

    /// Counts a refusal of somebody who named no client at all.
    ///
    /// # Errors
    /// When too many come from there.
    pub fn count_stranger(&self, network: Network) -> Result<(), Exhausted> {
        self.networks.take(&network).map(drop)
    }

    /// The right secret was presented: what failed before no longer counts.
    pub fn forgive(&self, id: &str, network: Network) {
        let pair = self.pair(id, network);
        self.set(pair).retain(|failed| failed.pair != pair);
    }

    fn pair(&self, id: &str, network: Network) -> u64 {
        self.hash.hash_one((id, network))
    }

    fn set(&self, pair: u64) -> MutexGuard<'_, Vec<Failed>> {
        let [low, high, ..] = pair.to_le_bytes();
        let set = &self.sets[usize::from(u16::from_le_bytes([low, high])) % SETS];
        // A set is whole whatever its holder did.
        set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::CallerAddress;

    fn network(text: &str) -> Network {
        CallerAddress::parse(text).unwrap().network()
    }

    fn failures(limit: &str) -> Failures {
        Failures::new(limit.parse().unwrap(), Counter::default())
    }

    #[test]
    fn failures_count_by_id_and_network_until_forgiven() {
        let failures = failures("off");
        let (here, there) = (network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(failures.count("bot", here), Ok(1));
        assert_eq!(failures.count("bot", here), Ok(2));
        assert_eq!(failures.count("bot", there), Ok(1));
        assert_eq!(failures.count("no such client", here), Ok(1));
        failures.forgive("bot", here);
        assert_eq!(failures.count("bot", here), Ok(1));
        assert_eq!(failures.count("bot", there), Ok(2));
    }

    #[test]
    fn too_many_failures_from_one_network_are_told_so() {
        let failures = failures("2/h");
        let (here, there) = (network("2001:db8::1"), network("2001:db8:1::1"));
        failures.count("a", here).unwrap();
        failures.count("b", network("2001:db8::2")).unwrap();
        failures.count("c", here).unwrap_err();
        failures.count("c", there).unwrap();
    }

    #[test]
    fn a_million_client_ids_cost_the_memory_of_ten_thousand() {
        let failures = failures("off");
        let here = network("192.0.2.1");
        for number in 0..1_000_000 {
            failures.count(&format!("client-{number}"), here).unwrap();
            if number % 100 == 0 {
                failures.count("bot", here).unwrap();
            }
        }
        let sets = failures.sets.iter().map(|set| set.lock().unwrap().len());
        assert!(sets.sum::<usize>() <= SETS * PAIRS);
        // One that fails often is not washed out by the many.
        let failed = failures.count("bot", here).unwrap();
        assert!(failed > 9_000, "{failed}");
    }
}
