//! The keys that the vault signs its own answers with, and the set in which they are published.
//!
//! All of them stand in one sealed value of the store, each with the moment from which on it signs. What a key is for follows
//! from these moments and the clock: servers on one store switch in the same second, and a change is one compare-and-swap. The
//! next key is in the set longer ahead than any cache may keep the set, and an old one stays until the last JWT that it signed
//! has ended, and longer.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, bail};
use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    connection::identity_of,
    envelope::{self, Envelope, OpenError},
    refresh::Desk,
};

/// How long verifiers may keep the key set, in seconds.
pub(crate) const KEY_SET_MAX_AGE: u64 = 300;

/// How long a JWT with tokens in it may be used, in seconds.
pub(crate) const LIFETIME: u64 = 60;

/// How often a server looks at the keys in the store, in seconds.
pub(crate) const LOOK: u64 = 60;

/// How long a key signs, in seconds.
const SIGNS: u64 = 30 * 24 * 3600;

/// How long a key is in the set before it signs, in seconds.
const ANNOUNCED: u64 = 3600;

/// How long a key stays in the set when it signs no more, in seconds.
const RETIRED: u64 = 900;

// Clocks may differ by a minute, too.
const _: () =
    assert!(ANNOUNCED > KEY_SET_MAX_AGE + LOOK + 60 && RETIRED > LIFETIME + KEY_SET_MAX_AGE + 60);

/// The keys of one server, as the store has them.
pub struct OwnKeys {
    desk: Desk,
    /// Never held across an await.
    keys: RwLock<Arc<[OwnKey]>>,
}

impl OwnKeys {
    /// Opens the keys in the store, or makes the first one.
    ///
    /// # Errors
    /// When the key-encryption key does not open them, or store or key cannot be used.
    pub(crate) async fn open(desk: Desk) -> anyhow::Result<Self> {
        let keys = RwLock::new(kept(&desk).await?);
        Ok(Self { desk, keys })
    }

    /// Sees what other servers made, and makes the next key when it is time.
    ///
    /// # Errors
    /// As `open`; the keys stay as they were.
    pub async fn keep(&self) -> anyhow::Result<()> {
        let keys = kept(&self.desk).await?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn keys(&self) -> Arc<[OwnKey]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key set as it is published (RFC 7517), the key that signs first.
    pub(crate) fn key_set(&self) -> Value {
        let (keys, now) = (self.keys(), self.desk.clock.now());
        let times = times(&keys);
        let (signing, published) = (signing(&times, now), published(&times, now));
        let others = published.filter(|place| *place != signing);
        let set = std::iter::once(signing).chain(others);
        json!({"keys": set.map(|place| &keys[place].public).collect::<Vec<_>>()})
    }

    /// Signs claims as a JWT. Its `typ` keeps it from passing as an access token.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> String {
        let keys = self.keys();
        keys[signing(&times(&keys), self.desk.clock.now())].sign(claims)
    }
}

fn times(keys: &[OwnKey]) -> Vec<u64> {
    keys.iter().map(|key| key.signs_from).collect()
}

/// Which key signs, of keys that sign from these times on, in their order. Of one at least.
fn signing(times: &[u64], now: u64) -> usize {
    times.iter().rposition(|from| *from <= now).unwrap_or(0)
}

/// Which keys are in the set: all but those whose successors have signed for long enough.
fn published(times: &[u64], now: u64) -> impl Iterator<Item = usize> {
    let is_over = move |place: usize| {
        times
            .get(place + 1)
            .is_some_and(|next| next + RETIRED <= now)
    };
    (0..times.len()).filter(move |place| !is_over(*place))
}

/// From when on the key signs that is to be made now, if one is.
fn next(times: &[u64], now: u64) -> Option<u64> {
    let Some(last) = times.last() else {
        return Some(now); // no cache can know of it, and none of another
    };
    let from = (last + SIGNS).max(now + ANNOUNCED);
    (*last <= now && last + SIGNS <= now + ANNOUNCED).then_some(from)
}

/// The keys in the store, after what is due has been done.
async fn kept(desk: &Desk) -> anyhow::Result<Arc<[OwnKey]>> {
    loop {
        let stored = desk.store.own_key().await?;
        let mut keys = match &stored {
            Some(envelope) => opened(desk, envelope).await?,
            None => Vec::new(),
        };
        let now = desk.clock.now();
        let made = next(&times(&keys), now);
        let is_current = stored
            .as_ref()
            .is_some_and(|envelope| envelope.kek == *desk.ring.current());
        if is_current && made.is_none() {
            return Ok(keys.into());
        }
        if let Some(signs_from) = made {
            keys.push(OwnKey::new(signs_from)?);
        }
        let published: Vec<usize> = published(&times(&keys), now).collect();
        let written = published.iter().map(|place| keys[*place].written());
        let written = Zeroizing::new(serde_json::to_vec(&written.collect::<Vec<_>>())?);
        let new = envelope::seal(&desk.ring, &written, &place()).await?;
        desk.store.set_own_key(stored.as_ref(), &new).await?; // read again: a replica may have been faster
    }
}

