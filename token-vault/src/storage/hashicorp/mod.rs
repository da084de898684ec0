//! The vault's store in a KV engine of version 2 of a Vault server, HashiCorp's or OpenBao's.
//!
//! Such an engine changes one path at a time, with a check-and-set and nothing more: no transaction, no index, no order. So all
//! that must happen in one step is one document, the [`document`] of a connection, and the events that tell of a change are
//! written with it, into its *outbox*. From there they are copied into the [audit log](log) under a number that they were given
//! before, and are then removed from the outbox. A crash in between leaves them in the outbox, and whoever comes next, at the
//! latest the next [walk](overview), copies them again, which changes nothing where the copy was there already.
//!
//! What each step costs is in `GUIDE.md`: reading a token is one request, changing one is five.

mod document;
mod keks;
mod kv;
mod log;
mod names;
mod overview;
mod place;
mod removal;
mod requests;
mod steps;
mod tree;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tracing::{error, warn};

pub use place::{InvalidPlace, KvPlace};

use super::{
    Attention, Claim, Due, Glance, Listing, Seen, Settlement, StoreError, Stored, Times,
    USED_EVERY, VaultStore,
};
use crate::{
    audit::{Event, Filter, Recorded},
    connection::{Account, ConnectionKey, Service, User},
    envelope::Envelope,
    hashicorp::Server,
    kek::KekId,
};
use document::{Document, Row, State};
use kv::{Kv, Slot};
use log::Log;
use names::{part, parts};
use overview::Overview;
use removal::{MOURNING, Removed};
use tree::Walk;

/// How many documents are read at once.
const MOST_READS: usize = 16;

/// A store in a KV engine.
pub struct HashicorpStore {
    kv: Arc<Kv>,
    log: Log,
    overview: Overview,
    removed: Removed,
    mourning: Duration,
    keks: keks::Added,
}

impl HashicorpStore {
    /// Opens the store; there is nothing to be made. That the engine is there, is one of version 2 and lets nothing end by
    /// itself is looked at first.
    ///
    /// # Errors
    /// When the engine cannot be used, or removes what is in it after a while.
    pub async fn open(server: Arc<Server>, place: &KvPlace) -> Result<Self, StoreError> {
        let kv = Arc::new(Kv {
            server,
            mount: place.mount().to_owned(),
            folder: place.folder().to_owned(),
        });
        if kv.delete_version_after().await? != "0s" {
            return Err(StoreError::Fleeting);
        }
        let store = Self {
            log: Log::new(Arc::clone(&kv)),
            kv,
            overview: Overview::default(),
            removed: Removed::default(),
            mourning: MOURNING,
            keks: keks::Added::default(),
        };
        store.read_own_key().await?;
        Ok(store)
    }

    /// For how long the name of a removed connection is kept: for tests, which need not wait for others who read it.
    #[must_use]
    pub fn mourning(self, mourning: Duration) -> Self {
        Self { mourning, ..self }
    }

    /// The documents at these paths, in their order. One that is damaged is passed over.
    async fn read_all(
        &self,
        paths: Vec<String>,
    ) -> Result<Vec<(String, Slot<Document>)>, StoreError> {
        let read = |path: String| async move {
            let slot = match self.kv.read(&path).await {
                Err(StoreError::Corrupt { what }) => {
                    error!("a connection in the KV engine has a damaged {what}");
                    Slot {
                        version: 0,
                        document: None,
                    }
                }
                other => other?,
            };
            Ok((path, slot))
        };
        let slots = stream::iter(paths).map(read).buffered(MOST_READS);
        let slots: Vec<_> = slots.collect().await;
        slots.into_iter().collect()
    }

    /// A document's row, under the name that the document itself says, which must be the one of its path.
    fn seen(&self, path: &str, document: &Document) -> Option<(ConnectionKey, Box<Row>)> {
        let Ok(key) = ConnectionKey::try_from(&document.key) else {
            error!("a connection in the KV engine has a damaged name");
            return None;
        };
        if tree::path(&parts(&key)) != path {
            error!(
                "a connection of {} in the KV engine stands where it does not belong",
                key.service
            );
            return None;
        }
        match &document.state {
            State::Kept(row) => {
                self.overview.note(&key, Some(row));
                Some((key, row.clone()))
            }
            State::Removed | State::Going => {
                self.overview.note(&key, None);
                None
            }
        }
    }

