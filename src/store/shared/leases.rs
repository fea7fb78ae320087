//! Leases: a node takes more of a counter than one request needs, and spends it without asking again.
//!
//! A lease is [`size`] requests at most, for one counter, and a node has one at a time for each: while one is being
//! fetched, other requests take what they need and no more. What is left of it after [`IDLE`] goes back; the lease of a
//! quota ends with its window. What is leased is charged already, so:
//! - a quota is never exceeded. For a moment (`IDLE` and a look of the background task) as much as all nodes have leased
//!   may be refused to others; a node that dies takes its lease with it until the window ends;
//! - in any time `t` at most burst + rate · `t` + nodes · lease pass a rate: what was leased before it and spent in it.
//!   (A request that is refused puts back what it had paid, also when its lease has gone back meanwhile: so many more
//!   may be here, for a second, as were in flight then.)
//!
//! At most [`MOST`] counters are leased at a time; requests of others ask for themselves. Places in flight are never
//! leased.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::policy::limit::shared::{Asked, Counter, Found, Measure};

/// The most requests in a lease.
const LARGEST: u64 = 100;

/// A lease is this part of what the limit lets through at once.
const PART: u64 = 50;

/// How long a lease may stay before what is left of it goes back.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// The most counters that are leased at a time: 1 MiB.
const MOST: usize = 10_000;

/// All leases of this node.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<Counter, Lease, ahash::RandomState>>);

/// What this node may spend of one counter.
struct Lease {
    /// Requests.
    rest: u64,
    /// The counter when it was leased, what was leased included; `None` before anything was.
    charged: Option<Found>,
    /// What a request is of it.
    measure: Measure,
    taken: Instant,
    /// Whether somebody is fetching more.
    fetching: bool,
}

/// What goes back: of which counter, how many requests.
pub(super) struct Return {
    pub(super) counter: Counter,
    pub(super) measure: Measure,
    /// The window that it was leased in.
    pub(super) until: i64,
    pub(super) rest: u64,
}

/// What became of one claim before Redis is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// It is paid from a lease; how the counter stood before.
    Paid(Found),
    /// Redis is to be asked for so much at most, and the claim fetches a lease where that is more than it needs.
    Ask {
        /// Requests.
        most: u64,
    },
}

/// The claims of one request while it is decided. Dropped without a word from Redis, it gives back what it paid.
pub(super) struct Covered<'l> {
    leases: &'l Leases,
    asked: SmallVec<[Asked; 4]>,
    pub(super) covers: SmallVec<[Cover; 4]>,
    begun: Instant,
    settled: bool,
}

/// How many requests a lease of this measure is; 1 where it is not worth one.
pub(super) fn size(measure: &Measure) -> u64 {
    let capacity = match measure {
        Measure::Rate { one, capacity, .. } => capacity / one,
        Measure::Quota { count, .. } => *count,
        Measure::Concurrency { .. } => return 1,
    };
    (capacity / PART).clamp(1, LARGEST)
}

impl Leases {
    /// Pays what it can. `unix` is Redis's clock.
    pub(super) fn cover(&self, asked: SmallVec<[Asked; 4]>, unix: i64, now: Instant) -> Covered<'_> {
        let mut leases = self.0.lock();
        let mut covers = SmallVec::new();
        for claim in &asked {
            let room = leases.len() < MOST;
            let size = size(&claim.measure);
            let cover = match leases.get_mut(&claim.counter) {
                _ if size == 1 => Cover::Ask { most: claim.cost },
                Some(lease) if lease.is_over(unix) && !lease.fetching => {
                    *lease = Lease::awaited(claim.measure, now);
                    Cover::Ask { most: size.max(claim.cost) }
                }
                Some(lease) => lease.pay(claim.cost, size),
                None if room => {
                    leases.insert(claim.counter, Lease::awaited(claim.measure, now));
                    Cover::Ask { most: size.max(claim.cost) }
                }
                None => Cover::Ask { most: claim.cost },
            };
            covers.push(cover);
        }
        Covered { leases: self, asked, covers, begun: now, settled: false }
    }

    /// Takes out what goes back: leases that have been here for so long.
    pub(super) fn returns(&self, idle: Duration, now: Instant) -> Vec<Return> {
        let mut returns = Vec::new();
        self.0.lock().retain(|counter, lease| {
            if lease.fetching || now.saturating_duration_since(lease.taken) < idle {
                return true;
            }
            if lease.rest > 0 {
                let until = if let Some(Found::Quota { until, .. }) = lease.charged { until } else { 0 };
                returns.push(Return { counter: *counter, measure: lease.measure, until, rest: lease.rest });
            }
            false
        });
        returns
    }

    /// Forgets all leases: the counters they were taken from may be gone.
    pub(super) fn clear(&self) {
        self.0.lock().retain(|_, lease| {
            lease.rest = 0;
            lease.fetching
        });
    }
}

