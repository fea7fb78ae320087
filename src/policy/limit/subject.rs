//! For whom a limit counts separately: a consumer, an address, the value of a header or claim, or the whole route.
//!
//! A subject is the first 128 bits of a SHA-256 over what it is and how it is called: the same in every process, so that
//! stores and nodes can keep counters together, and nobody can choose a name that shares the counter of another. Names
//! of any length cost the same. Subjects may be made in advance and kept.
//!
//! Where a counter lies in memory goes by [`scatter`], whose keys are drawn at random when the first process starts, so
//! that no client can choose names that crowd one place. A process that takes over goes on with the keys of the one
//! before: so what shared an entry there shares one here.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::OnceLock;

use ahash::RandomState;
use ring::digest::{Context, SHA256};
use serde_json::Value;

static SCATTER: OnceLock<Scatter> = OnceLock::new();

/// A keyed hash and its keys.
struct Scatter {
    keys: [u64; 4],
    hash: RandomState,
}

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

/// What sets a subject apart from itself elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    low: u64,
    high: u64,
}

impl Mark {
    /// Of a route, by name.
    #[must_use]
    pub fn route(name: &str) -> Self {
        let [low, high] = fingerprint("route", name.as_bytes());
        Self { low, high }
    }
}

impl Subject {
    /// A consumer, by name.
    #[must_use]
    pub fn consumer(name: &str) -> Self {
        Self::new(Class::Consumer, "consumer", name.as_bytes())
    }

    /// This subject at a mark, apart from itself at any other.
    #[must_use]
    pub fn on(self, mark: Mark) -> Self {
        // Both are digests, so their sum is as hard to choose as either.
        Self { low: self.low.wrapping_add(mark.low), high: self.high.wrapping_add(mark.high), class: self.class }
    }

    /// The value of a claim of a token that was verified.
    #[must_use]
    pub fn claim(value: &str) -> Self {
        Self::new(Class::Consumer, "claim", value.as_bytes())
    }

    /// Whoever has this value in a claim, whatever they are called. Text, numbers and truth values count apart, numbers
    /// as they are written; what is absent, a list or an object is one subject of its own.
    #[must_use]
    pub fn claimed(value: Option<&Value>) -> Self {
        match value {
            Some(Value::String(text)) => Self::new(Class::Consumer, "claimed text", text.as_bytes()),
            Some(Value::Number(number)) => Self::new(Class::Consumer, "claimed number", number.as_str().as_bytes()),
            Some(Value::Bool(truth)) => Self::new(Class::Consumer, "claimed boolean", &[u8::from(*truth)]),
            None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
                Self::new(Class::Consumer, "no claim", b"")
            }
        }
    }

    /// Everybody together: the limit of a route as a whole.
    #[must_use]
    pub fn everyone() -> Self {
        Self { low: 0, high: 0, class: Class::Consumer }
    }

    /// A client address, IPv6 by its /64 (see [`client_of`]).
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        match client_of(ip) {
            IpAddr::V4(v4) => Self::new(Class::Stranger, "address", &v4.octets()),
            IpAddr::V6(v6) => Self::new(Class::Stranger, "address", &v6.octets()),
        }
    }

    /// The value of a request header; `None` when it is absent, which is a subject of its own.
    #[must_use]
    pub fn header(value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => Self::new(Class::Stranger, "header", value),
            None => Self::new(Class::Stranger, "no header", b""),
        }
    }

    /// Whose counters this subject's are kept with.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    fn new(class: Class, kind: &str, value: &[u8]) -> Self {
        let [low, high] = fingerprint(kind, value);
        Self { low, high, class }
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

/// What names the counters of a limit, in every process.
pub(super) fn identity(kind: &str, identity: &str) -> u64 {
    fingerprint("limit", format!("{kind}\0{identity}").as_bytes())[0]
}

/// Where something belongs in the memory of this process.
pub(super) fn scatter(low: u64, high: u64) -> u64 {
    drawn().hash.hash_one((low, high))
}

/// The keys of this process.
pub(super) fn scatter_keys() -> [u64; 4] {
    drawn().keys
}

/// Goes by these keys from now on; `false` when others were drawn before.
pub(super) fn scatter_by(keys: [u64; 4]) -> bool {
    SCATTER.get_or_init(|| Scatter::with(keys)).keys == keys
}

/// Equal in two processes that with equal keys put everything in the same places.
pub(super) fn scatter_proof() -> u64 {
    Scatter::with([1, 2, 3, 4]).hash.hash_one((5_u64, 6_u64))
}

fn drawn() -> &'static Scatter {
    SCATTER.get_or_init(|| {
        let random = RandomState::new();
        Scatter::with(std::array::from_fn(|number| random.hash_one(number)))
    })
}

impl Scatter {
    fn with(keys: [u64; 4]) -> Self {
        let [first, second, third, fourth] = keys;
        Self { keys, hash: RandomState::with_seeds(first, second, third, fourth) }
    }
}

/// The beginning of a SHA-256. No kind contains the byte that ends it.
fn fingerprint(kind: &str, value: &[u8]) -> [u64; 2] {
    let mut context = Context::new(&SHA256);
    context.update(kind.as_bytes());
    context.update(b"\0");
    context.update(value);
    let digest = context.finish();
    let (words, _) = digest.as_ref().as_chunks();
    [u64::from_be_bytes(words[0]), u64::from_be_bytes(words[1])]
}
