//! Several administrators at once: nobody's change is lost, and nobody is told that it was made when it was not.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::administration::{Admin, Answer, answer, ask_with, racing_servers, works};

async fn patch_if(admin: &Admin<'_>, path: &str, etag: &str, wish: Value) -> Answer {
    let request = admin.request(Method::PATCH, path).await;
    answer(request.header("if-match", etag).json(&wish)).await
}

#[actix_web::test]
async fn of_two_who_change_one_version_one_is_told() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        let scopes = |n: usize| {
            let scopes = [
                &["note.read"][..],
                &["note.write"],
                &["note.read", "note.write"],
            ];
            json!(scopes[n % 3])
        };
        for (path, member) in [
            ("/clients/bot", "name"),
            ("/resources/notes", "name"),
            ("/grants/bot/notes", "reason"),
        ] {
            for round in 0..25 {
                let etag = admin.get(path).await.etag();
                let names = ["a", "b", "c"].map(|who| format!("{who}{round}"));
                let mut patches = names
                    .iter()
                    .map(|name| json!({member: name}))
                    .collect::<Vec<_>>();
                if member == "reason" {
                    for (n, patch) in patches.iter_mut().enumerate() {
                        patch["scopes"] = scopes(round + n);
                    }
                }
                let all = patches
                    .iter()
                    .map(|patch| patch_if(&admin, path, &etag, patch.clone()));
                let answers = join_all(all).await;
                let done: Vec<usize> = (0..3).filter(|n| answers[*n].status == 200).collect();
                assert_eq!(done.len(), 1, "{answers:?}");
                for refused in answers.iter().filter(|answer| answer.status != 200) {
                    refused.refuses(412, Some("If-Match"), "Read it again");
                }
                let now = admin.get(path).await;
                assert_eq!(now.etag(), answers[done[0]].etag());
                assert_eq!(now.is(200)[member], names[done[0]]);
            }
        }
    }
}

#[actix_web::test]
async fn without_a_condition_every_change_survives() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        for round in 0..15 {
            let text = format!("round {round}");
            let (name, description, status, key) = tokio::join!(
                admin.patch("/clients/bot", json!({"name": text})),
                admin.patch("/clients/bot", json!({"description": text})),
                admin.patch("/clients/bot", json!({"metadata": {"a": text}})),
                admin.patch("/clients/bot", json!({"metadata": {"b": text, "c": null}})),
            );
            for changed in [name, description, status, key] {
                changed.is(200);
            }
            let bot = admin.get("/clients/bot").await.is(200);
            assert_eq!(bot["name"], *text);
            assert_eq!(bot["description"], *text);
            assert_eq!(bot["metadata"], json!({"a": text, "b": text}));

            let scopes = |n: usize| json!({"scopes": {(format!("s{round}-{n}")): text}});
            let all = (0..4).map(|n| admin.patch("/resources/plain", scopes(n)));
            for changed in join_all(all).await {
                changed.is(200);
            }
        }
        let plain = admin.get("/resources/plain").await.is(200);
        assert_eq!(plain["scopes"].as_object().unwrap().len(), 60);
    }
}

/// The whole graph has one version: who changes one arrow of it must not keep others from changing theirs.
#[actix_web::test]
async fn many_can_change_the_graph_at_once() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        for n in 0..60 {
            let wish = json!({"client_id": format!("c{n}")});
            admin.post("/clients", wish).await.is(201);
        }
        let grants = (0..60).map(|n| {
            let grant = json!({"client_id": format!("c{n}"), "resource": "notes"});
            admin.post("/grants", grant)
        });
        for made in join_all(grants).await {
            made.is(201);
        }
        let twice =
            (0..6).map(|_| admin.post("/grants", json!({"client_id": "c0", "resource": "lab"})));
        let twice = join_all(twice).await;
        let made = twice.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1);
        for other in twice.iter().filter(|answer| answer.status != 201) {
            other.refuses(409, None, "already");
        }
    }
}

#[actix_web::test]
async fn of_two_who_make_or_remove_one_thing_one_is_told() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        for round in 0..10 {
            let id = format!("c{round}");
            let statuses = |all: Vec<Answer>| {
                let mut all: Vec<u16> = all.iter().map(|answer| answer.status).collect();
                all.sort_unstable();
                all
            };
            for (list, member) in [("/clients", "client_id"), ("/resources", "resource")] {
                let make = (0..3).map(|_| admin.post(list, json!({member: id})));
                assert_eq!(statuses(join_all(make).await), [201, 409, 409]);
            }
            let path = format!("/clients/{id}");
            let credentials = admin.get(&format!("{path}/credentials")).await.is(200);
            assert_eq!(credentials["credentials"].as_array().unwrap().len(), 1);
            for path in [path, format!("/resources/{id}")] {
                let remove = (0..3).map(|_| admin.delete(&path));
                assert_eq!(statuses(join_all(remove).await), [204, 404, 404]);
            }
        }
    }
}

