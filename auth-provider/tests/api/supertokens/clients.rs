//! `/recipe/oauth/clients`: clients, and what they may call.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Core, POLICY, parts, server};
use crate::{administrator::Administrator, support::Server};

const CLIENTS: &str = "/recipe/oauth/clients";
const LIST: &str = "/recipe/oauth/clients/list";
const REMOVE: &str = "/recipe/oauth/clients/remove";

/// The client of SuperTokens' guide.
fn task_service() -> Value {
    json!({
        "clientName": "Task Service",
        "grantTypes": ["client_credentials"],
        "scope": "event.view event.create file.view",
        "audience": ["event", "file"],
    })
}

/// A token request as the guide has it.
async fn ask(server: &Server, made: &Value, scope: &str, audience: &str) -> Answer {
    let body = json!({
        "clientId": made["clientId"],
        "clientSecret": made["clientSecret"],
        "grantType": "client_credentials",
        "scope": [scope],
        "audience": audience,
    });
    Answer::to(server.post("/auth/oauth/token").json(&body)).await
}

fn shown(made: &Value) -> Value {
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("clientSecret");
    shown
}

#[actix_web::test]
async fn the_guide_works_from_the_client_to_the_token() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let made = core.post(CLIENTS, &task_service()).await.ok();
    let expected = json!({
        "status": "OK",
        "clientId": made["clientId"],
        "clientSecret": made["clientSecret"],
        "clientName": "Task Service",
        "scope": "event.create event.view file.view",
        "audience": ["event", "file"],
        "grantTypes": ["client_credentials"],
        "responseTypes": [],
        "redirectUris": [],
        "postLogoutRedirectUris": [],
        "allowedCorsOrigins": [],
        "tokenEndpointAuthMethod": "client_secret_basic",
        "clientUri": "", "logoUri": "", "policyUri": "", "tosUri": "",
        "enableRefreshTokenRotation": false,
        "metadata": {},
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        "authorizationCodeGrantAccessTokenLifespan": null,
        "authorizationCodeGrantIdTokenLifespan": null,
        "authorizationCodeGrantRefreshTokenLifespan": null,
        "clientCredentialsGrantAccessTokenLifespan": null,
        "implicitGrantAccessTokenLifespan": null,
        "implicitGrantIdTokenLifespan": null,
        "refreshTokenGrantAccessTokenLifespan": null,
        "refreshTokenGrantIdTokenLifespan": null,
        "refreshTokenGrantRefreshTokenLifespan": null,
    });
    assert_eq!(made, expected);

    let issued = ask(&server, &made, "event.create", "event").await.json();
    assert_eq!(issued["accessToken"], issued["access_token"]);
    assert_eq!(
        (&issued["expiresIn"], &issued["expires_in"]),
        (&json!(3600), &json!(3600))
    );
    let (header, claims) = parts(issued["accessToken"].as_str().unwrap());
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("JWT"), &json!("RS256"))
    );
    for (name, value) in [
        ("stt", json!(1)),
        ("scp", json!(["event.create"])),
        ("aud", json!("event")),
        ("client_id", made["clientId"].clone()),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(ask(&server, &made, "file.view", "event").await.status, 400);
    // Who spells it as the RFC does gets what the RFC says.
    let body = json!({
        "client_id": made["clientId"], "client_secret": made["clientSecret"],
        "grant_type": "client_credentials", "audience": "file",
    });
    let issued = Answer::to(server.post("/auth/oauth/token").json(&body))
        .await
        .json();
    assert!(issued.get("accessToken").is_none() && issued["access_token"].is_string());
}

#[actix_web::test]
async fn the_secret_is_shown_once() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let mut wish = task_service();
    wish["clientId"] = json!("task-service");
    wish["metadata"] = json!({"team": "a", "more": {"x": [1]}});
    wish["tokenEndpointAuthMethod"] = json!("client_secret_post");
    let made = core.post(CLIENTS, &wish).await.ok();
    assert_eq!(made["clientId"], "task-service");
    assert_eq!(made["tokenEndpointAuthMethod"], "client_secret_post");
    assert_eq!(made["metadata"], wish["metadata"]);
    let secret = made["clientSecret"].as_str().unwrap();

    let found = core.get(&format!("{CLIENTS}?clientId=task-service")).await;
    assert!(!found.text.contains(secret));
    assert_eq!(found.ok(), shown(&made));
    let listed = core.get(LIST).await;
    assert!(!listed.text.contains(secret));
    let listed = listed.ok();
    let listed = listed["clients"].as_array().unwrap();
    let mut expected = shown(&made);
    expected.as_object_mut().unwrap().remove("status");
    assert!(listed.contains(&expected), "{listed:#?}");
    let changed = core
        .put(
            CLIENTS,
            &json!({"clientId": "task-service", "clientName": "Task"}),
        )
        .await;
    assert!(!changed.text.contains(secret));
}

