//! Finding clients.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CLIENTS, refused, server, text};
use crate::support::Server;

const SEARCH: &str = "/v1/m2m/clients/search";

async fn found(server: &Server, body: Value) -> Value {
    server.did(Method::POST, SEARCH, body).await
}

fn ids(page: &Value) -> Vec<&str> {
    let clients = page["m2m_clients"].as_array().unwrap();
    clients
        .iter()
        .map(|client| text(client, "client_id"))
        .collect()
}

#[actix_web::test]
async fn filters_are_joined_by_and_or_or() {
    let server = server().await;
    for (id, name, scopes) in [
        ("a", "One", json!(["read", "write"])),
        ("b", "Two", json!(["read"])),
        ("c", "one", json!(["Read", "read:all"])),
        ("d", "Two", json!([])),
    ] {
        server
            .made(json!({"client_id": id, "client_name": name, "scopes": scopes}))
            .await;
    }
    let operand = |name: &str, values: Value| json!({"filter_name": name, "filter_value": values});
    let id = |values: Value| operand("client_id", values);
    let name = |values: Value| operand("client_name", values);
    let scope = |values: Value| operand("scopes", values);
    for (query, expected) in [
        (json!(null), "abcd"),
        (json!({}), "abcd"),
        (json!({"operator": "OR"}), "abcd"),
        (json!({"operator": "AND", "operands": []}), "abcd"),
        (json!({"operator": null, "operands": null}), "abcd"),
        (
            json!({"operator": "AND", "operands": [id(json!(["c", "a", "nobody", "\u{0}"]))]}),
            "ac",
        ),
        (json!({"operator": "AND", "operands": [id(json!([]))]}), ""),
        (
            json!({"operator": "OR", "operands": [id(json!([])), id(json!(["d"]))]}),
            "d",
        ),
        (
            json!({"operator": "AND", "operands": [name(json!(["One"]))]}),
            "a",
        ),
        (json!({"operands": [name(json!(["One", "one", ""]))]}), "ac"),
        (
            json!({"operator": "AND", "operands": [scope(json!(["read"]))]}),
            "ab",
        ),
        (
            json!({"operator": "AND", "operands": [scope(json!(["Read", "write"]))]}),
            "ac",
        ),
        (
            json!({"operator": "AND", "operands": [scope(json!(["rea"]))]}),
            "",
        ),
        (
            json!({"operator": "AND", "operands": [scope(json!(["read write", "a\"b", "é"]))]}),
            "",
        ),
        (
            json!({"operator": "AND", "operands": [scope(json!(["read"])), name(json!(["Two"]))]}),
            "b",
        ),
        (
            json!({"operator": "OR", "operands": [scope(json!(["write"])), name(json!(["Two"]))]}),
            "abd",
        ),
        (
            json!({"operator": "AND", "operands": [scope(json!(["read"])), scope(json!(["write"]))]}),
            "a",
        ),
    ] {
        let page = found(&server, json!({"query": query})).await;
        assert_eq!(ids(&page).concat(), expected, "{query}");
        assert_eq!(
            page["results_metadata"],
            json!({"total": expected.len(), "next_cursor": null})
        );
        assert!(
            page["m2m_clients"]
                .as_array()
                .unwrap()
                .iter()
                .all(|c| c.get("client_secret").is_none())
        );
    }
}

#[actix_web::test]
async fn pages_shift_nothing_when_clients_come_and_go() {
    let server = server().await;
    for number in 0..7 {
        server
            .made(json!({"client_id": format!("c{number}")}))
            .await;
    }
    let first = found(&server, json!({"limit": 3})).await;
    assert_eq!(ids(&first), ["c0", "c1", "c2"]);
    assert_eq!(first["results_metadata"]["total"], 7);
    let cursor = text(&first["results_metadata"], "next_cursor");

    server
        .did(Method::DELETE, &format!("{CLIENTS}/c2"), json!({}))
        .await; // the one that the cursor names
    server.made(json!({"client_id": "a-before"})).await;
    server.made(json!({"client_id": "c5-between"})).await;
    let second = found(&server, json!({"limit": 3, "cursor": cursor})).await;
    assert_eq!(ids(&second), ["c3", "c4", "c5"]);
    assert_eq!(second["results_metadata"]["total"], 8);
    let cursor = text(&second["results_metadata"], "next_cursor");
    let last = found(&server, json!({"limit": 3, "cursor": cursor})).await;
    assert_eq!(ids(&last), ["c5-between", "c6"]);
    assert_eq!(last["results_metadata"]["next_cursor"], Value::Null);
    let all = found(&server, json!({"cursor": "", "limit": null})).await;
    assert_eq!(ids(&all).len(), 8);
}

#[actix_web::test]
async fn a_search_that_makes_no_sense_is_refused() {
    let server = server().await;
    let many = vec!["a"; 1001];
    let operands = vec![json!({"filter_name": "client_id", "filter_value": ["a"]}); 101];
    for body in [
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"limit": -1}),
        json!({"limit": 1.5}),
        json!({"limit": "10"}),
        json!({"cursor": "!"}),
        json!({"cursor": "AAAA"}),
        json!({"cursor": 7}),
        json!({"page": 1}),
        json!({"query": []}),
        json!({"query": {"operator": "XOR"}}),
        json!({"query": {"operator": "and"}}),
        json!({"query": {"operands": {}}}),
        json!({"query": {"operands": ["a"]}}),
        json!({"query": {"operands": [{"filter_name": "status", "filter_value": ["active"]}]}}),
        json!({"query": {"operands": [{"filter_name": "client_id", "filter_value": "a"}]}}),
        json!({"query": {"operands": [{"filter_name": "client_id", "filter_value": [1]}]}}),
        json!({"query": {"operands": [{"filter_name": "client_id"}]}}),
        json!({"query": {"operands": [{"filter_name": "client_id", "filter_value": many}]}}),
        json!({"query": {"operands": operands}}),
    ] {
        let answer = server.send(Method::POST, SEARCH, &body).await;
        refused(answer, 400, "bad_request").await;
    }
}

#[actix_web::test]
async fn a_large_search_is_answered() {
    let server = server().await;
    server
        .made(json!({"client_id": "a", "scopes": ["x"]}))
        .await;
    let names: Vec<String> = (0..1000).map(|n| format!("n{n}")).collect();
    let scopes: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    let mut operands = vec![json!({"filter_name": "scopes", "filter_value": scopes}); 40];
    operands.push(json!({"filter_name": "client_name", "filter_value": names}));
    operands.push(json!({"filter_name": "client_id", "filter_value": ["a"]}));
    let page = found(
        &server,
        json!({"query": {"operator": "OR", "operands": operands}}),
    )
    .await;
    assert_eq!(ids(&page), ["a"]);
}
