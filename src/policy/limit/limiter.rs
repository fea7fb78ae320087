//! The counters of the process and the one decision over all limits of a request.
//!
//! Counters are spread over shards by subject, so the limits of one consumer usually need one lock. [`Limiter::decide`]
//! locks the shards it needs in ascending order, weighs every claim, and writes all of them or none: a refused request
//! spends nothing, and of concurrent requests exactly as many pass as the limit says. Instants are read before the lock is
//! taken; threads that read theirs in another order differ by that skew and no more.
//!
//! Memory is bounded, for consumers and strangers apart ([`Limiter::CONSUMERS`], [`Limiter::STRANGERS`],
//! [`Limiter::max_bytes`]). An entry is dropped only when it says nothing. In a shard full of others a new subject gets no
//! entry; it shares one overflow entry per limit and shard with all such subjects, so it may be refused early but is never
//! admitted beyond its limit, and nobody else's counter is touched. Once there is room, an entry of its own begins with what
//! the overflow entry owes. Overflow entries come on top of the bound: at most shards times limits of the configuration.
//!
//! When the wall clock is set back by up to a day, windows stand still until it has caught up: none starts twice. After a
//! longer step back (the clock was far ahead by mistake) the used counts move into the window that is running then.
//!
//! The counters can be handed over to the next process (`moving`); from then on it decides.

mod moving;
mod saving;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::handover::{self, Asked};
use super::shard::{Place, Shard, Step};
use super::subject::scatter;
use super::table::{Key, Moment, State, Table};
use super::{Class, Limit, Now, Outcome, Subject, Terms, window};

pub use moving::Moved;
pub use saving::{Taken, Tally};

/// Claims of one request that need no allocation.
const USUAL_CLAIMS: usize = 4;

/// A wall clock that goes back by more than this was wrong before.
const TOLERATED_STEP_BACK: i64 = 86_400;

/// One limit that a request must pass.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// Whose counter.
    pub subject: Subject,
    /// How many requests this one counts for in a rate or quota; in concurrency it is always one.
    pub cost: u32,
}

/// Whether a limit passed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Passed,
    /// It refused.
    Refused,
}

/// How a limit stands after a decision.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// What is left of it; of a refused request nothing was spent.
    pub remaining: u64,
    /// Seconds, rounded up, until more is left: for a rate until one more request fits into the bucket (0: it is full),
    /// for a quota until the window ends, for concurrency 0, because nobody knows.
    pub reset_seconds: u32,
    /// What this limit said.
    pub verdict: Verdict,
}

/// The standings of one request, in the order of its claims.
pub type Standings<'a> = SmallVec<[Standing<'a>; USUAL_CLAIMS]>;

/// Every limit passed.
#[derive(Debug)]
#[must_use = "dropping the permit ends the request as far as concurrency is concerned"]
pub struct Granted<'a> {
    /// How each limit stands.
    pub standings: Standings<'a>,
    /// To be kept until the request is over.
    pub permit: Permit,
}

/// At least one limit refused; nothing was spent.
#[derive(Debug)]
pub struct Refused<'a> {
    /// How each limit stands.
    pub standings: Standings<'a>,
    /// In how many seconds the same request passes if nothing else happens: the longest wait among the limits that
    /// refused, rounded up, at least 1. For a cost beyond the capacity of a limit, when that limit is whole again.
    pub retry_after_seconds: u32,
}

/// The places in flight that a request holds; it gives them back when dropped. Empty when no concurrency limit took part.
#[derive(Debug, Default)]
pub struct Permit {
    held: SmallVec<[Held; 1]>,
    limiter: Option<Arc<Limiter>>,
    /// The question to another process that it was granted for.
    asked: Option<Asked>,
}

/// What was decided.
pub type Decided<'a> = Result<Granted<'a>, Refused<'a>>;

/// What is taken from one counter.
trait Charge {
    fn shard(&self) -> usize;
    fn key(&self) -> Key;
    fn cost(&self) -> u32;
    fn terms(&self, moment: Moment) -> Terms;
}

/// What becomes of the counters of one request.
type Steps = SmallVec<[Step; USUAL_CLAIMS]>;

/// What the counters look like from outside, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Entries of consumers.
    pub consumers: u64,
    /// Entries of strangers.
    pub strangers: u64,
    /// Entries shared by subjects that found their shard full.
    pub overflow_entries: u64,
    /// How often a claim was weighed on a shared entry since the start.
    pub overflow_hits: u64,
    /// Quota counters whose latest use is not saved yet.
    pub unsaved: u64,
}

/// All counters of the process, shared by its generations.
#[derive(Debug)]
pub struct Limiter {
    shards: Box<[Padded]>,
    /// The latest wall clock seen.
    wall: AtomicI64,
}

/// A shard alone on its cache lines (two of them: processors fetch pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

#[derive(Debug)]
struct Held {
    shard: usize,
    place: Place,
    key: Key,
}

