//! Whether a request is served, or only rehearsed.
//!
//! Both go through the same phases and the same admission; an [`Occasion`] is all in which they differ. The running
//! gateway is `Proxy<Serving>`: a type without a field, whose answers are constants, so that nothing is left of the
//! difference in what it executes.
//!
//! Invariant: [`Serving`] knows no consumer. One that is given and not found by a credential exists in a
//! `Proxy<Rehearsing>` only, which no listener is bound to.

use std::sync::Arc;

use pingora::upstreams::peer::HttpPeer;

use crate::gateway::{Consumer, Route};
use crate::policy::rejection::Rejection;

use super::exchange::Exchange;

/// What a request is sent for.
pub trait Occasion: Clone + Send + Sync + 'static {
    /// Who calls this route, where that is given. Otherwise a credential decides.
    fn consumer(&self, route: &Route) -> Option<Arc<Consumer>>;

    /// Whether auth services may be asked who calls.
    fn may_ask(&self) -> bool;

    /// Whether a second service may get a copy.
    fn may_mirror(&self) -> bool;

    /// Whether what others brought may be the answer.
    fn may_cache(&self) -> bool;

    /// Leads the request to another place than its service's address.
    fn lead(&self, peer: &mut HttpPeer);

    /// Hears why a request ends at the gateway.
    fn refused(&self, rejection: &Rejection);

    /// Hears that a request is over.
    fn over(&self, exchange: &Exchange);
}

/// A client waits for the service's reply.
#[derive(Debug, Clone, Copy)]
pub struct Serving;

impl Occasion for Serving {
    fn consumer(&self, _route: &Route) -> Option<Arc<Consumer>> {
        None
    }

    fn may_ask(&self) -> bool {
        true
    }

    fn may_mirror(&self) -> bool {
        true
    }

    fn may_cache(&self) -> bool {
        true
    }

    fn lead(&self, _peer: &mut HttpPeer) {}

    fn refused(&self, _rejection: &Rejection) {}

    fn over(&self, _exchange: &Exchange) {}
}
