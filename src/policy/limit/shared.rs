//! Limits whose counters another machine keeps, for many gateways together.
//!
//! A claim becomes numbers ([`Claim::asked`]) with which the keeper can decide alone, and what it found becomes the same
//! standings that a [`Limiter`](super::Limiter) gives ([`decided`]). The keeper computes with doubles: no number here is
//! above 2⁵³, so it computes exactly. It weighs by its own clock; the window of a quota is computed here, because only
//! the gateway knows the calendar, and the keeper says when it is not the one that runs by its clock.
//!
//! Not here: how the keeper is reached, and what holds when it is not (`store::shared`, `proxy`).

use super::limiter::{Claim, Granted, Permit, Refused, Standing, Standings, Verdict};
use super::rate::EXACT;
use super::table::State;
use super::window::Spent;
use super::{Limit, Outcome, Rule, window};

/// What names a counter on every node: the limit, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counter(pub [u64; 3]);

/// A claim in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which counter.
    pub counter: Counter,
    /// What it counts.
    pub measure: Measure,
    /// How many requests this one counts for; of places in flight it is always one.
    pub cost: u64,
}

/// What a counter counts, and how much it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A bucket.
    Rate {
        /// Units of one request.
        one: u64,
        /// Units of a whole burst.
        capacity: u64,
        /// Units that drain in a microsecond.
        drain: u64,
    },
    /// A calendar window.
    Quota {
        /// How many.
        count: u64,
        /// Its first second.
        start: i64,
        /// The first second after it.
        end: i64,
    },
    /// Requests in flight.
    Concurrency {
        /// How many.
        max: u32,
    },
}

/// How a counter stood when it was asked, by the keeper's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A bucket owed so many units.
    Rate {
        /// In units of the measure.
        owed: u64,
    },
    /// So much was used.
    Quota {
        /// The first second after the window.
        until: i64,
        /// How much.
        used: u64,
    },
    /// So many requests were in flight.
    Concurrency {
        /// How many.
        in_flight: u64,
    },
}

impl Claim<'_> {
    /// Whether a request that passes holds something until it is over.
    #[must_use]
    pub fn holds_place(&self) -> bool {
        self.limit.is_concurrency()
    }

    /// The claim in numbers; `unix` is the keeper's clock, as far as it is known.
    #[must_use]
    pub fn asked(&self, unix: i64) -> Asked {
        let measure = match &self.limit.rule {
            Rule::Rate { shared, .. } => {
                Measure::Rate { one: shared.one, capacity: shared.capacity, drain: shared.drain }
            }
            Rule::Quota(quota) => {
                let window = quota.window(unix);
                Measure::Quota { count: quota.count(), start: window.start, end: window.end }
            }
            Rule::Concurrency { max } => Measure::Concurrency { max: *max },
        };
        let cost = if self.limit.is_concurrency() { 1 } else { u64::from(self.cost) };
        Asked { counter: Counter([self.limit.id, self.subject.low, self.subject.high]), measure, cost }
    }
}

/// What clients are told of a decision that the keeper made. `unix` is its clock. `None` when what was found does not
/// fit the claims, which no keeper that works says.
///
/// A granted request holds no permit: its places in flight are the keeper's.
#[must_use]
pub fn decided<'a>(
    claims: &[Claim<'a>],
    found: &[Found],
    verdict: Verdict,
    unix: i64,
) -> Option<Result<Granted<'a>, Refused<'a>>> {
    if claims.len() != found.len() {
        return None;
    }
    let mut standings = Standings::new();
    let mut retry_after_seconds = 0;
    for (claim, found) in claims.iter().zip(found) {
        let outcome = claim.limit.weigh_found(*found, claim.cost, unix)?;
        retry_after_seconds = retry_after_seconds.max(outcome.refusal.unwrap_or(0));
        standings.push(Standing::new(claim.limit, outcome));
    }
    match verdict {
        Verdict::Passed if retry_after_seconds == 0 => Some(Ok(Granted { standings, permit: Permit::default() })),
        Verdict::Refused if retry_after_seconds > 0 => {
            for ((standing, found), claim) in standings.iter_mut().zip(found).zip(claims) {
                // What this limit passed is not spent after all, because another one refused.
                if standing.verdict == Verdict::Passed {
                    let untouched = claim.limit.weigh_found(*found, 0, unix)?;
                    (standing.remaining, standing.reset_seconds) = (untouched.remaining, untouched.reset_seconds);
                }
            }
            Some(Err(Refused { standings, retry_after_seconds }))
        }
        Verdict::Passed | Verdict::Refused => None,
    }
}

impl Limit {
    /// Weighs `cost` against a counter as it was found; 0 is how it stands when nothing is taken.
    fn weigh_found(&self, found: Found, cost: u32, unix: i64) -> Option<Outcome> {
        match (&self.rule, found) {
            (Rule::Rate { shared, .. }, Found::Rate { owed }) => {
                Some(shared.outcome(State::Fresh, shared.weigh(owed.min(shared.capacity), u64::from(cost))))
            }
            (Rule::Quota(quota), Found::Quota { until, used }) => {
                Some(window::weigh(quota.count(), Spent { until, used }, u64::from(cost), unix))
            }
            (Rule::Concurrency { max }, Found::Concurrency { in_flight }) => {
                let free = u64::from(*max).saturating_sub(in_flight);
                let taken = u64::from(cost > 0);
                let refusal = (free < taken).then_some(1);
                Some(Outcome { state: State::Fresh, remaining: free.saturating_sub(taken), reset_seconds: 0, refusal })
            }
            (Rule::Rate { .. } | Rule::Quota(_) | Rule::Concurrency { .. }, _) => None,
        }
    }
}

/// A number as the keeper takes it: what is above its largest exact one is refused in any case.
#[must_use]
pub fn exact(number: u64) -> u64 {
    number.min(EXACT)
}
