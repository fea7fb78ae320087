//! Two thousand clients that drip headers and bodies or hardly read their replies, beside a few healthy ones.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::process::instance::{Instance, config, eventually};
use crate::support::client::{Client, request};
use crate::support::origin::{Origin, Reply};

/// Of each of the three kinds.
const OF_EACH: usize = 667;

/// Descriptors of this process: a socket for each slow client, two for each connection that the service has, and the rest
/// of the tests.
const DESCRIPTORS: u64 = 6 * OF_EACH as u64;

/// A reply that fits into no buffer is so many times the same piece.
const PIECES: usize = 128;
static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];

/// The deadlines under test: long enough to be measured beside.
const PATIENCE: &str = "20s";

/// How long healthy clients are measured.
const MEASURED: Duration = Duration::from_secs(3);

/// The most that a client may hold of the gateway's memory. One that reads slowly has a dozen pieces of its reply on their
/// way, of up to 64 KiB each.
const MEMORY_OF_READER: u64 = 1 << 20;
const MEMORY_OF_OTHERS: u64 = 64 << 10;

/// Two thousand connections would be in the way of the other test here.
static ALONE: Mutex<()> = Mutex::new(());

/// How a slow client goes on.
enum Manner {
    Writes,
    Reads,
}

/// How long healthy requests take.
#[derive(Debug)]
struct Latency {
    median: Duration,
    p99: Duration,
}

fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|most| most >= DESCRIPTORS);
    assert!(enough, "this test needs {DESCRIPTORS} open files, `ulimit -Hn` allows {:?}", limit.maximum);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("raise `ulimit -n`");
}

/// A connection with little room for what it does not read.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("set SO_RCVBUF");
    connect(&socket, &address).expect("connect");
    socket.into()
}

fn slow(address: SocketAddr, number: usize) -> (TcpStream, Manner) {
    let mut stream = narrow(address);
    let (begin, manner): (&[u8], _) = match number % 3 {
        0 => (b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: ", Manner::Writes),
        1 => (
            b"POST /checked HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n",
            Manner::Writes,
        ),
        _ => (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", Manner::Reads),
    };
    stream.write_all(begin).expect("the beginning of a request");
    stream.set_nonblocking(true).expect("set O_NONBLOCK");
    (stream, manner)
}

/// Healthy requests, one after the other on each of two connections.
fn measure(address: SocketAddr) -> Latency {
    let ask = || {
        let (mut client, until) = (Client::connect(address), Instant::now() + MEASURED);
        let mut times = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            assert_eq!(client.ask(&request("GET", "/a", &[], b"")).unwrap().status, 200);
            times.push(begun.elapsed());
        }
        times
    };
    let mut times = thread::scope(|scope| {
        let other = scope.spawn(ask);
        [ask(), other.join().unwrap()].concat()
    });
    times.sort_unstable();
    Latency { median: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
}

fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// A service whose replies fit into no buffer.
fn large() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let length = PIECES * PIECE.len();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                // A request without a body comes in one piece. It ends when the gateway has enough.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(head.as_bytes());
                let _ = (0..PIECES).try_for_each(|_| stream.write_all(&PIECE));
            });
        }
    });
    address
}

fn gateway(services: Value, routes: Value, guard: Value) -> Instance {
    let sections = json!({"services": services, "guard": guard, "defaults": {"auth": "public"}, "routes": routes});
    Instance::start(&config(([127, 0, 0, 1], 1).into(), sections))
}

#[test]
fn slow_clients_disturb_nobody_and_are_ended() {
    allow_descriptors();
    let _alone = ALONE.lock();
    let origin = Origin::json("{}");
    let gateway = gateway(
        json!({"origin": {"url": format!("http://{}", origin.address())}, "large": {"url": format!("http://{}", large())}}),
        json!([
            {"name": "a", "method": "GET", "gateway_path": "/a", "service": "origin"},
            {"name": "large", "method": "GET", "gateway_path": "/large", "service": "large"},
            {"name": "checked", "method": "POST", "gateway_path": "/checked", "service": "origin",
             "body_params": {"a": {"type": "string"}}},
        ]),
        json!({"header_timeout": PATIENCE, "body_timeout": PATIENCE, "idle_timeout": "60s"}),
    );
    let address = gateway.public;
    let open = || gateway.metric("tollgate_connections").expect("the metric") as usize;
    let (alone, memory) = (measure(address), resident(gateway.id()));

    let mut clients: Vec<_> = (0..3 * OF_EACH).map(|number| slow(address, number)).collect();
    assert!(eventually(|| open() >= 3 * OF_EACH), "{} of {} are there", open(), 3 * OF_EACH);
    let over = AtomicBool::new(false);
    let (beside, grown, still) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (number, (stream, manner)) in clients.iter_mut().enumerate() {
                    // What comes of it shows in the gateway.
                    let _ = match manner {
                        Manner::Writes => stream.write(b"x"),
                        Manner::Reads => stream.read(&mut [0]),
                    };
                    if number % 10 == 0 {
                        thread::sleep(Duration::from_millis(10)); // a drop at a time, not a wave
                    }
                }
            }
        });
        // What fits into the kernel's buffers is sent as fast as ever, and not what is measured.
        measure(address);
        let beside = measure(address);
        let grown = resident(gateway.id()).saturating_sub(memory);
        let still = open();
        // The deadlines, and some.
        let ended = (0..6).any(|_| eventually(|| open() == 0));
        over.store(true, Ordering::Relaxed);
        assert!(ended, "{} slow connections are left", open());
        (beside, grown, still)
    });
    println!("alone {alone:?}, beside {still} slow clients {beside:?}, memory {} KiB more", grown >> 10);
    assert!(still >= 2 * OF_EACH, "{still} slow connections while it was measured");
    // What a busy machine adds to single requests is no multiple of anything.
    let bound = |alone: Duration, noise| 2 * alone + Duration::from_millis(noise);
    assert!(beside.median <= bound(alone.median, 5), "alone {alone:?}, beside them {beside:?}");
    assert!(beside.p99 <= bound(alone.p99, 100), "alone {alone:?}, beside them {beside:?}");
    let most = OF_EACH as u64 * (MEMORY_OF_READER + 2 * MEMORY_OF_OTHERS);
    assert!(grown <= most, "{grown} bytes more, {most} at most");
}

/// Replies that are nothing but a header, asked for one after the other by a client that reads none.
#[test]
fn a_client_that_takes_no_headers_is_ended() {
    let header = format!("HTTP/1.1 204 No Content\r\nx-long: {}\r\n\r\n", "x".repeat(30_000));
    let _alone = ALONE.lock();
    let origin = Origin::start(move |_| Reply::raw(header.clone()));
    let services = json!({"origin": {"url": format!("http://{}", origin.address())}});
    let routes = json!([{"name": "a", "method": "GET", "gateway_path": "/a", "service": "origin"}]);
    let gateway = gateway(services, routes, json!({"body_timeout": "300ms"}));
    let mut stream = narrow(gateway.public);
    stream.write_all(&request("GET", "/a", &[], b"").repeat(1000)).expect("room for the requests");
    assert!(eventually(|| gateway.metric("tollgate_connections_expired_total{deadline=\"write\"}") == Some(1.0)));
    assert!(eventually(|| gateway.metric("tollgate_connections") == Some(0.0)));
}
