//! Which trace a request is part of: W3C Trace Context, and which of the traces that begin here are recorded.
//!
//! A `traceparent` is taken as it should be or not at all: one field, lower case, no id of zeros, exactly the length of
//! version 00, and of later versions the part that version 00 knows. A `tracestate` that breaks a rule is left out, and
//! the trace goes on without it. Of its flags the gateway knows and passes on the sampled one; the rest are reserved.
//!
//! A trace is recorded by the low 56 bits of its id, which OpenTelemetry takes as its randomness: services that record
//! the same share decide alike without asking each other.

#[cfg(test)]
mod tests;

use std::num::{NonZeroU64, NonZeroU128};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

/// `traceparent`: the trace, and the span in it that asks.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`: what tracing systems say of it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

/// Most members of a `tracestate`.
const MAX_MEMBERS: usize = 32;

/// Longest `tracestate` that is passed on, in bytes: what every system has to take.
const MAX_STATE: usize = 512;

/// Members longer than this are the first to go where a `tracestate` is too long, in bytes.
const LARGE_MEMBER: usize = 128;

/// Longest key and longest value of a member, in bytes.
const MAX_PART: usize = 256;

/// One part in a million.
const MILLION: u32 = 1_000_000;

/// The name of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

/// The name of a span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

/// What a `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace.
    pub trace: TraceId,
    /// The span that asks.
    pub span: SpanId,
    /// Whether who asks records the trace.
    pub sampled: bool,
}

impl TraceId {
    /// The id that these bits make; a one stands for all zeros, which are none.
    pub fn of(bits: u128) -> Self {
        Self(NonZeroU128::new(bits).unwrap_or(NonZeroU128::MIN))
    }

    /// As traces are exported.
    pub fn bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }

    /// 32 hexadecimal digits.
    pub fn text(self) -> [u8; 32] {
        let mut text = [0; 32];
        write_hexadecimal(&mut text, &self.bytes());
        text
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Digits are text.
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl SpanId {
    /// The id that these bits make; a one stands for all zeros, which are none.
    pub fn of(bits: u64) -> Self {
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// The id of a part of this span: the same whenever it is asked for, so that it need not be kept, and another for
    /// every number. The mixing is that of SplitMix64.
    pub fn child(self, number: u32) -> Self {
        let mut bits = self.0.get().wrapping_add(u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self::of(bits ^ (bits >> 31))
    }

    /// As spans are exported.
    pub fn bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl Traceparent {
    /// What the one `traceparent` says; `None` when it is none, and when there are several.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::parse(value.as_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split(|&byte| byte == b'-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits).and_then(hexadecimal);
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            // Later versions may go on.
            _ => rest.first().is_none_or(|&byte| byte == b'-'),
        };
        let span = u64::try_from(span).ok().and_then(NonZeroU64::new)?;
        let trace = NonZeroU128::new(trace)?;
        fits.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & 1 == 1 })
    }

    /// The header that says it.
    pub fn value(self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hexadecimal(&mut text[3..35], &self.trace.bytes());
        write_hexadecimal(&mut text[36..52], &self.span.bytes());
        write_hexadecimal(&mut text[53..], &[u8::from(self.sampled)]);
        // Digits and hyphens are always a valid value; the fallback keeps this free of panics.
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

/// The `tracestate` to pass on. Where it is too long, large members go first and then the last ones, which have been
/// written longest ago. `None`: there is none, or it breaks a rule.
pub fn tracestate(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut members: SmallVec<[&[u8]; 8]> = SmallVec::new();
    for value in headers.get_all(TRACESTATE) {
        for member in value.as_bytes().split(|&byte| byte == b',') {
            let member = trim(member);
            if member.is_empty() {
                continue;
            }
            let key = key_of(member)?;
            if members.len() == MAX_MEMBERS || members.iter().any(|other| key_of(other) == Some(key)) {
                return None;
            }
            members.push(member);
        }
    }
    let length = |members: &[&[u8]]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    if length(&members) > MAX_STATE {
        members.retain(|member| member.len() <= LARGE_MEMBER);
    }
    while length(&members) > MAX_STATE {
        members.pop();
    }
    if members.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&members.join(&b","[..])).ok()
}

/// Spaces and tabs around a member mean nothing.
fn trim(member: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = member.iter().position(|byte| !blank(byte)).unwrap_or(member.len());
    let end = member.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &member[start..end]
}

/// The key of a member; `None` when it is none.
fn key_of(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let of_key = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let of_value = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'=';
    let fits = key.len() <= MAX_PART && (1..=MAX_PART).contains(&value.len());
    (begins && fits && key.iter().all(of_key) && value.iter().all(of_value)).then_some(key)
}

/// A share of all traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The least randomness that is taken; 2⁵⁶ takes none.
    threshold: u64,
}

impl Share {
    /// So many of a million; more are all.
    pub fn of_million(parts: u32) -> Self {
        let rest = u128::from(MILLION.saturating_sub(parts));
        let threshold = (rest << 56) / u128::from(MILLION);
        Self { threshold: u64::try_from(threshold).unwrap_or(u64::MAX) }
    }

    /// Whether this trace is in it.
    pub fn takes(self, trace: TraceId) -> bool {
        let [_, _, _, _, _, _, _, _, _, random @ ..] = trace.bytes();
        random.into_iter().fold(0, |bits, byte| bits << 8 | u64::from(byte)) >= self.threshold
    }
}

/// Up to 32 digits in lower case.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |bits, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(bits << 4 | u128::from(value))
    })
}

/// Writes two digits for each byte.
pub fn write_hexadecimal(out: &mut [u8], bytes: &[u8]) {
    for (digits, &byte) in out.as_chunks_mut().0.iter_mut().zip(bytes) {
        *digits = HEXADECIMAL[usize::from(byte)];
    }
}

/// The two digits of every byte.
const HEXADECIMAL: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};
