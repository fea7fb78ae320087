//! One keyword at a time.
//!
//! Each is carried over when its value has the shape that 2020-12 asks for and the gateway acts on it; otherwise it is
//! left out with a note. Formats that tell a program's types and not the value's form (`int64`, `password`) and
//! extensions (`x-…`) go without one.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::policy::contract::FORMATS;

use super::{ANNOTATIONS, Direction, Translator, is_plain_key};

/// Formats that say how a program keeps a value.
const QUIET_FORMATS: [&str; 8] = ["int32", "int64", "float", "double", "password", "binary", "byte", "decimal"];

/// Keywords without a meaning for what passes.
const SILENT: [&str; 8] =
    ["nullable", "externalDocs", "xml", "definitions", "$defs", "contentEncoding", "contentMediaType", "contentSchema"];

/// Which types a keyword is about.
const CONCERNS: [(&str, &[&str]); 28] = [
    ("minimum", &["integer", "number"]),
    ("exclusiveMinimum", &["integer", "number"]),
    ("maximum", &["integer", "number"]),
    ("exclusiveMaximum", &["integer", "number"]),
    ("multipleOf", &["integer", "number"]),
    ("minLength", &["string"]),
    ("maxLength", &["string"]),
    ("pattern", &["string"]),
    ("format", &["string"]),
    ("items", &["array"]),
    ("prefixItems", &["array"]),
    ("minItems", &["array"]),
    ("maxItems", &["array"]),
    ("uniqueItems", &["array"]),
    ("contains", &["array"]),
    ("minContains", &["array"]),
    ("maxContains", &["array"]),
    ("unevaluatedItems", &["array"]),
    ("properties", &["object"]),
    ("patternProperties", &["object"]),
    ("additionalProperties", &["object"]),
    ("unevaluatedProperties", &["object"]),
    ("propertyNames", &["object"]),
    ("required", &["object"]),
    ("minProperties", &["object"]),
    ("maxProperties", &["object"]),
    ("dependentRequired", &["object"]),
    ("dependentSchemas", &["object"]),
];

/// Keywords that say nothing without another one.
const NEEDS: [(&str, &str); 4] =
    [("minContains", "contains"), ("maxContains", "contains"), ("then", "if"), ("else", "if")];

/// Bounds of which the first must not exceed the second.
const BOUNDS: [(&str, &str, bool); 7] = [
    ("minimum", "maximum", true),
    ("minimum", "exclusiveMaximum", false),
    ("exclusiveMinimum", "maximum", false),
    ("exclusiveMinimum", "exclusiveMaximum", false),
    ("minLength", "maxLength", true),
    ("minItems", "maxItems", true),
    ("minProperties", "maxProperties", true),
];

type Out = Map<String, Value>;

