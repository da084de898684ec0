//! Tokens that no honest program would send. They are made of a real one, so that nothing but the
//! forgery is wrong with them.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::workbench::Token;
use crate::{
    failure::{Failure, Kind},
    token_view::TokenView,
};

/// The parts of a token, to be changed.
pub(super) struct Parts {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    signature: String,
}

impl Parts {
    /// Takes a token apart.
    pub(super) fn of(token: &Token) -> Result<Self, Failure> {
        let opaque = || {
            let message = "the token is no JWT, so there is nothing to forge";
            Failure::new(Kind::Failed, message).hint("see `token_format` of the resource")
        };
        let TokenView { header, claims } = TokenView::decode(token.expose()).ok_or_else(opaque)?;
        let (_, signature) = token.expose().rsplit_once('.').ok_or_else(opaque)?;
        Ok(Self {
            header,
            claims,
            signature: signature.to_owned(),
        })
    }

    /// Puts them together again, with the signature that there was.
    pub(super) fn with_old_signature(&self) -> Token {
        Token::new(format!("{}.{}", self.signed_part(), self.signature))
    }

    /// An "unsecured JWS" (RFC 7515 appendix A.5).
    pub(super) fn unsigned(&self) -> Token {
        Token::new(format!("{}.", self.signed_part()))
    }

    /// Signed with a key that was made a moment ago.
    pub(super) fn signed_with(&self, key: &ForgersKey) -> Token {
        let message = self.signed_part();
        let signature = key
            .0
            .sign(&SystemRandom::new(), message.as_bytes())
            .expect("a P-256 key signs anything");
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Token::new(format!("{message}.{signature}"))
    }

    fn signed_part(&self) -> String {
        let part = |members: &Map<String, Value>| {
            URL_SAFE_NO_PAD.encode(Value::Object(members.clone()).to_string())
        };
        format!("{}.{}", part(&self.header), part(&self.claims))
    }
}

/// A key for ES256 that nobody has ever published.
pub(super) struct ForgersKey(EcdsaKeyPair);

impl ForgersKey {
    pub(super) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self(key.expect("a key can be made"))
    }
}
