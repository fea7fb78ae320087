//! Every key of a full file, misspelt and with a value of a wrong type, one at a time.
//!
//! `full.yaml` is written so that a line holds one key at most; what a key means is told from the keys around it.

use crate::examples::checked;
use crate::schema;
use tollgate::server::Source;

pub const FULL: &str = include_str!("../../config/full.yaml");

/// The problems of a configuration by line, from 1: everything that loading and compiling find.
pub fn problems(text: &str) -> Vec<(usize, String)> {
    let checked = checked(&Source::Text { name: "full.yaml".to_owned(), text: text.to_owned() });
    checked.report.lines(&checked.sources)
}

#[test]
fn the_full_file_has_no_problems() {
    assert_eq!(problems(FULL), []);
}

/// A `key: value` line of the full file.
#[derive(Clone)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// What stands before the key.
    pub indent: &'static str,
    pub key: &'static str,
    /// Empty when the value begins on the next line.
    pub value: &'static str,
    /// The keys of the mappings around it, the outermost first.
    pub parents: Vec<&'static str>,
}

/// What a key is.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// A key of the format.
    Format,
    /// A word of JSON Schema, or `optional`.
    Keyword,
    /// A name that the user chose; something else refers to it, or not.
    Name(Option<&'static str>),
}

/// Every line with a key.
pub fn lines() -> Vec<Line> {
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

impl Line {
    pub fn kind(&self) -> Kind {
        const NAMED_SCHEMAS: [&str; 4] = ["properties", "patternProperties", "dependentRequired", "dependentSchemas"];
        let last = self.parents.last().copied().unwrap_or_default();
        if let Some(at) = self.parents.iter().position(|parent| parent.ends_with("_params") || *parent == "schema") {
            let is_parameter = at + 1 == self.parents.len() && self.parents[at] != "schema";
            return match () {
                () if is_parameter && last == "path_params" => Kind::Name(Some("the gateway path has no parameter")),
                () if last == "$defs" => Kind::Name(Some("leads nowhere")),
                () if is_parameter || NAMED_SCHEMAS.contains(&last) => Kind::Name(None),
                () => Kind::Keyword,
            };
        }
        match self.parents[..] {
            ["services"] => Kind::Name(Some("unknown service")),
            ["authenticators"] => Kind::Name(Some("unknown authenticator")),
            ["plans"] => Kind::Name(Some("unknown plan")),
            ["plans", _, "routes"] => Kind::Name(Some("unknown route")),
            ["consumers"] => Kind::Name(Some("unknown consumer")),
            [.., "claims"] => Kind::Name(None),
            [.., "responses"] => Kind::Name(Some("is no status")),
            [.., "set" | "forward_claims"] | ["traces", "resource_attributes" | "headers"] => Kind::Name(None),
            _ => Kind::Format,
        }
    }

    /// Values that are not of the key's type.
    pub fn wrong_values(&self) -> &'static [&'static str] {
        /// Keywords whose value is a schema or named ones: an empty mapping is one.
        const MAPPINGS: [&str; 8] = [
            "items",
            "dependentRequired",
            "unevaluatedItems",
            "additionalProperties",
            "propertyNames",
            "not",
            "contentSchema",
            "$vocabulary",
        ];
        match (self.kind(), self.key) {
            // Any list will do.
            (Kind::Keyword, "examples") => &["{}", "7"],
            (Kind::Keyword, key) if MAPPINGS.contains(&key) => &["[[]]", "7"],
            // `{}` declares no parameter, and is all that there is to say.
            (Kind::Format, "query_params" | "client_certificate") => &["[[]]", "7"],
            _ if self.value.is_empty() => &["[[]]", "7"],
            _ => &["{}", "[[]]"],
        }
    }

    /// The full file with this line in another form, and without what belongs to its value on further lines.
    fn replaced_by(&self, new: &str, whole: bool) -> String {
        self.replaced_in(FULL, new, whole)
    }

    /// The same in a text with the lines of the full file. No line moves.
    pub fn replaced_in(&self, text: &str, new: &str, whole: bool) -> String {
        let mut replaced = String::new();
        for (index, line) in text.lines().enumerate() {
            match index + 1 {
                number if number == self.number => replaced.push_str(new),
                number if whole && self.covers(number) => {}
                _ => replaced.push_str(line),
            }
            replaced.push('\n');
        }
        replaced
    }

    /// Whether a line of the full file is this one, or belongs to its value.
    pub fn covers(&self, number: usize) -> bool {
        let column = self.indent.len();
        let start = |line: &str| line.find(|char: char| char != ' ').unwrap_or(line.len());
        let inside = FULL.lines().skip(self.number).take_while(|line| start(line) > column).count();
        (self.number..=self.number + inside).contains(&number)
    }
}

