//! The clients that are in memory: as many as fit into a fixed number of bytes.
//!
//! With a million clients a token costs half as much when its client is known, so that each should be. That is why
//! one takes no more than its record and a pointer, and why clients with equal grants share them.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashbrown::HashTable;
use tokio::time::Instant;

use crate::client::{ClientId, ClientRecord, Grant, Grants};

/// How long a record is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// This server hears of every change, because nobody else has the database.
    UntilForgotten,
    /// Others may change it as well, and tell. What they should have told and did not is seen within this time.
    For(Duration),
}

/// Memory for clients, in bytes: enough for about a million.
pub const BUDGET: usize = 192 * 1024 * 1024;

/// Parts with a lock of their own: who looks for a client seldom waits, and what takes long holds up few.
const SHARDS: usize = 32;

/// What of the table belongs to a client: a pointer and a byte, and half as much is free at the worst.
const PLACE: usize = 18;

/// Records by id. One that needs room takes the place of another.
pub struct KnownClients {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    freshness: Freshness,
    /// Of each shard, in bytes.
    budget: usize,
}

struct Shard {
    records: HashTable<Arc<ClientRecord>>,
    /// Those that were believed for long enough and have not been asked for since. They are the first to go.
    aside: HashTable<Arc<ClientRecord>>,
    /// Of both.
    bytes: usize,
    /// Where in the table the next one is looked for that has to go. It goes round, so that each has its turn.
    hand: usize,
    /// When the shard had no record for the last time, but for those aside.
    since: Instant,
}

impl KnownClients {
    pub fn new(freshness: Freshness, budget: usize) -> Self {
        let shard = |_| {
            Mutex::new(Shard {
                records: HashTable::new(),
                aside: HashTable::new(),
                bytes: 0,
                hand: 0,
                since: Instant::now(),
            })
        };
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: RandomState::new(),
            freshness,
            budget: budget / SHARDS,
        }
    }

    pub fn get(&self, id: &ClientId) -> Option<Arc<ClientRecord>> {
        let (hash, mut shard) = self.place(id);
        if let Freshness::For(time) = self.freshness
            && shard.since.elapsed() >= time
        {
            shard.put_aside();
        }
        find(&shard.records, hash, id)
    }

    /// The same, or what would have to be read again: for when there is no way to know better.
    pub fn get_old(&self, id: &ClientId) -> Option<Arc<ClientRecord>> {
        let (hash, shard) = self.place(id);
        find(&shard.records, hash, id).or_else(|| find(&shard.aside, hash, id))
    }

    /// Keeps a record in the place of an older one of the same client.
    pub fn insert(&self, record: Arc<ClientRecord>) {
        let (hash, mut shard) = self.place(&record.id);
        shard.remove(hash, &record.id);
        let weight = weight(&record);
        while shard.bytes + weight > self.budget {
            if !shard.make_room() {
                return; // it is larger than all of the shard
            }
        }
        shard.bytes += weight;
        let rehash = |known: &Arc<ClientRecord>| self.hasher.hash_one(&known.id);
        shard.records.insert_unique(hash, record, rehash);
    }

    pub fn remove(&self, id: &ClientId) {
        let (hash, mut shard) = self.place(id);
        shard.remove(hash, id);
    }

    /// Removes all that are `concerned`. It looks at each, which takes a tenth of a second for a million.
    pub fn remove_where(&self, concerned: impl Fn(&ClientRecord) -> bool) {
        for shard in &self.shards {
            let shard = &mut *lock(shard);
            for records in [&mut shard.records, &mut shard.aside] {
                records.retain(|known| {
                    let stays = !concerned(known);
                    if !stays {
                        shard.bytes -= weight(known);
                    }
                    stays
                });
            }
        }
    }

    /// Removes all.
    pub fn clear(&self) {
        for shard in &self.shards {
            let shard = &mut *lock(shard);
            shard.records.clear();
            shard.aside.clear();
            shard.bytes = 0;
            shard.since = Instant::now();
        }
    }

    /// The shard that a client belongs to.
    fn place(&self, id: &ClientId) -> (u64, MutexGuard<'_, Shard>) {
        let hash = self.hasher.hash_one(id);
        // The table itself uses the lowest and the highest bits.
        let shard = usize::from((hash >> 32).to_le_bytes()[0]) % SHARDS;
        (hash, lock(&self.shards[shard]))
    }
}

fn find(
    records: &HashTable<Arc<ClientRecord>>,
    hash: u64,
    id: &ClientId,
) -> Option<Arc<ClientRecord>> {
    records.find(hash, |known| known.id == *id).cloned()
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing that is done with it can panic half way.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Has all of them read again, and keeps them for when they cannot be. What was put aside before goes.
    fn put_aside(&mut self) {
        self.drop_aside();
        self.aside = mem::take(&mut self.records);
        self.since = Instant::now();
    }

    fn drop_aside(&mut self) {
        let aside = mem::take(&mut self.aside);
        self.bytes -= aside.iter().map(|known| weight(known)).sum::<usize>();
    }

    fn remove(&mut self, hash: u64, id: &ClientId) {
        for records in [&mut self.records, &mut self.aside] {
            if let Ok(found) = records.find_entry(hash, |known| known.id == *id) {
                let (record, _) = found.remove();
                self.bytes -= weight(&record);
            }
        }
    }

    /// Drops one record. False when there is none.
    fn make_room(&mut self) -> bool {
        if !self.aside.is_empty() {
            self.drop_aside();
            return true;
        }
        if self.records.is_empty() {
            return false;
        }
        loop {
            self.hand = (self.hand + 1) % self.records.num_buckets();
            if let Ok(found) = self.records.get_bucket_entry(self.hand) {
                let (record, _) = found.remove();
                self.bytes -= weight(&record);
                return true;
            }
        }
    }
}

