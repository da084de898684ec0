//! What every request can reach.

use std::sync::Arc;

use m2m::Clock;
use tokio::sync::{Semaphore, watch};

use crate::{
    directory::Directory, document::Document, keys::SigningKeys, revocation::Revocations,
    storage::Store,
};

/// The authorization server without its HTTP surface.
pub struct AuthServer {
    /// The issuer identifier (RFC 8414 section 2), as it stands in every token.
    pub issuer: String,
    pub clock: Clock,
    pub store: Arc<dyn Store>,
    pub directory: Directory,
    pub keys: SigningKeys,
    pub revocations: Revocations,
    /// How many may follow the revocations at once.
    pub followers: Arc<Semaphore>,
    /// Turns true when the server is asked to stop: what would go on for ever ends then.
    pub stopping: watch::Sender<bool>,
    pub metadata: Document,
}
