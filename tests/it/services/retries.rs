//! When a request is sent again, and when not.

use serde_json::json;

use super::{gateway, get, metric, named, requests, saying};
use crate::support::client::{ask, request};
use crate::support::origin::{Origin, Reply, Unreachable};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[test]
fn only_requests_that_may_be_repeated_are() {
    for (message, status, on_bad) in [
        (request("GET", "/a", &[], b""), 200, 1),
        (request("HEAD", "/a", &[], b""), 200, 1),
        (request("PUT", "/checked", JSON, b"{\"a\":1}"), 200, 1),
        (request("POST", "/checked", JSON, b"{\"a\":1}"), 503, 1),
        (request("POST", "/a", &[], b"abc"), 503, 1),
        (request("PUT", "/a", &[], b"streamed"), 503, 1),
        (request("PUT", "/a", &[], b""), 200, 1),
    ] {
        let (bad, good) = (saying(503), named("{}"));
        let keys = json!({ "retries": { "on": ["503"], "attempts": 1, "backoff": "1ms" } });
        let (gateway, _other) = gateway(&[bad.address(), good.address()], keys);
        let said = String::from_utf8_lossy(&message).into_owned();
        let response = ask(gateway.public, &message);
        assert_eq!(response.status, status, "{said}");
        assert_eq!(requests(&bad).len(), on_bad, "{said}");
        if status == 200 {
            let (first, second) = (requests(&bad).remove(0), requests(&good).remove(0));
            assert_eq!((first.body, first.method), (second.body, second.method), "{said}");
        } else {
            assert_eq!(requests(&good).len(), 0, "{said}");
        }
    }
}

#[test]
fn what_cannot_be_sent_at_all_is_sent_elsewhere() {
    let (down, good) = (Unreachable::reserve(), named("{}"));
    let (gateway, _other) = gateway(&[down.address(), good.address()], json!({}));
    for message in [
        request("GET", "/a", &[], b""),
        request("POST", "/a", &[], b"streamed"),
        request("POST", "/checked", JSON, b"{\"a\":1}"),
    ] {
        for _ in 0..2 {
            assert_eq!(ask(gateway.public, &message).status, 200);
        }
    }
    assert!(requests(&good).iter().any(|request| request.body == b"streamed"));
}

#[test]
fn the_last_reply_passes_when_all_are_alike() {
    let (one, two) = (saying(503), saying(503));
    let keys = json!({ "retries": { "on": ["503"], "attempts": 2, "backoff": "1ms" } });
    let (gateway, _other) = gateway(&[one.address(), two.address()], keys);
    let response = get(&gateway, "/a");
    assert_eq!((response.status, response.text().as_str()), (503, "{}"), "it is the service's own");
    assert_eq!(requests(&one).len() + requests(&two).len(), 3);
    let line = gateway.line(|line| line.contains("\"/a\""));
    assert!(line.contains("\"retries\":2"), "{line}");
}

#[test]
fn statuses_and_reasons_that_are_not_named_are_not_retried() {
    for (origin, on, status) in [
        (saying(503), json!(["502", "reset", "timeout"]), 503),
        (Origin::start(|_| Reply::raw("").closing()), json!(["503", "timeout"]), 502),
        (Origin::start(|_| Reply::raw("nonsense\r\n\r\n").closing()), json!(["reset"]), 502),
    ] {
        let good = named("{}");
        let keys = json!({ "retries": { "on": on, "backoff": "1ms" } });
        let (gateway, _other) = gateway(&[origin.address(), good.address()], keys);
        assert_eq!(get(&gateway, "/a").status, status, "{on}");
        assert_eq!((requests(&origin).len(), requests(&good).len()), (1, 0), "{on}");
    }
}

#[test]
fn retries_stay_within_their_budget() {
    let (one, two) = (saying(503), saying(503));
    let keys = json!({ "retries": { "on": ["503"], "attempts": 3, "budget": "20%", "backoff": "1ms" } });
    let (gateway, _other) = gateway(&[one.address(), two.address()], keys);
    const ASKED: usize = 200;
    (0..ASKED).for_each(|_| assert_eq!(get(&gateway, "/a").status, 503));
    let sent = requests(&one).len() + requests(&two).len();
    // A few are always let through before there is a share to speak of.
    assert!(sent > ASKED && sent <= ASKED + ASKED / 5 + 10, "{sent} for {ASKED} requests");
    let counted =
        |result| metric(&gateway, &format!("tollgate_service_retries_total{{result=\"{result}\",service=\"origin\"}}"));
    assert_eq!(counted("sent"), Some((sent - ASKED) as f64));
    assert!(counted("refused").is_some_and(|refused| refused > 0.0));
}
