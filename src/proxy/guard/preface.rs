//! Which HTTP a client begins with, where a plain listener takes both.
//!
//! A client that knows that HTTP/2 is spoken here begins with a text that is no request of HTTP/1 (RFC 9113 section 3.4).
//! It is compared as it comes, so that the shortest request of HTTP/1 is known by its first bytes; what was read is read
//! once more by whoever goes on. The deadlines of a header hold meanwhile.

use tokio::io::AsyncReadExt;

use super::stream::{Guarded, Speaks};

/// The first bytes of every connection over HTTP/2.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Listens until it is known what the client speaks; `None` when it ends before.
pub async fn listen(mut io: Guarded) -> Option<Guarded> {
    let mut heard = [0; PREFACE.len()];
    let mut length = 0;
    while length < heard.len() && PREFACE.starts_with(&heard[..length]) {
        match io.read(&mut heard[length..]).await {
            Ok(0) | Err(_) => return None,
            Ok(more) => length += more,
        }
    }
    io.speaks = if heard == *PREFACE { Speaks::Http2 } else { Speaks::Http1 };
    io.ahead = Some(heard[..length].into());
    Some(io)
}
