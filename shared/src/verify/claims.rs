//! The inside of a token: what its claims must say (RFC 7519 section 4.1, RFC 9068 section 4).

use std::sync::Arc;

use super::{
    TokenError, VerifiedToken,
    json::{self, Object, Value},
    jws::Jws,
    token::Claims,
};
use crate::ScopeSet;

/// What a verifier expects of a token's claims.
#[derive(Clone)]
pub(super) struct Expected {
    /// With `terse_answers` the URL that is asked.
    pub(super) issuer: Arc<str>,
    /// The issuer is not known, only where it is asked: its answers need not say whose a token is,
    /// nor for whom.
    pub(super) terse_answers: bool,
    pub(super) audience: Arc<str>,
    /// How far the clocks of issuer and service may differ, in seconds.
    pub(super) leeway: u64,
}

/// 9999-12-31T23:59:59Z. A later date is a mistake, and arithmetic on it could overflow.
const LAST_DATE: f64 = 253_402_300_799.0;

const OTHER_ISSUER: &str = "the token is from another issuer: use one issuer URL everywhere, letter by letter \
     (localhost is not 127.0.0.1, and a closing slash counts)";
const OTHER_AUDIENCE: &str = "the token is for another audience: get one whose resource is this service, \
     which WWW-Authenticate names as the realm";
const EXPIRED: &str = "the token has expired: get a new one; when a new one has expired, too, the clock of this \
     service is ahead of the issuer's";
const NOT_YET: &str =
    "the token is not valid yet: the clock of this service is behind the issuer's, set both right";
const FROM_THE_FUTURE: &str = "the token was issued in the future: the clock of this service is behind the issuer's, \
     set both right";

impl Expected {
    /// Reads the claims of a token whose signature was verified. The dates are only read here; see
    /// [`Self::check_dates`].
    pub(super) fn read(&self, jws: &Jws<'_>) -> Result<VerifiedToken, TokenError> {
        let payload = jws.payload();
        let Some(claims) = payload.as_deref().and_then(json::object) else {
            return refuse("the claims of the token cannot be read");
        };
        // A string, not an array that contains it: the issuer is one.
        if claims.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return refuse(OTHER_ISSUER);
        }
        if !is_for(claims.get("aud"), &self.audience) {
            return refuse(OTHER_AUDIENCE);
        }
        // RFC 9449 section 7.2, RFC 8705 section 3: such a token is worth nothing without the
        // proof, and this library does not check proofs.
        if claims.contains_key("cnf") {
            return refuse("the token is bound to a key, so it cannot be sent as a bearer token");
        }
        let Some(expires_at) = date(&claims, "exp", f64::floor)? else {
            return refuse("the token has no exp");
        };
        let Some(subject) = text(&claims, "sub")? else {
            return refuse("the token has no sub");
        };
        Ok(VerifiedToken {
            issuer: self.issuer.clone(),
            subject,
            client_id: text(&claims, "client_id")?,
            audience: self.audience.clone(),
            scopes: scopes(&claims)?,
            expires_at,
            not_before: date(&claims, "nbf", f64::ceil)?,
            issued_at: date(&claims, "iat", f64::floor)?,
            token_id: text(&claims, "jti")?,
            key_id: None,
            claims: Claims::unread(jws.signed),
        })
    }

    /// Reads what an issuer says about an active token (RFC 7662 section 2.2). It was asked, so it
    /// need not sign its name or say an end; without one, the token is good for `unless_said` more
    /// (a moment, in seconds since the Unix epoch), which is when the issuer is asked again.
    pub(super) fn read_answer(
        &self,
        mut claims: Object<'_>,
        unless_said: u64,
    ) -> Result<VerifiedToken, TokenError> {
        if self.terse_answers {
            claims.retain(|value| !says_nothing(value));
        }
        let Some(issuer) = self.issuer_in_answer(&claims)? else {
            return refuse(OTHER_ISSUER);
        };
        let aud = claims.get("aud");
        // RFC 7662 section 4: who is asked must determine whether the token may be used at who asks.
        if !(is_for(aud, &self.audience) || self.terse_answers && aud.is_none()) {
            return refuse(OTHER_AUDIENCE);
        }
        if claims.contains_key("cnf") || !is_bearer(claims.get("token_type")) {
            return refuse("the token is bound to a key, so it cannot be sent as a bearer token");
        }
        // Some servers answer for these as well, and tell them apart with a member of their own.
        if claims.get("token_use").and_then(Value::as_str) == Some("refresh_token") {
            return refuse("the token is a refresh token");
        }
        let client_id = text(&claims, "client_id")?;
        let subject = text(&claims, "sub")?.or_else(|| client_id.clone());
        let Some(subject) = subject.or(self.terse_answers.then(String::new)) else {
            return refuse("the token is nobody's: it has neither sub nor client_id");
        };
        Ok(VerifiedToken {
            issuer,
            subject,
            client_id,
            audience: self.audience.clone(),
            scopes: scopes(&claims)?,
            expires_at: date(&claims, "exp", f64::floor)?.unwrap_or(unless_said),
            not_before: date(&claims, "nbf", f64::ceil)?,
            issued_at: date(&claims, "iat", f64::floor)?,
            token_id: text(&claims, "jti")?,
            key_id: None,
            claims: claims.into(),
        })
    }

    /// Who issued a token, by an answer about it; `None` when that is somebody else.
    fn issuer_in_answer(&self, claims: &Object<'_>) -> Result<Option<Arc<str>>, TokenError> {
        if self.terse_answers {
            let said = text(claims, "iss")?.map(Arc::from);
            return Ok(Some(said.unwrap_or_else(|| self.issuer.clone())));
        }
        let ours = claims
            .get("iss")
            .is_none_or(|iss| iss.as_str() == Some(&*self.issuer));
        Ok(ours.then(|| self.issuer.clone()))
    }

    /// Whether the token is good at `now`, in seconds since the Unix epoch. Asked again each time
    /// that a remembered token comes back.
    pub(super) fn check_dates(&self, token: &VerifiedToken, now: u64) -> Result<(), TokenError> {
        let latest = now + self.leeway;
        // "On or after" `exp` it must not be accepted (RFC 7519 section 4.1.4).
        if now >= token.expires_at + self.leeway {
            refuse(EXPIRED)
        } else if token
            .not_before
            .is_some_and(|not_before| latest < not_before)
        {
            refuse(NOT_YET)
        } else if token.issued_at.is_some_and(|issued_at| latest < issued_at) {
            refuse(FROM_THE_FUTURE)
        } else {
            Ok(())
        }
    }
}

