//! What must hold for every input: nothing undeclared passes, nothing invalid passes, nothing panics, no digit is lost,
//! and our own checks give the verdict of the JSON Schema validator.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json as value;

use super::*;
use crate::policy::contract::rules::validator;
use crate::policy::contract::schema;
use crate::policy::contract::violation::At;

const PARAMETERS: &str = r#"{"limit":{"type":"integer","minimum":-5,"maximum":100,"default":20},
    "tag":{"type":"string","minLength":1,"maxLength":4,"optional":true},"on":{"type":"boolean","optional":true},
    "f":{"type":"number","exclusiveMinimum":0.5,"optional":true},"e":{"enum":["a b","c&d"],"optional":true},
    "v":{"type":"array","items":{"type":"integer","multipleOf":2},"maxItems":3,"uniqueItems":true,"optional":true}}"#;

/// Compiled once: compiling costs a thousand times what checking does.
static DROPS: LazyLock<Contract> = LazyLock::new(|| text_contract(Undeclared::Drop));
static FORWARDS: LazyLock<Contract> = LazyLock::new(|| text_contract(Undeclared::Forward));
static MEMBERS: LazyLock<Contract> = LazyLock::new(|| {
    let parameters =
        r#"{"a":{"type":"integer","maximum":10},"b":{"optional":true,"items":{"minLength":2}},"c":{"default":1}}"#;
    contract(BodyContract::Json(JsonContract::new(members(parameters), Undeclared::Drop)))
});

fn text_contract(undeclared: Undeclared) -> Contract {
    Contract {
        path: PathContract::default(),
        query: QueryContract::declared(texts(Position::Query, PARAMETERS), undeclared),
        fields: FieldContract::default(),
        body: BodyContract::Form(FormContract::new(texts(Position::Form, PARAMETERS), undeclared)),
    }
}

