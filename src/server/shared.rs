//! The store that many gateways share, beside requests: reached at the start, tried again while it is down, and told
//! which places in flight this gateway still holds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::warn;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{self, OnStoreFailure, RateSharing};
use crate::proxy::{OnFailure, SharedLimits, State};
use crate::store::shared::{Fault, Idle, PROBE_EVERY, RENEW_EVERY, Shared, Sharing};
use crate::store::{Redis, Snapshot};
use crate::telemetry::Telemetry;

use super::shared_keys::{self, Seen};

/// How long a request waits unless it is said.
const PATIENCE: Duration = Duration::from_millis(100);

/// How keys begin unless it is said.
const PREFIX: &str = "tollgate";

/// The background task.
pub struct Warden {
    state: Arc<State>,
}

/// The shared limits of a configuration; `None` without a Redis.
///
/// # Errors
/// When there cannot be any.
pub fn limits(store: &config::Store) -> Result<Option<SharedLimits>, String> {
    let Some(redis) = redis(store) else { return Ok(None) };
    let mut node = [0; 8];
    SystemRandom::new().fill(&mut node).map_err(|_| "the system gives no random numbers".to_owned())?;
    let patience = store.timeout.map_or(PATIENCE, config::Duration::get);
    let sharing = match store.rate_sharing.unwrap_or_default() {
        RateSharing::Exact => Sharing::Exact,
        RateSharing::Batched => Sharing::Batched,
    };
    let shared = Shared::new(&redis, patience, sharing, node).map_err(|fault| format!("store: {fault}"))?;
    let on_failure = match store.on_store_failure.unwrap_or_default() {
        OnStoreFailure::Local => OnFailure::Local,
        OnStoreFailure::Allow => OnFailure::Allow,
        OnStoreFailure::Deny => OnFailure::Deny,
    };
    Ok(Some(SharedLimits { store: shared, on_failure }))
}

/// The Redis of a configuration, for its keys.
pub fn redis(store: &config::Store) -> Option<Redis> {
    let prefix = store.prefix.as_deref().unwrap_or(PREFIX).to_owned();
    store.redis.clone().map(|url| Redis { url, prefix })
}

/// Tries the store once before anything is served, and reads its keys. A gateway starts without it, too: then it does
/// not know any.
///
/// # Errors
/// When the machine gives no runtime.
pub fn begin(limits: &SharedLimits, telemetry: &Telemetry) -> Result<(Seen, Snapshot), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|failed| format!("no runtime: {failed}"))?;
    let first = runtime.block_on(async {
        if let Err(fault) = limits.probe(telemetry).await {
            telemetry.shared_store_up(false);
            warn!("shared store cannot be reached, limits are {}: {fault}", limits.on_failure.consequence());
            return None;
        }
        let read = shared_keys::read(limits).await;
        read.inspect_err(|fault| warn!("keys of the shared store cannot be read: {fault}")).ok()
    });
    limits.store.forget_connections();
    Ok(match first {
        Some((mark, snapshot)) => (Seen::first(Some(mark)), snapshot),
        None => (Seen::default(), Snapshot::unread()),
    })
}

impl Warden {
    /// For this process.
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Tries a store that is down; gives one that is up what this gateway does not need.
    async fn look(&self, limits: &SharedLimits) {
        if limits.store.is_up() {
            return self.noted(limits, limits.store.give_back(Idle::Long).await);
        }
        // The fault was said when it began; while it lasts there is nothing new to say.
        if limits.probe(&self.state.telemetry).await.is_ok() {
            self.noted(limits, limits.store.renew().await);
        }
    }

    fn noted(&self, limits: &SharedLimits, done: Result<(), Fault>) {
        if let Err(fault) = done {
            limits.failed(&fault, &self.state.telemetry);
        }
    }
}

#[async_trait]
impl BackgroundService for Warden {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some(limits) = &self.state.shared else { return };
        let (mut look, mut renew) = (interval(PROBE_EVERY), interval(RENEW_EVERY));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => self.look(limits).await,
                _ = renew.tick() => self.noted(limits, limits.store.renew().await),
                _ = shutdown.changed() => return self.noted(limits, limits.store.give_back(Idle::Any).await),
            }
        }
    }
}
