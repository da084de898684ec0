//! Asking the issuer about a token (RFC 7662), as seldom as the freshness allows.
//!
//! An answer is remembered for seconds, by the hash of the token's text. Those who ask about a
//! token that is being asked about wait for that answer. An issuer that fails again and again is
//! left alone for a while. Whatever goes wrong, no token is accepted.

mod circuit;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use moka::sync::Cache;
use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};
use url::Url;

use self::circuit::{Circuit, Pass};
use super::{
    Introspection, TokenError, VerifiedToken,
    claims::Expected,
    fingerprint::{Fingerprint, fingerprint},
    json::{self, Object, Value},
    stats::Tries,
};
use crate::{
    Clock,
    credentials::OwnCredentials,
    issuer::Issuer,
    net::{self, Answer, NetError, millis, with_jitter},
    trace,
};

/// How many answers are remembered.
const REMEMBERED: u64 = 10_000;

/// How many requests are under way at a time; the others wait.
const AT_ONCE: usize = 64;

/// How many tokens are being asked about or wait to be. Who comes with one more is sent away.
const QUEUE: usize = 1_000;

/// The pauses before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// What `ready` waits between attempts: first, and at most.
const READY_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The token that `ready` asks about: nobody has it, so the answer is that it is not active.
const PROBE: &str = "readiness-probe";

/// Where to ask.
pub(super) enum Whereto {
    /// Where the issuer's metadata says; asked anew after a failure.
    Metadata(Issuer),
    /// Where the configuration says.
    Given(Url),
}

/// Asks one issuer about tokens.
pub(super) struct Introspector {
    whereto: Whereto,
    expected: Expected,
    config: Introspection,
    credentials: Arc<OwnCredentials>,
    endpoint: ArcSwapOption<Url>,
    /// Whether the issuer has answered since the start.
    answered: AtomicBool,
    http: Client,
    clock: Clock,
    answers: Cache<Fingerprint, Remembered>,
    /// Tokens that are being asked about. Locked for a look, never across a wait.
    under_way: Mutex<HashMap<Fingerprint, watch::Receiver<Option<Verdict>>>>,
    permits: Semaphore,
    circuit: Mutex<Circuit>,
    pub(super) tries: Tries,
}

/// What came of asking. Refusals are verdicts, too: [`TokenError::Invalid`] is the issuer's word,
/// [`TokenError::IssuerUnavailable`] the lack of one.
type Verdict = Result<Arc<VerifiedToken>, TokenError>;

#[derive(Clone)]
struct Remembered {
    verdict: Verdict,
    /// Until when it counts, in milliseconds since the Unix epoch; later it is asked again.
    until: u64,
}

/// Why the issuer could not be asked.
enum Failure {
    /// Nobody answered, or a proxy said that nobody does: it may pass.
    Transient(String),
    Lasting(String),
    /// It did answer, but would not look at this token.
    Refused(String),
}

impl Introspector {
    pub(super) fn new(
        whereto: Whereto,
        expected: Expected,
        config: Introspection,
        credentials: Arc<OwnCredentials>,
        clock: Clock,
    ) -> Self {
        Self {
            whereto,
            expected,
            credentials,
            endpoint: ArcSwapOption::empty(),
            answered: AtomicBool::new(false),
            http: net::http_client(config.timeout),
            config,
            clock,
            answers: Cache::new(REMEMBERED),
            under_way: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            circuit: Mutex::default(),
            tries: Tries::default(),
        }
    }

    /// What is remembered about a token and still counts. Never waits.
    pub(super) fn recall(&self, fingerprint: &Fingerprint) -> Option<Verdict> {
        let remembered = self.answers.get(fingerprint)?;
        if self.clock.now_ms() >= remembered.until {
            return None;
        }
        Some(remembered.verdict.and_then(|token| {
            self.expected.check_dates(&token, self.clock.now())?;
            Ok(token)
        }))
    }

    /// Asks about a token, or waits for somebody who does. The request goes on if the caller hangs
    /// up, so that who waits with it gets its answer.
    pub(super) async fn ask(self: &Arc<Self>, token: &str) -> Verdict {
        check_shape(token)?;
        let fingerprint = fingerprint(token);
        if let Some(verdict) = self.recall(&fingerprint) {
            return verdict;
        }
        let mut answer = self.join(token, fingerprint)?;
        match answer.wait_for(Option::is_some).await {
            Ok(verdict) => verdict.clone().expect("it was waited for"),
            Err(_) => Err(TokenError::IssuerUnavailable), // the task was broken off
        }
    }

