//! Random graphs, applied to a real server: what the token endpoint does, what explain says, what the audit log holds and
//! what the reference model finds are the same.

use std::{cell::RefCell, collections::BTreeMap, net::Ipv4Addr, thread, time::Duration};

use auth_provider::{
    built_in::{ADMIN, AUDIENCE},
    client::{ClientId, ClientStatus, Secret},
    own_token,
    policy_file::Policy,
    policy_plan::plan,
    registry::change::{Change, Committed, NewCredential},
};
use futures_util::future::try_join_all;
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{TestCaseResult, TestError, TestRunner},
};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::graphs::{Ask, CLIENTS, asks, model, policies};
use crate::support::{NOW, Server, json};

/// How many servers there are, how many graphs for each of them, and how many requests for each graph.
const SERVERS: u32 = 3;
const GRAPHS: u32 = 200;
const REQUESTS: usize = 6;

/// Who fails to authenticate again and again from one address has to wait longer and longer; from so many nobody does.
const ADDRESSES: u8 = 32;

/// Every token may live for a day.
const SETTINGS: &str = "
    database_url = 'sqlite::memory:'
    key_retire_time = '25h'
    rate_limit_client = 'off'
    rate_limit_address = 'off'
    rate_limit_admin = 'off'
    rate_limit_failures = 'off'
    ";

/// A caller with an address of its own.
fn caller(number: u8) -> Client {
    let address = Ipv4Addr::new(127, 0, 1, number);
    let caller = Client::builder().local_address(Some(address.into()));
    // The server closes a connection after 5 s without a request; nobody may be about to use it then.
    let caller = caller.pool_idle_timeout(Duration::from_secs(1));
    caller.no_proxy().build().unwrap()
}

/// One server, which holds one graph after another.
struct World {
    server: Server,
    /// The administrator's.
    token: String,
    /// Each with an address of its own.
    callers: Vec<Client>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    graphs: usize,
    /// The clients that are there, and whether they are active.
    clients: BTreeMap<ClientId, ClientStatus>,
    secrets: BTreeMap<ClientId, String>,
    /// How many requests were answered with a token, and how many were refused.
    allowed: usize,
    refused: usize,
}

impl World {
    async fn start() -> Self {
        let mut server = Server::start_with("", SETTINGS).await;
        server.http = caller(0);
        Self {
            token: server.token(ADMIN, AUDIENCE).await,
            callers: (1..=ADDRESSES).map(caller).collect(),
            state: RefCell::default(),
            server,
        }
    }

    async fn admin(&self, request: RequestBuilder) -> Response {
        request.bearer_auth(&self.token).send().await.unwrap()
    }

    /// Posts a file, and returns the plan's changes.
    async fn policy(&self, verb: &str, file: &str) -> Result<Value, TestCaseError> {
        let path = format!("/admin/v1/policy/{verb}?prune=true");
        let request = self.server.post(&path);
        let request = request.header("Content-Type", "application/toml");
        let answer = self.admin(request.body(file.to_owned())).await;
        let status = answer.status();
        let mut body = json(answer).await;
        prop_assert_eq!(status, StatusCode::OK, "{}: {}", verb, body);
        Ok(body["changes"].take())
    }

    /// Puts the graph in force, and looks whether it is.
    async fn apply(&self, policy: &Policy) -> TestCaseResult {
        let file = policy.to_toml();
        self.policy("apply", &file).await?;
        let export = self.admin(self.server.get("/admin/v1/policy")).await;
        let export = export.text().await.unwrap();
        let stored = self.server.auth.store.graph(None).await.unwrap().policy;
        prop_assert!(plan(&stored, policy, true).is_empty(), "{}", export);
        prop_assert_eq!(self.policy("plan", &export).await?, json!([]));
        prop_assert_eq!(self.policy("apply", &file).await?, json!([]));
        Ok(())
    }

    /// The graph without a client whose file leaves open whether it is active: that depends on what was there before.
    fn in_force(&self, policy: &Policy) -> Policy {
        let (mut state, mut policy) = (self.state.borrow_mut(), policy.clone());
        for (id, client) in &mut policy.clients {
            let before = state.clients.get(id).copied();
            client.status = client.status.or(before).or(Some(ClientStatus::Active));
        }
        let all = policy.clients.iter();
        state.clients = all
            .filter_map(|(id, client)| Some((id.clone(), client.status?)))
            .collect();
        policy
    }

