//! Which key-encryption keys are in use: a list that each server adds its key to before it wraps anything with it.
//!
//! So a start can tell whether a key is missing without reading every connection: it looks for one that each key of the list
//! wrapped, and the search ends when all are found. A key that is found no more is taken off the list when nobody has added
//! it anew for a while.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::PoisonError,
    time::Duration,
};

use m2m::Clock;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{HashicorpStore, MOST_READS, document::State, tree::Walk};
use crate::{kek::KekId, random::random_id, storage::StoreError};

const PATH: &str = "keks";

/// How often a server adds its key anew.
const ANEW: Duration = Duration::from_mins(10);

/// How long nobody has added a key that is taken off the list, in milliseconds.
const UNUSED: u64 = 3600 * 1000;

#[derive(Default, Serialize, Deserialize)]
struct List {
    /// When each was added last, in milliseconds since 1970.
    keks: BTreeMap<String, u64>,
    stamp: String,
}

/// What this server has added.
#[derive(Default)]
pub(super) struct Added(std::sync::Mutex<HashMap<KekId, Instant>>);

impl HashicorpStore {
    /// Sees to it that a key is on the list. To be done before something that it wrapped is written.
    pub(super) async fn uses_kek(&self, kek: &KekId) -> Result<(), StoreError> {
        let added = || self.keks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if added().get(kek).is_some_and(|since| since.elapsed() < ANEW) {
            return Ok(());
        }
        let now = Instant::now();
        self.change_keks(|list| {
            list.insert(kek.as_str().to_owned(), Clock::System.now_ms());
        })
        .await?;
        added().insert(kek.clone(), now);
        Ok(())
    }

    async fn change_keks(
        &self,
        change: impl Fn(&mut BTreeMap<String, u64>),
    ) -> Result<(), StoreError> {
        loop {
            let slot = self.kv.read::<List>(PATH).await?;
            let mut list = slot.document.unwrap_or_default();
            change(&mut list.keks);
            list.stamp = random_id();
            if self.kv.write(PATH, &list, slot.version).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// The keys that wrapped something that is here, by their names.
    pub(super) async fn keks_in_use(&self) -> Result<Vec<KekId>, StoreError> {
        let now = Clock::System.now_ms();
        let list = self
            .kv
            .read::<List>(PATH)
            .await?
            .document
            .unwrap_or_default();
        let mut wanted: BTreeSet<KekId> = list.keks.keys().map(KekId::new).collect();
        let mut found = Vec::new();
        if let Some(kek) = self.read_own_key().await?.1.map(|envelope| envelope.kek) {
            wanted.remove(&kek);
            found.push(kek);
        }
        let mut walk = Walk::all(&self.kv);
        while !wanted.is_empty() {
            let paths = walk.next(MOST_READS).await?;
            if paths.is_empty() {
                break;
            }
            for (_, slot) in self.read_all(paths).await? {
                if let Some(State::Kept(row)) = slot.document.map(|document| document.state)
                    && wanted.remove(&row.kek())
                {
                    found.push(row.kek());
                }
            }
        }
        let is_old = |kek: &KekId| {
            let added = list.keks.get(kek.as_str());
            added.is_some_and(|added| added.saturating_add(UNUSED) < now)
        };
        let gone: Vec<_> = wanted.into_iter().filter(is_old).collect();
        if !gone.is_empty() {
            self.change_keks(|list| list.retain(|kek, _| !gone.iter().any(|g| g.as_str() == kek)))
                .await?;
        }
        found.sort();
        Ok(found)
    }
}
