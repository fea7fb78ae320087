//! A client that sends exactly the bytes it is given and shows exactly those it gets.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::DEADLINE;
use super::wire::{self, Field, Framing};

/// How long a server must say nothing to count as silent.
const SILENCE: Duration = Duration::from_millis(300);

/// One connection to a server.
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// A final response. Interim ones before it are only counted.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The header fields in order, names in lower case.
    pub fields: Vec<Field>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Whether the connection ended before the body did.
    pub cut: bool,
    /// The statuses of the interim responses before this one.
    pub interim: Vec<u16>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connect");
        Self::over(stream)
    }

    /// The client's end of a connection.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("set a read timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("set a write timeout");
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        Self { reader: BufReader::new(stream) }
    }

    /// The same with more patience for answers.
    pub fn patient(self, time: Duration) -> Self {
        self.reader.get_ref().set_read_timeout(Some(time)).expect("set a read timeout");
        self
    }

    /// Sends these bytes. A server that has answered and closed before it read them all is no error.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// The next response.
    pub fn response(&mut self) -> io::Result<Response> {
        self.read(|head| head.framing().unwrap_or(Framing::UntilClose))
    }

    /// The next response, to a HEAD request: it has no body, whatever its fields say.
    pub fn response_to_head(&mut self) -> io::Result<Response> {
        self.read(|_| Framing::Absent)
    }

    /// Sends a request and returns the response to it.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Response> {
        self.send(request);
        if request.starts_with(b"HEAD ") { self.response_to_head() } else { self.response() }
    }

    /// Reads up to these bytes, and no further.
    pub fn read_to(&mut self, wanted: &[u8]) {
        let (mut read, mut byte) = (Vec::new(), [0]);
        while !read.ends_with(wanted) {
            self.reader.read_exact(&mut byte).expect("more is sent");
            read.extend_from_slice(&byte);
        }
    }

    /// Waits until the server closes the connection; `false` if it sends something or does not close in time.
    pub fn is_closed(&mut self) -> bool {
        matches!(wire::read_head(&mut self.reader), Ok(None))
    }

    /// Whether the server has nothing to say for a while.
    pub fn is_silent(&mut self) -> bool {
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(SILENCE)).expect("set a read timeout");
        let silent = stream.peek(&mut [0]).is_err();
        stream.set_read_timeout(Some(DEADLINE)).expect("set a read timeout");
        silent
    }

    fn read(&mut self, framing: impl Fn(&wire::Head) -> Framing) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let head = wire::read_head(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status =
                head.start.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let framing = if matches!(status, 101 | 204 | 304) { Framing::Absent } else { framing(&head) };
            let body = wire::read_body(&mut self.reader, framing);
            return Ok(Response { status, fields: head.fields, body: body.bytes, cut: body.cut, interim });
        }
    }
}

impl Response {
    /// The values of a name, given in lower case, in order.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        wire::values(&self.fields, name)
    }

    /// The one value of a name, as text; `None` when there is none or several.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self.values(name)[..] {
            [value] => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The names of fields that are not among these.
    pub fn fields_beside(&self, expected: &[&str]) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).filter(|name| !expected.contains(name)).collect()
    }
}

/// A request as bytes. `Host` and, for a body, `Content-Length` are added.
pub fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: gateway.test\r\n");
    for (name, value) in fields {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        bytes.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    bytes.push_str("\r\n");
    [bytes.as_bytes(), body].concat()
}

/// The response to one request on a connection of its own.
pub fn ask(address: SocketAddr, request: &[u8]) -> Response {
    Client::connect(address).ask(request).unwrap_or_else(|error| {
        panic!("no response to {:?}: {error}", String::from_utf8_lossy(request));
    })
}

/// The response to a GET on a connection of its own.
pub fn fetch(address: SocketAddr, target: &str) -> Response {
    ask(address, &request("GET", target, &[], b""))
}
