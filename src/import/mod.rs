//! An OpenAPI document of a microservice becomes a configuration.
//!
//! [`import()`] reads a document, 3.0 or 3.1, and writes a whole file: the service, who may call, and a route for every
//! operation with its parameters and body as a contract. What has no counterpart is said in a comment above the route,
//! and never silently loosens what a parameter is: it is text that passes unchecked, or it is left out. Who may call is
//! never guessed open: without a word from the caller or the document, a key is asked for.
//!
//! [`fetch()`] gets a document from a running service. Whatever the document, the work is bounded (see `document`).
//! Nothing here knows the configuration's types or the gateway, only what a policy can check: whether a path can be routed beside the others is asked
//! of [`Paths`], so that the router's rules stand in one place.

mod body;
mod document;
mod fetch;
mod naming;
mod notes;
mod operation;
mod parameters;
mod pattern;
mod schema;
mod security;
mod yaml;

use serde_json::{Map, Value};
use thiserror::Error;

use document::Document;
use operation::{Route, Routes};
use security::Security;
use yaml::Writer;

pub use document::MAX_BYTES;
pub use fetch::{FetchError, fetch};

/// Where FastAPI's own server listens, for a document that does not say where the service is.
const USUAL_URL: &str = "http://127.0.0.1:8000";
/// The loader takes no larger file.
const MAX_OUTPUT: usize = 15 << 20;

/// What the caller wants.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the document is called in the comment at the top.
    pub source: String,
    /// The name of the service.
    pub service: String,
    /// Where the service is; else the document says it.
    pub url: Option<String>,
    /// Where a running service was asked for the document.
    pub origin: Option<String>,
    /// Put before every gateway path: empty, or `/` and more without a `/` at the end.
    pub prefix: String,
    /// Who may call; else the document says it.
    pub auth: Option<Auth>,
    /// Where the gateway listens.
    pub listen: String,
    /// Whether replies are checked by the schemas of the document.
    pub replies: Replies,
}

/// Who may call every route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Everyone.
    Public,
    /// Whoever one of these authenticators finds.
    Any(Vec<String>),
}

/// What becomes of the schemas of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replies {
    /// They are left out: the service has checked its replies already.
    #[default]
    Unchecked,
    /// They become `response_model`.
    Checked,
}

/// Says whether a route can have a gateway path beside those before it.
pub trait Paths {
    /// Takes the path for a method, or says why not.
    ///
    /// # Errors
    /// A sentence when the path is no template, or matches the same requests as another one.
    fn take(&mut self, method: &str, path: &str) -> Result<(), String>;
}

/// Why a document cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportError {
    /// Neither JSON nor YAML.
    #[error("the document cannot be read: {0}")]
    Syntax(String),
    /// No OpenAPI that is known.
    #[error("this is no OpenAPI document: {0}")]
    Foreign(String),
    /// More than is read or written.
    #[error("the document is too large: {0}")]
    TooLarge(String),
}

/// The configuration that a document becomes.
///
/// # Errors
/// When the text is no OpenAPI document of 3.0 or 3.1, or too large.
pub fn import(text: &str, options: &Options, paths: &mut dyn Paths) -> Result<String, ImportError> {
    let document = Document::read(text)?;
    let security = Security::new(&document, options.auth.as_ref());
    let mut routes = Routes::new(&document, options, &security, paths);
    routes.read();
    document.check_budget()?;
    let (routes, left_out) = routes.finish();
    if routes.is_empty() && left_out.is_empty() {
        return Err(ImportError::Foreign("it has no operations".to_owned()));
    }
    let mut writer = Writer::default();
    head(&mut writer, &document, options);
    callers(&mut writer, &security, &routes);
    writer.line(if routes.is_empty() { "routes: []" } else { "routes:" });
    for (nth, route) in routes.iter().enumerate() {
        if nth > 0 {
            writer.blank();
        }
        route.notes.iter().for_each(|note| writer.comment(2, note));
        writer.element(2, &route.entries);
        if writer.len() > MAX_OUTPUT {
            return Err(ImportError::TooLarge("the configuration would be larger than a gateway reads".to_owned()));
        }
    }
    for note in left_out {
        writer.blank();
        writer.comment(2, &note);
    }
    Ok(writer.finish())
}

/// Everything before the routes.
fn head(writer: &mut Writer, document: &Document, options: &Options) {
    let text = |name: &str| document.root.get("info").and_then(|info| info.get(name)?.as_str()).unwrap_or_default();
    let title = format!("{} {}", text("title"), text("version"));
    let title: String = title.trim().chars().take(200).collect();
    let of = if title.is_empty() { String::new() } else { format!(" of {title}") };
    writer.comment(0, &format!("The routes{of}, imported from {}.", options.source));
    writer.comment(0, "What could not be carried over is said above each route.");
    writer.line("version: 1");
    writer.blank();
    writer.line("listeners:");
    writer.element(2, &Map::from_iter([("address".to_owned(), options.listen.as_str().into())]));
    writer.blank();
    writer.line("services:");
    let (url, notes) = service_url(document, options);
    notes.iter().for_each(|note| writer.comment(2, note));
    writer.entry(2, &options.service, &Value::Object(Map::from_iter([("url".to_owned(), url.into())])));
    writer.blank();
}

/// Who may call.
fn callers(writer: &mut Writer, security: &Security, routes: &[Route]) {
    let used = routes.iter().flat_map(|route| route.authenticators.iter().cloned()).collect();
    let authenticators = security.authenticators(&used);
    security.notes(&authenticators).iter().for_each(|note| writer.comment(0, note));
    if !authenticators.is_empty() {
        writer.line("authenticators:");
        authenticators.iter().for_each(|(name, value)| writer.entry(2, name, value));
        writer.blank();
    }
    writer.entry(0, "defaults", &security.defaults());
    writer.blank();
}

/// Where the service is: as the caller says, or the document's first server.
fn service_url(document: &Document, options: &Options) -> (String, Vec<String>) {
    if let Some(url) = &options.url {
        return (url.trim_end_matches('/').to_owned(), Vec::new());
    }
    let origin = options.origin.as_deref();
    let servers = document.root.get("servers").and_then(Value::as_array);
    let server = servers.and_then(|servers| servers.first()?.get("url")?.as_str()).unwrap_or_default();
    let plain = server.len() <= 500 && !server.contains(['{', '}', '?', '#']) && !server.contains(char::is_whitespace);
    let base = server.trim_end_matches('/');
    let mut notes = Vec::new();
    let url = match () {
        () if plain && base.starts_with("http://") => base.to_owned(),
        () if plain && (base.is_empty() || base.starts_with('/')) => {
            if origin.is_none() {
                notes.push("The document does not say where the service is: put its address here.".to_owned());
            }
            format!("{}{base}", origin.unwrap_or(USUAL_URL))
        }
        () => {
            notes.push(format!(
                "The document names the server `{server}`, which no `url` can be: put its address here."
            ));
            origin.unwrap_or(USUAL_URL).to_owned()
        }
    };
    (url, notes)
}
