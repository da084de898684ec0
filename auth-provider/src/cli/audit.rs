//! `auth-provider audit`: a line per event, newest first; with `--follow`, as they come.

use std::{fmt::Write, time::Duration};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Session,
    failure::{Exit, Failure},
    output::{json_text, print, rfc_3339},
    when::{self, When},
};

const NAME: &str = "audit";

/// How many events are shown when nobody says, and how many of them before those that are followed.
const SHOWN: usize = 100;
const SHOWN_BEFORE: usize = 10;

/// How many events a poll asks for at once.
const PAGE: usize = 1000;

const PAUSE: Duration = Duration::from_secs(1);

pub(super) const EXAMPLES: &str = "\
Examples:
  auth-provider audit --client billing --since 2h
  auth-provider audit --action token.refused --follow
  auth-provider audit --request-id 1T0cvQ3xkS9QmV4yPq0c2A";

#[derive(clap::Args)]
pub struct AuditArgs {
    /// Only what was done by this client, or to it
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only what was about this resource
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Only this, as in token.refused or client.created
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what went well, or what was refused
    #[arg(long, value_parser = ["success", "refused"])]
    outcome: Option<String>,
    /// Only this request: its answer named the id
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Only from then on, as in 2h or 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    since: Option<When>,
    /// Only until then
    #[arg(long, value_name = "TIME", value_parser = when::past, conflicts_with = "follow")]
    until: Option<When>,
    /// The newest so many [default: 100, or 10 with --follow; with --since, all]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Go on with what happens next, until Ctrl-C; with --json, an object per line
    #[arg(long)]
    follow: bool,
}

#[derive(Deserialize)]
struct Event {
    number: u64,
    at: i64,
    action: String,
    outcome: String,
    actor: Option<String>,
    client_id: Option<String>,
    resource: Option<String>,
    credential_id: Option<String>,
    reason: Option<String>,
    explanation: Option<String>,
    request_id: Option<String>,
    address: Option<String>,
}

type Query = Vec<(&'static str, Option<String>)>;

pub(super) async fn run(arguments: AuditArgs, session: &Session) -> Result<Exit, Failure> {
    let query = arguments.query(session);
    if arguments.follow {
        return tokio::select! {
            ended = follow(session, &arguments, &query) => ended,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("cannot wait for Ctrl-C")?;
                Ok(Exit::Done)
            }
        };
    }
    let events = session
        .api
        .list(NAME, &query, arguments.limit_or(SHOWN))
        .await?;
    session
        .out
        .show(&session.api, &events.into(), |events: Vec<Event>| {
            events.iter().map(Event::line).collect()
        })?;
    Ok(Exit::Done)
}

async fn follow(session: &Session, arguments: &AuditArgs, query: &Query) -> Result<Exit, Failure> {
    let limit = arguments.limit_or(SHOWN_BEFORE);
    let mut events = session.api.list(NAME, query, limit).await?;
    let mut seen = 0;
    let mut is_lost = false;
    loop {
        events.reverse();
        for event in &events {
            seen = seen.max(number(event));
            print(&line(session, event)?)?;
        }
        tokio::time::sleep(PAUSE).await;
        events = match newer(session, query, seen).await {
            Err(failure) if failure.may_pass() => {
                if !is_lost {
                    eprintln!("auth-provider: {failure}; goes on trying");
                }
                is_lost = true;
                Vec::new()
            }
            events => {
                is_lost = false;
                events?
            }
        };
    }
}

/// What has happened after event number `seen`, newest first.
async fn newer(session: &Session, query: &Query, seen: u64) -> Result<Vec<Value>, Failure> {
    let (mut events, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = session
            .api
            .page(&[NAME], query, PAGE, cursor.as_deref())
            .await?;
        let rows = session.api.rows(&page, "events")?;
        let all = rows.len();
        let new: Vec<_> = rows
            .into_iter()
            .take_while(|event| number(event) > seen)
            .collect();
        let is_last = new.len() < all;
        events.extend(new);
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if is_last || cursor.is_none() {
            return Ok(events);
        }
    }
}

fn number(event: &Value) -> u64 {
    event["number"].as_u64().unwrap_or_default()
}

fn line(session: &Session, event: &Value) -> Result<String, Failure> {
    if session.out.is_json() {
        return Ok(format!("{}\n", json_text(event, false)));
    }
    Ok(session.api.read::<Event>(event)?.line())
}

impl AuditArgs {
    fn query(&self, session: &Session) -> Query {
        let now = session.out.now();
        let time = |when: Option<When>| when.map(|when| when.before(now).to_string());
        vec![
            ("client_id", self.client.clone()),
            ("resource", self.resource.clone()),
            ("action", self.action.clone()),
            ("outcome", self.outcome.clone()),
            ("request_id", self.request_id.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
        ]
    }

    fn limit_or(&self, default: usize) -> Option<usize> {
        let all = self.since.is_some();
        self.limit.or_else(|| (!all).then_some(default))
    }
}

impl Event {
    /// One line: when, what, who, and why.
    fn line(&self) -> String {
        let Self {
            number,
            action,
            outcome,
            ..
        } = self;
        let at = rfc_3339(self.at);
        let mut line = format!("{number}  {at}  {action:<24}  {outcome:<7}");
        match (&self.client_id, &self.resource) {
            (Some(client), Some(resource)) => _ = write!(line, "  {client} -> {resource}"),
            (Some(name), None) | (None, Some(name)) => _ = write!(line, "  {name}"),
            (None, None) => {}
        }
        if let Some(actor) = &self.actor
            && Some(actor) != self.client_id.as_ref()
        {
            _ = write!(line, "  by {actor}");
        }
        let why = [&self.explanation, &self.reason];
        if let Some(why) = why.into_iter().flatten().next() {
            _ = write!(line, "  {why}");
        }
        let details = [
            ("credential", &self.credential_id),
            ("request", &self.request_id),
            ("from", &self.address),
        ];
        let details: Vec<_> = details
            .iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)))
            .collect();
        if !details.is_empty() {
            _ = write!(line, "  ({})", details.join(", "));
        }
        line.push('\n');
        line
    }
}
