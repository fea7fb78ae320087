//! Whatever a client sends, what the service gets is a subset of the contract: the whole way of a request through
//! admission and forwarding, with every encoding of the contract at once.

use std::net::IpAddr;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::proxy::State;
use crate::proxy::admit::tests::{admitted, state_of};
use crate::proxy::admit::{Decision, Request};
use crate::proxy::exchange::InFlight;

/// Every encoding declares the same parameters. The JSON route and the form route differ in their bodies alone.
const CONFIG: &str = "
version: 1
listeners: [{ address: 127.0.0.1:0 }]
services: { up: { url: 'http://127.0.0.1:1/base' } }
defaults: { auth: public }
authenticators:
  head: { api_key: { header: x-key } }
  cookie: { api_key: { cookie: session } }
  link: { api_key: { query: key } }
consumers: { alice: { api_keys: [{ sha256: 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90 }] } }
routes:
  - &json
    name: json
    method: POST
    gateway_path: /json/{id}
    service: up
    path_params: { id: &page { type: integer, maximum: 99 } }
    query_params: &both { page: *page, tag: { type: string, maxLength: 3, optional: true } }
    header_params: *both
    cookie_params: *both
    request_headers: { allow: [accept] }
    body_params: *both
  - name: form
    method: POST
    gateway_path: /form/{id}
    service: up
    path_params: { id: *page }
    query_params: *both
    header_params: *both
    cookie_params: *both
    request_headers: { allow: [accept] }
    form_params: *both
";

/// What the gateway writes itself, of the client or not.
const OWN: [&str; 9] = [
    "content-length",
    "content-type",
    "forwarded",
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

static STATE: LazyLock<State> = LazyLock::new(|| state_of(CONFIG));

/// What a client sends.
#[derive(Debug, Clone)]
struct Sent {
    target: String,
    fields: Vec<(String, String)>,
    body: String,
}

/// What the service gets, unless the request is refused.
fn forwarded(sent: &Sent) -> Option<(Parts, Bytes)> {
    let mut request = http::Request::builder().method("POST").uri(&sent.target).header(HOST, "a.example");
    for (name, value) in &sent.fields {
        request = request.header(name, value);
    }
    let (mut parts, ()) = request.header(CONTENT_LENGTH, sent.body.len()).body(()).ok()?.into_parts();
    let peer = IpAddr::from([192, 0, 2, 1]);
    let request = Request::new(&parts, sent.target.as_bytes(), Bytes::new(), Address::of(peer));
    let mut exchange = Exchange::begin(STATE.gateway.load_full(), InFlight::enter(&STATE.in_flight));
    let admission = match admitted(&STATE, &request, &mut exchange).ok()? {
        Decision::Forward(admission) => admission,
        Decision::ReadBody(pending) => pending.finish(&Bytes::from(sent.body.clone())).ok()?,
        Decision::Options(_) | Decision::Redirect(_) | Decision::Page(_) => return None,
    };
    let target = admission.route.service.next_target().unwrap();
    rewrite(&mut parts, &exchange, &admission, &target).unwrap();
    let body = match admission.body {
        AdmittedBody::Checked { bytes, .. } => bytes,
        AdmittedBody::None => Bytes::new(),
        AdmittedBody::Streamed | AdmittedBody::Observed(_) | AdmittedBody::Spooled { .. } => {
            panic!("the body was not checked")
        }
    };
    Some((parts, body))
}

/// A right value for the required parameter, and then what is declared, nearly declared, or neither.
fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let right = prop_oneof![("page", "[1-9][0-9]?"), ("tag", "[a-c]{0,3}|ü")];
    let noise = ("Page|TAG|p%61g|pa_ge|key|session|page\\[\\]|tag\\+|other", "[0-9]{1,2}|[a-c]{1,4}|%35|\"5\"|ü|");
    let wrong = ("page|tag", "-?[0-9]{1,3}|[a-c]{1,4}|%35|\"5\"|0x1|1\\.0| 7|ü|");
    (("page", "[1-9][0-9]?"), vec(prop_oneof![2 => right, 4 => noise, 1 => wrong], 0..3)).prop_map(
        |(first, mut more)| {
            more.insert(0, first);
            more
        },
    )
}

fn joined(between: &'static str) -> impl Strategy<Value = String> {
    pairs().prop_map(move |pairs| {
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(between)
    })
}

/// With members that come twice.
fn object() -> impl Strategy<Value = String> {
    let member = |(name, value): &(String, String)| {
        let value = value.parse::<u8>().map_or_else(|_| Value::from(value.as_str()), Value::from);
        format!("{}: {value}", Value::from(name.as_str()))
    };
    pairs().prop_map(move |pairs| format!("{{{}}}", pairs.iter().map(member).collect::<Vec<_>>().join(", ")))
}

