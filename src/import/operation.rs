//! Operations become routes, in the order of the document.

use serde_json::{Map, Value, json};

use super::document::Document;
use super::naming::{self, Names};
use super::notes::Notes;
use super::schema::{Direction, Translator};
use super::security::Security;
use super::{Options, Paths, Replies, body, parameters};

/// The operations of a path item, and whether a route can have the method.
const METHODS: [(&str, bool); 8] = [
    ("get", true),
    ("put", true),
    ("post", true),
    ("delete", true),
    ("options", true),
    ("head", true),
    ("patch", true),
    ("trace", false),
];
/// Longest tag, and most tags of a route.
const MAX_TAG: usize = 100;
const MAX_TAGS: usize = 20;

/// A route as it is written.
pub(super) struct Route {
    /// What could not be carried over.
    pub(super) notes: Vec<String>,
    pub(super) entries: Map<String, Value>,
    /// The authenticators that it names itself.
    pub(super) authenticators: Vec<String>,
}

/// The routes of a document.
pub(super) struct Routes<'d> {
    document: &'d Document,
    options: &'d Options,
    security: &'d Security,
    paths: &'d mut dyn Paths,
    names: Names,
    routes: Vec<Route>,
    left_out: Vec<String>,
}

impl<'d> Routes<'d> {
    pub(super) fn new(
        document: &'d Document,
        options: &'d Options,
        security: &'d Security,
        paths: &'d mut dyn Paths,
    ) -> Self {
        Self { document, options, security, paths, names: Names::default(), routes: Vec::new(), left_out: Vec::new() }
    }

    /// The routes, and a note for each operation that became none.
    pub(super) fn finish(self) -> (Vec<Route>, Vec<String>) {
        (self.routes, self.left_out)
    }

    /// Reads every operation.
    pub(super) fn read(&mut self) {
        let document = self.document;
        let items = document.root.get("paths").and_then(Value::as_object).into_iter().flatten();
        for (path, written) in items.filter(|(path, _)| !path.starts_with("x-")) {
            let item = match document.resolve(written) {
                Ok(Value::Object(item)) => item,
                Ok(_) => {
                    self.left_out.push(format!("{path} is left out: it is no mapping"));
                    continue;
                }
                Err(reference) => {
                    self.left_out.push(format!("{path} is left out: `{reference}` is not in the document"));
                    continue;
                }
            };
            for (method, operation) in item {
                let Some((_, routable)) = METHODS.iter().find(|(known, _)| known == method) else { continue };
                if !document.spend(operation) {
                    return;
                }
                let made =
                    if *routable { self.route(method, path, item, operation) } else { Err(NO_METHOD.to_owned()) };
                match made {
                    Ok(route) => self.routes.push(route),
                    Err(why) => {
                        let method = method.to_ascii_uppercase();
                        self.left_out.push(format!("{method} {path} is left out: {why}"));
                    }
                }
            }
        }
        if document.root.contains_key("webhooks") {
            self.left_out
                .push("The document's webhooks are left out: the service makes those requests itself.".to_owned());
        }
    }

    fn route(
        &mut self,
        method: &str,
        path: &str,
        item: &'d Map<String, Value>,
        operation: &'d Value,
    ) -> Result<Route, String> {
        let operation = operation.as_object().ok_or("it is no mapping")?;
        if !path.starts_with('/') {
            return Err("a path begins with `/`".to_owned());
        }
        let template = naming::path(path)?;
        let gateway_path = format!("{}{}", self.options.prefix, template.template);
        let upper = method.to_ascii_uppercase();
        self.paths.take(&upper, &gateway_path)?;
        let mut notes = Notes::default();
        let id = operation.get("operationId").and_then(Value::as_str);
        let named = self.names.give(method, path, id);
        if let Some(id) = named.refused_id {
            notes.add(format!("operation id `{id}` is left out: another route has it, or it is too long"));
        }
        for (written, name) in template.parameters.iter().filter(|(written, name)| written != name) {
            notes.add(format!("path parameter `{written}` is called `{name}` here"));
        }
        let mut entries = Map::new();
        let mut put = |key: &str, value: Value| drop(entries.insert(key.to_owned(), value));
        put("name", named.name.into());
        put("method", upper.as_str().into());
        put("gateway_path", gateway_path.into());
        put("service", self.options.service.as_str().into());
        if !self.options.prefix.is_empty() {
            put("service_path", template.template.as_str().into());
        }
        let mut translator = Translator::new(self.document, Direction::Request, &mut notes);
        entries.extend(parameters::read(&mut translator, item, operation, &template));
        entries.extend(body::read(&mut translator, &upper, operation));
        entries.extend(self.reply(operation, &mut notes));
        let authenticators = self.access(operation, &mut entries, &mut notes);
        self.document_route(operation, named.operation_id, &mut entries, &mut notes);
        for (key, what) in [("callbacks", "callbacks"), ("servers", "servers of its own")] {
            if operation.get(key).or_else(|| item.get(key)).is_some() {
                notes.add(format!("its {what} are left out"));
            }
        }
        Ok(Route { notes: notes.into_lines(), entries, authenticators })
    }

