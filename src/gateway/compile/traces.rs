//! `traces`: a collector that can be reached, bounds that fit each other, headers that can be sent.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};

use crate::config::{self, Config, Place, Report};
use crate::gateway::traces::{Compression, Errors, Export, Parent, Traces};
use crate::policy::headers::{is_framing, is_hop_by_hop};
use crate::policy::trace_context::Share;

use super::tokens::{Scheme, scheme_of};

/// Where OTLP/HTTP takes traces.
const PATH: &str = "/v1/traces";

/// What every program says of itself, in a key of its own.
const SERVICE_NAME: &str = "service.name";

pub(super) fn compile(config: &Config, report: &mut Report) -> Option<Traces> {
    let written = config.traces.as_ref()?;
    let url = url(written, report);
    let headers = headers(written, report);
    check_bounds(written, report);
    check_trust(written, report);
    let resource = resource(written, report);
    let export = Export {
        url: url?,
        headers,
        compression: match written.compression {
            config::Compression::None => Compression::None,
            config::Compression::Gzip => Compression::Gzip,
        },
        timeout: written.timeout.get(),
        interval: written.interval.get(),
        batch: written.batch as usize,
        resource,
    };
    Some(Traces {
        share: Share::of_million(written.sample.millionths()),
        parent: match written.parent {
            config::Parent::Trusted => Parent::Trusted,
            config::Parent::Always => Parent::Always,
            config::Parent::Never => Parent::Never,
        },
        errors: match written.errors {
            config::Errors::Always => Errors::Always,
            config::Errors::Sampled => Errors::Sampled,
        },
        queue: written.queue as usize,
        export: Arc::new(export),
    })
}

fn at(key: &str) -> Place {
    Place::root().key("traces").key(key)
}

fn url(written: &config::Traces, report: &mut Report) -> Option<Box<str>> {
    let endpoint = written.endpoint.as_str();
    let scheme = scheme_of(endpoint).filter(|_| !endpoint.contains('?'));
    let Some(scheme) = scheme else {
        // It may hold a password, so nothing of it is repeated.
        report
            .error(at("endpoint"), "this is no URL of a collector")
            .by_itself()
            .help("for example `http://127.0.0.1:4318`; credentials are `headers`");
        return None;
    };
    if scheme == Scheme::Plain && !written.headers.is_empty() {
        report
            .warning(at("endpoint"), "headers go to the collector over http: whoever is on the way can read them")
            .given(at("headers"))
            .help("use https where they are credentials");
    }
    let base = endpoint.trim_end_matches('/');
    let path = if base.ends_with(PATH) { "" } else { PATH };
    Some(format!("{base}{path}").into())
}

fn headers(written: &config::Traces, report: &mut Report) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in &written.headers {
        let place = at("headers").key(name.as_str());
        let name = &name.0;
        if is_framing(name) || is_hop_by_hop(name) || [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT].contains(name) {
            report.error(place, format!("`{name}`: the gateway writes this header itself")).by_itself().on_key();
            continue;
        }
        match HeaderValue::from_str(value) {
            Ok(value) => headers.push((name.clone(), value)),
            Err(_) => {
                report.error(place, "the value cannot be sent as a header").by_itself().help("no control characters");
            }
        }
    }
    headers
}

fn check_bounds(written: &config::Traces, report: &mut Report) {
    let bounds = [("batch", written.batch), ("queue", written.queue)];
    for (key, _) in bounds.into_iter().filter(|(_, spans)| *spans == 0) {
        report.error(at(key), "nothing could be sent").by_itself().help("a number of spans above zero");
    }
    if written.batch > written.queue && written.queue > 0 {
        report
            .error(at("batch"), "a batch is larger than the queue it is taken from")
            .given(at("queue"))
            .help(format!("at most {}", written.queue));
    }
}

fn check_trust(written: &config::Traces, report: &mut Report) {
    if written.parent == config::Parent::Always {
        report
            .warning(at("parent"), "whoever calls decides which requests are recorded")
            .by_itself()
            .help("`trusted` continues the traces of `trusted_proxies` only");
    }
}

fn resource(written: &config::Traces, report: &mut Report) -> Vec<(Box<str>, Box<str>)> {
    if written.service_name.is_empty() {
        report.error(at("service_name"), "this is no name").by_itself().help("for example `tollgate`");
    }
    if written.resource_attributes.contains_key(SERVICE_NAME) {
        report
            .error(at("resource_attributes").key(SERVICE_NAME), "the name has a key of its own")
            .by_itself()
            .on_key()
            .help("say `service_name`");
    }
    let name = (SERVICE_NAME, written.service_name.as_str());
    let more = written.resource_attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    std::iter::once(name).chain(more).map(|(key, value)| (key.into(), value.into())).collect()
}
