//! What the demo microservice answers to a request.
//!
//! [`answer`] is a pure function of the request, so that tests can stand in for the microservice without starting
//! it. It reads its input as a typed service would and reports everything that is wrong with it as a 422 with
//! `{"detail": [{"loc", "msg", "type"}]}`: when the gateway in front of it has done its work, that is never seen.
//! It does not read `multipart/form-data`.

use std::time::Duration;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Number, Value, json};

/// The longest wait that `/slow` can be asked for.
const LONGEST_WAIT: u64 = 10_000;

/// What the microservice says of itself.
const OPENAPI: &str = include_str!("openapi.json");

/// A request as the microservice received it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, still percent-encoded.
    pub path: &'a str,
    /// What follows `?`, without it.
    pub query: &'a str,
    /// Names and values in order; names are compared without regard to case.
    pub headers: &'a [(String, String)],
    /// The body, without its framing.
    pub body: &'a [u8],
}

/// An answer of the microservice.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; `None` where the status forbids one.
    pub json: Option<Value>,
    /// How long the microservice thinks before it answers.
    pub wait: Duration,
}

impl Answer {
    /// A refusal in one sentence. `status` that is none becomes 500.
    pub(super) fn detail(status: u16, text: &str) -> Self {
        Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), json!({ "detail": text }))
    }

    fn new(status: StatusCode, json: Value) -> Self {
        Self { status, json: Some(json), wait: Duration::ZERO }
    }
}

/// What the microservice answers.
pub fn answer(request: &Received<'_>) -> Answer {
    if request.path == "/echo" || request.path.starts_with("/echo/") {
        return Answer::new(StatusCode::OK, echo(request));
    }
    if let Some(code) = request.path.strip_prefix("/status/") {
        return asked_status(code);
    }
    if request.path == "/openapi.json" {
        return serde_json::from_str(OPENAPI).map_or_else(|_| Answer::detail(500, "no document"), ok);
    }
    let Some((endpoints, tail)) = endpoints(request.path) else {
        return Answer::detail(404, "Not Found");
    };
    let method = if request.method == "HEAD" { "GET" } else { request.method };
    let Some((_, endpoint)) = endpoints.iter().find(|(of, _)| *of == method) else {
        return Answer::detail(405, "Method Not Allowed");
    };
    let mut input = Input::new(request, tail);
    let answer = endpoint(&mut input);
    if input.faults.is_empty() {
        return answer;
    }
    Answer::new(StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": input.faults }))
}

/// Reads what it needs and answers; when a read failed, the answer is not used.
type Endpoint = fn(&mut Input<'_>) -> Answer;

/// The endpoints of a path by method, with the path's last segment where that is a parameter.
fn endpoints(path: &str) -> Option<(&'static [(&'static str, Endpoint)], &str)> {
    let plain: &[(&str, Endpoint)] = match path {
        "/v1/list_model" => &[("GET", list_model)],
        "/v1/body" => &[("POST", body)],
        "/v1/query" => &[("GET", query)],
        "/v1/query_and_body" => &[("POST", query_and_body)],
        "/v1/form_data" => &[("POST", form_data)],
        "/v1/check_dependency_header" => &[("GET", seen_key), ("POST", seen_form)],
        "/slow" => &[("GET", slow)],
        _ => &[],
    };
    if !plain.is_empty() {
        return Some((plain, ""));
    }
    let (stem, tail) = path.rsplit_once('/').filter(|(_, tail)| !tail.is_empty())?;
    let endpoints: &[(&str, Endpoint)] = match stem {
        "/v1/path_param" => &[("GET", path_param)],
        "/v1/path_and_body" => &[("POST", path_and_body)],
        "/v1/query_and_body_path" => &[("POST", query_and_body_path)],
        _ => return None,
    };
    Some((endpoints, tail))
}

fn path_param(input: &mut Input<'_>) -> Answer {
    ok(json!({ "foo": "bar", "custom_int": input.path_integer("random_int") }))
}

fn path_and_body(input: &mut Input<'_>) -> Answer {
    let path = input.path_integer("path_int");
    let (int, str) = example_model(input);
    ok(json!({ "foo": "bar", "path_int": path, "example_int": int, "example_str": str }))
}

fn list_model(_: &mut Input<'_>) -> Answer {
    ok(json!([{ "foo_key": "foo" }, { "foo_key": "bar" }]))
}

fn body(input: &mut Input<'_>) -> Answer {
    let (int, str) = example_model(input);
    ok(json!({ "query_int": int, "query_str": str }))
}

fn query(input: &mut Input<'_>) -> Answer {
    ok(json!({ "query_int": input.query_integer("query_int"), "query_str": input.query_text("query_str") }))
}

fn query_and_body(input: &mut Input<'_>) -> Answer {
    let (query_int, query_str) = (input.query_integer("query_int"), input.query_text("query_str"));
    let (int, str) = example_model(input);
    ok(json!({ "query_int": query_int, "query_str": query_str, "example_int": int, "example_str": str }))
}

fn query_and_body_path(input: &mut Input<'_>) -> Answer {
    let path = input.path_integer("path");
    let (query_int, query_str) = (input.query_integer("query_int"), input.query_text("query_str"));
    let (int, str) = example_model(input);
    ok(json!({
        "query_int": query_int, "query_str": query_str, "path": path, "example_int": int, "example_str": str,
    }))
}

fn form_data(input: &mut Input<'_>) -> Answer {
    let (username, password) = credentials(input);
    ok(json!({ "foo": "bar", "username": username, "password": password }))
}

fn seen_key(input: &mut Input<'_>) -> Answer {
    ok(json!({ "header": header(input.request, "x-api-key"), "foo": "bar" }))
}

