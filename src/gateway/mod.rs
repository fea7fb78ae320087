//! What runs: one immutable generation.
//!
//! A [`Gateway`] is built completely by [`compile()`] from a `config::Config`, or not at all. In it nothing is text
//! that still has to be understood: names are references, templates and contracts are compiled, header values and
//! peers are ready to be cloned, metrics are resolved. It holds no counter that must survive it: those belong to
//! the process (`proxy::State`) and are found again by stable identities.

mod compile;
pub mod docs;
pub mod forward_auth;
pub mod key_source;
mod limit_counters;
pub mod names;
pub mod password;
pub mod router;
pub mod service;
mod service_path;
pub mod split;
pub mod template;
pub mod tls;
pub mod token;
pub mod traces;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::HeaderValue;
use indexmap::IndexMap;
use ipnet::IpNet;

use crate::policy::authenticate::{KeyPlace, Keyring, Part};
use crate::policy::authorise::{Authorisation, Caller, Condition};
use crate::policy::cache::Rules;
use crate::policy::coding::Compression;
use crate::policy::contract::{Contract, ReplyModel};
use crate::policy::cors::Cors;
use crate::policy::flood::Flood;
use crate::policy::headers::{AllowList, HeaderEdits};
use crate::policy::limit::{Limit, Mark, Subject};
use crate::policy::mode::{Mode, Modes};
use crate::policy::rejection::Format;
use crate::policy::token::claim;
use crate::policy::websocket::Origins;
use crate::telemetry::{CacheMetrics, Inventory, Lines, MirrorMetrics, RouteMetrics, Shape, WebsocketMetrics};

pub use compile::{Resolve, Surroundings, compile, judge, openapi};
pub use limit_counters::LimitCounters;
pub use names::lookup;
pub use router::Router;
pub use service::{HostHeader, NO_AUTHORITIES, Service, Target, Timeouts, connector, connector_options};
pub use service_path::{ServicePath, Value as ServicePathValue};
pub use split::Split;

/// The methods that a route may declare. CONNECT and TRACE are not among them: a gateway has no use for either, and
/// both tunnel or reflect what nobody checked.
pub const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// One generation: everything a request needs, compiled.
pub struct Gateway {
    /// Its number; the first is 1.
    pub generation: u64,
    /// SHA-256 of the effective configuration, in hexadecimal.
    pub hash: Box<str>,
    /// The configuration as enforced, for the admin listener, as JSON: defaults filled in, secrets masked.
    pub configuration: Box<str>,
    /// How clients come in, by the address of the listener as written.
    pub entrances: Vec<(SocketAddr, tls::Entrance)>,
    /// Caps and deadlines of connections.
    pub connection_limits: ConnectionLimits,
    /// Caps of a request.
    pub request_limits: RequestLimits,
    /// Where the files of uploads are kept while they are checked and sent on.
    pub upload_limits: UploadLimits,
    /// The per-address guard in front of authentication.
    pub flood: Option<Arc<Flood>>,
    /// Peers whose word on forwarding counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The shape of errors.
    pub format: Format,
    /// The shape of access lines; `None`: no lines.
    pub access_shape: Option<Shape>,
    /// Which requests that no route matches have one.
    pub access_lines: Lines,
    /// How requests are recorded as traces, where they are.
    pub traces: Option<traces::Traces>,
    /// Every API key of the configuration file.
    pub keys: Keyring<Arc<Consumer>>,
    /// Every consumer with passwords.
    pub accounts: password::Accounts,
    /// Every certificate of a consumer.
    pub certificates: tls::Owners,
    /// All consumers by name, also those that no credential finds.
    pub consumers: IndexMap<String, Arc<Consumer>>,
    /// All plans by name.
    pub plans: IndexMap<String, Arc<Plan>>,
    /// What stored replies of all routes may take, in bytes.
    pub cache_memory: u64,
    /// Whether some route may use stale replies while they are fetched anew.
    pub refreshes: bool,
    /// Finds the route of a request.
    pub router: Router<Arc<Route>>,
    /// All routes, in the order of the file.
    pub routes: Vec<Arc<Route>>,
    /// How the names of services are looked up.
    pub resolver: names::Resolver,
    /// All services, in the order of the file.
    pub services: Vec<Arc<Service>>,
    /// Those that are asked who calls.
    pub auth_services: Vec<Arc<Service>>,
    /// What its limits did is counted here.
    pub limit_counters: LimitCounters,
    /// What its metrics tell apart.
    pub inventory: Inventory,
    /// Where requests without a route are counted.
    pub unmatched: RouteMetrics,
    /// The API's description, where it is served.
    pub docs: Option<docs::Docs>,
    /// Which pages of other origins may read what is answered to requests without a route.
    pub cors: Option<Arc<Cors>>,
    /// How long requests may take after SIGTERM.
    pub drain_timeout: Duration,
}

