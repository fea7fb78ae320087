//! What a line says.

use std::sync::LazyLock;

use super::*;

static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let value = |text: &'static [u8]| http::HeaderValue::from_bytes(text).unwrap();
    let fields = [
        ("user-agent", value(b"curl/8\xff\t")),
        ("referer", value(b"https://shop.test/cart?api_key=secret#top")),
        ("x-tenant", value(b"a\"b")),
        ("x-tenant", value(b"second")),
    ];
    fields.into_iter().map(|(name, value)| (HeaderName::from_static(name), value)).collect()
});

/// JSON with every member.
pub(in super::super) fn json() -> Shape {
    Shape { format: Format::Json, fields: Fields::ALL, headers: Vec::new() }
}

fn text() -> Shape {
    Shape { format: Format::Text, ..json() }
}

fn written(line: &AccessLine<'_>, shape: &Shape) -> String {
    let mut out = Vec::new();
    line.write(&mut out, shape);
    String::from_utf8(out).unwrap()
}

fn object(line: &AccessLine<'_>, shape: &Shape) -> serde_json::Value {
    serde_json::from_str(&written(line, shape)).unwrap()
}

pub(in super::super) fn line() -> AccessLine<'static> {
    AccessLine {
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234),
        request_id: b"ab12",
        trace_id: None,
        client: b"192.0.2.1",
        method: "GET",
        host: b"api.example.com",
        path: "/users/\"\u{7}é",
        protocol: "HTTP/1.1",
        tls: Some("TLSv1.3"),
        route: Some("users"),
        service: None,
        target: None,
        consumer: None,
        plan: None,
        status: 200,
        grpc_status: None,
        decision: "admitted",
        cache: None,
        observed: &[],
        observed_count: 0,
        refused_by: &[],
        would_refuse: &[],
        cause: None,
        bytes_in: 0,
        bytes_out: 12,
        total: Duration::from_micros(1_042),
        gateway: Duration::from_micros(7),
        queue: None,
        request_body: None,
        service_time: Some(Duration::from_micros(900)),
        response: Some(Duration::from_micros(135)),
        retries: 0,
        generation: 3,
        headers: &HEADERS,
    }
}

