//! What was taken back before its time.
//!
//! The store keeps it; a copy in memory answers each question. Both are bounded by what was revoked within the
//! lifetime of a token, never by what was issued.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{self, Arc, MutexGuard, PoisonError, RwLock},
};

use serde::Serialize;
use tokio::sync::{Mutex, oneshot, watch};

use crate::{
    audit::Event,
    client::{ClientId, CredentialId},
    gathering::Gathering,
    own_token::OwnToken,
    policy_file::MAX_TOKEN_LIFETIME,
    registry::change::Change,
    resource::ResourceId,
    storage::{Store, StoreError},
};

/// A verifier may accept a token for so long after its end, in seconds: until then a revocation must be known.
const LEEWAY: u64 = 60;

/// What is taken back. Where it is more than one token or a key, it means every token up to the second of the
/// revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// One token.
    Token { jti: String, resource: ResourceId },
    /// All that one client obtained.
    Client(ClientId),
    /// All that was obtained with one credential.
    Credential(CredentialId),
    /// All that one client obtained for one resource.
    Grant(ClientId, ResourceId),
    /// All that was signed with a key that fell into wrong hands, whenever that was. Verifiers would else go by
    /// the key set that they hold until it is due.
    Key(String),
}

/// One numbered entry of the list. The numbers grow in the order in which entries became visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub number: u64,
    pub revoked: Revoked,
    /// Seconds since the epoch.
    pub revoked_at: u64,
    /// From then on no verifier would accept what was revoked, and the entry can be forgotten.
    pub expires_at: u64,
}

/// An entry as followers read it: identifiers and times only.
#[derive(Serialize)]
pub struct Entry<'a> {
    number: u64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    revoked_at: u64,
    expires_at: u64,
}

impl Revoked {
    /// Takes one token back.
    pub fn token(token: &OwnToken, now: u64) -> Change {
        Change::Revoke {
            revoked: Self::Token {
                jti: token.jti.clone(),
                resource: token.aud.clone(),
            },
            at: now,
            until: token.exp + LEEWAY,
        }
    }

    /// Takes all of it back that was issued until `now`. None of it lives longer than what this is remembered for.
    pub fn at(self, now: u64) -> Change {
        Change::Revoke {
            revoked: self,
            at: now,
            until: known_until(now),
        }
    }
}

/// Until when it has to be known that all that was issued until `now` is taken back: none of it lives longer.
pub fn known_until(now: u64) -> u64 {
    now + MAX_TOKEN_LIFETIME + LEEWAY
}

/// Takes back all that was issued for `resource` until `now`, to clients that still hold a grant for it: with a grant,
/// its tokens went.
pub fn revoked_all_of(resource: ResourceId, now: u64) -> Change {
    Change::RevokeAllOf {
        resource,
        at: now,
        until: known_until(now),
    }
}

/// What tokens a client has that do not say with which credential they were obtained: when one of its credentials falls
/// into wrong hands, each of them may be a token of whoever has it.
///
/// # Errors
/// When the store does not answer.
pub async fn of_unknown_credential(
    store: &dyn Store,
    client: &ClientId,
) -> Result<Vec<Revoked>, StoreError> {
    let record = store.client_record(client).await?;
    let grants = record.iter().flat_map(|record| record.grants.iter());
    let hidden = grants.filter(|grant| grant.token_profile.hides_credential());
    Ok(hidden
        .map(|grant| Revoked::Grant(client.clone(), grant.resource.clone()))
        .collect())
}

impl Revocation {
    /// Whether it can concern tokens for one of `resources`.
    pub fn concerns(&self, resources: &[ResourceId]) -> bool {
        match &self.revoked {
            Revoked::Token { resource, .. } | Revoked::Grant(_, resource) => {
                resources.contains(resource)
            }
            Revoked::Client(_) | Revoked::Credential(_) | Revoked::Key(_) => true,
        }
    }

    pub fn entry(&self) -> Entry<'_> {
        let mut entry = Entry {
            number: self.number,
            kind: "",
            jti: None,
            client_id: None,
            credential: None,
            aud: None,
            kid: None,
            revoked_at: self.revoked_at,
            expires_at: self.expires_at,
        };
        match &self.revoked {
            Revoked::Token { jti, .. } => {
                entry.kind = "token";
                entry.jti = Some(jti);
            }
            Revoked::Client(client) => {
                entry.kind = "client";
                entry.client_id = Some(client.as_str());
            }
            Revoked::Credential(credential) => {
                entry.kind = "credential";
                entry.credential = Some(credential.as_str());
            }
            Revoked::Grant(client, resource) => {
                entry.kind = "grant";
                entry.client_id = Some(client.as_str());
                entry.aud = Some(resource.as_str());
            }
            Revoked::Key(kid) => {
                entry.kind = "key";
                entry.kid = Some(kid);
            }
        }
        entry
    }
}

