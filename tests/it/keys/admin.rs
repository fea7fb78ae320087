//! Keys over the admin listener.

use serde_json::{Value, json};

use super::{TOKEN, soon, with_store};
use crate::process::instance::Instance;
use crate::support::client::{Response, ask};
use crate::support::origin::Origin;

/// Asks the admin listener with these fields.
pub fn send(gateway: &Instance, method: &str, path: &str, fields: &str, body: &str) -> Response {
    let host = gateway.admin;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n{fields}\r\n");
    ask(gateway.admin, format!("{head}{body}").as_bytes())
}

/// The field with the token.
pub fn with_token() -> String {
    format!("authorization: Bearer {TOKEN}\r\n")
}

/// The same with the token.
fn operate(gateway: &Instance, method: &str, path: &str, body: &str) -> (u16, Value) {
    let answer = send(gateway, method, path, &with_token(), body);
    assert_eq!(answer.value("cache-control"), Some("no-store"), "{method} {path}");
    assert_eq!(answer.value("content-type").unwrap_or_default().contains("json"), answer.status != 405);
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[test]
fn keys_are_made_listed_rotated_and_revoked() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let wanted = r#"{"consumer": "bob", "plan": "free", "expires": "90d", "note": "from CI"}"#;
    let (status, made) = operate(&gateway, "POST", "/keys", wanted);
    assert_eq!(status, 201, "{made}");
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(made["prefix"], key[..11]);
    soon(&gateway, key, 200);
    let (status, listed) = operate(&gateway, "GET", "/keys", "");
    let described = &listed["keys"][0];
    assert_eq!((status, listed["keys"].as_array().unwrap().len()), (200, 1));
    for (name, value) in [
        ("id", json!(id)),
        ("consumer", "bob".into()),
        ("plan", "free".into()),
        ("note", "from CI".into()),
        ("status", "active".into()),
        ("revoked", Value::Null),
    ] {
        assert_eq!(described[name], value, "{name}");
    }
    assert!(described["expires"].as_str().is_some_and(|time| time.ends_with('Z')), "{described}");
    assert!(described.get("key").is_none() && !listed.to_string().contains(key));
    let (status, next) = operate(&gateway, "POST", &format!("/keys/{id}/rotate"), r#"{"grace": "1h"}"#);
    assert_eq!((status, &next["consumer"], &next["note"]), (201, &"bob".into(), &"from CI".into()));
    soon(&gateway, next["key"].as_str().unwrap(), 200);
    assert_eq!(super::status(&gateway, key), 200, "in its grace");
    let (status, ended) = operate(&gateway, "DELETE", &format!("/keys/{id}"), "");
    assert_eq!((status, &ended["status"]), (200, &"revoked".into()));
    soon(&gateway, key, 401);
    let (status, _) = operate(&gateway, "POST", &format!("/keys/{id}/rotate"), "");
    assert_eq!(status, 409, "it has ended");
    assert_eq!(super::status(&gateway, next["key"].as_str().unwrap()), 200);
    for done in ["key made id=", "key rotated id=", "key revoked id="] {
        gateway.logged(done);
    }
    assert!(!gateway.log().contains(key));
}

#[test]
fn whoever_lacks_the_token_learns_and_changes_nothing() {
    let origin = Origin::json("{}");
    let file = with_store(&origin, "tollgate.db");
    let (mut tokenless, mut storeless) = (file.clone(), file.clone());
    tokenless["admin"].as_object_mut().unwrap().remove("token_sha256");
    storeless.as_object_mut().unwrap().remove("store");
    let (guarded, tokenless, storeless) =
        (Instance::start(&file), Instance::start(&tokenless), Instance::start(&storeless));
    let good = with_token();
    for (gateway, fields, expected) in [
        (&guarded, "", 401),
        (&guarded, "authorization: Bearer wrong\r\n", 401),
        (&guarded, "authorization: Bearer \r\n", 401),
        (&guarded, "authorization: Basic b3BlcmF0b3JzLW9ubHk=\r\n", 401),
        (&guarded, "authorization: operators-only\r\n", 401),
        (&guarded, "authorization: Bearer operators-onlyy\r\n", 401),
        (&guarded, "x-tollgate: reload\r\n", 401),
        (&tokenless, "", 403),
        (&tokenless, &good, 403),
        (&storeless, "", 404),
        (&storeless, &good, 404),
    ] {
        for (method, path) in
            [("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/x"), ("POST", "/keys/x/rotate"), ("PUT", "/keys")]
        {
            let answer = send(gateway, method, path, fields, r#"{"consumer": "alice"}"#);
            assert_eq!(answer.status, expected, "{method} {path} {fields}");
            assert_eq!(answer.value("www-authenticate").is_some(), expected == 401);
        }
    }
    assert_eq!(operate(&guarded, "GET", "/keys", ""), (200, json!({"keys": []})));
    let lower = format!("authorization: bearer {TOKEN}\r\n");
    assert_eq!(send(&guarded, "GET", "/keys", &lower, "").status, 200, "the scheme has no case");
    let elsewhere = format!("GET /keys HTTP/1.1\r\nhost: evil.example.com\r\n{good}\r\n");
    assert_eq!(ask(guarded.admin, elsewhere.as_bytes()).status, 421);
    let shown = guarded.operator("GET", "/config", &[]).text();
    assert!(shown.contains("token_sha256") && !shown.contains(&super::sha256(TOKEN)), "{shown}");
}

#[test]
fn what_cannot_be_done_is_said_and_does_nothing() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let large = format!(r#"{{"consumer": "alice", "note": "{}"}}"#, "x".repeat(20_000));
    for (method, path, body, expected, said) in [
        ("POST", "/keys", "", 422, "EOF"),
        ("POST", "/keys", "{", 422, "EOF"),
        ("POST", "/keys", "[1]", 422, ""),
        ("POST", "/keys", r#"{"plan": "free"}"#, 422, "consumer"),
        ("POST", "/keys", r#"{"consumer": "alice", "id": "x"}"#, 422, "unknown field"),
        ("POST", "/keys", r#"{"consumer": "alice", "consumer": "bob"}"#, 422, "duplicate field"),
        ("POST", "/keys", r#"{"consumer": "alice", "expires": 90}"#, 422, "duration"),
        ("POST", "/keys", r#"{"consumer": "alice", "expires": "1000d"}"#, 422, "at most `365d`"),
        ("POST", "/keys", r#"{"consumer": "alice", "plan": "free"}"#, 422, "leave the plan out"),
        ("POST", "/keys", r#"{"consumer": "bob"}"#, 422, "say a plan"),
        ("POST", "/keys", r#"{"consumer": "bob", "plan": "no"}"#, 422, "no plan `no`"),
        ("POST", "/keys", r#"{"consumer": "b\nb", "plan": "free"}"#, 422, "printable"),
        ("POST", "/keys", r#"{"consumer": "alice", "note": "a\u0007"}"#, 422, "control"),
        ("POST", "/keys", &large, 413, "16 KiB"),
        ("DELETE", "/keys/nobody", "", 404, "no key"),
        ("DELETE", "/keys/%25", "", 404, "no key"),
        ("POST", "/keys/nobody/rotate", "", 404, "no key"),
        ("POST", "/keys/nobody/rotate", r#"{"grace": "0s"}"#, 422, ""),
        ("PUT", "/keys", "", 405, ""),
        ("GET", "/keys/nobody", "", 405, ""),
    ] {
        let (status, answer) = operate(&gateway, method, path, body);
        assert_eq!(status, expected, "{method} {path} {body}: {answer}");
        assert!(answer["error"].as_str().unwrap_or_default().contains(said), "{method} {path} {body}: {answer}");
    }
    assert_eq!(operate(&gateway, "GET", "/keys", ""), (200, json!({"keys": []})));
}
