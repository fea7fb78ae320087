//! WebSockets of a route: what cannot stand beside them, and which pages may open one.

use http::Method;

use crate::config::{self, Place, Report};
use crate::gateway::service::Protocol;
use crate::gateway::{Service, Websocket};
use crate::policy::websocket::Origins;

use super::RouteCompiler;

impl RouteCompiler<'_> {
    pub(super) fn websocket(&mut self, methods: &[Method], service: Option<&Service>) -> Option<Box<Websocket>> {
        let config::Websocket::Taken(rules) = &self.written.websocket else { return None };
        let place = self.at("websocket");
        let written = self.written;
        if !methods.is_empty() && methods != [Method::GET] {
            self.report
                .error(place.clone(), "a WebSocket is asked for with GET alone")
                .on_key()
                .given_keys(&self.place, &["method", "methods"])
                .help("`method: GET`; other methods of this path can have a route of their own");
        }
        if let Some(service) = service.filter(|service| service.rules.protocol == Protocol::Http2) {
            let protocol = Place::root().key("services").key(&*service.name).key("protocol");
            self.report
                .error(place.clone(), "WebSockets are spoken over HTTP/1.1, and this service gets HTTP/2")
                .on_key()
                .given_keys(&self.place, &["service"])
                .given(protocol)
                .help("a service of its own with the same address, without `protocol: http2`");
        }
        let beside = [
            ("body", written.body.is_some()),
            ("body_params", written.body_params.is_some()),
            ("form_params", written.form_params.is_some()),
            ("response_model", written.response_model.is_some()),
        ];
        for (key, _) in beside.into_iter().filter(|(_, there)| *there) {
            self.report
                .error(self.at(key), "a route that takes WebSockets has neither bodies nor replies of HTTP")
                .on_key()
                .given_keys(&self.place, &["websocket"])
                .help("what goes through a WebSocket is not checked");
        }
        let origins = self.origins(rules.origins.as_ref(), &place.key("origins"));
        Some(Box::new(Websocket {
            origins,
            idle_timeout: rules.idle_timeout.get(),
            max_lifetime: rules.max_lifetime.map(config::Duration::get),
            metrics: self.telemetry.websocket(&written.name),
        }))
    }

    fn origins(&mut self, written: Option<&config::Origins>, place: &Place) -> Origins {
        let listed = match written {
            None => return Origins::Same,
            Some(config::Origins::Any) => return Origins::Any,
            Some(config::Origins::Listed(listed)) => listed,
        };
        if listed.is_empty() {
            self.report
                .error(place.clone(), "no page could open a WebSocket")
                .by_itself()
                .help("leave `origins` out for pages of the same host, or say `any`");
        }
        Origins::Listed(in_lower_case(listed, place, self.report))
    }
}

/// The origins of a list.
pub(super) fn in_lower_case(listed: &[String], place: &Place, report: &mut Report) -> Vec<Box<str>> {
    for (index, origin) in listed.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
        report
            .error(place.clone().index(index), format!("`{origin}` is no origin"))
            .by_itself()
            .help("scheme and host, as `https://app.example.com` or `http://localhost:3000`, without a path");
    }
    listed.iter().map(|origin| origin.to_ascii_lowercase().into()).collect()
}

/// As a browser sends it: `https://host[:port]`, without a port that the scheme has anyway.
fn is_origin(text: &str) -> bool {
    let usual = [("https://", ":443"), ("http://", ":80")];
    let known = usual.into_iter().find_map(|(scheme, port)| Some((text.strip_prefix(scheme)?, port)));
    let Some((authority, usual_port)) = known else { return false };
    let parsed = authority.parse::<http::uri::Authority>();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !authority.ends_with(usual_port) && authority.bytes().all(plain) && parsed.is_ok_and(|it| !it.host().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for (text, expected) in [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("https://[2001:db8::1]:8443", true),
            ("https://app.example.com/", false),
            ("https://app.example.com:443", false),
            ("http://app.example.com:80", false),
            ("https://*.example.com", false),
            ("app.example.com", false),
            ("wss://app.example.com", false),
            ("https://", false),
            ("https://user@app.example.com", false),
            ("null", false),
            ("*", false),
        ] {
            assert_eq!(is_origin(text), expected, "{text}");
        }
    }
}
