//! One contract in every encoding: the same wrong value breaks the same rule at the right place, the same right value
//! reaches the service as the same text, and of fields and cookies only valid declared ones leave.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json as value;

use super::*;
use crate::policy::contract::multipart::tests as multipart;

/// A way to send the values of a parameter `x`. Another one needs a line in [`ENCODINGS`].
struct Encoding {
    /// The first part of a place.
    source: &'static str,
    /// What becomes of these values; `None` when they cannot be sent this way.
    send: fn(&Case) -> Option<Outcome>,
}

/// The texts that the service gets, or the places without their source, with the rules, in an order of their own.
type Outcome = Result<Vec<String>, Vec<(String, ViolationKind)>>;

const ENCODINGS: [Encoding; 6] = [
    Encoding { source: "query", send: in_query },
    Encoding { source: "body", send: in_form },
    Encoding { source: "body", send: in_multipart },
    Encoding { source: "header", send: in_header },
    Encoding { source: "cookie", send: in_cookie },
    Encoding { source: "body", send: in_json },
];

/// A declared parameter, and what a client sends for it.
#[derive(Debug, Clone)]
struct Case {
    /// Of one value.
    schema: Value,
    list: bool,
    values: Vec<String>,
}

impl Case {
    fn parameters(&self) -> String {
        match self.list {
            true => value!({"x": {"type": "array", "items": self.schema, "maxItems": 2}}),
            false => value!({"x": self.schema}),
        }
        .to_string()
    }

    fn pairs(&self) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(self.values.iter().map(|text| ("x", text)));
        pairs.finish()
    }
}

fn told(source: &str, violations: &Violations) -> Vec<(String, ViolationKind)> {
    let one = |violation: &Violation| {
        let loc = violation.loc.to_string();
        let place = loc.strip_prefix(source).unwrap_or_else(|| panic!("{loc} is not in the {source}"));
        (place.to_owned(), violation.kind)
    };
    let mut told: Vec<_> = violations.as_slice().iter().map(one).collect();
    told.sort_by_key(|(place, kind)| (place.clone(), kind.code()));
    told
}

fn read(pairs: &str) -> Vec<String> {
    form_urlencoded::parse(pairs.as_bytes()).map(|(_, text)| text.into_owned()).collect()
}

fn in_query(case: &Case) -> Option<Outcome> {
    let contract = QueryContract::declared(texts(Position::Query, &case.parameters()), Undeclared::Reject);
    let (mut out, mut violations) = (String::new(), Violations::new());
    contract.check(Some(&case.pairs()), &mut out, &mut violations);
    Some(if violations.is_empty() { Ok(read(&out)) } else { Err(told("query", &violations)) })
}

fn in_body(body: BodyContract, content_type: &str, sent: &str) -> Result<String, Vec<(String, ViolationKind)>> {
    let (contract, mut violations) = (contract(body), Violations::new());
    let media = contract.accept(&headers(Some(content_type))).unwrap();
    match contract.check_body(media, sent.as_bytes(), &mut violations) {
        CheckedBody::Bytes { bytes, .. } => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
        CheckedBody::Nothing | CheckedBody::Unread => Err(told("body", &violations)),
    }
}

fn in_form(case: &Case) -> Option<Outcome> {
    // An empty field counts as absent.
    if case.values.iter().any(String::is_empty) {
        return None;
    }
    let fields = texts(Position::Form, &case.parameters());
    let body = BodyContract::Form(FormContract::new(fields, Undeclared::Reject));
    Some(in_body(body, super::super::media_type::FORM, &case.pairs()).map(|out| read(&out)))
}

fn in_multipart(case: &Case) -> Option<Outcome> {
    if case.values.iter().any(|text| text.is_empty() || text.contains("--b")) {
        return None;
    }
    let parts: Vec<_> = case.values.iter().map(|text| multipart::Meant::text("x", text)).collect();
    let contract = multipart::form(&case.parameters(), Undeclared::Reject);
    let text = |part: multipart::Meant| String::from_utf8(part.content).unwrap();
    let passed = multipart::pass(&contract, &multipart::body(&parts, "b"), "b", usize::MAX);
    Some(passed.map(|parts| parts.into_iter().map(text).collect()).map_err(|violations| told("body", &violations)))
}

