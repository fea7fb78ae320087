//! From schemas as written to nodes.
//!
//! The `referencing` crate knows which schema a `$ref` means: `$id`, `$anchor`, pointers and embedded resources are
//! its part. Nothing is ever fetched: what is neither among the given resources nor a meta-schema of JSON Schema does
//! not resolve. A schema that is applied to the same value again and again by its own references is a fault here, so
//! that no walk is endless.

use std::collections::HashMap;

use jsonschema::{ValidationError, Validator};
use referencing::{Draft, Error, Registry, Resolver, ResourceRef, Retrieve, SPECIFICATIONS, Uri};
use serde_json::{Map, Value};

use super::super::grammar::{PointerStep, is_known_format, steps};
use super::super::rules::{Bound, Span, Values, part, validator};
use super::super::types::Types;
use super::elements::{Contains, Items, Members, Others};
use super::{Applied, Condition, Node, NodeId, Schema};

/// Keywords that only the validator checks, each with at most one error for one value.
const FLAT: [&str; 3] = ["pattern", "format", "multipleOf"];

/// A schema as written, with the absolute URI that it has before its own `$id`.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy::contract) struct Resource<'a> {
    pub(in crate::policy::contract) uri: &'a str,
    pub(in crate::policy::contract) schema: &'a Value,
}

/// What only building finds: references that lead nowhere, and what the validator does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy::contract) struct BuildFault {
    /// The resource, by its position.
    pub(in crate::policy::contract) resource: usize,
    /// The place in it.
    pub(in crate::policy::contract) pointer: Vec<PointerStep>,
    pub(in crate::policy::contract) message: String,
}

/// Where a schema without a file is.
const INLINE: &str = "tollgate:///inline";

/// Compiles a schema that stands for itself.
pub(in crate::policy::contract) fn build(schema: &Value) -> Result<Schema, Vec<BuildFault>> {
    build_document(&[Resource { uri: INLINE, schema }])
}

/// Compiles the first of these resources; the others are what it may refer to.
pub(in crate::policy::contract) fn build_document(resources: &[Resource<'_>]) -> Result<Schema, Vec<BuildFault>> {
    let whole = |message: String| vec![BuildFault { resource: 0, pointer: Vec::new(), message }];
    let Some(root) = resources.first() else { return Err(whole("there is no schema".to_owned())) };
    let registry = registry(resources).map_err(|error| whole(words(&error)))?;
    let base = referencing::uri::from_str(root.uri).map_err(|error| whole(words(&error)))?;
    let mut compiler = Compiler {
        registry: &registry,
        resources,
        nodes: Vec::new(),
        written: Vec::new(),
        by_address: HashMap::new(),
        bases: Vec::new(),
        dynamic: Vec::new(),
        has_unevaluated: false,
        faults: Vec::new(),
    };
    let root = compiler.nested(root.schema, &registry.resolver(base));
    let anchors = compiler.anchors();
    compiler.refuse_endless();
    if !compiler.faults.is_empty() {
        return Err(compiler.faults);
    }
    Ok(Schema { nodes: compiler.nodes, root, anchors, has_unevaluated: compiler.has_unevaluated })
}

/// Every resource, and the meta-schemas.
fn registry<'r>(resources: &[Resource<'r>]) -> Result<Registry<'r>, Error> {
    let pairs = resources.iter().map(|resource| (resource.uri, resource.schema));
    SPECIFICATIONS.extend(pairs)?.draft(Draft::Draft202012).retriever(Nothing).prepare()
}

/// Stands for what is not there: the reference to it is reported where it is compiled, at its place.
struct Nothing;

impl Retrieve for Nothing {
    fn retrieve(&self, _uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Value::Null)
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::PointerToNowhere { pointer } => format!("there is nothing at `{pointer}`"),
        Error::NoSuchAnchor { anchor } | Error::InvalidAnchor { anchor } => format!("there is no anchor `{anchor}`"),
        other => other.to_string(),
    }
}

struct Compiler<'c, 'r> {
    registry: &'r Registry<'r>,
    resources: &'c [Resource<'r>],
    nodes: Vec<Node>,
    /// What each node was compiled from.
    written: Vec<&'r Value>,
    by_address: HashMap<usize, NodeId>,
    /// The base URIs of nodes.
    bases: Vec<Uri<String>>,
    /// Names of anchors that a `$dynamicRef` asks for.
    dynamic: Vec<Box<str>>,
    has_unevaluated: bool,
    faults: Vec<BuildFault>,
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value) as usize
}

