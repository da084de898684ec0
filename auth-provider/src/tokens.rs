//! Issuing tokens: decide, sign.

use m2m::ScopeSet;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use tracing::debug;

use crate::{
    client::{ClientRecord, random_id},
    error::OAuthError,
    policy::{self, Wish},
    server::AuthServer,
};

/// A token that was issued, and what its client is told about it.
#[derive(Debug)]
pub struct Issued {
    pub access_token: String,
    pub scopes: ScopeSet,
    /// In seconds.
    pub expires_in: u64,
}

/// The claims of an access token (RFC 9068 section 2.2). The subject is the client itself: nobody else is
/// involved. Scopes stand there twice, as RFC 9068 has them and as the array that many verifiers read.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    aud: &'a str,
    scope: &'a ScopeSet,
    #[serde(serialize_with = "as_array")]
    scp: &'a ScopeSet,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: &'a str,
}

/// Issues a token for what the client wishes, if the policy allows it.
///
/// # Errors
/// The policy's refusal, as `unauthorized_client`, `invalid_target` or `invalid_scope`.
pub async fn issue(
    server: &AuthServer,
    client: &ClientRecord,
    wish: &Wish,
) -> Result<Issued, OAuthError> {
    let now = server.clock.now();
    let allowed = policy::decide(client, wish, now)
        .map_err(|refusal| OAuthError::from(refusal).of_client(&client.id))?;
    let signer = server.keys.signer(allowed.grant.signing_alg, now).await?;
    // A token does not outlive the grant that it comes from, nor the key that signs it.
    let until_grant_ends = allowed.grant.expires_at.map_or(u64::MAX, |end| end - now);
    let expires_in = allowed
        .grant
        .token_lifetime
        .min(until_grant_ends)
        .min(signer.longest_token);
    let jti = random_id();
    let claims = Claims {
        iss: &server.issuer,
        sub: client.id.as_str(),
        client_id: client.id.as_str(),
        aud: allowed.grant.resource.as_str(),
        scope: allowed.scopes,
        scp: allowed.scopes,
        iat: now,
        nbf: now,
        exp: now + expires_in,
        jti: &jti,
    };
    let access_token = server.keys.sign(&signer.key, &claims).await;
    debug!(client = %client.id, resource = %allowed.grant.resource, jti, "issued a token");
    Ok(Issued {
        access_token,
        scopes: allowed.scopes.clone(),
        expires_in,
    })
}

fn as_array<S: Serializer>(scopes: &ScopeSet, serializer: S) -> Result<S::Ok, S::Error> {
    let mut array = serializer.serialize_seq(None)?;
    for scope in scopes.iter() {
        array.serialize_element(scope)?;
    }
    array.end()
}
