//! Where the description is served, and how.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::{self, Client, Response};
use crate::support::gateway::{Gateway, Reload};
use crate::support::origin::Origin;

/// One route behind a key and a limit of one request an hour, and the description where this says.
fn config(origin: &Origin, docs: &Value) -> Value {
    json!({
        "version": 1,
        "listeners": [{ "address": "127.0.0.1:0" }, { "address": "127.0.0.2:0" }],
        "admin": { "address": "127.0.0.1:0" },
        "services": { "origin": { "url": format!("http://{}", origin.address()) } },
        "docs": docs,
        "routes": [{
            "name": "only", "method": "GET", "gateway_path": "/{*rest}", "service": "origin", "auth": "public",
            "limits": [{ "rate": "1/hour", "by": "client_ip" }],
        }],
    })
}

fn start(origin: &Origin, listener: &str) -> Gateway {
    Gateway::start(&config(origin, &json!({ "listener": listener, "title": "Shop" })).to_string())
}

/// A request under a name that operators' listeners take, too.
fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn ask(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    client::ask(address, &request(method, path, fields))
}

fn fetch(address: SocketAddr, path: &str) -> Response {
    ask(address, "GET", path, &[])
}

/// The addresses of both listeners of clients, in order.
fn listeners(gateway: &Gateway) -> Vec<SocketAddr> {
    let log = gateway.log();
    let public = log.iter().filter(|line| line.contains("listener=public"));
    let address = |line: &String| line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok());
    public.filter_map(address).collect()
}

#[test]
fn the_description_is_served_on_the_listener_that_docs_name_and_nowhere_else() {
    let origin = Origin::json("{\"from\": \"service\"}");
    for (listener, place) in [("127.0.0.1:0", 0), ("127.0.0.2:0", 1), ("admin", 2)] {
        let gateway = start(&origin, listener);
        let all = [listeners(&gateway), vec![gateway.admin()]].concat();
        assert_eq!(all.len(), 3);
        for (index, address) in all.into_iter().enumerate() {
            let answer = fetch(address, "/openapi.json");
            let described = answer.status == 200 && answer.text().contains("\"openapi\":\"3.1.0\"");
            assert_eq!(described, index == place, "docs on {listener}, asked {address}: {}", answer.text());
        }
    }
}

#[test]
fn without_docs_nothing_is_described() {
    let origin = Origin::json("{}");
    let mut written = config(&origin, &Value::Null);
    written.as_object_mut().unwrap().remove("docs");
    let gateway = Gateway::start(&written.to_string());
    assert_eq!(fetch(gateway.address(), "/openapi.json").text(), "{}");
    assert_eq!(fetch(gateway.admin(), "/docs").status, 404);
}

/// What every page has, whoever serves it.
fn check_page(address: SocketAddr, path: &str, media_type: &str) {
    let page = fetch(address, path);
    assert_eq!(page.status, 200, "{path}");
    assert!(page.value("content-type").is_some_and(|of| of.starts_with(media_type)), "{path}: {:?}", page.fields);
    assert_eq!(page.value("cache-control"), Some("no-cache"), "{path}");
    assert_eq!(page.value("x-content-type-options"), Some("nosniff"), "{path}");
    assert!(page.value("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    let tag = page.value("etag").expect("a tag").to_owned();
    let known = ask(address, "GET", path, &[("if-none-match", &tag)]);
    assert_eq!((known.status, known.body.len(), known.value("etag")), (304, 0, Some(&*tag)), "{path}");
    let gzip = ask(address, "GET", path, &[("accept-encoding", "gzip")]);
    assert_eq!(gzip.value("content-encoding"), Some("gzip"), "{path}");
    assert!(gzip.body.starts_with(&[0x1f, 0x8b]), "{path}");
    let head = ask(address, "HEAD", path, &[]);
    assert_eq!((head.status, head.value("content-length")), (200, page.value("content-length")), "{path}");
    let posted = ask(address, "POST", path, &[]);
    assert_eq!(posted.status, 405, "{path}");
    assert!(posted.value("allow").is_some_and(|allow| allow.starts_with("GET")), "{path}");
}

#[test]
fn every_page_is_read_with_get_and_head_and_kept_by_its_tag() {
    let origin = Origin::json("{}");
    for listener in ["127.0.0.1:0", "admin"] {
        let gateway = start(&origin, listener);
        let address = if listener == "admin" { gateway.admin() } else { gateway.address() };
        for (path, media_type) in [
            ("/openapi.json", "application/json"),
            ("/docs", "text/html"),
            ("/docs/init.js", "text/javascript"),
            ("/docs/swagger-ui-bundle.js", "text/javascript"),
            ("/docs/swagger-ui.css", "text/css"),
        ] {
            check_page(address, path, media_type);
        }
        let page = fetch(address, "/docs").text();
        assert!(page.contains("<title>Shop</title>"), "{page}");
        assert_eq!(page.contains("sends no requests"), listener == "admin", "{page}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn pages_spend_no_limit_but_are_counted_and_logged() {
    let origin = Origin::json("{}");
    let gateway = start(&origin, "127.0.0.1:0");
    let mut client = Client::connect(gateway.address());
    for _ in 0..3 {
        let page: Response = client.ask(&request("GET", "/docs", &[])).expect("a page on a kept connection");
        assert_eq!((page.status, page.value("ratelimit")), (200, None));
        assert!(page.value("x-request-id").is_some());
    }
    assert_eq!(fetch(gateway.address(), "/docs/").status, 200, "the route takes what is no page");
    assert_eq!(fetch(gateway.address(), "/other").status, 429);
    assert_eq!(fetch(gateway.address(), "/docs/../docs").status, 400, "a page's path is held to the same hygiene");
    let line = gateway.printed(|line| line.contains("\"/docs\"")).expect("an access line");
    let line: Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!((&line["route"], &line["status"]), (&json!("(docs)"), &json!(200)), "{line}");
    let metrics = fetch(gateway.admin(), "/metrics").text();
    let counted = metrics.lines().find(|line| line.starts_with("tollgate_requests_total") && line.contains("(docs)"));
    assert!(counted.is_some_and(|line| line.ends_with(" 3")), "{metrics}");
}

#[test]
fn a_reload_changes_the_description() {
    let origin = Origin::json("{}");
    let gateway = start(&origin, "127.0.0.1:0");
    let before = fetch(gateway.address(), "/openapi.json");
    let changed = config(&origin, &json!({ "listener": "127.0.0.1:0", "title": "Market" }));
    assert_eq!(gateway.reload(&changed.to_string()), Reload::Published);
    let tag = before.value("etag").expect("a tag").to_owned();
    let after = ask(gateway.address(), "GET", "/openapi.json", &[("if-none-match", &tag)]);
    assert_eq!(after.status, 200);
    assert!(before.text().contains("Shop") && after.text().contains("Market"), "{}", after.text());
    let moved = config(&origin, &json!({ "listener": "admin" }));
    assert_eq!(gateway.reload(&moved.to_string()), Reload::Published);
    assert_eq!(fetch(gateway.address(), "/openapi.json").text(), "{}");
    assert_eq!(fetch(gateway.admin(), "/openapi.json").status, 200);
}
