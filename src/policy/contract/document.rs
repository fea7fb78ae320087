//! A JSON document with one schema for the whole of it: a request's body, or a service's reply.
//!
//! The schema may stand in the configuration, or in files that refer to each other. What is written in the
//! configuration is held to the strict grammar of parameters. A file comes from elsewhere and may say more than
//! JSON Schema defines: unknown keywords, unknown formats and bounds that exclude each other are warnings there, and
//! a keyword without effect is no fault at all. What could not be enforced as written is an error in both: a broken
//! pattern, a reference that leads nowhere, another draft than 2020-12, a keyword with a value of the wrong shape.

use bytes::Bytes;
use serde_json::Value;

use super::Undeclared;
use super::grammar::{SchemaFault, Strictness, Weight, faults_of};
use super::json::Passing;
use super::schema::{MISSING, Marks, Resource, Schema, build_document};
use super::tree::{read, without_mark};
use super::violation::{At, Violation, ViolationKind as Kind, Violations};

/// Where the schema of a document comes from.
#[derive(Debug, Clone, Copy)]
pub enum DocumentSource<'a> {
    /// The configuration itself.
    Inline(&'a Value),
    /// Files by their URIs, the document's own first.
    Files(&'a [(&'a str, &'a Value)]),
}

/// A fault of one of the schemas of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentFault {
    /// Which of the files, by position; 0 without files.
    pub resource: usize,
    /// Whether the document can be used all the same.
    pub weight: Weight,
    /// What one has to see to see it.
    pub seen_in: SeenIn,
    /// What is wrong, and where.
    pub fault: SchemaFault,
}

/// What makes a fault of a schema one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenIn {
    /// What its own file says.
    ItsFile,
    /// What all files of the document say together.
    AllFiles,
}

/// A body that is one JSON document.
#[derive(Debug)]
pub struct DocumentContract {
    schema: Schema,
    undeclared: Undeclared,
}

/// What a service may answer: undeclared members are removed.
#[derive(Debug)]
pub struct ReplyModel(Schema);

impl DocumentContract {
    /// Compiles a document's schema. There is a contract exactly when no fault is an error.
    pub fn compile(source: DocumentSource<'_>, undeclared: Undeclared) -> (Option<Self>, Vec<DocumentFault>) {
        let (schema, faults) = compile(source);
        (schema.map(|schema| Self { schema, undeclared }), faults)
    }

    /// What the service gets; nothing when there are violations.
    pub(super) fn check(&self, body: &[u8], violations: &mut Violations) -> Option<Bytes> {
        if without_mark(body).is_empty() {
            violations.push(&At::BODY, Kind::Missing, MISSING);
            return None;
        }
        check(&self.schema, self.undeclared, body, &At::BODY, violations)
    }
}

impl ReplyModel {
    /// Compiles a reply's schema. There is a model exactly when no fault is an error.
    pub fn compile(source: DocumentSource<'_>) -> (Option<Self>, Vec<DocumentFault>) {
        let (schema, faults) = compile(source);
        (schema.map(Self), faults)
    }

    /// What the client gets of a reply's body.
    ///
    /// # Errors
    /// What is wrong with it. The first part of each place is `reply`.
    pub fn check(&self, body: &[u8]) -> Result<Bytes, Vec<Violation>> {
        let mut violations = Violations::new();
        let checked = check(&self.0, Undeclared::Drop, body, &At::REPLY, &mut violations);
        checked.ok_or_else(|| violations.into_vec())
    }
}

fn check(
    schema: &Schema,
    undeclared: Undeclared,
    body: &[u8],
    at: &At<'_>,
    violations: &mut Violations,
) -> Option<Bytes> {
    let before = violations.len();
    let read = read(body, at, violations)?;
    let mut marks = Marks::default();
    schema.check_tree(&read.root, read.values, &mut marks, at, violations);
    let passing = Passing::new(undeclared, marks);
    if violations.len() == before {
        passing.refuse_undeclared(&read.root, at, violations);
    }
    (violations.len() == before).then(|| {
        let mut out = Vec::with_capacity(body.len());
        passing.write(&read.root, &mut out);
        Bytes::from(out)
    })
}

fn compile(source: DocumentSource<'_>) -> (Option<Schema>, Vec<DocumentFault>) {
    let inline;
    let (files, strictness) = match source {
        DocumentSource::Inline(schema) => {
            inline = [("tollgate:///inline", schema)];
            (inline.as_slice(), Strictness::Written)
        }
        DocumentSource::Files(files) => (files, Strictness::Foreign),
    };
    let mut faults = Vec::new();
    for (resource, (_, schema)) in files.iter().enumerate() {
        let found = faults_of(schema, strictness).into_iter();
        let seen_in = SeenIn::ItsFile;
        faults.extend(found.map(|(weight, fault)| DocumentFault { resource, weight, seen_in, fault }));
    }
    if faults.iter().any(|fault| fault.weight == Weight::Error) {
        return (None, faults);
    }
    let resources: Vec<_> = files.iter().map(|(uri, schema)| Resource { uri, schema }).collect();
    match build_document(&resources) {
        Ok(schema) => (Some(schema), faults),
        Err(found) => {
            let fault = |found: super::schema::BuildFault| DocumentFault {
                resource: found.resource,
                weight: Weight::Error,
                seen_in: SeenIn::AllFiles,
                fault: found.into(),
            };
            faults.extend(found.into_iter().map(fault));
            (None, faults)
        }
    }
}
