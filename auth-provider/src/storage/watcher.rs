//! The one connection that is not for requests: by it this server notices what others changed, and whether the database
//! answers at all.
//!
//! `LISTEN` makes it quick, and nothing depends on it: what is asked for twice a second are the numbers up to which
//! there is something to know. A notification only makes the next question come at once. So nothing is missed while the
//! connection is made anew, nor behind a pooler that does not pass notifications on.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::{StoreError, replicas::CHANNEL, rows::time};
use crate::contact::Contact;

/// How often it is asked what there is to know.
const TICK: Duration = Duration::from_millis(500);

/// A database that does not answer for so long is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause before the next attempt to reach a database that is away.
const PAUSE: Duration = Duration::from_millis(250);

/// How far there is something to know. What is larger, or another, than what a server has seen, is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The last revocation.
    pub revocations: u64,
    /// The last change of a client or a resource.
    pub registry: u64,
    /// Stands for all of the keys' records: it is another number when one of them changed.
    pub keys: i64,
    /// When it was asked: all that was there then is covered.
    pub at: Instant,
}

const MARKS: &str = "
    SELECT (SELECT COALESCE(MAX(number), 0) FROM revocation) AS revocations,
           (SELECT COALESCE(MAX(number), 0) FROM registry_change) AS registry,
           (SELECT COALESCE(hashtextextended(string_agg(
                concat_ws(' ', kid, signs_from, announce_time, retire_time, compromised_at),
                ',' ORDER BY kid), 0), 0) FROM signing_key) AS keys";

/// Watches over the database.
pub struct Watcher {
    options: PgConnectOptions,
    contact: Arc<Contact>,
    listener: Option<PgListener>,
    next: Instant,
}

impl Watcher {
    pub(super) fn new(options: PgConnectOptions, contact: Arc<Contact>) -> Self {
        Self {
            options,
            contact,
            listener: None,
            next: Instant::now(),
        }
    }

    /// Waits for the next marks: half a second, until somebody notifies, or as long as the database is away.
    pub async fn marks(&mut self) -> Marks {
        loop {
            if self.heard().await.is_err() {
                self.listener = None; // it is made anew at once: what fails then is the database
            }
            let at = Instant::now();
            self.next = at + TICK;
            match timeout(PATIENCE, self.ask(at)).await {
                Ok(Ok(marks)) => {
                    if self.contact.is_away() {
                        info!("the database is back");
                    }
                    self.contact.found();
                    return marks;
                }
                Ok(Err(error)) => self.lost(error),
                Err(_) => self.lost(StoreError::NoAnswer),
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits for the next look, or until somebody notifies.
    async fn heard(&mut self) -> Result<(), sqlx::Error> {
        let Some(listener) = &mut self.listener else {
            return Ok(());
        };
        match timeout_at(self.next, listener.try_recv()).await {
            Err(_) => Ok(()),
            Ok(Ok(Some(_))) => {
                while listener.next_buffered().is_some() {} // one look is for all of them
                Ok(())
            }
            Ok(Ok(None)) => Err(sqlx::Error::WorkerCrashed),
            Ok(Err(error)) => Err(error),
        }
    }

    async fn ask(&mut self, at: Instant) -> Result<Marks, StoreError> {
        if self.listener.is_none() {
            self.listener = Some(self.listen().await?);
        }
        let Some(listener) = &mut self.listener else {
            return Err(StoreError::NoAnswer); // it was made a moment ago
        };
        let row = sqlx::query(MARKS).fetch_one(listener).await;
        if row.is_err() {
            self.listener = None;
        }
        let row = row?;
        Ok(Marks {
            revocations: time(&row, "revocations")?,
            registry: time(&row, "registry")?,
            keys: row.try_get("keys")?,
            at,
        })
    }

    /// A connection of its own: those of the pool may all be in use, or broken.
    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        // The pool would try for seconds, and then say only that it took too long.
        self.options.connect().await?.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        // A lost connection is to be noticed, not replaced in silence.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }

    fn lost(&mut self, error: StoreError) {
        self.listener = None;
        if self.contact.lost() {
            warn!("the database is away: {:#}", anyhow::Error::from(error));
        }
    }
}
