//! Many who want the same at once, and services that fail them.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::{config, get, metric, numbered, reply, send};
use crate::process::instance::eventually;
use crate::streams::Service;
use crate::support::client::{Client, request};
use crate::support::gateway::Gateway;
use crate::support::origin::Reply;

/// A service whose replies go out bit by bit, as the test says.
struct Slow {
    service: Service,
    asked: Receiver<TcpStream>,
}

impl Slow {
    fn start() -> Self {
        let (say, asked): (Sender<TcpStream>, _) = channel();
        let say = Mutex::new(say);
        let service = Service::start(move |_, stream| {
            let _ = say.lock().unwrap().send(stream);
        });
        Self { service, asked }
    }

    /// The next request.
    fn next(&self) -> TcpStream {
        self.asked.recv_timeout(Duration::from_secs(30)).expect("the service is asked")
    }

    fn gateway(&self, cache: &serde_json::Value) -> Gateway {
        Gateway::start(&config(self.service.address, cache, &json!({})).to_string())
    }
}

/// So many clients that have asked for the same.
fn crowd(gateway: &Gateway, count: usize, path: &str) -> Vec<Client> {
    let mut clients: Vec<Client> =
        (0..count).map(|_| Client::connect(gateway.address()).patient(Duration::from_secs(60))).collect();
    clients.iter_mut().for_each(|client| client.send(&request("GET", path, &[], b"")));
    assert!(eventually(|| in_flight(gateway) >= count), "{} of {count} are waiting", in_flight(gateway));
    clients
}

/// A reply in two halves, each larger than what waits in pingora's buffer for more.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let filling = "x".repeat(4092);
    let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 8192\r\n\r\n";
    (format!("{head}{filling}half").into_bytes(), format!("{filling}done").into_bytes())
}

fn in_flight(gateway: &Gateway) -> usize {
    metric(gateway, "tollgate_requests_in_flight").unwrap().parse().unwrap()
}

#[test]
fn a_thousand_misses_are_one_request_and_read_it_as_it_comes() {
    let slow = Slow::start();
    let gateway = slow.gateway(&json!({ "respect": true }));
    let mut clients = crowd(&gateway, 1000, "/a/1");
    let mut stream = slow.next();
    let (half, done) = halves();
    stream.write_all(&half).unwrap();
    for client in &mut clients {
        client.read_to(b"half");
    }
    stream.write_all(&done).unwrap();
    for client in &mut clients {
        client.read_to(b"done");
    }
    assert_eq!(slow.service.connections(), 1);
    assert!(get(&gateway, "/a/1").text().ends_with("done"));
    assert_eq!(slow.service.connections(), 1);
    let count = |result: &str| {
        let name = format!("tollgate_cache_requests_total{{result=\"{result}\",route=\"cached\"}}");
        metric(&gateway, &name).unwrap()
    };
    assert!(eventually(|| count("collapsed") == "999" && count("miss") == "1"), "{}", count("collapsed"));
}

#[test]
fn those_who_waited_for_what_is_not_stored_go_on_together() {
    let slow = Slow::start();
    let gateway = slow.gateway(&json!({ "respect": true }));
    let mut clients = crowd(&gateway, 50, "/a/1");
    let mut first = slow.next();
    assert_eq!(slow.service.connections(), 1);
    first
        .write_all(b"HTTP/1.1 200 OK\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: 2\r\n\r\n")
        .unwrap();
    // Not one after the other: all of them are there before any has its reply.
    let mut others: Vec<TcpStream> = (0..49).map(|_| slow.next()).collect();
    first.write_all(b"ok").unwrap();
    for other in &mut others {
        other
            .write_all(
                b"HTTP/1.1 200 OK\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            )
            .unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.response().unwrap().text(), "ok");
    }
    // It is remembered: the next ones do not wait at all.
    let mut next = crowd(&gateway, 2, "/a/1");
    for mut stream in [slow.next(), slow.next()] {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            )
            .unwrap();
    }
    next.iter_mut().for_each(|client| assert_eq!(client.response().unwrap().text(), "ok"));
}

