//! Which other schemas a schema refers to.
//!
//! Looks where JSON Schema has subschemas, so that a `$ref` among the values of `enum` or `const` is none.

use referencing::uri;
use serde_json::{Map, Value};

use crate::config::place::Step;

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The URIs by which schemas in it can be referred to.
    pub(super) identities: Vec<String>,
    pub(super) references: Vec<Reference>,
    /// The directories of the file's URIs: the one it was asked for by, and its `$id`.
    directories: Vec<String>,
}

/// A reference to another schema.
#[derive(Debug)]
pub(super) struct Reference {
    /// What it resolves to, without a fragment.
    pub(super) uri: String,
    /// As it is written.
    pub(super) written: String,
    /// The path from this file to the one that is meant, where a URI of this file stands for its directory.
    pub(super) beside: Option<String>,
    /// Where it stands.
    pub(super) pointer: Vec<Step>,
}

/// Keywords whose value maps names to schemas, and those whose values are no schemas.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
const PLAIN: [&str; 4] = ["enum", "const", "default", "examples"];

/// Looks through a file that is called `uri`.
pub(super) fn scan(uri: &str, schema: &Value) -> Scan {
    let id = schema.get("$id").and_then(Value::as_str).and_then(|id| resolved(uri, id));
    let directory = |uri: &str| Some(format!("{}/", uri.rsplit_once('/')?.0));
    let directories = [Some(uri), id.as_deref()].into_iter().flatten().filter_map(directory).collect();
    let mut scan = Scan { directories, ..Scan::default() };
    schema_at(uri, schema, &mut Vec::new(), &mut scan);
    scan
}

fn schema_at(base: &str, schema: &Value, pointer: &mut Vec<Step>, scan: &mut Scan) {
    let Value::Object(keywords) = schema else { return };
    let own = keywords.get("$id").and_then(Value::as_str).and_then(|id| resolved(base, id));
    scan.identities.extend(own.clone());
    let base = own.as_deref().unwrap_or(base);
    for keyword in ["$ref", "$dynamicRef"] {
        reference_at(base, keywords, keyword, pointer, scan);
    }
    for (keyword, value) in keywords.iter().filter(|(keyword, _)| !PLAIN.contains(&keyword.as_str())) {
        pointer.push(Step::Key(keyword.clone()));
        match value {
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                for (name, schema) in named {
                    pointer.push(Step::Key(name.clone()));
                    schema_at(base, schema, pointer, scan);
                    pointer.pop();
                }
            }
            Value::Array(list) => {
                for (index, schema) in list.iter().enumerate() {
                    pointer.push(Step::Index(index));
                    schema_at(base, schema, pointer, scan);
                    pointer.pop();
                }
            }
            schema => schema_at(base, schema, pointer, scan),
        }
        pointer.pop();
    }
}

fn reference_at(base: &str, keywords: &Map<String, Value>, keyword: &str, pointer: &[Step], scan: &mut Scan) {
    let Some(written) = keywords.get(keyword).and_then(Value::as_str) else { return };
    let path = written.split('#').next().unwrap_or_default();
    let Some(uri) = resolved(base, written).filter(|_| !path.is_empty()) else { return };
    let beside = scan.directories.iter().find_map(|directory| uri.strip_prefix(directory.as_str())).map(str::to_owned);
    let pointer = pointer.iter().cloned().chain([Step::Key(keyword.to_owned())]).collect();
    scan.references.push(Reference { uri, written: written.to_owned(), beside, pointer });
}

/// The absolute URI without a fragment.
fn resolved(base: &str, reference: &str) -> Option<String> {
    let base = uri::from_str(base).ok()?;
    let mut resolved = uri::resolve_against(&base.borrow(), reference.split('#').next()?).ok()?;
    resolved.set_fragment(None);
    Some(resolved.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::place::Place;

    #[test]
    fn references_are_found_where_schemas_stand() {
        let schema = serde_json::json!({
            "$ref": "a.json#/x",
            "properties": { "$ref": { "$ref": "b.json" }, "c": { "const": { "$ref": "no.json" } } },
            "allOf": [true, { "$dynamicRef": "d.json#n" }, { "$ref": "#/local" }],
            "$defs": { "e": { "$id": "https://e.test/dir/e.json", "items": { "$ref": "f.json" } } },
            "not": { "$ref": "https://g.test/g.json" },
            "enum": [{ "$ref": "no.json" }],
        });
        let scan = scan("file:///dir/order.json", &schema);
        let found: Vec<_> = scan
            .references
            .iter()
            .map(|found| (found.uri.as_str(), found.beside.as_deref(), Place(found.pointer.clone()).to_string()))
            .collect();
        let rows = [
            ("file:///dir/a.json", Some("a.json"), "$ref"),
            ("file:///dir/b.json", Some("b.json"), "properties.$ref.$ref"),
            ("file:///dir/d.json", Some("d.json"), "allOf[1].$dynamicRef"),
            ("https://e.test/dir/f.json", None, "$defs.e.items.$ref"),
            ("https://g.test/g.json", None, "not.$ref"),
        ];
        assert_eq!(found, rows.map(|(uri, beside, pointer)| (uri, beside, pointer.to_owned())));
        assert_eq!(scan.identities, ["https://e.test/dir/e.json"]);
    }

    #[test]
    fn an_identity_stands_for_the_directory_of_its_file() {
        let schema = serde_json::json!({
            "$id": "https://a.test/s/order.json",
            "items": { "$ref": "item.json" },
            "not": { "$id": "deep/", "$ref": "below.json#x" },
            "allOf": [{ "$ref": "https://a.test/s/named.json" }, { "$ref": "../above.json" }],
        });
        let found = scan("file:///dir/order.json", &schema).references;
        let found: Vec<_> = found.iter().map(|found| found.beside.as_deref()).collect();
        assert_eq!(found, [Some("item.json"), Some("deep/below.json"), Some("named.json"), None]);
    }
}
