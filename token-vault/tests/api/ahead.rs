//! Connections that are taken into memory before anybody asks for them.

use m2m::Clock;
use token_vault::provider::Dialect;

use crate::{
    at_rest::change,
    program::Program,
    support::fresh_postgres,
    world::{World, access},
};

/// An hour: far from its end.
const FRESH: u64 = 3600;

#[actix_web::test]
async fn what_was_read_ahead_is_given_and_noted_and_not_after_a_change() {
    let world = World::start().await;
    let token = world.stored("alice", FRESH).await;
    let vault = &world.replicas[0].vault;
    assert_eq!(vault.in_memory(), 0);
    assert_eq!(vault.read_ahead().await.unwrap(), 1);
    assert_eq!(vault.in_memory(), 1);

    // The row is not looked at any more.
    change(&world, None, "UPDATE connection SET sealed = x'00'").await;
    assert_eq!(access(world.fetched("alice").await).await, token);
    assert_eq!(world.events("token.released").await.len(), 1);

    let newer = world.stored("alice", FRESH).await;
    assert_eq!(access(world.fetched("alice").await).await, newer);
    let gone = world.delete("bot", "/hub?user=alice&connection=acme").await;
    assert_eq!(gone.status(), 200);
    assert_eq!(world.fetched("alice").await.status(), 404);
}

#[actix_web::test]
async fn only_tokens_that_need_no_look_are_read_ahead() {
    let world = World::start().await;
    world.stored("alice", FRESH).await;
    world.stored("about-to-end", 30).await;
    world.stored("damaged", FRESH).await;
    let damage = "UPDATE connection SET sealed = x'00' WHERE user_id = 'damaged'";
    change(&world, None, damage).await;
    let vault = &world.replicas[0].vault;
    assert_eq!(vault.read_ahead().await.unwrap(), 1);
    assert_eq!(world.fetched("damaged").await.status(), 409);
    assert_eq!(world.fetched("about-to-end").await.status(), 200);
}

#[actix_web::test]
async fn nothing_is_read_ahead_without_memory_or_where_others_write() {
    let mut world = World::start().await;
    world.stored("alice", FRESH).await;
    let replica = world.stop_and_start(&["--memory", "0"]).await;
    assert_eq!(replica.vault.read_ahead().await.unwrap(), 0);
    world.add(replica);
    assert_eq!(world.fetched("alice").await.status(), 200);
    assert_eq!(world.replicas[0].vault.in_memory(), 0);

    if let Some(database) = fresh_postgres().await {
        let world = World::start_as(Dialect::Generic, Some(database), 2).await;
        world.stored("alice", FRESH).await;
        assert_eq!(world.replicas[1].vault.read_ahead().await.unwrap(), 0);
    }
}

#[actix_web::test]
async fn a_program_reads_ahead_when_it_starts() {
    let mut world = World::without_vault(Dialect::Generic, None, Clock::System).await;
    let program = Program::start(&mut world, &[], "info");
    for name in ["alice", "bob", "carol"] {
        world.stored(name, FRESH).await;
    }
    program.terminate();
    let program = Program::start(&mut world, &[], "info");
    let in_memory = || async {
        let metrics = world.http.get(world.url("/metrics")).send().await.unwrap();
        metrics
            .text()
            .await
            .unwrap()
            .contains("token_vault_connections_in_memory 3\n")
    };
    while !in_memory().await {}
    let log = program.terminate();
    assert!(log.contains("read 3 connections ahead"), "{log}");
}
