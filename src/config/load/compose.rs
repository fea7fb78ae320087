//! `include`: several files put together to one value.
//!
//! Lists are appended in the order of the files, maps of names are put together, and nothing may be said twice, except
//! `version`, which may be repeated. Every part of an included file is noted in [`Sources`], so that a problem in it
//! shows that file's line. Included files include nothing themselves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::{LARGEST_FILE, Loader, fault, read_file};
use crate::config::decode::Fault;
use crate::config::place::{On, Place};
use crate::config::report::{Locator, Sources};

const MOST_FILES: usize = 1000;
/// Sections that map names to what they are.
const NAMED: [&str; 4] = ["services", "authenticators", "plans", "consumers"];
const INCLUDE: &str = "include";
const HELP: &str = "write `include: [routes/*.yaml]`";

/// The main file's value with all that it includes. Nothing when a file is no configuration.
pub(super) fn compose(loader: &mut Loader<'_>, main: Value, directory: Option<&Path>) -> Option<Value> {
    let Value::Mapping(mut main) = main else { return None };
    let Some(include) = main.shift_remove(INCLUDE) else { return Some(Value::Mapping(main)) };
    let Some(directory) = directory else {
        let place = Place::root().key(INCLUDE);
        loader.report.error(place, "this text has no files to include").on_key();
        return None;
    };
    let mut whole = true;
    for path in included_paths(loader, &include, directory) {
        whole &= include_file(loader, &mut main, &path);
    }
    whole.then_some(Value::Mapping(main))
}

/// The files that `include` names, each once.
fn included_paths(loader: &mut Loader<'_>, include: &Value, directory: &Path) -> Vec<PathBuf> {
    let place = Place::root().key(INCLUDE);
    let patterns: Vec<(Place, &Value)> = match include {
        Value::Sequence(list) => {
            list.iter().enumerate().map(|(index, pattern)| (place.clone().index(index), pattern)).collect()
        }
        one => vec![(place, one)],
    };
    let mut paths = Vec::new();
    let mut seen: Vec<PathBuf> = loader.files.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for (place, pattern) in patterns {
        let Some(pattern) = text(pattern) else {
            loader.report.error(place, "expected a file name").help(HELP);
            continue;
        };
        for path in matching(loader, &place, pattern, directory) {
            let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if seen.contains(&real) {
                let message = format!("{} is included already", path.display());
                loader.report.error(place.clone(), message);
                continue;
            }
            if paths.len() == MOST_FILES {
                loader.report.error(place, format!("more than {MOST_FILES} files are included"));
                return paths;
            }
            seen.push(real);
            paths.push(path);
        }
    }
    paths
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Tagged(tagged) => tagged.value.as_str(),
        value => value.as_str(),
    }
}

/// The files that one pattern names, in lexical order.
fn matching(loader: &mut Loader<'_>, place: &Place, pattern: &str, directory: &Path) -> Vec<PathBuf> {
    let (folder, last) = match pattern.rsplit_once('/') {
        Some(("", last)) => ("/", last),
        Some((folder, last)) => (folder, last),
        None => ("", pattern),
    };
    if folder.contains('*') {
        loader.report.error(place.clone(), "`*` can only stand in a file's name, not in a folder's").help(HELP);
        return Vec::new();
    }
    let path = directory.join(pattern);
    if !last.contains('*') {
        if path.is_file() {
            return vec![path];
        }
        loader.report.error(place.clone(), "there is no such file");
        return Vec::new();
    }
    let folder = directory.join(folder);
    let named = |name: &str| glob(last, name) && (last.starts_with('.') || !name.starts_with('.'));
    let read = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
    let mut names: Vec<String> = fs::read_dir(read)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| named(name) && folder.join(name).is_file())
        .collect();
    if names.is_empty() {
        loader.report.warning(place.clone(), "no file matches this pattern");
    }
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether `name` matches `pattern`, in which `*` stands for any characters.
pub(super) fn glob(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The earliest match leaves the most for what follows.
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

/// Reads one included file into `main`. False when it is no configuration.
fn include_file(loader: &mut Loader<'_>, main: &mut Mapping, path: &Path) -> bool {
    let name = path.display().to_string();
    let bytes = match read_file(path, LARGEST_FILE) {
        Ok(bytes) => bytes,
        Err(error) => {
            let place = Place::root().key(INCLUDE);
            loader.report.error(place, format!("cannot read {name}: {error}"));
            return false;
        }
    };
    loader.files.push(path.to_owned());
    let (file, value) = loader.document(name, bytes, path.parent());
    let Some(Value::Mapping(part)) = value else { return false };
    let mut faults = Vec::new();
    let mut graft = Graft { main, sources: &mut loader.sources, file, faults: &mut faults, twice: Vec::new() };
    for (key, value) in part {
        graft.section(key, value);
    }
    let twice = graft.twice;
    faults.extend(defined_twice(&loader.sources, twice));
    loader.faults_in(file, faults);
    true
}

/// Puts one included file into the main value.
struct Graft<'l> {
    main: &'l mut Mapping,
    sources: &'l mut Sources,
    file: usize,
    faults: &'l mut Vec<Fault>,
    /// What an earlier file has too, and where that one has it.
    twice: Vec<(Place, (usize, Place))>,
}

