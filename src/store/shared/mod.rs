//! What many gateways keep together in one Redis (or Valkey): the counters of limits, and API keys
//! (`keys`).
//!
//! One script weighs all limits of a request in one step, by Redis's own clock, and takes from all of them or from none:
//! so of the requests of all nodes exactly as many pass as a limit says, and the clocks of nodes do not matter. For that
//! all keys of a group carry one hash tag, `{prefix}`, and on a cluster are on one node: a script cannot reach two.
//!
//! Keys: `{prefix}:c:…` one for each counter, which lapses when it says the same as none; `{prefix}:probe`; those of `keys`.
//! Of subjects and keys there are digests only. How long a caller is willing to wait, and what holds while Redis does not answer, is for
//! the caller to say (`proxy::admit`): here every fault is reported at once.

mod keys;
mod leases;
mod link;
mod places;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Cmd;
use smallvec::SmallVec;

use crate::policy::limit::shared::{Asked, Counter, Found, Measure, decided, exact};
use crate::policy::limit::{Claim, Granted, Refused, Verdict};

use super::Redis;
use leases::{Cover, Leases};
use link::{Link, Script};
use places::{AT_ONCE, Held, LAPSE, Places};

pub use keys::SharedKeys;
pub use link::{Change, Fault};
pub use places::RENEW_EVERY;

/// How often a link that is down is tried.
pub const PROBE_EVERY: Duration = Duration::from_millis(250);

/// How long a release may take; nobody waits for it.
const RELEASE_PATIENCE: Duration = Duration::from_secs(1);

/// Values of the script's reply before those of the claims.
const REPLY_HEAD: usize = 2;

/// The script's word for a window that is not the one that runs.
const OTHER_WINDOW: i64 = 2;

/// The counters of a group of gateways.
pub struct Shared {
    link: Link,
    prefix: String,
    /// Names this process among the nodes.
    node: String,
    requests: AtomicU64,
    /// Redis's clock less ours, in seconds, as last seen.
    skew: AtomicI64,
    places: Places,
    /// Where nodes take leases.
    leases: Option<Leases>,
    weigh: Script,
    renew: Script,
    give_back: Script,
}

/// What a request holds in Redis until it is over; given back when dropped. Empty when no concurrency took part.
#[derive(Default)]
pub struct SharedPermit(Option<(Arc<Shared>, u64)>);

/// What was decided.
pub type Decided<'a> = Result<(Granted<'a>, SharedPermit), Refused<'a>>;

/// A decision on all limits of a request.
pub struct Decision<'a> {
    /// What it is.
    pub decided: Decided<'a>,
    /// Whether Redis was asked; leases may have paid for all of it.
    pub asked: bool,
}

/// How nodes share counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Every request asks Redis.
    Exact,
    /// Nodes take leases (see `leases` for what that costs in exactness).
    Batched,
}

/// Which leases go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Those that have been here for a second.
    Long,
    /// All.
    Any,
}

/// What the script says of one claim.
#[derive(Debug, Clone, Copy)]
struct Told {
    found: Found,
    /// How much was taken.
    taken: u64,
}

/// The same for all claims of a request.
type Told4 = SmallVec<[Told; 4]>;

impl Shared {
    /// For the Redis at this URL, down until it is probed. `node` is unlike that of any other process.
    ///
    /// # Errors
    /// When it is no URL of a Redis.
    pub fn new(redis: &Redis, patience: Duration, sharing: Sharing, node: [u8; 8]) -> Result<Arc<Self>, Fault> {
        Self::with(redis, patience, sharing, node, Script::new)
    }

    fn with(
        Redis { url, prefix }: &Redis,
        patience: Duration,
        sharing: Sharing,
        node: [u8; 8],
        script: impl Fn(&str) -> Script,
    ) -> Result<Arc<Self>, Fault> {
        Ok(Arc::new(Self {
            link: Link::new(url, patience)?,
            prefix: format!("{{{prefix}}}"),
            node: format!("{:016x}", u64::from_be_bytes(node)),
            requests: AtomicU64::new(0),
            skew: AtomicI64::new(0),
            places: Places::default(),
            weigh: script(include_str!("weigh.lua")),
            leases: (sharing == Sharing::Batched).then(Leases::default),
            renew: script(include_str!("renew.lua")),
            give_back: script(include_str!("give_back.lua")),
        }))
    }

