//! Counters, questions and answers as bytes.
//!
//! Both ends are processes of one machine, so numbers go in its byte order, each in its full width: a counter is 41
//! bytes. Nothing is read that has no bound, and what makes no sense is an error, never a counter.

use std::io::{self, Read};

use super::super::Terms;
use super::super::limiter::{Limiter, Verdict};
use super::super::rate::{Bucket, Debt};
use super::super::table::{Key, State};
use super::super::window::Spent;
use super::{Answer, Demand, Entry, Left, Page, Place, Saying, Told};

/// Counters of one shard at most.
const MOST_ENTRIES: u32 = 1 << 20;

/// Claims of one request at most.
const MOST_DEMANDS: u32 = 1 << 16;

/// What the process that leaves sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The counters of a shard.
    Page(Page),
    /// These were all, and the wall clock had come so far.
    Whole {
        /// In Unix seconds.
        wall: i64,
    },
    /// What its shards have to say afterwards.
    Saying(Saying),
}

/// What the process that takes over sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It has the counters.
    Restored,
    /// It has decided.
    Answer {
        /// On which question.
        id: u64,
        /// What.
        answer: Answer,
    },
}

impl Leaving {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Page(Page { shard, entries }) => {
                put(out, 1, [u64::from(*shard), entries.len() as u64]);
                entries.iter().for_each(|entry| entry.write(out));
            }
            Self::Whole { wall } => put(out, 2, [wall.cast_unsigned()]),
            Self::Saying(Saying::Question { id, demands }) => {
                put(out, 3, [*id, demands.len() as u64]);
                demands.iter().for_each(|demand| demand.write(out));
            }
            Self::Saying(Saying::Left(Left::Copied(Place { shard, overflow, key }))) => {
                put(out, 4, [u64::from(*shard), u64::from(*overflow), key.limit, key.low, key.high]);
            }
            Self::Saying(Saying::Left(Left::Granted { question })) => put(out, 5, [*question]),
        }
    }

    /// The next one.
    ///
    /// # Errors
    /// When the other end is gone, or says what nobody understands.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        Ok(match tag(from)? {
            1 => {
                let [shard, count] = numbers(from)?;
                let count = bounded(count, MOST_ENTRIES)?;
                let entries = (0..count).map(|_| Entry::read(from)).collect::<io::Result<_>>()?;
                Self::Page(Page { shard: number_of_shard(shard)?, entries })
            }
            2 => Self::Whole { wall: one(from)?.cast_signed() },
            3 => {
                let [id, count] = numbers(from)?;
                let count = bounded(count, MOST_DEMANDS)?;
                let demands = (0..count).map(|_| Demand::read(from)).collect::<io::Result<_>>()?;
                Self::Saying(Saying::Question { id, demands })
            }
            4 => {
                let [shard, overflow, limit, low, high] = numbers(from)?;
                let place =
                    Place { shard: number_of_shard(shard)?, overflow: overflow != 0, key: Key { limit, low, high } };
                Self::Saying(Saying::Left(Left::Copied(place)))
            }
            5 => Self::Saying(Saying::Left(Left::Granted { question: one(from)? })),
            _ => return Err(nonsense()),
        })
    }
}

impl Taking {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Restored => put(out, 1, []),
            Self::Answer { id, answer } => {
                put(out, 2, [*id, u64::from(answer.retry_after_seconds), answer.told.len() as u64]);
                for Told { remaining, reset_seconds, verdict } in &answer.told {
                    let tag = u8::from(*verdict == Verdict::Refused);
                    put(out, tag, [*remaining, u64::from(*reset_seconds)]);
                }
            }
        }
    }

    /// The next one.
    ///
    /// # Errors
    /// When the other end is gone, or says what nobody understands.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        match tag(from)? {
            1 => Ok(Self::Restored),
            2 => {
                let [id, retry_after_seconds, count] = numbers(from)?;
                let told = (0..bounded(count, MOST_DEMANDS)?).map(|_| {
                    let verdict = match tag(from)? {
                        0 => Verdict::Passed,
                        1 => Verdict::Refused,
                        _ => return Err(nonsense()),
                    };
                    let [remaining, reset_seconds] = numbers(from)?;
                    Ok(Told { remaining, reset_seconds: bounded(reset_seconds, u32::MAX)?, verdict })
                });
                let told = told.collect::<io::Result<_>>()?;
                let retry_after_seconds = bounded(retry_after_seconds, u32::MAX)?;
                Ok(Self::Answer { id, answer: Answer { told, retry_after_seconds } })
            }
            _ => Err(nonsense()),
        }
    }
}

