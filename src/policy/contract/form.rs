//! The body that a form is: typed fields, urlencoded or multipart, and files.
//!
//! Urlencoded fields are read and written by [`super::pairs`], multipart ones by [`super::multipart`]. A form with a
//! file among its fields is never urlencoded.

use bytes::Bytes;

use super::Undeclared;
use super::media_type::FormTypes;
use super::multipart::{self, Boundary, FileParameter, IncomingForm, RebuiltForm, ReceivedForm};
use super::pairs::{Pairs, Style};
use super::parameter::TextParameter;
use super::violation::{At, ViolationKind, Violations};

/// How much of a form that is there in one piece is read at once, in bytes: the reader copies it.
const PIECE: usize = 16 * 1024;

/// The declared fields of a form.
#[derive(Debug)]
pub struct FormContract {
    texts: Pairs,
    files: Vec<FileParameter>,
    /// The fields in order of declaration.
    order: Vec<Slot>,
}

/// A declared field of a form.
#[derive(Debug)]
pub enum FormField {
    /// A text.
    Text(Box<TextParameter>),
    /// A file, or several.
    File(FileParameter),
}

/// A field, borrowed.
pub(super) enum Field<'c> {
    Text(&'c TextParameter),
    File(&'c FileParameter),
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Text(usize),
    File(usize),
}

impl FormContract {
    /// A contract of these texts, in order of declaration.
    pub fn new(fields: Vec<TextParameter>, undeclared: Undeclared) -> Self {
        Self::with_files(fields.into_iter().map(|field| FormField::Text(Box::new(field))).collect(), undeclared)
    }

    /// A contract of these fields, in order of declaration.
    pub fn with_files(fields: Vec<FormField>, undeclared: Undeclared) -> Self {
        let (mut texts, mut files, mut order) = (Vec::new(), Vec::new(), Vec::new());
        for field in fields {
            match field {
                FormField::Text(text) => {
                    order.push(Slot::Text(texts.len()));
                    texts.push(*text);
                }
                FormField::File(file) => {
                    order.push(Slot::File(files.len()));
                    files.push(file);
                }
            }
        }
        Self { texts: Pairs::new(Style::Form, texts, undeclared), files, order }
    }

    /// How the form may be sent.
    pub(super) fn types(&self) -> FormTypes {
        if self.files.is_empty() { FormTypes::Both } else { FormTypes::Multipart }
    }

    /// What the service gets for an urlencoded form, which has no files; nothing when there are violations or no field
    /// is to be sent.
    pub(super) fn check(&self, body: &[u8], violations: &mut Violations) -> Option<Bytes> {
        let mut out = String::with_capacity(body.len());
        self.texts.check(body, &mut out, violations);
        for file in &self.files {
            file.check(&[], &At::BODY.name(&file.name), violations);
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    /// What the service gets for a multipart form, with `boundary` between its parts; nothing when there are violations
    /// or no part is to be sent.
    pub fn check_form(
        &self,
        received: ReceivedForm,
        boundary: &str,
        violations: &mut Violations,
    ) -> Option<RebuiltForm> {
        multipart::check(self, received, boundary, violations)
    }

    /// Checks a multipart form that is there in one piece, and of which nothing is sent.
    pub(super) fn check_whole(&self, boundary: &Boundary, body: &[u8], violations: &mut Violations) {
        let mut form = IncomingForm::new(self, boundary);
        for piece in body.chunks(PIECE) {
            form.feed(piece);
            while form.next_to_store().is_some() {}
        }
        match form.finish() {
            Ok(received) => drop(self.check_form(received, "", violations)),
            Err(fault) => violations.push(&At::BODY, ViolationKind::MediaType, fault.to_string()),
        }
    }

    /// The fields, in order of declaration.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.order.iter().map(|slot| match *slot {
            Slot::Text(index) => Field::Text(&self.texts.parameters()[index]),
            Slot::File(index) => Field::File(&self.files[index]),
        })
    }

    /// The position of a field by name.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.fields().position(|field| match field {
            Field::Text(text) => text.name.as_bytes() == name,
            Field::File(file) => file.name.as_bytes() == name,
        })
    }

    /// The field at a position, when it is a file.
    pub(super) fn file(&self, position: usize) -> Option<&FileParameter> {
        match self.order.get(position) {
            Some(Slot::File(index)) => self.files.get(*index),
            Some(Slot::Text(_)) | None => None,
        }
    }

    pub(super) fn undeclared(&self) -> Undeclared {
        self.texts.undeclared_are()
    }
}
