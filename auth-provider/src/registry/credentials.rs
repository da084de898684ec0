//! Credentials: made, rotated without an outage, removed. And the answer to the question that each rotation ends with: is
//! it safe to remove the old one?

use m2m::service::given;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    CredentialInfo, Credentials,
    change::{Change, CredentialTerms, NewCredential},
    clients,
    commit::{Admin, Created, Draft, Idempotency, Refusal, change, create},
    values::{Grace, Label, Patch, Time},
    views::CredentialView,
};
use crate::{
    audit::{Action, Event},
    built_in::ADMIN,
    client::{ClientId, CredentialId, Secret},
    revocation::Revoked,
    server::AuthServer,
};

/// How many credentials a client may have.
const MOST: usize = 1000;

/// How late somebody may come back whose token has ended, at the least, in seconds: machines are busy, and clocks differ.
const LATE: u64 = 10;

/// What a new credential is to be. All of it can be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialWish {
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

    /// Since when nobody used it.
    fn idle_since(&self) -> u64 {
        self.usage
            .map_or(self.created_at, |usage| usage.last_used_at)
    }

    /// When the last token ends that it obtained.
    fn alive_until(&self) -> u64 {
        self.usage
            .map_or(self.created_at, |usage| usage.alive_until)
    }

    /// Whether the use of `other` shows that the client has moved on from this one. Of one that was never used only a
    /// later one can tell: whoever is to use it may not have it yet.
    fn is_succeeded_by(&self, other: &Self) -> bool {
        let is_used_since = other
            .usage
            .is_some_and(|usage| usage.last_used_at > self.idle_since());
        let is_later = other.created_at > self.created_at;
        other.id != self.id && is_used_since && (self.usage.is_some() || is_later)
    }
}

