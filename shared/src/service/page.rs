//! Lists in pages: `?limit=` and `?after=` in, a JSON array and a `Link` to the next page out.

use std::{
    collections::BTreeMap,
    future::{Ready, ready},
    ops::Bound,
    str::FromStr,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, Responder, body::BoxBody, dev::Payload, http::header,
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

/// One page of a list, in the order of the ids.
#[derive(Debug)]
pub struct Listing<T> {
    rows: Vec<T>,
    next: Option<Page>,
}

impl Page {
    /// The largest page, and what a caller gets who asks for none.
    pub const MAX: usize = 1000;

    /// Cuts this page out of all rows, by their ids.
    pub fn cut<R, T>(
        self,
        all: &BTreeMap<u64, R>,
        mut row: impl FnMut(u64, &R) -> T,
    ) -> Listing<T> {
        let mut rest = all.range((Bound::Excluded(self.after), Bound::Unbounded));
        let (mut rows, mut after) = (Vec::new(), self.after);
        for (id, one) in rest.by_ref().take(self.limit) {
            rows.push(row(*id, one));
            after = *id;
        }
        let next = rest.next().map(|_| Self { after, ..self });
        Listing { rows, next }
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
impl<T: Serialize> Responder for Listing<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let mut answer = HttpResponse::Ok();
        if let Some(Page { limit, after }) = self.next {
            let path = request.path();
            let link = format!("<{path}?limit={limit}&after={after}>; rel=\"next\"");
            answer.insert_header((header::LINK, link));
        }
        answer.json(self.rows)
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
        let all = [5, 1, 9].map(|id| (id, ())).into();
        let cut = |limit, after| {
            let listing = Page { limit, after }.cut(&all, |id, ()| id);
            (listing.rows, listing.next.map(|page| page.after))
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
