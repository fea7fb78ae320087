//! Properties over random requests.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::rate::Debt;
use super::super::table::{Key, State, Table};
use super::{Desk, Moment, SECOND, rate};

/// Requests as (nanoseconds since the one before, cost).
fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let gap = prop_oneof![Just(0), 1..1_000_u64, 0..SECOND, 0..100 * SECOND];
    prop::collection::vec((gap, 0..5_u32), 1..120)
}

proptest! {
    #[test]
    fn no_interval_admits_more_than_burst_plus_rate_times_its_length(
        count in 1..2_000_u64, period in prop::sample::select(vec![1, 60, 3600_u64]), burst in 1..200_u64, requests in requests()
    ) {
        let (mut desk, limit) = (Desk::new(), rate(count, period, burst));
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        for (gap, cost) in requests {
            desk.now.monotonic += gap;
            if desk.ask(&limit, cost).is_ok() {
                admitted.push((desk.now.monotonic, u64::from(cost)));
            }
        }
        let period = u128::from(period * SECOND);
        for from in 0..admitted.len() {
            let mut sum = 0_u128;
            for (at, cost) in &admitted[from..] {
                sum += u128::from(*cost);
                let length = u128::from(at - admitted[from].0);
                prop_assert!(sum * period <= u128::from(burst) * period + u128::from(count) * length);
            }
        }
    }

    #[test]
    fn a_request_passes_after_retry_after_and_not_a_second_before(
        count in 1..2_000_u64, period in prop::sample::select(vec![1, 60, 3600_u64]), burst in 5..200_u64, requests in requests()
    ) {
        let (mut desk, limit) = (Desk::new(), rate(count, period, burst));
        for (gap, cost) in requests {
            desk.now.monotonic += gap;
            let Err(wait) = desk.ask(&limit, cost) else { continue };
            desk.wait(u64::from(wait) - 1);
            prop_assert!(desk.ask(&limit, cost).is_err());
            desk.wait(1);
            prop_assert!(desk.ask(&limit, cost).is_ok());
        }
    }

    #[test]
    fn nothing_overflows(
        count in 1..=super::super::MAX_COUNT, burst in 1..=super::super::MAX_COUNT, period in 1..u64::MAX,
        now in any::<u64>(), until in any::<u64>(), part in any::<u32>(), pace in any::<u32>(), cost in any::<u32>()
    ) {
        let period = std::time::Duration::from_nanos(period);
        if let Ok(bucket) = super::super::rate::Bucket::new(count, period, burst) {
            let outcome = bucket.take(Debt { until, part, pace }, u64::from(cost), now);
            prop_assert!(outcome.remaining <= burst);
        }
    }

    #[test]
    fn a_table_holds_what_a_map_would(steps in prop::collection::vec((0..6_u8, 0..60_u64, 1..9_u64), 1..400)) {
        let (mut table, mut map) = (Table::default(), HashMap::new());
        let mut now = 0;
        for (action, number, lasts) in steps {
            // Few homes: long runs, that wrap around the end too.
            let key = Key { limit: 0, low: (number % 5).wrapping_sub(2), high: number };
            match action {
                0..=3 => {
                    let state = State::Rate(Debt { until: now + lasts, part: 0, pace: 0 });
                    let seen_at = table.find(&key);
                    table.store(seen_at, key, state);
                    map.insert(number, (key, state));
                }
                4 => {
                    table.store(None, key, State::Fresh);
                    map.remove(&number);
                }
                _ => {
                    now += lasts;
                    let moment = Moment { monotonic: now, unix: 0, wall: 0 };
                    table.sweep(2 * table.slots(), moment);
                    map.retain(|_, (_, state)| !state.is_fresh(moment));
                }
            }
            prop_assert_eq!(table.len(), map.len());
            for (key, state) in map.values() {
                prop_assert_eq!(table.find(key).map(|at| table.state(at)), Some(*state));
            }
        }
    }
}
