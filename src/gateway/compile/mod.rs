//! From what was written to what runs.
//!
//! [`compile`] is a pure function: the network (looking up names) and the registry of metrics come in from outside.
//! Making the runtime value is the check: what cannot be made becomes a problem at its place, and compiling goes on,
//! so that one run reports everything. A generation comes out only when the report has no error.
//!
//! What is left of a configuration whose shape is wrong is compiled too, by [`judge`], for its report alone. For that
//! a problem says what it rests on besides its own place (`by_itself`, `given`): another section, a sibling key, a key
//! that is missing. One that says nothing is taken to rest on everything in its route, service, ….

mod access_log;
mod callers;
mod certificates;
mod distinct;
mod docs;
mod documents;
mod forward_auth;
mod headers;
mod listeners;
pub mod openapi;
mod passwords;
mod resolver;
mod routes;
mod series;
mod service_tls;
mod services;
#[cfg(test)]
mod tests;
mod tokens;
mod traces;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Config, Damaged, ErrorFormat, Period, Place, Report};
use crate::policy::cache::Freshness;
use crate::policy::flood::Flood;
use crate::policy::rejection::Format;
use crate::telemetry::Telemetry;

use super::key_source::KeySources;
use super::names::Resolver;
use super::tls::{Entrance, Read};
use super::{ConnectionLimits, Gateway, LimitCounters, RequestLimits, Route, Service, UploadLimits};
use callers::Callers;
use routes::Compiled;
use services::Services;

/// Instead of a route's name, in metrics.
const UNMATCHED: &str = "-";

/// Looks a name up, and gives each of its addresses this port.
pub type Resolve = dyn Fn(&Resolver, &str, u16) -> io::Result<Vec<SocketAddr>>;

/// What a generation takes from the process it is for.
pub struct Surroundings<'a> {
    /// Where metrics are registered.
    pub telemetry: &'a Telemetry,
    /// Looks a name up.
    pub lookup: &'a Resolve,
    /// Number of the generation.
    pub generation: u64,
    /// The flood guard of the running generation, kept when its rate is the same.
    pub flood: Option<Arc<Flood>>,
    /// Published key sets that the process knows.
    pub keys: &'a KeySources,
    /// Reads a file that the configuration names; `None`: what they hold is not asked.
    pub read: Option<Read<'a>>,
    /// Now, in Unix time.
    pub now: i64,
    /// How clients come in now.
    pub running: &'a [(SocketAddr, Entrance)],
    /// The services of the running generation: what is known of them goes on.
    pub services: &'a [Arc<Service>],
}