impl<'r> Compiler<'_, 'r> {
    /// A schema inside another, which may have an `$id` of its own.
    fn nested(&mut self, schema: &'r Value, resolver: &Resolver<'r>) -> NodeId {
        match resolver.in_subresource(ResourceRef::new(schema, Draft::Draft202012)) {
            Ok(resolver) => self.node(schema, &resolver),
            Err(error) => {
                self.fault(schema, &["$id"], words(&error));
                self.node(schema, resolver)
            }
        }
    }

    /// A schema whose base URI is the resolver's.
    fn node(&mut self, schema: &'r Value, resolver: &Resolver<'r>) -> NodeId {
        if let Some(id) = self.by_address.get(&address(schema)) {
            return *id;
        }
        let id = self.nodes.len();
        self.by_address.insert(address(schema), id);
        self.written.push(schema);
        // In place before its parts are compiled, which may refer to it.
        self.nodes.push(Node::default());
        let node = match schema {
            Value::Object(keywords) => self.object(schema, keywords, resolver),
            Value::Bool(false) => Node { types: Types::NONE, ..Node::default() },
            _ => Node::default(),
        };
        self.nodes[id] = node;
        id
    }

    fn object(&mut self, schema: &'r Value, keywords: &'r Map<String, Value>, resolver: &Resolver<'r>) -> Node {
        let mut flat = part(keywords, &FLAT);
        // Where an unknown one may stand, JSON Schema says that it asserts nothing.
        flat.retain(|keyword, value| keyword != "format" || value.as_str().is_some_and(is_known_format));
        let built = |compiler: &mut Self, result: Result<Validator, Box<ValidationError<'static>>>| {
            result.map_err(|error| compiler.library_fault(schema, &error)).ok()
        };
        Node {
            types: Types::written(keywords),
            bounds: Bound::build_all(keywords).unwrap_or_else(|error| {
                self.library_fault(schema, &error);
                Vec::new()
            }),
            length: Span::build(keywords, "minLength", "maxLength"),
            values: Values::build_all(keywords),
            flat: if flat.is_empty() { None } else { built(self, validator(&Value::Object(flat))) },
            items: self.items(keywords, resolver),
            members: self.members(schema, keywords, resolver),
            applied: self.applied(schema, keywords, resolver),
            resource: self.resource(resolver),
        }
    }

    fn resource(&mut self, resolver: &Resolver<'r>) -> usize {
        let base = resolver.base_uri();
        self.bases.iter().position(|known| *known == *base).unwrap_or_else(|| {
            self.bases.push((*base).clone());
            self.bases.len() - 1
        })
    }

    fn one(&mut self, keywords: &'r Map<String, Value>, keyword: &str, resolver: &Resolver<'r>) -> Option<NodeId> {
        keywords.get(keyword).map(|schema| self.nested(schema, resolver))
    }

    fn list(&mut self, keywords: &'r Map<String, Value>, keyword: &str, resolver: &Resolver<'r>) -> Vec<NodeId> {
        let list = keywords.get(keyword).and_then(Value::as_array).into_iter().flatten();
        list.map(|schema| self.nested(schema, resolver)).collect()
    }

    fn named(
        &mut self,
        keywords: &'r Map<String, Value>,
        keyword: &str,
        resolver: &Resolver<'r>,
    ) -> Vec<(Box<str>, NodeId)> {
        let named = keywords.get(keyword).and_then(Value::as_object).into_iter().flatten();
        named.map(|(name, schema)| (name.as_str().into(), self.nested(schema, resolver))).collect()
    }

    fn items(&mut self, keywords: &'r Map<String, Value>, resolver: &Resolver<'r>) -> Option<Box<Items>> {
        const KEYWORDS: [&str; 7] =
            ["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"];
        if !KEYWORDS.iter().any(|keyword| keywords.contains_key(*keyword)) {
            return None;
        }
        let number = |keyword| keywords.get(keyword).and_then(Value::as_f64).map(|number| number as usize);
        let contains = self.one(keywords, "contains", resolver).map(|schema| Contains {
            schema,
            least: number("minContains").unwrap_or(1),
            most: number("maxContains"),
        });
        self.has_unevaluated |= keywords.contains_key("unevaluatedItems");
        Some(Box::new(Items {
            count: Span::build(keywords, "minItems", "maxItems"),
            first: self.list(keywords, "prefixItems", resolver),
            rest: self.one(keywords, "items", resolver),
            contains,
            unique: keywords.get("uniqueItems") == Some(&Value::Bool(true)),
            unevaluated: self.one(keywords, "unevaluatedItems", resolver),
        }))
    }

    fn members(
        &mut self,
        schema: &'r Value,
        keywords: &'r Map<String, Value>,
        resolver: &Resolver<'r>,
    ) -> Option<Box<Members>> {
        const SPEAKING: [&str; 4] =
            ["properties", "patternProperties", "additionalProperties", "unevaluatedProperties"];
        const SILENT: [&str; 6] =
            ["required", "minProperties", "maxProperties", "propertyNames", "dependentRequired", "dependentSchemas"];
        if !SPEAKING.iter().chain(&SILENT).any(|keyword| keywords.contains_key(*keyword)) {
            return None;
        }
        self.has_unevaluated |= keywords.contains_key("unevaluatedProperties");
        let mut patterns = Vec::new();
        for (pattern, node) in self.named(keywords, "patternProperties", resolver) {
            match validator(&serde_json::json!({ "pattern": pattern })) {
                Ok(matcher) => patterns.push((matcher, node)),
                Err(_) => self.fault(schema, &["patternProperties", &pattern], "not a regular expression".to_owned()),
            }
        }
        let with = keywords.get("dependentRequired").and_then(Value::as_object).into_iter().flatten();
        Some(Box::new(Members {
            size: Span::build(keywords, "minProperties", "maxProperties"),
            known: self.named(keywords, "properties", resolver).into_iter().collect(),
            patterns,
            others: self.others(keywords, "additionalProperties", resolver),
            required: names(keywords.get("required")),
            names: self.one(keywords, "propertyNames", resolver),
            with: with.map(|(name, others)| (name.as_str().into(), names(Some(others)))).collect(),
            then: self.named(keywords, "dependentSchemas", resolver),
            unevaluated: self.others(keywords, "unevaluatedProperties", resolver),
            speaks: SPEAKING.iter().any(|keyword| keywords.contains_key(*keyword)),
        }))
    }

    fn others(&mut self, keywords: &'r Map<String, Value>, keyword: &str, resolver: &Resolver<'r>) -> Option<Others> {
        match keywords.get(keyword)? {
            Value::Bool(false) => Some(Others::Forbidden),
            schema => Some(Others::Are(self.nested(schema, resolver))),
        }
    }

    fn applied(
        &mut self,
        schema: &'r Value,
        keywords: &'r Map<String, Value>,
        resolver: &Resolver<'r>,
    ) -> Option<Box<Applied>> {
        const KEYWORDS: [&str; 7] = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if"];
        if !KEYWORDS.iter().any(|keyword| keywords.contains_key(*keyword)) {
            return None;
        }
        let text = |keyword| keywords.get(keyword).and_then(Value::as_str);
        let condition = self.one(keywords, "if", resolver).map(|when| Condition {
            when,
            then: self.one(keywords, "then", resolver),
            otherwise: self.one(keywords, "else", resolver),
        });
        Some(Box::new(Applied {
            reference: text("$ref").and_then(|reference| Some(self.target(schema, "$ref", reference, resolver)?.0)),
            dynamic: text("$dynamicRef").and_then(|reference| self.dynamic(schema, reference, resolver)),
            all: self.list(keywords, "allOf", resolver),
            any: self.list(keywords, "anyOf", resolver),
            one: self.list(keywords, "oneOf", resolver),
            not: self.one(keywords, "not", resolver),
            condition,
        }))
    }

    /// The schema that a reference means.
    fn target(
        &mut self,
        schema: &'r Value,
        keyword: &str,
        reference: &str,
        resolver: &Resolver<'r>,
    ) -> Option<(NodeId, &'r Value)> {
        // Without the way here: a dynamic anchor on it must not decide now.
        let resolver = self.registry.resolver((*resolver.base_uri()).clone());
        let resolved = match resolver.lookup(reference) {
            Ok(resolved) => resolved,
            Err(error) => {
                self.fault(schema, &[keyword], format!("`{reference}` leads nowhere: {}", words(&error)));
                return None;
            }
        };
        let target = resolved.contents();
        if !target.is_object() && !target.is_boolean() {
            let why = if target.is_null() { "it is not here, and nothing is fetched" } else { "it is no schema" };
            self.fault(schema, &[keyword], format!("`{reference}` leads nowhere: {why}"));
            return None;
        }
        let resolver = self.registry.resolver((*resolved.resolver().base_uri()).clone());
        Some((self.node(target, &resolver), target))
    }

    fn dynamic(&mut self, schema: &'r Value, reference: &str, resolver: &Resolver<'r>) -> Option<(Box<str>, NodeId)> {
        let (node, target) = self.target(schema, "$dynamicRef", reference, resolver)?;
        let anchor = target.get("$dynamicAnchor").and_then(Value::as_str).unwrap_or_default();
        let asked = reference.rsplit_once('#').is_some_and(|(_, fragment)| fragment == anchor && !anchor.is_empty());
        if !asked {
            return Some(("".into(), node)); // No anchor has this name: it is as good as `$ref`.
        }
        if !self.dynamic.iter().any(|known| **known == *anchor) {
            self.dynamic.push(anchor.into());
        }
        Some((anchor.into(), node))
    }

    /// The dynamic anchors of every resource that a walk can enter.
    fn anchors(&mut self) -> Vec<(usize, Box<str>, NodeId)> {
        let mut anchors = Vec::new();
        let mut done = 0;
        // Compiling an anchor may bring further resources and names.
        while done < self.bases.len() * self.dynamic.len() {
            anchors.clear();
            done = self.bases.len() * self.dynamic.len();
            for (resource, base) in self.bases.clone().into_iter().enumerate() {
                for name in self.dynamic.clone() {
                    let resolver = self.registry.resolver(base.clone());
                    let Ok(resolved) = resolver.lookup(&format!("#{name}")) else { continue };
                    let target = resolved.contents();
                    if target.get("$dynamicAnchor").and_then(Value::as_str) == Some(&name) {
                        let resolver = self.registry.resolver((*resolved.resolver().base_uri()).clone());
                        anchors.push((resource, name, self.node(target, &resolver)));
                    }
                }
            }
        }
        anchors
    }

    /// Reports nodes that apply to the value that they are already applied to.
    fn refuse_endless(&mut self) {
        let mut state = vec![Visit::New; self.nodes.len()];
        for id in 0..self.nodes.len() {
            if let Some(endless) = self.endless(id, &mut state) {
                self.fault(self.written[endless], &[], "this schema refers to itself without end".to_owned());
                return;
            }
        }
    }

    fn endless(&self, id: NodeId, state: &mut [Visit]) -> Option<NodeId> {
        match state[id] {
            Visit::Done => return None,
            Visit::Open => return Some(id),
            Visit::New => state[id] = Visit::Open,
        }
        let found = self.nodes[id].same_value().into_iter().find_map(|next| self.endless(next, state));
        state[id] = Visit::Done;
        found
    }

    fn library_fault(&mut self, schema: &'r Value, error: &ValidationError<'_>) {
        let below = steps(schema, error.schema_path().as_str());
        self.fault_below(schema, below, error.to_string());
    }

    fn fault(&mut self, schema: &Value, below: &[&str], message: String) {
        self.fault_below(schema, below.iter().copied().map(PointerStep::from), message);
    }

    fn fault_below(&mut self, schema: &Value, below: impl IntoIterator<Item = PointerStep>, message: String) {
        let found = self.resources.iter().enumerate().find_map(|(index, resource)| {
            let mut pointer = Vec::new();
            locate(resource.schema, address(schema), &mut pointer).then_some((index, pointer))
        });
        let (resource, mut pointer) = found.unwrap_or_default();
        pointer.extend(below);
        self.faults.push(BuildFault { resource, pointer, message });
    }
}

