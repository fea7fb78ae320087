//! `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}`, `${credential:NAME}` in string values; `$${` is a literal
//! `${`.
//!
//! What a placeholder stood for is not looked at again. A string that changed is put under a tag, which tells the
//! decoder what it may become, and everyone else that it must not be shown.

use std::path::{Path, PathBuf};

use serde_yaml::Value;
use serde_yaml::value::{Tag, TaggedValue};

use super::{fault, read_file};
use crate::config::decode::{Fault, PART, UNKNOWN, WHOLE};
use crate::config::place::{On, Place};

/// The largest file that `${file:…}` reads.
const LARGEST_VALUE: u64 = 1 << 20;
const TEXT_FILE: &str = "a text file of at most 1 MiB is expected";
const FORMS: &str = "write `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}`, `${credential:NAME}`, or `$${` for a \
                     plain `${`";

/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// What placeholders stand for.
pub(super) struct World<'w> {
    /// The environment.
    pub(super) env: &'w dyn Fn(&str) -> Option<String>,
    /// Where relative paths begin; absent: there are no files.
    pub(super) directory: Option<&'w Path>,
    /// The files that were read.
    pub(super) files: &'w mut Vec<PathBuf>,
}

/// A message and what would be right.
type Refusal = (String, &'static str);

/// A piece of a string.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    /// What stands between `${` and `}`.
    Placeholder(&'t str),
    /// A `${` without an end.
    Open,
}

/// Replaces the placeholders of every string in `value`.
pub(super) fn resolve(value: &mut Value, place: &Place, world: &mut World<'_>, faults: &mut Vec<Fault>) {
    match value {
        Value::String(text) if text.contains("${") => match replaced(text, world) {
            Ok(new) => *value = new,
            Err((message, help)) => {
                faults.push(fault(place, On::Value, message, help));
                *value = tagged(UNKNOWN, String::new());
            }
        },
        Value::Sequence(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                if may_hold(element) {
                    resolve(element, &place.clone().index(index), world, faults);
                }
            }
        }
        Value::Mapping(mapping) => {
            for (key, value) in mapping.iter_mut() {
                if may_hold(value) {
                    resolve(value, &place.clone().key(key.as_str().unwrap_or_default()), world, faults);
                }
            }
        }
        _ => {}
    }
}

/// Where the values are that came from placeholders, and those whose placeholder stands for nothing.
pub(super) fn places(value: &Value, place: &Place, found: &mut Vec<Place>, unset: &mut Vec<Place>) {
    match value {
        Value::Tagged(tagged) if tagged.tag == UNKNOWN => unset.push(place.clone()),
        Value::Tagged(_) => found.push(place.clone()),
        Value::Sequence(elements) => {
            for (index, element) in elements.iter().enumerate().filter(|(_, element)| is_branch(element)) {
                places(element, &place.clone().index(index), found, unset);
            }
        }
        Value::Mapping(mapping) => {
            for (key, value) in mapping.iter().filter(|(_, value)| is_branch(value)) {
                places(value, &place.clone().key(key.as_str().unwrap_or_default()), found, unset);
            }
        }
        _ => {}
    }
}

/// Spares a `Place` for every plain scalar.
fn may_hold(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        value => is_branch(value),
    }
}

fn is_branch(value: &Value) -> bool {
    matches!(value, Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_))
}

fn replaced(text: &str, world: &mut World<'_>) -> Result<Value, Refusal> {
    let pieces = split(text);
    let mut new = String::new();
    for piece in &pieces {
        match piece {
            Piece::Text(text) => new.push_str(text),
            Piece::Placeholder(inner) => new.push_str(&stands_for(inner, world)?),
            Piece::Open => return Err(("the placeholder has no end".to_owned(), FORMS)),
        }
    }
    let tag = match pieces.as_slice() {
        [Piece::Placeholder(_)] => WHOLE,
        pieces if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) => return Ok(new.into()),
        _ => PART,
    };
    Ok(tagged(tag, new))
}

fn tagged(tag: &str, text: String) -> Value {
    Value::Tagged(Box::new(TaggedValue { tag: Tag::new(tag), value: text.into() }))
}

fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("${") {
        let (before, after) = (&rest[..open], &rest[open + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            // The second dollar and the brace stay.
            pieces.extend([Piece::Text(before), Piece::Text("${")]);
            rest = after;
            continue;
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let Some(end) = after.find('}') else {
            pieces.push(Piece::Open);
            return pieces;
        };
        pieces.push(Piece::Placeholder(&after[..end]));
        rest = &after[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

fn stands_for(inner: &str, world: &mut World<'_>) -> Result<String, Refusal> {
    match inner.split_once(':') {
        Some(("env", variable)) => {
            let (name, default) = match variable.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (variable, None),
            };
            if !is_variable(name) {
                return Err((format!("`{name}` is no name of a variable"), FORMS));
            }
            let value = (world.env)(name).or_else(|| default.map(str::to_owned));
            value.ok_or_else(|| {
                let message = format!("the environment variable `{name}` is not set");
                (message, "set it, or write `${env:NAME:-default}`")
            })
        }
        Some(("file", path)) if !path.is_empty() => contents(path, world),
        Some(("credential", name)) => credential(name, world),
        _ => Err(("this placeholder has no known form".to_owned(), FORMS)),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// What `LoadCredential=` or `SetCredential=` of the unit gives.
fn credential(name: &str, world: &mut World<'_>) -> Result<String, Refusal> {
    const HELP: &str = "the unit gives it with `LoadCredential=NAME:/path`";
    if name.is_empty() || name.contains('/') || [".", ".."].contains(&name) {
        return Err((format!("`{name}` is no name of a credential"), FORMS));
    }
    let Some(directory) = (world.env)(CREDENTIALS) else {
        return Err((format!("there is no credential `{name}` outside of a systemd unit that has credentials"), HELP));
    };
    let path = Path::new(&directory).join(name);
    if !path.exists() {
        return Err((format!("the unit has no credential `{name}`"), HELP));
    }
    read(&format!("credential `{name}`"), path, world)
}

fn contents(path: &str, world: &mut World<'_>) -> Result<String, Refusal> {
    let Some(directory) = world.directory else {
        return Err((format!("cannot read {path}: this text has no files"), TEXT_FILE));
    };
    let full = directory.join(path);
    read(path, full, world)
}

/// Reads a file, which a report calls by this name.
fn read(name: &str, path: PathBuf, world: &mut World<'_>) -> Result<String, Refusal> {
    let bytes = read_file(&path, LARGEST_VALUE).map_err(|error| (format!("cannot read {name}: {error}"), TEXT_FILE))?;
    let Ok(mut text) = String::from_utf8(bytes) else {
        return Err((format!("{name} is not UTF-8 text"), TEXT_FILE));
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    world.files.push(path);
    Ok(text)
}
