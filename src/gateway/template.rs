//! Gateway paths: the templates clients' paths are matched with.
//!
//! `/users/{id}`, `/v{version}/report-{id}.json`, `/files/{*rest}`. A parameter stands for one or more characters of
//! one segment; several may share a segment when there is text between them. The catch-all is a whole last segment
//! and stands for the rest of the path, which may be empty: `/files/{*rest}` matches `/files/`, not `/files`.
//!
//! Literals are held to the same hygiene as request paths and brought to the same spelling ([`crate::policy::path`]):
//! a template that no admitted request could match is refused here, with what would be right.
//!
//! Does not decide which of two templates wins; see [`crate::gateway::router`].

mod segment;

use std::fmt::Write;

use thiserror::Error;

use crate::policy::path::{self, PathFault, RequestPath};

pub use segment::Captures;
pub(crate) use segment::{Pattern, Segment};

/// More would only serve to make matching deep.
const MAX_SEGMENTS: usize = 128;

/// A gateway path.
///
/// Invariant: at least one segment; names are distinct; only the last segment is a catch-all or an empty literal.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
    names: Vec<String>,
}

/// What is wrong with a template, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TemplateFault {
    /// A sentence without a final dot.
    pub message: String,
}

impl Template {
    /// Reads a gateway path.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let pieces = pieces(text)?;
        check_clean(&pieces)?;
        let mut names = Vec::new();
        for piece in &pieces {
            match piece {
                Piece::Literal(literal) => check_gateway_literal(literal)?,
                Piece::Name { name, .. } if names.iter().any(|known| known == name) => {
                    return Err(fault(format!("parameter `{name}` stands here twice: give each its own name")));
                }
                Piece::Name { name, .. } => names.push((*name).to_owned()),
            }
        }
        Ok(Self { text: text.to_owned(), segments: segments(&pieces)?, names })
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its parameters from left to right; captures come in the same order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of the catch-all, which is the last of [`Self::names`].
    pub fn catch_all(&self) -> Option<&str> {
        match self.segments.last() {
            Some(Segment::CatchAll) => self.names.last().map(String::as_str),
            _ => None,
        }
    }

    /// The template with positions instead of names: templates of one shape match the same paths.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        let mut position = 0;
        for segment in &self.segments {
            shape.push('/');
            match segment {
                Segment::Literal(literal) => shape.push_str(literal),
                Segment::CatchAll => write_position(&mut shape, "{*", position),
                Segment::Pattern(pattern) => {
                    shape.push_str(&pattern.prefix);
                    for literal in &pattern.inner {
                        write_position(&mut shape, "{", position);
                        shape.push_str(literal);
                        position += 1;
                    }
                    write_position(&mut shape, "{", position);
                    shape.push_str(&pattern.suffix);
                    position += 1;
                }
            }
        }
        shape
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// A part of a template's text.
pub(super) enum Piece<'t> {
    Literal(&'t str),
    Name { name: &'t str, kind: Kind },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `{name}`
    Plain,
    /// `{*name}`
    CatchAll,
}

pub(super) fn fault(message: impl Into<String>) -> TemplateFault {
    TemplateFault { message: message.into() }
}

/// Cuts a template at its braces. Two parameters always have a literal between them.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateFault> {
    if !text.starts_with('/') {
        return Err(fault(format!("a path begins with `/`: write `/{text}`")));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let literal = rest.find(['{', '}']).map_or(rest, |at| &rest[..at]);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        } else if let Some(Piece::Name { name, .. }) = pieces.last()
            && rest.starts_with('{')
        {
            return Err(fault(format!("nothing separates parameter `{name}` from the next: put text between them")));
        }
        rest = &rest[literal.len()..];
        if rest.is_empty() {
            break;
        }
        let Some(inside) = rest.strip_prefix('{') else {
            return Err(fault("`}` without `{` before it: a literal brace is written `%7D`"));
        };
        let Some((inside, after)) = inside.split_once('}') else {
            return Err(fault("`{` without `}` after it: a literal brace is written `%7B`"));
        };
        pieces.push(name_piece(inside)?);
        rest = after;
    }
    Ok(pieces)
}

fn name_piece(inside: &str) -> Result<Piece<'_>, TemplateFault> {
    let (name, kind) = match inside.strip_prefix('*') {
        Some(name) => (name, Kind::CatchAll),
        None => (inside, Kind::Plain),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(Piece::Name { name, kind });
    }
    if let Some((name, "path")) = inside.split_once(':') {
        return Err(fault(format!("`{{{name}:path}}` is written `{{*{name}}}`")));
    }
    Err(fault(format!("`{{{inside}}}` is no parameter: a name has letters, digits and `_` and begins with no digit")))
}

