//! Path, query and form: values that come as text.

use super::Undeclared::{Drop, Forward, Reject};
use super::*;

#[test]
fn text_has_one_spelling_per_type() {
    let rows = [
        // integer
        ("integer", "5", "5"),
        ("integer", "0", "0"),
        ("integer", "-0", "0"),
        ("integer", "-17", "-17"),
        ("integer", "123456789012345678901234567890", "123456789012345678901234567890"),
        ("integer", "+5", "! int_parsing"),
        ("integer", "007", "! int_parsing"),
        ("integer", "1_000", "! int_parsing"),
        ("integer", " 12 ", "! int_parsing"),
        ("integer", "5.0", "! int_parsing"),
        ("integer", "1e3", "! int_parsing"),
        ("integer", "٣", "! int_parsing"),
        ("integer", "", "! int_parsing"),
        ("integer", "abc", "! int_parsing"),
        ("integer", "0x1F", "! int_parsing"),
        ("integer", "5\0", "! int_parsing"),
        ("integer", "true", "! int_parsing"),
        // number
        ("number", "1.50", "1.50"),
        ("number", "1e3", "1e3"),
        ("number", "1E-7", "1E-7"),
        ("number", "-0.0", "-0.0"),
        ("number", "42", "42"),
        ("number", "0.1000000000000000000000000001", "0.1000000000000000000000000001"),
        ("number", "1e400", "1e400"),
        ("number", "inf", "! float_parsing"),
        ("number", "nan", "! float_parsing"),
        ("number", ".5", "! float_parsing"),
        ("number", "5.", "! float_parsing"),
        ("number", "1,5", "! float_parsing"),
        ("number", "", "! float_parsing"),
        // boolean
        ("boolean", "true", "true"),
        ("boolean", "false", "false"),
        ("boolean", "True", "! bool_parsing"),
        ("boolean", "1", "true"),
        ("boolean", "0", "false"),
        ("boolean", "yes", "! bool_parsing"),
        ("boolean", "", "! bool_parsing"),
        // string
        ("string", "", ""),
        ("string", " a b ", " a b "),
        ("string", "müßig/..%2F", "müßig/..%2F"),
        ("string", "007", "007"),
    ];
    for (name, value, expected) in rows {
        let expected = expected.replacen("! ", "! path.x ", 1);
        assert_eq!(path(&format!(r#"{{"type":"{name}"}}"#), value), expected, "{name} {value:?}");
    }
}

#[test]
fn a_constraint_has_the_same_kind_in_path_query_form_and_body() {
    let rows = [
        (r#"{"type":"integer","minimum":1}"#, "0", "greater_than_equal"),
        (r#"{"type":"integer","minimum":1}"#, "1", ""),
        (r#"{"type":"integer","maximum":100}"#, "101", "less_than_equal"),
        (r#"{"type":"integer","maximum":100}"#, "100", ""),
        (r#"{"type":"integer","maximum":100}"#, "99999999999999999999999999", "less_than_equal"),
        (r#"{"type":"integer","minimum":-9}"#, "-99999999999999999999999999", "greater_than_equal"),
        (r#"{"type":"integer","maximum":9223372036854775807}"#, "9223372036854775808", "less_than_equal"),
        (r#"{"type":"integer","maximum":99999999999999999999}"#, "99999999999999999998", ""),
        (r#"{"type":"integer","maximum":99999999999999999999}"#, "100000000000000000000", "less_than_equal"),
        (r#"{"type":"integer","exclusiveMinimum":3}"#, "3", "greater_than"),
        (r#"{"type":"integer","exclusiveMaximum":3}"#, "3", "less_than"),
        (r#"{"type":"integer","multipleOf":3}"#, "4", "multiple_of"),
        (r#"{"type":"integer","multipleOf":3}"#, "300000000000000000000000", ""),
        (r#"{"type":"number","maximum":0.3}"#, "0.30000000000000000000001", "less_than_equal"),
        (r#"{"type":"number","maximum":0.3}"#, "0.3", ""),
        (r#"{"type":"number","minimum":1.5}"#, "1e-400", "greater_than_equal"),
        (r#"{"type":"number","multipleOf":0.01}"#, "0.07", ""),
        (r#"{"type":"number","multipleOf":0.01}"#, "0.075", "multiple_of"),
        (r#"{"type":"string","minLength":3}"#, "äö", "string_too_short"),
        (r#"{"type":"string","minLength":3}"#, "äöü", ""),
        (r#"{"type":"string","maxLength":3}"#, "äöü", ""),
        (r#"{"type":"string","maxLength":3}"#, "abcd", "string_too_long"),
        (r#"{"type":"string","pattern":"^[a-z]+$"}"#, "abc", ""),
        (r#"{"type":"string","pattern":"^[a-z]+$"}"#, "ab1", "string_pattern_mismatch"),
        (r#"{"type":"string","pattern":"^[a-z]+$"}"#, "ab\n", "string_pattern_mismatch"),
        (r#"{"type":"string","pattern":"b"}"#, "abc", ""),
        (r#"{"type":"string","format":"email"}"#, "a@example.com", ""),
        (r#"{"type":"string","format":"email"}"#, "a.example.com", "format"),
        (r#"{"type":"string","format":"uuid"}"#, "0f8fad5b-d9cb-469f-a165-70867728950e", ""),
        (r#"{"type":"string","format":"uuid"}"#, "0f8fad5bd9cb469fa16570867728950e", "format"),
        (r#"{"type":"string","format":"date"}"#, "2024-02-29", ""),
        (r#"{"type":"string","format":"date"}"#, "2023-02-29", "format"),
        (r#"{"type":"string","format":"date-time"}"#, "2024-01-01T00:00:00Z", ""),
        (r#"{"type":"string","format":"date-time"}"#, "1700000000", "format"),
        (r#"{"type":"string","format":"ipv4"}"#, "127.0.0.1", ""),
        (r#"{"type":"string","format":"ipv4"}"#, "127.0.0.01", "format"),
        (r#"{"type":"string","format":"uri"}"#, "https://example.com/?q=1", ""),
        (r#"{"type":"string","format":"uri"}"#, "/relative", "format"),
        (r#"{"type":"string","enum":["roles","groups"]}"#, "roles", ""),
        (r#"{"type":"string","enum":["roles","groups"]}"#, "Roles", "enum"),
        (r#"{"type":"integer","enum":[1,2]}"#, "2", ""),
        (r#"{"type":"integer","enum":[1,2]}"#, "3", "enum"),
        (r#"{"type":"integer","enum":[99999999999999999999]}"#, "99999999999999999999", ""),
        (r#"{"type":"integer","enum":[99999999999999999999]}"#, "99999999999999999998", "enum"),
        (r#"{"type":"number","enum":[1,1.5]}"#, "1.50", ""),
        (r#"{"type":"number","enum":[1,1.5]}"#, "10e-1", ""),
        (r#"{"type":"boolean","const":true}"#, "true", ""),
        (r#"{"type":"boolean","const":true}"#, "false", "literal_error"),
        (r#"{"type":"string","const":"v1"}"#, "v2", "literal_error"),
        (r#"{"type":"string","anyOf":[{"maxLength":1},{"minLength":4}]}"#, "ab", "value_error"),
        (r#"{"type":"string","not":{"const":"no"}}"#, "no", "value_error"),
        (r#"{"type":"string","minLength":3,"pattern":"^x"}"#, "a", "string_too_short string_pattern_mismatch"),
        (r#"{"type":"integer","minimum":5,"multipleOf":2}"#, "3", "greater_than_equal multiple_of"),
    ];
    for (schema, value, expected) in rows {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let json_value =
            if schema.contains(r#""type":"string""#) { Value::from(value).to_string() } else { value.to_owned() };
        let parameters = format!(r#"{{"x":{schema}}}"#);
        let seen = [
            path(schema, value),
            query(&parameters, Drop, &format!("x={encoded}")),
            form(&parameters, Drop, format!("x={encoded}").as_bytes()),
            json(&parameters, Drop, format!(r#"{{"x":{json_value}}}"#).as_bytes()),
        ];
        for outcome in seen {
            let kinds: Vec<_> = outcome.strip_prefix("! ").into_iter().flat_map(|list| list.split(", ")).collect();
            let kinds: Vec<_> = kinds.iter().filter_map(|one| one.split(' ').nth(1)).collect();
            assert_eq!(kinds.join(" "), expected, "{schema} {value:?}: {outcome}");
        }
    }
}

const THREE: &str = r#"{"limit":{"type":"integer","default":20},"tag":{"optional":true},
    "v":{"type":"array","items":{"type":"integer"},"optional":true}}"#;

#[test]
fn a_query_is_written_again_in_one_form() {
    let rows = [
        (Drop, "", "limit=20"),
        (Drop, "limit=5", "limit=5"),
        (Drop, "limit=5&limit=7", "limit=7"),
        (Drop, "limit=x&limit=7", "limit=7"),
        (Drop, "tag=a&limit=5", "limit=5&tag=a"),
        (Drop, "v=1&tag=a&v=2&limit=3&v=1", "limit=3&tag=a&v=1&v=2&v=1"),
        (Drop, "v=1&v=x&v=3&v=", "! query.v.1 int_parsing, query.v.3 int_parsing"),
        (Drop, "%6Cimit=5", "limit=5"),
        (Drop, "limi%74=%35", "limit=5"),
        (Drop, "LIMIT=5&limit%20=6&limit[]=7", "limit=20"),
        (Drop, "limit=5;limit=6", "! query.limit int_parsing"),
        (Drop, "a=1;limit=6", "limit=20"),
        (Drop, "tag=a+b%20c", "limit=20&tag=a%20b%20c"),
        (Drop, "tag=%2B%26%3D%23%25", "limit=20&tag=%2B%26%3D%23%25"),
        (Drop, "tag=a=b=c", "limit=20&tag=a%3Db%3Dc"),
        (Drop, "tag=/?:@!~-._", "limit=20&tag=%2F%3F%3A%40%21~-._"),
        (Drop, "tag=%C3%BC", "limit=20&tag=%C3%BC"),
        (Drop, "tag=ü", "limit=20&tag=%C3%BC"),
        (Drop, "tag", "limit=20&tag="),
        (Drop, "tag=", "limit=20&tag="),
        (Drop, "&&tag=a&&", "limit=20&tag=a"),
        (Drop, "=a&tag=b", "limit=20&tag=b"),
        (Drop, "tag=%00%0d%0a", "limit=20&tag=%00%0D%0A"),
        (Drop, "limit=", "! query.limit int_parsing"),
        (Drop, "limit", "! query.limit int_parsing"),
        (Drop, "limit=%zz", "! query.limit string_unicode"),
        (Drop, "limit=5%", "! query.limit string_unicode"),
        (Drop, "tag=%4", "! query.tag string_unicode"),
        (Drop, "tag=%ff", "! query.tag string_unicode"),
        (Drop, "tag=%C3", "! query.tag string_unicode"),
        (Drop, "tag=%+4", "! query.tag string_unicode"),
        (Drop, "tag=%ED%A0%80", "! query.tag string_unicode"),
        (Drop, "other=%ff&%zz=1", "limit=20"),
        (Drop, "limit=x&v=y&tag=%ff", "! query.limit int_parsing, query.tag string_unicode, query.v.0 int_parsing"),
        (Reject, "limit=5", "limit=5"),
        (Reject, "other=1&limit=x", "! query.other extra_forbidden, query.limit int_parsing"),
        (Reject, "%6fther", "! query.other extra_forbidden"),
        (Reject, "%ff=1", "! query.\u{fffd} extra_forbidden"),
        (Forward, "b=1&limit=5&a=%2F+%zz&b=2", "limit=5&b=1&a=%2F+%zz&b=2"),
        (Forward, "x", "limit=20&x"),
        (Forward, "%6Cimit=5", "limit=5"),
        (Forward, "x=a\u{1}b", "! query.x string_unicode"),
        (Forward, "x=a b", "! query.x string_unicode"),
        (Forward, "x=a#b", "! query.x string_unicode"),
    ];
    for (undeclared, raw, expected) in rows {
        assert_eq!(query(THREE, undeclared, raw), expected, "{undeclared:?} {raw:?}");
    }
}

#[test]
fn only_what_is_declared_passes_a_query() {
    let rows = [
        ("{}", Drop, "a=1&b=2", ""),
        ("{}", Reject, "a=1&b=2", "! query.a extra_forbidden, query.b extra_forbidden"),
        ("{}", Forward, "a=1&b=2", "a=1&b=2"),
        (r#"{"x":{}}"#, Drop, "y=1", "! query.x missing"),
        (r#"{"x":{},"y":{"type":"integer"}}"#, Drop, "", "! query.x missing, query.y missing"),
        (r#"{"x":{"enum":[1,2]}}"#, Drop, "x=1", "x=1"),
        (r#"{"x":{"enum":[1,2]}}"#, Drop, "x=01", "! query.x int_parsing"),
        (r#"{"x":{"const":true}}"#, Drop, "x=true", "x=true"),
        (r#"{"a b":{"default":"c&d"}}"#, Drop, "", "a%20b=c%26d"),
        (r#"{"a b":{}}"#, Drop, "a+b=1", "a%20b=1"),
        (r#"{"x":{"type":"array","default":["a","b c"]}}"#, Drop, "", "x=a&x=b%20c"),
        (r#"{"x":{"type":"array","default":[]}}"#, Drop, "", ""),
        (r#"{"x":{"type":"array"}}"#, Drop, "", "! query.x missing"),
        (r#"{"x":{"type":"array","minItems":2}}"#, Drop, "x=1", "! query.x too_short"),
        (r#"{"x":{"type":"array","maxItems":1}}"#, Drop, "x=1&x=2", "! query.x too_long"),
        (r#"{"x":{"type":"array","uniqueItems":true}}"#, Drop, "x=1&x=1", "! query.x unique_items"),
        (r#"{"x":{"type":"array","uniqueItems":true}}"#, Drop, "x=1&x=2", "x=1&x=2"),
        (r#"{"x":{"type":"array","items":{"enum":["a"]}}}"#, Drop, "x=a&x=b", "! query.x.1 enum"),
        (r#"{"x":{"type":"array","contains":{"const":"a"}}}"#, Drop, "x=b", "! query.x value_error"),
        (r#"{"x":{"type":"number"}}"#, Drop, "x=1e%2B5", "x=1e%2B5"),
    ];
    for (parameters, undeclared, raw, expected) in rows {
        assert_eq!(query(parameters, undeclared, raw), expected, "{parameters} {raw:?}");
    }
}

#[test]
fn a_form_is_written_again_in_one_form() {
    let rows: [(Undeclared, &[u8], &str); 16] = [
        (Drop, b"limit=5&tag=a+b", "limit=5&tag=a+b"),
        (Drop, b"tag=a%20b%7E%2a", "limit=20&tag=a+b~%2A"),
        (Drop, b"tag=&limit=", "limit=20"),
        (Drop, b"tag=a&tag=", "limit=20"),
        (Drop, b"v=&v=1&v=", "limit=20&v=1"),
        (Drop, b"v=", "limit=20"),
        (Drop, b"", "limit=20"),
        (Drop, b"tag=\xff", "! body.tag string_unicode"),
        (Drop, b"\xff=\xff&limit=1", "limit=1"),
        (Drop, b"limit=1\n", "! body.limit int_parsing"),
        (Drop, b"limit=x", "! body.limit int_parsing"),
        (Reject, b"u=1", "! body.u extra_forbidden"),
        (Forward, b"u=1&tag=b&w=a b", "limit=20&tag=b&u=1&w=a b"),
        (Forward, b"u=\xff", "! body.u string_unicode"),
        (Forward, b"u=a\r\nb", "! body.u string_unicode"),
        (Forward, b"u=a\x7f", "! body.u string_unicode"),
    ];
    for (undeclared, body, expected) in rows {
        assert_eq!(form(THREE, undeclared, body), expected, "{:?}", String::from_utf8_lossy(body));
    }
    let two = r#"{"username":{},"password":{}}"#;
    assert_eq!(form(two, Drop, b"username=&x=1"), "! body.username missing, body.password missing");
    assert_eq!(form("{}", Drop, b"x=1"), "nothing");
}

#[test]
fn an_untyped_path_parameter_is_a_string_and_an_unknown_one_is_refused() {
    let typed = texts(Position::Path, r#"{"b":{"type":"integer"}}"#);
    let contract = PathContract::new(&["a", "b"], typed).unwrap();
    let captures = [Cow::Borrowed("ä/"), Cow::Owned("-0".to_owned())];
    let (mut out, mut violations) = (PathValues::new(), Violations::new());
    contract.check(&captures, &mut out, &mut violations);
    assert_eq!((out.as_slice(), violations.len()), ([Cow::Borrowed("ä/"), Cow::Borrowed("0")].as_slice(), 0));
    let typed = texts(Position::Path, r#"{"c":{}}"#);
    assert_eq!(PathContract::new(&["a"], typed).unwrap_err(), UnknownPathParameter("c".to_owned()));
}

#[test]
fn any_query_passes_as_it_came() {
    let mut out = String::new();
    QueryContract::any().check(Some("a=%zz&&b;c"), &mut out, &mut Violations::new());
    assert_eq!(out, "a=%zz&&b;c");
}

#[test]
fn violations_and_pairs_are_bounded() {
    let many = |count: usize| (0..count).map(|index| format!("k{index}=1")).collect::<Vec<_>>().join("&");
    assert_eq!(query("{}", Reject, &many(1000)).split(", ").count(), MAX_VIOLATIONS);
    assert_eq!(query(r#"{"k1":{}}"#, Drop, &many(1000)), "k1=1");
    assert_eq!(query(r#"{"k1":{}}"#, Drop, &many(1001)), "! query too_long");
    assert_eq!(form(r#"{"k1":{}}"#, Drop, many(1001).as_bytes()), "! body too_long");
    let long = "n".repeat(5000);
    assert!(query("{}", Reject, &long).len() < 200, "a name chosen by the client is shortened");
}

#[test]
fn many_declared_parameters_are_found_by_name() {
    let names: Vec<_> = (0..40).map(|index| format!(r#""k{index}":{{"type":"integer","optional":true}}"#)).collect();
    let parameters = format!("{{{}}}", names.join(","));
    assert_eq!(query(&parameters, Reject, "k39=1&k0=2&%6b7=3"), "k0=2&k7=3&k39=1");
    assert_eq!(query(&parameters, Reject, "k40=1"), "! query.k40 extra_forbidden");
}
