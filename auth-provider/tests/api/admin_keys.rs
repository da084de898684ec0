//! The keys' administration: who may, what is refused, and what it does to tokens that are out there.

use std::time::Duration;

use auth_provider::{
    built_in::{ADMIN, AUDIENCE},
    own_token,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::testing::TestIssuer;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{NOW, POLICY, Server, json};

const KEYS: &str = "/admin/v1/keys";
const ROTATE: &str = "/admin/v1/keys/rotate";

/// `bot` may see the keys of this server, and no more.
fn policy() -> String {
    format!(
        "{POLICY}\n[resources.ledger]\nsigning_alg = 'EdDSA'\n\
         [[grants]]\nclient = 'bot'\nresource = 'auth-provider'\nscopes = ['keys:read']\n\
         [[grants]]\nclient = 'bot'\nresource = 'ledger'"
    )
}

async fn list(server: &Server) -> Vec<Value> {
    let token = server.token(ADMIN, AUDIENCE).await;
    let answer = server
        .get("/admin/v1/keys")
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    json(answer).await["keys"].as_array().unwrap().clone()
}

/// Asks for a change as the administrator.
async fn change(server: &Server, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let token = server.token(ADMIN, AUDIENCE).await;
    let request = server
        .post(&format!("/admin/v1/keys/{path}"))
        .bearer_auth(token);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request.send().await.unwrap();
    (answer.status(), json(answer).await)
}

async fn published(server: &Server) -> Vec<String> {
    let set = json(server.get("/jwt/jwks.json").send().await.unwrap()).await;
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// Whether the server takes the token for its own.
async fn alive(server: &Server, token: &str) -> bool {
    own_token::read(&server.auth, token)
        .await
        .unwrap()
        .is_some()
}

fn kid_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[actix_web::test]
async fn who_may_not_is_told_why() {
    let server = Server::start_with(&policy(), "").await;
    let admin = server.token(ADMIN, AUDIENCE).await;
    let reader = server.token("bot", AUDIENCE).await;
    let notes = server.token("bot", "notes").await;
    let other = TestIssuer::start().await;
    let foreign = other.token().audience(AUDIENCE).scope("keys:read").mint();
    let forged = {
        let token = other
            .token()
            .audience(AUDIENCE)
            .scope("keys:read keys:rotate");
        token.claim("iss", json!(server.issuer)).mint()
    };
    let parts: Vec<&str> = admin.split('.').collect();
    let with_header = |header: Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("Bearer {header}.{}.{}", parts[1], parts[2])
    };
    let kid = kid_of(&admin);
    let unsigned = with_header(json!({"alg": "none", "typ": "at+jwt", "kid": kid}));
    let confused = with_header(json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}));
    let critical = with_header(json!({"alg": "ES256", "typ": "at+jwt", "kid": kid, "crit": ["x"]}));
    let unknown = with_header(json!({"alg": "ES256", "typ": "at+jwt", "kid": "unknown"}));
    let swapped = format!(
        "Bearer {}.{}.{}",
        parts[0],
        notes.split('.').nth(1).unwrap(),
        parts[2]
    );
    let (bearer, secret) = (
        |token: &str| format!("Bearer {token}"),
        server.secret(ADMIN),
    );

    let compromised = format!("/admin/v1/keys/{kid}/compromised");
    let invalid = (401, "invalid_token");
    #[rustfmt::skip]
    let table = [
        ("GET", KEYS, String::new(), (401, "")),
        ("POST", ROTATE, String::new(), (401, "")),
        ("POST", &compromised, String::new(), (401, "")),
        ("GET", KEYS, "Basic YWRtaW46eA==".to_owned(), (401, "")),
        ("GET", KEYS, "Bearer".to_owned(), invalid),
        ("GET", KEYS, "Bearer ".to_owned(), invalid),
        ("GET", KEYS, "Bearer a.b.c".to_owned(), invalid),
        ("GET", KEYS, "Bearer ...".to_owned(), invalid),
        ("GET", KEYS, bearer(&secret), invalid),
        ("GET", KEYS, bearer(&admin[1..]), invalid),
        ("GET", KEYS, bearer(&format!("{admin}.{}", parts[2])), invalid),
        ("GET", KEYS, bearer(&format!("{}.{}.", parts[0], parts[1])), invalid),
        ("GET", KEYS, bearer(&notes), invalid),
        ("GET", KEYS, bearer(&foreign), invalid),
        ("GET", KEYS, bearer(&forged), invalid),
        ("GET", KEYS, unsigned, invalid),
        ("GET", KEYS, confused, invalid),
        ("GET", KEYS, critical, invalid),
        ("GET", KEYS, unknown, invalid),
        ("GET", KEYS, swapped, invalid),
        ("POST", ROTATE, bearer(&notes), invalid),
        ("POST", &compromised, bearer(&notes), invalid),
        ("POST", ROTATE, bearer(&reader), (403, "insufficient_scope")),
        ("POST", &compromised, bearer(&reader), (403, "insufficient_scope")),
        ("GET", "/admin/v1/keys?access_token=x", bearer(&admin), (400, "invalid_request")),
    ];
    let before = published(&server).await;
    for (method, path, authorization, (status, error)) in &table {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = server.http.request(method, format!("{}{path}", server.url));
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        let row = format!("{path} {authorization}");
        refused(request, *status, error, &row).await;
    }
    let revoked = server.token(ADMIN, AUDIENCE).await;
    server.revoke(ADMIN, &revoked).await;
    refused(
        server.get(KEYS).bearer_auth(&revoked),
        401,
        "invalid_token",
        "revoked",
    )
    .await;
    let twice = server.get(KEYS).bearer_auth(&admin).bearer_auth(&admin);
    refused(twice, 400, "invalid_request", "two headers").await;
    server.advance(Duration::from_mins(5)).await;
    refused(
        server.get(KEYS).bearer_auth(&admin),
        401,
        "invalid_token",
        "ended",
    )
    .await;
    assert_eq!(published(&server).await, before, "nothing was changed");
}

