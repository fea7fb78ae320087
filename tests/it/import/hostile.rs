//! Documents that nobody writes in good faith, and documents of every shape.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{errors, imported};
use tollgate::import::{ImportError, Options};

/// Generous: a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(20);

fn with_body(schema: &Value, components: &Value) -> String {
    let body = json!({ "content": { "application/json": { "schema": schema } } });
    json!({
        "openapi": "3.1.0",
        "paths": { "/a": { "post": { "requestBody": body } } },
        "components": { "schemas": components },
    })
    .to_string()
}

/// A reference to a schema that has ten of the next one, twenty deep.
fn laughs() -> String {
    let name = |depth: usize| format!("#/components/schemas/s{depth}");
    let schemas: Map<String, Value> = (0..20)
        .map(|depth| {
            let next = json!({ "$ref": name(depth + 1) });
            let properties: Map<String, Value> = (0..10).map(|nth| (format!("p{nth}"), next.clone())).collect();
            (format!("s{depth}"), json!({ "type": "object", "properties": properties }))
        })
        .chain([("s20".to_owned(), json!({ "type": "string" }))])
        .collect();
    with_body(&json!({ "$ref": name(0) }), &Value::Object(schemas))
}

/// Many operations that all have the same large body.
fn much() -> String {
    let properties: Map<String, Value> =
        (0..1900).map(|nth| (format!("p{nth}"), json!({ "type": "string", "maxLength": nth }))).collect();
    let body = json!({ "content": { "application/json": { "schema": { "$ref": "#/components/schemas/s" } } } });
    let paths: Map<String, Value> =
        (0..5000).map(|nth| (format!("/p{nth}"), json!({ "post": { "requestBody": body } }))).collect();
    json!({
        "openapi": "3.0.0",
        "paths": paths,
        "components": { "schemas": { "s": { "type": "object", "properties": properties } } },
    })
    .to_string()
}

fn nested(depth: usize) -> String {
    let mut schema = json!({ "type": "string" });
    for _ in 0..depth {
        schema = json!({ "type": "object", "properties": { "a": schema } });
    }
    with_body(&schema, &json!({}))
}

#[test]
fn nothing_hangs_and_nothing_panics() {
    let many = |of: &str, times: usize| of.repeat(times);
    let operations = |count: usize| {
        let paths: Map<String, Value> =
            (0..count).map(|nth| (format!("/p{nth}"), json!({ "get": { "operationId": "same" } }))).collect();
        json!({ "openapi": "3.0.0", "paths": paths }).to_string()
    };
    let patterns: Map<String, Value> =
        (0..3000).map(|nth| (format!("p{nth}"), json!({ "pattern": format!("(a{{1,{nth}}}){{9}}") }))).collect();
    let required: Vec<String> = (0..100_000).map(|nth| format!("r{nth}")).collect();
    let bomb = format!("openapi: 3.0.0\npaths: {{}}\na: &a [{}]\n{}", many("x,", 50), {
        let lines = ('b'..='h').zip('a'..='g');
        lines.map(|(name, of)| format!("{name}: &{name} [{}]\n", many(&format!("*{of},"), 50))).collect::<String>()
    });
    let enumeration: Vec<usize> = (0..50_000).collect();
    for (name, document, taken) in [
        ("empty", String::new(), false),
        ("a list", "[]".to_owned(), false),
        ("no paths", json!({ "openapi": "3.0.0" }).to_string(), false),
        ("swagger", json!({ "swagger": "2.0", "paths": {} }).to_string(), false),
        ("a later version", json!({ "openapi": "4.0.0", "paths": {} }).to_string(), false),
        ("paths of another kind", json!({ "openapi": "3.0.0", "paths": [1] }).to_string(), false),
        ("open brackets", many("[", 1_000_000), false),
        ("open brackets in YAML", format!("a: {}", many("[", 1_000_000)), false),
        ("open braces", many("{\"a\":", 1_000_000), false),
        ("indented YAML", (0..2000).map(|depth| format!("{}a:\n", many(" ", depth))).collect(), false),
        ("aliases", bomb, false),
        ("a tag", "openapi: !x 3.0.0\npaths: {}".to_owned(), false),
        ("too large", many(" ", 17 << 20), false),
        ("references that unfold", laughs(), true),
        ("a large body many times", much(), false),
        ("a deep schema", nested(55), true),
        (
            "a reference to itself",
            with_body(&json!({ "$ref": "#/paths/~1a/post/requestBody/content/application~1json/schema" }), &json!({})),
            true,
        ),
        ("everything refers to everything", with_body(&json!({ "$ref": "#" }), &json!({})), true),
        ("a long list of values", with_body(&json!({ "enum": enumeration }), &json!({})), true),
        ("many required members", with_body(&json!({ "type": "object", "required": required }), &json!({})), true),
        ("many operations of one name", operations(20_000), true),
        ("dear patterns", with_body(&json!({ "type": "object", "properties": patterns }), &json!({})), false),
        (
            "a long path",
            json!({ "openapi": "3.0.0", "paths": { many("/{a}", 100_000): { "get": {} } } }).to_string(),
            true,
        ),
    ] {
        let before = Instant::now();
        let found = imported(&document, &Options::default());
        assert!(before.elapsed() < SOON, "{name} took {:?}", before.elapsed());
        match found {
            Ok(yaml) => {
                assert!(taken, "{name} was taken");
                assert_eq!(errors(&yaml).map(|report| report.chars().take(2000).collect::<String>()), None, "{name}");
            }
            Err(why) => assert!(!taken && why.to_string().len() < 500, "{name}: {why}"),
        }
    }
}

