//! `POST /recipe/jwt`: tokens whose contents the caller writes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Core, POLICY, parts, server, wish};
use crate::{
    administrator::Administrator,
    support::{NOW, Server},
};

fn minted(answer: &super::Answer) -> String {
    let body = answer.ok();
    let members: BTreeSet<&str> = body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, BTreeSet::from(["jwt", "status"]));
    body["jwt"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_client_writes_a_token_of_its_own() {
    let server = server().await;
    let task = Core::of(&server, "task");
    let payload = json!({
        "aud": "event", "scp": ["event.view"], "source": "microservice", "more": {"a": [1, null]},
    });
    let jwt = minted(&task.mint(&payload).await);
    let (header, claims) = parts(&jwt);
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("RS256"), &json!("JWT"))
    );
    let mut expected = json!({
        "iss": server.issuer, "sub": "task", "client_id": "task", "aud": "event",
        "scope": "event.view", "scp": ["event.view"], "stt": 1,
        "iat": NOW, "nbf": NOW, "exp": NOW + 600,
        "source": "microservice", "more": {"a": [1, null]},
    });
    for random in ["gid", "jti"] {
        assert!(claims[random].as_str().unwrap().len() >= 22);
        expected[random] = claims[random].clone();
    }
    assert_eq!(claims, expected);
    assert_eq!(server.introspect("calendar", &jwt).await["active"], true);
}

