//! Schemas of whole documents: references, what is undeclared at every level, bounds on hostile texts.

use super::*;
use Undeclared::{Drop, Forward, Reject};

fn compiled(schema: &str, undeclared: Undeclared) -> DocumentContract {
    let schema: Value = serde_json::from_str(schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
    let (contract, faults) = DocumentContract::compile(DocumentSource::Inline(&schema), undeclared);
    contract.unwrap_or_else(|| panic!("{schema}: {faults:?}"))
}

fn document(schema: &str, undeclared: Undeclared, body: &str) -> String {
    sent(contract(BodyContract::Document(compiled(schema, undeclared))), None, body.as_bytes())
}

const TREE: &str = r##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","required":["id"],"properties":{
    "id":{"type":"integer"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}}}}}"##;

#[test]
fn a_document_is_of_any_type() {
    let rows = [
        ("true", "[1, 2]", "[1,2]"),
        ("true", "\"a\"", "\"a\""),
        ("true", "1.50", "1.50"),
        ("true", "", "! body missing"),
        ("true", "{", "! body json_invalid"),
        ("false", "1", "! body value_error"),
        (r#"{"type":"array","items":{"type":"integer"}}"#, "[1,\"a\",null]", "! body.1 int_type, body.2 int_type"),
        (r#"{"type":"integer","maximum":3}"#, "4", "! body less_than_equal"),
        (r#"{"const":null}"#, "null", "null"),
    ];
    for (schema, body, expected) in rows {
        assert_eq!(document(schema, Drop, body), expected, "{schema} {body}");
    }
}

#[test]
fn references_report_faults_in_their_place() {
    let rows = [
        (
            TREE,
            r#"{"id":1,"children":[{"id":2},{"id":"3"},{}]}"#,
            "! body.children.1.id int_type, body.children.2.id missing",
        ),
        (TREE, r#"{"id":1,"children":[{"id":2,"x":1}],"y":1}"#, r#"{"id":1,"children":[{"id":2}]}"#),
        (r##"{"$ref":"#a","$defs":{"x":{"$anchor":"a","type":"null"}}}"##, "1", "! body none_required"),
        (
            r#"{"$id":"https://a.test/x","$ref":"y","$defs":{"y":{"$id":"y","type":"null"}}}"#,
            "1",
            "! body none_required",
        ),
        (r##"{"$dynamicRef":"#n","$defs":{"x":{"$dynamicAnchor":"n","maximum":3}}}"##, "4", "! body less_than_equal"),
        (r#"{"$ref":"https://json-schema.org/draft/2020-12/schema"}"#, r#"{"type":"nul"}"#, "! body.type enum"),
        (r#"{"anyOf":[{"type":"integer","maximum":3},{"type":"null"}]}"#, "4", "! body less_than_equal"),
        (r#"{"anyOf":[{"type":"integer","maximum":3},{"type":"null"}]}"#, "\"a\"", "! body int_type"),
        (r#"{"oneOf":[{"type":"integer"},{"minimum":3}]}"#, "4", "! body value_error"),
        (
            r#"{"anyOf":[{"properties":{"a":{"type":"null"}}},{"properties":{"a":{"type":"string"}}}]}"#,
            r#"{"a":1}"#,
            "! body value_error",
        ),
        (
            r#"{"allOf":[{"required":["a"]},{"properties":{"b":{"type":"null"}}}]}"#,
            r#"{"b":1}"#,
            "! body.a missing, body.b none_required",
        ),
        (r#"{"type":"string","contentMediaType":"application/json","contentEncoding":"base64"}"#, "\"{\"", "\"{\""),
        (r#"{"format":"ipv4"}"#, "\"1.2.3\"", "! body format"),
    ];
    for (schema, body, expected) in rows {
        assert_eq!(document(schema, Drop, body), expected, "{schema} {body}");
    }
}

#[test]
fn undeclared_holds_at_every_level() {
    let nested = r#"{"properties":{"a":{"properties":{"b":{"type":"array","items":{"properties":{"c":true}}}}}}}"#;
    let open = r#"{"properties":{"a":{"type":"object"},"b":{"required":["x"]},"c":true}}"#;
    let any = r#"{"anyOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},
        {"properties":{"b":{"type":"integer"}},"required":["b"]}]}"#;
    let one = r#"{"oneOf":[{"properties":{"kind":{"const":"x"},"x":{}},"required":["kind"]},
        {"properties":{"kind":{"const":"y"},"y":{}},"required":["kind"]}]}"#;
    let all =
        r#"{"allOf":[{"properties":{"a":{"properties":{"p":{}}}}},{"properties":{"a":{"properties":{"q":{}}}}}]}"#;
    let half = r#"{"allOf":[{"properties":{"a":{"type":"object"}}},{"properties":{"a":{"properties":{"q":{}}}}}]}"#;
    let cond = r#"{"if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"properties":{"t":{}}},
        "else":{"properties":{"e":{}}}}"#;
    let patterns = r#"{"patternProperties":{"^x-":{"properties":{}}},"properties":{"a":{}}}"#;
    let others = r#"{"additionalProperties":{"properties":{"n":{}}}}"#;
    let not = r#"{"properties":{"a":{}},"not":{"properties":{"b":{"const":1}},"required":["b"]}}"#;
    let unevaluated = r#"{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":{"properties":{"u":{}}}}"#;
    let with = r#"{"properties":{"a":{}},"dependentSchemas":{"a":{"properties":{"b":{}}}}}"#;
    let rows = [
        (
            nested,
            r#"{"a":{"b":[{"c":{"z":1},"d":1}],"x":1},"y":1}"#,
            r#"{"a":{"b":[{"c":{"z":1}}]}}"#,
            "body.a.b.0.d, body.a.x, body.y",
        ),
        (
            open,
            r#"{"a":{"k":{"l":1}},"b":{"x":1,"y":2},"c":{"z":1}}"#,
            r#"{"a":{"k":{"l":1}},"b":{"x":1,"y":2},"c":{"z":1}}"#,
            "",
        ),
        (any, r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"b":2}"#, "body.c"),
        (any, r#"{"a":1,"b":"2","c":3}"#, r#"{"a":1}"#, "body.b, body.c"),
        (one, r#"{"kind":"y","x":1,"y":2}"#, r#"{"kind":"y","y":2}"#, "body.x"),
        (all, r#"{"a":{"p":1,"q":2,"r":3}}"#, r#"{"a":{"p":1,"q":2}}"#, "body.a.r"),
        (half, r#"{"a":{"p":1,"q":2}}"#, r#"{"a":{"q":2}}"#, "body.a.p"),
        (cond, r#"{"k":1,"t":2,"e":3}"#, r#"{"k":1,"t":2}"#, "body.e"),
        (cond, r#"{"k":2,"t":2,"e":3}"#, r#"{"e":3}"#, "body.k, body.t"),
        (patterns, r#"{"x-y":{"z":1},"a":1,"b":2}"#, r#"{"x-y":{},"a":1}"#, "body.x-y.z, body.b"),
        (others, r#"{"k":{"n":1,"m":2}}"#, r#"{"k":{"n":1}}"#, "body.k.m"),
        (not, r#"{"a":1,"b":2}"#, r#"{"a":1}"#, "body.b"),
        (unevaluated, r#"{"a":1,"b":{"u":1,"v":2}}"#, r#"{"a":1,"b":{"u":1}}"#, "body.b.v"),
        (with, r#"{"a":1,"b":{"c":1}}"#, r#"{"a":1,"b":{"c":1}}"#, ""),
        (with, r#"{"b":{"c":1}}"#, "{}", "body.b"),
        ("true", r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#, ""),
        (r#"{"properties":{}}"#, r#"{"a":1}"#, "{}", "body.a"),
        (
            r#"{"items":{"anyOf":[{"type":"null"},{"properties":{"a":{}}}]}}"#,
            r#"[null,{"a":1,"b":2}]"#,
            r#"[null,{"a":1}]"#,
            "body.1.b",
        ),
    ];
    for (schema, body, dropped, refused) in rows {
        assert_eq!(document(schema, Drop, body), dropped, "{schema} {body}");
        let refused = match refused {
            "" => body.to_owned(),
            refused => format!("! {} extra_forbidden", refused.replace(", ", " extra_forbidden, ")),
        };
        assert_eq!(document(schema, Reject, body), refused, "{schema} {body}");
        assert_eq!(document(schema, Forward, body), body, "{schema}");
    }
    let members = r#"{"a":{"properties":{"b":{}}},"c":{"optional":true}}"#;
    assert_eq!(json(members, Drop, br#"{"a":{"b":1,"x":2},"y":3}"#), r#"{"a":{"b":1}}"#);
    assert_eq!(json(members, Forward, br#"{"a":{"b":1,"x":2},"y":3}"#), r#"{"a":{"b":1,"x":2},"y":3}"#);
    assert_eq!(
        json(members, Reject, br#"{"a":{"b":1,"x":2},"y":3}"#),
        "! body.a.x extra_forbidden, body.y extra_forbidden"
    );
}

#[test]
fn a_hostile_text_is_bounded() {
    let many = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
    assert_eq!(document("true", Drop, &many(MAX_VALUES - 1)), many(MAX_VALUES - 1));
    assert_eq!(document("true", Drop, &many(MAX_VALUES)), "! body too_long");
    let members: Vec<_> = (0..100_000).map(|index| format!("\"k{index}\":1")).collect();
    let wide = format!("{{{}}}", members.join(","));
    assert_eq!(document("true", Drop, &wide), wide);
    assert_eq!(document("true", Drop, &wide.replace("\"k99999\"", "\"k5\"")), "! body.k5 duplicate_name");
    let twice = format!("[{}{{}}]", r#"{"a":1,"a":1},"#.repeat(1000));
    assert_eq!(document("true", Drop, &twice).split(", ").count(), MAX_VIOLATIONS);
}

/// Two branches that both refer back would cost `2^depth`.
#[test]
fn a_schema_of_many_branches_is_not_walked_for_ever() {
    let schema = r##"{"anyOf":[{"properties":{"a":{"$ref":"#"}},"required":["x"]},
        {"properties":{"a":{"$ref":"#"}},"required":["y"]}]}"##;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
    let started = std::time::Instant::now();
    assert_eq!(document(schema, Drop, &deep), "! body value_error");
    assert!(started.elapsed().as_secs() < 5);
    let nested = |times: usize| {
        let inner = r##"{"properties":{"a":{"$ref":"#"}}}"##;
        format!("{}{inner}{}", r#"{"allOf":["#.repeat(times), "]}".repeat(times))
    };
    assert_eq!(document(&nested(2), Drop, &deep), deep);
    let refused = document(&nested(8), Drop, &deep);
    assert!(refused.ends_with("value_error"), "within the stack, whatever the schema: {refused}");
    let list = format!("{}{}", r#"{"id":1,"children":["#.repeat(MAX_DEPTH / 2), "]}".repeat(MAX_DEPTH / 2));
    assert_eq!(document(TREE, Drop, &list), list);
}

#[test]
fn a_schema_that_applies_to_the_same_value_for_ever_is_refused() {
    for schema in [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"anyOf":[{"$ref":"#"}]}}}"##,
        r##"{"$dynamicAnchor":"n","not":{"$dynamicRef":"#n"}}"##,
        r##"{"dependentSchemas":{"a":{"$ref":"#"}}}"##,
    ] {
        let schema = serde_json::from_str(schema).unwrap();
        let (contract, faults) = DocumentContract::compile(DocumentSource::Inline(&schema), Drop);
        assert!(contract.is_none(), "{schema}");
        assert_eq!(faults[0].fault.message, "this schema refers to itself without end", "{schema}");
    }
}

#[test]
fn a_file_may_say_more_than_is_enforced() {
    let schema = serde_json::json!({
        "x-internal": true, "type": "string", "maximum": 3, "format": "colour",
        "$ref": "item.json#/$defs/short", "minLength": 2,
    });
    let item = serde_json::json!({"$defs": {"short": {"maxLength": 3}}});
    let files = [("file:///a/order.json", &schema), ("file:///a/item.json", &item)];
    let (contract, faults) = DocumentContract::compile(DocumentSource::Files(&files), Drop);
    let messages: Vec<_> = faults.iter().map(|fault| (fault.weight, fault.fault.message.as_str())).collect();
    let expected = [(Weight::Warning, "unknown keyword `x-internal`"), (Weight::Warning, "unknown format `colour`")];
    assert_eq!(messages, expected);
    let contract = super::contract(BodyContract::Document(contract.unwrap()));
    assert_eq!(sent(contract, None, b"\"long\""), "! body string_too_long");

    let broken = serde_json::json!({"$defs": {"short": {"pattern": "["}, "far": {"$ref": "https://a.test/x"}}});
    let files = [("file:///a/order.json", &schema), ("file:///a/item.json", &broken)];
    let (contract, faults) = DocumentContract::compile(DocumentSource::Files(&files), Drop);
    assert!(contract.is_none());
    let error = faults.iter().find(|fault| fault.weight == Weight::Error).unwrap();
    let pointer = ["$defs", "short", "pattern"].map(PointerStep::from);
    assert_eq!((error.resource, error.fault.pointer.as_slice()), (1, pointer.as_slice()));
}

#[test]
fn a_reply_loses_what_its_model_does_not_name() {
    let schema = serde_json::json!({"properties": {"a": {"type": "integer"}}});
    let model = ReplyModel::compile(DocumentSource::Inline(&schema)).0.unwrap();
    assert_eq!(model.check(br#"{"a":1,"b":2}"#).unwrap(), &br#"{"a":1}"#[..]);
    let wrong = model.check(br#"{"a":"1"}"#).unwrap_err();
    assert_eq!(serde_json::to_string(&wrong[0].loc).unwrap(), r#"["reply","a"]"#);
    assert!(model.check(b"").is_err());
}
