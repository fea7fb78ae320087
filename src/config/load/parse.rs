//! One file's bytes to a YAML value.
//!
//! serde_yaml reads; this visitor builds the value itself, so that what is not wanted is refused where it stands:
//! duplicate keys, keys that are no text, tags, and aliases that unfold to far more than the file holds.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Mapping, Value};

use super::fault;
use crate::config::decode::Fault;
use crate::config::place::{On, Place};

/// Why a text is no configuration at all.
pub(super) struct Fail {
    /// What is wrong.
    pub(super) message: String,
    /// What would be right.
    pub(super) help: Option<String>,
    /// The character where it was noticed.
    pub(super) char: Option<usize>,
    /// How many characters are meant.
    pub(super) width: usize,
}

/// What the builder refused.
struct Refusal {
    message: String,
    width: usize,
}

/// The text, and the mapping in it. What is not UTF-8 is replaced in the text, so that a report can show it.
pub(super) fn parse(bytes: Vec<u8>) -> (String, Result<Value, Fail>) {
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let good = bytes.get(..valid).unwrap_or_default();
            let char = String::from_utf8_lossy(good).chars().count();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let message = "the file is not UTF-8 text".to_owned();
            return (text, Err(Fail { message, help: None, char: Some(char), width: 1 }));
        }
    };
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    let result = mapping(&text);
    (text, result)
}

fn mapping(text: &str) -> Result<Value, Fail> {
    let fail = |message: &str| Fail { message: message.to_owned(), help: None, char: None, width: 1 };
    if let Some(char) = too_deep(text) {
        return Err(Fail { message: TOO_DEEP.to_owned(), help: None, char: Some(char), width: 1 });
    }
    let builder = Builder { left: Cell::new(2 * text.len() + SPARE), refusal: RefCell::default() };
    match Node(&builder).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(value @ Value::Mapping(_)) => Ok(value),
        Ok(Value::Null) => Err(fail("the file is empty")),
        Ok(_) => Err(fail("the file must be a mapping, like `version: 1`")),
        Err(error) => Err(refused(&error, builder.refusal.into_inner(), text)),
    }
}

fn refused(error: &serde_yaml::Error, refusal: Option<Refusal>, text: &str) -> Fail {
    let char = error.location().map(|location| location.index());
    if let Some(Refusal { message, width }) = refusal {
        return Fail { message, help: None, char, width };
    }
    // The sentence is `problem at line 1 column 2, context at line 3 column 4`.
    let all = error.to_string();
    let (problem, context) = match all.split_once(", while ") {
        Some((problem, context)) => (problem, Some(format!("while {context}"))),
        None => (all.as_str(), None),
    };
    let (problem, char) = match problem.split_once(" at position ") {
        Some((problem, byte)) => (problem, byte.parse().ok().and_then(|byte| chars_before(text, byte))),
        None => (problem.split(" at line ").next().unwrap_or_default(), char),
    };
    let message = match problem {
        "recursion limit exceeded" => TOO_DEEP,
        "repetition limit exceeded" => TOO_MUCH,
        _ if problem.starts_with("deserializing from YAML containing more than one document") => {
            "the file must be one YAML document"
        }
        _ if problem.starts_with("EOF while parsing") => "the file is empty",
        _ => problem,
    };
    let help = match char.and_then(|char| text.chars().nth(char)) {
        Some('\t') => Some("indent with spaces, not with tabs".to_owned()),
        _ => context.filter(|context| context.contains(" at line ")),
    };
    Fail { message: message.to_owned(), help, char, width: 1 }
}

/// The character at which far more brackets are open than the parser allows: it would refuse them too, but only after
/// a time that grows with their square. Brackets in quotes and comments do not count; the few that stand unpaired in
/// other text do not reach the bound.
fn too_deep(text: &str) -> Option<usize> {
    const MOST_OPEN: usize = 1000;
    let mut open = 0_usize;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut quote = None;
        let mut before = ' ';
        for (at, char) in line.char_indices() {
            match char {
                _ if quote == Some(char) => quote = None,
                _ if quote.is_some() => {}
                '\'' | '"' if " \t[{,:".contains(before) => quote = Some(char),
                '#' if before == ' ' => break,
                '[' | '{' => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            before = char;
            if open > MOST_OPEN {
                return chars_before(text, start + at);
            }
        }
        start += line.len();
    }
    None
}