#[actix_web::test]
async fn what_the_server_says_the_caller_does_not() {
    let server = server().await;
    let task = Core::of(&server, "task");
    // The last as in an example of SuperTokens' makers, which names an issuer.
    let payload = json!({
        "sub": "task", "aud": ["event"], "iss": "auth-server", "iat": 1, "nbf": 1, "exp": 32_503_680_000_u64,
        "jti": "mine", "kid": "mine", "client_id": "core", "stt": 0, "gid": "mine",
    });
    let (_, claims) = parts(&minted(&task.mint(&payload).await));
    for (name, value) in [
        ("iss", json!(server.issuer)),
        ("client_id", json!("task")),
        ("iat", json!(NOW)),
        ("nbf", json!(NOW)),
        ("exp", json!(NOW + 600)),
        ("stt", json!(1)),
        ("kid", Value::Null),
        // What is not written is not given.
        ("scope", json!("")),
        ("scp", json!([])),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert!(claims["jti"] != "mine" && claims["gid"] != "mine");
    for name in ["roles", "groups", "act", "cnf", "entitlements", "sid"] {
        let answer = task.mint(&json!({"aud": "event", name: ["admin"]})).await;
        answer.refused(400, &format!("payload.{name} says"));
    }
}

#[actix_web::test]
async fn a_life_is_cut_to_what_is_configured() {
    let century = 3_153_600_000_u64;
    for (more, aud, asked, lives) in [
        ("", "event", century, 3600),
        ("", "event", 60, 60),
        ("max_jwt_validity = '5m'", "event", century, 300),
        // No longer than any token of this resource.
        ("max_jwt_validity = '24h'", "file", century, 600),
    ] {
        let server = Server::start_with(POLICY, more).await;
        let mut wish = wish(&json!({"aud": aud}));
        wish["validity"] = json!(asked);
        let answer = Core::of(&server, "task").post("/recipe/jwt", &wish).await;
        let (_, claims) = parts(&minted(&answer));
        assert_eq!(claims["exp"], NOW + lives, "{more} {aud} {asked}");
    }
}

#[actix_web::test]
async fn the_policy_decides_for_whom_and_with_what() {
    let server = server().await;
    let [task, solo, nobody] = ["task", "solo", "nobody"].map(|id| Core::of(&server, id));
    // Who may call one resource need not name it.
    let (_, claims) = parts(&minted(
        &solo.mint(&json!({"source": "microservice"})).await,
    ));
    assert_eq!(claims["aud"], "event");
    for (who, payload, words) in [
        (&task, json!({}), "name one resource"),
        (&solo, json!({"aud": "file"}), "no grant for that resource"),
        (
            &solo,
            json!({"aud": "unknown"}),
            "no grant for that resource",
        ),
        (
            &nobody,
            json!({"aud": "event"}),
            "may not call any resource",
        ),
        (
            &solo,
            json!({"aud": "event", "scope": "event.create"}),
            "does not allow all of these",
        ),
        (
            &solo,
            json!({"aud": "event", "scp": ["event.view", "x"]}),
            "does not allow all of these",
        ),
        (
            &solo,
            json!({"sub": "task", "aud": "event"}),
            "payload.sub is not the client whose",
        ),
        (
            &solo,
            json!({"sub": "unknown", "aud": "event"}),
            "payload.sub is not the client whose",
        ),
        (&task, json!({"aud": "lab"}), "no claims of a caller's own"),
    ] {
        let answer = who.mint(&payload).await;
        answer.refused(403, words);
        server.auth.journal.settle().await.unwrap();
        let admin = Administrator::of(&server).await;
        let events = admin
            .events(&format!("request_id={}", answer.request_id()))
            .await;
        assert_eq!(events.len(), 1, "{payload}");
        assert_eq!(events[0]["action"], "token.refused");
        assert_eq!(events[0]["outcome"], "refused");
    }
    let admin = Core::of(&server, "admin");
    let answer = admin.mint(&json!({"aud": "auth-provider"})).await;
    answer.refused(403, "from the token endpoint only");
}

#[actix_web::test]
async fn a_grant_that_ended_makes_no_token_and_one_that_ends_cuts_it_short() {
    let policy = POLICY.replace(
        "scopes = [\"event.view\"]\n",
        "scopes = [\"event.view\"]\nexpires_at = \"2026-01-01T00:05:00Z\"\n",
    );
    let server = Server::start_with(&policy, "").await;
    let solo = Core::of(&server, "solo");
    let (_, claims) = parts(&minted(&solo.mint(&json!({})).await));
    assert_eq!(claims["exp"], NOW + 300);
    server.advance(std::time::Duration::from_mins(5)).await;
    solo.mint(&json!({}))
        .await
        .refused(403, "may not call any resource");
}

#[actix_web::test]
async fn who_may_mint_speaks_for_others_within_their_grants() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let jwt = minted(
        &core
            .mint(&json!({"sub": "solo", "aud": "event", "scope": "event.view"}))
            .await,
    );
    let (_, claims) = parts(&jwt);
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!("solo"), &json!("solo"))
    );
    for (payload, words) in [
        (
            json!({"sub": "solo", "aud": "file"}),
            "no grant for that resource",
        ),
        (
            json!({"sub": "solo", "aud": "event", "scope": "event.create"}),
            "does not allow",
        ),
        (
            json!({"sub": "unknown", "aud": "event"}),
            "not the id of an active client",
        ),
        (
            json!({"sub": "a b\u{0}", "aud": "event"}),
            "not the id of an active client",
        ),
        (
            json!({"sub": "admin", "aud": "auth-provider"}),
            "from the token endpoint only",
        ),
        (json!({"aud": "event"}), "no grant for that resource"),
    ] {
        core.mint(&payload).await.refused(403, words);
    }
    // It is known whose doing it was, and what his key obtained goes with it.
    server.auth.journal.settle().await.unwrap();
    let admin = Administrator::of(&server).await;
    let events = admin.events("action=token.issued&client_id=solo").await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["actor"], &events[0]["resource"]),
        (&json!("core"), &json!("event"))
    );
    assert!(events[0]["request_id"].is_string());
    assert_eq!(server.introspect("calendar", &jwt).await["active"], true);
    let credential = events[0]["credential_id"].as_str().unwrap();
    // It is his key that was used, and not one of the client that knows nothing of it.
    let path = format!("/clients/core/credentials/{credential}");
    assert_eq!(admin.get(&path).await["use_count"], 1);
    for (client, used) in [("core", json!(NOW)), ("solo", Value::Null)] {
        let all = admin.get(&format!("/clients/{client}/credentials")).await;
        assert_eq!(all["credentials"][0]["last_used_at"], used, "{client}");
    }
    let path = format!("/clients/core/credentials/{credential}/compromised");
    admin.post(&path, &json!({})).await;
    assert_eq!(server.introspect("calendar", &jwt).await["active"], false);

    let inactive = json!({"status": "inactive"});
    let patch = reqwest::Method::PATCH;
    admin.call(patch, "/clients/solo", Some(&inactive)).await;
    let admin = Core::of(&server, "admin");
    let answer = admin.mint(&json!({"sub": "solo", "aud": "event"})).await;
    answer.refused(403, "not the id of an active client");
}