#[test]
fn what_is_too_much_is_called_that() {
    assert!(matches!(imported(&much(), &Options::default()), Err(ImportError::TooLarge(_))));
}

/// Any JSON with the words of OpenAPI in it.
fn anything() -> impl Strategy<Value = Value> {
    const WORDS: &[&str] = &[
        "type",
        "string",
        "integer",
        "number",
        "boolean",
        "array",
        "object",
        "null",
        "enum",
        "const",
        "pattern",
        "^a+$",
        "(?=a)",
        "format",
        "date",
        "int64",
        "binary",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "multipleOf",
        "items",
        "prefixItems",
        "minItems",
        "uniqueItems",
        "contains",
        "minContains",
        "properties",
        "a",
        "b-c",
        "required",
        "additionalProperties",
        "patternProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "nullable",
        "default",
        "example",
        "examples",
        "title",
        "description",
        "readOnly",
        "writeOnly",
        "deprecated",
        "$ref",
        "#/components/schemas/a",
        "#/components/schemas/b",
        "discriminator",
        "dependentRequired",
        "propertyNames",
        "unevaluatedProperties",
        "${a}",
        "<<",
        "é\n: #",
        "contentMediaType",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..20).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(WORDS), inner), 0..5).prop_map(|members| Value::Object(
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

/// A schema whose keywords mostly have values of the right shape.
fn schema() -> impl Strategy<Value = Value> {
    const TYPES: &[&str] = &["string", "integer", "number", "boolean", "array", "object", "null"];
    const REFERENCES: &[&str] = &["#/components/schemas/a", "#/components/schemas/b", "#/components/schemas/none"];
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..20).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    let kind = || prop::sample::select(TYPES).prop_map(Value::from);
    let count = || (-1_i64..5).prop_map(Value::from);
    let leaf = prop_oneof![kind().prop_map(|kind| json!({ "type": kind })), Just(json!({})), Just(json!(true))];
    leaf.prop_recursive(4, 30, 4, move |inner| {
        let one = inner.clone();
        let list = prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from);
        let named =
            prop::collection::vec(("[a-c]", inner), 0..3).prop_map(|named| Value::Object(named.into_iter().collect()));
        let keyword = prop_oneof![
            kind().prop_map(|value| ("type", value)),
            prop::collection::vec(kind(), 0..3).prop_map(|value| ("type", value.into())),
            prop::collection::vec(scalar.clone(), 0..3).prop_map(|value| ("enum", value.into())),
            scalar.clone().prop_map(|value| ("const", value)),
            scalar.clone().prop_map(|value| ("default", value)),
            scalar.clone().prop_map(|value| ("example", value)),
            (
                prop::sample::select(&["minimum", "exclusiveMaximum", "maximum", "multipleOf", "exclusiveMinimum"][..]),
                count()
            ),
            (
                prop::sample::select(
                    &["minLength", "maxLength", "minItems", "maxItems", "minProperties", "minContains"][..]
                ),
                count()
            ),
            (
                prop::sample::select(&["nullable", "exclusiveMinimum", "uniqueItems", "readOnly", "writeOnly"][..]),
                Just(json!(true))
            ),
            prop::sample::select(&["date", "uuid", "binary", "int32", "x"][..])
                .prop_map(|value| ("format", value.into())),
            prop::sample::select(&["^a", "(?!a)", "("][..]).prop_map(|value| ("pattern", value.into())),
            (
                prop::sample::select(
                    &["items", "not", "contains", "if", "then", "additionalProperties", "propertyNames"][..]
                ),
                one
            ),
            (prop::sample::select(&["allOf", "anyOf", "oneOf", "prefixItems"][..]), list),
            (prop::sample::select(&["properties", "patternProperties", "dependentSchemas"][..]), named),
            prop::collection::vec("[a-c]", 0..3).prop_map(|value| ("required", value.into())),
            prop::sample::select(REFERENCES).prop_map(|value| ("$ref", value.into())),
        ];
        prop::collection::vec(keyword, 0..5).prop_map(|keywords| {
            Value::Object(keywords.into_iter().map(|(keyword, value)| (keyword.to_owned(), value)).collect())
        })
    })
}

