//! What limits did, counted by plan or route and policy.
//!
//! [`LimitCounters`] is asked once per decision with the standings of all limits that took part. Where none is nearly
//! used up, and that is the usual case, it compares two numbers per limit and touches no counter. It knows limits by
//! their identity, so plans and routes need not carry counters.

use std::collections::HashMap;

use crate::policy::limit::{Limit, Standing, Verdict};
use crate::telemetry::{LimitMetrics, Telemetry};

use super::{Plan, Route};

/// A limit is nearly exhausted when less than one part in so many is left.
const PARTS: u64 = 10;

/// The counters of every limit of a generation.
#[derive(Debug, Default)]
pub struct LimitCounters(HashMap<u64, LimitMetrics>);

impl LimitCounters {
    /// For the limits of these plans and routes.
    pub fn new<'a>(
        plans: impl Iterator<Item = &'a Plan>,
        routes: impl Iterator<Item = &'a Route>,
        telemetry: &Telemetry,
    ) -> Self {
        let owned = owned_limits(plans, routes);
        Self(owned.map(|(owner, limit)| (limit.id(), telemetry.limit(owner, limit.name()))).collect())
    }

    /// Counts the limits of which a request left less than a tenth. Of a limit up to ten that is nothing.
    pub fn granted(&self, standings: &[Standing<'_>]) {
        for standing in standings.iter().filter(|standing| is_nearly_exhausted(standing)) {
            self.of(standing).inspect(|metrics| metrics.nearly_exhausted());
        }
    }

    /// Counts the limits that refused a request.
    pub fn refused(&self, standings: &[Standing<'_>]) {
        for metrics in self.that_refuse(standings) {
            metrics.refused();
        }
    }

    /// Counts the limits that would have refused a request, were they not only observed.
    pub fn observed(&self, standings: &[Standing<'_>]) {
        for metrics in self.that_refuse(standings) {
            metrics.observed();
        }
    }

    fn that_refuse<'a>(&'a self, standings: &'a [Standing<'_>]) -> impl Iterator<Item = &'a LimitMetrics> {
        let refused = standings.iter().filter(|standing| standing.verdict == Verdict::Refused);
        refused.filter_map(|standing| self.of(standing))
    }

    fn of(&self, standing: &Standing<'_>) -> Option<&LimitMetrics> {
        self.0.get(&standing.limit.id())
    }
}

/// Every limit of plans and routes, with the name of the one that states it.
pub(super) fn owned_limits<'a>(
    plans: impl Iterator<Item = &'a Plan>,
    routes: impl Iterator<Item = &'a Route>,
) -> impl Iterator<Item = (&'a str, &'a Limit)> {
    let of_plan = |plan: &'a Plan| {
        let limits = plan.each_route.iter().chain(plan.routes.values().flatten()).chain(&plan.total);
        limits.chain(&plan.concurrency).map(|limit| (&*plan.name, limit))
    };
    let of_route = |route: &'a Route| route.limits.iter().map(|entry| (&*route.name, &entry.limit));
    plans.flat_map(of_plan).chain(routes.flat_map(of_route))
}

fn is_nearly_exhausted(standing: &Standing<'_>) -> bool {
    standing.remaining.saturating_mul(PARTS) < standing.limit.capacity()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_is_nearly_exhausted_below_a_tenth() {
        for (capacity, remaining, near) in [
            (100, 100, false),
            (100, 10, false),
            (100, 9, true),
            (100, 0, true),
            (10, 1, false),
            (10, 0, true),
            (4, 1, false),
            (4, 0, true),
            (1, 0, true),
            (999_999_999_999_999, 99_999_999_999_999, true),
        ] {
            let limit = Limit::rate("plan/free/total", "total-second", capacity, Duration::from_secs(1), capacity);
            let limit = limit.unwrap();
            let standing = Standing { limit: &limit, remaining, reset_seconds: 0, verdict: Verdict::Passed };
            assert_eq!(is_nearly_exhausted(&standing), near, "{remaining} of {capacity}");
        }
    }
}
