//! What the issuer for tests has revoked, and how it tells of that: by its feed and by
//! introspection.

use std::{io, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch};
use url::form_urlencoded;

use super::{
    TestIssuer,
    server::{Inner, Request},
};

/// The feed gives a sign of life much more often than a real one: a test's clock may leap, and then
/// everything is old at once.
const HEARTBEAT: Duration = Duration::from_millis(10);

/// The issuer's revocations and how it tells of them.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, for a test to turn"
)]
pub(super) struct Revocations {
    /// The entries of the feed, each with its number in `number`.
    entries: Vec<Value>,
    /// The metadata names the feed.
    pub(super) feed_offered: bool,
    /// The metadata names the introspection endpoint.
    pub(super) introspection_offered: bool,
    /// The feed's connections are ended, and new ones refused.
    cut: bool,
    /// Sent in place of the feed; then the connection stays open.
    script: Option<Vec<u8>>,
    /// Introspection calls every token inactive.
    inactive: bool,
    /// What introspection answers instead.
    answer: Option<(u16, Value)>,
    /// The `Last-Event-ID` of each request for the feed.
    resumed: Vec<Option<u64>>,
}

impl TestIssuer {
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
    /// Any client may ask about any token that this issuer has signed (RFC 7662).
    pub(super) fn introspect(&self, request: &Request) -> (u16, Value) {
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
    pub(super) fn admit_follower(&self, request: &Request) -> Option<watch::Receiver<()>> {
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
    pub(super) async fn tell(
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
}

impl Revocations {
    fn add(&mut self, mut entry: Value) {
        entry["number"] = json!(self.last() + 1);
        self.entries.push(entry);
    }

    /// The number of the last entry; zero without one.
    fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    fn forget_all(&mut self) {
        self.entries.clear();
    }

    /// The events behind entry `seen`, and the number of the last one. `None`: from the beginning,
    /// as for a number that was never given out.
    fn events_after(&self, seen: Option<u64>) -> (String, u64) {
        let (mut events, seen) = match seen {
            Some(seen) if seen > self.last() => ("event: reset\ndata: {}\n\n".to_owned(), 0),
            seen => (String::new(), seen.unwrap_or(0)),
        };
        let seen = usize::try_from(seen).expect("it is no more than there are");
        events.extend(self.entries[seen..].iter().map(|entry| {
            let number = &entry["number"];
            format!("id: {number}\nevent: revocation\ndata: {entry}\n\n")
        }));
        (events, self.last())
    }

    /// Whether a token with these claims was revoked.
    fn cover(&self, claims: &Value) -> bool {
        let is = |name: &str, entry: &Value| entry[name] == claims[name];
        let until = |entry: &Value| claims["iat"].as_u64() <= entry["revoked_at"].as_u64();
        self.entries
            .iter()
            .any(|entry| match entry["kind"].as_str() {
                Some("token") => is("jti", entry),
                Some("client") => is("client_id", entry) && until(entry),
                Some("grant") => is("client_id", entry) && is("aud", entry) && until(entry),
                Some("credential") => {
                    let jti = claims["jti"].as_str().unwrap_or_default();
                    let credential = jti.split_once('.').map(|(credential, _)| credential);
                    credential == entry["credential"].as_str() && until(entry)
                }
                _ => false,
            })
    }
}

/// The claims of a JWT. Its signature is not looked at: this issuer trusts its tests.
fn claims_of(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}
