//! Randomness has one source.

use std::time::Duration;

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes that nobody can guess.
pub(crate) fn random_bytes<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    rand::fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// A name that nobody else has: 128 random bits.
pub(crate) fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<16>())
}

/// A version that no row has had.
pub(crate) fn random_version() -> u64 {
    u64::from_le_bytes(random_bytes()) >> 1 // the databases' numbers have a sign
}

/// Between three quarters of `pause` and all of it, so that those who were held up together do not come back together.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let [byte] = random_bytes();
    pause.mul_f64(0.75 + f64::from(byte) / 1024.0)
}
