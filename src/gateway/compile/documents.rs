//! Schemas: of whole documents, and where their faults are reported.

use crate::config::{Document, Place, Report, SchemaFiles, Step};
use crate::policy::contract::{Blame, DocumentFault, DocumentSource, SchemaFault, Weight};

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
                for DocumentFault { weight, fault, .. } in faults {
                    schema_fault(self.report, place.clone().key("schema"), weight, fault);
                }
                made
            }
            (None, Some(_)) => {
                // When it could not be read, loading has said so.
                let files = self.files.documents.get(place)?;
                let resources: Vec<_> =
                    files.iter().map(|(uri, file)| (uri.as_str(), &self.files.files[*file].schema)).collect();
                let (made, faults) = make(DocumentSource::Files(&resources));
                for DocumentFault { resource, weight, fault } in faults {
                    let file = files.get(resource).map_or(0, |(_, file)| *file);
                    schema_fault(self.report, SchemaFiles::place(file), weight, fault);
                }
                made
            }
            (None, None) => {
                self.report.error(place.clone(), "no schema is given").help("`schema` or `schema_file`");
                None
            }
            (Some(_), Some(_)) => {
                let place = place.clone().key("schema_file");
                self.report.error(place, "a document has one schema: `schema` is given already").on_key();
                None
            }
        }
    }
}

/// Reports a fault of the schema at a place.
pub(super) fn schema_fault(report: &mut Report, mut place: Place, weight: Weight, fault: SchemaFault) {
    let SchemaFault { pointer, blame, message, help } = fault;
    place.0.extend(pointer.into_iter().map(|step| step.parse().map_or_else(|_| Step::Key(step), Step::Index)));
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
}
