//! The promises of a key's life, held against any history: whatever an operator does and however long the
//! server is away, no token outlives its key, and no key signs before every cache of the key set has it.

use std::collections::BTreeSet;

use m2m::verify::Algorithm;
use proptest::prelude::*;

use super::{
    KeyChange, KeyRecord, KeyState, Schedule, Wished,
    life::{self, Plan, compromise, due, rotate},
};

const ALG: Algorithm = Algorithm::ES256;
const START: u64 = 1_000_000;

pub(super) fn schedule(interval: u64, announce: u64, retire: u64) -> Schedule {
    Schedule::new(Wished {
        rotation_interval: Some(interval.into()),
        announce_time: Some(announce.into()),
        retire_time: Some(retire.into()),
        max_age: None,
        fast: true,
    })
    .unwrap()
}

/// Does to the keys what the store would do.
pub(super) fn apply(keys: &mut Vec<KeyRecord>, plan: &Plan, schedule: &Schedule, now: u64) {
    for new in &plan.make {
        let kid = format!("{}-{}", new.algorithm.name(), new.number);
        assert!(keys.iter().all(|key| key.kid != kid), "{kid} is made twice");
        keys.push(KeyRecord {
            number: new.number,
            signs_from: new.signs_from,
            announce_time: schedule.announce_time,
            retire_time: schedule.retire_time,
            ..KeyRecord::first(&kid, new.algorithm, now)
        });
    }
    for change in &plan.change {
        match change {
            KeyChange::SignFrom { kid, at } => of(keys, kid).signs_from = *at,
            KeyChange::Compromise { kid, at } => of(keys, kid).compromised_at = Some(*at),
            KeyChange::Delete { kid } => keys.retain(|key| key.kid != *kid),
            KeyChange::Promise {
                announce_time,
                retire_time,
            } => {
                for key in &mut *keys {
                    key.announce_time = key.announce_time.max(*announce_time);
                    key.retire_time = key.retire_time.max(*retire_time);
                }
            }
        }
    }
}

pub(super) fn of<'a>(keys: &'a mut [KeyRecord], kid: &str) -> &'a mut KeyRecord {
    keys.iter_mut().find(|key| key.kid == kid).unwrap()
}

pub(super) fn tend(keys: &mut Vec<KeyRecord>, in_use: &[Algorithm], schedule: &Schedule, now: u64) {
    loop {
        let plan = due(keys, in_use, schedule, now);
        if plan.is_empty() {
            return;
        }
        apply(keys, &plan, schedule, now);
    }
}

/// What may happen to a server, and how long it takes.
#[derive(Clone, Debug)]
enum Event {
    Serve(u64),
    Stopped(u64),
    Rotate,
    CompromiseActive,
    CompromiseNewest,
    Configure(u64, u64, u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1_u64..400).prop_map(Event::Serve),
        1 => (1_u64..2000).prop_map(Event::Stopped),
        1 => Just(Event::Rotate),
        1 => Just(Event::CompromiseActive),
        1 => Just(Event::CompromiseNewest),
        1 => (2_u64..300, 2_u64..300, 2_u64..300).prop_map(|(i, a, r)| Event::Configure(i, a, r)),
    ]
}

/// A server, the tokens it issued, and the key sets that it handed out.
struct World {
    now: u64,
    schedule: Schedule,
    keys: Vec<KeyRecord>,
    /// Key and end of each token.
    tokens: Vec<(String, u64)>,
    /// Key sets that a cache may still have, and when the last of these caches asks again.
    caches: Vec<(BTreeSet<String>, u64)>,
    /// Keys that caches could not be told of: the first, and those that replace a compromised one.
    sudden: BTreeSet<String>,
}

impl World {
    fn published(&self) -> BTreeSet<String> {
        let living = self.keys.iter().filter(|key| key.compromised_at.is_none());
        living.map(|key| key.kid.clone()).collect()
    }

    fn second(&mut self) {
        tend(&mut self.keys, &[ALG], &self.schedule, self.now);
        let active: Vec<_> = self
            .keys
            .iter()
            .filter(|key| matches!(key.state(&self.keys, self.now), KeyState::Active { .. }))
            .collect();
        assert_eq!(active.len(), 1, "{:?}", self.keys);
        let signs = active[0].clone();
        assert_eq!(Some(&signs), life::active(&self.keys, ALG, self.now));

        self.caches.retain(|(_, until)| self.now < *until);
        for (set, until) in &self.caches {
            let told = set.contains(&signs.kid) || self.sudden.contains(&signs.kid);
            assert!(
                told,
                "a cache until {until} lacks {signs:?} at {}",
                self.now
            );
        }
        let published = self.published();
        self.tokens.retain(|(_, end)| self.now < *end);
        for (kid, end) in &self.tokens {
            let known = published.contains(kid);
            assert!(known, "a token until {end} outlives {kid} at {}", self.now);
        }
        let life = self.schedule.longest_token(signs.retire_time);
        self.tokens.push((signs.kid, self.now + life));
        // Another server may hand out the set as it was for as long as it takes to hear of this one.
        let until = self.now + u64::from(self.schedule.max_age) + 1;
        match self.caches.last_mut() {
            Some((set, last)) if *set == published => *last = until.max(*last),
            _ => self.caches.push((published, until)),
        }
        self.now += 1;
    }

    fn compromise(&mut self, number: Option<u64>) {
        let Some(key) = self.keys.iter().find(|key| Some(key.number) == number) else {
            return;
        };
        let (kid, plan) = (key.kid.clone(), compromise(&self.keys, key, self.now));
        apply(&mut self.keys, &plan, &self.schedule, self.now);
        self.tokens.retain(|(signed_with, _)| *signed_with != kid);
        let active = life::active(&self.keys, ALG, self.now).unwrap();
        self.sudden.insert(active.kid.clone());
    }

    fn meet(&mut self, event: &Event) {
        match *event {
            Event::Serve(seconds) => (0..seconds).for_each(|_| self.second()),
            Event::Stopped(seconds) => self.now += seconds,
            Event::Rotate => {
                let plan = rotate(&self.keys, ALG, &self.schedule, self.now);
                apply(&mut self.keys, &plan, &self.schedule, self.now);
            }
            Event::CompromiseActive => {
                let active = life::active(&self.keys, ALG, self.now);
                self.compromise(active.map(|key| key.number));
            }
            Event::CompromiseNewest => {
                let newest = self
                    .keys
                    .iter()
                    .filter(|key| key.compromised_at.is_none())
                    .map(|key| key.number)
                    .max();
                self.compromise(newest);
            }
            Event::Configure(interval, announce, retire) => {
                self.schedule = schedule(interval.max(10), announce, retire);
                let promise = KeyChange::Promise {
                    announce_time: self.schedule.announce_time,
                    retire_time: self.schedule.retire_time,
                };
                let plan = Plan {
                    make: vec![],
                    change: vec![promise],
                };
                apply(&mut self.keys, &plan, &self.schedule, self.now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_every_token_and_every_cache_keeps_its_promise(
        events in proptest::collection::vec(event(), 1..20),
    ) {
        let mut world = World {
            now: START,
            schedule: schedule(100, 20, 50),
            keys: vec![],
            tokens: vec![],
            caches: vec![],
            sudden: BTreeSet::from(["ES256-1".to_owned()]),
        };
        world.second();
        for event in &events {
            world.meet(event);
            prop_assert!(world.published().len() <= 110, "keys pile up");
        }
    }
}
