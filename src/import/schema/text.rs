//! Parameters that come as text: in a path, a query, a header, a cookie, a form.
//!
//! Text is read by one type, a scalar or a list of one, so a schema that leaves several open, or that is an object, is
//! carried over as text that is not checked, with a note.

use serde_json::{Map, Value, json};

use super::keyword::{is_of, without_effect};
use super::{ANNOTATIONS, Translator};

/// Where a text stands, as far as lists are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) enum TextPlace {
    /// A name may be repeated: a query or a form.
    Repeats,
    /// There is one text.
    Single,
}

/// The types that text is read as.
const SCALARS: [&str; 4] = ["string", "integer", "number", "boolean"];

/// A schema for text: `label` says whose in notes.
pub(in crate::import) fn text_parameter<'d>(
    translator: &mut Translator<'d, '_>,
    schema: &'d Value,
    place: TextPlace,
    name: &str,
    label: &str,
) -> Map<String, Value> {
    let mut out = match translator.inline(schema, name) {
        Ok(Value::Object(out)) => out,
        Ok(_) => Map::new(),
        Err(_) => return unchecked(translator, &Map::new(), label, "its schema is recursive or too large"),
    };
    strip_null(&mut out);
    let wrong = match infer(&out) {
        Some(Kind::Scalar(kind)) => {
            out.insert("type".to_owned(), kind.into());
            None
        }
        Some(Kind::List) if place == TextPlace::Repeats => settle_items(&mut out),
        Some(Kind::List) => Some("a list has no form in one text"),
        Some(Kind::Object) => Some("an object has no form as text"),
        None => Some("text is read as one type, and its schema leaves several open"),
    };
    let wrong = wrong.or_else(|| wrong_values(&out));
    if let Some(why) = wrong {
        return unchecked(translator, &out, label, why);
    }
    for note in without_effect(&mut out) {
        translator.notes.add(format!("{label}: {note}"));
    }
    type_first(out)
}

enum Kind {
    Scalar(String),
    List,
    Object,
}

/// What a schema's values are, where that is one thing.
fn infer(schema: &Map<String, Value>) -> Option<Kind> {
    let kind = match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(_) => return None,
        None => untyped(schema)?,
    };
    match kind.as_str() {
        "array" => Some(Kind::List),
        "object" => Some(Kind::Object),
        _ if SCALARS.contains(&kind.as_str()) => Some(Kind::Scalar(kind)),
        _ => None,
    }
}

/// The type of a schema that names none: that of its values, of its variants, or text.
fn untyped(schema: &Map<String, Value>) -> Option<String> {
    let values: Vec<&Value> =
        schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const")).collect();
    let variants = ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema.get(*word)?.as_array()).flatten();
    let variants: Vec<&Value> = variants.collect();
    if !values.is_empty() {
        let types: Option<Vec<&str>> = values.iter().map(|value| scalar_type(value)).collect();
        return one_of(types?);
    }
    if !variants.is_empty() {
        let types: Option<Vec<&str>> = variants.iter().map(|variant| variant.get("type")?.as_str()).collect();
        return one_of(types?).filter(|kind| SCALARS.contains(&kind.as_str()));
    }
    let others = ["not", "if", "properties", "items"].iter().any(|word| schema.contains_key(*word));
    (!others).then(|| "string".to_owned())
}

fn one_of(types: Vec<&str>) -> Option<String> {
    let first = types.first()?;
    types.iter().all(|name| name == first).then(|| (*first).to_owned())
}

fn scalar_type(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("boolean"),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some("integer"),
        Value::Number(_) => Some("number"),
        _ => None,
    }
}

/// Absence is what text has for `null`.
fn strip_null(schema: &mut Map<String, Value>) {
    let null = json!({ "type": "null" });
    for word in ["anyOf", "oneOf"] {
        if let Some(Value::Array(variants)) = schema.get_mut(word) {
            variants.retain(|variant| *variant != null);
            let (empty, only) = match variants.as_slice() {
                [] => (true, None),
                [Value::Object(only)] => (false, Some(only.clone())),
                _ => (false, None),
            };
            // Beside rules of its own the variant stays one.
            let alone = schema.keys().all(|key| key == word || ANNOTATIONS.contains(&key.as_str()));
            if empty {
                schema.shift_remove(word);
            } else if let Some(only) = only.filter(|_| alone) {
                schema.shift_remove(word);
                for (keyword, value) in only {
                    schema.entry(keyword).or_insert(value);
                }
            }
        }
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("enum") {
        options.retain(|option| !option.is_null());
        if options.is_empty() {
            schema.shift_remove("enum");
        }
    }
}

/// Makes the items of a list text of one type, or says why not.
fn settle_items(schema: &mut Map<String, Value>) -> Option<&'static str> {
    if schema.contains_key("prefixItems") {
        return Some("the items of a list in text are all of one type");
    }
    let mut items = match schema.get("items") {
        Some(Value::Object(items)) => items.clone(),
        Some(Value::Bool(true)) | None => Map::new(),
        Some(_) => return Some("its list can hold nothing"),
    };
    strip_null(&mut items);
    let Some(Kind::Scalar(kind)) = infer(&items) else {
        return Some("the items of a list in text are all of one plain type");
    };
    items.insert("type".to_owned(), kind.into());
    without_effect(&mut items);
    if let Some(why) = wrong_values(&items).or_else(|| wrong_values(schema)) {
        return Some(why);
    }
    schema.insert("items".to_owned(), Value::Object(type_first(items)));
    None
}

/// Permitted values that are not of the type could never occur.
fn wrong_values(schema: &Map<String, Value>) -> Option<&'static str> {
    let types = schema.get("type")?;
    let mut values = schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const"));
    values.any(|value| !is_of(value, types)).then_some("its values are not of its type")
}

/// Text without rules, with the documentation of the schema it stands for.
fn unchecked(
    translator: &mut Translator<'_, '_>,
    schema: &Map<String, Value>,
    label: &str,
    why: &str,
) -> Map<String, Value> {
    translator.notes.add(format!("{label} is not checked: {why}"));
    let documents = |keyword: &str| ANNOTATIONS.contains(&keyword) && keyword != "default";
    let mut out = Map::from_iter([("type".to_owned(), "string".into())]);
    out.extend(schema.iter().filter(|(key, _)| documents(key)).map(|(key, value)| (key.clone(), value.clone())));
    out
}

/// The type is what a reader looks for.
pub(in crate::import) fn type_first(mut schema: Map<String, Value>) -> Map<String, Value> {
    let Some(kind) = schema.shift_remove("type") else { return schema };
    let mut out = Map::from_iter([("type".to_owned(), kind)]);
    out.append(&mut schema);
    out
}
