//! First the token, then the request.

use std::{
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload};
use futures_util::future::{Either, LocalBoxFuture};

use crate::{Scope, actix::Caller};

/// A request's content (body, path, query) from a caller whose token has the scope `S`. Nothing of
/// the content is read before the token has been found good.
///
/// Two extractors side by side in a handler would not do that: actix-web runs them at the same
/// time, and while the token waits for the issuer's keys, a stranger's body would be read and
/// judged.
///
/// ```
/// # use actix_web::web::Path;
/// # use m2m::{Scope, service::{Authorized, JsonBody, Problem}};
/// # struct NoteWrite;
/// # impl Scope for NoteWrite { const NAME: &'static str = "note.write"; }
/// # #[derive(serde::Deserialize)] struct NotePatch;
/// async fn change(request: Authorized<NoteWrite, (Path<u64>, JsonBody<NotePatch>)>) -> Problem {
///     let (id, JsonBody(patch)) = request.input;
///     Problem::not_found(format!("{} has no note {id}", request.caller.subject()))
/// }
/// ```
pub struct Authorized<S: Scope, T> {
    /// Who asks.
    pub caller: Caller<S>,
    /// What is asked.
    pub input: T,
}

impl<S: Scope, T: FromRequest + 'static> FromRequest for Authorized<S, T>
where
    T::Future: Unpin,
{
    type Error = Error;
    type Future = Authorizing<S, T>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let waiting = match Caller::from_request(request, &mut Payload::None) {
            Either::Left(judged) => {
                return match judged.into_inner() {
                    Ok(caller) => {
                        Authorizing::Reading(Some(caller), T::from_request(request, payload))
                    }
                    Err(refusal) => Authorizing::Waiting(Box::pin(ready(Err(refusal.into())))),
                };
            }
            Either::Right(waiting) => waiting,
        };
        let (request, mut payload) = (request.clone(), payload.take());
        Authorizing::Waiting(Box::pin(async move {
            let caller = Some(waiting.await?);
            Authorizing::Reading(caller, T::from_request(&request, &mut payload)).await
        }))
    }
}

/// An [`Authorized`] to be: most tokens are judged at once, and then only the content can be waited for.
pub enum Authorizing<S: Scope, T: FromRequest> {
    /// The content is read; the caller has been let in.
    Reading(Option<Caller<S>>, T::Future),
    /// The token is judged first.
    Waiting(LocalBoxFuture<'static, Result<Authorized<S, T>, Error>>),
}

impl<S: Scope, T: FromRequest> Future for Authorizing<S, T>
where
    T::Future: Unpin,
{
    type Output = Result<Authorized<S, T>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Waiting(waiting) => waiting.as_mut().poll(cx),
            Self::Reading(caller, content) => {
                let input = std::task::ready!(Pin::new(content).poll(cx));
                let caller = caller
                    .take()
                    .expect("it is asked until it is ready, and not again");
                Poll::Ready(
                    input
                        .map(|input| Authorized { caller, input })
                        .map_err(Into::into),
                )
            }
        }
    }
}
