//! Quotas that are saved, given back and merged.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::{Tally, Unit};
use super::{Claim, Desk, Limit, Subject, alice, concurrency, quota, rate};

const ALL: usize = usize::MAX;

fn saving(desk: Desk) -> Desk {
    desk.limiter.keep_journals();
    desk
}

fn take(desk: &Desk) -> Vec<Tally> {
    let taken = desk.limiter.take_unsaved(0, ALL);
    assert_eq!(taken.next, None);
    taken.tallies
}

fn sum(tallies: &[Tally]) -> u64 {
    tallies.iter().map(|tally| tally.used).sum()
}

fn day(count: u64) -> Limit {
    quota(count, Unit::Day, "UTC")
}

#[test]
fn what_is_taken_is_what_quotas_passed_since_the_last_time() {
    let desk = saving(Desk::new().at("2025-06-15T12:00:00Z"));
    let (limit, scarce, places) = (day(10), rate(4, 3600, 4), concurrency(9));
    let claims = [&scarce, &limit, &places].map(|limit| Claim { limit, subject: alice(), cost: 2 });
    assert_eq!((0..5).filter(|_| desk.decide(&claims).is_ok()).count(), 2);
    let taken = take(&desk);
    let [tally] = taken[..] else { panic!("{taken:?}") };
    assert_eq!((tally.used, tally.until), (4, "2025-06-16T00:00:00Z".parse::<super::Timestamp>().unwrap().as_second()));
    assert_eq!(take(&desk), []);
    assert_eq!(desk.ask(&limit, 7), Err(12 * 3600), "a refused request uses nothing");
    assert_eq!(take(&desk), []);
    let _ = desk.decide(&[Claim { limit: &limit, subject: alice(), cost: 1 }; 2]).unwrap();
    assert_eq!(take(&desk), [Tally { used: 2, ..tally }], "claimed twice, used twice");
    assert_eq!(desk.limiter.statistics().unsaved, 0);
}

#[test]
fn nothing_is_noted_unless_somebody_saves() {
    let desk = Desk::new();
    desk.ask(&day(10), 1).unwrap();
    assert_eq!((take(&desk), desk.limiter.statistics().unsaved), (vec![], 0));
    desk.limiter.put_back(&[Tally { used: 1, ..noted(&desk.now) }], desk.now);
    assert_eq!(desk.limiter.statistics().unsaved, 0);
}

/// What alice's first request of a day would leave.
fn noted(now: &super::Now) -> Tally {
    let desk = saving(Desk::new());
    let _ = desk.limiter.decide(&[Claim { limit: &day(10), subject: alice(), cost: 1 }], *now).unwrap().unwrap();
    take(&desk)[0]
}

#[test]
fn a_merged_total_counts_with_what_was_used_since() {
    // Used and saved, used and not saved, the stored total, what is left of 100.
    for (saved, unsaved, total, left) in [
        (0, 0, 40, 60),
        (0, 0, 0, 100),
        (0, 3, 40, 57),
        (5, 0, 5, 95),
        (5, 3, 5, 92),
        (5, 3, 45, 52),
        (5, 3, 98, 0),
        (5, 3, u64::MAX, 0),
        // A store that knows less than it was told is no reason to allow more.
        (5, 3, 0, 92),
    ] {
        let (desk, limit) = (saving(Desk::new()), day(100));
        let stored = Tally { used: total, ..noted(&desk.now) };
        desk.ask(&limit, saved).unwrap();
        take(&desk);
        desk.ask(&limit, unsaved).unwrap();
        for _ in 0..2 {
            desk.limiter.merge(&stored, desk.now);
            assert_eq!(desk.left_of(&limit), left, "{saved} {unsaved} {total}");
        }
        assert_eq!(sum(&take(&desk)), u64::from(unsaved), "merging uses nothing");
    }
}

impl Desk {
    /// What is left for alice.
    fn left_of(&self, limit: &Limit) -> u64 {
        self.ask(limit, 0).unwrap_or(0)
    }
}

