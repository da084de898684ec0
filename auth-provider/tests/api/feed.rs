//! The revocation feed: complete, in order, resumable, and about one's own resources only.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{NOW, Server, json};

const FEED: &str = "/oauth/revocations";

/// One connection that reads event after event.
struct Follower {
    answer: Response,
    text: String,
}

impl Follower {
    async fn start(server: &Server, client: &str, seen: Option<u64>) -> Self {
        let mut request = server
            .get(FEED)
            .basic_auth(client, Some(server.secret(client)));
        request = request.header("accept", "text/event-stream");
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen.to_string());
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer,
            text: String::new(),
        }
    }

    /// The next event that is no heartbeat: its name, its id, its data. `None` at the end.
    async fn next(&mut self) -> Option<(String, Option<u64>, Value)> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let name = field("event: ").unwrap().to_owned();
                let id = field("id: ").map(|id| id.parse().unwrap());
                let data = serde_json::from_str(field("data: ").unwrap()).unwrap();
                self.text = rest.into();
                if name != "heartbeat" {
                    return Some((name, id, data));
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.answer.chunk());
            let chunk = chunk.await.expect("a heartbeat at least").unwrap()?;
            self.text.push_str(str::from_utf8(&chunk).unwrap());
        }
    }

    async fn name(&mut self) -> String {
        self.next().await.unwrap().0
    }
}

fn jti(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_follower_hears_what_was_and_what_comes_about_its_own_resource() {
    let server = Server::start().await;
    let (before, after) = (
        server.token("bot", "notes").await,
        server.token("bot", "notes").await,
    );
    let neighbours = server.token("bot", "calendar").await;
    server.revoke("bot", &before).await;

    let mut follower = Follower::start(&server, "notes-server", None).await;
    let (name, first, data) = follower.next().await.unwrap();
    let number = first.unwrap();
    assert_eq!(name, "revocation");
    let expected = json!({
        "number": number, "kind": "token", "jti": jti(&before),
        "revoked_at": NOW, "expires_at": NOW + 3660,
    });
    assert_eq!(data, expected);
    assert_eq!(
        follower.next().await.unwrap(),
        ("current".into(), first, json!({}))
    );

    server.revoke("bot", &neighbours).await;
    server.revoke("bot", &after).await;
    let (_, id, data) = follower.next().await.unwrap();
    assert_eq!(data["jti"], jti(&after), "not the neighbour's");
    assert!(id > first);
}

#[actix_web::test]
async fn who_comes_back_hears_what_it_missed_and_nothing_twice() {
    let server = Server::start().await;
    let tokens = [
        server.token("bot", "notes").await,
        server.token("bot", "notes").await,
    ];
    server.revoke("bot", &tokens[0]).await;
    let mut follower = Follower::start(&server, "notes-server", None).await;
    let (_, seen, _) = follower.next().await.unwrap();
    drop(follower);

    server.revoke("bot", &tokens[1]).await;
    let mut follower = Follower::start(&server, "notes-server", seen).await;
    assert_eq!(follower.next().await.unwrap().2["jti"], jti(&tokens[1]));
    let (name, seen, _) = follower.next().await.unwrap();
    assert_eq!(name, "current");
    let mut follower = Follower::start(&server, "notes-server", seen).await;
    assert_eq!(follower.name().await, "current");
}

#[actix_web::test]
async fn who_knows_more_than_the_server_starts_over() {
    let server = Server::start().await;
    let token = server.token("bot", "notes").await;
    server.revoke("bot", &token).await;
    let mut follower = Follower::start(&server, "notes-server", Some(1000)).await;
    let names = [
        follower.name().await,
        follower.name().await,
        follower.name().await,
    ];
    assert_eq!(names, ["reset", "revocation", "current"]);
}

#[actix_web::test]
async fn a_follower_does_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut follower = Follower::start(&server, "notes-server", None).await;
    assert_eq!(follower.name().await, "current");
    server.stop().await;
    assert!(follower.answer.chunk().await.is_err() || follower.next().await.is_none());
}

