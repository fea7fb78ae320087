//! Rules about one value: bounds, lengths and permitted values.
//!
//! Numbers are compared here when that is exact (`i64` with `i64`) and by the `jsonschema` validator otherwise, so that
//! both always agree; permitted values by their normal form.

use std::collections::HashSet;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use super::number::as_i64;
use super::tree::Json;
use super::types::Scalar;
use super::unique::form;
use super::violation::ViolationKind as Kind;

/// A part of a compiled schema; an error is one that only the validator knows.
pub(super) type Built<T> = Result<T, Box<ValidationError<'static>>>;

/// Most characters of a list of permitted values in a message.
const MAX_LISTED: usize = 200;

/// `minimum` and its like: compared as `i64` when both sides are, exactly by the validator otherwise.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) side: Side,
    limit: Option<i64>,
    exact: Validator,
    pub(super) msg: String,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    AtLeast,
    Above,
    AtMost,
    Below,
}

#[derive(Debug, Default)]
pub(super) struct Span {
    min: Option<usize>,
    max: Option<usize>,
}

/// `enum` or `const`.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) kind: Kind,
    /// Sorted.
    strings: Vec<Box<str>>,
    integers: Vec<i64>,
    /// Normal forms of all that is no string.
    forms: HashSet<Box<str>>,
    pub(super) msg: String,
}

/// What a [`Span`] counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    Characters,
    Items,
    Members,
}

/// The validator as it is used everywhere here: 2020-12, formats assert, patterns take linear time.
pub(super) fn validator(schema: &Value) -> Built<Validator> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .offline()
        .build(schema)
        .map_err(Box::new)
}

/// The members of `schema` with these names.
pub(super) fn part(schema: &Map<String, Value>, keywords: &[&str]) -> Map<String, Value> {
    let chosen = keywords.iter().filter_map(|keyword| schema.get_key_value(*keyword));
    chosen.map(|(keyword, value)| (keyword.clone(), value.clone())).collect()
}

impl Bound {
    pub(super) fn build_all(schema: &Map<String, Value>) -> Built<Vec<Self>> {
        let mut bounds = Vec::new();
        for side in [Side::AtLeast, Side::Above, Side::AtMost, Side::Below] {
            let Some(Value::Number(limit)) = schema.get(side.keyword()) else { continue };
            bounds.push(Self {
                side,
                limit: as_i64(limit.as_str()),
                exact: validator(&Value::Object(part(schema, &[side.keyword()])))?,
                msg: format!("must be {} {limit}", side.words()),
            });
        }
        Ok(bounds)
    }

    pub(super) fn holds(&self, digits: &str) -> bool {
        let (Some(limit), Some(number)) = (self.limit, as_i64(digits)) else {
            return self.exact.is_valid(&Scalar::Number(digits).to_value());
        };
        match self.side {
            Side::AtLeast => number >= limit,
            Side::Above => number > limit,
            Side::AtMost => number <= limit,
            Side::Below => number < limit,
        }
    }
}

impl Side {
    fn keyword(self) -> &'static str {
        match self {
            Self::AtLeast => "minimum",
            Self::Above => "exclusiveMinimum",
            Self::AtMost => "maximum",
            Self::Below => "exclusiveMaximum",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::AtLeast => "at least",
            Self::Above => "greater than",
            Self::AtMost => "at most",
            Self::Below => "less than",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::AtLeast => Kind::GreaterThanEqual,
            Self::Above => Kind::GreaterThan,
            Self::AtMost => Kind::LessThanEqual,
            Self::Below => Kind::LessThan,
        }
    }
}

impl Span {
    pub(super) fn build(schema: &Map<String, Value>, min: &str, max: &str) -> Self {
        // A limit that does not fit is one that no request reaches, from either side.
        let limit = |keyword| {
            let number = schema.get(keyword)?.as_f64()?;
            Some(if number >= 9e15 { usize::MAX } else { number as usize })
        };
        Self { min: limit(min), max: limit(max) }
    }

    pub(super) fn check_text(&self, text: &str, report: &mut dyn FnMut(Kind, String)) {
        if self.min.is_none() && self.max.is_none_or(|max| text.len() <= max) {
            return; // A character has at least one byte.
        }
        self.check(text.chars().count(), Counted::Characters, report);
    }

    pub(super) fn check(&self, count: usize, of: Counted, report: &mut dyn FnMut(Kind, String)) {
        let (short, long, one, many) = match of {
            Counted::Characters => (Kind::StringTooShort, Kind::StringTooLong, "character", "characters"),
            Counted::Items => (Kind::TooShort, Kind::TooLong, "item", "items"),
            Counted::Members => (Kind::TooShort, Kind::TooLong, "member", "members"),
        };
        let unit = |limit| if limit == 1 { one } else { many };
        if let Some(min) = self.min.filter(|min| count < *min) {
            report(short, format!("must have at least {min} {}", unit(min)));
        }
        if let Some(max) = self.max.filter(|max| count > *max) {
            report(long, format!("must have at most {max} {}", unit(max)));
        }
    }
}

impl Values {
    pub(super) fn build_all(schema: &Map<String, Value>) -> Vec<Self> {
        let mut all = Vec::new();
        if let Some(Value::Array(options)) = schema.get("enum") {
            all.push(Self::build(Kind::Enum, options, format!("must be one of: {}", listed(options))));
        }
        if let Some(only) = schema.get("const") {
            let options = std::slice::from_ref(only);
            all.push(Self::build(Kind::Const, options, format!("must be {}", listed(options))));
        }
        all
    }

    fn build(kind: Kind, options: &[Value], msg: String) -> Self {
        let mut strings: Vec<Box<str>> = options.iter().filter_map(|option| Some(option.as_str()?.into())).collect();
        strings.sort_unstable();
        let integers = options.iter().filter_map(Value::as_i64).collect();
        let others = options.iter().filter(|option| !option.is_string());
        let forms = others.map(|option| form(&Json::of(option)).into()).collect();
        Self { kind, strings, integers, forms, msg }
    }

    pub(super) fn hold(&self, value: &Json<'_>) -> bool {
        match value {
            Json::String(text) => self.strings.binary_search_by(|option| (**option).cmp(text)).is_ok(),
            Json::Number(digits) if as_i64(digits).is_some_and(|number| self.integers.contains(&number)) => true,
            value => !self.forms.is_empty() && self.forms.contains(&*form(value)),
        }
    }
}

fn listed(options: &[Value]) -> String {
    let mut text = String::new();
    for option in options {
        let option = option.as_str().map_or_else(|| option.to_string(), str::to_owned);
        if text.len() + option.len() > MAX_LISTED {
            text.push_str(if text.is_empty() { "…" } else { ", …" });
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&option);
    }
    text
}
