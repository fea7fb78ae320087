//! Values with a grammar of their own: durations, sizes, rates, hashes, header names.
//!
//! A value that exists is right: the parser is the check. What cannot be parsed is refused with the form that would be
//! right, and the text that was found is handed over as serde's `Unexpected`, never inside a sentence, so that the
//! caller can leave out the value of a placeholder. Each type writes itself as it is read, except [`Sha256`], which
//! never shows itself.

mod shapes;
mod share;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

pub use shapes::{OneOrMany, Parameters};
pub(super) use shapes::{distinct_headers, present};
pub use share::Share;

/// A length of time above zero and of at most 365 days: `500ms`, `30s`, `5m`, `1h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// A number of bytes: `512B`, `64KiB`, `1MiB`, `10MB`, or a plain integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// How much per time: `100/minute`, `5/second burst 10`.
///
/// Invariant: `count` and `burst` are at least 1; a day or a month has no burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// Per what.
    pub period: Period,
    /// How many at once; absent: `count`.
    pub burst: Option<u64>,
}

/// The time of a [`Rate`]. Seconds, minutes and hours roll; days and months are those of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// `second`
    Second,
    /// `minute`
    Minute,
    /// `hour`
    Hour,
    /// `day`
    Day,
    /// `month`
    Month,
}

/// A SHA-256, written as 64 hexadecimal digits. It stands for a key, so it is never shown again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

/// The name of a header field, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldName(pub HeaderName);

/// For whom a route's limit counts separately: `client_ip`, `consumer`, `route`, `header:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitBy {
    /// The client's address.
    ClientIp,
    /// The consumer.
    Consumer,
    /// Nobody: all requests of the route together.
    Route,
    /// The value of this header.
    Header(FieldName),
    /// The value of this claim of a token.
    Claim(String),
}

impl Duration {
    /// `seconds` must be above zero.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// The standard library's form.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl Size {
    /// So many times 1024 bytes.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1024))
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Period {
    const WORDS: [(&'static str, Self); 5] = [
        ("second", Self::Second),
        ("minute", Self::Minute),
        ("hour", Self::Hour),
        ("day", Self::Day),
        ("month", Self::Month),
    ];
}

impl FieldName {
    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialOrd for FieldName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FieldName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

/// A type that is written as one piece of text.
trait Written: Sized {
    /// What would be right, with an example in backticks.
    const EXPECTED: &'static str;
    /// What it is, for the schema that editors use.
    const DESCRIPTION: &'static str;
    /// Every text that [`Self::parse`] takes and no other of a wrong form; numbers it may take beyond their bounds.
    const PATTERN: &'static str;
    /// Texts that are right.
    const EXAMPLES: &'static [&'static str];

    /// The value, or what would have been right.
    fn parse(text: &str) -> Result<Self, &'static str>;

    /// How a refused text is called.
    fn found(text: &str) -> Unexpected<'_> {
        Unexpected::Str(text)
    }
}

impl Written for Duration {
    const EXPECTED: &'static str = "a duration like `30s`";
    const DESCRIPTION: &'static str =
        "A length of time above zero and of at most 365 days: a whole number of `ms`, `s`, `m`, `h` or `d`.";
    const PATTERN: &'static str = r"0*[1-9][0-9]*(ms|s|m|h|d)";
    const EXAMPLES: &'static [&'static str] = &["500ms", "30s", "5m", "1h", "1d"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        const LONGEST: u64 = 365 * 86_400_000;
        let (number, unit) = split_number(text).ok_or(Self::EXPECTED)?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(Self::EXPECTED),
        };
        match number.checked_mul(unit) {
            Some(0) => Err("a duration above zero like `30s`"),
            Some(millis) if millis <= LONGEST => Ok(Self(std::time::Duration::from_millis(millis))),
            _ => Err("a duration of at most `365d`"),
        }
    }
}

impl Written for Size {
    const EXPECTED: &'static str = "a size like `64KiB`";
    const DESCRIPTION: &'static str =
        "A number of bytes: `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB`, or a plain integer.";
    const PATTERN: &'static str = r"[0-9]+(B|KiB|MiB|GiB|KB|MB|GB)?";
    const EXAMPLES: &'static [&'static str] = &["512B", "64KiB", "1MiB", "10MB"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (number, unit) = split_number(text).ok_or(Self::EXPECTED)?;
        let unit = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(Self::EXPECTED),
        };
        number.checked_mul(unit).map(Self).ok_or("a size below `16000000000GiB`")
    }
}

