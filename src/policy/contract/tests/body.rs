//! JSON bodies and the media types of bodies.

use super::Undeclared::{Drop, Forward, Reject};
use super::*;

const USER: &str = r#"{"name":{"type":"string","maxLength":5},"age":{"type":"integer","optional":true},
    "role":{"type":"string","default":"user"}}"#;

#[test]
fn members_are_typed_strictly() {
    let rows = [
        ("string", r#""5""#, ""),
        ("string", "5", "string_type"),
        ("string", "true", "string_type"),
        ("string", "null", "string_type"),
        ("integer", "5", ""),
        ("integer", "5.0", ""),
        ("integer", "5e0", ""),
        ("integer", "5.5", "int_type"),
        ("integer", r#""5""#, "int_type"),
        ("integer", "true", "int_type"),
        ("integer", "[]", "int_type"),
        ("integer", "null", "int_type"),
        ("number", "5", ""),
        ("number", "5.5", ""),
        ("number", r#""5""#, "float_type"),
        ("boolean", "true", ""),
        ("boolean", "1", "bool_type"),
        ("boolean", r#""true""#, "bool_type"),
        ("array", "[]", ""),
        ("array", "{}", "list_type"),
        ("object", "{}", ""),
        ("object", "[]", "dict_type"),
        ("null", "null", ""),
        ("null", "0", "none_required"),
    ];
    for (name, value, kind) in rows {
        let body = format!(r#"{{"x":{value}}}"#);
        let expected = if kind.is_empty() { body.replace("5e0", "5e+0") } else { format!("! body.x {kind}") };
        assert_eq!(json(&format!(r#"{{"x":{{"type":"{name}"}}}}"#), Drop, body.as_bytes()), expected, "{name} {value}");
    }
}

#[test]
fn a_json_body_is_written_again_in_one_form() {
    let rows: [(Undeclared, &str, &str); 27] = [
        (Drop, r#" { "age" : 5 , "name" : "a" } "#, r#"{"age":5,"name":"a","role":"user"}"#),
        (Drop, r#"{"name":"a","role":"admin"}"#, r#"{"name":"a","role":"admin"}"#),
        (Drop, r#"{"name":"a","extra":1}"#, r#"{"name":"a","role":"user"}"#),
        (
            Forward,
            r#"{"z":{"b":1,"a":[]},"name":"a","y":1.50}"#,
            r#"{"z":{"b":1,"a":[]},"name":"a","y":1.50,"role":"user"}"#,
        ),
        (Reject, r#"{"z":1,"y":2}"#, "! body.name missing, body.z extra_forbidden, body.y extra_forbidden"),
        (Drop, r#"{"name":"a","name":"b"}"#, "! body.name duplicate_name"),
        (Drop, r#"{"name":"a","n\u0061me":"b"}"#, "! body.name duplicate_name"),
        (Drop, r#"{"name":"b","other":{"name":1,"name":1}}"#, "! body.other.name duplicate_name"),
        (Forward, r#"{"name":"a","z":[{"k":1,"k":2}]}"#, "! body.z.0.k duplicate_name"),
        (Drop, r#"{"name":"\u00fc\n\""}"#, r#"{"name":"ü\n\"","role":"user"}"#),
        (
            Drop,
            r#"{"name":"a","age":123456789012345678901234567890}"#,
            r#"{"name":"a","age":123456789012345678901234567890,"role":"user"}"#,
        ),
        (Drop, r#"{"name":"a","age":5.0}"#, r#"{"name":"a","age":5.0,"role":"user"}"#),
        (Drop, r#"{"name":"toolong","age":"x"}"#, "! body.name string_too_long, body.age int_type"),
        (Drop, r#"{"name":null}"#, "! body.name string_type"),
        (Drop, r#"{"Name":"a"}"#, "! body.name missing"),
        (Drop, "\u{feff}{\"name\":\"a\"}", r#"{"name":"a","role":"user"}"#),
        (Drop, "", "! body missing"),
        (Drop, " ", "! body json_invalid"),
        (Drop, "null", "! body dict_type"),
        (Drop, "[]", "! body dict_type"),
        (Drop, r#""name""#, "! body dict_type"),
        (Drop, r#"{"name":"a",}"#, "! body json_invalid"),
        (Drop, r#"{'name':'a'}"#, "! body json_invalid"),
        (Drop, r#"{"name":"a"} {}"#, "! body json_invalid"),
        (Drop, r#"{"name":"\ud800"}"#, "! body json_invalid"),
        (Drop, r#"{"name":"a","z":NaN}"#, "! body json_invalid"),
        (Drop, r#"{"name":"a","age":007}"#, "! body json_invalid"),
    ];
    for (undeclared, body, expected) in rows {
        assert_eq!(json(USER, undeclared, body.as_bytes()), expected, "{undeclared:?} {body}");
    }
    assert_eq!(json(USER, Drop, b"{\"name\":\"\xff\"}"), "! body json_invalid");
}

#[test]
fn nested_values_are_checked_in_their_place() {
    let x = r#"{"x":{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},
        "tags":{"type":"array","maxItems":3,"uniqueItems":true,"items":{"type":"string","minLength":2}}}}}"#;
    let closed = r#"{"x":{"properties":{"a":{}},"additionalProperties":false}}"#;
    let typed = r#"{"x":{"properties":{"a":{}},"additionalProperties":{"type":"integer"}}}"#;
    let names =
        r#"{"x":{"patternProperties":{"^x-":{"type":"string"}},"additionalProperties":false,"properties":{"a":{}}}}"#;
    let tuple = r#"{"x":{"prefixItems":[{"type":"integer"}],"items":false}}"#;
    let rows = [
        (x, r#"{"x":{"id":1,"more":{"k":null}}}"#, r#"{"x":{"id":1}}"#),
        (x, r#"{"x":{}}"#, "! body.x.id missing"),
        (
            x,
            r#"{"x":{"id":"1","tags":["ab","c",5]}}"#,
            "! body.x.id int_type, body.x.tags.1 string_too_short, body.x.tags.2 string_type",
        ),
        (x, r#"{"x":{"id":1,"tags":["ab","ab"]}}"#, "! body.x.tags unique_items"),
        (x, r#"{"x":{"id":1,"tags":["ab","cd","ef","gh"]}}"#, "! body.x.tags too_long"),
        (closed, r#"{"x":{"a":1}}"#, r#"{"x":{"a":1}}"#),
        (closed, r#"{"x":{"a":1,"b":2}}"#, "! body.x.b extra_forbidden"),
        (typed, r#"{"x":{"b":2,"c":"3"}}"#, "! body.x.c int_type"),
        (names, r#"{"x":{"a":1,"x-b":"c"}}"#, r#"{"x":{"a":1,"x-b":"c"}}"#),
        (names, r#"{"x":{"x-b":1}}"#, "! body.x.x-b string_type"),
        (names, r#"{"x":{"b":1}}"#, "! body.x.b extra_forbidden"),
        (tuple, r#"{"x":[1]}"#, r#"{"x":[1]}"#),
        (tuple, r#"{"x":[1,2]}"#, "! body.x.1 value_error"),
        (r#"{"x":{"type":["integer","null"]}}"#, r#"{"x":null}"#, r#"{"x":null}"#),
        (r#"{"x":{"type":["integer","null"]}}"#, r#"{"x":"a"}"#, "! body.x int_type"),
        (r#"{"x":{"type":["integer","string"]}}"#, r#"{"x":[]}"#, "! body.x value_error"),
        (r#"{"x":{"properties":{"a":false}}}"#, r#"{"x":{"a":1}}"#, "! body.x.a value_error"),
        (r#"{"x":{}}"#, r#"{"x":[{"a":1e5}]}"#, r#"{"x":[{"a":1e+5}]}"#),
        (r#"{"x":{"maxProperties":1}}"#, r#"{"x":{"a":1,"b":1}}"#, "! body.x too_long"),
        (r#"{"x":{"enum":[{"a":1},[1]]}}"#, r#"{"x":{"a":1.0}}"#, r#"{"x":{"a":1.0}}"#),
        (r#"{"x":{"enum":[{"a":1},[1]]}}"#, r#"{"x":[2]}"#, "! body.x enum"),
        (r#"{"x":{"if":{"required":["a"]},"then":{"required":["b"]}}}"#, r#"{"x":{"a":1}}"#, "! body.x.b missing"),
        (r#"{"x":{"dependentRequired":{"a":["b"]}}}"#, r#"{"x":{"a":1}}"#, "! body.x.b missing"),
        (
            r#"{"x":{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}}"#,
            r#"{"x":{"b":1}}"#,
            "! body.x.b extra_forbidden",
        ),
    ];
    for (parameters, body, expected) in rows {
        assert_eq!(json(parameters, Drop, body.as_bytes()), expected, "{parameters} {body}");
    }
}

#[test]
fn an_empty_body_is_enough_when_nothing_is_required() {
    let rows = [
        (r#"{"a":{}}"#, "! body missing"),
        (r#"{"a":{"optional":true}}"#, "nothing"),
        (r#"{"a":{"default":1},"b":{"optional":true},"c\"":{"default":[1.50]}}"#, r#"{"a":1,"c\"":[1.50]}"#),
    ];
    for (parameters, expected) in rows {
        assert_eq!(json(parameters, Drop, b""), expected, "{parameters}");
    }
}

#[test]
fn depth_and_faults_of_a_body_are_bounded() {
    let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json(r#"{"x":{}}"#, Drop, nested(63).as_bytes()), nested(63));
    for depth in [64, 127, 128, 100_000] {
        assert_eq!(json(r#"{"x":{}}"#, Drop, nested(depth).as_bytes()), "! body json_invalid");
    }
    let wrong = format!(r#"{{"x":[{}"a"]}}"#, r#""a","#.repeat(100_000));
    let seen = json(r#"{"x":{"type":"array","items":{"type":"integer"}}}"#, Drop, wrong.as_bytes());
    assert_eq!(seen.split(", ").count(), MAX_VIOLATIONS);
    let equal_as_floats: Vec<_> = (0..20_000).map(|index| format!("1000000000000000000000000{index:05}")).collect();
    let body = format!(r#"{{"x":[{}]}}"#, equal_as_floats.join(","));
    let started = std::time::Instant::now();
    assert_eq!(json(r#"{"x":{"type":"array","uniqueItems":true}}"#, Drop, body.as_bytes()), body);
    assert!(started.elapsed().as_secs() < 5, "uniqueItems compares in pairs");
}

#[test]
fn no_message_repeats_what_the_client_sent() {
    let bodies = [
        r#"{"a":"SECRET","b":"SECRET","c":"SECRET","d":["SECRET","SECRET"],"e":"SECRET","f":"SECRET"}"#,
        r#"{"a": SECRET}"#,
        r#"{"a":{"$serde_json::private::Number":"SECRET"}}"#,
        "\"SECRET\"",
        r#"{"$serde_json::private::Number":{"SECRET":1}}"#,
    ];
    let parameters = r#"{"a":{"type":"integer"},"b":{"enum":["x"]},"c":{"type":"string","pattern":"^x$","format":"uuid",
        "maxLength":2},"d":{"type":"array","uniqueItems":true},"e":{"not":{}},"f":{"oneOf":[{"type":"null"}]}}"#;
    for body in bodies {
        let json = JsonContract::new(members(parameters), Reject);
        let mut violations = Violations::new();
        let contract = contract(BodyContract::Json(json));
        contract.check_body(contract.accept(&headers(None)).unwrap(), body.as_bytes(), &mut violations);
        let report = serde_json::to_string(violations.as_slice()).unwrap();
        assert!(!violations.is_empty() && !report.contains("SECRET"), "{report}");
    }
}

#[test]
fn a_violation_is_shown_with_place_rule_and_kind() {
    let contract = QueryContract::declared(
        texts(Position::Query, r#"{"v":{"type":"array","items":{"type":"integer","maximum":100}}}"#),
        Drop,
    );
    let mut violations = Violations::new();
    contract.check(Some("v=1&v=101"), &mut String::new(), &mut violations);
    assert_eq!(
        serde_json::to_string(violations.as_slice()).unwrap(),
        r#"[{"loc":["query","v",1],"msg":"must be at most 100","type":"less_than_equal"}]"#
    );
}

#[test]
fn an_object_with_the_library_s_private_name_is_an_object() {
    for value in [
        r#"{"$serde_json::private::Number":"7"}"#,
        r#"{"$serde_json::private::Number":7}"#,
        r#"{"$serde_json::private::Number":{"a":1}}"#,
        r#"{"$serde_json::private::Number":"7","a":1}"#,
        r#"{"a":1,"$serde_json::private::Number":"7"}"#,
        r#"{"$serde_json::private::RawValue":"7"}"#,
    ] {
        let body = format!(r#"{{"x":{value}}}"#);
        assert_eq!(json(r#"{"x":{"type":"integer"}}"#, Drop, body.as_bytes()), "! body.x int_type", "{value}");
        assert_eq!(json(r#"{"x":{"type":"object"}}"#, Drop, body.as_bytes()), body);
        assert_eq!(json("{}", Forward, value.as_bytes()), value);
    }
    let escaped = br#"{"x":{"\u0024serde_json::private::Number":"7"}}"#;
    assert_eq!(json(r#"{"x":{"type":"integer"}}"#, Drop, escaped), "! body.x int_type");
    let twice = br#"{"$serde_json::private::Number":"7","$serde_json::private::Number":"8"}"#;
    assert_eq!(json("{}", Drop, twice), "! body.$serde_json::private::Number duplicate_name");
}

fn media(body: BodyContract, lines: &[(&'static str, &str)]) -> String {
    let contract = contract(body);
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    let media = match contract.accept(&headers) {
        Ok(media) => media,
        Err(fault) => return format!("{fault:?}").split(' ').next().unwrap_or_default().to_owned(),
    };
    if media.boundary().is_some() {
        return "multipart".to_owned();
    }
    match contract.check_body(media, b"a=1", &mut Violations::new()) {
        CheckedBody::Bytes { content_type, .. } => content_type.into_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_body_of_another_media_type_is_refused_before_it_is_read() {
    let rows: [(&[&str], &str, &str); 32] = [
        (&[], "Nothing", "Type"),
        (&["application/json"], "Nothing", "Type"),
        (&["Application/JSON; Charset=UTF-8"], "Nothing", "Type"),
        (&["application/json;charset=\"utf-8\""], "Nothing", "Type"),
        (&["application/json ; charset=utf-8 ;"], "Nothing", "Type"),
        (&["application/json;;version=1"], "Nothing", "Type"),
        (&["application/json; charset=latin1"], "Charset", "Charset"),
        (&["application/json; charset=utf-8; charset=utf-16"], "Charset", "Charset"),
        (&["application/json; charset=\"ut\\f-8\""], "Nothing", "Type"),
        (&["application/json; charset=\"utf-8"], "Type", "Type"),
        (&["application/json; charset"], "Type", "Type"),
        (&["application/json x"], "Type", "Type"),
        (&["application/json, application/json"], "Type", "Type"),
        (&["application/json", "application/json"], "Type", "Type"),
        (&["application/problem+json"], "Nothing", "Type"),
        (&["application/+json"], "Type", "Type"),
        (&["text/json"], "Type", "Type"),
        (&["image/svg+json"], "Type", "Type"),
        (&["text/plain"], "Type", "Type"),
        (&["json"], "Type", "Type"),
        (&[""], "Type", "Type"),
        (&["application/"], "Type", "Type"),
        (&["application/x-www-form-urlencoded"], "Type", "form"),
        (&["APPLICATION/x-www-FORM-urlencoded; charset=utf-8"], "Type", "form"),
        (&["application/x-www-form-urlencoded; charset=big5"], "Charset", "Charset"),
        (&["multipart/form-data; boundary=x"], "Type", "multipart"),
        (&["Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""], "Type", "multipart"),
        (&["multipart/form-data; boundary=x; charset=latin1"], "Charset", "Charset"),
        (&["multipart/form-data"], "Type", "Boundary"),
        (&["multipart/form-data; boundary=x; boundary=y"], "Type", "Boundary"),
        (&["multipart/form-data; boundary="], "Type", "Boundary"),
        (&["multipart/mixed; boundary=x"], "Type", "Type"),
    ];
    for (values, for_json, for_form) in rows {
        let lines: Vec<_> = values.iter().map(|value| ("content-type", *value)).collect();
        let json = || BodyContract::Json(JsonContract::new(members(r#"{"a":{}}"#), Drop));
        let form = BodyContract::Form(FormContract::new(texts(Position::Form, r#"{"a":{}}"#), Drop));
        let for_form = if for_form == "form" { "application/x-www-form-urlencoded" } else { for_form };
        assert_eq!(media(json(), &lines), for_json, "json {values:?}");
        assert_eq!(media(form, &lines), for_form, "form {values:?}");
        assert_eq!(media(BodyContract::Any, &lines), "Unread");
        assert_eq!(media(BodyContract::None, &lines), "Nothing");
        for (coding, refused) in [("gzip", true), ("identity", false), ("Identity", false), ("identity, br", true)] {
            let lines = [lines.as_slice(), &[("content-encoding", coding)]].concat();
            assert_eq!(media(json(), &lines) == "Coding", refused, "{coding}");
        }
    }
}

#[test]
fn a_json_variant_keeps_its_name_and_loses_its_parameters() {
    let rows = [
        ("application/vnd.api+json; charset=utf-8", "application/vnd.api+json"),
        ("application/Merge-Patch+JSON", "application/merge-patch+json"),
        ("application/json; charset=utf-8; q=1", "application/json"),
    ];
    for (sent, expected) in rows {
        let contract = contract(BodyContract::Json(JsonContract::new(members(r#"{"a":{"default":1}}"#), Drop)));
        let media = contract.accept(&headers(Some(sent))).unwrap();
        let checked = contract.check_body(media, b"{}", &mut Violations::new());
        let expected = CheckedBody::Bytes { bytes: Bytes::from_static(br#"{"a":1}"#), content_type: expected.into() };
        assert_eq!(checked, expected, "{sent}");
    }
}
