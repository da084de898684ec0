//! Credentials through the admin API: several at once, replaced without an outage, taken away.

use std::time::Duration;

use auth_provider::{
    client::{ClientId, Secret},
    registry::change::{Change, Committed, NewCredential},
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, answer, lives, racing_servers, secret, token_with, works},
    support::{NOW, Server},
};

const LIST: &str = "/clients/worker/credentials";

/// The id of a credential, and the path to it.
fn at(made: &Value) -> (String, String) {
    let id = made["credential_id"].as_str().unwrap();
    (id.to_owned(), format!("{LIST}/{id}"))
}

/// The only credential of the worker.
async fn first(admin: &Admin<'_>) -> (String, String) {
    at(&admin.get(LIST).await.is(200)["credentials"][0])
}

#[actix_web::test]
async fn several_work_at_once_and_each_can_be_told_from_the_others() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let one = admin.reader("worker").await;
    server.clock.advance(Duration::from_secs(1));
    let wish = json!({"label": "blue", "expires_at": NOW + 100});
    let made = admin.post(LIST, wish).await;
    let location = made.headers["location"].to_str().unwrap().to_owned();
    let mut made = made.is(201);
    let two = secret(&made);
    made.as_object_mut().unwrap().remove("client_secret");
    let (id, path) = at(&made);
    assert_eq!(location, format!("/admin/v1{path}"));
    let reason = made["safe_to_remove_reason"].as_str().unwrap();
    assert!(reason.contains("never used"), "{reason}");
    let expected = json!({
        "credential_id": id, "kind": "secret", "label": "blue", "last_four": two[two.len() - 4..], "created_at": NOW + 1,
        "expires_at": NOW + 100, "last_used_at": null, "use_count": 0, "state": "active",
        "replaces": null, "safe_to_remove": false, "safe_to_remove_reason": reason,
    });
    assert_eq!(made, expected);
    assert_eq!(admin.get(&path).await.is(200), expected);
    let all = admin.get(LIST).await.is(200);
    assert_eq!(all["credentials"][1], expected);
    assert_eq!(all["credentials"][0]["last_four"], one[one.len() - 4..]);
    assert!(works(&server, "worker", &one).await && works(&server, "worker", &two).await);

    server.clock.advance(Duration::from_secs(98));
    assert!(works(&server, "worker", &two).await);
    server.clock.advance(Duration::from_secs(1));
    assert!(!works(&server, "worker", &two).await, "it ended");
    let ended = admin.get(&path).await.is(200);
    assert_eq!(
        (&ended["state"], &ended["safe_to_remove"]),
        (&json!("expired"), &json!(true))
    );
    let endless = admin
        .patch(&path, json!({"expires_at": null, "label": "b"}))
        .await;
    let endless = endless.is(200);
    assert_eq!(
        (&endless["expires_at"], &endless["label"]),
        (&Value::Null, &json!("b"))
    );
    assert!(works(&server, "worker", &two).await);
    admin.patch(&path, json!({})).await.is(200);
    let past = admin.patch(&path, json!({"expires_at": 0})).await.is(200);
    assert_eq!(past["state"], "expired");
    assert!(!works(&server, "worker", &two).await);

    admin.delete(&path).await.is(204);
    admin
        .delete(&path)
        .await
        .refuses(404, None, "no credential");
    admin.get(&path).await.refuses(404, None, "no credential");
    assert!(works(&server, "worker", &one).await);
    let (_, path) = first(&admin).await;
    admin.delete(&path).await.is(204);
    assert!(!works(&server, "worker", &one).await);
    assert_eq!(admin.get(LIST).await.is(200), json!({"credentials": []}));
}

