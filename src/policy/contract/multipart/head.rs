//! The header of one part: read strictly, written in one spelling.
//!
//! Of a part's header only the name, the file name and the `Content-Type` are used, and only these are written again:
//! whatever else a client said there cannot reach the service. A quoted value may hold `\"` and `\\`; any other
//! backslash stands for itself, as in the paths that old browsers send as file names. `filename*` (RFC 8187) is
//! decoded, counts more than `filename` and is sent on as `filename`; bytes that are not ASCII are sent raw, as
//! browsers do.
//!
//! Readers disagree on whether `\"` ends a quoted value. One that holds a quote and a later `;` could become another
//! parameter for such a reader, so it is refused.

use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode;

use super::MultipartFault as Fault;
use crate::policy::contract::media_type::{MediaType, is_token};

/// Longest header of a part, in bytes.
pub(super) const MAX_HEAD: usize = 8 * 1024;

/// Longest name of a field, in bytes.
const MAX_NAME: usize = 1024;

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: Bytes,
    /// A part with one is a file, also when it is empty.
    pub(super) file_name: Option<Bytes>,
    /// As it came.
    pub(super) content_type: Option<Bytes>,
}

impl Head {
    /// Reads a header without the empty line at its end.
    pub(super) fn parse(block: &[u8]) -> Result<Self, Fault> {
        let (mut disposition, mut content_type) = (None, None);
        for line in lines(block) {
            let (name, value) = field(line)?;
            let twice = match () {
                () if name.eq_ignore_ascii_case("content-disposition") => disposition.replace(value),
                () if name.eq_ignore_ascii_case("content-type") => content_type.replace(value),
                () if name.eq_ignore_ascii_case("content-transfer-encoding") && is_coded(value) => {
                    return Err(Fault::Coded);
                }
                () => None,
            };
            if twice.is_some() {
                return Err(Fault::Head);
            }
        }
        if content_type.is_some_and(|value| value.len() >= 10 && value[..10].eq_ignore_ascii_case(b"multipart/")) {
            return Err(Fault::Nested);
        }
        let (name, file_name) = names(disposition.ok_or(Fault::Disposition)?)?;
        Ok(Self { name: name.into(), file_name, content_type: content_type.map(Bytes::copy_from_slice) })
    }

    /// The media type of the content; `text/plain` unless it is said (RFC 7578 section 4.4).
    pub(super) fn media(&self) -> Option<MediaType<'_>> {
        match &self.content_type {
            Some(value) => MediaType::parse(std::str::from_utf8(value).ok()?),
            None => MediaType::parse("text/plain"),
        }
    }

    /// How many bytes it holds.
    pub(super) fn size(&self) -> usize {
        let optional = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        self.name.len() + optional(&self.file_name) + optional(&self.content_type)
    }

    /// Writes it with the empty line at its end.
    pub(super) fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"Content-Disposition: form-data; name=");
        quote(&self.name, out);
        if let Some(file_name) = &self.file_name {
            out.extend_from_slice(b"; filename=");
            quote(file_name, out);
        }
        if let Some(content_type) = &self.content_type {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(content_type);
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

fn quote(value: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(b"\"");
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.extend_from_slice(b"\\");
        }
        out.extend_from_slice(&[*byte]);
    }
    out.extend_from_slice(b"\"");
}

/// Cut at CRLF; a bare one of either stays in its line, where it is a fault.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(block);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memmem::find(text, b"\r\n");
        rest = end.map(|end| &text[end + 2..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// `Name: value`, where the value may be of any bytes but control characters. A folded line has no name.
fn field(line: &[u8]) -> Result<(&str, &[u8]), Fault> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::Head)?;
    let name = std::str::from_utf8(&line[..colon]).ok().filter(|name| is_token(name)).ok_or(Fault::Head)?;
    let value = line[colon + 1..].trim_ascii();
    if !value.iter().all(|byte| is_printable(*byte)) {
        return Err(Fault::Head);
    }
    Ok((name, value))
}

fn is_printable(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Whether the content would have to be decoded first.
fn is_coded(value: &[u8]) -> bool {
    ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain))
}

