//! `multipart/form-data`: a form with files, read while it arrives.
//!
//! [`IncomingForm`] takes the bytes as they come and gives back those of files, which the caller stores one after the
//! other; texts it keeps. It does no I/O. When all has come, [`super::FormContract::check_form`] judges the
//! [`ReceivedForm`] and lays out what the service gets: a [`RebuiltForm`] of the declared parts only, in the client's
//! order, with headers written anew and a boundary that is chosen after the last byte was read, so that no content can
//! hold it. Names, file names, contents and the `Content-Type` of a part stay as they are; texts take the canonical
//! form that they have in an urlencoded form. Undeclared parts are dropped, refused or sent as the route says.
//!
//! The parser is our own. The `multer` crate finds `name=` anywhere in a header, also inside of a quoted file name,
//! takes the first of two, knows only names in UTF-8, does not decode `filename*` and sets no bound to a part's header:
//! what it reads is not always what the service would read.
//!
//! Bounds: [`MAX_PARTS`] parts, 8 KiB of header each. Everything that is held is counted by
//! [`IncomingForm::memory`]; the size of the whole is the caller's to bound.

mod check;
mod file;
mod head;
mod parser;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use super::violation::{At, ViolationKind as Kind, Violations};
use super::{FormContract, Undeclared};
use crate::policy::contract::schema::EXTRA;

pub use file::{FileParameter, ReadSize};
pub use parser::Boundary;

pub(super) use check::check;

use head::Head;
use parser::{Event, Parser};

/// The most parts of a form, as many as an urlencoded one may have fields.
pub const MAX_PARTS: usize = super::MAX_PAIRS;

/// What a part is held in memory with, beside its bytes.
const PART_SIZE: usize = 256;

/// Why a body is no multipart form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartFault {
    /// A delimiter that goes on.
    #[error("a boundary is followed by neither `--` nor the end of its line")]
    Delimiter,
    /// A header beyond 8 KiB.
    #[error("the header of a part is longer than 8 KiB")]
    HeadTooLong,
    /// A header that is none.
    #[error("the header of a part is malformed")]
    Head,
    /// Without one good name.
    #[error("a part has no well-formed `Content-Disposition: form-data` with one name")]
    Disposition,
    /// A content that would have to be decoded.
    #[error("a part has a transfer encoding")]
    Coded,
    /// Parts within a part.
    #[error("a part is multipart itself")]
    Nested,
    /// The end is missing.
    #[error("the last boundary is missing")]
    Unfinished,
}

/// A form that is arriving.
pub struct IncomingForm<'c> {
    contract: &'c FormContract,
    parser: Parser,
    received: ReceivedForm,
    /// What becomes of the content of the part that is arriving.
    current: Current,
    /// Bytes of texts and headers.
    kept: usize,
    stored: u64,
    parts_seen: usize,
    ended: Option<Ended>,
}

/// Why the rest of a body is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Fault(MultipartFault),
    TooManyParts,
}

/// What becomes of the content of a part.
enum Current {
    Skipped,
    Kept(BytesMut),
    Stored,
    /// Only counted: the part is refused unless another one takes its place.
    Counted,
}

/// A form that has arrived, still unchecked.
#[derive(Debug, Default)]
pub struct ReceivedForm {
    parts: Vec<Part>,
    /// Undeclared parts, where these are refused.
    undeclared: Violations,
    too_many: bool,
}

/// A part that is declared, or sent on although it is not.
#[derive(Debug)]
struct Part {
    head: Head,
    /// Position of the field in the contract.
    field: Option<usize>,
    content: Content,
    length: u64,
}

#[derive(Debug)]
enum Content {
    Text(Bytes),
    /// The bytes from this position on, of all that were stored.
    Stored(u64),
    /// It has not been stored, since it cannot be sent.
    Gone,
}

/// What the service gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuiltForm {
    /// One after the other.
    pub pieces: Vec<Piece>,
    /// Of all pieces, in bytes.
    pub length: u64,
    /// Its `Content-Type`.
    pub content_type: String,
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// Bytes of those that were stored.
    Stored {
        /// The first.
        at: u64,
        /// How many.
        length: u64,
    },
}

