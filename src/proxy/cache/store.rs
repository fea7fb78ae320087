//! Where replies are kept: in memory, within a bound, and the least useful leave first.
//!
//! The store is `quick_cache`'s, an S3-FIFO-like policy: what is asked for once passes through a small part of it, so that
//! a scan does not drive out what is asked for often. Looking something up takes a shared lock of one of its shards.
//! Replies that differ by fields of the request are found in two steps: under the key of the request stands what they
//! differ by, and each of them under that key with those fields behind it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use http::HeaderMap;
use http::header::HeaderName;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use crate::policy::cache::status::Forwarded;
use crate::policy::cache::vary;

use super::super::body::{Budget, Reservation};
use super::fill::Fills;
use super::key::{Key, KeyBytes};
use super::mark::Marks;
use super::stored::Stored;

/// So that shards are large enough for the largest reply that a route may store.
const SHARDS: usize = 16;

/// How many replies the store is made for at first; it grows.
const FEW: usize = 1024;

/// The part of the memory that is for replies that are still coming.
const COMING: u64 = 4;

/// How long it is remembered that replies to a request are for nobody else.
const APART_FOR: Duration = Duration::from_secs(60);

/// All stored replies of the process, and those that are coming.
pub struct ReplyStore {
    entries: Cache<Key, Entry, Weigh, RandomState, Evictions>,
    /// Requests that others wait for.
    pub fills: Arc<Fills>,
    /// The paths that replies are for, which other methods change.
    pub paths: Marks,
    tags: Marks,
    /// Changes with each purge.
    purges: AtomicU64,
    coming: Arc<Budget>,
    memory: AtomicU64,
    evicted: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Entry {
    Reply(Arc<Stored>),
    /// Replies differ by these fields.
    Varies(Arc<[HeaderName]>),
    /// Replies are for nobody else; until then nobody waits for one.
    Apart(Instant),
}

/// What is stored for a request.
pub enum Found {
    /// This; whether it may be used is not said.
    Reply(Arc<Stored>),
    /// Nothing, or what is obsolete.
    Nothing(Forwarded),
    /// Nothing, and replies are for nobody else.
    Apart,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Entry> for Weigh {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        /// What a key and its place take.
        const PLACE: u64 = 128;
        let own = match entry {
            Entry::Reply(stored) => stored.weight(),
            Entry::Varies(names) => names.iter().map(|name| name.as_str().len() as u64 + 32).sum(),
            Entry::Apart(_) => 0,
        };
        own + key.bytes().len() as u64 + PLACE
    }
}

/// Counts what leaves.
#[derive(Clone)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Key, Entry> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _key: Key, entry: Entry) {
        if matches!(entry, Entry::Reply(_)) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Which replies are purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge<'a> {
    /// All.
    All,
    /// Those of a route.
    Route(&'a str),
    /// Those of a path as clients ask for it, whatever the query.
    Path(&'a str),
    /// Those of all paths that begin so.
    Prefix(&'a str),
    /// Those to which their service gave this tag.
    Tag(&'a str),
}

impl ReplyStore {
    /// An empty store.
    pub fn new(memory: u64) -> Self {
        let evicted = Arc::default();
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(FEW)
            .weight_capacity(memory - memory / COMING)
            .build()
            .expect("items and weight are given");
        let evictions = Evictions(Arc::clone(&evicted));
        Self {
            entries: Cache::with_options(options, Weigh, RandomState::new(), evictions),
            fills: Arc::default(),
            paths: Marks::default(),
            tags: Marks::default(),
            purges: AtomicU64::new(0),
            coming: Arc::default(),
            memory: AtomicU64::new(memory),
            evicted,
        }
    }

    /// Changes what it may take.
    pub fn resize(&self, memory: u64) {
        if self.memory.swap(memory, Ordering::Relaxed) != memory {
            self.entries.set_capacity(memory - memory / COMING);
        }
    }

    /// What is stored for a request. `key` is the request's, and becomes that of the reply.
    pub fn find(&self, key: &mut KeyBytes, headers: &HeaderMap) -> Found {
        match self.entries.get(&key[..]) {
            None => Found::Nothing(Forwarded::UriMiss),
            Some(Entry::Varies(names)) => {
                vary::selecting(&names, headers, key);
                match self.entries.get(&key[..]) {
                    Some(Entry::Reply(stored)) => self.good(stored, key),
                    Some(Entry::Apart(until)) if Instant::now() < until => Found::Apart,
                    Some(Entry::Varies(_) | Entry::Apart(_)) | None => Found::Nothing(Forwarded::VaryMiss),
                }
            }
            Some(Entry::Reply(stored)) => self.good(stored, key),
            Some(Entry::Apart(until)) if Instant::now() < until => Found::Apart,
            Some(Entry::Apart(_)) => Found::Nothing(Forwarded::UriMiss),
        }
    }

    fn good(&self, stored: Arc<Stored>, key: &KeyBytes) -> Found {
        if stored.is_good() {
            return Found::Reply(stored);
        }
        self.entries.remove(&key[..]);
        Found::Nothing(Forwarded::UriMiss)
    }

    /// Stores a reply that is whole. `primary` is the key of requests, without what they say of fields.
    pub fn insert(&self, primary: &[u8], stored: &Arc<Stored>) {
        if !stored.is_good() {
            return;
        }
        if stored.vary.is_empty() {
            self.entries.insert(Key::from(primary), Entry::Reply(Arc::clone(stored)));
            return;
        }
        self.set_apart(primary, &stored.vary);
        let key = [primary, &stored.selecting].concat();
        self.entries.insert(Key::from(&key[..]), Entry::Reply(Arc::clone(stored)));
    }

    /// Notes by which fields replies differ; those that come later than others count.
    pub fn set_apart(&self, primary: &[u8], names: &Arc<[HeaderName]>) {
        let known = matches!(self.entries.peek(primary), Some(Entry::Varies(known)) if known == *names);
        if !names.is_empty() && !known {
            self.entries.insert(Key::from(primary), Entry::Varies(Arc::clone(names)));
        }
    }

    /// Forgets the reply under this key.
    pub fn remove(&self, key: &[u8]) {
        self.entries.remove(key);
    }

    /// Notes that replies to a request are for nobody else.
    pub fn leave_apart(&self, key: &Key, now: Instant) {
        self.entries.insert(key.clone(), Entry::Apart(now + APART_FOR));
    }

    /// A mark for a reply with this tag.
    pub fn tag(&self, tag: &str) -> Arc<super::mark::Mark> {
        self.tags.of(tag.as_bytes())
    }

    /// How many purges there were: a reply that was asked for before one may be what it was for.
    pub fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Purges replies. How many there were.
    pub fn purge(&self, what: Purge<'_>) -> u64 {
        self.purges.fetch_add(1, Ordering::AcqRel);
        if let Purge::Tag(tag) = what {
            self.tags.end(tag.as_bytes());
        }
        let purged = Cell::new(0);
        self.entries.retain(|_, entry| {
            let Entry::Reply(stored) = entry else { return true };
            let goes = match what {
                Purge::All => true,
                Purge::Route(name) => *stored.route == *name,
                Purge::Path(path) => *stored.path == *path,
                Purge::Prefix(prefix) => stored.path.starts_with(prefix),
                Purge::Tag(_) => !stored.is_good(),
            };
            purged.set(purged.get() + u64::from(goes));
            !goes
        });
        purged.get()
    }

    /// Room for a reply that comes.
    pub fn room(&self) -> Room {
        Room { taken: self.coming.reserve(), limit: self.memory.load(Ordering::Relaxed) / COMING }
    }

    /// Bytes that it takes, and the most that it may.
    pub fn bytes(&self) -> (u64, u64) {
        (self.entries.weight() + self.coming.used(), self.memory.load(Ordering::Relaxed))
    }

    /// How many entries there are.
    pub fn objects(&self) -> u64 {
        self.entries.len() as u64
    }

    /// How many replies had to leave for others.
    pub fn evictions(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// What a reply takes until it is whole.
pub struct Room {
    taken: Reservation,
    limit: u64,
}

impl Room {
    /// Takes so much in all. Whether there is so much.
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        self.taken.grow_to(bytes, self.limit).is_ok()
    }
}
