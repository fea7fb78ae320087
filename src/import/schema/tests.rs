//! What a schema of either edition becomes.

use serde_json::{Value, json};

use super::*;

/// What schemas refer to here.
const COMPONENTS: &str = r##"
components:
  schemas:
    User: { title: User, type: object, properties: { id: { type: integer } }, required: [id] }
    Color: { title: Color, enum: [red, blue], description: A color }
    Node:
      type: object
      properties: { children: { type: array, items: { $ref: "#/components/schemas/Node" } } }
    Loop: { $ref: "#/components/schemas/Loop" }
    Ping: { anyOf: [{ type: string }, { $ref: "#/components/schemas/Pong" }] }
    Pong: { if: { type: string }, then: { $ref: "#/components/schemas/Ping" } }
    Same:
      type: object
      properties: { a: { $ref: "#/components/schemas/Same" } }
      allOf: [{ $ref: "#/components/schemas/Same" }, { minProperties: 1 }]
    Wide/one: { type: string }
paths: {}
"##;

fn document(version: &str) -> Document {
    Document::read(&format!("openapi: {version}\n{COMPONENTS}")).unwrap()
}

/// A schema in YAML, translated as a whole document's, and the notes.
fn translated(version: &str, schema: &str) -> (Value, Vec<String>) {
    let document = document(version);
    let schema: Value = serde_yaml::from_str(schema).unwrap();
    let mut notes = Notes::default();
    let found = Translator::new(&document, Direction::Request, &mut notes).whole(&schema);
    (found, notes.into_lines())
}

fn check(version: &str, schema: &str, expected: &str, note: &str) {
    let (found, notes) = translated(version, schema);
    let expected: Value = serde_yaml::from_str(expected).unwrap();
    assert_eq!(found, expected, "{version}: {schema}: {found:#}");
    let said = notes.join("; ");
    assert!(said.contains(note) && (!note.is_empty() || said.is_empty()), "{version}: {schema}: {said}");
}

#[test]
fn the_dialect_of_3_0_is_translated() {
    for (schema, expected, note) in [
        ("{type: string, nullable: true}", "{type: [string, 'null']}", ""),
        ("{type: string, nullable: true, enum: [a]}", "{type: [string, 'null'], enum: [a, ~]}", ""),
        ("{type: string, nullable: true, enum: [a, ~]}", "{type: [string, 'null'], enum: [a, ~]}", ""),
        ("{nullable: false, type: string}", "{type: string}", ""),
        (
            "{nullable: true, allOf: [{$ref: '#/components/schemas/Color'}]}",
            "{description: A color, anyOf: [{enum: [red, blue]}, {type: 'null'}]}",
            "",
        ),
        ("{type: integer, minimum: 1, exclusiveMinimum: true}", "{type: integer, exclusiveMinimum: 1}", ""),
        ("{type: integer, minimum: 1, exclusiveMinimum: false}", "{type: integer, minimum: 1}", ""),
        ("{type: number, exclusiveMaximum: true, maximum: 2.5}", "{type: number, exclusiveMaximum: 2.5}", ""),
        ("{type: string, example: x}", "{type: string, examples: [x]}", ""),
        ("{type: integer, format: int64}", "{type: integer}", ""),
        ("{$ref: '#/components/schemas/User', description: x}", USER, ""),
        (
            "{type: object, properties: {a: {$ref: '#/components/schemas/Color'}}}",
            "{type: object, properties: {a: {enum: [red, blue], description: A color}}}",
            "",
        ),
    ] {
        check("3.0.3", schema, expected, note);
    }
}

const USER: &str = "{type: object, properties: {id: {type: integer}}, required: [id]}";

