//! One address of a service, and what the process knows of it.
//!
//! A request that succeeds reads two numbers here and writes one; the lock is for failures, checks and whoever looks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use http::header::HeaderValue;
use parking_lot::Mutex;
use pingora::upstreams::peer::HttpPeer;

use crate::policy::balance::hash;
use crate::policy::retry::Budget;
use crate::policy::standing::{Exile, Record, Standing, Thresholds};

use super::queue::Places;

/// One address of a service.
#[derive(Debug)]
pub struct Target {
    /// The address.
    pub address: SocketAddr,
    /// The same as text, for logs.
    pub label: Box<str>,
    /// The `Host` that goes with it.
    pub host: HeaderValue,
    /// Its share of the requests; 0: it gets nothing new.
    pub weight: u32,
    /// Prebuilt, to be cloned for each request.
    pub peer: HttpPeer,
    /// Where it stands among those that keys prefer.
    pub hash: u64,
    /// What the process knows of it.
    pub state: Arc<TargetState>,
}

/// What the process knows of a target.
#[derive(Debug)]
pub struct TargetState {
    in_flight: AtomicUsize,
    /// Requests that failed in a row.
    failures: AtomicU32,
    /// How often its HTTP/2 connections were given up.
    era: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    record: Record,
    since: SystemTime,
    last_failure: Option<(Failure, SystemTime)>,
    check_due: Option<Instant>,
}

/// How a request to a target fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be opened.
    Connect,
    /// The connection ended too early.
    Reset,
    /// It was silent for too long.
    Timeout,
    /// What it said was no HTTP.
    Reply,
    /// A reply with this status, which counts as a failure.
    Status(u16),
}

impl Failure {
    /// For operators.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Reply => "reply",
            Self::Status(_) => "status",
        }
    }
}

/// What the process knows of a service as a whole.
#[derive(Debug, Default)]
pub struct ServiceState {
    /// For requests, where these are counted.
    pub places: Arc<Places>,
    /// Requests ever, where retries are counted against them.
    requests: AtomicU64,
    retries: Mutex<Budget>,
    /// Grows whenever another set of targets gets requests.
    epoch: AtomicU64,
    /// Held while it is decided whether one more target may be out.
    pub(super) ejecting: Mutex<()>,
    targets: Mutex<HashMap<SocketAddr, Weak<TargetState>>>,
}

impl Target {
    pub(super) fn new(
        address: SocketAddr,
        host: HeaderValue,
        weight: u32,
        peer: HttpPeer,
        state: Arc<TargetState>,
    ) -> Self {
        let label: Box<str> = address.to_string().into();
        Self { address, hash: hash(label.as_bytes()), label, host, weight, peer, state }
    }

    /// As the configuration has it.
    pub fn written(&self) -> Box<str> {
        written(&self.host)
    }
}

/// An authority as it is written.
pub(super) fn written(header: &HeaderValue) -> Box<str> {
    String::from_utf8_lossy(header.as_bytes()).into()
}

/// A request in flight to a target, counted until this is dropped.
#[derive(Debug)]
pub struct Flight(Arc<TargetState>);

impl Flight {
    /// Counts one more.
    pub fn begin(target: &Target) -> Self {
        target.state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&target.state))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TargetState {
    fn new() -> Self {
        let known = Known { record: Record::default(), since: SystemTime::now(), last_failure: None, check_due: None };
        Self {
            in_flight: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            era: AtomicU64::new(0),
            known: Mutex::new(known),
        }
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What checks and requests have shown.
    pub fn record(&self) -> Record {
        self.known.lock().record.clone()
    }

    /// What becomes of it.
    pub fn standing(&self) -> Standing {
        self.known.lock().record.standing()
    }

    /// Since when.
    pub fn since(&self) -> SystemTime {
        self.known.lock().since
    }

    /// How a request failed last, and when.
    pub fn last_failure(&self) -> Option<(Failure, SystemTime)> {
        self.known.lock().last_failure
    }

    /// Whether a check is due; then the next one is at `next`.
    pub fn take_check(&self, now: Instant, next: Instant) -> bool {
        let mut known = self.known.lock();
        let due = known.check_due.is_none_or(|due| due <= now);
        if due {
            known.check_due = Some(next);
        }
        due
    }

    /// Which of its HTTP/2 connections further requests may share: those of this era.
    pub fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }

    /// Further requests get a connection of their own: the one there is may lead nowhere.
    pub fn give_up_connections(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn succeeded(&self) {
        // Read first: the line stays shared between workers while all is well.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// How many failed in a row now.
    pub(super) fn failed(&self, failure: Failure) -> u32 {
        self.known.lock().last_failure = Some((failure, SystemTime::now()));
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// The next failure is the last of so many.
    pub(super) fn on_probation(&self, failures: u32) {
        self.failures.store(failures.saturating_sub(1), Ordering::Relaxed);
    }

    pub(super) fn eject(&self, exile: Exile, now: Instant) -> Option<Duration> {
        self.change(|record| record.eject(exile, now))
    }

    pub(super) fn checked(&self, good: bool, thresholds: Thresholds, now: Instant) -> bool {
        self.change(|record| record.checked(good, thresholds, now))
    }

    pub(super) fn settle(&self, now: Instant) -> bool {
        self.change(|record| record.settle(now))
    }

    /// It is no longer checked.
    pub(super) fn unchecked(&self) {
        self.change(Record::unchecked);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut known = self.known.lock();
        let before = known.record.standing();
        let result = change(&mut known.record);
        if known.record.standing() != before {
            known.since = SystemTime::now();
        }
        result
    }
}

impl ServiceState {
    /// What is known of an address; nothing yet where it is new.
    pub(super) fn target(&self, address: SocketAddr) -> Arc<TargetState> {
        let mut targets = self.targets.lock();
        if let Some(known) = targets.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        targets.retain(|_, known| known.strong_count() > 0);
        let new = Arc::new(TargetState::new());
        targets.insert(address, Arc::downgrade(&new));
        new
    }

    /// Another set of targets gets requests.
    pub(super) fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Counts a request, against which retries are counted.
    pub fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one retry out of the budget, if there is one.
    pub fn may_retry(&self, millionths: u32, now: Instant) -> bool {
        self.retries.lock().spend(self.requests.load(Ordering::Relaxed), millionths, now)
    }
}
