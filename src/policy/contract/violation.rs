//! What a request did wrong, as the caller shows it to the client.
//!
//! A [`Violation`] names the place ([`Loc`]), the rule in words and the rule as a closed kind. It never holds a value
//! the client sent, because that could be a secret; it may hold the *name* of an undeclared parameter, shortened.
//!
//! Invariant: [`Violations`] holds at most [`MAX_VIOLATIONS`]; whoever collects stops walking when it is full, so a
//! hostile body costs neither memory nor time in proportion to its faults. Places are kept as a linked list on the
//! stack ([`At`]) and written down only when something is wrong: a valid request pays nothing for them.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use smallvec::SmallVec;

/// The most violations that one request reports.
pub const MAX_VIOLATIONS: usize = 100;

/// The most bytes of a name chosen by the client that a place repeats.
const MAX_NAME: usize = 128;

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub loc: Loc,
    /// The rule, in words; never the client's value.
    pub msg: Cow<'static, str>,
    /// The rule.
    pub kind: ViolationKind,
}

impl Serialize for Violation {
    /// `{"loc": [...], "msg": "...", "type": "..."}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Violation", 3)?;
        object.serialize_field("loc", &self.loc)?;
        object.serialize_field("msg", &self.msg)?;
        object.serialize_field("type", self.kind.code())?;
        object.end()
    }
}

impl Violation {
    /// A fault of the body as a whole.
    pub fn body(kind: ViolationKind, msg: impl Into<Cow<'static, str>>) -> Self {
        Self { loc: At::BODY.loc(), msg: msg.into(), kind }
    }
}

/// A place in a request: `["query", "v", 1]`. The first part is `path`, `query`, `header`, `cookie` or
/// `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loc(pub SmallVec<[LocPart; 3]>);

impl fmt::Display for Loc {
    /// `query.v.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "." } else { "" })?;
            match part {
                LocPart::Text(text) => f.write_str(text)?,
                LocPart::Index(index) => write!(f, "{index}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Loc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

/// One step of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocPart {
    /// A source or a name.
    Text(Cow<'static, str>),
    /// A position in an array.
    Index(usize),
}

impl Serialize for LocPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Index(index) => serializer.serialize_u64(*index as u64),
        }
    }
}

/// Which rule was broken. The codes follow pydantic 2 where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// A required value is absent.
    Missing,
    /// Text that is not an integer.
    IntParsing,
    /// Text that is not a number.
    FloatParsing,
    /// Text that is not `true` or `false`.
    BoolParsing,
    /// Text with a broken escape or bytes that are not UTF-8.
    StringUnicode,
    /// JSON of another type than string.
    StringType,
    /// JSON of another type than integer.
    IntType,
    /// JSON of another type than number.
    FloatType,
    /// JSON of another type than boolean.
    BoolType,
    /// JSON of another type than object.
    DictType,
    /// JSON of another type than array.
    ListType,
    /// JSON other than null.
    NoneRequired,
    /// Not one of the listed values.
    Enum,
    /// Not the one value.
    Const,
    /// Not above an exclusive lower bound.
    GreaterThan,
    /// Below a lower bound.
    GreaterThanEqual,
    /// Not below an exclusive upper bound.
    LessThan,
    /// Above an upper bound.
    LessThanEqual,
    /// Not a multiple.
    MultipleOf,
    /// A string with too few characters.
    StringTooShort,
    /// A string with too many characters.
    StringTooLong,
    /// A string that does not match.
    StringPatternMismatch,
    /// An array or object with too few entries.
    TooShort,
    /// An array or object, or a request, with too many entries.
    TooLong,
    /// An array that holds a value twice.
    UniqueItems,
    /// A name that the contract does not declare.
    ExtraForbidden,
    /// A JSON object that has a name twice.
    DuplicateName,
    /// A body that is not JSON, or nested too deep.
    JsonInvalid,
    /// A body of another media type, charset or coding. Only ever observed: otherwise it is answered with 415.
    MediaType,
    /// A string that is not of the format.
    Format,
    /// A form field that is not a file.
    FileType,
    /// A file of a media type that is not listed.
    FileContentType,
    /// A file with too many bytes.
    FileTooLarge,
    /// Any other rule.
    ValueError,
}

