//! Rolling rates.

use super::{Desk, SECOND, alice, named_rate, rate};

#[test]
fn a_bucket_holds_its_burst_and_refills_at_its_rate() {
    // count, period, burst; then how many pass at once, and after so many seconds.
    let table = [
        (100, 60, 100, 100, [(3, 5), (60, 100), (6, 10)]),
        (5, 1, 10, 10, [(1, 5), (2, 10), (100, 10)]),
        (7, 1, 7, 7, [(1, 7), (1, 7), (5, 7)]),
        (3, 1, 1, 1, [(1, 1), (2, 1), (3, 1)]),
        (1, 3600, 1, 1, [(3599, 0), (1, 1), (3600, 1)]),
        (7_919, 3600, 7_919, 7_919, [(3600, 7_919), (1, 2), (1, 2)]),
    ];
    for (count, period, burst, at_once, later) in table {
        let (mut desk, limit) = (Desk::new(), rate(count, period, burst));
        assert_eq!(desk.drain(&limit, alice()), at_once, "{count}/{period} burst {burst}");
        for (seconds, passes) in later {
            desk.wait(seconds);
            assert_eq!(desk.drain(&limit, alice()), passes, "{count}/{period} burst {burst} after {seconds} s");
        }
    }
}

#[test]
fn what_remains_and_when_more_comes_are_told() {
    let (mut desk, limit) = (Desk::new(), rate(2, 60, 4));
    let standing = |desk: &Desk, cost| match desk.decide(&[super::Claim { limit: &limit, subject: alice(), cost }]) {
        Ok(granted) => (granted.standings[0].remaining, granted.standings[0].reset_seconds),
        Err(refused) => (refused.standings[0].remaining, refused.standings[0].reset_seconds),
    };
    assert_eq!(standing(&desk, 0), (4, 0), "full");
    assert_eq!(standing(&desk, 1), (3, 30));
    desk.wait(10);
    assert_eq!(standing(&desk, 3), (0, 20));
    assert_eq!(standing(&desk, 1), (0, 20), "refused");
    desk.wait(20);
    assert_eq!(standing(&desk, 2), (1, 30), "two do not fit into one");
}

#[test]
fn retry_after_is_exact() {
    // count, period, burst, spent before, nanoseconds passed, cost, seconds to wait.
    let table = [
        (1, 1, 1, 1, 0, 1, 1),
        (1, 1, 1, 1, 1, 1, 1),
        (1, 60, 1, 1, 0, 1, 60),
        (1, 60, 1, 1, SECOND, 1, 59),
        (1, 60, 1, 1, SECOND + 1, 1, 59),
        (100, 60, 100, 100, 0, 3, 2),
        (100, 60, 100, 100, 0, 100, 60),
        (7, 3600, 7, 7, 0, 1, 515),
        (7, 3600, 7, 7, 0, 7, 3600),
        (5, 1, 10, 10, 0, 10, 2),
        // Too large for exact units: each request is rounded up by less than a nanosecond.
        (9_999_991, 3600, 9_999_991, 9_999_991, 0, 9_999_991, 3601),
    ];
    for (count, period, burst, spent, passed, cost, wait) in table {
        let case = format!("{count}/{period} burst {burst}, {spent} spent, cost {cost} after {passed} ns");
        let (mut desk, limit) = (Desk::new(), rate(count, period, burst));
        desk.ask(&limit, spent).unwrap();
        desk.now.monotonic += passed;
        assert_eq!(desk.ask(&limit, cost), Err(wait), "{case}");
        desk.wait(u64::from(wait) - 1);
        assert!(desk.ask(&limit, cost).is_err(), "a second early: {case}");
        desk.wait(1);
        assert!(desk.ask(&limit, cost).is_ok(), "{case}");
    }
}

#[test]
fn a_cost_beyond_the_burst_never_passes_and_spends_nothing() {
    let (mut desk, limit) = (Desk::new(), rate(5, 1, 10));
    assert_eq!(limit.capacity(), 10);
    assert_eq!(desk.ask(&limit, 11), Err(1));
    assert_eq!(desk.ask(&limit, u32::MAX), Err(1));
    desk.wait(1000);
    assert_eq!(desk.ask(&limit, 11), Err(1));
    assert_eq!(desk.ask(&limit, 10), Ok(0));
    assert_eq!(desk.ask(&limit, 11), Err(2), "until the bucket is full");
}

#[test]
fn what_is_used_stays_used_when_a_rate_changes() {
    // (count, period, burst) before, how many were used, the same after, how many pass at once.
    let table = [
        ((100, 60, 100), 100, (200, 60, 200), 100),
        ((200, 60, 200), 100, (100, 60, 100), 0),
        ((200, 60, 200), 40, (100, 60, 100), 60),
        ((200, 60, 200), 200, (100, 60, 100), 0),
        ((1000, 3600, 1000), 700, (5000, 3600, 5000), 4300),
        ((60, 60, 60), 60, (60, 60, 120), 60),
        ((60, 60, 60), 60, (60, 60, 10), 0),
        ((60, 60, 30), 30, (60, 60, 60), 30),
        // What does not divide into nanoseconds.
        ((7, 60, 7), 7, (14, 60, 14), 7),
        ((3, 1, 999), 666, (7, 1, 1000), 334),
        ((7, 1, 1000), 999, (11, 1, 1000), 1),
        ((1_000_000, 1, 1_000_000), 999_999, (999_999, 1, 1_000_000), 1),
    ];
    for (before, used, after, passes) in table {
        let [before, after] = [before, after].map(|(count, period, burst)| rate(count, period, burst));
        let (mut desk, case) = (Desk::new(), format!("{used} of {before:?} become {after:?}"));
        desk.ask(&before, used).unwrap();
        assert_eq!(desk.ask(&after, 0), Ok(passes), "{case}");
        desk.ask(&after, u32::try_from(passes).unwrap()).unwrap();
        assert!(desk.ask(&after, 1).is_err(), "{case}");
        desk.wait(7200);
        assert_eq!(desk.ask(&after, 0), Ok(after.capacity()), "whole again: {case}");
    }
}

#[test]
fn a_rate_that_owed_more_owes_no_more_than_its_new_burst() {
    let mut desk = Desk::new();
    desk.drain(&rate(1, 60, 60), alice());
    let after = rate(60, 60, 60);
    assert_eq!(desk.ask(&after, 1), Err(1), "not an hour");
    desk.wait(30);
    assert_eq!(desk.ask(&after, 0), Ok(30), "from then on at its own rate");
}

#[test]
fn identity_and_not_name_decides_which_counter_is_meant() {
    let desk = Desk::new();
    desk.drain(&named_rate("a", 1, 60, 1), alice());
    assert!(desk.ask(&named_rate("b", 1, 60, 1), 1).is_ok());
    let renamed = super::Limit::rate("a", "other", 1, std::time::Duration::from_secs(60), 1).unwrap();
    assert!(desk.ask(&renamed, 1).is_err());
}

#[test]
fn an_earlier_or_equal_instant_gives_nothing() {
    let (mut desk, limit) = (Desk::new(), rate(10, 1, 10));
    desk.wait(100);
    assert_eq!(desk.drain(&limit, alice()), 10);
    assert_eq!(desk.drain(&limit, alice()), 0);
    desk.now.monotonic -= 50 * SECOND;
    assert_eq!(desk.drain(&limit, alice()), 0);
    desk.now.monotonic = u64::MAX - SECOND;
    assert_eq!(desk.drain(&limit, alice()), 10, "after five centuries the arithmetic still holds");
}
