//! One public key of the issuer, and the one algorithm that it verifies.
//!
//! The algorithm is a property of the key (RFC 8725 section 3.1): what a token's header says can
//! only agree with it. Every key is parsed and checked once, when the set is loaded, and then held
//! ready for use.

use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA256, RsaParameters,
    },
};
use serde_json::Value;

use super::jws;

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1). Only asymmetric ones: what
/// verifies is public, so it must not be able to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// All of them: what a verifier accepts unless configured otherwise.
    pub const ALL: [Self; 4] = [Self::ES256, Self::RS256, Self::PS256, Self::EdDSA];

    /// The name in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::EdDSA => "EdDSA",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// A key of the issuer, ready to verify.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    public: ParsedPublicKey,
}

impl Key {
    /// Reads a JWK (RFC 7517). The error says why the key is of no use here.
    pub(super) fn from_jwk(jwk: &Value) -> Result<Self, &'static str> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            text(name)
                .and_then(jws::base64)
                .ok_or("a part is not base64url")
        };

        let id = text("kid").ok_or("it has no kid, or one that is not a string")?;
        if jwk.get("use").is_some_and(|value| value != "sig") {
            return Err("it is not for signatures");
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations
                .as_array()
                .is_some_and(|list| list.iter().any(|one| one == "verify"))
        {
            return Err("it is not for verifying");
        }
        if jwk.get("d").is_some() {
            return Err("its private part is published, so anybody can sign with it");
        }

        let algorithm = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => Algorithm::ES256,
            (Some("OKP"), Some("Ed25519")) => Algorithm::EdDSA,
            (Some("RSA"), _) if text("alg") == Some("PS256") => Algorithm::PS256,
            (Some("RSA"), _) => Algorithm::RS256,
            _ => return Err("its type or curve is not supported"),
        };
        if jwk.get("alg").is_some_and(|alg| alg != algorithm.name()) {
            return Err("its algorithm is not supported, or not one for its type");
        }

        let public = match algorithm {
            Algorithm::ES256 => p256_key(&bytes("x")?, &bytes("y")?),
            Algorithm::EdDSA => ed25519_key(&bytes("x")?),
            Algorithm::RS256 => rsa_key(&RSA_PKCS1_2048_8192_SHA256, bytes("n")?, bytes("e")?),
            Algorithm::PS256 => rsa_key(&RSA_PSS_2048_8192_SHA256, bytes("n")?, bytes("e")?),
        };
        Ok(Self {
            id: id.to_owned(),
            algorithm,
            public: public
                .ok_or("it is no valid key of at least 2048 bits (RSA) on its curve (EC)")?,
        })
    }

    /// Whether `signature` is this key's under `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.algorithm == other.algorithm
            && self.public.as_ref() == other.public.as_ref()
    }
}

/// The coordinates have their full length (RFC 7518 section 6.2.1.2); the parser checks that they
/// are a point of the curve.
fn p256_key(x: &[u8], y: &[u8]) -> Option<ParsedPublicKey> {
    if x.len() != 32 || y.len() != 32 {
        return None;
    }
    let point = [&[4], x, y].concat();
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
}

fn ed25519_key(x: &[u8]) -> Option<ParsedPublicKey> {
    if x.len() != 32 {
        return None;
    }
    ParsedPublicKey::new(&ED25519, x).ok()
}

/// RFC 7518 section 3.3: 2048 bits or larger. An even or tiny exponent is no RSA key at all.
fn rsa_key(parameters: &'static RsaParameters, n: Vec<u8>, e: Vec<u8>) -> Option<ParsedPublicKey> {
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let exponent_is_sound = e.last()? % 2 == 1 && e != [1];
    if !(2048..=8192).contains(&bits) || !exponent_is_sound {
        return None;
    }
    PublicKeyComponents { n, e }
        .to_parsed_public_key(parameters)
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // RFC 7515 appendix A.3.1 and A.2.1, RFC 8037 appendix A.2.
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const N: &str = "\
        ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEz\
        P1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf6\
        3kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Zw\
        Kh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW\
        yuXpoQ";

    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": X, "y": Y})
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    #[test]
    fn the_key_fixes_the_algorithm() {
        let rsa = json!({"kty": "RSA", "kid": "k", "n": N, "e": "AQAB"});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": ED});
        for (jwk, algorithm) in [
            (ec(), Algorithm::ES256),
            (with(ec(), "alg", json!("ES256")), Algorithm::ES256),
            (with(ec(), "use", json!("sig")), Algorithm::ES256),
            (with(ec(), "key_ops", json!(["verify"])), Algorithm::ES256),
            (rsa.clone(), Algorithm::RS256),
            (with(rsa.clone(), "alg", json!("RS256")), Algorithm::RS256),
            (with(rsa, "alg", json!("PS256")), Algorithm::PS256),
            (ed, Algorithm::EdDSA),
        ] {
            match Key::from_jwk(&jwk) {
                Ok(key) => assert_eq!(key.algorithm, algorithm, "{jwk}"),
                Err(reason) => panic!("{jwk}: {reason}"),
            }
        }
    }

    #[test]
    fn a_key_that_cannot_be_trusted_is_of_no_use() {
        let short_n = &N[..171]; // 1024 bits
        for jwk in [
            json!(null),
            json!("key"),
            json!({}),
            with(ec(), "kid", json!(1)),
            with(ec(), "kid", json!(null)),
            with(ec(), "use", json!("enc")),
            with(ec(), "use", json!(7)),
            with(ec(), "key_ops", json!(["sign"])),
            with(ec(), "key_ops", json!("verify")),
            with(
                ec(),
                "d",
                json!("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"),
            ),
            with(ec(), "alg", json!("ES384")),
            with(ec(), "alg", json!("HS256")),
            with(ec(), "alg", json!("RS256")),
            with(ec(), "alg", json!(256)),
            with(ec(), "crv", json!("P-384")),
            with(ec(), "crv", json!("secp256k1")),
            with(ec(), "x", json!(Y)), // not on the curve
            with(ec(), "x", json!(&X[..42])),
            with(ec(), "x", json!(format!("{X}="))),
            with(ec(), "y", json!(null)),
            json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ"}),
            json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0"}),
            json!({"kty": "RSA", "kid": "k", "n": short_n, "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "k", "n": "", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "k", "n": N, "e": ""}),
            json!({"kty": "RSA", "kid": "k", "n": N, "e": "AQ"}),
            json!({"kty": "RSA", "kid": "k", "n": N, "e": "Ag"}),
            json!({"kty": "RSA", "kid": "k", "n": N, "e": "AQAB", "alg": "RS512"}),
            json!({"kty": "OKP", "crv": "Ed448", "kid": "k", "x": ED}),
            json!({"kty": "OKP", "crv": "X25519", "kid": "k", "x": ED}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "k", "pub": "AAAA"}),
        ] {
            assert!(Key::from_jwk(&jwk).is_err(), "{jwk}");
        }
    }
}
