//! A JSON text as a tree that borrows from it, read under limits.
//!
//! What a hostile text could make grow is bounded: [`MAX_DEPTH`] levels of nesting and [`MAX_VALUES`] values. A member
//! name that comes twice in one object is a violation at its place, because two readers could take different ones.
//! Numbers keep their digits as written (an exponent in the one form `e+5`), members their order.
//!
//! UTF-8 only; a byte order mark is taken off. No lone surrogate, no `NaN`. What is not JSON is one violation with its
//! line and column; the text is never repeated.
//!
//! `serde_json` hands a number over as an object with one private name. That name is the library's own text; a client
//! that writes it has it in the bytes of its body. So the two are told apart by where the name lies, and what a client
//! writes is always the object it looks like.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::types::Scalar;
use super::violation::{At, ViolationKind as Kind, Violations};

/// The most levels of arrays and objects in each other.
pub const MAX_DEPTH: usize = 64;

/// The most values in one text: members, items, and itself.
pub const MAX_VALUES: usize = 250_000;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The private name under which `serde_json` hands numbers over.
const NUMBER: &str = "$serde_json::private::Number";

/// Objects with more members than this look names up in a set.
const FEW: usize = 16;

/// A JSON value. A number is its digits.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<Entry<'a>>),
}

/// A member of an object.
pub(super) type Entry<'a> = (Cow<'a, str>, Json<'a>);

/// A text that was read.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) root: Json<'a>,
    /// How many values it holds.
    pub(super) values: usize,
}

/// Takes a byte order mark off.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BOM).unwrap_or(text)
}

/// Reads a text; nothing when it is not JSON or beyond the limits. Names that come twice are violations, too; of their
/// values the first is kept.
pub(super) fn read<'a>(text: &'a [u8], at: &At<'_>, violations: &mut Violations) -> Option<Read<'a>> {
    let text = without_mark(text);
    let reader = Reader {
        text: text.as_ptr_range(),
        left: Cell::new(MAX_VALUES),
        refused: Cell::new(None),
        violations: RefCell::new(violations),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let node = Node { reader: &reader, at, depth: 0 };
    let result = node.deserialize(&mut deserializer).and_then(|root| deserializer.end().map(|()| root));
    let (left, refused) = (reader.left.get(), reader.refused.get());
    match (result, refused) {
        (Ok(root), _) => return Some(Read { root, values: MAX_VALUES - left }),
        (Err(_), Some(Refused::Values)) => {
            violations.push(at, Kind::TooLong, format!("must have at most {MAX_VALUES} values"));
        }
        (Err(error), refused) => {
            let what = match refused {
                Some(_) => format!("has more than {MAX_DEPTH} levels"),
                None if error.is_eof() => "ends too early".to_owned(),
                None => "is not valid JSON".to_owned(),
            };
            // Only the position: the library's own text may repeat what the client sent.
            let msg = format!("{what}: line {} column {}", error.line(), error.column());
            violations.push(at, Kind::JsonInvalid, msg);
        }
    }
    None
}

impl<'a> Json<'a> {
    /// The same as a borrowed tree.
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => Self::Number(Cow::Borrowed(number.as_str())),
            Value::String(text) => Self::String(Cow::Borrowed(text)),
            Value::Array(items) => Self::Array(items.iter().map(Self::of).collect()),
            Value::Object(members) => {
                Self::Object(members.iter().map(|(name, value)| (Cow::Borrowed(&**name), Self::of(value))).collect())
            }
        }
    }

    /// A value without parts, as a tree.
    pub(super) fn of_scalar(scalar: Scalar<'a>) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Bool(truth) => Self::Bool(truth),
            Scalar::Number(digits) => Self::Number(Cow::Borrowed(digits)),
            Scalar::String(text) => Self::String(Cow::Borrowed(text)),
        }
    }

    /// The value, if it has no parts.
    pub(super) fn as_scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Self::Null => Some(Scalar::Null),
            Self::Bool(truth) => Some(Scalar::Bool(*truth)),
            Self::Number(digits) => Some(Scalar::Number(digits)),
            Self::String(text) => Some(Scalar::String(text)),
            Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// Its identity while the tree is not moved.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

/// Whether an object has a member of this name, asked for several names.
pub(super) enum Names<'a> {
    Few(&'a [Entry<'a>]),
    Many(HashSet<&'a str, ahash::RandomState>),
}

