//! Looking on: a program can be told of each HTTP exchange that this library makes for it, to show
//! to people who want to see what goes on.
//!
//! ```
//! # async fn example(tokens: m2m::TokenSource, http: reqwest::Client) -> Result<(), m2m::SendError> {
//! let print = |seen: m2m::watch::Exchange| println!("{} {} {:?}", seen.method, seen.url, seen.status);
//! let notes = http.get("https://notes.example.com/note");
//! let answer = m2m::watch::watched(print, tokens.send(notes, &["note.read"], "notes")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing secret is told: no body, and of a header with credentials only the scheme. Told of are
//! requests for tokens, metadata, key sets and verdicts about tokens, those of
//! [`TokenSource::send`](crate::TokenSource::send), and what is begun behind the callers meanwhile.
//! The revocation feed, which lives for as long as its verifier, is not.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Request, Response,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use url::Url;

/// A request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// Such as `GET`.
    pub method: String,
    /// What was asked, without a user and a password.
    pub url: Url,
    /// Names in lower case, with what may be shown of the values.
    pub request_headers: Vec<(String, String)>,
    /// `None` when nobody answered.
    pub status: Option<u16>,
    /// As [`Self::request_headers`].
    pub response_headers: Vec<(String, String)>,
    /// From the request to the head of its answer.
    pub took: Duration,
}

/// Whom to tell.
#[derive(Clone)]
pub(crate) struct Watcher(Arc<dyn Fn(Exchange) + Send + Sync>);

tokio::task_local! {
    static WATCHER: Watcher;
}

/// Runs `future`, and tells `tell` of each exchange when its answer is there. It is called where the
/// request is made, so it should be quick.
pub async fn watched<F: Future>(
    tell: impl Fn(Exchange) + Send + Sync + 'static,
    future: F,
) -> F::Output {
    Watcher(Arc::new(tell)).scope(future).await
}

impl Watcher {
    pub(crate) fn current() -> Option<Self> {
        WATCHER.try_with(Self::clone).ok()
    }

    pub(crate) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        WATCHER.scope(self, future)
    }
}

/// An exchange that is under way.
pub(crate) struct Begun {
    watcher: Watcher,
    exchange: Exchange,
    at: Instant,
}

/// Notes down a request, if anybody looks on.
pub(crate) fn begin(request: &Request) -> Option<Begun> {
    let watcher = Watcher::current()?;
    let mut url = request.url().clone();
    // A URL of http always has a place for both.
    let _ = (url.set_username(""), url.set_password(None));
    Some(Begun {
        watcher,
        exchange: Exchange {
            method: request.method().to_string(),
            url,
            request_headers: shown(request.headers()),
            status: None,
            response_headers: Vec::new(),
            took: Duration::ZERO,
        },
        at: Instant::now(),
    })
}

impl Begun {
    /// Tells of the exchange.
    pub(crate) fn end(mut self, answer: Option<&Response>) {
        self.exchange.took = self.at.elapsed();
        if let Some(answer) = answer {
            self.exchange.status = Some(answer.status().as_u16());
            self.exchange.response_headers = shown(answer.headers());
        }
        (self.watcher.0)(self.exchange);
    }
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let secret = [
        AUTHORIZATION.as_str(),
        "proxy-authorization",
        "cookie",
        "set-cookie",
    ];
    let show = |name: &str, value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if !value.is_sensitive() && !secret.contains(&name) {
            return text;
        }
        match text.split_once(' ') {
            Some((scheme @ ("Basic" | "Bearer"), _)) => format!("{scheme} …"),
            _ => "…".to_owned(),
        }
    };
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), show(name.as_str(), value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_header_with_credentials_only_the_scheme_is_shown() {
        let mut hidden = HeaderValue::from_static("m2m_cs_1");
        hidden.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer eyJ0"));
        headers.insert("cookie", HeaderValue::from_static("a=b"));
        headers.insert("x-key", hidden);
        let shown = shown(&headers);
        let mut shown: Vec<_> = shown
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "accept: application/json",
                "authorization: Bearer …",
                "cookie: …",
                "x-key: …"
            ]
        );
    }
}
