//! From files to a [`Config`], or to what is left of one.
//!
//! Each file is read, parsed, its merges and placeholders resolved; then the included files are put together with the
//! main one and the whole is decoded. Faults in the files are all found before the configuration is given up. The
//! environment comes in as an argument; no message repeats what a placeholder stood for.
//!
//! It does not check what names refer to: that is the compiler's part.

mod compose;
mod parse;
mod placeholder;
mod schemas;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::digest;
use serde_yaml::Value;

use super::Config;
use super::damage::Damage;
use super::decode::{Decoded, Fault, MOST_FAULTS, read};
use super::mask::mask_report;
use super::place::{On, Place};
use super::report::{Locator, Report, Sources, Spot};
use parse::Fail;
use placeholder::World;

/// The largest file that is read.
const LARGEST_FILE: u64 = 16 << 20;
/// The version of the format.
const VERSION: u32 = 1;

/// A configuration that was read without an error.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What was written.
    pub config: Config,
    /// SHA-256 of the whole value after includes, merges and placeholders, and of all schema files, in hexadecimal.
    /// Comments, layout and the way a file is split do not change it.
    pub text_hash: String,
    /// The values that came from placeholders and must not be shown.
    pub interpolated: Vec<Place>,
    /// Every file that was read, those of `${file:…}` and schemas too. The named file is first.
    pub files: Vec<PathBuf>,
}

/// What is left of a configuration that was read with errors.
///
/// Invariant: nothing that runs is made of it. Its parts are only shown to the compiler for the sake of the report.
#[derive(Debug, Clone)]
pub struct Damaged {
    config: Config,
    damage: Damage,
    /// The values that came from placeholders, as places in `config`.
    interpolated: Vec<Place>,
}

/// What came of reading a configuration.
#[derive(Debug, Clone)]
pub enum Loading {
    /// Everything, without an error.
    Whole(Box<Loaded>),
    /// What is left beside the errors.
    Damaged(Box<Damaged>),
    /// Nothing that could be judged.
    Nothing,
}

impl Loading {
    /// The configuration, if there was no error.
    pub fn whole(self) -> Option<Loaded> {
        match self {
            Self::Whole(loaded) => Some(*loaded),
            Self::Damaged(_) | Self::Nothing => None,
        }
    }
}

impl Damaged {
    /// What is left, with blanks in it: to be judged, not to run.
    pub fn rest(&self) -> &Config {
        &self.config
    }

    /// Those problems found in [`Self::rest`] that are none of the damage's, where they are written.
    pub fn judge(&self, mut found: Report) -> Report {
        mask_report(&self.config, &self.interpolated, &mut found);
        self.damage.filter(found)
    }
}

/// Reads the configuration at `path`. `env` gives the environment's variables. It is whole exactly when the report has
/// no error.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Loading, Report, Sources) {
    let mut loader = Loader::new(env);
    let name = path.display().to_string();
    // This one may be a pipe: `tollgate check <(…)`.
    match read_any(path, LARGEST_FILE) {
        Ok(bytes) => {
            loader.files.push(path.to_owned());
            let directory = path.parent().unwrap_or(Path::new(""));
            loader.main(name, bytes, Some(directory));
        }
        Err(error) => {
            let file = loader.sources.add(name.clone(), String::new());
            let problem = loader.report.error(Place::root(), format!("cannot read {name}: {error}"));
            problem.at(Spot { file, bytes: 0..0 });
        }
    }
    loader.finish()
}

/// Reads a configuration that stands in a text called `name`. There are no files and no environment in it: `include`
/// and placeholders without a default are problems.
pub fn load_text(name: &str, text: impl AsRef<[u8]>) -> (Loading, Report, Sources) {
    let mut loader = Loader::new(&|_| None);
    let text = text.as_ref();
    if u64::try_from(text.len()).is_ok_and(|length| length <= LARGEST_FILE) {
        loader.main(name.to_owned(), text.to_vec(), None);
    } else {
        loader.report.error(Place::root(), format!("{name} is larger than {LARGEST_FILE} bytes"));
    }
    loader.finish()
}

struct Loader<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    report: Report,
    sources: Sources,
    files: Vec<PathBuf>,
    /// How many of the errors are placeholders that stand for nothing.
    unset: usize,
    /// Where the named file is; absent: there are no files.
    directory: Option<PathBuf>,
    /// The merged value, once every file could be parsed.
    value: Option<Value>,
}

impl<'e> Loader<'e> {
    fn new(env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        let (report, sources) = (Report::default(), Sources::default());
        Self { env, report, sources, files: Vec::new(), unset: 0, directory: None, value: None }
    }

    fn main(&mut self, name: String, bytes: Vec<u8>, directory: Option<&Path>) {
        self.directory = directory.map(Path::to_owned);
        let (_, main) = self.document(name, bytes, directory);
        if let Some(main) = main {
            self.value = compose::compose(self, main, directory);
        }
    }

    /// One file with its merges and placeholders resolved, if it is a mapping at all.
    fn document(&mut self, name: String, bytes: Vec<u8>, directory: Option<&Path>) -> (usize, Option<Value>) {
        let (text, parsed) = parse::parse(bytes);
        let file = self.sources.add(name, text);
        let mut value = match parsed {
            Ok(value) => value,
            Err(fail) => {
                self.refuse(file, fail);
                return (file, None);
            }
        };
        let mut faults = Vec::new();
        parse::merge(&mut value, &Place::root(), &mut faults);
        self.faults_in(file, faults);
        let mut unset = Vec::new();
        let mut world = World { env: self.env, directory, files: &mut self.files };
        placeholder::resolve(&mut value, &Place::root(), &mut world, &mut unset);
        self.unset += unset.len().min(MOST_FAULTS);
        self.faults_in(file, unset);
        (file, Some(value))
    }

