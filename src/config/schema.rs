//! The JSON Schema of the configuration file, for editors.
//!
//! Generated from the types of [`crate::config`], whose documentation becomes the descriptions; values with a grammar
//! describe themselves where they are parsed, the keywords of parameters in [`keywords`]. It is of draft 7, the
//! newest that editors read, and says what the decoder says: unknown keys are refused, `null` is nothing, and a
//! placeholder may stand for any scalar. What needs more than one place to judge (references, ambiguous paths) is
//! `tollgate check`'s. One thing differs: a value that the schema takes may still be beyond a bound.

mod keywords;
#[cfg(test)]
mod tests;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::Config;

pub(super) use keywords::Keywords;

/// The methods that a route may have.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Name of the definition of what `${…}` stands for.
const PLACEHOLDER: &str = "Placeholder";

/// The schema of a configuration file.
pub fn json_schema() -> Value {
    let root = SchemaSettings::draft07().into_generator().into_root_schema_for::<Config>();
    let mut root = root.to_value();
    tidy(&mut root);
    if let Some(root) = root.as_object_mut() {
        finish(root);
    }
    root
}

/// `IP:port`.
pub(super) fn socket_address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": r"^([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]{1,5}$|\$\{" })
}

/// Some of [`METHODS`].
pub(super) fn methods(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "enum": METHODS } })
}

/// A mapping has one of these keys, and not two.
pub(super) fn exactly_one(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

/// A status, a range of them, or all others.
pub(super) fn status() -> Value {
    json!({ "pattern": "^([1-5][0-9][0-9]|[1-5]XX|default)$" })
}

/// What belongs to the file and to no type: its title, `include`, placeholders.
fn finish(root: &mut Map<String, Value>) {
    root.insert("title".to_owned(), "Tollgate configuration".into());
    // What is required may stand in an included file.
    if let Some(required) = root.remove("required") {
        root.insert("anyOf".to_owned(), json!([{ "required": required }, { "required": ["include"] }]));
    }
    if let Some(Value::Object(properties)) = root.get_mut("properties") {
        let text = json!({ "type": "string" });
        let include = json!({
            "description": "More files with the same keys, relative to this one; `*` stands for any part of a file's \
                            name. A name defined twice is an error.",
            "examples": [["routes/*.yaml"]],
            "anyOf": [text, { "type": "array", "items": text }],
        });
        properties.insert("include".to_owned(), include);
    }
    if let Some(Value::Object(definitions)) = root.get_mut("definitions") {
        let placeholder = json!({
            "description": "`${env:NAME}`, `${env:NAME:-default}`, `${file:/path}` or `${credential:NAME}`",
            "type": "string",
            "pattern": r"^\$\{(env|file|credential):[^}]+\}$",
        });
        definitions.insert(PLACEHOLDER.to_owned(), placeholder);
    }
}

/// Makes every schema say what the decoder says.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(schema) => {
            let is_schema = is_schema(schema);
            schema.iter_mut().filter(|(key, _)| !is_schema || !is_plain(key)).for_each(|(_, value)| tidy(value));
            if is_schema {
                flow_description(schema);
                refuse_null(schema);
                plain_default(schema);
                admit_placeholder(schema);
            }
        }
        _ => {}
    }
}

/// Keywords whose value holds no schema.
fn is_plain(keyword: &str) -> bool {
    ["default", "examples", "enum", "const", "required"].contains(&keyword)
}

/// Told from a mapping of names to schemas, which has none of these with such a value.
fn is_schema(schema: &Map<String, Value>) -> bool {
    let lists = ["anyOf", "oneOf", "allOf"];
    schema.get("type").is_some_and(|types| types.is_string() || types.is_array())
        || schema.get("$ref").is_some_and(Value::is_string)
        || lists.iter().any(|list| schema.get(*list).is_some_and(Value::is_array))
}

/// The lines of a doc comment are one paragraph.
fn flow_description(schema: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let paragraphs: Vec<String> = description.split("\n\n").map(|text| text.replace('\n', " ")).collect();
        *description = paragraphs.join("\n\n");
    }
}

/// An optional key is left out, never `null`.
fn refuse_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("enum") {
        options.retain(|option| !option.is_null());
    }
    if let Some(Value::Array(variants)) = schema.get_mut("anyOf") {
        variants.retain(|variant| variant != &json!({ "type": "null" }));
        if variants.len() == 1
            && let Some(variants) = schema.remove("anyOf")
        {
            // A `$ref` beside other keywords would hide them.
            schema.insert("allOf".to_owned(), variants);
        }
    }
}

/// Shows a default where there is something to see. Widths of Rust's integers are no formats.
fn plain_default(schema: &mut Map<String, Value>) {
    if let Some(Value::Object(members)) = schema.get_mut("default") {
        members.retain(|_, member| !is_empty(member));
    }
    if schema.get("default").is_some_and(is_empty) {
        schema.remove("default");
    }
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        schema.remove("format");
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// A number, a flag or one of several words may come from a placeholder. Other text holds one as it is.
fn admit_placeholder(schema: &mut Map<String, Value>) {
    let scalar = matches!(schema.get("type").and_then(Value::as_str), Some("integer" | "number" | "boolean"));
    let words = schema.contains_key("enum");
    let variants = schema.get("oneOf").and_then(Value::as_array);
    let named_words = variants.is_some_and(|variants| variants.iter().all(|variant| variant.get("const").is_some()));
    if !(scalar || words || named_words) {
        return;
    }
    let outside = ["description", "default", "examples", "title"];
    let (kept, moved): (Map<_, _>, Map<_, _>) =
        std::mem::take(schema).into_iter().partition(|(key, _)| outside.contains(&key.as_str()));
    *schema = kept;
    let placeholder = json!({ "$ref": format!("#/definitions/{PLACEHOLDER}") });
    schema.insert("anyOf".to_owned(), json!([moved, placeholder]));
}
