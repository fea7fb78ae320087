//! `mode: observe`: what violates the contract passes as the client sent it, and operators hear of it.

use serde_json::{Value, json};

use crate::raw::stage::Stage;
use crate::support::client::{Response, ask, request};
use crate::support::gateway::{self, program};
use crate::support::origin::Recorded;

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn routes() -> Value {
    json!([
        {
            "name": "get", "method": "GET", "gateway_path": "/items/{id}", "service_path": "/v1/{id}?from={id}",
            "path_params": {"id": {"type": "integer"}},
            "query_params": {"limit": {"type": "integer", "maximum": 9, "default": 5}},
            "header_params": {"x-page": {"type": "integer", "default": 1}},
            "cookie_params": {"theme": {"enum": ["light", "dark"], "optional": true}},
            "undeclared": "reject",
        },
        {"name": "plain", "method": "GET", "gateway_path": "/plain"},
        {
            "name": "json", "method": "POST", "gateway_path": "/json", "max_body": "64",
            "body_params": {"a": {"type": "integer", "default": 1}},
        },
        {"name": "form", "method": "POST", "gateway_path": "/form", "form_params": {"a": {"type": "integer"}}},
        {"name": "none", "method": "POST", "gateway_path": "/none", "max_body": "64"},
        {"name": "strict", "method": "GET", "gateway_path": "/strict/{id}", "mode": "enforce",
            "path_params": {"id": {"type": "integer"}}},
    ])
}

fn config() -> Value {
    json!({
        "admin": {"address": "127.0.0.1:0"},
        "defaults": {"auth": "public", "mode": "observe"},
        "authenticators": {
            "link": {"api_key": {"query": "key"}}, "head": {"api_key": {"header": "x-api-key"}},
            "cookie": {"api_key": {"cookie": "session"}},
        },
        "consumers": {"alice": {"api_keys": [{"sha256": SECRET}]}},
    })
}

fn stage() -> Stage {
    Stage::plain(routes(), config())
}

/// The access line of an answer.
fn line(stage: &Stage, answer: &Response) -> Value {
    let id = answer.value("x-request-id").expect("every answer has an id");
    let line = stage.gateway.printed(|line| line.contains(id)).expect("every request has a line");
    serde_json::from_str(&line).expect("a line is JSON")
}

/// `decision place:type …`, as the access line has it.
fn told(stage: &Stage, answer: &Response) -> String {
    let line = line(stage, answer);
    let one = |seen: &Value| format!(" {}:{}", seen["loc"].as_str().unwrap(), seen["type"].as_str().unwrap());
    let seen: String = line["observed"].as_array().into_iter().flatten().map(one).collect();
    let count = line["observed_count"].as_u64().unwrap_or_default();
    assert_eq!(seen.matches(' ').count() as u64, count.min(5), "{line}");
    format!("{}{seen}", line["decision"].as_str().unwrap())
}

/// Sends a request, and shows what the service got of it beside what the access line tells.
fn pass(stage: &Stage, request: &[u8]) -> (Recorded, String) {
    let (answer, seen) = stage.pass(request);
    assert_eq!(answer.status, 200);
    (seen, told(stage, &answer))
}

fn admin(stage: &Stage, path: &str) -> Response {
    let asked = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    ask(stage.gateway.admin(), asked.as_bytes())
}

fn metric(stage: &Stage, line: &str) -> u64 {
    let text = admin(stage, "/metrics").text();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}

#[test]
fn path_and_query_pass_as_the_client_wrote_them() {
    let stage = stage();
    for (target, expected, seen) in [
        ("/items/-0?limit=3", "/v1/-0?from=-0&limit=3", "admitted"),
        ("/items/7", "/v1/7?from=7", "admitted"),
        (
            "/items/a%41%2b?limit=10",
            "/v1/aA%2B?from=aA%2B&limit=10",
            "observed path.id:int_parsing query.limit:less_than_equal",
        ),
        (
            "/items/7?limit=1&&limit=%39;x&b=%zz+&key=secret&c",
            "/v1/7?from=7&limit=1&&limit=%39;x&b=%zz+&c",
            "observed query.b:extra_forbidden query.c:extra_forbidden query.limit:int_parsing",
        ),
        ("/plain?a=1&key=secret", "/plain?a=1", "admitted"),
    ] {
        let (request, told) = pass(&stage, &request("GET", target, &[], b""));
        assert_eq!((request.target.as_str(), told.as_str()), (expected, seen), "{target}");
    }
}

