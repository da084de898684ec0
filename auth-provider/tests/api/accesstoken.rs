//! `POST /accesstoken`: what a bootstrap token opens, and that it opens nothing else.

use std::{fmt::Write, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    administrator::Administrator,
    support::{NOW, POLICY, Server, json},
};

const DAY: u64 = 86_400;

/// `bot` may also call a resource whose tokens live for half a day.
const LONG: &str = r#"
    [resources.slow]
    token_lifetime = "12h"
    [[grants]]
    client = "bot"
    resource = "slow"
    "#;

async fn start() -> Server {
    Server::start_with(&format!("{POLICY}{LONG}"), "").await
}

fn credentials(client: &str) -> String {
    format!("/clients/{client}/credentials")
}

/// A new bootstrap token, and the path of its credential.
async fn bootstrap(admin: &Administrator<'_>, client: &str, more: Value) -> (String, String) {
    let mut wish = json!({"kind": "bootstrap"});
    let members = wish.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    let made = admin.post(&credentials(client), &wish).await;
    assert_eq!(made["kind"], "bootstrap");
    let id = made["credential_id"].as_str().unwrap();
    let token = made["bootstrap_token"].as_str().unwrap_or_default();
    (token.to_owned(), format!("{}/{id}", credentials(client)))
}

fn ask(server: &Server, bearer: &str, target: &str) -> RequestBuilder {
    let request = server.post("/accesstoken").bearer_auth(bearer);
    request.json(&json!({"target": target}))
}

