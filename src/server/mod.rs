//! The process: from a configuration file to a serving gateway, and out again.
//!
//! [`run`] loads and compiles the first generation, binds every listener before anything is served (so that a port in
//! use stops the start with a clear error), assembles pingora's services, and returns when the last request is done.
//! `reload` publishes later generations, `admin` answers operators, `store` follows the file of API keys that `keys`
//! changes and saves quotas in it, `health` asks services whether they are well, `shared` and `shared_keys` what many
//! gateways have in one Redis, `traces` sends spans away, `upgrade` hands over to the next process, `signals` decides when
//! to leave. Of systemd know `activation`, `herald` and `watchdog`.

mod activation;
mod admin;
mod certificates;
mod health;
mod herald;
pub mod key_fetch;
pub mod keys;
mod listeners;
mod process_log;
mod reload;
mod shared;
mod shared_keys;
mod signals;
mod store;
mod supervisor;
mod traces;
pub mod upgrade;
mod watch;
mod watchdog;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use log::info;
use pingora::proxy::http_proxy;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server};
use pingora::services::background::{BackgroundService, background_service};
use tokio::sync::Notify;

use crate::config::{self, Color, Config, Loading, Report, Sources};
use crate::demo;
use crate::gateway::key_source::KeySources;
use crate::gateway::{self, Gateway, Surroundings};
use crate::proxy::{GuardedApp, Listening, Proxy, SharedLimits, State, UploadDisk};
use crate::store::{Place, Snapshot};
use crate::telemetry::{AccessLog, Telemetry};

use activation::Activated;
use herald::Herald;
use listeners::{Acceptance, Bound, Held, Inheritance, Keeper, WithListener};
use reload::Reloader;
use upgrade::{Program, Role, Succession, Takeover};

pub use certificates::read_beside;
pub use reload::Outcome;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, or `unknown`.
pub const REVISION: &str = env!("TOLLGATE_REVISION");

/// The version with commit and date, as far as they are known.
pub const BUILD: &str = env!("TOLLGATE_BUILD");

/// What to run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where the configuration comes from.
    pub source: Source,
    /// Workers; each is a thread with a runtime of its own.
    pub threads: usize,
    /// Also start the demo service.
    pub demo: Demo,
    /// How the next process is started; `None`: there will be none.
    pub program: Option<Program>,
    /// The socket of the process that this one takes over from.
    pub takeover: Option<PathBuf>,
    /// What the process log says, whatever the configuration says of it.
    pub log_level: Option<log::LevelFilter>,
}

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, read again at each reload.
    File(PathBuf),
    /// A text, for the demo.
    Text {
        /// What reports call it.
        name: String,
        /// The YAML.
        text: String,
    },
}

impl Source {
    /// Where relative paths of the configuration begin.
    fn folder(&self) -> &Path {
        match self {
            Self::File(file) => file.parent().unwrap_or(Path::new("")),
            Self::Text { .. } => Path::new(""),
        }
    }
}

/// The unit's own of the directories that systemd names in a variable, separated by colons: the first.
fn unit_directory(list: Option<&str>) -> Option<&str> {
    list.and_then(|list| list.split(':').next()).filter(|first| !first.is_empty())
}

/// Whether the demo service runs beside the gateway.
#[derive(Debug)]
pub enum Demo {
    /// No.
    Off,
    /// On this listener.
    On(std::net::TcpListener),
}

impl Clone for Demo {
    fn clone(&self) -> Self {
        match self {
            Self::Off => Self::Off,
            Self::On(listener) => listener.try_clone().map_or(Self::Off, Self::On),
        }
    }
}

/// Why the gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration has problems.
    Configuration(Report, Sources),
    /// The machine does not give what it needs.
    Machine(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configuration(report, sources) => f.write_str(&report.render(sources, Color::Never)),
            Self::Machine(message) => f.write_str(message),
        }
    }
}

/// A configuration that was loaded and compiled; everything about it that was found on the way is in the report.
pub struct Checked {
    /// The generation, unless there are errors.
    pub gateway: Option<Gateway>,
    /// The configuration as written, unless its shape is wrong.
    pub loaded: Option<config::Loaded>,
    /// How much of it the report is about.
    pub extent: Extent,
    /// All problems and warnings.
    pub report: Report,
    /// The texts that the report points into.
    pub sources: Sources,
}

/// What a generation is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To serve; the admin listener can show its configuration.
    Serving,
    /// To hear what is wrong with it.
    Checking,
}

/// How much of a configuration was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything that can be judged.
    All,
    /// Files and their syntax: they are too wrong for the rest.
    Syntax,
}

