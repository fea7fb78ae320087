//! `type: file`: what a form's file must be, compiled or refused with every fault at once.
//!
//! A file is no JSON: of the words of JSON Schema it takes only those that document. Its own are `max_size`, whose
//! grammar is the configuration's and comes in from there, and `content_types`, which are compared with what the client
//! says of the part. Nobody looks into the content.

use serde_json::{Map, Value};

use crate::policy::contract::grammar::{self, Blame, FILE_WORDS, PointerStep, SchemaFault, fault};
use crate::policy::contract::media_type::{MediaType, is_token};
use crate::policy::contract::parameter::{Declared, presence_faults};
use crate::policy::contract::rules::{Counted, Span};
use crate::policy::contract::schema::MISSING;
use crate::policy::contract::violation::{At, ViolationKind as Kind, Violations};

/// The words for a list of files beside those that document.
const LIST_WORDS: [&str; 4] = ["type", "items", "minItems", "maxItems"];

/// The words that document.
const DOCUMENTING: [&str; 6] = ["title", "description", "examples", "deprecated", "$comment", "writeOnly"];

/// Reads a size as the configuration writes it.
pub type ReadSize<'a> = &'a dyn Fn(&Value) -> Result<u64, String>;

/// A compiled file, or list of files, of a form.
#[derive(Debug)]
pub struct FileParameter {
    pub(in crate::policy::contract) name: Box<str>,
    pub(in crate::policy::contract) count: FileCount,
    rules: FileRules,
    optional: bool,
}

/// How many files a name stands for.
#[derive(Debug)]
pub(in crate::policy::contract) enum FileCount {
    /// The last one counts.
    One,
    /// All count.
    Many(Span),
}

/// What each file must be.
#[derive(Debug)]
struct FileRules {
    max_size: Option<u64>,
    types: Vec<MediaRange>,
    types_msg: String,
}

/// `image/png` or `image/*`, in lower case.
#[derive(Debug, PartialEq, Eq)]
enum MediaRange {
    Exactly(Box<str>),
    /// With the slash at its end.
    Under(Box<str>),
}

/// One file as it came.
pub(in crate::policy::contract) struct Sent<'a> {
    /// Whether it has a file name.
    pub(super) named: bool,
    pub(super) media: Option<MediaType<'a>>,
    pub(super) length: u64,
}

impl FileParameter {
    /// Whether a declaration is meant as a file or a list of them.
    pub fn is_declared(schema: &Map<String, Value>) -> bool {
        type_of(schema) == Some("file") || items(schema).is_some()
    }

    /// Compiles a declaration that is meant as a file, or says everything that is wrong with it.
    pub fn compile(declared: Declared<'_>, size: ReadSize<'_>) -> Result<Self, Vec<SchemaFault>> {
        let mut faults = Vec::from_iter(presence_faults(declared));
        if declared.default.is_some() {
            faults.push(keyword(&["default"], "a file has no default", Some("say `optional: true`")));
        }
        let items = items(declared.schema).filter(|_| type_of(declared.schema) != Some("file"));
        if items.is_some() && type_of(declared.schema) != Some("array") {
            faults.push(fault(&["type"], "must be `array`: there are `items`"));
        }
        let (count, rules) = match items {
            Some(items) => {
                lint(declared.schema, &[], &LIST_WORDS, "a list of files", &mut faults);
                faults.extend(grammar::faults(&only(declared.schema, &["minItems", "maxItems"])));
                let span = Span::build(declared.schema, "minItems", "maxItems");
                (FileCount::Many(span), FileRules::read(items, &["items"], size, &mut faults))
            }
            None => (FileCount::One, FileRules::read(declared.schema, &[], size, &mut faults)),
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { name: declared.name.into(), count, rules, optional: declared.optional })
    }

    /// The largest file, in bytes, where that is said.
    pub fn max_size(&self) -> Option<u64> {
        self.rules.max_size
    }

    /// Whether a file may be of this type.
    pub(super) fn may_be(&self, media: Option<&MediaType<'_>>) -> bool {
        self.rules.holds(media)
    }

    /// Whether a file may be of this length.
    pub(super) fn may_have(&self, length: u64) -> bool {
        self.rules.max_size.is_none_or(|max| length <= max)
    }