/// Compiles a configuration.
///
/// `hash` names its text, `masked` is what the admin listener shows of it, as JSON. `None` when there are errors; they are in
/// the report, beside those it had before.
pub fn compile(
    config: &Config,
    hash: &str,
    masked: &str,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Gateway> {
    let Parts { entrances, resolver, services, callers, compiled, docs, flood, traces } =
        parts(config, surroundings, report);
    if report.has_errors() {
        return None;
    }
    let auth_services = callers.auth_services();
    let inventory = series::inventory(&series::Compiled {
        entrances: &entrances,
        authenticators: &callers.authenticators,
        plans: &callers.plans,
        services: &services,
        routes: &compiled.routes,
        docs: docs.as_ref(),
    });
    let plans = callers.plans.values().map(|plan| &**plan);
    let routes = compiled.routes.iter().map(|route| &**route);
    let limit_counters = LimitCounters::new(plans, routes, surroundings.telemetry);
    Some(Gateway {
        generation: surroundings.generation,
        hash: hash.into(),
        configuration: masked.into(),
        entrances,
        connection_limits: connection_limits(&config.guard),
        request_limits: request_limits(&config.guard),
        upload_limits: upload_limits(&config.guard),
        flood,
        trusted_proxies: config.trusted_proxies.clone(),
        format: match config.error_format {
            ErrorFormat::Problem => Format::Problem,
            ErrorFormat::Fastapi => Format::Fastapi,
        },
        access_shape: access_log::shape(&config.access_log),
        access_lines: access_log::lines(config.access_log.lines),
        traces,
        keys: callers.keys,
        accounts: callers.accounts,
        certificates: callers.certificates,
        consumers: callers.consumers,
        plans: callers.plans,
        cache_memory: config.cache.memory.bytes(),
        refreshes: refreshes(&compiled.routes),
        router: compiled.router,
        routes: compiled.routes,
        auth_services,
        resolver,
        services: services.into_values().collect(),
        limit_counters,
        inventory,
        unmatched: surroundings.telemetry.route(UNMATCHED),
        cors: compiled.cors,
        docs: docs.and_then(|place| docs::compile(config, place, surroundings.telemetry)),
        drain_timeout: config.drain.timeout.get(),
    })
}

/// What is wrong with the rest of a configuration that has damage. Nothing that runs comes out of it: no name is looked
/// up for it, and its metrics are nobody's.
pub fn judge(damaged: &Damaged) -> Report {
    let lookup = |_: &Resolver, _: &str, _: u16| Ok(Vec::new());
    let (telemetry, keys) = (Telemetry::new("", ""), KeySources::default());
    let surroundings = Surroundings {
        telemetry: &telemetry,
        lookup: &lookup,
        generation: 0,
        flood: None,
        keys: &keys,
        read: None,
        now: 0,
        running: &[],
        services: &[],
    };
    let mut found = Report::default();
    parts(damaged.rest(), &surroundings, &mut found);
    damaged.judge(found)
}

/// The compiled sections, without what is wrong in them.
struct Parts {
    entrances: Vec<(SocketAddr, Entrance)>,
    resolver: Resolver,
    services: Services,
    callers: Callers,
    compiled: Compiled,
    docs: Option<super::docs::Place>,
    flood: Option<Arc<Flood>>,
    traces: Option<super::traces::Traces>,
}

fn parts(config: &Config, surroundings: &Surroundings<'_>, report: &mut Report) -> Parts {
    check_top(config, report);
    check_store(config, report);
    let entrances = listeners::compile(config, surroundings, report);
    let resolver = resolver::compile(&config.resolver, report);
    let lookup = |host: &str, port: u16| (surroundings.lookup)(&resolver, host, port);
    let services = services::compile(&config.services, surroundings, &lookup, report);
    let callers = callers::compile(config, surroundings, &lookup, report);
    access_log::check(&config.access_log, &callers, report);
    let compiled = routes::compile(config, &services, &callers, surroundings.telemetry, report);
    warn_of_unused(config, report);
    certificates::warn_of_unasked(config, report);
    let docs = docs::check(config, report);
    let flood = flood(config, surroundings.flood.as_ref(), report);
    let traces = traces::compile(config, report);
    Parts { entrances, resolver, services, callers, compiled, docs, flood, traces }
}

fn check_top(config: &Config, report: &mut Report) {
    let place = Place::root().key("listeners");
    if config.listeners.is_empty() {
        report.error(place, "the gateway listens nowhere").by_itself().help("for example `- address: 0.0.0.0:8080`");
    }
    let address = |index| Place::root().key("listeners").index(index).key("address");
    let mut seen = HashMap::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let first = *seen.entry(listener.address).or_insert(index);
        if first != index && listener.address.port() != 0 {
            report
                .error(address(index), format!("`{}` is listened on already", listener.address))
                .given(address(first));
        }
    }
    if config.guard.max_streams == 0 {
        report
            .error(
                Place::root().key("guard").key("max_streams"),
                "a connection on which no request may be open is of no use",
            )
            .by_itself();
    }
    if let Some(admin) = &config.admin {
        let place = Place::root().key("admin").key("address");
        if let Some(listener) = seen.get(&admin.address).filter(|_| admin.address.port() != 0) {
            report
                .error(place.clone(), "clients are listened for on this address")
                .given(address(*listener))
                .help("take another port for operators");
        }
        if !admin.address.ip().is_loopback() {
            report
                .warning(place, "the admin listener answers everyone who can reach this address")
                .by_itself()
                .help("keep it on 127.0.0.1, or on a private network");
        }
    }
    for (index, net) in config.trusted_proxies.iter().enumerate() {
        if net.prefix_len() == 0 {
            let place = Place::root().key("trusted_proxies").index(index);
            report
                .warning(place, "every client is trusted to name its own address")
                .by_itself()
                .help("list only the addresses of your own proxies");
        }
    }
    if config.routes.is_empty() {
        let place = Place::root().key("routes");
        report.warning(place, "there are no routes: every request is answered 404").by_itself();
    }
}

