//! When and how the process leaves.
//!
//! SIGTERM, SIGINT and SIGQUIT begin the drain, and so does a process that has taken over (`upgrade`), which then accepts
//! all new connections: readiness fails and every answer from then on closes its connection, while new requests are
//! still served. Where systemd keeps the listening sockets of clients, no further connection is accepted: it waits for the
//! next process. Operators are answered to the end, unless another process answers them.
//!
//! Connections that are open but idle get [`LINGER`] to bring a last request, so that a client that reuses one at this
//! moment is answered instead of reset: HTTP/1.1 has no other way to tell them. Once nothing is in flight, or half of
//! `drain.timeout` is over, no new connection is let in; what is in flight then is answered, and the process leaves when
//! it is, at the latest after `drain.timeout`: then WebSockets are told to end, and what is left is cut. So long as the process
//! before asks it for decisions on limits, it stays too. A second signal ends the wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::proxy::State;

use super::herald::Herald;
use super::listeners::{Acceptance, Bound, Keeper};

/// The signals of operators that `supervisor` answers once the process serves.
const HELD: [fn() -> SignalKind; 2] = [SignalKind::hangup, SignalKind::user_defined1];

/// How long idle keep-alive connections may bring a last request.
const LINGER: Duration = Duration::from_millis(500);

/// How long a connection that was let in last may take to bring its request.
const SETTLE: Duration = Duration::from_millis(100);

/// How long WebSockets may take to say goodbye, once they are told that the process leaves.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often the count of requests in flight is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often systemd is told how many requests are in flight.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How many of the listeners of clients systemd keeps when the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// None of them.
    None,
    /// Some of them.
    Some,
    /// All of them.
    All,
}

impl Kept {
    /// Of these.
    pub fn of(listeners: &[Bound]) -> Self {
        match listeners.iter().filter(|bound| bound.keeper == Keeper::Systemd).count() {
            0 => Self::None,
            kept if kept == listeners.len() => Self::All,
            _ => Self::Some,
        }
    }
}

/// Whether another process accepts connections from now on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Successor {
    None,
    Serves,
}

/// Waits for the signal to leave, and then for the requests in flight.
pub struct Leave {
    /// Whose requests are waited for.
    pub state: Arc<State>,
    /// Of clients.
    pub clients: Acceptance,
    /// Of operators.
    pub operators: Acceptance,
    /// The listeners of clients.
    pub kept: Kept,
    /// Told when another process serves.
    pub served: Arc<Notify>,
    /// Tells systemd.
    pub herald: Arc<Herald>,
}

impl Leave {
    async fn drain(&self, successor: Successor) {
        let begun = Instant::now();
        let timeout = self.state.gateway.load().drain_timeout;
        let mut closed: Option<Instant> = None;
        let mut told: Option<(usize, Instant)> = None;
        let mut ending = false;
        loop {
            let in_flight = self.state.in_flight.load(Ordering::Relaxed);
            let open = self.state.connections.open();
            let asked = self.state.is_asked.load(Ordering::Relaxed);
            let rested = |since: Instant, time| in_flight == 0 && !asked && (open == 0 || since.elapsed() >= time);
            if told.is_none_or(|(number, at)| number != in_flight && at.elapsed() >= TELL_EVERY) {
                self.herald.draining(in_flight);
                told = Some((in_flight, Instant::now()));
            }
            // What was accepted last may not be counted yet. Where systemd keeps the sockets, it is not turned away.
            match closed {
                Some(closed) if rested(closed, SETTLE) && (self.kept == Kept::None || closed.elapsed() >= SETTLE) => {
                    info!("drained after {:.3}s", begun.elapsed().as_secs_f64());
                    return;
                }
                None if rested(begun, LINGER) || begun.elapsed() >= timeout / 2 => {
                    match (successor, self.kept) {
                        (Successor::Serves, _) => {}
                        // Without this, requests of new connections would be cut when the runtimes end.
                        (Successor::None, Kept::None) => self.state.connections.close(),
                        (Successor::None, Kept::Some | Kept::All) => self.clients.end().await,
                    }
                    closed = Some(Instant::now());
                }
                _ if begun.elapsed() >= timeout && !ending => {
                    ending = true;
                    self.state.tunnels.end();
                }
                _ if ending && (self.state.tunnels.open() == 0 || begun.elapsed() >= timeout + FAREWELL) => {
                    warn!("drain timeout: {in_flight} requests are cut");
                    return;
                }
                _ => {}
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Leave {
    async fn recv(&self) -> ShutdownSignal {
        let (Some(mut terminate), Some(mut interrupt), Some(mut quit)) =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::quit()))
        else {
            return ShutdownSignal::FastShutdown;
        };
        let successor = tokio::select! {
            _ = terminate.recv() => Successor::None,
            _ = interrupt.recv() => Successor::None,
            _ = quit.recv() => Successor::None,
            () = self.served.notified() => Successor::Serves,
        };
        info!("draining in_flight={}", self.state.in_flight.load(Ordering::Relaxed));
        self.state.draining.store(true, Ordering::Relaxed);
        self.state.leaving.send_replace(true);
        match successor {
            Successor::Serves => {
                self.herald.fall_silent();
                self.clients.end().await;
                self.operators.end().await;
            }
            Successor::None => {
                self.herald.stopping();
                if self.kept == Kept::All {
                    self.clients.end().await;
                }
            }
        }
        tokio::select! {
            () = self.drain(successor) => {}
            _ = terminate.recv() => warn!("second signal: requests in flight are cut"),
            _ = interrupt.recv() => warn!("second signal: requests in flight are cut"),
        }
        ShutdownSignal::GracefulTerminate
    }
}

/// Keeps the signals that operators send at any time from ending a process that is still starting; one that comes so
/// early is forgotten.
///
/// # Errors
/// When they cannot be kept.
pub fn hold() -> Result<(), String> {
    let wrong = |failed: std::io::Error| format!("signals cannot be listened for: {failed}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(wrong)?;
    let _inside = runtime.enter();
    // What is registered once stays, also when nobody listens.
    HELD.into_iter().try_for_each(|kind| signal(kind()).map(drop)).map_err(wrong)
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|failed| error!("cannot listen for signals: {failed}")).ok()
}
