//! What a monitoring system reads at `/metrics`: counts and levels, never names.
//!
//! Every value of a label is a text of this program, so that there are few of them and no caller can make one up.

use std::{
    borrow::Cow,
    sync::{OnceLock, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{
    audit::{Action, Event, Outcome},
    registry::Census,
    server::AuthServer,
};

/// As OpenMetrics 1.0 wants it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The counts and levels of one server.
pub struct Metrics {
    registry: Registry,
    events: Family<Labels<3>, Counter>,
    /// What was done, by action: found without a search, since each token counts here.
    done: [OnceLock<Counter>; Action::ALL.len()],
    limited: Family<Labels<1>, Counter>,
    written: Counter,
    failed_writes: Counter,
    last_write: Gauge<f64, AtomicU64>,
    waiting: Gauge,
    revocations: Gauge,
    clients: Family<Labels<1>, Gauge>,
    credentials: Family<Labels<1>, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("auth_provider"),
            events: Family::default(),
            done: [const { OnceLock::new() }; Action::ALL.len()],
            limited: Family::default(),
            written: Counter::default(),
            failed_writes: Counter::default(),
            last_write: Gauge::default(),
            waiting: Gauge::default(),
            revocations: Gauge::default(),
            clients: Family::default(),
            credentials: Family::default(),
        };
        metrics.register();
        metrics.done(Action::TokenIssued); // so that its first increase can be seen
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "events",
            "What the audit log tells of, by action, outcome, and the code of a refusal",
            self.events.clone(),
        );
        registry.register(
            "limited_requests",
            "Requests that a limit refused",
            self.limited.clone(),
        );
        registry.register(
            "audit_written_events",
            "Events of tokens and refusals that were written to the audit log",
            self.written.clone(),
        );
        registry.register(
            "audit_failed_writes",
            "Writes to the audit log that the database did not take",
            self.failed_writes.clone(),
        );
        registry.register_with_unit(
            "audit_last_write",
            "How long the last write to the audit log took",
            Unit::Seconds,
            self.last_write.clone(),
        );
        registry.register(
            "audit_waiting_events",
            "Events that wait to be written to the audit log",
            self.waiting.clone(),
        );
        registry.register(
            "revocations",
            "Entries in the list of revocations",
            self.revocations.clone(),
        );
        registry.register(
            "clients",
            "Clients, by status, as of the last hour",
            self.clients.clone(),
        );
        registry.register(
            "credentials",
            "Credentials that end within the time of the warning, and that have ended and are still there, as of the \
             last hour",
            self.credentials.clone(),
        );
    }

    fn done(&self, action: Action) -> &Counter {
        self.done[action as usize].get_or_init(|| {
            let labels = labels(action, Outcome::Success, "");
            self.events.get_or_create_owned(&labels)
        })
    }

    /// Counts what the audit log is told.
    pub fn count(&self, events: &[Event]) {
        for event in events {
            match (event.outcome, &event.reason) {
                (Outcome::Success, _) => drop(self.done(event.action).inc()),
                (Outcome::Refused, reason) => {
                    // A reason that was not written down in this program is no label.
                    let reason = match reason {
                        Some(Cow::Borrowed(reason)) => reason,
                        _ => "other",
                    };
                    let labels = labels(event.action, Outcome::Refused, reason);
                    self.events.get_or_create(&labels).inc();
                }
            }
        }
    }

    /// The count of what the limit of this name refuses.
    pub fn limited(&self, limit: &'static str) -> Counter {
        self.limited.get_or_create_owned(&[("limit", limit)])
    }

    /// A batch of so many events was written, in so long.
    pub fn wrote(&self, events: usize, took: Duration) {
        self.written.inc_by(events as u64);
        self.last_write.set(took.as_secs_f64());
    }

    /// The database did not take a batch.
    pub fn failed_to_write(&self) {
        self.failed_writes.inc();
    }

    /// What was found when it was looked last.
    pub fn found(&self, census: &Census) {
        for (status, number) in [
            ("active", census.active_clients),
            ("inactive", census.inactive_clients),
        ] {
            let gauge = self.clients.get_or_create(&[("status", status)]);
            gauge.set(level(number));
        }
        for (state, number) in [
            ("ending", census.ending_credentials),
            ("ended", census.ended_credentials),
        ] {
            let gauge = self.credentials.get_or_create(&[("state", state)]);
            gauge.set(level(number));
        }
    }
}

/// All of it, as OpenMetrics text.
pub fn text(server: &AuthServer) -> String {
    let metrics = &server.metrics;
    metrics.waiting.set(level(server.journal.waiting() as u64));
    metrics
        .revocations
        .set(level(server.revocations.len() as u64));
    let mut text = String::new();
    encode(&mut text, &metrics.registry).expect("a String takes everything");
    text
}

fn labels(action: Action, outcome: Outcome, reason: &'static str) -> Labels<3> {
    [
        ("action", action.as_str()),
        ("outcome", outcome.as_str()),
        ("reason", reason),
    ]
}

fn level(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Origin;

    #[test]
    fn a_reason_is_a_label_only_when_it_is_a_text_of_this_program() {
        let metrics = Metrics::default();
        let origin = Origin::server();
        let mut event = Event::refused(Action::TokenRefused, 0, &origin, "invalid_scope", "");
        metrics.count(&[event.clone(), event.clone()]);
        event.reason = Some(Cow::Owned("of a caller".to_owned()));
        metrics.count(&[event, Event::done(Action::KeyRotated, 0, &origin)]);
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        for line in [
            r#"auth_provider_events_total{action="token.issued",outcome="success",reason=""} 0"#,
            r#"auth_provider_events_total{action="key.rotated",outcome="success",reason=""} 1"#,
            r#"auth_provider_events_total{action="token.refused",outcome="refused",reason="invalid_scope"} 2"#,
            r#"auth_provider_events_total{action="token.refused",outcome="refused",reason="other"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("of a caller"), "{text}");
    }
}
