//! Request bodies.
//!
//! A JSON object with named members becomes `body_params`, any other JSON a whole document with a schema, a form
//! `form_params`. What is none of these streams through unchecked.

use serde_json::{Map, Value, json};

use super::parameters::{Presence, presence};
use super::schema::{TextPlace, Translator, text_parameter, type_first};

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";
/// Longest name of a field, which stands in a header.
const MAX_FIELD: usize = 200;

/// The one key that declares the body, if there is one.
pub(super) fn read<'d>(
    translator: &mut Translator<'d, '_>,
    method: &str,
    operation: &'d Map<String, Value>,
) -> Map<String, Value> {
    let Some(written) = operation.get("requestBody") else { return Map::new() };
    let body = match translator.document.resolve(written) {
        Ok(body) => body,
        Err(reference) => {
            return unchecked(translator, &format!("`{reference}` is not in the document"));
        }
    };
    let Some(content) = body.get("content").and_then(Value::as_object).filter(|content| !content.is_empty()) else {
        return unchecked(translator, "the document names no media type");
    };
    let named = |wanted: &str| content.iter().find(|(name, _)| media_type(name) == wanted).map(|(_, media)| media);
    let found = match (json_media(content), named(MULTIPART), named(URLENCODED)) {
        (Some(media), _, _) => Some(json_body(translator, method, media)),
        (_, Some(media), _) => form(translator, media, Form::Multipart, method),
        (_, _, Some(media)) => form(translator, media, Form::Urlencoded, method),
        _ => {
            let names: Vec<&str> = content.keys().map(String::as_str).take(5).collect();
            return unchecked(translator, &format!("it is {}", names.join(", ")));
        }
    };
    let Some(entry) = found else { return unchecked(translator, "its form has no named fields") };
    let forms = content.keys().filter(|name| [MULTIPART, URLENCODED].contains(&media_type(name).as_str())).count();
    let both_forms = forms == content.len() && json_media(content).is_none();
    if content.len() > 1 && !both_forms {
        translator.notes.add("the body has other media types too: they do not pass");
    }
    let optional = body.get("required") != Some(&Value::Bool(true));
    let needs = |members: &Value| {
        let mut members = members.as_object().into_iter().flatten();
        members.any(|(_, member)| member.get("optional").is_none() && member.get("default").is_none())
    };
    if optional && entry.values().any(needs) {
        translator.notes.add("the document lets the body be absent: here its required members must be there");
    }
    entry
}

/// The schema of a response or body of JSON.
pub(super) fn json_schema(described: &Value) -> Option<&Value> {
    json_media(described.get("content")?.as_object()?)?.get("schema")
}

fn json_media(content: &Map<String, Value>) -> Option<&Value> {
    let plain = content.iter().find(|(name, _)| media_type(name) == "application/json");
    let like = |name: &str| name.starts_with("application/") && name.ends_with("+json");
    plain.or_else(|| content.iter().find(|(name, _)| like(&media_type(name)))).map(|(_, media)| media)
}

/// A media type without parameters.
fn media_type(name: &str) -> String {
    name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unchecked(translator: &mut Translator<'_, '_>, why: &str) -> Map<String, Value> {
    translator.notes.add(format!("the body is not checked: {why}"));
    entry("body", "any".into())
}

fn entry(key: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value)])
}

fn json_body<'d>(translator: &mut Translator<'d, '_>, method: &str, media: &'d Value) -> Map<String, Value> {
    let Some(schema) = media.get("schema") else { return unchecked(translator, "its JSON has no schema") };
    if let Some(members) = members(translator, schema, method) {
        return entry("body_params", Value::Object(members));
    }
    let schema = translator.whole(schema);
    if schema == json!({}) || schema == json!(true) {
        return unchecked(translator, "any JSON is right");
    }
    entry("body", json!({ "schema": schema }))
}

/// The members of a body that is an object with named members and nothing else.
fn members<'d>(translator: &mut Translator<'d, '_>, schema: &'d Value, method: &str) -> Option<Map<String, Value>> {
    const PLAIN: [&str; 8] =
        ["type", "properties", "required", "title", "description", "examples", "deprecated", "additionalProperties"];
    let Ok(Value::Object(mut whole)) = translator.inline(schema, "") else { return None };
    let closed = whole.get("additionalProperties").is_none_or(|others| others == false);
    let object = whole.get("type").is_none_or(|kind| kind == "object");
    if !closed || !object || !whole.keys().all(|keyword| PLAIN.contains(&keyword.as_str())) {
        return None;
    }
    let required: Vec<Value> = whole.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = whole.shift_remove("properties") else { return None };
    let required: std::collections::HashSet<&str> = required.iter().filter_map(Value::as_str).collect();
    // A name that is required without a schema has no place among the members.
    if properties.is_empty() || required.iter().any(|name| !properties.contains_key(*name)) {
        return None;
    }
    if properties.values().any(|member| member == false) {
        return None;
    }
    let mut members = Map::new();
    for (name, member) in properties {
        let member = member.as_object().cloned().unwrap_or_default();
        let is = Presence { required: required.contains(name.as_str()), fill: may_fill(method) };
        let member = presence(translator, type_first(member), is, &format!("member `{name}`"));
        members.insert(name, Value::Object(member));
    }
    Some(members)
}

