//! `name=value&name=value`: a query or an urlencoded form, checked and written again.
//!
//! Only `&` separates. `+` and `%20` are a space, a name without `=` has the empty value. Declared parameters come out
//! in the order of declaration in one encoding: everything but `A-Z a-z 0-9 - . _ ~` as `%XX`, and a space as `%20` in
//! a query, `+` in a form. A form field with an empty value counts as absent.
//!
//! A name is compared after decoding. One whose escapes are broken is never a declared one. Undeclared pairs that are
//! forwarded come last, byte for byte in the client's order; the service may read more into them than stands there (a
//! `;`, a `[]`), which is what `undeclared: forward` means.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use smallvec::SmallVec;

use super::Undeclared;
use super::parameter::{Absent, TextParameter};
use super::schema::{EXTRA, MISSING, Schema};
use super::text::{Text, TextValue};
use super::types::Scalar;
use super::violation::{At, ViolationKind as Kind, Violations};

/// The most pairs of a query or form.
pub const MAX_PAIRS: usize = 1000;

/// From this many declared parameters on, a name is hashed instead of compared with each.
const HASHED_FROM: usize = 12;

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The two places of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Query,
    Form,
}

/// The declared parameters of a query or form.
#[derive(Debug)]
pub(super) struct Pairs {
    style: Style,
    parameters: Vec<TextParameter>,
    /// Only when there are many.
    by_name: HashMap<Box<[u8]>, usize, ahash::RandomState>,
    undeclared: Undeclared,
}

/// What the client sent, sorted by what it is for; all borrowed.
struct Sent<'a> {
    /// The last value of each parameter.
    last: SmallVec<[Option<&'a [u8]>; 8]>,
    /// Every value of the parameters that are arrays.
    all: SmallVec<[(usize, &'a [u8]); 8]>,
    /// Undeclared pairs to forward.
    forwarded: SmallVec<[&'a str; 4]>,
}

impl Pairs {
    pub(super) fn new(style: Style, parameters: Vec<TextParameter>, undeclared: Undeclared) -> Self {
        let hashed = parameters.len() >= HASHED_FROM;
        let names = parameters.iter().enumerate().filter(|_| hashed);
        let by_name = names.map(|(index, parameter)| (parameter.name.as_bytes().into(), index)).collect();
        Self { style, parameters, by_name, undeclared }
    }

    /// The declared parameters, in order.
    pub(super) fn parameters(&self) -> &[TextParameter] {
        &self.parameters
    }

    /// Checks the client's pairs and appends what the service gets. `out` is as before when there are violations.
    pub(super) fn check(&self, raw: &[u8], out: &mut String, violations: &mut Violations) {
        let source = match self.style {
            Style::Query => At::QUERY,
            Style::Form => At::BODY,
        };
        if self.parameters.is_empty() && self.undeclared == Undeclared::Drop {
            return;
        }
        let (start, before) = (out.len(), violations.len());
        let Some(sent) = self.sort(raw, &source, violations) else { return };
        let mut writer = Writer { out, start, style: self.style };
        for (index, parameter) in self.parameters.iter().enumerate() {
            let at = source.name(&parameter.name);
            match &parameter.value {
                TextValue::One(text) => one(parameter, text, sent.last[index], decoded, &mut writer, &at, violations),
                TextValue::Many { item, list } => {
                    let values = sent.all.iter().filter(|(of, _)| *of == index).map(|(_, value)| *value);
                    many(parameter, item, list, values, decoded, &mut writer, &at, violations);
                }
            }
        }
        for pair in sent.forwarded {
            writer.raw(pair);
        }
        if violations.len() > before {
            out.truncate(start);
        }
    }

    /// What happens to names that are not declared.
    pub(super) fn undeclared_are(&self) -> Undeclared {
        self.undeclared
    }

    fn sort<'a>(&self, raw: &'a [u8], source: &At<'_>, violations: &mut Violations) -> Option<Sent<'a>> {
        let mut sent = Sent { last: SmallVec::new(), all: SmallVec::new(), forwarded: SmallVec::new() };
        sent.last.resize(self.parameters.len(), None);
        for (count, pair) in raw.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).enumerate() {
            if count == MAX_PAIRS {
                violations.push(source, Kind::TooLong, format!("must have at most {MAX_PAIRS} parameters"));
                return None;
            }
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or_default());
            let Some(index) = self.find(name) else {
                self.undeclared(name, pair, source, &mut sent, violations);
                continue;
            };
            if self.style == Style::Form && value.is_empty() {
                sent.last[index] = None;
                continue;
            }
            sent.last[index] = Some(value);
            if matches!(self.parameters[index].value, TextValue::Many { .. }) {
                sent.all.push((index, value));
            }
        }
        Some(sent)
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let name = unescape(name)?;
        if self.by_name.is_empty() {
            return self.parameters.iter().position(|parameter| parameter.name.as_bytes() == &*name);
        }
        self.by_name.get(&*name).copied()
    }

    fn undeclared<'a>(
        &self,
        name: &[u8],
        pair: &'a [u8],
        source: &At<'_>,
        sent: &mut Sent<'a>,
        violations: &mut Violations,
    ) {
        if self.undeclared == Undeclared::Drop {
            return;
        }
        let shown = unescape(name).unwrap_or(Cow::Borrowed(name));
        let shown = String::from_utf8_lossy(&shown);
        if self.undeclared == Undeclared::Reject {
            return violations.push(&source.name(&shown), Kind::ExtraForbidden, EXTRA);
        }
        let text = std::str::from_utf8(pair).ok().filter(|_| pair.iter().all(|byte| self.style.may_hold(*byte)));
        match text {
            Some(text) => sent.forwarded.push(text),
            None => {
                violations.push(&source.name(&shown), Kind::StringUnicode, "must be UTF-8 without control characters")
            }
        }
    }
}

