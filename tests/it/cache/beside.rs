//! What stands beside the cache: compression, pages of other origins, HTTP/2.

use std::io::Read;

use serde_json::json;

use super::{config, counting, get, numbered, reply, send, start};
use crate::support::gateway::Gateway;
use crate::support::http2::{self, Http2, run};

#[test]
fn what_is_stored_is_compressed_for_those_who_want_it() {
    let text = "some words, and again some words; ".repeat(200);
    let body = text.clone();
    let origin =
        numbered(move |_, _| reply("cache-control: max-age=60\r\ncontent-type: text/plain\r\netag: \"a\"\r\n", &body));
    let gateway = start(&origin, &json!({ "respect": true }), &json!({ "compression": true }));
    // First who brings it, then who finds it; in either order of those who want it compressed and those who do not.
    for (target, order) in [("/a/1", [true, true, false]), ("/a/2", [false, true, true])] {
        for wants in order {
            let fields = [("accept-encoding", "gzip")];
            let answer = send(&gateway, "GET", target, if wants { &fields } else { &[] });
            assert_eq!((answer.status, answer.value("vary")), (200, Some("accept-encoding")), "{target} {wants}");
            let (coding, tag, got) = match wants {
                true => {
                    let mut got = String::new();
                    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut got).unwrap();
                    (Some("gzip"), "W/\"a\"", got)
                }
                false => (None, "\"a\"", answer.text()),
            };
            assert_eq!((answer.value("content-encoding"), answer.value("etag")), (coding, Some(tag)), "{target}");
            assert!(got == text, "{target} {wants}: {} bytes", got.len());
        }
    }
    assert_eq!(origin.requests().len(), 2);
    let known = send(&gateway, "GET", "/a/1", &[("accept-encoding", "gzip"), ("if-none-match", "W/\"a\"")]);
    assert_eq!((known.status, known.value("etag"), known.body.len()), (304, Some("W/\"a\""), 0));
}

#[test]
fn every_page_hears_whether_it_may_read_what_is_stored() {
    let origin = counting("cache-control: max-age=60\r\naccess-control-allow-origin: https://theirs.example\r\n");
    let cors = json!({ "cors": { "origins": ["https://a.example", "https://b.example"] } });
    let gateway = start(&origin, &json!({ "respect": true }), &cors);
    let allowed = |from: &str| {
        let answer = send(&gateway, "GET", "/a/1", &[("origin", from)]);
        assert_eq!((answer.text().as_str(), answer.value("vary")), ("1", Some("origin")));
        answer.value("access-control-allow-origin").map(str::to_owned)
    };
    for from in ["https://a.example", "https://b.example", "https://a.example"] {
        assert_eq!(allowed(from).as_deref(), Some(from));
    }
    assert_eq!(allowed("https://theirs.example"), None);
}

#[test]
fn clients_of_http2_get_what_those_of_http1_brought() {
    let origin = counting("cache-control: max-age=60\r\n");
    let mut written = config(origin.address(), &json!({ "respect": true }), &json!({}));
    written["listeners"][0]["http2"] = json!(true);
    let gateway = Gateway::start(&written.to_string());
    assert_eq!(get(&gateway, "/a/1").text(), "1");
    run(async {
        let mut client = Http2::connect(gateway.address()).await;
        for (path, number, done) in [("/a/1", "1", "hit"), ("/a/2", "2", "fwd=uri-miss"), ("/a/2", "2", "hit")] {
            let answer = client.fetch(path).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, number), "{path}");
            assert!(answer.value("cache-status").unwrap().contains(done), "{path}: {:?}", answer.headers);
        }
        let known = client.ask(http2::request("HEAD", "/a/2", &[]), b"").await;
        assert_eq!((known.status, known.value("content-length"), known.text().as_str()), (200, Some("1"), ""));
    });
    assert_eq!(get(&gateway, "/a/2").text(), "2");
    assert_eq!(origin.requests().len(), 2);
}
