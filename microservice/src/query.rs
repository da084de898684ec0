//! What a caller sends to `POST /query`.

use std::pin::Pin;

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::StatusCode};
use m2m::service::{Problem, media_type, read_body, read_object};
use serde::Deserialize;

/// `{"target": "m2"}`: the service to call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Its name, or what the caller takes for one.
    pub target: String,
}

/// A body that is missing or broken is 400, whatever it calls itself. One that is fine but not
/// called JSON is refused after that: a web page of a stranger could have had a browser on this
/// machine send it, which sends JSON only to those who allow it.
impl FromRequest for Query {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let body = read_body(&request, &mut payload)
                .await
                .map_err(|error| Problem::new(error.status(), error.to_string()))?;
            if body.is_empty() {
                let help = "there is no body: send a JSON object, as in {\"target\": \"m2\"}";
                return Err(Problem::bad_request(help));
            }
            let query = read_object(&body)?;
            if media_type(&request).as_deref() != Some("application/json") {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "send the body with the header `Content-Type: application/json`",
                ));
            }
            Ok(query)
        })
    }
}
