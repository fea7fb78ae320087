//! Consumers that an auth service names (`forward_auth`).
//!
//! A [`ForwardAuthenticator`] holds what such an authenticator compiles to: where the auth service is, what of a request it
//! gets, and what its answer means. It asks nobody: `proxy::auth_service` does. Names are those of tokens' consumers: an
//! auth service cannot name one of the configuration's own by accident, see [`super::token`].

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use indexmap::IndexMap;

use super::service::Service;
use super::token::is_name;
use super::{Consumer, Plan};

/// The most bytes of copied values in one answer, names included.
const MAX_COPIED: usize = 8 * 1024;

/// Finds consumers by asking.
pub struct ForwardAuthenticator {
    /// Its name.
    pub name: Box<str>,
    /// The auth service.
    pub service: Arc<Service>,
    /// What is asked for there.
    pub path: Box<str>,
    /// How long it may take.
    pub timeout: Duration,
    /// Headers of the request that it gets.
    pub request_headers: Vec<HeaderName>,
    /// What its answer means.
    pub meaning: Meaning,
}

/// What the headers of an answer mean.
pub struct Meaning {
    /// Names the consumer.
    pub consumer: HeaderName,
    /// Consumers of the configuration that may be named.
    pub consumers: IndexMap<String, Arc<Consumer>>,
    /// Names the plan.
    pub plan_header: Option<HeaderName>,
    /// The plan of answers that name none.
    pub plan: Option<Arc<Plan>>,
    /// Plans by name; empty: nobody has one.
    pub plans: IndexMap<String, Arc<Plan>>,
    /// Lists groups.
    pub groups: Option<HeaderName>,
    /// What the service gets.
    pub copied: Vec<HeaderName>,
}

/// Why a good answer leads to no consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nameless {
    /// It names nobody, or in a way that no consumer can be called.
    Consumer,
    /// There is no such plan.
    Plan,
    /// What is to be copied is too much.
    TooLarge,
}

impl ForwardAuthenticator {
    /// Headers of a service that only answers fill: the client's copies of them do not pass.
    pub fn written_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let Meaning { consumer, plan_header, groups, copied, .. } = &self.meaning;
        std::iter::once(consumer).chain(plan_header).chain(groups).chain(copied)
    }

    /// Whom a good answer names.
    ///
    /// # Errors
    /// Why it is nobody.
    pub fn consumer(&self, answer: &HeaderMap) -> Result<Consumer, Nameless> {
        let meaning = &self.meaning;
        let name = one(answer, &meaning.consumer).filter(|name| is_name(name)).ok_or(Nameless::Consumer)?;
        let claim_headers = meaning.copies(answer)?;
        if let Some(known) = meaning.consumers.get(name) {
            return Ok(known.with(serde_json::Map::new(), claim_headers));
        }
        let plan = meaning.plan(answer)?;
        let groups = meaning.groups(answer);
        // It was checked, and so was the authenticator's at load.
        let consumer = Consumer::named_by(&self.name, name, plan, groups, serde_json::Map::new(), claim_headers);
        consumer.ok_or(Nameless::Consumer)
    }
}

/// The one value of a header; several could be read in two ways.
fn one<'a>(answer: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = answer.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

impl Meaning {
    fn plan(&self, answer: &HeaderMap) -> Result<Option<Arc<Plan>>, Nameless> {
        if self.plans.is_empty() {
            return Ok(None);
        }
        let plan = match self.plan_header.as_ref().filter(|name| answer.contains_key(*name)) {
            Some(header) => one(answer, header).and_then(|name| self.plans.get(name)),
            None => self.plan.as_ref(),
        };
        plan.cloned().map(Some).ok_or(Nameless::Plan)
    }

    /// Names that cannot be listed in a header are left out.
    fn groups(&self, answer: &HeaderMap) -> Vec<Box<str>> {
        let Some(header) = &self.groups else { return Vec::new() };
        let values = answer.get_all(header).iter().filter_map(|value| value.to_str().ok());
        let names = values.flat_map(|value| value.split(',')).map(str::trim);
        let listed = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        names.filter(listed).map(Into::into).collect()
    }

    /// One field for each name, as the service must not read it in two ways: several values stand in a list.
    fn copies(&self, answer: &HeaderMap) -> Result<Vec<(HeaderName, HeaderValue)>, Nameless> {
        let mut copies = Vec::new();
        let mut bytes = 0;
        for name in self.copied.iter().filter(|name| answer.contains_key(*name)) {
            let values: Vec<&[u8]> = answer.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            let value = values.join(&b", "[..]);
            bytes += name.as_str().len() + value.len();
            if bytes > MAX_COPIED {
                return Err(Nameless::TooLarge);
            }
            copies.extend(HeaderValue::from_bytes(&value).ok().map(|value| (name.clone(), value)));
        }
        Ok(copies)
    }
}
