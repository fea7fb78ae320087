//! The service of a route, or several with weights.
//!
//! Each of several has a route of its own, compiled like the first; what is wrong with that is told once.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::config::{On, Place, Report, RouteService, suggest};
use crate::gateway::Service;
use crate::gateway::split::{Arm, Split};
use crate::gateway::template::Template;

use super::RouteCompiler;

impl<'a> RouteCompiler<'a> {
    /// The service; of several, the first.
    pub(super) fn service(&mut self) -> Option<Arc<Service>> {
        let place = self.at("service");
        let weights = match &self.written.service {
            RouteService::One(name) => return self.known(name, place, On::Value),
            RouteService::Split(weights) => weights,
        };
        self.check_weights(weights, &place);
        let known: Vec<Option<Arc<Service>>> =
            weights.keys().map(|name| self.known(name, place.clone().key(name), On::Key)).collect();
        known.into_iter().flatten().next()
    }

    /// The routes to each of several services.
    pub(super) fn split(&mut self) -> Option<Box<Split>> {
        let RouteService::Split(weights) = &self.written.service else { return None };
        let services: Vec<(&Arc<Service>, u32)> =
            weights.iter().filter_map(|(name, weight)| Some((self.services.get(name)?, *weight))).collect();
        // What depends on the service itself; of the first it is told already.
        if let Ok(template) = Template::parse(&self.written.gateway_path) {
            for (service, _) in services.iter().skip(1) {
                self.path_key(service, &template);
            }
        }
        let arms: Vec<Arm> = services
            .into_iter()
            .filter_map(|(service, weight)| {
                let (route, _) = self.beside(&mut Report::default()).route(Some(Arc::clone(service)), None)?;
                Some(Arm { weight, route: Arc::new(route) })
            })
            .collect();
        Some(Box::new(Split::new(arms)))
    }

    /// The same route, whose problems go elsewhere.
    fn beside<'r>(&self, report: &'r mut Report) -> RouteCompiler<'r>
    where
        'a: 'r,
    {
        let Self { config, services, callers, telemetry, defaults, written, .. } = *self;
        RouteCompiler { config, services, callers, telemetry, defaults, written, place: self.place.clone(), report }
    }

    fn check_weights(&mut self, weights: &IndexMap<String, u32>, place: &Place) {
        if weights.values().all(|weight| *weight == 0) {
            let message = if weights.is_empty() { "the route has no service" } else { "no service gets any requests" };
            self.report
                .error(place.clone(), message)
                .given_keys(&self.place, &["service"])
                .help("weights such as `{ stable: 95, canary: 5 }`, or one name");
        }
    }

    /// The service with this name, which is written here.
    pub(super) fn known(&mut self, name: &str, place: Place, on: On) -> Option<Arc<Service>> {
        if !self.config.services.contains_key(name) {
            let defined = self.config.services.keys().map(String::as_str);
            let problem = self.report.error(place, format!("unknown service `{name}`"));
            let problem = if on == On::Key { problem.on_key() } else { problem };
            problem.given(Place::root().key("services").key(name)).help(suggest(name, defined));
        }
        self.services.get(name).cloned()
    }
}
