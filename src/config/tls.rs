//! TLS as written: of a listener, and with a service.
//!
//! Paths are those of PEM files and begin at the folder of the configuration. What is in them is the compiler's to say.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

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

/// Where a listener sends clients that should come over TLS: `true`, which is port 443, or a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectHttps {
    /// The port for clients, which need not be that of a listener.
    pub port: NonZeroU16,
}

struct RedirectVisitor;

impl Visitor<'_> for RedirectVisitor {
    type Value = RedirectHttps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true` or a port from 1 to 65535")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<RedirectHttps, E> {
        match NonZeroU16::new(443) {
            Some(port) if on => Ok(RedirectHttps { port }),
            _ => Err(E::invalid_value(Unexpected::Bool(on), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<RedirectHttps, E> {
        let valid = u16::try_from(port).ok().and_then(NonZeroU16::new);
        valid.map(|port| RedirectHttps { port }).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(port), &self))
    }
}

impl<'de> Deserialize<'de> for RedirectHttps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RedirectVisitor)
    }
}

impl Serialize for RedirectHttps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.port.get())
    }
}

impl JsonSchema for RedirectHttps {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RedirectHttps".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": true }, { "type": "integer", "minimum": 1, "maximum": 65535 }] })
    }
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

/// TLS with a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceTls {
    /// PEM file with the authorities of the service's certificate. Default: those that the machine trusts.
    pub ca: Option<String>,
    /// PEM file with the gateway's own certificate and, behind it, those that lead to its authority.
    pub certificate: Option<String>,
    /// PEM file with the key of that certificate.
    pub private_key: Option<String>,
    /// The name that the service's certificate must be for. Default: the host of its address.
    pub server_name: Option<String>,
    /// Whether the service's certificate is verified. Without that, anybody can play the service.
    pub verify: bool,
}

impl Default for ServiceTls {
    fn default() -> Self {
        Self { ca: None, certificate: None, private_key: None, server_name: None, verify: true }
    }
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
