//! Clients that register themselves, and then administer themselves.

use std::net::TcpListener;

use auth_provider::{
    address::CallerAddress,
    built_in::{ADMIN, AUDIENCE},
    registration::{self, Replacement},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{NOW, POLICY, Server, json, stored};

const PATH: &str = "/auth/clients/register";

const ON: &str = "dynamic_registration = true";

/// `registrar` may let clients register, `bot` may do something else.
fn policy() -> String {
    format!(
        "{POLICY}
        [clients.registrar]
        [[grants]]
        client = 'registrar'
        resource = 'auth-provider'
        scopes = ['clients:register']
        [[grants]]
        client = 'bot'
        resource = 'auth-provider'
        scopes = ['clients:read']"
    )
}

async fn server() -> Server {
    Server::start_with(&policy(), ON).await
}

/// A client that registered itself.
struct Registered {
    id: String,
    secret: String,
    token: String,
    uri: String,
}

impl Registered {
    fn of(information: &Value) -> Self {
        let text = |name: &str| information[name].as_str().unwrap().to_owned();
        Self {
            id: text("client_id"),
            secret: text("client_secret"),
            token: text("registration_access_token"),
            uri: text("registration_client_uri"),
        }
    }

    fn request(&self, server: &Server, method: Method) -> RequestBuilder {
        let request = server.http.request(method, &self.uri);
        request.bearer_auth(&self.token)
    }

    async fn show(&self, server: &Server) -> Response {
        let request = self.request(server, Method::GET);
        request.send().await.unwrap()
    }

    async fn replace(&self, server: &Server, with: &Value) -> Response {
        let request = self.request(server, Method::PUT).json(with);
        request.send().await.unwrap()
    }

    /// Asks for a token for the notes.
    async fn ask(&self, server: &Server) -> Response {
        let request = server.post("/oauth/token");
        let request = request.basic_auth(&self.id, Some(&self.secret));
        let form = [("grant_type", "client_credentials"), ("resource", "notes")];
        request.form(&form).send().await.unwrap()
    }
}

async fn post(server: &Server, metadata: &Value) -> Response {
    let token = server.token("registrar", AUDIENCE).await;
    let request = server.post(PATH).bearer_auth(token).json(metadata);
    request.send().await.unwrap()
}

async fn register(server: &Server, metadata: Value) -> (Registered, Value) {
    let answer = post(server, &metadata).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{metadata}");
    let information = json(answer).await;
    (Registered::of(&information), information)
}

/// What the administrator may do.
async fn admin(server: &Server, method: Method, path: &str, body: Option<Value>) -> Response {
    let request = server
        .http
        .request(method, format!("{}/admin/v1{path}", server.url))
        .bearer_auth(server.token(ADMIN, AUDIENCE).await);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    request.send().await.unwrap()
}

/// The audit log about a client, the oldest event first, without those of tokens: action, outcome, actor, reason.
async fn audit(server: &Server, client: &str) -> Vec<Value> {
    let path = format!("/audit?client_id={client}");
    let mut page = json(admin(server, Method::GET, &path, None).await).await;
    let events = page["events"].as_array_mut().unwrap();
    let told = events.iter().rev().filter_map(|event| {
        let action = event["action"].as_str()?;
        (!action.starts_with("token."))
            .then(|| json!([action, event["outcome"], event["actor"], event["reason"]]))
    });
    told.collect()
}

#[actix_web::test]
async fn a_client_registers_itself_works_changes_and_goes() {
    let server = server().await;
    let metadata = server.get("/.well-known/oauth-authorization-server");
    let metadata = json(metadata.send().await.unwrap()).await;
    let endpoint = format!("{}/clients/register", server.issuer);
    assert_eq!(metadata["registration_endpoint"], endpoint);

    let initial = server.token("registrar", AUDIENCE).await;
    let request = server.http.post(&endpoint).bearer_auth(initial);
    let answer = request.json(&json!({"client_name": "Crawler"}));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let location = answer.headers()["location"].clone();
    let mut information = json(answer).await;
    let client = Registered::of(&information);
    assert_eq!(location, client.uri.as_str());
    assert_eq!(client.uri, format!("{endpoint}/{}", client.id));
    assert!(client.token.starts_with("m2mr_"));
    assert!(client.secret.starts_with("m2m_"));
    let expected = json!({
        "client_id": client.id,
        "client_id_issued_at": NOW,
        "client_name": "Crawler",
        "client_secret": client.secret,
        "client_secret_expires_at": 0,
        "grant_types": ["client_credentials"],
        "response_types": [],
        "token_endpoint_auth_method": "client_secret_basic",
        "registration_client_uri": client.uri,
        "registration_access_token": client.token,
    });
    assert_eq!(information, expected);

    // It may call nothing until an administrator says so.
    let refused = client.ask(&server).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json(refused).await["error"], "unauthorized_client");
    let grant = json!({"client_id": client.id, "resource": "notes", "scopes": ["note.read"]});
    let granted = admin(&server, Method::POST, "/grants", Some(grant)).await;
    assert_eq!(granted.status(), StatusCode::CREATED);
    let token = json(client.ask(&server).await).await["access_token"].take();
    let token = token.as_str().unwrap();
    assert_eq!(server.introspect(ADMIN, token).await["active"], true);

    // What it reads has everything but the secret, of which the server knows the hash only.
    let shown = client.show(&server).await;
    assert_eq!(shown.status(), StatusCode::OK);
    assert_eq!(shown.headers()["cache-control"], "no-store");
    for once in ["client_secret", "client_secret_expires_at"] {
        information.as_object_mut().unwrap().remove(once);
    }
    assert_eq!(json(shown).await, information);
    let head = client.request(&server, Method::HEAD).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);

    let wish = json!({
        "client_id": client.id,
        "client_secret": client.secret,
        "client_name": "Crawler 2",
        "token_endpoint_auth_method": "client_secret_post",
    });
    let replaced = client.replace(&server, &wish).await;
    assert_eq!(replaced.status(), StatusCode::OK);
    information["client_name"] = json!("Crawler 2");
    information["token_endpoint_auth_method"] = json!("client_secret_post");
    assert_eq!(json(replaced).await, information);
    assert_eq!(json(client.show(&server).await).await, information);
    assert_eq!(client.ask(&server).await.status(), StatusCode::OK);

    let removed = client.request(&server, Method::DELETE);
    let removed = removed.send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    assert_eq!(removed.headers()["cache-control"], "no-store");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = client.request(&server, method).json(&wish).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(client.ask(&server).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.introspect(ADMIN, token).await["active"], false);

    let (id, by_itself) = (&client.id, &client.id);
    assert_eq!(
        audit(&server, id).await,
        [
            json!(["client.registered", "success", "registrar", null]),
            json!(["credential.created", "success", "registrar", null]),
            json!(["grant.created", "success", ADMIN, null]),
            json!(["client.changed", "success", by_itself, null]),
            json!(["client.deleted", "success", by_itself, null]),
        ]
    );
}

