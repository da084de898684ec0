//! Refreshing as a game against chance: several replicas on one store, polled by hand in an order that proptest makes up, each
//! of which may crash between any two steps, with a provider that kills a family when a refresh token comes twice. Nothing here
//! depends on time or threads: a schedule that fails, fails again.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use m2m::ManualClock;
use proptest::prelude::*;
use token_vault::{
    audit::{Action, Event},
    connection::Broken,
    envelope,
    kek::KeyRing,
    provider::{Answer, Failure, Grant, TokenEndpoint},
    refresh::{Attempt, Decision, Desk, attempt, decide},
    secret::{Token, Tokens},
    storage::{Times, VaultStore},
};

use crate::{
    memory_store::{MemoryStore, pause},
    support::{NOW, NOW_MS, key, random, ring, token, tokens},
};

const ASK_TIMEOUT: Duration = Duration::from_secs(10);

const LEASE: Duration = Duration::from_secs(30);

static RING: LazyLock<Arc<KeyRing>> = LazyLock::new(|| Arc::new(ring()));

/// What a provider knows of the tokens of one consent.
#[derive(Default)]
struct Family {
    /// The number of the refresh token that is good.
    current: u32,
    dead: bool,
}

#[derive(Default)]
struct Consents {
    families: BTreeMap<u32, Family>,
    /// How often each refresh token was sent and looked at, by its fingerprint.
    spent: BTreeMap<String, usize>,
    /// What goes wrong with the next requests.
    faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// 429: the token is not looked at.
    Limited,
    /// 5xx: the token is not looked at, but who asks cannot know.
    Down,
    /// The token is taken, and the answer gets lost.
    LostAnswer,
}

/// A provider that rotates refresh tokens and kills the family of one that comes twice. A token is `kind-family-number`.
#[derive(Clone)]
struct Rotating {
    consents: Arc<Mutex<Consents>>,
    hand: ManualClock,
    /// Whether a request may arrive after who sent it has stopped waiting for the answer.
    late: bool,
}

impl Rotating {
    fn consents(&self) -> MutexGuard<'_, Consents> {
        self.consents.lock().unwrap()
    }

    fn new_family(&self, family: u32) -> Tokens {
        self.consents().families.insert(family, Family::default());
        // It is at its end at once, so that every reader wants a new one.
        tokens(
            &format!("access-{family}-0"),
            &format!("refresh-{family}-0"),
            NOW_MS + 100,
        )
    }

    fn is_good(&self, access: &Token) -> bool {
        let (family, number) = parts(access.expose());
        let consents = self.consents();
        let family = &consents.families[&family];
        !family.dead && family.current == number
    }

    fn look_at(&self, refresh: &Token) -> Answer {
        let (id, number) = parts(refresh.expose());
        let mut consents = self.consents();
        *consents.spent.entry(refresh.fingerprint()).or_default() += 1;
        let family = consents.families.get_mut(&id).unwrap();
        if family.dead || family.current != number {
            family.dead = true;
            return Answer::Refused;
        }
        family.current += 1;
        Answer::Granted(Box::new(Grant {
            access: token(&format!("access-{id}-{}", number + 1)),
            refresh: Some(token(&format!("refresh-{id}-{}", number + 1))),
            expires_in: Some(3600),
            refresh_expires_in: None,
            scopes: None,
        }))
    }
}

