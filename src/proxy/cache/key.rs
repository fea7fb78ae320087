//! What a stored reply is found by.
//!
//! A key names everything that a reply may depend on by the configuration: the route as configured, what the service
//! is asked for, the host and scheme that it is told, and who asks, unless all consumers get the same. Every part begins
//! with its length, so that no two requests have one key that differ in any. What a reply depends on besides it says in its
//! `Vary`.

use std::borrow::Borrow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use ring::digest::{Context, SHA256};
use smallvec::SmallVec;

use crate::gateway::{CachedRoute, Consumer};

use super::super::admit::Admission;

/// A key, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

/// A key, as a request makes it: without allocation for most.
pub type KeyBytes = SmallVec<[u8; 256]>;

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Key {
    /// What it is made of.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the key of a request is made of, besides its route.
pub struct Asked<'a> {
    /// The client's header.
    pub headers: &'a HeaderMap,
    /// The hosts that its service is told of.
    pub hosts: [Option<&'a HeaderValue>; 2],
    /// The host that it is for, where that is part of its target.
    pub authority: Option<&'a str>,
    /// Whether its client speaks TLS.
    pub is_https: bool,
    /// Who calls.
    pub consumer: Option<&'a Consumer>,
}

/// The key of a request.
pub fn key(cached: &CachedRoute, admission: &Admission, asked: &Asked<'_>) -> KeyBytes {
    let mut key = KeyBytes::new();
    key.extend_from_slice(&cached.fingerprint);
    key.push(u8::from(asked.is_https));
    for host in asked.hosts {
        part(&mut key, host.map_or(&[][..], HeaderValue::as_bytes));
    }
    part(&mut key, asked.authority.unwrap_or_default().as_bytes());
    part(&mut key, &admission.service_target);
    for (name, value) in admission.fields.iter() {
        part(&mut key, name.as_str().as_bytes());
        part(&mut key, value.as_bytes());
    }
    key.push(b'\n');
    if let Some(consumer) = asked.consumer.filter(|_| cached.keyed.consumer) {
        caller(&mut key, consumer);
    }
    for (name, counts) in [(AUTHORIZATION, cached.keyed.authorization), (COOKIE, cached.keyed.cookies)] {
        if counts && asked.headers.contains_key(&name) {
            // A store of replies is no place for credentials.
            let mut sum = Context::new(&SHA256);
            asked.headers.get_all(&name).iter().for_each(|value| {
                sum.update(&(value.len() as u64).to_ne_bytes());
                sum.update(value.as_bytes());
            });
            part(&mut key, sum.finish().as_ref());
        } else {
            part(&mut key, b"");
        }
    }
    key
}

/// Everything that the service is told of a caller.
fn caller(key: &mut KeyBytes, consumer: &Consumer) {
    part(key, consumer.name.as_bytes());
    part(key, consumer.plan.as_ref().map_or(&[][..], |plan| plan.name.as_bytes()));
    part(key, consumer.groups_header.as_ref().map_or(&[][..], |groups| groups.as_bytes()));
    for (name, value) in &consumer.claim_headers {
        part(key, name.as_str().as_bytes());
        part(key, value.as_bytes());
    }
    key.push(b'\n');
}

fn part(key: &mut KeyBytes, bytes: &[u8]) {
    key.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
    key.extend_from_slice(bytes);
}
