//! Tokens that look as the verifiers of other systems expect: what stands in them, and that they are asked about and taken
//! back like all others.

use std::time::Duration;

use auth_provider::keys::TokenType;
use m2m::verify::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, lives},
    administrator::Administrator,
    support::{NOW, Server},
    token::verified,
};

/// `worker` may call a resource of each profile, `bare` the project only.
const POLICY: &str = r#"
    [resources.project-live-1]
    owner = "owner"
    token_profile = "stytch"
    metadata_claims = ["team", "tier", "unknown"]
    scopes = { read = "Read", write = "Write" }
    [resources.st]
    owner = "owner"
    token_profile = "supertokens"
    scopes = { use = "Use" }
    [resources.standard]
    owner = "owner"
    metadata_claims = ["team"]

    [clients.owner]
    [clients.bare]
    [clients.worker]
    metadata = { team = "blue", tier = { level = 2, on = [true] }, note = "for us only" }

    [[grants]]
    client = "worker"
    resource = "project-live-1"
    scopes = ["read", "write"]
    [[grants]]
    client = "worker"
    resource = "st"
    scopes = ["use"]
    [[grants]]
    client = "worker"
    resource = "standard"
    [[grants]]
    client = "bare"
    resource = "project-live-1"
"#;

const PROJECT: &str = "project-live-1";

/// All audiences of `worker`.
const AUDIENCES: [&str; 3] = [PROJECT, "st", "standard"];

async fn start() -> Server {
    Server::start_with(POLICY, "").await
}

/// What `owner` learns about a token.
async fn is_active(server: &Server, token: &str) -> bool {
    server.introspect("owner", token).await["active"] == true
}

async fn credential_of(admin: &Admin<'_>, client: &str) -> String {
    let path = format!("/clients/{client}/credentials");
    let all = admin.get(&path).await.is(200);
    all["credentials"][0]["credential_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[actix_web::test]
async fn a_project_s_token_has_exactly_its_claims() {
    let server = start().await;
    let token = server.token("worker", PROJECT).await;
    let (header, claims) = verified(&server, &token).await;
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("JWT"), &json!("ES256"))
    );
    let expected = json!({
        "iss": "stytch.com/project-live-1", "sub": "worker", "aud": [PROJECT], "scope": "read write",
        "iat": NOW, "nbf": NOW, "exp": NOW + 3600,
        "team": "blue", "tier": {"level": 2, "on": [true]},
    });
    assert_eq!(claims, expected);

    let token = server.token("bare", PROJECT).await;
    let expected = json!({
        "iss": "stytch.com/project-live-1", "sub": "bare", "aud": [PROJECT], "scope": "",
        "iat": NOW, "nbf": NOW, "exp": NOW + 3600,
    });
    assert_eq!(verified(&server, &token).await.1, expected);
}

#[actix_web::test]
async fn the_issuer_of_projects_can_be_an_origin() {
    let setting = "stytch_issuer = 'https://login.example'";
    let server = Server::start_with(POLICY, setting).await;
    let token = server.token("worker", PROJECT).await;
    let claims = verified(&server, &token).await.1;
    assert_eq!(claims["iss"], "https://login.example");
    let known = server.introspect("owner", &token).await;
    assert_eq!(known["iss"], "https://login.example");
    let token = server.token("worker", "st").await;
    assert_eq!(verified(&server, &token).await.1["iss"], server.issuer);
}

#[actix_web::test]
async fn the_other_profiles_have_their_claims_and_what_is_noted_with_the_client() {
    let server = start().await;
    let (header, mut claims) = verified(&server, &server.token("worker", "st").await).await;
    assert_eq!(header["typ"], "JWT");
    for random in ["jti", "gid"] {
        assert!(claims[random].take().as_str().unwrap().len() >= 22);
    }
    let expected = json!({
        "iss": server.issuer, "sub": "worker", "client_id": "worker", "aud": "st", "scope": "use",
        "scp": ["use"], "stt": 1, "gid": null, "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "jti": null,
    });
    assert_eq!(claims, expected);

    let admin = Administrator::of(&server).await;
    let (header, claims) = verified(&server, &server.token("worker", "standard").await).await;
    assert_eq!(
        (&header["typ"], &claims["team"]),
        (&json!("at+jwt"), &json!("blue"))
    );
    let change = json!({"metadata": {"team": ["red", 1]}});
    let changed = admin.send(Method::PATCH, "/clients/worker", Some(&change));
    assert_eq!(changed.await.status(), 200);
    let claims = verified(&server, &server.token("worker", "standard").await)
        .await
        .1;
    assert_eq!(claims["team"], json!(["red", 1]));
    assert_eq!(claims["sub"], "worker");
}

