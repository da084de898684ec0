//! Finding a client's record without a database read for each request.
//!
//! Who asked before is in memory, until something about him changes. All others are read from the store, and those who
//! wait at the same time are read together: after the start of a server with a million clients most requests need a
//! read, and a read of thirty costs little more than a read of one.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::{
    client::{ClientId, ClientRecord},
    contact::Contact,
    known_clients::{BUDGET, Freshness, KnownClients, SharedGrants},
    resource::ResourceId,
    storage::{Changed, Store, StoreError},
};

/// How many clients are read in one step. It is a bound of the statement, and of how long the first one waits.
const TOGETHER: usize = 64;

/// How many reads run at once. Fewer would leave SQLite idle while answers are handed out; more would read fewer
/// together, and take connections from those who write.
const READS: usize = 2;

/// A read that takes longer is given up: nobody waits for ever for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clients that asked before, and a way to the others.
pub struct Directory {
    known: KnownClients,
    /// How often something was forgotten. Held while `known` takes a record, never across an await.
    forgotten: Mutex<u64>,
    queue: Arc<Queue>,
    contact: Arc<Contact>,
}

/// A record that was just read.
pub struct Fresh {
    pub record: Arc<ClientRecord>,
    /// How often something had been forgotten when the read was asked for.
    forgotten: u64,
}

/// Why a record could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Of a read that answers many, each gets the same error.
    #[error("the clients cannot be read")]
    Store(#[source] Arc<StoreError>),
    #[error("the read of the clients did not come to an end")]
    BrokenOff,
}

/// Those who wait for a read, and how to read.
struct Queue {
    read: Box<dyn Fn(Vec<ClientId>) -> Reading + Send + Sync>,
    /// Never held across an await.
    waiting: Mutex<Waiting>,
    /// Never held across an await.
    grants: Mutex<SharedGrants>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Vec<ClientRecord>, StoreError>> + Send>>;

#[derive(Default)]
struct Waiting {
    /// No more than there are requests.
    questions: VecDeque<Question>,
    readers: usize,
}

struct Question {
    id: ClientId,
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<Option<Arc<ClientRecord>>, ReadError>;

impl Directory {
    pub fn new(store: Arc<dyn Store>, freshness: Freshness, contact: Arc<Contact>) -> Self {
        Self::reading(freshness, contact, move |ids| {
            let store = Arc::clone(&store);
            Box::pin(async move { store.client_records(&ids).await })
        })
    }

    fn reading(
        freshness: Freshness,
        contact: Arc<Contact>,
        read: impl Fn(Vec<ClientId>) -> Reading + Send + Sync + 'static,
    ) -> Self {
        Self {
            known: KnownClients::new(freshness, BUDGET),
            forgotten: Mutex::new(0),
            queue: Arc::new(Queue {
                read: Box::new(read),
                waiting: Mutex::default(),
                grants: Mutex::default(),
            }),
            contact,
        }
    }

    /// The record that is in memory, if it may be believed: this server is in step with the database, or the database is
    /// away and the grace is not over. What this server changed itself shows at once.
    pub fn known(&self, id: &ClientId) -> Option<Arc<ClientRecord>> {
        if self.contact.is_in_step() {
            self.known.get(id)
        } else if self.contact.is_away() {
            self.kept(id)
        } else {
            None
        }
    }

    /// The record that is in memory, for when a read has failed: nobody can have changed it where the database was away
    /// for everybody. Nothing once the grace is over.
    pub fn kept(&self, id: &ClientId) -> Option<Arc<ClientRecord>> {
        self.contact
            .has_grace()
            .then(|| self.known.get_old(id))
            .flatten()
    }

    /// Reads the record. The read begins after this call, so that it sees every change that was committed before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read(&self, id: &ClientId) -> Result<Option<Fresh>, ReadError> {
        let forgotten = *self.lock();
        let answered = self.queue.ask(id.clone());
        let record = answered.await.map_err(|_| ReadError::BrokenOff)??;
        Ok(record.map(|record| Fresh { record, forgotten }))
    }

    /// Keeps a record for the requests to come, unless something changed since its read was asked for: then it may be
    /// out of date, and the next request reads again.
    pub fn remember(&self, fresh: &Fresh) {
        let forgotten = self.lock();
        if *forgotten == fresh.forgotten {
            self.known.insert(Arc::clone(&fresh.record));
        }
    }

