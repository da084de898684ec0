//! Asking about tokens and taking them back: who learns what.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use m2m::ManualClock;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{NOW, Server, json};

const FORM: &str = "application/x-www-form-urlencoded";

fn inactive() -> Value {
    json!({"active": false})
}

#[actix_web::test]
async fn the_resource_server_the_client_itself_and_an_administrator_learn_all() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    for asker in ["notes-server", "bot", "root"] {
        let mut answer = server.introspect(asker, &token).await;
        assert!(answer["jti"].take().is_string());
        let expected = json!({
            "active": true, "iss": server.issuer, "sub": "bot", "client_id": "bot", "aud": "notes",
            "scope": "note.read note.write", "scp": ["note.read", "note.write"],
            "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "jti": null, "token_type": "Bearer",
        });
        assert_eq!(answer, expected, "{asker}");
    }
}

#[actix_web::test]
async fn nobody_else_learns_that_a_token_exists() {
    let server = Server::start().await;
    let notes = server.token("bot", "notes").await;
    let plain = server.token("single", "plain").await;
    for (asker, token, why) in [
        ("calendar-server", &notes, "a neighbour's token"),
        ("single", &notes, "another client's token"),
        ("nobody", &notes, "another client's token"),
        ("ending", &notes, "another client of the same resource"),
        (
            "notes-server",
            &plain,
            "a token for a resource without owner",
        ),
        ("bot", &plain, "another client's token"),
    ] {
        assert_eq!(
            server.introspect(asker, token).await,
            inactive(),
            "{asker}: {why}"
        );
    }
}

/// The parts of a token, decoded.
fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut json = || {
        let part = URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&part).unwrap()
    };
    (json(), json(), parts.next().unwrap().to_owned())
}

fn with(json: &Value, name: &str, value: Value) -> String {
    let mut json = json.clone();
    json[name] = value;
    URL_SAFE_NO_PAD.encode(json.to_string())
}

#[actix_web::test]
async fn what_is_not_a_living_token_of_this_issuer_is_inactive_and_no_more() {
    let server = Server::start().await;
    let other = Server::start().await;
    let token = server.token("bot", "notes").await;
    let foreign = other.token("bot", "notes").await;
    let (header, claims, signature) = parts(&token);
    let (head, body) = token.rsplit_once('.').unwrap().0.split_once('.').unwrap();
    let cut = &token[..token.len() - 1];

    let forgeries = [
        ("nothing like a token", "x".to_owned()),
        ("a space", " ".to_owned()),
        ("not ASCII", "é\u{0}".to_owned()),
        ("dots", ".".repeat(1000)),
        ("a long text", "a".repeat(20_000)),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{token}.x")),
        ("cut short", cut.to_owned()),
        ("padded", format!("{token}=")),
        ("a blank behind", format!("{token} ")),
        ("a line end behind", format!("{token}\n")),
        ("another issuer's", foreign),
        (
            "alg none",
            format!("{}.{body}.", with(&header, "alg", json!("none"))),
        ),
        (
            "alg HS256",
            format!(
                "{}.{body}.{signature}",
                with(&header, "alg", json!("HS256"))
            ),
        ),
        (
            "alg RS256",
            format!(
                "{}.{body}.{signature}",
                with(&header, "alg", json!("RS256"))
            ),
        ),
        (
            "another kid",
            format!("{}.{body}.{signature}", with(&header, "kid", json!("x"))),
        ),
        (
            "no kid",
            format!("{}.{body}.{signature}", with(&header, "kid", Value::Null)),
        ),
        (
            "another typ",
            format!("{}.{body}.{signature}", with(&header, "typ", json!("JWT"))),
        ),
        (
            "a longer life",
            format!(
                "{head}.{}.{signature}",
                with(&claims, "exp", json!(NOW * 2))
            ),
        ),
        (
            "another audience",
            format!(
                "{head}.{}.{signature}",
                with(&claims, "aud", json!("calendar"))
            ),
        ),
        (
            "another client",
            format!(
                "{head}.{}.{signature}",
                with(&claims, "client_id", json!("root"))
            ),
        ),
        (
            "more scopes",
            format!(
                "{head}.{}.{signature}",
                with(&claims, "scope", json!("admin"))
            ),
        ),
        (
            "another jti",
            format!("{head}.{}.{signature}", with(&claims, "jti", json!("a.b"))),
        ),
    ];
    assert_eq!(
        server.introspect("notes-server", &token).await["active"],
        true
    );
    for (why, forged) in forgeries {
        for asker in ["notes-server", "root", "bot"] {
            assert_eq!(server.introspect(asker, &forged).await, inactive(), "{why}");
        }
        server.revoke("bot", &forged).await;
    }
    assert_eq!(
        server.introspect("notes-server", &token).await["active"],
        true,
        "still alive"
    );

    server.clock.advance(Duration::from_secs(3599));
    assert_eq!(
        server.introspect("notes-server", &token).await["active"],
        true
    );
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(
        server.introspect("notes-server", &token).await,
        inactive(),
        "at `exp` it is over"
    );
}

