//! The verdict on every kind of token, good and bad, and on every kind of key.

mod attacks;
mod keys;
#[path = "../../../../tests/keys/signer.rs"]
pub(crate) mod signer;

use serde_json::{Value, json};

use super::*;
use signer::{base64, of_texts, token};

/// Now.
const NOW: u64 = 1_800_000_000;

fn rules() -> Rules {
    Rules {
        algorithms: Vec::new(),
        issuer: Some("https://id.example.com".into()),
        audience: vec!["api".into()],
        leeway: 30,
        required: vec!["exp".into()],
        max_bytes: 8192,
    }
}

/// Claims that are good, with changes; `null` takes one out.
fn claims(changes: Value) -> Value {
    let mut claims = json!({ "iss": "https://id.example.com", "aud": "api", "sub": "alice", "exp": NOW + 600 });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().shift_remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::of_jwks(&json!({ "keys": keys })).unwrap()
}

#[test]
fn each_algorithm_verifies_with_its_own_key_and_no_other() {
    let keys = [
        KeySet::of_secret(signer::SECRET.as_bytes()).unwrap(),
        KeySet::of_pem(signer::RSA_PEM).unwrap(),
        KeySet::of_pem(signer::P256_PEM).unwrap(),
        KeySet::of_pem(signer::P384_PEM).unwrap(),
        KeySet::of_pem(signer::ED25519_PEM).unwrap(),
    ];
    for (algorithm, right) in [
        ("HS256", 0),
        ("HS384", 0),
        ("HS512", 0),
        ("RS256", 1),
        ("RS384", 1),
        ("RS512", 1),
        ("PS256", 1),
        ("PS384", 1),
        ("PS512", 1),
        ("ES256", 2),
        ("ES384", 3),
        ("EdDSA", 4),
    ] {
        let token = token(algorithm, None, &claims(json!({})));
        for (index, keys) in keys.iter().enumerate() {
            let verdict = rules().verify(&token, Some(keys), NOW).map(|verified| verified.claims["sub"].clone());
            let expected = if index == right { Ok("alice".into()) } else { Err(TokenFault::Algorithm) };
            assert_eq!(verdict, expected, "{algorithm} with key {index}");
        }
    }
}

#[test]
fn times_count_with_the_leeway() {
    let keys = KeySet::of_secret(signer::SECRET.as_bytes()).unwrap();
    for (changes, expected) in [
        (json!({ "exp": NOW }), Ok(Some(NOW + 30))),
        (json!({ "exp": NOW - 29 }), Ok(Some(NOW + 1))),
        (json!({ "exp": NOW - 30 }), Err(TokenFault::Expired)),
        (json!({ "exp": 1e300 }), Ok(Some(u64::MAX))),
        (json!({ "exp": NOW as f64 + 0.5 }), Ok(Some(NOW + 30))),
        (json!({ "nbf": NOW + 30 }), Ok(Some(NOW + 630))),
        (json!({ "nbf": NOW + 31 }), Err(TokenFault::NotYetValid)),
        (json!({ "nbf": 0 }), Ok(Some(NOW + 630))),
        (json!({ "iat": NOW - 5 }), Ok(Some(NOW + 630))),
    ] {
        let token = token("HS256", None, &claims(changes.clone()));
        let verdict = rules().verify(&token, Some(&keys), NOW).map(|verified| verified.expires);
        assert_eq!(verdict, expected, "{changes}");
    }
}

#[test]
fn what_is_not_required_may_be_absent() {
    let keys = KeySet::of_secret(signer::SECRET.as_bytes()).unwrap();
    let rules = Rules { issuer: None, audience: Vec::new(), required: vec!["realm.id".into()], ..rules() };
    for (claims, expected) in [
        (json!({ "realm": { "id": 7 } }), Ok(None)),
        (json!({ "realm.id": "x" }), Ok(None)),
        (json!({ "realm": { "id": null } }), Err(TokenFault::ClaimMissing)),
        (json!({ "realm": "id" }), Err(TokenFault::ClaimMissing)),
        (json!({}), Err(TokenFault::ClaimMissing)),
    ] {
        let token = token("HS256", None, &claims);
        assert_eq!(rules.verify(&token, Some(&keys), NOW).map(|verified| verified.expires), expected, "{claims}");
    }
}

#[test]
fn the_key_id_chooses_among_the_keys_of_a_set() {
    use TokenFault::{Signature, UnknownKey};
    let other =
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "other", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let nameless = {
        let mut key = signer::ed25519_jwk("");
        key.as_object_mut().unwrap().shift_remove("kid");
        key
    };
    for (keys, kid, expected) in [
        (vec![other.clone(), signer::ed25519_jwk("own")], Some("own"), Ok(())),
        (vec![other.clone(), signer::ed25519_jwk("own")], None, Ok(())),
        (vec![other.clone(), signer::ed25519_jwk("own")], Some("other"), Err(Signature)),
        (vec![other.clone(), signer::ed25519_jwk("own")], Some("third"), Err(UnknownKey)),
        (vec![other.clone(), nameless.clone()], Some("third"), Ok(())),
        (vec![other.clone(), nameless], Some("other"), Err(Signature)),
        (vec![other.clone()], None, Err(UnknownKey)),
        (vec![other.clone(), other.clone(), other.clone(), other, signer::ed25519_jwk("own")], None, Err(UnknownKey)),
    ] {
        let token = token("EdDSA", kid, &claims(json!({})));
        let verdict = rules().verify(&token, Some(&set(&keys)), NOW).map(|_| ());
        assert_eq!(verdict, expected, "{kid:?} among {} keys", keys.len());
    }
}

#[test]
fn without_keys_nothing_is_believed_and_bad_claims_are_told_first() {
    let good = token("ES256", Some("one"), &claims(json!({})));
    assert_eq!(rules().verify(&good, None, NOW).map(|_| ()), Err(TokenFault::NoKeys));
    let expired = token("ES256", Some("one"), &claims(json!({ "exp": 1 })));
    assert_eq!(rules().verify(&expired, None, NOW).map(|_| ()), Err(TokenFault::Expired));
}
