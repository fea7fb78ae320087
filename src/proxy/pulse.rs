//! A request that the process sends itself, to find out whether it serves clients.
//!
//! It comes through a public listener and goes the way of any other: accept, guard, a worker's runtime, admission, answer.
//! What it is exempt from is what belongs to clients: caps of connections, TLS, the flood guard, metrics and access lines.
//!
//! A connection is taken for the process's own by its two ends: the address that the process has bound for it, which
//! nobody else can come from while it is open, and only once. Nothing is served on it but the request that names a secret
//! of this one connection: whoever comes from the same address later would else be spared the listener's TLS.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use http::HeaderMap;
use subtle::ConstantTimeEq;

/// The header field that names the secret.
const FIELD: &str = "x-tollgate-pulse";

/// One connection of the process to itself.
#[derive(Debug)]
pub struct Pulse {
    /// The end that asks.
    from: SocketAddr,
    arrived: AtomicBool,
    secret: String,
    worker: OnceLock<ThreadId>,
}

impl Pulse {
    /// For a connection from this address, which is bound and not connected yet.
    pub fn new(from: SocketAddr, random: &[u8; 32]) -> Self {
        let secret = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { from, arrived: AtomicBool::new(false), secret, worker: OnceLock::new() }
    }

    /// The request, for the listener at this address. `OPTIONS *` is for no route, so that no configuration matters.
    pub fn request(&self, listener: SocketAddr) -> String {
        format!("OPTIONS * HTTP/1.1\r\nHost: {listener}\r\nConnection: close\r\n{FIELD}: {}\r\n\r\n", self.secret)
    }

    /// The worker that the request has come to; known once it is answered.
    pub fn worker(&self) -> Option<ThreadId> {
        self.worker.get().copied()
    }

    /// Whether a new connection from this address is this one.
    pub(super) fn arrives_from(&self, peer: SocketAddr) -> bool {
        self.from == peer && !self.arrived.swap(true, Ordering::Relaxed)
    }

    /// Whether a request on this connection is the one awaited. Notes which worker it has come to.
    pub(super) fn is_asked_by(&self, headers: &HeaderMap) -> bool {
        let named = headers.get(FIELD).is_some_and(|named| named.as_bytes().ct_eq(self.secret.as_bytes()).into());
        if named {
            // A second request on the connection would have come to the same.
            let _ = self.worker.set(thread::current().id());
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_address_and_secret_count() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let pulse = Pulse::new(address("127.0.0.1:4000"), &[7; 32]);
        for (peer, own) in [
            ("127.0.0.1:4001", false),
            ("127.0.0.2:4000", false),
            ("127.0.0.1:4000", true),
            // Its own connection is there already.
            ("127.0.0.1:4000", false),
        ] {
            assert_eq!(pulse.arrives_from(address(peer)), own, "{peer}");
        }
        let fields =
            |value: &str| [(FIELD.parse().unwrap(), value.parse().unwrap())].into_iter().collect::<HeaderMap>();
        for wrong in [HeaderMap::new(), fields(""), fields("07"), fields(&"08".repeat(32))] {
            assert!(!pulse.is_asked_by(&wrong), "{wrong:?}");
        }
        assert_eq!(pulse.worker(), None);
        assert!(pulse.is_asked_by(&fields(&"07".repeat(32))));
        assert_eq!(pulse.worker(), Some(thread::current().id()));
        assert!(pulse.request(address("127.0.0.1:80")).contains(&"07".repeat(32)));
    }
}
