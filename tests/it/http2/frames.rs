//! What a connection may cost: deadlines, streams, resets, and readers that do not read. In frames as bytes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{over_http2, stage};
use crate::raw::stage::Stage;
use crate::support::DEADLINE;
use crate::support::origin::{Origin, Reply};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Ends of streams and headers.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Codes of errors (RFC 9113 section 7).
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The code at the end of a RST_STREAM or GOAWAY.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header of a GET without Huffman codes (RFC 7541): method and scheme from the static table, path and authority as
/// literals.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let literal = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    let block = [vec![0x82, 0x86], literal(0x04, path), literal(0x01, "gateway.test")].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

/// A connection with its preface sent.
fn connect(stage: &Stage, settings: &[(u16, u32)]) -> TcpStream {
    let mut stream = TcpStream::connect(stage.gateway.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let setting = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let settings: Vec<u8> = settings.iter().flat_map(setting).collect();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).unwrap();
    stream
}

/// The next frame of this kind; `None` when the connection ends.
fn next(stream: &mut TcpStream, kinds: &[u8]) -> Option<Frame> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).ok()?;
        let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
        if kinds.contains(&head[3]) {
            return Some(Frame { kind: head[3], stream: id, payload });
        }
    }
}

fn ends(stream: &mut TcpStream) -> bool {
    next(stream, &[]).is_none()
}

#[test]
fn half_a_preface_misses_the_deadline_of_a_header() {
    let stage = stage(json!([{"method": "GET", "gateway_path": "/"}]), json!({"header_timeout": "300ms"}));
    for half in [&PREFACE[..5], &PREFACE[..23]] {
        let mut stream = TcpStream::connect(stage.gateway.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let begun = Instant::now();
        stream.write_all(half).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!((Duration::from_millis(290)..DEADLINE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}

#[test]
fn an_idle_connection_is_told_goodbye_and_a_busy_one_is_not() {
    let origin = Origin::start(|request| {
        std::thread::sleep(Duration::from_millis(if request.path() == "/slow" { 1000 } else { 0 }));
        Reply::json(200, "{}")
    });
    let routes = json!([{"method": "GET", "gateway_path": "/{*rest}"}]);
    let stage = Stage::set(origin, routes, over_http2(json!({"guard": {"idle_timeout": "300ms"}})));
    let mut stream = connect(&stage, &[]);
    let begun = Instant::now();
    stream.write_all(&get(1, "/slow")).unwrap();
    assert_eq!(next(&mut stream, &[HEADERS, GOAWAY]).unwrap().kind, HEADERS, "idle with an open stream");
    let goodbye = next(&mut stream, &[GOAWAY]).unwrap();
    assert_eq!(goodbye.code(), NO_ERROR);
    assert!(begun.elapsed() >= Duration::from_millis(1290), "{:?}", begun.elapsed());
    assert!(ends(&mut stream));
}

#[test]
fn a_stream_too_many_is_refused_and_the_others_go_on() {
    let origin = Origin::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Reply::json(200, "{}")
    });
    let routes = json!([{"method": "GET", "gateway_path": "/"}]);
    let stage = Stage::set(origin, routes, over_http2(json!({"guard": {"max_streams": 2}})));
    let mut stream = connect(&stage, &[]);
    // What the gateway says of its limits comes first.
    let settings = next(&mut stream, &[SETTINGS]).unwrap().payload;
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 2]), "{settings:?}");
    stream.write_all(&[get(1, "/"), get(3, "/"), get(5, "/")].concat()).unwrap();
    let refused = next(&mut stream, &[HEADERS, RST_STREAM]).unwrap();
    assert_eq!((refused.kind, refused.stream, refused.code()), (RST_STREAM, 5, REFUSED_STREAM));
    let mut answered = [0; 2].map(|_| next(&mut stream, &[HEADERS, RST_STREAM]).unwrap().stream);
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
}

#[test]
fn a_client_that_resets_all_it_sends_is_sent_away() {
    let stage = stage(json!([{"method": "GET", "gateway_path": "/"}]), json!({}));
    let mut stream = connect(&stage, &[]);
    let cancel = 8_u32.to_be_bytes();
    let mut reading = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for number in 0..20_000 {
            let id = 2 * number + 1;
            let both = [get(id, "/"), frame(RST_STREAM, 0, id, &cancel)].concat();
            if stream.write_all(&both).is_err() {
                return;
            }
        }
    });
    let end = next(&mut reading, &[GOAWAY]).expect("a last word");
    assert_eq!(end.code(), ENHANCE_YOUR_CALM);
    writer.join().unwrap();
    let mut other = connect(&stage, &[]);
    other.write_all(&get(1, "/")).unwrap();
    assert!(next(&mut other, &[HEADERS]).is_some(), "others are served");
}

#[test]
fn whoever_does_not_read_holds_little_memory_and_not_for_ever() {
    const STREAMS: u32 = 40;
    let reply = format!("\"{}\"", "x".repeat(4 << 20));
    let origin = Origin::start(move |_| Reply::json(200, &reply));
    let routes = json!([{"method": "GET", "gateway_path": "/{*rest}"}]);
    let stage = Stage::set(origin, routes, over_http2(json!({"guard": {"body_timeout": "2s"}})));
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", stage.gateway.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = memory();
    // All the room that a client can give, for 160 MiB of replies, and it reads nothing.
    let mut stream = connect(&stage, &[(4, i32::MAX as u32)]);
    stream.write_all(&frame(8, 0, 0, &(i32::MAX as u32 - 65_535).to_be_bytes())).unwrap();
    for number in 0..STREAMS {
        stream.write_all(&get(2 * number + 1, "/large")).unwrap();
    }
    let until = Instant::now() + DEADLINE;
    let mut most = 0;
    while Instant::now() < until && !stage.gateway.log().is_empty() {
        most = most.max(memory().saturating_sub(before));
        // All have given up waiting for the client.
        if stage.gateway.lines_printed(|line| line.contains("\"path\":\"/large\"")) >= STREAMS as usize {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Instant::now() < until, "some wait for ever");
    assert!(most < 48, "{most} MiB are held for a client that does not read");
}
