//! Which route a request is for.
//!
//! Precedence, read segment by segment from the left; the first segment in which two templates differ decides:
//! 1. a literal beats a pattern, a pattern beats a catch-all;
//! 2. of two patterns, the one that fits only part of what the other fits: `v{x}` and `{x}.json` beat `{x}`;
//! 3. patterns of which neither is within the other (`a{x}` and `{x}b`, `{a}-{b}` and `{a}.{b}`) are rivals. Two
//!    templates whose first difference are rivals and that can match one path are refused, as are two of one shape.
//!
//! A template that fails further right gives way to the next one. Invariant: of all templates that match, the found
//! one is first by these rules. They hold per host pattern and method: an exact host beats a wildcard, a longer
//! wildcard a shorter one, any beats none; a host whose routes do not match gives way to the less specific. `HEAD`
//! is answered by a `GET` route where the same host has no `HEAD` route for the path.
//!
//! The trie is our own: `wayfind` 1.1 matches byte-wise, so it has `/{x}b` win over `/{x}ab` and `/{a}/b` over
//! `/{a}.json/{c}`, cuts escapes (`{x}20` captures `a%` of `a%20`), has no empty catch-all and sees no rivals.

mod host;
mod trie;

use std::collections::HashMap;
use std::fmt;

use http::Method;
use thiserror::Error;

use crate::gateway::template::Template;
use crate::policy::path::RequestPath;

pub use crate::gateway::template::Captures;
pub use host::HostPattern;
pub use trie::Ambiguity;

use host::HostBuffer;
use trie::Trie;

/// All routes of a generation, by host, method and path. `T` is a cheap handle of a route.
#[derive(Debug)]
pub struct Router<T> {
    exact: HostTables<T>,
    /// By what follows `*.`.
    wildcard: HostTables<T>,
    any_host: Table<T>,
}

/// A router while its routes come in.
#[derive(Debug)]
pub struct RouterBuilder<T> {
    router: Router<T>,
}

/// Why a route was not added: another one would match the same requests.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{method} requests: {reason}")]
pub struct Conflict<T> {
    /// The other route.
    pub other: T,
    /// A method of both.
    pub method: Method,
    /// What they share.
    pub reason: Ambiguity,
}

/// The route of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<'m, T> {
    /// The handle that was added.
    pub route: &'m T,
    /// The template's values, normalised and still encoded, in the order of its names.
    pub captures: Captures<'m>,
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// No route has this path.
    NotFound,
    /// Only routes of other methods have it.
    MethodNotAllowed(Allow),
}

/// Every method that a path answers, always in the same order. Its text is the value of an `Allow` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    methods: Vec<Method>,
}

type HostTables<T> = HashMap<Box<str>, Table<T>, ahash::RandomState>;

/// The routes of one host pattern: a trie per method, so that a path declared for one method does not hide a less
/// specific one of another.
#[derive(Debug)]
struct Table<T> {
    methods: Vec<(Method, Trie<T>)>,
}

impl<T: Clone> RouterBuilder<T> {
    /// No routes yet.
    pub fn new() -> Self {
        let router =
            Router { exact: HostTables::default(), wildcard: HostTables::default(), any_host: Table::default() };
        Self { router }
    }

    /// Adds a route for all of `methods`, or for none when it conflicts in one of them. A method given twice counts
    /// once.
    pub fn add(
        &mut self,
        host: Option<&HostPattern>,
        methods: &[Method],
        template: &Template,
        route: T,
    ) -> Result<(), Conflict<T>> {
        let table = self.router.table_mut(host);
        for method in methods {
            if let Some((other, reason)) = table.trie(method).and_then(|trie| trie.conflict(template.segments())) {
                return Err(Conflict { other: other.clone(), method: method.clone(), reason });
            }
        }
        for (nth, method) in methods.iter().enumerate() {
            if !methods[..nth].contains(method) {
                table.trie_mut(method).insert(template.segments(), route.clone());
            }
        }
        Ok(())
    }

    /// The router of everything added.
    pub fn build(self) -> Router<T> {
        let mut router = self.router;
        let hosts = router.exact.values_mut().chain(router.wildcard.values_mut());
        for (_, trie) in hosts.chain([&mut router.any_host]).flat_map(|table| &mut table.methods) {
            trie.seal();
        }
        router
    }
}

