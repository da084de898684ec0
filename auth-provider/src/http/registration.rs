//! `/clients/register`: HTTP in, HTTP out. Who registers a client comes as an administrator does; who administers itself
//! comes with its registration access token, and a handler that takes a [`FromRegistrant`] cannot forget to ask for it.

use std::pin::Pin;

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::{HttpServiceFactory, Payload},
    middleware::from_fn,
    web::{self, Data},
};
use m2m::{
    actix::{bearer_token, refused},
    service::Problem,
};

use super::{
    address::caller_address,
    admin::from_admin::{Body, FromAdmin, JsonText, NoBody, created},
    limited, wrong_method,
};
use crate::{
    built_in::{AUDIENCE, ClientsRegister},
    error::OAuthError,
    registration::{self, ClientMetadata, Registrant, Replacement},
    server::AuthServer,
};

/// The endpoints below `base`.
pub(super) fn routes(base: &str) -> impl HttpServiceFactory + 'static {
    web::scope(&format!("{base}/clients/register"))
        .service(
            web::resource("")
                .post(register)
                .default_service(wrong_method("POST")),
        )
        .service(
            web::resource("/{client_id}")
                .get(show)
                .route(web::head().to(show))
                .put(replace)
                .delete(remove)
                .default_service(wrong_method("GET, HEAD, PUT, DELETE")),
        )
        .wrap(from_fn(limited::admin))
}

/// A registered client that administers itself, and what it sends. It can only be had from a request.
#[non_exhaustive]
pub(super) struct FromRegistrant<B = NoBody> {
    registrant: Registrant,
    body: B,
}

impl<B: Body + 'static> FromRequest for FromRegistrant<B> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let registrant = admit(&request).await?;
            let (body, _) = B::read(&request, &mut payload).await?;
            Ok(Self { registrant, body })
        })
    }
}

async fn admit(request: &HttpRequest) -> Result<Registrant, Problem> {
    let server = request
        .app_data::<Data<AuthServer>>()
        .expect("the routes are added together with the server");
    let address = caller_address(request, server);
    let id = request.match_info().query("client_id");
    let registrant = registration::authenticate(server, address, id, bearer_token(request))
        .await
        .map_err(|refusal| refused(refusal, AUDIENCE))?;
    let (limit, client) = (&server.limits.administrators, &registrant.client.id);
    limited::of_client(request, limit, client).map_err(limited::problem)?;
    Ok(registrant)
}

/// `POST /clients/register`
async fn register(
    request: FromAdmin<ClientsRegister, JsonText>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, OAuthError> {
    let metadata = ClientMetadata::read(&request.body.0)?;
    let (admin, key) = (&request.admin, request.idempotency.as_ref());
    let made = registration::register(&server, admin, &metadata, key).await?;
    Ok(created(&made))
}

/// `GET /clients/register/{client_id}`
async fn show(request: FromRegistrant, server: Data<AuthServer>) -> HttpResponse {
    HttpResponse::Ok().json(registration::show(&server, &request.registrant))
}

/// `PUT /clients/register/{client_id}`
async fn replace(
    request: FromRegistrant<JsonText>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, OAuthError> {
    let wish = Replacement::read(&request.body.0)?;
    let client = registration::replace(&server, &request.registrant, wish).await?;
    Ok(HttpResponse::Ok().json(client))
}

/// `DELETE /clients/register/{client_id}`
async fn remove(
    request: FromRegistrant,
    server: Data<AuthServer>,
) -> Result<HttpResponse, OAuthError> {
    registration::remove(&server, &request.registrant).await?;
    Ok(HttpResponse::NoContent().finish())
}