    /// The next rows of a walk that fit.
    async fn rows(
        &self,
        mut walk: Walk<'_>,
        limit: u32,
        fits: impl Fn(&Row) -> bool,
    ) -> Result<Vec<Stored>, StoreError> {
        let (mut found, limit) = (Vec::new(), limit as usize);
        while found.len() < limit {
            let paths = walk.next(MOST_READS.min(limit)).await?;
            if paths.is_empty() {
                break;
            }
            for (path, slot) in self.read_all(paths).await? {
                let seen = slot
                    .document
                    .and_then(|document| self.seen(&path, &document));
                if let Some((key, row)) = seen.filter(|(_, row)| fits(row)) {
                    found.push(row.stored(&key)?);
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Looks at every connection, and finishes what a crash left undone.
    async fn walk(&self) -> Result<(), StoreError> {
        self.overview.begin_walk();
        let mut walk = Walk::all(&self.kv);
        loop {
            let (paths, began) = (walk.next(MOST_READS).await?, Instant::now());
            if paths.is_empty() {
                break;
            }
            for (path, Slot { version, document }) in self.read_all(paths).await? {
                let Some(document) = document else { continue };
                let is_kept = self.seen(&path, &document).is_some();
                if !is_kept && !matches!(document.state, State::Kept(_)) {
                    self.removed.note(&path, &document);
                }
                self.deliver(&path, version, document, began).await;
            }
        }
        self.overview.end_walk();
        Ok(())
    }
}

#[async_trait]
impl VaultStore for HashicorpStore {
    async fn put(
        &self,
        key: &ConnectionKey,
        envelope: &Envelope,
        times: Times,
        version: u64,
        event: &Event,
    ) -> Result<(), StoreError> {
        self.uses_kek(&envelope.kek).await?;
        let row = |before: Option<&Row>| Row::new(envelope, times, version, event.at, before);
        self.replace(key, event, row).await
    }

    async fn connection(&self, key: &ConnectionKey) -> Result<Option<Stored>, StoreError> {
        let slot = self.kv.read::<Document>(&tree::path(&parts(key))).await?;
        let row = match slot.document.map(|document| document.state) {
            Some(State::Kept(row)) => Some(row),
            Some(State::Removed | State::Going) | None => None,
        };
        self.overview.note(key, row.as_deref());
        row.map(|row| row.stored(key)).transpose()
    }

    async fn glances(&self, keys: &[ConnectionKey]) -> Result<Vec<Option<Glance>>, StoreError> {
        let looks: Vec<_> = keys.iter().map(|key| self.connection(key)).collect();
        let looks: Vec<_> = stream::iter(looks).buffered(MOST_READS).collect().await;
        let glance = |row: Result<Option<Stored>, _>| row.map(|row| row.map(Glance::from));
        looks.into_iter().map(glance).collect()
    }

    async fn connections(&self, wish: &Listing<'_>) -> Result<Vec<Stored>, StoreError> {
        let only = [
            Some(part(wish.application.as_str())),
            wish.user.map(|user| part(user.as_str())),
            wish.service.map(|service| part(service.as_str())),
            None,
        ];
        let after = |(user, service, account): &(User, Service, Account)| {
            let [user, service, account] = [user.as_str(), service.as_str(), account.as_str()];
            [wish.application.as_str(), user, service, account].map(part)
        };
        let walk = Walk::new(&self.kv, only, wish.after.as_ref().map(after));
        self.rows(walk, wish.limit, |_| true).await
    }

    async fn claim(&self, claim: &Claim<'_>, events: &[Event]) -> Result<Option<u64>, StoreError> {
        self.change(claim.key, events, |row| steps::claim(row, claim))
            .await
    }

    async fn settle(
        &self,
        key: &ConnectionKey,
        seen: Seen,
        settlement: &Settlement,
        new_version: u64,
        event: &Event,
    ) -> Result<bool, StoreError> {
        if let Settlement::Refreshed { envelope, .. } = settlement {
            self.uses_kek(&envelope.kek).await?;
        }
        let settle = |row: &mut Row| steps::settle(row, seen, settlement, new_version, event.at);
        let events = std::slice::from_ref(event);
        Ok(self.change(key, events, settle).await?.is_some())
    }

    async fn remove(
        &self,
        key: &ConnectionKey,
        version: u64,
        event: &Event,
    ) -> Result<bool, StoreError> {
        let remove = |state: &mut State| match state {
            State::Kept(row) if row.version == version => {
                *state = State::Removed;
                Some(())
            }
            _ => None,
        };
        let events = std::slice::from_ref(event);
        Ok(self.change_state(key, events, remove).await?.is_some())
    }

    async fn due(&self, wish: Due<'_>) -> Result<Vec<ConnectionKey>, StoreError> {
        let mut rounds = self.overview.rounds.lock().await;
        if rounds.is_time() {
            let began = Instant::now();
            self.walk().await?;
            rounds.walked(began);
        }
        Ok(self.overview.due(&wish))
    }

    async fn suspect(
        &self,
        key: &ConnectionKey,
        stored_at: u64,
        now: u64,
    ) -> Result<(), StoreError> {
        let suspect = |row: &mut Row| steps::suspect(row, stored_at, now);
        self.change(key, &[], suspect).await.map(drop)
    }

    async fn wrapped_by(
        &self,
        kek: &KekId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<Stored>, StoreError> {
        let walk = Walk::new(&self.kv, [const { None }; 4], after.map(parts));
        self.rows(walk, limit, |row| row.kek() == *kek).await
    }

    async fn rewrap(
        &self,
        key: &ConnectionKey,
        old: &Envelope,
        new: &Envelope,
    ) -> Result<bool, StoreError> {
        self.uses_kek(&new.kek).await?;
        let rewrap = |row: &mut Row| {
            let is_old = row.envelope.is_sealed_as(old);
            is_old.then(|| row.envelope = new.into())
        };
        Ok(self.change(key, &[], rewrap).await?.is_some())
    }

    async fn kek_ids(&self) -> Result<Vec<KekId>, StoreError> {
        self.keks_in_use().await
    }

    async fn own_key(&self) -> Result<Option<Envelope>, StoreError> {
        Ok(self.read_own_key().await?.1)
    }

    async fn set_own_key(
        &self,
        old: Option<&Envelope>,
        new: &Envelope,
    ) -> Result<bool, StoreError> {
        self.uses_kek(&new.kek).await?;
        self.write_own_key(old, new).await
    }

    async fn remember(&self, id_hash: &[u8], now: u64, until: u64) -> Result<bool, StoreError> {
        self.remember_request(id_hash, now, until).await
    }

    async fn add_events(&self, events: &[Event], uses: &[&Event]) -> Result<(), StoreError> {
        self.log.add_all(events).await?;
        let note = |event: &&Event| {
            let (key, at) = (event.key.clone(), event.at);
            let by = event.actor.as_deref().unwrap_or_default().to_owned();
            async move {
                let step = |row: &mut Row| {
                    let last = row.last_used.as_ref();
                    let is_time = last.is_none_or(|(last, _)| last + USED_EVERY <= at);
                    is_time.then(|| row.last_used = Some((at, by.clone())))
                };
                self.change(&key, &[], step).await
            }
        };
        // The events are written, and are not to be written again for this.
        let notes = stream::iter(uses.iter().map(note)).buffer_unordered(MOST_READS);
        let failed = notes
            .filter(|noted| std::future::ready(noted.is_err()))
            .count()
            .await;
        if failed > 0 {
            warn!("of {failed} connections it is not noted that they were used");
        }
        Ok(())
    }

    async fn events(
        &self,
        filter: &Filter,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.log.events(filter, before, limit as usize).await
    }

    async fn forget(&self, events_before: u64, now: u64) -> Result<bool, StoreError> {
        self.bury().await?;
        let more_requests = self.forget_requests(now).await?;
        Ok(self.log.forget(events_before).await? || more_requests)
    }

    async fn attention(&self) -> Result<Vec<Attention>, StoreError> {
        // While another walks, what is known so far.
        if let Ok(mut rounds) = self.overview.rounds.try_lock()
            && rounds.next.is_none()
        {
            let began = Instant::now();
            self.walk().await?;
            rounds.walked(began);
        }
        Ok(self.overview.attention())
    }

    async fn clock(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.kv.server.clock().await?))
    }
}
