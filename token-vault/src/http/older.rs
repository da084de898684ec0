//! The paths of before: the data stand in the claims of the caller's access token, `sub` (the user), `serviceID` (the
//! connection), `serviceToken`, `applicationID`.
//!
//! The application is the calling client here as well: a token whose `applicationID` says otherwise is refused.

use actix_web::{
    http::StatusCode,
    web::{Data, Json},
};
use m2m::service::Problem;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{
    Server,
    caller::{About, Read, Who, Write},
    page::Page,
    query::default_account,
    tokens::found,
};
use crate::{
    connection::{Account, User},
    secret::{Token, Tokens},
};

pub(super) async fn store(
    request: About<Write, Nothing>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About { who, provider, .. } = request;
    let key = who.key(&provider, user(&who)?, account(&who)?);
    let token: Option<SecretString> = who.token.claim("serviceToken");
    let token = token.ok_or_else(|| missing("serviceToken"))?;
    let token = Token::parse(token).map_err(|error| {
        Problem::bad_request(format!("`serviceToken` does not fit: {error}")).field("serviceToken")
    })?;
    let tokens = Tokens {
        access: token,
        refresh: None,
        expires_at: None,
        refresh_expires_at: None,
        scopes: Vec::new(),
        metadata: Map::new(),
    };
    server
        .vault
        .store(who.actor(), &provider, &key, &tokens)
        .await?;
    Ok(Json(
        json!({"sub": key.user.as_str(), "serviceID": key.account.as_str()}),
    ))
}

pub(super) async fn one(
    request: About<Read, Nothing>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About { who, provider, .. } = request;
    let key = who.key(&provider, user(&who)?, account(&who)?);
    let opened = server.vault.fetch(who.actor(), &provider, &key).await?;
    Ok(Json(shown(key.account.as_str(), opened.access.expose())))
}

pub(super) async fn all(
    request: About<Read, Nothing>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About { who, provider, .. } = request;
    // The first page: this shape has no place for the name of a second.
    let found = found(&server.vault, &who, &provider, &user(&who)?, &Page::first()).await?;
    let shown = found
        .released
        .iter()
        .map(|opened| shown(opened.key.account.as_str(), opened.access.expose()));
    Ok(Json(shown.collect()))
}

/// Whatever a body or a query says here, is not looked at.
pub(super) struct Nothing;

impl actix_web::FromRequest for Nothing {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(_: &actix_web::HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        std::future::ready(Ok(Self))
    }
}

fn shown(account: &str, token: &str) -> Value {
    json!({"serviceID": account, "serviceToken": token})
}

fn user(who: &Who) -> Result<User, Problem> {
    let named: Option<Value> = who.token.claim("applicationID");
    if named.is_some_and(|named| named != who.application.as_str()) {
        let detail = "`applicationID` is not the client that calls: each application has its own connections";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    User::parse(who.token.subject())
        .map_err(|error| Problem::bad_request(error.to_string()).field("sub"))
}

fn account(who: &Who) -> Result<Account, Problem> {
    let Some(named) = who.token.claim::<Value>("serviceID") else {
        return Ok(default_account());
    };
    let named = named.as_str().ok_or_else(|| missing("serviceID"))?;
    Account::parse(named)
        .map_err(|error| Problem::bad_request(error.to_string()).field("serviceID"))
}

fn missing(claim: &'static str) -> Problem {
    Problem::bad_request(format!("the token has no text as its claim `{claim}`")).field(claim)
}
