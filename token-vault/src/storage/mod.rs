//! What the vault remembers, behind one trait; SQLite and PostgreSQL implement it from one text, a Vault server's KV engine in its
//! own way.

mod audit;
mod connect;
mod connections;
mod hashicorp;
mod keys;
mod lists;
mod refreshes;
mod rows;
mod sql;

use async_trait::async_trait;

pub use connect::{DatabaseUrl, InvalidDatabaseUrl, open};
pub use hashicorp::{HashicorpStore, InvalidPlace, KvPlace};

use crate::{
    audit::{Event, Filter, Recorded},
    connection::{Account, Application, Broken, ConnectionKey, Doubt, Service, User},
    envelope::Envelope,
    hashicorp::ServerError,
    kek::KekId,
};

/// How long the moment of the last use may lag behind, in milliseconds.
pub const USED_EVERY: u64 = 60_000;

/// A connection as it stands in the store. All times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: ConnectionKey,
    pub envelope: Envelope,
    /// A random number that is new with each change of the tokens or of `broken`: who saw it, knows what it is about.
    pub version: u64,
    pub times: Times,
    /// Why it is of no use, and since when.
    pub broken: Option<(Broken, u64)>,
    /// Counts up with each lease, for ever: it fences off who held an earlier one.
    pub fence: u64,
    /// Until when somebody refreshes it.
    pub leased_until: Option<u64>,
    /// The refresh token that is being spent, by its fingerprint: written before the provider is asked, removed with what
    /// came of it. One that stands here without a lease is a crash's.
    pub spending: Option<String>,
    /// Whether the refresh token may have been spent by an earlier attempt.
    pub doubt: Option<Doubt>,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// When the next attempt may be made.
    pub retry_from: Option<u64>,
    /// What the last attempt failed of.
    pub last_failure: Option<String>,
    pub stored_at: u64,
    pub refreshed_at: Option<u64>,
    /// When an application was last given the token, to the minute, and for whom.
    pub last_used: Option<(u64, String)>,
}

/// A look at a connection: the tokens, and as much of the row as decides whether they are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    pub envelope: Envelope,
    pub seen: Seen,
    pub state: State,
}

/// A look at a connection that nobody has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Where the store has it.
    pub place: u64,
    pub key: ConnectionKey,
    pub glance: Glance,
}

/// As much of a row as decides what is to be done about it. Milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub times: Times,
    pub broken: Option<Broken>,
    pub leased_until: Option<u64>,
    pub retry_from: Option<u64>,
}

impl From<&Stored> for State {
    fn from(row: &Stored) -> Self {
        Self {
            times: row.times,
            broken: row.broken.map(|(broken, _)| broken),
            leased_until: row.leased_until,
            retry_from: row.retry_from,
        }
    }
}

impl From<Stored> for Glance {
    fn from(row: Stored) -> Self {
        Self {
            state: State::from(&row),
            seen: Seen {
                version: row.version,
                fence: row.fence,
            },
            envelope: row.envelope,
        }
    }
}

/// When an access token ends, and from when on it is refreshed. The truth is sealed with the token; this is for finding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// `None`: never, as far as is known.
    pub expires_at: Option<u64>,
    /// Before this moment nobody refreshes it. `None`: it cannot or need not be refreshed.
    pub refresh_from: Option<u64>,
}

/// The right to spend a connection's refresh token, asked for.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    pub key: &'a ConnectionKey,
    /// The row as it was seen: the claim fails when it has changed.
    pub version: u64,
    pub fence: u64,
    /// The moment, in milliseconds since 1970, and until when the right is asked for.
    pub now: u64,
    pub until: u64,
    /// The fingerprint of the refresh token that will be spent.
    pub spending: &'a str,
    pub doubt: Option<Doubt>,
}

/// What came of an attempt. It is written only while the row has the version and the fence of the claim.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// New tokens.
    Refreshed { envelope: Envelope, times: Times },
    /// No tokens this time.
    Failed {
        doubt: Option<Doubt>,
        failures: u32,
        retry_from: u64,
        kind: &'static str,
    },
    /// No tokens any more.
    Broken(Broken),
}

/// The part of a list of connections that is asked for, in the order of users and accounts.
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    pub application: &'a Application,
    /// `None`: of all services.
    pub service: Option<&'a Service>,
    /// `None`: of all users.
    pub user: Option<&'a User>,
    /// Only what comes after this one.
    pub after: Option<(User, Service, Account)>,
    pub limit: u32,
}

/// What survives a restart. Each method is one atomic step: it has happened entirely or not at all, also when two of them
/// race, and what it wrote is on disk when it returns. A change and the events that tell of it are one step.
#[async_trait]
pub trait VaultStore: Send + Sync {
    /// Adds a connection, or gives one that is there other tokens: whatever was known of the earlier ones is forgotten,
    /// and a refresh of them that is under way will not be written.
    async fn put(
        &self,
        key: &ConnectionKey,
        envelope: &Envelope,
        times: Times,
        version: u64,
        event: &Event,
    ) -> Result<(), StoreError>;

    async fn connection(&self, key: &ConnectionKey) -> Result<Option<Stored>, StoreError>;

