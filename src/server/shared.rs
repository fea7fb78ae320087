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

use crate::config::{self, OnStoreFailure};
use crate::proxy::{OnFailure, SharedLimits, State};
use crate::store::shared::{PROBE_EVERY, RENEW_EVERY, Shared};
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
    let Some(url) = &store.redis else { return Ok(None) };
    let mut node = [0; 8];
    SystemRandom::new().fill(&mut node).map_err(|_| "the system gives no random numbers".to_owned())?;
    let patience = store.timeout.map_or(PATIENCE, config::Duration::get);
    let prefix = store.prefix.as_deref().unwrap_or(PREFIX);
    let shared = Shared::new(url, prefix, patience, node).map_err(|fault| format!("store: {fault}"))?;
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

    /// Tries a store that is down.
    async fn probe(&self, limits: &SharedLimits) {
        // The fault was said when it began; while it lasts there is nothing new to say.
        if !limits.store.is_up() && limits.probe(&self.state.telemetry).await.is_ok() {
            self.renew(limits).await;
        }
    }

    async fn renew(&self, limits: &SharedLimits) {
        if let Err(fault) = limits.store.renew().await {
            limits.failed(&fault, &self.state.telemetry);
        }
    }
}

#[async_trait]
impl BackgroundService for Warden {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some(limits) = &self.state.shared else { return };
        let (mut probe, mut renew) = (interval(PROBE_EVERY), interval(RENEW_EVERY));
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = probe.tick() => self.probe(limits).await,
                _ = renew.tick() => self.renew(limits).await,
                _ = shutdown.changed() => return,
            }
        }
    }
}
