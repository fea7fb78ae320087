//! Names and paths of routes.
//!
//! A route's name comes from its operation id, without what FastAPI appends to it, or from method and path. OpenAPI
//! lets a path's parameters have any name; a template's are identifiers, so some are renamed, in both paths alike.

use std::collections::{HashMap, HashSet};

use percent_encoding::percent_encode_byte;

/// Longest name that is made.
const LONGEST_NAME: usize = 80;
/// Longest path.
const LONGEST_PATH: usize = 2000;
/// Longest operation id that is kept.
const LONGEST_ID: usize = 200;

/// Names given so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Of routes.
    routes: HashSet<String>,
    /// Operation ids, those that come from a name too.
    operations: HashSet<String>,
    /// The last number that a name was given with.
    wanted: HashMap<String, usize>,
}

/// What a route is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    /// Where it is not the name.
    pub(super) operation_id: Option<String>,
    /// An operation id that another route has already, or that is too long.
    pub(super) refused_id: Option<String>,
}

/// A path as a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) template: String,
    /// Its parameters: the name in the document, the name in the template.
    pub(super) parameters: Vec<(String, String)>,
}

impl Names {
    /// Names the route of an operation.
    pub(super) fn give(&mut self, method: &str, path: &str, operation_id: Option<&str>) -> Named {
        let written = operation_id.filter(|id| !id.is_empty());
        let base = written.map(|id| without_suffix(id, method, path)).map(|id| legal(&id)).filter(|id| !id.is_empty());
        let base = base.unwrap_or_else(|| legal(&format!("{method}-{path}")));
        let id = written.filter(|id| id.len() <= LONGEST_ID && !self.operations.contains(*id));
        let refused_id = written.filter(|_| id.is_none()).map(str::to_owned);
        let name = self.free(&base, method, id);
        let operation_id = id.filter(|id| *id != name).map(str::to_owned);
        self.operations.insert(operation_id.clone().unwrap_or_else(|| name.clone()));
        self.routes.insert(name.clone());
        Named { name, operation_id, refused_id }
    }

    /// The name itself, with the method, or with the first free number.
    fn free(&mut self, base: &str, method: &str, id: Option<&str>) -> String {
        let is_free = |names: &Self, name: &str| {
            !names.routes.contains(name) && (id.is_some_and(|id| id != name) || !names.operations.contains(name))
        };
        let with_method = format!("{base}-{}", method.to_ascii_lowercase());
        if let Some(name) = [base, &with_method].into_iter().find(|name| is_free(self, name)) {
            return name.to_owned();
        }
        // Numbers below were tried before, so that many of one name do not cost their square.
        let mut nth = self.wanted.get(base).copied().unwrap_or(1);
        let name = loop {
            nth += 1;
            let name = format!("{base}-{nth}");
            if is_free(self, &name) {
                break name;
            }
        };
        self.wanted.insert(base.to_owned(), nth);
        name
    }
}

/// FastAPI's ids are the function's name, the path and the method: `read_user_v1_users__id__get`.
fn without_suffix(id: &str, method: &str, path: &str) -> String {
    let path: String =
        path.chars().map(|char| if char.is_alphanumeric() || char == '_' { char } else { '_' }).collect();
    let suffix = format!("{path}_{}", method.to_ascii_lowercase());
    match id.strip_suffix(&suffix) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => id.to_owned(),
    }
}

/// `read_user` becomes `read-user`; what a name cannot have becomes a dash.
pub(super) fn legal(text: &str) -> String {
    let mut name = String::new();
    for char in text.chars() {
        let char = if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' };
        if char != '-' || !(name.is_empty() || name.ends_with('-')) {
            name.push(char);
        }
        if name.len() == LONGEST_NAME {
            break;
        }
    }
    name.trim_matches(['-', '.']).to_owned()
}

/// Reads a path of the document. What a template cannot say at all is the error; whether the gateway takes the rest is
/// decided elsewhere.
pub(super) fn path(text: &str) -> Result<Path, String> {
    if text.len() > LONGEST_PATH {
        return Err("it is too long".to_owned());
    }
    let mut template = String::new();
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let literal = rest.find(['{', '}']).map_or(rest, |at| &rest[..at]);
        literal_text(literal, &mut template)?;
        rest = &rest[literal.len()..];
        if rest.is_empty() {
            break;
        }
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((inside, after)) = inside else { return Err("its braces do not pair".to_owned()) };
        let (name, star) = parameter(inside, template.ends_with('/') && after.is_empty())?;
        if parameters.iter().any(|(known, _)| known == name) {
            return Err(format!("its parameter `{name}` stands there twice"));
        }
        let taken: Vec<&str> = parameters.iter().map(|(_, name)| name.as_str()).collect();
        let identifier = identifier(name, &taken);
        template.push_str(if star { "{*" } else { "{" });
        template.push_str(&identifier);
        template.push('}');
        parameters.push((name.to_owned(), identifier));
        rest = after;
    }
    Ok(Path { template, parameters })
}

