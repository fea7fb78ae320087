//! The two ends of a rehearsal: a client's connection in memory, and messages read off the wire.
//!
//! [`Message`] reads what pingora has written, or what it is about to judge; it judges nothing itself. Whoever reads a
//! request that pingora may refuse gets the part of it that can be read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// The gateway's end of a client's connection, with the addresses that a socket would have.
#[derive(Debug)]
pub(super) struct Line {
    io: DuplexStream,
    digest: Arc<SocketDigest>,
}

impl Line {
    pub(super) fn new(io: DuplexStream, peer: IpAddr, local: Option<SocketAddr>) -> Self {
        // No descriptor: the addresses are all that is asked of it, and are there before.
        let digest = SocketDigest::from_raw_fd(-1);
        let _ = digest.peer_addr.set(Some(SocketAddr::new(peer, 0).into()));
        let _ = digest.local_addr.set(local.map(Into::into));
        let _ = digest.original_dst.set(None);
        Self { io, digest: Arc::new(digest) }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Line {
    async fn shutdown(&mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.io).await;
    }
}

impl UniqueID for Line {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Line {}

impl GetTimingDigest for Line {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Line {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Line {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

#[async_trait]
impl Peek for Line {}

/// A request or an answer, as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The start line.
    pub start: String,
    /// The fields in order, names as they are spelled.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a request: what of it can be read.
    pub fn request(bytes: &[u8]) -> Option<Self> {
        let (mut message, rest) = Self::head(bytes)?;
        message.body = match message.framing() {
            Framing::Length(length) => rest.get(..length).unwrap_or(rest).to_vec(),
            Framing::Chunked => unchunked(rest),
            Framing::Unsaid => Vec::new(),
        };
        Some(message)
    }

    /// Reads the last answer, which ends with the connection; interim ones before it are passed over.
    pub fn answer(bytes: &[u8]) -> Option<Self> {
        let (mut message, rest) = Self::head(bytes)?;
        if message.start.split(' ').nth(1).is_some_and(|status| status.starts_with('1')) {
            return Self::answer(rest);
        }
        message.body = rest.to_vec();
        Some(message)
    }

    /// The values of a field.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Whether these are all bytes of a request that pingora has written.
    pub(super) fn is_whole(bytes: &[u8]) -> bool {
        let Some((message, rest)) = Self::head(bytes) else { return false };
        match message.framing() {
            Framing::Length(length) => rest.len() >= length,
            Framing::Chunked => rest == b"0\r\n\r\n" || rest.ends_with(b"\r\n0\r\n\r\n") && is_unchunked(rest),
            Framing::Unsaid => true,
        }
    }

    /// Start line and fields, and what follows them.
    fn head(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
        let mut lines = bytes[..end].split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let start = text(lines.next()?);
        let field = |line: &[u8]| {
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            (text(&line[..colon]), line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec())
        };
        Some((Self { start, fields: lines.map(field).collect(), body: Vec::new() }, &bytes[end + 4..]))
    }

    fn framing(&self) -> Framing {
        if self.values("transfer-encoding").any(|value| value.eq_ignore_ascii_case(b"chunked")) {
            return Framing::Chunked;
        }
        let length = self.values("content-length").next().and_then(|value| std::str::from_utf8(value).ok());
        length.and_then(|length| length.parse().ok()).map_or(Framing::Unsaid, Framing::Length)
    }
}

/// How a request says where its body ends.
enum Framing {
    Length(usize),
    Chunked,
    Unsaid,
}

/// The content of chunks, as far as they are there.
fn unchunked(bytes: &[u8]) -> Vec<u8> {
    chunks(bytes).0
}

/// Whether the last chunk is there.
fn is_unchunked(bytes: &[u8]) -> bool {
    chunks(bytes).1
}

fn chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else { return (content, false) };
        let size = String::from_utf8_lossy(&rest[..end]);
        let Ok(size) = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16) else {
            return (content, false);
        };
        rest = &rest[end + 2..];
        if size == 0 {
            return (content, true);
        }
        let Some(chunk) = rest.get(..size) else {
            content.extend_from_slice(rest);
            return (content, false);
        };
        content.extend_from_slice(chunk);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_the_last_byte_of_its_body() {
        for (bytes, body) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", ""),
            ("POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", "abc"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n", "abcde"),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n"),
        ] {
            for cut in 0..bytes.len() {
                assert!(!Message::is_whole(&bytes.as_bytes()[..cut]), "{cut} bytes of {bytes:?}");
            }
            assert!(Message::is_whole(bytes.as_bytes()), "{bytes:?}");
            assert_eq!(Message::request(bytes.as_bytes()).unwrap().body, body.as_bytes());
        }
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{}";
        let answer = Message::answer(bytes).unwrap();
        assert_eq!((answer.status(), answer.body.as_slice()), (404, &b"{}"[..]));
        assert_eq!(answer.values("a").collect::<Vec<_>>(), [b"b"]);
    }
}
