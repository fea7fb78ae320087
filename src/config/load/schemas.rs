//! The files that `schema_file` names, and those that they refer to.
//!
//! A relative `schema_file` starts at the file that names it. A `$ref` may lead to another file in the directory of
//! that file or of the configuration, or below either, never out of them and never over the network. A file whose
//! schema has an `$id` stands in the directory of that URI, too, so that references relative to it mean the files
//! beside it. Every file is read once, counts for the hash of the
//! configuration and is watched like the others. Placeholders and `include` mean nothing in these files.
//!
//! What could not be read is damage: nothing that the compiler says of a document rests on a reference that leads there.
//!
//! Not here: whether a schema is right; that is the compiler's part.

mod json;
mod references;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::{LARGEST_FILE, Loader, parse, read_file};
use crate::config::damage::Damage;
use crate::config::place::Place;
use crate::config::report::Spot;
use crate::config::{Body, Config, Document, SchemaFile, SchemaFiles};
use references::Reference;

const MOST_FILES: usize = 1000;
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const HELP: &str = "a file with a JSON Schema, JSON or YAML; a relative path starts at this file";

/// Reads every schema file of a configuration, or of what is left of one. `damage` says what is left, and learns what
/// cannot be read.
pub(super) fn load(loader: &mut Loader<'_>, config: &Config, damage: &mut Damage) -> SchemaFiles {
    let mut schemas = Schemas { found: SchemaFiles::default(), by_path: HashMap::new(), loader, damage };
    for (index, route) in config.routes.iter().enumerate() {
        let place = Place::root().key("routes").index(index);
        if let Some(Body::Document(document)) = &route.body {
            schemas.document(document, place.clone().key("body"));
        }
        if let Some(document) = &route.response_model {
            schemas.document(document, place.key("response_model"));
        }
    }
    schemas.found
}

struct Schemas<'l, 'e> {
    found: SchemaFiles,
    /// Files by their real path; nothing when a file could not be read.
    by_path: HashMap<PathBuf, Option<usize>>,
    loader: &'l mut Loader<'e>,
    damage: &'l mut Damage,
}

impl Schemas<'_, '_> {
    fn document(&mut self, document: &Document, place: Place) {
        let Some(written) = &document.schema_file else { return };
        let at = self.damage.written(place.clone().key("schema_file"));
        if self.damage.hides(&at) {
            return;
        }
        let (source, _) = self.loader.sources.origin(&at);
        let Some(directory) = self.loader.sources.file(source).map(|file| directory_of(Path::new(&file.name))) else {
            return;
        };
        if self.loader.directory.is_none() {
            self.loader.report.error(at, "this text has no files beside it").help("write the `schema` here");
            return;
        }
        match self.open(&directory.join(written)) {
            Ok(Some(file)) => {
                let files = self.closure(file);
                self.found.documents.insert(place, files);
            }
            Ok(None) => {}
            Err(why) => {
                self.loader.report.error(at, format!("cannot read `{written}`: {why}")).help(HELP);
            }
        }
    }

    /// The file at a path, if it can be parsed; what is wrong in it is reported.
    fn open(&mut self, path: &Path) -> Result<Option<usize>, String> {
        let real = fs::canonicalize(path).map_err(|error| error.to_string())?;
        if let Some(known) = self.by_path.get(&real) {
            return Ok(*known);
        }
        if self.by_path.len() == MOST_FILES {
            return Err(format!("there are more than {MOST_FILES} schema files"));
        }
        let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
        let bytes = read_file(path, LARGEST_FILE).map_err(|error| error.to_string())?;
        self.loader.files.push(path.to_owned());
        let schema = self.parse(path, bytes);
        let file = schema.map(|schema| {
            let uri = format!("file://{}", utf8_percent_encode(&absolute.to_string_lossy(), PATH));
            self.found.files.push(SchemaFile { uri, path: path.to_owned(), schema });
            self.found.files.len() - 1
        });
        self.by_path.insert(real, file);
        Ok(file)
    }

