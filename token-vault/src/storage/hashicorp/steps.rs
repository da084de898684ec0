//! The steps of the store: how a document is changed, and what each change does to its row.

use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant, sleep};
use tracing::warn;

use super::{
    HashicorpStore,
    document::{Batch, Document, EnvelopeText, Line, Row, State},
    names::parts,
    removal::{FRESH, GOING},
    tree,
};
use crate::{
    audit::Event,
    connection::{ConnectionKey, Doubt},
    envelope::Envelope,
    random::random_id,
    storage::{Claim, Seen, Settlement, StoreError},
};

/// How long a change is tried while others are faster, or something stands in the way, which is longer than [`GOING`].
const PATIENCE: Duration = Duration::from_mins(1);

/// How many batches of events may wait in a document for a log that does not take them.
const MOST_WAITING: usize = 100;

/// How often it is looked whether a document that is going is gone.
const LOOK: Duration = Duration::from_millis(50);

const OWN_KEY: &str = "own-key";

#[derive(Serialize, Deserialize)]
struct OwnKey {
    envelope: EnvelopeText,
    stamp: String,
}

impl HashicorpStore {
    /// Changes a row in one step, together with the events that tell of it. `None`, and nothing is done, when there is no row
    /// or `step` says so.
    pub(super) async fn change<T>(
        &self,
        key: &ConnectionKey,
        events: &[Event],
        step: impl Fn(&mut Row) -> Option<T> + Send + Sync,
    ) -> Result<Option<T>, StoreError>
    where
        T: Send,
    {
        let step = |state: &mut State| match state {
            State::Kept(row) => step(row),
            State::Removed | State::Going => None,
        };
        self.change_state(key, events, step).await
    }

    /// As [`change`](Self::change), of the state of the document.
    pub(super) async fn change_state<T>(
        &self,
        key: &ConnectionKey,
        events: &[Event],
        step: impl Fn(&mut State) -> Option<T> + Send + Sync,
    ) -> Result<Option<T>, StoreError>
    where
        T: Send,
    {
        let (path, began) = (tree::path(&parts(key)), Instant::now());
        let mut batch: Option<Batch> = None;
        while began.elapsed() < PATIENCE {
            let read_at = Instant::now();
            let slot = self.kv.read::<Document>(&path).await?;
            let Some(mut document) = slot.document else {
                return Ok(None);
            };
            let Some(outcome) = step(&mut document.state) else {
                return Ok(None);
            };
            if batch.is_none() && !events.is_empty() {
                let lines = events.iter().map(Line::from).collect();
                batch = Some(self.log.numbered(lines).await?);
            }
            document.outbox.extend(batch.clone());
            if self
                .write(&path, key, slot.version, document, read_at)
                .await?
            {
                return Ok(Some(outcome));
            }
        }
        Err(StoreError::Contended)
    }

    /// Puts a row in the place of whatever is there.
    pub(super) async fn replace(
        &self,
        key: &ConnectionKey,
        event: &Event,
        row: impl Fn(Option<&Row>) -> Row + Send + Sync,
    ) -> Result<(), StoreError> {
        let (path, began) = (tree::path(&parts(key)), Instant::now());
        let batch = self.log.numbered(vec![event.into()]).await?;
        // The version of a document that is going, and since when it is waited for.
        let mut going = (0, Instant::now());
        while began.elapsed() < PATIENCE {
            let read_at = Instant::now();
            let slot = self.kv.read::<Document>(&path).await?;
            if slot.version == 0 {
                self.kv.keep_one_version(&path).await?;
            }
            let (state, mut outbox) = match slot.document {
                Some(Document { state, outbox, .. }) => (state, outbox),
                None => (State::Removed, Vec::new()),
            };
            if let State::Going = state {
                if going.0 != slot.version {
                    going = (slot.version, read_at);
                }
                if going.1.elapsed() < GOING {
                    sleep(LOOK).await;
                    continue; // after that it would have gone long ago
                }
            }
            let before = match &state {
                State::Kept(row) => Some(row.as_ref()),
                State::Removed | State::Going => None,
            };
            outbox.push(batch.clone());
            let document = Document {
                key: key.into(),
                state: State::Kept(Box::new(row(before))),
                outbox,
                stamp: String::new(),
            };
            if self
                .write(&path, key, slot.version, document, read_at)
                .await?
            {
                return Ok(());
            }
        }
        Err(StoreError::Contended)
    }

