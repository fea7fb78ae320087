//! Reading a value that came as text: a path segment, a query value, a form field.
//!
//! The declared type decides the grammar and there is one spelling per value: what is read is what the service gets,
//! so the two cannot disagree about it. Two things change: an integer `-0` is passed on as `0`, and a boolean `1` or
//! `0`, as forms and scripts often send it, as `true` or `false`.

use super::number::{is_integer, is_number};
use super::schema::Schema;
use super::types::Scalar;
use super::violation::{At, ViolationKind as Kind, Violations};

/// What text may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextType {
    String,
    Integer,
    Number,
    Boolean,
}

/// One value as text: how it is read and what it must be.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) kind: TextType,
    pub(super) schema: Schema,
}

/// The value of a parameter whose name may come more than once.
#[derive(Debug)]
pub(super) enum TextValue {
    /// The last one counts.
    One(Text),
    /// All count, in order. `list` is what the array must be, without its items.
    Many { item: Text, list: Box<Schema> },
}

impl TextType {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "string" => Some(Self::String),
            "integer" => Some(Self::Integer),
            "number" => Some(Self::Number),
            "boolean" => Some(Self::Boolean),
            _ => None,
        }
    }

    fn read(self, text: &str) -> Result<Scalar<'_>, (Kind, &'static str)> {
        match self {
            Self::String => Ok(Scalar::String(text)),
            Self::Integer if text == "-0" => Ok(Scalar::Number("0")),
            Self::Integer if is_integer(text) => Ok(Scalar::Number(text)),
            Self::Integer => Err((Kind::IntParsing, "must be an integer in decimal digits")),
            Self::Number if is_number(text) => Ok(Scalar::Number(text)),
            Self::Number => Err((Kind::FloatParsing, "must be a number as JSON writes it")),
            Self::Boolean => match text {
                "true" | "1" => Ok(Scalar::Bool(true)),
                "false" | "0" => Ok(Scalar::Bool(false)),
                _ => Err((Kind::BoolParsing, "must be `true`, `false`, `1` or `0`")),
            },
        }
    }
}

impl Text {
    /// Checks `text` and gives its canonical spelling; without meaning once a violation was found.
    pub(super) fn check<'a>(&self, text: &'a str, at: &At<'_>, violations: &mut Violations) -> Scalar<'a> {
        match self.kind.read(text) {
            Ok(scalar) => {
                self.schema.check_scalar(scalar, at, violations);
                scalar
            }
            Err((kind, msg)) => {
                violations.push(at, kind, msg);
                Scalar::String(text)
            }
        }
    }
}

impl<'a> Scalar<'a> {
    /// As it is written in a path, a query or a form, before encoding.
    pub(super) fn as_text(self) -> &'a str {
        match self {
            Self::Null => "null",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(text) | Self::String(text) => text,
        }
    }
}
