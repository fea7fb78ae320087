//! The contract as tables: a declaration, what a client sends, what the service gets or which rules are broken.

mod body;
mod document;
mod encodings;
mod faults;
mod fields;
mod properties;
mod query;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::*;

/// One parameter taken apart as the configuration does it.
pub(super) struct Written {
    name: String,
    schema: Map<String, Value>,
    optional: bool,
    default: Option<Value>,
}

impl Written {
    pub(super) fn declared(&self) -> Declared<'_> {
        Declared { name: &self.name, schema: &self.schema, optional: self.optional, default: self.default.as_ref() }
    }
}

/// Reads `{"name": {schema and optional and default}}`.
pub(super) fn written(json: &str) -> Vec<Written> {
    let all: Map<String, Value> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let one = |(name, schema): (String, Value)| {
        let Value::Object(mut schema) = schema else { panic!("{name} is no schema") };
        let default = schema.shift_remove("default");
        let optional = schema.shift_remove("optional") == Some(Value::Bool(true));
        Written { name, schema, optional, default }
    };
    all.into_iter().map(one).collect()
}

pub(super) fn texts(position: Position, json: &str) -> Vec<TextParameter> {
    let compile = |one: &Written| TextParameter::compile(position, one.declared()).unwrap_or_else(|f| panic!("{f:?}"));
    written(json).iter().map(compile).collect()
}

pub(super) fn members(json: &str) -> Vec<Member> {
    written(json).iter().map(|one| Member::compile(one.declared()).unwrap_or_else(|f| panic!("{f:?}"))).collect()
}

pub(super) fn contract(body: BodyContract) -> Contract {
    Contract { path: PathContract::default(), query: QueryContract::any(), fields: FieldContract::default(), body }
}

/// `! query.limit int_parsing, body.a.0 missing`, or what was written.
pub(super) fn outcome(out: &str, violations: &Violations) -> String {
    if violations.is_empty() {
        return out.to_owned();
    }
    let one = |violation: &Violation| {
        let parts = violation.loc.0.iter().map(|part| match part {
            LocPart::Text(text) => text.to_string(),
            LocPart::Index(index) => index.to_string(),
        });
        format!("{} {}", parts.collect::<Vec<_>>().join("."), violation.kind.code())
    };
    format!("! {}", violations.as_slice().iter().map(one).collect::<Vec<_>>().join(", "))
}

pub(super) fn query(parameters: &str, undeclared: Undeclared, raw: &str) -> String {
    let contract = QueryContract::declared(texts(Position::Query, parameters), undeclared);
    let (mut out, mut violations) = (String::new(), Violations::new());
    contract.check(Some(raw), &mut out, &mut violations);
    assert!(violations.is_empty() || out.is_empty(), "something was written in spite of a violation");
    outcome(&out, &violations)
}

pub(super) fn path(schema: &str, value: &str) -> String {
    let typed = texts(Position::Path, &format!(r#"{{"x":{schema}}}"#));
    let contract = PathContract::new(&["x"], typed).unwrap();
    let (captures, mut out, mut violations) = ([Cow::Borrowed(value)], PathValues::new(), Violations::new());
    contract.check(&captures, &mut out, &mut violations);
    outcome(&out[0], &violations)
}

pub(super) fn headers(content_type: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(value) = content_type {
        headers.insert("content-type", value.parse().unwrap());
    }
    headers
}

pub(super) fn header_parameters(json: &str) -> Vec<HeaderParameter> {
    let compile = |one: &Written| {
        let name = HeaderName::from_bytes(one.name.as_bytes()).unwrap();
        HeaderParameter::compile(name, one.declared()).unwrap_or_else(|f| panic!("{f:?}"))
    };
    written(json).iter().map(compile).collect()
}

pub(super) fn cookie_contract(json: &str, undeclared: Undeclared) -> CookieContract {
    let compile = |one: &Written| CookieParameter::compile(one.declared()).unwrap_or_else(|f| panic!("{f:?}"));
    CookieContract::new(written(json).iter().map(compile).collect(), undeclared, vec!["session".into()])
}

/// A client's fields, as they came.
pub(super) fn fields(sent: &[(&str, &[u8])]) -> HeaderMap {
    let field = |(name, value): &(&str, &[u8])| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in sent.iter().map(field) {
        headers.append(name, value);
    }
    headers
}

/// What the service gets of a client's fields; nothing when there are violations.
pub(super) fn passed(contract: &FieldContract, mut headers: HeaderMap) -> Result<HeaderMap, Violations> {
    let mut violations = Violations::new();
    let checked = contract.check(&headers, &mut violations);
    if !violations.is_empty() {
        return Err(violations);
    }
    checked.write(&mut headers);
    Ok(headers)
}

pub(super) fn sent(contract: Contract, content_type: Option<&str>, body: &[u8]) -> String {
    let mut violations = Violations::new();
    let media = contract.accept(&headers(content_type)).unwrap();
    let text = match contract.check_body(media, body, &mut violations) {
        CheckedBody::Nothing => "nothing".to_owned(),
        CheckedBody::Unread => "unread".to_owned(),
        CheckedBody::Bytes { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
    };
    outcome(&text, &violations)
}

pub(super) fn json(parameters: &str, undeclared: Undeclared, body: &[u8]) -> String {
    sent(contract(BodyContract::Json(JsonContract::new(members(parameters), undeclared))), None, body)
}

pub(super) fn form(parameters: &str, undeclared: Undeclared, body: &[u8]) -> String {
    let fields = texts(Position::Form, parameters);
    sent(contract(BodyContract::Form(FormContract::new(fields, undeclared))), Some(super::media_type::FORM), body)
}
