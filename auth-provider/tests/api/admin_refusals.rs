//! What the admin API refuses, and how it says so.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, Answer, answer, raw},
    support::{POLICY, Server},
};

/// Sends a body as it stands.
async fn send(admin: &Admin<'_>, method: Method, path: &str, body: &str) -> Answer {
    let request = admin.request(method, path).await;
    let request = request.header("content-type", "application/json");
    answer(request.body(body.to_owned())).await
}

/// What administrators made of the clients; when they were last used is not theirs, and known a moment later.
async fn clients(admin: &Admin<'_>) -> Vec<Value> {
    let listed = admin.get("/clients").await.is(200)["clients"].take();
    let mut clients: Vec<Value> = serde_json::from_value(listed).unwrap();
    for client in &mut clients {
        client["last_used_at"].take();
    }
    clients
}

#[actix_web::test]
async fn a_client_that_does_not_fit_is_refused_by_its_member() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let name_201 = json!({"name": "é".repeat(201)}).to_string();
    let id_129 = json!({"client_id": "x".repeat(129)}).to_string();
    let keys_21: Value = (0..21).map(|n| (format!("k{n}"), json!(""))).collect();
    let keys_21 = json!({"metadata": keys_21}).to_string();
    let long_key = json!({"metadata": {"x".repeat(65): ""}}).to_string();
    let long_value = json!({"metadata": {"x": "y".repeat(513)}}).to_string();
    let description = json!({"description": "x".repeat(1001)}).to_string();
    let rows = [
        // What both a new client and a change refuse.
        (r#"{"name": ""}"#, "name", "empty"),
        (&name_201, "name", "200"),
        (r#"{"name": "a\nb"}"#, "name", "control"),
        (r#"{"name": "a\u0000"}"#, "name", "control"),
        (r#"{"name": "a\u0085b"}"#, "name", "control"),
        (r#"{"name": null}"#, "name", "null"),
        (r#"{"name": 7}"#, "name", "string"),
        (r#"{"name": ["a"]}"#, "name", "string"),
        (r#"{"name": "a", "name": "a"}"#, "name", "duplicate"),
        (&description, "description", "1000"),
        (r#"{"description": "a\tb"}"#, "description", "control"),
        (r#"{"status": "ACTIVE"}"#, "status", "active"),
        (r#"{"status": "deleted"}"#, "status", "inactive"),
        (r#"{"status": null}"#, "status", "null"),
        (r#"{"status": true}"#, "status", ""),
        (r#"{"metadata": null}"#, "metadata", "null"),
        (r#"{"metadata": []}"#, "metadata", ""),
        (r#"{"metadata": {"a": [null]}}"#, "metadata", "null"),
        (r#"{"metadata": {"a": 1e16}}"#, "metadata", "number"),
        (r#"{"metadata": {"": "a"}}"#, "metadata", "key"),
        (r#"{"metadata": {"a b": "a"}}"#, "metadata", "key"),
        (r#"{"metadata": {"é": "a"}}"#, "metadata", "key"),
        (r#"{"metadata": {"a": "b\u001b"}}"#, "metadata", "control"),
        (&long_key, "metadata", "64"),
        (&long_value, "metadata", "512"),
        (&keys_21, "metadata", "at most 20"),
        (r#"{"nome": "a"}"#, "nome", "unknown field"),
        (r#"{"created_at": 1}"#, "created_at", "unknown field"),
        (
            r#"{"client_secret": "x"}"#,
            "client_secret",
            "unknown field",
        ),
    ];
    let only_new = [
        (r#"{"client_id": ""}"#, "client_id", "client id"),
        (r#"{"client_id": "."}"#, "client_id", "not . or .."),
        (r#"{"client_id": ".."}"#, "client_id", "not . or .."),
        (r#"{"client_id": "a/b"}"#, "client_id", "client id"),
        (r#"{"client_id": "a b"}"#, "client_id", "client id"),
        (r#"{"client_id": "é"}"#, "client_id", "client id"),
        (r#"{"client_id": "a\u0000"}"#, "client_id", "client id"),
        (&id_129, "client_id", "128"),
        (r#"{"client_id": null}"#, "client_id", "null"),
        (
            r#"{"client_id": "a", "client_id": "b"}"#,
            "client_id",
            "duplicate",
        ),
        (r#"{"metadata": {"a": null}}"#, "metadata", "null"),
    ];
    let before = clients(&admin).await;
    for (body, field, part) in rows.iter().chain(&only_new) {
        let refused = send(&admin, Method::POST, "/clients", body).await;
        refused.refuses(400, Some(field), part);
    }
    for (body, field, part) in &rows {
        let refused = send(&admin, Method::PATCH, "/clients/bot", body).await;
        refused.refuses(400, Some(field), part);
    }
    let only_change = r#"{"client_id": "bot"}"#;
    let refused = send(&admin, Method::PATCH, "/clients/bot", only_change).await;
    refused.refuses(400, Some("client_id"), "unknown field");

    for (body, part) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("null", "object"),
        ("[]", "object"),
        (r#"["bot"]"#, "object"),
        ("{} {}", "trailing"),
        ("{'name': 'a'}", "key must be a string"),
        ("{\"name\": \"\u{1}\"}", "control"),
        (r#"{"name": "\ud800"}"#, ""),
    ] {
        for (method, path) in [
            (Method::POST, "/clients"),
            (Method::PATCH, "/clients/bot"),
            (Method::POST, "/resources"),
            (Method::PATCH, "/resources/notes"),
            (Method::POST, "/grants"),
            (Method::PATCH, "/grants/bot/notes"),
            (Method::POST, "/clients/bot/credentials"),
        ] {
            let refused = send(&admin, method, path, body).await;
            refused.refuses(400, None, part);
        }
    }
    assert_eq!(clients(&admin).await, before);
}

/// What no single value shows is a conflict.
#[actix_web::test]
async fn metadata_stays_small() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let keys = |from: usize, to: usize, value: &str| -> Value {
        (from..to)
            .map(|n| (format!("k{n}"), json!(value)))
            .collect()
    };
    let large = json!({"client_id": "c", "metadata": keys(0, 10, &"x".repeat(512))});
    let refused = admin.post("/clients", large).await;
    refused.refuses(409, Some("metadata"), "4096");
    let full = json!({"client_id": "c", "metadata": keys(0, 20, "")});
    admin.post("/clients", full).await.is(201);
    let more = json!({"metadata": keys(20, 21, "")});
    let refused = admin.patch("/clients/c", more).await;
    refused.refuses(409, Some("metadata"), "more than 20");
    let larger = json!({"metadata": keys(0, 10, &"x".repeat(512))});
    let refused = admin.patch("/clients/c", larger).await;
    refused.refuses(409, Some("metadata"), "4096");
    let swapped = json!({"metadata": {"k0": null, "k20": "new"}});
    admin.patch("/clients/c", swapped).await.is(200);
}

#[actix_web::test]
async fn a_body_says_what_it_is() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let long = json!({"name": "x".repeat(70_000)}).to_string();
    for (method, path) in [
        (Method::POST, "/clients"),
        (Method::PATCH, "/clients/bot"),
        (Method::POST, "/resources"),
        (Method::PATCH, "/resources/notes"),
        (Method::POST, "/grants"),
        (Method::PATCH, "/grants/bot/notes"),
        (Method::POST, "/clients/bot/credentials"),
        (Method::POST, "/clients/bot/credentials/x/rotate"),
        (Method::POST, "/clients/bot/credentials/x/rotation"),
        (Method::PATCH, "/clients/bot/credentials/x"),
        (Method::POST, "/keys/rotate"),
    ] {
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "application/jsonx",
            "",
        ] {
            let request = admin.request(method.clone(), path).await;
            let request = request.header("content-type", content_type);
            let refused = answer(request.body("{}")).await;
            refused.refuses(415, None, "application/json");
        }
        let request = admin.request(method.clone(), path).await;
        let refused = answer(request.body("{}")).await;
        refused.refuses(415, None, "application/json");
        let request = admin.request(method.clone(), path).await.json(&json!({}));
        let refused = answer(request.header("content-encoding", "gzip")).await;
        refused.refuses(415, None, "Content-Encoding");
        let refused = send(&admin, method.clone(), path, &long).await;
        refused.refuses(413, None, "65536 bytes");
    }
    let merge = admin.request(Method::POST, "/clients").await;
    let merge = merge.header("content-type", "application/merge-patch+json");
    answer(merge.body("{}")).await.refuses(415, None, "JSON");
}

#[actix_web::test]
async fn a_query_is_taken_at_its_word() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let long = format!("name={}", "x".repeat(201));
    let prefix = format!("prefix={}", "x".repeat(129));
    let cursor = format!("cursor={}", "61".repeat(401));
    for (query, field, part) in [
        ("limit=0", Some("limit"), "1 to 1000"),
        ("limit=1001", Some("limit"), "1 to 1000"),
        ("limit=", Some("limit"), "1 to 1000"),
        ("limit=x", Some("limit"), "1 to 1000"),
        ("limit=%2B1", Some("limit"), "1 to 1000"),
        ("limit=1.0", Some("limit"), "1 to 1000"),
        ("limit=-1", Some("limit"), "1 to 1000"),
        ("limit=99999999999999999999", Some("limit"), "1 to 1000"),
        ("limit=1&limit=1", Some("limit"), "twice"),
        ("cursor=", Some("cursor"), "next_cursor"),
        ("cursor=6", Some("cursor"), "next_cursor"),
        ("cursor=6A", Some("cursor"), "next_cursor"),
        ("cursor=zz", Some("cursor"), "next_cursor"),
        (&cursor, Some("cursor"), "next_cursor"),
        ("status=", Some("status"), "active or inactive"),
        ("status=Active", Some("status"), "active or inactive"),
        ("status=active&status=active", Some("status"), "twice"),
        ("name=", Some("name"), "1 to 200"),
        ("name", Some("name"), "1 to 200"),
        ("name=a%00", Some("name"), "control"),
        ("name=a%0A", Some("name"), "control"),
        (&long, Some("name"), "1 to 200"),
        ("prefix=", Some("prefix"), "1 to 128"),
        (&prefix, Some("prefix"), "1 to 128"),
        ("name=%FF", None, "UTF-8"),
        ("%FF=a", None, "UTF-8"),
        (
            "page=2",
            Some("page"),
            "limit, cursor, status, prefix, name",
        ),
        ("Limit=2", Some("Limit"), "limit, cursor"),
        ("client_id=bot", Some("client_id"), "limit, cursor"),
        ("=", Some(""), "limit, cursor"),
    ] {
        let refused = admin.get(&format!("/clients?{query}")).await;
        refused.refuses(400, field, part);
    }
    for (list, query, field, part) in [
        ("grants", "client_id=", "client_id", "client id"),
        ("grants", "client_id=a%20b", "client_id", "client id"),
        ("grants", "resource=", "resource", "resource"),
        ("grants", "resource=a%00", "resource", "resource"),
        ("grants", "limit=0", "limit", "1 to 1000"),
        ("grants", "status=active", "status", "client_id, resource"),
        ("resources", "name=x", "name", "limit, cursor"),
        ("resources", "cursor=x", "cursor", "next_cursor"),
        ("audit", "action=", "action", "no such action"),
        ("audit", "action=client.made", "action", "no such action"),
        ("audit", "outcome=ok", "outcome", "success or refused"),
        ("audit", "since=x", "since", "seconds"),
        ("audit", "until=253402207201", "until", "seconds"),
        ("audit", "request_id=", "request_id", "that a refusal named"),
        ("audit", "client_id=..", "client_id", "client id"),
        ("audit", "after=1", "after", "limit, cursor"),
    ] {
        let refused = admin.get(&format!("/{list}?{query}")).await;
        refused.refuses(400, Some(field), part);
    }
    for path in [
        "/clients/bot?limit=1",
        "/clients/bot/credentials?limit=1",
        "/resources/notes?limit=1",
        "/grants/bot/notes?limit=1",
        "/keys?limit=1",
        "/policy?limit=1",
    ] {
        let refused = admin.get(path).await;
        refused.refuses(400, Some("limit"), "no parameters");
    }
    for path in [
        "/clients?limit=1",
        "/clients/bot/credentials?limit=1",
        "/explain?limit=1",
    ] {
        let refused = admin.post(path, json!({})).await;
        refused.refuses(400, Some("limit"), "no parameters");
    }
    let refused = admin.delete("/clients/bot?status=inactive").await;
    refused.refuses(400, Some("status"), "no parameters");
    for fits in [
        "clients/bot?",
        "clients?limit=1000&",
        "clients?limit=1",
        "grants?client_id=unknown&resource=unknown",
        "audit?since=0&until=253402207200&client_id=unknown",
        "audit?cursor=6162",
        "grants?cursor=61",
        "resources?cursor=ff",
    ] {
        admin.get(&format!("/{fits}")).await.is(200);
    }
}

#[actix_web::test]
async fn a_path_that_names_nothing_is_not_found() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let token = admin.token().await;
    let long = "x".repeat(5000);
    for id in [
        "nobody-of-this-id",
        ".",
        "..",
        "%2e",
        "%2E%2E",
        "%00",
        "a%00",
        "%FF",
        "%C3",
        "a%2Fb",
        "a%20b",
        "%25",
        "%",
        "%zz",
        "a;b",
        &long,
    ] {
        for (method, path) in [
            ("GET", format!("/clients/{id}")),
            ("DELETE", format!("/clients/{id}")),
            ("GET", format!("/clients/{id}/credentials")),
            ("GET", format!("/clients/bot/credentials/{id}")),
            ("DELETE", format!("/clients/bot/credentials/{id}")),
            ("POST", format!("/clients/bot/credentials/{id}/rotate")),
            ("POST", format!("/clients/bot/credentials/{id}/compromised")),
            ("GET", format!("/resources/{id}")),
            ("GET", format!("/grants/{id}/notes")),
            ("GET", format!("/grants/bot/{id}")),
            ("DELETE", format!("/grants/bot/{id}")),
            ("POST", format!("/keys/{id}/compromised")),
        ] {
            let text = raw(&server, method, &path, &token).await;
            let shown: String = text.chars().take(400).collect();
            assert!(
                text.starts_with("HTTP/1.1 404 "),
                "{method} {path}: {shown}"
            );
            assert!(text.contains("application/problem+json"), "{shown}");
            assert!(text.contains("no-store"), "{shown}");
        }
    }
    for path in [
        "",
        "/",
        "/client",
        "/clients/",
        "/clients/bot/",
        "/clients//credentials",
    ] {
        let text = raw(&server, "GET", path, &token).await;
        assert!(text.starts_with("HTTP/1.1 404 "), "{path}: {text}");
    }
}

#[actix_web::test]
async fn a_condition_that_is_none_is_not_met_and_a_key_that_is_none_is_refused() {
    let server = Server::start_with(POLICY, "").await;
    let admin = Admin::of(&server);
    for bad in [
        "",
        "x",
        "\"",
        "\"a",
        "a\"",
        "\"a\" \"b\"",
        "\"a\",",
        ",\"a\"",
        "\"a\",,\"b\"",
        "w/\"a\"",
        "*, \"a\"",
        "\"a\", *",
        "\"a b\"",
        "'a'",
        "W/",
    ] {
        for (method, path) in [
            (Method::PATCH, "/clients/bot"),
            (Method::DELETE, "/clients/bot"),
            (Method::PATCH, "/resources/notes"),
            (Method::PATCH, "/grants/bot/notes"),
            (Method::DELETE, "/grants/bot/notes"),
        ] {
            let request = admin.request(method, path).await.json(&json!({}));
            let refused = answer(request.header("if-match", bad)).await;
            refused.refuses(412, Some("If-Match"), "Read it again");
        }
    }
    let long = "k".repeat(256);
    for bad in ["", "a b", "a\tb", &long] {
        for path in ["/clients", "/clients/bot/credentials"] {
            let request = admin.request(Method::POST, path).await.json(&json!({}));
            let refused = answer(request.header("idempotency-key", bad)).await;
            refused.refuses(400, Some("Idempotency-Key"), "255 visible");
        }
    }
    let request = admin
        .request(Method::POST, "/clients")
        .await
        .json(&json!({}));
    let twice = request
        .header("idempotency-key", "a")
        .header("idempotency-key", "a");
    let refused = answer(twice).await;
    refused.refuses(400, Some("Idempotency-Key"), "once");
}
