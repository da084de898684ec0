//! A provider as it is reached: its token endpoint, its revocation endpoint, and the vault's own credentials there.

use std::time::Duration;

use async_trait::async_trait;
use m2m::http_client;
use reqwest::{
    Client, RequestBuilder, Response,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::{Url, form_urlencoded};

use super::{Answer, Dialect, Failure, HttpAnswer, TokenEndpoint, read_answer};
use crate::{
    connection::Service,
    secret::{Token, Tokens},
};

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// How long a provider may ask to be left alone: a broken clock there must not stop us for days.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// How the vault proves itself to a token endpoint (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMethod {
    /// In the Authorization header, form-encoded first.
    Basic,
    /// In the body.
    Post,
}

/// The vault's own credentials at a provider.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    pub id: String,
    pub secret: SecretString,
}

/// How a provider is told that tokens are void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// RFC 7009.
    Standard(Url),
    /// `DELETE` with the token in a JSON body and the credentials in Basic.
    Github(Url),
    /// `POST` with the token as the bearer.
    Slack(Url),
}

/// A provider from the configuration.
#[derive(Clone, Debug)]
pub struct Provider {
    pub service: Service,
    pub dialect: Dialect,
    pub token_endpoint: Url,
    pub revocation: Option<Revocation>,
    /// Without them tokens can be kept and given, but not refreshed.
    pub client: Option<ClientCredentials>,
    pub auth: AuthMethod,
    /// How long before its end a token is refreshed, at most; one that lives less than four times as long is refreshed in
    /// the last quarter of its life.
    pub refresh_ahead: Duration,
    http: Client,
}

impl Provider {
    pub fn new(
        service: Service,
        dialect: Dialect,
        token_endpoint: Url,
        client: Option<ClientCredentials>,
        timeout: Duration,
    ) -> Self {
        Self {
            service,
            dialect,
            token_endpoint,
            revocation: None,
            client,
            auth: AuthMethod::Basic,
            refresh_ahead: Duration::from_mins(5),
            http: http_client(timeout),
        }
    }

    /// From which moment on a token is refreshed that ends at `expires_at`. All in milliseconds since 1970.
    pub fn refresh_from(&self, now: u64, expires_at: u64) -> u64 {
        let ahead = u64::try_from(self.refresh_ahead.as_millis()).unwrap_or(u64::MAX);
        expires_at - ahead.min(expires_at.saturating_sub(now) / 4)
    }

    /// Tells the provider that these tokens are void. Whether it took that; `None` when it has no endpoint for it.
    pub async fn revoke(&self, tokens: &Tokens) -> Option<bool> {
        let revocation = self.revocation.as_ref()?;
        let mut done = true;
        // The refresh token first: most providers void the access token with it (RFC 7009 section 2.1).
        if let (Revocation::Standard(url), Some(refresh)) = (revocation, &tokens.refresh) {
            done &= self.revoke_at(url, refresh, "refresh_token").await;
        }
        done &= match revocation {
            Revocation::Standard(url) => self.revoke_at(url, &tokens.access, "access_token").await,
            Revocation::Github(url) => {
                let request = self.with_basic(self.http.delete(url.clone()));
                let request = request
                    .header(ACCEPT, "application/vnd.github+json")
                    .json(&json!({"access_token": tokens.access.expose()}));
                // 404 and 422: it is no token any more.
                was_taken(request.send().await, &[404, 422]).await
            }
            Revocation::Slack(url) => {
                let request = self
                    .http
                    .post(url.clone())
                    .bearer_auth(tokens.access.expose());
                was_taken(request.send().await, &[]).await
            }
        };
        Some(done)
    }

    async fn revoke_at(&self, url: &Url, token: &Token, hint: &str) -> bool {
        let form = [("token", token.expose()), ("token_type_hint", hint)];
        was_taken(self.authenticated(url, &form).send().await, &[]).await
    }

    /// A form with the vault's credentials.
    fn authenticated(&self, url: &Url, form: &[(&str, &str)]) -> RequestBuilder {
        let request = self.http.post(url.clone());
        let mut form = form.to_vec();
        match (&self.client, self.auth) {
            (Some(client), AuthMethod::Post) => {
                form.push(("client_id", &client.id));
                form.push(("client_secret", client.secret.expose_secret()));
                request.form(&form)
            }
            _ => self.with_basic(request.form(&form)),
        }
    }

    fn with_basic(&self, request: RequestBuilder) -> RequestBuilder {
        let Some(client) = &self.client else {
            return request;
        };
        let encoded =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        request.basic_auth(
            encoded(&client.id),
            Some(encoded(client.secret.expose_secret())),
        )
    }
}

#[async_trait]
impl TokenEndpoint for Provider {
    async fn refresh(&self, refresh: &Token) -> Answer {
        let failed = |failure| Answer::Failed {
            failure,
            retry_after: None,
        };
        if self.client.is_none() {
            return failed(Failure::NotConfigured);
        }
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose()),
        ];
        let request = self
            .authenticated(&self.token_endpoint, &form)
            .header(ACCEPT, "application/json")
            // A kept connection may be closed just as the request is sent, and then nobody knows whether it arrived.
            .header(CONNECTION, "close");
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return failed(Failure::Unreachable),
            Err(error) if error.is_timeout() => return failed(Failure::Timeout),
            Err(_) => return failed(Failure::Dropped),
        };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        match read_body(answer).await {
            Ok(body) => read_answer(
                self.dialect,
                &HttpAnswer {
                    status,
                    is_form: is_form(&headers),
                    retry_after: retry_after(&headers),
                    body: &body,
                },
            ),
            Err(failure) => failed(failure),
        }
    }
}

async fn read_body(mut answer: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER => {
                return Err(Failure::Malformed);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err(Failure::Timeout),
            Err(_) => return Err(Failure::Dropped),
        }
    }
}

/// Whether an answer to a revocation says that the token is void: success, or one of `others`. Slack says `"ok": false` with
/// status 200, also about a token that is void already.
async fn was_taken(answer: Result<Response, reqwest::Error>, others: &[u16]) -> bool {
    let Ok(answer) = answer else { return false };
    let status = answer.status();
    if !status.is_success() {
        return others.contains(&status.as_u16());
    }
    let body = read_body(answer).await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_void = |error: &str| {
        matches!(
            error,
            "token_revoked" | "invalid_auth" | "token_expired" | "account_inactive"
        )
    };
    body["ok"] != false || body["error"].as_str().is_some_and(is_void)
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    media_type.is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"))
}

/// Seconds only: of dates, which need both clocks to be right, nobody at a token endpoint makes use.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = Duration::from_secs(text.trim().parse().ok()?);
    Some(seconds.min(LONGEST_RETRY_AFTER))
}
