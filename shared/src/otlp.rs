//! Spans for a collector of OpenTelemetry, by OTLP over HTTP: one for each request that a server
//! answers, and one for what a program begins by itself.
//!
//! A span has a method, a route's template, a status, a request id and times. What a caller sent is
//! not in it: no path, no query, no header, no body.

use std::{borrow::Cow, env, io, sync::OnceLock, thread, time::Duration};

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{
        Span as _, SpanContext, SpanKind, TraceContextExt, TraceState, Tracer, TracerProvider as _,
    },
};
#[cfg(feature = "actix")]
use opentelemetry::{KeyValue, trace::Status};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider, Span},
};
use tracing::{info, warn};
use url::Url;

use crate::{is_loopback_host, net, trace::TraceContext};

/// Where the collector is, the first that is set. The former is the whole URL, to the latter
/// `/v1/traces` is added.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// Which protocol it speaks, the first that is set.
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

/// How long the collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a program that ends waits for its last spans to arrive.
const LAST_SPANS: Duration = Duration::from_secs(3);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Why spans cannot be exported as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// Spans would cross a network in the clear, or the URL has a password in it.
    #[error(
        "{0} must be https://…, or http://… on this machine, without user name, password, query and \
         fragment; what a collector demands of its callers is said in OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Endpoint(&'static str),
    /// The collector is to be spoken to otherwise.
    #[error("{0} must be http/protobuf, which is also the default: nothing else is spoken here")]
    Protocol(&'static str),
    /// The exporter cannot be set up.
    #[error("cannot set up the export of spans")]
    Exporter(#[from] ExporterBuildError),
    /// Its thread or its client cannot be made.
    #[error("cannot set up the client for the export of spans")]
    Client(#[source] io::Error),
}

/// The export of this program's spans. It ends with [`Self::end`].
#[must_use]
pub struct Export(Option<SdkTracerProvider>);

impl Export {
    /// Starts to export, if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is
    /// set and `OTEL_SDK_DISABLED` is not. `service` is the program's name, unless
    /// `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say another. `OTEL_TRACES_SAMPLER` with
    /// `OTEL_TRACES_SAMPLER_ARG` chooses which traces are recorded that no caller has decided about
    /// (by default all), `OTEL_BSP_…` how spans wait. A program exports once.
    ///
    /// # Errors
    /// When the configuration is unsafe or means something else than HTTP with protobuf.
    pub fn start(service: &str) -> Result<Self, OtlpError> {
        let disabled =
            set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some((name, endpoint)) = first(&ENDPOINTS).filter(|_| !disabled) else {
            return Ok(Self(None));
        };
        let host = check(name, &endpoint)?;
        if let Some((name, protocol)) = first(&PROTOCOLS)
            && protocol != "http/protobuf"
        {
            return Err(OtlpError::Protocol(name));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client().map_err(OtlpError::Client)?)
            .with_protocol(Protocol::HttpBinary)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource(service))
            .build();
        if TRACER.set(provider.tracer("m2m")).is_err() {
            warn!("the export of spans was started before: the first one goes on");
        } else {
            info!("exports spans to {host}");
        }
        Ok(Self(Some(provider)))
    }

    /// Sends what is still to be sent, for three seconds at most.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        // It waits for a thread, which no task may do.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS));
        match ended.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("the last spans may be lost: {error}"),
            Err(error) => warn!("the last spans may be lost: {error}"),
        }
    }
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn first(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, set(name)?)))
}

/// The host that the spans go to, for the log.
fn check(name: &'static str, endpoint: &str) -> Result<String, OtlpError> {
    let url = Url::parse(endpoint).ok().filter(|url| {
        let scheme = url.scheme() == "https" || url.scheme() == "http" && is_loopback_host(url);
        let bare = url.username().is_empty() && url.password().is_none();
        scheme && bare && url.query().is_none() && url.fragment().is_none()
    });
    url.map(|url| url.origin().ascii_serialization())
        .ok_or(OtlpError::Endpoint(name))
}

