//! What a configuration may write as a schema, and every fault of one that does not fit.
//!
//! JSON Schema ignores a keyword it does not know and one that does not concern the type; in a configuration both are
//! faults, because the operator believes that they protect something. So are patterns that do not compile, unknown
//! formats, values that can never occur and bounds that exclude each other. A schema file comes from elsewhere and may
//! say more than is enforced: there an unknown keyword, an unknown format or a bound that excludes everything is a
//! warning, a keyword without effect nothing. `$schema` names 2020-12 or is absent.
//!
//! The shape of each keyword (`maximum` is a number, …) is left to the meta-schema of 2020-12. Patterns are those of
//! the `regex` crate, which match in linear time: no look-around, no back-references.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::rules::validator;
use super::schema::BuildFault;
use super::types::Types;

/// One fault of a schema as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// Where in the parameter.
    pub pointer: Vec<PointerStep>,
    /// What is wrong there.
    pub blame: Blame,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// From a mapping or a list of a schema to what it holds. A property may have digits for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PointerStep {
    /// What a mapping has under this name.
    Name(String),
    /// What a list has at this position, from 0.
    Index(usize),
}

impl From<&str> for PointerStep {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for PointerStep {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Whether a keyword or its value is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// It should not be there.
    Keyword,
    /// It should say something else.
    Value,
}

/// Whether a fault keeps a schema from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// Who wrote a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// The writer of the configuration.
    Written,
    /// Somebody else.
    Foreign,
}

impl From<BuildFault> for SchemaFault {
    fn from(fault: BuildFault) -> Self {
        Self { pointer: fault.pointer, blame: Blame::Value, message: fault.message, help: None }
    }
}

/// What a keyword's value holds of further schemas.
#[derive(Debug, Clone, Copy)]
enum Holds {
    Nothing,
    Schema,
    List,
    Named,
}

use Holds::{List, Named, Nothing, Schema};

/// The keywords, what they hold and which types of value they concern.
const KEYWORDS: [(&str, Holds, Types); 57] = [
    ("type", Nothing, Types::ANY),
    ("enum", Nothing, Types::ANY),
    ("const", Nothing, Types::ANY),
    ("minimum", Nothing, Types::NUMBER),
    ("exclusiveMinimum", Nothing, Types::NUMBER),
    ("maximum", Nothing, Types::NUMBER),
    ("exclusiveMaximum", Nothing, Types::NUMBER),
    ("multipleOf", Nothing, Types::NUMBER),
    ("minLength", Nothing, Types::STRING),
    ("maxLength", Nothing, Types::STRING),
    ("pattern", Nothing, Types::STRING),
    ("format", Nothing, Types::STRING),
    ("items", Schema, Types::ARRAY),
    ("prefixItems", List, Types::ARRAY),
    ("minItems", Nothing, Types::ARRAY),
    ("maxItems", Nothing, Types::ARRAY),
    ("uniqueItems", Nothing, Types::ARRAY),
    ("contains", Schema, Types::ARRAY),
    ("minContains", Nothing, Types::ARRAY),
    ("maxContains", Nothing, Types::ARRAY),
    ("unevaluatedItems", Schema, Types::ARRAY),
    ("properties", Named, Types::OBJECT),
    ("patternProperties", Named, Types::OBJECT),
    ("additionalProperties", Schema, Types::OBJECT),
    ("unevaluatedProperties", Schema, Types::OBJECT),
    ("propertyNames", Schema, Types::OBJECT),
    ("required", Nothing, Types::OBJECT),
    ("minProperties", Nothing, Types::OBJECT),
    ("maxProperties", Nothing, Types::OBJECT),
    ("dependentRequired", Nothing, Types::OBJECT),
    ("dependentSchemas", Named, Types::OBJECT),
    ("allOf", List, Types::ANY),
    ("anyOf", List, Types::ANY),
    ("oneOf", List, Types::ANY),
    ("not", Schema, Types::ANY),
    ("if", Schema, Types::ANY),
    ("then", Schema, Types::ANY),
    ("else", Schema, Types::ANY),
    ("title", Nothing, Types::ANY),
    ("description", Nothing, Types::ANY),
    ("examples", Nothing, Types::ANY),
    ("deprecated", Nothing, Types::ANY),
    ("readOnly", Nothing, Types::ANY),
    ("writeOnly", Nothing, Types::ANY),
    ("default", Nothing, Types::ANY),
    ("contentEncoding", Nothing, Types::STRING),
    ("contentMediaType", Nothing, Types::STRING),
    ("contentSchema", Schema, Types::STRING),
    ("$ref", Nothing, Types::ANY),
    ("$dynamicRef", Nothing, Types::ANY),
    ("$id", Nothing, Types::ANY),
    ("$anchor", Nothing, Types::ANY),
    ("$dynamicAnchor", Nothing, Types::ANY),
    ("$defs", Named, Types::ANY),
    ("$schema", Nothing, Types::ANY),
    ("$vocabulary", Nothing, Types::ANY),
    ("$comment", Nothing, Types::ANY),
];