    /// Passes all claims or none. `unix` is the clock of this node.
    ///
    /// # Errors
    /// When Redis does not answer; then nothing is decided, though something may have been taken.
    pub async fn decide<'a>(self: &Arc<Self>, claims: &[Claim<'a>], unix: i64) -> Result<Decision<'a>, Fault> {
        match &self.leases {
            None => {
                let (request, (verdict, second, told)) = self.ask(claims, unix, |asked| (*asked, asked.cost)).await?;
                let found: SmallVec<[Found; 4]> = told.iter().map(|told| told.found).collect();
                let decided = decided(claims, &found, verdict, second).ok_or(Fault::Reply)?;
                let decided = decided.map(|granted| (granted, self.permit(request, claims, unix)));
                Ok(Decision { decided, asked: true })
            }
            Some(leases) => Box::pin(self.decide_with(leases, claims, unix)).await,
        }
    }

    /// The same where leases pay for some or all of it.
    async fn decide_with<'a>(
        self: &Arc<Self>,
        leases: &Leases,
        claims: &[Claim<'a>],
        unix: i64,
    ) -> Result<Decision<'a>, Fault> {
        let there = self.unix_there(unix);
        let covered = leases.cover(claims.iter().map(|claim| claim.asked(there)).collect(), there, Instant::now());
        let to_ask: SmallVec<[Claim<'a>; 4]> = (claims.iter().zip(&covered.covers))
            .filter_map(|(claim, cover)| matches!(cover, Cover::Ask { .. }).then_some(*claim))
            .collect();
        let most: SmallVec<[u64; 4]> = covered.to_ask().map(|(_, most)| most).collect();
        let (request, (verdict, second, told)) = if to_ask.is_empty() {
            (0, (Verdict::Passed, there, Told4::new()))
        } else {
            let mut most = most.iter().cycle();
            self.ask(&to_ask, unix, |asked| (*asked, *most.next().unwrap_or(&asked.cost))).await?
        };
        let mut answers = told.iter();
        let found = covered.covers.iter().map(|cover| match cover {
            Cover::Paid(found) => Some(*found),
            Cover::Ask { .. } => answers.next().map(|told| told.found),
        });
        let found: SmallVec<[Found; 4]> = found.collect::<Option<_>>().ok_or(Fault::Reply)?;
        let decided = decided(claims, &found, verdict, second).ok_or(Fault::Reply)?;
        if decided.is_ok() {
            let given: SmallVec<[(Found, u64); 4]> = told.iter().map(|told| (told.found, told.taken)).collect();
            covered.settle(&given, Instant::now());
        }
        let decided = decided.map(|granted| (granted, self.permit(request, claims, unix)));
        Ok(Decision { decided, asked: !to_ask.is_empty() })
    }

    /// Gives back what is left of leases that have been here for a while; of all, where `idle` is zero.
    ///
    /// # Errors
    /// When Redis does not answer; then it is lost.
    pub async fn give_back(&self, idle: Idle) -> Result<(), Fault> {
        let Some(leases) = &self.leases else { return Ok(()) };
        let idle = match idle {
            Idle::Long => leases::IDLE,
            Idle::Any => Duration::ZERO,
        };
        for some in leases.returns(idle, Instant::now()).chunks(AT_ONCE) {
            let arguments = |command: &mut Cmd| {
                command.arg(some.len());
                some.iter().for_each(|back| _ = command.arg(self.key(&back.counter)));
                some.iter().for_each(|back| match back.measure {
                    Measure::Rate { one, drain, .. } => {
                        command.arg("r").arg(exact(back.rest.saturating_mul(one))).arg(drain);
                    }
                    Measure::Quota { .. } | Measure::Concurrency { .. } => {
                        command.arg("q").arg(exact(back.rest)).arg(back.until);
                    }
                });
            };
            self.link.run::<()>(&self.give_back, arguments).await?;
        }
        Ok(())
    }

    /// Whether it answered lately.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Notes that a decision failed; until a probe works nobody asks.
    pub fn failed(&self, fault: &Fault) -> Change {
        let change = self.link.failed(fault);
        if let (Change::WentDown, Some(leases)) = (change, &self.leases) {
            // The counters they were taken from may be gone.
            leases.clear();
        }
        change
    }

    /// Tries whether Redis takes writes.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(), Fault> {
        self.link.probe(&format!("{}:probe", self.prefix)).await
    }

    /// Gives up every connection: those of a runtime that ends are good for nothing.
    pub fn forget_connections(&self) {
        self.link.forget();
    }

    /// Renews the places that this node holds.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn renew(self: &Arc<Self>) -> Result<(), Fault> {
        for some in self.places.all().chunks(AT_ONCE) {
            let arguments = |command: &mut Cmd| {
                command.arg(some.len());
                some.iter().for_each(|(_, key)| _ = command.arg(key));
                command.arg(millis(LAPSE));
                some.iter().for_each(|(request, _)| _ = command.arg(self.name(*request)));
            };
            self.link.run::<()>(&self.renew, arguments).await?;
            for (request, key) in some.iter().filter(|(request, _)| !self.places.holds(*request)) {
                // Released meanwhile; the renewal may have brought it back.
                self.release(*request, std::slice::from_ref(key)).await?;
            }
        }
        Ok(())
    }

    /// Asks Redis; `take` says for each claim the most to take.
    async fn ask(
        &self,
        claims: &[Claim<'_>],
        unix: i64,
        mut take: impl FnMut(&Asked) -> (Asked, u64),
    ) -> Result<(u64, (Verdict, i64, Told4)), Fault> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut reply = Vec::new();
        for _ in 0..2 {
            let there = self.unix_there(unix);
            let asked: SmallVec<[(Asked, u64); 4]> = claims.iter().map(|claim| take(&claim.asked(there))).collect();
            reply = self.weigh(request, &asked, unix).await?;
            if reply.first() != Some(&OTHER_WINDOW) {
                break;
            }
            // The skew is known now.
        }
        Ok((request, read(claims, &reply).ok_or(Fault::Reply)?))
    }

    /// Redis's clock, as far as it is known.
    fn unix_there(&self, unix: i64) -> i64 {
        unix.saturating_add(self.skew.load(Ordering::Relaxed))
    }

    async fn weigh(&self, request: u64, asked: &[(Asked, u64)], unix: i64) -> Result<Vec<i64>, Fault> {
        let arguments = |command: &mut Cmd| {
            command.arg(asked.len());
            asked.iter().for_each(|(asked, _)| _ = command.arg(self.key(&asked.counter)));
            let places = asked.iter().any(|(asked, _)| matches!(asked.measure, Measure::Concurrency { .. }));
            command.arg(if places { self.name(request) } else { String::new() }).arg(millis(LAPSE));
            asked.iter().for_each(|(asked, most)| measure(command, asked, *most));
        };
        let reply: Vec<i64> = self.link.run(&self.weigh, arguments).await?;
        if let Some(second) = reply.get(1) {
            self.skew.store(second.saturating_sub(unix), Ordering::Relaxed);
        }
        Ok(reply)
    }

    fn permit(self: &Arc<Self>, request: u64, claims: &[Claim<'_>], unix: i64) -> SharedPermit {
        let places = claims.iter().filter(|claim| claim.holds_place());
        let held: Held = places.map(|claim| self.key(&claim.asked(unix).counter)).collect();
        if held.is_empty() {
            return SharedPermit::default();
        }
        self.places.enter(request, held);
        SharedPermit(Some((Arc::clone(self), request)))
    }

    async fn release(&self, request: u64, keys: &[String]) -> Result<(), Fault> {
        for key in keys {
            let gone = redis::cmd("ZREM").arg(key).arg(self.name(request)).to_owned();
            self.link.ask::<()>(&gone, RELEASE_PATIENCE).await?;
        }
        Ok(())
    }

    /// A request among the places in flight of all nodes.
    fn name(&self, request: u64) -> String {
        format!("{}-{request}", self.node)
    }

    fn key(&self, Counter([limit, low, high]): &Counter) -> String {
        let mut key = String::with_capacity(self.prefix.len() + 51);
        // Writing to a string does not fail.
        let _ = write!(key, "{}:c:{limit:016x}{high:016x}{low:016x}", self.prefix);
        key
    }
}

