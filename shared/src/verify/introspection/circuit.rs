//! When to stop asking: after several failures in a row, nobody is asked for a while, and then one
//! probe at a time.

use std::time::Duration;

use crate::net::millis;

/// So many requests must fail one after the other.
const FAILURES: u32 = 5;

/// The pause before a probe, and between probes. It is longer than a probe takes, so that there is
/// one at a time.
const PAUSE: Duration = Duration::from_secs(5);

/// Counts failures. Times are milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    probe_at: u64,
}

/// A request that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// And be made again, if it fails in a way that may pass.
    Regular,
    /// Just this one.
    Probe,
}

impl Circuit {
    /// Whether the issuer may be asked now. A probe that never reports back costs the pause.
    pub(super) fn pass(&mut self, now: u64) -> Option<Pass> {
        if !self.is_open() {
            Some(Pass::Regular)
        } else if now >= self.probe_at {
            self.probe_at = now + millis(PAUSE);
            Some(Pass::Probe)
        } else {
            None
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Whether nobody may ask now.
    pub(super) fn blocks(&self, now: u64) -> bool {
        self.is_open() && now < self.probe_at
    }

    /// The issuer answered.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It did not, or not in a way that can be understood. True when that was once too often.
    pub(super) fn failed(&mut self, now: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.probe_at = now + millis(PAUSE);
        self.failures == FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_five_failures_and_closes_after_a_probe_that_succeeds() {
        let mut circuit = Circuit::default();
        for _ in 0..4 {
            assert!(!circuit.failed(0));
        }
        circuit.succeeded();
        for _ in 0..4 {
            assert!(!circuit.failed(0));
            assert_eq!(circuit.pass(0), Some(Pass::Regular));
        }
        assert!(circuit.failed(1_000), "it says when it opens");
        assert_eq!(circuit.pass(5_999), None);
        assert_eq!(circuit.pass(6_000), Some(Pass::Probe));
        assert_eq!(circuit.pass(6_000), None, "one probe at a time");
        assert!(!circuit.failed(7_000), "it was open");
        assert_eq!(circuit.pass(11_999), None);
        assert_eq!(circuit.pass(12_000), Some(Pass::Probe));
        assert_eq!(circuit.pass(17_000), Some(Pass::Probe), "the last was lost");
        circuit.succeeded();
        assert_eq!(circuit.pass(17_000), Some(Pass::Regular));
    }
}
