//! Typed header fields, checked and written again; cookies, which share one field, are in [`super::cookies`].
//!
//! A value is what stands between the spaces and tabs around it, as UTF-8, and is read by its type. A scalar that
//! comes twice is a violation: some readers take the first, some the last, some both with a comma between. An array
//! takes the fields of its name together, each a list as RFC 9110 section 5.6.1 has it: items between commas, empty
//! ones ignored, a list without items absent. An item whose double quotes could hide a comma is a violation, since
//! readers that know quotes and readers that do not would count differently. The service gets one field per item.
//!
//! What is not declared here is none of this contract's business and passes, with one exception: CGI and its heirs
//! (WSGI, PHP) know `x-tenant`, `x_tenant` and `x.tenant` by one name, so [`CheckedFields::write`] takes every
//! look-alike of a declared field out.

use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};
use serde_json::Value;
use smallvec::SmallVec;

use super::cookies::CookieContract;
use super::grammar::{SchemaFault, fault};
use super::pairs::MAX_PAIRS;
use super::parameter::{Declared, Lists, text_value};
use super::schema::{MISSING, Schema};
use super::text::{Text, TextValue};
use super::violation::{At, ViolationKind as Kind, Violations};

/// What a route declares of header fields and cookies. The default declares nothing and costs nothing.
#[derive(Debug, Default)]
pub struct FieldContract {
    headers: Vec<HeaderParameter>,
    cookies: Option<CookieContract>,
}

/// A compiled header field.
#[derive(Debug)]
pub struct HeaderParameter {
    name: HeaderName,
    value: TextValue,
    absent: Absent<Values>,
}

/// What an absent field or cookie means.
#[derive(Debug)]
pub(super) enum Absent<T> {
    Violation,
    LeftOut,
    Filled(T),
}

/// The fields of one name.
pub(super) type Values = SmallVec<[HeaderValue; 1]>;

/// What the service gets of declared fields: all fields of each name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckedFields(Vec<(HeaderName, Values)>);

impl FieldContract {
    /// A contract of these, in order of declaration.
    pub fn new(headers: Vec<HeaderParameter>, cookies: Option<CookieContract>) -> Self {
        Self { headers, cookies }
    }

    /// Checks a client's fields. What it gives is without meaning when there are violations.
    pub fn check(&self, headers: &HeaderMap, violations: &mut Violations) -> CheckedFields {
        if self.headers.is_empty() && self.cookies.is_none() {
            return CheckedFields::default();
        }
        let mut checked = Vec::with_capacity(self.headers.len() + 1);
        for parameter in &self.headers {
            checked.push((parameter.name.clone(), parameter.check(headers, violations)));
        }
        if let Some(cookies) = &self.cookies {
            checked.push((COOKIE, cookies.check(headers, violations).into_iter().collect()));
        }
        CheckedFields(checked)
    }
}