    /// Sees to it that every client can prove who it is. Who was there before still can.
    async fn hand_out_secrets(&self, policy: &Policy) {
        let mut new = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            state
                .secrets
                .retain(|id, _| policy.clients.contains_key(id));
            for id in policy.clients.keys() {
                if id.as_str() != ADMIN && !state.secrets.contains_key(id) {
                    let secret = Secret::generate();
                    let credential = NewCredential::of(id, "", &secret, NOW);
                    state.secrets.insert(id.clone(), secret.expose().to_owned());
                    new.push(Change::AddCredential(credential));
                }
            }
        }
        let committed = self.server.auth.store.commit(&new, &[]).await.unwrap();
        assert_eq!(committed, Committed::Done);
    }

    async fn check(&self, policy: &Policy, asks: &[Ask]) -> TestCaseResult {
        self.apply(policy).await?;
        let policy = &self.in_force(policy);
        self.hand_out_secrets(policy).await;
        let graph = {
            let mut state = self.state.borrow_mut();
            state.graphs += 1;
            state.graphs
        };
        let caller = &self.callers[graph % self.callers.len()];
        let agreed = try_join_all(asks.iter().map(|ask| self.agree(policy, ask, caller)));
        let agreed = agreed.await?;
        let allowed = agreed.iter().filter(|allowed| **allowed).count();
        let mut state = self.state.borrow_mut();
        state.allowed += allowed;
        state.refused += agreed.len() - allowed;
        Ok(())
    }

    /// Asks all of them, and returns whether it is allowed.
    async fn agree(
        &self,
        policy: &Policy,
        ask: &Ask,
        caller: &Client,
    ) -> Result<bool, TestCaseError> {
        let expected = model(policy, ask, NOW);
        let explained = self.explain(ask).await?;
        let answer = self.ask(ask, caller).await;
        let status = answer.status();
        let body = json(answer).await;
        match (&expected, explained) {
            (Some((resource, scopes)), Some(explained)) => {
                prop_assert_eq!(status, StatusCode::OK, "{}", body);
                prop_assert_eq!(&explained["allowed"], true, "{}", explained);
                prop_assert_eq!(&explained["grant"]["resource"], resource.as_str());
                prop_assert_eq!(&explained["grant"]["client_id"], &*ask.client);
                prop_assert_eq!(&body["scope"], &scopes.to_string());
                let token = body["access_token"].as_str().unwrap();
                let token = own_token::read(&self.server.auth, token).await.unwrap();
                let token = token.expect("it has just been issued");
                prop_assert_eq!(token.client_id.as_str(), &ask.client);
                prop_assert_eq!((&token.aud, &token.scopes), (resource, scopes));
            }
            (None, explained) => {
                prop_assert!(matches!(status.as_u16(), 400 | 401), "{}", body);
                let event = self.refusal(&body).await?;
                if let Some(explained) = explained {
                    prop_assert_eq!(&explained["allowed"], false, "{}", explained);
                    prop_assert_eq!(&event["reason"], &explained["code"]);
                    prop_assert_eq!(&event["explanation"], &explained["explanation"]);
                }
            }
            (Some(_), None) => prop_assert!(false, "explain takes no such names: {ask:?}"),
        }
        Ok(expected.is_some())
    }

    /// What explain says. `None` for what is no name.
    async fn explain(&self, ask: &Ask) -> Result<Option<Value>, TestCaseError> {
        let mut question = Map::new();
        question.insert("client_id".into(), ask.client.clone().into());
        if let Some(resource) = &ask.resource {
            question.insert("resource".into(), resource.clone().into());
        }
        if let Some(scopes) = &ask.scopes {
            question.insert("scope".into(), scopes.to_string().into());
        }
        let request = self.server.post("/admin/v1/explain").json(&question);
        let answer = self.admin(request).await;
        match answer.status() {
            StatusCode::OK => Ok(Some(json(answer).await)),
            StatusCode::BAD_REQUEST => Ok(None),
            other => Err(TestCaseError::fail(format!("explain answered {other}"))),
        }
    }

    async fn ask(&self, ask: &Ask, caller: &Client) -> Response {
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        form.extend(ask.resource.iter().map(|name| ("resource", name.clone())));
        form.extend(
            ask.scopes
                .iter()
                .map(|scopes| ("scope", scopes.to_string())),
        );
        let secret = ClientId::parse(&ask.client).ok().and_then(|id| {
            let state = self.state.borrow();
            state.secrets.get(&id).cloned()
        });
        let request = caller
            .post(format!("http://{}/oauth/token", self.server.address()))
            .basic_auth(&ask.client, Some(secret.unwrap_or_default()));
        request.form(&form).send().await.unwrap()
    }

    /// The one event that tells of a refusal.
    async fn refusal(&self, body: &Value) -> Result<Value, TestCaseError> {
        let request_id = body["request_id"].as_str().unwrap_or_default();
        let path = format!("/admin/v1/audit?request_id={request_id}");
        let mut answer = json(self.admin(self.server.get(&path)).await).await;
        let events = answer["events"].as_array_mut().unwrap();
        prop_assert_eq!(events.len(), 1, "{}: {:?}", body, events);
        prop_assert_eq!(&events[0]["outcome"], "refused");
        Ok(events[0].take())
    }
}

