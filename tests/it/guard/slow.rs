//! Clients that do not take what they have asked for.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use serde_json::json;

use crate::process::instance::{Instance, config, eventually};
use crate::support::client::request;
use crate::support::origin::{Origin, Reply};

/// A connection with little room for what it does not read.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("set SO_RCVBUF");
    connect(&socket, &address).expect("connect");
    socket.into()
}

/// Replies that are nothing but a header, asked for one after the other by a client that reads none.
#[test]
fn a_client_that_takes_no_headers_is_ended() {
    let header = format!("HTTP/1.1 204 No Content\r\nx-long: {}\r\n\r\n", "x".repeat(30_000));
    let origin = Origin::start(move |_| Reply::raw(header.clone()));
    let sections = json!({
        "guard": {"body_timeout": "300ms"},
        "defaults": {"auth": "public"},
        "routes": [{"name": "a", "method": "GET", "gateway_path": "/a", "service": "origin"}],
    });
    let gateway = Instance::start(&config(origin.address(), sections));
    let mut stream = narrow(gateway.public);
    stream.write_all(&request("GET", "/a", &[], b"").repeat(1000)).expect("room for the requests");
    assert!(eventually(|| gateway.metric("tollgate_connections_expired_total{deadline=\"write\"}") == Some(1.0)));
    assert!(eventually(|| gateway.metric("tollgate_connections") == Some(0.0)));
}
