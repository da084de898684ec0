//! What stands at a connection's path: its row, and the events of its changes that are not in the audit log yet.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    audit::{Action, Event},
    connection::{Account, Application, Broken, ConnectionKey, Doubt, Service, User},
    envelope::Envelope,
    kek::KekId,
    storage::{StoreError, Stored, Times},
};

/// A connection's document.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) key: Names,
    pub(super) state: State,
    /// Told of by this document until they are in the audit log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) outbox: Vec<Batch>,
    /// New with each write.
    pub(super) stamp: String,
}

/// A removed connection's document goes in two steps, [see there](super::removal).
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Kept(Box<Row>),
    Removed,
    /// It is about to be destroyed: nobody writes here.
    Going,
}

/// Events with one number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) number: u64,
    /// Tells whether a batch that stands at this number is this one.
    pub(super) id: String,
    pub(super) events: Vec<Line>,
}

/// The four names of a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Names {
    application: String,
    user: String,
    service: String,
    account: String,
}

impl From<&ConnectionKey> for Names {
    fn from(key: &ConnectionKey) -> Self {
        Self {
            application: key.application.as_str().to_owned(),
            user: key.user.as_str().to_owned(),
            service: key.service.as_str().to_owned(),
            account: key.account.as_str().to_owned(),
        }
    }
}

impl TryFrom<&Names> for ConnectionKey {
    type Error = StoreError;

    fn try_from(names: &Names) -> Result<Self, StoreError> {
        let damaged = |what| StoreError::Corrupt { what };
        Ok(Self {
            application: Application::parse(&names.application)
                .map_err(|_| damaged("application"))?,
            user: User::parse(&names.user).map_err(|_| damaged("user"))?,
            service: Service::parse(&names.service).map_err(|_| damaged("service"))?,
            account: Account::parse(&names.account).map_err(|_| damaged("account"))?,
        })
    }
}

/// An event as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) at: u64,
    action: String,
    #[serde(flatten)]
    key: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&Event> for Line {
    fn from(event: &Event) -> Self {
        Self {
            at: event.at,
            action: event.action.as_str().to_owned(),
            key: (&event.key).into(),
            actor: event.actor.as_deref().map(str::to_owned),
            reason: event.reason.clone(),
        }
    }
}

impl TryFrom<&Line> for Event {
    type Error = StoreError;

    fn try_from(line: &Line) -> Result<Self, StoreError> {
        let action = Action::parse(&line.action);
        Ok(Self {
            at: line.at,
            action: action.ok_or(StoreError::Corrupt { what: "action" })?,
            key: (&line.key).try_into()?,
            actor: line.actor.as_deref().map(Arc::from),
            reason: line.reason.clone(),
        })
    }
}

/// Bytes, as base64.
#[derive(Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        STANDARD.encode(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

/// An [`Envelope`] as it is written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EnvelopeText {
    kek: String,
    data_key: Bytes,
    sealed: Bytes,
}

impl From<&Envelope> for EnvelopeText {
    fn from(envelope: &Envelope) -> Self {
        Self {
            kek: envelope.kek.as_str().to_owned(),
            data_key: Bytes(envelope.data_key.clone()),
            sealed: Bytes(envelope.sealed.clone()),
        }
    }
}

impl From<&EnvelopeText> for Envelope {
    fn from(text: &EnvelopeText) -> Self {
        Self {
            kek: KekId::new(&text.kek),
            data_key: text.data_key.0.clone(),
            sealed: text.sealed.0.clone(),
        }
    }
}

impl EnvelopeText {
    /// Whether this is the wrapped key of `other`, whatever it seals.
    pub(super) fn has_key_of(&self, other: &Envelope) -> bool {
        self.data_key.0 == other.data_key
    }

    pub(super) fn is_sealed_as(&self, other: &Envelope) -> bool {
        self.has_key_of(other) && self.sealed.0 == other.sealed
    }
}

/// [`Stored`] as it is written.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) envelope: EnvelopeText,
    pub(super) version: u64,
    pub(super) expires_at: Option<u64>,
    pub(super) refresh_from: Option<u64>,
    broken: Option<(String, u64)>,
    pub(super) fence: u64,
    pub(super) leased_until: Option<u64>,
    pub(super) spending: Option<String>,
    doubt: Option<String>,
    /// Suspected while somebody was at it.
    pub(super) contested: bool,
    pub(super) failures: u32,
    pub(super) retry_from: Option<u64>,
    pub(super) last_failure: Option<String>,
    pub(super) stored_at: u64,
    pub(super) refreshed_at: Option<u64>,
    pub(super) last_used: Option<(u64, String)>,
}

impl Row {
    /// Tokens that were just stored. Of what was there before, the fence counts on and the last use is known.
    pub(super) fn new(
        envelope: &Envelope,
        times: Times,
        version: u64,
        stored_at: u64,
        before: Option<&Self>,
    ) -> Self {
        Self {
            envelope: envelope.into(),
            version,
            expires_at: times.expires_at,
            refresh_from: times.refresh_from,
            broken: None,
            fence: before.map_or(0, |before| before.fence),
            leased_until: None,
            spending: None,
            doubt: None,
            contested: false,
            failures: 0,
            retry_from: None,
            last_failure: None,
            stored_at,
            refreshed_at: None,
            last_used: before.and_then(|before| before.last_used.clone()),
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(super) fn broken_since(&self) -> Option<u64> {
        self.broken.as_ref().map(|(_, since)| *since)
    }

    pub(super) fn break_off(&mut self, broken: Broken, at: u64) {
        self.broken = Some((broken.as_str().to_owned(), at));
    }

    pub(super) fn set_doubt(&mut self, doubt: Option<Doubt>) {
        self.doubt = doubt.map(|doubt| doubt.as_str().to_owned());
    }

    pub(super) fn kek(&self) -> KekId {
        KekId::new(&self.envelope.kek)
    }

    /// Under the name that was asked for. What the document itself says is not believed: it may have been moved.
    pub(super) fn stored(&self, key: &ConnectionKey) -> Result<Stored, StoreError> {
        let damaged = |what| StoreError::Corrupt { what };
        let broken = self.broken.as_ref().map(|(text, since)| {
            let broken = Broken::parse(text).ok_or(damaged("broken"))?;
            Ok::<_, StoreError>((broken, *since))
        });
        let doubt = self.doubt.as_deref();
        let doubt = doubt.map(|text| Doubt::parse(text).ok_or(damaged("doubt")));
        Ok(Stored {
            key: key.clone(),
            envelope: (&self.envelope).into(),
            version: self.version,
            times: Times {
                expires_at: self.expires_at,
                refresh_from: self.refresh_from,
            },
            broken: broken.transpose()?,
            fence: self.fence,
            leased_until: self.leased_until,
            spending: self.spending.clone(),
            doubt: doubt.transpose()?,
            failures: self.failures,
            retry_from: self.retry_from,
            last_failure: self.last_failure.clone(),
            stored_at: self.stored_at,
            refreshed_at: self.refreshed_at,
            last_used: self.last_used.clone(),
        })
    }
}