/// What a generation knows of a consumer that somebody else names: a key of the store.
#[derive(Debug, Clone, Copy)]
pub enum Named<'g> {
    /// A consumer of the configuration file; what is said there holds.
    Declared(&'g Arc<Consumer>),
    /// Not in the file, but it has one of its plans.
    OfPlan(&'g Arc<Plan>),
}

impl Gateway {
    /// Looks a consumer up by its name, and where there is none, the plan it is said to have. `None`: nobody can call
    /// under this name.
    pub fn named(&self, consumer: &str, plan: Option<&str>) -> Option<Named<'_>> {
        let declared = self.consumers.get(consumer).map(Named::Declared);
        declared.or_else(|| self.plans.get(plan?).map(Named::OfPlan))
    }

    /// How many limits there are, of plans and routes.
    pub fn limit_count(&self) -> usize {
        let of_plan = |plan: &Arc<Plan>| {
            let of_routes: usize = plan.routes.values().map(Vec::len).sum();
            plan.each_route.len() + of_routes + plan.total.len() + usize::from(plan.concurrency.is_some())
        };
        let of_routes: usize = self.routes.iter().map(|route| route.limits.len()).sum();
        self.plans.values().map(of_plan).sum::<usize>() + of_routes
    }
}

/// Caps on connections, and deadlines of one before it has sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// From the first byte of a header to its last.
    pub header_timeout: Duration,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// In which a client takes nothing of what is written to it.
    pub write_timeout: Duration,
    /// Open connections, all together.
    pub max_connections: usize,
    /// Open connections of one address.
    pub max_per_address: Option<usize>,
    /// Requests at a time of one HTTP/2 connection.
    pub max_streams: u32,
    /// What HTTP/2 connections are told of how large a header may be, in bytes as RFC 9113 counts them: a little more than
    /// the request's own limits, which say why they refuse one.
    pub max_header_list: u32,
}

/// Caps of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Request line and fields, in bytes.
    pub header_bytes: usize,
    /// Number of fields.
    pub header_count: usize,
    /// Path and query, in bytes.
    pub uri_bytes: usize,
    /// For a whole checked body; for a streamed one, and for a client that does not read, the longest silence.
    pub body_timeout: Duration,
    /// All bodies under check, in bytes.
    pub body_memory: u64,
    /// All compressors of replies, in bytes.
    pub compression_memory: u64,
}

/// Where the files of uploads are kept while they are checked and sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLimits {
    /// The directory for temporary files; `None`: the system's.
    pub directory: Option<Arc<Path>>,
    /// All uploads together, in bytes.
    pub disk: u64,
}

/// A compiled route.
pub struct Route {
    /// Its name, unique.
    pub name: Box<str>,
    /// The methods it declares.
    pub methods: Vec<Method>,
    /// The host as written, where it has one.
    pub host: Option<Box<str>>,
    /// The gateway path as written.
    pub gateway_path: Box<str>,
    /// The service path as written, or the gateway path.
    pub service_path_text: Box<str>,
    /// The service behind it; the first of several, of which a request has one once its caller is known.
    pub service: Arc<Service>,
    /// The services that its callers are shared out to, where there are several.
    pub split: Option<Box<Split>>,
    /// A second service that gets copies of its requests.
    pub mirror: Option<Arc<Mirror>>,
    /// The path the service gets.
    pub service_path: ServicePath,
    /// Index of the path parameter that the service's targets are chosen by, if they are.
    pub path_key: Option<usize>,
    /// Names of the template's parameters, in order, with the catch-all marked by its place.
    pub template: template::Template,
    /// Whether `%2F` and `%5C` may stand in the path.
    pub encoded_slash: EncodedSlash,
    /// What passes.
    pub contract: Contract,
    /// What refuses requests, and what is only observed.
    pub modes: Modes,
    /// Who may call.
    pub access: Access,
    /// What is asked of them besides; `None`: nothing.
    pub authorisation: Option<Box<Authorisation>>,
    /// Which pages of other origins may read its answers; `None`: what the service says of it passes.
    pub cors: Option<Arc<Cors>>,
    /// Which replies are compressed; `None`: none.
    pub compression: Option<Arc<Compression>>,
    /// Names of the authenticators that find the caller, in the order of the file.
    pub authenticators: Vec<Box<str>>,
    /// Where any authenticator of the gateway looks for a key that this route's service must not see.
    pub hidden_keys: Vec<Part>,
    /// Headers that tokens' claims fill, of every authenticator: the client's copies do not pass.
    pub claim_headers: Vec<http::HeaderName>,
    /// Sets what a consumer uses here apart from what it uses elsewhere.
    pub mark: Mark,
    /// Its own limits.
    pub limits: Vec<RouteLimit>,
    /// How many requests one counts for in rates and quotas.
    pub cost: u32,
    /// Largest body, in bytes.
    pub max_body: u64,
    /// How it takes WebSockets, where it does.
    pub websocket: Option<Box<Websocket>>,
    /// How long its service may take here.
    pub timeouts: Timeouts,
    /// Which of the client's fields reach the service; `None`: all that nothing strips.
    pub allowed_headers: Option<AllowList>,
    /// Changes to what the service gets.
    pub request_headers: HeaderEdits,
    /// Changes to what the client gets.
    pub response_headers: HeaderEdits,
    /// Whether the service's own headers reach the client.
    pub service_headers: ServiceHeaders,
    /// What a successful JSON reply must be.
    pub response_model: Option<ReplyModel>,
    /// How its replies are cached, where they are.
    pub cache: Option<Box<CachedRoute>>,
    /// Which of its requests have an access line.
    pub access_lines: Lines,
    /// Its metrics.
    pub metrics: RouteMetrics,
}

