//! Which certificate a client gets, what a handshake may cost, and what the service hears of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Stage;
use crate::process::instance::eventually;
use crate::support::DEADLINE;
use crate::support::client::ask;
use crate::support::gateway::check;
use crate::support::pki::{Authority, Life};
use crate::support::tls::Tls;

#[test]
fn a_request_over_tls_says_so_to_the_service_and_in_the_access_line() {
    let authority = Authority::new();
    let stage = Stage::start(&authority.yaml("api", &authority.server(&["api.test"])));
    for (version, word) in [(&rustls::version::TLS13, "TLSv1.3"), (&rustls::version::TLS12, "TLSv1.2")] {
        let mut connection =
            Tls::of(&authority, None, &[version]).connect(stage.gateway.address(), "api.test").unwrap();
        assert_eq!(connection.protocol().as_deref(), Some("http/1.1"));
        for _ in 0..2 {
            let answer = connection.ask("GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap();
            let got: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, &got["x-forwarded-proto"]), (200, &"https".into()), "{got}");
            assert!(got["forwarded"].as_str().unwrap().ends_with(";proto=https"), "{got}");
        }
        let line = format!("\"protocol\":\"HTTP/1.1\",\"tls\":\"{word}\"");
        assert!(stage.gateway.printed(|printed| printed.contains(&line)).is_some(), "{line}");
    }
    assert_eq!(stage.metric("tollgate_tls_handshakes_total{result=\"full\"}"), 2.0);
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let authority = Authority::new();
    let pairs = [&["api.test"][..], &["*.shop.test", "shop.test"], &["cart.shop.test"]];
    let pairs = pairs.map(|names| authority.server(names));
    let list: Vec<String> = pairs
        .iter()
        .enumerate()
        .map(|(at, pair)| format!("{{ {} }}", authority.yaml(&format!("c{at}"), pair)))
        .collect();
    let stage = Stage::start(&format!("certificates: [{}]", list.join(", ")));
    let tls = Tls::trusting(&authority);
    for (name, expected) in
        [("api.test", 0), ("API.test", 0), ("shop.test", 1), ("a.shop.test", 1), ("cart.shop.test", 2)]
    {
        let connection = tls.connect(stage.gateway.address(), name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(connection.certificate().unwrap(), pairs[expected].certificate, "{name}");
    }
    for name in ["a.b.shop.test", "other.test", "127.0.0.1"] {
        // The first one, which is not for this name.
        let refused = tls.connect(stage.gateway.address(), name).err().map(|error| error.to_string());
        assert!(refused.as_deref().is_some_and(|why| why.contains("not valid for name")), "{name}: {refused:?}");
    }
    let refused = || stage.metric("tollgate_tls_handshakes_total{result=\"refused\"}");
    assert!(eventually(|| refused() == 3.0), "{}", refused());
}

#[test]
fn only_the_versions_and_protocols_that_are_offered_are_spoken() {
    let authority = Authority::new();
    let yaml = authority.yaml("api", &authority.server(&["api.test"]));
    let stage = Stage::start(&format!("{yaml}, minimum: \"1.3\""));
    let address = stage.gateway.address();
    assert!(Tls::of(&authority, None, &[&rustls::version::TLS12]).connect(address, "api.test").is_err());
    assert!(Tls::trusting(&authority).speaking(&["h3"]).connect(address, "api.test").is_err());
    let connection = Tls::trusting(&authority).speaking(&["h3", "http/1.1"]).connect(address, "api.test").unwrap();
    assert_eq!(connection.protocol().as_deref(), Some("http/1.1"));
    assert!(Tls::trusting(&authority).speaking(&[]).connect(address, "api.test").unwrap().protocol().is_none());
    let failed = || stage.metric("tollgate_tls_handshakes_total{result=\"protocol\"}");
    assert!(eventually(|| failed() == 2.0), "{}", failed());
}

