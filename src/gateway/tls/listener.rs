//! What a listener serves TLS with.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ::ring::digest;
use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::certificate::{Certificate, certificates};
use super::names::Names;
use super::{Fault, File, Read};

/// The protocols that are spoken over TLS, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How clients come in through a listener.
#[derive(Debug, Clone)]
pub enum Entrance {
    /// Plain HTTP.
    Plain {
        /// Whether clients may begin with HTTP/2.
        http2: bool,
    },
    /// HTTP over TLS.
    Tls(Arc<ListenerTls>),
    /// Plain HTTP, for those who should have come over TLS: to this port.
    Redirect(NonZeroU16),
}

impl Entrance {
    /// Its TLS, where it has any.
    pub fn tls(&self) -> Option<&ListenerTls> {
        match self {
            Self::Tls(tls) => Some(tls),
            Self::Plain { .. } | Self::Redirect(_) => None,
        }
    }
}

/// Certificate and key, as written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate's file.
    pub certificate: Box<str>,
    /// The key's file.
    pub private_key: Box<str>,
}

/// What was asked for, apart from what is in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The pairs of files; never empty.
    pub pairs: Vec<Files>,
    /// The versions of TLS.
    pub versions: Versions,
    /// Whether HTTP/2 is spoken to those who can.
    pub http2: bool,
    /// Whether clients are asked for certificates.
    pub clients: Option<ClientCertificates>,
}

/// The versions of TLS that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    From12,
    /// 1.3.
    From13,
}

/// What is taken of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The authorities' file.
    pub authorities: Box<str>,
    /// The file of what was revoked.
    pub revoked: Option<Box<str>>,
    /// Whether one may come without.
    pub optional: bool,
}

