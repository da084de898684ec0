//! The audit log, for who may read it: an application its own events, an auditor all.

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    web::{Data, Json},
};
use m2m::{
    AnyScope, TokenError,
    actix::refused,
    service::{Authorized, Problem},
};
use serde_json::{Value, json};
use std::future::{Ready, ready};

use super::{Server, query::Parameters};
use crate::{
    audit::{Action, Event, Filter, Recorded},
    connection::Application,
    vault::VaultError,
};

/// Allows to read the events of one's own connections.
const OWN: &str = "audit.read";

/// Allows to read all events.
const ALL: &str = "audit.read.all";

const LONGEST_PAGE: u64 = 1000;

/// Which events, and which page of them. Times are seconds since 1970, both included.
pub(super) struct Wish {
    filter: Filter,
    before: u64,
    limit: u32,
}

impl FromRequest for Wish {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request.query_string()))
    }
}

fn read(query: &str) -> Result<Wish, Problem> {
    const KNOWN: [&str; 9] = [
        "action",
        "application",
        "before",
        "connection",
        "from",
        "limit",
        "service",
        "to",
        "user",
    ];
    const TIMES: std::ops::RangeInclusive<u64> = 0..=253_402_300_799;
    let parameters = Parameters::read(query, KNOWN)?;
    let action = |text: &str| Action::parse(text).ok_or("there is no such action");
    let limit = parameters.number("limit", 1..=LONGEST_PAGE)?.unwrap_or(100);
    Ok(Wish {
        filter: Filter {
            application: parameters.take("application", Application::parse)?,
            user: parameters.user()?,
            service: parameters.service()?,
            account: parameters.account()?,
            action: parameters.take("action", action)?,
            from: parameters.number("from", TIMES)?.map(|from| from * 1000),
            to: parameters.number("to", TIMES)?.map(|to| to * 1000 + 999),
        },
        before: parameters
            .number("before", 1..=u64::MAX)?
            .unwrap_or(u64::MAX),
        limit: u32::try_from(limit).expect("it is at most a thousand"),
    })
}

pub(super) async fn list(
    request: Authorized<AnyScope, Wish>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let Authorized {
        caller,
        input: Wish {
            mut filter,
            before,
            limit,
        },
    } = request;
    let reads_all = caller.scopes().contains(ALL);
    if !reads_all && !caller.scopes().contains(OWN) {
        return Err(refused(
            TokenError::InsufficientScope { required: OWN },
            caller.audience(),
        ));
    }
    let who = server.who(caller)?;
    if !reads_all {
        let own = who.application;
        // Of others there is nothing, whatever they have.
        if filter
            .application
            .replace(own.clone())
            .is_some_and(|asked| asked != own)
        {
            return Ok(Json(json!({"events": [], "next": null})));
        }
    }
    let recorded = server
        .vault
        .desk
        .store
        .events(&filter, before, limit)
        .await
        .map_err(VaultError::from)?;
    let next = recorded
        .last()
        .filter(|_| recorded.len() == limit as usize)
        .map(|last| last.number);
    let events: Vec<_> = recorded.iter().map(shown).collect();
    Ok(Json(json!({"events": events, "next": next})))
}

fn shown(recorded: &Recorded) -> Value {
    let Event {
        at,
        action,
        key,
        actor,
        reason,
    } = &recorded.event;
    json!({
        "number": recorded.number,
        "at": at / 1000,
        "action": action.as_str(),
        "application": key.application.as_str(),
        "user": key.user.as_str(),
        "service": key.service.as_str(),
        "connection": key.account.as_str(),
        "actor": actor.as_deref(),
        "reason": reason,
    })
}
