//! The opening handshake of a WebSocket (RFC 6455 section 4): what a client must say to get one, which pages may ask, and
//! what a service must answer.
//!
//! A browser lets any page open a WebSocket anywhere and sends the cookies of the place along; what it adds is `Origin`.
//! So the origin decides before any credential: unless a route lists its own, a page must come from the host that it
//! calls. A client that sends no `Origin` is no browser, and nobody's cookies are with it.
//!
//! A service's 101 counts only with the answer to the client's key, which nothing else than a WebSocket server gives by
//! accident.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::{Method, Version};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The one version there is.
pub const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What is asked for in `Upgrade`.
pub const PROTOCOL: HeaderValue = HeaderValue::from_static("websocket");

/// What goes with a key into the answer to it.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The fields of a handshake that pass in both directions as they are.
pub const NEGOTIATED: [HeaderName; 2] = [SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_EXTENSIONS];

/// A request that asks for a WebSocket as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    key: HeaderValue,
}

/// In what a request is no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFault {
    /// It asks for nothing, or for another protocol.
    #[error(
        "this route takes WebSockets only: the request must ask for one over HTTP/1.1, with Upgrade and Connection"
    )]
    Absent,
    /// Another version.
    #[error("the only version of WebSockets is 13")]
    Version,
    /// No key, several, or one that is none.
    #[error("Sec-WebSocket-Key must be 16 bytes in Base64, once")]
    Key,
    /// It announces a body.
    #[error("the request for a WebSocket has no body")]
    Body,
}

/// Which pages may open a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Those of the host that is called.
    Same,
    /// All.
    Any,
    /// These, in lower case.
    Listed(Vec<Box<str>>),
}

impl Handshake {
    /// Reads a request.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn of(request: &Parts) -> Result<Self, HandshakeFault> {
        let headers = &request.headers;
        if request.method != Method::GET
            || request.version != Version::HTTP_11
            || !says(headers, &UPGRADE, b"websocket")
            || !says(headers, &CONNECTION, b"upgrade")
        {
            return Err(HandshakeFault::Absent);
        }
        let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
        if length || headers.contains_key(TRANSFER_ENCODING) {
            return Err(HandshakeFault::Body);
        }
        if one(headers, &SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(HandshakeFault::Version);
        }
        let key = one(headers, &SEC_WEBSOCKET_KEY).ok_or(HandshakeFault::Key)?;
        match STANDARD.decode(key.as_bytes()) {
            Ok(nonce) if nonce.len() == 16 => Ok(Self { key: key.clone() }),
            _ => Err(HandshakeFault::Key),
        }
    }

    /// Asks a service for the WebSocket, whatever has become of the client's fields on the way.
    pub fn ask(&self, headers: &mut HeaderMap) {
        switch(headers);
        headers.insert(SEC_WEBSOCKET_KEY, self.key.clone());
        headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
    }

    /// Whether a service's 101 answers this handshake.
    pub fn is_answered(&self, headers: &HeaderMap) -> bool {
        says(headers, &UPGRADE, b"websocket")
            && says(headers, &CONNECTION, b"upgrade")
            && one(headers, &SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept.as_bytes() == self.answer().as_bytes())
    }

    /// What the key is answered with.
    fn answer(&self) -> String {
        STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[self.key.as_bytes(), MAGIC].concat()))
    }
}

/// Says that the connection goes on as a WebSocket.
pub fn switch(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, PROTOCOL);
}

impl Origins {
    /// Whether a request comes from a page that may open a WebSocket, or from no page. `host` is what the client calls
    /// the gateway.
    pub fn allow(&self, headers: &HeaderMap, host: Option<&[u8]>) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return true };
        let origin = origin.as_bytes();
        match self {
            Self::Any => true,
            _ if origins.next().is_some() => false,
            Self::Listed(listed) => listed.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin)),
            Self::Same => match (authority(origin), host) {
                (Some(page), Some(host)) => without_port(page).eq_ignore_ascii_case(without_port(host)),
                _ => false,
            },
        }
    }
}

/// What stands behind `http://` or `https://`.
fn authority(origin: &[u8]) -> Option<&[u8]> {
    origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"))
}

/// Without the port that a scheme has anyway: what ends TLS before the gateway may leave it out or put it in.
fn without_port(authority: &[u8]) -> &[u8] {
    authority.strip_suffix(b":443").or_else(|| authority.strip_suffix(b":80")).unwrap_or(authority)
}

/// Whether a list of tokens, perhaps in several fields, has this one.
fn says(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    let values = headers.get_all(name).iter();
    values
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|said| said.trim_ascii().eq_ignore_ascii_case(token))
}

