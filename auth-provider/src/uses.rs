//! The uses of credentials where the audit log does not keep each of them: summed up in memory, and written every
//! [`INTERVAL`] and before anybody reads them.
//!
//! A crash loses what was not written. That must not make a credential look idle that somebody uses: before the first use is
//! taken into memory, the database holds a [`Promise`] up to when uses may be missing. Whoever asks whether a credential is
//! safe to remove counts that time as a possible use of every credential; see [`crate::registry::safe_to_remove`]. A server
//! that has written everything and is idle, or stops, takes its promise back.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use m2m::Clock;
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    audit::{Action, Event, Outcome},
    client::{ClientId, CredentialId, random_id},
    contact::Contact,
    journal::Behind,
    registry::Usage,
    storage::{AuditStore, StoreError},
};

/// How often what was summed up is written, while there is something.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// For so long, in seconds, uses are taken without being written when the database does not take them; a database that is
/// away has its grace besides. Then no use is taken any more, and no token given.
const PATIENCE: u64 = 60;

/// So many credentials have sums in memory at the most: when there are more, they are written at once.
const MOST: usize = 20_000;

/// So many are written in one step, between which others can write.
const STEP: usize = 400;

/// What is kept of each token that is given, and of each other use of a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TokenEvents {
    /// An event in the audit log.
    #[default]
    Each,
    /// No event: of each credential only when it was last used, how often, and when its last token ends.
    Summed,
}

impl TokenEvents {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Summed => "summed",
        }
    }
}

/// Some uses of one credential, one after the other. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub client: ClientId,
    pub credential: CredentialId,
    pub first_at: u64,
    pub last_at: u64,
    pub count: u64,
    /// When the last of the tokens ends that were had with it.
    pub alive_until: u64,
    /// The longest time between two of them, in seconds.
    pub longest_gap: u64,
    /// When the client used another of its credentials last before the first of them, as far as that was seen together with
    /// these.
    pub after_another: Option<u64>,
}

/// What a server says of the uses that it has not written, in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    pub server: String,
    /// All uses up to here are written.
    pub known_until: u64,
    /// No later use is taken before this promise is another.
    pub taken_until: u64,
}

impl Used {
    /// A single use, from which something was had that ends at `alive_until`.
    pub fn once(client: ClientId, credential: CredentialId, at: u64, alive_until: u64) -> Self {
        Self {
            client,
            credential,
            first_at: at,
            last_at: at,
            count: 1,
            alive_until,
            longest_gap: 0,
            after_another: None,
        }
    }

    /// What the event tells of the use of a credential.
    pub fn by(event: &Event) -> Option<Self> {
        let (client, credential) = (event.client.clone()?, event.credential?);
        Some(Self::once(client, credential, event.at, event.ends_at?))
    }

    /// These uses and others that came about when they ended, or later.
    pub fn and(&mut self, later: &Self) {
        let gap = later.first_at.saturating_sub(self.last_at);
        self.longest_gap = self.longest_gap.max(gap).max(later.longest_gap);
        self.first_at = self.first_at.min(later.first_at);
        self.last_at = self.last_at.max(later.last_at);
        self.count += later.count;
        self.alive_until = self.alive_until.max(later.alive_until);
    }
}

/// Adds single uses up: one sum for each credential of each client, in the order of their first uses. The uses come in the
/// order of the log, where one that was noted late stands after later ones.
pub fn summed(mut uses: Vec<Used>) -> Vec<Used> {
    uses.sort_by_key(|used| used.first_at);
    let mut sums = Vec::<Used>::new();
    let (mut places, mut last_of) = (HashMap::<_, usize>::new(), HashMap::new());
    for used in uses {
        let after_another = last_of.insert(used.client.clone(), used.last_at);
        match places.entry((used.client.clone(), used.credential)) {
            Entry::Occupied(place) => sums[*place.get()].and(&used),
            Entry::Vacant(place) => {
                place.insert(sums.len());
                sums.push(Used {
                    after_another,
                    ..used
                });
            }
        }
    }
    sums
}

