//! What is said of operations: by an OpenAPI document, by a configuration.
//!
//! An operation is `METHOD /path`, a parameter `PLACE NAME TYPE` with `?` behind the type where it may be absent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use tollgate::config::{Body, Config, Parameter, Parameters};

/// Parameters by operation.
pub type Described = BTreeMap<String, BTreeSet<String>>;

/// What `wanted` says and `found` does not.
pub fn lost(wanted: &Described, found: &Described) -> Vec<String> {
    let mut lost = Vec::new();
    for (operation, parameters) in wanted {
        match found.get(operation) {
            None => lost.push(operation.clone()),
            Some(known) => {
                lost.extend(parameters.difference(known).map(|parameter| format!("{operation}: {parameter}")));
            }
        }
    }
    lost
}

fn parameter(place: &str, name: &str, schema: &Value, optional: bool) -> String {
    let kind = match schema.get("type").and_then(Value::as_str).unwrap_or("any") {
        "string" if schema.get("format").is_some_and(|format| format == "binary") => "file",
        kind => kind,
    };
    format!("{place} {name} {kind}{}", if optional { "?" } else { "" })
}

/// What an OpenAPI document says, with everything in it that a reference names.
pub fn document(document: &Value) -> Described {
    let resolve = |value: &Value| match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(&reference[1..]).expect("a reference in the document").clone(),
        None => value.clone(),
    };
    let mut described = Described::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path item") {
            let mut parameters = BTreeSet::new();
            for written in operation["parameters"].as_array().into_iter().flatten().map(resolve) {
                let text = |key: &str| written[key].as_str().expect("text").to_owned();
                let optional = written["required"] != true;
                parameters.insert(parameter(&text("in"), &text("name"), &resolve(&written["schema"]), optional));
            }
            let content = operation["requestBody"]["content"].as_object().cloned().unwrap_or_default();
            for (media, described) in content {
                let place = if media.contains("json") { "body" } else { "form" };
                members(&mut parameters, place, &resolve(&described["schema"]));
            }
            described.insert(format!("{} {path}", method.to_uppercase()), parameters);
        }
    }
    described
}

fn members(parameters: &mut BTreeSet<String>, place: &str, schema: &Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, member) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        parameters.insert(parameter(place, name, member, !required.contains(&name.as_str().into())));
    }
}

/// What a configuration says.
pub fn configuration(config: &Config) -> Described {
    let mut described = Described::new();
    for route in &config.routes {
        let mut parameters = BTreeSet::new();
        let mut add = |place: &str, name: &str, written: &Parameter| {
            let schema = Value::Object(written.schema.clone());
            parameters.insert(parameter(place, name, &schema, written.optional || written.default.is_some()));
        };
        route.path_params.iter().for_each(|(name, written)| add("path", name, written));
        route.header_params.iter().for_each(|(name, written)| add("header", name.as_str(), written));
        route.cookie_params.iter().for_each(|(name, written)| add("cookie", name, written));
        if let Parameters::Named(query) = &route.query_params {
            query.iter().for_each(|(name, written)| add("query", name, written));
        }
        route.body_params.iter().flatten().for_each(|(name, written)| add("body", name, written));
        route.form_params.iter().flatten().for_each(|(name, written)| add("form", name, written));
        if let Some(Body::Document(document)) = &route.body {
            members(&mut parameters, "body", document.schema.as_ref().unwrap_or(&Value::Null));
        }
        let path = route.service_path.as_deref().unwrap_or(&route.gateway_path);
        let methods = route.method.iter().chain(&route.methods);
        methods.for_each(|method| drop(described.insert(format!("{method} {path}"), parameters.clone())));
    }
    described
}

#[test]
fn a_lost_parameter_is_found() {
    let described = |parameters: &[&str]| {
        let parameters = parameters.iter().map(|text| (*text).to_owned()).collect();
        Described::from([("GET /a".to_owned(), parameters)])
    };
    let wanted = described(&["query a integer", "query b string?"]);
    assert_eq!(lost(&wanted, &wanted), [""; 0]);
    assert_eq!(lost(&wanted, &described(&["query a integer", "query b string"])), ["GET /a: query b string?"]);
    assert_eq!(lost(&wanted, &Described::new()), ["GET /a"]);
}
