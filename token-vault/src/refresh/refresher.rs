//! Who makes the attempts: at most one at a time for each connection in this process, each in a task of its own, so that a
//! caller who hangs up takes nothing down; and, for connections that are used, ahead of their end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Attempt, Decision, Desk, Outcome,
    attempt::{RefreshError, attempt, millis},
    decide,
};
use crate::{
    connection::ConnectionKey,
    memory::Memory,
    metrics::Metrics,
    provider::{Provider, Providers},
    storage::{Due, StoreError},
};

/// How much ahead of the moment from which a token is refreshed on demand it is refreshed by itself.
pub const LOOK_AHEAD: Duration = Duration::from_mins(1);

/// How long a connection is refreshed by itself after it was last used.
const USED_WITHIN: Duration = Duration::from_hours(30 * 24);

/// How many are refreshed by themselves at once.
const AT_ONCE: usize = 16;

/// How many are looked for at once.
const BATCH: u32 = 200;

/// Refreshes connections.
pub struct Refresher {
    pub desk: Desk,
    providers: Providers,
    metrics: Arc<Metrics>,
    /// What an attempt makes old.
    pub(crate) memory: Arc<Memory>,
    /// Attempts under way in this process; each ends by dropping its sender.
    under_way: Mutex<HashMap<ConnectionKey, watch::Receiver<()>>>,
}

impl Refresher {
    pub fn new(
        desk: Desk,
        providers: Providers,
        metrics: Arc<Metrics>,
        memory: Arc<Memory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            desk,
            providers,
            metrics,
            memory,
            under_way: Mutex::default(),
        })
    }

    /// Has an attempt made, if one is called for when it is its turn, and waits for its end. A caller who stops waiting
    /// stops nothing.
    pub async fn refresh(self: &Arc<Self>, provider: &Arc<Provider>, key: &ConnectionKey) {
        let mut end = self.join(provider, key);
        // An error is what is waited for: the sender is gone.
        while end.changed().await.is_ok() {}
    }

    /// The attempt that is under way, or a new one.
    fn join(
        self: &Arc<Self>,
        provider: &Arc<Provider>,
        key: &ConnectionKey,
    ) -> watch::Receiver<()> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = under_way.get(key).filter(|end| end.has_changed().is_ok()) {
            return end.clone();
        }
        let (done, end) = watch::channel(());
        under_way.insert(key.clone(), end.clone());
        let (refresher, provider, key) = (Arc::clone(self), Arc::clone(provider), key.clone());
        tokio::spawn(async move {
            if let Err(error) = refresher.attempt(&provider, &key).await {
                warn!("cannot refresh a token of {}: {error}", provider.service);
            }
            refresher.memory.forget(&key);
            let mut under_way = refresher
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            under_way.remove(&key);
            drop(done); // while the lock is held: nobody finds an attempt that has ended
        });
        end
    }

    async fn attempt(&self, provider: &Provider, key: &ConnectionKey) -> Result<(), RefreshError> {
        let Some(row) = self.desk.store.connection(key).await? else {
            return Ok(());
        };
        let now = self.desk.clock.now_ms();
        // Ahead of its time it is refreshed by itself; leases and pauses count as ever.
        let is_due = decide(&row, now) == Decision::Refresh;
        let is_near = || decide(&row, now + millis(LOOK_AHEAD)) == Decision::Refresh;
        let is_free = |until: Option<u64>| until.is_none_or(|until| until <= now);
        if !(is_due || is_free(row.leased_until) && is_free(row.retry_from) && is_near()) {
            return Ok(());
        }
        let refresh_from = |now, end| provider.refresh_from(now, end);
        let wish = Attempt {
            endpoint: provider,
            refresh_from: &refresh_from,
            row: &row,
        };
        let outcome = attempt(&self.desk, wish).await?;
        let took = Duration::from_millis(self.desk.clock.now_ms().saturating_sub(now));
        self.metrics.attempted(&provider.service, &outcome, took);
        self.after(provider, key, outcome).await?;
        Ok(())
    }

    async fn after(
        &self,
        provider: &Provider,
        key: &ConnectionKey,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        match outcome {
            Outcome::Failed(failure) => {
                warn!(
                    "{} gave no new token: {}",
                    provider.service,
                    failure.as_str()
                );
            }
            Outcome::NeedsReconnect(broken) => {
                info!(
                    "a connection to {} needs its user: {}",
                    provider.service,
                    broken.as_str()
                );
            }
            // The user was forgotten while the provider answered: what it gave must not live on.
            Outcome::Superseded(tokens) if self.desk.store.connection(key).await?.is_none() => {
                if provider.revoke(&tokens).await == Some(false) {
                    warn!(
                        "{} did not take back tokens of a user who was forgotten",
                        provider.service
                    );
                }
            }
            Outcome::Superseded(_) | Outcome::Refreshed | Outcome::TooLate => {}
        }
        Ok(())
    }

    /// Refreshes what will be at its end soon and is in use. True when there may be more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn look_ahead(self: &Arc<Self>) -> Result<bool, StoreError> {
        let mut more = false;
        for provider in self.providers.iter() {
            let now = self.desk.clock.now_ms();
            let wish = Due {
                service: &provider.service,
                now,
                refresh_from: now + millis(LOOK_AHEAD),
                used_since: now.saturating_sub(millis(USED_WITHIN)),
                limit: BATCH,
            };
            let due = self.desk.store.due(wish).await?;
            more |= due.len() == BATCH as usize;
            let refresh = |key| async move { self.refresh(provider, &key).await };
            stream::iter(due)
                .for_each_concurrent(AT_ONCE, refresh)
                .await;
        }
        Ok(more)
    }
}