    fn join(
        self: &Arc<Self>,
        token: &str,
        fingerprint: Fingerprint,
    ) -> Result<watch::Receiver<Option<Verdict>>, TokenError> {
        let mut under_way = self.under_way();
        if let Some(asked) = under_way.get(&fingerprint)
            && asked.has_changed().is_ok()
        {
            return Ok(asked.clone());
        }
        if under_way.len() >= QUEUE {
            return Err(TokenError::IssuerUnavailable);
        }
        let (answer, asked) = watch::channel(None);
        under_way.insert(fingerprint, asked.clone());
        let (this, token) = (Arc::clone(self), token.to_owned());
        drop(tokio::spawn(trace::carry(async move {
            let place = Place {
                introspector: &this,
                fingerprint,
            };
            let verdict = this.ask_now(&token, fingerprint).await;
            // Remembered before the place is given up, so that nobody asks in between.
            drop(place);
            answer.send_replace(Some(verdict));
        })));
        Ok(asked)
    }

    async fn ask_now(&self, token: &str, fingerprint: Fingerprint) -> Verdict {
        if let Some(verdict) = self.recall(&fingerprint) {
            return verdict; // from a request that ended just before this one began
        }
        let _permit = self.permits.acquire().await.expect("it is never closed");
        // Counted from before the request, so that an answer never seems younger than it is.
        let asked_at = self.clock.now_ms();
        let Some(answer) = self.answer_about(token).await else {
            return Err(TokenError::IssuerUnavailable);
        };
        let Ok(claims) = read(&answer) else {
            return Err(TokenError::IssuerUnavailable);
        };
        let verdict = self.judge(claims, asked_at);
        let until = match &verdict {
            Ok(token) => {
                let end = token.expires_at.saturating_mul(1000);
                end.min(asked_at + millis(self.config.cache_for))
            }
            Err(_) => asked_at + millis(self.config.cache_refusals_for),
        };
        let remembered = Remembered {
            verdict: verdict.clone(),
            until,
        };
        self.answers.insert(fingerprint, remembered);
        verdict
    }

    /// The issuer's answer. It must be its word that the token is active, and that it is for this
    /// service: an issuer may tell everybody about everything (RFC 7662 section 4).
    fn judge(&self, claims: Object<'_>, asked_at: u64) -> Verdict {
        if claims.get("active") == Some(&Value::Bool(false)) {
            return Err(TokenError::Invalid("the token is not active"));
        }
        let asked_again = (asked_at + millis(self.config.cache_for)).div_ceil(1000);
        let token = self.expected.read_answer(claims, asked_again)?;
        self.expected.check_dates(&token, self.clock.now())?;
        Ok(Arc::new(token))
    }

    /// Asks until there is an answer that can be understood, or no hope for one.
    async fn answer_about(&self, token: &str) -> Option<Answer> {
        let mut pauses = PAUSES.iter();
        loop {
            let pass = self.circuit().pass(self.clock.now_ms())?;
            let answer = self.request(token).await;
            self.tries.count(&answer);
            let failure = match answer {
                Ok(answer) => {
                    self.note_answer();
                    return Some(answer);
                }
                Err(failure) => failure,
            };
            match (failure, pauses.next()) {
                (Failure::Refused(reason), _) => {
                    self.note_answer();
                    warn!("cannot judge a token: {reason}");
                    return None;
                }
                (Failure::Transient(reason), Some(pause)) if pass == Pass::Regular => {
                    self.note_failure(&reason);
                    tokio::time::sleep(with_jitter(*pause)).await;
                }
                (Failure::Transient(reason) | Failure::Lasting(reason), _) => {
                    self.note_failure(&reason);
                    return None;
                }
            }
        }
    }

