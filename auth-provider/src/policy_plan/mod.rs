//! What applying a policy file would do: the difference between what is there and what is wanted, as steps that can be
//! taken one after the other, none of which leaves a name that nothing defines.
//!
//! Without `prune` nothing is removed: clients, resources and grants that the file does not name stay, and so do the
//! scopes of a resource. What is built in is neither changed nor removed.

mod view;

use std::collections::{BTreeMap, BTreeSet};

pub use view::{ChangeView, FieldChange, Kind, Op, PlanView, plan_text};

use crate::{
    built_in,
    client::{ClientId, ClientStatus},
    policy_file::{MAX_TIME, Policy, PolicyClient, PolicyGrant, PolicyResource},
    resource::ResourceId,
    revocation::Revoked,
};

/// The steps from one policy to another, in an order in which they can be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub changes: Vec<PlannedChange>,
}

/// What happens to one client, resource or grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedChange {
    /// Status and metadata are filled in: as the file has them, else as they were, else as a new client has them.
    Client(ClientId, Step<PolicyClient>),
    Resource(ResourceId, Step<PolicyResource>),
    Grant(ClientId, ResourceId, Step<PolicyGrant>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    Add(T),
    Change { before: T, after: T },
    Remove(T),
}

/// What has to be done so that `now` becomes what is `wanted`; with `prune`, and nothing else.
///
/// Without `prune`, `now` need not be the whole graph: what `wanted` does not name is not looked at.
pub fn plan(now: &Policy, wanted: &Policy, prune: bool) -> Plan {
    let mut steps = Steps::default();
    for (id, client) in &wanted.clients {
        if !built_in::has_client(id) {
            let before = now.clients.get(id);
            let after = filled_in(client, before);
            steps.add(before.cloned(), after, |step| {
                PlannedChange::Client(id.clone(), step)
            });
        }
    }
    for (id, resource) in &wanted.resources {
        if !built_in::has_resource(id) {
            let before = now.resources.get(id);
            let mut after = resource.clone();
            if let Some(before) = before.filter(|_| !prune) {
                let mut scopes = before.scopes.clone();
                scopes.append(&mut after.scopes);
                after.scopes = scopes;
            }
            steps.add(before.cloned(), after, |step| {
                PlannedChange::Resource(id.clone(), step)
            });
        }
    }
    for (arrow, grant) in &wanted.grants {
        let (client, resource) = arrow;
        if !built_in::has_grant(client, resource) {
            let longest = wanted.resources.get(resource).map(|of| of.token_lifetime);
            let before = now
                .grants
                .get(arrow)
                .map(|before| as_it_counts(before, longest));
            steps.add(before, grant.clone(), |step| {
                PlannedChange::Grant(client.clone(), resource.clone(), step)
            });
        }
    }
    if prune {
        steps.removed = removals(now, wanted);
    }
    steps.in_order()
}

/// The steps that bring what is built in to what this version of the server has.
pub fn built_in_steps(now: &Policy, wanted: &Policy) -> Vec<PlannedChange> {
    let mut steps = Steps::default();
    for (id, client) in wanted
        .clients
        .iter()
        .filter(|(id, _)| built_in::has_client(id))
    {
        let before = now.clients.get(id);
        let after = filled_in(client, before);
        steps.add(before.cloned(), after, |step| {
            PlannedChange::Client(id.clone(), step)
        });
    }
    for (id, resource) in wanted
        .resources
        .iter()
        .filter(|(id, _)| built_in::has_resource(id))
    {
        let before = now.resources.get(id).cloned();
        steps.add(before, resource.clone(), |step| {
            PlannedChange::Resource(id.clone(), step)
        });
    }
    for (arrow, grant) in &wanted.grants {
        let (client, resource) = arrow;
        if built_in::has_grant(client, resource) {
            steps.add(now.grants.get(arrow).cloned(), grant.clone(), |step| {
                PlannedChange::Grant(client.clone(), resource.clone(), step)
            });
        }
    }
    steps.in_order().changes
}

