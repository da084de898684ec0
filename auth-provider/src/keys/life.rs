//! The life of a signing key: `announced → active → retired → deleted`.
//!
//! A key is announced in the key set before it signs, so that every cache has it by then. It signs until its
//! successor's time has come. It stays in the set until the last token that it signed has ended, and longer.
//! All of that follows from the times in the store: two servers that read the same rows agree on it
//! without a word, and nobody has to wake up for a key to become active.

use m2m::verify::Algorithm;

use super::schedule::{MOST_PUBLISHED, Schedule};

/// What the store knows of a key beside the key itself. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    pub kid: String,
    pub algorithm: Algorithm,
    /// 1, 2, 3 … among the keys of its algorithm. The store has each number once, so that of two servers
    /// that make the next key one is too late.
    pub number: u64,
    /// It is in the key set since then.
    pub created_at: u64,
    pub signs_from: u64,
    /// Its successor is announced this long before it signs, in seconds: what caches were promised while
    /// this key was the newest.
    pub announce_time: u64,
    /// It stays in the set this long after it was succeeded, in seconds: what its tokens were promised.
    pub retire_time: u64,
    pub compromised_at: Option<u64>,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// In the key set, and not signing yet.
    Announced { signs_from: u64 },
    /// It signs.
    Active { since: u64 },
    /// It signs no more; `until` then it is in the key set.
    Retired { since: u64, until: u64 },
    /// Somebody else may have it. It is out of the key set; until its last token would have ended, its row
    /// tells what happened to it.
    Compromised { since: u64, until: u64 },
    /// Nothing needs it any more: its row is to be removed.
    Deleted,
}

/// A key that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub algorithm: Algorithm,
    pub number: u64,
    pub signs_from: u64,
}

/// A change of the keys that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// Lets an announced key sign earlier than it would.
    SignFrom {
        kid: String,
        at: u64,
    },
    /// Takes a key out of use, and destroys its private part.
    Compromise {
        kid: String,
        at: u64,
    },
    /// Lets no key keep shorter promises than these; see [`KeyRecord`].
    Promise {
        announce_time: u64,
        retire_time: u64,
    },
    Delete {
        kid: String,
    },
}

/// What is to be done, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub make: Vec<NewKey>,
    pub change: Vec<KeyChange>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.make.is_empty() && self.change.is_empty()
    }
}

impl KeyRecord {
    /// The first key of its algorithm, which signs at once: no cache can know of it, and none of another.
    pub fn first(kid: &str, algorithm: Algorithm, now: u64) -> Self {
        Self {
            kid: kid.to_owned(),
            algorithm,
            number: 1,
            created_at: now,
            signs_from: now,
            announce_time: 0,
            retire_time: 0,
            compromised_at: None,
        }
    }

    /// Where this key is in its life at `now`. `keys` are all keys of the store.
    pub fn state(&self, keys: &[Self], now: u64) -> KeyState {
        if let Some(since) = self.compromised_at {
            let until = since + self.retire_time;
            return if now < until {
                KeyState::Compromised { since, until }
            } else {
                KeyState::Deleted
            };
        }
        let since = self.signs_from;
        if now < since {
            return KeyState::Announced { signs_from: since };
        }
        match self.succeeded_at(keys) {
            Some(succeeded) if now >= succeeded + self.retire_time => KeyState::Deleted,
            Some(succeeded) if now >= succeeded => KeyState::Retired {
                since: succeeded,
                until: succeeded + self.retire_time,
            },
            _ => KeyState::Active { since },
        }
    }

    /// When the next key takes over, as far as one is known.
    fn succeeded_at(&self, keys: &[Self]) -> Option<u64> {
        line(keys, self.algorithm)
            .filter(|other| other.order() > self.order() && other.ever_signs())
            .map(|other| other.signs_from)
            .min()
    }

    /// Whether there is a time at which this key was, is, or will be the one that signs.
    fn ever_signs(&self) -> bool {
        self.compromised_at.is_none_or(|at| at >= self.signs_from)
    }

    /// The order in which keys of one algorithm sign.
    pub(super) fn order(&self) -> (u64, u64) {
        (self.signs_from, self.number)
    }
}

