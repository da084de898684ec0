//! Authenticating clients: who is asking?

use std::{sync::Arc, time::Duration};

use m2m::memory::Memory;
use tokio::time::{Instant, sleep_until};

use crate::{
    address::CallerAddress,
    audit::{Action, Event, Origin},
    client::{
        ClientId, ClientRecord, ClientStatus, CredentialId, CredentialKind, SecretHash,
        random_bytes,
    },
    error::OAuthError,
    explain,
    journal::Behind,
    server::AuthServer,
};

/// When a failed authentication is answered, at the earliest. It is longer than a read of the store takes, and short
/// for who mistyped.
const REFUSED_AFTER: Duration = Duration::from_millis(10);

/// Up to so much later: chance covers the microseconds by which the work before still shows.
const SPREAD: Duration = Duration::from_millis(10);

/// Of how many credentials it is remembered when their use was noted: so many sets of so many. The first is a prime, since the
/// ids of credentials are letters.
const SETS: usize = 1021;
const PLACES: usize = 100;

/// How often the use of a credential is noted that asks for no token, in seconds.
pub(crate) const NOTED_EVERY: u64 = 60;

/// So many failures of one client from one address are answered without more delay; then each takes twice as long as
/// the one before.
const PATIENCE: u32 = 10;

/// The longest that a failed authentication waits for its answer.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// Whose use was noted lately.
pub struct Noted(Memory<22, u64>);

impl Default for Noted {
    fn default() -> Self {
        Self(Memory::new(SETS, PLACES))
    }
}

impl Noted {
    /// Whether the use of a credential was noted within the last minute; if not, it is now.
    fn lately(&self, credential: &CredentialId, now: u64) -> bool {
        let name = credential.as_bytes();
        let noted = self.0.get(name);
        if noted.is_some_and(|at| now < at + NOTED_EVERY) {
            return true;
        }
        self.0.insert(*name, now);
        false
    }
}

/// A client that proved who it is, and the credential that it did so with.
pub struct Authenticated {
    pub client: Arc<ClientRecord>,
    pub credential: CredentialId,
}

/// Finds the client whose secret was presented.
///
/// A refusal comes after one read of the store, since another replica may have added this client or secret a moment
/// ago, and 10 to 20 ms after the request, so that its time does not tell an unknown client from a wrong secret. Who
/// goes on failing waits longer. The right secret is accepted at once, whatever failed before.
///
/// # Errors
/// `invalid_client`, that too many authentications from this address fail, or that the store did not answer.
pub async fn authenticate(
    server: &AuthServer,
    address: CallerAddress,
    id: &str,
    secret: &str,
) -> Result<Authenticated, OAuthError> {
    guarded(server, address, id, find(server, id, secret)).await
}

/// A credential by its secret alone.
#[derive(Clone, Debug)]
pub struct Bearer {
    pub client: ClientId,
    pub credential: CredentialId,
    pub kind: CredentialKind,
    /// Seconds since the epoch.
    pub expires_at: Option<u64>,
}

/// Finds the client whose secret was presented by itself, without saying whose it is: a bootstrap token, or a client
/// secret that serves as an API key. One of another `kind` is refused like any other text.
///
/// It takes a read of the store each time. A refusal takes its time, as that of [`authenticate`]; failures are counted by
/// address.
///
/// # Errors
/// As [`authenticate`].
pub async fn authenticate_bearer(
    server: &AuthServer,
    address: CallerAddress,
    presented: &str,
    kind: CredentialKind,
) -> Result<Authenticated, OAuthError> {
    // Nobody is called so: these failures are those of nobody in particular.
    let nobody = "";
    guarded(
        server,
        address,
        nobody,
        find_bearer(server, presented, kind),
    )
    .await
}

/// Lets `find` say who it is, and sees to it that refusals cannot be told apart by their time, and cannot come too fast.
/// They are counted under `name`, as it was presented, and the caller's address.
///
/// # Errors
/// What `find` says, or that too many authentications from this address fail.
pub(crate) async fn guarded<T>(
    server: &AuthServer,
    address: CallerAddress,
    name: &str,
    find: impl Future<Output = Result<T, OAuthError>>,
) -> Result<T, OAuthError> {
    let asked_at = Instant::now();
    match find.await {
        Ok(found) => {
            server.limits.failures.forgive(name, address.network());
            Ok(found)
        }
        // In a box, so that those who are let in do not carry about what it takes to be refused.
        Err(refusal) => Err(Box::pin(refused(server, address, name, refusal, asked_at)).await),
    }
}

/// Counts a refusal, and hands it on when it is time.
async fn refused(
    server: &AuthServer,
    address: CallerAddress,
    name: &str,
    refusal: OAuthError,
    asked_at: Instant,
) -> OAuthError {
    let (refusal, delay) = if refusal.is_failed_authentication() {
        match server.limits.failures.count(name, address.network()) {
            Ok(failed) => (refusal, delay(failed)),
            // These do not wait longer, so that only so many wait at once.
            Err(exhausted) => (exhausted.into(), REFUSED_AFTER),
        }
    } else {
        (refusal, REFUSED_AFTER)
    };
    let chance = f64::from(u16::from_ne_bytes(random_bytes())) / f64::from(u16::MAX);
    sleep_until(asked_at + delay + SPREAD.mul_f64(chance)).await;
    refusal
}