/// Made on a thread of its own: it waits for its own runtime, which no task may do.
fn client() -> io::Result<reqwest::blocking::Client> {
    let make = || {
        net::blocking_client_builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(io::Error::other)
    };
    let thread = thread::Builder::new().spawn(make)?;
    let panicked = |_| Err(io::Error::other("its thread has panicked"));
    thread.join().unwrap_or_else(panicked)
}

/// As the environment describes this program; what it leaves out is said by the program itself.
fn resource(service: &str) -> Resource {
    let described = Resource::builder().build();
    let name = described.get(&opentelemetry::Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named {
        return described;
    }
    let service = service.to_owned();
    Resource::builder().with_service_name(service).build()
}

/// A span that is told to the collector when it is dropped.
pub(crate) struct OpenSpan(Span);

/// Begins what this program does by itself; `None` when nothing is exported.
pub(crate) fn begin(name: &'static str) -> Option<(OpenSpan, TraceContext)> {
    open(name.into(), SpanKind::Internal, None)
}

/// Begins the answer to a request. Its name is known when it is routed.
#[cfg(feature = "actix")]
pub(crate) fn begin_answer(
    method: &'static str,
    parent: Option<TraceContext>,
) -> Option<(OpenSpan, TraceContext)> {
    open(method.into(), SpanKind::Server, parent)
}

fn open(
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: Option<TraceContext>,
) -> Option<(OpenSpan, TraceContext)> {
    let tracer = TRACER.get()?;
    let context = parent.map_or_else(Context::new, |parent| {
        let (trace_id, parent_id) = parent.parts();
        let flags = TraceFlags::default().with_sampled(parent.sampled());
        Context::new().with_remote_span_context(SpanContext::new(
            TraceId::from_bytes(trace_id),
            SpanId::from_bytes(parent_id),
            flags,
            true,
            TraceState::default(),
        ))
    });
    let span = tracer
        .span_builder(name)
        .with_kind(kind)
        .start_with_context(tracer, &context);
    let own = span.span_context();
    let trace = TraceContext::from_parts(
        own.trace_id().to_bytes(),
        own.span_id().to_bytes(),
        own.is_sampled(),
    );
    Some((OpenSpan(span), trace))
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(feature = "actix")]
impl OpenSpan {
    /// Says what was answered, in the words of OpenTelemetry's conventions for HTTP.
    pub(crate) fn answered(
        &mut self,
        method: &'static str,
        route: Option<&str>,
        status: u16,
        request_id: &str,
    ) {
        let span = &mut self.0;
        if !span.is_recording() {
            return;
        }
        if let Some(route) = route {
            span.update_name(format!("{method} {route}"));
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        span.set_attribute(KeyValue::new("http.request.method", method));
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
        span.set_attribute(KeyValue::new("m2m.request_id", request_id.to_owned()));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_nowhere_in_the_clear_and_a_password_in_the_url_is_refused() {
        for (endpoint, host) in [
            ("https://otel.example.com", Some("https://otel.example.com")),
            (
                "https://otel.example.com:4318/key/v1",
                Some("https://otel.example.com:4318"),
            ),
            ("http://localhost:4318", Some("http://localhost:4318")),
            ("http://[::1]:4318/", Some("http://[::1]:4318")),
            ("http://otel.example.com", None),
            ("http://localhost.example.com:4318", None),
            ("https://me:hunter2@otel.example.com", None),
            ("https://otel.example.com/?key=hunter2", None),
            ("grpc://localhost:4317", None),
            ("localhost:4318", None),
            ("otel", None),
        ] {
            match check("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint) {
                Ok(found) => assert_eq!(Some(found.as_str()), host),
                Err(error) => {
                    assert_eq!(host, None, "{endpoint}");
                    assert!(!error.to_string().contains("hunter2"), "{error}");
                }
            }
        }
    }
}
