//! Random graphs, random requests, and the model that says in a few lines what the right answer is.

use std::collections::BTreeMap;

use auth_provider::{
    client::{ClientId, ClientRecord, ClientStatus, Credential, CredentialId, Grant, SecretHash},
    policy::Wish,
    policy_file::{
        MAX_TIME, MAX_TOKEN_LIFETIME, Policy, PolicyClient, PolicyGrant, PolicyResource,
    },
    resource::{ClaimNames, ResourceId, TokenFormat, TokenProfile},
};
use m2m::{ScopeSet, verify::Algorithm};
use proptest::{option, prelude::*, sample::Index};
use serde_json::Value;

use crate::support::NOW;

/// Few names, so that random graphs and requests meet; among them whatever is hard to write in a TOML file, a URL or a
/// picture.
pub(crate) const CLIENTS: [&str; 8] = ["m1", "m2", "m3", "a.b", "~", "-_-", "...", "1979-05-27"];
pub(crate) const RESOURCES: [&str; 8] = [
    "m1",
    "m2",
    "a.b",
    "https://notes.example/v1?x=1&y=%20",
    "urn:a:b",
    "it's[0](){}<>|;,`$",
    "=",
    "inf",
];
pub(crate) const SCOPES: [&str; 6] = ["hello", "write", "note.read", "#1", "'[a]=", "HELLO"];

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) client: String,
    pub(crate) resource: Option<String>,
    pub(crate) scopes: Option<ScopeSet>,
}

impl Ask {
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            resource: self.resource.clone(),
            scopes: self.scopes.clone(),
        }
    }
}

/// The reference model: an active client gets what a living grant says, all of it or what it asks for, and need not name
/// the only resource that it may call.
pub(crate) fn model(policy: &Policy, ask: &Ask, now: u64) -> Option<(ResourceId, ScopeSet)> {
    let active = |id: &ClientId| policy.clients[id].status != Some(ClientStatus::Inactive);
    let alive = policy
        .grants
        .iter()
        .filter(|(_, grant)| grant.expires_at.is_none_or(|end| end > now));
    let own: Vec<_> = alive
        .filter(|((id, _), _)| id.as_str() == ask.client && active(id))
        .collect();
    let named = |id: &ResourceId| {
        ask.resource
            .as_ref()
            .map_or(own.len() == 1, |name| name == id.as_str())
    };
    let fits = |grant: &PolicyGrant| ask.scopes.iter().all(|s| s.is_subset(&grant.scopes));
    let mut fitting = own
        .iter()
        .filter(|((_, to), grant)| named(to) && fits(grant));
    let ((_, to), grant) = fitting.next()?;
    Some((
        to.clone(),
        ask.scopes.as_ref().unwrap_or(&grant.scopes).clone(),
    ))
}

/// A request that is often, but not always, about what is in the graph.
pub(crate) fn asks() -> impl Strategy<Value = Ask> {
    let name = |known: &'static [&'static str]| {
        prop_oneof![
            20 => prop::sample::select(known).prop_map(str::to_owned),
            1 => "[!-~]{1,12}",
        ]
    };
    let scopes = prop::sample::subsequence(&SCOPES[..], 0..=2);
    let scopes = scopes.prop_map(|scopes| ScopeSet::from_tokens(scopes).unwrap());
    (
        name(&CLIENTS),
        option::of(name(&RESOURCES)),
        option::of(scopes),
    )
        .prop_map(|(client, resource, scopes)| Ask {
            client,
            resource,
            scopes,
        })
}

/// A policy as a file can have it.
pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let clients = prop::collection::btree_map(prop::sample::select(&CLIENTS[..]), client(), 0..=8);
    let resources =
        prop::collection::btree_map(prop::sample::select(&RESOURCES[..]), resource(), 0..=8);
    (clients, resources, prop::collection::vec(arrow(), 0..=12)).prop_map(
        |(clients, resources, arrows)| {
            let mut policy = Policy::parse("").unwrap();
            for (id, client) in clients {
                policy.clients.insert(ClientId::parse(id).unwrap(), client);
            }
            let owners: Vec<ClientId> = policy.clients.keys().cloned().collect();
            for (id, (mut resource, owner)) in resources {
                resource.owner = owner.map(|owner| owner.get(&owners).clone());
                policy
                    .resources
                    .insert(ResourceId::parse(id).unwrap(), resource);
            }
            for arrow in arrows {
                arrow.add_to(&mut policy);
            }
            policy
        },
    )
}

/// The same as a store would have it: nothing is left open, and a resource may have become stricter than its grants.
pub(crate) fn stored_policies() -> impl Strategy<Value = Policy> {
    (
        policies(),
        prop::collection::vec(option::of(1..=MAX_TOKEN_LIFETIME), 8),
    )
        .prop_map(|(mut policy, lives)| {
            for client in policy.clients.values_mut() {
                client.status.get_or_insert(ClientStatus::Active);
                client.metadata.get_or_insert_default();
            }
            let own = policy
                .resources
                .iter_mut()
                .filter(|(id, _)| id.as_str() != "auth-provider");
            for ((_, resource), life) in own.zip(lives) {
                resource.token_lifetime = life.unwrap_or(resource.token_lifetime);
            }
            policy
        })
}

fn client() -> impl Strategy<Value = PolicyClient> {
    let status = prop::sample::select(&[ClientStatus::Active, ClientStatus::Inactive][..]);
    let metadata = prop::collection::btree_map("[A-Za-z0-9_.-]{1,5}", value(), 0..=3);
    (name(), text(), option::of(status), option::of(metadata)).prop_map(
        |(name, description, status, metadata)| PolicyClient {
            name,
            description,
            status,
            metadata,
        },
    )
}

