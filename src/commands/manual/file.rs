//! tollgate.yaml(5), from the JSON Schema of the configuration.
//!
//! The file itself comes first, then every type that its keys have, in the order in which they are met.

use clap_mangen::roff::{Roff, bold, italic, roman};
use serde_json::{Map, Value};

/// What may stand for any value. Told once, and not of each.
const PLACEHOLDER: &str = "Placeholder";

const INTRODUCTION: [&str; 2] = [
    "One YAML file says what the gateway serves, to whom, and how much of it. Keys that are not described here are errors. \
     Any value may be ${env:NAME}, ${env:NAME:-default} or ${file:/path}.",
    "tollgate check FILE tells every fault with its line; tollgate schema prints what this page is made from, for editors.",
];

/// The page.
pub fn page(schema: &Value, version: &str) -> String {
    let mut page = Roff::new();
    page.control("TH", ["tollgate.yaml", "5", "", &format!("tollgate {version}"), "Tollgate"]);
    page.control("SH", ["NAME"]);
    page.text([roman("tollgate.yaml - configuration of the API gateway tollgate(1)")]);
    page.control("SH", ["DESCRIPTION"]);
    for text in INTRODUCTION {
        page.control("PP", []);
        page.text([roman(text)]);
    }
    page.control("SH", ["THE FILE"]);
    keys(&mut page, schema);
    for (name, definition) in members(&schema["definitions"]).filter(|(name, _)| *name != PLACEHOLDER) {
        page.control("SH", [name.as_str()]);
        if let Some(text) = definition["description"].as_str() {
            page.text([roman(text)]);
        }
        if definition["properties"].is_object() {
            keys(&mut page, definition);
        } else {
            values(&mut page, definition);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("tollgate(1), tollgate-check(1), tollgate-schema(1)")]);
    page.render()
}

/// The keys of a mapping.
fn keys(page: &mut Roff, mapping: &Value) {
    let required: Vec<&str> = strings(&mapping["required"]).collect();
    for (name, value) in members(&mapping["properties"]) {
        page.control("TP", []);
        let mut head = vec![bold(name.as_str()), roman(": "), italic(kind(value))];
        match &value["default"] {
            _ if required.contains(&name.as_str()) => head.push(roman(", required")),
            // The defaults of a mapping are those of its keys.
            Value::Null | Value::Object(_) => {}
            Value::String(default) => head.push(roman(format!(", default {default}"))),
            default => head.push(roman(format!(", default {default}"))),
        }
        page.text(head);
        page.text([roman(value["description"].as_str().unwrap_or_default())]);
    }
}

/// What a value that is no mapping may be.
fn values(page: &mut Roff, definition: &Value) {
    let words: Vec<&Value> = words(definition).collect();
    if words.iter().any(|word| word["description"].is_string()) {
        for word in words {
            page.control("TP", []);
            page.text([bold(word["const"].as_str().unwrap_or_default())]);
            page.text([roman(word["description"].as_str().unwrap_or_default())]);
        }
        return;
    }
    let examples: Vec<&str> = strings(&definition["examples"]).collect();
    page.control("PP", []);
    if examples.is_empty() {
        page.text([italic(kind(definition))]);
    } else {
        page.text([italic(kind(definition)), roman(format!(", such as {}", examples.join(", ")))]);
    }
}

/// The constants among what a value may be.
fn words(of: &Value) -> impl Iterator<Item = &Value> {
    alternatives(of).flat_map(|one| alternatives(one).chain([one])).filter(|one| one.get("const").is_some())
}

fn alternatives(of: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().filter_map(|key| of[key].as_array()).flatten()
}

/// What a value is, in words.
fn kind(of: &Value) -> String {
    if let Some(name) = of["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(constant) = of.get("const") {
        return constant.as_str().map_or_else(|| constant.to_string(), str::to_owned);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let Some(parts) = of[key].as_array().filter(|_| of["type"].is_null()) else { continue };
        let kinds = parts.iter().map(kind).filter(|kind| kind != PLACEHOLDER);
        return kinds.collect::<Vec<_>>().join(" | ");
    }
    if of["enum"].is_array() {
        return strings(&of["enum"]).collect::<Vec<_>>().join(" | ");
    }
    match &of["type"] {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | "),
        Value::String(one) if one == "array" && of["items"].is_object() => format!("list of {}", kind(&of["items"])),
        Value::String(one) if one == "array" => "list".to_owned(),
        Value::String(one) if one == "object" => match named(of) {
            Some(value) => format!("mapping of names to {}", kind(value)),
            None => "mapping".to_owned(),
        },
        Value::String(one) => one.clone(),
        _ => "any value".to_owned(),
    }
}

/// What the values of a mapping are whose names are the user's.
fn named(mapping: &Value) -> Option<&Value> {
    let by_pattern = mapping["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
    by_pattern.or_else(|| mapping.get("additionalProperties").filter(|value| value.is_object()))
}

fn members(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of.as_object().into_iter().flat_map(Map::iter)
}

fn strings(of: &Value) -> impl Iterator<Item = &str> {
    of.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_told_in_words() {
        let cases = [
            (json!({"type": "string"}), "string"),
            (json!({"allOf": [{"$ref": "#/definitions/Size"}], "default": "1MiB"}), "Size"),
            (json!({"anyOf": [{"type": "integer"}, {"$ref": "#/definitions/Placeholder"}]}), "integer"),
            (
                json!({"anyOf": [{"const": "public"}, {"type": "array", "items": {"type": "string"}}]}),
                "public | list of string",
            ),
            (
                json!({"type": "object", "additionalProperties": {"$ref": "#/definitions/Plan"}}),
                "mapping of names to Plan",
            ),
            (json!({"type": "object", "additionalProperties": false}), "mapping"),
            (json!({"type": ["string", "number"]}), "string | number"),
            (json!({"enum": ["GET", "PUT"]}), "GET | PUT"),
            (json!({"description": "Anything."}), "any value"),
        ];
        for (schema, expected) in cases {
            assert_eq!(kind(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn every_key_of_the_configuration_is_on_the_page() {
        let schema = tollgate::config::json_schema();
        let page = page(&schema, "1.2.3");
        let definitions = members(&schema["definitions"]).map(|(_, definition)| definition);
        for (name, _) in definitions.chain([&schema]).flat_map(|mapping| members(&mapping["properties"])) {
            let head = format!("\n\\fB{}\\fR: ", name.replace('-', "\\-"));
            assert!(page.contains(&head), "{name}");
        }
        assert!(page.contains("\n\\fBfastapi\\fR\n"), "{page}");
    }
}
