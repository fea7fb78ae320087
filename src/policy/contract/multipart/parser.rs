//! Where the parts of a multipart body begin and end.
//!
//! A push parser: bytes go in as they come, events come out, and it holds no more than what is not decided yet: the
//! header of a part, or a piece shorter than a delimiter. Lines end with CRLF alone. What follows a delimiter must be
//! the end of its line or `--`: where readers would disagree on whether a line is a delimiter, the body is refused.
//! What stands before the first delimiter and after the last is skipped.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::MultipartFault as Fault;
use super::head::{Head, MAX_HEAD};

/// Most blanks between a delimiter and the end of its line.
const MAX_PADDING: usize = 64;

/// The boundary of a multipart body, as its `Content-Type` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(Box<str>);

impl Boundary {
    /// RFC 2046: 1 to 70 of certain characters, the last of which is no space.
    pub(in crate::policy::contract) fn parse(text: &str) -> Option<Self> {
        let may_hold = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let good = (1..=70).contains(&text.len()) && text.bytes().all(may_hold) && !text.ends_with(' ');
        good.then(|| Self(text.into()))
    }
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins.
    Head(Head),
    /// More of its content.
    Content(Bytes),
    /// It ends.
    End,
}

/// Reads one body.
#[derive(Debug)]
pub(super) struct Parser {
    /// CRLF, two dashes and the boundary.
    delimiter: Finder<'static>,
    buffer: BytesMut,
    state: State,
    /// Bytes at the start of the buffer in which the end of a header is not.
    searched: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary.
    Delimiter,
    Head,
    Content,
    Epilogue,
}