/// The name and the file name of `form-data; name="a"; filename="b"`.
fn names(disposition: &[u8]) -> Result<(Vec<u8>, Option<Bytes>), Fault> {
    let (kind, mut rest) = disposition.split_at(find(disposition, b';'));
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err(Fault::Disposition);
    }
    let (mut name, mut file_name, mut extended) = (None, None, None);
    while let Some(parameter) = rest.strip_prefix(b";") {
        let parameter = parameter.trim_ascii_start();
        if parameter.is_empty() {
            break;
        }
        let (key, value) = parameter.split_at(find(parameter, b'='));
        let value = value.strip_prefix(b"=").ok_or(Fault::Disposition)?.trim_ascii_start();
        let key =
            std::str::from_utf8(key.trim_ascii_end()).ok().filter(|key| is_token(key)).ok_or(Fault::Disposition)?;
        let (value, after) = value_of(value)?;
        rest = after.trim_ascii_start();
        let twice = match () {
            () if key.eq_ignore_ascii_case("name") => name.replace(value),
            () if key.eq_ignore_ascii_case("filename") => file_name.replace(value),
            () if key.eq_ignore_ascii_case("filename*") => extended.replace(decoded(&value)?),
            () => None,
        };
        if twice.is_some() {
            return Err(Fault::Disposition);
        }
    }
    let name = name.filter(|name| name.len() <= MAX_NAME && is_unambiguous(name));
    let file_name = extended.or(file_name);
    if !rest.is_empty() && !rest.starts_with(b";") || file_name.as_ref().is_some_and(|value| !is_unambiguous(value)) {
        return Err(Fault::Disposition);
    }
    Ok((name.ok_or(Fault::Disposition)?, file_name.map(Bytes::from)))
}

fn find(text: &[u8], wanted: u8) -> usize {
    text.iter().position(|byte| *byte == wanted).unwrap_or(text.len())
}

/// A quoted string or a token, and what follows it.
fn value_of(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Fault> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        let plain = std::str::from_utf8(value).is_ok_and(is_token);
        return if plain { Ok((value.to_vec(), after)) } else { Err(Fault::Disposition) };
    };
    let mut value = Vec::with_capacity(quoted.len());
    let mut at = 0;
    loop {
        match quoted.get(at..).unwrap_or_default() {
            [b'"', ..] => return Ok((value, &quoted[at + 1..])),
            [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                value.push(*escaped);
                at += 2;
            }
            [byte, ..] => {
                value.push(*byte);
                at += 1;
            }
            [] => return Err(Fault::Disposition),
        }
    }
}

/// `UTF-8'en'na%C3%AFve.txt`, RFC 8187.
fn decoded(value: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (Some(charset), Some(_), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Fault::Disposition);
    };
    let escaped = |at: usize| text.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let well_formed = text.iter().enumerate().all(|(at, byte)| *byte != b'%' || escaped(at));
    let decoded: Vec<u8> = percent_decode(text).collect();
    let printable = decoded.iter().all(|byte| !byte.is_ascii_control()) && std::str::from_utf8(&decoded).is_ok();
    if charset.eq_ignore_ascii_case(b"utf-8") && well_formed && printable {
        Ok(decoded)
    } else {
        Err(Fault::Disposition)
    }
}

