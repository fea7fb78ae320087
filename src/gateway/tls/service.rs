//! TLS with a service: whom it is trusted by, and who the gateway is to it.
//!
//! pingora makes the handshake; [`ServiceTls::prepare`] tells it with what. It is told on each request, so that changed
//! files count for the next connection. Connections are kept apart by all that they were made with.
//!
//! Invariant: a peer that was prepared has a name that its certificate is checked for, unless verification is off
//! because the configuration says so. (pingora verifies nothing of a peer without a name.)

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use once_cell::sync::OnceCell;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Certificate, certificates};
use super::{Fault, File, Files, Read, Refreshed};

/// What was asked for, apart from what is in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTerms {
    /// The authorities' file; `None`: whom the machine trusts.
    pub authorities: Option<Box<str>>,
    /// The gateway's own certificate.
    pub client: Option<Files>,
    /// The name that the service's certificate is for; `None`: its host.
    pub server_name: Option<Box<str>>,
    /// Whether the certificate is verified at all.
    pub verification: Verification,
}

/// Whether a service's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Authority, life and name.
    Full,
    /// Nothing.
    Off,
}

/// TLS with one service.
pub struct ServiceTls {
    /// What was asked for.
    pub terms: ServiceTerms,
    current: ArcSwap<Loaded>,
}

/// What files held when they were read.
struct Loaded {
    authorities: Arc<[WrappedX509]>,
    client: Option<Arc<CertKey>>,
    /// Of all that connections are made with.
    group: u64,
}

impl fmt::Debug for ServiceTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceTls").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl ServiceTls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(terms: ServiceTerms, read: Read<'_>) -> Result<Self, Fault> {
        let current = ArcSwap::from_pointee(load(&terms, read)?);
        Ok(Self { terms, current })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// What is wrong with one of them; connections are made as before.
    pub fn refresh(&self, read: Read<'_>) -> Result<Refreshed, Fault> {
        let fresh = load(&self.terms, read)?;
        if fresh.group == self.current.load().group {
            return Ok(Refreshed::Same);
        }
        self.current.store(Arc::new(fresh));
        Ok(Refreshed::Changed)
    }

    /// Every file that is named.
    pub fn files(&self) -> Vec<&str> {
        let client = self.terms.client.iter().flat_map(|pair| [&*pair.certificate, &*pair.private_key]);
        self.terms.authorities.as_deref().into_iter().chain(client).collect()
    }

    /// The name that the certificate of this host is checked for.
    pub fn name_of(&self, host: &str) -> String {
        self.terms.server_name.as_deref().unwrap_or(host).to_owned()
    }

    /// Whether somebody is trusted.
    pub fn trusts_anybody(&self) -> bool {
        !self.current.load().authorities.is_empty() || self.terms.verification == Verification::Off
    }

    /// Tells pingora what to connect with.
    pub fn prepare(&self, peer: &mut HttpPeer) {
        let current = self.current.load();
        // An empty list would be an error of its own; without any, nobody is trusted.
        peer.options.ca = (!current.authorities.is_empty()).then(|| Arc::clone(&current.authorities));
        peer.client_cert_key.clone_from(&current.client);
        peer.group_key = current.group;
        let verified = self.terms.verification == Verification::Full;
        peer.options.verify_cert = verified;
        peer.options.verify_hostname = verified;
    }
}

fn load(terms: &ServiceTerms, read: Read<'_>) -> Result<Loaded, Fault> {
    let authorities = match &terms.authorities {
        Some(file) => {
            let help = "a PEM file with the certificates of the authorities";
            let wrong = |message| Fault { file: File::Authorities, message, help };
            let found = certificates(file, read).map_err(wrong)?;
            if found.iter().any(|one| !is_authority(one)) {
                return Err(wrong(format!("a certificate in `{file}` cannot be read")));
            }
            found
        }
        None => machine().to_vec(),
    };
    let client = match &terms.client {
        Some(Files { certificate, private_key }) => Some(Certificate::load(certificate, private_key, 0, read)?),
        None => None,
    };
    let pair = client.as_ref().map(|of| (of.key.cert.as_slice(), of.secret.secret_der()));
    // The same in every generation of a process: connections live on when nothing has changed.
    static KEYS: OnceCell<RandomState> = OnceCell::new();
    let group = KEYS.get_or_init(RandomState::new).hash_one((&authorities, pair, &terms.server_name));
    let wrapped = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
    let client = client.map(|of| {
        let chain = of.key.cert.iter().map(|certificate| certificate.to_vec()).collect();
        Arc::new(CertKey::new(chain, of.secret.secret_der().to_vec()))
    });
    Ok(Loaded { authorities: authorities.iter().map(wrapped).collect(), client, group })
}

/// Whom this machine trusts, read once. What is not understood is left out: pingora would panic over it.
fn machine() -> &'static [CertificateDer<'static>] {
    static MACHINE: OnceCell<Vec<CertificateDer<'static>>> = OnceCell::new();
    MACHINE.get_or_init(|| {
        let mut found = rustls_native_certs::load_native_certs().certs;
        found.retain(is_authority);
        found
    })
}

fn is_authority(der: &CertificateDer<'_>) -> bool {
    let known = rustls::RootCertStore::empty().add(der.clone().into_owned()).is_ok();
    known && X509Certificate::from_der(der).is_ok()
}

/// Whether pingora will know the kind of a key by its bytes, which is all that it is given.
pub(super) fn is_known(key: &PrivateKeyDer<'_>) -> bool {
    PrivateKeyDer::try_from(key.secret_der()).is_ok()
}

/// Why no connection over TLS came about, as the access line says it. `error` is pingora's text, in which only rustls'
/// words tell one cause from another; `None`: none of those.
pub fn cause(error: &str) -> Option<&'static str> {
    const CAUSES: [(&str, &str); 11] = [
        ("not valid for name", "its certificate is for another name"),
        ("NotValidForName", "its certificate is for another name"),
        ("UnknownIssuer", "its certificate is of an unknown authority"),
        // One that has the name of a known authority.
        ("BadSignature", "its certificate is of an unknown authority"),
        ("certificate expired", "its certificate has expired"),
        ("Expired", "its certificate has expired"),
        ("not valid yet", "its certificate is not valid yet"),
        ("NotValidYet", "its certificate is not valid yet"),
        ("invalid peer certificate", "its certificate is not valid"),
        ("received fatal alert", "it refuses the gateway's certificate, or TLS as the gateway speaks it"),
        ("InvalidContentType", "it does not speak TLS"),
    ];
    CAUSES.iter().find(|(word, _)| error.contains(word)).map(|(_, cause)| *cause)
}