    /// Looks at several connections, which are distinct, in their order.
    async fn glances(&self, keys: &[ConnectionKey]) -> Result<Vec<Option<Glance>>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.connection(key).await?.map(Glance::from));
        }
        Ok(found)
    }

    async fn connections(&self, wish: &Listing<'_>) -> Result<Vec<Stored>, StoreError>;

    /// Looks at connections nobody has asked for, in the order in which the store has them: at most `limit` after that place.
    /// None where that would cost others more than it is worth.
    async fn ahead(&self, _after: u64, _limit: u32) -> Result<Vec<Ahead>, StoreError> {
        Ok(Vec::new())
    }

    /// Takes the lease and writes the note that a refresh token is about to be spent. The new fence, or `None` when the
    /// row is not as it was seen, is broken, or somebody else has the lease.
    async fn claim(&self, claim: &Claim<'_>, events: &[Event]) -> Result<Option<u64>, StoreError>;

    /// Writes what came of an attempt, gives the lease back and removes the note. False, and nothing is done, when the row
    /// has another version or another fence.
    async fn settle(
        &self,
        key: &ConnectionKey,
        seen: Seen,
        settlement: &Settlement,
        new_version: u64,
        event: &Event,
    ) -> Result<bool, StoreError>;

    /// Removes a connection that still has this version. False when it has not.
    async fn remove(
        &self,
        key: &ConnectionKey,
        version: u64,
        event: &Event,
    ) -> Result<bool, StoreError>;

    /// Connections that are to be refreshed, were used since `wish.used_since`, and that nobody refreshes.
    async fn due(&self, wish: Due<'_>) -> Result<Vec<ConnectionKey>, StoreError>;

    /// Has a connection's tokens refreshed at once, or once more when somebody is at it: a refresh token of theirs came to the
    /// provider twice, which may have voided them all. Nothing is done when others were stored since `stored_at`.
    async fn suspect(
        &self,
        key: &ConnectionKey,
        stored_at: u64,
        now: u64,
    ) -> Result<(), StoreError>;

    /// Connections whose data key this key wrapped, in the order of their names: at most `limit` after this one.
    async fn wrapped_by(
        &self,
        kek: &KekId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<Stored>, StoreError>;

    /// Replaces a wrapped data key, if it is still the old one.
    async fn rewrap(
        &self,
        key: &ConnectionKey,
        old: &Envelope,
        new: &Envelope,
    ) -> Result<bool, StoreError>;

    /// The names of all keys that wrapped something here.
    async fn kek_ids(&self) -> Result<Vec<KekId>, StoreError>;

    /// The vault's own signing key, sealed.
    async fn own_key(&self) -> Result<Option<Envelope>, StoreError>;

    /// Keeps the vault's own signing key, in the place of `old`. False when there is another by now.
    async fn set_own_key(&self, old: Option<&Envelope>, new: &Envelope)
    -> Result<bool, StoreError>;

    /// Remembers the id of a signed request until `until`, in milliseconds. False when it was there.
    async fn remember(&self, id_hash: &[u8], now: u64, until: u64) -> Result<bool, StoreError>;

    /// Adds events, and with those in `uses`, when their connections were last used.
    async fn add_events(&self, events: &[Event], uses: &[&Event]) -> Result<(), StoreError>;

    /// At most `limit` events with numbers below `before`, the last one first.
    async fn events(
        &self,
        filter: &Filter,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Removes some of the events and remembered ids that nobody needs any more. True when there may be more.
    async fn forget(&self, events_before: u64, now: u64) -> Result<bool, StoreError>;

    /// For each service, how many connections need their users and since when the first of them does.
    async fn attention(&self) -> Result<Vec<Attention>, StoreError>;

    /// The store's own clock, in milliseconds since 1970, where it has one. Replicas share it.
    async fn clock(&self) -> Result<Option<u64>, StoreError>;
}

/// The version and the fence that a claim left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub version: u64,
    pub fence: u64,
}

/// What is looked for when connections are refreshed ahead of their end. Milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    pub service: &'a Service,
    pub now: u64,
    /// Those are due that may be refreshed from this moment on.
    pub refresh_from: u64,
    pub used_since: u64,
    pub limit: u32,
}

/// Connections of a service that need their users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    pub service: Service,
    pub connections: u64,
    pub since: u64,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database did not answer as it should")]
    Unavailable(#[from] sqlx::Error),
    #[error("the database cannot be brought to this program's version")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("the KV engine cannot be used")]
    Server(#[from] ServerError),
    /// A Vault server is configured as the store, but not where it is.
    #[error("say where the Vault server is, with VAULT_ADDR")]
    NoServer,
    #[error(
        "the KV engine removes what is in it after a while: set its delete_version_after to 0s"
    )]
    Fleeting,
    /// Others changed the same connection again and again.
    #[error("a connection is changed by too many at once")]
    Contended,
    /// A question about the audit log would take too long.
    #[error(
        "the audit log is too long for this question: ask for a shorter time, with from and to"
    )]
    TooMuch,
    #[error("the database holds a damaged {what}")]
    Corrupt { what: &'static str },
}