async fn status_of(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

/// The access token, from an answer that has nothing else.
async fn access_token(request: RequestBuilder) -> String {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let answer = json(answer).await;
    let token = answer["accessToken"].as_str().unwrap();
    assert_eq!(answer, json!({"accessToken": token}));
    token.to_owned()
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

fn challenge(answer: &Response) -> String {
    let challenge = answer.headers().get("www-authenticate");
    challenge.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

/// As `sha256sum` writes it.
fn sha256(text: &str) -> String {
    let mut hex = String::new();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

#[actix_web::test]
async fn a_bootstrap_token_gets_tokens_for_what_policy_allows_and_for_an_hour_at_most() {
    let server = start().await;
    let admin = Administrator::of(&server).await;
    let (token, _) = bootstrap(&admin, "bot", json!({})).await;
    assert!(
        token.starts_with("m2mb_"),
        "it is found by who looks for leaks"
    );
    for (target, scope, life) in [
        ("notes", "note.read note.write", 3600),
        ("calendar", "calendar.read", 300),
        ("slow", "", 3600),
    ] {
        let claims = claims(&access_token(ask(&server, &token, target)).await);
        assert_eq!(claims["iss"], server.issuer.as_str());
        assert_eq!(
            (&claims["sub"], &claims["aud"]),
            (&"bot".into(), &target.into())
        );
        assert_eq!(claims["scope"], scope, "{target}");
        let life_in_it = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life_in_it, life, "{target}");
    }
    let (lab, _) = bootstrap(&admin, "courier", json!({})).await;
    let reference = access_token(ask(&server, &lab, "lab")).await;
    assert_eq!(
        server.introspect("lab-server", &reference).await["active"],
        true
    );
}

#[actix_web::test]
async fn who_has_no_bootstrap_token_is_401_whatever_it_sends() {
    let server = start().await;
    let admin = Administrator::of(&server).await;
    let (good, path) = bootstrap(&admin, "bot", json!({})).await;
    let (gone, path_of_gone) = bootstrap(&admin, "bot", json!({})).await;
    admin.call(Method::DELETE, &path_of_gone, None).await;
    let secret = server.secret("bot");
    let access = server.token("bot", "notes").await;
    let opaque = server.token("courier", "lab").await;
    let ours = access_token(ask(&server, &good, "notes")).await;
    let hash = sha256(&good);
    let id = path.rsplit('/').next().unwrap();
    let bearer = |text: &str| vec![format!("Bearer {text}")];
    let presents = "send the token in the header Authorization: Bearer";
    let opens_nothing = "what was presented opens nothing here, or no longer";
    for (what, headers, status, error, says) in [
        ("nothing", vec![], 401, "invalid_token", presents),
        (
            "an empty header",
            vec![String::new()],
            401,
            "invalid_token",
            presents,
        ),
        (
            "no token",
            vec!["Bearer".to_owned()],
            401,
            "invalid_token",
            presents,
        ),
        (
            "Basic",
            vec!["Basic Ym90OnNlY3JldA==".to_owned()],
            401,
            "invalid_token",
            presents,
        ),
        (
            "the token alone",
            vec![good.clone()],
            401,
            "invalid_token",
            presents,
        ),
        (
            "another scheme",
            vec![format!("Token {good}")],
            401,
            "invalid_token",
            presents,
        ),
        ("a text", bearer("x"), 401, "invalid_token", opens_nothing),
        (
            "a client secret",
            bearer(&secret),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "an access token",
            bearer(&access),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "an opaque one",
            bearer(&opaque),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "one from here",
            bearer(&ours),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "an administrator's",
            bearer(&admin.token),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "a deleted one",
            bearer(&gone),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "its hash",
            bearer(&hash),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "its credential's id",
            bearer(id),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "half of it",
            bearer(&good[..good.len() / 2]),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "more than it",
            bearer(&format!("{good}x")),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "in capitals",
            bearer(&good.to_uppercase()),
            401,
            "invalid_token",
            opens_nothing,
        ),
        (
            "two",
            vec![format!("Bearer {good}"); 2],
            400,
            "",
            "send one Authorization header",
        ),
    ] {
        for body in ["{\"target\": \"notes\"}", "{", ""] {
            let request = server.post("/accesstoken").body(body);
            let request = request.header("content-type", "application/json");
            let with = |request: RequestBuilder, value| request.header("authorization", value);
            let answer = headers.iter().fold(request, with).send().await.unwrap();
            assert_eq!(answer.status(), status, "{what}");
            let challenge = challenge(&answer);
            if status == 401 {
                let begin = format!("Bearer realm=\"auth-provider\", error=\"{error}\"");
                assert!(challenge.starts_with(&begin), "{what}: {challenge}");
                assert!(challenge.contains(says), "{what}: {challenge}");
            }
            let answer = json(answer).await;
            let description = answer["error_description"].as_str().unwrap();
            assert!(description.contains(says), "{what}: {answer}");
            assert!(answer["request_id"].is_string(), "{what}: {answer}");
        }
        // It still works, and the failures of this address are forgiven, so that the next ones wait no longer.
        assert_eq!(status_of(ask(&server, &good, "notes")).await, 200);
    }
}

#[actix_web::test]
#[rustfmt::skip]
async fn what_policy_forbids_is_401_and_what_cannot_be_read_400() {
    let server = start().await;
    let admin = Administrator::of(&server).await;
    let (bot, _) = bootstrap(&admin, "bot", json!({})).await;
    let (nobody, _) = bootstrap(&admin, "nobody", json!({})).await;
    let (ending, _) = bootstrap(&admin, "ending", json!({})).await;
    server.advance(Duration::from_mins(11)).await;
    let json_type = "application/json";
    for (bearer, media_type, body, status, error, says) in [
        (&bot, json_type, r#"{"target": "plain"}"#, 401, "invalid_target", "it may call calendar, notes, slow"),
        (&bot, json_type, r#"{"target": "auth-provider"}"#, 401, "invalid_target", "no grant"),
        (&bot, json_type, r#"{"target": "no-such"}"#, 401, "invalid_target", "it may call calendar, notes, slow"),
        (&bot, json_type, r#"{"target": "NOTES"}"#, 401, "invalid_target", "no grant"),
        (&bot, json_type, r#"{"target": "\u0000\"\\"}"#, 401, "invalid_target", "no grant"),
        (&nobody, json_type, r#"{"target": "notes"}"#, 401, "unauthorized_client", "may not call any"),
        (&ending, json_type, r#"{"target": "notes"}"#, 401, "unauthorized_client", "may not call any"),
        (&bot, json_type, "", 400, "invalid_request", "no JSON object"),
        (&bot, json_type, "{", 400, "invalid_request", "no JSON object"),
        (&bot, json_type, "null", 400, "invalid_request", "no JSON object"),
        (&bot, json_type, "[]", 400, "invalid_request", "no JSON object"),
        (&bot, json_type, "\"notes\"", 400, "invalid_request", "no JSON object"),
        (&bot, json_type, "target=notes", 400, "invalid_request", "no JSON object"),
        (&bot, json_type, "{\"target\": \"notes\"} x", 400, "invalid_request", "no JSON object"),
        (&bot, json_type, r#"{"target": "notes", "target": "notes"}"#, 400, "invalid_request", "sent twice"),
        (&bot, json_type, "{}", 400, "invalid_request", "target is missing"),
        (&bot, json_type, r#"{"target": null}"#, 400, "invalid_request", "target is missing"),
        (&bot, json_type, r#"{"target": ""}"#, 400, "invalid_request", "target is missing"),
        (&bot, json_type, r#"{"Target": "notes"}"#, 400, "invalid_request", "target is missing"),
        (&bot, json_type, r#"{"target": 7}"#, 400, "invalid_request", "target must be one string"),
        (&bot, json_type, r#"{"target": ["notes"]}"#, 400, "invalid_request", "target must be one string"),
        (&bot, json_type, r#"{"target": {"a": 1}}"#, 400, "invalid_request", "target must be one string"),
        (&bot, "text/plain", r#"{"target": "notes"}"#, 400, "invalid_request", "send the body as"),
        (&bot, "", r#"{"target": "notes"}"#, 400, "invalid_request", "send the body as"),
    ] {
        let request = server.post("/accesstoken").bearer_auth(bearer).body(body);
        let answer = request.header("content-type", media_type).send().await.unwrap();
        let challenge = challenge(&answer);
        assert_eq!(answer.status(), status, "{body}");
        let answer = json(answer).await;
        assert_eq!(answer["error"], error, "{body}: {answer}");
        let description = answer["error_description"].as_str().unwrap();
        assert!(description.contains(says), "{body}: {answer}");
        let told = format!("Bearer realm=\"auth-provider\", error=\"{error}\", error_description=\"{description}\"");
        assert_eq!(challenge, if status == 401 { told } else { String::new() }, "{body}");
    }
    let large = "x".repeat(65 * 1024);
    assert_eq!(status_of(ask(&server, &bot, &large)).await, 413);
    let in_url = server.post("/accesstoken?target=notes").bearer_auth(&bot).json(&json!({"target": "notes"}));
    assert_eq!(status_of(in_url).await, 400);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let url = format!("{}/accesstoken", server.url);
        let answer = server.http.request(method, url).bearer_auth(&bot).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()));
    }
}

#[actix_web::test]
async fn a_bootstrap_token_opens_nothing_else() {
    let server = start().await;
    let admin = Administrator::of(&server).await;
    let foreign = "a.foreign.bearer";
    let import = json!({"secret_sha256": sha256(foreign), "expires_at": NOW + DAY});
    bootstrap(&admin, "bot", import).await;
    for client in ["bot", "notes-server", "root"] {
        let (made, _) = bootstrap(&admin, client, json!({})).await;
        let bearers = if client == "bot" {
            vec![made.as_str(), foreign]
        } else {
            vec![made.as_str()]
        };
        for bearer in bearers {
            for (path, form) in [
                (
                    "/oauth/token",
                    "grant_type=client_credentials&resource=notes",
                ),
                (
                    "/auth/oauth/token",
                    "grant_type=client_credentials&resource=notes",
                ),
                ("/oauth/introspect", "token=x"),
                ("/oauth/revoke", "token=x"),
            ] {
                let post = |form: String| {
                    let media_type = "application/x-www-form-urlencoded";
                    server
                        .post(path)
                        .header("content-type", media_type)
                        .body(form)
                };
                let as_basic = post(form.to_owned()).basic_auth(client, Some(bearer));
                let in_body = format!("{form}&client_id={client}&client_secret={bearer}");
                let as_bearer = post(form.to_owned()).bearer_auth(bearer);
                for request in [as_basic, post(in_body), as_bearer] {
                    assert_eq!(status_of(request).await, 401, "{client} at {path}");
                }
            }
            let feed = || server.get("/oauth/revocations");
            assert_eq!(
                status_of(feed().basic_auth(client, Some(bearer))).await,
                401
            );
            assert_eq!(status_of(feed().bearer_auth(bearer)).await, 401);
            for path in ["/admin/v1/clients", "/admin/v1/keys", "/admin/v1/policy"] {
                let request = server.get(path).bearer_auth(bearer);
                assert_eq!(status_of(request).await, 401, "{client} at {path}");
            }
            // It is no token either.
            let known = server.introspect("root", bearer).await;
            assert_eq!(known, json!({"active": false}));
        }
    }
}

#[actix_web::test]
async fn a_bootstrap_token_ends_and_can_be_taken_back() {
    let server = start().await;
    let admin = Administrator::of(&server).await;
    let (by_itself, _) = bootstrap(&admin, "bot", json!({"expires_at": NOW + 60})).await;
    let (deleted, path_of_deleted) = bootstrap(&admin, "bot", json!({})).await;
    let (stolen, path_of_stolen) = bootstrap(&admin, "bot", json!({})).await;
    let (kept, path_of_kept) = bootstrap(&admin, "bot", json!({})).await;
    let end = admin.get(&path_of_kept).await["expires_at"]
        .as_u64()
        .unwrap();
    assert_eq!(end, NOW + 30 * DAY, "none lives without an end");
    for (wish, status) in [
        (
            json!({"kind": "bootstrap", "expires_at": NOW + 365 * DAY + 1}),
            409,
        ),
        (json!({"kind": "bootstrap", "expires_at": null}), 400),
        (json!({"kind": "access"}), 400),
    ] {
        let answer = admin
            .send(Method::POST, &credentials("bot"), Some(&wish))
            .await;
        assert_eq!(answer.status(), status, "{wish}");
    }
    for end in [json!(NOW + 365 * DAY + 1), Value::Null] {
        let wish = json!({"expires_at": end});
        let answer = admin.send(Method::PATCH, &path_of_kept, Some(&wish));
        assert_eq!(
            answer.await.status(),
            409,
            "its end cannot be put off for ever: {wish}"
        );
    }

    let obtained = access_token(ask(&server, &stolen, "notes")).await;
    let before = access_token(ask(&server, &deleted, "notes")).await;
    admin.call(Method::DELETE, &path_of_deleted, None).await;
    admin
        .post(&format!("{path_of_stolen}/compromised"), &json!({}))
        .await;
    for (bearer, what) in [(&deleted, "deleted"), (&stolen, "compromised")] {
        assert_eq!(
            status_of(ask(&server, bearer, "notes")).await,
            401,
            "{what}"
        );
    }
    let active =
        async |token: &str| server.introspect("notes-server", token).await["active"].clone();
    assert_eq!(
        active(&obtained).await,
        false,
        "what a thief obtained is taken back"
    );
    assert_eq!(
        active(&before).await,
        true,
        "what its owner obtained is not"
    );

    let set = async |state: &str| {
        let body = json!({"status": state});
        admin.call(Method::PATCH, "/clients/bot", Some(&body)).await
    };
    set("inactive").await;
    assert_eq!(status_of(ask(&server, &kept, "notes")).await, 401);
    set("active").await;
    assert_eq!(status_of(ask(&server, &kept, "notes")).await, 200);

    assert_eq!(status_of(ask(&server, &by_itself, "notes")).await, 200);
    server.advance(Duration::from_mins(1)).await;
    assert_eq!(status_of(ask(&server, &by_itself, "notes")).await, 401);
    assert_eq!(status_of(ask(&server, &kept, "notes")).await, 200);
    server.advance(Duration::from_hours(30 * 24)).await;
    assert_eq!(status_of(ask(&server, &kept, "notes")).await, 401);
}

#[actix_web::test]
async fn a_foreign_bearer_goes_on_by_its_hash_until_its_end() {
    let server = start().await;
    // As other systems hand them out: a JWT of theirs, a UUID, a text with a character of base64 in it.
    for (nth, foreign) in [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib3QiLCJhdWQiOiJhdXRoIn0.c2lnbmF0dXJl",
        "0b9e9c1e-7f57-4d0c-8f0d-6a2a3f6d1c11",
        "q+/8=~._-q",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(status_of(ask(&server, foreign, "notes")).await, 401);
        let hash = if nth == 0 {
            sha256(foreign).to_uppercase()
        } else {
            sha256(foreign)
        };
        let now = server.clock.clock().now();
        let wish = json!({"kind": "bootstrap", "secret_sha256": hash, "expires_at": now + DAY});
        let admin = Administrator::of(&server).await;
        let made = admin.post(&credentials("bot"), &wish).await;
        assert!(made.get("bootstrap_token").is_none() && made.get("client_secret").is_none());
        let subject = &claims(&access_token(ask(&server, foreign, "notes")).await)["sub"];
        assert_eq!(subject, "bot");
        // One bearer is one client's.
        let single = credentials("single");
        let again = admin.send(Method::POST, &single, Some(&wish)).await;
        assert_eq!(again.status(), 409);
        server.advance(Duration::from_hours(24)).await;
        assert_eq!(status_of(ask(&server, foreign, "notes")).await, 401);
    }
    let wish = |hash: &str, more: Value| {
        let mut wish = json!({"kind": "bootstrap", "secret_sha256": hash});
        let members = wish.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        wish
    };
    let now = server.clock.clock().now();
    let hash = sha256("another");
    let in_a_day = now + DAY;
    let admin = Administrator::of(&server).await;
    for (wish, status) in [
        (wish(&hash, json!({})), 409),
        (wish(&hash, json!({"expires_at": now + 365 * DAY + 1})), 409),
        (
            wish(&hash, json!({"expires_at": in_a_day, "kind": "secret"})),
            409,
        ),
        (wish(&hash[1..], json!({"expires_at": in_a_day})), 400),
        (wish("", json!({"expires_at": in_a_day})), 400),
        (wish("another", json!({"expires_at": in_a_day})), 400),
    ] {
        let answer = admin
            .send(Method::POST, &credentials("bot"), Some(&wish))
            .await;
        assert_eq!(answer.status(), status, "{wish}");
    }
    assert_eq!(status_of(ask(&server, "another", "notes")).await, 401);
}

#[actix_web::test]
async fn each_answer_is_in_the_audit_log_as_at_the_token_endpoint() {
    let server = start().await;
    let admin = Administrator::of(&server).await;
    let (token, path) = bootstrap(&admin, "bot", json!({})).await;
    let id = path.rsplit('/').next().unwrap();

    access_token(ask(&server, &token, "notes")).await;
    let issued = admin.events("action=token.issued&client_id=bot").await;
    assert_eq!(issued.len(), 1);
    assert_eq!(
        (&issued[0]["resource"], &issued[0]["credential_id"]),
        (&"notes".into(), &id.into())
    );

    let request_id = async |request: RequestBuilder| {
        let answer = json(request.send().await.unwrap()).await;
        answer["request_id"].as_str().unwrap().to_owned()
    };
    // The same wish at both endpoints, and the same words.
    let here = request_id(ask(&server, &token, "plain")).await;
    let there = json(server.ask("bot", &[("resource", "plain")]).await).await;
    let there = there["request_id"].as_str().unwrap();
    let events = admin.events("action=token.refused&client_id=bot").await;
    let of = |id: &str| {
        let mut event = events
            .iter()
            .find(|event| event["request_id"] == id)
            .unwrap()
            .clone();
        for own in ["request_id", "event_id", "number"] {
            event.as_object_mut().unwrap().remove(own);
        }
        event
    };
    assert_eq!(of(&here)["reason"], "no_grant");
    assert_eq!(of(&here), of(there));

    let refused = request_id(ask(&server, "x", "notes")).await;
    let failed = admin.events("action=authentication.failed").await;
    let event = failed
        .iter()
        .find(|event| event["request_id"] == refused.as_str())
        .unwrap();
    assert_eq!(
        (&event["outcome"], &event["client_id"]),
        (&"refused".into(), &Value::Null)
    );
    let uses = admin.get(&path).await;
    assert_eq!(
        (&uses["use_count"], &uses["last_used_at"]),
        (&1.into(), &NOW.into())
    );
}
