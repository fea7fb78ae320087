//! Content codings: which replies are compressed, and which coding a client gets.
//!
//! A client is offered what its `Accept-Encoding` takes (RFC 9110 section 12.5.3), by its own weights first and the order
//! of the configuration second. One that sends no such field gets the reply as it is, although the standard would allow
//! anything; so does one that takes nothing on offer, even not `identity`.
//!
//! Left alone is what has a coding already, a part of a whole, what says `no-transform`, what is too small to gain from
//! it, and what must reach the client piece by piece as framed: event streams and gRPC.
//!
//! What is compressed is another representation (section 8.8.3): a strong validator becomes a weak one, digests of the
//! bytes go, and so does the offer of ranges.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, StatusCode, Version};

/// A coding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Zstandard.
    Zstd,
    /// Brotli.
    Brotli,
    /// gzip.
    Gzip,
}

/// How much work is spent on a small body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// As little as possible.
    Least,
    /// Some.
    Medium,
    /// Much.
    Most,
}

/// Which replies are compressed, and with what.
#[derive(Debug)]
pub struct Compression {
    /// What is offered; of those that a client likes equally, the first.
    pub codings: Vec<Coding>,
    /// How much work is spent.
    pub effort: Effort,
    /// The types that are compressed.
    pub types: Vec<TypePattern>,
    /// Shorter bodies are not, where their length is known.
    pub min_size: u64,
}

/// Media types by their text: `text/html`, `text/*`, `application/*+json`. In lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern {
    before: Box<str>,
    /// What follows `*`; `None`: there is none.
    after: Option<Box<str>>,
}

/// Types that are known to shrink.
pub const SHRINKING: [&str; 13] = [
    "text/*",
    "application/json",
    "application/*+json",
    "application/x-ndjson",
    "application/xml",
    "application/*+xml",
    "application/javascript",
    "application/yaml",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
];

/// Never compressed, since every piece must arrive as it was sent; also with a suffix.
const NEVER: [&str; 2] = ["text/event-stream", "application/grpc"];

/// Digests of the bytes that the service sent.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

impl TypePattern {
    /// Reads a pattern; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        let text = text.to_ascii_lowercase();
        let (main, sub) = text.split_once('/')?;
        let plain = |text: &str| text.bytes().all(token);
        if main.is_empty() || !plain(main) || sub.is_empty() || !plain(&sub.replacen('*', "", 1)) {
            return None;
        }
        Some(match text.split_once('*') {
            Some((before, after)) => Self { before: before.into(), after: Some(after.into()) },
            None => Self { before: text.as_str().into(), after: None },
        })
    }

    fn fits(&self, essence: &str) -> bool {
        match &self.after {
            None => *essence == *self.before,
            Some(after) => essence
                .strip_prefix(&*self.before)
                .is_some_and(|rest| rest.len() > after.len() && rest.ends_with(&**after)),
        }
    }
}

impl Compression {
    /// Whether a reply is compressed for a client that takes it; of a 304, which has no body, whether the reply that it
    /// stands for may have been.
    pub fn concerns(&self, request: &Parts, status: StatusCode, headers: &HeaderMap) -> bool {
        let has_no_body = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::PARTIAL_CONTENT];
        if status.is_informational()
            || has_no_body.contains(&status)
            // It knows no chunks, and the length is not known before the end.
            || request.version < Version::HTTP_11
            || headers.contains_key(CONTENT_RANGE)
            || is_coded(headers)
            || forbids_transforming(headers)
            || forbids_transforming(&request.headers)
        {
            return false;
        }
        status == StatusCode::NOT_MODIFIED || (self.has_type(headers) && self.has_length(request, headers))
    }

    /// The coding for a client; `None`: it gets the reply as it is.
    pub fn choose(&self, request: &HeaderMap) -> Option<Coding> {
        let accepted = Accepted::of(request)?;
        // `max_by_key` would take the last of equals.
        let best = self.codings.iter().rev().max_by_key(|coding| accepted.weight(**coding))?;
        let weight = accepted.weight(*best);
        (weight > 0 && accepted.identity.is_none_or(|identity| identity <= weight)).then_some(*best)
    }

    fn has_type(&self, headers: &HeaderMap) -> bool {
        let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        !NEVER.iter().any(|never| essence.starts_with(never)) && self.types.iter().any(|types| types.fits(&essence))
    }

    /// Whether there is a body that is long enough. One that is announced by neither field is empty, except where a
    /// HEAD asks for the header of one.
    fn has_length(&self, request: &Parts, headers: &HeaderMap) -> bool {
        match headers.get(CONTENT_LENGTH) {
            Some(length) => {
                let length = length.to_str().ok().and_then(|length| length.parse::<u64>().ok());
                length.is_some_and(|length| length >= self.min_size.max(1))
            }
            None => headers.contains_key(TRANSFER_ENCODING) || request.method == Method::HEAD,
        }
    }
}

fn is_coded(headers: &HeaderMap) -> bool {
    let identity = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    !headers.get_all(CONTENT_ENCODING).iter().all(identity)
}

fn forbids_transforming(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    values
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

impl Coding {
    /// As in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Makes the header of a reply that of its compressed form.
    pub fn describe(self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(self.name()));
        for name in DIGESTS.iter().chain([&ACCEPT_RANGES]) {
            headers.remove(name);
        }
        // Without a length it comes in chunks; what is no HTTP/1.1 leaves that field out.
        if headers.remove(CONTENT_LENGTH).is_some() {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        weaken(headers);
    }
}

/// Makes a strong validator a weak one: it stands for several representations.
pub fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(ETAG, weak);
    }
}

/// What a client takes, with weights in thousandths.
#[derive(Debug, Default)]
struct Accepted {
    zstd: Option<u16>,
    brotli: Option<u16>,
    gzip: Option<u16>,
    /// Where it says so itself.
    identity: Option<u16>,
    others: u16,
}

impl Accepted {
    /// `None`: it says nothing.
    fn of(request: &HeaderMap) -> Option<Self> {
        let mut values = request.get_all(ACCEPT_ENCODING).iter().peekable();
        values.peek()?;
        let mut accepted = Self::default();
        for member in values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')) {
            let Some((name, weight)) = std::str::from_utf8(member).ok().and_then(weighed) else { continue };
            match name.to_ascii_lowercase().as_str() {
                "zstd" => accepted.zstd = Some(weight),
                "br" => accepted.brotli = Some(weight),
                "gzip" | "x-gzip" => accepted.gzip = Some(weight),
                "identity" => accepted.identity = Some(weight),
                "*" => accepted.others = weight,
                _ => {}
            }
        }
        Some(accepted)
    }

    fn weight(&self, coding: Coding) -> u16 {
        let own = match coding {
            Coding::Zstd => self.zstd,
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        };
        own.unwrap_or(self.others)
    }
}

/// A name with its weight, which is 1 unless said; `None`: it is none.
fn weighed(member: &str) -> Option<(&str, u16)> {
    let (name, weight) = match member.split_once(';') {
        None => return Some((member.trim(), 1000)),
        Some((name, weight)) => (name.trim(), weight.trim()),
    };
    let weight = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="))?;
    let weight: f32 = weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
    Some((name, (weight * 1000.0) as u16))
}

#[cfg(test)]
mod tests;