#[actix_web::test]
async fn an_algorithm_is_the_resources_own() {
    let server = server().await;
    let task = Core::of(&server, "task");
    for (aud, algorithm, status) in [
        ("event", "rs256", "OK"),
        ("event", "ES256", "UNSUPPORTED_ALGORITHM_ERROR"),
        ("event", "HS256", "UNSUPPORTED_ALGORITHM_ERROR"),
        ("event", "none", "UNSUPPORTED_ALGORITHM_ERROR"),
        ("event", "", "UNSUPPORTED_ALGORITHM_ERROR"),
        ("notes", "RS256", "UNSUPPORTED_ALGORITHM_ERROR"),
        ("notes", "es256", "OK"),
    ] {
        let mut wish = wish(&json!({"aud": aud}));
        wish["algorithm"] = json!(algorithm);
        let answer = task.post("/recipe/jwt", &wish).await.json();
        assert_eq!(answer["status"], status, "{aud} {algorithm}");
        assert_eq!(answer.get("jwt").is_some(), status == "OK");
    }
    server.auth.journal.settle().await.unwrap();
    let admin = Administrator::of(&server).await;
    let events = admin.events("action=token.refused&client_id=task").await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[0]["reason"], "unsupported_algorithm");
}

#[actix_web::test]
async fn what_no_token_can_say_is_refused() {
    let server = server().await;
    let task = Core::of(&server, "task");
    for (member, value, words) in [
        ("payload", Value::Null, "payload is missing"),
        ("payload", json!("text"), "payload does not fit"),
        ("payload", json!([]), "payload does not fit"),
        (
            "payload",
            json!({"sub": 1}),
            "payload.sub must be one string",
        ),
        (
            "payload",
            json!({"sub": null}),
            "payload.sub must be one string",
        ),
        ("payload", json!({"aud": []}), "payload.aud must name one"),
        (
            "payload",
            json!({"aud": ["event", "file"]}),
            "payload.aud must name one",
        ),
        ("payload", json!({"aud": [1]}), "payload.aud must name one"),
        (
            "payload",
            json!({"aud": "event", "scope": 1}),
            "payload.scope and payload.scp are",
        ),
        ("payload", json!({"aud": "event", "scope": "a  b"}), "scope"),
        ("payload", json!({"aud": "event", "scp": [1]}), "scope"),
        (
            "payload",
            json!({"aud": "event", "scope": "event.view", "scp": []}),
            "do not say the same",
        ),
        (
            "payload",
            json!({"aud": "event", "long": "x".repeat(9000)}),
            "the payload is too long",
        ),
        ("validity", Value::Null, "validity is missing"),
        ("validity", json!(0), "validity is how many seconds"),
        ("validity", json!(-1), "validity does not fit"),
        ("validity", json!(1.5), "validity does not fit"),
        ("validity", json!("600"), "validity does not fit"),
        ("validity", json!(1e300), "validity does not fit"),
        ("algorithm", Value::Null, "algorithm is missing"),
        ("algorithm", json!(1), "algorithm does not fit"),
        (
            "useStaticSigningKey",
            json!("yes"),
            "useStaticSigningKey does not fit",
        ),
        ("jwksDomain", json!({}), "jwksDomain does not fit"),
        ("unknown", json!(1), "a member that has no meaning here"),
    ] {
        let mut wish = wish(&json!({"aud": "event"}));
        wish[member] = value;
        let answer = task.post("/recipe/jwt", &wish).await;
        answer.refused(400, words);
        assert!(!answer.text.contains("xxx"), "{answer:?}");
    }
    // Claims may say anything, and nobody stumbles over it.
    let odd =
        json!({"aud": "event", "a\u{0}\"": "\u{0}é", "": {"": []}, "alg": "none", "typ": "x"});
    let (header, claims) = parts(&minted(&task.mint(&odd).await));
    assert_eq!(
        (&header["alg"], &claims["a\u{0}\""]),
        (&json!("RS256"), &json!("\u{0}é"))
    );
}
