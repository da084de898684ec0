//! Events that were written together, as the one row that they are: a summary by which it is found, and a text.
//!
//! The text is JSON, an array with an array for each event in the order of their numbers. What an event has stands in it by
//! position, see [`Short`]; nothing stands for the nulls at its end. So a token is some 100 bytes and no index entry.

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};

use crate::{
    audit::{Action, Event, Filter, Outcome, Recorded},
    client::{ClientId, CredentialId},
    resource::ResourceId,
    storage::StoreError,
    uses::Used,
};

/// Fewer events than this are rows of their own, which an index finds.
pub(in crate::storage) const FEWEST: usize = 16;

/// A pack has no more events than this, so that opening one is cheap. The numbers of a pack follow each other: where the
/// last one is known, the first is not far.
pub(in crate::storage) const MOST: usize = 512;

/// A pack of several events has no longer text, in bytes: who copies rows has some of them in memory.
const LONGEST: usize = 64 * 1024;

/// The row but for its numbers, which the database gives.
#[derive(Debug)]
pub(in crate::storage) struct Pack {
    /// How many events they are.
    pub(in crate::storage) events: usize,
    /// No event is older, or younger, in seconds since the epoch.
    pub(in crate::storage) first_at: u64,
    pub(in crate::storage) last_at: u64,
    /// The bits of their actions.
    pub(in crate::storage) actions: i64,
    /// The keys of what they name, each once.
    pub(in crate::storage) keys: Vec<u8>,
    pub(in crate::storage) text: String,
}

/// The row as it is read.
#[derive(Debug)]
pub(in crate::storage) struct Packed {
    pub(in crate::storage) first_number: u64,
    pub(in crate::storage) first_at: u64,
    pub(in crate::storage) text: String,
}

/// By what an event can be asked for, in four bytes: where these are not in a pack's keys, the name is not in the pack.
pub(in crate::storage) type Key = [u8; 4];

/// FNV-1a of 32 bits: it stands in databases, so that it has to be the same for ever. Two names with one key cost no more than
/// a look at the text.
fn key(kind: u8, name: &str) -> Key {
    let mut hash = 0x811c_9dc5_u32;
    for byte in [kind].iter().chain(name.as_bytes()) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    hash.to_be_bytes()
}

pub(in crate::storage) fn key_of_client(id: &ClientId) -> Key {
    key(b'c', id.as_str())
}

fn keys(
    client: Option<&ClientId>,
    resource: Option<&ResourceId>,
    request_id: Option<&str>,
) -> impl Iterator<Item = Key> {
    [
        client.map(key_of_client),
        resource.map(|id| key(b'r', id.as_str())),
        request_id.map(|id| key(b'q', id)),
    ]
    .into_iter()
    .flatten()
}

/// The keys that a pack has in which there is something for the filter.
pub(in crate::storage) fn keys_of(filter: &Filter) -> Vec<Key> {
    let Filter {
        client,
        resource,
        request_id,
        ..
    } = filter;
    keys(client.as_ref(), resource.as_ref(), request_id.as_deref()).collect()
}

/// Events in their order, in as few packs as they fit into.
pub(in crate::storage) fn packed(events: &[Event]) -> Vec<Pack> {
    let mut packs = Vec::new();
    pack_into(&mut packs, events);
    packs
}

fn pack_into(packs: &mut Vec<Pack>, events: &[Event]) {
    if events.len() <= MOST {
        let pack = Pack::of(events);
        if pack.text.len() <= LONGEST || events.len() == 1 {
            packs.push(pack);
            return;
        }
    }
    let (first, second) = events.split_at(events.len() / 2);
    pack_into(packs, first);
    pack_into(packs, second);
}

impl Pack {
    fn of(events: &[Event]) -> Self {
        let times = events.iter().map(|event| event.at);
        let first_at = times.clone().min().unwrap_or(0);
        let mut found = Vec::with_capacity(2 * events.len());
        let mut text = Vec::with_capacity(128 * events.len());
        let mut actions = 0;
        for event in events {
            actions |= event.action.bit();
            let request_id = event.request_id.as_deref();
            found.extend(keys(
                event.client.as_ref(),
                event.resource.as_ref(),
                request_id,
            ));
            text.push(if text.is_empty() { b'[' } else { b',' });
            let short = Short::of(event, first_at);
            serde_json::to_writer(&mut text, &short).expect("texts and numbers are JSON");
            // A text that ends like this has a quotation mark behind it.
            while text.ends_with(b",null]") {
                text.truncate(text.len() - b",null]".len());
                text.push(b']');
            }
        }
        text.push(b']');
        found.sort_unstable();
        found.dedup();
        Self {
            events: events.len(),
            first_at,
            last_at: times.max().unwrap_or(0),
            actions,
            keys: found.concat(),
            text: String::from_utf8(text).expect("JSON is UTF-8"),
        }
    }
}

