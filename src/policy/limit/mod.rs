//! How much may be used: rates, quotas and requests in flight, counted exactly.
//!
//! A *rate* rolls: `100/minute` is a bucket of 100 refilled at 100 a minute ([`Limit::rate`]). A *quota* counts per
//! calendar day or month in a time zone ([`Limit::quota`]). *Concurrency* counts requests in flight
//! ([`Limit::concurrency`]). [`Limiter::decide`] weighs all limits of a request together: it passes all of them or
//! spends nothing. Counters live in the process, a [`Limit`] in one generation; `identity` connects the two.
//!
//! A limit is the same over reloads and upgrades while its place in the file is: the plan or route, the list, the kind
//! and the window. Then what is used stays used, whatever the numbers become: 100 used of `100/minute` leave 100 of
//! `200/minute`, and none of `50/minute`, which owes no more than its burst. Another plan, route or window is another
//! limit and begins anew. A change of time zone ends the running window at the earlier of its old and its new end.
//!
//! Time comes in from outside as [`Now`]. Rates and concurrency end with the last of the processes that take over from
//! each other ([`handover`]). Quotas can outlive them and be shared by processes with one store:
//! [`Limiter::keep_journals`] notes what they use, so that somebody else can save it and merge what others saved
//! (`server::store`); requests never wait for that. Such a quota is exact within a process; of what other processes admit
//! it knows as soon as that was saved and merged. What another machine needs to keep all of them for many is in
//! [`shared`].

pub mod handover;
pub mod headers;
mod journal;
mod limiter;
mod rate;
mod shard;
pub mod shared;
mod subject;
mod table;
#[cfg(test)]
mod tests;
mod window;

use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;
use thiserror::Error;

pub use limiter::{
    Claim, Decided, Granted, Limiter, Moved, Permit, Refused, Standing, Standings, Statistics, Taken, Tally, Verdict,
};
pub use subject::{Class, Mark, Subject, client_of};
pub use window::Unit;

use rate::Bucket;
use table::{Moment, State};
use window::Quota;

/// The largest number a structured field can carry (RFC 9651, 3.3.1), so the largest count of any limit.
pub const MAX_COUNT: u64 = 999_999_999_999_999;

/// The longest policy name, in bytes.
pub const MAX_NAME: usize = 128;

/// The time of a request, read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the process started; never set by anyone. Rates go by it.
    pub monotonic: u64,
    /// Seconds since 1970 by the wall clock. Quotas go by it.
    pub unix: i64,
}

/// Where [`Now`] comes from outside tests.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// The same by the monotonic clock of the machine, in nanoseconds.
    epoch: u64,
}

/// One limit of a configuration, compiled.
///
/// Invariant: its name, and so every header item made of it, is printable ASCII without quotes.
#[derive(Debug)]
pub struct Limit {
    /// Digest of kind and identity: the first part of every counter's key. Not the count, which may change.
    id: u64,
    name: String,
    rule: Rule,
    /// `"name";q=100;w=60`, the constant half of what clients are told.
    policy_item: String,
    /// `"name";r=`, to which the request path adds digits.
    standing_prefix: String,
}

/// Why a limit cannot be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitFault {
    /// A limit of zero would refuse everything.
    #[error("a limit must allow at least one request")]
    Zero,
    /// A rate needs a time to roll over.
    #[error("the period of a rate must not be zero")]
    NoPeriod,
    /// Clients cannot be told such a number, or the bucket would take centuries to fill.
    #[error("the number is too large")]
    TooLarge,
    /// The name does not fit into a structured field.
    #[error("the name must be 1 to {MAX_NAME} printable ASCII characters without quotes and backslashes")]
    Name,
}

#[derive(Debug)]
enum Rule {
    Rate {
        bucket: Bucket,
        /// The same in the units of counters that another machine keeps.
        shared: Bucket,
    },
    Quota(Quota),
    Concurrency {
        max: u32,
    },
}

/// What a counter is weighed by: the numbers of a limit at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Terms {
    Rate(Bucket),
    Quota { count: u64, end: i64 },
    Concurrency { max: u32 },
}

/// What a limit says to one claim.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// The counter afterwards; as it was when refused.
    state: State,
    /// What is left afterwards.
    remaining: u64,
    /// Seconds until more is left: see [`Standing::reset_seconds`].
    reset_seconds: u32,
    /// When refused, in how many seconds the same claim passes.
    refusal: Option<u32>,
}

impl Clock {
    /// A clock whose monotonic part begins now.
    #[must_use]
    pub fn start() -> Self {
        // An instant does not tell its number; of a few pairs of readings the closest is taken.
        let pairs = (0..8).map(|_| {
            let (before, started, after) = (machine_clock(), Instant::now(), machine_clock());
            (after - before, Self { started, epoch: before })
        });
        let closest = pairs.min_by_key(|(apart, _)| *apart);
        closest.map_or_else(|| Self { started: Instant::now(), epoch: machine_clock() }, |(_, clock)| clock)
    }

    /// When it began, in nanoseconds of the machine's monotonic clock, which all processes share.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A moment that was read from both clocks before. A wall clock before 1970 reads as 1970.
    #[must_use]
    pub fn at(&self, monotonic: Instant, wall: SystemTime) -> Now {
        let since = monotonic.saturating_duration_since(self.started);
        let wall = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now {
            monotonic: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            unix: i64::try_from(wall).unwrap_or(i64::MAX),
        }
    }

    /// The present, from one reading of each clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.at(Instant::now(), SystemTime::now())
    }
}

