//! Schemas of OpenAPI as parameters take them: JSON Schema 2020-12 without what is not checked.
//!
//! The dialect of 3.0 is translated (`nullable`, `exclusiveMinimum: true`, `example`), references are put in their
//! place or kept under `$defs` where they are recursive or large, and a keyword that the gateway would refuse is left
//! out and noted. What is left out never makes a schema stricter than it was.
//!
//! Invariant: what comes out is accepted by the meta-schema, nests at most [`MAX_DEPTH`] deep and holds no number or
//! key that YAML would change.

mod endless;
mod keyword;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::document::{Document, Edition};
use super::notes::Notes;
use super::yaml;

pub(super) use text::{TextPlace, text_parameter, type_first};

/// Deepest nesting of schemas; each may be two levels of YAML.
const MAX_DEPTH: usize = 40;
/// Deepest nesting of a value in `default`, `enum` and their like.
const MAX_VALUE_DEPTH: usize = 16;
/// Longest key that YAML takes, and some.
const MAX_KEY: usize = 500;
/// Most values in one schema whose references are put in their place.
const MAX_INLINE: usize = 2_000;

/// Keywords that only document.
const ANNOTATIONS: [&str; 9] =
    ["title", "description", "default", "deprecated", "readOnly", "writeOnly", "examples", "example", "$comment"];

/// Which way a value goes: a read-only member is no part of a request, a write-only one of no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Reply,
}

/// A schema with references in their place cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfolds;

/// Translates the schemas of one route.
pub(super) struct Translator<'d, 'n> {
    pub(super) document: &'d Document,
    pub(super) notes: &'n mut Notes,
    direction: Direction,
    /// The references that the schema being translated stands in.
    open: Vec<&'d str>,
    depth: usize,
    /// How many values were translated.
    size: usize,
    unfolds: bool,
    /// References kept as they are, with the name of each under `$defs`; absent: they are put in their place.
    kept: Option<Kept<'d>>,
}

/// References and the name that each has under `$defs`, in the order they were found.
#[derive(Default)]
struct Kept<'d> {
    names: IndexMap<&'d str, String>,
    taken: HashSet<String>,
}

impl<'d, 'n> Translator<'d, 'n> {
    pub(super) fn new(document: &'d Document, direction: Direction, notes: &'n mut Notes) -> Self {
        Self { document, notes, direction, open: Vec::new(), depth: 0, size: 0, unfolds: false, kept: None }
    }

    /// A schema with every reference in its place. `name` is whose it is.
    pub(super) fn inline(&mut self, schema: &'d Value, name: &str) -> Result<Value, Unfolds> {
        (self.kept, self.unfolds, self.size) = (None, false, 0);
        let translated = self.any(schema, name);
        if self.unfolds { Err(Unfolds) } else { Ok(translated) }
    }

    /// A whole document's schema: references in their place where that is finite and short, else kept.
    pub(super) fn whole(&mut self, schema: &'d Value) -> Value {
        if let Ok(translated) = self.inline(schema, "") {
            return translated;
        }
        (self.kept, self.unfolds, self.size) = (Some(Kept::default()), false, 0);
        let translated = self.any(schema, "");
        let mut definitions = Map::new();
        // Translating one may find further references.
        while let Some((reference, name)) = self.kept.as_ref().and_then(|kept| kept.names.get_index(definitions.len()))
        {
            let (reference, name) = (*reference, name.clone());
            let definition = self.document.named(reference).map_or(json!({}), |named| self.any(named, &name));
            definitions.insert(name, definition);
        }
        for name in endless::cut(&mut definitions) {
            self.notes.add(format!("`{name}` refers to itself without end: nothing is checked there"));
        }
        let Value::Object(mut translated) = translated else { return translated };
        translated.insert("$defs".to_owned(), Value::Object(definitions));
        Value::Object(translated)
    }

    /// A schema of any shape.
    fn any(&mut self, schema: &'d Value, name: &str) -> Value {
        self.size += 1;
        if self.kept.is_none() && self.size > MAX_INLINE {
            self.unfolds = true;
        }
        if self.unfolds || !self.document.spend(schema) {
            return json!({});
        }
        if self.depth == MAX_DEPTH && self.kept.is_none() {
            // With references kept it may be less deep.
            self.unfolds = true;
            return json!({});
        }
        if self.depth == MAX_DEPTH {
            self.notes.add("a schema nests too deep: what is below is not checked");
            return json!({});
        }
        self.depth += 1;
        let translated = match schema {
            Value::Bool(flag) => Value::Bool(*flag),
            Value::Object(members) => match self.document.reference(schema) {
                Some(reference) => self.referenced(reference, members, name),
                None => self.members(members, name),
            },
            _ => {
                self.notes.add("a schema is no mapping: nothing is checked there");
                json!({})
            }
        };
        self.depth -= 1;
        translated
    }

