//! Services that get HTTP/2: what they are sent, what comes back, and what happens when they leave or hang.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::over_http2;
use crate::raw::stage::Stage;
use crate::streams::Service as Plain;
use crate::support::client::{Client, request as bytes};
use crate::support::gateway::program;
use crate::support::http2::{Asked, Http2, Service, get, request, run, send, until, whole};
use crate::support::origin::Origin;

/// A gateway in front of a service at this address, which gets HTTP/2.
fn before(address: SocketAddr, mut service: Value, routes: Value) -> Stage {
    service["url"] = json!(format!("http://{address}/base"));
    service["protocol"] = json!("http2");
    Stage::set(Origin::json("{}"), routes, over_http2(json!({"services": {"origin": service}})))
}

fn any(more: Value) -> Value {
    let mut route = json!({
        "methods": ["GET", "POST"], "gateway_path": "/{*rest}", "body": "any", "query_params": "any", "max_body": "64MiB",
    });
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([route])
}

#[test]
fn clients_of_both_versions_reach_it() {
    let service = Service::echo();
    let stage = before(service.address, json!({}), any(json!({})));
    let large = vec![b'x'; 20 << 20];
    let mut client = stage.connect();
    for body in [&b""[..], b"abc", &large] {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let fields = [("te", "trailers"), ("x-a", "1"), ("connection", "x-gone"), ("x-gone", "1")];
        let answer = client.ask(&bytes(method, "/a?b=c", &fields, body)).unwrap();
        assert_eq!((answer.status, answer.body.len(), answer.cut), (200, body.len(), false));
        let uri = format!("http://{}/base/a?b=c", service.address);
        assert_eq!(answer.value("x-uri"), Some(uri.as_str()));
        assert_eq!(answer.value("x-heard-x-a"), Some("1"));
        assert_eq!(answer.value("x-heard-x-forwarded-host"), Some("gateway.test"));
        assert_eq!(answer.value("x-heard-via"), Some("1.1 tollgate"));
        for absent in ["host", "connection", "te", "x-gone", "transfer-encoding", "expect"] {
            assert_eq!(answer.value(&format!("x-heard-{absent}")), None, "{absent}");
        }
    }
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        for body in [&b""[..], b"abc", &large] {
            let method = if body.is_empty() { "GET" } else { "POST" };
            // Both ways at once: the answer comes whole only because the body goes on meanwhile.
            let answer = client.ask(request(method, "/a?b=c", &[]), body).await;
            assert_eq!((answer.status, answer.body.len()), (200, body.len()));
            assert_eq!(answer.value("x-heard-via"), Some("2.0 tollgate"));
        }
    });
}

#[test]
fn old_waiting_and_chunked_requests_reach_it() {
    let service = Service::echo();
    let stage = before(service.address, json!({}), any(json!({})));
    let mut client = stage.connect();
    let answer = client.ask(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((answer.status, answer.value("transfer-encoding")), (200, None));
    let mut client = stage.connect();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    client.send(b"abc");
    let answer = client.response().unwrap();
    assert_eq!((answer.status, answer.text().as_str(), &answer.interim[..]), (200, "abc", &[100][..]));
    assert_eq!(answer.value("x-heard-expect"), None);
    let answer =
        client.ask(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
}

#[test]
fn checked_bodies_reach_it_and_its_replies_are_checked() {
    let service = Service::echo();
    let routes = json!([{
        "method": "POST", "gateway_path": "/", "body_params": {"a": {"type": "integer"}},
        "response_model": {"schema": {"type": "object"}},
    }]);
    let stage = before(service.address, json!({}), routes);
    let kind = [("content-type", "application/json")];
    let answer = stage.ask(&bytes("POST", "/", &kind, br#"{"a": 1, "b": 2}"#));
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"a":1}"#));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let answer = client.ask(request("POST", "/", &kind), br#"{"a": 1, "b": 2}"#).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"a":1}"#));
    });
}

#[test]
fn trailers_reach_clients_that_can_take_them() {
    let service = Service::start(|asked: Asked| {
        asked.reply(200, &[], b"body", &[("x-sum", "1"), ("x-secret", "2"), ("grpc-status", "0")])
    });
    for (more, names) in [
        (json!({"response_headers": {"remove": ["x-secret"]}}), vec!["grpc-status", "x-sum"]),
        (json!({"override_headers": false}), vec!["grpc-status"]),
    ] {
        let stage = before(service.address, json!({}), any(more));
        run(async {
            let answer = Http2::connect(stage.gateway.address()).await.fetch("/").await;
            assert_eq!(answer.text(), "body");
            let trailers = answer.trailers.unwrap();
            let mut got: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
            got.sort_unstable();
            assert_eq!(got, names);
        });
        assert_eq!(stage.ask(&bytes("GET", "/", &[], b"")).text(), "body");
    }
}

#[test]
fn requests_share_a_connection() {
    let service = Service::start(|asked: Asked| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        asked.reply(200, &[], b"{}", &[]).await;
    });
    let stage = before(service.address, json!({}), any(json!({})));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        client.fetch("/first").await;
        let mut open = Vec::new();
        for _ in 0..50 {
            open.push(client.begin(get("/"), true).await.unwrap().0);
        }
        for response in open {
            assert_eq!(whole(response).await.unwrap().status, 200);
        }
    });
    // Each worker may have one that another is just about to take a stream of.
    assert!(service.connections() <= 8, "{} connections", service.connections());
}