#[derive(Default)]
struct Steps {
    added: Vec<PlannedChange>,
    changed: Vec<PlannedChange>,
    removed: Vec<PlannedChange>,
}

impl Steps {
    fn add<T: PartialEq>(
        &mut self,
        before: Option<T>,
        after: T,
        change: impl FnOnce(Step<T>) -> PlannedChange,
    ) {
        match before {
            None => self.added.push(change(Step::Add(after))),
            Some(before) if before == after => {}
            Some(before) => self.changed.push(change(Step::Change { before, after })),
        }
    }

    /// What is added may be named by what is changed, and what is changed may have named what is removed.
    fn in_order(self) -> Plan {
        let Self {
            added,
            changed,
            removed,
        } = self;
        Plan {
            changes: [added, changed, removed].concat(),
        }
    }
}

/// Grants first: they name the others. A resource names its owner.
fn removals(now: &Policy, wanted: &Policy) -> Vec<PlannedChange> {
    let grants = now
        .grants
        .iter()
        .filter(|(arrow, _)| {
            !wanted.grants.contains_key(arrow) && !built_in::has_grant(&arrow.0, &arrow.1)
        })
        .map(|((client, resource), grant)| {
            PlannedChange::Grant(
                client.clone(),
                resource.clone(),
                Step::Remove(grant.clone()),
            )
        });
    let resources = now
        .resources
        .iter()
        .filter(|(id, _)| !wanted.resources.contains_key(id) && !built_in::has_resource(id))
        .map(|(id, resource)| PlannedChange::Resource(id.clone(), Step::Remove(resource.clone())));
    let clients = now
        .clients
        .iter()
        .filter(|(id, _)| !wanted.clients.contains_key(id) && !built_in::has_client(id))
        .map(|(id, client)| PlannedChange::Client(id.clone(), Step::Remove(client.clone())));
    grants.chain(resources).chain(clients).collect()
}

fn filled_in(wanted: &PolicyClient, before: Option<&PolicyClient>) -> PolicyClient {
    let status = wanted
        .status
        .or(before.map_or(Some(ClientStatus::Active), |before| before.status));
    let metadata = wanted
        .metadata
        .clone()
        .or_else(|| before.map_or(Some(BTreeMap::new()), |before| before.metadata.clone()));
    PolicyClient {
        status,
        metadata,
        ..wanted.clone()
    }
}

/// A grant can only shorten its resource's lifetime, also when the resource's was shortened after it.
fn as_it_counts(grant: &PolicyGrant, longest: Option<u64>) -> PolicyGrant {
    let mut grant = grant.clone();
    grant.token_lifetime = grant
        .token_lifetime
        .map(|life| longest.map_or(life, |longest| life.min(longest)));
    grant.expires_at = grant.expires_at.map(|end| end.min(MAX_TIME));
    grant
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whose tokens have to be taken back, because they allow what is not granted any more: those of clients that were
    /// removed or switched off, and those from grants that were removed or narrowed.
    pub fn taken_back(&self) -> Vec<Revoked> {
        let gone: BTreeSet<&ClientId> = self
            .changes
            .iter()
            .filter_map(|change| match change {
                PlannedChange::Client(id, Step::Remove(_)) => Some(id),
                PlannedChange::Client(id, Step::Change { before, after })
                    if before.status != after.status
                        && after.status == Some(ClientStatus::Inactive) =>
                {
                    Some(id)
                }
                _ => None,
            })
            .collect();
        let grants = self.changes.iter().filter_map(|change| match change {
            PlannedChange::Grant(client, resource, step)
                if step.narrows() && !gone.contains(client) =>
            {
                Some(Revoked::Grant(client.clone(), resource.clone()))
            }
            _ => None,
        });
        let clients = gone.iter().map(|id| Revoked::Client((*id).clone()));
        grants.chain(clients).collect()
    }

    /// The policy that is there when all steps were taken.
    #[must_use]
    pub fn applied_to(&self, now: &Policy) -> Policy {
        let mut policy = now.clone();
        for change in &self.changes {
            change.apply_to(&mut policy);
        }
        policy
    }
}

