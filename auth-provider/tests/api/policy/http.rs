//! The policy as administrators use it: planned, applied and shown over HTTP.

use auth_provider::{
    built_in::{ADMIN, AUDIENCE},
    policy_file::Policy,
    policy_plan::plan,
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{POLICY, Server, json};

const TOML: Option<&str> = Some("application/toml");
const PLAN: &str = "/admin/v1/policy/plan";
const APPLY: &str = "/admin/v1/policy/apply";

/// `bot` may read and write the policy, and see the keys; `single` may only read it.
const RIGHTS: &str = "
    [[grants]]
    client = 'bot'
    resource = 'auth-provider'
    scopes = ['policy:read', 'policy:write', 'keys:read']
    [[grants]]
    client = 'single'
    resource = 'auth-provider'
    scopes = ['policy:read']
    ";

async fn start() -> Server {
    Server::start_with(&format!("{POLICY}{RIGHTS}"), "").await
}

async fn send(
    server: &Server,
    client: &str,
    path: &str,
    content_type: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Response {
    let mut request = server.post(path).body(body);
    if !client.is_empty() {
        request = request.bearer_auth(server.token(client, AUDIENCE).await);
    }
    if let Some(kind) = content_type {
        request = request.header("Content-Type", kind);
    }
    request.send().await.unwrap()
}

/// What is done with a file that is good.
async fn done(server: &Server, path: &str, file: &str) -> Value {
    let answer = send(server, ADMIN, path, TOML, file.to_owned()).await;
    let status = answer.status();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body = json(answer).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn export(server: &Server) -> Policy {
    let request = server.get("/admin/v1/policy");
    let token = server.token(ADMIN, AUDIENCE).await;
    let answer = request.bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/toml");
    Policy::parse(&answer.text().await.unwrap()).unwrap()
}

#[actix_web::test]
async fn a_file_that_is_not_right_is_refused_and_changes_nothing() {
    const MIB: usize = 1024 * 1024;
    let server = start().await;
    let before = export(&server).await;
    let dangling = "[clients.c]\n[resources.r]\n[[grants]]\nclient = 'c'\nresource = 'gone'";
    let scope =
        "[clients.c]\n[resources.r]\n[[grants]]\nclient = 'c'\nresource = 'r'\nscopes = ['s']";
    let large = vec![b'#'; 4 * MIB + 1];
    let good = b"[clients.new]".as_slice();
    for path in [PLAN, APPLY] {
        for (query, kind, body, status, part, field) in [
            ("", None, good, 415, "Content-Type: application/toml", None),
            (
                "",
                Some("application/json"),
                good,
                415,
                "application/toml",
                None,
            ),
            ("", Some("text/plain"), good, 415, "application/toml", None),
            (
                "?prune=yes",
                TOML,
                good,
                400,
                "true or false",
                Some("prune"),
            ),
            ("?prune=", TOML, good, 400, "true or false", Some("prune")),
            ("?prune=true&prune=true", TOML, good, 400, "once", None),
            ("?purge=true", TOML, good, 400, "`prune` only", None),
            (
                "",
                TOML,
                b"\n[client.new]",
                400,
                "line 2: unknown field",
                None,
            ),
            ("", TOML, b"[clients", 400, "line 1: ", None),
            ("", TOML, b"# \xff", 400, "not UTF-8", None),
            (
                "",
                TOML,
                dangling.as_bytes(),
                400,
                "no [resources.gone]",
                None,
            ),
            ("", TOML, scope.as_bytes(), 400, "r has no scope `s`", None),
            ("", TOML, b"[clients.admin]", 400, "is built in", None),
            ("", TOML, &large, 413, "", None),
        ] {
            let row = format!("{path}{query} {kind:?} {status} {part}");
            let path = format!("{path}{query}");
            let answer = send(&server, ADMIN, &path, kind, body.to_vec()).await;
            assert_eq!(answer.status().as_u16(), status, "{row}");
            let kind = &answer.headers()["content-type"];
            assert_eq!(kind, "application/problem+json", "{row}");
            let problem = json(answer).await;
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(part), "{row}: {problem}");
            assert_eq!(problem["field"].as_str(), field, "{row}: {problem}");
        }
    }
    for (client, path, status) in [
        ("", PLAN, 401),
        ("", APPLY, 401),
        ("single", APPLY, 403),
        ("single", PLAN, 200),
        ("bot", PLAN, 200),
    ] {
        let answer = send(&server, client, path, TOML, good).await;
        assert_eq!(answer.status().as_u16(), status, "{client} {path}");
    }
    assert_eq!(export(&server).await, before);

    // The largest file, and the type with a parameter.
    let mut largest = vec![b'#'; 4 * MIB];
    largest[..14].copy_from_slice(b"[clients.new]\n");
    let kind = Some("application/toml; charset=utf-8");
    let answer = send(&server, ADMIN, APPLY, kind, largest).await;
    assert_eq!(json(answer).await["add"], 1);
}

#[actix_web::test]
async fn nobody_hands_out_more_than_he_holds_by_a_file() {
    let server = start().await;
    let before = export(&server).await;
    let grant = |client: &str, scopes: &str, more: &str| {
        format!(
            "[clients.x]\n[clients.{client}]\n[[grants]]\nclient = '{client}'\nresource = 'auth-provider'\n\
             scopes = [{scopes}]\n{more}"
        )
    };
    for (file, missing) in [
        (grant("nobody", "'keys:rotate'", ""), "keys:rotate"),
        (
            grant("bot", "'policy:read', 'policy:write', 'keys:rotate'", ""),
            "keys:rotate",
        ),
        (
            grant("single", "'policy:read', 'clients:write'", ""),
            "clients:write",
        ),
        (grant("new", "'keys:read', 'audit:read'", ""), "audit:read"),
    ] {
        let answer = send(&server, "bot", APPLY, TOML, file.clone()).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{file}");
        let problem = json(answer).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!(": {missing}")), "{problem}");
        assert_eq!(export(&server).await, before, "{file}");
    }
    let own = grant("nobody", "'keys:read'", "reason = 'as bot'");
    let answer = send(&server, "bot", APPLY, TOML, own).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(export(&server).await.grants.len(), before.grants.len() + 1);
}