#[actix_web::test]
async fn a_list_comes_in_pages() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let mut ids = vec![];
    let mut token = String::new();
    loop {
        let page = core.get(&format!("{LIST}?pageSize=4{token}")).await.ok();
        let clients = page["clients"].as_array().unwrap();
        ids.extend(
            clients
                .iter()
                .map(|client| client["clientId"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["nextPaginationToken"].as_str() else {
            break;
        };
        assert_eq!(clients.len(), 4);
        token = format!("&pageToken={next}");
    }
    assert_eq!(ids, ["admin", "calendar", "core", "nobody", "solo", "task"]);
    let named = core.get(&format!("{LIST}?clientName=task")).await.ok();
    assert_eq!(named["clients"].as_array().unwrap().len(), 1);
    for query in [
        "pageSize=0",
        "pageSize=501",
        "pageSize=-1",
        "pageSize=x",
        "pageToken=a%00b",
        "clientName=%00",
        "clientName=a&clientName=b",
        "unknown=1",
        "pageToken=%FF",
    ] {
        core.get(&format!("{LIST}?{query}"))
            .await
            .refused(400, "request_id");
    }
}

#[actix_web::test]
async fn a_change_is_of_what_is_named() {
    let server = server().await;
    let (core, admin) = (Core::of(&server, "core"), Administrator::of(&server).await);
    let mut wish = task_service();
    wish["clientId"] = json!("service");
    wish["metadata"] = json!({"team": "a", "floor": 1});
    let made = core.post(CLIENTS, &wish).await.ok();
    let token = ask(&server, &made, "event.create", "event").await.json();
    let token = token["access_token"].as_str().unwrap();

    // Who sends back what was read changes nothing.
    server.clock.advance(std::time::Duration::from_secs(5));
    let before = core.get(&format!("{CLIENTS}?clientId=service")).await.ok();
    assert_eq!(core.put(CLIENTS, &before).await.ok(), before);
    assert!(admin.events("action=client.changed").await.is_empty());
    assert!(admin.events("action=grant.changed").await.is_empty());

    let change = json!({"clientId": "service", "metadata": {"team": "b"}, "clientName": "S"});
    // A library of SuperTokens names the client in the URL as well.
    let changed = core
        .put(&format!("{CLIENTS}?clientId=service"), &change)
        .await
        .ok();
    assert_eq!(changed["metadata"], json!({"team": "b"}));
    assert_eq!(changed["clientName"], "S");
    assert_eq!(changed["scope"], before["scope"]);
    assert_eq!(changed["updatedAt"], "2026-01-01T00:00:05Z");
    assert_eq!(server.introspect("calendar", token).await["active"], true);

    // What is taken away takes its tokens back.
    let change = json!({"clientId": "service", "scope": "event.view file.view"});
    let changed = core.put(CLIENTS, &change).await.ok();
    assert_eq!(changed["scope"], "event.view file.view");
    assert_eq!(server.introspect("calendar", token).await["active"], false);
    let change = json!({"clientId": "service", "audience": ["file", "notes"]});
    let changed = core.put(CLIENTS, &change).await.ok();
    assert_eq!(changed["audience"], json!(["file", "notes"]));
    assert_eq!(changed["scope"], "file.view");
    let change = json!({"clientId": "service", "audience": [], "scope": "", "metadata": {}});
    let changed = core.put(CLIENTS, &change).await.ok();
    assert_eq!(
        (&changed["audience"], &changed["scope"]),
        (&json!([]), &json!(""))
    );
    assert_eq!(ask(&server, &made, "file.view", "file").await.status, 400);
}

#[actix_web::test]
async fn a_client_that_is_removed_is_gone() {
    let server = server().await;
    let core = Core::of(&server, "core");
    let made = core.post(CLIENTS, &task_service()).await.ok();
    let body = json!({"clientId": made["clientId"]});
    assert_eq!(core.post(REMOVE, &body).await.ok()["didExist"], true);
    assert_eq!(core.post(REMOVE, &body).await.ok()["didExist"], false);
    assert_eq!(ask(&server, &made, "event.view", "event").await.status, 401);
    for answer in [
        core.get(&format!("{CLIENTS}?clientId=gone")).await,
        core.get(&format!("{CLIENTS}?clientId=a%00%22b")).await,
        core.put(CLIENTS, &json!({"clientId": "gone", "clientName": "x"}))
            .await,
    ] {
        assert_eq!(answer.json()["status"], "CLIENT_NOT_FOUND_ERROR");
    }
}

#[actix_web::test]
async fn what_this_server_does_not_do_is_refused_in_words_that_a_library_hands_on() {
    let server = server().await;
    let core = Core::of(&server, "core");
    for (member, value, words) in [
        ("clientId", json!("task"), "there is a client task already"),
        ("clientSecret", json!("mine"), "the server makes secrets"),
        (
            "grantTypes",
            json!(["client_credentials", "authorization_code"]),
            "grantTypes: leave",
        ),
        (
            "redirectUris",
            json!(["https://a.example"]),
            "nobody logs in here",
        ),
        ("responseTypes", json!(["code"]), "nobody logs in here"),
        (
            "enableRefreshTokenRotation",
            json!(true),
            "nobody logs in here",
        ),
        (
            "tokenEndpointAuthMethod",
            json!("none"),
            "client_secret_basic or",
        ),
        (
            "clientCredentialsGrantAccessTokenLifespan",
            json!("1h"),
            "token_lifetime",
        ),
        (
            "audience",
            json!(["event", "unknown"]),
            "there is no resource of this name",
        ),
        ("audience", json!(vec!["event"; 101]), "at most 100"),
        (
            "scope",
            json!("event.view unknown"),
            "no resource in audience has all of these",
        ),
        ("scope", json!("\u{e9}"), "scope: "),
        ("metadata", json!({"a b": 1}), "metadata: "),
        ("metadata", json!({"a": "x".repeat(5000)}), "too long"),
    ] {
        let mut wish = task_service();
        wish[member] = value;
        let answer = core.post(CLIENTS, &wish).await;
        let error = answer.oauth_error();
        let description = error["errorDescription"].as_str().unwrap();
        assert!(description.contains(words), "{member}: {description}");
        assert!(!answer.text.contains("xxx") && !answer.text.contains("mine"));
    }
    let mut without = task_service();
    without.as_object_mut().unwrap().remove("audience");
    core.post(CLIENTS, &without).await.oauth_error();
    for (member, value, words) in [
        ("clientId", json!("a b"), "clientId does not fit"),
        ("clientId", json!(1), "clientId does not fit"),
        ("clientName", json!("a\u{0}b"), "clientName does not fit"),
        ("clientName", json!(["a"]), "clientName does not fit"),
        ("scope", json!(["a"]), "scope does not fit"),
        ("audience", json!("event"), "audience does not fit"),
        ("audience", json!(["a\u{0}"]), "audience does not fit"),
        (
            "grantTypes",
            json!("client_credentials"),
            "grantTypes does not fit",
        ),
        ("metadata", json!([1]), "metadata does not fit"),
        ("unknown", json!(1), "no meaning here"),
    ] {
        let mut wish = task_service();
        wish[member] = value;
        core.post(CLIENTS, &wish).await.refused(400, words);
    }
    for path in [CLIENTS, REMOVE] {
        let request = core.request(Method::PUT, CLIENTS).json(&json!({}));
        Answer::to(request)
            .await
            .refused(400, "clientId is missing");
        let answer = core.post(path, &json!({"clientId": {}})).await;
        assert_eq!(answer.status, 400);
    }
    core.put(CLIENTS, &json!({"clientId": "admin", "clientName": "x"}))
        .await
        .oauth_error();
    core.put(CLIENTS, &json!({"clientId": "admin", "audience": []}))
        .await
        .oauth_error();
    core.post(REMOVE, &json!({"clientId": "admin"}))
        .await
        .oauth_error();
}

#[actix_web::test]
async fn each_path_has_its_rights_and_nobody_hands_out_what_he_does_not_hold() {
    let policy = POLICY.replace(
        "    [[grants]]\n    client = \"solo\"",
        "    [clients.reader]
         [clients.writer]
         [[grants]]
         client = 'reader'
         resource = 'auth-provider'
         scopes = ['clients:read', 'grants:read']
         [[grants]]
         client = 'writer'
         resource = 'auth-provider'
         scopes = ['clients:write', 'grants:write']
         [[grants]]\n    client = \"solo\"",
    );
    let server = Server::start_with(&policy, "").await;
    let show = format!("{CLIENTS}?clientId=solo");
    let body = json!({"clientId": "solo"});
    for (id, reads, writes) in [
        ("reader", true, false),
        ("writer", false, true),
        ("task", false, false),
    ] {
        let core = Core::of(&server, id);
        for (answer, may) in [
            (core.get(&show).await, reads),
            (core.get(LIST).await, reads),
            (core.post(CLIENTS, &task_service()).await, writes),
            (core.put(CLIENTS, &body).await, writes),
            (
                core.post(REMOVE, &json!({"clientId": "unknown"})).await,
                writes,
            ),
        ] {
            if may {
                answer.ok();
            } else {
                answer.refused(403, "needs a grant for auth-provider with");
            }
        }
    }
    let writer = Core::of(&server, "writer");
    let wish = json!({"audience": ["auth-provider"], "scope": "tokens:mint"});
    writer
        .post(CLIENTS, &wish)
        .await
        .refused(403, "tokens:mint");
    let change =
        json!({"clientId": "solo", "audience": ["auth-provider"], "scope": "clients:write"});
    writer.put(CLIENTS, &change).await.ok(); // these are his own
    writer
        .put(CLIENTS, &json!({"clientId": "core", "audience": []}))
        .await
        .refused(403, "rights");
    writer
        .post(REMOVE, &json!({"clientId": "core"}))
        .await
        .refused(403, "rights");
    server.auth.journal.settle().await.unwrap();
    let admin = Administrator::of(&server).await;
    let refused = admin.events("action=admin.refused").await;
    assert!(
        refused
            .iter()
            .any(|event| event["reason"] == "insufficient_scope")
    );
    assert!(
        refused
            .iter()
            .any(|event| event["reason"] == "rights_not_held")
    );
}
