//! Asking about a token, and taking it back: who may.

use std::sync::Arc;

use m2m::Scope;
use tracing::info;

use crate::{
    audit::{Action, Event, Origin},
    built_in::{AUDIENCE, TokensIntrospect, TokensRevoke},
    client::{ClientId, ClientRecord},
    error::OAuthError,
    known_tokens::KnownToken,
    own_token::{self, OwnToken},
    revocation::Revoked,
    server::AuthServer,
    storage::StoreError,
};

/// What `caller` may know about a token (RFC 7662 section 2.2): all of it, when the token is alive and was issued
/// for a resource that the caller owns, or to the caller itself, or when the caller is an administrator. Nothing in
/// any other case, so that nobody learns whether a token that is none of their business exists.
///
/// # Errors
/// When the store cannot say what an opaque token stands for, or has been away for so long that nobody knows what was
/// revoked.
pub async fn introspect(
    server: &AuthServer,
    caller: &ClientRecord,
    origin: &Origin,
    token: &str,
) -> Result<Option<Arc<KnownToken>>, OAuthError> {
    let known = ask(server, caller, origin, token).await?;
    server.metrics.introspected(known.is_some());
    Ok(known)
}

async fn ask(
    server: &AuthServer,
    caller: &ClientRecord,
    origin: &Origin,
    token: &str,
) -> Result<Option<Arc<KnownToken>>, OAuthError> {
    if !server.contact.goes_on() {
        return Err(StoreError::Away.into());
    }
    let Some(token) = own_token::read(server, token).await? else {
        return Ok(None);
    };
    let theirs = caller.owns.contains(&token.aud)
        || caller.id == token.client_id
        || caller.may(AUDIENCE, TokensIntrospect::NAME, server.clock.now());
    if !theirs {
        let what = "asked about a token that is not for one of its resources";
        Box::pin(probed(server, origin, &token, what)).await?; // in a box, since it is rare and takes room
        return Ok(None);
    }
    Ok((!server.revocations.revokes(&token)).then_some(token))
}

/// Takes a token back, if it is the caller's own or the caller is an administrator. The answer is the same in any
/// other case, also for what is no token at all (RFC 7009 section 2.2): it tells nothing about tokens of others.
///
/// # Errors
/// When the store cannot keep the revocation: then the token lives on, and the caller has to know.
pub async fn revoke(
    server: &AuthServer,
    caller: &ClientRecord,
    origin: &Origin,
    token: &str,
) -> Result<(), OAuthError> {
    let Some(token) = own_token::read(server, token).await? else {
        return Ok(());
    };
    let now = server.clock.now();
    if caller.id != token.client_id && !caller.may(AUDIENCE, TokensRevoke::NAME, now) {
        return probed(
            server,
            origin,
            &token,
            "tried to revoke a token of another client",
        )
        .await;
    }
    if !server.revocations.revokes(&token) {
        let mut event = Event::done(Action::TokenRevoked, now, origin)
            .client(&token.client_id)
            .resource(&token.aud);
        event.credential = token.credential;
        event.jti = Some(token.jti.clone());
        let revocations = Arc::clone(&server.revocations);
        let change = vec![Revoked::token(&token, now)];
        revocations
            .add(&server.store, change, event.clone())
            .await?;
        server.metrics.count(&[event]);
        info!(client = %caller.id, jti = token.jti, "revoked a token");
    }
    Ok(())
}

/// Who puts its nose into tokens of others learns nothing by it, but is noticed.
async fn probed(
    server: &AuthServer,
    origin: &Origin,
    token: &OwnToken,
    what: &str,
) -> Result<(), OAuthError> {
    let actor = origin.actor.as_ref().map(ClientId::as_str);
    info!(client = actor, resource = %token.aud, jti = token.jti, "probed: {what}");
    let mut event = Event::refused(
        Action::TokenProbed,
        server.clock.now(),
        origin,
        "not_yours",
        format!("The client {what}"),
    )
    .client(&token.client_id)
    .resource(&token.aud);
    event.jti = Some(token.jti.clone());
    Ok(server.journal.note(event).await?)
}
