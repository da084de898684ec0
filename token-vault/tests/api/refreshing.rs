//! Refreshing against a provider on a real port: every dialect, everything that goes wrong, several replicas at once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use token_vault::provider::Dialect;

use crate::{
    emulator::Fault,
    openbao::fresh_openbao,
    support::{NOW, fresh_postgres},
    world::{World, access, json},
};

#[actix_web::test]
async fn every_dialect_is_refreshed_and_says_when_it_is_over() {
    for dialect in [
        Dialect::Github,
        Dialect::Slack,
        Dialect::Okta,
        Dialect::Discord,
        Dialect::Generic,
    ] {
        let world = World::start_as(dialect, None, 1).await;
        world.stored("alice", 1000).await;
        assert_eq!(
            access(world.fetched("alice").await).await,
            "at.alice.0",
            "{dialect:?}"
        );
        world.hand.advance(Duration::from_secs(751)); // the last quarter of its life
        for _ in 0..2 {
            assert_eq!(
                access(world.fetched("alice").await).await,
                "at.alice.1",
                "{dialect:?}"
            );
        }
        assert_eq!(world.provider.refreshes(), 1, "{dialect:?}");
        let client = world.provider.last_client().unwrap();
        let post = dialect == Dialect::Github;
        assert_eq!(
            client.starts_with("post vault"),
            post,
            "{dialect:?}: {client}"
        );
        let ends = json(world.fetched("alice").await).await["expires_at"].clone();
        assert_eq!(ends, NOW + 751 + 28_800, "{dialect:?}");

        world.hand.advance(Duration::from_hours(8));
        assert_eq!(
            access(world.fetched("alice").await).await,
            "at.alice.2",
            "{dialect:?}"
        );
        world.provider.withdraw("alice");
        world.hand.advance(Duration::from_hours(8));
        for _ in 0..2 {
            let answer = world.fetched("alice").await;
            assert_eq!(answer.status(), 409, "{dialect:?}");
            assert_eq!(answer.headers()["vault-reason"], "refused_by_provider");
            assert_eq!(json(answer).await["error"], "needs_reconnect");
        }
        assert_eq!(
            world.provider.refreshes(),
            3,
            "{dialect:?}: a mark is not tried again"
        );
        world.stored("alice", 1000).await;
        assert_eq!(
            access(world.fetched("alice").await).await,
            "at.alice.0",
            "connected again"
        );
    }
}

