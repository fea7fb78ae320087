//! Who is at the other end of the connection, and what to call the request.
//!
//! The word of a peer about its client (`X-Forwarded-For`) and about the request (`X-Request-Id`) counts only when
//! the peer is in `trusted_proxies`; anybody else is the client itself.

use std::cell::Cell;
use std::net::IpAddr;

use http::header::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::policy::headers::{FORWARDED_FOR, FORWARDED_PROTO};
use crate::policy::rejection::X_REQUEST_ID;
use crate::policy::trace_context::write_hexadecimal;

use super::exchange::{Exchange, Peer};

/// Longest request id taken over from a trusted proxy, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Finds the client: the last address of `X-Forwarded-For` that is not a trusted proxy, or the peer.
///
/// An entry that is not an address ends the walk: what stands before it was written by somebody unknown.
pub fn client(peer: &Address, trusted: &[IpNet], headers: &HeaderMap) -> (Address, Peer) {
    if !is_trusted(peer.ip, trusted) {
        return (peer.clone(), Peer::Stranger);
    }
    (Address::of(last_stranger(peer.ip, trusted, headers)), Peer::Trusted)
}

/// What the client speaks: by the word of a trusted proxy where there is one, else as it came here.
pub fn scheme(headers: &HeaderMap, exchange: &Exchange) -> &'static str {
    let said = exchange.peer == Peer::Trusted && headers.get(FORWARDED_PROTO).is_some_and(|proto| *proto == "https");
    if said || exchange.tls.is_some() { "https" } else { "http" }
}