#[actix_web::test]
async fn a_plan_shows_what_apply_does() {
    let server = start().await;
    let before = export(&server).await;
    // `single` calls nothing any more, `plain` is gone, and `courier` is new to the notes.
    let mut wanted = before.clone();
    wanted
        .grants
        .retain(|(client, _), _| client.as_str() != "single");
    wanted.resources.retain(|id, _| id.as_str() != "plain");
    let file = wanted.to_toml().replace("Read notes", "Read all notes")
        + "[[grants]]\nclient = 'courier'\nresource = 'notes'\nscopes = ['note.read']\ntoken_lifetime = '5m'\n";
    let path = |path: &str, prune: bool| format!("{path}?prune={prune}");

    let planned = done(&server, &path(PLAN, true), &file).await;
    let told: Vec<_> = planned["changes"].as_array().unwrap().iter().collect();
    let names: Vec<_> = told
        .iter()
        .map(|change| {
            let part = |name: &str| change[name].as_str().unwrap();
            format!("{} {} {}", part("op"), part("kind"), part("name"))
        })
        .collect();
    assert_eq!(
        names,
        [
            "add grant courier -> notes",
            "change resource notes",
            "remove grant single -> auth-provider",
            "remove grant single -> plain",
            "remove resource plain",
        ]
    );
    let counts = ["add", "change", "remove"].map(|name| planned[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 3]);
    let fields = told[0]["fields"].as_array().unwrap();
    let life = json!({"name": "token_lifetime", "before": null, "after": "5m"});
    assert!(fields.contains(&life), "{fields:?}");
    let words = &told[1]["fields"][0];
    assert!(
        words["before"].as_str().unwrap().contains("Read notes"),
        "{words}"
    );
    assert!(
        words["after"].as_str().unwrap().contains("Read all notes"),
        "{words}"
    );
    assert_eq!(export(&server).await, before, "a plan changes nothing");

    let kept = done(&server, &path(PLAN, false), &file).await;
    assert_eq!(kept["remove"], 0);
    assert_eq!(
        done(&server, PLAN, &file).await,
        kept,
        "removing has to be asked for"
    );

    assert_eq!(done(&server, &path(APPLY, true), &file).await, planned);
    let after = Policy::parse(&file).unwrap();
    assert!(plan(&export(&server).await, &after, true).is_empty());
    let again = done(&server, &path(APPLY, true), &file).await;
    assert_eq!(
        again,
        json!({"changes": [], "add": 0, "change": 0, "remove": 0})
    );
}

