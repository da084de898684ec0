//! Credentials that end soon: said in the log before the calls of their clients fail, once for each credential and each
//! threshold.
//!
//! What was told is kept in memory only: a server that starts anew tells what it finds.

use std::collections::HashMap;

use tokio::sync::Mutex;
use tracing::warn;

use crate::{
    client::{ClientId, CredentialId},
    registry::Ending,
    server::AuthServer,
    storage::StoreError,
};

const DAY: u64 = 24 * 3600;

/// When it is told again, in seconds before the end.
const CLOSER: [u64; 2] = [DAY, 7 * DAY];

/// What had ended for longer than this when it was looked for the first time is old news, in seconds.
const NEWS: u64 = DAY;

/// How many lines one look writes.
const LINES: usize = 1000;

/// How many credentials one look reads, the first to end first, of those that end and of those that have ended.
const READ: usize = 10_000;

/// Looks out for credentials that end.
pub struct Watch {
    /// How long before the end it is told for the first time, in seconds.
    warning: u64,
    /// The end and the threshold that were told last. Held while one look goes on, so that nothing is told twice.
    told: Mutex<HashMap<CredentialId, (u64, u64)>>,
}

/// A credential that ends soon or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub client: ClientId,
    pub credential: CredentialId,
    /// In seconds since the epoch.
    pub ends_at: u64,
    /// Whole days, rounded down; `None` when it has ended.
    pub days_left: Option<u64>,
}

/// What one look told.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub warnings: Vec<Warning>,
    /// How many more there are to be told by the next looks.
    pub untold: usize,
}

impl Watch {
    /// `warning` is how long before its end a credential is told of, in seconds.
    pub fn new(warning: u64) -> Self {
        Self {
            warning,
            told: Mutex::default(),
        }
    }

    /// The threshold that a credential has come to which ends at `end`; 0 is the end itself.
    fn threshold(&self, end: u64, now: u64) -> u64 {
        let left = end.saturating_sub(now);
        if left == 0 {
            return 0;
        }
        let closer = CLOSER.into_iter().find(|closer| left <= *closer);
        closer.map_or(self.warning, |closer| closer.min(self.warning))
    }
}

/// Looks once: writes a line to the log for each credential that has come to another threshold since, and takes the
/// census for the metrics.
///
/// # Errors
/// When the store does not answer.
pub async fn look(server: &AuthServer) -> Result<Told, StoreError> {
    let (watch, now) = (&server.endings, server.clock.now());
    let mut told = watch.told.lock().await;
    count(server).await?;
    let soon = now.saturating_add(watch.warning);
    let ended = now.saturating_sub(NEWS) + 1..now + 1;
    let ending = now + 1..soon.saturating_add(1);
    let mut found = server.store.ending_credentials(ending, READ).await?;
    found.extend(server.store.ending_credentials(ended, READ).await?);

    let (mut warnings, mut untold) = (Vec::new(), 0);
    let mut known = HashMap::with_capacity(found.len());
    for Ending {
        client,
        credential,
        at,
    } in found
    {
        let news = (at, watch.threshold(at, now));
        if told.get(&credential) == Some(&news) {
            known.insert(credential, news);
        } else if warnings.len() == LINES {
            untold += 1;
        } else {
            known.insert(credential, news);
            warnings.push(Warning {
                client,
                credential,
                ends_at: at,
                days_left: (at > now).then(|| (at - now) / DAY),
            });
        }
    }
    *told = known;
    for warning in &warnings {
        warning.log();
    }
    if untold > 0 {
        warn!(
            credentials = untold,
            "more credentials end soon or have ended: the next look tells of them"
        );
    }
    Ok(Told { warnings, untold })
}

/// Takes the census for the metrics, where another server tells of what ends.
///
/// # Errors
/// When the store does not answer.
pub async fn count(server: &AuthServer) -> Result<(), StoreError> {
    let now = server.clock.now();
    let soon = now.saturating_add(server.endings.warning);
    server.metrics.found(&server.store.census(now, soon).await?);
    Ok(())
}

impl Warning {
    fn log(&self) {
        let (client, credential) = (self.client.as_str(), self.credential.as_str());
        let ends_at = self.ends_at;
        match self.days_left {
            None => warn!(
                client,
                credential, ends_at, "a credential has ended: remove it"
            ),
            Some(days_left) => warn!(
                client,
                credential, ends_at, days_left, "a credential ends soon: rotate it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_come_one_after_the_other() {
        let watch = Watch::new(14 * DAY);
        for (left, threshold) in [
            (14 * DAY, 14 * DAY),
            (7 * DAY + 1, 14 * DAY),
            (7 * DAY, 7 * DAY),
            (DAY + 1, 7 * DAY),
            (DAY, DAY),
            (1, DAY),
            (0, 0),
        ] {
            assert_eq!(watch.threshold(1000 + left, 1000), threshold, "{left}");
        }
        assert_eq!(watch.threshold(900, 1000), 0);
        assert_eq!(Watch::new(DAY / 2).threshold(1001, 1000), DAY / 2);
        assert_eq!(Watch::new(3 * DAY).threshold(1000 + 2 * DAY, 1000), 3 * DAY);
    }
}