#[actix_web::test]
async fn the_list_is_the_same_in_one_piece_and_cheap_to_ask_again() {
    let server = Server::start().await;
    let ask = || {
        server
            .get(FEED)
            .basic_auth("notes-server", Some(server.secret("notes-server")))
    };
    let empty = ask().send().await.unwrap();
    let etag = empty.headers()["etag"].clone();
    assert_eq!(json(empty).await, json!({"last": 0, "revocations": []}));
    let again = ask().header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

    let token = server.token("bot", "notes").await;
    server.revoke("bot", &token).await;
    let list = ask().header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK);
    let list = json(list).await;
    assert_eq!(list["revocations"][0]["jti"], jti(&token));
    assert_eq!(list["revocations"][0]["number"], list["last"]);
    let list = list.to_string();
    assert!(
        !list.contains(&token) && !list.contains("bot"),
        "identifiers and times only: {list}"
    );
}

#[actix_web::test]
async fn only_resource_servers_may_listen() {
    let server = Server::start().await;
    let secret = server.secret("notes-server");
    let get = |path: &str| server.get(path).header("accept", "text/event-stream");
    #[rustfmt::skip]
    let table = [
        ("nobody", get(FEED), 401, "invalid_client"),
        ("nobody, below the issuer", get("/auth/oauth/revocations"), 401, "invalid_client"),
        ("a wrong secret", get(FEED).basic_auth("notes-server", Some("x")), 401, "invalid_client"),
        ("no secret", get(FEED).basic_auth("notes-server", None::<&str>), 401, "invalid_client"),
        ("another's secret", get(FEED).basic_auth("calendar-server", Some(&secret)), 401, "invalid_client"),
        ("an unknown client", get(FEED).basic_auth("x", Some("x")), 401, "invalid_client"),
        ("a bearer token", get(FEED).bearer_auth(server.token("bot", "notes").await), 401, "invalid_client"),
        ("broken Basic", get(FEED).header("authorization", "Basic !"), 401, "invalid_client"),
        ("credentials in the URL", get(&format!("{FEED}?client_id=notes-server&client_secret={secret}")), 401, "invalid_client"),
        ("two headers", get(FEED).basic_auth("notes-server", Some(&secret)).basic_auth("notes-server", Some(&secret)), 400, "invalid_request"),
        ("a client without a resource", get(FEED).basic_auth("bot", Some(server.secret("bot"))), 403, "unauthorized_client"),
        ("an administrator", get(FEED).basic_auth("root", Some(server.secret("root"))), 403, "unauthorized_client"),
        (
            "a client without a resource, for the list",
            server.get(FEED).basic_auth("bot", Some(server.secret("bot"))),
            403,
            "unauthorized_client",
        ),
        ("nobody, for the list", server.get(FEED), 401, "invalid_client"),
        ("an empty secret", get(FEED).basic_auth("notes-server", Some("")), 401, "invalid_client"),
        ("another's name in capitals", get(FEED).basic_auth("NOTES-SERVER", Some(&secret)), 401, "invalid_client"),
        ("another scheme", get(FEED).header("authorization", "Digest x"), 401, "invalid_client"),
        ("POST", server.post(FEED), 405, "invalid_request"),
        ("PUT", server.http.put(format!("{}{FEED}", server.url)), 405, "invalid_request"),
        ("DELETE", server.http.delete(format!("{}{FEED}", server.url)), 405, "invalid_request"),
    ];
    for (why, request, status, error) in table {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{why}");
        assert_eq!(json(answer).await["error"], error, "{why}");
    }
    for seen in ["", "x", "-1", "99999999999999999999999"] {
        let request = get(FEED)
            .basic_auth("notes-server", Some(&secret))
            .header("last-event-id", seen);
        assert_eq!(
            request.send().await.unwrap().status(),
            StatusCode::OK,
            "{seen:?} is none"
        );
    }
}