impl<'d> Translator<'d, '_> {
    /// Carries one keyword over, or notes that it is left out.
    pub(super) fn keyword(
        &mut self,
        keyword: &'d str,
        value: &'d Value,
        schema: &'d Map<String, Value>,
        name: &str,
        out: &mut Out,
    ) {
        if ANNOTATIONS.contains(&keyword) {
            return self.annotation(keyword, value, name, out);
        }
        let translated = match keyword {
            "type" => types(value),
            "enum" => self.options(value, schema),
            "const" => self.plain(value),
            "minimum" | "maximum" => return self.bound(keyword, value, schema, out),
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_boolean() => return,
            "exclusiveMinimum" | "exclusiveMaximum" => self.plain(value).filter(Value::is_number),
            "multipleOf" => self.plain(value).filter(|value| value.as_f64().is_some_and(|number| number > 0.0)),
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minContains"
            | "maxContains" => count(value),
            "pattern" => return self.pattern(value, out),
            "format" => return self.format(value, out),
            "uniqueItems" => value.as_bool().map(Value::Bool),
            "items"
            | "contains"
            | "unevaluatedItems"
            | "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "not"
            | "if"
            | "then"
            | "else" => self.one(value),
            "prefixItems" | "allOf" | "anyOf" | "oneOf" => self.list(value),
            "properties" => self.properties(value),
            "patternProperties" | "dependentSchemas" => self.named_schemas(keyword, value),
            "required" => self.required(value, schema),
            "dependentRequired" => self.dependent(value),
            "discriminator" => {
                return self.notes.add("`discriminator` is left out: the variants are tried one after the other");
            }
            _ if SILENT.contains(&keyword) || keyword.starts_with("x-") => return,
            _ => None,
        };
        match translated {
            Some(value) => {
                out.insert(keyword.to_owned(), value);
            }
            None if is_vacuous(keyword, value) => {}
            None => self.notes.add(format!("`{keyword}` is left out: it is not checked in this form")),
        }
    }

    /// Documentation. A title that only repeats the name is left out.
    pub(in crate::import) fn annotation(&mut self, keyword: &str, value: &Value, name: &str, out: &mut Out) {
        let value = match keyword {
            "title" => value.as_str().filter(|title| letters(title) != letters(name)).map(Value::from),
            "description" | "$comment" => value.as_str().filter(|text| !text.is_empty()).map(Value::from),
            "deprecated" => value.as_bool().filter(|flag| *flag).map(Value::from),
            "default" => self.plain(value),
            "examples" if value.is_array() => self.plain(value),
            "example" if !out.contains_key("examples") => {
                let value = self.plain(value).map(|value| json!([value]));
                value.map(|value| out.insert("examples".to_owned(), value));
                return;
            }
            // Which way a member goes is said by leaving it out.
            _ => return,
        };
        if let Some(value) = value.filter(|value| self.document.spend(value)) {
            out.insert(keyword.to_owned(), value);
        }
    }

    /// A bound of 3.0 may be made exclusive by a flag beside it.
    fn bound(&mut self, keyword: &str, value: &Value, schema: &Map<String, Value>, out: &mut Out) {
        let exclusive = if keyword == "minimum" { "exclusiveMinimum" } else { "exclusiveMaximum" };
        let Some(value) = self.plain(value).filter(Value::is_number) else {
            return self.notes.add(format!("`{keyword}` is left out: it is no number that can be written exactly"));
        };
        let keyword = if schema.get(exclusive) == Some(&Value::Bool(true)) { exclusive } else { keyword };
        out.insert(keyword.to_owned(), value);
    }

    fn options(&mut self, value: &Value, schema: &Map<String, Value>) -> Option<Value> {
        let types = schema.get("type").and_then(types);
        let nullable = self.is_nullable(schema);
        let mut options = Vec::new();
        for option in value.as_array()? {
            let fits = types.as_ref().is_none_or(|types| is_of(option, types)) || (nullable && option.is_null());
            if !fits {
                self.notes.add("values in an `enum` that are not of its type are left out: they can never occur");
                continue;
            }
            options.push(self.plain(option)?);
        }
        // `null` is added again with `nullable`.
        options.retain(|option| !(nullable && option.is_null()));
        (!options.is_empty()).then_some(Value::Array(options))
    }

    fn pattern(&mut self, value: &Value, out: &mut Out) {
        if value.as_str().is_some_and(|pattern| self.document.takes_pattern(pattern)) {
            out.insert("pattern".to_owned(), value.clone());
            return;
        }
        self.notes.add(format!("pattern {value} is left out: matching has no look-around and no back-references"));
    }

    fn format(&mut self, value: &Value, out: &mut Out) {
        let Some(format) = value.as_str() else { return };
        if FORMATS.contains(&format) {
            out.insert("format".to_owned(), value.clone());
        } else if !QUIET_FORMATS.contains(&format) {
            self.notes.add(format!("format `{format}` is left out: it is not checked"));
        }
    }

    fn one(&mut self, value: &'d Value) -> Option<Value> {
        (value.is_object() || value.is_boolean()).then(|| self.any(value, ""))
    }

    fn list(&mut self, value: &'d Value) -> Option<Value> {
        let items = value.as_array().filter(|items| !items.is_empty())?;
        Some(items.iter().map(|item| self.any(item, "")).collect())
    }

    fn properties(&mut self, value: &'d Value) -> Option<Value> {
        let mut properties = Map::new();
        for (name, property) in value.as_object()? {
            if !is_plain_key(name) {
                self.notes.add("a member is left out: a file cannot hold its name");
            } else if !self.goes_the_other_way(name, property) {
                let property = self.any(property, name);
                properties.insert(name.clone(), property);
            }
        }
        Some(Value::Object(properties))
    }

    /// Whether a member is only in replies, or only in requests.
    fn goes_the_other_way(&mut self, name: &str, property: &Value) -> bool {
        let (word, what) = match self.direction {
            Direction::Request => ("readOnly", "is only in replies"),
            Direction::Reply => ("writeOnly", "is only in requests"),
        };
        let named = self.document.resolve(property).unwrap_or(property);
        let other = [property, named].iter().any(|schema| schema.get(word) == Some(&Value::Bool(true)));
        if other {
            self.notes.add(format!("member `{name}` {what}: left out"));
        }
        other
    }

    fn named_schemas(&mut self, keyword: &str, value: &'d Value) -> Option<Value> {
        let mut schemas = Map::new();
        for (name, schema) in value.as_object()? {
            let matches = keyword != "patternProperties" || self.document.takes_pattern(name);
            if !is_plain_key(name) || !matches {
                self.notes.add(format!("a part of `{keyword}` is left out: its name cannot be used"));
                continue;
            }
            let schema = self.any(schema, "");
            schemas.insert(name.clone(), schema);
        }
        Some(Value::Object(schemas))
    }

    fn required(&mut self, value: &Value, schema: &'d Map<String, Value>) -> Option<Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut names: Vec<Value> = Vec::new();
        let mut seen = HashSet::new();
        for name in value.as_array()? {
            let text = name.as_str()?;
            let property = properties.and_then(|properties| properties.get(text));
            if seen.insert(text) && !property.is_some_and(|property| self.goes_the_other_way(text, property)) {
                names.push(name.clone());
            }
        }
        (!names.is_empty()).then_some(Value::Array(names))
    }

    fn dependent(&mut self, value: &Value) -> Option<Value> {
        let members = value.as_object()?;
        let good = members.iter().all(|(name, others)| {
            let others = others.as_array();
            is_plain_key(name) && others.is_some_and(|others| others.iter().all(Value::is_string) && all_differ(others))
        });
        if good { self.plain(value) } else { None }
    }
}

