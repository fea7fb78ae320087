//! A route's contract: the typed parameters of path, query, header fields, cookies and body. Only what is declared
//! passes.
//!
//! A request is checked whole: every check adds to one list of [`Violations`] and none stops the next, so a client
//! learns all its faults at once. What a check writes is the canonical form of what it read, and only that is sent to
//! the service; the client's own bytes are not used again. A value is good only while the list is empty.
//!
//! The order of calls: [`Contract::accept`] before the body is read (415), then [`Contract::check_path`],
//! [`Contract::check_query`], [`FieldContract::check`], [`Contract::check_body`] (422 when there are violations). A
//! multipart form is read by [`IncomingForm`] while it arrives and checked by [`FormContract::check_form`] instead.
//!
//! Not here: limits on size, percent-encoding of path values for their place in the service path, and where the files
//! of a form are kept.

mod cookies;
mod document;
mod fields;
mod form;
mod grammar;
mod json;
mod media_type;
mod multipart;
mod number;
mod pairs;
mod parameter;
mod rules;
mod schema;
mod text;
mod tree;
mod types;
mod unique;
mod violation;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;

pub use cookies::{CookieContract, CookieParameter};
pub use document::{DocumentContract, DocumentFault, DocumentSource, ReplyModel, SeenIn};
pub use fields::{CheckedFields, FieldContract, HeaderParameter, is_look_alike};
pub use form::{FormContract, FormField};
pub use grammar::{Blame, FORMATS, PointerStep, SchemaFault, Weight};
pub use json::JsonContract;
pub use media_type::{Media, MediaFault, is_json};
pub use multipart::{
    Boundary, FileParameter, IncomingForm, MAX_PARTS, MultipartFault, Piece, ReadSize, RebuiltForm, ReceivedForm,
};
pub use pairs::MAX_PAIRS;
pub use parameter::{Declared, Member, Position, TextParameter};
pub use tree::{MAX_DEPTH, MAX_VALUES};
pub use violation::{Loc, LocPart, MAX_VIOLATIONS, Violation, ViolationKind, Violations};

use media_type::{FORM, MediaKind, accept_form, accept_json};
use pairs::{Pairs, Style};
use text::TextValue;
use violation::At;

/// What a route declares of a request.
#[derive(Debug)]
pub struct Contract {
    /// The parameters of the gateway path.
    pub path: PathContract,
    /// The query.
    pub query: QueryContract,
    /// Header fields and cookies.
    pub fields: FieldContract,
    /// The body.
    pub body: BodyContract,
}

/// What happens to parameters that the contract does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undeclared {
    /// They do not reach the service.
    #[default]
    Drop,
    /// Each is a violation.
    Reject,
    /// They pass unchecked.
    Forward,
}

/// The parameters of a gateway path, in the order of the template. One that is not typed is a string.
#[derive(Debug, Default)]
pub struct PathContract(Vec<Option<TextParameter>>);

/// A typed path parameter that the template does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPathParameter(pub String);

/// The query of a route.
#[derive(Debug)]
pub struct QueryContract(Query);

#[derive(Debug)]
enum Query {
    Any,
    Declared(Pairs),
}

/// The body of a route.
#[derive(Debug)]
pub enum BodyContract {
    /// No body passes.
    None,
    /// The body streams through unread.
    Any,
    /// Members of a JSON object.
    Json(JsonContract),
    /// A JSON document of any type.
    Document(DocumentContract),
    /// Fields of a form.
    Form(FormContract),
}

/// What the service gets for a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedBody {
    /// No body.
    Nothing,
    /// The client's own, unread.
    Unread,
    /// These bytes.
    Bytes {
        /// The body in its canonical form.
        bytes: Bytes,
        /// Its `Content-Type`, without parameters.
        content_type: Cow<'static, str>,
    },
}

/// The values of a path, in the order of the template.
pub type PathValues<'a> = SmallVec<[Cow<'a, str>; 4]>;

impl Contract {
    /// Whether the body is of a kind that the contract reads. Cheap, and before the body arrives.
    pub fn accept(&self, headers: &HeaderMap) -> Result<Media, MediaFault> {
        match &self.body {
            BodyContract::None | BodyContract::Any => Ok(Media(MediaKind::Unread)),
            BodyContract::Json(_) | BodyContract::Document(_) => accept_json(headers),
            BodyContract::Form(form) => accept_form(headers, form.types()),
        }
    }

