//! The audit log: what leaves an event, how events are found again, and what becomes of them when things go wrong.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use auth_provider::{
    audit::{Action, Event, Filter, Origin, Outcome, Recorded},
    client::ClientId,
    storage::{self, DatabaseUrl, Store},
};
use m2m::ManualClock;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    administrator::Administrator,
    process::{in_folder, started},
    support::{NOW, POLICY, Server, folder, json, secret_in},
};

/// How long something may take that is waited for.
const SOON: Duration = Duration::from_secs(30);

async fn all(store: &dyn Store) -> Vec<Recorded> {
    let filter = Filter::default();
    let mut events = store.events(&filter, u64::MAX, 100_000).await.unwrap();
    events.reverse();
    events
}

/// Follows the log of one server.
struct Log<'a> {
    server: &'a Server,
    seen: u64,
}

impl<'a> Log<'a> {
    async fn of(server: &'a Server) -> Self {
        let mut log = Self { server, seen: 0 };
        log.news().await;
        log
    }

    /// What came since it was asked last, in order.
    async fn news(&mut self) -> Vec<Event> {
        self.server.auth.journal.settle().await.unwrap();
        let mut events = all(self.server.auth.store.as_ref()).await;
        events.retain(|event| event.number > self.seen);
        self.seen = events.last().map_or(self.seen, |last| last.number);
        events.into_iter().map(|recorded| recorded.event).collect()
    }

    /// The one event that came.
    async fn only(&mut self, row: &str) -> Event {
        let mut events = self.news().await;
        assert_eq!(events.len(), 1, "{row}: {events:#?}");
        events.remove(0)
    }
}

fn text(id: Option<&ClientId>) -> &str {
    id.map_or("", ClientId::as_str)
}

#[actix_web::test]
async fn a_token_leaves_an_event() {
    let server = Server::start().await;
    let mut log = Log::of(&server).await;
    for (client, resource) in [("bot", "notes"), ("courier", "lab")] {
        let token = server.token(client, resource).await;
        let event = log.only(client).await;
        assert_eq!(event.action, Action::TokenIssued);
        assert_eq!(event.outcome, Outcome::Success);
        assert_eq!((event.at, text(event.actor.as_ref())), (NOW, client));
        assert_eq!(text(event.client.as_ref()), client);
        assert_eq!(event.resource.unwrap().as_str(), resource);
        let told = server.introspect(client, &token).await;
        let jti = told["jti"].as_str().unwrap();
        assert_eq!(event.jti.as_deref(), Some(jti));
        let credential = event.credential.unwrap();
        assert_eq!(jti.split('.').next(), Some(credential.as_str()));
        assert_eq!(event.ends_at, told["exp"].as_u64());
        assert!(event.address.is_some_and(|address| address.is_loopback()));
        assert_eq!(event.reason, None);
        let used = log.only("introspection tells that the credential is in use");
        assert_eq!(used.await.action, Action::CredentialUsed);
    }
}

/// A request, and what the log says of it: action, client, and reason.
type Refusal<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);

