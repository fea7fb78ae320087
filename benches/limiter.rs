//! What limits cost a request: one claim, three claims of one consumer, many subjects, two threads on one counter, and
//! the headers. `cargo bench --bench limiter`. Time comes from an argument here; reading both clocks is measured apart.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use tollgate::policy::limit::headers::{rate_limit, rate_limit_policy, x_rate_limit};
use tollgate::policy::limit::{Claim, Clock, Limit, Limiter, Now, Subject, Unit};

const SUBJECTS: usize = 100_000;

/// Limits that never refuse, so that every pass writes.
fn limits() -> [Limit; 3] {
    let zone = TimeZone::get("Europe/Berlin").expect("the bundled database has Berlin");
    [
        Limit::rate("bench/second", "second", 1_000_000, Duration::from_secs(1), 1_000_000),
        Limit::rate("bench/minute", "minute", 60_000_007, Duration::from_secs(60), 60_000_007),
        Limit::quota("bench/month", "month", 900_000_000_000_000, Unit::Month, zone),
    ]
    .map(|limit| limit.expect("the limits are valid"))
}

/// Each call is a microsecond later.
fn ticking() -> impl FnMut() -> Now {
    let mut monotonic = 0;
    move || {
        monotonic += 1_000;
        Now { monotonic, unix: 1_750_000_000 + i64::try_from(monotonic / 1_000_000_000).unwrap_or(0) }
    }
}

fn decisions(criterion: &mut Criterion) {
    let limits = limits();
    let limiter = Limiter::new();
    let claims = limits.each_ref().map(|limit| Claim { limit, subject: Subject::consumer("alice"), cost: 1 });
    let mut now = ticking();
    criterion.bench_function("one claim", |bencher| {
        bencher.iter(|| limiter.decide(black_box(&claims[..1]), now()).is_ok());
    });
    criterion.bench_function("three claims", |bencher| {
        bencher.iter(|| limiter.decide(black_box(&claims), now()).is_ok());
    });
    let places = Limit::concurrency("bench/concurrency", "concurrency", 4).expect("the limit is valid");
    let claim = [Claim { limit: &places, ..claims[0] }];
    criterion.bench_function("one concurrency claim and its return", |bencher| {
        bencher.iter(|| limiter.decide(black_box(&claim), now()).is_ok());
    });
}

fn many_subjects(criterion: &mut Criterion) {
    let limits = limits();
    let limiter = Limiter::new();
    let subjects: Vec<Subject> = (0..SUBJECTS).map(|number| Subject::consumer(&number.to_string())).collect();
    let mut now = ticking();
    let mut next = 0;
    criterion.bench_function("one claim of each of 100,000 subjects", |bencher| {
        bencher.iter(|| {
            next = if next + 1 == SUBJECTS { 0 } else { next + 1 };
            limiter.decide(&[Claim { limit: &limits[2], subject: subjects[next], cost: 1 }], now()).is_ok()
        });
    });
    criterion.bench_function("subject of a name", |bencher| bencher.iter(|| Subject::consumer(black_box("alice"))));
}

fn contended(criterion: &mut Criterion) {
    let limits = Arc::new(limits());
    let limiter = Limiter::new();
    let stop = Arc::new(AtomicBool::new(false));
    let rival = {
        let (limits, limiter, stop) = (Arc::clone(&limits), Arc::clone(&limiter), Arc::clone(&stop));
        thread::spawn(move || {
            let claim = [Claim { limit: &limits[0], subject: Subject::consumer("alice"), cost: 1 }];
            let mut now = ticking();
            while !stop.load(Ordering::Relaxed) {
                let _ = black_box(limiter.decide(&claim, now()).is_ok());
            }
        })
    };
    let claim = [Claim { limit: &limits[0], subject: Subject::consumer("alice"), cost: 1 }];
    let mut now = ticking();
    criterion.bench_function("one claim, another thread on the same counter", |bencher| {
        bencher.iter(|| limiter.decide(black_box(&claim), now()).is_ok());
    });
    stop.store(true, Ordering::Relaxed);
    rival.join().expect("the other thread does not panic");
}

fn telling(criterion: &mut Criterion) {
    let limits = limits();
    let limiter = Limiter::new();
    let claims = limits.each_ref().map(|limit| Claim { limit, subject: Subject::consumer("alice"), cost: 1 });
    let granted = limiter.decide(&claims, ticking()()).expect("the counters are here").expect("fresh counters pass");
    let policy = rate_limit_policy(&limits);
    criterion.bench_function("RateLimit of three limits", |bencher| {
        bencher.iter(|| rate_limit(black_box(&granted.standings)));
    });
    criterion.bench_function("X-RateLimit triplet", |bencher| {
        bencher.iter(|| x_rate_limit(black_box(&granted.standings)));
    });
    criterion.bench_function("RateLimit-Policy made in advance", |bencher| bencher.iter(|| black_box(&policy).clone()));
    let clock = Clock::start();
    criterion.bench_function("both clocks", |bencher| bencher.iter(|| clock.now()));
}

criterion_group!(benches, decisions, many_subjects, contended, telling);
criterion_main!(benches);
