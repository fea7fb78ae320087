//! Keys in Redis: what any node or command does counts on all gateways within a second.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::process::instance::{eventually, sha256};
use crate::support::client::{ask, fetch};
use crate::support::gateway::program;

/// What is promised: how long a running gateway may take to honour a change.
const SOON: Duration = Duration::from_secs(1);

const TOKEN: &str = "operators-only";

fn with_admin(origin: &Origin, redis: &Redis) -> Value {
    let mut file = file(origin, &redis.url(), &json!({}));
    file["admin"] = json!({"address": "127.0.0.1:0", "token_sha256": sha256(TOKEN)});
    file
}

/// What `tollgate keys` printed, where it works.
fn keys(verb: &str, file: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = program().args(["keys", verb]).arg(file).args(arguments).output().expect("run the program");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn status(node: &Instance, key: &str) -> u16 {
    ask(node.public, &request("GET", "/plan", &[("x-api-key", key)], b"")).status
}

/// Waits until a key gets this status on all gateways, and panics when that takes longer than is promised.
fn soon(nodes: &[Instance], key: &str, expected: u16) {
    let begun = Instant::now();
    for node in nodes {
        while status(node, key) != expected {
            assert!(begun.elapsed() < SOON, "not {expected} within {SOON:?}:\n{}", node.log());
            thread::yield_now();
        }
    }
}

#[test]
fn what_one_node_does_with_a_key_counts_on_all_within_a_second() {
    let (redis, origin) = (Redis::start(), Origin::json("{}"));
    let nodes = nodes(&with_admin(&origin, &redis));
    let bobs = keys("create", &nodes[0].file(), &["--consumer", "bob", "--plan", "wide", "--note", "phone"]).unwrap();
    soon(&nodes, &bobs, 200);
    let twin = keys("rotate", &nodes[1].file(), &[&bobs, "--grace", "1h"]).unwrap();
    soon(&nodes, &twin, 200);
    soon(&nodes, &bobs, 200);
    let bearer = format!("Bearer {TOKEN}");
    let listed = nodes[2].operator("GET", "/keys", &[("authorization", &bearer)]);
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    let by = |key: &str| {
        let all = listed["keys"].as_array().unwrap();
        all.iter().find(|listed| key.starts_with(listed["prefix"].as_str().unwrap())).unwrap().clone()
    };
    assert_eq!((&by(&twin)["consumer"], &by(&twin)["note"]), (&json!("bob"), &json!("phone")));
    assert!(by(&bobs)["expires"].is_string() && by(&twin)["expires"].is_null(), "{listed}");
    let path = format!("/keys/{}", by(&twin)["id"].as_str().unwrap());
    let revoked = nodes[2].operator("DELETE", &path, &[("authorization", &bearer)]);
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    soon(&nodes, &twin, 401);
    keys("revoke", &nodes[0].file(), &[&bobs[..11]]).unwrap();
    soon(&nodes, &bobs, 401);
    let table = keys("list", &nodes[1].file(), &[]).unwrap();
    assert_eq!(table.matches(" revoked ").count(), 2, "{table}");
    assert_eq!(keys("revoke", &nodes[0].file(), &["tg_nobody"]).unwrap_err(), "error: no key has this id or prefix");
    let later = Instance::start(&with_admin(&origin, &redis));
    assert_eq!(status(&later, &bobs), 401);
    let kept = redis.ask(&["HVALS", "{tollgate}:keys"]);
    assert!(kept.contains("\"bob\"") && !kept.contains(&bobs) && !kept.contains(&twin), "digests only: {kept}");
}

#[test]
fn keys_outlive_an_outage_and_none_is_refused_before_they_were_read() {
    let (mut redis, origin) = (Redis::start(), Origin::json("{}"));
    let file = with_admin(&origin, &redis);
    let early = Instance::start(&file);
    let bobs = keys("create", &early.file(), &["--consumer", "bob", "--plan", "wide"]).unwrap();
    soon(std::slice::from_ref(&early), &bobs, 200);
    redis.kill();
    assert!(eventually(|| !is_up(&early)), "without any request: {}", early.log());
    assert_eq!(status(&early, &bobs), 200, "what was read stays good");
    assert!(keys("list", &early.file(), &[]).unwrap_err().starts_with("error: store in Redis: "));
    let late = Instance::start(&file);
    let refused = ask(late.public, &request("GET", "/plan", &[("x-api-key", &bobs)], b""));
    assert!(refused.text().contains("\"urn:tollgate:problem:keys-unavailable\""), "{}", refused.text());
    assert_eq!((refused.status, refused.value("retry-after")), (503, Some("1")));
    assert_eq!(status(&late, "key-wide"), 200, "keys of the file");
    assert_eq!(status(&late, "key-nobody"), 401, "no key of Redis looks so");
    assert_eq!(fetch(late.public, "/free").status, 200);
    redis.restart();
    assert!(eventually(|| is_up(&early) && is_up(&late)));
    // It comes back empty: that ends no key where it is known.
    early.logged("keys of the shared store: it is damaged: Redis has lost its keys");
    assert_eq!(status(&early, &bobs), 200);
    assert!(eventually(|| status(&late, &bobs) == 401), "now nobody has it: {}", late.log());
}