impl CheckedFields {
    /// All of them, in order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
    }

    /// Puts the checked fields in the place of the client's and of their look-alikes.
    pub fn write(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let replaced = |name: &&HeaderName| self.0.iter().any(|(declared, _)| is_look_alike(name, declared));
        let ending: SmallVec<[HeaderName; 8]> = headers.keys().filter(replaced).cloned().collect();
        for name in &ending {
            headers.remove(name);
        }
        for (name, values) in &self.0 {
            for value in values {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Whether some reader takes one name for the other, or they are the same. Names are in lower case.
pub fn is_look_alike(one: &HeaderName, other: &HeaderName) -> bool {
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    let same =
        |(one, other): (&u8, &u8)| one == other || !(one.is_ascii_alphanumeric() || other.is_ascii_alphanumeric());
    one.len() == other.len() && one.iter().zip(other).all(same)
}

impl HeaderParameter {
    /// Compiles a parameter, or says everything that is wrong with it. Of `declared`, the name is not looked at.
    pub fn compile(name: HeaderName, declared: Declared<'_>) -> Result<Self, Vec<SchemaFault>> {
        let (value, default) = text_value(Lists::Allowed, declared, None)?;
        let absent = match default {
            Some(texts) => Absent::Filled(filled(&value, &texts)?),
            None if declared.optional => Absent::LeftOut,
            None => Absent::Violation,
        };
        Ok(Self { name, value, absent })
    }

    fn check(&self, headers: &HeaderMap, violations: &mut Violations) -> Values {
        let source = At::HEADER;
        let at = source.name(self.name.as_str());
        match &self.value {
            TextValue::One(text) => self.one(text, headers, &at, violations),
            TextValue::Many { item, list } => self.many(item, list, headers, &at, violations),
        }
    }

    fn one(&self, text: &Text, headers: &HeaderMap, at: &At<'_>, violations: &mut Violations) -> Values {
        let mut sent = headers.get_all(&self.name).iter();
        let Some(field) = sent.next() else { return self.absent.values(at, violations) };
        if sent.next().is_some() {
            violations.push(at, Kind::ValueError, ONCE);
            return Values::new();
        }
        let Some(value) = decoded(trimmed(field.as_bytes()), at, violations) else { return Values::new() };
        let value = text.check(value, at, violations).as_text();
        Values::from_iter(written(value, field))
    }

    fn many(
        &self,
        item: &Text,
        list: &Schema,
        headers: &HeaderMap,
        at: &At<'_>,
        violations: &mut Violations,
    ) -> Values {
        let before = violations.len();
        let mut out = Values::new();
        let mut whole = Vec::new();
        let fields = headers.get_all(&self.name).iter();
        let items = fields.flat_map(|field| split(field.as_bytes()).map(move |raw| (raw, field)));
        let mut count = 0;
        for (index, (raw, field)) in items.enumerate() {
            count = index + 1;
            if count > MAX_PAIRS {
                violations.push(at, Kind::TooLong, format!("must have at most {MAX_PAIRS} items"));
                return Values::new();
            }
            let at = at.index(index);
            if !is_one_item(raw) {
                violations.push(&at, Kind::ValueError, "must have no comma or backslash within double quotes");
                continue;
            }
            let Some(value) = decoded(raw, &at, violations) else { continue };
            let value = item.check(value, &at, violations);
            out.extend(written(value.as_text(), field));
            if list.needs_whole_array() {
                whole.push(value.to_value());
            }
        }
        if count == 0 {
            return self.absent.values(at, violations);
        }
        list.check_count(count, at, violations);
        if list.needs_whole_array() && violations.len() == before {
            list.check(&Value::Array(whole), at, violations);
        }
        out
    }
}

/// What is said of a scalar that comes more often.
pub(super) const ONCE: &str = "must come only once";

impl Absent<Values> {
    fn values(&self, at: &At<'_>, violations: &mut Violations) -> Values {
        match self {
            Self::Violation => violations.push(at, Kind::Missing, MISSING),
            Self::LeftOut => {}
            Self::Filled(values) => return values.clone(),
        }
        Values::new()
    }
}

/// The default as the fields the service gets.
fn filled(value: &TextValue, texts: &[String]) -> Result<Values, Vec<SchemaFault>> {
    let comes_back = |text: &[u8]| match value {
        TextValue::One(_) => trimmed(text) == text,
        TextValue::Many { .. } => split(text).eq([text]) && is_one_item(text),
    };
    let field = |text: &String| {
        let bytes = text.as_bytes();
        HeaderValue::from_bytes(bytes).ok().filter(|_| comes_back(bytes))
    };
    let fields: Option<Values> = texts.iter().map(field).collect();
    fields.ok_or_else(|| vec![fault(&["default"], "the default cannot be sent in a header field")])
}

/// A field with this value, which is a part of the client's or one that every header may have.
fn written(value: &str, field: &HeaderValue) -> Option<HeaderValue> {
    if value.as_bytes() == field.as_bytes() {
        return Some(field.clone());
    }
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// The items of one field's list.
fn split(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b',').map(trimmed).filter(|item| !item.is_empty())
}

/// Whether a reader that knows quotes finds the same end of this item as one that does not.
fn is_one_item(item: &[u8]) -> bool {
    let quotes = item.iter().filter(|byte| **byte == b'"').count();
    quotes == 0 || (quotes % 2 == 0 && !item.contains(&b'\\'))
}

/// Without the optional white space of RFC 9110 section 5.6.3.
pub(super) fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

pub(super) fn decoded<'a>(raw: &'a [u8], at: &At<'_>, violations: &mut Violations) -> Option<&'a str> {
    let text = std::str::from_utf8(raw).ok();
    if text.is_none() {
        violations.push(at, Kind::StringUnicode, "must be UTF-8");
    }
    text
}
