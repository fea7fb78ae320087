//! Names of services, looked up at a DNS server of the test.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{get, targets};
use crate::process::instance::{Instance, config, eventually};
use crate::support::DEADLINE;
use crate::support::dns::{Dns, Manner};
use crate::support::origin::Origin;

const NAME: &str = "users.test";

/// A configuration whose one service has a name that this server knows.
fn file(dns: &Dns, port: u16) -> Value {
    config(
        ([127, 0, 0, 1], port).into(),
        json!({
            "resolver": { "servers": [dns.address().to_string()] },
            "services": { "origin": { "url": format!("http://{NAME}:{port}") } },
            "defaults": { "auth": "public" },
            "routes": [{ "name": "a", "method": "GET", "gateway_path": "/a", "service": "origin" }],
        }),
    )
}

/// The addresses of its targets.
fn addresses(gateway: &Instance) -> Vec<String> {
    let ip = |target: &Value| target["address"].as_str().unwrap().rsplit_once(':').unwrap().0.to_owned();
    targets(gateway).iter().map(ip).collect()
}

#[test]
fn a_name_is_looked_up_again_when_its_answer_ends() {
    let (dns, origin) = (Dns::start(), Origin::json("{}"));
    dns.set(NAME, &["127.0.0.1", "127.0.0.3"], 3);
    let gateway = Instance::start(&file(&dns, origin.address().port()));
    assert_eq!(addresses(&gateway), ["127.0.0.1", "127.0.0.3"]);
    // One lookup makes the generation, another one says for how long it holds.
    assert!(eventually(|| dns.asked() == 2));
    let begun = Instant::now();
    let before = targets(&gateway);
    dns.set(NAME, &["127.0.0.1", "127.0.0.2"], 3600);
    assert!(eventually(|| addresses(&gateway) == ["127.0.0.1", "127.0.0.2"]));
    assert!(begun.elapsed() > Duration::from_secs(2), "before its time: {:?}", begun.elapsed());
    assert_eq!(targets(&gateway)[0], before[0], "what stays is not touched");
    gateway.logged("name has moved");
    let asked = dns.asked();
    assert_eq!(asked, 3, "asked once for each answer that ended");
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!((get(&gateway, "/a").status, dns.asked()), (200, asked), "requests ask nobody");
    }
}

#[test]
fn the_last_good_addresses_stay_when_nobody_knows_them() {
    let (dns, origin) = (Dns::start(), Origin::json("{}"));
    dns.set(NAME, &["127.0.0.1"], 1);
    let mut file = file(&dns, origin.address().port());
    let gateway = Instance::start(&file);
    assert_eq!(get(&gateway, "/a").status, 200);
    dns.behave(Manner::Failing);
    gateway.logged("name cannot be looked up, its last addresses stay");
    assert_eq!(get(&gateway, "/a").status, 200);
    file["drain"] = json!({ "timeout": "20s" });
    assert_eq!(gateway.reload(&file)["generation"], 2);
    assert_eq!(get(&gateway, "/a").status, 200, "a reload keeps them, too");
    dns.behave(Manner::Well);
    gateway.logged("name is looked up again");
    assert_eq!(gateway.log().matches("its last addresses stay").count(), 1, "said once, not for each attempt");
}

#[test]
fn a_service_that_nobody_knew_at_the_start_comes() {
    let (dns, origin) = (Dns::start(), Origin::json("{}"));
    let gateway = Instance::start(&file(&dns, origin.address().port()));
    assert_eq!(get(&gateway, "/a").status, 503);
    dns.set(NAME, &["127.0.0.1"], 60);
    assert!(eventually(|| get(&gateway, "/a").status == 200));
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let (dns, origin) = (Dns::start(), Origin::json("{}"));
    dns.behave(Manner::Truncated);
    dns.set(NAME, &["127.0.0.1"], 60);
    let gateway = Instance::start(&file(&dns, origin.address().port()));
    assert_eq!(get(&gateway, "/a").status, 200);
    assert!(dns.asked_over_tcp() > 0);
}

#[test]
fn a_name_may_have_addresses_of_both_kinds() {
    let (dns, origin) = (Dns::start(), Origin::json("{}"));
    dns.set(NAME, &["::1", "127.0.0.1"], 60);
    let gateway = Instance::start(&file(&dns, origin.address().port()));
    assert_eq!(addresses(&gateway), ["127.0.0.1", "[::1]"]);
}

#[test]
fn an_answer_without_time_is_not_asked_for_all_the_time() {
    let (dns, origin) = (Dns::start(), Origin::json("{}"));
    dns.set(NAME, &["127.0.0.1"], 0);
    let begun = Instant::now();
    let _gateway = Instance::start(&file(&dns, origin.address().port()));
    assert!(eventually(|| dns.asked() >= 5));
    // The first two come together, and each further one after nine tenths of `min_ttl` at least.
    assert!(begun.elapsed() > Duration::from_millis(2700) && begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
}
