//! The two services, as functions.
//!
//! Every call names the one scope it needs, and [`m2m::client::TokenSource`] sees to it that a
//! token with that scope for that service goes along: from memory, or fresh from the issuer. What
//! goes wrong comes back as a [`Failure`] that says what to do next. Each call is a trace of its own,
//! which goes through all servers that it needs.

use std::{sync::Arc, time::Duration};

use m2m::{
    ConfigError,
    client::{AccessToken, FetchError, SendError, TokenSource},
    trace::traced,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use crate::{
    credentials::Credentials,
    exchange::{Exchange, Names},
    failure::{Failure, Kind},
    records::{Event, EventFields, Note, NoteFields},
    wire::{Ask, Auth, Body, Wire},
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// No answer is longer than this: a full page of the longest rows fits.
const MAX_ANSWER: usize = 64 << 20;

/// The services that the assistant calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Events.
    Calendar,
    /// Notes.
    Note,
}

impl Service {
    /// The name of the program, and the audience of its tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calendar => "calendar-service",
            Self::Note => "note-service",
        }
    }

    /// What it keeps, and the path under which it does.
    pub fn thing(self) -> &'static str {
        match self {
            Self::Calendar => "event",
            Self::Note => "note",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Calendar => "--calendar-url",
            Self::Note => "--note-url",
        }
    }
}

/// What a call does to a service, and so the scope it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look only.
    Read,
    /// Add, change or delete.
    Write,
}

/// The token that a call needs: one audience, one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// For which service.
    pub service: Service,
    /// To do what there.
    pub access: Access,
}

impl Need {
    /// The scope as the resource defines it.
    pub fn scope(self) -> &'static str {
        match (self.service, self.access) {
            (Service::Calendar, Access::Read) => "calendar.read",
            (Service::Calendar, Access::Write) => "calendar.write",
            (Service::Note, Access::Read) => "note.read",
            (Service::Note, Access::Write) => "note.write",
        }
    }
}

/// Where the servers are.
#[derive(Clone, Debug)]
pub struct Servers {
    /// The issuer identifier of the auth-provider.
    pub issuer: String,
    /// Under which the calendar service has `/event`.
    pub calendar: Url,
    /// Under which the note service has `/note`.
    pub note: Url,
    /// Under which a resource server that asks the issuer has `/protected`, if one runs.
    pub files: Url,
}

/// A client of both services. Cheap to clone; clones share their tokens.
#[derive(Clone)]
pub struct Api {
    tokens: TokenSource,
    http: reqwest::Client,
    servers: Arc<Servers>,
    wire: Wire,
    credentials: Arc<Credentials>,
}

impl Api {
    /// Touches no network.
    pub fn new(servers: Servers, credentials: &Credentials) -> Result<Self, Failure> {
        let secret = credentials.client_secret.clone();
        let tokens = TokenSource::client_secret(&servers.issuer, &credentials.client_id, secret)
            .map_err(|e| {
                let hint = match e {
                    ConfigError::Credential(_) => format!("it comes from {}", credentials.origin),
                    _ => "see --issuer".to_owned(),
                };
                Failure::new(Kind::Usage, e.to_string()).hint(hint)
            })?;
        let servers = Arc::new(servers);
        Ok(Self {
            tokens,
            http: m2m::http_client(TIMEOUT),
            wire: Wire::new(Arc::clone(&servers)),
            servers,
            credentials: Arc::new(credentials.clone()),
        })
    }

    /// The names of the servers.
    pub fn names(&self) -> &Names {
        self.wire.names()
    }

    /// A token for `resource` with `scopes`, or with all that the grant has when there are none.
    pub async fn token(
        &self,
        scopes: &[&str],
        resource: &str,
    ) -> Result<Arc<AccessToken>, Failure> {
        let token = traced("fetch token", self.tokens.token(scopes, resource)).await;
        token.map_err(|e| self.no_token(e, scopes, resource))
    }

    /// The token that the last call with this need used, without asking for one.
    pub fn token_held(&self, need: Need) -> Option<Arc<AccessToken>> {
        self.tokens.peek(&[need.scope()], need.service.name())
    }

    /// The token that is held for `resource` with these scopes, a text with spaces between them.
    pub fn held(&self, scopes: &str, resource: &str) -> Option<Arc<AccessToken>> {
        let scopes: Vec<&str> = scopes.split_whitespace().collect();
        self.tokens.peek(&scopes, resource)
    }

