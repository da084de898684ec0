//! What the floor is told of a real issuer: its keys, and what it says of a token. And verifying a token with that.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use actix_web::{HttpRequest, http::header};
use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::Clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something about one token of a real issuer.
#[derive(Debug, Deserialize, Serialize)]
pub struct Lesson {
    pub token: String,
    /// The issuer's key set, with the key that the token is signed with. From then on tokens with the same header, issuer,
    /// audience and scope are accepted.
    pub key_set: Option<Value>,
    /// What the issuer says of the token (RFC 7662 section 2.2).
    pub answer: Option<Answer>,
}

/// The answer about a token that is active, as auth-provider gives it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Answer {
    active: bool,
    iss: String,
    sub: String,
    client_id: String,
    aud: String,
    scope: String,
    scp: Vec<String>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    token_type: String,
}

/// The claims that a verifier cannot do without.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    scope: String,
    nbf: u64,
    exp: u64,
}

/// What was learned so far. Nothing is learned while something is measured, so that nobody waits for the locks.
#[derive(Default)]
pub(super) struct Learned {
    answers: RwLock<HashMap<String, Arc<Answer>>>,
    /// By the first part of a token: all tokens of one key have the same.
    issuers: RwLock<HashMap<String, Arc<Accepted>>>,
}

/// Tokens that are accepted.
struct Accepted {
    key: ParsedPublicKey,
    like: Claims,
}

impl Learned {
    pub(super) fn learn(&self, lesson: Lesson) -> Option<()> {
        if let Some(set) = lesson.key_set {
            let header = lesson.token.split('.').next()?;
            let accepted = Accepted {
                key: key_of(&set, &decoded(header)?)?,
                like: decoded(lesson.token.split('.').nth(1)?)?,
            };
            let mut issuers = self.issuers.write().unwrap_or_else(PoisonError::into_inner);
            issuers.insert(header.to_owned(), Arc::new(accepted));
        }
        if let Some(answer) = lesson.answer {
            let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
            answers.insert(lesson.token, Arc::new(answer));
        }
        Some(())
    }

    pub(super) fn answer(&self, token: &str) -> Option<Arc<Answer>> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(token).cloned()
    }

    /// Whether the request has a good bearer token.
    pub(super) fn accepts(&self, request: &HttpRequest) -> bool {
        let header = request.headers().get(header::AUTHORIZATION);
        let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        token.is_some_and(|token| self.verify(token).is_some())
    }

    fn verify(&self, token: &str) -> Option<()> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let accepted = {
            let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(issuers.get(header)?)
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        accepted
            .key
            .verify_sig(message.as_bytes(), &signature)
            .ok()?;
        let claims: Claims = decoded(claims)?;
        let now = Clock::System.now();
        let like = &accepted.like;
        let is_good = claims.iss == like.iss
            && claims.aud == like.aud
            && claims.scope == like.scope
            && !claims.sub.is_empty()
            && claims.nbf <= now
            && now < claims.exp;
        is_good.then_some(())
    }
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The key of the set that a token with this header is signed with (RFC 7517).
fn key_of(set: &Value, header: &Value) -> Option<ParsedPublicKey> {
    let mut keys = set["keys"].as_array()?.iter();
    let key = keys.find(|key| key["kid"] == header["kid"])?;
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
    match header["alg"].as_str()? {
        "ES256" => {
            let point = [&[4][..], &number("x")?, &number("y")?].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
        }
        "EdDSA" => ParsedPublicKey::new(&ED25519, number("x")?).ok(),
        "RS256" => PublicKeyComponents {
            n: number("n")?,
            e: number("e")?,
        }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::floor::{TokenRequest, sign::Signer};
    use m2m::verify::Algorithm;

    #[test]
    fn only_tokens_like_the_one_that_was_learned_are_verified() {
        let (signer, other) = (Signer::generate(), Signer::generate());
        let token = |signer: &Signer, resource: &str| {
            let wish = TokenRequest {
                grant_type: "client_credentials".into(),
                resource: resource.into(),
                scope: "calendar.read".into(),
            };
            signer.token(Algorithm::ES256, &wish)
        };
        let learned = Learned::default();
        let first = token(&signer, "calendar");
        assert!(learned.verify(&first).is_none());
        learned
            .learn(Lesson {
                key_set: Some(json!({"keys": [signer.jwk(&first)]})),
                token: first.clone(),
                answer: None,
            })
            .unwrap();
        for (token, is_good) in [
            (&first, true),
            (&token(&signer, "calendar"), true),
            (&token(&signer, "notes"), false),
            (&token(&other, "calendar"), false),
            (&first.replace('.', "_"), false),
        ] {
            assert_eq!(learned.verify(token).is_some(), is_good, "{token}");
        }
    }
}
