//! Issuing tokens: decide, then sign, or keep what a reference stands for.

use std::borrow::Cow;

use m2m::ScopeSet;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use tracing::debug;

use crate::{
    audit::{Action, Event, Origin},
    client::{ClientRecord, CredentialId, Grant, SecretHash, random_id},
    clients::Authenticated,
    error::OAuthError,
    keys::{Signer, TokenType},
    metadata::Metadata,
    own_token::{self, OwnToken},
    policy,
    registry::explanations::explained,
    resource::{TokenFormat, TokenProfile},
    server::AuthServer,
};

pub use policy::Wish;

/// A token that was issued, and what its client is told about it.
#[derive(Debug)]
pub struct Issued {
    pub access_token: String,
    pub scopes: ScopeSet,
    /// In seconds.
    pub expires_in: u64,
}

/// The claims of a token, in one of the profiles. The subject is the client itself: nobody else is involved.
#[derive(Serialize)]
#[serde(untagged)]
enum Claims<'a> {
    /// RFC 9068 section 2.2. Scopes stand there twice, as RFC 9068 has them and as the array that many verifiers read.
    Standard {
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
    },
    SuperTokens {
        iss: &'a str,
        sub: &'a str,
        client_id: &'a str,
        aud: &'a str,
        scope: &'a ScopeSet,
        #[serde(serialize_with = "as_array")]
        scp: &'a ScopeSet,
        /// Which kind of token: 1 is an access token.
        stt: u8,
        /// The grant that it comes of, which for a machine is this one request.
        gid: String,
        iat: u64,
        nbf: u64,
        exp: u64,
        jti: &'a str,
    },
    Stytch {
        iss: &'a str,
        sub: &'a str,
        aud: [&'a str; 1],
        scope: &'a ScopeSet,
        iat: u64,
        nbf: u64,
        exp: u64,
    },
}

/// Claims together with what the resource wants of the client's metadata, which names none of them.
#[derive(Serialize)]
struct WithMetadata<'a> {
    #[serde(flatten)]
    claims: Claims<'a>,
    #[serde(flatten)]
    metadata: &'a Metadata,
}

/// Issues a token for what the client wishes, if the policy allows it.
///
/// # Errors
/// The policy's refusal, as `unauthorized_client`, `invalid_target` or `invalid_scope`; or that the store cannot keep
/// what an opaque token stands for.
pub async fn issue(
    server: &AuthServer,
    caller: &Authenticated,
    origin: &Origin,
    wish: &Wish,
) -> Result<Issued, OAuthError> {
    issue_for_at_most(u64::MAX, server, caller, origin, wish).await
}

/// The same, with a token that lives for `longest` seconds, or for less where [`issue`] would give it less.
///
/// # Errors
/// As [`issue`].
pub async fn issue_for_at_most(
    longest: u64,
    server: &AuthServer,
    caller: &Authenticated,
    origin: &Origin,
    wish: &Wish,
) -> Result<Issued, OAuthError> {
    let now = server.clock.now();
    let client = &caller.client;
    let allowed = match policy::decide(client, wish, now) {
        Ok(allowed) => allowed,
        Err(refusal) => return Err(refused(server, client, wish, refusal).await?),
    };
    let signer = match allowed.grant.token_format {
        TokenFormat::Jwt => Some(server.keys.signer(allowed.grant.signing_alg, now).await?),
        TokenFormat::Opaque => None,
    };
    // A token does not outlive the grant that it comes from, nor the key that signs it.
    let until_grant_ends = allowed.grant.expires_at.map_or(u64::MAX, |end| end - now);
    let until_key_is_gone = signer
        .as_ref()
        .map_or(u64::MAX, |signer| signer.longest_token);
    let expires_in = allowed
        .grant
        .token_lifetime
        .min(longest)
        .min(until_grant_ends)
        .min(until_key_is_gone);
    let mut token = OwnToken {
        client_id: client.id.clone(),
        credential: Some(caller.credential),
        aud: allowed.grant.resource.clone(),
        scopes: allowed.scopes.clone(),
        iat: now,
        nbf: now,
        exp: now + expires_in,
        jti: caller.credential.token_id(),
    };
    let access_token = if let Some(signer) = signer {
        let jwt = signed(server, &signer, allowed.grant, &token).await?;
        if allowed.grant.token_profile.hides_credential()
            && let Some((message, _)) = jwt.rsplit_once('.')
        {
            token.jti = own_token::name_of(message);
        }
        jwt
    } else {
        let reference = own_token::new_reference();
        let hash = SecretHash::of(&reference);
        server.store.add_opaque_token(&hash, &token).await?;
        reference
    };
    debug!(client = %client.id, resource = %token.aud, jti = token.jti, "issued a token");
    server
        .journal
        .note(issued(&token, caller.credential, origin))
        .await?;
    Ok(Issued {
        access_token,
        scopes: token.scopes,
        expires_in,
    })
}

