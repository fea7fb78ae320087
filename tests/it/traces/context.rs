//! Whose trace is continued, and what a service is told.

use serde_json::{Value, json};

use super::{Stage, route};
use crate::process::instance::{Instance, config};
use crate::support::client::{ask, request};
use crate::support::origin::{Origin, Recorded, Reply};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// Trusts the tests, or nobody.
fn stage(more: Value, trusted: bool) -> Stage {
    let proxies = if trusted { json!(["127.0.0.0/8"]) } else { json!([]) };
    Stage::plain(more, json!({ "trusted_proxies": proxies }))
}

/// What the service gets for these fields: its `traceparent` in four parts, and its `tracestate`.
fn told(stage: &Stage, fields: &[(&str, &str)]) -> ([String; 4], Vec<String>) {
    stage.origin.take();
    assert_eq!(ask(stage.gateway.public, &request("GET", "/open", fields, b"")).status, 200);
    let seen = stage.origin.take().remove(0);
    let text = |name: &str| seen.values(name).iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let parents: Vec<String> = text("traceparent");
    assert_eq!(parents.len(), 1, "{parents:?}");
    let parts: Vec<String> = parents[0].split('-').map(str::to_owned).collect();
    assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [2, 32, 16, 2], "{parents:?}");
    (parts.try_into().expect("four parts"), text("tracestate"))
}

#[test]
fn a_trusted_proxys_trace_is_continued_with_the_gateway_in_between() {
    let stage = stage(json!({ "sample": "0%" }), true);
    let fields = [("traceparent", &*parent("01")), ("tracestate", "a=1,b=2"), ("tracestate", "c=3")];
    let ([version, trace, span, flags], state) = told(&stage, &fields);
    assert_eq!((version.as_str(), trace.as_str(), flags.as_str()), ("00", TRACE, "01"));
    assert_eq!(state, ["a=1,b=2,c=3"]);
    let spans = stage.collector.trace(TRACE);
    assert_eq!((spans[0].parent.as_str(), spans[0].flags, spans[0].state.as_str()), (SPAN, 0x301, "a=1,b=2,c=3"));
    assert_eq!((&spans[1].id, &spans[1].parent, spans[1].flags), (&span, &spans[0].id, 0x101));
    assert!(span != SPAN && spans[0].id != SPAN && spans[0].links.is_empty());
}

#[test]
fn what_a_trusted_proxy_does_not_record_is_not_recorded_here() {
    let stage = stage(json!({ "sample": "100%" }), true);
    let ([_, trace, span, flags], _) = told(&stage, &[("traceparent", &parent("00"))]);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
    assert_ne!(span, SPAN);
    // A request that is recorded comes after it.
    let ([_, trace, ..], _) = told(&stage, &[]);
    stage.collector.trace(&trace);
    assert!(stage.collector.spans().iter().all(|span| span.trace == trace));
}

#[test]
fn a_strangers_trace_ends_where_the_gateways_begins() {
    let all = stage(json!({}), false);
    let fields = [("traceparent", &*parent("01")), ("tracestate", "a=1")];
    let ([_, trace, _, flags], state) = told(&all, &fields);
    assert_eq!((flags.as_str(), state.len()), ("01", 0));
    assert_ne!(trace, TRACE);
    let spans = all.collector.trace(&trace);
    assert_eq!((spans[0].parent.as_str(), &spans[0].links[..]), ("", &[(TRACE.to_owned(), SPAN.to_owned())][..]));

    let none = stage(json!({ "sample": "0%" }), false);
    let ([_, trace, _, flags], state) = told(&none, &fields);
    assert_eq!((flags.as_str(), state.len()), ("00", 0));
    assert_ne!(trace, TRACE);
}

#[test]
fn who_is_believed_is_said_in_the_file() {
    for (parent_of, trusted, continued) in
        [("trusted", true, true), ("trusted", false, false), ("always", false, true), ("never", true, false)]
    {
        let stage = stage(json!({ "parent": parent_of }), trusted);
        let ([_, trace, ..], _) = told(&stage, &[("traceparent", &parent("01"))]);
        assert_eq!(trace == TRACE, continued, "{parent_of} {trusted}");
    }
}

