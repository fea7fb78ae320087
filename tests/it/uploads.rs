//! Multipart forms, with and without files.
//!
//! - `malformed` — what is no form, and what could be two
//! - `memory`    — many large ones at once, slow ones, and those that never end

mod malformed;
mod memory;

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bodies::Framing::{self, Chunked, Length};
use crate::bodies::post;
use crate::process::instance::eventually;
use crate::raw::stage::Stage;
use crate::support::DEADLINE;
use crate::support::client::{self, Client, Response, request};
use crate::support::gateway::{Gateway, Reload};
use crate::support::multipart::{Part, read, written};
use crate::support::origin::{Origin, Recorded, Unreachable};
use crate::support::wire;

const MIB: usize = 1024 * 1024;
const BOUNDARY: &str = "of-the-client";

fn routes() -> Value {
    let fields = json!({
        "title": {"type": "string", "maxLength": 20, "optional": true},
        "count": {"type": "integer", "minimum": 0, "optional": true},
        "tags": {"type": "array", "items": {"type": "string"}, "optional": true},
        "file": {"type": "file", "max_size": "6MiB", "content_types": ["image/*", "application/octet-stream"], "optional": true},
        "pages": {"type": "array", "items": {"type": "file"}, "maxItems": 3, "optional": true},
    });
    let route = |path: &str, more: Value| {
        let mut route = json!({"method": "POST", "gateway_path": path, "max_body": "8MiB", "form_params": fields, "undeclared": "drop"});
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    json!([
        route("/drop", json!({})),
        route("/reject", json!({"undeclared": "reject"})),
        route("/forward", json!({"undeclared": "forward"})),
        route("/texts", json!({"form_params": {"n": {"type": "integer"}, "d": {"type": "string", "default": "x"}}})),
        route("/small", json!({"max_body": "1KiB"})),
    ])
}

/// A gateway whose temporary files are made in a folder of its own.
pub struct Uploads {
    pub stage: Stage,
    pub folder: tempfile::TempDir,
}

impl Uploads {
    pub fn set(origin: Origin, guard: Value, more: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut guard = guard;
        guard["upload_dir"] = folder.path().to_str().unwrap().into();
        let mut all = json!({"guard": guard, "admin": {"address": "127.0.0.1:0"}});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self { stage: Stage::set(origin, routes(), all), folder }
    }

    /// The same with a service of its own and these routes.
    pub fn to(service: &str, guard: Value, routes: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let services = json!({"origin": {"url": format!("http://{service}"), "timeouts": {"response": "2m"}}});
        let more = json!({"guard": guard, "services": services, "admin": {"address": "127.0.0.1:0"}});
        Self { stage: Stage::set(Origin::json("{}"), routes, more), folder }
    }

    pub fn plain(guard: Value) -> Self {
        Self::set(Origin::json("{}"), guard, json!({}))
    }

    /// Bytes of temporary files, as the metrics say.
    pub fn disk(&self) -> u64 {
        let admin = self.stage.gateway.admin();
        let text = client::ask(admin, format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\n\r\n").as_bytes()).text();
        let line = text.lines().find_map(|line| line.strip_prefix("tollgate_upload_disk_bytes "));
        line.and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("the metrics do not tell of the disk:\n{text}"))
    }

    /// Waits until so much of the disk is in use.
    pub fn disk_becomes(&self, wanted: impl Fn(u64) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !wanted(self.disk()) {
            assert!(Instant::now() < until, "{} bytes of the disk are in use", self.disk());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Bytes without an end that anybody would guess, among them some that look like delimiters.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
        if state.is_multiple_of(997) {
            bytes.extend_from_slice(b"\r\n--\r\n--of-the-clien\r\n");
        }
    }
    bytes.truncate(length);
    bytes
}

pub fn kind(boundary: &str) -> String {
    format!("Content-Type: multipart/form-data; boundary={boundary}\r\n")
}

pub fn form(path: &str, framing: Framing, parts: &[Part]) -> Vec<u8> {
    post(path, &kind(BOUNDARY), framing, &written(parts, BOUNDARY))
}

fn ask(client: &mut Client, message: &[u8]) -> Response {
    client.ask(message).unwrap_or_else(|error| panic!("no answer: {error}"))
}

/// The one request that the service got.
pub fn one(stage: &Stage) -> Recorded {
    let mut seen = stage.origin.take();
    assert_eq!(seen.len(), 1, "the service got so many requests");
    seen.remove(0)
}

/// The parts that the service got, in a body that is framed exactly.
fn parts(stage: &Stage) -> Vec<Part> {
    let seen = one(stage);
    assert_eq!(seen.values("content-length"), [seen.body.len().to_string().as_bytes()]);
    assert!(seen.values("transfer-encoding").is_empty() && seen.values("expect").is_empty());
    let kind = seen.values("content-type")[0];
    assert!(!String::from_utf8_lossy(kind).contains(BOUNDARY), "the client's boundary is used again");
    read(&seen)
}

#[test]
fn a_form_of_any_size_arrives_with_its_declared_parts() {
    let uploads = Uploads::plain(json!({}));
    let stage = &uploads.stage;
    for size in [0, 1, 1_000, 65_535, 65_536, 65_537, 200_000, 3_000_000, 6 * MIB] {
        let sent = [
            Part::text("title", "naïve"),
            Part::file("secret", "x", "text/plain", b"not declared"),
            Part::file("file", "say \"ü\".png", "Image/PNG; q=1", &noise(size)),
            Part::text("count", "7"),
        ];
        let declared = [&sent[..1], &sent[2..]].concat();
        for framing in [Length, Chunked] {
            for expect in ["", "Expect: 100-continue\r\n"] {
                let mut client = stage.connect();
                for round in 0..2 {
                    let fields = format!("{}{expect}", kind(BOUNDARY));
                    let message = post("/drop", &fields, framing, &written(&sent, BOUNDARY));
                    let response = ask(&mut client, &message);
                    let case = format!("{size} {framing:?} {expect:?} {round}");
                    assert_eq!(response.status, 200, "{case}: {}", response.text());
                    assert!(parts(stage) == declared, "{case}");
                }
            }
        }
    }
    // A connection goes back into the pool a moment after its answer: a quick client may find it empty.
    assert!(stage.origin.connections() <= 24, "connections to the service are used again");
    uploads.disk_becomes(|bytes| bytes == 0);
    assert_eq!(fs::read_dir(&uploads.folder).unwrap().count(), 0, "temporary files have no names");
}

#[test]
fn many_files_keep_their_order_and_their_bytes() {
    let uploads = Uploads::plain(json!({}));
    let page = |number: usize, size| Part::file("pages", &format!("{number}.bin"), "a/b", &noise(size));
    let sent = [
        Part::text("tags", "a"),
        page(1, 70_000),
        Part::file("file", "f", "image/gif", &noise(65_536)),
        page(2, 0),
        Part::text("tags", "b"),
        page(3, 1_000_000),
    ];
    let response = uploads.stage.ask(&form("/reject", Length, &sent));
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(parts(&uploads.stage) == sent);
    let over = [&sent[..], &[page(4, 1)]].concat();
    let response = uploads.stage.ask(&form("/reject", Length, &over));
    assert!(response.text().contains("too_long"), "{}", response.text());
}

#[test]
fn texts_may_be_urlencoded_or_multipart_unless_there_is_a_file() {
    let stage = &Uploads::plain(json!({})).stage;
    const URLENCODED: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(stage.ask(&post("/texts", URLENCODED, Length, b"n=-0")).status, 200);
    assert_eq!(one(stage).body, b"n=0&d=x");
    assert_eq!(stage.ask(&form("/texts", Length, &[Part::text("n", "-0")])).status, 200);
    assert_eq!(parts(stage), [Part::text("n", "0"), Part::text("d", "x")]);
    for (kind, path, status) in [
        (URLENCODED, "/drop", 415),
        ("Content-Type: text/plain\r\n", "/texts", 415),
        ("Content-Type: multipart/mixed; boundary=b\r\n", "/texts", 415),
        ("Content-Type: multipart/form-data\r\n", "/texts", 400),
        ("Content-Type: multipart/form-data; boundary=\"a\u{fc}\"\r\n", "/texts", 415),
    ] {
        let response = stage.ask(&post(path, kind, Length, b"n=1"));
        assert_eq!(response.status, status, "{kind}: {}", response.text());
    }
    // The same wrong value gets the same error.
    let urlencoded = stage.ask(&post("/texts", URLENCODED, Length, b"n=x")).text();
    let multipart = stage.ask(&form("/texts", Length, &[Part::text("n", "x")])).text();
    let errors = |text: &str| serde_json::from_str::<Value>(text).unwrap()["errors"].clone();
    assert_eq!(errors(&urlencoded), errors(&multipart));
    assert_eq!(errors(&multipart)[0]["type"], "int_parsing");
}

#[test]
fn every_violation_of_a_form_is_told_and_the_connection_stays() {
    let uploads = Uploads::plain(json!({}));
    let stage = &uploads.stage;
    for size in [10, 200_000] {
        let sent = [
            Part::text("title", &"x".repeat(21)),
            Part::text("count", "-1"),
            Part::file("file", "a.txt", "text/plain", &noise(size)),
            Part::text("pages", "no file"),
            Part::text("x", "1"),
        ];
        for framing in [Length, Chunked] {
            let mut client = stage.connect();
            for _ in 0..2 {
                let response = ask(&mut client, &form("/reject", framing, &sent));
                assert_eq!(response.status, 422, "{}", response.text());
                let problem: Value = serde_json::from_slice(&response.body).unwrap();
                let seen: Vec<String> = problem["errors"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|error| format!("{} {}", error["loc"], error["type"]))
                    .collect();
                assert_eq!(
                    seen,
                    [
                        r#"["body","x"] "extra_forbidden""#,
                        r#"["body","title"] "string_too_long""#,
                        r#"["body","count"] "greater_than_equal""#,
                        r#"["body","file"] "file_content_type""#,
                        r#"["body","pages",0] "file_type""#,
                    ]
                );
            }
            let large = Part::file("file", "a.png", "image/png", &noise(6 * MIB + 1));
            let response = ask(&mut client, &form("/drop", framing, &[large]));
            assert!(response.status == 422 && response.text().contains("file_too_large"), "{}", response.text());
        }
    }
    assert_eq!(stage.origin.connections(), 0);
    uploads.disk_becomes(|bytes| bytes == 0);
}

#[test]
fn a_form_beyond_the_limit_of_its_route_is_413() {
    let stage = &Uploads::plain(json!({})).stage;
    for framing in [Length, Chunked] {
        let response = stage.ask(&form("/small", framing, &[Part::file("file", "a", "image/png", &noise(2_000))]));
        assert_eq!(response.status, 413, "{}", response.text());
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn undeclared_parts_go_as_the_route_says() {
    let stage = &Uploads::plain(json!({})).stage;
    let sent = [Part::file("x", "large", "a/b", &noise(100_000)), Part::text("title", "a"), Part::text("TITLE", "b")];
    for (path, status, arrived) in [("/drop", 200, &sent[1..2]), ("/forward", 200, &sent[..]), ("/reject", 422, &[])] {
        let response = stage.ask(&form(path, Length, &sent));
        assert_eq!(response.status, status, "{path}: {}", response.text());
        if status == 200 {
            assert!(parts(stage) == arrived, "{path}");
        }
    }
    // Nothing is declared in it: nothing is sent.
    assert_eq!(stage.ask(&form("/drop", Length, &sent[2..])).status, 200);
    let seen = one(stage);
    assert!(seen.body.is_empty() && seen.values("content-type").is_empty());
}

#[test]
fn a_retry_at_another_target_has_the_whole_upload() {
    let (down, up) = (Unreachable::reserve(), Origin::json("{}"));
    let targets = json!([{"address": down.address().to_string()}, {"address": up.address().to_string()}]);
    let uploads = Uploads::set(up, json!({}), json!({"services": {"origin": {"targets": targets}}}));
    for size in [100, 200_000, 3_000_000] {
        for _ in 0..3 {
            let sent = [Part::file("file", "a", "image/png", &noise(size))];
            let response = uploads.stage.ask(&form("/drop", Length, &sent));
            assert_eq!(response.status, 200, "{size}: {}", response.text());
            assert!(parts(&uploads.stage) == sent, "{size}");
        }
    }
}

#[test]
fn a_client_that_leaves_frees_what_it_took() {
    let uploads = Uploads::plain(json!({}));
    let message = form("/drop", Length, &[Part::file("file", "a", "image/png", &noise(3 * MIB))]);
    let mut client = uploads.stage.connect();
    client.send(&message[..message.len() - 10]);
    uploads.disk_becomes(|bytes| bytes > 2 * MIB as u64);
    assert_eq!(fs::read_dir(&uploads.folder).unwrap().count(), 0, "temporary files have no names");
    drop(client);
    uploads.disk_becomes(|bytes| bytes == 0);
    assert_eq!(uploads.stage.origin.connections(), 0);
}

#[test]
fn uploads_beyond_the_disk_or_the_memory_are_503() {
    let large = || form("/drop", Length, &[Part::file("file", "a", "image/png", &noise(2 * MIB))]);
    let small = || form("/drop", Length, &[Part::file("file", "a", "image/png", &noise(60_000))]);
    let uploads = Uploads::plain(json!({"upload_disk": "1MiB"}));
    let response = uploads.stage.ask(&large());
    assert_eq!((response.status, response.value("retry-after")), (503, Some("1")), "{}", response.text());
    assert!(response.text().contains("urn:tollgate:problem:upload-disk"), "{}", response.text());
    assert_eq!(uploads.stage.ask(&small()).status, 200);
    uploads.disk_becomes(|bytes| bytes == 0);

    let uploads = Uploads::plain(json!({"body_memory": "100KiB"}));
    let response = uploads.stage.ask(&large());
    assert!(response.status == 503 && response.text().contains("body-memory"), "{}", response.text());
    // A moment after the answer what it took is free again.
    assert!(eventually(|| uploads.stage.ask(&small()).status == 200));
}

#[test]
fn a_folder_that_is_not_there_is_500_and_the_log_says_why() {
    let uploads = Uploads::plain(json!({}));
    fs::remove_dir(&uploads.folder).unwrap();
    let sent = [Part::file("file", "a", "image/png", &noise(100_000))];
    let response = uploads.stage.ask(&form("/drop", Length, &sent));
    assert_eq!(response.status, 500);
    let line = uploads.stage.gateway.printed(|line| line.contains("upload: ")).expect("the access line tells");
    assert!(line.contains("No such file") && !response.text().contains("No such file"), "{line}");
    fs::create_dir(&uploads.folder).unwrap();
    assert_eq!(uploads.stage.ask(&form("/drop", Length, &sent)).status, 200);
}

#[test]
fn a_folder_that_cannot_be_used_stops_the_start_and_refuses_a_reload() {
    let config = |folder: &str| {
        json!({"version": 1, "listeners": [{"address": "127.0.0.1:0"}], "guard": {"upload_dir": folder}}).to_string()
    };
    let said = Gateway::try_start(&config("/nowhere/at/all")).err().expect("it does not start");
    assert!(said.contains("upload directory /nowhere/at/all"), "{said}");
    let gateway = Gateway::start(&config("/tmp"));
    assert_eq!(gateway.reload(&config("/nowhere/at/all")), Reload::Refused);
    assert_eq!(gateway.reload(&config("/var/tmp")), Reload::Published);
}

/// A service that refuses by the header alone, and reads nothing of the upload.
#[test]
fn an_answer_before_the_end_of_an_upload_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = listener.local_addr().unwrap().to_string();
    let (done, is_done) = channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        wire::read_head(&mut BufReader::with_capacity(1, stream.try_clone().unwrap())).unwrap();
        stream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno").unwrap();
        let _ = is_done.recv();
    });
    let route =
        json!({"method": "POST", "gateway_path": "/a", "max_body": "64MiB", "form_params": {"file": {"type": "file"}}});
    let uploads = Uploads::to(&service, json!({}), json!([route]));
    let mut client = uploads.stage.connect();
    client.send(&form("/a", Length, &[Part::file("file", "a", "a/b", &noise(30 * MIB))]));
    let response = client.response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (413, "no"));
    // A client that leaves ends the sending, too.
    drop(client);
    drop(done);
    uploads.disk_becomes(|bytes| bytes == 0);
}

