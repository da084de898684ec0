//! The OAuth endpoints: HTTP in, HTTP out.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::Data,
};
use m2m::{ScopeSet, service::media_type};
use serde::Serialize;
use serde_json::json;

use super::{
    client_auth::{Form, FromClient, audited},
    params::Params,
    uncached_json,
};
use crate::{
    audit::Action,
    error::{ErrorCode, OAuthError},
    introspection, json,
    known_tokens::KnownToken,
    policy::Wish,
    server::AuthServer,
    tokens,
};

/// A token request, by its `grant_type`: what this server does not grant cannot reach a handler.
pub(super) enum TokenRequest {
    /// RFC 6749 section 4.4.
    ClientCredentials(Wish, Spelling),
}

/// How the parameters are spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `grant_type`, as the RFC has it.
    Standard,
    /// `grantType`, as a guide of SuperTokens has it, whose readers look for `accessToken` and `expiresIn`.
    CamelCase,
}

/// An answer with more bytes besides its token takes another allocation.
const MOST_BESIDES: usize = 256;

/// RFC 6749 section 5.1.
#[derive(Serialize)]
pub(super) struct TokenResponse {
    access_token: String,
    #[serde(flatten)]
    besides: Besides,
}

/// What is said of the token.
#[derive(Serialize)]
struct Besides {
    token_type: &'static str,
    expires_in: u64,
    scope: ScopeSet,
    /// The same in the spelling of the request.
    #[serde(rename = "accessToken", skip_serializing_if = "Option::is_none")]
    token_again: Option<String>,
    #[serde(rename = "expiresIn", skip_serializing_if = "Option::is_none")]
    expires_in_again: Option<u64>,
}

