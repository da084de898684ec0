//! Credentials: made, rotated without an outage, removed.

use m2m::service::given;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    CredentialInfo, Credentials,
    change::{Change, CredentialTerms, NewCredential},
    clients,
    commit::{Admin, Created, Draft, Idempotency, Refusal, change, create},
    values::{Grace, Label, Patch, Sha256, Time},
    views::CredentialView,
};
use crate::{
    audit::{Action, Event},
    built_in::ADMIN,
    client::{ClientId, CredentialId, CredentialKind, Secret, SecretHash},
    revocation::{Revoked, of_unknown_credential},
    server::AuthServer,
};

/// How many credentials a client may have.
const MOST: usize = 1000;

const DAY: u64 = 24 * 3600;

/// How long a bootstrap token lives where nothing else is said, in seconds.
const BOOTSTRAP_LIFE: u64 = 30 * DAY;

/// How long it may live at the most from the moment in which somebody says so, in seconds.
const LONGEST_BOOTSTRAP: u64 = 365 * DAY;

/// What a new credential is to be. All of it can be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialWish {
    kind: CredentialKind,
    #[serde(deserialize_with = "given")]
    label: Option<Label>,
    #[serde(deserialize_with = "given")]
    expires_at: Option<Time>,
    /// Of a bearer that was made elsewhere, and is to go on as a bootstrap token.
    #[serde(deserialize_with = "given")]
    secret_sha256: Option<Sha256>,
}

/// What the credential is to be that takes the place of another. All of it can be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplacementWish {
    #[serde(deserialize_with = "given")]
    label: Option<Label>,
    #[serde(deserialize_with = "given")]
    expires_at: Option<Time>,
}

/// What is to be different. What is left out stays; an end that is null is taken away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialChange {
    #[serde(deserialize_with = "given")]
    label: Option<Label>,
    expires_at: Patch<Time>,
}

/// How a credential is to be replaced in one step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    grace: Grace,
    #[serde(deserialize_with = "given")]
    label: Option<Label>,
}

impl CredentialInfo {
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    fn terms(&self) -> CredentialTerms {
        CredentialTerms {
            label: self.label.clone(),
            expires_at: self.expires_at,
            replaces: self.replaces,
        }
    }
}

/// All credentials of a client, with what is known of their uses up to now.
///
/// # Errors
/// When there is no such client.
pub async fn list(server: &AuthServer, client: &str) -> Result<(ClientId, Credentials), Refusal> {
    let client = clients::read(server, client).await?.id;
    server.journal.settle().await?;
    let credentials = server.store.credentials(&client).await?;
    Ok((client, credentials))
}

/// One credential among the client's.
fn find<'a>(among: &'a Credentials, id: &str) -> Result<&'a CredentialInfo, Refusal> {
    let found = among
        .all
        .iter()
        .find(|credential| credential.id.as_str() == id);
    found.ok_or_else(|| {
        Refusal::not_found("the client has no credential with this id: list its credentials")
    })
}

/// The same, if it can be rotated.
fn rotating<'a>(among: &'a Credentials, id: &str) -> Result<&'a CredentialInfo, Refusal> {
    let found = find(among, id)?;
    if found.kind == CredentialKind::Secret {
        return Ok(found);
    }
    let why = "a bootstrap token is not rotated: create another one, and delete this one";
    Err(Refusal::conflict(why))
}

/// One credential, as the API shows it.
///
/// # Errors
/// When there is no such client or credential.
pub async fn show(server: &AuthServer, client: &str, id: &str) -> Result<Value, Refusal> {
    let (_, all) = list(server, client).await?;
    let view = CredentialView::of(find(&all, id)?, &all, server.clock.now());
    Ok(json!(view))
}

/// What the credentials look like after a change that was just decided.
fn shown(credential: &CredentialInfo, among: &Credentials, now: u64) -> Value {
    json!(CredentialView::of(credential, among, now))
}

/// Gives the client one more credential: a secret, a bootstrap token, or one of another system that goes on as such.
///
/// # Errors
/// When there is no such client, it may more than the administrator, or a bootstrap token would live too long.
pub async fn add(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    wish: CredentialWish,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    create(server, idempotency, async || {
        let (id, all) = list(server, client).await?;
        let wish = wish.clone();
        let end = check(server, &id, &wish).await?;
        let made = Made::new(server, admin, &id, &all, wish.kind).await?;
        let made = match wish.secret_sha256 {
            Some(Sha256(hash)) => made.imported(hash),
            None => made,
        };
        Ok(made
            .with(wish.label.map_or_else(String::new, String::from), end)
            .draft(server, admin, Action::CredentialCreated))
    })
    .await
}

