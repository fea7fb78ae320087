//! When and how the process leaves.
//!
//! SIGTERM, SIGINT and SIGQUIT begin the drain, and so does a process that has taken over (`upgrade`), which then accepts
//! all new connections: readiness fails and every answer from then on closes its connection,
//! while new requests are still served. Connections that are open but idle get [`LINGER`] to bring a last request, so
//! that a client that reuses one at this moment is answered instead of reset. Once nothing is in flight, or half of
//! `drain.timeout` is over, no new connection is let in; what is in flight then is answered, and the process leaves
//! when it is, at the latest after `drain.timeout`: then WebSockets are told to end, and what is left is cut. A second
//! signal ends the wait.

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

use super::listeners::Acceptance;

/// How long idle keep-alive connections may bring a last request.
const LINGER: Duration = Duration::from_millis(500);

/// How long a connection that was let in last may take to bring its request.
const SETTLE: Duration = Duration::from_millis(100);

/// How long WebSockets may take to say goodbye, once they are told that the process leaves.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often the count of requests in flight is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether another process accepts connections from now on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Successor {
    None,
    Serves,
}

/// Waits for the signal to leave, and then for the requests in flight.
pub struct Leave {
    state: Arc<State>,
    acceptance: Acceptance,
    served: Arc<Notify>,
}

impl Leave {
    /// Watches the requests of this state; `served` is told when another process serves.
    pub fn new(state: Arc<State>, acceptance: Acceptance, served: Arc<Notify>) -> Self {
        Self { state, acceptance, served }
    }

    async fn drain(&self, successor: Successor) {
        let begun = Instant::now();
        let timeout = self.state.gateway.load().drain_timeout;
        let mut closed: Option<Instant> = None;
        let mut told = false;
        loop {
            let in_flight = self.state.in_flight.load(Ordering::Relaxed);
            let open = self.state.connections.open();
            let rested = |since: Instant, time| in_flight == 0 && (open == 0 || since.elapsed() >= time);
            match closed {
                Some(closed) if rested(closed, SETTLE) => {
                    info!("drained after {:.3}s", begun.elapsed().as_secs_f64());
                    return;
                }
                None if rested(begun, LINGER) || begun.elapsed() >= timeout / 2 => {
                    if successor == Successor::None {
                        // Without this, requests of new connections would be cut when the runtimes end.
                        self.state.connections.close();
                    }
                    closed = Some(Instant::now());
                }
                _ if begun.elapsed() >= timeout && !told => {
                    told = true;
                    self.state.tunnels.end();
                }
                _ if told && (self.state.tunnels.open() == 0 || begun.elapsed() >= timeout + FAREWELL) => {
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
        match successor {
            Successor::Serves => self.acceptance.end().await,
            Successor::None => {
                // Without systemd there is nobody to tell.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
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

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|failed| error!("cannot listen for signals: {failed}")).ok()
}
