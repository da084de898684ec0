//! The admin API, as its caller sees it: JSON in, JSON out, and each refusal as one line that says how to mend it.

use std::{error::Error, time::Duration};

use anyhow::anyhow;
use m2m::{FetchError, SendError, TokenSource};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, IF_MATCH, RETRY_AFTER},
};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    failure::Failure,
    output::{tidied, visible},
};
use crate::{built_in::AUDIENCE, client::random_id, http::ISSUER_PATH};

/// How long the provider may take: it may have to make RSA keys, or compare a large policy.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes. A graph of a million clients has about 40 MB.
const MAX_ANSWER: usize = 128 << 20;

/// The most rows that the API puts on one page.
const PAGE: usize = 1000;

/// How long to wait before a request is sent again, in seconds, whatever the provider would like.
const LONGEST_PAUSE: u64 = 5;

/// A running provider and who we are to it.
pub(super) struct Api {
    tokens: TokenSource,
    http: Client,
    url: String,
    /// Where the credentials come from, for messages.
    origin: String,
}

/// What the API answered. Without a body it is `null`.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) etag: Option<String>,
}

impl Api {
    /// Touches no network. A secret is only sent over https, or to this machine: `TokenSource` refuses any other URL.
    pub(super) fn new(
        url: &str,
        client: &str,
        secret: SecretString,
        origin: String,
    ) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let tokens = TokenSource::builder(format!("{url}{ISSUER_PATH}"), client, secret)
            .token_endpoint(format!("{url}{ISSUER_PATH}/oauth/token"))
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::Usage(visible(&error.to_string())))?;
        Ok(Self {
            tokens,
            http: m2m::http_client(TIMEOUT),
            url,
            origin,
        })
    }

    pub(super) async fn get(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path)?).await
    }

    /// The rows of a list from all its pages, `limit` at most.
    pub(super) async fn list(
        &self,
        name: &str,
        query: &[(&str, Option<String>)],
        limit: Option<usize>,
    ) -> Result<Vec<Value>, Failure> {
        let limit = limit.unwrap_or(usize::MAX);
        let (mut rows, mut cursor) = (Vec::new(), None);
        while rows.len() < limit {
            let size = PAGE.min(limit - rows.len());
            let page = self.page(&[name], query, size, cursor.as_deref()).await?;
            rows.extend(self.rows(&page, rows_of(name))?);
            let next = page["next_cursor"].as_str().map(str::to_owned);
            if next.is_none() || next == cursor {
                break;
            }
            cursor = next;
        }
        rows.truncate(limit);
        Ok(rows)
    }

    /// One page of a list.
    pub(super) async fn page(
        &self,
        path: &[&str],
        query: &[(&str, Option<String>)],
        size: usize,
        cursor: Option<&str>,
    ) -> Result<Value, Failure> {
        let given = query
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let size = size.to_string();
        let own = [("limit", Some(size.as_str())), ("cursor", cursor)];
        let own = own
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<_> = given.chain(own).collect();
        let request = self.request(Method::GET, path)?.query(&query);
        Ok(self.send(request).await?.value)
    }

    /// The rows below the member `name` of an answer.
    pub(super) fn rows(&self, answer: &Value, name: &str) -> Result<Vec<Value>, Failure> {
        let rows = answer[name].as_array().cloned();
        rows.ok_or_else(|| self.unexpected())
    }

    /// Makes something new. The key lets the provider recognise the request when it is sent again, so that a lost
    /// answer makes nothing twice and loses no secret.
    pub(super) async fn create(&self, path: &[&str], body: &Value) -> Result<Answer, Failure> {
        let key = random_id();
        let request = || -> Result<RequestBuilder, Failure> {
            let request = self.request(Method::POST, path)?.json(body);
            Ok(request.header("Idempotency-Key", &key))
        };
        let failure = match self.send(request()?).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let pause = match &failure {
            Failure::Lost(_) => 0,
            Failure::Refused {
                status: 503,
                retry_after,
                ..
            } => retry_after.unwrap_or(1).min(LONGEST_PAUSE),
            _ => return Err(failure),
        };
        tokio::time::sleep(Duration::from_secs(pause)).await;
        self.send(request()?).await
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Answer, Failure> {
        self.send(self.request(Method::POST, path)?.json(body))
            .await
    }

    /// Sends a policy file.
    pub(super) async fn post_toml(
        &self,
        path: &[&str],
        prune: bool,
        text: &str,
    ) -> Result<Answer, Failure> {
        let request = self
            .request(Method::POST, path)?
            .query(&[("prune", prune)])
            .header(CONTENT_TYPE, "application/toml")
            .body(text.to_owned());
        self.send(request).await
    }

    /// The answer's body as it is.
    pub(super) async fn get_text(&self, path: &[&str]) -> Result<String, Failure> {
        let response = self.answered(self.request(Method::GET, path)?).await?;
        let body = self.body(response).await?;
        String::from_utf8(body.to_vec()).map_err(|_| self.unexpected())
    }

    /// With `etag`, only what it belongs to is changed: another version is refused.
    pub(super) async fn patch(
        &self,
        path: &[&str],
        body: &Value,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let request = self.request(Method::PATCH, path)?.json(body);
        self.send(if_match(request, etag)).await
    }

    /// As with [`Self::patch`].
    pub(super) async fn delete(&self, path: &[&str], etag: Option<&str>) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, path)?;
        self.send(if_match(request, etag)).await?;
        Ok(())
    }

    /// A part of an answer in its type, its texts such that a terminal can show them.
    pub(super) fn read<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Failure> {
        serde_json::from_value(tidied(value)).map_err(|_| self.unexpected())
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        let mut url = format!("{}/admin/v1", self.url);
        for part in path {
            // A parser of URLs reads these as a way up, also when they are encoded.
            if matches!(*part, "" | "." | "..") {
                return Err(Failure::Usage(format!("`{part}` is no id or name")));
            }
            url.push('/');
            url.extend(utf8_percent_encode(part, NON_ALPHANUMERIC));
        }
        Ok(self.http.request(method, url))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = self.answered(request).await?;
        let etag = response.headers().get(ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let empty = response.status() == StatusCode::NO_CONTENT;
        let body = self.body(response).await?;
        let value = if empty {
            Value::Null
        } else {
            serde_json::from_slice(&body).map_err(|_| self.unexpected())?
        };
        Ok(Answer { value, etag })
    }

    /// An answer that is no refusal. The token is asked for without scopes: it then has all that the client has, and
    /// rights over this server can be handed out only by who has them.
    async fn answered(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let sent = self.tokens.send(request, &[], AUDIENCE).await;
        let response = sent.map_err(|error| self.unsent(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = self.body(response).await?;
        let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
            return Err(self.unexpected());
        };
        Err(Failure::Refused {
            status: status.as_u16(),
            told: problem.told(status, retry_after),
            retry_after,
        })
    }

    async fn body(&self, mut response: Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut body = Zeroizing::new(Vec::new()); // there may be a secret in it
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(anyhow!("the answer of {} is too large", self.url).into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unsent(&self, error: SendError) -> Failure {
        match error {
            SendError::Request(error) => self.lost(&error),
            SendError::Token(error @ FetchError::Refused { .. }) => {
                let told = visible(&error.to_string());
                anyhow!("{told}: the credentials are those of {}", self.origin).into()
            }
            SendError::Token(error) => {
                Failure::Failed(anyhow!("{error} Name another one with --url"))
            }
            error => anyhow::Error::from(error).into(),
        }
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::Lost(visible(&format!(
            "no answer from {} ({cause}): look whether it was done before you try again",
            self.url
        )))
    }

    fn unexpected(&self) -> Failure {
        anyhow!(
            "{} does not answer as an auth-provider does: is this its URL, and its version that of this program?",
            self.url
        )
        .into()
    }
}

fn if_match(request: RequestBuilder, etag: Option<&str>) -> RequestBuilder {
    match etag {
        Some(etag) => request.header(IF_MATCH, etag),
        None => request,
    }
}

/// The member that has the rows of a list.
fn rows_of(name: &str) -> &str {
    if name == "audit" { "events" } else { name }
}

/// RFC 9457.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    field: Option<String>,
}

impl Problem {
    fn told(self, status: StatusCode, retry_after: Option<u64>) -> String {
        let mut told = self.detail.trim_end_matches('.').to_owned();
        if let Some(field) = &self.field {
            told = format!("{told} (field `{field}`)");
        }
        match (status.as_u16(), retry_after) {
            (412, _) => return "it was changed in the meantime: look again".to_owned(),
            (429 | 503, Some(seconds)) => told = format!("{told}: try again in {seconds} s"),
            _ => {}
        }
        visible(&told)
    }
}
