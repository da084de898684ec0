//! What an event is. Every type here can only hold what the service accepts; what a caller sends is
//! read straight into them.

use m2m::service::{Line, Text, given};
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// One line, 1 to 200 characters.
pub type Title = Line<200>;

/// Any text, up to 10,000 characters.
pub type Description = Text<10_000>;

/// An event as it is kept and answered.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Chosen by the store, counting up from 1. A JavaScript number holds it exactly: that ends at
    /// 2^53, which a thousand new events a second would reach in 285,000 years.
    pub id: u64,
    /// All the rest.
    #[serde(flatten)]
    pub details: Details,
}

/// What an event says. `end` is never before `start`.
#[derive(Clone, Debug, Serialize)]
pub struct Details {
    title: Title,
    description: Description,
    start: Millis,
    end: Millis,
}

/// What a caller sends to add an event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    title: Title,
    #[serde(default)]
    description: Description,
    start: Millis,
    end: Millis,
}

/// What a caller sends to change an event: the members that change.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventPatch {
    /// Who reads an event, changes it and sends it back whole, sends its id as well.
    #[serde(deserialize_with = "given")]
    id: Option<u64>,
    #[serde(deserialize_with = "given")]
    title: Option<Title>,
    #[serde(deserialize_with = "given")]
    description: Option<Description>,
    #[serde(deserialize_with = "given")]
    start: Option<Millis>,
    #[serde(deserialize_with = "given")]
    end: Option<Millis>,
}

impl EventPatch {
    /// Whether it is meant for the event with this id.
    pub fn is_for(&self, id: u64) -> bool {
        self.id.is_none_or(|own| own == id)
    }
}

/// A moment: milliseconds since the Unix epoch, up to the last one of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Number")]
pub struct Millis(u64);

/// The details of an event that would end before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event would end before it starts: send an `end` that is not less than `start`")]
pub struct EndsBeforeStart;

/// A number that is no moment an event can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write whole milliseconds since 1970, from 0 to {}", Millis::LAST)]
pub struct NoMoment;

impl Details {
    /// The details after `patch`. An `end` alone is held against the `start` that is there, and the
    /// other way round.
    ///
    /// # Errors
    /// When the event would end before it starts.
    pub fn changed(&self, patch: EventPatch) -> Result<Self, EndsBeforeStart> {
        let old = self.clone();
        Self::try_from(NewEvent {
            title: patch.title.unwrap_or(old.title),
            description: patch.description.unwrap_or(old.description),
            start: patch.start.unwrap_or(old.start),
            end: patch.end.unwrap_or(old.end),
        })
    }

    /// What a new store shows: a meeting that takes an hour from `now_ms` on.
    pub(crate) fn sample(now_ms: u64) -> Self {
        const HOUR: u64 = 3_600_000;
        let text = str::to_owned;
        Self {
            title: text("Meeting with A").try_into().expect("a short line"),
            description: text("Discuss the project")
                .try_into()
                .expect("a short text"),
            start: Millis(now_ms),
            end: Millis(now_ms + HOUR),
        }
    }
}

impl TryFrom<NewEvent> for Details {
    type Error = EndsBeforeStart;

    fn try_from(new: NewEvent) -> Result<Self, EndsBeforeStart> {
        let NewEvent {
            title,
            description,
            start,
            end,
        } = new;
        if end < start {
            return Err(EndsBeforeStart);
        }
        Ok(Self {
            title,
            description,
            start,
            end,
        })
    }
}

impl Millis {
    const LAST: u64 = 253_402_300_799_999;
}

/// A number is its value, not its spelling (RFC 8259 section 6): some JSON writers spell 1000 as
/// `1000.0` or `1e3`. A fraction of a millisecond is refused, not rounded.
impl TryFrom<Number> for Millis {
    type Error = NoMoment;

    fn try_from(number: Number) -> Result<Self, NoMoment> {
        number
            .as_u64()
            .or_else(|| number.as_f64()?.to_string().parse().ok())
            .filter(|millis| *millis <= Self::LAST)
            .map(Self)
            .ok_or(NoMoment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_whole_number_of_milliseconds_however_it_is_spelled() {
        for (json, moment) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("1e3", Some(1000)),
            ("1000.0", Some(1000)),
            ("253402300799999", Some(253_402_300_799_999)),
            ("2.53402300799999e14", Some(253_402_300_799_999)),
            ("253402300800000", None),
            ("1.5", None),
            ("0.1e-300", None),
            ("-1", None),
            ("-1e3", None),
            ("18446744073709551615", None),
            ("18446744073709551616", None),
            ("1e300", None),
            ("\"1000\"", None),
            ("true", None),
            ("null", None),
            ("[1000]", None),
        ] {
            let read = serde_json::from_str::<Millis>(json).ok();
            assert_eq!(read, moment.map(Millis), "{json}");
        }
    }

    #[test]
    fn a_change_leaves_the_rest_and_keeps_the_order() {
        let old = Details::sample(1_000);
        let changed = |patch| {
            old.changed(serde_json::from_str(patch).unwrap())
                .map(|new| (new.title == old.title, new.start.0, new.end.0))
        };
        assert_eq!(changed("{}"), Ok((true, 1_000, 3_601_000)));
        assert_eq!(changed(r#"{"end": 1000}"#), Ok((true, 1_000, 1_000)));
        assert_eq!(
            changed(r#"{"title": "x", "start": 0, "end": 0}"#),
            Ok((false, 0, 0))
        );
        assert_eq!(changed(r#"{"end": 999}"#), Err(EndsBeforeStart));
        assert_eq!(changed(r#"{"start": 3601001}"#), Err(EndsBeforeStart));
    }
}
