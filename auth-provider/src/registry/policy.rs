//! A policy file against the registry: what it would change, and the change itself, in one transaction.

use super::{
    Graph, Profile, Version,
    change::{Change, Committed},
    commit::{Admin, Draft, Refusal, change},
    resources::no_longer_hidden,
};
use crate::{
    audit::{Action, Event, Origin},
    built_in::AUDIENCE,
    client::ClientStatus,
    policy_file::{Policy, PolicyClient},
    policy_plan::{self, Plan, PlannedChange, Step},
    resource::TokenFormat,
    server::AuthServer,
    storage::{Store, StoreError},
};

/// How often a policy is applied again at the start that another server was faster than.
const ATTEMPTS: usize = 20;

/// What applying `wanted` would do to the registry as it is now.
///
/// # Errors
/// When the store does not answer.
pub async fn plan(
    store: &dyn Store,
    wanted: &Policy,
    prune: bool,
) -> Result<(Plan, Graph), StoreError> {
    // What the file does not name matters only to who removes it.
    let graph = store.graph((!prune).then_some(wanted)).await?;
    let plan = policy_plan::plan(&graph.policy, wanted, prune);
    Ok((plan, graph))
}

/// Brings the registry to what `wanted` says; with `prune`, and removes everything else.
///
/// # Errors
/// When it is about rights that the administrator does not have, or the tokens of a resource would outlive their keys.
pub async fn apply(
    server: &AuthServer,
    admin: &Admin,
    wanted: &Policy,
    prune: bool,
) -> Result<Plan, Refusal> {
    let applied = change(server, async || {
        let (plan, graph) = plan(server.store.as_ref(), wanted, prune).await?;
        for change in &plan.changes {
            check(server, admin, change).await?;
            check_manager(server.store.as_ref(), change).await?;
        }
        Ok(draft(plan, &graph, &admin.origin, server.clock.now()))
    });
    let applied = applied.await?;
    server.keys.look_after().await;
    Ok(applied)
}

/// The same at the start of a server, whose own file it is. Returns how many changes that made.
///
/// # Errors
/// When the store does not answer, or others change it all the time.
pub async fn apply_at_start(
    store: &dyn Store,
    wanted: &Policy,
    now: u64,
) -> Result<usize, Refusal> {
    for _ in 0..ATTEMPTS {
        let (mut plan, graph) = plan(store, wanted, false).await?;
        for change in &plan.changes {
            check_manager(store, change).await?;
        }
        let built_in = policy_plan::built_in_steps(&graph.policy, wanted);
        plan.changes.splice(0..0, built_in);
        let count = plan.changes.len();
        let draft = draft(plan, &graph, &Origin::server(), now);
        if count == 0 || store.commit(&draft.changes, &draft.events).await? == Committed::Done {
            return Ok(count);
        }
    }
    Err(Refusal::Busy)
}

/// The draft of a plan: every change, the tokens that it takes back, and an event for each.
fn draft(plan: Plan, graph: &Graph, origin: &Origin, now: u64) -> Draft<Plan> {
    let (mut changes, mut events) = (Vec::new(), Vec::new());
    if !plan.changes.is_empty() {
        changes.push(Change::Graph {
            expected: graph.version,
        });
        events.push(Event::done(Action::PolicyApplied, now, origin));
    }
    changes.extend(plan.taken_back().into_iter().map(|what| what.at(now)));
    for planned in &plan.changes {
        if let PlannedChange::Resource(id, Step::Change { before, after }) = planned {
            changes.extend(no_longer_hidden(id, before, after, now));
        }
    }
    for planned in &plan.changes {
        changes.push(to_change(planned, graph, now));
        events.push(event(planned, origin, now));
    }
    Draft {
        changes,
        events,
        answer: plan,
    }
}

/// What no file can check: whether it fits to this server and to who applies it.
async fn check(server: &AuthServer, admin: &Admin, change: &PlannedChange) -> Result<(), Refusal> {
    match change {
        PlannedChange::Grant(_, resource, step) if resource.as_str() == AUDIENCE => match step {
            Step::Add(terms) | Step::Remove(terms) => admin.must_hold(server, &terms.scopes).await,
            Step::Change { before, after } => {
                admin.must_hold(server, &before.scopes).await?;
                admin.must_hold(server, &after.scopes).await
            }
        },
        PlannedChange::Client(id, Step::Change { before, after })
            if before.status != after.status && after.status == Some(ClientStatus::Active) =>
        {
            admin.must_equal(server, id).await
        }
        PlannedChange::Resource(
            id,
            Step::Add(settings)
            | Step::Change {
                after: settings, ..
            },
        ) if settings.token_format == TokenFormat::Jwt => {
            let fits = server.keys.allow_tokens_of(settings.token_lifetime);
            fits.map_err(|error| Refusal::conflict(format!("resource `{id}`: {error}")))
        }
        _ => Ok(()),
    }
}