impl Packed {
    fn open(&self) -> Result<Vec<Short<'_>>, StoreError> {
        serde_json::from_str(&self.text).map_err(|_| CORRUPT)
    }

    /// Its events that fit the filter, the last one first.
    pub(in crate::storage) fn events(&self, filter: &Filter) -> Result<Vec<Recorded>, StoreError> {
        let mut found = Vec::new();
        for (number, short) in (self.first_number..).zip(self.open()?) {
            let event = short.event(self.first_at)?;
            if filter.takes(&event) {
                found.push(Recorded { number, event });
            }
        }
        found.reverse();
        Ok(found)
    }

    /// What its events tell of the uses of credentials, with their numbers.
    pub(in crate::storage) fn uses(&self) -> Result<Vec<(u64, Used)>, StoreError> {
        let mut found = Vec::new();
        for (number, short) in (self.first_number..).zip(self.open()?) {
            if let Some(used) = short.used(self.first_at)? {
                found.push((number, used));
            }
        }
        Ok(found)
    }
}

const CORRUPT: StoreError = StoreError::Corrupt {
    what: "pack of audit events",
};

/// An event as it stands in the text. It is documented for people who read it with SQL: a position is never changed.
#[derive(Deserialize)]
struct Short<'e> {
    /// Seconds after the pack's `first_at`.
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

impl Serialize for Short<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values = serializer.serialize_seq(None)?;
        values.serialize_element(&self.at)?;
        values.serialize_element(&self.action)?;
        values.serialize_element(&u8::from(self.success))?;
        values.serialize_element(&self.client)?;
        values.serialize_element(&self.actor)?;
        values.serialize_element(&self.resource)?;
        values.serialize_element(&self.jti)?;
        values.serialize_element(&self.credential)?;
        values.serialize_element(&self.ends_after)?;
        values.serialize_element(&self.address)?;
        values.serialize_element(&self.request_id)?;
        values.serialize_element(&self.reason)?;
        values.serialize_element(&self.explanation)?;
        values.end()
    }
}

impl<'e> Short<'e> {
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

    fn at(&self, first_at: u64) -> u64 {
        first_at.wrapping_add(self.at)
    }

    fn ends_at(&self, first_at: u64) -> Option<u64> {
        let after = self.ends_after?;
        Some(self.at(first_at).wrapping_add(after.cast_unsigned()))
    }

    fn client(&self) -> Result<Option<ClientId>, StoreError> {
        let client = self.client.as_ref();
        let client = client.map(|id| ClientId::parse(&id.0)).transpose();
        client.map_err(|_| CORRUPT)
    }

    fn credential(&self) -> Result<Option<CredentialId>, StoreError> {
        let Some(Text(id)) = &self.credential else {
            return Ok(None);
        };
        let credential = match &self.jti {
            Some(Text(jti)) if id.is_empty() => CredentialId::of_token(jti),
            _ => CredentialId::parse(id),
        };
        credential.map(Some).ok_or(CORRUPT)
    }

    /// `None` when it does not tell of the use of a credential.
    fn used(&self, first_at: u64) -> Result<Option<Used>, StoreError> {
        let Some(ends_at) = self.ends_at(first_at) else {
            return Ok(None);
        };
        let (client, credential) = (self.client()?, self.credential()?);
        let used = client.zip(credential).map(|(client, credential)| {
            let at = self.at(first_at);
            Used::once(client, credential, at, ends_at)
        });
        Ok(used)
    }

