//! What a case expects, compared with what happened.
//!
//! Queries and urlencoded bodies are compared as decoded pairs, paths as decoded segments, JSON as values with all
//! digits. Of a `keep` case the header fields that passed through the Python gateway must pass here as well. An
//! expectation of an unknown kind is a fault, so that none is skipped in silence.

use serde_json::{Map, Value, json};

use super::case::{Case, Verdict};
use crate::support::client::Response;
use crate::support::multipart;
use crate::support::origin::Recorded;
use crate::support::wire::{self, Field};

/// Request header fields that a gateway writes itself.
const GATEWAYS_OWN: &[&str] = &["host", "gateway_host", "accept-encoding", "content-length", "content-type"];

/// Response header fields that a gateway writes itself.
const SERVERS_OWN: &[&str] = &["date", "server", "connection", "content-length", "transfer-encoding"];

/// What happened.
pub struct Outcome<'a> {
    pub response: &'a Response,
    /// What the service got.
    pub upstream: &'a [Recorded],
    /// Whether `tollgate check` warned of the route.
    pub warned: bool,
}

/// Everything that is not as expected.
pub fn faults(case: &Case, expect: &Map<String, Value>, outcome: &Outcome<'_>) -> Vec<String> {
    let mut faults: Vec<String> =
        expect.iter().filter_map(|(kind, wanted)| fault(case, expect, kind, wanted, outcome)).collect();
    if outcome.response.cut && !expect.contains_key("cut") {
        faults.push("the response is cut".to_owned());
    }
    if case.verdict == Verdict::Keep && !made_by_gateway(expect) {
        faults.extend(lost_fields(case, outcome));
    }
    faults
}

fn fault(
    case: &Case,
    expect: &Map<String, Value>,
    kind: &str,
    wanted: &Value,
    outcome: &Outcome<'_>,
) -> Option<String> {
    let response = outcome.response;
    match kind {
        "status" => differs("status", wanted, &Value::from(response.status))
            .map(|fault| format!("{fault}: {}", response.text())),
        "json" if made_by_gateway(expect) => error_differs(wanted, response),
        "json" => json_differs("body", wanted, &response.body),
        "text" if made_by_gateway(expect) => None,
        "text" => differs("text", wanted, &Value::from(response.text())),
        "text_absent" => {
            strings(wanted).find(|text| response.text().contains(text)).map(|text| format!("body has {text}"))
        }
        "headers" => wanted.as_object()?.iter().find_map(|(name, value)| header_differs(name, value, response)),
        "headers_absent" => strings(wanted)
            .find(|name| !response.values(name).is_empty())
            .map(|name| format!("the response has {name}")),
        "cut" => (!response.cut).then(|| "the response is not cut".to_owned()),
        "upstream_called" => differs("calls of the service", &calls(wanted), &Value::from(outcome.upstream.len())),
        "upstream" => upstream_differs(case, wanted, outcome.upstream),
        "one_of" => none_of(case, wanted, outcome),
        "config_warning" => (!outcome.warned).then(|| "no warning of the route".to_owned()),
        "config_error" => Some("there is no configuration to refuse".to_owned()),
        _ => Some(format!("unknown expectation {kind}")),
    }
}

/// Whether the answer is the gateway's own: then its wording is free.
fn made_by_gateway(expect: &Map<String, Value>) -> bool {
    expect.get("upstream_called") == Some(&Value::Bool(false))
}

fn calls(wanted: &Value) -> Value {
    Value::from(usize::from(wanted.as_bool().unwrap_or_default()))
}

/// The faults of the alternative with the fewest, if none is free of them.
fn none_of(case: &Case, wanted: &Value, outcome: &Outcome<'_>) -> Option<String> {
    let alternatives = wanted.as_array()?.iter().filter_map(Value::as_object);
    let judged = alternatives.map(|expect| {
        let kinds = expect.iter().filter(|(kind, _)| *kind != "config");
        kinds.filter_map(|(kind, wanted)| fault(case, expect, kind, wanted, outcome)).collect::<Vec<_>>()
    });
    let closest = judged.min_by_key(Vec::len)?;
    (!closest.is_empty()).then(|| format!("none of the alternatives; closest: {}", closest.join(", ")))
}

/// Of an error only the shape of `detail` and its places count.
fn error_differs(wanted: &Value, response: &Response) -> Option<String> {
    let Ok(got) = serde_json::from_slice::<Value>(&response.body) else {
        return Some(format!("the error is not JSON: {}", response.text()));
    };
    match &wanted["detail"] {
        Value::Array(_) => differs("places", &places(wanted), &places(&got)),
        _ if got["detail"].is_string() => None,
        _ => Some(format!("detail is not a text: {got}")),
    }
}