/// What is known of one client's uses of its credentials, to which more of the log is added.
///
/// The gap before a use is the time since the use of the same credential before it: where many share a client, the one who
/// comes seldom shows only there. Before the first use of a credential it counts from the last use of another.
#[derive(Debug, Default)]
pub struct Known {
    /// What happened earlier under this client's name is not its doing, but that of one that was removed.
    pub created_at: u64,
    pub last_at: Option<u64>,
    pub longest_gap: u64,
    pub credentials: HashMap<CredentialId, Usage>,
}

impl Known {
    /// Adds the next uses of this client in the log. What a server does in the database in the same way, it does for all
    /// clients: see [`AuditStore::sum_up_uses`].
    pub fn add(&mut self, uses: Vec<Used>) {
        let (own, of_another): (Vec<_>, Vec<_>) =
            (uses.into_iter()).partition(|used| used.first_at >= self.created_at);
        for used in summed(of_another) {
            self.count(&used);
        }
        for used in summed(own) {
            let before = self.credentials.get(&used.credential);
            let before = before.map(|usage| usage.last_used_at);
            let before = before.or(used.after_another).or(self.last_at);
            let gap = used
                .first_at
                .saturating_sub(before.unwrap_or(used.first_at));
            self.longest_gap = self.longest_gap.max(gap).max(used.longest_gap);
            self.last_at = self.last_at.max(Some(used.last_at));
            self.count(&used);
        }
    }

    fn count(&mut self, used: &Used) {
        let usage = Usage {
            last_used_at: used.last_at,
            count: used.count,
            alive_until: used.alive_until,
        };
        let known = self.credentials.entry(used.credential);
        known
            .and_modify(|sum| *sum = sum.and(usage))
            .or_insert(usage);
    }
}

/// Whether an event tells of nothing but the use of a credential, of which there are as many as requests.
pub fn is_use(event: &Event) -> bool {
    let everyday = matches!(event.action, Action::TokenIssued | Action::CredentialUsed);
    everyday && event.outcome == Outcome::Success
}

/// The way in.
#[derive(Clone)]
pub struct Uses {
    memory: Arc<Mutex<Memory>>,
    wishes: mpsc::Sender<Wish>,
}

/// Held for a few assignments only.
#[derive(Default)]
struct Memory {
    sums: HashMap<CredentialId, Used>,
    /// Up to when the database knows that uses may be missing; 0 when it knows of none.
    taken_until: u64,
}

enum Wish {
    /// Write what there is, and promise to write what comes.
    Write(oneshot::Sender<()>),
    /// Write what there is, and take the promise back.
    End(oneshot::Sender<()>),
}

impl Uses {
    /// Starts the task that writes. It ends when the last [`Uses`] is gone.
    pub fn open(store: Arc<dyn AuditStore>, contact: &Contact, clock: Clock) -> Self {
        let (wishes, heard) = mpsc::channel(64);
        let memory = Arc::<Mutex<Memory>>::default();
        let writer = Writer {
            store,
            clock,
            memory: Arc::clone(&memory),
            server: random_id(),
            patience: PATIENCE + contact.grace().as_secs(),
            failing: false,
        };
        tokio::spawn(writer.run(heard));
        Self { memory, wishes }
    }

    /// Takes a use into memory. False when it cannot be taken yet: see [`note`](Self::note).
    pub fn takes(&self, event: &Event) -> bool {
        // Where nothing says which credential it was, another event tells of the use.
        Used::by(event).is_none_or(|used| lock(&self.memory).takes(&used))
    }

    /// Takes a use into memory when the database knows that it may be missing, and there is room.
    ///
    /// # Errors
    /// When the database takes nothing.
    pub async fn note(&self, event: &Event) -> Result<(), Behind> {
        while !self.takes(event) {
            self.wish(Wish::Write).await?;
        }
        Ok(())
    }

