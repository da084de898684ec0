//! What the vault does for its callers: store, fetch, list, forget.
//!
//! Every key here was made from a verified caller, so none of these functions can reach another application's connections.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{error, warn};

pub use crate::{memory::Opened, together::LookError};

use crate::{
    audit::{Action, Event},
    connection::{Broken, ConnectionKey},
    envelope::{self, OpenError},
    journal::{Behind, Journal},
    kek::KekError,
    memory::{Before, Memory},
    metrics::Metrics,
    provider::Provider,
    random::random_version,
    refresh::{
        Decision, Desk, LOOK_AHEAD, RefreshError, Refresher, decide, mark, millis, open_tokens,
    },
    secret::Tokens,
    storage::{Ahead, Glance, Listing, StoreError, Stored, Times},
    together::Looks,
};

/// How long before others may refresh a token it is no longer given from memory; for clocks that differ.
const MARGIN: Duration = Duration::from_secs(10);

/// How long another replica's attempt is waited for: its pause between two looks at the row begins with the first and doubles
/// up to the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// How many connections are read at once that nobody has asked for. They hold up others for less than a millisecond.
const AHEAD_AT_ONCE: u32 = 100;

/// How many connections are fetched at once for one request.
pub const MOST_AT_ONCE: u32 = 100;

