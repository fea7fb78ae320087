//! One operation: what a client sends, and what it gets.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::config::{Body, Config, EncodedSlash, Parameter, Parameters, Route, Undeclared};

use super::schema::{self, Components, Kind};
use super::{Security, responses};

/// What a catch-all is.
const REST: &str = "The rest of the path. It may be empty, and it may hold slashes as they are; clients made from this \
                    document escape them.";

/// A route as one of its methods sees it.
pub(super) struct Operation<'c> {
    pub(super) config: &'c Config,
    /// The route's position in the file.
    pub(super) index: usize,
    pub(super) route: &'c Route,
    /// Whether the last path parameter takes the rest of the path.
    pub(super) catch_all: bool,
    /// What the path's parameters are called in the document.
    pub(super) names: &'c [String],
    /// What they are called in the route.
    pub(super) own_names: &'c [String],
    pub(super) security: &'c Security,
}

impl Operation<'_> {
    pub(super) fn write(&self, id: &str, components: &mut Components) -> Value {
        let route = self.route;
        let mut operation = Map::new();
        let mut put = |key: &str, value: Option<Value>| value.map(|value| operation.insert(key.to_owned(), value));
        put("tags", (!route.tags.is_empty()).then(|| route.tags.clone().into()));
        put("summary", route.summary.clone().map(Value::from));
        put("description", route.description.clone().map(Value::from));
        put("operationId", Some(id.into()));
        put("deprecated", route.deprecated.then(|| true.into()));
        put("servers", route.host.as_deref().map(|host| servers(self.config, host)));
        let parameters = self.parameters();
        put("parameters", (!parameters.is_empty()).then(|| parameters.into()));
        put("requestBody", self.body(components));
        put("responses", Some(responses::of_route(self.config, self.index, route, components)));
        let authenticators = responses::authenticators(self.config, route).unwrap_or_default();
        put("security", Some(self.security.any_of(authenticators)));
        operation.into()
    }

    fn undeclared(&self) -> Undeclared {
        self.route.undeclared.or(self.config.defaults.undeclared).unwrap_or_default()
    }

    fn parameters(&self) -> Vec<Value> {
        let route = self.route;
        let mut parameters = self.path_parameters();
        if let Parameters::Named(named) = &route.query_params {
            parameters.extend(named.iter().map(|(name, declared)| parameter("query", name, declared)));
        }
        if route.query_params == Parameters::Any || self.undeclared() == Undeclared::Forward {
            parameters.push(free_query(&route.query_params));
        }
        let fields = route.header_params.iter().map(|(name, declared)| parameter("header", name.0.as_str(), declared));
        parameters.extend(fields);
        let cookies = route.cookie_params.iter().map(|(name, declared)| parameter("cookie", name, declared));
        parameters.extend(cookies);
        parameters
    }

    fn path_parameters(&self) -> Vec<Value> {
        let last = self.names.len().saturating_sub(1);
        let of = |(index, (name, own_name)): (usize, (&String, &String))| {
            let declared = self.route.path_params.get(own_name);
            let schema = declared.map_or_else(|| json!({ "type": "string" }), schema::parameter);
            let schema = in_a_path(schema, self.route.encoded_slash);
            let mut parameter = json!({ "name": name, "in": "path", "required": true, "schema": schema });
            if self.catch_all && index == last {
                parameter["description"] = REST.into();
            }
            parameter
        };
        self.names.iter().zip(self.own_names).enumerate().map(of).collect()
    }

    fn body(&self, components: &mut Components) -> Option<Value> {
        let route = self.route;
        if let Some(members) = &route.body_params {
            let schema = self.closed(schema::object(members, schema::parameter));
            return Some(body(
                members.values().any(schema::is_required),
                json!({ "application/json": { "schema": schema } }),
            ));
        }
        if let Some(fields) = &route.form_params {
            let media = json!({ "schema": self.closed(schema::object(fields, schema::field)) });
            return Some(body(fields.values().any(schema::is_required), form(fields, media)));
        }
        match route.body.as_ref()? {
            Body::Any => Some(body(false, json!({ "*/*": {} }))),
            Body::Document(document) => {
                let schema = components.add_document(self.config, document, self.index, Kind::Body);
                Some(body(true, json!({ "application/json": { "schema": schema } })))
            }
        }
    }

    /// Where undeclared members are refused, the schema says so.
    fn closed(&self, mut schema: Map<String, Value>) -> Value {
        if self.undeclared() == Undeclared::Reject {
            schema.insert("additionalProperties".to_owned(), false.into());
        }
        schema.into()
    }
}