/// How many bytes a known client takes. Its grants are not counted if it shares them.
fn weight(record: &ClientRecord) -> usize {
    let in_place = mem::size_of::<ClientId>();
    let mut bytes = PLACE
        + allocated(mem::size_of::<ClientRecord>() + 2 * mem::size_of::<usize>())
        + allocated(mem::size_of_val(&*record.credentials))
        + allocated(mem::size_of_val(&*record.owns));
    if record.id.as_str().len() > in_place {
        bytes += allocated(record.id.as_str().len());
    }
    for resource in &record.owns {
        bytes += allocated(resource.as_str().len());
    }
    if !record.grants.are_shared() {
        bytes += weight_of_grants(&record.grants);
    }
    bytes
}

fn weight_of_grants(grants: &Grants) -> usize {
    let of_grant = |grant: &Grant| {
        let scope = |scope: &str| mem::size_of::<String>() + allocated(scope.len());
        // The nodes of a set are half empty at the worst.
        let scopes: usize = grant.scopes.iter().map(|name| 2 * scope(name)).sum();
        mem::size_of::<Grant>() + allocated(grant.resource.as_str().len()) + scopes + NODE
    };
    grants.iter().map(of_grant).sum()
}

/// The smallest set of scopes has room for eleven.
const NODE: usize = 12 * mem::size_of::<String>();

/// What the allocator takes for so many bytes.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        0
    } else {
        (bytes + 8).next_multiple_of(16).max(32)
    }
}

/// Lists of grants that clients have in common.
#[derive(Default)]
pub struct SharedGrants {
    lists: HashSet<Grants>,
    /// How many were not taken since the last look for lists that nobody has any more.
    refused: usize,
}

impl SharedGrants {
    /// At the most so many lists …
    const LISTS: usize = 4096;

    /// … of so many bytes each. They come on top of the memory for clients.
    const LARGEST: usize = 4096;

    /// The list that equals this one, which now may be shared as well if there is none and there is room.
    pub fn share(&mut self, grants: Grants) -> Grants {
        if let Some(known) = self.lists.get(&grants) {
            return known.clone();
        }
        if weight_of_grants(&grants) > Self::LARGEST || !self.has_room() {
            return grants;
        }
        let grants = grants.to_be_shared();
        self.lists.insert(grants.clone());
        grants
    }

    /// Looking for lists that nobody has any more is done seldom enough to cost nothing.
    fn has_room(&mut self) -> bool {
        if self.lists.len() >= Self::LISTS {
            self.refused += 1;
            if self.refused >= Self::LISTS {
                self.refused = 0;
                self.lists.retain(Grants::are_held_elsewhere);
            }
        }
        self.lists.len() < Self::LISTS
    }
}

#[cfg(test)]
mod tests {
    use m2m::verify::Algorithm;

    use super::*;
    use crate::{
        client::{ClientStatus, Credential, CredentialId, SecretHash},
        resource::{ResourceId, TokenFormat, TokenProfile},
    };

    fn id(number: usize) -> ClientId {
        ClientId::parse(&format!("client-{number:07}")).unwrap()
    }

    fn grants(resource: &str) -> Grants {
        let grant = Grant {
            resource: ResourceId::parse(resource).unwrap(),
            scopes: "read write".parse().unwrap(),
            token_format: TokenFormat::Jwt,
            token_profile: TokenProfile::Standard,
            has_metadata_claims: false,
            token_lifetime: 60,
            signing_alg: Algorithm::ES256,
            expires_at: None,
        };
        [grant].into_iter().collect()
    }

    fn record(number: usize, grants: &Grants) -> Arc<ClientRecord> {
        Arc::new(ClientRecord {
            id: id(number),
            status: ClientStatus::Active,
            credentials: [Credential {
                id: CredentialId::generate(),
                secret: SecretHash::of(""),
                expires_at: None,
            }]
            .into(),
            grants: grants.clone(),
            owns: Box::default(),
        })
    }

    fn bytes(known: &KnownClients) -> usize {
        known.shards.iter().map(|shard| lock(shard).bytes).sum()
    }

    fn counted(known: &KnownClients) -> usize {
        let weights = |shard| lock(shard).records.iter().map(|r| weight(r)).sum::<usize>();
        known.shards.iter().map(weights).sum()
    }

    #[test]
    fn a_million_clients_fit() {
        let shared = SharedGrants::default().share(grants("a"));
        let fit = BUDGET / weight(&record(0, &shared));
        assert!(fit >= 1_020_000, "{fit}");
    }

