//! Who may call, as the document's security says it.
//!
//! An `apiKey` scheme becomes an authenticator; the service goes on to see the key, since it asks for it. Other schemes
//! have no counterpart: their routes ask for a key. A document that says nothing at all gets a key too, because saying
//! nothing is not saying that everyone may call.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::Auth;
use super::document::Document;
use super::naming;

/// The header of a key that nobody named one for.
const USUAL_HEADER: &str = "x-api-key";
/// The authenticator that stands in for what has no counterpart.
const STAND_IN: &str = "key";
/// Most authenticators of a document.
const MAX_SCHEMES: usize = 100;

/// What the document and the caller say of callers.
pub(super) struct Security {
    /// By the scheme's name in the document: the authenticator's name and what it is.
    schemes: IndexMap<String, (String, Value)>,
    /// What the caller wants instead.
    wanted: Option<Auth>,
    /// Whether anything in the document asks for a credential.
    says_something: bool,
    default: Access,
}

/// Who may call one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    Public,
    Any(Vec<String>),
}

impl Security {
    pub(super) fn new(document: &Document, wanted: Option<&Auth>) -> Self {
        let schemes = schemes(document);
        let says_something = document.root.get("security").is_some_and(asks)
            || operations(document).any(|operation| operation.get("security").is_some_and(asks));
        let mut security = Self { schemes, wanted: wanted.cloned(), says_something, default: Access::Public };
        security.default = match wanted {
            Some(Auth::Public) => Access::Public,
            Some(Auth::Any(names)) => Access::Any(names.clone()),
            None => match document.root.get("security") {
                Some(requirements) if asks(requirements) => security.asked(requirements).0,
                // What the first operation asks for that asks for anything.
                _ => operations(document)
                    .filter_map(|operation| operation.get("security").filter(|requirements| asks(requirements)))
                    .map(|requirements| security.asked(requirements).0)
                    .find(|access| *access != Access::Public)
                    .unwrap_or_else(|| Access::Any(vec![security.usual()])),
            },
        };
        security
    }

    /// Who may call a route, where that is not the default; and what is to be said of it.
    pub(super) fn of(&self, document: &Document, operation: &Map<String, Value>) -> (Option<Access>, Vec<String>) {
        if self.wanted.is_some() || !self.says_something {
            return (None, Vec::new());
        }
        let requirements = operation.get("security").or_else(|| document.root.get("security"));
        let (access, notes) = match requirements {
            Some(requirements) if asks(requirements) => self.asked(requirements),
            _ => (Access::Public, Vec::new()),
        };
        ((access != self.default).then_some(access), notes)
    }

    /// `defaults` of the file.
    pub(super) fn defaults(&self) -> Value {
        json!({ "auth": self.default.value() })
    }

    /// The authenticators with these names, and those of the default.
    pub(super) fn authenticators(&self, used: &BTreeSet<String>) -> Map<String, Value> {
        let mut names: Vec<&String> = self.default.names().iter().collect();
        names.extend(used.iter().filter(|name| !self.default.names().contains(name)));
        let value = |name: &String| {
            let known = self.schemes.values().find(|(known, _)| known == name);
            known.map_or_else(|| json!({ "api_key": { "header": USUAL_HEADER } }), |(_, value)| value.clone())
        };
        names.into_iter().map(|name| (name.clone(), value(name))).collect()
    }

    /// What is to be said once, above these authenticators.
    pub(super) fn notes(&self, authenticators: &Map<String, Value>) -> Vec<String> {
        let mut notes = Vec::new();
        if self.wanted.is_none() && !self.says_something {
            notes.push(
                "The document does not say who may call, so a key is asked for (`--auth public`: everyone).".into(),
            );
        }
        if !authenticators.is_empty() {
            notes.push(
                "Nobody has a key yet: add `consumers: { NAME: { api_keys: [{ sha256: … }] } }`, with what \
                 `printf %s \"$KEY\" | sha256sum` prints."
                    .into(),
            );
        }
        notes
    }

    /// Who satisfies a list of alternatives, each of which may ask for several schemes at once.
    fn asked(&self, requirements: &Value) -> (Access, Vec<String>) {
        let mut names: Vec<String> = Vec::new();
        let mut notes = Vec::new();
        for alternative in requirements.as_array().into_iter().flatten().filter_map(Value::as_object).take(MAX_SCHEMES)
        {
            let mut schemes = alternative.keys();
            match (schemes.next(), schemes.next()) {
                (None, _) => return (Access::Public, vec!["a credential is optional: everyone may call".to_owned()]),
                (Some(scheme), None) => match self.schemes.get(scheme) {
                    Some((name, _)) if names.contains(name) => {}
                    Some((name, _)) => names.push(name.clone()),
                    None => notes
                        .push(format!("security scheme `{scheme}` has no counterpart: no credential of it is checked")),
                },
                _ => notes.push("several security schemes at once have no counterpart".to_owned()),
            }
        }
        if names.is_empty() {
            let key = self.usual();
            notes.push(format!("`{key}` is asked for instead; `auth: public` leaves the check to the service"));
            names.push(key);
        }
        (Access::Any(names), notes)
    }

    /// The name of the authenticator that stands in: that of the only scheme there is, or one of its own.
    fn usual(&self) -> String {
        let taken = |name: &str| self.schemes.values().any(|(known, _)| known == name);
        let mut name = STAND_IN.to_owned();
        while taken(&name) {
            name.push_str("-2");
        }
        name
    }
}

impl Access {
    /// The authenticators of it.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::Public => &[],
            Self::Any(names) => names,
        }
    }

    pub(super) fn value(&self) -> Value {
        match self {
            Self::Public => "public".into(),
            Self::Any(names) => names.as_slice().into(),
        }
    }
}

/// Everything in a path item that may be an operation.
fn operations(document: &Document) -> impl Iterator<Item = &Value> {
    let items = document.root.get("paths").and_then(Value::as_object).into_iter().flatten();
    items.filter_map(|(_, item)| item.as_object()).flatten().map(|(_, operation)| operation)
}

/// Whether a `security` asks for anything: an empty list says that nothing is asked for.
fn asks(requirements: &Value) -> bool {
    requirements.as_array().is_some_and(|alternatives| !alternatives.is_empty())
}

/// The `apiKey` schemes of a document.
fn schemes(document: &Document) -> IndexMap<String, (String, Value)> {
    let written = document.root.get("components").and_then(|components| components.get("securitySchemes")?.as_object());
    let mut schemes: IndexMap<String, (String, Value)> = IndexMap::new();
    for (scheme, value) in written.into_iter().flatten().take(MAX_SCHEMES) {
        let value = document.resolve(value).unwrap_or(value);
        let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let (place, key) = (field("in"), field("name"));
        let is_token = !key.is_empty() && key.len() <= 100 && key.bytes().all(is_token_byte);
        if field("type") != "apiKey" || !["header", "query", "cookie"].contains(&place) || !is_token {
            continue;
        }
        let base = naming::legal(scheme);
        let base = if base.is_empty() { STAND_IN.to_owned() } else { base };
        let mut name = base.clone();
        let mut nth = 1;
        while schemes.values().any(|(known, _)| *known == name) {
            nth += 1;
            name = format!("{base}-{nth}");
        }
        let written = if place == "header" { key.to_ascii_lowercase() } else { key.to_owned() };
        schemes.insert(scheme.clone(), (name, json!({ "api_key": { place: written, "forward": true } })));
    }
    schemes
}

/// A byte of a header's or cookie's name.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