impl Lease {
    /// One that is being fetched.
    fn awaited(measure: Measure, now: Instant) -> Self {
        Self { rest: 0, charged: None, measure, taken: now, fetching: true }
    }

    fn pay(&mut self, cost: u64, size: u64) -> Cover {
        if self.rest >= cost
            && let Some(before) = self.before()
        {
            self.rest -= cost;
            return Cover::Paid(before);
        }
        if self.fetching {
            return Cover::Ask { most: cost };
        }
        self.fetching = true;
        Cover::Ask { most: size.max(cost) }
    }

    /// The counter as it would stand without what is left of the lease.
    fn before(&self) -> Option<Found> {
        Some(match (self.charged?, self.measure) {
            (Found::Rate { owed }, Measure::Rate { one, .. }) => {
                Found::Rate { owed: owed.saturating_sub(self.rest.saturating_mul(one)) }
            }
            (Found::Quota { until, used }, _) => Found::Quota { until, used: used.saturating_sub(self.rest) },
            (other, _) => other,
        })
    }

    fn is_over(&self, unix: i64) -> bool {
        matches!(self.charged, Some(Found::Quota { until, .. }) if until <= unix)
    }
}

impl Covered<'_> {
    /// Those that Redis is asked for, with the most to take.
    pub(super) fn to_ask(&self) -> impl Iterator<Item = (&Asked, u64)> {
        self.asked.iter().zip(&self.covers).filter_map(|(asked, cover)| match cover {
            Cover::Paid(_) => None,
            Cover::Ask { most } => Some((asked, *most)),
        })
    }

    /// Keeps what Redis gave beyond the request itself: for each claim asked for, how its counter was found and how much
    /// was taken.
    pub(super) fn settle(mut self, given: &[(Found, u64)], now: Instant) {
        self.settled = true;
        let mut leases = self.leases.0.lock();
        let asked = self.asked.iter().zip(&self.covers).filter(|(_, cover)| matches!(cover, Cover::Ask { .. }));
        for ((asked, cover), (found, taken)) in asked.zip(given) {
            if !fetches(asked, cover) {
                continue;
            }
            let Some(lease) = leases.get_mut(&asked.counter) else { continue };
            lease.fetching = false;
            lease.rest += taken.saturating_sub(asked.cost);
            lease.taken = now;
            lease.measure = asked.measure;
            lease.charged = Some(match (*found, asked.measure) {
                (Found::Rate { owed }, Measure::Rate { one, .. }) => {
                    Found::Rate { owed: owed.saturating_add(taken.saturating_mul(one)) }
                }
                (Found::Quota { until, used }, _) => Found::Quota { until, used: used.saturating_add(*taken) },
                (other, _) => other,
            });
        }
    }
}

/// Whether this claim is the one that fetches for its counter.
fn fetches(asked: &Asked, cover: &Cover) -> bool {
    matches!(cover, Cover::Ask { most } if *most > asked.cost)
}

