//! A project's clients: made, changed, switched off, removed. A client comes with its grant for the project, and its scopes
//! are that grant's: an administrator may invent scopes, and the project learns them.

use m2m::ScopeSet;
use serde::Deserialize;

use super::{
    Project, ProjectClient,
    search::{Operand, Operator, Search},
};
use crate::{
    audit::{Action, Event},
    client::{ClientId, ClientStatus, Secret, random_id},
    metadata::{self, Metadata},
    policy_file::{PolicyGrant, PolicyResource},
    registry::{
        Client, Profile, Version,
        change::{Change, NewCredential},
        clients::told,
        commit::{Draft, Refusal, change},
        values::{Description, MAX_SCOPES, MetadataChange, Name, ScopeNames},
    },
    revocation::Revoked,
    server::AuthServer,
    texts::default_name,
};

/// What a new client is to be. What is `None` gets a default, and id and secret are made.
#[derive(Debug, Default)]
pub struct NewClient {
    pub id: Option<ClientId>,
    pub secret: Option<ChosenSecret>,
    pub name: Option<Name>,
    pub description: Option<Description>,
    pub scopes: ScopeNames,
    /// What is to be removed is not there in the first place.
    pub metadata: MetadataChange,
}

/// What is to be different. What is `None` stays.
#[derive(Debug, Default)]
pub struct ClientChange {
    pub name: Option<Name>,
    pub description: Option<Description>,
    pub status: Option<ClientStatus>,
    pub scopes: Option<ScopeNames>,
    pub metadata: MetadataChange,
}

/// A secret that a client brings along from elsewhere. Only its SHA-256 is kept, which protects what cannot be guessed: so
/// it has to look as if somebody had drawn it at random.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ChosenSecret(Secret);

/// The bounds of a [`ChosenSecret`], in characters.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=256;

/// So many different characters it has at least, and so many different distances between neighbours: repetitions have
/// few of the first, and alphabets and keyboards few of the second. A random text in hexadecimal has more.
const VARIETY: usize = 10;

impl TryFrom<String> for ChosenSecret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let characters = text.as_bytes();
        if !LENGTH.contains(&characters.len()) || !characters.iter().all(u8::is_ascii_graphic) {
            return Err("write 32 to 256 visible ASCII characters, or leave it out");
        }
        let different: std::collections::BTreeSet<u8> = characters.iter().copied().collect();
        let steps = characters
            .windows(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]));
        let steps: std::collections::BTreeSet<u8> = steps.collect();
        if different.len() < VARIETY || steps.len() < VARIETY {
            return Err(
                "write characters drawn at random, or leave it out: it is too easy to guess",
            );
        }
        Ok(Self(Secret::from(text)))
    }
}