fn parts(text: &str) -> (u32, u32) {
    let mut parts = text.split('-').skip(1).map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

#[async_trait]
impl TokenEndpoint for Rotating {
    async fn refresh(&self, refresh: &Token) -> Answer {
        let begun = self.hand.clock().now_ms();
        let in_time = || Duration::from_millis(self.hand.clock().now_ms() - begun) < ASK_TIMEOUT;
        let timeout = || Answer::Failed {
            failure: Failure::Timeout,
            retry_after: None,
        };
        pause().await; // the request is under way
        if !self.late && !in_time() {
            return timeout();
        }
        let fault = self.consents().faults.pop().unwrap_or(Fault::None);
        let failed = |failure| Answer::Failed {
            failure,
            retry_after: None,
        };
        let answer = match fault {
            Fault::None => self.look_at(refresh),
            Fault::Limited => failed(Failure::RateLimited),
            Fault::Down => failed(Failure::ServerError),
            Fault::LostAnswer => {
                self.look_at(refresh);
                failed(Failure::Dropped)
            }
        };
        pause().await; // the answer is under way
        if self.late || in_time() {
            answer
        } else {
            timeout()
        }
    }
}

/// All that a schedule plays with.
#[derive(Clone)]
struct World {
    store: Arc<MemoryStore>,
    ring: Arc<KeyRing>,
    hand: ManualClock,
    provider: Rotating,
    /// The last family that a store was acknowledged for.
    acknowledged: Arc<Mutex<u32>>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

impl World {
    fn new(late: bool) -> Self {
        let hand = ManualClock::at(NOW);
        let provider = Rotating {
            consents: Arc::default(),
            hand: hand.clone(),
            late,
        };
        let world = Self {
            store: Arc::default(),
            ring: Arc::clone(&RING),
            hand,
            provider,
            acknowledged: Arc::default(),
        };
        run(&mut world.clone().store_family(0));
        world
    }

    fn desk(&self) -> Desk {
        Desk {
            store: Arc::<MemoryStore>::clone(&self.store),
            ring: Arc::clone(&self.ring),
            clock: self.hand.clock(),
            ask_timeout: ASK_TIMEOUT,
        }
    }

    /// A user connects again: a new consent.
    fn store_family(self, family: u32) -> Task {
        Box::pin(async move {
            let (key, tokens) = (key("alice", "acme"), self.provider.new_family(family));
            let envelope = envelope::seal(&self.ring, &tokens.to_bytes(), &key.identity())
                .await
                .unwrap();
            let times = Times {
                expires_at: tokens.expires_at,
                refresh_from: Some(NOW_MS),
            };
            let event = Event::own(Action::Stored, self.hand.clock().now_ms(), &key);
            self.store
                .put(&key, &envelope, times, random(), &event)
                .await
                .unwrap();
            *self.acknowledged.lock().unwrap() = family;
        })
    }

    /// A replica that somebody asks for the token, three times.
    fn replica(self) -> Task {
        Box::pin(async move {
            let (desk, key) = (self.desk(), key("alice", "acme"));
            for _ in 0..3 {
                let row = self.store.connection(&key).await.unwrap().unwrap();
                if decide(&row, desk.clock.now_ms()) == Decision::Refresh {
                    let refresh_from = |_, end| end - 1000;
                    let wish = Attempt {
                        endpoint: &self.provider,
                        refresh_from: &refresh_from,
                        row: &row,
                    };
                    attempt(&desk, wish).await.unwrap();
                }
            }
        })
    }

    /// Plays a schedule: each byte is one move. `leap` is how far the clock goes in one.
    fn play(&self, schedule: &[u8], crashes: bool, leap: Duration) {
        let mut family = 0;
        let mut tasks: Vec<Task> = (0..3).map(|_| self.clone().replica()).collect();
        let successor = |which| (which < 3).then(|| self.clone().replica());
        for &byte in schedule {
            let which = usize::from(byte) % tasks.len();
            match byte {
                // A crash: whatever it was doing, it does not go on. Another one is started in its place.
                230.. if crashes => drop(tasks.splice(which..=which, successor(which))),
                // A lease ends, or a pause after a failure.
                215..230 => self.hand.advance(leap),
                // One at a time: of two at once, either may be the last.
                212..215 if crashes && tasks.len() == 3 => {
                    family += 1;
                    tasks.push(self.clone().store_family(family));
                }
                _ => {
                    let done = poll(&mut tasks[which]).is_ready();
                    if done {
                        drop(tasks.splice(which..=which, successor(which)));
                    }
                }
            }
        }
        if !crashes {
            tasks.iter_mut().for_each(run); // nobody is left with an answer in hand
        }
        // All are gone. Nothing goes wrong any more, and one replica is asked until it knows; half an hour, in which no
        // token comes to its end.
        drop(tasks);
        self.provider.consents().faults.clear();
        for _ in 0..3 {
            self.hand.advance(Duration::from_mins(10));
            run(&mut self.clone().replica());
        }
    }

    /// What must be true after every schedule.
    fn judge(&self) -> (Option<Broken>, usize) {
        let row = self.store.now(&key("alice", "acme")).unwrap();
        let identity = row.key.identity();
        let opened = envelope::open(&self.ring, &row.envelope, &identity);
        let mut opened: Pin<Box<dyn Future<Output = _>>> = Box::pin(opened);
        let Poll::Ready(bytes) = poll(&mut opened) else {
            panic!("a local key is there at once")
        };
        let kept = Tokens::from_bytes(&bytes.unwrap()).unwrap();
        let (family, _) = parts(kept.access.expose());
        let acknowledged = *self.acknowledged.lock().unwrap();
        assert!(
            family >= acknowledged,
            "a store that was acknowledged is lost"
        );

        let broken = row.broken.map(|(broken, _)| broken);
        match broken {
            None => assert!(self.provider.is_good(&kept.access), "broken without a word"),
            Some(reason) => {
                assert!(
                    !self.provider.is_good(&kept.access),
                    "{reason:?}, but the token is good"
                );
                let true_reasons = [Broken::LostInCrash, Broken::LostAnswer];
                assert!(
                    true_reasons.contains(&reason),
                    "nobody else spent it: {reason:?}"
                );
            }
        }

        let events = self.store.all_events();
        let retries = [Action::RetriedAfterCrash, Action::RetriedAfterLostAnswer];
        let mut twice = 0;
        for (fingerprint, times) in &self.provider.consents().spent {
            let about = |event: &&Event| {
                retries.contains(&event.action) && event.reason.as_ref() == Some(fingerprint)
            };
            let told = events.iter().filter(about).count();
            assert!(told + 1 >= *times, "spent {times} times, told of {told}");
            twice += times - 1;
        }
        (broken, twice)
    }
}

fn poll<T: ?Sized + Future + Unpin>(task: &mut T) -> Poll<T::Output> {
    Pin::new(task).poll(&mut Context::from_waker(Waker::noop()))
}

fn run(task: &mut Task) {
    while poll(task).is_pending() {}
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Limited),
        1 => Just(Fault::Down),
        1 => Just(Fault::LostAnswer),
    ];
    prop::collection::vec(fault, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Crashes, lost answers, leases that end too soon, users who connect again in the middle of it.
    #[test]
    fn whatever_happens_is_told(schedule in prop::collection::vec(any::<u8>(), 0..120), faults in faults()) {
        let world = World::new(false);
        world.provider.consents().faults = faults;
        world.play(&schedule, true, LEASE);
        world.judge();
    }

    /// Replicas that stand still for longer than their lease, and whose requests arrive all the same: what they void is
    /// noticed.
    #[test]
    fn who_comes_back_too_late_does_no_harm_in_silence(
        schedule in prop::collection::vec(any::<u8>(), 0..120),
        faults in faults(),
    ) {
        let world = World::new(true);
        world.provider.consents().faults = faults;
        world.play(&schedule, false, LEASE);
        world.judge();
    }

    /// Without crashes and lost answers, no order of steps spends a token twice or breaks a connection.
    #[test]
    fn in_peace_every_token_is_spent_once(
        schedule in prop::collection::vec(any::<u8>(), 0..120),
        limited in 0..3_usize,
    ) {
        let world = World::new(false);
        world.provider.consents().faults = vec![Fault::Limited; limited];
        world.play(&schedule, false, Duration::from_millis(100));
        prop_assert_eq!(world.judge(), (None, 0));
    }
}

/// One replica, crashed after each of its steps in turn: what is lost is lost only between the provider's decision and the
/// commit, and says so.
#[test]
fn a_crash_at_each_step_in_turn() {
    let mut lost = Vec::new();
    for step in 0..100 {
        let world = World::new(false);
        let mut replica = world.clone().replica();
        let finished = (0..step).any(|_| poll(&mut replica).is_ready());
        drop(replica);
        world.hand.advance(LEASE);
        run(&mut world.clone().replica());
        let (broken, twice) = world.judge();
        assert_eq!(broken.is_some(), twice > 0, "step {step}");
        lost.extend(broken.map(|broken| (step, broken)));
        if finished {
            break;
        }
    }
    assert!(!lost.is_empty() && lost.len() <= 3, "{lost:?}");
    assert!(
        lost.iter()
            .all(|(_, broken)| *broken == Broken::LostInCrash),
        "{lost:?}"
    );
}