/// The one version of JSON Schema, and its older way to be written.
const DIALECTS: [&str; 2] =
    ["https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#"];

/// Words for files, which [`super::multipart`] knows.
pub(super) const FILE_WORDS: [&str; 2] = ["max_size", "content_types"];

/// The formats that are checked. Those for internationalised names (`idn-…`) would need tables far larger than all
/// the rest, and are unknown here.
pub const FORMATS: [&str; 17] = [
    "date",
    "date-time",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uri-template",
    "uuid",
    "json-pointer",
    "relative-json-pointer",
    "regex",
];

/// Pairs of bounds of which the first must not exceed the second, and whether they may be equal.
const BOUNDS: [(&str, &str, Equal); 7] = [
    ("minimum", "maximum", Equal::Allowed),
    ("minimum", "exclusiveMaximum", Equal::Excluded),
    ("exclusiveMinimum", "maximum", Equal::Excluded),
    ("exclusiveMinimum", "exclusiveMaximum", Equal::Excluded),
    ("minLength", "maxLength", Equal::Allowed),
    ("minItems", "maxItems", Equal::Allowed),
    ("minProperties", "maxProperties", Equal::Allowed),
];

/// Other formats have `required: true` on a parameter.
const REQUIRED_HELP: &str = "remove it: a parameter is required unless it says `optional: true`";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Equal {
    Allowed,
    Excluded,
}

/// Whether a format is asserted.
pub(super) fn is_known_format(format: &str) -> bool {
    FORMATS.contains(&format)
}

/// Every fault of a parameter's schema.
pub(super) fn faults(schema: &Map<String, Value>) -> Vec<SchemaFault> {
    let found = faults_of(&Value::Object(schema.clone()), Strictness::Written);
    found.into_iter().map(|(_, fault)| fault).collect()
}

/// Every fault of a schema, and what it means.
pub(super) fn faults_of(schema: &Value, strictness: Strictness) -> Vec<(Weight, SchemaFault)> {
    let mut walk = Walk { strictness, pointer: Vec::new(), faults: Vec::new() };
    if let Value::Object(schema) = schema {
        walk.schema(schema);
    }
    let mut faults = walk.faults;
    for error in jsonschema::draft202012::meta::validator().iter_errors(schema) {
        let pointer = steps(schema, error.instance_path().as_str());
        if !faults.iter().any(|(weight, fault)| *weight == Weight::Error && pointer.starts_with(&fault.pointer)) {
            let message = shape_message(error.kind());
            faults.push((Weight::Error, SchemaFault { pointer, blame: Blame::Value, message, help: None }));
        }
    }
    faults
}

/// The steps of a JSON pointer into `schema`. In the pointer's text a position looks like a name of digits; what it
/// is a step into tells them apart.
pub(super) fn steps(schema: &Value, pointer: &str) -> Vec<PointerStep> {
    let mut at = Some(schema);
    let step = |step: &str| {
        let name = step.replace("~1", "/").replace("~0", "~");
        let index = at.and_then(Value::as_array).and_then(|_| name.parse().ok());
        at = at.and_then(|at| index.map_or_else(|| at.get(&name), |index: usize| at.get(index)));
        index.map_or(PointerStep::Name(name), PointerStep::Index)
    };
    pointer.split('/').skip(1).map(step).collect()
}

/// Whether a word is one of JSON Schema.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|(known, ..)| *known == word)
}

/// A fault at the parameter itself.
pub(super) fn fault(pointer: &[&str], message: impl Into<String>) -> SchemaFault {
    let pointer = pointer.iter().copied().map(PointerStep::from).collect();
    SchemaFault { pointer, blame: Blame::Value, message: message.into(), help: None }
}

fn shape_message(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Type { kind } => match kind {
            jsonschema::error::TypeKind::Single(one) => format!("must be of type {one}"),
            jsonschema::error::TypeKind::Multiple(many) => {
                let names: Vec<_> = many.iter().map(|one| one.to_string()).collect();
                format!("must be of type {}", names.join(" or "))
            }
        },
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be greater than {limit}"),
        ValidationErrorKind::MinItems { .. } => "must not be empty".to_owned(),
        ValidationErrorKind::UniqueItems => "must not name anything twice".to_owned(),
        ValidationErrorKind::Enum { options } => format!("must be one of {options}"),
        other => format!("is not what JSON Schema 2020-12 takes here (`{}`)", other.keyword()),
    }
}

