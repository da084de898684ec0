//! What a monitoring system reads at `/metrics`: counts and levels, never names.
//!
//! Every value of a label is a text of this program, so that there are few of them and no caller can make one up.

use std::{
    borrow::Cow,
    sync::{OnceLock, atomic::AtomicU64},
    time::Duration,
};

use m2m::{service::HttpMetrics, verify::Algorithm};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use crate::{
    audit::{Action, Event, Outcome},
    keys::KeyState,
    registry::Census,
    server::AuthServer,
    startup::MAX_FOLLOWERS,
};

/// Upper bounds of what the database takes, in seconds.
const BUCKETS: [f64; 13] = [
    0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// What the database is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading a client that is not in memory; the wait for others who read is part of it.
    Client,
    /// A change of clients, grants, keys or resources.
    Change,
    /// Writing to the audit log.
    Audit,
    /// Bringing what other replicas changed into memory.
    Poll,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Client, Self::Change, Self::Audit, Self::Poll];

    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Change => "change",
            Self::Audit => "audit",
            Self::Poll => "poll",
        }
    }
}

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The counts and levels of one server.
pub struct Metrics {
    registry: Registry,
    /// What is known of each request.
    pub http: HttpMetrics,
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
    introspections: Family<Labels<1>, Counter>,
    /// Of those, the ones about active tokens: found without a search.
    active: Counter,
    lookups: Family<Labels<1>, Counter>,
    /// Of those, the ones that cost no read: found without a search, since each token counts here.
    in_memory: Counter,
    followers: Gauge,
    lag: Gauge<f64, AtomicU64>,
    keys: Family<Labels<2>, Gauge>,
    next_rotation: Family<Labels<1>, Gauge>,
    database: Family<Labels<1>, Histogram, fn() -> Histogram>,
    database_failures: Family<Labels<1>, Counter>,
    connections: Family<Labels<1>, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let (lookups, introspections) = (Family::default(), Family::default());
        let mut metrics = Self {
            registry: Registry::default(),
            http: HttpMetrics::default(),
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
            active: introspections.get_or_create_owned(&[("outcome", "active")]),
            introspections,
            in_memory: lookups.get_or_create_owned(&[("from", "memory")]),
            lookups,
            followers: Gauge::default(),
            lag: Gauge::default(),
            keys: Family::default(),
            next_rotation: Family::default(),
            database: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            database_failures: Family::default(),
            connections: Family::default(),
        };
        metrics.register();
        metrics.register_levels();
        // So that their first increase can be seen.
        metrics.done(Action::TokenIssued);
        for operation in Operation::ALL {
            let labels = [("operation", operation.name())];
            drop(metrics.database_failures.get_or_create(&labels));
        }
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        self.http.register(&mut self.registry);
        let registry = self.registry.sub_registry_with_prefix("auth_provider");
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
        registry.register(
            "introspections",
            "Questions about a token, by whether it was told to be active",
            self.introspections.clone(),
        );
        registry.register(
            "client_lookups",
            "Clients that were looked for, by whether they were in memory",
            self.lookups.clone(),
        );
        registry.register_with_unit(
            "database_duration",
            "Time that the database was waited for, by what it was to do",
            Unit::Seconds,
            self.database.clone(),
        );
        registry.register(
            "database_failures",
            "What the database did not do, by what that was",
            self.database_failures.clone(),
        );
    }

    /// Those that are looked up when somebody reads them.
    fn register_levels(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("auth_provider");
        registry.register(
            "database_connections",
            "Connections to the database, by state",
            self.connections.clone(),
        );
        registry.register(
            "feed_followers",
            "Connections that follow the revocations",
            self.followers.clone(),
        );
        registry.register_with_unit(
            "feed_lag",
            "Time since all that other replicas did was known here, and told to those who follow",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "signing_keys",
            "Signing keys, by algorithm and state",
            self.keys.clone(),
        );
        registry.register_with_unit(
            "next_key_rotation_timestamp",
            "When the next key of an algorithm shall sign, since the Unix epoch, in the past when it is overdue",
            Unit::Seconds,
            self.next_rotation.clone(),
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
        self.took(Operation::Audit, took);
    }

    /// The database did not take a batch.
    pub fn failed_to_write(&self) {
        self.failed_writes.inc();
        self.failed(Operation::Audit);
    }

    /// Somebody asked about a token.
    pub fn introspected(&self, active: bool) {
        if active {
            self.active.inc();
        } else {
            let inactive = [("outcome", "inactive")];
            self.introspections.get_or_create(&inactive).inc();
        }
    }

    /// A client was known.
    pub fn found_in_memory(&self) {
        self.in_memory.inc();
    }

    /// A client has to be read.
    pub async fn read_client<T, E>(
        &self,
        reading: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.lookups.get_or_create(&[("from", "database")]).inc();
        self.timed(Operation::Client, reading).await
    }

    /// Counts how long the database takes for something, or that it does not do it.
    pub async fn timed<T, E>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let outcome = work.await;
        match outcome {
            Ok(_) => self.took(operation, begun.elapsed()),
            Err(_) => self.failed(operation),
        }
        outcome
    }

    fn took(&self, operation: Operation, took: Duration) {
        let labels = [("operation", operation.name())];
        let histogram = self.database.get_or_create(&labels);
        histogram.observe(took.as_secs_f64());
    }

    fn failed(&self, operation: Operation) {
        let labels = [("operation", operation.name())];
        self.database_failures.get_or_create(&labels).inc();
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

impl Metrics {
    /// Everything, with the levels as they are now.
    pub fn of(server: &AuthServer) -> &Registry {
        let metrics = &server.metrics;
        metrics.waiting.set(level(server.journal.waiting() as u64));
        let revocations = server.revocations.len();
        metrics.revocations.set(level(revocations as u64));
        let behind = server.contact.behind().unwrap_or_default();
        metrics.lag.set(behind.as_secs_f64());
        let followers = MAX_FOLLOWERS - server.followers.available_permits();
        metrics.followers.set(level(followers as u64));
        let connections = server.store.connections();
        for (state, number) in [("busy", connections.busy), ("idle", connections.idle)] {
            let gauge = metrics.connections.get_or_create(&[("state", state)]);
            gauge.set(number.into());
        }
        metrics.look_at_keys(server);
        &metrics.registry
    }

    fn look_at_keys(&self, server: &AuthServer) {
        let census = server.keys.census();
        for (algorithm, next) in &census.next_rotations {
            for state in ["announced", "active", "retired", "compromised"] {
                let same = |key: &&(Algorithm, KeyState)| {
                    key.0 == *algorithm && state_of(key.1) == Some(state)
                };
                let number = census.states.iter().filter(same).count();
                let labels = [("alg", algorithm.name()), ("state", state)];
                self.keys.get_or_create(&labels).set(level(number as u64));
            }
            let gauge = self
                .next_rotation
                .get_or_create(&[("alg", algorithm.name())]);
            gauge.set(level(*next));
        }
    }
}

fn state_of(key: KeyState) -> Option<&'static str> {
    match key {
        KeyState::Announced { .. } => Some("announced"),
        KeyState::Active { .. } => Some("active"),
        KeyState::Retired { .. } => Some("retired"),
        KeyState::Compromised { .. } => Some("compromised"),
        KeyState::Deleted => None,
    }
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
    use prometheus_client::encoding::text::encode;

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
