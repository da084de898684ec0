//! How much one application may ask for: a bucket for each. Only applications that the issuer vouches for have one, so that a
//! stranger takes nothing from anybody.

use std::{num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};
use moka::sync::Cache;

use crate::connection::Application;

/// How many applications have a bucket. Beyond that, who asks seldom has a full one.
const BUCKETS: u64 = 10_000;

/// The most requests that a limit may allow in its time: beyond that it is better off.
const MOST: u32 = 1_000_000;

/// At most so many requests in such a time, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(Option<(NonZeroU32, Duration)>);

/// A text that is no [`RateLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit is written as `100/s`, `600/min` or `off`: 1 to {MOST} requests")]
pub struct InvalidRateLimit;

impl FromStr for RateLimit {
    type Err = InvalidRateLimit;

    fn from_str(text: &str) -> Result<Self, InvalidRateLimit> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (requests, unit) = text.split_once('/').ok_or(InvalidRateLimit)?;
        let time = match unit {
            "s" => Duration::from_secs(1),
            "min" => Duration::from_mins(1),
            _ => return Err(InvalidRateLimit),
        };
        let requests: NonZeroU32 = requests.parse().map_err(|_| InvalidRateLimit)?;
        let fits = requests.get() <= MOST;
        fits.then_some(Self(Some((requests, time))))
            .ok_or(InvalidRateLimit)
    }
}

/// The buckets of one server.
pub struct Limits {
    /// `None`: the limit is off.
    quota: Option<Quota>,
    buckets: Cache<Application, Arc<DefaultDirectRateLimiter>>,
}

impl Limits {
    pub fn new(RateLimit(limit): RateLimit) -> Self {
        // All that a limit allows may come at once, and then one by one.
        let quota = limit.and_then(|(requests, time)| {
            Some(Quota::with_period(time / requests.get())?.allow_burst(requests))
        });
        Self {
            quota,
            buckets: Cache::new(BUCKETS),
        }
    }

    /// Takes one request out of the application's bucket.
    ///
    /// # Errors
    /// When there is nothing in it: in how many seconds there is.
    pub fn take(&self, application: &Application) -> Result<(), u64> {
        let Some(quota) = self.quota else {
            return Ok(());
        };
        let bucket = self.buckets.get(application).unwrap_or_else(|| {
            let full = || Arc::new(DefaultDirectRateLimiter::direct(quota));
            self.buckets.get_with(application.clone(), full)
        });
        bucket.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            wait.as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u64::MAX)
                .max(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_application_has_a_bucket_of_its_own() {
        let limits = Limits::new("2/min".parse().unwrap());
        let [one, two] = ["one", "two"].map(|name| Application::parse(name).unwrap());
        assert_eq!([limits.take(&one), limits.take(&one)], [Ok(()), Ok(())]);
        let seconds = limits.take(&one).unwrap_err();
        assert!((1..=30).contains(&seconds), "{seconds}");
        assert_eq!(limits.take(&two), Ok(()));
        let off = Limits::new("off".parse().unwrap());
        assert!((0..1000).all(|_| off.take(&one).is_ok()));
    }

    #[test]
    fn a_limit_is_requests_in_a_time() {
        for text in ["1/s", "1000000/s", "600/min", "off"] {
            text.parse::<RateLimit>().unwrap();
        }
        for text in ["", "0/s", "1000001/s", "1/h", "1", "-1/s", "1/s/s", "OFF"] {
            assert_eq!(text.parse::<RateLimit>(), Err(InvalidRateLimit), "{text:?}");
        }
    }
}
