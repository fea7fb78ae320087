//! The API's description: an OpenAPI 3.1 document from what was written.
//!
//! [`document`] is pure, and its result is the same for the same configuration, in the order of the file. It says what
//! clients see: nothing of services, plans or limits but that there are some. It expects a configuration that compiles;
//! what does not parse in another one is left out.
//!
//! Where OpenAPI has no word for what a route is:
//! - A catch-all `{*rest}` is written as the parameter `{rest}`, whose description says that it may hold slashes.
//! - A route's `host` becomes `servers` of its operation: each of the document's servers with that host, or
//!   `//host` for the scheme and port the document was read with. A wildcard is a server variable.
//! - Paths that differ in their parameters' names only are one path here; the first route names the parameters.
//! - There is one operation for a path and a method. Further routes for them (another host, or a catch-all beside a
//!   parameter) stand whole in the first one's `x-tollgate-alternatives`, and its description names them.
//! - `HEAD` is not listed where the same route answers `GET`.
//! - 405 is not listed: it is what methods get that the document does not have.
//!
//! `operation` makes one operation, `schema` and `files` bring schemas over, `responses` knows what the gateway answers itself.

mod files;
mod operation;
mod responses;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::config::{Authenticator, Config, Docs, Jwt, Route};
use crate::gateway::template::Template;

use schema::Components;

/// Operations that share path and method with one that stands before them.
const ALTERNATIVES: &str = "x-tollgate-alternatives";

/// The description of everything the routes offer.
pub fn document(config: &Config) -> Value {
    let mut builder = Builder {
        config,
        paths: Map::new(),
        names: HashMap::new(),
        ids: single_ids(config),
        components: Components::default(),
        security: Security::of(config),
    };
    for (index, route) in config.routes.iter().enumerate().filter(|(_, route)| route.include_in_schema) {
        builder.add(index, route);
    }
    builder.finish()
}

struct Builder<'c> {
    config: &'c Config,
    paths: Map<String, Value>,
    /// By a path's shape: how it is written, and what its parameters are called.
    names: HashMap<String, (String, Vec<String>)>,
    /// Operation ids in use.
    ids: HashSet<String>,
    components: Components,
    security: Security,
}

impl Builder<'_> {
    fn add(&mut self, index: usize, route: &Route) {
        let Ok(template) = Template::parse(&route.gateway_path) else { return };
        // Clients do not tell a catch-all from a parameter by its place in the path.
        let shape = template.shape().replace("{*", "{");
        let written = || (route.gateway_path.replace("{*", "{"), template.names().to_vec());
        let (path, names) = self.names.entry(shape).or_insert_with(written).clone();
        let methods = listed_methods(route);
        for method in &methods {
            let id = self.operation_id(route, method, methods.len());
            let operation = operation::Operation {
                config: self.config,
                index,
                route,
                catch_all: template.catch_all().is_some(),
                names: &names,
                own_names: template.names(),
                security: &self.security,
            };
            let made = operation.write(&id, &mut self.components);
            self.place(route, &path, &method.to_ascii_lowercase(), made);
        }
    }

    /// Puts an operation where it belongs, or beside the one that is there.
    fn place(&mut self, route: &Route, path: &str, method: &str, operation: Value) {
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        let Some(first) = item.get_mut(method).and_then(Value::as_object_mut) else {
            item[method] = operation;
            return;
        };
        let host = route.host.as_deref();
        let on = host.map_or_else(|| "any host".to_owned(), |host| format!("host `{host}`"));
        let said = format!("Route `{}` has the same path and method (`{}`, {on}).", route.name, route.gateway_path);
        let description = match first.get("description").and_then(Value::as_str) {
            Some(text) => format!("{text}\n\n{said}"),
            None => said,
        };
        first.insert("description".to_owned(), description.into());
        let alternative = json!({
            "route": route.name, "host": host, "gateway_path": route.gateway_path, "operation": operation,
        });
        let others = first.entry(ALTERNATIVES).or_insert_with(|| json!([]));
        others.as_array_mut().into_iter().for_each(|others| others.push(alternative.clone()));
    }

    /// Unique: several methods of a route share its id, so each adds its own name.
    fn operation_id(&mut self, route: &Route, method: &str, of: usize) -> String {
        let id = route.operation_id.as_deref().unwrap_or(&route.name);
        if of == 1 {
            return id.to_owned();
        }
        let mut unique = format!("{id}_{}", method.to_ascii_lowercase());
        while !self.ids.insert(unique.clone()) {
            unique.push('_');
        }
        unique
    }

    fn finish(self) -> Value {
        let docs = self.config.docs.as_ref();
        let mut document = Map::new();
        document.insert("openapi".to_owned(), "3.1.0".into());
        document.insert("info".to_owned(), info(docs));
        let servers = docs.map_or(&[][..], |docs| &docs.servers);
        if !servers.is_empty() {
            let servers: Vec<Value> = servers.iter().map(|url| json!({ "url": url })).collect();
            document.insert("servers".to_owned(), servers.into());
        }
        let tags = tags(self.config);
        if !tags.is_empty() {
            document.insert("tags".to_owned(), tags.into());
        }
        document.insert("paths".to_owned(), self.paths.into());
        let components = self.components.finish(self.config.error_format, self.security.schemes);
        document.insert("components".to_owned(), components);
        document.into()
    }
}

