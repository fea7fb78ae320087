//! Places in flight that this node holds in Redis.
//!
//! A place is a name in a sorted set, by the time at which it lapses: [`LAPSE`] after it was taken or last renewed. The
//! node renews those it holds every [`RENEW_EVERY`], so those of a node that has died are free after at most `LAPSE`,
//! and so is a place whose release was lost. A Redis that has lost its data learns of the places again at the next
//! renewal; until then more may be admitted.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

/// How long a place is good without being renewed.
pub(super) const LAPSE: Duration = Duration::from_secs(30);

/// How often places are renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(10);

/// Places, or leases, in one call, so that no other request waits long for it.
pub(super) const AT_ONCE: usize = 500;

/// What one request holds: the keys of its counters.
pub(super) type Held = smallvec::SmallVec<[String; 1]>;

/// All places of this node, by the number of their request. As many as requests are in flight here.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<u64, Held, ahash::RandomState>>);

impl Places {
    pub(super) fn enter(&self, request: u64, held: Held) {
        self.0.lock().insert(request, held);
    }

    pub(super) fn leave(&self, request: u64) -> Option<Held> {
        self.0.lock().remove(&request)
    }

    pub(super) fn holds(&self, request: u64) -> bool {
        self.0.lock().contains_key(&request)
    }

    /// Every place: the number of its request and its key.
    pub(super) fn all(&self) -> Vec<(u64, String)> {
        let places = self.0.lock();
        places.iter().flat_map(|(request, held)| held.iter().map(|key| (*request, key.clone()))).collect()
    }
}
