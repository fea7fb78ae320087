//! Keeps the addresses of services up to date.
//!
//! One task for the whole life of the process looks up the names of the current generation's services, each again shortly
//! before its last answer ends. A name whose lookup fails keeps its last good addresses and is tried again, soon and then
//! less often. A changed configuration of the resolver, `/etc/hosts` or `/etc/resolv.conf` makes all names due.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::names::{Found, Names, Resolver};
use crate::gateway::{Gateway, Service};
use crate::proxy::State;

/// How often it is looked whether a name is due.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Most lookups at a time.
const TURNS: usize = 16;

/// The first pause after a lookup that failed, twice as long after each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// How often that is doubled: up to half a minute.
const DOUBLED: u32 = 5;

/// What decides how this machine looks names up.
const FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// The background task.
pub struct NameKeeper {
    state: Arc<State>,
}

impl NameKeeper {
    /// For this process.
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

#[async_trait]
impl BackgroundService for NameKeeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut known = Known::default();
        let mut asked = JoinSet::new();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => known.look(&self.state.gateway.load(), &mut asked, Instant::now()),
                Some(answer) = asked.join_next() => {
                    if let Ok((host, answer)) = answer {
                        known.take(&self.state.gateway.load(), &host, answer, Instant::now());
                    }
                }
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// A lookup that has ended.
type Answer = (Box<str>, io::Result<Found>);

/// The names of the current generation.
#[derive(Default)]
struct Known {
    names: HashMap<Box<str>, Name>,
    resolver: Option<(Conditions, Option<Names>)>,
}

/// What is known of a name.
struct Name {
    /// When it is looked up again; `None`: it is being.
    due: Option<Instant>,
    /// Lookups that failed in a row.
    failures: u32,
}

/// What answers depend on besides the servers.
#[derive(PartialEq, Eq)]
struct Conditions {
    rules: Resolver,
    files: [Option<SystemTime>; 2],
}

impl Conditions {
    fn now(rules: &Resolver) -> Self {
        let changed = |file| fs::metadata(file).and_then(|file| file.modified()).ok();
        Self { rules: rules.clone(), files: FILES.map(changed) }
    }
}

impl Known {
    /// Begins the lookups that are due.
    fn look(&mut self, gateway: &Gateway, asked: &mut JoinSet<Answer>, now: Instant) {
        self.names.retain(|host, _| services(gateway).any(|service| service.names().any(|name| name == &**host)));
        for host in services(gateway).flat_map(|service| service.names()) {
            if !self.names.contains_key(host) {
                self.names.insert(host.into(), Name { due: Some(now), failures: 0 });
            }
        }
        if self.names.is_empty() {
            return;
        }
        let Some(resolver) = self.resolver(&gateway.resolver, now) else { return };
        for (host, name) in &mut self.names {
            if asked.len() >= TURNS {
                return;
            }
            if name.due.is_some_and(|due| due <= now) {
                name.due = None;
                let (resolver, host) = (resolver.clone(), host.clone());
                asked.spawn(async move {
                    let answer = resolver.look_up(&host).await;
                    (host, answer)
                });
            }
        }
    }

    /// Who is asked under the present conditions; when these are new, about all names.
    fn resolver(&mut self, rules: &Resolver, now: Instant) -> Option<Names> {
        let conditions = Conditions::now(rules);
        if let Some((_, names)) = self.resolver.as_ref().filter(|(before, _)| *before == conditions) {
            return names.clone();
        }
        let made = Names::new(rules).inspect_err(|failed| error!("names cannot be looked up: {failed}")).ok();
        // One that cannot be made is not tried again until something changes: what there was goes on.
        let names = made.or_else(|| self.resolver.take()?.1);
        self.resolver = Some((conditions, names.clone()));
        self.names.values_mut().filter(|name| name.due.is_some()).for_each(|name| name.due = Some(now));
        names
    }

    /// Takes what came of a lookup.
    fn take(&mut self, gateway: &Gateway, host: &str, answer: io::Result<Found>, now: Instant) {
        // The name may have left the configuration meanwhile.
        let Some(name) = self.names.get_mut(host) else { return };
        match answer {
            Ok(found) => {
                if name.failures > 0 {
                    info!("name is looked up again host={host}");
                }
                name.failures = 0;
                // Up to a tenth earlier, so that many gateways do not ask at the same time.
                name.due = Some(now + found.holds.mul_f64(1.0 - fastrand::f64() / 10.0));
                for service in services(gateway) {
                    if service.moved(host, &found.addresses) {
                        info!("name has moved service={} host={host} addresses={:?}", service.name, found.addresses);
                    }
                }
            }
            Err(failed) => {
                if name.failures == 0 {
                    warn!("name cannot be looked up, its last addresses stay host={host}: {failed}");
                }
                name.due = Some(now + PAUSE.saturating_mul(1 << name.failures.min(DOUBLED)));
                name.failures = name.failures.saturating_add(1);
            }
        }
    }
}

fn services(gateway: &Gateway) -> impl Iterator<Item = &Arc<Service>> {
    gateway.services.iter().chain(&gateway.auth_services)
}
