//! Projects: who administers one, and which clients.

use std::time::Duration;

use auth_provider::{
    address::CallerAddress,
    client::{ClientId, ClientStatus},
    error::OAuthError,
    projects::{
        self, ManagedClient, NewClient, Operand, Operator, Project, Search, Update, WithSecret,
    },
    registry::{
        clients::ClientChange,
        commit::Refusal,
        values::{Metadata, MetadataChange},
    },
};
use serde_json::{Value, json};

use crate::{
    administration::{Admin, works},
    support::{NOW, Server, json},
};

const POLICY: &str = r#"
    [resources.one]
    owner = "owner"
    token_profile = "stytch"
    scopes = { read = "Read" }
    [resources.two]
    owner = "owner"
    token_profile = "stytch"
    [resources.standard]
    owner = "owner"
    [resources.orphan]
    token_profile = "stytch"
    [clients.owner]
    [clients.other]
"#;

async fn start() -> Server {
    Server::start_with(POLICY, "").await
}

fn here() -> CallerAddress {
    CallerAddress::parse("192.0.2.1").unwrap()
}

async fn entered(server: &Server, id: &str, secret: &str) -> Result<Project, OAuthError> {
    projects::authenticate(&server.auth, here(), id, secret).await
}

async fn project(server: &Server, id: &str) -> Project {
    entered(server, id, &server.secret("owner")).await.unwrap()
}

fn wish(id: &str, scopes: &str) -> NewClient {
    NewClient {
        id: Some(ClientId::parse(id).unwrap()),
        scopes: scopes.parse().unwrap(),
        ..NewClient::default()
    }
}

async fn make(server: &Server, project: &Project, id: &str, scopes: &str) -> WithSecret {
    projects::create(&server.auth, project, wish(id, scopes))
        .await
        .unwrap()
}

/// A token for the project, with the scopes that it was given.
async fn token(server: &Server, project: &Project, made: &WithSecret) -> (String, Value) {
    let (id, secret) = (made.client.id.as_str(), made.secret.expose());
    let request = server.post("/oauth/token").basic_auth(id, Some(secret));
    let form = [("grant_type", "client_credentials")];
    let answer = request.form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", project.id());
    let answer = json(answer).await;
    (
        answer["access_token"].as_str().unwrap().to_owned(),
        answer["scope"].clone(),
    )
}

#[actix_web::test]
async fn a_project_is_entered_with_a_secret_of_its_owner_and_with_nothing_else() {
    let server = start().await;
    let right = server.secret("owner");
    let other = server.secret("other");
    let entered_one = entered(&server, "one", &right).await.unwrap();
    assert_eq!(
        (entered_one.id().as_str(), entered_one.owner().as_str()),
        ("one", "owner")
    );
    assert_eq!(
        entered_one.origin().actor.as_ref(),
        Some(entered_one.owner())
    );
    for (id, secret) in [
        ("one", other.as_str()),
        ("one", ""),
        ("one", "owner"),
        ("unknown", &right),
        ("", &right),
        ("a b\0", &right),
        ("owner", &right),
        ("standard", &right),
        ("orphan", &right),
        ("auth-provider", &right),
    ] {
        let refused = entered(&server, id, secret).await.err().unwrap();
        assert!(refused.is_failed_authentication(), "{id}: {refused}");
        assert!(
            refused
                .to_string()
                .contains("check the client id and secret"),
            "{id}: {refused}"
        );
    }
    let admin = Admin::of(&server);
    let inactive = json!({"status": "inactive"});
    admin.patch("/clients/owner", inactive).await.is(200);
    assert!(entered(&server, "one", &right).await.is_err());
}

