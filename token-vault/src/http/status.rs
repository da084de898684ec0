//! Connections and how they are, without secrets.

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    web::{Data, Json},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::service::Problem;
use serde_json::{Value, json};
use std::future::{Ready, ready};

use super::{
    Server,
    caller::{About, Read},
    query::Parameters,
};
use crate::{
    connection::{Account, User},
    refresh::{Decision, decide},
    storage::{Listing, Stored},
};

const LONGEST_PAGE: u64 = 1000;

/// `?user=…&limit=…&after=…`, all of which may be left out. `after` is what the page before named as `next`.
pub(super) struct Page {
    user: Option<User>,
    limit: u32,
    after: Option<(User, Account)>,
}

impl FromRequest for Page {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = || {
            let parameters = Parameters::read(request.query_string(), &["user", "limit", "after"])?;
            let limit = parameters
                .number("limit", 1..=LONGEST_PAGE)?
                .unwrap_or(LONGEST_PAGE);
            Ok(Self {
                user: parameters.user()?,
                limit: u32::try_from(limit).expect("it is at most a thousand"),
                after: parameters.take("after", |text| {
                    cursor(text).ok_or("write what the page before named as `next`")
                })?,
            })
        };
        ready(read())
    }
}

fn cursor(text: &str) -> Option<(User, Account)> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&json).ok()
}

pub(super) async fn list(
    request: About<Read, Page>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About {
        who,
        provider,
        input: page,
        ..
    } = request;
    let service = &provider.service;
    let wish = Listing {
        application: &who.application,
        service: Some(service),
        user: page.user.as_ref(),
        after: page
            .after
            .map(|(user, account)| (user, service.clone(), account)),
        limit: page.limit,
    };
    let rows = server.vault.list(&wish).await?;
    let now = server.vault.desk.clock.now_ms();
    let next = rows
        .last()
        .filter(|_| rows.len() == page.limit as usize)
        .map(|row| {
            let names = json!([row.key.user.as_str(), row.key.account.as_str()]);
            URL_SAFE_NO_PAD.encode(names.to_string())
        });
    let connections: Vec<_> = rows.iter().map(|row| health(row, now)).collect();
    Ok(Json(json!({"connections": connections, "next": next})))
}

/// A connection's health. Times are seconds since 1970.
fn health(row: &Stored, now: u64) -> Value {
    let seconds = |time: Option<u64>| time.map(|time| time / 1000);
    let mut health = json!({
        "user": row.key.user.as_str(),
        "connection": row.key.account.as_str(),
        "state": state(row, now),
        "expires_at": seconds(row.times.expires_at),
        "stored_at": row.stored_at / 1000,
        "refreshed_at": seconds(row.refreshed_at),
        "last_used_at": seconds(row.last_used.as_ref().map(|(at, _)| *at)),
        "last_used_by": row.last_used.as_ref().map(|(_, by)| by),
    });
    if let Decision::NeedsReconnect(broken) = decide(row, now) {
        health["reason"] = broken.as_str().into();
        health["explanation"] = broken.explanation().into();
        health["since"] =
            seconds(row.broken.map(|(_, since)| since).or(row.times.expires_at)).into();
    } else if row.failures > 0 {
        health["failures"] = row.failures.into();
        health["last_failure"] = row.last_failure.clone().into();
        health["retry_at"] = seconds(row.retry_from).into();
    }
    health
}

fn state(row: &Stored, now: u64) -> &'static str {
    let is_leased = row.leased_until.is_some_and(|until| now < until);
    match decide(row, now) {
        Decision::NeedsReconnect(_) => "needs_reconnect",
        _ if is_leased => "refreshing",
        // It has ended, and the provider gives no new one just now.
        Decision::BackOff { .. } => "retrying",
        _ => "valid",
    }
}
