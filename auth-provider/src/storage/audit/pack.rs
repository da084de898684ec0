//! Events that were written together, as the one row that they are: a summary by which it is found, and a text (`text.rs`).

use super::text::{Writing, Written, read};
use crate::{
    audit::{Event, Filter, Recorded},
    client::ClientId,
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

fn key_of_resource(id: &ResourceId) -> Key {
    key(b'r', id.as_str())
}

fn key_of_request(id: &str) -> Key {
    key(b'q', id)
}

/// The keys that a pack has in which there is something for the filter.
pub(in crate::storage) fn keys_of(filter: &Filter) -> Vec<Key> {
    let keys = [
        filter.client.as_ref().map(key_of_client),
        filter.resource.as_ref().map(key_of_resource),
        filter.request_id.as_deref().map(key_of_request),
    ];
    keys.into_iter().flatten().collect()
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
        let (mut text, mut found, mut actions) = (Writing::new(first_at), Vec::new(), 0);
        for event in events {
            if text.write(event) == Written::AsAWhole {
                actions |= event.action.bit();
                found.extend(event.client.as_ref().map(key_of_client));
                found.extend(event.resource.as_ref().map(key_of_resource));
            }
            found.extend(event.request_id.as_deref().map(key_of_request));
        }
        found.sort_unstable();
        found.dedup();
        Self {
            events: events.len(),
            first_at,
            last_at: times.max().unwrap_or(0),
            actions,
            keys: found.concat(),
            text: text.end(),
        }
    }
}

impl Packed {
    /// Its events that fit the filter, the last one first.
    pub(in crate::storage) fn events(&self, filter: &Filter) -> Result<Vec<Recorded>, StoreError> {
        let numbered = (self.first_number..).zip(read(&self.text, self.first_at)?);
        let mut found: Vec<_> = numbered
            .filter(|(_, event)| filter.takes(event))
            .map(|(number, event)| Recorded { number, event })
            .collect();
        found.reverse();
        Ok(found)
    }

    /// What its events tell of the uses of credentials, with their numbers.
    pub(in crate::storage) fn uses(&self) -> Result<Vec<(u64, Used)>, StoreError> {
        let numbered = (self.first_number..).zip(read(&self.text, self.first_at)?);
        let used = numbered.filter_map(|(number, event)| Some((number, Used::by(&event)?)));
        Ok(used.collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::Index};

    use std::{borrow::Cow, net::IpAddr};

    use super::*;
    use crate::{
        audit::{Action, Origin, Outcome},
        client::CredentialId,
    };

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
            jti in names(),
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

    fn names() -> impl Strategy<Value = Option<String>> {
        option::of(prop_oneof![
            texts(),
            "[ab]{22}\\..{0,3}",
            "[ab]{20,22}é.{0,2}"
        ])
    }

    /// Events some of which differ in their names alone.
    fn similar() -> impl Strategy<Value = Vec<Event>> {
        let others = vec((any::<Index>(), names(), option::of(texts())), 0..40);
        (vec(events(), 1..4), others).prop_map(|(mut events, others)| {
            for (like, jti, request_id) in others {
                let like = like.get(&events).clone();
                events.push(Event {
                    jti,
                    request_id,
                    ..like
                });
            }
            events
        })
    }

    fn damaged() -> impl Strategy<Value = String> {
        let event = prop_oneof![
            Just(r#"[0,"token.issued",1,"bot","","notes","0123456789012345678901.x","",3600]"#),
            Just(r#"[0,"token.issued",1,"bot",null,null,"é"]"#),
            Just(r#"[".x",0]"#),
            Just(r#"[".x",1,"request"]"#),
            Just("[null,0]"),
            Just(r#"[".x"]"#),
            Just(r#"[".x",-1]"#),
            Just(r#"[".x",18446744073709551615]"#),
            Just("[]"),
        ];
        let events = vec(event, 0..5).prop_map(|events| format!("[{}]", events.join(",")));
        prop_oneof!["[\\[\\]0-9,\"a.ns]{0,30}", events]
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
        fn what_is_packed_is_found_again(events in prop_oneof![vec(events(), 1..40), similar()]) {
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
        fn what_is_used_is_what_the_events_say(events in prop_oneof![vec(events(), 1..40), similar()]) {
            let pack = Pack::of(&events);
            let found = read(&pack, 7).uses().unwrap();
            let told = (7..).zip(&events).filter_map(|(n, event)| Some((n, Used::by(event)?)));
            prop_assert_eq!(found, told.collect::<Vec<_>>());
        }

        #[test]
        fn a_damaged_text_is_an_error(text in damaged()) {
            let packed = Packed { first_number: 1, first_at: 2, text };
            // No panic is all that is asked for.
            let _ = packed.events(&Filter::default());
            let _ = packed.uses();
        }
    }

    fn token(n: usize) -> Event {
        token_of(&CredentialId::generate(), n)
    }

    fn token_of(credential: &CredentialId, n: usize) -> Event {
        let client = ClientId::parse("bot").unwrap();
        let origin = Origin::of(Some(client.clone()), Some([127, 0, 0, 1].into()));
        let at = 1_700_000_000 + n as u64 / 300;
        let event = Event::without_request(Action::TokenIssued, at, &origin);
        Event {
            jti: Some(credential.token_id()),
            ends_at: Some(at + 3600),
            ..event
                .client(&client)
                .credential(credential)
                .resource(&ResourceId::parse("notes").unwrap())
        }
    }

    #[test]
    fn a_token_takes_some_hundred_bytes_and_others_like_it_thirty() {
        let credentials = [CredentialId::generate(), CredentialId::generate()];
        let tokens = |n: usize| token_of(&credentials[n % 2], n);
        let events: Vec<Event> = (0..512).map(tokens).collect();
        let [pack] = &packed(&events)[..] else {
            panic!("they fit into one")
        };
        let jti = |n: usize| events[n].jti.as_deref().unwrap();
        let whole = |at, n| {
            let jti = jti(n);
            format!(
                "[{at},\"token.issued\",1,\"bot\",\"\",\"notes\",\"{jti}\",\"\",3600,\"127.0.0.1\"]"
            )
        };
        let alike = |place, n| format!("[\"{}\",{place}]", &jti(n)[22..]);
        let first = [
            whole(0, 0),
            whole(0, 1),
            alike(0, 2),
            alike(1, 3),
            alike(0, 4),
        ]
        .join(",");
        assert!(
            pack.text.starts_with(&format!("[{first},")),
            "{}",
            &pack.text[..400]
        );
        let last = [alike(1, 299), whole(1, 300), whole(1, 301), alike(300, 302)].join(",");
        assert!(pack.text.contains(&format!(",{last},")), "{}", pack.text);
        assert!(pack.text.len() < 33 * 512, "{}", pack.text.len());
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