#[test]
fn a_form_of_curl_passes() {
    let uploads = Uploads::plain(json!({}));
    let mut picture = tempfile::NamedTempFile::new().unwrap();
    let content = noise(300_000);
    picture.write_all(&content).unwrap();
    let url = format!("http://{}/drop", uploads.stage.gateway.address());
    let file = format!("file=@{};type=image/png;filename=\"na\u{ef}ve, 1.png\"", picture.path().display());
    let output = Command::new("curl")
        .args(["-s", "-i", "-F", "title=t", "-F", &file, "-F", "count=7", "-F", "x=y", &url])
        .output()
        .expect("curl is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("HTTP/1.1 200 "), "{said}");
    let file = Part::file("file", "na\u{ef}ve, 1.png", "image/png", &content);
    assert!(parts(&uploads.stage) == [Part::text("title", "t"), file, Part::text("count", "7")]);
}

#[test]
fn a_request_without_a_body_is_a_form_without_fields() {
    let stage = &Uploads::plain(json!({})).stage;
    let empty = written(&[], BOUNDARY);
    for (path, status) in [("/texts", 422), ("/drop", 200)] {
        assert_eq!(stage.ask(&request("POST", path, &[], b"")).status, status, "{path}");
        for body in [&b""[..], &empty] {
            for framing in [Length, Chunked] {
                let response = stage.ask(&post(path, &kind(BOUNDARY), framing, body));
                assert_eq!(response.status, status, "{path} {framing:?}: {}", response.text());
            }
        }
    }
}
