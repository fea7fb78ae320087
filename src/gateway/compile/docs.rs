//! `docs`: where the API's description is served, and which routes would be hidden by it.
//!
//! Routes are looked at as they are written, so that one that cannot be made for other reasons is hidden all the same.

use http::Method;

use crate::config::{self, Config, Place, Report, suggest};
use crate::gateway::METHODS;
use crate::gateway::docs::{self, Docs, LABEL, PATHS};
use crate::gateway::router::RouterBuilder;
use crate::gateway::template::Template;
use crate::policy::path::RequestPath;
use crate::telemetry::Telemetry;

use super::openapi;

/// Where the description is served, if that is known. All problems with it are reported.
pub(super) fn check(config: &Config, report: &mut Report) -> Option<docs::Place> {
    let written = config.docs.as_ref()?;
    check_servers(written, report);
    let place = place(config, written, report)?;
    if let docs::Place::Listener(_) = place {
        report_hidden(config, written, report);
    }
    Some(place)
}

/// The description's pages, for a configuration without errors.
pub(super) fn compile(config: &Config, place: docs::Place, telemetry: &Telemetry) -> Option<Docs> {
    let written = config.docs.as_ref()?;
    let document = openapi::document(config);
    Some(Docs::new(place, &written.title, &document, telemetry.route(LABEL)))
}

fn at(key: &str) -> Place {
    Place::root().key("docs").key(key)
}

fn place(config: &Config, written: &config::Docs, report: &mut Report) -> Option<docs::Place> {
    let listener = written.listener.as_str();
    if listener == "admin" {
        if config.admin.is_none() {
            report
                .error(at("listener"), "there is no admin listener")
                .given(Place::root().key("admin"))
                .help("for example `admin: { address: 127.0.0.1:9090 }`, or the address of one of `listeners`");
            return None;
        }
        return Some(docs::Place::Admin { elsewhere: elsewhere(config, written) });
    }
    let listeners = Place::root().key("listeners");
    let addresses: Vec<String> = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    let same: Vec<usize> = (0..addresses.len()).filter(|index| addresses[*index] == listener).collect();
    match *same {
        [] => {
            let known = addresses.iter().map(String::as_str).chain(config.admin.as_ref().map(|_| "admin"));
            report
                .error(at("listener"), format!("`{listener}` is none of the listeners"))
                .given_each(listeners, "address")
                .help(suggest(listener, known));
            None
        }
        [index] if config.listeners[index].redirect_https.is_some() => {
            report
                .error(at("listener"), format!("`{listener}` serves nothing: it sends clients to TLS"))
                .given(listeners.index(index).key("redirect_https"))
                .help("name a listener with `tls`, or `admin`");
            None
        }
        [_] => listener.parse().ok().map(docs::Place::Listener),
        _ => {
            let problem = report.error(at("listener"), format!("several listeners have address `{listener}`"));
            for index in same {
                problem.given(listeners.clone().index(index).key("address"));
            }
            None
        }
    }
}

/// Where the API is reached: the servers that are named, else the addresses that are listened on.
fn elsewhere(config: &Config, written: &config::Docs) -> Vec<String> {
    if !written.servers.is_empty() {
        return written.servers.clone();
    }
    let url = |listener: &config::Listener| {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", listener.address)
    };
    config.listeners.iter().filter(|listener| listener.redirect_https.is_none()).map(url).collect()
}

fn check_servers(written: &config::Docs, report: &mut Report) {
    for (index, server) in written.servers.iter().enumerate() {
        let rest = server.strip_prefix("http://").or_else(|| server.strip_prefix("https://"));
        let absolute = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let clean = !server.contains(|char: char| char.is_whitespace() || "{}?#".contains(char));
        if !clean || !(absolute || server.starts_with('/')) {
            report
                .error(at("servers").index(index), format!("`{server}` is no base URL"))
                .by_itself()
                .help("for example `https://api.example.com` or `/v1`");
        }
    }
}

/// A route for one of the description's paths is never asked on that listener. Where the route names the path, that is
/// a mistake; where the path is one of many that it matches, it is worth knowing.
fn report_hidden(config: &Config, written: &config::Docs, report: &mut Report) {
    for (index, route) in config.routes.iter().enumerate() {
        let Ok(template) = Template::parse(&route.gateway_path) else { continue };
        let methods = methods(route);
        let Some(path) = PATHS.iter().find(|path| takes(&methods, &template, path)) else { continue };
        let route = Place::root().key("routes").index(index);
        let message = format!("the description of the API is served at `{path}` of listener `{}`", written.listener);
        let place = route.clone().key("gateway_path");
        let (problem, help) = if template.names().is_empty() {
            (report.error(place, message), "take another path, or serve the description on `admin`")
        } else {
            (report.warning(place, message), "there this route gets no requests for it")
        };
        problem.given_keys(&route, &["method", "methods"]).given(at("listener")).help(help);
    }
}

/// The methods of a route, as far as they are right.
fn methods(route: &config::Route) -> Vec<Method> {
    let written = route.method.iter().chain(&route.methods);
    written.filter_map(|text| METHODS.iter().find(|method| method.as_str() == text)).cloned().collect()
}

/// Whether a route matches a path, whatever the host.
fn takes(methods: &[Method], template: &Template, path: &str) -> bool {
    let mut builder = RouterBuilder::new();
    let Ok(path) = RequestPath::parse(path) else { return false };
    builder.add(None, methods, template, ()).is_ok() && builder.build().find_allow(None, &path).is_some()
}
