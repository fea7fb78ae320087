//! Certificates and authorities, made for one test each, and files of them.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// An authority with a folder for files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate with its key.
pub struct Pair {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    key: Vec<u8>,
    certificate_pem: String,
    key_pem: String,
    serial: SerialNumber,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub enum Life {
    /// Now and for long.
    Now,
    /// Until yesterday.
    Past,
    /// From tomorrow on.
    Future,
    /// For so many days more.
    Days(i64),
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, format!("Test authority {}", rand()));
        let key = KeyPair::generate().expect("make a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("make an authority");
        Self { issuer, directory: tempfile::tempdir().expect("make a directory") }
    }

    /// A certificate for these host names.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.server_of(names, Life::Now)
    }

    /// The same with another life.
    pub fn server_of(&self, names: &[&str], life: Life) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("host names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, life)
    }

    /// A certificate of a client: its common name, and alternative names.
    pub fn client(&self, common_name: &str, names: &[SanType], life: Life) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, life)
    }

    fn sign(&self, mut params: CertificateParams, life: Life) -> Pair {
        let day = |days: i64| {
            let date = jiff::Zoned::now().date().saturating_add(jiff::Span::new().days(days));
            date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
        };
        (params.not_before, params.not_after) = match life {
            Life::Now => (day(-10), day(1000)),
            Life::Past => (day(-10), day(-1)),
            Life::Future => (day(2), day(1000)),
            Life::Days(days) => (day(-10), day(days)),
        };
        let serial = SerialNumber::from(rand());
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("sign a certificate");
        Pair {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key: key.serialize_der(),
            key_pem: key.serialize_pem(),
            serial,
        }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A file with the authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.written("ca.pem", &self.issuer.pem())
    }

    /// A file that revokes this.
    pub fn revoking(&self, pair: &Pair) -> PathBuf {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: pair.serial.clone(),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("sign a list");
        self.written("crl.pem", &list.pem().expect("a list as PEM"))
    }

    /// Writes a pair into files `NAME.pem` and `NAME.key`, replacing what is there, and gives their paths.
    pub fn place(&self, name: &str, pair: &Pair) -> (PathBuf, PathBuf) {
        let certificate = self.written(&format!("{name}.pem"), &pair.certificate_pem);
        (certificate, self.written(&format!("{name}.key"), &pair.key_pem))
    }

    /// `certificate: …, private_key: …` for a pair that is placed.
    pub fn yaml(&self, name: &str, pair: &Pair) -> String {
        let (certificate, key) = self.place(name, pair);
        format!("certificate: \"{}\", private_key: \"{}\"", certificate.display(), key.display())
    }

    /// Writes any file.
    pub fn written(&self, name: &str, text: &str) -> PathBuf {
        let file = self.directory.path().join(name);
        let fresh = file.with_extension("fresh");
        fs::write(&fresh, text).expect("write a file");
        fs::rename(&fresh, &file).expect("put a file in place");
        file
    }
}

impl Pair {
    /// The key, as rustls takes it.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }
}

/// A serial number that no other certificate of a test has.
fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() >> 1
}