#[actix_web::test]
async fn every_refusal_of_a_token_is_found_by_its_request_id() {
    let server = Server::start().await;
    let grant = ("grant_type", "client_credentials");
    let admin = Administrator::of(&server).await;
    let ended = json!({"expires_at": NOW});
    let ended = admin.post("/clients/bot/credentials", &ended).await;
    let ended = ended["client_secret"].as_str().unwrap();
    let inactive = json!({"client_id": "off", "status": "inactive"});
    let inactive = admin.post("/clients", &inactive).await;
    let inactive = inactive["client_secret"].as_str().unwrap();
    let [bot, nobody] = ["bot", "nobody"].map(|client| server.secret(client));
    let mut log = Log::of(&server).await;
    let refused: [Refusal; 7] = [
        (
            "bot",
            &bot,
            &[grant, ("resource", "plain")],
            400,
            "no_grant",
        ),
        ("bot", &bot, &[grant], 400, "resource_missing"),
        ("nobody", &nobody, &[grant], 400, "no_grants"),
        (
            "bot",
            &bot,
            &[grant, ("resource", "notes"), ("scope", "x")],
            400,
            "scope_not_defined",
        ),
        (
            "bot",
            &bot,
            &[("grant_type", "password")],
            400,
            "unsupported_grant_type",
        ),
        ("bot", &bot, &[], 400, "invalid_request"),
        ("bot", &bot, &[grant, ("scope", "é")], 400, "invalid_scope"),
    ];
    let failed: [Refusal; 5] = [
        ("m2m_no-such-client", &bot, &[grant], 401, "no_such_client"),
        ("no client id", &bot, &[grant], 401, "no_such_client"),
        ("bot", "m2m_wrong", &[grant], 401, "wrong_secret"),
        ("bot", ended, &[grant], 401, "credential_expired"),
        ("off", inactive, &[grant], 401, "client_inactive"),
    ];
    let known = ["bot", "nobody", "off"];
    for (action, rows) in [
        (Action::TokenRefused, &refused[..]),
        (Action::AuthenticationFailed, &failed[..]),
    ] {
        for (client, secret, form, status, reason) in rows {
            let row = format!("{client} {form:?} {reason}");
            let request = server.post("/oauth/token").basic_auth(client, Some(secret));
            let answer = request.form(form).send().await.unwrap();
            assert_eq!(answer.status(), *status, "{row}");
            let answer = json(answer).await;
            let event = log.only(&row).await;
            assert_eq!(
                (event.action, event.outcome),
                (action, Outcome::Refused),
                "{row}"
            );
            assert_eq!(event.reason.as_deref(), Some(*reason), "{row}");
            assert_eq!(
                event.request_id.as_deref(),
                answer["request_id"].as_str(),
                "{row}"
            );
            assert!(!event.explanation.unwrap().contains("m2m_"), "{row}");
            let named = if known.contains(client) { *client } else { "" };
            assert_eq!(text(event.client.as_ref()), named, "{row}");
            assert_eq!(text(event.actor.as_ref()), named, "{row}");
            assert_eq!((event.jti, event.ends_at), (None, None), "{row}");
        }
    }
    // Nobody is even named where a request has no credentials.
    let request = server.post("/oauth/token").form(&[grant]);
    assert_eq!(request.send().await.unwrap().status(), 401);
    let event = log.only("no credentials").await;
    assert_eq!(event.action, Action::AuthenticationFailed);
    assert_eq!(event.client, None);
    // Other endpoints tell of failed authentications, and of nothing else that is refused.
    let wrong = server
        .post("/oauth/introspect")
        .basic_auth("bot", Some("m2m_wrong"));
    wrong.form(&[("token", "x")]).send().await.unwrap();
    let event = log.only("introspection").await;
    assert_eq!(event.action, Action::AuthenticationFailed);
    let wrong = server
        .get("/oauth/revocations")
        .basic_auth("bot", Some("m2m_wrong"));
    wrong.send().await.unwrap();
    let event = log.only("feed").await;
    assert_eq!(event.action, Action::AuthenticationFailed);
    server.about("/oauth/introspect", "bot", "").await;
    assert_eq!(log.news().await, []);
}

#[actix_web::test]
async fn what_a_limit_refuses_leaves_no_event() {
    let limits = "rate_limit_client = '1/h'\nrate_limit_failures = '1/h'";
    let server = Server::start_with(POLICY, limits).await;
    server.token("bot", "notes").await;
    let mut log = Log::of(&server).await;
    assert_eq!(server.ask("bot", &[]).await.status(), 429);
    assert_eq!(log.news().await, []);
}

#[actix_web::test]
async fn whoever_comes_to_the_administration_without_the_right_leaves_a_trace() {
    let server = Server::start().await;
    let root = server.token("root", "auth-provider").await;
    let notes = server.token("bot", "notes").await;
    let mut log = Log::of(&server).await;
    for (bearer, status, reason, actor) in [
        ("m2m_nonsense", 401, "invalid_token", ""),
        (notes.as_str(), 401, "invalid_token", ""),
        (root.as_str(), 403, "insufficient_scope", "root"),
    ] {
        for (method, path) in [(Method::GET, "/clients"), (Method::POST, "/grants")] {
            let request = server
                .http
                .request(method, format!("{}/admin/v1{path}", server.url));
            let request = request.bearer_auth(bearer);
            assert_eq!(request.send().await.unwrap().status(), status, "{reason}");
            let event = log.only(reason).await;
            assert_eq!(event.action, Action::AdminRefused);
            assert_eq!(event.reason.as_deref(), Some(reason));
            assert_eq!(text(event.actor.as_ref()), actor);
            assert!(!event.explanation.unwrap().contains("m2m_"));
        }
    }
}

