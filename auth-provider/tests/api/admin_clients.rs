//! Clients through the admin API: made, found, changed, switched off, removed.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, answer, ask_with, lives, secret, token_with, works},
    support::{NOW, Server, json},
};

#[actix_web::test]
async fn a_client_is_made_with_a_secret_that_works_at_once() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let wish = json!({
        "client_id": "A.b_c~d-1", "name": " Notes of the 日本 team ", "description": "Reads", "status": "active",
        "metadata": {"team": "a", "cost-centre_1.x": ""},
    });
    let made = admin.post("/clients", wish).await;
    assert_eq!(made.headers["location"], "/admin/v1/clients/A.b_c~d-1");
    let etag = made.etag();
    let mut made = made.is(201);
    let secret = secret(&made);
    let credential = made["credential_id"].as_str().unwrap().to_owned();
    for only_now in ["client_secret", "credential_id"] {
        made.as_object_mut().unwrap().remove(only_now);
    }
    let expected = json!({
        "client_id": "A.b_c~d-1", "name": " Notes of the 日本 team ", "description": "Reads", "status": "active",
        "metadata": {"team": "a", "cost-centre_1.x": ""}, "created_at": NOW, "updated_at": NOW,
        "managed_by": null, "last_used_at": null, "built_in": false,
    });
    assert_eq!(made, expected);
    let read = admin.get("/clients/A.b_c~d-1").await;
    assert_eq!(read.etag(), etag);
    assert_eq!(read.is(200), expected);

    let credentials = admin.get("/clients/A.b_c~d-1/credentials").await.is(200);
    let credentials = credentials["credentials"].as_array().unwrap();
    assert_eq!(credentials.len(), 1);
    assert_eq!(credentials[0]["credential_id"], credential);
    assert!(works(&server, "A.b_c~d-1", &secret).await);
    let refused = ask_with(&server, "A.b_c~d-1", &secret).await;
    assert_eq!(json(refused).await["error"], "unauthorized_client");
}

#[actix_web::test]
async fn what_is_left_out_is_filled_in() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let one = admin.post("/clients", json!({})).await.is(201);
    let two = admin.post("/clients", json!({})).await.is(201);
    assert_ne!(one["client_id"], two["client_id"]);
    assert_ne!(one["client_secret"], two["client_secret"]);
    assert_eq!(one["name"], one["client_id"]);
    assert_eq!(one["description"], "");
    assert_eq!(one["metadata"], json!({}));
    assert_eq!(one["status"], "active");
    let id = one["client_id"].as_str().unwrap();
    admin.get(&format!("/clients/{id}")).await.is(200);

    let asleep = json!({"client_id": "asleep", "status": "inactive"});
    let secret = secret(&admin.post("/clients", asleep).await.is(201));
    assert!(!works(&server, "asleep", &secret).await);
    admin
        .post("/clients", json!({"client_id": "asleep"}))
        .await
        .refuses(409, Some("client_id"), "already");
}

/// All pages of a list.
async fn walk(admin: &Admin<'_>, list: &str, query: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (vec![], String::new());
    loop {
        let page = admin.get(&format!("/{list}?{query}{cursor}")).await.is(200);
        assert_eq!(page.as_object().unwrap().len(), 2);
        rows.extend(page[list].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else {
            assert!(page["next_cursor"].is_null());
            return rows;
        };
        cursor = format!("&cursor={next}");
    }
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["client_id"].as_str().unwrap())
        .collect()
}

