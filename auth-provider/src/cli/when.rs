//! Times as they are typed: a moment, or how far it is from now.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::keys::Period;

/// A moment, perhaps still to be counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Seconds since the epoch.
    At(i64),
    /// Away from now, forwards or backwards.
    Away(Period),
}

impl When {
    pub(super) fn after(self, now: i64) -> i64 {
        self.counted(|seconds| now.saturating_add(seconds))
    }

    pub(super) fn before(self, now: i64) -> i64 {
        self.counted(|seconds| now.saturating_sub(seconds))
    }

    fn counted(self, count: impl FnOnce(i64) -> i64) -> i64 {
        match self {
            Self::At(seconds) => seconds,
            Self::Away(period) => count(i64::try_from(period.seconds()).unwrap_or(i64::MAX)),
        }
    }
}

/// Reads when something is to be.
pub(super) fn future(text: &str) -> Result<When, String> {
    let away = text.strip_prefix("in ").unwrap_or(text);
    read(text, away)
        .ok_or_else(|| "write it as in `in 30d`, `2027-01-01` or `2027-01-01T00:00:00Z`".to_owned())
}

/// Reads when something was.
pub(super) fn past(text: &str) -> Result<When, String> {
    let away = text.strip_suffix(" ago").unwrap_or(text);
    read(text, away).ok_or_else(|| {
        "write it as in `2h`, `30m ago`, `2027-01-01` or `2027-01-01T00:00:00Z`".to_owned()
    })
}

/// A length of time; none needs no unit.
pub(super) fn length(text: &str) -> Result<Period, String> {
    if text == "0" {
        return Ok(Period::from(0));
    }
    text.parse::<Period>().map_err(|error| error.to_string())
}

fn read(text: &str, away: &str) -> Option<When> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(When::At(moment.as_second()));
    }
    if let Ok(day) = text.parse::<Date>() {
        let midnight = day.to_zoned(TimeZone::UTC).ok()?;
        return Some(When::At(midnight.timestamp().as_second()));
    }
    away.parse().ok().map(When::Away)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_named_or_counted() {
        let now = 1_767_225_600; // 2026-01-01T00:00:00Z
        for (text, seconds) in [
            ("in 30d", now + 2_592_000),
            ("1h 30m", now + 5400),
            ("2026-01-02", now + 86_400),
            ("2026-01-01T01:00:00+01:00", now),
        ] {
            assert_eq!(future(text).unwrap().after(now), seconds, "{text}");
        }
        for text in ["2h", "2h ago"] {
            assert_eq!(past(text).unwrap().before(now), now - 7200, "{text}");
        }
        for text in ["", "soon", "in ", "2h ago", "2026-13-01", "7"] {
            future(text).unwrap_err();
        }
        past("in 2h").unwrap_err();
        assert_eq!(length("0").unwrap().seconds(), 0);
    }
}
