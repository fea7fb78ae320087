//! What two routes must not share: a name, an operation id, requests.
//!
//! It goes by what is written: a route that cannot be made for other reasons is compared all the same.

use std::collections::HashMap;

use http::Method;

use crate::config::{self, Config, Place, Report};
use crate::gateway::router::{HostPattern, RouterBuilder};
use crate::gateway::template::Template;

/// The routes so far, by their position in the configuration.
pub(super) struct Distinct<'c> {
    config: &'c Config,
    names: HashMap<&'c str, usize>,
    operations: HashMap<&'c str, usize>,
    requests: RouterBuilder<usize>,
}

impl<'c> Distinct<'c> {
    pub(super) fn new(config: &'c Config) -> Self {
        Self { config, names: HashMap::new(), operations: HashMap::new(), requests: RouterBuilder::new() }
    }

    /// Reports when an earlier route has this one's name or operation id.
    pub(super) fn names(&mut self, route: usize, report: &mut Report) {
        let written = self.written(route);
        if let Some(first) = self.names.insert(&written.name, route) {
            let message = format!("route name `{}` is that of an earlier route already", written.name);
            report.error(at(route).key("name"), message).given_keys(&at(first), &["name"]);
        }
        let operation = written.operation_id.as_deref().unwrap_or(&written.name);
        let Some(first) = self.operations.insert(operation, route) else { return };
        let key = if written.operation_id.is_some() { "operation_id" } else { "name" };
        let other = &self.written(first).name;
        // Two routes of one name are said to be that above.
        if written.name != *other || key == "operation_id" {
            let message = format!("operation id `{operation}` is that of route `{other}` already");
            report
                .error(at(route).key(key), message)
                .given_keys(&at(first), &["name", "operation_id"])
                .given_keys(&at(route), &["name", "operation_id"])
                .help("a route's name is its operation id unless it has another");
        }
    }

    /// Reports when an earlier route matches requests of this one.
    pub(super) fn requests(
        &mut self,
        route: usize,
        host: Option<&HostPattern>,
        methods: &[Method],
        template: &Template,
        report: &mut Report,
    ) {
        const DECIDE: [&str; 5] = ["name", "host", "method", "methods", "gateway_path"];
        let Err(conflict) = self.requests.add(host, methods, template, route) else { return };
        let other = self.written(conflict.other);
        let message = format!(
            "route `{}` and route `{}` (`{}`) match the same {} requests: {}",
            self.written(route).name,
            other.name,
            other.gateway_path,
            conflict.method,
            conflict.reason
        );
        report
            .error(at(route).key("gateway_path"), message)
            .given_keys(&at(route), &DECIDE)
            .given_keys(&at(conflict.other), &DECIDE);
    }

    fn written(&self, route: usize) -> &'c config::Route {
        &self.config.routes[route]
    }
}

/// The place of a route.
pub(super) fn at(route: usize) -> Place {
    Place::root().key("routes").index(route)
}
