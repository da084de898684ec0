//! The policy as a file, as a plan and as an explanation, for random graphs.

mod agreement;
pub(crate) mod graphs;
mod http;

use std::collections::BTreeSet;

use auth_provider::{
    client::ClientStatus,
    explain::{KnownResource, explain, resource_in_question},
    policy,
    policy_file::{Policy, PolicyClient},
    policy_plan::{Plan, PlanView, plan, plan_text},
    policy_view::{Graph, dot, matrix, mermaid},
    revocation::Revoked,
};
use m2m::testing::{Change, meddled};
use proptest::prelude::*;

use graphs::{Ask, asks, defined_scopes, model, policies, record, stored_policies};

use crate::support::NOW;

/// A client that need not be told more of than a file says.
fn as_a_file_says(mut policy: Policy) -> Policy {
    for client in policy.clients.values_mut() {
        client.status = client
            .status
            .filter(|status| *status == ClientStatus::Inactive);
        client.metadata = client
            .metadata
            .take()
            .filter(|metadata| !metadata.is_empty());
    }
    policy
}

/// Takes the steps one by one; after each, every name that is used is defined.
fn step_by_step(plan: &Plan, now: &Policy) -> Policy {
    let mut policy = now.clone();
    for change in &plan.changes {
        change.apply_to(&mut policy);
        for (client, resource) in policy.grants.keys() {
            assert!(policy.clients.contains_key(client), "{change:?}");
            assert!(policy.resources.contains_key(resource), "{change:?}");
        }
        for owner in policy
            .resources
            .values()
            .filter_map(|resource| resource.owner.as_ref())
        {
            assert!(policy.clients.contains_key(owner), "{change:?}");
        }
    }
    policy
}

/// What the client is to be after the file was applied.
fn expected(wanted: &PolicyClient, before: Option<&PolicyClient>) -> PolicyClient {
    let kept = before.cloned().unwrap_or(PolicyClient {
        name: String::new(),
        description: String::new(),
        status: Some(ClientStatus::Active),
        metadata: Some([].into()),
    });
    PolicyClient {
        name: wanted.name.clone(),
        description: wanted.description.clone(),
        status: wanted.status.or(kept.status),
        metadata: wanted.metadata.clone().or(kept.metadata),
    }
}

