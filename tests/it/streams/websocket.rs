//! WebSockets: who gets one, what passes through it, and what ends it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Bytes, Message};

use super::{Service, closing, echo, handshake, open, routed, switched};
use crate::process::instance::{Instance, consumer, eventually};
use crate::support::client::{ask, fetch, request};

/// A service that echoes and tells how each WebSocket was closed: with a code, without one, or not at all.
fn echoing() -> (Service, Receiver<Option<u16>>) {
    let (tell, closed) = channel();
    let tell = Mutex::new(tell);
    let service = Service::start(move |head, stream| {
        let mut socket = switched(&head, stream, "");
        let code = loop {
            match socket.read() {
                Ok(Message::Close(frame)) => break frame.map(|frame| frame.code.into()),
                Ok(Message::Text(text)) if text.as_str() == "leave" => {
                    let frame = CloseFrame { code: CloseCode::Library(4002), reason: "done".into() };
                    let _ = socket.close(Some(frame));
                }
                Ok(message) if message.is_text() || message.is_binary() => {
                    let _ = socket.send(message);
                }
                Ok(_) => {}
                Err(_) => break None,
            }
        };
        let _ = socket.flush();
        let _ = tell.lock().unwrap().send(code);
    });
    (service, closed)
}

fn taking(rules: Value) -> Value {
    json!([{"name": "live", "websocket": rules, "query_params": {"room": {"type": "integer", "optional": true}}}])
}

#[test]
fn messages_of_every_kind_pass_both_ways() {
    let (service, closed) = echoing();
    let gateway = Instance::start(&routed(service.address, json!({}), taking(json!(true))));
    let offer = [("sec-websocket-protocol", "chat.v2, chat.v1"), ("origin", "https://gateway.test")];
    let (mut socket, answer) = open(gateway.public, handshake("/live?room=7", &offer)).expect("a WebSocket");
    assert_eq!(answer.status().as_u16(), 101);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat.v2");
    assert!(answer.headers().contains_key("x-request-id"));
    let open_now = r#"tollgate_websocket_connections{route="live"}"#;
    assert!(eventually(|| gateway.metric(open_now) == Some(1.0)));

    let large: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[0]).collect();
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::text("ö".repeat(70_000)),
        Message::binary(vec![0, 255, 13, 10]),
        Message::binary(large),
    ] {
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "a message of {} bytes", message.len());
    }
    let pieces = [(Data::Text, "one ", false), (Data::Continue, "two ", false), (Data::Continue, "three", true)];
    for (kind, text, last) in pieces {
        socket.send(Message::Frame(Frame::message(text, OpCode::Data(kind), last))).unwrap();
        // A control frame may stand between the parts.
        socket.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
    }
    let heard: Vec<Message> = (0..4).map(|_| socket.read().unwrap()).collect();
    assert_eq!(heard.iter().filter(|message| **message == Message::Pong(Bytes::from_static(b"there?"))).count(), 3);
    assert!(heard.contains(&Message::text("one two three")), "{heard:?}");

    socket.close(Some(CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() })).unwrap();
    assert_eq!(closing(&mut socket), Some(4001), "the service says it again");
    assert_eq!(closed.recv_timeout(crate::support::DEADLINE), Ok(Some(4001)));
    let line: Value = serde_json::from_str(&gateway.line(|line| line.contains("\"status\":101"))).unwrap();
    assert_eq!((&line["decision"], &line["route"], &line["cause"]), (&json!("admitted"), &json!("live"), &Value::Null));
    for bytes in ["bytes_in", "bytes_out"] {
        assert!(line[bytes].as_u64().is_some_and(|bytes| (1 << 20..2 << 20).contains(&bytes)), "{line}");
    }
    assert!(eventually(|| gateway.metric(open_now) == Some(0.0)));
    for direction in ["received", "sent"] {
        let name = format!(r#"tollgate_websocket_bytes_total{{direction="{direction}",route="live"}}"#);
        assert!(gateway.metric(&name).is_some_and(|bytes| bytes > 1e6), "{name}");
    }

    let (mut socket, _) = open(gateway.public, handshake("/live", &[])).expect("a WebSocket");
    socket.send(Message::text("leave")).unwrap();
    assert_eq!(closing(&mut socket), Some(4002));
}

