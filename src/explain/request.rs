//! The bytes of a request, from what a user says of it.
//!
//! Said like curl's: `Host` comes from the URL, a body brings its length, and a type where none is given. That is the one
//! of the route's contract where it takes JSON, and otherwise curl's `application/x-www-form-urlencoded`. No `User-Agent`
//! and no `Accept` is made up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::gateway::{Access, Consumer, Gateway, Plan};
use crate::policy::authenticate::{KeyPlace, Part as Place};
use crate::policy::contract::BodyContract;
use crate::policy::limit::Subject;
use crate::proxy::rehearse::{Message, Part};

use super::routes::Asked;

/// Separates the parts of a form, unless one holds it.
const BOUNDARY: &str = "tollgate-explain";

/// The host of a URL that is a path.
const HOST: &str = "localhost";

/// A request as a user says it.
pub struct Spoken {
    /// The method.
    pub method: String,
    /// A path, or a whole URL.
    pub url: String,
    /// Header fields.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// Where it comes from.
    pub address: IpAddr,
    /// Who sends it.
    pub caller: Caller,
}

/// The body of a request.
pub enum Body {
    /// None.
    None,
    /// These bytes.
    Data(Vec<u8>),
    /// A multipart form.
    Form(Vec<FormPart>),
}

/// A part of a multipart form.
pub struct FormPart {
    /// Its name.
    pub name: String,
    /// The file's name, for a file.
    pub file: Option<String>,
    /// Its type, where it says one.
    pub media: Option<String>,
    /// Its content.
    pub content: Vec<u8>,
}

/// Who sends a request.
pub enum Caller {
    /// Whoever its fields say.
    AsSent,
    /// The owner of this key, which is put where the route looks for one first, or any other route does.
    Key(String),
    /// This consumer, whatever its credentials.
    Consumer(String),
    /// Somebody with this plan.
    Plan(String),
}

/// Writes a request down.
///
/// # Errors
/// A sentence about what nobody could send.
pub fn written(gateway: &Gateway, listeners: &[SocketAddr], spoken: &Spoken) -> Result<Part, String> {
    let (authority, mut target) = split(&spoken.url)?;
    check_token(&spoken.method, "method")?;
    let mut fields = vec![("Host".to_owned(), authority.clone())];
    for (name, value) in &spoken.fields {
        check_token(name, "header name")?;
        if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(format!("header {name} has a line break in its value"));
        }
        // The one that is said takes the place of the one that goes without saying.
        fields.retain(|(of, _)| !(of == "Host" && name.eq_ignore_ascii_case("host")));
        fields.push((name.clone(), value.clone()));
    }
    let head = Message {
        start: format!("{} {target} HTTP/1.1", spoken.method),
        fields: fields.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect(),
        body: Vec::new(),
    };
    let route = Asked::of(&head).route(gateway);
    if let Caller::Key(key) = &spoken.caller {
        // A client sends its key everywhere, also where nobody asks for it.
        let asking = route.into_iter().chain(gateway.routes.iter().map(AsRef::as_ref));
        let place = asking.flat_map(|route| places(&route.access)).next();
        let place = place.ok_or("no route asks for an API key")?;
        present(key, &place.part, &mut fields, &mut target)?;
    }
    let takes_json =
        route.is_some_and(|route| matches!(route.contract.body, BodyContract::Json(_) | BodyContract::Document(_)));
    let body = body(&spoken.body, takes_json, &mut fields)?;
    let mut bytes = format!("{} {target} HTTP/1.1\r\n", spoken.method).into_bytes();
    for (name, value) in &fields {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    let listener = listener(listeners, &authority);
    Ok(Part { bytes, peer: spoken.address, listener, consumer: consumer(gateway, &spoken.caller)? })
}

/// Host and target of a URL.
fn split(url: &str) -> Result<(String, String), String> {
    let url = url.split('#').next().unwrap_or_default();
    if url.is_empty() || url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("`{}` is no URL: spaces are written %20", url.escape_debug()));
    }
    if url.starts_with('/') || url == "*" {
        return Ok((HOST.to_owned(), url.to_owned()));
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else { return Err(format!("`{url}` is neither a path nor an http URL")) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return Err(format!("`{url}` has no host that can be sent"));
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((authority.to_owned(), format!("{slash}{target}")))
}

fn check_token(text: &str, what: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(format!("`{}` is no {what}", text.escape_debug()));
    }
    Ok(())
}

fn places(access: &Access) -> &[KeyPlace] {
    match access {
        Access::Authenticated { places, .. } => places,
        Access::Public => &[],
    }
}

