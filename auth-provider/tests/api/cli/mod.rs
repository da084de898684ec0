//! The administrator's commands: the real program, and a provider that answers as the admin API does.

mod audit;
mod journey;
mod policy;
mod provider;
mod secrets;
mod terminal;

use std::{fs, process::Command};

use serde_json::{Value, json};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{header, method, path, query_param},
};

use provider::{LATER, Provider, Ran, body, client, credential, ran};

#[actix_web::test]
async fn a_list_has_all_pages_or_as_many_rows_as_are_wished() {
    let provider = Provider::start().await;
    let page = |rows: &[&str], next: Value| {
        let rows: Vec<_> = rows.iter().map(|id| client(id)).collect();
        ResponseTemplate::new(200).set_body_json(json!({"clients": rows, "next_cursor": next}))
    };
    Mock::given(path("/admin/v1/clients"))
        .and(query_param("cursor", "more"))
        .and(query_param("status", "active"))
        .respond_with(page(&["c"], Value::Null))
        .with_priority(1)
        .mount(&provider.server)
        .await;
    provider
        .answer("GET", "/clients", page(&["a", "b"], "more".into()))
        .await;

    let text = provider
        .run(&["client", "list", "--status", "active"])
        .done();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "CLIENT  STATUS  LAST USED  NAME");
    assert_eq!(lines[3], "c       active  never      Name of c");

    let arguments = ["client", "list", "--status=active", "--json"];
    let all: Value = serde_json::from_str(&provider.run(&arguments).done()).unwrap();
    assert_eq!(all, json!([client("a"), client("b"), client("c")]));

    let one = provider.run(&["client", "list", "--limit=1", "--json"]);
    let one: Value = serde_json::from_str(&one.done()).unwrap();
    assert_eq!(one, json!([client("a")]));
    let requests = provider.server.received_requests().await.unwrap();
    assert_eq!(requests.last().unwrap().url.query(), Some("limit=1"));
}

#[actix_web::test]
async fn a_refusal_is_one_line_that_says_how_to_mend_it() {
    let provider = Provider::start().await;
    let problem = |status: u16, detail: &str| json!({"status": status, "title": "", "detail": detail, "field": "name"});
    provider
        .on(
            "GET",
            "/clients/bad",
            400,
            problem(400, "the name\u{1b}[2J is too long."),
        )
        .await;
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "7");
    let busy = busy.set_body_json(json!({"detail": "too many requests"}));
    provider.answer("GET", "/clients/busy", busy).await;
    let html = ResponseTemplate::new(404).set_body_string("<html>");
    provider.answer("GET", "/clients/web", html).await;
    let cut = ResponseTemplate::new(200).set_body_json(json!({"client_id": "cut"}));
    provider.answer("GET", "/clients/cut", cut).await;

    for (id, part) in [
        (
            "bad",
            "the provider refused: the name [2J is too long (field `name`)\n",
        ),
        ("busy", "too many requests: try again in 7 s\n"),
        ("web", "does not answer as an auth-provider does"),
        ("cut", "does not answer as an auth-provider does"),
    ] {
        let ran = provider.run(&["client", "show", id]);
        ran.failed(1, part);
    }

    let token =
        json!({"error": "invalid_client", "error_description": "client authentication failed"});
    let refused = ResponseTemplate::new(401).set_body_json(token);
    Mock::given(path("/auth/oauth/token"))
        .respond_with(refused)
        .with_priority(1)
        .mount(&provider.server)
        .await;
    let ran = provider.run(&["client", "list", "--as", "other"]);
    ran.failed(1, "client authentication failed");
    ran.failed(1, "those of `other` of clients.json");
    assert!(!ran.err.contains("of-other"), "{}", ran.err);

    let mut nobody = Command::new(env!("CARGO_BIN_EXE_auth-provider"));
    nobody.current_dir(provider.folder.path());
    nobody.args(["client", "list", "--url", "http://127.0.0.1:1"]);
    ran_failed_once(nobody, "no answer from http://127.0.0.1:1/");
}

#[track_caller]
fn ran_failed_once(command: Command, part: &str) {
    let ran = ran(command);
    ran.failed(1, part);
    ran.failed(1, "--url");
    let (first, rest) = ran.err.split_at(ran.err.len() / 2);
    assert!(!first.contains(part) || !rest.contains(part), "said twice");
}