/// Loads and compiles, without starting anything.
pub fn check(source: &Source, purpose: Purpose, surroundings: &Surroundings<'_>) -> Checked {
    let (loading, mut report, sources) = match source {
        Source::File(path) => config::load(path, &|name| std::env::var(name).ok()),
        Source::Text { name, text } => config::load_text(name, text),
    };
    let mut extent = Extent::All;
    let mut gateway = None;
    match &loading {
        Loading::Whole(loaded) => {
            let masked = match purpose {
                Purpose::Serving => loaded.masked().to_string(),
                Purpose::Checking => String::new(),
            };
            gateway = gateway::compile(&loaded.config, &loaded.text_hash, &masked, surroundings, &mut report);
            loaded.mask_report(&mut report);
        }
        // No generation comes of these.
        Loading::Damaged(damaged) => report.extend(gateway::judge(damaged)),
        Loading::Nothing => extent = Extent::Syntax,
    }
    let gateway = gateway.filter(|_| !report.has_errors());
    Checked { gateway, loaded: loading.whole(), extent, report, sources }
}

/// Runs the gateway until it is told to leave and has left.
///
/// # Errors
/// When it cannot start; nothing was served then.
pub fn run(setup: Setup) -> Result<(), StartError> {
    let begun = std::time::Instant::now();
    // Before there are threads.
    let activated = Activated::from_environment().map_err(StartError::Machine)?;
    raise_open_file_limit();
    signals::hold().map_err(StartError::Machine)?;
    let takeover = setup.takeover.as_deref().map(Takeover::begin).transpose().map_err(StartError::Machine)?;
    let mut takeover = takeover;
    let source = setup.source;
    let herald = Arc::<Herald>::default();
    let inheritance = Inheritance { takeover: takeover.as_mut(), activated };
    let prepared = match prepare(&source, setup.log_level, inheritance, &herald) {
        Ok(prepared) => prepared,
        Err(failed) => {
            if let Some(takeover) = takeover {
                takeover.give_up(&failed.to_string());
            }
            return Err(failed);
        }
    };
    let counters = takeover.as_mut().and_then(Takeover::counters);
    let Prepared { state, reloader, public, admin, following, held, upgrade_socket } = prepared;
    let (clients, operators) = (Acceptance::new(), Acceptance::new());
    let kept = signals::Kept::of(&public);
    let served = Arc::new(Notify::new());
    let next = upgrade_socket.zip(setup.program).map(|(path, program)| (path, program, held));
    let succession = Succession { takeover, next, served: Arc::clone(&served) };
    let mut server = Server::new_with_opt_and_conf(Some(Opt::default()), server_conf(setup.threads));
    server.bootstrap();
    say_bound(&state);
    add_proxy(&mut server, &state, public, &clients);
    if let Some(BoundAdmin { bound, keys, token }) = admin {
        let app = admin::Admin::new(Arc::clone(&state), Arc::clone(&reloader), keys, token);
        add_admin(&mut server, app, bound, &operators);
    }
    let last_save = add_store(&mut server, &state, following);
    if let Demo::On(listener) = setup.demo {
        add_demo(&mut server, listener, &operators)?;
    }
    add_task(&mut server, "certificates", certificates::Watch::new(Arc::clone(&state), source.clone()));
    add_task(&mut server, "keys", key_fetch::Fetcher::new(Arc::clone(&state)));
    add_task(&mut server, "health", health::Checker::new(Arc::clone(&state)));
    if let Some(watchdog) = watchdog::Watchdog::asked_for(&state, &herald, setup.threads) {
        add_task(&mut server, "watchdog", watchdog);
    }
    let supervisor = supervisor::Supervisor::new(Arc::clone(&state), reloader, begun, succession, Arc::clone(&herald));
    add_task(&mut server, "supervisor", supervisor);
    let exporter = traces::Exporter::start(&state)
        .map_err(|failed| StartError::Machine(format!("the thread that sends traces: {failed}")))?;
    let leave = signals::Leave { state: Arc::clone(&state), clients, operators, kept, served, herald };
    // Last, since requests of the process before wait meanwhile.
    if let Some(counters) = counters {
        counters.take(&state).map_err(StartError::Machine)?;
    }
    server.run(RunArgs { shutdown_signal: Box::new(leave) });
    if let Some(keeper) = last_save {
        keeper.finish();
    }
    exporter.finish();
    state.access.flush();
    info!("left");
    Ok(())
}

