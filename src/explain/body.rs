//! What becomes of a body: members of a JSON document at every level, fields of a form, or all of it at once.
//!
//! The kinds are told by what the messages say of themselves. A multipart form is cut at its boundary, which is all that
//! it takes for one that the gateway has let pass.

use serde_json::Value;

use crate::proxy::rehearse::Message;

use super::parameters::{Fate, Pair, Parameter, compared, pairs_of, shown};

const PLACE: &str = "body";

/// What becomes of a body.
fn whole(sent: &Message, goes: &Message) -> Vec<Parameter> {
    let size = |message: &Message| (!message.body.is_empty()).then(|| format!("{} bytes", message.body.len()));
    let (came, goes_on) = (size(sent), size(goes));
    let (fate, note) = match (&came, &goes_on) {
        (None, None) => return Vec::new(),
        (Some(_), None) => (Fate::Dropped, "no body is declared"),
        _ if sent.body == goes.body => (Fate::Kept, "byte for byte"),
        _ => (Fate::Changed, ""),
    };
    vec![Parameter { place: PLACE, name: "(all)".to_owned(), came, goes: goes_on, fate, note: note.to_owned() }]
}

/// What becomes of each part of a body.
fn by_parts(sent: &Message, goes: &Message) -> Option<Vec<Parameter>> {
    // A body that the contract reads as JSON needs no type.
    let (came, left) = (json(sent), json(goes));
    if let (Some(before), Some(after)) = (&came, &left)
        && is_json(goes)
    {
        let mut all = Vec::new();
        walk("", Some(before), Some(after), &mut all);
        return Some(all);
    }
    match (fields(sent), fields(goes)) {
        (Some(before), Some(after)) => Some(compared(PLACE, &before, &after)),
        (None, Some(after)) if sent.body.is_empty() => Some(compared(PLACE, &[], &after)),
        _ if sent.body.is_empty() && is_json(goes) => {
            let mut all = Vec::new();
            walk("", None, left.as_ref(), &mut all);
            Some(all)
        }
        _ => None,
    }
}

/// Both sides of a body.
pub fn both_sides(sent: &Message, goes: &Message) -> Vec<Parameter> {
    if sent.body == goes.body && media(sent) == media(goes) && json(sent).is_none() && fields(sent).is_none() {
        return whole(sent, goes);
    }
    by_parts(sent, goes).unwrap_or_else(|| whole(sent, goes))
}

/// The parts of a body by the names that violations give them.
pub fn pairs(sent: &Message) -> Vec<Pair> {
    if let Some(document) = json(sent) {
        let mut pairs = Vec::new();
        flatten("", &document, &mut pairs);
        return pairs;
    }
    fields(sent).unwrap_or_default()
}

fn media(message: &Message) -> String {
    let value = message.values("content-type").next().unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn is_json(message: &Message) -> bool {
    let essence = media(message).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// A body that says nothing else is read as JSON where it is JSON.
fn json(message: &Message) -> Option<Value> {
    if !is_json(message) && !media(message).is_empty() {
        return None;
    }
    serde_json::from_slice(&message.body).ok()
}

/// The fields of a form.
fn fields(message: &Message) -> Option<Vec<Pair>> {
    let media = media(message);
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Some(pairs_of(std::str::from_utf8(&message.body).ok()?)),
        "multipart/form-data" => {
            let boundary = media.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
            Some(parts(&message.body, boundary.trim_matches('"')))
        }
        _ => None,
    }
}

/// The parts of a multipart form: texts as they are, files by name, type and size.
fn parts(body: &[u8], boundary: &str) -> Vec<Pair> {
    let delimiter = format!("\r\n--{boundary}");
    let whole = [b"\r\n", body].concat();
    let ends: Vec<usize> = memchr::memmem::find_iter(&whole, delimiter.as_bytes()).collect();
    let pieces = ends.windows(2).map(|pair| &whole[pair[0] + delimiter.len()..pair[1]]);
    pieces.filter_map(part).collect()
}

fn part(piece: &[u8]) -> Option<Pair> {
    let end = memchr::memmem::find(piece, b"\r\n\r\n")?;
    let (head, content) = (String::from_utf8_lossy(&piece[..end]), &piece[end + 4..]);
    let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let parameter = |name: &str| {
        let (_, rest) = disposition.split_once(&format!("; {name}=\""))?;
        Some(rest.split('"').next().unwrap_or_default().to_owned())
    };
    let name = parameter("name")?;
    let value = match parameter("filename") {
        Some(file) => format!("file {file}, {} bytes", content.len()),
        None => String::from_utf8_lossy(content).into_owned(),
    };
    Some((name, value))
}

/// Both sides of a value and of all that is in it.
fn walk(name: &str, came: Option<&Value>, goes: Option<&Value>, all: &mut Vec<Parameter>) {
    match (came, goes) {
        (Some(Value::Object(before)), Some(Value::Object(after))) if !(before.is_empty() && after.is_empty()) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                walk(&below(name, key), before.get(key), after.get(key), all);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() && !after.is_empty() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                walk(&below(name, &index.to_string()), Some(before), Some(after), all);
            }
        }
        (None, Some(Value::Object(after))) if name.is_empty() => {
            for (key, after) in after {
                walk(key, None, Some(after), all);
            }
        }
        _ => {
            let (fate, note) = match (came, goes) {
                (Some(_), None) => (Fate::Dropped, "not declared"),
                (None, _) => (Fate::FilledIn, ""),
                (Some(before), Some(after)) if before == after => (Fate::Kept, ""),
                (Some(_), Some(_)) => (Fate::Changed, ""),
            };
            let text = |value: Option<&Value>| value.map(|value| shown(&value.to_string()));
            let name = if name.is_empty() { "(all)" } else { name };
            all.push(Parameter {
                place: PLACE,
                name: name.to_owned(),
                came: text(came),
                goes: text(goes),
                fate,
                note: note.to_owned(),
            });
        }
    }
}

/// Every value of a document by the way to it.
fn flatten(name: &str, value: &Value, pairs: &mut Vec<Pair>) {
    pairs.push((name.to_owned(), value.to_string()));
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| flatten(&below(name, key), value, pairs)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&below(name, &index.to_string()), item, pairs));
        }
        _ => {}
    }
}

fn below(name: &str, step: &str) -> String {
    if name.is_empty() { step.to_owned() } else { format!("{name}.{step}") }
}
