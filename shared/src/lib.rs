//! `m2m`: what a service needs to take part in machine-to-machine calls.

#[cfg(feature = "actix")]
pub mod actix;
pub mod client;
mod issuer;
mod net;
pub mod scope;
#[cfg(feature = "actix")]
pub mod service;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
pub mod verify;

pub use client::{AccessToken, FetchError, SendError, TokenSource};
pub use issuer::ConfigError;
pub use net::{http_client, is_loopback_host};
pub use scope::{AnyScope, Scope, ScopeSet};
pub use time::{Clock, ManualClock};
pub use verify::{TokenError, VerifiedToken, Verifier};
