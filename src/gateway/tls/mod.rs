//! TLS of listeners: which certificate a client gets, and whose certificate is taken of it. And TLS with services.
//!
//! A [`ListenerTls`] is made from its [`Terms`] and the files that they name. Files change without a new generation:
//! [`ListenerTls::refresh`] reads them again, and what is wrong with them leaves everything as it was. A handshake takes
//! a handle of what is current and keeps it to its end, so none fails because of a change.
//!
//! Invariant: sessions are resumed only where clients have no certificates. Who resumes is not verified again, so a
//! certificate that was revoked or an authority that was removed would be good for as long as a ticket.

mod certificate;
mod identity;
mod listener;
mod names;
mod service;

use std::io;

pub use certificate::Certificate;
pub use identity::{CertificateName, ClientCertificate, Owner, Owners};
pub use listener::{ClientCertificates, Entrance, Files, ListenerTls, Loaded, Refreshed, Terms, Versions};
pub use service::{ServiceTerms, ServiceTls, Verification, cause};

/// The end of a certificate's life in which everybody is reminded of it, in seconds.
pub const EXPIRES_SOON: i64 = 14 * 24 * 3600;

/// Reads a file that a configuration names.
pub type Read<'a> = &'a dyn Fn(&str) -> io::Result<Vec<u8>>;

/// Which file of a listener or a service is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The certificate of the pair with this number.
    Certificate(usize),
    /// The key of the pair with this number.
    PrivateKey(usize),
    /// The authorities of the other side.
    Authorities,
    /// The client certificates that were revoked.
    Revoked,
}

/// Why a file is of no use. Nothing of a key is in the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: File,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub help: &'static str,
}
