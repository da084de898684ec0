//! What is inside a token, for people who want to learn from it.
//!
//! This decodes and does not verify: the assistant is the one who carries the token, and whether
//! it holds is for the service to say. A client must not act on what it reads here; this program
//! only shows it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Zoned;
use serde_json::{Map, Value};

use crate::when;

/// One member of the header or of the claims, with what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Its name in the token.
    pub name: String,
    /// Its value, for people.
    pub value: String,
    /// What it is for.
    pub meaning: &'static str,
}

/// The two readable parts of a JWT. The signature is left out: it says nothing to a reader.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenView {
    /// How the token is signed (RFC 7515 section 4).
    pub header: Map<String, Value>,
    /// What the issuer says (RFC 7519 section 4, RFC 9068 section 2.2).
    pub claims: Map<String, Value>,
}

impl TokenView {
    /// Decodes a token. `None` when it is no JWT: such a token is opaque, only its issuer reads it.
    pub fn decode(token: &str) -> Option<Self> {
        let mut parts = token.split('.').map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice(&bytes).ok()
        });
        Some(Self {
            header: parts.next()??,
            claims: parts.next()??,
        })
    }

    /// The header's members in the order in which they are best read.
    pub fn explain_header(&self) -> Vec<Explained> {
        explain(&self.header, HEADER)
    }

    /// The claims in the order in which they are best read; times are shown in the zone of `now`.
    pub fn explain_claims(&self, now: &Zoned) -> Vec<Explained> {
        explain(&self.claims, CLAIMS)
            .into_iter()
            .map(|mut claim| {
                if ["exp", "nbf", "iat"].contains(&claim.name.as_str())
                    && let Some(seconds) = self.claims[&claim.name].as_i64()
                {
                    claim.value = moment(seconds, now);
                }
                claim
            })
            .collect()
    }
}

type Meanings = [(&'static str, &'static str)];

const HEADER: &Meanings = &[
    ("alg", "how it is signed; verifiers go by their own list"),
    ("kid", "which key of the issuer's key set signed it"),
    ("typ", "an access token, not to be taken for an ID token"),
];

const CLAIMS: &Meanings = &[
    (
        "iss",
        "who issued it; a verifier fetches the keys from there",
    ),
    (
        "sub",
        "whom it speaks for: here the client itself, no person",
    ),
    ("client_id", "who asked for it"),
    ("aud", "the one service that may accept it"),
    ("scope", "what it allows, separated by spaces"),
    ("scp", "the same as a list, for libraries that expect one"),
    ("iat", "when it was issued"),
    ("nbf", "not valid before"),
    ("exp", "not valid from then on"),
    ("jti", "its own name, so that this one token can be revoked"),
];

fn explain(members: &Map<String, Value>, meanings: &Meanings) -> Vec<Explained> {
    let known = meanings
        .iter()
        .filter_map(|(name, meaning)| Some((*name, members.get(*name)?, *meaning)));
    let other = members
        .iter()
        .filter(|(name, _)| meanings.iter().all(|(known, _)| known != name))
        .map(|(name, value)| (name.as_str(), value, "added by the issuer's configuration"));
    known
        .chain(other)
        .map(|(name, value, meaning)| Explained {
            name: name.to_owned(),
            value: plain(value),
            meaning,
        })
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn moment(seconds: i64, now: &Zoned) -> String {
    let shown = when::show(seconds.saturating_mul(1000), now.time_zone());
    let away = seconds.saturating_sub(now.timestamp().as_second());
    let distance = when::show_countdown(away.unsigned_abs());
    match away {
        0 => format!("{seconds} ({shown}, now)"),
        1.. => format!("{seconds} ({shown}, in {distance})"),
        _ => format!("{seconds} ({shown}, {distance} ago)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{Timestamp, tz::TimeZone};
    use serde_json::json;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    #[test]
    fn a_token_is_explained_member_by_member() {
        let now = Timestamp::from_second(1_795_255_200)
            .unwrap()
            .to_zoned(TimeZone::UTC);
        let at = now.timestamp().as_second();
        let claims =
            json!({"aud": "note-service", "exp": at + 90, "iat": at, "tier": 3, "nbf": at - 5});
        let view = TokenView::decode(&token(&json!({"typ": "at+jwt", "alg": "ES256"}), &claims));
        let view = view.unwrap();
        let names = |list: &[Explained]| {
            let names: Vec<String> = list
                .iter()
                .map(|e| format!("{}={}", e.name, e.value))
                .collect();
            names.join("; ")
        };
        assert_eq!(names(&view.explain_header()), "alg=ES256; typ=at+jwt");
        assert_eq!(
            names(&view.explain_claims(&now)),
            "aud=note-service; \
             iat=1795255200 (Sat 21 Nov 2026 10:00, now); \
             nbf=1795255195 (Sat 21 Nov 2026 09:59, 00:05 ago); \
             exp=1795255290 (Sat 21 Nov 2026 10:01, in 01:30); \
             tier=3"
        );
    }

    #[test]
    fn what_is_no_jwt_is_opaque() {
        for text in ["", "m2m_at_abc", "a.b.c", "e30", "e30.W10.x", "e30.%%%.x"] {
            assert_eq!(TokenView::decode(text), None, "{text:?}");
        }
    }
}