fn in_header(case: &Case) -> Option<Outcome> {
    let inexpressible = |text: &String| {
        let item = case.list && (text.is_empty() || text.contains([',', '"']));
        item || text.trim() != text || HeaderValue::from_bytes(text.as_bytes()).is_err()
    };
    if case.values.iter().any(inexpressible) {
        return None;
    }
    let contract = FieldContract::new(header_parameters(&case.parameters()), None);
    let sent: Vec<_> = case.values.iter().map(|text| ("X", text.as_bytes())).collect();
    let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    let passed = passed(&contract, fields(&sent)).map(|headers| headers.get_all("x").iter().map(text).collect());
    Some(passed.map_err(|violations| told("header", &violations)))
}

fn in_cookie(case: &Case) -> Option<Outcome> {
    let inexpressible = |text: &String| text.contains(|char: char| !char.is_ascii_graphic() || "\"\\,;".contains(char));
    if case.list || case.values.iter().any(inexpressible) {
        return None;
    }
    let contract = FieldContract::new(Vec::new(), Some(cookie_contract(&case.parameters(), Undeclared::Reject)));
    let sent: Vec<_> = case.values.iter().map(|text| format!("x={text}")).collect();
    let sent: Vec<_> = sent.iter().map(|pair| ("cookie", pair.as_bytes())).collect();
    let text = |value: &HeaderValue| value.to_str().unwrap().strip_prefix("x=").unwrap().to_owned();
    let passed = passed(&contract, fields(&sent)).map(|headers| headers.get_all("cookie").iter().map(text).collect());
    Some(passed.map_err(|violations| told("cookie", &violations)))
}

/// JSON has types of its own: a number is sent as one where a client could write it so, everything else as a string.
fn in_json(case: &Case) -> Option<Outcome> {
    let kind = case.schema["type"].as_str().unwrap();
    // Text has spellings that JSON has not.
    if case.values.iter().any(|text| text == "-0" || (kind == "boolean" && matches!(text.as_str(), "0" | "1"))) {
        return None;
    }
    let one = |text: &String| {
        let parsed = text.parse::<Value>().ok().filter(|_| kind != "string" && text.trim() == text);
        let whole = |value: &Value| kind != "integer" || !value.is_number() || !text.contains('.');
        parsed.filter(|value| (value.is_number() || value.is_boolean()) && whole(value)).unwrap_or(text.as_str().into())
    };
    let mut values = case.values.iter().map(one);
    let body = match (case.list, case.values.len()) {
        (_, 0) => value!({}),
        (true, _) => value!({"x": values.collect::<Vec<_>>()}),
        (false, _) => value!({"x": values.next()}),
    };
    let contract = BodyContract::Json(JsonContract::new(members(&case.parameters()), Undeclared::Reject));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(in_body(contract, super::super::media_type::JSON, &body.to_string()).map(|out| {
        let out: Value = out.parse().unwrap();
        out["x"].as_array().map_or_else(|| vec![text(&out["x"])], |all| all.iter().map(text).collect())
    }))
}

/// The rule as it is called of a value that is JSON and not text.
fn of_json(kind: ViolationKind) -> ViolationKind {
    match kind {
        ViolationKind::IntParsing => ViolationKind::IntType,
        ViolationKind::FloatParsing => ViolationKind::FloatType,
        ViolationKind::BoolParsing => ViolationKind::BoolType,
        other => other,
    }
}

fn case() -> impl Strategy<Value = Case> {
    let schema = prop_oneof![
        (0u8..4, 0u8..6).prop_map(|(min, more)| value!({"type": "string", "minLength": min, "maxLength": min + more})),
        Just(value!({"type": "string", "pattern": "^[a-z]+$"})),
        Just(value!({"type": "string", "enum": ["a", "b c", "%41", "ü"]})),
        Just(value!({"type": "string", "format": "date"})),
        (-9i8..9).prop_map(|least| value!({"type": "integer", "minimum": least, "maximum": 12})),
        Just(value!({"type": "integer", "multipleOf": 3, "exclusiveMaximum": 60})),
        Just(value!({"type": "number", "exclusiveMinimum": 0.5})),
        Just(value!({"type": "number", "enum": [1.5, 7]})),
        Just(value!({"type": "boolean"})),
        Just(value!({"type": "boolean", "const": true})),
    ];
    let text = prop_oneof![
        "-?[0-9]{1,2}",
        "-?[0-9]\\.[0-9]{1,2}",
        "true|false|1|0|True|a|b c|%41|ü|2024-02-29|2023-02-29",
        "[a-z%+;,&= \"\\\\ü]{0,5}",
        ".{0,4}",
    ];
    (schema, any::<bool>(), vec(text, 0..4)).prop_map(|(schema, list, mut values)| {
        values.truncate(if list { 4 } else { 1 });
        Case { schema, list, values }
    })
}

