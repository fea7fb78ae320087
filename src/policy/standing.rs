//! Whether a target gets requests, by what health checks and requests have shown of it.
//!
//! Two things keep a target from requests, each by itself: checks that failed ([`Record::checked`]), until checks are
//! good again; and requests that failed ([`Record::eject`]), for a time that doubles when it fails again at once. A target
//! that comes back gets its share little by little.

use std::time::{Duration, Instant};

/// What becomes of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It gets requests.
    Up,
    /// Checks have failed.
    Unhealthy,
    /// Requests have failed.
    Ejected,
}

/// How many checks decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// So many good ones in a row bring a target back.
    pub healthy: u32,
    /// So many bad ones in a row take it out.
    pub unhealthy: u32,
}

/// How long requests that failed keep a target out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exile {
    /// The first time.
    pub time: Duration,
    /// At most.
    pub max_time: Duration,
}

/// In how many steps a target that comes back gets its share.
pub const STEPS: u32 = 10;

/// Most doublings of the time that a target is out.
const MAX_DOUBLINGS: u32 = 16;

/// What is known of a target.
#[derive(Debug, Clone, Default)]
pub struct Record {
    health: Health,
    /// Checks in a row that speak against `health`.
    against: u32,
    ejected_until: Option<Instant>,
    /// How often in a row it was ejected.
    ejections: u32,
    /// When it came back last.
    returned: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Health {
    /// No check has decided yet; the first one will.
    #[default]
    Unknown,
    Good,
    Bad,
}

impl Record {
    /// What becomes of the target now.
    pub fn standing(&self) -> Standing {
        match (self.health, self.ejected_until) {
            (Health::Bad, _) => Standing::Unhealthy,
            (_, Some(_)) => Standing::Ejected,
            (Health::Unknown | Health::Good, None) => Standing::Up,
        }
    }

    /// Takes in the result of a check. Whether the standing is another one then.
    pub fn checked(&mut self, good: bool, thresholds: Thresholds, now: Instant) -> bool {
        let before = self.standing();
        let (result, needed) = match good {
            true => (Health::Good, thresholds.healthy),
            false => (Health::Bad, thresholds.unhealthy),
        };
        if self.health == result {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.health == Health::Unknown || self.against >= needed {
            if self.health == Health::Bad {
                self.returned = Some(now);
            }
            self.health = result;
            self.against = 0;
        }
        before != self.standing()
    }

    /// Checks are no longer made.
    pub fn unchecked(&mut self) {
        self.health = Health::Unknown;
        self.against = 0;
    }

    /// Takes the target out because requests failed; for how long. One that is out stays out as it is.
    pub fn eject(&mut self, exile: Exile, now: Instant) -> Option<Duration> {
        if self.ejected_until.is_some() {
            return None;
        }
        // Who was well for long begins anew.
        if self.returned.is_none_or(|returned| now.duration_since(returned) > exile.max_time) {
            self.ejections = 0;
        }
        let time = exile.time.saturating_mul(1 << self.ejections.min(MAX_DOUBLINGS)).min(exile.max_time);
        self.ejections += 1;
        self.ejected_until = Some(now + time);
        Some(time)
    }

    /// Lets a target back in whose time is over. Whether there was one.
    pub fn settle(&mut self, now: Instant) -> bool {
        let over = self.ejected_until.is_some_and(|until| until <= now);
        if over {
            self.ejected_until = None;
            self.returned = Some(now);
        }
        over
    }

    /// How many of [`STEPS`] parts of its share the target gets.
    pub fn share(&self, slow_start: Duration, now: Instant) -> u32 {
        let Some(returned) = self.returned else { return STEPS };
        let part = now.saturating_duration_since(returned).as_secs_f64() / slow_start.as_secs_f64();
        // A step is below 10, whatever the quotient.
        ((part * f64::from(STEPS)) as u32).saturating_add(1).min(STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { healthy: 2, unhealthy: 3 };
    const EXILE: Exile = Exile { time: Duration::from_secs(10), max_time: Duration::from_secs(60) };

    fn after(results: &str) -> Standing {
        let now = Instant::now();
        let mut record = Record::default();
        for result in results.chars() {
            record.checked(result == '+', THRESHOLDS, now);
        }
        record.standing()
    }

    #[test]
    fn checks_decide_when_enough_agree_in_a_row() {
        for (results, expected) in [
            ("", Standing::Up),
            ("-", Standing::Unhealthy),
            ("+", Standing::Up),
            ("+--", Standing::Up),
            ("+---", Standing::Unhealthy),
            ("+--+--", Standing::Up),
            ("-+", Standing::Unhealthy),
            ("-++", Standing::Up),
            ("-+-+", Standing::Unhealthy),
        ] {
            assert_eq!(after(results), expected, "{results}");
        }
    }

    #[test]
    fn a_target_that_fails_again_at_once_stays_out_twice_as_long() {
        let mut now = Instant::now();
        let mut record = Record::default();
        let mut times = Vec::new();
        for _ in 0..5 {
            let time = record.eject(EXILE, now).unwrap();
            assert_eq!(record.eject(EXILE, now), None, "it is out");
            assert_eq!(record.standing(), Standing::Ejected);
            assert!(!record.settle(now + time - Duration::from_millis(1)));
            now += time;
            assert!(record.settle(now));
            times.push(time.as_secs());
        }
        assert_eq!(times, [10, 20, 40, 60, 60]);
        assert_eq!(record.eject(EXILE, now + Duration::from_secs(61)), Some(EXILE.time), "it was well for long");
    }

    #[test]
    fn bad_checks_weigh_more_than_a_time_that_is_over() {
        let now = Instant::now();
        let mut record = Record::default();
        record.eject(EXILE, now);
        record.checked(false, THRESHOLDS, now);
        assert!(record.settle(now + EXILE.time));
        assert_eq!(record.standing(), Standing::Unhealthy);
        record.unchecked();
        assert_eq!(record.standing(), Standing::Up);
    }

    #[test]
    fn who_comes_back_gets_its_share_little_by_little() {
        let now = Instant::now();
        let slow = Duration::from_secs(10);
        let mut record = Record::default();
        assert_eq!(record.share(slow, now), STEPS, "it was never away");
        record.eject(EXILE, now);
        record.settle(now + EXILE.time);
        let shares =
            [0, 1, 5, 9, 10, 1000].map(|later| record.share(slow, now + EXILE.time + Duration::from_secs(later)));
        assert_eq!(shares, [1, 2, 6, 10, 10, 10]);
    }
}
