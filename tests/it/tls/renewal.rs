//! Certificates that are renewed while the gateway serves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Stage, config, echo};
use crate::process::instance::eventually;
use crate::support::gateway::{Gateway, Reload};
use crate::support::pki::{Authority, Life, Pair};
use crate::support::tls::Tls;

fn served(stage: &Stage, authority: &Authority) -> Vec<u8> {
    let connection = Tls::trusting(authority).connect(stage.gateway.address(), "api.test").expect("a handshake");
    connection.certificate().expect("a certificate").to_vec()
}

fn is_served(stage: &Stage, authority: &Authority, pair: &Pair) -> bool {
    eventually(|| served(stage, authority) == pair.certificate.to_vec())
}

#[test]
fn a_renewed_certificate_is_served_within_two_seconds_and_no_handshake_fails() {
    let authority = Authority::new();
    let stage = Stage::start(&authority.yaml("api", &authority.server(&["api.test"])));
    let (over, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = Tls::trusting(&authority).fetch(stage.gateway.address(), "api.test", "/echo");
                    assert_eq!(answer.expect("a handshake fails").status, 200);
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..3 {
            let renewed = authority.server(&["api.test"]);
            authority.place("api", &renewed);
            let placed = Instant::now();
            let now = is_served(&stage, &authority, &renewed);
            let took = placed.elapsed();
            if !now || took > Duration::from_secs(2) {
                over.store(true, Ordering::Relaxed);
            }
            assert!(now && took < Duration::from_secs(2), "round {round}: {took:?}");
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(handshakes.load(Ordering::Relaxed) > 20, "{handshakes:?}");
    assert_eq!(stage.metric("tollgate_certificate_reloads_total{result=\"published\"}"), 3.0);
    assert_eq!(stage.metric("tollgate_config_reloads_total{result=\"published\"}"), 0.0);
}

#[test]
fn a_bad_pair_changes_nothing_and_is_told() {
    let authority = Authority::new();
    let good = authority.server(&["api.test"]);
    let stage = Stage::start(&authority.yaml("api", &good));
    let refused = || stage.metric("tollgate_certificate_reloads_total{result=\"refused\"}");
    authority.written("api.key", "no key");
    assert!(eventually(|| refused() == 1.0), "{}", stage.gateway.log().join("\n"));
    assert!(stage.gateway.logged(|line| line.contains("there is no private key in")).is_some());
    assert_eq!(served(&stage, &authority), good.certificate.to_vec());
    authority.place("api", &authority.server_of(&["api.test"], Life::Past));
    assert!(eventually(|| refused() == 2.0), "{}", stage.gateway.log().join("\n"));
    assert_eq!(served(&stage, &authority), good.certificate.to_vec());
    let renewed = authority.server(&["api.test"]);
    authority.place("api", &renewed);
    assert!(is_served(&stage, &authority, &renewed));
}

#[test]
fn a_reload_changes_what_is_served_on_an_address_but_not_its_being() {
    let authority = Authority::new();
    let (first, second) = (authority.server(&["api.test"]), authority.server(&["api.test"]));
    let origin = echo();
    let file = |name, pair| config(&origin, &authority.yaml(name, pair), "");
    let stage = Stage { gateway: Gateway::start(&file("first", &first)), _origin: echo() };
    let session = Tls::trusting(&authority);
    let mut old = session.connect(stage.gateway.address(), "api.test").unwrap();
    assert_eq!(old.ask("GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap().status, 200);
    assert_eq!(stage.gateway.reload(&file("second", &second)), Reload::Published);
    assert_eq!(served(&stage, &authority), second.certificate.to_vec());
    assert_eq!(old.ask("GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap().status, 200);
    let mut resumed = session.connect(stage.gateway.address(), "api.test").unwrap();
    assert_eq!(resumed.ask("GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap().status, 200);
    assert!(resumed.is_resumed(), "tickets are lost by a reload");
    // The expiry of what is served, and of nothing else.
    let second_file = authority.file().with_file_name("second.pem");
    let series = |name: &str| {
        let file = second_file.with_file_name(name);
        format!(
            "tollgate_certificate_expires_timestamp_seconds{{certificate=\"{}\",listener=\"127.0.0.1:0\"}}",
            file.display()
        )
    };
    assert!(stage.metric(&series("second.pem")) > 1.7e9);
    assert_eq!(stage.metric(&series("first.pem")), 0.0);
    // A file that cannot be used is refused as a whole.
    authority.written("third.pem", "nothing");
    let third = file("third", &second).replace("third.pem", "nothing.pem");
    assert_eq!(stage.gateway.reload(&third), Reload::Refused);
    // Another address needs an upgrade, and meanwhile the listener does not lose its TLS.
    let moved =
        file("second", &second).replace("listeners: [{ address: 127.0.0.1:0", "listeners: [{ address: 127.0.0.2:0");
    assert_eq!(stage.gateway.reload(&moved), Reload::Published);
    assert!(stage.gateway.logged(|line| line.contains("section listeners changed: it needs an upgrade")).is_some());
    assert_eq!(served(&stage, &authority), second.certificate.to_vec());
}