    /// To be called after a change of this client was committed: who asks from now on sees it.
    pub fn forget(&self, id: &ClientId) {
        *self.lock() += 1; // what was read before is not taken from here on
        self.known.remove(id);
    }

    /// The same for a change of resources, which shows in the records of all that may call them or own them.
    pub fn forget_resources(&self, resources: &[&ResourceId]) {
        *self.lock() += 1;
        self.known.remove_where(|record| {
            let mut granted = record.grants.iter().map(|grant| &grant.resource);
            granted.any(|id| resources.contains(&id))
                || record.owns.iter().any(|id| resources.contains(&id))
        });
    }

    /// Forgets what other servers changed.
    pub fn forget_changed(&self, changed: &[Changed]) {
        let mut resources = Vec::new();
        for what in changed {
            match what {
                Changed::Client(id) => self.forget(id),
                Changed::Resource(id) => resources.push(id),
                Changed::Everything => return self.forget_everything(),
            }
        }
        if !resources.is_empty() {
            self.forget_resources(&resources);
        }
    }

    /// Forgets all that it knows.
    pub fn forget_everything(&self) {
        *self.lock() += 1;
        self.known.clear();
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        // A number is whole whatever its holder did.
        self.forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Puts a question at the end, and sees to it that somebody answers it.
    ///
    /// A reader runs on the thread of who asks first, after the requests that arrived there at the same time: it finds
    /// their questions waiting.
    fn ask(self: &Arc<Self>, id: ClientId) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.questions.push_back(Question { id, answer });
        if waiting.readers < READS {
            waiting.readers += 1;
            tokio::spawn(Reader::of(self).run());
        }
        answered
    }

