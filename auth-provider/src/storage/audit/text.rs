//! The text of a pack: JSON, an array with an array for each event, in the order of their numbers.
//!
//! What an event has stands there by position, see [`Whole`], and nothing stands for the nulls at its end. Of one that differs
//! from an earlier one of the pack in its names alone, only these stand there, see [`Alike`]: most tokens are 30 bytes. It is
//! documented for people who read it with SQL: a position is never changed.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use crate::{
    audit::{Action, Event, Outcome},
    client::{ClientId, CredentialId},
    json,
    resource::ResourceId,
    storage::StoreError,
};

/// How long the name of a credential is, with which those of its tokens begin. Texts were written with this number.
const NAMED: usize = 22;

/// A text that grows.
pub(super) struct Writing<'e> {
    first_at: u64,
    text: Vec<u8>,
    events: usize,
    /// The places of the events that stand there as a whole.
    wholes: HashMap<Likeness<'e>, usize>,
}

#[derive(PartialEq, Eq)]
pub(super) enum Written {
    AsAWhole,
    /// All but its names is that of an earlier one.
    Alike,
}

/// What two events have in common when they differ in their names alone.
#[derive(PartialEq, Eq)]
struct Likeness<'e> {
    at: u64,
    action: Action,
    outcome: Outcome,
    actor: Option<&'e ClientId>,
    client: Option<&'e ClientId>,
    resource: Option<&'e ResourceId>,
    credential: Option<&'e CredentialId>,
    /// How the `jti` begins.
    named: Option<&'e str>,
    ends_at: Option<u64>,
    address: Option<IpAddr>,
    reason: Option<&'e str>,
    explanation: Option<&'e str>,
}

impl Hash for Likeness<'_> {
    /// By what tells nearly all apart, also of many who name no client: each further part would cost as much as writing a
    /// name.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.at, self.client, self.named, self.address).hash(state);
    }
}

impl<'e> Likeness<'e> {
    /// With the rest of the event's `jti`. `None` when that is too short to be one of this server's.
    fn of(event: &'e Event) -> Option<(Self, Option<&'e str>)> {
        let (named, rest) = match &event.jti {
            Some(jti) => {
                let (named, rest) = jti.split_at_checked(NAMED)?;
                (Some(named), Some(rest))
            }
            None => (None, None),
        };
        let likeness = Self {
            at: event.at,
            action: event.action,
            outcome: event.outcome,
            actor: event.actor.as_ref(),
            client: event.client.as_ref(),
            resource: event.resource.as_ref(),
            credential: event.credential.as_ref(),
            named,
            ends_at: event.ends_at,
            address: event.address,
            reason: event.reason.as_deref(),
            explanation: event.explanation.as_deref(),
        };
        Some((likeness, rest))
    }
}

impl<'e> Writing<'e> {
    /// No event is from before the second `first_at`.
    pub(super) fn new(first_at: u64) -> Self {
        Self {
            first_at,
            text: Vec::new(),
            events: 0,
            wholes: HashMap::new(),
        }
    }

    pub(super) fn write(&mut self, event: &'e Event) -> Written {
        let place = self.events;
        self.events += 1;
        self.text.push(if place == 0 { b'[' } else { b',' });
        let Some((likeness, rest)) = Likeness::of(event) else {
            return self.write_whole(event);
        };
        match self.wholes.entry(likeness) {
            Entry::Occupied(whole) => {
                let whole = *whole.get();
                self.push(&(rest, whole, event.request_id.as_deref()));
                Written::Alike
            }
            Entry::Vacant(unknown) => {
                unknown.insert(place);
                self.write_whole(event)
            }
        }
    }

    fn write_whole(&mut self, event: &Event) -> Written {
        self.push(&Whole::of(event, self.first_at));
        Written::AsAWhole
    }