/// The keys of one algorithm.
fn line(keys: &[KeyRecord], algorithm: Algorithm) -> impl Iterator<Item = &KeyRecord> {
    keys.iter().filter(move |key| key.algorithm == algorithm)
}

/// Those of them that may still sign.
fn living(keys: &[KeyRecord], algorithm: Algorithm) -> impl Iterator<Item = &KeyRecord> {
    line(keys, algorithm).filter(|key| key.compromised_at.is_none())
}

/// The key that waits for its turn, the first of them.
fn waiting(keys: &[KeyRecord], algorithm: Algorithm, now: u64) -> Option<&KeyRecord> {
    living(keys, algorithm)
        .filter(|key| key.signs_from > now)
        .min_by_key(|key| key.order())
}

/// The key that signs at `now`.
pub fn active(keys: &[KeyRecord], algorithm: Algorithm, now: u64) -> Option<&KeyRecord> {
    living(keys, algorithm)
        .filter(|key| key.signs_from <= now)
        .max_by_key(|key| key.order())
}

fn next_number(keys: &[KeyRecord], algorithm: Algorithm) -> u64 {
    line(keys, algorithm)
        .map(|key| key.number)
        .max()
        .unwrap_or(0)
        + 1
}

/// How long before its first signature a new key has to be in the set. Caches may still live by what an
/// earlier configuration promised them.
fn announce_time(keys: &[KeyRecord], algorithm: Algorithm, schedule: &Schedule) -> u64 {
    let promised = line(keys, algorithm).map(|key| key.announce_time);
    promised.chain([schedule.announce_time]).max().unwrap_or(0)
}

/// When the next key is to be announced, and when it shall sign if that happens at `now`.
fn next_key(
    keys: &[KeyRecord],
    algorithm: Algorithm,
    schedule: &Schedule,
    now: u64,
) -> Option<(u64, u64)> {
    let announce_time = announce_time(keys, algorithm, schedule);
    let due = successor_due(keys, algorithm, schedule)?;
    let announced_at = due.saturating_sub(announce_time);
    Some((announced_at, due.max(now + announce_time)))
}

/// When the newest key shall be succeeded.
fn successor_due(keys: &[KeyRecord], algorithm: Algorithm, schedule: &Schedule) -> Option<u64> {
    let newest = living(keys, algorithm).max_by_key(|key| key.order())?;
    let announce_time = announce_time(keys, algorithm, schedule);
    // The schedule sees to it that keys do not pile up, but not with what an earlier one promised.
    let interval = schedule
        .rotation_interval
        .max((announce_time + newest.retire_time) / (MOST_PUBLISHED - 2));
    Some(newest.signs_from + interval)
}

/// When the key that signs shall be succeeded: by the one that waits, or by one that is still to be made. It is in the past
/// when nobody did what was due.
pub fn next_rotation(
    keys: &[KeyRecord],
    algorithm: Algorithm,
    schedule: &Schedule,
    now: u64,
) -> Option<u64> {
    let waiting = waiting(keys, algorithm, now).map(|key| key.signs_from);
    waiting.or_else(|| successor_due(keys, algorithm, schedule))
}

/// The algorithms that have keys or need them. Once an algorithm was in use, its keys go on being rotated.
fn algorithms<'a>(
    keys: &'a [KeyRecord],
    in_use: &'a [Algorithm],
) -> impl Iterator<Item = Algorithm> + 'a {
    Algorithm::ALL
        .into_iter()
        .filter(|alg| in_use.contains(alg) || line(keys, *alg).next().is_some())
}

/// What is due at `now`.
pub fn due(keys: &[KeyRecord], in_use: &[Algorithm], schedule: &Schedule, now: u64) -> Plan {
    let mut plan = Plan::default();
    for key in keys {
        if key.state(keys, now) == KeyState::Deleted {
            let kid = key.kid.clone();
            plan.change.push(KeyChange::Delete { kid });
        }
    }
    for algorithm in algorithms(keys, in_use) {
        if active(keys, algorithm, now).is_none() {
            plan.sign_now(keys, algorithm, now);
        } else if let Some((announced_at, signs_from)) = next_key(keys, algorithm, schedule, now)
            && announced_at <= now
        {
            plan.make(keys, algorithm, signs_from);
        }
    }
    plan
}

