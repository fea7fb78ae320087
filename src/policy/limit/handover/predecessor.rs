//! The process before, as the one that took its counters over sees it: what it holds, and what it asks.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use super::super::limiter::Moved;
use super::super::table::State;
use super::super::{Limiter, Now, Permit};
use super::{Answer, Demand, Entry, Left, Page, Place};

/// What the process before holds in the counters that were its own. Dropping it gives all of that back.
pub struct Predecessor {
    limiter: Arc<Limiter>,
    /// How many places in flight it had taken at each counter when it handed them over, less those it has left.
    copied: HashMap<Place, u32, RandomState>,
    /// Those of its questions that were granted.
    granted: HashMap<u64, Permit, RandomState>,
}

impl Predecessor {
    /// One that holds nothing yet.
    #[must_use]
    pub fn new(limiter: Arc<Limiter>) -> Self {
        Self { limiter, copied: HashMap::default(), granted: HashMap::default() }
    }

    /// Goes on from its counters. `epoch` is where the clock of this process begins.
    pub fn restore(&mut self, page: &Page, epoch: u64, now: Now) {
        self.limiter.restore(page, epoch, now);
        for Entry { overflow, key, state } in &page.entries {
            if let State::Concurrency { in_flight, .. } = state {
                let place = Place { shard: page.shard, overflow: *overflow, key: *key };
                self.copied.insert(place, *in_flight);
            }
        }
    }

    /// Decides for it.
    ///
    /// # Errors
    /// When the counters have moved on to yet another process, which then has to be asked.
    pub fn answer(&mut self, question: u64, demands: &[Demand], now: Now) -> Result<Answer, Moved> {
        let (answer, permit) = self.limiter.answer(demands, now)?;
        self.granted(question, permit);
        Ok(answer)
    }

    /// Keeps what was granted to one of its questions until it says that the request is over.
    pub fn granted(&mut self, question: u64, permit: Permit) {
        if permit.holds_any() {
            self.granted.insert(question, permit);
        }
    }

    /// One of its requests is over.
    pub fn left(&mut self, left: Left) {
        match left {
            Left::Granted { question } => drop(self.granted.remove(&question)),
            Left::Copied(place) => {
                if let Some(held) = self.copied.get_mut(&place).filter(|held| **held > 0) {
                    *held -= 1;
                    drop(self.limiter.permit_of(place));
                }
            }
        }
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        for (place, held) in self.copied.drain() {
            (0..held).for_each(|_| drop(self.limiter.permit_of(place)));
        }
    }
}
