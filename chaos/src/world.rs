//! The provider as its callers know it: a URL, who they are there, and what came of what they asked.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use reqwest::{Method, header::RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::Ledger;

/// A caller that waits longer than this is one whom the server let hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the administrator's token is used; it lives for five minutes.
const TOKEN_AGE: Duration = Duration::from_mins(2);

/// How many failures are told in full.
const TOLD: usize = 20;

/// Who asks.
#[derive(Clone, Debug)]
pub enum Caller {
    Administrator,
    Client { id: String, secret: SecretString },
}

/// A client and its secret, as the provider wrote them at its first start.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub client_id: String,
    pub client_secret: SecretString,
}

impl From<&Entry> for Caller {
    fn from(entry: &Entry) -> Self {
        Self::Client {
            id: entry.client_id.clone(),
            secret: entry.client_secret.clone(),
        }
    }
}

/// A request that can be sent again.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub body: Body,
    /// With it, a repeated creation is answered as it was the first time.
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Body {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: Body::None,
            idempotency_key: None,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn form(path: impl Into<String>, form: Vec<(&'static str, String)>) -> Self {
        Self {
            body: Body::Form(form),
            ..Self::new(Method::POST, path)
        }
    }

    pub fn json(method: Method, path: impl Into<String>, json: Value) -> Self {
        Self {
            body: Body::Json(json),
            ..Self::new(method, path)
        }
    }

    #[must_use]
    pub fn once(mut self, key: String) -> Self {
        self.idempotency_key = Some(key);
        self
    }
}

/// What came of a request.
#[derive(Debug)]
pub enum Answer {
    /// 2xx, with its JSON where it has some.
    Done(Value),
    /// 4xx.
    Refused(u16),
    /// 503, or no answer while the server was dead. What was asked for may have happened.
    Nothing,
    /// What no caller may ever meet. It was written down; what was asked for may have happened.
    Failed,
}

/// What callers met, and how long they waited.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// How many answers of each status; 0 stands for none.
    pub answers: BTreeMap<u16, u64>,
    pub failures: u64,
    /// The first of them.
    pub told: Vec<String>,
    /// Of each answer with 2xx, in milliseconds.
    #[serde(skip)]
    pub waited: Vec<f64>,
}

impl Tally {
    fn count(&mut self, status: u16, waited: Duration) {
        *self.answers.entry(status).or_default() += 1;
        if (200..300).contains(&status) {
            self.waited.push(waited.as_secs_f64() * 1e3);
        }
    }
}

/// The provider and its callers.
pub struct World {
    url: String,
    http: reqwest::Client,
    administrator: Entry,
    pub checker: Entry,
    ledger: Mutex<Ledger>,
    tally: Mutex<Tally>,
    /// Odd while the server is known to be dead.
    lives: AtomicU64,
    /// Whether this program itself asks, to check: its questions are not counted, and what goes wrong is.
    checking: AtomicBool,
    token: tokio::sync::Mutex<Option<(SecretString, Instant)>>,
}

