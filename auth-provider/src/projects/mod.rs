//! Projects: resources whose owner administers the clients that call them, and no others.
//!
//! A project is a resource with the token profile `stytch` and an owner. Whoever presents its id with a secret of the owner
//! makes, finds, changes and removes the clients that it manages: those that were made here. What the server's
//! administrators give such a client besides (a grant for another resource, say) its project can neither see nor widen; a
//! client with rights over this server it cannot change at all.

mod chosen_secret;
mod rotation;
mod search;
mod tokens;

use m2m::ScopeSet;

pub use chosen_secret::ChosenSecret;
pub use rotation::{cancel_rotation, finish_rotation, start_rotation};
pub use search::{Found, MOST_FOUND, MOST_OPERANDS, MOST_TEXTS, Operand, Operator, Search, search};
pub use tokens::{issue, key_set};

use crate::{
    address::CallerAddress,
    audit::{Action, Event, Origin},
    client::{ClientId, ClientStatus, Secret, random_id},
    clients,
    error::OAuthError,
    metadata::Metadata,
    policy_file::PolicyGrant,
    registry::{
        Client, Profile, Resource, Version,
        change::{Change, NewCredential},
        clients::{self as registered, ClientChange},
        commit::{Admin, Draft, Expected, Refusal, change},
        values::{self, Description, MAX_SCOPES, Name, check_scope},
    },
    resource::ResourceId,
    revocation::Revoked,
    server::AuthServer,
    texts::default_name,
};

/// Why a grant is there that a project gave.
const REASON: &str = "The project that manages the client gave it";

/// A project whose administrator was authenticated.
pub struct Project {
    id: ResourceId,
    owner: ClientId,
    admin: Admin,
}

/// A client as its project sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedClient {
    pub id: ClientId,
    pub name: String,
    pub description: String,
    pub status: ClientStatus,
    /// What it may do in the project.
    pub scopes: ScopeSet,
    pub metadata: Metadata,
    /// The end of its secret; empty when it has none.
    pub last_four: String,
    /// The end of the secret that is to replace it, while a rotation is under way.
    pub next_last_four: Option<String>,
}

/// A client together with the secret that was just made for it.
#[derive(Debug)]
pub struct WithSecret {
    pub client: ManagedClient,
    pub secret: Secret,
}

/// What a new client is to be.
#[derive(Clone, Debug, Default)]
pub struct NewClient {
    /// `None`: the server makes one.
    pub id: Option<ClientId>,
    /// `None`: the server makes one.
    pub secret: Option<ChosenSecret>,
    /// `None`: its id.
    pub name: Option<Name>,
    pub description: Option<Description>,
    /// Those that the project does not know yet, it does then.
    pub scopes: ScopeSet,
    pub metadata: values::Metadata,
}

/// What of a client is to be different. What is left out stays.
#[derive(Clone, Debug, Default)]
pub struct Update {
    pub client: ClientChange,
    /// As in [`NewClient`].
    pub scopes: Option<ScopeSet>,
}

/// Finds the project of this id, if the secret is one of its owner's. As with clients, a refusal takes its time, and does
/// not tell an unknown project from a wrong secret.
///
/// # Errors
/// As [`clients::authenticate`].
pub async fn authenticate(
    server: &AuthServer,
    address: CallerAddress,
    id: &str,
    secret: &str,
) -> Result<Project, OAuthError> {
    let find = async {
        let unknown = || {
            let why = "no project has the id that was presented".to_owned();
            OAuthError::invalid_client().because("no_such_project", why)
        };
        let id = ResourceId::parse(id).map_err(|_| unknown())?;
        let resource = server.store.resource(&id).await?.ok_or_else(unknown)?;
        let owner = resource.settings.project_owner().ok_or_else(unknown)?;
        let caller = clients::find(server, owner.as_str(), secret).await?;
        Ok((id, caller))
    };
    let (id, caller) = clients::guarded(server, address, id, find).await?;
    let owner = caller.client.id.clone();
    let origin = Origin::of(Some(owner.clone()), Some(address.ip()));
    clients::note_use(server, &caller, &origin).await?;
    // It administers its project, and has no right over the server.
    let scopes = ScopeSet::default();
    let admin = Admin { origin, scopes };
    Ok(Project { id, owner, admin })
}

impl Project {
    pub fn id(&self) -> &ResourceId {
        &self.id
    }

    /// The client whose secret its administrator has.
    pub fn owner(&self) -> &ClientId {
        &self.owner
    }

    pub fn origin(&self) -> &Origin {
        &self.admin.origin
    }

