//! Where API keys end.

use serde_json::{Value, json};

use crate::raw::stage::Stage;
use crate::support::client::request;
use crate::support::origin::Recorded;

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A gateway with one authenticator, and a route behind it as well as a public one.
fn stage(api_key: Value) -> Stage {
    Stage::plain(
        json!([
            {"name": "keyed", "method": "GET", "gateway_path": "/keyed", "auth": ["key"], "query_params": "any"},
            {"name": "public", "method": "GET", "gateway_path": "/public", "query_params": "any"},
        ]),
        json!({
            "authenticators": {"key": {"api_key": api_key}},
            "consumers": {"alice": {"api_keys": [{"sha256": SECRET}]}},
        }),
    )
}

/// What the service gets of a request with this query and these fields, on both routes.
fn sent(api_key: Value, query: &str, fields: &[(&str, &str)]) -> [Recorded; 2] {
    let stage = stage(api_key);
    let ask = |path| {
        let (response, seen) = stage.pass(&request("GET", &format!("{path}{query}"), fields, b""));
        assert_eq!(response.status, 200);
        seen
    };
    [ask("/keyed"), ask("/public")]
}

#[test]
fn a_key_ends_at_the_gateway_on_every_route() {
    for seen in sent(json!({"header": "X-Api-Key"}), "", &[("x-api-KEY", "secret"), ("x-a", "1")]) {
        assert!(seen.values("x-api-key").is_empty(), "{}", seen.target);
        assert_eq!(seen.values("x-a"), [b"1"]);
    }
    for seen in sent(json!({"query": "api_key"}), "?a=1&api_key=secret&b=%20", &[]) {
        assert_eq!(seen.query(), "a=1&b=%20", "{}", seen.target);
    }
    for seen in sent(json!({"query": "api_key"}), "?api%5fkey=secret", &[]) {
        assert_eq!(seen.query(), "", "{}", seen.target);
    }
    for seen in sent(json!({"cookie": "session"}), "", &[("cookie", "a=1; session=secret; b=2"), ("cookie", "c=3")]) {
        assert_eq!(seen.values("cookie"), [&b"a=1; b=2"[..], b"c=3"], "{}", seen.target);
    }
    for seen in sent(json!({"cookie": "session"}), "", &[("cookie", "session=secret")]) {
        assert!(seen.values("cookie").is_empty(), "{}", seen.target);
    }
}

#[test]
fn a_key_passes_on_the_routes_of_an_authenticator_that_forwards_it() {
    let [keyed, public] = sent(json!({"header": "x-api-key", "forward": true}), "", &[("x-api-key", "secret")]);
    assert_eq!((keyed.values("x-api-key"), public.values("x-api-key")), (vec![&b"secret"[..]], vec![]));
    let [keyed, public] = sent(json!({"query": "api_key", "forward": true}), "?a=1&api_key=secret", &[]);
    assert_eq!((keyed.query(), public.query()), ("a=1&api_key=secret", "a=1"));
    let cookie = [("cookie", "a=1; session=secret")];
    let [keyed, public] = sent(json!({"cookie": "session", "forward": true}), "", &cookie);
    assert_eq!(
        (keyed.values("cookie"), public.values("cookie")),
        (vec![&b"a=1; session=secret"[..]], vec![&b"a=1"[..]])
    );
}

#[test]
fn names_are_told_apart() {
    for seen in sent(json!({"cookie": "s"}), "", &[("cookie", "s=secret; ss=1; S=2; xs=3; s2")]) {
        assert_eq!(seen.values("cookie"), [&b"ss=1; S=2; xs=3; s2"[..]], "{}", seen.target);
    }
    for seen in sent(json!({"query": "k"}), "?kk=1&K=2&k=secret", &[]) {
        assert_eq!(seen.query(), "kk=1&K=2", "{}", seen.target);
    }
}
