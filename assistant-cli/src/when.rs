//! Reads the points in time that people type, and writes them back for people.
//!
//! Inside the program a point in time is a number: milliseconds since the Unix epoch, as the
//! calendar service stores it. What is typed is read in the local time zone, relative to "now";
//! both are handed in as one [`Zoned`], so that a test can choose them.

use interim::{Dialect, Interval};
use jiff::{
    Timestamp, ToSpan, Zoned,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

/// What to try instead, for help texts and error messages.
pub const EXAMPLES: &str = "\"tomorrow 15:00\", \"next friday 9am\", \"in 2 hours\", \
                            \"2026-12-24 18:00\" or \"2026-12-24T18:00:00+01:00\"";

/// An event without an end lasts this long.
pub const DEFAULT_LENGTH_MS: i64 = 60 * 60 * 1000;

/// A text that is no point in time, or none that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// Not understood at all.
    #[error("cannot read {0:?} as a date; try {EXAMPLES}")]
    Unreadable(String),
    /// Understood, but the end lies before the start.
    #[error("the end ({end}) lies before the start ({start})")]
    EndBeforeStart {
        /// The start, as [`show`] writes it.
        start: String,
        /// The end, as [`show`] writes it.
        end: String,
    },
}

/// The present moment in `zone`, from which relative dates are counted.
pub fn now(clock: &m2m::Clock, zone: TimeZone) -> Zoned {
    let ms = i64::try_from(clock.now_ms()).unwrap_or(i64::MAX);
    zoned(ms, zone)
}

/// Reads a point in time. Understood are, in this order: milliseconds since the epoch, RFC 3339,
/// ISO dates with or without a time, spans from now ("in 2 hours", "+90m"), and day words with or
/// without a time ("tomorrow 15:00", "next friday", "24 december 2026"). A day without a time
/// means its first moment; a time without a day means today.
pub fn read(text: &str, now: &Zoned) -> Result<i64, WhenError> {
    read_near(text, now, now)
}

/// Reads the end of an event that begins at `start`: "16:00" is on the day of the start, "+90m"
/// counts from the start, everything else is read as [`read`] does.
pub fn read_end(text: &str, now: &Zoned, start: i64) -> Result<i64, WhenError> {
    let end = read_near(text, now, &zoned(start, now.time_zone().clone()))?;
    check_order(start, end, now.time_zone())?;
    Ok(end)
}

/// An event may last no time at all, but it does not end before it begins.
pub fn check_order(start: i64, end: i64, zone: &TimeZone) -> Result<(), WhenError> {
    if end >= start {
        return Ok(());
    }
    Err(WhenError::EndBeforeStart {
        start: show(start, zone),
        end: show(end, zone),
    })
}

/// For people: `Sat 21 Nov 2026 10:00`.
pub fn show(ms: i64, zone: &TimeZone) -> String {
    zoned(ms, zone.clone())
        .strftime("%a %-d %b %Y %H:%M")
        .to_string()
}

/// For people, both ends. What goes without saying is left out: the year when it is this one, and
/// the second day when it is the first.
pub fn show_span(start: i64, end: i64, now: &Zoned) -> String {
    let [start, end] = [start, end].map(|ms| zoned(ms, now.time_zone().clone()));
    let day = |moment: &Zoned| {
        let this_year = moment.year() == now.year();
        let format = if this_year {
            "%a %-d %b %H:%M"
        } else {
            "%a %-d %b %Y %H:%M"
        };
        moment.strftime(format).to_string()
    };
    let until = if start.date() == end.date() {
        end.strftime("%H:%M").to_string()
    } else {
        day(&end)
    };
    format!("{} – {until}", day(&start))
}

