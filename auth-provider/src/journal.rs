//! Events that come with each token are written in batches, away from the request that causes them.
//!
//! They wait in a bounded queue. A crash loses those of the last moment, less than 100 ms; with [`Durability::Strict`] a
//! request waits until its event is on disk. When the database does not keep up or does not answer, requests wait for a
//! while and are then refused: no token without its event. When a database server is away and there is a grace, the
//! events wait in its place, as many as fit into the queue, and a crash then loses them.
//!
//! With [`TokenEvents::Summed`] the uses of credentials are no events: they take another way, see [`crate::uses`].

use std::{
    mem,
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use m2m::Clock;
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{error, info, warn};

use crate::{
    audit::Event,
    contact::Contact,
    gathering::Gathering,
    leases::{Job, Leases},
    metrics::Metrics,
    storage::AuditStore,
    uses::{TokenEvents, Uses, is_use},
};

/// How long events are gathered before they are written together: a write costs nearly the same for one event and for a
/// hundred.
const GATHERING: Duration = Duration::from_millis(45);

/// When the writer has been at work for so long, no more events are taken until it is done. What a crash loses came while
/// the last but one piece of work went on and while the last one did, or was gathered: twice this, or this and
/// [`GATHERING`], and either is less than 100 ms.
const LONGEST_WORK: Duration = Duration::from_millis(45);

/// How many events may wait: those of a minute in which a thousand come each second. It is reached only when the database
/// is away and there is a grace.
const QUEUE: usize = 65_536;

/// A write that takes so long is not slow, the database is away. Until that is known, requests wait.
const SLOW: Duration = Duration::from_secs(1);

/// How many events are written in one step.
const BATCH: usize = 2048;

/// How long a request waits until its event is taken, and, where it must be, written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a step is made to sum up the uses of credentials while events come. Under a load of thousands in a second the
/// sums lag behind: who reads them adds what came after.
const SUM_UP: Duration = Duration::from_secs(1);

/// Where fewer events than this came since the last step, there is time for the next one after [`GATHERING`] already, until
/// nothing is left.
const FEW: usize = 256;

/// After how long a silence all of them are summed up.
const SILENCE: Duration = Duration::from_millis(250);

/// How long the writer waits before it tries again what the database did not take.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the end of the server waits for its last events to be written.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// When a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// As soon as its event is in the queue.
    #[default]
    Batched,
    /// When its event is on disk.
    Strict,
}

impl Durability {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Strict => "strict",
        }
    }
}

/// The audit log cannot take an event just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log takes no events just now")]
pub struct Behind;

type Place<'q> = mpsc::Permit<'q, Entry>;

enum Entry {
    Event(Box<Event>, Option<oneshot::Sender<Written>>),
    /// To be answered when all that came before is written.
    Settle(oneshot::Sender<()>),
}

/// Tells those whose events are on disk when it is dropped. The writer tells one of them, who tells the others: they are
/// mostly on the same thread, while each that the writer wakes by itself would take the core away from it.
struct Written(Vec<oneshot::Sender<Self>>);