/// The value of a field that is there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn read(method: Method, version: Version, fields: &[(&'static str, &'static str)]) -> Result<(), HandshakeFault> {
        let mut request = http::Request::builder().method(method).version(version).body(()).unwrap();
        *request.headers_mut() = headers(fields);
        Handshake::of(&request.into_parts().0).map(|_| ())
    }

    #[test]
    fn a_handshake_says_all_that_the_standard_asks_for() {
        use HandshakeFault::{Absent, Body, Key, Version as Wrong};
        assert_eq!(read(Method::GET, Version::HTTP_11, &GOOD), Ok(()));
        assert_eq!(read(Method::GET, Version::HTTP_10, &GOOD), Err(Absent));
        assert_eq!(read(Method::POST, Version::HTTP_11, &GOOD), Err(Absent));
        for (name, value, expected) in [
            ("connection", None, Err(Absent)),
            ("connection", Some("keep-alive"), Err(Absent)),
            ("connection", Some("upgrade"), Ok(())),
            ("upgrade", None, Err(Absent)),
            ("upgrade", Some("h2c"), Err(Absent)),
            ("upgrade", Some("websocket2"), Err(Absent)),
            ("upgrade", Some("h2c, websocket"), Ok(())),
            ("sec-websocket-version", None, Err(Wrong)),
            ("sec-websocket-version", Some("8"), Err(Wrong)),
            ("sec-websocket-version", Some("13, 8"), Err(Wrong)),
            ("sec-websocket-key", None, Err(Key)),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZQ=="), Err(Key)),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), Err(Key)),
            ("sec-websocket-key", Some("dGhlIHNhbXBs ZSBub25jZQ=="), Err(Key)),
        ] {
            let others = GOOD.into_iter().filter(|(of, _)| *of != name);
            let fields: Vec<_> = others.chain(value.map(|value| (name, value))).collect();
            assert_eq!(read(Method::GET, Version::HTTP_11, &fields), expected, "{name}: {value:?}");
        }
        for (name, value, expected) in [
            ("content-length", "0", Ok(())),
            ("content-length", "5", Err(Body)),
            ("transfer-encoding", "chunked", Err(Body)),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==", Err(Key)),
            ("sec-websocket-version", "13", Err(Wrong)),
        ] {
            let fields: Vec<_> = GOOD.into_iter().chain([(name, value)]).collect();
            assert_eq!(read(Method::GET, Version::HTTP_11, &fields), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_service_proves_that_it_knows_the_key() {
        let handshake = Handshake { key: HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==") };
        // The example of RFC 6455, section 1.3.
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let (upgrade, connection) = (("upgrade", "websocket"), ("connection", "Upgrade"));
        for (fields, expected) in [
            (vec![upgrade, connection, accept], true),
            (vec![upgrade, accept], false),
            (vec![connection, accept], false),
            (vec![upgrade, connection], false),
            (vec![upgrade, connection, accept, accept], false),
            (vec![upgrade, connection, ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")], false),
        ] {
            assert_eq!(handshake.is_answered(&headers(&fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_page_of_another_place_gets_none_unless_it_is_listed() {
        let listed = Origins::Listed(vec!["https://app.example.com".into()]);
        for (origins, page, host, expected) in [
            (&Origins::Same, &[][..], Some("api.example.com"), true),
            (&Origins::Same, &["https://api.example.com"], Some("api.example.com"), true),
            (&Origins::Same, &["https://API.example.com"], Some("api.example.com:443"), true),
            (&Origins::Same, &["http://localhost:8080"], Some("localhost:8080"), true),
            (&Origins::Same, &["http://localhost:8081"], Some("localhost:8080"), false),
            (&Origins::Same, &["https://app.example.com"], Some("api.example.com"), false),
            (&Origins::Same, &["https://api.example.com.evil.test"], Some("api.example.com"), false),
            (&Origins::Same, &["null"], Some("api.example.com"), false),
            (&Origins::Same, &[""], Some("api.example.com"), false),
            (&Origins::Same, &["https://api.example.com"], None, false),
            (&Origins::Same, &["https://api.example.com", "https://evil.test"], Some("api.example.com"), false),
            (&listed, &["https://app.example.com"], Some("api.example.com"), true),
            (&listed, &["http://app.example.com"], Some("api.example.com"), false),
            (&listed, &["https://api.example.com"], Some("api.example.com"), false),
            (&listed, &[], Some("api.example.com"), true),
            (&Origins::Any, &["null"], None, true),
        ] {
            let fields: Vec<_> = page.iter().map(|page| ("origin", *page)).collect();
            assert_eq!(
                origins.allow(&headers(&fields), host.map(str::as_bytes)),
                expected,
                "{origins:?} {page:?} {host:?}"
            );
        }
    }
}
