//! One certificate with its key, read from PEM files and found good.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::service::is_known;
use super::{Fault, File, Read};

/// A certificate that is served.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Its file, as written in the configuration.
    pub file: Box<str>,
    /// The host names it is for, in lower case; `*.example.com` stands for one label.
    pub names: Vec<Box<str>>,
    /// When it becomes valid, in Unix time.
    pub begins: i64,
    /// When it ends being valid, in Unix time.
    pub expires: i64,
    pub(super) key: Arc<CertifiedKey>,
    /// The private key as it was read; nothing of it is ever shown.
    pub(super) secret: Arc<PrivateKeyDer<'static>>,
}

const PEM_HELP: &str = "a PEM file: `-----BEGIN CERTIFICATE-----`, the server's certificate first";
const KEY_HELP: &str = "a PEM file with the key in clear: `openssl pkey -in encrypted.key -out api.key`";

impl Certificate {
    /// Reads and checks a pair, which is the one with number `index` of its listener.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(certificate: &str, private_key: &str, index: usize, read: Read<'_>) -> Result<Self, Fault> {
        let wrong = |message, help| Fault { file: File::Certificate(index), message, help };
        let chain = certificates(certificate, read).map_err(|message| wrong(message, PEM_HELP))?;
        let (secret, key) = private_key_of(private_key, read).map_err(|(message, help)| Fault {
            file: File::PrivateKey(index),
            message,
            help,
        })?;
        let unreadable = || wrong(format!("the certificate in `{certificate}` cannot be read"), PEM_HELP);
        let leaf = chain.first().ok_or_else(unreadable)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| unreadable())?;
        let (names, validity) = (names(&parsed), parsed.validity());
        let (begins, expires) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| Fault {
            file: File::PrivateKey(index),
            message: format!("the key in `{private_key}` does not belong to the certificate in `{certificate}`"),
            help: "the first certificate of the file must be the server's own",
        })?;
        Ok(Self { file: certificate.into(), names, begins, expires, key: Arc::new(key), secret: Arc::new(secret) })
    }
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(file: &str, read: Read<'_>) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file).map_err(|failed| format!("cannot read `{file}`: {failed}"))?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("there is no certificate in `{file}`")),
        Ok(found) => Ok(found),
        Err(_) => Err(format!("`{file}` is no PEM file")),
    }
}

/// Why a key is of no use, and what would be right.
type Refused = (String, &'static str);

/// The key of a PEM file, as it was read and ready to sign.
fn private_key_of(file: &str, read: Read<'_>) -> Result<(PrivateKeyDer<'static>, Arc<dyn SigningKey>), Refused> {
    let bytes = read(file).map_err(|failed| (format!("cannot read `{file}`: {failed}"), KEY_HELP))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if bytes.windows(9).any(|window| window == b"ENCRYPTED") => {
            (format!("the key in `{file}` is encrypted"), KEY_HELP)
        }
        pem::Error::NoItemsFound => (format!("there is no private key in `{file}`"), KEY_HELP),
        _ => (format!("`{file}` is no PEM file"), KEY_HELP),
    })?;
    match any_supported_type(&key) {
        Ok(signing) if is_known(&key) => Ok((key, signing)),
        _ => {
            let message = format!("the key in `{file}` is of a kind that is not supported");
            Err((message, "ECDSA with P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits"))
        }
    }
}

/// The host names that a certificate is for. Its subject is none: no client has looked there for a long time.
fn names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
    let dns = alternatives.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    });
    dns.collect()
}