/// A walk through a schema and the schemas in it. Takes every shape: the meta-schema reports the wrong ones.
struct Walk {
    strictness: Strictness,
    pointer: Vec<PointerStep>,
    faults: Vec<(Weight, SchemaFault)>,
}

impl Walk {
    fn schema(&mut self, schema: &Map<String, Value>) {
        for (keyword, value) in schema {
            self.at(keyword.as_str(), |walk| walk.keyword(keyword, value, schema));
        }
        self.bounds(schema);
    }

    fn keyword(&mut self, keyword: &str, value: &Value, schema: &Map<String, Value>) {
        let Some((_, holds, concerns)) = KEYWORDS.iter().find(|(known, _, _)| *known == keyword) else {
            return match self.strictness == Strictness::Written && FILE_WORDS.contains(&keyword) {
                true => self.file_word(keyword, schema),
                false => self.unknown_keyword(keyword),
            };
        };
        if keyword == "required" && value.is_boolean() {
            return self.refuse("`required` lists the members of an object", Some(REQUIRED_HELP.to_owned()));
        }
        if !concerns.meets(Types::written(schema)) && self.strictness == Strictness::Written {
            self.refuse(
                format!("`{keyword}` has no effect on this type"),
                Some("remove it, or change `type`".to_owned()),
            );
        }
        match keyword {
            "type" => self.types(value),
            "enum" => self.options(value, schema),
            "const" => self.option(value, schema),
            "pattern" => self.pattern(value),
            "$schema" => self.dialect(value),
            "format" => self.format(value),
            "minContains" | "maxContains" => self.needs("contains", schema),
            "then" | "else" => self.needs("if", schema),
            _ => {}
        }
        match (holds, value) {
            (Schema, Value::Object(inner)) => self.schema(inner),
            (List, Value::Array(inner)) => {
                for (index, inner) in inner.iter().enumerate().filter_map(|(at, inner)| Some((at, inner.as_object()?)))
                {
                    self.at(index, |walk| walk.schema(inner));
                }
            }
            (Named, Value::Object(inner)) => {
                for (name, inner) in inner {
                    self.at(name.as_str(), |walk| walk.named(keyword, name, inner));
                }
            }
            _ => {}
        }
    }

    fn named(&mut self, keyword: &str, name: &str, schema: &Value) {
        if keyword == "patternProperties" {
            self.pattern(&Value::String(name.to_owned()));
        }
        if let Value::Object(schema) = schema {
            self.schema(schema);
        }
    }

    fn unknown_keyword(&mut self, keyword: &str) {
        let known = KEYWORDS.iter().map(|(known, _, _)| *known);
        let help = match self.strictness {
            _ if keyword == "optional" => Some(
                "it belongs to a parameter; in its schema, `required` lists the members that must be there".to_owned(),
            ),
            Strictness::Written => did_you_mean(keyword, known.chain(["optional"])),
            Strictness::Foreign => did_you_mean(keyword, known).or(Some("it is ignored".to_owned())),
        };
        self.add(self.lenient(), Blame::Keyword, format!("unknown keyword `{keyword}`"), help);
    }

    /// The weight of what JSON Schema allows.
    fn lenient(&self) -> Weight {
        match self.strictness {
            Strictness::Written => Weight::Error,
            Strictness::Foreign => Weight::Warning,
        }
    }

    fn dialect(&mut self, value: &Value) {
        let Value::String(dialect) = value else { return };
        if !DIALECTS.contains(&dialect.as_str()) {
            self.report("schemas are read as 2020-12 only", Some(format!("`{}`, or leave it out", DIALECTS[0])));
        }
    }

    fn file_word(&mut self, keyword: &str, schema: &Map<String, Value>) {
        // A type that is none, or a file in the wrong place, is fault enough.
        if !schema.contains_key("type") || Types::written(schema) != Types::ANY {
            let help = "it belongs to `type: file`, a field of `form_params`";
            self.refuse(format!("`{keyword}` has no effect on this type"), Some(help.to_owned()));
        }
    }