/// The `loc`s of an error in an order of their own.
fn places(error: &Value) -> Value {
    let details = error["detail"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut places: Vec<String> = details.iter().map(|detail| detail["loc"].to_string()).collect();
    places.sort_unstable();
    places.dedup();
    places.into()
}

fn header_differs(name: &str, wanted: &Value, response: &Response) -> Option<String> {
    let got = response.value(name).map_or(Value::Null, Value::from);
    if name == "allow" {
        return differs(name, &listed(wanted), &listed(&got));
    }
    differs(name, wanted, &got)
}

/// The members of a comma-separated list in an order of their own.
fn listed(value: &Value) -> Value {
    let mut members: Vec<&str> = value.as_str().unwrap_or_default().split(',').map(str::trim).collect();
    members.sort_unstable();
    members.into()
}

fn upstream_differs(case: &Case, wanted: &Value, upstream: &[Recorded]) -> Option<String> {
    let [request] = upstream else { return Some(format!("{} calls of the service, not one", upstream.len())) };
    let kinds = wanted.as_object()?.iter();
    let faults: Vec<String> = kinds.filter_map(|(kind, wanted)| request_differs(case, kind, wanted, request)).collect();
    (!faults.is_empty()).then(|| format!("the service got {}", faults.join(", ")))
}

fn request_differs(case: &Case, kind: &str, wanted: &Value, request: &Recorded) -> Option<String> {
    let text = wanted.as_str().unwrap_or_default();
    match kind {
        "method" => differs("method", wanted, &Value::from(request.method.as_str())),
        "path" => differs("path", &segments(text), &segments(request.path())),
        "query" => differs("query", &pairs(text.as_bytes()), &pairs(request.query().as_bytes())),
        "body" if is_form(request) => differs("form", &pairs(text.as_bytes()), &pairs(&request.body)),
        "body" => differs("body", wanted, &Value::from(String::from_utf8_lossy(&request.body))),
        "json" => json_differs("body", wanted, &request.body),
        "form" => differs("form", &wanted["urlencoded"], &pairs(&request.body)),
        "form_fields_any_order" => differs("form", &sorted(wanted), &sorted(&fields(request))),
        "body_same_as_client" => {
            (request.body != case.client_request.body.as_bytes()).then(|| "another body than was sent".to_owned())
        }
        "headers" => fields_differ(wanted, |name| request.values(name).into_iter().map(lossy).collect()),
        "headers_hex" => fields_differ(wanted, |name| hex(&request.values(name).concat()).into()),
        "absent_headers" => strings(wanted).find(|name| !request.values(name).is_empty()).map(str::to_owned),
        _ => Some(format!("unknown expectation {kind}")),
    }
}

fn fields_differ(wanted: &Value, got: impl Fn(&str) -> Value) -> Option<String> {
    wanted.as_object()?.iter().find_map(|(name, value)| differs(name, value, &got(name)))
}

/// Fields that passed through the Python gateway, in one direction or the other, and do not pass here.
fn lost_fields(case: &Case, outcome: &Outcome<'_>) -> Vec<String> {
    let recorded = case.recorded();
    let replied = lost(&recorded.response.fields, &outcome.response.fields, SERVERS_OWN);
    let mut faults: Vec<String> = replied.into_iter().map(|fault| format!("response: {fault}")).collect();
    if let (Some(before), Some(now)) = (recorded.upstream.first(), outcome.upstream.first()) {
        let passed = lost(&before.fields, &now.fields, GATEWAYS_OWN);
        faults.extend(passed.into_iter().map(|fault| format!("to the service: {fault}")));
        // A client's own JSON type says more than `application/json`, and is kept.
        if !before.body.is_empty() && !media_type(now).as_str().is_some_and(|kind| kind.ends_with("+json")) {
            faults.extend(differs("content-type", &media_type(before), &media_type(now)));
        }
    }
    faults
}

fn lost(before: &[Field], now: &[Field], own: &[&str]) -> Vec<String> {
    let names = before.iter().map(|(name, _)| name).filter(|name| !own.contains(&name.as_str()));
    let texts = |fields, name| wire::values(fields, name).into_iter().map(lossy).collect::<Value>();
    names.filter_map(|name| differs(name, &texts(before, name), &texts(now, name))).collect()
}

fn json_differs(what: &str, wanted: &Value, bytes: &[u8]) -> Option<String> {
    match serde_json::from_slice(bytes) {
        Ok(got) => differs(what, wanted, &got),
        Err(error) => Some(format!("{what} is not JSON ({error}): {}", lossy(bytes))),
    }
}

fn differs(what: &str, wanted: &Value, got: &Value) -> Option<String> {
    (wanted != got).then(|| format!("{what} is {got}, not {wanted}"))
}

fn media_type(request: &Recorded) -> Value {
    let value = request.values("content-type").first().copied().map(lossy).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().into()
}

/// Names and values of a form, urlencoded or multipart.
fn fields(request: &Recorded) -> Value {
    if media_type(request) != "multipart/form-data" {
        return pairs(&request.body);
    }
    let field = |part: multipart::Part| json!([lossy(&part.name), lossy(&part.content)]);
    multipart::read(request).into_iter().map(field).collect()
}

fn is_form(request: &Recorded) -> bool {
    media_type(request) == "application/x-www-form-urlencoded"
}

fn pairs(encoded: &[u8]) -> Value {
    let pairs = form_urlencoded::parse(encoded).into_owned();
    pairs.map(|(name, value)| Value::from(vec![name, value])).collect()
}

/// Decoded one by one, so that an encoded slash is not one that separates.
fn segments(path: &str) -> Value {
    path.split('/')
        .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect()
}

fn sorted(pairs: &Value) -> Value {
    let mut pairs = pairs.as_array().cloned().unwrap_or_default();
    pairs.sort_by_key(Value::to_string);
    pairs.into()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
