//! Keys that come and go at run time: those that are in the store now, or why they are not known.
//!
//! A store that cannot be read is no fault of the request, nor of its configuration: it is said where it may matter,
//! which is where a route looks for a key and none of the file was found.

use std::path::Path;

use crate::gateway::Access;
use crate::proxy::rehearse::{Found, Part};
use crate::store::{Snapshot, Store};

/// What is known of the keys of a store.
#[derive(Default)]
pub struct StoredKeys {
    known: Option<Snapshot>,
    unknown: Option<String>,
}

impl StoredKeys {
    /// The keys that are good at this time in the file at `path`, which is not changed.
    pub fn look(path: &Path, now: i64) -> Self {
        match Store::look(path, now) {
            Ok(snapshot) => Self { known: Some(snapshot), unknown: None },
            Err(fault) => {
                let why = format!("the store {} cannot be read, so its keys are not known: {fault}", path.display());
                Self { known: None, unknown: Some(why) }
            }
        }
    }

    pub(super) fn into_parts(self) -> (Option<Snapshot>, Option<String>) {
        (self.known, self.unknown)
    }
}

/// What is to be said of keys that are not known, where one of them might have been meant.
pub(super) fn note(unknown: Option<&str>, part: &Part, found: &Found) -> Option<String> {
    let route = found.route.as_deref()?;
    let keys_count = matches!(&route.access, Access::Authenticated { places, .. } if !places.is_empty());
    let open = keys_count && part.consumer.is_none() && found.consumer.is_none();
    unknown.filter(|_| open).map(str::to_owned)
}
