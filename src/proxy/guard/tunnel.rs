//! A connection that has become a WebSocket, from its 101 to its end.
//!
//! Its bytes pass as they come. What the gateway does is to end it: when neither side has said anything for too long,
//! when it has lived for too long, and when the process leaves. Then both ends get a close frame (1001, going away),
//! where one may stand between the frames that have passed, and the client a moment to answer it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::WebsocketMetrics;

use super::frames::Frames;
use super::watch::Watch;

/// How long a client may take to answer the last frame.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// Why the gateway ends a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// Neither side said anything.
    Idle = 1,
    /// It is as old as it may be.
    Lifetime,
    /// The process leaves.
    Leaving,
}

impl Ending {
    /// For the access line.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Idle => "WebSocket: idle",
            Self::Lifetime => "WebSocket: lifetime",
            Self::Leaving => "WebSocket: leaving",
        }
    }

    /// As it is kept.
    pub fn of(kept: u8) -> Option<Self> {
        [Self::Idle, Self::Lifetime, Self::Leaving].into_iter().find(|ending| *ending as u8 == kept)
    }
}

/// How long a WebSocket may live.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Without a byte of either side.
    pub idle: Duration,
    /// At all.
    pub until: Option<Instant>,
}

/// What a stream knows of its WebSocket.
#[derive(Debug)]
pub struct Tunnel {
    pub terms: Terms,
    pub from_client: Frames,
    pub to_client: Frames,
    pub stage: Stage,
}

/// How far its end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It goes on.
    Open,
    /// The client has been told; the service is to be told.
    TellService,
    /// The client may answer until then.
    Goodbye(Instant),
    /// Nothing passes any more.
    Over,
}

impl Tunnel {
    pub fn new(terms: Terms) -> Self {
        let (from_client, to_client) = (Frames::from_here(), Frames::after_response());
        Self { terms, from_client, to_client, stage: Stage::Open }
    }
}

/// The open WebSockets of the process.
#[derive(Debug, Default)]
pub struct Tunnels {
    open: Mutex<HashMap<usize, Arc<Watch>>>,
    leaving: AtomicBool,
}

/// One of them; gone from the count when dropped.
#[derive(Debug)]
pub struct Entered {
    tunnels: Arc<Tunnels>,
    watch: Arc<Watch>,
    /// Of its route.
    pub metrics: WebsocketMetrics,
}

impl Tunnels {
    /// Counts one more.
    pub fn enter(self: &Arc<Self>, watch: &Arc<Watch>, metrics: &WebsocketMetrics) -> Entered {
        metrics.opened(1);
        self.open.lock().insert(key(watch), Arc::clone(watch));
        if self.leaving.load(Ordering::SeqCst) {
            watch.end(Ending::Leaving);
        }
        Entered { tunnels: Arc::clone(self), watch: Arc::clone(watch), metrics: metrics.clone() }
    }

    /// Ends all of them, now and from now on.
    pub fn end(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        self.open.lock().values().for_each(|watch| watch.end(Ending::Leaving));
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.lock().len()
    }
}

impl Entered {
    /// Why the gateway ended it, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.watch.ending()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.metrics.opened(-1);
        self.tunnels.open.lock().remove(&key(&self.watch));
    }
}

/// A watch is at its place for as long as it is in the map.
fn key(watch: &Arc<Watch>) -> usize {
    Arc::as_ptr(watch).addr()
}
