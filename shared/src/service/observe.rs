//! What is known of every request of every server: its names in the log, its place in a trace, how
//! long it took and what was answered. What the caller sent is not part of that: neither the path,
//! which a route's template stands for, nor the query.
//!
//! It costs a request two small allocations and a line in a histogram. Ids are made when somebody
//! needs them, and spans when somebody collects them.

use std::time::{Duration, Instant};

use actix_web::{
    Error,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderMap, HeaderName},
    },
};
use tracing::debug;

use super::HttpMetrics;
use crate::trace::{TraceContext, Work};

/// The header of [`crate::trace`], as the type of name that actix-web's headers have.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request that is being answered.
pub(super) struct Observed {
    method: &'static str,
    began: Instant,
    pub(super) work: Work,
    metrics: HttpMetrics,
    #[cfg(feature = "otlp")]
    span: Option<crate::otlp::OpenSpan>,
}

impl Observed {
    pub(super) fn begin(request: &ServiceRequest, metrics: &HttpMetrics) -> Self {
        let method = method(request.method());
        let trace = traceparent(request.headers());
        #[cfg(feature = "otlp")]
        let (span, trace) = match crate::otlp::begin_answer(method, trace) {
            Some((span, own)) => (Some(span), Some(own)),
            None => (None, trace),
        };
        Self {
            method,
            began: Instant::now(),
            work: Work::of(trace),
            metrics: metrics.clone(),
            #[cfg(feature = "otlp")]
            span,
        }
    }

    /// To be called within [`Self::work`].
    pub(super) fn end<B>(self, answer: &Result<ServiceResponse<B>, Error>) {
        let took = self.began.elapsed();
        let (route, status) = match answer {
            Ok(answer) => (answer.request().match_pattern(), answer.status()),
            Err(error) => (None, error.as_response_error().status_code()),
        };
        let (route, status) = (route.map(template), status.as_u16());
        debug!(
            target: "m2m::request",
            method = self.method,
            route,
            status,
            ms = milliseconds(took),
            "answered"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = self.span {
            span.answered(
                self.method,
                route.as_deref(),
                status,
                self.work.request_id(),
            );
        }
        self.metrics.observe(self.method, route, status, took);
    }
}

/// The caller's place in its trace. Two of them are none.
fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(&TRACEPARENT);
    match (values.next(), values.next()) {
        (Some(value), None) => TraceContext::parse(value.to_str().ok()?),
        _ => None,
    }
}

/// A method that a caller made up has no name.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A pattern without what its parameters must look like: of `/event/{id:[1-9][0-9]*}` remains
/// `/event/{id}`.
fn template(pattern: String) -> String {
    if !pattern.contains(':') {
        return pattern;
    }
    let (mut template, mut depth, mut in_rule) = (String::new(), 0_u32, false);
    for c in pattern.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 1 => in_rule = true,
            _ => {}
        }
        in_rule &= depth > 0;
        if !in_rule {
            template.push(c);
        }
    }
    template
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e5).round() / 100.0
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_template_keeps_the_names_and_drops_the_rules() {
        for (pattern, expected) in [
            ("/event", "/event"),
            ("/event/{id}", "/event/{id}"),
            ("/event/{id:[1-9][0-9]{0,15}}", "/event/{id}"),
            ("/{a:.{2}}/b:c/{d:[^{}]*}/e", "/{a}/b:c/{d}/e"),
            ("", ""),
        ] {
            assert_eq!(template(pattern.to_owned()), expected);
        }
    }

    #[test]
    fn one_traceparent_counts_and_several_do_not() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (headers, counts) in [
            (&[][..], false),
            (&[given], true),
            (&[given, given], false),
            (
                &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\u{e9}"],
                false,
            ),
        ] {
            let mut request = TestRequest::default();
            for header in headers {
                request = request.append_header(("Traceparent", *header));
            }
            let request = request.to_srv_request();
            assert_eq!(
                traceparent(request.headers()).is_some(),
                counts,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_method_that_nobody_knows_has_no_name() {
        assert_eq!(method(&Method::GET), "GET");
        let own = Method::from_bytes(b"HUNTER2").unwrap();
        assert_eq!(method(&own), "other");
    }
}
