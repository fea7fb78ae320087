//! A parameter as the configuration declares it, compiled or refused with every fault at once.
//!
//! [`TextParameter`] is for a path, a query or a form, [`Member`] for a JSON body: two types, so that a contract can
//! only hold parameters that can occur in it; [`super::fields`] has those of header fields and cookies. A parameter is
//! required unless it is optional or has a default.
//!
//! In text, a parameter has one type (`string`, `integer`, `number`, `boolean`, or `array` of these outside a path);
//! without `type` it takes that of its `enum` or `const`, else `string`. A member of a body may have any schema; a
//! nested `default` only documents.

use serde_json::{Map, Value};

use super::grammar::{SchemaFault, fault, faults};
use super::pairs::{Style, encode};
use super::schema::{self, Schema};
use super::text::{Text, TextType, TextValue};
use super::types::Types;
use super::violation::{At, Violations};

/// A parameter as written.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    /// The name clients use.
    pub name: &'a str,
    /// JSON Schema keywords, without `optional` and the parameter's own `default`.
    pub schema: &'a Map<String, Value>,
    /// May be absent.
    pub optional: bool,
    /// Filled in when absent.
    pub default: Option<&'a Value>,
}

/// Where a parameter comes as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// A parameter of the gateway path.
    Path,
    /// A query parameter.
    Query,
    /// A field of an urlencoded form.
    Form,
}

/// A compiled parameter of a path, a query or a form.
#[derive(Debug)]
pub struct TextParameter {
    pub(super) name: Box<str>,
    /// The name encoded for its place, with `=`.
    pub(super) key: Box<str>,
    pub(super) value: TextValue,
    pub(super) absent: Absent,
}

/// A compiled member of a JSON body.
#[derive(Debug)]
pub struct Member {
    pub(super) name: Box<str>,
    pub(super) schema: Schema,
    pub(super) absent: Absent,
}

/// What an absent parameter means.
#[derive(Debug)]
pub(super) enum Absent {
    Violation,
    LeftOut,
    /// Written as this, name included.
    Filled(Box<str>),
}

impl TextParameter {
    /// Compiles a parameter, or says everything that is wrong with it.
    pub fn compile(position: Position, declared: Declared<'_>) -> Result<Self, Vec<SchemaFault>> {
        let present = position == Position::Path && (declared.optional || declared.default.is_some());
        let word = if declared.optional { "optional" } else { "default" };
        let wrong = present.then(|| fault(&[word], "a path parameter is always present"));
        let lists = if position == Position::Path { Lists::Refused } else { Lists::Allowed };
        let (value, default) = text_value(lists, declared, wrong)?;
        let style = if position == Position::Form { Style::Form } else { Style::Query };
        let mut key = String::new();
        encode(declared.name, style, &mut key);
        key.push('=');
        let absent = match default {
            Some(texts) => Absent::Filled(filled_pairs(&texts, &key, style)),
            None if declared.optional => Absent::LeftOut,
            None => Absent::Violation,
        };
        Ok(Self { name: declared.name.into(), key: key.into(), value, absent })
    }
}

/// Whether a name may stand for several values.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Lists {
    Allowed,
    Refused,
}

/// The value of a parameter that comes as text, and the canonical texts of its default; `wrong` is what is wrong with
/// it already.
pub(super) fn text_value(
    lists: Lists,
    declared: Declared<'_>,
    wrong: Option<SchemaFault>,
) -> Result<(TextValue, Option<Vec<String>>), Vec<SchemaFault>> {
    let (schema, untyped) = with_type(declared.schema);
    let typed = untyped.is_none();
    let mut found = Vec::from_iter(untyped);
    found.extend(faults(&schema));
    found.extend(presence_faults(declared));
    found.extend(wrong);
    let shape = match shape(lists, &schema) {
        Ok(shape) if found.is_empty() => shape,
        Ok(_) => return Err(found),
        Err(wrong) => {
            if typed && !found.iter().any(|fault| fault.pointer == wrong.pointer) {
                found.push(wrong);
            }
            return Err(found);
        }
    };
    let value = shape.build(&schema)?;
    let default = declared.default.map(|default| texts(&value, default)).transpose()?;
    Ok((value, default))
}

impl Member {
    /// Compiles a member, or says everything that is wrong with it.
    pub fn compile(declared: Declared<'_>) -> Result<Self, Vec<SchemaFault>> {
        let mut found = faults(declared.schema);
        found.extend(presence_faults(declared));
        if !found.is_empty() {
            return Err(found);
        }
        let schema = built(&Value::Object(declared.schema.clone()))?;
        let absent = match declared.default {
            Some(default) => {
                fits(|at, violations| schema.check(default, at, violations))?;
                Absent::Filled(format!("{}:{default}", Value::from(declared.name)).into())
            }
            None if declared.optional => Absent::LeftOut,
            None => Absent::Violation,
        };
        Ok(Self { name: declared.name.into(), schema, absent })
    }
}