#[actix_web::test]
async fn a_revoked_token_is_inactive_at_once_for_everybody() {
    let server = Server::start().await;
    for revoker in ["bot", "root"] {
        let (token, other) = (
            server.token("bot", "notes").await,
            server.token("bot", "notes").await,
        );
        server.revoke(revoker, &token).await;
        for asker in ["notes-server", "bot", "root"] {
            assert_eq!(server.introspect(asker, &token).await, inactive());
            assert_eq!(server.introspect(asker, &other).await["active"], true);
        }
        server.revoke(revoker, &token).await; // once more changes nothing
    }
}

/// Each of them finds the token alive.
#[actix_web::test]
async fn many_who_take_back_one_token_at_once_make_one_entry() {
    let server = Server::start().await;
    let tokens = [
        server.token("bot", "notes").await,
        server.token("bot", "notes").await,
    ];
    let asked = (0..40).map(|number| server.revoke("bot", &tokens[number % 2]));
    join_all(asked).await;
    for token in &tokens {
        assert_eq!(server.introspect("notes-server", token).await, inactive());
    }
    assert_eq!(server.auth.revocations.len(), 2);
}

#[actix_web::test]
async fn nobody_revokes_a_token_of_another() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    for stranger in [
        "single",
        "nobody",
        "ending",
        "notes-server",
        "calendar-server",
    ] {
        server.revoke(stranger, &token).await;
        assert_eq!(
            server.introspect("notes-server", &token).await["active"],
            true,
            "{stranger}"
        );
    }
}

/// Another spelling of a token would be another key in a list of texts; its `jti` is the same.
#[actix_web::test]
async fn no_spelling_of_a_revoked_token_lives_on() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    server.revoke("bot", &token).await;
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=";
    for last in alphabet.chars() {
        for spelling in [
            format!("{token}{last}"),
            format!("{}{last}", &token[..token.len() - 1]),
        ] {
            assert_eq!(
                server.introspect("notes-server", &spelling).await,
                inactive()
            );
        }
    }
}

#[actix_web::test]
async fn a_revocation_survives_a_restart_and_is_forgotten_when_it_no_longer_counts() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    server.revoke("bot", &token).await;
    let folder = server.stop().await;

    let server = Server::start_in(folder, ManualClock::at(NOW + 3599)).await;
    assert_eq!(server.introspect("root", &token).await, inactive());
    let list = server
        .get("/oauth/revocations")
        .basic_auth("notes-server", Some(server.secret("notes-server")));
    let list = json(list.send().await.unwrap()).await;
    assert_eq!(
        list["revocations"][0]["expires_at"],
        NOW + 3660,
        "`exp` and a minute of leeway"
    );
}

#[actix_web::test]
async fn both_endpoints_refuse_what_the_token_endpoint_refuses() {
    let server = Server::start().await;
    let secret = server.secret("bot");
    for path in [
        "/oauth/introspect",
        "/auth/oauth/introspect",
        "/oauth/revoke",
        "/auth/oauth/revoke",
    ] {
        let post = || server.post(path);
        let known = || post().basic_auth("bot", Some(&secret));
        #[rustfmt::skip]
        let table = [
            ("nobody", post().form(&[("token", "x")]), 401, "invalid_client"),
            ("a wrong secret", post().basic_auth("bot", Some("x")).form(&[("token", "x")]), 401, "invalid_client"),
            ("an unknown client", post().basic_auth("x", Some("x")).form(&[("token", "x")]), 401, "invalid_client"),
            ("a bearer token", post().bearer_auth("x").form(&[("token", "x")]), 401, "invalid_client"),
            ("a secret and no id", post().form(&[("token", "x"), ("client_secret", &secret)]), 401, "invalid_client"),
            ("two ways at once", known().form(&[("token", "x"), ("client_secret", &secret)]), 400, "invalid_request"),
            ("two clients", known().form(&[("token", "x"), ("client_id", "single")]), 400, "invalid_request"),
            ("no token", known().form(&[("x", "x")]), 400, "invalid_request"),
            ("an empty token", known().form(&[("token", "")]), 400, "invalid_request"),
            ("two tokens", known().header("content-type", FORM).body("token=a&token=b"), 400, "invalid_request"),
            ("two hints", known().header("content-type", FORM).body("token=a&token_type_hint=a&token_type_hint=b"), 400, "invalid_request"),
            ("no body", known(), 400, "invalid_request"),
            ("text", known().body("token=x").header("content-type", "text/plain"), 400, "invalid_request"),
            ("not UTF-8", known().header("content-type", FORM).body("token=%FF"), 400, "invalid_request"),
            ("broken JSON", known().header("content-type", "application/json").body("{"), 400, "invalid_request"),
            ("a number", known().json(&json!({"token": 1})), 400, "invalid_request"),
            ("an array", known().json(&json!({"token": ["x"]})), 400, "invalid_request"),
            ("null", known().json(&json!({"token": null})), 400, "invalid_request"),
            ("a large body", known().form(&[("token", "x".repeat(70_000))]), 413, "invalid_request"),
            ("in the URL", server.post(&format!("{path}?token=x")).basic_auth("bot", Some(&secret)), 400, "invalid_request"),
        ];
        for (why, request, status, error) in table {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{path}: {why}");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert_eq!(json(answer).await["error"], error, "{path}: {why}");
        }
        let hint = known().form(&[("token", "x"), ("token_type_hint", "pigeon"), ("more", "x")]);
        assert_eq!(
            hint.send().await.unwrap().status(),
            StatusCode::OK,
            "a hint is only a hint"
        );
        assert_eq!(
            server.get(path).send().await.unwrap().status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