#[actix_web::test]
async fn clients_are_found_by_status_beginning_and_name() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    for (id, name, status) in [
        ("job-1", "Nightly", "active"),
        ("job-2", "Nightly", "inactive"),
        ("job-10", "Hourly", "active"),
        ("job_1", "Nightly", "active"),
        ("Job-3", "Nightly & daily", "active"),
    ] {
        let wish = json!({"client_id": id, "name": name, "status": status});
        admin.post("/clients", wish).await.is(201);
    }
    for (query, expected) in [
        ("prefix=job-", &["job-1", "job-10", "job-2"][..]),
        ("prefix=job-1", &["job-1", "job-10"]),
        ("prefix=job-1&status=active&name=Nightly", &["job-1"]),
        ("status=inactive", &["job-2"]),
        ("name=Nightly", &["job-1", "job-2", "job_1"]),
        ("name=Nightly+%26%20daily", &["Job-3"]),
        ("name=nightly", &[]),
        ("prefix=%25", &[]),
        ("prefix=job_", &["job_1"]),
        ("prefix=%C3%A9", &[]),
    ] {
        for limit in ["", "&limit=1", "&limit=2", "&limit=1000"] {
            let rows = walk(&admin, "clients", &format!("{query}{limit}")).await;
            assert_eq!(ids(&rows), expected, "{query}{limit}");
        }
    }
    let all = walk(&admin, "clients", "limit=3").await;
    assert_eq!(all.len(), 15, "with those of the policy");
    assert!(ids(&all).is_sorted());
    for beyond in ["7f", "c3a9", "ff", "00", "7a7a"] {
        let page = admin.get(&format!("/clients?cursor={beyond}")).await;
        let page = page.is(200);
        let more = usize::from(beyond == "00") * 15;
        assert_eq!(page["clients"].as_array().unwrap().len(), more, "{beyond}");
    }
}

#[actix_web::test]
async fn a_walk_misses_nobody_and_meets_nobody_twice_while_others_come_and_go() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let make = async |id: String| {
        let wish = json!({"client_id": id});
        admin.post("/clients", wish).await.is(201);
    };
    for n in 0..30 {
        make(format!("w{n:02}")).await;
    }
    let (mut seen, mut cursor, mut round) = (Vec::new(), String::new(), 0);
    loop {
        let page = admin
            .get(&format!("/clients?prefix=w&limit=4{cursor}"))
            .await;
        let page = page.is(200);
        seen.extend(
            ids(page["clients"].as_array().unwrap())
                .iter()
                .map(ToString::to_string),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
        // One comes before the page's end, one goes there, and so behind it; the one that the cursor names goes, too.
        make(format!("w{:02}-before", round * 4)).await;
        make(format!("w{:02}-after", round * 4 + 6)).await;
        let last = seen.last().unwrap().clone();
        admin.delete(&format!("/clients/{last}")).await.is(204);
        let gone = format!("/clients/w{:02}", round * 4 + 7);
        admin.delete(&gone).await;
        round += 1;
    }
    assert!(seen.is_sorted());
    let different: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "{seen:?}");
    for row in walk(&admin, "clients", "prefix=w").await {
        let id = row["client_id"].as_str().unwrap();
        let throughout = id.len() == 3;
        assert!(!throughout || seen.contains(&id.to_owned()), "missed {id}");
    }
}

#[actix_web::test]
async fn a_change_changes_what_it_names() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let wish = json!({
        "client_id": "c", "name": "N", "description": "D", "metadata": {"a": "1", "b": "2"},
    });
    let made = admin.post("/clients", wish).await;
    let mut etag = made.etag();
    let mut expected = made.is(201);
    for only_now in ["client_secret", "credential_id"] {
        expected.as_object_mut().unwrap().remove(only_now);
    }
    server.clock.advance(Duration::from_secs(10));
    for nothing in [
        json!({}),
        json!({"name": "N", "metadata": {}}),
        json!({"metadata": {"a": "1", "unknown": null}}),
    ] {
        let same = admin.patch("/clients/c", nothing).await;
        assert_eq!(same.etag(), etag);
        assert_eq!(same.is(200), expected);
    }
    for (patch, member, value) in [
        (json!({"name": "N2"}), "name", json!("N2")),
        (json!({"description": ""}), "description", json!("")),
        (
            json!({"metadata": {"a": null, "c": "3"}}),
            "metadata",
            json!({"b": "2", "c": "3"}),
        ),
        (
            json!({"metadata": {"b": "4"}}),
            "metadata",
            json!({"b": "4", "c": "3"}),
        ),
        (json!({"status": "inactive"}), "status", json!("inactive")),
        (json!({"status": "active"}), "status", json!("active")),
    ] {
        server.clock.advance(Duration::from_secs(1));
        expected[member] = value;
        expected["updated_at"] = json!(server.clock.clock().now());
        let changed = admin.patch("/clients/c", patch).await;
        assert_ne!(changed.etag(), etag);
        etag = changed.etag();
        assert_eq!(changed.is(200), expected);
        let read = admin.get("/clients/c").await;
        assert_eq!(read.etag(), etag);
        assert_eq!(read.is(200), expected);
    }
    let merge = admin.request(Method::PATCH, "/clients/c").await;
    let merge = merge.header(
        "content-type",
        "application/merge-patch+json; charset=utf-8",
    );
    let merged = answer(merge.body(r#"{"name": "N3"}"#)).await.is(200);
    assert_eq!(merged["name"], "N3");
}

#[actix_web::test]
async fn a_client_that_is_switched_off_is_out_at_once() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let secret = admin.reader("worker").await;
    let token = token_with(&server, "worker", &secret).await;
    let bots = server.token("bot", "notes").await;
    assert!(lives(&server, &token).await);

    let off = json!({"status": "inactive"});
    admin.patch("/clients/worker", off).await.is(200);
    assert!(!works(&server, "worker", &secret).await);
    assert!(!lives(&server, &token).await);
    let resource_server = server.introspect("notes-server", &token).await;
    assert_eq!(resource_server, json!({"active": false}));
    assert!(lives(&server, &bots).await);

    server.clock.advance(Duration::from_secs(1));
    let on = json!({"status": "active"});
    admin.patch("/clients/worker", on).await.is(200);
    let new = token_with(&server, "worker", &secret).await;
    assert!(lives(&server, &new).await);
    assert!(!lives(&server, &token).await, "it was taken back");
}

