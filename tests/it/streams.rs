//! Replies that last: event streams and WebSockets, and what ends them.
//!
//! The service is scripted by connection: it has the socket once it has read a request's header.

mod events;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

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
