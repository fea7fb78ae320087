//! Signs tokens with the keys beside this file, which protect nothing. Shared by unit tests, integration tests and
//! benches.
#![allow(dead_code, reason = "each of its users needs another part")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use serde_json::{Value, json};

pub const SECRET: &str = "a secret of 64 bytes, which is long enough for every HMAC of JWS";
pub const RSA_PEM: &str = include_str!("rsa.pub.pem");
pub const P256_PEM: &str = include_str!("p256.pub.pem");
pub const P384_PEM: &str = include_str!("p384.pub.pem");
pub const ED25519_PEM: &str = include_str!("ed25519.pub.pem");

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The signature of `message` with the key that fits the algorithm.
pub fn sign(algorithm: &str, message: &str) -> Vec<u8> {
    let (message, random) = (message.as_bytes(), SystemRandom::new());
    let mac = |algorithm| hmac::sign(&hmac::Key::new(algorithm, SECRET.as_bytes()), message).as_ref().to_vec();
    let rsa = |encoding: &'static dyn ring::signature::RsaEncoding| {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("rsa.pk8")).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &random, message, &mut signature).unwrap();
        signature
    };
    match algorithm {
        "HS256" => mac(hmac::HMAC_SHA256),
        "HS384" => mac(hmac::HMAC_SHA384),
        "HS512" => mac(hmac::HMAC_SHA512),
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "PS384" => rsa(&RSA_PSS_SHA384),
        "PS512" => rsa(&RSA_PSS_SHA512),
        "ES256" => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, include_bytes!("p256.pk8"), &random);
            pair.unwrap().sign(&random, message).unwrap().as_ref().to_vec()
        }
        "ES384" => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, include_bytes!("p384.pk8"), &random);
            pair.unwrap().sign(&random, message).unwrap().as_ref().to_vec()
        }
        "EdDSA" => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(include_bytes!("ed25519.pk8"));
            pair.unwrap().sign(message).as_ref().to_vec()
        }
        other => panic!("nothing signs with {other}"),
    }
}

/// A token of these two texts, signed with `algorithm` whatever the header says.
pub fn of_texts(algorithm: &str, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let signature = sign(algorithm, &message);
    format!("{message}.{}", base64(signature))
}

/// A token of these claims, with a key id where one is given.
pub fn token(algorithm: &str, kid: Option<&str>, claims: &Value) -> String {
    let mut header = json!({ "alg": algorithm, "typ": "JWT" });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    of_texts(algorithm, &header.to_string(), &claims.to_string())
}

/// The public P-256 key as a member of a set.
pub fn p256_jwk(kid: &str) -> Value {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, include_bytes!("p256.pk8"), &random).unwrap();
    let point = pair.public_key().as_ref();
    json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
            "x": base64(&point[1..33]), "y": base64(&point[33..65]) })
}

/// The public RSA key as a member of a set.
pub fn rsa_jwk(kid: &str) -> Value {
    let pair = RsaKeyPair::from_pkcs8(include_bytes!("rsa.pk8")).unwrap();
    let ring::rsa::PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
    json!({ "kty": "RSA", "use": "sig", "kid": kid, "n": base64(n), "e": base64(e) })
}

/// The public Ed25519 key as a member of a set.
pub fn ed25519_jwk(kid: &str) -> Value {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(include_bytes!("ed25519.pk8")).unwrap();
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64(pair.public_key().as_ref()) })
}
