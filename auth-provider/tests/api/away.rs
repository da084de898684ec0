//! The database is taken away under a running server, and given back: what goes on meanwhile, what is refused, and that it
//! recovers by itself.

use std::time::{Duration, Instant};

use auth_provider::audit::{Action, Filter};
use m2m::Clock;
use reqwest::{Method, Response};
use serde_json::json;
use tokio::time::sleep;

use crate::{administrator::Administrator, postgres::Cluster, support::Server};

/// Nobody waits for longer, whatever the database does.
const FEW_SECONDS: Duration = Duration::from_secs(5);

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not happen: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn timely(answer: impl Future<Output = Response>) -> Response {
    let begun = Instant::now();
    let answer = answer.await;
    let (took, url) = (begun.elapsed(), answer.url().path().to_owned());
    assert!(took < FEW_SECONDS, "{url} took {took:?}");
    answer
}

async fn ask(server: &Server, client: &str, resource: &str) -> u16 {
    let form = [("resource", resource)];
    timely(server.ask(client, &form)).await.status().as_u16()
}

/// Refused, to be tried again.
fn is_unavailable(answer: &Response) {
    assert_eq!(answer.status(), 503, "{}", answer.url());
    let after: u64 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&after));
}

async fn ready(server: &Server) -> (u16, String) {
    let answer = timely(async { server.get("/ready").send().await.unwrap() }).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// How the database is taken away.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Its machine fails: connections break off and are refused.
    Ends,
    /// It hangs: nothing is refused, and nothing answered.
    Hangs,
}

impl Loss {
    async fn happens(self, cluster: &mut Cluster) {
        match self {
            Self::Ends => cluster.down().await,
            Self::Hangs => cluster.pause(),
        }
    }

    async fn is_over(self, cluster: &mut Cluster) {
        match self {
            Self::Ends => cluster.up().await,
            Self::Hangs => cluster.resume(),
        }
    }
}

async fn known_to_be_away(server: &Server) {
    until("it is noticed", async || server.auth.contact.is_away()).await;
}

async fn tokens_in_the_log(server: &Server) -> usize {
    let filter = Filter {
        action: Some(Action::TokenIssued),
        ..Filter::default()
    };
    server
        .auth
        .store
        .events(&filter, u64::MAX, 10_000)
        .await
        .unwrap()
        .len()
}

#[actix_web::test]
async fn without_its_database_a_server_goes_on_where_that_is_safe_and_recovers() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let server = Server::start_replica(&cluster.url(), "").await;
    let admin = Administrator::of(&server).await;
    // The second one asks only when it must not be known yet.
    for (loss, stranger, of) in [
        (Loss::Ends, "single", "plain"),
        (Loss::Hangs, "ending", "notes"),
    ] {
        let token = server.token("bot", "notes").await;
        assert!(server.introspect("notes-server", &token).await["active"] == true);
        server.auth.journal.settle().await.unwrap();
        let logged = tokens_in_the_log(&server).await;

        let mut issued = 0;
        loss.happens(&mut cluster).await;
        // From the first moment on.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            assert_eq!(
                ask(&server, "bot", "notes").await,
                200,
                "{loss:?} {:?}",
                begun.elapsed()
            );
            issued += 1;
            sleep(Duration::from_millis(20)).await;
        }
        known_to_be_away(&server).await;
        let asked = timely(server.about("/oauth/introspect", "notes-server", &token)).await;
        assert_eq!(asked.status(), 200);
        for path in [
            "/auth/jwt/jwks.json",
            "/.well-known/oauth-authorization-server/auth",
        ] {
            let answer = timely(async { server.get(path).send().await.unwrap() }).await;
            assert_eq!(answer.status(), 200, "{path}");
        }
        let (status, checks) = ready(&server).await;
        assert_eq!(status, 200, "{checks}");
        assert!(checks.contains("away for"), "{checks}");

        // What would have to be kept, and what is not in memory.
        is_unavailable(&timely(server.about("/oauth/revoke", "bot", &token)).await);
        is_unavailable(&timely(server.ask("courier", &[("resource", "lab")])).await);
        is_unavailable(&timely(server.ask(stranger, &[])).await);
        let wrong = server.post("/oauth/token").basic_auth("bot", Some("wrong"));
        let wrong = wrong.form(&[("grant_type", "client_credentials")]).send();
        is_unavailable(&timely(async { wrong.await.unwrap() }).await);
        let change = json!({"client_id": "late"});
        is_unavailable(&timely(admin.send(Method::POST, "/clients", Some(&change))).await);
        is_unavailable(&timely(admin.send(Method::GET, "/clients", None)).await);
        is_unavailable(&timely(admin.send(Method::GET, "/keys", None)).await);

        let back = Instant::now();
        loss.is_over(&mut cluster).await;
        until("it is noticed", async || !server.auth.contact.is_away()).await;
        until("it recovers", async || {
            ask(&server, stranger, of).await == 200
        })
        .await;
        eprintln!(
            "{loss:?}: {:?} after it was back all is well",
            back.elapsed()
        );
        assert!(ready(&server).await.1.contains(r#""database":"ok""#));
        server.revoke("bot", &token).await;
        assert!(server.introspect("notes-server", &token).await["active"] == false);
        server.auth.journal.settle().await.unwrap();
        // Each token left its event, once: those of the outage and the last one.
        assert_eq!(tokens_in_the_log(&server).await, logged + issued + 1);
    }
}

#[actix_web::test]
async fn when_the_grace_is_over_nothing_is_issued() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let server = Server::start_replica(&cluster.url(), "database_grace = '8s'").await;
    let token = server.token("bot", "notes").await;
    cluster.down().await;
    known_to_be_away(&server).await;
    assert_eq!(ask(&server, "bot", "notes").await, 200);
    until("the grace is over", async || !server.auth.contact.goes_on()).await;
    is_unavailable(&timely(server.ask("bot", &[("resource", "notes")])).await);
    is_unavailable(&timely(server.about("/oauth/introspect", "bot", &token)).await);
    assert_eq!(ready(&server).await.0, 503);
    let keys = timely(async { server.get("/auth/jwt/jwks.json").send().await.unwrap() }).await;
    assert_eq!(keys.status(), 200);
    cluster.up().await;
    until("it recovers", async || {
        ask(&server, "bot", "notes").await == 200
    })
    .await;
}

#[actix_web::test]
async fn without_a_grace_or_where_the_log_is_strict_no_token_is_issued_without_its_event() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    for more in ["database_grace = '0s'", "audit_durability = 'strict'"] {
        let server = Server::start_replica(&cluster.url(), more).await;
        assert_eq!(ask(&server, "bot", "notes").await, 200);
        cluster.down().await;
        known_to_be_away(&server).await;
        is_unavailable(&timely(server.ask("bot", &[("resource", "notes")])).await);
        cluster.up().await;
        until("it recovers", async || {
            ask(&server, "bot", "notes").await == 200
        })
        .await;
    }
}

/// A server that starts while the database is away does not wait for it: whoever started it decides.
#[actix_web::test]
async fn a_server_does_not_start_without_its_database() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    cluster.down().await;
    let folder = crate::support::folder();
    let more = format!("database_url = '{}'", cluster.url());
    let config = crate::support::config(folder.path(), &more);
    let refused = auth_provider::startup::start(&config, Clock::System)
        .await
        .err();
    let refused = format!("{:#}", refused.expect("there is no database"));
    assert!(refused.contains("cannot open the database"), "{refused}");
}
