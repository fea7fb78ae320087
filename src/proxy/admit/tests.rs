//! Admission without a server: a configuration, a request's header, and what becomes of it.

use std::net::IpAddr;

use super::*;
use crate::config::{Color, load_text};
use crate::gateway::key_source::KeySources;
use crate::gateway::names::Resolver;
use crate::gateway::tls::Entrance;
use crate::gateway::{Surroundings, compile};
use crate::policy::token::tests::signer;
use crate::proxy::Listening;
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
  - { name: any, method: GET, gateway_path: /any, service: users, service_path: '/any?from=here&a+b', query_params: any, auth: public }
  - { name: forward, method: GET, gateway_path: /forward, service: users, service_path: '/f?from=here', undeclared: forward, auth: public }
  - { name: observe, method: GET, gateway_path: /observe, service: users, service_path: '/o?from=here', mode: observe, auth: public }
  - { name: reject, method: GET, gateway_path: /reject, service: users, service_path: '/r?from=here', undeclared: reject, auth: public }
  - name: order
    method: POST
    gateway_path: /orders
    service: users
    auth: public
    body_params: { count: { type: integer } }
";

fn state() -> State {
    state_of(CONFIG)
}

/// A process with this configuration, whose names are all known.
pub(in crate::proxy) fn state_of(config: &str) -> State {
    let telemetry = Arc::new(Telemetry::new("test", ""));
    let lookup = |_: &Resolver, _: &str, port| Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
    let surroundings = Surroundings {
        telemetry: &telemetry,
        lookup: &lookup,
        generation: 1,
        flood: None,
        keys: &KeySources::default(),
        read: None,
        now: 0,
        running: &[],
        services: &[],
    };
    let (loading, mut report, sources) = load_text("test.yaml", config);
    let gateway =
        loading.whole().and_then(|loaded| compile(&loaded.config, &loaded.text_hash, "{}", &surroundings, &mut report));
    let gateway = gateway.unwrap_or_else(|| panic!("{}", report.render(&sources, Color::Never)));
    State::new(gateway, telemetry, AccessLog::open("off").unwrap())
}

/// Waits for a decision.
pub fn admitted(state: &State, request: &Request<'_>, exchange: &mut Exchange) -> Result<Decision, Rejection> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admit(state, request, exchange))
}

/// Sends `GET /path`, with header lines behind it, through admission, and says what came of it in a few words.
fn sent(state: &State, lines: &str) -> String {
    sent_to(state, None, lines)
}