#[test]
fn a_client_that_leaves_or_does_not_read_holds_up_nobody() {
    const SIZE: usize = 6 << 20;
    for leaves in [true, false] {
        let slow = Slow::start();
        let mut written = config(slow.service.address, &json!({ "respect": true, "max_object": "8MiB" }), &json!({}));
        written["cache"] = json!({ "memory": "256MiB" });
        let gateway = Gateway::start(&written.to_string());
        let mut first = Client::connect(gateway.address());
        first.send(&request("GET", "/a/1", &[], b""));
        let mut stream = slow.next();
        let head = format!("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: {SIZE}\r\n\r\n");
        let begin = "x".repeat(4096) + "begin";
        stream.write_all((head + &begin).as_bytes()).unwrap();
        if leaves {
            first.read_to(b"begin");
            drop(first);
        }
        let mut second = Client::connect(gateway.address());
        second.send(&request("GET", "/a/1", &[], b""));
        assert!(eventually(|| in_flight(&gateway) >= 1));
        stream.write_all(&vec![b'x'; SIZE - begin.len()]).unwrap();
        let response = second.response().unwrap();
        assert_eq!((response.body.len(), response.cut), (SIZE, false), "leaves: {leaves}");
        assert_eq!(slow.service.connections(), 1);
    }
}

#[test]
fn a_service_that_cannot_be_used_is_not_asked_again_by_all_who_waited() {
    let slow = Slow::start();
    let gateway = slow.gateway(&json!({ "respect": true }));
    let mut clients = crowd(&gateway, 20, "/a/1");
    let mut stream = slow.next();
    stream.write_all(b"this is no HTTP\r\n\r\n").unwrap();
    drop(stream);
    for client in &mut clients {
        assert_eq!(client.response().unwrap().status, 502);
    }
    assert_eq!(slow.service.connections(), 1);
}

#[test]
fn a_reply_that_breaks_off_is_cut_for_all_and_not_stored() {
    let slow = Slow::start();
    let gateway = slow.gateway(&json!({ "respect": true }));
    let mut clients = crowd(&gateway, 5, "/a/1");
    let mut stream = slow.next();
    stream.write_all(&halves().0).unwrap();
    for client in &mut clients {
        client.read_to(b"half");
    }
    drop(stream);
    for client in &mut clients {
        assert!(client.is_closed(), "nobody takes the half for the whole");
    }
    let mut again = Client::connect(gateway.address());
    again.send(&request("GET", "/a/1", &[], b""));
    slow.next().write_all(b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok").unwrap();
    assert_eq!(again.response().unwrap().text(), "ok");
}

#[test]
fn a_stale_reply_is_used_while_it_is_fetched_anew_and_nobody_pays_for_that() {
    let lines = "cache-control: max-age=1, stale-while-revalidate=60\r\n";
    let origin = numbered(move |_, number| reply(lines, &number.to_string()));
    let limits = json!({ "limits": [{ "rate": "100000/day", "by": "route" }] });
    let gateway = Gateway::start(&config(origin.address(), &json!({ "respect": true }), &limits).to_string());
    assert_eq!(get(&gateway, "/a/1").text(), "1");
    let mut asked = 1;
    let mut next = || {
        asked += 1;
        get(&gateway, "/a/1")
    };
    let mut stale = None;
    assert!(eventually(|| {
        stale = Some(next()).filter(|response| response.value("cache-status").unwrap().contains("ttl=-"));
        stale.is_some()
    }));
    assert_eq!(stale.unwrap().text(), "1", "nobody waits for the new one");
    assert!(eventually(|| next().text() == "2"));
    let left: usize = next().value("x-ratelimit-remaining").unwrap().parse().unwrap();
    assert_eq!(left, 100_000 - asked);
    let fetched = gateway.printed(|line| line.contains("\"cache\":\"miss\""));
    assert!(fetched.is_some_and(|line| line.contains("\"client\":\"127.0.0.1\"")), "the one of the first client");
}

#[test]
fn a_stale_reply_stands_in_for_a_service_that_fails() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let origin = numbered(move |request, _| match (failing.load(Ordering::SeqCst), request.path()) {
        (false, _) => reply("cache-control: max-age=0\r\netag: \"a\"\r\n", "old"),
        (true, "/a/status") => Reply::raw("HTTP/1.1 503 -\r\ncontent-length: 2\r\n\r\nno"),
        (true, _) => Reply::raw("").closing(),
    });
    let gateway = Gateway::start(
        &config(origin.address(), &json!({ "respect": true, "stale_if_error": "60s" }), &json!({})).to_string(),
    );
    for path in ["/a/status", "/a/cut"] {
        assert_eq!(get(&gateway, path).text(), "old");
    }
    fails.store(true, Ordering::SeqCst);
    let response = get(&gateway, "/a/status");
    assert_eq!((response.status, response.text().as_str()), (200, "old"));
    assert_eq!(response.value("cache-status"), Some("tollgate; fwd=stale; fwd-status=503"));
    assert_eq!(send(&gateway, "GET", "/a/other", &[]).status, 502);
}
