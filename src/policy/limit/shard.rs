//! One shard: its own entries up to a capacity, and the overflow entries that take the rest.
//!
//! Decides which counter a claim is weighed on, and keeps the promise that nobody is admitted beyond a limit by changing
//! between the shared entry and one of its own. For a rate or quota the own entry begins as a copy of the shared one, which
//! owes at least what this subject does. Places in flight are given back where they were taken, so there the own entry
//! remembers how many of the shared ones may be this subject's and counts them as taken until they are free.

use super::handover::{Entry, Line};
use super::journal::{Journal, Page};
use super::table::{Key, Moment, State, Table};
use super::window::Spent;

/// Slots looked at before each new entry: more than come in, so what is over disappears.
const SWEEP: usize = 8;

/// Slots looked at for each new subject while the shard is full.
const SWEEP_WHEN_FULL: usize = 64;

/// Counters of the subjects that hash here.
#[derive(Debug)]
pub(super) struct Shard {
    own: Table,
    overflow: Table,
    capacity: usize,
    overflow_hits: u64,
    /// What quotas used, where somebody saves it. Boxed: it is small beside what it holds, and mostly not there.
    journal: Option<Box<Journal>>,
    /// To the process that decides instead of this one, once the counters were handed over.
    line: Option<Line>,
}

/// Where a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An entry of the subject itself; where it was seen, if it exists.
    Own(Option<usize>),
    /// The entry that subjects without room share.
    Overflow,
}

