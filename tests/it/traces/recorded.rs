//! The spans of requests that end in all kinds of ways.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use super::collector::{Collector, Span};
use super::{Stage, route};
use crate::process::instance::{consumer, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, Response, ask, request};
use crate::support::multipart::{self, Part};
use crate::support::origin::{Origin, Recorded, Reply, Unreachable};

fn answer(request: &Recorded) -> Reply {
    match request.path() {
        "/v1/fails" => Reply::json(500, "{}"),
        "/v1/broken" => Reply::raw("not HTTP\r\n\r\n").closing(),
        _ => Reply::json(200, "{}"),
    }
}

fn stage(more: Value, down: &Unreachable) -> Stage {
    let origin = Origin::start(answer);
    let here = origin.address().to_string();
    let typed = json!({ "gateway_path": "/users/{id}", "service_path": "/users/{id}?from={id}",
                        "path_params": { "id": { "type": "integer" } }, "query_params": { "key": { "type": "string", "optional": true } } });
    let sections = json!({
        "services": {
            "origin": { "url": format!("http://{here}/v1") },
            "partly": { "targets": [{ "address": down.address().to_string() }, { "address": here }] },
            "down": { "url": format!("http://{}", down.address()) },
        },
        "authenticators": { "key": { "api_key": { "header": "x-api-key" } } },
        "plans": { "free": { "total": "1000/hour" } },
        "consumers": { "alice": consumer("alice", "free") },
        "routes": [
            route("user", typed),
            route("mine", json!({ "auth": ["key"] })),
            route("fails", json!({})),
            route("broken", json!({})),
            route("partly", json!({ "service": "partly" })),
            route("down", json!({ "service": "down" })),
            route("once", json!({ "limits": [{ "rate": "1/hour", "by": "route" }] })),
            route("checked", json!({ "method": "POST", "body_params": { "a": { "type": "integer" } } })),
            route("upload", json!({ "method": "POST", "form_params": { "file": { "type": "file" } } })),
        ],
    });
    Stage::start(origin, more, sections)
}

/// The trace that an access line names for this answer.
fn trace_of(stage: &Stage, answer: &Response) -> String {
    let id = answer.value("x-request-id").expect("every answer has an id");
    let line: Value = serde_json::from_str(&stage.gateway.line(|line| line.contains(id))).expect("a line is JSON");
    line["trace_id"].as_str().expect("a trace").to_owned()
}

