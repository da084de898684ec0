//! What every store must do with the registry: changes as a whole, together with what tells of them.

use std::{collections::BTreeMap, slice::from_ref};

use auth_provider::{
    audit::{Action, Event, Filter, Origin},
    client::{ClientId, ClientStatus, CredentialId, Secret, SecretHash},
    policy_file::{PolicyGrant, PolicyResource},
    registry::{
        Ending, Profile, Version,
        change::{Change, Committed, CredentialTerms, NewCredential, Remembered},
    },
    resource::{ClaimNames, ResourceId, TokenFormat, TokenProfile},
    revocation::Revoked,
    storage::Store,
};
use m2m::verify::Algorithm;
use serde_json::json;

use crate::{store_contract::stores, support::NOW};

pub(crate) fn client(id: &str) -> ClientId {
    ClientId::parse(id).unwrap()
}

pub(crate) fn resource(id: &str) -> ResourceId {
    ResourceId::parse(id).unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    Version::from_text(text)
}

pub(crate) fn profile(name: &str) -> Profile {
    Profile {
        name: name.to_owned(),
        description: "what for".to_owned(),
        status: ClientStatus::Active,
        metadata: BTreeMap::from([("team".to_owned(), json!({"a \"b\" é": [1, true, -0.5]}))]),
    }
}

pub(crate) fn add_client(id: &str) -> Change {
    Change::AddClient {
        id: client(id),
        profile: profile(id),
        managed_by: None,
        version: version("1"),
        at: NOW,
    }
}

pub(crate) fn change_client(id: &str, expected: &str, to: &str) -> Change {
    Change::ChangeClient {
        id: client(id),
        profile: Profile {
            status: ClientStatus::Inactive,
            metadata: BTreeMap::new(),
            ..profile("changed")
        },
        expected: version(expected),
        version: version(to),
        at: NOW + 5,
    }
}

pub(crate) fn remove_client(id: &str, expected: &str) -> Change {
    let (id, expected) = (client(id), version(expected));
    Change::RemoveClient { id, expected }
}

fn credential(of: &str) -> NewCredential {
    NewCredential::of(&client(of), "label", &Secret::generate(), NOW)
}

fn terms(label: &str, expires_at: Option<u64>) -> CredentialTerms {
    CredentialTerms {
        label: label.to_owned(),
        expires_at,
        replaces: None,
    }
}

pub(crate) fn settings(scopes: &[&str], owner: Option<&str>) -> PolicyResource {
    let scope = |name: &&str| ((*name).to_owned(), format!("may {name}"));
    PolicyResource {
        name: "R".to_owned(),
        scopes: scopes.iter().map(scope).collect(),
        token_lifetime: 3600,
        signing_alg: Algorithm::RS256,
        owner: owner.map(client),
        token_format: TokenFormat::Opaque,
        token_profile: TokenProfile::Stytch,
        metadata_claims: ClaimNames::parse(&["team"]).unwrap(),
    }
}

pub(crate) fn put_resource(
    id: &str,
    settings: PolicyResource,
    expected: Option<&str>,
    to: &str,
) -> Change {
    Change::PutResource {
        id: resource(id),
        settings,
        expected: expected.map(version),
        version: version(to),
    }
}

pub(crate) fn put_grant(of: &str, to: &str, scopes: &str, expected: Option<&str>) -> Change {
    Change::PutGrant {
        client: client(of),
        resource: resource(to),
        terms: PolicyGrant {
            scopes: scopes.parse().unwrap(),
            token_lifetime: Some(60),
            expires_at: Some(NOW + 9),
            reason: "asked".to_owned(),
        },
        expected: expected.map(version),
        version: version("g"),
    }
}

fn event(action: Action) -> Event {
    Event::done(action, NOW, &Origin::server())
}

pub(crate) async fn done(store: &dyn Store, changes: &[Change]) {
    let committed = store.commit(changes, &[]).await.unwrap();
    assert_eq!(committed, Committed::Done, "{changes:?}");
}

async fn conflicts(store: &dyn Store, changes: &[Change], at: usize) {
    let events = [event(Action::ClientChanged)];
    let committed = store.commit(changes, &events).await.unwrap();
    assert_eq!(committed, Committed::Conflict(at), "{changes:?}");
}