    /// Drops the token that is held, and fetches another one.
    pub async fn refresh(&self, scopes: &str, resource: &str) -> Result<Arc<AccessToken>, Failure> {
        if let Some(held) = self.held(scopes, resource) {
            self.tokens.forget(&held);
        }
        let scopes: Vec<&str> = scopes.split_whitespace().collect();
        self.token(&scopes, resource).await
    }

    /// Has the issuer take back the token that is held (RFC 7009). It is held on to, so that the next
    /// call shows what comes of it. Also says what went over the wire.
    pub async fn revoke(
        &self,
        scopes: &str,
        resource: &str,
    ) -> (Vec<Exchange>, Result<(), Failure>) {
        const SELF: &str = "assistant";
        let Some(held) = self.held(scopes, resource) else {
            let gone = Failure::new(Kind::Failed, "this token is no longer held");
            return (vec![], Err(gone));
        };
        let (asked, endpoints) = self.wire.endpoints(SELF).await;
        let mut exchanges: Vec<Exchange> = asked.into_iter().map(|asked| *asked).collect();
        let url = match endpoints.and_then(|endpoints| endpoints.revocation()) {
            Ok(url) => url,
            Err(failure) => return (exchanges, Err(failure)),
        };
        let ask = Ask {
            from: SELF,
            method: Method::POST,
            url,
            auth: Auth::Client(&self.credentials),
            body: Body::Form(&[("token", held.expose())]),
        };
        let (exchange, answer) = self.wire.send(ask).await;
        exchanges.push(exchange);
        let done = answer.and_then(|answer| {
            let why = format!(
                "auth-provider does not take the token back: {}",
                answer.words()
            );
            let refused = || Failure::new(Kind::Refused, why);
            answer.is_success().then_some(()).ok_or_else(refused)
        });
        (exchanges, done)
    }

    /// All events.
    pub async fn events(&self) -> Result<Vec<Event>, Failure> {
        self.list(Service::Calendar).await
    }

    /// Answers the event as it was stored.
    pub async fn add_event(&self, event: &EventFields) -> Result<Event, Failure> {
        self.write(Service::Calendar, None, event).await
    }

    /// Changes the fields given. Answers the event as it now is.
    pub async fn update_event(&self, id: u64, change: &EventFields) -> Result<Event, Failure> {
        self.write(Service::Calendar, Some(id), change).await
    }

    /// All notes.
    pub async fn notes(&self) -> Result<Vec<Note>, Failure> {
        self.list(Service::Note).await
    }

    /// Answers the note as it was stored.
    pub async fn add_note(&self, note: &NoteFields) -> Result<Note, Failure> {
        self.write(Service::Note, None, note).await
    }

    /// Changes the fields given. Answers the note as it now is.
    pub async fn update_note(&self, id: u64, change: &NoteFields) -> Result<Note, Failure> {
        self.write(Service::Note, Some(id), change).await
    }

