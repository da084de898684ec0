//! Requests that an application signed itself (RFC 7515, compact): for callers that must prove the request and not only who
//! sends it.
//!
//! The keys come from the configuration. The algorithm is fixed by the key, never by the request; a request is for this vault
//! and one service, lives a few minutes, and is taken once.

use std::collections::BTreeMap;

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::connection::{Application, InvalidName, Service, identity_of};

/// How long a request may live, in seconds: for so long its id is remembered.
const LONGEST_LIFE: u64 = 300;

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 10;

/// An application that signs, as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// Public keys (RFC 7517).
    keys: Vec<PublicKey>,
    #[serde(default)]
    signed_requests: Demand,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Demand {
    #[default]
    Allowed,
    Required,
}

/// A public key. A private one, with a member `d`, is refused: it does not belong here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicKey {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    y: Option<String>,
    #[serde(rename = "use", default)]
    _use: Option<String>,
    #[serde(rename = "alg", default)]
    _alg: Option<String>,
}

/// The applications that sign.
#[derive(Debug, Default)]
pub struct Signers(BTreeMap<Application, (Vec<Key>, Demand)>);

#[derive(Debug)]
struct Key {
    kid: String,
    algorithm: &'static str,
    bytes: Vec<u8>,
}

/// Why the configuration's keys are not to be used.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("application `{0}`: {1}")]
    Name(String, InvalidName),
    #[error(
        "application `{0}`: a key is kty `EC` with crv `P-256`, x and y, or kty `OKP` with crv `Ed25519` and x"
    )]
    Key(String),
}

/// What a signed request must be about.
#[derive(Debug)]
pub struct Expected<'a> {
    pub application: &'a Application,
    /// The names of this vault.
    pub audiences: &'a [&'a str],
    pub service: &'a Service,
    /// Seconds since 1970.
    pub now: u64,
}

/// A request whose signature and claims are good. Whether it was taken before, the store knows.
#[derive(Debug)]
pub struct SignedRequest {
    /// Its claims but for those about itself, as a JSON object.
    pub body: Vec<u8>,
    /// The hash of its id and of the application that made it.
    pub id_hash: Vec<u8>,
    /// Until when the id must be remembered, in seconds since 1970.
    pub remember_until: u64,
}

/// Why a signed request is refused. The texts are constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    #[error("the body is no compact JWS of three parts in base64url")]
    Malformed,
    #[error("no key of this `kid` is registered for the application, or it has another `alg`")]
    UnknownKey,
    #[error("the signature is not good")]
    Signature,
    #[error("the claim `{0}` is missing, or is not what it must be")]
    Claim(&'static str),
    #[error("the request has ended, or lives longer than five minutes")]
    Dates,
    #[error("this request was taken before: sign a new one with a `jti` of its own")]
    Replayed,
}

impl Signers {
    /// # Errors
    /// When a name or a key makes no sense.
    pub fn new(applications: BTreeMap<String, Signer>) -> Result<Self, SignerError> {
        let mut signers = BTreeMap::new();
        for (name, signer) in applications {
            let application = Application::parse(&name)
                .map_err(|error| SignerError::Name(name.clone(), error))?;
            let keys = signer.keys.iter().map(Key::of).collect::<Option<Vec<_>>>();
            let keys = keys
                .filter(|keys| !keys.is_empty())
                .ok_or(SignerError::Key(name))?;
            signers.insert(application, (keys, signer.signed_requests));
        }
        Ok(Self(signers))
    }

    /// Whether the application's requests are refused without a signature.
    pub fn must_sign(&self, application: &Application) -> bool {
        self.0
            .get(application)
            .is_some_and(|(_, demand)| *demand == Demand::Required)
    }

