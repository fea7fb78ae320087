//! A route whose requests go to several services by weight.
//!
//! Who goes where is decided by who calls: a consumer, or where nobody is known a client address, is hashed to a point
//! between 0 and 1, and each service has a part of that stretch, in the order of the file. So a caller stays with its
//! service, in every gateway and over restarts; and when the last service's weight grows, its callers stay and others
//! join them. Routes that split between the same services send a caller to the same one.
//!
//! Each service has a whole [`Route`] of its own, which differs from the others in what hangs on the service. A
//! request has that route once its caller is known; so nothing after admission knows of splits.

use std::sync::Arc;

use crate::policy::balance::{hash, nth_of};

use super::Route;

/// The services of a route, by weight.
pub struct Split {
    arms: Vec<Arm>,
    /// Sets the callers of this split apart from those of others.
    salt: u64,
}

/// One service of a [`Split`].
pub struct Arm {
    /// Its share, among all weights.
    pub weight: u32,
    /// The route to it.
    pub route: Arc<Route>,
}

impl Split {
    /// Between these services, of which one has a weight at least.
    pub fn new(arms: Vec<Arm>) -> Self {
        let names: Vec<&str> = arms.iter().map(|arm| &*arm.route.service.name).collect();
        Self { salt: hash(names.join(",").as_bytes()), arms }
    }

    /// The services with their weights, in the order of the file.
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// The route for a caller.
    pub fn choose(&self, caller: &[u8]) -> Option<&Arc<Route>> {
        let at = nth_of(hash(caller) ^ self.salt, self.arms.iter().map(|arm| arm.weight));
        self.arms.get(at).map(|arm| &arm.route)
    }
}