/// For a form: what [`read`] reads back, to the second.
pub fn show_editable(ms: i64, zone: &TimeZone) -> String {
    let moment = zoned(ms, zone.clone());
    let format = if moment.second() == 0 {
        "%Y-%m-%d %H:%M"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    moment.strftime(format).to_string()
}

/// A remaining time for people: `59:58`, `2:00:00`.
pub fn show_countdown(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// A service may send any number; what no calendar can show is shown as the nearest that it can.
fn zoned(ms: i64, zone: TimeZone) -> Zoned {
    let [first, last] = [Timestamp::MIN, Timestamp::MAX].map(|limit| limit.as_second() * 1000);
    Timestamp::from_millisecond(ms.clamp(first, last))
        .expect("was clamped to what a timestamp can hold")
        .to_zoned(zone)
}

/// `near` is what a bare time and a "+" count from.
fn read_near(text: &str, now: &Zoned, near: &Zoned) -> Result<i64, WhenError> {
    let unreadable = || WhenError::Unreadable(text.trim().to_owned());
    let trimmed = text.trim();
    let moment = read_machine(trimmed, now.time_zone())
        .or_else(|| read_words(&trimmed.to_ascii_lowercase(), now, near))
        .ok_or_else(unreadable)?;
    // The services count from 1970 on.
    (moment >= 0).then_some(moment).ok_or_else(unreadable)
}

/// The notations of machines. The zone is used where the text names none.
fn read_machine(text: &str, zone: &TimeZone) -> Option<i64> {
    // Ten digits and more: a year has four, and milliseconds had ten in January 1970.
    if text.len() >= 10 && text.bytes().all(|b| b.is_ascii_digit()) {
        let ms = text.parse().ok()?;
        return Timestamp::from_millisecond(ms).ok().map(|_| ms);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_millisecond());
    }
    if let Ok(moment) = text.parse::<Zoned>() {
        return Some(moment.timestamp().as_millisecond());
    }
    text.parse::<DateTime>().ok().and_then(|it| at(it, zone))
}

/// The notations of people, in lower case.
fn read_words(text: &str, now: &Zoned, near: &Zoned) -> Option<i64> {
    let words: Vec<&str> = text.split_whitespace().filter(|w| *w != "at").collect();
    let (days, time) = split_time(&words);
    match (days, time) {
        ([], None) => None,
        ([], Some(time)) => at(near.date().to_datetime(time), now.time_zone()),
        (["now"], None) => Some(now.timestamp().as_millisecond()),
        (days, time) => {
            let words = days.join(" ");
            if let Some(relative) = words.strip_prefix('+') {
                return time.is_none().then(|| after(near, relative))?;
            }
            let span = words.strip_prefix("in ").unwrap_or(&words);
            match (after(now, span), time) {
                (Some(moment), None) => Some(moment),
                (Some(moment), Some(time)) => {
                    let day = zoned(moment, now.time_zone().clone()).date();
                    at(day.to_datetime(time), now.time_zone())
                }
                (None, time) => {
                    let day = day_named(&words, now)?;
                    at(day.to_datetime(time.unwrap_or_default()), now.time_zone())
                }
            }
        }
    }
}

/// Takes a time of day from the end: "15:00", "3pm", "3 pm", "9.30am", "noon".
fn split_time<'a, 'w>(words: &'a [&'w str]) -> (&'a [&'w str], Option<Time>) {
    if let [days @ .., last] = words
        && let Some(time) = time_of_day(last)
    {
        return (days, Some(time));
    }
    if let [days @ .., hour, half @ ("am" | "pm")] = words
        && let Some(time) = time_of_day(&format!("{hour}{half}"))
    {
        return (days, Some(time));
    }
    (words, None)
}

