//! A store in memory that keeps the contract, for the simulation: each step yields before and after it, so that whoever polls
//! decides who goes on, and who does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::{Mutex, MutexGuard},
    task::Poll,
};

use async_trait::async_trait;
use token_vault::{
    audit::{Event, Filter, Recorded},
    connection::{ConnectionKey, Doubt},
    envelope::Envelope,
    kek::KekId,
    storage::{
        Attention, Claim, Due, Listing, Seen, Settlement, StoreError, Stored, Times, USED_EVERY,
        VaultStore,
    },
};

#[derive(Default)]
pub(crate) struct MemoryStore(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    connections: BTreeMap<(String, String, String, String), Stored>,
    events: Vec<Event>,
    forgotten: usize,
    own_key: Option<Envelope>,
    seen: BTreeMap<Vec<u8>, u64>,
    contested: BTreeSet<(String, String, String, String)>,
}

/// Lets the others go on once.
pub(crate) async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if paused {
            return Poll::Ready(());
        }
        paused = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn place(key: &ConnectionKey) -> (String, String, String, String) {
    let text = |text: &str| text.to_owned();
    (
        text(key.application.as_str()),
        text(key.user.as_str()),
        text(key.service.as_str()),
        text(key.account.as_str()),
    )
}

impl MemoryStore {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap()
    }

    /// One atomic step.
    async fn step<T>(&self, change: impl FnOnce(&mut Rows) -> T) -> Result<T, StoreError> {
        pause().await;
        let outcome = change(&mut self.rows());
        pause().await;
        Ok(outcome)
    }

    pub(crate) fn all_events(&self) -> Vec<Event> {
        self.rows().events.clone()
    }

    pub(crate) fn now(&self, key: &ConnectionKey) -> Option<Stored> {
        self.rows().connections.get(&place(key)).cloned()
    }
}

#[async_trait]
impl VaultStore for MemoryStore {
    async fn put(
        &self,
        key: &ConnectionKey,
        envelope: &Envelope,
        times: Times,
        version: u64,
        event: &Event,
    ) -> Result<(), StoreError> {
        self.step(|rows| {
            let old = rows.connections.get(&place(key));
            let new = Stored {
                key: key.clone(),
                envelope: envelope.clone(),
                version,
                times,
                broken: None,
                fence: old.map_or(0, |old| old.fence),
                leased_until: None,
                spending: None,
                doubt: None,
                failures: 0,
                retry_from: None,
                last_failure: None,
                stored_at: event.at,
                refreshed_at: None,
                last_used: old.and_then(|old| old.last_used.clone()),
            };
            rows.connections.insert(place(key), new);
            rows.contested.remove(&place(key));
            rows.events.push(event.clone());
        })
        .await
    }

    async fn connection(&self, key: &ConnectionKey) -> Result<Option<Stored>, StoreError> {
        self.step(|rows| rows.connections.get(&place(key)).cloned())
            .await
    }

    async fn connections(&self, wish: &Listing<'_>) -> Result<Vec<Stored>, StoreError> {
        let order = |row: &Stored| {
            let key = row.key.clone();
            (key.user, key.service, key.account)
        };
        self.step(|rows| {
            let fits = |row: &&Stored| {
                row.key.application == *wish.application
                    && wish
                        .service
                        .is_none_or(|service| row.key.service == *service)
                    && wish.user.is_none_or(|user| row.key.user == *user)
                    && wish.after.as_ref().is_none_or(|after| order(row) > *after)
            };
            let mut found: Vec<_> = rows.connections.values().filter(fits).cloned().collect();
            found.sort_by_key(order);
            found.truncate(wish.limit as usize);
            found
        })
        .await
    }

    async fn claim(&self, claim: &Claim<'_>, events: &[Event]) -> Result<Option<u64>, StoreError> {
        self.step(|rows| {
            let row = rows.connections.get_mut(&place(claim.key))?;
            let seen = (row.version, row.fence) == (claim.version, claim.fence);
            let free = row.leased_until.is_none_or(|until| until <= claim.now);
            if !seen || !free || row.broken.is_some() {
                return None;
            }
            row.fence += 1;
            row.leased_until = Some(claim.until);
            row.spending = Some(claim.spending.to_owned());
            row.doubt = claim.doubt;
            let fence = row.fence;
            rows.events.extend_from_slice(events);
            Some(fence)
        })
        .await
    }

