//! Service paths: the templates that values are put into on the way to a service.
//!
//! `/v1/users/{id}?expand={expand}`. Every name must be one of the gateway path's; a query may follow the path. A
//! value is percent-encoded for the place where it lands and never read as a template: in a path segment a `/` becomes
//! `%2F`, in the place of a catch-all it stays, in a query everything but unreserved characters is escaped.
//!
//! What comes out is held to the hygiene of request paths ([`crate::policy::path`]): a value that would make a dot
//! segment, an empty segment or a control character in the path is a fault of the request, and nothing is written.
//!
//! Does not add declared query parameters; those are appended to what [`ServicePath::expand`] wrote.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::gateway::template::{Kind, Piece, Template, TemplateFault, check_characters, check_clean, fault, pieces};
use crate::policy::path::{self, PathFault, RequestPath};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const SEGMENT: &AsciiSet = &UNRESERVED
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');
const SEGMENTS: &AsciiSet = &SEGMENT.remove(b'/');

/// The path, and perhaps query, that a service gets.
#[derive(Debug, Clone)]
pub struct ServicePath {
    text: Text,
    query: Query,
    query_names: Box<[Box<str>]>,
}

/// A parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    /// As captured from a request path: normalised and still encoded. An encoded slash stays one.
    Captured(&'v str),
    /// Plain text.
    Decoded(&'v str),
}

#[derive(Debug, Clone)]
enum Text {
    Literal(Box<str>),
    Parts { path: Box<[Part]>, query: Box<[Part]> },
}

#[derive(Debug, Clone)]
enum Part {
    Literal(Box<str>),
    /// Index into the gateway path's names.
    Value(usize, Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Segment,
    /// Of a catch-all: its slashes separate segments.
    Segments,
    Query,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Query {
    Absent,
    Present,
}

impl ServicePath {
    /// Reads a service path whose names are those of `gateway_path`. The gateway path's own text is one: `{*rest}` may
    /// be written for `{rest}`.
    pub fn parse(text: &str, gateway_path: &Template) -> Result<Self, TemplateFault> {
        if text.contains('#') {
            return Err(fault("a fragment never reaches a server: a literal `#` is written `%23`"));
        }
        let (path, query) = split_query(pieces(text)?);
        check_clean(&path)?;
        check_query(&query)?;
        let has_query = if text.contains('?') { Query::Present } else { Query::Absent };
        let query_names = query_names(text);
        let path = parts(&path, gateway_path, Side::Path)?;
        let query = parts(&query, gateway_path, Side::Query)?;
        let text = match (&*path, &*query) {
            ([Part::Literal(path)], []) => Text::Literal(path.clone()),
            ([Part::Literal(path)], [Part::Literal(query)]) => Text::Literal(format!("{path}{query}").into()),
            _ => Text::Parts { path, query },
        };
        Ok(Self { text, query: has_query, query_names })
    }

    /// The whole text when it has no parameters.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.text {
            Text::Literal(literal) => Some(literal),
            Text::Parts { .. } => None,
        }
    }

    /// Whether a further query parameter follows a `&` (or nothing, after a bare `?`) rather than a `?`.
    pub fn has_query(&self) -> bool {
        self.query == Query::Present
    }

    /// The query parameters that are set here. A client's copies must not follow them: which one counts, services do
    /// not agree on.
    pub fn query_names(&self) -> &[Box<str>] {
        &self.query_names
    }

    /// Appends the path with each name's value, given by its index in the gateway path's names. Appends nothing
    /// when a value has no place in a path.
    pub fn expand<'v>(&self, values: impl Fn(usize) -> Value<'v>, out: &mut String) -> Result<(), PathFault> {
        let (path, query) = match &self.text {
            Text::Literal(literal) => {
                out.push_str(literal);
                return Ok(());
            }
            Text::Parts { path, query } => (path, query),
        };
        let start = out.len();
        let written = write_parts(path, &values, out)
            .and_then(|()| RequestPath::parse(&out[start..]).map(drop))
            .and_then(|()| write_parts(query, &values, out));
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}

fn write_parts<'v>(parts: &[Part], values: &impl Fn(usize) -> Value<'v>, out: &mut String) -> Result<(), PathFault> {
    for part in parts {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Value(index, place) => write_value(values(*index), *place, out)?,
        }
    }
    Ok(())
}

