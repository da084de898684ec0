//! Who may administer what: each endpoint has its scope, and nobody hands out rights that he does not hold.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, Answer, answer, secret, server_with, works},
    support::{NOW, Server},
};

/// May administer clients, resources and grants, and nothing besides.
const DEPUTY: &str = "
    [clients.deputy]
    [[grants]]
    client = 'deputy'
    resource = 'auth-provider'
    scopes = ['clients:read', 'clients:write', 'credentials:write', 'grants:read', 'grants:write',
              'resources:read', 'resources:write']
    ";

const CREDENTIAL: &str = "/clients/bot/credentials/AAAAAAAAAAAAAAAAAAAAAA";

/// Every endpoint, the scope that it demands, and a body that it understands.
const ENDPOINTS: &str = r#"
    GET     /clients                        clients:read
    POST    /clients                        clients:write       {"client_id": "bot"}
    GET     /clients/bot                    clients:read
    PATCH   /clients/bot                    clients:write       {}
    DELETE  /clients/unknown                clients:write
    GET     /clients/bot/credentials        clients:read
    POST    /clients/unknown/credentials    credentials:write   {}
    GET     CREDENTIAL                      clients:read
    PATCH   CREDENTIAL                      credentials:write   {}
    DELETE  CREDENTIAL                      credentials:write
    POST    CREDENTIAL/rotate               credentials:write   {}
    POST    CREDENTIAL/rotation             credentials:write   {}
    DELETE  CREDENTIAL/rotation             credentials:write
    POST    CREDENTIAL/rotation/finish      credentials:write
    POST    CREDENTIAL/compromised          credentials:write
    GET     /resources                      resources:read
    POST    /resources                      resources:write     {"resource": "notes"}
    GET     /resources/notes                resources:read
    PATCH   /resources/notes                resources:write     {}
    DELETE  /resources/notes                resources:write
    GET     /grants                         grants:read
    POST    /grants                         grants:write        {"client_id": "unknown", "resource": "notes"}
    GET     /grants/bot/notes               grants:read
    PATCH   /grants/bot/notes               grants:write        {}
    DELETE  /grants/bot/unknown             grants:write
    GET     /policy                         policy:read
    POST    /policy/plan                    policy:read
    POST    /policy/apply                   policy:write
    GET     /policy/graph                   policy:read
    POST    /explain                        grants:read         {"client_id": "bot"}
    GET     /audit                          audit:read
    GET     /keys                           keys:read
    POST    /keys/rotate                    keys:rotate         {"alg": "EdDSA"}
    POST    /keys/unknown/compromised       keys:rotate
    POST    /revocations                    tokens:revoke       {"client_id": "unknown"}
"#;

struct Endpoint {
    method: Method,
    path: String,
    scope: &'static str,
    /// Null for none.
    body: Value,
}

fn endpoints() -> impl Iterator<Item = Endpoint> {
    ENDPOINTS.trim().lines().map(|line| {
        let (head, body) = line.split_once('{').unwrap_or((line, ""));
        let head: Vec<&str> = head.split_whitespace().collect();
        Endpoint {
            method: head[0].parse().unwrap(),
            path: head[1].replace("CREDENTIAL", CREDENTIAL),
            scope: head[2],
            body: match body {
                "" => Value::Null,
                rest => serde_json::from_str(&format!("{{{rest}")).unwrap(),
            },
        }
    })
}

async fn send(admin: &Admin<'_>, method: &Method, path: &str, body: &Value) -> Answer {
    let request = admin.request(method.clone(), path).await;
    answer(if body.is_null() {
        request
    } else {
        request.json(body)
    })
    .await
}

