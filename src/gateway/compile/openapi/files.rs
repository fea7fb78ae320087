//! Schema files, brought over: each file is one component, and what one says of another leads to its component.
//!
//! The paths of files stay here. An `$id` at the head of a file is taken off, since it would make references count
//! from there; a reference into a file that is not known (which does not load) stays as written.

use std::collections::HashMap;

use referencing::uri;
use serde_json::{Value, json};

use crate::config::{Place, SchemaFiles};

use super::schema::{Components, moved};

/// The names of files that are components, by their index.
#[derive(Default)]
pub(super) struct Names(HashMap<usize, String>);

impl Names {
    /// Adds the files that a document needs; what refers to its own.
    pub(super) fn add(&mut self, files: &SchemaFiles, document: &Place, components: &mut Components) -> Option<Value> {
        let needed = files.documents.get(document)?;
        let unknown: Vec<usize> = needed.iter().map(|(_, file)| *file).collect();
        let unknown = unknown.into_iter().filter(|file| !self.0.contains_key(file));
        let mut added: Vec<usize> = unknown.collect();
        added.dedup();
        for &file in &added {
            let name = self.free_name(files.files.get(file)?.path.file_stem()?.to_string_lossy().as_ref());
            self.0.insert(file, name);
        }
        for file in added {
            let schema = self.brought_over(files, needed, file)?;
            components.add(self.0.get(&file)?.clone(), schema);
        }
        let (_, own) = needed.first()?;
        Some(json!({ "$ref": self.head(*own)? }))
    }

    fn head(&self, file: usize) -> Option<String> {
        Some(format!("#/components/schemas/{}", self.0.get(&file)?))
    }

    /// A component's name may hold letters, digits, `.`, `-` and `_`.
    fn free_name(&self, stem: &str) -> String {
        let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
        let stem: String = stem.chars().map(|letter| if legal(letter) { letter } else { '_' }).collect();
        // Documents in the configuration are called `ROUTE.body` and `ROUTE.response`.
        let stem = format!("file.{stem}");
        let taken = |name: &String| self.0.values().any(|known| known == name);
        let numbered = (2..).map(|number| format!("{stem}.{number}"));
        std::iter::once(stem.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(stem)
    }

    fn brought_over(&self, files: &SchemaFiles, needed: &[(String, usize)], file: usize) -> Option<Value> {
        let written = files.files.get(file)?;
        let mut schema = written.schema.clone();
        let id = schema.as_object_mut().and_then(|schema| schema.shift_remove("$id"));
        let base = id.and_then(|id| resolved(&written.uri, id.as_str()?)).unwrap_or_else(|| written.uri.clone());
        let head = self.head(file)?;
        Some(moved(&schema, &|target| {
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let head = match path {
                "" => Some(head.clone()),
                path => resolved(&base, path).and_then(|meant| {
                    let (_, file) = needed.iter().find(|(uri, _)| *uri == meant)?;
                    self.head(*file)
                }),
            };
            match head {
                None => target.to_owned(),
                Some(head) if fragment.is_empty() || fragment.starts_with('/') => format!("{head}{fragment}"),
                // An anchor is found wherever it stands in the document.
                Some(_) => format!("#{fragment}"),
            }
        }))
    }
}

fn resolved(base: &str, path: &str) -> Option<String> {
    let base = uri::from_str(base).ok()?;
    Some(uri::resolve_against(&base.borrow(), path).ok()?.as_str().to_owned())
}
