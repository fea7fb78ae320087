//! Tollgate: an API gateway in front of a team's microservices, declared in one YAML file.
//!
//! ```text
//! tollgate.yaml → config::Config → gateway::compile → Arc<Gateway> → Exchange → answer
//!    text           as written        all problems      immutable     per request
//!                                       at once         generation
//! ```
//!
//! # What a request goes through
//!
//! ```text
//! accept → guard → limits of header, URI, path → match → authenticate → authorise → limits → contract → cache → service → headers → log
//! ```
//!
//! [`proxy::admit`] holds the middle of it on one screen. Everything up to the contract, with the whole body where the
//! contract reads it, happens before the service is contacted.
//!
//! # Where things are
//!
//! Imports go one way: `main → server → proxy → gateway → policy`. [`config`] is read by the command line, by
//! [`server`] and by `gateway::compile` only; [`telemetry`] is a leaf. [`store`] is the file of API keys that come and
//! go at run time and of what quotas have used, or the Redis in which many gateways keep keys and the counters of limits
//! together; it knows [`policy`] only, [`server`] opens it, and `proxy` looks into what it read and asks the shared
//! counters. [`explain`] stands beside the server: it tries requests out on the same [`proxy`], without a network, with
//! the keys that it finds in the store and that the command line fetches for it. [`demo`] and [`import`] serve the
//! command line alone; the one knows nothing of the rest, the other only what [`policy`] checks.
//!
//! # What must always hold
//!
//! 1. Every request passes `admit`; `upstream_peer` needs an `Admission`, and only `admit` makes one. A caller that is
//!    given instead of found by a credential exists in [`proxy::rehearse`] only.
//! 2. A request uses one generation from its first phase to its log line. There is one `ArcSwap` of it; the snapshot of
//!    the store has its own, is read once, and is understood by the request's generation.
//! 3. A generation is built completely before it is published; a bad file changes nothing and is reported with its
//!    line.
//! 4. Limit counters, stored replies, published key sets and connection pools belong to the process: a reload keeps them for what did not
//!    change. Limit counters go over to the process that takes over; quotas outlive all of them where there is a store,
//!    and all counters where many gateways share one.
//! 5. Nothing that a request or a configuration can contain makes the process panic.
//! 6. Later stages key on the consumer, never on a raw header. Identity headers from clients are always stripped.
//! 7. Metric labels come from names in the configuration and closed sets, never from request text.
//! 8. Secrets never reach logs, metrics or error bodies; API keys exist only as hashes.
//! 9. No reference dangles and no key is ignored: a configuration that loads is enforced as written.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod config;

pub mod gateway;

pub mod policy;

pub mod store;

pub mod proxy;

pub mod server;

pub mod telemetry;

pub mod demo;

pub mod import;

pub mod explain;
