//! Lists come in pages: `?user=…&limit=…&after=…`, where `after` is what the page before named as `next`.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::service::Problem;
use serde_json::json;

use super::query::{Parameters, required};
use crate::{
    connection::{Account, Application, Service, User},
    storage::{Listing, Stored},
};

/// A page of at most `MOST` connections, and so many where nobody says anything.
pub(super) struct Page<const MOST: u32> {
    pub(super) user: Option<User>,
    limit: u32,
    after: Option<(User, Account)>,
}

/// The same, of one user.
pub(super) struct PageOf<const MOST: u32> {
    pub(super) user: User,
    pub(super) page: Page<MOST>,
}

impl<const MOST: u32> Page<MOST> {
    /// The first one.
    pub(super) fn first() -> Self {
        Self {
            user: None,
            limit: MOST,
            after: None,
        }
    }

    fn read(request: &HttpRequest) -> Result<Self, Problem> {
        let parameters = Parameters::read(request.query_string(), ["user", "limit", "after"])?;
        let limit = parameters.number("limit", 1..=MOST.into())?;
        Ok(Self {
            user: parameters.user()?,
            limit: limit
                .and_then(|limit| limit.try_into().ok())
                .unwrap_or(MOST),
            after: parameters.take("after", |text| {
                cursor(text).ok_or("write what the page before named as `next`")
            })?,
        })
    }

    /// This page of an application's connections at a service, of one user or of all.
    pub(super) fn of<'a>(
        &self,
        application: &'a Application,
        service: &'a Service,
        user: Option<&'a User>,
    ) -> Listing<'a> {
        let after = self.after.clone();
        Listing {
            application,
            service: Some(service),
            user,
            after: after.map(|(user, account)| (user, service.clone(), account)),
            limit: self.limit,
        }
    }

    /// What names the page after these rows, if there may be one.
    pub(super) fn next(&self, rows: &[Stored]) -> Option<String> {
        let last = rows.last().filter(|_| rows.len() == self.limit as usize)?;
        let names = json!([last.key.user.as_str(), last.key.account.as_str()]);
        Some(URL_SAFE_NO_PAD.encode(names.to_string()))
    }
}

fn cursor(text: &str) -> Option<(User, Account)> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&json).ok()
}

impl<const MOST: u32> FromRequest for Page<MOST> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(request))
    }
}

impl<const MOST: u32> FromRequest for PageOf<MOST> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = || {
            let page = Page::read(request)?;
            let user = required(page.user.clone(), "user")?;
            Ok(Self { user, page })
        };
        ready(read())
    }
}
