//! A YAML value as serde's `Deserializer`.
//!
//! Decides how each kind of value is offered to a visitor. Unlike serde_yaml's own it knows its place, refuses `null`
//! and the unknown keys of a struct, and gives the text of a placeholder the type that is asked for.

use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde_yaml::{Mapping, Value};

use super::access::{Entries, Fields, List};
use super::complaint::{Complaint, Stop, one_of};
use super::state::{Field, State, Trail};
use super::{MOST_FAULTS, WHOLE};
use crate::config::report::nearest;

/// One value at its place.
#[derive(Clone, Copy)]
pub(super) struct Reader<'de, 't> {
    pub(super) state: &'t State,
    pub(super) value: &'de Value,
    pub(super) trail: &'t Trail<'t>,
}

impl<'de, 't> Reader<'de, 't> {
    pub(super) fn new(state: &'t State, value: &'de Value, trail: &'t Trail<'t>) -> Self {
        Self { state, value, trail }
    }

    /// The value of another kind than the visitor wants.
    fn refuse<V: Visitor<'de>>(self, visitor: &V) -> Stop {
        Stop::Fresh(Complaint::expected(self.value, visitor))
    }

    fn text(self) -> Option<&'de str> {
        match self.value {
            Value::String(text) => Some(text),
            Value::Tagged(tagged) => tagged.value.as_str(),
            _ => None,
        }
    }

    /// The scalar that the text of a placeholder stands for.
    fn placed(self) -> Option<Value> {
        let Value::Tagged(tagged) = self.value else { return None };
        let text = tagged.value.as_str().filter(|_| tagged.tag == WHOLE)?;
        match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            // A leading zero or plus is kept as text: it is more often a name than a number.
            _ => match text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from)) {
                Ok(number) if !text.starts_with('+') && (text == "0" || !text.starts_with('0')) => Some(number),
                _ => None,
            },
        }
    }

    fn scalar<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let placed = self.placed();
        match placed.as_ref().unwrap_or(self.value) {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn list<V: Visitor<'de>>(self, elements: &'de [Value], visitor: V) -> Result<V::Value, Stop> {
        let mut list = List::new(self, elements);
        let result = visitor.visit_seq(&mut list);
        self.unless_partial(result, list.is_partial())
    }

    fn entries<V: Visitor<'de>>(self, mapping: &'de Mapping, visitor: V) -> Result<V::Value, Stop> {
        let mut entries = Entries::new(self, mapping);
        let result = visitor.visit_map(&mut entries);
        self.unless_partial(result, entries.is_partial())
    }

    /// What a visitor says of a container that was not shown to it in full is not worth a word.
    fn unless_partial<T>(self, result: Result<T, Stop>, partial: bool) -> Result<T, Stop> {
        match result {
            Err(Stop::Fresh(_)) if partial => Err(Stop::Known),
            other => other,
        }
    }

    fn fields<V>(self, mapping: &'de Mapping, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Stop>
    where
        V: Visitor<'de>,
    {
        if self.state.first_look_at(self.value) {
            self.note_unknown_keys(mapping, fields);
        }
        let mut access = Fields::new(self, mapping, fields);
        let result = visitor.visit_map(&mut access);
        let partial = access.is_partial();
        match result {
            Err(Stop::Fresh(Complaint::Missing(field))) => {
                let written = mapping.contains_key(field);
                if !written && self.state.field(self.value, field).is_none() {
                    if !is_misspelt(mapping, field, fields) {
                        self.state.note(Complaint::Missing(field).at(self.value, self.trail));
                    }
                    self.state.set_field(self.value, self.trail, field, Field::Blank);
                }
                Err(Stop::Known)
            }
            other => self.unless_partial(other, partial),
        }
    }

    fn note_unknown_keys(self, mapping: &'de Mapping, allowed: &'static [&'static str]) {
        for (key, value) in mapping {
            if self.state.faults() >= MOST_FAULTS {
                return;
            }
            let Some(text) = key_text(key) else {
                self.state.open(mapping, self.trail);
                self.state.note(Complaint::KeyShape.at(key, self.trail));
                continue;
            };
            if !allowed.contains(&text.as_ref()) {
                self.state.open(mapping, self.trail);
                self.state.note(Complaint::Key { allowed }.at(value, &Trail::Key(self.trail, &text)));
            }
        }
    }
}

/// Whether `field` is there under a name that was noted as unknown with `field` as the suggestion.
fn is_misspelt(mapping: &Mapping, field: &str, fields: &[&str]) -> bool {
    let mut unknown = mapping.keys().filter_map(Value::as_str).filter(|key| !fields.contains(key));
    unknown.any(|key| nearest(key, fields) == Some(field))
}

/// A key as text: numbers and booleans stand for how they are written.
pub(super) fn key_text(key: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match key {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(value) => Some(value.to_string().into()),
        _ => None,
    }
}

/// Kinds that only a scalar other than text can be.
macro_rules! deserialize_scalar {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            self.scalar(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(_) | Value::Number(_) => self.scalar(visitor),
            Value::String(text) => visitor.visit_str(text),
            Value::Sequence(elements) => self.list(elements, visitor),
            Value::Mapping(mapping) => self.entries(mapping, visitor),
            Value::Tagged(_) if self.placed().is_some() => self.scalar(visitor),
            Value::Tagged(_) => self.deserialize_str(visitor),
        }
    }

    deserialize_scalar! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let Some(text) = self.text() else { return Err(self.refuse(&visitor)) };
        match visitor.visit_str(text) {
            Err(Stop::Fresh(Complaint::Said(message))) => Err(Stop::Fresh(Complaint::said_of(text, &message))),
            other => other,
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.value {
            Value::Null => Err(Stop::Fresh(Complaint::expected(self.value, &"a value"))),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.value {
            Value::Sequence(elements) => self.list(elements, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.value {
            Value::Mapping(mapping) => self.entries(mapping, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.value {
            Value::Mapping(mapping) => self.fields(mapping, fields, visitor),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.text() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => Err(Stop::Fresh(Complaint::expected(self.value, &one_of(variants).as_str()))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }
}

impl Stop {
    /// A key that is a list, a mapping or nothing.
    pub(super) fn key_shape() -> Self {
        Self::custom("a key must be text")
    }
}