    /// Deletes a note or an event. One that is not there is [`Kind::NotFound`].
    pub async fn delete(&self, service: Service, id: u64) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Answer {
            deleted: bool,
        }
        let request = self.request(service, Method::DELETE, Some(id));
        let sent = self.send(service, Access::Write, request);
        let response = traced("delete", sent).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(not_there(service, id));
        }
        let answer: Answer = self.body(service, response).await?;
        answer
            .deleted
            .then_some(())
            .ok_or_else(|| not_there(service, id))
    }

    async fn list<T: DeserializeOwned>(&self, service: Service) -> Result<Vec<T>, Failure> {
        traced("list", self.pages(service)).await
    }

    /// Follows the pages of a list (RFC 8288 section 3) to its end.
    async fn pages<T: DeserializeOwned>(&self, service: Service) -> Result<Vec<T>, Failure> {
        let mut rows = Vec::new();
        let mut request = self.request(service, Method::GET, None);
        loop {
            let response = self.send(service, Access::Read, request).await?;
            let link = response.headers().get(header::LINK);
            let link = link.and_then(|link| link.to_str().ok());
            let next = link.and_then(|link| next_page(link, response.url()));
            let mut page: Vec<T> = self.body(service, response).await?;
            let empty = page.is_empty();
            rows.append(&mut page);
            match next {
                Some(next) if !empty => request = self.http.get(next),
                _ => return Ok(rows),
            }
        }
    }

    async fn write<T: DeserializeOwned>(
        &self,
        service: Service,
        id: Option<u64>,
        fields: &impl Serialize,
    ) -> Result<T, Failure> {
        let method = if id.is_some() {
            Method::PUT
        } else {
            Method::POST
        };
        let request = self.request(service, method, id).json(fields);
        let sent = self.send(service, Access::Write, request);
        let response = traced("write", sent).await?;
        if let (Some(id), StatusCode::NOT_FOUND) = (id, response.status()) {
            return Err(not_there(service, id));
        }
        self.body(service, response).await
    }

    fn url(&self, service: Service) -> &Url {
        match service {
            Service::Calendar => &self.servers.calendar,
            Service::Note => &self.servers.note,
        }
    }

    fn request(&self, service: Service, method: Method, id: Option<u64>) -> RequestBuilder {
        let base = self.url(service).as_str().trim_end_matches('/');
        let thing = service.thing();
        let url = match id {
            Some(id) => format!("{base}/{thing}/{id}"),
            None => format!("{base}/{thing}"),
        };
        self.http.request(method, url)
    }

    async fn send(
        &self,
        service: Service,
        access: Access,
        request: RequestBuilder,
    ) -> Result<Response, Failure> {
        let scope = Need { service, access }.scope();
        let sent = self.tokens.send(request, &[scope], service.name()).await;
        sent.map_err(|e| match e {
            SendError::Token(e) => self.no_token(e, &[scope], service.name()),
            SendError::Request(e) => self.no_answer(service, &e),
            e => Failure::new(Kind::Failed, e.to_string()),
        })
    }

    /// The body of a success, or the failure that another status stands for.
    async fn body<T: DeserializeOwned>(
        &self,
        service: Service,
        mut response: Response,
    ) -> Result<T, Failure> {
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response
            .chunk()
            .await
            .map_err(|e| self.no_answer(service, &e))?
        {
            if body.len() + part.len() > MAX_ANSWER {
                return Err(self.strange_answer(service, "its answer has no end"));
            }
            body.extend_from_slice(&part);
        }
        if !status.is_success() {
            return Err(self.refused(service, status, &body));
        }
        serde_json::from_slice(&body).map_err(|_| {
            self.strange_answer(service, "its answer is no list or object of its kind")
        })
    }

    fn no_answer(&self, service: Service, e: &reqwest::Error) -> Failure {
        let (name, url) = (service.name(), self.url(service));
        let message = if e.is_timeout() {
            format!(
                "{name} at {} did not answer in {} s",
                bare(url),
                TIMEOUT.as_secs()
            )
        } else {
            format!("cannot reach {name} at {}", bare(url))
        };
        Failure::new(Kind::Unreachable, message).hint(self.is_it_running(service))
    }

    fn is_it_running(&self, service: Service) -> String {
        let (name, url) = (service.name(), self.url(service));
        format!(
            "is {name} running on {}? start it with `cargo run -p {name}`, or see {}",
            bare(url),
            service.flag()
        )
    }

    fn strange_answer(&self, service: Service, what: &str) -> Failure {
        let (name, url) = (service.name(), bare(self.url(service)));
        Failure::new(
            Kind::Failed,
            format!("{url} does not answer like {name}: {what}"),
        )
        .hint(format!("is {} right?", service.flag()))
    }

    /// A status that is no success.
    fn refused(&self, service: Service, status: StatusCode, body: &[u8]) -> Failure {
        let name = service.name();
        let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        let why = problem.why().unwrap_or_else(|| status.to_string());
        let mut failure = match status {
            StatusCode::UNAUTHORIZED => {
                Failure::new(Kind::Refused, format!("{name} refused the token: {why}")).hint(
                    format!("does {name} trust the issuer {}?", self.servers.issuer),
                )
            }
            StatusCode::FORBIDDEN => {
                Failure::new(Kind::Refused, format!("{name} refused the token: {why}")).hint(
                    "`assistant token` shows what is in it; the grants stand in demo/policy.toml",
                )
            }
            StatusCode::NOT_FOUND => self.strange_answer(service, &why),
            StatusCode::SERVICE_UNAVAILABLE => {
                Failure::new(Kind::Unreachable, format!("{name} cannot work now: {why}")).hint(
                    format!("is auth-provider running on {}?", self.issuer_origin()),
                )
            }
            status if status.is_server_error() => {
                Failure::new(Kind::Failed, format!("{name} failed: {why}"))
                    .hint("its log says more")
            }
            _ => Failure::new(Kind::Failed, format!("{name} refused the request: {why}")),
        };
        failure.field = problem.field;
        failure
    }

    fn no_token(&self, e: FetchError, scopes: &[&str], resource: &str) -> Failure {
        match e {
            FetchError::Refused {
                error,
                description,
                request_id,
                status,
            } => {
                let mut message = format!("auth-provider gives no token for {resource}");
                if !scopes.is_empty() {
                    message = format!("{message} with {}", scopes.join(" "));
                }
                message = format!("{message}: {error}");
                if let Some(description) = description {
                    message = format!("{message}, {description}");
                }
                if let Some(id) = request_id {
                    message = format!("{message} (request {id})");
                }
                let busy = status >= 500 || status == 429;
                let kind = if busy {
                    Kind::Unreachable
                } else {
                    Kind::Refused
                };
                let failure = Failure::new(kind, message);
                match error.as_str() {
                    _ if busy => failure.hint("try again in a moment"),
                    "invalid_client" => failure.hint(format!(
                        "the id or the secret in {} is not what the provider holds; \
                         it mends the file when it starts: `cargo run -p auth-provider`",
                        self.credentials.origin
                    )),
                    "invalid_scope" => failure.hint(format!(
                        "`assistant token {resource}` shows the scopes of the grant"
                    )),
                    _ => failure.hint("the grants of this client stand in demo/policy.toml"),
                }
            }
            FetchError::Unreachable { .. } => {
                let origin = self.issuer_origin();
                Failure::new(
                    Kind::Unreachable,
                    format!("cannot reach auth-provider at {origin}"),
                )
                .hint(format!(
                    "is auth-provider running on {origin}? \
                         start it with `cargo run -p auth-provider`, or see --issuer"
                ))
            }
            e => Failure::new(Kind::Failed, e.to_string()).hint("see --issuer"),
        }
    }

    fn issuer_origin(&self) -> String {
        match self.servers.issuer.parse() {
            Ok(url) => origin(&url),
            Err(_) => self.servers.issuer.clone(),
        }
    }
}