impl PlannedChange {
    pub fn op(&self) -> Op {
        match self {
            Self::Client(_, step) => step.op(),
            Self::Resource(_, step) => step.op(),
            Self::Grant(_, _, step) => step.op(),
        }
    }

    /// Takes this one step.
    pub fn apply_to(&self, policy: &mut Policy) {
        match self {
            Self::Client(id, step) => step.apply_to(&mut policy.clients, id.clone()),
            Self::Resource(id, step) => step.apply_to(&mut policy.resources, id.clone()),
            Self::Grant(client, resource, step) => {
                step.apply_to(&mut policy.grants, (client.clone(), resource.clone()));
            }
        }
    }
}

impl<T> Step<T> {
    pub fn op(&self) -> Op {
        match self {
            Self::Add(_) => Op::Add,
            Self::Change { .. } => Op::Change,
            Self::Remove(_) => Op::Remove,
        }
    }

    /// What is there before and after the step.
    pub fn ends(&self) -> (Option<&T>, Option<&T>) {
        match self {
            Self::Add(after) => (None, Some(after)),
            Self::Change { before, after } => (Some(before), Some(after)),
            Self::Remove(before) => (Some(before), None),
        }
    }

    fn apply_to<K: Ord>(&self, things: &mut BTreeMap<K, T>, key: K)
    where
        T: Clone,
    {
        match self.ends().1 {
            Some(after) => things.insert(key, after.clone()),
            None => things.remove(&key),
        };
    }
}