fn refuse<T>(reason: &'static str) -> Result<T, TokenError> {
    Err(TokenError::Invalid(reason))
}

/// Servers that write every member write these for what they have nothing to say about.
fn says_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// `aud` is a string, or an array of nothing but strings (RFC 7519 section 4.1.3).
fn is_for(aud: Option<&Value<'_>>, audience: &str) -> bool {
    match aud {
        Some(Value::Text(one)) => one == audience,
        Some(Value::Array(several)) => {
            let names = || several.iter().map(Value::as_str);
            names().all(|name| name.is_some()) && names().any(|name| name == Some(audience))
        }
        _ => false,
    }
}

/// `token_type`, where an answer has one, is spelled in any case (RFC 6749 section 5.1).
fn is_bearer(token_type: Option<&Value<'_>>) -> bool {
    token_type.is_none_or(|kind| {
        kind.as_str()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
    })
}

/// A `NumericDate` may have a fraction (RFC 7519 section 2); `round` makes the token's life shorter
/// by it.
fn date(claims: &Object<'_>, name: &str, round: fn(f64) -> f64) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) if (0.0..=LAST_DATE).contains(&seconds) =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is positive and far below 2^53"
                )]
                Ok(Some(round(seconds) as u64))
            }
            _ => refuse("a date of the token is not a number of seconds"),
        },
    }
}

/// An empty text names nobody, so it counts as a mistake.
fn text(claims: &Object<'_>, name: &str) -> Result<Option<String>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) if !text.is_empty() => Ok(Some(String::from(&**text))),
        Some(_) => refuse("a claim of the token that must be a text is not"),
    }
}

/// RFC 9068 section 2.2.3 has `scope`, a text; many issuers write `scp`, mostly an array. A token
/// may have both when they say the same. When they do not, nobody knows which one the issuer meant,
/// and taking either could allow what was not granted.
fn scopes(claims: &Object<'_>) -> Result<ScopeSet, TokenError> {
    let scope = claims.get("scope").map(scope_set).transpose()?;
    let Some(scp) = claims.get("scp") else {
        return Ok(scope.unwrap_or_default());
    };
    match scope {
        None => scope_set(scp),
        Some(scope) if lists(scp, &scope) || scope_set(scp)? == scope => Ok(scope),
        Some(_) => refuse("the token's scope and scp contradict each other"),
    }
}

/// Whether these are just the scopes of the set, in its order, as they mostly are.
fn lists(items: &Value<'_>, set: &ScopeSet) -> bool {
    matches!(items, Value::Array(items) if items.iter().map(Value::as_str).eq(set.iter().map(Some)))
}

fn scope_set(value: &Value<'_>) -> Result<ScopeSet, TokenError> {
    let set = match value {
        Value::Text(text) => text.parse().ok(),
        Value::Array(items) => {
            let tokens: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            tokens.and_then(|tokens| ScopeSet::of(tokens).ok())
        }
        _ => None,
    };
    set.ok_or(TokenError::Invalid("the scope of the token cannot be read"))
}