impl ViolationKind {
    /// How many there are.
    pub const COUNT: usize = Self::ValueError as usize + 1;

    /// The kind as clients see it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::IntParsing => "int_parsing",
            Self::FloatParsing => "float_parsing",
            Self::BoolParsing => "bool_parsing",
            Self::StringUnicode => "string_unicode",
            Self::StringType => "string_type",
            Self::IntType => "int_type",
            Self::FloatType => "float_type",
            Self::BoolType => "bool_type",
            Self::DictType => "dict_type",
            Self::ListType => "list_type",
            Self::NoneRequired => "none_required",
            Self::Enum => "enum",
            Self::Const => "literal_error",
            Self::GreaterThan => "greater_than",
            Self::GreaterThanEqual => "greater_than_equal",
            Self::LessThan => "less_than",
            Self::LessThanEqual => "less_than_equal",
            Self::MultipleOf => "multiple_of",
            Self::StringTooShort => "string_too_short",
            Self::StringTooLong => "string_too_long",
            Self::StringPatternMismatch => "string_pattern_mismatch",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::UniqueItems => "unique_items",
            Self::ExtraForbidden => "extra_forbidden",
            Self::DuplicateName => "duplicate_name",
            Self::JsonInvalid => "json_invalid",
            Self::MediaType => "media_type",
            Self::Format => "format",
            Self::FileType => "file_type",
            Self::FileContentType => "file_content_type",
            Self::FileTooLarge => "file_too_large",
            Self::ValueError => "value_error",
        }
    }
}

/// The violations of one request, in the order they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// None yet. Does not allocate.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether the request kept its contract so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether further faults go unreported. There may be some.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_VIOLATIONS
    }

    /// The violations.
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    /// The violations, owned.
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }

    /// Takes down those of another list, unless there are enough.
    pub(super) fn extend(&mut self, others: Self) {
        let room = MAX_VIOLATIONS.saturating_sub(self.len());
        self.0.extend(others.0.into_iter().take(room));
    }

    /// Takes one down, unless there are enough.
    #[cold]
    pub(super) fn push(&mut self, at: &At<'_>, kind: ViolationKind, msg: impl Into<Cow<'static, str>>) {
        if !self.is_full() {
            self.0.push(Violation { loc: at.loc(), msg: msg.into(), kind });
        }
    }
}

/// A place while it is being walked: a step and where it was taken from.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Source(&'static str),
    Name(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(super) const PATH: At<'static> = At { parent: None, step: Step::Source("path") };
    pub(super) const QUERY: At<'static> = At { parent: None, step: Step::Source("query") };
    pub(super) const HEADER: At<'static> = At { parent: None, step: Step::Source("header") };
    pub(super) const COOKIE: At<'static> = At { parent: None, step: Step::Source("cookie") };
    pub(super) const BODY: At<'static> = At { parent: None, step: Step::Source("body") };

    pub(super) const REPLY: At<'static> = At { parent: None, step: Step::Source("reply") };

    pub(super) fn name(&'a self, name: &'a str) -> At<'a> {
        At { parent: Some(self), step: Step::Name(name) }
    }

    pub(super) fn index(&'a self, index: usize) -> At<'a> {
        At { parent: Some(self), step: Step::Index(index) }
    }

    fn loc(&self) -> Loc {
        let mut parts = SmallVec::new();
        let mut next = Some(self);
        while let Some(at) = next {
            parts.push(match at.step {
                Step::Source(source) => LocPart::Text(Cow::Borrowed(source)),
                Step::Name(name) => LocPart::Text(Cow::Owned(shortened(name))),
                Step::Index(index) => LocPart::Index(index),
            });
            next = at.parent;
        }
        parts.reverse();
        Loc(parts)
    }
}

fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let end = (0..=MAX_NAME).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    format!("{}…", &name[..end])
}