    /// Verifies a request and takes it apart.
    ///
    /// # Errors
    /// Says which of the checks failed.
    pub fn verify(
        &self,
        jws: &[u8],
        expected: &Expected<'_>,
    ) -> Result<SignedRequest, SignedError> {
        let text = str::from_utf8(jws).map_err(|_| SignedError::Malformed)?;
        let (message, signature) = text.rsplit_once('.').ok_or(SignedError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(SignedError::Malformed)?;
        let [header, claims, signature] =
            [header, claims, signature].map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let (header, claims, signature) = (header.as_deref().and_then(object), claims, signature);
        let header = header.ok_or(SignedError::Malformed)?;
        if header.contains_key("crit") {
            return Err(SignedError::Malformed); // nothing that would be critical is understood
        }
        let named = |name: &str| header.get(name).and_then(Value::as_str);
        let (keys, _) = self
            .0
            .get(expected.application)
            .ok_or(SignedError::UnknownKey)?;
        let key = keys
            .iter()
            .find(|key| named("kid") == Some(&key.kid) && named("alg") == Some(key.algorithm));
        let signature = signature.ok_or(SignedError::Malformed)?;
        key.ok_or(SignedError::UnknownKey)?
            .verify(message.as_bytes(), &signature)?;
        let claims = claims
            .as_deref()
            .and_then(object)
            .ok_or(SignedError::Malformed)?;
        judge(claims, expected)
    }
}

/// Checks the claims about the request itself, and leaves the others.
fn judge(
    mut claims: Map<String, Value>,
    expected: &Expected<'_>,
) -> Result<SignedRequest, SignedError> {
    let mut text = |name: &'static str| match claims.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(SignedError::Claim(name)),
    };
    let must = |is: bool, name| {
        if is {
            Ok(())
        } else {
            Err(SignedError::Claim(name))
        }
    };
    must(text("iss")? == expected.application.as_str(), "iss")?;
    must(expected.audiences.contains(&text("aud")?.as_str()), "aud")?;
    must(text("service")? == expected.service.as_str(), "service")?;
    let id = text("jti")?;
    must((1..=256).contains(&id.len()), "jti")?;
    let exp = claims
        .remove("exp")
        .and_then(|exp| exp.as_u64())
        .ok_or(SignedError::Claim("exp"))?;
    let mut not_before = |name: &'static str| match claims.remove(name) {
        None => Ok(0),
        Some(time) => time.as_u64().ok_or(SignedError::Claim(name)),
    };
    let begins = not_before("iat")?.max(not_before("nbf")?);
    let lives =
        exp.saturating_add(LEEWAY) > expected.now && exp <= expected.now + LONGEST_LIFE + LEEWAY;
    if !lives || begins > expected.now + LEEWAY {
        return Err(SignedError::Dates);
    }
    let place = identity_of(&["signed request", expected.application.as_str(), &id]);
    Ok(SignedRequest {
        body: serde_json::to_vec(&claims).expect("what was read can be written"),
        id_hash: digest::digest(&digest::SHA256, &place).as_ref().to_vec(),
        remember_until: exp + LEEWAY,
    })
}

/// A JSON object in which no name stands twice.
fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let map: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    // serde_json takes the last of two equal names: what was counted and what was kept must agree.
    let Names(names) = serde_json::from_slice(bytes).ok()?;
    (names == map.len()).then_some(map)
}

/// How many members an object has.
struct Names(usize);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> serde::de::Visitor<'de> for Count {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Names, A::Error> {
                let mut names = 0;
                while map
                    .next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?
                    .is_some()
                {
                    names += 1;
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Count)
    }
}

impl Key {
    fn of(key: &PublicKey) -> Option<Self> {
        let part = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .ok()
                .filter(|bytes| bytes.len() == 32)
        };
        let (algorithm, bytes) = match (key.kty.as_str(), key.crv.as_str(), &key.y) {
            ("EC", "P-256", Some(y)) => ("ES256", [vec![4], part(&key.x)?, part(y)?].concat()),
            ("OKP", "Ed25519", None) => ("EdDSA", part(&key.x)?),
            _ => return None,
        };
        Some(Self {
            kid: key.kid.clone(),
            algorithm,
            bytes,
        })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignedError> {
        let verified = if self.algorithm == "ES256" {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes).verify(message, signature)
        } else {
            UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature)
        };
        verified.map_err(|_| SignedError::Signature)
    }
}
