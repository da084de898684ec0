//! What goes on beside the requests: what other servers did is brought into this one's memory, and one of the servers
//! does what has to be done once for all.

use std::{sync::Arc, time::Duration};

use m2m::Clock;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Interval, interval},
};
use tracing::{debug, warn};

use crate::{
    expiry,
    keys::KeyError,
    leases::{Job, KEPT_EVERY},
    metrics::Operation,
    server::AuthServer,
    storage::{Marks, StoreError, Watcher},
};

/// How often it is looked at the clock for what is due.
const STEP: Duration = Duration::from_millis(500);

/// How often what no longer counts is forgotten.
const SWEEP_SECONDS: u64 = 60;

/// How often it is looked for credentials that end soon.
const LOOK: Duration = Duration::from_hours(1);

/// The database remembers for an hour what changed; who did not look for so long forgets all that it knew.
const LONGEST_ABSENCE: Duration = Duration::from_mins(10);

/// Begins all of it. It ends with what is returned, or, but for the watch, when the server stops.
pub fn begin(server: &Arc<AuthServer>, watch: Option<(Watcher, Marks)>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    if let Some((watcher, seen)) = watch {
        tasks.spawn(follow(Arc::clone(server), watcher, seen));
    }
    tasks.spawn(keep_leases(Arc::clone(server)));
    tasks.spawn(sweep(Arc::clone(server)));
    tasks.spawn(tend_keys(Arc::clone(server)));
    tasks.spawn(warn_of_endings(Arc::clone(server)));
    tasks
}

/// Brings what other servers change into memory, for ever. `seen` was asked for before anything was read.
async fn follow(server: Arc<AuthServer>, mut watcher: Watcher, mut seen: Marks) {
    let mut failing = false;
    loop {
        let marks = watcher.marks().await;
        let catching_up = catch_up(&server, &mut seen, marks);
        match server.metrics.timed(Operation::Poll, catching_up).await {
            Ok(()) => {
                server.contact.in_step_with(marks.at);
                failing = false;
            }
            Err(error) if failing || server.contact.is_away() => {
                debug!("still cannot keep in step with the database: {error}");
            }
            Err(error) => {
                warn!("cannot keep in step with the database: {error}");
                failing = true;
            }
        }
    }
}

async fn catch_up(server: &AuthServer, seen: &mut Marks, marks: Marks) -> Result<(), KeyError> {
    let store = server.store.as_ref();
    if seen.revocations < marks.revocations {
        server.revocations.catch_up(store).await?;
    }
    if marks.at - seen.at > LONGEST_ABSENCE {
        server.directory.forget_everything();
    } else if seen.registry < marks.registry {
        let (changed, _) = store.changes_after(seen.registry).await?;
        server.directory.forget_changed(&changed);
    }
    // When somebody here is about to change the keys, the next look finds out.
    let caught_up = seen.keys == marks.keys || server.keys.catch_up().await?;
    let keys = if caught_up { marks.keys } else { seen.keys };
    *seen = Marks { keys, ..marks };
    Ok(())
}

/// Keeps the leases of this server until it stops.
async fn keep_leases(server: Arc<AuthServer>) {
    let mut stopping = server.stopping.subscribe();
    let mut ticks = interval(KEPT_EVERY);
    while next(&mut ticks, &mut stopping).await {
        if let Err(error) = server.leases.keep(server.store.as_ref()).await {
            debug!("cannot keep its leases: {error}");
        }
    }
}

/// Forgets what no longer counts, until the server stops.
async fn sweep(server: Arc<AuthServer>) {
    let mut stopping = server.stopping.subscribe();
    let mut ticks = interval(STEP);
    let mut swept_at = server.clock.now();
    while next(&mut ticks, &mut stopping).await {
        let now = server.clock.now();
        if now < swept_at + SWEEP_SECONDS {
            continue;
        }
        swept_at = now;
        server.revocations.sweep(now);
        if let Err(error) = sweep_store(&server, now).await {
            warn!("cannot forget what no longer counts: {error}");
        }
    }
}

/// In small steps, between which others can write, and as long as it is this server's turn.
async fn sweep_store(server: &AuthServer, now: u64) -> Result<(), StoreError> {
    let store = server.store.as_ref();
    let kept_from = now.saturating_sub(server.audit_retention);
    let its_turn = || server.leases.holds(Job::Sweep);
    if its_turn() {
        store.forget_revocations(now).await?;
        store.forget_answers(now).await?;
        store.forget_changes().await?;
    }
    while its_turn() && store.forget_opaque_tokens(now).await? {
        tokio::task::yield_now().await;
    }
    while its_turn() && store.forget_events(kept_from).await? {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Does what is due to the signing keys, until the server stops. A clock that is moved by hand wakes nobody: who
/// moves it tends the keys.
async fn tend_keys(server: Arc<AuthServer>) {
    let Clock::System = server.clock else {
        return;
    };
    let mut stopping = server.stopping.subscribe();
    tokio::select! {
        () = server.keys.run(&server.leases) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// Tells of credentials that end soon, at the start and each hour. A clock that is moved by hand wakes nobody: who moves
/// it looks.
async fn warn_of_endings(server: Arc<AuthServer>) {
    let Clock::System = server.clock else {
        return;
    };
    let mut stopping = server.stopping.subscribe();
    let mut looks = interval(LOOK);
    while next(&mut looks, &mut stopping).await {
        let looked = if server.leases.holds(Job::Warn) {
            expiry::look(&server).await.map(drop)
        } else {
            expiry::count(&server).await
        };
        if let Err(error) = looked {
            warn!("cannot look for credentials that end soon: {error}");
        }
    }
}

/// Waits for the next tick. False when the server stops.
async fn next(ticks: &mut Interval, stopping: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stopping| *stopping) => false,
        _ = ticks.tick() => true,
    }
}
