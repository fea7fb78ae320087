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
mod link;
mod places;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use redis::Cmd;
use smallvec::SmallVec;

use crate::policy::limit::shared::{Asked, Counter, Found, Measure, decided, exact};
use crate::policy::limit::{Claim, Granted, Refused, Verdict};

use link::{Link, Script};
use places::{Held, LAPSE, Places, RENEWED_AT_ONCE};

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
    weigh: Script,
    renew: Script,
}

/// What a request holds in Redis until it is over; given back when dropped. Empty when no concurrency took part.
#[derive(Default)]
pub struct SharedPermit(Option<(Arc<Shared>, u64)>);

/// What was decided.
pub type Decided<'a> = Result<(Granted<'a>, SharedPermit), Refused<'a>>;

impl Shared {
    /// For the Redis at this URL, down until it is probed. `node` is unlike that of any other process.
    ///
    /// # Errors
    /// When it is no URL of a Redis.
    pub fn new(url: &str, prefix: &str, patience: Duration, node: [u8; 8]) -> Result<Arc<Self>, Fault> {
        Self::with(url, prefix, patience, node, include_str!("weigh.lua"))
    }

    fn with(url: &str, prefix: &str, patience: Duration, node: [u8; 8], weigh: &str) -> Result<Arc<Self>, Fault> {
        Ok(Arc::new(Self {
            link: Link::new(url, patience)?,
            prefix: format!("{{{prefix}}}"),
            node: format!("{:016x}", u64::from_be_bytes(node)),
            requests: AtomicU64::new(0),
            skew: AtomicI64::new(0),
            places: Places::default(),
            weigh: Script::new(weigh),
            renew: Script::new(include_str!("renew.lua")),
        }))
    }

    /// Passes all claims or none. `unix` is the clock of this node.
    ///
    /// # Errors
    /// When Redis does not answer; then nothing is decided, though something may have been taken.
    pub async fn decide<'a>(self: &Arc<Self>, claims: &[Claim<'a>], unix: i64) -> Result<Decided<'a>, Fault> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut reply = self.weigh(request, claims, unix).await?;
        if reply.first() == Some(&OTHER_WINDOW) {
            // The skew is known now.
            reply = self.weigh(request, claims, unix).await?;
        }
        let (verdict, second, found) = read(claims, &reply).ok_or(Fault::Reply)?;
        let decided = decided(claims, &found, verdict, second).ok_or(Fault::Reply)?;
        Ok(decided.map(|granted| (granted, self.permit(request, claims, unix))))
    }

    /// Whether it answered lately.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Notes that a decision failed; until a probe works nobody asks.
    pub fn failed(&self, fault: &Fault) -> Change {
        self.link.failed(fault)
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
        for some in self.places.all().chunks(RENEWED_AT_ONCE) {
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

    async fn weigh(&self, request: u64, claims: &[Claim<'_>], unix: i64) -> Result<Vec<i64>, Fault> {
        let unix_there = unix.saturating_add(self.skew.load(Ordering::Relaxed));
        let asked: SmallVec<[Asked; 4]> = claims.iter().map(|claim| claim.asked(unix_there)).collect();
        let arguments = |command: &mut Cmd| {
            command.arg(asked.len());
            asked.iter().for_each(|asked| _ = command.arg(self.key(&asked.counter)));
            let places = claims.iter().any(|claim| claim.holds_place());
            command.arg(if places { self.name(request) } else { String::new() }).arg(millis(LAPSE));
            asked.iter().for_each(|asked| measure(command, asked));
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
fn measure(command: &mut Cmd, asked: &Asked) {
    match asked.measure {
        Measure::Rate { one, capacity, drain } => command.arg("r").arg(one).arg(capacity).arg(drain),
        Measure::Quota { count, start, end } => command.arg("q").arg(count).arg(start).arg(end),
        Measure::Concurrency { max } => command.arg("c").arg(max).arg(0).arg(0),
    };
    command.arg(exact(asked.cost)).arg(exact(asked.cost));
}

/// The script's reply: what it decided, when by its clock, and what it found.
fn read(claims: &[Claim<'_>], reply: &[i64]) -> Option<(Verdict, i64, SmallVec<[Found; 4]>)> {
    let (head, rest) = reply.split_at_checked(REPLY_HEAD)?;
    let verdict = match head[0] {
        0 => Verdict::Refused,
        1 => Verdict::Passed,
        _ => return None,
    };
    let (each, []) = rest.as_chunks::<3>() else { return None };
    let found = claims.iter().zip(each).map(|(claim, [found, beside, _])| {
        let found = u64::try_from(*found).ok()?;
        Some(match claim.asked(head[1]).measure {
            Measure::Rate { .. } => Found::Rate { owed: found },
            Measure::Quota { .. } => Found::Quota { until: *beside, used: found },
            Measure::Concurrency { .. } => Found::Concurrency { in_flight: found },
        })
    });
    let found: SmallVec<[Found; 4]> = found.collect::<Option<_>>()?;
    (each.len() == claims.len()).then_some((verdict, head[1], found))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
