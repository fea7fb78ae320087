//! Authenticators that ask: an address, plans that exist, headers that only answers write.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use indexmap::IndexMap;

use crate::config::{FieldName, ForwardAuth, Place};
use crate::gateway::forward_auth::{ForwardAuthenticator, Meaning};
use crate::gateway::service::{HostHeader, Rules, Service};
use crate::policy::headers::{is_framing, is_hop_by_hop, is_own};
use crate::telemetry::ServiceMetrics;

use super::service_tls;
use super::services::parse_url;
use super::tokens::{PlanOfCallers, Tokens};

impl Tokens<'_> {
    pub(super) fn forward_auth(
        &mut self,
        name: &str,
        written: &ForwardAuth,
        place: &Place,
    ) -> Option<ForwardAuthenticator> {
        self.check_name(name, place);
        let service = self.auth_service(name, written, place);
        let request_headers = self.request_headers(written, place);
        let meaning = Meaning {
            consumer: self.answered("consumer_header", Some(&written.consumer_header), place)?,
            consumers: if written.match_consumers { self.consumers.clone() } else { IndexMap::new() },
            plan_header: self.plan_header(written, place),
            plan: self.plan(
                &PlanOfCallers {
                    plan: written.plan.as_deref(),
                    named: written.plan_header.is_some() || written.match_consumers,
                    who: "callers that the auth service names",
                    by: "header",
                    key: "plan_header",
                },
                place,
            ),
            plans: self.plans.clone(),
            groups: self.answered("groups_header", written.groups_header.as_ref(), place),
            copied: self.copied(written, place),
        };
        let (service, path) = service?;
        let timeout = written.timeout.get();
        Some(ForwardAuthenticator { name: name.into(), service, path, timeout, request_headers, meaning })
    }

    fn auth_service(&mut self, name: &str, written: &ForwardAuth, place: &Place) -> Option<(Arc<Service>, Box<str>)> {
        let place = place.clone().key("url");
        let (scheme, authority, path) = match parse_url(&written.url) {
            Ok(parsed) => parsed,
            Err(fault) => {
                self.report
                    .error(place, fault.message)
                    .by_itself()
                    .help("for example `http://auth.internal:9000/verify`");
                return None;
            }
        };
        let timeout = written.timeout.get();
        let tls = service_tls::usual(scheme, &authority.host, &place, self.report).ok()?;
        let (rules, metrics) = (Rules::plain(timeout), ServiceMetrics::unregistered());
        let service = Service::new(name, "", HostHeader::Service, vec![authority], rules, metrics, None).over(tls);
        for (host, failed) in service.refresh(self.lookup) {
            self.report
                .warning(place.clone(), format!("`{host}` cannot be looked up now: {failed}"))
                .by_itself()
                .help("whoever would be asked about is answered 503 until it can; it is tried again in the background");
        }
        let path = if path.is_empty() { "/".to_owned() } else { path };
        Some((Arc::new(service), path.into()))
    }

    fn request_headers(&mut self, written: &ForwardAuth, place: &Place) -> Vec<HeaderName> {
        let mut names = Vec::new();
        for (index, FieldName(name)) in written.request_headers.iter().enumerate() {
            if is_framing(name) || is_own(name) || is_hop_by_hop(name) {
                self.report
                    .error(
                        place.clone().key("request_headers").index(index),
                        format!("`{name}` of a client is not passed on"),
                    )
                    .by_itself()
                    .help("the auth service gets the gateway's own `X-Forwarded-*` and `X-Request-Id`");
            } else if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// A header of the answer, which the gateway writes or at least keeps clients from writing.
    fn answered(&mut self, key: &str, written: Option<&FieldName>, place: &Place) -> Option<HeaderName> {
        let FieldName(name) = written?;
        self.check_answered(name, place.clone().key(key));
        Some(name.clone())
    }

    fn check_answered(&mut self, name: &HeaderName, place: Place) {
        let taken = is_framing(name) || is_own(name) || is_hop_by_hop(name);
        if taken || [COOKIE, AUTHORIZATION].contains(name) {
            self.report
                .error(place, format!("an answer cannot fill `{name}`"))
                .by_itself()
                .help("take a name of your own, such as `x-user`");
        }
    }

    fn copied(&mut self, written: &ForwardAuth, place: &Place) -> Vec<HeaderName> {
        let mut names = Vec::new();
        for (index, FieldName(name)) in written.copy_headers.iter().enumerate() {
            self.check_answered(name, place.clone().key("copy_headers").index(index));
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    fn plan_header(&mut self, written: &ForwardAuth, place: &Place) -> Option<HeaderName> {
        let header = self.answered("plan_header", written.plan_header.as_ref(), place)?;
        if self.config.plans.is_empty() {
            self.report
                .error(place.clone().key("plan_header"), "there are no plans that a header could name")
                .given(Place::root().key("plans"));
        }
        Some(header)
    }
}
