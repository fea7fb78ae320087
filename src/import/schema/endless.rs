//! Schemas that apply themselves to the value they are applied to, which no value can settle.
//!
//! `Loop: {$ref: Loop}` is one, and so is a schema that is one of its own `anyOf`. The gateway refuses them, so what
//! closes such a circle is left out.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// What the references of translated schemas begin with.
const PREFIX: &str = "#/$defs/";

/// Keywords whose schemas are applied to the same value: one, a list, some by name.
const ONE: [&str; 4] = ["not", "if", "then", "else"];
const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const NAMED: &str = "dependentSchemas";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

/// Takes the references out that close a circle; the names of the definitions that had one.
pub(super) fn cut(definitions: &mut Map<String, Value>) -> Vec<String> {
    let names: Vec<String> = definitions.keys().cloned().collect();
    let indices: HashMap<&str, usize> = names.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let next: Vec<Vec<usize>> = definitions.values_mut().map(|schema| targets(schema, &indices)).collect();
    let mut closing: Vec<(usize, usize)> = Vec::new();
    let mut visits = vec![Visit::New; next.len()];
    for start in 0..next.len() {
        // A definition that is open, and which of its references comes next.
        let mut open = vec![(start, 0)];
        while let Some((at, nth)) = open.last_mut() {
            let (from, to) = (*at, next[*at].get(*nth).copied());
            if *nth == 0 && visits[from] == Visit::Done {
                open.pop();
                continue;
            }
            *nth += 1;
            visits[from] = Visit::Open;
            match to {
                Some(to) if visits[to] == Visit::Open => closing.push((from, to)),
                Some(to) if visits[to] == Visit::New => open.push((to, 0)),
                Some(_) => {}
                None => {
                    visits[from] = Visit::Done;
                    open.pop();
                }
            }
        }
    }
    for (from, to) in &closing {
        if let Some(schema) = definitions.get_mut(&names[*from]) {
            let reference = format!("{PREFIX}{}", names[*to]);
            same_value(schema, &mut |schema| {
                if schema.get("$ref").is_some_and(|target| *target == reference) {
                    schema.shift_remove("$ref");
                }
            });
        }
    }
    closing.iter().map(|(from, _)| names[*from].clone()).collect()
}

/// The definitions that a schema applies to its own value.
fn targets(schema: &mut Value, indices: &HashMap<&str, usize>) -> Vec<usize> {
    let mut found = Vec::new();
    same_value(schema, &mut |schema| {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix(PREFIX));
        found.extend(target.and_then(|name| indices.get(name)));
    });
    found
}

/// Visits a schema and those in it that are applied to the same value.
fn same_value(schema: &mut Value, visit: &mut dyn FnMut(&mut Map<String, Value>)) {
    let Value::Object(members) = schema else { return };
    visit(members);
    for (keyword, value) in members {
        match value {
            Value::Object(_) if ONE.contains(&keyword.as_str()) => same_value(value, visit),
            Value::Array(schemas) if LISTS.contains(&keyword.as_str()) => {
                schemas.iter_mut().for_each(|schema| same_value(schema, visit));
            }
            Value::Object(named) if keyword == NAMED => {
                named.values_mut().for_each(|schema| same_value(schema, visit));
            }
            _ => {}
        }
    }
}
