//! First the token, then the request.

use std::pin::Pin;

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload};

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

impl<S: Scope, T: FromRequest> FromRequest for Authorized<S, T> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let caller = Caller::from_request(&request, &mut Payload::None).await?;
            let input = T::from_request(&request, &mut payload)
                .await
                .map_err(Into::into)?;
            Ok(Self { caller, input })
        })
    }
}
