//! Who asks, for which service: proven before anything else of the request is read.

use std::{marker::PhantomData, pin::Pin, sync::Arc};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::StatusCode, web::Data};
use m2m::{
    AnyScope, TokenError,
    actix::{Caller, refused},
    service::Problem,
};

use super::Server;
use crate::{
    connection::{Account, Application, ConnectionKey, User},
    provider::Provider,
};

/// What a caller wants to do with tokens.
pub(super) trait Access: 'static {
    /// The scope that allows it for all services. With a service and a colon before it, it allows it for that service.
    const SCOPE: &'static str;
}

pub(super) struct Read;
pub(super) struct Write;
pub(super) struct Delete;

impl Access for Read {
    const SCOPE: &'static str = "tokens.read";
}

impl Access for Write {
    const SCOPE: &'static str = "tokens.write";
}

impl Access for Delete {
    const SCOPE: &'static str = "tokens.delete";
}

/// A caller whose token was verified.
pub(super) struct Who {
    pub(super) application: Application,
    /// What the token says besides: the older paths have their data there.
    pub(super) token: Caller<AnyScope>,
}

impl Who {
    /// The application is the client that the issuer named, and nothing that a caller can choose.
    fn of(caller: Caller<AnyScope>) -> Result<Self, Problem> {
        let application = caller
            .client_id()
            .and_then(|id| Application::parse(id).ok());
        let application = application.ok_or_else(|| {
            let refusal = TokenError::Invalid("the token names no client (client_id)");
            refused(refusal, caller.audience())
        })?;
        Ok(Self {
            application,
            token: caller,
        })
    }
}

impl Server {
    /// Who calls, if it has not asked too much already.
    pub(super) fn who(&self, caller: Caller<AnyScope>) -> Result<Who, Problem> {
        let who = Who::of(caller)?;
        self.limits.take(&who.application).map_err(|seconds| {
            let detail = "this application asks more than it may: come back after Retry-After";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                .oauth_error("rate_limited")
                .header("Retry-After", seconds.to_string())
        })?;
        Ok(who)
    }
}

/// A request about a service by a caller whose token allows `A` there. `T` is what is asked; nothing of it is read before
/// that is known.
pub(super) struct About<A: Access, T> {
    pub(super) who: Who,
    pub(super) provider: Arc<Provider>,
    pub(super) input: T,
    access: PhantomData<fn() -> A>,
}

impl Who {
    /// For whom the caller acts: the token's subject. In the client credentials grant that is the client itself.
    pub(super) fn actor(&self) -> &str {
        self.token.subject()
    }

    /// The caller's own connection of these names.
    pub(super) fn key(&self, provider: &Provider, user: User, account: Account) -> ConnectionKey {
        ConnectionKey {
            application: self.application.clone(),
            user,
            service: provider.service.clone(),
            account,
        }
    }
}

impl<A: Access, T: FromRequest> FromRequest for About<A, T>
where
    Problem: From<T::Error>,
{
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let caller = Caller::<AnyScope>::from_request(&request, &mut Payload::None).await?;
            let name = request.match_info().get("service").unwrap_or_default();
            let scopes = caller.scopes();
            if !scopes.contains(A::SCOPE) && !scopes.contains(&format!("{name}:{}", A::SCOPE)) {
                let refusal = TokenError::InsufficientScope { required: A::SCOPE };
                return Err(refused(refusal, caller.audience()));
            }
            let server = request
                .app_data::<Data<Server>>()
                .expect("`routes` puts it there");
            let provider = server.providers.get(name).cloned();
            let provider = provider.ok_or_else(|| {
                Problem::not_found(
                    "there is no provider of this name: name it in the vault's providers file (--providers)",
                )
            })?;
            Ok(Self {
                who: server.who(caller)?,
                provider,
                input: T::from_request(&request, &mut payload).await?,
                access: PhantomData,
            })
        })
    }
}
