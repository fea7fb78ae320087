//! Published key sets: which of them the configuration names, and what is known of each.
//!
//! A [`RemoteKeys`] belongs to the process: it is found again by its [`Source`] in every generation that names it, so
//! that a reload forgets no key. It fetches nothing: `server` does, for each that [`KeySources::due`] names.
//!
//! What holds:
//! - Known keys stay until a good set replaces them, however long the provider is down.
//! - A request with an unknown key id may ask for one fetch ([`RemoteKeys::ask`]); the next such fetch begins a cool-down
//!   later at the earliest. After a fetch that failed, nothing is fetched for a cool-down. So strangers and outages
//!   cause at most one fetch per cool-down beside the regular ones.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::policy::token::KeySet;

/// Longer than any process lives that fetches a set once.
const ONCE: Duration = Duration::from_secs(86_400);

/// Where a key set comes from, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Where.
    pub address: Address,
    /// From one good fetch to the next.
    pub refresh: Duration,
    /// See the module.
    pub cooldown: Duration,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// At this URL.
    Url(Box<str>),
    /// Where this issuer's `/.well-known/openid-configuration` says.
    Discovery(Box<str>),
}

/// All key sets of the process that some generation uses.
#[derive(Debug, Default)]
pub struct KeySources {
    known: Mutex<HashMap<Source, Weak<RemoteKeys>>>,
    wake: Arc<Notify>,
}

/// A published key set.
#[derive(Debug)]
pub struct RemoteKeys {
    /// The authenticator that named it first, for logs and metrics.
    pub name: Box<str>,
    /// Where it comes from.
    pub source: Source,
    published: ArcSwapOption<Published>,
    schedule: Mutex<Schedule>,
    /// Number of attempts that ended.
    ended: watch::Sender<u64>,
    wake: Arc<Notify>,
}

/// A set with its number; another set has another number.
#[derive(Debug)]
pub struct Published {
    /// From 1.
    pub version: u64,
    /// What was fetched.
    pub keys: KeySet,
    /// As it came, to tell whether the next one differs.
    text: Box<[u8]>,
}

#[derive(Debug)]
struct Schedule {
    next: Instant,
    /// Requests cannot ask before.
    quiet_until: Instant,
    fetching: bool,
}

impl KeySources {
    /// The key set of this source, as the process knows it.
    pub fn of(&self, name: &str, source: Source) -> Arc<RemoteKeys> {
        let mut known = self.known.lock();
        known.retain(|_, remote| remote.strong_count() > 0);
        if let Some(remote) = known.get(&source).and_then(Weak::upgrade) {
            return remote;
        }
        // Another rhythm does not make known keys unknown.
        let same = known.values().filter_map(Weak::upgrade).find(|other| other.source.address == source.address);
        let now = Instant::now();
        let remote = Arc::new(RemoteKeys {
            name: name.into(),
            source: source.clone(),
            published: ArcSwapOption::new(same.and_then(|other| other.published.load_full())),
            schedule: Mutex::new(Schedule { next: now, quiet_until: now, fetching: false }),
            ended: watch::Sender::new(0),
            wake: Arc::clone(&self.wake),
        });
        known.insert(source, Arc::downgrade(&remote));
        self.wake.notify_one();
        remote
    }

    /// Those to fetch now, each marked as being fetched, and when to look again.
    pub fn due(&self, now: Instant) -> (Vec<Arc<RemoteKeys>>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for remote in self.known.lock().values().filter_map(Weak::upgrade) {
            let mut schedule = remote.schedule.lock();
            if schedule.fetching {
                continue;
            }
            if schedule.next <= now {
                schedule.fetching = true;
                drop(schedule);
                due.push(remote);
            } else {
                next = Some(next.map_or(schedule.next, |next| next.min(schedule.next)));
            }
        }
        (due, next)
    }

    /// Waits until something may be due.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl RemoteKeys {
    /// What is known; nothing before the first good fetch.
    pub fn known(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }

    /// Asks for a fetch because a key is unknown. What to wait for, if one is under way or may begin.
    pub fn ask(&self, now: Instant) -> Option<Pending> {
        // Before looking: an attempt that ends in between has been seen.
        let pending = Pending { ended: self.ended.subscribe() };
        let mut schedule = self.schedule.lock();
        if schedule.fetching || schedule.next <= now {
            return Some(pending);
        }
        if now < schedule.quiet_until {
            return None;
        }
        schedule.next = now;
        schedule.quiet_until = now + self.source.cooldown;
        drop(schedule);
        self.wake.notify_one();
        Some(pending)
    }