/// Where the store is; what is in it is known when the gateway starts.
fn check_store(config: &Config, report: &mut Report) {
    let (store, token) = (Place::root().key("store"), Place::root().key("admin").key("token_sha256"));
    let path = config.store.as_ref().and_then(|store| store.path.as_deref());
    if path.is_some_and(|path| path.is_empty() || path.contains('\0')) {
        report
            .error(store.clone().key("path"), "this is no path of a file")
            .by_itself()
            .help("for example `/var/lib/tollgate/tollgate.db`");
    }
    config.store.iter().for_each(|store| check_shared(store, report));
    let cached = config.routes.iter().any(|route| route.cache.is_some());
    if config.store.is_none() && !cached && config.admin.as_ref().is_some_and(|admin| admin.token_sha256.is_some()) {
        report
            .warning(token, "without a store this token is good for nothing")
            .on_key()
            .given(store)
            .help("add `store: {}`");
    }
}

/// What the store is, and whether each key beside it means something.
fn check_shared(store: &config::Store, report: &mut Report) {
    let place = || Place::root().key("store");
    let Some(url) = &store.redis else {
        let idle = [
            ("timeout", store.timeout.is_some()),
            ("on_store_failure", store.on_store_failure.is_some()),
            ("rate_sharing", store.rate_sharing.is_some()),
            ("prefix", store.prefix.is_some()),
        ];
        for (key, _) in idle.into_iter().filter(|(_, written)| *written) {
            let problem = report.error(place().key(key), format!("`{key}` is for a store in Redis"));
            problem.on_key().given(place().key("redis")).help("add `redis: redis://host:6379`");
        }
        return;
    };
    if store.path.is_some() {
        let problem = report.error(place().key("redis"), "a store is a file or a Redis, not both");
        problem.on_key().given(place().key("path")).help("keep one of `path`, `redis`");
    }
    // The URL may hold a password, so nothing of it is repeated.
    let known = ["redis://", "rediss://", "valkey://", "valkeys://"].iter().any(|scheme| url.starts_with(scheme));
    if !known || url.parse::<redis::ConnectionInfo>().is_err() {
        report
            .error(place().key("redis"), "this is no URL of a Redis")
            .by_itself()
            .help("for example `redis://127.0.0.1:6379`, or `rediss://user:password@host:6380/0` over TLS");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if let Some(prefix) =
        store.prefix.as_deref().filter(|prefix| !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(allowed))
    {
        report
            .error(place().key("prefix"), format!("`{prefix}` cannot begin the names of keys"))
            .by_itself()
            .help("1 to 64 letters, digits, `-`, `_`, `.`");
    }
}

/// Names that nothing refers to are often a misspelling elsewhere.
fn warn_of_unused(config: &Config, report: &mut Report) {
    let services: HashSet<&str> = config
        .routes
        .iter()
        .flat_map(|route| route.service.names().chain(route.mirror.as_ref().map(|mirror| mirror.service.as_str())))
        .collect();
    for name in config.services.keys().filter(|name| !services.contains(name.as_str())) {
        report
            .warning(Place::root().key("services").key(name), format!("no route uses service `{name}`"))
            .on_key()
            .given_each(Place::root().key("routes"), "service")
            .given_each(Place::root().key("routes"), "mirror");
    }
    let tokens: Vec<&config::Jwt> =
        config.authenticators.values().filter_map(|authenticator| authenticator.jwt.as_ref()).collect();
    let asked: Vec<&config::ForwardAuth> =
        config.authenticators.values().filter_map(|authenticator| authenticator.forward_auth.as_ref()).collect();
    let any_plan =
        tokens.iter().any(|jwt| jwt.plan_claim.is_some()) || asked.iter().any(|asked| asked.plan_header.is_some());
    // Keys of the store may bring consumers with any plan, and so may tokens and auth services.
    if config.store.is_some() || any_plan {
        return;
    }
    let named = config.consumers.values().filter_map(|consumer| consumer.plan.as_deref());
    let named = named.chain(tokens.iter().filter_map(|jwt| jwt.plan.as_deref()));
    let plans: HashSet<&str> = named.chain(asked.iter().filter_map(|asked| asked.plan.as_deref())).collect();
    // A plan that is not there may be this one, misspelt.
    let misspelt = plans.iter().any(|name| !config.plans.contains_key(*name));
    for name in config.plans.keys().filter(|name| !misspelt && !plans.contains(name.as_str())) {
        report
            .warning(Place::root().key("plans").key(name), format!("no consumer has plan `{name}`"))
            .on_key()
            .given_each(Place::root().key("consumers"), "plan")
            .given(Place::root().key("store"))
            .given(Place::root().key("authenticators"));
    }
}

fn connection_limits(guard: &config::Guard) -> ConnectionLimits {
    ConnectionLimits {
        header_timeout: guard.header_timeout.get(),
        handshake_timeout: guard.handshake_timeout.get(),
        idle_timeout: guard.idle_timeout.get(),
        write_timeout: guard.body_timeout.get(),
        max_connections: guard.max_connections as usize,
        max_per_address: guard.max_connections_per_address.map(|max| max as usize),
        max_streams: guard.max_streams,
        max_header_list: header_list(guard),
    }
}

/// Each field counts 32 bytes more than it has (RFC 9113 section 6.5.2); there are four pseudo-fields, and one field too
/// many should still be seen.
fn header_list(guard: &config::Guard) -> u32 {
    let fields = u64::from(guard.header_count).saturating_add(5).saturating_mul(32);
    let bytes = guard.header_bytes.bytes().saturating_add(guard.uri_bytes.bytes()).saturating_add(fields);
    u32::try_from(bytes.saturating_add(1024)).unwrap_or(u32::MAX)
}

fn request_limits(guard: &config::Guard) -> RequestLimits {
    let bytes = |size: config::Size| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
    RequestLimits {
        header_bytes: bytes(guard.header_bytes),
        header_count: guard.header_count as usize,
        uri_bytes: bytes(guard.uri_bytes),
        body_timeout: guard.body_timeout.get(),
        body_memory: guard.body_memory.bytes(),
        compression_memory: guard.compression_memory.bytes(),
    }
}

fn upload_limits(guard: &config::Guard) -> UploadLimits {
    let directory = guard.upload_dir.as_deref().map(|directory| Path::new(directory).into());
    UploadLimits { directory, disk: guard.upload_disk.bytes() }
}

/// Whether a stale reply may be used somewhere while it is fetched anew; a reply may say so itself.
fn refreshes(routes: &[Arc<Route>]) -> bool {
    let mut rules = routes.iter().filter_map(|route| route.cache.as_deref()).map(|cache| &cache.rules);
    rules.any(|rules| rules.freshness == Freshness::Respected || !rules.stale_while_revalidate.is_zero())
}

fn flood(config: &Config, running: Option<&Arc<Flood>>, report: &mut Report) -> Option<Arc<Flood>> {
    let rate = config.guard.flood?;
    let place = Place::root().key("guard").key("flood");
    if rate.period != Period::Second || rate.burst.is_some() {
        report
            .error(place, "the flood guard counts per second, without a burst")
            .by_itself()
            .help("for example `500/second`; slower rates are limits of a route, `by: client_ip`");
        return None;
    }
    match running {
        Some(flood) if flood.per_second() == rate.count => Some(Arc::clone(flood)),
        _ => Some(Arc::new(Flood::new(rate.count))),
    }
}