impl Route {
    /// Whether violations of its contract are only told to operators.
    pub fn observes(&self) -> bool {
        self.modes.contract == Mode::Observe
    }

    /// The services that its requests go to.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        let arms = self.split.as_ref().map_or(&[][..], |split| split.arms());
        let one = arms.is_empty().then_some(&self.service);
        one.into_iter().chain(arms.iter().map(|arm| &arm.route.service))
    }

    /// Its service as operators read it: `users`, or `stable 95, canary 5`.
    pub fn service_text(&self) -> String {
        let Some(split) = &self.split else { return self.service.name.to_string() };
        let one = |arm: &split::Arm| format!("{} {}", arm.route.service.name, arm.weight);
        split.arms().iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// What it asks of addresses and callers, by the keys of the configuration.
    pub fn conditions(&self) -> impl Iterator<Item = &'static str> {
        self.authorisation.iter().flat_map(|rules| rules.stated()).map(Condition::word)
    }
}

/// A second service that gets copies of a route's requests.
pub struct Mirror {
    /// The service.
    pub service: Arc<Service>,
    /// Its share of the requests.
    pub millionths: u32,
    /// What becomes of the copies.
    pub metrics: MirrorMetrics,
}

/// How a route's replies are cached.
#[derive(Debug)]
pub struct CachedRoute {
    /// Which are, and for how long.
    pub rules: Rules,
    /// What sets requests apart besides what they ask for.
    pub keyed: Keyed,
    /// Stands for everything in the configuration that a reply of this route depends on: what was stored under another
    /// one is never used.
    pub fingerprint: [u8; 16],
    /// Their metrics.
    pub metrics: CacheMetrics,
}

/// What sets requests apart besides what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// Who calls.
    pub consumer: bool,
    /// The client's `Authorization`, which reaches the service.
    pub authorization: bool,
    /// The client's cookies, which reach the service.
    pub cookies: bool,
}

/// How a route takes WebSockets.
#[derive(Debug)]
pub struct Websocket {
    /// The pages that may open one.
    pub origins: Origins,
    /// The longest time in which neither side sends anything.
    pub idle_timeout: Duration,
    /// The longest time that one may live.
    pub max_lifetime: Option<Duration>,
    /// Their metrics.
    pub metrics: WebsocketMetrics,
}

/// Whether `%2F` and `%5C` may stand in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlash {
    /// 400.
    Reject,
    /// They pass, still encoded.
    Forward,
}

/// Whether a service's own response headers reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceHeaders {
    /// They do.
    Pass,
    /// Only those that describe the body do.
    Hide,
}

/// Who may call a route.
pub enum Access {
    /// Everyone.
    Public,
    /// Whoever has a key in one of these places, a token or a password, or is known to an auth service.
    Authenticated {
        /// Whether the certificate of the connection's client counts.
        certificates: bool,
        /// Where to look.
        places: Vec<KeyPlace>,
        /// Whose tokens are taken.
        tokens: Vec<Arc<token::TokenAuthenticator>>,
        /// Who asks for passwords.
        passwords: Vec<Arc<password::PasswordAuthenticator>>,
        /// Who is asked when nothing of that is found.
        asked: Vec<Arc<forward_auth::ForwardAuthenticator>>,
        /// `WWW-Authenticate` of a refusal.
        challenge: HeaderValue,
        /// The same for a token that is not valid.
        invalid_token: HeaderValue,
    },
}