impl Graft<'_> {
    fn section(&mut self, key: Value, value: Value) {
        let name = key.as_str().unwrap_or_default().to_owned();
        let place = Place::root().key(name.as_str());
        if name == INCLUDE {
            let message = "an included file cannot include others".to_owned();
            self.faults.push(fault(&place, On::Key, message, "include them from the main file"));
            return;
        }
        let Some(before) = self.main.get_mut(&key) else {
            self.new_section(&place, &value);
            self.main.insert(key, value);
            return;
        };
        match (before, value) {
            (before, value) if name == "version" && *before == value => {}
            (Value::Sequence(before), Value::Sequence(list)) => {
                let first = before.len();
                before.extend(list);
                for index in first..before.len() {
                    let merged = place.clone().index(index);
                    self.sources.graft(merged, self.file, place.clone().index(index - first));
                }
            }
            (Value::Mapping(_), Value::Mapping(names)) if NAMED.contains(&name.as_str()) => {
                self.names(&key, &place, names);
            }
            _ => self.twice(&place),
        }
    }

    /// A section that no file had before.
    fn new_section(&mut self, place: &Place, value: &Value) {
        let mut graft = |place: Place| self.sources.graft(place.clone(), self.file, place);
        match value {
            // Later files may append: only the elements are this file's.
            Value::Sequence(list) => (0..list.len()).for_each(|index| graft(place.clone().index(index))),
            Value::Mapping(names) => {
                names.keys().filter_map(Value::as_str).for_each(|name| graft(place.clone().key(name)));
            }
            _ => {}
        }
        graft(place.clone());
    }

    fn names(&mut self, section: &Value, place: &Place, names: Mapping) {
        for (name, value) in names {
            let at = place.clone().key(name.as_str().unwrap_or_default());
            let Some(Value::Mapping(before)) = self.main.get_mut(section) else { return };
            if before.contains_key(&name) {
                self.twice(&at);
                continue;
            }
            before.insert(name, value);
            self.sources.graft(at.clone(), self.file, at);
        }
    }

    fn twice(&mut self, place: &Place) {
        self.twice.push((place.clone(), self.sources.origin(place)));
    }
}

fn defined_twice(sources: &Sources, twice: Vec<(Place, (usize, Place))>) -> Vec<Fault> {
    let locator = Locator::new(sources);
    let fault = |(place, (file, before)): (Place, (usize, Place))| {
        let spot = locator.find(file, &before, On::Key);
        let first = sources.file(spot.file).map_or_else(String::new, |source| {
            let (line, column) = source.line_column(spot.bytes.start);
            format!("first defined at {}:{line}:{column}", source.name)
        });
        fault(&place, On::Key, format!("`{place}` is defined in two files"), &first)
    };
    twice.into_iter().map(fault).collect()
}
