//! Authentications that failed: how often, for which client, from where.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use prometheus_client::metrics::counter::Counter;

use super::{
    buckets::{Buckets, Exhausted},
    rate::RateLimit,
};
use crate::address::Network;

/// Of how many pairs failures are remembered at the most. What is forgotten first are those who seldom fail, so that a
/// flood of new names does not wash out one who goes on.
const REMEMBERED: u64 = 10_000;

/// Who has been silent for so long is forgiven.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Counts failures for each pair of a client id and the network that they come from, so that nobody can make another
/// wait. An id counts whether there is such a client or not, and as it was presented.
pub struct Failures {
    /// By a keyed hash: an id may be long, or a secret that was swapped with it.
    counts: Cache<u64, Arc<AtomicU32>>,
    hash: RandomState,
    networks: Buckets<Network>,
}

impl Failures {
    pub(super) fn new(limit: RateLimit, refusals: Counter) -> Self {
        Self {
            counts: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_idle(REMEMBERED_FOR)
                .build(),
            hash: RandomState::new(),
            networks: Buckets::new("failures", limit, refusals),
        }
    }

    /// Counts one, and says how many there have been.
    ///
    /// # Errors
    /// When too many come from there, for whichever clients.
    pub fn count(&self, id: &str, network: Network) -> Result<u32, Exhausted> {
        let key = self.key(id, network);
        let count = self.counts.get(&key).unwrap_or_else(|| {
            // Of several first failures in the same instant only one may count: that harms nobody.
            let count = Arc::default();
            self.counts.insert(key, Arc::clone(&count));
            count
        });
        let before = count.fetch_add(1, Ordering::Relaxed);
        self.networks.take(&network)?;
        Ok(before.saturating_add(1))
    }

    /// Counts a refusal of somebody who named no client at all.
    ///
    /// # Errors
    /// When too many come from there.
    pub fn count_stranger(&self, network: Network) -> Result<(), Exhausted> {
        self.networks.take(&network).map(drop)
    }

    /// The right secret was presented: what failed before no longer counts. Where nothing failed, it writes nothing.
    pub fn forgive(&self, id: &str, network: Network) {
        let key = self.key(id, network);
        if self.counts.contains_key(&key) {
            self.counts.invalidate(&key);
        }
    }

    fn key(&self, id: &str, network: Network) -> u64 {
        self.hash.hash_one((id, network))
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
        failures.counts.run_pending_tasks();
        assert!(failures.counts.entry_count() <= REMEMBERED);
        assert!(failures.counts.iter().count() as u64 <= REMEMBERED);
        // One that fails often is not washed out by the many.
        let failed = failures.count("bot", here).unwrap();
        assert!(failed > 9_000, "{failed}");
    }
}
