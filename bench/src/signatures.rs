//! What the processor signs when it does nothing else: one thread, one key held parsed.

use std::time::{Duration, Instant};

use m2m::verify::Algorithm;

use crate::{floor::Key, open_loop::percentile, wrk::Summary};

/// As long as header and claims of a token are.
const MESSAGE: [u8; 420] = [b'm'; 420];

/// Signs for so long, with a new key.
pub fn run(algorithm: Algorithm, time: Duration) -> Summary {
    let key = Key::generate(algorithm);
    let begin = Instant::now();
    let mut taken = Vec::new();
    while begin.elapsed() < time {
        let begin = Instant::now();
        std::hint::black_box(key.sign(&MESSAGE));
        taken.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Summary {
        requests: f64::from(u32::try_from(taken.len()).expect("nobody signs for days")),
        microseconds: begin.elapsed().as_secs_f64() * 1e6,
        p99_microseconds: percentile(&mut taken, 99),
        refused: 0.0,
        broken: 0.0,
    }
}
