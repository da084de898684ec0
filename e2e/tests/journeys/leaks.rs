//! Secrets and tokens go in, wherever callers may put them, and come out nowhere: not in an answer,
//! not in a log.

use std::{collections::BTreeMap, fs, sync::Arc};

use m2m::{Clock, TokenSource};
use reqwest::{
    Client, Method, RequestBuilder,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE},
};
use tempfile::NamedTempFile;
use tracing_subscriber::filter::LevelFilter;

use crate::support::{CALENDAR, NOTES, Provider, calendar, notes};

/// What must not be seen again.
struct Credentials {
    secret: String,
    /// With all scopes.
    calendar_token: String,
    /// For reading only.
    note_token: String,
}

impl Credentials {
    /// What callers send to any endpoint, right and wrong.
    fn to_any_endpoint(&self, request: &RequestBuilder) -> Vec<RequestBuilder> {
        let request = || request.try_clone().unwrap();
        let (secret, token) = (self.secret.as_str(), self.calendar_token.as_str());
        let bearer = || request().bearer_auth(token);
        let json = |body| bearer().header(CONTENT_TYPE, "application/json").body(body);
        vec![
            bearer(),
            bearer().bearer_auth(token),
            bearer().query(&[("access_token", token)]),
            bearer().query(&[("limit", token)]),
            bearer().form(&[("access_token", token)]),
            bearer().body(token.to_owned()),
            json(format!("{{\"access_token\": \"{token}\"}}")),
            json(format!("{{\"client_secret\": \"{secret}\"")),
            request().bearer_auth(&self.note_token),
            request().bearer_auth(format!("{token}x")),
            request().bearer_auth(format!("{token} {token}")),
            request().bearer_auth(secret),
            request().basic_auth("assistant", Some(secret)),
            request().header(AUTHORIZATION, token),
            request().header(COOKIE, token),
            request().query(&[("client_secret", secret)]),
        ]
    }

    /// Token requests in which all is well but one thing.
    fn to_token_endpoint(&self, request: &RequestBuilder) -> Vec<RequestBuilder> {
        let request = || request.try_clone().unwrap();
        let secret = self.secret.as_str();
        let almost = format!("{secret}x");
        let form = BTreeMap::from([("grant_type", "client_credentials"), ("resource", CALENDAR)]);
        let mut requests = vec![];
        for (id, secret) in [
            ("assistant", secret),
            ("assistant", &almost),
            ("assistant", &self.calendar_token),
            ("nobody", secret),
            (secret, "assistant"),
        ] {
            let mut posted = form.clone();
            posted.extend([("client_id", id), ("client_secret", secret)]);
            requests.extend([
                request().basic_auth(id, Some(secret)).form(&form),
                request().basic_auth(id, Some(secret)).json(&form),
                request().form(&posted),
                request().json(&posted),
            ]);
        }
        for name in [
            "access_token",
            "audience",
            "client_id",
            "client_secret",
            "grant_type",
            "resource",
            "scope",
        ] {
            for credential in [secret, &self.calendar_token] {
                let mut form = form.clone();
                form.insert(name, credential);
                let request = || request().basic_auth("assistant", Some(secret));
                requests.extend([request().form(&form), request().json(&form)]);
            }
        }
        requests
    }
}

/// Looks for credentials, and notes where they are.
struct Watch {
    /// What each is called, and a part of it that nothing else has: an echo may be cut short.
    canaries: [(&'static str, String); 5],
    leaks: Vec<String>,
}

impl Watch {
    fn over(credentials: &Credentials, http: &Client) -> Self {
        let secret = credentials.secret.as_str();
        let basic = |id, secret| {
            let request = http.get("http://localhost").basic_auth(id, Some(secret));
            let request = request.build().unwrap();
            let value = request.headers()[AUTHORIZATION].to_str().unwrap();
            value.strip_prefix("Basic ").unwrap().to_owned()
        };
        let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
        let canaries = [
            ("the secret", secret.to_owned()),
            ("the Basic header", basic("assistant", secret)),
            ("a swapped Basic header", basic(secret, "assistant")),
            ("a token", signature(&credentials.calendar_token)),
            ("another token", signature(&credentials.note_token)),
        ];
        Self {
            canaries: canaries.map(|(name, text)| (name, text[20..40].to_owned())),
            leaks: vec![],
        }
    }

    fn look(&mut self, text: &str, place: &str) {
        for (name, canary) in &self.canaries {
            if text.contains(canary) {
                self.leaks.push(format!("{name} stands in {place}: {text}"));
            }
        }
    }
}

#[tokio::test]
async fn neither_secret_nor_token_is_answered_or_logged() {
    let log = NamedTempFile::new().unwrap();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .init();

    let provider = Provider::start().await;
    let calendar = calendar(&provider.issuer, &Clock::System);
    let notes = notes(&provider.issuer);
    let tokens = provider.tokens("assistant");
    let calendar_token = tokens.token(&[], CALENDAR).await.unwrap();
    let note_token = tokens.token(&["note.read"], NOTES).await.unwrap();
    let credentials = Credentials {
        secret: provider.secret("assistant"),
        calendar_token: calendar_token.expose().to_owned(),
        note_token: note_token.expose().to_owned(),
    };
    let mut watch = Watch::over(&credentials, &provider.http);
    let (secret, token) = (&credentials.secret, &credentials.calendar_token);

    let mut requests = vec![];
    for path in [
        "/auth/oauth/token",
        "/oauth/authorize",
        "/.well-known/oauth-authorization-server",
        "/auth/jwt/jwks.json",
        "/event",
        "/event/1",
        "/note",
        "/note/1",
        "/health",
        "/ready",
        &format!("/{token}"),
        &format!("/event/{secret}"),
    ] {
        for server in [&provider.url(""), &calendar, &notes] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let request = provider.http.request(method, format!("{server}{path}"));
                requests.extend(credentials.to_any_endpoint(&request));
            }
        }
    }
    let request = provider.http.post(provider.url("/auth/oauth/token"));
    requests.extend(credentials.to_token_endpoint(&request));
    for request in requests {
        let request = request.build().unwrap();
        let place = format!("an answer to {} {}", request.method(), request.url().path());
        let response = provider.http.execute(request).await.unwrap();
        watch.look(&format!("{:?}", response.headers()), &place);
        watch.look(&response.text().await.unwrap(), &place);
    }

    let almost = format!("{secret}x");
    let mistaken = TokenSource::client_secret(&provider.issuer, "assistant", almost).unwrap();
    let error = mistaken.token(&[], CALENDAR).await.unwrap_err();
    let shown = format!("{mistaken:?} {tokens:?} {calendar_token:?} {error:?} {error}");
    watch.look(&shown, "what the client shows");

    let log = fs::read_to_string(log.path()).unwrap();
    for said in ["issued a token", "refused: ", "refused a request"] {
        assert!(log.contains(said), "the log was not caught: no `{said}`");
    }
    for line in log.lines() {
        watch.look(line, "the log");
    }
    assert!(watch.leaks.is_empty(), "{:#?}", watch.leaks);
}