#[actix_web::test]
async fn who_comes_without_any_token_tries_nothing() {
    let server = Server::start().await;
    let mut log = Log::of(&server).await;
    let answer = server.get("/admin/v1/clients").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(log.news().await, []);
}

#[actix_web::test]
async fn who_probes_and_who_revokes_is_named() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    let uses = ["single", "bot", "root"];
    for client in uses {
        server.introspect(client, "nonsense").await; // this tells of the use of the credential
    }
    let mut log = Log::of(&server).await;
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        server.about(path, "single", &token).await;
        let event = log.only(path).await;
        assert_eq!(
            (event.action, event.outcome),
            (Action::TokenProbed, Outcome::Refused)
        );
        assert_eq!(event.reason.as_deref(), Some("not_yours"));
        assert_eq!(text(event.actor.as_ref()), "single");
        assert_eq!(text(event.client.as_ref()), "bot");
        assert_eq!(event.resource.unwrap().as_str(), "notes");
    }
    for client in ["bot", "root"] {
        let token = server.token("bot", "notes").await;
        log.only("a token").await;
        server.revoke(client, &token).await;
        let event = log.only(client).await;
        assert_eq!(
            (event.action, event.outcome),
            (Action::TokenRevoked, Outcome::Success)
        );
        assert_eq!(text(event.actor.as_ref()), client);
        assert_eq!(text(event.client.as_ref()), "bot");
        assert!(event.jti.is_some());
        server.revoke(client, &token).await;
        assert_eq!(log.news().await, [], "it is revoked already");
    }
}

/// A change: what is asked, and the actions that the log tells of it. `{0}` and so on are the ids of credentials that earlier answers gave.
struct Step {
    method: Method,
    path: &'static str,
    body: Value,
    leaves: &'static [Action],
    client: &'static str,
    resource: &'static str,
}

fn step(
    method: &str,
    path: &'static str,
    body: Value,
    leaves: &'static [Action],
    (client, resource): (&'static str, &'static str),
) -> Step {
    Step {
        method: method.parse().unwrap(),
        path,
        body,
        leaves,
        client,
        resource,
    }
}

