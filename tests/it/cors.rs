//! Pages of other origins: what a browser is told before a request and with every answer, and what Chromium makes of it.

use serde_json::{Value, json};

use crate::openapi::browser::Browser;
use crate::process::instance::sha256;
use crate::raw::stage::Stage;
use crate::support::client::{Response, request};
use crate::support::origin::{Origin, Reply};

const PAGE: &str = "https://app.example.com";

/// A service that allows everybody everything, which is not for it to say.
fn generous() -> Origin {
    Origin::start(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n\
             vary: accept\r\nx-total: 7\r\ncontent-length: 2\r\n\r\nok",
        )
    })
}

fn stage() -> Stage {
    let items = "/items/{id}";
    Stage::set(
        generous(),
        json!([
            {"name": "read", "method": "GET", "gateway_path": items, "path_params": {"id": {"type": "integer"}}},
            {"name": "change", "methods": ["PUT", "DELETE"], "gateway_path": items, "body": "any", "auth": ["key"]},
            {"name": "patch", "method": "PATCH", "gateway_path": items, "body": "any", "cors": false},
            {"name": "open", "method": "GET", "gateway_path": "/open", "cors": {"origins": "any"}},
            {"name": "own", "methods": ["GET", "OPTIONS"], "gateway_path": "/own", "cors": false},
            {"name": "near", "method": "GET", "gateway_path": "/near", "deny_addresses": ["127.0.0.0/8"]},
            {"name": "slow", "method": "GET", "gateway_path": "/slow",
             "limits": [{"rate": "1/hour", "by": "route"}]},
        ]),
        json!({
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "consumers": {"ann": {"api_keys": [{"sha256": sha256("key-ann")}]}},
            "defaults": {"auth": "public", "cors": {
                "origins": [PAGE, "http://localhost:3000"], "credentials": true, "max_age": "10m",
                "expose": ["x-total", "retry-after"],
            }},
        }),
    )
}

/// What an answer says to browsers, in order.
fn told(response: &Response) -> String {
    let mut lines: Vec<String> = response
        .fields
        .iter()
        .filter(|(name, _)| name.starts_with("access-control-") || name == "vary")
        .map(|(name, value)| format!("{}: {}", name.replace("access-control-", ""), String::from_utf8_lossy(value)))
        .collect();
    lines.sort();
    lines.join(" | ")
}

fn preflight(stage: &Stage, path: &str, origin: &str, method: &str) -> Response {
    let fields = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "content-type,x-api-key"),
    ];
    stage.ask(&request("OPTIONS", path, &fields, b""))
}

const ASKED: &str = "vary: access-control-request-headers | vary: access-control-request-method | vary: origin";

