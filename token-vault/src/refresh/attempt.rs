//! One attempt to refresh one connection: claim, ask, settle.

use std::{sync::Arc, time::Duration};

use m2m::Clock;
use tracing::{error, warn};

use crate::{
    audit::{Action, Event},
    connection::{Broken, ConnectionKey, Doubt},
    envelope::{self, Envelope, OpenError, Sealer},
    kek::{KekError, KeyRing},
    provider::{Answer, Failure, Grant, TokenEndpoint},
    random::{jitter, random_version},
    secret::{Token, Tokens},
    storage::{Claim, Seen, Settlement, StoreError, Stored, Times, VaultStore},
};

/// The pause after the first failure; it doubles with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How long an answer is held on to that the store does not take. Then it is lost, and the note in the store says so.
const PATIENCE: Duration = Duration::from_mins(30);

/// What an attempt needs.
#[derive(Clone)]
pub struct Desk {
    pub store: Arc<dyn VaultStore>,
    pub ring: Arc<KeyRing>,
    pub clock: Clock,
    /// How long a provider may take to answer.
    pub ask_timeout: Duration,
}

impl Desk {
    /// How long a lease lasts: three times as long as an answer may take. A provider is asked only while an answer would come
    /// within it; the rest is for clocks that differ, and for a request of a process that died, which must not reach the
    /// provider after that of its successor.
    pub fn lease(&self) -> Duration {
        3 * self.ask_timeout
    }
}

/// Which connection is refreshed, where, and how its next end is reckoned with.
pub struct Attempt<'a> {
    pub endpoint: &'a dyn TokenEndpoint,
    /// From which moment on a token is refreshed that is given at the first and ends at the second.
    pub refresh_from: &'a (dyn Fn(u64, u64) -> u64 + Send + Sync),
    /// The row as it was seen.
    pub row: &'a Stored,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Outcome {
    /// The new tokens are on disk.
    Refreshed,
    Failed(Failure),
    NeedsReconnect(Broken),
    /// Somebody else had the lease, or the row had changed: look again. Where the provider was asked, it has seen a refresh
    /// token twice, and the tokens that are there now are [suspected](VaultStore::suspect).
    TooLate,
    /// New tokens came, but the connection had been given others meanwhile, or was removed, or another replica had taken
    /// over. These are nobody's.
    Superseded(Box<Tokens>),
}

/// Makes one attempt. Whoever polls this must poll it to its end, whatever becomes of the request that caused it; if it is
/// dropped all the same, that is a crash, and the next attempt knows.
///
/// # Errors
/// When the store or the key-encryption key could not be used: before the provider was asked, or for so long afterwards that
/// the answer was given up.
pub async fn attempt(desk: &Desk, attempt: Attempt<'_>) -> Result<Outcome, RefreshError> {
    let claimed = match claim(desk, attempt.row).await? {
        Ok(claimed) => claimed,
        Err(outcome) => return Ok(outcome),
    };
    let answer = if desk.clock.now_ms() + millis(desk.ask_timeout) > claimed.until {
        // The machine stood still since the claim, and somebody else may have the lease by now.
        Answer::Failed {
            failure: Failure::HeldUp,
            retry_after: None,
        }
    } else {
        attempt.endpoint.refresh(&claimed.refresh).await
    };
    conclude(desk, &attempt, claimed, answer).await
}

/// The right to spend a refresh token, and what is needed so that nothing can fail once it is spent.
struct Claimed {
    tokens: Tokens,
    refresh: Token,
    sealer: Sealer,
    seen: Seen,
    until: u64,
    doubt: Option<Doubt>,
}