impl Limit {
    /// A bucket of `burst`, refilled at `count` per `period`. `identity` names its counters over reloads and must be
    /// unique among the limits of a configuration; `name` is what clients are told.
    ///
    /// Clients read `q` = the burst and `w` = the time that refills it, rounded up: whoever keeps to `q` in `w` is never
    /// refused, and `r` never exceeds `q`.
    pub fn rate(identity: &str, name: &str, count: u64, period: Duration, burst: u64) -> Result<Self, LimitFault> {
        let bucket = Bucket::new(checked(count)?, period, checked(burst)?)?;
        let parameters = format!("q={burst};w={}", bucket.refill_seconds().max(1));
        let shared = Bucket::shared(count, period, burst);
        Self::new("rate", identity, name, Rule::Rate { bucket, shared }, &parameters)
    }

    /// `count` in each calendar day or month of `zone`.
    ///
    /// Clients read the longest usual window as `w` (86400, or 31 days), so that nobody who keeps to it runs out early.
    pub fn quota(identity: &str, name: &str, count: u64, unit: Unit, zone: TimeZone) -> Result<Self, LimitFault> {
        let quota = Quota::new(checked(count)?, unit, zone);
        let parameters = format!("q={count};w={}", unit.nominal_seconds());
        Self::new(unit.word(), identity, name, Rule::Quota(quota), &parameters)
    }

    /// At most `max` requests in flight.
    pub fn concurrency(identity: &str, name: &str, max: u32) -> Result<Self, LimitFault> {
        checked(u64::from(max))?;
        let parameters = format!("q={max};qu=\"concurrent-requests\"");
        Self::new("concurrency", identity, name, Rule::Concurrency { max }, &parameters)
    }

    /// Tells it from every other limit of its configuration, and is the same in every generation.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name clients are told.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The most that one request may cost. A dearer one can never pass: the compiler refuses such a configuration.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        match &self.rule {
            Rule::Rate { bucket, .. } => bucket.burst(),
            Rule::Quota(quota) => quota.count(),
            Rule::Concurrency { max } => u64::from(*max),
        }
    }

    /// This limit as a member of `RateLimit-Policy`: `"total-day";q=1000;w=86400`.
    #[must_use]
    pub fn policy_item(&self) -> &str {
        &self.policy_item
    }

    fn new(kind: &str, identity: &str, name: &str, rule: Rule, parameters: &str) -> Result<Self, LimitFault> {
        let printable = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(printable) {
            return Err(LimitFault::Name);
        }
        Ok(Self {
            id: subject::identity(kind, identity),
            name: name.to_owned(),
            rule,
            policy_item: format!("\"{name}\";{parameters}"),
            standing_prefix: format!("\"{name}\";r="),
        })
    }

    fn terms(&self, moment: Moment) -> Terms {
        match &self.rule {
            Rule::Rate { bucket, .. } => Terms::Rate(*bucket),
            Rule::Quota(quota) => Terms::Quota { count: quota.count(), end: quota.window_end(moment.wall) },
            Rule::Concurrency { max } => Terms::Concurrency { max: *max },
        }
    }

    fn is_concurrency(&self) -> bool {
        matches!(self.rule, Rule::Concurrency { .. })
    }
}

impl Terms {
    /// Weighs `cost` against a counter. One of another kind, which only a collision of hashes could bring here, counts
    /// as fresh.
    fn weigh(self, state: State, cost: u32, moment: Moment) -> Outcome {
        match self {
            Self::Rate(bucket) => {
                let debt = if let State::Rate(debt) = state { debt } else { rate::Debt::default() };
                bucket.take(debt, u64::from(cost), moment.monotonic)
            }
            Self::Quota { count, end } => {
                let spent = if let State::Quota(spent) = state { Some(spent) } else { None };
                window::take(count, end, spent, u64::from(cost), moment)
            }
            Self::Concurrency { max } => {
                let (in_flight, beside) =
                    if let State::Concurrency { in_flight, beside } = state { (in_flight, beside) } else { (0, 0) };
                enter(in_flight, beside, max)
            }
        }
    }

    /// A counter that was written at other numbers, as it is at these.
    fn carried(self, state: State, moment: Moment) -> State {
        match (self, state) {
            (Self::Rate(bucket), State::Rate(debt)) => State::Rate(bucket.carried(debt, moment.monotonic)),
            _ => state,
        }
    }

    /// How a counter stands when nothing is taken from it.
    fn untouched(self, state: State, moment: Moment) -> Outcome {
        let outcome = self.weigh(state, 0, moment);
        // A place in flight is one at any cost, so the weighing took it.
        let taken = u64::from(self.is_place() && outcome.refusal.is_none());
        Outcome { state, remaining: outcome.remaining + taken, ..outcome }
    }

    fn is_place(self) -> bool {
        matches!(self, Self::Concurrency { .. })
    }
}

fn machine_clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Since the machine started: neither is negative, and the sum fits for centuries.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// One more request in flight. When a place becomes free is not known, so a refusal says one second.
fn enter(in_flight: u32, beside: u32, max: u32) -> Outcome {
    let free = max.saturating_sub(in_flight).saturating_sub(beside);
    let (in_flight, left, refusal) =
        if free == 0 { (in_flight, 0, Some(1)) } else { (in_flight.saturating_add(1), free - 1, None) };
    let state = State::Concurrency { in_flight, beside };
    Outcome { state, remaining: u64::from(left), reset_seconds: 0, refusal }
}

fn checked(count: u64) -> Result<u64, LimitFault> {
    match count {
        0 => Err(LimitFault::Zero),
        1..=MAX_COUNT => Ok(count),
        _ => Err(LimitFault::TooLarge),
    }
}