/// The name between braces, and whether it stands for the rest of the path, as several frameworks write it.
fn parameter(inside: &str, is_last_segment: bool) -> Result<(&str, bool), String> {
    let (name, star) = match inside.split_once(':') {
        Some((name, "path" | ".*" | ".+")) => (name, true),
        Some(_) => return Err(format!("its parameter `{{{inside}}}` has a pattern of its own")),
        None => match inside.strip_prefix('*').or_else(|| inside.strip_suffix(['*', '+'])) {
            Some(name) => (name, true),
            None => (inside, false),
        },
    };
    match (name.is_empty(), star && !is_last_segment) {
        (true, _) => Err("it has a parameter without a name".to_owned()),
        (_, true) => Err(format!("its parameter `{{{inside}}}` is not the whole last segment")),
        _ => Ok((name, star)),
    }
}

/// Spells out the escapes of what a URL cannot hold.
fn literal_text(literal: &str, out: &mut String) -> Result<(), String> {
    if let Some(char) = literal.chars().find(|char| matches!(char, '?' | '#' | '\\') || char.is_control()) {
        return Err(format!("a path has no `{}`", char.escape_default()));
    }
    for (at, char) in literal.char_indices() {
        let mut follows = literal.bytes().skip(at + 1);
        let escape = char == '%' && (0..2).all(|_| follows.next().is_some_and(|byte| byte.is_ascii_hexdigit()));
        if escape || (char.is_ascii() && !" \"<>^`|[]%".contains(char)) {
            out.push(char);
            continue;
        }
        let mut bytes = [0; 4];
        char.encode_utf8(&mut bytes).bytes().for_each(|byte| out.push_str(percent_encode_byte(byte)));
    }
    Ok(())
}

/// A name that templates can have and that is not taken.
fn identifier(name: &str, taken: &[&str]) -> String {
    let mut base: String =
        name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).take(LONGEST_NAME).collect();
    if base.starts_with(|first: char| first.is_ascii_digit()) {
        base.insert(0, '_');
    }
    let mut found = base.clone();
    let mut nth = 1;
    while taken.contains(&found.as_str()) {
        nth += 1;
        found = format!("{base}_{nth}");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_operation_ids() {
        for (method, path, id, name, kept) in [
            ("get", "/v1/users/{id}", Some("read_user_v1_users__id__get"), "read-user", true),
            ("get", "/v1/users/", Some("users_v1_users__get"), "users", true),
            ("post", "/a", Some("createUser"), "createUser", false),
            ("post", "/a", Some("create_user"), "create-user", true),
            ("post", "/a/{b}", None, "post-a-b", false),
            ("get", "/", None, "get", false),
            ("get", "/a", Some(""), "get-a", false),
            ("get", "/a", Some("ünïcode id"), "n-code-id", true),
            ("get", "/a", Some("…"), "get-a", true),
            ("get", "/_get", Some("_get_get"), "get-get", true),
        ] {
            let found = Names::default().give(method, path, id);
            assert_eq!((found.name.as_str(), found.operation_id.is_some()), (name, kept), "{id:?}");
        }
    }

    #[test]
    fn names_and_operation_ids_are_unique() {
        let mut names = Names::default();
        let mut give = |id| {
            let found = names.give("get", "/x", id);
            (found.name, found.operation_id, found.refused_id)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(give(Some("a_b")), ("a-b".to_owned(), some("a_b"), None));
        assert_eq!(give(Some("a_b")), ("a-b-get".to_owned(), None, some("a_b")));
        assert_eq!(give(Some("a-b")), ("a-b-2".to_owned(), some("a-b"), None));
        assert_eq!(give(Some("a b")), ("a-b-3".to_owned(), some("a b"), None));
        assert_eq!(give(None), ("get-x".to_owned(), None, None));
        assert_eq!(give(Some("get-x")), ("get-x-get".to_owned(), None, some("get-x")));
        let long = "x".repeat(300);
        let found = give(Some(&long));
        assert_eq!((found.0.len(), found.1, found.2), (LONGEST_NAME, None, Some(long)));
    }

    #[test]
    fn paths_become_templates() {
        for (text, template) in [
            ("/users/{id}", "/users/{id}"),
            ("/users/", "/users/"),
            ("/a b/é/100%/%41", "/a%20b/%C3%A9/100%25/%41"),
            ("/{user-id}/{1}", "/{user_id}/{_1}"),
            ("/{a-b}/{a_b}", "/{a_b}/{a_b_2}"),
            ("/files/{rest:path}", "/files/{*rest}"),
            ("/files/{*rest}", "/files/{*rest}"),
            ("/files/{rest+}", "/files/{*rest}"),
            ("/v{version}/x.{ext}", "/v{version}/x.{ext}"),
        ] {
            assert_eq!(path(text).unwrap().template, template, "{text}");
        }
        for text in ["/a?b={c}", "/a#b", "/{a", "/a}", "/{}", "/{a}/{a}", "/{a:[0-9]+}", "/{a:path}/b", "/a\n"] {
            assert!(path(text).is_err(), "{text}");
        }
    }
}
