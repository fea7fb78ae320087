//! Which part of the crate may know which: imports go one way.
//!
//! `main → server → proxy → gateway → policy`; `explain` stands beside `server`; `config` is read by `main`, `server` and
//! the compiler in `gateway/compile` only; `store` and `import` know `policy`; `telemetry`, `policy` and `demo` know nothing
//! of ours but themselves. Paths are read from the text of the sources, comments aside: `crate::PART` in the library,
//! `tollgate::PART` in the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A part of `src/`, the longest path that fits first, and what it may import beside itself.
const PARTS: [(&str, &[&str]); 13] = [
    ("main.rs", &["server", "explain", "gateway", "config", "telemetry", "demo"]),
    ("commands.rs", &["server", "explain", "gateway", "policy", "config", "demo", "import", "store"]),
    ("lib.rs", &[]),
    ("server", &["proxy", "gateway", "policy", "config", "telemetry", "demo", "store"]),
    ("explain", &["proxy", "gateway", "policy", "telemetry", "store"]),
    ("proxy", &["gateway", "policy", "telemetry", "store"]),
    ("gateway/compile", &["gateway", "policy", "config", "telemetry"]),
    ("gateway", &["policy", "telemetry"]),
    ("store", &["policy"]),
    ("policy", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("import", &["policy"]),
];

/// May import nothing of ours, not even through itself.
const LEAF: &str = "demo";

struct Source {
    /// Relative to `src/`.
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().display().to_string();
                sources.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    sources
}

/// The parts that a text imports. Its unit tests, which may build what they need from a configuration, do not count.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let path = regex::Regex::new(r"\b(?:crate|tollgate)::(\{[^;]*?\}|[a-z_]+)").unwrap();
    let group = regex::Regex::new(r"(?:^|[{,])\s*([a-z_]+)").unwrap();
    let mut found = BTreeSet::new();
    for taken in path.captures_iter(&code) {
        let taken = &taken[1];
        if taken.starts_with('{') {
            found.extend(group.captures_iter(taken).map(|name| name[1].to_owned()));
        } else {
            found.insert(taken.to_owned());
        }
    }
    found
}

/// The part that a file belongs to, and what it may import. `None`: a file that nobody has placed.
fn part(path: &str) -> Option<(&'static str, &'static [&'static str])> {
    let belongs = |name: &str| {
        let stem = name.trim_end_matches(".rs");
        path == name || path == format!("{stem}.rs") || path.starts_with(&format!("{stem}/"))
    };
    if belongs(LEAF) {
        return Some((LEAF, &[]));
    }
    PARTS.into_iter().find(|(name, _)| belongs(name))
}

/// The imports of a file that go the wrong way.
fn wrong_imports(path: &str, text: &str) -> Vec<String> {
    let Some((part, may)) = part(path) else { return vec![format!("{path} belongs to no part of the design")] };
    let own = part.split('/').next().unwrap_or(part);
    let wrong = imports(text).into_iter().filter(|import| import != own && !may.contains(&import.as_str()));
    wrong.map(|import| format!("{path} imports {import}")).collect()
}

#[test]
fn imports_go_one_way() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} sources", sources.len());
    let tests = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let sources = sources.iter().filter(|source| !tests(&source.path));
    let wrong: Vec<String> = sources.flat_map(|source| wrong_imports(&source.path, &source.text)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_that_goes_the_wrong_way_is_found() {
    for (path, text, wrong) in [
        ("policy/limit/mod.rs", "use crate::gateway::Route;", 1),
        ("policy/limit/mod.rs", "use crate::policy::path::RequestPath;", 0),
        ("policy/limit/mod.rs", "//! See [`crate::gateway::router`].", 0),
        ("gateway/mod.rs", "use crate::config::Config;", 1),
        ("gateway/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::config::Config;", 0),
        ("gateway/compile/mod.rs", "use crate::config::Config;", 0),
        ("gateway/compile/routes.rs", "fn f(of: &crate::proxy::State) {}", 1),
        ("gateway/compile.rs", "use crate::config;", 0),
        ("store/mod.rs", "use crate::policy::limit::Subject;", 0),
        ("store/database.rs", "use crate::gateway::Gateway;", 1),
        ("gateway/mod.rs", "use crate::store::Snapshot;", 1),
        ("proxy/admit.rs", "use crate::config::{self, Auth};", 1),
        ("proxy/admit.rs", "use crate::{policy::limit, server::run};", 1),
        ("telemetry/log.rs", "use crate::policy::limit;", 1),
        ("demo.rs", "use crate::telemetry;", 1),
        ("import/mod.rs", "use crate::config::Config;", 1),
        ("commands/import.rs", "use tollgate::import::Options;", 0),
        ("demo/answer.rs", "use super::Received;", 0),
        ("config/load.rs", "use crate::gateway::METHODS;", 1),
        ("server/mod.rs", "use crate::config::Config; use crate::proxy::State;", 0),
        ("main.rs", "use tollgate::policy::limit;", 1),
        ("surprise.rs", "", 1),
    ] {
        assert_eq!(wrong_imports(path, text).len(), wrong, "{path}: {text}");
    }
}

#[test]
fn every_source_begins_with_what_it_is_for() {
    let silent: Vec<String> =
        sources().into_iter().filter(|source| !source.text.starts_with("//! ")).map(|source| source.path).collect();
    assert!(silent.is_empty(), "no `//!` in {}", silent.join(", "));
}