#[test]
fn a_total_counts_until_its_window_or_the_running_one_is_over() {
    let mut desk = saving(Desk::new().at("2025-06-15T12:00:00Z"));
    let (limit, kathmandu) = (day(10), quota(10, Unit::Day, "Asia/Kathmandu"));
    let stored = Tally { used: 7, ..noted(&desk.now) };
    desk.set_wall("2025-06-16T00:00:00Z");
    desk.limiter.merge(&stored, desk.now);
    assert_eq!(desk.limiter.statistics().consumers, 0, "over");
    assert_eq!(desk.left_of(&limit), 10);
    let stored = Tally { used: 7, ..noted(&desk.now) };
    // The day of Kathmandu ends at 18:15.
    assert_eq!(desk.ask(&kathmandu, 1), Ok(9));
    desk.limiter.merge(&stored, desk.now);
    assert_eq!(desk.ask(&limit, 1), Ok(1), "seven and one were used");
    desk.set_wall("2025-06-16T18:15:00Z");
    assert_eq!(desk.left_of(&limit), 10, "the earlier end counts");
}

#[test]
fn what_is_put_back_adds_to_what_was_used_meanwhile() {
    let (mut desk, limit) = (saving(Desk::new().at("2025-06-15T12:00:00Z")), day(10));
    desk.ask(&limit, 3).unwrap();
    let taken = take(&desk);
    desk.ask(&limit, 2).unwrap();
    desk.limiter.put_back(&taken, desk.now);
    assert_eq!(desk.limiter.statistics().unsaved, 1);
    let taken = take(&desk);
    assert_eq!(sum(&taken), 5);
    assert_eq!(desk.left_of(&limit), 5, "counting went on");
    desk.set_wall("2025-06-16T00:00:00Z");
    desk.limiter.put_back(&taken, desk.now);
    assert_eq!(take(&desk), [], "nobody needs a window that is over");
    desk.ask(&limit, 1).unwrap();
    assert_eq!(sum(&take(&desk)), 1);
}

#[test]
fn a_new_window_does_not_carry_what_the_old_one_used() {
    let (mut desk, limit) = (saving(Desk::new().at("2025-06-15T12:00:00Z")), day(10));
    desk.ask(&limit, 3).unwrap();
    desk.set_wall("2025-06-16T00:00:00Z");
    desk.ask(&limit, 2).unwrap();
    assert_eq!(sum(&take(&desk)), 2);
}

#[test]
fn parts_together_are_the_whole() {
    let (desk, limit) = (saving(Desk::new()), day(10));
    for number in 0..500 {
        desk.ask_as(&limit, Subject::consumer(&number.to_string()), 1).unwrap();
        desk.ask_as(&limit, Subject::header(Some(number.to_string().as_bytes())), 1).unwrap();
    }
    let (mut from, mut parts, mut tallies) = (Some(0), 0, Vec::new());
    while let Some(shard) = from {
        let taken = desk.limiter.take_unsaved(shard, 100);
        assert!(taken.tallies.len() >= 100 || taken.next.is_none());
        from = taken.next;
        tallies.extend(taken.tallies);
        parts += 1;
    }
    assert_eq!((tallies.len(), sum(&tallies), desk.limiter.statistics().unsaved), (1000, 1000, 0));
    assert!(parts >= 4, "{parts}");
    let copy = Desk::new();
    tallies.iter().for_each(|tally| copy.limiter.merge(tally, copy.now));
    assert_eq!((copy.limiter.statistics().consumers, copy.limiter.statistics().strangers), (500, 500));
}

#[test]
fn callers_that_share_an_entry_are_saved_each_for_itself() {
    let (desk, limit) = (Desk::with_capacity(1, 64), day(5));
    let consumers: Vec<Subject> = (0..2_000).map(|number| Subject::consumer(&number.to_string())).collect();
    desk.limiter.keep_journals();
    let (mut tallies, mut passed) = (HashMap::new(), 0);
    for consumer in &consumers {
        let own = desk.drain(&limit, *consumer);
        passed += own;
        let taken = take(&desk);
        assert_eq!(sum(&taken), own);
        tallies.extend(taken.into_iter().map(|tally| ((tally.low, tally.high), tally)));
    }
    assert!(desk.limiter.statistics().overflow_hits > 1_000);
    assert_eq!(tallies.values().map(|tally| tally.used).sum::<u64>(), passed);
    let spent = tallies.values().filter(|tally| tally.used == 5).count();
    assert!(spent >= 64, "{spent}");
    // A process with as little room knows them all, as early refusals.
    let small = Desk::with_capacity(1, 1);
    tallies.values().for_each(|tally| small.limiter.merge(tally, small.now));
    assert_eq!(small.limiter.statistics().consumers, 64);
    for consumer in &consumers {
        let used = tallies.get(&(consumer.low, consumer.high)).map_or(0, |tally| tally.used);
        assert!(small.drain(&limit, *consumer) <= 5 - used);
    }
    // One with room knows them exactly.
    let large = Desk::new();
    tallies.values().for_each(|tally| large.limiter.merge(tally, large.now));
    for consumer in &consumers {
        let used = tallies.get(&(consumer.low, consumer.high)).map_or(0, |tally| tally.used);
        assert_eq!(large.drain(&limit, *consumer), 5 - used);
    }
}

