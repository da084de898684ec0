//! The ids of signed requests, in a folder for each hour in which they end.
//!
//! Nobody adds to a folder whose hour is over, so that it can be cleared without a look at what is in it.

use serde::{Deserialize, Serialize};

use super::{HashicorpStore, names::hex};
use crate::{random::random_id, storage::StoreError};

const ROOT: &str = "requests";

/// In milliseconds.
const HOUR: u64 = 3600 * 1000;

/// How many are removed in one step.
const MOST_FORGOTTEN: usize = 500;

#[derive(Serialize, Deserialize)]
struct Request {
    until: u64,
    stamp: String,
}

fn folder(hour: u64) -> String {
    format!("{ROOT}/{hour:012}")
}

impl HashicorpStore {
    /// Creates the id's document, or takes over one that has ended. Another request with the same id may end in the hour
    /// before or after: that one is looked for as well, after the own one was written, so that of two that come at once not
    /// both are taken.
    pub(super) async fn remember_request(
        &self,
        id_hash: &[u8],
        now: u64,
        until: u64,
    ) -> Result<bool, StoreError> {
        let name = hex(id_hash);
        let own = format!("{}/{name}", folder(until / HOUR));
        let mut seen = 0;
        loop {
            let request = Request {
                until,
                stamp: random_id(),
            };
            if self.kv.write(&own, &request, seen).await?.is_some() {
                break;
            }
            let there = self.kv.read::<Request>(&own).await?;
            if there.document.is_some_and(|there| there.until > now) {
                return Ok(false);
            }
            seen = there.version;
        }
        for hour in [now / HOUR, now / HOUR + 1] {
            if hour != until / HOUR {
                let path = format!("{}/{name}", folder(hour));
                let there = self.kv.read::<Request>(&path).await?.document;
                if there.is_some_and(|there| there.until > now) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Removes what ended more than an hour ago. True when there may be more.
    pub(super) async fn forget_requests(&self, now: u64) -> Result<bool, StoreError> {
        let mut forgotten = 0;
        for hour in self.kv.list(ROOT).await? {
            let hour = hour.trim_end_matches('/');
            if hour.parse().is_ok_and(|hour: u64| hour + 1 < now / HOUR) {
                let folder = format!("{ROOT}/{hour}");
                for name in self.kv.list(&folder).await? {
                    self.kv.destroy(&format!("{folder}/{name}")).await?;
                    forgotten += 1;
                    if forgotten == MOST_FORGOTTEN {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}