    /// The same where nothing is refused: what [`Contract::accept`] would refuse is one more violation.
    pub fn accept_observed(&self, headers: &HeaderMap, violations: &mut Violations) -> Option<Media> {
        let fault = match self.accept(headers) {
            Ok(media) => return Some(media),
            Err(fault) => fault,
        };
        violations.push(&At::BODY, ViolationKind::MediaType, fault.to_string());
        None
    }

    /// See [`PathContract::check`].
    pub fn check_path<'a>(&self, captures: &'a [Cow<'_, str>], out: &mut PathValues<'a>, violations: &mut Violations) {
        self.path.check(captures, out, violations);
    }

    /// See [`QueryContract::check`].
    pub fn check_query(&self, raw: Option<&str>, out: &mut String, violations: &mut Violations) {
        self.query.check(raw, out, violations);
    }

    /// Checks the whole body. Without meaning when there are violations.
    pub fn check_body(&self, media: Media, body: &[u8], violations: &mut Violations) -> CheckedBody {
        let (bytes, content_type) = match (&self.body, media.0) {
            (BodyContract::None, _) => return CheckedBody::Nothing,
            (BodyContract::Any, _) => return CheckedBody::Unread,
            (BodyContract::Json(json), media) => (json.check(body, violations), media.json()),
            (BodyContract::Document(document), media) => (document.check(body, violations), media.json()),
            (BodyContract::Form(form), MediaKind::Multipart(boundary)) => {
                form.check_whole(&boundary, body, violations);
                return CheckedBody::Nothing;
            }
            (BodyContract::Form(form), _) => (form.check(body, violations), Cow::Borrowed(FORM)),
        };
        bytes.map_or(CheckedBody::Nothing, |bytes| CheckedBody::Bytes { bytes, content_type })
    }
}

impl PathContract {
    /// A contract for the template's parameters, of which some are typed.
    pub fn new(template: &[&str], mut typed: Vec<TextParameter>) -> Result<Self, UnknownPathParameter> {
        let take = |name: &&str| {
            let index = typed.iter().position(|parameter| *parameter.name == **name)?;
            Some(typed.swap_remove(index))
        };
        let parameters = template.iter().map(take).collect();
        match typed.pop() {
            Some(unknown) => Err(UnknownPathParameter(unknown.name.into())),
            None => Ok(Self(parameters)),
        }
    }

    /// Checks decoded values, given in the order of the template, and appends their canonical forms.
    pub fn check<'a>(&self, captures: &'a [Cow<'_, str>], out: &mut PathValues<'a>, violations: &mut Violations) {
        for (index, capture) in captures.iter().enumerate() {
            let typed = self.0.get(index).and_then(Option::as_ref);
            let value = match typed.map(|parameter| (parameter, &parameter.value)) {
                Some((parameter, TextValue::One(text))) => {
                    text.check(capture, &At::PATH.name(&parameter.name), violations).as_text()
                }
                _ => capture,
            };
            out.push(Cow::Borrowed(value));
        }
    }
}

impl QueryContract {
    /// Everything passes as it came.
    pub fn any() -> Self {
        Self(Query::Any)
    }

    /// These parameters, in order of declaration.
    pub fn declared(parameters: Vec<TextParameter>, undeclared: Undeclared) -> Self {
        Self(Query::Declared(Pairs::new(Style::Query, parameters, undeclared)))
    }

    /// Whether a parameter that is not declared is a violation.
    pub fn refuses_undeclared(&self) -> bool {
        match &self.0 {
            Query::Any => false,
            Query::Declared(pairs) => pairs.undeclared_are() == Undeclared::Reject,
        }
    }

    /// Checks the client's query and appends the service's, which is empty when none is to be sent. `out` is as
    /// before when there are violations.
    pub fn check(&self, raw: Option<&str>, out: &mut String, violations: &mut Violations) {
        match &self.0 {
            Query::Any => out.push_str(raw.unwrap_or_default()),
            Query::Declared(pairs) => pairs.check(raw.unwrap_or_default().as_bytes(), out, violations),
        }
    }
}