    fn referenced(&mut self, reference: &'d str, beside: &'d Map<String, Value>, name: &str) -> Value {
        let Some(target) = self.document.named(reference) else {
            self.notes.add(format!("`{reference}` is not in the document: nothing is checked there"));
            return json!({});
        };
        let mut translated = if self.kept.is_some() {
            json!({ "$ref": format!("#/$defs/{}", self.definition(reference)) })
        } else if self.open.contains(&reference) {
            self.unfolds = true;
            return json!({});
        } else {
            self.open.push(reference);
            let translated = self.any(target, name);
            self.open.pop();
            without_title(translated, last_step(reference))
        };
        // In 3.0 nothing beside a reference counts.
        if self.document.edition == Edition::V30 || beside.len() == 1 {
            return translated;
        }
        let rest: Map<String, Value> = beside.iter().filter(|(key, _)| *key != "$ref").map(cloned).collect();
        let documents_only = rest.keys().all(|key| ANNOTATIONS.contains(&key.as_str()));
        let rest = self.rest(rest, name);
        if let (true, Value::Object(translated), Value::Object(rest)) = (documents_only, &mut translated, &rest) {
            translated.extend(rest.iter().map(cloned));
        } else if rest != json!({}) {
            translated = json!({ "allOf": [translated, rest] });
        }
        translated
    }

    /// The name of a reference under `$defs`.
    fn definition(&mut self, reference: &'d str) -> String {
        let kept = self.kept.get_or_insert_default();
        if let Some(name) = kept.names.get(reference) {
            return name.clone();
        }
        let legal =
            |char: char| if char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-') { char } else { '_' };
        let mut name: String = last_step(reference).chars().take(100).map(legal).collect();
        while kept.taken.contains(&name) {
            name = format!("{name}_{}", kept.names.len());
        }
        kept.taken.insert(name.clone());
        kept.names.insert(reference, name.clone());
        name
    }

    /// What stands beside a reference, which is no part of the document by itself.
    fn rest(&mut self, rest: Map<String, Value>, name: &str) -> Value {
        let mut out = Map::new();
        for (keyword, value) in &rest {
            self.annotation(keyword, value, name, &mut out);
        }
        let unchecked = rest.keys().find(|key| !ANNOTATIONS.contains(&key.as_str()));
        if let Some(keyword) = unchecked {
            self.notes.add(format!("`{keyword}` beside a `$ref` is not checked"));
        }
        Value::Object(out)
    }

    /// A mapping of keywords without `$ref`.
    fn members(&mut self, schema: &'d Map<String, Value>, name: &str) -> Value {
        if let Some(only) = only_one(schema) {
            return self.overlaid(only, schema, name);
        }
        let mut out = Map::new();
        for (keyword, value) in schema {
            if !self.document.spend(value) {
                break;
            }
            self.keyword(keyword, value, schema, name, &mut out);
        }
        if let Some(flat) = self.without_null_variant(&out) {
            out = flat;
        }
        self.settle(&mut out);
        if self.is_nullable(schema) {
            out = nullable(out);
        }
        Value::Object(out)
    }

    /// What 3.0 says where 3.1 has `null` among the types.
    fn is_nullable(&self, schema: &Map<String, Value>) -> bool {
        self.document.edition == Edition::V30 && schema.get("nullable") == Some(&Value::Bool(true))
    }

    /// `allOf` of one schema, as several generators write a reference with documentation beside it.
    fn overlaid(&mut self, only: &'d Value, schema: &'d Map<String, Value>, name: &str) -> Value {
        let Value::Object(mut out) = self.any(only, name) else { return json!({}) };
        for (keyword, value) in schema {
            self.annotation(keyword, value, name, &mut out);
        }
        if self.is_nullable(schema) {
            out = nullable(out);
        }
        Value::Object(out)
    }

