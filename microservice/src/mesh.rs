//! The call to another service: a token for it, its `/hello`, and what to say when there is none.

use actix_web::http::StatusCode;
use m2m::{FetchError, Scope, SendError, TokenSource, service::Problem};
use reqwest::Response;
use tracing::warn;

use crate::{
    http::Hello,
    services::{ServiceName, Services},
};

/// The largest answer that is relayed, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What a service knows of its mesh.
#[derive(Debug)]
pub struct Mesh {
    /// Who it is itself.
    pub me: ServiceName,
    /// The others.
    pub services: Services,
    /// The tokens for them: one each, held until it is due.
    pub tokens: TokenSource,
    /// For the calls themselves.
    pub http: reqwest::Client,
}

/// Why there is no greeting.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The target is not on the map. What was asked for is not repeated: it may be a secret in the
    /// wrong place.
    #[error("there is no service of that name: name one of {0} as `target`")]
    UnknownTarget(Services),
    /// The provider has decided: this service may not call that one.
    #[error("{from} may not call {to}: policy forbids it ({why})")]
    Forbidden {
        /// This service.
        from: ServiceName,
        /// The target.
        to: ServiceName,
        /// The provider's words.
        why: String,
    },
    /// The provider gave no token, for a reason that has nothing to do with the target.
    #[error("there is no token for {to}: the auth provider cannot be asked, try again in a moment")]
    NoProvider {
        /// The target.
        to: ServiceName,
        /// For the log.
        #[source]
        source: FetchError,
    },
    /// The target did not answer.
    #[error("{to} does not answer: is it running?")]
    Down {
        /// The target.
        to: ServiceName,
        /// For the log.
        #[source]
        source: reqwest::Error,
    },
    /// The target answered something else than a greeting.
    #[error("{to} did not greet but answered {what}")]
    Strange {
        /// The target.
        to: ServiceName,
        /// What it answered instead.
        what: String,
    },
}

impl Mesh {
    /// What the service of that name says to this one. A token that it refuses is renewed once.
    ///
    /// # Errors
    /// Whose fault it is that there is no greeting.
    pub async fn greeting_of(&self, target: &str) -> Result<String, QueryError> {
        let Some((to, url)) = self.services.hello(target) else {
            return Err(QueryError::UnknownTarget(self.services.clone()));
        };
        let request = self.http.get(url);
        let sent = self.tokens.send(request, &[Hello::NAME], to.as_str()).await;
        let answer = sent.map_err(|error| match error {
            SendError::Request(error) => down(to, error),
            SendError::Token(FetchError::Refused {
                error, description, ..
            }) if is_about_policy(&error) => QueryError::Forbidden {
                from: self.me.clone(),
                to: to.clone(),
                why: description.unwrap_or(error),
            },
            SendError::Token(source) => QueryError::NoProvider {
                to: to.clone(),
                source,
            },
            other => QueryError::Strange {
                to: to.clone(),
                what: other.to_string(),
            },
        })?;
        greeting(to, answer).await
    }
}

/// The refusals that another request, for another target, would not have met (RFC 6749 section 5.2,
/// RFC 8707 section 2). The others are about this service or the provider.
fn is_about_policy(error: &str) -> bool {
    matches!(
        error,
        "invalid_target" | "invalid_scope" | "unauthorized_client" | "access_denied"
    )
}

async fn greeting(from: &ServiceName, mut answer: Response) -> Result<String, QueryError> {
    let strange = |what: String| QueryError::Strange {
        to: from.clone(),
        what,
    };
    if answer.status() != reqwest::StatusCode::OK {
        return Err(strange(format!("status {}", answer.status().as_u16())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| down(from, error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(strange(format!("more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| strange("something that is no text".to_owned()))
}

fn down(to: &ServiceName, error: reqwest::Error) -> QueryError {
    QueryError::Down {
        to: to.clone(),
        source: error,
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let says = error.to_string();
        match error {
            QueryError::UnknownTarget(_) => Self::not_found(says).field("target"),
            QueryError::Forbidden { from, .. } => {
                // A quoted string of RFC 9110 section 5.6.4 ends at a quote.
                let description = says.replace(['"', '\\'], "'");
                let challenge = format!(
                    "Bearer realm=\"{from}\", error=\"access_denied\", \
                     error_description=\"{description}\""
                );
                Self::new(StatusCode::UNAUTHORIZED, says)
                    .oauth_error("access_denied")
                    .header("WWW-Authenticate", challenge)
            }
            QueryError::NoProvider { to, source } => {
                warn!("no token for {to}: {source}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, says)
                    .oauth_error("temporarily_unavailable")
                    .header("Retry-After", "5")
            }
            QueryError::Down { to, source } => {
                warn!("no answer of {to}: {source}");
                Self::new(StatusCode::BAD_GATEWAY, says)
            }
            QueryError::Strange { .. } => {
                warn!("{says}");
                Self::new(StatusCode::BAD_GATEWAY, says)
            }
        }
    }
}
