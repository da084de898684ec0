//! What a monitoring system reads at `/metrics`: how many requests were answered, by route and
//! status. Both are texts of this program: no caller can make one up.

use actix_web::http::StatusCode;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// As OpenMetrics 1.0 wants it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes that are counted by name. The probes of `/health` and `/ready` are not counted.
const ROUTES: [&str; 3] = ["/public", "/protected", "/metrics"];

/// The counts of one server.
pub struct Metrics {
    registry: Registry,
    requests: Family<[(&'static str, String); 2], Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::default();
        let mut registry = Registry::with_prefix("resource_server");
        registry.register(
            "requests",
            "Requests that were answered, by route and status",
            requests.clone(),
        );
        Self { registry, requests }
    }
}

impl Metrics {
    /// Counts an answer. A path that is no route is counted as `other`.
    pub fn count(&self, route: Option<&str>, status: StatusCode) {
        let route = ROUTES.into_iter().find(|name| Some(*name) == route);
        let labels = [
            ("route", route.unwrap_or("other").to_owned()),
            ("status", status.as_u16().to_string()),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    /// All of it, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes everything");
        text
    }
}