/// A body with its route and type.
fn body() -> impl Strategy<Value = (&'static str, String, String)> {
    let json =
        "application/json|APPLICATION/Json|application/json; ?charset=(utf-8|\"UTF-8\"|latin1)|application/x\\+json";
    let form = "application/x-www-form-urlencoded|Application/X-WWW-Form-Urlencoded;charset=(UTF-8|utf-7)";
    prop_oneof![
        4 => (Just("json"), json, object()),
        4 => (Just("form"), form, joined("&")),
        1 => (prop_oneof![Just("json"), Just("form")], "a/b|multipart/form-data|application/json|", joined("&")),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let query = joined("&").prop_map(|query| query.replace(['"', 'ü', ' ', '[', ']'], "+"));
    let id = prop_oneof![6 => "[1-9][0-9]?|%35", 1 => "[a-z]|5%2F|100|-0"];
    let field = prop_oneof![
        1 => ("tag", "[0-9]{1,2}|[a-c]{1,4}|1, 2| 7 "),
        1 => ("page", "7"),
        5 => ("ta_g|pa.ge|accept|x-key|x-other|x-consumer-name|x_forwarded_for|te|cookie2|content-language", "[a-z0-9]{1,5}"),
    ];
    (body(), id, query, vec(field, 0..4), joined("; ")).prop_map(
        |((route, kind, body), id, query, mut fields, cookies)| {
            fields.push(("Page".to_owned(), "7".to_owned()));
            fields.push(("cookie".to_owned(), cookies));
            fields.push(("content-type".to_owned(), kind));
            Sent { target: format!("/{route}/{id}?{query}"), fields, body }
        },
    )
}

/// Whether these are declared, each once at most, and valid; `page` must be among them.
fn assert_declared(pairs: impl Iterator<Item = (String, Value)>, what: &str) {
    let pairs: Vec<_> = pairs.collect();
    let object = Value::Object(pairs.iter().cloned().collect());
    assert_eq!(object.as_object().map(serde_json::Map::len), Some(pairs.len()), "{what}: a name twice");
    let declared = json!({
        "properties": {"page": {"type": "integer", "maximum": 99}, "tag": {"type": "string", "maxLength": 3}},
        "required": ["page"], "additionalProperties": false,
    });
    assert!(jsonschema::is_valid(&declared, &object), "{what}: {object}");
}

/// A value that came as text.
fn typed(name: &str, text: &str) -> (String, Value) {
    (name.to_owned(), if name == "page" { text.parse().unwrap_or_default() } else { text.into() })
}

fn urlencoded(text: &str) -> impl Iterator<Item = (String, Value)> {
    form_urlencoded::parse(text.as_bytes()).map(|(name, text)| typed(&name, &text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_service_gets_a_subset_of_the_contract_in_every_encoding(sent in sent()) {
        let forwarded = forwarded(&sent);
        prop_assume!(forwarded.is_some());
        let (parts, body) = forwarded.unwrap();
        let (route, id) = parts.uri.path().strip_prefix("/base/").unwrap().split_once('/').unwrap();
        assert_declared([typed("page", id)].into_iter(), "path");
        assert_declared(urlencoded(parts.uri.query().unwrap_or_default()), "query");
        let text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).unwrap().to_owned();
        let fields = parts.headers.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        let (fields, others): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| !["accept", "cookie"].contains(&name.as_str()));
        assert_declared(fields.into_iter().map(|(name, value)| typed(name.as_str(), &text(value))), "header");
        prop_assert!(others.iter().filter(|(name, _)| *name == COOKIE).count() <= 1, "Cookie twice");
        let cookies: String = others.iter().filter(|(name, _)| *name == COOKIE).map(|(_, value)| text(value)).collect();
        assert_declared(cookies.split("; ").map(|pair| pair.split_once('=').unwrap()).map(|(n, v)| typed(n, v)), "cookie");
        let body = std::str::from_utf8(&body).unwrap();
        match route {
            "form" => assert_declared(urlencoded(body), "form"),
            _ => assert_declared(body.parse::<Value>().unwrap().as_object().unwrap().clone().into_iter(), "JSON"),
        }
        let kind = parts.headers[CONTENT_TYPE].to_str().unwrap();
        let right = if route == "form" { kind == "application/x-www-form-urlencoded" } else { kind.ends_with("json") };
        prop_assert!(right && kind.bytes().all(|byte| !byte.is_ascii_uppercase()), "{}", kind);
    }
}
