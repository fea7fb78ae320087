//! Whose a stored reply is: nobody gets another one's, however they prove who they are.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{numbered, reply};
use crate::support::client::{ask, request};
use crate::support::gateway::Gateway;
use crate::support::origin::{Origin, Reply};
use crate::support::pki::{Authority, Life};
use crate::support::tls::Tls;
use crate::tokens::signer::{self, SECRET};

/// bcrypt of `U*U`.
const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// A service that says whom it replies to, and how often it did.
fn personal() -> Origin {
    numbered(|request, number| {
        let said = |name: &str| request.values(name).first().map(|it| String::from_utf8_lossy(it).into_owned());
        let who = said("x-consumer-name").or(said("authorization")).or(said("cookie")).unwrap_or_default();
        reply("", &format!("{who} {number}"))
    })
}

/// `9f86…` is `test`, the key of alice; `81b6…` is `bob`, that of bob.
fn config(origin: &Origin, auth: &Value, authenticator: &Value, cache: &Value) -> String {
    json!({
        "version": 1,
        "listeners": [{ "address": "127.0.0.1:0" }],
        "services": { "origin": { "url": format!("http://{}", origin.address()) } },
        "authenticators": authenticator,
        "consumers": {
            "alice": {
                "api_keys": [{ "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }],
                "passwords": [{ "hash": BCRYPT }],
            },
            "bob": {
                "api_keys": [{ "sha256": "81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9" }],
                "passwords": [{ "hash": BCRYPT }],
            },
        },
        "routes": [{
            "name": "mine", "method": "GET", "gateway_path": "/mine", "service": "origin", "auth": auth, "cache": cache,
        }],
    })
    .to_string()
}

/// Each of two callers gets its own reply, twice the same one.
fn each_has_its_own(gateway: &Gateway, one: (&str, &str), other: (&str, &str)) {
    let get = |field: (&str, &str)| {
        let response = ask(gateway.address(), &request("GET", "/mine", &[field], b""));
        assert_eq!(response.status, 200, "{}", response.text());
        response.text()
    };
    let (first, second) = (get(one), get(other));
    assert_ne!(first.split(' ').next(), second.split(' ').next(), "{first} {second}");
    assert_eq!((get(one), get(other)), (first, second), "what is stored is for the same caller");
}

fn token(name: &str) -> String {
    format!("Bearer {}", signer::token("HS256", None, &claims(name)))
}

fn claims(name: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({ "sub": name, "aud": "api", "exp": now + 600 })
}

#[test]
fn of_api_keys() {
    let origin = personal();
    let authenticators = json!({ "key": { "api_key": { "header": "x-api-key" } } });
    let gateway = Gateway::start(&config(&origin, &json!(["key"]), &authenticators, &json!({ "ttl": "60s" })));
    each_has_its_own(&gateway, ("x-api-key", "test"), ("x-api-key", "bob"));
    assert_eq!(ask(gateway.address(), &request("GET", "/mine", &[], b"")).status, 401, "admission comes first");
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn of_tokens_and_of_two_tokens_of_one() {
    let origin = personal();
    let authenticators = json!({ "corp": { "jwt": { "secret": SECRET, "audience": "api" } } });
    let gateway = Gateway::start(&config(&origin, &json!(["corp"]), &authenticators, &json!({ "ttl": "60s" })));
    each_has_its_own(&gateway, ("authorization", &token("alice")), ("authorization", &token("bob")));
    assert_eq!(origin.take().len(), 2);
    // The service sees the token, and may grant more to one than to another.
    let mut wider = claims("alice");
    wider["scope"] = json!("admin");
    let wider = signer::token("HS256", None, &wider);
    ask(gateway.address(), &request("GET", "/mine", &[("authorization", &format!("Bearer {wider}"))], b""));
    assert_eq!(origin.take().len(), 1);
}

#[test]
fn of_passwords() {
    let basic = |name: &str| format!("Basic {}", STANDARD.encode(format!("{name}:U*U")));
    let origin = personal();
    let authenticators = json!({ "people": { "basic": {} } });
    let gateway = Gateway::start(&config(&origin, &json!(["people"]), &authenticators, &json!({ "ttl": "60s" })));
    each_has_its_own(&gateway, ("authorization", &basic("alice")), ("authorization", &basic("bob")));
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn of_those_with_certificates() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let origin = personal();
    let authenticators = json!({ "cert": { "client_certificate": {} } });
    let written = config(&origin, &json!(["cert"]), &authenticators, &json!({ "ttl": "60s" }));
    let mut written: Value = serde_json::from_str(&written).unwrap();
    let (certificate, private_key) = servers.place("api", &servers.server(&["api.test"]));
    written["listeners"][0]["tls"] =
        json!({ "certificate": certificate, "private_key": private_key, "client_ca": clients.file() });
    for name in ["alice", "bob"] {
        written["consumers"][name] = json!({ "certificates": [{ "subject": name }] });
    }
    let gateway = Gateway::start(&written.to_string());
    let callers = ["alice", "bob"].map(|name| Tls::with(&servers, &clients.client(name, &[], Life::Now)));
    let get = || callers.each_ref().map(|tls| tls.fetch(gateway.address(), "api.test", "/mine").unwrap().text());
    assert_eq!(get(), ["alice 1", "bob 2"]);
    assert_eq!(get(), ["alice 1", "bob 2"]);
}

#[test]
fn of_callers_whom_an_auth_service_knows() {
    let auth = Origin::start(|request| {
        let who =
            request.values("x-session").first().map(|it| String::from_utf8_lossy(it).into_owned()).unwrap_or_default();
        Reply::raw(format!("HTTP/1.1 200 OK\r\nx-user: {who}\r\ncontent-length: 0\r\n\r\n"))
    });
    let origin = personal();
    let authenticators = json!({ "sso": { "forward_auth": {
        "url": format!("http://{}/verify", auth.address()), "consumer_header": "x-user", "request_headers": ["x-session"],
    } } });
    let gateway = Gateway::start(&config(&origin, &json!(["sso"]), &authenticators, &json!({ "ttl": "60s" })));
    each_has_its_own(&gateway, ("x-session", "alice"), ("x-session", "bob"));
    assert_eq!((origin.requests().len(), auth.requests().len()), (2, 4), "each request is asked about");
}

#[test]
fn of_those_whom_the_gateway_does_not_know_but_the_service_may() {
    for name in ["cookie", "authorization"] {
        let origin = personal();
        let gateway = Gateway::start(&config(&origin, &json!("public"), &json!({}), &json!({ "ttl": "60s" })));
        each_has_its_own(&gateway, (name, "session=alice"), (name, "session=bob"));
        assert_eq!(origin.requests().len(), 2, "{name}");
    }
}

#[test]
fn by_the_rules_of_http_an_authorised_reply_is_for_others_only_if_it_says_so() {
    let origin = numbered(|request, number| match request.query() {
        "" => reply("cache-control: max-age=60\r\n", &number.to_string()),
        _ => reply("cache-control: max-age=60, public\r\n", &number.to_string()),
    });
    let mut written: Value =
        serde_json::from_str(&config(&origin, &json!("public"), &json!({}), &json!({ "respect": true }))).unwrap();
    written["routes"][0]["query_params"] = json!("any");
    let gateway = Gateway::start(&written.to_string());
    let get = |target: &str, who: &str| {
        ask(gateway.address(), &request("GET", target, &[("authorization", who)], b"")).text()
    };
    assert_ne!(get("/mine", "a"), get("/mine", "a"));
    assert_eq!(get("/mine?public", "a"), get("/mine?public", "b"));
}

#[test]
fn all_get_the_same_where_the_file_says_so() {
    let origin = personal();
    let authenticators = json!({ "key": { "api_key": { "header": "x-api-key" } } });
    let cache = json!({ "ttl": "60s", "shared": true });
    let gateway = Gateway::start(&config(&origin, &json!(["key"]), &authenticators, &cache));
    for key in ["test", "bob"] {
        let response = ask(gateway.address(), &request("GET", "/mine", &[("x-api-key", key)], b""));
        assert_eq!(response.text(), "alice 1");
    }
    assert_eq!(ask(gateway.address(), &request("GET", "/mine", &[("x-api-key", "x")], b"")).status, 401);
}
