//! WebSockets over TLS.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use tungstenite::{Error, Message};

use crate::process::instance::{Instance, config};
use crate::streams::handshake;
use crate::support::pki::{Authority, Pair};
use crate::support::tls::Tls;

/// A service over TLS that says again what it hears; its port.
fn echoing(pair: &Pair) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(vec![pair.certificate.clone()], pair.key()).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let Ok(mut socket) = tungstenite::accept(StreamOwned::new(session, tcp)) else { continue };
            while let Ok(message) = socket.read() {
                if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[test]
fn messages_pass_and_the_end_is_said_in_websocket_and_in_tls() {
    let authority = Authority::new();
    let port = echoing(&authority.server(&["localhost"]));
    let (certificate, private_key) = authority.place("api", &authority.server(&["api.test"]));
    let tls = json!({"certificate": certificate, "private_key": private_key});
    let gateway = Instance::start(&config(
        ([127, 0, 0, 1], port).into(),
        json!({
            "listeners": [{"address": "127.0.0.1:0", "tls": tls}],
            "services": {"live": {"url": format!("https://localhost:{port}"), "tls": {"ca": authority.file()}}},
            "routes": [{"name": "live", "method": "GET", "gateway_path": "/live", "service": "live", "auth": "public",
                        "websocket": {"idle_timeout": "300ms"}}],
        }),
    ));
    let stream = Tls::trusting(&authority).connect(gateway.public, "api.test").expect("a handshake").into_stream();
    let (mut socket, answer) = tungstenite::client(handshake("/live", &[]), stream).expect("a WebSocket");
    assert_eq!(answer.status().as_u16(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7; 1 << 18])] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    // Idle from here on.
    let code = socket.read().map(|message| match message {
        Message::Close(Some(frame)) => u16::from(frame.code),
        other => panic!("{other:?}"),
    });
    assert_eq!(code.unwrap(), 1001);
    let end = loop {
        match socket.read() {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert!(matches!(end, Error::ConnectionClosed), "the end of TLS, else this is an error of it: {end:?}");
    gateway.line(|line| line.contains("\"status\":101") && line.contains("\"tls\":\"TLSv1.3\""));
}
