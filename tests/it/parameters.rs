//! Header fields and cookies as parameters, and the list of fields that pass: what the service gets on the wire.

use serde_json::{Value, json};

use crate::raw::stage::{Stage, shown};
use crate::support::client::{Response, request};
use crate::support::origin::Recorded;

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

type Fields<'a> = &'a [(&'a str, &'a str)];

fn stage(route: Value) -> Stage {
    let mut route = route;
    route["gateway_path"] = "/it".into();
    if route.get("method").is_none() {
        route["method"] = "GET".into();
    }
    let more = json!({
        "authenticators": {"key": {"api_key": {"cookie": "session"}}, "head": {"api_key": {"header": "x-api-key"}}},
        "consumers": {"alice": {"api_keys": [{"sha256": SECRET}]}},
    });
    Stage::plain(json!([route]), more)
}

/// What the service gets of these names.
fn got(seen: &Recorded, names: &[&str]) -> String {
    let one = |name: &&str| {
        let values = seen.values(name).into_iter();
        values.map(|value| format!("{name}: {}", String::from_utf8_lossy(value))).collect::<Vec<_>>()
    };
    names.iter().flat_map(one).collect::<Vec<_>>().join(" | ")
}

/// The places and rules of a refusal.
fn errors(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let one = |error: &Value| format!("{} {}", error["loc"], error["type"].as_str().unwrap_or_default());
    let errors: Vec<String> = body["errors"].as_array().into_iter().flatten().map(one).collect();
    format!("{} {}", response.status, errors.join(", "))
}

/// What became of a GET with these fields: what the service got, or the refusal.
fn fate(stage: &Stage, fields: Fields<'_>, names: &[&str]) -> String {
    let request = request("GET", "/it", fields, b"");
    stage.origin.take();
    let response = stage.ask(&request);
    match (response.status, stage.origin.take().as_slice()) {
        (200, [seen]) => got(seen, names),
        (_, []) => errors(&response),
        (status, seen) => panic!("{status} and {} calls of the service: {}", seen.len(), shown(&request)),
    }
}

