//! Requests that are made by hand, so that each of them can be shown: what a library would do behind
//! the caller's back, the lab does in the open.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::{
    api::Servers,
    cli::http_url,
    credentials::Credentials,
    exchange::{Exchange, Message, Names},
    failure::{Failure, Kind},
};

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// How the caller shows who it is.
#[derive(Clone, Copy)]
pub enum Auth<'a> {
    /// Not at all.
    Nobody,
    /// As a client, with its secret (RFC 6749 section 2.3.1).
    Client(&'a Credentials),
    /// With an access token (RFC 6750 section 2.1).
    Bearer(&'a SecretString),
}

/// What is sent along.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// `application/x-www-form-urlencoded`.
    Form(&'a [(&'a str, &'a str)]),
    /// `application/json`.
    Json(&'a Value),
    /// `application/toml`: a policy.
    Toml(&'a str),
}

/// A request.
pub struct Ask<'a> {
    /// Who asks, for people.
    pub from: &'a str,
    /// What is to be done.
    pub method: Method,
    /// With what.
    pub url: Url,
    /// In whose name.
    pub auth: Auth<'a>,
    /// What is sent along.
    pub body: Body<'a>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// As text; may hold secrets.
    pub body: String,
    /// RFC 6749 section 5.2 and RFC 6750 section 3.1: `invalid_token` and the like.
    pub error: Option<String>,
    /// The server's own words for it.
    pub detail: Option<String>,
}

impl Answer {
    /// Whether it is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// `401, invalid_token: the token has expired`
    pub fn words(&self) -> String {
        let error = self.error.as_deref().map(|error| format!(", {error}"));
        let detail = self.detail.as_deref().map(|detail| format!(": {detail}"));
        let parts = [error, detail].map(Option::unwrap_or_default).concat();
        crate::exchange::hide(&format!("{}{parts}", self.status))
    }

    fn read(status: u16, body: String) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Problem {
            error: Option<String>,
            error_description: Option<String>,
            detail: Option<String>,
        }
        let problem = if (200..300).contains(&status) {
            Problem::default()
        } else {
            serde_json::from_str(&body).unwrap_or_default()
        };
        let printable = |text: String| text.replace(char::is_control, " ");
        Self {
            status,
            body,
            error: problem.error.map(printable),
            detail: problem.error_description.or(problem.detail).map(printable),
        }
    }
}

/// Makes requests and writes them down. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    http: reqwest::Client,
    names: Names,
    servers: Arc<Servers>,
}

/// Where the issuer does what, as its metadata says (RFC 8414 section 2).
#[derive(Clone, Debug)]
pub struct Endpoints(Value);

impl Endpoints {
    /// Gives tokens.
    ///
    /// # Errors
    /// When the metadata does not say, as for the others.
    pub fn token(&self) -> Result<Url, Failure> {
        self.named("token_endpoint")
    }

    /// Takes them back (RFC 7009).
    pub fn revocation(&self) -> Result<Url, Failure> {
        self.named("revocation_endpoint")
    }

    /// Says what they are worth (RFC 7662).
    pub fn introspection(&self) -> Result<Url, Failure> {
        self.named("introspection_endpoint")
    }

    fn named(&self, name: &str) -> Result<Url, Failure> {
        let text = self.0[name].as_str();
        let text = text.ok_or_else(|| wrong(format!("the issuer names no {name}")))?;
        http_url(text).map_err(|why| wrong(format!("the issuer's {name}: {why}")))
    }
}

/// What of the metadata matters here; all of it is longer than a screen.
fn in_short(metadata: &Value) -> String {
    let names = ["issuer", "token_endpoint", "jwks_uri"];
    let members: Vec<String> = names
        .iter()
        .map(|name| format!("{}:{}", Value::from(*name), metadata[*name]))
        .collect();
    format!("{{{}, …}}", members.join(","))
}

fn wrong(why: String) -> Failure {
    Failure::new(Kind::Failed, why).hint("see --issuer")
}

impl Wire {
    /// Touches no network.
    pub fn new(servers: Arc<Servers>) -> Self {
        Self {
            http: m2m::http_client(TIMEOUT),
            names: Names::of(&servers),
            servers,
        }
    }