/// Set in the tag of an entry that subjects share.
const OVERFLOW: u8 = 0x80;

impl Entry {
    fn write(&self, out: &mut Vec<u8>) {
        let Key { limit, low, high } = self.key;
        let (tag, first, second) = match self.state {
            State::Fresh => (0, 0, 0),
            State::Rate(Debt { until, part, pace }) => (1, until, u64::from(part) << 32 | u64::from(pace)),
            State::Quota(Spent { until, used }) => (2, until.cast_unsigned(), used),
            State::Concurrency { in_flight, beside } => (3, u64::from(in_flight), u64::from(beside)),
        };
        put(out, tag | if self.overflow { OVERFLOW } else { 0 }, [limit, low, high, first, second]);
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let tag = tag(from)?;
        let [limit, low, high, first, second] = numbers(from)?;
        let state = match tag & !OVERFLOW {
            0 => State::Fresh,
            1 => State::Rate(Debt { until: first, part: (second >> 32) as u32, pace: second as u32 }),
            2 => State::Quota(Spent { until: first.cast_signed(), used: second }),
            3 => State::Concurrency { in_flight: bounded(first, u32::MAX)?, beside: bounded(second, u32::MAX)? },
            _ => return Err(nonsense()),
        };
        Ok(Self { overflow: tag & OVERFLOW != 0, key: Key { limit, low, high }, state })
    }
}

impl Demand {
    fn write(&self, out: &mut Vec<u8>) {
        let Key { limit, low, high } = self.key;
        let (tag, numbers) = match self.terms {
            Terms::Rate(bucket) => (1, [bucket.burst(), bucket.one, bucket.drain]),
            Terms::Quota { count, end } => (2, [count, end.cast_unsigned(), self.next_end.cast_unsigned()]),
            Terms::Concurrency { max } => (3, [u64::from(max), 0, 0]),
        };
        put(out, tag, [u64::from(self.shard), limit, low, high, u64::from(self.cost)]);
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_ne_bytes()));
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let tag = tag(from)?;
        let [shard, limit, low, high, cost, first, second, third] = numbers(from)?;
        let terms = match tag {
            1 => Terms::Rate(Bucket::of(first, second, third).ok_or_else(nonsense)?),
            2 => Terms::Quota { count: first, end: second.cast_signed() },
            3 => Terms::Concurrency { max: bounded(first, u32::MAX)? },
            _ => return Err(nonsense()),
        };
        let next_end = if tag == 2 { third.cast_signed() } else { 0 };
        let (shard, cost) = (number_of_shard(shard)?, bounded(cost, u32::MAX)?);
        Ok(Self { shard, key: Key { limit, low, high }, cost, terms, next_end })
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, tag: u8, numbers: [u64; N]) {
    out.push(tag);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_ne_bytes()));
}

fn tag(from: &mut impl Read) -> io::Result<u8> {
    let mut tag = [0];
    from.read_exact(&mut tag)?;
    Ok(tag[0])
}

fn one(from: &mut impl Read) -> io::Result<u64> {
    numbers(from).map(|[number]| number)
}

fn numbers<const N: usize>(from: &mut impl Read) -> io::Result<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        *number = u64::from_ne_bytes(bytes);
    }
    Ok(numbers)
}

fn bounded(number: u64, most: u32) -> io::Result<u32> {
    u32::try_from(number).ok().filter(|number| *number <= most).ok_or_else(nonsense)
}

fn number_of_shard(number: u64) -> io::Result<u32> {
    bounded(number, Limiter::shards() - 1)
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what comes over the line of counters makes no sense")
}