#[test]
fn a_json_line_is_one_json_object_whatever_the_client_sent() {
    let text = written(&line(), &json());
    assert_eq!(text.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, expected) in [
        ("time", "1970-01-01T00:00:01.234Z"),
        ("path", "/users/\"\u{7}é"),
        ("decision", "admitted"),
        ("tls", "TLSv1.3"),
        ("user_agent", "curl/8\u{fffd}\t"),
    ] {
        assert_eq!(value[name], expected, "{name}");
    }
    for (name, expected) in
        [("duration_ms", "1.042"), ("gateway_ms", "0.007"), ("service_ms", "0.900"), ("response_ms", "0.135")]
    {
        assert_eq!(value[name].to_string(), expected, "{name}");
    }
    for absent in ["consumer", "refused_by", "queue_ms", "request_body_ms", "headers", "cause"] {
        assert!(value.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn a_shape_takes_members_out_and_adds_headers() {
    let names = ["x-tenant", "referer", "x-absent"];
    let shape = Shape {
        fields: Fields::ALL.without(Field::UserAgent).without(Field::Client),
        headers: names.map(HeaderName::from_static).into(),
        ..json()
    };
    let value = object(&line(), &shape);
    assert!(value.get("user_agent").is_none() && value.get("client").is_none(), "{value}");
    let expected = serde_json::json!({"x-tenant": "a\"b", "referer": "https://shop.test/cart"});
    assert_eq!(value["headers"], expected, "the first value of each; no query, which may hold secrets");
}

#[test]
fn no_text_of_a_client_ends_a_line_speaks_to_a_terminal_or_makes_it_long() {
    let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\r\n{\"status\":200}\u{202e} \u{2028}b";
    let loc = [Observed { loc: hostile.to_owned(), kind: "missing" }];
    let long = "ü".repeat(40_000);
    for value in [hostile, &long] {
        let names = [Box::from(value)];
        let would = [WouldRefuse { reason: "forbidden", by: value }];
        let line = AccessLine {
            request_id: value.as_bytes(),
            client: b"192.0.2.1",
            method: value,
            host: value.as_bytes(),
            path: value,
            route: Some(value),
            service: Some(value),
            target: Some(value),
            consumer: Some(value),
            plan: Some(value),
            observed: &loc,
            observed_count: 1,
            refused_by: &names,
            would_refuse: &would,
            cause: Some(value),
            ..line()
        };
        for shape in [json(), text()] {
            let written = written(&line, &shape);
            let end = written.len() - 1;
            let obeyed = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}');
            assert!(!written[..end].contains(obeyed) && written.ends_with('\n'), "{written:?}");
            assert!(written.len() < 16 * 1024, "{} bytes", written.len());
        }
        let value = object(&line, &json());
        assert_eq!(value["status"], 200);
        let path = value["path"].as_str().unwrap();
        assert!(path == hostile || (path.len() <= 1024 + '…'.len_utf8() && path.ends_with("ü…")), "{path}");
    }
}

#[test]
fn a_readable_line_quotes_what_has_spaces() {
    let line = AccessLine { consumer: Some("corp:a b route=x"), path: "/plain", ..line() };
    let text = written(&line, &text());
    let expected = "1970-01-01T00:00:01.234Z 192.0.2.1 200 GET /plain 1.042ms gateway=0.007ms service=0.900ms \
                    route=users consumer=\"corp:a b route=x\" admitted bytes_in=0 bytes_out=12 id=ab12\n";
    assert_eq!(text, expected);
}

#[test]
fn a_line_names_the_first_violations_that_passed_and_counts_all() {
    let place = format!("body.{}\"ü", "ü".repeat(400));
    let one = |index: usize| match index {
        0 => Observed { loc: "query.limit".to_owned(), kind: "less_than_equal" },
        _ => Observed { loc: place.clone(), kind: "extra_forbidden" },
    };
    let observed: Vec<_> = (0..9).map(one).collect();
    let line = AccessLine { observed: &observed, observed_count: 9, decision: "observed", ..line() };
    let (value, text) = (object(&line, &json()), written(&line, &text()));
    assert_eq!(value["observed_count"].to_string(), "9");
    assert_eq!(value["observed"].as_array().map(Vec::len), Some(MAX_OBSERVED));
    assert_eq!(value["observed"][0], serde_json::json!({"loc": "query.limit", "type": "less_than_equal"}));
    assert!(value["observed"][1]["loc"].as_str().is_some_and(|loc| loc.len() <= MAX_PLACE));
    assert!(text.contains(" observed violations=9 query.limit:less_than_equal body."), "{text}");
}

#[test]
fn a_line_names_what_refused_or_would_have() {
    let would = [
        WouldRefuse { reason: "forbidden", by: "allow.groups" },
        WouldRefuse { reason: "quota-exceeded", by: "total \"day" },
    ];
    let refused_by = [Box::from("total-day"), Box::from("each-route-second")];
    let line = AccessLine { would_refuse: &would, refused_by: &refused_by, decision: "observed", ..line() };
    let (value, text) = (object(&line, &json()), written(&line, &text()));
    let expected = serde_json::json!([
        {"reason": "forbidden", "by": "allow.groups"}, {"reason": "quota-exceeded", "by": "total \"day"},
    ]);
    assert_eq!(value["would_refuse"], expected);
    assert_eq!(value["refused_by"], serde_json::json!(["total-day", "each-route-second"]));
    assert!(text.contains(r#" observed refused_by=total-day refused_by=each-route-second forbidden=allow.groups quota-exceeded="total \"day""#), "{text}");
}
