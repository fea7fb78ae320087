//! Which routes take WebSockets, from whom, and for how long.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::values::Duration;

/// Whether a route takes WebSockets.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Websocket {
    /// `false`: it does not.
    #[default]
    Refused,
    /// `true`, or a mapping: it takes nothing else.
    Taken(WebsocketRules),
}

/// How a route takes WebSockets.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebsocketRules {
    /// Pages that may open one: a list of origins such as `https://app.example.com`, or `any`. Absent: pages of the
    /// host that the request is for. Clients that are no browser send no origin, and may.
    pub origins: Option<Origins>,
    /// The longest time in which neither side sends anything.
    pub idle_timeout: Duration,
    /// The longest time that one may live. Absent: no bound.
    pub max_lifetime: Option<Duration>,
}

impl Default for WebsocketRules {
    fn default() -> Self {
        Self { origins: None, idle_timeout: Duration::from_secs(60 * 60), max_lifetime: None }
    }
}

/// Pages that may open a WebSocket.
#[derive(Debug, Clone, PartialEq)]
pub enum Origins {
    /// `any`: all of them.
    Any,
    /// These.
    Listed(Vec<String>),
}

struct WebsocketVisitor;

impl<'de> Visitor<'de> for WebsocketVisitor {
    type Value = Websocket;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true`, `false` or a mapping")
    }

    fn visit_bool<E: de::Error>(self, taken: bool) -> Result<Websocket, E> {
        Ok(if taken { Websocket::Taken(WebsocketRules::default()) } else { Websocket::Refused })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Websocket, A::Error> {
        WebsocketRules::deserialize(MapAccessDeserializer::new(map)).map(Websocket::Taken)
    }
}

impl<'de> Deserialize<'de> for Websocket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WebsocketVisitor)
    }
}

impl Serialize for Websocket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Refused => serializer.serialize_bool(false),
            Self::Taken(rules) => rules.serialize(serializer),
        }
    }
}

impl JsonSchema for Websocket {
    fn schema_name() -> Cow<'static, str> {
        "Websocket".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rules = generator.subschema_for::<WebsocketRules>();
        json_schema!({ "anyOf": [{ "type": "boolean" }, rules] })
    }
}

struct OriginsVisitor;

impl<'de> Visitor<'de> for OriginsVisitor {
    type Value = Origins;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`any` or a list of origins")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Origins, E> {
        match text {
            "any" => Ok(Origins::Any),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Origins, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Origins::Listed)
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OriginsVisitor)
    }
}

impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Listed(origins) => origins.serialize(serializer),
        }
    }
}

impl JsonSchema for Origins {
    fn schema_name() -> Cow<'static, str> {
        "Origins".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let listed = generator.subschema_for::<Vec<String>>();
        json_schema!({ "anyOf": [{ "type": "string", "const": "any" }, listed] })
    }
}
