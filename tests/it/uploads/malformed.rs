//! What is no form, and what could be two.

use serde_json::{Value, json};

use super::{BOUNDARY, Uploads, kind, parts};
use crate::bodies::Framing::{Chunked, Length};
use crate::bodies::post;
use crate::support::multipart::Part;

/// `#` stands for `Content-Disposition: form-data; name=`, `|` for CRLF.
fn raw(text: &str) -> Vec<u8> {
    text.replace('#', "Content-Disposition: form-data; name=").replace('|', "\r\n").into_bytes()
}

#[test]
fn a_malformed_form_is_400_and_the_connection_stays() {
    let uploads = Uploads::plain(json!({}));
    let long_head = format!("--b|#title|X: {}||1|--b--|", "x".repeat(9_000));
    let cases = [
        "--b|#title||1",
        "--b|#title||1|--b",
        "--b|#title||1|--c--|",
        "title=1",
        "--b|#title||1|--bb|#count||1|--b--|",
        "--b|Content-Disposition: form-data||1|--b--|",
        "--b|Content-Type: text/plain||1|--b--|",
        "--b||1|--b--|",
        "--b|#title; name=count||1|--b--|",
        "--b|#title|#count||1|--b--|",
        "--b|#\"title||1|--b--|",
        "--b|#title; filename=\"a\\\"; name=\\\"count\"||1|--b--|",
        "--b|#title|Content-Transfer-Encoding: base64||MQ==|--b--|",
        "--b|#file; filename=a|Content-Type: multipart/mixed; boundary=c||--c|#title||1|--c--|--b--|",
        "--b|#title| folded||1|--b--|",
        "--b|#title\n#count||1|--b--|",
        "--b|#title\rX: 1||1|--b--|",
        "--b|#ti\0tle||1|--b--|",
        &long_head,
    ];
    for case in cases {
        let mut client = uploads.stage.connect();
        for framing in [Length, Chunked] {
            let message = post("/drop", &kind("b"), framing, &raw(case));
            let response = client.ask(&message).unwrap_or_else(|error| panic!("{case}: {error}"));
            let problem: Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!((response.status, &problem["status"]), (400, &json!(400)), "{case}: {problem}");
            assert_eq!(problem["type"], "urn:tollgate:problem:malformed-multipart", "{case}");
        }
    }
    let thousands = raw(&format!("{}--b--|", "--b|#tags||1|".repeat(5_000)));
    let response = uploads.stage.ask(&post("/drop", &kind("b"), Length, &thousands));
    assert!(response.status == 422 && response.text().contains("too_long"), "{}", response.text());
    assert_eq!(uploads.stage.origin.connections(), 0);
}

#[test]
fn what_only_looks_malformed_passes() {
    let uploads = Uploads::plain(json!({}));
    let title = |text: &str| vec![Part::text("title", text)];
    let rows: [(&str, Vec<Part>); 12] = [
        ("preamble|--b|#title||1|--b--|epilogue|--b|#count||7|--b--|", title("1")),
        ("--b|#title||1|--b--", title("1")),
        ("--b  |#title||1|--b--|", title("1")),
        ("--b|#title||--b|--b--|", title("--b")),
        ("--b|#title||1\n--b\n2|--b--|", title("1\n--b\n2")),
        ("--b|content-DISPOSITION:form-data;NAME=\"title\"||1|--b--|", title("1")),
        ("--b|#title|X-Other: 1|Content-Length: 99||1|--b--|", title("1")),
        ("--b|#\"title\"; name*=utf-8''count||1|--b--|", title("1")),
        ("--b|#title||1|--b|#title||2|--b--|", title("2")),
        (
            "--b|#file; filename=\"a\\\"b\\\\c.png\"|Content-Type: image/png||1|--b--|",
            vec![Part::file("file", "a\"b\\c.png", "image/png", b"1")],
        ),
        (
            "--b|#file; filename=a; filename*=UTF-8''na%C3%AFve.png|Content-Type: image/png||1|--b--|",
            vec![Part::file("file", "na\u{ef}ve.png", "image/png", b"1")],
        ),
        (
            "--b|#file; filename=\"; name=count\"|Content-Type: image/png||--tollgate-00|#count||9|--b--|",
            vec![Part::file("file", "; name=count", "image/png", &raw("--tollgate-00|#count||9"))],
        ),
    ];
    for (case, expected) in rows {
        let response = uploads.stage.ask(&post("/drop", &kind("b"), Length, &raw(case)));
        assert_eq!(response.status, 200, "{case}: {}", response.text());
        assert_eq!(parts(&uploads.stage), expected, "{case}");
    }
}

#[test]
fn the_boundary_is_another_one_each_time() {
    let uploads = Uploads::plain(json!({}));
    let seen: std::collections::HashSet<Vec<u8>> = (0..20)
        .map(|_| {
            let sent = super::form("/drop", Length, &[Part::text("title", "1")]);
            assert_eq!(uploads.stage.ask(&sent).status, 200);
            super::one(&uploads.stage).values("content-type")[0].to_vec()
        })
        .collect();
    assert_eq!(seen.len(), 20);
    assert!(seen.iter().all(|kind| !String::from_utf8_lossy(kind).contains(BOUNDARY)));
}
