//! Looking at connections, those together that are asked for at the same time: a question to a database costs more than what
//! is read, and a vault with very many connections finds few of them in memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::{
    connection::ConnectionKey,
    storage::{Glance, StoreError, VaultStore},
};

/// How many connections are looked at in one step. It bounds how long the first one waits.
const TOGETHER: usize = 64;

/// How many looks run at once. More would look at fewer together.
const LOOKS: usize = 1;

/// A look that takes longer is given up: nobody waits for ever for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a connection could not be looked at.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookError {
    /// Of a look at many, each gets the same error.
    #[error("a connection cannot be read")]
    Store(#[source] Arc<StoreError>),
    #[error("the read of a connection did not come to an end")]
    BrokenOff,
}

type Answer = Result<Option<Glance>, LookError>;

/// The way to the store for who looks.
#[derive(Clone)]
pub(crate) struct Looks(Arc<Queue>);

struct Queue {
    store: Arc<dyn VaultStore>,
    /// Never held across an await.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// No more than there are requests.
    questions: VecDeque<Question>,
    lookers: usize,
}

struct Question {
    key: ConnectionKey,
    answer: oneshot::Sender<Answer>,
}

impl Looks {
    pub(crate) fn new(store: Arc<dyn VaultStore>) -> Self {
        Self(Arc::new(Queue {
            store,
            waiting: Mutex::default(),
        }))
    }

    /// Looks at a connection. The look begins after this call, so that it sees every change that was committed before.
    pub(crate) async fn at(&self, key: &ConnectionKey) -> Answer {
        let answered = self.0.ask(key.clone());
        answered.await.unwrap_or(Err(LookError::BrokenOff))
    }
}

impl Queue {
    /// Puts a question at the end, and sees to it that somebody answers it. Who does runs on the thread of who asked first,
    /// after the requests that arrived there at the same time: their questions wait by then.
    fn ask(self: &Arc<Self>, key: ConnectionKey) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.questions.push_back(Question { key, answer });
        if waiting.lookers < LOOKS {
            waiting.lookers += 1;
            let looker = Looker {
                queue: Arc::clone(self),
                counted: true,
            };
            tokio::spawn(looker.run());
        }
        answered
    }

    /// Looks once for all of the questions, and answers each.
    async fn answer(&self, mut questions: Vec<Question>) {
        questions.retain(|question| !question.answer.is_closed());
        let mut keys: Vec<_> = questions.iter().map(|asked| asked.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return; // all of them hung up
        }
        let found = match timeout(PATIENCE, self.store.glances(&keys)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(LookError::Store(Arc::new(error))),
            Err(_) => Err(LookError::BrokenOff),
        };
        for Question { key, answer } in questions {
            let glance = match &found {
                Ok(found) => Ok(keys
                    .binary_search(&key)
                    .ok()
                    .and_then(|place| found.get(place).cloned().flatten())),
                Err(error) => Err(error.clone()),
            };
            drop(answer.send(glance)); // who asked may have hung up
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done with it can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers questions as long as some wait. What arrives while it looks waits for the next look: one that has begun could miss
/// what changed before the question.
struct Looker {
    queue: Arc<Queue>,
    /// Whether it is counted in [`Waiting`].
    counted: bool,
}

impl Looker {
    async fn run(mut self) {
        while let Some(questions) = self.next() {
            self.queue.answer(questions).await;
        }
    }

    /// The questions of the next look. With the last one the looker's place is given up, in one step: who asks after it
    /// starts another.
    fn next(&mut self) -> Option<Vec<Question>> {
        let mut waiting = self.queue.lock();
        let many = waiting.questions.len().min(TOGETHER);
        if many == 0 {
            waiting.lookers -= 1;
            self.counted = false;
            return None;
        }
        Some(waiting.questions.drain(..many).collect())
    }
}

/// A looker that ends before the questions do panicked, or was dropped with its runtime. Those who wait are told if nobody
/// else is there to answer them.
impl Drop for Looker {
    fn drop(&mut self) {
        if self.counted {
            let mut waiting = self.queue.lock();
            waiting.lookers -= 1;
            if waiting.lookers == 0 {
                waiting.questions.clear();
            }
        }
    }
}
