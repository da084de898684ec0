//! The header `api-key`: a client's secret, and what happens to what is none.

use reqwest::Method;
use serde_json::json;

use super::{Answer, Core, POLICY, server, wish};
use crate::{administrator::Administrator, support::Server};

const PATHS: [(&str, &str); 10] = [
    ("POST", "/recipe/jwt"),
    ("GET", "/recipe/oauth/clients?clientId=task"),
    ("POST", "/recipe/oauth/clients"),
    ("PUT", "/recipe/oauth/clients"),
    ("GET", "/recipe/oauth/clients/list"),
    ("POST", "/recipe/oauth/clients/remove"),
    ("POST", "/recipe/oauth/token"),
    ("POST", "/recipe/oauth/token/revoke"),
    ("POST", "/recipe/oauth/introspect"),
    ("GET", "/apiversion?apiDomain=a&websiteDomain=b"),
];

#[actix_web::test]
async fn without_a_living_secret_nothing_opens() {
    let server = server().await;
    let secret = server.secret("core");
    for (method, path) in PATHS {
        let request = || {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let url = format!("{}{path}", server.url);
            server
                .http
                .request(method, url)
                .json(&json!({"m2m_S3cret": 1}))
        };
        for (request, what) in [
            (request(), "no key"),
            (request().header("api-key", ""), "an empty key"),
            (request().header("api-key", "m2m_S3cret"), "a wrong key"),
            (request().header("api-key", &secret[1..]), "a part of it"),
            (
                request()
                    .header("api-key", &secret)
                    .header("api-key", &secret),
                "two",
            ),
            (
                request().header("authorization", format!("Bearer {secret}")),
                "elsewhere",
            ),
        ] {
            let answer = Answer::to(request).await;
            answer.refused(401, "Invalid API key: ");
            assert!(!answer.headers.contains_key("www-authenticate"));
            assert!(!answer.text.contains("S3cret"), "{what} {answer:?}");
        }
    }
    let admin = Administrator::of(&server).await;
    let patch = Method::PATCH;
    let inactive = json!({"status": "inactive"});
    admin.call(patch, "/clients/core", Some(&inactive)).await;
    Core::of(&server, "core")
        .get("/apiversion")
        .await
        .refused(401, "Invalid API key");
    server.auth.journal.settle().await.unwrap();
    let failed = admin.events("action=authentication.failed").await;
    assert!(
        failed
            .iter()
            .any(|event| event["reason"] == "client_inactive"),
        "{failed:#?}"
    );
}

#[actix_web::test]
async fn a_library_finds_a_version_and_a_greeting() {
    let server = server().await;
    let nobody = Core::of(&server, "nobody");
    let versions = nobody
        .get("/apiversion?apiDomain=a&websiteDomain=b")
        .await
        .json();
    for version in ["2.21", "3.0", "5.4"] {
        assert!(
            versions["versions"]
                .as_array()
                .unwrap()
                .contains(&json!(version))
        );
    }
    let hello = Answer::to(server.get("/hello")).await;
    assert_eq!((hello.status, hello.text.as_str()), (200, "Hello\n"));
    // A key may have blanks around it.
    let request = server
        .get("/apiversion")
        .header("api-key", format!(" {} ", nobody.key));
    assert_eq!(Answer::to(request).await.status, 200);
}

#[actix_web::test]
async fn a_body_that_is_none_is_a_status_and_a_text() {
    let server = server().await;
    let core = Core::of(&server, "core");
    for (method, path) in PATHS.iter().filter(|(method, _)| *method != "GET") {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = || core.request(method.clone(), path);
        let json = |body: &str| {
            let request = request().header("content-type", "application/json; charset=utf-8");
            request.body(body.to_owned())
        };
        for (request, status) in [
            (request(), 415),
            (
                request().header("content-type", "text/plain").body("{}"),
                415,
            ),
            (request().form(&[("clientId", "task")]), 415),
            (json(""), 400),
            (json("{"), 400),
            (json("null"), 400),
            (json("[]"), 400),
            (json("\u{0}"), 400),
            (json("{\"S3cret\": 1, \"S3cret\": 2}"), 400),
            (json("{\"S3cret\": 1}"), 400),
            (
                json(&format!("{}1{}", "[".repeat(50_000), "]".repeat(10))),
                400,
            ),
            (
                json(&format!(
                    "{{\"clientId\": \"{}\"}}",
                    "S3cret".repeat(20_000)
                )),
                413,
            ),
        ] {
            let answer = Answer::to(request).await;
            if answer.status == 200 && *path == "/recipe/oauth/token" {
                continue; // there the client is missing, which is an answer of its own
            }
            assert_eq!(answer.status, status, "{path} {answer:?}");
            assert!(!answer.text.contains("S3cret"), "{path} {answer:?}");
        }
    }
}

#[actix_web::test]
async fn another_method_is_told_which_one_it_is() {
    let server = server().await;
    let core = Core::of(&server, "core");
    for (method, path, allow) in [
        (Method::GET, "/recipe/jwt", "POST"),
        (Method::DELETE, "/recipe/oauth/clients", "GET, POST, PUT"),
        (Method::POST, "/recipe/oauth/clients/list", "GET"),
        (Method::GET, "/recipe/oauth/clients/remove", "POST"),
        (Method::POST, "/apiversion", "GET"),
    ] {
        let answer = Answer::to(core.request(method, path)).await;
        answer.refused(405, allow);
        assert_eq!(answer.headers["allow"], allow);
    }
}

#[actix_web::test]
async fn limits_hold_here_too() {
    let limited = async |more: &str| Server::start_with(POLICY, more).await;
    let server = limited("rate_limit_admin = '2/h'").await;
    let core = Core::of(&server, "task");
    let body = wish(&json!({"aud": "event"}));
    for _ in 0..2 {
        core.post("/recipe/jwt", &body).await.ok();
    }
    let answer = core.post("/recipe/jwt", &body).await;
    answer.refused(429, "request_id");
    assert!(answer.headers.contains_key("retry-after"));

    let server = limited("rate_limit_failures = '2/h'").await;
    let mut core = Core::of(&server, "task");
    let key = std::mem::replace(&mut core.key, "m2m_wrong".to_owned());
    for status in [401, 401, 429] {
        assert_eq!(core.get("/apiversion").await.status, status);
    }
    // Nobody is locked out by another's guesses.
    core.key = key;
    assert_eq!(core.get("/apiversion").await.status, 200);

    let server = limited("rate_limit_address = '1/h'").await;
    let core = Core::of(&server, "task");
    assert_eq!(core.post("/recipe/jwt", &body).await.status, 200);
    core.post("/recipe/jwt", &body)
        .await
        .refused(429, "request_id");
}

#[actix_web::test]
async fn a_library_is_shown_the_rsa_keys() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let all = Answer::to(server.get("/.well-known/jwks.json")).await;
    let rsa = core.get("/.well-known/jwks.json").await;
    let types = |answer: &Answer| -> Vec<String> {
        let keys = answer.json()["keys"].as_array().unwrap().clone();
        let types = keys
            .iter()
            .map(|key| key["kty"].as_str().unwrap().to_owned());
        types.collect()
    };
    assert!(types(&all).iter().any(|kty| kty == "EC"));
    assert_eq!(types(&rsa), ["RSA"]);
    for answer in [&all, &rsa] {
        assert_eq!(answer.headers["vary"], "cdi-version");
    }
    assert_ne!(all.headers["etag"], rsa.headers["etag"]);
}