impl Written {
    /// Hands it to the first who still waits.
    fn hand_on(mut self) {
        while let Some(first) = self.0.pop() {
            let others = Self(mem::take(&mut self.0));
            match first.send(others) {
                Ok(()) => return,
                Err(mut others) => self.0 = mem::take(&mut others.0), // it has given up
            }
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for waiter in self.0.drain(..) {
            let _ = waiter.send(Self(Vec::new()));
        }
    }
}

/// The way in.
#[derive(Clone)]
pub struct Journal {
    queue: mpsc::Sender<Entry>,
    durability: Durability,
    /// Where the uses of credentials go that are no events; `None`: each is one.
    uses: Option<Uses>,
    gathering: Arc<Gathering>,
    /// Since when the writer is at work.
    at_work: watch::Receiver<Option<Instant>>,
    /// Whether the database refused what was written last.
    refused: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    contact: Arc<Contact>,
}

/// What the journal stands on.
pub struct Ground {
    pub store: Arc<dyn AuditStore>,
    pub contact: Arc<Contact>,
    /// Whose turn it is to sum up.
    pub leases: Arc<Leases>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

/// What the journal keeps, and when that is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    pub durability: Durability,
    pub tokens: TokenEvents,
}

impl Journal {
    /// Starts the writer. It ends when the last [`Journal`] is gone and everything is written.
    pub fn open(ground: Ground, Keeping { durability, tokens }: Keeping) -> Self {
        let Ground {
            store,
            contact,
            leases,
            metrics,
            clock,
        } = ground;
        let uses = match tokens {
            TokenEvents::Each => None,
            TokenEvents::Summed => Some(Uses::open(Arc::clone(&store), &contact, clock)),
        };
        let (queue, entries) = mpsc::channel(QUEUE);
        let gathering = Arc::<Gathering>::default();
        let (working, at_work) = watch::channel(None);
        let refused = Arc::<AtomicBool>::default();
        let writer = Writer {
            store,
            refused: Arc::clone(&refused),
            entries,
            durability,
            gathering: Arc::clone(&gathering),
            present: 0,
            working,
            metrics: Arc::clone(&metrics),
            contact: Arc::clone(&contact),
            leases,
            summed_up: Instant::now(),
            since_then: 0,
            unsummed: true, // what an earlier run left
            lagging: false,
        };
        tokio::spawn(writer.run());
        Self {
            queue,
            durability,
            uses,
            gathering,
            at_work,
            refused,
            metrics,
            contact,
        }
    }

    /// Hands over an event.
    ///
    /// # Errors
    /// When it cannot be taken in time: what it tells of should not happen then.
    pub async fn note(&self, event: Event) -> Result<(), Behind> {
        if let Some(uses) = self.uses.as_ref().filter(|_| is_use(&event)) {
            if self.contact.is_away() && !self.contact.has_grace() {
                return Err(Behind);
            }
            if !uses.takes(&event) {
                // In a box, since it is rare and takes room.
                Box::pin(in_time(uses.note(&event))).await?;
            }
            self.metrics.count(from_ref(&event));
            return Ok(());
        }
        let may_wait = self.durability == Durability::Batched && self.contact.has_grace();
        if self.contact.is_away() && !may_wait {
            return Err(Behind);
        }
        // A full disk does not become empty while somebody waits.
        if self.is_refused() && !self.contact.has_grace() {
            return Err(Behind);
        }
        let event = Box::new(event);
        if let Some(place) = self.place_at_once() {
            self.put(place, event, None);
            return Ok(());
        }
        // Who waits is moved into memory of his own, so that all others are small.
        match self.durability {
            Durability::Batched => {
                Box::pin(in_time(async {
                    self.keep_pace().await?;
                    self.hand_over(event, None).await
                }))
                .await
            }
            Durability::Strict => {
                let (written, wait) = oneshot::channel();
                Box::pin(in_time(async {
                    self.hand_over(event, Some(written)).await?;
                    wait.await.map(drop).map_err(|_| Behind)
                }))
                .await
            }
        }
    }

    /// A place in the queue for an event that nobody waits for, as there mostly is.
    fn place_at_once(&self) -> Option<Place<'_>> {
        if self.durability == Durability::Strict || !keeps_up(*self.at_work.borrow()) {
            return None;
        }
        self.queue.try_reserve().ok()
    }

    fn put(&self, place: Place<'_>, event: Box<Event>, written: Option<oneshot::Sender<Written>>) {
        self.metrics.count(from_ref(&*event));
        place.send(Entry::Event(event, written));
        self.gathering.joined(self.waiting());
    }