/// The first step. Without the right there is an outcome already.
async fn claim(desk: &Desk, row: &Stored) -> Result<Result<Claimed, Outcome>, RefreshError> {
    let (key, now) = (&row.key, desk.clock.now_ms());
    let unclaimed = Seen {
        version: row.version,
        fence: row.fence,
    };
    let tokens = match open_tokens(&desk.ring, key, &row.envelope).await {
        Ok(tokens) => tokens,
        Err(OpenError::Mismatch) => {
            return Ok(Err(mark(desk, key, unclaimed, Broken::Damaged).await?));
        }
        Err(OpenError::Kek(error)) => return Err(error.into()),
    };
    let Some(refresh) = tokens.refresh.clone() else {
        return Ok(Err(mark(desk, key, unclaimed, Broken::Ended).await?));
    };
    if tokens.refresh_expires_at.is_some_and(|end| end <= now) {
        return Ok(Err(
            mark(desk, key, unclaimed, Broken::RefreshTokenEnded).await?
        ));
    }
    // Before the token is spent: afterwards nothing may stand between the answer and its commit.
    let sealer = Sealer::new(&desk.ring, &key.identity()).await?;

    let spending = refresh.fingerprint();
    let noted = row.spending.as_ref().map(|_| Doubt::Crash);
    let doubt = noted.or(row.doubt);
    let until = now + millis(desk.lease());
    let claim = Claim {
        key,
        version: row.version,
        fence: row.fence,
        now,
        until,
        spending: &spending,
        doubt,
    };
    let retried = doubt.map(|doubt| {
        let action = match doubt {
            Doubt::Crash => Action::RetriedAfterCrash,
            Doubt::LostAnswer => Action::RetriedAfterLostAnswer,
        };
        Event::own(action, now, key).because(&spending)
    });
    let fence = desk.store.claim(&claim, retried.as_slice()).await?;
    Ok(fence.ok_or(Outcome::TooLate).map(|fence| Claimed {
        tokens,
        refresh,
        sealer,
        seen: Seen { fence, ..unclaimed },
        until,
        doubt,
    }))
}

/// The last step.
async fn conclude(
    desk: &Desk,
    attempt: &Attempt<'_>,
    claimed: Claimed,
    answer: Answer,
) -> Result<Outcome, RefreshError> {
    let (row, key, now) = (attempt.row, &attempt.row.key, desk.clock.now_ms());
    let Claimed { seen, doubt, .. } = claimed;
    match answer {
        Answer::Granted(grant) => {
            let tokens = renewed(&claimed.tokens, *grant, now);
            let end = tokens.expires_at.filter(|_| tokens.refresh.is_some());
            let times = Times {
                expires_at: tokens.expires_at,
                refresh_from: end.map(|end| (attempt.refresh_from)(now, end)),
            };
            let envelope = claimed.sealer.seal(&tokens.to_bytes(), &key.identity());
            let settlement = Settlement::Refreshed { envelope, times };
            let event = Event::own(Action::Refreshed, now, key);
            let settled = settle(desk, key, seen, &settlement, event).await?;
            Ok(if settled {
                Outcome::Refreshed
            } else {
                Outcome::Superseded(Box::new(tokens))
            })
        }
        Answer::Refused => {
            let outcome = mark(desk, key, seen, Doubt::broken(doubt)).await?;
            if matches!(outcome, Outcome::TooLate) {
                desk.store.suspect(key, row.stored_at, now).await?;
            }
            Ok(outcome)
        }
        Answer::Failed {
            failure,
            retry_after,
        } => {
            let lost = failure.may_have_spent().then_some(Doubt::LostAnswer);
            let failures = row.failures.saturating_add(1);
            let pause = pause(failures).max(retry_after.unwrap_or_default());
            let settlement = Settlement::Failed {
                doubt: doubt.or(lost),
                failures,
                retry_from: now + millis(pause),
                kind: failure.as_str(),
            };
            let event = Event::own(Action::RefreshFailed, now, key).because(failure.as_str());
            let settled = settle(desk, key, seen, &settlement, event).await?;
            if !settled && lost.is_some() {
                desk.store.suspect(key, row.stored_at, now).await?;
            }
            Ok(Outcome::Failed(failure))
        }
    }
}

/// Why an attempt was given up.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Kek(#[from] KekError),
}

