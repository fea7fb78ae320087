//! Services that break HTTP, connections or their word, as a table: the client gets the right problem in bounded time, or,
//! after the header went out, a connection that ends, so that nobody takes a part for the whole.

use std::time::{Duration, Instant};

use serde_json::json;

use super::script::{Scripted, Step, say};
use super::{gateway, get};
use crate::raw::stage::ends;
use crate::support::client::{Client, request};

/// What the client sees.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    /// A problem document.
    Problem(u16, &'static str),
    /// 502, or 503 where the connection ends before the gateway knows that it is there.
    Gone,
    /// A reply that breaks off, or a 502 where nothing of it was passed on yet.
    Broken,
    /// A reply with this status and body.
    Whole(u16, &'static str),
}

const REPLY: Seen = Seen::Problem(502, "service-reply");
const TIMEOUT: Seen = Seen::Problem(504, "service-timeout");
const BOUND: Duration = Duration::from_secs(8);

#[test]
fn whatever_a_service_does_the_client_knows_where_it_is() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let huge = format!("{ok}x-a: {}\r\n\r\n", "a".repeat(3 << 20));
    let many: String = (0..300).map(|number| format!("x-{number}: 1\r\n")).collect();
    for (case, steps, expected) in [
        ("closes at once", vec![Step::Close], Seen::Gone),
        ("resets at once", vec![Step::Reset], Seen::Gone),
        ("closes before its header", vec![Step::Read, Step::Close], REPLY),
        ("resets before its header", vec![Step::Read, Step::Reset], REPLY),
        ("closes within its header", vec![Step::Read, say("HTTP/1.1 200 OK\r\nx-a"), Step::Close], REPLY),
        ("resets within its header", vec![Step::Read, say("HTTP/1.1 200 OK\r\nx-a"), Step::Reset], REPLY),
        (
            "closes within its body",
            vec![Step::Read, say(format!("{ok}content-length: 9\r\n\r\nabc")), Step::Close],
            Seen::Broken,
        ),
        (
            "resets within its body",
            vec![Step::Read, say(format!("{ok}content-length: 9\r\n\r\nabc")), Step::Reset],
            Seen::Broken,
        ),
        ("sends no body", vec![Step::Read, say(format!("{ok}content-length: 9\r\n\r\n")), Step::Close], Seen::Broken),
        ("hangs before its header", vec![Step::Read, Step::Hang], TIMEOUT),
        ("hangs within its header", vec![Step::Read, say("HTTP/1.1 200 OK\r\nx-a: "), Step::Hang], TIMEOUT),
        (
            "hangs within its body",
            vec![Step::Read, say(format!("{ok}content-length: 9\r\n\r\nabc")), Step::Hang],
            Seen::Broken,
        ),
        ("drips its header", vec![Step::Read, say(ok), Step::Drip(b"x: y\r\n")], TIMEOUT),
        (
            "drips its body",
            vec![Step::Read, say(format!("{ok}content-length: 9999\r\n\r\n")), Step::Drip(b"a")],
            Seen::Broken,
        ),
        ("says 1xx for ever", vec![Step::Read, Step::Drip(b"HTTP/1.1 100 Continue\r\n\r\n")], TIMEOUT),
        ("speaks another protocol", vec![Step::Read, say("SSH-2.0-OpenSSH_9.2\r\n"), Step::Hang], REPLY),
        ("has no status", vec![Step::Read, say("HTTP/1.1 OK\r\n\r\n"), Step::Hang], REPLY),
        ("has a bad field", vec![Step::Read, say(format!("{ok}x a: 1\r\n\r\n")), Step::Hang], REPLY),
        ("has a NUL in a field", vec![Step::Read, say(format!("{ok}x-a: a\0b\r\n\r\n")), Step::Hang], REPLY),
        ("has a huge header", vec![Step::Read, say(huge), Step::Hang], REPLY),
        ("has too many fields", vec![Step::Read, say(format!("{ok}{many}\r\n")), Step::Hang], REPLY),
        (
            "has two lengths",
            vec![Step::Read, say(format!("{ok}content-length: 1\r\ncontent-length: 2\r\n\r\nab")), Step::Hang],
            REPLY,
        ),
        (
            "switches protocols",
            vec![Step::Read, say("HTTP/1.1 101 -\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), Step::Hang],
            REPLY,
        ),
        (
            "has a 204 with a body",
            vec![Step::Read, say("HTTP/1.1 204 -\r\ncontent-length: 5\r\n\r\nhello"), Step::Hang],
            Seen::Whole(204, ""),
        ),
        (
            "has a 304 with a body",
            vec![Step::Read, say("HTTP/1.1 304 -\r\ncontent-length: 5\r\n\r\nhello"), Step::Hang],
            Seen::Whole(304, ""),
        ),
        (
            "sends more than it says",
            vec![Step::Read, say(format!("{ok}content-length: 3\r\n\r\nabcdef")), Step::Hang],
            Seen::Whole(200, "abc"),
        ),
        (
            "has garbage for chunks",
            vec![Step::Read, say(format!("{ok}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n")), Step::Hang],
            Seen::Broken,
        ),
        (
            "has a chunk beyond its size",
            vec![Step::Read, say(format!("{ok}transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n")), Step::Hang],
            Seen::Broken,
        ),
        (
            "has no last chunk",
            vec![Step::Read, say(format!("{ok}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")), Step::Close],
            Seen::Broken,
        ),
        (
            "ends its body with the connection",
            vec![Step::Read, say(format!("{ok}\r\nabc")), Step::Close],
            Seen::Whole(200, "abc"),
        ),
        (
            "answers before it was asked",
            vec![say(format!("{ok}connection: close\r\ncontent-length: 3\r\n\r\nabc")), Step::Hang],
            Seen::Whole(200, "abc"),
        ),
    ] {
        let scripted = Scripted::start(steps);
        let keys = json!({ "timeouts": { "response": "400ms", "idle": "400ms", "total": "900ms" } });
        let (gateway, _other) = gateway(&[scripted.address()], keys);
        for message in [request("GET", "/a", &[], b""), request("POST", "/checked", JSON, b"{\"a\":1}")] {
            let begun = Instant::now();
            let mut client = Client::connect(gateway.public);
            client.send(&message);
            assert_eq!(get(&gateway, "/other").status, 200, "{case}: a healthy service meanwhile");
            let response = client.response().unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(begun.elapsed() < BOUND, "{case}: {:?}", begun.elapsed());
            let text = response.text();
            let seen = match response.status {
                _ if response.cut => Seen::Broken,
                502 if expected == Seen::Broken => Seen::Broken,
                502 | 503 if expected == Seen::Gone => Seen::Gone,
                502..=504 => {
                    let (Seen::Problem(_, code) | Seen::Whole(_, code)) = expected else { panic!("{case}: {text}") };
                    assert!(text.contains(&format!("problem:{code}\"")), "{case}: {text}");
                    Seen::Problem(response.status, code)
                }
                status => match expected {
                    Seen::Whole(_, body) if body == text => Seen::Whole(status, body),
                    _ => panic!("{case}: {status} {text}"),
                },
            };
            assert_eq!(seen, expected, "{case}: {text}");
            assert!(!response.cut || ends(&mut client), "{case}: the connection goes on");
        }
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// The service closes a kept connection at the moment at which the gateway uses it again.
#[test]
fn a_kept_connection_that_closes_when_it_is_used_again_costs_a_safe_request_nothing() {
    for (message, last) in [
        (request("GET", "/a", &[], b""), 200),
        (request("PUT", "/checked", JSON, b"{\"a\":1}"), 200),
        (request("POST", "/checked", JSON, b"{\"a\":1}"), 502),
        (request("PUT", "/a", &[], b"streamed"), 502),
    ] {
        let ok = || say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        // Even retries that are off do not keep it from this.
        let scripted = Scripted::start(vec![Step::Read, ok(), Step::Read, Step::Close]);
        let (gateway, _other) = gateway(&[scripted.address()], json!({ "retries": { "attempts": 0 } }));
        let mut client = Client::connect(gateway.public);
        for expected in [200, last] {
            let response = client.ask(&message).unwrap();
            assert_eq!(response.status, expected, "{}", String::from_utf8_lossy(&message));
        }
        assert_eq!(super::metric(&gateway, "tollgate_service_ejections_total{service=\"origin\"}"), Some(0.0));
    }
}