#[test]
fn what_3_1_shares_with_json_schema_stays() {
    for (schema, expected, note) in [
        ("{type: [string, 'null'], maxLength: 5}", "{type: [string, 'null'], maxLength: 5}", ""),
        ("{anyOf: [{type: string, maxLength: 5}, {type: 'null'}]}", "{type: [string, 'null'], maxLength: 5}", ""),
        ("{anyOf: [{type: 'null'}, {type: integer}], title: Age}", "{type: [integer, 'null'], title: Age}", ""),
        ("{anyOf: [{type: integer}, {type: string}]}", "{anyOf: [{type: integer}, {type: string}]}", ""),
        ("{type: integer, exclusiveMinimum: 0}", "{type: integer, exclusiveMinimum: 0}", ""),
        ("{const: 7}", "{const: 7}", ""),
        (
            "{type: array, prefixItems: [{type: string}], items: false}",
            "{type: array, prefixItems: [{type: string}], items: false}",
            "",
        ),
        ("{type: object, patternProperties: {'^x-': {}}}", "{type: object, patternProperties: {'^x-': {}}}", ""),
        (
            "{type: object, dependentRequired: {a: [b]}}",
            "{type: object, dependentRequired: {a: [b]}, additionalProperties: true}",
            "",
        ),
        ("{if: {type: string}, then: {minLength: 1}}", "{if: {type: string}, then: {minLength: 1}}", ""),
        ("{examples: [1, 2]}", "{examples: [1, 2]}", ""),
        (
            "{$ref: '#/components/schemas/User', description: Whose}",
            "{type: object, properties: {id: {type: integer}}, required: [id], description: Whose}",
            "",
        ),
        ("{$ref: '#/components/schemas/Wide~1one'}", "{type: string}", ""),
        ("{$ref: '#/components/schemas/User', minProperties: 1}", USER, "`minProperties` beside a `$ref`"),
        ("true", "true", ""),
        ("{}", "{}", ""),
    ] {
        check("3.1.0", schema, expected, note);
    }
}

#[test]
fn what_is_not_checked_is_left_out_and_said() {
    for (schema, expected, note) in [
        ("{type: string, pattern: '^(?!x)'}", "{type: string}", "look-around"),
        (r"{type: string, pattern: '(a)\1'}", "{type: string}", "back-references"),
        (r"{type: string, pattern: '^\d+$'}", r"{type: string, pattern: '^\d+$'}", ""),
        ("{type: string, format: color}", "{type: string}", "format `color`"),
        ("{type: integer, maxLength: 3}", "{type: integer}", "`maxLength` is left out: it has no effect"),
        ("{type: integer, minimum: 5, maximum: 1}", "{type: integer}", "no value would be permitted"),
        ("{type: integer, enum: [1, x]}", "{type: integer, enum: [1]}", "can never occur"),
        ("{type: integer, const: x}", "{type: integer}", "`const` is left out"),
        ("{type: text}", "{}", "`type` is left out"),
        ("{type: string, minLength: -1}", "{type: string}", "`minLength` is left out"),
        ("{type: string, minLength: '1'}", "{type: string}", "`minLength` is left out"),
        (
            "{type: object, discriminator: {propertyName: a}, properties: {a: {}}}",
            "{type: object, properties: {a: {}}}",
            "`discriminator`",
        ),
        ("{type: number, maximum: 1e400}", "{type: number}", "`maximum`"),
        ("{unknown: 1}", "{}", "`unknown`"),
        ("{x-more: 1, externalDocs: {url: a}}", "{}", ""),
        (
            "{type: object, properties: {id: {type: integer, readOnly: true}, b: {}}, required: [id, b]}",
            "{type: object, properties: {b: {}}, required: [b]}",
            "only in replies",
        ),
        ("{$ref: '#/components/schemas/None'}", "{}", "not in the document"),
        ("{$ref: 'other.yaml#/A'}", "{}", "not in the document"),
        ("{type: object, properties: {'<<': {}}}", "{type: object, properties: {}}", "cannot hold its name"),
        ("[a]", "{}", "no mapping"),
    ] {
        check("3.1.0", schema, expected, note);
    }
}

#[test]
fn free_members_are_said_to_be_free() {
    check("3.0.0", "{type: object}", "{type: object, additionalProperties: true}", "");
    check(
        "3.0.0",
        "{type: object, additionalProperties: {type: string}}",
        "{type: object, additionalProperties: {type: string}}",
        "",
    );
}

#[test]
fn recursive_and_large_schemas_keep_their_references() {
    let (found, notes) = translated("3.0.0", "{$ref: '#/components/schemas/Node'}");
    assert_eq!(
        found,
        json!({
            "$ref": "#/$defs/Node",
            "$defs": { "Node": {
                "type": "object",
                "properties": { "children": { "type": "array", "items": { "$ref": "#/$defs/Node" } } },
            } },
        })
    );
    assert!(notes.is_empty(), "{notes:?}");
    let many: Vec<String> = (0..1500).map(|n| format!("p{n}: {{$ref: '#/components/schemas/User'}}")).collect();
    let (found, _) = translated("3.0.0", &format!("{{type: object, properties: {{{}}}}}", many.join(", ")));
    assert_eq!(found["$defs"].as_object().unwrap().len(), 1);
    assert_eq!(found["properties"]["p1499"], json!({ "$ref": "#/$defs/User" }));
}