fn last_stranger(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for entry in value.as_bytes().rsplit(|&byte| byte == b',') {
            let Some(address) = parse_address(entry) else { return client };
            client = address;
            if !is_trusted(address, trusted) {
                return client;
            }
        }
    }
    client
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`.
fn parse_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<std::net::SocketAddr>().map(|address| address.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse());
    address.ok().map(|address| address.to_canonical())
}

/// An address with its text, written once for all that name it.
#[derive(Debug, Clone)]
pub struct Address {
    /// Never an IPv4 address mapped into IPv6.
    pub ip: IpAddr,
    text: HeaderValue,
}

impl Default for Address {
    fn default() -> Self {
        Self { ip: IpAddr::from([0, 0, 0, 0]), text: HeaderValue::from_static("0.0.0.0") }
    }
}

impl Address {
    /// Writes an address.
    pub fn of(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let mut text: SmallVec<[u8; 64]> = SmallVec::new();
        match ip {
            // Formatting machinery costs more than the digits.
            IpAddr::V4(ip) => {
                for (nth, octet) in ip.octets().into_iter().enumerate() {
                    if nth > 0 {
                        text.push(b'.');
                    }
                    text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
                }
            }
            IpAddr::V6(ip) => text.extend_from_slice(ip.to_string().as_bytes()),
        }
        // An address is always a valid value; the fallback keeps this free of panics.
        Self { ip, text: HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-")) }
    }

    /// The text, in ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// As a header.
    pub fn value(&self) -> HeaderValue {
        self.text.clone()
    }
}

/// The name of one request in logs and answers.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl Default for RequestId {
    fn default() -> Self {
        Self(HeaderValue::from_static("-"))
    }
}

impl RequestId {
    /// Takes over a trusted proxy's id, or makes a new one of 128 bits.
    pub fn of(headers: &HeaderMap, peer: Peer) -> Self {
        if peer == Peer::Trusted
            && let Some(given) = headers.get(X_REQUEST_ID)
            && (1..=MAX_REQUEST_ID).contains(&given.len())
            && given.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return Self(given.clone());
        }
        Self::generate()
    }

    fn generate() -> Self {
        let mut text = [0; 32];
        write_hexadecimal(&mut text, &random_128().to_be_bytes());
        // Hexadecimal digits are always a valid value; the fallback keeps this free of panics.
        Self(HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }

    /// As bytes, which are ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// As a header.
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Unpredictable enough not to collide or be guessed; not a secret. Each thread mixes a counter with random keys of
/// its own, which costs no system call and no lock.
pub(super) fn random_128() -> u128 {
    thread_local! {
        static KEYS: (ahash::RandomState, ahash::RandomState) = (ahash::RandomState::new(), ahash::RandomState::new());
        static COUNTER: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNTER.with(|counter| counter.replace(counter.get().wrapping_add(1)));
    KEYS.with(|(high, low)| (u128::from(high.hash_one(count)) << 64) | u128::from(low.hash_one(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, trusted: &[&str], forwarded: &[&'static str]) -> (String, Peer) {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let headers: HeaderMap =
            forwarded.iter().map(|value| (FORWARDED_FOR, HeaderValue::from_static(value))).collect();
        let (client, peer) = client(&Address::of(peer.parse().unwrap()), &trusted, &headers);
        assert_eq!(client.as_bytes(), client.ip.to_string().as_bytes());
        (client.ip.to_string(), peer)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        use Peer::{Stranger, Trusted};
        for (peer, trusted, forwarded, client, kind) in [
            ("192.0.2.1", vec![], vec!["203.0.113.7"], "192.0.2.1", Stranger),
            ("10.0.0.1", vec!["10.0.0.0/8"], vec!["203.0.113.7"], "203.0.113.7", Trusted),
            ("10.0.0.1", vec!["10.0.0.0/8"], vec!["6.6.6.6, 203.0.113.7, 10.0.0.2"], "203.0.113.7", Trusted),
            ("10.0.0.1", vec!["10.0.0.0/8"], vec!["6.6.6.6", "203.0.113.7"], "203.0.113.7", Trusted),
            ("10.0.0.1", vec!["10.0.0.0/8"], vec!["6.6.6.6, unknown, 10.0.0.3"], "10.0.0.3", Trusted),
            ("10.0.0.1", vec!["10.0.0.0/8"], vec![], "10.0.0.1", Trusted),
            ("10.0.0.1", vec!["10.0.0.0/8"], vec!["10.0.0.9"], "10.0.0.9", Trusted),
            ("::ffff:10.0.0.1", vec!["10.0.0.0/8"], vec!["[2001:db8::1]:443"], "2001:db8::1", Trusted),
            ("10.0.0.1", vec!["10.0.0.0/8"], vec!["203.0.113.7:1234"], "203.0.113.7", Trusted),
        ] {
            assert_eq!(found(peer, &trusted, &forwarded), (client.to_owned(), kind), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn an_address_is_written_as_the_standard_library_does() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "192.0.2.17",
            "::",
            "2001:db8::1",
            "fe80::1:2:3:4",
            "1111:2222:3333:4444:5555:6666:7777:8888",
        ] {
            assert_eq!(Address::of(text.parse().unwrap()).as_bytes(), text.as_bytes());
        }
        assert_eq!(Address::of("::ffff:192.0.2.17".parse().unwrap()).as_bytes(), b"192.0.2.17");
    }

    #[test]
    fn a_request_id_is_kept_only_from_a_trusted_proxy_and_only_when_clean() {
        let of = |value: &str, peer| {
            let headers = [(X_REQUEST_ID, value.parse().unwrap())].into_iter().collect();
            RequestId::of(&headers, peer).as_str().to_owned()
        };
        assert_eq!(of("abc-1", Peer::Trusted), "abc-1");
        assert_eq!(of("abc-1", Peer::Stranger).len(), 32);
        assert_eq!(of("a b", Peer::Trusted).len(), 32);
        assert_eq!(of(&"a".repeat(129), Peer::Trusted).len(), 32);
    }

    #[test]
    fn generated_ids_differ_over_threads() {
        let ids = || (0..1_000).map(|_| RequestId::generate().as_str().to_owned()).collect::<Vec<_>>();
        let other = std::thread::spawn(ids).join().unwrap();
        let all: std::collections::HashSet<_> = ids().into_iter().chain(other).collect();
        assert_eq!(all.len(), 2_000);
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(all.iter().all(|id| id.len() == 32 && id.bytes().all(digit)));
    }
}
