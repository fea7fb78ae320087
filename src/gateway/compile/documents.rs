//! Schemas: of whole documents, and where their faults are reported.

use crate::config::{Document, Place, Problem, Report, SchemaFiles, Step};
use crate::policy::contract::{Blame, DocumentFault, DocumentSource, PointerStep, SchemaFault, SeenIn, Weight};

/// Compiles documents.
pub(super) struct Documents<'a> {
    pub(super) files: &'a SchemaFiles,
    pub(super) report: &'a mut Report,
}

impl Documents<'_> {
    /// Makes something of the schema that a document names. Nothing when the schema has an error, which is reported.
    pub(super) fn compile<T>(
        &mut self,
        document: &Document,
        place: &Place,
        make: impl FnOnce(DocumentSource<'_>) -> (Option<T>, Vec<DocumentFault>),
    ) -> Option<T> {
        match (&document.schema, &document.schema_file) {
            (Some(schema), None) => {
                let (made, faults) = make(DocumentSource::Inline(schema));
                // Its keywords bear on each other, wherever they stand.
                let place = place.clone().key("schema");
                for DocumentFault { weight, fault, .. } in faults {
                    schema_fault(self.report, place.clone(), weight, fault).given(place.clone());
                }
                made
            }
            (None, Some(_)) => {
                // When it could not be read, loading has said so.
                let files = self.files.documents.get(place)?;
                let resources: Vec<_> =
                    files.iter().map(|(uri, file)| (uri.as_str(), &self.files.files[*file].schema)).collect();
                let (made, faults) = make(DocumentSource::Files(&resources));
                for DocumentFault { resource, weight, seen_in, fault } in faults {
                    let file = files.get(resource).map_or(0, |(_, file)| *file);
                    let problem = schema_fault(self.report, SchemaFiles::place(file), weight, fault);
                    problem.given_keys(place, &["schema_file"]);
                    if seen_in == SeenIn::AllFiles {
                        files.iter().for_each(|(_, file)| _ = problem.given(SchemaFiles::place(*file)));
                    }
                }
                made
            }
            (None, None) => {
                self.report
                    .error(place.clone(), "no schema is given")
                    .given_keys(place, &["schema", "schema_file"])
                    .help("`schema` or `schema_file`");
                None
            }
            (Some(_), Some(_)) => {
                let both = place.clone().key("schema_file");
                self.report
                    .error(both, "a document has one schema: `schema` is given already")
                    .on_key()
                    .given_keys(place, &["schema"]);
                None
            }
        }
    }
}

/// Reports a fault of the schema at a place; what it rests on is for the caller to say.
pub(super) fn schema_fault(report: &mut Report, mut place: Place, weight: Weight, fault: SchemaFault) -> &mut Problem {
    let SchemaFault { pointer, blame, message, help } = fault;
    place.0.extend(pointer.into_iter().map(|step| match step {
        PointerStep::Name(name) => Step::Key(name),
        PointerStep::Index(index) => Step::Index(index),
    }));
    let problem = match weight {
        Weight::Error => report.error(place, message),
        Weight::Warning => report.warning(place, message),
    };
    if blame == Blame::Keyword {
        problem.on_key();
    }
    if let Some(help) = help {
        problem.help(help);
    }
    problem
}
