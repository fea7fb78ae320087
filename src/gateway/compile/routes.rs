//! Routes: template, service, contract, access, limits, headers. What is long has a file of its own below.

mod access;
mod allow;
mod body;
mod cache;
mod compression;
mod cors;
mod fields;
mod limits;
mod mirror;
mod split;
mod websocket;

use std::sync::Arc;

use http::Method;

use crate::config::{self, Config, Parameter, Parameters, Place, Problem, Report, suggest};
use crate::gateway::router::{HostPattern, RouterBuilder};
use crate::gateway::service::{Balance, BalanceKey, Service};
use crate::gateway::template::{Template, TemplateFault};
use crate::gateway::{EncodedSlash, METHODS, Route, Router, ServiceHeaders, ServicePath, Timeouts};
use crate::policy::coding::Compression;
use crate::policy::contract::{
    Contract, Declared, PathContract, Position, QueryContract, SchemaFault, TextParameter, Undeclared, Weight,
};
use crate::policy::cors::Cors;
use crate::policy::limit::Mark;
use crate::policy::mode::{Mode, Modes};
use crate::telemetry::Telemetry;

use super::access_log::lines;
use super::callers::Callers;
use super::distinct::{Distinct, at};
use super::documents::schema_fault;
use super::headers;
use super::services::Services;

/// Largest body where neither route nor defaults say another.
const MAX_BODY: config::Size = config::Size::from_kib(1024);

/// What says whether a route has a body, and whether it should.
const BODY_KEYS: [&str; 5] = ["method", "methods", "body", "body_params", "form_params"];

/// All routes, and the router that finds them.
pub(super) struct Compiled {
    pub router: Router<Arc<Route>>,
    pub routes: Vec<Arc<Route>>,
    /// What `defaults` say of CORS.
    pub cors: Option<Arc<Cors>>,
}

pub(super) fn compile(
    config: &Config,
    services: &Services,
    callers: &Callers,
    telemetry: &Telemetry,
    report: &mut Report,
) -> Compiled {
    let mut builder = RouterBuilder::new();
    let mut routes: Vec<Arc<Route>> = Vec::new();
    let mut distinct = Distinct::new(config);
    allow::check_defaults(config, report);
    let defaults =
        Defaults { cors: cors::of_defaults(config, report), compression: compression::of_defaults(config, report) };
    for (index, written) in config.routes.iter().enumerate() {
        distinct.names(index, report);
        let place = at(index);
        let mut compiler =
            RouteCompiler { config, services, callers, telemetry, defaults: &defaults, written, place, report };
        let service = compiler.service();
        let made = compiler.route(service, Some((index, &mut distinct)));
        let split = compiler.split();
        let Some((route, host)) = made else { continue };
        let route = Arc::new(Route { split, ..route });
        // A conflict is in the report by now.
        let _ = builder.add(host.as_ref(), &route.methods, &route.template, Arc::clone(&route));
        routes.push(route);
    }
    Compiled { router: builder.build(), routes, cors: defaults.cors }
}

/// What holds where a route says nothing, compiled once for all.
struct Defaults {
    cors: Option<Arc<Cors>>,
    compression: Option<Arc<Compression>>,
}

struct RouteCompiler<'a> {
    config: &'a Config,
    services: &'a Services,
    callers: &'a Callers,
    telemetry: &'a Telemetry,
    defaults: &'a Defaults,
    written: &'a config::Route,
    place: Place,
    report: &'a mut Report,
}

