//! Who is refused, and what cannot be read.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CLIENTS, refused, server, text};
use crate::{
    administrator::Administrator,
    support::{Server, json},
};

const PATHS: [(Method, &str); 8] = [
    (Method::POST, ""),
    (Method::POST, "/search"),
    (Method::GET, "/some"),
    (Method::PUT, "/some"),
    (Method::DELETE, "/some"),
    (Method::POST, "/some/secrets/rotate/start"),
    (Method::POST, "/some/secrets/rotate"),
    (Method::POST, "/some/secrets/rotate/cancel"),
];

#[actix_web::test]
async fn only_a_projects_administrator_is_let_in() {
    let server = server().await;
    for (method, path) in PATHS {
        let request = || {
            server
                .http
                .request(method.clone(), format!("{}{CLIENTS}{path}", server.url))
        };
        let demo = server.secret("project-demo");
        for request in [
            request(),
            request().bearer_auth(&demo),
            request().basic_auth("project-demo", Some("wrong")),
            request().basic_auth("project-demo", None::<&str>),
            request().basic_auth("project-other", Some(&demo)),
            request().basic_auth("nothing", Some(&demo)),
            request().basic_auth("", Some(&demo)),
            request().basic_auth("a\u{0}b", Some(&demo)),
            // Owners of resources that are no projects, and clients that own nothing.
            request().basic_auth("notes", Some(server.secret("notes"))),
            request().basic_auth("bot", Some(server.secret("bot"))),
            request().basic_auth("admin", Some(server.secret("admin"))),
        ] {
            let answer = request.json(&json!({})).send().await.unwrap();
            assert!(answer.headers().contains_key("www-authenticate"));
            refused(answer, 401, "unauthorized_credentials").await;
        }
    }
}

#[actix_web::test]
async fn another_projects_clients_are_not_there() {
    let server = server().await;
    let made = server
        .manage("project-other", Method::POST, CLIENTS)
        .json(&json!({"client_id": "theirs"}));
    let made = json(made.send().await.unwrap()).await;
    let secret = text(&made["m2m_client"], "client_secret");
    // And those that no project has.
    for id in [
        "theirs",
        "bot",
        "project-demo",
        "admin",
        "a%00b",
        "%ff",
        "a b",
        "x%2Fy",
    ] {
        for (method, path) in &PATHS[2..] {
            let path = format!("{CLIENTS}{}", path.replace("some", id));
            let answer = server.send(method.clone(), &path, &json!({})).await;
            refused(answer, 404, "m2m_client_not_found").await;
        }
    }
    let found = json!({"query": {"operands": [{"filter_name": "client_id", "filter_value": ["theirs", "bot"]}]}});
    let found = server
        .did(Method::POST, "/v1/m2m/clients/search", found)
        .await;
    assert_eq!(found["m2m_clients"], json!([]));
    let body =
        json!({"grant_type": "client_credentials", "client_id": "theirs", "client_secret": secret});
    assert_eq!(
        server.ask_project("project-other", &body).await.status(),
        200
    );
}

