//! From a changed file to the next generation, or to a report and nothing else.
//!
//! A reload loads, compiles and only then publishes: a request sees the old generation or the new one, whole. What
//! belongs to the process (counters, connections, pools) is not touched. Sections that only a new process can apply keep
//! their old value, and the outcome names them. Reloads are serialised; one that finds nothing changed publishes
//! nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use log::{error, info, warn};
use parking_lot::Mutex;

use crate::config::{Admin, Color, Config, Loaded, Log, Store, Upgrade};
use crate::gateway::{Gateway, Surroundings, lookup};
use crate::proxy::{self, State};
use crate::telemetry::ReloadResult;

use super::certificates::{read_beside, show};
use super::herald::Herald;
use super::store::warn_of_shared;
use super::watch::Watched;
use super::{Purpose, Source, check, check_uploads, process_log, unix_now};

/// How a reload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A new generation serves.
    Published {
        /// Its number.
        generation: u64,
        /// Sections that differ but need a new process.
        upgrade_needed: Vec<&'static str>,
        /// What `check` would warn of, rendered.
        warnings: String,
    },
    /// The file says what already runs.
    Unchanged {
        /// The number of the generation that goes on.
        generation: u64,
    },
    /// The file has problems; the old generation goes on.
    Refused {
        /// All of them, rendered.
        report: String,
    },
}

/// Reloads the configuration of a process.
pub struct Reloader {
    state: Arc<State>,
    source: Source,
    /// What cannot change in this process, as it was at the start.
    fixed: Fixed,
    current: Mutex<Current>,
    herald: Arc<Herald>,
}

#[derive(PartialEq)]
struct Fixed {
    /// Their addresses: what belongs to one of them changes with a generation.
    listeners: Vec<SocketAddr>,
    admin: Option<Admin>,
    store: Option<Store>,
    upgrade: Upgrade,
}

struct Current {
    access_path: String,
    log: Log,
    watch: Watched,
}

impl Fixed {
    fn of(loaded: &Loaded) -> Self {
        let Config { listeners, admin, store, upgrade, .. } = &loaded.config;
        Self {
            listeners: listeners.iter().map(|listener| listener.address).collect(),
            admin: admin.clone(),
            store: store.clone(),
            upgrade: upgrade.clone(),
        }
    }

    /// Names of the sections in which `other` differs.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let sections = [
            ("listeners", self.listeners != other.listeners),
            ("admin", self.admin != other.admin),
            ("store", self.store != other.store),
            ("upgrade", self.upgrade != other.upgrade),
        ];
        sections.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

impl Current {
    fn of(loaded: &Loaded) -> Self {
        let watch = if loaded.config.reload.watch { Watched::of(&loaded.files) } else { Watched::default() };
        let Config { access_log, log, .. } = &loaded.config;
        Self { access_path: access_log.path.clone(), log: log.clone(), watch }
    }
}

impl Reloader {
    /// For the process that started with `loaded`.
    pub fn new(state: Arc<State>, source: Source, loaded: &Loaded, herald: Arc<Herald>) -> Self {
        Self { state, source, fixed: Fixed::of(loaded), current: Mutex::new(Current::of(loaded)), herald }
    }

    /// What to watch for changes; nothing unless the configuration asks for it.
    pub(super) fn watched(&self) -> Watched {
        self.current.lock().watch.clone()
    }

    /// Reloads, and says in the log and the metrics how it ended.
    pub fn reload(&self) -> Outcome {
        self.herald.reloading();
        let (outcome, result) = self.publish();
        let gateway = self.state.gateway.load();
        self.state.telemetry.reloaded(result, gateway.generation, unix_now());
        match result {
            ReloadResult::Refused => self.herald.refused(&gateway),
            ReloadResult::Published | ReloadResult::Unchanged => self.herald.ready(&gateway),
        }
        outcome
    }

    fn publish(&self) -> (Outcome, ReloadResult) {
        let mut current = self.current.lock();
        let running = self.state.gateway.load_full();
        let generation = running.generation + 1;
        let surroundings = Surroundings {
            telemetry: &self.state.telemetry,
            lookup: &lookup,
            generation,
            flood: running.flood.clone(),
            keys: &self.state.keys,
            read: Some(&|name| read_beside(&self.source, name)),
            now: unix_now(),
            running: &running.entrances,
            services: &running.services,
        };
        let mut checked = check(&self.source, Purpose::Serving, &surroundings);
        let (gateway, loaded) = match (checked.gateway, checked.loaded) {
            (Some(gateway), Some(loaded)) => (gateway, loaded),
            _ => return self.refused(checked.report.render(&checked.sources, Color::Never), &running),
        };
        let upgrade_needed = self.fixed.differences(&Fixed::of(&loaded));
        if gateway.hash == running.hash {
            info!("configuration unchanged generation={}", running.generation);
            return (Outcome::Unchanged { generation: running.generation }, ReloadResult::Unchanged);
        }
        if let Err(failed) = check_uploads(&gateway) {
            return self.refused(format!("error: {failed}\n"), &running);
        }
        if loaded.config.access_log.path != current.access_path
            && let Err(failed) = self.state.access.redirect(&loaded.config.access_log.path)
        {
            return self.refused(format!("error: access log {}: {failed}\n", loaded.config.access_log.path), &running);
        }
        process_log::follow(&loaded.config.log, &current.log);
        *current = Current::of(&loaded);
        let (routes, gateway) = (gateway.routes.len(), Arc::new(gateway));
        self.state.cache.resize(gateway.cache_memory);
        self.state.gateway.store(Arc::clone(&gateway));
        proxy::open(&self.state.listeners, &gateway.entrances);
        self.state.telemetry.keep(&gateway.inventory);
        show(&self.state.telemetry, &gateway.entrances);
        for section in &upgrade_needed {
            warn!("configuration section {section} changed: it needs an upgrade");
        }
        warn_of_shared(&loaded.config, self.state.stored_keys.as_ref(), &mut checked.report);
        let warnings = checked.report.render(&checked.sources, Color::Never);
        info!("configuration published generation={generation} routes={routes}");
        let outcome = Outcome::Published { generation, upgrade_needed, warnings };
        (outcome, ReloadResult::Published)
    }

    /// Says that the file is refused, and forgets what was made for it.
    fn refused(&self, report: String, running: &Gateway) -> (Outcome, ReloadResult) {
        self.state.telemetry.keep(&running.inventory);
        error!("configuration refused, generation {} goes on:\n{report}", running.generation);
        (Outcome::Refused { report }, ReloadResult::Refused)
    }
}