/// A project's administrator chooses the ids of its clients and has their secrets. One that a file means for another client
/// must not come by that client's rights.
async fn check_manager(store: &dyn Store, change: &PlannedChange) -> Result<(), Refusal> {
    let (client, resource) = match change {
        PlannedChange::Grant(client, resource, Step::Add(_) | Step::Change { .. }) => {
            (client, resource)
        }
        PlannedChange::Resource(
            resource,
            Step::Add(settings)
            | Step::Change {
                after: settings, ..
            },
        ) => match &settings.owner {
            Some(owner) => (owner, resource),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let manager = store
        .client(client)
        .await?
        .and_then(|found| found.managed_by);
    match manager {
        Some(manager) if manager != *resource => Err(Refusal::conflict(format!(
            "the client {client} belongs to the project {manager}, whose administrator has its secrets: give the one that \
             is meant for {resource} another id"
        ))),
        _ => Ok(()),
    }
}

fn to_change(planned: &PlannedChange, graph: &Graph, now: u64) -> Change {
    const KNOWN: &str = "a plan changes and removes what the graph has";
    match planned.clone() {
        PlannedChange::Client(id, Step::Add(client)) => Change::AddClient {
            id,
            profile: profile(client),
            managed_by: None,
            version: Version::generate(),
            at: now,
        },
        PlannedChange::Client(id, Step::Change { after, .. }) => Change::ChangeClient {
            expected: graph.clients.get(&id).expect(KNOWN).clone(),
            version: Version::generate(),
            profile: profile(after),
            at: now,
            id,
        },
        PlannedChange::Client(id, Step::Remove(_)) => Change::RemoveClient {
            expected: graph.clients.get(&id).expect(KNOWN).clone(),
            id,
        },
        PlannedChange::Resource(
            id,
            Step::Add(settings)
            | Step::Change {
                after: settings, ..
            },
        ) => Change::PutResource {
            expected: graph.resources.get(&id).cloned(),
            version: Version::generate(),
            settings,
            id,
        },
        PlannedChange::Resource(id, Step::Remove(_)) => Change::RemoveResource {
            expected: graph.resources.get(&id).expect(KNOWN).clone(),
            id,
        },
        PlannedChange::Grant(
            client,
            resource,
            Step::Add(terms) | Step::Change { after: terms, .. },
        ) => {
            let arrow = (client, resource);
            let expected = graph.grants.get(&arrow).cloned();
            Change::PutGrant {
                client: arrow.0,
                resource: arrow.1,
                terms,
                expected,
                version: Version::generate(),
            }
        }
        PlannedChange::Grant(client, resource, Step::Remove(_)) => {
            let arrow = (client, resource);
            let expected = graph.grants.get(&arrow).expect(KNOWN).clone();
            Change::RemoveGrant {
                client: arrow.0,
                resource: arrow.1,
                expected,
            }
        }
    }
}

fn profile(client: PolicyClient) -> Profile {
    Profile {
        name: client.name,
        description: client.description,
        status: client.status.unwrap_or(ClientStatus::Active),
        metadata: client.metadata.unwrap_or_default(),
    }
}

fn event(planned: &PlannedChange, origin: &Origin, now: u64) -> Event {
    let action = |step, [created, changed, deleted]: [Action; 3]| match step {
        policy_plan::Op::Add => created,
        policy_plan::Op::Change => changed,
        policy_plan::Op::Remove => deleted,
    };
    let op = planned.op();
    match planned {
        PlannedChange::Client(id, _) => {
            const ACTIONS: [Action; 3] = [
                Action::ClientCreated,
                Action::ClientChanged,
                Action::ClientDeleted,
            ];
            Event::done(action(op, ACTIONS), now, origin).client(id)
        }
        PlannedChange::Resource(id, _) => {
            const ACTIONS: [Action; 3] = [
                Action::ResourceCreated,
                Action::ResourceChanged,
                Action::ResourceDeleted,
            ];
            Event::done(action(op, ACTIONS), now, origin).resource(id)
        }
        PlannedChange::Grant(client, resource, _) => {
            const ACTIONS: [Action; 3] = [
                Action::GrantCreated,
                Action::GrantChanged,
                Action::GrantDeleted,
            ];
            Event::done(action(op, ACTIONS), now, origin)
                .client(client)
                .resource(resource)
        }
    }
}