#[expect(clippy::too_many_lines, reason = "a table of all changes")]
fn changes() -> Vec<Step> {
    use Action as A;
    const CREDENTIALS: &str = "/clients/new/credentials";
    vec![
        step(
            "POST",
            "/clients",
            json!({"client_id": "new"}),
            &[A::ClientCreated, A::CredentialCreated],
            ("new", ""),
        ),
        step(
            "POST",
            "/clients",
            json!({"client_id": "new"}),
            &[],
            ("", ""),
        ),
        step(
            "PATCH",
            "/clients/new",
            json!({"name": "New"}),
            &[A::ClientChanged],
            ("new", ""),
        ),
        step(
            "PATCH",
            "/clients/new",
            json!({"name": "New"}),
            &[],
            ("", ""),
        ),
        step(
            "PATCH",
            "/clients/new",
            json!({"status": "inactive"}),
            &[A::ClientChanged],
            ("new", ""),
        ),
        step(
            "PATCH",
            "/clients/new",
            json!({"status": "active"}),
            &[A::ClientChanged],
            ("new", ""),
        ),
        step(
            "POST",
            CREDENTIALS,
            json!({}),
            &[A::CredentialCreated],
            ("new", ""),
        ),
        step(
            "PATCH",
            "/clients/new/credentials/{1}",
            json!({"label": "x"}),
            &[A::CredentialChanged],
            ("new", ""),
        ),
        step(
            "PATCH",
            "/clients/new/credentials/{1}",
            json!({"label": "x"}),
            &[],
            ("", ""),
        ),
        step(
            "POST",
            "/clients/new/credentials/{1}/rotate",
            json!({}),
            &[A::CredentialRotated],
            ("new", ""),
        ),
        step(
            "POST",
            "/clients/new/credentials/{2}/rotation",
            json!({}),
            &[A::CredentialRotationStarted],
            ("new", ""),
        ),
        step(
            "DELETE",
            "/clients/new/credentials/{2}/rotation",
            Value::Null,
            &[A::CredentialRotationCancelled],
            ("new", ""),
        ),
        step(
            "POST",
            "/clients/new/credentials/{2}/rotation",
            json!({}),
            &[A::CredentialRotationStarted],
            ("new", ""),
        ),
        step(
            "POST",
            "/clients/new/credentials/{2}/rotation/finish",
            Value::Null,
            &[A::CredentialRotationFinished],
            ("new", ""),
        ),
        step(
            "POST",
            "/clients/new/credentials/{1}/compromised",
            Value::Null,
            &[A::CredentialCompromised],
            ("new", ""),
        ),
        step(
            "DELETE",
            "/clients/new/credentials/{0}",
            Value::Null,
            &[A::CredentialDeleted],
            ("new", ""),
        ),
        step(
            "POST",
            "/resources",
            json!({"resource": "api", "scopes": {"a": "", "b": ""}}),
            &[A::ResourceCreated],
            ("", "api"),
        ),
        step(
            "PATCH",
            "/resources/api",
            json!({"name": "API"}),
            &[A::ResourceChanged],
            ("", "api"),
        ),
        step(
            "PATCH",
            "/resources/api",
            json!({"name": "API"}),
            &[],
            ("", ""),
        ),
        step(
            "POST",
            "/grants",
            json!({"client_id": "new", "resource": "api", "scopes": ["a"]}),
            &[A::GrantCreated],
            ("new", "api"),
        ),
        step(
            "PATCH",
            "/grants/new/api",
            json!({"scopes": ["b"]}),
            &[A::GrantChanged],
            ("new", "api"),
        ),
        step(
            "PATCH",
            "/grants/new/api",
            json!({"scopes": ["b"]}),
            &[],
            ("", ""),
        ),
        step("DELETE", "/resources/api", Value::Null, &[], ("", "")),
        step(
            "POST",
            "/revocations",
            json!({"client_id": "new", "resource": "api"}),
            &[A::TokensRevoked],
            ("new", "api"),
        ),
        step(
            "POST",
            "/revocations",
            json!({"client_id": "new"}),
            &[A::TokensRevoked],
            ("new", ""),
        ),
        step(
            "POST",
            "/revocations",
            json!({"client_id": "unknown"}),
            &[],
            ("", ""),
        ),
        step(
            "DELETE",
            "/grants/new/api",
            Value::Null,
            &[A::GrantDeleted],
            ("new", "api"),
        ),
        step(
            "DELETE",
            "/resources/api",
            Value::Null,
            &[A::ResourceDeleted],
            ("", "api"),
        ),
        step(
            "DELETE",
            "/clients/new",
            Value::Null,
            &[A::ClientDeleted],
            ("new", ""),
        ),
        step("DELETE", "/clients/new", Value::Null, &[], ("", "")),
        step(
            "POST",
            "/keys/unknown/compromised",
            Value::Null,
            &[],
            ("", ""),
        ),
        step(
            "POST",
            "/keys/rotate",
            json!({}),
            &[A::KeyRotated],
            ("", ""),
        ),
        step(
            "POST",
            "/keys/{kid}/compromised",
            Value::Null,
            &[A::KeyCompromised, A::TokensRevoked],
            ("", ""),
        ),
    ]
}

