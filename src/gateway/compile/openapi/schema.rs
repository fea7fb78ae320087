//! Schemas, brought over from the configuration.
//!
//! OpenAPI 3.1 has JSON Schema 2020-12 as it is, so a schema passes as written. Two things differ: a file has no type
//! of its own there, and `$ref: "#/…"` counts from the head of the OpenAPI document. So the schemas of whole
//! documents become components, and their references are moved along. Below a schema with an `$id` references count
//! from it, and stay.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::config::{Config, Document, ErrorFormat, Parameter, Place};

use super::files::Names;
use super::responses;

/// Keywords whose value holds schemas by name.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Keywords whose value is data, not a schema.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];

/// What a whole document is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Body,
    Reply,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Reply => "response_model",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Reply => "response",
        }
    }
}

/// What operations share, as far as any of them uses it.
#[derive(Default)]
pub(super) struct Components {
    schemas: Map<String, Value>,
    files: Names,
    used_responses: Vec<&'static str>,
}

impl Components {
    /// Adds the schema of a whole document; what refers to it. `kind` is the route's key that names it.
    pub(super) fn add_document(&mut self, config: &Config, document: &Document, route: usize, kind: Kind) -> Value {
        if let Some(schema) = &document.schema {
            let name = config.routes.get(route).map_or("", |route| &route.name);
            let name = format!("{name}.{}", kind.word());
            let head = format!("#/components/schemas/{name}");
            self.schemas.insert(name, moved(schema, &|target| moved_reference(target, &head)));
            return json!({ "$ref": head });
        }
        let place = Place::root().key("routes").index(route).key(kind.key());
        let mut files = std::mem::take(&mut self.files);
        let reference = files.add(&config.schema_files, &place, self);
        self.files = files;
        // A file that could not be read is a problem that was reported.
        reference.unwrap_or_else(|| json!({}))
    }

    /// Adds one schema.
    pub(super) fn add(&mut self, name: String, schema: Value) {
        self.schemas.insert(name, schema);
    }

    /// Uses the gateway's own answer with this status; what refers to it.
    pub(super) fn use_response(&mut self, status: &'static str) -> Value {
        if !self.used_responses.contains(&status) {
            self.used_responses.push(status);
            self.used_responses.sort_unstable();
        }
        json!({ "$ref": format!("#/components/responses/{}", responses::name(status)) })
    }

    pub(super) fn finish(mut self, format: ErrorFormat, security: Map<String, Value>) -> Value {
        let used: Map<String, Value> = self
            .used_responses
            .iter()
            .map(|status| (responses::name(status).to_owned(), responses::response(status, format)))
            .collect();
        self.schemas.extend(responses::schemas(format));
        let mut components = Map::new();
        components.insert("schemas".to_owned(), self.schemas.into());
        components.insert("responses".to_owned(), used.into());
        components.insert("headers".to_owned(), responses::headers());
        if !security.is_empty() {
            components.insert("securitySchemes".to_owned(), security.into());
        }
        components.into()
    }
}

/// The schema of one parameter.
pub(super) fn parameter(parameter: &Parameter) -> Value {
    let mut schema = parameter.schema.clone();
    if let Some(default) = &parameter.default {
        schema.insert("default".to_owned(), default.clone());
    }
    file(&schema).unwrap_or(Value::Object(schema))
}

/// The schema of a form's field, whose empty value counts as absent: a required one is never empty, another may be,
/// whatever its schema says.
pub(super) fn field(declared: &Parameter) -> Value {
    let mut schema = parameter(declared);
    if file_schema(&declared.schema).is_some() {
        return schema;
    }
    if let Some(items) = schema.get_mut("items") {
        *items = or_empty(items.take());
        return schema;
    }
    if !is_required(declared) {
        return or_empty(schema);
    }
    let is_text = schema.get("type").is_some_and(|of| of == "string");
    if is_text && !schema.get("minLength").is_some_and(|least| least != 0) {
        schema["minLength"] = 1.into();
    }
    schema
}

