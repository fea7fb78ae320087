//! What a route answers: what it documents, and what the gateway answers itself.
//!
//! A service's own replies pass, whatever their status: they are the `default` answer, unless the route documents
//! them. A status that a route documents is described in its own words only, also where the gateway might answer it.
//! Which of the gateway's answers can happen on a route is decided here from what the route declares; how each looks
//! is said once, in the components.

use serde_json::{Map, Value, json};

use crate::config::{Allow, Auth, Body, Config, ErrorFormat, Mode, Parameters, Route, Undeclared, Websocket};

use super::schema::{Components, Kind};

/// An answer of the gateway's own.
struct Own {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    /// Components beside `X-Request-Id`.
    headers: &'static [&'static str],
}

const fn own(
    status: &'static str,
    name: &'static str,
    description: &'static str,
    headers: &'static [&'static str],
) -> Own {
    Own { status, name, description, headers }
}

const OWN: [Own; 16] = [
    own("400", "BadRequest", "The request is not HTTP as the gateway takes it, or its path is refused.", &[]),
    own("401", "Unauthorized", "The credential is missing or nobody's.", &["WWW-Authenticate"]),
    own("403", "Forbidden", "The caller or its address may not use this route.", &[]),
    own("404", "NotFound", "No route has this host and path.", &[]),
    own("408", "RequestTimeout", "The body did not arrive in time.", &[]),
    own("413", "ContentTooLarge", "The body is too large.", &[]),
    own("414", "UriTooLong", "Path and query are too long.", &[]),
    own("415", "UnsupportedMediaType", "The body is of another media type.", &[]),
    own("422", "UnprocessableContent", "The request does not fit the contract; every fault is listed.", &[]),
    own("426", "UpgradeRequired", "The request asks for no WebSocket.", &["Upgrade", "Sec-WebSocket-Version"]),
    own(
        "429",
        "TooManyRequests",
        "A limit is used up.",
        &["Retry-After", LIMIT, POLICY, "X-RateLimit-Limit", LEFT, RESET],
    ),
    own("431", "RequestHeaderFieldsTooLarge", "The header has too many fields or bytes.", &[]),
    own("502", "BadGateway", "The service's reply could not be used.", &[]),
    own("503", "ServiceUnavailable", "The service cannot be reached, or too much is under way.", &["Retry-After"]),
    own("504", "GatewayTimeout", "The service did not answer in time.", &[]),
    own("default", "ServiceAnswer", "Any other answer of the service.", &[]),
];

const LIMIT: &str = "RateLimit";
const POLICY: &str = "RateLimit-Policy";
const LEFT: &str = "X-RateLimit-Remaining";
const RESET: &str = "X-RateLimit-Reset";

/// A header's name, what it says, its schema's type, and whether it is always there.
const HEADERS: [(&str, &str, &str, bool); 10] = [
    ("Upgrade", "The protocol to ask for.", "string", true),
    ("Sec-WebSocket-Version", "The version of WebSockets.", "string", true),
    ("X-Request-Id", "Names the request in the gateway's access log.", "string", false),
    ("WWW-Authenticate", "Where a credential belongs.", "string", true),
    ("Retry-After", "Seconds after which another attempt may pass.", "integer", false),
    (LIMIT, "What is left of each limit, and when more is.", "string", false),
    (POLICY, "The limits of this request.", "string", false),
    ("X-RateLimit-Limit", "The most requests of the tightest limit.", "integer", false),
    (LEFT, "What is left of the tightest limit.", "integer", false),
    (RESET, "Seconds until more is left of the tightest limit.", "integer", false),
];

/// The component that a status is described by.
pub(super) fn name(status: &str) -> &'static str {
    OWN.iter().find(|own| own.status == status).map_or("ServiceAnswer", |own| own.name)
}

/// That component.
pub(super) fn response(status: &str, format: ErrorFormat) -> Value {
    let own = OWN.iter().find(|own| own.status == status).unwrap_or(&OWN[OWN.len() - 1]);
    let mut response = Map::new();
    response.insert("description".to_owned(), own.description.into());
    response.insert("headers".to_owned(), header_references(own.headers));
    if own.status != "default" {
        let (media_type, schema) = match (format, own.status) {
            (ErrorFormat::Problem, _) => ("application/problem+json", "Problem"),
            (ErrorFormat::Fastapi, "422") => ("application/json", "HTTPValidationError"),
            (ErrorFormat::Fastapi, _) => ("application/json", "HTTPError"),
        };
        let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } });
        response.insert("content".to_owned(), json!({ media_type: schema }));
    }
    response.into()
}

/// The schemas of those components.
pub(super) fn schemas(format: ErrorFormat) -> Map<String, Value> {
    let violation = json!({
        "type": "object",
        "properties": {
            "loc": {
                "description": "Where: `path`, `query`, `header`, `cookie` or `body`, then names and positions.",
                "type": "array",
                "items": { "type": ["string", "integer"] },
            },
            "msg": { "description": "The rule that is broken.", "type": "string" },
            "type": { "description": "The rule's code.", "type": "string" },
        },
        "required": ["loc", "msg", "type"],
    });
    let errors = |name: &str| json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{name}") } });
    let named = match format {
        ErrorFormat::Problem => vec![("Violation", violation), ("Problem", problem(&errors("Violation")))],
        ErrorFormat::Fastapi => vec![
            ("ValidationError", violation),
            ("HTTPValidationError", detail(&errors("ValidationError"))),
            ("HTTPError", detail(&json!({ "type": "string" }))),
        ],
    };
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// RFC 9457.
fn problem(errors: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            "type": { "description": "Names the kind of problem.", "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "instance": { "description": "The path of the request.", "type": "string" },
            "request_id": { "description": "As in `X-Request-Id`.", "type": "string" },
            "trace_id": { "description": "The request's trace, where traces are recorded.", "type": "string" },
            "errors": errors,
            "violated-policies": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["type", "title", "status", "detail", "instance", "request_id"],
    })
}