impl Terms {
    /// Every file that is named, without those named before.
    pub fn files(&self) -> Vec<&str> {
        let pairs = self.pairs.iter().flat_map(|pair| [&*pair.certificate, &*pair.private_key]);
        let clients = self.clients.iter().flat_map(|of| [Some(&*of.authorities), of.revoked.as_deref()]);
        let mut files: Vec<&str> = pairs.chain(clients.flatten()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

/// What files held when they were read.
pub struct Loaded {
    /// What handshakes are made with.
    pub config: Arc<ServerConfig>,
    /// The certificates, in the order of the configuration.
    pub certificates: Arc<[Certificate]>,
    /// Whether clients are asked for theirs.
    pub asks_clients: bool,
    names: Arc<Names>,
    /// SHA-256 of all files.
    digest: [u8; 32],
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Whether one of the certificates is for this host.
    pub fn serves(&self, host: &str) -> bool {
        self.names.find(host).is_some()
    }

    /// Whether these two names are served with the same certificate. No name gets the first one.
    pub fn same_certificate(&self, one: Option<&str>, other: Option<&str>) -> bool {
        let first = |name: Option<&str>| {
            name.and_then(|name| self.names.find(name)).and_then(<[_]>::first).copied().unwrap_or_default()
        };
        first(one) == first(other)
    }
}

/// What became of files that were read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// They hold what they held before.
    Same,
    /// They hold something else, which is served now.
    Changed,
}

/// TLS of one listener.
pub struct ListenerTls {
    /// The address as written, which names the listener in metrics.
    pub address: SocketAddr,
    /// What was asked for.
    pub terms: Terms,
    current: ArcSwap<Loaded>,
    /// Encrypts tickets with keys that change every few hours; each listener has its own, so that a ticket is good
    /// nowhere else.
    tickets: Option<Arc<dyn ProducesTickets>>,
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerTls")
            .field("address", &self.address)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl ListenerTls {
    /// Reads the files. Tickets of `before`, which listens on the same address, stay good.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn new(address: SocketAddr, terms: Terms, read: Read<'_>, before: Option<&Self>) -> Result<Self, Vec<Fault>> {
        let tickets = match (&terms.clients, before.and_then(|before| before.tickets.clone())) {
            (Some(_), _) => None,
            (None, Some(tickets)) => Some(tickets),
            // Without randomness there is no TLS either; without tickets there is.
            (None, None) => ring::Ticketer::new().ok(),
        };
        let current = ArcSwap::from_pointee(load(&terms, tickets.as_ref(), read)?);
        Ok(Self { address, terms, current, tickets })
    }

    /// What is served now.
    pub fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Reads the files again. A certificate that has expired does not take the place of one that has not.
    ///
    /// # Errors
    /// Everything that is wrong with them; what was served goes on.
    pub fn refresh(&self, read: Read<'_>, now: i64) -> Result<Refreshed, Vec<Fault>> {
        let fresh = load(&self.terms, self.tickets.as_ref(), read)?;
        let current = self.current();
        if fresh.digest == current.digest {
            return Ok(Refreshed::Same);
        }
        let pairs = fresh.certificates.iter().zip(current.certificates.iter()).enumerate();
        let expired = pairs.filter(|(_, (new, old))| new.expires < now && now <= old.expires);
        let faults: Vec<Fault> = expired
            .map(|(index, (new, _))| Fault {
                file: File::Certificate(index),
                message: format!("the certificate in `{}` has expired", new.file),
                help: "put one there that is valid",
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        self.current.store(Arc::new(fresh));
        Ok(Refreshed::Changed)
    }
}

fn load(terms: &Terms, tickets: Option<&Arc<dyn ProducesTickets>>, read: Read<'_>) -> Result<Loaded, Vec<Fault>> {
    let digest = RefCell::new(digest::Context::new(&digest::SHA256));
    let read: Read<'_> = &|name| read(name).inspect(|bytes| digest.borrow_mut().update(bytes));
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for (index, Files { certificate, private_key }) in terms.pairs.iter().enumerate() {
        match Certificate::load(certificate, private_key, index, read) {
            Ok(certificate) => found.push(certificate),
            Err(fault) => faults.push(fault),
        }
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = match terms.clients.as_ref().map(|clients| verifier(clients, &provider, read)).transpose() {
        Ok(verifier) => verifier,
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    let versions: &[_] = match terms.versions {
        Versions::From12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        Versions::From13 => &[&rustls::version::TLS13],
    };
    let builder = match ServerConfig::builder_with_provider(provider).with_protocol_versions(versions) {
        Ok(builder) if faults.is_empty() => builder,
        // The provider has suites of both versions, so the faults are all there is.
        _ => return Err(faults),
    };
    let certificates: Arc<[Certificate]> = found.into();
    let names = Arc::new(Names::of(certificates.iter().map(|certificate| &certificate.names[..])));
    let resolver = Resolver { certificates: Arc::clone(&certificates), names: Arc::clone(&names) };
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    let protocols = if terms.http2 { &PROTOCOLS[..] } else { &PROTOCOLS[1..] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tickets {
        Some(tickets) => config.ticketer = Arc::clone(tickets),
        None => config.send_tls13_tickets = 0,
    }
    // Of what a client offers, the strongest suite: its own order is only a preference.
    config.ignore_client_order = true;
    let mut of_files = [0; 32];
    of_files.copy_from_slice(digest.into_inner().finish().as_ref());
    let asks_clients = terms.clients.is_some();
    Ok(Loaded { config: Arc::new(config), certificates, asks_clients, names, digest: of_files })
}

fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<rustls::crypto::CryptoProvider>,
    read: Read<'_>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Fault> {
    const HELP: &str = "a PEM file with the certificates of the authorities";
    const LIST_HELP: &str = "a PEM file: `-----BEGIN X509 CRL-----`, one of each authority in `client_ca`";
    let wrong = |message| Fault { file: File::Authorities, message, help: HELP };
    let file = &*clients.authorities;
    let mut roots = RootCertStore::empty();
    for authority in certificates(file, read).map_err(wrong)? {
        roots.add(authority).map_err(|_| wrong(format!("a certificate in `{file}` cannot be read")))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let in_list = |message| Fault { file: File::Revoked, message, help: LIST_HELP };
    if let Some(file) = clients.revoked.as_deref() {
        let bytes = read(file).map_err(|failed| in_list(format!("cannot read `{file}`: {failed}")))?;
        let lists: Vec<CertificateRevocationListDer<'static>> = CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|_| in_list(format!("`{file}` is no PEM file")))?;
        if lists.is_empty() {
            return Err(in_list(format!("there is no revocation list in `{file}`")));
        }
        builder = builder.with_crls(lists);
    }
    if clients.optional {
        builder = builder.allow_unauthenticated();
    }
    let list = clients.revoked.as_deref().unwrap_or(file);
    builder.build().map_err(|_| in_list(format!("a revocation list in `{list}` cannot be read")))
}

/// Chooses a certificate by the name that a client asks for and the signatures that it can verify.
#[derive(Debug)]
struct Resolver {
    certificates: Arc<[Certificate]>,
    names: Arc<Names>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let numbers = hello.server_name().and_then(|name| self.names.find(name)).unwrap_or(&[0]);
        let fitting = |number: &&usize| {
            let certificate = self.certificates.get(**number);
            certificate.is_some_and(|found| found.key.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let chosen = numbers.iter().find(fitting).or(numbers.first())?;
        self.certificates.get(*chosen).map(|certificate| Arc::clone(&certificate.key))
    }
}
