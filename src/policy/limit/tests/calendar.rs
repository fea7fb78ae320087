//! Whole years of calendar quotas, against a calendar that the test computes itself.
//!
//! The time zones are tables of their offsets, written down here, and dates come from counting days; nothing is asked of
//! the library that the quota uses. The clock goes on by an hour, or by less where offsets are not whole hours, and
//! second by second around the beginning of each month, each change of the clocks, and the midnights around that.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Desk, Limit, Subject, Unit, quota};

const EACH_DAY: u64 = 3;
const EACH_MONTH: u64 = 7;

/// Year, month, day.
type Date = (i64, i64, i64);

/// A time zone in some years.
struct Zone {
    name: &'static str,
    years: Range<i64>,
    /// Divides every offset from UTC, in seconds.
    step: usize,
    /// The offset in minutes at first, and from each of these instants on.
    offset: i64,
    changes: Vec<(i64, i64)>,
    dates: Dates,
}

/// Days from 1970 to a date.
fn days_to((year, month, day): Date) -> i64 {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let of_month = |month: i64| match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    years + (1..month).map(of_month).sum::<i64>() + day - 1
}

/// The instant `minutes` after midnight UTC of a date.
fn at(date: Date, minutes: i64) -> i64 {
    days_to(date) * 86_400 + minutes * 60
}

impl Zone {
    /// The changes come as date, minutes after midnight UTC, and the new offset.
    fn new(name: &'static str, years: Range<i64>, step: usize, offset: i64, changes: &[(Date, i64, i64)]) -> Self {
        let changes = changes.iter().map(|(date, minutes, offset)| (at(*date, *minutes), *offset)).collect();
        let dates = Dates::of(years.clone());
        Self { name, years, step, offset, changes, dates }
    }

    fn date(&self, unix: i64) -> Date {
        let last = self.changes.iter().rfind(|(from, _)| *from <= unix);
        let minutes = last.map_or(self.offset, |(_, offset)| *offset);
        self.dates.of_day((unix + minutes * 60).div_euclid(86_400))
    }

    /// The instants at which the clock is looked at, from the first of the first year to the end of the last.
    fn walk(&self) -> BTreeSet<i64> {
        let (begin, end) = (at((self.years.start - 1, 12, 31), 0), at((self.years.end, 1, 2), 0));
        let mut walk: BTreeSet<i64> = (begin..end).step_by(self.step).collect();
        for unix in (begin..end).step_by(self.step).skip(1) {
            let today = self.date(unix);
            if self.date(unix - 1) == today {
                continue;
            }
            let changes = self.changes.iter().any(|(change, _)| (unix - change).abs() < 36 * 3600);
            let seconds = if today.2 == 1 || changes { 60 } else { 1 };
            walk.extend(unix - seconds..unix + seconds);
        }
        self.changes.iter().for_each(|(change, _)| walk.extend(change - 3_700..change + 3_700));
        walk.retain(|unix| self.years.contains(&self.date(*unix).0));
        walk
    }
}

/// The date of every day of some years, and of the days around them.
struct Dates {
    first: i64,
    dates: Vec<Date>,
}

impl Dates {
    fn of(years: Range<i64>) -> Self {
        let first = days_to((years.start - 1, 12, 1));
        let months = (1..=12).flat_map(|month| (1..=31).map(move |day| (month, day)));
        let all = (years.start - 1..=years.end).flat_map(|year| {
            // The 31st of a short month is the first of the next, which comes anyway.
            let real = move |(month, day): &(i64, i64)| {
                let next = if *month == 12 { (year + 1, 1, 1) } else { (year, month + 1, 1) };
                days_to((year, *month, *day)) < days_to(next)
            };
            months.clone().filter(real).map(move |(month, day)| (year, month, day))
        });
        Self { first, dates: all.skip_while(|date| days_to(*date) < first).collect() }
    }

    fn of_day(&self, day: i64) -> Date {
        self.dates[usize::try_from(day - self.first).unwrap()]
    }
}

fn zones() -> Vec<Zone> {
    // Clocks change at one o'clock UTC.
    let berlin = [
        ((2023, 3, 26), 60, 120),
        ((2023, 10, 29), 60, 60),
        ((2024, 3, 31), 60, 120),
        ((2024, 10, 27), 60, 60),
        ((2025, 3, 30), 60, 120),
        ((2025, 10, 26), 60, 60),
    ];
    // At midnight: in September the first hour of a Sunday is skipped, in April the last of a Saturday comes twice.
    let santiago = [
        ((2023, 4, 2), 180, -240),
        ((2023, 9, 3), 240, -180),
        ((2024, 4, 7), 180, -240),
        ((2024, 9, 8), 240, -180),
        ((2025, 4, 6), 180, -240),
        ((2025, 9, 7), 240, -180),
    ];
    // By half an hour.
    let lord_howe = [
        ((2023, 4, 1), 900, 630),
        ((2023, 9, 30), 930, 660),
        ((2024, 4, 6), 900, 630),
        ((2024, 10, 5), 930, 660),
        ((2025, 4, 5), 900, 630),
        ((2025, 10, 4), 930, 660),
    ];
    vec![
        Zone::new("Europe/Berlin", 2023..2026, 3600, 60, &berlin),
        Zone::new("America/Santiago", 2023..2026, 3600, -180, &santiago),
        Zone::new("Australia/Lord_Howe", 2023..2026, 1800, 660, &lord_howe),
        Zone::new("Asia/Kathmandu", 2024..2025, 900, 345, &[]),
        // Of the years that four divides, 2000 has a 29th of February and 2100 none.
        Zone::new("UTC", 1999..2001, 3600, 0, &[]),
        Zone::new("UTC", 2100..2101, 3600, 0, &[]),
    ]
}

/// Uses up what there is at every instant; what passed in each window.
fn used<K: Ord + Copy>(zone: &Zone, walk: &BTreeSet<i64>, limit: &Limit, window: fn(Date) -> K) -> BTreeMap<K, u64> {
    let mut desk = Desk::new();
    let (mut passed, mut told) = (BTreeMap::new(), 0);
    for unix in walk {
        desk.now.unix = *unix;
        let own = window(zone.date(*unix));
        *passed.entry(own).or_default() += desk.drain(limit, Subject::everyone());
        // The end that a refused client is told is the first instant of the next window.
        let end = unix + i64::from(desk.ask_as(limit, Subject::everyone(), 1).unwrap_err());
        if end != told {
            assert!(window(zone.date(end - 1)) == own && window(zone.date(end)) > own, "{unix} ends at {end}");
            told = end;
        }
    }
    passed
}

#[test]
fn exactly_the_quota_passes_on_every_day_and_in_every_month_of_whole_years() {
    for zone in zones() {
        let walk = zone.walk();
        let days = used(&zone, &walk, &quota(EACH_DAY, Unit::Day, zone.name), |date| date);
        let months = used(&zone, &walk, &quota(EACH_MONTH, Unit::Month, zone.name), |date| (date.0, date.1));
        assert!(days.values().all(|passed| *passed == EACH_DAY), "{}: {days:?}", zone.name);
        assert!(months.values().all(|passed| *passed == EACH_MONTH), "{}: {months:?}", zone.name);
        for year in zone.years.clone() {
            let length = |month| days.keys().filter(|date| (date.0, date.1) == (year, month)).count();
            let february = if [2000, 2024].contains(&year) { 29 } else { 28 };
            let expected = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            assert_eq!((1..=12).map(length).collect::<Vec<_>>(), expected, "{} {year}", zone.name);
        }
        assert_eq!(months.len(), 12 * zone.years.clone().count(), "{}", zone.name);
    }
}
