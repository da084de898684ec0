//! A client's secret is rotated while all who share it go on: nobody notices, and no old secret stays for longer than it
//! is needed.

use std::time::Duration;

use m2m::{Clock, ManualClock, TokenSource};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Provider;

const POLICY: &str = "
    [resources.ledger]
    token_lifetime = '5m'
    [clients.fleet]
    [[grants]]
    client = 'fleet'
    resource = 'ledger'
    ";

/// A third of a token's life: a token is fetched at the end of the one before, and at no other time.
const STEP: Duration = Duration::from_secs(100);

struct World {
    provider: Provider,
    clock: ManualClock,
    admin: TokenSource,
}

/// One of those who share the client.
struct Member {
    tokens: TokenSource,
    /// Which secret it has.
    version: usize,
}

impl World {
    async fn start() -> Self {
        let clock = ManualClock::at(Clock::System.now());
        let provider = Provider::start_with(POLICY, clock.clock()).await;
        let admin = TokenSource::builder(&provider.issuer, "admin", provider.secret("admin"));
        Self {
            admin: admin.clock(clock.clock()).build().unwrap(),
            provider,
            clock,
        }
    }

    fn member(&self, version: usize, secret: &str) -> Member {
        let tokens = TokenSource::builder(&self.provider.issuer, "fleet", secret);
        Member {
            tokens: tokens.clock(self.clock.clock()).build().unwrap(),
            version,
        }
    }

    /// Asks the admin API for something about the fleet's credentials.
    async fn credentials(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("/admin/v1/clients/fleet/credentials{path}");
        let request = self.provider.http.request(method, self.provider.url(&url));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let sent = self.admin.send(request, &[], "auth-provider").await;
        let answer = sent.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap_or_default()
    }

    async fn list(&self) -> Vec<Value> {
        let mut answer = self.credentials(Method::GET, "", None).await;
        serde_json::from_value(answer["credentials"].take()).unwrap()
    }
}

impl Member {
    async fn works(&self) {
        self.tokens.token(&[], "ledger").await.unwrap();
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn nobody_notices_that_a_secret_is_rotated() {
    const STRAGGLING: usize = 20;
    let world = World::start().await;
    let mut secret = world.provider.secret("fleet");
    let mut ids = vec![text(&world.list().await[0]["credential_id"]).to_owned()];
    let mut members: Vec<Member> = (0..6).map(|_| world.member(0, &secret)).collect();
    for rotation in 1..=10 {
        let old = ids.last().unwrap().clone();
        let in_one_step = rotation % 2 == 0;
        let (verb, body) = if in_one_step {
            ("rotate", json!({"grace": 7_776_000}))
        } else {
            ("rotation", json!({}))
        };
        let path = format!("/{old}/{verb}");
        let new = world.credentials(Method::POST, &path, Some(body)).await;
        text(&new["client_secret"]).clone_into(&mut secret);
        ids.push(text(&new["credential_id"]).to_owned());

        let mut steps = 0;
        let mut is_rotated = false;
        while !is_rotated {
            world.clock.advance(STEP);
            steps += 1;
            for (place, member) in members.iter_mut().enumerate() {
                // One after the other takes the new secret. In one rotation one stays behind, and is late each time.
                let straggles = rotation == 5 && place == 0;
                let moves_at = if straggles { STRAGGLING } else { place + 1 };
                if steps == moves_at {
                    *member = world.member(rotation, &secret);
                }
                if !straggles || steps % 4 == 0 {
                    member.works().await;
                }
            }
            for credential in world.list().await {
                if credential["safe_to_remove"] == false {
                    continue;
                }
                let who_has_it = |id: &Value| {
                    let has = |member: &&Member| ids[member.version] == text(id);
                    members.iter().filter(has).count()
                };
                assert_eq!(credential["credential_id"], *old, "{credential}");
                assert_eq!(who_has_it(&credential["credential_id"]), 0, "{credential}");
                if in_one_step {
                    let path = format!("/{old}");
                    world.credentials(Method::DELETE, &path, None).await;
                } else {
                    let path = format!("/{old}/rotation/finish");
                    world.credentials(Method::POST, &path, None).await;
                }
                is_rotated = true;
            }
            assert!(steps < 40, "{old} has been safe to remove for long");
        }
        if rotation == 5 {
            assert!(steps > STRAGGLING);
        }
    }
}

#[tokio::test]
async fn who_comes_seldom_is_known_by_the_second_time() {
    let world = World::start().await;
    let seldom = world.member(0, &world.provider.secret("fleet"));
    let old = text(&world.list().await[0]["credential_id"]).to_owned();
    let path = format!("/{old}/rotate");
    let new = world
        .credentials(Method::POST, &path, Some(json!({})))
        .await;
    let often = world.member(1, text(&new["client_secret"]));
    let mut reasons = Vec::new();
    for step in 0..=21 {
        if step % 10 == 0 && step < 20 {
            seldom.works().await;
        }
        often.works().await;
        let all = world.list().await;
        let old = all
            .iter()
            .find(|credential| credential["credential_id"] == *old);
        let old = old.unwrap();
        let safe = old["safe_to_remove"].as_bool().unwrap();
        reasons.push((safe, text(&old["safe_to_remove_reason"]).to_owned()));
        world.clock.advance(STEP);
    }
    let (safe, reason) = &reasons[17];
    assert!(
        !safe && reason.contains("has let up to 1000 s pass"),
        "{reason}"
    );
    let safe: Vec<_> = reasons[10..].iter().map(|(safe, _)| *safe).collect();
    assert_eq!(safe.iter().filter(|safe| **safe).count(), 1, "{reasons:#?}");
    assert_eq!(safe.last(), Some(&true), "{reasons:#?}");
}
