//! The key under which something is remembered about a token.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 over the whole token: two spellings of one token are two entries, and each is judged.
pub(super) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(token: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, token);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
