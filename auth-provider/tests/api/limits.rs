//! How much one caller may ask for, and who pays when somebody asks for more.

use std::{net::IpAddr, time::Instant};

use futures_util::future::{Either, join, join_all, select};
use reqwest::{Client, Method, RequestBuilder, Response, header::HeaderMap};

use crate::support::{POLICY, Server, json};

const GRANT: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("resource", "notes")];

/// A caller with another address of this machine.
fn caller_at(address: &str) -> Client {
    let address: IpAddr = address.parse().unwrap();
    let client = Client::builder().local_address(address).no_proxy();
    client.build().unwrap()
}

async fn ask(server: &Server, http: &Client, client: &str, secret: &str) -> Response {
    let url = format!("http://{}/oauth/token", server.address());
    let request = http.post(url).basic_auth(client, Some(secret));
    request.form(&GRANT).send().await.unwrap()
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

/// The header fields of an answer that says "not now": one limit, with nothing left, until some second of its hour.
fn assert_exhausted(headers: &HeaderMap, limit: &str, row: &str) {
    let policy = format!("\"{limit}\";q=1;w=3600");
    assert_eq!(all(headers, "ratelimit-policy"), [policy], "{row}");
    let retry_after = all(headers, "retry-after");
    let state = format!("\"{limit}\";r=0;t={}", retry_after[0]);
    assert_eq!(all(headers, "ratelimit"), [state], "{row}");
    let seconds: u64 = retry_after[0].parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{row}: {seconds}");
    assert_eq!(headers["cache-control"], "no-store", "{row}");
}

#[actix_web::test]
async fn a_client_that_asks_too_much_is_told_to_wait() {
    let server = Server::start_with(POLICY, "rate_limit_client = '1/h'").await;
    for (client, request) in [
        ("bot", server.post("/oauth/token").form(&GRANT)),
        ("single", server.post("/auth/oauth/token").form(&[GRANT[0]])),
        (
            "notes-server",
            server.post("/oauth/introspect").form(&[("token", "x")]),
        ),
        (
            "calendar-server",
            server.post("/oauth/revoke").form(&[("token", "x")]),
        ),
        ("lab-server", server.get("/oauth/revocations")),
    ] {
        let request = || {
            let request = request.try_clone().unwrap();
            request.basic_auth(client, Some(server.secret(client)))
        };
        let first = request().send().await.unwrap();
        assert_eq!(first.status(), 200, "{client}");
        let second = request().send().await.unwrap();
        assert_eq!(second.status(), 429, "{client}");
        assert_exhausted(second.headers(), "client", client);
        let second = json(second).await;
        assert_eq!(second["error"], "temporarily_unavailable", "{client}");
        let description = second["error_description"].as_str().unwrap();
        assert!(description.contains("try again in"), "{description}");
    }
}

#[actix_web::test]
async fn who_is_not_the_client_takes_nothing_from_it() {
    let server = Server::start_with(POLICY, "rate_limit_client = '1/h'").await;
    for _ in 0..3 {
        let wrong = ask(&server, &server.http, "bot", "m2m_wrong").await;
        assert_eq!(wrong.status(), 401);
        assert!(
            all(wrong.headers(), "ratelimit")
                .iter()
                .all(|item| !item.contains("client"))
        );
    }
    let secret = server.secret("bot");
    let right = ask(&server, &server.http, "bot", &secret).await;
    assert_eq!(right.status(), 200);
}

#[actix_web::test]
async fn an_administrator_who_asks_too_much_is_told_to_wait() {
    let server = Server::start_with(POLICY, "rate_limit_admin = '1/h'").await;
    let token = server.token("admin", "auth-provider").await;
    let list = || server.get("/admin/v1/keys").bearer_auth(&token).send();
    assert_eq!(list().await.unwrap().status(), 200);
    let second = list().await.unwrap();
    assert_eq!(second.status(), 429);
    assert_exhausted(second.headers(), "admin", "keys");
    assert_eq!(second.headers()["content-type"], "application/problem+json");
    let second = json(second).await;
    assert_eq!(second["status"], 429);
    assert_eq!(second["title"], "Too Many Requests");
    server.token("admin", "auth-provider").await; // a limit of its own
}

#[actix_web::test]
async fn an_address_that_asks_too_much_is_stopped_before_anything_is_read() {
    let server = Server::start_with(POLICY, "rate_limit_address = '1/h'").await;
    let secret = server.secret("bot");
    let local = caller_at("127.0.0.1");
    let right = ask(&server, &local, "bot", &secret).await;
    assert_eq!(right.status(), 200);

    let request = |method: &str, path: &str| -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        local.request(method, format!("http://{}{path}", server.address()))
    };
    for (method, path, media_type) in [
        ("POST", "/oauth/token", "application/json"),
        ("POST", "/auth/oauth/token", "application/json"),
        ("GET", "/oauth/token", "application/json"),
        ("POST", "/oauth/introspect", "application/json"),
        ("POST", "/oauth/revoke", "application/json"),
        ("GET", "/oauth/revocations", "application/json"),
        ("GET", "/auth/oauth/revocations", "application/json"),
        ("GET", "/admin/v1/keys", "application/problem+json"),
        ("POST", "/admin/v1/keys/rotate", "application/problem+json"),
        ("POST", "/admin/v1/revocations", "application/problem+json"),
        ("PUT", "/admin/v1/keys", "application/problem+json"),
        ("GET", "/admin/v1/nothing", "application/problem+json"),
    ] {
        let row = format!("{method} {path}");
        let answer = request(method, path).send().await.unwrap();
        assert_eq!(answer.status(), 429, "{row}");
        assert_exhausted(answer.headers(), "address", &row);
        assert_eq!(answer.headers()["content-type"], media_type, "{row}");
    }
    // What verifiers need and what watches over the server goes on.
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/health",
        "/ready",
    ] {
        let answer = request("GET", path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.headers().contains_key("ratelimit"), "{path}");
    }
    let elsewhere = ask(&server, &caller_at("127.0.0.2"), "bot", &secret).await;
    assert_eq!(elsewhere.status(), 200);
}

