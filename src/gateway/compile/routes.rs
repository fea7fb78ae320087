//! Routes: template, service, contract, access, limits, headers.

mod allow;
mod fields;
mod limits;

use std::sync::Arc;

use http::Method;
use http::header::{AUTHORIZATION, HeaderValue};
use indexmap::IndexMap;

use crate::config::{self, Auth, Config, Parameter, Parameters, Place, Problem, Report, suggest};
use crate::gateway::forward_auth::ForwardAuthenticator;
use crate::gateway::password::PasswordAuthenticator;
use crate::gateway::router::{HostPattern, RouterBuilder};
use crate::gateway::template::{Template, TemplateFault};
use crate::gateway::token::TokenAuthenticator;
use crate::gateway::{Access, EncodedSlash, LimitBy, METHODS, Route, RouteLimit, Router, ServiceHeaders, ServicePath};
use crate::policy::authenticate::{KeyPlace, Part};
use crate::policy::contract::{
    BodyContract, Contract, Declared, DocumentContract, FileParameter, FormContract, FormField, JsonContract, Member,
    PathContract, Position, QueryContract, ReplyModel, SchemaFault, TextParameter, Undeclared, Weight,
};
use crate::policy::limit::Mark;
use crate::policy::mode::{Mode, Modes};
use crate::telemetry::Telemetry;

use super::callers::{Authenticator, Callers, Limits};
use super::distinct::{Distinct, at};
use super::documents::{Documents, schema_fault};
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
    for (index, written) in config.routes.iter().enumerate() {
        distinct.names(index, report);
        let place = at(index);
        let mut compiler = RouteCompiler { config, services, callers, telemetry, written, place, report };
        let Some((route, host)) = compiler.route(index, &mut distinct) else { continue };
        let route = Arc::new(route);
        // A conflict is in the report by now.
        let _ = builder.add(host.as_ref(), &route.methods, &route.template, Arc::clone(&route));
        routes.push(route);
    }
    Compiled { router: builder.build(), routes }
}

struct RouteCompiler<'a> {
    config: &'a Config,
    services: &'a Services,
    callers: &'a Callers,
    telemetry: &'a Telemetry,
    written: &'a config::Route,
    place: Place,
    report: &'a mut Report,
}

