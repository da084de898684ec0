//! `/recipe/jwt`: a token whose contents the caller writes, within what the policy allows.

use actix_web::{HttpResponse, web::Data};
use serde_json::json;

use super::{
    answer::{Refused, ok},
    api_key::{ForToken, FromApiKey, Nothing},
};
use crate::{
    audit::Action,
    error::OAuthError,
    http::{client_auth::audited, params::Params},
    minting::{self, MintWish, Minted},
    registry::values::Whole,
    server::AuthServer,
};

/// `POST /recipe/jwt`
pub(super) async fn create(
    server: Data<AuthServer>,
    request: FromApiKey<Nothing, ForToken>,
) -> Result<HttpResponse, Refused> {
    let (caller, origin) = (&request.caller, &request.admin.origin);
    let minted = match wish(request.body.0) {
        Ok(wish) => minting::mint(&server, caller, origin, wish).await,
        Err(error) => Err(error.of_client(&caller.client.id)),
    };
    match minted {
        Ok(Minted::Token(jwt)) => Ok(ok(json!({"jwt": jwt}))),
        Ok(Minted::UnsupportedAlgorithm) => {
            Ok(HttpResponse::Ok().json(json!({"status": "UNSUPPORTED_ALGORITHM_ERROR"})))
        }
        Err(error) => {
            let refusal = Some(Action::TokenRefused);
            Err(audited(&server, origin.address, refusal, error)
                .await
                .into())
        }
    }
}

/// `jwksDomain` is whose issuer the token gets there, and whether its key rotates `useStaticSigningKey`. Here there is one
/// issuer, and every key rotates.
fn wish(mut body: Params) -> Result<MintWish, OAuthError> {
    let missing = |name| move || OAuthError::invalid_request(format!("{name} is missing"));
    body.json::<String>("jwksDomain")?;
    body.json::<bool>("useStaticSigningKey")?;
    let Whole(validity) = body.json("validity")?.ok_or_else(missing("validity"))?;
    let wish = MintWish {
        payload: body.json("payload")?.ok_or_else(missing("payload"))?,
        algorithm: body.json("algorithm")?.ok_or_else(missing("algorithm"))?,
        validity,
    };
    body.nothing_else()?;
    Ok(wish)
}