    /// `anyOf: [{type: string, …}, {type: null}]` is `type: [string, null], …`.
    fn without_null_variant(&mut self, schema: &Map<String, Value>) -> Option<Map<String, Value>> {
        let word = ["anyOf", "oneOf"].into_iter().find(|word| schema.contains_key(*word))?;
        let [one, other] = schema.get(word)?.as_array()?.as_slice() else { return None };
        let null = json!({ "type": "null" });
        let kept = if *other == null {
            one
        } else if *one == null {
            other
        } else {
            return None;
        };
        let kept = kept.as_object().filter(|kept| kept.get("type").is_some_and(Value::is_string))?;
        let beside: Map<String, Value> = schema.iter().filter(|(key, _)| *key != word).map(cloned).collect();
        if kept.contains_key("const") || !beside.keys().all(|key| ANNOTATIONS.contains(&key.as_str())) {
            return None;
        }
        let mut flat = nullable(kept.clone());
        flat.extend(beside);
        Some(flat)
    }

    /// Takes out what has no effect, and says openly that free members pass.
    fn settle(&mut self, out: &mut Map<String, Value>) {
        for note in keyword::without_effect(out) {
            self.notes.add(note);
        }
        let speaks_of_members = ["properties", "additionalProperties", "patternProperties", "unevaluatedProperties"];
        let combines = ["allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "not", "enum", "const"];
        let says = |words: &[&str]| words.iter().any(|word| out.contains_key(*word));
        if out.get("type").is_some_and(|types| types == "object") && !says(&speaks_of_members) && !says(&combines) {
            out.insert("additionalProperties".to_owned(), true.into());
        }
    }

    /// A value that YAML can say: without numbers and keys that it would change.
    pub(super) fn plain(&mut self, value: &Value) -> Option<Value> {
        let plain = self.plain_at(value, 0);
        if plain.is_none() {
            self.notes.add("a value that cannot be written exactly is left out");
        }
        plain
    }

    fn plain_at(&self, value: &Value, depth: usize) -> Option<Value> {
        if depth > MAX_VALUE_DEPTH || !self.document.spend(value) {
            return None;
        }
        Some(match value {
            Value::Number(number) => Value::Number(yaml::number(number)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.plain_at(item, depth + 1)).collect::<Option<_>>()?)
            }
            Value::Object(members) => {
                let mut plain = Map::new();
                for (key, value) in members.iter() {
                    let value = self.plain_at(value, depth + 1).filter(|_| is_plain_key(key))?;
                    plain.insert(key.clone(), value);
                }
                Value::Object(plain)
            }
            scalar => scalar.clone(),
        })
    }
}

/// What a reference calls its target.
fn last_step(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

/// A title that only repeats what the schema was called in the document says nothing where it is put.
fn without_title(mut schema: Value, name: &str) -> Value {
    if let Value::Object(members) = &mut schema
        && members.get("title").is_some_and(|title| title == name)
    {
        members.shift_remove("title");
    }
    schema
}

/// A key that YAML keeps: `<<` would merge, and a longer one needs another form.
fn is_plain_key(key: &str) -> bool {
    key != "<<" && key.len() <= MAX_KEY
}

/// The one schema of an `allOf` beside which nothing but documentation stands.
fn only_one(schema: &Map<String, Value>) -> Option<&Value> {
    let [only] = schema.get("allOf")?.as_array()?.as_slice() else { return None };
    let documents = |key: &String| {
        key == "allOf" || key == "nullable" || ANNOTATIONS.contains(&key.as_str()) || key.starts_with("x-")
    };
    (schema.keys().all(documents) && only.is_object()).then_some(only)
}

/// The same schema, which `null` fits too.
fn nullable(mut schema: Map<String, Value>) -> Map<String, Value> {
    let plain =
        !["const", "allOf", "anyOf", "oneOf", "not", "$ref", "if"].iter().any(|word| schema.contains_key(*word));
    if schema.is_empty() {
        return schema;
    }
    match schema.get("type").filter(|_| plain) {
        Some(Value::Array(names)) if names.iter().any(|name| name == "null") => {}
        Some(Value::String(name)) if name == "null" => {}
        Some(types) => {
            let types: Vec<&str> = keyword::names(types).chain(["null"]).collect();
            let types = json!(types);
            schema.insert("type".to_owned(), types);
        }
        None => {
            let (documented, checked): (Map<_, _>, Map<_, _>) =
                schema.into_iter().partition(|(key, _)| ANNOTATIONS.contains(&key.as_str()));
            schema = documented;
            schema.insert("anyOf".to_owned(), json!([checked, { "type": "null" }]));
            return schema;
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("enum")
        && !options.contains(&Value::Null)
    {
        options.push(Value::Null);
    }
    schema
}

fn cloned<'m>((key, value): (&'m String, &'m Value)) -> (String, Value) {
    (key.clone(), value.clone())
}