fn time_of_day(word: &str) -> Option<Time> {
    if word == "noon" {
        return Some(Time::constant(12, 0, 0, 0));
    }
    let (digits, afternoon) = match (word.strip_suffix("am"), word.strip_suffix("pm")) {
        (Some(digits), _) => (digits, Some(false)),
        (_, Some(digits)) => (digits, Some(true)),
        _ => (word, None),
    };
    let parts = digits
        .split([':', '.'])
        .map(|part| {
            let short = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            short.then(|| part.parse::<i8>().ok())?
        })
        .collect::<Option<Vec<_>>>()?;
    let (hour, minute, second) = match parts[..] {
        [hour] if afternoon.is_some() => (hour, 0, 0),
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let hour = match afternoon {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
    };
    Time::new(hour, minute, second, 0).ok()
}

/// "90m", "2 hours", "3 days ago", counted from `base`.
fn after(base: &Zoned, words: &str) -> Option<i64> {
    // interim's word table holds 15 letters, and panics beyond.
    let short = words.split(' ').all(|word| word.len() < 16);
    if !words.starts_with(|c: char| c.is_ascii_digit()) || !short {
        return None;
    }
    let moment = match interim::parse_duration(words).ok()? {
        Interval::Seconds(n) => base.checked_add(i64::from(n).seconds()),
        Interval::Days(n) => base.checked_add(i64::from(n).days()),
        Interval::Months(n) => base.checked_add(i64::from(n).months()),
    };
    Some(moment.ok()?.timestamp().as_millisecond())
}

/// The words that interim may read. Alone it goes by three letters, and takes "month" for Monday.
const DAY_WORDS: &[&str] = &[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "today",
    "tomorrow",
    "yesterday",
    "this",
    "next",
    "last",
    "week",
];

/// The day that words such as "tomorrow", "next friday" or "24/12/2026" name. In the order of
/// most of the world: day before month. A number alone is no day.
fn day_named(words: &str, now: &Zoned) -> Option<Date> {
    let known = |part: &str| match part.parse::<u32>() {
        // interim would cut a day of 257 down to 1.
        Ok(number) => number < 100 || part.len() == 4,
        Err(_) => part.len() >= 3 && DAY_WORDS.iter().any(|word| word.starts_with(part)),
    };
    let parts: Vec<&str> = words
        .split([' ', ',', '/'])
        .filter(|part| !part.is_empty())
        .collect();
    if words.parse::<u32>().is_ok() || !parts.iter().all(|part| known(part)) {
        return None;
    }
    let base = now.datetime().to_zoned(TimeZone::UTC).ok()?;
    let day = interim::parse_date_string(words, base, Dialect::Uk).ok()?;
    Some(day.date())
}

/// A local time that a change of clocks skips is moved forward, one that comes twice is the first.
fn at(local: DateTime, zone: &TimeZone) -> Option<i64> {
    let moment = local.to_zoned(zone.clone()).ok()?;
    Some(moment.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Saturday, 21 November 2026, 10:00 in Berlin, one hour ahead of UTC. The rule is written out,
    /// for a machine without a database of time zones.
    fn saturday() -> Zoned {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        zoned(1_795_251_600_000, berlin)
    }

    #[test]
    fn people_and_machines_are_understood() {
        let now = saturday();
        for (text, means) in [
            ("now", "2026-11-21 10:00"),
            ("today", "2026-11-21 00:00"),
            ("15:00", "2026-11-21 15:00"),
            ("3pm", "2026-11-21 15:00"),
            ("12am", "2026-11-21 00:00"),
            ("noon", "2026-11-21 12:00"),
            ("tomorrow", "2026-11-22 00:00"),
            ("tomorrow 15:00", "2026-11-22 15:00"),
            ("Tomorrow at 3 PM", "2026-11-22 15:00"),
            ("tomorrow 12pm", "2026-11-22 12:00"),
            ("yesterday 9.30am", "2026-11-20 09:30"),
            ("friday 8pm", "2026-11-27 20:00"),
            ("next friday 9am", "2026-12-04 09:00"),
            ("24 december 2026 18:00", "2026-12-24 18:00"),
            ("April 1, 2027", "2027-04-01 00:00"),
            ("24/12/2026 18:00", "2026-12-24 18:00"),
            ("in 2 hours", "2026-11-21 12:00"),
            ("+90m", "2026-11-21 11:30"),
            ("3 days 15:00", "2026-11-24 15:00"),
            ("2 days ago", "2026-11-19 10:00"),
            ("in 2 months", "2027-01-21 10:00"),
            ("next week", "2026-11-28 00:00"),
            ("2026-12-24", "2026-12-24 00:00"),
            ("2026-12-24 18:00", "2026-12-24 18:00"),
            ("2026-12-24T18:00", "2026-12-24 18:00"),
            ("2026-12-24 18:00:30", "2026-12-24 18:00:30"),
            ("2026-12-24T18:00:00+01:00", "2026-12-24 18:00"),
            ("2026-12-24T18:00:00Z", "2026-12-24 19:00"),
            ("2026-12-24T18:00+00:00[UTC]", "2026-12-24 19:00"),
            ("1795251600000", "2026-11-21 10:00"),
            // The clocks go forward here: 02:30 does not exist, 03:30 does.
            ("2027-03-28 02:30", "2027-03-28 03:30"),
        ] {
            let read = read(text, &now).map(|ms| show_editable(ms, now.time_zone()));
            assert_eq!(read.as_deref(), Ok(means), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused_with_examples() {
        for text in [
            "",
            " ",
            "soon",
            "tomorow",
            "25:00",
            "13pm",
            "0am",
            "tomorrow 15:61",
            "2026",
            "2026-13-01",
            "2026-257-01",
            "257/1/2026",
            "257 april",
            "31/2/2026",
            "1969-12-31",
            "15:00 15:00",
            "tomorrow pm",
            "+",
            "+soon",
            "-1",
            "2 hours 15:00:00:00",
            "ten",
            "abcdefghijklmnopqrstuvwxyz",
            "tomorrow 3 abcdefghijklmnopqr",
            "99999999999999999999",
            "morgen früh",
            "next month",
            "monkey",
            "5 jan x",
            "1:2:3:4",
            "ⅷ:00",
        ] {
            let refused = read(text, &saturday()).expect_err(text).to_string();
            assert!(refused.contains("tomorrow 15:00"), "{refused}");
        }
    }

    #[test]
    fn an_end_is_read_next_to_its_start() {
        let now = saturday();
        let start = read("tomorrow 15:00", &now).unwrap();
        for (text, means) in [
            ("16:00", "2026-11-22 16:00"),
            ("+90m", "2026-11-22 16:30"),
            ("tomorrow 16:00", "2026-11-22 16:00"),
            ("15:00", "2026-11-22 15:00"),
        ] {
            let end = read_end(text, &now, start).map(|ms| show_editable(ms, now.time_zone()));
            assert_eq!(end.as_deref(), Ok(means), "{text:?}");
        }
        assert_eq!(
            read_end("14:00", &now, start).unwrap_err().to_string(),
            "the end (Sun 22 Nov 2026 14:00) lies before the start (Sun 22 Nov 2026 15:00)"
        );
    }

    #[test]
    fn a_span_leaves_out_what_goes_without_saying() {
        let now = saturday();
        for (start, hours, shown) in [
            ("22:00", 1, "Sat 21 Nov 22:00 – 23:00"),
            ("22:00", 3, "Sat 21 Nov 22:00 – Sun 22 Nov 01:00"),
            (
                "2026-12-31 23:00",
                2,
                "Thu 31 Dec 23:00 – Fri 1 Jan 2027 01:00",
            ),
            ("2027-01-01 10:00", 0, "Fri 1 Jan 2027 10:00 – 10:00"),
        ] {
            let start = read(start, &now).unwrap();
            assert_eq!(
                show_span(start, start + hours * DEFAULT_LENGTH_MS, &now),
                shown
            );
        }
    }

    #[test]
    fn a_countdown_grows_hours_when_it_has_them() {
        for (seconds, shown) in [
            (0, "00:00"),
            (59, "00:59"),
            (3599, "59:59"),
            (7200, "2:00:00"),
        ] {
            assert_eq!(show_countdown(seconds), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(\\PC{0,24}|[a-z0-9:./, +-]{0,24})") {
            let _ = read(&text, &saturday());
        }

        #[test]
        fn no_number_makes_the_writer_panic(ms in any::<i64>()) {
            let _ = show_span(ms, i64::MAX, &saturday());
        }

        #[test]
        fn a_form_reads_what_it_shows(seconds in 0i64..4_000_000_000) {
            // In UTC, since an hour that comes twice a year cannot be told apart without an offset.
            let now = saturday().with_time_zone(TimeZone::UTC);
            let shown = show_editable(seconds * 1000, now.time_zone());
            prop_assert_eq!(read(&shown, &now), Ok(seconds * 1000));
        }
    }
}
