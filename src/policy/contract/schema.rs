//! JSON Schema 2020-12, ready to check values.
//!
//! A [`Schema`] is a list of nodes that name each other by number, so that schemas may refer to themselves. One walk
//! over a value finds all that is wrong, each fault with its own place and the same kind in a path, a query, a form
//! and a JSON body, and notes what was said of its members ([`Marks`]). Only `pattern`, `format`, `multipleOf` and
//! comparisons beyond `i64` go to the `jsonschema` crate; a property test holds both to the same verdict.
//!
//! - A value of the wrong type gets that one violation and nothing below it is looked at.
//! - `allOf`, `$ref` and `then` report what is wrong in them. `anyOf` and `oneOf` report the faults of the one branch
//!   that has the value's type, else one violation for the whole value. They are looked at when nothing else is wrong.
//! - `format` is asserted. `content*` keywords only document, as the specification asks.
//!
//! The time for one value is bounded: schemas that refer to themselves from several branches could cost
//! `2^depth`, so a walk that needs more than [`STEPS_PER_VALUE`] steps for each value of the body is a violation.
//!
//! [`build`](compile) assumes a schema that [`super::grammar`] has found no fault in.

mod compile;
mod elements;
mod marks;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::rules::{Bound, Counted, Span, Values};
use super::tree::Json;
use super::types::{Scalar, Types};
use super::unique::all_differ;
use super::violation::{At, ViolationKind as Kind, Violations};
use elements::{Items, Members};
use marks::Moment;

pub(super) use compile::{BuildFault, Resource, build, build_document};
pub(super) use marks::Marks;

/// Messages used in more than one place.
pub(super) const MISSING: &str = "is required";
pub(super) const EXTRA: &str = "is not permitted";

/// The most steps of a walk for each value in the body, and for any body.
const STEPS_PER_VALUE: usize = 256;
const SPARE_STEPS: usize = 100_000;

/// The most schemas that are applied inside each other, in one value or in those within it.
const MAX_NESTED: usize = 400;

/// The number of a node.
type NodeId = usize;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    nodes: Vec<Node>,
    root: NodeId,
    /// Where `$dynamicRef` leads, by resource and name of the anchor.
    anchors: Vec<(usize, Box<str>, NodeId)>,
    /// Whether any node asks what others left unevaluated.
    has_unevaluated: bool,
}

/// One schema object.
#[derive(Debug, Default)]
struct Node {
    types: Types,
    bounds: Vec<Bound>,
    length: Span,
    values: Vec<Values>,
    flat: Option<Validator>,
    items: Option<Box<Items>>,
    members: Option<Box<Members>>,
    applied: Option<Box<Applied>>,
    /// The resource it stands in, for `$dynamicRef`.
    resource: usize,
}

/// Schemas for the same value.
#[derive(Debug, Default)]
struct Applied {
    reference: Option<NodeId>,
    dynamic: Option<(Box<str>, NodeId)>,
    all: Vec<NodeId>,
    any: Vec<NodeId>,
    one: Vec<NodeId>,
    not: Option<NodeId>,
    condition: Option<Condition>,
}

#[derive(Debug)]
struct Condition {
    when: NodeId,
    then: Option<NodeId>,
    otherwise: Option<NodeId>,
}

impl Schema {
    /// Takes the items' schema out, for an array whose items are read one by one.
    pub(super) fn without_items(mut self) -> Self {
        let root = self.root;
        if let Some(items) = self.nodes.get_mut(root).and_then(|node| node.items.as_mut()) {
            items.rest = None;
        }
        self
    }

    /// Whether an array needs to be seen as a whole, beyond the number of its items.
    pub(super) fn needs_whole_array(&self) -> bool {
        let Some(root) = self.nodes.get(self.root) else { return false };
        let items = root.items.as_ref().is_some_and(|items| items.needs_whole());
        items || root.applied.is_some() || !root.values.is_empty()
    }

    /// Checks a JSON value with everything in it.
    pub(super) fn check(&self, value: &Value, at: &At<'_>, violations: &mut Violations) {
        let value = Json::of(value);
        self.walk(violations, SPARE_STEPS, |walk| walk.apply(self.root, &value, at));
    }

    /// Checks a part of a body that was read, and notes what is said of its members.
    pub(super) fn check_tree(
        &self,
        value: &Json<'_>,
        values: usize,
        marks: &mut Marks,
        at: &At<'_>,
        violations: &mut Violations,
    ) {
        let steps = SPARE_STEPS.saturating_add(values.saturating_mul(STEPS_PER_VALUE));
        self.walk(violations, steps, |walk| {
            walk.tracks = true;
            std::mem::swap(&mut walk.marks, marks);
            walk.apply(self.root, value, at);
            std::mem::swap(&mut walk.marks, marks);
        });
    }

    /// Checks a scalar.
    pub(super) fn check_scalar(&self, scalar: Scalar<'_>, at: &At<'_>, violations: &mut Violations) {
        let value = Json::of_scalar(scalar);
        self.walk(violations, SPARE_STEPS, |walk| walk.apply(self.root, &value, at));
    }