impl<'c> IncomingForm<'c> {
    /// A form for this contract, of which nothing has come yet.
    pub fn new(contract: &'c FormContract, boundary: &Boundary) -> Self {
        Self {
            contract,
            parser: Parser::new(boundary),
            received: ReceivedForm::default(),
            current: Current::Skipped,
            kept: 0,
            stored: 0,
            parts_seen: 0,
            ended: None,
        }
    }

    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.ended.is_none() {
            self.parser.feed(bytes);
        }
    }

    /// The next bytes to store, behind those before; `None` when all that came has been looked at.
    pub fn next_to_store(&mut self) -> Option<Bytes> {
        while self.ended.is_none() {
            match self.parser.next() {
                Ok(Some(Event::Head(head))) => self.begin(head),
                Ok(Some(Event::Content(bytes))) => {
                    if let Some(bytes) = self.take(bytes) {
                        return Some(bytes);
                    }
                }
                Ok(Some(Event::End)) => self.end(),
                Ok(None) => return None,
                Err(fault) => self.ended = Some(Ended::Fault(fault)),
            }
        }
        None
    }

    /// Bytes that are held, with those that a check will add.
    pub fn memory(&self) -> u64 {
        (self.parser.held() + 2 * self.kept) as u64
    }

    /// All has come.
    ///
    /// # Errors
    /// Why it is no form.
    pub fn finish(mut self) -> Result<ReceivedForm, MultipartFault> {
        match self.ended {
            Some(Ended::Fault(fault)) => return Err(fault),
            Some(Ended::TooManyParts) => self.received.too_many = true,
            None if !self.parser.is_complete() => return Err(MultipartFault::Unfinished),
            None => {}
        }
        Ok(self.received)
    }

    fn begin(&mut self, head: Head) {
        self.parts_seen += 1;
        if self.parts_seen > MAX_PARTS {
            self.ended = Some(Ended::TooManyParts);
            return;
        }
        let field = self.contract.find(&head.name);
        let undeclared = self.contract.undeclared();
        self.current = match field.map(|field| self.contract.file(field)) {
            Some(None) if head.file_name.is_none() => Current::Kept(BytesMut::new()),
            Some(Some(file)) if head.file_name.is_some() && file.may_be(head.media().as_ref()) => Current::Stored,
            Some(_) => Current::Counted,
            None if undeclared == Undeclared::Forward && !changes_texts(&head) => Current::Stored,
            None => Current::Skipped,
        };
        if matches!(self.current, Current::Skipped) {
            if undeclared == Undeclared::Reject {
                let name = String::from_utf8_lossy(&head.name);
                self.received.undeclared.push(&At::BODY.name(&name), Kind::ExtraForbidden, EXTRA);
            }
            return;
        }
        self.kept += head.size() + PART_SIZE;
        let content = match self.current {
            Current::Stored => Content::Stored(self.stored),
            Current::Skipped | Current::Kept(_) | Current::Counted => Content::Gone,
        };
        self.received.parts.push(Part { head, field, content, length: 0 });
    }

    /// The bytes, when they are to be stored.
    fn take(&mut self, bytes: Bytes) -> Option<Bytes> {
        let part = self.received.parts.last_mut()?;
        match &mut self.current {
            Current::Skipped => return None,
            Current::Kept(text) => {
                self.kept += bytes.len();
                text.extend_from_slice(&bytes);
            }
            Current::Stored | Current::Counted => {}
        }
        part.length += bytes.len() as u64;
        if !matches!(self.current, Current::Stored) {
            return None;
        }
        let file = part.field.and_then(|field| self.contract.file(field));
        if file.is_some_and(|file| !file.may_have(part.length)) {
            self.current = Current::Counted;
            part.content = Content::Gone;
            return None;
        }
        self.stored += bytes.len() as u64;
        Some(bytes)
    }

    fn end(&mut self) {
        if let (Current::Kept(text), Some(part)) =
            (std::mem::replace(&mut self.current, Current::Skipped), self.received.parts.last_mut())
        {
            part.content = Content::Text(text.freeze());
        }
    }
}

/// A field of this name says in which charset the texts are (HTML, section 4.10.21.8), which is UTF-8 here.
fn changes_texts(head: &Head) -> bool {
    &*head.name == b"_charset_"
}