impl RouteCompiler<'_> {
    /// Every part is compiled, whatever is wrong with the others; only then the route is made or not. `distinct` knows
    /// the routes before it, where it is not one of them once more.
    fn route(
        &mut self,
        service: Option<Arc<Service>>,
        distinct: Option<(usize, &mut Distinct<'_>)>,
    ) -> Option<(Route, Option<HostPattern>)> {
        let written = self.written;
        self.check_name();
        self.check_documentation();
        let methods = self.methods();
        let host = self.host();
        let template = self.template();
        let undeclared = match written.undeclared.or(self.config.defaults.undeclared).unwrap_or_default() {
            config::Undeclared::Drop => Undeclared::Drop,
            config::Undeclared::Reject => Undeclared::Reject,
            config::Undeclared::Forward => Undeclared::Forward,
        };
        let in_path = self.text_parameters(&written.path_params, "path_params", Position::Path);
        let query = self.query(undeclared);
        let body = self.body(undeclared);
        let response_model = self.response_model();
        let access = self.access();
        let hidden = access.as_ref().map(|access| self.callers.hidden_from(access)).unwrap_or_default();
        let fields = self.fields(undeclared, &hidden);
        let allowed_headers = self.allowed(&hidden);
        let authorisation = self.authorisation(access.as_ref());
        let limits = self.limits(access.as_ref());
        let (request, response) = (&written.request_headers, &written.response_headers);
        let place = self.at("request_headers");
        let request_headers = headers::edits(&request.remove, &request.set, &place, self.report);
        let place = self.at("response_headers");
        let response_headers = headers::edits(&response.remove, &response.set, &place, self.report);
        self.warn_of_body(&methods, &body);
        self.refuse_patched_defaults(&methods);
        let websocket = self.websocket(&methods, service.as_deref());
        let cors = self.cors(&methods);
        let compression = self.compression();
        let mirror = self.mirror();
        let cache = self.cache(&methods, access.as_ref(), service.as_deref());
        let template = template?;
        if let (Ok(host), Some((index, distinct))) = (&host, distinct) {
            distinct.requests(index, host.as_ref(), &methods, &template, self.report);
        }
        let service_path = self.service_path(&template, service.as_ref().map(|service| &*service.base_path));
        let path_key = service.as_ref().and_then(|service| self.path_key(service, &template));
        let path = self.path(&template, in_path)?;
        let service = service?;
        let timeouts = service.rules.timeouts;
        let idle = written.timeouts.idle.map_or(timeouts.idle, config::Duration::get);
        let route = Route {
            name: written.name.as_str().into(),
            methods,
            host: written.host.as_deref().map(Into::into),
            gateway_path: written.gateway_path.as_str().into(),
            service_path_text: written.service_path.as_deref().unwrap_or(&written.gateway_path).into(),
            websocket,
            timeouts: Timeouts { idle, ..timeouts },
            service,
            split: None,
            mirror,
            service_path: service_path?,
            path_key,
            template,
            encoded_slash: match written.encoded_slash {
                config::EncodedSlash::Reject => EncodedSlash::Reject,
                config::EncodedSlash::Forward => EncodedSlash::Forward,
            },
            contract: Contract { path, query, fields, body },
            modes: modes(written.mode.or(self.config.defaults.mode).unwrap_or_default()),
            hidden_keys: hidden,
            claim_headers: self.callers.claim_headers(),
            access: access?,
            cors,
            compression,
            authorisation,
            authenticators: self.authenticators(),
            mark: Mark::route(&written.name),
            limits,
            cost: written.cost,
            max_body: self.max_body().bytes(),
            allowed_headers,
            request_headers,
            response_headers,
            service_headers: if written.override_headers { ServiceHeaders::Pass } else { ServiceHeaders::Hide },
            response_model,
            cache,
            access_lines: lines(written.access_log.unwrap_or(self.config.access_log.lines)),
            metrics: self.telemetry.route(&written.name),
        };
        Some((route, host.ok()?))
    }

    fn at(&self, key: &str) -> Place {
        self.place.clone().key(key)
    }

    fn check_name(&mut self) {
        let name = &self.written.name;
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !plain || name.is_empty() || name.len() > 100 || !name.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            self.report
                .error(self.at("name"), format!("`{name}` is no route name"))
                .by_itself()
                .help("1 to 100 of letters, digits, `-`, `_` and `.`");
        }
    }

    fn check_documentation(&mut self) {
        if self.written.status_code.is_some_and(|code| !(100..=599).contains(&code)) {
            self.report.error(self.at("status_code"), "this is no HTTP status").by_itself().help("100 to 599");
        }
        for code in self.written.responses.keys() {
            let number = code.parse::<u16>().is_ok_and(|code| (100..=599).contains(&code));
            let range = matches!(code.as_str(), "1XX" | "2XX" | "3XX" | "4XX" | "5XX" | "default");
            if !number && !range {
                let place = self.at("responses").key(code);
                self.report
                    .error(place, format!("`{code}` is no status"))
                    .on_key()
                    .by_itself()
                    .help("a number such as `404`, a range such as `5XX`, or `default`");
            }
        }
    }

    fn methods(&mut self) -> Vec<Method> {
        let written: Vec<(Place, &str)> = match (&self.written.method, self.written.methods.as_slice()) {
            (Some(method), []) => vec![(self.at("method"), method)],
            (None, []) => {
                self.report
                    .error(self.place.clone(), "the route has no method")
                    .given_keys(&self.place, &["method", "methods"])
                    .help("for example `method: GET`");
                return Vec::new();
            }
            (None, methods) => {
                let place = self.at("methods");
                methods.iter().enumerate().map(|(index, method)| (place.clone().index(index), &**method)).collect()
            }
            (Some(_), _) => {
                self.report
                    .error(self.at("methods"), "a route has either `method` or `methods`")
                    .on_key()
                    .given_keys(&self.place, &["method"]);
                return Vec::new();
            }
        };
        let mut methods = Vec::new();
        for (place, text) in written {
            match METHODS.iter().find(|method| method.as_str() == text) {
                Some(method) if methods.contains(method) => {
                    self.report.error(place, format!("`{text}` is listed twice")).by_itself();
                }
                Some(method) => methods.push(method.clone()),
                None => {
                    let known = METHODS.iter().map(Method::as_str);
                    let help = suggest(&text.to_ascii_uppercase(), known);
                    self.report.error(place, format!("a route cannot have method `{text}`")).by_itself().help(help);
                }
            }
        }
        methods
    }

    fn host(&mut self) -> Result<Option<HostPattern>, ()> {
        let Some(text) = &self.written.host else { return Ok(None) };
        HostPattern::parse(text).map(Some).map_err(|fault| {
            self.report.error(self.at("host"), fault.to_string()).by_itself();
        })
    }

    /// The parameter that a service's targets are chosen by, where that is one of the path.
    fn path_key(&mut self, service: &Service, template: &Template) -> Option<usize> {
        let Balance::ConsistentHash(BalanceKey::Path(name)) = &service.rules.balance else { return None };
        let index = template.names().iter().position(|known| **known == **name);
        if index.is_none() {
            let message =
                format!("the path has no parameter `{name}`, by which service `{}` is balanced", service.name);
            let key = Place::root().key("services").key(&*service.name).key("balance");
            self.report.error(self.at("gateway_path"), message).given(key).given_keys(&self.place, &["service"]);
        }
        index
    }

    fn template(&mut self) -> Option<Template> {
        let template = Template::parse(&self.written.gateway_path);
        template.map_err(|fault| self.report.error(self.at("gateway_path"), fault.to_string()).by_itself()).ok()
    }

    /// The service's base path and the route's service path are one template, expanded at once.
    fn service_path(&mut self, template: &Template, base: Option<&str>) -> Option<ServicePath> {
        let (key, text) = match &self.written.service_path {
            Some(text) => ("service_path", text),
            None => ("gateway_path", &self.written.gateway_path),
        };
        if !text.starts_with('/') {
            self.report.error(self.at(key), "a path begins with `/`").by_itself();
            return None;
        }
        let text = format!("{}{text}", base.unwrap_or_default());
        let parsed = ServicePath::parse(&text, template);
        let wrong = |fault: TemplateFault| {
            let problem = self.report.error(self.place.clone().key(key), fault.to_string());
            problem.given_keys(&self.place, &["gateway_path", "service_path"]);
        };
        let parsed = parsed.map_err(wrong).ok()?;
        self.check_set_twice(&parsed);
        Some(parsed)
    }

    /// A parameter reaches the service once: from the client, or from the service path.
    fn check_set_twice(&mut self, service_path: &ServicePath) {
        let Parameters::Named(declared) = &self.written.query_params else { return };
        for name in service_path.query_names().iter().filter(|name| declared.contains_key(&***name)) {
            let place = self.at("query_params").key(&**name);
            self.report
                .error(place, format!("the service path sets `{name}` already"))
                .on_key()
                .given_keys(&self.place, &["service_path"])
                .help("the service would get it twice: declare it, or set it");
        }
    }

    fn path(&mut self, template: &Template, typed: Vec<TextParameter>) -> Option<PathContract> {
        let names: Vec<&str> = template.names().iter().map(String::as_str).collect();
        for name in self.written.path_params.keys().filter(|name| !names.contains(&name.as_str())) {
            let place = self.at("path_params").key(name);
            self.report
                .error(place, format!("the gateway path has no parameter `{name}`"))
                .on_key()
                .given_keys(&self.place, &["gateway_path"])
                .help(suggest(name, names.iter().copied()));
        }
        PathContract::new(&names, typed).ok()
    }

    fn query(&mut self, undeclared: Undeclared) -> QueryContract {
        match &self.written.query_params {
            Parameters::Any => QueryContract::any(),
            Parameters::Named(parameters) => {
                let parameters = self.text_parameters(parameters, "query_params", Position::Query);
                QueryContract::declared(parameters, undeclared)
            }
        }
    }

    fn text_parameters<'p>(
        &mut self,
        parameters: impl IntoIterator<Item = (&'p String, &'p Parameter)>,
        key: &str,
        position: Position,
    ) -> Vec<TextParameter> {
        let mut compiled = Vec::new();
        for (name, parameter) in parameters {
            match TextParameter::compile(position, declare(name, parameter)) {
                Ok(parameter) => compiled.push(parameter),
                Err(faults) => {
                    let place = self.at(key).key(name);
                    self.schema_faults(&place, parameter, faults);
                }
            }
        }
        compiled
    }

    fn max_body(&self) -> config::Size {
        self.written.max_body.or(self.config.defaults.max_body).unwrap_or(MAX_BODY)
    }

    /// Reports the faults of a parameter. Its keywords bear on each other, so a fault rests on all of them; and on
    /// `optional` only where it is about that.
    fn schema_faults(&mut self, place: &Place, written: &Parameter, faults: Vec<SchemaFault>) {
        for fault in faults {
            let problem = schema_fault(self.report, place.clone(), Weight::Error, fault);
            given_keywords(problem, place, written).given(place.clone().key("default"));
        }
    }
}

/// Says that a problem rests on all keywords of a parameter.
fn given_keywords<'p>(problem: &'p mut Problem, place: &Place, written: &Parameter) -> &'p mut Problem {
    written.schema.keys().fold(problem, |problem, keyword| problem.given(place.clone().key(keyword)))
}

fn declare<'a>(name: &'a str, parameter: &'a Parameter) -> Declared<'a> {
    Declared { name, schema: &parameter.schema, optional: parameter.optional, default: parameter.default.as_ref() }
}

fn modes(written: config::Modes) -> Modes {
    let mode = |mode| match mode {
        config::Mode::Enforce => Mode::Enforce,
        config::Mode::Observe => Mode::Observe,
    };
    let config::Modes { contract, authorisation, limits } = written;
    Modes { contract: mode(contract), authorisation: mode(authorisation), limits: mode(limits) }
}
