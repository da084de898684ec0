//! A Vault server, HashiCorp's or OpenBao's, as it is reached: where it is, who we are there, and its answers.
//!
//! Its store ([`crate::storage`]) and its keys ([`crate::kek`]) are used through this alone. Answers have a time limit and a size
//! limit, redirects are not followed, and what the server says in words is not repeated: it may hold names of users.

mod login;
mod settings;

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;
use zeroize::Zeroizing;

pub(crate) use settings::parse_path;
pub use settings::{Credentials, InvalidSettings, Settings};

use login::Session;

/// How long an answer may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes; HashiCorp's server lists a folder only as a whole.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A Vault server, and a session there.
pub struct Server {
    http: Client,
    /// Without a slash at its end.
    address: String,
    namespace: Option<HeaderValue>,
    session: Session,
}

/// What the server said to a request that it understood.
pub(crate) enum Answer {
    Done(Zeroizing<Vec<u8>>),
    /// 400: what the path's own rules forbid, a check-and-set that does not match for one.
    Refused(Zeroizing<Vec<u8>>),
    /// 404. There may be a body, which says what was there.
    Absent(Zeroizing<Vec<u8>>),
}

/// Why there is no answer that helps.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServerError {
    #[error("the Vault server does not answer")]
    Unreachable(#[source] Arc<reqwest::Error>),
    #[error("the Vault server answered with status {0}: {hint}", hint = hint(*.0))]
    Status(u16),
    #[error("the Vault server's answer is not understood: {0}")]
    Unexpected(&'static str),
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => "VAULT_ADDR must name the active node, or a load balancer that finds it",
        400 | 405 => "the secrets engine at this path is another one than is needed",
        403 => "the token or its policy does not allow it",
        404 => "there is no such secrets engine",
        429 => "its rate limit is exceeded",
        503 => "it is sealed, or not the active node",
        _ => "it is in trouble",
    }
}

impl ServerError {
    /// Whether the request may have been carried out all the same.
    pub(crate) fn may_have_happened(&self) -> bool {
        match self {
            Self::Unreachable(error) => !error.is_connect(),
            Self::Status(status) => (500..=599).contains(status),
            Self::Unexpected(_) => true,
        }
    }
}

/// The envelope of every answer.
#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

/// The value in an answer's `data`.
pub(crate) fn data<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServerError> {
    serde_json::from_slice(body)
        .map(|Data { data }| data)
        .map_err(|_| ServerError::Unexpected("it is no JSON, or lacks something"))
}

impl Server {
    /// Takes the address and proves who we are. What is wrong with either is found out here.
    ///
    /// # Errors
    /// When the server does not answer or does not know us.
    pub async fn open(settings: &Settings) -> Result<Arc<Self>, ServerError> {
        let server = Arc::new(Self {
            http: settings.http.clone(),
            address: settings.address.as_str().trim_end_matches('/').to_owned(),
            namespace: settings.namespace.clone(),
            session: Session::new(settings.credentials.clone()),
        });
        server.session.token(&server).await?;
        Ok(server)
    }

    /// `path` is below `/v1/`, and made of characters that stand for themselves in a URL.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, ServerError> {
        self.ask(&Method::GET, path, None).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer, ServerError> {
        let body = serde_json::to_vec(body).map_err(|_| ServerError::Unexpected("never"))?;
        self.ask(&Method::POST, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, ServerError> {
        self.ask(&Method::DELETE, path, None).await
    }

    /// The server's clock, in milliseconds since 1970, to the second.
    pub(crate) async fn clock(&self) -> Result<u64, ServerError> {
        #[derive(Deserialize)]
        struct Health {
            server_time_utc: u64,
        }
        // In the root namespace and without a token, whoever we are.
        let request = self.request(
            &Method::GET,
            "sys/health?standbyok=true&perfstandbyok=true",
            None,
        );
        let answer = send(request?).await?;
        let (Answer::Done(body) | Answer::Refused(body) | Answer::Absent(body)) =
            read(answer).await?;
        let health: Health = serde_json::from_slice(&body)
            .map_err(|_| ServerError::Unexpected("sys/health has no server_time_utc"))?;
        // On average it is half a second past the second that it says.
        Ok(health.server_time_utc * 1000 + 500)
    }

    /// Asks, and once more with another token when this one has ended before its time.
    async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ServerError> {
        let login = self.session.token(self).await?;
        let answer = self.ask_as(&login.token, method, path, body.clone()).await;
        if !matches!(answer, Err(ServerError::Status(403))) {
            return answer;
        }
        match self.session.replace(self, &login).await? {
            Some(login) => self.ask_as(&login.token, method, path, body).await,
            None => answer,
        }
    }

    async fn ask_as(
        &self,
        token: &SecretString,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ServerError> {
        let mut token = HeaderValue::from_str(token.expose_secret())
            .map_err(|_| ServerError::Unexpected("a token that cannot stand in a header"))?;
        token.set_sensitive(true);
        let mut request = self
            .request(method, path, body)?
            .header("X-Vault-Token", token);
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        read(send(request).await?).await
    }

    /// Without a token: a login.
    async fn introduce(&self, path: &str, body: Vec<u8>) -> Result<Answer, ServerError> {
        let mut request = self.request(&Method::POST, path, Some(body))?;
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        read(send(request).await?).await
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<RequestBuilder, ServerError> {
        let url = Url::parse(&format!("{}/v1/{path}", self.address))
            .map_err(|_| ServerError::Unexpected("a path that is none"))?;
        // Asked for by agents and proxies, so that no page of a browser can do it.
        let request = self
            .http
            .request(method.clone(), url)
            .header("X-Vault-Request", "true");
        Ok(match body {
            Some(body) => request
                .header("Content-Type", "application/json")
                .body(body),
            None => request,
        })
    }
}

async fn send(request: RequestBuilder) -> Result<Response, ServerError> {
    request.send().await.map_err(unreachable)
}

fn unreachable(error: reqwest::Error) -> ServerError {
    ServerError::Unreachable(Arc::new(error.without_url()))
}

async fn read(mut response: Response) -> Result<Answer, ServerError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ServerError::Unexpected("it is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    match response.status().as_u16() {
        200..=299 => Ok(Answer::Done(body)),
        400 => Ok(Answer::Refused(body)),
        404 => Ok(Answer::Absent(body)),
        status => Err(ServerError::Status(status)),
    }
}
