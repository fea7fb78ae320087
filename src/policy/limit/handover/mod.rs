//! Counters that move to another process while requests are decided.
//!
//! The process that leaves hands over one shard after the other: under the lock of the shard it copies the counters and
//! leaves a [`Line`] in their place. A decision that meets a line decides nothing; it becomes a [`Demand`] for each
//! claim, which the other process weighs with the numbers it carries, since the limit may not exist there. So no request
//! falls between copy and handover, and nothing is looked at that was not looked at before.
//!
//! What the other process grants is charged here too ([`Limiter::mirror`]). So whenever the other process is gone, the
//! counters can be taken back ([`Limiter::take_back`]) and hold all that this one knows of: nothing is lost but what
//! only the other one has admitted. Quotas that are saved are noted in the journal of the process whose request it is.
//!
//! Places in flight stay with the request. The other process counts them as taken ([`Predecessor`]) until it is told
//! that one was left, or until the line ends.
//!
//! Approximations: the two ends of a debt are as far apart as two readings of one clock (less than a microsecond). An
//! answer that comes too late, or that nobody waits for any longer, has been charged nevertheless.
//!
//! How all of it travels is in [`wire`]; over what, and when, is not decided here (`server::upgrade`).

mod predecessor;
pub mod wire;

use std::sync::mpsc::Sender;

use smallvec::SmallVec;

use super::limiter::{Granted, Permit, Refused, Standing, Standings, Verdict};
use super::subject::{scatter_by, scatter_keys, scatter_proof};
use super::table::{Key, Moment, State};
use super::{Claim, Limiter, Outcome, Rule, Terms};

pub use predecessor::Predecessor;

/// What goes over a line; another one is not understood.
pub const FORMAT: u32 = 1;

/// Claims of one request, in numbers.
pub type Demands = Vec<Demand>;

/// A claim in numbers, to be weighed by a process that need not know its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    pub(super) shard: u32,
    pub(super) key: Key,
    pub(super) cost: u32,
    pub(super) terms: Terms,
    /// Where the window of a quota that begins when this one ends has its own end.
    pub(super) next_end: i64,
}

/// What the other process decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// How each limit stands, in the order of the demands.
    pub(super) told: SmallVec<[Told; 4]>,
    /// Zero when all passed.
    pub(super) retry_after_seconds: u32,
}

/// How one limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) remaining: u64,
    pub(super) reset_seconds: u32,
    pub(super) verdict: Verdict,
}

/// Says what a shard has to say to the process that decides for it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Tells it from every other line of this process.
    number: u64,
    out: Sender<Saying>,
}

/// What the process that leaves says once its counters are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    /// It asks for a decision.
    Question {
        /// Its number on this line.
        id: u64,
        /// On what.
        demands: Demands,
    },
    /// A request no longer holds a place in flight.
    Left(Left),
}

/// Which place in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// One that was taken before the handover.
    Copied(Place),
    /// All those of a question.
    Granted {
        /// Its number.
        question: u64,
    },
}

/// A counter's place, the same in both processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub(super) shard: u32,
    pub(super) overflow: bool,
    pub(super) key: Key,
}

/// Whose request it is: each process saves what its own requests use of quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One of this process.
    Own,
    /// One that the process before asked about.
    Predecessors,
}

/// A question that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub(super) line: u64,
    pub(super) question: u64,
}

/// The counters of one shard. Instants are those of the machine's clock, not of a process's.
///
/// Invariant: there is such a shard. So it is for a [`Demand`] and a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub(super) shard: u32,
    pub(super) entries: Vec<Entry>,
}

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) overflow: bool,
    pub(super) key: Key,
    pub(super) state: State,
}

/// How counters are laid out in memory: only processes that agree on it can hand them over.
#[must_use]
pub fn layout() -> u64 {
    scatter_proof().wrapping_mul(31).wrapping_add(u64::from(Limiter::shards()))
}

/// The keys by which counters are laid out.
#[must_use]
pub fn keys() -> [u64; 4] {
    scatter_keys()
}

/// Lays counters out by the keys of another process; `false` when it is too late for that.
#[must_use]
pub fn lay_out_by(keys: [u64; 4]) -> bool {
    scatter_by(keys)
}

impl Page {
    /// How many counters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Line {
    /// A line whose other end reads from this channel.
    #[must_use]
    pub fn new(number: u64, out: Sender<Saying>) -> Self {
        Self { number, out }
    }

    /// A question on it.
    #[must_use]
    pub fn asked(&self, question: u64) -> Asked {
        Asked { line: self.number, question }
    }

    /// Says something. `false`: nobody reads any longer, which whoever waits for answers learns in another way.
    pub fn say(&self, saying: Saying) -> bool {
        self.out.send(saying).is_ok()
    }

    /// Says that a request is over that held a place.
    pub(super) fn left(&self, place: Place, asked: Option<Asked>) {
        self.say(Saying::Left(match asked {
            Some(Asked { line, question }) if line == self.number => Left::Granted { question },
            // A question on an earlier line: in the copy that went over this one, its places are like all others.
            Some(_) | None => Left::Copied(place),
        }));
    }
}

impl Claim<'_> {
    /// This claim as numbers, by the clock of windows.
    #[must_use]
    pub(super) fn demand(&self, moment: Moment) -> Demand {
        let terms = self.limit.terms(moment);
        let next_end = match (&self.limit.rule, terms) {
            (Rule::Quota(quota), Terms::Quota { end, .. }) => quota.window_end(end),
            _ => 0,
        };
        let (shard, key) = super::limiter::counter_of(self);
        // There are few shards.
        Demand { shard: u32::try_from(shard).unwrap_or(u32::MAX), key, cost: self.cost, terms, next_end }
    }
}

impl Demand {
    /// What it is weighed by now.
    pub(super) fn terms(&self, moment: Moment) -> Terms {
        match self.terms {
            Terms::Quota { count, end } if end <= moment.wall => Terms::Quota { count, end: self.next_end },
            terms => terms,
        }
    }
}

impl Told {
    pub(super) fn new(outcome: Outcome) -> Self {
        let verdict = if outcome.refusal.is_some() { Verdict::Refused } else { Verdict::Passed };
        Self { remaining: outcome.remaining, reset_seconds: outcome.reset_seconds, verdict }
    }
}

impl Answer {
    /// Whether every limit passed.
    #[must_use]
    pub fn is_grant(&self) -> bool {
        self.retry_after_seconds == 0
    }

    /// What clients are told of it. `None` when it is no answer to these claims.
    #[must_use]
    pub fn decided<'a>(&self, claims: &[Claim<'a>], permit: Permit) -> Option<Result<Granted<'a>, Refused<'a>>> {
        if claims.len() != self.told.len() {
            return None;
        }
        let standing = |(claim, told): (&Claim<'a>, &Told)| Standing {
            limit: claim.limit,
            remaining: told.remaining,
            reset_seconds: told.reset_seconds,
            verdict: told.verdict,
        };
        let standings: Standings<'a> = claims.iter().zip(&self.told).map(standing).collect();
        Some(match self.retry_after_seconds {
            0 => Ok(Granted { standings, permit }),
            retry_after_seconds => Err(Refused { standings, retry_after_seconds }),
        })
    }
}
