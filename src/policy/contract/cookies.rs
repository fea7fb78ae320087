//! Typed cookies: the pairs of the `Cookie` fields, checked and written again as one field.
//!
//! Names are told apart by letter case. A declared cookie has one value of RFC 6265's `cookie-octet`s (printable
//! ASCII without space, `"`, `,`, `;` and `\`); a pair of double quotes around it is taken off, since servers do not
//! agree whether it belongs to the value, and escapes are left to the service. One that comes twice is a violation:
//! browsers send several for different paths, and servers do not agree which one counts. A pair without `=` that is
//! a declared name is that cookie with the empty value.
//!
//! Declared cookies come first, in the order of declaration; then, where undeclared ones are forwarded, the others as
//! they came. Cookies that carry an API key are not seen here at all, as they are no parameters.

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};
use smallvec::SmallVec;

use super::Undeclared;
use super::fields::{Absent, ONCE, decoded, trimmed};
use super::grammar::{SchemaFault, fault};
use super::pairs::MAX_PAIRS;
use super::parameter::{Declared, Lists, text_value};
use super::schema::{EXTRA, MISSING};
use super::text::{Text, TextValue};
use super::violation::{At, ViolationKind as Kind, Violations};

/// The declared cookies of a route.
#[derive(Debug)]
pub struct CookieContract {
    parameters: Vec<CookieParameter>,
    undeclared: Undeclared,
    hidden: Vec<Box<str>>,
}

/// A compiled cookie.
#[derive(Debug)]
pub struct CookieParameter {
    name: Box<str>,
    text: Text,
    absent: Absent<String>,
}

/// What the client sent, sorted by what it is for.
struct Sent<'a> {
    /// The value of each parameter.
    declared: SmallVec<[Option<&'a [u8]>; 8]>,
    /// Undeclared pairs to forward.
    forwarded: SmallVec<[&'a [u8]; 4]>,
}

impl CookieContract {
    /// A contract of these cookies, in order of declaration. `hidden` names those that carry a key.
    pub fn new(parameters: Vec<CookieParameter>, undeclared: Undeclared, hidden: Vec<Box<str>>) -> Self {
        Self { parameters, undeclared, hidden }
    }

    /// The one field that the service gets; nothing when no cookie is to be sent.
    pub(super) fn check(&self, headers: &HeaderMap, violations: &mut Violations) -> Option<HeaderValue> {
        let sent = self.sort(headers, violations)?;
        let mut out = Vec::new();
        for (parameter, sent) in self.parameters.iter().zip(&sent.declared) {
            let source = At::COOKIE;
            parameter.check(*sent, &mut out, &source.name(&parameter.name), violations);
        }
        for pair in sent.forwarded {
            separate(&mut out);
            out.extend_from_slice(pair);
        }
        // Made of parts of header values and of names that were checked at load.
        if out.is_empty() { None } else { HeaderValue::from_maybe_shared(bytes::Bytes::from(out)).ok() }
    }

    fn sort<'a>(&self, headers: &'a HeaderMap, violations: &mut Violations) -> Option<Sent<'a>> {
        let mut sent = Sent { declared: SmallVec::new(), forwarded: SmallVec::new() };
        sent.declared.resize(self.parameters.len(), None);
        let source = At::COOKIE;
        let fields = headers.get_all(COOKIE).iter();
        let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(trimmed);
        for (count, pair) in pairs.filter(|pair| !pair.is_empty()).enumerate() {
            if count == MAX_PAIRS {
                violations.push(&source, Kind::TooLong, format!("must have at most {MAX_PAIRS} cookies"));
                return None;
            }
            let equals = pair.iter().position(|byte| *byte == b'=');
            let name = trimmed(&pair[..equals.unwrap_or(pair.len())]);
            if self.hidden.iter().any(|hidden| hidden.as_bytes() == name) {
                continue;
            }
            let value = equals.map_or(&b""[..], |equals| trimmed(&pair[equals + 1..]));
            match self.parameters.iter().position(|parameter| parameter.name.as_bytes() == name) {
                None => {
                    // Browsers take a pair without `=` for a value without a name: it is not repeated.
                    let shown = if equals.is_some() { String::from_utf8_lossy(name) } else { "".into() };
                    self.undeclared(pair, &source.name(&shown), &mut sent, violations);
                }
                Some(index) if sent.declared[index].is_some() => {
                    violations.push(&source.name(&self.parameters[index].name), Kind::ValueError, ONCE);
                }
                Some(index) => sent.declared[index] = Some(value),
            }
        }
        Some(sent)
    }

    fn undeclared<'a>(&self, pair: &'a [u8], at: &At<'_>, sent: &mut Sent<'a>, violations: &mut Violations) {
        match self.undeclared {
            Undeclared::Drop => {}
            Undeclared::Reject => violations.push(at, Kind::ExtraForbidden, EXTRA),
            Undeclared::Forward => sent.forwarded.push(pair),
        }
    }
}

impl CookieParameter {
    /// Compiles a parameter, or says everything that is wrong with it.
    pub fn compile(declared: Declared<'_>) -> Result<Self, Vec<SchemaFault>> {
        let (value, default) = text_value(Lists::Refused, declared, None)?;
        let TextValue::One(text) = value else {
            return Err(vec![fault(&["type"], "a cookie has one value")]);
        };
        let absent = match default.map(|texts| texts.concat()) {
            Some(text) if text.bytes().all(is_octet) => Absent::Filled(text),
            Some(_) => return Err(vec![fault(&["default"], "the default cannot be sent in a cookie")]),
            None if declared.optional => Absent::LeftOut,
            None => Absent::Violation,
        };
        Ok(Self { name: declared.name.into(), text, absent })
    }

    fn check(&self, sent: Option<&[u8]>, out: &mut Vec<u8>, at: &At<'_>, violations: &mut Violations) {
        let Some(raw) = sent else {
            match &self.absent {
                Absent::Violation => violations.push(at, Kind::Missing, MISSING),
                Absent::LeftOut => {}
                Absent::Filled(text) => self.write(text, out),
            }
            return;
        };
        let raw = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(raw);
        let before = violations.len();
        let Some(value) = decoded(raw, at, violations) else { return };
        let checked = self.text.check(value, at, violations).as_text();
        if violations.len() == before && !value.bytes().all(is_octet) {
            return violations.push(at, Kind::ValueError, "must be ASCII without space, `\"`, `,` and `\\`");
        }
        self.write(checked, out);
    }

    fn write(&self, value: &str, out: &mut Vec<u8>) {
        separate(out);
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
    }
}

fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.extend_from_slice(b"; ");
    }
}

/// RFC 6265 section 4.1.1.
fn is_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}
