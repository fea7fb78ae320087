//! Services: their URLs and targets; how they are called is compiled in `rules`.

mod rules;

use std::sync::Arc;

use http::header::HeaderValue;
use indexmap::IndexMap;

use crate::config::{self, Place, Report};
use crate::gateway::service::{Authority, HostHeader, Service};

use super::Surroundings;
use super::service_tls;
use rules::rules;

/// The largest weight of a target.
const MAX_WEIGHT: u32 = 100;

/// Compiled services by name; one that is wrong is in the report and not here.
pub(super) type Services = IndexMap<String, Arc<Service>>;

pub(super) fn compile(
    written: &IndexMap<String, config::Service>,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Services {
    let mut services = Services::new();
    for (name, service) in written {
        let place = Place::root().key("services").key(name);
        let addresses = addresses(service, &place, report).and_then(|(scheme, authorities, base_path)| {
            let hosts = authorities.iter().map(|authority| &*authority.host);
            let tls = service_tls::compile(service, scheme, hosts, &place, surroundings.read, report).ok()?;
            Some((authorities, base_path, tls))
        });
        let host = if service.preserve_host { HostHeader::Client } else { HostHeader::Service };
        // Both are looked at, whatever is wrong with the other.
        let rules = rules(service, &place, report);
        let (Some((authorities, base_path, tls)), Some(rules)) = (addresses, rules) else { continue };
        let metrics = surroundings.telemetry.service(name);
        let before = surroundings.services.iter().find(|before| *before.name == **name);
        let before = before.map(|before| &**before);
        let service = Service::new(name, &base_path, host, authorities, rules, metrics, before).over(tls);
        for (host, failed) in service.refresh(surroundings.lookup) {
            report
                .warning(place.clone(), format!("`{host}` cannot be looked up now: {failed}"))
                .given_keys(&place, &["url", "targets"])
                .help("its routes answer 503 until it can; it is tried again in the background");
        }
        services.insert(name.clone(), Arc::new(service));
    }
    services
}

/// How a service is spoken to, its authorities, and the path part of its URL.
fn addresses(
    service: &config::Service,
    place: &Place,
    report: &mut Report,
) -> Option<(Scheme, Vec<Authority>, String)> {
    let url = service.url.as_deref().map(parse_url);
    if let Some(Err(fault)) = &url {
        report.error(place.clone().key("url"), fault.message.as_str()).by_itself().help(fault.help);
    }
    let targets = targets(&service.targets, &place.clone().key("targets"), report);
    match (url, service.targets.is_empty()) {
        (Some(url), true) => url.ok().map(|(scheme, authority, path)| (scheme, vec![authority], path)),
        (None, false) => {
            let scheme = if service.tls.is_some() { Scheme::Https } else { Scheme::Http };
            Some((scheme, targets?, String::new()))
        }
        (None, true) => {
            report
                .error(place.clone(), "the service has no address")
                .on_key()
                .given_keys(place, &["url", "targets"])
                .help("`url: http://host:port` or `targets: [{ address: host:port }]`");
            None
        }
        (Some(_), false) => {
            report
                .error(place.clone().key("targets"), "a service has either `url` or `targets`")
                .on_key()
                .given_keys(place, &["url"]);
            None
        }
    }
}

fn targets(targets: &[config::Target], place: &Place, report: &mut Report) -> Option<Vec<Authority>> {
    let mut authorities: Vec<Authority> = Vec::new();
    let address = |index| place.clone().index(index).key("address");
    for (index, target) in targets.iter().enumerate() {
        if target.weight > MAX_WEIGHT {
            let place = place.clone().index(index).key("weight");
            report.error(place, format!("a weight is at most {MAX_WEIGHT}")).by_itself();
        }
        let same = |other: &config::Target| other.address.eq_ignore_ascii_case(&target.address);
        if let Some(first) = targets[..index].iter().position(same) {
            report
                .error(address(index), format!("`{}` is a target already", target.address))
                .given(address(first))
                .help("give it a `weight` instead");
        }
        match parse_authority(&target.address, None) {
            Ok(authority) => authorities.push(Authority { weight: target.weight, ..authority }),
            Err(fault) => {
                report.error(address(index), fault.message).by_itself().help(fault.help);
            }
        }
    }
    if !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
        report
            .warning(place.clone(), "no target has a weight above 0: the service's routes answer 503")
            .on_key()
            .by_itself();
    }
    (authorities.len() == targets.len()).then_some(authorities)
}

/// Why a text is no address.
pub(super) struct Fault {
    pub(super) message: String,
    help: &'static str,
}

