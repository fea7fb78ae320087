//! An OpenAPI document as read: its text, its version, what its references name.
//!
//! Invariant: whatever the text, reading it takes time and memory in proportion to its length: nesting is bounded, and
//! so is what the aliases of YAML unfold to. What references unfold to is bounded by [`Document::spend`], which every
//! visited value is charged to. References are followed inside the document only.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use jsonschema::{PatternOptions, Validator};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, json};

use super::{ImportError, pattern};

/// The largest document that is read.
pub const MAX_BYTES: usize = 16 << 20;
/// What everything that is written may cost: one for each value, and one more for every 32 bytes of text.
const BUDGET: usize = 1 << 18;
/// What making a validator costs of it.
const VALIDATOR_COST: usize = 100;
/// Longest pattern, and most states of one.
const MAX_PATTERN: usize = 1000;
const MAX_PATTERN_COST: usize = 20_000;
/// Most references that lead from one to the next.
const MAX_HOPS: usize = 32;
/// More nesting than any document has.
const MAX_OPEN: usize = 1000;

/// The edition of OpenAPI, of which two differ in their schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    /// 3.0: a dialect of its own.
    V30,
    /// 3.1: JSON Schema 2020-12.
    V31,
}

/// A document with its budget.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Map<String, Value>,
    pub(super) edition: Edition,
    left: Cell<usize>,
    /// Whether a pattern can be used, by pattern.
    patterns: RefCell<HashMap<String, bool>>,
}

impl Document {
    /// Reads JSON, or else YAML.
    pub(super) fn read(text: &str) -> Result<Self, ImportError> {
        if text.len() > MAX_BYTES {
            return Err(ImportError::TooLarge(format!("it has more than {MAX_BYTES} bytes")));
        }
        let text = text.trim_start_matches('\u{feff}');
        let value = if text.trim_start().starts_with(['{', '[']) { json(text)? } else { yaml(text)? };
        let Value::Object(root) = value else {
            return Err(ImportError::Foreign("it is no mapping".to_owned()));
        };
        let edition = edition(&root)?;
        if !root.get("paths").is_none_or(Value::is_object) {
            return Err(ImportError::Foreign("its `paths` are no mapping".to_owned()));
        }
        Ok(Self { root, edition, left: Cell::new(BUDGET), patterns: RefCell::default() })
    }

    /// Charges a value that is carried over. `false`: there is nothing left, and what is made now is not used.
    pub(super) fn spend(&self, value: &Value) -> bool {
        self.charge(1 + value.as_str().map_or(0, |text| text.len() / 32))
    }

    fn charge(&self, cost: usize) -> bool {
        let left = self.left.get().saturating_sub(cost);
        self.left.set(left);
        left > 0
    }

    /// Whether the gateway takes a pattern. Compiling one is by far the dearest step, so each is compiled once.
    pub(super) fn takes_pattern(&self, pattern: &str) -> bool {
        if let Some(known) = self.patterns.borrow().get(pattern) {
            return *known;
        }
        let cost = pattern::cost(pattern);
        let takes = pattern.len() <= MAX_PATTERN
            && cost <= MAX_PATTERN_COST
            && self.charge(cost)
            && self.validator(&json!({ "pattern": pattern })).is_some();
        self.patterns.borrow_mut().insert(pattern.to_owned(), takes);
        takes
    }

    /// A validator as the gateway uses it: formats count, patterns take linear time, nothing is fetched.
    pub(super) fn validator(&self, schema: &Value) -> Option<Validator> {
        if !self.charge(VALIDATOR_COST) {
            return None;
        }
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true);
        options.with_pattern_options(PatternOptions::regex()).offline().build(schema).ok()
    }

    /// Whether references unfolded to more than is written.
    pub(super) fn check_budget(&self) -> Result<(), ImportError> {
        match self.left.get() {
            0 => Err(ImportError::TooLarge("its references unfold to too much".to_owned())),
            _ => Ok(()),
        }
    }

    /// The text of a reference, where a value is one.
    pub(super) fn reference<'v>(&self, value: &'v Value) -> Option<&'v str> {
        value.get("$ref")?.as_str()
    }

    /// The value that a reference names.
    pub(super) fn named(&self, reference: &str) -> Option<&Value> {
        let pointer = reference.strip_prefix("#/")?;
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
        let mut steps = pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
        let first = self.root.get(&steps.next()?)?;
        steps.try_fold(first, |value, step| match value {
            Value::Object(members) => members.get(&step),
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// A value behind its references, or the reference that leads nowhere.
    pub(super) fn resolve<'d>(&'d self, value: &'d Value) -> Result<&'d Value, String> {
        let mut value = value;
        for _ in 0..MAX_HOPS {
            let Some(reference) = self.reference(value) else { return Ok(value) };
            value = self.named(reference).ok_or_else(|| reference.to_owned())?;
        }
        Err(self.reference(value).unwrap_or_default().to_owned())
    }
}

fn edition(root: &Map<String, Value>) -> Result<Edition, ImportError> {
    let version = match root.get("openapi") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ if root.contains_key("swagger") => {
            let message = "it is Swagger 2.0: convert it to OpenAPI 3 first, for example with swagger2openapi";
            return Err(ImportError::Foreign(message.to_owned()));
        }
        _ => return Err(ImportError::Foreign("it has no `openapi` with a version".to_owned())),
    };
    let is = |known: &str| version == known || version.starts_with(&format!("{known}."));
    match () {
        () if is("3.0") => Ok(Edition::V30),
        () if is("3.1") => Ok(Edition::V31),
        () => {
            let version: String = version.chars().take(20).flat_map(char::escape_default).collect();
            Err(ImportError::Foreign(format!("OpenAPI `{version}` is not known: 3.0 and 3.1 are")))
        }
    }
}

fn json(text: &str) -> Result<Value, ImportError> {
    // serde_json bounds the nesting itself.
    serde_json::from_str(text).map_err(|error| ImportError::Syntax(error.to_string()))
}

fn yaml(text: &str) -> Result<Value, ImportError> {
    if nests_too_deep(text) {
        return Err(ImportError::Syntax("the nesting is too deep".to_owned()));
    }
    let left = Cell::new(2 * text.len() + 100_000);
    Node(&left)
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| ImportError::Syntax(error.to_string()))
}

/// The YAML parser refuses deep nesting too, but only after a time that grows with its square.
fn nests_too_deep(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN
    })
}

/// Builds a value of JSON from YAML: keys are text however they look, and aliases unfold to a bounded whole.
#[derive(Clone, Copy)]
struct Node<'c>(&'c Cell<usize>);

impl Node<'_> {
    fn spend<E: de::Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(bytes + 1);
        self.0.set(left.unwrap_or_default());
        left.map(|_| ()).ok_or_else(|| E::custom("the aliases unfold to too much"))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Bool(flag))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        self.spend(0).map(|()| number.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        self.spend(0).map(|()| number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        self.spend(0).map(|()| Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.spend(text.len()).map(|()| text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut members = Map::new();
        while let Some(key) = map.next_key_seed(self)? {
            let key = match key {
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => key.to_string(),
                _ => return Err(de::Error::custom("a key must be text")),
            };
            if members.contains_key(&key) {
                return Err(de::Error::custom(format_args!("key `{}` is there twice", key.escape_default())));
            }
            let value = map.next_value_seed(self)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(de::Error::custom("tags (words that begin with `!`) have no meaning here"))
    }
}
