//! A rolling rate: the generic cell rate algorithm, exact in integers.
//!
//! A bucket is kept as its debt: the instant at which it is full again. Taking one request moves that instant by
//! `period / count`, and a request passes while the debt is at most the burst. The quotient is rarely a whole number of
//! nanoseconds, so sums are done in units of which one nanosecond drains `drain`; then `7/second` is seven and not 6.99.
//! Only where such units would overflow (a burst of more than five million an hour with an awkward count) is a request
//! rounded up to whole nanoseconds: slower than asked by at most one nanosecond each, never faster.

use std::time::Duration;

use super::table::State;
use super::{LimitFault, Outcome};

const SECOND: u64 = 1_000_000_000;

/// When a bucket is full again. The default is a full one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debt {
    /// Monotonic nanoseconds.
    pub(super) until: u64,
    /// The part of a nanosecond after `until`, in units of its bucket. After a reload with another count it is off by
    /// less than that nanosecond.
    pub(super) part: u32,
}

/// A compiled rate.
#[derive(Debug)]
pub(super) struct Bucket {
    burst: u64,
    /// Units of one request.
    one: u64,
    /// Units that drain in a nanosecond.
    drain: u64,
    /// Units of a whole burst.
    capacity: u64,
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
            return Ok(Self { burst, one, drain, capacity });
        }
        let one = period.div_ceil(count);
        let capacity = burst.checked_mul(one).ok_or(LimitFault::TooLarge)?;
        Ok(Self { burst, one, drain: 1, capacity })
    }

    pub(super) fn burst(&self) -> u64 {
        self.burst
    }

    /// Seconds in which an empty bucket fills.
    pub(super) fn refill_seconds(&self) -> u32 {
        self.seconds(self.capacity)
    }

    pub(super) fn take(&self, debt: Debt, cost: u64, now: u64) -> Outcome {
        let owed = self.owed(debt, now);
        let wanted = owed.saturating_add(cost.saturating_mul(self.one));
        if wanted > self.capacity {
            // What exceeds the burst never passes; then the wait is the one for a full bucket.
            let wait = if cost > self.burst { owed } else { wanted - self.capacity };
            return self.outcome(State::Rate(debt), owed, Some(self.seconds(wait).max(1)));
        }
        let until = now.saturating_add(wanted / self.drain);
        let part = u32::try_from(wanted % self.drain).unwrap_or(u32::MAX);
        self.outcome(State::Rate(Debt { until, part }), wanted, None)
    }

    /// The debt in units, at most a burst: a smaller bucket does not inherit more than it can owe.
    fn owed(&self, debt: Debt, now: u64) -> u64 {
        if debt.until < now {
            return 0;
        }
        let whole = (debt.until - now).saturating_mul(self.drain);
        whole.saturating_add(u64::from(debt.part).min(self.drain - 1)).min(self.capacity)
    }

    fn outcome(&self, state: State, owed: u64, refusal: Option<u32>) -> Outcome {
        let free = self.capacity - owed;
        let remaining = free / self.one;
        let until_next = if owed == 0 { 0 } else { self.one - (free - remaining * self.one) };
        Outcome { state, remaining, reset_seconds: self.seconds(until_next), refusal }
    }

    /// Seconds in which `units` drain, rounded up.
    fn seconds(&self, units: u64) -> u32 {
        u32::try_from(units.div_ceil(self.drain).div_ceil(SECOND)).unwrap_or(u32::MAX)
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
