//! What is known of the issuer's revocations, and how fresh that is.
//!
//! A task follows the feed ([`follower`]) and writes into [`Known`]; each use of a token asks it.
//! The task begins with the first use and ends with the last verifier that needs it.

mod follower;
mod revoked;
mod sse;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::SetOnce, task::JoinHandle};

use self::{follower::Follower, revoked::Revoked};
use super::{Feed, FeedStats, VerifiedToken, WhenStale};
use crate::{Clock, credentials::OwnCredentials, issuer::Issuer};

/// The revocations of one issuer, followed.
pub(super) struct Revocations {
    config: Feed,
    known: Arc<Known>,
    issuer: Issuer,
    credentials: Arc<OwnCredentials>,
    task: Mutex<Option<Task>>,
}

/// What the feed has told, and when.
pub(super) struct Known {
    audience: String,
    clock: Clock,
    revoked: Revoked,
    /// When everything was known, in milliseconds since the Unix epoch; zero before that.
    current_at: AtomicU64,
    /// There is nothing more to wait for at the start: the feed is current, or cannot be for now.
    settled: SetOnce<()>,
    /// Why the feed is not followed; `None` while it is.
    failure: Mutex<Option<String>>,
}

/// Ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What can be said about a good token without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Revoked,
    /// What is known is not fresh.
    Unknown,
}

impl Revocations {
    pub(super) fn new(
        config: Feed,
        issuer: Issuer,
        audience: String,
        credentials: Arc<OwnCredentials>,
        clock: Clock,
    ) -> Self {
        Self {
            config,
            known: Arc::new(Known::new(audience, clock)),
            issuer,
            credentials,
            task: Mutex::default(),
        }
    }

    /// Whether a token was revoked, as far as that is known. Never waits.
    pub(super) fn standing(&self, token: &VerifiedToken) -> Standing {
        self.standing_at(token, self.known.clock.now_ms())
    }

    /// The same for who has looked at the clock: `now` is in milliseconds since the Unix epoch.
    pub(super) fn standing_at(&self, token: &VerifiedToken, now: u64) -> Standing {
        if self.known.revoked.covers(token) {
            return Standing::Revoked;
        }
        if self.is_fresh_at(now) {
            return Standing::Good;
        }
        self.follow();
        let accepts = self.config.when_stale == WhenStale::FailOpen;
        if accepts && self.known.settled.get().is_some() {
            Standing::Good
        } else {
            Standing::Unknown
        }
    }

    /// As [`Self::standing`], after the wait at the start.
    pub(super) async fn standing_when_settled(&self, token: &VerifiedToken) -> Standing {
        self.settle().await;
        self.standing(token)
    }

    /// Waits until the feed is current, or cannot be for now, but not for long. To be called when
    /// the issuer's keys are there: while the issuer is down, no wait would be long enough.
    pub(super) async fn settle(&self) {
        self.follow();
        self.known
            .wait_until_settled(self.config.wait_at_start)
            .await;
    }

    /// Whether tokens can be judged as configured. `issuer_is_up`: its keys are there, so that the
    /// wait at the start may begin, if it did not yet.
    pub(super) fn health(&self, issuer_is_up: bool) -> Result<(), String> {
        if self.is_fresh() {
            return Ok(());
        }
        self.follow();
        let issuer = self.issuer.as_str();
        if self.known.settled.get().is_none() {
            if issuer_is_up {
                let (known, wait) = (Arc::clone(&self.known), self.config.wait_at_start);
                drop(tokio::spawn(
                    async move { known.wait_until_settled(wait).await },
                ));
            }
            return Err(format!("the revocations of {issuer} were not read yet"));
        }
        if self.config.when_stale != WhenStale::FailClosed {
            return Ok(());
        }
        let reason = self.known.failure();
        let reason = reason.as_deref().unwrap_or("nothing was heard of them");
        Err(format!(
            "the revocations of {issuer} are not fresh: {reason}"
        ))
    }

    fn is_fresh(&self) -> bool {
        self.is_fresh_at(self.known.clock.now_ms())
    }

    fn is_fresh_at(&self, now: u64) -> bool {
        self.age_at(now)
            .is_some_and(|age| age <= self.config.freshness)
    }

    /// How long ago everything was known; `None` when it never was.
    fn age_at(&self, now: u64) -> Option<Duration> {
        let current_at = self.known.current_at.load(Ordering::Acquire);
        let age = now.saturating_sub(current_at);
        (current_at != 0).then(|| Duration::from_millis(age))
    }

    pub(super) fn stats(&self) -> FeedStats {
        let now = self.known.clock.now_ms();
        FeedStats {
            is_current: self.is_fresh_at(now),
            age: self.age_at(now),
            revocations: self.known.revoked.count.load(Ordering::Relaxed),
        }
    }

    /// Starts the task that follows the feed, unless it runs. It does not when it was never
    /// started, or when the runtime that it was started in has ended.
    pub(super) fn follow(&self) {
        let Ok(mut task) = self.task.try_lock() else {
            return; // somebody else is looking after it
        };
        if task.as_ref().is_some_and(|task| !task.0.is_finished()) {
            return;
        }
        let follower = Follower::new(
            Arc::clone(&self.known),
            self.issuer.clone(),
            Arc::clone(&self.credentials),
        );
        *task = Some(Task(tokio::spawn(follower.follow())));
    }
}

impl Known {
    fn new(audience: String, clock: Clock) -> Self {
        Self {
            audience,
            clock,
            revoked: Revoked::default(),
            current_at: AtomicU64::new(0),
            settled: SetOnce::new(),
            failure: Mutex::default(),
        }
    }

    fn was_ever_current(&self) -> bool {
        self.current_at.load(Ordering::Acquire) != 0
    }

    /// All revocations until now are known.
    fn mark_current(&self) {
        self.current_at
            .store(self.clock.now_ms(), Ordering::Release);
        self.settle();
    }

    /// From here on the feed is not heard of. If the machine's clock was set back while it was,
    /// what is known would else count as fresh until that time comes again.
    fn mark_cut(&self) {
        self.current_at
            .fetch_min(self.clock.now_ms(), Ordering::AcqRel);
    }

    fn settle(&self) {
        self.settled.set(()).ok(); // once is enough
    }

    /// Who waited in vain has waited for all.
    async fn wait_until_settled(&self, longest: Duration) {
        if tokio::time::timeout(longest, self.settled.wait())
            .await
            .is_err()
        {
            self.settle();
        }
    }

    fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Keeps the reason for [`Revocations::health`], and says whether it is news.
    fn set_failure(&self, reason: Option<String>) -> bool {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *failure != reason;
        *failure = reason;
        is_news
    }
}