fn body_of(contract: &Contract, body: &[u8]) -> Option<String> {
    let mut violations = Violations::new();
    let form = matches!(contract.body, BodyContract::Form(_));
    let media = contract.accept(&headers(form.then_some(super::super::media_type::FORM))).unwrap();
    let checked = contract.check_body(media, body, &mut violations);
    assert!(violations.is_empty() || checked == CheckedBody::Nothing);
    let CheckedBody::Bytes { bytes, .. } = checked else { return None };
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

fn query_of(contract: &Contract, raw: &str) -> Option<String> {
    let (mut out, mut violations) = (String::new(), Violations::new());
    contract.check_query(Some(raw), &mut out, &mut violations);
    assert!(violations.is_empty() || out.is_empty());
    violations.is_empty().then_some(out)
}

/// Pairs that often hit a declared name, spelled in every way, between others and garbage.
fn pairs() -> impl Strategy<Value = Vec<u8>> {
    let escaped = |text: String, seed: u64| -> Vec<u8> {
        let one = |(index, byte): (usize, u8)| match (seed >> (index % 32 * 2)) & 3 {
            0 => format!("%{byte:02X}").into_bytes(),
            1 => format!("%{byte:02x}").into_bytes(),
            2 if byte == b' ' => b"+".to_vec(),
            _ => vec![byte],
        };
        text.bytes().enumerate().flat_map(one).collect()
    };
    let name = prop_oneof!["limit|tag|on|f|e|v", "limit|tag|on|f|e|v", "[a-z]{0,4}", "(?i)limit|v\\[\\]", ".{0,3}"];
    let text = prop_oneof!["-?[0-9]{1,3}", "true|false|1|0", "[0-9]\\.[0-9]{1,3}(e[0-9])?", "a b|c&d|a|", ".{0,6}"];
    let pair = (name, text, any::<u64>(), "=|=|=|=|", vec(any::<u8>(), 0..4), any::<u8>()).prop_map(
        move |(name, text, seed, equals, garbage, dice)| {
            if dice < 24 {
                return garbage;
            }
            [escaped(name, seed), equals.into_bytes(), escaped(text, seed.rotate_left(17))].concat()
        },
    );
    vec((pair, "&|&|&|&&|;"), 0..8)
        .prop_map(|all| all.into_iter().flat_map(|(p, s)| [p, s.into_bytes()].concat()).collect())
}

/// An independent reader of what was written.
fn read_pairs(text: &str) -> Vec<(String, String)> {
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%&=+".contains(&byte)), "{text}");
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn assert_pairs_are_valid(out: &str) {
    let schemas: Map<String, Value> = serde_json::from_str(PARAMETERS).unwrap();
    let mut lists = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (name, text) in read_pairs(out) {
        let schema = schemas.get(&name).unwrap_or_else(|| panic!("{name} is not declared"));
        if name == "v" {
            lists.push(text.parse::<Value>().unwrap());
            continue;
        }
        assert!(seen.insert(name.clone()), "{name} twice");
        let mut schema = schema.as_object().unwrap().clone();
        schema.retain(|keyword, _| keyword != "optional" && keyword != "default");
        let instance = match schema.get("type").and_then(Value::as_str) {
            Some("integer" | "number" | "boolean") => text.parse().unwrap(),
            _ => Value::from(text),
        };
        assert!(jsonschema::is_valid(&Value::Object(schema), &instance), "{name}={instance}");
    }
    let list = value!({"items": {"type": "integer", "multipleOf": 2}, "maxItems": 3, "uniqueItems": true});
    assert!(jsonschema::is_valid(&list, &Value::Array(lists)));
}

/// JSON that is often a small object with declared names.
fn json_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        (-10i64..10).prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{15,40}",
        "-?[0-9]\\.[0-9]{1,25}",
        "-?[1-9]e[+-][0-9]{1,3}",
        "-?[1-9]\\.0{1,3}",
        "1e400|1e-400|-0|0\\.0|1e99999999999999999999|1e-99999999999999999999",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(|digits| digits.parse().unwrap()),
        "[abü]{0,4}".prop_map(Value::from),
        "a@b\\.de|2024-02-29|\u{1F600}{1,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec(("a|b|c|x", inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Schemas without the faults that are refused at load.
fn schema() -> impl Strategy<Value = Value> {
    let number = || {
        prop_oneof![
            (-9i64..9).prop_map(|n| value!(n)),
            "[0-9]\\.[1-9]".prop_map(|n| n.parse().unwrap()),
            Just("99999999999999999999".parse::<Value>().unwrap())
        ]
    };
    let keyword = prop_oneof![
        "null|boolean|integer|number|string|array|object".prop_map(|name| ("type", value!(name))),
        Just(("type", value!(["integer", "null"]))),
        number().prop_map(|limit| ("minimum", limit)),
        number().prop_map(|limit| ("maximum", limit)),
        number().prop_map(|limit| ("exclusiveMinimum", limit)),
        number().prop_map(|limit| ("exclusiveMaximum", limit)),
        (1u8..4).prop_map(|step| ("multipleOf", value!(step))),
        (0u8..4).prop_map(|limit| ("minLength", value!(limit))),
        (0u8..4).prop_map(|limit| ("maxLength", value!(limit))),
        (0u8..3).prop_map(|limit| ("minItems", value!(limit))),
        (0u8..3).prop_map(|limit| ("maxItems", value!(limit))),
        (0u8..3).prop_map(|limit| ("minProperties", value!(limit))),
        (0u8..3).prop_map(|limit| ("maxProperties", value!(limit))),
        any::<bool>().prop_map(|unique| ("uniqueItems", value!(unique))),
        "\\^a|b\\$|ü".prop_map(|pattern| ("pattern", value!(pattern))),
        "email|date".prop_map(|format| ("format", value!(format))),
        vec(json_value(), 1..4).prop_map(|options| ("enum", Value::Array(options))),
        json_value().prop_map(|only| ("const", only)),
        vec("a|b|c", 0..2).prop_map(|mut names| {
            names.dedup();
            ("required", value!(names))
        }),
    ];
    let leaf =
        vec(keyword, 0..3).prop_map(|words| Value::Object(words.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()));
    leaf.prop_recursive(2, 12, 3, |inner| {
        let part = prop_oneof![
            inner.clone().prop_map(|items| ("items", items)),
            vec(("a|b|c", inner.clone()), 1..3)
                .prop_map(|all| ("properties", Value::Object(all.into_iter().collect()))),
            prop_oneof![any::<bool>().prop_map(Value::Bool), inner.clone()]
                .prop_map(|rest| ("additionalProperties", rest)),
            vec(inner.clone(), 1..3).prop_map(|all| ("anyOf", Value::Array(all))),
            vec(inner.clone(), 1..3).prop_map(|all| ("oneOf", Value::Array(all))),
            inner.clone().prop_map(|not| ("not", not)),
            vec(inner.clone(), 1..3).prop_map(|all| ("prefixItems", Value::Array(all))),
            inner.clone().prop_map(|all| ("patternProperties", value!({"^[ab]": all}))),
            inner.clone().prop_map(|one| ("contains", one)),
            any::<bool>().prop_map(|rest| ("unevaluatedProperties", Value::Bool(rest))),
        ];
        (inner, vec(part, 0..3)).prop_map(|(mut schema, parts)| {
            for (keyword, part) in parts {
                schema[keyword] = part;
            }
            schema
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn only_valid_declared_values_leave_a_query_or_form(raw in pairs()) {
        if let Some(out) = body_of(&DROPS, &raw) {
            assert_pairs_are_valid(&out);
        }
        if let Some(out) = query_of(&DROPS, &String::from_utf8_lossy(&raw)) {
            assert_pairs_are_valid(&out);
            prop_assert_eq!(query_of(&DROPS, &out), Some(out), "the canonical query is not its own canonical form");
        }
    }

    #[test]
    fn what_is_forwarded_undeclared_is_never_a_declared_name(raw in pairs()) {
        let out = query_of(&FORWARDS, &String::from_utf8_lossy(&raw)).unwrap_or_default();
        let names: Vec<_> = form_urlencoded::parse(out.as_bytes()).map(|(name, _)| name.into_owned()).collect();
        for name in ["limit", "tag", "on", "f", "e"] {
            prop_assert!(names.iter().filter(|seen| *seen == name).count() <= 1, "{} in {}", name, out);
        }
    }

    #[test]
    fn only_valid_declared_members_leave_a_body(body in json_value(), spaces in "[ \n]{0,2}") {
        if let Some(out) = body_of(&MEMBERS, format!("{spaces}{body}{spaces}").as_bytes()) {
            let valid = value!({"properties": {"a": {"type": "integer", "maximum": 10}, "b": {"items": {"minLength": 2}},
                "c": {}}, "additionalProperties": false, "required": ["a", "c"]});
            prop_assert!(jsonschema::is_valid(&valid, &out.parse().unwrap()), "{}", out);
        }
    }

    #[test]
    fn no_bytes_make_a_check_panic(bytes in vec(any::<u8>(), 0..60), cut in 0usize..60) {
        let body = [&br#"{"a":[1.5e3,"\u00fc",null,{"b":true}],"c":"#[..], &bytes, b"}"].concat();
        for bytes in [&bytes[..], &body, &body[..cut.min(body.len())]] {
            body_of(&MEMBERS, bytes);
            body_of(&FORWARDS, bytes);
            query_of(&FORWARDS, &String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn no_digit_of_a_number_is_lost(digits in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?") {
        let parameters = r#"{"x":{"type":"number"}}"#;
        let body = format!(r#"{{"x":{digits}}}"#);
        prop_assert_eq!(json(parameters, Undeclared::Drop, body.as_bytes()), body);
        let raw = format!("x={digits}");
        prop_assert_eq!(query(parameters, Undeclared::Drop, &raw), raw);
    }

    #[test]
    fn our_checks_agree_with_the_validator(schema in schema(), values in vec(json_value(), 1..12)) {
        let ours = schema::build(&schema).unwrap();
        let theirs = validator(&schema).unwrap();
        for value in values {
            let mut violations = Violations::new();
            ours.check(&value, &At::BODY, &mut violations);
            prop_assert_eq!(violations.is_empty(), theirs.is_valid(&value), "{} {}: {:?}", schema, value, violations);
        }
    }
}
