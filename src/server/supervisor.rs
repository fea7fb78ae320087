//! What happens beside requests: SIGHUP, SIGUSR1, changed files, counters that nobody needs any more.
//!
//! One background task on a runtime of its own, so that a large file never delays a request.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use log::{error, info};
use notify::{RecursiveMode, Watcher};
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::proxy::State;

use super::herald::Herald;
use super::reload::Reloader;
use super::upgrade::Succession;
use super::watch::{Mark, Watched};

/// How often unused limit counters are dropped.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Editors and config maps change a file in several steps: wait until it has been quiet this long.
const SETTLE: Duration = Duration::from_millis(200);

/// The longest wait for quiet.
const SETTLED: Duration = Duration::from_secs(2);

/// The background task.
pub struct Supervisor {
    state: Arc<State>,
    reloader: Arc<Reloader>,
    begun: Instant,
    succession: Mutex<Option<Succession>>,
    herald: Arc<Herald>,
}

impl Supervisor {
    /// `begun` is when the process began to start; `succession` is completed when it serves.
    pub fn new(
        state: Arc<State>,
        reloader: Arc<Reloader>,
        begun: Instant,
        succession: Succession,
        herald: Arc<Herald>,
    ) -> Self {
        Self { state, reloader, begun, succession: Mutex::new(Some(succession)), herald }
    }

    fn announce(&self) {
        let took = self.begun.elapsed();
        self.state.telemetry.start_to_ready.set(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
        let gateway = self.state.gateway.load();
        info!(
            "ready generation={} routes={} services={} after={:.1}ms",
            gateway.generation,
            gateway.routes.len(),
            gateway.services.len(),
            took.as_secs_f64() * 1e3
        );
        // First, since systemd hears only whom the process before has named as the main one.
        if let Some(Err(failed)) = self.succession.lock().take().map(|succession| succession.complete(&self.state)) {
            error!("{failed}");
        }
        self.herald.ready(&gateway);
    }

    /// Opens the access log again, for whoever has moved its file away.
    fn reopen(&self) {
        match self.state.access.reopen() {
            Ok(Some(path)) => info!("access log {path} opened again"),
            Ok(None) => info!("SIGUSR1: the access log is no file, nothing is opened again"),
            Err((path, failed)) => error!("access log {path} cannot be opened again, the old file goes on: {failed}"),
        }
    }
}

#[async_trait]
impl BackgroundService for Supervisor {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let heard = signal(SignalKind::hangup()).and_then(|hangup| Ok((hangup, signal(SignalKind::user_defined1())?)));
        let (mut hangup, mut reopen) = match heard {
            Ok(heard) => heard,
            Err(failed) => {
                error!("cannot listen for SIGHUP and SIGUSR1: {failed}");
                return;
            }
        };
        let (changes, mut changed) = mpsc::channel(1);
        let mut watch = Watch::new(&self.reloader, &changes);
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweep.reset();
        self.announce();
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    watch.look();
                    self.reloader.reload();
                    watch.renew(&self.reloader, &changes);
                }
                _ = reopen.recv() => self.reopen(),
                Some(()) = changed.recv() => {
                    let quiet = async { while timeout(SETTLE, changed.recv()).await.is_ok() {} };
                    let _ = timeout(SETTLED, quiet).await;
                    if watch.look() {
                        self.reloader.reload();
                        watch.renew(&self.reloader, &changes);
                    }
                }
                // Frees the room of callers that have not come again.
                _ = sweep.tick() => self.state.limiter.sweep(self.state.clock.now()),
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// The watch over the configuration's files, where `reload: { watch: true }` asks for it.
struct Watch {
    watched: Watched,
    /// The files as they were when they were last looked at.
    seen: Option<Vec<Mark>>,
    /// Dropping the watcher ends the watch.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    fn new(reloader: &Reloader, changes: &mpsc::Sender<()>) -> Self {
        let watched = reloader.watched();
        let watcher = begin(watched.clone(), changes.clone());
        Self { watched, seen: None, _watcher: watcher }
    }

    /// Notes the files as they are; whether one is another than when this was last done.
    fn look(&mut self) -> bool {
        let now = Some(self.watched.state());
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    /// Watches what a reload left to be watched.
    fn renew(&mut self, reloader: &Reloader, changes: &mpsc::Sender<()>) {
        if reloader.watched() != self.watched {
            *self = Self::new(reloader, changes);
            // Nobody watched the new ones while they were read.
            let _ = changes.try_send(());
        }
    }
}

fn begin(watched: Watched, changes: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let folders = watched.folders().to_owned();
    if folders.is_empty() {
        return None;
    }
    let on_event = move |event: notify::Result<notify::Event>| {
        let concerns = |event: &notify::Event| event.paths.iter().any(|path| watched.concerns(path));
        if event.is_ok_and(|event| !event.kind.is_access() && concerns(&event)) {
            // A full channel means that a change is noted already.
            let _ = changes.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        folders.iter().try_for_each(|folder: &PathBuf| watcher.watch(folder, RecursiveMode::NonRecursive))?;
        Ok(watcher)
    });
    watcher.inspect_err(|failed| error!("configuration files cannot be watched: {failed}")).ok()
}