/// What is there before anything is served.
struct Prepared {
    state: Arc<State>,
    reloader: Arc<Reloader>,
    public: Vec<Bound>,
    admin: Option<BoundAdmin>,
    following: Following,
    /// Second handles of the listening sockets.
    held: Vec<Held>,
    upgrade_socket: Option<PathBuf>,
}

/// The store whose keys are followed, as it was seen at the start.
enum Following {
    Nothing,
    File(store::Look),
    Redis(shared_keys::Seen),
}

/// The listener for operators.
struct BoundAdmin {
    bound: Bound,
    keys: Option<admin::Keys>,
    token: Option<config::Sha256>,
}

/// Makes the first generation and binds its listeners. The configuration as written ends here.
fn prepare(
    source: &Source,
    log_level: Option<log::LevelFilter>,
    mut inheritance: Inheritance<'_>,
    herald: &Arc<Herald>,
) -> Result<Prepared, StartError> {
    let telemetry = Arc::new(Telemetry::new(VERSION, REVISION));
    let key_sources = Arc::<KeySources>::default();
    let surroundings = Surroundings {
        telemetry: &telemetry,
        lookup: &gateway::lookup,
        // Numbers go on from process to process.
        generation: inheritance.takeover.as_ref().map_or(1, |takeover| takeover.next_generation()),
        flood: None,
        keys: &key_sources,
        read: Some(&|name| read_beside(source, name)),
        now: unix_now(),
        running: &[],
        services: &[],
    };
    let mut checked = check(source, Purpose::Serving, &surroundings);
    let (Some(gateway), Some(loaded)) = (checked.gateway, checked.loaded) else {
        return Err(StartError::Configuration(checked.report, checked.sources));
    };
    process_log::begin(&loaded.config.log, log_level);
    let shared = loaded.config.store.as_ref().map(shared::limits).transpose().map_err(StartError::Machine)?.flatten();
    let place = keys::place_here(&loaded.config, source);
    let (mut following, stored_keys) =
        follow(place.as_ref(), shared.as_ref(), &telemetry).map_err(StartError::Machine)?;
    store::warn_of_shared(&loaded.config, stored_keys.as_ref(), &mut checked.report);
    for (line, warning) in checked.report.lines(&checked.sources) {
        log::warn!("configuration line {line}: {warning}");
    }
    let mut bind = |role, written| inheritance.bind(role, written).map_err(StartError::Machine);
    let public = loaded.config.listeners.iter().map(|listener| bind(Role::Public, listener.address));
    let (public, mut held): (Vec<_>, Vec<_>) = public.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let admin = loaded.config.admin.as_ref().map(|admin| bind(Role::Admin, admin.address)).transpose()?;
    let (admin, held_admin) = admin.unzip();
    held.extend(held_admin);
    inheritance.activated.finish().map_err(StartError::Machine)?;
    let state =
        Arc::new(State { stored_keys, shared, ..state(gateway, telemetry, key_sources, &loaded.config, &public)? });
    if let Following::File(look) = &mut following {
        look.restore_quotas(&state.limiter, &state.clock).map_err(StartError::Machine)?;
    }
    let token = loaded.config.admin.as_ref().and_then(|admin| admin.token_sha256);
    let keys = place.map(|place| admin::Keys::new(Arc::clone(&state), place, token));
    let admin = admin.map(|bound| BoundAdmin { bound, keys, token });
    let reloader = Arc::new(Reloader::new(Arc::clone(&state), source.clone(), &loaded, Arc::clone(herald)));
    let runtime_directory = std::env::var("RUNTIME_DIRECTORY").ok();
    let upgrade_socket = upgrade::socket_path(&loaded.config, source, runtime_directory.as_deref());
    upgrade_socket.as_deref().map_or(Ok(()), upgrade::prepare).map_err(StartError::Machine)?;
    Ok(Prepared { state, reloader, public, admin, following, held, upgrade_socket })
}

/// Reads the keys of the store, where there is one.
fn follow(
    place: Option<&Place>,
    shared: Option<&SharedLimits>,
    telemetry: &Telemetry,
) -> Result<(Following, Option<ArcSwap<Snapshot>>), String> {
    let (following, keys) = match (place, shared) {
        (Some(Place::File(path)), _) => {
            let (look, keys) = store::Look::begin(path)?;
            (Following::File(look), keys)
        }
        (Some(Place::Redis(_)), Some(limits)) => {
            let (seen, keys) = shared::begin(limits, telemetry)?;
            (Following::Redis(seen), keys)
        }
        (Some(Place::Redis(_)), None) | (None, _) => return Ok((Following::Nothing, None)),
    };
    Ok((following, Some(ArcSwap::from_pointee(keys))))
}

