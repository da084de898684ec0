//! How much one caller may ask for. An address is counted before anybody is authenticated, a client after, so that
//! only clients that exist have a bucket; all of it is bounded, however many names a stranger makes up.

mod buckets;
mod failures;
mod rate;
mod table;

pub use buckets::{Buckets, Exhausted, Standing};
pub use failures::Failures;
pub use rate::{InvalidRateLimit, Rate, RateLimit};

use std::{fmt, hash::Hash};

use crate::{address::Network, client::ClientId, metrics::Metrics};

/// The limits of one server.
pub struct Limits {
    /// What comes from one address, to all endpoints that are limited.
    pub addresses: Buckets<Network>,
    /// What one client asks of the OAuth endpoints.
    pub clients: Buckets<ClientId>,
    /// What one client asks of the administration.
    pub administrators: Buckets<ClientId>,
    pub failures: Failures,
}

/// What may be set; `None` is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wished {
    pub client: Option<RateLimit>,
    pub address: Option<RateLimit>,
    pub admin: Option<RateLimit>,
    pub failures: Option<RateLimit>,
}

/// The rates in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rates {
    pub client: RateLimit,
    pub address: RateLimit,
    pub admin: RateLimit,
    pub failures: RateLimit,
}

impl Limits {
    /// What they refuse is counted by the limit's name.
    pub fn new(rates: Rates, metrics: &Metrics) -> Self {
        Self {
            addresses: buckets("address", rates.address, metrics),
            clients: buckets("client", rates.client, metrics),
            administrators: buckets("admin", rates.admin, metrics),
            failures: Failures::new(rates.failures, metrics.limited("failures")),
        }
    }
}

fn buckets<K>(name: &'static str, limit: RateLimit, metrics: &Metrics) -> Buckets<K>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
{
    Buckets::new(name, limit, metrics.limited(name))
}

impl From<Wished> for Rates {
    fn from(wished: Wished) -> Self {
        let or = |limit: Option<RateLimit>, default: &str| {
            limit.unwrap_or_else(|| default.parse().expect("this is a limit"))
        };
        Self {
            // More than a few cores can serve: a limit that fits its callers is the operator's to set.
            client: or(wished.client, "100000/s"),
            address: or(wished.address, "100000/s"),
            admin: or(wished.admin, "1000/s"),
            // A thousand at once, then 50 in a second.
            failures: or(wished.failures, "1000/20s"),
        }
    }
}

impl Rates {
    /// As they are written in the configuration.
    pub fn settings(&self) -> [(&'static str, RateLimit); 4] {
        [
            ("rate_limit_client", self.client),
            ("rate_limit_address", self.address),
            ("rate_limit_admin", self.admin),
            ("rate_limit_failures", self.failures),
        ]
    }
}