fn info(docs: Option<&Docs>) -> Value {
    let mut info = Map::new();
    info.insert("title".to_owned(), docs.map_or("API", |docs| &docs.title).into());
    if let Some(description) = docs.and_then(|docs| docs.description.as_deref()) {
        info.insert("description".to_owned(), description.into());
    }
    info.insert("version".to_owned(), docs.map_or("1", |docs| &docs.version).into());
    info.into()
}

/// Every tag once, by its first use.
fn tags(config: &Config) -> Vec<Value> {
    let mut seen = HashSet::new();
    let used = config.routes.iter().filter(|route| route.include_in_schema).flat_map(|route| &route.tags);
    used.filter(|tag| seen.insert(tag.as_str())).map(|tag| json!({ "name": tag })).collect()
}

/// The methods of a route that are listed, as written.
fn listed_methods(route: &Route) -> Vec<String> {
    let all: Vec<&String> = route.method.iter().chain(&route.methods).collect();
    let gets = all.iter().any(|method| *method == "GET");
    all.into_iter().filter(|method| !(gets && *method == "HEAD")).cloned().collect()
}

/// The ids of routes with one method, which stay as they are.
fn single_ids(config: &Config) -> HashSet<String> {
    let single = config.routes.iter().filter(|route| listed_methods(route).len() == 1);
    single.map(|route| route.operation_id.as_ref().unwrap_or(&route.name).clone()).collect()
}

/// How callers show who they are.
struct Security {
    schemes: Map<String, Value>,
    /// By authenticator: the scheme that stands for it.
    names: HashMap<String, String>,
}

impl Security {
    /// Authenticators that look in the same place are one scheme to a client, named after the first. A name that
    /// OpenAPI does not allow is respelt.
    fn of(config: &Config) -> Self {
        let mut security = Self { schemes: Map::new(), names: HashMap::new() };
        for (name, authenticator) in &config.authenticators {
            let Some(scheme) = scheme(authenticator) else { continue };
            let known = security.schemes.iter().find(|(_, known)| **known == scheme).map(|(name, _)| name.clone());
            let key = known.unwrap_or_else(|| {
                let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
                let mut key: String = name.chars().map(|char| if plain(char) { char } else { '-' }).collect();
                while security.schemes.contains_key(&key) {
                    key.push('_');
                }
                security.schemes.insert(key.clone(), scheme);
                key
            });
            security.names.insert(name.clone(), key);
        }
        security
    }

    /// Any one of these suffices.
    fn any_of(&self, authenticators: &[String]) -> Value {
        let mut keys: Vec<&String> = Vec::new();
        for key in authenticators.iter().filter_map(|name| self.names.get(name)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.into_iter().map(|key| json!({ key: [] })).collect()
    }
}

/// A token in `Authorization` is a scheme of HTTP; elsewhere it is to a client what a key is.
fn token_scheme(jwt: &Jwt) -> Value {
    let places = [("header", &jwt.header), ("query", &jwt.query), ("cookie", &jwt.cookie)];
    let said = places.into_iter().find_map(|(place, name)| Some((place, name.as_deref()?)));
    match said.filter(|(place, name)| *place != "header" || !name.eq_ignore_ascii_case("authorization")) {
        None => json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" }),
        Some((place, name)) => json!({ "type": "apiKey", "in": place, "name": name }),
    }
}

/// `None` for one that looks nowhere: it does not compile.
fn scheme(authenticator: &Authenticator) -> Option<Value> {
    // Of what an auth service looks at, the first header is all that can be said.
    if let Some(asked) = &authenticator.forward_auth {
        let name = asked.request_headers.first()?.0.as_str();
        return Some(json!({ "type": "apiKey", "in": "header", "name": name }));
    }
    if authenticator.basic.is_some() {
        return Some(json!({ "type": "http", "scheme": "basic" }));
    }
    if authenticator.client_certificate.is_some() {
        return Some(json!({ "type": "mutualTLS" }));
    }
    let Some(key) = &authenticator.api_key else { return authenticator.jwt.as_ref().map(token_scheme) };
    let places = [("header", &key.header), ("query", &key.query), ("cookie", &key.cookie)];
    places.into_iter().find_map(|(place, name)| {
        let name = name.as_ref()?;
        Some(json!({ "type": "apiKey", "in": place, "name": name }))
    })
}