/// What is wrong with `optional` and `default` together.
pub(super) fn presence_faults(declared: Declared<'_>) -> Option<SchemaFault> {
    let both = declared.optional && declared.default.is_some();
    both.then(|| SchemaFault {
        help: Some("a parameter with a default is never missing: remove `optional`".to_owned()),
        ..fault(&["optional"], "both `optional` and `default`")
    })
}

fn built(schema: &Value) -> Result<Schema, Vec<SchemaFault>> {
    schema::build(schema).map_err(|found| found.into_iter().map(SchemaFault::from).collect())
}

/// Runs a check on the default.
fn fits(check: impl FnOnce(&At<'_>, &mut Violations)) -> Result<(), Vec<SchemaFault>> {
    let mut violations = Violations::new();
    check(&At::BODY, &mut violations);
    let broken: Vec<_> = violations.as_slice().iter().map(|violation| violation.msg.as_ref()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(vec![fault(&["default"], format!("the default breaks the schema: {}", broken.join("; ")))])
}

/// The schema with the type that a text parameter without one has.
fn with_type(schema: &Map<String, Value>) -> (Map<String, Value>, Option<SchemaFault>) {
    let mut schema = schema.clone();
    if schema.contains_key("type") {
        return (schema, None);
    }
    let (keyword, values) = match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(options)), _) => ("enum", options.as_slice()),
        (_, Some(only)) => ("const", std::slice::from_ref(only)),
        _ => ("", [].as_slice()),
    };
    let types = values.iter().map(Types::of).reduce(Types::or).unwrap_or(Types::STRING);
    let name = match types {
        Types::STRING => "string",
        Types::INTEGER => "integer",
        Types::BOOLEAN => "boolean",
        types if types.within(Types::NUMBER) => "number",
        _ => {
            let message = "the values are not all strings, all numbers or all booleans";
            return (schema, Some(fault(&[keyword], message)));
        }
    };
    schema.insert("type".to_owned(), Value::from(name));
    (schema, None)
}

/// The types that a text parameter's schema declares.
enum Shape {
    One(TextType),
    Many(TextType, Map<String, Value>),
}

fn shape(lists: Lists, schema: &Map<String, Value>) -> Result<Shape, SchemaFault> {
    let named = |schema: &Map<String, Value>| TextType::named(schema.get("type")?.as_str()?);
    if let Some(kind) = named(schema) {
        return Ok(Shape::One(kind));
    }
    let is_array = schema.get("type").and_then(Value::as_str) == Some("array");
    if lists == Lists::Refused || !is_array {
        let array = if lists == Lists::Refused { "" } else { ", or an array of these" };
        return Err(fault(&["type"], format!("text is one of string, integer, number, boolean{array}")));
    }
    if schema.contains_key("prefixItems") {
        return Err(fault(&["prefixItems"], "not for text: every item has the same type"));
    }
    let (items, wrong) = match schema.get("items") {
        Some(Value::Object(items)) => with_type(items),
        _ => with_type(&Map::new()),
    };
    if let Some(mut wrong) = wrong {
        wrong.pointer.insert(0, "items".into());
        return Err(wrong);
    }
    match named(&items) {
        Some(kind) => Ok(Shape::Many(kind, items)),
        None => Err(fault(&["items", "type"], "an item is one of string, integer, number, boolean")),
    }
}

impl Shape {
    fn build(self, schema: &Map<String, Value>) -> Result<TextValue, Vec<SchemaFault>> {
        let whole = built(&Value::Object(schema.clone()))?;
        Ok(match self {
            Self::One(kind) => TextValue::One(Text { kind, schema: whole }),
            Self::Many(kind, items) => TextValue::Many {
                item: Text { kind, schema: built(&Value::Object(items))? },
                list: Box::new(whole.without_items()),
            },
        })
    }
}

/// The default as it would come from a client, each value for itself.
fn texts(value: &TextValue, default: &Value) -> Result<Vec<String>, Vec<SchemaFault>> {
    let mut out = Vec::new();
    let mut write = |item: &Text, value: &Value| {
        fits(|at, violations| item.schema.check(value, at, violations))?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fits(|at, violations| out.push(item.check(&text, at, violations).as_text().to_owned()))
    };
    match (value, default) {
        (TextValue::One(item), default) => write(item, default)?,
        (TextValue::Many { item, list }, default) => {
            fits(|at, violations| list.check(default, at, violations))?;
            for value in default.as_array().into_iter().flatten() {
                write(item, value)?;
            }
        }
    }
    Ok(out)
}

/// The default as it is written into a query or form.
fn filled_pairs(texts: &[String], key: &str, style: Style) -> Box<str> {
    let mut out = String::new();
    for text in texts {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(key);
        encode(text, style, &mut out);
    }
    out.into()
}
