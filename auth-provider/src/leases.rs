//! Who does what in the background: of the servers on one database, one does each job.
//!
//! A job belongs to whoever holds its lease in the database, which ends by itself unless it is kept: when a server dies,
//! another takes over within [`LENGTH`]; one that stops gives its leases back. Every job can be done twice without harm
//! (what is gone is not removed again, a key's number is taken once, sums are made by who locks their row), so that a
//! lease saves work and noise, and is not what keeps the data right.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::info;

use crate::{
    client::random_id,
    storage::{Store, StoreError},
};

/// How long a lease lasts that is not kept.
pub const LENGTH: Duration = Duration::from_secs(10);

/// How often leases are kept, or looked for.
pub const KEPT_EVERY: Duration = Duration::from_secs(3);

/// So long before its end a lease is not relied on any more: the job's next step takes time.
const MARGIN: Duration = Duration::from_secs(2);

/// What one server does for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Making the next signing keys and removing old ones.
    RotateKeys,
    /// Forgetting what no longer counts, the old part of the audit log among it.
    Sweep,
    /// Summing up the uses of credentials.
    SumUp,
    /// Warning of credentials that end.
    Warn,
}

impl Job {
    pub const ALL: [Self; 4] = [Self::RotateKeys, Self::Sweep, Self::SumUp, Self::Warn];

    /// The lease's name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::RotateKeys => "rotate keys",
            Self::Sweep => "sweep",
            Self::SumUp => "sum up uses",
            Self::Warn => "warn of endings",
        }
    }
}

/// The leases of this server.
pub struct Leases {
    /// `None`: nobody else could do it.
    holder: Option<String>,
    /// Until when each job is this server's, by its own clock. Held for an assignment only.
    until: Mutex<[Option<Instant>; Job::ALL.len()]>,
}

impl Leases {
    /// Of a server that has its database for itself: every job is its own.
    pub fn alone() -> Self {
        Self {
            holder: None,
            until: Mutex::default(),
        }
    }

    /// Of a server that shares its database.
    pub fn shared() -> Self {
        Self {
            holder: Some(random_id()),
            until: Mutex::default(),
        }
    }

    /// Whether the job is this server's just now.
    pub fn holds(&self, job: Job) -> bool {
        let until = self.lock()[job as usize];
        self.holder.is_none() || until.is_some_and(|until| Instant::now() < until)
    }

    /// How long who does a job may sleep, at the most: one that may become this server's turn is looked for more often.
    pub fn longest_nap(&self, longest: Duration) -> Duration {
        match self.holder {
            None => longest,
            Some(_) => longest.min(KEPT_EVERY),
        }
    }

    /// Keeps the leases that this server has, and takes those that nobody holds.
    ///
    /// # Errors
    /// When the store does not answer. The leases that it has go on until their end.
    pub async fn keep(&self, store: &dyn Store) -> Result<(), StoreError> {
        let Some(holder) = &self.holder else {
            return Ok(());
        };
        for job in Job::ALL {
            let asked = Instant::now();
            let fencing = store.take_lease(job.name(), holder, LENGTH).await?;
            let mut all = self.lock();
            let had = all[job as usize].replace(asked + LENGTH - MARGIN);
            match fencing {
                Some(fencing) if had.is_none() => {
                    info!(job = job.name(), fencing, "does this for all servers");
                }
                Some(_) => {}
                None => all[job as usize] = None,
            }
        }
        Ok(())
    }

    /// Gives them back, so that another server can go on at once.
    ///
    /// # Errors
    /// When the store does not answer. Then the others wait for their end.
    pub async fn give_back(&self, store: &dyn Store) -> Result<(), StoreError> {
        let Some(holder) = &self.holder else {
            return Ok(());
        };
        *self.lock() = <_>::default();
        store.give_leases_back(holder).await
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Instant>; Job::ALL.len()]> {
        // An instant is whole whatever its holder did.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