#[test]
fn what_is_no_traceparent_begins_a_trace_without_its_state() {
    let stage = stage(json!({}), true);
    let (good, upper) = (parent("01"), parent("01").to_uppercase());
    for values in [
        vec![upper.as_str()],
        vec![good.as_str(), good.as_str()],
        vec!["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
        vec!["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        vec!["garbage"],
        vec![""],
    ] {
        let mut fields: Vec<(&str, &str)> = values.iter().map(|value| ("traceparent", *value)).collect();
        fields.push(("tracestate", "a=1"));
        let ([_, trace, ..], state) = told(&stage, &fields);
        assert_ne!(trace, TRACE, "{values:?}");
        assert!(state.is_empty(), "{values:?}: {state:?}");
    }
    // The trace goes on without a state that is none.
    let ([_, trace, ..], state) = told(&stage, &[("traceparent", &good), ("tracestate", "a=1,a=2")]);
    assert_eq!((trace.as_str(), state.len()), (TRACE, 0));
}

#[test]
fn each_request_has_a_trace_of_its_own() {
    let stage = stage(json!({}), false);
    let traces: std::collections::HashSet<String> = (0..50).map(|_| told(&stage, &[]).0[1].clone()).collect();
    assert_eq!(traces.len(), 50);
}

#[test]
fn a_route_that_lists_headers_or_edits_them_still_rules_what_its_service_gets() {
    let routes = json!([
        route("listed", json!({ "request_headers": { "allow": ["accept"] } })),
        route("without", json!({ "request_headers": { "remove": ["traceparent"] } })),
    ]);
    let stage = Stage::start(Origin::json("{}"), json!({}), json!({ "routes": routes }));
    for (path, there) in [("/listed", true), ("/without", false)] {
        ask(stage.gateway.public, &request("GET", path, &[("traceparent", &parent("01"))], b""));
        let seen = stage.origin.take().remove(0);
        assert_eq!(seen.values("traceparent").len(), usize::from(there), "{path}");
    }
}

#[test]
fn without_traces_the_clients_word_passes_and_nothing_is_said_of_one() {
    let origin = Origin::json("{}");
    let file = config(origin.address(), json!({ "routes": [route("open", json!({}))] }));
    let gateway = Instance::start(&file);
    for fields in [vec![], vec![("traceparent", "anything"), ("tracestate", "a=1")]] {
        ask(gateway.public, &request("GET", "/open", &fields, b""));
        let seen = origin.take().remove(0);
        let passed = |name: &str| {
            seen.values(name).iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
        };
        let sent = |name: &str| {
            fields.iter().filter(|(sent, _)| *sent == name).map(|(_, value)| (*value).to_owned()).collect::<Vec<_>>()
        };
        for name in ["traceparent", "tracestate"] {
            assert_eq!(passed(name), sent(name));
        }
    }
    let refused = ask(gateway.public, &request("GET", "/nowhere", &[], b""));
    assert!(refused.text().contains("request_id") && !refused.text().contains("trace_id"), "{}", refused.text());
    let line = gateway.line(|line| line.contains("/nowhere"));
    assert!(!line.contains("trace_id"), "{line}");
}

#[test]
fn an_auth_service_is_part_of_the_trace() {
    let auth = Origin::start(|_: &Recorded| Reply::raw("HTTP/1.1 200 -\r\nx-user: alice\r\ncontent-length: 0\r\n\r\n"));
    let origin = Origin::json("{}");
    let sections = json!({
        "authenticators": { "asked": { "forward_auth": {
            "url": format!("http://{}", auth.address()), "consumer_header": "x-user",
            "request_headers": ["authorization", "traceparent"],
        } } },
        "routes": [route("mine", json!({ "auth": ["asked"] }))],
    });
    let stage = Stage::start(origin, json!({}), sections);
    let fields = [("traceparent", &*parent("01"))];
    assert_eq!(ask(stage.gateway.public, &request("GET", "/mine", &fields, b"")).status, 200);
    let asked = auth.take().remove(0);
    let told = asked.values("traceparent");
    let [_, trace, span, _] = &std::str::from_utf8(told[0]).unwrap().split('-').collect::<Vec<_>>()[..] else {
        panic!("{told:?}")
    };
    let spans = stage.collector.trace(trace);
    let step = spans.iter().find(|span| span.name == "authenticate").expect("a step");
    assert_eq!((told.len(), step.id.as_str()), (1, *span));
    assert_eq!(spans[0].of("tollgate.consumer"), "asked:alice");
}