async fn opened(desk: &Desk, envelope: &Envelope) -> anyhow::Result<Vec<OwnKey>> {
    let damaged = "the vault's own keys in the database are damaged";
    let bytes = match envelope::open(&desk.ring, envelope, &place()).await {
        Ok(bytes) => bytes,
        Err(OpenError::Mismatch) => bail!(damaged),
        Err(OpenError::Kek(error)) => return Err(error.into()),
    };
    let read: Vec<Read> = serde_json::from_slice(&bytes).ok().context(damaged)?;
    let keys: Option<Vec<_>> = read.into_iter().map(OwnKey::read).collect();
    keys.filter(|keys| !keys.is_empty()).context(damaged)
}

/// The place that the keys are sealed for.
fn place() -> Vec<u8> {
    identity_of(&["own keys"])
}

/// A P-256 key pair that signs JWTs with ES256.
struct OwnKey {
    pair: EcdsaKeyPair,
    /// PKCS#8, version 1, in base64.
    private: SecretString,
    /// In seconds since 1970.
    signs_from: u64,
    kid: String,
    public: Value,
}

#[derive(Serialize)]
struct Written<'a> {
    private: &'a str,
    signs_from: u64,
}

#[derive(Deserialize)]
struct Read {
    private: SecretString,
    signs_from: u64,
}

impl OwnKey {
    fn new(signs_from: u64) -> anyhow::Result<Self> {
        let private = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| Ok(STANDARD.encode(pair.to_pkcs8v1()?.as_ref())))
            .ok();
        let read = private.map(|private| Read {
            private: private.into(),
            signs_from,
        });
        read.and_then(Self::read).context("cannot make a key")
    }

    fn read(read: Read) -> Option<Self> {
        let private = Zeroizing::new(STANDARD.decode(read.private.expose_secret()).ok()?);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private).ok()?;
        // An uncompressed point (SEC 1 section 2.3.3): 4, x, y.
        let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: the required members in the order of their names, without blanks.
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, thumbprint.as_bytes()));
        let public = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256",
        });
        Some(Self {
            pair,
            private: read.private,
            signs_from: read.signs_from,
            kid,
            public,
        })
    }

    fn written(&self) -> Written<'_> {
        Written {
            private: self.private.expose_secret(),
            signs_from: self.signs_from,
        }
    }

    fn sign(&self, claims: &impl Serialize) -> String {
        let header = json!({"alg": "ES256", "kid": self.kid, "typ": "token-vault+jwt"});
        let claims =
            Zeroizing::new(serde_json::to_vec(claims).expect("claims are texts and numbers"));
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&*claims, &mut token);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes());
        let signature =
            signature.expect("signing with a valid key fails only when the random generator does");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_set(times: &[u64], now: u64) -> Vec<usize> {
        published(times, now).collect()
    }

    #[test]
    fn a_key_is_announced_signs_and_stays_until_its_last_jwt_has_ended() {
        let from = 1000;
        assert_eq!(next(&[], from), Some(from));
        let (near, end) = (from + SIGNS - ANNOUNCED, from + SIGNS);
        assert_eq!(next(&[from], near - 1), None);
        assert_eq!(next(&[from], near), Some(end));
        let keys = [from, end];
        for (now, signs, set) in [
            (near, 0, vec![0, 1]),
            (end - 1, 0, vec![0, 1]),
            (end, 1, vec![0, 1]),
            (end + RETIRED - 1, 1, vec![0, 1]),
            (end + RETIRED, 1, vec![1]),
        ] {
            assert_eq!(
                (signing(&keys, now), in_set(&keys, now)),
                (signs, set),
                "{now}"
            );
            assert_eq!(next(&keys, now), None, "{now}");
        }
    }

    #[test]
    fn a_vault_that_slept_announces_all_the_same() {
        let late = 1000 + 3 * SIGNS;
        assert_eq!(next(&[1000], late), Some(late + ANNOUNCED));
        assert_eq!(signing(&[1000, late + ANNOUNCED], late), 0);
        assert_eq!(
            signing(&[1000], 5),
            0,
            "a clock that is behind signs with what there is"
        );
    }
}