#[actix_web::test]
async fn every_change_leaves_its_event_and_what_changes_nothing_leaves_none() {
    let server = Server::start().await;
    let admin = Administrator::of(&server).await;
    let kid = admin.get("/keys").await["keys"][0]["kid"].take();
    let mut names = vec![("{kid}".to_owned(), kid.as_str().unwrap().to_owned())];
    let mut credentials = 0;
    let mut log = Log::of(&server).await;
    for step in changes() {
        let mut path = step.path.to_owned();
        for (name, id) in &names {
            path = path.replace(name, id);
        }
        let body = Some(&step.body).filter(|body| !body.is_null());
        let row = format!("{} {} {}", step.method, step.path, step.body);
        let answer = admin.send(step.method, &path, body).await;
        let answer = answer.bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if let Some(id) = answer["credential_id"]
            .as_str()
            .filter(|_| answer["client_secret"].is_string())
        {
            names.push((format!("{{{credentials}}}"), id.to_owned()));
            credentials += 1;
        }
        let events = log.news().await;
        let actions: Vec<_> = events.iter().map(|event| event.action).collect();
        assert_eq!(actions, step.leaves, "{row}: {answer}");
        for event in events {
            assert_eq!(event.outcome, Outcome::Success, "{row}");
            assert_eq!(text(event.actor.as_ref()), "admin", "{row}");
            assert!(event.request_id.is_some(), "{row}");
            assert!(
                event.address.as_ref().is_some_and(IpAddr::is_loopback),
                "{row}"
            );
            assert_eq!(text(event.client.as_ref()), step.client, "{row}");
            let resource = event.resource.as_ref().map_or("", |id| id.as_str());
            assert_eq!(resource, step.resource, "{row}");
            let of_credential = event.action.as_str().starts_with("credential.");
            assert_eq!(event.credential.is_some(), of_credential, "{row}");
        }
        server.clock.advance(Duration::from_secs(1));
    }
    // The table has every action that this server knows, but for those that other tests cause.
    let caused = changes()
        .into_iter()
        .flat_map(|step| step.leaves.iter().copied());
    let caused: Vec<Action> = caused.collect();
    let elsewhere = [
        Action::TokenIssued,
        Action::TokenRefused,
        Action::TokenRevoked,
        Action::TokenProbed,
        Action::AuthenticationFailed,
        Action::CredentialUsed,
        Action::AdminRefused,
        Action::ClientRegistered,
        Action::DatabaseRestored,
        Action::PolicyApplied,
    ];
    for action in Action::ALL {
        assert!(
            caused.contains(action) || elsewhere.contains(action),
            "{action:?}"
        );
    }
}

#[actix_web::test]
async fn a_creation_that_is_asked_for_twice_leaves_one_event() {
    let server = Server::start().await;
    let admin = Administrator::of(&server).await;
    let mut log = Log::of(&server).await;
    for _ in 0..2 {
        let request = server.post("/admin/v1/clients").bearer_auth(&admin.token);
        let request = request
            .header("Idempotency-Key", "k")
            .json(&json!({"client_id": "new"}));
        assert_eq!(request.send().await.unwrap().status(), 201);
    }
    assert_eq!(log.news().await.len(), 2, "the client and its credential");
}

#[actix_web::test]
async fn events_are_found_by_what_they_name_and_by_their_time() {
    let server = Server::start().await;
    let admin = Administrator::of(&server).await;
    server.token("bot", "notes").await;
    server.clock.advance(Duration::from_secs(10));
    server.token("bot", "calendar").await;
    let refused = json(server.ask("bot", &[("resource", "plain")]).await).await;
    let request_id = refused["request_id"].as_str().unwrap();
    server.clock.advance(Duration::from_secs(10));
    server.token("single", "plain").await;
    let (first, second) = (NOW, NOW + 10);
    for (query, expected) in [
        (format!("client_id=bot&since={second}"), 2),
        (format!("client_id=single&since={second}"), 1),
        ("client_id=unknown".to_owned(), 0),
        ("resource=notes&action=token.issued".to_owned(), 1),
        ("action=token.issued".to_owned(), 4), // one of them is the administrator's own
        ("action=token.refused".to_owned(), 1),
        ("outcome=refused".to_owned(), 1),
        (format!("request_id={request_id}"), 1),
        ("request_id=unknown".to_owned(), 0),
        (format!("since={second}"), 3),
        (format!("until={first}&action=token.issued"), 2),
        (format!("since={second}&until={second}"), 2),
        (format!("since={}", second + 11), 0),
        (
            format!("client_id=bot&action=token.issued&since={second}"),
            1,
        ),
        (
            format!("client_id=bot&resource=calendar&outcome=success&since={second}"),
            1,
        ),
        ("client_id=bot&action=credential.created".to_owned(), 1),
        ("client_id=bot&action=client.deleted".to_owned(), 0),
    ] {
        let events = admin.events(&query).await;
        assert_eq!(events.len(), expected, "{query}: {events:#?}");
    }
    let found = &admin.events(&format!("request_id={request_id}")).await[0];
    assert_eq!(found["reason"], "no_grant");
    assert_eq!(found["client_id"], "bot");
    let members = found.as_object().unwrap();
    for member in [
        "actor",
        "resource",
        "credential_id",
        "jti",
        "explanation",
        "address",
    ] {
        assert!(members.contains_key(member), "{member}");
    }
}

