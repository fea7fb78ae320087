//! A JSON body: the members of one object, strictly typed.
//!
//! Nothing is coerced: `"5"` and `true` are not integers, `5.0` is one. The service gets compact JSON with the digits
//! of every number as the client wrote them (an exponent in the one form `e+5`), members in the client's order, then
//! the defaults. A name that comes twice keeps its last value, at every level, so that no two readers can disagree.
//!
//! UTF-8 only; a byte order mark is taken off. 127 levels of nesting, no lone surrogate, no `NaN`. What is not JSON is
//! one violation with its line and column; the body is never repeated. An empty body is `missing` when a member is
//! required; otherwise the service gets the defaults, or no body when there are none.
//!
//! `serde_json` keeps a number's digits in an object with a private name. A client that writes such an object itself
//! gets it read, checked and forwarded as that number.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::Undeclared;
use super::parameter::{Absent, Member};
use super::schema::{EXTRA, MISSING};
use super::violation::{At, ViolationKind as Kind, Violations};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The declared members of a JSON body.
#[derive(Debug)]
pub struct JsonContract {
    members: Vec<Member>,
    names: HashSet<Box<str>, ahash::RandomState>,
    undeclared: Undeclared,
}

impl JsonContract {
    /// A contract of these members, in order of declaration.
    pub fn new(members: Vec<Member>, undeclared: Undeclared) -> Self {
        let names = members.iter().map(|member| member.name.clone()).collect();
        Self { members, names, undeclared }
    }

    /// What the service gets; nothing when there are violations or no body is to be sent.
    pub(super) fn check(&self, body: &[u8], violations: &mut Violations) -> Option<Bytes> {
        let body = body.strip_prefix(BOM).unwrap_or(body);
        if body.is_empty() {
            return self.check_empty(violations);
        }
        let object = match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => object,
            Ok(_) => {
                violations.push(&At::BODY, Kind::DictType, "must be object");
                return None;
            }
            Err(error) => {
                violations.push(&At::BODY, Kind::JsonInvalid, syntax_message(&error));
                return None;
            }
        };
        let before = violations.len();
        self.check_members(&object, violations);
        (violations.len() == before).then(|| self.write(&object, body.len()))
    }

    fn check_empty(&self, violations: &mut Violations) -> Option<Bytes> {
        if self.members.iter().any(|member| matches!(member.absent, Absent::Violation)) {
            violations.push(&At::BODY, Kind::Missing, MISSING);
            return None;
        }
        let filled = self.members.iter().any(|member| matches!(member.absent, Absent::Filled(_)));
        filled.then(|| self.write(&Map::new(), 0))
    }

    fn check_members(&self, object: &Map<String, Value>, violations: &mut Violations) {
        let at = At::BODY;
        for member in &self.members {
            match (object.get(&*member.name), &member.absent) {
                (Some(value), _) => member.schema.check(value, &at.name(&member.name), violations),
                (None, Absent::Violation) => violations.push(&at.name(&member.name), Kind::Missing, MISSING),
                (None, Absent::LeftOut | Absent::Filled(_)) => {}
            }
        }
        if self.undeclared == Undeclared::Reject {
            for name in object.keys().filter(|name| !self.declares(name)) {
                if violations.is_full() {
                    return;
                }
                violations.push(&at.name(name), Kind::ExtraForbidden, EXTRA);
            }
        }
    }

    fn declares(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn write(&self, object: &Map<String, Value>, size: usize) -> Bytes {
        let mut out = Vec::with_capacity(size + 64);
        out.push(b'{');
        let passing = object.iter().filter(|(name, _)| self.undeclared == Undeclared::Forward || self.declares(name));
        for (name, value) in passing {
            separate(&mut out);
            // Neither can fail: every name is a string and a vector takes every byte.
            let _ = serde_json::to_writer(&mut out, name);
            out.push(b':');
            let _ = serde_json::to_writer(&mut out, value);
        }
        for member in self.members.iter().filter(|member| !object.contains_key(&*member.name)) {
            if let Absent::Filled(text) = &member.absent {
                separate(&mut out);
                out.extend_from_slice(text.as_bytes());
            }
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

fn separate(out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
}

/// Only the position: the library's own text may repeat what the client sent.
fn syntax_message(error: &serde_json::Error) -> String {
    let what = if error.is_eof() { "ends too early" } else { "is not valid JSON" };
    format!("{what}: line {} column {}", error.line(), error.column())
}