#[actix_web::test]
async fn a_client_is_made_for_the_project_at_once() {
    let server = start().await;
    let project = project(&server, "one").await;
    let made = projects::create(
        &server.auth,
        &project,
        NewClient {
            name: Some("Worker".to_owned().try_into().unwrap()),
            description: Some("works".to_owned().try_into().unwrap()),
            metadata: Metadata([("team".to_owned(), json!({"a": [1]}))].into()),
            ..wish("worker", "read fly:high")
        },
    );
    let made = made.await.unwrap();
    let secret = made.secret.expose();
    let expected = ManagedClient {
        id: ClientId::parse("worker").unwrap(),
        name: "Worker".to_owned(),
        description: "works".to_owned(),
        status: ClientStatus::Active,
        scopes: "fly:high read".parse().unwrap(),
        metadata: [("team".to_owned(), json!({"a": [1]}))].into(),
        last_four: secret[secret.len() - 4..].to_owned(),
        next_last_four: None,
    };
    assert_eq!(made.client, expected);
    let found = projects::get(&server.auth, &project, "worker")
        .await
        .unwrap();
    assert_eq!(found, expected);
    assert_eq!(token(&server, &project, &made).await.1, "fly:high read");

    let admin = Admin::of(&server);
    let seen = admin.get("/clients/worker").await.is(200);
    assert_eq!(
        (&seen["managed_by"], &seen["metadata"]),
        (&json!("one"), &json!({"team": {"a": [1]}}))
    );
    let scopes = &admin.get("/resources/one").await.is(200)["scopes"];
    assert_eq!(scopes, &json!({"read": "Read", "fly:high": ""}));
    let events = admin.get("/audit?client_id=worker").await.is(200);
    let actions: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .filter(|event| event["actor"] == "owner")
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["client.created", "credential.created", "grant.created"]
    );
}

#[actix_web::test]
async fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
    let server = start().await;
    let project = project(&server, "one").await;
    make(&server, &project, "worker", "").await;
    let many: Vec<String> = (0..101).map(|number| format!("s{number}")).collect();
    let large: Vec<String> = (0..9).map(|_| "x".repeat(500)).collect();
    for (wish, field) in [
        (wish("worker", ""), "client_id"),
        (wish("owner", ""), "client_id"),
        (wish("admin", ""), "client_id"),
        (wish("new", &many.join(" ")), "scopes"),
        (wish("new", &"x".repeat(129)), "scopes"),
        (
            NewClient {
                metadata: Metadata([("a".to_owned(), json!(large))].into()),
                ..wish("new", "")
            },
            "metadata",
        ),
    ] {
        let refused = projects::create(&server.auth, &project, wish)
            .await
            .unwrap_err();
        match refused {
            Refusal::Conflict { field: of, .. } => assert_eq!(of, Some(field)),
            Refusal::TooMuch { field: of, .. } => assert_eq!(of, field),
            other => panic!("{field}: {other}"),
        }
    }
    let admin = Admin::of(&server);
    admin.get("/clients/new").await.refuses(404, None, "");
    assert_eq!(
        admin.get("/resources/one").await.is(200)["scopes"],
        json!({"read": "Read"})
    );
}

#[actix_web::test]
async fn nobody_touches_the_clients_of_others() {
    let server = start().await;
    let (one, two) = (project(&server, "one").await, project(&server, "two").await);
    make(&server, &two, "theirs", "").await;
    let auth = &server.auth;
    for id in [
        "theirs", "owner", "other", "admin", "unknown", "", "..", "a b\0",
    ] {
        let update = Update::default();
        for refused in [
            projects::get(auth, &one, id).await.map(drop),
            projects::update(auth, &one, id, &update).await.map(drop),
            projects::remove(auth, &one, id).await.map(drop),
            projects::start_rotation(auth, &one, id).await.map(drop),
            projects::finish_rotation(auth, &one, id).await.map(drop),
            projects::cancel_rotation(auth, &one, id).await.map(drop),
        ] {
            assert!(
                matches!(refused, Err(Refusal::NotFound { .. })),
                "{id}: {refused:?}"
            );
        }
    }
    let all = projects::search(auth, &one, &Search::default())
        .await
        .unwrap();
    assert_eq!((all.clients, all.total, all.next), (vec![], 0, None));

    // A client that was given rights over the server is not the project's to take over.
    let admin = Admin::of(&server);
    let mighty =
        json!({"client_id": "theirs", "resource": "auth-provider", "scopes": ["clients:write"]});
    admin.post("/grants", mighty).await.is(201);
    let renamed = Update {
        client: ClientChange {
            name: Some("N".to_owned().try_into().unwrap()),
            ..ClientChange::default()
        },
        scopes: None,
    };
    for refused in [
        projects::start_rotation(auth, &two, "theirs")
            .await
            .map(drop),
        projects::update(auth, &two, "theirs", &renamed)
            .await
            .map(drop),
        projects::remove(auth, &two, "theirs").await.map(drop),
    ] {
        assert!(matches!(refused, Err(Refusal::Forbidden(_))), "{refused:?}");
    }
}

