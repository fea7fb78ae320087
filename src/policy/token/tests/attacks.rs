//! Tokens that somebody may send, with the verdict of each.

use super::*;

use TokenFault::{
    Algorithm as WrongAlgorithm, Audience, ClaimMalformed, ClaimMissing, Critical, DuplicateMember, Encoding, Expired,
    Issuer, KeyInHeader, Malformed, Nested, NotYetValid, Oversized, Signature, Type, UnknownKey,
};

const HEADER: &str = r#"{"alg":"ES256","kid":"one"}"#;

/// A token of good claims under this header, signed with the P-256 key.
fn headed(header: &str) -> String {
    of_texts("ES256", header, &claims(json!({})).to_string())
}

/// A token with this payload, well signed.
fn loaded(payload: &str) -> String {
    of_texts("ES256", HEADER, payload)
}

/// A well signed token whose claims were changed.
fn claiming(changes: Value) -> String {
    loaded(&claims(changes).to_string())
}

/// The parts of a good token.
fn parts() -> [String; 3] {
    let token = claiming(json!({}));
    let mut parts = token.split('.').map(str::to_owned);
    std::array::from_fn(|_| parts.next().unwrap())
}

/// A good token with another signature.
fn signed(signature: &str) -> String {
    let [header, payload, _] = parts();
    format!("{header}.{payload}.{signature}")
}

/// A token whose public key was used as a secret.
fn confused(algorithm: ring::hmac::Algorithm, name: &str, key: &[u8]) -> String {
    let header = base64(json!({ "alg": name, "kid": "one" }).to_string());
    let message = format!("{header}.{}", base64(claims(json!({})).to_string()));
    let tag = ring::hmac::sign(&ring::hmac::Key::new(algorithm, key), message.as_bytes());
    format!("{message}.{}", base64(tag))
}

fn forms() -> Vec<(&'static str, String, Option<TokenFault>)> {
    let good = claiming(json!({}));
    let [header, payload, signature] = parts();
    let canonical = signature.as_bytes()[85];
    // The last character of 64 bytes has four bits that do not count.
    let other_bits = char::from(canonical + 1);
    vec![
        ("a good token", good.clone(), None),
        ("nothing", String::new(), Some(Malformed)),
        ("dots", "..".to_owned(), Some(Malformed)),
        ("one part", header.clone(), Some(Malformed)),
        ("two parts", format!("{header}.{payload}"), Some(Malformed)),
        ("four parts", format!("{good}.{signature}"), Some(Malformed)),
        ("five parts, encrypted", format!("{good}.AAAA.AAAA"), Some(Nested)),
        ("six parts", format!("{good}.A.A.A"), Some(Malformed)),
        ("cut in the signature", good[..good.len() - 2].to_owned(), Some(Signature)),
        ("cut by one", good[..good.len() - 1].to_owned(), Some(Encoding)),
        ("without a signature", format!("{header}.{payload}."), Some(Signature)),
        ("padding", format!("{good}=="), Some(Encoding)),
        ("padding in the header", format!("{header}=.{payload}.{signature}"), Some(Encoding)),
        ("bits that do not count", signed(&format!("{}{other_bits}", &signature[..85])), Some(Encoding)),
        ("a space in front", format!(" {good}"), Some(Encoding)),
        ("a space behind", format!("{good} "), Some(Encoding)),
        ("a line break", format!("{good}\n"), Some(Encoding)),
        ("a tab inside", format!("{header}.\t{payload}.{signature}"), Some(Encoding)),
        ("the other alphabet", signed(&"+/".repeat(43)), Some(Encoding)),
        ("percent-encoding", good.replace('.', "%2E"), Some(Malformed)),
        ("beyond ASCII", format!("{header}.é{payload}.{signature}"), Some(Encoding)),
        ("too long", claiming(json!({ "x": "a".repeat(9000) })), Some(Oversized)),
        ("long garbage", "a".repeat(100_000), Some(Oversized)),
        ("the JSON form", json!({ "payload": payload, "signature": signature }).to_string(), Some(Malformed)),
        ("a header of text", headed("\"ES256\""), Some(Malformed)),
        ("a list as header", headed("[]"), Some(Malformed)),
        ("an empty header", headed("{}"), Some(WrongAlgorithm)),
        ("no JSON", loaded("sub=alice"), Some(Malformed)),
        ("text behind the claims", loaded("{} {}"), Some(Malformed)),
        ("a list as claims", loaded("[{}]"), Some(Malformed)),
        ("claims too deep", loaded(&format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200))), Some(Malformed)),
        ("bytes that are no text", of_bytes(b"{\"sub\":\"\xff\"}"), Some(Malformed)),
        ("empty claims", loaded("{}"), Some(Issuer)),
    ]
}

