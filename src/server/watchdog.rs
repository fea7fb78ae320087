//! Tells systemd that clients are served, by being one.
//!
//! Where the unit has `WatchdogSec=`, the process sends itself requests through its public listeners ([`Pulse`]) and
//! says that it is alive when they are answered. Nothing else makes it say so: a process whose workers hang, or that
//! does not accept any more, is ended and started anew by systemd.
//!
//! Which worker answers is left to chance: whoever is free accepts first. So a round also has every worker do something
//! beside its connections, and a worker that never does it keeps the round from ending.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use log::error;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::proxy::{Pulse, State};

use super::herald::Herald;
use super::listeners::Acceptance;

/// How long to wait after a connection that came to nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the process before this one may take to stop accepting.
const SETTLE: Duration = Duration::from_millis(250);

/// The most that is read of an answer, which is a header.
const LONGEST_ANSWER: u64 = 16 * 1024;

/// The background task.
pub struct Watchdog {
    state: Arc<State>,
    herald: Arc<Herald>,
    /// How long systemd waits for a sign of life.
    allowed: Duration,
    clients: Acceptance,
    workers: usize,
}

impl Watchdog {
    /// For a process with so many workers; `None` when nobody watches it.
    pub fn asked_for(state: &Arc<State>, herald: &Arc<Herald>, clients: &Acceptance, workers: usize) -> Option<Self> {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero())?;
        let (state, herald, clients) = (Arc::clone(state), Arc::clone(herald), clients.clone());
        Some(Self { state, herald, allowed, clients, workers })
    }

    fn is_leaving(&self) -> bool {
        self.state.draining.load(Ordering::Relaxed)
    }

    /// A process that leaves is asked nothing: it may not accept any more, and `TimeoutStopSec=` watches it.
    async fn round(&self) {
        let listeners = self.state.listeners.iter().map(|listener| reachable(listener.bound));
        let asking = async {
            ask_all(listeners, |listener| self.ask(listener)).await;
            self.clients.answer(self.workers).await;
        };
        let leaving = async {
            while !self.is_leaving() {
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = leaving => {}
        }
    }

    /// Sends one request to a listener and waits for its answer. No error either where the listener cannot be reached, and
    /// the process has no part in that.
    async fn ask(&self, listener: SocketAddr) -> io::Result<()> {
        let connecting = self.connect(listener);
        let connected = if is_here(listener) {
            connecting.await
        } else {
            match timeout(self.allowed / 32, connecting).await {
                Ok(Ok(connected)) => Ok(connected),
                Ok(Err(_)) | Err(_) => return Ok(()),
            }
        };
        let (mut stream, pulse) = connected?;
        stream.write_all(pulse.request(listener).as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        match pulse.has_arrived() && answer.starts_with(b"HTTP/1.1 ") {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn connect(&self, listener: SocketAddr) -> io::Result<(TcpStream, Arc<Pulse>)> {
        let socket = if listener.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        let mut from = listener;
        from.set_port(0);
        socket.bind(from)?;
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
        let pulse = Arc::new(Pulse::new(socket.local_addr()?, &random));
        // Before the connection is there to be accepted.
        self.state.pulse.store(Some(Arc::clone(&pulse)));
        Ok((socket.connect(listener).await?, pulse))
    }
}

/// Asks each listener until it has answered.
async fn ask_all<Asked: Future<Output = io::Result<()>>>(
    listeners: impl Iterator<Item = SocketAddr>,
    ask: impl Fn(SocketAddr) -> Asked,
) {
    for listener in listeners {
        // No place in the queue, no descriptor left: worth another attempt, for as long as systemd waits.
        while ask(listener).await.is_err() {
            sleep(PAUSE).await;
        }
    }
}

/// How the process reaches its own listener.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let mut reached = bound;
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => reached.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => reached.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    reached
}

/// Whether an address surely belongs to this machine. A listener may be bound to one that comes and goes, as balancers in
/// pairs have it; while it is elsewhere nobody comes through. Nothing is sent: the kernel is only asked from where it would
/// speak to the address, which is from the address itself. A second address of a network is not recognised.
fn is_here(address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Without a descriptor nothing can be said, and nothing be asked either.
    let Ok(socket) = UdpSocket::bind((any, 0)) else { return true };
    let from = socket.connect(address).and_then(|()| socket.local_addr());
    address.ip().is_loopback() || from.is_ok_and(|from| from.ip() == address.ip())
}

#[async_trait]
impl BackgroundService for Watchdog {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let live = async {
            self.herald.has_begun().await;
            // An upgraded process stops accepting about now: what is asked before might be answered by it.
            sleep(SETTLE.min(self.allowed / 8)).await;
            let mut turns = interval(self.allowed / 2);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                turns.tick().await;
                let mut round = pin!(self.round());
                if timeout(self.allowed / 2, &mut round).await.is_err() {
                    error!("the process does not answer its own requests; without an answer systemd will end it");
                    round.await;
                }
                self.state.pulse.store(None);
                self.herald.alive();
            }
        };
        tokio::select! {
            () = live => {}
            _ = shutdown.wait_for(|over| *over) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;

    use super::*;

    /// What becomes of one request.
    #[derive(Debug, Clone, Copy)]
    enum Asked {
        Answered,
        Failed,
        /// No answer, ever.
        Stuck,
    }
    use Asked::{Answered, Failed, Stuck};

    /// Plays a round; which listeners were asked, and whether it ended.
    fn play(listeners: u16, script: &[Asked]) -> (Vec<u16>, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let addresses = (0..listeners).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let asked = RefCell::new(Vec::new());
        let ask = |listener: SocketAddr| {
            let next = script.get(asked.borrow().len()).copied();
            asked.borrow_mut().push(listener.port());
            async move {
                match next.expect("asks no more often than the script says") {
                    Answered => Ok(()),
                    Failed => Err(io::ErrorKind::ConnectionRefused.into()),
                    Stuck => pending().await,
                }
            }
        };
        let patience = Duration::from_millis(200);
        let ended = runtime.block_on(async { timeout(patience, ask_all(addresses, ask)).await.is_ok() });
        (asked.into_inner(), ended)
    }

    #[test]
    fn a_round_ends_when_every_listener_has_answered() {
        for (listeners, script, asked, ended) in [
            (1, &[Answered][..], &[0][..], true),
            (3, &[Answered; 3], &[0, 1, 2], true),
            (2, &[Failed, Failed, Answered, Answered], &[0, 0, 0, 1], true),
            (2, &[Answered, Stuck], &[0, 1], false),
        ] {
            assert_eq!(play(listeners, script), (asked.to_vec(), ended), "{script:?}");
        }
    }

    #[test]
    fn addresses_of_other_machines_are_not_here() {
        for (address, here) in [
            ("127.0.0.1:80", true),
            ("127.0.0.2:80", true),
            ("[::1]:80", true),
            ("192.0.2.1:80", false),
            ("[2001:db8::1]:80", false),
        ] {
            assert_eq!(is_here(address.parse().unwrap()), here, "{address}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("127.0.0.2:80", "127.0.0.2:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[fe80::1%2]:80", "[fe80::1%2]:80"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), reached.parse().unwrap(), "{bound}");
        }
    }
}