#[actix_web::test]
async fn every_answer_says_how_much_is_left() {
    let limits =
        "rate_limit_client = '5/h'\nrate_limit_address = '10/h'\nrate_limit_admin = '2/min'";
    let server = Server::start_with(POLICY, limits).await;
    let answer = server.ask("admin", &[("resource", "auth-provider")]).await;
    assert_eq!(
        all(answer.headers(), "ratelimit-policy"),
        ["\"client\";q=5;w=3600", "\"address\";q=10;w=3600"]
    );
    assert_eq!(
        all(answer.headers(), "ratelimit"),
        ["\"client\";r=4;t=720", "\"address\";r=9;t=360"]
    );
    let token = json(answer).await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let request = server.get("/admin/v1/keys").bearer_auth(token);
    let answer = request.send().await.unwrap();
    assert_eq!(
        all(answer.headers(), "ratelimit"),
        ["\"admin\";r=1;t=30", "\"address\";r=8;t=720"]
    );
    // So do refusals: by the address of a stranger, and by the client of who may not.
    let answer = server.get("/admin/v1/keys").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(
        all(answer.headers(), "ratelimit"),
        ["\"address\";r=7;t=1080"]
    );
    let answer = server.ask("bot", &[("resource", "nothing")]).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(
        all(answer.headers(), "ratelimit"),
        ["\"client\";r=4;t=720", "\"address\";r=6;t=1440"]
    );
}

#[actix_web::test]
async fn limits_that_are_off_say_nothing() {
    let off = "rate_limit_client = 'off'\nrate_limit_address = 'off'\nrate_limit_admin = 'off'\n\
               rate_limit_failures = 'off'";
    let server = Server::start_with(POLICY, off).await;
    let answer = server.ask("bot", &[("resource", "notes")]).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("ratelimit"));
    assert!(!answer.headers().contains_key("ratelimit-policy"));
}

