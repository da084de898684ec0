//! A server that keeps no events of tokens: what the audit log has then, what is known of the uses of credentials, and what
//! of that a crash leaves.

use std::time::Duration;

use auth_provider::{
    client::{ClientId, Secret},
    policy_file::Policy,
    registry::{
        Unwritten, Usage,
        change::{Change, NewCredential},
        policy::apply_at_start,
    },
    storage::{self, DatabaseUrl},
    uses::{Promise, Used},
};
use reqwest::Method;
use serde_json::json;

use crate::{
    administrator::Administrator,
    process::{in_folder, started},
    store_contract::stores,
    support::{NOW, POLICY, Server, folder, secret_in},
};

const SUMMED: &str = "audit_tokens = 'summed'";

fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

#[actix_web::test]
async fn refusals_and_changes_are_kept_and_what_comes_with_each_token_is_not() {
    let server = Server::start_with(POLICY, SUMMED).await;
    let admin = Administrator::of(&server).await;
    let token = server.token("bot", "notes").await;
    for _ in 0..9 {
        server.token("bot", "notes").await;
    }
    server.introspect("bot", &token).await;
    let kept = admin.events("").await;
    let of_uses = ["token.issued", "credential.used"];
    let is_use = |event: &serde_json::Value| of_uses.iter().any(|name| event["action"] == *name);
    assert!(!kept.iter().any(is_use), "{kept:#?}");

    // Each of these leaves an event, as ever.
    let refused = server.ask("bot", &[("resource", "no-such-thing")]).await;
    assert_eq!(refused.status(), 400);
    let url = format!("{}/oauth/token", server.url);
    let guess = server.http.post(&url).basic_auth("bot", Some("guessed"));
    let guess = guess.form(&[("grant_type", "client_credentials")]);
    assert_eq!(guess.send().await.unwrap().status(), 401);
    server.revoke("bot", &token).await;
    let new = json!({"client_id": "newcomer"});
    admin.call(Method::POST, "/clients", Some(&new)).await;
    for action in [
        "token.refused",
        "authentication.failed",
        "token.revoked",
        "client.created",
    ] {
        let about = if action == "client.created" {
            "newcomer"
        } else {
            "bot"
        };
        let events = admin
            .events(&format!("action={action}&client_id={about}"))
            .await;
        assert_eq!(events.len(), 1, "{action}: {events:#?}");
    }

    // Nothing is missing of what is counted.
    let client = admin.get("/clients/bot").await;
    assert_eq!(client["last_used_at"], NOW, "{client}");
    let credentials = admin.get("/clients/bot/credentials").await;
    assert_eq!(credentials["credentials"][0]["use_count"], 11);
    let metrics = server.http.get(format!("{}/metrics", server.url));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let issued = "auth_provider_events_total{action=\"token.issued\",outcome=\"success\"";
    let line = metrics.lines().find(|line| line.starts_with(issued));
    assert!(line.unwrap().ends_with(" 11"), "{line:?}");
}

#[actix_web::test]
async fn sums_are_added_to_what_is_known_and_a_promise_stands_until_it_is_taken_back() {
    let client = id("fleet");
    let policy = Policy::parse("[clients.fleet]").unwrap();
    for (store, _folder) in stores().await {
        apply_at_start(store.as_ref(), &policy, NOW).await.unwrap();
        let [a, b] = [(); 2].map(|()| NewCredential::of(&client, "", &Secret::generate(), NOW));
        let [a_id, b_id] = [a.id, b.id];
        let add = [Change::AddCredential(a), Change::AddCredential(b)];
        store.commit(&add, &[]).await.unwrap();
        let used = |credential, first: u64, last: u64, count, longest_gap| Used {
            client: client.clone(),
            credential,
            first_at: NOW + first,
            last_at: NOW + last,
            count,
            alive_until: NOW + last + 60,
            longest_gap,
            after_another: None,
        };
        let promise = |server: &str, known: u64| Promise {
            server: server.to_owned(),
            known_until: NOW + known,
            taken_until: NOW + known + 60,
        };
        let mut known = vec![];
        for (uses, gap) in [
            (vec![used(a_id, 0, 5, 3, 4)], 4),
            // The gap before the first of them.
            (vec![used(a_id, 25, 26, 2, 1)], 20),
            // Two servers that wrote late: nothing is counted less than it is.
            (
                vec![used(a_id, 10, 12, 2, 2), used(b_id, 30, 80, 2, 50)],
                50,
            ),
        ] {
            store
                .add_uses(&uses, Some(&promise("one", 80)))
                .await
                .unwrap();
            known = store.credentials(&client).await.unwrap().all;
            let found = store.credentials(&client).await.unwrap().longest_gap;
            assert_eq!(found, gap, "{uses:?}");
        }
        for (credential, last, count) in [(a_id, 26, 7), (b_id, 80, 2)] {
            let found = known.iter().find(|found| found.id == credential);
            let usage = Usage {
                last_used_at: NOW + last,
                count,
                alive_until: NOW + last + 60,
            };
            assert_eq!(found.unwrap().usage, Some(usage));
        }
        // Of those who are gone, the last one counts.
        for (server, at) in [("two", 90), ("three", 100), ("four", 1000)] {
            let promise = promise(server, at);
            store.add_uses(&[], Some(&promise)).await.unwrap();
        }
        let unwritten = async || {
            let mut all = store.credentials(&client).await.unwrap().unwritten;
            all.sort_by_key(|span| span.known_until);
            all
        };
        let span = |known: u64| Unwritten {
            known_until: NOW + known,
            taken_until: NOW + known + 60,
            longest_token: 60,
        };
        assert_eq!(unwritten().await, [span(100), span(1000)]);
        store.end_promise("four").await.unwrap();
        assert_eq!(unwritten().await, [span(100)]);
        // A credential that is gone has no uses.
        let gone = NewCredential::of(&client, "", &Secret::generate(), NOW).id;
        store
            .add_uses(&[used(gone, 1, 1, 1, 0)], None)
            .await
            .unwrap();
    }
}

/// What a crash loses is not taken for idleness, and what a server writes at its end is all of it.
#[actix_web::test]
async fn a_crash_leaves_word_that_uses_may_be_missing_and_an_orderly_end_leaves_none() {
    for signal in ["KILL", "TERM"] {
        let folder = folder();
        let mut program = in_folder(folder.path());
        let (mut child, address) = started(program.args(["--audit-tokens", "summed"]));
        let secret = secret_in(&folder.path().join("clients.json"), "courier");
        let http = m2m::http_client(Duration::from_secs(10));
        let request = http.post(format!("http://{address}/oauth/token"));
        let request = request.basic_auth("courier", Some(&secret));
        let form = [("grant_type", "client_credentials"), ("resource", "lab")];
        for _ in 0..3 {
            let request = request.try_clone().unwrap().form(&form);
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
        let pid = child.id().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-s", signal, &pid])
            .status();
        assert!(kill.unwrap().success());
        child.wait().unwrap();

        let file = folder.path().join("data/auth-provider.db");
        let store = storage::open(&DatabaseUrl::SqliteFile(file)).await.unwrap();
        let found = store.credentials(&id("courier")).await.unwrap();
        let count = found.all[0].usage.map_or(0, |usage| usage.count);
        if signal == "TERM" {
            assert_eq!((count, found.unwritten.len()), (3, 0));
        } else {
            assert_eq!(found.unwritten.len(), 1);
            let span = found.unwritten[0];
            assert!(span.taken_until >= span.known_until + 60);
        }
    }
}
