//! A microservice and its addresses.
//!
//! Names are looked up when a generation is compiled ([`Service::refresh`]) and again in the background
//! ([`Service::moved`]); when that fails the last good addresses stay. A service without any address answers 503 for its
//! routes and disturbs no other.
//!
//! Which target a request goes to is read off a `Picker`, a list of those that get requests, made anew when one of
//! them comes, goes or changes its share. What is known of a target ([`TargetState`]) and of the service as a whole
//! ([`ServiceState`]) belongs to the process: a generation takes over from the one before what has the same name and
//! address.

mod picker;
mod queue;
mod rules;
mod target;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::HeaderValue;
use log::warn;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use crate::policy::standing::{STEPS, Standing};
use crate::telemetry::ServiceMetrics;

use super::tls::ServiceTls;

pub use picker::Picked;
use picker::Picker;
pub use queue::{Place, Places};
pub use rules::{Balance, BalanceKey, Ejection, HealthCheck, Protocol, Queue, Retries, Retry, Rules, Timeouts};
pub use target::{Failure, Flight, ServiceState, Target, TargetState};

/// Idle connections to a service are closed after this, in time before most servers close them.
const POOL_IDLE: Duration = Duration::from_secs(55);

/// Most requests at a time on one HTTP/2 connection to a service.
const STREAMS: u32 = 100;

/// How much of one reply over HTTP/2 may wait here for a client that does not take it, in bytes. A connection has room for
/// that of all its streams: slow clients do not hold up the replies of others.
const STREAM_WINDOW: u32 = 256 * 1024;

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
    /// How it is called.
    pub rules: Rules,
    /// TLS with it, where it speaks that.
    pub tls: Option<ServiceTls>,
    /// What outlives the generation.
    pub state: Arc<ServiceState>,
    authorities: Vec<Authority>,
    targets: ArcSwap<Vec<Arc<Target>>>,
    picker: ArcSwap<Picker>,
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

/// A host and port as written, with the weight of each of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// A name or an address, as `lookup` takes it.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// As the service's `Host`.
    pub header: HeaderValue,
    /// Its share of the requests.
    pub weight: u32,
}

impl Service {
    /// A service that has no addresses yet. `before` is the one of this name in the running generation.
    pub fn new(
        name: &str,
        base_path: &str,
        host: HostHeader,
        authorities: Vec<Authority>,
        rules: Rules,
        metrics: ServiceMetrics,
        before: Option<&Self>,
    ) -> Self {
        Self {
            name: name.into(),
            base_path: base_path.trim_end_matches('/').into(),
            host,
            metrics,
            rules,
            tls: None,
            state: before.map_or_else(Arc::default, |before| Arc::clone(&before.state)),
            authorities,
            targets: ArcSwap::default(),
            picker: ArcSwap::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// The same service, spoken to over TLS where there is some.
    pub fn over(self, tls: Option<ServiceTls>) -> Self {
        Self { tls, ..self }
    }

    /// Has the addresses of the one before until names are looked up.
    pub fn begin_with(&self, before: &Self) {
        let before = before.targets.load();
        self.place(|authority| {
            let of_same = before.iter().filter(|target| target.host == authority.header);
            Some(of_same.map(|target| target.address).collect())
        });
    }

    /// Looks its names up. Returns the names for which that failed; their last good addresses stay.
    pub fn refresh(&self, lookup: &dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>>) -> Vec<(Box<str>, io::Error)> {
        let mut failed = Vec::new();
        self.place(|authority| match lookup(&authority.host, authority.port) {
            Ok(addresses) => Some(addresses),
            Err(error) => {
                failed.push((authority.host.clone(), error));
                None
            }
        });
        failed
    }

    /// One of its names stands for these addresses now. Whether that changes anything.
    pub fn moved(&self, host: &str, addresses: &[IpAddr]) -> bool {
        self.place(|authority| {
            let with_port = |address: &IpAddr| SocketAddr::new(*address, authority.port);
            (*authority.host == *host).then(|| addresses.iter().map(with_port).collect())
        })
    }

    /// Gives each authority the addresses that are found for it, or leaves it those that it has. A target that stays is
    /// not touched. Whether anything has changed.
    fn place(&self, mut find: impl FnMut(&Authority) -> Option<Vec<SocketAddr>>) -> bool {
        let before = self.targets.load();
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for authority in &self.authorities {
            match find(authority) {
                Some(addresses) => targets.extend(addresses.into_iter().map(|address| {
                    let known = before.iter().find(|old| old.address == address && old.host == authority.header);
                    known.cloned().unwrap_or_else(|| Arc::new(self.target(address, authority)))
                })),
                None => targets.extend(before.iter().filter(|target| target.host == authority.header).cloned()),
            }
        }
        let same = targets.len() == before.len() && targets.iter().zip(&**before).all(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            self.targets.store(Arc::new(targets));
            self.arrange(Instant::now());
        }
        !same
    }

    /// Its names, which can change their addresses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let hosts = self.authorities.iter().map(|authority| &*authority.host);
        hosts.filter(|host| host.parse::<IpAddr>().is_err())
    }

    fn target(&self, address: SocketAddr, authority: &Authority) -> Target {
        let timeouts = &self.rules.timeouts;
        let name = self.tls.as_ref().map(|tls| tls.name_of(&authority.host));
        let mut peer = HttpPeer::new(address, name.is_some(), name.unwrap_or_default());
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = self.tls.as_ref().map(|_| timeouts.connect);
        peer.options.read_timeout = Some(timeouts.longest_silence());
        peer.options.write_timeout = Some(timeouts.idle);
        peer.options.idle_timeout = Some(POOL_IDLE);
        if self.rules.protocol == Protocol::Http2 {
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = STREAMS as usize;
            peer.options.h2_stream_window_size = Some(STREAM_WINDOW);
            peer.options.h2_connection_window_size = Some(STREAMS * STREAM_WINDOW);
        }
        // The proxy takes out what ends at the gateway, together with what it takes out anyway.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        let state = self.state.target(address);
        if self.rules.health.is_none() {
            state.unchecked();
        }
        Target::new(address, authority.header.clone(), authority.weight, peer, state)
    }

    /// The target for a request: with this key, where it goes by one, and not one of these, where there is another.
    pub fn pick(&self, key: Option<u64>, tried: &[SocketAddr]) -> Option<Picked> {
        let mut picker = self.picker.load();
        if picker.is_stale(&self.state) {
            self.arrange(Instant::now());
            picker = self.picker.load();
        }
        picker.pick(&self.rules.balance, &self.next, key, tried)
    }

    /// Whether there is a target that was not tried.
    pub fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        self.picker.load().has_untried(tried)
    }