    /// One request (RFC 7662 section 2.1), and an answer that can be [`read`].
    async fn request(&self, token: &str) -> Result<Answer, Failure> {
        let credentials = self.credentials.get().await.map_err(Failure::Lasting)?;
        let endpoint = self.endpoint().await?;
        let request = self
            .http
            .post(Url::clone(&endpoint))
            .header(AUTHORIZATION, credentials.header())
            .header(ACCEPT, "application/json")
            .form(&[("token", token), ("token_type_hint", "access_token")]);
        let answer = net::ask(request, &endpoint).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.credentials.refused();
        }
        let Err(reason) = read(&answer) else {
            return Ok(answer);
        };
        let reason = format!("{endpoint}: {reason}");
        Err(match answer.status.as_u16() {
            502..=504 => Failure::Transient(reason),
            // Else five tokens that are too long for the issuer would open the circuit.
            400 | 413 | 414 | 431 => Failure::Refused(reason),
            _ => Failure::Lasting(reason),
        })
    }

    async fn endpoint(&self) -> Result<Arc<Url>, Failure> {
        if let Some(known) = self.endpoint.load_full() {
            return Ok(known);
        }
        let url = match &self.whereto {
            Whereto::Given(url) => url.clone(),
            Whereto::Metadata(issuer) => issuer
                .introspection_endpoint(&self.http)
                .await?
                .ok_or_else(|| {
                    let issuer = issuer.as_str();
                    Failure::Lasting(format!("{issuer} offers no introspection in its metadata"))
                })?,
        };
        let url = Arc::new(url);
        self.endpoint.store(Some(Arc::clone(&url)));
        Ok(url)
    }

    fn note_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
        let mut circuit = self.circuit();
        if circuit.is_open() {
            info!("{} answers again", self.expected.issuer);
        }
        circuit.succeeded();
    }

    fn note_failure(&self, reason: &str) {
        self.endpoint.store(None); // it may have moved
        let issuer = &self.expected.issuer;
        warn!("could not ask {issuer} about a token: {reason}");
        if self.circuit().failed(self.clock.now_ms()) {
            warn!("leaves {issuer} alone for a while, and refuses all tokens that it must ask for");
        }
    }

    /// Waits until the issuer has said where it is to be asked; where that is configured, until it
    /// has answered there.
    pub(super) async fn ready(&self) {
        let mut pause = READY_PAUSE.0;
        while let Err(
            Failure::Transient(reason) | Failure::Lasting(reason) | Failure::Refused(reason),
        ) = self.prepare().await
        {
            warn!("waiting for the issuer {}: {reason}", self.expected.issuer);
            tokio::time::sleep(with_jitter(pause)).await;
            pause = (pause * 2).min(READY_PAUSE.1);
        }
    }

    async fn prepare(&self) -> Result<(), Failure> {
        match &self.whereto {
            Whereto::Metadata(_) => self.endpoint().await.map(drop),
            Whereto::Given(_) if self.is_proven() => Ok(()),
            Whereto::Given(_) => self.request(PROBE).await.map(|_| self.note_answer()),
        }
    }

    /// Nobody but an answer can say that a configured URL and secret are the right ones.
    fn is_proven(&self) -> bool {
        matches!(self.whereto, Whereto::Metadata(_)) || self.answered.load(Ordering::Relaxed)
    }

    /// Whether the issuer can be asked, as far as is known. When it is time for a probe, it is not:
    /// a server that gets no requests before it is healthy would else never make one.
    pub(super) fn health(&self) -> Result<(), String> {
        let issuer = &self.expected.issuer;
        if self.circuit().blocks(self.clock.now_ms()) {
            Err(format!("{issuer} does not answer questions about tokens"))
        } else if !self.is_proven() {
            Err(format!("{issuer} has not answered yet"))
        } else {
            Ok(())
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Fingerprint, watch::Receiver<Option<Verdict>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token's place among those that are asked about, given up whatever becomes of the task.
struct Place<'a> {
    introspector: &'a Introspector,
    fingerprint: Fingerprint,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.introspector.under_way().remove(&self.fingerprint);
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Unreachable { .. } => Self::Transient(error.chain()),
            NetError::Unexpected { .. } => Self::Lasting(error.chain()),
        }
    }
}

/// What cannot be a token is not worth a request: RFC 6750 section 2.1 has these characters.
fn check_shape(token: &str) -> Result<(), TokenError> {
    if token.len() > super::MAX_TOKEN {
        return Err(TokenError::Invalid("the token is longer than 16 KiB"));
    }
    let may_stand = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if token.is_empty() || !token.bytes().all(may_stand) {
        return Err(TokenError::Invalid(
            "the token has characters that no token has",
        ));
    }
    Ok(())
}

/// An answer with a boolean `active` (RFC 7662 section 2.2); anything else is not the issuer's.
fn read(answer: &Answer) -> Result<Object<'_>, String> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            return Err("status 401: it refuses this service's client id and secret".to_owned());
        }
        other => return Err(format!("status {}", other.as_u16())),
    }
    json::object(&answer.body)
        .filter(|claims| matches!(claims.get("active"), Some(Value::Bool(_))))
        .ok_or_else(|| "the answer is no introspection response of RFC 7662".to_owned())
}