#[actix_web::test]
async fn each_endpoint_demands_its_own_scope() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let all = admin.get("/grants/admin/auth-provider").await.is(200);
    let all: Vec<String> = serde_json::from_value(all["scopes"].clone()).unwrap();
    for endpoint in endpoints() {
        let Endpoint {
            method,
            path,
            scope,
            body,
        } = endpoint;
        let others: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .filter(|s| *s != scope)
            .collect();
        assert_eq!(others.len() + 1, all.len(), "{scope} is one of them");
        let without = Admin::named(&server, "admin", &others.join(" "));
        // It is refused before anything of it is read.
        for body in [&body, &json!({"nonsense": true})] {
            let refused = send(&without, &method, &path, body).await;
            assert_eq!(refused.status, 403, "{method} {path}");
            let challenge = refused.headers["www-authenticate"].to_str().unwrap();
            assert!(
                challenge.contains("error=\"insufficient_scope\""),
                "{challenge}"
            );
            assert!(
                challenge.contains(&format!("scope=\"{scope}\"")),
                "{challenge}"
            );
            assert_eq!(refused.body["error"], "insufficient_scope");
        }
        let only = Admin::named(&server, "admin", scope);
        let allowed = send(&only, &method, &path, &body).await;
        assert!(
            [200, 404, 409, 415].contains(&allowed.status),
            "{method} {path}: {allowed:?}"
        );

        let url = format!("{}/admin/v1{path}", server.url);
        for token in [
            None,
            Some("nonsense"),
            Some(&*server.token("bot", "notes").await),
        ] {
            let mut request = server.http.request(method.clone(), &url).json(&body);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let refused = answer(request).await;
            assert!(refused.headers.contains_key("www-authenticate"));
            refused.is(401);
        }
    }
}

#[actix_web::test]
async fn other_methods_are_told_which_there_are() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let methods = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY",
    ];
    for (path, allow) in [
        ("/clients", &["GET", "POST"][..]),
        ("/clients/bot", &["DELETE", "GET", "PATCH"]),
        ("/clients/bot/credentials", &["GET", "POST"]),
        (CREDENTIAL, &["DELETE", "GET", "PATCH"]),
        (&format!("{CREDENTIAL}/rotate"), &["POST"]),
        (&format!("{CREDENTIAL}/rotation"), &["DELETE", "POST"]),
        (&format!("{CREDENTIAL}/rotation/finish"), &["POST"]),
        (&format!("{CREDENTIAL}/compromised"), &["POST"]),
        ("/resources", &["GET", "POST"]),
        ("/resources/notes", &["DELETE", "GET", "PATCH"]),
        ("/grants", &["GET", "POST"]),
        ("/grants/bot/notes", &["DELETE", "GET", "PATCH"]),
        ("/audit", &["GET"]),
        ("/keys", &["GET"]),
        ("/keys/rotate", &["POST"]),
        ("/keys/unknown/compromised", &["POST"]),
        ("/revocations", &["POST"]),
    ] {
        for method in methods.iter().filter(|method| !allow.contains(method)) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let refused = answer(admin.request(method, path).await).await;
            let told = refused.headers["allow"].to_str().unwrap();
            let mut told: Vec<&str> = told.split(", ").collect();
            told.sort_unstable();
            assert_eq!(told, allow, "{path}");
            refused.refuses(405, None, "");
        }
    }
}

/// The path to the first credential of a client.
async fn credential(admin: &Admin<'_>, client: &str) -> String {
    let list = format!("/clients/{client}/credentials");
    let all = admin.get(&list).await.is(200);
    format!(
        "{list}/{}",
        all["credentials"][0]["credential_id"].as_str().unwrap()
    )
}