/// `POST /oauth/token`
pub(super) async fn issue_token(
    server: Data<AuthServer>,
    request: FromClient<TokenRequest>,
) -> Result<HttpResponse, OAuthError> {
    let issued = issued(&server, &request).await?;
    let mut answer = uncached_json(issued.to_json());
    let headers = answer.headers_mut();
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

/// The answer to a client that asks for a token.
pub(super) async fn issued(
    server: &AuthServer,
    request: &FromClient<TokenRequest>,
) -> Result<TokenResponse, OAuthError> {
    let FromClient {
        caller,
        origin,
        form: TokenRequest::ClientCredentials(wish, spelling),
    } = request;
    // In a box, so that a request stays as small as what memory is at hand for, which ends at a kilobyte.
    let issued = match Box::pin(tokens::issue(server, caller, origin, wish)).await {
        Ok(issued) => issued,
        Err(error) => {
            let refused = audited(server, origin.address, TokenRequest::REFUSAL, error);
            return Err(Box::pin(refused).await);
        }
    };
    let again = *spelling == Spelling::CamelCase;
    Ok(TokenResponse {
        besides: Besides {
            token_type: "Bearer",
            expires_in: issued.expires_in,
            scope: issued.scopes,
            token_again: again.then(|| issued.access_token.clone()),
            expires_in_again: again.then_some(issued.expires_in),
        },
        access_token: issued.access_token,
    })
}

impl TokenResponse {
    /// The token is nearly all of it, and goes in as it is: it has no character that JSON escapes, which is not asked of
    /// each again.
    fn to_json(&self) -> Vec<u8> {
        let token = self.access_token.as_bytes();
        let mut json = Vec::with_capacity(token.len() + MOST_BESIDES);
        json.extend_from_slice(br#"{"access_token":""#);
        json.extend_from_slice(token);
        json.push(b'"');
        let besides = json.len();
        json::append(&mut json, &self.besides);
        json[besides] = b','; // instead of the brace that begins an object
        json
    }
}

/// What is asked about a token. A hint at its kind is allowed and not needed: there is only one kind.
pub(super) struct AboutToken {
    token: String,
}

/// `POST /oauth/introspect`
pub(super) async fn introspect(
    server: Data<AuthServer>,
    request: FromClient<AboutToken>,
) -> Result<HttpResponse, OAuthError> {
    let known = introspection::introspect(
        &server,
        &request.caller.client,
        &request.origin,
        &request.form.token,
    )
    .await?;
    Ok(uncached_json(introspected(&server, known.as_deref())))
}

/// `POST /oauth/revoke`. RFC 7009 section 2.2 gives the answer no body; who speaks JSON, as SuperTokens does, is used to
/// read one.
pub(super) async fn revoke(
    server: Data<AuthServer>,
    request: FromClient<AboutToken>,
    http: HttpRequest,
) -> Result<HttpResponse, OAuthError> {
    revoked(&server, &request).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(match media_type(&http).as_deref() {
        Some("application/json") => answer.json(json!({"status": "OK"})),
        _ => answer.finish(),
    })
}

/// Takes the token back that the client names.
pub(super) async fn revoked(
    server: &AuthServer,
    request: &FromClient<AboutToken>,
) -> Result<(), OAuthError> {
    let client = &request.caller.client;
    introspection::revoke(server, client, &request.origin, &request.form.token).await
}

/// What is told about a token, or about one that is none of the caller's business (RFC 7662 section 2.2).
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Introspected<'t> {
    Active {
        active: bool,
        iss: Cow<'t, str>,
        sub: &'t str,
        client_id: &'t str,
        aud: &'t str,
        scope: &'t ScopeSet,
        scp: Vec<&'t str>,
        iat: u64,
        nbf: u64,
        exp: u64,
        jti: &'t str,
        token_type: &'static str,
    },
    Inactive {
        active: bool,
    },
}

/// The same as JSON. About a token that is known it was written before.
fn introspected(server: &AuthServer, token: Option<&KnownToken>) -> String {
    let write = || {
        let answer = serde_json::to_string(&Introspected::of(server, token));
        answer.expect("texts and numbers are JSON")
    };
    match token {
        None => write(),
        Some(token) => token.answer(write).to_owned(),
    }
}

impl<'t> Introspected<'t> {
    pub(super) fn of(server: &'t AuthServer, token: Option<&'t KnownToken>) -> Self {
        match token {
            None => Self::Inactive { active: false },
            Some(token) => Self::Active {
                active: true,
                iss: token.issuer(server),
                sub: token.client_id.as_str(),
                client_id: token.client_id.as_str(),
                aud: token.aud.as_str(),
                scope: &token.scopes,
                scp: token.scopes.iter().collect(),
                iat: token.iat,
                nbf: token.nbf,
                exp: token.exp,
                jti: &token.jti,
                token_type: "Bearer",
            },
        }
    }
}

impl Form for AboutToken {
    fn read(params: &mut Params) -> Result<Self, OAuthError> {
        params.text("token_type_hint")?;
        let token = params.text("token")?;
        let token =
            token.ok_or_else(|| OAuthError::invalid_request("the parameter token is missing"))?;
        Ok(Self { token })
    }
}

/// `GET /oauth/authorize`: machines do not need it, but some of their libraries refuse metadata without it.
pub(super) async fn authorize() -> Result<HttpResponse, OAuthError> {
    Err(OAuthError::new(
        ErrorCode::UnsupportedResponseType,
        "there is no login here: ask the token endpoint with grant_type=client_credentials",
    ))
}

impl Form for TokenRequest {
    const REFUSAL: Option<Action> = Some(Action::TokenRefused);
    const IS_NOTED: bool = true;

    fn read(params: &mut Params) -> Result<Self, OAuthError> {
        let spelling = if params.has("grantType") {
            Spelling::CamelCase
        } else {
            Spelling::Standard
        };
        client_credentials(params)?;
        Ok(Self::ClientCredentials(wish(params)?, spelling))
    }
}

/// Takes `grant_type`, of which there is one.
pub(super) fn client_credentials(params: &mut Params) -> Result<(), OAuthError> {
    match params.text_also("grant_type", "grantType")?.as_deref() {
        Some("client_credentials") => Ok(()),
        Some(_) => Err(OAuthError::new(
            ErrorCode::UnsupportedGrantType,
            "this server grants client_credentials only",
        )),
        None => Err(OAuthError::invalid_request(
            "grant_type=client_credentials is missing: add it to the parameters in the body",
        )),
    }
}

/// The resource goes by RFC 8707's name or by `audience`, as many hosted products call it.
fn wish(params: &mut Params) -> Result<Wish, OAuthError> {
    let mut named = params.texts("resource")?;
    named.append(&mut params.texts("audience")?);
    named.dedup();
    if named.len() > 1 {
        return Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "a token has one audience: ask once for each resource",
        ));
    }
    Ok(Wish {
        resource: named.pop(),
        scopes: params.scope("scope")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_token_goes_into_its_answer_as_json_would_write_it() {
        for again in [None, Some("eyJ.eyJ.-_09".to_owned())] {
            let answer = TokenResponse {
                access_token: "eyJ.eyJ.-_09".to_owned(),
                besides: Besides {
                    token_type: "Bearer",
                    expires_in: 60,
                    scope: "note.read x:y".parse().unwrap(),
                    expires_in_again: again.is_some().then_some(60),
                    token_again: again,
                },
            };
            let written: Value = serde_json::from_slice(&answer.to_json()).unwrap();
            assert_eq!(written, json!(answer));
        }
    }
}