#[derive(Debug, Clone, Copy)]
enum Visit {
    New,
    Open,
    Done,
}

impl Node {
    /// The nodes that are applied to the same value.
    fn same_value(&self) -> Vec<NodeId> {
        let mut next = Vec::new();
        if let Some(applied) = &self.applied {
            next.extend(applied.reference);
            next.extend(applied.dynamic.as_ref().map(|(_, node)| *node));
            next.extend(applied.all.iter().chain(&applied.any).chain(&applied.one).copied());
            next.extend(applied.not);
            next.extend(applied.condition.iter().flat_map(|condition| {
                [Some(condition.when), condition.then, condition.otherwise].into_iter().flatten()
            }));
        }
        next.extend(self.members.iter().flat_map(|members| members.then.iter().map(|(_, node)| *node)));
        next
    }
}

/// The way to the value at an address.
fn locate(value: &Value, wanted: usize, pointer: &mut Vec<PointerStep>) -> bool {
    let mut step = |step: PointerStep, value: &Value| {
        pointer.push(step);
        let found = locate(value, wanted, pointer);
        if !found {
            pointer.pop();
        }
        found
    };
    match value {
        value if address(value) == wanted => true,
        Value::Array(items) => items.iter().enumerate().any(|(index, item)| step(index.into(), item)),
        Value::Object(members) => members.iter().any(|(name, value)| step(name.as_str().into(), value)),
        _ => false,
    }
}

fn names(list: Option<&Value>) -> Vec<Box<str>> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|name| Some(name.as_str()?.into())).collect()
}
