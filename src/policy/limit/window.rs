//! A quota: a count per calendar day or month of a time zone.
//!
//! A window begins with the first instant of its day or month in the zone and ends where the next begins, so days have
//! 23, 24 or 25 hours and months their own length. The window around the present is kept beside the quota; the calendar
//! is asked once per window.
//!
//! A counter stores the end of its window and what was used. It starts again when that end has come, not when a window
//! looks different. What happens when the wall clock is set back is decided in `Limiter` (see there): here the time
//! never goes back by less than a day, and after a longer step back the used count moves into the running window.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use super::Outcome;
use super::table::{Moment, State};

/// Wall time is taken as between 1970 and the year 9000, inside of what the calendar can compute.
pub(super) const LAST_SECOND: i64 = 221_845_132_800;

/// A packed window has its length in the low bits (up to 48 days) and its end above.
const LENGTH_BITS: u32 = 22;

/// What a quota counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Calendar days.
    Day,
    /// Calendar months.
    Month,
}

/// What was used in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// End of the window, in Unix seconds.
    pub(super) until: i64,
    pub(super) used: u64,
}

/// A compiled quota.
#[derive(Debug)]
pub(super) struct Quota {
    count: u64,
    unit: Unit,
    zone: TimeZone,
    /// The window computed last, packed into one word so that it is never read half written. Zero holds no instant.
    window: AtomicU64,
}

impl Spent {
    /// This and more of the same counter. Where both windows run but end at different times, the time zone has changed:
    /// the earlier end counts.
    pub(super) fn plus(self, more: Self, wall: i64) -> Self {
        if self.until <= wall {
            return more;
        }
        Self { until: self.until.min(more.until), used: self.used.saturating_add(more.used) }
    }

    /// This, or a total of the same counter where that is more.
    pub(super) fn at_least(self, total: Self, wall: i64) -> Self {
        if self.until <= wall {
            return total;
        }
        Self { until: self.until.min(total.until), used: self.used.max(total.used) }
    }
}

impl Unit {
    /// The longest usual length, daylight saving aside.
    pub(super) fn nominal_seconds(self) -> u32 {
        match self {
            Self::Day => 86_400,
            Self::Month => 31 * 86_400,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// Takes a cost from a quota of `count` whose running window has this `end`.
pub(super) fn take(count: u64, end: i64, spent: Option<Spent>, cost: u64, moment: Moment) -> Outcome {
    let spent = match spent {
        Some(spent) if spent.until > moment.wall => Spent { until: spent.until.min(end), used: spent.used },
        _ => Spent { until: end, used: 0 },
    };
    // By the wall clock as it is, even if it was set back: that is how long the client waits.
    weigh(count, spent, cost, moment.unix)
}

/// Weighs a cost against what was used in the running window.
pub(super) fn weigh(count: u64, Spent { until, used }: Spent, cost: u64, unix: i64) -> Outcome {
    let reset_seconds = u32::try_from(until.saturating_sub(unix)).unwrap_or(u32::MAX).max(1);
    let wanted = used.saturating_add(cost);
    let (used, refusal) = if wanted > count { (used, Some(reset_seconds)) } else { (wanted, None) };
    let state = State::Quota(Spent { until, used });
    Outcome { state, remaining: count.saturating_sub(used), reset_seconds, refusal }
}

impl Quota {
    pub(super) fn new(count: u64, unit: Unit, zone: TimeZone) -> Self {
        Self { count, unit, zone, window: AtomicU64::new(0) }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The first second after the window around `wall`.
    pub(super) fn window_end(&self, wall: i64) -> i64 {
        self.window(wall).end
    }

    /// The seconds of the window around `wall`.
    pub(super) fn window(&self, wall: i64) -> Range<i64> {
        let wall = u64::try_from(wall.clamp(0, LAST_SECOND)).unwrap_or(0);
        let packed = self.window.load(Ordering::Relaxed);
        let (end, length) = (packed >> LENGTH_BITS, packed & ((1 << LENGTH_BITS) - 1));
        if wall < end && wall >= end - length {
            return (end - length).cast_signed()..end.cast_signed();
        }
        self.compute(wall)
    }

    #[cold]
    fn compute(&self, wall: u64) -> Range<i64> {
        let (start, end) = self.bounds(wall.cast_signed()).unwrap_or((wall.cast_signed(), 0));
        let start = u64::try_from(start).unwrap_or(0);
        // Only if the calendar failed, which it does not between 1970 and 9000: a window of the nominal length.
        let end = u64::try_from(end).ok().filter(|end| *end > wall);
        let end = end.unwrap_or_else(|| wall + u64::from(self.unit.nominal_seconds()));
        let length = (end - start.min(wall)).min((1 << LENGTH_BITS) - 1);
        self.window.store(end << LENGTH_BITS | length, Ordering::Relaxed);
        (end - length).cast_signed()..end.cast_signed()
    }

    fn bounds(&self, wall: i64) -> Result<(i64, i64), jiff::Error> {
        let local = Timestamp::from_second(wall)?.to_zoned(self.zone.clone());
        let (start, next): (Zoned, Zoned) = match self.unit {
            Unit::Day => (local.start_of_day()?, local.tomorrow()?.start_of_day()?),
            Unit::Month => {
                let first = local.first_of_month()?;
                (first.start_of_day()?, first.checked_add(1.month())?.start_of_day()?)
            }
        };
        Ok((start.timestamp().as_second(), next.timestamp().as_second()))
    }
}