#[test]
fn what_is_no_handshake_ends_at_the_gateway() {
    let (service, _closed) = echoing();
    let mut file = routed(
        service.address,
        json!({}),
        json!([
            {"name": "live", "websocket": true, "query_params": {"room": {"type": "integer", "optional": true}}},
            {"name": "listed", "websocket": {"origins": ["https://app.example.com"]}},
            {"name": "open", "websocket": {"origins": "any"}},
            {"name": "closed", "websocket": true, "auth": ["key"]},
        ]),
    );
    file["authenticators"] = json!({"key": {"api_key": {"header": "x-api-key"}}});
    file["consumers"] = json!({"ann": {"api_keys": [{"sha256": crate::process::instance::sha256("key-ann")}]}});
    let gateway = Instance::start(&file);
    let good: [(&str, &str); 4] = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let with = |path: &str, changed: &[(&'static str, &'static str)]| {
        let kept = good.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
        let fields: Vec<_> = kept.chain(changed.iter().filter(|(_, value)| !value.is_empty())).copied().collect();
        ask(gateway.public, &request("GET", path, &fields, b""))
    };
    for (path, changed, status, reason) in [
        ("/live", &[("upgrade", "")][..], 426, "upgrade-required"),
        ("/live", &[("connection", "")], 426, "upgrade-required"),
        ("/live", &[("upgrade", "h2c")], 426, "upgrade-required"),
        ("/live", &[("sec-websocket-version", "8")], 426, "upgrade-required"),
        ("/live", &[("sec-websocket-key", "")], 400, "malformed-handshake"),
        ("/live", &[("sec-websocket-key", "short")], 400, "malformed-handshake"),
        ("/live", &[("content-length", "3")], 400, "malformed-handshake"),
        ("/live?room=x", &[], 422, "contract-violated"),
        ("/live", &[("origin", "https://evil.test")], 403, "origin-forbidden"),
        ("/live", &[("origin", "null")], 403, "origin-forbidden"),
        ("/listed", &[("origin", "https://gateway.test")], 403, "origin-forbidden"),
        ("/closed", &[], 401, "credential-missing"),
        ("/closed", &[("x-api-key", "key-bob")], 401, "credential-unknown"),
        // Who asks is not looked at before where it comes from.
        ("/closed", &[("x-api-key", "key-ann"), ("origin", "https://evil.test")], 403, "origin-forbidden"),
    ] {
        let answer = with(path, changed);
        assert_eq!(answer.status, status, "{path} {changed:?}: {}", answer.text());
        assert!(answer.text().contains(reason), "{path} {changed:?}: {}", answer.text());
        let told = (answer.value("upgrade"), answer.value("sec-websocket-version"));
        assert_eq!(told, if status == 426 { (Some("websocket"), Some("13")) } else { (None, None) }, "{changed:?}");
    }
    assert_eq!(ask(gateway.public, &request("POST", "/live", &good, b"")).status, 405);
    assert_eq!(service.connections(), 0, "nothing of this concerns the service");
    for (path, changed) in [
        ("/live", &[("origin", "http://gateway.test:80")][..]),
        ("/listed", &[("origin", "https://app.example.com")]),
        ("/open", &[("origin", "https://evil.test")]),
        ("/closed", &[("x-api-key", "key-ann")]),
        ("/live", &[("upgrade", "h2c, websocket"), ("connection", "keep-alive, upgrade")]),
    ] {
        assert_eq!(with(path, changed).status, 101, "{path} {changed:?}");
    }
}

#[test]
fn a_service_that_does_not_switch_as_asked_is_answered_like_any_other() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let service = Service::start(move |head, mut stream| {
        noted.lock().unwrap().push(head.clone());
        let key = head.values("sec-websocket-key").first().copied().unwrap_or_default();
        let accept = tungstenite::handshake::derive_accept_key(key);
        let switch = "HTTP/1.1 101 Switching Protocols\r\n";
        let said = match head.start.split(' ').nth(1) {
            Some("/refusing") => "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_owned(),
            Some("/plain") => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_owned(),
            Some("/wrong") => {
                format!("{switch}connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n")
            }
            Some("/other") => {
                format!("{switch}connection: Upgrade\r\nupgrade: h2c\r\nsec-websocket-accept: {accept}\r\n\r\n")
            }
            Some("/unasked") => {
                format!("{switch}connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n")
            }
            _ => return thread::sleep(crate::support::DEADLINE),
        };
        let _ = stream.write_all(said.as_bytes());
        // The gateway ends the connection.
        let _ = stream.read(&mut [0; 64]);
    });
    let routes = json!([
        {"name": "refusing", "websocket": true}, {"name": "plain", "websocket": true}, {"name": "wrong", "websocket": true},
        {"name": "other", "websocket": true}, {"name": "silent", "websocket": true},
        {"name": "unasked", "method": "GET"},
    ]);
    let gateway = Instance::start(&routed(service.address, json!({"response": "400ms"}), routes));
    for (path, status) in
        [("/refusing", 403), ("/plain", 200), ("/wrong", 502), ("/other", 502), ("/silent", 504), ("/unasked", 502)]
    {
        let answer = open(gateway.public, handshake(path, &[])).expect_err("no WebSocket");
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    for head in seen.lock().unwrap().iter() {
        let asked: Vec<_> = head.values("upgrade").into_iter().chain(head.values("connection")).collect();
        let expected: &[&[u8]] = if head.start.contains("unasked") { &[] } else { &[b"websocket", b"Upgrade"] };
        assert_eq!(asked, expected, "{}", head.start);
    }
    assert_eq!(fetch(gateway.public, "/unasked").status, 502);
}

