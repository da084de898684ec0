//! The keys of this server: what [`life`] says is due is done here, in the store first and then in memory.

use std::{slice::from_ref, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use m2m::{Clock, verify::Algorithm};
use tokio::{sync::Mutex, task::spawn_blocking};
use tracing::{info, warn};

use super::{
    KeyChange, KeyError, KeyRecord, KeyRing, KeyState, Schedule, Signer, SigningKey, StoredKey,
    life::{self, NewKey, Plan},
};
use crate::{
    audit::Event,
    leases::{Job, KEPT_EVERY, Leases},
    master_key::MasterKey,
    metrics::Metrics,
    storage::Store,
};

/// What resources use whose policy names no algorithm, this server's own among them.
pub const DEFAULT_ALGORITHM: Algorithm = Algorithm::ES256;

/// How long the keeper sleeps at the most: the machine's clock may have been set in the meantime.
const LONGEST_NAP: Duration = Duration::from_mins(1);

/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The keys at one moment, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCensus {
    pub states: Vec<(Algorithm, KeyState)>,
    /// Seconds since the epoch; in the past when it is overdue.
    pub next_rotations: Vec<(Algorithm, u64)>,
}

/// The keys of this server. Who issues a token never waits for a change of the keys.
pub struct SigningKeys {
    store: Arc<dyn Store>,
    master: Arc<MasterKey>,
    schedule: Schedule,
    clock: Clock,
    ring: ArcSwap<KeyRing>,
    /// Lets one change through at a time, and is held while the store works.
    changing: Mutex<()>,
    metrics: Arc<Metrics>,
}

impl SigningKeys {
    /// Opens the keys that the store has. It may have none: [`tend`](Self::tend) makes them.
    ///
    /// # Errors
    /// When the store does not answer, or a key in it cannot be opened.
    pub async fn open(
        store: Arc<dyn Store>,
        master: Arc<MasterKey>,
        schedule: Schedule,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KeyError> {
        let promise = KeyChange::Promise {
            announce_time: schedule.announce_time,
            retire_time: schedule.retire_time,
        };
        let keys = Self {
            ring: ArcSwap::from_pointee(KeyRing::new(vec![], vec![], &schedule)),
            store,
            master,
            schedule,
            clock,
            changing: Mutex::default(),
            metrics,
        };
        keys.take_over(keys.store.signing_keys().await?)?;
        keys.store.change_keys(&[], &[promise], &[]).await?;
        Ok(keys)
    }

    /// The keys as they are now.
    pub fn ring(&self) -> arc_swap::Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    /// The key that signs with `algorithm` at `now`. It is made if there is none yet.
    ///
    /// # Errors
    /// When there is none and none can be made.
    pub async fn signer(&self, algorithm: Algorithm, now: u64) -> Result<Signer, KeyError> {
        if let Some(signer) = self.ring().signer(algorithm, &self.schedule, now) {
            return Ok(signer);
        }
        Box::pin(self.tend()).await?;
        let signer = self.ring().signer(algorithm, &self.schedule, now);
        signer.ok_or(KeyError::Missing(algorithm.name()))
    }

    /// Takes over what other servers changed, and does what is due.
    ///
    /// # Errors
    /// When the store does not answer, or a key in it cannot be opened. The keys that were there stay.
    pub async fn tend(&self) -> Result<(), KeyError> {
        let _one = self.changing.lock().await;
        self.change_until_done(None, |_, _| Plan::default()).await
    }

    /// Makes the keys that a change of the resources needs. When that fails, whoever needs one first tries again.
    pub async fn look_after(&self) {
        if let Err(error) = self.tend().await {
            warn!("cannot tend the keys after a change: {error}");
        }
    }

    /// Whether keys are published for long enough for tokens of this life.
    ///
    /// # Errors
    /// When they are not; the error says what to set.
    pub fn allow_tokens_of(&self, longest: u64) -> anyhow::Result<()> {
        self.schedule.allows_tokens_of(longest)
    }

    /// Lets the next key of `algorithm`, or of all that are in use, sign as soon as caches know it; `event` tells of it.
    ///
    /// # Errors
    /// As [`tend`](Self::tend). [`KeyError::Missing`] when `algorithm` is not in use.
    pub async fn rotate(
        &self,
        algorithm: Option<Algorithm>,
        event: &Event,
    ) -> Result<(), KeyError> {
        let _one = self.changing.lock().await;
        let used = |keys: &[KeyRecord], alg| keys.iter().any(|key| key.algorithm == alg);
        if let Some(missing) = algorithm.filter(|alg| !used(self.ring().records(), *alg)) {
            return Err(KeyError::Missing(missing.name()));
        }
        self.change_until_done(Some(event), |keys, now| {
            let mut plan = Plan::default();
            for alg in Algorithm::ALL.into_iter().filter(|alg| used(keys, *alg)) {
                if algorithm.is_none_or(|only| only == alg) {
                    plan.add(life::rotate(keys, alg, &self.schedule, now));
                }
            }
            plan
        })
        .await
    }

    /// Takes a key out of the key set at once and for ever; `event` tells of it. False when there is no such key.
    ///
    /// # Errors
    /// As [`tend`](Self::tend).
    pub async fn compromise(&self, kid: &str, event: &Event) -> Result<bool, KeyError> {
        let _one = self.changing.lock().await;
        self.change_until_done(Some(event), |keys, now| {
            let key = keys.iter().find(|key| key.kid == kid);
            key.map_or_else(Plan::default, |key| life::compromise(keys, key, now))
        })
        .await?;
        Ok(self.ring().records().iter().any(|key| key.kid == kid))
    }

    /// Where the keys are in their lives, and when the next of each algorithm shall sign.
    pub fn census(&self) -> KeyCensus {
        let (ring, now) = (self.ring(), self.clock.now());
        let records = ring.records();
        let states = records
            .iter()
            .map(|key| (key.algorithm, key.state(records, now)));
        let next = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let next = life::next_rotation(records, algorithm, &self.schedule, now)?;
            Some((algorithm, next))
        });
        KeyCensus {
            states: states.collect(),
            next_rotations: next.collect(),
        }
    }

    /// Takes over what other servers changed. False when somebody here is about to change the keys: then it is to be done
    /// again.
    ///
    /// # Errors
    /// As [`tend`](Self::tend).
    pub async fn catch_up(&self) -> Result<bool, KeyError> {
        // Making a key takes a moment, for which revocations must not wait.
        let Ok(_one) = self.changing.try_lock() else {
            return Ok(false);
        };
        self.take_over(self.store.signing_keys().await?)?;
        Ok(true)
    }

    /// Tends the keys for ever, when something is due and it is this server's turn.
    pub async fn run(&self, leases: &Leases) {
        let mut failing = false;
        loop {
            let nap = if failing {
                AFTER_FAILURE
            } else if leases.holds(Job::RotateKeys) {
                leases.longest_nap(LONGEST_NAP).min(self.until_due())
            } else {
                KEPT_EVERY
            };
            tokio::time::sleep(nap).await;
            if !leases.holds(Job::RotateKeys) {
                continue;
            }
            match self.tend().await {
                Ok(()) => failing = false,
                Err(error) if failing => tracing::debug!("still cannot tend the keys: {error}"),
                Err(error) => {
                    warn!("cannot tend the keys and goes on with those that are there: {error}");
                    failing = true;
                }
            }
        }
    }

    /// At least a moment: a clock that is set back must not turn this in circles.
    fn until_due(&self) -> Duration {
        let now = self.clock.now();
        let due = life::next_due(self.ring().records(), &self.schedule, now);
        let millis = due.map_or(u64::MAX, |due| {
            (due * 1000).saturating_sub(self.clock.now_ms())
        });
        Duration::from_millis(millis.max(100))
    }

    /// Does what `wanted` says of the keys in the store, then what is due, and takes over the outcome.
    /// Another server may be faster at any step: then its keys are the ones to go on from. The caller holds
    /// the gate.
    async fn change_until_done(
        &self,
        event: Option<&Event>,
        wanted: impl Fn(&[KeyRecord], u64) -> Plan,
    ) -> Result<(), KeyError> {
        loop {
            let needs = self.store.signing_needs().await?;
            let stored = self.store.signing_keys().await?;
            let records: Vec<_> = stored.iter().map(|key| key.record.clone()).collect();
            let now = self.clock.now();
            let mut plan = wanted(&records, now);
            let event = event.filter(|_| !plan.is_empty());
            if plan.is_empty() {
                let mut in_use: Vec<_> = needs.iter().map(|need| need.algorithm).collect();
                in_use.push(DEFAULT_ALGORITHM);
                plan = life::due(&records, &in_use, &self.schedule, now);
            }
            if plan.is_empty() {
                return self.take_over(stored);
            }
            self.carry_out(plan, now, event).await?;
        }
    }

    async fn carry_out(&self, plan: Plan, now: u64, event: Option<&Event>) -> Result<(), KeyError> {
        let mut made = Vec::new();
        for new in &plan.make {
            made.push(self.make(*new, now).await);
        }
        let events = event.map_or(&[][..], from_ref);
        if !self.store.change_keys(&made, &plan.change, events).await? {
            return Ok(());
        }
        self.metrics.count(events);
        for StoredKey { record, .. } in &made {
            let (kid, alg, signs_from) = (&record.kid, record.algorithm.name(), record.signs_from);
            info!(kid, alg, signs_from, "made a signing key");
        }
        for change in &plan.change {
            match change {
                KeyChange::Compromise { kid, .. } => warn!(kid, "a signing key is compromised"),
                KeyChange::SignFrom { kid, at } => {
                    info!(kid, at, "a signing key is brought forward");
                }
                KeyChange::Delete { kid } => info!(kid, "deleted a signing key"),
                KeyChange::Promise { .. } => {}
            }
        }
        Ok(())
    }

    async fn make(&self, new: NewKey, now: u64) -> StoredKey {
        let master = Arc::clone(&self.master);
        let schedule = self.schedule;
        let make = move || {
            let (key, private) = SigningKey::generate(new.algorithm);
            StoredKey {
                sealed_private: master.seal(&private, key.kid()),
                record: KeyRecord {
                    kid: key.kid().to_owned(),
                    algorithm: new.algorithm,
                    number: new.number,
                    created_at: now,
                    signs_from: new.signs_from,
                    announce_time: schedule.announce_time,
                    retire_time: schedule.retire_time,
                    compromised_at: None,
                },
            }
        };
        spawn_blocking(make)
            .await
            .expect("making a key does not panic")
    }

    /// Swaps in the keys as the store has them. One that was opened before is not opened again.
    fn take_over(&self, stored: Vec<StoredKey>) -> Result<(), KeyError> {
        let before = self.ring();
        if stored.iter().map(|key| &key.record).eq(before.records()) {
            return Ok(());
        }
        let mut keys = Vec::new();
        for key in &stored {
            if key.record.compromised_at.is_some() {
                continue;
            }
            keys.push(match before.find(&key.record.kid) {
                Some(known) => Arc::clone(known),
                None => Arc::new(SigningKey::open(key, &self.master)?),
            });
        }
        let records = stored.into_iter().map(|key| key.record).collect();
        let ring = KeyRing::new(records, keys, &self.schedule);
        self.ring.store(Arc::new(ring));
        Ok(())
    }
}
