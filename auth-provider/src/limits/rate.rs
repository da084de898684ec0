//! How many requests in which time, as the configuration writes it.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::Deserialize;

/// The longest time that a limit may count over, in seconds. What counts requests is kept that long.
const LONGEST: u32 = 3600;

/// The most requests that a limit may allow in its time: beyond that it is better off.
const MOST: u32 = 1_000_000;

/// At most so many requests in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: NonZeroU32,
    pub seconds: NonZeroU32,
}

/// A setting: a rate, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RateLimit(Option<Rate>);

/// A text that is no [`RateLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a limit is written as `100/s`, `600/min`, `1000/20s` or `off`: 1 to 1000000 requests in at most an hour"
)]
pub struct InvalidRateLimit;

impl Rate {
    /// The seconds until a bucket is full again in which so many remain.
    pub(super) fn until_full(self, remaining: u32) -> u64 {
        let missing = u64::from(self.requests.get().saturating_sub(remaining));
        let seconds = missing * u64::from(self.seconds.get());
        seconds.div_ceil(self.requests.get().into())
    }
}

impl RateLimit {
    pub(super) fn rate(self) -> Option<Rate> {
        self.0
    }

    fn read(text: &str) -> Option<Rate> {
        let (requests, time) = text.split_once('/')?;
        let unit_at = time.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = time.split_at(unit_at);
        let unit = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return None,
        };
        let count = if count.is_empty() { 1 } else { number(count)? };
        let rate = Rate {
            requests: NonZeroU32::new(number(requests)?)?,
            seconds: NonZeroU32::new(count.checked_mul(unit)?)?,
        };
        (rate.requests.get() <= MOST && rate.seconds.get() <= LONGEST).then_some(rate)
    }
}

/// Without the sign that Rust would take.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl FromStr for RateLimit {
    type Err = InvalidRateLimit;

    fn from_str(text: &str) -> Result<Self, InvalidRateLimit> {
        if text == "off" {
            return Ok(Self(None));
        }
        let rate = Self::read(text).ok_or(InvalidRateLimit)?;
        Ok(Self(Some(rate)))
    }
}

impl TryFrom<String> for RateLimit {
    type Error = InvalidRateLimit;

    fn try_from(text: String) -> Result<Self, InvalidRateLimit> {
        text.parse()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds.get() {
            1 => write!(f, "{}/s", self.requests),
            60 => write!(f, "{}/min", self.requests),
            3600 => write!(f, "{}/h", self.requests),
            seconds => write!(f, "{}/{seconds}s", self.requests),
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_and_written() {
        for (text, written) in [
            ("100/s", "100/s"),
            ("600/min", "600/min"),
            ("5/h", "5/h"),
            ("1000/20s", "1000/20s"),
            ("7/60s", "7/min"),
            ("7/2min", "7/120s"),
            ("1000000/1s", "1000000/s"),
            ("off", "off"),
        ] {
            assert_eq!(text.parse::<RateLimit>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "/",
            "100",
            "100/",
            "/s",
            "100/d",
            "100/2",
            "0/s",
            "100/0s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "100 /s",
            "100/ s",
            "100/S",
            "1000001/s",
            "1/2h",
            "1/3601s",
            "99999999999/s",
            "1/99999999999s",
            "1/1h1s",
            "on",
            "OFF",
        ] {
            assert_eq!(text.parse::<RateLimit>(), Err(InvalidRateLimit), "{text:?}");
        }
    }
}
