//! What a monitoring system reads at `/metrics`: counts and levels by provider, never names of users or applications.
//!
//! A provider's name comes from the configuration, and every other label is a text of this program, so that no caller can make
//! one up.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{
        EncodeLabelSet, LabelSetEncoder,
        text::{encode, encode_registry},
    },
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{audit::Action, connection::Service, refresh::Outcome, storage::Attention};

/// As OpenMetrics 1.0 wants it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a caller did, at which provider: made for each request, and so of nothing that has to be copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Did {
    service: Service,
    action: Action,
}

impl EncodeLabelSet for Did {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let labels = [
            ("provider", self.service.as_str()),
            ("action", self.action.as_str()),
        ];
        labels.encode(encoder)
    }
}

type Labels<const N: usize> = [(&'static str, String); N];

/// The counts and levels of one server.
pub struct Metrics {
    registry: Registry,
    events: Family<Did, Counter>,
    refreshes: Family<Labels<2>, Counter>,
    latency: Family<Labels<1>, Histogram>,
    in_memory: Gauge,
    attention: Family<Labels<1>, Gauge>,
    attention_age: Family<Labels<1>, Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("token_vault"),
            events: Family::default(),
            refreshes: Family::default(),
            // 10 ms to 10 s.
            latency: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.01, 2.0, 11))
            }),
            in_memory: Gauge::default(),
            attention: Family::default(),
            attention_age: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "events",
            "Stores, releases and removals, by provider",
            self.events.clone(),
        );
        registry.register(
            "refreshes",
            "Attempts to refresh a token, by provider and by what came of them",
            self.refreshes.clone(),
        );
        registry.register_with_unit(
            "refresh_duration",
            "How long an attempt to refresh a token took, by provider",
            Unit::Seconds,
            self.latency.clone(),
        );
        registry.register(
            "connections_in_memory",
            "Opened connections that need not be read again",
            self.in_memory.clone(),
        );
        registry.register(
            "connections_needing_attention",
            "Connections whose users must connect again, by provider",
            self.attention.clone(),
        );
        registry.register_with_unit(
            "oldest_attention",
            "For how long the first of them has needed its user, by provider",
            Unit::Seconds,
            self.attention_age.clone(),
        );
    }

    /// Counts what a caller did.
    pub fn count(&self, service: &Service, action: Action) {
        let did = Did {
            service: service.clone(),
            action,
        };
        self.events.get_or_create(&did).inc();
    }

    /// Counts an attempt to refresh.
    pub fn attempted(&self, service: &Service, outcome: &Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Refreshed => "done",
            Outcome::Failed(failure) => failure.as_str(),
            Outcome::NeedsReconnect(broken) => broken.as_str(),
            Outcome::TooLate => return, // somebody else's attempt
            Outcome::Superseded(_) => "superseded",
        };
        let labels = [
            ("provider", service.to_string()),
            ("outcome", outcome.to_owned()),
        ];
        self.refreshes.get_or_create(&labels).inc();
        let labels = [("provider", service.to_string())];
        self.latency
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Sets how many connections are in memory.
    pub fn set_in_memory(&self, connections: usize) {
        self.in_memory
            .set(connections.try_into().unwrap_or(i64::MAX));
    }

    /// Sets the levels, and gives all and what every server tells as OpenMetrics text. `now` is in
    /// milliseconds since 1970.
    pub fn text(&self, attention: &[Attention], now: u64, common: &Registry) -> String {
        self.attention.clear();
        self.attention_age.clear();
        for Attention {
            service,
            connections,
            since,
        } in attention
        {
            let labels = [("provider", service.to_string())];
            let number = i64::try_from(*connections).unwrap_or(i64::MAX);
            self.attention.get_or_create(&labels).set(number);
            let age = Duration::from_millis(now.saturating_sub(*since));
            self.attention_age
                .get_or_create(&labels)
                .set(age.as_secs_f64());
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.registry).expect("a String takes everything");
        encode(&mut text, common).expect("a String takes everything");
        text
    }
}
