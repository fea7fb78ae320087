//! What a line says.

use super::*;

pub(in super::super) fn line() -> AccessLine<'static> {
    AccessLine {
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234),
        request_id: b"ab12",
        client: b"192.0.2.1",
        method: "GET",
        host: b"api.example.com",
        path: "/users/\"\u{7}é",
        protocol: "HTTP/1.1",
        route: Some("users"),
        service: None,
        target: None,
        consumer: None,
        plan: None,
        status: 200,
        decision: "admitted",
        observed: &[],
        observed_count: 0,
        would_refuse: &[],
        cause: None,
        bytes_in: 0,
        bytes_out: 12,
        total: Duration::from_micros(1_042),
        gateway: Duration::from_micros(7),
        service_time: Some(Duration::from_micros(900)),
        retries: 0,
        generation: 3,
        user_agent: Some(b"curl/8\xff\n"),
    }
}

#[test]
fn a_json_line_is_one_json_object_whatever_the_client_sent() {
    let mut out = Vec::new();
    line().write_json(&mut out);
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    for (name, expected) in [
        ("time", "1970-01-01T00:00:01.234Z"),
        ("path", "/users/\"\u{7}é"),
        ("decision", "admitted"),
        ("user_agent", "curl/8\u{fffd}\n"),
    ] {
        assert_eq!(value[name], expected, "{name}");
    }
    assert_eq!(value["duration_ms"].to_string(), "1.042");
    assert_eq!(value["gateway_ms"].to_string(), "0.007");
    assert!(value.get("consumer").is_none());
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
    let (mut json, mut text) = (Vec::new(), Vec::new());
    line.write_json(&mut json);
    line.write_text(&mut text);
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(value["observed_count"].to_string(), "9");
    assert_eq!(value["observed"].as_array().map(Vec::len), Some(MAX_OBSERVED));
    assert_eq!(value["observed"][0], serde_json::json!({"loc": "query.limit", "type": "less_than_equal"}));
    assert!(value["observed"][1]["loc"].as_str().is_some_and(|loc| loc.len() <= MAX_PLACE));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(" observed violations=9 query.limit:less_than_equal body."), "{text}");
}

#[test]
fn a_line_names_what_would_have_refused() {
    let would = [
        WouldRefuse { reason: "forbidden", by: "allow.groups" },
        WouldRefuse { reason: "quota-exceeded", by: "total \"day" },
    ];
    let line = AccessLine { would_refuse: &would, decision: "observed", ..line() };
    let (mut json, mut text) = (Vec::new(), Vec::new());
    line.write_json(&mut json);
    line.write_text(&mut text);
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let expected = serde_json::json!([
        {"reason": "forbidden", "by": "allow.groups"}, {"reason": "quota-exceeded", "by": "total \"day"},
    ]);
    assert_eq!(value["would_refuse"], expected);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r#" observed forbidden=allow.groups quota-exceeded=total \"day"#), "{text}");
}
