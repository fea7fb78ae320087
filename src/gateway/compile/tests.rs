//! What is said of a configuration whose shape is wrong: every fault that is certain, and none that mending the shape
//! could make disappear.

use super::*;
use crate::config::{Loading, load_text};

/// A configuration without a problem; rows of a table replace parts of it.
const GOOD: &str = "\
version: 1
listeners:
- { address: 127.0.0.1:8080 }
- { address: 127.0.0.1:8081 }
admin: { address: 127.0.0.1:9090 }
docs: { listener: 127.0.0.1:8081, servers: [/v1] }
services: { a: { url: http://a }, b: { url: http://b } }
authenticators: { key: { api_key: { header: x-key } } }
plans: { free: { total: [5/second, 9/day] } }
consumers: { ann: { plan: free, api_keys: [{ sha256: SHA }] } }
defaults: { auth: [key] }
routes:
- { name: one, method: GET, gateway_path: /one, service: a, limits: [{ rate: 5/second, by: route }] }
- { name: two, method: GET, gateway_path: \"/two/{x}\", service: b, query_params: { q: { type: string } }, \
  header_params: { X-B: { type: string } } }
";

/// A text of the good configuration and what stands there instead.
type Change = (&'static str, &'static str);

/// A rule, a fault of shape, one of meaning, and what is said of the second.
type Row = (&'static str, Change, Change, &'static [&'static str]);

/// What compiling finds in the good configuration with these changes, as `place: message`.
fn found(changes: &[Change]) -> Vec<String> {
    let mut text = GOOD.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old} is not in {text}");
        text = text.replacen(old, new, 1);
    }
    let (loading, mut report, _) = load_text("test.yaml", text.replace("SHA", &"9f".repeat(32)));
    match loading {
        Loading::Damaged(damaged) => report = judge(&damaged),
        Loading::Whole(loaded) => {
            let lookup = |_: &str, _: u16| Ok(Vec::new());
            let surroundings = Surroundings {
                telemetry: &Telemetry::new("", ""),
                lookup: &lookup,
                generation: 1,
                flood: None,
                keys: &crate::gateway::key_source::KeySources::default(),
                read: None,
                now: 0,
                running: &[],
                services: &[],
            };
            compile(&loaded.config, "", "", &surroundings, &mut report);
        }
        Loading::Nothing => panic!("{changes:?}: {report:?}"),
    }
    report.problems().iter().map(|problem| format!("{}: {}", problem.place, problem.message)).collect()
}

fn check(rows: &[Row]) {
    for (rule, shape, meaning, expected) in rows {
        assert_eq!(found(&[*shape]), [""; 0], "{rule}: {shape:?} alone");
        assert_ne!(found(&[*meaning]), [""; 0], "{rule}: {meaning:?} is no fault");
        assert_eq!(found(&[*shape, *meaning]), *expected, "{rule}: {meaning:?} with {shape:?}");
    }
}

#[test]
fn the_good_configuration_is_good() {
    assert_eq!(found(&[]), [""; 0]);
}

#[test]
fn what_is_certain_is_reported() {
    check(&[
        (
            "a fault elsewhere",
            ("url: http://a", "url: 7"),
            ("service: b", "service: c"),
            &["routes[1].service: unknown service `c`", "services.b: no route uses service `b`"],
        ),
        (
            "a fault in the same route",
            ("name: two", "name: 7"),
            ("service: b", "service: b, cost: 0"),
            &["routes[1].cost: a request costs at least 1"],
        ),
        (
            "behind elements that are left out",
            ("routes:\n", "routes:\n- 7\n- []\n"),
            ("gateway_path: /one", "gateway_path: one"),
            &["routes[2].gateway_path: a path begins with `/`: write `/one`"],
        ),
        (
            "behind a rate that is left out",
            ("total: [5/second,", "total: [soon, 5/second,"),
            ("9/day", "9/second"),
            &["plans.free.total[2]: this list limits each second already"],
        ),
        (
            "the same requests, where a service is faulty",
            ("url: http://b", "url: []"),
            ("/one", "\"/two/{y}\""),
            &[
                "routes[1].gateway_path: route `two` and route `one` (`/two/{y}`) match the same GET requests: both have \
               the same path, whatever its parameters are called",
            ],
        ),
        (
            "an unknown name where others are faulty",
            ("header: x-key", "header: x-key, forward: 7"),
            ("[key]", "[key, kye]"),
            &["defaults.auth[1]: unknown authenticator `kye`", "defaults.auth[1]: unknown authenticator `kye`"],
        ),
        (
            "a keyword beside a faulty `optional`",
            ("type: string", "type: string, optional: 7"),
            ("q: {", "q: { maximum: 1,"),
            &["routes[1].query_params.q.maximum: `maximum` has no effect on this type"],
        ),
        (
            "a key where another place of it is faulty",
            ("header: x-key", "header: x-key, query: 7"),
            ("x-key", "a b"),
            &["authenticators.key.api_key.header: a key cannot be sent as header `a b`"],
        ),
        (
            "a header's fault beside one that is written in capitals and faulty",
            ("X-B: { type: string", "X-B: { type: integer, default: '${file:none}'"),
            ("service: b", "service: b, cookie_params: { a: { typ: string } }"),
            &["routes[1].cookie_params.a.typ: unknown keyword `typ`"],
        ),
        (
            "a parameter of a path that is faulty itself",
            ("\"/two/{x}\"", "7"),
            ("service: b", "service: b, path_params: { x: { typ: string } }"),
            &["routes[1].path_params.x.typ: unknown keyword `typ`"],
        ),
        (
            "a header that no route may declare",
            ("header: x-key", "header: x-key, forward: 7"),
            ("X-B:", "Via:"),
            &["routes[1].header_params.via: `via`: the proxy writes this header itself"],
        ),
        (
            "a schema of a whole reply, at its properties of any name",
            ("name: two", "name: 7"),
            ("service: b", "service: b, response_model: { schema: { properties: { 404: { typ: string } } } }"),
            &["routes[1].response_model.schema.properties.404.typ: unknown keyword `typ`"],
        ),
        (
            "a route that the description hides, and that cannot be made",
            ("service: a", "service: 7"),
            ("/one", "/docs"),
            &["routes[0].gateway_path: the description of the API is served at `/docs` of listener `127.0.0.1:8081`"],
        ),
        (
            "the conditions of all, where those of one route are faulty",
            ("service: b", "service: b, allow: { consumers: [7] }"),
            ("[key] }", "[key], allow: { scopes: [a b] }, deny_addresses: [] }"),
            &["defaults.allow.scopes[0]: `a b` is no scope", "defaults.deny_addresses: an empty list denies nobody"],
        ),
        (
            "a base URL of the description",
            ("listener: 127.0.0.1:8081", "listener: 7"),
            ("/v1", "v1"),
            &["docs.servers[0]: `v1` is no base URL"],
        ),
    ]);
}

#[test]
fn what_may_follow_from_the_shape_is_not() {
    check(&[
        (
            "the authenticator may be one of tokens",
            ("api_key: { header: x-key }", "api_key: 7"),
            ("by: route", "by: 'claim:tenant'"),
            &[],
        ),
        (
            "another authenticator may be meant",
            ("service: a,", "service: a, ath: [corp],"),
            ("by: route", "by: 'claim:tenant'"),
            &[],
        ),
        ("a definition may be under another key", ("services:", "servces:"), ("service: b", "service: c"), &[]),
        ("all definitions are lost", ("plans: {", "plans: 7 # {"), ("plan: free", "plan: fre"), &[]),
        ("another address is meant", ("127.0.0.1:8080", "x"), ("127.0.0.1:8081", "127.0.0.1:8080"), &[]),
        ("another address than admin's is meant", ("127.0.0.1:8080", "x"), ("127.0.0.1:9090", "127.0.0.1:8080"), &[]),
        (
            "the method is under another key",
            ("name: one,", "name: one, metod: GET,"),
            ("method: GET, gateway_path: /one", "gateway_path: /one"),
            &[],
        ),
        ("another host is meant", ("service: a,", "service: a, host: 7,"), ("/one", "\"/two/{y}\""), &[]),
        ("a host under another key", ("service: a,", "service: a, hst: x,"), ("/one", "\"/two/{y}\""), &[]),
        ("a faulty route may use it", ("service: a", "service: 7"), ("b: {", "c: { url: http://c }, b: {"), &[]),
        ("a faulty consumer may have it", ("plan: free", "plan: 7"), ("plans: {", "plans: { gold: {},"), &[]),
        ("a faulty name may be meant", ("name: two", "name: 7"), ("total:", "routes: { tow: 1/day }, total:"), &[]),
        (
            "another operation id is meant",
            ("name: two", "name: two, operation_id: 7"),
            ("name: one", "name: one, operation_id: two"),
            &[],
        ),
        (
            "nobody else uses the default",
            ("name: two", "name: two, auth: 7"),
            ("[key]", "[kye]"),
            &["defaults.auth[0]: unknown authenticator `kye`"],
        ),
        (
            "another rate is meant",
            ("rate: 5/second", "rate: soon"),
            ("name: one", "name: one, cost: 9"),
            &["routes[0].cost: a request costs 9, more than limit `total-second` of plan `free` ever allows"],
        ),
        (
            "a keyword of the same parameter is missing",
            ("type: string", "type: string, default: '${file:none}'"),
            ("q: {", "q: { maximum: 3,"),
            &[],
        ),
        (
            "another plan is meant",
            ("total: [5/second", "total: [soon, 5/second"),
            ("name: one", "name: one, cost: 9"),
            &["routes[0].limits[0].rate: a request costs 9, more than this limit ever allows"],
        ),
        (
            "two faulty keys",
            ("sha256: SHA", "sha256: x"),
            ("ann: {", "bob: { plan: free, api_keys: [] }, ann: {"),
            &["consumers.bob: consumer `bob` has no key, so nobody can call as it"],
        ),
        ("the key may pass", ("header: x-key", "header: x-key, forward: 7"), ("X-B:", "X-Key:"), &[]),
        (
            "the route may be public",
            ("name: two", "name: two, ath: public"),
            ("service: b", "service: b, cookie_params: { c: {} }, request_headers: { allow: [x-key] }"),
            &[],
        ),
        ("any body may be meant", ("name: two", "name: two, bdy: any"), ("X-B:", "Content-Type:"), &[]),
        (
            "the other header may be another",
            ("X-B: { type: string", "X-B: { default: '${file:none}'"),
            ("service: b", "service: b, request_headers: { allow: [x_b] }"),
            &[],
        ),
        (
            "the group's consumer is faulty",
            ("SHA }] }", "SHA }], groups: [7] }"),
            ("service: b", "service: b, allow: { groups: [staff] }"),
            &[],
        ),
        (
            "a public route may not be one",
            ("name: two", "name: two, auth: 7"),
            ("[key] }", "public, allow: { plans: [free] } }"),
            &["routes[0]: nobody could call: `defaults` ask for plans, and this route is public"],
        ),
        (
            "another network is denied",
            ("service: b", "service: b, deny_addresses: [7]"),
            ("[key] }", "[key], allow: { addresses: [10.0.0.0/8] }, deny_addresses: [10.0.0.0/8] }"),
            &["defaults.allow.addresses[0]: all of `10.0.0.0/8` is denied by `deny_addresses`"],
        ),
        (
            "the schema may be under another key",
            ("name: two", "name: two, body: { scheme: {} }"),
            ("service: b", "service: b, response_model: {}"),
            &["routes[1].response_model: no schema is given"],
        ),
        (
            "a file may be that large",
            ("name: one", "name: one, max_bdy: 9MiB"),
            ("method: GET", "method: POST, form_params: { f: { type: file, max_size: 2MiB } }"),
            &[],
        ),
        (
            "an admin listener is under another key",
            ("version: 1", "version: 1\nadmn: {}"),
            ("admin: { address: 127.0.0.1:9090 }\ndocs: { listener: 127.0.0.1:8081", "docs: { listener: admin"),
            &[],
        ),
        (
            "another listener is meant",
            ("127.0.0.1:8080", "x"),
            ("listener: 127.0.0.1:8081", "listener: 127.0.0.1:8082"),
            &[],
        ),
        ("another method is meant", ("method: GET", "method: 7"), ("/one", "/docs"), &[]),
    ]);
}