    /// Writes what was noted before.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn settle(&self) -> Result<(), Behind> {
        if lock(&self.memory).is_closed() {
            return Ok(());
        }
        self.wish(Wish::Write).await
    }

    /// The same at the end of the server: nothing is missing then.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub async fn end(&self) -> Result<(), Behind> {
        if lock(&self.memory).is_closed() {
            return Ok(());
        }
        self.wish(Wish::End).await
    }

    async fn wish(&self, wish: fn(oneshot::Sender<()>) -> Wish) -> Result<(), Behind> {
        let (done, wait) = oneshot::channel();
        self.wishes.send(wish(done)).await.map_err(|_| Behind)?;
        wait.await.map_err(|_| Behind)
    }
}

impl Memory {
    fn takes(&mut self, used: &Used) -> bool {
        let full = self.sums.len() >= MOST;
        if used.last_at > self.taken_until {
            return false;
        }
        match self.sums.entry(used.credential) {
            Entry::Occupied(mut sum) => sum.get_mut().and(used),
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(sum) => drop(sum.insert(used.clone())),
        }
        true
    }

    fn is_closed(&self) -> bool {
        self.taken_until == 0
    }

    /// What the database did not take comes before what was noted meanwhile.
    fn take_back(&mut self, unwritten: &[Used]) {
        for used in unwritten {
            match self.sums.entry(used.credential) {
                Entry::Occupied(mut sum) => {
                    let later = sum.insert(used.clone());
                    sum.get_mut().and(&later);
                }
                Entry::Vacant(sum) => drop(sum.insert(used.clone())),
            }
        }
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one task that writes.
struct Writer {
    store: Arc<dyn AuditStore>,
    clock: Clock,
    memory: Arc<Mutex<Memory>>,
    /// Its name in the database, another one at each start.
    server: String,
    /// How long a promise is good for, in seconds.
    patience: u64,
    failing: bool,
}

impl Writer {
    async fn run(mut self, mut wishes: mpsc::Receiver<Wish>) {
        let mut heard = Vec::new();
        loop {
            match timeout(INTERVAL, wishes.recv_many(&mut heard, 64)).await {
                Ok(0) => return, // nobody is left who could use a credential
                Err(_) if lock(&self.memory).is_closed() => continue,
                Ok(_) | Err(_) => {}
            }
            let ends = heard.iter().any(|wish| matches!(wish, Wish::End(_)));
            let outcome = if ends || (heard.is_empty() && lock(&self.memory).sums.is_empty()) {
                self.close().await
            } else {
                self.write().await
            };
            self.report(outcome.as_ref().err());
            for Wish::Write(done) | Wish::End(done) in heard.drain(..) {
                // Who is not told knows that it failed.
                if outcome.is_ok() {
                    let _ = done.send(()); // who asked may have given up
                }
            }
        }
    }

    /// Writes all sums, and the promise with the last of them.
    async fn write(&self) -> Result<(), StoreError> {
        let (now, sums) = {
            let mut memory = lock(&self.memory);
            (self.clock.now(), mem::take(&mut memory.sums))
        };
        let mut sums: Vec<Used> = sums.into_values().collect();
        // Each page is looked for once.
        sums.sort_unstable_by(|a, b| a.credential.as_str().cmp(b.credential.as_str()));
        let promise = Promise {
            server: self.server.clone(),
            known_until: now,
            taken_until: now + self.patience,
        };
        let mut rest = sums.as_slice();
        loop {
            let (step, later) = rest.split_at(rest.len().min(STEP));
            let last = later.is_empty().then_some(&promise);
            if let Err(failure) = self.store.add_uses(step, last).await {
                lock(&self.memory).take_back(rest);
                return Err(failure);
            }
            if later.is_empty() {
                lock(&self.memory).taken_until = promise.taken_until;
                return Ok(());
            }
            rest = later;
        }
    }

    /// Writes what is left, and takes the promise back.
    async fn close(&self) -> Result<(), StoreError> {
        loop {
            let is_left = {
                let mut memory = lock(&self.memory);
                if memory.sums.is_empty() {
                    memory.taken_until = 0;
                }
                !memory.sums.is_empty()
            };
            if !is_left {
                return self.store.end_promise(&self.server).await;
            }
            self.write().await?;
        }
    }

    fn report(&mut self, failure: Option<&StoreError>) {
        match (failure, self.failing) {
            (Some(failure), false) => {
                warn!("cannot write the uses of credentials and keeps trying: {failure}");
            }
            (None, true) => info!("the uses of credentials are written again"),
            _ => {}
        }
        self.failing = failure.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(credential: CredentialId, at: u64) -> Used {
        Used::once(ClientId::parse("bot").unwrap(), credential, at, at + 60)
    }

    #[test]
    fn no_use_is_taken_that_the_database_does_not_know_may_be_missing() {
        let mut memory = Memory::default();
        let credential = CredentialId::generate();
        assert!(memory.is_closed() && !memory.takes(&used(credential, 100)));
        memory.taken_until = 100;
        assert!(memory.takes(&used(credential, 100)));
        assert!(!memory.takes(&used(credential, 101)));
    }

    #[test]
    fn uses_are_summed_up_and_what_the_database_did_not_take_is_not_lost() {
        let mut memory = Memory {
            taken_until: u64::MAX,
            ..Memory::default()
        };
        let credential = CredentialId::generate();
        for at in [100, 100, 107] {
            assert!(memory.takes(&used(credential, at)));
        }
        let unwritten: Vec<Used> = mem::take(&mut memory.sums).into_values().collect();
        for at in [120, 125] {
            assert!(memory.takes(&used(credential, at)));
        }
        memory.take_back(&unwritten);
        let expected = Used {
            first_at: 100,
            last_at: 125,
            count: 5,
            alive_until: 185,
            longest_gap: 13,
            ..used(credential, 100)
        };
        assert_eq!(memory.sums.into_values().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn gaps_lie_between_the_uses_of_one_credential_and_before_its_first_after_another() {
        let [a, b, gone] = [(); 3].map(|()| CredentialId::generate());
        let mut known = Known {
            created_at: 100,
            ..Known::default()
        };
        for (uses, gap) in [
            (vec![(gone, 10), (gone, 99), (a, 100)], 0),
            // One that is late stands where it belongs.
            (vec![(a, 120), (a, 130), (a, 125)], 20),
            // Not from 160 on, which is later, but from 130 on.
            (vec![(a, 160), (b, 155)], 30),
            (vec![(b, 165)], 30),
            (vec![(a, 191), (b, 195)], 31),
        ] {
            known.add(uses.iter().map(|(id, at)| used(*id, *at)).collect());
            assert_eq!(known.longest_gap, gap, "{uses:?}");
        }
        assert_eq!(known.last_at, Some(195));
        let usage = |last_used_at, count| Usage {
            last_used_at,
            count,
            alive_until: last_used_at + 60,
        };
        assert_eq!(known.credentials[&a], usage(191, 6));
        assert_eq!(known.credentials[&b], usage(195, 3));
    }

    #[test]
    fn memory_has_an_end() {
        let mut memory = Memory {
            taken_until: u64::MAX,
            ..Memory::default()
        };
        let known = CredentialId::generate();
        assert!(memory.takes(&used(known, 1)));
        for _ in 1..MOST {
            assert!(memory.takes(&used(CredentialId::generate(), 1)));
        }
        assert!(!memory.takes(&used(CredentialId::generate(), 1)));
        assert!(memory.takes(&used(known, 2)), "it has a place already");
    }
}