impl Parser {
    pub(super) fn new(boundary: &Boundary) -> Self {
        let delimiter = format!("\r\n--{}", boundary.0);
        // The line end that belongs to the first delimiter may be the start of the body.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Self { delimiter: Finder::new(&delimiter).into_owned(), buffer, state: State::Preamble, searched: 0 }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::Epilogue {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event; `None` when more bytes are needed for it.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            match self.state {
                State::Preamble => {
                    if self.take_content().is_some() {
                        continue;
                    }
                    if !self.take_delimiter() {
                        return Ok(None);
                    }
                }
                State::Delimiter => {
                    if !self.end_of_delimiter()? {
                        return Ok(None);
                    }
                }
                State::Head => return Ok(self.head()?.map(Event::Head)),
                State::Content => {
                    if let Some(content) = self.take_content() {
                        return Ok(Some(Event::Content(content)));
                    }
                    return Ok(self.take_delimiter().then_some(Event::End));
                }
                State::Epilogue => {
                    self.buffer.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Whether the last delimiter has come.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Epilogue
    }

    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The bytes that no delimiter begins in.
    fn take_content(&mut self) -> Option<Bytes> {
        let content = match self.delimiter.find(&self.buffer) {
            Some(at) => at,
            None => self.buffer.len().saturating_sub(self.delimiter.needle().len() - 1),
        };
        (content > 0).then(|| self.buffer.split_to(content).freeze())
    }

    fn take_delimiter(&mut self) -> bool {
        let found = self.buffer.starts_with(self.delimiter.needle());
        if found {
            self.buffer.advance(self.delimiter.needle().len());
            self.state = State::Delimiter;
        }
        found
    }

    fn end_of_delimiter(&mut self) -> Result<bool, Fault> {
        let blanks = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if blanks > MAX_PADDING {
            return Err(Fault::Delimiter);
        }
        match &self.buffer[blanks..] {
            [b'\r', b'\n', ..] => {
                self.buffer.advance(blanks + 2);
                self.state = State::Head;
                Ok(true)
            }
            [b'-', b'-', ..] if blanks == 0 => {
                self.state = State::Epilogue;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            [b'-'] if blanks == 0 => Ok(false),
            _ => Err(Fault::Delimiter),
        }
    }

    fn head(&mut self) -> Result<Option<Head>, Fault> {
        if self.buffer.starts_with(b"\r\n") {
            return Err(Fault::Disposition);
        }
        let end = memchr::memmem::find(&self.buffer[self.searched..], b"\r\n\r\n").map(|at| self.searched + at);
        if end.unwrap_or(self.buffer.len()) > MAX_HEAD {
            return Err(Fault::HeadTooLong);
        }
        let Some(end) = end else {
            self.searched = self.buffer.len().saturating_sub(3);
            return Ok(None);
        };
        self.searched = 0;
        let head = Head::parse(&self.buffer[..end])?;
        self.buffer.advance(end + 4);
        self.state = State::Content;
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and contents, fed in pieces of a size; `!` before a fault, `…` when the last delimiter is missing.
    fn read(body: &[u8], piece: usize) -> String {
        let mut parser = Parser::new(&Boundary::parse("b").unwrap());
        let mut seen = String::new();
        for piece in body.chunks(piece) {
            parser.feed(piece);
            loop {
                match parser.next() {
                    Ok(Some(Event::Head(head))) => seen.push_str(&format!("{}=", String::from_utf8_lossy(&head.name))),
                    Ok(Some(Event::Content(bytes))) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                    Ok(Some(Event::End)) => seen.push('.'),
                    Ok(None) => break,
                    Err(fault) => return format!("{seen}! {fault:?}"),
                }
            }
            assert!(parser.held() <= MAX_HEAD + piece.len(), "holds {}", parser.held());
        }
        if !parser.is_complete() {
            seen.push('…');
        }
        seen
    }

    /// `#a` stands for the header of a part named `a`, `|` for CRLF.
    fn written(text: &str) -> Vec<u8> {
        let text = text.replace("#a", "Content-Disposition: form-data; name=a||");
        text.replace('|', "\r\n").into_bytes()
    }

    #[test]
    fn parts_stand_between_delimiters() {
        let long = format!("--b|X: {}", "x".repeat(MAX_HEAD));
        let rows = [
            ("--b|#a1|--b--|", "a=1."),
            ("--b|#a1|--b|#a2|--b--", "a=1.a=2."),
            ("--b|#a|--b--", "a=."),
            ("--b--", ""),
            ("--b--|anything|--b|#a1|--b--", ""),
            ("preamble|--b|#a1|--b--|epilogue", "a=1."),
            ("|--b|#a1|--b--", "a=1."),
            ("x--b|#a1|--b|#a2|--b--", "a=2."),
            ("--b \t|#a1|--b  |#a2|--b--", "a=1.a=2."),
            // Not delimiters: they do not begin a line, or not with CRLF.
            ("--b|#a1--b|2|--b--", "a=1--b\r\n2."),
            ("--b|#a1\n--b\n2|--b--", "a=1\n--b\n2."),
            ("--b|#a1\r--b|2|--b--", "a=1\r--b\r\n2."),
            ("--b|#a1| --b|2|-b|--c|--|--b--", "a=1\r\n --b\r\n2\r\n-b\r\n--c\r\n--."),
            ("--b|#a|||--b--", "a=\r\n\r\n."),
            ("--b|#a\0\x7f|--b--", "a=\0\x7f."),
            ("--b|#a--b|1|--b--", "a=--b\r\n1."),
            // Readers disagree on these.
            ("--b|#a1|--bc|#a2|--b--", "a=1.! Delimiter"),
            ("--b|#a1|--b-|#a2|--b--", "a=1.! Delimiter"),
            ("--b|#a1|--b --", "a=1.! Delimiter"),
            ("--b|#a1|--b\n#a2|--b--", "a=1.! Delimiter"),
            ("--b x|#a1|--b--", "! Delimiter"),
            ("--b||1|--b--", "! Disposition"),
            ("--b|X: y||1|--b--", "! Disposition"),
            ("--b|nonsense||1|--b--", "! Head"),
            // Content shorter than a delimiter could be the start of one.
            ("--b|#a1", "a=…"),
            ("--b|#a1|--b", "a=1.…"),
            ("--b|Content-Disp", "…"),
            ("no delimiter at all", "…"),
            ("", "…"),
            (&long, "! HeadTooLong"),
        ];
        for (body, expected) in rows {
            for piece in [1, 2, 3, 7, 100_000] {
                assert_eq!(read(&written(body), piece), expected, "in pieces of {piece}: {body}");
            }
        }
        assert_eq!(read(&written(&format!("--b{}|#a1|--b--", " ".repeat(MAX_PADDING + 1))), 100), "! Delimiter");
    }

    #[test]
    fn a_boundary_is_1_to_70_legal_characters() {
        let (longest, longer) = ("x".repeat(70), "x".repeat(71));
        let rows = [
            ("b", true),
            ("----WebKitFormBoundaryAbC123", true),
            ("'()+_,-./:=?", true),
            ("a b", true),
            (longest.as_str(), true),
            (longer.as_str(), false),
            ("", false),
            ("a ", false),
            ("a\"b", false),
            ("a;b", false),
            ("a\r\nb", false),
            ("ü", false),
        ];
        for (text, good) in rows {
            assert_eq!(Boundary::parse(text).is_some(), good, "{text}");
        }
    }
}