    /// The next target, for one who asks once.
    pub fn next_target(&self) -> Option<Arc<Target>> {
        self.pick(None, &[]).map(|picked| picked.target)
    }

    /// What a connection to one of its targets is made with.
    pub fn peer(&self, target: &Target) -> HttpPeer {
        let mut peer = target.peer.clone();
        if let Some(tls) = &self.tls {
            tls.prepare(&mut peer);
        }
        peer
    }

    /// Makes the list of targets that get requests anew.
    fn arrange(&self, now: Instant) {
        let targets = self.targets.load();
        self.picker.store(Arc::new(Picker::new(&self.state, &targets, self.rules.slow_start, now)));
    }

    /// Lets targets back in whose time is over, and gives those that came back a little more. Whether this has to be
    /// done again soon.
    pub fn settle(&self, now: Instant) -> bool {
        let targets = self.targets.load();
        for target in targets.iter().filter(|target| target.state.settle(now)) {
            // One failure more and it is out again.
            target.state.on_probation(self.rules.ejection.as_ref().map_or(0, |ejection| ejection.failures));
            log::info!("target is back service={} target={}", self.name, target.label);
            self.state.changed();
        }
        let unsettled = targets.iter().any(|target| {
            let record = target.state.record();
            record.standing() == Standing::Ejected || record.share(self.rules.slow_start, now) < STEPS
        });
        if unsettled || self.picker.load().is_stale(&self.state) || self.picker.load().is_partial() {
            self.arrange(now);
        }
        unsettled
    }

    /// A request to this target succeeded.
    pub fn succeeded(&self, target: &Target) {
        target.state.succeeded();
    }

    /// A request to this target failed: it is ejected when that was one too many, and enough others are left.
    pub fn failed(&self, target: &Target, failure: Failure, now: Instant) {
        let failures = target.state.failed(failure);
        let ejection = self.rules.ejection.as_ref().filter(|ejection| failures >= ejection.failures);
        let Some(ejection) = ejection else { return };
        let _one_at_a_time = self.state.ejecting.lock();
        let targets = self.targets.load();
        let out = targets.iter().filter(|other| other.state.standing() == Standing::Ejected).count();
        if out >= ejection.most(targets.len()) {
            return;
        }
        if let Some(time) = target.state.eject(ejection.exile, now) {
            self.metrics.ejected();
            self.state.changed();
            let (name, label) = (&self.name, &target.label);
            warn!("target ejected service={name} target={label} after={} for={time:?}", failure.word());
        }
    }

    /// A health check of this target has ended.
    pub fn checked(&self, target: &Target, result: Result<(), &str>, now: Instant) {
        let Some(health) = &self.rules.health else { return };
        self.metrics.checked(result.is_ok());
        if !target.state.checked(result.is_ok(), health.thresholds, now) {
            return;
        }
        self.state.changed();
        match result {
            Ok(()) => log::info!("target is healthy service={} target={}", self.name, target.label),
            Err(why) => warn!("target is unhealthy service={} target={} check={why}", self.name, target.label),
        }
    }

    /// Its name with each of its targets, as written.
    pub fn written_targets(&self) -> impl Iterator<Item = (Box<str>, Box<str>)> {
        self.authorities.iter().map(|authority| (self.name.clone(), target::written(&authority.header)))
    }

    /// Its addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.targets.load().iter().map(|target| target.address).collect()
    }

    /// Its targets, also those that get no requests.
    pub fn targets(&self) -> arc_swap::Guard<Arc<Vec<Arc<Target>>>> {
        self.targets.load()
    }

    /// Whether requests go to every target although none should get any.
    pub fn is_desperate(&self) -> bool {
        self.picker.load().is_desperate()
    }
}

/// What pingora takes for the machine's authorities: nothing. It would read them at every start, needed or not, and panic
/// over one that it does not understand; each peer with TLS brings its own.
pub const NO_AUTHORITIES: &str = "/dev/null";

/// For a connector to services besides the proxy's own, with so many idle connections.
pub fn connector_options(kept: usize) -> ConnectorOptions {
    ConnectorOptions { ca_file: Some(NO_AUTHORITIES.to_owned()), ..ConnectorOptions::new(kept) }
}

/// Connects to services besides the proxy, which has a connector of its own; keeps so many idle connections.
pub fn connector(kept: usize) -> TransportConnector {
    TransportConnector::new(Some(connector_options(kept)))
}

#[cfg(test)]
mod tests;
