//! Fetches anew what is stored and stale, without a client.
//!
//! The client that found it has its answer. A request of its own goes through the same phases to the same service; it
//! takes over what admission found out about the client's, so that the service sees the same, but nobody pays for it: no
//! limit counts it, and it has neither an access line nor a place in the route's metrics.

use std::sync::Arc;

use pingora::proxy::Session;
use pingora::proxy::subrequest::Ctx;

use crate::gateway::{Consumer, Gateway, Route};
use crate::policy::cache::status::Forwarded;

use super::super::State;
use super::super::admit::Admission;
use super::super::client::Address;
use super::super::exchange::{Exchange, Peer};
use super::fill::{Leader, Role};
use super::key::KeyBytes;
use super::mark::Mark;
use super::stored::Stored;
use super::{Course, Stale};

/// What a request without a client takes over.
pub struct Refresh {
    gateway: Arc<Gateway>,
    route: Arc<Route>,
    admission: Admission,
    consumer: Option<Arc<Consumer>>,
    client: Address,
    peer_address: Address,
    peer: Peer,
    path_key: Option<u64>,
    leader: Leader,
    stored: Arc<Stored>,
    primary: KeyBytes,
    purges: u64,
    path: Arc<Mark>,
}

/// Fetches it, unless somebody does already.
pub(super) fn begin(
    state: &State,
    session: &Session,
    exchange: &Exchange,
    admission: &Admission,
    stored: &Arc<Stored>,
    (key, own): (&KeyBytes, usize),
) {
    let Some(spawner) = &session.subrequest_spawner else { return };
    let Role::Lead(leader) = state.cache.fills.enter(key) else { return };
    let refresh = Refresh {
        gateway: Arc::clone(&exchange.gateway),
        route: Arc::clone(&admission.route),
        admission: admission.again(),
        consumer: exchange.trail.consumer.clone(),
        client: exchange.client.clone(),
        peer_address: exchange.peer_address.clone(),
        peer: exchange.peer,
        path_key: exchange.attempts.path_key,
        leader,
        stored: Arc::clone(stored),
        primary: KeyBytes::from_slice(&key[..own]),
        purges: state.cache.purges(),
        path: state.cache.paths.of(session.req_header().uri.path().as_bytes()),
    };
    let context = Ctx::builder().user_ctx(Box::new(Some(refresh))).build();
    spawner.spawn_background_subrequest(session.as_downstream(), context);
}

/// What a session without a client is to take over.
pub fn taken_over(session: &mut Session) -> Option<Refresh> {
    session.subrequest_ctx.as_mut()?.user_ctx_mut()?.downcast_mut::<Option<Refresh>>()?.take()
}

impl Refresh {
    /// Takes it over.
    pub fn enter(self, exchange: &mut Exchange) {
        exchange.gateway = self.gateway;
        exchange.client = self.client;
        exchange.peer_address = self.peer_address;
        exchange.peer = self.peer;
        exchange.attempts.path_key = self.path_key;
        exchange.trail.route = Some(self.route);
        exchange.trail.consumer = self.consumer;
        exchange.admission = Some(self.admission);
        exchange.is_refresh = true;
        exchange.in_flight = None;
        let mut course = Course::new(Forwarded::Stale);
        course.relay = Some(Arc::default());
        course.leader = Some(self.leader);
        course.stale = Some(Stale { stored: self.stored, if_error: false });
        course.primary = self.primary;
        course.purges = self.purges;
        course.path = Some(self.path);
        course.for_client = false;
        exchange.cache = Some(Box::new(course));
    }
}