impl Style {
    /// Whether a byte may be forwarded as it came.
    fn may_hold(self, byte: u8) -> bool {
        match self {
            // A space or a `#` would end the query in the request line.
            Self::Query => byte > b' ' && byte != 0x7f && byte != b'#',
            Self::Form => !byte.is_ascii_control(),
        }
    }
}

/// Where the values of parameters go.
pub(super) trait Sink {
    /// The next value, in its canonical form.
    fn value(&mut self, parameter: &TextParameter, value: &str);
    /// The default of an absent parameter, encoded.
    fn filled(&mut self, pairs: &str);
}

/// Checks a parameter that has one value. `read` makes text of what was sent, or takes down why it is none.
pub(super) fn one<'a, T>(
    parameter: &TextParameter,
    text: &Text,
    sent: Option<T>,
    read: impl Fn(T, &At<'_>, &mut Violations) -> Option<Cow<'a, str>>,
    out: &mut impl Sink,
    at: &At<'_>,
    violations: &mut Violations,
) {
    let Some(raw) = sent else { return absent(parameter, out, at, violations) };
    let Some(value) = read(raw, at, violations) else { return };
    let value = text.check(&value, at, violations);
    out.value(parameter, value.as_text());
}

/// Checks a parameter that has a list of values.
#[expect(clippy::too_many_arguments, reason = "the parts of a parameter, borrowed by its caller")]
pub(super) fn many<'a, T>(
    parameter: &TextParameter,
    item: &Text,
    list: &Schema,
    sent: impl Iterator<Item = T>,
    read: impl Fn(T, &At<'_>, &mut Violations) -> Option<Cow<'a, str>>,
    out: &mut impl Sink,
    at: &At<'_>,
    violations: &mut Violations,
) {
    let before = violations.len();
    let mut whole = Vec::new();
    let mut count = 0;
    for (index, raw) in sent.enumerate() {
        count += 1;
        let at = at.index(index);
        let Some(value) = read(raw, &at, violations) else { continue };
        let value: Scalar<'_> = item.check(&value, &at, violations);
        out.value(parameter, value.as_text());
        if list.needs_whole_array() {
            whole.push(value.to_value());
        }
    }
    if count == 0 {
        return absent(parameter, out, at, violations);
    }
    list.check_count(count, at, violations);
    if list.needs_whole_array() && violations.len() == before {
        list.check(&Value::Array(whole), at, violations);
    }
}

fn absent(parameter: &TextParameter, out: &mut impl Sink, at: &At<'_>, violations: &mut Violations) {
    match &parameter.absent {
        Absent::Violation => violations.push(at, Kind::Missing, MISSING),
        Absent::LeftOut => {}
        Absent::Filled(pairs) => out.filled(pairs),
    }
}

fn decoded<'a>(raw: &'a [u8], at: &At<'_>, violations: &mut Violations) -> Option<Cow<'a, str>> {
    let text = match unescape(raw) {
        Some(Cow::Borrowed(bytes)) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Some(Cow::Owned(bytes)) => String::from_utf8(bytes).ok().map(Cow::Owned),
        None => None,
    };
    if text.is_none() {
        violations.push(at, Kind::StringUnicode, "must be percent-encoded UTF-8");
    }
    text
}

/// Undoes `+` and `%XX`; nothing when an escape is broken.
fn unescape(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = raw.iter().position(|byte| matches!(byte, b'%' | b'+')) else { return Some(Cow::Borrowed(raw)) };
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(&raw[..first]);
    let mut rest = raw[first..].iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            plain => *plain,
        });
    }
    Some(Cow::Owned(out))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Appends `text` in the one encoding of its place.
pub(super) fn encode(text: &str, style: Style, out: &mut String) {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')) {
        return out.push_str(text);
    }
    match style {
        Style::Query => out.extend(utf8_percent_encode(text, ENCODED)),
        Style::Form => {
            for (index, word) in text.split(' ').enumerate() {
                if index > 0 {
                    out.push('+');
                }
                out.extend(utf8_percent_encode(word, ENCODED));
            }
        }
    }
}

/// Writes pairs with `&` between them.
struct Writer<'o> {
    out: &'o mut String,
    start: usize,
    style: Style,
}

impl Writer<'_> {
    fn raw(&mut self, pairs: &str) {
        if pairs.is_empty() {
            return;
        }
        if self.out.len() > self.start {
            self.out.push('&');
        }
        self.out.push_str(pairs);
    }
}

impl Sink for Writer<'_> {
    fn value(&mut self, parameter: &TextParameter, value: &str) {
        self.raw(&parameter.key);
        encode(value, self.style, self.out);
    }

    fn filled(&mut self, pairs: &str) {
        self.raw(pairs);
    }
}