/// The same through a listener, told by the address on our side.
fn sent_to(state: &State, local: Option<SocketAddr>, lines: &str) -> String {
    let mut lines = lines.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = http::Request::builder().method(method).uri(target).header("host", "api.example.com");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let peer = Address::of(IpAddr::from([192, 0, 2, 1]));
    let request = Request { local, ..Request::new(&parts, target.as_bytes(), Bytes::new(), peer) };
    let mut exchange = Exchange::begin(state.gateway.load_full(), InFlight::enter(&state.in_flight));
    match admitted(state, &request, &mut exchange) {
        Ok(Decision::Forward(admission)) => {
            let who = exchange.trail.consumer.map_or(String::new(), |consumer| format!(" as {}", consumer.name));
            format!("{}{who}", String::from_utf8_lossy(&admission.service_target))
        }
        Ok(Decision::ReadBody(_)) => "reads the body".to_owned(),
        Ok(Decision::Redirect(location)) => format!("redirect {location:?}"),
        Ok(Decision::Preflight(answer)) => {
            let methods = answer.get("access-control-allow-methods").map_or("none", |value| value.to_str().unwrap());
            format!("preflight {methods}")
        }
        Ok(Decision::Page(page)) => format!("page {}", page.status),
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
        ("GET /any?from=there&a=1&fr%6fm=x&a+b=1", "/api/any?from=here&a+b&a=1"),
        ("GET /forward?a=1&from=there", "/api/f?from=here&a=1"),
        ("GET /observe?from=there&a=1", "/api/o?from=here&a=1"),
        ("GET /reject?from=there", "422 1"),
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
        ("GET /users/7\ntransfer-encoding: chunked", "reads the body"),
        ("GET /users/7\ncontent-length: 0", "/api/v1/users/7?from=7&limit=20"),
        ("GET /users/7\ncontent-length: 1", "reads the body"),
        ("GET /users/7\nconnection: close, x-hop", "/api/v1/users/7?from=7&limit=20"),
        ("GET /users/7\nconnection: close, x-forwarded-for", "400 malformed-message"),
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

#[test]
fn a_limit_by_claim_counts_each_value_apart_and_who_has_none_together() {
    let config = format!(
        "{}\n{}",
        CONFIG.replace("api_key: { query: key }", &format!("jwt: {{ secret: '{}', plan: gold }}", signer::SECRET)),
        "  - { name: shared, method: GET, gateway_path: /shared, service: users, auth: [key, query-key], \
         limits: [{ rate: 2/hour, by: 'claim:realm.tenant' }, { rate: 3/hour, by: 'claim:sub' }] }",
    );
    let state = state_of(&config);
    let exp = state.clock.now().unix + 600;
    let bearing = |subject: &str, claims: serde_json::Value| {
        let mut claims = claims;
        (claims["sub"], claims["exp"]) = (subject.into(), exp.into());
        format!("GET /shared\nauthorization: Bearer {}", signer::token("HS256", None, &claims))
    };
    let tenant = |subject, tenant| bearing(subject, serde_json::json!({ "realm": { "tenant": tenant } }));
    let key = "GET /shared\nx-api-key: bob".to_owned();
    for (request, expected) in [
        (tenant("ann", "acme"), "/api/shared as query-key:ann"),
        (tenant("ben", "acme"), "/api/shared as query-key:ben"),
        (tenant("ann", "acme"), "429 quota-exceeded"),
        (tenant("ann", "other"), "/api/shared as query-key:ann"),
        (tenant("ann", "third"), "/api/shared as query-key:ann"),
        (tenant("ann", "fourth"), "429 quota-exceeded"),
        (bearing("cid", serde_json::json!({ "realm": { "tenant": ["acme"] } })), "/api/shared as query-key:cid"),
        (key.clone(), "/api/shared as bob"),
        (bearing("cid", serde_json::json!({ "realm": "acme" })), "429 quota-exceeded"),
        (key, "429 quota-exceeded"),
    ] {
        assert_eq!(sent(&state, &request), expected, "{request}");
    }
}

#[test]
fn the_description_is_answered_on_its_listener_only() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let plain = || Entrance::Plain { http2: false };
    let bound = |written: &str, bound: &str| Listening::new(address(written), address(bound), plain());
    for (docs, listeners, local, expected) in [
        ("127.0.0.1:80", vec![bound("127.0.0.1:80", "127.0.0.1:80")], "127.0.0.1:80", "page 200"),
        ("0.0.0.0:80", vec![bound("0.0.0.0:80", "0.0.0.0:80")], "192.0.2.7:80", "page 200"),
        ("[::]:80", vec![bound("[::]:80", "[::]:80")], "[::ffff:192.0.2.7]:80", "page 200"),
        ("127.0.0.1:0", vec![bound("127.0.0.1:0", "127.0.0.1:4711")], "127.0.0.1:4711", "page 200"),
        ("0.0.0.0:0", vec![bound("0.0.0.0:0", "0.0.0.0:4711")], "192.0.2.7:4711", "page 200"),
        ("127.0.0.1:80", vec![bound("127.0.0.1:80", "127.0.0.1:80")], "127.0.0.1:81", "404 not-found"),
        ("127.0.0.1:80", vec![bound("127.0.0.1:80", "127.0.0.1:80")], "127.0.0.2:80", "404 not-found"),
        // Changed in a reload, which cannot bind: served nowhere until the restart.
        ("127.0.0.1:80", vec![bound("127.0.0.1:81", "127.0.0.1:81")], "127.0.0.1:81", "404 not-found"),
    ] {
        let docs = format!("docs: {{ listener: \"{docs}\" }}\nlisteners: [{{ address: \"{docs}\" }}]\n");
        let config: Vec<&str> = CONFIG.lines().filter(|line| !line.starts_with("listeners:")).collect();
        let state = State { listeners, ..state_of(&format!("{}\n{docs}", config.join("\n"))) };
        let local = Some(address(local));
        for path in ["/docs", "/openapi.json", "/d%6Fcs", "/docs/init.js"] {
            assert_eq!(sent_to(&state, local, &format!("GET {path}")), expected, "{path} {docs} {local:?}");
        }
        assert_eq!(sent_to(&state, None, "GET /docs"), "404 not-found");
        assert_eq!(sent_to(&state, local, "GET /users/7"), "/api/v1/users/7?from=7&limit=20");
        assert_eq!(sent_to(&state, local, "GET /docs/other"), "404 not-found");
        if expected == "page 200" {
            assert_eq!(sent_to(&state, local, "HEAD /docs"), "page 200");
            assert_eq!(sent_to(&state, local, "POST /docs"), "405 method-not-allowed");
            assert_eq!(sent_to(&state, local, "OPTIONS /docs"), "options GET, HEAD, OPTIONS");
        }
    }
    assert_eq!(sent_to(&state(), Some(address("127.0.0.1:80")), "GET /docs"), "404 not-found");
}

#[test]
fn a_key_of_the_store_counts_as_its_consumer_while_it_is_good() {
    use crate::policy::api_key;
    use crate::store::{Entropy, NewKey, Snapshot, Store};

    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open_or_create(&folder.path().join("tollgate.db")).unwrap();
    let mut seed = 0;
    let mut key = |consumer, plan, lifetime: Option<i64>, made_at| {
        seed += 1;
        let entropy = Entropy { secret: [seed; 32], id: [seed; 8] };
        store.create(&NewKey { consumer, plan, note: "", lifetime }, &entropy, made_at).unwrap().secret
    };
    let now = state().clock.now().unix;
    let cases = [
        (key("bob", None, None, now), "/api/mine as bob"),
        (key("carol", Some("gold"), None, now), "/api/mine as carol"),
        (key("bob", Some("no-such-plan"), None, now), "/api/mine as bob"),
        (key("dave", Some("no-such-plan"), None, now), "401 credential-unknown"),
        (key("dave", None, None, now), "401 credential-unknown"),
        (key("bob", None, Some(1000), now), "/api/mine as bob"),
        (key("bob", None, Some(1000), now - 999 * 1000), "401 credential-unknown"),
        (api_key::make(&[99; 32]), "401 credential-unknown"),
    ];
    let expiring = key("bob", None, Some(60), now - 60);
    let keys: Snapshot = store.snapshot(now - 30).unwrap();
    let state = State { stored_keys: Some(arc_swap::ArcSwap::from_pointee(keys)), ..state() };
    for (key, expected) in &cases {
        assert_eq!(sent(&state, &format!("GET /mine\nx-api-key: {key}")), *expected, "{key}");
        assert_eq!(sent(&state, &format!("GET /mine?key={key}")), *expected, "{key}");
    }
    let refused = sent(&state, &format!("GET /mine\nx-api-key: {expiring}"));
    assert_eq!(refused, "401 credential-unknown", "the snapshot has it, but its time is over");
    assert_eq!(sent(&state, "GET /mine\nx-api-key: bob"), "/api/mine as bob", "keys of the file go on");
}

#[test]
fn a_key_with_a_wrong_checksum_is_not_looked_up() {
    use crate::policy::api_key::{Form, make};
    use crate::policy::authenticate::digest;
    use crate::store::{Entropy, NewKey, Store};

    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open_or_create(&folder.path().join("tollgate.db")).unwrap();
    let entropy = Entropy { secret: [1; 32], id: [1; 8] };
    let new = NewKey { consumer: "bob", plan: None, note: "", lifetime: None };
    let secret = store.create(&new, &entropy, 0).unwrap().secret;
    let keys = store.snapshot(0).unwrap();
    let state = State { stored_keys: Some(arc_swap::ArcSwap::from_pointee(keys)), ..state() };
    let (gateway, now) = (state.gateway.load_full(), state.clock.now());
    assert_eq!(secret, make(&[1; 32]));
    // The digest is known in both cases: only a lookup that does not happen can miss it.
    for (form, found) in [(Form::Made, true), (Form::Other, false)] {
        let digest = digest(secret.as_bytes());
        assert_eq!(stored::consumer(&state, &gateway, &digest, form, now).is_some(), found, "{form:?}");
    }
    let typo = format!("{}{}", &secret[..51], if secret.ends_with('0') { '1' } else { '0' });
    assert_eq!(sent(&state, &format!("GET /mine\nx-api-key: {typo}")), "401 credential-unknown");
}
