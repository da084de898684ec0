//! The connections in memory, opened: as many as fit into a fixed number of bytes.
//!
//! Where no other server has the store, memory is right: whatever changes a connection has it forgotten here. Where others
//! have it too, memory only saves the opening: a row is looked at for each request, and what is here counts while it has
//! the row's version.
//!
//! A token out of memory costs a third of one out of the database, so that of a million connections each should be here. That
//! is why one takes little more than its texts, and no refresh token.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use hashbrown::HashTable;
use serde_json::{Map, Value};

use crate::{
    connection::{Application, ConnectionKey, Service},
    secret::{Token, Tokens},
    storage::USED_EVERY,
};

/// Parts with a lock of their own: who looks for a connection seldom waits.
const SHARDS: usize = 64;

/// What of the table belongs to a connection: a pointer and a byte, and half as much is free at the worst.
const PLACE: usize = 18;

/// A connection, opened: what a caller may be given of it.
#[derive(Debug)]
pub struct Opened {
    pub key: ConnectionKey,
    pub access: Token,
    /// When the access token ends, in milliseconds since 1970; `None`: never, as far as is known.
    pub expires_at: Option<u64>,
    /// Most connections have none.
    more: Option<Box<More>>,
    /// Of the row that it was opened from.
    pub(crate) version: u64,
    /// Until when it may be given from memory, in milliseconds since 1970. Before that nobody refreshes it.
    pub(crate) good_until: u64,
    /// When its use was noted last.
    noted_at: AtomicU64,
}

/// What callers wrote beside the token.
struct More {
    scopes: Vec<String>,
    metadata: Map<String, Value>,
}

/// Metadata may hold a token by mistake.
impl fmt::Debug for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("More(…)")
    }
}

impl Opened {
    pub(crate) fn new(key: ConnectionKey, tokens: Tokens, version: u64, good_until: u64) -> Self {
        let Tokens {
            access,
            expires_at,
            scopes,
            metadata,
            ..
        } = tokens;
        let is_more = !(scopes.is_empty() && metadata.is_empty());
        Self {
            key,
            access,
            expires_at,
            more: is_more.then(|| Box::new(More { scopes, metadata })),
            version,
            good_until,
            noted_at: AtomicU64::new(0),
        }
    }

    /// What the token is good for, as its application wrote it.
    pub fn scopes(&self) -> &[String] {
        self.more.as_ref().map_or(&[], |more| &more.scopes)
    }

    /// What its application wrote besides.
    pub fn metadata(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.more.as_ref().map_or(&NONE, |more| &more.metadata)
    }

    /// Whether the use at this moment is to be noted: once in a while one is.
    pub(crate) fn is_use(&self, now: u64) -> bool {
        let noted = self.noted_at.load(Ordering::Relaxed);
        let (new, order) = (now, Ordering::Relaxed);
        noted + USED_EVERY <= now
            && self
                .noted_at
                .compare_exchange(noted, new, order, order)
                .is_ok()
    }

    /// How many bytes it takes. Application and service are shared with others.
    fn weight(&self) -> usize {
        let name = |text: &str| match text.len() {
            0..=IN_PLACE => 0,
            long => allocated(long),
        };
        let more = self.more.as_ref().map_or(0, |more| {
            let scopes = more.scopes.iter();
            let scopes: usize = scopes
                .map(|scope| size_of::<String>() + allocated(scope.len()))
                .sum();
            // A guess: it has 4 KiB at the most.
            let metadata = more.metadata.len() * METADATA;
            allocated(size_of::<More>()) + scopes + metadata
        });
        PLACE
            + allocated(size_of::<Self>() + 2 * size_of::<usize>())
            + name(self.key.user.as_str())
            + name(self.key.account.as_str())
            + allocated(self.access.length())
            + more
    }
}

/// Shorter names of users and accounts take no memory of their own, in bytes.
const IN_PLACE: usize = 24;

/// What a member of an object takes, in bytes, about.
const METADATA: usize = 200;

