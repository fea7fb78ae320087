//! What a connection waits for, as the phases of its requests tell the guard below them.
//!
//! A [`Watch`] is shared by a connection's stream, which keeps the deadlines, and by the request that it is busy with.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

use super::date::Date;
use super::patience::Patience;
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
    /// It is a WebSocket.
    Tunnel,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Idle, Self::Header, Self::Busy, Self::Tunnel];
}

/// The deadline of a connection: which, how long, and since when.
#[derive(Debug)]
pub struct Watch {
    phase: AtomicU8,
    /// Changes when the time begins anew within a phase.
    turn: AtomicU32,
    /// How long the service may take.
    pub patience: Patience,
    /// Why a WebSocket ends, once it does.
    ending: AtomicU8,
    tunnel: Mutex<Waiting>,
    /// Whether what is written is sent at once, however little it is.
    is_eager: AtomicBool,
    /// Whether the next header has a date of its own.
    is_dated: AtomicBool,
    date: Mutex<Option<Date>>,
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
            patience: Patience::new(),
            ending: AtomicU8::default(),
            tunnel: Mutex::default(),
            is_eager: AtomicBool::new(false),
            is_dated: AtomicBool::new(false),
            date: Mutex::default(),
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

    /// Something came through the WebSocket: its time begins anew.
    pub fn heard(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
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

    /// From now on what is written is sent at once, or no longer.
    pub fn send_at_once(&self, at_once: bool) {
        self.is_eager.store(at_once, Ordering::Release);
    }

    /// Whether it is.
    pub fn is_eager(&self) -> bool {
        self.is_eager.load(Ordering::Acquire)
    }

    /// The header that is written next has this date.
    pub fn set_date(&self, date: Date) {
        *self.date.lock() = Some(date);
        self.is_dated.store(true, Ordering::Release);
    }

    /// Whether it has one.
    pub fn is_dated(&self) -> bool {
        self.is_dated.load(Ordering::Acquire)
    }

    /// The date, once.
    pub fn take_date(&self) -> Option<Date> {
        self.is_dated.store(false, Ordering::Release);
        self.date.lock().take()
    }

    /// Why the WebSocket ends, where the gateway ends it.
    pub fn ending(&self) -> Option<Ending> {
        Ending::of(self.ending.load(Ordering::SeqCst))
    }
}
