//! How far the log is summed up, and what was read of it for that and is not summed up yet.
//!
//! A use changes two rows. Among a million clients, those who come one after the other in the log have nothing in common, and
//! each of their rows lies on a page of its own. So a long stretch of the log is read first and then summed up client by client:
//! clients whose ids follow each other share pages. What is gathered is only in memory, and can be read again.

use std::collections::{BTreeMap, HashSet};

use tokio::sync::{Mutex, MutexGuard};

use crate::{
    client::ClientId,
    storage::{
        StoreError,
        rows::{Columns, time},
    },
    uses::Used,
};

/// How many numbers of the log are summed up together at the most. Their uses take some 8 MB when no two are of one credential.
const MOST: u64 = 65_536;

/// How many credentials are summed up in one step, and the others of its last client. Nobody else can write meanwhile, and
/// with very many clients most of their rows lie on pages of their own.
const CREDENTIALS: usize = 200;

/// So many uses of a client are looked at for one of the same credential in the same second.
const LATEST: usize = 16;

/// How far the log is summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct Progress {
    /// For all clients.
    pub(in crate::storage) used_up_to: u64,
    /// Where this is beyond `used_up_to`: for the clients up to `summed_client`.
    pub(in crate::storage) summing_up_to: u64,
    pub(in crate::storage) summed_client: String,
}

impl Progress {
    pub(in crate::storage) fn read(row: &impl Columns) -> Result<Self, StoreError> {
        Ok(Self {
            used_up_to: time(row, "used_up_to")?,
            summing_up_to: time(row, "summing_up_to")?,
            summed_client: row.text("summed_client")?,
        })
    }

    /// The same for one client.
    pub(in crate::storage) fn of(&self, client: &ClientId) -> u64 {
        if client.as_str() <= self.summed_client.as_str() {
            self.used_up_to.max(self.summing_up_to)
        } else {
            self.used_up_to
        }
    }

    /// Up to where the log is summed up next.
    pub(in crate::storage) fn end(&self, last: u64) -> u64 {
        if self.summing_up_to > self.used_up_to {
            self.summing_up_to
        } else {
            last.min(self.used_up_to + MOST)
        }
    }
}

/// One at a time sums up.
#[derive(Default)]
pub(in crate::storage) struct Backlog(Mutex<Gathered>);

impl Backlog {
    pub(in crate::storage) async fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().await
    }
}

/// The uses that are not summed up, of all behind `progress` up to one number of the log.
#[derive(Default)]
pub(in crate::storage) struct Gathered {
    pub(in crate::storage) progress: Progress,
    pub(in crate::storage) up_to: u64,
    /// Those of each client in the order of the log.
    uses: BTreeMap<ClientId, Vec<Used>>,
}

impl Gathered {
    /// Nothing, unless it is what is missing: another server may have summed up some of it.
    pub(in crate::storage) fn behind(self, progress: Progress) -> Self {
        if self.progress == progress {
            return self;
        }
        Self {
            up_to: progress.used_up_to,
            progress,
            uses: BTreeMap::new(),
        }
    }

    /// Takes the next uses of the log.
    pub(in crate::storage) fn add(&mut self, uses: Vec<(u64, Used)>, up_to: u64) {
        for (number, used) in uses {
            if number > self.progress.of(&used.client) {
                self.add_one(used);
            }
        }
        self.up_to = up_to;
    }

    /// Those of a credential in one second are as good as one.
    fn add_one(&mut self, used: Used) {
        let Some(known) = self.uses.get_mut(&used.client) else {
            self.uses.insert(used.client.clone(), vec![used]);
            return;
        };
        let mut latest = known.iter_mut().rev().take(LATEST);
        let same = latest.find(|one| {
            one.credential == used.credential
                && (one.first_at, one.last_at) == (used.first_at, used.last_at)
        });
        match same {
            Some(same) => same.and(&used),
            None => known.push(used),
        }
    }

    /// The uses of the first clients, as many as are summed up in one step. It is made when the database knows
    /// [`progress`](Self::progress).
    pub(in crate::storage) fn step(&mut self) -> Vec<Used> {
        let (mut step, mut credentials) = (Vec::new(), 0);
        while credentials < CREDENTIALS
            && let Some((client, uses)) = self.uses.pop_first()
        {
            let of_client: HashSet<_> = uses.iter().map(|used| used.credential).collect();
            credentials += of_client.len();
            step.extend(uses);
            client.as_str().clone_into(&mut self.progress.summed_client);
        }
        self.progress.summing_up_to = self.up_to;
        if self.uses.is_empty() {
            self.progress.used_up_to = self.up_to;
            self.progress.summed_client.clear();
        }
        step
    }
}
