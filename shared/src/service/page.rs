//! Lists in pages: `?limit=` and `?after=` in, a JSON array and a `Link` to the next page out.

use std::{
    collections::BTreeMap,
    future::{Ready, ready},
    ops::Bound,
    str::FromStr,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, Responder,
    body::BoxBody,
    dev::Payload,
    error::JsonPayloadError,
    http::header::{self, HeaderValue},
};
use serde::Serialize;

use super::Problem;

/// The part of a list that a caller asks for: the first `limit` rows with an id above `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many rows: 1 to [`Page::MAX`].
    pub limit: usize,
    /// Only rows with a larger id. 0 is before all of them.
    pub after: u64,
}

/// One page of a list, in the order of the ids, as it is answered: it was written while the rows were there to be looked
/// at, so that none of them had to be copied.
#[derive(Debug)]
pub struct Listing {
    json: serde_json::Result<Vec<u8>>,
    next: Option<Page>,
}

impl Page {
    /// The largest page, and what a caller gets who asks for none.
    pub const MAX: usize = 1000;

    /// Cuts this page out of all rows, by their ids.
    pub fn cut<T: Serialize>(self, all: &BTreeMap<u64, T>) -> Listing {
        let mut rest = all.range((Bound::Excluded(self.after), Bound::Unbounded));
        let mut after = self.after;
        let rows = rest.by_ref().take(self.limit).map(|(id, row)| {
            after = *id;
            row
        });
        let json = array(rows);
        let next = rest.next().map(|_| Self { after, ..self });
        Listing { json, next }
    }

    /// A parameter that is unknown or comes twice is refused: guessing what was meant would answer
    /// the wrong rows without a word.
    fn parse(query: &str) -> Result<Self, Problem> {
        let (mut limit, mut after) = (None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let twice = match &*name {
                "limit" => limit.replace(value).is_some(),
                "after" => after.replace(value).is_some(),
                _ => {
                    return Err(Problem::bad_request(
                        "the query takes `limit` and `after` only",
                    ));
                }
            };
            if twice {
                return Err(Problem::bad_request(format!("`{name}` comes twice")));
            }
        }
        let limit = limit.map_or(Some(Self::MAX), |limit| {
            whole_number(&limit).filter(|limit| (1..=Self::MAX).contains(limit))
        });
        let after = after.map_or(Some(0), |after| whole_number(&after));
        Ok(Self {
            limit: limit.ok_or_else(|| {
                let max = Self::MAX;
                Problem::bad_request(format!("write a number from 1 to {max}")).field("limit")
            })?,
            after: after
                .ok_or_else(|| Problem::bad_request("write the id of a row").field("after"))?,
        })
    }
}

/// A JSON array.
fn array<T: Serialize>(rows: impl Iterator<Item = T>) -> serde_json::Result<Vec<u8>> {
    const A_FEW_ROWS: usize = 512;
    let mut json = Vec::with_capacity(A_FEW_ROWS);
    json.push(b'[');
    for row in rows {
        if json.len() > 1 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &row)?;
    }
    json.push(b']');
    Ok(json)
}

/// Digits and nothing else: `parse` alone would take `+1` too.
fn whole_number<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl FromRequest for Page {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request.query_string()))
    }
}

/// A bare array, for clients that expect one; the way on stands in the `Link` header (RFC 8288
/// section 3).
impl Responder for Listing {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let json = match self.json {
            Ok(json) => json,
            Err(error) => return HttpResponse::from_error(JsonPayloadError::Serialize(error)),
        };
        let mut answer = HttpResponse::Ok();
        if let Some(Page { limit, after }) = self.next {
            let path = request.path();
            let link = format!("<{path}?limit={limit}&after={after}>; rel=\"next\"");
            answer.insert_header((header::LINK, link));
        }
        answer
            .content_type(HeaderValue::from_static("application/json"))
            .body(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused() {
        for (query, page) in [
            ("", Some((1000, 0))),
            ("limit=1", Some((1, 0))),
            (
                "limit=1000&after=18446744073709551615",
                Some((1000, u64::MAX)),
            ),
            ("after=7", Some((1000, 7))),
            ("limit=0", None),
            ("limit=1001", None),
            ("limit=-1", None),
            ("limit=1.0", None),
            ("limit=%2B1", None),
            ("limit=", None),
            ("limit", None),
            ("limit=1&limit=1", None),
            ("after=18446744073709551616", None),
            ("after=a", None),
            ("after=%ff", None),
            ("Limit=1", None),
            ("offset=1", None),
        ] {
            let read = Page::parse(query).ok().map(|page| (page.limit, page.after));
            assert_eq!(read, page, "{query:?}");
        }
    }

    #[test]
    fn the_next_page_begins_where_this_one_ends() {
        let all = [5, 1, 9].map(|id| (id, id)).into();
        let cut = |limit, after| {
            let listing = Page { limit, after }.cut(&all);
            let rows: Vec<u64> = serde_json::from_slice(&listing.json.unwrap()).unwrap();
            (rows, listing.next.map(|page| page.after))
        };
        assert_eq!(cut(4, 0), (vec![1, 5, 9], None));
        assert_eq!(cut(3, 0), (vec![1, 5, 9], None));
        assert_eq!(cut(2, 0), (vec![1, 5], Some(5)));
        assert_eq!(cut(1, 1), (vec![5], Some(5)));
        assert_eq!(cut(1, 5), (vec![9], None));
        assert_eq!(cut(1, u64::MAX), (vec![], None));
        assert_eq!(cut(1, 9), (vec![], None));
    }
}
