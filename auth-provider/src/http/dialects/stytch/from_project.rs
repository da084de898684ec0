//! Who administers a project? A handler that takes a [`FromProject`] cannot forget to ask. Nothing of a stranger's request
//! is read.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};

use super::{
    super::super::{
        address::caller_address,
        client_auth::{basic_halves, refused},
        limited,
    },
    bodies::ProjectBody,
    error::Refused,
};
use crate::{
    error::{ErrorCode, OAuthError},
    projects::{self, Project},
    registry::commit::Refusal,
    server::AuthServer,
};

/// A project's administrator, and what is asked. It can only be had from a request.
#[non_exhaustive]
pub(super) struct FromProject<B = ()> {
    pub(super) project: Project,
    /// The client that the path names; empty where it names none.
    pub(super) client_id: String,
    pub(super) body: B,
}

impl<B: ProjectBody + 'static> FromRequest for FromProject<B> {
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refused>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let project = admit(&request).await?;
            let client_id = request.match_info().query("client_id").to_owned();
            let body = B::read(&request, &mut payload, &client_id).await;
            Ok(Self {
                body: body.map_err(|refused| refused.under(project.origin().request_id()))?,
                project,
                client_id,
            })
        })
    }
}

impl<B> FromProject<B> {
    /// A refusal of what was asked.
    pub(super) fn refused(&self, refusal: Refusal) -> Refused {
        Refused::from(refusal).under(self.request_id())
    }

    /// The name that the audit log has for the request.
    pub(super) fn request_id(&self) -> &str {
        self.project.origin().request_id()
    }
}

async fn admit(request: &HttpRequest) -> Result<Project, Refused> {
    let server = request
        .app_data::<Data<AuthServer>>()
        .expect("the routes are added together with the server");
    let address = caller_address(request, server);
    let outcome = match credentials(request) {
        Some((project, secret)) => projects::authenticate(server, address, &project, &secret).await,
        None => Err(OAuthError::new(
            ErrorCode::InvalidClient,
            "there is no single Authorization header of the form Basic base64(project_id:secret)",
        )),
    };
    let project = match outcome {
        Ok(project) => project,
        Err(error) => return Err(refused(server, address, None, error).await.into()),
    };
    limited::of_client(request, &server.limits.administrators, project.owner())
        .map_err(|exhausted| Refused::from(OAuthError::from(exhausted)))?;
    Ok(project)
}

/// As RFC 7617 has them: these callers do not form-encode the halves.
fn credentials(request: &HttpRequest) -> Option<(String, String)> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return None;
    };
    basic_halves(header.as_bytes())
}
