//! Which service a route's requests go to: one, or several by weight.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Where a route's requests go.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteService {
    /// All to this service.
    One(String),
    /// To these by weight: each caller always to the same one.
    Split(IndexMap<String, u32>),
}

impl RouteService {
    /// The names of the services, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (one, split) = match self {
            Self::One(name) => (Some(name), None),
            Self::Split(weights) => (None, Some(weights.keys())),
        };
        one.into_iter().chain(split.into_iter().flatten()).map(String::as_str)
    }
}

struct RouteServiceVisitor;

impl<'de> Visitor<'de> for RouteServiceVisitor {
    type Value = RouteService;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a service, or a mapping of names to weights")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<RouteService, E> {
        Ok(RouteService::One(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RouteService, A::Error> {
        IndexMap::deserialize(MapAccessDeserializer::new(map)).map(RouteService::Split)
    }
}

impl<'de> Deserialize<'de> for RouteService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RouteServiceVisitor)
    }
}

impl Serialize for RouteService {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(name) => serializer.serialize_str(name),
            Self::Split(weights) => weights.serialize(serializer),
        }
    }
}

impl JsonSchema for RouteService {
    fn schema_name() -> Cow<'static, str> {
        "RouteService".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let weight = generator.subschema_for::<u32>();
        let weights = json_schema!({ "type": "object", "additionalProperties": weight, "minProperties": 1 });
        json_schema!({ "anyOf": [{ "type": "string" }, weights] })
    }
}
