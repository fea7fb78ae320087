//! What a schema says of the items of an array and of the members of an object.

use std::collections::{HashMap, HashSet};

use jsonschema::Validator;
use serde_json::Value;

use super::super::rules::{Counted, Span};
use super::super::tree::{Entry, Json, Names};
use super::super::violation::{At, ViolationKind as Kind};
use super::marks::Moment;
use super::{EXTRA, MISSING, NodeId, Walk};

/// What an array's items must be.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub(super) count: Span,
    pub(super) first: Vec<NodeId>,
    /// Those after the first.
    pub(super) rest: Option<NodeId>,
    pub(super) contains: Option<Contains>,
    pub(super) unique: bool,
    pub(super) unevaluated: Option<NodeId>,
}

/// How many items must satisfy a schema.
#[derive(Debug)]
pub(super) struct Contains {
    pub(super) schema: NodeId,
    pub(super) least: usize,
    pub(super) most: Option<usize>,
}

/// What an object's members must be.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) size: Span,
    pub(super) known: HashMap<Box<str>, NodeId, ahash::RandomState>,
    pub(super) patterns: Vec<(Validator, NodeId)>,
    pub(super) others: Option<Others>,
    pub(super) required: Vec<Box<str>>,
    pub(super) names: Option<NodeId>,
    /// With this member those must be there, too.
    pub(super) with: Vec<(Box<str>, Vec<Box<str>>)>,
    /// With this member the object must satisfy that.
    pub(super) then: Vec<(Box<str>, NodeId)>,
    pub(super) unevaluated: Option<Others>,
    /// Whether it names members at all. `required` does not: it only says what must be there.
    pub(super) speaks: bool,
}

/// What is said of members that nothing else names.
#[derive(Debug)]
pub(super) enum Others {
    Forbidden,
    Are(NodeId),
}

impl Items {
    /// Whether the number of items and each item alone do not decide.
    pub(super) fn needs_whole(&self) -> bool {
        self.unique || self.contains.is_some() || self.unevaluated.is_some() || !self.first.is_empty()
    }
}

impl Walk<'_, '_> {
    pub(super) fn array(&mut self, items: &Items, list: &[Json<'_>], at: &At<'_>) {
        let before = self.failures;
        items.count.check(list.len(), Counted::Items, &mut |kind, msg| self.fail(at, kind, || msg));
        for (index, item) in list.iter().enumerate() {
            let Some(schema) = items.first.get(index).or(items.rest.as_ref()) else { break };
            if self.is_over(before) {
                return;
            }
            self.apply(*schema, item, &at.index(index));
            self.note_item(item);
        }
        if let Some(contains) = &items.contains {
            self.contains(contains, list, at);
        }
    }

    fn contains(&mut self, contains: &Contains, list: &[Json<'_>], at: &At<'_>) {
        let mut count = 0;
        for (index, item) in list.iter().enumerate() {
            if self.tries(contains.schema, item, &at.index(index)) {
                count += 1;
                self.note_item(item);
            }
        }
        if count < contains.least || contains.most.is_some_and(|most| count > most) {
            self.fail(at, Kind::ValueError, || "must satisfy `contains`".to_owned());
        }
    }

    fn note_item(&mut self, item: &Json<'_>) {
        if self.schema.has_unevaluated {
            self.marks.named.push(item.address());
        }
    }

    pub(super) fn object(&mut self, members: &Members, object: &Json<'_>, entries: &[Entry<'_>], at: &At<'_>) {
        let before = self.failures;
        members.size.check(entries.len(), Counted::Members, &mut |kind, msg| self.fail(at, kind, || msg));
        if self.tracks && members.speaks {
            self.marks.spoken.push(object.address());
        }
        self.presence(members, object, entries, at);
        for (name, value) in entries {
            if self.is_over(before) {
                return;
            }
            let at = at.name(name);
            if let Some(names) = members.names {
                self.apply(names, &Json::String(name.as_ref().into()), &at);
            }
            self.member(members, name, value, &at);
        }
    }

    /// What must be there, or must be there with something else.
    fn presence(&mut self, members: &Members, object: &Json<'_>, entries: &[Entry<'_>], at: &At<'_>) {
        if members.required.is_empty() && members.with.is_empty() && members.then.is_empty() {
            return;
        }
        let names = Names::of(entries);
        let with = members.with.iter().filter(|(name, _)| names.contain(name)).flat_map(|(_, others)| others);
        for name in members.required.iter().chain(with).filter(|name| !names.contain(name)) {
            self.fail(&at.name(name), Kind::Missing, || MISSING.to_owned());
        }
        for (_, schema) in members.then.iter().filter(|(name, _)| names.contain(name)) {
            self.apply(*schema, object, at);
        }
    }

    fn member(&mut self, members: &Members, name: &str, value: &Json<'_>, at: &At<'_>) {
        let mut named = false;
        if let Some(schema) = members.known.get(name) {
            self.apply(*schema, value, at);
            named = true;
        }
        if !members.patterns.is_empty() {
            let name = Value::from(name);
            for (_, schema) in members.patterns.iter().filter(|(pattern, _)| pattern.is_valid(&name)) {
                self.apply(*schema, value, at);
                named = true;
            }
        }
        if !named && let Some(others) = &members.others {
            self.other(others, value, at);
            named = true;
        }
        if named && self.tracks {
            self.marks.named.push(value.address());
        }
    }

    fn other(&mut self, others: &Others, value: &Json<'_>, at: &At<'_>) {
        match others {
            Others::Forbidden => self.fail(at, Kind::ExtraForbidden, || EXTRA.to_owned()),
            Others::Are(schema) => self.apply(*schema, value, at),
        }
    }

    pub(super) fn unevaluated_items(&mut self, schema: NodeId, list: &[Json<'_>], moment: Moment, at: &At<'_>) {
        let seen = self.seen(moment);
        for (index, item) in list.iter().enumerate().filter(|(_, item)| !seen.contains(&item.address())) {
            if self.violations.is_full() {
                return;
            }
            self.apply(schema, item, &at.index(index));
            self.marks.named.push(item.address());
        }
    }

    pub(super) fn unevaluated_members(&mut self, others: &Others, entries: &[Entry<'_>], moment: Moment, at: &At<'_>) {
        let seen = self.seen(moment);
        for (name, value) in entries.iter().filter(|(_, value)| !seen.contains(&value.address())) {
            if self.violations.is_full() {
                return;
            }
            self.other(others, value, &at.name(name));
            self.marks.named.push(value.address());
        }
    }

    /// What was evaluated since `moment`.
    fn seen(&self, moment: Moment) -> HashSet<usize, ahash::RandomState> {
        self.marks.named.get(moment.named..).unwrap_or_default().iter().copied().collect()
    }
}
