//! Names by which stored replies are made obsolete all at once, whoever and wherever they are.
//!
//! A reply holds its marks, and looks at each of them before it is used: no lock, and nothing to look up. A name is
//! known here only while some reply has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use ahash::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// One name, until what has it is made obsolete.
#[derive(Debug, Default)]
pub struct Mark(AtomicBool);

/// All names.
#[derive(Debug)]
pub struct Marks {
    /// Two names with one hash are made obsolete together, which costs a question to the service and no more.
    shards: Box<[Mutex<Shard>]>,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    known: HashMap<u64, Weak<Mark>, RandomState>,
    /// How many are known when those that nobody has are forgotten.
    full: usize,
}

impl Mark {
    /// Whether what has it may be used.
    pub fn is_good(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hash: RandomState::new() }
    }
}

impl Marks {
    /// The mark with this name, for something new.
    pub fn of(&self, name: &[u8]) -> Arc<Mark> {
        let (hash, mut shard) = self.shard(name);
        if let Some(mark) = shard.known.get(&hash).and_then(Weak::upgrade) {
            return mark;
        }
        if shard.known.len() >= shard.full {
            shard.known.retain(|_, mark| mark.strong_count() > 0);
            shard.full = (2 * shard.known.len()).max(64);
        }
        let mark = Arc::default();
        shard.known.insert(hash, Arc::downgrade(&mark));
        mark
    }

    /// Makes everything obsolete that has this name now. Whether there is anything.
    pub fn end(&self, name: &[u8]) -> bool {
        let (hash, mut shard) = self.shard(name);
        match shard.known.remove(&hash).and_then(|mark| mark.upgrade()) {
            Some(mark) => {
                mark.0.store(true, Ordering::Release);
                true
            }
            None => false,
        }
    }

    fn shard(&self, name: &[u8]) -> (u64, parking_lot::MutexGuard<'_, Shard>) {
        let hash = self.hash.hash_one(name);
        (hash, self.shards[hash as usize % SHARDS].lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_name_ends_with_it_and_what_comes_later_does_not() {
        let marks = Marks::default();
        let (one, same, other) = (marks.of(b"/a"), marks.of(b"/a"), marks.of(b"/b"));
        assert!(marks.end(b"/a"));
        assert!(!marks.end(b"/a"));
        let later = marks.of(b"/a");
        assert_eq!([&one, &same, &other, &later].map(|mark| mark.is_good()), [false, false, true, true]);
    }

    #[test]
    fn names_that_nothing_has_are_forgotten() {
        let marks = Marks::default();
        for number in 0..100_000_u32 {
            marks.of(&number.to_ne_bytes());
        }
        let known: usize = marks.shards.iter().map(|shard| shard.lock().known.len()).sum();
        assert!(known <= SHARDS * 64, "{known}");
    }
}
