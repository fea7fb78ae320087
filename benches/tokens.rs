//! What it costs to find a consumer by token: verification with each algorithm, and a token that is known already.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use indexmap::IndexMap;
use serde_json::json;
use tollgate::gateway::token::{Mapping, Patience, TokenAuthenticator, TokenKeys};
use tollgate::policy::authenticate::{Forward, KeyPlace, Part};
use tollgate::policy::token::{KeySet, Rules};

#[path = "../tests/keys/signer.rs"]
mod signer;

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

fn mapping() -> Mapping {
    Mapping {
        consumer_claim: "sub".into(),
        consumers: IndexMap::new(),
        plan_claim: None,
        plan: None,
        plans: IndexMap::new(),
        groups_claim: None,
        forward: Vec::new(),
    }
}

fn token(algorithm: &str) -> String {
    let claims = json!({ "iss": "https://id.example.com", "aud": "api", "sub": "alice", "exp": NOW + 600,
                         "iat": NOW, "email": "alice@example.com", "realm": { "roles": ["staff", "ops"] } });
    signer::token(algorithm, None, &claims)
}

fn tokens(criterion: &mut Criterion) {
    let pem = |text| KeySet::of_pem(text).unwrap_or_else(|fault| panic!("{fault}"));
    let secret = || KeySet::of_secret(signer::SECRET.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
    for (algorithm, keys) in [
        ("HS256", secret()),
        ("RS256", pem(signer::RSA_PEM)),
        ("PS256", pem(signer::RSA_PEM)),
        ("ES256", pem(signer::P256_PEM)),
        ("ES384", pem(signer::P384_PEM)),
        ("EdDSA", pem(signer::ED25519_PEM)),
    ] {
        let (token, rules) = (token(algorithm), rules());
        assert!(rules.verify(&token, Some(&keys), NOW).is_ok());
        criterion.bench_function(&format!("token/verify {algorithm}"), |bencher| {
            bencher.iter(|| rules.verify(black_box(&token), Some(&keys), NOW).is_ok());
        });
    }
    let place = KeyPlace { part: Part::Header(AUTHORIZATION), forward: Forward::Strip };
    let keys = TokenKeys::Fixed(pem(signer::RSA_PEM));
    let authenticator = TokenAuthenticator::new("corp", place, rules(), keys, mapping());
    let token = token("RS256");
    assert!(authenticator.consumer(&token, NOW, Patience::Spent).is_ok());
    criterion.bench_function("token/known RS256", |bencher| {
        bencher.iter(|| authenticator.consumer(black_box(&token), NOW, Patience::Spent).is_ok());
    });
}

criterion_group!(benches, tokens);
criterion_main!(benches);