fn call(stage: &Stage, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> (Response, Vec<Span>) {
    let answer = ask(stage.gateway.public, &request(method, target, fields, body));
    let trace = trace_of(stage, &answer);
    let spans = stage.collector.trace(&trace);
    for part in &spans[1..] {
        assert_eq!(part.parent, spans[0].id, "{spans:#?}");
        assert!(part.began >= spans[0].began && part.ended <= spans[0].ended, "{spans:#?}");
    }
    (answer, spans)
}

/// Every attribute of a span but those that differ each time.
fn attributes(span: &Span) -> Value {
    let fixed = span.attributes.iter().filter(|(name, _)| *name != "tollgate.request.id");
    fixed.map(|(name, value)| (name.clone(), json!(value))).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn a_request_and_its_service_are_told_in_the_words_of_opentelemetry() {
    let down = Unreachable::reserve();
    let stage = stage(
        json!({ "service_name": "edge", "resource_attributes": { "deployment.environment.name": "test" } }),
        &down,
    );
    let fields = [("user-agent", "test/1"), ("x-secret", "hidden-field")];
    let (answer, spans) = call(&stage, "GET", "/users/42?key=hidden-value", &fields, b"");
    assert_eq!((answer.status, spans.len()), (200, 2), "{spans:#?}");
    let origin = stage.origin.address();
    assert_eq!((spans[0].name.as_str(), spans[0].kind, spans[0].failed), ("GET /users/{id}", SpanKind::Server, false));
    assert_eq!((spans[0].parent.as_str(), spans[0].flags), ("", 0x101));
    assert_eq!(
        attributes(&spans[0]),
        json!({
            "http.request.method": "GET", "http.route": "/users/{id}", "url.path": "/users/42", "url.scheme": "http",
            "http.response.status_code": "200", "client.address": "127.0.0.1", "network.peer.address": "127.0.0.1",
            "server.address": "gateway.test", "user_agent.original": "test/1", "network.protocol.version": "1.1",
            "tollgate.route": "user", "tollgate.service": "origin", "tollgate.generation": "1",
        })
    );
    assert_eq!(spans[0].of("tollgate.request.id"), answer.value("x-request-id").unwrap());
    assert_eq!((spans[1].name.as_str(), spans[1].kind), ("GET /v1/users/{id}", SpanKind::Client));
    assert_eq!(
        attributes(&spans[1]),
        json!({
            "http.request.method": "GET", "http.response.status_code": "200", "url.template": "/v1/users/{id}",
            "url.full": format!("http://{origin}/v1/users/42"), "server.address": "127.0.0.1",
            "server.port": origin.port().to_string(), "network.peer.address": "127.0.0.1",
            "network.peer.port": origin.port().to_string(), "tollgate.service": "origin",
        })
    );
    assert!(!format!("{:?}", stage.collector.spans()).contains("hidden"));
    let resource = stage.collector.resource();
    assert_eq!((resource["service.name"].as_str(), resource["deployment.environment.name"].as_str()), ("edge", "test"));
}

/// What is asked, its status, whether its span failed, some of its attributes, and its parts.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, bool, Value, &'a [&'a str]);

#[test]
fn each_way_to_end_has_its_spans() {
    let down = Unreachable::reserve();
    let stage = stage(json!({}), &down);
    let json_body = [("content-type", "application/json")];
    let key = [("x-api-key", "key-alice")];
    assert_eq!(call(&stage, "GET", "/once", &[], b"").0.status, 200);
    let rows: [Row<'_>; 12] = [
        (
            "GET",
            "/mine",
            &key,
            b"",
            200,
            false,
            json!({"tollgate.consumer": "alice", "tollgate.plan": "free"}),
            &["authenticate", "GET /v1/mine"],
        ),
        (
            "GET",
            "/mine",
            &[],
            b"",
            401,
            false,
            json!({"tollgate.rejection": "credential-missing", "http.route": "/mine"}),
            &["authenticate"],
        ),
        (
            "GET",
            "/nowhere",
            &[],
            b"",
            404,
            false,
            json!({"tollgate.rejection": "not-found", "url.path": "/nowhere"}),
            &[],
        ),
        (
            "BREW",
            "/once",
            &[],
            b"",
            405,
            false,
            json!({"http.request.method": "_OTHER", "http.request.method_original": "BREW"}),
            &[],
        ),
        ("GET", "/users/x", &[], b"", 422, false, json!({"tollgate.rejection": "contract-violated"}), &[]),
        ("GET", "/once", &[], b"", 429, false, json!({"tollgate.rejection": "quota-exceeded"}), &[]),
        ("GET", "/fails", &[], b"", 500, true, json!({"error.type": "500"}), &["GET /v1/fails"]),
        (
            "GET",
            "/broken",
            &[],
            b"",
            502,
            true,
            json!({"error.type": "service-reply", "tollgate.rejection": "service-reply"}),
            &["GET /v1/broken"],
        ),
        ("GET", "/down", &[], b"", 503, true, json!({"error.type": "service-unavailable"}), &["GET /down"]),
        ("POST", "/checked", &json_body, b"{\"a\": 1}", 200, false, json!({}), &["check body", "POST /v1/checked"]),
        ("POST", "/checked", &json_body, b"{\"a\": \"x\"}", 422, false, json!({}), &["check body"]),
        ("DELETE", "/checked", &[], b"", 405, false, json!({"http.request.method": "DELETE"}), &[]),
    ];
    for (method, target, fields, body, status, failed, some, parts) in rows {
        let (answer, spans) = call(&stage, method, target, fields, body);
        assert_eq!((answer.status, spans[0].failed), (status, failed), "{method} {target}: {spans:#?}");
        assert_eq!(spans[0].of("http.response.status_code"), status.to_string(), "{method} {target}");
        for (name, value) in some.as_object().unwrap() {
            assert_eq!(spans[0].of(name), value.as_str().unwrap(), "{method} {target}: {spans:#?}");
        }
        let names: Vec<&str> = spans[1..].iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, parts, "{method} {target}");
        let told =
            status < 400 || serde_json::from_slice::<Value>(&answer.body).unwrap()["trace_id"] == *spans[0].trace;
        assert!(told || target == "/fails", "{}", answer.text());
    }
}

#[test]
fn an_upload_is_read_and_checked_in_a_step() {
    let down = Unreachable::reserve();
    let stage = stage(json!({}), &down);
    let form = multipart::written(&[Part::file("file", "a.txt", "text/plain", b"content")], "edge");
    let content_type = [("content-type", "multipart/form-data; boundary=edge")];
    let (answer, spans) = call(&stage, "POST", "/upload", &content_type, &form);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(spans[1..].iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["check body", "POST /v1/upload"]);
}

#[test]
fn every_attempt_to_reach_a_service_has_its_span() {
    let down = Unreachable::reserve();
    let stage = stage(json!({}), &down);
    // The targets take turns: one of two requests begins with the one that is down.
    let traces: Vec<Vec<Span>> = (0..2).map(|_| call(&stage, "GET", "/partly", &[], b"").1).collect();
    let retried = traces.iter().find(|spans| spans.len() == 3).expect("one was retried");
    let (failed, good) = (&retried[1], &retried[2]);
    assert_eq!((failed.of("server.port"), failed.failed), (down.address().port().to_string().as_str(), true));
    assert_eq!((failed.of("error.type"), failed.of("http.request.resend_count")), ("ConnectRefused", ""));
    assert_eq!((good.of("server.port"), good.failed), (stage.origin.address().port().to_string().as_str(), false));
    assert_eq!((good.of("http.request.resend_count"), good.of("http.response.status_code")), ("1", "200"));
    assert!(failed.ended <= good.began && failed.id != good.id);
    let parents = stage.origin.requests();
    let told: Vec<&str> = parents
        .iter()
        .flat_map(|seen| seen.values("traceparent"))
        .map(|value| std::str::from_utf8(value).unwrap())
        .collect();
    assert!(told.contains(&format!("00-{}-{}-01", good.trace, good.id).as_str()), "{told:?}");
}

#[test]
fn what_a_stranger_chooses_is_cut() {
    let down = Unreachable::reserve();
    let stage = stage(json!({}), &down);
    let long = "x".repeat(4000);
    let (_, spans) = call(&stage, "GET", &format!("/{long}"), &[("user-agent", &long)], b"");
    for name in ["url.path", "user_agent.original"] {
        assert_eq!(spans[0].of(name).len(), 256, "{name}");
    }
}

#[test]
fn an_error_of_a_request_that_is_not_recorded_is_told_all_the_same() {
    let down = Unreachable::reserve();
    for (errors, told) in [("always", true), ("sampled", false)] {
        let stage = stage(json!({ "sample": "0%", "errors": errors }), &down);
        for target in ["/users/1", "/nowhere", "/users/x", "/fails", "/down"] {
            ask(stage.gateway.public, &request("GET", target, &[], b""));
        }
        if !told {
            // What was offered before is sent before the process leaves.
            assert_eq!(ends(stage).batches(), 0);
            continue;
        }
        assert!(eventually(|| stage.collector.spans().len() == 4), "{:#?}", stage.collector.spans());
        let spans = stage.collector.spans();
        let statuses: Vec<&str> = spans.iter().map(|span| span.of("http.response.status_code")).collect();
        assert_eq!(statuses, ["500", "500", "503", ""], "{spans:#?}");
        assert!(spans.iter().all(|span| span.flags == 0x100 && span.failed), "{spans:#?}");
        let traces = stage.origin.requests();
        let told = traces.iter().filter(|seen| seen.path() == "/v1/fails").flat_map(|seen| seen.values("traceparent"));
        let expected = format!("00-{}-{}-00", spans[1].trace, spans[1].id);
        assert_eq!(told.collect::<Vec<_>>(), [expected.as_bytes()]);
    }
}

/// Ends the gateway in good order; its collector.
fn ends(stage: Stage) -> Collector {
    let Stage { mut gateway, collector, .. } = stage;
    gateway.signal("TERM");
    assert!(gateway.ended(DEADLINE).is_some(), "it does not leave");
    collector
}

#[test]
fn a_share_of_nothing_records_nothing() {
    let down = Unreachable::reserve();
    let stage = stage(json!({ "sample": "0%" }), &down);
    let parent = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    // One in ten reaches the service.
    let ten = [request("GET", "/users/1", &parent, b""), request("GET", "/users/x", &parent, b"").repeat(9)].concat();
    let hundred = ten.repeat(10);
    let send = || {
        let mut client = Client::connect(stage.gateway.public).patient(10 * DEADLINE);
        for _ in 0..250 {
            client.send(&hundred);
            for number in 0..100 {
                let status = client.response().expect("a response").status;
                assert_eq!(status, if number % 10 == 0 { 200 } else { 422 });
            }
        }
    };
    std::thread::scope(|scope| {
        let senders = [(); 4].map(|()| scope.spawn(send));
        senders.into_iter().for_each(|sender| sender.join().expect("all are answered"));
    });
    let (exported, batches) = (stage.gateway.metric("tollgate_spans_exported_total"), stage.collector.batches());
    assert_eq!((exported, batches), (Some(0.0), 0));
    assert_eq!(ends(stage).batches(), 0);
}