async fn refused(request: reqwest::RequestBuilder, status: u16, error: &str, row: &str) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), status, "{row}");
    assert_eq!(
        answer.headers()["content-type"],
        "application/problem+json",
        "{row}"
    );
    assert_eq!(answer.headers()["cache-control"], "no-store", "{row}");
    let challenge = answer.headers()["www-authenticate"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        challenge.starts_with("Bearer realm=\"auth-provider\""),
        "{row}: {challenge}"
    );
    let body = json(answer).await;
    if error.is_empty() {
        assert_eq!(challenge, "Bearer realm=\"auth-provider\"", "{row}");
        assert!(body.get("error").is_none(), "{row}");
    } else {
        assert!(
            challenge.contains(&format!("error=\"{error}\"")),
            "{row}: {challenge}"
        );
        assert_eq!(body["error"], error, "{row}");
    }
    assert_eq!(
        challenge.contains("scope=\"keys:rotate\""),
        status == 403,
        "{row}"
    );
}

#[actix_web::test]
async fn a_request_that_makes_no_sense_changes_nothing() {
    let server = Server::start_with(&policy(), "").await;
    let before = list(&server).await;
    #[rustfmt::skip]
    let table = [
        ("rotate", Some(json!({"alg": "HS256"})), 400, "alg is one of ES256"),
        ("rotate", Some(json!({"alg": ""})), 400, "alg is one of"),
        ("rotate", Some(json!({"alg": 256})), 400, "`alg` does not fit"),
        ("rotate", Some(json!({"algorithm": "ES256"})), 400, "unknown field"),
        ("rotate", Some(json!(["ES256"])), 400, "no JSON object"),
        ("rotate", Some(json!({"alg": "RS256"})), 409, "no resource uses RS256"),
        ("unknown/compromised", None, 404, "no key with this kid"),
        ("%00/compromised", None, 404, "no key with this kid"),
    ];
    for (path, body, status, part) in table {
        let (got, answer) = change(&server, path, body.clone()).await;
        assert_eq!(got.as_u16(), status, "{path} {body:?}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{path} {body:?}: {detail}");
    }
    let token = server.token(ADMIN, AUDIENCE).await;
    let rotate = server
        .post("/admin/v1/keys/rotate")
        .bearer_auth(&token)
        .body("alg=ES256");
    let answer = rotate.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let wrong = server
        .get("/admin/v1/keys/rotate")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()["allow"], "POST");
    assert_eq!(list(&server).await, before);
}