    /// Checks the files that count.
    pub(in crate::policy::contract) fn check(&self, files: &[Sent<'_>], at: &At<'_>, violations: &mut Violations) {
        if files.is_empty() && !self.optional {
            violations.push(at, Kind::Missing, MISSING);
        }
        for (index, file) in files.iter().enumerate() {
            match &self.count {
                FileCount::One => self.rules.check(file, at, violations),
                FileCount::Many(_) => self.rules.check(file, &at.index(index), violations),
            }
        }
        if let (FileCount::Many(count), false) = (&self.count, files.is_empty()) {
            count.check(files.len(), Counted::Items, &mut |kind, msg| violations.push(at, kind, msg));
        }
    }
}

fn type_of(schema: &Map<String, Value>) -> Option<&str> {
    schema.get("type")?.as_str()
}

/// The items of a list of files.
fn items(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    schema.get("items")?.as_object().filter(|items| type_of(items) == Some("file"))
}

impl FileRules {
    fn read(schema: &Map<String, Value>, at: &[&str], size: ReadSize<'_>, faults: &mut Vec<SchemaFault>) -> Self {
        lint(schema, at, &["type", FILE_WORDS[0], FILE_WORDS[1]], "a file", faults);
        let here = |word| [at, &[word]].concat();
        let max_size = schema
            .get("max_size")
            .and_then(|written| size(written).map_err(|wrong| faults.push(fault(&here("max_size"), wrong))).ok());
        let types = match schema.get("content_types") {
            None => Vec::new(),
            Some(Value::Array(written)) if !written.is_empty() => ranges(written, &here("content_types"), faults),
            Some(_) => {
                let wrong = fault(&here("content_types"), "must be a list of media types");
                faults.push(SchemaFault { help: Some("for example `[image/png, image/jpeg]`".to_owned()), ..wrong });
                Vec::new()
            }
        };
        let words: Vec<_> = types.iter().map(MediaRange::to_string).collect();
        Self { max_size, types, types_msg: format!("must be of type {}", words.join(" or ")) }
    }

    fn holds(&self, media: Option<&MediaType<'_>>) -> bool {
        self.types.is_empty() || media.is_some_and(|media| self.types.iter().any(|range| range.holds(&media.essence)))
    }

    fn check(&self, file: &Sent<'_>, at: &At<'_>, violations: &mut Violations) {
        if !file.named {
            return violations.push(at, Kind::FileType, "must be a file");
        }
        if !self.holds(file.media.as_ref()) {
            violations.push(at, Kind::FileContentType, self.types_msg.clone());
        }
        if let Some(max) = self.max_size.filter(|max| file.length > *max) {
            violations.push(at, Kind::FileTooLarge, format!("must have at most {max} bytes"));
        }
    }
}

impl MediaRange {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (kind, subtype) = text.split_once('/')?;
        match subtype {
            _ if !is_token(kind) || kind == "*" => None,
            "*" => Some(Self::Under(format!("{kind}/").into())),
            _ if is_token(subtype) && !subtype.contains('*') => Some(Self::Exactly(text.into())),
            _ => None,
        }
    }

    fn holds(&self, essence: &str) -> bool {
        match self {
            Self::Exactly(only) => **only == *essence,
            Self::Under(kind) => essence.starts_with(&**kind),
        }
    }
}

impl std::fmt::Display for MediaRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(only) => f.write_str(only),
            Self::Under(kind) => write!(f, "{kind}*"),
        }
    }
}

fn ranges(written: &[Value], at: &[&str], faults: &mut Vec<SchemaFault>) -> Vec<MediaRange> {
    let mut ranges = Vec::new();
    for (index, value) in written.iter().enumerate() {
        let here = |message| {
            let mut wrong = fault(at, message);
            wrong.pointer.push(index.into());
            wrong
        };
        match value.as_str().and_then(MediaRange::parse) {
            Some(range) if ranges.contains(&range) => faults.push(here("is listed already")),
            Some(range) => ranges.push(range),
            None => {
                let help = "a media type without parameters such as `image/png`, or `image/*`";
                faults.push(SchemaFault { help: Some(help.to_owned()), ..here("is no media type") });
            }
        }
    }
    ranges
}

/// Words that make no sense, and documenting ones of the wrong shape.
fn lint(schema: &Map<String, Value>, at: &[&str], words: &[&str], what: &str, faults: &mut Vec<SchemaFault>) {
    for word in schema.keys().map(String::as_str).filter(|word| !words.contains(word) && !DOCUMENTING.contains(word)) {
        let here = [at, &[word]].concat();
        if grammar::is_keyword(word) || FILE_WORDS.contains(&word) {
            faults.push(keyword(&here, format!("`{word}` makes no sense for {what}"), Some("remove it")));
        } else {
            let known = words.iter().chain(&DOCUMENTING).copied().chain(["optional"]);
            let help = grammar::did_you_mean(word, known);
            faults.push(SchemaFault { help, ..keyword(&here, format!("unknown keyword `{word}`"), None) });
        }
    }
    let mut documenting = grammar::faults(&only(schema, &DOCUMENTING));
    for wrong in &mut documenting {
        wrong.pointer.splice(0..0, at.iter().copied().map(PointerStep::from));
    }
    faults.append(&mut documenting);
}

fn only(schema: &Map<String, Value>, words: &[&str]) -> Map<String, Value> {
    let chosen = schema.iter().filter(|(word, _)| words.contains(&word.as_str()));
    chosen.map(|(word, value)| (word.clone(), value.clone())).collect()
}

fn keyword(at: &[&str], message: impl Into<String>, help: Option<&str>) -> SchemaFault {
    SchemaFault { blame: Blame::Keyword, help: help.map(str::to_owned), ..fault(at, message) }
}
