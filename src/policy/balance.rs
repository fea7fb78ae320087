//! Which of several targets a request goes to: the arithmetic of it.
//!
//! [`spread`] turns weights into an order in which each target comes as often as its weight says and as evenly as
//! that allows, so that taking turns is a step in a list, and drawing by weight is one drawn number. [`preference`] is
//! weighted rendezvous hashing: every key ranks all targets, each pair by itself; so when a target goes, only its own keys
//! move, and when one comes, it takes its share and nothing else moves. Hashes are the same in every process, so that
//! several gateways agree.

/// The order in which targets with these weights are taken, as indices. One with the weight 0 is not in it.
pub fn spread(weights: &[u32]) -> Box<[u16]> {
    let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
    let count = weights.len() as f64;
    let mut turns: Vec<(f64, u16)> = Vec::new();
    for (index, weight) in (0..u16::MAX).zip(weights) {
        let weight = weight / divisor;
        // Each begins a little later than the one before, so that those with equal weights do not come in a bunch.
        let begin = (f64::from(index) + 0.5) / count;
        turns.extend((0..weight).map(|turn| ((f64::from(turn) + begin) / f64::from(weight), index)));
    }
    turns.sort_by(|one, other| one.0.total_cmp(&other.0));
    turns.into_iter().map(|(_, index)| index).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A hash of some bytes: FNV-1a, mixed so that every bit depends on every byte.
pub fn hash(bytes: &[u8]) -> u64 {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mixed(sum)
}

/// The last steps of SplitMix64.
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The one among several with these weights that a key belongs to: each has a part of all keys, in this order. Without
/// any weight it is the first.
pub fn nth_of(key: u64, weights: impl Iterator<Item = u32> + Clone) -> usize {
    let total: u64 = weights.clone().map(u64::from).sum();
    // Below the total, as the key is below 2^64.
    let point = ((u128::from(mixed(key)) * u128::from(total)) >> 64) as u64;
    let mut ends = weights.scan(0, |end: &mut u64, weight| {
        *end += u64::from(weight);
        Some(*end)
    });
    ends.position(|end| point < end).unwrap_or_default()
}

/// How much a key prefers a target; it belongs to the one that it prefers most. Both are hashes.
pub fn preference(key: u64, target: u64, weight: u32) -> f64 {
    // 53 bits make a number above 0 and below 1; its logarithm is below 0.
    let drawn = ((mixed(key ^ target.rotate_left(32)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / drawn.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn turns_are_as_even_as_weights_allow() {
        for (weights, expected) in [
            (&[1, 1, 1][..], &[0, 1, 2][..]),
            (&[7], &[0]),
            (&[4, 4], &[0, 1]),
            (&[0, 3, 0], &[1]),
            (&[0, 0], &[]),
            (&[], &[]),
            (&[2, 1], &[0, 0, 1]),
            (&[4, 1, 1], &[0, 0, 1, 0, 0, 2]),
        ] {
            assert_eq!(&*spread(weights), expected, "{weights:?}");
        }
    }

    /// Whom a key belongs to.
    fn owner(key: u64, targets: &[(u64, u32)]) -> u64 {
        let best = targets
            .iter()
            .max_by(|one, other| preference(key, one.0, one.1).total_cmp(&preference(key, other.0, other.1)));
        best.expect("there are targets").0
    }

    fn targets(count: u64) -> Vec<(u64, u32)> {
        (0..count).map(|number| (hash(format!("10.0.0.{number}:80").as_bytes()), 1)).collect()
    }

    #[test]
    fn keys_are_shared_out_by_weight() {
        let mut targets = targets(5);
        targets[2].1 = 3;
        let keys = 70_000;
        let mut counts = std::collections::HashMap::<u64, u32>::new();
        for key in 0..keys {
            *counts.entry(owner(hash(format!("user-{key}").as_bytes()), &targets)).or_default() += 1;
        }
        for (target, weight) in targets {
            let expected = keys / 7 * weight;
            let found = counts[&target];
            assert!(found.abs_diff(expected) < expected / 20, "{found} keys with the weight {weight}, not {expected}");
        }
    }

    proptest! {
        #[test]
        fn every_target_gets_the_turns_of_its_weight(weights in proptest::collection::vec(0_u32..100, 1..20)) {
            let order = spread(&weights);
            let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
            for (index, weight) in weights.iter().enumerate() {
                let turns = order.iter().filter(|turn| usize::from(**turn) == index).count();
                prop_assert_eq!(turns, (weight / divisor) as usize);
            }
        }

        #[test]
        fn only_keys_of_a_target_that_goes_move(count in 2_u64..20, gone in 0_usize..20, keys in proptest::collection::vec(any::<u64>(), 200)) {
            let before = targets(count);
            let gone = before[gone % before.len()].0;
            let after: Vec<_> = before.iter().copied().filter(|target| target.0 != gone).collect();
            for key in keys {
                let (old, new) = (owner(key, &before), owner(key, &after));
                prop_assert!(old == gone || old == new);
            }
        }

        #[test]
        fn keys_move_only_to_a_target_whose_weight_grows(grown in 0_usize..6, keys in proptest::collection::vec(any::<u64>(), 200)) {
            let before = targets(6);
            let mut after = before.clone();
            after[grown].1 = 2;
            for key in keys {
                let (old, new) = (owner(key, &before), owner(key, &after));
                prop_assert!(old == new || new == after[grown].0);
            }
        }
    }

    #[test]
    fn keys_are_shared_out_by_weight_and_stay_where_more_weight_goes() {
        let of = |weights: [u32; 3], key: u32| nth_of(hash(&key.to_le_bytes()), weights.into_iter());
        for weights in [[95, 5, 0], [1, 1, 2], [0, 0, 7], [u32::MAX, u32::MAX, u32::MAX]] {
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (at, weight) in weights.into_iter().enumerate() {
                let here = (0..20_000).filter(|key| of(weights, *key) == at).count() as f64 / 20_000.0;
                let share = f64::from(weight) / total;
                assert!((here - share).abs() < 0.015 && (weight > 0 || here == 0.0), "{weights:?} {at}: {here}");
            }
        }
        assert_eq!(of([0, 0, 0], 7), 0);
        for key in 0..20_000 {
            let (before, after) = (of([95, 5, 0], key), of([80, 20, 0], key));
            assert!(before == 0 || after == 1, "{key} leaves the service whose weight grows");
        }
    }
}