impl World {
    /// # Errors
    /// When the provider wrote no `clients.json` into `folder`.
    pub fn new(url: String, folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            url,
            http: m2m::http_client(PATIENCE),
            administrator: Self::entry(folder, "admin")?,
            checker: Self::entry(folder, "checker")?,
            ledger: Mutex::default(),
            tally: Mutex::default(),
            lives: AtomicU64::new(0),
            checking: AtomicBool::new(false),
            token: tokio::sync::Mutex::default(),
        })
    }

    /// The credentials of a client of the policy.
    ///
    /// # Errors
    /// When the provider did not write them into `folder`.
    pub fn entry(folder: &Path, client: &str) -> anyhow::Result<Entry> {
        let text = fs::read_to_string(folder.join("clients.json"))?;
        let mut entries: BTreeMap<String, Entry> = serde_json::from_str(&text)?;
        entries
            .remove(client)
            .with_context(|| format!("clients.json has no {client}"))
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The server is being killed: from now on no answer is no failure.
    pub fn died(&self) {
        self.lives.fetch_or(1, Ordering::SeqCst);
    }

    /// It is ready again, and no answer is a failure.
    pub fn came_back(&self) {
        self.lives.fetch_add(1, Ordering::SeqCst);
    }

    /// Checks something: what is asked meanwhile are no caller's requests.
    pub async fn checking<T>(&self, check: impl Future<Output = T>) -> T {
        self.checking.store(true, Ordering::SeqCst);
        let outcome = check.await;
        self.checking.store(false, Ordering::SeqCst);
        outcome
    }

    /// Sends a request, and writes down what came of it.
    pub async fn ask(&self, caller: &Caller, request: &Request) -> Answer {
        let life = self.lives.load(Ordering::SeqCst);
        let builder = self
            .http
            .request(request.method.clone(), self.url(&request.path));
        let builder = match caller {
            Caller::Client { id, secret } => builder.basic_auth(id, Some(secret.expose_secret())),
            Caller::Administrator => match self.administrators_token(life).await {
                Some(token) => builder.bearer_auth(token.expose_secret()),
                None => return Answer::Nothing,
            },
        };
        let builder = match &request.body {
            Body::None => builder,
            Body::Json(json) => builder.json(json),
            Body::Form(form) => builder.form(form),
        };
        let builder = match &request.idempotency_key {
            Some(key) => builder.header("Idempotency-Key", key),
            None => builder,
        };
        let what = format!("{} {}", request.method, request.path);
        self.answered(builder, life, &what).await
    }

    async fn answered(&self, builder: reqwest::RequestBuilder, life: u64, what: &str) -> Answer {
        let asked = Instant::now();
        let outcome = async {
            let answer = builder.send().await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Ok((status, headers, answer.bytes().await?))
        };
        let outcome: reqwest::Result<_> = outcome.await;
        let waited = asked.elapsed();
        let (status, headers, body) = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                self.tally().count(0, waited);
                let died = life % 2 == 1 || self.lives.load(Ordering::SeqCst) != life;
                if error.is_timeout() {
                    self.fail(format!("{what}: no answer for {PATIENCE:?}"));
                } else if !died {
                    self.fail(format!("{what}: the connection broke: {error:?}"));
                }
                return Answer::Nothing;
            }
        };
        if !self.checking.load(Ordering::SeqCst) {
            self.tally().count(status, waited);
        }
        match status {
            200..=299 => Answer::Done(serde_json::from_slice(&body).unwrap_or_default()),
            400..=499 => Answer::Refused(status),
            503 if headers.contains_key(RETRY_AFTER) => Answer::Nothing,
            503 => {
                self.fail(format!("{what}: 503 without Retry-After"));
                Answer::Nothing
            }
            _ => {
                let told: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                self.fail(format!("{what}: {status} {told}"));
                Answer::Failed
            }
        }
    }

    /// Writes down what should never be.
    pub fn fail(&self, what: String) {
        let mut tally = self.tally();
        tally.failures += 1;
        if tally.told.len() < TOLD {
            tally.told.push(what);
        }
    }

    /// One token for all that the administrator does for a while.
    async fn administrators_token(&self, life: u64) -> Option<SecretString> {
        // Held while the token is fetched: one fetches, the others take what it brought.
        let mut token = self.token.lock().await;
        if let Some((token, since)) = &*token
            && since.elapsed() < TOKEN_AGE
        {
            return Some(token.clone());
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", "auth-provider"),
        ];
        let Entry {
            client_id,
            client_secret,
        } = &self.administrator;
        let builder = self
            .http
            .post(self.url("/oauth/token"))
            .basic_auth(client_id, Some(client_secret.expose_secret()))
            .form(&form);
        match self
            .answered(builder, life, "the administrator's token")
            .await
        {
            Answer::Done(answer) => {
                let fresh = SecretString::from(answer["access_token"].as_str()?);
                *token = Some((fresh.clone(), Instant::now()));
                Some(fresh)
            }
            Answer::Refused(status) => {
                self.fail(format!("the administrator gets no token: {status}"));
                None
            }
            Answer::Nothing | Answer::Failed => None,
        }
    }
}