/// What the allocator takes for so many bytes.
fn allocated(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

/// The connections in memory of one server. One that needs room takes the place of another.
pub struct Memory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Of each shard, in bytes.
    budget: usize,
    names: Mutex<Names>,
    kept: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    opened: HashTable<Arc<Opened>>,
    bytes: usize,
    /// Where in the table the next one is looked for that has to go. It goes round, so that each has its turn.
    hand: usize,
    /// Counts the changes of its connections by this server: what was read before one is not kept after it.
    changes: u64,
}

/// Names that many connections have in common.
#[derive(Default)]
struct Names {
    applications: HashSet<Application>,
    services: HashSet<Service>,
}

/// A moment before a read: which changes it cannot have missed.
pub(crate) struct Before(u64);

/// The same for reads of many connections.
pub(crate) struct BeforeAll(Vec<u64>);

impl Memory {
    /// `budget`: how much memory connections may take, in bytes.
    pub fn new(budget: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            budget: budget / SHARDS,
            names: Mutex::default(),
            kept: AtomicUsize::new(0),
        }
    }

    /// What is in memory of a connection, if it may still be given at this moment.
    pub(crate) fn get(&self, key: &ConnectionKey, now: u64) -> Option<Arc<Opened>> {
        let hash = self.hash(key);
        let shard = lock(&self.shards[shard_of(hash)]);
        let opened = shard.opened.find(hash, |opened| opened.key == *key)?;
        (now < opened.good_until).then(|| Arc::clone(opened))
    }

    /// To be asked before a connection is read.
    pub(crate) fn before(&self, key: &ConnectionKey) -> Before {
        Before(lock(&self.shards[shard_of(self.hash(key))]).changes)
    }

    /// To be asked before many are read.
    pub(crate) fn before_all(&self) -> BeforeAll {
        BeforeAll(
            self.shards
                .iter()
                .map(|shard| lock(shard).changes)
                .collect(),
        )
    }

    /// Keeps what was read after that moment, unless there was a change since.
    pub(crate) fn keep(&self, opened: &Arc<Opened>, Before(changes): &Before) {
        let hash = self.hash(&opened.key);
        let mut shard = lock(&self.shards[shard_of(hash)]);
        if shard.changes != *changes {
            return;
        }
        self.remove(&mut shard, hash, &opened.key);
        let weight = opened.weight();
        while shard.bytes + weight > self.budget {
            if !self.make_room(&mut shard) {
                return; // it is larger than all of the shard
            }
        }
        self.insert(&mut shard, hash, Arc::clone(opened));
    }

    /// The same for one that nobody has asked for: it takes nobody's place. False when there is no room for it.
    pub(crate) fn keep_ahead(&self, opened: Opened, BeforeAll(changes): &BeforeAll) -> bool {
        let hash = self.hash(&opened.key);
        let number = shard_of(hash);
        let mut shard = lock(&self.shards[number]);
        let is_there = shard.opened.find(hash, |known| known.key == opened.key);
        if shard.changes != changes[number] || is_there.is_some() {
            return true;
        }
        let has_room = shard.bytes + opened.weight() <= self.budget;
        if has_room {
            self.insert(&mut shard, hash, Arc::new(opened));
        }
        has_room
    }

    /// To be called after each change of a connection, whether it succeeded or not.
    pub(crate) fn forget(&self, key: &ConnectionKey) {
        let hash = self.hash(key);
        let mut shard = lock(&self.shards[shard_of(hash)]);
        shard.changes += 1;
        self.remove(&mut shard, hash, key);
    }

    /// The same key, with names that are shared with those of other connections. It is for connections that there are: their
    /// applications and services are few.
    pub(crate) fn shared(&self, key: ConnectionKey) -> ConnectionKey {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        ConnectionKey {
            application: one_of(&mut names.applications, key.application),
            service: one_of(&mut names.services, key.service),
            ..key
        }
    }

    /// How many connections are in memory.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn hash(&self, key: &ConnectionKey) -> u64 {
        self.hasher.hash_one(key)
    }

    fn insert(&self, shard: &mut Shard, hash: u64, opened: Arc<Opened>) {
        shard.bytes += opened.weight();
        let rehash = |opened: &Arc<Opened>| self.hasher.hash_one(&opened.key);
        shard.opened.insert_unique(hash, opened, rehash);
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, shard: &mut Shard, hash: u64, key: &ConnectionKey) {
        if let Ok(found) = shard.opened.find_entry(hash, |opened| opened.key == *key) {
            let (opened, _) = found.remove();
            shard.bytes -= opened.weight();
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Drops one connection. False when there is none.
    fn make_room(&self, shard: &mut Shard) -> bool {
        if shard.opened.is_empty() {
            return false;
        }
        loop {
            shard.hand = (shard.hand + 1) % shard.opened.num_buckets();
            if let Ok(found) = shard.opened.get_bucket_entry(shard.hand) {
                let (opened, _) = found.remove();
                shard.bytes -= opened.weight();
                self.kept.fetch_sub(1, Ordering::Relaxed);
                return true;
            }
        }
    }
}

/// The shard of a connection with this hash. The table itself uses the lowest and the highest bits.
fn shard_of(hash: u64) -> usize {
    usize::from((hash >> 32).to_le_bytes()[0]) % SHARDS
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing that is done with it can panic half way.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn one_of<T: Clone + Eq + Hash>(names: &mut HashSet<T>, name: T) -> T {
    if let Some(known) = names.get(&name) {
        return known.clone();
    }
    names.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Account, User};

    fn key(number: usize) -> ConnectionKey {
        ConnectionKey {
            application: Application::parse("billing").unwrap(),
            user: User::parse(&format!("user-{number}")).unwrap(),
            service: Service::parse("github").unwrap(),
            account: Account::parse("acme").unwrap(),
        }
    }

    fn opened(number: usize) -> Opened {
        let tokens = Tokens {
            access: Token::parse("ghu_1".to_owned().into()).unwrap(),
            refresh: None,
            expires_at: None,
            refresh_expires_at: None,
            scopes: Vec::new(),
            metadata: Map::new(),
        };
        Opened::new(key(number), tokens, 1, 100)
    }

    #[test]
    fn what_is_kept_is_given_until_it_may_be_refreshed() {
        let memory = Memory::new(1 << 20);
        memory.keep(&Arc::new(opened(1)), &memory.before(&key(1)));
        assert!(memory.get(&key(1), 99).is_some());
        assert!(memory.get(&key(1), 100).is_none());
        assert!(memory.get(&key(2), 0).is_none());
        memory.forget(&key(1));
        assert!(memory.get(&key(1), 0).is_none());
        assert!(memory.is_empty());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let memory = Memory::new(1 << 20);
        let (before, before_all) = (memory.before(&key(1)), memory.before_all());
        memory.forget(&key(1));
        memory.keep(&Arc::new(opened(1)), &before);
        assert!(memory.keep_ahead(opened(1), &before_all));
        assert!(memory.is_empty());
        assert!(memory.keep_ahead(opened(1), &memory.before_all()));
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn memory_takes_no_more_than_it_may_and_what_is_asked_for_goes_first() {
        let budget = 64 * 1024;
        let memory = Memory::new(budget);
        let before_all = memory.before_all();
        let ahead = (0..10_000).filter(|number| memory.keep_ahead(opened(*number), &before_all));
        let ahead = ahead.count();
        assert!(
            (100..=budget / opened(0).weight()).contains(&ahead),
            "{ahead}"
        );
        let last = key(9_999);
        memory.keep(&Arc::new(opened(9_999)), &memory.before(&last));
        assert!(memory.get(&last, 0).is_some());
        assert!(memory.len() <= ahead + 1, "{}", memory.len());
        let bytes: usize = memory.shards.iter().map(|shard| lock(shard).bytes).sum();
        assert!(bytes <= budget, "{bytes}");
    }
}
