//! What an access line costs the thread that serves the request: making it and leaving it to the writer.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, USER_AGENT};
use tollgate::telemetry::{ADMITTED, AccessLine, AccessLog, Field, Fields, Format, Shape};

fn line(headers: &HeaderMap) -> AccessLine<'_> {
    AccessLine {
        at: SystemTime::now(),
        trace_id: None,
        request_id: b"0198a1f4-7d2c-7c3e-9d4b-2f6a1e0c5b77",
        client: b"192.0.2.123",
        method: "GET",
        host: b"api.example.com",
        path: "/v1/users/1234567/orders",
        protocol: "HTTP/1.1",
        tls: None,
        route: Some("list-orders"),
        service: Some("orders"),
        target: Some("10.0.0.17:8002"),
        consumer: Some("alice"),
        plan: Some("gold"),
        status: 200,
        grpc_status: None,
        decision: ADMITTED,
        cache: None,
        observed: &[],
        observed_count: 0,
        refused_by: &[],
        would_refuse: &[],
        cause: None,
        bytes_in: 0,
        bytes_out: 1_234,
        total: Duration::from_micros(2_345),
        gateway: Duration::from_micros(31),
        queue: None,
        request_body: None,
        service_time: Some(Duration::from_micros(2_201)),
        response: Some(Duration::from_micros(113)),
        retries: 0,
        generation: 3,
        headers,
    }
}

fn access_log(criterion: &mut Criterion) {
    let log = AccessLog::open("/dev/null").unwrap_or_else(|fault| panic!("{fault}"));
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"));
    headers.insert("referer", HeaderValue::from_static("https://shop.example.com/orders?page=2"));
    let json = Shape { format: Format::Json, fields: Fields::ALL, headers: Vec::new() };
    let chosen = Shape {
        fields: [Field::Client, Field::Host, Field::Protocol].into_iter().fold(Fields::ALL, Fields::without),
        headers: vec![HeaderName::from_static("referer")],
        ..json.clone()
    };
    let text = Shape { format: Format::Text, ..json.clone() };
    for (name, shape) in [("JSON", &json), ("JSON, chosen members and a header", &chosen), ("text", &text)] {
        criterion.bench_function(&format!("access line/{name}"), |bencher| {
            bencher.iter(|| log.write(black_box(shape), black_box(&line(&headers))));
        });
    }
    println!("lost: {:?}", log.lost());
}

criterion_group!(benches, access_log);
criterion_main!(benches);
