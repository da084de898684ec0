//! What a caller sends to have tokens kept: JSON, or a compact JWS (RFC 7515) that the calling application signed itself.

use std::pin::Pin;

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::StatusCode, web::Bytes};
use m2m::service::{Problem, media_type, read_body, read_object};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::query::default_account;
use crate::{
    connection::{Account, User},
    secret::{Token, Tokens},
};

/// The most that metadata may be: so many members, so many bytes of JSON.
const METADATA: (usize, usize) = (20, 4096);

/// The most scopes, and the longest of them.
const SCOPES: (usize, usize) = (200, 256);

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// A body as it was sent. Whether a signature is good is judged with the application's keys.
pub(super) enum Sent {
    Json(NewTokens),
    Signed(Bytes),
}

impl FromRequest for Sent {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let is_signed = match media_type(&request).as_deref() {
                Some("application/json") => false,
                Some("application/jwt" | "application/jose") => true,
                _ => {
                    return Err(Problem::new(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        "send JSON with `Content-Type: application/json`, or a compact JWS with `application/jwt`",
                    ));
                }
            };
            let body = read_body(&request, &mut payload)
                .await
                .map_err(|error| Problem::new(error.status(), error.to_string()))?;
            if is_signed {
                return Ok(Self::Signed(body));
            }
            read_object(&body).map(Self::Json)
        })
    }
}

/// Tokens to be kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTokens {
    pub(super) user: User,
    #[serde(default = "default_account")]
    pub(super) connection: Account,
    /// In a signed request it is called `token`.
    #[serde(alias = "token")]
    access_token: Token,
    refresh_token: Option<Token>,
    /// Seconds since 1970.
    expires_at: Option<u64>,
    /// Seconds from now.
    expires_in: Option<u64>,
    refresh_token_expires_at: Option<u64>,
    refresh_token_expires_in: Option<u64>,
    #[serde(default)]
    scopes: Scopes,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// As a list, or as OAuth writes them: separated by spaces.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    List(Vec<String>),
    Text(String),
}

impl Default for Scopes {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl NewTokens {
    /// The tokens, whose ends are reckoned from `now`, in milliseconds since 1970.
    pub(super) fn into_tokens(self, now: u64) -> Result<Tokens, Problem> {
        let scopes = match self.scopes {
            Scopes::List(list) => list,
            Scopes::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
        };
        if scopes.len() > SCOPES.0 || scopes.iter().any(|scope| scope.len() > SCOPES.1) {
            let detail = format!("at most {} scopes of {} bytes each", SCOPES.0, SCOPES.1);
            return Err(Problem::bad_request(detail).field("scopes"));
        }
        let size = serde_json::to_vec(&self.metadata).map_or(usize::MAX, |json| json.len());
        if self.metadata.len() > METADATA.0 || size > METADATA.1 {
            let detail = format!("at most {} members and {} bytes", METADATA.0, METADATA.1);
            return Err(Problem::bad_request(detail).field("metadata"));
        }
        let end = |at, within, field| end(at, within, now, field);
        Ok(Tokens {
            access: self.access_token,
            expires_at: end(self.expires_at, self.expires_in, "expires_at")?,
            refresh_expires_at: end(
                self.refresh_token_expires_at,
                self.refresh_token_expires_in,
                "refresh_token_expires_at",
            )?,
            refresh: self.refresh_token,
            scopes,
            metadata: self.metadata,
        })
    }
}

/// When something ends, in milliseconds since 1970.
fn end(
    at: Option<u64>,
    within: Option<u64>,
    now: u64,
    field: &'static str,
) -> Result<Option<u64>, Problem> {
    let end = match (at, within) {
        (None, None) => return Ok(None),
        (Some(at), None) => Some(at),
        (None, Some(within)) => (now / 1000).checked_add(within),
        (Some(_), Some(_)) => {
            return Err(
                Problem::bad_request("say when it ends, or in how many seconds, not both")
                    .field(field),
            );
        }
    };
    let end = end.filter(|end| *end <= LAST_SECOND);
    let end =
        end.ok_or_else(|| Problem::bad_request("write seconds, up to the year 9999").field(field))?;
    Ok(Some(end * 1000))
}