fn write_value(value: Value<'_>, place: Place, out: &mut String) -> Result<(), PathFault> {
    let set = match place {
        Place::Segment => SEGMENT,
        Place::Segments => SEGMENTS,
        Place::Query => UNRESERVED,
    };
    match (value, place) {
        // No request has such a value: `/v1/{id}` would become another route of the service.
        (Value::Captured("") | Value::Decoded(""), Place::Segment) => return Err(PathFault::EmptySegment),
        (Value::Decoded(text), _) => out.extend(utf8_percent_encode(text, set)),
        // It is made of the characters of a path, of one segment unless it is a catch-all's.
        (Value::Captured(text), Place::Segment | Place::Segments) => out.push_str(text),
        (Value::Captured(text), Place::Query) => {
            // Escapes are copied; what is between them is encoded for this place.
            for (nth, text) in text.split('%').enumerate() {
                if nth > 0 {
                    out.push('%');
                }
                out.extend(utf8_percent_encode(text, set));
            }
        }
    }
    Ok(())
}

/// The literal names in the query of a template.
fn query_names(text: &str) -> Box<[Box<str>]> {
    let (_, query) = text.split_once('?').unwrap_or_default();
    let names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned());
    names.filter(|name| !name.contains(['{', '}'])).map(Into::into).collect()
}

enum Side {
    Path,
    Query,
}

/// The pieces before the first `?` and those from it on.
fn split_query(pieces: Vec<Piece<'_>>) -> (Vec<Piece<'_>>, Vec<Piece<'_>>) {
    let mut path = Vec::new();
    let mut query = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) if query.is_empty() => {
                let (before, after) = literal.split_at(literal.find('?').unwrap_or(literal.len()));
                path.extend((!before.is_empty()).then_some(Piece::Literal(before)));
                query.extend((!after.is_empty()).then_some(Piece::Literal(after)));
            }
            piece if query.is_empty() => path.push(piece),
            piece => query.push(piece),
        }
    }
    (path, query)
}

fn check_query(query: &[Piece<'_>]) -> Result<(), TemplateFault> {
    for piece in query {
        let Piece::Literal(literal) = piece else { continue };
        check_characters(literal)?;
        if literal.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
            return Err(fault("a query holds no control characters and no `\\`: write `%5C` for a literal backslash"));
        }
        let broken = literal.split('%').skip(1).any(
            |rest| !matches!(rest.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
        );
        if broken {
            return Err(fault("`%` begins an escape of two hexadecimal digits: a literal `%` is written `%25`"));
        }
    }
    Ok(())
}

fn parts(pieces: &[Piece<'_>], gateway_path: &Template, side: Side) -> Result<Box<[Part]>, TemplateFault> {
    pieces
        .iter()
        .map(|piece| match (piece, &side) {
            (Piece::Literal(literal), Side::Query) => Ok(Part::Literal((*literal).into())),
            (Piece::Literal(literal), Side::Path) => {
                let literal = path::normalise(literal).map_err(|found| fault(found.to_string()))?;
                Ok(Part::Literal(literal.into()))
            }
            (Piece::Name { name, kind }, side) => value_part(name, *kind, gateway_path, side),
        })
        .collect()
}

fn value_part(name: &str, kind: Kind, gateway_path: &Template, side: &Side) -> Result<Part, TemplateFault> {
    let Some(index) = gateway_path.names().iter().position(|known| known == name) else {
        let known = gateway_path.names().iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "no parameters".to_owned() } else { known };
        return Err(fault(format!("unknown parameter `{name}`: the gateway path has {known}")));
    };
    let is_rest = gateway_path.catch_all() == Some(name);
    if kind == Kind::CatchAll && !is_rest {
        return Err(fault(format!("`{name}` is no catch-all of the gateway path: write `{{{name}}}`")));
    }
    let place = match side {
        Side::Query => Place::Query,
        Side::Path if is_rest => Place::Segments,
        Side::Path => Place::Segment,
    };
    Ok(Part::Value(index, place))
}

#[cfg(test)]
mod tests;
