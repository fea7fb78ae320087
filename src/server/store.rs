//! Keeps the snapshot of the store current while the gateway runs, and saves quotas (`quotas`).
//!
//! A thread of its own looks every [`LOOK_EVERY`] whether another connection has changed the file (SQLite keeps a
//! number for that; reading it costs microseconds), and then whether keys were changed, which have a revision of their
//! own; if so it reads all keys that are good and publishes them at once. So a key that was made or revoked, by a command or over the admin listener, counts after that time and the reading,
//! which takes about 13 ms for 10,000 keys and 160 ms for the 100,000 that a store holds at most: within a second. While
//! keys are made all the time, a store that is nearly full keeps this thread busy for 40 % of a core.
//!
//! A file that cannot be read, or is no longer there, changes nothing: the last snapshot goes on, the fault is logged
//! once and counted, and the file is opened again at each look until it is well.

mod quotas;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use log::{error, info, warn};
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Config, Place, Report};
use crate::gateway::Gateway;
use crate::policy::limit::{Clock, Limiter};
use crate::proxy::State;
use crate::store::{Snapshot, Store, StoreError};

use super::unix_now;

use quotas::Quotas;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a save waits for another process that writes. Keys cannot change while one does.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for the last save of the process.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// How many consumers a warning names.
const MOST_NAMED: usize = 5;

/// The background task.
pub struct Keeper {
    state: Arc<State>,
    look: Mutex<Look>,
}

/// The file, as it was seen last.
pub struct Look {
    path: PathBuf,
    /// `None` after a fault.
    open: Option<Open>,
    /// What was said of the last fault, until the file is well again.
    fault: Option<String>,
    /// The generation that the owners of keys were looked up in.
    generation: u64,
    quotas: Quotas,
}

struct Open {
    store: Store,
    /// The version of the file that was read last, and in it the revision of the keys and that of the counters.
    version: i64,
    keys: i64,
    counters: i64,
}

impl Open {
    /// Takes the first snapshot of an open store.
    fn new(store: Store) -> Result<(Self, Snapshot), StoreError> {
        store.verify()?;
        // Before the keys, so that a change between the two is seen at the next look.
        let (version, keys) = (store.version()?, store.keys_revision()?);
        let snapshot = store.snapshot(unix_now())?;
        Ok((Self { store, version, keys, counters: 0 }, snapshot))
    }

    /// Brings in the counters that others have saved, and takes a new snapshot if the keys have changed.
    fn follow(&mut self, limiter: &Limiter, clock: &Clock) -> Result<Option<Snapshot>, StoreError> {
        let version = self.store.version()?;
        if version == self.version {
            return Ok(None);
        }
        self.counters = quotas::bring_in(limiter, clock, &self.store, self.counters)?;
        let keys = self.store.keys_revision()?;
        let snapshot = if keys == self.keys { None } else { Some(self.store.snapshot(unix_now())?) };
        (self.version, self.keys) = (version, keys);
        Ok(snapshot)
    }
}

impl Look {
    /// Opens the store at the start, or makes an empty one.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn begin(path: &Path) -> Result<(Self, Snapshot), String> {
        let opened = Store::open_or_create(path).and_then(Open::new);
        let (open, snapshot) = opened.map_err(|fault| format!("store {}: {fault}", path.display()))?;
        info!("store opened path={} keys={}", path.display(), snapshot.keys().count());
        let quotas = Quotas::default();
        Ok((Self { path: path.to_owned(), open: Some(open), fault: None, generation: 0, quotas }, snapshot))
    }

    /// Lets quotas go on where they were left, before anything is served.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn restore_quotas(&mut self, limiter: &Limiter, clock: &Clock) -> Result<(), String> {
        limiter.keep_journals();
        let Some(open) = &mut self.open else { return Ok(()) };
        let restored = quotas::bring_in(limiter, clock, &open.store, 0);
        open.counters = restored.map_err(|fault| format!("store {}: {fault}", self.path.display()))?;
        Ok(())
    }

    /// Brings in the counters that others have saved; a new snapshot if keys have changed since the last look.
    fn again(&mut self, limiter: &Limiter, clock: &Clock) -> Result<Option<Snapshot>, StoreError> {
        if let Some(open) = &mut self.open
            && open.store.is_at(&self.path)?
        {
            return open.follow(limiter, clock);
        }
        // It was closed after a fault, or another file has taken its place.
        let (mut open, snapshot) = Store::open(&self.path).and_then(Open::new)?;
        open.counters = quotas::bring_in(limiter, clock, &open.store, 0)?;
        self.open = Some(open);
        Ok(Some(snapshot))
    }

    /// Saves what quotas have used; a file that cannot be used for it is opened again at the next look.
    fn save_quotas(&mut self, state: &State, patience: Duration) {
        let saved = self.open.as_mut().map(|open| self.quotas.save(state, open, patience));
        let unsaved = if let Some(Ok(())) = saved { 0 } else { state.limiter.statistics().unsaved };
        state.telemetry.quota_unsaved.set(i64::try_from(unsaved).unwrap_or(i64::MAX));
        if let Some(Err(fault)) = saved
            && !fault.is_passing()
        {
            self.open = None;
        }
    }
}

