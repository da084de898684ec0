//! Token buckets, one for each caller, in bounded memory.

use std::{borrow::Cow, fmt, hash::Hash, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed, StateStore},
};
use prometheus_client::metrics::counter::Counter;
use tracing::warn;

use super::{
    rate::{Rate, RateLimit},
    table::Table,
};

/// A log line about a limit is followed by silence about it for so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

type Limiter<K, S> = RateLimiter<K, S, DefaultClock, StateInformationMiddleware>;

/// One limit: a bucket for each of its callers.
pub struct Buckets<K: Hash> {
    /// How often it refused.
    refusals: Counter,
    /// `None`: the limit is off.
    filled: Option<Filled<K>>,
}

struct Filled<K: Hash> {
    /// Where somebody stands whose bucket was full, as most are.
    usual: Standing,
    of: Limiter<K, Table<K>>,
    telling: Limiter<NotKeyed, InMemoryState>,
}

/// Where a caller stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    limit: &'static str,
    rate: Rate,
    remaining: u32,
    /// Until the bucket is full again, or, where nothing remains, until there is something in it.
    seconds: u64,
    policy: &'static str,
    /// The same as a text, where it was written before.
    state: Option<&'static str>,
}

/// There is nothing in the caller's bucket: the request is not to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted(Standing);

impl<K> Buckets<K>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
{
    pub(super) fn new(name: &'static str, limit: RateLimit, refusals: Counter) -> Self {
        let filled = limit.rate().map(|rate| Filled {
            usual: Standing::usual(name, rate),
            of: limiter(quota(rate), Table::default()),
            telling: limiter(Quota::with_period(TELL_EVERY), InMemoryState::default()),
        });
        Self { refusals, filled }
    }

    /// Takes one request out of the caller's bucket. `None`: the limit is off.
    pub fn take(&self, caller: &K) -> Result<Option<Standing>, Exhausted> {
        let Some(filled) = &self.filled else {
            return Ok(None);
        };
        let usual = filled.usual;
        match filled.of.check_key(caller) {
            Ok(left) => Ok(Some(match left.remaining_burst_capacity() {
                remaining if remaining == usual.remaining => usual,
                remaining => usual.but(remaining, usual.rate.until_full(remaining)),
            })),
            Err(not_until) => {
                self.refusals.inc();
                let Standing { limit, rate, .. } = usual;
                if filled.telling.check().is_ok() {
                    warn!(limit, caller = %caller, "refuses what goes beyond {rate}");
                }
                let wait = not_until.wait_time_from(filled.of.clock().now());
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Err(Exhausted(usual.but(0, seconds.max(1))))
            }
        }
    }
}

/// All that a rate allows may come at once, and then one by one.
fn quota(rate: Rate) -> Option<Quota> {
    let each = Duration::from_secs(rate.seconds.get().into()) / rate.requests.get();
    Quota::with_period(each).map(|quota| quota.allow_burst(rate.requests))
}

fn limiter<S: StateStore>(quota: Option<Quota>, state: S) -> Limiter<S::Key, S> {
    let quota = quota.expect("a million requests in a second leave a microsecond for each");
    RateLimiter::new(quota, state, DefaultClock::default())
}

/// The header fields of draft-ietf-httpapi-ratelimit-headers.
impl Standing {
    /// After the first request out of a full bucket. A limit is as old as the server, and answers share these texts by the
    /// thousand.
    fn usual(limit: &'static str, rate: Rate) -> Self {
        let Rate { requests, seconds } = rate;
        let remaining = requests.get() - 1;
        let usual = Self {
            limit,
            rate,
            remaining,
            seconds: rate.until_full(remaining),
            policy: format!("\"{limit}\";q={requests};w={seconds}").leak(),
            state: None,
        };
        let state = usual.state().into_owned().leak();
        Self {
            state: Some(state),
            ..usual
        }
    }

