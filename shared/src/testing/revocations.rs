//! What the issuer for tests has revoked, and its feed of that.

use serde_json::{Value, json};

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
    pub(super) cut: bool,
    /// Sent in place of the feed; then the connection stays open.
    pub(super) script: Option<Vec<u8>>,
    /// Introspection calls every token inactive.
    pub(super) inactive: bool,
    /// What introspection answers instead.
    pub(super) answer: Option<(u16, Value)>,
    /// The `Last-Event-ID` of each request for the feed.
    pub(super) resumed: Vec<Option<u64>>,
}

impl Revocations {
    pub(super) fn add(&mut self, mut entry: Value) {
        entry["number"] = json!(self.last() + 1);
        self.entries.push(entry);
    }

    /// The number of the last entry; zero without one.
    pub(super) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn forget_all(&mut self) {
        self.entries.clear();
    }

    /// The events behind entry `seen`, and the number of the last one. `None`: from the beginning,
    /// as for a number that was never given out.
    pub(super) fn events_after(&self, seen: Option<u64>) -> (String, u64) {
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
    pub(super) fn cover(&self, claims: &Value) -> bool {
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
