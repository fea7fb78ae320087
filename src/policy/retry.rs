//! How many requests may be sent again, so that retries never make an outage worse.
//!
//! A [`Budget`] lets at most a share of the requests of the last seconds be retries, or [`FEW`] where there are few
//! requests. It looks at the present five seconds and the five before.

use std::time::{Duration, Instant};

/// So many retries are always let through in a window and the one before, together.
pub const FEW: u64 = 10;

/// Half of the time that is looked at.
const WINDOW: Duration = Duration::from_secs(5);

/// Counts retries against requests.
#[derive(Debug, Default)]
pub struct Budget {
    begun: Option<Instant>,
    present: Counts,
    before: Counts,
    /// Requests ever, when the present window began.
    requests_at_begin: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Takes one retry out of the budget, so many millionths of the requests, if there is one. `requests` is how many
    /// there were ever.
    pub fn spend(&mut self, requests: u64, millionths: u32, now: Instant) -> bool {
        self.roll(requests, now);
        let retries = self.before.retries + self.present.retries;
        let counted = self.before.requests + self.present.requests;
        let allowed = match millionths {
            0 => 0,
            share => (counted.saturating_mul(u64::from(share)) / 1_000_000).max(FEW),
        };
        let spent = retries < allowed;
        self.present.retries += u64::from(spent);
        spent
    }

    fn roll(&mut self, requests: u64, now: Instant) {
        let begun = *self.begun.get_or_insert(now);
        self.present.requests = requests.saturating_sub(self.requests_at_begin);
        let passed = now.saturating_duration_since(begun);
        if passed < WINDOW {
            return;
        }
        // What is longer ago than a window is forgotten.
        self.before = if passed < WINDOW * 2 { self.present } else { Counts::default() };
        self.present = Counts::default();
        self.requests_at_begin = requests;
        self.begun = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &mut Budget, requests: u64, percent: u32, now: Instant, wanted: usize) -> usize {
        (0..wanted).filter(|_| budget.spend(requests, percent * 10_000, now)).count()
    }

    #[test]
    fn retries_stay_below_their_share_of_requests() {
        let now = Instant::now();
        let mut budget = Budget::default();
        assert_eq!(spent(&mut budget, 1000, 20, now, 1000), 200);
        assert_eq!(spent(&mut budget, 2000, 20, now, 1000), 200);
    }

    #[test]
    fn a_few_are_always_there_unless_none_are_wanted() {
        let now = Instant::now();
        assert_eq!(spent(&mut Budget::default(), 1, 20, now, 100), FEW as usize);
        assert_eq!(spent(&mut Budget::default(), 1000, 0, now, 100), 0);
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let now = Instant::now();
        let mut budget = Budget::default();
        assert_eq!(spent(&mut budget, 1000, 10, now, 1000), 100);
        assert_eq!(spent(&mut budget, 1000, 10, now + WINDOW, 1000), 0, "the window before still counts");
        assert_eq!(spent(&mut budget, 1000, 10, now + WINDOW * 3, 1000), FEW as usize);
    }
}