/// What operators may note. Fractions are such that each reader of numbers sees the same one.
fn value() -> impl Strategy<Value = Value> {
    const EXACT: i64 = (1 << 53) - 1;
    let number = prop_oneof![
        (-EXACT..=EXACT).prop_map(Value::from),
        (-1000_i16..1000).prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
    ];
    let leaf = prop_oneof![3 => text().prop_map(Value::from), 1 => any::<bool>().prop_map(Value::from), 1 => number];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let members = prop::collection::btree_map(text(), inner.clone(), 0..3);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            members.prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn resource() -> impl Strategy<Value = (PolicyResource, Option<Index>)> {
    let scopes = prop::collection::btree_map(prop::sample::select(&SCOPES[..]), text(), 0..=4);
    let profile = prop::sample::select(&TokenProfile::ALL[..]);
    let claims = prop::collection::btree_set("x[a-z_.-]{0,3}", 0..3);
    let format = prop::sample::select(&[TokenFormat::Jwt, TokenFormat::Opaque][..]);
    let alg = prop::sample::select(&Algorithm::ALL[..]);
    let owner = option::of(any::<Index>());
    let tokens = (life(), alg, format, profile, claims);
    (name(), scopes, tokens, owner).prop_map(
        |(
            name,
            scopes,
            (token_lifetime, signing_alg, token_format, token_profile, claims),
            owner,
        )| {
            let resource = PolicyResource {
                name,
                scopes: scopes
                    .into_iter()
                    .map(|(scope, words)| (scope.to_owned(), words))
                    .collect(),
                token_lifetime,
                signing_alg,
                owner: None,
                token_format,
                token_profile,
                metadata_claims: ClaimNames::parse(&Vec::from_iter(claims)).unwrap(),
            };
            (resource, owner)
        },
    )
}

/// A grant for clients, resources and scopes that are there, whichever they are.
#[derive(Clone, Debug)]
struct RandomArrow {
    client: Index,
    resource: Index,
    scopes: Vec<bool>,
    life: Option<u64>,
    end: Option<u64>,
    reason: String,
}

fn arrow() -> impl Strategy<Value = RandomArrow> {
    let end = prop_oneof![NOW - 1..=NOW + 1, Just(NOW + 3600), 0..=MAX_TIME];
    (
        any::<Index>(),
        any::<Index>(),
        prop::collection::vec(any::<bool>(), SCOPES.len()),
        option::of(life()),
        option::of(end),
        text(),
    )
        .prop_map(
            |(client, resource, scopes, life, end, reason)| RandomArrow {
                client,
                resource,
                scopes,
                life,
                end,
                reason,
            },
        )
}

impl RandomArrow {
    fn add_to(self, policy: &mut Policy) {
        let clients: Vec<&ClientId> = policy.clients.keys().collect();
        let resources: Vec<_> = policy.resources.iter().collect();
        let client = (*self.client.get(&clients)).clone();
        let (id, resource) = *self.resource.get(&resources);
        let scopes = resource
            .scopes
            .keys()
            .zip(self.scopes)
            .filter(|(_, is_in)| *is_in);
        let grant = PolicyGrant {
            scopes: ScopeSet::from_tokens(scopes.map(|(scope, _)| scope)).unwrap(),
            token_lifetime: self.life.map(|life| life.min(resource.token_lifetime)),
            expires_at: self.end,
            reason: self.reason,
        };
        // What is built in is in the policy already, and stays.
        policy.grants.entry((client, id.clone())).or_insert(grant);
    }
}

fn life() -> impl Strategy<Value = u64> {
    prop_oneof![Just(3600), Just(900), 1..=MAX_TOKEN_LIFETIME]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("m1".to_owned()),
        text().prop_filter("a name says something", |text| !text.trim().is_empty())
    ]
}

/// One line, with what TOML and people quote.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-c\"'#=\\\\\\[\\]{} é日🦀]{0,12}",
        "\\PC{0,12}"
    ]
}

/// The client as the token endpoint would see it.
pub(crate) fn record(policy: &Policy, id: &str) -> Option<ClientRecord> {
    let id = ClientId::parse(id).ok()?;
    let client = policy.clients.get(&id)?;
    let of = |name: &ResourceId| &policy.resources[name];
    Some(ClientRecord {
        status: client.status.unwrap_or(ClientStatus::Active),
        credentials: [Credential {
            id: CredentialId::generate(),
            secret: SecretHash::of(""),
            expires_at: None,
        }]
        .into(),
        grants: policy
            .grants
            .iter()
            .filter(|((client, _), _)| *client == id)
            .map(|((_, resource), grant)| Grant {
                resource: resource.clone(),
                scopes: grant.scopes.clone(),
                token_format: of(resource).token_format,
                token_profile: of(resource).token_profile,
                has_metadata_claims: !of(resource).metadata_claims.is_empty(),
                token_lifetime: grant.token_lifetime.unwrap_or(of(resource).token_lifetime),
                signing_alg: of(resource).signing_alg,
                expires_at: grant.expires_at,
            })
            .collect(),
        owns: Box::default(),
        id,
    })
}

/// The scopes that each resource defines.
pub(crate) fn defined_scopes(policy: &Policy) -> BTreeMap<&ResourceId, ScopeSet> {
    let scopes = |resource: &PolicyResource| ScopeSet::from_tokens(resource.scopes.keys()).unwrap();
    policy
        .resources
        .iter()
        .map(|(id, resource)| (id, scopes(resource)))
        .collect()
}
