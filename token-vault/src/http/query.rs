//! The parameters of a URL, read strictly: each once, none that is not known, nothing that is not UTF-8. Guessing what was
//! meant would answer about the wrong connection without a word.

use std::{
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

/// The named parameters of a query, taken out one by one.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn read(query: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&name.as_str()) {
                let detail = format!("the query takes {} only", known.join(", "));
                return Err(Problem::bad_request(detail));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(Problem::bad_request(format!("`{name}` comes twice")).field(name));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// The value of a parameter, where it is there and `parse` takes it.
    pub(super) fn take<T, E: ToString>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let value = self.0.iter().find(|(found, _)| found == name);
        let parsed = value.map(|(_, value)| parse(value)).transpose();
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

/// A percent-encoded text, in which `+` is a space.
fn decoded(text: &str) -> Result<String, Problem> {
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8();
    let text =
        text.map_err(|_| Problem::bad_request("the query is no UTF-8: encode names as UTF-8"))?;
    Ok(text.into_owned())
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
            let parameters = Parameters::read(request.query_string(), &["user", "connection"])?;
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
            let parameters = Parameters::read(request.query_string(), &["user"])?;
            Ok(Self(required(parameters.user()?, "user")?))
        };
        ready(read())
    }
}
