//! Memory: what a limiter keeps, drops and shares.

use super::super::table::{Slot, Table};
use super::{Claim, Desk, Limiter, Subject, Unit, concurrency, quota, rate};

fn stranger(number: usize) -> Subject {
    Subject::header(Some(&number.to_ne_bytes()))
}

fn consumer(number: usize) -> Subject {
    Subject::consumer(&format!("consumer-{number}"))
}

#[test]
fn the_bound_in_bytes_is_the_one_that_is_documented() {
    assert_eq!(size_of::<Slot>(), 48);
    assert_eq!(Table::max_bytes(Limiter::CONSUMERS / 64), 32_768 * 48);
    assert_eq!(Limiter::max_bytes(), 120 << 20);
}

#[test]
fn a_spent_key_is_refused_after_a_flood_of_others_and_the_bound_holds() {
    let desk = Desk::with_capacity(64, 64 * 48);
    let limit = rate(3, 3600, 3);
    let spent = stranger(usize::MAX);
    assert_eq!(desk.drain(&limit, spent), 3);
    for number in 0..20_000 {
        let _ = desk.ask_as(&limit, stranger(number), 1);
    }
    let statistics = desk.limiter.statistics();
    assert_eq!(statistics.strangers, 64 * 48, "every entry is in use");
    assert!(statistics.overflow_hits > 10_000);
    assert_eq!(statistics.overflow_entries, 64, "one for each shard");
    assert!(desk.limiter.bytes() <= 64 * (Table::max_bytes(48) + Table::max_bytes(1)));
    assert_eq!(desk.drain(&limit, spent), 0);
}

#[test]
fn strangers_do_not_take_the_room_of_consumers() {
    let desk = Desk::with_capacity(64 * 16, 64);
    let limit = rate(3, 3600, 3);
    for number in 0..10_000 {
        let _ = desk.ask_as(&limit, stranger(number), 1);
    }
    let before = desk.limiter.statistics().overflow_hits;
    for number in 0..100 {
        assert_eq!(desk.drain(&limit, consumer(number)), 3);
    }
    assert_eq!(desk.limiter.statistics().overflow_hits, before);
}

#[test]
fn in_a_full_shard_newcomers_share_and_none_gets_more_than_the_limit() {
    let desk = Desk::with_capacity(1, 1);
    for limit in [rate(5, 3600, 5), quota(5, Unit::Month, "UTC")] {
        let mut early = 0;
        for number in 0..2_000 {
            let passed = desk.drain(&limit, stranger(number));
            assert!(passed <= 5);
            early += u64::from(passed < 5);
        }
        assert!(early > 1_500, "{early} newcomers were refused early");
    }
}

#[test]
fn room_that_is_free_again_gives_no_second_allowance() {
    // Shards of one entry each: its holder's debt ends before that of the shared entry.
    let mut desk = Desk::with_capacity(1, 1);
    let (brief, limit) = (super::named_rate("brief", 1, 10, 1), rate(5, 3600, 5));
    for number in 0..1_000 {
        let _ = desk.ask_as(&brief, stranger(number), 1);
    }
    let newcomer = stranger(usize::MAX);
    assert_eq!(desk.drain(&limit, newcomer), 5);
    assert!(desk.limiter.statistics().overflow_entries > 64);
    desk.wait(10);
    desk.limiter.sweep(desk.now);
    assert_eq!(desk.limiter.statistics().strangers, 0, "there is room");
    assert_eq!(desk.drain(&limit, newcomer), 0);
    desk.wait(710);
    assert_eq!(desk.drain(&limit, newcomer), 1);
}

#[test]
fn places_held_by_way_of_the_shared_entry_count_until_they_are_given_back() {
    let mut desk = Desk::with_capacity(1, 1);
    let (brief, places) = (rate(1, 10, 1), concurrency(3));
    for number in 0..1_000 {
        let _ = desk.ask_as(&brief, stranger(number), 1);
    }
    let claim = [Claim { limit: &places, subject: stranger(usize::MAX), cost: 1 }];
    let shared: Vec<_> = (0..2).map(|_| desk.decide(&claim).unwrap().permit).collect();
    assert_eq!(desk.limiter.statistics().overflow_hits, 2 + 1_000 - 64);
    desk.wait(10);
    desk.limiter.sweep(desk.now);
    let own = desk.decide(&claim).unwrap();
    assert_eq!(own.standings[0].remaining, 0, "two of three are held elsewhere");
    assert!(desk.decide(&claim).is_err());
    drop(shared);
    assert_eq!(desk.decide(&claim).unwrap().standings[0].remaining, 1);
    drop(own);
    assert_eq!(desk.decide(&claim).unwrap().standings[0].remaining, 2);
    desk.limiter.sweep(desk.now);
    assert_eq!(desk.limiter.statistics().overflow_entries, 0);
}

#[test]
fn what_is_over_makes_room_by_itself_and_its_memory_is_freed() {
    let mut desk = Desk::with_capacity(64 * 4096, 64);
    let limit = rate(10, 10, 10);
    for number in 0..100_000 {
        desk.ask_as(&limit, consumer(number), 1).unwrap();
    }
    let peak = desk.limiter.bytes();
    assert_eq!(desk.limiter.statistics().consumers, 100_000);
    for number in 100_000..200_000 {
        if number % 100 == 0 {
            desk.wait(1);
        }
        desk.ask_as(&limit, consumer(number), 1).unwrap();
    }
    let later = desk.limiter.statistics().consumers;
    assert!(later < 5_000, "{later} entries are left by insertions alone");
    assert!(desk.limiter.bytes() < peak / 8);
    desk.wait(10);
    desk.limiter.sweep(desk.now);
    assert_eq!(desk.limiter.statistics().consumers, 0);
    assert!(desk.limiter.bytes() <= 64 * Table::max_bytes(1));
}

#[test]
fn a_refused_request_leaves_no_entry() {
    let desk = Desk::new();
    assert!(desk.ask_as(&rate(1, 60, 1), stranger(1), 2).is_err());
    assert_eq!(desk.limiter.statistics(), super::super::Statistics::default());
}