    /// Reports what made a file unreadable as YAML.
    fn refuse(&mut self, file: usize, fail: Fail) {
        let start = match (fail.char, self.sources.file(file)) {
            (Some(char), Some(source)) => source.byte_of_char(char),
            _ => 0,
        };
        let rest = self.sources.file(file).and_then(|source| source.text.get(start..)).unwrap_or_default();
        let meant = rest.chars().take(fail.width).take_while(|char| !matches!(char, '\r' | '\n'));
        let end = start + meant.map(char::len_utf8).sum::<usize>();
        let problem = self.report.error(Place::root(), fail.message);
        problem.at(Spot { file, bytes: start..end });
        if let Some(help) = fail.help {
            problem.help(help);
        }
    }

    /// Reports faults at places of one file.
    fn faults_in(&mut self, file: usize, faults: Vec<Fault>) {
        if faults.is_empty() {
            return;
        }
        let locator = Locator::new(&self.sources);
        for fault in faults.into_iter().take(MOST_FAULTS) {
            let spot = locator.find(file, &fault.place, fault.on);
            self.report.fault(fault).at(spot);
        }
    }

    fn finish(mut self) -> (Loading, Report, Sources) {
        let loading = match self.value.take() {
            Some(value) if is_other_version(&value) => {
                self.refuse_version();
                Loading::Nothing
            }
            Some(value) => self.decode(&value),
            None => Loading::Nothing,
        };
        if self.report.problems().len() >= MOST_FAULTS {
            self.report.warning(Place::root(), "there may be more problems than are shown here");
        }
        (loading, self.report, self.sources)
    }

    fn decode(&mut self, value: &Value) -> Loading {
        // Of what is wrong with files, only placeholders have their place in the value.
        let is_complete = self.report.errors() == self.unset;
        let (mut config, mut damage) = match read::<Config>(value) {
            Decoded::Whole(config) => (config, Box::default()),
            Decoded::Faulty { faults, rest } => {
                faults.into_iter().for_each(|fault| _ = self.report.fault(fault));
                match rest {
                    Some(rest) => rest,
                    None => return Loading::Nothing,
                }
            }
        };
        let (mut interpolated, mut unset) = (Vec::new(), Vec::new());
        placeholder::places(value, &Place::root(), &mut interpolated, &mut unset);
        unset.into_iter().for_each(|place| damage.lose(place));
        if config.version != VERSION && !damage.hides(&Place::root().key("version")) {
            self.refuse_version();
            return Loading::Nothing;
        }
        config.schema_files = schemas::load(self, &config, &mut damage);
        if !self.report.has_errors() && damage.is_empty() {
            let text_hash = hash(value, config.schema_files.files.iter().map(|file| &file.schema));
            let files = std::mem::take(&mut self.files);
            return Loading::Whole(Box::new(Loaded { config, text_hash, interpolated, files }));
        }
        if !is_complete {
            return Loading::Nothing;
        }
        let interpolated = interpolated.iter().filter_map(|place| damage.left(place)).collect();
        Loading::Damaged(Box::new(Damaged { config, damage: *damage, interpolated }))
    }

    fn refuse_version(&mut self) {
        let problem = self.report.error(Place::root().key("version"), "this version of the format is not known");
        problem.help(format!("expected {VERSION}"));
    }
}

/// Whether the file says that it is of another version: then nothing else in it can be judged.
fn is_other_version(value: &Value) -> bool {
    value.get("version").is_some_and(|version| version.is_number() && version.as_u64() != Some(VERSION.into()))
}

/// A fault at a value.
fn fault(place: &Place, on: On, message: String, help: &str) -> Fault {
    Fault { place: place.clone(), on, message, help: Some(help.to_owned()) }
}

/// Reads a file that a configuration names. Nothing but a regular file is opened: a pipe may never end, or never begin.
fn read_file(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    read_any(path, largest)
}

fn read_any(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= largest) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {largest} bytes")))
}

/// The SHA-256 of a value and of the schemas it names. Each node is written with its kind and length, so that no two
/// values are written alike.
fn hash<'s>(value: &Value, schemas: impl Iterator<Item = &'s serde_json::Value>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    write_node(&mut context, value);
    for schema in schemas {
        let text = schema.to_string();
        context.update(b"j");
        context.update(&text.len().to_le_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_node(context: &mut digest::Context, value: &Value) {
    let mut write = |kind: u8, length: usize, bytes: &[u8]| {
        context.update(&[kind]);
        context.update(&length.to_le_bytes());
        context.update(bytes);
    };
    match value {
        Value::Null => write(b'n', 0, b""),
        Value::Bool(value) => write(b'b', usize::from(*value), b""),
        Value::Number(number) => {
            let text = number.to_string();
            write(b'd', text.len(), text.as_bytes());
        }
        Value::String(text) => write(b's', text.len(), text.as_bytes()),
        Value::Sequence(elements) => {
            write(b'l', elements.len(), b"");
            elements.iter().for_each(|element| write_node(context, element));
        }
        Value::Mapping(mapping) => {
            write(b'm', mapping.len(), b"");
            for (key, value) in mapping {
                write_node(context, key);
                write_node(context, value);
            }
        }
        Value::Tagged(tagged) => write_node(context, &tagged.value),
    }
}
