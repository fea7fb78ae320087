//! One JSON Schema, ready to check values.
//!
//! The frequent keywords (`type`, bounds, lengths, `enum`, `properties`, `items`, …) are checked here, so that a plain
//! parameter costs nanoseconds, an array of a million wrong items stops at the hundredth fault, and the same fault has
//! the same kind in a path, a query, a form and a JSON body. What is left (`pattern`, `format`, `anyOf`, …) and every
//! comparison beyond `i64` goes to the `jsonschema` validator. A property test holds both to the same verdict.
//!
//! A value of the wrong type gets that one violation and nothing below it is looked at. A combining keyword (`anyOf`,
//! `not`, `if`, …) gets one violation for the whole value, and only when nothing else is wrong with it.
//!
//! [`Schema::build`] assumes a schema that [`super::grammar`] has found no fault in.

use std::borrow::Cow;
use std::collections::HashMap;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::rules::{Bound, Built, Counted, Span, Values, part, validator};
use super::types::{Scalar, Types};
use super::unique::all_differ;
use super::violation::{At, ViolationKind as Kind, Violations};

/// Keywords that only the validator checks, each with at most one error for one value.
const FLAT: [&str; 3] = ["pattern", "format", "multipleOf"];

/// Keywords that combine schemas; those of one row only mean something together. The first names the row.
const COMBINING: [&[&str]; 10] = [
    &["allOf"],
    &["anyOf"],
    &["oneOf"],
    &["not"],
    &["if", "then", "else"],
    &["contains", "minContains", "maxContains"],
    &["prefixItems", "items"],
    &["propertyNames"],
    &["dependentRequired"],
    &["dependentSchemas"],
];

/// Messages used in more than one place.
pub(super) const MISSING: &str = "is required";
pub(super) const EXTRA: &str = "is not permitted";

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    types: Types,
    bounds: Vec<Bound>,
    length: Span,
    count: Span,
    size: Span,
    values: Vec<Values>,
    unique: bool,
    flat: Option<Validator>,
    combined: Vec<(&'static str, Validator)>,
    items: Option<Box<Schema>>,
    members: Option<Box<Members>>,
}

/// What an object's members must be.
#[derive(Debug, Default)]
struct Members {
    known: HashMap<Box<str>, Schema>,
    required: Vec<Box<str>>,
    others: Others,
}

#[derive(Debug, Default)]
enum Others {
    #[default]
    Pass,
    Forbidden,
    Are(Box<Schema>),
}

impl Schema {
    /// Compiles a schema in which no fault was found; an error is one that only the validator knows.
    pub(super) fn build(schema: &Value) -> Built<Self> {
        match schema {
            Value::Object(schema) => Self::build_object(schema),
            Value::Bool(false) => Self::build_object(&Map::new()).map(|any| Self { types: Types::NONE, ..any }),
            _ => Self::build_object(&Map::new()),
        }
    }

    fn build_object(schema: &Map<String, Value>) -> Built<Self> {
        let flat = part(schema, &FLAT);
        let items = match schema.get("items") {
            Some(items) if !schema.contains_key("prefixItems") => Some(Box::new(Self::build(items)?)),
            _ => None,
        };
        Ok(Self {
            types: Types::written(schema),
            bounds: Bound::build_all(schema)?,
            length: Span::build(schema, "minLength", "maxLength"),
            count: Span::build(schema, "minItems", "maxItems"),
            size: Span::build(schema, "minProperties", "maxProperties"),
            values: Values::build_all(schema)?,
            unique: schema.get("uniqueItems") == Some(&Value::Bool(true)),
            flat: if flat.is_empty() { None } else { Some(validator(&Value::Object(flat))?) },
            combined: build_combined(schema)?,
            items,
            members: Members::build(schema)?.map(Box::new),
        })
    }

    /// Takes the items' schema out, for an array whose items are read one by one.
    pub(super) fn without_items(mut self) -> Self {
        self.items = None;
        self
    }

    /// Whether an array needs to be seen as a whole, beyond the number of its items.
    pub(super) fn needs_whole_array(&self) -> bool {
        self.unique || !self.combined.is_empty() || !self.values.is_empty()
    }

    /// Checks a JSON value with everything in it.
    pub(super) fn check(&self, value: &Value, at: &At<'_>, violations: &mut Violations) {
        if self.types != Types::ANY && !self.types.meets(Types::of(value)) {
            let (kind, msg) = self.types.violation();
            return violations.push(at, kind, msg);
        }
        match value {
            Value::Null => self.check_scalar(Scalar::Null, Some(value), at, violations),
            Value::Bool(truth) => self.check_scalar(Scalar::Bool(*truth), Some(value), at, violations),
            Value::Number(number) => self.check_scalar(Scalar::Number(number.as_str()), Some(value), at, violations),
            Value::String(text) => self.check_scalar(Scalar::String(text), Some(value), at, violations),
            Value::Array(items) => {
                let before = violations.len();
                self.check_count(items.len(), at, violations);
                for (index, item) in items.iter().enumerate() {
                    let Some(schema) = self.items.as_deref().filter(|_| !violations.is_full()) else { break };
                    schema.check(item, &at.index(index), violations);
                }
                self.check_whole(value, before, at, violations);
            }
            Value::Object(members) => {
                let before = violations.len();
                self.size.check(members.len(), Counted::Members, at, violations);
                if let Some(rules) = &self.members {
                    rules.check(members, at, violations);
                }
                self.check_whole(value, before, at, violations);
            }
        }
    }