fn chars_before(text: &str, byte: usize) -> Option<usize> {
    text.get(..byte).map(|before| before.chars().count())
}

/// What a small file may unfold to by aliases.
const SPARE: usize = 100_000;
const TOO_DEEP: &str = "the nesting is too deep";
const TOO_MUCH: &str = "the aliases in the file unfold to too much";

struct Builder {
    /// Nodes and bytes of text that may still come. A file without aliases cannot use up twice its length.
    left: Cell<usize>,
    /// What was refused: serde_yaml's own error would mix it with a path.
    refusal: RefCell<Option<Refusal>>,
}

impl Builder {
    fn say<E: de::Error>(&self, message: &str) -> E {
        self.say_of(1, message)
    }

    fn say_of<E: de::Error>(&self, width: usize, message: &str) -> E {
        self.refusal.borrow_mut().get_or_insert_with(|| Refusal { message: message.to_owned(), width });
        E::custom(message)
    }

    fn spend<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes + 1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.say(TOO_MUCH)),
        }
    }
}

#[derive(Clone, Copy)]
struct Node<'b>(&'b Builder);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::Null)
    }

    /// A file without any value.
    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        self.0.spend(0).map(|()| number.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        self.0.spend(0).map(|()| number.into())
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Value, E> {
        Err(self.0.say("the number is too large"))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Value, E> {
        Err(self.0.say("the number is too large"))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        self.0.spend(0).map(|()| number.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.spend(text.len()).map(|()| text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(self)? {
            elements.push(element);
        }
        Ok(Value::Sequence(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let mut mapping = Mapping::new();
        while let Some(key) = map.next_key_seed(Key { node: self, before: &mapping })? {
            let value = map.next_value_seed(self)?;
            mapping.insert(key, value);
        }
        Ok(Value::Mapping(mapping))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.0.say("tags (words that begin with `!`) have no meaning here"))
    }
}

/// A key, refused where it stands when it was there before.
struct Key<'b, 'm> {
    node: Node<'b>,
    before: &'m Mapping,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Key<'_, '_> {
    fn no_text<E: de::Error>(self) -> E {
        self.node.0.say("a key must be text")
    }
}

impl<'de> Visitor<'de> for Key<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Err(self.no_text())
    }

    // A key is text however it looks, so `404:` and `"404":` are the same key.
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.node.0.spend(text.len())?;
        if self.before.contains_key(text) {
            return Err(self.node.0.say_of(text.chars().count(), &format!("key `{text}` is there twice")));
        }
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.no_text())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.no_text())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.no_text())
    }
}

/// Replaces every `<<` by the entries of what it names, behind and under those that are written.
pub(super) fn merge(value: &mut Value, place: &Place, faults: &mut Vec<Fault>) {
    match value {
        Value::Sequence(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                merge(element, &place.clone().index(index), faults);
            }
        }
        Value::Mapping(mapping) => {
            if let Some(merged) = mapping.shift_remove("<<") {
                merge_into(mapping, merged, &place.clone().key("<<"), faults);
            }
            for (key, value) in mapping.iter_mut() {
                if !matches!(value, Value::Mapping(_) | Value::Sequence(_)) {
                    continue;
                }
                merge(value, &place.clone().key(key.as_str().unwrap_or_default()), faults);
            }
        }
        _ => {}
    }
}

fn merge_into(mapping: &mut Mapping, merged: Value, place: &Place, faults: &mut Vec<Fault>) {
    let list = match merged {
        Value::Sequence(list) => list,
        one => vec![one],
    };
    for mut merged in list {
        // A merged mapping may itself begin with a merge.
        merge(&mut merged, place, faults);
        let Value::Mapping(merged) = merged else {
            let message = "only mappings can be merged".to_owned();
            faults.push(fault(place, On::Key, message, "write `<<: *name` or `<<: [*one, *other]`"));
            continue;
        };
        for (key, value) in merged {
            mapping.entry(key).or_insert(value);
        }
    }
}