#[actix_web::test]
async fn nobody_makes_a_project_who_could_not_make_its_clients() {
    let server = start().await;
    let admin = Admin::of(&server);
    let weak = Admin::named(
        &server,
        "admin",
        "resources:write clients:write grants:write",
    );
    let refused = "does not have: credentials:write";
    let new = json!({"resource": "new", "owner": "other", "token_profile": "stytch"});
    weak.post("/resources", new.clone())
        .await
        .refuses(403, None, refused);
    for (path, change) in [
        ("/resources/standard", json!({"token_profile": "stytch"})),
        ("/resources/one", json!({"owner": "other"})),
        ("/resources/orphan", json!({"owner": "other"})),
    ] {
        weak.patch(path, change.clone())
            .await
            .refuses(403, None, refused);
        weak.patch(path, json!({"name": "N"})).await.is(200);
        admin.patch(path, change).await.is(200);
        weak.patch(path, json!({"owner": null})).await.is(200);
    }
    admin.post("/resources", new).await.is(201);
}

#[actix_web::test]
async fn an_update_changes_what_it_names_and_takes_tokens_back_where_it_must() {
    let server = start().await;
    let project = project(&server, "one").await;
    let made = make(&server, &project, "worker", "read write").await;
    let auth = &server.auth;
    let is_active = async |token: &str| server.introspect("owner", token).await["active"] == true;
    let change = |client: ClientChange, scopes: Option<&str>| Update {
        client,
        scopes: scopes.map(|scopes| scopes.parse().unwrap()),
    };
    let metadata = |changes: Value| ClientChange {
        metadata: MetadataChange(serde_json::from_value(changes).unwrap()),
        ..ClientChange::default()
    };
    let status = |status| ClientChange {
        status: Some(status),
        ..ClientChange::default()
    };
    let (first, _) = token(&server, &project, &made).await;

    let same = projects::update(auth, &project, "worker", &Update::default())
        .await
        .unwrap();
    assert_eq!(same, made.client);
    let noted = change(metadata(json!({"a": 1, "b": "x"})), None);
    projects::update(auth, &project, "worker", &noted)
        .await
        .unwrap();
    let noted = change(
        metadata(json!({"a": null, "c": [true]})),
        Some("read write more"),
    );
    let now = projects::update(auth, &project, "worker", &noted)
        .await
        .unwrap();
    assert_eq!(json!(now.metadata), json!({"b": "x", "c": [true]}));
    assert_eq!(now.scopes.to_string(), "more read write");
    assert_eq!(projects::get(auth, &project, "worker").await.unwrap(), now);
    assert!(is_active(&first).await, "it may do more than before");

    let narrower = change(ClientChange::default(), Some("read"));
    projects::update(auth, &project, "worker", &narrower)
        .await
        .unwrap();
    assert!(!is_active(&first).await);
    server.clock.advance(Duration::from_secs(1));
    let (second, scope) = token(&server, &project, &made).await;
    assert_eq!(scope, "read");

    let off = change(status(ClientStatus::Inactive), None);
    let seen = projects::update(auth, &project, "worker", &off)
        .await
        .unwrap();
    assert_eq!(seen.status, ClientStatus::Inactive);
    assert!(!is_active(&second).await);
    assert!(!works(&server, "worker", made.secret.expose()).await);
    let on = change(status(ClientStatus::Active), None);
    projects::update(auth, &project, "worker", &on)
        .await
        .unwrap();
    assert!(works(&server, "worker", made.secret.expose()).await);

    // What the server's administrators said of the grant stays.
    let admin = Admin::of(&server);
    let limits = json!({"token_lifetime": 60, "expires_at": NOW + 5000, "reason": "R"});
    admin.patch("/grants/worker/one", limits).await.is(200);
    let wider = change(ClientChange::default(), Some("read new"));
    projects::update(auth, &project, "worker", &wider)
        .await
        .unwrap();
    let grant = admin.get("/grants/worker/one").await.is(200);
    assert_eq!(
        (&grant["scopes"], &grant["token_lifetime"], &grant["reason"]),
        (&json!(["new", "read"]), &json!(60), &json!("R"))
    );
}

