//! `GET /v1/sessions/jwks/{project}`: HTTP in, HTTP out.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Path},
};
use m2m::trace::request_id;
use serde_json::{Value, json};

use super::{answer, error::Refused};
use crate::{projects, server::AuthServer};

/// `GET /v1/sessions/jwks/{project}` and `GET /v1/b2b/sessions/jwks/{project}`
pub(super) async fn show(
    server: Data<AuthServer>,
    project: Path<String>,
) -> Result<HttpResponse, Refused> {
    let found = projects::key_set(&server, &project).await;
    let (keys, max_age) = found.ok_or_else(Refused::no_such_project)?;
    let keys: Vec<Value> = keys.into_iter().map(with_all_members).collect();
    let mut answer = answer(&request_id(), json!({"keys": keys}));
    let cached = format!("public, max-age={max_age}")
        .parse()
        .expect("a number is ASCII");
    answer.headers_mut().insert(header::CACHE_CONTROL, cached);
    Ok(answer)
}

/// Typed libraries want the members of a certificate (RFC 7517 section 4.7) in each key. These keys have none.
fn with_all_members(mut key: Value) -> Value {
    key["key_ops"] = json!(["verify"]);
    key["x5c"] = json!([]);
    key["x5tS256"] = json!("");
    key
}