#[actix_web::test]
async fn what_is_typed_wrongly_asks_nobody() {
    let provider = Provider::start().await;
    for (arguments, part) in [
        (&["client", "delete", "m3"][..], "say --yes"),
        (&["client", "deactivate", "m3"], "say --yes"),
        (&["resource", "delete", "r"], "say --yes"),
        (
            &["grant", "delete", "--client=a", "--resource=b"],
            "say --yes",
        ),
        (&["key", "compromised", "k"], "say --yes"),
        (&["credential", "delete", "m3", "c"], "say --yes"),
        (&["credential", "finish", "m3"], "say --yes"),
        (&["credential", "cancel", "m3"], "say --yes"),
        (&["credential", "compromised", "m3", "c"], "say --yes"),
        (
            &["credential", "rotate", "m3", "--grace=0", "--print-secret"],
            "say --yes",
        ),
        (&["client", "create", "m3"], "--secret-file"),
        (&["credential", "create", "m3"], "--print-secret"),
        (&["client", "bootstrap", "m3"], "--secret-file"),
        (&["credential", "rotate", "m3"], "--secret-file"),
        (&["credential", "start", "m3"], "--secret-file"),
        (
            &["client", "create", "m3", "--secret-file=clients.json"],
            "clients.json is there already",
        ),
        (&["client", "update", "m3"], "say what to change"),
        (&["client", "show", ".."], "`..` is no id or name"),
        (&["client", "show", ""], "`` is no id or name"),
    ] {
        let ran = provider.run(arguments);
        ran.failed(2, part);
    }
    let mut half = provider.command(&["client", "list"]);
    half.env("AUTH_PROVIDER_CLIENT_ID", "robot");
    ran(half).failed(2, "set both");
    let mut far = Command::new(env!("CARGO_BIN_EXE_auth-provider"));
    far.current_dir(provider.folder.path());
    far.args(["client", "list", "--url", "http://auth.example.com"]);
    ran(far).failed(2, "use https");
    assert!(
        provider
            .server
            .received_requests()
            .await
            .unwrap()
            .is_empty()
    );
    for (arguments, part) in [
        (&["credential", "rotate", "m3", "--grace=soon"][..], "90d"),
        (&["audit", "--since=tomorrow"], "2h"),
        (
            &[
                "grant",
                "create",
                "--client=a",
                "--resource=b",
                "--expires-at=x",
            ],
            "in 30d",
        ),
    ] {
        let ran = provider.run(arguments);
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains(part), "{}", ran.err);
    }
}

#[actix_web::test]
async fn the_credentials_can_come_from_the_environment() {
    let provider = Provider::start().await;
    let list = json!({"clients": [], "next_cursor": null});
    provider.on("GET", "/clients", 200, list).await;
    for (arguments, id) in [
        (&["client", "list"][..], "robot:of-robot"),
        (&["client", "list", "--as=other"], "other:of-other"),
    ] {
        let mut command = provider.command(arguments);
        command.env("AUTH_PROVIDER_CLIENT_ID", "robot");
        command.env("AUTH_PROVIDER_CLIENT_SECRET", "of-robot");
        ran(command).done();
        let requests = provider.server.received_requests().await.unwrap();
        let asked = requests.iter().rfind(|it| it.url.path().ends_with("token"));
        let basic = &asked.unwrap().headers["authorization"];
        let decoded = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            basic.to_str().unwrap().trim_start_matches("Basic "),
        );
        assert_eq!(decoded.unwrap(), id.as_bytes());
    }
}