const FIELDS: &str = r#"{"x-limit":{"type":"integer","minimum":-5,"maximum":100,"default":20},
    "x-tag":{"type":"string","minLength":1,"maxLength":4,"optional":true},
    "x-list":{"type":"array","items":{"type":"integer","multipleOf":2},"maxItems":3,"optional":true}}"#;
const COOKIES: &str =
    r#"{"limit":{"type":"integer","maximum":100,"default":20},"tag":{"maxLength":4,"optional":true}}"#;

static DECLARED: LazyLock<FieldContract> =
    LazyLock::new(|| FieldContract::new(header_parameters(FIELDS), Some(cookie_contract(COOKIES, Undeclared::Drop))));

/// Fields that often hit a declared name or cookie in some spelling, with values in and out of the contract.
fn sent_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name =
        prop_oneof!["x-limit|x-tag|x-list|cookie|Cookie", "[xX][-_.~][lL]imit|[xX][-_]TAG|X[-_]list", "[a-z-]{1,5}"];
    let text = prop_oneof![
        "-?[0-9]{1,3}|a|ab c|\"2\"| 4 |",
        "([0-9]{1,2}[ ,\t]{0,2}){0,4}",
        "(limit|tag|session|LIMIT| limit )(=|=|)(\"5\"|[0-9]{1,3}|a,b|)(; ?(limit|tag|x)=[a-z0-9\"]{0,3}){0,2}",
        "[ -~ü]{0,8}",
    ];
    let bytes = prop_oneof![
        8 => text.prop_map(String::into_bytes),
        1 => vec((0x20u8..=0xff).prop_filter("DEL", |byte| *byte != 0x7f), 0..6),
    ];
    vec((name, bytes), 0..7)
}

/// One of a schema's values, as an independent reader finds it in text.
fn assert_valid(parameters: &str, name: &str, text: &str) {
    let schemas: Value = parameters.parse().unwrap();
    let mut schema = schemas[name].as_object().unwrap_or_else(|| panic!("{name} is not declared")).clone();
    if let Some(items) = schema.get("items") {
        schema = items.as_object().unwrap().clone();
    }
    schema.retain(|keyword, _| keyword != "optional" && keyword != "default");
    let instance = if schema.get("type") == Some(&value!("integer")) { text.parse().unwrap() } else { text.into() };
    assert!(jsonschema::is_valid(&Value::Object(schema), &instance), "{name}: {text}");
}

/// As a CGI program knows it.
fn variable(name: &str) -> String {
    name.replace(|char: char| !char.is_ascii_alphanumeric(), "_").to_ascii_uppercase()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_same_value_has_the_same_fate_in_every_encoding(case in case()) {
        let expected = in_query(&case).unwrap();
        for (index, encoding) in ENCODINGS.iter().enumerate() {
            let Some(outcome) = (encoding.send)(&case) else { continue };
            let json = index + 1 == ENCODINGS.len();
            let expected = expected.clone().map_err(|told| {
                told.into_iter().map(|(place, kind)| (place, if json { of_json(kind) } else { kind })).collect()
            });
            prop_assert_eq!(outcome, expected, "{} of {:?}", encoding.source, case);
        }
    }

    #[test]
    fn only_valid_declared_fields_and_cookies_leave(sent in sent_fields()) {
        let sent: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let Ok(passed) = passed(&DECLARED, fields(&sent)) else { return Ok(()) };
        for (name, value) in &passed {
            match variable(name.as_str()).as_str() {
                "X_LIMIT" | "X_TAG" | "X_LIST" => {
                    let single = name == "x-list" || passed.get_all(name).iter().count() == 1;
                    prop_assert!(single, "{} twice", name);
                    assert_valid(FIELDS, name.as_str(), std::str::from_utf8(value.as_bytes()).unwrap());
                }
                "COOKIE" => {
                    prop_assert_eq!(passed.get_all(name).iter().count(), 1);
                    let mut seen = std::collections::HashSet::new();
                    for pair in value.to_str().unwrap().split("; ") {
                        let (name, text) = pair.split_once('=').unwrap();
                        assert_valid(COOKIES, name, text);
                        prop_assert!(seen.insert(name), "{} twice", name);
                    }
                }
                _ => prop_assert!(sent.iter().any(|(_, text)| *text == value.as_bytes()), "{} was not sent", name),
            }
        }
    }
}
