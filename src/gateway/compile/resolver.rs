//! `resolver`: which servers are asked, and the bounds of how long an answer holds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{self, Place, Report};
use crate::gateway::names::Resolver;

/// The port of DNS.
const PORT: u16 = 53;

/// The shortest `min_ttl`.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn compile(written: &config::Resolver, report: &mut Report) -> Resolver {
    let place = Place::root().key("resolver");
    let mut servers = Vec::new();
    for (index, text) in written.servers.iter().enumerate() {
        let place = place.clone().key("servers").index(index);
        match server(text) {
            Some(server) if servers.contains(&server) => {
                report.warning(place, format!("`{text}` is asked already")).by_itself();
            }
            Some(server) => servers.push(server),
            None => {
                report
                    .error(place, format!("`{text}` is no address of a DNS server"))
                    .by_itself()
                    .help("for example `10.0.0.2`, `10.0.0.2:5353` or `[2001:db8::2]:53`");
            }
        }
    }
    let (min_ttl, max_ttl) = (written.min_ttl.get(), written.max_ttl.get());
    if min_ttl < SHORTEST {
        report
            .error(place.clone().key("min_ttl"), "names are looked up once a second at most")
            .by_itself()
            .help("`min_ttl: 1s`");
    }
    if max_ttl < min_ttl {
        report
            .error(place.clone().key("max_ttl"), "`max_ttl` is shorter than `min_ttl`")
            .given(place.key("min_ttl"))
            .help("answers hold for at least `min_ttl` and at most `max_ttl`");
    }
    Resolver { servers, min_ttl, max_ttl: max_ttl.max(min_ttl) }
}

/// An address with or without a port.
fn server(text: &str) -> Option<SocketAddr> {
    let with_port = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    with_port.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address() {
        for (text, expected) in [
            ("10.0.0.2", Some("10.0.0.2:53")),
            ("10.0.0.2:5353", Some("10.0.0.2:5353")),
            ("2001:db8::2", Some("[2001:db8::2]:53")),
            ("[2001:db8::2]:54", Some("[2001:db8::2]:54")),
            ("10.0.0.2:0", None),
            ("dns.internal", None),
            ("", None),
        ] {
            assert_eq!(server(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
