//! One key pair, parsed and ready: it signs, and it recognises what it signed.

use std::{fmt, sync::LazyLock};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::{
        Simd,
        general_purpose::{NO_PAD, STANDARD},
    },
};
use jsonwebtoken::{
    EncodingKey,
    jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash},
};
use m2m::verify::Algorithm;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{KeyError, StoredKey, life::KeyRecord};
use crate::{
    json,
    master_key::{MasterKey, WrongKey},
};

/// As tokens are written, with the vector instructions of this machine.
static BASE64URL: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));

/// Claims of more bytes take another allocation.
const MOST_CLAIMS: usize = 512;

/// A key pair that signs access tokens with one algorithm.
pub struct SigningKey {
    pair: Pair,
    algorithm: Algorithm,
    kid: String,
    public: Jwk,
    verifying: ParsedPublicKey,
    /// The headers of the tokens that this key signs, encoded once.
    access_token_header: String,
    jwt_header: String,
}

/// What a token says of itself in its header (RFC 7515 section 4.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` keeps an access token from passing as any other kind of JWT (RFC 9068 section 2.1).
    AccessToken,
    /// `JWT`, for verifiers that know no better.
    Jwt,
}

impl TokenType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Jwt => "JWT",
        }
    }

    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = [Self::AccessToken, Self::Jwt].into_iter();
        all.find(|typ| typ.as_str() == name)
    }
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes a new key pair and its private part in PKCS#8, to be sealed. RSA takes a tenth of a second and
    /// more: not on a thread that serves requests.
    pub fn generate(algorithm: Algorithm) -> (Self, Zeroizing<Vec<u8>>) {
        let private = new_private_key(algorithm).expect("the system's random generator works");
        let key = Self::from_pkcs8(algorithm, &private).expect("what was just written can be read");
        (key, private)
    }

    /// Opens a key from the store.
    ///
    /// # Errors
    /// When it was sealed with another master key or for another row, or is no key of its algorithm.
    pub fn open(stored: &StoredKey, master: &MasterKey) -> Result<Self, KeyError> {
        let KeyRecord { kid, algorithm, .. } = &stored.record;
        let private = master
            .open(&stored.sealed_private, kid)
            .map_err(|WrongKey| KeyError::WrongMasterKey { kid: kid.clone() })?;
        Self::from_pkcs8(*algorithm, &private)
            .filter(|key| key.kid == *kid)
            .ok_or_else(|| KeyError::Damaged { kid: kid.clone() })
    }

    fn from_pkcs8(algorithm: Algorithm, private: &[u8]) -> Option<Self> {
        let (pair, verifying, encoding) = match algorithm {
            Algorithm::ES256 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private).ok()?;
                let public = pair.public_key().as_ref();
                let verifying = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).ok()?;
                (Pair::Ec(pair), verifying, EncodingKey::from_ec_der(private))
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(private).ok()?;
                let verifying = ParsedPublicKey::new(&ED25519, pair.public_key().as_ref()).ok()?;
                (Pair::Ed(pair), verifying, EncodingKey::from_ed_der(private))
            }
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::from_pkcs8(private).ok()?;
                let public = pair.public_key().as_ref();
                let verifying = match algorithm {
                    Algorithm::PS256 => ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public),
                    _ => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public),
                };
                // jsonwebtoken reads PKCS#8 of RSA only as PEM.
                let pem = Zeroizing::new(format!(
                    "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                    Zeroizing::new(STANDARD.encode(private)).as_str()
                ));
                let encoding = EncodingKey::from_rsa_pem(pem.as_bytes()).ok()?;
                (Pair::Rsa(pair), verifying.ok()?, encoding)
            }
        };
        let (signs_with, named) = match algorithm {
            Algorithm::ES256 => (jsonwebtoken::Algorithm::ES256, KeyAlgorithm::ES256),
            Algorithm::EdDSA => (jsonwebtoken::Algorithm::EdDSA, KeyAlgorithm::EdDSA),
            Algorithm::RS256 => (jsonwebtoken::Algorithm::RS256, KeyAlgorithm::RS256),
            Algorithm::PS256 => (jsonwebtoken::Algorithm::PS256, KeyAlgorithm::PS256),
        };
        let mut public = Jwk::from_encoding_key(&encoding, signs_with).ok()?;
        // RFC 7638. It leaves out `alg`, so no key may be used under two algorithms: each has its own.
        let kid = public.thumbprint(ThumbprintHash::SHA256).ok()?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_algorithm = Some(named);
        let header = |typ: TokenType| {
            let header = json!({"alg": algorithm.name(), "kid": kid, "typ": typ.as_str()});
            BASE64URL.encode(header.to_string())
        };
        Some(Self {
            access_token_header: header(TokenType::AccessToken),
            jwt_header: header(TokenType::Jwt),
            pair,
            algorithm,
            kid,
            public,
            verifying,
        })
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as it is published (RFC 7517).
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// Whether a signature takes so long that a thread that serves requests must not make many in a row: up to a
    /// millisecond with RSA, and a few hundredths of that with the others.
    pub fn is_slow(&self) -> bool {
        matches!(self.pair, Pair::Rsa(_))
    }

    /// What is to be signed for these claims: header and payload in base64url (RFC 7515 section 5.1).
    pub fn signing_input(&self, typ: TokenType, claims: &impl Serialize) -> String {
        let header = match typ {
            TokenType::AccessToken => &self.access_token_header,
            TokenType::Jwt => &self.jwt_header,
        };
        let mut payload = Vec::with_capacity(MOST_CLAIMS);
        json::append(&mut payload, claims);
        // Room for the signature as well: 342 characters with RSA, 86 with the others.
        let signature = if self.is_slow() { 350 } else { 90 };
        let encoded = payload.len().div_ceil(3) * 4;
        let mut input = String::with_capacity(header.len() + encoded + signature);
        input.push_str(header);
        input.push('.');
        BASE64URL.encode_string(payload, &mut input);
        input
    }

    /// Makes a JWT in compact form (RFC 7515 section 3.1) of what [`signing_input`](Self::signing_input) made.
    pub fn sign(&self, input: String) -> String {
        const WORKS: &str = "signing with a valid key fails only when the random generator does";
        let (message, random) = (input.as_bytes(), SystemRandom::new());
        let (fixed, signed, rsa);
        let signature = match &self.pair {
            Pair::Ec(pair) => {
                // Borrowed where it stands, as below: a signature has room for kilobytes.
                let signed = pair.sign(&random, message);
                let der = signed.as_ref().expect(WORKS).as_ref();
                fixed = p256_fixed(der).expect("aws-lc writes DER");
                fixed.as_slice()
            }
            Pair::Ed(pair) => {
                signed = pair.try_sign(message);
                signed.as_ref().expect(WORKS).as_ref()
            }
            Pair::Rsa(pair) => {
                let padding = match self.algorithm {
                    Algorithm::PS256 => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut bytes)
                    .expect(WORKS);
                rsa = bytes;
                rsa.as_slice()
            }
        };
        let mut token = input;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        token
    }

    /// Whether this key signed `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verify_sig(message, signature).is_ok()
    }
}

