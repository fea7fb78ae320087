//! Why a request has its route, and why other routes that look like it are not it.
//!
//! Each other route is asked by a router of its own, so that its answer is the gateway's. What no router can say, namely
//! how near a path came, is told by segments, and only where the request has no route.

use http::Method;

use crate::gateway::router::{HostPattern, RouterBuilder};
use crate::gateway::template::Template;
use crate::gateway::{Gateway, METHODS, Route};
use crate::policy::path::{RequestPath, decode_segment};
use crate::proxy::rehearse::Message;

use super::Chosen;

/// Most routes that are told to be near.
const MAX_OTHERS: usize = 5;

/// A route that nearly matches.
pub struct Other {
    /// Its name.
    pub name: String,
    /// Methods, host and path as written.
    pub written: String,
    /// Why it is not the one.
    pub reason: String,
}

/// What a request asks for, as far as its route goes by it.
pub struct Asked {
    method: Method,
    host: String,
    path: String,
}

impl Asked {
    /// Reads a request. One that cannot be read asks for nothing, and has no route.
    pub fn of(message: &Message) -> Self {
        let uri = message.target().parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(|uri| uri.authority()).map(|authority| authority.as_str().to_owned());
        let field = message.values("host").next().map(|host| String::from_utf8_lossy(host).into_owned());
        Self {
            method: message.method().parse().unwrap_or_default(),
            host: host.or(field).unwrap_or_default(),
            path: uri.map(|uri| uri.path().to_owned()).unwrap_or_default(),
        }
    }

    /// The route that the gateway finds for it.
    pub fn route<'g>(&self, gateway: &'g Gateway) -> Option<&'g Route> {
        let path = RequestPath::parse(&self.path).ok()?;
        let found = gateway.router.find(Some(&self.host), &self.method, &path).ok()?;
        gateway.routes.iter().find(|route| route.name == found.route.name).map(AsRef::as_ref)
    }

    fn answers_path(&self, template: &Template) -> bool {
        let Ok(path) = RequestPath::parse(&self.path) else { return false };
        let mut one = RouterBuilder::new();
        one.add(None, &METHODS, template, ()).is_ok() && one.build().find(None, &Method::GET, &path).is_ok()
    }

    fn answers_method(&self, route: &Route) -> bool {
        route.methods.contains(&self.method) || self.method == Method::HEAD && route.methods.contains(&Method::GET)
    }

    fn answers_host(&self, route: &Route) -> bool {
        let Some(host) = &route.host else { return true };
        let (Ok(host), Ok(any), Ok(path)) =
            (HostPattern::parse(host), Template::parse("/{*any}"), RequestPath::parse("/"))
        else {
            return false;
        };
        let mut one = RouterBuilder::new();
        one.add(Some(&host), &METHODS, &any, ()).is_ok()
            && one.build().find(Some(&self.host), &Method::GET, &path).is_ok()
    }
}

/// The route of a request, and why it is the one.
pub fn chosen(route: &Route, asked: &Asked) -> Chosen {
    let mut reasons = vec![format!("path fits {}{}", route.gateway_path, values(route, asked))];
    let declared = route.methods.contains(&asked.method);
    reasons.push(if declared {
        format!("method is {}", asked.method)
    } else {
        format!("method {} is answered by GET", asked.method)
    });
    if let Some(host) = &route.host {
        reasons.push(format!("host {} fits {host}", asked.host));
    }
    Chosen {
        name: route.name.to_string(),
        written: written(route),
        reasons,
        service: route.service_text(),
        observes: route.observes(),
        websocket: route.websocket.is_some(),
    }
}

/// ` with id = 7`
fn values(route: &Route, asked: &Asked) -> String {
    let values: Vec<String> =
        path_values(route, &asked.path).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if values.is_empty() { String::new() } else { format!(" with {}", values.join(", ")) }
}

/// The values that a path has for a route's template, decoded.
pub fn path_values(route: &Route, path: &str) -> Vec<(String, String)> {
    let Ok(path) = RequestPath::parse(path) else { return Vec::new() };
    let mut one = RouterBuilder::new();
    let added = one.add(None, &METHODS, &route.template, ());
    let router = one.build();
    let Some(found) = added.ok().and_then(|()| router.find(None, &Method::GET, &path).ok()) else {
        return Vec::new();
    };
    let values = found.captures.iter().map(|value| decode_segment(value).into_owned());
    route.template.names().iter().cloned().zip(values).collect()
}

/// The path of a request.
pub fn path_of(message: &Message) -> String {
    Asked::of(message).path
}

/// Routes that are not the one, the nearest first.
pub fn others(gateway: &Gateway, chosen: Option<&Route>, asked: &Asked) -> Vec<Other> {
    let mut others: Vec<(usize, Other)> = gateway
        .routes
        .iter()
        .filter(|route| chosen.is_none_or(|chosen| chosen.name != route.name))
        .filter_map(|route| {
            let (distance, reason) = distance(route, chosen, asked)?;
            Some((distance, Other { name: route.name.to_string(), written: written(route), reason }))
        })
        .collect();
    others.sort_by_key(|(distance, _)| *distance);
    others.into_iter().map(|(_, other)| other).take(MAX_OTHERS).collect()
}

/// How far a route is from the request, and in what; `None` when it is too far to be meant.
fn distance(route: &Route, chosen: Option<&Route>, asked: &Asked) -> Option<(usize, String)> {
    if !asked.answers_path(&route.template) {
        return if chosen.is_none() { off_by_a_segment(&route.gateway_path, &asked.path) } else { None };
    }
    let host = route.host.as_deref().unwrap_or_default();
    let reason = if !asked.answers_host(route) {
        format!("it is for host {host}, the request for {}", asked.host)
    } else if !asked.answers_method(route) {
        let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        format!("it answers {}, not {}", methods.join(", "), asked.method)
    } else {
        format!("it fits as well, but is less specific than {}", chosen?.gateway_path)
    };
    Some((0, reason))
}

/// What keeps two paths apart, where that is one segment.
fn off_by_a_segment(template: &str, path: &str) -> Option<(usize, String)> {
    let (own, asked): (Vec<&str>, Vec<&str>) =
        (template.split('/').skip(1).collect(), path.split('/').skip(1).collect());
    let differs = |at: &usize| !own[*at].contains('{') && own[*at] != asked[*at];
    let different: Vec<usize> = (0..own.len().min(asked.len())).filter(differs).collect();
    match (different.as_slice(), own.len().abs_diff(asked.len())) {
        ([at], 0) if own.len() > 1 || is_alike(own[*at], asked[*at]) => {
            Some((1, format!("it has `{}` where the path has `{}`", own[*at], asked[*at])))
        }
        ([], 1) => Some((2, format!("its path has {}, the request's {}", segments(&own), segments(&asked)))),
        _ => None,
    }
}

fn segments(path: &[&str]) -> String {
    format!("{} segment{}", path.len(), if path.len() == 1 { "" } else { "s" })
}

/// Whether one text may be a slip of the other.
fn is_alike(one: &str, other: &str) -> bool {
    strsim::damerau_levenshtein(one, other) <= 2
}

/// `GET,HEAD api.example.com/users/{id}`
fn written(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    format!("{} {}{}", methods.join(","), route.host.as_deref().unwrap_or_default(), route.gateway_path)
}