#[test]
fn a_schema_that_is_only_itself_is_left_out() {
    for (schema, expected) in [
        ("{$ref: '#/components/schemas/Loop'}", "{Loop: {}}"),
        (
            "{$ref: '#/components/schemas/Ping'}",
            "{Ping: {anyOf: [{type: string}, {$ref: '#/$defs/Pong'}]}, Pong: {if: {type: string}, then: {}}}",
        ),
        (
            "{type: array, items: {$ref: '#/components/schemas/Same'}}",
            "{Same: {type: object, properties: {a: {$ref: '#/$defs/Same'}}, allOf: [{}, {minProperties: 1}]}}",
        ),
    ] {
        let (found, notes) = translated("3.1.0", schema);
        let expected: Value = serde_yaml::from_str(expected).unwrap();
        assert_eq!(found["$defs"], expected, "{schema}: {found:#}");
        assert!(notes.join("; ").contains("refers to itself without end"), "{schema}: {notes:?}");
    }
}

/// A schema as a parameter of a query (or of a header) takes it.
fn text(schema: &str, place: TextPlace) -> (Value, String) {
    let document = document("3.1.0");
    let schema: Value = serde_yaml::from_str(schema).unwrap();
    let mut notes = Notes::default();
    let mut translator = Translator::new(&document, Direction::Request, &mut notes);
    let found = text_parameter(&mut translator, &schema, place, "color", "`color`");
    (Value::Object(found), notes.into_lines().join("; "))
}

#[test]
fn text_has_one_type() {
    for (schema, expected, note) in [
        ("{type: integer, title: Color}", "{type: integer}", ""),
        ("{anyOf: [{type: integer, minimum: 1}, {type: 'null'}]}", "{type: integer, minimum: 1}", ""),
        ("{type: [boolean, 'null']}", "{type: boolean}", ""),
        ("{$ref: '#/components/schemas/Color'}", "{type: string, enum: [red, blue], description: A color}", ""),
        ("{enum: [1, 2]}", "{type: integer, enum: [1, 2]}", ""),
        ("{const: 5}", "{type: integer, const: 5}", ""),
        ("{}", "{type: string}", ""),
        ("true", "{type: string}", ""),
        ("{pattern: '^a'}", "{type: string, pattern: '^a'}", ""),
        ("{minimum: 5}", "{type: string}", "no effect"),
        (
            "{anyOf: [{type: string, format: date}, {type: string, maxLength: 1}]}",
            "{type: string, anyOf: [{type: string, format: date}, {type: string, maxLength: 1}]}",
            "",
        ),
        (
            "{anyOf: [{type: integer}, {type: string}], description: D}",
            "{type: string, description: D}",
            "several open",
        ),
        ("{enum: [1, a]}", "{type: string}", "several open"),
        ("{anyOf: [{type: 'null'}]}", "{type: string}", ""),
        (
            "{enum: [false], anyOf: [{type: string}, {type: 'null'}]}",
            "{type: boolean, enum: [false], anyOf: [{type: string}]}",
            "",
        ),
        ("{type: object}", "{type: string}", "an object has no form as text"),
        ("{$ref: '#/components/schemas/Node'}", "{type: string}", "recursive"),
        (
            "{type: array, items: {type: integer}, minItems: 1}",
            "{type: array, items: {type: integer}, minItems: 1}",
            "",
        ),
        ("{type: array, items: {}}", "{type: array, items: {type: string}}", ""),
        ("{type: array}", "{type: array, items: {type: string}}", ""),
        (
            "{type: array, items: {anyOf: [{type: integer}, {type: 'null'}]}}",
            "{type: array, items: {type: integer}}",
            "",
        ),
        ("{type: array, items: {type: array}}", "{type: string}", "one plain type"),
        ("{type: array, prefixItems: [{}]}", "{type: string}", "all of one type"),
    ] {
        let (found, said) = text(schema, TextPlace::Repeats);
        let expected: Value = serde_yaml::from_str(expected).unwrap();
        assert_eq!(found, expected, "{schema}: {found}");
        assert!(said.contains(note) && (!note.is_empty() || said.is_empty()), "{schema}: {said}");
    }
    let (found, said) = text("{type: array, items: {type: integer}}", TextPlace::Single);
    assert_eq!(found, json!({ "type": "string" }));
    assert!(said.contains("a list has no form in one text"), "{said}");
}