    fn parse(&mut self, path: &Path, bytes: Vec<u8>) -> Option<Value> {
        let name = path.display().to_string();
        let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        let place = SchemaFiles::place(self.found.files.len());
        if !is_yaml {
            let (text, parsed) = json::parse(bytes);
            let file = self.loader.sources.add(name, text);
            self.loader.sources.graft(place, file, Place::root());
            return parsed
                .map_err(|fail| {
                    let spot = Spot { file, bytes: fail.byte..fail.byte + 1 };
                    self.loader.report.error(Place::root(), fail.message).at(spot);
                })
                .ok();
        }
        let (text, parsed) = parse::parse(bytes);
        let file = self.loader.sources.add(name, text);
        self.loader.sources.graft(place, file, Place::root());
        let mut value = parsed.map_err(|fail| self.loader.refuse(file, fail)).ok()?;
        let mut faults = Vec::new();
        parse::merge(&mut value, &Place::root(), &mut faults);
        let is_whole = faults.is_empty();
        self.loader.faults_in(file, faults);
        serde_json::to_value(value).ok().filter(|_| is_whole)
    }

    /// A file and all that it leads to, each with the URI that references resolve to.
    fn closure(&mut self, first: usize) -> Vec<(String, usize)> {
        let mut files = vec![(self.found.files[first].uri.clone(), first)];
        let mut known: HashSet<String> = HashSet::from([files[0].0.clone()]);
        let mut next = 0;
        let root = directory_of(&self.found.files[first].path);
        while let Some((uri, file)) = files.get(next).cloned() {
            next += 1;
            let scan = references::scan(&uri, &self.found.files[file].schema);
            known.extend(scan.identities);
            for reference in scan.references {
                if known.contains(&reference.uri) || reference.uri.starts_with("https://json-schema.org/draft/") {
                    continue;
                }
                known.insert(reference.uri.clone());
                if let Some(target) = self.follow(file, &reference, &root) {
                    // A file beside one with an `$id` is meant by two names.
                    let own = self.found.files[target].uri.clone();
                    known.insert(own.clone());
                    if own != reference.uri {
                        files.push((own, target));
                    }
                    files.push((reference.uri, target));
                }
            }
        }
        files
    }

    /// The file that a reference leads to. A reference is lost when that cannot be read. What leads nowhere at all is
    /// left to the compiler.
    fn follow(&mut self, file: usize, reference: &Reference, root: &Path) -> Option<usize> {
        let decoded = |path: &str| percent_decode_str(path).decode_utf8().ok().map(|path| path.into_owned());
        let path = match (&reference.beside, reference.uri.strip_prefix("file://")) {
            (Some(beside), _) => directory_of(&self.found.files[file].path).join(decoded(beside)?),
            (None, Some(path)) => PathBuf::from(decoded(path)?),
            (None, None) => return None,
        };
        let mut place = SchemaFiles::place(file);
        place.0.extend_from_slice(&reference.pointer);
        let shown = &reference.written;
        let real = fs::canonicalize(&path).map_err(|error| format!("cannot read `{shown}`: {error}"));
        let found = real.and_then(|real| match self.may_read(&real, root) {
            true => self.open(&path).map_err(|why| format!("cannot read `{shown}`: {why}")),
            false => Err(format!("`{shown}` is outside of the directories of the configuration and of this schema")),
        });
        let target = found.unwrap_or_else(|message| {
            self.loader.report.error(place.clone(), message);
            None
        });
        if target.is_none() {
            self.damage.lose(place);
        }
        target
    }

    /// Whether a file is below the directory of the configuration, or of the document that leads to it.
    fn may_read(&self, real: &Path, root: &Path) -> bool {
        self.loader.directory.iter().map(PathBuf::as_path).chain([root]).any(|directory| {
            fs::canonicalize(directory_or_here(directory)).is_ok_and(|directory| real.starts_with(directory))
        })
    }
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

/// The empty path stands for the current directory, but is none.
fn directory_or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
