//! Path hygiene: which request paths are matched at all, and in which spelling.
//!
//! A gateway and the service behind it must read a path alike, or a route's policies are walked around. So whatever
//! two servers could read differently is refused here (`.` and `..` segments however written, `//`, `\`, control
//! characters, broken escapes, bytes that are not UTF-8), and what is only another spelling is made one: escapes of
//! unreserved characters are decoded, all others get upper-case digits, and characters that must be escaped are.
//! Escapes are decoded exactly once: `%252e` is the text `%2e`, and stays it.
//!
//! `%2F` and `%5C` are remembered, not refused: a route decides (`encoded_slash`). They count as slashes where a dot
//! segment is looked for, because a service may decode them.
//!
//! Does not resolve anything: a path is taken as it is or refused. Does not know the query.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Evidence that a request path passed hygiene.
///
/// Invariant: the text is absolute, ASCII, made of RFC 3986 path characters with every `%` at the head of a whole
/// upper-case escape, decodes to UTF-8 without control characters, and has neither dot segments nor an empty segment
/// (the last one may be empty: a trailing slash).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    normalised: Cow<'a, str>,
    slashes: EncodedSlashes,
}

/// Why a request path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum PathFault {
    /// It does not begin with `/`.
    #[error("path does not begin with `/`")]
    NotAbsolute,
    /// `//`.
    #[error("path has an empty segment")]
    EmptySegment,
    /// A segment `.` or `..`, in any spelling, also before an encoded slash or with `;` parameters.
    #[error("path has a dot segment")]
    DotSegment,
    /// A raw `\`.
    #[error("path has a backslash")]
    Backslash,
    /// A raw `?` or `#`: these end a path and cannot stand inside one.
    #[error("path has a raw `?` or `#`")]
    Delimiter,
    /// The NUL character, raw or encoded.
    #[error("path has a NUL character")]
    Nul,
    /// Another ASCII control character, raw or encoded.
    #[error("path has a control character")]
    ControlCharacter,
    /// A `%` without two hexadecimal digits.
    #[error("path has a broken percent-escape")]
    BrokenEscape,
    /// The decoded bytes are not UTF-8.
    #[error("path is not UTF-8 when decoded")]
    NotUtf8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EncodedSlashes {
    Absent,
    Present,
}

impl<'a> RequestPath<'a> {
    /// Checks the path of a request, as received and without its query. A path that is already in its one spelling
    /// is borrowed.
    pub fn parse(raw: &'a str) -> Result<Self, PathFault> {
        if !raw.starts_with('/') {
            return Err(PathFault::NotAbsolute);
        }
        match scan_plain(raw.as_bytes())? {
            Scan::Plain => Ok(Self { normalised: Cow::Borrowed(raw), slashes: EncodedSlashes::Absent }),
            Scan::NeedsDecoding => Self::parse_encoded(raw),
        }
    }

    /// The path in its one spelling, still encoded.
    pub fn as_str(&self) -> &str {
        &self.normalised
    }

    /// Whether a segment holds `%2F` or `%5C`.
    pub fn has_encoded_slash(&self) -> bool {
        self.slashes == EncodedSlashes::Present
    }

    fn parse_encoded(raw: &'a str) -> Result<Self, PathFault> {
        let normalised = normalise(raw)?;
        let slashes = check_segments(normalised.as_bytes())?;
        if !decodes_to_utf8(&normalised) {
            return Err(PathFault::NotUtf8);
        }
        Ok(Self { normalised, slashes })
    }
}

/// The text of a captured value. Captures of a [`RequestPath`] are always UTF-8 when decoded; of any other text,
/// broken bytes become U+FFFD.
pub fn decode_segment(encoded: &str) -> Cow<'_, str> {
    if !encoded.as_bytes().contains(&b'%') {
        return Cow::Borrowed(encoded);
    }
    percent_decode_str(encoded).decode_utf8_lossy()
}

enum Scan {
    Plain,
    NeedsDecoding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stands for itself.
    Plain,
    Slash,
    /// `%`.
    Escape,
    /// Must be escaped: what RFC 3986 does not allow in a path.
    Unescaped,
    Fault(PathFault),
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Unescaped; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class_of(byte as u8);
        byte += 1;
    }
    classes
};

/// Nearly every byte of a path stands for itself: asked first, and alone, it costs a single look.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = matches!(CLASSES[byte], Class::Plain);
        byte += 1;
    }
    plain
};

