//! Somebody with a million names against a table of a hundred thousand.
//!
//! What is checked is arithmetic, not a tendency: how many requests pass follows from the size of the table and the
//! limit alone, whatever the order in which threads come.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::super::limiter::shard_number;
use super::{Claim, Desk, Limit, Subject, named_rate, rate};

const SHARDS: u64 = 64;
/// Strangers that the table has room for, rounded up to whole shards as the limiter does.
const ROOM: u64 = 100_000_u64.div_ceil(SHARDS) * SHARDS;
const NAMES: u64 = 1_000_000;
const THREADS: u64 = 4;

/// Of each stranger, and with it of each entry that strangers share.
const ALLOWANCE: u64 = 5;
/// Of each honest consumer, all of which it uses.
const CONSUMERS_ALLOWANCE: u64 = 20;
const CONSUMERS: u64 = 1_000;
/// Strangers that were there before the adversary.
const REGULARS: u64 = 500;

fn made_up(number: u64) -> Subject {
    Subject::header(Some(&number.to_ne_bytes()))
}

fn regular(number: u64) -> Subject {
    Subject::header(Some(format!("regular-{number}").as_bytes()))
}

fn abuser(name: &str) -> Subject {
    Subject::header(Some(name.as_bytes()))
}

fn honest(number: u64) -> Subject {
    Subject::consumer(&format!("consumer-{number}"))
}

fn passes(desk: &Desk, limit: &Limit, subject: Subject) -> u64 {
    u64::from(desk.decide(&[Claim { limit, subject, cost: 1 }]).is_ok())
}

/// What passed of each kind while the adversary was at work.
#[derive(Default)]
struct Passed {
    made_up: AtomicU64,
    early_abuser: AtomicU64,
    late_abuser: AtomicU64,
    regulars: AtomicU64,
    consumers: AtomicU64,
}

/// A quarter of the names, and between them everybody else: the abusers always, the honest at their own pace.
fn work(desk: &Desk, limit: &Limit, plan: &Limit, passed: &Passed, thread: u64) {
    let add = |count: &AtomicU64, more: u64| _ = count.fetch_add(more, Ordering::Relaxed);
    let mine = NAMES / THREADS;
    let (regulars, consumers) = (REGULARS * (ALLOWANCE - 1) / THREADS, CONSUMERS * CONSUMERS_ALLOWANCE / THREADS);
    for turn in 0..mine {
        add(&passed.made_up, passes(desk, limit, made_up(thread * mine + turn)));
        if turn % 10 == 0 {
            add(&passed.early_abuser, passes(desk, limit, abuser("early")));
        }
        // Only once there is no room, so that it has to hide among those that share.
        if turn % 10 == 5 && turn > mine / 2 {
            add(&passed.late_abuser, passes(desk, limit, abuser("late")));
        }
        let due = |all: u64| (turn * all / mine, (turn + 1) * all / mine);
        let (from, to) = due(regulars);
        for request in from..to {
            add(&passed.regulars, passes(desk, limit, regular((thread * regulars + request) % REGULARS)));
        }
        let (from, to) = due(consumers);
        for request in from..to {
            add(&passed.consumers, passes(desk, plan, honest((thread * consumers + request) % CONSUMERS)));
        }
    }
}

#[test]
fn a_million_names_get_no_more_than_the_table_has_room_for_and_harm_nobody() {
    let desk = Desk::with_capacity(4096, usize::try_from(ROOM).unwrap());
    let limit = rate(ALLOWANCE, 3600, ALLOWANCE);
    let plan = named_rate("plan", CONSUMERS_ALLOWANCE, 3600, CONSUMERS_ALLOWANCE);
    assert_eq!(desk.drain(&limit, abuser("early")), ALLOWANCE);
    assert!((0..REGULARS).all(|number| passes(&desk, &limit, regular(number)) == 1));

    let (passed, start) = (Passed::default(), Barrier::new(usize::try_from(THREADS).unwrap()));
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (desk, limit, plan, passed, start) = (&desk, &limit, &plan, &passed, &start);
            scope.spawn(move || {
                start.wait();
                work(desk, limit, plan, passed, number);
            });
        }
    });

    assert_eq!(passed.consumers.into_inner(), CONSUMERS * CONSUMERS_ALLOWANCE, "no honest consumer is refused");
    assert!((0..CONSUMERS).all(|number| passes(&desk, &plan, honest(number)) == 0), "and none has more");
    assert_eq!(passed.regulars.into_inner(), REGULARS * (ALLOWANCE - 1), "no stranger that was there before is");
    assert!((0..REGULARS).all(|number| passes(&desk, &limit, regular(number)) == 0));
    assert_eq!(passed.early_abuser.into_inner(), 0, "what is spent stays spent");
    // Each name that found room passed once; all others together have one allowance in each shard.
    let (made_up, late) = (passed.made_up.into_inner(), passed.late_abuser.into_inner());
    assert!(late <= ALLOWANCE, "{late}");
    assert_eq!(made_up + late, ROOM - REGULARS - 1 + SHARDS * ALLOWANCE);

    let statistics = desk.limiter.statistics();
    assert_eq!((statistics.strangers, statistics.consumers), (ROOM, CONSUMERS));
    assert_eq!(statistics.overflow_entries, SHARDS);
    let (bytes, bound) = (desk.limiter.bytes(), desk.limiter.bound(2));
    println!("{bytes} bytes of at most {bound}, {made_up} of {NAMES} made-up names passed");
    assert!(bytes <= bound && bound < 16 << 20, "{bytes} of at most {bound}");
}

/// The table fills and empties: an abuser that changes between the shared entry and one of its own gets what the limit
/// says of any stretch of time, and no more.
#[test]
fn hiding_among_those_without_room_gives_no_second_allowance() {
    const REFILL: u64 = 3600 / ALLOWANCE;
    let mut desk = Desk::with_capacity(64, usize::try_from(ROOM).unwrap());
    let (brief, limit) = (named_rate("brief", 1, 10, 1), rate(ALLOWANCE, 3600, ALLOWANCE));
    let subject = abuser("hiding");
    // More names than its shard has room for.
    let beside = |name: &Subject| shard_number(name) == shard_number(&subject);
    let crowd: Vec<Subject> =
        (0..).map(made_up).filter(beside).take(usize::try_from(ROOM / SHARDS + 100).unwrap()).collect();
    let (mut time, mut seen, mut shared) = (0, Vec::new(), 0);
    for pause in [0, 60, 700, 720, 3_000, 3_600, 3_700, 10, 8_000, 0, 100_000] {
        crowd.iter().for_each(|name| _ = passes(&desk, &brief, *name));
        let before = desk.limiter.statistics().overflow_hits;
        let passed = desk.drain(&limit, subject);
        shared += u64::from(passed > 0 && desk.limiter.statistics().overflow_hits > before);
        seen.push((time, passed));
        desk.wait(10);
        desk.limiter.sweep(desk.now);
        seen.push((time + 10, desk.drain(&limit, subject)));
        desk.wait(pause);
        time += 10 + pause;
    }
    assert!(shared >= 4, "it passed by way of the shared entry {shared} times only");
    for (index, (begin, _)) in seen.iter().enumerate() {
        let mut passed = 0;
        for (end, more) in &seen[index..] {
            passed += more;
            assert!(passed <= ALLOWANCE + (end - begin) / REFILL, "{passed} from {begin} s to {end} s: {seen:?}");
        }
    }
}
