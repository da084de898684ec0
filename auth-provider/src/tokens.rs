//! Issuing tokens: decide, then sign, or keep what a reference stands for.

use std::borrow::Cow;

use m2m::ScopeSet;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use tracing::debug;

use crate::{
    audit::{Action, Event, Origin},
    client::{ClientRecord, CredentialId, SecretHash, random_id},
    clients::Authenticated,
    error::OAuthError,
    keys::{Signer, TokenType},
    metadata::Metadata,
    own_token::{self, OwnToken},
    policy::{self, Allowed},
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

/// Claims together with others, which name none of them: what the resource wants of the client's metadata, and what a
/// caller wrote.
#[derive(Serialize)]
struct WithMore<'a> {
    #[serde(flatten)]
    claims: Claims<'a>,
    #[serde(flatten)]
    more: &'a Metadata,
}

/// How one token differs from what its grant says.
#[derive(Debug)]
pub struct Terms {
    /// The credential that it is obtained with.
    pub credential: CredentialId,
    /// How long it may live at most, in seconds.
    pub longest: u64,
    /// What stands in it besides the claims that the server writes. None of those is among them.
    pub claims: Metadata,
}

/// Issues a token for what the client wishes, if the policy allows it.
///
/// # Errors
/// The policy's refusal, as `unauthorized_client`, `invalid_target` or `invalid_scope`; or that the store cannot keep
/// what an opaque token stands for.
pub fn issue(
    server: &AuthServer,
    caller: &Authenticated,
    origin: &Origin,
    wish: &Wish,
) -> impl Future<Output = Result<Issued, OAuthError>> {
    issue_for_at_most(u64::MAX, server, caller, origin, wish)
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
    let allowed = allowed(server, &caller.client, wish).await?;
    let terms = Terms {
        credential: caller.credential,
        longest,
        claims: Metadata::new(),
    };
    let made = made(server, &caller.client, &allowed, terms).await?;
    // The token's own name is the one that its client knows.
    let event = Event::without_request(Action::TokenIssued, made.token.iat, origin);
    let (issued, event) = made.told(event);
    server.journal.note(event).await?;
    Ok(issued)
}

/// Issues a token with other claims besides, about a client that need not be the one that asks.
///
/// # Errors
/// That the server cannot sign, or note it, just now.
pub async fn issue_with(
    server: &AuthServer,
    subject: &ClientRecord,
    allowed: &Allowed<'_>,
    terms: Terms,
    origin: &Origin,
) -> Result<Issued, OAuthError> {
    let credential = terms.credential;
    let made = made(server, subject, allowed, terms).await?;
    let at = made.token.iat;
    let event = Event::done(Action::TokenIssued, at, origin)
        .explained("Its caller wrote what else stands in it");
    let (issued, mut event) = made.told(event);
    let caller = origin.actor.as_ref();
    if let Some(caller) = caller.filter(|caller| **caller != subject.id) {
        // The use of the credential is its owner's, and not that of the client in whose name the token is.
        let mut used = Event::done(Action::CredentialUsed, at, origin)
            .client(caller)
            .credential(&credential);
        used.ends_at = event.ends_at.take();
        server.journal.note(used).await?;
    }
    server.journal.note(event).await?;
    Ok(issued)
}

/// What the policy allows the client of what it wishes.
///
/// # Errors
/// The policy's refusal, with what only the audit log says.
pub async fn allowed<'a>(
    server: &AuthServer,
    client: &'a ClientRecord,
    wish: &'a Wish,
) -> Result<Allowed<'a>, OAuthError> {
    match policy::decide(client, wish, server.clock.now()) {
        Ok(allowed) => Ok(allowed),
        Err(refusal) => Err(Box::pin(refused(server, client, wish, refusal)).await?),
    }
}

/// A token of which nobody was told yet.
struct Made {
    access_token: String,
    token: OwnToken,
}

