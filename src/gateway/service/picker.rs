//! The targets of a service that get requests, ready to be picked from.
//!
//! Invariant: picking takes no lock and allocates nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::policy::balance::{preference, spread};
use crate::policy::standing::{STEPS, Standing};

use super::rules::Balance;
use super::target::{ServiceState, Target};

/// The targets of a service that get requests.
///
/// Where none should get any, all do but those with the weight 0: checks that fail everywhere are more often wrong than
/// every target is down, and when they are right nothing is lost.
#[derive(Debug, Default)]
pub struct Picker {
    epoch: u64,
    targets: Box<[Arc<Target>]>,
    weights: Box<[u32]>,
    /// Indices of targets, each as often as its weight says.
    order: Box<[u16]>,
    partial: bool,
    desperate: bool,
}

/// A target for one request.
pub struct Picked {
    /// The target.
    pub target: Arc<Target>,
    /// Whether it was tried before: there is no other.
    pub again: bool,
}

impl Picker {
    pub(super) fn new(state: &ServiceState, all: &[Arc<Target>], slow_start: Duration, now: Instant) -> Self {
        // Read before the standings: a change meanwhile makes this stale, not wrong for ever.
        let epoch = state.epoch();
        let weighty = || all.iter().filter(|target| target.weight > 0).cloned();
        let mut targets: Vec<_> = weighty().filter(|target| target.state.standing() == Standing::Up).collect();
        let desperate = targets.is_empty() && weighty().next().is_some();
        let mut steps = Vec::new();
        if desperate {
            targets = weighty().collect();
            steps.resize(targets.len(), STEPS);
        } else {
            steps.extend(targets.iter().map(|target| target.state.record().share(slow_start, now)));
        }
        let weights: Box<[u32]> = targets.iter().zip(&steps).map(|(target, steps)| target.weight * steps).collect();
        Self {
            epoch,
            order: spread(&weights),
            weights,
            targets: targets.into(),
            partial: steps.iter().any(|step| *step < STEPS),
            desperate,
        }
    }

    /// Whether something has changed since it was made.
    pub(super) fn is_stale(&self, state: &ServiceState) -> bool {
        self.epoch != state.epoch()
    }

    /// Whether a target does not get all of its share yet.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Whether all targets get requests because none should.
    pub(super) fn is_desperate(&self) -> bool {
        self.desperate
    }

    pub(super) fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        self.targets.iter().any(|target| !tried.contains(&target.address))
    }

    pub(super) fn pick(
        &self,
        balance: &Balance,
        next: &AtomicUsize,
        key: Option<u64>,
        tried: &[SocketAddr],
    ) -> Option<Picked> {
        if self.order.is_empty() {
            return None;
        }
        let begin = match (balance, key) {
            (Balance::ConsistentHash(_), Some(key)) => return self.preferred(key, tried),
            (Balance::RoundRobin | Balance::ConsistentHash(_), _) => next.fetch_add(1, Ordering::Relaxed),
            (Balance::Random, _) => fastrand::usize(..self.order.len()),
            (Balance::LeastRequests, _) => self.idler_of_two(),
        };
        let turns = (0..self.order.len()).map(|turn| &self.targets[self.turn(begin.wrapping_add(turn))]);
        let untried = turns.into_iter().find(|target| !tried.contains(&target.address));
        let again = untried.is_none();
        let target = untried.unwrap_or(&self.targets[self.turn(begin)]);
        Some(Picked { target: Arc::clone(target), again })
    }

    /// The target whose turn this is.
    fn turn(&self, number: usize) -> usize {
        self.order.get(number % self.order.len()).map_or(0, |index| usize::from(*index))
    }

    /// Of two turns that are drawn, that of the target with fewer requests in flight for its weight.
    fn idler_of_two(&self) -> usize {
        let one = fastrand::usize(..self.order.len());
        let other = match self.order.len() {
            1 => one,
            turns => one + fastrand::usize(1..turns),
        };
        let (a, b) = (self.turn(one), self.turn(other));
        // The request counts itself, so that heavier ones are preferred when nobody has any.
        let load = |index: usize| self.targets[index].state.in_flight() as u64 + 1;
        match load(a) * u64::from(self.weights[b]) <= load(b) * u64::from(self.weights[a]) {
            true => one,
            false => other,
        }
    }

    /// The target that a key prefers.
    fn preferred(&self, key: u64, tried: &[SocketAddr]) -> Option<Picked> {
        let ranked = |untried: bool| {
            let allowed = self
                .targets
                .iter()
                .zip(&self.weights)
                .filter(|(target, _)| !untried || !tried.contains(&target.address));
            let rank = |(target, weight): &(&Arc<Target>, &u32)| preference(key, target.hash, **weight);
            allowed.max_by(|one, other| rank(one).total_cmp(&rank(other))).map(|(target, _)| Arc::clone(target))
        };
        let untried = ranked(true);
        let again = untried.is_none();
        untried.or_else(|| ranked(false)).map(|target| Picked { target, again })
    }
}
