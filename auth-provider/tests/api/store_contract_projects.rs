//! What every store must do for projects: find their clients, and no others.

use auth_provider::{
    client::Secret,
    policy_file::{PolicyGrant, PolicyResource},
    projects::{Operand, Operator, Search},
    registry::change::{Change, Committed, NewCredential},
    resource::{ClaimNames, TokenFormat, TokenProfile},
    storage::Store,
};
use m2m::verify::Algorithm;

use crate::{
    store_contract::stores,
    store_contract_registry::{client, profile, resource, version},
    support::NOW,
};

fn project(id: &str) -> Change {
    Change::PutResource {
        id: resource(id),
        settings: PolicyResource {
            name: id.to_owned(),
            scopes: ["read", "Read", "read:all"]
                .map(|s| (s.to_owned(), String::new()))
                .into(),
            token_lifetime: 3600,
            signing_alg: Algorithm::RS256,
            owner: None,
            token_format: TokenFormat::Jwt,
            token_profile: TokenProfile::Stytch,
            metadata_claims: ClaimNames::default(),
        },
        expected: None,
        version: version("1"),
    }
}

/// A client of a project, with a secret and, when there are scopes, a grant.
fn managed(id: &str, by: &str, name: &str, scopes: &str) -> Vec<Change> {
    let secret = Secret::generate();
    let mut changes = vec![
        Change::AddClient {
            id: client(id),
            profile: profile(name),
            managed_by: Some(resource(by)),
            version: version("1"),
            at: NOW,
        },
        Change::AddCredential(NewCredential {
            last_four: format!("of-{id}"),
            ..NewCredential::of(&client(id), "", &secret, NOW)
        }),
    ];
    if !scopes.is_empty() {
        changes.push(Change::PutGrant {
            client: client(id),
            resource: resource(by),
            terms: PolicyGrant {
                scopes: scopes.parse().unwrap(),
                token_lifetime: None,
                expires_at: None,
                reason: String::new(),
            },
            expected: None,
            version: version("1"),
        });
    }
    changes
}

async fn found(store: &dyn Store, search: &Search, after: &str, limit: usize) -> (String, u64) {
    let project = resource("project");
    let found = store
        .find_managed_clients(&project, search, after, limit)
        .await;
    let (clients, total) = found.unwrap();
    let ids: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    (ids.concat(), total)
}

#[actix_web::test]
async fn a_projects_clients_are_found_by_what_they_have() {
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&t| t.to_owned()).collect() };
    let ids = |ids: &[&str]| Operand::Ids(texts(ids));
    let names = |names: &[&str]| Operand::Names(texts(names));
    let scopes = |scopes: &[&str]| Operand::Scopes(texts(scopes));
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let changes = [
            vec![project("project"), project("other")],
            managed("a", "project", "One", "read"),
            managed("b", "project", "one", "Read read:all"),
            managed("c", "project", "One", ""),
            managed("x", "other", "One", "read"),
        ];
        let committed = store.commit(&changes.concat(), &[]).await.unwrap();
        assert_eq!(committed, Committed::Done);

        for (operator, operands, expected) in [
            (Operator::And, vec![], "abc"),
            (Operator::Or, vec![], "abc"),
            (Operator::And, vec![ids(&["a", "x", "c", "\0"])], "ac"),
            (Operator::And, vec![ids(&[])], ""),
            (Operator::Or, vec![ids(&[]), ids(&["c"])], "c"),
            (Operator::And, vec![names(&["One", "\0"])], "ac"),
            (Operator::And, vec![names(&["One"]), scopes(&["read"])], "a"),
            (Operator::Or, vec![names(&["one"]), scopes(&["read"])], "ab"),
            (Operator::And, vec![scopes(&["Read"])], "b"),
            (
                Operator::And,
                vec![scopes(&["read", "Read", "a b", "\0"])],
                "ab",
            ),
            (Operator::And, vec![scopes(&["rea"])], ""),
            (Operator::And, vec![scopes(&["%"])], ""),
        ] {
            let search = Search {
                operator,
                operands,
                ..Search::default()
            };
            let whole = found(store, &search, "", 10).await;
            assert_eq!(
                whole,
                (expected.to_owned(), expected.len() as u64),
                "{search:?}"
            );
        }
        let all = Search::default();
        assert_eq!(found(store, &all, "", 2).await, ("ab".to_owned(), 3));
        assert_eq!(found(store, &all, "b", 2).await, ("c".to_owned(), 3));
        assert_eq!(found(store, &all, "bb", 2).await, ("c".to_owned(), 3));
    }
}
