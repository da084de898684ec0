//! What every request can reach.

use std::sync::Arc;

use m2m::Clock;

use crate::{clients::Directory, document::Document, keys::SigningKeys, storage::Store};

/// The authorization server without its HTTP surface.
pub struct AuthServer {
    /// The issuer identifier (RFC 8414 section 2), as it stands in every token.
    pub issuer: String,
    pub clock: Clock,
    pub store: Arc<dyn Store>,
    pub directory: Directory,
    pub keys: SigningKeys,
    pub metadata: Document,
}