#[actix_web::test]
async fn a_body_that_does_not_fit_is_refused() {
    let server = server().await;
    let made = server.made(json!({})).await;
    let one = format!("{CLIENTS}/{}", text(&made, "client_id"));
    let large: Vec<(String, Value)> = (0..9)
        .map(|n| (format!("k{n}"), Value::from("x".repeat(500))))
        .collect();
    let large: Value = large.into_iter().collect::<serde_json::Map<_, _>>().into();
    let many: Value = (0..21)
        .map(|n| (format!("k{n}"), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let both = [
        json!({"unknown": 1}),
        json!({"client_name": 1}),
        json!({"client_name": "a\u{0}b"}),
        json!({"client_name": "x".repeat(201)}),
        json!({"client_description": "a\nb"}),
        json!({"scopes": "a"}),
        json!({"scopes": ["a b"]}),
        json!({"scopes": ["a\u{0}"]}),
        json!({"scopes": [""]}),
        json!({"scopes": [1]}),
        json!({"scopes": ["x".repeat(129)]}),
        json!({"trusted_metadata": []}),
        json!({"trusted_metadata": "a"}),
        json!({"trusted_metadata": {"a\u{0}": 1}}),
        json!({"trusted_metadata": {"a": "\u{0}"}}),
        json!({"trusted_metadata": large}),
        json!({"trusted_metadata": many}),
    ];
    let create = [
        json!({"client_id": ""}),
        json!({"client_id": "a b"}),
        json!({"client_id": "a\u{0}b"}),
        json!({"client_id": "search"}),
        json!({"client_id": 1}),
        json!({"client_secret": "short"}),
        json!({"client_secret": "a".repeat(40)}),
        json!({"client_secret": format!("{}\u{0}", "5f2a9c01d7e84b36a0c59f1e2d8b7346")}),
        json!({"status": "inactive"}),
    ];
    let update = [
        json!({"client_name": ""}),
        json!({"status": "gone"}),
        json!({"status": true}),
        json!({"client_secret": "5f2a9c01d7e84b36a0c59f1e2d8b7346"}),
        json!({"client_id": 1}),
    ];
    for (method, path, bodies) in [
        (Method::POST, CLIENTS, [&both[..], &create[..]].concat()),
        (Method::PUT, one.as_str(), [&both[..], &update[..]].concat()),
    ] {
        for body in bodies {
            let answer = server.send(method.clone(), path, &body).await;
            refused(answer, 400, "bad_request").await;
        }
    }
    assert_eq!(
        server.shown(text(&made, "client_id")).await["trusted_metadata"],
        json!({})
    );
}

#[actix_web::test]
async fn what_is_no_json_object_is_refused() {
    let server = server().await;
    for (method, path) in [
        (Method::POST, CLIENTS),
        (Method::POST, "/v1/m2m/clients/search"),
        (Method::PUT, "/v1/m2m/clients/some"),
        (Method::POST, "/v1/m2m/clients/some/secrets/rotate/start"),
    ] {
        let request = || server.manage("project-demo", method.clone(), path);
        for body in [
            "[]",
            "1",
            "null",
            "{",
            "\u{0}",
            "{} x",
            "{\"a\":1,\"a\":1}",
            "\u{feff}{}",
        ] {
            let request = request()
                .header("Content-Type", "application/json")
                .body(body);
            refused(request.send().await.unwrap(), 400, "bad_request").await;
        }
        let text = request().header("Content-Type", "text/plain").body("{}");
        refused(text.send().await.unwrap(), 400, "bad_request").await;
        let large = request().json(&json!({"client_id": "x".repeat(70_000)}));
        refused(large.send().await.unwrap(), 413, "request_too_large").await;
    }
}

#[actix_web::test]
async fn other_methods_and_paths_are_refused_in_the_same_shape() {
    let server = server().await;
    for (method, path, allow) in [
        (Method::GET, CLIENTS, "POST"),
        (Method::GET, "/v1/m2m/clients/search", "POST"),
        (Method::POST, "/v1/m2m/clients/some", "GET, PUT, DELETE"),
        (Method::PATCH, "/v1/m2m/clients/some", "GET, PUT, DELETE"),
        (Method::GET, "/v1/m2m/clients/some/secrets/rotate", "POST"),
        (Method::GET, "/v1/public/project-demo/oauth2/token", "POST"),
        (Method::POST, "/v1/sessions/jwks/project-demo", "GET, HEAD"),
    ] {
        let answer = server.send(method, path, &json!({})).await;
        assert_eq!(answer.headers()["allow"], allow);
        refused(answer, 405, "method_not_allowed").await;
    }
    for path in [
        "/v1",
        "/v1/",
        "/v1/users",
        "/v1/m2m/clients/a/b",
        "/v1/public/project-demo/oauth2/x",
        "/v1/sessions/jwks/a/b",
    ] {
        let answer = server.send(Method::POST, path, &json!({})).await;
        refused(answer, 404, "route_not_found").await;
    }
}

#[actix_web::test]
async fn the_limits_hold_here_too() {
    let more =
        "rate_limit_admin = '2/min'\nrate_limit_client = '1/min'\nrate_limit_failures = '3/min'";
    let server = Server::start_with(super::PROJECTS, more).await;
    let made = server.made(json!({})).await;
    server.shown(text(&made, "client_id")).await;
    let answer = server.send(Method::POST, CLIENTS, &json!({})).await;
    assert!(answer.headers().contains_key("retry-after"));
    refused(answer, 429, "too_many_requests").await;

    let ask = |secret: &str| {
        let body = json!({"grant_type": "client_credentials", "client_id": made["client_id"], "client_secret": secret});
        server
            .post("/v1/public/project-demo/oauth2/token")
            .json(&body)
            .send()
    };
    assert_eq!(
        ask(text(&made, "client_secret")).await.unwrap().status(),
        200
    );
    let answer = ask(text(&made, "client_secret")).await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(json(answer).await["status_code"], 429);
    for _ in 0..3 {
        assert_eq!(ask("wrong").await.unwrap().status(), 400);
    }
    assert_eq!(ask("wrong").await.unwrap().status(), 429);
}

/// Whoever gets a client's secret from a project must not wait under a name for the rights of another client.
#[actix_web::test]
async fn a_policy_gives_nothing_to_a_client_that_a_project_took_the_name_of() {
    let server = server().await;
    server.made(json!({"client_id": "billing"})).await;
    let admin = Administrator::of(&server).await;
    for (toml, status) in [
        (
            "[clients.billing]\n[resources.notes]\nscopes = { 'note.read' = '' }\n[[grants]]\nclient = 'billing'\nresource = 'notes'",
            409,
        ),
        (
            "[clients.billing]\n[resources.bills]\nowner = 'billing'",
            409,
        ),
        ("[clients.billing]\nname = 'Billing'", 200),
    ] {
        let request = server
            .post("/admin/v1/policy/apply")
            .bearer_auth(&admin.token);
        let request = request
            .header("Content-Type", "application/toml")
            .body(toml);
        assert_eq!(request.send().await.unwrap().status(), status, "{toml}");
    }
}

#[actix_web::test]
async fn a_client_with_rights_over_the_server_is_not_the_projects_to_change() {
    let server = server().await;
    server.made(json!({"client_id": "raised"})).await;
    let admin = Administrator::of(&server).await;
    let grant =
        json!({"client_id": "raised", "resource": "auth-provider", "scopes": ["clients:read"]});
    admin.post("/grants", &grant).await;
    for (method, path, body) in [
        (Method::PUT, "", json!({"status": "inactive"})),
        (Method::DELETE, "", json!({})),
        (Method::POST, "/secrets/rotate/start", json!({})),
    ] {
        let path = format!("{CLIENTS}/raised{path}");
        let answer = server.send(method, &path, &body).await;
        refused(answer, 403, "forbidden").await;
    }
    assert_eq!(server.shown("raised").await["status"], "active");
}
