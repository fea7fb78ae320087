//! Parameters of path, query, headers and cookies.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::naming::Path;
use super::schema::{TextPlace, Translator, text_parameter};

/// Header fields that OpenAPI ignores as parameters, because it describes them elsewhere.
const ELSEWHERE: [&str; 3] = ["accept", "content-type", "authorization"];
/// Header fields that are a connection's, or that the gateway writes itself.
const OWN: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-request-id",
];
/// Longest name of a parameter.
const MAX_NAME: usize = 200;

/// The four mappings of a route, those that are not empty.
pub(super) fn read<'d>(
    translator: &mut Translator<'d, '_>,
    item: &'d Map<String, Value>,
    operation: &'d Map<String, Value>,
    path: &Path,
) -> Map<String, Value> {
    let mut found: [(&str, Map<String, Value>); 4] = [
        ("path_params", Map::new()),
        ("query_params", Map::new()),
        ("header_params", Map::new()),
        ("cookie_params", Map::new()),
    ];
    let mut fields = HashSet::new();
    for ((name, place), parameter) in declared(translator, item, operation) {
        let nth = match place {
            "path" => 0,
            "query" => 1,
            "header" => 2,
            "cookie" => 3,
            _ => {
                translator.notes.add(format!("parameter `{name}` is left out: `in: {place}` is not known"));
                continue;
            }
        };
        let Some(key) = key(translator, name, place, path, &mut fields) else { continue };
        if place == "query" && spreads(translator, parameter) {
            translator.notes.add(format!(
                "query parameter `{name}` is left out: it is an object under several names, and \
                 `undeclared: forward` would let them pass"
            ));
            continue;
        }
        if translator.document.spend(parameter) {
            let schema = schema(translator, parameter, name, place);
            found[nth].1.insert(key, Value::Object(schema));
        }
    }
    let written = found.into_iter().filter(|(_, parameters)| !parameters.is_empty());
    written.map(|(key, parameters)| (key.to_owned(), Value::Object(parameters))).collect()
}

/// The parameters by name and place: those of the operation replace those of its path.
fn declared<'d>(
    translator: &mut Translator<'d, '_>,
    item: &'d Map<String, Value>,
    operation: &'d Map<String, Value>,
) -> IndexMap<(&'d str, &'d str), &'d Value> {
    let mut all = IndexMap::new();
    for list in [item, operation] {
        for written in list.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let parameter = match translator.document.resolve(written) {
                Ok(parameter) => parameter,
                Err(reference) => {
                    translator.notes.add(format!("a parameter is left out: `{reference}` is not in the document"));
                    continue;
                }
            };
            let text = |key: &str| parameter.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
            match (text("name"), text("in")) {
                (Some(name), Some(place)) if name.len() <= MAX_NAME && name != "<<" => {
                    all.insert((name, place), parameter);
                }
                _ => translator.notes.add("a parameter without a usable name and place is left out"),
            }
        }
    }
    all
}

/// The key under which a parameter is declared, unless it cannot be.
fn key(
    translator: &mut Translator<'_, '_>,
    name: &str,
    place: &str,
    path: &Path,
    fields: &mut HashSet<String>,
) -> Option<String> {
    let token = || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    match place {
        "path" => {
            let renamed = path.parameters.iter().find(|(written, _)| written == name);
            if renamed.is_none() {
                translator.notes.add(format!("path parameter `{name}` is left out: the path does not have it"));
            }
            renamed.map(|(_, name)| name.clone())
        }
        "header" => {
            let field = name.to_ascii_lowercase();
            if ELSEWHERE.contains(&field.as_str()) {
                return None;
            }
            if OWN.contains(&field.as_str()) || field.starts_with("x-consumer-") || !token() {
                translator.notes.add(format!("header `{name}` is left out: the gateway writes it or it is no header"));
                return None;
            }
            if !fields.insert(field.clone()) {
                translator.notes.add(format!("header `{name}` is there twice"));
                return None;
            }
            Some(field)
        }
        "cookie" if !token() => {
            translator.notes.add(format!("cookie `{name}` is left out: it is no name of a cookie"));
            None
        }
        _ => Some(name.to_owned()),
    }
}