async fn made(
    server: &AuthServer,
    client: &ClientRecord,
    allowed: &Allowed<'_>,
    terms: Terms,
) -> Result<Made, OAuthError> {
    let (grant, now) = (allowed.grant, allowed.at);
    let signer = match grant.token_format {
        TokenFormat::Jwt => Some(server.keys.signer(grant.signing_alg, now).await?),
        TokenFormat::Opaque => None,
    };
    // A token does not outlive the grant that it comes from, nor the key that signs it.
    let until_grant_ends = grant
        .expires_at
        .map_or(u64::MAX, |end| end.saturating_sub(now));
    let until_key_is_gone = signer
        .as_ref()
        .map_or(u64::MAX, |signer| signer.longest_token);
    let expires_in = grant
        .token_lifetime
        .min(until_grant_ends)
        .min(until_key_is_gone)
        .min(terms.longest);
    let mut token = OwnToken {
        client_id: client.id.clone(),
        credential: Some(terms.credential),
        aud: grant.resource.clone(),
        scopes: allowed.scopes.clone(),
        iat: now,
        nbf: now,
        exp: now + expires_in,
        jti: terms.credential.token_id(),
    };
    let access_token = if let Some(signer) = signer {
        let mut more = terms.claims;
        if grant.has_metadata_claims {
            // In a box, since it is rare and takes room.
            more = Box::pin(with_metadata(server, &token, more)).await?;
        }
        let profile = grant.token_profile;
        let jwt = signing_input(server, &signer, profile, &token, &more);
        let jwt = signer.sign(jwt).await;
        if profile.hides_credential()
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
    Ok(Made {
        access_token,
        token,
    })
}

impl Made {
    /// What its client is told of it, and what the log keeps.
    fn told(self, event: Event) -> (Issued, Event) {
        let Self {
            access_token,
            token,
        } = self;
        let event = Event {
            client: Some(token.client_id),
            resource: Some(token.aud),
            credential: token.credential,
            jti: Some(token.jti),
            ends_at: Some(token.exp),
            ..event
        };
        let issued = Issued {
            access_token,
            scopes: token.scopes,
            expires_in: token.exp - token.iat,
        };
        (issued, event)
    }
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

/// The claims with what the resource wants of the client's metadata. That nobody else writes, also where the metadata has
/// none of it.
async fn with_metadata(
    server: &AuthServer,
    token: &OwnToken,
    mut claims: Metadata,
) -> Result<Metadata, OAuthError> {
    let (client, aud) = (&token.client_id, &token.aud);
    if !claims.is_empty()
        && let Some(resource) = server.store.resource(aud).await?
    {
        claims.retain(|name, _| !resource.settings.metadata_claims.contains(name));
    }
    claims.extend(server.store.metadata_claims(client, aud).await?);
    Ok(claims)
}

/// What is to be signed for the JWT of the resource's profile, with `more` claims.
fn signing_input(
    server: &AuthServer,
    signer: &Signer,
    profile: TokenProfile,
    token: &OwnToken,
    more: &Metadata,
) -> String {
    let typ = match profile {
        TokenProfile::Standard => TokenType::AccessToken,
        TokenProfile::SuperTokens | TokenProfile::Stytch => TokenType::Jwt,
    };
    let iss = match profile {
        TokenProfile::Standard | TokenProfile::SuperTokens => Cow::Borrowed(server.issuer.as_str()),
        TokenProfile::Stytch => server.stytch.issuer_for(token.aud.as_str()),
    };
    let claims = Claims::of(token, profile, &iss);
    if more.is_empty() {
        signer.key.signing_input(typ, &claims)
    } else {
        signer.key.signing_input(typ, &WithMore { claims, more })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{claim_names::SERVERS_OWN, client::ClientId, resource::ResourceId};

    /// Else metadata or a caller could write one of them a second time, and verifiers take either.
    #[test]
    fn the_claims_of_every_profile_are_nobody_elses() {
        let credential = CredentialId::generate();
        let token = OwnToken {
            client_id: ClientId::parse("bot").unwrap(),
            credential: Some(credential),
            aud: ResourceId::parse("notes").unwrap(),
            scopes: ScopeSet::default(),
            iat: 0,
            nbf: 0,
            exp: 60,
            jti: credential.token_id(),
        };
        for profile in [
            TokenProfile::Standard,
            TokenProfile::SuperTokens,
            TokenProfile::Stytch,
        ] {
            let claims = serde_json::to_value(Claims::of(&token, profile, "issuer")).unwrap();
            for name in claims.as_object().unwrap().keys() {
                assert!(SERVERS_OWN.contains(&name.as_str()), "{profile:?}: {name}");
            }
        }
    }
}