/// Takes out the keywords that are about other types and the bounds that exclude each other; says so.
pub(super) fn without_effect(schema: &mut Out) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(types) = schema.get("type").cloned() {
        schema.retain(|keyword, _| {
            let concerns = CONCERNS.iter().find(|(known, _)| known == keyword);
            let about = concerns.is_none_or(|(_, about)| about.iter().any(|name| names(&types).any(|of| of == *name)));
            if !about {
                notes.push(format!("`{keyword}` is left out: it has no effect on its type"));
            }
            about
        });
    }
    for (keyword, other) in NEEDS {
        if !schema.contains_key(other) && schema.shift_remove(keyword).is_some() {
            notes.push(format!("`{keyword}` is left out: it has no effect without `{other}`"));
        }
    }
    for (low, high, equal) in BOUNDS {
        let number = |keyword| schema.get(keyword).and_then(Value::as_f64);
        let (Some(least), Some(most)) = (number(low), number(high)) else { continue };
        if least > most || (least == most && !equal) {
            notes.push(format!("`{low}` and `{high}` are left out: no value would be permitted"));
            schema.remove(low);
            schema.remove(high);
        }
    }
    if let Some(constant) = schema.get("const")
        && schema.get("type").is_some_and(|types| !is_of(constant, types))
    {
        notes.push("`const` is left out: it is not of its type".to_owned());
        schema.remove("const");
    }
    notes
}

/// Nothing is lost with these.
fn is_vacuous(keyword: &str, value: &Value) -> bool {
    match keyword {
        "required" => value.as_array().is_some_and(Vec::is_empty) || value == &Value::Bool(false) || all_text(value),
        "enum" | "allOf" | "prefixItems" => value.as_array().is_some_and(Vec::is_empty),
        _ => false,
    }
}

/// `required` of members that were all left out.
fn all_text(value: &Value) -> bool {
    value.as_array().is_some_and(|names| names.iter().all(Value::is_string))
}

/// One type, or several that differ; `null` alone where it is one of a list stays a list's.
fn types(value: &Value) -> Option<Value> {
    const NAMES: [&str; 7] = ["null", "boolean", "number", "integer", "string", "array", "object"];
    let known = |name: &Value| name.as_str().is_some_and(|name| NAMES.contains(&name));
    match value {
        Value::String(_) => known(value).then(|| value.clone()),
        Value::Array(all)
            if !all.is_empty() && all.len() <= NAMES.len() && all.iter().all(known) && all_differ(all) =>
        {
            Some(match all.as_slice() {
                [one] => one.clone(),
                _ => value.clone(),
            })
        }
        _ => None,
    }
}

/// The names in a `type`.
pub(super) fn names(types: &Value) -> impl Iterator<Item = &str> {
    let one = types.as_str();
    one.into_iter().chain(types.as_array().into_iter().flatten().filter_map(Value::as_str))
}

/// Whether a value is of one of the types.
pub(super) fn is_of(value: &Value, types: &Value) -> bool {
    names(types).any(|name| match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => {
            name == "number" || (name == "integer" && number.as_f64().is_some_and(|number| number.fract() == 0.0))
        }
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    })
}

fn count(value: &Value) -> Option<Value> {
    value.as_u64().map(Value::from)
}

fn all_differ(items: &[Value]) -> bool {
    let mut seen = HashSet::new();
    items.iter().all(|item| seen.insert(item.as_str()))
}

/// A text without what is between its words.
fn letters(text: &str) -> String {
    text.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
