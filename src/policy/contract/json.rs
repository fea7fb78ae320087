//! A JSON body: the members of one object, strictly typed.
//!
//! Nothing is coerced: `"5"` and `true` are not integers, `5.0` is one. The service gets compact JSON with the digits
//! of every number as the client wrote them (an exponent in the one form `e+5`), members in the client's order, then
//! the defaults. What is read, and what is refused before it is read, is said in `tree`.
//!
//! An empty body is `missing` when a member is required; otherwise the service gets the defaults, or no body when
//! there are none. A member that is absent stays absent unless it has a default here: nothing is filled into nested
//! objects, so that a PATCH changes what it names.
//!
//! # Undeclared members
//!
//! `undeclared` holds at every level. A member of an object is declared when a schema that applied to the object
//! names it: `properties`, `patternProperties`, `additionalProperties` or `unevaluatedProperties` as a schema, there or
//! through `$ref`, `allOf`, `then`, and those branches of `anyOf` and `oneOf` that hold; what JSON Schema calls
//! evaluated. An object of which no schema says any of these words is open: everything in it passes.
//! `additionalProperties: false` is a rule of the schema and refuses, whatever `undeclared` says.

use std::collections::HashMap;

use bytes::Bytes;

use super::Undeclared;
use super::parameter::{Absent, Member};
use super::schema::{EXTRA, MISSING, Marks};
use super::tree::{Entry, Json, Names, read, without_mark};
use super::violation::{At, ViolationKind as Kind, Violations};

/// The declared members of a JSON body.
#[derive(Debug)]
pub struct JsonContract {
    members: Vec<Member>,
    by_name: HashMap<Box<str>, usize, ahash::RandomState>,
    undeclared: Undeclared,
}

impl JsonContract {
    /// A contract of these members, in order of declaration.
    pub fn new(members: Vec<Member>, undeclared: Undeclared) -> Self {
        let by_name = members.iter().enumerate().map(|(index, member)| (member.name.clone(), index)).collect();
        Self { members, by_name, undeclared }
    }

    /// What the service gets; nothing when there are violations or no body is to be sent.
    pub(super) fn check(&self, body: &[u8], violations: &mut Violations) -> Option<Bytes> {
        if without_mark(body).is_empty() {
            return self.check_empty(violations);
        }
        let before = violations.len();
        let read = read(body, &At::BODY, violations)?;
        let Json::Object(entries) = &read.root else {
            violations.push(&At::BODY, Kind::DictType, "must be object");
            return None;
        };
        let mut marks = Marks::default();
        marks.speak(&read.root);
        self.check_members(entries, read.values, &mut marks, violations);
        let passing = Passing::new(self.undeclared, marks);
        if violations.len() == before {
            passing.refuse_undeclared(&read.root, &At::BODY, violations);
        } else {
            self.refuse_undeclared_members(entries, violations);
        }
        (violations.len() == before).then(|| self.write(&read.root, entries, &passing, body.len()))
    }

    fn check_empty(&self, violations: &mut Violations) -> Option<Bytes> {
        if self.members.iter().any(|member| matches!(member.absent, Absent::Violation)) {
            violations.push(&At::BODY, Kind::Missing, MISSING);
            return None;
        }
        let filled = self.members.iter().any(|member| matches!(member.absent, Absent::Filled(_)));
        let nothing = Json::Object(Vec::new());
        filled.then(|| self.write(&nothing, &[], &Passing::new(Undeclared::Forward, Marks::default()), 0))
    }

    fn check_members(&self, entries: &[Entry<'_>], values: usize, marks: &mut Marks, violations: &mut Violations) {
        let at = At::BODY;
        let mut sent = vec![None; self.members.len()];
        for (name, value) in entries {
            if let Some(index) = self.by_name.get(&**name) {
                sent[*index] = Some(value);
                marks.name(value);
            }
        }
        for (member, value) in self.members.iter().zip(sent) {
            match (value, &member.absent) {
                (Some(value), _) => member.schema.check_tree(value, values, marks, &at.name(&member.name), violations),
                (None, Absent::Violation) => violations.push(&at.name(&member.name), Kind::Missing, MISSING),
                (None, Absent::LeftOut | Absent::Filled(_)) => {}
            }
        }
    }

    /// Beside other violations only what is sure: below the first level, it may be a branch that fails which declares.
    fn refuse_undeclared_members(&self, entries: &[Entry<'_>], violations: &mut Violations) {
        if self.undeclared != Undeclared::Reject {
            return;
        }
        for (name, _) in entries.iter().filter(|(name, _)| !self.by_name.contains_key(&**name)) {
            if violations.is_full() {
                return;
            }
            violations.push(&At::BODY.name(name), Kind::ExtraForbidden, EXTRA);
        }
    }

    fn write(&self, root: &Json<'_>, entries: &[Entry<'_>], passing: &Passing, size: usize) -> Bytes {
        let mut out = Vec::with_capacity(size + 64);
        passing.write(root, &mut out);
        let names = Names::of(entries);
        let absent = self.members.iter().filter(|member| !names.contain(&member.name));
        for filled in absent.filter_map(|member| match &member.absent {
            Absent::Filled(text) => Some(text),
            Absent::Violation | Absent::LeftOut => None,
        }) {
            out.pop();
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(filled.as_bytes());
            out.push(b'}');
        }
        Bytes::from(out)
    }
}

/// Which members of a checked tree pass.
#[derive(Debug)]
pub(super) struct Passing {
    undeclared: Undeclared,
    marks: Marks,
}

impl Passing {
    pub(super) fn new(undeclared: Undeclared, mut marks: Marks) -> Self {
        if undeclared != Undeclared::Forward {
            marks.settle();
        }
        Self { undeclared, marks }
    }

    /// Reports every undeclared member, where they are to be refused.
    pub(super) fn refuse_undeclared(&self, value: &Json<'_>, at: &At<'_>, violations: &mut Violations) {
        if self.undeclared != Undeclared::Reject || violations.is_full() {
            return;
        }
        match value {
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.refuse_undeclared(item, &at.index(index), violations);
                }
            }
            Json::Object(entries) => {
                let closed = self.marks.is_closed(value);
                for (name, value) in entries {
                    let at = at.name(name);
                    match closed && !self.marks.is_named(value) {
                        true => violations.push(&at, Kind::ExtraForbidden, EXTRA),
                        false => self.refuse_undeclared(value, &at, violations),
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes what passes, as compact JSON.
    pub(super) fn write(&self, value: &Json<'_>, out: &mut Vec<u8>) {
        match value {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Json::String(text) => write_text(text, out),
            Json::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.write(item, out);
                }
                out.push(b']');
            }
            Json::Object(entries) => self.write_object(value, entries, out),
        }
    }

    fn write_object(&self, object: &Json<'_>, entries: &[Entry<'_>], out: &mut Vec<u8>) {
        let all = self.undeclared == Undeclared::Forward || !self.marks.is_closed(object);
        out.push(b'{');
        let mut first = true;
        for (name, value) in entries.iter().filter(|(_, value)| all || self.marks.is_named(value)) {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_text(name, out);
            out.push(b':');
            self.write(value, out);
        }
        out.push(b'}');
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Cannot fail: a vector takes every byte.
    let _ = serde_json::to_writer(out, text);
}
