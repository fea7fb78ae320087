//! `docs`: where the API's description is served, and which routes would be hidden by it.

use std::sync::Arc;

use crate::config::{self, Config, Place, Report, suggest};
use crate::gateway::Route;
use crate::gateway::docs::{self, Docs, LABEL, PATHS};
use crate::gateway::router::RouterBuilder;
use crate::policy::path::RequestPath;
use crate::telemetry::Telemetry;

use super::openapi;

/// The description's pages. Problems are reported whether or not they can be made.
pub(super) fn compile(
    config: &Config,
    routes: &[Arc<Route>],
    telemetry: &Telemetry,
    report: &mut Report,
) -> Option<Docs> {
    let written = config.docs.as_ref()?;
    check_servers(written, report);
    let place = place(config, written, report)?;
    if let docs::Place::Listener(_) = place {
        report_hidden(config, routes, report);
    }
    if report.has_errors() {
        return None;
    }
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
                .help("for example `admin: { address: 127.0.0.1:9090 }`, or the address of one of `listeners`");
            return None;
        }
        return Some(docs::Place::Admin { elsewhere: elsewhere(config, written) });
    }
    let addresses: Vec<String> = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    match addresses.iter().filter(|address| *address == listener).count() {
        0 => {
            let known = addresses.iter().map(String::as_str).chain(config.admin.as_ref().map(|_| "admin"));
            report
                .error(at("listener"), format!("`{listener}` is none of the listeners"))
                .help(suggest(listener, known));
            None
        }
        1 => listener.parse().ok().map(docs::Place::Listener),
        _ => {
            report.error(at("listener"), format!("several listeners have address `{listener}`"));
            None
        }
    }
}

/// Where the API is reached: the servers that are named, else the addresses that are listened on.
fn elsewhere(config: &Config, written: &config::Docs) -> Vec<String> {
    if !written.servers.is_empty() {
        return written.servers.clone();
    }
    config.listeners.iter().map(|listener| format!("http://{}", listener.address)).collect()
}

fn check_servers(written: &config::Docs, report: &mut Report) {
    for (index, server) in written.servers.iter().enumerate() {
        let rest = server.strip_prefix("http://").or_else(|| server.strip_prefix("https://"));
        let absolute = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let clean = !server.contains(|char: char| char.is_whitespace() || "{}?#".contains(char));
        if !clean || !(absolute || server.starts_with('/')) {
            report
                .error(at("servers").index(index), format!("`{server}` is no base URL"))
                .help("for example `https://api.example.com` or `/v1`");
        }
    }
}

/// A route for one of the description's paths is never asked on that listener. Where the route names the path, that is
/// a mistake; where the path is one of many that it matches, it is worth knowing.
fn report_hidden(config: &Config, routes: &[Arc<Route>], report: &mut Report) {
    for route in routes {
        let Some(index) = config.routes.iter().position(|written| written.name == *route.name) else { continue };
        let Some(path) = PATHS.iter().find(|path| takes(route, path)) else { continue };
        let place = Place::root().key("routes").index(index).key("gateway_path");
        let message = format!("the description of the API is served at `{path}` of listener `{}`", listener(config));
        if route.template.names().is_empty() {
            report.error(place, message).help("take another path, or serve the description on `admin`");
        } else {
            report.warning(place, message).help("there this route gets no requests for it");
        }
    }
}

fn listener(config: &Config) -> &str {
    config.docs.as_ref().map_or("", |docs| docs.listener.as_str())
}

/// Whether a route matches a path, whatever the host.
fn takes(route: &Route, path: &str) -> bool {
    let mut builder = RouterBuilder::new();
    let Ok(path) = RequestPath::parse(path) else { return false };
    builder.add(None, &route.methods, &route.template, ()).is_ok() && builder.build().find_allow(None, &path).is_some()
}
