//! HTTP/1.1 as bytes: heads and bodies, read by their framing.
//!
//! Tolerant on purpose: it reports what stood on the wire and judges nothing. Header names are lower-cased, values
//! are bytes. A body that ends early is returned as far as it came, marked as cut.

use std::io::{self, BufRead, Read};

/// A header field: the name in lower case, the value as it was sent.
pub type Field = (String, Vec<u8>);

/// A start line with its header fields.
#[derive(Debug, Clone)]
pub struct Head {
    /// The start line; bytes beyond ASCII are read as Latin-1.
    pub start: String,
    /// The fields in order.
    pub fields: Vec<Field>,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Absent,
    /// After so many bytes.
    Length(u64),
    /// With the empty chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A body without its framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// What arrived.
    pub bytes: Vec<u8>,
    /// Whether the connection ended before the body did.
    pub cut: bool,
}

impl Head {
    /// The values of a name, given in lower case, in order.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        values(&self.fields, name)
    }

    /// The framing that the fields announce, if they announce one.
    pub fn framing(&self) -> Option<Framing> {
        if self.values("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case(b"chunked")) {
            return Some(Framing::Chunked);
        }
        let length = std::str::from_utf8(self.values("content-length").first()?).ok()?;
        length.parse().ok().map(Framing::Length)
    }
}

/// The values of a name, given in lower case, in order.
pub fn values<'a>(fields: &'a [Field], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_slice()).collect()
}

/// The next head; `None` when the connection ends before it begins.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let Some(start) = read_line(from)? else { return Ok(None) };
    let mut fields = Vec::new();
    loop {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(Some(Head { start: latin1(&start), fields }));
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        fields.push((latin1(&line[..colon]).to_ascii_lowercase(), value.to_vec()));
    }
}

/// The body that follows a head.
pub fn read_body(from: &mut impl BufRead, framing: Framing) -> Body {
    let mut bytes = Vec::new();
    let complete = match framing {
        Framing::Absent => true,
        Framing::Length(length) => append(from, length, &mut bytes),
        Framing::UntilClose => from.read_to_end(&mut bytes).is_ok(),
        Framing::Chunked => append_chunks(from, &mut bytes).is_some(),
    };
    Body { bytes, cut: !complete }
}

/// Whether all of them came.
fn append(from: &mut impl BufRead, length: u64, bytes: &mut Vec<u8>) -> bool {
    from.take(length).read_to_end(bytes).is_ok_and(|read| read as u64 == length)
}

/// Chunks up to the empty one, and the trailer after it. `None` when they end early.
fn append_chunks(from: &mut impl BufRead, bytes: &mut Vec<u8>) -> Option<()> {
    loop {
        let line = latin1(&read_line(from).ok()??);
        let size = u64::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            break;
        }
        append(from, size, bytes).then_some(())?;
        read_line(from).ok()??;
    }
    while !read_line(from).ok()??.is_empty() {}
    Some(())
}

/// A line without its end; `None` at the end of the connection.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return if line.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
