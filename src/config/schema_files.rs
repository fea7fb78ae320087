//! The schemas that were read from files of their own.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use super::place::{Place, Step};

/// Where files are in places. No key of a configuration is called so.
const SECTION: &str = "schema_files";

/// All schema files of a configuration, and which of them each document needs.
#[derive(Debug, Clone, Default)]
pub struct SchemaFiles {
    /// Each file once.
    pub files: Vec<SchemaFile>,
    /// By the place of a document: its own file first, then those it leads to, each under the URI that references
    /// resolve to.
    pub documents: HashMap<Place, Vec<(String, usize)>>,
}

/// A schema in a file of its own.
#[derive(Debug, Clone)]
pub struct SchemaFile {
    /// `file:` URI of its absolute path.
    pub uri: String,
    /// The path as it was opened.
    pub path: PathBuf,
    /// What it says.
    pub schema: Value,
}

impl SchemaFiles {
    /// The place that stands for a file in a report.
    pub fn place(file: usize) -> Place {
        Place::root().key(SECTION).index(file)
    }

    /// Whether a place is in one of the files.
    pub(super) fn hold(place: &Place) -> bool {
        matches!(place.0.first(), Some(Step::Key(key)) if key == SECTION)
    }

    /// The file that a document names, where it has been read.
    pub fn of(&self, document: &Place) -> Option<&SchemaFile> {
        let (_, file) = self.documents.get(document)?.first()?;
        self.files.get(*file)
    }
}
