//! One stored reply.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use http::header::{
    AGE, CONNECTION, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, SET_COOKIE,
    TRANSFER_ENCODING,
};

use crate::gateway::{Route, ServiceHeaders};
use crate::policy::cache::{Lasting, SetCookie, tags};
use crate::policy::headers::{beyond_representation, response_hop_by_hop};
use crate::policy::rejection::X_REQUEST_ID;

use super::body::Body;
use super::mark::Mark;

/// A reply of a service, as clients get it but for what is each client's own.
#[derive(Debug)]
pub struct Stored {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body, which may still be coming.
    pub body: Arc<Body>,
    /// How long it may be used.
    pub lasting: Lasting,
    /// When it came, or was confirmed last.
    pub came: Instant,
    /// What the service is asked with whether it is still good.
    pub validators: Validators,
    /// The names of its `Vary`.
    pub vary: Arc<[HeaderName]>,
    /// What the request that brought it said of them.
    pub selecting: Vec<u8>,
    /// Makes it obsolete when its path changes, or a tag of it is purged.
    pub marks: Box<[Arc<Mark>]>,
    /// The name of its route.
    pub route: Box<str>,
    /// The path it was asked for.
    pub path: Box<str>,
}

/// What says which version of something a reply is.
#[derive(Debug, Clone, Default)]
pub struct Validators {
    /// `ETag`.
    pub tag: Option<HeaderValue>,
    /// `Last-Modified`.
    pub modified: Option<HeaderValue>,
}

impl Validators {
    /// Those of a reply.
    pub fn of(headers: &HeaderMap) -> Self {
        Self { tag: headers.get(ETAG).cloned(), modified: headers.get(LAST_MODIFIED).cloned() }
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.tag.is_none() && self.modified.is_none()
    }
}

impl Stored {
    /// Whether nothing has made it obsolete.
    pub fn is_good(&self) -> bool {
        self.marks.iter().all(|mark| mark.is_good())
    }

    /// What it takes in the store.
    pub fn weight(&self) -> u64 {
        /// The reply itself, its place in the store, and what allocations round up to.
        const OWN: usize = 768;
        /// The same of a field.
        const FIELD: usize = 64;
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
        let own = OWN + fields + self.selecting.len() + self.path.len() + self.route.len();
        self.body.length().unwrap_or_default() + own as u64
    }
}

/// The fields of a reply that are stored: those that are no single client's and no connection's.
pub fn kept(headers: &HeaderMap, route: &Route) -> HeaderMap {
    let mut kept = headers.clone();
    for name in response_hop_by_hop(headers) {
        kept.remove(name);
    }
    if route.service_headers == ServiceHeaders::Hide {
        for name in beyond_representation(&kept) {
            kept.remove(name);
        }
    }
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH, AGE, X_REQUEST_ID].iter().chain(&tags::FIELDS) {
        kept.remove(name);
    }
    if route.cache.as_ref().is_some_and(|cache| cache.rules.set_cookie == SetCookie::Remove) {
        kept.remove(SET_COOKIE);
    }
    kept
}