impl RouteCompiler<'_> {
    /// Every part is compiled, whatever is wrong with the others; only then the route is made or not.
    fn route(&mut self, index: usize, distinct: &mut Distinct<'_>) -> Option<(Route, Option<HostPattern>)> {
        let written = self.written;
        self.check_name();
        self.check_documentation();
        let methods = self.methods();
        let host = self.host();
        let service = self.service();
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
        let template = template?;
        if let Ok(host) = &host {
            distinct.requests(index, host.as_ref(), &methods, &template, self.report);
        }
        let service_path = self.service_path(&template, service.as_ref().map(|service| &*service.base_path));
        let path = self.path(&template, in_path)?;
        let route = Route {
            name: written.name.as_str().into(),
            methods,
            host: written.host.as_deref().map(Into::into),
            gateway_path: written.gateway_path.as_str().into(),
            service_path_text: written.service_path.as_deref().unwrap_or(&written.gateway_path).into(),
            service: service?,
            service_path: service_path?,
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

    fn service(&mut self) -> Option<Arc<crate::gateway::Service>> {
        let name = &self.written.service;
        if !self.config.services.contains_key(name) {
            let defined = self.config.services.keys().map(String::as_str);
            self.report
                .error(self.at("service"), format!("unknown service `{name}`"))
                .given(Place::root().key("services").key(name))
                .help(suggest(name, defined));
        }
        self.services.get(name).cloned()
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

    fn body(&mut self, undeclared: Undeclared) -> BodyContract {
        let written = self.written;
        let declared = [
            ("body", written.body.is_some()),
            ("body_params", written.body_params.is_some()),
            ("form_params", written.form_params.is_some()),
        ];
        let declared: Vec<&str> = declared.iter().filter(|(_, there)| *there).map(|(key, _)| *key).collect();
        if let [first, second, ..] = declared.as_slice() {
            let message = format!("a route has one kind of body: `{first}` is declared already");
            self.report.error(self.at(second), message).on_key().given_keys(&self.place, &[first]);
        }
        if let Some(parameters) = &written.body_params {
            let mut members = Vec::new();
            for (name, parameter) in parameters {
                let place = self.at("body_params").key(name);
                match Member::compile(declare(name, parameter)) {
                    Ok(member) => members.push(member),
                    Err(faults) => self.schema_faults(&place, parameter, faults),
                }
            }
            return BodyContract::Json(JsonContract::new(members, undeclared));
        }
        if let Some(parameters) = &written.form_params {
            let fields = self.form_fields(parameters);
            return BodyContract::Form(FormContract::with_files(fields, undeclared));
        }
        match &written.body {
            Some(config::Body::Any) => BodyContract::Any,
            Some(config::Body::Document(document)) => {
                let place = self.at("body");
                let mut compiler = Documents { files: &self.config.schema_files, report: self.report };
                // A document with a fault is one, so that nobody is told that no body is declared.
                compiler
                    .compile(document, &place, |source| DocumentContract::compile(source, undeclared))
                    .map_or(BodyContract::Any, BodyContract::Document)
            }
            None => BodyContract::None,
        }
    }

    /// A PATCH changes what it names: what is filled in would overwrite what the service has.
    fn refuse_patched_defaults(&mut self, methods: &[Method]) {
        if !methods.contains(&Method::PATCH) {
            return;
        }
        for (key, parameters) in
            [("body_params", &self.written.body_params), ("form_params", &self.written.form_params)]
        {
            for (name, _) in parameters.iter().flatten().filter(|(_, parameter)| parameter.default.is_some()) {
                self.report
                    .error(self.at(key).key(name).key("default"), "a PATCH keeps absent members absent")
                    .on_key()
                    .given_keys(&self.place, &["method", "methods"])
                    .help("say `optional: true`: the default is the service's to fill in");
            }
        }
    }

    fn warn_of_body(&mut self, methods: &[Method], body: &BodyContract) {
        let usual = |method: &Method| matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        if matches!(body, BodyContract::None) && methods.iter().any(usual) {
            let warning = self.report.warning(self.place.clone(), "no body is declared, so none reaches the service");
            warning.given_keys(&self.place, &BODY_KEYS).help("`body_params`, `form_params`, or `body: any`");
        }
        if !matches!(body, BodyContract::None) && !methods.is_empty() && !methods.iter().any(usual) {
            let message = "a body is declared, but requests of this method usually have none";
            self.report.warning(self.place.clone(), message).given_keys(&self.place, &BODY_KEYS);
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

    fn form_fields(&mut self, parameters: &IndexMap<String, Parameter>) -> Vec<FormField> {
        let mut fields = Vec::new();
        for (name, parameter) in parameters {
            if !FileParameter::is_declared(&parameter.schema) {
                let texts = self.text_parameters([(name, parameter)], "form_params", Position::Form);
                fields.extend(texts.into_iter().map(|text| FormField::Text(Box::new(text))));
                continue;
            }
            let place = self.at("form_params").key(name);
            match FileParameter::compile(declare(name, parameter), &read_size) {
                Ok(file) => {
                    self.warn_of_size(&place, parameter, &file);
                    fields.push(FormField::File(file));
                }
                Err(faults) => self.schema_faults(&place, parameter, faults),
            }
        }
        fields
    }

    /// A file that cannot become as large as it may.
    fn warn_of_size(&mut self, place: &Place, parameter: &Parameter, file: &FileParameter) {
        let max_body = self.max_body();
        if file.max_size().is_some_and(|max| max >= max_body.bytes()) {
            let at = match parameter.schema.contains_key("max_size") {
                true => place.clone(),
                false => place.clone().key("items"),
            };
            let message = format!("the whole body is limited to {max_body} by `max_body`");
            let problem = self.report.warning(at.key("max_size"), message).given_keys(&self.place, &["max_body"]);
            if self.written.max_body.is_none() {
                problem.given(Place::root().key("defaults").key("max_body"));
            }
            given_keywords(problem, place, parameter)
                .help("raise the route's `max_body`: it counts all files and fields together");
        }
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

    fn response_model(&mut self) -> Option<ReplyModel> {
        let document = self.written.response_model.as_ref()?;
        let place = self.at("response_model");
        let mut compiler = Documents { files: &self.config.schema_files, report: self.report };
        compiler.compile(document, &place, ReplyModel::compile)
    }

    /// The names that say who may call, as written.
    fn authenticators(&self) -> Vec<Box<str>> {
        match self.written.auth.as_ref().or(self.config.defaults.auth.as_ref()) {
            Some(Auth::Any(names)) => names.iter().map(|name| name.as_str().into()).collect(),
            Some(Auth::Public(_)) | None => Vec::new(),
        }
    }

    fn access(&mut self) -> Option<Access> {
        let (auth, place) = match (&self.written.auth, &self.config.defaults.auth) {
            (Some(auth), _) => (auth, self.at("auth")),
            (None, Some(auth)) => (auth, Place::root().key("defaults").key("auth")),
            (None, None) => {
                self.report
                    .error(self.place.clone(), "it is not said who may call this route")
                    .given_keys(&self.place, &["auth"])
                    .given(Place::root().key("defaults").key("auth"))
                    .help("`auth: [AUTHENTICATOR]` or `auth: public`, here or in `defaults`");
                return None;
            }
        };
        // What stands in the defaults matters here as long as the route has nothing of its own.
        let own = self.at("auth");
        let names = match auth {
            Auth::Public(_) => return Some(Access::Public),
            Auth::Any(names) => names,
        };
        if names.is_empty() {
            self.report
                .error(place.clone(), "nobody can call with an empty list")
                .given(place)
                .given(own)
                .help("say `public` to let everyone in");
            return None;
        }
        let mut places: Vec<KeyPlace> = Vec::new();
        let mut tokens: Vec<Arc<TokenAuthenticator>> = Vec::new();
        let mut passwords: Vec<Arc<PasswordAuthenticator>> = Vec::new();
        let mut asked: Vec<Arc<ForwardAuthenticator>> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match self.callers.authenticators.get(name) {
                Some(Authenticator::Key(place)) => places.push(place.clone()),
                Some(Authenticator::Token(authenticator)) => tokens.push(Arc::clone(authenticator)),
                Some(Authenticator::Password(authenticator)) => passwords.push(Arc::clone(authenticator)),
                Some(Authenticator::Asked(authenticator)) => asked.push(Arc::clone(authenticator)),
                None if self.config.authenticators.contains_key(name) => {}
                None => {
                    let defined = self.config.authenticators.keys().map(String::as_str);
                    let problem = self
                        .report
                        .error(place.clone().index(index), format!("unknown authenticator `{name}`"))
                        .given(Place::root().key("authenticators").key(name));
                    if place != own {
                        problem.given(own.clone());
                    }
                    problem.help(suggest(name, defined));
                }
            }
        }
        places.dedup_by(|one, other| one.part == other.part);
        let others =
            tokens.iter().map(|tokens| &tokens.place).chain(passwords.iter().map(|passwords| &passwords.place));
        let is_keys = |other: &KeyPlace| places.iter().any(|place| place.part == other.part);
        if others.into_iter().any(is_keys) {
            self.report
                .error(place.clone(), "a key and another credential are looked for in the same place of a request")
                .given(place)
                .given(own)
                .given(Place::root().key("authenticators"))
                .help("give one of the authenticators another `header`");
        }
        let challenge_of = |invalid| challenge(&places, &tokens, &passwords, invalid);
        let (challenge, invalid_token) = (challenge_of(Invalid::Nothing), challenge_of(Invalid::Token));
        Some(Access::Authenticated { challenge, invalid_token, places, tokens, passwords, asked })
    }

    fn limits(&mut self, access: Option<&Access>) -> Vec<RouteLimit> {
        let written = self.written;
        if written.cost == 0 {
            self.report
                .error(self.at("cost"), "a request costs at least 1")
                .by_itself()
                .help("leave the key out for 1");
        }
        let place = self.at("limits");
        let owner = format!("route/{}", written.name);
        let mut limits = Vec::new();
        for (index, entry) in written.limits.iter().enumerate() {
            let place = place.clone().index(index);
            let by = match &entry.by {
                config::LimitBy::ClientIp => LimitBy::ClientIp,
                config::LimitBy::Consumer => LimitBy::Consumer,
                config::LimitBy::Route => LimitBy::Route,
                config::LimitBy::Header(name) => LimitBy::Header(name.0.clone()),
                config::LimitBy::Claim(path) => LimitBy::Claim(path.as_str().into()),
            };
            self.refuse_unsaid(&by, &place);
            if by == LimitBy::Consumer && matches!(access, Some(Access::Public)) {
                let problem = self
                    .report
                    .error(place.clone().key("by"), "a public route has no consumer")
                    .given_keys(&self.place, &["auth"]);
                if written.auth.is_none() {
                    problem.given(Place::root().key("defaults").key("auth"));
                }
                problem.help("limit `by: client_ip`, or ask for a credential with `auth`");
            }
            let word = by_word(&by);
            let same = |other: &config::RouteLimit| other.by == entry.by && other.rate.period == entry.rate.period;
            if let Some(first) = written.limits[..index].iter().position(same) {
                let message = "the route has a limit for the same callers and period already";
                let first = self.at("limits").index(first);
                self.report.error(place.clone(), message).given(place.clone()).given(first);
            }
            let mut compiler = Limits { timezone: &self.callers.timezone, report: self.report };
            let rate = place.key("rate");
            if let Some(limit) = compiler.limit(&entry.rate, rate.clone(), &format!("{owner}/{word}"), &word) {
                if limit.capacity() < u64::from(written.cost) {
                    let message = format!("a request costs {}, more than this limit ever allows", written.cost);
                    self.report.error(rate, message).given_keys(&self.place, &["cost"]);
                }
                limits.push(RouteLimit { limit, by });
            }
        }
        self.check_cost_of_plans();
        limits
    }

    /// A route dearer than a plan's bucket could never be called with that plan.
    fn check_cost_of_plans(&mut self) {
        for plan in self.callers.plans.values() {
            let limits = plan.route_limits(&self.written.name).iter().chain(&plan.total);
            for limit in limits.filter(|limit| limit.capacity() < u64::from(self.written.cost)) {
                let message = format!(
                    "a request costs {}, more than limit `{}` of plan `{}` ever allows",
                    self.written.cost,
                    limit.name(),
                    plan.name
                );
                self.report
                    .warning(self.place.clone().key("cost"), message)
                    .given_keys(&self.place, &["name"])
                    .given(Place::root().key("plans").key(&*plan.name));
            }
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

/// A size in a parameter, which the contract does not know how to read.
fn read_size(written: &serde_json::Value) -> Result<u64, String> {
    let size: Result<config::Size, serde_json::Error> = serde_json::from_value(written.clone());
    size.map(config::Size::bytes).map_err(|_| "must be a size like `5MiB`".to_owned())
}

fn modes(written: config::Modes) -> Modes {
    let mode = |mode| match mode {
        config::Mode::Enforce => Mode::Enforce,
        config::Mode::Observe => Mode::Observe,
    };
    let config::Modes { contract, authorisation, limits } = written;
    Modes { contract: mode(contract), authorisation: mode(authorisation), limits: mode(limits) }
}

fn by_word(by: &LimitBy) -> String {
    match by {
        LimitBy::ClientIp => "client-ip".to_owned(),
        LimitBy::Consumer => "consumer".to_owned(),
        LimitBy::Route => "route".to_owned(),
        LimitBy::Header(name) => format!("header-{name}"),
        LimitBy::Claim(path) => format!("claim-{path}"),
    }
}

/// What a challenge says of the credential that was sent.
#[derive(Clone, Copy, PartialEq)]
enum Invalid {
    Nothing,
    Token,
}

/// `WWW-Authenticate`: there is no registered scheme for API keys; this one names where the key belongs. That of tokens
/// is RFC 6750's, that of passwords RFC 7617's. Auth services have none but what they answer: empty if there are no others.
fn challenge(
    places: &[KeyPlace],
    tokens: &[Arc<TokenAuthenticator>],
    passwords: &[Arc<PasswordAuthenticator>],
    invalid: Invalid,
) -> HeaderValue {
    let mut challenges: Vec<String> = places
        .iter()
        .map(|place| match &place.part {
            Part::Header(name) => format!("ApiKey in=\"header\", name=\"{name}\""),
            Part::Query(name) => format!("ApiKey in=\"query\", name=\"{}\"", name.escape_default()),
            Part::Cookie(name) => format!("ApiKey in=\"cookie\", name=\"{name}\""),
        })
        .collect();
    let error = if invalid == Invalid::Token { ", error=\"invalid_token\"" } else { "" };
    for tokens in tokens {
        let bearer = match &tokens.place.part {
            Part::Header(name) if *name == AUTHORIZATION => format!("Bearer realm=\"tollgate\"{error}"),
            Part::Header(name) => format!("Bearer realm=\"tollgate\", in=\"header\", name=\"{name}\"{error}"),
            Part::Query(name) => {
                format!("Bearer realm=\"tollgate\", in=\"query\", name=\"{}\"{error}", name.escape_default())
            }
            Part::Cookie(name) => format!("Bearer realm=\"tollgate\", in=\"cookie\", name=\"{name}\"{error}"),
        };
        if !challenges.contains(&bearer) {
            challenges.push(bearer);
        }
    }
    for PasswordAuthenticator { realm, .. } in passwords.iter().map(|passwords| &**passwords) {
        let basic = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        if !challenges.contains(&basic) {
            challenges.push(basic);
        }
    }
    HeaderValue::from_str(&challenges.join(", ")).unwrap_or(HeaderValue::from_static("ApiKey"))
}