/// The shards of one request, locked in ascending order.
struct Locked<'s>(SmallVec<[(usize, MutexGuard<'s, Shard>); USUAL_CLAIMS]>);

impl Limiter {
    /// The most entries of consumers.
    pub const CONSUMERS: usize = 1 << 20;
    /// The most entries of strangers.
    pub const STRANGERS: usize = 1 << 18;
    /// Shards of each class.
    const SHARDS: usize = 64;

    /// A limiter of the usual size.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_capacity(Self::CONSUMERS, Self::STRANGERS)
    }

    /// A limiter for at most so many entries, each rounded up to a multiple of the number of shards.
    #[must_use]
    pub fn with_capacity(consumers: usize, strangers: usize) -> Arc<Self> {
        let shards = |capacity: usize| {
            let each = capacity.div_ceil(Self::SHARDS).max(1);
            (0..Self::SHARDS).map(move |_| Padded(Mutex::new(Shard::new(each))))
        };
        Arc::new(Self { shards: shards(consumers).chain(shards(strangers)).collect(), wall: AtomicI64::new(0) })
    }

    /// The most bytes that the tables of a limiter of the usual size take, overflow entries aside: 120 MiB. While one
    /// shard's table doubles, its old half exists beside it (at most 0.75 MiB).
    #[must_use]
    pub const fn max_bytes() -> usize {
        Self::SHARDS
            * (Table::max_bytes(Self::CONSUMERS / Self::SHARDS) + Table::max_bytes(Self::STRANGERS / Self::SHARDS))
    }

    /// The most bytes that the tables of this limiter take with so many limits in the configuration, whose overflow
    /// entries are among them. One table that doubles aside, as in [`Self::max_bytes`]; so are overflow entries of
    /// limits that a reload took out, until they say nothing.
    #[must_use]
    pub fn bound(&self, limits: usize) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().max_bytes(limits)).sum()
    }

    /// Passes all claims or none.
    ///
    /// Claims whose limits share an identity and whose subjects are the same are weighed one after the other on the
    /// same counter.
    ///
    /// # Errors
    /// When one of the counters is another process's by now; then nothing was decided.
    pub fn decide<'a>(self: &Arc<Self>, claims: &[Claim<'a>], now: Now) -> Result<Decided<'a>, Moved> {
        let moment = self.moment(now);
        let mut locked = self.lock(claims);
        if locked.is_moved() {
            return Err(Moved);
        }
        let mut standings = Standings::new();
        let tell = |claim: &Claim<'a>, outcome| standings.push(Standing::new(claim.limit, outcome));
        let (steps, retry_after_seconds) = locked.weigh(claims, moment, tell);
        if retry_after_seconds > 0 {
            for (standing, step) in standings.iter_mut().zip(&steps) {
                standing.forget(step.before, moment);
            }
            return Ok(Err(Refused { standings, retry_after_seconds }));
        }
        locked.commit(&steps, moment);
        locked.note(claims, &steps, moment);
        drop(locked);
        Ok(Ok(Granted { standings, permit: self.permit(&steps, None) }))
    }

    /// Drops every entry that says nothing and gives its memory back, one shard at a time. Decisions do this bit by
    /// bit; a quiet process needs a call now and then.
    pub fn sweep(&self, now: Now) {
        let moment = self.moment(now);
        for shard in &self.shards {
            shard.0.lock().sweep_all(moment);
        }
    }

    /// Counts what there is, one shard at a time.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        for (number, shard) in self.shards.iter().enumerate() {
            let shard = shard.0.lock();
            let entries = if number < Self::SHARDS { &mut sum.consumers } else { &mut sum.strangers };
            *entries += shard.entries() as u64;
            sum.overflow_entries += shard.overflow_entries() as u64;
            sum.overflow_hits += shard.overflow_hits();
            sum.unsaved += shard.unsaved() as u64;
        }
        sum
    }

    /// Bytes that the tables take now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().bytes()).sum()
    }

    /// The present for windows never goes back, unless by so much that it was wrong before.
    fn moment(&self, now: Now) -> Moment {
        let unix = now.unix.clamp(0, window::LAST_SECOND);
        let seen = self.wall.load(Ordering::Relaxed);
        let wall = if unix > seen {
            self.wall.fetch_max(unix, Ordering::Relaxed).max(unix)
        } else if seen - unix <= TOLERATED_STEP_BACK {
            seen
        } else {
            // If another thread was faster, it saw the same clock.
            let _ = self.wall.compare_exchange(seen, unix, Ordering::Relaxed, Ordering::Relaxed);
            unix
        };
        Moment { monotonic: now.monotonic, unix, wall }
    }

    fn lock(&self, charges: &[impl Charge]) -> Locked<'_> {
        let mut numbers: SmallVec<[usize; USUAL_CLAIMS]> = charges.iter().map(Charge::shard).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Locked(numbers.into_iter().map(|number| (number, self.shards[number].0.lock())).collect())
    }

    fn permit(self: &Arc<Self>, steps: &[Step], asked: Option<Asked>) -> Permit {
        let in_flight = steps.iter().filter(|step| matches!(step.after, State::Concurrency { .. }));
        let held: SmallVec<[Held; 1]> =
            in_flight.map(|step| Held { shard: step.shard, place: step.place, key: step.key }).collect();
        // Counting references to the limiter would be a write all threads share: only who holds something does it.
        let limiter = if held.is_empty() { None } else { Some(Arc::clone(self)) };
        Permit { held, limiter, asked }
    }
}