#[actix_web::test]
async fn a_change_is_made_with_its_events_or_neither() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let events = [
            event(Action::ClientCreated).client(&client("a")),
            event(Action::GrantCreated),
        ];
        for _ in 0..15 {
            // More often than there are connections: none may stay in the middle of something.
            conflicts(
                store,
                &[add_client("a"), add_client("b"), add_client("a")],
                2,
            )
            .await;
            let unknown_owner = put_resource("r", settings(&[], Some("nobody")), None, "1");
            assert!(
                store
                    .commit(&[add_client("a"), unknown_owner], &events)
                    .await
                    .is_err()
            );
        }
        assert!(store.client(&client("a")).await.unwrap().is_none());
        assert!(store.client(&client("b")).await.unwrap().is_none());
        assert_eq!(
            store
                .events(&Filter::default(), u64::MAX, 10)
                .await
                .unwrap(),
            []
        );

        let committed = store.commit(&[add_client("a")], &events).await.unwrap();
        assert_eq!(committed, Committed::Done);
        let kept = store
            .events(&Filter::default(), u64::MAX, 10)
            .await
            .unwrap();
        let kept: Vec<_> = kept
            .into_iter()
            .map(|recorded| recorded.event)
            .rev()
            .collect();
        assert_eq!(kept, events);
    }
}

#[actix_web::test]
async fn a_step_that_does_not_find_what_it_expects_is_named() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let one = credential("a");
        let grant = |expected| put_grant("a", "r", "", expected);
        let r = |expected, owner| put_resource("r", settings(&[], owner), expected, "2");
        let unknown = CredentialId::generate();
        let change_credential = |of: &str, id: &CredentialId, expected| Change::ChangeCredential {
            client: client(of),
            id: *id,
            expected,
            terms: terms("new", Some(NOW)),
        };
        done(
            store,
            &[
                add_client("a"),
                add_client("b"),
                put_resource("r", settings(&["s"], None), None, "1"),
                grant(None),
                Change::AddCredential(one.clone()),
            ],
        )
        .await;
        let replacing = |replaced: &CredentialId| {
            let replaces = Some(*replaced);
            Change::AddCredential(NewCredential {
                replaces,
                ..credential("a")
            })
        };
        let twice = NewCredential {
            id: one.id,
            ..credential("b")
        };
        for bad in [
            Change::Graph { expected: 7 },
            add_client("a"),
            change_client("a", "2", "3"),
            change_client("unknown", "1", "3"),
            remove_client("a", "2"),
            remove_client("unknown", "1"),
            Change::AddCredential(credential("unknown")),
            Change::AddCredential(twice),
            replacing(&unknown),
            change_credential("a", &unknown, terms("label", None)),
            change_credential("b", &one.id, terms("label", None)),
            change_credential("a", &one.id, terms("other", None)),
            change_credential("a", &one.id, terms("label", Some(NOW))),
            Change::RemoveCredential {
                client: client("b"),
                id: one.id,
            },
            Change::RemoveCredential {
                client: client("a"),
                id: unknown,
            },
            r(None, None),
            r(Some("2"), None),
            put_resource("unknown", settings(&[], None), Some("1"), "2"),
            Change::RemoveResource {
                id: resource("r"),
                expected: version("2"),
            },
            Change::RemoveResource {
                id: resource("unknown"),
                expected: version("1"),
            },
            grant(None),
            grant(Some("other")),
            put_grant("b", "r", "", Some("g")),
            Change::RemoveGrant {
                client: client("a"),
                resource: resource("r"),
                expected: version("other"),
            },
        ] {
            conflicts(store, from_ref(&bad), 0).await;
            conflicts(
                store,
                &[add_client("c"), Change::Graph { expected: 1 }, bad],
                2,
            )
            .await;
        }
        done(store, &[replacing(&one.id)]).await;
        conflicts(store, &[replacing(&one.id)], 0).await;
        assert!(store.client(&client("c")).await.unwrap().is_none());
        assert_eq!(store.graph_version().await.unwrap(), 1);
        assert_eq!(
            store
                .events(&Filter::default(), u64::MAX, 10)
                .await
                .unwrap(),
            []
        );
    }
}

