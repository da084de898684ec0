//! Extractors.

use std::{marker::PhantomData, ops::Deref, pin::Pin, sync::Arc};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use crate::{AnyScope, Scope, service::Problem, verify::VerifiedToken};

/// A caller with a valid token that has the scope `S`.
pub struct Caller<S: Scope = AnyScope> {
    token: Arc<VerifiedToken>,
    scope: PhantomData<fn() -> S>,
}

impl<S: Scope> Deref for Caller<S> {
    type Target = VerifiedToken;

    fn deref(&self) -> &VerifiedToken {
        &self.token
    }
}

impl<S: Scope> FromRequest for Caller<S> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        todo!()
    }
}
