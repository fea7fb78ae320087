//! Calendar quotas.

use super::super::window::Quota;
use super::{Desk, TimeZone, Timestamp, Unit, alice, quota};

fn utc(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

#[test]
fn windows_end_where_the_calendar_says() {
    // zone, unit, an instant within, the end of its window.
    let table = [
        ("UTC", Unit::Day, "2025-06-15T00:00:00Z", "2025-06-16T00:00:00Z"),
        ("UTC", Unit::Day, "2025-06-15T23:59:59Z", "2025-06-16T00:00:00Z"),
        ("UTC", Unit::Day, "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
        // 23 hours, 25 hours.
        ("Europe/Berlin", Unit::Day, "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"),
        ("Europe/Berlin", Unit::Day, "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"),
        ("Europe/Berlin", Unit::Day, "2025-10-26T22:59:59Z", "2025-10-26T23:00:00Z"),
        ("America/New_York", Unit::Day, "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"),
        ("America/New_York", Unit::Day, "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"),
        ("Asia/Kathmandu", Unit::Day, "2025-06-14T18:15:00Z", "2025-06-15T18:15:00Z"),
        ("Asia/Kathmandu", Unit::Day, "2025-06-14T18:14:59Z", "2025-06-14T18:15:00Z"),
        // Midnight itself is skipped here: the day begins at one o'clock.
        ("America/Sao_Paulo", Unit::Day, "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z"),
        ("America/Sao_Paulo", Unit::Day, "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
        // A whole day is skipped here.
        ("Pacific/Apia", Unit::Day, "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"),
        ("UTC", Unit::Month, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("UTC", Unit::Month, "2025-02-28T23:59:59Z", "2025-03-01T00:00:00Z"),
        ("UTC", Unit::Month, "2025-04-30T12:00:00Z", "2025-05-01T00:00:00Z"),
        ("UTC", Unit::Month, "2025-12-31T12:00:00Z", "2026-01-01T00:00:00Z"),
        ("Europe/Berlin", Unit::Month, "2025-03-31T21:59:59Z", "2025-03-31T22:00:00Z"),
        ("Europe/Berlin", Unit::Month, "2025-10-01T00:00:00Z", "2025-10-31T23:00:00Z"),
        ("America/New_York", Unit::Month, "2025-11-01T03:59:59Z", "2025-11-01T04:00:00Z"),
        ("Asia/Kathmandu", Unit::Month, "2025-06-30T18:15:00Z", "2025-07-31T18:15:00Z"),
    ];
    for (zone, unit, within, end) in table {
        let quota = Quota::new(1, unit, TimeZone::get(zone).unwrap());
        assert_eq!(quota.window_end(utc(within)), utc(end), "{zone} {unit:?} {within}");
        assert_eq!(quota.window_end(utc(within)), utc(end), "from memory: {zone} {unit:?} {within}");
        assert!(quota.window_end(utc(end)) > utc(end), "the end is outside: {zone} {unit:?} {within}");
        assert_eq!(quota.window_end(utc(within)), utc(end), "and back: {zone} {unit:?} {within}");
    }
}

#[test]
fn windows_follow_each_other_without_gap_over_years() {
    for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia"] {
        let zone = TimeZone::get(zone).unwrap();
        for (unit, windows) in [(Unit::Day, 3_000), (Unit::Month, 100)] {
            let quota = Quota::new(1, unit, zone.clone());
            let mut now = utc("2010-01-01T12:00:00Z");
            for _ in 0..windows {
                let end = quota.window_end(now);
                assert!(end > now);
                assert_eq!(quota.window_end(end - 1), end, "{zone:?} {unit:?} before {end}");
                now = end;
            }
        }
    }
}

#[test]
fn any_time_at_all_has_a_window() {
    for unit in [Unit::Day, Unit::Month] {
        let limit = quota(1, unit, "Europe/Berlin");
        for unix in [i64::MIN, -1, 0, 253_402_300_800, i64::MAX] {
            let mut desk = Desk::new();
            desk.now.unix = unix;
            assert_eq!(desk.drain(&limit, alice()), 1, "{unix}");
            assert_eq!(desk.drain(&limit, alice()), 0, "{unix}");
        }
    }
}

#[test]
fn a_quota_starts_again_when_its_window_is_over_and_says_when() {
    let mut desk = Desk::new().at("2025-10-25T22:30:00Z");
    let limit = quota(3, Unit::Day, "Europe/Berlin");
    assert_eq!(desk.ask(&limit, 2), Ok(1));
    assert_eq!(desk.ask(&limit, 2), Err(24 * 3600 + 1800), "a day of 25 hours");
    assert_eq!(desk.ask(&limit, 1), Ok(0));
    desk.wait(24 * 3600 + 1799);
    assert_eq!(desk.ask(&limit, 1), Err(1));
    desk.wait(1);
    assert_eq!(desk.drain(&limit, alice()), 3);
    assert_eq!(desk.ask(&limit, 4), Err(24 * 3600), "more than the quota never passes");
}

#[test]
fn used_stays_used_when_the_number_or_the_zone_changes() {
    let mut desk = Desk::new().at("2025-06-15T12:00:00Z");
    assert_eq!(desk.ask(&quota(10, Unit::Day, "UTC"), 7), Ok(3));
    assert_eq!(desk.ask(&quota(20, Unit::Day, "UTC"), 1), Ok(12));
    assert!(desk.ask(&quota(5, Unit::Day, "UTC"), 1).is_err());
    assert_eq!(desk.ask(&quota(10, Unit::Day, "Asia/Kathmandu"), 1), Ok(1), "8 used so far");
    desk.set_wall("2025-06-15T18:15:00Z");
    assert_eq!(desk.ask(&quota(10, Unit::Day, "Asia/Kathmandu"), 1), Ok(9), "midnight in the new zone");
}

#[test]
fn a_wall_clock_set_back_gives_no_second_allowance() {
    // Spent in the window that begins at midnight, or in the one before; then the clock goes back.
    for (spent_at, back_to) in [
        ("2025-06-16T00:00:10Z", "2025-06-15T23:59:50Z"),
        ("2025-06-16T00:00:10Z", "2025-06-15T00:30:00Z"),
        ("2025-06-16T12:00:00Z", "2025-06-16T11:00:00Z"),
    ] {
        let limit = quota(5, Unit::Day, "UTC");
        let mut desk = Desk::new().at("2025-06-15T23:00:00Z");
        assert_eq!(desk.drain(&limit, alice()), 5);
        desk.set_wall(spent_at);
        desk.limiter.sweep(desk.now);
        assert_eq!(desk.limiter.statistics().consumers, 0, "the old window is forgotten");
        assert_eq!(desk.drain(&limit, alice()), 5);
        desk.set_wall(back_to);
        assert_eq!(desk.drain(&limit, alice()), 0, "{spent_at} to {back_to}");
        assert_eq!(desk.drain(&limit, super::Subject::consumer("bob")), 5, "others count in the same window");
        let wait = desk.ask(&limit, 1).unwrap_err();
        assert_eq!(desk.now.unix + i64::from(wait), utc("2025-06-17T00:00:00Z"), "{spent_at} to {back_to}");
        desk.wait(u64::from(wait) - 1);
        assert_eq!(desk.drain(&limit, alice()), 0);
        desk.wait(1);
        assert_eq!(desk.drain(&limit, alice()), 5);
    }
}

#[test]
fn after_a_clock_far_ahead_is_put_right_nobody_waits_for_that_future() {
    let limit = quota(5, Unit::Day, "UTC");
    let mut desk = Desk::new().at("2031-01-01T00:00:00Z");
    assert_eq!(desk.ask(&limit, 3), Ok(2));
    desk.set_wall("2025-06-15T12:00:00Z");
    assert_eq!(desk.drain(&limit, alice()), 2, "what was used is used");
    assert_eq!(desk.ask(&limit, 1), Err(12 * 3600));
    desk.wait(12 * 3600);
    assert_eq!(desk.drain(&limit, alice()), 5);
}