#[actix_web::test]
async fn each_thing_is_changed_as_it_was_said() {
    let provider = Provider::start().await;
    provider.on("PATCH", "/clients/m3", 200, client("m3")).await;
    let resource = json!({
        "resource": "https://a.example/x", "name": "", "scopes": {"read": "Read"}, "owner": null,
        "token_format": "jwt", "token_profile": "standard", "metadata_claims": [], "signing_alg": "ES256", "token_lifetime": 900, "built_in": false,
    });
    provider
        .on("POST", "/resources", 201, resource.clone())
        .await;
    let at = "/resources/https%3A%2F%2Fa%2Eexample%2Fx";
    provider.on("PATCH", at, 200, resource).await;
    let grant = json!({
        "client_id": "m3", "resource": "m2", "scopes": ["a", "b"], "token_lifetime": null,
        "expires_at": LATER, "reason": "",
    });
    provider.on("POST", "/grants", 201, grant.clone()).await;
    let seen = ResponseTemplate::new(200).insert_header("ETag", "\"v1\"");
    let seen = seen.set_body_json(&grant);
    provider.answer("GET", "/grants/m3/m2", seen).await;
    provider.on("PATCH", "/grants/m3/m2", 200, grant).await;
    let one = credential("-hQ3", &json!({}));
    provider
        .on("PATCH", "/clients/m3/credentials/%2DhQ3", 200, one)
        .await;

    let uri = "https://a.example/x";
    for (arguments, expected) in [
        (
            &[
                "client",
                "update",
                "m3",
                "--name=N",
                "--metadata=k=v=w",
                "--remove-metadata=old",
            ][..],
            json!({"name": "N", "metadata": {"k": "v=w", "old": null}}),
        ),
        (&["client", "activate", "m3"], json!({"status": "active"})),
        (
            &["client", "deactivate", "m3", "--yes"],
            json!({"status": "inactive"}),
        ),
        (
            &[
                "resource",
                "create",
                uri,
                "--scope=read=Read",
                "--scope=go",
                "--token-lifetime=15m",
            ],
            json!({"resource": uri, "scopes": {"read": "Read", "go": ""}, "token_lifetime": 900}),
        ),
        (
            &["resource", "update", uri, "--remove-scope=go", "--no-owner"],
            json!({"scopes": {"go": null}, "owner": null}),
        ),
        (
            &[
                "resource",
                "update",
                uri,
                "--token-profile=stytch",
                "--metadata-claim=team",
                "--metadata-claim=plan",
            ],
            json!({"token_profile": "stytch", "metadata_claims": ["team", "plan"]}),
        ),
        (
            &["resource", "update", uri, "--no-metadata-claims"],
            json!({"metadata_claims": []}),
        ),
        (
            &[
                "grant",
                "create",
                "--client=m3",
                "--resource=m2",
                "--scope=a",
                "--scope=b",
                "--expires-at=2100-01-01T00:00:00Z",
                "--lifetime=15m",
                "--reason=R",
            ],
            json!({"client_id": "m3", "resource": "m2", "scopes": ["a", "b"], "expires_at": LATER,
                   "token_lifetime": 900, "reason": "R"}),
        ),
        (
            &[
                "grant",
                "update",
                "--client=m3",
                "--resource=m2",
                "--never-expires",
                "--default-lifetime",
            ],
            json!({"expires_at": null, "token_lifetime": null}),
        ),
        (
            &[
                "grant",
                "update",
                "--client=m3",
                "--resource=m2",
                "--add-scope=c",
                "--remove-scope=a",
            ],
            json!({"scopes": ["b", "c"]}),
        ),
        (
            &[
                "credential",
                "update",
                "m3",
                "-hQ3",
                "--label=L",
                "--never-expires",
            ],
            json!({"label": "L", "expires_at": null}),
        ),
    ] {
        provider.run(arguments).done();
        let change = provider.changes().await.pop().unwrap();
        assert_eq!(body(&change), expected, "{arguments:?}");
        let is_read_first = expected == json!({"scopes": ["b", "c"]});
        assert_eq!(change.headers.contains_key("if-match"), is_read_first);
        let is_created = arguments[1] == "create";
        assert_eq!(change.headers.contains_key("idempotency-key"), is_created);
    }
    let told = provider.run(&["grant", "show", "--client=m3", "--resource=m2"]);
    assert!(
        told.done()
            .contains("expires         2100-01-01T00:00:00Z (in ")
    );
}