/// Path hygiene, as far as a schema can tell it: a text is never empty, holds no control character, and by default
/// neither slash nor backslash. And a path parameter is always there, so it has no default.
fn in_a_path(schema: Value, slashes: EncodedSlash) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    schema.shift_remove("default");
    if schema.get("type").is_some_and(|of| of == "string") {
        let clean = match slashes {
            EncodedSlash::Reject => r"^[^\x00-\x1F\x7F/\\]+$",
            EncodedSlash::Forward => r"^[^\x00-\x1F\x7F]+$",
        };
        match schema.get("pattern") {
            None => _ = schema.insert("pattern".to_owned(), clean.into()),
            Some(_) => return json!({ "allOf": [schema, { "pattern": clean }] }),
        }
    }
    schema.into()
}

fn body(required: bool, content: Value) -> Value {
    let mut body = Map::new();
    if required {
        body.insert("required".to_owned(), true.into());
    }
    body.insert("content".to_owned(), content);
    body.into()
}

/// A form with a file is multipart; every other one may be sent either way.
fn form(fields: &IndexMap<String, Parameter>, mut media: Value) -> Value {
    let files = fields.iter().filter_map(|(name, field)| Some((name, schema::file_types(field)?)));
    let encoding: Map<String, Value> =
        files.map(|(name, types)| (name.clone(), json!({ "contentType": types }))).collect();
    if encoding.is_empty() {
        return json!({ "application/x-www-form-urlencoded": media, "multipart/form-data": media });
    }
    media["encoding"] = encoding.into();
    json!({ "multipart/form-data": media })
}

fn parameter(place: &str, name: &str, declared: &Parameter) -> Value {
    let mut schema = schema::parameter(declared);
    let description = schema.as_object_mut().and_then(|schema| schema.shift_remove("description"));
    let deprecated = declared.schema.get("deprecated") == Some(&Value::Bool(true));
    let mut parameter = Map::new();
    parameter.insert("name".to_owned(), name.into());
    parameter.insert("in".to_owned(), place.into());
    if let Some(description) = description {
        parameter.insert("description".to_owned(), description);
    }
    if schema::is_required(declared) {
        parameter.insert("required".to_owned(), true.into());
    }
    if deprecated {
        parameter.insert("deprecated".to_owned(), true.into());
    }
    parameter.insert("schema".to_owned(), schema);
    parameter.into()
}

/// Queries that pass unchecked: an object whose members are parameters of their own.
fn free_query(declared: &Parameters) -> Value {
    let mut name = "query".to_owned();
    while matches!(declared, Parameters::Named(named) if named.contains_key(&name)) {
        name.push('_');
    }
    json!({
        "name": name,
        "in": "query",
        "description": "Any further parameters; they pass unchecked.",
        "style": "form",
        "explode": true,
        "schema": { "type": "object", "additionalProperties": true },
    })
}

/// The document's servers under a route's host.
fn servers(config: &Config, host: &str) -> Value {
    let (host, wildcard) = match host.strip_prefix('*') {
        Some(suffix) => (format!("{{subdomain}}{suffix}"), true),
        None => (host.to_owned(), false),
    };
    let written = config.docs.as_ref().map_or(&[][..], |docs| &docs.servers);
    let mut urls: Vec<String> = written.iter().filter_map(|server| with_host(server, &host)).collect();
    if urls.is_empty() {
        urls.push(format!("//{host}"));
    }
    let server = |url: String| match wildcard {
        true => json!({ "url": url, "variables": { "subdomain": { "default": "www" } } }),
        false => json!({ "url": url }),
    };
    urls.into_iter().map(server).collect()
}

/// A base URL with another host; `None` for one without any.
fn with_host(server: &str, host: &str) -> Option<String> {
    let (scheme, rest) = server.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}{path}"))
}