    /// Writes a document that follows a version, and sees to its events. False when it came too late.
    async fn write(
        &self,
        path: &str,
        key: &ConnectionKey,
        follows: u64,
        mut document: Document,
        read_at: Instant,
    ) -> Result<bool, StoreError> {
        if read_at.elapsed() > FRESH {
            return Ok(false);
        }
        if document.outbox.len() > MOST_WAITING {
            return Err(StoreError::Corrupt {
                what: "audit log: it has taken no events of a connection for long",
            });
        }
        document.stamp = random_id();
        let Some(version) = self.kv.write(path, &document, follows).await? else {
            return Ok(false);
        };
        match &document.state {
            State::Kept(row) => self.overview.note(key, Some(row)),
            State::Removed | State::Going => {
                self.overview.note(key, None);
                self.removed.note(path, &document);
            }
        }
        self.deliver(path, version, document, read_at).await;
        Ok(true)
    }

    /// Copies the events of an outbox into the log and empties it. Where that does not work out they wait there: the change
    /// that they tell of is done.
    pub(super) async fn deliver(
        &self,
        path: &str,
        version: u64,
        document: Document,
        read_at: Instant,
    ) {
        if document.outbox.is_empty() {
            return;
        }
        for batch in &document.outbox {
            if let Err(error) = self.log.add(batch).await {
                warn!("events of a connection wait for the audit log: {error}");
                return;
            }
        }
        let emptied = Document {
            outbox: Vec::new(),
            stamp: random_id(),
            ..document
        };
        if read_at.elapsed() > FRESH {
            return;
        }
        match self.kv.write(path, &emptied, version).await {
            Ok(Some(_)) if !matches!(emptied.state, State::Kept(_)) => {
                self.removed.note(path, &emptied);
            }
            Ok(_) => {} // somebody else has taken them over
            Err(error) => warn!("the outbox of a connection is not emptied: {error}"),
        }
    }

    pub(super) async fn read_own_key(&self) -> Result<(u64, Option<Envelope>), StoreError> {
        let slot = self.kv.read::<OwnKey>(OWN_KEY).await?;
        let envelope = slot.document.map(|own| Envelope::from(&own.envelope));
        Ok((slot.version, envelope))
    }

    pub(super) async fn write_own_key(
        &self,
        old: Option<&Envelope>,
        new: &Envelope,
    ) -> Result<bool, StoreError> {
        let (version, there) = self.read_own_key().await?;
        if there.map(|envelope| envelope.data_key).as_ref() != old.map(|old| &old.data_key) {
            return Ok(false);
        }
        let own = OwnKey {
            envelope: new.into(),
            stamp: random_id(),
        };
        Ok(self.kv.write(OWN_KEY, &own, version).await?.is_some())
    }
}

pub(super) fn claim(row: &mut Row, claim: &Claim<'_>) -> Option<u64> {
    let is_seen = (row.version, row.fence) == (claim.version, claim.fence);
    let is_free = row.leased_until.is_none_or(|until| until <= claim.now);
    if !is_seen || !is_free || row.is_broken() {
        return None;
    }
    row.fence += 1;
    row.leased_until = Some(claim.until);
    row.spending = Some(claim.spending.to_owned());
    row.set_doubt(claim.doubt);
    Some(row.fence)
}

pub(super) fn settle(
    row: &mut Row,
    seen: Seen,
    settlement: &Settlement,
    new_version: u64,
    at: u64,
) -> Option<()> {
    if (row.version, row.fence) != (seen.version, seen.fence) {
        return None;
    }
    row.leased_until = None;
    row.spending = None;
    match settlement {
        Settlement::Refreshed { envelope, times } => {
            let contested = std::mem::take(&mut row.contested);
            let at_once = times.refresh_from.and(Some(at));
            row.version = new_version;
            row.envelope = envelope.into();
            row.expires_at = times.expires_at;
            row.refresh_from = if contested {
                at_once
            } else {
                times.refresh_from
            };
            row.refreshed_at = Some(at);
            row.set_doubt(contested.then_some(Doubt::Crash));
            row.failures = 0;
            row.retry_from = None;
            row.last_failure = None;
        }
        Settlement::Failed {
            doubt,
            failures,
            retry_from,
            kind,
        } => {
            row.set_doubt(*doubt);
            row.failures = *failures;
            row.retry_from = Some(*retry_from);
            row.last_failure = Some((*kind).to_owned());
        }
        Settlement::Broken(broken) => {
            row.version = new_version;
            row.break_off(*broken, at);
        }
    }
    Some(())
}

/// Who is at it writes its own time and clears its own doubt; `contested` is what it leaves to its commit.
pub(super) fn suspect(row: &mut Row, stored_at: u64, now: u64) -> Option<()> {
    if row.stored_at != stored_at || row.is_broken() || row.refresh_from.is_none() {
        return None;
    }
    row.contested = row.leased_until.is_some();
    if !row.contested {
        row.refresh_from = Some(now);
        row.set_doubt(Some(Doubt::Crash));
    }
    Some(())
}
