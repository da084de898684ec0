//! How long keys live, checked so that no token outlives its key and no key signs before caches know it.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::ensure;
use jiff::{Span, SpanRelativeTo};
use serde::Deserialize;

use crate::policy_file::MAX_TOKEN_LIFETIME;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// The shortest time that caches get between a key's announcement and its first signature, in seconds.
const LEAST_ANNOUNCE_TIME: u64 = 10 * MINUTE;

/// How much longer than its last token a key is published, in seconds: for clocks that differ, and servers
/// that hear of a successor late.
const RETIRE_MARGIN: u64 = 10 * MINUTE;

/// How long others may keep the key set, in seconds.
const MAX_AGE: u64 = 5 * MINUTE;

/// How late a change of the keys is known to all servers on one database.
pub(super) const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// How many keys of one algorithm may be published at once. A key set with all algorithms then stays within
/// the 256 KiB that a verifier reads.
pub(super) const MOST_PUBLISHED: u64 = 100;

/// A length of time in whole seconds, written as `90d`, `10m` or `1h 30m`; at most ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(u64);

/// When keys change. It can only be had checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// How long a key signs, in seconds.
    pub rotation_interval: u64,
    /// How long a key is in the set before it signs, in seconds.
    pub announce_time: u64,
    /// How long a key is in the set after it signed for the last time, in seconds.
    pub retire_time: u64,
    /// How long others may keep the key set, in seconds.
    pub max_age: u32,
    /// Whether the safety margins of ten minutes are off, for tests and demonstrations.
    pub fast: bool,
}

/// What may be set of a [`Schedule`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Wished {
    pub rotation_interval: Option<Period>,
    pub announce_time: Option<Period>,
    pub retire_time: Option<Period>,
    pub max_age: Option<Period>,
    pub fast: bool,
}

impl Schedule {
    /// # Errors
    /// When a key would sign before caches know it, or there would be too many keys. The error names the
    /// setting.
    pub fn new(wished: Wished) -> anyhow::Result<Self> {
        let fast = wished.fast;
        let or = |period: Option<Period>, default| period.map_or(default, |Period(s)| s);
        let announce_time = or(wished.announce_time, 60 * MINUTE);
        let known_within = KNOWN_WITHIN.as_secs();
        let max_age = or(wished.max_age, MAX_AGE.min(announce_time / 2));
        let margin = margin(fast);
        let rotation_interval = or(wished.rotation_interval, 90 * DAY);
        let retire_time = or(wished.retire_time, MAX_TOKEN_LIFETIME + margin);
        ensure!(
            fast || announce_time >= LEAST_ANNOUNCE_TIME,
            "key_announce_time: {} is too short, caches may not know a key when it signs: at least {} \
             (a test may set fast_key_rotation)",
            Period(announce_time),
            Period(LEAST_ANNOUNCE_TIME)
        );
        ensure!(
            max_age >= 1 && announce_time >= max_age + known_within,
            "key_announce_time: a key would sign after {}, when caches that may keep the key set for {} \
             do not know it yet: make it longer than key_set_max_age",
            Period(announce_time),
            Period(max_age)
        );
        ensure!(
            retire_time > margin,
            "key_retire_time: {} is too short: it is the longest life of a token and {} more",
            Period(retire_time),
            Period(margin)
        );
        ensure!(
            rotation_interval > 0,
            "key_rotation_interval: a key must sign for a second at least"
        );
        let published = (announce_time + retire_time) / rotation_interval + 2;
        ensure!(
            published <= MOST_PUBLISHED,
            "key_rotation_interval: with {} there would be {published} keys in the key set at once, and \
             {MOST_PUBLISHED} is the most",
            Period(rotation_interval)
        );
        Ok(Self {
            rotation_interval,
            announce_time,
            retire_time,
            max_age: u32::try_from(max_age).unwrap_or(u32::MAX),
            fast,
        })
    }

    /// As they are written in the configuration, in seconds.
    pub fn settings(&self) -> [(&'static str, u64); 4] {
        [
            ("key_rotation_interval", self.rotation_interval),
            ("key_announce_time", self.announce_time),
            ("key_retire_time", self.retire_time),
            ("key_set_max_age", self.max_age.into()),
        ]
    }

    /// The longest life of a token whose key is published for `retire_time` after its last signature, both in
    /// seconds.
    pub fn longest_token(&self, retire_time: u64) -> u64 {
        retire_time.saturating_sub(margin(self.fast))
    }

    /// # Errors
    /// When tokens that live for `longest` seconds would outlive the key that signed them.
    pub fn allows_tokens_of(&self, longest: u64) -> anyhow::Result<()> {
        ensure!(
            longest <= self.longest_token(self.retire_time),
            "key_retire_time: a token can live for {} and would outlive its key, which is published for {} \
             after it last signed: at least {} are needed",
            Period(longest),
            Period(self.retire_time),
            Period(longest + margin(self.fast))
        );
        Ok(())
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(Wished::default()).expect("the defaults are sound")
    }
}

fn margin(fast: bool) -> u64 {
    if fast {
        KNOWN_WITHIN.as_secs()
    } else {
        RETIRE_MARGIN
    }
}

/// A text that is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time is written as in `90d`, `10m` or `1h 30m`, in whole seconds, and is at most ten years"
)]
pub struct InvalidPeriod;

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let span: Span = text.parse().map_err(|_| InvalidPeriod)?;
        let length = span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| InvalidPeriod)?;
        u64::try_from(length.as_secs())
            .ok()
            .filter(|seconds| length.subsec_nanos() == 0 && *seconds <= 3650 * DAY)
            .map(Self)
            .ok_or(InvalidPeriod)
    }
}

