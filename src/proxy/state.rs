//! What belongs to the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use crate::gateway::Gateway;
use crate::gateway::key_source::KeySources;
use crate::policy::limit::{Clock, Limiter};
use crate::store::Snapshot;
use crate::telemetry::spans::SpanQueue;
use crate::telemetry::{AccessLog, Telemetry};

use super::cache::ReplyStore;
use super::{
    AuthServices, Budget, Connections, Listening, Mirrors, Passwords, Pulse, SharedLimits, Successor, Tunnels,
    UploadDisk,
};

/// What belongs to the process and outlives every generation.
pub struct State {
    /// The one published generation.
    pub gateway: ArcSwap<Gateway>,
    /// The API keys of the store, where there is one.
    pub stored_keys: Option<ArcSwap<Snapshot>>,
    /// All metrics.
    pub telemetry: Arc<Telemetry>,
    /// All limit counters.
    pub limiter: Arc<Limiter>,
    /// The process that the counters were handed over to, while it decides.
    pub successor: ArcSwapOption<Successor>,
    /// Whether the process before still asks this one for decisions.
    pub is_asked: AtomicBool,
    /// The counters that other gateways share, where they do.
    pub shared: Option<SharedLimits>,
    /// The clock of the limits.
    pub clock: Clock,
    /// Open client connections.
    pub connections: Arc<Connections>,
    /// Memory of bodies under check.
    pub bodies: Arc<Budget>,
    /// Memory of what compresses replies.
    pub compressors: Arc<Budget>,
    /// Disk of uploads under check.
    pub uploads: Arc<UploadDisk>,
    /// Published key sets.
    pub keys: Arc<KeySources>,
    /// Passwords that are being verified, and those that were right.
    pub passwords: Passwords,
    /// Connections to those who are asked who calls.
    pub auth_services: AuthServices,
    /// Copies of requests for second services.
    pub mirrors: Arc<Mirrors>,
    /// Replies that are stored.
    pub cache: ReplyStore,
    /// Open WebSockets.
    pub tunnels: Arc<Tunnels>,
    /// Where access lines go.
    pub access: AccessLog,
    /// Where the spans of traces go.
    pub spans: SpanQueue,
    /// The listeners of clients.
    pub listeners: Vec<Listening>,
    /// The connection of the process to itself, while there is one.
    pub pulse: ArcSwapOption<Pulse>,
    /// Set once the process is about to leave.
    pub draining: AtomicBool,
    /// The same for those who wait for it.
    pub leaving: watch::Sender<bool>,
    /// Requests between their first phase and their log line.
    pub in_flight: Arc<AtomicUsize>,
}

impl State {
    /// The state of a process that begins with this generation.
    pub fn new(gateway: Gateway, telemetry: Arc<Telemetry>, access: AccessLog) -> Self {
        let cache = ReplyStore::new(gateway.cache_memory);
        Self {
            gateway: ArcSwap::from_pointee(gateway),
            stored_keys: None,
            spans: SpanQueue::new(telemetry.spans.clone()),
            telemetry,
            limiter: Limiter::new(),
            successor: ArcSwapOption::empty(),
            is_asked: AtomicBool::new(false),
            shared: None,
            clock: Clock::start(),
            connections: Arc::new(Connections::default()),
            bodies: Arc::new(Budget::default()),
            compressors: Arc::new(Budget::default()),
            uploads: Arc::new(UploadDisk::default()),
            keys: Arc::default(),
            passwords: Passwords::default(),
            auth_services: AuthServices::default(),
            mirrors: Arc::default(),
            cache,
            tunnels: Arc::default(),
            access,
            listeners: Vec::new(),
            pulse: ArcSwapOption::empty(),
            draining: AtomicBool::new(false),
            leaving: watch::Sender::new(false),
            in_flight: Arc::new(AtomicUsize::new(0)),
        }
    }
}
