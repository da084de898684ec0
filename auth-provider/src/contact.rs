//! Whether the database answers, as every part of this server sees it, and how long it goes on without.
//!
//! One watcher ([`crate::background`]) asks twice a second and says here what came of it. Everybody else looks here, so that
//! nobody waits for a database that is known to be away, and all agree on when the grace is over.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// What a server has in memory is believed without another look for so long after it was last known to be what the
/// database has. It is how soon another server's change counts, at the latest.
pub const IN_STEP: Duration = Duration::from_secs(1);

/// How this server stands to its database.
#[derive(Debug)]
pub struct Contact {
    /// `None`: the database is part of this program.
    server: Option<Remote>,
}

#[derive(Debug)]
struct Remote {
    grace: Duration,
    /// The moment whose changes are all in memory. Held for an assignment only.
    in_step: Mutex<Instant>,
    away: watch::Sender<bool>,
}

impl Contact {
    /// With a database that belongs to this process. It is never away, and never knows more than this process does.
    pub fn embedded() -> Self {
        Self { server: None }
    }

    /// With a database server that others use as well. When it is away, this server goes on for `grace` with what it has
    /// in memory.
    pub fn with_server(grace: Duration) -> Self {
        let server = Remote {
            grace,
            in_step: Mutex::new(Instant::now()),
            away: watch::Sender::new(false),
        };
        Self {
            server: Some(server),
        }
    }

    /// The database answers.
    pub fn found(&self) {
        if let Some(server) = &self.server {
            server.away.send_if_modified(std::mem::take);
        }
    }

    /// It does not. True when that is news.
    pub fn lost(&self) -> bool {
        self.server.as_ref().is_some_and(|server| {
            server
                .away
                .send_if_modified(|away| !std::mem::replace(away, true))
        })
    }

    /// All that others had changed at `moment` is in memory.
    pub fn in_step_with(&self, moment: Instant) {
        if let Some(server) = &self.server {
            *server.lock() = moment;
        }
    }

    /// Whether the database is known not to answer.
    pub fn is_away(&self) -> bool {
        self.server
            .as_ref()
            .is_some_and(|server| *server.away.borrow())
    }

    /// Waits until the database is known not to answer.
    pub async fn until_lost(&self) {
        match &self.server {
            None => std::future::pending().await,
            Some(server) => {
                let mut away = server.away.subscribe();
                // It fails when there is no sender, and this is one.
                let _ = away.wait_for(|away| *away).await;
            }
        }
    }

    /// Whether memory has what the database had a moment ago.
    pub fn is_in_step(&self) -> bool {
        self.behind().is_none_or(|behind| behind < IN_STEP)
    }

    /// Whether what is in memory may be relied on: the database answers, or it has not been away for longer than the
    /// grace.
    pub fn goes_on(&self) -> bool {
        !self.is_away() || self.has_grace()
    }

    /// How long this server goes on without its database, at the longest.
    pub fn grace(&self) -> Duration {
        self.server
            .as_ref()
            .map_or(Duration::ZERO, |server| server.grace)
    }

    /// Whether the grace is running, or would be if the database were away.
    pub fn has_grace(&self) -> bool {
        match (&self.server, self.behind()) {
            (Some(server), Some(behind)) => behind < server.grace,
            _ => false,
        }
    }

    /// In which state the database is, for people: `Ok` as long as this server does its work.
    ///
    /// # Errors
    /// When it does not any more.
    pub fn state(&self) -> Result<String, String> {
        let (Some(server), true) = (&self.server, self.is_away()) else {
            return Ok("ok".to_owned());
        };
        let behind = self.behind().unwrap_or_default();
        let seconds = behind.as_secs();
        match server.grace.checked_sub(behind) {
            Some(rest) if !rest.is_zero() => Ok(format!(
                "away for {seconds} s: tokens are issued from memory for another {} s",
                rest.as_secs()
            )),
            _ => Err(format!("the database has been away for {seconds} s")),
        }
    }

    /// How long ago memory had all that the database has.
    pub fn behind(&self) -> Option<Duration> {
        self.server.as_ref().map(|server| server.lock().elapsed())
    }
}

impl Remote {
    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        // An instant is whole whatever its holder did.
        self.in_step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_seen(contact: &Contact, ago: u64) {
        contact.in_step_with(
            Instant::now()
                .checked_sub(Duration::from_secs(ago))
                .unwrap(),
        );
    }

    #[test]
    fn an_embedded_database_is_always_there() {
        let contact = Contact::embedded();
        last_seen(&contact, 100);
        assert!(!contact.lost());
        assert!(!contact.is_away() && contact.is_in_step() && contact.goes_on());
        assert!(!contact.has_grace(), "nothing is taken on trust");
        assert_eq!(contact.state(), Ok("ok".to_owned()));
    }

    #[tokio::test]
    async fn the_grace_begins_with_the_last_look_and_ends() {
        let contact = Contact::with_server(Duration::from_mins(1));
        assert!(contact.is_in_step());
        last_seen(&contact, 2);
        assert!(!contact.is_in_step() && contact.goes_on());
        assert!(contact.lost() && !contact.lost(), "it is news once");
        contact.until_lost().await;
        assert!(contact.goes_on());
        let state = contact.state().unwrap();
        assert!(state.contains("away for 2 s"), "{state}");
        last_seen(&contact, 61);
        assert!(!contact.goes_on() && contact.state().is_err());
        contact.found();
        last_seen(&contact, 0);
        assert!(contact.is_in_step() && contact.goes_on() && !contact.is_away());
    }

    #[test]
    fn without_a_grace_nothing_goes_on() {
        let contact = Contact::with_server(Duration::ZERO);
        assert!(contact.goes_on());
        contact.lost();
        assert!(!contact.goes_on() && !contact.has_grace());
    }
}
