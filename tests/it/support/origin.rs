//! A service that answers as scripted and remembers what it was asked.
//!
//! Each connection has a thread. A request is recorded before it is answered, so whoever has the answer also sees
//! the record. [`Unreachable`] is the service that is down.

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tollgate::demo;

use super::wire::{self, Field, Framing};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Number of the connection, from 0 in the order they were opened.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The request target; bytes beyond ASCII are read as Latin-1.
    pub target: String,
    /// The header fields in order, names in lower case.
    pub fields: Vec<Field>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// What the service sends: any bytes, also none.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The response as it goes onto the wire.
    pub bytes: Vec<u8>,
    /// What happens to the connection then.
    pub then: Then,
}

/// What happens to a connection after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next request may come.
    Stay,
    /// It is closed.
    Close,
}

/// A scripted service. It stops when it is dropped.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A service address at which nothing listens, and which nobody else takes meanwhile: it is the client's end of a
/// connection that stays open.
pub struct Unreachable {
    held: TcpStream,
    _peer: TcpListener,
}

type Script = dyn Fn(&Recorded) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    requests: Vec<Recorded>,
    connections: Vec<TcpStream>,
}

impl Origin {
    /// Starts a service on a free port that answers every request with `script`.
    pub fn start(script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { script: Box::new(script), state: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Starts a service that answers everything with 200 and this JSON text.
    pub fn json(text: &str) -> Self {
        let reply = Reply::json(200, text);
        Self::start(move |_| reply.clone())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// What it was asked since the last call.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.shared.state.lock().unwrap().requests)
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections.len()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.stopped = true;
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        let _ = TcpStream::connect(self.address); // wakes the accepting thread
    }
}

impl Recorded {
    /// The path of the target.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What follows `?` in the target.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The values of a header name, given in lower case, in order.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        wire::values(&self.fields, name)
    }
}

impl Reply {
    /// These bytes; the connection stays open.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Stay }
    }

    /// A JSON text.
    pub fn json(status: u16, text: &str) -> Self {
        let length = text.len();
        Self::raw(format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{text}"
        ))
    }

    /// What the demo microservice says to a request.
    pub fn of_demo(request: &Recorded) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: Vec<_> = request.fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let answer = demo::answer(&demo::Received {
            method: &request.method,
            path: request.path(),
            query: request.query(),
            headers: &headers,
            body: &request.body,
        });
        Self::json(answer.status.as_u16(), &answer.json.unwrap_or_default().to_string())
    }

    /// The same, and the connection is closed after it.
    pub fn closing(self) -> Self {
        Self { then: Then::Close, ..self }
    }
}

impl Unreachable {
    /// Takes an address.
    pub fn reserve() -> Self {
        let peer = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        let held = TcpStream::connect(peer.local_addr().expect("a bound listener has an address")).expect("connect");
        Self { held, _peer: peer }
    }

    /// The address where nothing listens.
    pub fn address(&self) -> SocketAddr {
        self.held.local_addr().expect("an open connection has an address")
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let mut state = shared.state.lock().unwrap();
        if state.stopped {
            return;
        }
        let number = state.connections.len();
        state.connections.push(stream.try_clone().expect("clone a socket"));
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(stream, number, &shared));
    }
}

/// Answers the requests of one connection until either side closes it.
fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().expect("clone a socket"));
    while let Ok(Some(head)) = wire::read_head(&mut reader) {
        let body = wire::read_body(&mut reader, head.framing().unwrap_or(Framing::Absent));
        let mut start = head.start.split(' ').map(str::to_owned);
        let (method, target) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
        let request = Recorded { connection, method, target, fields: head.fields, body: body.bytes };
        shared.state.lock().unwrap().requests.push(request.clone());
        let reply = (shared.script)(&request);
        if stream.write_all(&reply.bytes).is_err() || reply.then == Then::Close {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
