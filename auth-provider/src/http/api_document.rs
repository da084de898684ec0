//! What the admin API takes and answers: as an `OpenAPI` document for programs, and as a page for people. Both are made of
//! `openapi.json`, and open to everyone: they hold no secret, and say no more than the source does. Each is made in the
//! milliseconds of the first request for it, since most servers are never asked.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{api_page, discovery::serve};
use crate::document::Document;

/// How long others may keep either, in seconds.
const MAX_AGE: u32 = 300;

const TEXT: &str = include_str!("openapi.json");

/// The page has a style and nothing else: neither scripts nor forms, and nothing from elsewhere.
struct Page {
    document: Document,
    policy: HeaderValue,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| Document::new(TEXT.to_owned(), MAX_AGE));

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let api = serde_json::from_str(TEXT).expect("tests read the document");
    let style = STANDARD.encode(digest::digest(&digest::SHA256, api_page::STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    Page {
        document: Document::new(api_page::render(&api), MAX_AGE),
        policy: HeaderValue::try_from(policy).expect("it is ASCII"),
    }
});

/// `GET /admin/v1/openapi.json`
pub(super) async fn document(request: HttpRequest) -> HttpResponse {
    serve(&DOCUMENT, "application/json", &request)
}

/// `GET /admin/v1/docs`
pub(super) async fn page(request: HttpRequest) -> HttpResponse {
    let mut answer = serve(&PAGE.document, "text/html; charset=utf-8", &request);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}
