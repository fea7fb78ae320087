//! Which replies are compressed, and how.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::values::Size;

/// Whether the gateway compresses what services reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Compressing {
    /// `false`: it does not.
    Off,
    /// `true`, or a mapping: it does, where the client takes it.
    On(CompressingRules),
}

/// Which replies are compressed, and how.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompressingRules {
    /// What clients are offered; of those that a client likes equally, the first.
    pub algorithms: Vec<Coding>,
    /// How much work is spent on making replies small.
    pub level: Level,
    /// Types of replies that are compressed: `text/html`, `text/*`, `application/*+json`. Absent: those that are known to
    /// shrink. Event streams and gRPC never are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<String>>,
    /// Replies that are known to be smaller are left as they are.
    pub min_size: Size,
}

impl Default for CompressingRules {
    fn default() -> Self {
        Self {
            algorithms: vec![Coding::Zstd, Coding::Br, Coding::Gzip],
            level: Level::default(),
            types: None,
            min_size: Size::from_kib(1),
        }
    }
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// gzip (RFC 1952).
    Gzip,
}

/// How much work is spent on making replies small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As little as possible.
    Fast,
    /// Some.
    #[default]
    Balanced,
    /// Much: for slow networks.
    Small,
}

struct CompressingVisitor;

impl<'de> Visitor<'de> for CompressingVisitor {
    type Value = Compressing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true`, `false` or a mapping")
    }

    fn visit_bool<E: de::Error>(self, compresses: bool) -> Result<Compressing, E> {
        Ok(if compresses { Compressing::On(CompressingRules::default()) } else { Compressing::Off })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Compressing, A::Error> {
        CompressingRules::deserialize(MapAccessDeserializer::new(map)).map(Compressing::On)
    }
}

impl<'de> Deserialize<'de> for Compressing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CompressingVisitor)
    }
}

impl Serialize for Compressing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(rules) => rules.serialize(serializer),
        }
    }
}

impl JsonSchema for Compressing {
    fn schema_name() -> Cow<'static, str> {
        "Compressing".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rules = generator.subschema_for::<CompressingRules>();
        json_schema!({ "anyOf": [{ "type": "boolean" }, rules] })
    }
}
