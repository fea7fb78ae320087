//! Saves what quotas have used, and brings in what other processes on the same file have saved.
//!
//! Done by the thread that looks after the file, at each of its looks, never by a request. What a save adds is a
//! difference, so nothing is counted twice: a process that is killed loses what it admitted since its last save, that
//! is in the time between two looks and of the writing itself. While nothing can be written, counting goes on in
//! memory, and the next save that succeeds holds all of it. The fault is logged once.
//!
//! Writing costs about 10 µs for each counter that was used since the last save and one wait for the disk: 20,000 of
//! 100,000 counters took 0.2 s. A start reads all of them, which takes about 2 s for as many as the store can hold.
//!
//! A process knows of what others admitted after their next save and its own next look. So a quota of N that several
//! processes serve at once admits at most what all but one of them admit in that time beyond N.

use std::time::Duration;

use log::{error, info, warn};

use super::Open;
use crate::policy::limit::{Clock, Limiter};
use crate::proxy::State;
use crate::store::{Store, StoreError};

/// Keys of one transaction, so that other processes are not kept waiting.
const BATCH: usize = 20_000;

/// The quotas of the process, as far as the file is concerned.
#[derive(Default)]
pub struct Quotas {
    /// What was said of the last fault, until saving works again.
    fault: Option<String>,
}

impl Quotas {
    /// Saves what was used since the last time. Waits so long for another process that writes.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn save(&mut self, state: &State, open: &mut Open, patience: Duration) -> Result<(), StoreError> {
        match save_all(state, open, patience) {
            Ok(()) => {
                if self.fault.take().is_some() {
                    info!("quotas are saved again");
                }
                Ok(())
            }
            Err(fault) => {
                state.telemetry.quota_save_failures.inc();
                let text = fault.to_string();
                if self.fault.as_ref() != Some(&text) {
                    warn!("quotas cannot be saved: {text}; counting goes on in memory");
                }
                self.fault = Some(text);
                Err(fault)
            }
        }
    }
}

/// Says what a process that leaves now has not saved.
pub fn tell_of_unsaved(limiter: &Limiter) {
    match limiter.statistics().unsaved {
        0 => info!("quotas saved"),
        lost => error!("the latest use of {lost} quota counters was not saved and is lost"),
    }
}

/// Brings in what was saved after the revision that was read last; says which one is now.
pub fn bring_in(limiter: &Limiter, clock: &Clock, store: &Store, since: i64) -> Result<i64, StoreError> {
    let now = clock.now();
    store.totals_since(since, |total| limiter.merge(&total, now))
}

fn save_all(state: &State, open: &mut Open, patience: Duration) -> Result<(), StoreError> {
    let (limiter, clock) = (&*state.limiter, &state.clock);
    let mut from = Some(0);
    while let Some(shard) = from {
        let mut taken = limiter.take_unsaved(shard, BATCH);
        from = taken.next;
        state.telemetry.quota_dropped.inc_by(taken.dropped);
        if taken.tallies.is_empty() {
            continue;
        }
        // In the order of the table, neighbours are on the same page.
        taken.tallies.sort_unstable_by_key(|tally| [tally.limit, tally.low, tally.high].map(u64::cast_signed));
        let saved = open.store.save(&taken.tallies, patience, || limiter.wall(clock.now()));
        let saved = saved.inspect_err(|_| limiter.put_back(&taken.tallies, clock.now()))?;
        state.telemetry.quota_dropped.inc_by(saved.dropped);
        // If the save before was the last one seen, this process knows every total.
        let is_next = saved.revision == open.counters + 1;
        open.counters = if is_next { saved.revision } else { bring_in(limiter, clock, &open.store, open.counters)? };
    }
    Ok(())
}
