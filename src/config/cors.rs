//! Which pages of other origins may read what a route answers.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::schema;
use super::values::{Duration, FieldName};
use super::websocket::Origins;

/// Whether the gateway speaks CORS for a route.
#[derive(Debug, Clone, PartialEq)]
pub enum Cors {
    /// `false`: it does not, whatever `defaults` say.
    Off,
    /// It does, by these rules.
    Rules(Box<CorsRules>),
}

/// Which pages may use a route, and how.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["origins"]))]
pub struct CorsRules {
    // Required, as the compiler says: of what may be a word or a mapping, a decoder does not know the fields.
    /// The pages: a list of origins such as `https://app.example.com`, or `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<Origins>,
    /// The methods that they may use. Absent: those of the routes.
    #[schemars(schema_with = "schema::methods")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// The header fields that they may send. Absent: those that they ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<FieldName>>,
    /// The header fields of an answer that they may read, beside the few that they always may.
    #[serde(default)]
    pub expose: Vec<FieldName>,
    /// Whether browsers may send cookies and the like along.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember what it was told. Absent: as long as it likes, which is some seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

struct CorsVisitor;

impl<'de> Visitor<'de> for CorsVisitor {
    type Value = Cors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`false` or a mapping")
    }

    fn visit_bool<E: de::Error>(self, spoken: bool) -> Result<Cors, E> {
        match spoken {
            false => Ok(Cors::Off),
            true => Err(E::invalid_value(Unexpected::Bool(true), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cors, A::Error> {
        CorsRules::deserialize(MapAccessDeserializer::new(map)).map(|rules| Cors::Rules(Box::new(rules)))
    }
}

impl<'de> Deserialize<'de> for Cors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CorsVisitor)
    }
}

impl Serialize for Cors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Rules(rules) => rules.serialize(serializer),
        }
    }
}

impl JsonSchema for Cors {
    fn schema_name() -> Cow<'static, str> {
        "Cors".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rules = generator.subschema_for::<CorsRules>();
        json_schema!({ "anyOf": [{ "type": "boolean", "const": false }, rules] })
    }
}