#[actix_web::test]
async fn a_rotated_secret_works_until_its_grace_ends() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let old = admin.reader("worker").await;
    let (old_id, path) = first(&admin).await;
    let rotate = format!("{path}/rotate");
    let made = admin
        .post(&rotate, json!({"grace": 3600, "label": "2026"}))
        .await
        .is(201);
    let new = secret(&made);
    assert_ne!(new, old);
    assert_eq!(
        (&made["label"], &made["expires_at"]),
        (&json!("2026"), &Value::Null)
    );
    let before = admin.get(&path).await.is(200);
    assert_eq!(before["expires_at"], NOW + 3600);
    for (after, alive) in [(0, true), (3599, true), (1, false), (100_000, false)] {
        server.advance(Duration::from_secs(after)).await;
        assert_eq!(works(&server, "worker", &old).await, alive);
        assert!(works(&server, "worker", &new).await);
    }

    // A grace does not bring back what has ended, and the default is a day.
    let again = admin.post(&rotate, json!({})).await.is(201);
    assert_eq!(again["label"], "", "as the one that it replaces");
    assert_eq!(admin.get(&path).await.is(200)["expires_at"], NOW + 3600);
    assert!(!works(&server, "worker", &old).await);
    let (_, third) = at(&again);
    let no_body = answer(
        admin
            .request(Method::POST, &format!("{third}/rotate"))
            .await,
    );
    no_body.await.is(201);
    let end = server.clock.clock().now() + 24 * 3600;
    assert_eq!(admin.get(&third).await.is(200)["expires_at"], end);
    let (_, second) = at(&made);
    admin
        .post(&format!("{second}/rotate"), json!({"grace": 0}))
        .await
        .is(201);
    assert!(!works(&server, "worker", &new).await, "no grace");
    let gone = format!("{LIST}/{}x/rotate", &old_id[1..]);
    admin
        .post(&gone, json!({}))
        .await
        .refuses(404, None, "no credential");
}

/// Their ids are random: in any other order half of them would not be.
#[actix_web::test]
async fn the_old_credential_is_listed_before_the_new_one_of_the_same_second() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    for (number, how) in (0..20).zip(["rotate", "rotation"].iter().cycle()) {
        let client = format!("worker-{number}");
        admin.reader(&client).await;
        let list = format!("/clients/{client}/credentials");
        let ids = async || {
            let all = admin.get(&list).await.is(200)["credentials"].clone();
            let all = all.as_array().unwrap().clone();
            all.iter()
                .map(|one| one["credential_id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let [old] = ids().await.try_into().unwrap();
        let made = admin.post(&format!("{list}/{old}/{how}"), json!({})).await;
        let new = made.is(201)["credential_id"].as_str().unwrap().to_owned();
        assert_eq!(ids().await, [old, new]);
    }
}

#[actix_web::test]
async fn a_rotation_is_started_and_finished_or_cancelled() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let old = admin.reader("worker").await;
    let (old_id, path) = first(&admin).await;
    let rotation = format!("{path}/rotation");
    let finish = format!("{rotation}/finish");
    for (method, path) in [(Method::POST, &finish), (Method::DELETE, &rotation)] {
        let refused = answer(admin.request(method, path).await).await;
        refused.refuses(409, None, "no rotation");
    }

    let made = admin.post(&rotation, json!({"label": "new"})).await.is(201);
    let new = secret(&made);
    assert_eq!(
        (&made["replaces"], &made["label"]),
        (&json!(old_id), &json!("new"))
    );
    let (new_id, _) = at(&made);
    assert!(works(&server, "worker", &old).await && works(&server, "worker", &new).await);
    admin
        .post(&rotation, json!({}))
        .await
        .refuses(409, None, &new_id);
    admin.delete(&rotation).await.is(204);
    assert!(works(&server, "worker", &old).await && !works(&server, "worker", &new).await);
    admin
        .delete(&rotation)
        .await
        .refuses(409, None, "no rotation");

    let made = admin.post(&rotation, json!({})).await.is(201);
    let new = secret(&made);
    let (_, new_path) = at(&made);
    let finished = answer(admin.request(Method::POST, &finish).await)
        .await
        .is(200);
    assert_eq!(finished["replaces"], Value::Null);
    assert!(finished["client_secret"].is_null());
    assert_eq!(admin.get(&new_path).await.is(200), finished);
    assert!(!works(&server, "worker", &old).await && works(&server, "worker", &new).await);
    let again = answer(admin.request(Method::POST, &finish).await).await;
    again.refuses(404, None, "no credential");

    // The old one can also just be removed: then nothing is replaced any more.
    let third = admin
        .post(&format!("{new_path}/rotation"), json!({}))
        .await
        .is(201);
    admin.delete(&new_path).await.is(204);
    let (_, third) = at(&third);
    assert_eq!(admin.get(&third).await.is(200)["replaces"], Value::Null);
}

#[actix_web::test]
async fn who_races_over_a_rotation_loses_no_credential() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        let mut newest = admin.reader("worker").await;
        for _ in 0..10 {
            let (_, path) = first(&admin).await;
            let rotation = format!("{path}/rotation");
            let finish = format!("{rotation}/finish");
            let starts = (0..3).map(|_| admin.post(&rotation, json!({})));
            let starts = join_all(starts).await;
            let started: Vec<_> = starts.iter().filter(|start| start.status == 201).collect();
            assert_eq!(started.len(), 1);
            for other in starts.iter().filter(|start| start.status != 201) {
                other.refuses(409, None, "already");
            }
            let new = secret(&started[0].body);

            let (finished, cancelled) =
                tokio::join!(admin.post(&finish, json!({})), admin.delete(&rotation),);
            let outcome = (finished.status, cancelled.status);
            assert!([(200, 404), (409, 204)].contains(&outcome), "{outcome:?}");
            let (dead, alive) = if finished.status == 200 {
                (newest, new)
            } else {
                (new, newest)
            };
            assert!(!works(&server, "worker", &dead).await);
            assert!(
                works(&server, "worker", &alive).await,
                "one of both goes on"
            );
            newest = alive;
        }
    }
}

