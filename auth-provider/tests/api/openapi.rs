//! The description of the admin API is true to the server: nothing is missing in it, and nothing is made up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{Server, json};

const BASE: &str = "/admin/v1";
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

fn source(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    fs::read_to_string(folder.join(file)).unwrap()
}

fn document() -> Value {
    serde_json::from_str(&source("openapi.json")).unwrap()
}

/// Each path with its methods in capitals and what is said of them.
fn paths<'a>(document: &'a Value) -> BTreeMap<&'a str, BTreeMap<String, &'a Value>> {
    let operations = |item: &'a Value| {
        let members = item.as_object().unwrap().iter();
        let operations = members.filter(|(name, _)| *name != "parameters");
        operations
            .map(|(method, operation)| (method.to_uppercase(), operation))
            .collect()
    };
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, item)| (path.as_str(), operations(item)))
        .collect()
}

/// Every object that is somewhere below.
fn objects<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            found.push(value);
            members.values().for_each(|member| objects(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, found)),
        _ => {}
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

/// The path with a name that could be in each place.
fn filled(path: &str) -> String {
    let sample = |segment: &str| match segment {
        "{client_id}" => "billing".to_owned(),
        "{credential_id}" => "A".repeat(22),
        "{resource}" => "https%3A%2F%2Finvoices.example%2Fv1".to_owned(),
        "{kid}" => "unknown".to_owned(),
        other => other.to_owned(),
    };
    let segments: Vec<_> = path.split('/').map(sample).collect();
    format!("{BASE}{}", segments.join("/"))
}

#[test]
fn the_document_is_whole() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["servers"][0]["url"], BASE);
    let mut all = Vec::new();
    objects(&document, &mut all);
    for object in &all {
        resolved(&document, object);
    }
    let operations = all.iter().filter(|object| object["responses"].is_object());
    let names: Vec<_> = operations
        .filter_map(|object| object["operationId"].as_str())
        .collect();
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), unique.len());
    for link in all
        .iter()
        .filter_map(|object| object["operationId"].as_str())
    {
        assert!(unique.contains(&link), "a link leads to {link}");
    }
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().collect();
    for (path, operations) in paths(&document) {
        for (method, operation) in operations {
            let known = |tag: &Value| tags.iter().any(|known| known["name"] == *tag);
            assert!(known(&operation["tags"][0]), "{method} {path}");
            let security = operation["security"].as_array().unwrap();
            let said = match security.first() {
                Some(scope) => format!("Scope: `{}`.", scope["admin_token"][0].as_str().unwrap()),
                None => "Open to everyone.".to_owned(),
            };
            let description = operation["description"].as_str().unwrap();
            assert!(description.ends_with(&said), "{method} {path}");
        }
    }
}

/// What is not documented is refused: a typing error must not look as if it had been done.
#[test]
fn every_body_in_json_is_closed() {
    let document = document();
    for (path, operations) in paths(&document) {
        for (method, operation) in operations {
            let content = operation["requestBody"]["content"].as_object();
            let media = content.into_iter().flatten();
            for (_, media) in media.filter(|(name, _)| name.ends_with("json")) {
                let schema = resolved(&document, &media["schema"]);
                let one = vec![schema.clone()];
                for schema in schema["anyOf"].as_array().unwrap_or(&one) {
                    assert_eq!(schema["additionalProperties"], false, "{method} {path}");
                }
            }
            assert_eq!(
                content.is_some_and(|content| content.contains_key("application/merge-patch+json")),
                method == "PATCH",
                "{method} {path}"
            );
        }
    }
}

#[test]
fn every_route_is_documented() {
    let source = source("admin/mod.rs");
    let (_, routes) = source.split_once("fn routes").unwrap();
    let (routes, _) = routes.split_once("fn at<").unwrap();
    let texts = routes.split('"').skip(1).step_by(2);
    let routes: BTreeSet<_> = texts
        .map(|text| text.trim_start_matches(BASE))
        .filter(|text| text.starts_with('/'))
        .collect();
    let document = document();
    let documented: BTreeSet<_> = paths(&document).into_keys().collect();
    assert_eq!(routes, documented);
}

#[actix_web::test]
async fn every_operation_that_demands_a_scope_demands_a_token_first() {
    let server = Server::start().await;
    let document = document();
    for (path, operations) in paths(&document) {
        for (method, operation) in operations {
            let url = format!("{}{}", server.url, filled(path));
            let call = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = server.http.request(call, url).send().await.unwrap();
            let headers = answer.headers();
            if operation["security"] == serde_json::json!([]) {
                assert_eq!(answer.status(), StatusCode::OK, "{method} {path}");
                continue;
            }
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(headers["cache-control"], "no-store", "{method} {path}");
            let challenge = headers["www-authenticate"].to_str().unwrap();
            assert!(
                challenge.starts_with("Bearer realm=\"auth-provider\""),
                "{method} {path}"
            );
            assert_eq!(json(answer).await["status"], 401, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn what_is_not_documented_is_not_allowed() {
    let server = Server::start().await;
    let document = document();
    for (path, operations) in paths(&document) {
        let documented: BTreeSet<_> = operations.keys().map(String::as_str).collect();
        for method in METHODS
            .into_iter()
            .filter(|method| !documented.contains(method))
        {
            let url = format!("{}{}", server.url, filled(path));
            let call = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = server.http.request(call, url).send().await.unwrap();
            let place = format!("{method} {path}");
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{place}");
            let allow = answer.headers()["allow"].to_str().unwrap();
            let mut allowed: BTreeSet<_> = allow.split(',').map(str::trim).collect();
            // HEAD comes with GET; it is not written down.
            if documented.contains("GET") {
                allowed.remove("HEAD");
            }
            assert_eq!(allowed, documented, "{place}");
        }
    }
}

#[actix_web::test]
async fn document_and_page_are_open_and_cached() {
    let server = Server::start().await;
    for (path, media_type) in [
        ("/admin/v1/openapi.json", "application/json"),
        ("/admin/v1/docs", "text/html; charset=utf-8"),
    ] {
        let first = server.get(path).send().await.unwrap();
        assert_eq!(first.status(), StatusCode::OK, "{path}");
        assert_eq!(first.headers()["content-type"], media_type);
        assert_eq!(first.headers()["cache-control"], "public, max-age=300");
        let etag = first.headers()["etag"].clone();
        let known = server.get(path).header("if-none-match", &etag);
        let known = known.send().await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(known.headers()["etag"], etag);
        let head = server.http.head(format!("{}{path}", server.url));
        let head = head.send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        assert_eq!(head.headers()["etag"], etag);
    }
    let served = server.get("/admin/v1/openapi.json").send().await.unwrap();
    assert_eq!(json(served).await, document());
}

#[actix_web::test]
async fn the_page_tells_of_every_operation_and_lets_nothing_in() {
    let server = Server::start().await;
    let answer = server.get("/admin/v1/docs").send().await.unwrap();
    let headers = answer.headers().clone();
    let page = answer.text().await.unwrap();
    for object in paths(&document()).values().flat_map(BTreeMap::values) {
        let id = object["operationId"].as_str().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{id} is shown");
        assert!(
            page.contains(&format!("href=\"#{id}\"")),
            "{id} is in the contents"
        );
    }
    let ids: Vec<_> = page
        .split(" id=\"")
        .skip(1)
        .map(|rest| rest.split('"').next())
        .collect();
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len());
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
    assert_eq!(
        headers["content-security-policy"],
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    for never in ["<script", " style=", " src=", "<link", "@import", "url("] {
        assert!(!page.contains(never), "the page has {never}");
    }
}
