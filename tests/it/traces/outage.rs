//! A collector that is down, slow or busy; the end of the process; reloads.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::{Value, json};

use super::collector::{Collector, protobuf, taken};
use super::{Stage, route, traces};
use crate::process::instance::{Instance, config, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, request};
use crate::support::origin::{Origin, Reply, Unreachable};

/// A gateway whose spans go to this collector.
fn stage(collector: Collector, more: Value) -> Stage {
    let origin = Origin::json("{}");
    let mut file = config(origin.address(), json!({ "routes": [route("open", json!({}))] }));
    file["traces"] = traces(&collector, &more);
    let gateway = Instance::start(&file);
    Stage { collector, origin, gateway }
}

/// So many requests, each of two spans.
fn send(gateway: &Instance, count: usize) {
    let mut client = Client::connect(gateway.public);
    for _ in 0..count {
        assert_eq!(client.ask(&request("GET", "/open", &[], b"")).expect("a response").status, 200);
    }
}

fn dropped(gateway: &Instance, reason: &str) -> f64 {
    gateway.metric(&format!("tollgate_spans_dropped_total{{reason=\"{reason}\"}}")).expect("a counter")
}

fn exported(gateway: &Instance) -> f64 {
    gateway.metric("tollgate_spans_exported_total").expect("a counter")
}

fn answer_once(number: usize, first: &str) -> Reply {
    if number == 0 { Reply::raw(first.to_owned()) } else { taken() }
}

#[test]
fn a_busy_collector_gets_the_batch_when_it_wants_it() {
    let busy = |status: u16| {
        move |number: usize, _: &_| {
            answer_once(number, &format!("HTTP/1.1 {status} -\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n"))
        }
    };
    for status in [429, 503] {
        let stage = stage(Collector::answering(busy(status)), json!({}));
        send(&stage.gateway, 1);
        assert!(eventually(|| stage.collector.batches() == 1));
        let refused = Instant::now();
        assert!(eventually(|| exported(&stage.gateway) == 2.0));
        assert!(refused.elapsed() > Duration::from_millis(1900), "{:?}", refused.elapsed());
        let bodies: Vec<Vec<u8>> = stage.collector.requests().into_iter().map(|request| request.body).collect();
        assert!(bodies.len() == 2 && bodies[0] == bodies[1], "the same spans again");
        stage.gateway.logged(&format!("traces cannot be sent: the collector answered with status {status}"));
        stage.gateway.logged("traces are sent again");
    }
}

#[test]
fn what_a_collector_refuses_is_dropped_and_counted_and_not_sent_again() {
    for (reply, refused, why) in [
        (Reply::json(400, "{}"), 2.0, "status 400"),
        (Reply::json(401, "{}"), 2.0, "status 401"),
        (Reply::raw("HTTP/1.1 302 -\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"), 2.0, "status 302"),
        (partly(1), 1.0, "it rejects 1 spans: too old"),
        (partly(9), 2.0, "it rejects 2 spans: too old"),
    ] {
        let stage = stage(Collector::answering(move |_, _| reply.clone()), json!({}));
        send(&stage.gateway, 1);
        assert!(eventually(|| dropped(&stage.gateway, "refused") == refused), "{why}");
        stage.gateway.logged(why);
        assert_eq!((exported(&stage.gateway), stage.collector.batches()), (2.0 - refused, 1), "{why}");
    }
}

fn partly(rejected_spans: i64) -> Reply {
    let partial_success =
        Some(ExportTracePartialSuccess { rejected_spans, error_message: "too old\n\u{1b}".to_owned() });
    protobuf(200, &ExportTraceServiceResponse { partial_success }.encode_to_vec())
}

#[test]
fn a_collector_that_is_away_holds_nobody_up_and_the_queue_has_its_bound() {
    let down = Unreachable::reserve();
    let origin = Origin::json("{}");
    let mut file = config(origin.address(), json!({ "routes": [route("open", json!({}))] }));
    file["traces"] =
        json!({ "endpoint": format!("http://{}", down.address()), "interval": "1ms", "batch": 10, "queue": 100 });
    let gateway = Instance::start(&file);
    send(&gateway, 200);
    // 400 spans: 100 wait, of which a batch of ten is tried again and again.
    assert!(eventually(|| dropped(&gateway, "queue") == 300.0), "{}", dropped(&gateway, "queue"));
    gateway.logged("traces cannot be sent: ");
    assert_eq!(gateway.log().matches("traces cannot be sent").count(), 1, "said once");
    assert_eq!(exported(&gateway), 0.0);
    leaves(gateway);
}