    /// Notes the one fetch of a process that makes no other: requests wait for none.
    pub fn fetched_once(&self, set: Option<(KeySet, Vec<u8>)>, now: Instant) {
        self.fetched(set, now);
        let mut schedule = self.schedule.lock();
        schedule.next = now + ONCE;
        schedule.quiet_until = schedule.next;
    }

    /// Notes the end of a fetch: the set and its text, or nothing. Whether the set is a new one.
    pub fn fetched(&self, set: Option<(KeySet, Vec<u8>)>, now: Instant) -> bool {
        let good = set.is_some();
        let before = self.published.load();
        let changed = match set {
            Some((_, text)) if before.as_ref().is_some_and(|before| *before.text == *text) => false,
            Some((keys, text)) => {
                let version = before.as_ref().map_or(1, |before| before.version + 1);
                self.published.store(Some(Arc::new(Published { version, keys, text: text.into() })));
                true
            }
            None => false,
        };
        let mut schedule = self.schedule.lock();
        schedule.fetching = false;
        if good {
            schedule.next = now + self.source.refresh;
        } else {
            schedule.next = now + self.source.cooldown;
            schedule.quiet_until = schedule.next;
        }
        drop(schedule);
        self.ended.send_modify(|ended| *ended += 1);
        self.wake.notify_one();
        changed
    }
}

/// A fetch that will end.
pub struct Pending {
    ended: watch::Receiver<u64>,
}

impl Pending {
    /// Waits for the end, but not longer than `patience`.
    pub async fn ended(mut self, patience: Duration) {
        // Both a lapse and the end of the source leave the request with the keys that there are.
        let _ = tokio::time::timeout(patience, self.ended.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REFRESH: Duration = Duration::from_secs(600);
    const COOLDOWN: Duration = Duration::from_secs(30);

    fn source(refresh: Duration) -> Source {
        Source { address: Address::Url("http://127.0.0.1/jwks".into()), refresh, cooldown: COOLDOWN }
    }

    fn set(kid: &str) -> (KeySet, Vec<u8>) {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid }] });
        (KeySet::of_jwks(&set).unwrap(), set.to_string().into_bytes())
    }

    fn is_due(sources: &KeySources, at: Instant) -> bool {
        !sources.due(at).0.is_empty()
    }

    #[test]
    fn unknown_keys_cause_one_fetch_per_cool_down() {
        let sources = KeySources::default();
        let remote = sources.of("corp", source(REFRESH));
        let start = Instant::now();
        assert!(is_due(&sources, start));
        assert!(!is_due(&sources, start), "it is being fetched");
        assert!(remote.ask(start).is_some(), "the fetch under way will do");
        assert!(remote.fetched(Some(set("one")), start));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(remote.ask(after(1)).is_some());
        assert!(is_due(&sources, after(1)));
        assert!(!remote.fetched(Some(set("one")), after(1)), "the same set");
        for second in 2..31 {
            assert!(remote.ask(after(second)).is_none(), "{second}");
            assert!(!is_due(&sources, after(second)), "{second}");
        }
        assert!(remote.ask(after(31)).is_some());
        assert!(is_due(&sources, after(31)));
    }

    #[test]
    fn an_outage_keeps_the_keys_and_is_asked_once_per_cool_down() {
        let sources = KeySources::default();
        let remote = sources.of("corp", source(REFRESH));
        let start = Instant::now();
        let mut fetches = 0;
        for second in 0..1300 {
            let now = start + Duration::from_secs(second);
            let _ = remote.ask(now);
            if is_due(&sources, now) {
                fetches += 1;
                remote.fetched((second == 0).then(|| set("one")), now);
            }
            assert_eq!(remote.known().map(|known| known.version), Some(1));
        }
        assert!((2..=1300 / 30 + 2).contains(&fetches), "{fetches} fetches");
    }

    #[test]
    fn a_reload_keeps_what_is_known_also_at_another_rhythm() {
        let sources = KeySources::default();
        let remote = sources.of("corp", source(REFRESH));
        remote.fetched(Some(set("one")), Instant::now());
        assert!(Arc::ptr_eq(&remote, &sources.of("again", source(REFRESH))));
        let other = sources.of("corp", source(COOLDOWN));
        assert_eq!(other.known().map(|known| known.version), Some(1));
        drop((remote, other));
        assert!(sources.of("corp", source(REFRESH)).known().is_none(), "nobody used it any more");
    }
}