    /// Checks the number of an array's items.
    pub(super) fn check_count(&self, count: usize, at: &At<'_>, violations: &mut Violations) {
        if let Some(items) = self.nodes.get(self.root).and_then(|node| node.items.as_ref()) {
            items.count.check(count, Counted::Items, &mut |kind, msg| violations.push(at, kind, msg));
        }
    }

    fn walk(&self, violations: &mut Violations, steps: usize, begin: impl FnOnce(&mut Walk<'_, '_>)) {
        let mut walk = Walk {
            schema: self,
            violations,
            loud: true,
            failures: 0,
            marks: Marks::default(),
            tracks: self.has_unevaluated,
            steps,
            nested: 0,
            scope: Vec::new(),
        };
        begin(&mut walk);
    }
}

/// A walk over one value.
struct Walk<'s, 'v> {
    schema: &'s Schema,
    violations: &'v mut Violations,
    /// Whether failures are reported, or only counted.
    loud: bool,
    failures: usize,
    marks: Marks,
    /// Whether anybody will ask for the marks.
    tracks: bool,
    steps: usize,
    nested: usize,
    /// The resources that were entered and not left, outermost first.
    scope: Vec<usize>,
}

impl Walk<'_, '_> {
    fn fail(&mut self, at: &At<'_>, kind: Kind, msg: impl FnOnce() -> String) {
        self.failures += 1;
        if self.loud {
            self.violations.push(at, kind, msg());
        }
    }

    /// Whether there is nothing more to learn.
    fn is_over(&self, before: usize) -> bool {
        if self.loud { self.violations.is_full() } else { self.failures > before }
    }

    /// Applies a schema to a value.
    fn apply(&mut self, id: NodeId, value: &Json<'_>, at: &At<'_>) {
        let schema = self.schema;
        let Some(node) = schema.nodes.get(id) else { return };
        if self.steps == 0 || self.nested == MAX_NESTED {
            return self.fail(at, Kind::ValueError, || "is too deep or too large to be checked".to_owned());
        }
        self.steps -= 1;
        self.nested += 1;
        if schema.anchors.is_empty() || self.scope.last() == Some(&node.resource) {
            self.check(node, value, at);
        } else {
            self.scope.push(node.resource);
            self.check(node, value, at);
            self.scope.pop();
        }
        self.nested -= 1;
    }

    fn check(&mut self, node: &Node, value: &Json<'_>, at: &At<'_>) {
        if node.types != Types::ANY && !node.types.meets(Types::of_tree(value)) {
            let (kind, msg) = node.types.violation();
            return self.fail(at, kind, || msg.into_owned());
        }
        let before = self.failures;
        let moment = self.marks.now();
        if let Some(applied) = &node.applied {
            self.same_value(applied, value, at);
        }
        match value {
            Json::Number(digits) => self.bounds(node, digits, at),
            Json::String(text) => {
                let length = &node.length;
                length.check_text(text, &mut |kind, msg| self.fail(at, kind, || msg));
            }
            Json::Array(list) => {
                if let Some(items) = &node.items {
                    self.array(items, list, at);
                }
            }
            Json::Object(entries) => {
                if let Some(members) = &node.members {
                    self.object(members, value, entries, at);
                }
            }
            Json::Null | Json::Bool(_) => {}
        }
        if self.is_over(before) {
            return;
        }
        self.permitted(node, value, at);
        if let (Some(flat), Some(scalar)) = (&node.flat, value.as_scalar()) {
            self.flat(flat, scalar, at);
        }
        if let Some(applied) = node.applied.as_ref().filter(|_| self.failures == before) {
            self.branches(applied, value, at);
        }
        if self.failures == before && self.schema.has_unevaluated {
            self.unevaluated(node, value, moment, at);
        }
    }

    fn bounds(&mut self, node: &Node, digits: &str, at: &At<'_>) {
        for bound in node.bounds.iter().filter(|bound| !bound.holds(digits)) {
            self.fail(at, bound.side.kind(), || bound.msg.clone());
        }
    }

    /// `enum` and `const`, and whether items differ.
    fn permitted(&mut self, node: &Node, value: &Json<'_>, at: &At<'_>) {
        for values in node.values.iter().filter(|values| !values.hold(value)) {
            self.fail(at, values.kind, || values.msg.clone());
        }
        if let (Some(items), Json::Array(list)) = (&node.items, value)
            && items.unique
            && !all_differ(list)
        {
            self.fail(at, Kind::UniqueItems, || "must not hold a value twice".to_owned());
        }
    }

    fn flat(&mut self, flat: &Validator, scalar: Scalar<'_>, at: &At<'_>) {
        let value = scalar.to_value();
        if flat.is_valid(&value) {
            return;
        }
        for error in flat.iter_errors(&value) {
            let (kind, msg) = flat_violation(error.kind());
            self.fail(at, kind, || msg);
        }
    }