#[test]
fn sessions_go_on_where_clients_have_no_certificates() {
    let authority = Authority::new();
    let yaml = authority.yaml("api", &authority.server(&["api.test"]));
    let asking = format!("{yaml}, client_auth: optional, client_ca: \"{}\"", authority.file().display());
    for (tls, expected) in [(yaml.clone(), true), (asking, false)] {
        let stage = Stage::start(&tls);
        let client = Tls::trusting(&authority);
        for attempt in 0..2 {
            let mut connection = client.connect(stage.gateway.address(), "api.test").unwrap();
            assert_eq!(connection.ask("GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap().status, 200);
            assert_eq!(connection.is_resumed(), expected && attempt == 1, "{tls}");
        }
        let resumed = stage.metric("tollgate_tls_handshakes_total{result=\"resumed\"}");
        assert_eq!(resumed, f64::from(u8::from(expected)));
    }
}

#[test]
fn a_handshake_that_does_not_come_to_its_end_is_cut_and_delays_nobody() {
    let authority = Authority::new();
    let yaml = authority.yaml("api", &authority.server(&["api.test"]));
    let stage = Stage::with(&yaml, "guard: { handshake_timeout: 1s, max_connections: 40 }");
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..30)
        .map(|nth| {
            let mut stream = TcpStream::connect_timeout(&stage.gateway.address(), DEADLINE).unwrap();
            // Nothing, or the beginning of a record.
            stream.write_all(&[0x16, 3, 1, 0, 200, 1][..nth % 7]).unwrap();
            stream
        })
        .collect();
    let client = Tls::trusting(&authority);
    for _ in 0..5 {
        assert_eq!(client.fetch(stage.gateway.address(), "api.test", "/echo").unwrap().status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "others waited: {:?}", begun.elapsed());
    for stream in &mut slow {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(stage.metric("tollgate_tls_handshakes_total{result=\"timeout\"}"), 30.0);
    assert!(eventually(|| stage.metric("tollgate_connections") <= 1.0));
}

#[test]
fn handshakes_count_for_the_cap_on_connections() {
    let authority = Authority::new();
    let yaml = authority.yaml("api", &authority.server(&["api.test"]));
    let stage = Stage::with(&yaml, "guard: { max_connections: 3 }");
    let held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(stage.gateway.address()).unwrap()).collect();
    assert!(eventually(|| stage.metric("tollgate_connections") >= 3.0));
    assert!(Tls::trusting(&authority).fetch(stage.gateway.address(), "api.test", "/echo").is_err());
    drop(held);
    let comes_in = || Tls::trusting(&authority).fetch(stage.gateway.address(), "api.test", "/echo").is_ok();
    assert!(eventually(comes_in));
}

#[test]
fn the_deadlines_of_a_connection_hold_within_tls() {
    let authority = Authority::new();
    let yaml = authority.yaml("api", &authority.server(&["api.test"]));
    let stage = Stage::with(&yaml, "guard: { header_timeout: 500ms, idle_timeout: 700ms }");
    let client = Tls::trusting(&authority);
    let mut half = client.connect(stage.gateway.address(), "api.test").unwrap();
    assert_eq!(half.ask("GET /echo HTTP/1.1\r\nhost: ap").unwrap().status, 408);
    let mut idle = client.connect(stage.gateway.address(), "api.test").unwrap();
    assert_eq!(idle.ask("GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap().status, 200);
    assert!(idle.is_closed());
}

#[test]
fn plain_http_is_told_that_it_came_to_the_wrong_port() {
    let authority = Authority::new();
    let stage = Stage::start(&authority.yaml("api", &authority.server(&["api.test"])));
    let head = "POST /echo HTTP/1.1\r\nhost: api.test\r\ncontent-length: 40000\r\n\r\n";
    for sent in
        ["GET /echo HTTP/1.1\r\nhost: api.test\r\n\r\n", &format!("{head}{}", "a".repeat(40_000)), "PRI * HTTP/2.0"]
    {
        let answer = ask(stage.gateway.address(), sent.as_bytes());
        assert_eq!((answer.status, answer.value("connection")), (400, Some("close")), "{sent:.20}");
        assert!(answer.text().contains("HTTPS"), "{}", answer.text());
    }
    let counted = || stage.metric("tollgate_tls_handshakes_total{result=\"plain-http\"}");
    assert!(eventually(|| counted() == 3.0), "{}", counted());
}

#[test]
fn what_is_no_handshake_ends_at_once() {
    let authority = Authority::new();
    let stage = Stage::start(&authority.yaml("api", &authority.server(&["api.test"])));
    // Another protocol, a record that is too long, a message that is none, and nothing.
    let records: [&[u8]; 4] = [&[0; 64], &[0x16, 3, 1, 0xff, 0xff, 1, 0], &[0x16, 3, 1, 0, 4, 9, 0, 0, 0], &[]];
    for record in records {
        let mut stream = TcpStream::connect_timeout(&stage.gateway.address(), DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(record).unwrap();
        if record.is_empty() {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        assert!(!matches!(&read, Err(late) if late.kind() == ErrorKind::WouldBlock), "{record:?}: {read:?}");
        assert!(answer.is_empty() || answer[0] == 0x15, "an alert or nothing, not {answer:?}");
    }
    let ended = |result: &str| stage.metric(&format!("tollgate_tls_handshakes_total{{result=\"{result}\"}}"));
    assert!(eventually(|| ended("protocol") + ended("client-left") == 4.0 && ended("protocol") >= 3.0));
    assert!(eventually(|| stage.metric("tollgate_connections") <= 1.0));
}

#[test]
fn the_server_chooses_the_suite() {
    use rustls::CipherSuite::*;
    let authority = Authority::new();
    let stage = Stage::start(&authority.yaml("api", &authority.server(&["api.test"])));
    let tls13 = [TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384];
    let tls12 = [
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ];
    for mut offered in [tls13, tls12] {
        let best = offered[2];
        for _ in 0..offered.len() {
            offered.rotate_left(1);
            let client = Tls::offering(&authority, &offered);
            let connection = client.connect(stage.gateway.address(), "api.test").unwrap();
            assert_eq!(connection.suite(), Some(best), "{offered:?}");
        }
    }
}

#[test]
fn a_pair_that_cannot_be_served_stops_the_check_and_shows_no_key() {
    let authority = Authority::new();
    let (good, other) = (authority.server(&["api.test"]), authority.server(&["api.test"]));
    let (certificate, key) = authority.place("api", &good);
    let (_, other_key) = authority.place("other", &other);
    let secret = std::fs::read_to_string(&key).unwrap();
    let text = authority.written("text.pem", "hello");
    let broken = authority.written("broken.key", &secret.replace("\nM", "\n!"));
    let encrypted = authority.written("locked.key", &secret.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    let soon = authority.place("soon", &authority.server_of(&["api.test"], Life::Days(5)));
    let past = authority.place("past", &authority.server_of(&["api.test"], Life::Past));
    let future = authority.place("future", &authority.server_of(&["api.test"], Life::Future));
    let nameless = authority.place("nameless", &authority.server(&[]));
    let missing = authority.file().with_file_name("missing.pem");
    for ((certificate, key), code, said) in [
        ((&certificate, &key), 0, "ok: "),
        ((&certificate, &other_key), 1, "does not belong to the certificate in"),
        ((&text, &key), 1, "there is no certificate in"),
        ((&missing, &key), 1, "No such file"),
        ((&certificate, &text), 1, "there is no private key in"),
        ((&certificate, &broken), 1, "is no PEM file"),
        ((&certificate, &encrypted), 1, "is encrypted"),
        ((&soon.0, &soon.1), 0, "expires in "),
        ((&past.0, &past.1), 0, "has expired"),
        ((&future.0, &future.1), 0, "is not valid yet"),
        ((&nameless.0, &nameless.1), 0, "is for no host name"),
    ] {
        let tls = format!("certificate: \"{}\", private_key: \"{}\"", certificate.display(), key.display());
        let checked = check(&super::config(&super::echo(), &tls, ""));
        assert_eq!(checked.code, Some(code), "{said}: {}", checked.text);
        assert!(checked.text.contains(said), "{said}: {}", checked.text);
        for line in secret.lines().filter(|line| line.len() > 20 && !line.contains("-----")) {
            assert!(!checked.text.contains(line), "{}", checked.text);
        }
    }
}