#[actix_web::test]
async fn pages_go_on_where_they_ended_while_events_arrive() {
    let server = Server::start().await;
    let admin = Administrator::of(&server).await;
    for _ in 0..10 {
        server.token("bot", "notes").await;
    }
    let (mut seen, mut cursor) = (vec![], String::new());
    loop {
        let page = admin
            .get(&format!(
                "/audit?client_id=bot&action=token.issued&limit=3{cursor}"
            ))
            .await;
        let events = page["events"].as_array().unwrap();
        seen.extend(events.iter().map(|event| event["number"].as_u64().unwrap()));
        server.token("bot", "notes").await; // newer than what is shown
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

/// How many tokens were issued, as another program reads it from the file.
async fn issued(database: &mut SqliteConnection) -> i64 {
    let sql = "SELECT (SELECT COUNT(*) FROM audit_event WHERE action = 'token.issued')
             + (SELECT COUNT(*) FROM audit_pack, json_each(audit_pack.events)
                WHERE CASE json_type(value, '$[0]') WHEN 'integer' THEN value
                           ELSE events -> CAST(value ->> 1 AS INTEGER) END ->> 1 = 'token.issued')";
    database.fetch_one(sql).await.unwrap().get(0)
}

async fn open(folder: &Path) -> SqliteConnection {
    let file = folder.join("data/auth-provider.db");
    let options = SqliteConnectOptions::new().filename(file);
    let options = options.busy_timeout(SOON);
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[actix_web::test]
async fn strict_answers_when_the_event_is_on_disk() {
    let server = Server::start_with(POLICY, "audit_durability = 'strict'").await;
    let mut database = open(server.folder.path()).await;
    for number in 1..=20 {
        server.token("bot", "notes").await;
        assert_eq!(issued(&mut database).await, number);
    }
}

#[actix_web::test]
async fn batched_events_are_on_disk_by_themselves() {
    let server = Server::start().await;
    let mut database = open(server.folder.path()).await;
    for _ in 0..20 {
        server.token("bot", "notes").await;
    }
    let deadline = Instant::now() + SOON;
    while issued(&mut database).await < 20 {
        assert!(Instant::now() < deadline, "the events are not written");
    }
}

#[actix_web::test]
async fn who_stops_the_server_finds_every_event() {
    let server = Server::start().await;
    for _ in 0..50 {
        server.token("bot", "notes").await;
    }
    let folder = server.stop().await;
    assert_eq!(issued(&mut open(folder.path()).await).await, 50);
}

/// How long before the crash an event must have been promised so that it has to be there. The promise is 100 ms; a busy
/// machine may sleep for a while between an answer and the test's own clock.
const BOUND: Duration = Duration::from_secs(1);

#[actix_web::test]
async fn a_crash_loses_the_events_of_the_last_moment_at_most() {
    let folder = folder();
    let (mut child, address) = started(&mut in_folder(folder.path()));
    let secret = secret_in(&folder.path().join("clients.json"), "courier");
    let http = m2m::http_client(Duration::from_secs(10));
    let url = format!("http://{address}/oauth/token");
    let (mut given, begun) = (vec![], Instant::now());
    while begun.elapsed() < BOUND * 3 / 2 {
        let request = http.post(&url).basic_auth("courier", Some(&secret));
        let form = [("grant_type", "client_credentials"), ("resource", "lab")];
        let answer = request.form(&form).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        given.push(Instant::now());
    }
    child.kill().unwrap(); // as kill -9 does
    let crashed = Instant::now();
    child.wait().unwrap();
    let due = given.iter().filter(|at| **at + BOUND < crashed).count();
    let written = issued(&mut open(folder.path()).await).await;
    let written = usize::try_from(written).unwrap();
    assert!(due > 0 && written >= due, "{written} of {due}");
    assert!(written <= given.len(), "{written} of {}", given.len());
}

#[actix_web::test]
async fn without_a_database_there_are_no_tokens_and_afterwards_there_are_again() {
    for durability in ["batched", "strict"] {
        let more = format!("audit_durability = '{durability}'");
        let server = Server::start_with(POLICY, &more).await;
        server.token("bot", "notes").await;
        let mut database = open(server.folder.path()).await;
        database.execute("BEGIN IMMEDIATE").await.unwrap();
        let (mut given, deadline) = (1, Instant::now() + SOON);
        let refused = loop {
            assert!(Instant::now() < deadline, "tokens without events");
            let answer = server.ask("bot", &[("resource", "notes")]).await;
            if answer.status() != 200 {
                break answer;
            }
            given += 1;
        };
        assert_eq!(refused.status(), 503, "{durability}");
        assert_eq!(refused.headers()["retry-after"], "1");
        let refused = json(refused).await;
        assert_eq!(refused["error"], "temporarily_unavailable");
        assert_eq!(refused.get("access_token"), None);

        database.execute("ROLLBACK").await.unwrap();
        while server.ask("bot", &[("resource", "notes")]).await.status() != 200 {
            assert!(
                Instant::now() < deadline,
                "no tokens although the database is back"
            );
        }
        given += 1;
        server.auth.journal.settle().await.unwrap();
        let written = issued(&mut database).await;
        assert!(
            written >= given,
            "{durability}: {written} events for {given} tokens"
        );
    }
}

#[actix_web::test]
async fn old_events_are_forgotten_in_batches_and_only_when_they_are_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = DatabaseUrl::SqliteFile(folder.path().join("audit.db"));
    let store = storage::open(&file).await.unwrap();
    let event = |at| Event::done(Action::TokenIssued, at, &Origin::server());
    let events: Vec<Event> = (0..1200).map(event).collect();
    for few in events.chunks(15) {
        store.add_events(few).await.unwrap();
    }
    assert!(!store.forget_events(1100).await.unwrap());
    assert_eq!(
        all(store.as_ref()).await.len(),
        1200,
        "they are not summed up"
    );

    while store.sum_up_uses().await.unwrap() {}
    let mut left = vec![];
    while store.forget_events(1100).await.unwrap() {
        left.push(all(store.as_ref()).await.len());
    }
    assert_eq!(left, [700, 200], "no more than 500 at once");
    let kept = all(store.as_ref()).await;
    let kept: Vec<u64> = kept.iter().map(|recorded| recorded.event.at).collect();
    assert_eq!(kept, (1100..1200).collect::<Vec<_>>());
    // A number is not given twice, whatever was forgotten.
    store.sum_up_uses().await.unwrap();
    while store.forget_events(u64::MAX).await.unwrap() {}
    store.add_events(&[event(0)]).await.unwrap();
    assert_eq!(all(store.as_ref()).await[0].number, 1201);
}

#[actix_web::test]
async fn the_server_forgets_by_itself_what_is_too_old() {
    let more = "audit_retention = '1h'";
    let server = Server::start_with(POLICY, more).await;
    server.token("bot", "notes").await;
    server.clock.advance(Duration::from_mins(59));
    server.token("single", "plain").await;
    server.auth.journal.settle().await.unwrap();
    server.clock.advance(Duration::from_mins(2));
    let deadline = Instant::now() + SOON;
    loop {
        let events = all(server.auth.store.as_ref()).await;
        let clients: Vec<_> = events
            .iter()
            .map(|e| text(e.event.client.as_ref()))
            .collect();
        assert!(clients.contains(&"single"), "{clients:?}");
        if !clients.contains(&"bot") {
            return;
        }
        assert!(Instant::now() < deadline, "{clients:?}");
    }
}

#[actix_web::test]
async fn events_outlive_the_server() {
    let server = Server::start().await;
    server.token("bot", "notes").await;
    let folder = server.stop().await;
    let server = Server::start_in(folder, ManualClock::at(NOW + 5)).await;
    let admin = Administrator::of(&server).await;
    let bot = "client_id=bot&action=token.issued";
    assert_eq!(admin.events(bot).await.len(), 1);
}