/// A document with a schema in every place that takes one.
fn document(version: &str, schema: &Value, components: &Value) -> String {
    let parameter = |place: &str| json!({ "name": "p", "in": place, "schema": schema });
    let media = json!({ "schema": schema });
    let form = json!({ "schema": { "type": "object", "properties": { "f": schema, "g": schema }, "required": ["g"] } });
    let operation = |media_type: &str, media: &Value| {
        json!({
            "parameters": [parameter("path"), parameter("query"), parameter("header"), parameter("cookie")],
            "requestBody": { "content": { media_type: media } },
            "responses": { "200": { "content": { "application/json": { "schema": schema } } } },
        })
    };
    json!({
        "openapi": version,
        "paths": { "/{p}": {
            "post": operation("application/json", &media),
            "put": operation("multipart/form-data", &form),
            "patch": operation("application/x-www-form-urlencoded", &form),
        } },
        "components": { "schemas": components },
    })
    .to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the schemas are, the gateway takes what they become.
    #[test]
    fn imported_schemas_are_right(
        one in schema(), a in schema(), b in schema(), version in prop::sample::select(&["3.0.3", "3.1.0"][..]),
    ) {
        let document = document(version, &one, &json!({ "a": a, "b": b }));
        let replies = tollgate::import::Replies::Checked;
        let yaml = imported(&document, &Options { replies, ..Options::default() }).unwrap();
        let wrong = errors(&yaml);
        prop_assert!(wrong.is_none(), "{}\n{}", wrong.unwrap_or_default(), document);
    }

    #[test]
    fn no_document_makes_the_import_panic(value in anything(), version in prop::sample::select(&["3.0.3", "3.1.0"][..])) {
        let document = document(version, &value, &json!({ "a": value }));
        if let Ok(yaml) = imported(&document, &Options::default()) {
            let wrong = errors(&yaml);
            prop_assert!(wrong.is_none(), "{}\n{}", wrong.unwrap_or_default(), document);
        }
        let _ = imported(&json!({ "openapi": version, "paths": { "/a": { "get": value } } }).to_string(), &Options::default());
        let _ = imported(&json!({ "openapi": version, "paths": { "/a": value }, "servers": value }).to_string(), &Options::default());
        let _ = imported(&json!({ "openapi": version, "paths": value, "components": value }).to_string(), &Options::default());
    }
}