/// One claim within a decision: a counter and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) shard: usize,
    pub(super) key: Key,
    pub(super) place: Place,
    /// The counter before.
    pub(super) before: State,
    /// What is to be written.
    pub(super) after: State,
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            own: Table::default(),
            overflow: Table::default(),
            capacity,
            overflow_hits: 0,
            journal: None,
            line: None,
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.own.len()
    }

    pub(super) fn overflow_entries(&self) -> usize {
        self.overflow.len()
    }

    pub(super) fn overflow_hits(&self) -> u64 {
        self.overflow_hits
    }

    pub(super) fn bytes(&self) -> usize {
        self.own.bytes() + self.overflow.bytes()
    }

    /// The most that [`Self::bytes`] ever is with so many limits.
    pub(super) fn max_bytes(&self, limits: usize) -> usize {
        Table::max_bytes(self.capacity) + Table::max_bytes(limits)
    }

    /// The counter of `key` as it is now, or as earlier steps of the same decision will leave it.
    pub(super) fn locate(&mut self, shard: usize, key: Key, earlier: &[Step], moment: Moment) -> Step {
        if let Some(at) = self.own.find(&key) {
            let state =
                planned(earlier, shard, &key).unwrap_or_else(|| self.without_returned(&key, self.own.state(at)));
            return Step { shard, key, place: Place::Own(Some(at)), before: state, after: state };
        }
        if let Some(step) = earlier.iter().rfind(|step| step.shard == shard && step.key == key) {
            return Step { before: step.after, ..*step };
        }
        let shared = shared_key(&key);
        let state = planned(earlier, shard, &shared).unwrap_or_else(|| self.shared_state(&key, moment));
        if self.has_room(shard, earlier, moment) {
            let state = opening(state);
            return Step { shard, key, place: Place::Own(None), before: state, after: state };
        }
        self.overflow_hits += 1;
        Step { shard, key: shared, place: Place::Overflow, before: state, after: state }
    }

    /// Writes what a step decided.
    pub(super) fn commit(&mut self, step: &Step, moment: Moment) {
        let (table, seen_at) = match step.place {
            Place::Own(seen_at) => (&mut self.own, seen_at),
            Place::Overflow => (&mut self.overflow, None),
        };
        if seen_at.is_none() {
            table.sweep(SWEEP, moment);
        }
        table.store(seen_at, step.key, step.after);
    }

    /// Notes what a claim used, by its own key.
    pub(super) fn note(&mut self, key: impl FnOnce() -> Key, step: &Step, cost: u32, moment: Moment) {
        if let Some(journal) = &mut self.journal {
            journal.note(key(), step.after, cost, moment.wall);
        }
    }

    pub(super) fn keep_journal(&mut self) {
        self.journal.get_or_insert_with(|| Box::new(Journal::new(self.capacity)));
    }

    pub(super) fn unsaved(&self) -> usize {
        self.journal.as_ref().map_or(0, |journal| journal.len())
    }

    pub(super) fn take_journal(&mut self) -> Page {
        self.journal.as_mut().map(|journal| journal.take()).unwrap_or_default()
    }

    pub(super) fn put_back(&mut self, key: Key, used: Spent, wall: i64) {
        if let Some(journal) = &mut self.journal {
            journal.add(key, used, wall);
        }
    }

    /// Raises a counter to a stored total and what was used here since, or the shared one where there is no room.
    pub(super) fn merge(&mut self, key: Key, stored: Spent, moment: Moment) {
        let unsaved = self.journal.as_ref().map_or(0, |journal| journal.unsaved(&key, moment.wall));
        let total = Spent { used: stored.used.saturating_add(unsaved), ..stored };
        if let Some(at) = self.own.find(&key) {
            let state = raised(self.own.state(at), total, moment);
            return self.own.store(Some(at), key, state);
        }
        let shared = raised(self.shared_state(&key, moment), total, moment);
        if self.has_room(0, &[], moment) {
            self.own.sweep(SWEEP, moment);
            self.own.store(None, key, shared);
        } else {
            self.overflow.store(None, shared_key(&key), shared);
        }
    }

    /// Copies every counter that says something, and leaves the decisions to the other end of the line from now on.
    pub(super) fn hand_over(&mut self, line: Line, moment: Moment) -> Vec<Entry> {
        self.line = Some(line);
        let said =
            |(key, state): (Key, State), overflow| (!state.is_fresh(moment)).then_some(Entry { overflow, key, state });
        let own = self.own.entries().filter_map(|entry| said(entry, false));
        own.chain(self.overflow.entries().filter_map(|entry| said(entry, true))).collect()
    }

    /// Where decisions are made once the counters were handed over.
    pub(super) fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    pub(super) fn take_back(&mut self) {
        self.line = None;
    }

    /// Goes on from a counter of the process before. A quota may be here already, out of a store.
    pub(super) fn restore(&mut self, entry: &Entry, moment: Moment) {
        let table = if entry.overflow { &mut self.overflow } else { &mut self.own };
        let known = table.find(&entry.key).map_or(State::Fresh, |at| table.state(at));
        let state = if let State::Quota(total) = entry.state { raised(known, total, moment) } else { entry.state };
        table.store(None, entry.key, state);
    }

    /// Gives a place in flight back.
    pub(super) fn leave(&mut self, place: Place, key: &Key) {
        let table = if place == Place::Overflow { &mut self.overflow } else { &mut self.own };
        let Some(at) = table.find(key) else { return };
        if let State::Concurrency { in_flight, beside } = table.state(at) {
            table.store(Some(at), *key, State::Concurrency { in_flight: in_flight.saturating_sub(1), beside });
        }
    }

    pub(super) fn sweep_all(&mut self, moment: Moment) {
        for table in [&mut self.own, &mut self.overflow] {
            table.sweep(2 * table.slots(), moment);
        }
    }

    /// Whether a new entry fits, beside those that earlier steps will add.
    fn has_room(&mut self, shard: usize, earlier: &[Step], moment: Moment) -> bool {
        if self.own.len() + earlier.len() < self.capacity {
            return true;
        }
        self.own.sweep(SWEEP_WHEN_FULL, moment);
        let own = earlier.iter().filter(|step| step.shard == shard && step.place != Place::Overflow);
        let coming = own.filter(|step| self.own.find(&step.key).is_none()).count();
        self.own.len() + coming < self.capacity
    }

    fn shared_state(&self, key: &Key, moment: Moment) -> State {
        let at = self.overflow.find(&shared_key(key));
        at.map(|at| self.overflow.state(at)).filter(|state| !state.is_fresh(moment)).unwrap_or(State::Fresh)
    }

    /// An own counter of places in flight, less those of the shared entry that have been given back.
    fn without_returned(&self, key: &Key, state: State) -> State {
        let State::Concurrency { in_flight, beside: beside @ 1.. } = state else { return state };
        let shared = self.overflow.find(&shared_key(key)).map_or(State::Fresh, |at| self.overflow.state(at));
        let still = if let State::Concurrency { in_flight, .. } = shared { in_flight } else { 0 };
        State::Concurrency { in_flight, beside: beside.min(still) }
    }
}

/// The counter as the latest of the earlier steps will leave it.
fn planned(earlier: &[Step], shard: usize, key: &Key) -> Option<State> {
    earlier.iter().rfind(|step| step.shard == shard && step.key == *key).map(|step| step.after)
}

/// The key of the overflow entry; in a table of its own, so it meets no subject.
fn shared_key(key: &Key) -> Key {
    Key { limit: key.limit, low: 0, high: 0 }
}

/// A quota's counter, at least at this total. One of another kind, which only a collision of hashes could bring here,
/// stays as it is.
fn raised(state: State, total: Spent, moment: Moment) -> State {
    match state {
        State::Fresh => State::Quota(total),
        State::Quota(spent) => State::Quota(spent.at_least(total, moment.wall)),
        other => other,
    }
}

/// How a subject's own entry begins, given the shared one.
fn opening(shared: State) -> State {
    match shared {
        State::Concurrency { in_flight, .. } => State::Concurrency { in_flight: 0, beside: in_flight },
        other => other,
    }
}