impl<T: Clone> Default for RouterBuilder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Router<T> {
    /// Finds the route of a request. `host` is the value of its `Host` header, in any case and perhaps with a port.
    pub fn find<'m>(
        &'m self,
        host: Option<&str>,
        method: &Method,
        path: &'m RequestPath<'_>,
    ) -> Result<Match<'m, T>, Miss> {
        let mut buffer = HostBuffer::default();
        let mut captures = Captures::new();
        for table in self.tables(self.known_host(host, &mut buffer)) {
            if let Some(route) = table.find(method, path.as_str(), &mut captures) {
                return Ok(Match { route, captures });
            }
        }
        match self.find_allow(host, path) {
            Some(allow) => Err(Miss::MethodNotAllowed(allow)),
            None => Err(Miss::NotFound),
        }
    }

    /// The methods that a path answers: for `OPTIONS`. `None` when no route has this path.
    pub fn find_allow(&self, host: Option<&str>, path: &RequestPath<'_>) -> Option<Allow> {
        let mut buffer = HostBuffer::default();
        let mut methods = Vec::new();
        for table in self.tables(self.known_host(host, &mut buffer)) {
            for (method, trie) in &table.methods {
                if !methods.contains(method) && trie.find(path.as_str(), &mut Captures::new()).is_some() {
                    methods.push(method.clone());
                }
            }
        }
        if methods.is_empty() { None } else { Some(Allow::of(methods)) }
    }

    fn known_host<'b>(&self, host: Option<&str>, buffer: &'b mut HostBuffer) -> Option<&'b str> {
        if self.exact.is_empty() && self.wildcard.is_empty() { None } else { buffer.normalise(host?) }
    }

    /// From the most specific host pattern to none.
    fn tables(&self, host: Option<&str>) -> impl Iterator<Item = &Table<T>> {
        let parent = |host: &str| host.find('.').map(|dot| dot + 1);
        let suffixes = std::iter::successors(host.and_then(|host| Some(&host[parent(host)?..])), move |suffix| {
            Some(&suffix[parent(suffix)?..])
        });
        let exact = host.and_then(|host| self.exact.get(host));
        exact.into_iter().chain(suffixes.filter_map(|suffix| self.wildcard.get(suffix))).chain([&self.any_host])
    }

    fn table_mut(&mut self, host: Option<&HostPattern>) -> &mut Table<T> {
        match host {
            None => &mut self.any_host,
            Some(HostPattern::Exact(name)) => self.exact.entry(name.clone()).or_default(),
            Some(HostPattern::Wildcard(suffix)) => self.wildcard.entry(suffix.clone()).or_default(),
        }
    }
}

impl<T> Table<T> {
    fn find<'p>(&self, method: &Method, path: &'p str, captures: &mut Captures<'p>) -> Option<&T> {
        let own = self.trie(method).and_then(|trie| trie.find(path, captures));
        if own.is_some() || *method != Method::HEAD {
            return own;
        }
        self.trie(&Method::GET)?.find(path, captures)
    }

    fn trie(&self, method: &Method) -> Option<&Trie<T>> {
        self.methods.iter().find(|(known, _)| known == method).map(|(_, trie)| trie)
    }

    fn trie_mut(&mut self, method: &Method) -> &mut Trie<T> {
        let at = self.methods.iter().position(|(known, _)| known == method).unwrap_or_else(|| {
            self.methods.push((method.clone(), Trie::default()));
            self.methods.len() - 1
        });
        &mut self.methods[at].1
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { methods: Vec::new() }
    }
}

impl Allow {
    /// The methods, in order.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn of(mut methods: Vec<Method>) -> Self {
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.push(Method::OPTIONS);
        methods.sort_by(|one, other| (rank(one), one.as_str()).cmp(&(rank(other), other.as_str())));
        methods.dedup();
        Self { methods }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, method) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if nth == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Methods without a rank of their own come last, by name.
fn rank(method: &Method) -> usize {
    let order = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    order.iter().position(|known| known == method).unwrap_or(order.len())
}

#[cfg(test)]
mod tests;