/// Whether a credential can be removed without breaking anybody, and why.
///
/// It can when the client has moved on to another one, and when this one has been idle for longer than whoever still has
/// it would have been. A client that holds a token does not come back before that ends, and then it may be late: it has
/// as long again as the token lived. And it may be one that comes seldom: it has the longest time that the client ever
/// let pass between two uses.
pub fn safe_to_remove(
    credential: &CredentialInfo,
    among: &Credentials,
    now: u64,
) -> (bool, String) {
    if credential.is_expired(now) {
        return (true, "It has ended: it opens nothing any more.".to_owned());
    }
    let since = credential.idle_since();
    let mut others = among.all.iter().filter(|other| !other.is_expired(now));
    let moved_on = others.any(|other| credential.is_succeeded_by(other));
    let idle = now.saturating_sub(since);
    let (last_use, nobody_moved_on) = if credential.usage.is_some() {
        let why = "and no other credential has been used since";
        (format!("It was last used {idle} s ago"), why)
    } else {
        let why =
            "and none that was made later has been used: who is to use it may not have it yet";
        (format!("It was made {idle} s ago and never used"), why)
    };
    if !moved_on {
        return (false, format!("{last_use}, {nobody_moved_on}."));
    }
    let alive_until = credential.alive_until();
    if alive_until >= now {
        let left = alive_until - now + 1;
        let why = format!(
            "{last_use}. What was obtained with it lives for another {left} s: whoever holds that \
             comes back only afterwards."
        );
        return (false, why);
    }
    let back_until = alive_until.saturating_add(LATE.max(alive_until.saturating_sub(since)));
    if back_until >= now {
        let left = back_until - now + 1;
        let why = format!(
            "{last_use}. Whoever holds it needs it again about now, and may be late: look again in {left} s."
        );
        return (false, why);
    }
    let gap = among.longest_gap;
    if idle <= gap {
        let why = format!(
            "{last_use}, but the client has let up to {gap} s pass between two uses: look again in {} s.",
            gap - idle + 1
        );
        return (false, why);
    }
    let why = format!(
        "{last_use}. Another credential has been used since, and the client never let more than \
         {gap} s pass between two uses."
    );
    (true, why)
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

/// Gives the client one more credential.
///
/// # Errors
/// When there is no such client, or it may more than the administrator.
pub async fn add(
    server: &AuthServer,
    admin: &Admin,
    client: &str,
    wish: CredentialWish,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    create(server, idempotency, async || {
        let (id, all) = list(server, client).await?;
        let made = Made::new(server, admin, &id, &all).await?;
        let wish = wish.clone();
        Ok(made
            .with(
                wish.label.map_or_else(String::new, String::from),
                wish.expires_at,
            )
            .draft(server, admin, Action::CredentialCreated))
    })
    .await
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
        let old = find(&all, old)?;
        let made = Made::new(server, admin, &id, &all).await?;
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
    wish: CredentialWish,
    idempotency: Option<&Idempotency>,
) -> Result<Created, Refusal> {
    create(server, idempotency, async || {
        let (id, all) = list(server, client).await?;
        let old = find(&all, old)?;
        if let Some(new) = replacement(&all, old) {
            let new = new.id.as_str();
            let why = format!("{new} is to replace it already: finish or cancel that rotation");
            return Err(Refusal::conflict(why));
        }
        let mut made = Made::new(server, admin, &id, &all).await?;
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

/// Removes a credential that fell into wrong hands, and takes back all that it obtained.
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
        let revoked = Revoked::Credential(credential.id);
        draft.changes.push(revoked.at(server.clock.now()));
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
        .find(|credential| credential.id != leaving.id && credential.expires_at.is_none());
    let staying = staying.ok_or_else(|| {
        let why = "this is the last credential of the administrator: make another one first";
        Refusal::conflict(why)
    })?;
    Ok(Some(put(client, staying, staying)))
}

/// A credential that was just made, with its secret.
struct Made {
    credential: NewCredential,
    secret: Secret,
    /// The client's credentials besides it.
    others: Credentials,
}

impl Made {
    async fn new(
        server: &AuthServer,
        admin: &Admin,
        client: &ClientId,
        others: &Credentials,
    ) -> Result<Self, Refusal> {
        admin.must_equal(server, client).await?;
        if others.all.len() >= MOST {
            let why =
                format!("the client has {MOST} credentials: remove those that it does not use");
            return Err(Refusal::conflict(why));
        }
        let secret = Secret::generate();
        Ok(Self {
            credential: NewCredential::of(client, "", &secret, server.clock.now()),
            secret,
            others: others.clone(),
        })
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
        body["client_secret"] = Value::from(self.secret.expose());
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
            label: new.label.clone(),
            last_four: new.last_four.clone(),
            created_at: new.created_at,
            expires_at: new.expires_at,
            replaces: new.replaces,
            usage: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Usage;

    fn credential(id: &str, created_at: u64, usage: Option<(u64, u64)>) -> CredentialInfo {
        CredentialInfo {
            id: CredentialId::parse(&format!("{id:-<22}")).unwrap(),
            label: String::new(),
            last_four: String::new(),
            created_at,
            expires_at: None,
            replaces: None,
            usage: usage.map(|(last_used_at, alive_until)| Usage {
                last_used_at,
                count: 1,
                alive_until,
            }),
        }
    }

    #[test]
    fn a_credential_is_safe_to_remove_when_nobody_can_still_have_it() {
        const NOW: u64 = 10_000;
        let used = |at| Some((at, at + 60));
        for (old, new, gap, says) in [
            // Nobody has moved on.
            (
                used(9_000),
                None,
                10,
                Err("no other credential has been used since"),
            ),
            (used(9_000), used(8_999), 10, Err("no other credential")),
            (used(9_000), used(9_000), 10, Err("no other credential")),
            // A token that it obtained is alive.
            (used(9_950), used(9_990), 10, Err("lives for another 11 s")),
            (used(9_940), used(9_990), 10, Err("lives for another 1 s")),
            // Whoever held that token may be late, by as long as it lived.
            (used(9_939), used(9_990), 10, Err("look again in 60 s")),
            (used(9_880), used(9_990), 10, Err("look again in 1 s")),
            (
                used(9_879),
                used(9_990),
                10,
                Ok("Another credential has been used since"),
            ),
            // However short it lived.
            (
                Some((9_983, 9_990)),
                used(9_990),
                0,
                Err("look again in 1 s"),
            ),
            (
                Some((9_983, 9_989)),
                used(9_990),
                0,
                Ok("last used 17 s ago"),
            ),
            // The client takes its time.
            (used(9_000), used(9_990), 1_000, Err("look again in 1 s")),
            (
                used(9_000),
                used(9_990),
                999,
                Ok("never let more than 999 s pass"),
            ),
            // Nobody ever used it.
            (None, used(9_990), 10, Ok("never used")),
            (None, used(4_000), 10, Err("never used, and none that")),
            (None, None, 0, Err("never used, and none that")),
        ] {
            let old = credential("old", 5_000, old);
            let among = Credentials {
                longest_gap: gap,
                all: vec![old.clone(), credential("new", 6_000, new)],
            };
            let (safe, reason) = safe_to_remove(&old, &among, NOW);
            assert_eq!(safe, says.is_ok(), "{reason}");
            let (Ok(part) | Err(part)) = says;
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn one_that_was_just_made_is_not_safe_to_remove_because_the_one_before_is_in_use() {
        let new = credential("new", 5_000, None);
        let among = Credentials {
            longest_gap: 1,
            all: vec![credential("old", 0, Some((9_999, 9_999))), new.clone()],
        };
        let (safe, reason) = safe_to_remove(&new, &among, 10_000);
        assert!(!safe && reason.contains("may not have it yet"), "{reason}");
    }

    #[test]
    fn one_that_ended_is_safe_to_remove_and_no_witness_that_others_moved_on() {
        let mut ended = credential("ended", 0, Some((90, 95)));
        ended.expires_at = Some(100);
        let old = credential("old", 0, Some((50, 55)));
        let among = Credentials {
            longest_gap: 1,
            all: vec![ended.clone(), old.clone()],
        };
        assert!(safe_to_remove(&ended, &among, 100).0);
        assert!(!safe_to_remove(&old, &among, 100).0);
        assert!(safe_to_remove(&old, &among, 99).0);
    }
}