impl Written for Rate {
    const EXPECTED: &'static str = "a rate like `100/minute` or `5/second burst 10`";
    const DESCRIPTION: &'static str =
        "How much per `second`, `minute`, `hour`, `day` or `month`; the first three may name a burst.";
    const PATTERN: &'static str = r"0*[1-9][0-9]*/(day|month|(second|minute|hour)( burst 0*[1-9][0-9]*)?)";
    const EXAMPLES: &'static [&'static str] = &["100/minute", "5/second burst 10", "1000/day"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (count, rest) = text.split_once('/').ok_or(Self::EXPECTED)?;
        let (period, burst) = match rest.split_once(" burst ") {
            Some((period, burst)) => (period, Some(whole_number(burst).ok_or(Self::EXPECTED)?)),
            None => (rest, None),
        };
        let count = whole_number(count).ok_or(Self::EXPECTED)?;
        let (_, period) = Period::WORDS
            .into_iter()
            .find(|(word, _)| *word == period)
            .ok_or("a rate per `second`, `minute`, `hour`, `day` or `month`")?;
        if count == 0 || burst == Some(0) {
            return Err("a rate with numbers above zero like `100/minute`");
        }
        if burst.is_some() && matches!(period, Period::Day | Period::Month) {
            return Err("a rate per day or month without a burst");
        }
        Ok(Self { count, period, burst })
    }
}

impl Written for Sha256 {
    const EXPECTED: &'static str = "64 hexadecimal digits";
    const DESCRIPTION: &'static str = "64 hexadecimal digits.";
    const PATTERN: &'static str = "[0-9A-Fa-f]{64}";
    const EXAMPLES: &'static [&'static str] = &[];

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut bytes = [0; 32];
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(Self::EXPECTED) };
        if pairs.len() != bytes.len() {
            return Err(Self::EXPECTED);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(Self::EXPECTED) };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }

    /// Who misunderstood the field has written the key itself.
    fn found(_: &str) -> Unexpected<'_> {
        Unexpected::Other("other text")
    }
}

impl Written for FieldName {
    const EXPECTED: &'static str = "a header name like `x-api-key`";
    const DESCRIPTION: &'static str = "The name of a header field; case does not matter.";
    const PATTERN: &'static str = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+";
    const EXAMPLES: &'static [&'static str] = &["x-api-key"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        HeaderName::from_bytes(text.as_bytes()).map(Self).map_err(|_| Self::EXPECTED)
    }
}

impl Written for LimitBy {
    const EXPECTED: &'static str = "`client_ip`, `consumer`, `route`, `header:NAME` or `claim:NAME`";
    const DESCRIPTION: &'static str = "For whom it counts separately.";
    const PATTERN: &'static str = r"client_ip|consumer|route|header:[-!#$%&'*+.^_`|~0-9A-Za-z]+|claim:[!#-\[\]-~]+";
    const EXAMPLES: &'static [&'static str] = &["client_ip", "consumer", "route", "header:x-tenant", "claim:tenant"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "client_ip" => Ok(Self::ClientIp),
            "consumer" => Ok(Self::Consumer),
            "route" => Ok(Self::Route),
            _ => {
                if let Some(path) = text.strip_prefix("claim:") {
                    return claim_path(path).map(Self::Claim);
                }
                let name = text.strip_prefix("header:").ok_or(Self::EXPECTED)?;
                FieldName::parse(name).map(Self::Header)
            }
        }
    }
}

/// Where a claim is: it becomes part of a limit's name, which clients are told between quotes.
fn claim_path(path: &str) -> Result<String, &'static str> {
    let quotable = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    match !path.is_empty() && path.bytes().all(quotable) {
        true => Ok(path.to_owned()),
        false => Err("the name of a claim like `tenant` or `realm.tenant`, without spaces, quotes and backslashes"),
    }
}

/// Digits and what follows them. No sign, no fraction.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

fn whole_number(text: &str) -> Option<u64> {
    split_number(text).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, word) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if millis.is_multiple_of(unit) {
                return write!(f, "{}{word}", millis / unit);
            }
        }
        write!(f, "{millis}ms")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, word) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 > 0 && self.0.is_multiple_of(unit) {
                return write!(f, "{}{word}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period)?;
        match self.burst {
            Some(burst) => write!(f, " burst {burst}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(***)")
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for LimitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Consumer => f.write_str("consumer"),
            Self::Route => f.write_str("route"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Claim(path) => write!(f, "claim:{path}"),
        }
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).map_err(|expected| E::invalid_value(T::found(text), &expected))
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Size::EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        TextVisitor(PhantomData).visit_str(text)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = text_schema::<Self>();
        json_schema!({
            "description": Self::DESCRIPTION,
            "examples": Self::EXAMPLES,
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": text.get("pattern") }],
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Reads a type with [`Written`] from text.
macro_rules! read_from_text {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(PhantomData))
            }
        }
    )*};
}

/// How a type with [`Written`] is described to editors. A placeholder may stand for any part of it.
fn text_schema<T: Written>() -> Schema {
    let mut schema = json_schema!({
        "description": T::DESCRIPTION,
        "type": "string",
        "pattern": format!(r"^({})$|\$\{{", T::PATTERN),
    });
    if !T::EXAMPLES.is_empty() {
        schema.insert("examples".to_owned(), T::EXAMPLES.into());
    }
    schema
}

/// Describes a type with [`Written`].
macro_rules! describe_text {
    ($($name:ident)*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                text_schema::<Self>()
            }
        }
    )*};
}

/// Writes a type as its `Display` does.
macro_rules! write_as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

read_from_text!(Duration Rate Sha256 FieldName LimitBy Share);
describe_text!(Duration Rate Sha256 FieldName LimitBy Share);
write_as_text!(Duration Size Rate Period Sha256 FieldName LimitBy Share);