/// Whether a parameter is an object whose members are parameters themselves: `a[b]=1`, or just `b=1`.
fn spreads(translator: &Translator<'_, '_>, parameter: &Value) -> bool {
    let schema = parameter.get("schema").and_then(|schema| translator.document.resolve(schema).ok());
    let object = schema.and_then(|schema| schema.get("type")).is_some_and(|kind| kind == "object");
    let together = parameter.get("explode") == Some(&Value::Bool(false));
    parameter.get("style").is_some_and(|style| style == "deepObject") || (object && !together)
}

/// What a parameter must be, and whether it must be there.
fn schema<'d>(
    translator: &mut Translator<'d, '_>,
    parameter: &'d Value,
    name: &str,
    place: &str,
) -> Map<String, Value> {
    let label = format!("{place} parameter `{name}`");
    let style = parameter.get("style").and_then(Value::as_str);
    let joined = parameter.get("explode") == Some(&Value::Bool(false)) && style.is_none_or(|style| style == "form");
    let mut schema = match (parameter.get("content"), style) {
        (Some(_), _) => as_text(translator, &label, "it is a document in text"),
        (_, Some(style @ ("matrix" | "label" | "spaceDelimited" | "pipeDelimited"))) => {
            as_text(translator, &label, &format!("its style is `{style}`"))
        }
        _ => {
            static ANYTHING: Value = Value::Bool(true);
            let written = parameter.get("schema").unwrap_or(&ANYTHING);
            let repeats = place == "query" && !joined;
            let place = if repeats { TextPlace::Repeats } else { TextPlace::Single };
            text_parameter(translator, written, place, name, &label)
        }
    };
    let mut documented = Map::new();
    for keyword in ["description", "deprecated", "example"] {
        if let Some(value) = parameter.get(keyword) {
            translator.annotation(keyword, value, name, &mut documented);
        }
    }
    if let Some(examples) = examples(translator, parameter) {
        documented.insert("examples".to_owned(), examples);
    }
    schema.extend(documented);
    let required = place == "path" || parameter.get("required") == Some(&Value::Bool(true));
    presence(translator, schema, Presence { required, fill: place != "path" }, &label)
}

fn as_text(translator: &mut Translator<'_, '_>, label: &str, why: &str) -> Map<String, Value> {
    translator.notes.add(format!("{label} is not checked: {why}"));
    Map::from_iter([("type".to_owned(), "string".into())])
}

/// The values of a mapping of named examples.
fn examples(translator: &mut Translator<'_, '_>, parameter: &Value) -> Option<Value> {
    let named = parameter.get("examples")?.as_object()?;
    let values: Vec<Value> =
        named.values().take(10).filter_map(|example| translator.plain(example.get("value")?)).collect();
    (!values.is_empty()).then_some(Value::Array(values))
}

/// Whether something must be there, and whether a default is filled in where it is not.
#[derive(Clone, Copy)]
pub(super) struct Presence {
    pub(super) required: bool,
    pub(super) fill: bool,
}

/// Says `optional: true` or keeps a default that fits; what is required has neither.
pub(super) fn presence(
    translator: &mut Translator<'_, '_>,
    mut schema: Map<String, Value>,
    presence: Presence,
    label: &str,
) -> Map<String, Value> {
    let default = schema.shift_remove("default");
    if presence.required {
        return schema;
    }
    let default = default.filter(|default| presence.fill && !default.is_null());
    let Some(default) = default else {
        schema.insert("optional".to_owned(), true.into());
        return schema;
    };
    let plain = schema.keys().all(|keyword| ["type", "description", "title"].contains(&keyword.as_str()));
    let fits = match schema.get("type").and_then(Value::as_str) {
        Some("string") if plain => default.is_string(),
        Some("boolean") if plain => default.is_boolean(),
        _ => translator
            .document
            .validator(&Value::Object(schema.clone()))
            .is_some_and(|validator| validator.is_valid(&default)),
    };
    if fits {
        schema.insert("default".to_owned(), default);
    } else {
        translator.notes.add(format!("the default of {label} is left out: it does not fit"));
        schema.insert("optional".to_owned(), json!(true));
    }
    schema
}
