//! When is it safe to remove the old secret? Asked through the API, of clients that fetch tokens and of one that lags
//! behind.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    administration::{Admin, lives, secret, token_with, works},
    support::{NOW, POLICY, Server},
};

const LIST: &str = "/clients/worker/credentials";

/// The life of a token for notes, in seconds.
const LIFE: u64 = 3600;

struct Worker<'s> {
    server: &'s Server,
    admin: Admin<'s>,
    old: String,
    new: String,
    old_path: String,
    new_path: String,
}

impl<'s> Worker<'s> {
    /// A client in the middle of a rotation.
    async fn rotating(server: &'s Server) -> Self {
        let admin = Admin::of(server);
        let old = admin.reader("worker").await;
        let all = admin.get(LIST).await.is(200);
        let id = all["credentials"][0]["credential_id"].as_str().unwrap();
        let old_path = format!("{LIST}/{id}");
        let made = admin.post(&format!("{old_path}/rotation"), json!({})).await;
        let made = made.is(201);
        Self {
            server,
            new: secret(&made),
            new_path: format!("{LIST}/{}", made["credential_id"].as_str().unwrap()),
            admin,
            old,
            old_path,
        }
    }

    async fn fetch(&self, secret: &str) -> String {
        token_with(self.server, "worker", secret).await
    }

    async fn wait(&self, seconds: u64) {
        self.server.advance(Duration::from_secs(seconds)).await;
    }

    /// The old credential, which is safe to remove or not, with words in the reason.
    async fn old_is(&self, safe: bool, part: &str) -> Value {
        let old = self.admin.get(&self.old_path).await.is(200);
        let reason = old["safe_to_remove_reason"].as_str().unwrap();
        assert_eq!(old["safe_to_remove"], safe, "{reason}");
        assert!(reason.contains(part), "{part}: {reason}");
        let all = self.admin.get(LIST).await.is(200);
        assert!(all["credentials"].as_array().unwrap().contains(&old));
        old
    }
}

#[actix_web::test]
async fn the_old_secret_is_safe_to_remove_when_its_last_token_has_ended_and_the_client_moved_on() {
    for tokens in ["each", "summed"] {
        safe_in_time(tokens).await;
    }
}

async fn safe_in_time(tokens: &str) {
    let more = format!("audit_tokens = '{tokens}'");
    let server = Server::start_with(POLICY, &more).await;
    let worker = Worker::rotating(&server).await;
    worker.old_is(false, "may not have it yet").await;
    worker.fetch(&worker.old).await;
    worker.wait(100).await;
    worker
        .old_is(false, "no other credential has been used")
        .await;
    worker.fetch(&worker.new).await;
    let old = worker.old_is(false, "lives for another 3501 s").await;
    assert_eq!(
        (&old["use_count"], &old["last_used_at"]),
        (&json!(1), &json!(NOW))
    );
    worker.wait(LIFE - 100).await;
    worker.old_is(false, "lives for another 1 s").await;
    worker.wait(1).await;
    worker
        .old_is(false, "may be late: look again in 3600 s")
        .await;
    worker.wait(LIFE - 1).await;
    worker.old_is(false, "look again in 1 s").await;
    worker.wait(1).await;
    worker
        .old_is(true, "Another credential has been used since")
        .await;

    let finish = format!("{}/rotation/finish", worker.old_path);
    worker.admin.post(&finish, json!({})).await.is(200);
    assert!(works(&server, "worker", &worker.new).await);
    assert!(!works(&server, "worker", &worker.old).await);
}

#[actix_web::test]
async fn one_straggler_keeps_it_false() {
    let server = Server::start().await;
    let worker = Worker::rotating(&server).await;
    worker.fetch(&worker.old).await;
    for _ in 0..5 {
        // Everybody has moved on, except for one who fetches a token when the last one has ended.
        for _ in 0..36 {
            worker.wait(100).await;
            worker.fetch(&worker.new).await;
            worker.old_is(false, "").await;
        }
        let token = worker.fetch(&worker.old).await;
        assert!(lives(&server, &token).await);
        worker
            .old_is(false, "no other credential has been used")
            .await;
    }
    worker.wait(LIFE).await;
    worker.fetch(&worker.new).await;
    worker.old_is(false, "lives for another 1 s").await;
    let gap = LIFE;
    worker.wait(LIFE).await;
    worker.old_is(false, "look again in 1 s").await;
    worker.wait(1).await;
    worker
        .old_is(true, &format!("never let more than {gap} s"))
        .await;
    let old = worker.admin.get(&worker.old_path).await.is(200);
    assert_eq!(
        (&old["use_count"], &old["last_used_at"]),
        (&json!(6), &json!(NOW + 5 * LIFE))
    );
}

