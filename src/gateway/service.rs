//! A microservice and its addresses.
//!
//! Names are resolved when a generation is compiled and again in the background ([`Service::refresh`]); when that
//! fails the last good addresses stay. A service without any address answers 503 for its routes and disturbs no
//! other. Targets are used in turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::HeaderValue;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use crate::telemetry::ServiceMetrics;

use super::tls::ServiceTls;

/// Idle connections to a service are closed after this, in time before most servers close them.
const POOL_IDLE: Duration = Duration::from_secs(55);

/// A service, ready to be called.
pub struct Service {
    /// Its name.
    pub name: Box<str>,
    /// Put before every service path; without a slash at its end.
    pub base_path: Box<str>,
    /// Which `Host` it gets.
    pub host: HostHeader,
    /// Its metrics.
    pub metrics: ServiceMetrics,
    /// TLS with it, where it speaks that.
    pub tls: Option<ServiceTls>,
    /// How long it may take.
    pub timeouts: Timeouts,
    authorities: Vec<Authority>,
    targets: ArcSwap<Vec<Arc<Target>>>,
    next: AtomicUsize,
}

/// Which `Host` a service gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostHeader {
    /// Its own.
    Service,
    /// The client's.
    Client,
}

/// A host and port as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// A name or an address, as `lookup` takes it.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// As the service's `Host`.
    pub header: HeaderValue,
}

/// How long a service may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// From the end of the request to the first byte of the reply.
    pub response: Duration,
    /// The longest silence within the reply.
    pub idle: Duration,
}

impl Timeouts {
    /// What pingora waits for at every read of a reply, whichever: it knows one timeout for all of them. The shorter of
    /// the two is kept by the guard.
    pub fn longest_silence(&self) -> Duration {
        self.response.max(self.idle)
    }
}

/// One address of a service.
#[derive(Debug)]
pub struct Target {
    /// The address.
    pub address: SocketAddr,
    /// The same as text, for logs.
    pub label: Box<str>,
    /// The `Host` that goes with it.
    pub host: HeaderValue,
    /// Prebuilt, to be cloned for each request.
    pub peer: HttpPeer,
}

impl Service {
    /// A service that has no addresses yet.
    pub fn new(
        name: &str,
        base_path: &str,
        host: HostHeader,
        authorities: Vec<Authority>,
        timeouts: Timeouts,
        metrics: ServiceMetrics,
    ) -> Self {
        Self {
            name: name.into(),
            base_path: base_path.trim_end_matches('/').into(),
            host,
            metrics,
            tls: None,
            authorities,
            timeouts,
            targets: ArcSwap::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// The same service, spoken to over TLS where there is some.
    pub fn over(self, tls: Option<ServiceTls>) -> Self {
        Self { tls, ..self }
    }

    /// Looks its names up. Returns the names for which that failed; their last good addresses stay.
    pub fn refresh(&self, lookup: &dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>>) -> Vec<(Box<str>, io::Error)> {
        let before = self.targets.load();
        let mut targets: Vec<Arc<Target>> = Vec::new();
        let mut failed = Vec::new();
        for authority in &self.authorities {
            match lookup(&authority.host, authority.port) {
                Ok(addresses) => targets.extend(addresses.into_iter().map(|address| {
                    let known = before.iter().find(|old| old.address == address && old.host == authority.header);
                    known.cloned().unwrap_or_else(|| Arc::new(self.target(address, authority)))
                })),
                Err(error) => {
                    targets.extend(before.iter().filter(|target| target.host == authority.header).cloned());
                    failed.push((authority.host.clone(), error));
                }
            }
        }
        self.targets.store(Arc::new(targets));
        failed
    }

    /// Whether it has a name that can change its addresses.
    pub fn has_names(&self) -> bool {
        self.authorities.iter().any(|authority| authority.host.parse::<std::net::IpAddr>().is_err())
    }

    fn target(&self, address: SocketAddr, authority: &Authority) -> Target {
        let name = self.tls.as_ref().map(|tls| tls.name_of(&authority.host));
        let mut peer = HttpPeer::new(address, name.is_some(), name.unwrap_or_default());
        peer.options.connection_timeout = Some(self.timeouts.connect);
        peer.options.total_connection_timeout = self.tls.as_ref().map(|_| self.timeouts.connect);
        peer.options.read_timeout = Some(self.timeouts.longest_silence());
        peer.options.write_timeout = Some(self.timeouts.response);
        peer.options.idle_timeout = Some(POOL_IDLE);
        // The proxy takes out what ends at the gateway, together with what it takes out anyway.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        Target { address, label: address.to_string().into(), host: authority.header.clone(), peer }
    }

    /// The next address in turn.
    pub fn next_target(&self) -> Option<Arc<Target>> {
        let targets = self.targets.load();
        match targets.len() {
            0 => None,
            1 => targets.first().cloned(),
            count => targets.get(self.next.fetch_add(1, Ordering::Relaxed) % count).cloned(),
        }
    }

    /// What a connection to one of its targets is made with.
    pub fn peer(&self, target: &Target) -> HttpPeer {
        let mut peer = target.peer.clone();
        if let Some(tls) = &self.tls {
            tls.prepare(&mut peer);
        }
        peer
    }

    /// How many addresses it has.
    pub fn target_count(&self) -> usize {
        self.targets.load().len()
    }

    /// Its addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.targets.load().iter().map(|target| target.address).collect()
    }
}

/// What pingora takes for the machine's authorities: nothing. It would read them at every start, needed or not, and panic
/// over one that it does not understand; each peer with TLS brings its own.
pub const NO_AUTHORITIES: &str = "/dev/null";

/// Looks a name up with the system's resolver; blocks.
///
/// # Errors
/// When the name has no address, or the resolver fails.
pub fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(hosts: &[&str]) -> Service {
        let authorities = hosts
            .iter()
            .map(|host| Authority { host: (*host).into(), port: 80, header: host.parse().unwrap() })
            .collect();
        let second = Duration::from_secs(1);
        let timeouts = Timeouts { connect: second, response: second, idle: second };
        let metrics = crate::telemetry::Telemetry::new("", "").service("users");
        Service::new("users", "/api/", HostHeader::Service, authorities, timeouts, metrics)
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 80))
    }

    #[test]
    fn targets_are_used_in_turn() {
        let service = service(&["a", "b", "c"]);
        assert!(service.next_target().is_none());
        service.refresh(&|host, _| Ok(vec![at(host.as_bytes()[0])]));
        let used: Vec<_> = (0..6).map(|_| service.next_target().unwrap().address).collect();
        assert_eq!(used, [at(b'a'), at(b'b'), at(b'c'), at(b'a'), at(b'b'), at(b'c')]);
    }

    #[test]
    fn a_failed_lookup_keeps_the_last_good_addresses() {
        let service = service(&["a", "b"]);
        service.refresh(&|host, _| Ok(vec![at(host.as_bytes()[0])]));
        let failed = service.refresh(&|host, _| match host {
            "a" => Err(io::Error::other("no answer")),
            _ => Ok(vec![at(9)]),
        });
        assert_eq!(failed.len(), 1);
        assert_eq!(service.addresses(), [at(b'a'), at(9)]);
    }

    #[test]
    fn only_names_can_change() {
        assert!(!service(&["192.0.2.1", "::1"]).has_names());
        assert!(service(&["192.0.2.1", "users.internal"]).has_names());
    }
}
