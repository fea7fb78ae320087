//! Who a client is by its certificate.
//!
//! The handshake has verified the certificate; here its names are read, once per connection, and found again among those
//! that consumers have.

use std::collections::HashMap;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::super::Consumer;

/// A name by which a certificate is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// SHA-256 of the whole certificate.
    Sha256([u8; 32]),
    /// Common name of the subject.
    Subject(Box<str>),
    /// A host name among the alternative names, in lower case.
    Dns(Box<str>),
    /// A URI among them, such as a SPIFFE ID.
    Uri(Box<str>),
    /// An address of electronic mail among them.
    Email(Box<str>),
}

/// The certificate of a client.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Its names, the fingerprint first.
    names: Vec<CertificateName>,
    /// When it ends being valid, in Unix time: a connection may live longer.
    pub expires: i64,
}

/// Whose a certificate is.
#[derive(Debug)]
pub enum Owner<'a> {
    /// Nobody's.
    Nobody,
    /// This consumer's.
    One(&'a Arc<Consumer>),
    /// Its names are those of several.
    Several,
}

impl ClientCertificate {
    /// Reads a certificate; `None` when it cannot be read.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, der).as_ref());
        let mut names = vec![CertificateName::Sha256(fingerprint)];
        let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(|name| CertificateName::Subject(name.into())));
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let alternatives = alternatives.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
        names.extend(alternatives.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(CertificateName::Dns(name.to_ascii_lowercase().into())),
            GeneralName::URI(name) => Some(CertificateName::Uri((*name).into())),
            GeneralName::RFC822Name(name) => Some(CertificateName::Email((*name).into())),
            _ => None,
        }));
        Some(Self { names, expires: parsed.validity().not_after.timestamp() })
    }
}

/// The certificates of all consumers.
#[derive(Debug, Default)]
pub struct Owners {
    by_name: HashMap<CertificateName, Arc<Consumer>, ahash::RandomState>,
}

impl Owners {
    /// Adds a name.
    ///
    /// # Errors
    /// The present owner when the name is known already; nothing is changed then.
    pub fn add(&mut self, name: CertificateName, owner: &Arc<Consumer>) -> Result<(), Arc<Consumer>> {
        if let Some(present) = self.by_name.get(&name) {
            return Err(Arc::clone(present));
        }
        self.by_name.insert(name, Arc::clone(owner));
        Ok(())
    }

    /// Whose certificate this is. A fingerprint decides alone.
    pub fn of(&self, certificate: &ClientCertificate) -> Owner<'_> {
        let mut found: Option<&Arc<Consumer>> = None;
        for name in &certificate.names {
            let Some(owner) = self.by_name.get(name) else { continue };
            if matches!(name, CertificateName::Sha256(_)) {
                return Owner::One(owner);
            }
            if found.is_some_and(|found| found.name != owner.name) {
                return Owner::Several;
            }
            found = Some(owner);
        }
        found.map_or(Owner::Nobody, Owner::One)
    }
}