/// What no single value shows; and when the credential ends.
async fn check(
    server: &AuthServer,
    client: &ClientId,
    wish: &CredentialWish,
) -> Result<Option<Time>, Refusal> {
    let now = server.clock.now();
    if let CredentialKind::Secret = wish.kind {
        if wish.secret_sha256.is_some() {
            let why = "only a bootstrap token can come from elsewhere: add \"kind\": \"bootstrap\"";
            return Err(Refusal::does_not_fit("secret_sha256", why));
        }
        return Ok(wish.expires_at);
    }
    if client.as_str() == ADMIN {
        let why = "the administrator gets no token that is good by itself: use its secret";
        return Err(Refusal::does_not_fit("kind", why));
    }
    let Some(Sha256(hash)) = &wish.secret_sha256 else {
        let end = wish.expires_at.unwrap_or(Time(now + BOOTSTRAP_LIFE));
        return must_end(Some(end), now);
    };
    if server.store.bearer(hash).await?.is_some() {
        let why = "there is a credential with this secret already: delete that one first";
        return Err(Refusal::does_not_fit("secret_sha256", why));
    }
    must_end(wish.expires_at, now)
}

/// A bearer that lies about for years is found by somebody.
fn must_end(end: Option<Time>, now: u64) -> Result<Option<Time>, Refusal> {
    if end.is_some_and(|end| end.0 <= now + LONGEST_BOOTSTRAP) {
        return Ok(end);
    }
    let why = "a bootstrap token ends within a year: say when";
    Err(Refusal::does_not_fit("expires_at", why))
}

/// Replaces a credential in one step: a new one is made, and the old one ends after the grace.
///
/// # Errors
/// As [`add`], and when there is no such credential.
pub async fn rotate(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    old: &str,
    wish: Rotation,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    create(server, idempotency, async || {
        let (id, all) = list(server, client).await?;
        let old = rotating(&all, old)?;
        let made = Made::new(server, admin, &id, &all, CredentialKind::Secret).await?;
        let label = wish
            .label
            .clone()
            .map_or_else(|| old.label.clone(), String::from);
        let end = server.clock.now() + wish.grace.0;
        let end = old.expires_at.map_or(end, |earlier| earlier.min(end));
        let mut draft = made
            .with(label, None)
            .draft(server, admin, Action::CredentialRotated);
        draft.events[0] = draft.events[0].clone().explained(format!(
            "It takes the place of {}, which ends at {end}",
            old.id.as_str()
        ));
        let ending = CredentialInfo {
            expires_at: Some(end),
            ..old.clone()
        };
        draft.changes.push(put(&id, old, &ending));
        Ok(draft)
    })
    .await
}

/// Begins to replace a credential: the new one and the old one both work until the rotation is finished or cancelled.
///
/// # Errors
/// As [`rotate`], and when the credential is being replaced already.
pub async fn start_rotation(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    old: &str,
    wish: ReplacementWish,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    create(server, idempotency, async || {
        let (id, all) = list(server, client).await?;
        let old = rotating(&all, old)?;
        if let Some(new) = replacement(&all, old) {
            let new = new.id.as_str();
            let why = format!("{new} is to replace it already: finish or cancel that rotation");
            return Err(Refusal::conflict(why));
        }
        let mut made = Made::new(server, admin, &id, &all, CredentialKind::Secret).await?;
        made.credential.replaces = Some(old.id);
        let wish = wish.clone();
        let label = wish.label.map_or_else(|| old.label.clone(), String::from);
        Ok(made.with(label, wish.expires_at).draft(
            server,
            admin,
            Action::CredentialRotationStarted,
        ))
    })
    .await
}

fn replacement<'a>(all: &'a Credentials, old: &CredentialInfo) -> Option<&'a CredentialInfo> {
    let mut all = all.all.iter();
    all.find(|credential| credential.replaces.as_ref() == Some(&old.id))
}

/// The old credential and the one that is to replace it.
fn under_way<'a>(
    all: &'a Credentials,
    old: &str,
) -> Result<(&'a CredentialInfo, &'a CredentialInfo), Refusal> {
    let old = find(all, old)?;
    let new = replacement(all, old).ok_or_else(|| {
        Refusal::conflict("no rotation of this credential is under way: start one first")
    })?;
    Ok((old, new))
}