impl Drop for SharedPermit {
    /// Nobody waits for the release, and one that is lost lapses.
    fn drop(&mut self) {
        let Some((shared, request)) = self.0.take() else { return };
        let Some(keys) = shared.places.leave(request) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shared.release(request, &keys).await });
        }
    }
}

/// What the script takes of a claim: see there.
fn measure(command: &mut Cmd, asked: &Asked, most: u64) {
    match asked.measure {
        Measure::Rate { one, capacity, drain } => command.arg("r").arg(one).arg(capacity).arg(drain),
        Measure::Quota { count, start, end } => command.arg("q").arg(count).arg(start).arg(end),
        Measure::Concurrency { max } => command.arg("c").arg(max).arg(0).arg(0),
    };
    command.arg(exact(asked.cost)).arg(exact(most));
}

/// The script's reply: what it decided, when by its clock, and what it says of each claim.
fn read(claims: &[Claim<'_>], reply: &[i64]) -> Option<(Verdict, i64, Told4)> {
    let (head, rest) = reply.split_at_checked(REPLY_HEAD)?;
    let verdict = match head[0] {
        0 => Verdict::Refused,
        1 => Verdict::Passed,
        _ => return None,
    };
    let (each, []) = rest.as_chunks::<3>() else { return None };
    let told = claims.iter().zip(each).map(|(claim, [found, beside, taken])| {
        let found = u64::try_from(*found).ok()?;
        let found = match claim.asked(head[1]).measure {
            Measure::Rate { .. } => Found::Rate { owed: found },
            Measure::Quota { .. } => Found::Quota { until: *beside, used: found },
            Measure::Concurrency { .. } => Found::Concurrency { in_flight: found },
        };
        Some(Told { found, taken: u64::try_from(*taken).ok()? })
    });
    let told: Told4 = told.collect::<Option<_>>()?;
    (each.len() == claims.len()).then_some((verdict, head[1], told))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
