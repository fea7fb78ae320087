//! What lasts while everything around it changes: streams and connections through reloads, upgrades and the end.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use super::{Service, asked, closing, echo, handshake, hears, open, routed, switched};
use crate::process::instance::{Instance, config, eventually};
use crate::support::client::{Client, fetch, request};
use crate::support::origin::{Origin, Reply};
use crate::upgrade::Line;

/// Between two events, and between two messages.
const PACE: Duration = Duration::from_millis(40);

/// A service that echoes messages, and sends numbered events without end.
fn service() -> Service {
    Service::start(|head, mut stream| {
        if !head.values("upgrade").is_empty() {
            return echo(switched(&head, stream, ""));
        }
        if head.start.contains("/other") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
        let mut number = 0;
        while stream.write_all(format!("data: {number}\n\n").as_bytes()).is_ok() {
            number += 1;
            thread::sleep(PACE);
        }
    })
}

/// Routes with streams, and one that is other in each of these files.
fn file(service: SocketAddr, number: usize) -> Value {
    let mut file = routed(
        service,
        json!({}),
        json!([
            {"name": "live", "websocket": true},
            {"name": "events"},
            {"name": "other", "response_headers": {"set": {"x-number": number.to_string()}}},
        ]),
    );
    file["access_log"] = json!({"path": "off"});
    file
}

/// Sends messages and gets each back, until it is done and once more; how many.
fn talk(gateway: SocketAddr, done: &AtomicBool, talking: &AtomicUsize) -> usize {
    let (mut socket, _) = open(gateway, handshake("/live", &[])).expect("a WebSocket");
    talking.fetch_add(1, Ordering::SeqCst);
    for number in 0.. {
        let last = done.load(Ordering::SeqCst);
        socket.send(Message::text(number.to_string())).expect("a message leaves");
        assert_eq!(socket.read().expect("a message comes"), Message::text(number.to_string()));
        if last {
            socket.close(None).expect("a close frame leaves");
            closing(&mut socket);
            return number;
        }
        thread::sleep(PACE);
    }
    unreachable!("it is done before numbers end")
}

/// Reads events, none of which may be missing, until it is done and one more; how many.
fn listen(gateway: SocketAddr, done: &AtomicBool, talking: &AtomicUsize) -> usize {
    let mut lines = BufReader::new(asked(gateway, "/events")).lines();
    talking.fetch_add(1, Ordering::SeqCst);
    for number in 0.. {
        let last = done.load(Ordering::SeqCst);
        let expected = format!("data: {number}");
        let mut event = lines.by_ref().map(|line| line.expect("the stream goes on"));
        assert!(event.any(|line| {
            assert!(!line.starts_with("data: ") || line == expected, "{line} instead of {expected}");
            line == expected
        }));
        if last {
            return number;
        }
    }
    unreachable!("it is done before numbers end")
}

/// Opens so many WebSockets and as many event streams, and ends them after `meanwhile`; how far each came.
fn with_streams(gateway: SocketAddr, each: usize, meanwhile: impl FnOnce()) -> Vec<usize> {
    let (done, talking) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (done, talking) = (&done, &talking);
        let mut clients = Vec::new();
        for _ in 0..each {
            clients.push(scope.spawn(move || talk(gateway, done, talking)));
            clients.push(scope.spawn(move || listen(gateway, done, talking)));
        }
        assert!(eventually(|| talking.load(Ordering::SeqCst) == 2 * each), "not all streams begin");
        meanwhile();
        done.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().expect("a stream that lives")).collect()
    })
}

