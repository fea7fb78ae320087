//! The limiter of a process that hands its counters over, and of one that gets them (see `handover`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use thiserror::Error;

use super::super::handover::{Answer, Asked, Demand, Demands, Entry, Line, Page, Place, Told, Whose};
use super::super::rate::Debt;
use super::super::shard;
use super::super::table::{Key, Moment, State};
use super::super::{Claim, Now, Terms, window};
use super::{Charge, Held, Limiter, Permit, Verdict};

/// The counters are another process's now, which has to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the counters were handed over to another process")]
pub struct Moved;

impl Limiter {
    /// How many shards there are to be handed over.
    #[must_use]
    pub const fn shards() -> u32 {
        2 * Self::SHARDS as u32
    }

    /// Copies the counters of a shard; whoever needs them from now on finds the line. `epoch` is where the clock of this
    /// process begins.
    #[must_use]
    pub fn hand_over(&self, shard: u32, line: &Line, epoch: u64, now: Now) -> Page {
        let moment = self.moment(now);
        let mut entries = self.shards[shard as usize].0.lock().hand_over(line.clone(), moment);
        for Entry { state, .. } in &mut entries {
            if let State::Rate(debt) = state {
                debt.until = debt.until.saturating_add(epoch);
            }
        }
        Page { shard, entries }
    }

    /// Decides here again, by the counters as they are.
    pub fn take_back(&self) {
        for shard in &self.shards {
            shard.0.lock().take_back();
        }
    }

    /// Claims in numbers, for the process that decides.
    #[must_use]
    pub fn demands(&self, claims: &[Claim<'_>], now: Now) -> Demands {
        let moment = self.moment(now);
        claims.iter().map(|claim| claim.demand(moment)).collect()
    }

    /// Charges what the other process has granted, so that nothing is missing when the counters are taken back. The
    /// permit gives places back in both.
    pub fn mirror(self: &Arc<Self>, demands: &[Demand], whose: Whose, asked: Asked, now: Now) -> Permit {
        let moment = self.moment(now);
        let mut locked = self.lock(demands);
        let granted: Demands = demands.iter().map(Demand::granted).collect();
        let (steps, _) = locked.weigh(&granted, moment, |_, _| {});
        locked.commit(&steps, moment);
        match whose {
            Whose::Own => locked.note(&granted, &steps, moment),
            Whose::Predecessors => {}
        }
        drop(locked);
        self.permit(&steps, Some(asked))
    }

    /// Decides on claims of another process.
    ///
    /// # Errors
    /// When the counters have moved on.
    pub(in super::super) fn answer(self: &Arc<Self>, demands: &[Demand], now: Now) -> Result<(Answer, Permit), Moved> {
        let moment = self.moment(now);
        let mut locked = self.lock(demands);
        if locked.is_moved() {
            return Err(Moved);
        }
        let mut told: SmallVec<[Told; 4]> = SmallVec::new();
        let (steps, retry_after_seconds) = locked.weigh(demands, moment, |_, outcome| told.push(Told::new(outcome)));
        if retry_after_seconds > 0 {
            for ((demand, step), told) in demands.iter().zip(&steps).zip(&mut told) {
                if told.verdict == Verdict::Passed {
                    *told = Told::new(demand.terms(moment).untouched(step.before, moment));
                }
            }
            return Ok((Answer { told, retry_after_seconds }, Permit::default()));
        }
        // Noted by the process whose request it is.
        locked.commit(&steps, moment);
        drop(locked);
        Ok((Answer { told, retry_after_seconds }, self.permit(&steps, None)))
    }

    /// Goes on from a copy.
    pub(in super::super) fn restore(&self, page: &Page, epoch: u64, now: Now) {
        let moment = self.moment(now);
        let mut shard = self.shards[page.shard as usize].0.lock();
        for entry in &page.entries {
            shard.restore(&Entry { state: here(entry.state, epoch, moment), ..*entry }, moment);
        }
    }

    /// How far the wall clock had come in the process before: windows never go back.
    pub fn advance(&self, wall: i64) {
        self.wall.fetch_max(wall.clamp(0, window::LAST_SECOND), Ordering::Relaxed);
    }

    /// One place in flight, to be given back when it is dropped.
    pub(in super::super) fn permit_of(self: &Arc<Self>, Place { shard, overflow, key }: Place) -> Permit {
        let place = if overflow { shard::Place::Overflow } else { shard::Place::Own(None) };
        let held = Held { shard: shard as usize, place, key };
        Permit { held: SmallVec::from_buf([held]), limiter: Some(Arc::clone(self)), asked: None }
    }
}

/// A counter of the process before by the clock of this one; nothing where it is over.
fn here(state: State, epoch: u64, moment: Moment) -> State {
    let state = match state {
        State::Rate(debt) => match debt.until.checked_sub(epoch) {
            Some(until) => State::Rate(Debt { until, ..debt }),
            None => State::Fresh,
        },
        other => other,
    };
    if state.is_fresh(moment) { State::Fresh } else { state }
}

impl Charge for Demand {
    fn shard(&self) -> usize {
        self.shard as usize
    }

    fn key(&self) -> Key {
        self.key
    }

    fn cost(&self) -> u32 {
        self.cost
    }

    fn terms(&self, moment: Moment) -> Terms {
        self.terms(moment)
    }
}

impl Demand {
    /// The same as it passes here, too: a place in flight that was granted is taken.
    fn granted(&self) -> Self {
        let terms = if self.terms.is_place() { Terms::Concurrency { max: u32::MAX } } else { self.terms };
        Self { terms, ..*self }
    }
}