/// The list in memory, in step with the store.
pub struct Revocations {
    memory: RwLock<Memory>,
    /// Held for an assignment only.
    asked: sync::Mutex<Asked>,
    gathering: Gathering,
    /// Lets one task through that brings entries from the store into memory, so that they come in their order.
    in_order: Mutex<()>,
    /// The last number, for those who wait for the next.
    last: watch::Sender<u64>,
}

/// What is to be written. It is written together: on its way to the disk one page has room for many, and each write has it
/// written anew.
#[derive(Default)]
struct Asked {
    waiting: Vec<Request>,
    /// Whether a task is there that writes it.
    is_written: bool,
}

struct Request {
    changes: Vec<Change>,
    event: Event,
    done: oneshot::Sender<Result<(), StoreError>>,
}

#[derive(Default)]
struct Memory {
    entries: BTreeMap<u64, Arc<Revocation>>,
    tokens: HashMap<String, u64>,
    /// By whom or what, the last second whose tokens are dead.
    clients: HashMap<ClientId, u64>,
    credentials: HashMap<CredentialId, u64>,
    grants: HashMap<(ClientId, ResourceId), u64>,
}

/// The writing of what is asked for, which one task does at a time.
struct Turn {
    revocations: Arc<Revocations>,
    is_over: bool,
}

impl Turn {
    fn of(revocations: Arc<Revocations>) -> Self {
        Self {
            revocations,
            is_over: false,
        }
    }

    /// Writes what is asked for until there is nothing left.
    async fn write(mut self, store: Arc<dyn Store>) {
        let revocations = Arc::clone(&self.revocations);
        while let Some(group) = self.next_group() {
            let (mut changes, mut events, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
            for request in group {
                changes.extend(request.changes);
                events.push(request.event);
                waiting.push(request.done);
            }
            revocations.leave_out_known_tokens(&mut changes);
            let outcome = match store.commit(&changes, &events).await {
                Ok(_) => revocations.catch_up(store.as_ref()).await,
                Err(failure) => Err(failure),
            };
            let served = waiting.len();
            let failed = outcome.is_err();
            let mut outcome = Some(outcome);
            for done in waiting {
                // One of them is told what it was; nobody knows then what was written.
                let rest = if failed {
                    Err(StoreError::NoAnswer)
                } else {
                    Ok(())
                };
                drop(done.send(outcome.take().unwrap_or(rest)));
            }
            let asked = || revocations.asked().waiting.len();
            let present = served + asked();
            if present > 1 {
                revocations.gathering.wait_for(present, asked).await;
            }
        }
    }

    /// What is asked for now; `None` ends the turn.
    fn next_group(&mut self) -> Option<Vec<Request>> {
        let mut asked = self.revocations.asked();
        let group = mem::take(&mut asked.waiting);
        self.is_over = group.is_empty();
        asked.is_written = !self.is_over;
        asked.is_written.then_some(group)
    }
}

/// A turn that breaks off, as when its worker stops, leaves nobody waiting: they are told that there is no answer, and who
/// asks next begins another turn.
impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            *self.revocations.asked() = Asked::default();
        }
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            memory: RwLock::default(),
            asked: sync::Mutex::default(),
            gathering: Gathering::default(),
            in_order: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }
}