/// What a schema takes, or nothing. What it documents stays outside.
fn or_empty(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    let outside = ["title", "description", "default", "deprecated"];
    let outside: Map<String, Value> =
        outside.into_iter().filter_map(|keyword| schema.shift_remove_entry(keyword)).collect();
    let takes_any_text = schema.len() == 1 && schema.get("type").is_some_and(|of| of == "string");
    if !takes_any_text {
        schema = Map::from_iter([("anyOf".to_owned(), json!([schema, { "const": "" }]))]);
    }
    schema.extend(outside);
    schema.into()
}

/// Whether a request without it is refused.
pub(super) fn is_required(parameter: &Parameter) -> bool {
    !parameter.optional && parameter.default.is_none()
}

/// An object of these members.
pub(super) fn object(members: &IndexMap<String, Parameter>, of: fn(&Parameter) -> Value) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, member) in members {
        properties.insert(name.clone(), of(member));
        if is_required(member) {
            required.push(Value::from(name.as_str()));
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// What a part may be: the media types of a file, `None` for other fields.
pub(super) fn file_types(parameter: &Parameter) -> Option<String> {
    let schema = file_schema(&parameter.schema)?;
    let types = schema.get("content_types").and_then(Value::as_array);
    let types: Vec<&str> = types.into_iter().flatten().filter_map(Value::as_str).collect();
    Some(if types.is_empty() { "application/octet-stream".to_owned() } else { types.join(", ") })
}

/// The schema of a file, or of each file of a list.
fn file_schema(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let is_file = |schema: &Map<String, Value>| schema.get("type").is_some_and(|of| of == "file");
    if is_file(schema) {
        return Some(schema);
    }
    schema.get("items").and_then(Value::as_object).filter(|items| is_file(items))
}

/// A file, or a list of files, in OpenAPI's words; `None` for everything else.
fn file(schema: &Map<String, Value>) -> Option<Value> {
    file_schema(schema)?;
    let mut schema = schema.clone();
    if let Some(items) = schema.get("items").and_then(Value::as_object).and_then(file) {
        schema.insert("items".to_owned(), items);
        return Some(schema.into());
    }
    schema.shift_remove("content_types");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("contentMediaType".to_owned(), "application/octet-stream".into());
    if let Some(size) = schema.shift_remove("max_size") {
        let size = format!("At most {}.", size.as_str().map_or_else(|| size.to_string(), str::to_owned));
        let description = match schema.get("description").and_then(Value::as_str) {
            Some(text) => format!("{text} {size}"),
            None => size,
        };
        schema.insert("description".to_owned(), description.into());
    }
    Some(schema.into())
}

/// A schema whose references are those that `target` makes of them.
pub(super) fn moved(schema: &Value, target: &dyn Fn(&str) -> String) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    if schema.contains_key("$id") {
        return Value::Object(schema.clone());
    }
    let moved_all = |values: &Map<String, Value>| -> Value {
        values.iter().map(|(name, schema)| (name.clone(), moved(schema, target))).collect::<Map<_, _>>().into()
    };
    let members = schema.iter().map(|(keyword, value)| {
        let value = match value {
            Value::String(written) if keyword == "$ref" => target(written).into(),
            value if DATA.contains(&keyword.as_str()) => value.clone(),
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => moved_all(named),
            Value::Object(_) => moved(value, target),
            Value::Array(schemas) => schemas.iter().map(|schema| moved(schema, target)).collect(),
            value => value.clone(),
        };
        (keyword.clone(), value)
    });
    members.collect::<Map<_, _>>().into()
}

fn moved_reference(target: &str, head: &str) -> String {
    match target.strip_prefix('#') {
        // An anchor is found wherever it stands in the document.
        Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => format!("{head}{pointer}"),
        _ => target.to_owned(),
    }
}
