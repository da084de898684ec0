//! How a removed connection goes.
//!
//! KV removes a path without asking what stands there by now, and counts the versions of what comes after it from 1 again. Two
//! things must not happen: that a removal that comes late takes with it what was stored since, and that a writer who read the
//! document before the removal writes over the new one because its version is the same. So it goes in steps:
//!
//! 1. The document is replaced by one without a row. Only one version is ever kept, so that what was sealed is gone from the
//!    server with this write. New tokens may be stored over it at once, as the next version.
//! 2. A while later, when everybody who read what was there before has given up, it is marked as going. From then on nobody
//!    writes there.
//! 3. At once after that the path is destroyed, with the names in it: not, if there was no time to send that in. Whoever wants
//!    to store there waits until it is gone, or until the removal would have arrived long ago.
//!
//! No clocks are compared: each side measures how long it has itself waited since it last heard from the server.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use super::{
    HashicorpStore,
    document::{Document, State},
};
use crate::{random::random_id, storage::StoreError};

/// How old what was read may be when it is written upon.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// Between the first step and the second: longer than [`FRESH`] and a request take together, by far.
pub(super) const MOURNING: Duration = Duration::from_mins(1);

/// Between the second step and the third, at most.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How long a document that is going stands in the way: longer than [`AT_ONCE`], a request, and the logins on the way take
/// together.
pub(super) const GOING: Duration = Duration::from_secs(45);

/// The paths of what was removed: the document there, by its stamp, and since when it is known.
#[derive(Default)]
pub(super) struct Removed(Mutex<HashMap<String, (String, Instant)>>);

impl Removed {
    pub(super) fn note(&self, path: &str, document: &Document) {
        let mut removed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = &document.stamp;
        if removed.get(path).is_none_or(|(known, _)| known != stamp) {
            removed.insert(path.to_owned(), (stamp.clone(), Instant::now()));
        }
    }

    /// Takes out what was removed long enough ago.
    fn take(&self, mourning: Duration) -> Vec<(String, String)> {
        let mut removed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let past = removed.extract_if(|_, (_, since)| since.elapsed() >= mourning);
        past.map(|(path, (stamp, _))| (path, stamp)).collect()
    }
}

impl HashicorpStore {
    /// The second and third step for all that is ready for them.
    pub(super) async fn bury(&self) -> Result<(), StoreError> {
        let mut buried = Ok(());
        for (path, stamp) in self.removed.take(self.mourning) {
            // What fails is found again by the next walk.
            if let Err(error) = self.bury_one(&path, &stamp).await {
                buried = Err(error);
            }
        }
        buried
    }

    async fn bury_one(&self, path: &str, stamp: &str) -> Result<(), StoreError> {
        let slot = self.kv.read::<Document>(path).await?;
        let Some(document) = slot.document.filter(|document| document.stamp == stamp) else {
            return Ok(()); // stored anew, or gone
        };
        for batch in &document.outbox {
            self.log.add(batch).await?;
        }
        let began = Instant::now();
        let going = Document {
            state: State::Going,
            outbox: Vec::new(),
            stamp: random_id(),
            ..document
        };
        if self.kv.write(path, &going, slot.version).await?.is_none() {
            return Ok(());
        }
        if began.elapsed() < AT_ONCE {
            self.kv.destroy(path).await
        } else {
            warn!("a removed connection is destroyed later: the Vault server is slow");
            self.removed.note(path, &going);
            Ok(())
        }
    }
}