#[actix_web::test]
async fn both_secrets_work_while_a_rotation_is_under_way() {
    let server = start().await;
    let project = project(&server, "one").await;
    let auth = &server.auth;
    let made = make(&server, &project, "worker", "").await;
    let old = made.secret.expose();
    for refused in [
        projects::finish_rotation(auth, &project, "worker").await,
        projects::cancel_rotation(auth, &project, "worker").await,
    ] {
        assert!(
            matches!(refused, Err(Refusal::Conflict { .. })),
            "{refused:?}"
        );
    }

    let new = projects::start_rotation(auth, &project, "worker")
        .await
        .unwrap();
    let new_secret = new.secret.expose();
    assert_eq!(new.client.last_four, made.client.last_four);
    assert_eq!(
        new.client.next_last_four.as_deref(),
        Some(&new_secret[new_secret.len() - 4..])
    );
    assert_eq!(
        projects::get(auth, &project, "worker").await.unwrap(),
        new.client
    );
    assert!(works(&server, "worker", old).await && works(&server, "worker", new_secret).await);
    let again = projects::start_rotation(auth, &project, "worker").await;
    assert!(matches!(again, Err(Refusal::Conflict { .. })), "{again:?}");
    let cancelled = projects::cancel_rotation(auth, &project, "worker")
        .await
        .unwrap();
    assert_eq!(cancelled, made.client);
    assert!(works(&server, "worker", old).await && !works(&server, "worker", new_secret).await);

    // A bootstrap token of the client's is another matter.
    let admin = Admin::of(&server);
    let bootstrap = json!({"kind": "bootstrap"});
    admin
        .post("/clients/worker/credentials", bootstrap)
        .await
        .is(201);
    let new = projects::start_rotation(auth, &project, "worker")
        .await
        .unwrap();
    let finished = projects::finish_rotation(auth, &project, "worker")
        .await
        .unwrap();
    let new_secret = new.secret.expose();
    assert_eq!(finished.last_four, new_secret[new_secret.len() - 4..]);
    assert_eq!(finished.next_last_four, None);
    assert!(!works(&server, "worker", old).await && works(&server, "worker", new_secret).await);

    projects::remove(auth, &project, "worker").await.unwrap();
    assert!(!works(&server, "worker", new_secret).await);
    admin.get("/clients/worker").await.refuses(404, None, "");
}

#[actix_web::test]
async fn a_search_finds_what_its_operands_say_page_by_page() {
    let server = start().await;
    let project = project(&server, "one").await;
    for (id, scopes) in [
        ("a", "read"),
        ("b", "read write"),
        ("c", ""),
        ("d", "write"),
    ] {
        make(&server, &project, id, scopes).await;
    }
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let (ids, names, scopes) = (
        |wanted: &[&str]| Operand::Ids(texts(wanted)),
        |wanted: &[&str]| Operand::Names(texts(wanted)),
        |wanted: &[&str]| Operand::Scopes(texts(wanted)),
    );
    for (operator, operands, expected) in [
        (Operator::And, vec![], "a b c d"),
        (Operator::Or, vec![], "a b c d"),
        (Operator::And, vec![ids(&["b", "c", "x"])], "b c"),
        (Operator::And, vec![ids(&[])], ""),
        (Operator::And, vec![names(&["a", "d"])], "a d"),
        (Operator::And, vec![scopes(&["write"])], "b d"),
        (Operator::And, vec![scopes(&["read", "write"])], "a b d"),
        (
            Operator::And,
            vec![scopes(&["write"]), ids(&["a", "b"])],
            "b",
        ),
        (
            Operator::Or,
            vec![scopes(&["write"]), ids(&["a", "b"])],
            "a b d",
        ),
    ] {
        for limit in [1, 2, 3, 1000, usize::MAX] {
            let mut search = Search {
                operator,
                operands: operands.clone(),
                after: None,
                limit,
            };
            let mut found = Vec::new();
            loop {
                let page = projects::search(&server.auth, &project, &search)
                    .await
                    .unwrap();
                assert_eq!(page.total, expected.split_whitespace().count() as u64);
                assert!(page.clients.len() <= limit);
                found.extend(page.clients.iter().map(|client| client.id.to_string()));
                search.after = page.next;
                if search.after.is_none() {
                    break;
                }
            }
            assert_eq!(found.join(" "), expected, "{operands:?} {limit}");
        }
    }
}
