//! How parameters and the schemas in them are described: JSON Schema 2020-12 in a schema of draft 7.
//!
//! The keywords are listed here because the types keep a schema as it is written. Which of them concern which type is
//! the compiler's to say.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::config::{Parameter, Size};

/// A schema in a parameter or of a whole document.
pub(in crate::config) struct Keywords;

/// What a keyword's value is.
#[derive(Clone, Copy)]
enum Takes {
    Anything,
    List,
    Number,
    AboveZero,
    Count,
    Text,
    Flag,
    Types,
    Schema,
    Schemas,
    NamedSchemas,
    Names,
    NamedNames,
    Size,
}

use Takes::{
    AboveZero, Anything, Count, Flag, List, NamedNames, NamedSchemas, Names, Number, Schema as OneSchema, Schemas,
    Size as OneSize, Text, Types,
};

const KEYWORDS: [(&str, Takes, &str); 58] = [
    ("type", Types, "The type, or several. `file` is for a field of a multipart form."),
    ("enum", List, "The permitted values."),
    ("const", Anything, "The one permitted value."),
    ("minimum", Number, "At least this."),
    ("exclusiveMinimum", Number, "More than this."),
    ("maximum", Number, "At most this."),
    ("exclusiveMaximum", Number, "Less than this."),
    ("multipleOf", AboveZero, "A whole multiple of this."),
    ("minLength", Count, "At least so many characters."),
    ("maxLength", Count, "At most so many characters."),
    ("pattern", Text, "A regular expression that matches somewhere; without look-around and back-references."),
    ("format", Text, "`date`, `date-time`, `email`, `uuid`, `uri`, `ipv4`, `hostname`, …: it is checked."),
    ("items", OneSchema, "Every item, or every one behind `prefixItems`."),
    ("prefixItems", Schemas, "The first items, one by one."),
    ("minItems", Count, "At least so many items."),
    ("maxItems", Count, "At most so many items."),
    ("uniqueItems", Flag, "No two items are equal."),
    ("contains", OneSchema, "Some item is like this."),
    ("minContains", Count, "At least so many items are as `contains` says."),
    ("maxContains", Count, "At most so many items are as `contains` says."),
    ("unevaluatedItems", OneSchema, "Items that nothing else speaks of."),
    ("properties", NamedSchemas, "Members by name."),
    ("patternProperties", NamedSchemas, "Members whose name matches a regular expression."),
    ("additionalProperties", OneSchema, "Members that are not named."),
    ("unevaluatedProperties", OneSchema, "Members that nothing else speaks of."),
    ("propertyNames", OneSchema, "The names of members."),
    ("required", Names, "Members of an object that must be there."),
    ("minProperties", Count, "At least so many members."),
    ("maxProperties", Count, "At most so many members."),
    ("dependentRequired", NamedNames, "Members that must be there when another one is."),
    ("dependentSchemas", NamedSchemas, "What holds for the object when a member is there."),
    ("allOf", Schemas, "All of these hold."),
    ("anyOf", Schemas, "At least one of these holds."),
    ("oneOf", Schemas, "Exactly one of these holds."),
    ("not", OneSchema, "This does not hold."),
    ("if", OneSchema, "Decides between `then` and `else`."),
    ("then", OneSchema, "Holds when `if` does."),
    ("else", OneSchema, "Holds when `if` does not."),
    ("title", Text, "Documentation: a name."),
    ("description", Text, "Documentation: Markdown."),
    ("examples", List, "Documentation: values."),
    ("deprecated", Flag, "Documentation: still works, should not be used."),
    ("readOnly", Flag, "Documentation: only in answers."),
    ("writeOnly", Flag, "Documentation: only in requests."),
    ("default", Anything, "Of a parameter: filled in when it is absent. Deeper in a body: documentation."),
    ("$comment", Text, "For readers of this file."),
    ("$ref", Text, "Another schema: `#/$defs/NAME`, or a file beside this one."),
    ("$defs", NamedSchemas, "Schemas that `$ref` names."),
    ("$id", Text, "The base of relative references."),
    ("$anchor", Text, "A name for `$ref`."),
    ("$dynamicRef", Text, "A reference to the outermost `$dynamicAnchor` of a name."),
    ("$dynamicAnchor", Text, "A name for `$dynamicRef`."),
    ("$schema", Text, "The dialect: that of 2020-12."),
    ("contentEncoding", Text, "Documentation: how text stands for bytes."),
    ("contentMediaType", Text, "Documentation: what the text holds."),
    ("contentSchema", OneSchema, "Documentation: what the decoded text is."),
    ("max_size", OneSize, "Of a file: the largest."),
    ("content_types", Names, "Of a file: the media types that are taken."),
];

impl Takes {
    fn schema(self, generator: &mut SchemaGenerator) -> Value {
        let text = || json!({ "type": "string" });
        let names = || json!({ "type": "array", "items": text(), "uniqueItems": true });
        let mut schemas = || Value::from(generator.subschema_for::<Keywords>());
        match self {
            Anything => json!({}),
            List => json!({ "type": "array" }),
            Number => json!({ "type": "number" }),
            AboveZero => json!({ "type": "number", "exclusiveMinimum": 0 }),
            Count => json!({ "type": "integer", "minimum": 0 }),
            Text => text(),
            Flag => json!({ "type": "boolean" }),
            Types => {
                let one = json!({
                    "enum": ["string", "integer", "number", "boolean", "array", "object", "null", "file"],
                });
                json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "uniqueItems": true }] })
            }
            OneSchema => schemas(),
            Schemas => json!({ "type": "array", "items": schemas(), "minItems": 1 }),
            NamedSchemas => json!({ "type": "object", "additionalProperties": schemas() }),
            Names => names(),
            NamedNames => json!({ "type": "object", "additionalProperties": names() }),
            OneSize => generator.subschema_for::<Size>().into(),
        }
    }
}

/// A mapping of keywords.
fn keywords(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let described = KEYWORDS.iter().map(|(keyword, takes, description)| {
        let mut schema = takes.schema(generator);
        if let Some(reference) = schema.get("$ref") {
            // Draft 7 sees nothing beside a reference.
            schema = json!({ "allOf": [{ "$ref": reference }] });
        }
        schema["description"] = (*description).into();
        ((*keyword).to_owned(), schema)
    });
    described.collect()
}

impl JsonSchema for Keywords {
    fn schema_name() -> Cow<'static, str> {
        "Schema".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "JSON Schema 2020-12; `true` is everything, `false` nothing.",
            "anyOf": [
                { "type": "boolean" },
                { "type": "object", "properties": keywords(generator), "additionalProperties": false },
            ],
        })
    }
}

impl JsonSchema for Parameter {
    fn schema_name() -> Cow<'static, str> {
        "Parameter".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = keywords(generator);
        let optional = json!({ "type": "boolean", "default": false, "description": "It may be absent." });
        properties.insert("optional".to_owned(), optional);
        json_schema!({
            "description": "One typed parameter: JSON Schema 2020-12. Required, unless it has a `default` or says \
                            `optional: true`.",
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}
