//! How long a header and a target may be.

use serde_json::json;

use super::stage::Stage;
use crate::support::client::request;

fn stage() -> Stage {
    let routes = json!([{"method": "GET", "gateway_path": "/{*rest}", "query_params": "any"}]);
    Stage::plain(routes, json!({}))
}

#[test]
fn a_target_is_as_long_as_the_guard_allows_and_no_longer() {
    let stage = stage();
    for (length, status) in [(8 * 1024, 200), (8 * 1024 + 1, 414), (20 * 1024, 414), (60 * 1024, 414)] {
        for target in [format!("/{}", "a".repeat(length - 1)), format!("/a?{}", "q".repeat(length - 3))] {
            assert_eq!(stage.ask(&request("GET", &target, &[], b"")).status, status, "{length}");
        }
    }
    // Longer than pingora reads a target at all.
    let target = format!("/{}", "a".repeat(70 * 1024));
    assert!(matches!(stage.ask(&request("GET", &target, &[], b"")).status, 400 | 414));
    assert_eq!(stage.origin.take().len(), 2);
}

#[test]
fn a_header_is_as_long_as_the_guard_allows_and_no_longer() {
    let stage = stage();
    let without = request("GET", "/a", &[("x-a", "")], b"").len();
    for (length, status) in [(32 * 1024, 200), (32 * 1024 + 1, 431), (900 * 1024, 431)] {
        let message = request("GET", "/a", &[("x-a", &"v".repeat(length - without))], b"");
        assert_eq!((message.len(), stage.ask(&message).status), (length, status));
    }
    assert_eq!(stage.origin.take().len(), 1);
}

#[test]
fn a_header_larger_than_pingora_reads_is_refused() {
    let stage = stage();
    let message = request("GET", "/a", &[("x-a", &"v".repeat(3 * 1024 * 1024))], b"");
    let status = crate::support::client::Client::connect(stage.gateway.address()).ask(&message).map(|got| got.status);
    assert!(!matches!(status, Ok(status) if status < 400), "{status:?}");
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn a_header_has_as_many_fields_as_the_guard_allows_and_no_more() {
    let stage = stage();
    // With Host.
    for (count, status) in [(100, 200), (101, 431), (256, 431), (257, 400), (2_000, 400)] {
        let names: Vec<String> = (1..count).map(|number| format!("x-{number}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(stage.ask(&request("GET", "/a", &fields, b"")).status, status, "{count}");
        let fields = vec![("x-same", "1"); count - 1];
        assert_eq!(stage.ask(&request("GET", "/a", &fields, b"")).status, status, "{count} of one name");
    }
    assert_eq!(stage.origin.take().len(), 2);
}

#[test]
fn a_header_that_is_too_large_names_nothing_to_the_service_but_keeps_the_connection() {
    let stage = stage();
    let mut client = stage.connect();
    assert_eq!(client.ask(&request("GET", "/a", &[("x-a", &"v".repeat(40_000))], b"")).unwrap().status, 431);
    assert_eq!(client.ask(&request("GET", "/b", &[], b"")).unwrap().status, 200);
    assert_eq!(stage.origin.take().len(), 1);
}
