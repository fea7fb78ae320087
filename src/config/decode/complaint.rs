//! What a deserializer says when it refuses a value, kept in parts until its place is known.
//!
//! serde's own sentences are turned into ours here: what was expected, what was found, what would be right.

use std::fmt;

use serde::de::{self, Expected, Unexpected};
use serde_yaml::Value;

use super::Fault;
use super::state::Trail;
use crate::config::place::On;
use crate::config::report::{listed, nearest};

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// For a reason that is noted already.
    Known,
    /// For a reason whose place the caller knows.
    Fresh(Complaint),
}

/// A fault without its place.
#[derive(Debug)]
pub(super) enum Complaint {
    /// Another value was expected.
    Expected { expected: String, got: String, help: Option<String> },
    /// A required field is not there.
    Missing(&'static str),
    /// A word that is not one of these.
    Word { word: String, allowed: &'static [&'static str] },
    /// A key that the struct does not have.
    Key { allowed: &'static [&'static str] },
    /// A key that is no text.
    KeyShape,
    /// Anything else, in the type's own words.
    Said(String),
}

impl Complaint {
    pub(super) fn expected(value: &Value, expected: &dyn Expected) -> Self {
        Self::found(unexpected(value), expected)
    }

    fn found(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = plain(&expected.to_string());
        let help = match found {
            Unexpected::Bool(_) | Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_)
                if expected == "text" =>
            {
                Some("put it in quotes".to_owned())
            }
            Unexpected::Unit => Some("give it a value or remove the key".to_owned()),
            _ => None,
        };
        Self::Expected { expected, got: describe(found), help }
    }

    /// The refusal of a text by a type of another crate. Addresses say too little to be helpful.
    pub(super) fn said_of(text: &str, message: &str) -> Self {
        let expected = match message {
            "invalid socket address syntax" => "socket address",
            "invalid IP address syntax" => "IPv4 or IPv6 network address",
            _ => return Self::Said(format!("{message}: `{}`", shortened(text))),
        };
        Self::found(Unexpected::Str(text), &expected)
    }

    /// The fault at the value itself.
    pub(super) fn at(self, value: &Value, trail: &Trail<'_>) -> Fault {
        let place = trail.place();
        let (on, message, help) = match self {
            Self::Expected { expected, help, .. } if is_placed(value) => {
                (On::Value, format!("expected {expected}, got something else from the placeholder"), help)
            }
            Self::Expected { expected, got, help } => (On::Value, format!("expected {expected}, got {got}"), help),
            Self::Missing(field) => (On::Value, format!("missing key `{field}`"), None),
            Self::Word { allowed, .. } if is_placed(value) => {
                (On::Value, format!("expected {}, got something else from the placeholder", one_of(allowed)), None)
            }
            Self::Word { word, allowed } => {
                let help = nearest(&word, allowed).map(|nearest| format!("did you mean `{nearest}`?"));
                (On::Value, format!("expected {}, got `{word}`", one_of(allowed)), help)
            }
            Self::Key { allowed } => {
                let key = trail.last_key().unwrap_or_default();
                let help = match nearest(key, allowed) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("known keys: {}", listed(allowed)),
                };
                (On::Key, format!("unknown key `{key}`"), Some(help))
            }
            Self::KeyShape => (On::Key, "a key must be text".to_owned(), None),
            Self::Said(_) if is_placed(value) => {
                (On::Value, "the value from the placeholder does not fit here".to_owned(), None)
            }
            Self::Said(message) => (On::Value, message, None),
        };
        Fault { place, on, message, help }
    }
}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Fresh(Complaint::Said(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Fresh(Complaint::found(found, expected))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Fresh(Complaint::found(found, expected))
    }

    fn unknown_variant(word: &str, allowed: &'static [&'static str]) -> Self {
        Self::Fresh(Complaint::Word { word: word.to_owned(), allowed })
    }

    /// Said while the key is read, by a struct that stands for one shape of several.
    fn unknown_field(_key: &str, allowed: &'static [&'static str]) -> Self {
        Self::Fresh(Complaint::Key { allowed })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Fresh(Complaint::Missing(field))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value does not fit")
    }
}

impl std::error::Error for Stop {}

/// `a`, `b` or `c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [word] => format!("`{word}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

/// What a type expects, in the words of a YAML file. Types of other crates name themselves as in Rust.
pub(super) fn plain(expected: &str) -> String {
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    match expected {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "socket address" => "an address like `127.0.0.1:8080`".to_owned(),
        "IPv4 or IPv6 network address" => "a network like `10.0.0.0/8`".to_owned(),
        _ if expected.starts_with("struct ") => "a mapping".to_owned(),
        _ => expected.to_owned(),
    }
}

/// Whether the value came from a placeholder and must not be repeated.
pub(super) fn is_placed(value: &Value) -> bool {
    matches!(value, Value::Tagged(_))
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Unexpected::Unsigned(number),
            (None, Some(number)) => Unexpected::Signed(number),
            (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Unexpected::Str(text),
        Value::Sequence(_) => Unexpected::Seq,
        Value::Mapping(_) => Unexpected::Map,
        Value::Tagged(_) => Unexpected::Other("the value of a placeholder"),
    }
}

fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(number) => format!("`{number}`"),
        Unexpected::Signed(number) => format!("`{number}`"),
        Unexpected::Float(number) => format!("`{number}`"),
        Unexpected::Str(text) => format!("`{}`", shortened(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// The beginning of a long text.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(MOST).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