    /// A list of values. Nulls at its end are left out.
    fn push(&mut self, values: &impl Serialize) {
        json::append(&mut self.text, values);
        // A text that ends like this has a quotation mark behind it.
        while self.text.ends_with(b",null]") {
            self.text.truncate(self.text.len() - b",null]".len());
            self.text.push(b']');
        }
    }

    pub(super) fn end(mut self) -> String {
        self.text.push(b']');
        String::from_utf8(self.text).expect("JSON is UTF-8")
    }
}

/// The events of a text, in their order.
pub(super) fn read(text: &str, first_at: u64) -> Result<Vec<Event>, StoreError> {
    let stand: Vec<Stands<'_>> = serde_json::from_str(text).map_err(|_| CORRUPT)?;
    let mut events = Vec::with_capacity(stand.len());
    for event in stand {
        let event = match event {
            Stands::Whole(whole) => whole.event(first_at)?,
            Stands::Alike(alike) => alike.event(&events)?,
        };
        events.push(event);
    }
    Ok(events)
}

const CORRUPT: StoreError = StoreError::Corrupt {
    what: "pack of audit events",
};

/// An event as it stands in the text.
enum Stands<'e> {
    Whole(Box<Whole<'e>>),
    Alike(Alike<'e>),
}

/// An event with all that it has.
#[derive(Deserialize)]
struct Whole<'e> {
    /// Seconds after the pack's `first_at`.
    #[serde(skip)]
    at: u64,
    #[serde(borrow)]
    action: Text<'e>,
    /// 1 for success.
    #[serde(deserialize_with = "from_bit")]
    success: bool,
    #[serde(borrow, default)]
    client: Option<Text<'e>>,
    /// Empty: the client itself.
    #[serde(borrow, default)]
    actor: Option<Text<'e>>,
    #[serde(borrow, default)]
    resource: Option<Text<'e>>,
    #[serde(borrow, default)]
    jti: Option<Text<'e>>,
    /// Empty: the one that the `jti` begins with.
    #[serde(borrow, default)]
    credential: Option<Text<'e>>,
    /// Seconds after `at`.
    #[serde(default)]
    ends_after: Option<i64>,
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(borrow, default)]
    request_id: Option<Text<'e>>,
    #[serde(borrow, default)]
    reason: Option<Text<'e>>,
    #[serde(borrow, default)]
    explanation: Option<Text<'e>>,
}

/// An event that is like an earlier one in all but its names.
struct Alike<'e> {
    /// What follows the first 22 characters of the other's `jti`.
    jti: Option<Text<'e>>,
    /// The place of the other one in the text, which stands there as a whole.
    whole: usize,
    request_id: Option<Text<'e>>,
}

/// A text that is borrowed, unless something in it is escaped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'e>(#[serde(borrow)] Cow<'e, str>);

impl<'e> From<&'e str> for Text<'e> {
    fn from(text: &'e str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

fn from_bit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match u8::deserialize(deserializer)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(de::Error::custom("neither 0 nor 1")),
    }
}

impl<'de> Deserialize<'de> for Stands<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AnEvent)
    }
}

struct AnEvent;

/// What an event begins with tells how it stands there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Begins<'e> {
    // The usual one is tried first.
    Jti(#[serde(borrow)] Option<Text<'e>>),
    At(u64),
}

impl<'de> Visitor<'de> for AnEvent {
    type Value = Stands<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut event: A) -> Result<Stands<'de>, A::Error> {
        match event.next_element()? {
            Some(Begins::At(at)) => {
                let whole = Whole::deserialize(SeqAccessDeserializer::new(event))?;
                Ok(Stands::Whole(Box::new(Whole { at, ..whole })))
            }
            Some(Begins::Jti(jti)) => {
                let Some(whole) = event.next_element()? else {
                    return Err(de::Error::invalid_length(1, &self));
                };
                let request_id = event.next_element()?.flatten();
                Ok(Stands::Alike(Alike {
                    jti,
                    whole,
                    request_id,
                }))
            }
            None => Err(de::Error::invalid_length(0, &self)),
        }
    }
}

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (
            self.at,
            &self.action,
            u8::from(self.success),
            &self.client,
            &self.actor,
            &self.resource,
            &self.jti,
            &self.credential,
            &self.ends_after,
            &self.address,
            &self.request_id,
            &self.reason,
            &self.explanation,
        )
            .serialize(serializer)
    }
}

