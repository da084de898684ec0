//! The issuer as a server: its metadata, its key set, and a token endpoint that believes everybody.
//!
//! It has a thread of its own, so that a test may block. The little HTTP that it speaks is one
//! request a connection.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{oneshot, watch},
};
use url::form_urlencoded;

use super::{
    revocations::Revocations,
    token::{SigningKey, TestToken},
};
use crate::Clock;

/// An issuer for tests, at a free port of 127.0.0.1. It stops when it is dropped.
pub struct TestIssuer {
    inner: Arc<Inner>,
    /// Dropped with the issuer, which ends the server.
    _stop: oneshot::Sender<()>,
}

pub(super) struct Inner {
    pub(super) url: String,
    clock: Clock,
    state: Mutex<State>,
    /// Wakes those who follow the feed.
    changed: watch::Sender<()>,
}

struct State {
    key: SigningKey,
    key_set: Value,
    requests: HashMap<String, usize>,
    down: bool,
    expires_in: u64,
    failure: Option<(u16, Value)>,
    revocations: Revocations,
}

/// The feed gives a sign of life much more often than a real one: a test's clock may leap, and then
/// everything is old at once.
const HEARTBEAT: Duration = Duration::from_millis(10);

impl TestIssuer {
    /// The path of the metadata (RFC 8414), as [`Self::requests`] counts it.
    pub const METADATA: &'static str = "/.well-known/oauth-authorization-server/auth";
    /// The path of the key set.
    pub const KEY_SET: &'static str = "/auth/jwt/jwks.json";
    /// The path of the token endpoint.
    pub const TOKEN: &'static str = "/auth/oauth/token";
    /// The path of the introspection endpoint.
    pub const INTROSPECTION: &'static str = "/auth/oauth/introspect";
    /// The path of the revocation feed.
    pub const FEED: &'static str = "/auth/oauth/revocations";

    /// Starts an issuer that dates its tokens by the machine's clock.
    pub async fn start() -> Self {
        Self::start_at(Clock::System).await
    }

