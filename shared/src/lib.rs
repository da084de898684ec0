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

pub mod scope;

mod credentials;

mod issuer;

mod net;

mod time;

pub use client::{AccessToken, FetchError, SendError, TokenSource};
pub use issuer::ConfigError;
pub use net::{http_client, is_loopback_host};
pub use scope::{AnyScope, Scope, ScopeSet};
pub use time::{Clock, ManualClock};
pub use verify::{Revocation, TokenError, VerifiedToken, Verifier};