#[actix_web::test]
async fn nobody_registers_where_it_is_off() {
    let server = Server::start_with(&policy(), "").await;
    let token = server.token("registrar", AUDIENCE).await;
    for path in [
        "/clients/register",
        "/auth/clients/register",
        "/clients/register/bot",
        "/auth/clients/register/bot",
    ] {
        for method in [Method::POST, Method::GET, Method::PUT, Method::DELETE] {
            let request = server.http.request(method, format!("{}{path}", server.url));
            let answer = request.bearer_auth(&token).json(&json!({})).send().await;
            assert_eq!(answer.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
    let metadata = server.get("/.well-known/oauth-authorization-server");
    let metadata = json(metadata.send().await.unwrap()).await;
    assert_eq!(metadata.get("registration_endpoint"), None);
}

#[actix_web::test]
async fn what_means_nothing_here_is_ignored_and_nothing_is_fetched() {
    let server = server().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let uri = format!("http://{}/", elsewhere.local_addr().unwrap());
    let (client, information) = register(
        &server,
        json!({
            "client_id": "chosen",
            "client_secret": "chosen",
            "client_name": null,
            "client_name#de": 7,
            "scope": "note.read clients:write",
            "redirect_uris": [],
            "response_types": [],
            "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "client_secret_post",
            "software_id": "4NRB1-0XZABZI9E6-5SM3R",
            "software_version": "2.0",
            "contacts": ["a@example.com"],
            "jwks": {"keys": []},
            "jwks_uri": uri, "logo_uri": uri, "client_uri": uri, "policy_uri": uri, "tos_uri": uri,
            "sector_identifier_uri": uri, "initiate_login_uri": uri,
        }),
    )
    .await;
    assert_ne!((&*client.id, &*client.secret), ("chosen", "chosen"));
    let mut expected = json!({
        "client_id": client.id,
        "client_id_issued_at": NOW,
        "client_name": client.id,
        "client_secret": client.secret,
        "client_secret_expires_at": 0,
        "grant_types": ["client_credentials"],
        "response_types": [],
        "token_endpoint_auth_method": "client_secret_post",
        "software_id": "4NRB1-0XZABZI9E6-5SM3R",
        "software_version": "2.0",
        "registration_client_uri": client.uri,
        "registration_access_token": client.token,
    });
    assert_eq!(information, expected);
    let connection = elsewhere.accept().map(drop);
    let nobody_came = connection.unwrap_err().kind();
    assert_eq!(nobody_came, std::io::ErrorKind::WouldBlock);

    // The administrators see what it said of itself, and keep their own notes beside it.
    let path = format!("/clients/{}", client.id);
    let noted = json!({"metadata": {"team": "search"}, "description": "Asked for by search"});
    let noted = admin(&server, Method::PATCH, &path, Some(noted)).await;
    let said = json!({
        "software_id": "4NRB1-0XZABZI9E6-5SM3R",
        "software_version": "2.0",
        "team": "search",
        "token_endpoint_auth_method": "client_secret_post",
    });
    assert_eq!(json(noted).await["metadata"], said);

    // What a replacement leaves out is gone.
    let wish = json!({"client_id": client.id, "software_version": "2.1", "client_name": "é"});
    let replaced = json(client.replace(&server, &wish).await).await;
    let members = expected.as_object_mut().unwrap();
    for gone in ["client_secret", "client_secret_expires_at", "software_id"] {
        members.remove(gone);
    }
    expected["client_name"] = json!("é");
    expected["software_version"] = json!("2.1");
    expected["token_endpoint_auth_method"] = json!("client_secret_basic");
    assert_eq!(replaced, expected);
    let seen = json(admin(&server, Method::GET, &path, None).await).await;
    assert_eq!(
        seen["metadata"],
        json!({"software_version": "2.1", "team": "search"})
    );
    assert_eq!(seen["description"], "Asked for by search");
}

/// Metadata that is refused, with the code and a part of the description.
fn refused_metadata() -> Vec<(Value, &'static str, &'static str)> {
    const METADATA: &str = "invalid_client_metadata";
    const REDIRECT: &str = "invalid_redirect_uri";
    const STATEMENT: &str = "unapproved_software_statement";
    let long = "x".repeat(513);
    let large = "🦀".repeat(512);
    vec![
        (json!([]), METADATA, "one JSON object"),
        (json!("CANARY"), METADATA, "one JSON object"),
        (json!(null), METADATA, "one JSON object"),
        (json!({"client_name": ""}), METADATA, "client_name: "),
        (json!({"client_name": "a\nb"}), METADATA, "client_name: "),
        (json!({"client_name": "x".repeat(201)}), METADATA, "200"),
        (json!({"client_name": ["CANARY"]}), METADATA, "a string"),
        (
            json!({"redirect_uris": ["https://CANARY.example/"]}),
            REDIRECT,
            "nobody is redirected",
        ),
        (json!({"redirect_uris": "CANARY"}), REDIRECT, "leave it out"),
        (json!({"response_types": ["code"]}), METADATA, "empty list"),
        (json!({"response_types": "code"}), METADATA, "empty list"),
        (json!({"response_types": [7]}), METADATA, "empty list"),
        (
            json!({"grant_types": ["authorization_code"]}),
            METADATA,
            "client_credentials only",
        ),
        (
            json!({"grant_types": ["client_credentials", "CANARY"]}),
            METADATA,
            "client_credentials only",
        ),
        (
            json!({"grant_types": "client_credentials"}),
            METADATA,
            "a list",
        ),
        (
            json!({"token_endpoint_auth_method": "none"}),
            METADATA,
            "client_secret_basic or client_secret_post",
        ),
        (
            json!({"token_endpoint_auth_method": "private_key_jwt"}),
            METADATA,
            "client_secret_basic or client_secret_post",
        ),
        (
            json!({"token_endpoint_auth_method": 7}),
            METADATA,
            "a string",
        ),
        (json!({"software_id": {}}), METADATA, "software_id: "),
        (json!({"software_id": long}), METADATA, "software_id: "),
        (
            json!({"software_version": "\u{1b}[2J"}),
            METADATA,
            "control",
        ),
        (
            json!({"software_id": large, "software_version": large}),
            METADATA,
            "too large",
        ),
        (
            json!({"software_statement": "eyJhbGciOiJub25lIn0.e30."}),
            STATEMENT,
            "without one",
        ),
        (json!({"software_statement": 7}), STATEMENT, "without one"),
    ]
}

async fn assert_refused(answer: Response, error: &str, part: &str, row: &str) {
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{row}");
    assert_eq!(answer.headers()["cache-control"], "no-store", "{row}");
    let media_type = &answer.headers()["content-type"];
    assert_eq!(media_type, "application/json", "{row}");
    let body = json(answer).await;
    assert_eq!(body["error"], error, "{row}");
    let description = body["error_description"].as_str().unwrap();
    assert!(description.contains(part), "{row}: {description}");
    assert!(!description.contains("CANARY"), "{row}: {description}");
}

#[actix_web::test]
async fn metadata_that_asks_for_what_there_is_not_is_refused() {
    let server = server().await;
    let (client, before) = register(&server, json!({"client_name": "Crawler"})).await;
    for (metadata, error, part) in refused_metadata() {
        let row = metadata.to_string();
        assert_refused(post(&server, &metadata).await, error, part, &row).await;
        let mut wish = metadata;
        if let Some(members) = wish.as_object_mut() {
            members.insert("client_id".to_owned(), json!(client.id));
        }
        let answer = client.replace(&server, &wish).await;
        assert_refused(answer, error, part, &format!("PUT {row}")).await;
    }
    let token = server.token("registrar", AUDIENCE).await;
    for text in [
        "",
        "{",
        "{} {}",
        r#"{"client_name": "a", "client_name": "b"}"#,
        r#"{"redirect_uris": [], "redirect_uris": null}"#,
    ] {
        let request = server.post(PATH).bearer_auth(&token).body(text);
        let request = request.header("content-type", "application/json");
        let answer = request.send().await.unwrap();
        assert_refused(answer, "invalid_client_metadata", "one JSON object", text).await;
    }

    let id = &client.id;
    for (wish, part) in [
        (json!({}), "client_id: send it"),
        (json!({"client_id": null}), "client_id: send it"),
        (json!({"client_id": "bot"}), "id of this client"),
        (json!({"client_id": 7}), "client_id: write a string"),
        (
            json!({"client_id": id, "client_secret": "CANARY"}),
            "the secret that the client has",
        ),
        (
            json!({"client_id": id, "client_secret": server.secret("bot")}),
            "the secret that the client has",
        ),
        (
            json!({"client_id": id, "client_id_issued_at": NOW}),
            "client_id_issued_at: leave it out",
        ),
        (
            json!({"client_id": id, "client_secret_expires_at": 0}),
            "client_secret_expires_at: leave it out",
        ),
        (
            json!({"client_id": id, "registration_access_token": client.token}),
            "registration_access_token: leave it out",
        ),
        (
            json!({"client_id": id, "registration_client_uri": client.uri}),
            "registration_client_uri: leave it out",
        ),
    ] {
        let answer = client.replace(&server, &wish).await;
        assert_refused(answer, "invalid_client_metadata", part, &wish.to_string()).await;
    }
    let after = json(client.show(&server).await).await;
    assert_eq!(after["client_name"], before["client_name"]);
    let clients = json(admin(&server, Method::GET, "/clients?name=Crawler", None).await).await;
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn who_may_not_register_a_client_is_told_as_every_resource_server_does() {
    let server = server().await;
    let token = server.token("registrar", AUDIENCE).await;
    let other = server.token("bot", AUDIENCE).await;
    let foreign = server.token("bot", "notes").await;
    let revoked = server.token("registrar", AUDIENCE).await;
    server.revoke("registrar", &revoked).await;
    let (client, _) = register(&server, json!({})).await;
    let to = || server.post(PATH).json(&json!({}));
    let empty = || server.post(PATH).bearer_auth(&token);
    let as_json = |body: String| {
        let request = empty().header("content-type", "application/json");
        request.body(body)
    };
    let large = format!("{{\"client_name\": \"{}\"}}", "x".repeat(70_000));
    for (row, request, status, error) in [
        ("no token", to(), 401, None),
        (
            "a foreign scheme",
            to().basic_auth("bot", Some("x")),
            401,
            None,
        ),
        (
            "nonsense",
            to().bearer_auth("x"),
            401,
            Some("invalid_token"),
        ),
        (
            "for others",
            to().bearer_auth(&foreign),
            401,
            Some("invalid_token"),
        ),
        (
            "revoked",
            to().bearer_auth(&revoked),
            401,
            Some("invalid_token"),
        ),
        (
            "of a registered client",
            to().bearer_auth(&client.token),
            401,
            Some("invalid_token"),
        ),
        (
            "no scope",
            to().bearer_auth(&other),
            403,
            Some("insufficient_scope"),
        ),
        ("no body", empty(), 415, None),
        ("a form", empty().form(&[("client_name", "a")]), 415, None),
        ("much", as_json(large), 413, None),
        (
            "GET",
            server.get(PATH).bearer_auth(&token),
            405,
            Some("invalid_request"),
        ),
        (
            "HEAD",
            server.http.head(format!("{}{PATH}", server.url)),
            405,
            None,
        ),
    ] {
        let is_head = row == "HEAD";
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{row}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{row}");
        let challenge = answer.headers().get("www-authenticate");
        let challenge = challenge.map(|challenge| challenge.to_str().unwrap().to_owned());
        assert_eq!(challenge.is_some(), [401, 403].contains(&status), "{row}");
        if let (Some(challenge), Some(error)) = (challenge, error) {
            assert!(challenge.contains(error), "{row}: {challenge}");
        }
        if status == 405 {
            assert_eq!(answer.headers()["allow"], "POST", "{row}");
        }
        if !is_head {
            assert_eq!(json(answer).await["error"].as_str(), error, "{row}");
        }
    }
    let nowhere = server.get(&format!("{PATH}/a/b")).send().await.unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
}

/// Whether a client is there, and how it came, nobody learns without its token.
#[actix_web::test]
async fn every_wrong_registration_token_is_refused_alike() {
    let server = server().await;
    let (client, _) = register(&server, json!({})).await;
    let (neighbour, _) = register(&server, json!({})).await;
    let (idle, _) = register(&server, json!({})).await;
    let (removed, _) = register(&server, json!({})).await;
    let path = format!("/clients/{}", idle.id);
    let off = admin(
        &server,
        Method::PATCH,
        &path,
        Some(json!({"status": "inactive"})),
    )
    .await;
    assert_eq!(off.status(), StatusCode::OK);
    let path = format!("/clients/{}", removed.id);
    let gone = admin(&server, Method::DELETE, &path, None).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);

    let at = |id: &str| format!("{}/{id}", server.url.clone() + PATH);
    let access_token = server.token(ADMIN, AUDIENCE).await;
    let mut answers = Vec::new();
    for (uri, token) in [
        (client.uri.clone(), neighbour.token.as_str()),
        (client.uri.clone(), client.secret.as_str()),
        (client.uri.clone(), access_token.as_str()),
        (client.uri.clone(), "x"),
        (at("unknown"), client.token.as_str()),
        (at("a%20b"), client.token.as_str()),
        (at("%ff"), client.token.as_str()),
        (at("bot"), client.token.as_str()),
        (at(ADMIN), access_token.as_str()),
        (idle.uri.clone(), idle.token.as_str()),
        (removed.uri.clone(), removed.token.as_str()),
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let request = server.http.request(method, &uri).bearer_auth(token);
            let answer = request.json(&json!({})).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{uri} {token}");
            let mut headers = answer.headers().clone();
            // The connection ends when the unread body was still on its way.
            for changing in ["date", "ratelimit", "connection"] {
                headers.remove(changing);
            }
            answers.push((headers, answer.text().await.unwrap()));
        }
    }
    let (headers, body) = &answers[0];
    let challenge = headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("invalid_token"), "{challenge}");
    assert!(body.contains("invalid_token"), "{body}");
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    for uri in [&client.uri, &at("unknown")] {
        let answer = server.http.get(uri).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let challenge = &answer.headers()["www-authenticate"];
        assert_eq!(challenge, "Bearer realm=\"auth-provider\"");
    }
    let post = client.request(&server, Method::POST).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(post.headers()["allow"], "GET, HEAD, PUT, DELETE");

    // The administrators learn what it was.
    let failed = |reason: &str| json!(["authentication.failed", "refused", null, reason]);
    let told = audit(&server, &client.id).await;
    assert!(
        told.contains(&failed("wrong_registration_token")),
        "{told:?}"
    );
    let told = audit(&server, &idle.id).await;
    assert!(told.contains(&failed("client_inactive")), "{told:?}");

    // A client that is switched on again administers itself again.
    assert_eq!(client.show(&server).await.status(), StatusCode::OK);
    let path = format!("/clients/{}", idle.id);
    admin(
        &server,
        Method::PATCH,
        &path,
        Some(json!({"status": "active"})),
    )
    .await;
    assert_eq!(idle.show(&server).await.status(), StatusCode::OK);
}

/// What it was let in for counts for the client as it was then.
#[actix_web::test]
async fn a_client_that_is_switched_off_in_between_changes_nothing() {
    let server = server().await;
    let (client, _) = register(&server, json!({"client_name": "Crawler"})).await;
    let token = Ok(client.token.as_str());
    let here = CallerAddress::parse("127.0.0.1").unwrap();
    let registrant = registration::authenticate(&server.auth, here, &client.id, token).await;
    let registrant = registrant.unwrap();
    let path = format!("/clients/{}", client.id);
    let off = json!({"status": "inactive"});
    let off = admin(&server, Method::PATCH, &path, Some(off)).await;
    assert_eq!(off.status(), StatusCode::OK);

    let wish = json!({"client_id": client.id}).to_string();
    let wish = Replacement::read(wish.as_bytes()).unwrap();
    let replaced = registration::replace(&server.auth, &registrant, wish).await;
    let removed = registration::remove(&server.auth, &registrant).await;
    for refusal in [replaced.unwrap_err(), removed.unwrap_err()] {
        assert!(
            refusal.to_string().contains("changed or removed"),
            "{refusal}"
        );
    }
    let seen = json(admin(&server, Method::GET, &path, None).await).await;
    assert_eq!(seen["name"], "Crawler");

    // One that is gone cannot be removed again, and need not be.
    admin(&server, Method::DELETE, &path, None).await;
    registration::remove(&server.auth, &registrant)
        .await
        .unwrap();
}

#[actix_web::test]
async fn a_registration_whose_answer_was_lost_can_be_asked_for_again() {
    let server = server().await;
    let token = server.token("registrar", AUDIENCE).await;
    let ask = async |name: &str| {
        let request = server.post(PATH).bearer_auth(&token);
        let request = request.header("idempotency-key", "1");
        let request = request.json(&json!({"client_name": name}));
        request.send().await.unwrap()
    };
    let first = json(ask("Crawler").await).await;
    assert!(first["client_secret"].is_string());
    assert_eq!(json(ask("Crawler").await).await, first);
    let other = ask("Other").await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(json(other).await["error"], "invalid_request");
}

#[actix_web::test]
async fn who_registers_too_much_is_told_to_wait() {
    let limits = format!("{ON}\nrate_limit_admin = '1/h'");
    let server = Server::start_with(&policy(), &limits).await;
    let (client, _) = register(&server, json!({})).await;
    let second = post(&server, &json!({})).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    // A client that administers itself has a bucket of its own.
    let shown = client.show(&server).await;
    assert_eq!(shown.status(), StatusCode::OK);
    let state = shown.headers()["ratelimit"].to_str().unwrap();
    assert!(state.starts_with("\"admin\";r=0;"), "{state}");
    let again = client.show(&server).await;
    assert_eq!(again.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(again.headers()["cache-control"], "no-store");

    let limits = format!("{ON}\nrate_limit_address = '1/h'");
    let server = Server::start_with(&policy(), &limits).await;
    let first = server.post(PATH).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::UNAUTHORIZED);
    for path in [PATH, "/clients/register", "/clients/register/bot"] {
        let next = server.get(path).send().await.unwrap();
        assert_eq!(next.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
}

#[actix_web::test]
async fn a_copy_of_the_database_opens_nothing() {
    let server = server().await;
    let (client, _) = register(&server, json!({})).await;
    assert_eq!(client.show(&server).await.status(), StatusCode::OK);
    let folder = server.stop().await;
    for (path, bytes) in stored(folder.path()) {
        for secret in [&client.secret, &client.token] {
            let there = bytes.windows(secret.len());
            let mut there = there.filter(|window| *window == secret.as_bytes());
            assert_eq!(there.next(), None, "{}", path.display());
        }
    }
}