#[actix_web::test]
async fn a_removed_client_leaves_nothing_behind() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let first_secret = admin.reader("worker").await;
    let owned = json!({"resource": "owned", "owner": "worker"});
    let owned = admin.post("/resources", owned).await.etag();
    let credentials = admin.get("/clients/worker/credentials").await.is(200);
    let credential = credentials["credentials"][0]["credential_id"].as_str();
    let below = format!("/clients/worker/credentials/{}", credential.unwrap());
    let token = token_with(&server, "worker", &first_secret).await;

    server.clock.advance(Duration::from_secs(1));
    admin.delete("/clients/worker").await.is(204);
    assert!(!lives(&server, &token).await);
    assert!(!works(&server, "worker", &first_secret).await);
    for path in [
        "/clients/worker",
        "/clients/worker/credentials",
        &below,
        "/grants/worker/notes",
    ] {
        admin.get(path).await.refuses(404, None, "there is no");
    }
    for (method, path, body) in [
        (Method::PATCH, "/clients/worker", Some(json!({}))),
        (Method::DELETE, "/clients/worker", None),
        (Method::POST, "/clients/worker/credentials", Some(json!({}))),
        (Method::PATCH, &below, Some(json!({}))),
        (Method::DELETE, &below, None),
        (Method::POST, &format!("{below}/rotate"), None),
        (Method::POST, &format!("{below}/rotation"), None),
        (Method::DELETE, &format!("{below}/rotation"), None),
        (Method::POST, &format!("{below}/rotation/finish"), None),
        (Method::POST, &format!("{below}/compromised"), None),
        (Method::PATCH, "/grants/worker/notes", Some(json!({}))),
        (Method::DELETE, "/grants/worker/notes", None),
    ] {
        let mut request = admin.request(method, path).await;
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await.refuses(404, None, "there is no");
    }
    let grants = admin.get("/grants?client_id=worker").await.is(200);
    assert_eq!(grants["grants"], json!([]));
    let orphan = admin.get("/resources/owned").await;
    assert_ne!(orphan.etag(), owned, "it lost its owner");
    assert!(orphan.is(200)["owner"].is_null());

    let again = admin.post("/clients", json!({"client_id": "worker"})).await;
    let again = again.is(201);
    assert!(again["last_used_at"].is_null());
    assert!(admin.get("/clients/worker").await.is(200)["last_used_at"].is_null());
    assert!(!works(&server, "worker", &first_secret).await);
    let refused = ask_with(&server, "worker", &secret(&again)).await;
    assert_eq!(json(refused).await["error"], "unauthorized_client");
}

#[actix_web::test]
async fn the_administrator_stays() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let before = admin.get("/clients/admin").await.is(200);
    assert_eq!(before["built_in"], true);
    for patch in [
        json!({}),
        json!({"status": "inactive"}),
        json!({"name": "Me"}),
    ] {
        let refused = admin.patch("/clients/admin", patch).await;
        refused.refuses(409, None, "built in");
    }
    let refused = admin.delete("/clients/admin").await;
    refused.refuses(409, None, "built in");
    let mut after = admin.get("/clients/admin").await.is(200);
    after["last_used_at"] = before["last_used_at"].clone();
    assert_eq!(after, before);
}