impl<'a> Standing<'a> {
    pub(super) fn new(limit: &'a Limit, outcome: Outcome) -> Self {
        let verdict = if outcome.refusal.is_some() { Verdict::Refused } else { Verdict::Passed };
        Self { limit, remaining: outcome.remaining, reset_seconds: outcome.reset_seconds, verdict }
    }

    /// What this limit passed is not spent after all, because another one refused.
    fn forget(&mut self, before: State, moment: Moment) {
        if self.verdict == Verdict::Passed {
            let untouched = self.limit.terms(moment).untouched(before, moment);
            (self.remaining, self.reset_seconds) = (untouched.remaining, untouched.reset_seconds);
        }
    }
}

impl Refused<'_> {
    /// The names of all limits that refused.
    pub fn violated(&self) -> impl Iterator<Item = &str> {
        let refused = self.standings.iter().filter(|standing| standing.verdict == Verdict::Refused);
        refused.map(|standing| standing.limit.name())
    }
}

impl Permit {
    /// Whether there is a place to be given back.
    pub(super) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(limiter) = &self.limiter else { return };
        for held in &self.held {
            let mut shard = limiter.shards[held.shard].0.lock();
            shard.leave(held.place, &held.key);
            if let Some(line) = shard.line() {
                line.left(held.place(), self.asked);
            }
        }
    }
}

impl Held {
    /// As another process knows it.
    fn place(&self) -> handover::Place {
        // There are few shards.
        let shard = u32::try_from(self.shard).unwrap_or(u32::MAX);
        handover::Place { shard, overflow: self.place == Place::Overflow, key: self.key }
    }
}

impl Charge for Claim<'_> {
    fn shard(&self) -> usize {
        shard_number(&self.subject)
    }

    fn key(&self) -> Key {
        Key { limit: self.limit.id, low: self.subject.low, high: self.subject.high }
    }

    fn cost(&self) -> u32 {
        self.cost
    }

    fn terms(&self, moment: Moment) -> Terms {
        self.limit.terms(moment)
    }
}

impl Locked<'_> {
    /// Whether one of them was handed over.
    fn is_moved(&self) -> bool {
        self.0.iter().any(|(_, shard)| shard.line().is_some())
    }

    /// What becomes of the counters, and the longest wait; zero when all pass. Nothing is spent.
    fn weigh<C: Charge>(&mut self, charges: &[C], moment: Moment, mut tell: impl FnMut(&C, Outcome)) -> (Steps, u32) {
        let (mut steps, mut retry_after_seconds) = (Steps::new(), 0);
        for charge in charges {
            let number = charge.shard();
            let terms = charge.terms(moment);
            let mut step = self.shard(number).locate(number, charge.key(), &steps, moment);
            let carried = terms.carried(step.before, moment);
            if carried != step.before {
                // Also where the request is refused: from now on the debt drains at these numbers.
                (step.before, step.after) = (carried, carried);
                self.shard(number).commit(&step, moment);
            }
            let outcome = terms.weigh(step.before, charge.cost(), moment);
            retry_after_seconds = retry_after_seconds.max(outcome.refusal.unwrap_or(0));
            steps.push(Step { after: outcome.state, ..step });
            tell(charge, outcome);
        }
        (steps, retry_after_seconds)
    }

    /// Writes that.
    fn commit(&mut self, steps: &[Step], moment: Moment) {
        steps.iter().for_each(|step| self.shard(step.shard).commit(step, moment));
    }

    /// Notes what quotas used, to be saved.
    fn note(&mut self, charges: &[impl Charge], steps: &[Step], moment: Moment) {
        for (charge, step) in charges.iter().zip(steps) {
            self.shard(step.shard).note(|| charge.key(), step, charge.cost(), moment);
        }
    }

    fn shard(&mut self, number: usize) -> &mut Shard {
        let at = self.0.iter().position(|(locked, _)| *locked == number);
        &mut self.0[at.expect("the shards of all claims were locked")].1
    }
}

/// Where the counter of a claim is.
pub(super) fn counter_of(claim: &Claim<'_>) -> (usize, Key) {
    (claim.shard(), claim.key())
}

/// Consumers first, then strangers.
pub(super) fn shard_number(subject: &Subject) -> usize {
    let within = (scatter(subject.low, subject.high) >> (u64::BITS - Limiter::SHARDS.ilog2())) as usize;
    match subject.class {
        Class::Consumer => within,
        Class::Stranger => Limiter::SHARDS + within,
    }
}