#[test]
fn two_hundred_streams_live_through_a_hundred_reloads() {
    const RELOADS: usize = 100;
    let service = service();
    let gateway = Instance::start(&file(service.address, 0));
    let came = with_streams(gateway.public, 100, || {
        assert!(eventually(|| gateway.metric(r#"tollgate_websocket_connections{route="live"}"#) == Some(100.0)));
        for number in 1..=RELOADS {
            let answer = gateway.reload(&file(service.address, number));
            assert_eq!(answer["result"], "published", "{answer}");
        }
        assert_eq!(fetch(gateway.public, "/other").value("x-number"), Some("100"));
    });
    assert!(came.iter().all(|count| *count > 0), "{came:?}");
}

#[test]
fn connections_to_a_service_outlive_a_hundred_reloads() {
    let origin = Origin::json("{}");
    let file = |number: usize| {
        let routes = json!([
            {"name": "all", "method": "GET", "gateway_path": "/all", "service": "origin", "auth": "public"},
            {"name": "other", "method": "GET", "gateway_path": "/other", "service": "other", "auth": "public",
             "response_headers": {"set": {"x-number": number.to_string()}}},
        ]);
        let url = format!("http://{}", origin.address());
        // Of the other service everything changes.
        let other = json!({"url": format!("http://127.0.0.1:{}", 2000 + number), "timeouts": {"connect": "1s"}});
        let services = json!({"origin": {"url": url}, "other": other});
        config(origin.address(), json!({"access_log": {"path": "off"}, "services": services, "routes": routes}))
    };
    // With more workers pingora now and then does not get hold of a connection that another one has just put back.
    let gateway = Instance::start_with(&file(0), &["--threads", "1"], &[]);
    let get = request("GET", "/all", &[], b"");
    let load = |clients: usize, until: &(dyn Fn(usize) -> bool + Sync)| {
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let mut client = Client::connect(gateway.public);
                    for asked in 0.. {
                        if until(asked) {
                            break;
                        }
                        assert_eq!(client.ask(&get).expect("an answer").status, 200);
                    }
                });
            }
        });
    };
    // More at a time than afterwards, so that there is always one that rests.
    load(12, &|asked| asked == 50);
    let before = origin.connections();
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let until = |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            done.load(Ordering::Relaxed)
        };
        let load = &load;
        scope.spawn(move || load(2, &until));
        for number in 1..=100 {
            let answer = gateway.reload(&file(number));
            assert_eq!(answer["result"], "published", "{answer}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 100, "hardly any load");
    assert_eq!(origin.connections(), before, "a reload opens connections to a service that it does not touch");
}

#[test]
fn the_end_is_told_to_websockets_and_cuts_streams() {
    let service = service();
    let mut file = file(service.address, 0);
    file["drain"] = json!({"timeout": "1s"});
    file["access_log"] = json!({"path": "stdout"});
    let mut gateway = Instance::start(&file);
    let (mut socket, _) = open(gateway.public, handshake("/live", &[])).expect("a WebSocket");
    let mut events = asked(gateway.public, "/events");
    assert!(hears(&mut events, "data: 0\n\n"));
    let begun = Instant::now();
    gateway.signal("TERM");
    gateway.logged("draining in_flight=2");
    socket.send(Message::text("still there?")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("still there?"));
    assert_eq!(closing(&mut socket), Some(1001));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    while hears(&mut events, "\n\n") {}
    assert!(gateway.ended(Duration::from_secs(5)).is_some_and(|status| status.success()), "{}", gateway.log());
    let line = gateway.line(|line| line.contains("\"status\":101"));
    assert!(line.contains("WebSocket: leaving"), "{line}");
}

#[test]
fn the_process_leaves_with_its_last_stream() {
    let service = service();
    let mut gateway = Instance::start(&file(service.address, 0));
    let (mut socket, _) = open(gateway.public, handshake("/live", &[])).expect("a WebSocket");
    let mut events = asked(gateway.public, "/events");
    assert!(hears(&mut events, "data: 0\n\n"));
    gateway.signal("TERM");
    gateway.logged("draining in_flight=2");
    assert!(gateway.ended(Duration::from_millis(1500)).is_none(), "it waits for both");
    let begun = Instant::now();
    socket.close(None).unwrap();
    closing(&mut socket);
    drop(events);
    assert!(gateway.ended(Duration::from_secs(5)).is_some_and(|status| status.success()), "{}", gateway.log());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn streams_stay_with_the_old_process_and_new_ones_go_to_the_new() {
    let (service, unused) = (service(), Origin::start(|_| Reply::json(200, "{}")));
    let mut sections = file(service.address, 0);
    sections["drain"] = json!({"timeout": "6s"});
    let mut line = Line::start(&unused, sections);
    let (old, public) = (line.pid, line.public);
    let came = with_streams(public, 20, || {
        let upgraded = line.upgrade();
        assert!(upgraded.status.success(), "{upgraded:?}\n{}", line.log());
        assert_ne!(line.pid, old);
        let later = with_streams(public, 5, || {
            assert!(Line::is_alive(old), "its streams are not over:\n{}", line.log());
            assert!(eventually(|| fetch(public, "/other").status == 200));
        });
        assert_eq!(later.len(), 10);
    });
    assert_eq!(came.len(), 40);
    assert!(eventually(|| !Line::is_alive(old)), "it does not leave after its last stream:\n{}", line.log());
    // Those of a process that has waited long enough are told to go.
    let second = line.pid;
    let (mut socket, _) = open(public, handshake("/live", &[])).expect("a WebSocket");
    assert!(line.upgrade().status.success(), "{}", line.log());
    assert_eq!(closing(&mut socket), Some(1001));
    assert!(eventually(|| !Line::is_alive(second)), "{}", line.log());
    let (mut socket, _) = open(public, handshake("/live", &[])).expect("a WebSocket of the newest process");
    socket.close(None).unwrap();
    closing(&mut socket);
}
