//! Which target gets a request.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::script::{Scripted, Step};
use super::{configuration, gateway, get, named, requests, service, state};
use crate::process::instance::{Instance, eventually};
use crate::support::client::{Client, ask, request};
use crate::support::origin::Origin;

const NAMES: [&str; 3] = ["\"a\"", "\"b\"", "\"c\""];

fn three() -> ([Origin; 3], Vec<SocketAddr>) {
    let origins = NAMES.map(named);
    let addresses = origins.iter().map(Origin::address).collect();
    (origins, addresses)
}

/// Who answered so many requests.
fn shares(gateway: &Instance, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        *shares.entry(get(gateway, "/a").text()).or_default() += 1;
    }
    shares
}

fn weighted(addresses: &[SocketAddr], weights: [u32; 3]) -> Value {
    let targets: Vec<_> = addresses
        .iter()
        .zip(weights)
        .map(|(address, weight)| json!({ "address": address.to_string(), "weight": weight }))
        .collect();
    json!({ "targets": targets })
}

#[test]
fn weights_are_kept_exactly_and_a_reload_drains_a_target() {
    let (origins, addresses) = three();
    let other = Origin::json("{}");
    let with = |weights| configuration(weighted(&addresses, weights), other.address());
    let gateway = Instance::start(&with([3, 1, 2]));
    assert_eq!(shares(&gateway, 60).into_values().collect::<Vec<_>>(), [30, 10, 20]);

    let connections: Vec<_> = origins.iter().map(Origin::connections).collect();
    assert_eq!(gateway.reload(&with([1, 0, 1]))["result"], "published");
    assert_eq!(shares(&gateway, 10).into_values().collect::<Vec<_>>(), [5, 5]);
    assert_eq!(state(&gateway, addresses[1]), "draining");
    let kept = requests(&origins[0]).iter().rev().take(5).any(|request| request.connection < connections[0]);
    assert!(kept, "pools outlive a reload");
}

#[test]
fn the_same_key_leads_to_the_same_target() {
    let (_origins, addresses) = three();
    for (key, message) in [
        ("header:x-tenant", (|user| request("GET", "/a", &[("x-tenant", user)], b"")) as fn(&str) -> Vec<u8>),
        ("cookie:session", |user| request("GET", "/a", &[("cookie", &format!("a=b; session={user}"))], b"")),
        ("path:id", |user| request("GET", &format!("/users/{user}"), &[], b"")),
    ] {
        let balance = json!({ "balance": { "consistent_hash": { "key": key } } });
        let other = Origin::json("{}");
        let mut all = configuration(service(&addresses, balance), other.address());
        if key == "path:id" {
            let routes = all["routes"].as_array_mut().unwrap();
            routes.retain(|route| route["name"] == "user" || route["name"] == "other");
        }
        let gateway = Instance::start(&all);
        let mut owners = HashSet::new();
        for user in 0..20 {
            let user = format!("user-{user}");
            let asked: HashSet<_> = (0..4).map(|_| ask(gateway.public, &message(&user)).text()).collect();
            assert_eq!(asked.len(), 1, "{key}: {user} {asked:?}");
            owners.extend(asked);
        }
        assert_eq!(owners.len(), 3, "{key}: all targets have keys");
    }
}

#[test]
fn a_busy_target_gets_less() {
    let (fast, slow) = (named("\"a\""), Scripted::start(vec![Step::Read, Step::Hang]));
    let (gateway, _other) = gateway(&[fast.address(), slow.address()], json!({ "balance": "least_requests" }));
    let in_flight = || super::targets(&gateway).iter().filter_map(|target| target["in_flight"].as_u64()).sum::<u64>();
    let mut waiting = Vec::new();
    while slow.connections() == 0 {
        let mut client = Client::connect(gateway.public);
        client.send(&request("GET", "/a", &[], b""));
        waiting.push(client);
        // Until it is answered or waits for the slow one.
        let known = || requests(&fast).len() + slow.connections() == waiting.len();
        assert!(eventually(known), "{} requests", waiting.len());
    }
    let before = requests(&fast).len();
    for _ in 0..30 {
        // An answer is out before its request is over: with it both targets would be alike.
        assert!(eventually(|| in_flight() == 1));
        assert_eq!(get(&gateway, "/a").text(), "\"a\"");
    }
    assert_eq!(requests(&fast).len(), before + 30);
    assert_eq!(slow.connections(), 1);
}
