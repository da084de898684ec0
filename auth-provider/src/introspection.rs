//! Asking about a token, and taking it back: who may.

use m2m::Scope;
use tracing::info;

use crate::{
    built_in::{AUDIENCE, TokensIntrospect, TokensRevoke},
    client::ClientRecord,
    error::OAuthError,
    own_token::{self, OwnToken},
    revocation::Revoked,
    server::AuthServer,
};

/// What `caller` may know about a token (RFC 7662 section 2.2): all of it, when the token is alive and was issued
/// for a resource that the caller owns, or to the caller itself, or when the caller is an administrator. Nothing in
/// any other case, so that nobody learns whether a token that is none of their business exists.
///
/// # Errors
/// When the store cannot say what an opaque token stands for.
pub async fn introspect(
    server: &AuthServer,
    caller: &ClientRecord,
    token: &str,
) -> Result<Option<OwnToken>, OAuthError> {
    let Some(token) = own_token::read(server, token).await? else {
        return Ok(None);
    };
    let theirs = caller.owns.contains(&token.aud)
        || caller.id == token.client_id
        || caller.may(AUDIENCE, TokensIntrospect::NAME, server.clock.now());
    if !theirs {
        info!(
            client = %caller.id, resource = %token.aud,
            "probed: asked about a token that is not for one of its resources"
        );
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
    token: &str,
) -> Result<(), OAuthError> {
    let Some(token) = own_token::read(server, token).await? else {
        return Ok(());
    };
    let now = server.clock.now();
    if caller.id != token.client_id && !caller.may(AUDIENCE, TokensRevoke::NAME, now) {
        info!(client = %caller.id, jti = token.jti, "refused to revoke a token of another client");
        return Ok(());
    }
    if !server.revocations.revokes(&token) {
        let (revoked, expires_at) = Revoked::token(&token);
        server
            .revocations
            .add(server.store.as_ref(), &revoked, now, expires_at)
            .await?;
        info!(client = %caller.id, jti = token.jti, "revoked a token");
    }
    Ok(())
}