    /// The documented status, and the schema of replies where that is wanted.
    fn reply(&self, operation: &'d Map<String, Value>, notes: &mut Notes) -> Map<String, Value> {
        let mut entries = Map::new();
        let Some((status, response)) = success(operation) else { return entries };
        let response = self.document.resolve(response).unwrap_or(response);
        if self.options.replies == Replies::Checked
            && let Some(schema) = body::json_schema(response)
        {
            let schema = Translator::new(self.document, Direction::Reply, notes).whole(schema);
            if schema != json!({}) && schema != json!(true) {
                entries.insert("response_model".to_owned(), json!({ "schema": schema }));
            }
        }
        if status != "200" && !status.ends_with("XX") {
            // A number of three digits.
            entries.insert("status_code".to_owned(), status.parse::<u16>().map_or(Value::Null, Value::from));
        }
        entries
    }

    fn access(
        &self,
        operation: &Map<String, Value>,
        entries: &mut Map<String, Value>,
        notes: &mut Notes,
    ) -> Vec<String> {
        let (access, said) = self.security.of(self.document, operation);
        said.into_iter().for_each(|note| notes.add(note));
        let Some(access) = access else { return Vec::new() };
        entries.insert("auth".to_owned(), access.value());
        access.names().to_vec()
    }

    /// What is only documentation.
    fn document_route(
        &self,
        operation: &Map<String, Value>,
        operation_id: Option<String>,
        entries: &mut Map<String, Value>,
        notes: &mut Notes,
    ) {
        let tags = operation.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let tags: Vec<&str> = tags.filter(|tag| tag.len() <= MAX_TAG).take(MAX_TAGS).collect();
        let mut put = |key: &str, value: Value| {
            if self.document.spend(&value) {
                entries.insert(key.to_owned(), value);
            }
        };
        if !tags.is_empty() {
            put("tags", tags.into());
        }
        for key in ["summary", "description"] {
            if let Some(text) = operation.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()) {
                put(key, text.into());
            }
        }
        let responses = self.responses(operation, notes);
        if !responses.is_empty() {
            put("responses", Value::Object(responses));
        }
        if operation.get("deprecated") == Some(&Value::Bool(true)) {
            put("deprecated", true.into());
        }
        if let Some(id) = operation_id {
            put("operation_id", id.into());
        }
        if operation.get("x-internal") == Some(&Value::Bool(true)) {
            put("include_in_schema", false.into());
        }
    }

    /// Every documented answer but the success, and but the 422 of FastAPI, which is the gateway's own now.
    fn responses(&self, operation: &Map<String, Value>, notes: &mut Notes) -> Map<String, Value> {
        let written = operation.get("responses").and_then(Value::as_object);
        let success = success(operation).map(|(status, _)| status);
        let mut responses = Map::new();
        for (status, response) in written.into_iter().flatten() {
            if Some(status.as_str()) == success || status.starts_with("x-") {
                continue;
            }
            let response = self.document.resolve(response).unwrap_or(response);
            let description = response.get("description").and_then(Value::as_str).unwrap_or_default();
            let Some(status) = known_status(status) else {
                notes.add(format!("response `{status}` is left out: it is no status"));
                continue;
            };
            if !(description.is_empty() || (status == "422" && description == "Validation Error")) {
                responses.insert(status, json!({ "description": description }));
            }
        }
        responses
    }
}

const NO_METHOD: &str = "a route cannot have this method";

/// The first answer that is a success.
fn success(operation: &Map<String, Value>) -> Option<(&str, &Value)> {
    let responses = operation.get("responses")?.as_object()?;
    let is_success = |status: &str| status.len() == 3 && status.starts_with('2') && known_status(status).is_some();
    responses.iter().map(|(status, response)| (status.as_str(), response)).find(|(status, _)| is_success(status))
}

/// A status, a range, or `default`, as `responses` takes it.
fn known_status(status: &str) -> Option<String> {
    let upper = status.to_ascii_uppercase();
    let bytes = upper.as_bytes();
    let first = bytes.first().is_some_and(|byte| (b'1'..=b'5').contains(byte));
    let rest = upper.get(1..).unwrap_or_default();
    let number = rest.len() == 2 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match status {
        "default" => Some(upper.to_ascii_lowercase()),
        _ => (first && (number || rest == "XX")).then_some(upper),
    }
}
