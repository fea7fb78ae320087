//! The one crypto library, for `jsonwebtoken`: every check of a signature is made by ring.
//!
//! The gateway verifies and never signs, so the signing half refuses. An algorithm that is not in the table verifies
//! nothing. ring itself refuses RSA keys outside 2048 to 8192 bits, points that are not on their curve, and ECDSA
//! signatures with a zero.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{error::Unspecified, hmac};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| verifier(*algorithm, key),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Whether `key` made `signature` over `message` with `algorithm`.
pub(super) fn verifies(algorithm: Algorithm, key: &DecodingKey, message: &[u8], signature: &str) -> bool {
    // Whoever is second finds it installed.
    let _ = PROVIDER.install_default();
    jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap_or(false)
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier { algorithm, key: key.clone() }))
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let checked = match self.algorithm {
            Algorithm::HS256 => mac(hmac::HMAC_SHA256, &self.key, message, signature),
            Algorithm::HS384 => mac(hmac::HMAC_SHA384, &self.key, message, signature),
            Algorithm::HS512 => mac(hmac::HMAC_SHA512, &self.key, message, signature),
            Algorithm::RS256 => public(&RSA_PKCS1_2048_8192_SHA256, &self.key, message, signature),
            Algorithm::RS384 => public(&RSA_PKCS1_2048_8192_SHA384, &self.key, message, signature),
            Algorithm::RS512 => public(&RSA_PKCS1_2048_8192_SHA512, &self.key, message, signature),
            Algorithm::PS256 => public(&RSA_PSS_2048_8192_SHA256, &self.key, message, signature),
            Algorithm::PS384 => public(&RSA_PSS_2048_8192_SHA384, &self.key, message, signature),
            Algorithm::PS512 => public(&RSA_PSS_2048_8192_SHA512, &self.key, message, signature),
            Algorithm::ES256 => public(&ECDSA_P256_SHA256_FIXED, &self.key, message, signature),
            Algorithm::ES384 => public(&ECDSA_P384_SHA384_FIXED, &self.key, message, signature),
            Algorithm::EdDSA => public(&ED25519, &self.key, message, signature),
            _ => Err(Unspecified),
        };
        checked.map_err(|Unspecified| Error::new())
    }
}

type Checked = std::result::Result<(), Unspecified>;

fn mac(algorithm: hmac::Algorithm, key: &DecodingKey, message: &[u8], signature: &[u8]) -> Checked {
    let secret = key.try_get_as_bytes().map_err(|_| Unspecified)?;
    hmac::verify(&hmac::Key::new(algorithm, secret), message, signature)
}

/// RSA keys are kept as PKCS#1, others as the bytes of their point.
fn public(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &DecodingKey,
    message: &[u8],
    signature: &[u8],
) -> Checked {
    let bytes = key.try_get_as_bytes().map_err(|_| Unspecified)?;
    UnparsedPublicKey::new(algorithm, bytes).verify(message, signature)
}