fn fault(message: impl Into<String>, help: &'static str) -> Fault {
    Fault { message: message.into(), help }
}

/// How a service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

/// `http://host[:port][/path]`, or `https`.
pub(super) fn parse_url(url: &str) -> Result<(Scheme, Authority, String), Fault> {
    const EXAMPLE: &str = "for example `http://users.internal:8002/api`";
    let (scheme, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Http, rest),
        (_, Some(rest)) => (Scheme::Https, rest),
        (None, None) => return Err(fault("the URL of a service begins with `http://` or `https://`", EXAMPLE)),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err(fault("a URL with a user name is not supported", "set a header with `request_headers` instead"));
    }
    if path.contains(['?', '#', '{', '}']) || path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(fault("the URL's path is put before every service path: it must be plain", EXAMPLE));
    }
    if path.parse::<http::uri::PathAndQuery>().is_err() && !path.is_empty() {
        return Err(fault("the URL's path is not a path", EXAMPLE));
    }
    let usual_port = if scheme == Scheme::Https { 443 } else { 80 };
    Ok((scheme, parse_authority(authority, Some(usual_port))?, path.to_owned()))
}

/// `host:port`, `192.0.2.1:80`, `[2001:db8::1]:80`; the port may be left out where there is a usual one.
fn parse_authority(text: &str, usual_port: Option<u16>) -> Result<Authority, Fault> {
    const EXAMPLE: &str = "for example `10.0.0.1:8002` or `users.internal:8002`";
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match (port.map(str::parse::<u16>), usual_port) {
        (Some(Ok(port)), _) if port != 0 => port,
        (None, Some(port)) => port,
        (None, None) => return Err(fault("the port is missing", EXAMPLE)),
        (Some(_), _) => return Err(fault("the port is not a number from 1 to 65535", EXAMPLE)),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let name = bracketed.unwrap_or(host);
    let is_v6 = name.parse::<std::net::Ipv6Addr>().is_ok();
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if !(is_v6 && bracketed.is_some() || is_name && bracketed.is_none()) {
        return Err(fault(format!("`{host}` is neither an address nor a host name"), EXAMPLE));
    }
    let header = if Some(port) == usual_port { host.to_owned() } else { format!("{host}:{port}") };
    let header = HeaderValue::from_str(&header).map_err(|_| fault("the host is no header value", EXAMPLE))?;
    Ok(Authority { host: name.into(), port, weight: 1, header })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_or_refused() {
        for (url, expected) in [
            ("http://users:8002", Ok(("users", 8002, "users:8002", ""))),
            ("http://users", Ok(("users", 80, "users", ""))),
            ("http://users:80/", Ok(("users", 80, "users", "/"))),
            ("http://10.0.0.1:8002/api/v2", Ok(("10.0.0.1", 8002, "10.0.0.1:8002", "/api/v2"))),
            ("http://[::1]:8002", Ok(("::1", 8002, "[::1]:8002", ""))),
            ("https://users", Ok(("users", 443, "users", ""))),
            ("https://users:80/a", Ok(("users", 80, "users:80", "/a"))),
            ("http://users:443", Ok(("users", 443, "users:443", ""))),
            ("users:8002", Err("begins with")),
            ("http://", Err("neither")),
            ("http://users:0", Err("port")),
            ("http://users:99999", Err("port")),
            ("http://u@users", Err("user name")),
            ("http://users/{id}", Err("plain")),
            ("http://users/a/../b", Err("plain")),
            ("http://us ers", Err("neither")),
            ("http://::1", Err("neither")),
        ] {
            match (parse_url(url), expected) {
                (Ok((scheme, authority, path)), Ok((host, port, header, base))) => {
                    assert_eq!(scheme == Scheme::Https, url.starts_with("https:"), "{url}");
                    assert_eq!((&*authority.host, authority.port, path.as_str()), (host, port, base), "{url}");
                    assert_eq!(authority.header, header, "{url}");
                }
                (Err(fault), Err(part)) => assert!(fault.message.contains(part), "{url}: {}", fault.message),
                (Ok(_), Err(part)) => panic!("{url} was taken, expected {part}"),
                (Err(fault), Ok(_)) => panic!("{url}: {}", fault.message),
            }
        }
    }

    #[test]
    fn a_target_needs_its_port() {
        assert!(parse_authority("users", None).is_err_and(|fault| fault.message.contains("port is missing")));
        assert!(parse_authority("users:80", None).is_ok_and(|authority| authority.header == "users:80"));
    }
}