impl<'a> Names<'a> {
    pub(super) fn of(members: &'a [Entry<'a>]) -> Self {
        if members.len() <= FEW {
            return Self::Few(members);
        }
        Self::Many(members.iter().map(|(name, _)| &**name).collect())
    }

    pub(super) fn contain(&self, name: &str) -> bool {
        match self {
            Self::Few(members) => members.iter().any(|(known, _)| known == name),
            Self::Many(names) => names.contains(name),
        }
    }
}

/// What is the same for the whole text.
struct Reader<'v> {
    /// Where the text lies.
    text: Range<*const u8>,
    /// How many more values may come.
    left: Cell<usize>,
    refused: Cell<Option<Refused>>,
    violations: RefCell<&'v mut Violations>,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy)]
enum Refused {
    Depth,
    Values,
}

impl Reader<'_> {
    fn refuse<E: de::Error>(&self, why: Refused) -> E {
        self.refused.set(Some(why));
        E::custom("beyond a limit")
    }
}

/// Reads the value that comes next.
#[derive(Clone, Copy)]
struct Node<'r, 'v> {
    reader: &'r Reader<'v>,
    at: &'r At<'r>,
    depth: usize,
}

impl Node<'_, '_> {
    fn enter<E: de::Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.reader.refuse(Refused::Depth));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        let Some(left) = self.reader.left.get().checked_sub(1) else {
            return Err(self.reader.refuse(Refused::Values));
        };
        self.reader.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(truth))
    }

    // An integer that fits has one spelling; every other number comes as digits, in `visit_map`.
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Cow::Owned(itoa::Buffer::new().format(number).to_owned())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Cow::Owned(itoa::Buffer::new().format(number).to_owned())))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let depth = self.enter()?;
        let mut items = Vec::new();
        loop {
            let at = self.at.index(items.len());
            match list.next_element_seed(Node { reader: self.reader, at: &at, depth })? {
                Some(item) => items.push(item),
                None => return Ok(Json::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut name = match map.next_key_seed(Key(&self.reader.text))? {
            None => {
                self.enter()?;
                return Ok(Json::Object(Vec::new()));
            }
            Some(Name::Number) => return map.next_value::<String>().map(|digits| Json::Number(Cow::Owned(digits))),
            Some(Name::Member(name)) => name,
        };
        let depth = self.enter()?;
        let mut members = Members { entries: Vec::new(), names: HashSet::default() };
        loop {
            let at = self.at.name(&name);
            let known = members.has(&name);
            if known {
                self.reader.violations.borrow_mut().push(&at, Kind::DuplicateName, "is there twice");
            }
            let value = map.next_value_seed(Node { reader: self.reader, at: &at, depth })?;
            if !known {
                members.add(name, value);
            }
            name = match map.next_key_seed(Key(&self.reader.text))? {
                None => return Ok(Json::Object(members.entries)),
                Some(Name::Member(name)) => name,
                Some(Name::Number) => return Err(de::Error::custom("a number among members")),
            };
        }
    }
}

/// The members of an object that is being read.
struct Members<'de> {
    entries: Vec<Entry<'de>>,
    /// Names, once there are more than a few. Borrowed ones only hold a reference to the text.
    names: HashSet<Cow<'de, str>, ahash::RandomState>,
}

impl<'de> Members<'de> {
    fn has(&self, name: &str) -> bool {
        if self.names.is_empty() {
            return self.entries.iter().any(|(known, _)| known == name);
        }
        self.names.contains(name)
    }

    fn add(&mut self, name: Cow<'de, str>, value: Json<'de>) {
        if self.entries.len() == FEW {
            self.names.extend(self.entries.iter().map(|(name, _)| name.clone()));
        }
        if self.entries.len() >= FEW {
            self.names.insert(name.clone());
        }
        self.entries.push((name, value));
    }
}

/// Reads a member's name, or the library's word for a number.
struct Key<'r>(&'r Range<*const u8>);

enum Name<'de> {
    Member(Cow<'de, str>),
    Number,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Name<'de>, E> {
        if name == NUMBER && !self.0.contains(&name.as_ptr()) {
            return Ok(Name::Number);
        }
        Ok(Name::Member(Cow::Borrowed(name)))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name::Member(Cow::Owned(name.to_owned())))
    }
}
