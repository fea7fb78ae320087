//! TLS as written: of a listener, and with a service.
//!
//! Paths are those of PEM files and begin at the folder of the configuration. What is in them is the compiler's to say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// TLS of a listener: either `certificate` with `private_key`, or `certificates`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["certificate", "certificates"])))]
pub struct ListenerTls {
    /// PEM file with the certificate and, behind it, those that lead to its authority.
    #[serde(default)]
    pub certificate: Option<String>,
    /// PEM file with the key of the certificate.
    #[serde(default)]
    pub private_key: Option<String>,
    /// Several certificates, chosen by the name that a client asks for; the first also where no other has it.
    #[serde(default)]
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version of TLS that is spoken.
    #[serde(default)]
    pub minimum: TlsVersion,
    /// PEM file with the authorities of client certificates. Absent: clients are not asked for one.
    #[serde(default)]
    pub client_ca: Option<String>,
    /// Whether clients must have a certificate. Default: `required`. Only with `client_ca`.
    #[serde(default)]
    pub client_auth: Option<ClientAuth>,
    /// PEM file with lists of client certificates that were revoked, one of each authority. Only with `client_ca`.
    #[serde(default)]
    pub client_crl: Option<String>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file with the certificate and, behind it, those that lead to its authority.
    pub certificate: String,
    /// PEM file with the key of the certificate.
    pub private_key: String,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    /// 1.2, with the AEAD suites and forward secrecy only.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether clients must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// Who has none ends at the handshake.
    #[default]
    Required,
    /// Who has none comes in and is nobody; who has a wrong one ends at the handshake.
    Optional,
}