/// When [`due`] will next have something to do, if nobody interferes.
pub fn next_due(keys: &[KeyRecord], schedule: &Schedule, now: u64) -> Option<u64> {
    let announcements = algorithms(keys, &[])
        .filter_map(|algorithm| next_key(keys, algorithm, schedule, now))
        .map(|(announced_at, _)| announced_at);
    let deletions = keys.iter().filter_map(|key| match key.state(keys, now) {
        KeyState::Retired { until, .. } | KeyState::Compromised { until, .. } => Some(until),
        _ => None,
    });
    announcements.chain(deletions).min()
}

/// Lets the next key sign as early as the caches allow.
pub fn rotate(keys: &[KeyRecord], algorithm: Algorithm, schedule: &Schedule, now: u64) -> Plan {
    let mut plan = Plan::default();
    let announce_time = announce_time(keys, algorithm, schedule);
    match waiting(keys, algorithm, now) {
        Some(next) => {
            let at = now.max(next.created_at + announce_time);
            if at < next.signs_from {
                let kid = next.kid.clone();
                plan.change.push(KeyChange::SignFrom { kid, at });
            }
        }
        None => plan.make(keys, algorithm, now + announce_time),
    }
    plan
}

/// Takes the key out of use at once, and lets another sign in its place. Empty when that was done before.
pub fn compromise(keys: &[KeyRecord], key: &KeyRecord, now: u64) -> Plan {
    let mut plan = Plan::default();
    if key.compromised_at.is_some() {
        return plan;
    }
    let kid = key.kid.clone();
    plan.change.push(KeyChange::Compromise { kid, at: now });
    if active(keys, key.algorithm, now) == Some(key) {
        plan.sign_now(keys, key.algorithm, now);
    }
    plan
}

impl Plan {
    pub fn add(&mut self, other: Self) {
        self.make.extend(other.make);
        self.change.extend(other.change);
    }

    fn make(&mut self, keys: &[KeyRecord], algorithm: Algorithm, signs_from: u64) {
        let number = next_number(keys, algorithm);
        self.make.push(NewKey {
            algorithm,
            number,
            signs_from,
        });
    }

