//! What the vault does for its callers: store, fetch, list, forget.
//!
//! Every key here was made from a verified caller, so none of these functions can reach another application's connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use crate::{
    audit::{Action, Event},
    connection::{Broken, ConnectionKey},
    envelope::{self, OpenError},
    journal::{Behind, Journal},
    kek::KekError,
    metrics::Metrics,
    provider::Provider,
    random::random_version,
    refresh::{
        Decision, Desk, LOOK_AHEAD, RefreshError, Refresher, decide, mark, millis, open_tokens,
    },
    secret::Tokens,
    storage::{Listing, Seen, StoreError, Stored, Times, USED_EVERY},
};

/// How much memory tokens may take that were asked for lately, in bytes.
const CACHE: u64 = 256 * 1024 * 1024;

/// What a connection in memory takes beside its tokens, in bytes: keys, the cache's own books.
const ENTRY: usize = 600;

/// With several replicas, how long a token in memory is believed: within this time another replica's store or removal is
/// seen.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long before others may refresh a token it is no longer given from memory; for clocks that differ.
const MARGIN: Duration = Duration::from_secs(10);

/// How long another replica's attempt is waited for: its pause between two looks at the row begins with the first and doubles
/// up to the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// How many connections are fetched at once for one request.
pub const MOST_AT_ONCE: u32 = 100;

/// The vault of one server.
pub struct Vault {
    pub desk: Desk,
    pub refresher: Arc<Refresher>,
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    fresh: Cache<ConnectionKey, Arc<Opened>>,
    /// Counts changes of connections by this server: what was read before one is not kept after it.
    changes: AtomicU64,
}

/// A connection, opened.
#[derive(Debug)]
pub struct Opened {
    pub key: ConnectionKey,
    pub tokens: Tokens,
    /// Until when it may be given from memory, in milliseconds since 1970. Before that nobody refreshes it.
    good_until: u64,
    /// When its use was noted last.
    noted_at: AtomicU64,
}

/// What was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Whether the provider took the tokens back; `None` when it has no way to, or they could not be read.
    pub revoked: Option<bool>,
}

/// Why a caller does not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("there is no such connection: store its tokens first")]
    NotFound,
    /// The connection's user must connect again.
    #[error("the user must connect again: {}", .0.explanation())]
    NeedsReconnect(Broken),
    /// The token has ended, and the provider gives no new one just now.
    #[error("the token has ended, and the provider gives no new one just now: try again later")]
    NotNow {
        /// In seconds.
        retry_after: u64,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Kek(#[from] KekError),
    #[error(transparent)]
    Behind(#[from] Behind),
}

impl From<RefreshError> for VaultError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Store(error) => error.into(),
            RefreshError::Kek(error) => error.into(),
        }
    }
}

impl Vault {
    /// `shared`: whether other servers use the same store.
    pub fn new(
        desk: Desk,
        refresher: Arc<Refresher>,
        journal: Journal,
        metrics: Arc<Metrics>,
        shared: bool,
    ) -> Self {
        let weight = |key: &ConnectionKey, opened: &Arc<Opened>| {
            let names = key.user.as_str().len() + key.account.as_str().len();
            u32::try_from(ENTRY + 2 * names + opened.tokens.size()).unwrap_or(u32::MAX)
        };
        let mut fresh = Cache::builder().max_capacity(CACHE).weigher(weight);
        if shared {
            fresh = fresh.time_to_live(BELIEVED);
        }
        Self {
            desk,
            refresher,
            journal,
            metrics,
            fresh: fresh.build(),
            changes: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.desk.clock.now_ms()
    }

    /// Keeps tokens. They are on disk when this returns.
    ///
    /// # Errors
    /// When the store or the key-encryption key cannot be used.
    pub async fn store(
        &self,
        actor: &str,
        provider: &Provider,
        key: &ConnectionKey,
        tokens: &Tokens,
    ) -> Result<(), VaultError> {
        let envelope = envelope::seal(&self.desk.ring, &tokens.to_bytes(), &key.identity()).await?;
        let now = self.now();
        let end = tokens.expires_at.filter(|_| tokens.refresh.is_some());
        let times = Times {
            expires_at: tokens.expires_at,
            refresh_from: end.map(|end| provider.refresh_from(now, end)),
        };
        let event = Event::of(actor, Action::Stored, now, key);
        let put = self
            .desk
            .store
            .put(key, &envelope, times, random_version(), &event)
            .await;
        self.changed(key);
        put?;
        self.metrics.count(&key.service, Action::Stored);
        Ok(())
    }

    /// Whatever is in memory of a connection is old.
    fn changed(&self, key: &ConnectionKey) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.fresh.invalidate(key);
    }

    /// A good access token, refreshed first when it is at its end.
    ///
    /// # Errors
    /// When there is none, its user must connect again, or it cannot be had just now.
    pub async fn fetch(
        &self,
        actor: &str,
        provider: &Arc<Provider>,
        key: &ConnectionKey,
    ) -> Result<Arc<Opened>, VaultError> {
        let now = self.now();
        let opened = match self.fresh.get(key).filter(|opened| now < opened.good_until) {
            Some(opened) => opened,
            None => self.load(provider, key).await?,
        };
        self.released(actor, &opened).await?;
        Ok(opened)
    }

