//! A set of networks, asked for one address at a time.
//!
//! Invariant: ranges are sorted and apart from each other, so one binary search decides, however many there are.
//! IPv4 addresses mapped into IPv6 are IPv4 addresses here; `::/0` holds no IPv4 address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses of either family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// The union of these networks.
    pub fn of<'n>(networks: impl IntoIterator<Item = &'n IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match ends(network) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                // Both ends of a network are of one family.
                _ => {}
            }
        }
        Self { v4: joined(v4, |end| end.checked_add(1)), v6: joined(v6, |end| end.checked_add(1)) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => range_around(&self.v4, address.to_bits()).is_some(),
            IpAddr::V6(address) => range_around(&self.v6, address.to_bits()).is_some(),
        }
    }

    /// Whether all addresses of a network are in them.
    pub fn cover(&self, network: &IpNet) -> bool {
        match ends(network) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                range_around(&self.v4, first.to_bits()).is_some_and(|end| end >= last.to_bits())
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                range_around(&self.v6, first.to_bits()).is_some_and(|end| end >= last.to_bits())
            }
            _ => false,
        }
    }
}

/// The first and the last address, as IPv4 where both are.
fn ends(network: &IpNet) -> (IpAddr, IpAddr) {
    let (first, last) = (network.network(), network.broadcast());
    match (first.to_canonical(), last.to_canonical()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (first.into(), last.into()),
        _ => (first, last),
    }
}

/// Sorted, with what overlaps or touches made one.
fn joined<T: Ord + Copy>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if next(before.1).is_none_or(|next| first <= next) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// The end of the range that an address is in.
fn range_around<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> Option<T> {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    let (_, last) = ranges.get(behind.checked_sub(1)?)?;
    (address <= *last).then_some(*last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(text: &str) -> Vec<IpNet> {
        text.split_whitespace().map(|network| network.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_is_in_a_network_or_not() {
        for (set, inside, outside) in [
            ("", "", "0.0.0.0 ::"),
            ("10.0.0.0/8", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 ::a00:1"),
            ("10.1.2.3/8", "10.9.9.9", "11.0.0.0"),
            ("192.0.2.7/32 192.0.2.9/32", "192.0.2.7 192.0.2.9", "192.0.2.6 192.0.2.8 192.0.2.10"),
            ("0.0.0.0/0", "0.0.0.0 255.255.255.255", ":: ffff::1"),
            ("::/0", ":: ffff:ffff::", "0.0.0.0 192.0.2.1"),
            ("2001:db8::/32", "2001:db8::1", "2001:db9:: 2001:db7:ffff::"),
            ("::ffff:10.0.0.0/104", "10.4.5.6", "11.0.0.0"),
            ("255.255.255.255/32 255.0.0.0/8", "255.255.255.255 255.0.0.0", "254.255.255.255"),
        ] {
            let of = Networks::of(&networks(set));
            assert_eq!(of.is_empty(), set.is_empty(), "{set}");
            for (addresses, expected) in [(inside, true), (outside, false)] {
                for address in addresses.split_whitespace() {
                    assert_eq!(of.contains(address.parse().unwrap()), expected, "{address} in {set}");
                }
            }
        }
    }

    #[test]
    fn a_network_is_covered_by_several_together_or_not() {
        for (set, network, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.3.0.0/16", true),
            ("10.0.0.0/9 10.128.0.0/9", "10.0.0.0/8", true),
            ("10.0.0.0/9 10.128.0.0/10", "10.0.0.0/8", false),
            ("10.0.0.0/8", "0.0.0.0/0", false),
            ("::/0", "10.0.0.0/8", false),
            ("::/0", "2001:db8::/32", true),
        ] {
            assert_eq!(Networks::of(&networks(set)).cover(&networks(network)[0]), expected, "{network} in {set}");
        }
    }

    proptest! {
        #[test]
        fn a_set_holds_what_any_of_its_networks_holds(
            nets in prop::collection::vec((any::<[u8; 4]>(), 0_u8..=32), 0..12), low in any::<[u8; 4]>(), near in 0_usize..12
        ) {
            let nets: Vec<IpNet> = nets.into_iter().map(|(ip, bits)| IpNet::new(ip.into(), bits).unwrap()).collect();
            // A random address, and one beside the end of a network.
            let beside = nets.get(near).map_or(IpAddr::from(low), IpNet::broadcast);
            let IpAddr::V4(beside) = beside else { unreachable!() };
            let set = Networks::of(&nets);
            for address in [low.into(), beside, beside.to_bits().wrapping_add(1).into()].map(IpAddr::V4) {
                prop_assert_eq!(set.contains(address), nets.iter().any(|net| net.contains(&address)), "{}", address);
            }
        }
    }
}