#[actix_web::test]
async fn clients_and_credentials_are_what_the_last_change_made_of_them() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let old = credential("a");
        let new = NewCredential {
            replaces: Some(old.id),
            expires_at: Some(NOW + 50),
            created_at: NOW + 1,
            ..credential("a")
        };
        let token = SecretHash::of("registration");
        done(
            store,
            &[
                add_client("a"),
                Change::AddCredential(old.clone()),
                Change::AddCredential(new.clone()),
                Change::Register {
                    client: client("a"),
                    token,
                },
            ],
        )
        .await;
        let a = store.client(&client("a")).await.unwrap().unwrap();
        assert_eq!(a.profile, profile("a"));
        assert_eq!(
            (a.created_at, a.updated_at, a.last_used_at),
            (NOW, NOW, None)
        );
        let all = store.credentials(&client("a")).await.unwrap();
        assert_eq!(all.longest_gap, 0);
        let ids: Vec<_> = all.all.iter().map(|one| &one.id).collect();
        assert_eq!(ids, [&old.id, &new.id]);
        let kept = &all.all[1];
        assert_eq!(kept.replaces.as_ref(), Some(&old.id));
        assert_eq!(
            (kept.label.as_str(), kept.expires_at),
            ("label", Some(NOW + 50))
        );
        assert_eq!((&kept.last_four, kept.usage), (&new.last_four, None));
        let record = store.client_record(&client("a")).await.unwrap().unwrap();
        assert!(record.accepts(&new.secret, NOW + 49).is_some());
        assert!(record.accepts(&new.secret, NOW + 50).is_none());
        let ending = async |span, limit| store.ending_credentials(span, limit).await.unwrap();
        let expected = Ending {
            client: client("a"),
            credential: new.id,
            at: NOW + 50,
        };
        assert_eq!(ending(NOW + 50..NOW + 51, 10).await, [expected]);
        assert_eq!(ending(NOW..NOW + 50, 10).await, []);
        assert_eq!(ending(NOW..NOW + 99, 0).await, []);
        for (now, soon, counted) in [
            (NOW, NOW + 49, (0, 0)),
            (NOW, NOW + 50, (1, 0)),
            (NOW + 49, NOW + 99, (1, 0)),
            (NOW + 50, NOW + 99, (0, 1)),
        ] {
            let census = store.census(now, soon).await.unwrap();
            let found = (census.ending_credentials, census.ended_credentials);
            assert_eq!(found, counted, "{now} {soon}");
        }
        let registered = store.registration(&client("a")).await.unwrap().unwrap();
        assert!(registered.matches(&token));

        let expected = CredentialTerms {
            replaces: Some(old.id),
            ..terms("label", Some(NOW + 50))
        };
        let change = Change::ChangeCredential {
            client: client("a"),
            id: new.id,
            terms: CredentialTerms {
                expires_at: None,
                ..expected.clone()
            },
            expected,
        };
        let other = Change::Register {
            client: client("a"),
            token: SecretHash::of("other"),
        };
        let leave = Change::RemoveCredential {
            client: client("a"),
            id: old.id,
        };
        done(store, &[change_client("a", "1", "2"), change, leave, other]).await;
        let a = store.client(&client("a")).await.unwrap().unwrap();
        assert_eq!(
            (a.profile.name.as_str(), a.profile.status),
            ("changed", ClientStatus::Inactive)
        );
        assert_eq!(
            (a.created_at, a.updated_at, a.version),
            (NOW, NOW + 5, version("2"))
        );
        assert!(a.profile.metadata.is_empty());
        let all = store.credentials(&client("a")).await.unwrap().all;
        assert_eq!(all.len(), 1);
        assert_eq!(
            (&all[0].id, &all[0].replaces, all[0].expires_at),
            (&new.id, &None, None)
        );
        let registered = store.registration(&client("a")).await.unwrap().unwrap();
        assert!(registered.matches(&SecretHash::of("other")));

        done(store, &[remove_client("a", "2")]).await;
        assert!(store.client(&client("a")).await.unwrap().is_none());
        assert!(store.registration(&client("a")).await.unwrap().is_none());
        assert!(
            store
                .credentials(&client("a"))
                .await
                .unwrap()
                .all
                .is_empty()
        );
    }
}

#[actix_web::test]
async fn an_answer_is_remembered_until_its_time_and_its_key_taken_once() {
    let key = SecretHash::of("key");
    let remember = |request: &str, at: u64, until: u64| {
        Change::Remember(Remembered {
            key,
            request: SecretHash::of(request),
            answer: request.as_bytes().to_vec(),
            until,
            at,
        })
    };
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let seen = async |now| {
            let found = store.remembered(&key, now).await.unwrap();
            found.map(|(request, answer)| {
                let answer = String::from_utf8(answer).unwrap();
                assert!(request.matches(&SecretHash::of(&answer)));
                answer
            })
        };
        assert_eq!(seen(NOW).await, None);
        done(store, &[remember("one", NOW, NOW + 10)]).await;
        conflicts(
            store,
            &[add_client("a"), remember("two", NOW + 9, NOW + 19)],
            1,
        )
        .await;
        assert!(store.client(&client("a")).await.unwrap().is_none());
        assert_eq!(seen(NOW + 9).await.as_deref(), Some("one"));
        assert_eq!(seen(NOW + 10).await, None);
        done(store, &[remember("two", NOW + 10, NOW + 20)]).await;
        assert_eq!(seen(NOW + 19).await.as_deref(), Some("two"));
        store.forget_answers(NOW + 19).await.unwrap();
        assert_eq!(seen(NOW).await.as_deref(), Some("two"));
        store.forget_answers(NOW + 20).await.unwrap();
        assert_eq!(seen(NOW).await, None);
    }
}

#[actix_web::test]
async fn a_change_takes_tokens_back_in_the_same_step() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let revoke = Revoked::Client(client("a")).at(NOW);
        conflicts(store, &[revoke.clone(), remove_client("a", "1")], 1).await;
        assert_eq!(store.revocations_after(0).await.unwrap(), []);
        done(store, &[add_client("a"), revoke, remove_client("a", "1")]).await;
        assert_eq!(store.revocations_after(0).await.unwrap().len(), 1);
    }
}