/// A label that is changed meanwhile must not take an end away.
#[actix_web::test]
async fn changes_of_one_credential_do_not_undo_each_other() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        admin.reader("worker").await;
        for round in 0..15 {
            let made = admin.post(LIST, json!({"label": "before"})).await.is(201);
            let (_, path) = at(&made);
            let label = format!("round {round}");
            let rotate = format!("{path}/rotate");
            let (renamed, other, rotated) = tokio::join!(
                admin.patch(&path, json!({"label": label})),
                admin.patch(&path, json!({"label": label})),
                admin.post(&rotate, json!({"grace": 60})),
            );
            renamed.is(200);
            other.is(200);
            rotated.is(201);
            let after = admin.get(&path).await.is(200);
            assert_eq!(
                (&after["label"], &after["expires_at"]),
                (&json!(label), &json!(NOW + 60))
            );
        }
    }
}

#[actix_web::test]
async fn a_compromised_credential_dies_with_its_tokens() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let one = admin.reader("worker").await;
    let (_, path) = first(&admin).await;
    let two = secret(&admin.post(LIST, json!({})).await.is(201));
    let dead = token_with(&server, "worker", &one).await;
    let alive = token_with(&server, "worker", &two).await;
    let compromised = format!("{path}/compromised");
    let answer = answer(
        admin
            .request(Method::POST, &compromised)
            .await
            .body("ignored"),
    )
    .await;
    answer.is(204);
    assert!(!works(&server, "worker", &one).await && works(&server, "worker", &two).await);
    assert!(!lives(&server, &dead).await && lives(&server, &alive).await);
    admin.get(&path).await.refuses(404, None, "no credential");
    admin
        .post(&compromised, json!({}))
        .await
        .refuses(404, None, "no credential");

    // One that is only removed leaves its tokens alive.
    let (_, path) = first(&admin).await;
    admin.delete(&path).await.is(204);
    assert!(lives(&server, &alive).await);
}

#[actix_web::test]
async fn the_administrator_cannot_lock_everybody_out() {
    for server in racing_servers().await {
        let admin = Admin::of(&server);
        let list = "/clients/admin/credentials";
        let path = |made: &Value| format!("{list}/{}", made["credential_id"].as_str().unwrap());
        let first = path(&admin.get(list).await.is(200)["credentials"][0]);
        let ending = json!({"expires_at": NOW + 1_000_000, "label": "ending"});
        let ending = path(&admin.post(list, ending).await.is(201));
        let compromised = format!("{first}/compromised");
        for (method, path, body) in [
            (Method::DELETE, &first, json!({})),
            (Method::POST, &compromised, json!({})),
            (
                Method::PATCH,
                &first,
                json!({"expires_at": NOW + 1_000_000}),
            ),
            (Method::PATCH, &first, json!({"expires_at": 0})),
        ] {
            let request = admin.request(method, path).await.json(&body);
            answer(request).await.refuses(409, None, "last credential");
        }
        admin.patch(&first, json!({"label": "first"})).await.is(200);
        admin
            .patch(&ending, json!({"label": "other"}))
            .await
            .is(200);
        admin.delete(&ending).await.is(204);

        let wish = json!({"expires_at": NOW + 1000});
        let replacement = path(&admin.post(&format!("{first}/rotation"), wish).await.is(201));
        let finish = format!("{first}/rotation/finish");
        admin
            .post(&finish, json!({}))
            .await
            .refuses(409, None, "last credential");
        admin
            .patch(&replacement, json!({"expires_at": null}))
            .await
            .is(200);
        let finished = admin.post(&finish, json!({})).await;
        finished.is(200);

        // Of two that leave at once, one stays.
        let mut stays = replacement;
        for _ in 0..10 {
            let other = path(&admin.post(list, json!({})).await.is(201));
            let (one, two) = tokio::join!(admin.delete(&stays), admin.delete(&other));
            let outcome = (one.status, two.status);
            assert!([(204, 409), (409, 204)].contains(&outcome), "{outcome:?}");
            if one.status == 204 {
                stays = other;
            }
        }
        let rotated = admin
            .post(&format!("{stays}/rotate"), json!({"grace": 0}))
            .await;
        let secret = secret(&rotated.is(201));
        assert!(works(&server, "admin", &secret).await);
    }
}

