//! A rolling rate: the generic cell rate algorithm, exact in integers.
//!
//! A bucket is kept as its debt: the instant at which it is full again. Taking one request moves that instant by
//! `period / count`, and a request passes while the debt is at most the burst. The quotient is rarely a whole number of
//! nanoseconds, so sums are done in units of which one nanosecond drains `drain`; then `7/second` is seven and not 6.99.
//! Only where such units would overflow (a burst of more than five million an hour with an awkward count) is a request
//! rounded up to whole nanoseconds: slower than asked by at most one nanosecond each, never faster.
//!
//! A debt remembers at which numbers it was made. Where a reload has changed them, what was used stays used: from the next
//! request on, a debt of 60 requests is one of 60 requests at the new rate. Where another machine keeps the counter it
//! is the time that stays.
//!
//! Where another machine keeps the counter, time is in microseconds and every number stays below [`EXACT`], so that a
//! keeper that computes with doubles computes exactly ([`Bucket::shared`]).

use std::time::Duration;

use super::table::State;
use super::{LimitFault, Outcome};

const SECOND: u64 = 1_000_000_000;
const SHARED_SECOND: u64 = 1_000_000;

/// The largest number that a double counts to without leaving one out.
pub(super) const EXACT: u64 = 1 << 53;

/// When a bucket is full again. The default is a full one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debt {
    /// Monotonic nanoseconds.
    pub(super) until: u64,
    /// The part of a nanosecond after `until`, in units of its bucket.
    pub(super) part: u32,
    /// The [`Bucket::pace`] that it was made at.
    pub(super) pace: u32,
}

/// A compiled rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    burst: u64,
    /// Units of one request.
    pub(super) one: u64,
    /// Units that drain in a tick.
    pub(super) drain: u64,
    /// Units of a whole burst.
    pub(super) capacity: u64,
    /// Ticks of one request, as the bits of an `f32`: tells whether a debt was made at other numbers, and at which.
    pub(super) pace: u32,
    /// Ticks of a second: nanoseconds, or microseconds where the counter is shared.
    second: u64,
}

/// What became of a debt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighed {
    /// Units owed afterwards; as before when refused.
    owed: u64,
    /// When refused, in how many seconds the same cost passes.
    refusal: Option<u32>,
}

impl Debt {
    /// Whether the bucket is full at `now`, like one never touched.
    pub(super) fn is_over(self, now: u64) -> bool {
        self.until < now || (self.until == now && self.part == 0)
    }
}

impl Bucket {
    pub(super) fn new(count: u64, period: Duration, burst: u64) -> Result<Self, LimitFault> {
        let period = u64::try_from(period.as_nanos()).map_err(|_| LimitFault::TooLarge)?;
        if period == 0 {
            return Err(LimitFault::NoPeriod);
        }
        let shared = greatest_common_divisor(period, count);
        let (one, drain) = (period / shared, count / shared);
        if let Some(capacity) = burst.checked_mul(one)
            && u32::try_from(drain).is_ok()
        {
            return Ok(Self { burst, one, drain, capacity, pace: pace(one, drain), second: SECOND });
        }
        let one = period.div_ceil(count);
        let capacity = burst.checked_mul(one).ok_or(LimitFault::TooLarge)?;
        Ok(Self { burst, one, drain: 1, capacity, pace: pace(one, 1), second: SECOND })
    }

    /// The same for a counter that another machine keeps. Where exact units would be too many, a request is rounded up
    /// to whole nanoseconds, or to whole microseconds where a burst takes longer than 100 days to refill; a burst of
    /// more than 285 years is cut to that.
    pub(super) fn shared(count: u64, period: Duration, burst: u64) -> Self {
        let whole = |ticks: u128| u64::try_from(ticks).unwrap_or(u64::MAX).max(1);
        let (micros, nanos) = (whole(period.as_micros()), whole(period.as_nanos()));
        let shared = greatest_common_divisor(micros, count);
        let units = [(micros / shared, count / shared), (nanos.div_ceil(count), 1000), (micros.div_ceil(count), 1)];
        let fits = |(one, drain): &(u64, u64)| {
            burst.checked_mul(*one).is_some_and(|capacity| capacity < EXACT) && u32::try_from(*drain).is_ok()
        };
        let (one, drain) = units.into_iter().find(fits).unwrap_or(units[2]);
        let capacity = burst.saturating_mul(one).min(EXACT - 1);
        Self { burst, one, drain, capacity, pace: pace(one, drain), second: SHARED_SECOND }
    }

