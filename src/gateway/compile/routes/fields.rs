//! A route's header fields and cookies: what it declares of them, and which of the client's fields pass at all.
//!
//! A name that never reaches the service as the client sent it can be neither declared nor allowed.

use http::HeaderName;
use http::header::{CONTENT_TYPE, COOKIE, EXPECT, VIA};

use crate::config::{self, Place, Problem};
use crate::policy::authenticate::Part;
use crate::policy::contract::{
    CookieContract, CookieParameter, FieldContract, HeaderParameter, Undeclared, is_look_alike,
};
use crate::policy::headers::{AllowList, is_framing, is_hop_by_hop, is_own};

use super::super::callers::is_token;
use super::{RouteCompiler, declare};

impl RouteCompiler<'_> {
    /// `hidden`: the places of keys that the service does not see.
    pub(super) fn fields(&mut self, undeclared: Undeclared, hidden: &[Part]) -> FieldContract {
        let mut headers = Vec::new();
        let written = self.written;
        for (index, (name, parameter)) in written.header_params.iter().enumerate() {
            let place = self.at("header_params").key(name.as_str());
            let earlier = written.header_params.keys().take(index).find(|other| is_look_alike(&other.0, &name.0));
            if let Some(other) = earlier {
                let message = format!("`{name}`: some services cannot tell this header from `{other}`");
                let other = self.at("header_params").key(other.as_str());
                self.report.error(place, message).on_key().given(other);
                continue;
            }
            if let Some(why) = self.never_checked(&name.0, hidden) {
                self.refuse(place, name.as_str(), why).on_key();
                continue;
            }
            match HeaderParameter::compile(name.0.clone(), declare(name.as_str(), parameter)) {
                Ok(parameter) => headers.push(parameter),
                Err(faults) => self.schema_faults(&place, parameter, faults),
            }
        }
        FieldContract::new(headers, self.cookies(undeclared, hidden))
    }

    fn cookies(&mut self, undeclared: Undeclared, hidden: &[Part]) -> Option<CookieContract> {
        let hidden = hidden.iter().filter_map(|part| match part {
            Part::Cookie(name) => Some(name.clone()),
            Part::Header(_) | Part::Query(_) => None,
        });
        let hidden: Vec<Box<str>> = hidden.collect();
        let mut parameters = Vec::new();
        for (name, parameter) in &self.written.cookie_params {
            let place = self.at("cookie_params").key(name);
            let why = match () {
                () if !is_token(name) => Why::Always("this is no cookie name"),
                () if hidden.iter().any(|hidden| **hidden == **name) => Why::HoldsKey,
                () => {
                    match CookieParameter::compile(declare(name, parameter)) {
                        Ok(parameter) => parameters.push(parameter),
                        Err(faults) => self.schema_faults(&place, parameter, faults),
                    }
                    continue;
                }
            };
            self.refuse(place, name, why).on_key();
        }
        let declared = !self.written.cookie_params.is_empty();
        declared.then(|| CookieContract::new(parameters, undeclared, hidden))
    }

    /// Why a header cannot be a parameter.
    fn never_checked(&self, name: &HeaderName, hidden: &[Part]) -> Option<Why> {
        if let Some(why) = self.never_passes(name, hidden) {
            return Some(why);
        }
        match *name {
            COOKIE => Some(Why::Always("cookies are declared one by one, in `cookie_params`")),
            EXPECT | VIA => Some(Why::Always("the proxy writes this header itself")),
            CONTENT_TYPE if !matches!(self.written.body, Some(config::Body::Any)) => Some(Why::DecidedByBody),
            _ => None,
        }
    }

    /// Why a client's field does not reach the service, whatever the route says.
    fn never_passes(&self, name: &HeaderName, hidden: &[Part]) -> Option<Why> {
        let claims = self.callers.claim_headers();
        let claimed = claims.iter().any(|claimed| claimed == name || is_look_alike(claimed, name));
        if claimed { Some(Why::HoldsClaim) } else { never_passes(name, hidden) }
    }

    /// Reports a name that cannot be declared or allowed.
    fn refuse(&mut self, place: Place, name: &str, why: Why) -> &mut Problem {
        let problem = self.report.error(place, format!("`{name}`: {}", why.text())).by_itself();
        match why {
            Why::Always(_) => {}
            Why::DecidedByBody => _ = problem.given_keys(&self.place, &["body"]),
            Why::HoldsClaim => _ = problem.given(Place::root().key("authenticators")),
            Why::HoldsKey => {
                problem.given_keys(&self.place, &["auth"]).given(Place::root().key("authenticators"));
                if self.written.auth.is_none() {
                    problem.given(Place::root().key("defaults").key("auth"));
                }
            }
        }
        problem
    }

    /// Which of the client's fields pass; `None`: all that are not stripped.
    pub(super) fn allowed(&mut self, hidden: &[Part]) -> Option<AllowList> {
        let written = self.written;
        let names = written.request_headers.allow.as_ref()?;
        for (index, name) in names.iter().enumerate() {
            let like = |declared: &&config::FieldName| **declared != *name && is_look_alike(&declared.0, &name.0);
            let place = self.at("request_headers").key("allow").index(index);
            if let Some(declared) = written.header_params.keys().find(like) {
                let message =
                    format!("`{name}`: it does not pass beside `{declared}`: some services cannot tell them apart");
                let declared = self.at("header_params").key(declared.as_str());
                self.report.error(place, message).given(declared);
            } else if let Some(why) = self.never_passes(&name.0, hidden) {
                self.refuse(place, name.as_str(), why);
            }
        }
        let declared = names.iter().chain(written.header_params.keys()).map(|name| name.0.clone());
        let cookie = (!written.cookie_params.is_empty()).then_some(COOKIE);
        Some(AllowList::of(declared.chain(cookie)))
    }
}

/// Why a client's field or cookie is not the route's to declare.
#[derive(Debug, Clone, Copy)]
enum Why {
    /// It never is.
    Always(&'static str),
    /// Something else in the route decides on it.
    DecidedByBody,
    /// It holds an API key or a token that the service does not see.
    HoldsKey,
    /// Tokens say what it holds.
    HoldsClaim,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::Always(text) => text,
            Self::DecidedByBody => "the declaration of the body decides on this header",
            Self::HoldsClaim => "an authenticator writes this header",
            Self::HoldsKey => "this holds an API key, which the service does not see",
        }
    }
}

/// The same, apart from claims.
fn never_passes(name: &HeaderName, hidden: &[Part]) -> Option<Why> {
    match () {
        () if is_framing(name) => Some(Why::Always("the proxy writes this header itself")),
        () if is_own(name) => Some(Why::Always("only the gateway writes this header")),
        () if is_hop_by_hop(name) => Some(Why::Always("this header is for the gateway and ends there")),
        () if hidden.iter().any(|part| matches!(part, Part::Header(hidden) if hidden == name)) => Some(Why::HoldsKey),
        () => None,
    }
}