    /// What applies to the same value without a choice.
    fn same_value(&mut self, applied: &Applied, value: &Json<'_>, at: &At<'_>) {
        if let Some(target) = applied.reference {
            self.apply(target, value, at);
        }
        if let Some((anchor, target)) = &applied.dynamic {
            let target = self.outermost(anchor).unwrap_or(*target);
            self.apply(target, value, at);
        }
        for schema in &applied.all {
            self.apply(*schema, value, at);
        }
    }

    /// The node of a dynamic anchor in the resource that was entered first.
    fn outermost(&self, anchor: &str) -> Option<NodeId> {
        let anchors = &self.schema.anchors;
        self.scope.iter().find_map(|resource| {
            anchors.iter().find(|(at, name, _)| at == resource && **name == *anchor).map(|(_, _, node)| *node)
        })
    }

    /// What applies to the same value by choice.
    fn branches(&mut self, applied: &Applied, value: &Json<'_>, at: &At<'_>) {
        if !applied.any.is_empty() {
            let mut passes = false;
            for branch in &applied.any {
                passes |= self.tries(*branch, value, at);
                if passes && !self.tracks {
                    break;
                }
            }
            if !passes {
                self.none_of("anyOf", &applied.any, value, at);
            }
        }
        if !applied.one.is_empty() {
            let moment = self.marks.now();
            match applied.one.iter().filter(|branch| self.tries(**branch, value, at)).take(2).count() {
                0 => self.none_of("oneOf", &applied.one, value, at),
                1 => {}
                _ => {
                    self.marks.back_to(moment);
                    self.fail(at, Kind::ValueError, || "must satisfy only one schema of `oneOf`".to_owned());
                }
            }
        }
        if let Some(not) = applied.not {
            let moment = self.marks.now();
            if self.tries(not, value, at) {
                self.marks.back_to(moment);
                self.fail(at, Kind::ValueError, || "must satisfy `not`".to_owned());
            }
        }
        if let Some(condition) = &applied.condition {
            let next = if self.tries(condition.when, value, at) { condition.then } else { condition.otherwise };
            if let Some(next) = next {
                self.apply(next, value, at);
            }
        }
    }

    /// Whether a value satisfies a schema; nothing is reported, and only what applied is noted.
    fn tries(&mut self, schema: NodeId, value: &Json<'_>, at: &At<'_>) -> bool {
        let (moment, before, loud) = (self.marks.now(), self.failures, self.loud);
        self.loud = false;
        self.apply(schema, value, at);
        self.loud = loud;
        let passes = self.failures == before;
        self.failures = before;
        if !passes {
            self.marks.back_to(moment);
        }
        passes
    }

    /// Says why no branch is satisfied.
    fn none_of(&mut self, keyword: &str, branches: &[NodeId], value: &Json<'_>, at: &At<'_>) {
        if !self.loud {
            self.failures += 1;
            return;
        }
        let kind = Types::of_tree(value);
        let mut fitting = branches.iter().filter(|branch| self.types(**branch).meets(kind));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => {
                let before = self.failures;
                self.apply(*only, value, at);
                if self.failures > before {
                    return;
                }
            }
            (None, _) => {
                let types = branches.iter().map(|branch| self.types(*branch)).fold(Types::NONE, Types::or);
                let (kind, msg) = types.violation();
                return self.fail(at, kind, || msg.into_owned());
            }
            _ => {}
        }
        self.fail(at, Kind::ValueError, || format!("must satisfy `{keyword}`"));
    }

    /// The types that a schema takes, as far as it says so itself or the one it refers to.
    fn types(&self, id: NodeId) -> Types {
        const FAR: usize = 8;
        let mut next = self.schema.nodes.get(id);
        for _ in 0..FAR {
            match next {
                Some(node) if node.types == Types::ANY => {
                    let reference = node.applied.as_ref().and_then(|applied| applied.reference);
                    let Some(target) = reference else { return Types::ANY };
                    next = self.schema.nodes.get(target);
                }
                Some(node) => return node.types,
                None => return Types::ANY,
            }
        }
        Types::ANY
    }

    fn unevaluated(&mut self, node: &Node, value: &Json<'_>, moment: Moment, at: &At<'_>) {
        match value {
            Json::Array(list) => {
                if let Some(schema) = node.items.as_ref().and_then(|items| items.unevaluated) {
                    self.unevaluated_items(schema, list, moment, at);
                }
            }
            Json::Object(entries) => {
                if let Some(others) = node.members.as_ref().and_then(|members| members.unevaluated.as_ref()) {
                    self.unevaluated_members(others, entries, moment, at);
                }
            }
            _ => {}
        }
    }
}

fn flat_violation(error: &ValidationErrorKind) -> (Kind, String) {
    match error {
        ValidationErrorKind::Pattern { pattern } => {
            (Kind::StringPatternMismatch, format!("must match the pattern `{pattern}`"))
        }
        ValidationErrorKind::Format { format } => (Kind::Format, format!("must be a valid {format}")),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            (Kind::MultipleOf, format!("must be a multiple of {multiple_of}"))
        }
        other => (Kind::ValueError, format!("must satisfy `{}`", other.keyword())),
    }
}
