//! Values about the traffic to services: statuses, what a choice goes by, what is tried again.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

use super::{FieldName, Written};

/// A status, or a range of them with both ends: `503`, `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Statuses {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// After what a request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// No connection could be opened.
    Connect,
    /// The connection ended before the reply's header did.
    Reset,
    /// The reply's header did not come in time.
    Timeout,
    /// The reply has this status.
    Status(u16),
}

/// Of what the same value leads to the same target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BalanceKey {
    /// The consumer.
    Consumer,
    /// The client's address.
    ClientIp,
    /// The value of this header.
    Header(FieldName),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this parameter of the gateway path.
    Path(String),
}

impl Statuses {
    /// Whether a status is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// A status of a final response.
fn status(text: &str) -> Option<u16> {
    let is_status = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| is_status && (200..=599).contains(status))
}

impl Written for Statuses {
    const EXPECTED: &'static str = "a status like `503` or a range like `200-299`";
    const DESCRIPTION: &'static str = "A status from 200 to 599, or a range of them with both ends.";
    const PATTERN: &'static str = "[2-5][0-9]{2}(-[2-5][0-9]{2})?";
    const EXAMPLES: &'static [&'static str] = &["503", "200-299"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = status(first).zip(status(last)).ok_or(Self::EXPECTED)?;
        if first > last {
            return Err("a range from the lower to the higher status like `200-299`");
        }
        Ok(Self { first, last })
    }
}

impl Written for RetryOn {
    const EXPECTED: &'static str = "`connect`, `reset`, `timeout` or a status like `503`";
    const DESCRIPTION: &'static str = "`connect`, `reset`, `timeout`, or a status from 400 to 599.";
    const PATTERN: &'static str = "connect|reset|timeout|[45][0-9]{2}";
    const EXAMPLES: &'static [&'static str] = &["connect", "reset", "timeout", "503"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "connect" => Ok(Self::Connect),
            "reset" => Ok(Self::Reset),
            "timeout" => Ok(Self::Timeout),
            _ => status(text).filter(|status| *status >= 400).map(Self::Status).ok_or(Self::EXPECTED),
        }
    }
}

impl Written for BalanceKey {
    const EXPECTED: &'static str = "`consumer`, `client_ip`, `header:NAME`, `cookie:NAME` or `path:PARAMETER`";
    const DESCRIPTION: &'static str = "Of what the same value leads to the same target.";
    const PATTERN: &'static str = r"consumer|client_ip|(header|cookie):[-!#$%&'*+.^_`|~0-9A-Za-z]+|path:[^ ]+";
    const EXAMPLES: &'static [&'static str] =
        &["consumer", "client_ip", "header:x-tenant", "cookie:session", "path:id"];

    fn parse(text: &str) -> Result<Self, &'static str> {
        match (text, text.split_once(':')) {
            ("consumer", _) => Ok(Self::Consumer),
            ("client_ip", _) => Ok(Self::ClientIp),
            (_, Some(("header", name))) => FieldName::parse(name).map(Self::Header),
            // A cookie's name has the characters of a field's.
            (_, Some(("cookie", name))) => match FieldName::parse(name) {
                Ok(_) => Ok(Self::Cookie(name.to_owned())),
                Err(_) => Err("the name of a cookie like `cookie:session`"),
            },
            (_, Some(("path", name))) if !name.is_empty() && !name.contains(' ') => Ok(Self::Path(name.to_owned())),
            _ => Err(Self::EXPECTED),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

impl fmt::Display for BalanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consumer => f.write_str("consumer"),
            Self::ClientIp => f.write_str("client_ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Path(name) => write!(f, "path:{name}"),
        }
    }
}

/// Reads what may be a number for those who write no quotes around it.
struct StatusVisitor<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for StatusVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::parse(&number.to_string()).map_err(|expected| E::invalid_value(Unexpected::Unsigned(number), &expected))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).map_err(|expected| E::invalid_value(T::found(text), &expected))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor(PhantomData))
    }
}
