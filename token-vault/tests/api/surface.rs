//! Tokens in and out over HTTP, and who gets none.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use m2m::testing::refusals;
use serde_json::{Value, json};

use crate::{
    support::NOW,
    world::{World, access, json},
};

#[actix_web::test]
async fn what_was_stored_is_given_back_to_its_application_alone() {
    let world = World::start().await;
    let body = json!({
        "user": "alice", "connection": "acme", "access_token": "at-1", "expires_at": NOW + 3600,
        "scopes": "repo read:org", "metadata": {"login": "alice-at-acme"},
    });
    let stored = world.post("bot", "/hub", &body).await;
    assert_eq!(stored.headers()["cache-control"], "no-store");
    assert_eq!(
        json(stored).await,
        json!({"user": "alice", "service": "hub", "connection": "acme", "expires_at": NOW + 3600})
    );
    let fetched = world.get("bot", "/hub?user=alice&connection=acme").await;
    assert_eq!(fetched.headers()["cache-control"], "no-store");
    assert_eq!(
        json(fetched).await,
        json!({
            "user": "alice", "service": "hub", "connection": "acme", "access_token": "at-1",
            "expires_at": NOW + 3600, "scopes": ["repo", "read:org"], "metadata": {"login": "alice-at-acme"},
        })
    );
    assert_eq!(
        world
            .get("other", "/hub?user=alice&connection=acme")
            .await
            .status(),
        404
    );
    assert_eq!(
        world.get("bot", "/hub?user=alice").await.status(),
        404,
        "the connection `default`"
    );
    assert_eq!(
        world
            .get("bot", "/slack?user=alice&connection=acme")
            .await
            .status(),
        404
    );
}

#[actix_web::test]
async fn all_of_a_user_come_together_and_one_that_is_broken_withholds_no_other() {
    let world = World::start().await;
    for (account, expires_in) in [("a", 3600), ("b", 0), ("c", 3600)] {
        let body = json!({
            "user": "alice", "connection": account, "access_token": format!("at-{account}"), "expires_in": expires_in,
        });
        assert_eq!(world.post("bot", "/hub", &body).await.status(), 200);
    }
    let all = json(world.get("bot", "/hub/all?user=alice").await).await;
    let tokens: Vec<_> = all["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["access_token"])
        .collect();
    assert_eq!(tokens, ["at-a", "at-c"]);
    assert_eq!(
        all["unavailable"],
        json!([{"connection": "b", "error": "needs_reconnect", "reason": "ended"}])
    );
    let none = json(world.get("other", "/hub/all?user=alice").await).await;
    assert_eq!(
        none,
        json!({"connections": [], "unavailable": [], "next": null})
    );
}

#[actix_web::test]
async fn who_asks_for_a_jwt_gets_one_for_itself() {
    let world = World::start().await;
    world.stored("alice", 3600).await;
    let token = world.token("bot", "tokens.read");
    let ask = |path: &str| {
        let request = world.http.get(world.url(path)).bearer_auth(&token);
        request
            .header("accept", "text/plain, application/jwt;q=0.9")
            .send()
    };
    let answer = ask("/hub?user=alice&connection=acme").await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/jwt");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let jwt = answer.text().await.unwrap();
    let (message, signature) = jwt.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let part =
        |text| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let (header, claims) = (part(header), part(claims));
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("ES256"), &json!("token-vault+jwt"))
    );
    assert!(claims["jti"].is_string());
    for (name, value) in [
        ("iss", json!("https://vault.example")),
        ("aud", json!("bot")),
        ("sub", json!("alice")),
        ("service", json!("hub")),
        ("connection", json!("acme")),
        ("token", json!("at.alice.0")),
        ("iat", json!(NOW)),
        ("exp", json!(NOW + 60)),
        ("token_expires_at", json!(NOW + 3600)),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }

    let set = world
        .http
        .get(world.url("/.well-known/jwks.json"))
        .send()
        .await
        .unwrap();
    assert!(
        set.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("max-age")
    );
    let key = json(set).await["keys"][0].clone();
    assert_eq!(key["kid"], header["kid"]);
    let point = [&[4][..], &bytes(&key["x"]), &bytes(&key["y"])].concat();
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
        point,
    );
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(message.as_bytes(), &signature).unwrap();

    let all = ask("/hub/all?user=alice")
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let claims = part(all.split('.').nth(1).unwrap());
    assert_eq!(claims["connections"][0]["access_token"], "at.alice.0");
    assert_eq!(claims["exp"], NOW + 60);
}