#[test]
fn fuzz_a_policy_file_that_is_taken_is_the_same_when_it_is_written() {
    let good = include_bytes!("../../../../demo/policy.toml");
    bolero::check!()
        .with_generator(bolero::produce::<Vec<Change>>().with().len(1_usize..6))
        .for_each(|changes| {
            let Ok(text) = String::from_utf8(meddled(good, changes)) else {
                return;
            };
            let Ok(policy) = Policy::parse(&text) else {
                return;
            };
            let toml = policy.to_toml();
            assert_eq!(Policy::parse(&toml).unwrap().to_toml(), toml);
        });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_policy_that_is_written_and_read_is_the_same(policy in policies()) {
        let policy = as_a_file_says(policy);
        let toml = policy.to_toml();
        prop_assert_eq!(Policy::parse(&toml).map_err(|e| format!("{e}\n{toml}")), Ok(policy));
    }

    #[test]
    fn applying_what_was_exported_does_nothing(stored in stored_policies(), prune: bool) {
        let file = Policy::parse(&stored.to_toml()).unwrap();
        let plan = plan(&stored, &file, prune);
        prop_assert!(plan.is_empty(), "{plan:?}");
    }

    #[test]
    fn a_plan_leads_to_what_is_wanted(now in stored_policies(), wanted in policies(), prune: bool) {
        let todo = plan(&now, &wanted, prune);
        let after = step_by_step(&todo, &now);
        prop_assert_eq!(&todo.applied_to(&now), &after);
        prop_assert!(plan(&after, &wanted, prune).is_empty());

        for (id, client) in &wanted.clients {
            if id.as_str() != "admin" {
                prop_assert_eq!(&after.clients[id], &expected(client, now.clients.get(id)));
            }
        }
        for (id, resource) in &wanted.resources {
            let mut got = after.resources[id].clone();
            if prune {
                prop_assert_eq!(&got.scopes, &resource.scopes);
            }
            prop_assert!(resource.scopes.iter().all(|(scope, words)| got.scopes.get(scope) == Some(words)));
            got.scopes.clone_from(&resource.scopes);
            prop_assert_eq!(&got, resource);
        }
        for (arrow, grant) in &wanted.grants {
            let mut got = after.grants[arrow].clone();
            let longest = after.resources[&arrow.1].token_lifetime;
            got.token_lifetime = got.token_lifetime.map(|life| life.min(longest));
            prop_assert_eq!(&got, grant);
        }
        let names = |policy: &Policy| {
            let clients = policy.clients.keys().map(ToString::to_string);
            let resources = policy.resources.keys().map(ToString::to_string);
            let grants = policy.grants.keys().map(|(from, to)| format!("{from} -> {to}"));
            clients.chain(resources).chain(grants).collect::<BTreeSet<_>>()
        };
        if prune {
            prop_assert_eq!(names(&after), names(&wanted));
        } else {
            prop_assert!(names(&after).is_superset(&names(&now)));
            prop_assert_eq!(todo.view().remove, 0);
        }
    }

    #[test]
    fn the_explanation_the_decision_and_the_model_agree(policy in policies(), ask in asks()) {
        let client = record(&policy, &ask.client);
        let explanation = explained(&policy, &ask);
        let decided = client.as_ref().is_some_and(|client| {
            client.status == ClientStatus::Active && policy::decide(client, &ask.wish(), NOW).is_ok()
        });
        prop_assert_eq!(explanation.allowed, decided, "{:?}", explanation);
        prop_assert_eq!(explanation.allowed, model(&policy, &ask, NOW).is_some(), "{:?}", explanation);
        prop_assert_eq!(explanation.allowed, explanation.code == "granted");
        prop_assert_eq!(explanation.sentence.lines().count(), 1);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_plan_is_the_same_after_its_way_through_json(now in stored_policies(), wanted in policies()) {
        let view = plan(&now, &wanted, true).view();
        let read: PlanView = serde_json::from_str(&serde_json::to_string(&view).unwrap()).unwrap();
        prop_assert_eq!(read.add + read.change + read.remove, read.changes.len());
        prop_assert!(plan_text(&read, false).lines().count() > view.changes.len());
        prop_assert_eq!(read, view);
    }

    #[test]
    fn every_graph_can_be_shown(policy in policies(), width in 0..200_usize) {
        let graph = Graph::from(&policy);
        let table = matrix(&graph, width);
        prop_assert!(graph.clients.iter().all(|client| table.contains(client)));
        for (picture, edge) in [(mermaid(&graph), "-->"), (dot(&graph), " -> ")] {
            let edges = picture.lines().filter(|line| line.contains(edge)).count();
            prop_assert_eq!(edges, policy.grants.len());
            // Quotes come in pairs, so that no name ended a label.
            prop_assert!(picture.lines().all(|line| line.matches('"').count() % 2 == 0));
        }
    }

    #[test]
    fn whatever_stays_allowed_or_is_taken_back(now in stored_policies(), wanted in policies(), prune: bool) {
        let todo = plan(&now, &wanted, prune);
        let (after, back) = (todo.applied_to(&now), todo.taken_back());
        for (arrow, grant) in &now.grants {
            let left = after.grants.get(arrow);
            let (client, resource) = arrow.clone();
            let is_back = back.contains(&Revoked::Client(client.clone()))
                || back.contains(&Revoked::Grant(client, resource));
            let status = |policy: &Policy| policy.clients.get(&arrow.0)?.status;
            let switched_off =
                status(&now) != status(&after) && status(&after) == Some(ClientStatus::Inactive);
            let narrowed = left.is_none_or(|left| grant.allows_more_than(left));
            prop_assert_eq!(is_back, narrowed || switched_off);
        }
    }

    #[test]
    fn an_explanation_repeats_nothing_that_only_the_caller_knows(
        policy in policies(),
        ask in asks(),
        place in 0..3_usize,
    ) {
        const CANARY: &str = "m2m_canary";
        let mut ask = ask;
        match place {
            0 => ask.client = CANARY.to_owned(),
            1 => ask.resource = Some(CANARY.to_owned()),
            _ => ask.scopes = Some(CANARY.parse().unwrap()),
        }
        let explanation = explained(&policy, &ask);
        prop_assert!(!explanation.allowed);
        prop_assert!(!format!("{explanation:?}").contains(CANARY), "{:?}", explanation);
    }
}

fn explained(policy: &Policy, ask: &Ask) -> auth_provider::explain::Explanation {
    let (client, wish) = (record(policy, &ask.client), ask.wish());
    let scopes = defined_scopes(policy);
    let known = resource_in_question(client.as_ref(), &wish, NOW)
        .and_then(|id| scopes.get_key_value(&id).map(|(id, scopes)| (*id, scopes)));
    let known = known.map(|(id, scopes)| KnownResource {
        id,
        scopes,
        reason: "",
    });
    explain(client.as_ref(), &wish, known, NOW)
}
