//! Many threads at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{Claim, Desk, Limit, Subject, Unit, alice, concurrency, named_rate, quota};

const THREADS: usize = 8;

/// Lets every thread make its attempts at once; how many passed.
fn storm(desk: &Desk, attempts: usize, claims: impl Fn(usize) -> Vec<Claim<'static>> + Sync) -> u64 {
    let (start, passed) = (Barrier::new(THREADS), AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (start, passed, claims) = (&start, &passed, &claims);
            scope.spawn(move || {
                start.wait();
                for attempt in 0..attempts {
                    if desk.decide(&claims(number + attempt)).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    passed.into_inner()
}

fn forever(limit: Limit) -> &'static Limit {
    Box::leak(Box::new(limit))
}

#[test]
fn exactly_the_limit_passes_however_many_ask_at_once() {
    for limit in [named_rate("rate", 100, 3600, 100), quota(100, Unit::Day, "Europe/Berlin")] {
        let (desk, limit) = (Desk::new(), forever(limit));
        assert_eq!(storm(&desk, 2_000, |_| vec![Claim { limit, subject: alice(), cost: 1 }]), 100);
    }
}

#[test]
fn claims_in_any_order_neither_deadlock_nor_leak() {
    let desk = Desk::new();
    let wide = forever(named_rate("wide", 1_000, 3600, 1_000));
    let narrow = forever(named_rate("narrow", 10, 3600, 10));
    let day = forever(quota(150, Unit::Day, "UTC"));
    let consumer = |number: usize| Subject::consumer(&(number % 20).to_string());
    // 20 consumers with 10 each ask for 200; the day has 150 for all of them.
    let passed = storm(&desk, 3_000, |number| {
        let mut claims = vec![
            Claim { limit: wide, subject: Subject::everyone(), cost: 1 },
            Claim { limit: narrow, subject: consumer(number), cost: 1 },
            Claim { limit: day, subject: Subject::header(Some(b"all")), cost: 1 },
        ];
        claims.rotate_left(number % 3);
        if number % 2 == 0 {
            claims.reverse();
        }
        claims
    });
    assert_eq!(passed, 150);
    assert_eq!(desk.ask_as(wide, Subject::everyone(), 0), Ok(850), "only what passed was spent");
    let left: u64 = (0..20).map(|number| desk.drain(narrow, consumer(number))).sum();
    assert_eq!(left, 50);
}

#[test]
fn never_more_than_the_places_are_in_flight() {
    let (desk, places) = (Desk::new(), concurrency(3));
    let (start, in_flight, most) = (Barrier::new(THREADS), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..2_000 {
                    let Ok(granted) = desk.decide(&[Claim { limit: &places, subject: alice(), cost: 1 }]) else {
                        continue;
                    };
                    most.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    drop(granted);
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(desk.ask(&places, 1), Ok(2), "all places came back");
}