fn bytes(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

#[actix_web::test]
async fn a_scope_may_be_for_one_service() {
    let world = World::start().await;
    world.stored("alice", 3600).await;
    let path = "/hub?user=alice&connection=acme";
    for (scope, path, status) in [
        ("tokens.read", path, 200),
        ("hub:tokens.read", path, 200),
        ("slack:tokens.read hub:tokens.read", path, 200),
        ("slack:tokens.read", path, 403),
        ("hub:tokens.write", path, 403),
        ("hub:tokens.readx", path, 403),
        ("hub", path, 403),
        ("", path, 403),
        ("hub:tokens.read", "/hub/status", 200),
        ("hub:tokens.read", "/slack/status", 403),
        ("hub:tokens.read", "/nowhere", 403),
        ("tokens.read", "/nowhere", 404),
        ("nowhere:tokens.read", "/nowhere", 404),
        ("tokens.read", "/audit", 403),
        ("hub:audit.read", "/audit", 403),
        ("audit.read", "/audit", 200),
    ] {
        let request = world
            .http
            .get(world.url(path))
            .bearer_auth(world.token("bot", scope));
        assert_eq!(
            request.send().await.unwrap().status(),
            status,
            "{scope:?} {path}"
        );
    }
    for (scope, path, status) in [
        ("hub:tokens.delete", "/all?user=alice", 403),
        ("tokens.read", "/hub?user=alice&connection=acme", 403),
        ("hub:tokens.delete", "/hub?user=alice&connection=acme", 200),
        ("tokens.delete", "/all?user=alice", 200),
    ] {
        let request = world
            .http
            .delete(world.url(path))
            .bearer_auth(world.token("bot", scope));
        assert_eq!(
            request.send().await.unwrap().status(),
            status,
            "{scope:?} {path}"
        );
    }
}

#[actix_web::test]
async fn strangers_are_turned_away() {
    let world = World::start().await;
    for refusal in refusals(&world.issuer, "token-vault", "tokens.read") {
        refusal
            .check("token-vault", world.http.get(world.url("/hub?user=a")))
            .await;
    }
    let nobody = world
        .issuer
        .token()
        .audience("token-vault")
        .scope("tokens.read")
        .without_claim("client_id");
    let request = world
        .http
        .get(world.url("/hub?user=a"))
        .bearer_auth(nobody.mint());
    assert_eq!(
        request.send().await.unwrap().status(),
        401,
        "a token without a client names no application"
    );
    for (method, path) in [
        ("GET", "/hub"),
        ("POST", "/hub"),
        ("DELETE", "/hub"),
        ("GET", "/hub/all"),
        ("DELETE", "/hub/all"),
        ("GET", "/hub/status"),
        ("DELETE", "/all"),
        ("GET", "/audit"),
    ] {
        let request = world.http.request(method.parse().unwrap(), world.url(path));
        assert_eq!(
            request.send().await.unwrap().status(),
            401,
            "{method} {path}"
        );
    }
}

#[actix_web::test]
async fn a_body_that_makes_no_sense_is_refused_and_not_repeated() {
    let world = World::start().await;
    let long = "x".repeat(10 * 1024);
    for (change, field) in [
        (json!({"user": ""}), "user"),
        (json!({"user": null}), "user"),
        (json!({"user": "a\u{0}b"}), "user"),
        (json!({"user": long}), "user"),
        (json!({"connection": ""}), "connection"),
        (json!({"connection": 7}), "connection"),
        (json!({"access_token": ""}), "access_token"),
        (json!({"access_token": "canary with space"}), "access_token"),
        (json!({"access_token": ["canary"]}), "access_token"),
        (json!({"refresh_token": "canary\n"}), "refresh_token"),
        (json!({"expires_in": -1}), "expires_in"),
        (json!({"expires_in": u64::MAX}), "expires_at"),
        (json!({"expires_in": 1, "expires_at": 1}), "expires_at"),
        (json!({"scopes": vec!["s"; 201]}), "scopes"),
        (json!({"metadata": {"x": "y".repeat(5000)}}), "metadata"),
        (json!({"metadata": "canary"}), "metadata"),
        (json!({"application": "other"}), "application"),
        (json!({"service": "hub"}), "service"),
    ] {
        let mut body = json!({"user": "alice", "access_token": "canary"});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let answer = world.post("bot", "/hub", &body).await;
        assert_eq!(answer.status(), 400, "{change}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("canary"), "{text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["field"], field, "{text}");
    }
    let missing = world.post("bot", "/hub", &json!({"user": "alice"})).await;
    assert_eq!(missing.status(), 400);
    let text = world
        .http
        .post(world.url("/hub"))
        .bearer_auth(world.token("bot", "tokens.write"));
    assert_eq!(text.body("canary").send().await.unwrap().status(), 415);
    assert_eq!(
        world
            .get("bot", "/hub/all?user=alice")
            .await
            .text()
            .await
            .unwrap()
            .matches("access")
            .count(),
        0
    );
}

#[actix_web::test]
async fn status_tells_health_and_no_secret() {
    let world = World::start().await;
    world.stored("alice", 3600).await;
    world.stored("bob", 10).await;
    world.provider.withdraw("bob");
    assert_eq!(access(world.fetched("alice").await).await, "at.alice.0");
    world.hand.advance(std::time::Duration::from_secs(11));
    assert_eq!(world.fetched("bob").await.status(), 409);
    world.replicas[0].vault.journal.settle().await.unwrap();

    let answer = world.get("bot", "/hub/status").await.text().await.unwrap();
    assert!(
        !answer.contains("at.") && !answer.contains("rt."),
        "{answer}"
    );
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let of = |name: &str| {
        let all = answer["connections"].as_array().unwrap();
        all.iter()
            .find(|connection| connection["user"] == name)
            .unwrap()
            .clone()
    };
    let (alice, bob) = (of("alice"), of("bob"));
    assert_eq!(
        (&alice["state"], &alice["last_used_by"]),
        (&json!("valid"), &json!("bot"))
    );
    assert_eq!(
        (&alice["last_used_at"], &alice["stored_at"]),
        (&json!(NOW), &json!(NOW))
    );
    assert_eq!(
        (&bob["state"], &bob["reason"]),
        (&json!("needs_reconnect"), &json!("refused_by_provider"))
    );
    assert_eq!(bob["since"], NOW + 11);

    let first = json(world.get("bot", "/hub/status?limit=1").await).await;
    assert_eq!(first["connections"][0]["user"], "alice");
    let next = format!(
        "/hub/status?limit=1&after={}",
        first["next"].as_str().unwrap()
    );
    assert_eq!(
        json(world.get("bot", &next).await).await["connections"][0]["user"],
        "bob"
    );
    assert_eq!(
        json(world.get("bot", "/hub/status?user=bob").await).await["connections"][0]["user"],
        "bob"
    );
    for query in [
        "limit=0",
        "limit=1001",
        "after=x",
        "user=",
        "x=1",
        "user=a&user=b",
    ] {
        assert_eq!(
            world
                .get("bot", &format!("/hub/status?{query}"))
                .await
                .status(),
            400,
            "{query}"
        );
    }
}

#[actix_web::test]
async fn the_audit_log_tells_each_its_own() {
    let world = World::start().await;
    world.stored("alice", 3600).await;
    world.fetched("alice").await;
    world.delete("bot", "/hub?user=alice&connection=acme").await;
    let actions = |answer: &Value| -> Vec<String> {
        let events = answer["events"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["action"].as_str().unwrap().to_owned())
            .collect()
    };
    world.replicas[0].vault.journal.settle().await.unwrap();
    let own = json(world.get("bot", "/audit").await).await;
    let mut all = actions(&own);
    all.sort();
    assert_eq!(
        all,
        [
            "token.forgotten",
            "token.released",
            "token.revoked",
            "token.stored"
        ]
    );
    let event = &own["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["action"] == "token.released")
        .unwrap();
    assert_eq!(
        (&event["actor"], &event["user"], &event["at"]),
        (&json!("bot"), &json!("alice"), &json!(NOW))
    );

    let page = json(world.get("bot", "/audit?limit=1").await).await;
    let next = format!("/audit?limit=100&before={}", page["next"]);
    assert_eq!(actions(&json(world.get("bot", &next).await).await).len(), 3);
    for (path, number) in [
        ("/audit?user=alice", 4),
        ("/audit?user=bob", 0),
        ("/audit?service=slack", 0),
        ("/audit?connection=acme&action=token.stored", 1),
        ("/audit?from=1&to=2", 0),
        ("/audit?application=bot", 4),
    ] {
        assert_eq!(
            actions(&json(world.get("bot", path).await).await).len(),
            number,
            "{path}"
        );
    }
    for path in ["/audit", "/audit?application=bot", "/audit?user=alice"] {
        assert_eq!(
            actions(&json(world.get("other", path).await).await).len(),
            0,
            "{path}"
        );
    }
    for path in [
        "/audit?action=x",
        "/audit?limit=0",
        "/audit?from=x",
        "/audit?before=0",
        "/audit?x=1",
    ] {
        assert_eq!(world.get("bot", path).await.status(), 400, "{path}");
    }
    let auditor = world.token("auditor", "audit.read.all");
    let request = world
        .http
        .get(world.url("/audit?application=bot"))
        .bearer_auth(auditor);
    assert_eq!(actions(&json(request.send().await.unwrap()).await).len(), 4);
}

#[actix_web::test]
async fn what_is_forgotten_is_gone_here_and_void_there() {
    let world = World::start().await;
    for name in ["alice", "bob"] {
        world.stored(name, 3600).await;
    }
    assert_eq!(access(world.fetched("alice").await).await, "at.alice.0");
    let answer = json(world.delete("bot", "/hub?user=alice&connection=acme").await).await;
    assert_eq!(answer, json!({"forgotten": 1, "revoked_at_provider": true}));
    assert_eq!(
        world.provider.revoked(),
        ["POST rt.alice.0", "POST at.alice.0"]
    );
    assert_eq!(
        world.fetched("alice").await.status(),
        404,
        "not from memory either"
    );
    assert_eq!(
        world
            .delete("bot", "/hub?user=alice&connection=acme")
            .await
            .status(),
        404
    );
    assert_eq!(
        world
            .delete("other", "/hub?user=bob&connection=acme")
            .await
            .status(),
        404
    );
    let none = json!({"forgotten": 0, "not_revoked_at_provider": 0});
    assert_eq!(
        json(world.delete("other", "/all?user=bob").await).await,
        none
    );
    assert_eq!(
        json(world.delete("other", "/hub/all?user=bob").await).await,
        none
    );

    for (service, account) in [("hub", "x"), ("slack", "y"), ("bare", "z")] {
        let body = json!({"user": "bob", "connection": account, "access_token": "at.bob.9"});
        assert_eq!(
            world
                .post("bot", &format!("/{service}"), &body)
                .await
                .status(),
            200
        );
    }
    let one = json(world.delete("bot", "/slack/all?user=bob").await).await;
    assert_eq!(one, json!({"forgotten": 1, "not_revoked_at_provider": 0}));
    // One provider cannot be reached: what is not void there is said.
    let rest = json(world.delete("bot", "/all?user=bob").await).await;
    assert_eq!(rest, json!({"forgotten": 3, "not_revoked_at_provider": 1}));
    assert_eq!(
        json(world.get("bot", "/hub/all?user=bob").await).await["connections"],
        json!([])
    );
}

#[actix_web::test]
async fn metrics_have_providers_and_no_users() {
    let world = World::start().await;
    world.stored("alice", 10).await;
    world.fetched("alice").await;
    world.hand.advance(std::time::Duration::from_secs(10));
    world.fetched("alice").await;
    world.stored("bob", 0).await;
    world.provider.withdraw("bob");
    world.fetched("bob").await;
    world.hand.advance(std::time::Duration::from_secs(100));
    let text = world
        .http
        .get(world.url("/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        r#"token_vault_events_total{provider="hub",action="token.stored"} 2"#,
        r#"token_vault_events_total{provider="hub",action="token.released"} 2"#,
        r#"token_vault_refreshes_total{provider="hub",outcome="done"} 1"#,
        r#"token_vault_refreshes_total{provider="hub",outcome="refused_by_provider"} 1"#,
        r#"token_vault_refresh_duration_seconds_count{provider="hub"} 2"#,
        r#"token_vault_connections_needing_attention{provider="hub"} 1"#,
        r#"token_vault_oldest_attention_seconds{provider="hub"} 100.0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("alice") && !text.contains("bot"), "{text}");
}
