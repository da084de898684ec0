//! Authenticating clients: who is asking?

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    client::{ClientId, ClientRecord, CredentialId, SecretHash, random_bytes},
    error::OAuthError,
    server::AuthServer,
};

/// When a failed authentication is answered, at the earliest. It is longer than a read of the store takes, and short
/// for who mistyped.
const REFUSED_AFTER: Duration = Duration::from_millis(10);

/// Up to so much later: chance covers the microseconds by which the work before still shows.
const SPREAD: Duration = Duration::from_millis(10);

/// A client that proved who it is, and the credential that it did so with.
pub struct Authenticated {
    pub client: Arc<ClientRecord>,
    pub credential: CredentialId,
}

/// Finds the client whose secret was presented.
///
/// A refusal comes after one read of the store, since another replica may have added this client or secret a moment
/// ago, and 10 to 20 ms after the request, so that its time does not tell an unknown client from a wrong secret.
///
/// # Errors
/// `invalid_client`, or that the store did not answer.
pub async fn authenticate(
    server: &AuthServer,
    id: &str,
    secret: &str,
) -> Result<Authenticated, OAuthError> {
    let asked_at = Instant::now();
    let outcome = find(server, id, secret).await;
    if outcome.is_err() {
        let chance = f64::from(u16::from_ne_bytes(random_bytes())) / f64::from(u16::MAX);
        sleep_until(asked_at + REFUSED_AFTER + SPREAD.mul_f64(chance)).await;
    }
    outcome
}

async fn find(server: &AuthServer, id: &str, secret: &str) -> Result<Authenticated, OAuthError> {
    let presented = SecretHash::of(secret);
    let now = server.clock.now();
    let Ok(id) = ClientId::parse(id) else {
        return Err(OAuthError::invalid_client()); // no client can have such an id
    };
    if let Some(known) = server.directory.known(&id)
        && let Some(authenticated) = Authenticated::by(&known, &presented, now)
    {
        return Ok(authenticated);
    }
    let Some(fresh) = server.directory.read(&id).await? else {
        // An id that does not exist is not even logged: it may be a secret that was swapped with it.
        return Err(OAuthError::invalid_client());
    };
    let Some(authenticated) = Authenticated::by(&fresh.record, &presented, now) else {
        return Err(OAuthError::invalid_client().of_client(id));
    };
    server.directory.remember(&fresh);
    Ok(authenticated)
}

impl Authenticated {
    fn by(record: &Arc<ClientRecord>, presented: &SecretHash, now: u64) -> Option<Self> {
        let credential = record.accepts(presented, now)?.id.clone();
        Some(Self {
            client: Arc::clone(record),
            credential,
        })
    }
}