#[actix_web::test]
async fn a_client_has_at_most_a_thousand() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    admin.reader("worker").await;
    let worker = ClientId::parse("worker").unwrap();
    let more: Vec<_> = (0..998)
        .map(|_| NewCredential::of(&worker, "", &Secret::generate(), NOW))
        .map(Change::AddCredential)
        .collect();
    let committed = server.auth.store.commit(&more, &[]).await.unwrap();
    assert_eq!(committed, Committed::Done);
    let last = admin.post(LIST, json!({})).await.is(201);
    let (_, path) = at(&last);
    for (path, what) in [
        (LIST.to_owned(), json!({})),
        (format!("{path}/rotate"), json!({})),
        (format!("{path}/rotation"), json!({})),
    ] {
        admin
            .post(&path, what)
            .await
            .refuses(409, None, "1000 credentials");
    }
    admin.delete(&path).await.is(204);
    admin.post(LIST, json!({})).await.is(201);
}

#[actix_web::test]
async fn what_does_not_fit_is_refused_by_its_member() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    admin.reader("worker").await;
    let (_, path) = first(&admin).await;
    let long = json!({"label": "é".repeat(101)}).to_string();
    let make = [
        (Method::POST, LIST.to_owned()),
        (Method::POST, format!("{path}/rotation")),
    ];
    let change = [(Method::PATCH, path.clone())];
    let rotate = [(Method::POST, format!("{path}/rotate"))];
    let all: Vec<_> = [&make[..], &change, &rotate].concat();
    for (requests, body, field, part) in [
        (&all[..], &*long, "label", "100"),
        (&all, r#"{"label": "a\n"}"#, "label", "control"),
        (&all, r#"{"label": null}"#, "label", "null"),
        (&all, r#"{"label": 1}"#, "label", "string"),
        (&all, r#"{"label": "", "label": ""}"#, "label", "duplicate"),
        (
            &all,
            r#"{"last_four": "abcd"}"#,
            "last_four",
            "unknown field",
        ),
        (
            &all,
            r#"{"client_secret": "x"}"#,
            "client_secret",
            "unknown field",
        ),
        (&all[..3], r#"{"expires_at": -1}"#, "expires_at", ""),
        (&all[..3], r#"{"expires_at": 1.5}"#, "expires_at", ""),
        (&all[..3], r#"{"expires_at": "1"}"#, "expires_at", ""),
        (
            &all[..3],
            r#"{"expires_at": 253402207201}"#,
            "expires_at",
            "at most",
        ),
        (
            &all[..3],
            r#"{"expires_at": 18446744073709551616}"#,
            "expires_at",
            "",
        ),
        (&make, r#"{"expires_at": null}"#, "expires_at", "null"),
        (&all[..3], r#"{"grace": 1}"#, "grace", "unknown field"),
        (&rotate, r#"{"grace": 7776001}"#, "grace", "7776000"),
        (&rotate, r#"{"grace": -1}"#, "grace", ""),
        (&rotate, r#"{"grace": null}"#, "grace", "null"),
        (&rotate, r#"{"grace": "1d"}"#, "grace", ""),
        (
            &rotate,
            r#"{"expires_at": 1}"#,
            "expires_at",
            "unknown field",
        ),
    ] {
        for (method, path) in requests {
            let request = admin.request(method.clone(), path).await;
            let request = request.header("content-type", "application/json");
            let refused = answer(request.body(body.to_owned())).await;
            refused.refuses(400, Some(field), part);
        }
    }
    let all = admin.get(LIST).await.is(200);
    assert_eq!(
        all["credentials"].as_array().unwrap().len(),
        1,
        "nothing was made"
    );
    let last = json!({"expires_at": 253_402_207_200_u64, "label": "é".repeat(100)});
    admin.post(LIST, last).await.is(201);
}