/// The client of this id, if it is the project's.
///
/// # Errors
/// When it is not there, or another's.
pub async fn read(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<ProjectClient, Refusal> {
    let search = Search {
        operator: Operator::And,
        operands: vec![Operand::ids(vec![id.to_owned()])],
    };
    let found = server
        .store
        .project_clients(&project.id, &search, "", 1)
        .await?;
    let unknown =
        || Refusal::not_found("the project has no client with this id: search its clients");
    found.0.into_iter().next().ok_or_else(unknown)
}

/// Makes a client with a secret and a grant for the project. The secret is shown this once.
///
/// # Errors
/// When id or secret is taken, or it would be too much.
pub async fn add(
    server: &AuthServer,
    project: &Project,
    wish: NewClient,
) -> Result<(ProjectClient, Secret), Refusal> {
    let random = || ClientId::parse(&random_id()).expect("random ids are client ids");
    let id = wish.id.unwrap_or_else(random);
    let is_chosen = wish.secret.is_some();
    let secret = wish
        .secret
        .map_or_else(Secret::generate, |ChosenSecret(secret)| secret);
    let name = wish
        .name
        .map_or_else(|| default_name(id.as_str()), String::from);
    let profile = Profile {
        name,
        description: wish.description.map(String::from).unwrap_or_default(),
        status: ClientStatus::Active,
        metadata: merged(Metadata::default(), wish.metadata)?,
    };
    let scopes = wish.scopes.0;
    let made = change(server, async || {
        let graph = server.store.graph_version().await?;
        if server.store.client(&id).await?.is_some() {
            let why = "a client has this client_id already: choose another one, or leave it out";
            return Err(Refusal::does_not_fit("client_id", why));
        }
        if is_chosen && server.store.bearer(&secret.hash()).await?.is_some() {
            let why = "this client_secret cannot be used: choose another one, or leave it out";
            return Err(Refusal::does_not_fit("client_secret", why));
        }
        let now = server.clock.now();
        let credential = NewCredential::of(&id, "", &secret, now);
        let event = |action| Event::done(action, now, &project.admin.origin).client(&id);
        let mut steps = Steps {
            changes: vec![
                Change::Graph { expected: graph },
                Change::AddClient {
                    id: id.clone(),
                    profile: profile.clone(),
                    managed_by: Some(project.id.clone()),
                    version: Version::generate(),
                    at: now,
                },
            ],
            events: vec![
                event(Action::ClientCreated),
                event(Action::CredentialCreated).credential(&credential.id),
            ],
        };
        let answer = ProjectClient {
            id: id.clone(),
            name: profile.name.clone(),
            description: profile.description.clone(),
            status: profile.status,
            metadata: profile.metadata.clone(),
            scopes: scopes.clone(),
            secret_ends_with: credential.last_four.clone(),
            next_secret_ends_with: None,
        };
        steps.changes.push(Change::AddCredential(credential));
        steps.grant(server, project, &id, &scopes).await?;
        Ok(steps.answered(answer))
    });
    Ok((made.await?, secret))
}

/// Changes a client. Switched off, it gets no token, and those that it has are taken back, as are those whose scopes it
/// loses.
///
/// # Errors
/// When it is not there, or another's, or it would be too much.
pub async fn edit(
    server: &AuthServer,
    project: &Project,
    id: &str,
    wish: &ClientChange,
) -> Result<ProjectClient, Refusal> {
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let mut answer = read(server, project, id).await?;
        let before = known(server, &answer.id).await?;
        let mut steps = Steps {
            changes: vec![],
            events: vec![],
        };
        let after = changed(&before.profile, wish)?;
        if after != before.profile {
            steps.profile(server, project, &before, &after).await?;
        }
        (answer.name, answer.description) = (after.name, after.description);
        (answer.status, answer.metadata) = (after.status, after.metadata);
        if let Some(ScopeNames(scopes)) = &wish.scopes
            && *scopes != answer.scopes
        {
            steps.changes.push(Change::Graph { expected: graph });
            steps.grant(server, project, &before.id, scopes).await?;
            answer.scopes = scopes.clone();
        }
        Ok(steps.answered(answer))
    })
    .await
}

/// Removes a client with all that it has, and takes its tokens back.
///
/// # Errors
/// When it is not there, or another's.
pub async fn remove(server: &AuthServer, project: &Project, id: &str) -> Result<ClientId, Refusal> {
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let id = read(server, project, id).await?.id;
        let client = known(server, &id).await?;
        project.admin.must_equal(server, &id).await?;
        let now = server.clock.now();
        let event = Event::done(Action::ClientDeleted, now, &project.admin.origin).client(&id);
        Ok(Draft {
            changes: vec![
                Change::Graph { expected: graph },
                Revoked::Client(id.clone()).at(now),
                Change::RemoveClient {
                    id: id.clone(),
                    expected: client.version,
                },
            ],
            events: vec![event],
            answer: id,
        })
    })
    .await
}

/// The client with its version. It was there a moment ago.
async fn known(server: &AuthServer, id: &ClientId) -> Result<Client, Refusal> {
    let client = server.store.client(id).await?;
    client.ok_or_else(|| Refusal::not_found("the client was removed a moment ago"))
}

fn changed(before: &Profile, wish: &ClientChange) -> Result<Profile, Refusal> {
    Ok(Profile {
        name: wish
            .name
            .clone()
            .map_or_else(|| before.name.clone(), String::from),
        description: wish
            .description
            .clone()
            .map_or_else(|| before.description.clone(), String::from),
        status: wish.status.unwrap_or(before.status),
        metadata: merged(before.metadata.clone(), wish.metadata.clone())?,
    })
}

fn merged(mut metadata: Metadata, change: MetadataChange) -> Result<Metadata, Refusal> {
    for (key, value) in change.0 {
        match value {
            Some(value) => drop(metadata.insert(key, value)),
            None => drop(metadata.remove(&key)),
        }
    }
    let too_much = |why: metadata::MetadataError| Refusal::TooMuch {
        field: "metadata",
        why: why.to_string(),
    };
    metadata::check(&metadata).map_err(too_much)?;
    Ok(metadata)
}

/// A change that is being put together, with the events that tell of it.
struct Steps {
    changes: Vec<Change>,
    events: Vec<Event>,
}

