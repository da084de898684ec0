//! Connections and how they are, without secrets.

use actix_web::web::{Data, Json};
use m2m::service::Problem;
use serde_json::{Value, json};

use super::{
    Server,
    caller::{About, Read},
    page::Page,
};
use crate::{
    refresh::{Decision, decide},
    storage::Stored,
};

const LONGEST_PAGE: u32 = 1000;

pub(super) async fn list(
    request: About<Read, Page<LONGEST_PAGE>>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About {
        who,
        provider,
        input: page,
        ..
    } = request;
    let wish = page.of(&who.application, &provider.service, page.user.as_ref());
    let rows = server.vault.list(&wish).await?;
    let now = server.vault.desk.clock.now_ms();
    let connections: Vec<_> = rows.iter().map(|row| health(row, now)).collect();
    Ok(Json(
        json!({"connections": connections, "next": page.next(&rows)}),
    ))
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