#[test]
fn every_misspelt_key_is_a_problem_on_its_line() {
    let (mut format, mut keywords, mut names) = (0, 0, 0);
    for line in lines() {
        let text = line.replaced_by(&format!("{}{}x: {}", line.indent, line.key, line.value), false);
        let found = problems(&text);
        let says = |wanted: &str| found.iter().any(|(number, said)| *number == line.number && said == wanted);
        let key = line.key;
        let good = match line.kind() {
            Kind::Format => says(&format!("unknown key `{key}x`")),
            Kind::Keyword => says(&format!("unknown keyword `{key}x`")),
            Kind::Name(Some(wanted)) => found.iter().any(|(_, said)| said.contains(wanted)),
            Kind::Name(None) => found.is_empty(),
        };
        assert!(good, "line {}: {key}x, {:?}: {found:?}", line.number, line.kind());
        match line.kind() {
            Kind::Format => format += 1,
            Kind::Keyword => keywords += 1,
            Kind::Name(_) => names += 1,
        }
    }
    assert!(format > 90 && keywords > 70 && names > 25, "only {format} keys, {keywords} keywords, {names} names");
}

#[test]
fn every_value_of_a_wrong_type_is_a_problem_on_its_line() {
    let mut tried = 0;
    for line in lines() {
        for wrong in line.wrong_values() {
            let text = line.replaced_by(&format!("{}{}: {wrong}", line.indent, line.key), true);
            let found = problems(&text);
            let here = found.iter().filter(|(number, _)| *number == line.number).count();
            // What is missing inside of a replaced mapping may be missed elsewhere too.
            let elsewhere = if line.value.is_empty() { 0 } else { found.len() - here };
            assert!(here > 0 && elsewhere == 0, "line {}: {}: {wrong}: {found:?}", line.number, line.key);
            tried += 1;
        }
    }
    assert!(tried > 380, "only {tried} values were tried");
}

#[test]
fn every_keyword_of_a_schema_is_in_the_full_file() {
    let keywords: Vec<&str> = lines().iter().filter(|line| line.kind() == Kind::Keyword).map(|line| line.key).collect();
    // As `policy::contract` has them.
    let grammar = include_str!("../../../src/policy/contract/grammar.rs");
    let table = grammar.split("const KEYWORDS").nth(1).and_then(|rest| rest.split("];").next()).unwrap();
    let known: Vec<&str> = table.split("(\"").skip(1).filter_map(|row| row.split('"').next()).collect();
    assert!(known.len() > 40, "{known:?}");
    for keyword in known {
        assert!(keywords.contains(&keyword), "`{keyword}` is in no schema of full.yaml");
    }
}

/// The schema that editors have sees no meaning: what it takes may still be a problem, never the other way round.
#[test]
fn the_schema_refuses_misspelt_keys_and_wrong_types_too() {
    let validator = schema::validator();
    let refuses = |text: &str| !schema::refusals(&validator, text).is_empty();
    for line in lines() {
        let text = line.replaced_by(&format!("{}{}x: {}", line.indent, line.key, line.value), false);
        let is_status = line.parents.last() == Some(&"responses");
        let expected = is_status || matches!(line.kind(), Kind::Format | Kind::Keyword);
        assert_eq!(refuses(&text), expected, "line {}: {}x, {:?}", line.number, line.key, line.kind());
        for wrong in line.wrong_values() {
            let text = line.replaced_by(&format!("{}{}: {wrong}", line.indent, line.key), true);
            assert!(refuses(&text) || needs_the_compiler(&line, wrong), "line {}: {}: {wrong}", line.number, line.key);
        }
    }
}

/// What is only wrong together with something else.
fn needs_the_compiler(line: &Line, wrong: &str) -> bool {
    match (line.kind(), line.key) {
        // Any JSON is of a right shape.
        (Kind::Keyword, "const" | "default") => true,
        (Kind::Keyword, "enum") => wrong == "[[]]",
        _ => false,
    }
}
