//! One write to the disk for all who wait for it: how long its writer lets others join.
//!
//! Those who were just served mostly come back at once. A writer that began with the first of them would write for that one,
//! and make the others wait for a second write.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// Nobody waits longer than this for others to join.
const LONGEST: Duration = Duration::from_millis(5);

/// How many the writer waits for.
pub struct Gathering {
    /// [`NONE`](Self::NONE) while it does not wait.
    wanted: AtomicUsize,
    are_there: Notify,
}

impl Gathering {
    const NONE: usize = usize::MAX;

    /// Who joins says how many wait then.
    pub fn joined(&self, waiting: usize) {
        let enough = waiting >= self.wanted.load(Ordering::SeqCst);
        if enough && self.wanted.swap(Self::NONE, Ordering::SeqCst) != Self::NONE {
            self.are_there.notify_one();
        }
    }

    /// Waits until so many are there, and for a few milliseconds at the most. `waiting` says how many are.
    pub async fn wait_for(&self, wanted: usize, waiting: impl Fn() -> usize) {
        if wanted == 0 {
            return;
        }
        self.wanted.store(wanted, Ordering::SeqCst);
        // Whoever joins from now on finds out that they are enough; who joined before is seen here.
        if waiting() < wanted {
            let _ = timeout(LONGEST, self.are_there.notified()).await;
        }
        self.wanted.store(Self::NONE, Ordering::SeqCst);
    }
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            wanted: AtomicUsize::new(Self::NONE),
            are_there: Notify::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    #[actix_web::test]
    async fn who_waits_goes_on_when_enough_are_there_or_after_a_while() {
        let gathering = Arc::<Gathering>::default();
        let waiting = Arc::new(AtomicUsize::new(0));
        let look = || waiting.load(Ordering::SeqCst);
        // Nobody comes.
        let begun = Instant::now();
        gathering.wait_for(1, look).await;
        assert!(begun.elapsed() >= LONGEST);
        // All are there, or come while it waits.
        gathering.wait_for(0, look).await;
        let joining = async {
            for number in 1..=3 {
                waiting.store(number, Ordering::SeqCst);
                gathering.joined(number);
            }
        };
        let waited = gathering.wait_for(3, || 0);
        tokio::join!(waited, joining);
        assert_eq!(gathering.wanted.load(Ordering::SeqCst), Gathering::NONE);
    }
}
