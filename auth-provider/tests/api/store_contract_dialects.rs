//! What every store must do with bearers, with what stands in tokens, and with the clients of projects.

use auth_provider::{
    client::{CredentialKind, Secret, SecretHash},
    registry::change::{Change, Committed, NewCredential},
    resource::{ClaimNames, TokenProfile},
    revocation::{Revoked, revoked_all_of},
    storage::Store,
};
use serde_json::json;

use crate::{
    store_contract::stores,
    store_contract_registry::{
        add_client, client, done, put_grant, put_resource, resource, settings, version,
    },
    support::NOW,
};

fn managed(id: &str, by: &str) -> Change {
    let mut change = add_client(id);
    if let Change::AddClient { managed_by, .. } = &mut change {
        *managed_by = Some(resource(by));
    }
    change
}

fn bootstrap(of: &str, secret: &Secret, expires_at: Option<u64>) -> NewCredential {
    NewCredential {
        kind: CredentialKind::Bootstrap,
        expires_at,
        ..NewCredential::of(&client(of), "rack", secret, NOW)
    }
}

#[actix_web::test]
async fn a_secret_finds_its_credential_and_no_two_are_the_same() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let (secret, token) = (
            Secret::generate(),
            Secret::of_kind(CredentialKind::Bootstrap),
        );
        let first = NewCredential::of(&client("a"), "", &secret, NOW);
        let second = bootstrap("b", &token, Some(NOW + 9));
        let add = |new: &NewCredential| Change::AddCredential(new.clone());
        done(
            store,
            &[add_client("a"), add_client("b"), add(&first), add(&second)],
        )
        .await;

        let found = store.bearer(&token.hash()).await.unwrap().unwrap();
        assert_eq!((found.client, found.credential), (client("b"), second.id));
        assert_eq!(
            (found.kind, found.expires_at),
            (CredentialKind::Bootstrap, Some(NOW + 9))
        );
        let found = store.bearer(&secret.hash()).await.unwrap().unwrap();
        assert_eq!(
            (found.kind, found.expires_at),
            (CredentialKind::Secret, None)
        );
        assert!(store.bearer(&SecretHash::of("")).await.unwrap().is_none());
        assert_eq!(
            store.client_of(&second.id).await.unwrap(),
            Some(client("b"))
        );

        for again in [
            NewCredential::of(&client("b"), "", &secret, NOW),
            bootstrap("a", &token, Some(NOW)),
            bootstrap("a", &secret, Some(NOW)),
        ] {
            let committed = store.commit(&[add(&again)], &[]).await.unwrap();
            assert_eq!(committed, Committed::Conflict(0));
        }
        let endless = bootstrap("a", &Secret::generate(), None);
        assert!(
            store.commit(&[add(&endless)], &[]).await.is_err(),
            "it has to end"
        );

        // Listed like others, and yet in nobody's record.
        let listed = store.credentials(&client("b")).await.unwrap().all;
        assert_eq!(
            (listed.len(), listed[0].kind),
            (1, CredentialKind::Bootstrap)
        );
        let record = store.client_record(&client("b")).await.unwrap().unwrap();
        assert!(record.credentials.is_empty());
        let ending = store.ending_credentials(NOW..NOW + 10, 10).await.unwrap();
        assert_eq!(ending.len(), 1);
        let remove = Change::RemoveCredential {
            client: client("b"),
            id: second.id,
        };
        done(store, &[remove]).await;
        assert!(store.bearer(&token.hash()).await.unwrap().is_none());
        assert!(store.client_of(&second.id).await.unwrap().is_none());
    }
}

#[actix_web::test]
async fn what_stands_in_tokens_is_what_the_client_has_and_the_resource_wants() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let mut wants = settings(&[], None);
        wants.metadata_claims = ClaimNames::parse(&["team", "unknown"]).unwrap();
        let mut plain = wants.clone();
        plain.metadata_claims = ClaimNames::default();
        plain.token_profile = TokenProfile::SuperTokens;
        done(
            store,
            &[
                add_client("a"),
                put_resource("r", wants.clone(), None, "1"),
                put_resource("plain", plain, None, "1"),
                put_grant("a", "r", "", None),
                put_grant("a", "plain", "", None),
            ],
        )
        .await;
        let known = store.resource(&resource("r")).await.unwrap().unwrap();
        assert_eq!(known.settings, wants);
        let claims = async |of: &str, to: &str| {
            let claims = store.metadata_claims(&client(of), &resource(to)).await;
            json!(claims.unwrap())
        };
        assert_eq!(
            claims("a", "r").await,
            json!({"team": {"a \"b\" é": [1, true, -0.5]}})
        );
        for (of, to) in [("a", "plain"), ("a", "unknown"), ("unknown", "r")] {
            assert_eq!(claims(of, to).await, json!({}));
        }
        let record = store.client_record(&client("a")).await.unwrap().unwrap();
        let grants: Vec<_> = record
            .grants
            .iter()
            .map(|grant| {
                (
                    grant.resource.as_str(),
                    grant.token_profile,
                    grant.has_metadata_claims,
                )
            })
            .collect();
        assert_eq!(
            grants,
            [
                ("plain", TokenProfile::SuperTokens, false),
                ("r", TokenProfile::Stytch, true)
            ]
        );
    }
}