/// The vault of one server.
pub struct Vault {
    pub desk: Desk,
    pub refresher: Arc<Refresher>,
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    memory: Arc<Memory>,
    looks: Looks,
    /// Whether other servers use the same store.
    shared: bool,
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
    #[error("the token has ended, and {}", why_not_now(*.is_configured))]
    NotNow {
        /// In seconds.
        retry_after: u64,
        /// Whether the vault has credentials at the provider.
        is_configured: bool,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Kek(#[from] KekError),
    #[error(transparent)]
    Behind(#[from] Behind),
}

fn why_not_now(is_configured: bool) -> &'static str {
    if is_configured {
        "the provider gives no new one just now: try again later"
    } else {
        "the vault has no credentials at the provider to renew it with: add them to its providers file (--providers)"
    }
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
        Self {
            looks: Looks::new(Arc::clone(&desk.store)),
            memory: Arc::clone(&refresher.memory),
            desk,
            refresher,
            journal,
            metrics,
            shared,
        }
    }

    /// How many connections are in memory.
    pub fn in_memory(&self) -> usize {
        self.memory.len()
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
        self.memory.forget(key);
        put?;
        self.metrics.count(&key.service, Action::Stored);
        Ok(())
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
        // Where others have the store too, they may have changed it since.
        let known = || self.memory.get(key, now);
        let (opened, now) = match (!self.shared).then(known).flatten() {
            Some(opened) => (opened, now),
            None => (self.load(provider, key).await?, self.now()),
        };
        self.released(actor, &opened, now).await?;
        Ok(opened)
    }

    /// Tells the audit log. Nothing is given to a caller before.
    async fn released(&self, actor: &str, opened: &Opened, now: u64) -> Result<(), VaultError> {
        let event = Event::of(actor, Action::Released, now, &opened.key);
        self.journal.note(event, opened.is_use(now)).await?;
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
        let not_now = |retry_after| VaultError::NotNow {
            retry_after,
            is_configured: provider.client.is_some(),
        };
        loop {
            let before = self.memory.before(key);
            let glance = self.looks.at(key).await?.ok_or(VaultError::NotFound)?;
            let (now, seen, state) = (self.now(), glance.seen, glance.state);
            let has_ended = state.times.expires_at.is_some_and(|end| end <= now);
            let in_time = Instant::now() < give_up_at;
            match decide(state, now) {
                Decision::Serve => return self.open(key, glance, &before).await,
                // Once for each state of the row: an attempt that could not even begin leaves it as it was.
                Decision::Refresh if in_time && tried != Some(seen) => {
                    tried = Some(seen);
                    let attempt = self.refresher.refresh(provider, key);
                    drop(tokio::time::timeout_at(give_up_at, attempt).await); // looked at above
                }
                Decision::Wait { .. } if in_time => {
                    sleep(look).await;
                    look = (look * 2).min(LOOKS.1);
                }
                Decision::Refresh | Decision::Wait { .. } if !has_ended => {
                    return self.open(key, glance, &before).await;
                }
                Decision::BackOff { until } | Decision::Wait { until } => {
                    return Err(not_now((until.saturating_sub(now)).div_ceil(1000)));
                }
                Decision::Refresh => return Err(not_now(1)),
                Decision::NeedsReconnect(broken) => {
                    if state.broken.is_none() {
                        mark(&self.desk, key, seen, broken).await?;
                    }
                    return Err(VaultError::NeedsReconnect(broken));
                }
            }
        }
    }

    async fn open(
        &self,
        key: &ConnectionKey,
        glance: Glance,
        before: &Before,
    ) -> Result<Arc<Opened>, VaultError> {
        let (now, version) = (self.now(), glance.seen.version);
        let known = self.memory.get(key, now);
        if let Some(opened) = known.filter(|opened| opened.version == version) {
            return Ok(opened);
        }
        let tokens = match open_tokens(&self.desk.ring, key, &glance.envelope).await {
            Ok(tokens) => tokens,
            Err(OpenError::Kek(error)) => return Err(error.into()),
            Err(OpenError::Mismatch) => {
                error!(
                    "a row of {} does not hold what was sealed for it",
                    key.service
                );
                mark(&self.desk, key, glance.seen, Broken::Damaged).await?;
                return Err(VaultError::NeedsReconnect(Broken::Damaged));
            }
        };
        let opened = Arc::new(self.opened(key.clone(), &glance, tokens));
        if now < opened.good_until {
            self.memory.keep(&opened, before);
        }
        Ok(opened)
    }

    fn opened(&self, key: ConnectionKey, glance: &Glance, tokens: Tokens) -> Opened {
        let ends = [glance.state.times.refresh_from, tokens.expires_at];
        let good_until = ends.into_iter().flatten().min().map_or(u64::MAX, |end| {
            end.saturating_sub(millis(LOOK_AHEAD + MARGIN))
        });
        let key = self.memory.shared(key);
        Opened::new(key, tokens, glance.seen.version, good_until)
    }

    /// Takes connections into memory that nobody has asked for, as many as there is room for: how many. What is wrong with
    /// one is left to who asks for it.
    ///
    /// # Errors
    /// When the store or the key-encryption key cannot be used.
    pub async fn read_ahead(&self) -> Result<usize, VaultError> {
        let (mut after, mut taken) = (0, 0);
        if self.shared || !self.desk.ring.is_at_hand() {
            return Ok(taken);
        }
        loop {
            let before = self.memory.before_all();
            let page = self.desk.store.ahead(after, AHEAD_AT_ONCE).await?;
            let Some(last) = page.last() else {
                return Ok(taken);
            };
            after = last.place;
            for Ahead { key, glance, .. } in page {
                let now = self.now();
                if decide(glance.state, now) != Decision::Serve {
                    continue;
                }
                let tokens = match open_tokens(&self.desk.ring, &key, &glance.envelope).await {
                    Ok(tokens) => tokens,
                    Err(OpenError::Kek(error)) => return Err(error.into()),
                    Err(OpenError::Mismatch) => continue,
                };
                let opened = self.opened(key, &glance, tokens);
                if now < opened.good_until {
                    if !self.memory.keep_ahead(opened, &before) {
                        return Ok(taken);
                    }
                    taken += 1;
                }
            }
        }
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
            self.memory.forget(key);
            if removed? {
                break row;
            }
        };
        self.metrics.count(&key.service, Action::Forgotten);
        let tokens = open_tokens(&self.desk.ring, key, &row.envelope).await;
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
