//! An administrator who comes with the secret of a client instead of a token: a dialect whose callers know one key only.
//! The rights are the same as those of the token that this client would get for this server.

use std::net::IpAddr;

use m2m::ScopeSet;

use super::commit::{Admin, Refusal};
use crate::{
    audit::{Action, Event, Origin},
    built_in::AUDIENCE,
    clients::Authenticated,
    server::AuthServer,
};

impl Admin {
    /// A client that proved who it is, with the scopes of its living grant for this server: none without such a grant.
    pub fn by_secret(caller: &Authenticated, address: IpAddr, now: u64) -> Self {
        let mut grants = caller.client.grants.iter();
        let own = grants.find(|grant| grant.resource.as_str() == AUDIENCE && grant.is_alive(now));
        Self {
            origin: Origin::of(Some(caller.client.id.clone()), Some(address)),
            scopes: own.map_or_else(ScopeSet::default, |grant| grant.scopes.clone()),
        }
    }

    /// What the extractor asks of a token's scopes, asked of a client's. Who has not enough leaves a trace.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] when one of `rights` is missing, or that the audit log does not answer.
    pub async fn must_have(&self, server: &AuthServer, rights: &[&str]) -> Result<(), Refusal> {
        let lacks = |right: &&&str| !self.scopes.contains(right);
        let missing: Vec<&str> = rights.iter().filter(lacks).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let why = format!(
            "the client whose secret this is needs a grant for {AUDIENCE} with {}",
            missing.join(" ")
        );
        let (now, origin) = (server.clock.now(), &self.origin);
        let event = Event::refused(
            Action::AdminRefused,
            now,
            origin,
            "insufficient_scope",
            &*why,
        );
        server.journal.note(event).await?;
        Err(Refusal::Forbidden(why))
    }
}