fn detail(schema: &Value) -> Value {
    json!({ "type": "object", "properties": { "detail": schema }, "required": ["detail"] })
}

/// The header components.
pub(super) fn headers() -> Value {
    let header = |(name, description, of, required): (&str, &str, &str, bool)| {
        let mut header = json!({ "description": description, "schema": { "type": of } });
        if required {
            header["required"] = true.into();
        }
        (name.to_owned(), header)
    };
    HEADERS.into_iter().map(header).collect::<Map<_, _>>().into()
}

fn header_references(names: &[&str]) -> Value {
    let reference = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    ["X-Request-Id"].iter().chain(names).map(reference).collect::<Map<_, _>>().into()
}

/// Every answer of a route, by status.
pub(super) fn of_route(config: &Config, index: usize, route: &Route, components: &mut Components) -> Value {
    let model = route.response_model.as_ref();
    let model = model.map(|model| components.add_document(config, model, index, Kind::Reply));
    // A WebSocket is the only success of a route that takes them.
    let usual = if takes_websockets(route) { 101 } else { 200 };
    let success = route.status_code.unwrap_or(usual).to_string();
    let mut responses = Map::new();
    responses.insert(success.clone(), success_response(config, route, &success, model));
    for (status, documented) in &route.responses {
        let described = json!({ "description": documented.description, "headers": header_references(&[]) });
        responses.entry(status).or_insert(described);
    }
    for status in own_statuses(config, route) {
        if !responses.contains_key(status) {
            responses.insert(status.to_owned(), components.use_response(status));
        }
    }
    let mut sorted: Vec<(String, Value)> = responses.into_iter().collect();
    // The success first, then by number, ranges and `default` last: digits sort before letters.
    sorted.sort_by(|(one, _), (other, _)| (*one != success, one).cmp(&(*other != success, other)));
    sorted.into_iter().collect::<Map<_, _>>().into()
}

fn success_response(config: &Config, route: &Route, status: &str, model: Option<Value>) -> Value {
    let usual = if takes_websockets(route) { "A WebSocket." } else { "The answer of the service." };
    let description = route.responses.get(status).map_or(usual, |documented| &documented.description);
    let limits: &[&str] =
        if is_limited(config, route) { &[LIMIT, POLICY, "X-RateLimit-Limit", LEFT, RESET] } else { &[] };
    let mut response = Map::new();
    response.insert("description".to_owned(), description.into());
    response.insert("headers".to_owned(), header_references(limits));
    if let Some(schema) = model {
        response.insert("content".to_owned(), json!({ "application/json": { "schema": schema } }));
    }
    response.into()
}

/// The statuses that the gateway itself may answer on a route, and `default` for what the service may.
fn own_statuses(config: &Config, route: &Route) -> Vec<&'static str> {
    let body = route.body.is_some() || route.body_params.is_some() || route.form_params.is_some();
    let checked_body = body && route.body != Some(Body::Any);
    let modes = route.mode.or(config.defaults.mode).unwrap_or_default();
    let enforced = modes.contract == Mode::Enforce;
    let fastapi = config.error_format == ErrorFormat::Fastapi;
    let happens = |status: &str| match status {
        "401" => authenticators(config, route).is_some(),
        "426" => takes_websockets(route),
        // The origin of a page.
        "403" if takes_websockets(route) => true,
        "403" => modes.authorisation == Mode::Enforce && is_conditional(config, route),
        "404" => route.host.is_some() || route.gateway_path.contains('{'),
        "408" | "413" => body,
        "415" => enforced && checked_body && !fastapi,
        "422" => enforced && (checked_body || is_checked_beside_the_body(config, route)),
        "429" => config.guard.flood.is_some() || (modes.limits == Mode::Enforce && is_limited(config, route)),
        _ => true,
    };
    OWN.iter().map(|own| own.status).filter(|status| happens(status)).collect()
}

fn takes_websockets(route: &Route) -> bool {
    route.websocket != Websocket::Refused
}

/// Whether anything but the body can violate the contract.
fn is_checked_beside_the_body(config: &Config, route: &Route) -> bool {
    let query = match &route.query_params {
        Parameters::Any => false,
        Parameters::Named(parameters) => {
            let rejects = route.undeclared.or(config.defaults.undeclared) == Some(Undeclared::Reject);
            rejects || !parameters.is_empty()
        }
    };
    query || !route.path_params.is_empty() || !route.header_params.is_empty() || !route.cookie_params.is_empty()
}

/// Whether anything is asked of callers or addresses beyond a credential.
fn is_conditional(config: &Config, route: &Route) -> bool {
    let allow = route.allow.as_ref().or(config.defaults.allow.as_ref());
    matches!(allow, Some(Allow::Only(_))) || route.deny_addresses.is_some() || config.defaults.deny_addresses.is_some()
}

/// Whether any limit counts the requests of a route.
fn is_limited(config: &Config, route: &Route) -> bool {
    let planned = authenticators(config, route).is_some() && !config.plans.is_empty();
    planned || !route.limits.is_empty()
}

/// The authenticators of a route; `None` for one that is open to everyone.
pub(super) fn authenticators<'c>(config: &'c Config, route: &'c Route) -> Option<&'c [String]> {
    match route.auth.as_ref().or(config.defaults.auth.as_ref())? {
        Auth::Public(_) => None,
        Auth::Any(names) => Some(names),
    }
}
