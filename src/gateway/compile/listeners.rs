//! Listeners: how clients come in, and the certificates that they are shown.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{self, Config, Place, Report};
use crate::gateway::tls::{
    Certificate, ClientCertificates, EXPIRES_SOON, Entrance, Fault, File, Files, ListenerTls, Terms, Versions,
};

use super::Surroundings;

/// One day, in seconds.
const DAY: i64 = 24 * 3600;

/// How clients come in through each listener, by its address as written. One that is wrong is in the report and not
/// here.
pub(super) fn compile(
    config: &Config,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<(SocketAddr, Entrance)> {
    let mut entrances = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let place = Place::root().key("listeners").index(index).key("tls");
        let entrance = match (&listener.tls, listener.redirect_https) {
            (None, None) => Some(Entrance::Plain { http2: listener.http2.unwrap_or_default() }),
            (None, Some(to)) => redirect(config, to, index, report),
            (Some(_), Some(_)) => {
                let listener = Place::root().key("listeners").index(index);
                report
                    .error(listener.clone().key("redirect_https"), "who comes over TLS need not be sent there")
                    .on_key()
                    .given_keys(&listener, &["tls"])
                    .help("keep one of `tls`, `redirect_https`");
                None
            }
            (Some(tls), None) => {
                let http2 = listener.http2.unwrap_or(true);
                let tls = tls_of(tls, http2, listener.address, &place, surroundings, report);
                tls.map(|tls| Entrance::Tls(Arc::new(tls)))
            }
        };
        if listener.redirect_https.is_some() && listener.http2.is_some() {
            let listener = Place::root().key("listeners").index(index);
            report
                .error(listener.clone().key("http2"), "nothing is served here but the way to TLS")
                .on_key()
                .given_keys(&listener, &["redirect_https"]);
        }
        entrances.extend(entrance.map(|entrance| (listener.address, entrance)));
    }
    entrances
}

fn redirect(config: &Config, to: config::RedirectHttps, index: usize, report: &mut Report) -> Option<Entrance> {
    if config.listeners.iter().any(|listener| listener.tls.is_some()) {
        return Some(Entrance::Redirect(to.port));
    }
    let listeners = Place::root().key("listeners");
    report
        .error(listeners.clone().index(index).key("redirect_https"), "no listener speaks TLS")
        .on_key()
        .given(listeners)
        .help("clients are sent to hosts for which the gateway has a certificate; elsewhere, redirect there");
    None
}

fn tls_of(
    written: &config::ListenerTls,
    http2: bool,
    address: SocketAddr,
    place: &Place,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<ListenerTls> {
    let terms = terms(written, http2, place, report)?;
    let read = surroundings.read?;
    let before = surroundings.running.iter().find_map(|(other, entrance)| match entrance {
        Entrance::Tls(tls) if *other == address => Some(&**tls),
        Entrance::Tls(_) | Entrance::Plain { .. } | Entrance::Redirect(_) => None,
    });
    match ListenerTls::new(address, terms, read, before) {
        Ok(tls) => {
            let loaded = tls.current();
            for (index, certificate) in loaded.certificates.iter().enumerate() {
                let place = place_of(written, File::Certificate(index), place);
                warn_of_life(certificate, surroundings.now, &place, report);
            }
            Some(tls)
        }
        Err(faults) => {
            for Fault { file, message, help } in faults {
                report.error(place_of(written, file, place), message).by_itself().help(help);
            }
            None
        }
    }
}

/// What was asked for, or nothing where that does not fit together.
fn terms(written: &config::ListenerTls, http2: bool, place: &Place, report: &mut Report) -> Option<Terms> {
    let pairs = pairs(written, place, report);
    let clients = clients(written, place, report);
    let versions = match written.minimum {
        config::TlsVersion::Tls12 => Versions::From12,
        config::TlsVersion::Tls13 => Versions::From13,
    };
    Some(Terms { pairs: pairs?, versions, http2, clients })
}

fn pairs(written: &config::ListenerTls, place: &Place, report: &mut Report) -> Option<Vec<Files>> {
    const FORMS: &str = "`certificate: api.pem` and `private_key: api.key`, or a list of such pairs in `certificates`";
    let of = |certificate: &str, private_key: &str| Files {
        certificate: certificate.into(),
        private_key: private_key.into(),
    };
    let keys = ["certificate", "private_key", "certificates"];
    let message = match (&written.certificate, &written.private_key, written.certificates.is_empty()) {
        (Some(certificate), Some(key), true) => return Some(vec![of(certificate, key)]),
        (None, None, false) => {
            let listed = written.certificates.iter();
            return Some(listed.map(|files| of(&files.certificate, &files.private_key)).collect());
        }
        (None, None, true) => "TLS needs a certificate",
        (Some(_), None, true) => "the certificate needs its key",
        (None, Some(_), true) => "the key needs its certificate",
        (_, _, false) => "a listener has one certificate or a list of them, not both",
    };
    report.error(place.clone(), message).on_key().given_keys(place, &keys).help(FORMS);
    None
}

fn clients(written: &config::ListenerTls, place: &Place, report: &mut Report) -> Option<ClientCertificates> {
    let Some(authorities) = &written.client_ca else {
        let idle = [("client_auth", written.client_auth.is_some()), ("client_crl", written.client_crl.is_some())];
        for (key, _) in idle.into_iter().filter(|(_, written)| *written) {
            let problem = report.error(place.clone().key(key), format!("`{key}` means nothing without `client_ca`"));
            problem.on_key().given_keys(place, &["client_ca"]).help("add `client_ca: ca.pem`");
        }
        return None;
    };
    Some(ClientCertificates {
        authorities: authorities.as_str().into(),
        revoked: written.client_crl.as_deref().map(Into::into),
        optional: written.client_auth == Some(config::ClientAuth::Optional),
    })
}

/// Where a file is named.
fn place_of(written: &config::ListenerTls, file: File, tls: &Place) -> Place {
    let of_pair = |index| match written.certificates.is_empty() {
        true => tls.clone(),
        false => tls.clone().key("certificates").index(index),
    };
    match file {
        File::Certificate(index) => of_pair(index).key("certificate"),
        File::PrivateKey(index) => of_pair(index).key("private_key"),
        File::Authorities => tls.clone().key("client_ca"),
        File::Revoked => tls.clone().key("client_crl"),
    }
}

/// An expired certificate is a warning only: it must not keep the rest of the gateway from starting or reloading.
fn warn_of_life(certificate: &Certificate, now: i64, place: &Place, report: &mut Report) {
    let file = &certificate.file;
    let left = certificate.expires - now;
    let message = if left < 0 {
        format!("the certificate in `{file}` has expired: clients will refuse it")
    } else if certificate.begins > now {
        format!("the certificate in `{file}` is not valid yet: clients will refuse it")
    } else if left < EXPIRES_SOON {
        format!("the certificate in `{file}` expires in {} days", left / DAY)
    } else {
        String::new()
    };
    if !message.is_empty() {
        let problem = report.warning(place.clone(), message).by_itself();
        problem.help("a new pair in the same files is served within two seconds");
    }
    if certificate.names.is_empty() {
        let message = format!("the certificate in `{file}` is for no host name: clients will refuse it");
        report.warning(place.clone(), message).by_itself().help("it needs a subject alternative name");
    }
}