fn seen_form(input: &mut Input<'_>) -> Answer {
    let (username, password) = credentials(input);
    ok(json!({ "username": username, "password": password }))
}

fn slow(input: &mut Input<'_>) -> Answer {
    let asked = input.query_integer("ms");
    let milliseconds = asked.as_u64().unwrap_or_default().min(LONGEST_WAIT);
    Answer { wait: Duration::from_millis(milliseconds), ..ok(json!({ "waited_ms": milliseconds })) }
}

fn ok(json: Value) -> Answer {
    Answer::new(StatusCode::OK, json)
}

fn example_model(input: &mut Input<'_>) -> (Value, Value) {
    let Some(members) = input.json_object() else { return (Value::Null, Value::Null) };
    (input.member(&members, "example_int", "integer"), input.member(&members, "example_str", "string"))
}

fn credentials(input: &mut Input<'_>) -> (Value, Value) {
    (input.form_text("username"), input.form_text("password"))
}

/// A final status that was asked for; those without a body have none.
fn asked_status(code: &str) -> Answer {
    let status = code.parse().ok().filter(|code| (200..600).contains(code));
    let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else {
        return Answer::detail(404, "Not Found");
    };
    let json = (!matches!(status.as_u16(), 204 | 205 | 304)).then(|| json!({ "status": status.as_u16() }));
    Answer { status, json, wait: Duration::ZERO }
}

/// Everything that reached the service.
fn echo(request: &Received<'_>) -> Value {
    let text = || Value::String(String::from_utf8_lossy(request.body).into_owned());
    let body = match request.body {
        [] => Value::Null,
        bytes if is_json(request) => serde_json::from_slice(bytes).unwrap_or_else(|_| text()),
        _ => text(),
    };
    json!({
        "method": request.method,
        "path": request.path,
        "query": pairs(request.query.as_bytes()),
        "headers": request.headers,
        "body": body,
    })
}

/// One request being read, and what is wrong with it.
struct Input<'a> {
    request: &'a Received<'a>,
    tail: &'a str,
    faults: Vec<Value>,
}

impl<'a> Input<'a> {
    fn new(request: &'a Received<'a>, tail: &'a str) -> Self {
        Self { request, tail, faults: Vec::new() }
    }

    fn path_integer(&mut self, name: &str) -> Value {
        let text = percent_decode_str(self.tail).decode_utf8_lossy().into_owned();
        self.integer(&["path", name], Some(text))
    }

    fn query_integer(&mut self, name: &str) -> Value {
        self.integer(&["query", name], last(self.request.query.as_bytes(), name))
    }

    fn query_text(&mut self, name: &str) -> Value {
        self.text(&["query", name], last(self.request.query.as_bytes(), name))
    }

    /// A form field; an empty one counts as missing.
    fn form_text(&mut self, name: &str) -> Value {
        let form = if is_form(self.request) { self.request.body } else { &[] };
        self.text(&["body", name], last(form, name).filter(|text| !text.is_empty()))
    }

    fn json_object(&mut self) -> Option<Map<String, Value>> {
        let body = self.request.body;
        if body.is_empty() {
            self.missing(&["body"]);
            return None;
        }
        let typed = is_json(self.request) || header(self.request, "content-type").is_none();
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) if typed => return Some(members),
            Ok(Value::Null) if typed => self.missing(&["body"]),
            Err(_) if typed => self.fault(&["body"], "the body is not JSON", "value_error.jsondecode"),
            _ => self.fault(&["body"], "value is not a valid dict", "type_error.dict"),
        };
        None
    }

    /// A required member of the body. `kind` is `integer` or `string`.
    fn member(&mut self, members: &Map<String, Value>, name: &str, kind: &str) -> Value {
        match members.get(name) {
            Some(Value::Number(number)) if kind == "integer" && is_integer(&number.to_string()) => {
                number.clone().into()
            }
            Some(Value::String(text)) if kind == "string" => text.clone().into(),
            Some(_) => {
                self.fault(&["body", name], &format!("value is not a valid {kind}"), &format!("type_error.{kind}"))
            }
            None => self.missing(&["body", name]),
        }
    }

    fn integer(&mut self, loc: &[&str], text: Option<String>) -> Value {
        let Some(text) = text else { return self.missing(loc) };
        if !is_integer(&text) {
            return self.fault(loc, "value is not a valid integer", "type_error.integer");
        }
        text.parse::<Number>()
            .map_or_else(|_| self.fault(loc, "value is not a valid integer", "type_error.integer"), Value::from)
    }

    fn text(&mut self, loc: &[&str], text: Option<String>) -> Value {
        text.map_or_else(|| self.missing(loc), Value::from)
    }

    fn missing(&mut self, loc: &[&str]) -> Value {
        self.fault(loc, "field required", "value_error.missing")
    }

    /// Notes a fault. `Null` stands for the value that could not be read.
    fn fault(&mut self, loc: &[&str], msg: &str, kind: &str) -> Value {
        self.faults.push(json!({ "loc": loc, "msg": msg, "type": kind }));
        Value::Null
    }
}

fn header<'a>(request: &Received<'a>, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The media type in lower case, without its parameters.
fn media_type(request: &Received<'_>) -> String {
    let value = header(request, "content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(request: &Received<'_>) -> bool {
    let media_type = media_type(request);
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn is_form(request: &Received<'_>) -> bool {
    media_type(request) == "application/x-www-form-urlencoded"
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// The value of a name; of several, the last.
fn last(encoded: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(encoded).filter(|(of, _)| of == name).last().map(|(_, value)| value.into_owned())
}
