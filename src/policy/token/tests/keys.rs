//! Which keys are taken.

use super::*;

#[test]
fn keys_that_are_not_safe_or_not_public_are_refused() {
    let short_rsa = {
        let n = base64([0xff; 128]);
        json!({ "keys": [{ "kty": "RSA", "n": n, "e": "AQAB" }] })
    };
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n";
    for (found, expected) in [
        (KeySet::of_secret(&[7; 31]), Some(KeyFault::ShortSecret)),
        (KeySet::of_secret(&[7; 32]), None),
        (KeySet::of_pem(signer::RSA_PEM), None),
        (KeySet::of_pem(signer::P256_PEM), None),
        (KeySet::of_pem(private), Some(KeyFault::Private)),
        (KeySet::of_pem("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"), Some(KeyFault::Certificate)),
        (KeySet::of_pem(""), Some(KeyFault::Pem)),
        (KeySet::of_pem(&signer::P256_PEM.replace('M', "N")), Some(KeyFault::Pem)),
        (KeySet::of_jwks(&json!([])), Some(KeyFault::Set)),
        (KeySet::of_jwks(&json!({ "keys": [] })), Some(KeyFault::Empty)),
        (KeySet::of_jwks(&json!({ "keys": vec![signer::p256_jwk("a"); 101] })), Some(KeyFault::TooMany)),
        (KeySet::of_jwks(&short_rsa), Some(KeyFault::Empty)),
    ] {
        assert_eq!(found.map(|_| ()).err(), expected);
    }
}

/// Changes a member of a key; `null` takes it out.
fn changed(key: Value, name: &str, value: Value) -> Value {
    let mut key = key;
    match value {
        Value::Null => _ = key.as_object_mut().unwrap().shift_remove(name),
        value => key[name] = value,
    }
    key
}

#[test]
fn a_set_gives_the_keys_that_verify_and_leaves_the_others_out() {
    let (rsa, p256, ed) = (signer::rsa_jwk("a"), signer::p256_jwk("a"), signer::ed25519_jwk("a"));
    for (key, expected) in [
        (rsa.clone(), &["RS256"][..]),
        (p256.clone(), &["ES256"]),
        (ed.clone(), &["EdDSA"]),
        (changed(rsa.clone(), "alg", "PS256".into()), &["PS256"]),
        (changed(rsa.clone(), "alg", "ES256".into()), &[]),
        (changed(rsa.clone(), "alg", "RSA-OAEP".into()), &[]),
        (changed(rsa.clone(), "alg", 7.into()), &[]),
        (changed(rsa.clone(), "use", "enc".into()), &[]),
        (changed(rsa.clone(), "use", Value::Null), &["RS256"]),
        (changed(rsa.clone(), "key_ops", json!(["verify"])), &["RS256"]),
        (changed(rsa.clone(), "key_ops", json!(["encrypt"])), &[]),
        (changed(rsa.clone(), "n", "!".into()), &[]),
        (changed(rsa, "n", Value::Null), &[]),
        (changed(p256.clone(), "crv", "P-384".into()), &[]),
        (changed(p256.clone(), "crv", "secp256k1".into()), &[]),
        (changed(p256, "x", "AAAA".into()), &[]),
        (changed(ed.clone(), "crv", "Ed448".into()), &[]),
        (changed(ed, "x", "AAAA".into()), &[]),
        (json!({ "kty": "oct", "kid": "a", "k": base64([7; 64]) }), &[]),
        (json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }), &[]),
        (json!("key"), &[]),
    ] {
        // One that is always good keeps the set from being empty.
        let p384 = json!({ "kty": "EC", "crv": "P-384", "x": base64([1; 48]), "y": base64([1; 48]) });
        let keys = set(&[key.clone(), p384]);
        for algorithm in ["HS256", "RS256", "PS256", "PS512", "ES256", "EdDSA"] {
            let may = expected.contains(&algorithm) || (expected.contains(&"RS256") && algorithm.starts_with("PS"));
            assert_eq!(keys.can(algorithm.parse().unwrap()), may, "{algorithm} with {key}");
        }
    }
}
