//! A text that many ask for and that seldom changes: the key set, the metadata, the description of the admin API.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Written once, served as it is: a stampede of verifiers costs no more than copying these bytes.
pub struct Document {
    pub body: String,
    /// A strong validator (RFC 9110 section 8.8.3), without its quotes.
    pub etag: String,
    /// The same as the header `ETag` has it.
    pub quoted_etag: String,
    /// How long a cache may use it, in seconds.
    pub max_age: u32,
    /// The same as the header `Cache-Control` has it.
    pub cache_control: String,
}

impl Document {
    pub fn new(body: String, max_age: u32) -> Self {
        let hash = digest::digest(&digest::SHA256, body.as_bytes());
        let etag = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12]);
        Self {
            body,
            quoted_etag: format!("\"{etag}\""),
            etag,
            max_age,
            cache_control: format!("public, max-age={max_age}"),
        }
    }
}