#[actix_web::test]
async fn nobody_gets_at_a_client_that_may_more() {
    let server = server_with(DEPUTY).await;
    let (admin, deputy) = (Admin::of(&server), Admin::named(&server, "deputy", ""));
    for (target, missing) in [
        ("admin", "keys:rotate"),
        ("root", "tokens:introspect tokens:revoke"),
    ] {
        let list = format!("/clients/{target}/credentials");
        let one = credential(&deputy, target).await;
        for (path, body) in [
            (list.clone(), json!({})),
            (format!("{one}/rotate"), json!({})),
            (format!("{one}/rotation"), json!({})),
        ] {
            deputy
                .post(&path, body.clone())
                .await
                .refuses(403, None, missing);
            let request = deputy.request(Method::POST, &path).await.json(&body);
            let again = answer(request.header("idempotency-key", "k")).await;
            again.refuses(403, None, missing);
        }
        for end in [json!(NOW + 1000), json!(0)] {
            let refused = deputy.patch(&one, json!({"expires_at": end})).await;
            refused.refuses(403, None, missing);
        }
        // A name is no right.
        deputy.patch(&one, json!({"label": "x"})).await.is(200);
        let made = admin.post(&list, json!({"expires_at": 1})).await.is(201);
        let ended = format!("{list}/{}", made["credential_id"].as_str().unwrap());
        for end in [json!(null), json!(NOW + 1000)] {
            let refused = deputy.patch(&ended, json!({"expires_at": end})).await;
            refused.refuses(403, None, missing);
        }
        assert!(!works(&server, target, &secret(&made)).await);
        // Taking away is not handing out.
        deputy.delete(&ended).await.is(204);
        let started = admin.post(&format!("{one}/rotation"), json!({})).await;
        started.is(201);
        deputy.delete(&format!("{one}/rotation")).await.is(204);
    }
    deputy
        .patch("/clients/root", json!({"status": "inactive"}))
        .await
        .is(200);
    for wish in [
        json!({"status": "active"}),
        json!({"status": "active", "name": "x"}),
    ] {
        let refused = deputy.patch("/clients/root", wish).await;
        refused.refuses(403, None, "tokens:introspect tokens:revoke");
    }
    deputy
        .patch("/clients/root", json!({"name": "still off"}))
        .await
        .is(200);
    admin
        .patch("/clients/root", json!({"status": "active"}))
        .await
        .is(200);
}

#[actix_web::test]
async fn nobody_grants_what_he_does_not_hold() {
    let server = server_with(DEPUTY).await;
    let (admin, deputy) = (Admin::of(&server), Admin::named(&server, "deputy", ""));
    let grant = |client: &str, scopes: &[&str]| json!({"client_id": client, "resource": "auth-provider", "scopes": scopes});
    for client in ["nobody", "deputy", "bot"] {
        for scopes in [&["audit:read"][..], &["clients:read", "keys:rotate"]] {
            let refused = deputy.post("/grants", grant(client, scopes)).await;
            refused.refuses(403, None, scopes.last().unwrap());
        }
    }
    let own = "/grants/deputy/auth-provider";
    let more = json!({"scopes": ["grants:write", "policy:write"]});
    deputy
        .patch(own, more)
        .await
        .refuses(403, None, "policy:write");
    for wish in [
        json!({"expires_at": NOW + 1_000_000}),
        json!({"scopes": ["tokens:revoke"]}),
        json!({"reason": "x"}),
    ] {
        let refused = deputy.patch("/grants/root/auth-provider", wish).await;
        refused.refuses(403, None, "tokens:revoke");
    }
    admin
        .patch("/grants/root/auth-provider", json!({"expires_at": NOW}))
        .await
        .is(200);
    let revived = deputy
        .patch("/grants/root/auth-provider", json!({"expires_at": null}))
        .await;
    revived.refuses(403, None, "tokens:introspect tokens:revoke");

    // What he holds he may hand on, but only with a token that has it.
    let some = ["clients:read", "grants:read"];
    deputy.post("/grants", grant("nobody", &some)).await.is(201);
    let narrow = Admin::named(
        &server,
        "deputy",
        "credentials:write grants:write clients:write",
    );
    let refused = narrow.post("/clients/nobody/credentials", json!({})).await;
    refused.refuses(403, None, "clients:read grants:read");
    narrow
        .post("/grants", grant("single", &some))
        .await
        .refuses(403, None, "clients:read");
    narrow
        .post("/grants", grant("single", &["clients:write"]))
        .await
        .is(201);
    let made = deputy
        .post("/clients/nobody/credentials", json!({}))
        .await
        .is(201);
    assert!(works(&server, "nobody", &secret(&made)).await);

    // Nor does he take it away, to put a secret of his own there until a policy file gives it back.
    let less = json!({"scopes": []});
    for (method, path, body) in [
        (Method::PATCH, "/grants/root/auth-provider", less),
        (Method::DELETE, "/grants/root/auth-provider", json!(null)),
        (Method::DELETE, "/clients/root", json!(null)),
    ] {
        let refused = send(&deputy, &method, path, &body).await;
        refused.refuses(403, None, "tokens:introspect tokens:revoke");
    }
    let refusals = admin.get("/audit?action=admin.refused&limit=1").await;
    let refusals = refusals.is(200);
    let last = &refusals["events"][0];
    assert_eq!(
        (&last["actor"], &last["reason"]),
        (&json!("deputy"), &json!("rights_not_held"))
    );
    deputy.delete("/grants/nobody/auth-provider").await.is(204);
    deputy.delete("/clients/nobody").await.is(204);
}

