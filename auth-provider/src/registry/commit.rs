//! From a wish to a change that is in the store: who may, what the answer is, and what to do when somebody else was
//! faster.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::{ScopeSet, trace};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Version,
    change::{Change, Committed, Concerned, Remembered, concerned},
};
use crate::{
    audit::{Action, Event, Origin},
    built_in::AUDIENCE,
    client::{ClientId, SecretHash},
    directory::Directory,
    journal::Behind,
    metrics::Operation,
    resource::ResourceId,
    server::AuthServer,
    storage::StoreError,
};

/// How often a change is tried again that somebody else was faster than.
const ATTEMPTS: usize = 20;

/// How long the answer of a creation is kept for who asks again, in seconds.
const REMEMBERED_FOR: u64 = 24 * 3600;

/// A build that answers before it commits, to see that `scripts/chaos self-test` finds it out. Nobody else sets this.
pub(crate) const ANSWERS_BEFORE_COMMIT: bool = option_env!("CHAOS_ANSWERS_BEFORE_COMMIT").is_some();

const _: () = assert!(
    cfg!(debug_assertions) || !ANSWERS_BEFORE_COMMIT,
    "CHAOS_ANSWERS_BEFORE_COMMIT makes a server that loses what it acknowledged: no release is built so"
);

/// How long such a build gathers changes before it commits them.
const HELD_BACK: Duration = Duration::from_millis(100);

/// Who administers: an origin, and the scopes of the token that it came with.
pub struct Admin {
    pub origin: Origin,
    pub scopes: ScopeSet,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What is asked for is not there, or what it names.
    #[error("{why}")]
    NotFound {
        field: Option<&'static str>,
        why: String,
    },
    /// It does not go together with what is there.
    #[error("{why}")]
    Conflict {
        field: Option<&'static str>,
        why: String,
    },
    /// It is too much, in a way that no single value shows.
    #[error("{why}")]
    TooMuch { field: &'static str, why: String },
    /// The version that the caller knows is not the last one.
    #[error(
        "If-Match is not the ETag of what is there: it was changed since you read it. Read it again, and send the ETag \
         that you are given, in its quotes"
    )]
    Changed,
    #[error("{0}")]
    Forbidden(String),
    /// Another request came with the same idempotency key.
    #[error("this Idempotency-Key was used for another request: take a new one")]
    KeyReused,
    #[error("others change the same thing all the time: try again in a moment")]
    Busy,
    #[error("the store did not answer")]
    Store(#[from] StoreError),
    #[error("the audit log did not answer")]
    Journal(#[from] Behind),
    #[error("what was kept for this Idempotency-Key cannot be opened")]
    Sealed,
}

impl Refusal {
    pub fn not_found(why: impl Into<String>) -> Self {
        Self::NotFound {
            field: None,
            why: why.into(),
        }
    }

    pub fn unknown(field: &'static str, why: impl Into<String>) -> Self {
        Self::NotFound {
            field: Some(field),
            why: why.into(),
        }
    }

    pub fn conflict(why: impl Into<String>) -> Self {
        Self::Conflict {
            field: None,
            why: why.into(),
        }
    }

    pub fn does_not_fit(field: &'static str, why: impl Into<String>) -> Self {
        Self::Conflict {
            field: Some(field),
            why: why.into(),
        }
    }
}

/// Which versions a caller is content to change (RFC 9110 section 13.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    #[default]
    Any,
    OneOf(Vec<Version>),
}

impl Expected {
    /// # Errors
    /// [`Refusal::Changed`] when `version` is not among them.
    pub fn check(&self, version: &Version) -> Result<(), Refusal> {
        match self {
            Self::Any => Ok(()),
            Self::OneOf(versions) if versions.contains(version) => Ok(()),
            Self::OneOf(_) => Err(Refusal::Changed),
        }
    }
}

impl Admin {
    /// Nobody hands out rights over this server that he does not hold: else the right to make secrets would be the right
    /// to everything. Nor does he take them away: he could give the client a secret of his own then, and wait until the
    /// policy file gives the rights back. Who tries is noted.
    ///
    /// # Errors
    /// When one of `rights` is not the administrator's own.
    pub async fn must_hold(&self, server: &AuthServer, rights: &ScopeSet) -> Result<(), Refusal> {
        if rights.is_subset(&self.scopes) {
            return Ok(());
        }
        let missing: Vec<&str> = rights
            .iter()
            .filter(|right| !self.scopes.contains(right))
            .collect();
        let why = format!(
            "this is about rights over this server that your token does not have: {}",
            missing.join(" ")
        );
        let (now, origin) = (server.clock.now(), &self.origin);
        let event = Event::refused(Action::AdminRefused, now, origin, "rights_not_held", &*why);
        server.journal.note(event).await?;
        Err(Refusal::Forbidden(why))
    }

    /// The same for whoever gets hold of the client.
    ///
    /// # Errors
    /// As [`must_hold`](Self::must_hold), or when the store does not answer.
    pub async fn must_equal(&self, server: &AuthServer, client: &ClientId) -> Result<(), Refusal> {
        let own = ResourceId::parse(AUDIENCE).expect("this is a resource's name");
        match server.store.grant(client, &own).await? {
            None => Ok(()),
            Some(arrow) => self.must_hold(server, &arrow.terms.scopes).await,
        }
    }
}

/// A change that was thought through, with the events that tell of it and the answer to who asked for it.
pub struct Draft<T> {
    pub changes: Vec<Change>,
    pub events: Vec<Event>,
    pub answer: T,
}

