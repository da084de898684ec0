//! The library from outside: real servers on port 0, clocks moved by hand.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod extractors;
mod feed;
mod introspecting;
mod introspection;
mod issuers;
mod keys;
mod observed;
mod sources;
mod tokens;
mod watched;

use std::time::Duration;

use m2m::{Clock, ManualClock, TokenError, Verifier, testing::TestIssuer};

/// When the tests take place, in seconds since the Unix epoch.
const NOW: u64 = 1_800_000_000;

/// An issuer and its verifier for the audience `notes`, with one clock that stands still.
async fn issuer_and_verifier() -> (TestIssuer, Verifier, ManualClock) {
    let hand = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(hand.clock()).await;
    let verifier = verifier_of(&issuer, hand.clock());
    (issuer, verifier, hand)
}

fn verifier_of(issuer: &TestIssuer, clock: Clock) -> Verifier {
    Verifier::builder(issuer.url())
        .audience("notes")
        .clock(clock)
        .build()
        .expect("the configuration is sound")
}

/// Whether a token was refused for this reason, which is followed by what to do about it.
fn is_refused(refusal: TokenError, reason: &str) -> bool {
    matches!(refusal, TokenError::Invalid(why) if why.starts_with(reason))
}

/// Waits until something that runs behind the callers has happened. Gives up after 10 s.
async fn eventually(happened: impl Fn() -> bool) {
    let wait = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect("it should have happened by now");
}
