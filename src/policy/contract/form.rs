//! An `application/x-www-form-urlencoded` body: typed fields, read and written by [`super::pairs`].

use bytes::Bytes;

use super::Undeclared;
use super::pairs::{Pairs, Style};
use super::parameter::TextParameter;
use super::violation::Violations;

/// The declared fields of an urlencoded form.
#[derive(Debug)]
pub struct FormContract(Pairs);

impl FormContract {
    /// A contract of these fields, in order of declaration.
    pub fn new(fields: Vec<TextParameter>, undeclared: Undeclared) -> Self {
        Self(Pairs::new(Style::Form, fields, undeclared))
    }

    /// What the service gets; nothing when there are violations or no field is to be sent.
    pub(super) fn check(&self, body: &[u8], violations: &mut Violations) -> Option<Bytes> {
        let mut out = String::with_capacity(body.len());
        self.0.check(body, &mut out, violations);
        (!out.is_empty()).then(|| Bytes::from(out))
    }
}
