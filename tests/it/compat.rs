//! The recorded behaviour of fastapi-gateway-ultra, replayed.
//!
//! tests/compat/cases.json holds what the Python library did with each request, whether that is to be kept or fixed,
//! and what a gateway has to do. Every case is sent to the gateway with a scripted service behind it. Of an error the
//! gateway itself makes only the status and the places (`loc`) count, not the wording. [`LEFT_OUT`] names the cases
//! that are expected to fail, [`AMENDED`] those where something else than the recording is right; neither list can
//! go stale, as a left-out case that passes and an amendment that changes nothing fail the test.

mod case;
mod expect;
mod stage;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use case::{Case, Verdict};
use expect::{Outcome, faults};
use stage::Stage;

/// Cases that are expected to fail, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("d1_trailing_slash", TRAILING_SLASH),
    ("d1_trailing_slash_keeps_query", TRAILING_SLASH),
    ("d1_forged_host_redirect", TRAILING_SLASH),
    ("p_path_converter_double_slash", "`//` is refused, since services and proxies disagree on its meaning"),
    ("docs_redoc", "there is one page, /docs"),
    ("docs_oauth_redirect", "there is no authenticator that would redirect a reader back"),
    ("q_undeclared", "what is declared is forwarded: there is nothing to forget and nothing to warn of"),
    ("p_endpoint_without_request_arg", "a route in a file has no function whose arguments could be wrong"),
];

const TRAILING_SLASH: &str = "a trailing slash makes a different path: 404, no redirect";

/// Members of a case's expectation that are replaced, and why.
const AMENDED: &[(&str, &str, &str)] = &[
    ("d1_extra_query_dropped", NOT_COERCED, r#"{"json": {"foo": "bar", "custom_int": 12}}"#),
    ("d1_get_with_body", NOT_COERCED, r#"{"json": {"foo": "bar", "custom_int": 12}}"#),
    ("absolute_form", NOT_COERCED, r#"{"json": {"foo": "bar", "custom_int": 12}}"#),
    (
        "d1_override_headers_false",
        NOT_COERCED,
        r#"{"json": {"foo": "bar", "custom_int": 1}, "headers_absent": ["x-up", "etag", "set-cookie"]}"#,
    ),
    ("r_json_200_override_false", "says what must be absent", r#"{"headers_absent": ["x-up", "etag", "location"]}"#),
    ("d8_all_upstream_404_json", SENT_ONCE, SENT_ONCE_UPSTREAM),
    ("d8_all_upstream_500_json", SENT_ONCE, SENT_ONCE_UPSTREAM),
    (
        "q_float",
        "a number may keep the digits it was written with",
        r#"{"upstream": null, "one_of": [{"upstream": {"query": "v=1.5"}}, {"upstream": {"query": "v=1.50"}}]}"#,
    ),
    (
        "q_date",
        "a checked text passes as it was written",
        r#"{"upstream": {"method": "GET", "path": "/v1/q", "query": "v=2023-05-01T10:00:00Z", "body": ""}}"#,
    ),
    (
        "q_header_param_as_query",
        "a header reaches the service as the header it is, and not as a query parameter too",
        r#"{"upstream": {"method": "GET", "path": "/up", "query": "", "body": "", "headers": {"x-tenant": ["t1"]}}}"#,
    ),
    (
        "b_dict_float",
        "digits that are never turned into a float may pass unchanged",
        r#"{"status": null, "one_of": [{"status": 422}, {"status": 200, "upstream": {"json": {"a": 0.1, "b": 1e400}}}]}"#,
    ),
    (
        "b_rich",
        "in JSON, a text is neither a number nor a boolean",
        r#"{"status": 422, "upstream_called": false, "upstream": null, "json": {"detail": [
            {"loc": ["body", "b"]}, {"loc": ["body", "dec"]}, {"loc": ["body", "lst", 0]}, {"loc": ["body", "nested", "x"]}
        ]}}"#,
    ),
    (
        "f_default",
        "a boolean may be sent as the client wrote it or as true",
        r#"{"upstream": null, "one_of": [
            {"upstream": {"form_fields_any_order": [["age", "5"], ["ok", "1"], ["s", "d"]]}},
            {"upstream": {"form_fields_any_order": [["age", "5"], ["ok", "true"], ["s", "d"]]}}
        ]}"#,
    ),
    ("d1_upstream_extra_field", NOT_COERCED, r#"{"json": {"foo": "bar", "custom_int": 1}}"#),
    ("b_list", "nothing is filled into nested objects", r#"{"upstream": {"json": [{"x": 1}, {"x": 2}]}}"#),
    (
        "d2_duplicate_json_keys",
        "a name that comes twice in an object is refused, since two readers could take different values",
        r#"{"status": 422, "json": {"detail": [{"loc": ["body", "example_int"]}]}, "upstream_called": false, "upstream": null}"#,
    ),
    (
        "r_hop_by_hop",
        "the gateway says of its own connection whether it stays open",
        r#"{"headers_absent": ["x-hop", "keep-alive", "proxy-authenticate", "upgrade", "trailer"]}"#,
    ),
    (
        "r_truncated_body",
        "the reply streams: its header has left when the cut is seen, so the client sees the cut, too",
        r#"{"status": 200, "cut": true}"#,
    ),
];

const NOT_COERCED: &str = "the service's number is not turned into a text";
const SENT_ONCE: &str = "each field is sent once";
const SENT_ONCE_UPSTREAM: &str = r#"{"upstream": {
    "method": "POST", "path": "/v1/form_data", "query": "",
    "form": {"urlencoded": [["username", "u"], ["password", "p"]]}
}}"#;

