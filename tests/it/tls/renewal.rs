//! Certificates that are renewed while the gateway serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// A handshake under load.
struct Shaken {
    begun: Instant,
    certificate: Vec<u8>,
}

#[test]
fn a_renewed_certificate_is_served_within_two_seconds_and_no_handshake_fails() {
    let authority = Authority::new();
    let pairs: Vec<Pair> = (0..4).map(|_| authority.server(&["api.test"])).collect();
    let folder = authority.file().parent().expect("a folder").to_owned();
    let live = folder.join("live");
    for version in ["one", "two"] {
        fs::create_dir(folder.join(version)).unwrap();
    }
    let turn_to = |version: &str| {
        let fresh = folder.join("fresh");
        symlink(version, &fresh).unwrap();
        fs::rename(&fresh, &live).unwrap();
    };
    let by_renaming = |pair: &Pair| drop(authority.place("one/api", pair));
    let in_place = |pair: &Pair| {
        let (certificate, key) = authority.place("other", pair);
        fs::copy(certificate, live.join("api.pem")).unwrap();
        fs::copy(key, live.join("api.key")).unwrap();
    };
    // As Kubernetes does.
    let by_another_folder = |pair: &Pair| {
        authority.place("two/api", pair);
        turn_to("two");
    };
    let ways: [&dyn Fn(&Pair); 3] = [&by_renaming, &in_place, &by_another_folder];

    by_renaming(&pairs[0]);
    turn_to("one");
    let files = format!("certificate: {0}/api.pem, private_key: {0}/api.key", live.display());
    let stage = Stage::start(&files);
    let over = AtomicBool::new(false);
    let shake = || -> std::io::Result<Shaken> {
        let begun = Instant::now();
        let mut connection = Tls::trusting(&authority).connect(stage.gateway.address(), "api.test")?;
        let certificate = connection.certificate().map(|found| found.to_vec()).unwrap_or_default();
        assert_eq!(connection.ask("GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n")?.status, 200);
        Ok(Shaken { begun, certificate })
    };
    let shake_until_over = || {
        let mut shaken = Vec::new();
        while !over.load(Ordering::Relaxed) {
            shaken.push(shake()?);
        }
        shaken.push(shake()?);
        std::io::Result::Ok(shaken)
    };
    let mut replaced = Vec::new();
    let shaken: Vec<Vec<Shaken>> = thread::scope(|scope| {
        let clients = [(); 3].map(|()| scope.spawn(shake_until_over));
        let mut all_served = true;
        for (pair, replace) in pairs[1..].iter().zip(ways) {
            replace(pair);
            replaced.push(Instant::now());
            all_served &= is_served(&stage, &authority, pair);
        }
        over.store(true, Ordering::Relaxed);
        assert!(all_served, "{}", stage.gateway.log().join("\n"));
        clients.into_iter().map(|client| client.join().unwrap().expect("a handshake or an answer fails")).collect()
    });

    for client in &shaken {
        let which = |shaken: &Shaken| pairs.iter().position(|pair| pair.certificate.to_vec() == shaken.certificate);
        let served: Vec<usize> =
            client.iter().map(|shaken| which(shaken).expect("a certificate that was placed")).collect();
        assert!(served.is_sorted(), "an old certificate comes back");
        assert_eq!((served.first(), served.last(), served.len() > 20), (Some(&0), Some(&3), true));
        for (shaken, version) in client.iter().zip(served) {
            let late = replaced.get(version).map(|replaced| shaken.begun.saturating_duration_since(*replaced));
            assert!(late.is_none_or(|late| late < Duration::from_secs(2)), "{version} is served after {late:?}");
        }
    }
    for result in ["timeout", "client-left", "plain-http", "refused", "client-certificate", "protocol"] {
        assert_eq!(stage.metric(&format!("tollgate_tls_handshakes_total{{result=\"{result}\"}}")), 0.0, "{result}");
    }
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
