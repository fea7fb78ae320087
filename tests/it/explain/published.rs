//! Tokens whose keys a provider publishes, explained without a running gateway.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::instance::config;
use crate::support::gateway::program;
use crate::support::origin::{Origin, Unreachable};
use crate::tokens::signer;

/// How long requests wait for keys that the running gateway fetches.
const WAIT: Duration = Duration::from_secs(6);

/// Explains a request with these arguments where `jwks_url` is this.
fn explained(url: &str, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    let sections = json!({
        "authenticators": { "corp": { "jwt": { "jwks_url": url, "audience": "api" } } },
        "routes": [{ "name": "me", "method": "GET", "gateway_path": "/me", "service": "origin", "auth": ["corp"] }],
    });
    fs::write(&file, config(([127, 0, 0, 1], 1).into(), sections).to_string()).unwrap();
    let output =
        program().arg("explain").arg("--json").args(arguments).arg(&file).args(["GET", "/me"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn the_keys_of_a_token_are_fetched_once_and_only_for_a_token() {
    let provider = Origin::json(&json!({ "keys": [signer::p256_jwk("one")] }).to_string());
    let (nobody, url) = (Unreachable::reserve(), format!("http://{}/jwks", provider.address()));
    let away = format!("http://{}/jwks", nobody.address());
    let bearing = |kid: &str| {
        let claims = json!({ "aud": "api", "sub": "alice", "exp": 9_999_999_999_u64 });
        format!("authorization: Bearer {}", signer::token("ES256", Some(kid), &claims))
    };
    let (known, unknown) = (bearing("one"), bearing("two"));
    let found = "consumer corp:alice, found by one of [corp]: token in header authorization";
    for (url, arguments, fetches, caller, code, note) in [
        (&url, vec!["-H", &known], 1, Some(found), None, None),
        (&url, vec!["-H", &unknown], 1, None, Some("token-invalid"), None),
        (&url, vec![], 0, None, Some("credential-missing"), None),
        (&away, vec!["-H", &known], 0, None, Some("keys-unavailable"), Some("the keys of corp cannot be fetched: ")),
        (&away, vec![], 0, None, Some("credential-missing"), None),
    ] {
        let began = Instant::now();
        let explanation = explained(url, &arguments);
        assert!(began.elapsed() < WAIT, "nothing else would be fetched: {arguments:?}");
        assert_eq!(provider.take().len(), fetches, "{arguments:?}");
        if let Some(caller) = caller {
            assert_eq!(explanation["caller"], caller);
        }
        assert_eq!(explanation["refused"]["code"].as_str(), code, "{arguments:?}");
        let told = explanation["note"].as_str();
        assert_eq!(told.is_some(), note.is_some(), "{told:?}");
        assert!(told.unwrap_or_default().starts_with(note.unwrap_or_default()), "{told:?}");
    }
}