/// Ends a rotation: the old credential is gone.
///
/// # Errors
/// When none is under way.
pub async fn finish_rotation(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    old: &str,
) -> Result<Value, Refusal> {
    change(server, async || {
        let (id, all) = list(server, client).await?;
        let (old, new) = under_way(&all, old)?;
        let now = server.clock.now();
        let staying = who_stays(&id, &all, old, now)?;
        let before = new;
        let new = CredentialInfo {
            replaces: None,
            ..new.clone()
        };
        let event = Event::done(Action::CredentialRotationFinished, now, &admin.origin)
            .client(&id)
            .credential(&new.id)
            .explained(format!("It took the place of {}", old.id.as_str()));
        let mut changes = vec![
            put(&id, before, &new),
            Change::RemoveCredential {
                client: id.clone(),
                id: old.id,
            },
        ];
        changes.splice(0..0, staying);
        Ok(Draft {
            changes,
            events: vec![event],
            answer: shown(&new, &without(&all, &old.id), now),
        })
    })
    .await
}

/// Breaks a rotation off: the new credential is gone.
///
/// # Errors
/// When none is under way.
pub async fn cancel_rotation(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    old: &str,
) -> Result<(), Refusal> {
    change(server, async || {
        let (id, all) = list(server, client).await?;
        let (_, new) = under_way(&all, old)?;
        let action = Action::CredentialRotationCancelled;
        let mut draft = removal(server, admin, (&id, &all), new, action)?;
        // Who finishes the rotation meanwhile keeps the new credential.
        draft.changes.insert(0, put(&id, new, new));
        Ok(draft)
    })
    .await
}

/// Changes label or end of a credential.
///
/// # Errors
/// When there is no such credential, or a longer life would hand out more than the administrator has.
pub async fn edit(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    id: &str,
    wish: &CredentialChange,
) -> Result<Value, Refusal> {
    change(server, async || {
        let (client, all) = list(server, client).await?;
        let before = find(&all, id)?;
        let mut after = before.clone();
        if let Some(label) = wish.label.clone() {
            after.label = label.into();
        }
        wish.expires_at.apply(&mut after.expires_at, |end| end.0);
        let now = server.clock.now();
        let answer = shown(&after, &all, now);
        if after == *before {
            return Ok(Draft {
                changes: vec![],
                events: vec![],
                answer,
            });
        }
        if after.kind == CredentialKind::Bootstrap {
            must_end(after.expires_at.map(Time), now)?;
        }
        if after.expires_at != before.expires_at {
            admin.must_equal(server, &client).await?;
        }
        let mut changes = vec![put(&client, before, &after)];
        if after.expires_at.is_some() {
            changes.extend(who_stays(&client, &all, before, now)?);
        }
        let event = Event::done(Action::CredentialChanged, now, &admin.origin)
            .client(&client)
            .credential(&after.id)
            .explained(match after.expires_at {
                Some(end) => format!("It ends at {end}"),
                None => "It has no end".to_owned(),
            });
        Ok(Draft {
            changes,
            events: vec![event],
            answer,
        })
    })
    .await
}

/// Removes a credential. The tokens that it obtained live on.
///
/// # Errors
/// When there is no such credential, or it is the last one of the administrator.
pub async fn remove(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    id: &str,
) -> Result<(), Refusal> {
    change(server, async || {
        let (client, all) = list(server, client).await?;
        let credential = find(&all, id)?;
        let action = Action::CredentialDeleted;
        removal(server, admin, (&client, &all), credential, action)
    })
    .await
}

/// Removes a credential that fell into wrong hands, and takes back all that it obtained, and what it may have obtained:
/// the tokens of its client that do not say.
///
/// # Errors
/// As [`remove`].
pub async fn compromised(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    id: &str,
) -> Result<(), Refusal> {
    change(server, async || {
        let (client, all) = list(server, client).await?;
        let credential = find(&all, id)?;
        let action = Action::CredentialCompromised;
        let mut draft = removal(server, admin, (&client, &all), credential, action)?;
        let now = server.clock.now();
        let mut revoked = vec![Revoked::Credential(credential.id)];
        revoked.extend(of_unknown_credential(server.store.as_ref(), &client).await?);
        draft
            .changes
            .extend(revoked.into_iter().map(|what| what.at(now)));
        Ok(draft)
    })
    .await
}

