//! What the libraries send on for those who ask them: `/recipe/oauth/token` and its neighbours. The key says who sends it
//! on; whose token it is, the credentials in the body say, as at the token endpoint itself.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use m2m::ScopeSet;
use serde_json::{Map, Value, json};

use super::{
    answer::{Refused, ok},
    api_key::{ForToken, FromApiKey, Nothing, RevokeTokens},
};
use crate::{
    administration::{self, Failure, Wish},
    error::OAuthError,
    http::{
        client_auth::sent_on,
        oauth::{self, Introspected},
        params::Params,
    },
    introspection,
    server::AuthServer,
};

/// `POST /recipe/oauth/token`. The issuer, and whether the key rotates, are not the caller's to choose here.
pub(super) async fn issue(
    server: Data<AuthServer>,
    request: FromApiKey<Nothing, ForToken>,
    http: HttpRequest,
) -> Result<HttpResponse, Refused> {
    let ForToken(mut body) = request.body;
    body.json::<String>("iss")?;
    body.json::<bool>("useStaticSigningKey")?;
    for claims in ["access_token", "id_token"] {
        let claims = body.json::<Map<String, Value>>(claims)?;
        if claims.is_some_and(|claims| !claims.is_empty()) {
            let why = "a token with claims of the caller's own is made by POST /recipe/jwt";
            return Err(OAuthError::invalid_request(why).into());
        }
    }
    let authorization = body.json::<String>("authorizationHeader")?;
    let form = body.json::<Params>("inputBody")?.unwrap_or_default();
    body.nothing_else()?;
    let issued = async {
        let request = sent_on(&server, &http, authorization.as_deref(), form).await?;
        oauth::issued(&server, &request).await
    };
    let issued = issued.await.map_err(Refused::passed_on)?;
    Ok(ok(json!(issued)))
}

/// `POST /recipe/oauth/introspect`: what the client that has this key may know.
pub(super) async fn introspect(
    server: Data<AuthServer>,
    request: FromApiKey<Nothing>,
) -> Result<HttpResponse, Refused> {
    let (mut body, origin) = (request.body, &request.admin.origin);
    let token = token(&mut body)?;
    let demanded = body.scope("scope")?.unwrap_or_else(ScopeSet::default);
    body.nothing_else()?;
    let known = introspection::introspect(&server, &request.caller.client, origin, &token).await?;
    let known = known.filter(|token| demanded.is_subset(&token.scopes));
    let answer = Introspected::of(&server, known.as_deref());
    Ok(ok(json!(answer)))
}

/// `POST /recipe/oauth/token/revoke`: by the client whose credentials are in the body, or else by the one that has the key.
pub(super) async fn revoke(
    server: Data<AuthServer>,
    request: FromApiKey<Nothing>,
    http: HttpRequest,
) -> Result<HttpResponse, Refused> {
    let mut body = request.body;
    let authorization = body.json::<String>("authorizationHeader")?;
    if authorization.is_some() || body.has("client_id") {
        let revoked = async {
            let request = sent_on(&server, &http, authorization.as_deref(), body).await?;
            oauth::revoked(&server, &request).await
        };
        revoked.await.map_err(Refused::passed_on)?;
        return Ok(ok(json!({})));
    }
    let token = token(&mut body)?;
    body.nothing_else()?;
    let (client, origin) = (&request.caller.client, &request.admin.origin);
    introspection::revoke(&server, client, origin, &token).await?;
    Ok(ok(json!({})))
}

/// `POST /recipe/oauth/tokens/revoke`: all tokens of a client.
pub(super) async fn revoke_all(
    server: Data<AuthServer>,
    request: FromApiKey<RevokeTokens>,
) -> Result<HttpResponse, Refused> {
    let mut body = request.body;
    let client = body.text("client_id")?;
    let client = client.ok_or_else(|| OAuthError::invalid_request("client_id is missing"))?;
    body.nothing_else()?;
    let wish = Wish::of_client(client);
    let revoked = administration::revoke_all(&server, &request.admin.origin, wish).await;
    match revoked {
        Ok(_) => Ok(ok(json!({}))),
        Err(Failure::NoSuchClient) => Err(Refused::NoClient),
        Err(failure) => Err(OAuthError::from(failure).into()),
    }
}

fn token(body: &mut Params) -> Result<String, OAuthError> {
    let token = body.text("token")?;
    token.ok_or_else(|| OAuthError::invalid_request("token is missing"))
}
