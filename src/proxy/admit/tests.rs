//! Admission without a server: a configuration, a request's header, and what becomes of it.

use http::header::CONTENT_LENGTH;

use super::*;
use crate::config::{Color, load_text};
use crate::gateway::{Surroundings, compile};
use crate::proxy::exchange::InFlight;
use crate::telemetry::{AccessLog, Telemetry};

/// The keys are `alice` and `bob`.
const CONFIG: &str = "
version: 1
listeners: [{ address: 127.0.0.1:0 }]
services: { users: { url: 'http://127.0.0.1:8002/api' } }
authenticators:
  key: { api_key: { header: x-api-key } }
  query-key: { api_key: { query: key } }
plans:
  free: { total: 2/hour, each_route: 5/hour }
  gold: { total: 100/second }
consumers:
  alice: { plan: free, api_keys: [{ sha256: 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90 }] }
  bob: { plan: gold, api_keys: [{ sha256: 81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9 }] }
routes:
  - name: user
    method: GET
    gateway_path: /users/{id}
    service: users
    service_path: /v1/users/{id}?from={id}
    path_params: { id: { type: integer } }
    query_params: { limit: { type: integer, maximum: 100, default: 20 } }
    auth: public
  - { name: mine, method: GET, gateway_path: /mine, service: users, auth: [key, query-key] }
  - { name: file, method: GET, gateway_path: '/files/{name}', service: users, auth: public }
  - { name: raw, method: GET, gateway_path: '/raw/{name}', service: users, auth: public, encoded_slash: forward }
  - name: order
    method: POST
    gateway_path: /orders
    service: users
    auth: public
    body_params: { count: { type: integer } }
";

fn state() -> State {
    let telemetry = Arc::new(Telemetry::new("test", ""));
    let lookup = |_: &str, port| Ok(vec![std::net::SocketAddr::from(([127, 0, 0, 1], port))]);
    let surroundings = Surroundings { telemetry: &telemetry, lookup: &lookup, generation: 1, flood: None };
    let (loading, mut report, sources) = load_text("test.yaml", CONFIG);
    let gateway =
        loading.whole().and_then(|loaded| compile(&loaded.config, &loaded.text_hash, "{}", &surroundings, &mut report));
    let gateway = gateway.unwrap_or_else(|| panic!("{}", report.render(&sources, Color::Never)));
    State::new(gateway, telemetry, AccessLog::open("off").unwrap())
}

/// Sends `GET /path`, with header lines behind it, through admission, and says what came of it in a few words.
fn sent(state: &State, lines: &str) -> String {
    let mut lines = lines.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = http::Request::builder().method(method).uri(target).header("host", "api.example.com");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let request = Request {
        parts: &parts,
        target: target.as_bytes(),
        raw: Bytes::new(),
        peer: IpAddr::from([192, 0, 2, 1]),
        body: if length { Announced::Body } else { Announced::Nothing },
    };
    let mut exchange = Exchange::begin(state.gateway.load_full(), InFlight::enter(&state.in_flight));
    match admit(state, &request, &mut exchange) {
        Ok(Decision::Forward(admission)) => {
            let who = exchange.trail.consumer.map_or(String::new(), |consumer| format!(" as {}", consumer.name));
            format!("{}{who}", String::from_utf8_lossy(&admission.service_target))
        }
        Ok(Decision::ReadBody(_)) => "reads the body".to_owned(),
        Ok(Decision::Options(allow)) => format!("options {}", allow.to_str().unwrap()),
        Err(Rejection::Contract(violations)) => format!("422 {}", violations.len()),
        Err(rejection) => format!("{} {}", rejection.status(Format::Problem), rejection.code()),
    }
}

#[test]
fn a_request_is_forwarded_as_declared_or_refused_for_the_first_reason() {
    let state = state();
    for (request, expected) in [
        ("GET /users/7", "/api/v1/users/7?from=7&limit=20"),
        ("GET /users/7?limit=3&debug=1", "/api/v1/users/7?from=7&limit=3"),
        ("GET /us%65rs/7", "/api/v1/users/7?from=7&limit=20"),
        ("GET /users/x?limit=101", "422 2"),
        ("HEAD /users/7", "/api/v1/users/7?from=7&limit=20"),
        ("POST /users/7", "405 method-not-allowed"),
        ("get /users/7", "405 method-not-allowed"),
        ("OPTIONS /users/7", "options GET, HEAD, OPTIONS"),
        ("GET /nothing", "404 not-found"),
        ("GET /users/", "404 not-found"),
        ("GET /users/../mine", "400 malformed-path"),
        ("GET /files/a%2Fb", "400 malformed-path"),
        ("GET /raw/a%2fb", "/api/raw/a%2Fb"),
        ("GET /raw/%2e%2e%2fb", "400 malformed-path"),
        ("GET /files/%3Fx%23", "/api/files/%3Fx%23"),
        ("POST /orders\ncontent-length: 9\ncontent-type: application/json", "reads the body"),
        ("POST /orders\ncontent-length: 9\ncontent-type: text/plain", "415 unsupported-media-type"),
        ("POST /orders\ncontent-length: 9\ncontent-encoding: gzip", "415 unsupported-media-type"),
        ("POST /orders", "422 1"),
        ("GET /users/7\ncontent-length: 5\ncontent-length: 5", "400 ambiguous-framing"),
        ("GET /users/7\ntransfer-encoding: gzip, chunked", "501 transfer-coding"),
    ] {
        assert_eq!(sent(&state, request), expected, "{request}");
    }
}

#[test]
fn a_key_finds_its_consumer_and_never_reaches_the_service() {
    let state = state();
    for (request, expected) in [
        ("GET /mine", "401 credential-missing"),
        ("GET /mine\nx-api-key: eve", "401 credential-unknown"),
        ("GET /mine\nx-api-key: bob", "/api/mine as bob"),
        ("GET /mine?key=bob", "/api/mine as bob"),
        ("GET /mine?key=bob\nx-api-key: bob", "400 credential-ambiguous"),
        ("GET /mine\nx-api-key: bob\nx-api-key: bob", "400 credential-ambiguous"),
    ] {
        assert_eq!(sent(&state, request), expected, "{request}");
    }
}

#[test]
fn a_refused_credential_spends_nothing_and_a_limit_refuses_the_next() {
    let state = state();
    for _ in 0..3 {
        assert_eq!(sent(&state, "GET /mine\nx-api-key: eve"), "401 credential-unknown");
    }
    for expected in ["/api/mine as alice", "/api/mine as alice", "429 quota-exceeded", "429 quota-exceeded"] {
        assert_eq!(sent(&state, "GET /mine\nx-api-key: alice"), expected);
    }
    assert_eq!(sent(&state, "GET /mine\nx-api-key: bob"), "/api/mine as bob");
}
