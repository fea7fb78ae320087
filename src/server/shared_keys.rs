//! Keeps the keys of a shared store current while the gateway runs.
//!
//! Every [`LOOK_EVERY`] the mark of the keys is read, and all keys again when it is another one, so a key that any node
//! has made or revoked counts here after that time and the reading: within a second.
//!
//! While Redis does not answer, the keys known so far stay good, and so they do when it has lost its data: a mark that was
//! there and is gone is a fault. A gateway that never read any keys says so to whoever presents one (`proxy::admit`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info};
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{MissedTickBehavior, interval};

use crate::proxy::{SharedLimits, State};
use crate::store::{Snapshot, StoreError};

use super::store::warn_of_ownerless;
use super::unix_now;

/// How often the mark is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The background task.
pub struct SharedKeeper {
    state: Arc<State>,
    seen: Mutex<Seen>,
}

/// What was seen last.
#[derive(Debug, Default)]
pub struct Seen {
    /// `None` until keys were read.
    mark: Option<String>,
    /// What was said of the last fault, until there is none.
    fault: Option<String>,
    /// The generation that the owners of keys were looked up in.
    generation: u64,
}

/// The keys as they are now, and their mark.
///
/// # Errors
/// When they cannot be read.
pub async fn read(limits: &SharedLimits) -> Result<(String, Snapshot), StoreError> {
    // Before the keys, so that a change between the two is seen at the next look.
    let mark = limits.store.keys_mark().await?;
    Ok((mark, limits.store.keys_snapshot(unix_now()).await?))
}

impl Seen {
    /// With the keys that were read at the start.
    pub fn first(mark: Option<String>) -> Self {
        Self { mark, ..Self::default() }
    }
}

impl SharedKeeper {
    /// Goes on from the start.
    pub fn new(state: Arc<State>, seen: Seen) -> Self {
        Self { state, seen: Mutex::new(seen) }
    }

    async fn look(&self, limits: &SharedLimits) {
        // The task that probes says that it is down.
        if !limits.store.is_up() {
            return;
        }
        let telemetry = &self.state.telemetry;
        let mark = match limits.store.keys_mark().await {
            Ok(mark) => mark,
            Err(fault) => {
                telemetry.store_failures.inc();
                return limits.failed(&fault, telemetry);
            }
        };
        let known = self.seen.lock().mark.clone();
        match changed(limits, known.as_deref(), mark).await {
            Ok(change) => self.publish(change),
            Err(fault) => {
                telemetry.store_failures.inc();
                self.complain(&fault);
            }
        }
    }

    fn publish(&self, change: Option<(String, Snapshot)>) {
        let Some(keys) = &self.state.stored_keys else { return };
        let mut seen = self.seen.lock();
        if seen.fault.take().is_some() {
            info!("keys of the shared store can be read again");
        }
        self.state.telemetry.store_refreshed.set(unix_now());
        let gateway = self.state.gateway.load();
        let is_new = change.is_some();
        if let Some((mark, snapshot)) = change {
            info!("keys of the store published keys={}", snapshot.keys().count());
            seen.mark = Some(mark);
            keys.store(Arc::new(snapshot));
        }
        if is_new || seen.generation != gateway.generation {
            seen.generation = gateway.generation;
            warn_of_ownerless(&keys.load(), &gateway);
        }
    }

    fn complain(&self, fault: &StoreError) {
        let (mut seen, fault) = (self.seen.lock(), fault.to_string());
        if seen.fault.as_ref() != Some(&fault) {
            error!("keys of the shared store: {fault}; those known so far stay good");
        }
        seen.fault = Some(fault);
    }
}

/// The keys, where they are no longer those of the known mark.
async fn changed(
    limits: &SharedLimits,
    known: Option<&str>,
    mark: String,
) -> Result<Option<(String, Snapshot)>, StoreError> {
    match known {
        Some(known) if known == mark => Ok(None),
        Some(known) if mark.is_empty() && !known.is_empty() => {
            Err(StoreError::Damaged("Redis has lost its keys".to_owned()))
        }
        _ => read(limits).await.map(Some),
    }
}

#[async_trait]
impl BackgroundService for SharedKeeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some(limits) = &self.state.shared else { return };
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look(limits).await,
                _ = shutdown.changed() => return,
            }
        }
    }
}