    /// Tells the audit log. Nothing is given to a caller before.
    async fn released(&self, actor: &str, opened: &Opened) -> Result<(), VaultError> {
        let now = self.now();
        let noted = opened.noted_at.load(Ordering::Relaxed);
        let is_use = noted + USED_EVERY <= now
            && opened
                .noted_at
                .compare_exchange(noted, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        let event = Event::of(actor, Action::Released, now, &opened.key);
        self.journal.note(event, is_use).await?;
        self.metrics.count(&opened.key.service, Action::Released);
        Ok(())
    }

    async fn load(
        &self,
        provider: &Arc<Provider>,
        key: &ConnectionKey,
    ) -> Result<Arc<Opened>, VaultError> {
        // An attempt takes as long as a provider may take to answer, and a little.
        let give_up_at = Instant::now() + self.desk.ask_timeout + Duration::from_secs(2);
        let mut look = LOOKS.0;
        let mut tried = None;
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            let row = self
                .desk
                .store
                .connection(key)
                .await?
                .ok_or(VaultError::NotFound)?;
            let now = self.now();
            let has_ended = row.times.expires_at.is_some_and(|end| end <= now);
            let in_time = Instant::now() < give_up_at;
            match decide(&row, now) {
                Decision::Serve => return self.open(row, changes).await,
                // Once for each state of the row: an attempt that could not even begin leaves it as it was.
                Decision::Refresh if in_time && tried != Some((row.version, row.fence)) => {
                    tried = Some((row.version, row.fence));
                    let attempt = self.refresher.refresh(provider, key);
                    drop(tokio::time::timeout_at(give_up_at, attempt).await); // looked at above
                    self.changed(key);
                }
                Decision::Wait { .. } if in_time => {
                    sleep(look).await;
                    look = (look * 2).min(LOOKS.1);
                }
                Decision::Refresh | Decision::Wait { .. } if !has_ended => {
                    return self.open(row, changes).await;
                }
                Decision::BackOff { until } | Decision::Wait { until } => {
                    return Err(VaultError::NotNow {
                        retry_after: (until.saturating_sub(now)).div_ceil(1000),
                    });
                }
                Decision::Refresh => return Err(VaultError::NotNow { retry_after: 1 }),
                Decision::NeedsReconnect(broken) => {
                    if row.broken.is_none() {
                        let seen = Seen {
                            version: row.version,
                            fence: row.fence,
                        };
                        mark(&self.desk, key, seen, broken).await?;
                    }
                    return Err(VaultError::NeedsReconnect(broken));
                }
            }
        }
    }

    async fn open(&self, row: Stored, changes: u64) -> Result<Arc<Opened>, VaultError> {
        let tokens = match open_tokens(&self.desk.ring, &row).await {
            Ok(tokens) => tokens,
            Err(OpenError::Kek(error)) => return Err(error.into()),
            Err(OpenError::Mismatch) => {
                error!(
                    "a row of {} does not hold what was sealed for it",
                    row.key.service
                );
                let seen = Seen {
                    version: row.version,
                    fence: row.fence,
                };
                mark(&self.desk, &row.key, seen, Broken::Damaged).await?;
                return Err(VaultError::NeedsReconnect(Broken::Damaged));
            }
        };
        let ends = [row.times.refresh_from, tokens.expires_at]
            .into_iter()
            .flatten()
            .min();
        let opened = Arc::new(Opened {
            good_until: ends.map_or(u64::MAX, |end| {
                end.saturating_sub(millis(LOOK_AHEAD + MARGIN))
            }),
            noted_at: AtomicU64::new(row.last_used.map_or(0, |(at, _)| at)),
            key: row.key,
            tokens,
        });
        if self.now() < opened.good_until {
            self.fresh.insert(opened.key.clone(), Arc::clone(&opened));
            // A change that came between the read and this: its own invalidation may have been too early.
            if self.changes.load(Ordering::SeqCst) != changes {
                self.fresh.invalidate(&opened.key);
            }
        }
        Ok(opened)
    }

    /// Rows without secrets, in the order of users and accounts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, wish: &Listing<'_>) -> Result<Vec<Stored>, VaultError> {
        Ok(self.desk.store.connections(wish).await?)
    }

    /// Removes a connection and tells its provider that its tokens are void. It is gone from the disk before the provider
    /// is told, and stays gone whatever the provider says.
    ///
    /// # Errors
    /// When there is none, or the store cannot be used.
    pub async fn forget(
        &self,
        actor: &str,
        provider: Option<&Provider>,
        key: &ConnectionKey,
    ) -> Result<Forgotten, VaultError> {
        let row = loop {
            let row = self
                .desk
                .store
                .connection(key)
                .await?
                .ok_or(VaultError::NotFound)?;
            let event = Event::of(actor, Action::Forgotten, self.now(), key);
            let removed = self.desk.store.remove(key, row.version, &event).await;
            self.changed(key);
            if removed? {
                break row;
            }
        };
        self.metrics.count(&key.service, Action::Forgotten);
        let tokens = open_tokens(&self.desk.ring, &row).await;
        let revoked = match (provider, &tokens) {
            (Some(provider), Ok(tokens)) => provider.revoke(tokens).await,
            _ => None,
        };
        if let Some(done) = revoked {
            let action = if done {
                Action::Revoked
            } else {
                Action::NotRevoked
            };
            let event = Event::of(actor, action, self.now(), key);
            if let Err(error) = self.desk.store.add_events(&[event], &[]).await {
                warn!("the audit log does not take what a provider said to a revocation: {error}");
            }
        }
        Ok(Forgotten { revoked })
    }
}