#[test]
fn a_slow_collector_holds_nobody_up() {
    let collector = Collector::answering(|_, _| Reply::raw(""));
    let stage = stage(collector, json!({ "timeout": "300ms", "interval": "1ms", "queue": 64, "batch": 64 }));
    send(&stage.gateway, 1);
    assert!(eventually(|| stage.collector.batches() == 1));
    send(&stage.gateway, 100);
    assert!(eventually(|| dropped(&stage.gateway, "queue") == 202.0 - 64.0));
    stage.gateway.logged("traces cannot be sent: timeout");
}

/// Ends a process in good order; its log.
fn leaves(mut gateway: Instance) -> String {
    gateway.signal("TERM");
    assert!(gateway.ended(DEADLINE).is_some_and(|status| status.success()), "{}", gateway.log());
    gateway.log()
}

#[test]
fn what_waits_is_sent_before_the_process_leaves() {
    let stage = stage(Collector::start(), json!({ "interval": "1h", "batch": 50 }));
    send(&stage.gateway, 60);
    // Two full batches of 50, and 20 that wait for others.
    assert!(eventually(|| exported(&stage.gateway) == 100.0), "{}", exported(&stage.gateway));
    leaves(stage.gateway);
    assert_eq!(stage.collector.spans().len(), 120);
    assert_eq!(stage.collector.batches(), 3);
}

#[test]
fn a_process_does_not_wait_long_for_a_collector_that_is_silent() {
    let stage = stage(Collector::answering(|_, _| Reply::raw("")), json!({}));
    send(&stage.gateway, 3);
    assert!(eventually(|| stage.collector.batches() == 1));
    let log = leaves(stage.gateway);
    assert!(log.contains("traces: 6 spans could not be sent before the process left"), "{log}");
}

#[test]
fn spans_go_compressed_and_with_headers_where_it_is_said() {
    let more =
        json!({ "compression": "gzip", "headers": { "authorization": "Bearer hidden-word", "X-Tenant": "blue" } });
    let stage = stage(Collector::start(), more);
    send(&stage.gateway, 1);
    assert!(eventually(|| stage.collector.spans().len() == 2));
    let request = stage.collector.requests().remove(0);
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("authorization", "Bearer hidden-word"),
        ("x-tenant", "blue"),
        ("user-agent", concat!("tollgate/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(request.values(name), [value.as_bytes()], "{name}");
    }
    let shown = stage.gateway.operator("GET", "/config", &[]).text();
    assert!(shown.contains("x-tenant") && !shown.contains("hidden-word") && !shown.contains("blue"), "{shown}");
    assert!(!stage.gateway.log().contains("hidden-word"));
}

#[test]
fn a_reload_changes_where_spans_go_and_whether_there_are_any() {
    let stage = stage(Collector::start(), json!({}));
    send(&stage.gateway, 1);
    assert!(eventually(|| stage.collector.spans().len() == 2));
    let other = Collector::start();
    let mut file = config(stage.origin.address(), json!({ "routes": [route("open", json!({}))] }));
    file["traces"] = traces(&other, &json!({ "service_name": "other" }));
    assert_eq!(stage.gateway.reload(&file)["result"], "published");
    send(&stage.gateway, 2);
    assert!(eventually(|| other.spans().len() == 4));
    assert_eq!(other.resource()["service.name"], "other");
    file.as_object_mut().unwrap().remove("traces");
    assert_eq!(stage.gateway.reload(&file)["result"], "published");
    send(&stage.gateway, 3);
    leaves(stage.gateway);
    assert_eq!((stage.collector.spans().len(), other.spans().len()), (2, 4));
}

#[test]
fn a_part_of_all_traces_is_recorded_whole() {
    let stage = stage(Collector::start(), json!({ "sample": "20%", "queue": 100_000 }));
    send(&stage.gateway, 2000);
    leaves(stage.gateway);
    let mut spans = std::collections::HashMap::<String, usize>::new();
    stage.collector.spans().into_iter().for_each(|span| *spans.entry(span.trace).or_default() += 1);
    // Six standard deviations of 18.
    assert!((293..=507).contains(&spans.len()), "{}", spans.len());
    assert!(spans.values().all(|count| *count == 2));
}
