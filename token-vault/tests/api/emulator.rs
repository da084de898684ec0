//! A provider on a real port: it rotates refresh tokens, kills the family of one that comes twice, speaks each dialect, and
//! goes wrong as it is told to. It has a thread of its own, so that it lives on while a test kills the vault.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use token_vault::provider::Dialect;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{oneshot, watch},
};
use url::form_urlencoded;

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The answer is this one, and the token is not looked at.
    Answer(u16, &'static str),
    /// 429 with `Retry-After`.
    Limited(u64),
    /// The connection is closed before the token is looked at.
    DropBefore,
    /// The token is taken, and the connection closed.
    DropAfter,
    /// The token is taken, and the answer held back until [`Emulator::release`].
    Hold,
    /// The token is taken at once, and the answer comes after so long.
    Delay(Duration),
}

#[derive(Debug, Default)]
struct Family {
    current: u32,
    dead: bool,
}

#[derive(Default)]
struct State {
    families: HashMap<String, Family>,
    faults: VecDeque<Fault>,
    /// How often each refresh token was looked at.
    spent: HashMap<String, usize>,
    revoked: Vec<String>,
    /// How long new access tokens live, in seconds.
    expires_in: u64,
    /// The Authorization header or form of the last request to the token endpoint, without tokens.
    last_client: Option<String>,
}

pub(crate) struct Emulator {
    pub(crate) url: String,
    inner: Arc<Inner>,
    _stop: oneshot::Sender<()>,
}

struct Inner {
    dialect: Dialect,
    state: Mutex<State>,
    /// How many held answers may go.
    gate: watch::Sender<usize>,
    /// How many requests to the token endpoint have come.
    asked: watch::Sender<usize>,
}

impl Emulator {
    pub(crate) fn start(dialect: Dialect) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            expires_in: 28_800,
            ..State::default()
        };
        let inner = Arc::new(Inner {
            dialect,
            state: Mutex::new(state),
            gate: watch::Sender::new(0),
            asked: watch::Sender::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let server = Arc::clone(&inner);
        thread::spawn(move || serve(listener, &server, stopped));
        Self {
            url,
            inner,
            _stop: stop,
        }
    }

    /// The entry of a providers file that leads here.
    pub(crate) fn entry(&self, service: &str, kind: &str, secret_file: &str) -> String {
        format!(
            "[providers.{service}]\nkind = '{kind}'\ntoken_endpoint = '{url}/token'\n\
             revocation_endpoint = '{url}/revoke'\nclient_id = 'vault'\n\
             client_secret_file = '{secret_file}'\n",
            url = self.url
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// A new consent: its first access token and refresh token.
    pub(crate) fn consent(&self, name: &str) -> (String, String) {
        self.state()
            .families
            .insert(name.to_owned(), Family::default());
        (format!("at.{name}.0"), format!("rt.{name}.0"))
    }

    /// What goes wrong with the next requests, in their order.
    pub(crate) fn fault(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    pub(crate) fn forget_faults(&self) {
        self.state().faults.clear();
    }

    /// Whether a consent has tokens that are good.
    pub(crate) fn is_alive(&self, name: &str) -> bool {
        !self.state().families[name].dead
    }

    /// Whether an access token opens the user's account.
    pub(crate) fn is_good(&self, access: &str) -> bool {
        let (family, number) = parts(access);
        let state = self.state();
        state
            .families
            .get(family)
            .is_some_and(|family| !family.dead && family.current == number)
    }

    /// As if the user had withdrawn the consent at the provider.
    pub(crate) fn withdraw(&self, name: &str) {
        self.state().families.get_mut(name).unwrap().dead = true;
    }

    /// How often refresh tokens were looked at, all together.
    pub(crate) fn refreshes(&self) -> usize {
        self.state().spent.values().sum()
    }

    /// Refresh tokens that were looked at more than once.
    pub(crate) fn spent_twice(&self) -> Vec<(String, usize)> {
        let state = self.state();
        let twice = state.spent.iter().filter(|(_, times)| **times > 1);
        twice
            .map(|(token, times)| (token.clone(), *times))
            .collect()
    }

    pub(crate) fn revoked(&self) -> Vec<String> {
        self.state().revoked.clone()
    }

    pub(crate) fn last_client(&self) -> Option<String> {
        self.state().last_client.clone()
    }

    /// Lets one held answer go.
    pub(crate) fn release(&self) {
        self.inner.gate.send_modify(|gate| *gate += 1);
    }

    /// How many requests have come to the token endpoint.
    pub(crate) fn requests(&self) -> usize {
        *self.inner.asked.borrow()
    }

    /// Waits until so many requests have come to the token endpoint.
    pub(crate) async fn asked(&self, times: usize) {
        let mut asked = self.inner.asked.subscribe();
        let enough = asked.wait_for(|asked| *asked >= times);
        tokio::time::timeout(Duration::from_secs(20), enough)
            .await
            .unwrap()
            .unwrap();
    }
}

fn parts(token: &str) -> (&str, u32) {
    let mut parts = token.split('.').skip(1);
    (
        parts.next().unwrap_or_default(),
        parts
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(u32::MAX),
    )
}

#[tokio::main(flavor = "current_thread")]
async fn serve(listener: TcpListener, inner: &Arc<Inner>, mut stopped: oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let inner = Arc::clone(inner);
                tokio::spawn(async move { drop(answer(&inner, stream).await) });
            }
            _ = &mut stopped => return,
        }
    }
}

struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: String,
}

async fn read(stream: &mut TcpStream) -> io::Result<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let mut first = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .map(str::to_owned);
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> = headers
        .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Request {
        method: first.next().unwrap_or_default(),
        path: first.next().unwrap_or_default(),
        headers,
        body: String::from_utf8_lossy(&bytes[head + 4..]).into_owned(),
    })
}

async fn answer(inner: &Inner, mut stream: TcpStream) -> io::Result<()> {
    let request = read(&mut stream).await?;
    if request.path != "/token" {
        let body = inner.revoke(&request);
        return write(&mut stream, 200, "application/json", "", &body.to_string()).await;
    }
    let fault = inner
        .state
        .lock()
        .unwrap()
        .faults
        .pop_front()
        .unwrap_or(Fault::None);
    // The gate first: who hears that it was asked may release the answer at once.
    let mut gate = inner.gate.subscribe();
    let before = *gate.borrow_and_update();
    inner.asked.send_modify(|asked| *asked += 1);
    match fault {
        Fault::Answer(status, body) => {
            return write(&mut stream, status, "application/json", "", body).await;
        }
        Fault::Limited(seconds) => {
            let header = format!("Retry-After: {seconds}\r\n");
            return write(&mut stream, 429, "application/json", &header, "{}").await;
        }
        Fault::DropBefore => return Ok(()),
        _ => {}
    }
    let (status, media_type, body) = inner.refresh(&request);
    match fault {
        Fault::DropAfter => return Ok(()),
        Fault::Hold => drop(gate.wait_for(|gate| *gate > before).await),
        Fault::Delay(by) => tokio::time::sleep(by).await,
        _ => {}
    }
    write(&mut stream, status, media_type, "", &body).await
}

async fn write(
    stream: &mut TcpStream,
    status: u16,
    media_type: &str,
    headers: &str,
    body: &str,
) -> io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

impl Inner {
    fn refresh(&self, request: &Request) -> (u16, &'static str, String) {
        let form: HashMap<String, String> = form_urlencoded::parse(request.body.as_bytes())
            .into_owned()
            .collect();
        let mut state = self.state.lock().unwrap();
        let basic = request.headers.get("authorization").cloned();
        state.last_client = basic.or_else(|| form.get("client_id").map(|id| format!("post {id}")));
        let refresh = form["refresh_token"].clone();
        *state.spent.entry(refresh.clone()).or_default() += 1;
        let expires_in = state.expires_in;
        let (name, number) = parts(&refresh);
        let good = match state.families.get_mut(name) {
            Some(family) if !family.dead && family.current == number => {
                family.current += 1;
                Some(number + 1)
            }
            Some(family) => {
                family.dead = true;
                None
            }
            None => None,
        };
        match good {
            Some(next) => self.granted(
                &format!("at.{name}.{next}"),
                &format!("rt.{name}.{next}"),
                expires_in,
            ),
            None => self.refused(),
        }
    }

    fn granted(&self, access: &str, refresh: &str, expires_in: u64) -> (u16, &'static str, String) {
        let json = "application/json";
        match self.dialect {
            // As to who does not ask for JSON.
            Dialect::Github => (
                200,
                "application/x-www-form-urlencoded; charset=utf-8",
                format!("access_token={access}&expires_in={expires_in}&refresh_token={refresh}&refresh_token_expires_in=15897600&scope=&token_type=bearer"),
            ),
            Dialect::Slack => (
                200,
                json,
                json!({"ok": true, "access_token": access, "refresh_token": refresh, "expires_in": expires_in,
                       "token_type": "bot", "scope": "chat:write,users:read", "team": {"id": "T1"}})
                .to_string(),
            ),
            Dialect::Okta | Dialect::Discord | Dialect::Generic => (
                200,
                json,
                json!({"access_token": access, "refresh_token": refresh, "expires_in": expires_in,
                       "token_type": "Bearer", "scope": "identify offline_access"})
                .to_string(),
            ),
        }
    }

    fn refused(&self) -> (u16, &'static str, String) {
        let (status, body) = match self.dialect {
            Dialect::Github => (
                200,
                json!({"error": "bad_refresh_token", "error_description": "…"}),
            ),
            Dialect::Slack => (200, json!({"ok": false, "error": "invalid_refresh_token"})),
            _ => (
                400,
                json!({"error": "invalid_grant", "error_description": "…"}),
            ),
        };
        (status, "application/json", body.to_string())
    }

    fn revoke(&self, request: &Request) -> Value {
        let form: HashMap<String, String> = form_urlencoded::parse(request.body.as_bytes())
            .into_owned()
            .collect();
        let json: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let bearer = request
            .headers
            .get("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        let token = form.get("token").map(String::as_str);
        let token = token
            .or(json["access_token"].as_str())
            .or(bearer)
            .unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        state.revoked.push(format!("{} {token}", request.method));
        if let Some(family) = state.families.get_mut(parts(token).0) {
            family.dead = true;
        }
        json!({"ok": true})
    }
}