/// How long the answer to the latest of `failed` failures takes at least.
fn delay(failed: u32) -> Duration {
    let doublings = failed.saturating_sub(PATIENCE);
    2_u32.checked_pow(doublings).map_or(LONGEST_DELAY, |times| {
        REFUSED_AFTER.saturating_mul(times).min(LONGEST_DELAY)
    })
}

pub(crate) async fn find(
    server: &AuthServer,
    id: &str,
    secret: &str,
) -> Result<Authenticated, OAuthError> {
    let presented = SecretHash::of(secret);
    let now = server.clock.now();
    let id = ClientId::parse(id).map_err(|_| unknown_client())?;
    if let Some(known) = server.directory.known(&id)
        && let Some(authenticated) = Authenticated::by(&known, &presented, now)
    {
        server.metrics.found_in_memory();
        return Ok(authenticated);
    }
    // In a box, since only the first request of a client needs it.
    Box::pin(find_anew(server, &id, &presented, now)).await
}

/// Finds the client in the store.
async fn find_anew(
    server: &AuthServer,
    id: &ClientId,
    presented: &SecretHash,
    now: u64,
) -> Result<Authenticated, OAuthError> {
    let reading = server.directory.read(id);
    let fresh = match server.metrics.read_client(reading).await {
        Ok(Some(fresh)) => fresh,
        Ok(None) => return Err(unknown_client()),
        Err(error) => {
            let kept = server.directory.kept(id);
            let known = kept.and_then(|kept| Authenticated::by(&kept, presented, now));
            return known.ok_or_else(|| error.into());
        }
    };
    let Some(authenticated) = Authenticated::by(&fresh.record, presented, now) else {
        let (reason, why) = fresh.record.refuses(presented);
        return Err(OAuthError::invalid_client()
            .of_client(id)
            .because(reason, why));
    };
    server.directory.remember(&fresh);
    Ok(authenticated)
}

/// An id that does not exist is not even logged: it may be a secret that was swapped with it.
fn unknown_client() -> OAuthError {
    let why = explain::no_such_client();
    OAuthError::invalid_client().because(why.code, why.sentence)
}

async fn find_bearer(
    server: &AuthServer,
    presented: &str,
    kind: CredentialKind,
) -> Result<Authenticated, OAuthError> {
    let presented = SecretHash::of(presented);
    let refused =
        |why: &'static str, sentence: String| OAuthError::invalid_bearer().because(why, sentence);
    let unknown = || {
        let sentence = "what was presented is the secret of no credential".to_owned();
        refused("no_such_credential", sentence)
    };
    let bearer = server.store.bearer(&presented).await?;
    let bearer = bearer.ok_or_else(unknown)?;
    let Bearer {
        client, credential, ..
    } = &bearer;
    let refused = |why, sentence| refused(why, sentence).of_client(client);
    // A bootstrap token is in no record; that its client is there and active, the record says.
    let record = if let Some(known) = server.directory.known(client) {
        server.metrics.found_in_memory();
        known
    } else {
        let reading = server.directory.read(client);
        let fresh = server.metrics.read_client(reading).await?;
        let fresh = fresh.ok_or_else(unknown)?;
        server.directory.remember(&fresh);
        fresh.record
    };
    let now = server.clock.now();
    if bearer.kind != kind {
        let (is, wanted) = (bearer.kind.as_str(), kind.as_str());
        let sentence = format!(
            "the credential {} of {client} is of the kind {is}: here {wanted} is needed",
            credential.as_str()
        );
        Err(refused("wrong_kind", sentence))
    } else if record.status == ClientStatus::Inactive {
        let why = explain::inactive(client);
        Err(refused(why.code, why.sentence))
    } else if let Some(ended) = bearer.expires_at.filter(|end| *end <= now) {
        let credential = credential.as_str();
        let sentence = format!("the credential {credential} of {client} ended at {ended}");
        Err(refused("credential_expired", sentence))
    } else {
        Ok(Authenticated {
            client: record,
            credential: *credential,
        })
    }
}

impl Authenticated {
    fn by(record: &Arc<ClientRecord>, presented: &SecretHash, now: u64) -> Option<Self> {
        let credential = record.accepts(presented, now)?.id;
        Some(Self {
            client: Arc::clone(record),
            credential,
        })
    }
}

/// Notes that a credential is in use where no token tells of it, once in a while for each: that is enough to know when it
/// is not used any more.
///
/// # Errors
/// When the audit log takes nothing just now.
pub async fn note_use(
    server: &AuthServer,
    caller: &Authenticated,
    origin: &Origin,
) -> Result<(), Behind> {
    let now = server.clock.now();
    if server.noted.lately(&caller.credential, now) {
        return Ok(());
    }
    let mut event = Event::done(Action::CredentialUsed, now, origin)
        .client(&caller.client.id)
        .credential(&caller.credential);
    event.ends_at = Some(now + NOTED_EVERY);
    Box::pin(server.journal.note(event)).await // in a box, since it is rare and takes room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_after_ten_failures_up_to_a_second() {
        let delays = [1, 10, 11, 12, 14, 16, 17, 100, u32::MAX].map(|n| delay(n).as_millis());
        assert_eq!(delays, [10, 10, 20, 40, 160, 640, 1000, 1000, 1000]);
    }
}