fn check_gateway_literal(literal: &str) -> Result<(), TemplateFault> {
    if literal.contains('?') {
        return Err(fault("a gateway path has no query: declare its parameters under `query_params`"));
    }
    if literal.contains('#') {
        return Err(fault("a fragment never reaches a server: a literal `#` is written `%23`"));
    }
    Ok(())
}

/// Holds the path part of a template to what a request path must be.
pub(super) fn check_clean(pieces: &[Piece<'_>]) -> Result<(), TemplateFault> {
    let mut sample = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => {
                check_characters(literal)?;
                sample.push_str(literal);
            }
            // No hexadecimal digit, so that `%4{x}` is a broken escape.
            Piece::Name { .. } => sample.push('x'),
        }
    }
    match RequestPath::parse(&sample) {
        Ok(_) | Err(PathFault::Delimiter) => Ok(()), // that one has a better message per kind of path
        Err(found) => Err(fault(remedy(found))),
    }
}

/// Characters that a URL holds only as escapes: written raw, they are a mistake or hard to read.
pub(super) fn check_characters(literal: &str) -> Result<(), TemplateFault> {
    for character in literal.chars() {
        let raw = character == ' ' || "\"<>^`|[]".contains(character) || !character.is_ascii();
        if raw {
            let mut bytes = [0; 4];
            let escapes = character
                .encode_utf8(&mut bytes)
                .bytes()
                .map(percent_encoding::percent_encode_byte)
                .collect::<String>();
            return Err(fault(format!("`{character}` cannot stand in a path: write `{escapes}`")));
        }
    }
    Ok(())
}

fn remedy(found: PathFault) -> &'static str {
    match found {
        PathFault::NotAbsolute => "a path begins with `/`",
        PathFault::EmptySegment => "paths with `//` are refused: write one `/`",
        PathFault::DotSegment => "paths with `.` or `..` segments are refused: write the path they lead to",
        PathFault::Backslash => "paths with `\\` are refused: write `/`, or `%5C` for a literal backslash",
        PathFault::Delimiter => "a path holds no `?` and no `#`: write `%3F` or `%23`",
        PathFault::Nul | PathFault::ControlCharacter => "paths with control characters are refused: leave them out",
        PathFault::BrokenEscape => "`%` begins an escape of two hexadecimal digits: a literal `%` is written `%25`",
        PathFault::NotUtf8 => "the escapes of each literal part must be whole UTF-8 characters, like `%C3%A9`",
    }
}

/// Puts the pieces together by segment.
fn segments(pieces: &[Piece<'_>]) -> Result<Vec<Segment>, TemplateFault> {
    let mut segments = Vec::new();
    let mut open = OpenSegment::default();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(literal) => {
                let literal = path::normalise(literal).map_err(|found| fault(remedy(found)))?;
                // The very first `/` closes nothing.
                let literal = if at == 0 { literal.strip_prefix('/').unwrap_or(&literal) } else { &literal };
                for (nth, text) in literal.split('/').enumerate() {
                    if nth > 0 {
                        segments.push(std::mem::take(&mut open).close(Position::Inner)?);
                    }
                    open.push_text(text);
                }
            }
            Piece::Name { kind, .. } => open.push_name(*kind),
        }
    }
    segments.push(open.close(Position::Last)?);
    if segments.len() > MAX_SEGMENTS {
        return Err(fault(format!("a path has {} segments: at most {MAX_SEGMENTS} are matched", segments.len())));
    }
    Ok(segments)
}

/// A segment while its pieces come in.
#[derive(Default)]
struct OpenSegment {
    prefix: String,
    /// Each parameter's kind and the text after it.
    parameters: Vec<(Kind, String)>,
}

impl OpenSegment {
    fn push_text(&mut self, text: &str) {
        match self.parameters.last_mut() {
            Some((_, after)) => after.push_str(text),
            None => self.prefix.push_str(text),
        }
    }

    fn push_name(&mut self, kind: Kind) {
        self.parameters.push((kind, String::new()));
    }

    fn close(self, position: Position) -> Result<Segment, TemplateFault> {
        let Self { prefix, mut parameters } = self;
        if parameters.iter().any(|(kind, _)| *kind == Kind::CatchAll) {
            let alone = prefix.is_empty() && parameters.len() == 1 && parameters[0].1.is_empty();
            if !alone || position == Position::Inner {
                return Err(fault("a catch-all is the whole last segment, as in `/files/{*rest}`"));
            }
            return Ok(Segment::CatchAll);
        }
        let Some((_, suffix)) = parameters.pop() else { return Ok(Segment::Literal(prefix.into())) };
        let inner = parameters.into_iter().map(|(_, literal)| literal.into()).collect();
        Ok(Segment::Pattern(Pattern { prefix: prefix.into(), inner, suffix: suffix.into() }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Inner,
    Last,
}

fn write_position(shape: &mut String, opening: &str, position: usize) {
    let _ = write!(shape, "{opening}{position}}}");
}

#[cfg(test)]
mod tests;