impl Revocations {
    /// Revokes, all of it or nothing, together with the event that tells of it. When this returns, it is on disk and every
    /// answer of this server knows it. What others revoke at the same moment shares one write with it.
    ///
    /// # Errors
    /// When the store did not take it.
    pub async fn add(
        self: Arc<Self>,
        store: &Arc<dyn Store>,
        changes: Vec<Change>,
        event: Event,
    ) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        let (waiting, is_first) = {
            let mut asked = self.asked();
            asked.waiting.push(Request {
                changes,
                event,
                done,
            });
            let is_first = !mem::replace(&mut asked.is_written, true);
            (asked.waiting.len(), is_first)
        };
        if is_first {
            // A task of its own: who asked first may hang up, and the others wait for it.
            tokio::spawn(Turn::of(self).write(Arc::clone(store)));
        } else {
            self.gathering.joined(waiting);
        }
        wait.await.unwrap_or(Err(StoreError::NoAnswer))
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves out the tokens that are taken back already, in this write or before it: each of those who ask in the same moment
    /// found the token alive. Another server may still write the same entry, which is as good as one.
    fn leave_out_known_tokens(&self, changes: &mut Vec<Change>) {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let mut new = HashSet::new();
        changes.retain(|change| match change {
            Change::Revoke {
                revoked: Revoked::Token { jti, .. },
                ..
            } => !memory.tokens.contains_key(jti) && new.insert(jti.clone()),
            _ => true,
        });
    }

    /// Brings what is new in the store into memory: what this server wrote and what other replicas did.
    pub async fn catch_up(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _one_at_a_time = self.in_order.lock().await;
        let known = *self.last.borrow();
        let new = store.revocations_after(known).await?;
        let Some(last) = new.last().map(|entry| entry.number) else {
            return Ok(());
        };
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        for entry in new {
            memory.learn(entry);
        }
        drop(memory);
        self.last.send_replace(last);
        Ok(())
    }

    /// Forgets what no token can be concerned by any more. The store forgets it by itself.
    pub fn sweep(&self, now: u64) {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.forget(now);
    }

    /// Whether a token that this server issued was taken back.
    pub fn revokes(&self, token: &OwnToken) -> bool {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let until = |end: Option<&u64>| end.is_some_and(|end| token.iat <= *end);
        memory.tokens.contains_key(&token.jti)
            || until(memory.clients.get(&token.client_id))
            || until(
                token
                    .credential
                    .as_ref()
                    .and_then(|id| memory.credentials.get(id)),
            )
            || (!memory.grants.is_empty()
                && until(
                    memory
                        .grants
                        .get(&(token.client_id.clone(), token.aud.clone())),
                ))
    }

    /// How many entries the list has.
    pub fn len(&self) -> usize {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.entries.len()
    }

    /// Whether nothing is taken back.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries after `number`, in order, and the last number that this covers.
    pub fn after(&self, number: u64) -> (Vec<Arc<Revocation>>, u64) {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let entries = memory
            .entries
            .range(number + 1..)
            .map(|(_, entry)| Arc::clone(entry));
        (entries.collect(), *self.last.borrow())
    }

    /// The last number, and a way to wait for the next.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

impl Memory {
    fn learn(&mut self, entry: Revocation) {
        let at = entry.revoked_at;
        match &entry.revoked {
            Revoked::Token { jti, .. } => drop(self.tokens.insert(jti.clone(), entry.expires_at)),
            Revoked::Key(_) => {} // this server does not read tokens of such a key
            Revoked::Client(client) => later(&mut self.clients, client, at),
            Revoked::Credential(credential) => later(&mut self.credentials, credential, at),
            Revoked::Grant(client, resource) => {
                later(&mut self.grants, &(client.clone(), resource.clone()), at);
            }
        }
        self.entries.insert(entry.number, Arc::new(entry));
    }

    /// Builds the memory anew from the entries that live on: a sweep is rare, and nothing can be left over.
    fn forget(&mut self, now: u64) {
        let entries = std::mem::take(self).entries;
        for entry in entries.into_values().filter(|entry| now < entry.expires_at) {
            self.learn(Arc::unwrap_or_clone(entry));
        }
    }
}

fn later<K: Clone + Eq + std::hash::Hash>(ends: &mut HashMap<K, u64>, key: &K, at: u64) {
    let end = ends.entry(key.clone()).or_insert(at);
    *end = at.max(*end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Action, Origin};

    #[actix_web::test]
    async fn when_the_writer_breaks_off_nobody_waits_for_ever() {
        let revocations = Arc::<Revocations>::default();
        let (done, wait) = oneshot::channel();
        *revocations.asked() = Asked {
            waiting: vec![Request {
                changes: vec![],
                event: Event::done(Action::TokenRevoked, 0, &Origin::server()),
                done,
            }],
            is_written: true,
        };
        drop(Turn::of(Arc::clone(&revocations)));
        assert!(wait.await.is_err(), "it is told that nobody answers");
        assert!(!revocations.asked().is_written, "the next one begins anew");
    }
}