impl TryFrom<String> for Period {
    type Error = InvalidPeriod;

    fn try_from(text: String) -> Result<Self, InvalidPeriod> {
        text.parse()
    }
}

impl Period {
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl From<u64> for Period {
    fn from(seconds: u64) -> Self {
        Self(seconds)
    }
}

/// In the largest units that fit: `1d 10m`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut first = true;
        for (unit, seconds) in [("d", DAY), ("h", 60 * MINUTE), ("m", MINUTE), ("s", 1)] {
            let count = rest / seconds;
            rest %= seconds;
            if count > 0 || (seconds == 1 && first) {
                let blank = if first { "" } else { " " };
                write!(f, "{blank}{count}{unit}")?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_is_read_and_shown() {
        for (text, seconds, shown) in [
            ("90d", 7_776_000, "90d"),
            ("24h", 86_400, "1d"),
            ("1h 30m", 5_400, "1h 30m"),
            ("87000s", 87_000, "1d 10m"),
            ("2s", 2, "2s"),
            ("0s", 0, "0s"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(
                (period, period.to_string().as_str()),
                (Period(seconds), shown)
            );
        }
        for text in [
            "",
            "soon",
            "-1h",
            "1.5s",
            "1ms",
            "3651d",
            "1 month",
            "99999999999d",
            "7",
        ] {
            assert_eq!(text.parse::<Period>(), Err(InvalidPeriod), "{text}");
        }
    }

    #[test]
    fn a_schedule_that_would_break_a_promise_is_refused() {
        let fast = Wished {
            fast: true,
            retire_time: Some(period("1m")),
            announce_time: Some(period("10s")),
            rotation_interval: Some(period("2s")),
            ..Wished::default()
        };
        let slow = Wished::default();
        #[rustfmt::skip]
        let table = [
            (Wished { announce_time: Some(period("599s")), ..slow }, "key_announce_time: 9m 59s is too short"),
            (Wished { max_age: Some(period("1h")), ..slow }, "caches that may keep the key set for 1h"),
            (Wished { max_age: Some(period("0s")), ..slow }, "key_announce_time"),
            (Wished { retire_time: Some(period("10m")), ..slow }, "key_retire_time: 10m is too short"),
            (Wished { rotation_interval: Some(period("0s")), ..slow }, "for a second at least"),
            (Wished { rotation_interval: Some(period("10m")), ..slow }, "153 keys in the key set at once"),
            (Wished { announce_time: Some(period("1s")), ..fast }, "key_announce_time"),
            (Wished { max_age: Some(period("10s")), ..fast }, "a key would sign after 10s"),
            (Wished { retire_time: Some(period("1s")), ..fast }, "key_retire_time: 1s is too short"),
            (Wished { rotation_interval: Some(period("1s")), retire_time: Some(period("2m")), ..fast }, "at once"),
        ];
        for (wished, part) in table {
            let error = Schedule::new(wished).unwrap_err().to_string();
            assert!(error.contains(part), "{wished:?}: {error}");
        }
        Schedule::new(Wished {
            announce_time: Some(period("10m")),
            ..slow
        })
        .unwrap();
        Schedule::new(Wished {
            max_age: Some(period("3599s")),
            ..slow
        })
        .unwrap();
        assert_eq!(
            Schedule::new(fast).unwrap().max_age,
            5,
            "it follows the announce time"
        );
        Schedule::new(Wished {
            announce_time: Some(period("2s")),
            ..fast
        })
        .unwrap();
    }

    #[test]
    fn a_token_cannot_outlive_its_key() {
        let schedule = Schedule::default();
        assert_eq!((schedule.max_age, schedule.retire_time), (300, 87_000));
        schedule.allows_tokens_of(MAX_TOKEN_LIFETIME).unwrap();
        let wished = Wished {
            retire_time: Some(period("1h")),
            ..Wished::default()
        };
        let schedule = Schedule::new(wished).unwrap();
        schedule.allows_tokens_of(3000).unwrap();
        let error = schedule.allows_tokens_of(3001).unwrap_err().to_string();
        assert!(error.contains("would outlive its key"), "{error}");
        assert!(error.contains("at least 1h 1s"), "{error}");
    }
}
