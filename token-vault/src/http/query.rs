//! The parameters of a URL, read strictly: each once, none that is not known, nothing that is not UTF-8. Guessing what was
//! meant would answer about the wrong connection without a word.

use std::{
    borrow::Cow,
    future::{Ready, ready},
    ops::RangeInclusive,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use m2m::service::Problem;
use percent_encoding::percent_decode_str;

use crate::connection::{Account, InvalidName, Service, User};

/// The connection that is meant where none is named: for users with one account at a service.
pub(super) const DEFAULT_ACCOUNT: &str = "default";

/// `?user=…&connection=…`
pub(super) struct One {
    pub(super) user: User,
    pub(super) account: Account,
}

/// `?user=…`
pub(super) struct OfUser(pub(super) User);

/// The parameters of a query that takes `N` of them, each with its value where it is there.
pub(super) struct Parameters<'a, const N: usize>([(&'static str, Option<Cow<'a, str>>); N]);

impl<'a, const N: usize> Parameters<'a, N> {
    pub(super) fn read(query: &'a str, known: [&'static str; N]) -> Result<Self, Problem> {
        let mut parameters = known.map(|name| (name, None));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let Some((name, place)) = parameters.iter_mut().find(|(known, _)| *known == name)
            else {
                let detail = format!("the query takes {} only", known.join(", "));
                return Err(Problem::bad_request(detail));
            };
            if place.replace(value).is_some() {
                return Err(Problem::bad_request(format!("`{name}` comes twice")).field(*name));
            }
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter, where it is there and `parse` takes it.
    pub(super) fn take<T, E: ToString>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let known = self.0.iter().find(|(known, _)| *known == name);
        let value = known.and_then(|(_, value)| value.as_deref());
        let parsed = value.map(parse).transpose();
        parsed.map_err(|error| Problem::bad_request(error.to_string()).field(name))
    }

    pub(super) fn user(&self) -> Result<Option<User>, Problem> {
        self.take("user", User::parse)
    }

    pub(super) fn account(&self) -> Result<Option<Account>, Problem> {
        self.take("connection", Account::parse)
    }

    pub(super) fn service(&self) -> Result<Option<Service>, Problem> {
        self.take("service", Service::parse)
    }

    /// A whole number, digits only.
    pub(super) fn number(
        &self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        self.take(name, |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text
                .parse()
                .ok()
                .filter(|number| digits && range.contains(number));
            number
                .ok_or_else(|| format!("write a number from {} to {}", range.start(), range.end()))
        })
    }
}

/// A percent-encoded text, in which `+` is a space. Most names need no encoding, and are not copied.
fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8();
    let text =
        text.map_err(|_| Problem::bad_request("the query is no UTF-8: encode names as UTF-8"))?;
    Ok(Cow::Owned(text.into_owned()))
}

pub(super) fn required<T>(value: Option<T>, name: &'static str) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::bad_request(format!("`{name}` is missing")).field(name))
}

pub(super) fn default_account() -> Account {
    let parsed: Result<_, InvalidName> = Account::parse(DEFAULT_ACCOUNT);
    parsed.expect("it is a name")
}

impl FromRequest for One {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = || {
            let parameters = Parameters::read(request.query_string(), ["user", "connection"])?;
            Ok(Self {
                user: required(parameters.user()?, "user")?,
                account: parameters.account()?.unwrap_or_else(default_account),
            })
        };
        ready(read())
    }
}

impl FromRequest for OfUser {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = || {
            let parameters = Parameters::read(request.query_string(), ["user"])?;
            Ok(Self(required(parameters.user()?, "user")?))
        };
        ready(read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_has_each_known_name_once() {
        let read = |query| Parameters::read(query, ["user", "connection"]);
        for (query, user) in [
            ("user=alice&connection=acme", "alice"),
            ("user=a+b%2Bc", "a b+c"),
            ("us%65r=%C3%A9", "é"),
            ("&&user=a=b&", "a=b"),
        ] {
            let parameters = read(query).unwrap();
            let found = parameters.user().unwrap();
            assert_eq!(found.unwrap().as_str(), user, "{query}");
        }
        assert!(read("connection=acme").unwrap().user().unwrap().is_none());
        for query in ["user=a&user=a", "user=a&us%65r=b", "name=a", "user=%FF"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
