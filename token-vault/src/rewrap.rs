//! A new key-encryption key takes over while the vault goes on serving: the data keys that an earlier one wrapped are wrapped
//! anew, one row at a time, and each row is left alone when somebody changed it meanwhile. What was done is seen in the rows
//! themselves, so that a crash costs nothing but the rows that are still to be done.

use tracing::{info, warn};

use crate::{
    envelope::{Envelope, OpenError},
    kek::{KekError, KekId, KeyRing},
    refresh::Desk,
    storage::StoreError,
};

/// How many rows are looked at in one step.
const BATCH: u32 = 100;

/// Why rewrapping stopped. It goes on with the next start.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Kek(#[from] KekError),
}

/// Rewraps all that another key than the current one wrapped. How many rows were rewrapped.
///
/// # Errors
/// When the store or a key cannot be used.
pub async fn rewrap_all(desk: &Desk) -> Result<u64, RewrapError> {
    let mut done = 0;
    for kek in desk.store.kek_ids().await? {
        if kek != *desk.ring.current() {
            let rewrapped = rewrap_from(desk, &kek).await?;
            info!(
                "rewrapped {rewrapped} connections from {kek} to {}",
                desk.ring.current()
            );
            done += rewrapped;
        }
    }
    Ok(done)
}

async fn rewrap_from(desk: &Desk, kek: &KekId) -> Result<u64, RewrapError> {
    let (mut done, mut after) = (0, None);
    loop {
        let rows = desk.store.wrapped_by(kek, after.as_ref(), BATCH).await?;
        let Some(last) = rows.last() else {
            return Ok(done);
        };
        after = Some(last.key.clone());
        for row in &rows {
            match rewrapped(&desk.ring, &row.envelope, &row.key.identity()).await {
                Ok(new) => {
                    done += u64::from(desk.store.rewrap(&row.key, &row.envelope, &new).await?);
                }
                Err(OpenError::Kek(error)) => return Err(error.into()),
                Err(OpenError::Mismatch) => {
                    warn!(
                        "a row of {} does not hold what was sealed for it: left as it is",
                        row.key.service
                    );
                }
            }
        }
    }
}

/// The same envelope with its data key wrapped by the current key. What is sealed is not touched.
pub(crate) async fn rewrapped(
    ring: &KeyRing,
    envelope: &Envelope,
    place: &[u8],
) -> Result<Envelope, OpenError> {
    let key = ring
        .unwrap(&envelope.kek, &envelope.data_key, place)
        .await?;
    Ok(Envelope {
        kek: ring.current().clone(),
        data_key: ring.wrap(&key, place).await?,
        sealed: envelope.sealed.clone(),
    })
}