    /// The resource as it is now.
    async fn resource(&self, server: &AuthServer) -> Result<Resource, Refusal> {
        let found = server.store.resource(&self.id).await?;
        let found = found.filter(|found| found.settings.project_owner() == Some(&self.owner));
        found.ok_or_else(|| Refusal::not_found("the project is not there any more"))
    }

    fn event(&self, server: &AuthServer, action: Action) -> Event {
        Event::done(action, server.clock.now(), &self.admin.origin)
    }
}

/// Makes a client with its secret, and lets it call the project.
///
/// # Errors
/// When its id or its secret is taken, or it would be too much.
pub async fn create(
    server: &AuthServer,
    project: &Project,
    wish: NewClient,
) -> Result<WithSecret, Refusal> {
    let id = match wish.id {
        Some(id) => id,
        None => ClientId::parse(&random_id()).expect("random ids are client ids"),
    };
    let profile = Profile {
        name: wish
            .name
            .map_or_else(|| default_name(id.as_str()), String::from),
        description: wish.description.map(String::from).unwrap_or_default(),
        status: ClientStatus::Active,
        metadata: registered::small(wish.metadata.0)?,
    };
    change(server, async || {
        let graph = server.store.graph_version().await?;
        let resource = project.resource(server).await?;
        if server.store.client(&id).await?.is_some() {
            let why = format!("there is a client {id} already: choose another id");
            return Err(Refusal::does_not_fit("client_id", why));
        }
        let chosen = wish.secret.as_ref().map(ChosenSecret::secret);
        if let Some(chosen) = &chosen
            && server.store.bearer(&chosen.hash()).await?.is_some()
        {
            let why = "this secret cannot be used: choose another one, or leave it out";
            return Err(Refusal::does_not_fit("client_secret", why));
        }
        let (now, secret) = (server.clock.now(), chosen.unwrap_or_else(Secret::generate));
        let credential = NewCredential::of(&id, "", &secret, now);
        let mut steps = Steps::new(graph);
        steps.know(server, project, &resource, &wish.scopes)?;
        let add = Change::AddClient {
            id: id.clone(),
            profile: profile.clone(),
            managed_by: Some(project.id.clone()),
            version: Version::generate(),
            at: now,
        };
        let event = |action| project.event(server, action).client(&id);
        steps.add(add, event(Action::ClientCreated));
        let created = event(Action::CredentialCreated).credential(&credential.id);
        steps.add(Change::AddCredential(credential), created);
        let terms = granted(wish.scopes.clone());
        let grant = put_grant(project, &id, &terms, None);
        steps.add(grant, event(Action::GrantCreated).resource(&project.id));
        Ok(steps.answering(WithSecret {
            client: ManagedClient {
                id: id.clone(),
                name: profile.name.clone(),
                description: profile.description.clone(),
                status: profile.status,
                scopes: wish.scopes.clone(),
                metadata: profile.metadata.clone(),
                last_four: secret.last_four(),
                next_last_four: None,
            },
            secret,
        }))
    })
    .await
}

/// One client of the project.
///
/// # Errors
/// When the project manages none of this id.
pub async fn get(
    server: &AuthServer,
    project: &Project,
    id: &str,
) -> Result<ManagedClient, Refusal> {
    let unknown = || Refusal::not_found("the project has no client with this id: search for it");
    let id = ClientId::parse(id).map_err(|_| unknown())?;
    let found = server.store.managed_client(&project.id, &id).await?;
    found.ok_or_else(unknown)
}

/// Changes a client of the project. Switched off, it gets no token, and those that it has are taken back; so are those of
/// a grant that becomes narrower.
///
/// # Errors
/// When the project manages none of this id, it would be too much, or the client has rights over this server.
pub async fn update(
    server: &AuthServer,
    project: &Project,
    id: &str,
    wish: &Update,
) -> Result<ManagedClient, Refusal> {
    change(server, async || {
        let mut steps = Steps::new(server.store.graph_version().await?);
        let mut managed = get(server, project, id).await?;
        let before = registered::read(server, id).await?;
        let mut profile = before.profile.clone();
        registered::apply(&wish.client, &mut profile)?;
        if profile != before.profile {
            project.admin.must_equal(server, &managed.id).await?;
            steps.change_client(server, project, before, &profile);
        }
        if let Some(scopes) = wish.scopes.as_ref().filter(|s| **s != managed.scopes) {
            let resource = project.resource(server).await?;
            steps.know(server, project, &resource, scopes)?;
            steps
                .change_scopes(server, project, &managed.id, scopes)
                .await?;
            managed.scopes = scopes.clone();
        }
        managed.name = profile.name;
        managed.description = profile.description;
        managed.status = profile.status;
        managed.metadata = profile.metadata;
        Ok(steps.answering(managed))
    })
    .await
}