#[actix_web::test]
async fn who_was_deactivated_stays_so_until_a_file_says_otherwise() {
    let server = start().await;
    let token = server.token(ADMIN, AUDIENCE).await;
    let url = format!("{}/admin/v1/clients/bot", server.url);
    let request = server.http.patch(&url).bearer_auth(&token);
    let answer = request.json(&json!({"status": "inactive"})).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);

    let file = format!("{POLICY}{RIGHTS}");
    assert_eq!(done(&server, APPLY, &file).await["changes"], json!([]));
    let form = [("resource", "notes")];
    assert_eq!(
        server.ask("bot", &form).await.status(),
        StatusCode::UNAUTHORIZED
    );

    let file = file.replace("[clients.bot]", "[clients.bot]\nstatus = 'active'");
    assert_eq!(done(&server, APPLY, &file).await["change"], 1);
    assert_eq!(server.ask("bot", &form).await.status(), StatusCode::OK);
}

#[actix_web::test]
async fn the_graph_has_its_names_and_arrows() {
    let server = start().await;
    let request = server.get("/admin/v1/policy/graph");
    let token = server.token("single", AUDIENCE).await;
    let graph = json(request.bearer_auth(token).send().await.unwrap()).await;
    let clients = graph["clients"].as_array().unwrap();
    assert!(clients.contains(&json!("nobody")) && clients.contains(&json!(ADMIN)));
    let resources = graph["resources"].as_array().unwrap();
    assert!(resources.contains(&json!("secret-lab")) && resources.contains(&json!(AUDIENCE)));
    let grants = graph["grants"].as_array().unwrap();
    assert_eq!(grants.len(), export(&server).await.grants.len());
    let arrow = json!({
        "client_id": "bot", "resource": "notes", "scopes": ["note.read", "note.write"],
    });
    assert!(grants.contains(&arrow), "{grants:?}");
}

/// The database refuses the last of the steps.
#[actix_web::test]
async fn a_file_that_fails_at_its_last_step_leaves_nothing() {
    let server = start().await;
    let file = server.folder.path().join("data/auth-provider.db");
    let options = SqliteConnectOptions::new().filename(&file);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON client_grant WHEN NEW.client_id = 'z'
                  BEGIN SELECT RAISE(ABORT, 'no'); END";
    database.execute(refuse).await.unwrap();

    let before = export(&server).await;
    let wanted = "[clients.a]\n[clients.z]\n[resources.r]\n\
                  [[grants]]\nclient = 'a'\nresource = 'r'\n[[grants]]\nclient = 'z'\nresource = 'r'";
    let planned = done(&server, PLAN, wanted).await;
    let last = planned["changes"].as_array().unwrap().last().unwrap();
    assert_eq!(last["name"], "z -> r");
    let answer = send(&server, ADMIN, APPLY, TOML, wanted).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(export(&server).await, before);
    assert_eq!(
        applied(&server).await,
        0,
        "the audit log tells of nothing, either"
    );

    database.execute("DROP TRIGGER refuse").await.unwrap();
    assert_eq!(done(&server, APPLY, wanted).await, planned);
    assert_eq!(applied(&server).await, 1);
}

/// How many policies the audit log says an administrator applied.
async fn applied(server: &Server) -> usize {
    let path = "/admin/v1/audit?action=policy.applied";
    let token = server.token(ADMIN, AUDIENCE).await;
    let answer = server.get(path).bearer_auth(token).send().await.unwrap();
    let events = json(answer).await;
    let events = events["events"].as_array().unwrap().iter();
    events.filter(|event| event["actor"] == ADMIN).count()
}