/// A client that comes once in a while, as a nightly job does, is waited for.
#[actix_web::test]
async fn a_client_that_takes_its_time_is_given_it() {
    let server = Server::start().await;
    let worker = Worker::rotating(&server).await;
    worker.fetch(&worker.old).await;
    worker.wait(20_000).await;
    worker.fetch(&worker.old).await;
    worker.wait(10_000).await;
    worker.fetch(&worker.new).await;
    worker
        .old_is(
            false,
            "up to 20000 s pass between two uses: look again in 10001 s",
        )
        .await;
    worker.wait(10_000).await;
    worker.old_is(false, "look again in 1 s").await;
    worker.wait(1).await;
    worker.old_is(true, "never let more than 20000 s").await;
    worker.fetch(&worker.old).await;
    worker.old_is(false, "no other credential").await;
}

#[actix_web::test]
async fn uses_are_counted_and_dated() {
    let server = Server::start().await;
    let worker = Worker::rotating(&server).await;
    let of = async |path: &str| worker.admin.get(path).await.is(200);
    assert!(of("/clients/worker").await["last_used_at"].is_null());
    for n in 1..=3_u64 {
        worker.fetch(&worker.old).await;
        let old = of(&worker.old_path).await;
        assert_eq!(
            (&old["use_count"], &old["last_used_at"]),
            (&json!(n), &json!(NOW + (n - 1) * 7))
        );
        worker.wait(7).await;
    }
    worker.fetch(&worker.new).await;
    let new = of(&worker.new_path).await;
    assert_eq!(
        (&new["use_count"], &new["last_used_at"]),
        (&json!(1), &json!(NOW + 21))
    );
    assert_eq!(of("/clients/worker").await["last_used_at"], NOW + 21);

    // What was refused is no use.
    let nothing = worker.admin.post(LIST, json!({})).await.is(201);
    let id = nothing["credential_id"].as_str().unwrap();
    worker.admin.delete("/grants/worker/notes").await.is(204);
    assert!(works(&server, "worker", &secret(&nothing)).await);
    assert_eq!(of(&format!("{LIST}/{id}")).await["use_count"], 0);
    let listed = worker.admin.get("/clients?prefix=worker").await.is(200);
    assert_eq!(listed["clients"][0]["last_used_at"], NOW + 21);
}

/// A resource server fetches no tokens for itself, but asks about others' all the time.
#[actix_web::test]
async fn who_only_introspects_leaves_a_trace_once_a_minute() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let list = "/clients/notes-server/credentials";
    let all = admin.get(list).await.is(200);
    let old = format!(
        "{list}/{}",
        all["credentials"][0]["credential_id"].as_str().unwrap()
    );
    let made = admin
        .post(&format!("{old}/rotation"), json!({}))
        .await
        .is(201);
    let new = secret(&made);
    let token = server.token("bot", "notes").await;
    for n in 0..10 {
        // Ten times within two minutes, twelve seconds apart.
        let known = server.introspect("notes-server", &token).await;
        assert_eq!(known["active"], true);
        let seen = admin.get(&old).await.is(200);
        let minutes = n * 12 / 60;
        assert_eq!(seen["use_count"], 1 + minutes);
        assert_eq!(seen["last_used_at"], NOW + minutes * 60);
        server.advance(Duration::from_secs(12)).await;
    }
    let introspect = async || {
        let request = server.post("/oauth/introspect");
        let request = request.basic_auth("notes-server", Some(&new));
        let answer = request.form(&[("token", &token)]).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    introspect().await;
    let seen = admin.get(&old).await.is(200);
    assert_eq!(seen["safe_to_remove"], false, "{seen}");
    server.advance(Duration::from_secs(61)).await;
    introspect().await;
    let seen = admin.get(&old).await.is(200);
    assert_eq!(seen["safe_to_remove"], true, "{seen}");
}
