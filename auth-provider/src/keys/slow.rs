//! Signatures that take long, which are RSA's: each worker makes those that are wanted of it, one after the other.
//!
//! Between two of them it looks at its connections, so that whoever asks for anything else waits for one of them, and not
//! for all that are wanted. No thread of its own makes them: there is a worker for each core already, and handing over
//! would cost more than it spares.
//!
//! An answer is sent while the next signature would be made, and its reader has gone to sleep since the last one: to wake
//! him costs more than all else that is done for a token but the signature. Where many wait, a few answers go out together.

use std::{cell::RefCell, collections::VecDeque, iter, mem, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    task::{spawn_local, yield_now},
    time::Instant,
};

use super::SigningKey;

/// How long an answer is held back for others, at the most and but for the signature that is being made.
const TOGETHER: Duration = Duration::from_millis(1);

/// An answer is held back for another one when so many wait, who mind it little: each waits for several signatures anyway.
const CROWD: usize = 4;

thread_local! {
    /// What is wanted of this worker.
    static QUEUE: Rc<RefCell<Queue>> = Rc::default();
}

#[derive(Default)]
struct Queue {
    wanted: VecDeque<Wanted>,
    /// Whether a task is there that makes them.
    is_worked_on: bool,
}

struct Wanted {
    key: Arc<SigningKey>,
    input: String,
    done: oneshot::Sender<String>,
}

/// Makes a JWT as [`SigningKey::sign`] does, when all that was wanted of this worker before is made.
pub(super) async fn sign(key: Arc<SigningKey>, input: String) -> String {
    let (done, signed) = oneshot::channel();
    let queue = QUEUE.with(Rc::clone);
    let is_first = {
        let mut queue = queue.borrow_mut();
        queue.wanted.push_back(Wanted { key, input, done });
        !mem::replace(&mut queue.is_worked_on, true)
    };
    if is_first {
        // A task of its own: who asked first may hang up, and the others wait for it.
        spawn_local(Work(queue).run());
    }
    signed
        .await
        .expect("the task ends when nobody waits, or with its worker")
}

/// The signing of what is wanted, which one task of the worker does.
struct Work(Rc<RefCell<Queue>>);

impl Work {
    async fn run(self) {
        let (mut made, mut begun) = (Vec::new(), Instant::now());
        loop {
            yield_now().await; // to the other tasks, and to those whose requests have arrived
            let next = self.next();
            if let Some(Wanted { key, input, done }) = next {
                if made.is_empty() {
                    begun = Instant::now();
                }
                made.push((done, key.sign(input)));
                if are_worth_waiting(made.len(), self.waiting(), begun.elapsed()) {
                    continue;
                }
            } else if made.is_empty() {
                return;
            }
            for (done, signed) in made.drain(..) {
                let _ = done.send(signed); // who asked may have hung up
            }
        }
    }

    /// The first who still waits.
    fn next(&self) -> Option<Wanted> {
        let mut queue = self.0.borrow_mut();
        iter::from_fn(|| queue.wanted.pop_front()).find(|wanted| !wanted.done.is_closed())
    }

    fn waiting(&self) -> usize {
        self.0.borrow().wanted.len()
    }
}

/// Whether signatures that are made are held back for the next one, when so many wait for theirs.
fn are_worth_waiting(made: usize, waiting: usize, since: Duration) -> bool {
    waiting >= made * CROWD && since < TOGETHER
}

/// When the work is done, or breaks off, nobody is left waiting, and who asks next begins anew.
impl Drop for Work {
    fn drop(&mut self) {
        self.0.take();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use actix_web::rt;
    use futures_util::{FutureExt, future::join_all};
    use m2m::verify::Algorithm;

    use super::*;

    fn key() -> Arc<SigningKey> {
        Arc::new(SigningKey::generate(Algorithm::RS256).0)
    }

    fn input() -> String {
        "header.payload".to_owned()
    }

    #[actix_web::test]
    async fn between_two_signatures_everybody_else_has_a_turn() {
        let key = key();
        let (signed, turns) = (Rc::<Cell<u32>>::default(), Rc::<Cell<u32>>::default());
        let mut signing = vec![];
        for _ in 0..20 {
            let (key, signed, turns) = (Arc::clone(&key), Rc::clone(&signed), Rc::clone(&turns));
            signing.push(rt::spawn(async move {
                sign(key, input()).await;
                signed.set(signed.get() + 1);
                assert!(signed.get() <= turns.get(), "{signed:?}, {turns:?}");
            }));
        }
        let other = rt::spawn(async move {
            loop {
                turns.set(turns.get() + 1);
                yield_now().await;
            }
        });
        for signing in signing {
            signing.await.expect("everybody else had as many turns");
        }
        other.abort();
        assert_eq!(signed.get(), 20);
    }

    #[test]
    fn only_where_many_wait_an_answer_is_held_back_and_not_for_long() {
        let soon = Duration::from_micros(300);
        for (made, waiting, since, held_back) in [
            (1, 0, soon, false),
            (1, 3, soon, false),
            (1, 4, soon, true),
            (2, 7, soon, false),
            (3, 28, soon, true),
            (3, 28, TOGETHER, false),
        ] {
            let worth = are_worth_waiting(made, waiting, since);
            assert_eq!(worth, held_back, "{made} for {waiting} since {since:?}");
        }
    }

    #[actix_web::test]
    async fn who_hangs_up_is_left_out_and_leaves_nobody_waiting() {
        let key = key();
        let mut all: Vec<_> = (0..12)
            .map(|_| Box::pin(sign(Arc::clone(&key), input())))
            .collect();
        for signing in &mut all {
            assert!(signing.now_or_never().is_none());
        }
        // The one who began the work, and all after the first who stays.
        let staying = all.swap_remove(5);
        drop(all);
        assert!(staying.await.starts_with("header.payload."));
        yield_now().await;
        assert!(QUEUE.with(|queue| queue.borrow().wanted.is_empty()));
    }

    #[actix_web::test]
    async fn after_work_that_broke_off_there_is_somebody_to_work_again() {
        let key = key();
        let mut lost = Box::pin(sign(Arc::clone(&key), input()));
        assert!((&mut lost).now_or_never().is_none());
        drop(Work(QUEUE.with(Rc::clone)));
        let all = (0..3).map(|_| sign(Arc::clone(&key), input()));
        assert_eq!(join_all(all).await.len(), 3);
    }
}