impl<'e> Whole<'e> {
    fn of(event: &'e Event, first_at: u64) -> Self {
        let of_token = event.jti.as_deref().and_then(CredentialId::of_token);
        let credential = |id: &'e CredentialId| match of_token {
            Some(known) if known == *id => "",
            _ => id.as_str(),
        };
        let actor = |id: &'e ClientId| match &event.client {
            Some(client) if client == id => "",
            _ => id.as_str(),
        };
        let ends_after = |ends_at: u64| ends_at.wrapping_sub(event.at).cast_signed();
        Self {
            at: event.at - first_at,
            action: event.action.as_str().into(),
            success: event.outcome == Outcome::Success,
            client: event.client.as_ref().map(|id| id.as_str().into()),
            actor: event.actor.as_ref().map(|id| actor(id).into()),
            resource: event.resource.as_ref().map(|id| id.as_str().into()),
            jti: event.jti.as_deref().map(Into::into),
            credential: event.credential.as_ref().map(|id| credential(id).into()),
            ends_after: event.ends_at.map(ends_after),
            address: event.address,
            request_id: event.request_id.as_deref().map(Into::into),
            reason: event.reason.as_deref().map(Into::into),
            explanation: event.explanation.as_deref().map(Into::into),
        }
    }

    fn event(self, first_at: u64) -> Result<Event, StoreError> {
        let at = first_at.wrapping_add(self.at);
        let client_id = |Text(id)| ClientId::parse(&id).map_err(|_| CORRUPT);
        let client = self.client.map(client_id).transpose()?;
        let actor = match self.actor {
            Some(Text(id)) if id.is_empty() => client.clone(),
            other => other.map(client_id).transpose()?,
        };
        let resource_id = |Text(id)| ResourceId::parse(&id).map_err(|_| CORRUPT);
        let credential = match (&self.credential, &self.jti) {
            (None, _) => None,
            (Some(Text(id)), Some(Text(jti))) if id.is_empty() => {
                Some(CredentialId::of_token(jti).ok_or(CORRUPT)?)
            }
            (Some(Text(id)), _) => Some(CredentialId::parse(id).ok_or(CORRUPT)?),
        };
        let ends_at = |after: i64| at.wrapping_add(after.cast_unsigned());
        let owned = |Text(text)| text.into_owned();
        Ok(Event {
            at,
            action: Action::parse(&self.action.0).ok_or(CORRUPT)?,
            outcome: if self.success {
                Outcome::Success
            } else {
                Outcome::Refused
            },
            actor,
            client,
            resource: self.resource.map(resource_id).transpose()?,
            credential,
            ends_at: self.ends_after.map(ends_at),
            jti: self.jti.map(owned),
            reason: self.reason.map(owned).map(Cow::Owned),
            explanation: self.explanation.map(owned),
            request_id: self.request_id.map(owned),
            address: self.address,
        })
    }
}

impl Alike<'_> {
    fn event(self, earlier: &[Event]) -> Result<Event, StoreError> {
        let whole = earlier.get(self.whole).ok_or(CORRUPT)?;
        let begin = whole.jti.as_ref().and_then(|jti| jti.get(..NAMED));
        let jti = match self.jti {
            Some(Text(rest)) => Some([begin.ok_or(CORRUPT)?, &rest].concat()),
            None => None,
        };
        let request_id = self.request_id.map(|Text(id)| id.into_owned());
        Ok(Event {
            jti,
            request_id,
            ..whole.clone()
        })
    }
}
