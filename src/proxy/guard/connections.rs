//! How many connections are open, all together and of each address.
//!
//! Invariant: a connection is counted from [`Connections::enter`] until its [`Entry`] is dropped, whatever happens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::gateway::ConnectionLimits;

/// The open connections of the process.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    closed: AtomicBool,
}

/// Why a connection is closed at accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `max_connections` is reached.
    Total,
    /// `max_connections_per_address` is reached.
    Address,
    /// The process is about to leave.
    Leaving,
}

impl Full {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
            Self::Leaving => "leaving",
        }
    }
}

/// One counted connection.
#[derive(Debug)]
pub struct Entry {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl Connections {
    /// Counts a connection, if there is room.
    ///
    /// # Errors
    /// Which cap is reached; nothing is counted then.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>, limits: &ConnectionLimits) -> Result<Entry, Full> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Full::Leaving);
        }
        let count = |open: usize| (open < limits.max_connections).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_err() {
            return Err(Full::Total);
        }
        // From here on dropping the entry undoes the count.
        let mut entry = Entry { connections: Arc::clone(self), address: None };
        if let (Some(max), Some(address)) = (limits.max_per_address, address) {
            let mut by_address = self.by_address.lock();
            let open = by_address.entry(address).or_default();
            if *open >= max {
                return Err(Full::Address);
            }
            *open += 1;
            entry.address = Some(address);
        }
        Ok(entry)
    }

    /// Lets no further connection in.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.connections.by_address.lock();
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(total: usize, per_address: Option<usize>) -> ConnectionLimits {
        ConnectionLimits {
            header_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            max_connections: total,
            max_per_address: per_address,
            max_streams: 1,
            max_header_list: 1024,
        }
    }

    #[test]
    fn a_cap_refuses_and_a_closed_connection_makes_room() {
        let connections = Arc::new(Connections::default());
        let (one, two) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        let limits = limits(3, Some(2));
        let first = connections.enter(one, &limits).unwrap();
        let _second = connections.enter(one, &limits).unwrap();
        assert_eq!(connections.enter(one, &limits).unwrap_err(), Full::Address);
        let third = connections.enter(two, &limits).unwrap();
        assert_eq!(connections.enter(two, &limits).unwrap_err(), Full::Total);
        assert_eq!(connections.open(), 3);
        drop(first);
        drop(third);
        let _fourth = connections.enter(one, &limits).unwrap();
        assert_eq!(connections.open(), 2);
    }

    #[test]
    fn nobody_comes_in_once_it_is_closed() {
        let connections = Arc::new(Connections::default());
        let _first = connections.enter(None, &limits(3, None)).unwrap();
        connections.close();
        assert_eq!(connections.enter(None, &limits(3, None)).unwrap_err(), Full::Leaving);
        assert_eq!(connections.open(), 1);
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let connections = Arc::new(Connections::default());
        for last in 0..=255 {
            drop(connections.enter(Some(IpAddr::from([192, 0, 2, last])), &limits(10, Some(1))).unwrap());
        }
        assert!(connections.by_address.lock().is_empty());
    }
}
