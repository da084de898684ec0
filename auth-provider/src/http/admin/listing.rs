//! Lists in pages: `?limit=`, `?cursor=` and filters in, a page with the next cursor out.
//!
//! A cursor says which row was the last one that was shown, so that rows that come or go meanwhile shift nothing.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use actix_web::HttpRequest;
use m2m::service::Problem;
use serde::Serialize;
use serde_json::{Value, json};

/// The largest page.
const MAX: usize = 1000;

/// What a caller gets who names no size.
const DEFAULT: usize = 100;

/// The parameters of a list, each read once by name.
pub(super) struct Query {
    values: BTreeMap<String, String>,
    pub(super) limit: usize,
    /// The last row that was shown; empty before the first page.
    pub(super) after: String,
}

impl Query {
    /// A parameter that is unknown or comes twice is refused: guessing what was meant would answer the wrong rows without
    /// a word.
    pub(super) fn read(request: &HttpRequest, filters: &[&str]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in parameters(request.query_string())? {
            if !["limit", "cursor"].contains(&name.as_str()) && !filters.contains(&name.as_str()) {
                let known = [&["limit", "cursor"], filters].concat().join(", ");
                let detail = format!("the query takes these parameters: {known}");
                return Err(Problem::bad_request(detail).unknown_field(&name));
            }
            if values.contains_key(&name) {
                return Err(Problem::bad_request(format!("`{name}` comes twice")).field(name));
            }
            values.insert(name, value);
        }
        let limit = match values.remove("limit") {
            None => DEFAULT,
            Some(text) => number(&text)
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| (1..=MAX).contains(limit))
                .ok_or_else(|| {
                    Problem::bad_request(format!("write a number from 1 to {MAX}")).field("limit")
                })?,
        };
        let after = match values.remove("cursor") {
            None => String::new(),
            Some(text) => from_hex(&text).ok_or_else(|| {
                let detail = "write the next_cursor of the page before";
                Problem::bad_request(detail).field("cursor")
            })?,
        };
        Ok(Self {
            values,
            limit,
            after,
        })
    }

    /// A filter, read into what it has to be.
    pub(super) fn filter<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(String) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let value = self.values.remove(name).map(parse).transpose();
        value.map_err(|error| Problem::bad_request(error.to_string()).field(name))
    }

    /// The page that these rows begin; there is one row more than the page has when there is another page.
    pub(super) fn page<R, V: Serialize>(
        &self,
        name: &str,
        rows: &[R],
        view: impl Fn(&R) -> V,
        position: impl Fn(&R) -> String,
    ) -> Value {
        let shown = &rows[..rows.len().min(self.limit)];
        let more = rows.len() > self.limit;
        let last = shown.last().filter(|_| more);
        json!({
            name: shown.iter().map(view).collect::<Vec<_>>(),
            "next_cursor": last.map(|last| hex(&position(last))),
        })
    }

    /// How many rows to read for a page.
    pub(super) fn rows(&self) -> usize {
        self.limit + 1
    }
}

/// Names and values, decoded; what is no UTF-8 is refused.
pub(super) fn parameters(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let text = |part: &str| {
        let spaced = part.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
        decoded
            .map(Cow::into_owned)
            .map_err(|_| Problem::bad_request("the query is not UTF-8: percent-encode it"))
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((text(name)?, text(value)?))
        })
        .collect()
}

/// Digits and nothing else: `parse` alone would take `+1` too.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A text that a filter compares with: it is not empty, and has no control character.
pub(super) fn text(max: usize) -> impl Fn(String) -> Result<String, String> {
    move |text| {
        let fits = (1..=max).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(text)
        } else {
            Err(format!(
                "write 1 to {max} characters, none of them a control character"
            ))
        }
    }
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes everything
        hex
    })
}

fn from_hex(text: &str) -> Option<String> {
    let digit = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    if !(2..=800).contains(&text.len())
        || !text.len().is_multiple_of(2)
        || !text.as_bytes().iter().all(digit)
    {
        return None;
    }
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .filter_map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect();
    Some(String::from_utf8_lossy(&bytes).replace('\0', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_there_and_back() {
        for text in ["a", "m3\nhttps://notes.example/é", "~"] {
            assert_eq!(from_hex(&hex(text)).as_deref(), Some(text));
        }
        for bad in ["", "a", "zz", "6A", "+1", &"61".repeat(401)] {
            assert_eq!(from_hex(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_query_is_decoded_or_refused() {
        let read = |query| parameters(query).map_err(|problem| problem.to_string());
        assert_eq!(read(""), Ok(vec![]));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a=b+c&d&e=%C3%A9"),
            Ok(vec![pair("a", "b c"), pair("d", ""), pair("e", "é")])
        );
        assert!(read("a=%ff").is_err());
    }
}
