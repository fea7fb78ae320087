//! Whom a route lets through, of those who are known: [`Allow`]; and what of it is only observed: [`Modes`].
//!
//! Both may be written as a word or as a mapping. Names are not looked up here, and lists may be empty: that is for
//! the compiler to say.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Mode, OneOrMany};

/// Whom a route lets through.
#[derive(Debug, Clone, PartialEq)]
pub enum Allow {
    /// `any`: everyone whom `auth` lets in.
    Any,
    /// Whoever meets all these conditions.
    Only(Box<Conditions>),
}

/// Conditions on a request: all that are there must hold. In each list one fitting member is enough.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Conditions {
    /// Names of consumers: the caller is one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Vec<String>>,
    /// The caller is in one of these groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Names of plans: the caller has one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plans: Option<Vec<String>>,
    /// The caller's token grants one of these scopes (its claim `scope` or `scp`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Each claim of the caller's token by its name: it is this value or one of these, or a list that holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<IndexMap<String, OneOrMany<ClaimValue>>>,
    /// Networks: the client's address, seen through trusted proxies, is in one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub addresses: Option<Vec<IpNet>>,
}

/// A value that a claim may have.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClaimValue {
    /// Compared exactly.
    Text(String),
    /// Compared by value.
    Number(serde_json::Number),
    /// `true` or `false`.
    Boolean(bool),
}

/// What of a route is enforced, and what only observed. A word is about the contract alone, the rest is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Modes {
    /// The contract.
    pub contract: Mode,
    /// `allow` and `deny_addresses`.
    pub authorisation: Mode,
    /// The limits of the route and of the caller's plan.
    pub limits: Mode,
}

/// The modes, one by one. What is not named is enforced.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
struct EachMode {
    /// Whether the contract refuses what violates it.
    contract: Option<Mode>,
    /// Whether `allow` and `deny_addresses` refuse.
    authorisation: Option<Mode>,
    /// Whether the limits of the route and of the caller's plan refuse.
    limits: Option<Mode>,
}

struct AllowVisitor;

impl<'de> Visitor<'de> for AllowVisitor {
    type Value = Allow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`any` or a mapping of conditions")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Allow, E> {
        match text {
            "any" => Ok(Allow::Any),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Allow, A::Error> {
        Conditions::deserialize(MapAccessDeserializer::new(map)).map(|conditions| Allow::Only(Box::new(conditions)))
    }
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllowVisitor)
    }
}

impl Serialize for Allow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Only(conditions) => conditions.serialize(serializer),
        }
    }
}

impl JsonSchema for Allow {
    fn schema_name() -> Cow<'static, str> {
        "Allow".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let conditions = generator.subschema_for::<Conditions>();
        json_schema!({ "anyOf": [{ "type": "string", "const": "any" }, conditions] })
    }
}

struct ClaimVisitor;

impl Visitor<'_> for ClaimVisitor {
    type Value = ClaimValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, `true` or `false`")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Boolean(value))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Number(number.into()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<ClaimValue, E> {
        let finite = serde_json::Number::from_f64(number);
        finite.map(ClaimValue::Number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for ClaimValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClaimVisitor)
    }
}

impl JsonSchema for ClaimValue {
    fn schema_name() -> Cow<'static, str> {
        "ClaimValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

struct ModesVisitor;

impl<'de> Visitor<'de> for ModesVisitor {
    type Value = Modes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`enforce`, `observe`, or a mapping with `contract`, `authorisation`, `limits`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Modes, E> {
        Ok(Modes { contract: Mode::deserialize(text.into_deserializer())?, ..Modes::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Modes, A::Error> {
        let EachMode { contract, authorisation, limits } = EachMode::deserialize(MapAccessDeserializer::new(map))?;
        if contract.or(authorisation).or(limits).is_none() {
            return Err(de::Error::invalid_value(Unexpected::Other("an empty one"), &self));
        }
        Ok(Modes {
            contract: contract.unwrap_or_default(),
            authorisation: authorisation.unwrap_or_default(),
            limits: limits.unwrap_or_default(),
        })
    }
}

impl<'de> Deserialize<'de> for Modes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModesVisitor)
    }
}

impl JsonSchema for Modes {
    fn schema_name() -> Cow<'static, str> {
        "Modes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (word, each) = (generator.subschema_for::<Mode>(), generator.subschema_for::<EachMode>());
        json_schema!({ "anyOf": [word, each] })
    }
}