    async fn settle(
        &self,
        key: &ConnectionKey,
        seen: Seen,
        settlement: &Settlement,
        new_version: u64,
        event: &Event,
    ) -> Result<bool, StoreError> {
        self.step(|rows| {
            let Some(row) = rows.connections.get_mut(&place(key)) else {
                return false;
            };
            if (row.version, row.fence) != (seen.version, seen.fence) {
                return false;
            }
            row.leased_until = None;
            row.spending = None;
            match settlement {
                Settlement::Refreshed { envelope, times } => {
                    row.version = new_version;
                    row.envelope = envelope.clone();
                    row.times = *times;
                    row.refreshed_at = Some(event.at);
                    row.doubt = None;
                    if rows.contested.remove(&place(key)) {
                        row.times.refresh_from = times.refresh_from.and(Some(event.at));
                        row.doubt = Some(Doubt::Crash);
                    }
                    row.failures = 0;
                    row.retry_from = None;
                    row.last_failure = None;
                }
                Settlement::Failed {
                    doubt,
                    failures,
                    retry_from,
                    kind,
                } => {
                    row.doubt = *doubt;
                    row.failures = *failures;
                    row.retry_from = Some(*retry_from);
                    row.last_failure = Some((*kind).to_owned());
                }
                Settlement::Broken(broken) => {
                    row.version = new_version;
                    row.broken = Some((*broken, event.at));
                }
            }
            rows.events.push(event.clone());
            true
        })
        .await
    }

    async fn remove(
        &self,
        key: &ConnectionKey,
        version: u64,
        event: &Event,
    ) -> Result<bool, StoreError> {
        self.step(|rows| {
            let there = rows
                .connections
                .get(&place(key))
                .is_some_and(|row| row.version == version);
            if there {
                rows.connections.remove(&place(key));
                rows.events.push(event.clone());
            }
            there
        })
        .await
    }

    async fn due(&self, wish: Due<'_>) -> Result<Vec<ConnectionKey>, StoreError> {
        self.step(|rows| {
            let fits = |row: &&Stored| {
                let past = |time: Option<u64>| time.is_none_or(|time| time <= wish.now);
                row.key.service == *wish.service
                    && row.broken.is_none()
                    && row
                        .times
                        .refresh_from
                        .is_some_and(|from| from <= wish.refresh_from)
                    && row
                        .last_used
                        .as_ref()
                        .is_some_and(|(at, _)| *at >= wish.used_since)
                    && past(row.leased_until)
                    && past(row.retry_from)
            };
            let mut found: Vec<_> = rows.connections.values().filter(fits).collect();
            found.sort_by_key(|row| row.times.refresh_from);
            found
                .iter()
                .take(wish.limit as usize)
                .map(|row| row.key.clone())
                .collect()
        })
        .await
    }

    async fn suspect(
        &self,
        key: &ConnectionKey,
        stored_at: u64,
        now: u64,
    ) -> Result<(), StoreError> {
        self.step(|rows| {
            let Some(row) = rows.connections.get_mut(&place(key)) else {
                return;
            };
            if row.stored_at != stored_at || row.broken.is_some() {
                return;
            }
            if row.leased_until.is_some() {
                rows.contested.insert(place(key));
            } else if row.times.refresh_from.is_some() {
                row.times.refresh_from = Some(now);
                row.doubt = Some(Doubt::Crash);
            }
        })
        .await
    }

