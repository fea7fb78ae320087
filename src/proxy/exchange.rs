//! One request with its response: what pingora carries from phase to phase.
//!
//! An [`Exchange`] holds the one generation it began with until its log line is written, so a reload in between
//! changes nothing for it. Everything a later phase says of the request (headers, metrics, access line) is noted
//! here by the phase that learnt it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::gateway::{Consumer, Gateway, Route, Target};
use crate::policy::authorise::Condition;
use crate::policy::cors::Cors;
use crate::policy::grpc::Call;
use crate::policy::limit::headers::{self, Fields};
use crate::policy::limit::{Granted, Permit, Refused};
use crate::store::shared::SharedPermit;
use crate::telemetry::CacheResult;

use super::admit::Admission;
use super::attempts::Attempts;
use super::body::{Reservation, Slot};
use super::cache::Course;
use super::client::{Address, RequestId};
use super::guard::{Entered, Watch};
use super::reply::compress::Compressor;
use super::reply::model::Hold;
use super::tls::Secured;
use super::trace::Trace;

/// pingora's CTX.
pub struct Exchange {
    /// The generation that serves this request.
    pub gateway: Arc<Gateway>,
    /// End of the request's header, for durations.
    pub started: Instant,
    /// The same moment, for people.
    pub at: SystemTime,
    /// The client, seen through trusted proxies.
    pub client: Address,
    /// The other end of the connection.
    pub peer_address: Address,
    /// The WebSocket that it has become.
    pub tunnel: Option<Entered>,
    /// What its connection waits for.
    pub watch: Option<Arc<Watch>>,
    /// Whether the peer is a trusted proxy.
    pub peer: Peer,
    /// What is known of the connection, where it is over TLS.
    pub tls: Option<Arc<Secured>>,
    /// As answered in `X-Request-Id`.
    pub id: RequestId,
    /// The call of gRPC that it is.
    pub grpc: Option<Call>,
    /// Its place in a trace, where traces are configured.
    pub trace: Option<Trace>,
    /// What admission found out so far; kept when it ends in a rejection.
    pub trail: Trail,
    /// The evidence that the request may go to its service.
    pub admission: Option<Admission>,
    /// The memory held by a checked body.
    pub body_memory: Option<Reservation>,
    /// Set while a checked body stands in for the client's.
    pub slot: Option<Slot>,
    /// Decides on the reply, where the route has a model of it.
    pub hold: Option<Arc<Hold>>,
    /// Compresses the reply, where that is done.
    pub compressor: Option<Box<Compressor>>,
    /// Code of the rejection that ended the request.
    pub rejected: Option<&'static str>,
    /// What went wrong, for the access line.
    pub cause: Option<String>,
    /// When the service was contacted, and when the header of its reply came.
    pub service: ServiceTimes,
    /// How long it waited for a place of the service.
    pub queued: Option<Duration>,
    /// How long a checked body took to come.
    pub request_body: Option<Duration>,
    /// Attempts to contact the service.
    pub attempts: Attempts,
    /// The target contacted last.
    pub target: Option<Arc<Target>>,
    /// Bytes of a streamed body so far.
    pub streamed: u64,
    /// Whether the process has sent it itself.
    pub is_pulse: bool,
    /// What the cache did with it, on a route that has one.
    pub cached: Option<CacheResult>,
    /// What the cache does with its reply, where it goes to its service.
    pub cache: Option<Box<Course>>,
    /// Whether it fetches for the cache, without a client.
    pub is_refresh: bool,
    /// Whether it is answered without its service.
    pub is_answered: bool,
    /// Counts this request until it is logged.
    pub in_flight: Option<InFlight>,
}

/// One request in the count of those in flight; dropped with the exchange even where a phase is cut short.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Counts one more.
    pub fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What admission found out, in order.
#[derive(Default)]
pub struct Trail {
    /// What the request is for.
    pub asked: Asked,
    /// The matched route.
    pub route: Option<Arc<Route>>,
    /// Who calls.
    pub consumer: Option<Arc<Consumer>>,
    /// What the limits granted.
    pub held: Option<Held>,
    /// The names of the limits that refused the request.
    pub refused_by: Vec<Box<str>>,
    /// What would have refused the request, were it not only observed.
    pub passed_over: PassedOver,
}

/// What would have refused a request, were it not only observed; the contract aside, which keeps its own account.
#[derive(Default)]
pub struct PassedOver {
    /// The first condition that is not met.
    pub condition: Option<Condition>,
    /// The names of all limits that are used up.
    pub limits: Vec<Box<str>>,
}

impl PassedOver {
    /// Whether nothing would have.
    pub fn is_empty(&self) -> bool {
        self.condition.is_none() && self.limits.is_empty()
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// A route, found or not.
    #[default]
    Route,
    /// The API's description.
    Docs,
}

/// What limits granted, apart from the limits themselves.
#[derive(Default)]
pub struct Held {
    /// What the client is told of them.
    pub fields: Fields,
    /// The places in flight; free when this is dropped.
    pub permit: Permit,
    /// Those that are counted with other gateways.
    pub places: SharedPermit,
}

impl Held {
    /// Takes the permit, and writes down what the client is told.
    pub fn of(granted: Granted<'_>) -> Self {
        Self { fields: headers::fields(&granted.standings), permit: granted.permit, ..Self::default() }
    }

    /// Writes down what the client is told of limits that are used up and let it pass nevertheless. It holds nothing,
    /// since nothing was spent.
    pub fn passed_over(refused: &Refused<'_>) -> Self {
        Self { fields: headers::fields(&refused.standings), ..Self::default() }
    }
}

/// Whether the peer's word on forwarding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Listed in `trusted_proxies`.
    Trusted,
    /// Anybody.
    Stranger,
}

/// The service's part. Times are since [`Exchange::started`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceTimes {
    /// The service was contacted first: the gateway had decided.
    pub contacted: Option<Duration>,
    /// The attempt that is the last so far began.
    pub attempted: Option<Duration>,
    /// The header of its reply was complete.
    pub replied: Option<Duration>,
    /// The status of its reply.
    pub status: Option<u16>,
}

impl Exchange {
    /// What pages of other origins may do with the answer.
    pub fn cors(&self) -> Option<&Cors> {
        self.trail.route.as_ref().map_or(&self.gateway.cors, |route| &route.cors).as_deref()
    }

    /// Begins an exchange with the current generation.
    pub fn begin(gateway: Arc<Gateway>, in_flight: InFlight) -> Self {
        Self {
            gateway,
            started: Instant::now(),
            at: SystemTime::now(),
            client: Address::default(),
            peer_address: Address::default(),
            tunnel: None,
            watch: None,
            peer: Peer::Stranger,
            tls: None,
            id: RequestId::default(),
            grpc: None,
            trace: None,
            trail: Trail::default(),
            admission: None,
            body_memory: None,
            slot: None,
            hold: None,
            compressor: None,
            rejected: None,
            cause: None,
            service: ServiceTimes::default(),
            queued: None,
            request_body: None,
            attempts: Attempts::default(),
            target: None,
            streamed: 0,
            is_pulse: false,
            cached: None,
            cache: None,
            is_refresh: false,
            is_answered: false,
            in_flight: Some(in_flight),
        }
    }
}