/// Removes a client of the project with all that it has, and takes its tokens back.
///
/// # Errors
/// When the project manages none of this id, or the client has rights over this server.
pub async fn remove(server: &AuthServer, project: &Project, id: &str) -> Result<ClientId, Refusal> {
    let managed = get(server, project, id).await?;
    let client = registered::read(server, id).await?;
    let expected = Expected::OneOf(vec![client.version]);
    match registered::remove(server, &project.admin, id, &expected).await {
        Ok(()) => Ok(managed.id),
        Err(Refusal::Changed) => Err(Refusal::Busy),
        Err(refusal) => Err(refusal),
    }
}

fn granted(scopes: ScopeSet) -> PolicyGrant {
    PolicyGrant {
        scopes,
        token_lifetime: None,
        expires_at: None,
        reason: REASON.to_owned(),
    }
}

fn put_grant(
    project: &Project,
    client: &ClientId,
    terms: &PolicyGrant,
    expected: Option<Version>,
) -> Change {
    Change::PutGrant {
        client: client.clone(),
        resource: project.id.clone(),
        terms: terms.clone(),
        expected,
        version: Version::generate(),
    }
}

/// The steps of a change as they come together, each with what tells of it.
struct Steps {
    graph: u64,
    changes: Vec<Change>,
    events: Vec<Event>,
}

impl Steps {
    fn new(graph: u64) -> Self {
        Self {
            graph,
            changes: Vec::new(),
            events: Vec::new(),
        }
    }

    fn add(&mut self, change: Change, event: Event) {
        self.changes.push(change);
        self.events.push(event);
    }

    fn answering<T>(mut self, answer: T) -> Draft<T> {
        if !self.changes.is_empty() {
            let expected = self.graph;
            self.changes.insert(0, Change::Graph { expected });
        }
        Draft {
            changes: self.changes,
            events: self.events,
            answer,
        }
    }

    /// Scopes are free in a project: what it does not know yet, it knows from now on.
    fn know(
        &mut self,
        server: &AuthServer,
        project: &Project,
        resource: &Resource,
        scopes: &ScopeSet,
    ) -> Result<(), Refusal> {
        let too_much = |why| Refusal::TooMuch {
            field: "scopes",
            why,
        };
        let mut settings = resource.settings.clone();
        for scope in scopes.iter() {
            check_scope(scope).map_err(too_much)?;
            settings.scopes.entry(scope.to_owned()).or_default();
        }
        if settings.scopes.len() > MAX_SCOPES {
            let why = format!("the project would have more than {MAX_SCOPES} different scopes");
            return Err(too_much(why));
        }
        if settings != resource.settings {
            let put = Change::PutResource {
                id: project.id.clone(),
                settings,
                expected: Some(resource.version.clone()),
                version: Version::generate(),
            };
            let event = project.event(server, Action::ResourceChanged);
            self.add(put, event.resource(&project.id));
        }
        Ok(())
    }

    fn change_client(
        &mut self,
        server: &AuthServer,
        project: &Project,
        before: Client,
        profile: &Profile,
    ) {
        let now = server.clock.now();
        let event = project
            .event(server, Action::ClientChanged)
            .client(&before.id)
            .explained(registered::told(&before.profile, profile));
        let is_off = |profile: &Profile| profile.status == ClientStatus::Inactive;
        if is_off(profile) && !is_off(&before.profile) {
            self.changes
                .push(Revoked::Client(before.id.clone()).at(now));
        }
        let put = Change::ChangeClient {
            id: before.id,
            profile: profile.clone(),
            expected: before.version,
            version: Version::generate(),
            at: now,
        };
        self.add(put, event);
    }

    /// What the server's administrators said of the grant besides its scopes stays.
    async fn change_scopes(
        &mut self,
        server: &AuthServer,
        project: &Project,
        client: &ClientId,
        scopes: &ScopeSet,
    ) -> Result<(), Refusal> {
        let before = server.store.grant(client, &project.id).await?;
        let event = |action| {
            let event = project.event(server, action).client(client);
            event.resource(&project.id)
        };
        let Some(before) = before else {
            let terms = granted(scopes.clone());
            let put = put_grant(project, client, &terms, None);
            self.add(put, event(Action::GrantCreated));
            return Ok(());
        };
        let after = PolicyGrant {
            scopes: scopes.clone(),
            ..before.terms.clone()
        };
        if before.terms.allows_more_than(&after) {
            let revoked = Revoked::Grant(client.clone(), project.id.clone());
            self.changes.push(revoked.at(server.clock.now()));
        }
        let put = put_grant(project, client, &after, Some(before.version));
        self.add(put, event(Action::GrantChanged));
        Ok(())
    }
}
