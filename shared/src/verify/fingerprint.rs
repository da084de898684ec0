//! The key under which something is remembered about a token.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 over a whole token, or over the signature of one whose other parts are kept as they are. Either way, two spellings
/// of one token are two entries, and each is judged; and nobody finds a usable token in the memory.
pub(super) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(text: &str) -> Fingerprint {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