/// What a request has read before the change must not let the next one in.
#[actix_web::test]
async fn who_was_switched_off_gets_nothing_from_then_on() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        let secret = admin.reader("worker").await;
        for round in 0..15 {
            let off = json!({"status": if round % 3 == 0 { "inactive" } else { "active" }});
            let on = json!({"status": "active"});
            let asks = join_all((0..6).map(|_| ask_with(&server, "worker", &secret)));
            let (_, changed) = tokio::join!(asks, admin.patch("/clients/worker", off.clone()));
            changed.is(200);
            let alive = off == on;
            assert_eq!(works(&server, "worker", &secret).await, alive, "{round}");
            admin.patch("/clients/worker", on).await.is(200);
            assert!(works(&server, "worker", &secret).await);
        }
    }
}

/// A client goes while it is given rights, a resource while somebody is allowed to call it: in any order, but not half.
#[actix_web::test]
async fn nothing_is_left_of_what_was_removed_meanwhile() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        for round in 0..15 {
            let (client, resource) = (format!("c{round}"), format!("r{round}"));
            let path = format!("/clients/{client}");
            let wish = json!({"client_id": client});
            admin.post("/clients", wish).await.is(201);
            let credentials = format!("{path}/credentials");
            let (grant, owned, gone, credential) = tokio::join!(
                admin.post("/grants", json!({"client_id": client, "resource": "notes"})),
                admin.post("/resources", json!({"resource": resource, "owner": client})),
                admin.delete(&path),
                admin.post(&credentials, json!({})),
            );
            gone.is(204);
            for other in [grant, owned, credential] {
                assert!([201, 404].contains(&other.status), "{other:?}");
            }
            let grants = admin.get(&format!("/grants?client_id={client}")).await;
            assert_eq!(grants.is(200)["grants"], json!([]));
            let left = admin.get(&format!("/resources/{resource}")).await;
            assert!(left.status == 404 || left.body["owner"].is_null());

            let path = format!("/resources/gone{round}");
            let wish = json!({"resource": format!("gone{round}")});
            admin.post("/resources", wish).await.is(201);
            let (grant, gone) = tokio::join!(
                admin.post(
                    "/grants",
                    json!({"client_id": "bot", "resource": format!("gone{round}")})
                ),
                admin.delete(&path),
            );
            let outcome = (grant.status, gone.status);
            assert!([(201, 409), (404, 204)].contains(&outcome), "{outcome:?}");
        }
    }
}

#[actix_web::test]
async fn a_condition_is_an_entity_tag_a_list_or_a_star() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        for (path, patch) in [
            ("/clients/bot", json!({"name": "x"})),
            ("/resources/notes", json!({"name": "x"})),
            ("/grants/bot/notes", json!({"reason": "x"})),
        ] {
            let etag = admin.get(path).await.etag();
            assert!(etag.starts_with('"') && etag.len() > 20, "{etag}");
            let weak = format!("W/{etag}");
            for unfit in [
                "\"other\"",
                &weak,
                "\"\"",
                "\"a,b\"",
                &format!("\"a\", {weak} ,\"b,\""),
                &etag.to_uppercase().replace("W/", ""),
            ] {
                if unfit == etag {
                    continue;
                }
                for patch in [&patch, &json!({})] {
                    let refused = patch_if(&admin, path, unfit, patch.clone()).await;
                    refused.refuses(412, Some("If-Match"), "Read it again");
                }
                let request = admin.request(Method::DELETE, path).await;
                let refused = answer(request.header("if-match", unfit)).await;
                refused.refuses(412, Some("If-Match"), "Read it again");
            }
            assert_eq!(admin.get(path).await.etag(), etag);
            let list = format!("\"a,b\" ,\t{weak},{etag}, \"c\"");
            let listed = patch_if(&admin, path, &list, patch.clone()).await;
            let changed = listed.etag();
            assert_ne!(changed, etag);
            listed.is(200);
            let same = patch_if(&admin, path, "*", json!({})).await;
            assert_eq!(same.etag(), changed);
            let lines = admin.request(Method::PATCH, path).await.json(&json!({}));
            let lines = lines
                .header("if-match", "\"x\"")
                .header("if-match", &changed);
            answer(lines).await.is(200);
            patch_if(&admin, path, &etag, json!({})).await.refuses(
                412,
                Some("If-Match"),
                "Read it again",
            );
        }
        let gone = admin.request(Method::DELETE, "/clients/nobody-here").await;
        answer(gone.header("if-match", "*"))
            .await
            .refuses(404, None, "no client");
        let etag = admin.get("/grants/bot/notes").await.etag();
        let request = admin.request(Method::DELETE, "/grants/bot/notes").await;
        answer(request.header("if-match", etag)).await.is(204);
    }
}