impl Draft<()> {
    /// Nothing is to be changed.
    pub fn nothing() -> Self {
        Self {
            changes: vec![],
            events: vec![],
            answer: (),
        }
    }

    /// The same with an answer.
    pub fn answering<T>(self, answer: T) -> Draft<T> {
        Draft {
            changes: self.changes,
            events: self.events,
            answer,
        }
    }
}

/// Makes the change that `draft` finds right. When somebody else was faster, it looks again.
///
/// # Errors
/// The draft's, or that the store does not answer.
pub async fn change<T>(
    server: &AuthServer,
    draft: impl AsyncFn() -> Result<Draft<T>, Refusal>,
) -> Result<T, Refusal> {
    let mut turn = None;
    for _ in 0..ATTEMPTS {
        let Draft {
            changes,
            events,
            answer,
        } = draft().await?;
        if changes.is_empty() {
            return Ok(answer);
        }
        let revokes = changes.iter().any(Change::revokes);
        if commit(server, changes, events).await? == Committed::Done {
            if revokes {
                server.revocations.catch_up(server.store.as_ref()).await?;
            }
            return Ok(answer);
        }
        // Those who were not fast enough go on one by one: all at once, most would lose again and again.
        if turn.is_none() {
            turn = Some(server.second_tries.lock().await);
        }
    }
    Err(Refusal::Busy)
}

/// Commits a change and has this server forget what it knew before: the change counts from now on. Other servers hear
/// of it within a second.
///
/// A task of its own does it, and ends also when who asked hangs up in between: what is not forgotten would be believed
/// for ever.
async fn commit(
    server: &AuthServer,
    changes: Vec<Change>,
    events: Vec<Event>,
) -> Result<Committed, StoreError> {
    let (store, directory) = (Arc::clone(&server.store), Arc::clone(&server.directory));
    let metrics = Arc::clone(&server.metrics);
    let committed = tokio::spawn(trace::carry(async move {
        if ANSWERS_BEFORE_COMMIT {
            tokio::time::sleep(HELD_BACK).await;
        }
        let outcome = metrics
            .timed(Operation::Change, store.commit(&changes, &events))
            .await;
        // After an error nobody knows whether it was committed.
        if !matches!(outcome, Ok(Committed::Conflict(_))) {
            forget(&directory, &changes);
        }
        if let Ok(Committed::Done) = outcome {
            metrics.count(&events);
        }
        outcome
    }));
    if ANSWERS_BEFORE_COMMIT {
        return Ok(Committed::Done);
    }
    committed.await.expect("nothing of it panics")
}

/// Forgets every client whose record changes.
fn forget(directory: &Directory, changes: &[Change]) {
    let Concerned { clients, resources } = concerned(changes);
    for client in clients {
        directory.forget(client);
    }
    if !resources.is_empty() {
        directory.forget_resources(&resources);
    }
}

/// What a creation answers: a place, a version where there is one, and the thing itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Created {
    pub location: String,
    pub version: Option<String>,
    pub body: Value,
}

/// A request that may come again because its answer was lost.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// Of who asks and the key.
    pub key: SecretHash,
    /// Of everything that is asked.
    pub request: SecretHash,
}

impl Idempotency {
    /// `what` is method and path. The key is the caller's own: what another administrator sends with the same text is
    /// another matter.
    pub fn of(admin: &Admin, key: &str, what: &str, body: &[u8]) -> Self {
        let client = admin.origin.actor.as_ref().map_or("", ClientId::as_str);
        Self {
            key: SecretHash::of(&format!("{client}\n{key}")),
            request: SecretHash::of_bytes(&[what.as_bytes(), b"\n", body].concat()),
        }
    }
}

/// As [`change`]; the same request with the same key gets the same answer, and nothing is made twice.
///
/// # Errors
/// As [`change`], and [`Refusal::KeyReused`] for another request with the same key.
pub async fn create(
    server: &AuthServer,
    idempotency: Option<&Idempotency>,
    draft: impl AsyncFn() -> Result<Draft<Created>, Refusal>,
) -> Result<Created, Refusal> {
    let Some(idempotency) = idempotency else {
        return change(server, draft).await;
    };
    let now = server.clock.now();
    change(server, async || {
        if let Some((request, sealed)) = server.store.remembered(&idempotency.key, now).await? {
            if !request.matches(&idempotency.request) {
                return Err(Refusal::KeyReused);
            }
            let open = server.master.open(&sealed, &place(idempotency));
            let answer = serde_json::from_slice(&open.map_err(|_| Refusal::Sealed)?);
            return Ok(Draft {
                changes: vec![],
                events: vec![],
                answer: answer.map_err(|_| Refusal::Sealed)?,
            });
        }
        let mut draft = draft().await?;
        let answer = serde_json::to_vec(&draft.answer).expect("an answer is JSON");
        draft.changes.push(Change::Remember(Remembered {
            key: idempotency.key,
            request: idempotency.request,
            answer: server.master.seal(&answer, &place(idempotency)),
            until: now + REMEMBERED_FOR,
            at: now,
        }));
        Ok(draft)
    })
    .await
}

/// Where a sealed answer belongs: one that was moved to another key does not open.
fn place(idempotency: &Idempotency) -> String {
    let key = URL_SAFE_NO_PAD.encode(idempotency.key.as_bytes());
    format!("remembered answer {key}")
}