    /// Checks a scalar whose type is right. `value` is the same as JSON, if the caller has it.
    pub(super) fn check_scalar(
        &self,
        scalar: Scalar<'_>,
        value: Option<&Value>,
        at: &At<'_>,
        violations: &mut Violations,
    ) {
        let before = violations.len();
        match scalar {
            Scalar::Number(digits) => {
                for bound in self.bounds.iter().filter(|bound| !bound.holds(digits)) {
                    violations.push(at, bound.side.kind(), bound.msg.clone());
                }
            }
            Scalar::String(text) => self.length.check_text(text, at, violations),
            Scalar::Null | Scalar::Bool(_) => {}
        }
        for values in self.values.iter().filter(|values| !values.hold(scalar)) {
            violations.push(at, values.kind, values.msg.clone());
        }
        if self.flat.is_some() || !self.combined.is_empty() {
            let value = value.map_or_else(|| Cow::Owned(scalar.to_value()), Cow::Borrowed);
            self.check_rest(&value, before, at, violations);
        }
    }

    /// Checks the number of an array's items.
    pub(super) fn check_count(&self, count: usize, at: &At<'_>, violations: &mut Violations) {
        self.count.check(count, Counted::Items, at, violations);
    }

    /// Checks what concerns an array or object as a whole. `before`: the violations there were before it.
    pub(super) fn check_whole(&self, value: &Value, before: usize, at: &At<'_>, violations: &mut Violations) {
        for values in self.values.iter().filter(|values| !values.exact.is_valid(value)) {
            violations.push(at, values.kind, values.msg.clone());
        }
        if self.unique && !value.as_array().is_none_or(|items| all_differ(items)) {
            violations.push(at, Kind::UniqueItems, "must not hold a value twice");
        }
        self.check_rest(value, before, at, violations);
    }

    fn check_rest(&self, value: &Value, before: usize, at: &At<'_>, violations: &mut Violations) {
        if let Some(flat) = self.flat.as_ref().filter(|flat| !flat.is_valid(value)) {
            for error in flat.iter_errors(value) {
                let (kind, msg) = flat_violation(error.kind());
                violations.push(at, kind, msg);
            }
        }
        if violations.len() > before {
            return;
        }
        for (keyword, _) in self.combined.iter().filter(|(_, rule)| !rule.is_valid(value)) {
            violations.push(at, Kind::ValueError, format!("must satisfy `{keyword}`"));
        }
    }
}

impl Members {
    fn build(schema: &Map<String, Value>) -> Built<Option<Self>> {
        if !["properties", "required", "additionalProperties"].iter().any(|keyword| schema.contains_key(*keyword)) {
            return Ok(None);
        }
        let mut members = Self::default();
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            members.known.insert(name.as_str().into(), Schema::build(schema)?);
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        members.required = required.filter_map(|name| Some(name.as_str()?.into())).collect();
        members.others = match schema.get("additionalProperties") {
            _ if schema.contains_key("patternProperties") => Others::Pass,
            None | Some(Value::Bool(true)) => Others::Pass,
            Some(Value::Bool(false)) => Others::Forbidden,
            Some(schema) => Others::Are(Box::new(Schema::build(schema)?)),
        };
        Ok(Some(members))
    }

    fn check(&self, members: &Map<String, Value>, at: &At<'_>, violations: &mut Violations) {
        for name in self.required.iter().filter(|name| !members.contains_key(&***name)) {
            violations.push(&at.name(name), Kind::Missing, MISSING);
        }
        for (name, value) in members {
            if violations.is_full() {
                return;
            }
            match (self.known.get(name.as_str()), &self.others) {
                (Some(schema), _) => schema.check(value, &at.name(name), violations),
                (None, Others::Are(schema)) => schema.check(value, &at.name(name), violations),
                (None, Others::Forbidden) => violations.push(&at.name(name), Kind::ExtraForbidden, EXTRA),
                (None, Others::Pass) => {}
            }
        }
    }
}

/// The rules of combining keywords, each a validator of its own.
fn build_combined(schema: &Map<String, Value>) -> Built<Vec<(&'static str, Validator)>> {
    let mut combined = Vec::new();
    for row in COMBINING.iter().filter(|row| schema.contains_key(row[0])) {
        combined.push((row[0], validator(&Value::Object(part(schema, row)))?));
    }
    if schema.contains_key("patternProperties") {
        let mut rule = part(schema, &["patternProperties", "additionalProperties"]);
        if let Some(Value::Object(properties)) = schema.get("properties") {
            // What they must be is checked in `Members`; here they only must not count as additional.
            let known = properties.keys().map(|name| (name.clone(), Value::Bool(true))).collect();
            rule.insert("properties".to_owned(), Value::Object(known));
        }
        combined.push(("patternProperties", validator(&Value::Object(rule))?));
    }
    for keyword in ["unevaluatedProperties", "unevaluatedItems"] {
        if schema.contains_key(keyword) {
            combined.push((keyword, validator(&Value::Object(schema.clone()))?));
        }
    }
    Ok(combined)
}

fn flat_violation(error: &ValidationErrorKind) -> (Kind, Cow<'static, str>) {
    match error {
        ValidationErrorKind::Pattern { pattern } => {
            (Kind::StringPatternMismatch, format!("must match the pattern `{pattern}`").into())
        }
        ValidationErrorKind::Format { format } => (Kind::Format, format!("must be a valid {format}").into()),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            (Kind::MultipleOf, format!("must be a multiple of {multiple_of}").into())
        }
        other => (Kind::ValueError, format!("must satisfy `{}`", other.keyword()).into()),
    }
}
