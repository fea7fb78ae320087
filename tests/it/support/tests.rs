//! The support code against itself: a client asks a scripted service without a gateway between them.

use std::io::Cursor;
use std::net::TcpStream;

use super::DEADLINE;
use super::client::{self, Client, request};
use super::gateway::{Lines, field, is_word};
use super::origin::{Origin, Reply, Then, Unreachable};
use super::wire::{Framing, read_body};

fn body(bytes: &[u8], framing: Framing) -> (String, bool) {
    let body = read_body(&mut Cursor::new(bytes), framing);
    (String::from_utf8(body.bytes).unwrap(), body.cut)
}

#[test]
fn bodies_end_where_their_framing_says() {
    let rows: &[(Framing, &[u8], &str, bool)] = &[
        (Framing::Absent, b"abc", "", false),
        (Framing::Length(2), b"abc", "ab", false),
        (Framing::Length(4), b"abc", "abc", true),
        (Framing::UntilClose, b"abc", "abc", false),
        (Framing::Chunked, b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nt: 1\r\n\r\nrest", "abc", false),
        (Framing::Chunked, b"1\r\na\r\n", "a", true),
        (Framing::Chunked, b"5\r\nab", "ab", true),
        (Framing::Chunked, b"no\r\n", "", true),
    ];
    for (framing, bytes, text, cut) in rows {
        assert_eq!(body(bytes, *framing), (text.to_string(), *cut), "{framing:?} {:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_request_is_recorded_as_it_was_sent() {
    let origin = Origin::json("{}");
    let mut client = Client::connect(origin.address());
    client.ask(b"PUT /a%20b?q=%C3%A9&q HTTP/1.1\r\nX-A: 1\r\nx-a:\xe9 \r\nContent-Length: 3\r\n\r\nabc").unwrap();
    client.ask(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n").unwrap();
    client::fetch(origin.address(), "/other");

    let seen = origin.take();
    let [put, post, get] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((put.method.as_str(), put.path(), put.query()), ("PUT", "/a%20b", "q=%C3%A9&q"));
    assert_eq!(put.values("x-a"), [&b"1"[..], b"\xe9"]);
    assert_eq!((put.body.as_slice(), post.body.as_slice(), get.query()), (&b"abc"[..], &b"abc"[..], ""));
    assert_eq!([put.connection, post.connection, get.connection], [0, 0, 1]);
    assert_eq!((origin.connections(), origin.requests().len()), (2, 0));
}

#[test]
fn a_reply_is_shown_as_it_was_sent() {
    let replies: &[(&[u8], u16, &[u8], bool)] = &[
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", 200, b"ok", true),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", 200, b"to the end", false),
        (b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", 404, b"", false),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", false),
    ];
    for (bytes, status, body, cut) in replies {
        let reply = Reply::raw(*bytes).closing();
        assert_eq!(reply.then, Then::Close);
        let origin = Origin::start(move |_| reply.clone());
        let mut client = Client::connect(origin.address());
        let got = client.ask(&request("GET", "/", &[], b"")).unwrap();
        assert_eq!((got.status, got.body.as_slice(), got.cut), (*status, *body, *cut));
        assert_eq!(got.interim.len(), usize::from(*status == 404));
        assert!(client.is_closed());
    }
}

#[test]
fn a_response_to_head_has_no_body_and_the_connection_is_used_again() {
    let origin = Origin::start(|request| match request.method.as_str() {
        "HEAD" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-a: 1\r\nx-a: 2\r\n\r\n"),
        _ => Reply::json(201, &format!("{:?}", String::from_utf8_lossy(&request.body))),
    });
    let mut client = Client::connect(origin.address());
    let head = client.ask(&request("HEAD", "/", &[], b"")).unwrap();
    assert_eq!((head.value("content-length"), head.value("x-a"), head.values("x-a").len()), (Some("5"), None, 2));
    assert_eq!(head.fields_beside(&["content-length"]), ["x-a", "x-a"]);
    let post = client.ask(&request("POST", "/", &[("x-b", "1")], b"abc")).unwrap();
    assert_eq!((post.status, post.text()), (201, "\"abc\"".to_owned()));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn nothing_listens_at_an_unreachable_address() {
    let unreachable = Unreachable::reserve();
    assert!(TcpStream::connect(unreachable.address()).is_err());
}

#[test]
fn log_lines_are_found_by_words_and_fields() {
    let lines =
        Lines::of(Cursor::new("INFO listening address=127.0.0.1:81 listener=public\nINFO already\nINFO ready n=1\n"));
    let (number, line) = lines.wait(0, DEADLINE, |line| is_word(line, "ready")).unwrap();
    assert_eq!((number, field(&line, "n")), (2, Some("1")));
    assert_eq!(field(&lines.all()[0], "address"), Some("127.0.0.1:81"));
    assert!(lines.wait(1, DEADLINE, |line| is_word(line, "listening")).is_none(), "the output has ended");
}
