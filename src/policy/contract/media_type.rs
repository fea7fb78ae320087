//! Which bodies a contract can read, by their headers alone.
//!
//! The answer comes before the body does, so that a client is told 415 without sending it. A body without a
//! `Content-Type` is taken for what the contract declares, because the contract is checked anyway. Two of them, a
//! charset other than UTF-8, and any content coding are refused: what was checked must be what the service reads.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use smallvec::SmallVec;

use super::multipart::Boundary;

/// Evidence that the body's declared form is one the contract reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media(pub(super) MediaKind);

impl Media {
    /// An urlencoded form, whatever the request says.
    pub fn form() -> Self {
        Self(MediaKind::Form)
    }

    /// The boundary, when this is a multipart form.
    pub fn boundary(&self) -> Option<&Boundary> {
        match &self.0 {
            MediaKind::Multipart(boundary) => Some(boundary),
            MediaKind::Unread | MediaKind::Json(_) | MediaKind::Form => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MediaKind {
    /// The contract does not read the body.
    Unread,
    /// `application/json`, or another type that is JSON.
    Json(Cow<'static, str>),
    Form,
    /// `multipart/form-data`.
    Multipart(Boundary),
}

impl MediaKind {
    /// The JSON type that the service is told.
    pub(super) fn json(self) -> Cow<'static, str> {
        match self {
            Self::Json(media) => media,
            Self::Unread | Self::Form | Self::Multipart(_) => Cow::Borrowed(JSON),
        }
    }
}

/// Why a body is answered with 415.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaFault {
    /// Not the type that the contract declares, or more than one.
    #[error("content type must be {expected}")]
    Type {
        /// The right one.
        expected: &'static str,
    },
    /// A charset other than UTF-8.
    #[error("charset must be utf-8")]
    Charset,
    /// A content coding.
    #[error("content coding must be identity")]
    Coding,
    /// `multipart/form-data` without one well-formed boundary.
    #[error("boundary of the form is missing or malformed")]
    Boundary,
}

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const MULTIPART: &str = "multipart/form-data";
const ANY_FORM: &str = "application/x-www-form-urlencoded or multipart/form-data";

/// The types of a form that a contract reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormTypes {
    /// Urlencoded or multipart.
    Both,
    /// Multipart alone, since there are files.
    Multipart,
}

/// Reads the headers for a contract that takes JSON.
pub(super) fn accept_json(headers: &HeaderMap) -> Result<Media, MediaFault> {
    let media = match declared(headers, JSON)?.map(|media| media.essence) {
        None => Cow::Borrowed(JSON),
        Some(essence) if essence == JSON => Cow::Borrowed(JSON),
        Some(essence) if is_json_variant(&essence) => Cow::Owned(essence),
        Some(_) => return Err(MediaFault::Type { expected: JSON }),
    };
    Ok(Media(MediaKind::Json(media)))
}

/// Reads the headers for a contract that takes a form.
pub(super) fn accept_form(headers: &HeaderMap, types: FormTypes) -> Result<Media, MediaFault> {
    let expected = match types {
        FormTypes::Both => ANY_FORM,
        FormTypes::Multipart => MULTIPART,
    };
    match declared(headers, expected)? {
        Some(media) if media.essence == FORM && types == FormTypes::Both => Ok(Media(MediaKind::Form)),
        Some(media) if media.essence == MULTIPART => {
            let mut boundaries = media.all("boundary");
            match (boundaries.next().and_then(Boundary::parse), boundaries.next()) {
                (Some(boundary), None) => Ok(Media(MediaKind::Multipart(boundary))),
                _ => Err(MediaFault::Boundary),
            }
        }
        _ => Err(MediaFault::Type { expected }),
    }
}

/// Whether a reply says that it is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        essence == JSON || is_json_variant(&essence)
    })
}

fn is_json_variant(essence: &str) -> bool {
    essence
        .strip_prefix("application/")
        .and_then(|subtype| subtype.strip_suffix("+json"))
        .is_some_and(|s| !s.is_empty())
}

/// The one media type of a body; its charset and the coding are checked on the way.
fn declared<'h>(headers: &'h HeaderMap, expected: &'static str) -> Result<Option<MediaType<'h>>, MediaFault> {
    let identity = |value: &http::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        return Err(MediaFault::Coding);
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = MediaFault::Type { expected };
    if values.next().is_some() {
        return Err(wrong);
    }
    let media = MediaType::parse(value.to_str().map_err(|_| wrong)?).ok_or(wrong)?;
    if media.all("charset").any(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        return Err(MediaFault::Charset);
    }
    Ok(Some(media))
}

/// A media type with its parameters.
pub(super) struct MediaType<'a> {
    /// In lower case, without parameters.
    pub(super) essence: String,
    parameters: SmallVec<[(&'a str, Cow<'a, str>); 2]>,
}

impl<'a> MediaType<'a> {
    /// Reads what RFC 9110 8.3.1 calls a media type; nothing when it is none.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (essence, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let essence = essence.trim_matches([' ', '\t']);
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut parameters = SmallVec::new();
        while !rest.is_empty() {
            let (parameter, after) = parameter(rest)?;
            rest = after;
            parameters.extend(parameter);
        }
        Some(Self { essence: essence.to_ascii_lowercase(), parameters })
    }

    /// The values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(move |(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

type Parameter<'a> = Option<(&'a str, Cow<'a, str>)>;

/// One `; name=value` of RFC 9110 5.6.6, which may be empty, and what follows it.
fn parameter(text: &str) -> Option<(Parameter<'_>, &str)> {
    let text = text.strip_prefix(';')?.trim_start_matches([' ', '\t']);
    if text.is_empty() || text.starts_with(';') {
        return Some((None, text));
    }
    let (name, value) = text.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => {
            let (value, rest) = unquoted(quoted)?;
            (Cow::Owned(value), rest)
        }
        None => {
            let (value, rest) = value.split_at(value.find([';', ' ', '\t']).unwrap_or(value.len()));
            (Cow::Borrowed(value), rest)
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    ((rest.is_empty() || rest.starts_with(';')) && is_value(&value)).then_some((Some((name, value)), rest))
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}

fn is_value(value: &str) -> bool {
    value.chars().all(|char| char == '\t' || !char.is_ascii_control())
}

/// RFC 9110 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
