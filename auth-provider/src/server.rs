//! What every request can reach.

use std::sync::Arc;

use m2m::Clock;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::{
    clients::Noted, contact::Contact, directory::Directory, document::Document, expiry::Watch,
    journal::Journal, keys::SigningKeys, known_tokens::KnownTokens, leases::Leases, limits::Limits,
    master_key::MasterKey, metrics::Metrics, own_token::StytchIssuer, revocation::Revocations,
    storage::Store,
};

/// The authorization server without its HTTP surface.
pub struct AuthServer {
    /// The issuer identifier (RFC 8414 section 2), as it stands in every token.
    pub issuer: String,
    /// The issuer in tokens of the profile `stytch`.
    pub stytch: StytchIssuer,
    pub clock: Clock,
    pub store: Arc<dyn Store>,
    pub directory: Arc<Directory>,
    /// Which credentials were seen in use.
    pub noted: Noted,
    pub limits: Limits,
    /// Whether a proxy in front says whose request it is.
    pub behind_tls_proxy: bool,
    /// Whether clients may register themselves.
    pub dynamic_registration: bool,
    /// The longest life of a token whose contents its caller writes, in seconds.
    pub max_jwt_validity: u64,
    pub keys: SigningKeys,
    /// Tokens that were read lately.
    pub known_tokens: KnownTokens,
    pub revocations: Arc<Revocations>,
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    /// Which credentials end soon, and who was told of it.
    pub endings: Watch,
    /// Seals what the store keeps and must not be able to read.
    pub master: Arc<MasterKey>,
    /// Lets one change of the registry through at a time that somebody else was faster than.
    pub second_tries: Mutex<()>,
    /// How many may follow the revocations at once.
    pub followers: Arc<Semaphore>,
    /// Turns true when the server is asked to stop: what would go on for ever ends then.
    pub stopping: watch::Sender<bool>,
    /// How long the audit log is kept, in seconds.
    pub audit_retention: u64,
    pub metadata: Document,
    /// Whether the database answers.
    pub contact: Arc<Contact>,
    /// What this server does for all that share its database.
    pub leases: Arc<Leases>,
}
