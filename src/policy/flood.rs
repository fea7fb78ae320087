//! The guard in front of authentication: how many requests a second an address may send at all.
//!
//! Memory must be constant here, whoever calls, so this counts with the count-min sketch of pingora-limits (two of 4 rows
//! of 65,536 counters, 4 MiB) in fixed windows of one second. That is approximate:
//! - It may count too much, because addresses share counters: among n requests in a window an address is overstated by
//!   more than n / 24,000 with a probability below 2 % (the sketch's e/65,536 and e^-4). It does not count too little.
//! - A window ends for everybody at once: up to twice the number passes within one second across that edge. A race of
//!   threads there can end a window twice, which forgives once more.
//!
//! This is fine because the number is a ceiling against floods, set far above what an honest client sends; what consumers
//! are promised is counted exactly, in `limit`. The interval is never below a second: pingora-limits panics then.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pingora_limits::rate::Rate;
use thiserror::Error;

use super::limit::client_of;

const INTERVAL: Duration = Duration::from_secs(1);
const ROWS: usize = 4;
const COUNTERS: usize = 65_536;

/// Counts requests per address and second.
pub struct Flood {
    per_second: u64,
    rate: Rate,
}

/// The address has sent its number of requests in this second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many requests from this address")]
pub struct Flooded;

impl Flood {
    /// A guard that passes `per_second` requests of each address in each second. Zero passes none.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self { per_second, rate: Rate::new_with_estimator_config(INTERVAL, ROWS, COUNTERS) }
    }

    /// What it passes.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        self.per_second
    }

    /// Counts a request of `ip`, an IPv6 address with its whole /64. Refused requests count too.
    pub fn admit(&self, ip: IpAddr) -> Result<(), Flooded> {
        let client = client_of(ip);
        // The sketch asserts that no thread slept for a second between two of its instructions. A request must not die
        // of that: uncounted, it meets the exact limits.
        let seen = catch_unwind(AssertUnwindSafe(|| self.rate.observe(&client, 1))).unwrap_or(0);
        // A counter that overflowed is negative and surely too many.
        match u64::try_from(seen) {
            Ok(seen) if seen <= self.per_second => Ok(()),
            _ => Err(Flooded),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    fn passed(flood: &Flood, addresses: &[&str]) -> usize {
        addresses.iter().filter(|address| flood.admit(address.parse().unwrap()).is_ok()).count()
    }

    #[test]
    fn addresses_are_counted_apart_and_ipv6_by_its_64() {
        // Within one window at most so many pass; the test may straddle an edge, which at most doubles it.
        let table: [(&[&str], usize); 4] = [
            (&["192.0.2.1"], 5),
            (&["192.0.2.1", "192.0.2.2", "2001:db8::1"], 15),
            (&["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:3"], 5),
            (&["192.0.2.1", "::ffff:192.0.2.1"], 5),
        ];
        for (addresses, most) in table {
            let flood = Flood::new(5);
            let through: usize = (0..50).map(|_| passed(&flood, addresses)).sum();
            assert!((most..=2 * most).contains(&through), "{addresses:?}: {through}");
        }
    }

    #[test]
    fn a_flood_from_elsewhere_does_not_touch_an_honest_address() {
        let flood = Flood::new(100);
        for number in 0..100_000_u32 {
            let _ = flood.admit(IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(passed(&flood, &["203.0.113.7"; 20]), 20);
    }

    #[test]
    fn zero_passes_none() {
        assert_eq!(passed(&Flood::new(0), &["192.0.2.1"; 3]), 0);
    }

    #[test]
    fn threads_share_one_count() {
        let (flood, through) = (Flood::new(100), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let count = passed(&flood, &["192.0.2.1"; 200]);
                    through.fetch_add(count as u64, Ordering::Relaxed);
                });
            }
        });
        assert!((100..=200).contains(&through.into_inner()));
    }
}