#[test]
fn what_a_route_hides_and_changes_does_not_break_the_handshake() {
    let (service, _closed) = echoing();
    let routes = json!([{
        "name": "live", "websocket": true, "override_headers": false,
        "request_headers": {"allow": ["accept"], "set": {"x-from": "gateway"}},
        "response_headers": {"set": {"x-api": "v1"}},
    }]);
    let gateway = Instance::start(&routed(service.address, json!({}), routes));
    let request =
        handshake("/live", &[("sec-websocket-protocol", "chat"), ("connection", "upgrade, sec-websocket-key")]);
    let (mut socket, answer) = open(gateway.public, request).expect("a WebSocket");
    assert_eq!(
        (&answer.headers()["x-api"], &answer.headers()["sec-websocket-protocol"]),
        (&"v1".parse().unwrap(), &"chat".parse().unwrap())
    );
    socket.send(Message::text("through")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("through"));
}

#[test]
fn a_place_in_flight_is_held_while_the_websocket_lives() {
    let (service, closed) = echoing();
    let mut file = routed(service.address, json!({}), json!([{"name": "live", "websocket": true, "auth": ["key"]}]));
    file["authenticators"] = json!({"key": {"api_key": {"header": "x-api-key"}}});
    file["plans"] = json!({"one": {"concurrency": 1}});
    file["consumers"] = json!({"ann": consumer("ann", "one")});
    let gateway = Instance::start(&file);
    let ask = || open(gateway.public, handshake("/live", &[("x-api-key", "key-ann")]));
    for _ in 0..3 {
        let (mut socket, _) = ask().expect("the one place");
        assert_eq!(ask().expect_err("no second place").status().as_u16(), 429);
        socket.close(None).unwrap();
        closing(&mut socket);
        closed.recv_timeout(crate::support::DEADLINE).unwrap();
        assert!(eventually(|| gateway.metric(r#"tollgate_websocket_connections{route="live"}"#) == Some(0.0)));
    }
}

#[test]
fn silence_and_age_end_a_websocket_with_a_word_to_both() {
    for (rules, cause) in [(json!({"idle_timeout": "400ms"}), "idle"), (json!({"max_lifetime": "400ms"}), "lifetime")] {
        let (service, closed) = echoing();
        let gateway = Instance::start(&routed(service.address, json!({}), taking(rules)));
        let (mut socket, _) = open(gateway.public, handshake("/live", &[])).expect("a WebSocket");
        let begun = Instant::now();
        socket.send(Message::text("once")).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("once"));
        assert_eq!(closing(&mut socket), Some(1001), "{cause}");
        assert!(begun.elapsed() > Duration::from_millis(300), "{cause}: {:?}", begun.elapsed());
        assert_eq!(closed.recv_timeout(crate::support::DEADLINE), Ok(Some(1001)), "{cause}");
        let line = gateway.line(|line| line.contains("\"status\":101"));
        assert!(line.contains(&format!("WebSocket: {cause}")) && line.contains("admitted"), "{line}");
    }
}

#[test]
fn nothing_else_ends_a_websocket_that_is_silent() {
    let (service, _closed) = echoing();
    let mut file = routed(service.address, json!({"response": "200ms", "idle": "200ms"}), taking(json!(true)));
    file["guard"] = json!({"header_timeout": "200ms", "idle_timeout": "200ms", "body_timeout": "200ms"});
    let gateway = Instance::start(&file);
    let (mut socket, _) = open(gateway.public, handshake("/live", &[])).expect("a WebSocket");
    for silence in [0, 500, 900] {
        thread::sleep(Duration::from_millis(silence));
        socket.send(Message::text(silence.to_string())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(silence.to_string()));
    }
}

#[test]
fn when_one_side_goes_the_other_goes_too() {
    let (tell, ended) = channel();
    let tell = Mutex::new(tell);
    let service = Service::start(move |head, stream| {
        let socket = switched(&head, stream.try_clone().unwrap(), "");
        if head.start.contains("gone") {
            return drop(stream.shutdown(std::net::Shutdown::Both));
        }
        echo(socket);
        let _ = tell.lock().unwrap().send(());
    });
    let routes = json!([{"name": "live", "websocket": true}, {"name": "gone", "websocket": true}]);
    let gateway = Instance::start(&routed(service.address, json!({}), routes));
    let (mut socket, _) = open(gateway.public, handshake("/gone", &[])).expect("a WebSocket");
    assert_eq!(closing(&mut socket), None);
    for half in [false, true] {
        let (socket, _) = open(gateway.public, handshake("/live", &[])).expect("a WebSocket");
        let stream: &TcpStream = socket.get_ref();
        let how = if half { std::net::Shutdown::Write } else { std::net::Shutdown::Both };
        stream.shutdown(how).unwrap();
        assert_eq!(ended.recv_timeout(crate::support::DEADLINE), Ok(()), "half: {half}");
    }
    assert!(eventually(|| gateway.metric(r#"tollgate_websocket_connections{route="live"}"#) == Some(0.0)));
}
