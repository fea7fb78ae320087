//! TLS with services.

use std::io;

use rustls::pki_types::{DnsName, ServerName};

use crate::config::{self, Place, Report};
use crate::gateway::tls::{Fault, File, Files, Read, ServiceTerms, ServiceTls, Verification};

use super::services::Scheme;

/// What is wrong is in the report.
#[derive(Debug)]
pub(super) struct Refused;

/// How TLS is spoken with a service at these hosts; `None` where it is not.
pub(super) fn compile<'a>(
    service: &config::Service,
    scheme: Scheme,
    hosts: impl Iterator<Item = &'a str>,
    place: &Place,
    read: Option<Read<'_>>,
    report: &mut Report,
) -> Result<Option<ServiceTls>, Refused> {
    let within = place.clone().key("tls");
    if scheme == Scheme::Http {
        let Some(_) = &service.tls else { return Ok(None) };
        let problem = report.error(within, "the `url` of this service is not `https:`");
        problem.on_key().given_keys(place, &["url"]).help("write `https://`, or leave `tls` out");
        return Err(Refused);
    }
    let usual = config::ServiceTls::default();
    let written = service.tls.as_ref().unwrap_or(&usual);
    check_names(written.server_name.as_deref(), hosts, place, report)?;
    let client = client(written, &within, report)?;
    if !written.verify {
        report
            .warning(within.clone().key("verify"), "the service's certificate is not verified: anybody can play it")
            .by_itself()
            .help("name its authority with `ca` instead");
    }
    let terms = ServiceTerms {
        authorities: written.ca.as_deref().map(Into::into),
        client,
        server_name: written.server_name.as_deref().map(Into::into),
        verification: if written.verify { Verification::Full } else { Verification::Off },
    };
    let files_are_asked = terms.authorities.is_some() || terms.client.is_some();
    let read = match read {
        Some(read) => read,
        None if files_are_asked => return Err(Refused),
        None => &nothing,
    };
    loaded(terms, place, read, report).map(Some)
}

/// How TLS is spoken where nothing can be said of it.
pub(super) fn usual(
    scheme: Scheme,
    host: &str,
    place: &Place,
    report: &mut Report,
) -> Result<Option<ServiceTls>, Refused> {
    if scheme == Scheme::Http {
        return Ok(None);
    }
    check_names(None, std::iter::once(host), place, report)?;
    let terms = ServiceTerms { authorities: None, client: None, server_name: None, verification: Verification::Full };
    loaded(terms, place, &nothing, report).map(Some)
}

/// Reads the files of who names none.
fn nothing(_: &str) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::NotFound.into())
}

fn loaded(terms: ServiceTerms, place: &Place, read: Read<'_>, report: &mut Report) -> Result<ServiceTls, Refused> {
    let tls = ServiceTls::new(terms, read).map_err(|Fault { file, message, help }| {
        let key = match file {
            File::Certificate(_) => "certificate",
            File::PrivateKey(_) => "private_key",
            File::Authorities | File::Revoked => "ca",
        };
        report.error(place.clone().key("tls").key(key), message).by_itself().help(help);
        Refused
    })?;
    if !tls.trusts_anybody() {
        report
            .warning(place.clone(), "this machine trusts no authority, so no certificate of a service is good")
            .help("install `ca-certificates`, or name the authority with `ca`");
    }
    Ok(tls)
}

/// A certificate is checked for a name, so there must be one that a certificate can have.
fn check_names<'a>(
    server_name: Option<&str>,
    mut hosts: impl Iterator<Item = &'a str>,
    place: &Place,
    report: &mut Report,
) -> Result<(), Refused> {
    if let Some(name) = server_name {
        // pingora reads `_` at the beginning as `-`, and would check another name.
        if name.contains('_') || DnsName::try_from(name).is_err() {
            let place = place.clone().key("tls").key("server_name");
            report.error(place, format!("`{name}` is no host name")).by_itself().help("for example `users.internal`");
            return Err(Refused);
        }
        return Ok(());
    }
    let nameless = |host: &&str| host.contains('_') || ServerName::try_from(*host).is_err();
    let Some(host) = hosts.find(nameless) else { return Ok(()) };
    report
        .error(place.clone(), format!("no certificate can be for `{host}`"))
        .given_keys(place, &["url", "targets", "tls"])
        .help("say with `tls: { server_name: … }` what it is for");
    Err(Refused)
}

fn client(written: &config::ServiceTls, place: &Place, report: &mut Report) -> Result<Option<Files>, Refused> {
    let missing = match (&written.certificate, &written.private_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => {
            return Ok(Some(Files { certificate: certificate.as_str().into(), private_key: key.as_str().into() }));
        }
        (Some(_), None) => "the certificate needs its key",
        (None, Some(_)) => "the key needs its certificate",
    };
    let problem = report.error(place.clone(), missing).on_key();
    problem
        .given_keys(place, &["certificate", "private_key"])
        .help("`certificate: client.pem` and `private_key: client.key`");
    Err(Refused)
}
