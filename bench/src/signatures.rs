//! What the processor signs when it does nothing else: one thread, one key held parsed.

use std::{
    io,
    time::{Duration, Instant},
};

use m2m::verify::Algorithm;
use serde::{Deserialize, Serialize};

use crate::{floor::Key, machine, open_loop::percentile, wrk::Summary};

/// As long as header and claims of a token are.
const MESSAGE: [u8; 420] = [b'm'; 420];

/// What the signing came to.
#[derive(Debug, Deserialize, Serialize)]
pub struct Signed {
    /// Of signatures in place of requests.
    pub summary: Summary,
    /// Less than the time that went by when others had the processor as well.
    pub processor_seconds: f64,
}

/// Signs for so long, with a new key.
///
/// # Errors
/// When Linux does not say how much processor time this took.
pub fn run(algorithm: Algorithm, time: Duration) -> io::Result<Signed> {
    let key = Key::generate(algorithm);
    let processor_seconds = || machine::processor_seconds_of(std::process::id());
    let before = processor_seconds()?;
    let begin = Instant::now();
    let mut taken = Vec::new();
    while begin.elapsed() < time {
        let begin = Instant::now();
        std::hint::black_box(key.sign(&MESSAGE));
        taken.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    let processor_seconds = processor_seconds()? - before;
    let summary = Summary {
        requests: f64::from(u32::try_from(taken.len()).expect("nobody signs for days")),
        microseconds: begin.elapsed().as_secs_f64() * 1e6,
        p99_microseconds: percentile(&mut taken, 99),
        refused: 0.0,
        broken: 0.0,
    };
    Ok(Signed {
        summary,
        processor_seconds,
    })
}