    /// One of the numbers that another process computed for its own; `None` when they cannot be a bucket's.
    pub(super) fn of(burst: u64, one: u64, drain: u64) -> Option<Self> {
        let capacity = burst.checked_mul(one)?;
        let usable = capacity > 0 && drain > 0 && u32::try_from(drain).is_ok();
        usable.then_some(Self { burst, one, drain, capacity, pace: pace(one, drain), second: SECOND })
    }

    pub(super) fn burst(&self) -> u64 {
        self.burst
    }

    /// Seconds in which an empty bucket fills.
    pub(super) fn refill_seconds(&self) -> u32 {
        self.seconds(self.capacity)
    }

    pub(super) fn take(&self, debt: Debt, cost: u64, now: u64) -> Outcome {
        let weighed = self.weigh(self.owed(debt, now), cost);
        if weighed.refusal.is_some() {
            return self.outcome(State::Rate(debt), weighed);
        }
        self.outcome(State::Rate(self.debt(weighed.owed, now)), weighed)
    }

    /// Weighs a cost against so many units owed.
    pub(super) fn weigh(&self, owed: u64, cost: u64) -> Weighed {
        let wanted = owed.saturating_add(cost.saturating_mul(self.one));
        if wanted <= self.capacity {
            return Weighed { owed: wanted, refusal: None };
        }
        // What exceeds the burst never passes; then the wait is the one for a full bucket.
        let wait = if cost > self.burst { owed } else { wanted - self.capacity };
        Weighed { owed, refusal: Some(self.seconds(wait).max(1)) }
    }

    /// The debt in units, at most a burst: a smaller bucket does not inherit more than it can owe.
    fn owed(&self, debt: Debt, now: u64) -> u64 {
        if debt.until < now {
            return 0;
        }
        let whole = (debt.until - now).saturating_mul(self.drain);
        whole.saturating_add(u64::from(debt.part).min(self.drain - 1)).min(self.capacity)
    }

    /// A debt that was made at other numbers, at these: as many requests are owed as were, of which a few ten-millionths
    /// are let off, so that whole requests stay whole.
    pub(super) fn carried(&self, debt: Debt, now: u64) -> Debt {
        const LET_OFF: f64 = 3e-7;
        if debt.pace == self.pace || debt.is_over(now) {
            return debt;
        }
        let requests = (debt.until - now) as f64 / f64::from(f32::from_bits(debt.pace)) * (1.0 - LET_OFF);
        // Truncation is meant, and what is no number becomes none.
        self.debt(((requests * self.one as f64) as u64).min(self.capacity), now)
    }

    /// So many units owed at `now`.
    fn debt(&self, owed: u64, now: u64) -> Debt {
        let part = u32::try_from(owed % self.drain).unwrap_or(u32::MAX);
        Debt { until: now.saturating_add(owed / self.drain), part, pace: self.pace }
    }

    /// What is left after that.
    pub(super) fn outcome(&self, state: State, Weighed { owed, refusal }: Weighed) -> Outcome {
        let free = self.capacity.saturating_sub(owed);
        let remaining = free / self.one;
        let until_next = if owed == 0 { 0 } else { self.one - (free - remaining * self.one) };
        Outcome { state, remaining, reset_seconds: self.seconds(until_next), refusal }
    }

    /// Seconds in which `units` drain, rounded up.
    fn seconds(&self, units: u64) -> u32 {
        u32::try_from(units.div_ceil(self.drain).div_ceil(self.second)).unwrap_or(u32::MAX)
    }
}

fn pace(one: u64, drain: u64) -> u32 {
    ((one as f64 / drain as f64) as f32).to_bits()
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