    #[test]
    fn memory_is_bounded_and_the_last_one_is_in_it() {
        let grants = grants("a");
        let one = weight(&record(0, &grants));
        let known = KnownClients::new(Freshness::UntilForgotten, 1000 * one);
        for number in 0..20_000 {
            known.insert(record(number, &grants));
            assert!(known.get(&id(number)).is_some());
        }
        assert!(bytes(&known) <= 1000 * one);
        assert!(bytes(&known) >= 900 * one, "it is full all the time");
        assert_eq!(bytes(&known), counted(&known));
    }

    #[test]
    fn who_is_known_stays_while_there_is_room() {
        let grants = grants("a");
        let one = weight(&record(0, &grants));
        let known = KnownClients::new(Freshness::UntilForgotten, 2000 * one);
        for number in (0..1000).chain(0..1000) {
            known.insert(record(number, &grants));
        }
        assert_eq!(bytes(&known), 1000 * one, "each is counted once");
        assert!((0..1000).all(|number| known.get(&id(number)).is_some()));
    }

    #[test]
    fn what_is_removed_is_not_counted() {
        let [a, b] = ["a", "b"].map(grants);
        let known = KnownClients::new(Freshness::UntilForgotten, BUDGET);
        for number in 0..100 {
            known.insert(record(number, if number < 40 { &a } else { &b }));
        }
        known.remove(&id(0));
        known.remove(&id(0));
        known.remove_where(|record| record.grants == a);
        assert!((0..100).all(|number| known.get(&id(number)).is_some() == (number >= 40)));
        assert_eq!(bytes(&known), 60 * weight(&record(0, &b)));
        known.remove_where(|_| true);
        assert_eq!(bytes(&known), 0);
    }

    #[test]
    fn a_record_that_is_too_large_is_not_kept() {
        let known = KnownClients::new(Freshness::UntilForgotten, 0);
        known.insert(record(1, &grants("a")));
        assert!(known.get(&id(1)).is_none());
    }

    #[test]
    fn who_shares_the_database_believes_for_a_while_only() {
        for (time, believed) in [(Duration::ZERO, false), (Duration::from_hours(1), true)] {
            let known = KnownClients::new(Freshness::For(time), BUDGET);
            known.insert(record(1, &grants("a")));
            assert_eq!(known.get(&id(1)).is_some(), believed);
        }
    }

    #[test]
    fn what_is_not_believed_any_more_is_kept_for_a_while_and_counted() {
        let grants = grants("a");
        let one = weight(&record(0, &grants));
        let known = KnownClients::new(Freshness::For(Duration::ZERO), 100 * SHARDS * one);
        for number in 0..100 {
            known.insert(record(number, &grants));
        }
        assert!((0..100).all(|number| known.get_old(&id(number)).is_some()));
        assert!(known.get(&id(7)).is_none(), "it is to be read again");
        assert!(known.get_old(&id(7)).is_some());
        known.remove(&id(7));
        assert!(known.get_old(&id(7)).is_none());
        known.insert(record(8, &grants));
        let aside = |shard| lock(shard).aside.iter().map(|r| weight(r)).sum::<usize>();
        let all = counted(&known) + known.shards.iter().map(aside).sum::<usize>();
        assert_eq!(bytes(&known), all);
        known.clear();
        assert_eq!(bytes(&known), 0);
        assert!(known.get_old(&id(8)).is_none());
    }

    #[test]
    fn equal_grants_are_one_list_that_nobody_is_charged_for() {
        let mut shared = SharedGrants::default();
        let [one, two, other] = ["a", "a", "b"].map(|name| shared.share(grants(name)));
        assert!(std::ptr::eq(&raw const *one, &raw const *two));
        assert!(one != other && one.are_shared() && other.are_shared());
        let alone = grants("a");
        assert!(!alone.are_shared());
        assert_eq!(
            weight(&record(1, &alone)) - weight(&record(1, &one)),
            weight_of_grants(&alone)
        );
    }

    #[test]
    fn lists_that_nobody_has_any_more_make_room() {
        let mut shared = SharedGrants::default();
        let list = |number: usize| grants(&format!("r{number}"));
        let held: Vec<_> = (0..SharedGrants::LISTS)
            .map(|number| shared.share(list(number)))
            .collect();
        let late = list(SharedGrants::LISTS);
        for _ in 0..2 * SharedGrants::LISTS {
            assert!(!shared.share(late.clone()).are_shared(), "there is no room");
        }
        drop(held);
        let looked = (0..SharedGrants::LISTS).any(|_| {
            let list = (*late).iter().cloned().collect();
            shared.share(list).are_shared()
        });
        assert!(looked);
        assert_eq!(shared.lists.len(), 1);
    }

    #[test]
    fn a_list_that_is_too_long_is_not_shared() {
        let mut shared = SharedGrants::default();
        let long: Grants = (0..20)
            .flat_map(|number| grants(&format!("r{number}")).to_vec())
            .collect();
        assert!(!shared.share(long).are_shared());
    }
}
