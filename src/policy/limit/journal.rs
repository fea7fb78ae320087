//! What the quotas of one shard have used since the last save.
//!
//! Filled under the lock of the shard, by the key of the claim itself, also where the claim was weighed on a shared
//! entry. Sums only: whoever saves adds them to what is stored, so that processes with one store never count a request
//! twice and never forget one of each other.
//!
//! Invariant: at most `capacity` keys. The use of further ones is not saved, but summed up in `dropped`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ahash::RandomState;

use super::table::{Key, State};
use super::window::Spent;

/// Sums by key, and what found no room.
#[derive(Debug)]
pub(super) struct Journal {
    used: HashMap<Key, Spent, RandomState>,
    capacity: usize,
    dropped: u64,
}

/// What a journal held.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) used: HashMap<Key, Spent, RandomState>,
    pub(super) dropped: u64,
}

impl Journal {
    pub(super) fn new(capacity: usize) -> Self {
        Self { used: HashMap::default(), capacity, dropped: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    /// Notes what a claim has just used of a counter, if that is a quota.
    pub(super) fn note(&mut self, key: Key, counter: State, cost: u32, wall: i64) {
        if let State::Quota(Spent { until, .. }) = counter
            && cost > 0
        {
            self.add(key, Spent { until, used: u64::from(cost) }, wall);
        }
    }

    /// Adds to the sum of a key.
    pub(super) fn add(&mut self, key: Key, more: Spent, wall: i64) {
        let has_room = self.used.len() < self.capacity;
        match self.used.entry(key) {
            Entry::Occupied(mut sum) => *sum.get_mut() = sum.get().plus(more, wall),
            Entry::Vacant(vacant) if has_room => _ = vacant.insert(more),
            Entry::Vacant(_) => self.dropped = self.dropped.saturating_add(more.used),
        }
    }

    /// What is not saved yet of this counter's running window.
    pub(super) fn unsaved(&self, key: &Key, wall: i64) -> u64 {
        self.used.get(key).filter(|sum| sum.until > wall).map_or(0, |sum| sum.used)
    }

    /// Everything, to be saved; the journal is empty then.
    pub(super) fn take(&mut self) -> Page {
        Page { used: std::mem::take(&mut self.used), dropped: std::mem::take(&mut self.dropped) }
    }
}
