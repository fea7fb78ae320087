//! What a user sees of a faulty configuration.
//!
//! Each `tests/config/bad/NAME.yaml` has the exact report beside it in `NAME.expected`; `UPDATE_EXPECT=1` rewrites
//! those. The mutations show that no key of the format is ignored and that every fault is found at its line.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate::config::{Color, load, load_text};

const FULL: &str = include_str!("../config/full.yaml");

/// The problems of a configuration by line, from 1. Everything that checks a configuration belongs in here.
fn problems(text: &str) -> Vec<(usize, String)> {
    let (_, report, sources) = load_text("full.yaml", text);
    report.lines(&sources)
}

/// The report of a file in `tests/config`, named as if it were called from there.
fn report(file: &Path) -> String {
    let env = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let (loaded, report, sources) = load(file, &env);
    assert_eq!(loaded.is_none(), report.has_errors(), "{}", file.display());
    report.render(&sources, Color::Never).replace(&format!("{}/", root().display()), "")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn bad_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("bad"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_file_is_reported_as_expected() {
    let files = bad_files();
    assert!(files.len() >= 25, "only {} bad files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let found = report(&file);
        assert!(!found.is_empty(), "{} is not bad", file.display());
        assert!(!found.contains("hunter2"), "{} shows a secret", file.display());
        let beside = file.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&beside, &found).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_full_file_has_no_problems() {
    assert_eq!(problems(FULL), []);
}

/// A `key: value` line of the full file.
struct Line<'t> {
    /// From 1.
    number: usize,
    /// What stands before the key.
    indent: &'t str,
    key: &'t str,
    /// Empty when the value begins on the next line.
    value: &'t str,
    /// The keys of the mappings around it, the outermost first.
    parents: Vec<&'t str>,
}

/// Every line with a key. The full file is written so that a line holds one key at most.
fn lines() -> Vec<Line<'static>> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in FULL.lines().enumerate() {
        let start = line.find(|char: char| char != ' ' && char != '-').unwrap_or(line.len());
        let (indent, rest) = line.split_at(start);
        let Some((key, value)) = rest.split_once(": ").or_else(|| rest.strip_suffix(':').map(|key| (key, ""))) else {
            continue;
        };
        if rest.starts_with('#') {
            continue;
        }
        open.retain(|(column, _)| *column < start);
        let parents = open.iter().map(|(_, key)| *key).collect();
        open.push((start, key));
        lines.push(Line { number: index + 1, indent, key, value, parents });
    }
    lines
}

impl Line<'_> {
    /// Whether the key is a name that the user chose, or a word of JSON Schema.
    fn is_free(&self) -> bool {
        const NAMED: [&str; 12] = [
            "services",
            "authenticators",
            "plans",
            "consumers",
            "path_params",
            "query_params",
            "body_params",
            "form_params",
            "responses",
            "set",
            "id",
            "title",
        ];
        let parameters = |parent: &&str| parent.ends_with("_params");
        let in_plan = self.parents.first() == Some(&"plans") && self.parents.last() == Some(&"routes");
        self.parents.last().is_some_and(|parent| NAMED.contains(parent))
            || in_plan
            || self.parents.iter().any(parameters)
    }

    /// Whether anything at all may be the value.
    fn takes_anything(&self) -> bool {
        self.parents.iter().any(|parent| parent.ends_with("_params")) && self.key != "optional"
    }

    /// The full file with this line in another form.
    fn replaced_by(&self, new: &str) -> String {
        let mut lines: Vec<&str> = FULL.lines().collect();
        lines[self.number - 1] = new;
        lines.join("\n")
    }
}

#[test]
fn every_misspelt_key_is_a_problem_on_its_line() {
    let mut tried = 0;
    for line in lines().iter().filter(|line| !line.is_free()) {
        let text = line.replaced_by(&format!("{}{}x: {}", line.indent, line.key, line.value));
        let found = problems(&text);
        let wanted = format!("unknown key `{}x`", line.key);
        assert!(found.contains(&(line.number, wanted)), "line {}: {}x: {found:?}", line.number, line.key);
        tried += 1;
    }
    assert!(tried > 80, "only {tried} keys were tried");
}

#[test]
fn every_value_of_a_wrong_type_is_a_problem_on_its_line() {
    let mut tried = 0;
    for line in lines().iter().filter(|line| !line.value.is_empty() && !line.takes_anything()) {
        // An empty list of authenticators, of rates has the right type.
        for wrong in ["{}", "[[]]"] {
            let text = line.replaced_by(&format!("{}{}: {wrong}", line.indent, line.key));
            let found = problems(&text);
            let wrong_lines: Vec<_> = found.iter().filter(|(number, _)| *number != line.number).collect();
            let parameters = line.key == "query_params" && wrong == "{}";
            assert!(
                parameters || (!found.is_empty() && wrong_lines.is_empty()),
                "line {}: {}: {wrong}: {found:?}",
                line.number,
                line.key
            );
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} values were tried");
}
