//! Values that may be written in more than one shape: one or many, a word or a list, a word or a mapping.
//!
//! Each visitor only looks at the shape and hands the rest on, so that a fault inside keeps its own place and text.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use indexmap::IndexMap;
use indexmap::map::Entry;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::FieldName;
use crate::config::{Auth, Body, Document, Parameter, Public};

/// A value, or a list of them. Absent: none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(Vec<T>);

/// Query parameters that pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameters {
    /// `any`: everything.
    Any,
    /// These, checked.
    Named(IndexMap<String, Parameter>),
}

impl<T> OneOrMany<T> {
    /// All of them, in order.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> From<Vec<T>> for OneOrMany<T> {
    fn from(values: Vec<T>) -> Self {
        Self(values)
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self::Named(IndexMap::new())
    }
}

/// A value that is there even when it is `null`.
pub(in crate::config) fn present<'de, D>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error>
where
    D: Deserializer<'de>,
{
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// What is said of headers by name, where `X-A` and `x-a` are the same name and must not both be there.
pub(in crate::config) fn distinct_headers<'de, D, T>(deserializer: D) -> Result<IndexMap<FieldName, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(HeadersVisitor(PhantomData))
}

struct HeadersVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for HeadersVisitor<T> {
    type Value = IndexMap<FieldName, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping by header names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut headers = IndexMap::new();
        while let Some((name, value)) = map.next_entry::<FieldName, T>()? {
            match headers.entry(name) {
                Entry::Occupied(entry) => {
                    return Err(de::Error::custom(format_args!("header `{}` is there twice", entry.key())));
                }
                Entry::Vacant(entry) => entry.insert(value),
            };
        }
        Ok(headers)
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

/// One scalar of the type.
macro_rules! visit_one {
    ($($visit:ident $scalar:ty),*) => {$(
        fn $visit<E: de::Error>(self, scalar: $scalar) -> Result<Self::Value, E> {
            T::deserialize(scalar.into_deserializer()).map(|one| OneOrMany(vec![one]))
        }
    )*};
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list")
    }

    visit_one!(visit_bool bool, visit_u64 u64, visit_i64 i64, visit_f64 f64, visit_str &str);

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        T::deserialize(().into_deserializer()).map(|one| OneOrMany(vec![one]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMany(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`any` or a mapping of parameters")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Parameters, E> {
        match text {
            "any" => Ok(Parameters::Any),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Parameters, A::Error> {
        IndexMap::deserialize(MapAccessDeserializer::new(map)).map(Parameters::Named)
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParametersVisitor)
    }
}

impl JsonSchema for Parameters {
    fn schema_name() -> Cow<'static, str> {
        "Parameters".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let named = generator.subschema_for::<IndexMap<String, Parameter>>();
        json_schema!({ "anyOf": [{ "type": "string", "const": "any" }, named] })
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Named(parameters) => {
                let mut map = serializer.serialize_map(Some(parameters.len()))?;
                for (name, parameter) in parameters {
                    map.serialize_entry(name, parameter)?;
                }
                map.end()
            }
        }
    }
}

struct AuthVisitor;

impl<'de> Visitor<'de> for AuthVisitor {
    type Value = Auth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`public` or a list of authenticators")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Auth, E> {
        match text {
            "public" => Ok(Auth::Public(Public::Public)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Auth, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Auth::Any)
    }
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AuthVisitor)
    }
}

impl JsonSchema for Auth {
    fn schema_name() -> Cow<'static, str> {
        "Auth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names = generator.subschema_for::<Vec<String>>();
        json_schema!({ "anyOf": [{ "type": "string", "const": "public" }, names] })
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`any`, or a mapping with `schema` or `schema_file`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Body, E> {
        match text {
            "any" => Ok(Body::Any),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Body, A::Error> {
        Document::deserialize(MapAccessDeserializer::new(map)).map(Body::Document)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

impl JsonSchema for Body {
    fn schema_name() -> Cow<'static, str> {
        "Body".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let document = generator.subschema_for::<Document>();
        json_schema!({ "anyOf": [{ "type": "string", "const": "any" }, document] })
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Document(document) => document.serialize(serializer),
        }
    }
}