    fn event(self, first_at: u64) -> Result<Event, StoreError> {
        let client = self.client()?;
        let actor = match &self.actor {
            Some(Text(id)) if id.is_empty() => client.clone(),
            Some(Text(id)) => Some(ClientId::parse(id).map_err(|_| CORRUPT)?),
            None => None,
        };
        let resource = self.resource.as_ref();
        let resource = resource.map(|id| ResourceId::parse(&id.0)).transpose();
        let owned = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
        Ok(Event {
            at: self.at(first_at),
            action: Action::parse(&self.action.0).ok_or(CORRUPT)?,
            outcome: if self.success {
                Outcome::Success
            } else {
                Outcome::Refused
            },
            actor,
            resource: resource.map_err(|_| CORRUPT)?,
            credential: self.credential()?,
            ends_at: self.ends_at(first_at),
            client,
            jti: owned(self.jti),
            reason: owned(self.reason).map(Cow::Owned),
            explanation: owned(self.explanation),
            request_id: owned(self.request_id),
            address: self.address,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::audit::Origin;

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just(",null]".to_owned()),
            any::<String>()
        ]
    }

    fn clients() -> impl Strategy<Value = ClientId> {
        "[a-c~.-]{3}".prop_map(|id| ClientId::parse(&id).unwrap())
    }

    fn credentials() -> impl Strategy<Value = CredentialId> {
        "[ab]{22}".prop_map(|id| CredentialId::parse(&id).unwrap())
    }

    prop_compose! {
        fn events()(
            at in prop_oneof![0..10_u64, any::<u64>()],
            action in proptest::sample::select(Action::ALL),
            success: bool,
            client in option::of(clients()),
            actor in option::of(clients()),
            resource in option::of("[!$-\\[a-z]{1,9}"),
            credential in option::of(credentials()),
            jti in option::of(prop_oneof![texts(), "[ab]{22}\\..{0,3}"]),
            ends_at in option::of(prop_oneof![0..10_u64, any::<u64>()]),
            address in option::of(any::<IpAddr>()),
            rest in [option::of(texts()), option::of(texts()), option::of(texts())],
        ) -> Event {
            let [request_id, reason, explanation] = rest;
            Event {
                at, action, client, actor, credential, jti, ends_at, address, request_id, explanation,
                outcome: if success { Outcome::Success } else { Outcome::Refused },
                resource: resource.and_then(|id| ResourceId::parse(&id).ok()),
                reason: reason.map(Cow::Owned),
            }
        }
    }

    fn read(pack: &Pack, first_number: u64) -> Packed {
        Packed {
            first_number,
            first_at: pack.first_at,
            text: pack.text.clone(),
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_found_again(events in vec(events(), 1..40)) {
            let mut found = vec![];
            for pack in packed(&events) {
                let number = found.len() as u64;
                let mut some = read(&pack, number).events(&Filter::default()).unwrap();
                some.reverse();
                prop_assert_eq!(some.len(), pack.events);
                prop_assert!(some.iter().map(|one| one.number).eq(number..number + some.len() as u64));
                for Recorded { event, .. } in &some {
                    prop_assert!((pack.first_at..=pack.last_at).contains(&event.at));
                    prop_assert_ne!(pack.actions & event.action.bit(), 0);
                    let filter = Filter {
                        client: event.client.clone(),
                        resource: event.resource.clone(),
                        request_id: event.request_id.clone(),
                        ..Filter::default()
                    };
                    for key in keys_of(&filter) {
                        prop_assert!(pack.keys.chunks(4).any(|one| one == key));
                    }
                }
                found.extend(some.into_iter().map(|one| one.event));
            }
            prop_assert_eq!(found, events);
        }

        #[test]
        fn what_is_used_is_what_the_events_say(events in vec(events(), 1..40)) {
            let pack = Pack::of(&events);
            let found = read(&pack, 7).uses().unwrap();
            let told = (7..).zip(&events).filter_map(|(n, event)| Some((n, Used::by(event)?)));
            prop_assert_eq!(found, told.collect::<Vec<_>>());
        }

        #[test]
        fn a_damaged_text_is_an_error(text in "[\\[\\]0-9,\"a.ns]{0,30}") {
            let packed = Packed { first_number: 1, first_at: 2, text };
            // No panic is all that is asked for.
            let _ = packed.events(&Filter::default());
            let _ = packed.uses();
        }
    }

    fn token(n: usize) -> Event {
        let (client, credential) = (ClientId::parse("bot").unwrap(), CredentialId::generate());
        let origin = Origin::of(Some(client.clone()), Some([127, 0, 0, 1].into()));
        let at = 1_700_000_000 + n as u64 / 300;
        let event = Event::without_request(Action::TokenIssued, at, &origin);
        Event {
            jti: Some(credential.token_id()),
            ends_at: Some(at + 3600),
            ..event
                .client(&client)
                .credential(&credential)
                .resource(&ResourceId::parse("notes").unwrap())
        }
    }

    #[test]
    fn a_token_takes_some_hundred_bytes() {
        let events: Vec<Event> = (0..512).map(token).collect();
        let [pack] = &packed(&events)[..] else {
            panic!("they fit into one")
        };
        let jti = events[0].jti.as_ref().unwrap();
        let expected = format!(
            "[[0,\"token.issued\",1,\"bot\",\"\",\"notes\",\"{jti}\",\"\",3600,\"127.0.0.1\"],"
        );
        assert!(pack.text.starts_with(&expected), "{}", &pack.text[..200]);
        assert!(pack.text.len() < 107 * 512, "{}", pack.text.len());
        assert_eq!(pack.keys.len(), 8, "a client and a resource");
        assert_eq!(pack.actions, 1);
        assert_eq!(pack.last_at, pack.first_at + 1);
    }

    #[test]
    fn many_events_are_several_packs_and_long_texts_more() {
        let sizes = |events: &[Event]| {
            let packs = packed(events);
            packs.iter().map(|pack| pack.events).collect::<Vec<_>>()
        };
        let events: Vec<Event> = (0..2048).map(token).collect();
        assert_eq!(sizes(&events[..16]), [16]);
        assert_eq!(sizes(&events[..513]), [256, 257]);
        assert_eq!(sizes(&events), [512; 4]);
        let long = |n| token(n).explained("x".repeat(40_000));
        assert_eq!(sizes(&(0..4).map(long).collect::<Vec<_>>()), [1; 4]);
    }

    #[test]
    fn a_key_stays_what_it_is() {
        // The values that the function's authors publish for "a" and "foobar".
        assert_eq!(key(b'a', ""), [0xe4, 0x0c, 0x29, 0x2c]);
        assert_eq!(key(b'f', "oobar"), [0xbf, 0x9c, 0xf9, 0x68]);
        let bot = ClientId::parse("bot").unwrap();
        assert_eq!(key_of_client(&bot), key(b'c', "bot"));
    }
}