    /// Starts an issuer that dates its tokens by `clock`.
    pub async fn start_at(clock: Clock) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener
            .set_nonblocking(true)
            .expect("a socket can be set to non-blocking");
        let address = listener.local_addr().expect("it is bound");
        let key = SigningKey::new();
        let inner = Arc::new(Inner {
            url: format!("http://{address}/auth"),
            clock,
            state: Mutex::new(State {
                key_set: json!({"keys": [key.jwk()]}),
                key,
                requests: HashMap::new(),
                down: false,
                expires_in: 3600,
                failure: None,
                revocations: Revocations::default(),
            }),
            changed: watch::Sender::new(()),
        });
        let (stop, stopped) = oneshot::channel();
        let server = Arc::clone(&inner);
        thread::spawn(move || serve(listener, &server, stopped));
        Self { inner, _stop: stop }
    }

    /// The issuer identifier, such as `http://127.0.0.1:40123/auth`.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Begins a token; end with [`TestToken::mint`].
    pub fn token(&self) -> TestToken<'_> {
        TestToken::new(&self.inner)
    }

    /// Signs a header and claims as they are, for tokens that no honest program would write.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        self.inner.sign(header, claims)
    }

    /// How often a path was asked, [`Self::KEY_SET`] for example; while the issuer was down, too.
    pub fn requests(&self, path: &str) -> usize {
        self.inner.state().requests.get(path).copied().unwrap_or(0)
    }

    /// Lets every request fail with status 503, until this is called with `false`.
    pub fn set_down(&self, down: bool) {
        self.inner.state().down = down;
    }

    /// From now on signs with a new key. The old ones stay in the key set, as they do at a real
    /// rotation.
    pub fn rotate_key(&self) {
        let mut state = self.inner.state();
        state.key = SigningKey::new();
        let jwk = state.key.jwk();
        if let Some(keys) = state.key_set["keys"].as_array_mut() {
            keys.push(jwk);
        }
    }

    /// Takes all keys but the newest out of the key set.
    pub fn withdraw_old_keys(&self) {
        let mut state = self.inner.state();
        state.key_set = json!({"keys": [state.key.jwk()]});
    }

    /// The key set as it is served.
    pub fn key_set(&self) -> Value {
        self.inner.state().key_set.clone()
    }

    /// Serves this as the key set, whatever it is.
    pub fn serve_key_set(&self, document: Value) {
        self.inner.state().key_set = document;
    }

    /// The `kid` of the key that signs.
    pub fn key_id(&self) -> String {
        self.inner.key_id()
    }

    /// How long the token endpoint's tokens live, in seconds; 3600 until this is called.
    pub fn set_expires_in(&self, seconds: u64) {
        self.inner.state().expires_in = seconds;
    }

    /// What the token endpoint answers instead of a token: a status and a body. `None` ends that.
    pub fn fail_token_requests(&self, answer: Option<(u16, Value)>) {
        self.inner.state().failure = answer;
    }

    /// From now on the metadata names the introspection endpoint.
    pub fn offer_introspection(&self) {
        self.inner.state().revocations.introspection_offered = true;
    }

    /// From now on the metadata names the revocation feed. Any client may follow it.
    pub fn offer_feed(&self) {
        self.inner.state().revocations.feed_offered = true;
    }

    /// Whether introspection calls tokens active that are neither expired nor revoked; so it does
    /// until this is called.
    pub fn set_active(&self, active: bool) {
        self.inner.state().revocations.inactive = !active;
    }

    /// What the introspection endpoint answers in any case: a status and a body. `None` ends that.
    pub fn answer_introspection(&self, answer: Option<(u16, Value)>) {
        self.inner.state().revocations.answer = answer;
    }

    /// Revokes one token by its `jti`.
    pub fn revoke_token(&self, jti: &str) {
        self.revoke(json!({"kind": "token", "jti": jti}));
    }

    /// Revokes all that a client obtained until now.
    pub fn revoke_client(&self, client_id: &str) {
        self.revoke(json!({"kind": "client", "client_id": client_id}));
    }

    /// Revokes all that was obtained with one credential until now: tokens whose `jti` begins with
    /// it and a dot.
    pub fn revoke_credential(&self, credential: &str) {
        self.revoke(json!({"kind": "credential", "credential": credential}));
    }

    /// Revokes all that a client obtained for one audience until now.
    pub fn revoke_grant(&self, client_id: &str, audience: &str) {
        self.revoke(json!({"kind": "grant", "client_id": client_id, "aud": audience}));
    }

    /// Adds an entry to the feed: `revoked_at` is now and `expires_at` in an hour, unless they are
    /// given.
    pub fn revoke(&self, entry: Value) {
        let now = self.inner.now();
        let mut dated = json!({"revoked_at": now, "expires_at": now + 3600});
        if let (Some(dated), Value::Object(entry)) = (dated.as_object_mut(), entry) {
            dated.extend(entry);
        }
        self.change(|revocations| revocations.add(dated));
    }

    /// Ends all connections of the feed and answers new ones with 503, until this is called with
    /// `false`.
    pub fn cut_feed(&self, cut: bool) {
        self.change(|revocations| revocations.cut = cut);
    }

    /// Loses all revocations, so that they are numbered from 1 again, and ends the connections of
    /// the feed: as if the issuer had begun with a new database.
    pub fn forget_revocations(&self) {
        self.cut_feed(true);
        self.change(|revocations| {
            revocations.forget_all();
            revocations.cut = false;
        });
    }

    /// Sends these bytes to whoever asks for the feed, and then nothing. `None` ends that.
    pub fn script_feed(&self, bytes: Option<Vec<u8>>) {
        self.change(|revocations| revocations.script = bytes);
    }

    /// The `Last-Event-ID` of each request for the feed that was answered, in order.
    pub fn feed_requests(&self) -> Vec<Option<u64>> {
        self.inner.state().revocations.resumed.clone()
    }

    /// How many connections follow the feed.
    pub fn followers(&self) -> usize {
        self.inner.changed.receiver_count()
    }

    fn change(&self, change: impl FnOnce(&mut Revocations)) {
        change(&mut self.inner.state().revocations);
        self.inner.changed.send_replace(());
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(super) fn key_id(&self) -> String {
        self.state().key.id.clone()
    }

    pub(super) fn public_key(&self) -> Vec<u8> {
        self.state().key.public().to_vec()
    }

    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        self.state().key.sign(header, claims)
    }

    fn answer(&self, request: &Request) -> (u16, Value) {
        {
            let mut state = self.state();
            *state.requests.entry(request.path.clone()).or_default() += 1;
            if state.down {
                return (503, json!({"error": "temporarily_unavailable"}));
            }
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", TestIssuer::METADATA) => (200, self.metadata()),
            ("GET", TestIssuer::KEY_SET) => (200, self.state().key_set.clone()),
            ("POST", TestIssuer::TOKEN) => self.issue(request),
            ("POST", TestIssuer::INTROSPECTION) => self.introspect(request),
            ("GET", TestIssuer::FEED) if request.client_id().is_none() => {
                (401, json!({"error": "invalid_client"}))
            }
            ("GET", TestIssuer::FEED) => (503, json!({"error": "temporarily_unavailable"})),
            _ => (404, json!({"error": "not_found"})),
        }
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/jwt/jwks.json", self.url),
            "token_endpoint": format!("{}/oauth/token", self.url),
            "response_types_supported": ["none"],
        });
        let revocations = &self.state().revocations;
        if revocations.introspection_offered {
            metadata["introspection_endpoint"] = format!("{}/oauth/introspect", self.url).into();
        }
        if revocations.feed_offered {
            metadata["urn:m2m:oauth:revocations_endpoint"] =
                format!("{}/oauth/revocations", self.url).into();
        }
        metadata
    }

    /// Any client may ask about any token that this issuer has signed (RFC 7662).
    fn introspect(&self, request: &Request) -> (u16, Value) {
        if request.client_id().is_none() {
            return (401, json!({"error": "invalid_client"}));
        }
        let state = self.state();
        if let Some(answer) = &state.revocations.answer {
            return answer.clone();
        }
        let token = form_urlencoded::parse(&request.body)
            .find_map(|(name, value)| (name == "token").then_some(value));
        let claims = token.as_deref().and_then(claims_of);
        let is_active = |claims: &Value| {
            let expired = claims["exp"].as_u64().is_none_or(|exp| exp <= self.now());
            !state.revocations.inactive && !expired && !state.revocations.cover(claims)
        };
        match claims.filter(is_active) {
            Some(mut claims) => {
                claims["active"] = json!(true);
                claims["token_type"] = json!("Bearer");
                (200, claims)
            }
            None => (200, json!({"active": false})),
        }
    }

    /// A place among the followers of the feed, for who asks for it and may have it.
    fn admit_follower(&self, request: &Request) -> Option<watch::Receiver<()>> {
        let is_feed = (request.method.as_str(), request.path.as_str()) == ("GET", TestIssuer::FEED);
        let mut state = self.state();
        if !is_feed || request.client_id().is_none() || state.down || state.revocations.cut {
            return None;
        }
        *state.requests.entry(request.path.clone()).or_default() += 1;
        state.revocations.resumed.push(request.last_event_id);
        Some(self.changed.subscribe())
    }

    /// The feed, until it is cut or nobody listens.
    async fn tell(
        &self,
        mut stream: TcpStream,
        request: &Request,
        mut changed: watch::Receiver<()>,
    ) -> io::Result<()> {
        let head = "HTTP/1.1 200 -\r\nContent-Type: text/event-stream\r\n\
                    Cache-Control: no-store\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        if let Some(script) = self.script() {
            stream.write_all(&script).await?;
            while self.script().is_some() && changed.changed().await.is_ok() {}
            return stream.shutdown().await;
        }
        let mut seen = request.last_event_id;
        let mut word = "current";
        while let Some((events, last)) = self.news(seen) {
            let news = format!("{events}id: {last}\nevent: {word}\ndata: {{}}\n\n");
            stream.write_all(news.as_bytes()).await?;
            (seen, word) = (Some(last), "heartbeat");
            drop(tokio::time::timeout(HEARTBEAT, changed.changed()).await);
        }
        stream.shutdown().await
    }

    fn script(&self) -> Option<Vec<u8>> {
        self.state().revocations.script.clone()
    }

    /// What the feed has to tell behind `seen`; `None` when it is cut.
    fn news(&self, seen: Option<u64>) -> Option<(String, u64)> {
        let state = self.state();
        let cut = state.down || state.revocations.cut || state.revocations.script.is_some();
        (!cut).then(|| state.revocations.events_after(seen))
    }

    /// Any client gets any token (RFC 6749 section 4.4).
    fn issue(&self, request: &Request) -> (u16, Value) {
        let (expires_in, failure) = {
            let state = self.state();
            (state.expires_in, state.failure.clone())
        };
        if let Some(failure) = failure {
            return failure;
        }
        let form: HashMap<String, String> =
            form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let Some(client) = request.client_id() else {
            return (401, json!({"error": "invalid_client"}));
        };
        let token = TestToken::new(self)
            .subject(&client)
            .audience(field("resource"))
            .scope(field("scope"))
            .expires_in(i64::try_from(expires_in).expect("a test's tokens do not live for ages"))
            .mint();
        let answer = json!({
            "access_token": token, "token_type": "Bearer",
            "expires_in": expires_in, "scope": field("scope"),
        });
        (200, answer)
    }
}

