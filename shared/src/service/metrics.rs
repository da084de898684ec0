//! What a monitoring system reads at `GET /metrics`, the same of every server: how long answers took,
//! and how its verifier fares. Counts and levels, never names: a value of a label is a text of the
//! program.

use std::{fmt, time::Duration};

use actix_web::{HttpResponse, Resource, http::header, web};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::method_not_allowed;
use crate::verify::{Verifier, VerifierStats};

/// As OpenMetrics 1.0 wants it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latencies that are told apart, in seconds: from an answer out of memory to one
/// that nobody waited for.
const BUCKETS: [f64; 14] = [
    0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// How long the answers of one server took. Clones count together.
#[derive(Clone, Debug)]
pub struct HttpMetrics(Family<Answered, Histogram, fn() -> Histogram>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(BUCKETS)))
    }
}

impl HttpMetrics {
    /// Adds `http_server_request_duration_seconds` to what a registry tells: a histogram by `method`,
    /// `route` (its template, or `other` where there is none) and `status`. Its `_count` is the
    /// number of requests.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "http_server_request_duration",
            "Time from a request to the head of its answer, by method, route and status",
            Unit::Seconds,
            self.0.clone(),
        );
    }

    /// `method` and `route` are texts of the program.
    pub(super) fn observe(
        &self,
        method: &'static str,
        route: Option<String>,
        status: u16,
        took: Duration,
    ) {
        let route = route.unwrap_or_else(|| "other".to_owned());
        let labels = Answered {
            method,
            route,
            status,
        };
        self.0.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// Adds to what a registry tells how a verifier fares: see [`VerifierStats`].
pub fn register_verifier(registry: &mut Registry, verifier: Verifier) {
    registry.register_collector(Box::new(OfVerifier(verifier)));
}

/// `GET /metrics`, which tells what is in the [`Registry`] among the application's data. It is open,
/// as `/health` is: a proxy in front decides who sees it.
pub fn metrics_resource() -> Resource {
    web::resource("/metrics")
        .get(tell)
        .route(web::head().to(tell))
        .default_service(method_not_allowed("GET, HEAD"))
}

async fn tell(registry: web::Data<Registry>) -> HttpResponse {
    open_metrics(&registry)
}

/// What is in the registry, as OpenMetrics text.
pub fn open_metrics(registry: &Registry) -> HttpResponse {
    let mut text = String::new();
    encode(&mut text, registry).expect("a String takes everything");
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type(CONTENT_TYPE)
        .body(text)
}

#[derive(Debug)]
struct OfVerifier(Verifier);

impl Collector for OfVerifier {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stats = self.0.stats();
        let VerifierStats {
            from_memory,
            anew,
            key_fetches,
            failed_key_fetches,
            introspections,
            failed_introspections,
            ..
        } = stats;
        counts(
            &mut encoder,
            "verifier_tokens",
            "Tokens that were judged, by whether the verdict was in memory",
            "from",
            [("memory", from_memory), ("anew", anew)],
        )?;
        counts(
            &mut encoder,
            "verifier_key_set_fetches",
            "Fetches of the issuer's keys, by outcome",
            "outcome",
            [
                ("success", key_fetches.saturating_sub(failed_key_fetches)),
                ("failure", failed_key_fetches),
            ],
        )?;
        counts(
            &mut encoder,
            "verifier_introspections",
            "Questions to the issuer about a token, by whether it answered",
            "outcome",
            [
                (
                    "success",
                    introspections.saturating_sub(failed_introspections),
                ),
                ("failure", failed_introspections),
            ],
        )?;
        let Some(feed) = stats.feed else {
            return Ok(());
        };
        level(
            &mut encoder,
            "verifier_feed_current",
            "Whether all revocations are known that the issuer told of within the bound",
            i64::from(feed.is_current),
        )?;
        level(
            &mut encoder,
            "verifier_feed_revocations",
            "Revocations in memory",
            i64::try_from(feed.revocations).unwrap_or(i64::MAX),
        )?;
        let Some(age) = feed.age else {
            return Ok(()); // it was never heard of
        };
        level(
            &mut encoder,
            "verifier_feed_age_seconds",
            "Time since all revocations were known",
            age.as_secs_f64(),
        )
    }
}

fn counts<const N: usize>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    counts: [(&'static str, u64); N],
) -> fmt::Result {
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (value, count) in counts {
        let labels = [(label, value)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn level<N>(encoder: &mut DescriptorEncoder, name: &str, help: &str, level: N) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let gauge = ConstGauge::new(level);
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}
