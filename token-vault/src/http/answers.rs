//! What a caller gets: tokens as JSON, or, who asks for `application/jwt`, as a JWT that the vault signs for this caller alone.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    future::{Ready, ready},
    sync::Arc,
};

use super::{Server, caller::Who};
use crate::{connection::Broken, own_keys::LIFETIME, random::random_id, vault::Opened};

/// The form in which a caller wants its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Jwt,
}

impl FromRequest for Form {
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let accepted = request
            .headers()
            .get_all(ACCEPT)
            .filter_map(|value| value.to_str().ok());
        let mut ranges = accepted.flat_map(|value| value.split(','));
        let is_jwt = |range: &str| {
            let essence = range.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/jwt")
        };
        ready(Ok(if ranges.any(is_jwt) {
            Self::Jwt
        } else {
            Self::Json
        }))
    }
}

/// A connection with its token.
#[derive(Serialize)]
pub(super) struct Released<'a> {
    user: &'a str,
    service: &'a str,
    connection: &'a str,
    access_token: &'a str,
    /// Seconds since 1970; left out: it does not end, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    scopes: &'a [String],
    metadata: &'a Map<String, Value>,
}

/// A connection that gives no token.
#[derive(Serialize)]
pub(super) struct Withheld {
    pub(super) connection: String,
    /// `needs_reconnect` or `temporarily_unavailable`.
    pub(super) error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
}

impl Withheld {
    pub(super) fn broken(connection: String, broken: Broken) -> Self {
        Self {
            connection,
            error: "needs_reconnect",
            reason: Some(broken.as_str()),
        }
    }
}

impl<'a> From<&'a Opened> for Released<'a> {
    fn from(opened: &'a Opened) -> Self {
        Self {
            user: opened.key.user.as_str(),
            service: opened.key.service.as_str(),
            connection: opened.key.account.as_str(),
            access_token: opened.access.expose(),
            expires_at: opened.expires_at.map(|end| end / 1000),
            scopes: opened.scopes(),
            metadata: opened.metadata(),
        }
    }
}

/// The answer with one token.
pub(super) fn one(server: &Server, who: &Who, form: Form, opened: &Opened) -> HttpResponse {
    if form == Form::Json {
        return json_of(opened);
    }
    let mut claims = claims(
        server,
        who,
        opened.key.user.as_str(),
        opened.key.service.as_str(),
    );
    claims["connection"] = opened.key.account.as_str().into();
    claims["token"] = opened.access.expose().into();
    if let Some(end) = opened.expires_at {
        claims["token_expires_at"] = (end / 1000).into();
    }
    jwt(server, &claims)
}

/// Most answers are this one: it is written into one piece of memory that need not grow.
fn json_of(opened: &Opened) -> HttpResponse {
    let mut text = Vec::with_capacity(opened.access.length() + 384);
    serde_json::to_writer(&mut text, &Released::from(opened))
        .expect("texts and numbers can be written");
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(text)
}

/// The connections of a user on one page.
pub(super) struct Found {
    pub(super) released: Vec<Arc<Opened>>,
    pub(super) withheld: Vec<Withheld>,
    /// What names the next page.
    pub(super) next: Option<String>,
}

/// The answer with all tokens of a user, and those that cannot be had.
pub(super) fn all(
    server: &Server,
    who: &Who,
    form: Form,
    (user, service): (&str, &str),
    found: &Found,
) -> HttpResponse {
    let released = found
        .released
        .iter()
        .map(|opened| Released::from(opened.as_ref()));
    let released: Vec<_> = released.collect();
    if form == Form::Json {
        return HttpResponse::Ok().json(json!({
            "connections": released, "unavailable": found.withheld, "next": found.next,
        }));
    }
    let mut claims = claims(server, who, user, service);
    claims["connections"] = json!(released);
    claims["unavailable"] = json!(found.withheld);
    claims["next"] = json!(found.next);
    jwt(server, &claims)
}

fn claims(server: &Server, who: &Who, user: &str, service: &str) -> Value {
    let now = server.vault.desk.clock.now();
    json!({
        "iss": server.issuer,
        "aud": who.application.as_str(),
        "sub": user,
        "service": service,
        "iat": now,
        "exp": now + LIFETIME,
        "jti": random_id(),
    })
}

fn jwt(server: &Server, claims: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/jwt"))
        .body(server.own_keys.sign(claims))
}