impl Access {
    /// Whether nobody is asked who they are.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Public)
    }

    /// Where credentials are looked for.
    pub fn looked_at(&self) -> impl Iterator<Item = &KeyPlace> {
        let (keys, tokens, passwords): (&[_], &[_], &[_]) = match self {
            Self::Public => (&[], &[], &[]),
            Self::Authenticated { places, tokens, passwords, .. } => (places, tokens, passwords),
        };
        let tokens = tokens.iter().map(|tokens: &Arc<token::TokenAuthenticator>| &tokens.place);
        let passwords = passwords.iter().map(|passwords: &Arc<password::PasswordAuthenticator>| &passwords.place);
        keys.iter().chain(tokens).chain(passwords)
    }
}

/// A limit of a route.
#[derive(Debug)]
pub struct RouteLimit {
    /// How much.
    pub limit: Limit,
    /// For whom separately.
    pub by: LimitBy,
}

/// For whom a limit counts separately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitBy {
    /// Each client address.
    ClientIp,
    /// Each consumer.
    Consumer,
    /// Nobody: all requests of the route count together.
    Route,
    /// Each value of a header; requests without it count together.
    Header(http::HeaderName),
    /// Each value of a token's claim, at this path; callers without it count together.
    Claim(Box<str>),
}

/// Who calls.
#[derive(Debug)]
pub struct Consumer {
    /// Its name.
    pub name: Box<str>,
    /// Its plan, where plans are defined.
    pub plan: Option<Arc<Plan>>,
    /// `X-Consumer-Name`.
    pub name_header: HeaderValue,
    /// `X-Consumer-Groups`, where it has groups.
    pub groups_header: Option<HeaderValue>,
    /// The consumer in limit counters.
    pub subject: Subject,
    /// The groups it is in.
    pub groups: Vec<Box<str>>,
    /// What its token says; empty for one that an API key found.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Headers for the service that its token's claims fill.
    pub claim_headers: Vec<(http::HeaderName, HeaderValue)>,
}

impl Consumer {
    /// Somebody whom an authenticator has named, who is called `AUTHENTICATOR:NAME` and counts apart from every other.
    /// `None` when that cannot be a header's value.
    fn named_by(
        authenticator: &str,
        name: &str,
        plan: Option<Arc<Plan>>,
        groups: Vec<Box<str>>,
        claims: serde_json::Map<String, serde_json::Value>,
        claim_headers: Vec<(http::HeaderName, HeaderValue)>,
    ) -> Option<Self> {
        let name = format!("{authenticator}:{name}");
        Some(Self {
            name_header: HeaderValue::from_str(&name).ok()?,
            subject: Subject::claim(&name),
            name: name.into(),
            plan,
            groups_header: (!groups.is_empty()).then(|| HeaderValue::from_str(&groups.join(",")).ok()).flatten(),
            groups,
            claims,
            claim_headers,
        })
    }

    /// The same consumer, of whom an authenticator says this besides.
    fn with(
        &self,
        claims: serde_json::Map<String, serde_json::Value>,
        claim_headers: Vec<(http::HeaderName, HeaderValue)>,
    ) -> Self {
        Self {
            name: self.name.clone(),
            plan: self.plan.clone(),
            name_header: self.name_header.clone(),
            groups_header: self.groups_header.clone(),
            subject: self.subject,
            groups: self.groups.clone(),
            claims,
            claim_headers,
        }
    }

    /// What conditions are asked of.
    pub fn caller(&self) -> Caller<'_> {
        let plan = self.plan.as_ref().map(|plan| &*plan.name);
        Caller { name: &self.name, plan, groups: &self.groups, claims: &self.claims }
    }

    /// The value of a claim in limit counters. Who has no token counts with those whose token does not say it.
    pub fn claimed(consumer: Option<&Self>, path: &str) -> Subject {
        Subject::claimed(consumer.and_then(|consumer| claim(&consumer.claims, path)))
    }
}

/// What a consumer may use.
#[derive(Debug)]
pub struct Plan {
    /// Its name.
    pub name: Box<str>,
    /// `X-Consumer-Plan`.
    pub name_header: HeaderValue,
    /// For each consumer on each route separately.
    pub each_route: Vec<Limit>,
    /// By route name, instead of `each_route`.
    pub routes: HashMap<Box<str>, Vec<Limit>>,
    /// For each consumer over all routes.
    pub total: Vec<Limit>,
    /// Requests of one consumer in flight.
    pub concurrency: Option<Limit>,
}

impl Plan {
    /// The limits of a route for each consumer.
    pub fn route_limits(&self, route: &str) -> &[Limit] {
        if self.routes.is_empty() {
            return &self.each_route;
        }
        self.routes.get(route).unwrap_or(&self.each_route)
    }
}