#[actix_web::test]
async fn each_can_be_asked_about_and_taken_back() {
    let server = start().await;
    for audience in AUDIENCES {
        let token = server.token("worker", audience).await;
        server.clock.advance(Duration::from_secs(1));
        let other = server.token("worker", audience).await;
        let known = server.introspect("owner", &token).await;
        let claims = verified(&server, &token).await.1;
        assert_eq!(known["iss"], claims["iss"], "{audience}");
        assert_eq!(
            (&known["sub"], &known["aud"]),
            (&json!("worker"), &json!(audience))
        );
        assert_eq!(known["exp"], claims["exp"]);
        assert!(known["jti"].as_str().unwrap().len() >= 43);
        assert_eq!(
            server.introspect("bare", &token).await,
            json!({"active": false})
        );

        server.revoke("bare", &token).await;
        assert!(is_active(&server, &token).await, "{audience}: not its own");
        server.revoke("worker", &token).await;
        assert!(!is_active(&server, &token).await, "{audience}");
        assert!(
            is_active(&server, &other).await,
            "{audience}: another token"
        );
    }
    let admin = Administrator::of(&server).await;
    for event in admin.events("action=token.issued&client_id=worker").await {
        assert!(event["credential_id"].is_string(), "{event}");
        assert!(event["jti"].is_string(), "{event}");
    }
}

#[actix_web::test]
async fn a_compromised_credential_takes_back_what_it_may_have_obtained() {
    for by_wish in [false, true] {
        let server = start().await;
        let admin = Admin::of(&server);
        let bystander = server.token("bare", PROJECT).await;
        let mut tokens = Vec::new();
        for audience in AUDIENCES {
            tokens.push(server.token("worker", audience).await);
        }
        let credential = credential_of(&admin, "worker").await;
        if by_wish {
            let revoked = admin
                .post("/revocations", json!({"credential": credential}))
                .await;
            revoked.is(204);
        } else {
            let path = format!("/clients/worker/credentials/{credential}/compromised");
            admin.post(&path, json!({})).await.is(204);
        }
        for (token, audience) in tokens.iter().zip(AUDIENCES) {
            assert!(!is_active(&server, token).await, "{audience}, {by_wish}");
        }
        assert!(is_active(&server, &bystander).await, "another client's");
    }
}

#[actix_web::test]
async fn a_resource_that_changes_its_profile_takes_back_what_could_not_be_taken_back_later() {
    for by_file in [false, true] {
        let server = start().await;
        let admin = Admin::of(&server);
        let token = server.token("worker", PROJECT).await;
        let lifetime = admin.patch("/resources/project-live-1", json!({"token_lifetime": 60}));
        lifetime.await.is(200);
        assert!(is_active(&server, &token).await);
        if by_file {
            let file = POLICY.replace("token_profile = \"stytch\"", "");
            let request = admin.request(Method::POST, "/policy/apply").await;
            let request = request
                .header("Content-Type", "application/toml")
                .body(file);
            assert_eq!(request.send().await.unwrap().status(), 200);
        } else {
            let change = json!({"token_profile": "standard"});
            admin
                .patch("/resources/project-live-1", change)
                .await
                .is(200);
        }
        assert!(!is_active(&server, &token).await, "{by_file}");
        server.clock.advance(Duration::from_secs(1));
        let token = server.token("worker", PROJECT).await;
        assert_eq!(verified(&server, &token).await.0["typ"], "at+jwt");
        assert!(is_active(&server, &token).await);
    }
}

/// What this server signed, and yet is no token.
#[actix_web::test]
async fn a_token_between_the_profiles_is_none() {
    let server = start().await;
    let jti = format!("{}.{}", "a".repeat(22), "b".repeat(22));
    let claims = |changes: Value| {
        let mut claims = json!({
            "iss": server.issuer, "sub": "worker", "client_id": "worker", "aud": "st", "scope": "use",
            "iat": NOW, "nbf": NOW, "exp": NOW + 60, "jti": jti,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let project = |aud: Value| json!({"iss": "stytch.com/project-live-1", "aud": aud, "jti": null});
    let signer = server
        .auth
        .keys
        .signer(Algorithm::ES256, NOW)
        .await
        .unwrap();
    for (typ, changes, is_token) in [
        (TokenType::AccessToken, json!({}), true),
        (TokenType::Jwt, json!({}), true),
        (TokenType::Jwt, project(json!([PROJECT])), true),
        (TokenType::AccessToken, project(json!([PROJECT])), false),
        (TokenType::AccessToken, json!({"jti": null}), false),
        (TokenType::Jwt, json!({"jti": null}), false),
        (TokenType::Jwt, json!({"iss": "stytch.com/st"}), false),
        (
            TokenType::Jwt,
            json!({"iss": "stytch.com/st", "jti": null}),
            true,
        ),
        (TokenType::Jwt, project(json!(["st"])), false),
        (TokenType::Jwt, project(json!([PROJECT, "st"])), false),
        (TokenType::Jwt, project(json!([])), false),
        (TokenType::Jwt, json!({"jti": "unknown"}), false),
    ] {
        let row = format!("{typ:?} {changes}");
        let token = signer
            .sign(signer.key.signing_input(typ, &claims(changes)))
            .await;
        assert_eq!(is_active(&server, &token).await, is_token, "{row}");
    }

    let scopes = json!({"sub": "admin", "client_id": "admin", "aud": "auth-provider", "scope": "clients:read"});
    for (typ, is_token) in [(TokenType::AccessToken, true), (TokenType::Jwt, false)] {
        let claims = claims(scopes.clone());
        let token = signer.sign(signer.key.signing_input(typ, &claims)).await;
        assert_eq!(lives(&server, &token).await, is_token, "{typ:?}");
        let list = server.get("/admin/v1/clients").bearer_auth(&token);
        let status = list.send().await.unwrap().status();
        assert_eq!(status == 200, is_token, "{typ:?}");
    }
}
