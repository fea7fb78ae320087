//! A route's body: which kind it is, what it declares, what of it is doubtful; and the model of the reply.

use http::Method;
use indexmap::IndexMap;

use crate::config::{self, Parameter, Place};
use crate::policy::contract::{
    BodyContract, DocumentContract, FileParameter, FormContract, FormField, JsonContract, Member, Position, ReplyModel,
    Undeclared,
};

use super::super::documents::Documents;
use super::{BODY_KEYS, RouteCompiler, declare, given_keywords};

impl RouteCompiler<'_> {
    pub(super) fn body(&mut self, undeclared: Undeclared) -> BodyContract {
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
    pub(super) fn refuse_patched_defaults(&mut self, methods: &[Method]) {
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

    pub(super) fn warn_of_body(&mut self, methods: &[Method], body: &BodyContract) {
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

    pub(super) fn form_fields(&mut self, parameters: &IndexMap<String, Parameter>) -> Vec<FormField> {
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
    pub(super) fn warn_of_size(&mut self, place: &Place, parameter: &Parameter, file: &FileParameter) {
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

    pub(super) fn response_model(&mut self) -> Option<ReplyModel> {
        let document = self.written.response_model.as_ref()?;
        let place = self.at("response_model");
        let mut compiler = Documents { files: &self.config.schema_files, report: self.report };
        compiler.compile(document, &place, ReplyModel::compile)
    }
}

/// A size in a parameter, which the contract does not know how to read.
fn read_size(written: &serde_json::Value) -> Result<u64, String> {
    let size: Result<config::Size, serde_json::Error> = serde_json::from_value(written.clone());
    size.map(config::Size::bytes).map_err(|_| "must be a size like `5MiB`".to_owned())
}