impl Step<PolicyGrant> {
    /// Whether tokens from before allow what the grant does not allow any more.
    pub fn narrows(&self) -> bool {
        match self {
            Self::Add(_) => false,
            Self::Change { before, after } => before.allows_more_than(after),
            Self::Remove(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = r#"
        [resources.m1]
        scopes = { hello = "Say hello" }
        [resources.m2]
        scopes = { hello = "Say hello", write = "Write" }
        token_lifetime = "1h"
        [clients.m3]
        [clients.m4]
        metadata = { team = "blue" }
        [[grants]]
        client = "m3"
        resource = "m2"
        scopes = ["hello", "write"]
        [[grants]]
        client = "m4"
        resource = "m1"
        scopes = ["hello"]
        "#;

    const WANTED: &str = r#"
        [resources.m2]
        scopes = { hello = "Greet", list = "" }
        token_lifetime = "30m"
        [clients.m3]
        name = "Three"
        [clients.m5]
        [[grants]]
        client = "m3"
        resource = "m2"
        scopes = ["hello"]
        expires_at = "2027-01-01T00:00:00Z"
        [[grants]]
        client = "m5"
        resource = "m2"
        "#;

    fn policy(text: &str) -> Policy {
        Policy::parse(text).unwrap()
    }

    #[test]
    fn a_plan_says_what_is_added_changed_and_removed() {
        let plan = plan(&policy(NOW), &policy(WANTED), true);
        assert_eq!(
            json!(plan),
            json!({
                "changes": [
                    {"op": "add", "kind": "client", "name": "m5", "fields": [
                        {"name": "name", "before": null, "after": "m5"},
                        {"name": "status", "before": null, "after": "active"},
                    ]},
                    {"op": "add", "kind": "grant", "name": "m5 -> m2", "fields": []},
                    {"op": "change", "kind": "client", "name": "m3", "fields": [
                        {"name": "name", "before": "m3", "after": "Three"},
                    ]},
                    {"op": "change", "kind": "resource", "name": "m2", "fields": [
                        {"name": "token_lifetime", "before": "1h", "after": "30m"},
                        {"name": "scopes.hello", "before": "Say hello", "after": "Greet"},
                        {"name": "scopes.list", "before": null, "after": ""},
                        {"name": "scopes.write", "before": "Write", "after": null},
                    ]},
                    {"op": "change", "kind": "grant", "name": "m3 -> m2", "fields": [
                        {"name": "scopes", "before": "hello write", "after": "hello"},
                        {"name": "expires_at", "before": null, "after": "2027-01-01T00:00:00Z"},
                    ]},
                    {"op": "remove", "kind": "grant", "name": "m4 -> m1", "fields": [
                        {"name": "scopes", "before": "hello", "after": null},
                    ]},
                    {"op": "remove", "kind": "resource", "name": "m1", "fields": [
                        {"name": "name", "before": "m1", "after": null},
                        {"name": "token_format", "before": "jwt", "after": null},
                        {"name": "token_profile", "before": "standard", "after": null},
                        {"name": "signing_alg", "before": "ES256", "after": null},
                        {"name": "token_lifetime", "before": "1h", "after": null},
                        {"name": "scopes.hello", "before": "Say hello", "after": null},
                    ]},
                    {"op": "remove", "kind": "client", "name": "m4", "fields": [
                        {"name": "name", "before": "m4", "after": null},
                        {"name": "metadata.team", "before": "blue", "after": null},
                    ]},
                ],
                "add": 2, "change": 3, "remove": 3,
            })
        );
        let client = |id: &str| ClientId::parse(id).unwrap();
        assert_eq!(
            plan.taken_back(),
            [
                Revoked::Grant(client("m3"), ResourceId::parse("m2").unwrap()),
                Revoked::Client(client("m4")),
            ]
        );
        let shown = serde_json::from_value::<PlanView>(json!(plan)).unwrap();
        assert_eq!(shown, plan.view());
    }

    #[test]
    fn without_pruning_nothing_is_removed() {
        let plan = plan(&policy(NOW), &policy(WANTED), false);
        let view = plan.view();
        assert_eq!((view.add, view.change, view.remove), (2, 3, 0));
        let after = plan.applied_to(&policy(NOW));
        assert!(after.clients.contains_key(&ClientId::parse("m4").unwrap()));
        let scopes = &after.resources[&ResourceId::parse("m2").unwrap()].scopes;
        assert_eq!(
            scopes.keys().collect::<Vec<_>>(),
            ["hello", "list", "write"]
        );
    }

    #[test]
    fn a_client_stays_inactive_when_the_file_does_not_say_otherwise() {
        let of = |lines: &str| policy(&format!("[clients.m3]\n{lines}"));
        let inactive = of("status = 'inactive'\nmetadata = { team = 'blue' }");
        assert!(plan(&inactive, &of(""), true).is_empty());
        let renamed = plan(&inactive, &of("name = 'Three'"), true).applied_to(&inactive);
        let client = &renamed.clients[&ClientId::parse("m3").unwrap()];
        assert_eq!(client.status, Some(ClientStatus::Inactive));
        assert_eq!(client.metadata.as_ref().unwrap()["team"], "blue");
        assert!(!plan(&inactive, &of("status = 'active'"), true).is_empty());
        assert!(!plan(&inactive, &of("metadata = {}"), true).is_empty());
    }

    #[test]
    fn a_grant_that_its_resource_overtook_is_no_change() {
        let mut now = policy(
            "[resources.r]\ntoken_lifetime = '1h'\n[clients.c]\n[[grants]]\nclient = 'c'\n\
             resource = 'r'\ntoken_lifetime = '50m'",
        );
        now.resources
            .get_mut(&ResourceId::parse("r").unwrap())
            .unwrap()
            .token_lifetime = 1800;
        assert!(plan(&now, &policy(&now.to_toml()), true).is_empty());
        // Lengthened again, the old wish would count again: now the file has to say it.
        let wanted = policy(
            &now.to_toml()
                .replace("[resources.r]\ntoken_lifetime = \"30m\"", "[resources.r]"),
        );
        assert_eq!(plan(&now, &wanted, true).view().change, 2);
    }
}
