//! The types of JSON, and values without parts.
//!
//! A number is kept as its digits here: what it is worth is decided only where a rule compares it.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::number::is_whole;
use super::tree::Json;
use super::violation::ViolationKind as Kind;

/// A set of JSON types, one bit each. `number` includes `integer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

/// A value without parts, from text or JSON. A number is its digits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(&'a str),
}

impl Default for Types {
    fn default() -> Self {
        Self::ANY
    }
}

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const NUMBER: Self = Self(8 | 4);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ANY: Self = Self(127);
    pub(super) const NONE: Self = Self(0);

    pub(super) const NAMES: [(&'static str, Self); 7] = [
        ("null", Self::NULL),
        ("boolean", Self::BOOLEAN),
        ("number", Self::NUMBER),
        ("integer", Self::INTEGER),
        ("string", Self::STRING),
        ("array", Self::ARRAY),
        ("object", Self::OBJECT),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, types)| *types)
    }

    /// What `type` says; everything when it says nothing, or nothing that is a type.
    pub(super) fn written(schema: &Map<String, Value>) -> Self {
        match schema.get("type") {
            Some(Value::String(name)) => Self::named(name).unwrap_or(Self::ANY),
            Some(Value::Array(names)) => {
                names.iter().filter_map(|name| Self::named(name.as_str()?)).reduce(Self::or).unwrap_or(Self::ANY)
            }
            _ => Self::ANY,
        }
    }

    /// The narrowest type of a value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if is_whole(number.as_str()) => Self::INTEGER,
            Value::Number(_) => Self(8),
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// The same for a tree.
    pub(super) fn of_tree(value: &Json<'_>) -> Self {
        match value {
            Json::Null => Self::NULL,
            Json::Bool(_) => Self::BOOLEAN,
            Json::Number(digits) if is_whole(digits) => Self::INTEGER,
            Json::Number(_) => Self(8),
            Json::String(_) => Self::STRING,
            Json::Array(_) => Self::ARRAY,
            Json::Object(_) => Self::OBJECT,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) fn violation(self) -> (Kind, Cow<'static, str>) {
        let kind = match Self(self.0 & !Self::NULL.0) {
            Self::BOOLEAN => Kind::BoolType,
            Self::INTEGER => Kind::IntType,
            Self::NUMBER => Kind::FloatType,
            Self::STRING => Kind::StringType,
            Self::ARRAY => Kind::ListType,
            Self::OBJECT => Kind::DictType,
            Self::NONE if self == Self::NULL => Kind::NoneRequired,
            _ => Kind::ValueError,
        };
        let mut left = self.0;
        let mut names = Vec::new();
        for (name, types) in Self::NAMES {
            if left & types.0 == types.0 {
                left &= !types.0;
                names.push(name);
            }
        }
        (
            kind,
            if names.is_empty() { "is not allowed".into() } else { format!("must be {}", names.join(" or ")).into() },
        )
    }
}

impl Scalar<'_> {
    pub(super) fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(truth),
            Self::Number(digits) => digits.parse::<Number>().map_or(Value::Null, Value::Number),
            Self::String(text) => Value::String(text.to_owned()),
        }
    }
}
