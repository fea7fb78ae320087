//! The rules of limits, each as a table through one [`Desk`]: a limiter, a time that the test moves, and requests.

mod adversary;
mod calendar;
mod handover;
mod headers;
mod properties;
mod quota;
mod rate;
mod room;
mod saving;
mod threads;
mod together;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::table::Moment;
use super::{Claim, Granted, Limit, LimitFault, Limiter, Now, Refused, Subject, Unit};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const EPOCH: i64 = 1_750_000_000;

/// A limiter at a moment.
pub(super) struct Desk {
    pub(super) limiter: Arc<Limiter>,
    pub(super) now: Now,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with_capacity(4096, 4096)
    }

    pub(super) fn with_capacity(consumers: usize, strangers: usize) -> Self {
        Self { limiter: Limiter::with_capacity(consumers, strangers), now: Now { monotonic: 5, unix: EPOCH } }
    }

    pub(super) fn at(mut self, wall: &str) -> Self {
        self.set_wall(wall);
        self
    }

    pub(super) fn set_wall(&mut self, wall: &str) {
        self.now.unix = wall.parse::<Timestamp>().unwrap().as_second();
    }

    /// Both clocks go on.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.now.monotonic += seconds * SECOND;
        self.now.unix += i64::try_from(seconds).unwrap();
    }

    pub(super) fn decide<'a>(&self, claims: &[Claim<'a>]) -> Result<Granted<'a>, Refused<'a>> {
        self.limiter.decide(claims, self.now).expect("the counters are here")
    }

    /// One request of `alice`: `Ok` with what remains, or `Err` with the seconds to wait.
    pub(super) fn ask(&self, limit: &Limit, cost: u32) -> Result<u64, u32> {
        self.ask_as(limit, alice(), cost)
    }

    pub(super) fn ask_as(&self, limit: &Limit, subject: Subject, cost: u32) -> Result<u64, u32> {
        match self.decide(&[Claim { limit, subject, cost }]) {
            Ok(granted) => Ok(granted.standings[0].remaining),
            Err(refused) => Err(refused.retry_after_seconds),
        }
    }

    /// How many requests pass until one is refused.
    pub(super) fn drain(&self, limit: &Limit, subject: Subject) -> u64 {
        let mut passed = 0;
        while self.ask_as(limit, subject, 1).is_ok() {
            passed += 1;
        }
        passed
    }
}

pub(super) fn alice() -> Subject {
    Subject::consumer("alice")
}

pub(super) fn rate(count: u64, period_seconds: u64, burst: u64) -> Limit {
    named_rate("rate", count, period_seconds, burst)
}

pub(super) fn named_rate(name: &str, count: u64, period_seconds: u64, burst: u64) -> Limit {
    Limit::rate(name, name, count, Duration::from_secs(period_seconds), burst).unwrap()
}

pub(super) fn quota(count: u64, unit: Unit, zone: &str) -> Limit {
    Limit::quota("quota", "quota", count, unit, TimeZone::get(zone).unwrap()).unwrap()
}

pub(super) fn concurrency(max: u32) -> Limit {
    Limit::concurrency("concurrency", "concurrency", max).unwrap()
}

#[test]
fn a_limit_that_means_nothing_is_a_fault() {
    let rate = |name, count, period, burst| Limit::rate("id", name, count, period, burst).map(|_| ()).unwrap_err();
    let second = Duration::from_secs(1);
    assert_eq!(rate("n", 0, second, 1), LimitFault::Zero);
    assert_eq!(rate("n", 1, second, 0), LimitFault::Zero);
    assert_eq!(rate("n", 1, Duration::ZERO, 1), LimitFault::NoPeriod);
    assert_eq!(rate("n", 1, Duration::MAX, 1), LimitFault::TooLarge);
    assert_eq!(rate("n", 1, second, u64::MAX), LimitFault::TooLarge);
    assert_eq!(rate("n", 1, second, super::MAX_COUNT), LimitFault::TooLarge);
    for name in ["", "a\"b", "a\\b", "a\nb", "größe", &"x".repeat(super::MAX_NAME + 1)] {
        assert_eq!(rate(name, 1, second, 1), LimitFault::Name, "{name:?}");
    }
    assert_eq!(Limit::concurrency("id", "n", 0).unwrap_err(), LimitFault::Zero);
    assert_eq!(Limit::quota("id", "n", 0, Unit::Day, TimeZone::UTC).unwrap_err(), LimitFault::Zero);
}