    /// Whether the database answers and takes nothing, as on a full disk. What was handed over is tried again until it does.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Waits until what was handed over before is in the store.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn settle(&self) -> Result<(), Behind> {
        in_time(self.settled()).await
    }

    /// The same for the last events of this server, which are worth waiting for.
    ///
    /// # Errors
    /// When that takes too long all the same.
    pub async fn settle_at_the_end(&self) -> Result<(), Behind> {
        let settled = timeout(LAST_PATIENCE, async {
            self.settled().await?;
            match &self.uses {
                Some(uses) => uses.end().await,
                None => Ok(()),
            }
        })
        .await;
        settled.unwrap_or(Err(Behind))
    }

    async fn settled(&self) -> Result<(), Behind> {
        let (settled, wait) = oneshot::channel();
        let entry = Entry::Settle(settled);
        self.queue.send(entry).await.map_err(|_| Behind)?;
        if let Some(uses) = &self.uses {
            uses.settle().await?;
        }
        wait.await.map_err(|_| Behind)
    }

    async fn hand_over(
        &self,
        event: Box<Event>,
        written: Option<oneshot::Sender<Written>>,
    ) -> Result<(), Behind> {
        let place = match self.queue.try_reserve() {
            Ok(place) => place,
            // A full queue empties when the database is back, which is not worth waiting for.
            Err(_) if self.contact.is_away() => return Err(Behind),
            Err(_) => self.queue.reserve().await.map_err(|_| Behind)?,
        };
        self.put(place, event, written);
        Ok(())
    }

    /// Waits while the writer is held up: what is handed over meanwhile would be lost in a crash. When the database is away
    /// and there is a grace, that is the lesser evil.
    async fn keep_pace(&self) -> Result<(), Behind> {
        let begun = *self.at_work.borrow();
        let Some(begun) = begun.filter(|begun| !keeps_up(Some(*begun))) else {
            return Ok(());
        };
        let keeps_up = |since: &Option<Instant>| keeps_up(*since);
        let mut at_work = self.at_work.clone();
        if !self.contact.has_grace() {
            let done = at_work.wait_for(keeps_up).await.map(drop);
            return done.map_err(|_| Behind);
        }
        tokio::select! {
            done = at_work.wait_for(keeps_up) => done.map(drop).map_err(|_| Behind),
            () = self.contact.until_lost() => Ok(()),
            () = sleep_until(begun + SLOW) => Ok(()),
        }
    }
}

/// Whether a writer that is at work `since` then, or rests, takes events.
fn keeps_up(since: Option<Instant>) -> bool {
    since.is_none_or(|since| since.elapsed() < LONGEST_WORK)
}

async fn in_time(done: impl Future<Output = Result<(), Behind>>) -> Result<(), Behind> {
    timeout(PATIENCE, done).await.unwrap_or(Err(Behind))
}

/// The one task that writes.
struct Writer {
    store: Arc<dyn AuditStore>,
    refused: Arc<AtomicBool>,
    entries: mpsc::Receiver<Entry>,
    durability: Durability,
    gathering: Arc<Gathering>,
    /// How many waited for their events when the last ones were written.
    present: usize,
    working: watch::Sender<Option<Instant>>,
    metrics: Arc<Metrics>,
    contact: Arc<Contact>,
    leases: Arc<Leases>,
    /// When a step of the summing up was made, how many events came since, and whether there are some that it left.
    summed_up: Instant,
    since_then: usize,
    unsummed: bool,
    /// Whether the last step left something.
    lagging: bool,
}

impl Writer {
    async fn run(mut self) {
        let (mut batch, mut worked) = (Vec::new(), Duration::ZERO);
        loop {
            // It is quiet, and stays so when nothing is left to do.
            let silence = if self.unsummed {
                SILENCE
            } else {
                Duration::MAX
            };
            let more = timeout(silence, self.entries.recv_many(&mut batch, BATCH)).await;
            match more {
                Ok(0) => break, // nobody is left who could hand over an event
                // What came during a long piece of work was gathered by it.
                Ok(_) if worked < GATHERING => self.gather(&mut batch).await,
                Ok(_) => {}
                Err(_) => while self.entries.is_empty() && self.sum_up().await {},
            }
            let begun = Instant::now();
            self.working.send_replace(Some(begun));
            self.write(&mut batch).await;
            worked = begun.elapsed();
            self.working.send_replace(None);
        }
    }

    /// Lets others join: one write to the disk then serves them all.
    async fn gather(&mut self, batch: &mut Vec<Entry>) {
        let settling = batch.iter().any(|entry| matches!(entry, Entry::Settle(_)));
        if batch.len() < BATCH && !settling {
            match self.durability {
                Durability::Batched => sleep(GATHERING).await,
                Durability::Strict => {
                    // Some are left out and served while the others are written: the processor does not wait for the disk.
                    let wanted = self.present - self.present / 8;
                    let missing = wanted.saturating_sub(batch.len());
                    let (gathering, entries) = (&self.gathering, &self.entries);
                    gathering.wait_for(missing, || entries.len()).await;
                }
            }
            while batch.len() < BATCH
                && let Ok(entry) = self.entries.try_recv()
            {
                batch.push(entry);
            }
        }
    }