const fn class_of(byte: u8) -> Class {
    match byte {
        b'/' => Class::Slash,
        b'%' => Class::Escape,
        b'\\' => Class::Fault(PathFault::Backslash),
        b'?' | b'#' => Class::Fault(PathFault::Delimiter),
        0 => Class::Fault(PathFault::Nul),
        1..=0x1f | 0x7f => Class::Fault(PathFault::ControlCharacter),
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => Class::Plain,
        _ if is_unreserved(byte) => Class::Plain,
        _ => Class::Unescaped,
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The one pass over a path without escapes.
fn scan_plain(path: &[u8]) -> Result<Scan, PathFault> {
    for (at, &byte) in path.iter().enumerate() {
        if PLAIN[usize::from(byte)] {
            continue;
        }
        match CLASSES[usize::from(byte)] {
            Class::Plain => {}
            Class::Slash => check_segment_start(&path[at + 1..])?,
            Class::Escape | Class::Unescaped => return Ok(Scan::NeedsDecoding),
            Class::Fault(fault) => return Err(fault),
        }
    }
    Ok(Scan::Plain)
}

/// Brings escapes to their one spelling. Looks at no segment; also for the literal pieces of templates.
pub(crate) fn normalise(raw: &str) -> Result<Cow<'_, str>, PathFault> {
    let bytes = raw.as_bytes();
    let mut written = String::new();
    let mut kept_from = 0; // raw[kept_from..at] is as it should be and not yet written
    let mut at = 0;
    while at < bytes.len() {
        let (byte, width) = match CLASSES[usize::from(bytes[at])] {
            Class::Plain | Class::Slash => {
                at += 1;
                continue;
            }
            Class::Fault(fault) => return Err(fault),
            Class::Unescaped => (bytes[at], 1),
            Class::Escape => (decode_escape(&bytes[at + 1..])?, 3),
        };
        if width == 3 && !is_unreserved(byte) && !bytes[at + 1..at + 3].iter().any(u8::is_ascii_lowercase) {
            at += 3;
            continue;
        }
        // Inside a raw multi-byte character nothing is kept, and `kept_from` is no character boundary.
        if kept_from < at {
            written.push_str(&raw[kept_from..at]);
        }
        push_byte(&mut written, byte);
        at += width;
        kept_from = at;
    }
    if kept_from == 0 {
        return Ok(Cow::Borrowed(raw));
    }
    written.push_str(&raw[kept_from..]);
    Ok(Cow::Owned(written))
}

fn decode_escape(digits: &[u8]) -> Result<u8, PathFault> {
    let [high, low, ..] = digits else { return Err(PathFault::BrokenEscape) };
    let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) else {
        return Err(PathFault::BrokenEscape);
    };
    match (high * 16 + low) as u8 {
        0 => Err(PathFault::Nul),
        1..=0x1f | 0x7f => Err(PathFault::ControlCharacter),
        byte => Ok(byte),
    }
}

fn push_byte(written: &mut String, byte: u8) {
    if is_unreserved(byte) {
        written.push(char::from(byte));
    } else {
        written.push_str(percent_encoding::percent_encode_byte(byte));
    }
}

fn check_segments(normalised: &[u8]) -> Result<EncodedSlashes, PathFault> {
    let mut slashes = EncodedSlashes::Absent;
    for (at, &byte) in normalised.iter().enumerate() {
        let rest = &normalised[at + 1..];
        match byte {
            b'/' => check_segment_start(rest)?,
            b'%' if rest.starts_with(b"2F") || rest.starts_with(b"5C") => {
                slashes = EncodedSlashes::Present;
                if begins_with_dot_segment(&rest[2..]) {
                    return Err(PathFault::DotSegment);
                }
            }
            _ => {}
        }
    }
    Ok(slashes)
}

fn decodes_to_utf8(normalised: &str) -> bool {
    // Only escapes from %80 on can break the encoding; most paths have none.
    let is_ascii = normalised.split('%').skip(1).all(|escape| escape.as_bytes().first() < Some(&b'8'));
    is_ascii || percent_decode_str(normalised).decode_utf8().is_ok()
}

fn check_segment_start(rest: &[u8]) -> Result<(), PathFault> {
    match rest.first() {
        Some(b'/') => Err(PathFault::EmptySegment),
        Some(b'.') if begins_with_dot_segment(rest) => Err(PathFault::DotSegment),
        _ => Ok(()),
    }
}

/// Some servers cut `;parameters` off a segment before they resolve dot segments, and some decode first.
fn begins_with_dot_segment(rest: &[u8]) -> bool {
    let Some(after) = rest.strip_prefix(b".") else { return false };
    match after.strip_prefix(b".").unwrap_or(after) {
        [] | [b'/' | b';', ..] => true,
        rest => [b"%2F", b"%5C", b"%3B"].iter().any(|escape| rest.starts_with(*escape)),
    }
}

#[cfg(test)]
mod tests;