    async fn wrapped_by(
        &self,
        kek: &KekId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<Stored>, StoreError> {
        self.step(|rows| {
            let fits = |row: &&Stored| {
                row.envelope.kek == *kek && after.is_none_or(|after| place(&row.key) > place(after))
            };
            rows.connections
                .values()
                .filter(fits)
                .take(limit as usize)
                .cloned()
                .collect()
        })
        .await
    }

    async fn rewrap(
        &self,
        key: &ConnectionKey,
        old: &Envelope,
        new: &Envelope,
    ) -> Result<bool, StoreError> {
        self.step(|rows| {
            let row = rows.connections.get_mut(&place(key)).filter(|row| {
                row.envelope.data_key == old.data_key && row.envelope.sealed == old.sealed
            });
            row.map(|row| row.envelope = new.clone()).is_some()
        })
        .await
    }

    async fn kek_ids(&self) -> Result<Vec<KekId>, StoreError> {
        self.step(|rows| {
            let all = rows
                .connections
                .values()
                .map(|row| &row.envelope)
                .chain(&rows.own_key);
            let mut ids: Vec<_> = all.map(|envelope| envelope.kek.clone()).collect();
            ids.sort();
            ids.dedup();
            ids
        })
        .await
    }

    async fn own_key(&self) -> Result<Option<Envelope>, StoreError> {
        self.step(|rows| rows.own_key.clone()).await
    }

    async fn set_own_key(
        &self,
        old: Option<&Envelope>,
        new: &Envelope,
    ) -> Result<bool, StoreError> {
        self.step(|rows| {
            let same =
                rows.own_key.as_ref().map(|key| &key.data_key) == old.map(|key| &key.data_key);
            if same {
                rows.own_key = Some(new.clone());
            }
            same
        })
        .await
    }

    async fn remember(&self, id_hash: &[u8], now: u64, until: u64) -> Result<bool, StoreError> {
        self.step(|rows| {
            let new = rows.seen.get(id_hash).is_none_or(|until| *until <= now);
            if new {
                rows.seen.insert(id_hash.to_vec(), until);
            }
            new
        })
        .await
    }

    async fn add_events(&self, events: &[Event], uses: &[&Event]) -> Result<(), StoreError> {
        self.step(|rows| {
            rows.events.extend_from_slice(events);
            for event in uses {
                if let Some(row) = rows.connections.get_mut(&place(&event.key))
                    && row
                        .last_used
                        .as_ref()
                        .is_none_or(|(at, _)| *at + USED_EVERY <= event.at)
                {
                    row.last_used = Some((
                        event.at,
                        event.actor.as_deref().unwrap_or_default().to_owned(),
                    ));
                }
            }
        })
        .await
    }

    async fn events(
        &self,
        filter: &Filter,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let fits = |event: &Event| {
            let key = &event.key;
            filter
                .application
                .as_ref()
                .is_none_or(|name| *name == key.application)
                && filter.user.as_ref().is_none_or(|name| *name == key.user)
                && filter
                    .service
                    .as_ref()
                    .is_none_or(|name| *name == key.service)
                && filter
                    .account
                    .as_ref()
                    .is_none_or(|name| *name == key.account)
                && filter.action.is_none_or(|action| action == event.action)
                && filter.from.is_none_or(|from| from <= event.at)
                && filter.to.is_none_or(|to| to >= event.at)
        };
        self.step(|rows| {
            let numbered = rows.events.iter().enumerate().rev();
            let number = |index: usize| (rows.forgotten + index) as u64 + 1;
            let found = numbered.filter(|(index, event)| number(*index) < before && fits(event));
            let recorded = |(index, event): (usize, &Event)| Recorded {
                number: number(index),
                event: event.clone(),
            };
            found.take(limit as usize).map(recorded).collect()
        })
        .await
    }

    async fn forget(&self, events_before: u64, now: u64) -> Result<bool, StoreError> {
        self.step(|rows| {
            let before = rows.events.len();
            rows.events.retain(|event| event.at >= events_before);
            rows.forgotten += before - rows.events.len();
            rows.seen.retain(|_, until| *until > now);
            false
        })
        .await
    }

    async fn attention(&self) -> Result<Vec<Attention>, StoreError> {
        self.step(|rows| {
            let mut found = BTreeMap::new();
            for row in rows.connections.values() {
                if let Some((_, since)) = row.broken {
                    let (connections, first) =
                        found.entry(row.key.service.clone()).or_insert((0, since));
                    *connections += 1;
                    *first = since.min(*first);
                }
            }
            let row = |(service, (connections, since))| Attention {
                service,
                connections,
                since,
            };
            found.into_iter().map(row).collect()
        })
        .await
    }

    async fn clock(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}
