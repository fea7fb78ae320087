//! `multipart/form-data`: written as a client may, read as a strict service would.

use super::origin::Recorded;

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `name`, unquoted.
    pub name: Vec<u8>,
    /// `filename`, unquoted.
    pub file_name: Option<Vec<u8>>,
    /// `Content-Type`.
    pub content_type: Option<Vec<u8>>,
    /// What it holds.
    pub content: Vec<u8>,
}

impl Part {
    /// A text.
    pub fn text(name: &str, content: &str) -> Self {
        Self { name: name.into(), file_name: None, content_type: None, content: content.into() }
    }

    /// A file.
    pub fn file(name: &str, file_name: &str, content_type: &str, content: &[u8]) -> Self {
        let (file_name, content_type) = (Some(file_name.into()), Some(content_type.into()));
        Self { file_name, content_type, ..Self { content: content.into(), ..Self::text(name, "") } }
    }
}

/// The parts with this boundary between them.
pub fn written(parts: &[Part], boundary: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=").as_bytes());
        quote(&part.name, &mut out);
        if let Some(file_name) = &part.file_name {
            out.extend_from_slice(b"; filename=");
            quote(file_name, &mut out);
        }
        if let Some(content_type) = &part.content_type {
            out.extend_from_slice(&[b"\r\nContent-Type: ", content_type.as_slice()].concat());
        }
        out.extend_from_slice(&[b"\r\n\r\n", part.content.as_slice(), b"\r\n"].concat());
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// The parts of a request's body; panics with what is wrong unless it is exactly as RFC 7578 has it.
pub fn read(request: &Recorded) -> Vec<Part> {
    let [kind] = request.values("content-type")[..] else { panic!("not one content type") };
    let boundary = kind.strip_prefix(b"multipart/form-data; boundary=").expect("multipart/form-data");
    let delimiter = [b"--", boundary].concat();
    let body = request.body.strip_prefix(&delimiter[..]).expect("begins with a boundary");
    let next = [b"\r\n", &delimiter[..]].concat();
    let mut pieces = split(body, &next);
    assert_eq!(pieces.pop(), Some(&b"--\r\n"[..]), "ends with the last boundary");
    pieces.into_iter().map(|piece| part(piece.strip_prefix(b"\r\n").expect("a boundary ends its line"))).collect()
}

fn part(piece: &[u8]) -> Part {
    let end = find(piece, b"\r\n\r\n").expect("a header ends");
    let mut lines = split(&piece[..end], b"\r\n").into_iter();
    let disposition = lines.next().and_then(|line| line.strip_prefix(b"Content-Disposition: form-data; name=\""));
    let (name, rest) = unquoted(disposition.expect("a disposition with a name"));
    let file_name = (!rest.is_empty()).then(|| {
        let (file_name, rest) = unquoted(rest.strip_prefix(b"; filename=\"").expect("a file name"));
        assert!(rest.is_empty(), "something behind the file name");
        file_name
    });
    let content_type = lines.next().map(|line| line.strip_prefix(b"Content-Type: ").expect("a content type").to_vec());
    assert_eq!(lines.next(), None, "another header");
    Part { name, file_name, content_type, content: piece[end + 4..].to_vec() }
}

fn unquoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut out, mut at) = (Vec::new(), 0);
    while text[at] != b'"' {
        at += usize::from(text[at] == b'\\');
        out.push(text[at]);
        at += 1;
    }
    (out, &text[at + 1..])
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, wanted)
}

fn split<'a>(mut text: &'a [u8], at: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some(end) = find(text, at) {
        pieces.push(&text[..end]);
        text = &text[end + at.len()..];
    }
    pieces.push(text);
    pieces
}