    /// The names of the servers.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Asks, and tells what was said on both sides. There is no answer when nobody gave one.
    pub async fn send(&self, ask: Ask<'_>) -> (Exchange, Result<Answer, Failure>) {
        let to = self.names.at(&ask.url);
        let (origin, url) = (ask.url.origin().ascii_serialization(), ask.url.to_string());
        let (request, shown) = self.request(&ask);
        let began = Instant::now();
        let sent = read(request).await;
        let mut exchange = Exchange {
            from: ask.from.to_owned(),
            to,
            method: ask.method.to_string(),
            url,
            request: shown,
            status: None,
            response: Message::default(),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let Ok((status, headers, body)) = sent else {
            let name = &exchange.to;
            let failure = Failure::new(
                Kind::Unreachable,
                format!("cannot reach {name} at {origin}"),
            )
            .hint(format!(
                "is {name} running? `scripts/demo --keep` starts the servers of the lab"
            ));
            return (exchange, Err(failure));
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        exchange.response = Message::new(headers, Some(&body));
        exchange.status = Some(status);
        (exchange, Ok(Answer::read(status, body)))
    }

    /// The request, and what may be shown of it.
    fn request(&self, ask: &Ask<'_>) -> (reqwest::RequestBuilder, Message) {
        let request = self.http.request(ask.method.clone(), ask.url.clone());
        let (request, authorization) = match ask.auth {
            Auth::Nobody => (request, None),
            Auth::Client(client) => {
                // RFC 6749 section 2.3.1: both are form-encoded before they are joined.
                let encode = |text: &str| {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                let id = encode(&client.client_id);
                let secret = encode(client.client_secret.expose_secret());
                let shown = format!("authorization: Basic {}:…", client.client_id);
                (request.basic_auth(id, Some(secret)), Some(shown))
            }
            Auth::Bearer(token) => {
                let shown = "authorization: Bearer …".to_owned();
                (request.bearer_auth(token.expose_secret()), Some(shown))
            }
        };
        let (request, kind, body) = match ask.body {
            Body::Empty => (request, None, None),
            Body::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                let shown = form.extend_pairs(fields).finish();
                (request.form(fields), None, Some(shown))
            }
            Body::Json(json) => {
                let kind = "content-type: application/json";
                (request.json(json), Some(kind), Some(json.to_string()))
            }
            Body::Toml(text) => {
                let kind = "content-type: application/toml";
                let request = request.header("content-type", "application/toml");
                let request = request.body(text.to_owned());
                (request, Some(kind), Some(text.to_owned()))
            }
        };
        let mut shown = Message::new([], body.as_deref());
        shown.headers.extend(authorization);
        shown.headers.extend(kind.map(str::to_owned));
        (request, shown)
    }

    /// Reads the issuer's metadata.
    pub async fn endpoints(
        &self,
        from: &str,
    ) -> (Option<Box<Exchange>>, Result<Endpoints, Failure>) {
        let url = match metadata_url(&self.servers.issuer) {
            Ok(url) => url,
            Err(why) => return (None, Err(wrong(why))),
        };
        let ask = Ask {
            from,
            method: Method::GET,
            url,
            auth: Auth::Nobody,
            body: Body::Empty,
        };
        let (mut exchange, answer) = self.send(ask).await;
        let endpoints = answer.and_then(|answer| {
            let metadata = answer.json();
            // RFC 8414 section 3.3: else somebody answers in the issuer's place.
            if answer.is_success() && metadata["issuer"] == self.servers.issuer.as_str() {
                exchange.response.body = Some(in_short(&metadata));
                return Ok(Endpoints(metadata));
            }
            let said = format!("{} does not answer as the issuer does", exchange.url);
            Err(wrong(said))
        });
        (Some(Box::new(exchange)), endpoints)
    }
}

type Read = (u16, Vec<(String, String)>, String);

/// The answer with its body. What went wrong on the way is of no use to a learner: nobody answered.
async fn read(request: reqwest::RequestBuilder) -> Result<Read, ()> {
    let mut response = request.send().await.map_err(drop)?;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        })
        .collect();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(drop)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, String::from_utf8_lossy(&body).into_owned()))
}

/// RFC 8414 section 3.1: the well-known part goes between host and path.
fn metadata_url(issuer: &str) -> Result<Url, String> {
    let mut url = http_url(issuer)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok(url)
}
