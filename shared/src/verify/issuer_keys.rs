//! The issuer's keys: fetched, kept, and fetched again when that is due.
//!
//! A key that is known is there at once, also while the set is fetched again; nobody waits but
//! those who have no key to go on with, and they share one fetch. However many tokens come, the
//! issuer is asked
//! - behind the requests, when its set is older than its `max-age`,
//! - for a `kid` that is not in the set, when that is older than its `max-age`, and else at most once in
//!   [`UNKNOWN_KEY_PAUSE`],
//! - while there is no set at all, at most once in [`FIRST_LOAD_PAUSE`].

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use reqwest::Client;
use tracing::{info, warn};
use url::Url;

use super::{key_set::KeySet, stats::Tries};
use crate::{
    Clock,
    issuer::Issuer,
    net::{self, FETCH_TIMEOUT, NetError, millis, with_jitter},
    trace,
};

/// How long keys are trusted after the issuer was last heard of. It bridges an outage of a night
/// and ends one that nobody mends: a key that the issuer withdrew in the meantime must not live for
/// ever.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// Bounds of the `max-age` that the issuer gives its key set, and what counts when it gives none.
const MAX_AGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));
const DEFAULT_MAX_AGE: Duration = Duration::from_mins(5);
/// What counts when the issuer forbids to keep the set, which nobody who verifies can do.
const UNCACHED_MAX_AGE: Duration = Duration::from_mins(1);

/// Pauses between fetches for the same need. These two count from the end of a fetch, whether it
/// failed or not.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);
const FIRST_LOAD_PAUSE: Duration = Duration::from_secs(1);
/// This one counts from the beginning. It is longer than [`FETCH_TIMEOUT`].
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// Waits of [`IssuerKeys::load`] between attempts: the first, and the longest.
const LOAD_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The keys of one issuer.
pub(super) struct IssuerKeys {
    issuer: Issuer,
    /// Configured, so that no metadata is asked.
    key_set_url: Option<Url>,
    http: Client,
    clock: Clock,
    held: ArcSwapOption<Held>,
    /// When the set may next be fetched again behind a request, in milliseconds since the Unix
    /// epoch. Whoever moves it forward is the one who does it.
    refresh_at: AtomicU64,
    /// Fetches that have ended, well or not. Who waited for one sees here that it is over.
    fetches: AtomicU64,
    /// The same for those who watch.
    pub(super) tries: Tries,
    /// Lets one fetch through at a time; the others wait for it.
    gate: tokio::sync::Mutex<Allowance>,
    /// How the last fetch failed; `None` after one that did not.
    failure: Mutex<Option<String>>,
}

/// A key set and when it came.
pub(super) struct Held {
    pub(super) set: KeySet,
    /// Another number means other keys: what was verified with the old ones is verified again.
    pub(super) generation: u64,
    /// Milliseconds since the Unix epoch.
    fetched_at: u64,
}

/// When the issuer may next be asked, in milliseconds since the Unix epoch, and where.
#[derive(Default)]
struct Allowance {
    unknown_key_at: u64,
    /// From then on the set is older than its `max-age`, and a token with an unknown key may well be
    /// signed with one that the issuer has announced since.
    due_at: u64,
    first_load_at: u64,
    /// From the issuer's metadata; asked anew after a failure.
    discovered: Option<Url>,
}

/// Why somebody waits for a fetch.
#[derive(Clone, Copy)]
enum Need {
    /// A token names a key that is not in the set.
    UnknownKey,
    /// There is no set.
    FirstLoad,
    /// The set is older than its `max-age`, or somebody wants it now.
    Refresh,
}