#[actix_web::test]
async fn the_list_tells_each_keys_life_and_no_private_part() {
    let server = Server::start_with(&policy(), "").await;
    let keys = list(&server).await;
    let told: Vec<_> = keys
        .iter()
        .map(|key| (&key["alg"], &key["state"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("ES256"), &json!("active")),
            (&json!("EdDSA"), &json!("active"))
        ]
    );
    for key in &keys {
        let members: Vec<_> = key.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            ["alg", "announced_at", "kid", "signs_from", "state"]
        );
        assert_eq!(
            (&key["announced_at"], &key["signs_from"]),
            (&json!(NOW), &json!(NOW))
        );
    }
    let reader = server.token("bot", AUDIENCE).await;
    let answer = server
        .get("/admin/v1/keys")
        .bearer_auth(reader)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[actix_web::test]
async fn rotation_by_hand_announces_first() {
    let server = Server::start_with(&policy(), "").await;
    let old = server.token("bot", "notes").await;
    let (status, answer) = change(&server, "rotate", Some(json!({"alg": "ES256"}))).await;
    assert_eq!(status, StatusCode::OK);
    let keys = answer["keys"].as_array().unwrap().iter();
    let announced: Vec<_> = keys.filter(|key| key["state"] == "announced").collect();
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0]["signs_from"], NOW + 3600);
    let new = announced[0]["kid"].as_str().unwrap();
    assert!(published(&server).await.contains(&new.to_owned()));
    assert_eq!(
        kid_of(&server.token("bot", "notes").await),
        kid_of(&old),
        "not yet"
    );

    let (_, again) = change(&server, "rotate", Some(json!({"alg": "ES256"}))).await;
    assert_eq!(again, answer, "it is on its way");

    server.advance(Duration::from_hours(1)).await;
    assert_eq!(kid_of(&server.token("bot", "notes").await), new);
    assert!(published(&server).await.contains(&kid_of(&old)));
    let keys = list(&server).await;
    let retired = keys.iter().find(|key| key["state"] == "retired").unwrap();
    assert_eq!(retired["published_until"], NOW + 3600 + 87_000);

    let (status, all) = change(&server, "rotate", None).await;
    assert_eq!(status, StatusCode::OK);
    let keys = all["keys"].as_array().unwrap().iter();
    let algs: Vec<_> = keys
        .filter(|key| key["state"] == "announced")
        .map(|key| &key["alg"])
        .collect();
    assert_eq!(algs, ["ES256", "EdDSA"], "without a name, all of them");
}

#[actix_web::test]
async fn a_compromised_key_is_dead_at_once_and_for_ever() {
    let server = Server::start_with(&policy(), "").await;
    let (note, ledger) = (
        server.token("bot", "notes").await,
        server.token("bot", "ledger").await,
    );
    assert!(alive(&server, &note).await);
    let kid = kid_of(&note);
    let (status, answer) = change(&server, &format!("{kid}/compromised"), None).await;
    assert_eq!(status, StatusCode::OK);
    let dead = answer["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == *kid);
    assert_eq!(dead.unwrap()["state"], "compromised");
    assert!(!published(&server).await.contains(&kid));
    assert!(!alive(&server, &note).await);
    assert!(alive(&server, &ledger).await, "the other key is sound");

    let next = server.token("bot", "notes").await;
    assert_ne!(kid_of(&next), kid);
    assert!(alive(&server, &next).await);
    let (status, again) = change(&server, &format!("{kid}/compromised"), None).await;
    assert_eq!(
        (status, &again),
        (StatusCode::OK, &answer),
        "saying it twice changes nothing"
    );

    server.advance(Duration::from_mins(24 * 60 + 10)).await;
    assert!(
        list(&server).await.iter().all(|key| key["kid"] != *kid),
        "nothing of it is left"
    );
}