    fn types(&mut self, value: &Value) {
        let names = match value {
            Value::Array(names) => names.as_slice(),
            one => std::slice::from_ref(one),
        };
        for name in names.iter().filter_map(Value::as_str).filter(|name| Types::named(name).is_none()) {
            if name == "file" {
                let help = "a file is a field of `form_params`, or the items of an array there";
                self.report("there is no file here", Some(help.to_owned()));
                continue;
            }
            let known = Types::NAMES.iter().map(|(known, _)| *known);
            let all: Vec<_> = known.clone().collect();
            let help = did_you_mean(name, known).unwrap_or_else(|| format!("one of {}", all.join(", ")));
            self.report(format!("unknown type `{name}`"), Some(help));
        }
    }

    fn options(&mut self, value: &Value, schema: &Map<String, Value>) {
        let Value::Array(options) = value else { return };
        if options.is_empty() {
            self.doubt("permits no value", None);
        }
        for (index, option) in options.iter().enumerate() {
            self.at(index, |walk| walk.option(option, schema));
        }
    }

    fn option(&mut self, option: &Value, schema: &Map<String, Value>) {
        if !Types::written(schema).meets(Types::of(option)) {
            self.doubt("can never occur: it is not of the `type`", None);
        }
    }

    fn pattern(&mut self, value: &Value) {
        let Value::String(pattern) = value else { return };
        if validator(&serde_json::json!({ "pattern": pattern })).is_err() {
            let (message, help) = regex_fault(pattern);
            self.report(message, help);
        }
    }

    fn format(&mut self, value: &Value) {
        let Value::String(format) = value else { return };
        if !is_known_format(format) {
            let help = did_you_mean(format, FORMATS).unwrap_or_else(|| format!("one of {}", FORMATS.join(", ")));
            self.doubt(format!("unknown format `{format}`"), Some(help));
        }
    }

    fn needs(&mut self, other: &str, schema: &Map<String, Value>) {
        if !schema.contains_key(other) && self.strictness == Strictness::Written {
            self.refuse(format!("has no effect without `{other}`"), None);
        }
    }

    fn bounds(&mut self, schema: &Map<String, Value>) {
        for (low, high, equal) in BOUNDS {
            let number = |keyword| schema.get(keyword).and_then(Value::as_f64);
            let (Some(least), Some(most)) = (number(low), number(high)) else { continue };
            if least > most || (least == most && equal == Equal::Excluded) {
                self.at(low, |walk| walk.doubt(format!("no value is permitted: `{low}` excludes `{high}`"), None));
            }
        }
    }

    fn at(&mut self, step: impl Into<PointerStep>, visit: impl FnOnce(&mut Self)) {
        self.pointer.push(step.into());
        visit(self);
        self.pointer.pop();
    }

    /// The value here is wrong.
    fn report(&mut self, message: impl Into<String>, help: Option<String>) {
        self.add(Weight::Error, Blame::Value, message.into(), help);
    }

    /// The value here is hardly meant so.
    fn doubt(&mut self, message: impl Into<String>, help: Option<String>) {
        self.add(self.lenient(), Blame::Value, message.into(), help);
    }

    /// The keyword here is wrong, whatever its value.
    fn refuse(&mut self, message: impl Into<String>, help: Option<String>) {
        self.add(Weight::Error, Blame::Keyword, message.into(), help);
    }

    fn add(&mut self, weight: Weight, blame: Blame, message: String, help: Option<String>) {
        self.faults.push((weight, SchemaFault { pointer: self.pointer.clone(), blame, message, help }));
    }
}

/// What is wrong with a pattern that does not compile, in one line.
fn regex_fault(pattern: &str) -> (String, Option<String>) {
    use regex_syntax::Error;
    use regex_syntax::ast::ErrorKind::{UnsupportedBackreference, UnsupportedLookAround};
    const MESSAGE: &str = "not a regular expression";
    match regex_syntax::parse(pattern) {
        Err(Error::Parse(error)) if matches!(error.kind(), UnsupportedLookAround | UnsupportedBackreference) => {
            let help = "matching takes linear time: look-around and back-references are not supported";
            (MESSAGE.to_owned(), Some(help.to_owned()))
        }
        Err(Error::Parse(error)) => (format!("{MESSAGE}: {}", error.kind()), None),
        Err(Error::Translate(error)) => (format!("{MESSAGE}: {}", error.kind()), None),
        _ => (MESSAGE.to_owned(), None),
    }
}

/// For help: the known word that is close.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let close =
        known.into_iter().map(|known| (strsim::osa_distance(&word.to_lowercase(), &known.to_lowercase()), known));
    let (distance, known) = close.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.len() / 4).then(|| format!("did you mean `{known}`?"))
}