impl IssuerKeys {
    pub(super) fn new(issuer: Issuer, key_set_url: Option<Url>, clock: Clock) -> Self {
        Self {
            issuer,
            key_set_url,
            http: net::http_client(FETCH_TIMEOUT),
            clock,
            held: ArcSwapOption::empty(),
            refresh_at: AtomicU64::new(u64::MAX),
            fetches: AtomicU64::new(0),
            tries: Tries::default(),
            gate: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// The set as it is now; `None` when there is none, or when it is older than [`KEPT_FOR`].
    /// Never waits: if the set is due, it is fetched behind the caller.
    pub(super) fn current(self: &Arc<Self>) -> Option<Guard<Option<Arc<Held>>>> {
        self.current_at(self.clock.now_ms())
    }

    /// The same for who has looked at the clock: `now` is in milliseconds since the Unix epoch.
    pub(super) fn current_at(self: &Arc<Self>, now: u64) -> Option<Guard<Option<Arc<Held>>>> {
        let held = self.held.load();
        if now.saturating_sub(held.as_ref()?.fetched_at) > millis(KEPT_FOR) {
            return None;
        }
        let due = self.refresh_at.load(Ordering::Relaxed);
        if now >= due && self.claim_refresh(due, now) {
            let fetch = Arc::clone(self).fetch_once(self.fetches(), Need::Refresh);
            drop(tokio::spawn(trace::carry(fetch)));
        }
        Some(held)
    }

    fn claim_refresh(&self, due: u64, now: u64) -> bool {
        let next = now + millis(REFRESH_PAUSE);
        self.refresh_at
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// The set, waiting for one if there is none.
    pub(super) async fn get(self: &Arc<Self>) -> Option<Arc<Held>> {
        let fetches = self.fetches();
        if self.current().is_none() {
            self.wait_for_fetch(fetches, Need::FirstLoad).await;
        }
        Option::clone(&*self.current()?)
    }

    /// Looks whether the issuer has a key that was not in the set, unless that was done lately.
    /// `fetches` is what [`Self::fetches`] said before the set was looked through.
    pub(super) async fn look_for_new_key(self: &Arc<Self>, fetches: u64) {
        self.wait_for_fetch(fetches, Need::UnknownKey).await;
    }

    /// How many fetches have ended.
    pub(super) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Acquire)
    }

    /// Fetches the keys, again and again until it works. Says in the log what it waits for.
    pub(super) async fn load(self: &Arc<Self>) {
        let mut pause = LOAD_PAUSE.0;
        loop {
            self.wait_for_fetch(self.fetches(), Need::Refresh).await;
            if self.current().is_some() {
                return;
            }
            let reason = self.failure().unwrap_or_default();
            warn!("waiting for the issuer {}: {reason}", self.issuer.as_str());
            tokio::time::sleep(with_jitter(pause)).await;
            pause = (pause * 2).min(LOAD_PAUSE.1);
        }
    }

    /// Whether there are keys to verify with; the error says why not. Without any, they are asked
    /// for behind the caller: a server that gets no requests before it is healthy would else never
    /// become so.
    pub(super) fn health(self: &Arc<Self>) -> Result<(), String> {
        let (issuer, fetches) = (self.issuer.as_str(), self.fetches());
        match self.current().as_deref() {
            Some(Some(held)) if !held.set.is_empty() => Ok(()),
            Some(_) => Err(format!("no key of {issuer} can be used")),
            None => {
                let fetch = Arc::clone(self).fetch_once(fetches, Need::FirstLoad);
                drop(tokio::spawn(trace::carry(fetch)));
                let reason = self.failure();
                let reason = reason.as_deref().unwrap_or("they were not fetched yet");
                Err(format!("no keys of {issuer} are held: {reason}"))
            }
        }
    }

    /// The fetch goes on if the caller hangs up. Otherwise calls that are begun and dropped could
    /// use up the allowance and bring nothing.
    async fn wait_for_fetch(self: &Arc<Self>, seen: u64, need: Need) {
        let fetch = trace::carry(Arc::clone(self).fetch_once(seen, need));
        if let Err(error) = tokio::spawn(fetch).await {
            warn!("a fetch of the issuer's keys was broken off: {error}");
        }
    }

    /// Fetches the set, unless a fetch has ended since the caller `seen` them counted, or it is too
    /// early for one.
    async fn fetch_once(self: Arc<Self>, seen: u64, need: Need) {
        let mut allowance = self.gate.lock().await;
        if self.fetches() != seen || !allowance.permits(need, self.clock.now_ms()) {
            return;
        }
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch(&mut allowance.discovered))
            .await
            .unwrap_or_else(|late| Err(NetError::unreachable(self.issuer.url(), late)));
        self.tries.count(&fetched);
        let now = self.clock.now_ms();
        let failure = match fetched {
            Ok((set, max_age)) => {
                self.swap_in(set, now);
                allowance.due_at = now + millis(max_age);
                self.refresh_at.store(allowance.due_at, Ordering::Relaxed);
                None
            }
            Err(error) => {
                allowance.discovered = None;
                allowance.due_at = now + millis(UNKNOWN_KEY_PAUSE);
                Some(error.chain())
            }
        };
        if let Some(reason) = &failure {
            self.log_failure(reason, need);
        }
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        allowance.spend(need, now);
        self.fetches.fetch_add(1, Ordering::Release);
    }

    /// Where the key set is, if that must be asked, and then the set itself.
    async fn fetch(&self, discovered: &mut Option<Url>) -> Result<(KeySet, Duration), NetError> {
        let url = match self.key_set_url.as_ref().or(discovered.as_ref()) {
            Some(url) => url.clone(),
            None => discovered
                .insert(self.issuer.key_set_url(&self.http).await?)
                .clone(),
        };
        let answer = net::get(&self.http, &url).await?;
        let set = KeySet::read(&answer.body)
            .map_err(|error| NetError::unexpected(&url, format!("no key set: {error}")))?;
        let max_age = match answer.max_age {
            None => DEFAULT_MAX_AGE,
            Some(Duration::ZERO) => UNCACHED_MAX_AGE,
            Some(said) => said.clamp(MAX_AGE.0, MAX_AGE.1),
        };
        Ok((set, max_age))
    }

    fn swap_in(&self, set: KeySet, fetched_at: u64) {
        let before = self.held.load();
        let generation = match before.as_deref() {
            Some(before) if before.set == set => before.generation,
            before => {
                info!("took over {} of {}", set.summary(), self.issuer.as_str());
                for (place, reason) in &set.skipped {
                    warn!(
                        "cannot use key {place} of {}: {reason}",
                        self.issuer.as_str()
                    );
                }
                before.map_or(0, |before| before.generation + 1)
            }
        };
        self.held.store(Some(Arc::new(Held {
            set,
            generation,
            fetched_at,
        })));
    }

    /// [`Self::load`] says it in its own words.
    fn log_failure(&self, reason: &str, need: Need) {
        let issuer = self.issuer.as_str();
        if self.held.load().is_some() {
            warn!("went on with the keys of {issuer} that are held: {reason}");
        } else if matches!(need, Need::FirstLoad) {
            warn!("cannot verify tokens, there are no keys of {issuer} yet: {reason}");
        }
    }

    fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Allowance {
    fn permits(&self, need: Need, now: u64) -> bool {
        match need {
            Need::UnknownKey => now >= self.unknown_key_at || now >= self.due_at,
            Need::FirstLoad => now >= self.first_load_at,
            Need::Refresh => true,
        }
    }

    fn spend(&mut self, need: Need, now: u64) {
        match need {
            Need::UnknownKey => self.unknown_key_at = now + millis(UNKNOWN_KEY_PAUSE),
            Need::FirstLoad | Need::Refresh => self.first_load_at = now + millis(FIRST_LOAD_PAUSE),
        }
    }
}
