//! Header fields and cookies: what a client sends, and what the service gets of it.

use super::Undeclared::{Drop, Forward, Reject};
use super::*;

/// `name: value | name: value` in order, or the violations.
fn shown(result: Result<HeaderMap, Violations>) -> String {
    let one =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    match result {
        Ok(headers) => headers.iter().map(one).collect::<Vec<_>>().join(" | "),
        Err(violations) => outcome("", &violations),
    }
}

/// Names and values as they came.
type Fields<'a> = &'a [(&'a str, &'a [u8])];

fn header(parameters: &str, sent: Fields<'_>) -> String {
    shown(passed(&FieldContract::new(header_parameters(parameters), None), fields(sent)))
}

fn cookie(parameters: &str, undeclared: Undeclared, sent: &[&str]) -> String {
    let contract = FieldContract::new(Vec::new(), Some(cookie_contract(parameters, undeclared)));
    let sent: Vec<_> = sent.iter().map(|value| ("cookie", value.as_bytes())).collect();
    shown(passed(&contract, fields(&sent)))
}

#[test]
fn a_scalar_field_is_read_by_its_type_and_written_once() {
    let rows: [(&str, Fields<'_>, &str); 19] = [
        (r#"{"x-page":{"type":"integer"}}"#, &[("X-Page", b"5")], "x-page: 5"),
        (r#"{"x-page":{"type":"integer"}}"#, &[("x-page", b" \t5\t")], "x-page: 5"),
        (r#"{"x-page":{"type":"integer"}}"#, &[("x-page", b"-0")], "x-page: 0"),
        (r#"{"x-page":{"type":"integer"}}"#, &[("x-page", b"five")], "! header.x-page int_parsing"),
        (r#"{"x-page":{"type":"integer"}}"#, &[("x-page", b"1, 2")], "! header.x-page int_parsing"),
        (r#"{"x-page":{"type":"integer"}}"#, &[("x-page", b"")], "! header.x-page int_parsing"),
        (r#"{"x-page":{"type":"integer"}}"#, &[], "! header.x-page missing"),
        (r#"{"x-page":{"type":"integer"}}"#, &[("x-page", b"1"), ("x-page", b"1")], "! header.x-page value_error"),
        (r#"{"x-page":{"type":"integer","optional":true}}"#, &[("accept", b"*/*")], "accept: */*"),
        (r#"{"x-page":{"type":"integer","default":1}}"#, &[], "x-page: 1"),
        (r#"{"x-page":{"type":"integer","default":1}}"#, &[("x-page", b"2")], "x-page: 2"),
        (r#"{"x-on":{"type":"boolean"}}"#, &[("x-on", b"1")], "x-on: true"),
        (r#"{"x-t":{"pattern":"^[a-z]+$"}}"#, &[("x-t", b"a1")], "! header.x-t string_pattern_mismatch"),
        (r#"{"x-t":{}}"#, &[("x-t", "ü, b".as_bytes())], "x-t: ü, b"),
        (r#"{"x-t":{}}"#, &[("x-t", b"")], "x-t: "),
        (r#"{"x-t":{}}"#, &[("x-t", b"\xff")], "! header.x-t string_unicode"),
        (r#"{"x-t":{"maxLength":2}}"#, &[("x-t", "üü".as_bytes())], "x-t: üü"),
        (r#"{"X-T":{"maxLength":2}}"#, &[("x-t", b"abc")], "! header.x-t string_too_long"),
        (r#"{"a":{"type":"integer"},"b":{}}"#, &[("a", b"x")], "! header.a int_parsing, header.b missing"),
    ];
    for (parameters, sent, expected) in rows {
        assert_eq!(header(parameters, sent), expected, "{parameters} {sent:?}");
    }
}

#[test]
fn a_list_comes_in_one_field_or_many_and_leaves_one_field_for_each_item() {
    const LIST: &str =
        r#"{"x-n":{"type":"array","items":{"type":"integer","maximum":9},"maxItems":3,"uniqueItems":true}}"#;
    const TEXTS: &str = r#"{"x-n":{"type":"array","default":["a","b"]}}"#;
    let rows: [(&str, Fields<'_>, &str); 15] = [
        (LIST, &[("x-n", b"1,2 ,\t3")], "x-n: 1 | x-n: 2 | x-n: 3"),
        (LIST, &[("x-n", b"1"), ("X-N", b"2,3")], "x-n: 1 | x-n: 2 | x-n: 3"),
        (LIST, &[("x-n", b",1,,2, ")], "x-n: 1 | x-n: 2"),
        (LIST, &[("x-n", b"1,2"), ("x-n", b"3,4")], "! header.x-n too_long"),
        (LIST, &[("x-n", b"1,x"), ("x-n", b"10")], "! header.x-n.1 int_parsing, header.x-n.2 less_than_equal"),
        (LIST, &[("x-n", b"1"), ("x-n", b"1")], "! header.x-n unique_items"),
        (LIST, &[], "! header.x-n missing"),
        (LIST, &[("x-n", b" , ")], "! header.x-n missing"),
        (TEXTS, &[], "x-n: a | x-n: b"),
        (TEXTS, &[("x-n", b"")], "x-n: a | x-n: b"),
        (TEXTS, &[("x-n", b"\"a b\", W/\"c\"")], r#"x-n: "a b" | x-n: W/"c""#),
        (TEXTS, &[("x-n", b"\"a,b\"")], "! header.x-n.0 value_error, header.x-n.1 value_error"),
        (TEXTS, &[("x-n", br#""a\",\"b""#)], "! header.x-n.0 value_error, header.x-n.1 value_error"),
        (TEXTS, &[("x-n", br"a\b")], r"x-n: a\b"),
        (TEXTS, &[("x-n", b"a\xff")], "! header.x-n.0 string_unicode"),
    ];
    for (parameters, sent, expected) in rows {
        assert_eq!(header(parameters, sent), expected, "{parameters} {sent:?}");
    }
    let long = "a,".repeat(MAX_PAIRS + 1);
    assert_eq!(header(TEXTS, &[("x-n", long.as_bytes())]), "! header.x-n too_long");
}

#[test]
fn no_look_alike_of_a_declared_field_passes_beside_it() {
    const TENANT: &str = r#"{"x-tenant":{"pattern":"^[a-z]+$"}}"#;
    for alike in ["x_tenant", "X_Tenant", "x.tenant", "x~tenant"] {
        assert_eq!(header(TENANT, &[("x-tenant", b"a"), (alike, b"EVIL")]), "x-tenant: a", "{alike}");
        assert_eq!(header(TENANT, &[(alike, b"a")]), "! header.x-tenant missing", "{alike}");
    }
    for other in ["x-tenants", "xtenant", "x-tenan", "x-tenand"] {
        let expected = format!("{other}: 1 | x-tenant: a");
        assert_eq!(header(TENANT, &[(other, b"1"), ("x-tenant", b"a")]), expected);
    }
    assert_eq!(header(r#"{"x_t":{"optional":true}}"#, &[("x-t", b"1"), ("y", b"2")]), "y: 2");
}

#[test]
fn a_declared_cookie_is_read_by_its_type_and_written_first() {
    const PAGE: &str = r#"{"page":{"type":"integer","maximum":9}}"#;
    const TWO: &str = r#"{"b":{"type":"boolean","optional":true},"a":{"default":"x"}}"#;
    const TEXT: &str = r#"{"a":{}}"#;
    let rows: [(&str, &[&str], &str); 26] = [
        (PAGE, &["page=5"], "cookie: page=5"),
        (PAGE, &[" ; page = 5 ;; "], "cookie: page=5"),
        (PAGE, &["x=1; page=-0"], "cookie: page=0"),
        (PAGE, &["x=1", "page=5"], "cookie: page=5"),
        (PAGE, &["page=\"5\""], "cookie: page=5"),
        (PAGE, &["page=five"], "! cookie.page int_parsing"),
        (PAGE, &["page=10"], "! cookie.page less_than_equal"),
        (PAGE, &["page="], "! cookie.page int_parsing"),
        (PAGE, &["page"], "! cookie.page int_parsing"),
        (PAGE, &["Page=5"], "! cookie.page missing"),
        (PAGE, &[], "! cookie.page missing"),
        (PAGE, &["page=5; page=6"], "! cookie.page value_error"),
        (PAGE, &["page=5", "page=5"], "! cookie.page value_error"),
        (TWO, &["a=y; b=1"], "cookie: b=true; a=y"),
        (TWO, &["c=1"], "cookie: a=x"),
        (TWO, &["b=0"], "cookie: b=false; a=x"),
        (TEXT, &["a=b=c%20d&e'f"], "cookie: a=b=c%20d&e'f"),
        (TEXT, &["a="], "cookie: a="),
        (TEXT, &["a"], "cookie: a="),
        (TEXT, &["a=b c"], "! cookie.a value_error"),
        (TEXT, &["a=b,c"], "! cookie.a value_error"),
        (TEXT, &["a=\"b; c\""], "! cookie.a value_error"),
        (TEXT, &["a=\""], "! cookie.a value_error"),
        (TEXT, &[r"a=b\054"], "! cookie.a value_error"),
        (TEXT, &["a=ü"], "! cookie.a value_error"),
        (TEXT, &["a=1; session=secret"], "cookie: a=1"),
    ];
    for (parameters, sent, expected) in rows {
        assert_eq!(cookie(parameters, Drop, sent), expected, "{parameters} {sent:?}");
    }
    let contract = FieldContract::new(Vec::new(), Some(cookie_contract(TEXT, Drop)));
    assert_eq!(shown(passed(&contract, fields(&[("cookie", b"a=\xff")]))), "! cookie.a string_unicode");
}

#[test]
fn other_cookies_go_by_what_is_said_of_undeclared_parameters() {
    const A: &str = r#"{"a":{"optional":true}}"#;
    let rows: [(Undeclared, &[&str], &str); 10] = [
        (Drop, &["b=2; a=1; c"], "cookie: a=1"),
        (Drop, &["b=2"], ""),
        (Forward, &["b=\"2 3\" ; a=1;c", "B=2;b=2"], r#"cookie: a=1; b="2 3"; c; B=2; b=2"#),
        (Forward, &["session=secret; b=1; session = x;session"], "cookie: b=1"),
        (Forward, &["a=1; b=2; a=3"], "! cookie.a value_error"),
        (Reject, &["a=1"], "cookie: a=1"),
        (Reject, &["a=1; b=2; A=1"], "! cookie.b extra_forbidden, cookie.A extra_forbidden"),
        (Reject, &["token"], "! cookie. extra_forbidden"),
        (Reject, &["session=secret; a=1"], "cookie: a=1"),
        (Reject, &[" ;"], ""),
    ];
    for (undeclared, sent, expected) in rows {
        assert_eq!(cookie(A, undeclared, sent), expected, "{undeclared:?} {sent:?}");
    }
    let many = "b=1;".repeat(MAX_PAIRS + 1);
    assert_eq!(cookie(A, Drop, &[&many]), "! cookie too_long");
}

#[test]
fn a_contract_without_fields_leaves_them_alone() {
    let sent = || fields(&[("x_a", b"1"), ("x-a", b"2"), ("cookie", b"a=1; a=2"), ("cookie", b"b")]);
    assert_eq!(passed(&FieldContract::default(), sent()), Ok(sent()));
    let mut violations = Violations::new();
    assert_eq!(FieldContract::default().check(&sent(), &mut violations), CheckedFields::default());
}