/// Whether every reader finds the same end of it.
fn is_unambiguous(value: &[u8]) -> bool {
    let quote = find(value, b'"');
    !value[quote..].contains(&b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|file name|content type`, or the fault.
    fn read(block: &[u8]) -> String {
        let text =
            |value: Option<&Bytes>| value.map_or("-".to_owned(), |value| String::from_utf8_lossy(value).into_owned());
        match Head::parse(block) {
            Ok(head) => {
                let mut out = BytesMut::new();
                head.write(&mut out);
                let written = out.strip_suffix(b"\r\n\r\n").unwrap();
                assert_eq!(Head::parse(written), Ok(head.clone()), "what is written is what was read");
                let (name, file) = (text(Some(&head.name)), text(head.file_name.as_ref()));
                format!("{name}|{file}|{}", text(head.content_type.as_ref()))
            }
            Err(fault) => format!("! {fault:?}"),
        }
    }

    #[test]
    fn a_disposition_has_one_name_and_perhaps_a_file_name() {
        let rows: &[(&str, &str)] = &[
            (r#"form-data; name="a""#, "a|-|-"),
            (r#"FORM-DATA;NAME=a;FileName="b.txt""#, "a|b.txt|-"),
            (r#"form-data ; name = "a" ; filename = "b" ;"#, "a|b|-"),
            (r#"form-data; name="""#, "|-|-"),
            (r#"form-data; name="a"; filename="""#, "a||-"),
            (r#"form-data; name="a b;c=d""#, "a b;c=d|-|-"),
            (r#"form-data; name="ü"; filename="naïve 😀.txt""#, "ü|naïve 😀.txt|-"),
            (r#"form-data; name="a"; filename="say \"hi\".txt""#, "a|say \"hi\".txt|-"),
            (r#"form-data; name="a"; filename="C:\dir\b.txt""#, r"a|C:\dir\b.txt|-"),
            (r#"form-data; name="a"; filename="C:\\dir\\b.txt""#, r"a|C:\dir\b.txt|-"),
            (r#"form-data; name="a"; filename="%22%0D%0A.txt""#, "a|%22%0D%0A.txt|-"),
            (r#"form-data; name="a"; filename="; name=x""#, "a|; name=x|-"),
            ("form-data; name=\"a\"; filename*=UTF-8''na%C3%AFve%20.txt", "a|naïve .txt|-"),
            ("form-data; name=\"a\"; filename=\"x\"; filename*=utf-8'en'y", "a|y|-"),
            (r#"form-data; name="a"; size=12; creation-date="x""#, "a|-|-"),
            // What follows could be taken for parameters, or for their end.
            (r#"form-data; name="a"; filename="x\"; name=\"b""#, "! Disposition"),
            (r#"form-data; name="a\"; name=\"b""#, "! Disposition"),
            ("form-data; name=\"a\"; filename*=UTF-8''x%22%3B%20name%3Db", "! Disposition"),
            (r#"form-data; name="a"; name="b""#, "! Disposition"),
            (r#"form-data; name="a"; filename="x"; filename="y""#, "! Disposition"),
            ("form-data; name=a; filename*=utf-8''x; filename*=utf-8''y", "! Disposition"),
            (r#"form-data; name="a"#, "! Disposition"),
            (r#"form-data; name="a" filename="b""#, "! Disposition"),
            (r#"form-data; name="a"b"#, "! Disposition"),
            (r#"form-data; name="a"; filename="b\""#, "! Disposition"),
            ("form-data; name=ü", "! Disposition"),
            ("form-data; name", "! Disposition"),
            ("form-data; =a", "! Disposition"),
            ("form-data", "! Disposition"),
            (r#"form-data; filename="a""#, "! Disposition"),
            (r#"form-data; name*=utf-8''a"#, "! Disposition"),
            (r#"attachment; name="a""#, "! Disposition"),
            (r#"name="a""#, "! Disposition"),
            ("form-data; name=\"a\"; filename*=x", "! Disposition"),
            ("form-data; name=\"a\"; filename*=latin1''x", "! Disposition"),
            ("form-data; name=\"a\"; filename*=UTF-8''%0D%0Ax", "! Disposition"),
            ("form-data; name=\"a\"; filename*=UTF-8''%FF", "! Disposition"),
            ("form-data; name=\"a\"; filename*=UTF-8''%4", "! Disposition"),
        ];
        for (value, expected) in rows {
            assert_eq!(read(format!("Content-Disposition: {value}").as_bytes()), *expected, "{value}");
        }
        let long = format!("Content-Disposition: form-data; name=\"{}\"", "n".repeat(MAX_NAME + 1));
        assert_eq!(read(long.as_bytes()), "! Disposition");
    }

    #[test]
    fn a_header_is_made_of_fields_and_nothing_else() {
        const NAME: &str = "Content-Disposition: form-data; name=a";
        let rows: &[(&str, &str)] = &[
            ("content-type: Text/Plain; charset=utf-8", "a|-|Text/Plain; charset=utf-8"),
            ("Content-Type:image/png", "a|-|image/png"),
            ("Content-Transfer-Encoding: BINARY\r\nX-Other: \u{fc}", "a|-|-"),
            ("Content-Transfer-Encoding: base64", "! Coded"),
            ("Content-Transfer-Encoding: quoted-printable", "! Coded"),
            ("Content-Type: Multipart/Mixed; boundary=b", "! Nested"),
            ("Content-Type: a/b\r\nContent-Type: a/b", "! Head"),
            ("Content-Disposition: form-data; name=a", "! Head"),
            ("X-Folded: a\r\n b", "! Head"),
            ("X Y: a", "! Head"),
            ("X : a", "! Head"),
            (": a", "! Head"),
            ("no colon", "! Head"),
            ("X: a\rb", "! Head"),
            ("X: a\nContent-Type: a/b", "! Head"),
            ("X: a\0", "! Head"),
            ("", "! Head"),
        ];
        for (more, expected) in rows {
            assert_eq!(read(format!("{NAME}\r\n{more}").as_bytes()), *expected, "{more:?}");
        }
        assert_eq!(read(b"Content-Type: text/plain"), "! Disposition");
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let head = Head::parse(b"Content-Disposition: form-data; name=\"a\xff\"; filename=\"\xe9\"").unwrap();
        assert_eq!((&head.name[..], head.file_name.as_deref()), (&b"a\xff"[..], Some(&b"\xe9"[..])));
        let mut out = BytesMut::new();
        head.write(&mut out);
        assert_eq!(&out[..], b"Content-Disposition: form-data; name=\"a\xff\"; filename=\"\xe9\"\r\n\r\n");
    }
}
