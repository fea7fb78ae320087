//! The JSON in a token: one object, in which no name stands twice.
//!
//! Readers differ on which of two members counts, so that a service could believe another one than the gateway.
//! Nesting is bounded by serde_json (128 levels), size by the token's.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::TokenFault;

/// Reads an object.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, TokenFault> {
    let map = serde_json::from_slice(text).map_err(|_| TokenFault::Malformed)?;
    match serde_json::from_slice::<Distinct>(text) {
        Ok(Distinct) => Ok(map),
        Err(_) => Err(TokenFault::DuplicateMember),
    }
}

/// Any value without a name that stands twice in one object.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctVisitor)
    }
}

struct DistinctVisitor;

/// A scalar holds no names.
macro_rules! visit_scalar {
    ($($visit:ident $scalar:ty),*) => {$(
        fn $visit<E>(self, _: $scalar) -> Result<Distinct, E> {
            Ok(Distinct)
        }
    )*};
}

impl<'de> Visitor<'de> for DistinctVisitor {
    type Value = Distinct;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects with distinct names")
    }

    visit_scalar!(visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str);

    fn visit_unit<E>(self) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Distinct, A::Error> {
        while let Some(Distinct) = elements.next_element()? {}
        Ok(Distinct)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Distinct, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Distinct)) = members.next_entry::<String, Distinct>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Distinct)
    }
}