/// A PATCH changes what it names: a default in it would change more.
fn may_fill(method: &str) -> bool {
    method != "PATCH"
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Urlencoded,
    Multipart,
}

/// The fields of a form whose schema is an object with named members.
fn form<'d>(
    translator: &mut Translator<'d, '_>,
    media: &'d Value,
    form: Form,
    method: &str,
) -> Option<Map<String, Value>> {
    let document = translator.document;
    let mut schema = document.resolve(media.get("schema")?).ok()?;
    // Documentation beside a reference is written as `allOf` of one.
    if let Some([only]) = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        schema = document.resolve(only).ok()?;
    }
    let properties = schema.get("properties")?.as_object().filter(|properties| !properties.is_empty())?;
    if ["allOf", "anyOf", "oneOf", "not", "if"].iter().any(|word| schema.get(*word).is_some()) {
        translator.notes.add("what its form says of several fields together is not checked");
    }
    let required = schema.get("required").and_then(Value::as_array);
    let required: std::collections::HashSet<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields = Map::new();
    for (name, property) in properties {
        if name.is_empty() || name.len() > MAX_FIELD || name == "<<" || name.chars().any(char::is_control) {
            translator.notes.add("a field without a usable name is left out");
            continue;
        }
        if !document.spend(property) {
            break;
        }
        let label = format!("field `{name}`");
        let file = file(translator, property, media.get("encoding").and_then(|encoding| encoding.get(name)));
        let field = match file.filter(|_| form == Form::Multipart) {
            Some(file) => file,
            None => text_parameter(translator, property, TextPlace::Repeats, name, &label),
        };
        let is = Presence { required: required.contains(name.as_str()), fill: may_fill(method) };
        fields.insert(name.clone(), Value::Object(presence(translator, field, is, &label)));
    }
    (!fields.is_empty()).then(|| entry("form_params", Value::Object(fields)))
}

/// A field that is a file, or a list of files. `encoding` is what the document says of its part.
fn file<'d>(
    translator: &mut Translator<'d, '_>,
    property: &'d Value,
    encoding: Option<&Value>,
) -> Option<Map<String, Value>> {
    let document = translator.document;
    let schema = without_null(document.resolve(property).ok()?);
    let items = schema.get("items").and_then(|items| document.resolve(items).ok());
    let list = items.filter(|_| schema.get("type").is_some_and(|kind| kind == "array"));
    let one = list.unwrap_or(schema);
    if !is_binary(one) {
        return None;
    }
    let mut file = entry("type", "file".into());
    let written = encoding.and_then(|encoding| encoding.get("contentType")?.as_str());
    let types = written.or_else(|| one.get("contentMediaType")?.as_str()).unwrap_or_default();
    let types: Vec<String> = types.split(',').map(media_type).filter(|name| is_media_type(name)).take(50).collect();
    if !types.is_empty() && !types.iter().any(|name| name == "application/octet-stream") {
        file.insert("content_types".to_owned(), types.into());
    }
    let mut whole = match list {
        Some(_) => Map::from_iter([("type".to_owned(), "array".into()), ("items".to_owned(), Value::Object(file))]),
        None => file,
    };
    for keyword in ["minItems", "maxItems"] {
        if let Some(count) = schema.get(keyword).filter(|count| list.is_some() && count.is_u64()) {
            whole.insert(keyword.to_owned(), count.clone());
        }
    }
    if let Some(description) = schema.get("description") {
        translator.annotation("description", description, "", &mut whole);
    }
    Some(whole)
}

/// A schema that `null` fits too, without that.
fn without_null(schema: &Value) -> &Value {
    let variants = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(*word)?.as_array());
    let null = json!({ "type": "null" });
    match variants.map(Vec::as_slice) {
        Some([one, other]) if *other == null => one,
        Some([one, other]) if *one == null => other,
        _ => schema,
    }
}

/// Bytes: `format: binary` of 3.0, a media type without an encoding of 3.1.
fn is_binary(schema: &Value) -> bool {
    let text = schema.get("type").is_none_or(|kind| kind == "string");
    let binary = schema.get("format").is_some_and(|format| format == "binary");
    let media = schema.get("contentMediaType").is_some() && schema.get("contentEncoding").is_none();
    text && (binary || media)
}

fn is_media_type(name: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-*".contains(&byte))
    };
    name.len() <= 100 && name.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub))
}
