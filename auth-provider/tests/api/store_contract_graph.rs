//! What every store must say of the graph, as a whole and in pages.

use std::collections::BTreeMap;

use auth_provider::{
    client::ClientStatus,
    policy_file::Policy,
    registry::{ClientFilter, GrantFilter, change::Change},
};

use crate::{
    store_contract::stores,
    store_contract_registry::{
        add_client, change_client, client, done, profile, put_grant, put_resource, remove_client,
        resource, settings, version,
    },
    support::NOW,
};

#[actix_web::test]
async fn the_graph_is_what_the_last_change_made_of_it() {
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        let graph = |expected| Change::Graph { expected };
        done(
            store,
            &[
                graph(1),
                add_client("a"),
                add_client("b"),
                put_resource("r", settings(&["x", "y"], Some("b")), None, "1"),
                put_grant("a", "r", "y x", None),
            ],
        )
        .await;
        assert_eq!(store.graph_version().await.unwrap(), 2);
        let r = store.resource(&resource("r")).await.unwrap().unwrap();
        assert_eq!(
            (r.settings, r.version),
            (settings(&["x", "y"], Some("b")), version("1"))
        );
        let g = store
            .grant(&client("a"), &resource("r"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(g.terms.scopes.to_string(), "x y");
        assert_eq!(
            (g.terms.token_lifetime, g.terms.expires_at),
            (Some(60), Some(NOW + 9))
        );
        assert_eq!(
            (g.terms.reason.as_str(), g.version),
            ("asked", version("g"))
        );

        done(
            store,
            &[
                graph(2),
                put_resource("r", settings(&["y", "z"], Some("b")), Some("1"), "2"),
            ],
        )
        .await;
        let r = store.resource(&resource("r")).await.unwrap().unwrap();
        assert_eq!(
            (r.settings, r.version),
            (settings(&["y", "z"], Some("b")), version("2"))
        );

        done(store, &[graph(3), remove_client("b", "1")]).await;
        let r = store.resource(&resource("r")).await.unwrap().unwrap();
        assert_eq!(r.settings, settings(&["y", "z"], None));
        assert_ne!(
            r.version,
            version("2"),
            "it is another one without its owner"
        );

        let whole = store.graph(None).await.unwrap();
        assert_eq!(whole.version, 4);
        assert_eq!(whole.clients, BTreeMap::from([(client("a"), version("1"))]));
        assert_eq!(
            whole.resources,
            BTreeMap::from([(resource("r"), r.version.clone())])
        );
        let arrow = (client("a"), resource("r"));
        assert_eq!(
            whole.grants,
            BTreeMap::from([(arrow.clone(), version("g"))])
        );
        assert_eq!(whole.policy.resources[&resource("r")], r.settings);
        assert_eq!(
            whole.policy.clients[&client("a")].metadata,
            Some(profile("a").metadata)
        );
        let mut named = Policy::default();
        named
            .grants
            .insert(arrow.clone(), whole.policy.grants[&arrow].clone());
        let part = store.graph(Some(&named)).await.unwrap();
        assert_eq!(
            (part.clients.len(), part.resources.len(), part.grants.len()),
            (0, 0, 1)
        );

        let remove_resource = Change::RemoveResource {
            id: resource("r"),
            expected: r.version,
        };
        let remove_grant = Change::RemoveGrant {
            client: client("a"),
            resource: resource("r"),
            expected: version("g"),
        };
        done(store, &[remove_grant, remove_resource]).await;
        let empty = store.graph(None).await.unwrap();
        assert!(empty.resources.is_empty() && empty.grants.is_empty());
    }
}

#[actix_web::test]
async fn lists_come_in_pages_and_in_the_order_of_bytes() {
    // As a dictionary has them, `a` and `A` would stand side by side.
    const IDS: [&str; 6] = ["A", "B-1", "_", "a", "a.b", "~"];
    for (store, _folder) in stores().await {
        let store = store.as_ref();
        for id in IDS {
            let scopes = [id, "s"];
            done(
                store,
                &[
                    add_client(id),
                    put_resource(id, settings(&scopes, None), None, "1"),
                ],
            )
            .await;
            for to in IDS {
                let Some(_) = store.resource(&resource(to)).await.unwrap() else {
                    continue;
                };
                done(store, &[put_grant(id, to, "", None)]).await;
            }
        }
        done(store, &[change_client("a.b", "1", "2")]).await;
        for limit in [1, 2, 5, 6, 7] {
            let mut clients: Vec<String> = Vec::new();
            loop {
                let after = clients.last().map_or("", String::as_str);
                let page = store
                    .clients(&ClientFilter::default(), after, limit)
                    .await
                    .unwrap();
                clients.extend(page.iter().map(|client| client.id.to_string()));
                if page.len() < limit {
                    break;
                }
            }
            assert_eq!(clients, IDS);
            let mut found: Vec<String> = Vec::new();
            loop {
                let after = found.last().map_or("", String::as_str);
                let page = store.resources(after, limit).await.unwrap();
                for one in &page {
                    assert_eq!(one.settings, settings(&[one.id.as_str(), "s"], None));
                    found.push(one.id.to_string());
                }
                if page.len() < limit {
                    break;
                }
            }
            assert_eq!(found, IDS);
            let mut grants: Vec<(String, String)> = Vec::new();
            loop {
                let after = grants
                    .last()
                    .map_or(("", ""), |(c, r)| (c.as_str(), r.as_str()));
                let page = store
                    .grants(&GrantFilter::default(), after, limit)
                    .await
                    .unwrap();
                let len = page.len();
                grants.extend(
                    page.into_iter()
                        .map(|a| (a.client.to_string(), a.resource.to_string())),
                );
                if len < limit {
                    break;
                }
            }
            assert_eq!(grants.len(), 21);
            assert!(grants.is_sorted());
        }
        let find = async |status, prefix: Option<&str>, name: Option<&str>| {
            let filter = ClientFilter {
                status,
                prefix: prefix.map(str::to_owned),
                name: name.map(str::to_owned),
            };
            let found = store.clients(&filter, "", 10).await.unwrap();
            found
                .into_iter()
                .map(|client| client.id.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            find(Some(ClientStatus::Inactive), None, None).await,
            ["a.b"]
        );
        assert_eq!(find(None, Some("a"), None).await, ["a", "a.b"]);
        assert_eq!(find(None, Some("a"), Some("changed")).await, ["a.b"]);
        assert_eq!(
            find(Some(ClientStatus::Active), Some("a"), Some("a")).await,
            ["a"]
        );
        assert_eq!(find(None, Some("%"), None).await, Vec::<String>::new());
        let of = GrantFilter {
            client: Some(client("B-1")),
            ..GrantFilter::default()
        };
        assert_eq!(store.grants(&of, ("", ""), 10).await.unwrap().len(), 2);
        assert_eq!(store.grants(&of, ("B-1", "A"), 10).await.unwrap().len(), 1);
        let to = GrantFilter {
            resource: Some(resource("~")),
            ..GrantFilter::default()
        };
        assert_eq!(store.grants(&to, ("", ""), 10).await.unwrap().len(), 1);
    }
}
