//! For whom a limit counts separately: a consumer, an address, the value of a header or claim, or the whole route.
//!
//! A subject is 128 bits, two independent ahash values with keys drawn at random when the process starts: names of any
//! length cost the same, and no client can aim at the counter of another. Two different subjects share a counter by
//! chance with a probability of 2^-128 for each pair; ahash is keyed but not a cryptographic hash, and its keys never
//! leave the process. Subjects of the same process may be made in advance and kept.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use ahash::RandomState;
use serde_json::Value;

static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

/// Whose counters a subject's are kept with, so that strangers cannot take the room of consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Known from the configuration or vouched for by an authenticator.
    Consumer,
    /// Chosen by whoever calls: an address, a header value.
    Stranger,
}

/// One of those for whom a limit counts separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) class: Class,
}

impl Subject {
    /// A consumer, by name.
    #[must_use]
    pub fn consumer(name: &str) -> Self {
        Self::new(Class::Consumer, ("consumer", name))
    }

    /// This subject on one route, apart from itself on any other.
    #[must_use]
    pub fn on(self, route: &str) -> Self {
        Self::new(self.class, (self.low, self.high, "on", route))
    }

    /// The value of a claim of a token that was verified.
    #[must_use]
    pub fn claim(value: &str) -> Self {
        Self::new(Class::Consumer, ("claim", value))
    }

    /// Whoever has this value in a claim, whatever they are called. Text, numbers and truth values count apart, numbers
    /// as they are written; what is absent, a list or an object is one subject of its own.
    #[must_use]
    pub fn claimed(value: Option<&Value>) -> Self {
        let scalar = match value {
            Some(Value::String(text)) => Some(("text", text.as_str())),
            Some(Value::Number(number)) => Some(("number", number.as_str())),
            Some(Value::Bool(truth)) => Some(("boolean", if *truth { "true" } else { "false" })),
            None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => None,
        };
        Self::new(Class::Consumer, ("claimed", scalar))
    }

    /// Everybody together: the limit of a route as a whole.
    #[must_use]
    pub fn everyone() -> Self {
        Self::new(Class::Consumer, "everyone")
    }

    /// A client address, IPv6 by its /64 (see [`client_of`]).
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        Self::new(Class::Stranger, ("address", client_of(ip)))
    }

    /// The value of a request header; `None` when it is absent, which is a subject of its own.
    #[must_use]
    pub fn header(value: Option<&[u8]>) -> Self {
        Self::new(Class::Stranger, ("header", value))
    }

    /// Whose counters this subject's are kept with.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    fn new(class: Class, value: impl Hash) -> Self {
        Self { low: KEYS[0].hash_one(&value), high: KEYS[1].hash_one(&value), class }
    }
}

/// The address under which a client is counted. An IPv6 customer holds at least a /64 and may call from any address of
/// it, so the lower half is cleared; an IPv4 address in IPv6 form is the IPv4 address.
#[must_use]
pub fn client_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The hash that names the counters of a limit in this process.
pub(super) fn identity(kind: &str, identity: &str) -> u64 {
    KEYS[0].hash_one(("limit", kind, identity))
}