/// The members of a service's error body that this program reads: RFC 9457, and RFC 6750's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    field: Option<String>,
}

impl Problem {
    fn why(&self) -> Option<String> {
        let detail = self.detail.as_ref().or(self.error_description.as_ref());
        match (&self.error, detail, &self.field) {
            (Some(error), Some(detail), _) => Some(format!("{error}, {detail}")),
            (None, Some(detail), Some(field)) if !detail.contains(field) => {
                Some(format!("{field}: {detail}"))
            }
            (None, Some(detail), _) => Some(detail.clone()),
            (error, None, _) => error.clone().or_else(|| self.title.clone()),
        }
    }
}

fn not_there(service: Service, id: u64) -> Failure {
    let thing = service.thing();
    let command = match service {
        Service::Calendar => "calendar",
        Service::Note => "note",
    };
    Failure::new(Kind::NotFound, format!("there is no {thing} {id}"))
        .hint(format!("`assistant {command} list` shows what is there"))
}

/// The next page, if it is on the server that answered: the token goes nowhere else.
fn next_page(link: &str, answered: &Url) -> Option<Url> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters
        .split(';')
        .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
    let next = answered.join(target).ok()?;
    (is_next && next.origin() == answered.origin()).then_some(next)
}

/// For messages: without user, path and query.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// For messages: without user, query and closing slash.
fn bare(url: &Url) -> String {
    format!("{}{}", origin(url), url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_server_or_nowhere() {
        let answered = "http://localhost:3012/note?limit=2".parse().unwrap();
        for (link, next) in [
            (
                "</note?after=2>; rel=\"next\"",
                Some("http://localhost:3012/note?after=2"),
            ),
            (
                "<?after=2>;rel=next",
                Some("http://localhost:3012/note?after=2"),
            ),
            (
                "</note?after=2>; title=\"x\"; rel=\"next\"",
                Some("http://localhost:3012/note?after=2"),
            ),
            ("</note>; rel=\"prev\"", None),
            ("</note>", None),
            ("/note; rel=\"next\"", None),
            ("<http://localhost:3011/note>; rel=\"next\"", None),
            ("<//evil.example/note>; rel=\"next\"", None),
            ("<https://localhost:3012/note>; rel=\"next\"", None),
            ("", None),
        ] {
            let found = next_page(link, &answered).map(String::from);
            assert_eq!(found.as_deref(), next, "{link}");
        }
    }
}