    /// The key that waits is known to some caches already; the others will ask for the new `kid`.
    fn sign_now(&mut self, keys: &[KeyRecord], algorithm: Algorithm, now: u64) {
        match waiting(keys, algorithm, now) {
            Some(next) => {
                let kid = next.kid.clone();
                self.change.push(KeyChange::SignFrom { kid, at: now });
            }
            None => self.make(keys, algorithm, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::promises::{apply, of, schedule, tend};

    const ALG: Algorithm = Algorithm::ES256;
    const START: u64 = 1_000_000;

    fn states(keys: &[KeyRecord], now: u64) -> Vec<(u64, KeyState)> {
        let state = |key: &KeyRecord| (key.number, key.state(keys, now));
        keys.iter().map(state).collect()
    }

    #[test]
    fn a_key_is_announced_active_retired_and_deleted() {
        use KeyState::{Active, Announced, Retired};
        let (plan, t) = (schedule(100, 20, 50), START);
        let mut keys = vec![];
        #[rustfmt::skip]
        let table = [
            (0, vec![(1, Active { since: t })]),
            (79, vec![(1, Active { since: t })]),
            (80, vec![(1, Active { since: t }), (2, Announced { signs_from: t + 100 })]),
            (99, vec![(1, Active { since: t }), (2, Announced { signs_from: t + 100 })]),
            (100, vec![(1, Retired { since: t + 100, until: t + 150 }), (2, Active { since: t + 100 })]),
            (149, vec![(1, Retired { since: t + 100, until: t + 150 }), (2, Active { since: t + 100 })]),
            (150, vec![(2, Active { since: t + 100 })]),
            // The server was away for long: the next key is announced late, and nothing signs unannounced.
            (900, vec![(2, Active { since: t + 100 }), (3, Announced { signs_from: t + 920 })]),
        ];
        for (after, expected) in table {
            tend(&mut keys, &[ALG], &plan, t + after);
            assert_eq!(states(&keys, t + after), expected, "after {after} s");
        }
        assert_eq!(next_due(&keys, &plan, t + 900), Some(t + 1000));
        assert_eq!(next_due(&[], &plan, t), None);
    }

    #[test]
    fn an_algorithm_gets_its_key_when_a_resource_needs_it() {
        let plan = schedule(100, 20, 50);
        let mut keys = vec![];
        tend(&mut keys, &[ALG], &plan, START);
        assert!(active(&keys, Algorithm::RS256, START).is_none());
        tend(&mut keys, &[ALG, Algorithm::RS256], &plan, START + 7);
        let rsa = active(&keys, Algorithm::RS256, START + 7).unwrap();
        assert_eq!((rsa.number, rsa.signs_from), (1, START + 7));
        tend(&mut keys, &[], &plan, START + 90);
        assert_eq!(keys.len(), 4, "both go on: their tokens may be anywhere");
    }

    #[test]
    fn by_hand_the_next_key_signs_as_early_as_caches_allow() {
        let (plan, t) = (schedule(1000, 20, 50), START);
        let mut keys = vec![];
        tend(&mut keys, &[ALG], &plan, t);
        let first = rotate(&keys, ALG, &plan, t + 5);
        assert_eq!(first.make[0].signs_from, t + 25);
        apply(&mut keys, &first, &plan, t + 5);
        let again = rotate(&keys, ALG, &plan, t + 6);
        assert!(again.is_empty(), "it is on its way: {again:?}");

        // One that was announced for later is brought forward.
        let mut keys = vec![];
        tend(&mut keys, &[ALG], &plan, t);
        tend(&mut keys, &[ALG], &plan, t + 980);
        let kid = "ES256-2".to_owned();
        assert!(
            rotate(&keys, ALG, &plan, t + 990).is_empty(),
            "caches do not know it yet"
        );
        of(&mut keys, &kid).signs_from = t + 2000;
        let at = t + 1000;
        let expected = [KeyChange::SignFrom {
            kid: kid.clone(),
            at,
        }];
        assert_eq!(rotate(&keys, ALG, &plan, t + 990).change, expected);
        let at = t + 1500;
        assert_eq!(
            rotate(&keys, ALG, &plan, at).change,
            [KeyChange::SignFrom { kid, at }]
        );
    }

    #[test]
    fn a_compromised_key_is_replaced_at_once() {
        let (plan, t) = (schedule(100, 20, 50), START);
        let mut keys = vec![];
        tend(&mut keys, &[ALG], &plan, t);
        let key = keys[0].clone();
        let replace = compromise(&keys, &key, t + 10);
        apply(&mut keys, &replace, &plan, t + 10);
        assert_eq!(active(&keys, ALG, t + 10).unwrap().number, 2);
        assert_eq!(
            keys[0].state(&keys, t + 10),
            KeyState::Compromised {
                since: t + 10,
                until: t + 60
            }
        );
        assert!(
            compromise(&keys, &keys[0], t + 11).is_empty(),
            "it was done before"
        );
        assert_eq!(keys[0].state(&keys, t + 60), KeyState::Deleted);

        // The one that is announced takes over, and one that is only announced leaves nobody behind.
        tend(&mut keys, &[ALG], &plan, t + 95);
        let plan_of = |number: u64| {
            let key = keys.iter().find(|key| key.number == number).unwrap();
            compromise(&keys, key, t + 95)
        };
        let sign = KeyChange::SignFrom {
            kid: "ES256-3".to_owned(),
            at: t + 95,
        };
        assert!(plan_of(2).change.contains(&sign));
        assert_eq!((plan_of(3).change.len(), plan_of(3).make.len()), (1, 0));
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_a_key_to_sign_with() {
        let plan = schedule(100, 20, 50);
        let mut keys = vec![];
        tend(&mut keys, &[ALG], &plan, START);
        tend(&mut keys, &[ALG], &plan, START - 5000);
        assert_eq!(active(&keys, ALG, START - 5000).unwrap().number, 1);
    }
}