#[actix_web::test]
async fn what_passes_keeps_the_old_token_while_it_lives() {
    for (fault, kind, doubted) in [
        (Fault::Answer(500, "oops"), "server_error", true),
        (
            Fault::Answer(503, r#"{"error":"invalid_grant"}"#),
            "server_error",
            true,
        ),
        (Fault::Answer(200, "<html>"), "malformed", true),
        (
            Fault::Answer(401, r#"{"error":"invalid_client"}"#),
            "client_refused",
            false,
        ),
        (Fault::Answer(302, ""), "client_refused", false),
        (Fault::DropBefore, "dropped", true),
        (Fault::Limited(1), "rate_limited", false),
    ] {
        let world = World::start().await;
        world.stored("alice", 1000).await;
        world.hand.advance(Duration::from_secs(800));
        world.provider.fault([fault.clone()]);
        for _ in 0..3 {
            assert_eq!(
                access(world.fetched("alice").await).await,
                "at.alice.0",
                "{fault:?}"
            );
        }
        assert_eq!(
            world.provider.refreshes(),
            0,
            "{fault:?}: it is left alone for a while"
        );
        let failed = world.events("refresh.failed").await;
        assert_eq!(
            (failed.len(), &failed[0]["reason"]),
            (1, &json!(kind)),
            "{fault:?}"
        );
        let status = json(world.get("bot", "/hub/status").await).await;
        assert_eq!(status["connections"][0]["last_failure"], kind, "{fault:?}");

        world.hand.advance(Duration::from_secs(2));
        assert_eq!(
            access(world.fetched("alice").await).await,
            "at.alice.1",
            "{fault:?}"
        );
        let retried = world.events("refresh.retried_after_lost_answer").await;
        assert_eq!(retried.len(), usize::from(doubted), "{fault:?}");
    }
}

#[actix_web::test]
async fn a_token_that_has_ended_is_not_given_and_the_pause_is_told() {
    let world = World::start().await;
    world.stored("alice", 1000).await;
    world.hand.advance(Duration::from_secs(1000));
    world.provider.fault([Fault::Limited(120)]);
    for _ in 0..2 {
        let answer = world.fetched("alice").await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "120");
    }
    world.hand.advance(Duration::from_secs(119));
    assert_eq!(world.fetched("alice").await.status(), 503);
    world.hand.advance(Duration::from_secs(1));
    assert_eq!(access(world.fetched("alice").await).await, "at.alice.1");

    let bare = json!({"user": "u", "access_token": "a", "refresh_token": "r", "expires_in": 0});
    world.post("bot", "/bare", &bare).await;
    assert_eq!(
        world.get("bot", "/bare?user=u").await.status(),
        503,
        "the vault has no credentials there"
    );
    let failed = world.events("refresh.failed").await;
    assert_eq!(failed[0]["reason"], "not_configured");
}

#[actix_web::test]
async fn an_answer_that_got_lost_is_tried_once_more_and_told() {
    let world = World::start().await;
    world.stored("alice", 1000).await;
    world.hand.advance(Duration::from_secs(800));
    world.provider.fault([Fault::DropAfter]);
    assert_eq!(
        access(world.fetched("alice").await).await,
        "at.alice.0",
        "it lives, as far as is known"
    );
    world.hand.advance(Duration::from_secs(2));
    let answer = world.fetched("alice").await;
    assert_eq!(answer.status(), 409);
    assert_eq!(answer.headers()["vault-reason"], "lost_answer");
    assert_eq!(world.provider.spent_twice(), [("rt.alice.0".to_owned(), 2)]);
    assert_eq!(
        world
            .events("refresh.retried_after_lost_answer")
            .await
            .len(),
        1
    );
    assert_eq!(
        world.events("connection.needs_reconnect").await[0]["reason"],
        "lost_answer"
    );
}

#[actix_web::test]
async fn tokens_that_cannot_be_refreshed_say_so_at_their_end() {
    let world = World::start().await;
    let store = |account: &str, more: serde_json::Value| {
        let mut body = json!({"user": "u", "connection": account, "access_token": "a"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for body in [
        store("for ever", json!({})),
        store(
            "for ever, with a refresh token",
            json!({"refresh_token": "r"}),
        ),
        store("alone", json!({"expires_in": 100})),
        store(
            "late",
            json!({"expires_in": 100, "refresh_token": "r", "refresh_token_expires_in": 50}),
        ),
    ] {
        assert_eq!(world.post("bot", "/hub", &body).await.status(), 200);
    }
    world.hand.advance(Duration::from_secs(100));
    for (account, reason) in [
        ("for+ever", None),
        ("for+ever,+with+a+refresh+token", None),
        ("alone", Some("ended")),
        ("late", Some("refresh_token_ended")),
    ] {
        let answer = world
            .get("bot", &format!("/hub?user=u&connection={account}"))
            .await;
        let told = answer
            .headers()
            .get("vault-reason")
            .map(|value| value.to_str().unwrap());
        assert_eq!(told, reason, "{account}");
    }
    assert_eq!(world.provider.refreshes(), 0);
    assert_eq!(world.events("connection.needs_reconnect").await.len(), 2);
}

/// The bar of the whole crate: many readers, several replicas, one refresh.
#[actix_web::test]
async fn fifty_readers_on_three_replicas_cause_one_refresh() {
    let Some(database) = fresh_postgres().await else {
        return;
    };
    one_refresh_for_fifty(World::start_as(Dialect::Github, Some(database), 3).await).await;
}

#[actix_web::test]
async fn fifty_readers_on_three_replicas_with_a_vault_server_as_well() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    one_refresh_for_fifty(World::start_on(Dialect::Github, openbao, 3).await).await;
}

async fn one_refresh_for_fifty(world: World) {
    for round in 0..5_u32 {
        let name = format!("user{round}");
        world.stored(&name, 1000).await;
        world.hand.advance(Duration::from_secs(800));
        let before = world.provider.refreshes();
        // The provider takes its time, so that all of them come while it does.
        world.provider.fault([Fault::Hold]);
        let token = world.token("bot", "tokens.read");
        let reads = join_all((0..50).map(|reader| {
            let url = &world.replicas[reader % 3].url;
            let request = world
                .http
                .get(format!("{url}/hub?user={name}&connection=acme"));
            request.bearer_auth(&token).send()
        }));
        let asked = world.provider.asked(before + 1);
        let release = async {
            asked.await;
            world.provider.release();
        };
        let (reads, ()) = futures_util::future::join(reads, release).await;
        for read in reads {
            assert_eq!(access(read.unwrap()).await, format!("at.{name}.1"));
        }
        assert_eq!(world.provider.refreshes(), before + 1, "round {round}");
    }
    assert_eq!(world.provider.spent_twice(), []);
    assert_eq!(world.events("refresh.done").await.len(), 5);
}

#[actix_web::test]
async fn what_is_used_is_refreshed_ahead_of_its_end() {
    let world = World::start().await;
    for name in ["used", "unused", "ended"] {
        world.stored(name, 1000).await;
    }
    for name in ["used", "ended"] {
        world.fetched(name).await;
    }
    world.provider.withdraw("ended");
    let vault = &world.replicas[0].vault;
    vault.journal.settle().await.unwrap();
    world.hand.advance(Duration::from_secs(689));
    vault.refresher.look_ahead().await.unwrap();
    assert_eq!(
        world.provider.refreshes(),
        0,
        "a minute ahead of the last quarter, not earlier"
    );
    world.hand.advance(Duration::from_secs(1));
    vault.refresher.look_ahead().await.unwrap();
    assert_eq!(world.provider.refreshes(), 2);
    vault.refresher.look_ahead().await.unwrap();
    assert_eq!(
        world.provider.refreshes(),
        2,
        "neither the new nor the broken one"
    );
    assert_eq!(access(world.fetched("used").await).await, "at.used.1");
    assert_eq!(access(world.fetched("unused").await).await, "at.unused.0");
    assert_eq!(world.fetched("ended").await.status(), 409);
}

/// The user connects again, or is forgotten, while the provider takes its time with the old consent.
#[actix_web::test]
async fn a_refresh_that_was_overtaken_is_not_written() {
    let world = World::start().await;
    for (name, again) in [("alice", true), ("bob", false)] {
        world.stored(name, 1000).await;
        world.hand.advance(Duration::from_secs(800));
        let before = world.provider.refreshes();
        world.provider.fault([Fault::Hold]);
        let overtake = async {
            world.provider.asked(before + 1).await;
            if again {
                let body = json!({"user": name, "connection": "acme", "access_token": "at.new.0", "expires_in": 1000});
                assert_eq!(world.post("bot", "/hub", &body).await.status(), 200);
            } else {
                world
                    .delete("bot", &format!("/hub?user={name}&connection=acme"))
                    .await;
            }
            world.provider.release();
        };
        let (read, ()) = futures_util::future::join(world.fetched(name), overtake).await;
        if again {
            assert_eq!(access(read).await, "at.new.0");
        } else {
            assert_eq!(read.status(), 404);
            let revoked = world.provider.revoked();
            assert!(
                revoked.contains(&"POST rt.bob.1".to_owned()),
                "nobody's tokens do not live on: {revoked:?}"
            );
        }
    }
    assert_eq!(world.events("refresh.superseded").await.len(), 2);
}

#[actix_web::test]
async fn a_caller_who_hangs_up_stops_nothing() {
    let world = World::start().await;
    world.stored("alice", 1000).await;
    world.hand.advance(Duration::from_secs(800));
    world.provider.fault([Fault::Hold]);
    {
        let asked = Box::pin(world.provider.asked(1));
        let read = Box::pin(world.fetched("alice"));
        futures_util::future::select(read, asked).await; // whoever is left is dropped: the reader
    }
    world.provider.release();
    assert_eq!(access(world.fetched("alice").await).await, "at.alice.1");
    assert_eq!(world.provider.refreshes(), 1);
}

/// What one replica keeps or forgets, another knows as soon as it is answered.
#[actix_web::test]
async fn a_change_on_one_replica_is_seen_on_another_at_once() {
    let Some(database) = fresh_postgres().await else {
        return;
    };
    let world = World::start_as(Dialect::Generic, Some(database), 2).await;
    let token = world.token("bot", "tokens.read");
    let other = || async {
        let url = format!("{}/hub?user=alice&connection=acme", world.replicas[1].url);
        world
            .http
            .get(url)
            .bearer_auth(&token)
            .send()
            .await
            .unwrap()
    };
    for round in 0..20 {
        let token = format!("at.new.{round}");
        let body = json!({"user": "alice", "connection": "acme", "access_token": token});
        assert_eq!(world.post("bot", "/hub", &body).await.status(), 200);
        for _ in 0..2 {
            assert_eq!(access(other().await).await, token);
        }
        world.delete("bot", "/hub?user=alice&connection=acme").await;
        assert_eq!(other().await.status(), 404);
    }
}