/// The same by the policy file: to apply it is one right, what it gives are others.
#[actix_web::test]
async fn a_policy_gives_and_takes_only_what_its_administrator_holds() {
    let more = DEPUTY.replace(
        "'clients:read'",
        "'policy:write', 'policy:read', 'clients:read'",
    );
    let server = server_with(&more).await;
    let (admin, deputy) = (Admin::of(&server), Admin::named(&server, "deputy", ""));
    let apply = async |policy: &str, prune: &str| {
        let path = format!("/policy/apply?prune={prune}");
        let request = deputy.request(Method::POST, &path).await;
        let request = request.header("content-type", "application/toml");
        answer(request.body(policy.to_owned())).await
    };
    let grant = |client: &str, scopes: &str| {
        format!(
            "[clients.{client}]\n[[grants]]\nclient = '{client}'\nresource = 'auth-provider'\n\
             scopes = [{scopes}]"
        )
    };
    apply(&grant("bot", "'audit:read'"), "false")
        .await
        .refuses(403, None, "audit:read");
    apply(&grant("root", ""), "false")
        .await
        .refuses(403, None, "tokens:revoke");
    apply("", "true").await.refuses(403, None, "tokens:revoke");
    let off = json!({"status": "inactive"});
    admin.patch("/clients/root", off).await.is(200);
    let on = "[clients.root]\nstatus = 'active'";
    apply(on, "false").await.refuses(403, None, "tokens:revoke");
    apply(&grant("bot", "'clients:read'"), "false")
        .await
        .is(200);
}

#[actix_web::test]
async fn ordinary_clients_are_the_deputys_to_administer() {
    let server = server_with(DEPUTY).await;
    let deputy = Admin::named(&server, "deputy", "");
    let first = deputy.reader("worker").await;
    let one = credential(&deputy, "worker").await;
    let made = deputy
        .post("/clients/worker/credentials", json!({}))
        .await
        .is(201);
    assert!(works(&server, "worker", &secret(&made)).await);
    let rotated = deputy
        .post(&format!("{one}/rotate"), json!({"grace": 5}))
        .await
        .is(201);
    assert!(works(&server, "worker", &secret(&rotated)).await);
    let started = deputy
        .post(&format!("{one}/rotation"), json!({}))
        .await
        .is(201);
    deputy
        .patch(&one, json!({"expires_at": null}))
        .await
        .is(200);
    assert!(works(&server, "worker", &first).await);
    deputy
        .post(&format!("{one}/rotation/finish"), json!({}))
        .await
        .is(200);
    assert!(works(&server, "worker", &secret(&started)).await);
    deputy
        .patch("/clients/worker", json!({"status": "inactive"}))
        .await
        .is(200);
    deputy
        .patch("/clients/worker", json!({"status": "active"}))
        .await
        .is(200);
    let wish = json!({"resource": "r", "scopes": {"s": ""}, "owner": "worker"});
    deputy.post("/resources", wish).await.is(201);
    let grant = json!({"client_id": "bot", "resource": "r", "scopes": ["s"]});
    deputy.post("/grants", grant).await.is(201);
    deputy
        .patch("/grants/bot/r", json!({"scopes": []}))
        .await
        .is(200);
    deputy.delete("/grants/bot/r").await.is(204);
    deputy.delete("/resources/r").await.is(204);
    deputy.delete("/clients/worker").await.is(204);
    // He is who he is in the log.
    let events = Admin::of(&server)
        .get("/audit?action=client.deleted")
        .await
        .is(200);
    assert_eq!(events["events"][0]["actor"], "deputy");
}