impl Keeper {
    /// Goes on from the first look.
    pub fn new(state: Arc<State>, look: Look) -> Self {
        Self { state, look: Mutex::new(look) }
    }

    /// Saves what quotas have used to the very end; for when the last request is done.
    pub fn finish(&self) {
        let mut look = self.look.lock();
        if look.open.is_none() {
            // A fault may have passed since the last look.
            let _ = look.again(&self.state.limiter, &self.state.clock);
        }
        look.save_quotas(&self.state, LAST_PATIENCE);
        quotas::tell_of_unsaved(&self.state.limiter);
    }

    fn look(&self) {
        let mut look = self.look.lock();
        self.refresh(&mut look);
        look.save_quotas(&self.state, PATIENCE);
    }

    fn refresh(&self, look: &mut Look) {
        let Some(keys) = &self.state.stored_keys else { return };
        let telemetry = &self.state.telemetry;
        let changed = match look.again(&self.state.limiter, &self.state.clock) {
            Ok(changed) => changed,
            Err(fault) => {
                telemetry.store_failures.inc();
                look.open = None;
                let fault = fault.to_string();
                if look.fault.as_ref() != Some(&fault) {
                    error!("store {}: {fault}; the keys known so far stay good, quotas count on", look.path.display());
                }
                look.fault = Some(fault);
                return;
            }
        };
        if look.fault.take().is_some() {
            info!("store {} can be read again", look.path.display());
        }
        telemetry.store_refreshed.set(unix_now());
        let gateway = self.state.gateway.load();
        let is_new = changed.is_some();
        if let Some(snapshot) = changed {
            info!("keys of the store published keys={}", snapshot.keys().count());
            keys.store(Arc::new(snapshot));
        }
        if is_new || look.generation != gateway.generation {
            look.generation = gateway.generation;
            warn_of_ownerless(&keys.load(), &gateway);
        }
    }
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Nothing else runs on this runtime, so the file may be waited for.
                _ = ticks.tick() => self.look(),
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Says which keys are refused although they are good: the configuration has neither their consumer nor their plan.
pub fn warn_of_ownerless(snapshot: &Snapshot, gateway: &Gateway) {
    let mut ownerless: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for live in snapshot.keys() {
        let (consumer, plan) = (&*live.holder.consumer, live.holder.plan.as_deref());
        if gateway.named(consumer, plan).is_none() {
            *ownerless.entry((consumer, plan.unwrap_or("-"))).or_default() += 1;
        }
    }
    for ((consumer, plan), keys) in ownerless.iter().take(MOST_NAMED) {
        warn!(
            "keys of the store are refused: no such consumer or plan consumer={consumer:?} plan={plan:?} keys={keys}"
        );
    }
    if ownerless.len() > MOST_NAMED {
        warn!("keys of the store are refused for {} more consumers", ownerless.len() - MOST_NAMED);
    }
}

/// Warns of keys that the file and the store both have.
pub fn warn_of_shared(config: &Config, keys: Option<&ArcSwap<Snapshot>>, report: &mut Report) {
    let Some(keys) = keys else { return };
    let (snapshot, now) = (keys.load(), unix_now());
    for (name, consumer) in &config.consumers {
        for (index, key) in consumer.api_keys.iter().enumerate() {
            let Some(live) = snapshot.find(&key.sha256.0, now) else { continue };
            let place = Place::root().key("consumers").key(name).key("api_keys").index(index).key("sha256");
            let (id, owner) = (&live.id, &live.holder.consumer);
            report
                .warning(place, format!("the store has this key too, as `{id}` of consumer `{owner}`"))
                .by_itself()
                .help("what this file says holds; revoke the key in the store");
        }
    }
}
