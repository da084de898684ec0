//! How much one application may ask for: a bucket for each. Only applications that the issuer vouches for have one, so that a
//! stranger takes nothing from anybody.

use std::{
    collections::HashMap,
    mem,
    num::NonZeroU32,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};

use crate::connection::Application;

/// How many applications have a bucket in each generation. Beyond that, who asks seldom has a full one.
const BUCKETS: usize = 5_000;

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
    buckets: Mutex<Buckets>,
}

/// Buckets in two generations. Who asks belongs to the young one; when that is full, it becomes the old one, and those are
/// forgotten who have not asked since the last time.
#[derive(Default)]
struct Buckets {
    young: HashMap<Application, DefaultDirectRateLimiter>,
    old: HashMap<Application, DefaultDirectRateLimiter>,
}

impl Buckets {
    fn of(&mut self, application: &Application, quota: Quota) -> &DefaultDirectRateLimiter {
        if self.young.len() == BUCKETS {
            self.old = mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(application.clone()).or_insert_with(|| {
            let full = || DefaultDirectRateLimiter::direct(quota);
            old.remove(application).unwrap_or_else(full)
        })
    }
}

impl Limits {
    pub fn new(RateLimit(limit): RateLimit) -> Self {
        // All that a limit allows may come at once, and then one by one.
        let quota = limit.and_then(|(requests, time)| {
            Some(Quota::with_period(time / requests.get())?.allow_burst(requests))
        });
        Self {
            quota,
            buckets: Mutex::default(),
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
        // Nothing that is done with it can panic half way.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.of(application, quota).check().map_err(|not_until| {
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
    fn who_asks_again_and_again_keeps_its_bucket_however_many_others_come_by() {
        let limits = Limits::new("2/min".parse().unwrap());
        let greedy = Application::parse("greedy").unwrap();
        let mut served = 0;
        for number in 0..4 * BUCKETS {
            let other = Application::parse(&format!("other-{number}")).unwrap();
            assert_eq!(limits.take(&other), Ok(()));
            if number % 1000 == 0 {
                served += usize::from(limits.take(&greedy).is_ok());
            }
        }
        assert_eq!(served, 2);
        let buckets = limits.buckets.lock().unwrap();
        assert!(buckets.young.len() + buckets.old.len() <= 2 * BUCKETS);
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