fn of_bytes(payload: &[u8]) -> String {
    let message = format!("{}.{}", base64(HEADER), base64(payload));
    format!("{message}.{}", base64(signer::sign("ES256", &message)))
}

fn headers() -> Vec<(&'static str, String, Option<TokenFault>)> {
    let unsigned = |alg: &str| {
        let header = base64(json!({ "alg": alg }).to_string());
        format!("{header}.{}.", base64(claims(json!({})).to_string()))
    };
    let with = |name: &str, value: Value| {
        let mut header: Value = serde_json::from_str(HEADER).unwrap();
        header[name] = value;
        headed(&header.to_string())
    };
    let jwk = signer::ed25519_jwk("one");
    let own_key = of_texts("EdDSA", &json!({ "alg": "EdDSA", "jwk": jwk }).to_string(), &claims(json!({})).to_string());
    let pem = signer::P256_PEM.as_bytes();
    vec![
        ("none", unsigned("none"), Some(WrongAlgorithm)),
        ("None", unsigned("None"), Some(WrongAlgorithm)),
        ("NONE", unsigned("NONE"), Some(WrongAlgorithm)),
        ("nOnE with a signature", headed(r#"{"alg":"nOnE","kid":"one"}"#), Some(WrongAlgorithm)),
        ("an empty algorithm", headed(r#"{"alg":"","kid":"one"}"#), Some(WrongAlgorithm)),
        ("an algorithm of no text", headed(r#"{"alg":["ES256"],"kid":"one"}"#), Some(WrongAlgorithm)),
        ("lower case", headed(r#"{"alg":"es256","kid":"one"}"#), Some(WrongAlgorithm)),
        ("one that nobody knows", headed(r#"{"alg":"ES256K","kid":"one"}"#), Some(WrongAlgorithm)),
        ("HS256 with the PEM", confused(ring::hmac::HMAC_SHA256, "HS256", pem), Some(WrongAlgorithm)),
        ("HS384 with the PEM", confused(ring::hmac::HMAC_SHA384, "HS384", pem), Some(WrongAlgorithm)),
        ("HS512 without line ends", confused(ring::hmac::HMAC_SHA512, "HS512", pem.trim_ascii()), Some(WrongAlgorithm)),
        ("HS256 with nothing", confused(ring::hmac::HMAC_SHA256, "HS256", b""), Some(WrongAlgorithm)),
        ("RS256 of a P-256 key", headed(r#"{"alg":"RS256","kid":"one"}"#), Some(WrongAlgorithm)),
        ("ES384 of a P-256 key", headed(r#"{"alg":"ES384","kid":"one"}"#), Some(WrongAlgorithm)),
        ("a path as key id", with("kid", "../../../../dev/null".into()), Some(UnknownKey)),
        ("SQL as key id", with("kid", "one' OR '1'='1".into()), Some(UnknownKey)),
        ("a command as key id", with("kid", "one|/bin/id".into()), Some(UnknownKey)),
        ("a URL as key id", with("kid", "https://evil.example.com/jwks".into()), Some(UnknownKey)),
        ("NUL in the key id", with("kid", "one\0".into()), Some(UnknownKey)),
        ("an empty key id", with("kid", "".into()), Some(UnknownKey)),
        ("a key id of no text", with("kid", json!({ "one": 1 })), Some(Malformed)),
        ("a key id of null", with("kid", Value::Null), Some(Malformed)),
        ("a key id without end", with("kid", "a".repeat(600).into()), Some(Malformed)),
        ("another key's id", with("kid", "two".into()), Some(UnknownKey)),
        ("its own key", own_key, Some(KeyInHeader)),
        ("jwk beside a good signature", with("jwk", signer::p256_jwk("one")), Some(KeyInHeader)),
        ("jku", with("jku", "https://evil.example.com/jwks".into()), Some(KeyInHeader)),
        ("x5u", with("x5u", "https://evil.example.com/cert".into()), Some(KeyInHeader)),
        ("x5c", with("x5c", json!(["MIIB"])), Some(KeyInHeader)),
        ("a thumbprint", with("x5t", "AAAA".into()), None),
        ("crit of a stranger", with("crit", json!(["exp2"])), Some(Critical)),
        ("crit of a known name", with("crit", json!(["alg"])), Some(Critical)),
        ("an empty crit", with("crit", json!([])), Some(Critical)),
        ("an unencoded payload", with("crit", json!(["b64"])), Some(Critical)),
        ("a token inside", with("cty", "JWT".into()), Some(Nested)),
        ("compressed", with("zip", "DEF".into()), Some(Nested)),
        ("encrypted", with("enc", "A256GCM".into()), Some(Nested)),
        ("an access token", with("typ", "at+jwt".into()), None),
        ("a type in capitals", with("typ", "JWT".into()), None),
        ("a logout token", with("typ", "logout+jwt".into()), Some(Type)),
        ("a proof of possession", with("typ", "dpop+jwt".into()), Some(Type)),
        ("a type of no text", with("typ", 7.into()), Some(Type)),
        ("two algorithms", headed(r#"{"alg":"none","alg":"ES256","kid":"one"}"#), Some(DuplicateMember)),
        ("two key ids", headed(r#"{"alg":"ES256","kid":"two","k\u0069d":"one"}"#), Some(DuplicateMember)),
    ]
}

fn claimed() -> Vec<(&'static str, String, Option<TokenFault>)> {
    let other = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
    vec![
        ("expired", claiming(json!({ "exp": NOW - 60 })), Some(Expired)),
        ("expired long ago", claiming(json!({ "exp": 0 })), Some(Expired)),
        ("no end", claiming(json!({ "exp": null })), Some(ClaimMissing)),
        ("an end of null", loaded(r#"{"iss":"https://id.example.com","aud":"api","exp":null}"#), Some(ClaimMissing)),
        ("an end as text", claiming(json!({ "exp": (NOW + 600).to_string() })), Some(ClaimMalformed)),
        ("an end before time", claiming(json!({ "exp": -1 })), Some(ClaimMalformed)),
        ("an end as list", claiming(json!({ "exp": [NOW + 600] })), Some(ClaimMalformed)),
        ("not yet", claiming(json!({ "nbf": NOW + 60 })), Some(NotYetValid)),
        ("a begin as text", claiming(json!({ "nbf": "0" })), Some(ClaimMalformed)),
        ("issued at a text", claiming(json!({ "iat": "now" })), Some(ClaimMalformed)),
        ("another issuer", claiming(json!({ "iss": "https://evil.example.com" })), Some(Issuer)),
        ("an issuer with more", claiming(json!({ "iss": "https://id.example.com.evil.org" })), Some(Issuer)),
        ("an issuer with a slash", claiming(json!({ "iss": "https://id.example.com/" })), Some(Issuer)),
        ("issuers", claiming(json!({ "iss": ["https://id.example.com"] })), Some(Issuer)),
        ("no issuer", claiming(json!({ "iss": null })), Some(Issuer)),
        ("another audience", claiming(json!({ "aud": "web" })), Some(Audience)),
        ("audiences without ours", claiming(json!({ "aud": ["web", "API"] })), Some(Audience)),
        ("audiences with ours", claiming(json!({ "aud": ["web", "api"] })), None),
        ("an audience in an object", claiming(json!({ "aud": { "api": 1 } })), Some(Audience)),
        ("audiences with a number", claiming(json!({ "aud": ["api", 1] })), Some(Audience)),
        ("no audience", claiming(json!({ "aud": [] })), Some(Audience)),
        ("two subjects", loaded(&good_with(r#""sub":"admin""#)), Some(DuplicateMember)),
        ("two ends", loaded(&good_with(r#""exp":9999999999"#)), Some(DuplicateMember)),
        ("a name twice further in", loaded(&good_with(r#""realm":{"role":"a","role":"b"}"#)), Some(DuplicateMember)),
        ("a name twice in a list", loaded(&good_with(r#""list":[{"a":1,"a":2}]"#)), Some(DuplicateMember)),
        ("a name twice in other spelling", loaded(&good_with(r#""s\u0075b":"admin""#)), Some(DuplicateMember)),
        ("a token as claims", of_texts("ES256", HEADER, other), Some(Malformed)),
        ("a token as text", loaded(&format!("\"{other}\"")), Some(Malformed)),
    ]
}

/// The text of good claims with one member more.
fn good_with(member: &str) -> String {
    let good = claims(json!({})).to_string();
    format!("{},{member}}}", good.trim_end_matches('}'))
}

fn signatures() -> Vec<(&'static str, String, Option<TokenFault>)> {
    let [header, payload, signature] = parts();
    let bytes = |bytes: &[u8]| signed(&base64(bytes));
    let order: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (one, zero) = ([[0; 31].as_slice(), &[1]].concat(), [0; 32]);
    let other = base64(claims(json!({ "sub": "admin" })).to_string());
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &[1; 32], &[0x02, 0x20], &[1; 32]].concat();
    vec![
        ("zeros", bytes(&[0; 64]), Some(Signature)),
        ("r of zero", bytes(&[&zero[..], &one].concat()), Some(Signature)),
        ("s of zero", bytes(&[&one[..], &zero].concat()), Some(Signature)),
        ("the order of the curve", bytes(&[order, order].concat()), Some(Signature)),
        ("r of the order", bytes(&[&order[..], &one].concat()), Some(Signature)),
        ("DER", bytes(&der), Some(Signature)),
        ("one byte", bytes(&[1]), Some(Signature)),
        ("a byte more", bytes(&[7; 65]), Some(Signature)),
        ("of another token", format!("{header}.{other}.{signature}"), Some(Signature)),
        ("of an RSA key", of_texts("RS256", HEADER, &claims(json!({})).to_string()), Some(Signature)),
        ("of a secret", of_texts("HS256", HEADER, &claims(json!({})).to_string()), Some(Signature)),
        ("the payload's", format!("{header}.{payload}.{payload}"), Some(Signature)),
    ]
}

#[test]
fn each_token_has_its_verdict() {
    let keys = set(&[signer::p256_jwk("one")]);
    let all: Vec<_> = [forms(), headers(), claimed(), signatures()].into_iter().flatten().collect();
    assert!(all.len() >= 100, "{} tokens", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|(what, token, expected)| {
            let found = rules().verify(token, Some(&keys), NOW).map(|_| ()).err();
            (found != *expected).then(|| format!("{what}: {found:?} instead of {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_allow_list_of_algorithms_is_all_there_is() {
    let keys = KeySet::of_pem(signer::RSA_PEM).unwrap();
    let rules = Rules { algorithms: vec![Algorithm::PS256], ..rules() };
    for (algorithm, expected) in [("PS256", Ok(())), ("RS256", Err(WrongAlgorithm)), ("PS384", Err(WrongAlgorithm))] {
        let token = token(algorithm, None, &claims(json!({})));
        assert_eq!(rules.verify(&token, Some(&keys), NOW).map(|_| ()), expected, "{algorithm}");
    }
}

#[test]
fn a_signature_counts_for_its_own_algorithm_alone() {
    const ALL: [&str; 6] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let keys = KeySet::of_pem(signer::RSA_PEM).unwrap();
    for said in ALL {
        for signed in ALL {
            let header = json!({ "alg": said }).to_string();
            let token = of_texts(signed, &header, &claims(json!({})).to_string());
            let expected = if said == signed { Ok(()) } else { Err(UnknownKey) };
            assert_eq!(rules().verify(&token, Some(&keys), NOW).map(|_| ()), expected, "{signed} called {said}");
        }
    }
}

/// The bytes of a token's signature, changed.
fn with_signature(token: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    change(&mut bytes);
    format!("{message}.{}", base64(bytes))
}

/// Adds the order of the group to the second half of an Ed25519 signature: another number, the same point.
fn add_order(signature: &mut [u8]) {
    let order = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, more) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + more + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
}

/// What somebody does to the bytes of a signature.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn a_signature_in_another_form_is_none() {
    let mut elliptic = signer::p256_jwk("one");
    elliptic["kid"] = "ES256".into();
    let keys = set(&[signer::rsa_jwk("RS256"), signer::rsa_jwk("PS256"), signer::ed25519_jwk("EdDSA"), elliptic]);
    let zero_in_front = |bytes: &mut Vec<u8>| bytes.insert(0, 0);
    let zero_behind = |bytes: &mut Vec<u8>| bytes.push(0);
    let halves_swapped = |bytes: &mut Vec<u8>| {
        let half = bytes.len() / 2;
        bytes.rotate_left(half);
    };
    let twice = |bytes: &mut Vec<u8>| bytes.extend(bytes.clone());
    let nothing = |bytes: &mut Vec<u8>| bytes.clear();
    let ones = |bytes: &mut Vec<u8>| bytes.fill(0xff);
    let zeros = |bytes: &mut Vec<u8>| bytes.fill(0);
    let one = |bytes: &mut Vec<u8>| {
        bytes.fill(0);
        bytes.last_mut().into_iter().for_each(|last| *last = 1);
    };
    let first_bit = |bytes: &mut Vec<u8>| bytes[0] ^= 0x80;
    let last_bit = |bytes: &mut Vec<u8>| bytes.last_mut().into_iter().for_each(|last| *last ^= 1);
    let beyond_the_order = |bytes: &mut Vec<u8>| add_order(bytes);
    let changes: [(&str, Change<'_>); 11] = [
        ("a zero in front", &zero_in_front),
        ("a zero behind", &zero_behind),
        ("halves swapped", &halves_swapped),
        ("twice", &twice),
        ("nothing", &nothing),
        ("ones", &ones),
        ("zeros", &zeros),
        ("one", &one),
        ("the first bit", &first_bit),
        ("the last bit", &last_bit),
        ("beyond the order", &beyond_the_order),
    ];
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let token = token(algorithm, Some(algorithm), &claims(json!({})));
        assert!(rules().verify(&token, Some(&keys), NOW).is_ok(), "{algorithm}");
        for (what, change) in &changes {
            let verdict = rules().verify(&with_signature(&token, change), Some(&keys), NOW).map(|_| ());
            assert_eq!(verdict, Err(Signature), "{algorithm}: {what}");
        }
    }
}

/// With an exponent of one a signature is what it should decrypt to, which anybody can write.
#[test]
fn a_key_that_signs_for_everybody_verifies_nothing() {
    let sha256 =
        [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 0x04, 0x20];
    let message = format!("{}.{}", base64(r#"{"alg":"RS256"}"#), base64(claims(json!({})).to_string()));
    let digest = ring::digest::digest(&ring::digest::SHA256, message.as_bytes());
    let padding = vec![0xff; 256 - 3 - sha256.len() - 32];
    let written = [&[0, 1][..], &padding, &[0], &sha256, digest.as_ref()].concat();
    let forged = format!("{message}.{}", base64(written));
    for exponent in ["AQ", "AAE", "Ag", "AA"] {
        let mut weak = signer::rsa_jwk("one");
        weak["e"] = exponent.into();
        // Whether such a key is left out or only verifies nothing is the same to whoever forged this.
        let keys = KeySet::of_jwks(&json!({ "keys": [weak, signer::ed25519_jwk("other")] })).unwrap();
        assert!(rules().verify(&forged, Some(&keys), NOW).is_err(), "{exponent}");
    }
}
