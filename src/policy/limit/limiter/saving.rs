//! Quotas beyond the process: what they used is handed out to be saved, and what is stored is merged in.
//!
//! Nothing of this is done, and nothing noted, unless [`Limiter::keep_journals`] was called. Then whoever saves takes the
//! use since the last time ([`Limiter::take_unsaved`]), adds it to the stored totals, gives back what could not be saved
//! ([`Limiter::put_back`]), and merges totals that others changed ([`Limiter::merge`]). That is for one thread: between
//! taking and putting back, a merge would not know of what is on the way.
//!
//! A counter in memory never shrinks by merging: it becomes what is stored and what was used since the last save, or
//! stays as it is where that is more. Where the shard is full, the shared entry is raised instead, so that nobody is
//! admitted beyond a limit.
//!
//! Where the counters are handed over to another process on the same store, each process saves what its own requests
//! use, whoever decided on them; so nothing is stored twice. What was handed over and what is stored overlap: the counter
//! is the larger of both, as in any merge, and becomes exact with the next save of the process before.
//!
//! How far the wall clock had come is not stored. Where it was set back and the process starts anew, a window that had
//! begun too early counts as the one that runs, and begins again at its time.
//!
//! Bound: a journal holds as many keys as its shard has entries, so all of them together at most
//! [`Limiter::CONSUMERS`] and [`Limiter::STRANGERS`], 103 MiB; they come near it only when a million callers use quotas
//! within one save, or while nothing can be saved.

use super::super::journal::Page;
use super::super::subject::{Class, Subject};
use super::super::table::Key;
use super::super::window::Spent;
use super::{Limiter, Now, shard_number};

/// What was used of one quota by one subject in one window: since the last save, or altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Whose counters it is kept with.
    pub class: Class,
    /// Which limit.
    pub limit: u64,
    /// First half of the subject.
    pub low: u64,
    /// Second half of the subject.
    pub high: u64,
    /// End of the window, in Unix seconds.
    pub until: i64,
    /// How much.
    pub used: u64,
}

/// What is to be saved.
#[derive(Debug, Default)]
pub struct Taken {
    /// Sums since the last save, no two of the same key.
    pub tallies: Vec<Tally>,
    /// Use that no save will hold, because a journal was full.
    pub dropped: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<usize>,
}

impl Limiter {
    /// Notes from now on what quotas use.
    pub fn keep_journals(&self) {
        for shard in &self.shards {
            shard.0.lock().keep_journal();
        }
    }

    /// The wall clock as windows see it, for whoever compares ends of windows.
    #[must_use]
    pub fn wall(&self, now: Now) -> i64 {
        self.moment(now).wall
    }

    /// Takes what was used since the last time: everything from `from` on (0 at first, then where the last part said),
    /// or a part of at least `enough` keys and at most one shard more.
    #[must_use = "what was taken is lost unless it is saved or put back"]
    pub fn take_unsaved(&self, from: usize, enough: usize) -> Taken {
        let mut taken = Taken::default();
        for (number, shard) in self.shards.iter().enumerate().skip(from) {
            if taken.tallies.len() >= enough {
                taken.next = Some(number);
                break;
            }
            let Page { used, dropped } = shard.0.lock().take_journal();
            taken.dropped = taken.dropped.saturating_add(dropped);
            let class = if number < Self::SHARDS { Class::Consumer } else { Class::Stranger };
            taken.tallies.extend(used.into_iter().map(|(Key { limit, low, high }, Spent { until, used })| Tally {
                class,
                limit,
                low,
                high,
                until,
                used,
            }));
        }
        taken
    }

    /// Gives back what could not be saved, apart from windows that are over.
    pub fn put_back(&self, tallies: &[Tally], now: Now) {
        let wall = self.moment(now).wall;
        for tally in tallies.iter().filter(|tally| tally.until > wall) {
            let mut shard = self.shards[shard_number(&tally.subject())].0.lock();
            shard.put_back(tally.key(), tally.spent(), wall);
        }
    }

    /// Takes over a stored total.
    pub fn merge(&self, total: &Tally, now: Now) {
        let moment = self.moment(now);
        if total.until > moment.wall {
            self.shards[shard_number(&total.subject())].0.lock().merge(total.key(), total.spent(), moment);
        }
    }
}

impl Tally {
    fn subject(&self) -> Subject {
        Subject { low: self.low, high: self.high, class: self.class }
    }

    fn key(&self) -> Key {
        Key { limit: self.limit, low: self.low, high: self.high }
    }

    fn spent(&self) -> Spent {
        Spent { until: self.until, used: self.used }
    }
}