    /// With the same limit, and so many requests and seconds.
    fn but(self, remaining: u32, seconds: u64) -> Self {
        Self {
            remaining,
            seconds,
            state: None,
            ..self
        }
    }

    /// An item of `RateLimit-Policy`: requests and the seconds in which they are allowed.
    pub fn policy(&self) -> &'static str {
        self.policy
    }

    /// An item of `RateLimit`: requests that remain, and the seconds until there are more.
    pub fn state(&self) -> Cow<'static, str> {
        let (limit, remaining, seconds) = (self.limit, self.remaining, self.seconds);
        match self.state {
            Some(state) => Cow::Borrowed(state),
            None => Cow::Owned(format!("\"{limit}\";r={remaining};t={seconds}")),
        }
    }
}

impl Exhausted {
    /// The header fields that belong to a refusal with status 429.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        [
            ("Retry-After", self.0.seconds.to_string()),
            ("RateLimit-Policy", self.0.policy().to_owned()),
            ("RateLimit", self.0.state().into_owned()),
        ]
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing {
            limit,
            rate,
            seconds,
            ..
        } = &self.0;
        write!(
            f,
            "too many requests: the {limit} limit is {rate}, try again in {seconds} s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{CallerAddress, Network},
        limits::table::CALLERS,
    };

    fn network(number: u32) -> Network {
        let ip = std::net::Ipv4Addr::from_bits(number);
        CallerAddress::from(std::net::IpAddr::from(ip)).network()
    }

    fn buckets(limit: &str) -> Buckets<Network> {
        Buckets::new("address", limit.parse().unwrap(), Counter::default())
    }

    #[test]
    fn a_bucket_empties_and_says_when_to_come_back() {
        let buckets = buckets("3/h");
        let caller = network(1);
        for remaining in [2, 1, 0] {
            let standing = buckets.take(&caller).unwrap().unwrap();
            assert_eq!(standing.policy(), "\"address\";q=3;w=3600");
            let until_full = 3600 - 1200 * remaining;
            let state = format!("\"address\";r={remaining};t={until_full}");
            assert_eq!(standing.state(), state);
        }
        let refused = buckets.take(&caller).unwrap_err();
        let seconds = refused.0.seconds;
        assert!((1..=1200).contains(&seconds), "{seconds}");
        assert_eq!(
            refused.headers(),
            [
                ("Retry-After", seconds.to_string()),
                ("RateLimit-Policy", "\"address\";q=3;w=3600".to_owned()),
                ("RateLimit", format!("\"address\";r=0;t={seconds}")),
            ]
        );
        buckets
            .take(&network(2))
            .expect("each has a bucket of its own");
    }

    #[test]
    fn a_limit_that_is_off_limits_nothing() {
        let buckets = buckets("off");
        for _ in 0..1000 {
            assert_eq!(buckets.take(&network(1)), Ok(None));
        }
    }

    #[test]
    fn who_asks_often_keeps_its_bucket_however_many_others_come_by() {
        let buckets = buckets("1/h");
        let greedy = network(u32::MAX);
        let many = u32::try_from(CALLERS * 4).unwrap();
        let mut served = 0;
        for number in 0..many {
            buckets.take(&network(number)).expect("it asks once");
            if number % 10 == 0 {
                served += u32::from(buckets.take(&greedy).is_ok());
            }
        }
        assert_eq!(served, 1);
    }

    #[test]
    fn as_many_as_half_of_the_places_are_limited_each_by_itself() {
        let buckets = buckets("2/h");
        let callers = || (0..u32::try_from(CALLERS / 2).unwrap()).map(network);
        let served =
            |of: &Buckets<Network>| callers().filter(|caller| of.take(caller).is_ok()).count();
        assert_eq!(served(&buckets), CALLERS / 2);
        assert_eq!(served(&buckets), CALLERS / 2);
        // A few meet too many others in their set.
        let more = served(&buckets);
        assert!(more < CALLERS / 20, "{more}");
    }
}