#[test]
fn what_a_leaving_service_has_not_looked_at_is_sent_again() {
    // The first connection takes one request and refuses what comes after it.
    let service = Service::start_connections(|number, stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            if number == 0 && request.uri().path().ends_with("/refused") {
                answer.send_reset(h2::Reason::REFUSED_STREAM);
                connection.graceful_shutdown();
                continue;
            }
            let (parts, body) = request.into_parts();
            let request = http::Request::from_parts(parts, ());
            let mut asked = Asked { request, body, answer, connection: number };
            tokio::spawn(async move {
                if let Ok((body, _)) = crate::support::http2::read(&mut asked.body).await {
                    asked.reply(200, &[], &body, &[]).await;
                }
            });
        }
    });
    let stage = before(service.address, json!({}), any(json!({})));
    let answer = stage.ask(&bytes("POST", "/first", &[], b"one"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    let answer = stage.ask(&bytes("POST", "/refused", &[], b"two"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "two"), "a POST that nobody has looked at");
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let answer = client.ask(request("POST", "/third", &[]), b"three").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "three"));
    });
}

#[test]
fn a_connection_that_hangs_is_left() {
    let service = Service::start(|asked: Asked| async move {
        if asked.connection > 0 {
            return asked.reply(200, &[], b"{}", &[]).await;
        }
        std::future::pending().await
    });
    let stage = before(service.address, json!({"timeouts": {"response": "300ms"}}), any(json!({})));
    let statuses = [0; 3].map(|_| stage.ask(&bytes("GET", "/", &[], b"")).status);
    assert_eq!(statuses, [504, 200, 200]);
}

#[test]
fn a_body_may_take_its_time_and_a_silent_service_may_not() {
    let service = Service::start(|mut asked: Asked| async move {
        if asked.request.uri().path().ends_with("/silent") {
            return std::future::pending().await;
        }
        if let Ok((body, _)) = crate::support::http2::read(&mut asked.body).await {
            asked.reply(200, &[], &body, &[]).await;
        }
    });
    let timeouts = json!({"timeouts": {"response": "600ms", "idle": "600ms"}});
    let stage = before(service.address, timeouts, any(json!({})));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let (response, mut stream) = client.begin(request("POST", "/slow", &[]), false).await.unwrap();
        for _ in 0..8 {
            send(&mut stream, Bytes::from_static(b"x"), false).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(whole(response).await.unwrap().text(), "xxxxxxxx");
        assert_eq!(client.ask(request("POST", "/silent", &[]), b"x").await.status, 504);
    });
    // Also where the next request is there already, so that nobody reads the connection.
    let mut client = stage.connect();
    let silent = bytes("POST", "/silent", &[], b"x");
    client.send(&[silent.clone(), silent].concat());
    assert_eq!(client.response().unwrap().status, 504);
}

#[test]
fn a_service_of_http1_is_a_service_that_cannot_be_used() {
    let service = Plain::start(|_, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 64]);
    });
    let stage = before(service.address, json!({}), any(json!({})));
    let status = stage.ask(&bytes("GET", "/", &[], b"")).status;
    assert!([502, 503].contains(&status), "{status}");
}

#[test]
fn it_is_asked_for_its_health_in_its_own_protocol() {
    let well = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&well);
    let service = Service::start(move |asked: Asked| {
        let is_check = asked.request.uri().path() == "/health";
        let status = if is_check && !told.load(Ordering::SeqCst) { 500 } else { 200 };
        async move { asked.reply(status, &[], b"{}", &[]).await }
    });
    let health = json!({"path": "/health", "interval": "100ms", "timeout": "100ms", "healthy": 1, "unhealthy": 1});
    let stage = before(service.address, json!({"health": health}), any(json!({})));
    well.store(false, Ordering::SeqCst);
    assert!(stage.gateway.logged(|line| line.contains("target is unhealthy") && line.contains("status-500")).is_some());
    well.store(true, Ordering::SeqCst);
    assert!(stage.gateway.logged(|line| line.contains("target is healthy")).is_some());
    assert!(run(until(|| Client::connect(stage.gateway.address())
        .ask(&bytes("GET", "/", &[], b""))
        .is_ok_and(|answer| answer.status == 200))));
}

#[test]
fn what_becomes_of_a_request_can_be_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    let config = json!({
        "version": 1, "listeners": [{"address": "127.0.0.1:8080", "http2": true}],
        "services": {"calls": {"url": "http://127.0.0.1:1", "protocol": "http2"}},
        "routes": [{"name": "all", "method": "GET", "gateway_path": "/a", "service": "calls", "auth": "public"}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let output = program().arg("explain").arg(&file).args(["GET", "/a"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("Forwarded."), "{said}");
}
