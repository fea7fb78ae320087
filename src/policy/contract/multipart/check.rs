//! The judgement on a form that has arrived, and what the service gets for it.
//!
//! Texts go through the very functions that check the fields of an urlencoded form. A field that is sent twice counts
//! as the last one says, an array takes all; an empty text, and a file without name and content (what a browser sends
//! for an input that was left empty), count as absent.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::file::{FileCount, FileParameter, Sent};
use super::head::Head;
use super::{Content, MAX_PARTS, Part, Piece, RebuiltForm, ReceivedForm};
use crate::policy::contract::form::{Field, FormContract};
use crate::policy::contract::media_type::MULTIPART;
use crate::policy::contract::pairs::{Sink, many, one};
use crate::policy::contract::parameter::TextParameter;
use crate::policy::contract::text::TextValue;
use crate::policy::contract::violation::{At, ViolationKind as Kind, Violations};

/// What the service gets, between `boundary`; nothing when there are violations or no part is to be sent.
pub(in crate::policy::contract) fn check(
    contract: &FormContract,
    received: ReceivedForm,
    boundary: &str,
    violations: &mut Violations,
) -> Option<RebuiltForm> {
    let ReceivedForm { mut parts, undeclared, too_many } = received;
    let before = violations.len();
    violations.extend(undeclared);
    if too_many {
        violations.push(&At::BODY, Kind::TooLong, format!("must have at most {MAX_PARTS} parameters"));
        return None;
    }
    let mut sent = Choice { keep: parts.iter().map(|part| part.field.is_none()).collect(), defaults: Vec::new() };
    for (position, field) in contract.fields().enumerate() {
        let of: Vec<usize> = (0..parts.len()).filter(|&part| parts[part].field == Some(position)).collect();
        match field {
            Field::Text(parameter) => check_text(parameter, &mut parts, of, &mut sent, violations),
            Field::File(file) => check_file(file, &parts, of, &mut sent, violations),
        }
    }
    if violations.len() > before {
        return None;
    }
    let keep = sent.keep;
    let kept = parts.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(part, _)| part);
    rebuild(kept.chain(sent.defaults), boundary)
}

/// What is sent.
struct Choice {
    /// Of each part, whether it is.
    keep: Vec<bool>,
    /// What stands for absent fields.
    defaults: Vec<Part>,
}

impl Part {
    fn is_absent(&self) -> bool {
        self.length == 0 && self.head.file_name.as_ref().is_none_or(Bytes::is_empty)
    }
}

/// Of the parts of one name, those that count: the last one unless it is empty, or all that are not.
fn counting(parts: &[Part], of: Vec<usize>, all: bool) -> Vec<usize> {
    let first = if all { 0 } else { of.len().saturating_sub(1) };
    of.into_iter().skip(first).filter(|&part| !parts[part].is_absent()).collect()
}

fn check_text(
    parameter: &TextParameter,
    parts: &mut [Part],
    of: Vec<usize>,
    sent: &mut Choice,
    violations: &mut Violations,
) {
    let at = At::BODY.name(&parameter.name);
    let of = counting(parts, of, matches!(parameter.value, TextValue::Many { .. }));
    let mut texts = Texts { of: &of, parts, next: 0, changed: Vec::new(), defaults: Vec::new() };
    match &parameter.value {
        TextValue::One(text) => {
            let last = of.last().map(|&part| &texts.parts[part]);
            one(parameter, text, last, text_of, &mut texts, &at, violations);
        }
        TextValue::Many { item, list } => {
            let parts = texts.parts;
            let values = of.iter().map(|&part| &parts[part]);
            many(parameter, item, list, values, text_of, &mut texts, &at, violations);
        }
    }
    let Texts { changed, defaults, .. } = texts;
    for (part, text) in changed {
        parts[part].length = text.len() as u64;
        parts[part].content = Content::Text(text);
    }
    for part in of {
        sent.keep[part] = true;
    }
    sent.defaults.extend(defaults);
}

/// The text of a part, as one of an urlencoded field.
fn text_of<'p>(part: &'p Part, at: &At<'_>, violations: &mut Violations) -> Option<Cow<'p, str>> {
    let Content::Text(bytes) = &part.content else {
        violations.push(at, Kind::StringType, "must be a text, not a file");
        return None;
    };
    let other_charset =
        |charset: &str| !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("us-ascii");
    // A type that cannot be read could name any charset.
    let readable = part.head.media().is_some_and(|media| !media.all("charset").any(other_charset));
    let text = std::str::from_utf8(bytes).ok().filter(|_| readable);
    if text.is_none() {
        violations.push(at, Kind::StringUnicode, "must be UTF-8");
    }
    text.map(Cow::Borrowed)
}

/// Takes down what differs from what was sent.
struct Texts<'p> {
    parts: &'p [Part],
    /// Those that count.
    of: &'p [usize],
    /// Position in `of` of the next value. Right as long as there is no violation; after one nothing is sent.
    next: usize,
    changed: Vec<(usize, Bytes)>,
    defaults: Vec<Part>,
}

impl Sink for Texts<'_> {
    fn value(&mut self, _parameter: &TextParameter, value: &str) {
        let Some(&part) = self.of.get(self.next) else { return };
        self.next += 1;
        if !matches!(&self.parts[part].content, Content::Text(text) if text == value) {
            self.changed.push((part, Bytes::copy_from_slice(value.as_bytes())));
        }
    }

    fn filled(&mut self, pairs: &str) {
        self.defaults.extend(form_urlencoded::parse(pairs.as_bytes()).map(|(name, value)| Part {
            head: Head { name: name.into_owned().into(), file_name: None, content_type: None },
            field: None,
            length: value.len() as u64,
            content: Content::Text(value.into_owned().into()),
        }));
    }
}

fn check_file(file: &FileParameter, parts: &[Part], of: Vec<usize>, sent: &mut Choice, violations: &mut Violations) {
    let of = counting(parts, of, matches!(file.count, FileCount::Many(_)));
    let files = of.iter().map(|&part| {
        let Part { head, length, .. } = &parts[part];
        Sent { named: head.file_name.is_some(), media: head.media(), length: *length }
    });
    let files: Vec<Sent<'_>> = files.collect();
    file.check(&files, &At::BODY.name(&file.name), violations);
    for part in of {
        sent.keep[part] = true;
    }
}

/// Lays the parts out. Consecutive bytes in memory become one piece.
fn rebuild(parts: impl Iterator<Item = Part>, boundary: &str) -> Option<RebuiltForm> {
    let (mut pieces, mut text, mut length) = (Vec::new(), BytesMut::new(), 0);
    for part in parts {
        text.extend_from_slice(b"--");
        text.extend_from_slice(boundary.as_bytes());
        text.extend_from_slice(b"\r\n");
        part.head.write(&mut text);
        match part.content {
            Content::Text(content) => text.extend_from_slice(&content),
            Content::Stored(at) if part.length > 0 => {
                length += text.len() as u64 + part.length;
                pieces.push(Piece::Bytes(text.split().freeze()));
                pieces.push(Piece::Stored { at, length: part.length });
            }
            Content::Stored(_) | Content::Gone => {}
        }
        text.extend_from_slice(b"\r\n");
    }
    if text.is_empty() {
        return None;
    }
    text.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    length += text.len() as u64;
    pieces.push(Piece::Bytes(text.freeze()));
    Some(RebuiltForm { pieces, length, content_type: format!("{MULTIPART}; boundary={boundary}") })
}
