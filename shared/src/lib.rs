//! `m2m`: what a service needs to take part in machine-to-machine calls.

mod net;
pub mod scope;
#[cfg(feature = "actix")]
pub mod service;
mod time;

pub use net::{http_client, is_loopback_host};
pub use scope::{AnyScope, Scope, ScopeSet};
pub use time::{Clock, ManualClock};
