//! Tokens in and out.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json},
};
use futures_util::{StreamExt, stream};
use m2m::service::{Problem, read_object};
use serde_json::{Value, json};

use super::{
    Server,
    answers::{self, Form, Found, Withheld},
    bodies::{NewTokens, Sent},
    caller::{About, Read, Who, Write},
    page::{Page, PageOf},
    query::One,
};
use crate::{
    connection::{ConnectionKey, User},
    provider::Provider,
    signed::{self, SignedError},
    vault::{MOST_AT_ONCE, Vault, VaultError},
};

/// How many of a user's connections are looked after at the same time for one request.
const AT_ONCE: usize = 8;

pub(super) async fn store(
    request: About<Write, Sent>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About {
        who,
        provider,
        input,
        ..
    } = request;
    let new = authentic(&server, &who, &provider, input).await?;
    let key = who.key(&provider, new.user.clone(), new.connection.clone());
    let tokens = new.into_tokens(server.vault.desk.clock.now_ms())?;
    let vault = &server.vault;
    vault.store(who.actor(), &provider, &key, &tokens).await?;
    Ok(Json(json!({
        "user": key.user.as_str(),
        "service": key.service.as_str(),
        "connection": key.account.as_str(),
        "expires_at": tokens.expires_at.map(|end| end / 1000),
    })))
}

/// What was sent, with its signature verified where there is one, and refused without one where there must be.
async fn authentic(
    server: &Server,
    who: &Who,
    provider: &Provider,
    sent: Sent,
) -> Result<NewTokens, Problem> {
    let desk = &server.vault.desk;
    match sent {
        Sent::Json(_) if server.signers.must_sign(&who.application) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this application must sign what it stores: send a compact JWS with `application/jwt`",
        )),
        Sent::Json(new) => Ok(new),
        Sent::Signed(jws) => {
            let audiences = [server.audience.as_str(), server.issuer.as_str()];
            let wish = signed::Expected {
                application: &who.application,
                audiences: &audiences,
                service: &provider.service,
                now: desk.clock.now(),
            };
            let request = server.signers.verify(&jws, &wish)?;
            // After the signature, so that a stranger cannot use up somebody's ids.
            let (now, until) = (desk.clock.now_ms(), request.remember_until * 1000);
            let is_new = desk.store.remember(&request.id_hash, now, until).await;
            if !is_new.map_err(VaultError::from)? {
                return Err(SignedError::Replayed.into());
            }
            read_object(&request.body)
        }
    }
}

impl From<SignedError> for Problem {
    fn from(error: SignedError) -> Self {
        Self::bad_request(error.to_string()).oauth_error("invalid_signed_request")
    }
}

pub(super) async fn fetch(
    request: About<Read, One>,
    form: Form,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let About {
        who,
        provider,
        input,
        ..
    } = request;
    let key = who.key(&provider, input.user, input.account);
    let opened = server.vault.fetch(who.actor(), &provider, &key).await?;
    Ok(answers::one(&server, &who, form, &opened))
}

pub(super) async fn fetch_all(
    request: About<Read, PageOf<MOST_AT_ONCE>>,
    form: Form,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let About {
        who,
        provider,
        input: PageOf { user, page },
        ..
    } = request;
    let found = found(&server.vault, &who, &provider, &user, &page).await?;
    let names = (user.as_str(), provider.service.as_str());
    Ok(answers::all(&server, &who, form, names, &found))
}

/// The tokens of a user's connections on one page, and why there are none of the others. One that cannot be had does not
/// withhold the rest.
pub(super) async fn found(
    vault: &Vault,
    who: &Who,
    provider: &Arc<Provider>,
    user: &User,
    page: &Page<MOST_AT_ONCE>,
) -> Result<Found, VaultError> {
    let wish = page.of(&who.application, &provider.service, Some(user));
    let rows = vault.list(&wish).await?;
    let next = page.next(&rows);
    let fetch = |key: ConnectionKey| async move {
        let fetched = vault.fetch(who.actor(), provider, &key).await;
        (key, fetched)
    };
    let mut fetches = stream::iter(rows)
        .map(|row| fetch(row.key))
        .buffered(AT_ONCE);
    let (mut released, mut withheld) = (Vec::new(), Vec::new());
    while let Some((key, fetched)) = fetches.next().await {
        let connection = key.account.to_string();
        match fetched {
            Ok(opened) => released.push(opened),
            Err(VaultError::NotFound) => {} // it was removed meanwhile
            Err(VaultError::NeedsReconnect(broken)) => {
                withheld.push(Withheld::broken(connection, broken));
            }
            Err(VaultError::NotNow { .. }) => {
                withheld.push(Withheld {
                    connection,
                    error: "temporarily_unavailable",
                    reason: None,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Found {
        released,
        withheld,
        next,
    })
}