fn state(
    gateway: Gateway,
    telemetry: Arc<Telemetry>,
    keys: Arc<KeySources>,
    config: &Config,
    public: &[Bound],
) -> Result<State, StartError> {
    let access = AccessLog::open(&config.access_log.path)
        .map_err(|error| StartError::Machine(format!("access log {}: {error}", config.access_log.path)))?;
    check_uploads(&gateway).map_err(StartError::Machine)?;
    telemetry.published(gateway.generation, unix_now());
    telemetry.keep(&gateway.inventory);
    certificates::show(&telemetry, &gateway.entrances);
    let bound = gateway.entrances.iter().zip(public);
    let listeners = bound.map(|((written, way), bound)| Listening::new(*written, bound.address, way.clone())).collect();
    Ok(State { listeners, keys, ..State::new(gateway, telemetry, access) })
}

/// A directory that is named for uploads has to be there before the first one is.
fn check_uploads(gateway: &Gateway) -> Result<(), String> {
    let Some(directory) = &gateway.upload_limits.directory else { return Ok(()) };
    UploadDisk::probe(directory).map_err(|error| format!("upload directory {}: {error}", directory.display()))
}

/// pingora's own settings. The upgrade socket is not used.
fn server_conf(threads: usize) -> ServerConf {
    ServerConf {
        threads,
        // A runtime per worker, without stealing: a request stays on the core whose cache knows it.
        work_stealing: false,
        upstream_keepalive_pool_size: 512,
        ca_file: Some(gateway::NO_AUTHORITIES.to_owned()),
        // Timers of seconds are nearly always cancelled: tokio's are cheaper then, and leave nothing behind.
        fast_timeout_to_tokio_threshold_seconds: Some(0),
        // Our own signal waits for the requests in flight; afterwards there is nothing left to wait for.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// What strangers and consumers can make limits take.
fn say_bound(state: &State) {
    let limits = state.gateway.load().limit_count();
    info!("counters of limits take at most bytes={} limits={limits}", state.limiter.bound(limits));
}

fn add_proxy(server: &mut Server, state: &Arc<State>, bound: Vec<Bound>, acceptance: &Acceptance) {
    let proxy = Proxy::new(Arc::clone(state));
    let app = GuardedApp::new(http_proxy(&server.configuration, proxy.clone()), proxy);
    let mut service = pingora::services::listening::Service::new("proxy".to_owned(), app);
    for bound in &bound {
        service.add_tcp(&bound.address.to_string());
        info!("listening address={} listener=public", bound.address);
    }
    server.add_service(WithListener::new(service, bound, acceptance));
}

fn add_admin(server: &mut Server, app: admin::Admin, bound: Bound, acceptance: &Acceptance) {
    let mut service = pingora::services::listening::Service::new("admin".to_owned(), app);
    service.threads = Some(1);
    service.add_tcp(&bound.address.to_string());
    info!("listening address={} listener=admin", bound.address);
    server.add_service(WithListener::new(service, vec![bound], acceptance));
}

/// Follows the store; the task that saves quotas a last time, where there is one.
fn add_store(server: &mut Server, state: &Arc<State>, following: Following) -> Option<Arc<store::Keeper>> {
    match following {
        Following::Nothing => None,
        Following::File(look) => Some(add_task(server, "store", store::Keeper::new(Arc::clone(state), look))),
        Following::Redis(seen) => {
            add_task(server, "shared", shared::Warden::new(Arc::clone(state)));
            add_task(server, "store", shared_keys::SharedKeeper::new(Arc::clone(state), seen));
            None
        }
    }
}

/// A background task with a runtime of its own.
fn add_task<T: BackgroundService + Send + Sync + 'static>(server: &mut Server, name: &str, task: T) -> Arc<T> {
    let mut service = background_service(name, task);
    service.threads = Some(1);
    let task = service.task();
    server.add_service(service);
    task
}

fn add_demo(server: &mut Server, listener: std::net::TcpListener, acceptance: &Acceptance) -> Result<(), StartError> {
    let bound = Bound::take(listener, Keeper::Nobody).map_err(StartError::Machine)?;
    let mut service = demo::service("demo");
    service.threads = Some(1);
    service.add_tcp(&bound.address.to_string());
    server.add_service(WithListener::new(service, vec![bound], acceptance));
    Ok(())
}

/// Seconds since 1970.
pub fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A connection needs two descriptors; the soft limit of a shell is often 1024.
fn raise_open_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it is; `process_max_fds` shows it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
