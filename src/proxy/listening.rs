//! The listeners of clients, and through which of them a connection came.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::protocols::Stream;

use crate::gateway::tls::Entrance;

/// A listener of clients. Its socket is the process's; how clients come in is a generation's.
#[derive(Debug)]
pub struct Listening {
    /// As written in the configuration; the port may be 0.
    pub written: SocketAddr,
    /// What it is bound to; the address may stand for all of the machine's.
    pub bound: SocketAddr,
    /// For connections from now on.
    entrance: ArcSwap<Entrance>,
}

impl Listening {
    /// A bound listener.
    pub fn new(written: SocketAddr, bound: SocketAddr, entrance: Entrance) -> Self {
        Self { written, bound, entrance: ArcSwap::from_pointee(entrance) }
    }

    /// How clients come in now.
    pub fn entrance(&self) -> Arc<Entrance> {
        self.entrance.load_full()
    }

    /// Whether a connection with this address on our side came through this listener. No other one can have it: an
    /// address that stands for all of the machine's is not bound beside one of them on the same port.
    pub fn took(&self, local: SocketAddr) -> bool {
        let (own, local_ip) = (self.bound.ip().to_canonical(), local.ip().to_canonical());
        self.bound.port() == local.port() && (own.is_unspecified() || own == local_ip)
    }
}

/// How the client of this connection came in; `None` when that cannot be told and matters.
pub(super) fn entrance_of(io: &Stream, listeners: &[Listening]) -> Option<Arc<Entrance>> {
    if let [only] = listeners {
        return Some(only.entrance());
    }
    let local = io.get_socket_digest().and_then(|digest| digest.local_addr()?.as_inet().copied());
    if let Some(listening) = local.and_then(|local| listeners.iter().find(|listening| listening.took(local))) {
        return Some(listening.entrance());
    }
    let plain = |listening: &Listening| matches!(*listening.entrance(), Entrance::Plain { .. });
    listeners.iter().all(plain).then(|| Arc::new(Entrance::Plain { http2: false }))
}

/// Lets clients come in as a new generation says. A listener that it does not have stays as it is: without TLS it would
/// show to everybody what was meant to be secret.
pub fn open(listeners: &[Listening], entrances: &[(SocketAddr, Entrance)]) {
    for (index, listening) in listeners.iter().enumerate() {
        let is_this = |(written, _): &&(SocketAddr, Entrance)| *written == listening.written;
        // With port 0 several have the same address: then they are told apart by their order.
        let same = entrances.get(index).filter(is_this).or_else(|| entrances.iter().find(is_this));
        if let Some((_, entrance)) = same {
            listening.entrance.store(Arc::new(entrance.clone()));
        }
    }
}
