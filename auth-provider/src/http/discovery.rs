//! What others need to know before they can ask: metadata (RFC 8414) and the key set (RFC 7517).

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, Header, HeaderName, HeaderValue, IfNoneMatch},
    },
    web::Data,
};
use serde_json::{Value, json};
use url::Url;

use super::below_issuer;
use crate::{document::Document, server::AuthServer};

/// How long others may keep the metadata, in seconds.
const METADATA_MAX_AGE: u32 = 300;

const JSON: &str = "application/json";

/// By which SuperTokens' libraries say which interface of its core they speak to.
static CDI_VERSION: HeaderName = HeaderName::from_static("cdi-version");

const AUTH_METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// No RFC has a name for it, so it has one that nobody else will give to something else.
const REVOCATIONS_ENDPOINT: &str = "urn:m2m:oauth:revocations_endpoint";

/// The metadata of the server that is reached at `public_url`. Where to register it says only if clients may.
pub fn metadata(public_url: &Url, dynamic_registration: bool) -> Document {
    let at = |path| below_issuer(public_url, path);
    let mut metadata = json!({
        "issuer": at(""),
        "token_endpoint": at("/oauth/token"),
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "introspection_endpoint": at("/oauth/introspect"),
        "introspection_endpoint_auth_methods_supported": AUTH_METHODS,
        // What SuperTokens calls the introspection endpoint.
        "token_introspection_endpoint": at("/oauth/introspect"),
        "revocation_endpoint": at("/oauth/revoke"),
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        REVOCATIONS_ENDPOINT: at("/oauth/revocations"),
        "grant_types_supported": ["client_credentials"],
        "jwks_uri": at("/jwt/jwks.json"),
        // For client libraries that refuse metadata without the two, though RFC 8414 section 2 lets a server
        // that only grants client credentials leave out the first. `none` is a registered response type.
        "authorization_endpoint": at("/oauth/authorize"),
        "response_types_supported": ["none"],
    });
    if dynamic_registration {
        metadata["registration_endpoint"] = Value::from(at("/clients/register"));
    }
    Document::new(metadata.to_string(), METADATA_MAX_AGE)
}

pub(super) async fn serve_metadata(server: Data<AuthServer>, request: HttpRequest) -> HttpResponse {
    serve(&server.metadata, JSON, &request)
}

/// The key set. A library that takes this server for SuperTokens' core says so, and knows RSA keys only: one written in
/// Python breaks off at any other.
pub(super) async fn serve_key_set(server: Data<AuthServer>, request: HttpRequest) -> HttpResponse {
    let ring = server.keys.ring();
    let mut answer = if request.headers().contains_key(&CDI_VERSION) {
        serve(ring.published_rsa(), JSON, &request)
    } else {
        serve(ring.published(), JSON, &request)
    };
    let vary = HeaderValue::from_static(CDI_VERSION.as_str());
    answer.headers_mut().insert(header::VARY, vary);
    answer
}

/// The document, or 304 for who has it.
pub(super) fn serve(
    document: &Document,
    media_type: &'static str,
    request: &HttpRequest,
) -> HttpResponse {
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.tag() == document.etag),
        Err(_) => false, // a header that makes no sense asks for nothing
    };
    let mut answer = if known {
        HttpResponse::new(StatusCode::NOT_MODIFIED)
    } else {
        HttpResponse::with_body(StatusCode::OK, document.body.clone()).map_into_boxed_body()
    };
    let text = |text| HeaderValue::from_str(text).expect("base64 and numbers are ASCII");
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, text(&document.cache_control));
    headers.insert(header::ETAG, text(&document.quoted_etag));
    if !known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    answer
}