/// The claims of a JWT. Its signature is not looked at: this issuer trusts its tests.
fn claims_of(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

struct Request {
    method: String,
    path: String,
    authorization: Option<String>,
    last_event_id: Option<u64>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let mut bytes = Vec::new();
        let head_end = loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
        };
        let head = std::str::from_utf8(&bytes[..head_end]).map_err(|_| broken())?;
        let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let mut words = first.split(' ');
        let method = words.next().ok_or_else(broken)?.to_owned();
        let target = words.next().ok_or_else(broken)?;
        let header = |name: &str| {
            headers
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find_map(|(key, value)| {
                    key.eq_ignore_ascii_case(name)
                        .then(|| value.trim().to_owned())
                })
        };
        let path = target.split('?').next().unwrap_or(target).to_owned();
        let authorization = header("authorization");
        let last_event_id = header("last-event-id").and_then(|id| id.parse().ok());
        let length = header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);

        let mut body = bytes.split_off(head_end + 4);
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Self {
            method,
            path,
            authorization,
            last_event_id,
            body,
        })
    }

    /// From `client_secret_basic`, form-decoded (RFC 6749 section 2.3.1).
    fn client_id(&self) -> Option<String> {
        let encoded = self.authorization.as_deref()?.strip_prefix("Basic ")?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let id = decoded.split(|byte| *byte == b':').next()?;
        form_urlencoded::parse(id)
            .next()
            .map(|(id, _)| id.into_owned())
    }
}

fn serve(listener: TcpListener, issuer: &Arc<Inner>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is non-blocking");
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(issuer)));
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

/// A caller that breaks off gets no answer; the test sees that at its own end.
async fn converse(mut stream: TcpStream, issuer: Arc<Inner>) -> io::Result<()> {
    let request = Request::read(&mut stream).await?;
    if let Some(follower) = issuer.admit_follower(&request) {
        return issuer.tell(stream, &request, follower).await;
    }
    let (status, body) = issuer.answer(&request);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: max-age=300\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(&[head.as_bytes(), body.as_bytes()].concat())
        .await?;
    stream.shutdown().await
}
