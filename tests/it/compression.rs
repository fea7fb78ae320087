//! Compressed replies: who gets which, that they come apart to what the service sent, and that nothing waits in an
//! encoder.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::process::instance::{Instance, eventually};
use crate::raw::stage::Stage;
use crate::streams::{Service, routed};
use crate::support::DEADLINE;
use crate::support::client::{Client, Response, request};
use crate::support::origin::{Origin, Reply};
use crate::support::wire;

/// Text that shrinks, but not to nothing.
fn text(length: usize) -> String {
    let mut text = String::new();
    for number in 0_u32.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&format!("{{\"id\": {}}},\n", number.wrapping_mul(2_654_435_761)));
    }
    text.truncate(length);
    text
}

/// A decoder that gives out what it can at once.
enum Decoder {
    Zstd(zstd::stream::write::Decoder<'static, Vec<u8>>),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
    Gzip(flate2::write::GzDecoder<Vec<u8>>),
}

impl Decoder {
    fn of(coding: &str) -> Self {
        match coding {
            "zstd" => Self::Zstd(zstd::stream::write::Decoder::new(Vec::new()).unwrap()),
            "br" => Self::Brotli(Box::new(brotli::DecompressorWriter::new(Vec::new(), 0))),
            "gzip" => Self::Gzip(flate2::write::GzDecoder::new(Vec::new())),
            other => panic!("no coding {other}"),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let writer: &mut dyn Write = match self {
            Self::Zstd(decoder) => decoder,
            Self::Brotli(decoder) => decoder,
            Self::Gzip(decoder) => decoder,
        };
        writer.write_all(bytes).expect("well coded");
        let _ = writer.flush();
    }

    fn out(&self) -> &[u8] {
        match self {
            Self::Zstd(decoder) => decoder.get_ref(),
            Self::Brotli(decoder) => decoder.get_ref(),
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }
}

/// A whole body without its coding; an encoding that breaks off is a failure.
fn decoded(response: &Response) -> String {
    let mut plain = Vec::new();
    let body = response.body.as_slice();
    match response.value("content-encoding") {
        None => plain = body.to_vec(),
        Some("gzip") => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut plain).expect("gzip")),
        Some("br") => drop(brotli::Decompressor::new(body, 0).read_to_end(&mut plain).expect("brotli")),
        Some("zstd") => plain = zstd::stream::decode_all(body).expect("zstd"),
        Some(other) => panic!("no coding {other}"),
    }
    String::from_utf8(plain).expect("text")
}

/// A service that answers with the fields and the length of the path: `/a/5000?etag: "x"`.
fn stage(more: Value, route: Value) -> Stage {
    let mut routes = json!([{
        "methods": ["GET", "HEAD"], "gateway_path": "/{kind}/{length}", "query_params": "any",
    }]);
    for (key, value) in route.as_object().expect("members of a route") {
        routes[0][key] = value.clone();
    }
    let origin = Origin::start(|asked| {
        let mut steps = asked.path().split('/').skip(1);
        let (kind, length) = (steps.next().unwrap_or_default().to_owned(), steps.next().unwrap_or_default());
        let body = text(length.parse().expect("a length"));
        let fields: String = form_urlencoded::parse(asked.query().as_bytes())
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let status = kind.parse().unwrap_or(200);
        let head = format!("HTTP/1.1 {status} -\r\n{fields}");
        let body = if asked.method == "HEAD" || status == 304 { String::new() } else { body };
        Reply::raw(match kind.as_str() {
            "chunked" if body.is_empty() => format!("{head}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            "chunked" => {
                let half = body.len() / 2;
                let (first, second) = body.split_at(half);
                let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
                format!("{head}transfer-encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(first), chunk(second))
            }
            "304" => format!("{head}\r\n"),
            _ => format!("{head}content-length: {length}\r\n\r\n{body}"),
        })
    });
    Stage::set(origin, routes, more)
}

fn get(stage: &Stage, target: &str, accepted: &str) -> Response {
    stage.ask(&request("GET", target, &[("accept-encoding", accepted)], b""))
}

const JSON: &str = "content-type=application/json";

#[test]
fn every_coding_comes_apart_to_what_the_service_sent() {
    for level in ["fast", "balanced", "small"] {
        let stage = stage(json!({}), json!({"compression": {"level": level}}));
        let mut client = stage.connect();
        for coding in ["zstd", "br", "gzip"] {
            for length in [1024, 5000, 300_000] {
                for kind in ["whole", "chunked"] {
                    // On one connection, so that the end of each reply is where its framing says.
                    let target = format!("/{kind}/{length}?{JSON}");
                    let response = client.ask(&request("GET", &target, &[("accept-encoding", coding)], b"")).unwrap();
                    let what = format!("{level} {coding} {kind} {length}");
                    assert_eq!((response.status, response.cut), (200, false), "{what}");
                    assert_eq!(response.value("content-encoding"), Some(coding), "{what}");
                    assert_eq!(response.value("content-length"), None, "{what}");
                    assert!(response.body.len() < length * 2 / 3, "{what}: {}", response.body.len());
                    assert!(decoded(&response) == text(length), "{what}");
                }
            }
        }
        // What is empty is well coded too.
        let empty = client.ask(&request("GET", &format!("/chunked/0?{JSON}"), &[("accept-encoding", "gzip")], b""));
        assert_eq!(decoded(&empty.unwrap()), "");
    }
}

#[test]
fn a_reply_says_what_it_is_and_by_what_it_varies() {
    let stage = stage(json!({}), json!({"compression": true}));
    let fields = format!("{JSON}&etag=%22x%22&accept-ranges=bytes&content-digest=x&vary=accept");
    let told = |response: &Response| {
        let names = ["content-encoding", "etag", "accept-ranges", "content-digest"];
        let one = |name: &str| response.value(name).unwrap_or("-").to_owned();
        let vary: Vec<_> = response.values("vary").into_iter().map(String::from_utf8_lossy).collect();
        format!("{} | {}", names.map(one).join(" "), vary.join(", "))
    };
    let plain = "- \"x\" bytes x | accept, accept-encoding";
    for (target, accepted, expected) in [
        ("/whole/5000", "gzip", "gzip W/\"x\" - - | accept, accept-encoding"),
        // It could be for another client.
        ("/whole/5000", "identity", plain),
        ("/whole/5000", "gzip;q=0, br;q=0.0", plain),
        ("/whole/5000", "deflate", plain),
        // It could not be for any.
        ("/whole/1023", "gzip", "- \"x\" bytes x | accept"),
        ("/204/0", "gzip", "- \"x\" bytes x | accept"),
        ("/206/5000", "gzip", "- \"x\" bytes x | accept"),
        ("/304/5000", "gzip", "- W/\"x\" bytes x | accept, accept-encoding"),
        ("/404/5000", "br", "br W/\"x\" - - | accept, accept-encoding"),
    ] {
        let response = get(&stage, &format!("{target}?{fields}"), accepted);
        assert_eq!(told(&response), expected, "{target} {accepted}");
        if response.status != 304 && response.status != 204 {
            let length = target.rsplit('/').next().unwrap().parse().unwrap();
            assert!(decoded(&response) == text(length), "{target} {accepted}");
        }
        let head = stage.ask(&request("HEAD", &format!("{target}?{fields}"), &[("accept-encoding", accepted)], b""));
        assert_eq!((told(&head).as_str(), head.status), (expected, response.status), "HEAD {target} {accepted}");
    }
    for (fields, why) in [
        ("content-type=text/event-stream", "events"),
        ("content-type=image/png", "shrinks no more"),
        ("content-type=application/json&cache-control=no-transform", "said so"),
        ("content-type=application/json&content-encoding=br", "coded already"),
        ("content-type=application/json&content-range=bytes+0-4999/9000", "a part"),
        ("x=y", "nobody knows what it is"),
    ] {
        let response = get(&stage, &format!("/whole/5000?{fields}"), "gzip, br, zstd");
        assert_eq!(response.values("vary"), Vec::<&[u8]>::new(), "{why}");
        assert!(response.text() == text(5000), "{why}");
    }
    let old = b"GET /whole/5000?content-type=text/plain HTTP/1.0\r\nhost: a.test\r\naccept-encoding: gzip\r\n\r\n";
    assert!(stage.ask(old).text() == text(5000), "HTTP/1.0 knows no chunks");
}

#[test]
fn chunks_are_told_of_in_a_version_that_has_them() {
    let service = Service::start(|_, mut stream| {
        let body = text(5000);
        let head = format!("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    let gateway = Instance::start(&routed(service.address, json!({}), json!([{"name": "a", "compression": true}])));
    let mut stream = TcpStream::connect(gateway.public).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a read timeout");
    stream.write_all(&request("GET", "/a", &[("accept-encoding", "gzip")], b"")).expect("ask");
    let mut reader = BufReader::new(stream);
    let head = wire::read_head(&mut reader).unwrap().expect("a header");
    assert_eq!(head.start, "HTTP/1.1 200 OK");
    let body = wire::read_body(&mut reader, head.framing().expect("chunks"));
    let mut decoder = Decoder::of("gzip");
    decoder.feed(&body.bytes);
    assert!(decoder.out() == text(5000).as_bytes() && !body.cut);
}

#[test]
fn defaults_hold_where_a_route_says_nothing() {
    let stage =
        |defaults: Value, route: Value| stage(json!({"defaults": {"auth": "public", "compression": defaults}}), route);
    let coding = |stage: &Stage, kind: &str| {
        get(stage, &format!("/whole/5000?content-type={kind}"), "gzip, br, zstd")
            .value("content-encoding")
            .map(str::to_owned)
    };
    let inherited = stage(json!({"algorithms": ["gzip"]}), json!({}));
    assert_eq!(coding(&inherited, "text/css").as_deref(), Some("gzip"));
    let off = stage(json!(true), json!({"compression": false}));
    assert_eq!(coding(&off, "text/css"), None);
    let own =
        stage(json!(true), json!({"compression": {"types": ["application/x-own"], "algorithms": ["br", "gzip"]}}));
    assert_eq!(coding(&own, "application/x-own").as_deref(), Some("br"));
    assert_eq!(coding(&own, "text/css"), None);
}

#[test]
fn a_checked_reply_is_compressed_after_the_check() {
    let model = json!({"schema": {"type": "object", "properties": {"id": {"type": "string"}}}});
    let body = json!({"id": text(9000), "secret": text(9000)}).to_string();
    let origin = Origin::start(move |asked| match asked.path() {
        "/good" => Reply::json(200, &body),
        _ => Reply::json(200, "{\"id\": 1}"),
    });
    let route = |path: &str| json!({"method": "GET", "gateway_path": path, "response_model": model, "compression": {"min_size": "1B"}});
    let stage = Stage::set(origin, json!([route("/good"), route("/bad")]), json!({}));
    let good = get(&stage, "/good", "zstd");
    assert_eq!((good.status, good.value("content-encoding")), (200, Some("zstd")));
    assert_eq!(good.value("content-length"), Some(good.body.len().to_string().as_str()));
    assert_eq!(serde_json::from_str::<Value>(&decoded(&good)).unwrap(), json!({"id": text(9000)}));
    let bad = get(&stage, "/bad", "zstd");
    assert_eq!((bad.status, bad.value("content-encoding")), (502, None));
    assert!(bad.text().contains("bad-reply"), "{}", bad.text());
}

#[test]
fn no_piece_waits_for_the_next_one() {
    let (next, told) = channel::<String>();
    let told = Mutex::new(told);
    let service = Service::start(move |_, mut stream| {
        let told = told.lock().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n");
        while let Ok(piece) = told.recv() {
            if piece.is_empty() || stream.write_all(piece.as_bytes()).is_err() {
                return;
            }
        }
    });
    let gateway = Instance::start(&routed(service.address, json!({}), json!([{"name": "lines", "compression": true}])));
    for coding in ["zstd", "br", "gzip"] {
        let mut stream = TcpStream::connect(gateway.public).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("set a read timeout");
        stream.write_all(&request("GET", "/lines", &[("accept-encoding", coding)], b"")).expect("ask");
        let mut reader = BufReader::new(stream);
        let head = wire::read_head(&mut reader).unwrap().expect("a header before the first piece");
        assert_eq!(head.values("content-encoding"), [coding.as_bytes()]);
        let (mut decoder, mut expected) = (Decoder::of(coding), String::new());
        for number in 0..20 {
            let piece = format!("{{\"number\": {number}}}\n");
            expected.push_str(&piece);
            next.send(piece).unwrap();
            while decoder.out().len() < expected.len() {
                decoder.feed(&chunk(&mut reader));
            }
            assert_eq!(String::from_utf8_lossy(decoder.out()), expected, "{coding}");
        }
        next.send(String::new()).unwrap();
        while let rest @ [_, ..] = chunk(&mut reader).as_slice() {
            decoder.feed(rest);
        }
        assert_eq!(String::from_utf8_lossy(decoder.out()), expected, "{coding}");
    }
    let compressed = |stage: &str, coding: &str| {
        gateway.metric(&format!(r#"tollgate_compression_bytes_total{{coding="{coding}",stage="{stage}"}}"#))
    };
    let plain = (0..20).map(|number| format!("{{\"number\": {number}}}\n").len()).sum::<usize>() as f64;
    assert!(eventually(|| ["zstd", "br", "gzip"].iter().all(|coding| compressed("plain", coding) == Some(plain))));
    assert!(eventually(|| gateway.metric("tollgate_compression_memory_bytes") == Some(0.0)));
}

/// The next chunk; empty at the end.
fn chunk(reader: &mut impl BufRead) -> Vec<u8> {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the size of a chunk");
    let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no size: {line:?}"));
    let mut bytes = vec![0; size + 2];
    reader.read_exact(&mut bytes).expect("a chunk");
    bytes.truncate(size);
    bytes
}

#[test]
fn without_memory_replies_pass_as_they_are() {
    let service = Service::start(|_, mut stream| {
        let body = text(5000);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\netag: \"x\"\r\nconnection: close\r\n";
        let _ = stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    });
    let mut config = routed(service.address, json!({}), json!([{"name": "a", "compression": true}]));
    config["guard"] = json!({"compression_memory": "64KiB"});
    let gateway = Instance::start(&config);
    let asked = request("GET", "/a", &[("accept-encoding", "zstd")], b"");
    let response = Client::connect(gateway.public).ask(&asked).unwrap();
    assert_eq!((response.value("content-encoding"), response.value("etag")), (None, Some("\"x\"")));
    assert_eq!(response.value("vary"), Some("accept-encoding"), "it would be for another client");
    assert!(response.text() == text(5000));
    assert!(eventually(|| gateway.metric("tollgate_compression_skipped_total") == Some(1.0)));
    assert_eq!(gateway.metric("tollgate_compression_memory_limit_bytes"), Some(65536.0));
}