#[test]
fn fields_and_cookies_pass_as_the_client_sent_them() {
    let stage = stage();
    let sent = [
        ("x-page", "one"),
        ("x-page", "2"),
        ("x_page", "3"),
        ("cookie", "theme=blue;a=1; session=secret"),
        ("cookie", "theme=dark"),
        ("content-type", "text/plain"),
        ("x-api-key", "secret"),
    ];
    let (seen, told) = pass(&stage, &request("GET", "/items/1", &sent, b""));
    assert_eq!(
        told,
        "observed header.x-page:value_error cookie.a:extra_forbidden cookie.theme:value_error cookie.theme:enum"
    );
    assert_eq!((seen.values("x-page"), seen.values("x_page")), (vec![&b"one"[..], b"2"], vec![&b"3"[..]]));
    assert_eq!(seen.values("cookie"), [&b"theme=blue; a=1"[..], b"theme=dark"]);
    assert_eq!((seen.values("content-type"), seen.values("x-api-key")), (vec![&b"text/plain"[..]], vec![]));
    // Nothing is filled in either.
    let (seen, told) = pass(&stage, &request("GET", "/items/1", &[], b""));
    assert_eq!((seen.values("x-page").len(), seen.values("cookie").len(), told.as_str()), (0, 0, "admitted"));
}

