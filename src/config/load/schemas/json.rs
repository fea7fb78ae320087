//! One JSON file's bytes to a value: a name that comes twice in an object is a fault, as it is in YAML.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a file is not JSON.
#[derive(Debug, PartialEq)]
pub(super) struct Fail {
    pub(super) message: String,
    /// Where it was noticed.
    pub(super) byte: usize,
}

/// The private name under which `serde_json` hands numbers over.
const NUMBER: &str = "$serde_json::private::Number";

/// The text, and the value in it. What is not UTF-8 is replaced in the text, so that a report can show it.
pub(super) fn parse(bytes: Vec<u8>) -> (String, Result<Value, Fail>) {
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let byte = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            return (text, Err(Fail { message: "the file is not UTF-8 text".to_owned(), byte }));
        }
    };
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let result = Node.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let result = result.map_err(|error| fail(&error, &text));
    (text, result)
}

fn fail(error: &serde_json::Error, text: &str) -> Fail {
    let lines: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let byte = (lines + error.column().saturating_sub(1)).min(text.len());
    let byte = (0..=byte).rev().find(|&byte| text.is_char_boundary(byte)).unwrap_or(0);
    let all = error.to_string();
    let message = all.split(" at line ").next().unwrap_or_default().to_owned();
    Fail { message, byte }
}

struct Node;

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == NUMBER && members.is_empty() {
                let digits: String = map.next_value()?;
                return digits.parse::<Number>().map(Value::Number).map_err(de::Error::custom);
            }
            if members.contains_key(&name) {
                return Err(de::Error::custom(format_args!("key `{name}` is there twice")));
            }
            let value = map.next_value_seed(Self)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_read_with_its_digits_or_refused_at_its_place() {
        let text = r#"{"maximum": 1.50, "minimum": -12345678901234567890123, "enum": [null, true, 7, "é"]}"#;
        let value = parse(text.as_bytes().to_vec()).1.unwrap();
        assert_eq!(value.to_string(), text.replace(": ", ":").replace(", ", ","));
        let rows = [
            ("{\n  \"a\": tru }", "expected ident", 12),
            ("{\"a\": 1, \"a\": 2}", "key `a` is there twice", 11),
            ("", "EOF while parsing a value", 0),
            ("{} {}", "trailing characters", 3),
            ("\u{feff}[1,", "EOF while parsing a value", 2),
        ];
        for (text, message, byte) in rows {
            let expected = Err(Fail { message: message.to_owned(), byte });
            assert_eq!(parse(text.as_bytes().to_vec()).1, expected, "{text:?}");
        }
        assert_eq!(parse(b"{\"a\": \xff}".to_vec()).1.unwrap_err().byte, 6);
    }
}
