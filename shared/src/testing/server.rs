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
};

use base64::{Engine, engine::general_purpose::STANDARD};
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
    pub(super) inner: Arc<Inner>,
    /// Dropped with the issuer, which ends the server.
    _stop: oneshot::Sender<()>,
}

pub(super) struct Inner {
    pub(super) url: String,
    clock: Clock,
    state: Mutex<State>,
    /// Wakes those who follow the feed.
    pub(super) changed: watch::Sender<()>,
}

pub(super) struct State {
    key: SigningKey,
    key_set: Value,
    pub(super) requests: HashMap<String, usize>,
    pub(super) down: bool,
    expires_in: u64,
    failure: Option<(u16, Value)>,
    pub(super) revocations: Revocations,
}

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
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    authorization: Option<String>,
    pub(super) last_event_id: Option<u64>,
    pub(super) body: Vec<u8>,
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
    pub(super) fn client_id(&self) -> Option<String> {
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
