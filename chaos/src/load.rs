//! The load: so many requests in each second, whatever becomes of those before. Nobody waits for an answer to send the
//! next, except when the lanes all do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{RwLock, mpsc},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::{lane::Lane, world::World};

/// At 50 requests in a second, so many lanes are enough for answers that take half a second.
const LANES: usize = 32;

/// Work that goes on until it is [ended](Load::end).
pub struct Load {
    /// Held by each request; whoever takes it as a writer has the server to himself.
    gate: Arc<RwLock<()>>,
    ends: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    late: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Load {
    /// Begins to send `rate` requests in a second.
    pub fn begin(world: &Arc<World>, rate: u32, seed: u64) -> Self {
        let gate = Arc::new(RwLock::new(()));
        let (ends, sent, late) = (Arc::default(), Arc::default(), Arc::default());
        let lanes = (0..LANES).map(|number| Lane::new(Arc::clone(world), seed, number));
        let sending = Sending {
            gate: Arc::clone(&gate),
            ends: Arc::clone(&ends),
            sent: Arc::clone(&sent),
            late: Arc::clone(&late),
            every: Duration::from_secs(1) / rate.max(1),
        };
        let task = tokio::spawn(sending.run(lanes.collect()));
        Self {
            gate,
            ends,
            sent,
            late,
            task,
        }
    }

    /// Waits for the requests under way, lets no new ones begin, and does something else meanwhile.
    pub async fn pause<T>(&self, meanwhile: impl Future<Output = T>) -> T {
        let _alone = self.gate.write().await;
        meanwhile.await
    }

    /// How many requests were sent, and how many were not since all lanes waited for answers.
    pub fn count(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::SeqCst),
            self.late.load(Ordering::SeqCst),
        )
    }

    /// Ends when all requests under way have.
    ///
    /// # Errors
    /// When the work failed by itself.
    pub async fn end(self) -> anyhow::Result<()> {
        self.ends.store(true, Ordering::SeqCst);
        Ok(self.task.await?)
    }
}

struct Sending {
    gate: Arc<RwLock<()>>,
    ends: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    late: Arc<AtomicU64>,
    every: Duration,
}

impl Sending {
    async fn run(self, lanes: Vec<Lane>) {
        let (idle, mut waiting) = mpsc::channel(lanes.len().max(1));
        for lane in lanes {
            let _ = idle.try_send(lane); // there is a place for each
        }
        let mut ticks = interval(self.every);
        // What could not be sent while nobody else might ask is not sent all at once afterwards.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = JoinSet::new();
        while !self.ends.load(Ordering::SeqCst) {
            ticks.tick().await;
            let pass = Arc::clone(&self.gate).read_owned().await;
            while under_way.try_join_next().is_some() {}
            let Ok(mut lane): Result<Lane, _> = waiting.try_recv() else {
                self.late.fetch_add(1, Ordering::SeqCst);
                continue;
            };
            self.sent.fetch_add(1, Ordering::SeqCst);
            let idle = idle.clone();
            under_way.spawn(async move {
                lane.step().await;
                drop(pass);
                let _ = idle.try_send(lane); // it comes back to its place
            });
        }
        while under_way.join_next().await.is_some() {}
    }
}
