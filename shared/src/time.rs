//! Time is handed in: every part that needs it holds a [`Clock`], and a test moves it by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What time it is. Cheap to clone; clones of a manual clock move together.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's own clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it.
    Manual(ManualClock),
}

impl Clock {
    /// Seconds since the Unix epoch, as in a JWT's `NumericDate` (RFC 7519 section 2).
    pub fn now(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::System => system_ms(),
            Self::Manual(manual) => manual.0.load(Ordering::SeqCst),
        }
    }
}

/// The hand that moves a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `seconds` since the Unix epoch.
    pub fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds * 1000)))
    }

    /// Moves the clock, and all its clones, forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("a test does not advance by ages");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// The clock to hand to the part under test.
    pub fn clock(&self) -> Clock {
        Clock::Manual(self.clone())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the machine's clock"
)]
fn system_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the machine's clock stands before 1970: set it");
    u64::try_from(since_epoch.as_millis()).expect("milliseconds since 1970 fit in 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let hand = ManualClock::at(1_700_000_000);
        let clock = hand.clock();
        hand.advance(Duration::from_millis(1500));
        assert_eq!(clock.now(), 1_700_000_001);
        assert_eq!(clock.clone().now_ms(), 1_700_000_001_500);
    }
}
