//! What signatures are checked with: a secret, a public key, or a published set of keys (JWKS, RFC 7517).
//!
//! Invariant: a [`Key`] has at least one algorithm, all of its own type, so that a public key is never taken for the
//! secret of an HMAC. Symmetric keys come from the configuration alone; those in a set are left out, like every key
//! that cannot verify.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use smallvec::SmallVec;
use thiserror::Error;

/// Most keys of a set.
pub const MAX_KEYS: usize = 100;

/// Shortest secret, in bytes: the size of SHA-256 (RFC 7518 section 3.2).
pub const MIN_SECRET: usize = 32;

/// Shortest and longest RSA modulus, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Keys among which the one of a token is found.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
pub(super) struct Key {
    id: Option<Box<str>>,
    algorithms: SmallVec<[Algorithm; 6]>,
    pub(super) key: DecodingKey,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// A secret that can be guessed.
    #[error("the secret is shorter than {MIN_SECRET} bytes")]
    ShortSecret,
    /// A key that should not be here.
    #[error("this is a private key: the gateway needs the public one")]
    Private,
    /// A certificate around a key.
    #[error("this is a certificate: the gateway needs its public key")]
    Certificate,
    /// No key of a known type.
    #[error("this is no public key in PEM of type RSA, P-256, P-384 or Ed25519")]
    Pem,
    /// A modulus that is not safe, or that cannot be computed with.
    #[error("an RSA key has 2048 to 8192 bits")]
    RsaSize,
    /// Not the JSON of a set.
    #[error("this is no key set: an object with a list of `keys`")]
    Set,
    /// More keys than anybody publishes.
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    /// A set with nothing to verify with.
    #[error("the key set has no public key that verifies signatures")]
    Empty,
}

impl KeySet {
    /// A secret that signer and gateway share.
    ///
    /// # Errors
    /// When it is too short.
    pub fn of_secret(secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.len() < MIN_SECRET {
            return Err(KeyFault::ShortSecret);
        }
        // A secret is at least as long as the digest.
        let digests = [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)];
        let algorithms = digests.into_iter().filter(|(_, bytes)| secret.len() >= *bytes).map(|(name, _)| name);
        Ok(Self::of(Key { id: None, algorithms: algorithms.collect(), key: DecodingKey::from_secret(secret) }))
    }

    /// A public key in PEM.
    ///
    /// # Errors
    /// When it is none that can be used.
    pub fn of_pem(text: &str) -> Result<Self, KeyFault> {
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyFault::Private);
        }
        if text.contains("CERTIFICATE-----") {
            return Err(KeyFault::Certificate);
        }
        let pem = text.as_bytes();
        let found = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem));
        let key = found.map_err(|_| KeyFault::Pem)?;
        if key.family() != AlgorithmFamily::Rsa {
            let algorithms = algorithms_of(&key).ok_or(KeyFault::Pem)?;
            return Ok(Self::of(Key { id: None, algorithms, key }));
        }
        let der = key.try_get_as_bytes().map_err(|_| KeyFault::Pem)?;
        let (modulus, exponent) = components(der).ok_or(KeyFault::Pem)?;
        rsa(modulus, exponent).map(|key| Self::of(Key { id: None, algorithms: rsa_algorithms(), key }))
    }

    /// A published set. What it has of keys for other purposes is left out.
    ///
    /// # Errors
    /// When it is no set, or none with a key that can be used.
    pub fn of_jwks(set: &Value) -> Result<Self, KeyFault> {
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeyFault::Set)?;
        if listed.len() > MAX_KEYS {
            return Err(KeyFault::TooMany);
        }
        let keys: Vec<Key> = listed.iter().filter_map(Key::of_jwk).collect();
        if keys.is_empty() { Err(KeyFault::Empty) } else { Ok(Self { keys }) }
    }

    fn of(key: Key) -> Self {
        Self { keys: vec![key] }
    }

    /// Whether some key can do this.
    pub fn can(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.algorithms.contains(&algorithm))
    }

    /// Whether the id is that of a key; a token without one may mean any.
    pub(super) fn knows(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that a token may be signed with: those of its key id, or, when either side names none, all that know
    /// the algorithm.
    pub(super) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let named = id.is_some_and(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)));
        let fits = move |key: &&Key| match (&key.id, id) {
            (Some(own), Some(id)) => **own == *id,
            (None, Some(_)) => !named,
            (_, None) => true,
        };
        self.keys.iter().filter(fits).filter(move |key| key.algorithms.contains(&algorithm))
    }
}