impl Steps {
    /// What is said of the client from now on.
    async fn profile(
        &mut self,
        server: &AuthServer,
        project: &Project,
        before: &Client,
        after: &Profile,
    ) -> Result<(), Refusal> {
        let now = server.clock.now();
        if before.profile.status != after.status {
            match after.status {
                ClientStatus::Active => project.admin.must_equal(server, &before.id).await?,
                ClientStatus::Inactive => {
                    self.changes
                        .push(Revoked::Client(before.id.clone()).at(now));
                }
            }
        }
        self.changes.push(Change::ChangeClient {
            id: before.id.clone(),
            profile: after.clone(),
            expected: before.version.clone(),
            version: Version::generate(),
            at: now,
        });
        let event = Event::done(Action::ClientChanged, now, &project.admin.origin);
        self.events.push(
            event
                .client(&before.id)
                .explained(told(&before.profile, after)),
        );
        Ok(())
    }

    /// What the client may do with the project from now on.
    async fn grant(
        &mut self,
        server: &AuthServer,
        project: &Project,
        client: &ClientId,
        scopes: &ScopeSet,
    ) -> Result<(), Refusal> {
        self.known_scopes(server, project, scopes).await?;
        let (now, origin) = (server.clock.now(), &project.admin.origin);
        let before = server.store.grant(client, &project.id).await?;
        let mut terms = before.as_ref().map_or_else(
            || PolicyGrant {
                scopes: ScopeSet::default(),
                token_lifetime: None,
                expires_at: None,
                reason: String::new(),
            },
            |arrow| arrow.terms.clone(),
        );
        terms.scopes = scopes.clone();
        if before
            .as_ref()
            .is_some_and(|arrow| arrow.terms.allows_more_than(&terms))
        {
            let revoked = Revoked::Grant(client.clone(), project.id.clone());
            self.changes.push(revoked.at(now));
        }
        let action = match before {
            None => Action::GrantCreated,
            Some(_) => Action::GrantChanged,
        };
        let event = Event::done(action, now, origin)
            .client(client)
            .resource(&project.id);
        self.events
            .push(event.explained(format!("Its scopes: {scopes}")));
        self.changes.push(Change::PutGrant {
            client: client.clone(),
            resource: project.id.clone(),
            terms,
            expected: before.map(|arrow| arrow.version),
            version: Version::generate(),
        });
        Ok(())
    }

    /// Teaches the project the scopes that it does not know.
    async fn known_scopes(
        &mut self,
        server: &AuthServer,
        project: &Project,
        scopes: &ScopeSet,
    ) -> Result<(), Refusal> {
        let resource = server.store.resource(&project.id).await?;
        let gone = || Refusal::not_found("the project was removed a moment ago");
        let resource = resource.ok_or_else(gone)?;
        let mut settings: PolicyResource = resource.settings;
        let before = settings.scopes.len();
        for scope in scopes.iter() {
            settings.scopes.entry(scope.to_owned()).or_default();
        }
        if settings.scopes.len() == before {
            return Ok(());
        }
        if settings.scopes.len() > MAX_SCOPES {
            return Err(Refusal::TooMuch {
                field: "scopes",
                why: format!(
                    "the project would have more than {MAX_SCOPES} scopes: use those that it has"
                ),
            });
        }
        let event = Event::done(
            Action::ResourceChanged,
            server.clock.now(),
            &project.admin.origin,
        );
        let event = event.resource(&project.id);
        self.events
            .push(event.explained("It has more scopes than before"));
        self.changes.push(Change::PutResource {
            id: project.id.clone(),
            settings,
            expected: Some(resource.version),
            version: Version::generate(),
        });
        Ok(())
    }

    fn answered(self, answer: ProjectClient) -> Draft<ProjectClient> {
        Draft {
            changes: self.changes,
            events: self.events,
            answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_secret_looks_as_if_drawn_at_random() {
        for good in [
            "NHQhc7ZqsXJVtgmN2MXr1etqsQrGAwJ-iBWNLKY7DzJj",
            "5f2a9c01d7e84b36a0c59f1e2d8b7346",
            "6d1b8f0e-3c57-4a92-b8e4-0f7d2c91a653",
        ] {
            assert!(ChosenSecret::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "NHQhc7ZqsXJVtgmN2MXr1etqsQrGAwJ", // 31
            "a secret with spaces and 40 characters..",
            "sécrèt-sécrèt-sécrèt-sécrèt-sécrèt",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "01234567890123456789012345678901",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabcabcabcabcabcabcabc",
            &"5f2a9c01d7e84b36".repeat(17),
        ] {
            assert!(ChosenSecret::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