#[actix_web::test]
async fn nobody_locks_a_client_out_by_guessing_its_secret() {
    let server = Server::start_with(POLICY, "rate_limit_failures = '1/h'").await;
    let (secret, attacker) = (server.secret("bot"), caller_at("127.0.0.2"));
    let hammering = join_all((0..100).map(|_| ask(&server, &attacker, "bot", "m2m_wrong")));
    let working = async {
        let here = caller_at("127.0.0.1");
        for _ in 0..20 {
            assert_eq!(ask(&server, &here, "bot", &secret).await.status(), 200);
            // Not even from where the guesses come.
            assert_eq!(ask(&server, &attacker, "bot", &secret).await.status(), 200);
        }
    };
    let (guesses, ()) = join(hammering, working).await;
    let (failed, refused): (Vec<_>, Vec<_>) =
        guesses.into_iter().partition(|guess| guess.status() == 401);
    assert_eq!((failed.len(), refused.len()), (1, 99));
    for guess in refused {
        assert_eq!(guess.status(), 429);
        assert_exhausted(guess.headers(), "failures", "a guess");
        assert_eq!(json(guess).await["error"], "temporarily_unavailable");
    }
    // A client that does not exist is refused in the same words.
    let unknown = ask(&server, &attacker, "unknown", "m2m_wrong").await;
    assert_eq!(unknown.status(), 429);
    let elsewhere = ask(&server, &caller_at("127.0.0.3"), "bot", "m2m_wrong").await;
    assert_eq!(elsewhere.status(), 401);
}

#[actix_web::test]
async fn who_goes_on_failing_waits_and_the_right_secret_does_not() {
    let server = Server::start().await;
    let (secret, http) = (server.secret("bot"), caller_at("127.0.0.1"));
    let guess = async |client| {
        let mut fourteenth = 0;
        for number in 1..=16 {
            let asked_at = Instant::now();
            let answer = ask(&server, &http, client, "m2m_wrong").await;
            assert_eq!(answer.status(), 401);
            if number == 14 {
                fourteenth = asked_at.elapsed().as_millis();
            }
        }
        fourteenth
    };
    let (known, unknown) = join(guess("bot"), guess("unknown")).await;
    assert!(known >= 160, "{known} ms");
    assert!(unknown >= 160, "{unknown} ms");

    let wrong = ask(&server, &http, "bot", "m2m_wrong"); // this takes a second
    let right = ask(&server, &http, "bot", &secret);
    let Either::Right((answer, _)) = select(Box::pin(wrong), Box::pin(right)).await else {
        panic!("the right secret waited behind the wrong one");
    };
    assert_eq!(answer.status(), 200);
}

#[actix_web::test]
async fn only_a_proxy_says_whose_request_it_is() {
    let direct = Server::start_with(POLICY, "rate_limit_address = '1/h'").await;
    let proxied = "rate_limit_address = '1/h'\nbehind_tls_proxy = true";
    let proxied = Server::start_with(POLICY, proxied).await;
    for (forwarded_for, of_direct, of_proxied) in [
        ("192.0.2.1", 401, 401),
        ("192.0.2.1", 429, 429),
        ("192.0.2.1, 192.0.2.2", 429, 401),
        ("192.0.2.3, 192.0.2.2", 429, 429),
        ("192.0.2.3, [::ffff:192.0.2.2]:80", 429, 429),
        ("2001:db8::1", 429, 401),
        ("2001:db8::2:1:1", 429, 429),
        ("nonsense", 429, 401), // the proxy's own address
        ("192.0.2.4, nonsense", 429, 429),
    ] {
        for (server, expected) in [(&direct, of_direct), (&proxied, of_proxied)] {
            let request = server.post("/oauth/token").form(&GRANT);
            let request = request.header("X-Forwarded-For", forwarded_for);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), expected, "{forwarded_for}");
        }
    }
}