fn removal(
    server: &AuthServer,
    admin: &Admin,
    (client, all): (&ClientId, &Credentials),
    credential: &CredentialInfo,
    action: Action,
) -> Result<Draft<()>, Refusal> {
    let now = server.clock.now();
    let mut changes = vec![Change::RemoveCredential {
        client: client.clone(),
        id: credential.id,
    }];
    changes.extend(who_stays(client, all, credential, now)?);
    let event = Event::done(action, now, &admin.origin)
        .client(client)
        .credential(&credential.id);
    Ok(Draft {
        changes,
        events: vec![event],
        answer: (),
    })
}

/// Both are the same: then it has to be as it was.
fn put(client: &ClientId, before: &CredentialInfo, after: &CredentialInfo) -> Change {
    Change::ChangeCredential {
        client: client.clone(),
        id: before.id,
        expected: before.terms(),
        terms: after.terms(),
    }
}

fn without(all: &Credentials, id: &CredentialId) -> Credentials {
    let mut all = all.clone();
    all.all.retain(|credential| credential.id != *id);
    all
}

/// Somebody must be able to come in: the built-in administrator keeps a credential without an end. The change makes sure
/// of the one that stays, since of two that leave at once each would count on the other.
fn who_stays(
    client: &ClientId,
    all: &Credentials,
    leaving: &CredentialInfo,
    now: u64,
) -> Result<Option<Change>, Refusal> {
    if client.as_str() != ADMIN || leaving.is_expired(now) {
        return Ok(None);
    }
    let staying = all
        .all
        .iter()
        .filter(|credential| credential.kind == CredentialKind::Secret)
        .find(|credential| credential.id != leaving.id && credential.expires_at.is_none());
    let staying = staying.ok_or_else(|| {
        let why = "this is the last credential of the administrator: make another one first";
        Refusal::conflict(why)
    })?;
    Ok(Some(put(client, staying, staying)))
}

/// Under which name the answer has a secret.
fn secret_member(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Secret => "client_secret",
        CredentialKind::Bootstrap => "bootstrap_token",
    }
}

/// A credential that was just made, with its secret; one that was made elsewhere has none to show.
struct Made {
    credential: NewCredential,
    secret: Option<Secret>,
    /// The client's credentials besides it.
    others: Credentials,
}

impl Made {
    async fn new(
        server: &AuthServer,
        admin: &Admin,
        client: &ClientId,
        others: &Credentials,
        kind: CredentialKind,
    ) -> Result<Self, Refusal> {
        admin.must_equal(server, client).await?;
        if others.all.len() >= MOST {
            let why =
                format!("the client has {MOST} credentials: remove those that it does not use");
            return Err(Refusal::conflict(why));
        }
        let secret = Secret::of_kind(kind);
        let credential = NewCredential::of(client, "", &secret, server.clock.now());
        Ok(Self {
            credential: NewCredential { kind, ..credential },
            secret: Some(secret),
            others: others.clone(),
        })
    }

    /// Its secret was made elsewhere, and nobody here knows more of it than the hash.
    fn imported(mut self, hash: SecretHash) -> Self {
        self.credential.secret = hash;
        self.credential.last_four = String::new();
        self.secret = None;
        self
    }

    fn with(mut self, label: String, expires_at: Option<Time>) -> Self {
        self.credential.label = label;
        self.credential.expires_at = expires_at.map(|end| end.0);
        self
    }

    fn draft(self, server: &AuthServer, admin: &Admin, action: Action) -> Draft<Created> {
        let now = server.clock.now();
        let NewCredential { client, id, .. } = &self.credential;
        let event = Event::done(action, now, &admin.origin)
            .client(client)
            .credential(id);
        let mut body = shown(&self.info(), &self.others, now);
        if let Some(secret) = &self.secret {
            body[secret_member(self.credential.kind)] = Value::from(secret.expose());
        }
        let location = format!("/admin/v1/clients/{client}/credentials/{}", id.as_str());
        Draft {
            events: vec![event],
            answer: Created {
                location,
                version: None,
                body,
            },
            changes: vec![Change::AddCredential(self.credential)],
        }
    }

    fn info(&self) -> CredentialInfo {
        let new = &self.credential;
        CredentialInfo {
            id: new.id,
            kind: new.kind,
            label: new.label.clone(),
            last_four: new.last_four.clone(),
            created_at: new.created_at,
            expires_at: new.expires_at,
            replaces: new.replaces,
            usage: None,
        }
    }
}
