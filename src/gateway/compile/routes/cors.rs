//! CORS of routes: what browsers would not take, and what would never be used.

use std::sync::Arc;

use http::Method;
use http::header::HeaderValue;

use crate::config::{self, Config, CorsRules, FieldName, Place, Report, suggest};
use crate::gateway::METHODS;
use crate::policy::cors::{Cors, Pages, is_own};

use super::RouteCompiler;

/// What holds where a route says nothing, and for requests that no route matches.
pub(super) fn of_defaults(config: &Config, report: &mut Report) -> Option<Arc<Cors>> {
    let Some(config::Cors::Rules(rules)) = &config.defaults.cors else { return None };
    Some(Arc::new(compiled(rules, &Place::root().key("defaults").key("cors"), report)))
}

impl RouteCompiler<'_> {
    pub(super) fn cors(&mut self, methods: &[Method]) -> Option<Arc<Cors>> {
        let takes_websockets = matches!(self.written.websocket, config::Websocket::Taken(_));
        let cors = match &self.written.cors {
            Some(config::Cors::Off) => None,
            Some(config::Cors::Rules(_)) if takes_websockets => {
                self.report
                    .error(self.at("cors"), "browsers know no CORS for WebSockets")
                    .on_key()
                    .given_keys(&self.place, &["websocket"])
                    .help("`origins` of `websocket` says which pages may open one");
                None
            }
            Some(config::Cors::Rules(rules)) => {
                let compiled = compiled(rules, &self.at("cors"), self.report);
                self.refuse_unused(&compiled, methods);
                Some(Arc::new(compiled))
            }
            None => self.defaults.cors.clone().filter(|_| !takes_websockets),
        };
        if cors.is_some() {
            self.refuse_written_twice();
        }
        cors
    }

    /// A list without any method of the route opens nothing.
    fn refuse_unused(&mut self, cors: &Cors, methods: &[Method]) {
        let Some(listed) = &cors.methods else { return };
        if !methods.is_empty() && !methods.iter().any(|method| listed.contains(method)) {
            self.report
                .error(self.at("cors").key("methods"), "the route has none of these methods")
                .given_keys(&self.place, &["method", "methods"])
                .help("leave `methods` out: pages may use those of the routes then");
        }
    }

    /// What the gateway says of CORS is said last.
    fn refuse_written_twice(&mut self) {
        let changes = &self.written.response_headers;
        let place = self.at("response_headers");
        let removed = changes.remove.iter().enumerate();
        let removed = removed.map(|(index, name)| (place.clone().key("remove").index(index), name));
        let set = changes.set.keys().map(|name| (place.clone().key("set").key(name.as_str()), name));
        for (place, name) in removed.chain(set).filter(|(_, name)| is_own(&name.0)) {
            self.report
                .error(place, format!("`{}`: `cors` writes this header", name.as_str()))
                .given_keys(&self.place, &["cors"])
                .given(Place::root().key("defaults").key("cors"))
                .help("say it in `cors`, or leave it to the service with `cors: false`");
        }
    }
}

/// The rules that are written at this place.
fn compiled(written: &CorsRules, place: &Place, report: &mut Report) -> Cors {
    Cors {
        pages: pages(written, place, report),
        methods: written.methods.as_ref().map(|listed| methods(listed, &place.clone().key("methods"), report)),
        headers: written.headers.as_ref().map(|names| list(names)),
        expose: Some(&written.expose).filter(|names| !names.is_empty()).map(|names| list(names)),
        credentials: written.credentials,
        max_age: written.max_age.map(|time| HeaderValue::from(time.get().as_secs())),
    }
}

fn pages(written: &CorsRules, place: &Place, report: &mut Report) -> Pages {
    let origins = place.clone().key("origins");
    match &written.origins {
        None => {
            let problem = report.error(place.clone(), "missing key `origins`").given_keys(place, &["origins"]);
            problem.help("list origins such as `https://app.example.com`, or say `any`");
            Pages::Listed(Vec::new())
        }
        Some(config::Origins::Any) => {
            if written.credentials {
                report
                    .error(place.clone().key("credentials"), "every page could act with the cookies of its visitors")
                    .given_keys(place, &["origins"])
                    .help("list the origins that may; browsers refuse `any` together with credentials");
            }
            Pages::Any
        }
        Some(config::Origins::Listed(listed)) => {
            if listed.is_empty() {
                report
                    .error(origins.clone(), "no page could read anything")
                    .by_itself()
                    .help("list origins such as `https://app.example.com`, or say `any`");
            }
            Pages::Listed(super::websocket::in_lower_case(listed, &origins, report))
        }
    }
}

fn methods(listed: &[String], place: &Place, report: &mut Report) -> Vec<Method> {
    if listed.is_empty() {
        report
            .error(place.clone(), "no method could be used")
            .by_itself()
            .help("leave `methods` out: pages may use those of the routes then");
    }
    let mut methods = Vec::new();
    for (index, text) in listed.iter().enumerate() {
        let place = place.clone().index(index);
        match METHODS.iter().find(|method| method.as_str() == text) {
            Some(method) if methods.contains(method) => {
                report.error(place, format!("`{text}` is listed twice")).by_itself();
            }
            Some(method) => methods.push(method.clone()),
            None => {
                let help = suggest(&text.to_ascii_uppercase(), METHODS.iter().map(Method::as_str));
                report.error(place, format!("a route cannot have method `{text}`")).by_itself().help(help);
            }
        }
    }
    methods
}

/// As one field value.
fn list(names: &[FieldName]) -> HeaderValue {
    let names: Vec<&str> = names.iter().map(FieldName::as_str).collect();
    // Names and commas are always a header's value.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}