/// The refusal as the client reads it, with what only the audit log says.
async fn refused(
    server: &AuthServer,
    client: &ClientRecord,
    wish: &Wish,
    refusal: policy::Refusal,
) -> Result<OAuthError, OAuthError> {
    let why = explained(server, Some(client), wish).await?;
    let mut error = OAuthError::from(refusal)
        .of_client(&client.id)
        .because(why.code, why.sentence);
    if let Some(resource) = why.resource {
        error = error.about(resource);
    }
    Ok(error)
}

fn issued(token: &OwnToken, credential: CredentialId, origin: &Origin) -> Event {
    let mut event = Event::done(Action::TokenIssued, token.iat, origin)
        .client(&token.client_id)
        .resource(&token.aud)
        .credential(&credential);
    event.jti = Some(token.jti.clone());
    event.ends_at = Some(token.exp);
    event.request_id = None; // the token's own name is the one that its client knows
    event
}

/// The JWT of the resource's profile.
async fn signed(
    server: &AuthServer,
    signer: &Signer,
    grant: &Grant,
    token: &OwnToken,
) -> Result<String, OAuthError> {
    let typ = match grant.token_profile {
        TokenProfile::Standard => TokenType::AccessToken,
        TokenProfile::SuperTokens | TokenProfile::Stytch => TokenType::Jwt,
    };
    let iss = match grant.token_profile {
        TokenProfile::Standard | TokenProfile::SuperTokens => Cow::Borrowed(server.issuer.as_str()),
        TokenProfile::Stytch => server.stytch.issuer_for(token.aud.as_str()),
    };
    let claims = Claims::of(token, grant.token_profile, &iss);
    if !grant.has_metadata_claims {
        return Ok(server.keys.sign(&signer.key, typ, &claims).await);
    }
    let store = &server.store;
    let metadata = store.metadata_claims(&token.client_id, &token.aud).await?;
    let metadata = &metadata;
    let claims = WithMetadata { claims, metadata };
    Ok(server.keys.sign(&signer.key, typ, &claims).await)
}

impl<'a> Claims<'a> {
    fn of(token: &'a OwnToken, profile: TokenProfile, iss: &'a str) -> Self {
        let OwnToken {
            iat, nbf, exp, jti, ..
        } = token;
        let (iat, nbf, exp) = (*iat, *nbf, *exp);
        let aud = token.aud.as_str();
        let (sub, client_id) = (token.client_id.as_str(), token.client_id.as_str());
        let (scope, scp) = (&token.scopes, &token.scopes);
        match profile {
            TokenProfile::Standard => Self::Standard {
                iss,
                sub,
                client_id,
                aud,
                scope,
                scp,
                iat,
                nbf,
                exp,
                jti,
            },
            TokenProfile::SuperTokens => Self::SuperTokens {
                iss,
                sub,
                client_id,
                aud,
                scope,
                scp,
                stt: 1,
                gid: random_id(),
                iat,
                nbf,
                exp,
                jti,
            },
            TokenProfile::Stytch => Self::Stytch {
                iss,
                sub,
                aud: [aud],
                scope,
                iat,
                nbf,
                exp,
            },
        }
    }
}

fn as_array<S: Serializer>(scopes: &ScopeSet, serializer: S) -> Result<S::Ok, S::Error> {
    let mut array = serializer.serialize_seq(None)?;
    for scope in scopes.iter() {
        array.serialize_element(scope)?;
    }
    array.end()
}
