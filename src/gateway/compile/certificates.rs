//! Certificates of consumers.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::config::{self, Config, Place, Report};
use crate::gateway::Consumer;
use crate::gateway::tls::{CertificateName, Owners};

/// Whose certificate is whose.
pub(super) fn owners(config: &Config, consumers: &IndexMap<String, Arc<Consumer>>, report: &mut Report) -> Owners {
    let mut owners = Owners::default();
    let asked = config.authenticators.values().any(|authenticator| authenticator.client_certificate.is_some());
    for (name, written) in config.consumers.iter().filter(|(_, written)| !written.certificates.is_empty()) {
        let place = Place::root().key("consumers").key(name).key("certificates");
        if !asked {
            report
                .warning(place.clone(), "no authenticator looks at certificates")
                .on_key()
                .given(Place::root().key("authenticators"))
                .help("add `authenticators: { cert: { client_certificate: {} } }`");
        }
        let Some(consumer) = consumers.get(name) else { continue };
        for (index, certificate) in written.certificates.iter().enumerate() {
            let place = place.clone().index(index);
            let Some(known_by) = known_by(certificate, &place, report) else { continue };
            if let Err(owner) = owners.add(known_by, consumer) {
                let message = format!("this certificate belongs to consumer `{}` already", owner.name);
                let others = Place::root().key("consumers").key(&*owner.name).key("certificates");
                report.error(place, message).given(others);
            }
        }
    }
    owners
}

/// The one name that is given.
fn known_by(written: &config::Certificate, place: &Place, report: &mut Report) -> Option<CertificateName> {
    let names = [
        written.sha256.map(|digest| CertificateName::Sha256(digest.0)),
        written.subject.as_deref().map(|name| CertificateName::Subject(name.into())),
        written.dns.as_deref().map(|name| CertificateName::Dns(name.to_ascii_lowercase().into())),
        written.uri.as_deref().map(|name| CertificateName::Uri(name.into())),
        written.email.as_deref().map(|name| CertificateName::Email(name.into())),
    ];
    let mut given = names.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(name), None) => Some(name),
        _ => {
            report
                .error(place.clone(), "a certificate is known by exactly one name")
                .given(place.clone())
                .help("`dns`, `uri`, `email`, `subject` or `sha256`");
            None
        }
    }
}

/// A certificate can only be looked at where a listener asks for it.
pub(super) fn warn_of_unasked(config: &Config, report: &mut Report) {
    let asked = config.listeners.iter().any(|one| one.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()));
    for (name, _) in config.authenticators.iter().filter(|(_, one)| one.client_certificate.is_some() && !asked) {
        report
            .warning(Place::root().key("authenticators").key(name), "no listener asks clients for certificates")
            .on_key()
            .given(Place::root().key("listeners"))
            .help("add `client_ca` to the `tls` of a listener");
    }
}
