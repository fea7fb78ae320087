//! The counters of one shard: an open-addressed table that drops only what nobody would miss.
//!
//! An entry may go when it says the same as no entry: the bucket is full again, the window is over, nothing is in
//! flight. A cursor walks the slots, a few at each insertion, so that no request pays for a whole pass. The table doubles
//! above three quarters and halves below one eighth; one move of the largest table the process has copies 32,768 slots.
//! Places go by a keyed hash (see `subject`), so that nobody can make the probing long.
//!
//! The table has no idea of a largest size: that is its shard's business.

use super::rate::Debt;
use super::subject::scatter;
use super::window::Spent;

const SMALLEST: usize = 16;

/// Which counter: of which limit, for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) limit: u64,
    pub(super) low: u64,
    pub(super) high: u64,
}

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No counter: nothing was used.
    Fresh,
    Rate(Debt),
    Quota(Spent),
    Concurrency {
        in_flight: u32,
        /// How many of those that share an overflow entry may be this subject's.
        beside: u32,
    },
}

/// The time of one decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Monotonic nanoseconds.
    pub(super) monotonic: u64,
    /// The wall clock as read.
    pub(super) unix: i64,
    /// The wall clock as far as windows are concerned: it does not go back.
    pub(super) wall: i64,
}

/// Counters by key.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// A power of two of them, or none. Invariant: at least one is vacant, or there are none.
    slots: Vec<Slot>,
    len: usize,
    /// Where the next sweep goes on.
    cursor: usize,
}

/// A place in the table, vacant when its state is [`State::Fresh`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    key: Key,
    state: State,
}

impl Key {
    fn home(&self, mask: usize) -> usize {
        // Truncation is meant: any bits of the hash will do.
        scatter(self.limit ^ self.low, self.high) as usize & mask
    }
}

impl State {
    /// Whether the counter says the same as no counter.
    pub(super) fn is_fresh(&self, moment: Moment) -> bool {
        match self {
            Self::Fresh => true,
            Self::Rate(debt) => debt.is_over(moment.monotonic),
            Self::Quota(spent) => spent.until <= moment.wall || spent.used == 0,
            Self::Concurrency { in_flight, .. } => *in_flight == 0,
        }
    }
}

impl Slot {
    const VACANT: Self = Self { key: Key { limit: 0, low: 0, high: 0 }, state: State::Fresh };

    fn is_vacant(&self) -> bool {
        matches!(self.state, State::Fresh)
    }
}

impl Table {
    /// The bytes of a table of so many entries, the most it ever takes.
    pub(super) const fn max_bytes(entries: usize) -> usize {
        let needed = (entries * 4).div_ceil(3).next_power_of_two();
        size_of::<Slot>() * if needed < SMALLEST { SMALLEST } else { needed }
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The place of a counter, good until the table changes.
    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = key.home(mask);
        while !self.slots[at].is_vacant() {
            if self.slots[at].key == *key {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The counter at a place that [`Table::find`] gave.
    pub(super) fn state(&self, at: usize) -> State {
        self.slots[at].state
    }

    /// All counters.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Key, State)> {
        self.slots.iter().filter(|slot| !slot.is_vacant()).map(|slot| (slot.key, slot.state))
    }

    /// Writes a counter, where it was seen last if it is still there, or as a new one.
    pub(super) fn store(&mut self, seen_at: Option<usize>, key: Key, state: State) {
        let at = seen_at.filter(|at| self.holds(*at, &key)).or_else(|| self.find(&key));
        match at {
            Some(at) if state == State::Fresh => self.remove(at),
            Some(at) => self.slots[at].state = state,
            None if state == State::Fresh => {}
            None => self.insert(key, state),
        }
    }

    /// Takes so many steps along the slots and drops the fresh entries it meets; a removal is a step of its own, so
    /// twice the slots are a whole pass.
    pub(super) fn sweep(&mut self, steps: usize, moment: Moment) {
        for _ in 0..steps.min(2 * self.slots.len()) {
            self.cursor &= self.slots.len() - 1;
            if !self.slots[self.cursor].is_vacant() && self.slots[self.cursor].state.is_fresh(moment) {
                // The cursor stays: another entry may have moved here.
                self.remove(self.cursor);
            } else {
                self.cursor += 1;
            }
        }
        let mut enough = self.slots.len();
        while enough > SMALLEST && self.len < enough / 8 {
            enough /= 2;
        }
        if enough < self.slots.len() {
            self.resize(enough);
        }
    }

    fn holds(&self, at: usize, key: &Key) -> bool {
        self.slots.get(at).is_some_and(|slot| !slot.is_vacant() && slot.key == *key)
    }

    fn insert(&mut self, key: Key, state: State) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(SMALLEST));
        }
        self.place(Slot { key, state });
        self.len += 1;
    }

    /// Puts a new entry into the first vacant slot from its home on.
    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.key.home(mask);
        while !self.slots[at].is_vacant() {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Takes an entry out and closes the gap, so that no search stops early.
    fn remove(&mut self, at: usize) {
        let mask = self.slots.len() - 1;
        let (mut gap, mut next) = (at, (at + 1) & mask);
        while !self.slots[next].is_vacant() {
            let home = self.slots[next].key.home(mask);
            // It may move back to the gap unless its home lies after it.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(gap) & mask) {
                self.slots[gap] = self.slots[next];
                gap = next;
            }
            next = (next + 1) & mask;
        }
        self.slots[gap] = Slot::VACANT;
        self.len -= 1;
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::VACANT; slots]);
        self.cursor = 0;
        for slot in old.into_iter().filter(|slot| !slot.is_vacant()) {
            self.place(slot);
        }
    }
}