#[test]
fn a_preflight_is_answered_for_the_route_that_the_request_will_be_for() {
    let stage = stage();
    let allowed = |methods: &str| {
        format!(
            "allow-credentials: true | allow-headers: content-type,x-api-key | allow-methods: {methods} | \
             allow-origin: {PAGE} | max-age: 600 | {ASKED}"
        )
    };
    let items = allowed("GET, HEAD, PUT, DELETE");
    for (path, origin, method, status, expected) in [
        ("/items/7", PAGE, "GET", 204, items.as_str()),
        // Nobody is asked for a credential, and no contract is checked.
        ("/items/7", PAGE, "PUT", 204, &items),
        ("/items/x", PAGE, "DELETE", 204, &items),
        ("/items/7", "https://evil.test", "PUT", 204, ASKED),
        ("/items/7", "null", "PUT", 204, ASKED),
        // A route without CORS: as if there were none.
        ("/items/7", PAGE, "PATCH", 204, ""),
        ("/items/7", PAGE, "POST", 204, ""),
        (
            "/nothing",
            PAGE,
            "GET",
            404,
            "allow-credentials: true | allow-origin: https://app.example.com | expose-headers: x-total, retry-after | vary: origin",
        ),
        (
            "/near",
            PAGE,
            "GET",
            403,
            "allow-credentials: true | allow-origin: https://app.example.com | expose-headers: x-total, retry-after | vary: origin",
        ),
    ] {
        let response = preflight(&stage, path, origin, method);
        assert_eq!((response.status, told(&response).as_str()), (status, expected), "{method} {path} of {origin}");
        assert!(response.body.is_empty() || status >= 400);
    }
    assert_eq!(stage.origin.requests().len(), 0, "preflights stay here");
    let open = preflight(&stage, "/open", "https://any.test", "GET");
    let expected =
        format!("allow-headers: content-type,x-api-key | allow-methods: GET, HEAD | allow-origin: * | {ASKED}");
    assert_eq!(told(&open), expected);
    // What is no preflight, or not ours, is what it was.
    let plain = stage.ask(&request("OPTIONS", "/items/7", &[("origin", PAGE)], b""));
    assert_eq!((plain.status, plain.value("allow")), (204, Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS")));
    let own = preflight(&stage, "/own", PAGE, "GET");
    assert_eq!((own.status, stage.origin.take().len()), (200, 1), "the service answers its own");
    assert_eq!(told(&own), "allow-credentials: true | allow-origin: * | vary: accept");
}

#[test]
fn every_answer_says_which_page_may_read_it() {
    const GRANTED: &str =
        "allow-credentials: true | allow-origin: https://app.example.com | expose-headers: x-total, retry-after | ";
    let stage = stage();
    let get = |path: &str, fields: &[(&str, &str)]| stage.ask(&request("GET", path, fields, b""));
    for (path, fields, status, expected) in [
        ("/items/7", &[("origin", PAGE)][..], 200, format!("{GRANTED}vary: accept | vary: origin")),
        // It is answered; its page does not get to read it.
        ("/items/7", &[("origin", "https://evil.test")], 200, "vary: accept | vary: origin".to_owned()),
        ("/items/7", &[], 200, "vary: accept | vary: origin".to_owned()),
        ("/open", &[("origin", "https://evil.test")], 200, "allow-origin: * | vary: accept".to_owned()),
        // The service's own word stands where the gateway has none.
        ("/own", &[("origin", PAGE)], 200, "allow-credentials: true | allow-origin: * | vary: accept".to_owned()),
        // So that a page can read why.
        ("/items/x", &[("origin", PAGE)], 422, format!("{GRANTED}vary: origin")),
        ("/near", &[("origin", PAGE)], 403, format!("{GRANTED}vary: origin")),
        ("/nothing", &[("origin", PAGE)], 404, format!("{GRANTED}vary: origin")),
        ("/nothing", &[("origin", "https://evil.test")], 404, "vary: origin".to_owned()),
        ("/slow", &[("origin", PAGE)], 200, format!("{GRANTED}vary: accept | vary: origin")),
        ("/slow", &[("origin", PAGE)], 429, format!("{GRANTED}vary: origin")),
    ] {
        let response = get(path, fields);
        assert_eq!((response.status, told(&response)), (status, expected), "{path} {fields:?}");
    }
    let unknown = stage.ask(&request("DELETE", "/items/7", &[("origin", PAGE)], b""));
    assert_eq!((unknown.status, told(&unknown)), (401, format!("{GRANTED}vary: origin")));
    let wrong = stage.ask(&request("POST", "/items/7", &[("origin", PAGE)], b""));
    assert_eq!((wrong.status, told(&wrong)), (405, format!("{GRANTED}vary: origin")));
}

/// Says what a page gets for a request: status and body, or that the browser gives it nothing.
const ASK: &str = "const ask = (method, path, headers) => fetch(GATEWAY + path, {method, headers, body: method == 'GET' ? undefined : '{}'})\
     .then(async got => [got.status, (await got.text()).slice(0, 40), got.headers.get('x-total')], () => 'nothing');";

#[test]
fn chromium_lets_a_listed_page_read_answers_and_refusals_and_no_other_page() {
    let page =
        || Origin::start(|_| Reply::raw("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\npage"));
    let (listed, other) = (page(), page());
    let listed_page = format!("http://{}", listed.address());
    let cors = json!({"origins": [listed_page], "expose": ["x-total"], "max_age": "10m"});
    let stage = Stage::set(
        generous(),
        json!([
            {"name": "read", "method": "GET", "gateway_path": "/items"},
            {"name": "change", "method": "PUT", "gateway_path": "/items", "body": "any", "auth": ["key"]},
        ]),
        json!({
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "consumers": {"ann": {"api_keys": [{"sha256": sha256("key-ann")}]}},
            "defaults": {"auth": "public", "cors": cors},
        }),
    );
    let browser = Browser::start();
    let script = |calls: &str| {
        format!("const GATEWAY = 'http://{}'; {ASK} return Promise.all([{calls}]);", stage.gateway.address())
    };
    let calls = "ask('GET', '/items', {}), ask('PUT', '/items', {'x-api-key': 'key-ann'}), \
                 ask('PUT', '/items', {'x-api-key': 'wrong'}), ask('DELETE', '/items', {}), ask('GET', '/nothing', {})";
    browser.open(&format!("{listed_page}/"));
    let said = browser.run(&script(calls));
    assert_eq!(said[0], json!([200, "ok", "7"]));
    assert_eq!(said[1], json!([200, "ok", "7"]));
    assert_eq!(said[2][0], json!(401), "the page reads why it is refused: {said}");
    assert_eq!(said[3], json!("nothing"), "no route has this method");
    assert_eq!(said[4][0], json!(404), "{said}");

    browser.open(&format!("http://{}/", other.address()));
    stage.origin.take();
    let said = browser.run(&script(calls));
    assert_eq!(said, Value::from(vec!["nothing"; 5]));
    let reached: Vec<String> = stage.origin.take().into_iter().map(|seen| seen.method).collect();
    assert_eq!(reached, ["GET"], "what needs a preflight is not even sent");
}