impl Drop for Covered<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut leases = self.leases.0.lock();
        for (asked, cover) in self.asked.iter().zip(&self.covers) {
            match cover {
                Cover::Paid(found) => {
                    // The lease may have gone back without this, and another one may be on its way.
                    let empty = || Lease { fetching: false, ..Lease::awaited(asked.measure, self.begun) };
                    let lease = leases.entry(asked.counter).or_insert_with(empty);
                    lease.charged.get_or_insert(*found);
                    lease.rest += asked.cost;
                }
                Cover::Ask { .. } if fetches(asked, cover) => {
                    leases.entry(asked.counter).and_modify(|lease| lease.fetching = false);
                }
                Cover::Ask { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Measure = Measure::Rate { one: 10, capacity: 10_000, drain: 1 };

    fn claim(number: u64) -> Asked {
        Asked { counter: Counter([number, 0, 0]), measure: RATE, cost: 1 }
    }

    /// Asks for one claim, and what becomes of it; Redis gives all that is asked for.
    fn one(leases: &Leases, claim: Asked, now: Instant) -> Cover {
        let covered = leases.cover(SmallVec::from_slice(&[claim]), 0, now);
        let cover = covered.covers[0];
        let given: Vec<_> = covered.to_ask().map(|(_, most)| (Found::Rate { owed: 0 }, most)).collect();
        covered.settle(&given, now);
        cover
    }

    #[test]
    fn leases_are_two_percent_at_most_a_hundred_and_never_of_places() {
        for (measure, expected) in [
            (Measure::Rate { one: 7, capacity: 7 * 49, drain: 1 }, 1),
            (Measure::Rate { one: 7, capacity: 7 * 99, drain: 1 }, 1),
            (Measure::Rate { one: 7, capacity: 7 * 100, drain: 1 }, 2),
            (Measure::Quota { count: 4_999, start: 0, end: 1 }, 99),
            (Measure::Quota { count: 1_000_000, start: 0, end: 1 }, 100),
            (Measure::Concurrency { max: 5_000 }, 1),
        ] {
            assert_eq!(size(&measure), expected, "{measure:?}");
        }
    }

    #[test]
    fn a_lease_goes_back_when_it_has_been_here_for_a_while() {
        let (leases, now) = (Leases::default(), Instant::now());
        assert_eq!(one(&leases, claim(1), now), Cover::Ask { most: 20 });
        assert!(matches!(one(&leases, claim(1), now), Cover::Paid(_)));
        assert!(leases.returns(IDLE, now + IDLE / 2).is_empty());
        let back = leases.returns(IDLE, now + IDLE);
        assert_eq!(back.iter().map(|back| back.rest).collect::<Vec<_>>(), [18]);
        assert_eq!(one(&leases, claim(1), now), Cover::Ask { most: 20 }, "it is gone");
    }

    #[test]
    fn one_lease_is_fetched_at_a_time_and_its_size_is_all_a_node_holds() {
        let (leases, now) = (Leases::default(), Instant::now());
        let fetching = leases.cover(SmallVec::from_slice(&[claim(1)]), 0, now);
        for _ in 0..5 {
            assert_eq!(one(&leases, claim(1), now), Cover::Ask { most: 1 });
        }
        assert!(leases.returns(Duration::ZERO, now).is_empty(), "what is being fetched stays");
        drop(fetching);
        assert_eq!(one(&leases, claim(1), now), Cover::Ask { most: 20 }, "nothing came of the first");
        let paid = leases.cover(SmallVec::from_slice(&[claim(1)]), 0, now);
        assert_eq!(leases.returns(Duration::ZERO, now)[0].rest, 18);
        let fetching = leases.cover(SmallVec::from_slice(&[claim(1)]), 0, now);
        drop(paid);
        assert!(matches!(one(&leases, claim(1), now), Cover::Paid(Found::Rate { .. })), "what was paid for nothing");
        drop(fetching);
    }

    #[test]
    fn no_more_counters_are_leased_than_is_said() {
        let (leases, now) = (Leases::default(), Instant::now());
        for number in 0..MOST as u64 {
            assert_eq!(one(&leases, claim(number), now), Cover::Ask { most: 20 });
        }
        assert_eq!(one(&leases, claim(u64::MAX), now), Cover::Ask { most: 1 });
        assert!(matches!(one(&leases, claim(0), now), Cover::Paid(_)));
        assert_eq!(leases.0.lock().len(), MOST);
    }
}