#[test]
fn a_full_journal_counts_what_it_cannot_hold() {
    let (desk, limit) = (saving(Desk::with_capacity(1, 1)), day(1_000_000));
    for number in 0..1_000 {
        desk.ask_as(&limit, Subject::consumer(&number.to_string()), 2).unwrap();
    }
    assert_eq!(desk.limiter.statistics().unsaved, 64);
    let taken = desk.limiter.take_unsaved(0, ALL);
    assert_eq!((taken.tallies.len(), sum(&taken.tallies), taken.dropped), (64, 128, 2_000 - 128));
    assert_eq!(desk.limiter.take_unsaved(0, ALL).dropped, 0, "told once");
}

/// What may happen to one of two processes with one store.
#[derive(Clone, Debug)]
enum Event {
    Ask { process: usize, consumer: usize, cost: u32 },
    Save { process: usize },
    Fail { process: usize },
    Kill { process: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let process = 0..2_usize;
    prop_oneof![
        10 => (process.clone(), 0..3_usize, 1..4_u32)
            .prop_map(|(process, consumer, cost)| Event::Ask { process, consumer, cost }),
        3 => process.clone().prop_map(|process| Event::Save { process }),
        1 => process.clone().prop_map(|process| Event::Fail { process }),
        1 => process.prop_map(|process| Event::Kill { process }),
    ]
}

type Totals = HashMap<(u64, u64), Tally>;

/// Saves into a store that adds, and merges all of it.
fn save(desk: &Desk, store: &mut Totals) {
    for tally in take(desk) {
        store.entry((tally.low, tally.high)).and_modify(|total| total.used += tally.used).or_insert(tally);
    }
    store.values().for_each(|total| desk.limiter.merge(total, desk.now));
}

proptest! {
    #[test]
    fn processes_with_one_store_neither_lose_nor_double(events in prop::collection::vec(event(), 1..200)) {
        let limit = day(60);
        let consumers = ["a", "b", "c"].map(Subject::consumer);
        let (mut desks, mut store) = ([saving(Desk::new()), saving(Desk::new())], Totals::new());
        // What passed, but for what a process that was killed had not saved.
        let mut counted = [[0_u64; 3]; 2];
        let mut saved = [0_u64; 3];
        for event in events {
            match event {
                Event::Ask { process, consumer, cost } => {
                    if desks[process].ask_as(&limit, consumers[consumer], cost).is_ok() {
                        counted[process][consumer] += u64::from(cost);
                    }
                }
                Event::Save { process } => {
                    save(&desks[process], &mut store);
                    let new = std::mem::take(&mut counted[process]);
                    saved.iter_mut().zip(new).for_each(|(saved, new)| *saved += new);
                }
                Event::Fail { process } => {
                    let taken = take(&desks[process]);
                    desks[process].limiter.put_back(&taken, desks[process].now);
                }
                Event::Kill { process } => {
                    desks[process] = saving(Desk::new());
                    save(&desks[process], &mut store);
                    counted[process] = [0; 3];
                }
            }
            for (consumer, subject) in consumers.iter().enumerate() {
                let stored = store.get(&(subject.low, subject.high)).map_or(0, |total| total.used);
                prop_assert_eq!(stored, saved[consumer]);
                // Each alone never exceeds the limit.
                prop_assert!(counted.iter().all(|own| own[consumer] <= 60));
            }
        }
        for (process, desk) in desks.iter().enumerate() {
            save(desk, &mut store);
            let new = std::mem::take(&mut counted[process]);
            saved.iter_mut().zip(new).for_each(|(saved, new)| *saved += new);
        }
        save(&desks[0], &mut store);
        for desk in &desks {
            for (consumer, subject) in consumers.iter().enumerate() {
                let left = 60_u64.saturating_sub(saved[consumer]);
                prop_assert_eq!(desk.drain(&limit, *subject), left);
            }
        }
    }
}