#[test]
fn a_body_passes_with_its_own_bytes_and_type() {
    let stage = stage();
    let json = "application/json; charset=UTF-8";
    for (path, kind, coding, body, seen) in [
        ("/json", json, "identity", r#"{ "a" : 1, "b": 1 }"#, "admitted"),
        ("/json", json, "identity", "{ }", "admitted"),
        ("/json", json, "identity", r#"{"a":"x"}"#, "observed body.a:int_type"),
        ("/json", json, "identity", "{", "observed body:json_invalid"),
        ("/json", "text/plain", "identity", "a", "observed body:media_type"),
        ("/json", json, "gzip", "\u{1f}\u{1}", "observed body:media_type"),
        ("/form", "application/x-www-form-urlencoded", "identity", "a=1&a=%zz&b", "observed body.a:string_unicode"),
        ("/form", "multipart/form-data; boundary=x", "identity", "--x--", "observed body:media_type"),
        ("/none", "text/plain", "identity", "anything", "admitted"),
    ] {
        let fields = [("content-type", kind), ("content-encoding", coding)];
        let (request, told) = pass(&stage, &request("POST", path, &fields, body.as_bytes()));
        assert_eq!((String::from_utf8_lossy(&request.body).as_ref(), told.as_str()), (body, seen), "{path} {kind}");
        assert_eq!(request.values("content-type"), [kind.as_bytes()], "{path} {body}");
        assert_eq!(request.values("content-encoding"), [coding.as_bytes()], "{path} {body}");
        assert_eq!(request.values("content-length"), [body.len().to_string().as_bytes()], "{path} {body}");
    }
    let empty = request(
        "POST",
        "/form",
        &[("content-type", "application/x-www-form-urlencoded"), ("content-length", "0")],
        b"",
    );
    let (seen, told) = pass(&stage, &empty);
    assert_eq!((seen.body.len(), seen.values("content-type").len(), told.as_str()), (0, 1, "observed body.a:missing"));
    for body in ["", "5\r\n{\"a\":\r\n2\r\n1}\r\n"] {
        let chunked = format!(
            "POST /json HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n"
        );
        let (seen, told) = pass(&stage, chunked.as_bytes());
        let expected = if body.is_empty() { "" } else { "{\"a\":1}" };
        assert_eq!((String::from_utf8_lossy(&seen.body).as_ref(), told.as_str()), (expected, "admitted"));
        assert_eq!((seen.values("expect").len(), seen.values("transfer-encoding").len()), (0, 0));
    }
}

#[test]
fn what_is_no_contract_still_holds() {
    let stage = stage();
    let long = "x".repeat(65);
    let chunked = |path| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        format!("{head}41\r\n{long}\r\n0\r\n\r\n").into_bytes()
    };
    let json = [("content-type", "application/json")];
    for (request, status, decision) in [
        (request("GET", "/items/a%2Fb", &[], b""), 400, "malformed-path"),
        (request("GET", "/items/../x", &[], b""), 400, "malformed-path"),
        (request("GET", "/nowhere", &[], b""), 404, "not-found"),
        (request("POST", "/json", &json, long.as_bytes()), 413, "body-too-large"),
        (request("POST", "/json", &[("content-type", "text/plain")], long.as_bytes()), 413, "body-too-large"),
        (request("POST", "/none", &[], long.as_bytes()), 413, "body-too-large"),
        (chunked("/json"), 413, "body-too-large observed body:media_type"),
        (chunked("/none"), 413, "body-too-large"),
        (request("GET", "/strict/x", &[], b""), 422, "contract-violated"),
    ] {
        let answer = stage.ask(&request);
        assert_eq!(answer.status, status, "{}", crate::raw::stage::shown(&request));
        let (decision, observed) = decision.split_once(" observed").unwrap_or((decision, ""));
        assert_eq!(told(&stage, &answer), format!("{decision}{observed}"));
    }
}

#[test]
fn operators_find_what_would_be_refused() {
    let stage = stage();
    let many = "/items/1?a&b&c&d&e&f&secret-name=secret-value";
    for (target, expected) in [("/items/x?limit=10", 3), ("/items/1?limit=11", 2), (many, 8), ("/items/1", 1)] {
        let (answer, _) = stage.pass(&request("GET", target, &[("x-page", "secret-value")], b""));
        let line = line(&stage, &answer);
        assert_eq!(line["observed_count"].as_u64(), Some(expected), "{line}");
        assert_eq!(line["observed"].as_array().map(Vec::len), Some(expected.min(5) as usize), "{line}");
        assert!(!line.to_string().contains("secret-value"), "{line}");
    }
    let of_type =
        |kind| metric(&stage, &format!(r#"tollgate_contract_observed_violations_total{{route="get",type="{kind}"}}"#));
    assert_eq!(metric(&stage, r#"tollgate_contract_observed_total{route="get"}"#), 4);
    let found = ["int_parsing", "less_than_equal", "extra_forbidden", "missing"].map(of_type);
    assert_eq!(found, [5, 2, 7, 0]);
    assert_eq!(metric(&stage, r#"tollgate_requests_total{route="get",status="200"}"#), 4);
    assert_eq!(metric(&stage, r#"tollgate_rejections_total{route="get",reason="contract-violated"}"#), 0);
}

#[test]
fn the_mode_is_shown_where_it_is_observe() {
    let stage = stage();
    let listed: Value = serde_json::from_slice(&admin(&stage, "/routes").body).unwrap();
    let modes: Vec<&str> = listed.as_array().unwrap().iter().map(|route| route["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["observe", "observe", "observe", "observe", "observe", "enforce"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    let table = |mode: &str| {
        let text = json!({
            "version": 1, "listeners": [{"address": "127.0.0.1:0"}], "services": {"a": {"url": "http://127.0.0.1:1"}},
            "routes": [{"name": "one", "method": "GET", "gateway_path": "/1", "service": "a", "auth": "public"},
                {"name": "two", "method": "GET", "gateway_path": "/2", "service": "a", "auth": "public", "mode": mode}],
        });
        let checked = gateway::check(&text.to_string());
        assert!(checked.code == Some(0) && !checked.text.contains("warning"), "{}", checked.text);
        std::fs::write(&file, text.to_string()).unwrap();
        let output = program().arg("routes").arg(&file).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split_whitespace().next_back().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(table("observe"), ["MODE", "public", "observe"]);
    assert_eq!(table("enforce"), ["AUTH", "public", "public"]);
}