/// Puts a key where a route looks for one first.
fn present(key: &str, place: &Place, fields: &mut Vec<(String, String)>, target: &mut String) -> Result<(), String> {
    if key.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("the key has control characters".to_owned());
    }
    match place {
        Place::Header(name) => fields.push((name.to_string(), key.to_owned())),
        Place::Cookie(name) => fields.push(("Cookie".to_owned(), format!("{name}={key}"))),
        Place::Query(name) => {
            let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, key).finish();
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&pair);
        }
    }
    Ok(())
}

/// The body as it is sent, with the fields that it needs.
fn body(body: &Body, takes_json: bool, fields: &mut Vec<(String, String)>) -> Result<Vec<u8>, String> {
    let says = |fields: &[(String, String)], name: &str| fields.iter().any(|(of, _)| of.eq_ignore_ascii_case(name));
    let (content, media) = match body {
        Body::None => (Vec::new(), None),
        Body::Data(data) if takes_json => (data.clone(), Some("application/json".to_owned())),
        Body::Data(data) => (data.clone(), Some("application/x-www-form-urlencoded".to_owned())),
        Body::Form(parts) => {
            let (content, boundary) = form(parts)?;
            (content, Some(format!("multipart/form-data; boundary={boundary}")))
        }
    };
    if let Some(media) = media.filter(|_| !says(fields, "content-type")) {
        fields.push(("Content-Type".to_owned(), media));
    }
    let length = fields.iter().find(|(of, _)| of.eq_ignore_ascii_case("content-length"));
    if length.is_some_and(|(_, length)| length.parse() != Ok(content.len())) {
        return Err(format!("the body has {} bytes, which its Content-Length does not say", content.len()));
    }
    let coding = fields.iter().find(|(of, _)| of.eq_ignore_ascii_case("transfer-encoding"));
    if coding.is_some_and(|(_, coding)| coding.eq_ignore_ascii_case("chunked")) {
        let head = if content.is_empty() { String::new() } else { format!("{:x}\r\n", content.len()) };
        let end: &[u8] = if content.is_empty() { b"0\r\n\r\n" } else { b"\r\n0\r\n\r\n" };
        return Ok([head.as_bytes(), &content, end].concat());
    }
    if !matches!(body, Body::None) && coding.is_none() && length.is_none() {
        fields.push(("Content-Length".to_owned(), content.len().to_string()));
    }
    Ok(content)
}

fn form(parts: &[FormPart]) -> Result<(Vec<u8>, String), String> {
    let mut boundary = BOUNDARY.to_owned();
    while parts.iter().any(|part| memchr::memmem::find(&part.content, boundary.as_bytes()).is_some()) {
        boundary.push('x');
    }
    let mut bytes = Vec::new();
    for FormPart { name, file, media, content } in parts {
        for text in [Some(name), file.as_ref(), media.as_ref()].into_iter().flatten() {
            if text.bytes().any(|byte| byte.is_ascii_control() || byte == b'"') {
                return Err(format!("`{}` cannot be written into a form", text.escape_debug()));
            }
        }
        let file = file.as_ref().map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let media = media.as_ref().map(|media| format!("Content-Type: {media}\r\n")).unwrap_or_default();
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n{media}\r\n");
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((bytes, boundary))
}

/// The listener with the URL's port, or the first.
fn listener(listeners: &[SocketAddr], authority: &str) -> Option<SocketAddr> {
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    listeners.iter().find(|listener| Some(listener.port()) == port).or(listeners.first()).copied()
}

fn consumer(gateway: &Gateway, caller: &Caller) -> Result<Option<Arc<Consumer>>, String> {
    let known = |what: &str, name: &str, names: Vec<&str>| match names.as_slice() {
        [] => format!("unknown {what} `{name}`: none is defined"),
        _ => format!("unknown {what} `{name}`, defined: {}", names.join(", ")),
    };
    match caller {
        Caller::AsSent | Caller::Key(_) => Ok(None),
        Caller::Consumer(name) => {
            let names = || gateway.consumers.keys().map(String::as_str).collect();
            let consumer = gateway.consumers.get(name).ok_or_else(|| known("consumer", name, names()))?;
            Ok(Some(Arc::clone(consumer)))
        }
        Caller::Plan(name) => {
            let names = || gateway.plans.keys().map(String::as_str).collect();
            let plan = gateway.plans.get(name).ok_or_else(|| known("plan", name, names()))?;
            Ok(Some(Arc::new(somebody(plan))))
        }
    }
}

/// A consumer that nobody has configured.
fn somebody(plan: &Arc<Plan>) -> Consumer {
    Consumer {
        name: "somebody".into(),
        plan: Some(Arc::clone(plan)),
        name_header: http::HeaderValue::from_static("somebody"),
        groups_header: None,
        subject: Subject::consumer("somebody"),
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        claim_headers: Vec::new(),
    }
}
