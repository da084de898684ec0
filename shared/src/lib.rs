//! `m2m`: what a service needs to take part in machine-to-machine calls with OAuth 2.0.
//!
//! It has two halves, which can be used apart, and it speaks only the standards, so any issuer will
//! do that has a key set and signs access tokens as RFC 9068 has them.
//!
//! # Accept tokens
//!
//! One [`Verifier`] for the whole service. It needs the issuer's URL and the service's own name,
//! finds the keys through the issuer's metadata (RFC 8414), and keeps them through an outage.
//!
//! ```no_run
//! use m2m::{TokenError, Verifier};
//!
//! # async fn example(bearer: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder("https://auth.example.com").audience("calendar").build()?;
//! verifier.ready().await; // waits for the issuer
//!
//! let token = verifier.verify(bearer).await?;
//! if !token.scopes().contains("calendar.read") {
//!     return Err(TokenError::InsufficientScope { required: "calendar.read" }.into());
//! }
//! println!("{} may read the calendar", token.subject());
//! # Ok(())
//! # }
//! ```
//!
//! ## Tokens that were taken back
//!
//! A signed token is good until it expires, unless the verifier hears otherwise. How it hears is
//! one line of the builder, and handlers do not notice the difference:
//!
//! | [`Revocation`] | a revoked token is refused | each request costs | while the issuer is down |
//! |---|---|---|---|
//! | `None` | when it expires | nothing | tokens are verified with the keys that are held |
//! | `Feed` | in a fraction of a second | a lookup | the same; after 30 s as [`WhenStale`] says |
//! | `Introspection` | within 10 s | a question every 10 s and token | 503 |
//!
//! With the service's own credentials the verifier follows the feed, if the issuer offers one. That
//! is the choice for signed tokens. Introspection is for opaque ones, and for issuers without a
//! feed (any with RFC 7662 will do; where only the URL to ask at is known, begin with
//! [`Verifier::introspecting`]).
//!
//! ```
//! use m2m::{Revocation, Verifier, WhenStale, verify::Feed};
//!
//! let verifier = Verifier::builder("https://auth.example.com")
//!     .audience("payments")
//!     .client_from_file("clients.json", "payments")
//!     // Rather no payment than one with a token that may have been revoked:
//!     .revocation(Revocation::Feed(Feed {
//!         when_stale: WhenStale::FailClosed,
//!         ..Feed::default()
//!     }))
//!     .build()?;
//! # Ok::<(), m2m::ConfigError>(())
//! ```
//!
//! In actix-web the scope stands in the handler's signature, and the refusals are made for you:
//! see the module `actix`.
//!
//! # Ask for tokens
//!
//! One [`TokenSource`] for the whole program. It holds a token for each resource and renews it
//! ahead of its end.
//!
//! ```no_run
//! use m2m::TokenSource;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let http = m2m::http_client(std::time::Duration::from_secs(10));
//! let secret = std::env::var("CLIENT_SECRET")?;
//! let tokens = TokenSource::client_secret("https://auth.example.com", "assistant", secret)?;
//!
//! let events = http.get("https://calendar.example.com/event");
//! let response = tokens.send(events, &["calendar.read"], "calendar").await?;
//! println!("{}", response.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `actix`: extractors for actix-web handlers, and what a small server needs around them.
//! - `otlp`: spans of requests for a collector of OpenTelemetry (`Export`).
//! - `testing`: an issuer inside the test process, which signs any token you ask for.

#![warn(missing_docs)]

pub mod verify;

pub mod client;

#[cfg(feature = "actix")]
pub mod actix;

#[cfg(feature = "actix")]
pub mod service;

#[cfg(feature = "testing")]
pub mod testing;

pub mod memory;

pub mod scope;

pub mod trace;

pub mod watch;

mod credentials;

mod issuer;

mod net;

#[cfg(feature = "otlp")]
mod otlp;

mod time;

mod version;

pub use client::{AccessToken, FetchError, SendError, TokenSource};
pub use issuer::ConfigError;
pub use net::{http_client, http_client_trusting, is_loopback_host};
#[cfg(feature = "otlp")]
pub use otlp::{Export, OtlpError};
pub use scope::{AnyScope, Scope, ScopeSet};
pub use time::{Clock, ManualClock};
pub use verify::{Revocation, TokenError, VerifiedToken, Verifier, WhenStale};
pub use version::build_version;