impl Key {
    /// `None` for a key of another purpose or of an unknown type.
    fn of_jwk(written: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(written.clone()).ok()?;
        let common = &jwk.common;
        let verifies = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
            && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !verifies {
            return None;
        }
        let (key, mut algorithms) = match &jwk.algorithm {
            AlgorithmParameters::RSA(of) => {
                let number = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
                (rsa(&number(&of.n)?, &number(&of.e)?).ok()?, rsa_algorithms())
            }
            AlgorithmParameters::EllipticCurve(of) => {
                let key = DecodingKey::from_jwk(&jwk).ok()?;
                let algorithms = algorithms_of(&key)?;
                let right = match of.curve {
                    EllipticCurve::P256 => Algorithm::ES256,
                    EllipticCurve::P384 => Algorithm::ES384,
                    _ => return None,
                };
                algorithms.contains(&right).then_some((key, algorithms))?
            }
            AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => {
                let key = DecodingKey::from_jwk(&jwk).ok()?;
                let algorithms = algorithms_of(&key)?;
                (key, algorithms)
            }
            _ => return None,
        };
        if let Some(alg) = written.get("alg") {
            let only: Algorithm = alg.as_str()?.parse().ok()?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        let id = common.key_id.as_deref().map(Into::into);
        (!algorithms.is_empty()).then_some(Self { id, algorithms, key })
    }
}

/// What a key on a curve can do, by the length of its point.
fn algorithms_of(key: &DecodingKey) -> Option<SmallVec<[Algorithm; 6]>> {
    let bytes = key.try_get_as_bytes().ok()?.len();
    let algorithm = match (key.family(), bytes) {
        (AlgorithmFamily::Ec, 65) => Algorithm::ES256,
        (AlgorithmFamily::Ec, 97) => Algorithm::ES384,
        (AlgorithmFamily::Ed, 32) => Algorithm::EdDSA,
        _ => return None,
    };
    Some(SmallVec::from_iter([algorithm]))
}

fn rsa_algorithms() -> SmallVec<[Algorithm; 6]> {
    AlgorithmFamily::Rsa.algorithms().iter().copied().collect()
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, KeyFault> {
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    if !RSA_BYTES.contains(&modulus.len()) || exponent.len() > 5 {
        return Err(KeyFault::RsaSize);
    }
    Ok(DecodingKey::from_rsa_der(&written(0x30, &[written(0x02, modulus), written(0x02, exponent)].concat())))
}

/// A DER element; an integer that would look negative gets a zero in front.
fn written(tag: u8, content: &[u8]) -> Vec<u8> {
    let zero = tag == 0x02 && content.first().is_none_or(|first| *first >= 0x80);
    let length = content.len() + usize::from(zero);
    // Nothing here is longer than two bytes can say: a modulus has at most 1024.
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] = match length {
        0..=0x7f => &[tag, low],
        0x80..=0xff => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, if zero { &[0] } else { &[] }, content].concat()
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Modulus and exponent of a PKCS#1 public key: a DER sequence of two integers.
fn components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(0x30, der)?;
    let (modulus, rest) = element(0x02, sequence)?;
    let (exponent, _) = element(0x02, rest)?;
    Some((modulus, exponent))
}

/// The content of a DER element with this tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
