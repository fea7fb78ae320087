//! Replies that last: event streams and WebSockets, and what ends them.
//!
//! The service is scripted by connection: it has the socket once it has read a request's header.

mod alive;
mod events;
mod websocket;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::process::instance::config;
use crate::support::DEADLINE;
use crate::support::client::request;
use crate::support::wire::{self, Head};

/// A service that hands each connection to a script with the header of its first request. It lives as long as the test.
pub struct Service {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Service {
    /// Starts it on a free port.
    pub fn start(script: impl Fn(Head, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, counted) = (Arc::new(script), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let script = Arc::clone(&script);
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    // Without a buffer, so that what follows the header is left for the script.
                    let mut reader = BufReader::with_capacity(1, stream.try_clone().expect("clone a socket"));
                    if let Ok(Some(head)) = wire::read_head(&mut reader) {
                        script(head, stream);
                    }
                });
            }
        });
        Self { address, connections }
    }

    /// How many connections it was asked for.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A configuration with these routes, each of which is public and leads to the service.
pub fn routed(service: SocketAddr, timeouts: Value, routes: Value) -> Value {
    let mut routes = routes;
    for route in routes.as_array_mut().expect("a list of routes") {
        let path = format!("/{}", route["name"].as_str().expect("a name"));
        let usual = [("method", json!("GET")), ("gateway_path", json!(path)), ("service", json!("origin"))];
        for (key, value) in usual.into_iter().chain([("auth", json!("public"))]) {
            if route.get(key).is_none() && !(key == "method" && route.get("methods").is_some()) {
                route[key] = value;
            }
        }
    }
    let services = json!({"origin": {"url": format!("http://{service}"), "timeouts": timeouts}});
    config(service, json!({"services": services, "routes": routes}))
}

/// A connection that has asked for a path.
pub fn asked(gateway: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a read timeout");
    stream.write_all(&request("GET", path, &[], b"")).expect("ask");
    stream
}

/// Reads until the text has come; `false` when the stream ends before.
pub fn hears(stream: &mut TcpStream, text: &str) -> bool {
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(text.as_bytes()) {
        match stream.read(&mut byte) {
            Ok(1) => heard.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Both ends of a WebSocket over a plain socket.
pub type Socket = WebSocket<TcpStream>;

/// A service's side of the handshake: the first protocol that the client offers, and the fields of `more`.
pub fn switched(head: &Head, mut stream: TcpStream, more: &str) -> Socket {
    let accept = derive_accept_key(head.values("sec-websocket-key").first().copied().unwrap_or_default());
    let offered =
        head.values("sec-websocket-protocol").first().map(|value| String::from_utf8_lossy(value).into_owned());
    let chosen = offered.iter().filter_map(|offered| offered.split(", ").next());
    let protocol: String = chosen.map(|chosen| format!("sec-websocket-protocol: {chosen}\r\n")).collect();
    let said = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n{protocol}{more}\r\n"
    );
    let _ = stream.write_all(said.as_bytes());
    WebSocket::from_raw_socket(stream, Role::Server, None)
}

/// Says again what it hears, to the end.
pub fn echo(mut socket: Socket) {
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            return;
        }
    }
}

/// A handshake for a path with these fields.
pub fn handshake(path: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://gateway.test{path}").into_client_request().expect("a request");
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().expect("a header's value"));
    }
    request
}

/// Opens a WebSocket, or says what else was answered.
pub fn open(gateway: SocketAddr, request: Request) -> Result<(Socket, Response), Box<Response>> {
    let stream = TcpStream::connect(gateway).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a read timeout");
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    match tungstenite::client(request, stream) {
        Ok(opened) => Ok(opened),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => Err(response),
        Err(failed) => panic!("no handshake: {failed}"),
    }
}

/// The code with which a WebSocket is closed; `None`: without one.
pub fn closing(socket: &mut Socket) -> Option<u16> {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}
