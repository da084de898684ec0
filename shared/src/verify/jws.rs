//! The outside of a token: three parts of base64url, and a header that says how it was signed (RFC
//! 7515).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Algorithm, MAX_TOKEN, TokenError,
    json::{self, Value},
};

const NOT_THREE_PARTS: &str = "the token does not have three parts: it was cut short, or is not a JWT; send all of the \
     access_token that the issuer gave";
const UNREADABLE: &str = "the header of the token cannot be read: send the access_token as the issuer gave it, behind one \
     Bearer and without quotes";
const NO_ACCESS_TOKEN: &str = "this is not an access token: its typ is not at+jwt; send the access_token that the token \
     endpoint gave";
pub(super) const ALGORITHM: &str = "the algorithm of the token is not accepted: the issuer signs with a private key, and \
     nobody with a client secret; send the issuer's access_token";

/// A token that was taken apart. Nothing is read or verified yet.
pub(super) struct Jws<'a> {
    /// How it was signed: see [`Header::read`].
    pub(super) header: &'a str,
    /// What was signed: header, dot and payload, as they stand in the token.
    pub(super) signed: &'a str,
    payload: &'a str,
    /// As it stands in the token; [`Self::signature`] has its bytes.
    pub(super) signature: &'a str,
}

/// How a token was signed, as its header says.
pub(super) struct Header {
    /// The header as it stands in the token.
    pub(super) text: Box<str>,
    pub(super) key_id: Arc<str>,
    pub(super) algorithm: Algorithm,
}

/// Strict base64url: no padding, no blanks, and no stray bits at the end, so that bytes have one
/// spelling (RFC 7515 section 2, RFC 4648 section 3.5).
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

impl<'a> Jws<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid("the token is longer than 16 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Invalid(NOT_THREE_PARTS));
        };
        Ok(Self {
            header,
            signed: &token[..token.len() - signature.len() - 1],
            payload,
            signature,
        })
    }

    pub(super) fn payload(&self) -> Option<Vec<u8>> {
        base64(self.payload)
    }

    pub(super) fn signature(&self) -> Option<Vec<u8>> {
        base64(self.signature)
    }
}

impl Header {
    /// Reads the first part of a token.
    ///
    /// Every rule about the header stands here. Members that offer a key of their own (`jku`,
    /// `x5u`, `jwk`, `x5c`) are not looked at: the only keys are the issuer's.
    pub(super) fn read(text: &str) -> Result<Self, TokenError> {
        let refuse = |reason| Err(TokenError::Invalid(reason));
        let header = base64(text);
        let Some(header) = header.as_deref().and_then(json::object) else {
            return refuse(UNREADABLE);
        };

        // First: who signed with a client secret has mostly written `typ: JWT` as well, and that is the lesser mistake.
        let Some(algorithm) = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::named)
        else {
            return refuse(ALGORITHM);
        };
        // RFC 9068 section 4: else an ID token or a client's assertion could pass for an access
        // token.
        let is_access_token = header
            .get("typ")
            .and_then(Value::as_str)
            .is_some_and(|typ| {
                typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
            });
        if !is_access_token {
            return refuse(NO_ACCESS_TOKEN);
        }
        // RFC 7515 section 4.1.11: what is critical must be understood, and no extension is
        // understood here.
        if header.contains_key("crit") {
            return refuse("the token demands an extension that is not supported");
        }
        // RFC 9068 does not demand a kid. This library does: trying one key after the other would
        // tie the token's meaning to the order of the key set.
        let Some(key_id) = header.get("kid").and_then(Value::as_str) else {
            return refuse("the token does not name its key");
        };
        Ok(Self {
            text: text.into(),
            key_id: key_id.into(),
            algorithm,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Change, meddled};

    #[test]
    fn fuzz_a_token_that_is_taken_apart_has_one_spelling() {
        let parts = [
            json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"}),
            json!({"iss": "i"}),
            json!(0),
        ]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let good = parts.join(".");
        assert!(Jws::read(&good).is_ok());
        bolero::check!()
            .with_generator(bolero::produce::<Vec<Change>>().with().len(1_usize..6))
            .for_each(|changes| {
                let Ok(text) = String::from_utf8(meddled(good.as_bytes(), changes)) else {
                    return;
                };
                let Ok(jws) = Jws::read(&text) else {
                    return;
                };
                let (Some(payload), Some(signature)) = (jws.payload(), jws.signature()) else {
                    return;
                };
                let Some(header) = base64(jws.header) else {
                    return;
                };
                let again = [header, payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part));
                assert_eq!(again.join("."), text);
                assert_eq!(
                    text.strip_prefix(jws.signed).unwrap(),
                    [".", &again[2]].concat()
                );
            });
    }
}