#[actix_web::test]
async fn an_explanation_says_no_with_the_exit_status() {
    let provider = Provider::start().await;
    let no = json!({
        "allowed": false, "code": "invalid_target", "grant": null,
        "explanation": "m3 has no grant for m2",
    });
    provider.on("POST", "/explain", 200, no.clone()).await;
    let explain = [
        "explain",
        "--client=m3",
        "--resource=m2",
        "--scope=a",
        "--scope=b",
    ];
    let Ran { code, out, .. } = provider.run(&explain);
    assert_eq!(code, Some(4));
    assert_eq!(
        out,
        "Not allowed (invalid_target): m3 has no grant for m2\n"
    );
    let asked = body(&provider.changes().await[0]);
    assert_eq!(
        asked,
        json!({"client_id": "m3", "resource": "m2", "scope": "a b"})
    );
    let Ran { code, out, .. } = provider.run(&["explain", "--client=m3", "--json"]);
    assert_eq!(code, Some(4));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), no);
}

#[actix_web::test]
async fn a_policy_is_planned_applied_and_exported() {
    let provider = Provider::start().await;
    let change = json!({"op": "remove", "kind": "client", "name": "m4", "fields": []});
    let plan = json!({"changes": [change], "add": 0, "change": 0, "remove": 1});
    let none = json!({"changes": [], "add": 0, "change": 0, "remove": 0});
    for (verb, prune, answer) in [
        ("plan", "true", &plan),
        ("plan", "false", &none),
        ("apply", "true", &plan),
        ("apply", "false", &none),
    ] {
        Mock::given(method("POST"))
            .and(path(format!("/admin/v1/policy/{verb}")))
            .and(query_param("prune", prune))
            .and(header("content-type", "application/toml"))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount(&provider.server)
            .await;
    }
    fs::write(provider.at("p.toml"), "[clients.m3]").unwrap();
    let run = |arguments: &[&str]| provider.run(&[&["policy"], arguments].concat());
    let plan_it = ["plan", "p.toml", "--prune", "--json"];
    assert_eq!(
        serde_json::from_str::<Value>(&run(&plan_it).done()).unwrap(),
        plan
    );
    assert_eq!(run(&["plan", "p.toml", "--prune", "--check"]).code, Some(3));
    run(&["plan", "p.toml", "--check"]).done();
    run(&["plan", "nowhere.toml"]).failed(1, "cannot read nowhere.toml");

    run(&["apply", "p.toml", "--prune"]).failed(2, "say --yes");
    let applied = async || {
        let changes = provider.changes().await;
        let applied = changes
            .into_iter()
            .filter(|it| it.url.path().ends_with("apply"));
        applied.map(|it| it.body).collect::<Vec<_>>()
    };
    assert!(applied().await.is_empty());
    run(&["apply", "p.toml", "--prune", "--yes"]).done();
    let mut piped = provider.command(&["policy", "apply", "-"]);
    piped.stdin(fs::File::open(provider.at("p.toml")).unwrap());
    ran(piped).done();
    assert_eq!(applied().await, [b"[clients.m3]", b"[clients.m3]"]);

    let toml = ResponseTemplate::new(200).set_body_string("[clients.m4]\n");
    provider.answer("GET", "/policy", toml).await;
    assert_eq!(run(&["export", "-"]).done(), "[clients.m4]\n");
    run(&["export", "p.toml"]).failed(2, "p.toml is there already");
    run(&["export", "new.toml"]).done();
    run(&["export", "p.toml", "--force"]).done();
    for file in ["p.toml", "new.toml"] {
        assert_eq!(
            fs::read_to_string(provider.at(file)).unwrap(),
            "[clients.m4]\n"
        );
    }
    let left: Vec<_> = fs::read_dir(provider.folder.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");

    let arrow = json!({"client_id": "m3", "resource": "m2", "scopes": ["a"]});
    let graph = json!({"clients": ["m3"], "resources": ["m2"], "grants": [arrow]});
    provider.on("GET", "/policy/graph", 200, graph).await;
    for format in ["matrix", "graph", "mermaid", "dot"] {
        let told = run(&["show", "--format", format]).done();
        assert!(told.contains("m3") && told.contains("m2"), "{told}");
    }
}

#[test]
fn each_command_says_its_exit_statuses_and_hides_the_settings_of_the_server() {
    for arguments in [
        &["client"][..],
        &["credential", "rotate"],
        &["audit"],
        &["policy", "plan"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auth-provider"));
        command.args(arguments).arg("--help");
        let help = ran(command).done();
        assert!(help.contains("Exit status:\n"), "{help}");
        assert!(help.contains("--clients-file"), "{help}");
        assert!(!help.contains("--database-url"), "{help}");
    }
}
