//! What is known of all connections without asking: who is due, who needs their users.
//!
//! KV has no index, so one is kept in memory. What this server reads and writes is noted at once; what others did is seen when
//! the whole tree is walked again, which takes a tenth of the time at most. What is found here is a hint: whoever acts on it
//! reads the document.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::document::Row;
use crate::{
    connection::{ConnectionKey, Service},
    storage::{Attention, Due},
};

/// How long the tree is left alone after a walk, at least.
const REST: Duration = Duration::from_mins(5);

/// How many times as long as a walk took it is left alone after it.
const RATIO: u32 = 9;

/// What is known of a connection.
struct Known {
    refresh_from: Option<u64>,
    leased_until: Option<u64>,
    retry_from: Option<u64>,
    broken_since: Option<u64>,
    used_at: Option<u64>,
    /// The walk under way when it was last seen.
    walk: u64,
}

/// When the tree is walked again.
#[derive(Default)]
pub(super) struct Rounds {
    pub(super) next: Option<Instant>,
}

impl Rounds {
    pub(super) fn is_time(&self) -> bool {
        self.next.is_none_or(|next| next <= Instant::now())
    }

    pub(super) fn walked(&mut self, since: Instant) {
        let rest = REST.max(since.elapsed() * RATIO);
        self.next = Some(Instant::now() + rest);
    }
}

#[derive(Default)]
struct Inner {
    known: HashMap<ConnectionKey, Known>,
    walk: u64,
}

#[derive(Default)]
pub(super) struct Overview {
    inner: Mutex<Inner>,
    /// Lets one task through that walks.
    pub(super) rounds: tokio::sync::Mutex<Rounds>,
}

impl Overview {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a connection stands; `None`: it is gone.
    pub(super) fn note(&self, key: &ConnectionKey, row: Option<&Row>) {
        let mut inner = self.inner();
        let Some(row) = row else {
            inner.known.remove(key);
            return;
        };
        let known = Known {
            refresh_from: row.refresh_from,
            leased_until: row.leased_until,
            retry_from: row.retry_from,
            broken_since: row.broken_since(),
            used_at: row.last_used.as_ref().map(|(at, _)| *at),
            walk: inner.walk,
        };
        inner.known.insert(key.clone(), known);
    }

    pub(super) fn begin_walk(&self) {
        self.inner().walk += 1;
    }

    /// Forgets what was not seen since the walk began.
    pub(super) fn end_walk(&self) {
        let mut inner = self.inner();
        let walk = inner.walk;
        inner.known.retain(|_, known| known.walk == walk);
    }

    pub(super) fn due(&self, wish: &Due<'_>) -> Vec<ConnectionKey> {
        let inner = self.inner();
        let past = |time: Option<u64>| time.is_none_or(|time| time <= wish.now);
        let is_due = |(key, known): (&ConnectionKey, &Known)| {
            let from = known
                .refresh_from
                .filter(|from| *from <= wish.refresh_from)?;
            let is_used = known.used_at.is_some_and(|at| at >= wish.used_since);
            let is_free = past(known.leased_until) && past(known.retry_from);
            let fits = key.service == *wish.service && known.broken_since.is_none();
            (fits && is_used && is_free).then(|| (from, key.clone()))
        };
        let mut due: Vec<_> = inner.known.iter().filter_map(is_due).collect();
        drop(inner);
        due.sort_by_key(|(from, _)| *from);
        due.truncate(wish.limit as usize);
        due.into_iter().map(|(_, key)| key).collect()
    }

    pub(super) fn attention(&self) -> Vec<Attention> {
        let mut found = BTreeMap::<Service, (u64, u64)>::new();
        for (key, known) in &self.inner().known {
            if let Some(since) = known.broken_since {
                let (connections, first) = found.entry(key.service.clone()).or_insert((0, since));
                *connections += 1;
                *first = since.min(*first);
            }
        }
        let attention = |(service, (connections, since))| Attention {
            service,
            connections,
            since,
        };
        found.into_iter().map(attention).collect()
    }
}