    /// Reads once for all of the questions, and answers each.
    async fn answer(&self, mut questions: Vec<Question>) {
        questions.retain(|question| !question.answer.is_closed());
        if questions.is_empty() {
            return; // all of them hung up
        }
        let mut ids: Vec<_> = questions.iter().map(|asked| asked.id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let records = match timeout(PATIENCE, (self.read)(ids)).await {
            Ok(Ok(records)) => Ok(self.by_id(records)),
            Ok(Err(error)) => Err(ReadError::Store(Arc::new(error))),
            Err(_) => Err(ReadError::BrokenOff),
        };
        for Question { id, answer } in questions {
            let record = match &records {
                Ok(records) => Ok(records.get(&id).cloned()),
                Err(error) => Err(error.clone()),
            };
            drop(answer.send(record)); // who asked may have hung up
        }
    }

    fn by_id(&self, records: Vec<ClientRecord>) -> HashMap<ClientId, Arc<ClientRecord>> {
        let mut shared = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let with_id = |mut record: ClientRecord| {
            record.grants = shared.share(record.grants);
            (record.id.clone(), Arc::new(record))
        };
        records.into_iter().map(with_id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done with it can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers questions as long as some wait. What arrives while it reads waits for the next read: one that has begun
/// could miss what changed before the question.
struct Reader {
    queue: Arc<Queue>,
    /// Whether it is counted in [`Waiting`].
    counted: bool,
}

impl Reader {
    fn of(queue: &Arc<Queue>) -> Self {
        Self {
            queue: Arc::clone(queue),
            counted: true,
        }
    }

    async fn run(mut self) {
        while let Some(questions) = self.next() {
            let queue = Arc::clone(&self.queue);
            // Should it panic, its questions are dropped: who waits is told, and the reader goes on.
            let read = tokio::spawn(async move { queue.answer(questions).await });
            drop(read.await);
        }
    }

    /// The questions of the next read. With the last one the reader's place is given up, in one step: who asks after
    /// it starts another.
    fn next(&mut self) -> Option<Vec<Question>> {
        let mut waiting = self.queue.lock();
        let many = waiting.questions.len().min(TOGETHER);
        if many == 0 {
            waiting.readers -= 1;
            self.counted = false;
            return None;
        }
        Some(waiting.questions.drain(..many).collect())
    }
}

/// A reader that ends before the questions do was dropped with its runtime. Those who wait are told if nobody else is
/// there to answer them.
impl Drop for Reader {
    fn drop(&mut self) {
        if self.counted {
            let mut waiting = self.queue.lock();
            waiting.readers -= 1;
            if waiting.readers == 0 {
                waiting.questions.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use m2m::{ScopeSet, verify::Algorithm};
    use tokio::{
        sync::mpsc::{self, UnboundedReceiver},
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        client::{ClientStatus, Grant, Grants},
        resource::{TokenFormat, TokenProfile},
    };

    /// A read that has begun. It panics when this is dropped.
    struct Begun {
        ids: Vec<ClientId>,
        end: oneshot::Sender<Result<Vec<ClientRecord>, StoreError>>,
    }

    impl Begun {
        /// Finds everybody who was asked for.
        fn end(self) {
            let record = |id: &ClientId| ClientRecord {
                id: id.clone(),
                status: ClientStatus::Active,
                credentials: Box::default(),
                grants: grants(),
                owns: Box::default(),
            };
            let found = self.ids.iter().map(record).collect();
            self.end.send(Ok(found)).unwrap();
        }
    }

    fn resource(name: &str) -> ResourceId {
        ResourceId::parse(name).unwrap()
    }

    /// Everybody may call `a`.
    fn grants() -> Grants {
        let grant = Grant {
            resource: resource("a"),
            scopes: ScopeSet::default(),
            token_format: TokenFormat::Jwt,
            token_profile: TokenProfile::Standard,
            has_metadata_claims: false,
            token_lifetime: 60,
            signing_alg: Algorithm::ES256,
            expires_at: None,
        };
        [grant].into_iter().collect()
    }

    /// A directory over a store whose reads begin and end as the test says.
    fn directory() -> (Arc<Directory>, UnboundedReceiver<Begun>) {
        let (reads, begun) = mpsc::unbounded_channel();
        let directory = Directory::reading(
            Freshness::UntilForgotten,
            Arc::new(Contact::embedded()),
            move |ids| {
                let (end, ended) = oneshot::channel();
                reads.send(Begun { ids, end }).unwrap();
                Box::pin(async move { ended.await.expect("the test lets the read panic") })
            },
        );
        (Arc::new(directory), begun)
    }

    fn id(text: &str) -> ClientId {
        ClientId::parse(text).unwrap()
    }

    type Asked = JoinHandle<Result<Option<Fresh>, ReadError>>;

    fn ask(directory: &Arc<Directory>, name: &str) -> Asked {
        let (directory, id) = (Arc::clone(directory), id(name));
        tokio::spawn(async move { directory.read(&id).await })
    }

    /// Asks, one after the other, until so many reads run that the next one has to wait.
    async fn keep_busy(
        directory: &Arc<Directory>,
        begun: &mut UnboundedReceiver<Begun>,
    ) -> Vec<(Asked, Begun)> {
        let mut running = Vec::new();
        for _ in 0..READS {
            let asked = ask(directory, "busy");
            running.push((asked, begun.recv().await.unwrap()));
        }
        running
    }

    async fn until_waiting(directory: &Directory, questions: usize) {
        while directory.queue.lock().questions.len() != questions {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_waits_at_the_same_time_is_read_together_and_once() {
        let (directory, mut begun) = directory();
        let mut running = keep_busy(&directory, &mut begun).await;
        let waiting = ["x", "y", "x"].map(|name| ask(&directory, name));
        until_waiting(&directory, 3).await;
        assert!(begun.is_empty(), "no more than {READS} reads at once");

        running.pop().unwrap().1.end();
        let read = begun.recv().await.unwrap();
        assert_eq!(read.ids, [id("x"), id("y")]);
        read.end();
        for (asked, name) in waiting.into_iter().zip(["x", "y", "x"]) {
            let found = asked.await.unwrap().unwrap().unwrap();
            assert_eq!(found.record.id, id(name));
        }
    }

    #[tokio::test]
    async fn a_read_takes_a_bounded_number_and_leaves_the_rest_to_the_next() {
        let (directory, mut begun) = directory();
        let mut running = keep_busy(&directory, &mut begun).await;
        let names: Vec<_> = (0..=TOGETHER).map(|n| format!("c{n}")).collect();
        let waiting: Vec<_> = names.iter().map(|name| ask(&directory, name)).collect();
        until_waiting(&directory, TOGETHER + 1).await;
        for expected in [TOGETHER, 1] {
            running.pop().unwrap().1.end();
            let read = begun.recv().await.unwrap();
            assert_eq!(read.ids.len(), expected);
            read.end();
        }
        for asked in waiting {
            assert!(asked.await.unwrap().unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn a_question_does_not_join_a_read_that_has_begun() {
        let (directory, mut begun) = directory();
        let _early = ask(&directory, "x");
        let before = begun.recv().await.unwrap();
        let late = ask(&directory, "x");
        let after = begun.recv().await.unwrap();
        before.end.send(Ok(vec![])).unwrap();
        after.end();
        assert!(late.await.unwrap().unwrap().is_some());
    }

    #[tokio::test]
    async fn an_unknown_client_is_not_found() {
        let (directory, mut begun) = directory();
        let asked = ask(&directory, "x");
        begun.recv().await.unwrap().end.send(Ok(vec![])).unwrap();
        assert!(asked.await.unwrap().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_failing_store_answers_everybody_who_waits() {
        let (directory, mut begun) = directory();
        let mut running = keep_busy(&directory, &mut begun).await;
        let waiting = ["x", "y"].map(|name| ask(&directory, name));
        until_waiting(&directory, 2).await;
        running.pop().unwrap().1.end();
        let read = begun.recv().await.unwrap();
        let failure = StoreError::Corrupt { what: "test" };
        read.end.send(Err(failure)).unwrap();
        for asked in waiting {
            let outcome = asked.await.unwrap();
            assert!(matches!(outcome, Err(ReadError::Store(_))));
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_read_only() {
        let (directory, mut begun) = directory();
        for _ in 0..=READS {
            let asked = ask(&directory, "x");
            drop(begun.recv().await.unwrap());
            let outcome = asked.await.unwrap();
            assert!(matches!(outcome, Err(ReadError::BrokenOff)));
        }
        let asked = ask(&directory, "x");
        begun.recv().await.unwrap().end();
        assert!(asked.await.unwrap().unwrap().is_some());
    }

    #[test]
    fn who_waits_for_a_runtime_that_ends_is_told() {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().build().unwrap()
        };
        let (here, there) = (runtime(), runtime());
        let (directory, mut begun) = directory();
        let running = there.block_on(keep_busy(&directory, &mut begun));
        let _inside = here.enter();
        let waiting = ask(&directory, "x");
        here.block_on(until_waiting(&directory, 1));
        drop(there);
        let outcome = here.block_on(waiting).unwrap();
        assert!(matches!(outcome, Err(ReadError::BrokenOff)));
        drop(running);
        let asked = here.block_on(async {
            let asked = ask(&directory, "x");
            begun.recv().await.unwrap().end();
            asked.await
        });
        assert!(asked.unwrap().unwrap().is_some());
    }

    #[tokio::test]
    async fn nothing_is_read_for_who_hung_up() {
        let (directory, mut begun) = directory();
        let mut running = keep_busy(&directory, &mut begun).await;
        let [gone, stays] = ["gone", "stays"].map(|name| ask(&directory, name));
        until_waiting(&directory, 2).await;
        gone.abort();
        assert!(gone.await.is_err());
        // Somebody hangs up while his read runs: the others of his read have their answer all the same.
        let (busy, read) = running.pop().unwrap();
        busy.abort();
        assert!(busy.await.is_err());
        read.end();
        let read = begun.recv().await.unwrap();
        assert_eq!(read.ids, [id("stays")]);
        read.end();
        assert!(stays.await.unwrap().unwrap().is_some());
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let (directory, mut begun) = directory();
        let changes: [fn(&Directory); 2] = [
            |d| d.forget(&id("x")),
            |d| d.forget_resources(&[&resource("other"), &resource("a")]),
        ];
        for change in changes {
            let asked = ask(&directory, "x");
            let read = begun.recv().await.unwrap();
            change(&directory);
            read.end();
            let old = asked.await.unwrap().unwrap().unwrap();
            directory.remember(&old);
            assert!(directory.known(&id("x")).is_none());

            let asked = ask(&directory, "x");
            begun.recv().await.unwrap().end();
            directory.remember(&asked.await.unwrap().unwrap().unwrap());
            assert!(directory.known(&id("x")).is_some());
            change(&directory);
            assert!(directory.known(&id("x")).is_none());
        }
    }

    #[tokio::test]
    async fn who_was_remembered_stays_until_something_about_it_changes() {
        let (directory, mut begun) = directory();
        let mut grants = Vec::new();
        for name in ["x", "y"] {
            let asked = ask(&directory, name);
            begun.recv().await.unwrap().end();
            let fresh = asked.await.unwrap().unwrap().unwrap();
            directory.remember(&fresh);
            grants.push(fresh.record.grants.clone());
        }
        assert!(
            std::ptr::eq(&raw const *grants[0], &raw const *grants[1]),
            "they share one list"
        );
        directory.forget(&id("x"));
        directory.forget_resources(&[&resource("other")]);
        assert!(directory.known(&id("x")).is_none());
        assert!(directory.known(&id("y")).is_some());
    }
}