/// A signature of P-256 as JWS has it (RFC 7518 section 3.4), of one in DER (RFC 3279 section 2.2.3). aws-lc-rs would make
/// big numbers of the two and write those, which is a hundredth of what a token costs.
fn p256_fixed(der: &[u8]) -> Option<[u8; 64]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;

    let [SEQUENCE, _, numbers @ ..] = der else {
        return None;
    };
    let (mut rest, mut fixed) = (numbers, [0; 64]);
    for half in fixed.chunks_exact_mut(32) {
        let [INTEGER, length, after @ ..] = rest else {
            return None;
        };
        let (number, others) = after.split_at_checked((*length).into())?;
        let number = number.strip_prefix(&[0]).unwrap_or(number); // which says that it is not negative
        let leading = half.len().checked_sub(number.len())?;
        half[leading..].copy_from_slice(number);
        rest = others;
    }
    rest.is_empty().then_some(fixed)
}

/// A private key in PKCS#8, in the form that both crypto libraries read: version 1, without the public part.
fn new_private_key(
    algorithm: Algorithm,
) -> Result<Zeroizing<Vec<u8>>, aws_lc_rs::error::Unspecified> {
    let bytes = match algorithm {
        Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?
            .to_pkcs8v1()?
            .as_ref()
            .to_vec(),
        Algorithm::EdDSA => Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref().to_vec(),
        Algorithm::RS256 | Algorithm::PS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
            AsDer::<Pkcs8V1Der<'static>>::as_der(&pair)?
                .as_ref()
                .to_vec()
        }
    };
    Ok(Zeroizing::new(bytes))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.algorithm.name(), self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> MasterKey {
        MasterKey::from_config(&format!("{}=", "A".repeat(43)).into()).unwrap()
    }

    fn sealed(algorithm: Algorithm) -> (SigningKey, StoredKey) {
        let (key, private) = SigningKey::generate(algorithm);
        let stored = StoredKey {
            sealed_private: master().seal(&private, key.kid()),
            record: KeyRecord::first(key.kid(), algorithm, 5),
        };
        (key, stored)
    }

    #[test]
    fn a_key_comes_back_from_the_store_the_same_and_knows_its_own_signatures() {
        for algorithm in Algorithm::ALL {
            let (key, stored) = sealed(algorithm);
            let opened = SigningKey::open(&stored, &master()).unwrap();
            assert_eq!(
                (opened.kid(), &opened.public),
                (key.kid(), &key.public),
                "{algorithm:?}"
            );
            let token = key.sign(key.signing_input(TokenType::Jwt, &json!({"sub": "a"})));
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = BASE64URL.decode(signature).unwrap();
            assert!(opened.verifies(message.as_bytes(), &signature));
            assert!(!opened.verifies(&message.as_bytes()[1..], &signature));
            assert!(!sealed(algorithm).0.verifies(message.as_bytes(), &signature));
        }
    }

    /// One number in 256 is a byte shorter than the others.
    #[test]
    fn signatures_with_short_numbers_hold_as_well() {
        let (key, _) = SigningKey::generate(Algorithm::ES256);
        for number in 0..2000 {
            let token = key.sign(format!("{number}"));
            let (message, signature) = token.split_once('.').unwrap();
            let signature = BASE64URL.decode(signature).unwrap();
            assert_eq!(signature.len(), 64);
            assert!(key.verifies(message.as_bytes(), &signature), "{token}");
        }
    }

    #[test]
    fn a_signature_is_rewritten_with_all_of_its_zeros() {
        let fixed = |r: u8, s: u8| {
            let mut fixed = [0; 64];
            (fixed[31], fixed[63]) = (r, s);
            Some(fixed)
        };
        assert_eq!(p256_fixed(b"\x30\x06\x02\x01\x07\x02\x01\x09"), fixed(7, 9));
        assert_eq!(
            p256_fixed(b"\x30\x07\x02\x02\x00\x80\x02\x01\x01"),
            fixed(128, 1)
        );
        for wrong in [
            &b""[..],
            b"\x31\x06\x02\x01\x07\x02\x01\x09",
            b"\x30\x06\x02\x01\x07\x02\x02\x09",
            b"\x30\x03\x02\x01\x07",
            b"\x30\x07\x02\x01\x07\x02\x01\x09\x00",
            &[b"\x30\x26\x02\x21".as_slice(), &[1; 33], b"\x02\x01\x01"].concat(),
        ] {
            assert_eq!(p256_fixed(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_swapped_or_foreign_row_is_not_used() {
        let (_, mut stored) = sealed(Algorithm::ES256);
        stored.record.kid = sealed(Algorithm::ES256).1.record.kid;
        assert!(matches!(
            SigningKey::open(&stored, &master()),
            Err(KeyError::WrongMasterKey { .. })
        ));
        stored.sealed_private = master().seal(b"no key", &stored.record.kid);
        assert!(matches!(
            SigningKey::open(&stored, &master()),
            Err(KeyError::Damaged { .. })
        ));
        let (_, mut stored) = sealed(Algorithm::EdDSA);
        stored.record.algorithm = Algorithm::ES256;
        assert!(matches!(
            SigningKey::open(&stored, &master()),
            Err(KeyError::Damaged { .. })
        ));
    }

    #[test]
    fn what_is_published_has_public_members_only() {
        for (algorithm, expected) in [
            (
                Algorithm::ES256,
                ["alg", "crv", "kid", "kty", "use", "x"].as_slice(),
            ),
            (Algorithm::EdDSA, &["alg", "crv", "kid", "kty", "use", "x"]),
            (Algorithm::RS256, &["alg", "e", "kid", "kty", "n", "use"]),
            (Algorithm::PS256, &["alg", "e", "kid", "kty", "n", "use"]),
        ] {
            let (key, _) = SigningKey::generate(algorithm);
            let jwk = serde_json::to_value(key.public()).unwrap();
            let members = jwk.as_object().unwrap().keys();
            let members: Vec<_> = members.filter(|name| *name != "y").collect();
            assert_eq!(members, expected);
            assert_eq!(
                (&jwk["alg"], &jwk["use"]),
                (&json!(algorithm.name()), &json!("sig"))
            );
        }
    }
}