#[actix_web::test]
async fn all_tokens_of_a_resource_are_taken_back_in_one_step() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        done(
            store,
            &[
                add_client("a"),
                add_client("b"),
                put_resource("r", settings(&[], None), None, "1"),
                put_resource("other", settings(&[], None), None, "1"),
                put_grant("a", "r", "", None),
                put_grant("b", "r", "", None),
                put_grant("b", "other", "", None),
                revoked_all_of(resource("r"), NOW),
            ],
        )
        .await;
        let mut revoked: Vec<_> = store.revocations_after(0).await.unwrap();
        revoked.sort_by_key(|entry| format!("{:?}", entry.revoked));
        let what: Vec<_> = revoked.iter().map(|entry| entry.revoked.clone()).collect();
        let grant = |of: &str| Revoked::Grant(client(of), resource("r"));
        assert_eq!(what, [grant("a"), grant("b")]);
        assert!(revoked.iter().all(|entry| entry.revoked_at == NOW));
    }
}

#[actix_web::test]
async fn a_project_has_its_clients_until_it_is_removed() {
    for (store, _folder) in stores().await {
        let store: &dyn Store = store.as_ref();
        let secret = Secret::generate();
        let first = NewCredential::of(&client("b"), "", &secret, NOW);
        let next = NewCredential {
            replaces: Some(first.id),
            ..NewCredential::of(&client("b"), "", &Secret::generate(), NOW + 1)
        };
        let later = NewCredential::of(&client("b"), "", &Secret::generate(), NOW + 2);
        let early = bootstrap("b", &Secret::generate(), Some(NOW + 9));
        done(
            store,
            &[
                put_resource("p", settings(&["s"], None), None, "1"),
                put_resource("q", settings(&[], None), None, "1"),
                managed("b", "p"),
                managed("a", "p"),
                managed("c", "q"),
                add_client("d"),
                put_grant("b", "p", "s", None),
                put_grant("b", "q", "", None),
                Change::AddCredential(early),
                Change::AddCredential(first),
                Change::AddCredential(next.clone()),
                Change::AddCredential(later),
            ],
        )
        .await;
        let p = resource("p");
        assert_eq!(store.count_managed_clients(&p).await.unwrap(), 2);
        let ids = async |after: &str, limit: usize| {
            let found = store.managed_clients(&p, after, limit).await.unwrap();
            let ids = found.iter().map(|client| client.id.to_string());
            ids.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ids("", 10).await, "a b");
        assert_eq!(ids("", 1).await, "a");
        assert_eq!(ids("a", 10).await, "b");
        let b = store
            .managed_client(&p, &client("b"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(b.last_four, secret.last_four());
        assert_eq!(b.next_last_four, Some(next.last_four));
        assert_eq!(
            (b.name.as_str(), b.scopes.to_string()),
            ("b", "s".to_owned())
        );
        let a = store
            .managed_client(&p, &client("a"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((a.last_four.as_str(), a.next_last_four), ("", None));
        assert!(a.scopes.is_empty());
        for not_its in ["c", "d", "unknown"] {
            let found = store.managed_client(&p, &client(not_its)).await.unwrap();
            assert!(found.is_none(), "{not_its}");
        }

        let a = store.client(&client("a")).await.unwrap().unwrap();
        assert_eq!(a.managed_by, Some(p.clone()));
        let unknown = store.commit(&[managed("e", "unknown")], &[]).await;
        assert!(unknown.is_err(), "there is no such project");
        let remove = Change::RemoveResource {
            id: p.clone(),
            expected: version("1"),
        };
        done(store, &[remove]).await;
        let free = store.client(&client("a")).await.unwrap().unwrap();
        assert_eq!(free.managed_by, None);
        assert_ne!(free.version, a.version);
        assert_eq!(store.count_managed_clients(&p).await.unwrap(), 0);
    }
}
