//! Checking the one secret, and signing tokens with keys that are held parsed.

use actix_web::{HttpRequest, http::header};
use aws_lc_rs::{
    constant_time, digest, rand,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use m2m::{Clock, verify::Algorithm};
use serde::Serialize;
use serde_json::json;

use super::{CLIENT_ID, CLIENT_SECRET, TokenRequest};

/// The algorithms that are measured.
pub const SIGNING: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

const ISSUER: &str = "http://localhost:3001/auth";

/// How long a token lives, in seconds.
pub(super) const LIFETIME: u64 = 3600;

/// A key pair, parsed once.
pub struct Key {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    /// Makes a key: of RSA one of 2048 bits.
    ///
    /// # Panics
    /// When the random generator of the system does not work.
    pub fn generate(algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Ec)
            }
            Algorithm::EdDSA => Ed25519KeyPair::generate().map(Pair::Ed),
            Algorithm::RS256 | Algorithm::PS256 => {
                RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rsa)
            }
        };
        Self {
            pair: pair.expect("the random generator of the system works"),
            random: SystemRandom::new(),
        }
    }

    /// The signature as it stands in a JWS (RFC 7518 section 3, RFC 8037 section 3.1).
    ///
    /// # Panics
    /// When the random generator of the system does not work.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ec(pair) => {
                let signature = pair.sign(&self.random, message);
                let signature = signature.expect("a P-256 key signs anything");
                signature.as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .expect("an RSA key signs anything");
                signature
            }
        }
    }

    fn public(&self) -> &[u8] {
        match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_ref(),
            Pair::Ed(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }
}

/// A key for each algorithm, and the hash of the one secret.
pub(super) struct Signer {
    keys: [(Algorithm, Key, String); SIGNING.len()],
    secret: digest::Digest,
}

/// The claims of RFC 9068 as auth-provider writes them, so that both sign as many bytes.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    aud: &'a str,
    scope: &'a str,
    scp: Vec<&'a str>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

impl Signer {
    pub(super) fn generate() -> Self {
        let keys = SIGNING.map(|algorithm| {
            let key = Key::generate(algorithm);
            // As long as the RFC 7638 thumbprint that a real key id is.
            let kid = digest::digest(&digest::SHA256, key.public());
            let kid = URL_SAFE_NO_PAD.encode(kid);
            let header = json!({"alg": algorithm.name(), "kid": kid, "typ": "at+jwt"});
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            (algorithm, key, header)
        });
        Self {
            keys,
            secret: digest::digest(&digest::SHA256, CLIENT_SECRET.as_bytes()),
        }
    }

    /// Whether the request has the right secret in HTTP Basic.
    pub(super) fn knows(&self, request: &HttpRequest) -> bool {
        let secret_matches = || {
            let header = request
                .headers()
                .get(header::AUTHORIZATION)?
                .to_str()
                .ok()?;
            let credentials = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
            let colon = credentials.iter().position(|byte| *byte == b':')?;
            let presented = digest::digest(&digest::SHA256, &credentials[colon + 1..]);
            constant_time::verify_slices_are_equal(presented.as_ref(), self.secret.as_ref()).ok()
        };
        secret_matches().is_some()
    }

    /// The key of ES256 as it stands in a key set, for this token.
    #[cfg(test)]
    pub(super) fn jwk(&self, token: &str) -> serde_json::Value {
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap());
        let header: serde_json::Value = serde_json::from_slice(&header.unwrap()).unwrap();
        let mut keys = self.keys.iter();
        let (_, key, _) = keys
            .find(|(algorithm, ..)| *algorithm == Algorithm::ES256)
            .unwrap();
        let (x, y) = key.public()[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({"kty": "EC", "crv": "P-256", "kid": header["kid"], "x": x, "y": y})
    }

    pub(super) fn token(&self, algorithm: Algorithm, wish: &TokenRequest) -> String {
        let of_algorithm = self.keys.iter().find(|(key, ..)| *key == algorithm);
        let (_, key, header) = of_algorithm.expect("there is a route only for these");
        let now = Clock::System.now();
        let mut id = [0; 16];
        rand::fill(&mut id).expect("the random generator of the system works");
        let claims = Claims {
            iss: ISSUER,
            sub: CLIENT_ID,
            client_id: CLIENT_ID,
            aud: &wish.resource,
            scope: &wish.scope,
            scp: wish.scope.split(' ').collect(),
            iat: now,
            nbf: now,
            exp: now + LIFETIME,
            jti: URL_SAFE_NO_PAD.encode(id),
        };
        let claims = serde_json::to_vec(&claims).expect("claims are plain text and numbers");
        let mut token = header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
        VerificationAlgorithm,
    };
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_token_has_the_claims_of_the_product_and_a_signature_that_holds() {
        let signer = Signer::generate();
        let wish = TokenRequest {
            grant_type: "client_credentials".into(),
            resource: "calendar-service".into(),
            scope: "calendar.read calendar.write".into(),
        };
        for (algorithm, key, _) in &signer.keys {
            let token = signer.token(*algorithm, &wish);
            let (content, signature) = token.rsplit_once('.').unwrap();
            let verification: &dyn VerificationAlgorithm = match algorithm {
                Algorithm::EdDSA => &ED25519,
                Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
                _ => &RSA_PKCS1_2048_8192_SHA256,
            };
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            UnparsedPublicKey::new(verification, key.public())
                .verify(content.as_bytes(), &signature)
                .unwrap();

            let (header, claims) = content.split_once('.').unwrap();
            let decode = |part| URL_SAFE_NO_PAD.decode(part).unwrap();
            let header: Value = serde_json::from_slice(&decode(header)).unwrap();
            assert_eq!(header["alg"], algorithm.name());
            let claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
            assert_eq!(claims["aud"], "calendar-service");
            assert_eq!(claims["scp"], json!(["calendar.read", "calendar.write"]));
            assert_eq!(claims["exp"], claims["iat"].as_u64().unwrap() + LIFETIME);
            assert_eq!(claims.as_object().unwrap().len(), 10);
        }
    }
}