#[test]
fn the_gateway_does_what_the_cases_ask() {
    let cases = case::load();
    let stage = Stage::set();
    let mut wrong = stale(&cases);
    let (mut passed, mut left_out) = (0, 0);
    for case in &cases {
        let faults = replayed(&stage, case);
        match LEFT_OUT.iter().find(|(name, _)| *name == case.name) {
            Some(_) if faults.is_empty() => wrong.push(format!("{}: is left out, but passes", case.name)),
            Some(_) => left_out += 1,
            None if faults.is_empty() => passed += 1,
            None => wrong.push(format!("{} ({}): {}", case.name, case.group, faults.join("\n    "))),
        }
    }
    println!("compat: {} cases, {passed} pass, {left_out} left out, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {} cases are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Cases to be fixed whose recorded outcome was right all the same: how it came about was not.
const RIGHT_BY_ACCIDENT: &[&str] = &["r_json_bigint", "f_default"];

/// The checks against the recording itself: what was kept passes them, what has to be fixed does not.
#[test]
fn the_checks_tell_what_was_kept_from_what_has_to_be_fixed() {
    let mut wrong = Vec::new();
    for case in case::load() {
        let recorded = case.recorded();
        let outcome = Outcome { response: &recorded.response, upstream: &recorded.upstream, warned: false };
        let faults = faults(&case, &case.expect, &outcome);
        let right = case.verdict == Verdict::Keep || RIGHT_BY_ACCIDENT.contains(&case.name.as_str());
        if faults.is_empty() != right {
            wrong.push(format!("{} {:?}: {faults:?}", case.name, case.verdict));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the gateway's answer to a case.
fn replayed(stage: &Stage, case: &Case) -> Vec<String> {
    let (response, upstream) = match stage.play(case) {
        Ok(played) => played,
        Err(error) => return vec![format!("no response: {error}")],
    };
    let expect = amended(case);
    let warned = expect.contains_key("config_warning") && stage.warns(case);
    faults(case, &expect, &Outcome { response: &response, upstream: &upstream, warned })
}

/// What is expected of a case here. A member amended to null is taken out.
fn amended(case: &Case) -> Map<String, Value> {
    let mut expect = case.expect.clone();
    for (_, _, members) in AMENDED.iter().filter(|(name, ..)| *name == case.name) {
        let members: Map<String, Value> = serde_json::from_str(members).expect("AMENDED holds JSON objects");
        expect.extend(members);
        expect.retain(|key, value| !value.is_null() || key == "json");
    }
    expect
}

/// Entries of the two lists that name no case, or change nothing.
fn stale(cases: &[Case]) -> Vec<String> {
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let listed = LEFT_OUT.iter().map(|(name, _)| *name).chain(AMENDED.iter().map(|(name, ..)| *name));
    let unknown = listed.filter(|name| !names.contains(name)).map(|name| format!("{name}: there is no such case"));
    let idle = |case: &&Case| AMENDED.iter().any(|(name, ..)| *name == case.name) && amended(case) == case.expect;
    unknown.chain(cases.iter().filter(idle).map(|case| format!("{}: is amended to the same", case.name))).collect()
}