#[test]
fn the_service_gets_header_parameters_as_they_were_checked() {
    let stage = stage(json!({"header_params": {
        "X-Tenant": {"type": "string", "pattern": "^[a-z]+$"},
        "x-page": {"type": "integer", "default": 1, "maximum": 9},
        "x-tags": {"type": "array", "optional": true},
    }}));
    let names = ["x-tenant", "x_tenant", "x.tenant", "x-page", "x-tags", "x-other"];
    let rows: [(Fields<'_>, &str); 10] = [
        (&[("X-TENANT", "blue"), ("x-other", "1")], "x-tenant: blue | x-page: 1 | x-other: 1"),
        (&[("x-tenant", "blue"), ("x-page", "7")], "x-tenant: blue | x-page: 7"),
        (
            &[("x-tenant", "blue"), ("x-tags", "a,b"), ("X-Tags", "c")],
            "x-tenant: blue | x-page: 1 | x-tags: a | x-tags: b | x-tags: c",
        ),
        (&[("x-tenant", "blue"), ("x_tenant", "EVIL"), ("X.Tenant", "EVIL")], "x-tenant: blue | x-page: 1"),
        // What a client nominates ends here for others, but a checked value passes.
        (
            &[("x-tenant", "blue"), ("x-other", "1"), ("connection", "x-tenant, x-other, x-page")],
            "x-tenant: blue | x-page: 1",
        ),
        (&[], r#"422 ["header","x-tenant"] missing"#),
        (&[("x_tenant", "blue")], r#"422 ["header","x-tenant"] missing"#),
        (
            &[("x-tenant", "BLUE"), ("x-page", "x")],
            r#"422 ["header","x-tenant"] string_pattern_mismatch, ["header","x-page"] int_parsing"#,
        ),
        (&[("x-tenant", "blue"), ("x-tenant", "red")], r#"422 ["header","x-tenant"] value_error"#),
        (&[("x-tenant", "blue"), ("x-page", "1"), ("x-page", "1")], r#"422 ["header","x-page"] value_error"#),
    ];
    for (fields, expected) in rows {
        assert_eq!(fate(&stage, fields, &names), expected, "{fields:?}");
    }
}

#[test]
fn the_service_gets_cookie_parameters_in_one_field() {
    let route = |undeclared: &str| json!({"undeclared": undeclared, "cookie_params": {"page": {"type": "integer", "default": 1}, "on": {"type": "boolean", "optional": true}}});
    let (drop, reject, forward) = (stage(route("drop")), stage(route("reject")), stage(route("forward")));
    let rows: [(&Stage, Fields<'_>, &str); 9] = [
        (&drop, &[("cookie", "on=1; x=2; page=3")], "cookie: page=3; on=true"),
        (&drop, &[("cookie", "on=0"), ("Cookie", "y=2; page=\"4\"")], "cookie: page=4; on=false"),
        (&drop, &[], "cookie: page=1"),
        (&drop, &[("cookie", "page=1; page=2")], r#"422 ["cookie","page"] value_error"#),
        (&drop, &[("cookie", "page=x; on=yes")], r#"422 ["cookie","page"] int_parsing, ["cookie","on"] bool_parsing"#),
        (&reject, &[("cookie", "page=3; session=secret")], "cookie: page=3"),
        (&reject, &[("cookie", "x=2")], r#"422 ["cookie","x"] extra_forbidden"#),
        (&forward, &[("cookie", "x=2; session=secret; page=3; Page=4")], "cookie: page=3; x=2; Page=4"),
        (&forward, &[("cookie", "x=2"), ("connection", "cookie")], "cookie: page=1; x=2"),
    ];
    for (stage, fields, expected) in rows {
        assert_eq!(fate(stage, fields, &["cookie"]), expected, "{fields:?}");
    }
}

#[test]
fn cookies_pass_as_they_are_where_none_is_declared() {
    let stage = stage(json!({"undeclared": "reject", "header_params": {"x-a": {"optional": true}}}));
    let fields = [("cookie", "a=1;a=2"), ("cookie", "b; session=secret")];
    assert_eq!(fate(&stage, &fields, &["cookie"]), "cookie: a=1; a=2 | cookie: b");
}

#[test]
fn only_allowed_fields_pass_and_what_the_gateway_writes() {
    let stage = stage(json!({
        "auth": ["key"],
        "header_params": {"x-tenant": {"optional": true}},
        "request_headers": {"allow": ["Accept", "x-both", "traceparent"], "remove": ["x-both"], "set": {"x-set": "1"}},
    }));
    let sent = [
        ("accept", "*/*"),
        ("x-both", "1"),
        ("x-set", "2"),
        ("user-agent", "curl"),
        ("x_tenant", "a"),
        ("x-tenant", "b"),
        ("tracestate", "t"),
        ("traceparent", "p"),
        ("x-api-key", "k"),
        ("via", "1.0 fred"),
        ("authorization", "Basic x"),
        ("x-request-id", "mine"),
        ("content-type", "text/plain"),
        ("accept-", "x"),
        ("cookie", "session=secret; a=1"),
    ];
    let (response, seen) = stage.pass(&request("GET", "/it", &sent, b""));
    assert_eq!(response.status, 200);
    let mut names: Vec<&str> = seen.fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "forwarded",
        "host",
        "traceparent",
        "via",
        "x-consumer-name",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
        "x-set",
        "x-tenant",
    ];
    assert_eq!(names, expected);
    assert_eq!(got(&seen, &["via", "x-set", "x-tenant"]), "via: 1.1 tollgate | x-set: 1 | x-tenant: b");
}

#[test]
fn an_allow_list_lets_declared_cookies_pass_and_no_other_way_round() {
    let declared = stage(json!({"cookie_params": {"a": {}}, "request_headers": {"allow": []}}));
    assert_eq!(fate(&declared, &[("cookie", "b=1; a=2")], &["cookie"]), "cookie: a=2");
    let none = stage(json!({"request_headers": {"allow": []}}));
    assert_eq!(fate(&none, &[("cookie", "b=1; a=2")], &["cookie"]), "");
    let allowed = stage(json!({"request_headers": {"allow": ["cookie"]}}));
    assert_eq!(fate(&allowed, &[("cookie", "b=1; session=x")], &["cookie"]), "cookie: b=1");
}

#[test]
fn a_body_arrives_whole_in_spite_of_an_allow_list() {
    let describing = ["content-type", "content-encoding", "content-length", "transfer-encoding", "x-a"];
    let streamed = stage(json!({"method": "POST", "body": "any", "request_headers": {"allow": []}}));
    let fields = [("content-type", "text/x; charset=y"), ("content-encoding", "br"), ("x-a", "1")];
    let (response, seen) = streamed.pass(&request("POST", "/it", &fields, b"abc"));
    assert_eq!((response.status, seen.body.as_slice()), (200, &b"abc"[..]));
    let expected = "content-type: text/x; charset=y | content-encoding: br | content-length: 3";
    assert_eq!(got(&seen, &describing), expected);

    let chunked = b"POST /it HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n";
    let (response, seen) = streamed.pass(chunked);
    assert_eq!((response.status, seen.body.as_slice()), (200, &b"abc"[..]));
    assert_eq!(got(&seen, &describing), "transfer-encoding: chunked");

    let checked =
        json!({"method": "POST", "body_params": {"a": {"type": "integer"}}, "request_headers": {"allow": []}});
    let fields = [("content-type", "application/json; charset=utf-8"), ("content-encoding", "identity"), ("x-a", "1")];
    let (response, seen) = stage(checked).pass(&request("POST", "/it", &fields, br#"{"a": 1, "b": 2}"#));
    assert_eq!((response.status, seen.body.as_slice()), (200, &br#"{"a":1}"#[..]));
    assert_eq!(got(&seen, &describing), "content-type: application/json | content-length: 7");
}

#[test]
fn a_declared_content_type_of_an_unchecked_body_is_checked() {
    let stage = stage(json!({
        "method": "POST", "body": "any", "header_params": {"content-type": {"enum": ["text/csv", "text/plain"]}},
    }));
    let ask = |kind| stage.ask(&request("POST", "/it", &[("content-type", kind)], b"a,b"));
    assert_eq!(ask("text/csv").status, 200);
    assert_eq!(stage.origin.take()[0].values("content-type"), [b"text/csv"]);
    assert_eq!(errors(&ask("text/html")), r#"422 ["header","content-type"] enum"#);
    assert_eq!(stage.origin.take().len(), 0);
}