    async fn write(&mut self, batch: &mut Vec<Entry>) {
        let (mut events, mut written, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event, waiter) => {
                    events.push(*event);
                    written.extend(waiter);
                }
                Entry::Settle(waiter) => settled.push(waiter),
            }
        }
        if !events.is_empty() {
            self.insist(&events).await;
            self.unsummed = true;
        }
        self.present = written.len() + self.entries.len();
        Written(written).hand_on();
        self.since_then += events.len();
        let has_time = self.lagging && self.since_then < FEW;
        let pause = if has_time { GATHERING } else { SUM_UP };
        let is_due = self.unsummed && self.summed_up.elapsed() >= pause;
        if is_due || !settled.is_empty() {
            self.sum_up().await; // one step: what has arrived meanwhile is to be written first
        }
        for waiter in settled {
            let _ = waiter.send(()); // who asked may have given up
        }
    }

    /// Writes events, however long the database takes: they are the only trace of what has happened.
    async fn insist(&self, events: &[Event]) {
        let (mut failures, mut begun) = (0_u32, Instant::now());
        let mut outcome = self.store.add_events(events).await;
        while let Err(failure) = outcome {
            failures += 1;
            // A database that is away refuses nothing.
            let is_there = !self.contact.is_away();
            self.refused.store(is_there, Ordering::Relaxed);
            self.metrics.failed_to_write();
            if failures == 1 {
                error!(
                    events = events.len(),
                    "cannot write the audit log and keeps trying: {failure}"
                );
            }
            sleep(PAUSE).await;
            begun = Instant::now();
            // The connection may have broken after they were written.
            outcome = self.store.add_missing_events(events).await;
        }
        self.metrics.wrote(events.len(), begun.elapsed());
        if failures > 0 {
            self.refused.store(false, Ordering::Relaxed);
            info!("the audit log is written again");
        }
    }

    /// Does a step. True when there is more to do.
    async fn sum_up(&mut self) -> bool {
        self.summed_up = Instant::now();
        self.since_then = 0;
        if !self.leases.holds(Job::SumUp) {
            return false; // another server does
        }
        self.lagging = match self.store.sum_up_uses().await {
            Ok(is_more) => {
                self.unsummed = is_more;
                is_more
            }
            Err(failure) => {
                // The events stay where they are; the next time finds them.
                warn!("cannot sum up the uses of credentials: {failure}");
                false
            }
        };
        self.lagging
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use async_trait::async_trait;
    use tokio::{sync::Semaphore, task::yield_now};

    use super::*;
    use crate::{
        audit::{Action, Filter, Origin, Recorded},
        storage::StoreError,
        uses::{Promise, Used},
    };

    /// A store that does what it is told to.
    struct Fake {
        written: Mutex<Vec<Event>>,
        writes: AtomicUsize,
        sums: AtomicUsize,
        /// How many steps leave something to be summed up.
        unsummed: AtomicUsize,
        fails: AtomicBool,
        /// A write takes one of these, and waits for it.
        allowed: Semaphore,
    }

    impl Fake {
        fn new(allowed: usize) -> Arc<Self> {
            Arc::new(Self {
                written: Mutex::default(),
                writes: AtomicUsize::new(0),
                sums: AtomicUsize::new(0),
                unsummed: AtomicUsize::new(0),
                fails: AtomicBool::new(false),
                allowed: Semaphore::new(allowed),
            })
        }

        fn written(&self) -> Vec<u64> {
            self.written
                .lock()
                .unwrap()
                .iter()
                .map(|event| event.at)
                .collect()
        }

        fn journal(self: &Arc<Self>, durability: Durability) -> Journal {
            self.journal_with(durability, Contact::embedded())
        }

        fn journal_with(self: &Arc<Self>, durability: Durability, contact: Contact) -> Journal {
            let ground = Ground {
                clock: Clock::System,
                store: self.clone(),
                contact: Arc::new(contact),
                leases: Arc::new(Leases::alone()),
                metrics: Arc::default(),
            };
            let keeping = Keeping {
                durability,
                ..Keeping::default()
            };
            Journal::open(ground, keeping)
        }
    }

    #[async_trait]
    impl AuditStore for Fake {
        async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
            self.writes.fetch_add(1, Ordering::SeqCst);
            self.allowed.acquire().await.unwrap().forget();
            if self.fails.load(Ordering::SeqCst) {
                return Err(StoreError::Corrupt { what: "test" });
            }
            self.written.lock().unwrap().extend_from_slice(events);
            Ok(())
        }

        async fn add_missing_events(&self, events: &[Event]) -> Result<(), StoreError> {
            self.add_events(events).await
        }

        async fn events(&self, _: &Filter, _: u64, _: usize) -> Result<Vec<Recorded>, StoreError> {
            Ok(vec![])
        }

        async fn sum_up_uses(&self) -> Result<bool, StoreError> {
            let sums = self.sums.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(sums < self.unsummed.load(Ordering::SeqCst))
        }

        async fn add_uses(&self, _: &[Used], _: Option<&Promise>) -> Result<(), StoreError> {
            Ok(())
        }

        async fn end_promise(&self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }

        async fn forget_events(&self, _: u64) -> Result<bool, StoreError> {
            Ok(false)
        }
    }

    fn event(at: u64) -> Event {
        Event::done(Action::TokenIssued, at, &Origin::server())
    }

    async fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !what() {
            assert!(Instant::now() < deadline, "it does not happen");
            yield_now().await;
        }
    }

    #[actix_web::test]
    async fn events_are_written_in_their_order_and_many_at_once() {
        let store = Fake::new(Semaphore::MAX_PERMITS);
        let journal = store.journal(Durability::Batched);
        for at in 0..5000 {
            journal.note(event(at)).await.unwrap();
        }
        journal.settle().await.unwrap();
        assert_eq!(store.written(), (0..5000).collect::<Vec<_>>());
        let writes = store.writes.load(Ordering::SeqCst);
        assert!(writes < 500, "{writes} writes for 5000 events");
        assert!(
            store.sums.load(Ordering::SeqCst) > 0,
            "settled is summed up"
        );
        assert_eq!(journal.waiting(), 0);
    }

    #[actix_web::test]
    async fn strict_answers_when_the_event_is_written() {
        let store = Fake::new(0);
        let journal = store.journal(Durability::Strict);
        let noting = journal.note(event(1));
        tokio::pin!(noting);
        tokio::select! {
            biased;
            _ = &mut noting => panic!("answered before it was written"),
            () = until(|| store.writes.load(Ordering::SeqCst) == 1) => {}
        }
        assert!(store.written().is_empty());
        store.allowed.add_permits(1);
        noting.await.unwrap();
        assert_eq!(store.written(), [1]);
    }

    #[actix_web::test]
    async fn while_the_database_hangs_events_are_refused_after_a_while_and_none_is_lost() {
        for durability in [Durability::Batched, Durability::Strict] {
            let store = Fake::new(0);
            let journal = store.journal(durability);
            let mut taken = vec![];
            let begun = Instant::now();
            for at in 0.. {
                match journal.note(event(at)).await {
                    Ok(()) => taken.push(at),
                    Err(Behind) => break,
                }
            }
            let refused_after = begun.elapsed();
            assert!(refused_after >= PATIENCE, "{refused_after:?}");
            assert!(durability == Durability::Batched || taken.is_empty());

            store.allowed.add_permits(Semaphore::MAX_PERMITS);
            journal
                .note(event(u64::MAX))
                .await
                .expect("it answers again");
            journal.settle().await.unwrap();
            let written = store.written();
            assert!(taken.iter().all(|at| written.contains(at)));
            assert_eq!(written.last(), Some(&u64::MAX));
        }
    }

    #[actix_web::test]
    async fn while_a_database_server_is_away_events_wait_for_it_as_many_as_fit() {
        let store = Fake::new(0);
        let contact = Contact::with_server(Duration::from_hours(1));
        let journal = store.journal_with(Durability::Batched, contact);
        journal.note(event(0)).await.unwrap();
        until(|| store.writes.load(Ordering::SeqCst) == 1).await;
        journal.contact.lost();
        let mut taken = 1;
        loop {
            let begun = Instant::now();
            let outcome = journal.note(event(taken)).await;
            assert!(begun.elapsed() < PATIENCE, "nobody waits");
            if outcome.is_err() {
                break;
            }
            taken += 1;
        }
        assert!(taken > QUEUE as u64, "{taken}");

        store.allowed.add_permits(Semaphore::MAX_PERMITS);
        journal.contact.found();
        journal.settle().await.unwrap();
        assert_eq!(store.written(), (0..taken).collect::<Vec<_>>());
    }

    #[actix_web::test]
    async fn without_a_grace_and_where_it_is_strict_no_event_waits_for_a_database_that_is_away() {
        for (durability, grace) in [
            (Durability::Batched, Duration::ZERO),
            (Durability::Strict, Duration::from_hours(1)),
        ] {
            let store = Fake::new(0);
            let journal = store.journal_with(durability, Contact::with_server(grace));
            journal.contact.lost();
            let mut taken = 0;
            while journal.note(event(taken)).await.is_ok() {
                taken += 1;
                assert!(durability == Durability::Batched);
                until(|| store.writes.load(Ordering::SeqCst) == 1).await;
            }
            store.allowed.add_permits(Semaphore::MAX_PERMITS);
        }
    }

    #[actix_web::test]
    async fn who_waits_for_a_slow_database_is_served_when_it_is_done() {
        let store = Fake::new(0);
        let journal = store.journal(Durability::Batched);
        journal.note(event(1)).await.unwrap();
        until(|| {
            let since = *journal.at_work.borrow();
            since.is_some_and(|since| since.elapsed() >= LONGEST_WORK)
        })
        .await;
        let late = journal.note(event(2));
        tokio::pin!(late);
        tokio::select! {
            biased;
            _ = &mut late => panic!("taken while the writer is held up"),
            () = yield_now() => {}
        }
        store.allowed.add_permits(Semaphore::MAX_PERMITS);
        late.await.unwrap();
        journal.settle().await.unwrap();
        assert_eq!(store.written(), [1, 2]);
    }

    #[actix_web::test]
    async fn what_the_database_refuses_is_written_again_until_it_is_taken() {
        let store = Fake::new(Semaphore::MAX_PERMITS);
        store.fails.store(true, Ordering::SeqCst);
        let journal = store.journal(Durability::Batched);
        journal.note(event(7)).await.unwrap();
        until(|| store.writes.load(Ordering::SeqCst) >= 2).await;
        assert!(store.written().is_empty());
        store.fails.store(false, Ordering::SeqCst);
        journal.settle().await.unwrap();
        assert_eq!(store.written(), [7], "once");
    }

    #[actix_web::test]
    async fn nobody_waits_for_a_database_that_takes_nothing() {
        let store = Fake::new(Semaphore::MAX_PERMITS);
        store.fails.store(true, Ordering::SeqCst);
        let journal = store.journal(Durability::Batched);
        journal.note(event(1)).await.unwrap();
        until(|| journal.is_refused()).await;
        let begun = Instant::now();
        assert_eq!(journal.note(event(2)).await, Err(Behind));
        assert!(begun.elapsed() < PATIENCE);

        store.fails.store(false, Ordering::SeqCst);
        until(|| !journal.is_refused()).await;
        journal.note(event(3)).await.unwrap();
        journal.settle().await.unwrap();
        assert_eq!(store.written(), [1, 3]);
    }

    /// A second has some twenty writes: a step a second would need 400.
    #[actix_web::test]
    async fn while_few_events_come_steps_follow_each_other_until_nothing_is_left() {
        let store = Fake::new(Semaphore::MAX_PERMITS);
        store.unsummed.store(20, Ordering::SeqCst);
        let journal = store.journal(Durability::Batched);
        for number in 1..100 {
            journal.note(event(number)).await.unwrap();
            until(|| store.written().last() == Some(&number)).await;
            if store.sums.load(Ordering::SeqCst) >= 20 {
                return;
            }
        }
        panic!("it lags behind");
    }

    #[actix_web::test]
    async fn what_waits_is_written_when_the_last_way_in_is_gone() {
        let store = Fake::new(Semaphore::MAX_PERMITS);
        let journal = store.journal(Durability::Batched);
        journal.note(event(1)).await.unwrap();
        drop(journal);
        until(|| store.written() == [1]).await;
    }
}