/// Opens what is stored of a connection.
///
/// # Errors
/// When it was sealed for another row or is damaged, or the key-encryption key cannot be asked.
pub(crate) async fn open_tokens(
    ring: &KeyRing,
    key: &ConnectionKey,
    envelope: &Envelope,
) -> Result<Tokens, OpenError> {
    let bytes = envelope::open(ring, envelope, &key.identity()).await?;
    Tokens::from_bytes(&bytes).ok_or(OpenError::Mismatch)
}

/// Writes that the connection needs its user.
pub(crate) async fn mark(
    desk: &Desk,
    key: &ConnectionKey,
    seen: Seen,
    broken: Broken,
) -> Result<Outcome, RefreshError> {
    let now = desk.clock.now_ms();
    let event = Event::own(Action::NeedsReconnect, now, key).because(broken.as_str());
    let settled = settle(desk, key, seen, &Settlement::Broken(broken), event).await?;
    Ok(if settled {
        Outcome::NeedsReconnect(broken)
    } else {
        Outcome::TooLate
    })
}

/// Writes what came of an attempt, and does not give up when the store does not take it at once: nobody else has it. False
/// when the row is another one by now, which the audit log is told.
async fn settle(
    desk: &Desk,
    key: &ConnectionKey,
    seen: Seen,
    settlement: &Settlement,
    event: Event,
) -> Result<bool, StoreError> {
    let version = random_version();
    let give_up_at = desk.clock.now_ms() + millis(PATIENCE);
    let mut tries = 0;
    loop {
        let settled = match desk
            .store
            .settle(key, seen, settlement, version, &event)
            .await
        {
            // The commit of an earlier try may have arrived, and only its answer been lost.
            Ok(false) if tries > 0 => is_settled(desk, key, settlement, seen, version).await,
            other => other,
        };
        match settled {
            Ok(true) => return Ok(true),
            Ok(false) => break,
            Err(error) if desk.clock.now_ms() >= give_up_at => {
                error!("gave up what a provider answered, for the store does not take it: {error}");
                return Err(error);
            }
            Err(error) => {
                warn!("the store did not take what a provider answered, trying again: {error}");
            }
        }
        tries += 1;
        tokio::time::sleep(pause(tries).min(Duration::from_secs(5))).await;
    }
    if matches!(settlement, Settlement::Refreshed { .. }) {
        let event = Event::own(Action::Superseded, event.at, key);
        if let Err(error) = desk.store.add_events(&[event], &[]).await {
            warn!("the audit log does not take that a refresh was superseded: {error}");
        }
    }
    Ok(false)
}

async fn is_settled(
    desk: &Desk,
    key: &ConnectionKey,
    settlement: &Settlement,
    seen: Seen,
    version: u64,
) -> Result<bool, StoreError> {
    let row = desk.store.connection(key).await?;
    Ok(row.is_some_and(|row| match settlement {
        Settlement::Failed { .. } => {
            (row.version, row.fence, row.leased_until) == (seen.version, seen.fence, None)
        }
        Settlement::Refreshed { .. } | Settlement::Broken(_) => row.version == version,
    }))
}

/// The tokens after a grant.
fn renewed(old: &Tokens, grant: Grant, now: u64) -> Tokens {
    let rotated = grant.refresh.is_some();
    let ends = |seconds: u64| now.saturating_add(seconds.saturating_mul(1000));
    let refresh_expires_at = grant.refresh_expires_in.map(ends);
    Tokens {
        access: grant.access,
        refresh: grant.refresh.or_else(|| old.refresh.clone()),
        expires_at: grant.expires_in.map(ends),
        refresh_expires_at: refresh_expires_at.or(old.refresh_expires_at.filter(|_| !rotated)),
        scopes: grant.scopes.unwrap_or_else(|| old.scopes.clone()),
        metadata: old.metadata.clone(),
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    jitter(doubled.min(LONGEST_PAUSE))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
