//! One write to the disk for all who wait for it: how long its writer lets others join.
//!
//! Those who were just served mostly come back at once. A writer that began with the first of them would write for that one,
//! and make the others wait for a second write.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// How long the writer waits for each that is missing: before they are back, they need the processor one after the other.
const EACH: Duration = Duration::from_micros(100);

/// How long it waits for all of them at the most.
const LONGEST: Duration = Duration::from_millis(5);

/// A tick of the timer. Where so few are missing that they are back sooner, a write for them costs less than a wait.
const SHORTEST: Duration = Duration::from_millis(1);

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

    /// Waits until so many are there, if there is reason to wait, and for a few milliseconds at the most. `waiting` says how
    /// many are.
    pub async fn wait_for(&self, wanted: usize, waiting: impl Fn() -> usize) {
        if wanted == 0 {
            return;
        }
        self.wanted.store(wanted, Ordering::SeqCst);
        // Whoever joins from now on finds out that they are enough; who joined before is seen here.
        let missing = wanted.saturating_sub(waiting());
        let patience = EACH.saturating_mul(u32::try_from(missing).unwrap_or(u32::MAX));
        if patience >= SHORTEST {
            let _ = timeout(patience.min(LONGEST), self.are_there.notified()).await;
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

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    #[actix_web::test]
    async fn who_waits_goes_on_when_enough_are_there_or_after_a_while() {
        let gathering = Arc::<Gathering>::default();
        let waiting = Arc::new(AtomicUsize::new(0));
        let look = || waiting.load(Ordering::SeqCst);
        // Nobody comes.
        for (wanted, patience) in [(10, SHORTEST), (1000, LONGEST)] {
            let begun = Instant::now();
            gathering.wait_for(wanted, look).await;
            assert!(begun.elapsed() >= patience, "{wanted}");
        }
        // All come while it waits.
        let joining = async {
            for number in 1..=1000 {
                waiting.store(number, Ordering::SeqCst);
                gathering.joined(number);
            }
        };
        let waited = gathering.wait_for(1000, || 0);
        tokio::join!(waited, joining);
        assert_eq!(gathering.wanted.load(Ordering::SeqCst), Gathering::NONE);
    }

    #[actix_web::test]
    async fn for_a_few_nobody_waits() {
        let gathering = Gathering::default();
        for (wanted, there) in [(0, 0), (1, 0), (9, 0), (100, 91), (5, 5), (5, 7)] {
            let waited = gathering.wait_for(wanted, || there).now_or_never();
            assert!(waited.is_some(), "{wanted} of whom {there} are there");
            assert_eq!(gathering.wanted.load(Ordering::SeqCst), Gathering::NONE);
        }
    }
}