/// A form has no empty scope: it is the same as none.
fn as_a_form_has_it(mut ask: Ask) -> Ask {
    ask.scopes = ask.scopes.filter(|scopes| !scopes.is_empty());
    ask
}

/// Graphs in which most clients are active, and requests of which most are about a grant that is alive: most others are
/// refused.
fn graphs_and_asks() -> impl Strategy<Value = (Policy, Vec<Ask>)> {
    let which = prop::option::weighted(0.8, any::<Index>());
    let asks = prop::collection::vec((asks(), which), REQUESTS);
    let switched_off = prop::sample::select(&CLIENTS[..]);
    (policies(), asks, switched_off).prop_map(|(mut policy, asks, switched_off)| {
        for (id, client) in &mut policy.clients {
            client.status = client.status.filter(|_| id.as_str() == switched_off);
        }
        let policy = Policy::parse(&policy.to_toml()).unwrap(); // no more than a file says
        let alive = policy
            .grants
            .iter()
            .filter(|(_, grant)| grant.expires_at.is_none_or(|end| end > NOW));
        let arrows: Vec<_> = alive
            .map(|(arrow, _)| arrow)
            .filter(|(client, _)| client.as_str() != ADMIN)
            .collect();
        let about_a_grant = |(ask, index): (Ask, Option<Index>)| match index {
            Some(index) if !arrows.is_empty() => {
                let (client, resource) = index.get(&arrows);
                Ask {
                    client: client.to_string(),
                    resource: ask.resource.map(|_| resource.to_string()),
                    ..ask
                }
            }
            _ => ask,
        };
        let asks = asks.into_iter().map(about_a_grant).map(as_a_form_has_it);
        let asks = asks.collect();
        (policy, asks)
    })
}

/// Each server holds one graph at a time, so there are several.
#[test]
fn the_server_its_explanations_and_the_model_agree() {
    let servers: Vec<_> = (0..SERVERS)
        .map(|_| thread::spawn(look_for_a_difference))
        .collect();
    let (mut allowed, mut refused) = (0, 0);
    for server in servers {
        let state = server.join().expect("it says above what is different");
        allowed += state.allowed;
        refused += state.refused;
    }
    println!(
        "{} graphs: {allowed} requests were allowed, {refused} refused",
        GRAPHS * SERVERS
    );
    let fewest = (allowed + refused) / 5;
    assert!(allowed > fewest && refused > fewest, "{allowed} {refused}");
}

fn look_for_a_difference() -> State {
    let system = actix_web::rt::System::new();
    let world = system.block_on(World::start());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: GRAPHS,
        max_shrink_iters: 500,
        failure_persistence: None, // what fails is shown in full
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&graphs_and_asks(), |(policy, asks)| {
        system.block_on(world.check(&policy, &asks))
    });
    match outcome {
        Ok(()) => world.state.take(),
        Err(TestError::Fail(why, (policy, asks))) => {
            panic!("{why}\nfor {asks:#?}\nin\n{}", policy.to_toml())
        }
        Err(error) => panic!("{error}"),
    }
}

/// Of several graphs that are applied at once one is there in the end, and no mixture.
#[actix_web::test]
async fn of_graphs_that_are_applied_at_once_one_is_there_in_the_end() {
    let world = World::start().await;
    let graphs: Vec<Policy> = (0..8)
        .map(|number| {
            let client = |kind| format!("[clients.{kind}{number}]\n");
            let grant = |to| format!("[[grants]]\nclient = 'a{number}'\nresource = '{to}'\n");
            let file = [
                "[resources.shared]\n[resources.other]\n".to_owned(),
                client("a"),
                client("b"),
                grant("shared"),
                grant("other"),
            ];
            Policy::parse(&file.concat()).unwrap()
        })
        .collect();
    for _ in 0..5 {
        let files = graphs.iter().map(Policy::to_toml).collect::<Vec<_>>();
        let applied = files.iter().map(|file| world.policy("apply", file));
        try_join_all(applied).await.unwrap();
        let export = world.admin(world.server.get("/admin/v1/policy")).await;
        let stored = Policy::parse(&export.text().await.unwrap()).unwrap();
        let same = |graph: &&Policy| plan(&stored, graph, true).is_empty();
        assert_eq!(graphs.iter().filter(same).count(), 1, "{stored:?}");
    }
}
