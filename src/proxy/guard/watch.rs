//! What a connection waits for, as the phases of its requests tell the guard below them.
//!
//! A [`Watch`] is shared by a connection's stream, which keeps the deadlines, and by the request that it is busy with.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::tunnel::{Ending, Terms};

/// What the connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Between requests.
    Idle,
    /// Within a header.
    Header,
    /// Within a request that others watch.
    Busy,
    /// The service is to say something.
    Reply,
    /// It did not.
    Silent,
    /// It is a WebSocket.
    Tunnel,
}

impl Phase {
    const ALL: [Self; 6] = [Self::Idle, Self::Header, Self::Busy, Self::Reply, Self::Silent, Self::Tunnel];
}

/// The deadline of a connection: which, how long, and since when.
#[derive(Debug)]
pub struct Watch {
    phase: AtomicU8,
    /// Changes when the time begins anew within a phase.
    turn: AtomicU32,
    /// How long the service may be silent, in milliseconds.
    silence: AtomicU64,
    /// Why a WebSocket ends, once it does.
    ending: AtomicU8,
    tunnel: Mutex<Waiting>,
}

/// What passes between a WebSocket's stream and those that begin and end it.
#[derive(Debug, Default)]
struct Waiting {
    terms: Option<Terms>,
    waker: Option<Waker>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            turn: AtomicU32::default(),
            silence: AtomicU64::default(),
            ending: AtomicU8::default(),
            tunnel: Mutex::default(),
        }
    }
}

impl Watch {
    /// What the connection is at, and the turn of its time.
    pub fn now(&self) -> (Phase, u32) {
        let phase = Phase::ALL.get(usize::from(self.phase.load(Ordering::Relaxed)));
        (phase.copied().unwrap_or(Phase::Busy), self.turn.load(Ordering::Relaxed))
    }

    /// The connection goes on to another phase, whose time begins now.
    pub fn enter(&self, phase: Phase) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// From now on the service may be silent for so long; `None`: pingora watches it.
    pub fn expect(&self, silence: Option<Duration>) {
        match silence {
            Some(silence) => {
                self.silence.store(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                self.enter(Phase::Reply);
            }
            None => self.enter(Phase::Busy),
        }
    }

    /// The service has said something.
    pub fn heard(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// How long the service may be silent.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.silence.load(Ordering::Relaxed))
    }

    /// Whether it was silent for longer.
    pub fn was_silent(&self) -> bool {
        self.now().0 == Phase::Silent
    }

    /// The connection is a WebSocket from now on.
    pub fn open(&self, terms: Terms) {
        self.tunnel.lock().terms = Some(terms);
        self.enter(Phase::Tunnel);
    }

    /// The terms of the WebSocket, for its stream.
    pub fn take_terms(&self) -> Option<Terms> {
        self.tunnel.lock().terms.take()
    }

    /// Whoever waits for the stream is woken when the WebSocket is to end.
    pub fn park(&self, context: &Context<'_>) {
        let mut waiting = self.tunnel.lock();
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// Ends the WebSocket, unless it has a reason to end already.
    pub fn end(&self, why: Ending) {
        let _ = self.ending.compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        if let Some(waker) = self.tunnel.lock().waker.take() {
            waker.wake();
        }
    }

    /// Why the WebSocket ends, where the gateway ends it.
    pub fn ending(&self) -> Option<Ending> {
        Ending::of(self.ending.load(Ordering::SeqCst))
    }
}
